"""Real IMAP servers on loopback: Dovecot, Cyrus and Courier from Debian's packages, each as often as wanted.

    with running("dovecot", run_dir=directory) as server:
        account = server.user()  # an account that nobody has used yet
        client = imaplib.IMAP4("127.0.0.1", server.port)

Nothing is installed and no port, path or process is shared: many test processes may each run their own. Needs Debian
or Ubuntu and root with CAP_SYS_ADMIN. By hand:

    python -m mailtwin.testing.realservers fetch          # download and unpack all three
    python -m mailtwin.testing.realservers run dovecot    # until interrupted

Read next: `_packages` (where the programs come from), `_namespace` (how they are run), `_configs` (what they are told).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import itertools
import json
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mailtwin.testing import _namespace, _packages
from mailtwin.testing._configs import (
    MASTER,
    OAUTH_KEY,
    PASSWORD,
    SASL_DATABASE,
    ServerOptions,
    Setup,
    sasl_database_script,
    setup,
)
from mailtwin.testing._packages import KINDS, Kind, RealServerError

__all__ = [
    "KINDS",
    "Account",
    "Kind",
    "RealServer",
    "RealServerError",
    "ServerOptions",
    "fetch",
    "main",
    "running",
]

HOST: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 20
_POLL_S: Final = 0.02
# Below the range from which the kernel takes the local ports of outgoing connections.
_PORTS: Final = range(20000, 32000)
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Account:
    """What a person logs in with."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class RealServer:
    """A running server. `port` is for clear text and STARTTLS, `tls_port` for TLS from the first byte.

    `ca_file` is the certificate to trust. `prefix` and `separator` are those of the personal namespace. `pid` is the
    process under which all others are; `run_dir` holds configuration, mail and log.
    """

    kind: Kind
    port: int
    tls_port: int
    ca_file: Path
    separator: str
    prefix: str
    run_dir: Path
    pid: int
    options: ServerOptions
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False, compare=False)

    def user(self) -> Account:
        """An account with empty mailboxes that no earlier call returned. Raises RealServerError when all are used."""
        number = next(self._numbers)
        if number > self.options.users:
            raise RealServerError(
                f"all {self.options.users} users of this {self.kind} are used: ask for more of them"
            )
        return Account(f"u{number}", PASSWORD)

    def master(self) -> Account:
        """Who may name another user as the authorization identity of PLAIN; on Dovecot and Cyrus."""
        if self.kind == "courier":
            raise RealServerError("courier has no user who may act as another")
        return Account(MASTER, PASSWORD)

    def oauth_token(self, account: Account, valid_s: int = 3600) -> str:
        """A token with which `account` can use XOAUTH2 and OAUTHBEARER on Dovecot; expired if `valid_s` < 0."""
        if self.kind != "dovecot":
            raise RealServerError(f"{self.kind} is not set up for OAuth")
        now = int(time.time())
        claims = {
            "sub": account.user,
            "email": account.user,
            "iat": min(now, now + valid_s) - 1,
            "exp": now + valid_s,
        }
        signed = b".".join(
            _base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)
        )
        signature = hmac.new(OAUTH_KEY, signed, hashlib.sha256).digest()
        return b".".join((signed, _base64url(signature))).decode()

    def maildir(self, account: Account) -> Path:
        """Where the server keeps the mail of `account`, if in a Maildir; files there have to belong to `mail`."""
        if self.kind == "cyrus" or self.options.mail_format != "maildir":
            raise RealServerError(f"this {self.kind} keeps no Maildir")
        return self.run_dir / "home" / account.user / "Maildir"

    def tls_context(self) -> ssl.SSLContext:
        """A client's context that trusts this server and no other."""
        return ssl.create_default_context(cafile=self.ca_file)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that the server printed. Cyrus prints next to nothing: it logs to syslog only."""
        return _log_tail(self.run_dir, lines)


class _DidNotGreetError(RealServerError):
    """The server was started and ended, or was silent until the deadline."""


@contextmanager
def running(kind: Kind, *, run_dir: Path, options: ServerOptions | None = None) -> Iterator[RealServer]:
    """A server that has greeted on both its ports, for as long as the context lasts.

    `run_dir` is a directory of its own, made if it does not exist. Raises RealServerError when the packages cannot be
    had, the server does not start within 20 s, or this process lacks the privilege to start it.
    """
    options = options or ServerOptions()
    run_dir = run_dir.resolve()
    server, process = _start_on_free_ports(kind, run_dir, options)
    try:
        yield server
    finally:
        _namespace.stop(process)


def fetch(kind: Kind) -> Path:
    """The unpacked packages of `kind`: downloaded by the first call, kept for all later ones."""
    return _packages.fetch(kind)


def _start_on_free_ports(
    kind: Kind, run_dir: Path, options: ServerOptions
) -> tuple[RealServer, subprocess.Popen[bytes]]:
    """Start once more if the first attempt fails: somebody else may have taken a port in between."""
    try:
        return _start(kind, run_dir, options)
    except _DidNotGreetError:
        return _start(kind, run_dir, options)


def _start(kind: Kind, run_dir: Path, options: ServerOptions) -> tuple[RealServer, subprocess.Popen[bytes]]:
    tree = fetch(kind)
    port, tls_port = _free_ports(2)
    prepared = setup(kind, options, port, tls_port)
    run_dir.mkdir(parents=True, exist_ok=True)
    _write_files(run_dir, prepared)
    if kind == "cyrus":
        shutil.copyfile(_sasl_database(tree, options.users), run_dir / SASL_DATABASE)
    process = _namespace.start(tree, run_dir, prepared.script)
    ca_file = run_dir / "cert.pem"
    try:
        _wait_for_greetings(process, port, tls_port, ca_file)
    except _DidNotGreetError as error:
        _namespace.stop(process)
        raise _DidNotGreetError(f"{kind} {error}; it printed:\n{_log_tail(run_dir, 40)}") from None
    except BaseException:
        _namespace.stop(process)
        raise
    server = RealServer(
        kind=kind,
        port=port,
        tls_port=tls_port,
        ca_file=ca_file,
        separator=prepared.separator,
        prefix=prepared.prefix,
        run_dir=run_dir,
        pid=process.pid,
        options=options,
    )
    return server, process


def _write_files(run_dir: Path, prepared: Setup) -> None:
    for name, text in prepared.files.items():
        path = run_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)


def _sasl_database(tree: Path, users: int) -> Path:
    """Cyrus's password database, made at the first call and kept beside the packages."""
    cache = _packages.cache_directory()
    database = cache / f"cyrus-{users}-users.db"
    with _packages.locked(cache / "cyrus.lock"):
        if not database.is_file():
            with tempfile.TemporaryDirectory(prefix="mailtwin-sasl-") as directory:
                process = _namespace.start(tree, Path(directory), sasl_database_script(users))
                process.wait()
                _namespace.stop(process)
                made = Path(directory) / SASL_DATABASE
                if process.returncode != 0 or not made.is_file():
                    raise RealServerError(f"cannot make Cyrus's users:\n{_log_tail(Path(directory), 10)}")
                unfinished = database.with_suffix(".part")
                shutil.copyfile(made, unfinished)
                unfinished.rename(database)
    return database


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RealServerError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1}")


def _wait_for_greetings(process: subprocess.Popen[bytes], port: int, tls_port: int, ca_file: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    for at, tls in ((port, False), (tls_port, True)):
        while not _greets(at, ca_file if tls else None):
            if process.poll() is not None:
                raise _DidNotGreetError(f"ended with code {process.returncode}")
            if time.monotonic() > deadline:
                raise _DidNotGreetError(f"did not greet on port {at} within {_START_TIMEOUT_S} s")
            time.sleep(_POLL_S)


def _greets(port: int, ca_file: Path | None) -> bool:
    """Whether an IMAP server greets on `port`: over TLS, and with that certificate, if one is given."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as plain:
            if ca_file is None:
                return plain.recv(4096).startswith(b"* OK")
            with ssl.create_default_context(cafile=ca_file).wrap_socket(
                plain, server_hostname=HOST
            ) as secure:
                return secure.recv(4096).startswith(b"* OK")
    except OSError:
        return False


def _log_tail(run_dir: Path, lines: int) -> str:
    try:
        text = (run_dir / _namespace.LOG).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


# --- By hand -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the packages, or run one server in the foreground; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m mailtwin.testing.realservers", description="Real IMAP servers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="download and unpack the packages")
    fetching.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    run = commands.add_parser("run", help="run one server until interrupted")
    run.add_argument("kind", choices=KINDS)
    run.add_argument("--separator")
    run.add_argument("--prefix")
    run.add_argument("--special-use", action="store_true")
    run.add_argument("--mail-format", choices=("maildir", "sdbox", "mdbox"), default="maildir")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "fetch":
            _fetch_all(chosen.kinds)
        else:
            options = ServerOptions(chosen.separator, chosen.prefix, chosen.special_use, chosen.mail_format)
            _run_in_foreground(chosen.kind, options)
    except RealServerError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _fetch_all(names: Sequence[str]) -> None:
    unknown = set(names) - set(KINDS)
    if unknown:
        raise RealServerError(f"no such server: {', '.join(sorted(unknown))}")
    for kind in KINDS:
        if not names or kind in names:
            sys.stdout.write(f"{kind}: {fetch(kind)}\n")


def _run_in_foreground(kind: Kind, options: ServerOptions) -> None:
    with (
        tempfile.TemporaryDirectory(prefix=f"mailtwin-{kind}-") as directory,
        running(kind, run_dir=Path(directory), options=options) as server,
    ):
        # Not before: a server started with blocked signals would keep them blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        account = server.user()
        sys.stdout.write(
            f"{kind} on {HOST}: port {server.port}, TLS port {server.tls_port}\n"
            f"user {account.user} (to u{options.users}), password {account.password}\n"
            f"certificate to trust: {server.ca_file}\nlog: {server.run_dir / _namespace.LOG}\n"
            "Ctrl-C stops it\n"
        )
        sys.stdout.flush()
        signal.sigwait(_STOP_SIGNALS)


if __name__ == "__main__":
    sys.exit(main())
