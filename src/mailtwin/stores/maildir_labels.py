"""A Maildir whose messages carry labels: one file for each message, and one text file that says who carries which.

The file `mailtwin-labels` lies beside `cur` and `new` of the mailbox of all mail. People and programs may change it:

    # mailtwin labels 1
    TAB Work                                           a label, in use or not
    1700000000.M12P34Q5R6.host TAB Work TAB \\Inbox     the unique part of a message's file name, and its labels

TAB separates; in names and labels `%` and control characters are written as `%25` and the like. The file is replaced
as a whole, durably, and never by what was read before somebody else changed it. A file that is missing, does not begin
with its first line, breaks off in a line or has blanks for TAB says nothing: it is never taken for a wish to take
labels away. What editors add, a byte order mark and CR before the line's end, does not count.

Read first: `maildir`, `mailtwin.model.labels`.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mailtwin.errors import MailboxError
from mailtwin.model import NO_FLAGS, Flags, MailboxName, Ref, make_flags
from mailtwin.model.labels import escaped, label_flag, label_flags, label_in, split_labels, unescaped
from mailtwin.stores.base import (
    ALL_MAIL,
    FlagChange,
    Look,
    MailboxInfo,
    MailboxList,
    Message,
    Observation,
    Outcome,
    Spool,
    Target,
)
from mailtwin.stores.durable import disk_errors, let_go, off_loop, sync_directory, write_all
from mailtwin.stores.maildir import MaildirMailbox, MaildirStore
from mailtwin.stores.maildir_delivery import MaildirDelivery
from mailtwin.stores.maildir_scan import is_fresh, scan_mailbox

FILE_NAME = "mailtwin-labels"
FIRST_LINE = "# mailtwin labels 1"
ROUNDS_MAX = 10
"""How often a change is tried while somebody else changes the file."""


Stamp = tuple[int, int, int, int]
"""Inode, size, modification time and change time of the file."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What the file says: the labels of each message as flags, those that are named by themselves, and which file it
    was, so that another one is told from it."""

    flags: Mapping[str, Flags]
    names: frozenset[str]
    stamp: Stamp

    @property
    def all_names(self) -> frozenset[str]:
        """Every label that is named or carried, but for those of a server."""
        carried = {label for flags in self.flags.values() for flag in flags if (label := label_in(flag))}
        return frozenset(name for name in self.names | carried if not name.startswith("\\"))


class LabelFile:
    """The file in the directory of one mailbox. Everything blocks; to be used off the event loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE_NAME

    def make(self) -> None:
        """An empty one, unless there is one. Raises OSError."""
        if not self.path.exists():
            self._write({}, frozenset())

    def read(self) -> Labelled:
        """What it says, all of it durable. Raises MailboxError when it says nothing, OSError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise MailboxError(
                f"{self.path} is gone: nobody knows which message carries which label. Nothing was changed.",
                hint="bring it back; or move the pair's state away (`mailtwin status` names it), and the first run "
                "writes it anew from the other side",
            ) from None
        with os.fdopen(descriptor, "rb") as file:
            os.fsync(descriptor)
            stamp = _stamp(os.fstat(descriptor))
            *lines, rest = file.read().removeprefix(codecs.BOM_UTF8).split(b"\n")
        if rest:
            raise self._senseless(len(lines) + 1, "it breaks off, without a line end")
        if not lines or lines[0].removesuffix(b"\r") != FIRST_LINE.encode():
            raise self._senseless(1, f"it does not begin with {FIRST_LINE!r}")
        return Labelled(*self._parse(lines), stamp)

    def cursor(self, now_ns: int) -> str | None:
        """The cursor of the file as it is now; None when there is none that tells: reading it says why."""
        try:
            return _cursor(_stamp(self.path.stat()), now_ns)
        except OSError:
            return None

    def _parse(self, lines: Sequence[bytes]) -> tuple[dict[str, Flags], frozenset[str]]:
        flags: dict[str, Flags] = {}
        names: set[str] = set()
        for number, raw in enumerate(lines, 1):
            if raw.startswith(b"#"):
                continue
            try:
                ref, *labels = map(unescaped, raw.decode().rstrip("\r").split("\t"))
            except UnicodeDecodeError:
                raise self._senseless(number, "it is not UTF-8") from None
            if not ref:
                names.update(filter(None, labels))
            elif not labels and " " in ref:
                raise self._senseless(number, "it has no TAB between the message and its labels")
            elif ref in flags:
                raise self._senseless(number, f"{ref} has a line already")
            else:
                flags[ref] = label_flags(labels)
        return flags, frozenset(names)

    def _senseless(self, number: int, why: str) -> MailboxError:
        return MailboxError(
            f"{self.path}, line {number}: {why}. Nothing was changed.", hint="correct the file, and run again"
        )

    def change(self, edit: Callable[[dict[str, Flags], set[str]], None]) -> None:
        """Replaces the file by what `edit` makes of its flags and names. Raises MailboxError, OSError."""
        for _round in range(ROUNDS_MAX):
            found = self.read()
            # A label that the last message loses is still a label.
            flags, names = dict(found.flags), set(found.all_names)
            edit(flags, names)
            if flags == found.flags and names == found.all_names:
                return
            if self._write(flags, names, instead_of=found.stamp):
                return
        raise MailboxError(
            f"{self.path} is being changed by another program all the time", hint="run again later"
        )

    def _write(
        self, flags: Mapping[str, Flags], names: Iterable[str], instead_of: Stamp | None = None
    ) -> bool:
        """Whether the file was written: not when it is another one by now than `instead_of`."""
        lines = [FIRST_LINE, *(f"\t{escaped(name)}" for name in sorted(names))]
        for ref in sorted(flags):
            labels = sorted(filter(None, map(label_in, flags[ref])))
            if labels:
                # A line that begins with a number sign says nothing.
                first = escaped(ref, "#") if ref.startswith("#") else escaped(ref)
                lines.append("\t".join((first, *map(escaped, labels))))
        made = self.directory / "tmp" / f"{FILE_NAME}.{os.getpid()}"
        descriptor = os.open(
            made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            write_all(descriptor, ("\n".join(lines) + "\n").encode())
            os.fsync(descriptor)
        except OSError:
            let_go(made)
            raise
        finally:
            os.close(descriptor)
        if instead_of is not None and _stamp(self.path.stat()) != instead_of:
            let_go(made)
            return False
        made.rename(self.path)
        sync_directory(self.directory)
        return True


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cursor(stamp: Stamp, now_ns: int) -> str | None:
    """Another text after each change; None while a change could go unseen."""
    return None if is_fresh(max(stamp[2:]), now_ns) else ":".join(map(str, stamp))


class LabelledMaildir(MaildirStore):
    """A Maildir in whose mailbox of all mail messages carry labels; its arguments are those of `MaildirStore`."""

    def __init__(self, root: Path | str, **options: Any) -> None:
        super().__init__(root, **options)
        self.address += "?view=labels"

    async def connect(self, *, create: bool) -> None:
        """Where both sides never agreed on anything (`create`), a mailbox that is there gets its file."""
        await super().connect(create=create)
        if create:
            await self._make_file()

    def _file(self) -> LabelFile | None:
        directory = self.directory_of(ALL_MAIL)
        return None if directory is None else LabelFile(directory)

    async def create(self, name: MailboxName) -> None:
        """The mailbox, and the file in that of all mail."""
        await super().create(name)
        if name == ALL_MAIL:
            await self._make_file()

    async def _make_file(self) -> None:
        file = await off_loop(self._file)
        if file is not None:
            with disk_errors(file.path, "make"):
                await off_loop(file.make)

    async def mailboxes(self) -> MailboxList:
        """The cursor of the mailbox of all mail is also one of its file."""
        listed = await super().mailboxes()
        info = listed.mailboxes.get(ALL_MAIL)
        if info is None:
            return listed
        file = await off_loop(self._file)
        of_labels = None if file is None else await off_loop(lambda: file.cursor(self.clock_ns()))
        cursor = joined(info.cursor, of_labels)
        return replace(listed, mailboxes={**listed.mailboxes, ALL_MAIL: replace(info, cursor=cursor)})

    async def labels(self) -> MailboxList:
        """What the file names and messages carry."""
        file = await off_loop(self._file)
        if file is None:
            return MailboxList({})
        with disk_errors(file.path, "read"):
            found = await off_loop(file.read)
        problems: dict[str, str] = {}
        infos: dict[MailboxName, MailboxInfo] = {}
        for label in sorted(found.all_names):
            try:
                name = MailboxName(tuple(label.split("/")))
            except ValueError:
                problems[label] = "a part of the name is empty"
                continue
            infos[name] = MailboxInfo(name, spelling=label)
        return MailboxList(infos, problems=problems)

    async def create_label(self, name: MailboxName) -> None:
        """A line for it."""
        await self._edit(lambda _flags, names: names.add("/".join(name.parts)))

    async def remove_label(self, name: MailboxName) -> None:
        """Its line goes, unless messages carry it. Lines of messages that are gone say nothing."""
        label = "/".join(name.parts)
        flag = label_flag(label)

        def edit(flags: dict[str, Flags], names: set[str]) -> None:
            directory = self.directory_of(ALL_MAIL)
            assert directory is not None, "there is a file in it"
            there = scan_mailbox(directory, self.separator, self.clock_ns()).places
            for ref in [ref for ref, held in flags.items() if flag in held]:
                if ref in there:
                    raise MailboxError(
                        f"the label {name} is not removed: {self.address} has messages that carry it"
                    )
                flags[ref] = make_flags(flags[ref] - {flag})
            names.discard(label)

        await self._edit(edit)

    async def _edit(self, edit: Callable[[dict[str, Flags], set[str]], None]) -> None:
        file = await off_loop(self._file)
        if file is None:
            raise MailboxError(f"{self.address} has no mailbox {ALL_MAIL}")
        with disk_errors(file.path, "change"):
            await off_loop(lambda: file.change(edit))

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[MaildirMailbox]:
        """Only messages in the mailbox of all mail carry labels."""
        async with super().open(name) as mailbox:
            yield mailbox if name != ALL_MAIL else LabelledMailbox(self, name, mailbox.directory)


class LabelledDelivery(MaildirDelivery):
    """A batch for the mailbox of all mail: a message that is seen has its labels."""

    def __init__(self, file: LabelFile, store: MaildirStore) -> None:
        super().__init__(file.directory, store.names, store.separator, store.durably)
        self._file = file
        self._labels: dict[str, Flags] = {}

    def stage(self, message: Message, flags: Flags) -> Target:
        flags, labels = split_labels(flags)
        target = super().stage(message, flags)
        if labels:
            self._labels[str(target.ref)] = labels
        return target

    async def commit(self) -> list[Outcome]:
        """Labels first. A line for a message that never came says nothing, and goes with the next change."""
        if self._labels:
            with disk_errors(self._file.path, "change"):
                await off_loop(lambda: self._file.change(lambda flags, _names: flags.update(self._labels)))
        return await super().commit()


class LabelledMailbox(MaildirMailbox):
    """The mailbox of all mail; its file is read when the mailbox is observed."""

    def __init__(self, store: MaildirStore, name: MailboxName, directory: Path) -> None:
        super().__init__(store, name, directory)
        self._file = LabelFile(directory)
        self._labels: Mapping[str, Flags] = {}
        self._gone: frozenset[str] = frozenset()

    async def observe(self, since: Observation | None = None) -> Observation:  # noqa: ARG002 - as any Maildir
        """The file first, as the cursor has to be older than what it is the cursor of."""
        with disk_errors(self._file.path, "read"):
            found = await off_loop(self._file.read)
        cursor = _cursor(found.stamp, self._store.clock_ns())
        seen = await super().observe()
        self._labels = found.flags
        gone = found.flags.keys() - seen.listing.flags.keys()
        self._gone = frozenset(map(str, gone)) if seen.listing.complete else frozenset()
        flags = {ref: self._with_labels(ref, held) for ref, held in seen.listing.flags.items()}
        vocabulary = replace(seen.listing.vocabulary, labels=True)
        listing = replace(seen.listing, flags=flags, vocabulary=vocabulary)
        return replace(seen, listing=listing, cursor=joined(seen.cursor, cursor))

    def _with_labels(self, ref: Ref, flags: Flags) -> Flags:
        labels = self._labels.get(str(ref), NO_FLAGS)
        return make_flags(flags | labels) if labels else flags

    def delivery(self) -> MaildirDelivery:
        return LabelledDelivery(self._file, self._store)

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        """With the labels as last observed."""
        looks = await super().look(refs)
        return {ref: replace(look, flags=self._with_labels(ref, look.flags)) for ref, look in looks.items()}

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """With the labels as last observed."""
        async with aclosing(super().fetch(refs, spool)) as messages:
            async for message in messages:
                yield replace(message, flags=self._with_labels(message.ref, message.flags))

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        """Flags into the names of the files, labels into the one file, at once."""
        split = [(change.refs, split_labels(change.add), split_labels(change.remove)) for change in changes]
        refused = await super().store_flags(
            [FlagChange(refs, add, remove) for refs, (add, _), (remove, _) in split]
        )

        def edit(flags: dict[str, Flags], _names: set[str]) -> None:
            for refs, (_, add), (_, remove) in split:
                for ref in map(str, refs):
                    flags[ref] = make_flags((flags.get(ref, NO_FLAGS) | add) - remove)
            for ref in self._gone & flags.keys():
                del flags[ref]

        if any(add or remove for _, (_, add), (_, remove) in split):
            with disk_errors(self._file.path, "change"):
                await off_loop(lambda: self._file.change(edit))
        return refused


def joined(cursor: str | None, other: str | None) -> str | None:
    """Two cursors as one: equal when both are."""
    return None if cursor is None or other is None else f"{cursor} {other}"
