"""Server packages unpacked into a private tree, because Debian refuses to install any two of them together.

apt downloads, dpkg-deb unpacks, nothing is installed and no maintainer script runs. Packages that the machine has
already are not downloaded: a tree is an addition to this machine's /usr, not a machine of its own.

Read next: `mailtwin.testing._namespace`, which lays a tree over /usr.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

__all__ = ["KINDS", "Kind", "RealServerError", "cache_directory", "fetch", "locked"]

Kind = Literal["dovecot", "cyrus", "courier"]
KINDS: Final[tuple[Kind, ...]] = ("dovecot", "cyrus", "courier")

# openssl makes the certificate; the others are the server and what it loads at run time.
_PACKAGES: Final[dict[Kind, tuple[str, ...]]] = {
    "dovecot": ("dovecot-imapd", "openssl"),
    "cyrus": ("cyrus-imapd", "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db", "openssl"),
    "courier": ("courier-imap", "openssl"),
}
# Only mail transport, development and Perl dependencies bring these in: serving IMAP needs none of them.
_NOT_NEEDED: Final = ("exim4", "gawk", "gnutls-bin", "libgnutls28-dev", "libgnutlsxx", "libperl", "perl")
_APT_TIMEOUT_S: Final = 300


class RealServerError(Exception):
    """A real server cannot be had, started or used; the text says why and what is missing."""


def cache_directory() -> Path:
    """Where unpacked packages are kept: in a source checkout `.cache/servers`, elsewhere the user's cache."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".cache" / "servers"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mailtwin-servers"


def fetch(kind: Kind) -> Path:
    """The tree with the packages of `kind`, downloaded and unpacked unless that was done before.

    Any number of processes may ask at once: one works, the others wait. Raises RealServerError when apt or dpkg-deb
    is missing or fails.
    """
    cache = cache_directory()
    tree = cache / kind
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f"{kind}.lock"):
        if not tree.is_dir():
            archives, unfinished = cache / f"{kind}.debs", cache / f"{kind}.part"
            _download(_PACKAGES[kind], archives)
            _unpack(archives, unfinished)
            unfinished.rename(tree)
            shutil.rmtree(archives)
    return tree


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for as long as another process does."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(packages: tuple[str, ...], archives: Path) -> None:
    """Put the archives of `packages`, and of what they need beyond this machine's packages, into a directory."""
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    install = [
        *("apt-get", "install", "-y", "-q", "--download-only", "--no-install-recommends"),
        *("-o", f"Dir::Cache::archives={archives}"),
        # Nothing is installed, so neither dpkg's lock nor apt's unprivileged downloader, which cannot write here,
        # has a part in this.
        *("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"),
        *packages,
    ]
    try:
        _run(install)
    except RealServerError:
        # No package lists yet, or lists so old that the mirror has moved on.
        _run(["apt-get", "update", "-q"])
        _run(install)


def _unpack(archives: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "usr").mkdir(parents=True)
    for archive in sorted(archives.glob("*.deb")):
        if not archive.name.startswith(_NOT_NEEDED):
            _run(["dpkg-deb", "-x", str(archive), str(tree)])
    # Debian has merged /lib into /usr/lib, some archives have not.
    if (tree / "lib").is_dir():
        shutil.copytree(tree / "lib", tree / "usr" / "lib", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(tree / "lib")
    for directory in (tree, tree / "usr"):
        directory.chmod(0o755)


def _run(command: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_APT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise RealServerError(
            f"{command[0]} is missing: the servers come from the packages of Debian or Ubuntu"
        ) from None
    except subprocess.TimeoutExpired:
        raise RealServerError(f"{' '.join(command[:2])} took more than {_APT_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise RealServerError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
