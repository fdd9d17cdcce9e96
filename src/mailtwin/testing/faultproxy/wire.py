"""What passes, in pieces: whole commands from the client, whole responses from the server, each as its very bytes.

The server's side is cut by the framer of `mailtwin.imap`. Commands have no framer there (a client never reads any);
they are lines in which `{n}` or `{n+}` at the end announces a literal (RFC 3501 section 4.3, RFC 7888).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailtwin.imap.framing import Frame, Framer

__all__ = ["LINE_BYTES_MAX", "Command", "Response", "Responses", "read_command"]

LINE_BYTES_MAX = 16 * 1024 * 1024
_HELD_BYTES_MAX = 256 * 1024 * 1024
_ANNOUNCED = re.compile(rb"\{([0-9]+)(\+?)\}\r?\n\Z")
_COMMAND = re.compile(rb"([^ \r\n]+) +(UID +)?([A-Za-z]+)", re.IGNORECASE)
_UNTAGGED = re.compile(rb"\* +(?:([0-9]+) +)?([A-Za-z]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Command:
    """A whole command. `parts`: line, literal, line, ...; `name` in upper case, with `UID ` if it has it."""

    tag: bytes
    name: str
    parts: tuple[bytes, ...]

    @property
    def literals(self) -> int:
        """How many literals it has."""
        return len(self.parts) // 2

    def is_synchronising(self, index: int) -> bool:
        """Whether the server has to say `+` before `parts[index + 1]`."""
        announced = _ANNOUNCED.search(self.parts[index])
        return announced is not None and not announced[2]

    def __str__(self) -> str:
        return f"{self.name} {self.literals} literals" if self.literals else self.name


async def read_command(
    reader: asyncio.StreamReader, first: bytes, go_ahead: Callable[[], None]
) -> Command | None:
    """The command whose first line is `first`. `go_ahead` sends a `+`; None at the end of the stream."""
    parts = [first]
    while announced := _ANNOUNCED.search(parts[-1]):
        if not announced[2]:
            go_ahead()
        try:
            parts.append(await reader.readexactly(int(announced[1])))
        except asyncio.IncompleteReadError:
            return None
        parts.append(await reader.readline())
    if not parts[-1].endswith(b"\n"):
        return None
    matched = _COMMAND.match(first)
    if matched is None:
        return Command(first.split()[0] if first.split() else b"", "", tuple(parts))
    name = (b"UID " if matched[2] else b"") + matched[3]
    return Command(matched[1], name.decode().upper(), tuple(parts))


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response: its bytes as they came, and the frame they make."""

    raw: bytes
    frame: Frame

    @property
    def line(self) -> bytes:
        """The text before the first literal."""
        return self.frame.segments[0]

    @property
    def is_continuation(self) -> bool:
        return self.line.startswith(b"+")

    @property
    def tag(self) -> bytes:
        """`*`, `+`, or the tag."""
        return self.line.partition(b" ")[0]

    @property
    def kind(self) -> str:
        """Of an untagged response: FETCH, EXISTS, OK, in upper case; else empty."""
        matched = _UNTAGGED.match(self.line)
        return matched[2].decode().upper() if matched else ""

    @property
    def number(self) -> int | None:
        """Of an untagged response, the number before its kind."""
        matched = _UNTAGGED.match(self.line)
        return int(matched[1]) if matched and matched[1] else None

    @property
    def middle(self) -> int:
        """How many of its bytes are a half: in the middle of the first literal, if it has one."""
        if not self.frame.literals:
            return len(self.raw) // 2
        literal = self.frame.literals[0]
        assert isinstance(literal, bytes)
        return self.raw.index(b"\n") + 1 + len(literal) // 2


class Responses:
    """Cuts the server's bytes into responses."""

    def __init__(self) -> None:
        self._framer = Framer(
            literal_inline_max=_HELD_BYTES_MAX,
            inline_total_max=_HELD_BYTES_MAX,
            line_bytes_max=LINE_BYTES_MAX,
        )
        self._raw = bytearray()

    def feed(self, data: bytes) -> Iterator[Response]:
        """The responses that these bytes complete. Raises RemoteProtocolError."""
        self._raw += data
        self._framer.feed(data)
        while (event := self._framer.next()) is not None:
            assert isinstance(event, Frame), "no literal is too large to be held"
            end = len(self._raw) - self._framer.unread
            raw = bytes(self._raw[:end])
            del self._raw[:end]
            yield Response(raw, event)
