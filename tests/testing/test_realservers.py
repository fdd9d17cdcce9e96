"""The real servers do what tests rely on, seen by a foreign client: the standard library's imaplib."""

from __future__ import annotations

import imaplib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailtwin.testing._configs import setup
from mailtwin.testing._packages import KINDS
from mailtwin.testing.realservers import (
    Account,
    Kind,
    RealServer,
    RealServerError,
    ServerOptions,
    main,
    running,
)

HOST = "127.0.0.1"
MESSAGE = b"From: a@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nworld\r\n"


@contextmanager
def logged_in(server: RealServer, account: Account | None = None) -> Iterator[imaplib.IMAP4]:
    account = account or server.user()
    with imaplib.IMAP4(HOST, server.port, timeout=10) as client:
        client.login(account.user, account.password)
        yield client


def mailboxes(client: imaplib.IMAP4) -> set[str]:
    _, lines = client.list()
    return {line.decode().split()[-1].strip('"') for line in lines if isinstance(line, bytes)}


def processes_in(namespace: str) -> list[str]:
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if os.readlink(link) == namespace:  # noqa: PTH115 - not a path but a name such as pid:[4026531836]
                found.append(link.parts[2])
        except OSError:
            continue
    return found


def refuses_within(seconds: float, port: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        time.sleep(0.02)
    return False


class TestEveryServer:
    def test_a_message_comes_back_as_it_went_in(self, imap_server: RealServer) -> None:
        with logged_in(imap_server) as client:
            assert client.append("INBOX", r"(\Seen)", "", MESSAGE)[0] == "OK"
            assert client.select() == ("OK", [b"1"])
            _, data = client.fetch("1", "(FLAGS BODY.PEEK[])")
            assert isinstance(data[0], tuple)
            assert data[0][1] == MESSAGE

    def test_a_fresh_user_has_an_empty_inbox_and_nothing_else(self, imap_server: RealServer) -> None:
        with logged_in(imap_server) as client:
            assert mailboxes(client) == {"INBOX"}
            assert client.select() == ("OK", [b"0"])

    def test_users_do_not_see_each_other(self, imap_server: RealServer) -> None:
        with logged_in(imap_server) as first, logged_in(imap_server) as second:
            name = f"{imap_server.prefix}Mine"
            assert first.create(name)[0] == "OK"
            first.append("INBOX", "", "", MESSAGE)
            assert name in mailboxes(first)
            assert name not in mailboxes(second)
            assert second.select() == ("OK", [b"0"])

    def test_the_namespace_is_the_announced_one(self, imap_server: RealServer) -> None:
        with logged_in(imap_server) as client:
            personal = client.namespace()[1][0]
        assert isinstance(personal, bytes)
        assert personal.startswith(f'(("{imap_server.prefix}" "{imap_server.separator}"'.encode())

    def test_a_wrong_password_is_refused(self, dovecot: RealServer, cyrus: RealServer) -> None:
        # Courier too, but only after five seconds.
        for server in (dovecot, cyrus):
            with (
                imaplib.IMAP4(HOST, server.port, timeout=10) as client,
                pytest.raises(imaplib.IMAP4.error),
            ):
                client.login(server.user().user, "wrong")

    @pytest.mark.parametrize("start_tls", [False, True], ids=["implicit", "starttls"])
    def test_tls_with_the_certificate_to_trust(self, imap_server: RealServer, start_tls: bool) -> None:
        account, context = imap_server.user(), imap_server.tls_context()
        client: imaplib.IMAP4
        if start_tls:
            client = imaplib.IMAP4("localhost", imap_server.port, timeout=10)
            client.starttls(context)
        else:
            client = imaplib.IMAP4_SSL("localhost", imap_server.tls_port, ssl_context=context, timeout=10)
        with client:
            assert client.login(account.user, account.password)[0] == "OK"

    def test_nobody_else_trusts_it(self, imap_server: RealServer) -> None:
        context = ssl.create_default_context()
        with (
            socket.create_connection((HOST, imap_server.tls_port), timeout=10) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(plain, server_hostname="localhost")

    def test_stopping_frees_the_ports_and_leaves_no_process(
        self, imap_server_kind: Kind, tmp_path: Path
    ) -> None:
        with running(imap_server_kind, run_dir=tmp_path, options=ServerOptions(users=3)) as server:
            namespace = os.readlink(f"/proc/{server.pid}/ns/pid_for_children")  # noqa: PTH115 - see above
            with logged_in(server) as client:
                client.select()
                assert len(processes_in(namespace)) > 1
        assert processes_in(namespace) == []
        assert not Path(f"/proc/{server.pid}").exists()
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        for port in (server.port, server.tls_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port), timeout=1)

    def test_two_of_a_kind_run_side_by_side(self, imap_server: RealServer, tmp_path: Path) -> None:
        options = ServerOptions(users=imap_server.options.users)
        with running(imap_server.kind, run_dir=tmp_path, options=options) as other:
            assert other.port != imap_server.port
            with logged_in(other) as client:
                assert client.select() == ("OK", [b"0"])

    def test_users_run_out_loudly(self, imap_server_kind: Kind, tmp_path: Path) -> None:
        with running(imap_server_kind, run_dir=tmp_path, options=ServerOptions(users=3)) as server:
            assert len({server.user().user for _ in range(3)}) == 3
            with pytest.raises(RealServerError, match="all 3 users"):
                server.user()


class TestOptions:
    @pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
    @pytest.mark.servers
    def test_separator_prefix_and_special_use(self, kind: Kind, tmp_path: Path) -> None:
        options = ServerOptions(separator=".", prefix="INBOX.", special_use=True, users=3)
        with running(kind, run_dir=tmp_path, options=options) as server, logged_in(server) as client:
            names = {f"INBOX.{name}" for name in ("Drafts", "Sent", "Trash", "Junk")}
            assert mailboxes(client) == {"INBOX", *names}

    @pytest.mark.parametrize("mail_format", ["sdbox", "mdbox"])
    @pytest.mark.servers
    def test_mail_formats_of_dovecot(self, mail_format: str, tmp_path: Path) -> None:
        options = ServerOptions(mail_format="sdbox" if mail_format == "sdbox" else "mdbox", users=3)
        with running("dovecot", run_dir=tmp_path, options=options) as server:
            account = server.user()
            with logged_in(server, account) as client:
                assert client.append("INBOX", "", "", MESSAGE)[0] == "OK"
            assert (tmp_path / "home" / account.user / mail_format).is_dir()
            with pytest.raises(RealServerError, match="no Maildir"):
                server.maildir(account)

    @pytest.mark.servers
    def test_extra_settings(self, tmp_path: Path) -> None:
        options = ServerOptions(users=3, extra="imap_capability = IMAP4rev1\n")
        with running("dovecot", run_dir=tmp_path, options=options) as server, logged_in(server) as client:
            assert client.capability()[1][-1] == b"IMAP4rev1"

    @pytest.mark.servers
    def test_a_server_that_cannot_start_says_what_it_printed(self, tmp_path: Path) -> None:
        options = ServerOptions(users=3, extra="no_such_setting = yes\n")
        with (
            pytest.raises(RealServerError, match="no_such_setting"),
            running("dovecot", run_dir=tmp_path, options=options),
        ):
            pass

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("cyrus", ServerOptions(separator="^")),
            ("cyrus", ServerOptions(prefix="Mail/")),
            ("cyrus", ServerOptions(mail_format="sdbox")),
            ("courier", ServerOptions(separator="/")),
            ("courier", ServerOptions(special_use=True)),
        ],
    )
    def test_what_a_server_cannot_do_is_refused(self, kind: Kind, options: ServerOptions) -> None:
        with pytest.raises(RealServerError, match=kind):
            setup(kind, options, 1143, 1993)


class TestLogins:
    @pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
    def test_the_master_acts_as_another(self, kind: Kind, request: pytest.FixtureRequest) -> None:
        server: RealServer = request.getfixturevalue(kind)
        account, master = server.user(), server.master()
        with logged_in(server, account) as client:
            client.append("INBOX", "", "", MESSAGE)
        with imaplib.IMAP4(HOST, server.port, timeout=10) as client:
            plain = f"{account.user}\0{master.user}\0{master.password}".encode()
            assert client.authenticate("PLAIN", lambda _: plain)[0] == "OK"
            assert client.select() == ("OK", [b"1"])

    def test_cram_md5(self, dovecot: RealServer, cyrus: RealServer) -> None:
        for server in (dovecot, cyrus):
            account = server.user()
            with imaplib.IMAP4(HOST, server.port, timeout=10) as client:
                assert client.login_cram_md5(account.user, account.password)[0] == "OK"

    def test_oauth_without_an_identity_provider(self, dovecot: RealServer) -> None:
        account = dovecot.user()
        good, expired = dovecot.oauth_token(account), dovecot.oauth_token(account, valid_s=-60)
        with imaplib.IMAP4(HOST, dovecot.port, timeout=10) as client:
            with pytest.raises(imaplib.IMAP4.error):
                client.authenticate("XOAUTH2", lambda challenge: _xoauth2(account, expired, challenge))
            assert (
                client.authenticate("XOAUTH2", lambda challenge: _xoauth2(account, good, challenge))[0]
                == "OK"
            )

    def test_a_message_delivered_into_the_maildir_is_seen(self, dovecot: RealServer) -> None:
        account = dovecot.user()
        with logged_in(dovecot, account) as client:
            client.select()
            path = dovecot.maildir(account) / "new" / "1.foreign.example"
            path.write_bytes(MESSAGE)
            path.chmod(0o644)
            assert client.select() == ("OK", [b"1"])


class TestByHand:
    @pytest.mark.servers
    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    def test_the_server_ends_with_its_parent(self, end: signal.Signals, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "mailtwin.testing.realservers", "run", "dovecot"]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            announced = re.search(r"port (\d+)", parent.stdout.readline())
            while parent.stdout.readline() != "Ctrl-C stops it\n":
                assert parent.poll() is None
            parent.send_signal(end)
        assert announced
        assert parent.returncode == (-end if end == signal.SIGKILL else 0)
        assert refuses_within(5, int(announced[1]))
        assert end == signal.SIGKILL or list(tmp_path.iterdir()) == []

    def test_unknown_servers_cannot_be_fetched(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fetch", "exchange"]) == 1
        assert "no such server: exchange" in capsys.readouterr().err

    @pytest.mark.servers
    def test_fetching_again_is_quick(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fetch"]) == 0
        assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == list(KINDS)

    def test_without_privilege_it_says_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr("mailtwin.testing.realservers.fetch", lambda kind: tmp_path / "tree")
        with (
            pytest.raises(RealServerError, match="CAP_SYS_ADMIN"),
            running("dovecot", run_dir=tmp_path / "run"),
        ):
            pass


def _xoauth2(account: Account, token: str, challenge: bytes) -> bytes:
    """The initial response, and the empty one that acknowledges the server's description of an error."""
    return b"" if challenge else f"user={account.user}\1auth=Bearer {token}\1\1".encode()
