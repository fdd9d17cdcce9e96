"""A server's bytes, cut where its responses end, with not one byte changed.

`mailtwin.imap.framing` says where that is; here the very bytes stay with each piece, so that a stray CR or a literal8
can be seen. Read next: `screen`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mailtwin.imap.framing import Frame, Framer, LiteralChunk, LiteralStart, announced


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of what the server said: with a `frame` the rest of a response, without one a part of it.

    `is_literal`: `raw` is octets of a large literal, else text and small literals (`parts`).
    """

    raw: bytes
    frame: Frame | None = None
    is_literal: bool = False

    def parts(self) -> Iterator[tuple[bytes, bool]]:
        """The lines, with their ends, and the literals in between; whether it is a literal."""
        structured = self.frame is None or not self.frame.is_text
        at = 0
        while at < len(self.raw):
            end = self.raw.find(b"\n", at) + 1 or len(self.raw)
            line = self.raw[at:end]
            yield line, False
            at = end
            size = announced(line.rstrip(b"\0\r\n")) if structured else None
            if size and at < len(self.raw):
                yield self.raw[at : at + size], True
                at += size


class Hearing:
    """Bytes in, pieces out."""

    def __init__(self) -> None:
        self._framer = Framer()
        self._raw = bytearray()

    def feed(self, data: bytes) -> Iterator[Heard]:
        """The pieces that are complete with `data`. Raises RemoteProtocolError when the framer gives up."""
        self._framer.feed(data)
        self._raw += data
        while (event := self._framer.next()) is not None:
            used = len(self._raw) - self._framer.unread
            raw = bytes(self._raw[:used])
            del self._raw[:used]
            match event:
                case Frame():
                    yield Heard(raw, event)
                case LiteralStart():
                    yield Heard(raw)
                case LiteralChunk():
                    yield Heard(raw, is_literal=True)

    def take_unread(self) -> bytes:
        """Removes and returns what no piece was made of yet."""
        self._raw.clear()
        return self._framer.take_unread()

    @property
    def begun(self) -> bytes:
        """The bytes of a response that is not complete, for when there will be no more."""
        return bytes(self._raw)
