"""A Maildir as a store: refs are the unique parts of file names, flags their letters, dates their modification times.

Nothing is written into the Maildir but messages, mailboxes and the empty `maildirfolder` that the Maildir++ convention
asks for. That no two runs use one Maildir at once is a lock on the root directory itself, which leaves no file behind;
where the file system has no such locks (NFS), only the state's lock protects.

The parts, in reading order: `layout` (mailbox names), `maildir_names` (file names), `line_endings`, `maildir_delivery`
(into the Maildir), `maildir_scan` (what is there). Here: the store, its mailboxes, and reading, flagging, removing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mailtwin.errors import (
    ConfigurationError,
    LockedError,
    MailboxError,
    MailtwinError,
    MessageError,
    NoMailboxError,
    StoreMissingError,
)
from mailtwin.model import INBOX, Flags, Identity, Listing, MailboxName, Ref, UidSet
from mailtwin.stores.base import (
    FlagChange,
    Look,
    Mailbox,
    MailboxInfo,
    MailboxList,
    Message,
    Numbering,
    Observation,
    Spool,
    Store,
)
from mailtwin.stores.durable import (
    disk_errors,
    hint_for,
    make_directories,
    make_durable,
    off_loop,
    storage_error,
    sync_directory,
)
from mailtwin.stores.layout import (
    LAYOUTS,
    SUBDIRECTORIES,
    Layout,
    MaildirPlusPlus,
    Nested,
    detect,
    folds,
    speaks_imap,
)
from mailtwin.stores.maildir_delivery import MaildirDelivery, MakeDurable, date_of
from mailtwin.stores.maildir_files import File, Files, Lookup
from mailtwin.stores.maildir_names import HINT_FOREIGN, MAILDIR_VOCABULARY, UniqueNames
from mailtwin.stores.maildir_numbers import read_numbering
from mailtwin.stores.maildir_reading import PIECE_BYTES, Body
from mailtwin.stores.maildir_scan import Scan, cursor_of, is_fresh

SEPARATORS = (":", ";", "!", "-")
VALIDITY = "maildir"
"""Unique names stay unique for ever: a Maildir has one numbering, whatever happens to its mailboxes."""

LEFTOVER_S_MAX = 36 * 3600
"""How old a file in `tmp/` must be to be somebody's leftover, by the Maildir convention."""

IDENTIFY_GROUP = 200
LOOK_GROUP = 2_000

READ_AT_ONCE_BYTES = 1024 * 1024
"""Small messages are read in groups of this size, so that each does not cost a change of threads."""

_OF_ONE_MAILBOX = (
    errno.EACCES,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
)
"""Errors that say something about one mailbox and nothing about the disk."""

_OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that say something about this process and nothing about the message that was to be read."""

_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
ENCODINGS = ("auto", "utf-8", "imap")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MaildirStore(Store):
    """The Maildir at `root`.

    `layout`: `auto`, `maildir++` or `nested`. `separator`: what stands before `2,` in file names, for file systems that
    have no `:`. `encoding`: how mailbox names are written on disk, `utf-8`, `imap` (modified UTF-7) or `auto`. The
    clock, the names and the way to make files durable come in for tests. Raises ConfigurationError.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        layout: str = "auto",
        separator: str = ":",
        encoding: str = "auto",
        clock_ns: Callable[[], int] = time.time_ns,
        names: UniqueNames | None = None,
        durably: MakeDurable = make_durable,
    ) -> None:
        if layout != "auto" and layout not in LAYOUTS:
            raise ConfigurationError(
                f"there is no Maildir layout {layout!r}", hint=f"one of auto, {', '.join(LAYOUTS)}"
            )
        if encoding not in ENCODINGS:
            raise ConfigurationError(
                f"mailbox names cannot be written as {encoding!r}", hint=f"one of {', '.join(ENCODINGS)}"
            )
        if separator not in SEPARATORS:
            raise ConfigurationError(
                f"{separator!r} cannot separate flags", hint=f"one of {' '.join(SEPARATORS)}"
            )
        self.root = Path(root).expanduser().absolute()
        self.address = f"maildir:{self.root}"
        self.separator = separator
        self.clock_ns = clock_ns
        self.names = names or UniqueNames(clock=clock_ns)
        self.durably = durably
        self._kind = layout
        self._encoding = encoding
        self._layout: Layout = MaildirPlusPlus(self.root)
        self._lock = -1
        self._cleaned: set[Path] = set()

    # --- coming and going ---

    async def connect(self, *, create: bool) -> None:
        connected = False
        try:
            await off_loop(lambda: self._connect(create))
            connected = True
        finally:
            if not connected:
                await self.close()

    async def reconnect(self) -> None:
        await self.close()
        await self.connect(create=False)

    async def close(self) -> None:
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)

    def _connect(self, create: bool) -> None:
        assert self._lock < 0, "connected twice"
        with disk_errors(self.root, "use"):
            _require_no_file(self.root)
            if create:
                make_directories(self.root)
            self._lock = self._open_root()
            self._layout = detect(self.root) if self._kind == "auto" else LAYOUTS[self._kind](self.root)
            self._layout.imap_names = self._encoding == "imap" or (
                self._encoding == "auto" and speaks_imap(self._layout)
            )
            directories = self._layout.find().directories
            self._layout.folds = any(map(folds, list(directories.values())[:1]))
            if not directories:
                self._require_no_other_layout()
                if not create:
                    raise _missing(self.root, "is there, but there is no Maildir in it")
                self._make(INBOX, self._layout.canonical(INBOX))
                self._layout.folds = any(map(folds, self._layout.find().directories.values()))

    def directory_of(self, name: MailboxName) -> Path | None:
        """Where the mailbox lies, None when there is none. Blocks."""
        with disk_errors(self.root, "look into"):
            return self._layout.directory(name)

    def _require_no_other_layout(self) -> None:
        """A Maildir whose mailboxes lie otherwise than was said is neither missing nor new."""
        found = detect(self.root)
        if found.kind != self._layout.kind and found.find().directories:
            raise ConfigurationError(
                f"the mailboxes in {self.root} do not lie as {self._layout.kind}, but as {found.kind}",
                hint="leave the layout out, and it is seen from what is there; or choose another directory",
            )

    def _open_root(self) -> int:
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(self.root, "is not there") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise LockedError(
                f"another run of mailtwin works on the Maildir {self.root}",
                hint="wait for it to end, or look for it with `ps`",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
        return descriptor

    def require_root(self) -> None:
        """Raises StoreMissingError when the root is not the directory any more that was connected to."""
        assert self._lock >= 0, "not connected"
        try:
            there, connected = self.root.stat(), os.fstat(self._lock)
        except OSError as error:
            raise _missing(self.root, "has gone") from error
        if (there.st_dev, there.st_ino) != (connected.st_dev, connected.st_ino):
            raise _missing(self.root, "is not the directory any more that it was a moment ago")

    def describe(self) -> tuple[str, ...]:
        return self.address, f"layout {self._layout.kind}, flags after {self.separator}2,"

    # --- mailboxes ---

    async def mailboxes(self) -> MailboxList:
        return await off_loop(self._mailboxes)

    def _mailboxes(self) -> MailboxList:
        self.require_root()
        with disk_errors(self.root, "list"):
            found = self._layout.find()
        now_ns = self.clock_ns()
        infos: dict[MailboxName, MailboxInfo] = {}
        for name, directory in sorted(found.directories.items()):
            spelling = str(directory.relative_to(self.root))
            try:
                cursor = cursor_of(directory, now_ns)
            except FileNotFoundError:
                cursor = None  # `new` is made when the mailbox is opened
            except OSError as error:
                found.problems[spelling] = error.strerror or str(error)
                continue
            infos[name] = MailboxInfo(name, cursor, spelling)
        self.require_root()
        return MailboxList(infos, complete=found.complete, problems=found.problems)

    async def numbering(self, name: MailboxName) -> Numbering | None:
        """As a server that serves this Maildir keeps it beside the messages; None where there is no such list."""
        return await off_loop(lambda: self._numbering(name))

    def _numbering(self, name: MailboxName) -> Numbering | None:
        with _mailbox_errors(name, self.root, "look into"):
            directory = self._layout.directory(name)
            return None if directory is None else read_numbering(directory)

    async def create(self, name: MailboxName) -> None:
        self.require_root()
        await off_loop(lambda: self._create(name))

    def _create(self, name: MailboxName) -> None:
        with _mailbox_errors(name, self.root, "create"):
            if self._layout.directory(name) is None:
                self._make(name, self._layout.canonical(name))

    def _make(self, name: MailboxName, directory: Path) -> None:
        make_directories(directory)
        if isinstance(self._layout, MaildirPlusPlus) and not name.is_inbox:
            (directory / "maildirfolder").touch(mode=0o600)
        for subdirectory in SUBDIRECTORIES:
            (directory / subdirectory).mkdir(mode=0o700, exist_ok=True)
        sync_directory(directory)

    async def remove_mailbox(self, name: MailboxName) -> None:
        self.require_root()
        await off_loop(lambda: self._remove_mailbox(name))

    def _remove_mailbox(self, name: MailboxName) -> None:
        if name.is_inbox:
            raise MailboxError("INBOX cannot be removed")
        with _mailbox_errors(name, self.root, "remove"):
            directory = self._layout.directory(name)
            if directory is None:
                return
            if directory.is_symlink():
                raise MailboxError(
                    f"mailbox {_shown(name)} is a link to a directory elsewhere; that is not removed"
                )
            if isinstance(self._layout, Nested) and self._has_children(directory):
                for subdirectory in reversed(SUBDIRECTORIES):
                    shutil.rmtree(directory / subdirectory, ignore_errors=False)
            else:
                shutil.rmtree(directory)
            sync_directory(directory.parent)

    def _has_children(self, directory: Path) -> bool:
        return any(path.is_dir() and path.name not in SUBDIRECTORIES for path in directory.iterdir())

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[MaildirMailbox]:
        directory = await off_loop(lambda: self._open(name))
        yield MaildirMailbox(self, name, directory)

    def _open(self, name: MailboxName) -> Path:
        self.require_root()
        with _mailbox_errors(name, self.root, "open"):
            directory = self._layout.directory(name)
            if directory is None:
                raise NoMailboxError(f"there is no mailbox {_shown(name)} in {self.root}")
            self._prepare(directory)
        return directory

    def _prepare(self, directory: Path) -> None:
        for subdirectory in SUBDIRECTORIES:
            (directory / subdirectory).mkdir(mode=0o700, exist_ok=True)
            if (directory / subdirectory).is_symlink():
                raise MailboxError(
                    f"{directory / subdirectory} is a symbolic link; what is behind it is no part of this Maildir",
                    hint=HINT_FOREIGN,
                )
        if directory not in self._cleaned:
            self._cleaned.add(directory)
            self._clean(directory / "tmp")

    def _clean(self, temporary: Path) -> None:
        """Removes what a crash left in `tmp/`: files of ours whose process is gone, and whatever is older than 36 h."""
        now_s = self.clock_ns() / 10**9
        with os.scandir(temporary) as entries:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        for entry in files:
            owner = self.names.owner(entry.name)
            # The change time: the modification time of a staged message is its date, years ago perhaps.
            if (owner is not None and _is_gone(owner, self.names.pid)) or (
                now_s - entry.stat(follow_symlinks=False).st_ctime > LEFTOVER_S_MAX
            ):
                (temporary / entry.name).unlink(missing_ok=True)


class MaildirMailbox(Mailbox):
    """One mailbox, in `directory`. It remembers where each file was, and looks again when a reader renamed one."""

    def __init__(self, store: MaildirStore, name: MailboxName, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self._store = store
        self._files = Files(directory, store.separator, store.clock_ns, store.require_root)

    async def observe(self, since: Observation | None = None) -> Observation:  # noqa: ARG002 - it costs little
        scan = await off_loop(self._observe)
        listing = Listing(
            flags={ref: place.flags for ref, place in scan.places.items()},
            validity=VALIDITY,
            coverage=None if scan.quiet else UidSet(),
            vocabulary=MAILDIR_VOCABULARY,
        )
        return Observation(listing, scan.cursor, scan.location)

    def _observe(self) -> Scan:
        scan = self._files.rescan()
        self._files.settle()
        return scan

    async def identify(self, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        identities: dict[Ref, Identity] = {}
        lookup = self._files.lookup()
        for at in range(0, len(refs), IDENTIFY_GROUP):
            group = refs[at : at + IDENTIFY_GROUP]
            identities |= await off_loop(partial(self._identify, group, lookup))
        return identities

    def _identify(self, refs: Sequence[Ref], lookup: Lookup) -> dict[Ref, Identity]:
        identities: dict[Ref, Identity] = {}
        for ref in refs:
            try:
                identity = lookup.at(ref, _identity)
            except (MessageError, OSError) as error:
                if isinstance(error, OSError) and error.errno in _OF_THE_PROCESS:
                    raise storage_error(error, self.directory, "read messages in") from error
                continue  # those that can be read are asked for; fetching one of the others says why it cannot
            if identity is not None:
                identities[ref] = identity
        return identities

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        looks: dict[Ref, Look] = {}
        lookup = self._files.lookup()
        for at in range(0, len(refs), LOOK_GROUP):
            group = refs[at : at + LOOK_GROUP]
            looks |= await off_loop(partial(self._look, group, lookup, self._store.clock_ns()))
        return looks

    def _look(self, refs: Sequence[Ref], lookup: Lookup, now_ns: int) -> dict[Ref, Look]:
        looks: dict[Ref, Look] = {}
        for ref in refs:
            try:
                look = lookup.at(ref, lambda file: _look_at(file, now_ns))
            except (MessageError, OSError):
                continue  # reading it says why it cannot be had
            if look is not None:
                looks[ref] = look
        return looks

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        pending = deque(refs)
        lookup = self._files.lookup()
        while pending:
            group = await off_loop(lambda: _open_some(pending, lookup))
            try:
                for opened in group:
                    yield await _message(opened, spool())
            finally:
                for opened in group:
                    opened.close()

    def delivery(self) -> MaildirDelivery:
        store = self._store
        return MaildirDelivery(self.directory, store.names, store.separator, store.durably)

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        await off_loop(lambda: self._store_flags(changes))
        return {}

    def _store_flags(self, changes: Sequence[FlagChange]) -> None:
        lookup = self._files.lookup()
        with disk_errors(self.directory, "change flags in"):
            for change in changes:
                reflag = partial(self._files.reflag, add=change.add, remove=change.remove)
                for ref in change.refs:
                    lookup.attempt(ref, reflag)
            self._files.sync()

    async def remove(self, refs: Sequence[Ref]) -> None:
        await off_loop(lambda: self._remove(refs))

    def _remove(self, refs: Sequence[Ref]) -> None:
        lookup = self._files.lookup()
        with disk_errors(self.directory, "remove messages from"):
            for ref in refs:
                lookup.attempt(ref, self._files.unlink)
            self._files.sync()


@dataclass(slots=True)
class _Opened:
    """A message about to be fetched: small and read already, or large and open, or not readable."""

    ref: Ref
    flags: Flags
    body: Body | None = None
    wire: bytes | None = None
    date: datetime = EPOCH
    error: MailtwinError | None = None

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


def _open_some(pending: deque[Ref], lookup: Lookup) -> list[_Opened]:
    """Takes refs from `pending` until enough small messages are read, or one large one is open."""
    group: list[_Opened] = []
    total = 0
    while pending and total < READ_AT_ONCE_BYTES:
        ref = pending.popleft()
        opened = _open_one(ref, lookup)
        if opened is not None:
            group.append(opened)
            total += READ_AT_ONCE_BYTES if opened.body is not None else len(opened.wire or b"") + 1024
    return group


def _open_one(ref: Ref, lookup: Lookup) -> _Opened | None:
    flags = lookup.flags(ref)
    try:
        return lookup.at(ref, lambda file: _opened(ref, file))
    except OSError as error:
        return _Opened(
            ref, flags, error=MessageError(f"message {ref} cannot be read: {error.strerror or error}")
        )
    except MessageError as error:
        return _Opened(ref, flags, error=error)


def _opened(ref: Ref, file: File) -> _Opened:
    body = _body(file)
    if body.size >= PIECE_BYTES:
        return _Opened(ref, file.place.flags, body=body, date=body.date)
    with body:
        return _Opened(ref, file.place.flags, wire=b"".join(body.pieces()), date=body.date)


async def _message(opened: _Opened, spool: Spool) -> Message:
    """Lets the bytes flow into `spool`, piece by piece."""
    error = opened.error
    if opened.wire is not None:
        spool.write(opened.wire)
    elif opened.body is not None:
        pieces = opened.body.pieces()
        try:
            while piece := await off_loop(lambda: next(pieces, b"")):
                spool.write(piece)
        except OSError as failure:
            error = MessageError(f"message {opened.ref} cannot be read: {failure.strerror or failure}")
    return Message(opened.ref, opened.flags, opened.date, spool, error)


def _look_at(file: File, now_ns: int) -> Look:
    """The stamp is the file's number, size and times. Renaming moves its change time too, so that a change of flags
    costs reading it once more, and nobody can write into it unseen by setting the modification time back."""
    status = _status(file.path)
    times = f"{status.st_mtime_ns}:{status.st_ctime_ns}"
    stamp = "" if is_fresh(status.st_ctime_ns, now_ns) else f"{status.st_ino}:{status.st_size}:{times}"
    # On the wire each LF may become two bytes. What is no file has none, and is nobody's twin.
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    sizes = size, 2 * size
    return Look(file.place.flags, date_of(status.st_mtime_ns), stamp, sizes)


def _status(path: Path) -> os.stat_result:
    """Of the file, or of a link that leads to none. Raises OSError, FileNotFoundError when nothing has this name."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()


def _body(file: File) -> Body:
    return Body(file.path, verbatim=file.verbatim)


def _identity(file: File) -> Identity:
    with _body(file) as body:
        return body.identity()


def _is_gone(pid: int, own: int) -> bool:
    """Whether the process `pid` of this host has ended; our own unfinished files are not leftovers."""
    if pid == own:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@contextmanager
def _mailbox_errors(name: MailboxName, root: Path, what: str) -> Iterator[None]:
    """Turns an OSError inside into a MailboxError where it concerns `name` only, else into a StorageError."""
    with disk_errors(root, f"{what} mailbox {_shown(name)} in"):
        try:
            yield
        except OSError as error:
            if error.errno not in _OF_ONE_MAILBOX:
                raise
            raise MailboxError(
                f"cannot {what} mailbox {_shown(name)} in {root}: {error.strerror}", hint=hint_for(error)
            ) from error


def _shown(name: MailboxName) -> str:
    """A name for a message to people, however long it is."""
    text = str(name)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _require_no_file(root: Path) -> None:
    for path in (root, *root.parents):
        if path.exists() and not path.is_dir():
            raise ConfigurationError(
                f"{root} cannot be a Maildir: {path} is not a directory",
                hint="a Maildir is a directory; correct the path, or move the file away",
            )


def _missing(root: Path, what: str) -> StoreMissingError:
    return StoreMissingError(
        f"The Maildir {root} {what}. It is taken for missing, not for empty: an unmounted disk is not ten thousand "
        "deletions, so nothing was removed anywhere.",
        hint="mount the disk or correct the path; to begin anew with an empty Maildir, move the pair's state away "
        "(`mailtwin status` shows where it is)",
    )
