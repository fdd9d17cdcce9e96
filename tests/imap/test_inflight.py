"""Who of many commands in flight an answer is for: found at once, and the same as by asking each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.imap import Connection, Ended, Handle, Received
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import TOPICS_MAX, topic_of
from mailtwin.imap.commands.revising import StoreLabels
from mailtwin.imap.encode import OpenRange
from mailtwin.imap.inflight import InFlight
from mailtwin.model import UidSet

ONE, TWO, MANY = UidSet.of([1]), UidSet.of([1, 3]), UidSet.of(range(2, 3 + TOPICS_MAX))
SEEN = frozenset({"\\Seen"})
COPIED = r.Code("COPYUID", (7, ONE, ONE))

COMMANDS: tuple[c.Command, ...] = (
    c.StatusOf("Entwürfe", ("MESSAGES",)),
    c.StatusOf(b"Inbox", ("MESSAGES",)),
    c.Fetch(ONE, ("FLAGS",)),
    c.Fetch(TWO, ("FLAGS",)),
    c.Fetch(MANY, ("FLAGS",)),
    c.Fetch(OpenRange(2), ("FLAGS",)),
    c.Fetch(ONE, ("FLAGS",), 4, vanished=True),
    c.Store(TWO, "+", SEEN),
    StoreLabels(ONE, "+", frozenset({"x"})),
    c.Copy(ONE, "x"),
    c.Move(TWO, "x"),
    c.List(status=("MESSAGES",)),
    c.Search(),
    c.Noop(),
)
RESPONSES: tuple[c.Taken, ...] = (
    *(r.Fetch(9, uid=uid) for uid in (None, 1, 2, 3, 4, 99)),
    *(
        r.MailboxStatus(name, {})
        for name in (b"Entw&APw-rfe", "Entwürfe".encode(), b"INBOX", b"inBox", b"other")
    ),
    r.Vanished(ONE, earlier=True),
    r.Exists(3),
    r.Search((1,)),
    r.Status("OK", None, COPIED),
)


def in_flight(commands: list[c.Command], *, utf8: bool) -> tuple[InFlight, list[Handle]]:
    handles = [Handle(command, c.Asked(f"A{at}", utf8)) for at, command in enumerate(commands, start=7)]
    flight = InFlight()
    for handle in handles:
        flight.add(handle)
    return flight, handles


@given(st.lists(st.sampled_from(COMMANDS), max_size=8), st.data(), st.booleans())
def test_the_same_as_by_asking_each(commands: list[c.Command], data: st.DataObject, utf8: bool) -> None:
    flight, handles = in_flight(commands, utf8=utf8)
    while True:
        assert list(flight) == handles
        for response in RESPONSES:
            asked = [handle for handle in handles if handle.command.takes(response, handle.asked)]
            assert list(flight.takers(response)) == asked
        if not handles:
            return
        flight.remove(handles.pop(data.draw(st.integers(0, len(handles) - 1))))


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=[f"{at}-{one.verb}" for at, one in enumerate(COMMANDS)])
def test_a_command_with_topics_takes_nothing_else(command: c.Command, utf8: bool) -> None:
    asked = c.Asked("A1", utf8)
    topics = command.topics(asked)
    taken = {topic_of(response) for response in RESPONSES if command.takes(response, asked)}
    assert taken
    assert topics is None or taken <= set(topics)


def test_each_taker_is_counted() -> None:
    flight, (first, second) = in_flight([c.Fetch(ONE, ("FLAGS",)), c.Fetch(TWO, ("FLAGS",))], utf8=False)
    flight.takers(r.Fetch(1, uid=1))
    flight.takers(r.Fetch(2, uid=3))
    assert (first.taken, second.taken) == (1, 2)


def test_behind_a_change_of_mailbox_nobody_is_heard() -> None:
    flight, handles = in_flight([c.Select("x"), c.Fetch(ONE, ("FLAGS",)), c.Noop()], utf8=False)
    assert list(flight.heard()) == handles[:1]
    assert flight.takers(r.Exists(1)) == (handles[0],)
    assert flight.takers(r.Fetch(1, uid=1)) == ()
    flight.remove(handles[0])
    assert list(flight.heard()) == handles[1:]
    assert flight.takers(r.Fetch(1, uid=1)) == (handles[1], handles[2])


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda at: c.StatusOf(f"m{at}", ("MESSAGES",)), b"* STATUS m%d (MESSAGES 1)\r\n"),
        (lambda at: c.Fetch(UidSet.of([at]), ("FLAGS",)), b"* 1 FETCH (UID %d FLAGS ())\r\n"),
        (
            lambda at: c.Store(UidSet.of([at]), "+", SEEN, silent=False),
            b"* 1 FETCH (UID %d FLAGS (\\Seen))\r\n",
        ),
    ],
    ids=["STATUS", "FETCH", "STORE"],
)
def test_an_answer_is_not_shown_to_each_one_in_flight(
    make: object, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(make)
    count = 1000
    looks = 0
    kind = type(make(1))
    takes = kind.takes

    def counted(self: c.Command, response: c.Taken, asked: c.Asked, /) -> bool:
        nonlocal looks
        looks += 1
        return bool(takes(self, response, asked))

    monkeypatch.setattr(kind, "takes", counted)
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    connection.send(c.Select("INBOX"))
    connection.data_to_send()
    connection.receive_data(b"* 1000 EXISTS\r\nA1 OK\r\n")
    while connection.next_event() is not None:
        pass
    handles = [connection.send(make(at)) for at in range(1, count + 1)]
    while connection.data_to_send():
        pass
    for at, handle in enumerate(handles, start=1):
        connection.receive_data(answer % at + b"%b OK\r\n" % handle.tag.encode())
        received, ended = connection.next_event(), connection.next_event()
        assert isinstance(received, Received)
        assert received.takers == (handle,)
        assert isinstance(ended, Ended)
    assert looks == count
