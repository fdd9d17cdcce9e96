"""The bytes of one connection to a simulated server: bounded reading, held writing, TLS.

Read next: `mailtwin.testing.simsession`.
"""

from __future__ import annotations

import asyncio
import ssl

__all__ = ["Disconnected", "LineTooLong", "Wire"]

_CHUNK = 65536
_FLUSH_ABOVE = 262144


class Disconnected(Exception):
    """The client has gone, or a fault ends the connection."""


class LineTooLong(Exception):
    """A line without literals exceeds the limit of a command."""


class Wire:
    """A stream pair with a read buffer of our own (so that plaintext behind STARTTLS can be seen and dropped)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line_limit: int) -> None:
        self.hold = False
        """While set, nothing leaves: a fault will decide what the client gets to see."""
        self._reader = reader
        self._writer = writer
        self._line_limit = line_limit
        self._buffer = bytearray()
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self.sent = 0
        """How many bytes have left so far."""

    @property
    def waiting_lines(self) -> int:
        """How many lines came and are not yet read."""
        return self._buffer.count(b"\r\n")

    async def line(self) -> bytes:
        """The next line, without its CRLF."""
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            if len(self._buffer) > self._line_limit:
                raise LineTooLong
            searched = max(0, len(self._buffer) - 1)
            await self._fill()
        if end > self._line_limit:
            raise LineTooLong
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def exactly(self, size: int) -> bytes:
        """The next `size` octets."""
        pieces = [self._take(size)]
        missing = size - len(pieces[0])
        while missing:
            await self._fill()
            pieces.append(self._take(missing))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    async def discard(self, size: int) -> None:
        """Read `size` octets and keep none."""
        while size:
            if not self._buffer:
                await self._fill()
            size -= len(self._take(size))

    def send(self, data: bytes) -> None:
        """Write, at the next flush."""
        self._unsent.append(data)
        self._unsent_size += len(data)

    @property
    def is_full(self) -> bool:
        """So much is waiting that a long answer should flush."""
        return self._unsent_size > _FLUSH_ABOVE and not self.hold

    async def flush(self) -> None:
        """Send all that is waiting, unless it is held."""
        if self.hold or not self._unsent:
            return
        data = self.take_unsent()
        self.sent += len(data)
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError as gone:
            raise Disconnected from gone

    def take_unsent(self) -> bytes:
        """Take back all that was not sent."""
        unsent = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_size = 0
        return unsent

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS. What came in plaintext behind the STARTTLS is dropped: anyone may have put it there."""
        await self.flush()
        self._buffer.clear()
        try:
            await self._writer.start_tls(context)
        except (ConnectionError, ssl.SSLError) as bad:
            raise Disconnected from bad

    async def close(self) -> None:
        """End the connection with what was flushed; everything else is lost."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # the client closed first, or never finished TLS: there is nobody left to tell

    def abort(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    async def _fill(self) -> None:
        try:
            data = await self._reader.read(_CHUNK)
        except (ConnectionError, ssl.SSLError) as gone:
            raise Disconnected from gone
        if not data:
            raise Disconnected
        self._buffer += data

    def _take(self, most: int) -> bytes:
        taken = bytes(self._buffer[:most])
        del self._buffer[:most]
        return taken
