"""The short cut from the receive buffer to a FETCH changes no event, however the bytes are cut. Sending is linear."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.test_fetchline import lines

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap import (
    Connection,
    Ended,
    LiteralChunk,
    OpenRange,
    Received,
    commands,
    pipelining,
    responses,
)
from mailtwin.imap.fetchline import WIRE_LINE, fetch_of
from mailtwin.imap.framing import Frame, Framer
from mailtwin.model import UidSet


class LongWay(Framer):
    """A framer without a short cut."""

    def short_cut(self, pattern: re.Pattern[bytes], read: Callable[[re.Match[bytes]], object]) -> None:
        return None


def listed(framer: Framer, pieces: list[bytes]) -> list[object]:
    """The events of a listing, its end included, and what is known afterwards."""
    connection = Connection(framer)
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    connection.send(commands.Select("INBOX"))
    connection.data_to_send()
    connection.receive_data(b"* 9 EXISTS\r\n* OK [UIDNEXT 10] next\r\nA1 OK [READ-WRITE] selected\r\n")
    while not isinstance(connection.next_event(), Ended):
        pass
    handle = connection.send(commands.Fetch(OpenRange(5), ("FLAGS", "MODSEQ")))
    connection.data_to_send()
    events: list[object] = []
    for piece in pieces:
        connection.receive_data(piece)
        try:
            while (event := connection.next_event()) is not None:
                if isinstance(event, Received):
                    events.append((event.response, [taker.tag for taker in event.takers]))
                elif isinstance(event, LiteralChunk):
                    events.append(bytes(event.data))
                else:
                    events.append(type(event))
        except RemoteProtocolError as error:
            events.append(error.message)
            break
    box = connection.state.selected
    assert box is not None
    known = [box.sequence.uid(seq) for seq in range(1, 20)]
    return [*events, handle.taken, handle.incomplete, box.exists, box.uid_next, known]


ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\0\r\n", b"\r\r\n"])
wires = st.lists(st.builds(bytes.__add__, lines, ends), max_size=8).map(b"".join)


@given(wires, st.lists(st.integers(1, 40), max_size=12))
def test_no_event_depends_on_it(wire: bytes, sizes: list[int]) -> None:
    pieces = []
    for size in sizes:
        pieces.append(wire[:size])
        wire = wire[size:]
    pieces.append(wire)
    assert listed(Framer(), pieces) == listed(LongWay(), pieces)


def test_the_common_line_takes_it() -> None:
    framer = Framer()
    framer.feed(b"* 1 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (9))\r\n* 2 EXISTS\r\n")
    assert framer.short_cut(WIRE_LINE, fetch_of) == responses.Fetch(1, 5, ("\\Seen",), 9)
    assert framer.short_cut(WIRE_LINE, fetch_of) is None
    assert framer.next() == Frame((b"* 2 EXISTS",), (), is_text=False)


def test_a_line_that_came_in_pieces_is_not_looked_through_again() -> None:
    class Never:
        def match(self, *_: object) -> None:
            raise AssertionError("looked through twice")

    framer = Framer()
    framer.feed(b"* 1 FETCH (FLAGS (" + b"a " * 50)
    assert framer.next() is None
    framer.feed(b"b")
    assert framer.short_cut(Never(), fetch_of) is None  # type: ignore[arg-type]


def test_in_the_middle_of_a_response_there_is_none() -> None:
    framer = Framer()
    framer.feed(b"* 1 FETCH (BODY[] {46}\r\n")
    assert framer.next() is None
    framer.feed(b"* 1 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (9)) \r\n UID 7)\r\n")
    assert framer.short_cut(WIRE_LINE, fetch_of) is None
    frame = framer.next()
    assert isinstance(frame, Frame)
    assert len(frame.literals) == 1


@pytest.mark.parametrize("room", [0, 1])
def test_the_limit_of_a_line_holds(room: int) -> None:
    line = b"* 1 FETCH (FLAGS (a))"
    framer = Framer(line_bytes_max=len(line) - 1 + room)
    framer.feed(line + b"\r\n")
    plain = Framer(line_bytes_max=len(line) - 1 + room)
    plain.feed(line + b"\r\n")
    if framer.short_cut(WIRE_LINE, fetch_of) is not None:
        assert isinstance(plain.next(), Frame)
    else:
        assert not room


def test_a_command_does_not_look_at_each_one_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Counting(pipelining.Rule):
        def forbids(self, earlier: pipelining.InFlight, later: pipelining.InFlight) -> bool:
            nonlocal looks
            looks += 1
            return super().forbids(earlier, later)

    counting = tuple(
        Counting(rule.why, rule.earlier, rule.later, rule.same_verb) for rule in pipelining.RULES
    )
    monkeypatch.setattr(pipelining, "RULES", counting)
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    for number in range(1000):
        connection.send(commands.StatusOf(f"m{number}", ("MESSAGES",)))
    assert looks <= 1000 * len(counting)


def test_a_kind_is_forgotten_with_its_last_command() -> None:
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n* 1 EXISTS\r\nA1 OK\r\nA2 OK\r\n")
    connection.next_event()
    connection.send(commands.Noop())
    connection.send(commands.Noop())
    connection.data_to_send()
    assert not connection.may_send(commands.Select("INBOX"))
    while connection.in_flight:
        connection.next_event()
    assert connection.may_send(commands.Select("INBOX"))
    assert connection.send(commands.Select("INBOX")).command == commands.Select("INBOX")
    assert not connection.may_send(commands.Store(UidSet.of([1]), "+", frozenset({"\\Seen"})))
