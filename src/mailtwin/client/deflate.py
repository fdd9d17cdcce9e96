"""COMPRESS=DEFLATE (RFC 4978) below a connection: raw DEFLATE in both directions, with a limit on what it may become.

What is inflated is handed out in pieces of bounded size, only as fast as it is used, so a few bytes never become much
memory. They could still become hours of work: what comes out may not exceed a fixed allowance plus a multiple of what
came in.
"""

from __future__ import annotations

import zlib
from typing import Final

from mailtwin.errors import RemoteProtocolError

PIECE_BYTES: Final = 64 * 1024

RATIO_MAX: Final = 100
"""Mail deflates to a third, listings to a tenth; DEFLATE itself ends at 1:1032."""

ALLOWANCE_BYTES: Final = 256 * 1024 * 1024
"""Above the ratio, for the whole connection: a huge message of nothing but zeros is mail, too."""

_RAW = -zlib.MAX_WBITS


class Inflater:
    """Server to client. Give it what came with `feed`, `take` as long as there is something."""

    def __init__(self, *, ratio_max: int = RATIO_MAX, allowance_bytes: int = ALLOWANCE_BYTES) -> None:
        self._stream = zlib.decompressobj(wbits=_RAW)
        self._waiting = bytearray()
        self._ratio_max = ratio_max
        self._allowance = allowance_bytes
        self._bytes_out = self._bytes_in = 0
        self._full = False

    def feed(self, data: bytes | memoryview) -> None:
        """These came from the server."""
        self._waiting += data
        self._bytes_in += len(data)

    @property
    def is_empty(self) -> bool:
        """Whether `take` needs more from the server first."""
        return self.ended or not (self._waiting or self._full)

    @property
    def ended(self) -> bool:
        """Whether the server has ended the stream: it will say nothing more."""
        return self._stream.eof

    def take(self) -> bytes:
        """The next bytes, `PIECE_BYTES` at most; empty when more has to come.

        Raises RemoteProtocolError for what is no DEFLATE, and for far more than it could honestly be.
        """
        data = bytes(self._waiting)
        self._waiting.clear()
        try:
            piece = self._stream.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise RemoteProtocolError("the server sent compressed data that is damaged") from error
        self._waiting += self._stream.unconsumed_tail
        # A full piece may have left output inside of the stream although its input is used up.
        self._full = len(piece) == PIECE_BYTES
        self._bytes_out += len(piece)
        if self._bytes_out > self._allowance + self._ratio_max * self._bytes_in:
            raise RemoteProtocolError(
                f"the server sent {self._bytes_in} bytes that inflate to more than {self._bytes_out}",
                hint="leave compression off for this server",
            )
        return piece


class Deflater:
    """Client to server."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(wbits=_RAW)

    def deflate(self, data: bytes | memoryview) -> bytes:
        """What to send for `data`, so that the server can read all of it now (RFC 4978 section 3)."""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
