"""How messages come into a Maildir mailbox: into `tmp/` as their bytes arrive, then durable and visible in groups.

A small message is one write. A large one is written as it comes, with LF line ends as long as that is lossless; when
it turns out not to be, its file is written anew, verbatim (`line_endings`).

Where a message appears: one without any flag in `new/`, because that is where mail readers and notifiers look for mail
that nobody has seen; every other one in `cur/`, the only place where a file name may show flags.

Read first: `line_endings`, `maildir_names`, `durable`.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailtwin.errors import MailboxError, MailtwinError, StorageError
from mailtwin.model import Flags
from mailtwin.stores.base import Delivery, Message, Outcome, Refused, Spool, Stored, Target, Unknown
from mailtwin.stores.durable import let_go, make_durable, off_loop, storage_error, sync_directory, write_all
from mailtwin.stores.line_endings import CrlfFinder, LfWriter, to_file
from mailtwin.stores.maildir_names import VERBATIM, UniqueNames, info_with

BUFFER_BYTES_MAX = 256 * 1024
"""Up to this size a message is one write; beyond it is written in pieces of this size."""

_COPY_BYTES = 256 * 1024
_TIME_S_MIN, _TIME_S_MAX = -(2**31), 2**33
"""What every file system in use can hold as a modification time: from 1901 to 2242."""

MakeDurable = Callable[[Sequence[Path], Path], dict[Path, OSError]]


class MaildirSpool(Spool):
    """The body of one message on its way into `tmp/`; it will have a name, and needs no digest to be found by."""

    digests = False

    def __init__(self, new_file: Callable[[], Path]) -> None:
        super().__init__()
        self._new_file = new_file
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._path: Path | None = None
        self._descriptor = -1
        self._lines: LfWriter | None = LfWriter()
        self._crlf = CrlfFinder()
        self._lf = False
        self.verbatim_mark = False

    def keep(self, chunk: bytes | memoryview) -> None:
        self._buffer.append(bytes(chunk))
        self._buffered += len(chunk)
        if self._buffered > BUFFER_BYTES_MAX:
            self._guarded(self._flush)

    def finish(self) -> Path:
        """Writes what is left and returns the file, which is complete. Raises StorageError."""
        self._guarded(self._finish)
        assert self._path is not None
        return self._path

    def chunks(self, size: int = 256 * 1024) -> Iterator[bytes]:
        if self._path is not None:
            with self._path.open("rb") as file:
                while chunk := file.read(size):
                    yield chunk if self._lines is None else chunk.replace(b"\n", b"\r\n")
            if self._lines is not None and self._descriptor >= 0:
                yield self._lines.held
        yield from self._buffer

    def discard(self) -> None:
        self._close()
        self._buffer, self._buffered = [], 0
        if self._path is not None:
            let_go(self._path)
            self._path = None

    def released(self) -> None:
        """The file has become a message; it is not this spool's any more."""
        self._path = None

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            path = self._path
            self.discard()
            raise storage_error(error, path or "a file in tmp/", "write") from error

    def _finish(self) -> None:
        if self._path is None:
            wire = b"".join(self._buffer)
            data, self.verbatim_mark = to_file(wire)
            self._lines = None if data == wire else self._lines
            self._open()
            write_all(self._descriptor, data)
        else:
            self._flush()
            if self._lines is not None:
                write_all(self._descriptor, self._lines.held)
            else:
                self.verbatim_mark = self._lf and not self._crlf.found
        self._buffer, self._buffered = [], 0
        self._close()

    def _flush(self) -> None:
        data = b"".join(self._buffer)
        self._buffer, self._buffered = [], 0
        if self._path is None:
            self._open()
        self._crlf.feed(data)
        self._lf = self._lf or b"\n" in data
        converted = self._lines.feed(data) if self._lines is not None else None
        if converted is None and self._lines is not None:
            self._rewrite_verbatim(self._lines.held)
            self._lines = None
        write_all(self._descriptor, data if converted is None else converted)

    def _rewrite_verbatim(self, held: bytes) -> None:
        """Replaces the file by one with the wire bytes; all that is in it so far was converted without loss."""
        old = self._path
        assert old is not None
        self._close()
        reading = os.open(old, os.O_RDONLY)
        try:
            self._open()
            while chunk := os.read(reading, _COPY_BYTES):
                write_all(self._descriptor, chunk.replace(b"\n", b"\r\n"))
            write_all(self._descriptor, held)
        finally:
            os.close(reading)
            old.unlink()

    def _open(self) -> None:
        path = self._new_file()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._path = path

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Staged:
    spool: MaildirSpool
    file: Path
    target: Path
    ref: str


class MaildirDelivery(Delivery):
    """One batch for the mailbox in `directory`."""

    def __init__(
        self,
        directory: Path,
        names: UniqueNames,
        separator: str,
        durably: MakeDurable = make_durable,
    ) -> None:
        self._directory = directory
        self._tmp, self._new, self._cur = directory / "tmp", directory / "new", directory / "cur"
        self._names = names
        self._separator = separator
        self._durably = durably
        self._spools: list[MaildirSpool] = []
        self._staged: list[_Staged] = []

    def spool(self) -> Spool:
        spool = MaildirSpool(lambda: self._tmp / self._names.temporary())
        self._spools.append(spool)
        return spool

    def stage(self, message: Message, flags: Flags) -> Target:
        spool = message.spool
        assert isinstance(spool, MaildirSpool)
        file = spool.finish()
        seconds = _in_range(math.floor(message.date.timestamp()))
        try:
            os.utime(file, (seconds, seconds))
        except OSError as error:
            spool.discard()
            raise storage_error(error, file, "set the date of") from error
        ref = self._names.new() + (VERBATIM if spool.verbatim_mark else "")
        target = self._cur / (ref + info_with("", flags, self._separator)) if flags else self._new / ref
        self._staged.append(_Staged(spool, file, target, ref))
        return Target(ref=ref, floor=None, identity=None)

    async def commit(self) -> list[Outcome]:
        staged, self._staged = self._staged, []
        outcomes = await off_loop(lambda: self._commit(staged)) if staged else []
        await self.abort()
        return outcomes

    async def abort(self) -> None:
        spools, self._spools, self._staged = self._spools, [], []
        for spool in spools:
            spool.discard()

    def _commit(self, staged: list[_Staged]) -> list[Outcome]:
        try:
            failed = self._durably([one.file for one in staged], self._tmp)
        except OSError as error:
            return [Refused(self._refusal(error, one.file, "make durable")) for one in staged]
        outcomes = [self._show(one, failed.get(one.file)) for one in staged]
        unsynced = self._sync_directories({one.target.parent for one in staged})
        for at, one in enumerate(staged):
            doubt = unsynced.get(one.target.parent)
            if doubt is not None and isinstance(outcomes[at], Stored):
                outcomes[at] = Unknown(finished=True, accepted=False, error=doubt)
        return outcomes

    def _show(self, one: _Staged, failed: OSError | None) -> Outcome:
        """Makes one durable file visible, or says why it is not in the mailbox."""
        if failed is not None:
            return Refused(self._refusal(failed, one.file, "make durable"))
        try:
            one.file.rename(one.target)
        except OSError as error:
            return Refused(self._refusal(error, one.target, "create"))
        one.spool.released()
        return Stored(one.ref)

    def _refusal(self, error: OSError, path: Path, what: str) -> MailtwinError:
        if error.errno == errno.ENOENT:
            return MailboxError(f"the mailbox {self._directory} was removed meanwhile")
        return storage_error(error, path, what)

    def _sync_directories(self, directories: set[Path]) -> dict[Path, StorageError]:
        failed: dict[Path, StorageError] = {}
        for directory in sorted(directories):
            try:
                sync_directory(directory)
            except OSError as error:
                failed[directory] = storage_error(error, directory, "sync")
        return failed


def date_of(mtime_ns: int) -> datetime:
    """The arrival date that a file's modification time stands for, to the second."""
    return datetime.fromtimestamp(_in_range(mtime_ns // 10**9), UTC)


def _in_range(seconds: int) -> int:
    return min(max(seconds, _TIME_S_MIN), _TIME_S_MAX)
