"""Where one response of the server ends and the next begins: bytes in, frames out, nothing understood.

A response is one line, or several where literals (`{5}` CRLF and five octets, RFC 9051 section 4.3) interrupt it. The
framer has to know one thing about its content: in a *text* response (OK, NO, BAD, BYE, PREAUTH, `+`) the text is for
people and `{90}` at its end is no literal (rule R6). Everything else is the parser's business, and a frame that the
parser cannot read is one lost response, never a lost connection (rule R7).

The bytes live in one buffer, received into in place. A finished piece of a frame is copied out once; a large literal
is lent out as views of the buffer and never held. Work is linear in the bytes, however they are cut.

Read next: `mailtwin.imap.parser`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap.responses import Streamed
from mailtwin.model.limits import (
    LINE_BYTES_MAX,
    LITERAL_BYTES_MAX,
    LITERAL_INLINE_MAX,
    LITERALS_INLINE_TOTAL_MAX,
)

BUFFER_BYTES = 256 * 1024
"""The receive buffer; it grows only for lines and inline literals that do not fit, and shrinks again."""

LITERALS_MAX = 10_000
"""Literals in one response: an answer about one message has a handful, however odd its addresses are."""

# What a literal may follow. `]` and `>` are not grammar (a space is missing), but taking the octets of a message for
# responses would be worse than any stall. For the same reason nobody asks whether a quoted string is still open.
_LITERAL = re.compile(rb"(?:\A|[ \t(\]>])(~?\{([0-9]+)\+?\})\Z")
_LITERAL_TAIL_BYTES = 64

_STRUCTURED = re.compile(rb"\*(?![ \t]*(?:(?:OK|NO|BAD|BYE|PREAUTH)(?:[ \t\[]|\Z)|\[|\Z))", re.IGNORECASE)
# A string without an end is one that goes up to the end: nothing is looked at twice.
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*+"?+|[()]', re.DOTALL)
_PADDING = b"\0\r"
_CRLF_BYTES = len(b"\r\n")


def announced(line: bytes) -> int | None:
    """The size of the literal that a line of a structured response, without its end, announces; None: there is none."""
    marker = _LITERAL.search(line[-_LITERAL_TAIL_BYTES:])
    return None if marker is None else int(marker[2])


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole response without its final CRLF.

    `segments` is the text between the literals, one more than `literals`; the `{n}` is removed. `is_text`: a status
    response, a continuation, or a line that is no IMAP at all; these have no literals.
    """

    segments: tuple[bytes, ...]
    literals: tuple[bytes | Streamed, ...]
    is_text: bool


@dataclass(frozen=True, slots=True)
class LiteralStart:
    """A literal of `size` octets begins that is too large to be held.

    `prefix` is the frame's text so far, in which every earlier literal is written as `""`, so that nobody can take
    the content of a message for an attribute of the response.
    """

    prefix: bytes
    size: int


@dataclass(frozen=True, slots=True)
class LiteralChunk:
    """Some octets of the literal, borrowed: `data` is valid until `next` or `get_buffer` is called again."""

    data: memoryview
    last: bool


FrameEvent = Frame | LiteralStart | LiteralChunk
_Read = TypeVar("_Read")


class Framer:
    """Finds frames in the server's bytes; can be interrupted at any byte.

    Fill `get_buffer()`, say `received(count)`, then call `next()` until it returns None. After a
    `RemoteProtocolError` every further `next()` raises the same.
    """

    __slots__ = (
        "_blank",
        "_buffer",
        "_buffer_bytes",
        "_end",
        "_failure",
        "_inline_bytes",
        "_inline_total_max",
        "_inline_wanted",
        "_is_text",
        "_line_bytes",
        "_line_bytes_max",
        "_literal_bytes_max",
        "_literal_inline_max",
        "_literals",
        "_literals_max",
        "_nesting",
        "_nesting_known",
        "_prefix_bytes",
        "_scanned",
        "_segments",
        "_start",
        "_stream_left",
        "_view",
    )

    def __init__(
        self,
        *,
        line_bytes_max: int = LINE_BYTES_MAX,
        literal_inline_max: int = LITERAL_INLINE_MAX,
        literal_bytes_max: int = LITERAL_BYTES_MAX,
        inline_total_max: int = LITERALS_INLINE_TOTAL_MAX,
        literals_max: int = LITERALS_MAX,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        assert buffer_bytes >= 4
        self._line_bytes_max = line_bytes_max
        self._literal_inline_max = literal_inline_max
        self._literal_bytes_max = literal_bytes_max
        self._inline_total_max = inline_total_max
        self._literals_max = literals_max
        self._buffer_bytes = buffer_bytes
        # Unread bytes are buffer[start:end]; in start..scanned no line feed was found.
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._start = self._end = self._scanned = 0
        self._stream_left = 0
        self._failure: RemoteProtocolError | None = None
        self._forget_frame()

    def _forget_frame(self) -> None:
        self._segments: list[bytes] = []
        self._literals: list[bytes | Streamed] = []
        self._is_text = False
        self._line_bytes = 0
        self._inline_bytes = 0
        self._prefix_bytes = 0
        self._inline_wanted: int | None = None
        self._blank = False
        self._nesting = self._nesting_known = 0

    # --- receiving ---

    def get_buffer(self) -> memoryview:
        """Writable free space, at least a quarter of the buffer's normal size (for `BufferedProtocol`)."""
        if self._start == self._end:
            self._start = self._end = self._scanned = 0
            if len(self._buffer) > self._buffer_bytes:
                self._make_room()
        elif len(self._buffer) - self._end < self._buffer_bytes // 4:
            self._make_room()
        return self._view[self._end :]

    def _make_room(self) -> None:
        # At least half of the buffer is free afterwards, so that moving stays linear in the bytes received.
        # Never resized in place: the caller may still hold a view.
        unread = self._end - self._start
        size = max(self._buffer_bytes, 2 * unread)
        buffer = self._buffer if size == len(self._buffer) else bytearray(size)
        view = memoryview(buffer)
        view[:unread] = self._view[self._start : self._end]
        self._buffer, self._view = buffer, view
        self._scanned -= self._start
        self._start, self._end = 0, unread

    def received(self, count: int) -> None:
        """`count` bytes were written into the start of the last `get_buffer()`."""
        assert 0 <= count <= len(self._buffer) - self._end
        self._end += count

    def feed(self, data: bytes) -> None:
        """Copies `data` in: for tests and tools."""
        offset = 0
        while offset < len(data):
            room = self.get_buffer()
            count = min(len(room), len(data) - offset)
            room[:count] = data[offset : offset + count]
            self.received(count)
            offset += count

    @property
    def unread(self) -> int:
        """Bytes received and not consumed."""
        return self._end - self._start

    def take_unread(self) -> bytes:
        """Removes and returns what is left: to be refused before STARTTLS, to be inflated after COMPRESS."""
        left = bytes(self._view[self._start : self._end])
        self._start = self._scanned = self._end
        return left

    @property
    def at_boundary(self) -> bool:
        """Whether we are between two responses: an end of the connection here is clean."""
        return self._start == self._end and not self._segments and not self._stream_left

    def begun(self, bytes_max: int) -> bytes:
        """The first bytes of the response that is not complete, with `""` for its literals."""
        text = b'""'.join((*self._segments, b"")) if self._segments else b""
        if self._failure is not None and text:
            # What follows is not understood, and how much of it is here already is chance.
            return text[:bytes_max]
        unread = self._view[self._start : min(self._end, self._start + bytes_max)]
        return (text + bytes(unread))[:bytes_max]

    # --- framing ---

    def next(self) -> FrameEvent | None:
        """The next event; None when more bytes are needed.

        Raises `RemoteProtocolError` for a line or literal over its limit.
        """
        if self._failure is not None:
            raise self._failure
        if self._stream_left:
            return self._next_chunk()
        while True:
            if self._inline_wanted is not None and not self._take_literal(self._inline_wanted):
                return None
            if self._blank:
                if self._start == self._end:
                    return None
                if self._ends_after_blank():
                    return self._finish()
            line = self._take_line()
            if line is None:
                return None
            event = self._advance(line)
            if event is not None:
                return event

    def short_cut(
        self, pattern: re.Pattern[bytes], read: Callable[[re.Match[bytes]], _Read | None]
    ) -> _Read | None:
        """The next response past `next`: what `read` makes of it, if it is a line that `pattern` matches.

        None, and nothing moves, otherwise. `pattern` ends with the CRLF of a structured response and holds no other
        line feed. A line that came in pieces was looked through before and is left to `next`: work stays linear.
        """
        start = self._start
        if self._segments or self._scanned != start or self._failure is not None:
            return None
        match = pattern.match(self._buffer, start, self._end)
        if match is None:
            return None
        end = match.end()
        if end - start - _CRLF_BYTES > self._line_bytes_max:
            return None
        made = read(match)
        if made is not None:
            self._start = self._scanned = end
        return made

    def _next_chunk(self) -> LiteralChunk | None:
        count = min(self._stream_left, self._end - self._start)
        if not count:
            return None
        data = self._view[self._start : self._start + count].toreadonly()
        self._start = self._scanned = self._start + count
        self._stream_left -= count
        return LiteralChunk(data, last=not self._stream_left)

    def _take_literal(self, size: int) -> bool:
        if self._end - self._start < size:
            return False
        self._literals.append(bytes(self._view[self._start : self._start + size]))
        self._start = self._scanned = self._start + size
        self._inline_wanted = None
        return True

    def _take_line(self) -> bytes | None:
        """The next line without its end, or None; the limit holds for both."""
        at = self._buffer.find(b"\n", self._scanned, self._end)
        stop = self._end if at < 0 else at
        # One more for the CR, which may be the last byte so far.
        if stop - self._start > self._line_bytes_max - self._line_bytes + 1:
            raise self._fail(f"the server sent a line of more than {self._line_bytes_max} bytes")
        if at < 0:
            self._scanned = stop
            return None
        line = bytes(self._view[self._start : at])
        self._line_bytes += len(line)
        self._start = self._scanned = at + 1
        return line.rstrip(_PADDING)

    def _advance(self, line: bytes) -> FrameEvent | None:
        """Adds a line to the frame; what is finished by it."""
        if not self._segments:
            line = line.lstrip(_PADDING)
            if not line:
                self._line_bytes = 0
                return None
            self._is_text = _STRUCTURED.match(line) is None
        marker = None
        if line[-1:] == b"}" and not self._is_text:
            marker = _LITERAL.search(line[-_LITERAL_TAIL_BYTES:])
        if marker is not None:
            self._segments.append(line[: -len(marker[1])])
            return self._begin_literal(int(marker[2]))
        if not line and self._is_nested():
            self._blank = True
            return None
        self._segments.append(line)
        return self._finish()

    def _begin_literal(self, size: int) -> LiteralStart | None:
        if size > self._literal_bytes_max:
            raise self._fail(f"the server announced a literal of more than {self._literal_bytes_max} bytes")
        if len(self._literals) >= self._literals_max:
            raise self._fail(f"the server sent more than {self._literals_max} literals in one response")
        if size > self._literal_inline_max:
            return self._begin_stream(size)
        self._inline_bytes += size
        if self._inline_bytes > self._inline_total_max:
            raise self._fail(f"one response holds more than {self._inline_total_max} bytes of literals")
        self._inline_wanted = size
        return None

    def _begin_stream(self, size: int) -> LiteralStart:
        prefix = b'""'.join(self._segments)
        # Each start tells all that came before it: that must not be much again and again.
        self._prefix_bytes += len(prefix)
        if self._prefix_bytes > 2 * self._line_bytes_max:
            raise self._fail("the server sent too many large literals in one response")
        self._stream_left = size
        self._literals.append(Streamed(size))
        return LiteralStart(prefix, size)

    def _is_nested(self) -> bool:
        """Whether a list is still open, so that an empty line after a literal cannot be the end."""
        for segment in self._segments[self._nesting_known :]:
            tokens = _NESTING.findall(segment)
            self._nesting += tokens.count(b"(") - tokens.count(b")")
        self._nesting_known = len(self._segments)
        return self._nesting > 0

    def _ends_after_blank(self) -> bool:
        """An empty line inside a list: skipped if the list visibly goes on, else the frame ends here."""
        self._blank = False
        if self._buffer[self._start] in b" )":
            return False
        self._segments.append(b"")
        return True

    def _finish(self) -> Frame:
        frame = Frame(tuple(self._segments), tuple(self._literals), self._is_text)
        self._forget_frame()
        return frame

    def _fail(self, message: str) -> RemoteProtocolError:
        self._failure = RemoteProtocolError(message)
        return self._failure
