"""Whatever a test lets a connection hear is heard again: byte by byte, and cut in two at every position.

Nothing in a test says so, and none can forget it: each `Connection` of these tests notes what was done to it, and after
the test all of that is done again to fresh ones. The tables of frames and responses are cut in the same ways by `wire`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
from tests.imap.replay import Act, Run, Step, in_two, single, whole

from mailtwin.imap import Connection, Handle
from mailtwin.imap import commands as c
from mailtwin.imap.framing import Framer

TRANSCRIPTS_MAX: Final = 6
"""Of one test: those that try hundreds of examples have the first few heard again."""

EVERY_POSITION_BYTES_MAX: Final = 1_000
"""Longer transcripts are cut in two at fewer positions, spread evenly, so that all of it costs the same."""

HEARD_BYTES_MAX: Final = 20_000
STEPS_MAX: Final = 2_000
"""Longer ones are about size, and are cut by their own tests."""


@dataclass
class Transcript:
    """What was done to one connection."""

    framer: Framer | None
    steps: list[Step] = field(default_factory=list)
    heard_bytes: int = 0
    again: bool = True
    """False: it is too long, or cannot be done twice, because the body of an APPEND can be read only once."""

    def add(self, step: Step) -> None:
        """Notes a step, unless the transcript is one that is not done again."""
        if isinstance(step, bytes):
            self.heard_bytes += len(step)
        elif isinstance(step, c.Append) and not isinstance(step.body, bytes | list):
            self.again = False
        if self.heard_bytes > HEARD_BYTES_MAX or len(self.steps) > STEPS_MAX:
            self.again = False
        if self.again:
            self.steps.append(step)
        else:
            self.steps.clear()

    def framed(self) -> Framer | None:
        """A framer with the limits of the one that the test used."""
        one = self.framer
        return one and Framer(
            line_bytes_max=one._line_bytes_max,
            literal_inline_max=one._literal_inline_max,
            literal_bytes_max=one._literal_bytes_max,
            inline_total_max=one._inline_total_max,
            literals_max=one._literals_max,
            buffer_bytes=one._buffer_bytes,
        )


@pytest.fixture(autouse=True)
def heard_in_every_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes notes during the test, and does it all again after it."""
    noted: list[Transcript] = []
    with monkeypatch.context() as during:
        _take_notes(during, noted)
        yield
    for transcript in noted:
        hear_again(transcript)


def hear_again(transcript: Transcript) -> None:
    """Asserts that no cut makes a difference."""
    if not transcript.again:
        return
    expected = Run(transcript.framed()).play(transcript.steps, whole)
    assert Run(transcript.framed()).play(transcript.steps, single) == expected, "byte by byte"
    size = transcript.heard_bytes
    for at in range(1, size, max(1, (size // EVERY_POSITION_BYTES_MAX) ** 2)):
        cut = in_two(at)
        assert Run(transcript.framed()).play(transcript.steps, cut) == expected, f"cut at {at}"


def _take_notes(during: pytest.MonkeyPatch, noted: list[Transcript]) -> None:
    begin, hear, send = Connection.__init__, Connection.receive_data, Connection.send
    write, done, close = Connection.data_to_send, Connection.done, Connection.receive_eof

    def of(connection: Connection) -> Transcript:
        found: Transcript = getattr(connection, "_transcript", None) or Transcript(None)
        return found

    def noting_begin(self: Connection, framer: Framer | None = None) -> None:
        begin(self, framer)
        transcript = Transcript(framer)
        self._transcript = transcript  # type: ignore[attr-defined]
        if len(noted) < TRANSCRIPTS_MAX:
            noted.append(transcript)

    def noting_hear(self: Connection, data: bytes) -> None:
        of(self).add(data)
        hear(self, data)

    def noting_send(self: Connection, command: c.Command) -> Handle:
        of(self).add(command)
        return send(self, command)

    def noting_write(self: Connection) -> bytes | memoryview:
        if of(self).steps[-1:] != [Act.WRITE]:
            of(self).add(Act.WRITE)
        return write(self)

    def noting_done(self: Connection) -> None:
        of(self).add(Act.DONE)
        done(self)

    def noting_close(self: Connection) -> None:
        of(self).add(Act.CLOSED)
        close(self)

    during.setattr(Connection, "__init__", noting_begin)
    during.setattr(Connection, "receive_data", noting_hear)
    during.setattr(Connection, "send", noting_send)
    during.setattr(Connection, "data_to_send", noting_write)
    during.setattr(Connection, "done", noting_done)
    during.setattr(Connection, "receive_eof", noting_close)
