"""Both sides of a pair as another program sees them: `imaplib` and `os`, nothing of mailtwin's own stores.

What is read here is the proof, and what is changed here is what people do between two runs. Flags are compared in
lower case, dates to the second, bodies as their wire bytes (CRLF), which a Maildir may keep with LF.
"""

from __future__ import annotations

import base64
import hashlib
import imaplib
import itertools
import os
import re
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailtwin.testing.realservers import Account, RealServer

LETTERS = {
    "D": "\\draft",
    "F": "\\flagged",
    "P": "$forwarded",
    "R": "\\answered",
    "S": "\\seen",
    "T": "\\deleted",
}


@dataclass(frozen=True, slots=True, order=True)
class Mail:
    """What must not change on the way: the digest of the wire bytes, the flags, the arrival date in seconds."""

    digest: str
    flags: frozenset[str]
    date_s: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be delivered."""

    body: bytes
    flags: frozenset[str]
    date: datetime

    @property
    def mail(self) -> Mail:
        """What it is once it is there."""
        return Mail(digest(self.body), lowered(self.flags), int(self.date.timestamp()))


@dataclass(frozen=True, slots=True)
class Found:
    """A message, and what its side calls it (a UID, a file)."""

    handle: str
    mail: Mail


Contents = dict[str, list[Found]]


class Foreign(ABC):
    """Another program's way to one side. Mailbox names have `/` between their levels."""

    address: str
    """As mailtwin wants it."""
    password = ""

    @abstractmethod
    def read(self) -> Contents:
        """All messages of all mailboxes."""

    @abstractmethod
    def create(self, names: Sequence[str]) -> None:
        """Makes mailboxes."""

    @abstractmethod
    def deliver(self, mailbox: str, letters: Iterable[Letter]) -> None:
        """New messages."""

    @abstractmethod
    def flag(self, mailbox: str, changes: Iterable[tuple[Found, frozenset[str]]]) -> None:
        """Each of these messages gets exactly these flags."""

    @abstractmethod
    def remove(self, mailbox: str, messages: Iterable[Found]) -> None:
        """These messages are gone."""

    def keeps(self, flags: frozenset[str]) -> frozenset[str]:
        """The part of `flags` that this side can hold."""
        return flags


class ForeignServer(Foreign):
    """An account on an IMAP server, by `imaplib`."""

    def __init__(self, server: RealServer) -> None:
        self._port = server.port
        self.account: Account = server.user()
        self.password = self.account.password
        self.address = f"imap://{self.account.user}@127.0.0.1:{server.port}/"

    def read(self) -> Contents:
        with closing(self._login()) as client:
            _, listed = client.list()
            contents: Contents = {}
            for name in filter(None, map(_listed_name, listed)):
                _, answer = client.select(_quoted(name), readonly=True)
                contents[name] = self._fetch(client) if int(answer[0] or b"0") else []
            return contents

    def count(self, mailbox: str) -> int:
        """How many messages a mailbox has."""
        with closing(self._login()) as client:
            return int(client.select(_quoted(mailbox), readonly=True)[1][0] or b"0")

    def _fetch(self, client: imaplib.IMAP4) -> list[Found]:
        _, parts = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
        found: list[Found] = []
        for at, part in enumerate(parts):
            if isinstance(part, tuple):
                facts = part[0] + (parts[at + 1] if isinstance(parts[at + 1], bytes) else b"")
                found.append(_fetched(facts, part[1]))
        return found

    def create(self, names: Sequence[str]) -> None:
        with closing(self._login()) as client:
            for name in names:
                if name != "INBOX":
                    _ok(client.create(_quoted(name)))

    def deliver(self, mailbox: str, letters: Iterable[Letter]) -> None:
        with closing(self._login()) as client:
            for letter in letters:
                date = imaplib.Time2Internaldate(letter.date)
                _ok(client.append(_quoted(mailbox), f"({' '.join(letter.flags)})", date, letter.body))

    def flag(self, mailbox: str, changes: Iterable[tuple[Found, frozenset[str]]]) -> None:
        with closing(self._login()) as client:
            _ok(client.select(_quoted(mailbox)))
            for found, flags in changes:
                for sign, changed in (("+", flags - found.mail.flags), ("-", found.mail.flags - flags)):
                    if changed:
                        _ok(
                            client.uid("STORE", found.handle, f"{sign}FLAGS.SILENT", f"({' '.join(changed)})")
                        )

    def remove(self, mailbox: str, messages: Iterable[Found]) -> None:
        uids = [found.handle for found in messages]
        with closing(self._login()) as client:
            _ok(client.select(_quoted(mailbox)))
            for some in _by_200(uids):
                _ok(client.uid("STORE", ",".join(some), "+FLAGS.SILENT", "(\\Deleted)"))
                _ok(client.uid("EXPUNGE", ",".join(some)))

    def _login(self) -> _Client:
        client = _Client("127.0.0.1", self._port)
        client.login(self.account.user, self.account.password)
        return client


class _Client(imaplib.IMAP4):
    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Connects, so that the end of a literal, a small segment of its own, does not wait 40 ms for the last ACK."""
        super().open(host, port, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> Any:
        """Leaves for good, without the EXPUNGE of an IMAP CLOSE."""
        return self.logout()


def _ok(answer: tuple[str, Any]) -> None:
    assert answer[0] == "OK", answer


def _by_200(uids: list[str]) -> Iterable[list[str]]:
    return (uids[at : at + 200] for at in range(0, len(uids), 200))


def _fetched(facts: bytes, body: bytes) -> Found:
    uid, flags, date = (
        re.search(pattern, facts)
        for pattern in (rb"UID (\d+)", rb"FLAGS \(([^)]*)\)", rb'INTERNALDATE "([^"]+)"')
    )
    assert uid is not None, facts
    assert flags is not None, facts
    assert date is not None, facts
    when = datetime.strptime(date[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")
    return Found(
        uid[1].decode(), Mail(digest(body), lowered(flags[1].decode().split()), int(when.timestamp()))
    )


def _listed_name(item: bytes | tuple[bytes, bytes] | None) -> str | None:
    """The mailbox in one LIST answer; None when it cannot hold messages."""
    if item is None:
        return None
    line, literal = item if isinstance(item, tuple) else (item, None)
    matched = re.fullmatch(rb'\(([^)]*)\) (?:"."|NIL) (.*)', line, re.DOTALL)
    assert matched is not None, item
    if re.search(rb"\\(noselect|nonexistent)", matched[1], re.IGNORECASE):
        return None
    raw = literal if literal is not None else matched[2]
    if literal is None and raw.startswith(b'"'):
        raw = re.sub(rb"\\(.)", rb"\1", raw[1:-1])
    return _from_mutf7(raw.decode("ascii"))


def _quoted(name: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", _to_mutf7(name)) + '"'


def _to_mutf7(name: str) -> str:
    """RFC 3501, section 5.1.3."""

    def shifted(matched: re.Match[str]) -> str:
        coded = base64.b64encode(matched[0].encode("utf-16-be")).decode().rstrip("=")
        return f"&{coded.replace('/', ',')}-"

    return re.sub(r"[^\x20-\x7e]+", shifted, name.replace("&", "&-"))


def _from_mutf7(name: str) -> str:
    def plain(matched: re.Match[str]) -> str:
        coded = matched[1].replace(",", "/")
        return base64.b64decode(coded + "=" * (-len(coded) % 4)).decode("utf-16-be") if coded else "&"

    return re.sub(r"&([^-]*)-", plain, name)


class ForeignMaildir(Foreign):
    """A Maildir++ by the rules of its convention: the root is INBOX, `.A.B` is the mailbox A/B."""

    _numbers = itertools.count(1)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = f"maildir:{root}"

    def keeps(self, flags: frozenset[str]) -> frozenset[str]:
        """Flags that have a letter."""
        return flags & frozenset(LETTERS.values())

    def read(self) -> Contents:
        directories = {"INBOX": self.root}
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith(".") and entry.is_dir():
                directories[entry.name[1:].replace(".", "/")] = entry
        return {name: self._read(directory) for name, directory in directories.items()}

    def _read(self, directory: Path) -> list[Found]:
        found: list[Found] = []
        for subdirectory in ("new", "cur"):
            for path in (directory / subdirectory).iterdir():
                data = path.read_bytes()
                wire = data if b"\r\n" in data else data.replace(b"\n", b"\r\n")
                flags = frozenset(LETTERS[letter] for letter in path.name.partition(":2,")[2])
                mail = Mail(digest(wire), flags, int(path.stat().st_mtime))
                found.append(Found(f"{subdirectory}/{path.name}", mail))
        return found

    def create(self, names: Sequence[str]) -> None:
        for name in names:
            for subdirectory in ("tmp", "new", "cur"):
                (self._directory(name) / subdirectory).mkdir(parents=True, exist_ok=True)

    def deliver(self, mailbox: str, letters: Iterable[Letter]) -> None:
        directory = self._directory(mailbox)
        for letter in letters:
            unique = f"{int(time.time())}.{os.getpid()}_{next(self._numbers)}.foreign"
            temporary = directory / "tmp" / unique
            temporary.write_bytes(letter.body.replace(b"\r\n", b"\n"))
            seconds = int(letter.date.timestamp())
            os.utime(temporary, (seconds, seconds))
            temporary.rename(directory / _place(unique, lowered(letter.flags)))

    def flag(self, mailbox: str, changes: Iterable[tuple[Found, frozenset[str]]]) -> None:
        directory = self._directory(mailbox)
        for found, flags in changes:
            unique = Path(found.handle).name.partition(":2,")[0]
            (directory / found.handle).rename(directory / "cur" / (unique + _info(flags)))

    def remove(self, mailbox: str, messages: Iterable[Found]) -> None:
        for found in messages:
            (self._directory(mailbox) / found.handle).unlink()

    def _directory(self, mailbox: str) -> Path:
        return self.root if mailbox == "INBOX" else self.root / ("." + mailbox.replace("/", "."))


def _place(unique: str, flags: frozenset[str]) -> str:
    return f"cur/{unique}{_info(flags)}" if flags else f"new/{unique}"


def _info(flags: frozenset[str]) -> str:
    return ":2," + "".join(letter for letter, flag in LETTERS.items() if flag in flags)


def digest(wire: bytes) -> str:
    """What two equal bodies have in common."""
    return hashlib.sha256(wire).hexdigest()


def lowered(flags: Iterable[str]) -> frozenset[str]:
    """Flags as they are compared; `\\Recent` is a server's own business."""
    return frozenset(flag.lower() for flag in flags) - {"\\recent"}


def shown(mail: Mail) -> str:
    """A message in the report of a failure."""
    when = datetime.fromtimestamp(mail.date_s, UTC).isoformat(" ")
    return f"{mail.digest[:12]} {when} ({' '.join(sorted(mail.flags))})"
