"""The two sides of a trial as another program sees them: `imaplib` and `os`, nothing of any tool's own.

Every letter carries its number in a header field, so that its copies are told apart from those of all others whatever
a tool did to them. Read next: `audit`.
"""

from __future__ import annotations

import imaplib
import itertools
import os
import re
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mailtwin.testing.corpus import messages
from mailtwin.testing.realservers import HOST, Account, RealServer

__all__ = ["MAILBOXES", "Contents", "Found", "Letter", "MaildirSide", "ServerSide", "Side", "letters"]

MAILBOXES = ("INBOX", "Work")
_NUMBER = re.compile(rb"^X-Letter: ([0-9]+)\r?$", re.MULTILINE | re.IGNORECASE)
_HEADER_BYTES_MAX = 64 * 1024
_LETTER_BYTES_MAX = 128 * 1024
_MAILDIR_FLAGS = {"D": "\\draft", "F": "\\flagged", "R": "\\answered", "S": "\\seen", "T": "\\deleted"}


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be delivered; `number` is in its header."""

    number: int
    body: bytes
    flags: frozenset[str]
    date: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A message that is there: `handle` is its UID or file name, `number` None if it is nobody's letter."""

    mailbox: str
    handle: str
    number: int | None
    body: bytes
    flags: frozenset[str]


Contents = list[Found]


def letters(seed: int | str, numbers: Iterator[int]) -> Iterator[Letter]:
    """Endless mail that Dovecot, Cyrus and Courier keep as it is: ASCII headers with fields only, no large bodies.

    Only the system flags that a Maildir has too, except Deleted.
    """
    for message in messages(hash_of(seed), 10**9):
        header = message.body.partition(b"\r\n\r\n")[0]
        plain = header.isascii() and b"not a header line" not in header
        if plain and len(message.body) < _LETTER_BYTES_MAX:
            number = next(numbers)
            flags = message.flags & {"\\Seen", "\\Answered", "\\Flagged", "\\Draft"}
            yield Letter(number, b"X-Letter: %d\r\n" % number + message.body, flags, message.date)


def hash_of(seed: int | str) -> int:
    """A number for a seed of any kind, the same in every process."""
    return int.from_bytes(str(seed).encode(), "big") % (2**61 - 1)


def found(mailbox: str, handle: str, body: bytes, flags: Iterable[str]) -> Found:
    """What a message is, from its bytes."""
    matched = _NUMBER.search(body[:_HEADER_BYTES_MAX])
    lowered = frozenset(flag.lower() for flag in flags) & frozenset(_MAILDIR_FLAGS.values())
    return Found(mailbox, handle, int(matched[1]) if matched else None, body, lowered)


class Side(ABC):
    """One side. Mailboxes are named as in `MAILBOXES`, whatever the server calls them."""

    @abstractmethod
    def create(self) -> None:
        """Makes the mailboxes."""

    @abstractmethod
    def read(self) -> Contents:
        """All messages of all mailboxes."""

    @abstractmethod
    def deliver(self, mailbox: str, new: Iterable[Letter]) -> None:
        """New messages."""

    @abstractmethod
    def remove(self, gone: Iterable[Found]) -> None:
        """These messages are no more."""

    @abstractmethod
    def flag(self, changes: Mapping[Found, frozenset[str]]) -> None:
        """Each of these messages gets exactly these flags."""


class ServerSide(Side):
    """An account on a server, by `imaplib`."""

    def __init__(self, server: RealServer) -> None:
        self.server = server
        self.account: Account = server.user()

    def create(self) -> None:
        with self._login() as client:
            for name in MAILBOXES:
                if name != "INBOX":
                    _ok(client.create(self._spelt(name)))
                _ok(client.subscribe(self._spelt(name)))

    def read(self) -> Contents:
        contents: Contents = []
        with self._login() as client:
            for name in self._listed(client):
                count = _ok(client.select(f'"{name}"', readonly=True))[0]
                if int(count or b"0"):
                    parts = _ok(client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])"))
                    contents += _fetched(self._known(name), parts)
        return contents

    def deliver(self, mailbox: str, new: Iterable[Letter]) -> None:
        with self._login() as client:
            for letter in new:
                date = imaplib.Time2Internaldate(letter.date)
                flags = f"({' '.join(sorted(letter.flags))})"
                _ok(client.append(self._spelt(mailbox), flags, date, letter.body))

    def remove(self, gone: Iterable[Found]) -> None:
        with self._login() as client:
            for mailbox, some in _by_mailbox(gone):
                uids = ",".join(one.handle for one in some)
                _ok(client.select(self._spelt(mailbox)))
                _ok(client.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)"))
                _ok(client.uid("EXPUNGE", uids))

    def flag(self, changes: Mapping[Found, frozenset[str]]) -> None:
        with self._login() as client:
            for mailbox, some in _by_mailbox(changes):
                _ok(client.select(self._spelt(mailbox)))
                for one in some:
                    _ok(client.uid("STORE", one.handle, "FLAGS.SILENT", f"({' '.join(changes[one])})"))

    def spelt(self, mailbox: str) -> str:
        """The server's name of a mailbox."""
        return mailbox if mailbox == "INBOX" else self.server.prefix + mailbox

    def _spelt(self, mailbox: str) -> str:
        return f'"{self.spelt(mailbox)}"'

    def _known(self, name: str) -> str:
        return name if name == "INBOX" else name.removeprefix(self.server.prefix)

    def _listed(self, client: imaplib.IMAP4) -> list[str]:
        lines = [line for line in _ok(client.list()) if isinstance(line, bytes) and b"\\Noselect" not in line]
        return [line.decode().rsplit(" ", 1)[1].strip('"') for line in lines]

    @contextmanager
    def _login(self) -> Iterator[imaplib.IMAP4]:
        client = imaplib.IMAP4(HOST, self.server.port, timeout=60)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.login(self.account.user, self.account.password)
        try:
            yield client
        finally:
            client.logout()


def _ok(answer: tuple[str, Any]) -> list[Any]:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error(str(answer))
    return list(answer[1])


def _by_mailbox(some: Iterable[Found]) -> Iterator[tuple[str, list[Found]]]:
    listed = sorted(some, key=lambda one: one.mailbox)
    for mailbox, group in itertools.groupby(listed, lambda one: one.mailbox):
        yield mailbox, list(group)


def _fetched(mailbox: str, parts: list[Any]) -> Iterator[Found]:
    for at, part in enumerate(parts):
        if isinstance(part, tuple):
            facts = part[0] + (parts[at + 1] if isinstance(parts[at + 1], bytes) else b"")
            uid, flags = re.search(rb"UID (\d+)", facts), re.search(rb"FLAGS \(([^)]*)\)", facts)
            assert uid is not None, facts
            assert flags is not None, facts
            yield found(mailbox, uid[1].decode(), part[1], flags[1].decode().split())


class MaildirSide(Side):
    """A Maildir++ on disk: the directory itself is INBOX, `.Work` is Work."""

    _unique = itertools.count(1)

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        for name in MAILBOXES:
            for subdirectory in ("tmp", "new", "cur"):
                (self._directory(name) / subdirectory).mkdir(parents=True, exist_ok=True)

    def read(self) -> Contents:
        contents: Contents = []
        for name in MAILBOXES:
            for subdirectory in ("new", "cur"):
                for path in sorted((self._directory(name) / subdirectory).iterdir()):
                    data = path.read_bytes()
                    wire = data if b"\r\n" in data else data.replace(b"\n", b"\r\n")
                    flags = [_MAILDIR_FLAGS.get(letter, "") for letter in path.name.partition(":2,")[2]]
                    contents.append(found(name, f"{subdirectory}/{path.name}", wire, flags))
        return contents

    def deliver(self, mailbox: str, new: Iterable[Letter]) -> None:
        directory = self._directory(mailbox)
        for letter in new:
            unique = f"{int(time.time())}.{os.getpid()}_{next(self._unique)}.faults"
            temporary = directory / "tmp" / unique
            temporary.write_bytes(letter.body.replace(b"\r\n", b"\n"))
            seconds = int(letter.date.timestamp())
            os.utime(temporary, (seconds, seconds))
            temporary.rename(directory / "cur" / (unique + _info(letter.flags)))

    def remove(self, gone: Iterable[Found]) -> None:
        for one in gone:
            (self._directory(one.mailbox) / one.handle).unlink()

    def flag(self, changes: Mapping[Found, frozenset[str]]) -> None:
        for one, flags in changes.items():
            directory = self._directory(one.mailbox)
            unique = Path(one.handle).name.partition(":2,")[0]
            (directory / one.handle).rename(directory / "cur" / (unique + _info(flags)))

    def _directory(self, mailbox: str) -> Path:
        return self.root if mailbox == "INBOX" else self.root / f".{mailbox}"


def _info(flags: Iterable[str]) -> str:
    lowered = {flag.lower() for flag in flags}
    return ":2," + "".join(letter for letter, flag in _MAILDIR_FLAGS.items() if flag in lowered)
