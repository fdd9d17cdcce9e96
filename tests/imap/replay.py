"""A transcript run against a fresh connection, the server's bytes cut as one likes; what came of it as plain values.

A transcript is a tuple of steps: bytes are what the server says, a command is sent, `Act` is the rest. After each piece
of bytes all events are taken; two runs of one transcript must give the same however its bytes are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeAlias

import pytest

from mailtwin.errors import LocalProtocolError, MailtwinError
from mailtwin.imap import Connection, Ended, Greeting, Handle, LiteralChunk, LiteralStart, Received
from mailtwin.imap import commands as c
from mailtwin.imap.framing import Framer


class Act(Enum):
    """What a client does besides sending commands."""

    WRITE = "write"
    DONE = "done"
    CLOSED = "closed"
    """The server will say nothing more."""


Step: TypeAlias = "bytes | c.Command | Act"
Cut: TypeAlias = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def single(data: bytes) -> list[bytes]:
    """Byte by byte."""
    return [data[at : at + 1] for at in range(len(data))]


def in_two(at: int) -> Cut:
    """Cuts the server's bytes in two behind the `at`-th of all of them."""
    left = at

    def cut(data: bytes) -> list[bytes]:
        nonlocal left
        here, left = left, left - len(data)
        return [data[:here], data[here:]] if 0 < here < len(data) else [data]

    return cut


def raises_again(error: MailtwinError, call: Callable[[], object]) -> None:
    """After an error every call raises the same."""
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error


_AHEAD_OF_TLS = "ahead of TLS"


class Run:
    """One run; `log` is all that came of it."""

    def __init__(self, framer: Framer | None = None) -> None:
        self.connection = Connection(framer)
        self.log: list[object] = []
        self._over = False
        self._body = b""

    def play(self, steps: Iterable[Step], cut: Cut = whole) -> list[object]:
        """Runs all steps and gives the log and the final state."""
        for step in steps:
            if not self._over:
                self._play(step, cut)
        return [*self.log, self._body, *self._state()]

    def _play(self, step: Step, cut: Cut) -> None:
        try:
            if isinstance(step, bytes):
                self._hear(list(cut(step)))
            elif isinstance(step, Act):
                self._act(step)
            else:
                self._send(step)
        except LocalProtocolError as error:
            self.log.append(f"ours: {error.message}")
        except MailtwinError as error:
            self._die(error)

    def _hear(self, pieces: list[bytes]) -> None:
        for at, piece in enumerate(pieces):
            if not self._over:
                self.connection.receive_data(piece)
                self._take(more=at + 1 < len(pieces))

    def _act(self, act: Act) -> None:
        if act is Act.DONE:
            self.connection.done()
        elif act is Act.CLOSED:
            self.connection.receive_eof()
            self._take(more=False)
        else:
            while data := self.connection.data_to_send():
                self.log.append(bytes(data))

    def _send(self, command: c.Command) -> None:
        before = self.connection.in_flight
        may = self.connection.state.allows(command) and self.connection.may_send(command)
        try:
            self.connection.send(command)
        except LocalProtocolError:
            assert self.connection.in_flight == before
            raise
        assert may, "a command was sent that may not be"

    def _take(self, *, more: bool) -> None:
        """All events; `more`: further bytes of the same step are still to come."""
        while not self._over and (event := self.connection.next_event()) is not None:
            if isinstance(event, LiteralChunk):
                self._body += event.data
                if event.last:
                    self.log.append(self._body)
                    self._body = b""
            elif isinstance(event, Received):
                self.log.append((event.response, [shown(handle) for handle in event.takers]))
            elif isinstance(event, Ended):
                self.log.append((event.status, shown(event.handle)))
                if event.handle.command.verb == "STARTTLS" and event.status.word == "OK":
                    # The client goes over to TLS here. What is still in the clear must not be heard: the connection
                    # refuses it if it came with the reply, the transport if it came behind.
                    self._over = True
                    if more:
                        self.log[-1] = _AHEAD_OF_TLS
            else:
                assert isinstance(event, Greeting | LiteralStart)
                self.log.append(event)

    def _die(self, error: MailtwinError) -> None:
        self._over = True
        says = error.message
        self.log.append(_AHEAD_OF_TLS if _AHEAD_OF_TLS in says else f"{type(error).__name__}: {says}")
        for call in (
            self.connection.next_event,
            self.connection.data_to_send,
            lambda: self.connection.send(c.Noop()),
        ):
            raises_again(error, call)

    def _state(self) -> list[object]:
        state = self.connection.state
        box = state.selected
        return [
            state.phase,
            state.capabilities,
            state.enabled,
            state.bye,
            tuple(state.alerts),
            box and (box.exists, box.uid_next, box.uid_validity, box.highest_modseq, box.flags),
            box and [box.sequence.uid(seq) for seq in range(1, 40)],
            [shown(handle) for handle in self.connection.in_flight],
        ]


def shown(handle: Handle) -> tuple[object, ...]:
    """A handle as a value."""
    return (handle.tag, handle.sent, handle.ended, handle.taken, tuple(handle.incomplete), handle.refused)
