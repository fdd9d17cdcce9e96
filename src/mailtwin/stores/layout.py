"""Where the mailboxes of a Maildir are on disk: mailbox names to directories and back.

Two layouts. `maildir++`: the root is INBOX, all others are directories `.Parent.Child` in it. `nested`: a tree of
directories `Parent/Child` in which each mailbox holds `cur`, `new` and `tmp`; INBOX is `INBOX`, and a directory without
`cur` is a plain parent that holds no mail.

Names on disk are UTF-8, or, as Dovecot and OfflineIMAP write them, in IMAP's modified UTF-7; that is seen from what is
there: a directory `Entw&APw-rfe` is no accident. What a layout cannot hold is written as `%XX`: `%` itself, `/`, NUL
and control characters, the separator `.` (maildir++), a leading dot and the words `cur`, `new`, `tmp` (nested). So no
name, however hostile, is `..`, is absolute, leaves the root or equals another's directory. Directories made by others
are read as they are; where two mean one mailbox, the one that we would have written counts and the other is a problem
that people see. So is a name that leads to the directory of another one: by a link, or because the file system takes
two spellings for one.

A person may have put a mailbox elsewhere and a link in its place; what is below such a link, or below one of the links
`cur`, `new` and `tmp`, is outside of the Maildir, and nothing is made, read or removed there.
"""

from __future__ import annotations

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mailtwin.errors import MailboxError
from mailtwin.imap import mutf7
from mailtwin.model import INBOX, MailboxName
from mailtwin.model.limits import MAILBOXES_MAX, NESTING_MAX

COMPONENT_BYTES_MAX = 255
"""One component of a path, on every file system in use."""

SUBDIRECTORIES = ("tmp", "new", "cur")
"""In the order in which they are made: `cur` makes a directory a mailbox, so it comes last."""

_ESCAPED = re.compile(r"%([0-7][0-9A-Fa-f])")
_CONTROLS = "".join(map(chr, (*range(32), 127)))


@dataclass(slots=True)
class Found:
    """The mailboxes on disk, and what was found that cannot be used, by its spelling, with the reason.

    `complete`: every directory could be looked into.
    """

    directories: dict[MailboxName, Path] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    complete: bool = True


class Layout(ABC):
    """Mailbox names to directories below `root`, and back; in modified UTF-7 if `imap_names`.

    `folds`: the file system takes names for the same that differ in case or normalisation.
    """

    kind: str
    always_escaped: str

    def __init__(self, root: Path, *, imap_names: bool = False) -> None:
        self.root = root
        self.imap_names = imap_names
        self.folds = False

    @abstractmethod
    def canonical(self, name: MailboxName) -> Path:
        """The directory that we would make for `name`, always inside the root.

        Raises MailboxError when no directory can have that name.
        """

    @abstractmethod
    def parse(self, relative: str) -> MailboxName:
        """The mailbox that a directory (relative to the root) stands for; raises ValueError when none."""

    @abstractmethod
    def candidates(self, closed: list[str]) -> Iterator[str]:
        """All directories with a `cur` in them, relative to the root; `closed` gets those that cannot be read.

        Raises OSError when the root is one of them.
        """

    def directory(self, name: MailboxName) -> Path | None:
        """The existing directory of mailbox `name`, or None. Raises MailboxError, OSError."""
        canonical = self.canonical(name)
        self.require_inside(canonical, name)
        exists = is_mailbox(canonical)
        if exists and not canonical.is_symlink() and (not self.folds or _is_spelled_so(canonical)):
            return canonical
        found = self.find().directories.get(name)
        if found is not None:
            self.require_inside(found, name)
        elif exists:
            raise MailboxError(
                f"mailbox {_printable(str(name))} would be in the directory of another one, where "
                f"{canonical.name} leads"
            )
        return found

    def require_inside(self, directory: Path, name: MailboxName) -> None:
        """Raises MailboxError when a link above `directory` leads out of the Maildir."""
        for parent in directory.parents:
            if not parent.is_relative_to(self.root) or parent == self.root:
                return
            if parent.is_symlink():
                raise MailboxError(
                    f"mailbox {_printable(str(name))} is below {parent.name}, which is a symbolic link; what is there "
                    "is no part of this Maildir"
                )

    def find(self) -> Found:
        """All mailboxes on disk. Raises OSError when the root cannot be read."""
        found, closed = Found(), list[str]()
        # What is really there comes before the links to it.
        candidates = sorted(self.candidates(closed), key=lambda at: ((self.root / at).is_symlink(), at))
        places: dict[tuple[int, int], str] = {}
        found.complete = not closed
        found.problems |= {_printable(relative): "cannot be read" for relative in closed}
        for relative in candidates:
            spelling = _printable(relative)
            if len(found.directories) >= MAILBOXES_MAX:
                found.problems[spelling] = f"more than {MAILBOXES_MAX} mailboxes"
                continue
            try:
                self._require_own_place(relative, places)
                self._add(found, relative, spelling)
            except (ValueError, MailboxError) as error:
                found.problems[spelling] = str(error)
            except FileNotFoundError:
                found.complete = (
                    False  # it was there a moment ago, and may have moved to where we looked already
                )
        return found

    def _require_own_place(self, relative: str, places: dict[tuple[int, int], str]) -> None:
        """Raises ValueError when messages of another name lie in the same place, or in one outside of the Maildir."""
        messages = self.root / relative / "cur"
        if messages.is_symlink():
            raise ValueError("its messages are behind a symbolic link")
        status = messages.stat()
        other = places.setdefault((status.st_dev, status.st_ino), relative)
        # Of two that are really there neither is the other, whatever numbers a file system gives them.
        if other != relative and (self.root / relative).is_symlink():
            raise ValueError(f"is the same directory as {_printable(other)}")

    def _add(self, found: Found, relative: str, spelling: str) -> None:
        if spelling != relative:
            raise ValueError("the name of the directory is not UTF-8")
        name, path = self.parse(relative), self.root / relative
        canonical = self.canonical(name)
        other = found.directories.get(name)
        if other is not None:
            keep, drop = (path, other) if path == canonical else (other, path)
            spelling = _printable(str(drop.relative_to(self.root)))
            found.problems[spelling] = f"means the same mailbox as {keep.name}"
            path = keep
        found.directories[name] = path

    def _component(self, text: str, name: MailboxName) -> str:
        try:
            text.encode("utf-8")
            text = mutf7.encode(text).decode("ascii") if self.imap_names else text
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise MailboxError(
                f"mailbox {_printable(str(name))} has a name that is no valid Unicode"
            ) from error
        if size > COMPONENT_BYTES_MAX:
            raise MailboxError(
                f"the name of mailbox {str(name)[:60]}... needs {size} bytes as a directory, and "
                f"{COMPONENT_BYTES_MAX} are possible",
                hint="rename the mailbox, or leave it out by a filter",
            )
        return text

    def _escape(self, part: str) -> str:
        return "".join(f"%{ord(char):02X}" if char in self.always_escaped else char for char in part)

    def _text(self, part: str) -> str:
        """What one level of a directory's name says."""
        decoded = _from_imap(part) if self.imap_names else None
        return _unescape(part if decoded is None else decoded)


class MaildirPlusPlus(Layout):
    """`.Parent.Child` in the root, which is INBOX itself."""

    kind = "maildir++"
    always_escaped = "%./" + _CONTROLS

    def canonical(self, name: MailboxName) -> Path:
        if name.is_inbox:
            return self.root
        return self.root / self._component("".join(f".{self._escape(part)}" for part in name.parts), name)

    def parse(self, relative: str) -> MailboxName:
        if relative == ".":
            return INBOX
        name = MailboxName(tuple(map(self._text, relative.removeprefix(".").split("."))))
        if name.is_inbox:
            raise ValueError("INBOX is the Maildir itself")
        return name

    def candidates(self, closed: list[str]) -> Iterator[str]:
        if is_mailbox(self.root):
            yield "."
        for name, path in _subdirectories(self.root):
            if name.startswith(".") and _may_be_mailbox(path, name, closed):
                yield name


class Nested(Layout):
    """A tree of directories, each of which may be a Maildir."""

    kind = "nested"
    always_escaped = "%/" + _CONTROLS

    def canonical(self, name: MailboxName) -> Path:
        if len(name.parts) > NESTING_MAX:
            raise MailboxError(
                f"mailbox {_printable(str(name))[:60]}... has {len(name.parts)} levels, and {NESTING_MAX} are possible",
                hint="leave it out by a filter",
            )
        path = self.root
        for part in name.parts:
            path /= self._component(self._escape(part), name)
        return path

    def parse(self, relative: str) -> MailboxName:
        return MailboxName(tuple(map(self._text, relative.split("/"))))

    def candidates(self, closed: list[str]) -> Iterator[str]:
        yield from self._below(_subdirectories(self.root), "", closed, 0)

    def _below(
        self, directories: Iterable[tuple[str, Path]], prefix: str, closed: list[str], depth: int
    ) -> Iterator[str]:
        for name, path in directories:
            relative = prefix + name
            if name.startswith(".") or name in SUBDIRECTORIES:
                continue
            if _may_be_mailbox(path, relative, closed):
                yield relative
            # A link may lead back up: what it points to is a mailbox, but its children are not looked for.
            if depth < NESTING_MAX and not path.is_symlink():
                try:
                    children = list(_subdirectories(path))
                except (FileNotFoundError, NotADirectoryError, PermissionError):
                    # Also what was there a moment ago: it may have moved to where we looked already.
                    closed.append(relative)
                    continue
                yield from self._below(children, f"{relative}/", closed, depth + 1)

    def _escape(self, part: str) -> str:
        escaped = super()._escape(part)
        if escaped.startswith(".") or escaped in SUBDIRECTORIES:
            return f"%{ord(escaped[0]):02X}{escaped[1:]}"
        return escaped


LAYOUTS: dict[str, type[Layout]] = {kind.kind: kind for kind in (MaildirPlusPlus, Nested)}


def detect(root: Path) -> Layout:
    """The layout of what is in `root`; maildir++ where that does not show. Raises OSError."""
    plus_plus, nested = MaildirPlusPlus(root), Nested(root)
    if next(plus_plus.candidates([]), None) is None and next(nested.candidates([]), None) is not None:
        return nested
    return plus_plus


def speaks_imap(layout: Layout) -> bool:
    """Whether any directory of a mailbox has a name outside ASCII in modified UTF-7. Raises OSError."""
    for relative in layout.candidates([]):
        parts = map(_from_imap, re.split("[./]", relative))
        if any(part is not None and not part.isascii() for part in parts):
            return True
    return False


def folds(directory: Path) -> bool:
    """Whether the file system finds the `cur` of the mailbox in `directory` under another spelling too."""
    return is_mailbox(directory) and (directory / "CUR").exists() and not _is_spelled_so(directory / "CUR")


def _is_spelled_so(directory: Path) -> bool:
    with os.scandir(directory.parent) as entries:
        return any(entry.name == directory.name for entry in entries)


def is_mailbox(directory: Path) -> bool:
    """Whether messages can be in this directory: whether it has a `cur`."""
    return (directory / "cur").is_dir()


def _may_be_mailbox(directory: Path, relative: str, closed: list[str]) -> bool:
    try:
        return is_mailbox(directory)
    except PermissionError:
        closed.append(relative)
        return False


def _subdirectories(directory: Path) -> Iterator[tuple[str, Path]]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _leads_to_directory(entry)]
    for name in names:
        yield name, directory / name


def _leads_to_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory or a link to one; also one that cannot be looked into, as whoever looks will see."""
    try:
        return entry.is_dir()
    except PermissionError:
        return True
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # links in a circle lead nowhere
        raise


def _from_imap(part: str) -> str | None:
    """The text of a name in modified UTF-7; None when it is none."""
    text = mutf7.decode(part.encode("utf-8", "surrogateescape"))
    return None if _odd(text) else text


def _unescape(part: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), part)


def _printable(text: str) -> str:
    """`text` with the bytes that are not UTF-8 written as escapes; the same text when there are none."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _odd(text) else text


def _odd(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
