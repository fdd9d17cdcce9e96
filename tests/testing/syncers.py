"""Synchronisers written by others, as Debian packages them, between simulated servers and Maildirs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

MBSYNC = """
IMAPAccount sim
Host 127.0.0.1
Port {port}
User alice
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account sim

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns {patterns}
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
"""

OFFLINEIMAP = """
[general]
accounts = twin
metadata = {home}/state
socktimeout = 20

[Account twin]
localrepository = near
remoterepository = far

[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {port}
remoteuser = alice
remotepass = secret
ssl = no
starttls = no
maxconnections = 1
folderfilter = lambda name: name not in ({left_out})

{near}
"""
NEAR_MAILDIR = "[Repository near]\ntype = Maildir\nlocalfolders = {maildir}\nsep = /\n"
NEAR_IMAP = (
    "[Repository near]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nremoteuser = alice\n"
    "remotepass = secret\nssl = no\nstarttls = no\nmaxconnections = 1\n"
    "folderfilter = lambda name: name == 'INBOX'\n"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run left behind."""

    code: int
    said: str


async def run(*command: str | Path) -> Ended:
    """Runs a program to its end; a run of a minute is one that hangs."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, output.decode("utf-8", "replace"))


def program(name: str, how: str) -> str:
    """The path of a program, without which the test fails."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: run {how} as root")
    return path


class NearMaildir:
    """The Maildir on this side, with a directory for each mailbox."""

    def __init__(self, directory: Path) -> None:
        self.maildir = directory / "mail"
        self.maildir.mkdir()

    def files(self, mailbox: str) -> list[Path]:
        """The messages of a mailbox."""
        return [path for part in ("cur", "new") for path in (self.maildir / mailbox / part).iterdir()]

    def bodies(self, mailbox: str) -> list[bytes]:
        """The messages of a mailbox with CRLF and without the marks of the tools, sorted."""
        return sorted(unmarked(path.read_bytes()).replace(b"\n", b"\r\n") for path in self.files(mailbox))

    def put(self, mailbox: str, body: bytes) -> None:
        """A mail program delivers a message."""
        (self.maildir / mailbox / "new" / "1.1.host").write_bytes(body.replace(b"\r\n", b"\n"))

    def find(self, mailbox: str, body: bytes) -> Path:
        """The file of a message."""
        wanted = body.replace(b"\r\n", b"\n")
        return next(path for path in self.files(mailbox) if unmarked(path.read_bytes()) == wanted)


class Mbsync(NearMaildir):
    """mbsync between a simulated server and a Maildir."""

    def __init__(self, port: int, directory: Path, patterns: str = "*") -> None:
        super().__init__(directory)
        self._program = program("mbsync", "scripts/install-mbsync.sh")
        self._configuration = directory / "mbsyncrc"
        text = MBSYNC.format(port=port, maildir=self.maildir, patterns=patterns)
        self._configuration.write_text(text)

    async def run(self) -> None:
        ended = await run(self._program, "-c", self._configuration, "-a")
        assert ended.code == 0, ended.said

    def age(self) -> None:
        """Make the directories old: mbsync waits for two seconds before it reads one that has just changed."""
        for directory in self.maildir.glob("**/"):
            os.utime(directory, (0, 0))


class OfflineImap(NearMaildir):
    """OfflineIMAP between a simulated server and a Maildir, or another server at `near_port` (INBOX only)."""

    def __init__(
        self, port: int, directory: Path, left_out: tuple[str, ...] = (), near_port: int | None = None
    ) -> None:
        super().__init__(directory)
        self._program = program("offlineimap", "scripts/install-peers.sh offlineimap")
        self._configuration = directory / "offlineimaprc"
        near = (
            NEAR_MAILDIR.format(maildir=self.maildir)
            if near_port is None
            else NEAR_IMAP.format(port=near_port)
        )
        names = "".join(f"{name!r}, " for name in left_out)
        self._configuration.write_text(
            OFFLINEIMAP.format(home=directory, port=port, near=near, left_out=names)
        )

    async def run(self) -> Ended:
        return await run(self._program, "-o", "-u", "basic", "-c", self._configuration)


def unmarked(body: bytes) -> bytes:
    """A message without the header field by which a tool finds its copies."""
    return re.sub(rb"(?m)^X-(TUID|OfflineIMAP): .*\r?\n", b"", body)
