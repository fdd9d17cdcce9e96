"""The bytes of one message file, as wire bytes (`line_endings`), with its date.

A small file is read once. A large one is looked through for a CRLF first and then read again in pieces, so that memory
stays bounded whatever its size. Blocking; to be used off the event loop.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mailtwin.errors import MessageError
from mailtwin.model import Identity
from mailtwin.stores.base import Spool
from mailtwin.stores.line_endings import CrlfFinder, to_wire
from mailtwin.stores.maildir_delivery import date_of
from mailtwin.stores.maildir_names import HINT_FOREIGN

PIECE_BYTES = 256 * 1024


class Body:
    """An open message file; a context manager. Raises FileNotFoundError, OSError, and MessageError for a non-file."""

    date: datetime
    size: int
    """In bytes of the file, not of the wire."""

    def __init__(self, path: Path, *, verbatim: bool) -> None:
        # Without waiting: what stands under the name might be a pipe that nobody writes into. Not through a link: who
        # may only put names into the Maildir must not have other files of its owner uploaded.
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise MessageError(f"{path} is a symbolic link, no message", hint=HINT_FOREIGN) from error
            raise
        status = os.fstat(self._descriptor)
        self._verbatim = verbatim
        self.date = date_of(status.st_mtime_ns)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise MessageError(f"{path} is no regular file", hint=HINT_FOREIGN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the file go; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def pieces(self) -> Iterator[bytes]:
        """The wire bytes, from the start. Raises OSError."""
        first = self._read()
        if len(first) < PIECE_BYTES:
            if first:
                yield to_wire(first, verbatim=self._verbatim)
            return
        convert = not (self._verbatim or self._has_crlf(first))
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while piece := self._read():
            yield piece.replace(b"\n", b"\r\n") if convert else piece

    def identity(self) -> Identity:
        """Who the message is, measured as its wire bytes. Raises OSError."""
        meter = _Meter()
        for piece in self.pieces():
            meter.write(piece)
        return meter.identity()

    def _has_crlf(self, piece: bytes) -> bool:
        finder = CrlfFinder()
        finder.feed(piece)
        while not finder.found and (piece := self._read()):
            finder.feed(piece)
        return finder.found

    def _read(self) -> bytes:
        """The next 256 KiB, less only at the end of the file."""
        piece = os.read(self._descriptor, PIECE_BYTES)
        while (
            piece
            and len(piece) < PIECE_BYTES
            and (more := os.read(self._descriptor, PIECE_BYTES - len(piece)))
        ):
            piece += more
        return piece


class _Meter(Spool):
    """Measures and keeps nothing."""

    def keep(self, chunk: bytes | memoryview) -> None:
        del chunk
