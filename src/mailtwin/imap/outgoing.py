"""What waits to be written, in the order of sending: text, bodies piece by piece, and places where the server must ask.

A body is read only when there is room to write, so its memory is one piece. Once a literal is announced its octets are
owed: they are written even if the command has failed meanwhile (RFC 7888 section 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import commands as c
from mailtwin.imap.encode import Body, Hold, Part
from mailtwin.imap.responses import Status

WRITE_BYTES: Final = 64 * 1024
"""Small parts are joined, and large ones cut, to about this size."""

INCOMPLETE_MAX: Final = 20
"""Reasons kept for one command: one is enough to distrust the answer."""


@dataclass(slots=True, eq=False)
class Handle:
    """A command that was sent.

    `sent`: its last octet was handed out; before that no server can have executed it. `ended`: its tagged reply came.
    `taken`: how many untagged responses answered it. `incomplete`: why its answer may be short. `refused`: what the
    server said against it outside a tagged reply (rule R5). `challenge`: the last SASL challenge, which tells why an
    OAuth token was refused; `challenges`: how many there were.
    """

    command: c.Command
    asked: c.Asked = field(repr=False)
    sent: bool = False
    ended: bool = False
    taken: int = 0
    incomplete: list[str] = field(default_factory=list)
    refused: Status | None = None
    challenge: bytes = b""
    challenges: int = 0

    @property
    def tag(self) -> str:
        """The tag it was sent with."""
        return self.asked.tag

    def distrust(self, reason: str) -> None:
        """Notes why the answer may be short."""
        if reason not in self.incomplete and len(self.incomplete) < INCOMPLETE_MAX:
            self.incomplete.append(reason)


class Outgoing:
    """A queue of parts, each of which belongs to a command."""

    __slots__ = ("_pieces", "_queue")

    def __init__(self) -> None:
        self._queue: deque[tuple[Handle, Part]] = deque()
        self._pieces: Iterator[bytes | memoryview] | None = None

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, handle: Handle, parts: Iterable[Part]) -> None:
        """These parts come next after all that waits."""
        self._queue.extend((handle, part) for part in parts)

    @property
    def holding(self) -> Handle | None:
        """The command that waits for the server's `+`, or None when something else or nothing is next."""
        if self._queue and isinstance(self._queue[0][1], Hold) and not self._queue[0][0].ended:
            return self._queue[0][0]
        return None

    def go_on(self) -> bool:
        """The server said `+`: what was held may go. False when nothing was."""
        if self.holding is None:
            return False
        self._queue.popleft()
        return True

    def take(self) -> bytes | memoryview:
        """The next bytes to write; empty when there are none now.

        Raises LocalProtocolError when a body is shorter or longer than it was said to be, and whatever reading the
        body raises; the connection cannot be used after either.
        """
        text = bytearray()
        while self._queue and len(text) < WRITE_BYTES:
            handle, part = self._queue[0]
            if isinstance(part, bytes):
                text += part
                self._drop_first()
            elif isinstance(part, Hold):
                if not handle.ended:
                    break
                self._abandon(handle)
            elif isinstance(part.chunks, bytes) and len(part.chunks) == part.size <= WRITE_BYTES:
                text += part.chunks
                self._drop_first()
            elif text:
                break
            else:
                piece = self._next_piece(part)
                if piece is not None:
                    return piece
        return bytes(text)

    def _next_piece(self, body: Body) -> bytes | memoryview | None:
        if self._pieces is None:
            self._pieces = _pieces(body)
        piece = next(self._pieces, None)
        if piece is None:
            self._pieces = None
            self._drop_first()
        return piece

    def _drop_first(self) -> None:
        handle, _ = self._queue.popleft()
        if not (self._queue and self._queue[0][0] is handle):
            handle.sent = True

    def _abandon(self, handle: Handle) -> None:
        # The server refused the literal: for it the command is over, and the next line is a new one.
        while self._queue and self._queue[0][0] is handle:
            self._queue.popleft()


def _pieces(body: Body) -> Iterator[bytes | memoryview]:
    """The octets of a body, exactly `size` of them, cut to a size that back-pressure can work with."""
    left = body.size
    chunks: Iterable[bytes] = (body.chunks,) if isinstance(body.chunks, bytes) else body.chunks
    for chunk in chunks:
        if len(chunk) > left:
            raise LocalProtocolError(
                f"a message of {body.size} bytes turned out to be longer while it was sent"
            )
        left -= len(chunk)
        if len(chunk) <= WRITE_BYTES:
            if chunk:
                yield chunk
            continue
        view = memoryview(chunk)
        for start in range(0, len(view), WRITE_BYTES):
            yield view[start : start + WRITE_BYTES]
    if left:
        raise LocalProtocolError(
            f"a message of {body.size} bytes turned out to be {left} bytes shorter while it was sent"
        )
