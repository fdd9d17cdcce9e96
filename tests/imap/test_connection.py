"""Transcripts against the protocol machine: who takes what, what ends what, whose fault an error is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import LocalProtocolError, RemoteProtocolError, ThrottledError, UnreachableError
from mailtwin.imap import (
    Connection,
    Ended,
    Event,
    Greeting,
    Handle,
    LiteralChunk,
    LiteralStart,
    Received,
    Secret,
)
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.connection import STRAYS_MAX
from mailtwin.imap.outgoing import INCOMPLETE_MAX, WRITE_BYTES
from mailtwin.model import UidSet

LOGIN = c.Login("u", Secret("p"))
UIDS = UidSet.of([11, 12])


def all_events(connection: Connection) -> list[Event]:
    events: list[Event] = []
    while (event := connection.next_event()) is not None:
        events.append(event)
    return events


class Talk:
    """A connection, what it wrote and what came of it."""

    def __init__(self, capabilities: bytes = b"IMAP4REV1", *, exists: int | None = None) -> None:
        self.connection = Connection()
        self.hear(b"* PREAUTH [CAPABILITY " + capabilities + b"] hi")
        if exists is not None:
            self.answer(c.Select("INBOX"), b"* %d EXISTS" % exists)

    def send(self, command: c.Command) -> Handle:
        handle = self.connection.send(command)
        self.written = self.write()
        return handle

    def write(self) -> bytes:
        pieces: list[bytes] = []
        while data := self.connection.data_to_send():
            pieces.append(bytes(data))
        return b"".join(pieces)

    def hear(self, *lines: bytes) -> list[Event]:
        self.connection.receive_data(b"".join(line + b"\r\n" for line in lines))
        events = all_events(self.connection)
        self.written = self.write()
        return events

    def answer(self, command: c.Command, *lines: bytes, reply: bytes = b"OK") -> list[r.Response]:
        """Sends, hears `lines` and the reply, and gives what the command took."""
        handle = self.send(command)
        return taken(handle, self.hear(*lines, handle.tag.encode() + b" " + reply))


def taken(handle: Handle, events: Iterable[Event]) -> list[r.Response]:
    return [event.response for event in events if isinstance(event, Received) and handle in event.takers]


def reply(events: Iterable[Event], handle: Handle) -> r.Status:
    (status,) = [event.status for event in events if isinstance(event, Ended) and event.handle is handle]
    return status


# --- greeting ---


def test_greeting() -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    assert connection.next_event() == Greeting(r.Status("OK", None, None, b"hi"))
    assert connection.next_event() is None


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"220 mail.example ESMTP ready", "220 mail.example ESMTP ready"),
        (b"SSH-2.0-OpenSSH_9.2", "SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 400 Bad Request", "HTTP/1.1 400 Bad Request"),
        (b"+OK POP3 ready", "POP3"),
        (b"* NO", ""),
        (b"A1 OK hi", "hi"),
        (b"* CAPABILITY IMAP4rev1", "Capability"),
    ],
)
def test_a_server_that_is_not_imap(greeting: bytes, said: str) -> None:
    connection = Connection()
    connection.receive_data(greeting + b"\r\n")
    with pytest.raises(RemoteProtocolError, match="no IMAP server") as caught:
        connection.next_event()
    assert said in caught.value.message


def test_a_bye_for_greeting_carries_its_text() -> None:
    connection = Connection()
    connection.receive_data(b"* BYE come back at noon\r\n")
    with pytest.raises(UnreachableError, match="come back at noon"):
        connection.next_event()


def test_a_bye_that_asks_for_a_pause() -> None:
    connection = Connection()
    connection.receive_data(b"* BYE Request is throttled. Suggested Backoff Time: 2500 milliseconds\r\n")
    with pytest.raises(ThrottledError) as caught:
        connection.next_event()
    assert caught.value.pause_s == 2.5


def until_lost(connection: Connection) -> None:
    while connection.next_event():
        pass


@pytest.mark.parametrize("phase", ["greeting", "later"])
def test_words_that_are_no_imap_and_ask_for_a_pause(phase: str) -> None:
    connection = Connection()
    if phase == "later":
        connection.receive_data(b"* OK hi\r\n")
        connection.next_event()
    connection.receive_data(b"Server Unavailable. 15\r\n")
    connection.receive_eof()
    with pytest.raises(ThrottledError, match=r"Server Unavailable\. 15"):
        until_lost(connection)


@pytest.mark.parametrize("words", [b"Server Unavailable. 15\r\n* OK still here\r\n", b"Goodbye\r\n"])
def test_words_that_are_no_imap_and_ask_for_nothing_now(words: bytes) -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n" + words)
    connection.receive_eof()
    with pytest.raises(UnreachableError) as caught:
        until_lost(connection)
    assert not isinstance(caught.value, ThrottledError)


def test_no_greeting() -> None:
    connection = Connection()
    connection.receive_eof()
    with pytest.raises(UnreachableError, match="without a greeting"):
        connection.next_event()


# --- who takes what (rules R2, R3, R4) ---


def test_a_listing_goes_on_through_everything_else() -> None:
    talk = Talk(exists=3)
    items = talk.answer(
        c.List(),
        b'* LIST () "/" a',
        b"* 4 EXISTS",
        b"* OK still here",
        b"* 1 EXPUNGE",
        b"* 2 FETCH (UID 9 FLAGS ())",
        b"* NO careful",
        b'* LIST () "/" {1}',
        b"b",
        b'* LIST () "/" c',
    )
    assert [item.name for item in items if isinstance(item, r.ListItem)] == [b"a", b"b", b"c"]
    assert talk.connection.state.selected is not None
    assert talk.connection.state.selected.exists == 3


def test_a_sequence_number_is_never_a_uid() -> None:
    talk = Talk(exists=20)
    found = talk.answer(
        c.Fetch(UIDS, ("FLAGS",)), b"* 12 FETCH (FLAGS (old))", b"* 3 FETCH (UID 12 FLAGS (new))"
    )
    assert [(fetch.uid, fetch.flags) for fetch in found if isinstance(fetch, r.Fetch)] == [(12, ("new",))]


def test_a_fetch_without_uid_is_resolved_by_position() -> None:
    talk = Talk(exists=20)
    found = talk.answer(
        c.Fetch(UIDS, ("FLAGS",)),
        b"* 3 FETCH (UID 12)",
        b"* 3 FETCH (FLAGS (a))",
        b"* 1 EXPUNGE",
        b"* 2 FETCH (FLAGS (b))",
        b"* 3 FETCH (FLAGS (c))",
    )
    assert [(fetch.uid, fetch.flags) for fetch in found if isinstance(fetch, r.Fetch)] == [
        (12, None),
        (12, ("a",)),
        (12, ("b",)),
    ]


def test_an_expunge_of_a_known_message_says_its_uid() -> None:
    talk = Talk(exists=2)
    assert talk.answer(c.Noop(), b"* 1 FETCH (UID 12)", b"* 1 EXPUNGE", b"* 1 EXPUNGE")[1:] == [
        r.Vanished(UidSet.of([12]), earlier=False),
        r.Expunge(1),
    ]


def test_several_fetches_for_one_message_are_all_taken() -> None:
    talk = Talk(exists=2)
    assert len(talk.answer(c.Fetch(UIDS, ("FLAGS",)), *[b"* 1 FETCH (UID 11 FLAGS ())"] * 3)) == 3


def test_two_search_responses_are_one_answer() -> None:
    talk = Talk(exists=2)
    assert talk.answer(c.Search(), b"* SEARCH 1 2", b"* 3 EXISTS", b"* SEARCH 3") == [
        r.Search((1, 2)),
        r.Search((3,)),
    ]


def test_nothing_survives_the_tagged_reply() -> None:
    """What came before a command was sent, or after its reply, is nobody's."""
    talk = Talk(exists=2)
    (early,) = talk.hear(b"* 1 FETCH (UID 11 FLAGS (early))")
    handle = talk.send(c.Fetch(UIDS, ("FLAGS",)))
    events = talk.hear(b"A2 OK", b"* 1 FETCH (UID 11 FLAGS (late))")
    assert early == Received(r.Fetch(1, uid=11, flags=("early",)))
    assert taken(handle, events) == []


def test_an_appenduid_of_a_failed_command_is_never_the_next_ones() -> None:
    talk = Talk(b"LITERAL+")
    first, second = talk.send(c.Append.of("x", b"1")), talk.send(c.Append.of("x", b"2"))
    events = talk.hear(b"* OK [APPENDUID 7 99] stray", b"A1 NO [APPENDUID 7 98] no", b"A2 OK done")
    assert reply(events, first).word == "NO"
    assert reply(events, second).code is None
    assert taken(first, events) == taken(second, events) == []


def test_an_appenduid_needs_no_uidplus() -> None:
    talk = Talk(b"LITERAL+")
    assert not talk.connection.state.has("UIDPLUS")
    handle = talk.send(c.Append.of("x", b"1"))
    assert reply(talk.hear(b"A1 OK [APPENDUID 7 99] done"), handle).code == r.Code(
        "APPENDUID", (7, UidSet.of([99])), ((range(99, 100),),)
    )


def test_an_untagged_copyuid_is_the_oldest_moves() -> None:
    talk = Talk(exists=9)
    first, second = talk.send(c.Move(UIDS, "x")), talk.send(c.Move(UIDS, "y"))
    events = talk.hear(b"* OK [COPYUID 1 11:12 1:2] m", b"A2 OK", b"* OK [COPYUID 1 11:12 3:4] m", b"A3 OK")
    assert len(taken(first, events)) == len(taken(second, events)) == 1


def test_what_the_old_mailbox_says_is_not_for_commands_behind_a_select() -> None:
    talk = Talk(exists=2)
    select, fetch = talk.send(c.Select("other")), talk.send(c.Fetch(UIDS, ("FLAGS",)))
    events = talk.hear(
        b"* 1 FETCH (UID 11 FLAGS (old))", b"* 5 EXISTS", b"A2 OK", b"* 1 FETCH (UID 11 FLAGS (new))"
    )
    assert [f.flags for f in taken(fetch, events) if isinstance(f, r.Fetch)] == [("new",)]
    assert taken(select, events) == [r.Exists(5)]


def test_commands_answered_out_of_order() -> None:
    talk = Talk(exists=2)
    first, second = talk.send(c.Noop()), talk.send(c.Fetch(UIDS, ("FLAGS",)))
    events = talk.hear(b"A3 OK two", b"A2 OK one")
    assert [event.handle for event in events if isinstance(event, Ended)] == [second, first]


# --- completeness (rules R7, R8) ---


def incomplete(talk: Talk, command: c.Command, *lines: bytes, reply: bytes = b"OK") -> list[str]:
    handle = talk.send(command)
    talk.hear(*lines, handle.tag.encode() + b" " + reply)
    return handle.incomplete


@pytest.mark.parametrize(
    "ending",
    [
        b"OK [MESSAGELIMIT 1000 4711] some",
        b"OK Success [THROTTLED]",
        b"OK [THROTTLED] x",
        b"OK [LIMIT] x",
        b"OK [OVERQUOTA] x",
        b"OK [UNAVAILABLE] x",
        b"OK [INUSE] x",
    ],
)
def test_a_limit_makes_an_answer_incomplete(ending: bytes) -> None:
    fetch = c.Fetch(UIDS, ("FLAGS",))
    assert incomplete(Talk(exists=2), fetch, reply=ending)
    assert incomplete(Talk(exists=2), fetch, b"* " + ending)
    assert not incomplete(Talk(exists=2), fetch)


def test_a_damaged_response_makes_its_own_command_incomplete() -> None:
    talk = Talk(exists=2)
    assert incomplete(talk, c.Fetch(UIDS, ("FLAGS",)), b"* 1 FETCH (UID 11 FLAGS (")
    assert not incomplete(talk, c.List(), b"* 1 FETCH (UID 11 FLAGS (")
    assert incomplete(talk, c.List(), b"* LIST")
    assert incomplete(talk, c.List(), b"Server Unavailable. 15")
    assert not incomplete(talk, c.Noop(), b"Server Unavailable. 15")
    assert not incomplete(talk, c.List(), b"* [ALERT] hi", b"")


RESYNC = c.Resync(1, 2)
SEEN = frozenset({"\\Seen"})


@pytest.mark.parametrize(
    "damage", [b"* VANISHED (EARLIER) 1:x", b"* 1 FETCH (UID 11 FLAGS (", b"* 1 UIDFETCH (FLAGS"]
)
@pytest.mark.parametrize(
    ("command", "awaited"),
    [
        (c.Select("x", resync=RESYNC), {b"VANISHED", b"FETCH", b"UIDFETCH"}),
        (c.Select("x"), set()),
        (c.Fetch(UIDS, ("FLAGS",), 4, vanished=True), {b"VANISHED", b"FETCH", b"UIDFETCH"}),
        (c.Fetch(UIDS, ("FLAGS",), 4), {b"FETCH", b"UIDFETCH"}),
        (c.Store(UIDS, "+", SEEN), set()),
        (c.Store(UIDS, "+", SEEN, silent=False), {b"FETCH", b"UIDFETCH"}),
        (c.Store(UIDS, "+", SEEN, unchanged_since=4), {b"FETCH", b"UIDFETCH"}),
    ],
)
def test_options_say_which_responses_must_not_be_damaged(
    command: c.Command, awaited: set[bytes], damage: bytes
) -> None:
    found = incomplete(Talk(exists=2), command, damage)
    assert bool(found) == any(b" " + name + b" (" in damage for name in awaited)


@pytest.mark.parametrize("uid", [b"x", b"0", b"4294967296", b"(11)", b"NIL"])
def test_a_message_whose_uid_cannot_be_read_is_missing_somewhere(uid: bytes) -> None:
    line = b"* 1 FETCH (UID " + uid + b" FLAGS (\\Seen))"
    assert incomplete(Talk(exists=2), c.Fetch(UIDS, ("FLAGS",)), line)
    assert not incomplete(Talk(exists=2), c.Search(), line)
    assert not incomplete(Talk(exists=2), c.Fetch(UIDS, ("FLAGS",)), b"* 1 FETCH (FLAGS (\\Seen))")


def test_flags_that_cannot_be_read_are_missing_where_they_were_asked_for() -> None:
    line = b"* 1 FETCH (UID 11 FLAGS \\Seen)"
    assert incomplete(Talk(exists=2), c.Fetch(UIDS, ("FLAGS",)), line)
    assert not incomplete(Talk(exists=2), c.Fetch(UidSet.of([12]), ("FLAGS",)), line)


def test_an_unbalanced_parenthesis_costs_one_message() -> None:
    talk = Talk(exists=2)
    handle = talk.send(c.Fetch(UIDS, ("ENVELOPE",)))
    events = talk.hear(b'* 1 FETCH (UID 11 ENVELOPE ("a(b" NIL)', b"* 2 FETCH (UID 12 FLAGS (a))", b"A2 OK")
    assert r.Fetch(2, uid=12, flags=("a",)) in taken(handle, events)
    assert handle.incomplete


def test_the_limit_on_reasons() -> None:
    handle = Handle(c.Noop(), c.Asked("A1"))
    for at in range(INCOMPLETE_MAX + 5):
        handle.distrust(str(at))
        handle.distrust(str(at))
    assert len(handle.incomplete) == INCOMPLETE_MAX


# --- writing: literals and continuations (rule R5) ---


def test_a_literal_waits_for_leave_through_untagged_responses() -> None:
    talk = Talk()
    talk.send(c.Append.of("x", b"body"))
    assert talk.written == b'A1 APPEND "x" {4}\r\n'
    talk.hear(b"* 5 EXISTS", b"* OK [ALERT] hm {90}")
    assert talk.written == b""
    talk.hear(b"+")
    assert talk.written == b"body\r\n"


def test_a_refused_literal_is_never_sent() -> None:
    talk = Talk()
    first = talk.send(c.Append.of("x", b"body"))
    second = talk.send(c.Append.of("y", b"other"))
    assert talk.written == b""
    events = talk.hear(b"A1 NO [TRYCREATE] no such mailbox")
    assert reply(events, first).word == "NO"
    assert not first.sent
    assert talk.written == b'A2 APPEND "y" {5}\r\n'
    talk.hear(b"+ go")
    assert talk.written == b"other\r\n"
    assert second.sent


def test_an_announced_literal_is_sent_although_the_command_failed() -> None:
    talk = Talk(b"LITERAL+")
    handle = talk.connection.send(c.Append("x", [b"1" * WRITE_BYTES, b"2" * WRITE_BYTES], 2 * WRITE_BYTES))
    head = talk.connection.data_to_send()
    talk.connection.receive_data(b"A1 NO [OVERQUOTA] full\r\n")
    event = talk.connection.next_event()
    assert isinstance(event, Ended)
    assert not handle.sent
    assert (
        bytes(head) + talk.write()
        == b'A1 APPEND "x" {131072+}\r\n' + b"1" * WRITE_BYTES + b"2" * WRITE_BYTES + b"\r\n"
    )


def test_an_untagged_bad_is_noted_and_the_literal_still_waits() -> None:
    talk = Talk()
    handle = talk.send(c.Append.of("x", b"body"))
    talk.hear(b"* BAD message too large")
    assert talk.connection.holding is handle
    assert handle.refused == r.Status("BAD", None, None, b"message too large")
    assert talk.written == b""


def test_appends_are_pipelined_where_the_server_need_not_ask() -> None:
    talk = Talk(b"LITERAL-")
    talk.connection.send(c.Append.of("x", b"1"))
    talk.connection.send(c.Append.of("x", b"2"))
    assert talk.write() == b'A1 APPEND "x" {1+}\r\n1\r\nA2 APPEND "x" {1+}\r\n2\r\n'


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_the_very_bytes_are_sent_however_they_are_cut(chunks: list[bytes]) -> None:
    talk = Talk(b"LITERAL+")
    size = sum(map(len, chunks))
    talk.connection.send(c.Append("x", chunks, size))
    pieces: list[bytes] = []
    while data := talk.connection.data_to_send():
        assert len(data) <= 2 * WRITE_BYTES
        pieces.append(bytes(data))
    assert b"".join(pieces) == b'A1 APPEND "x" {%d+}\r\n' % size + b"".join(chunks) + b"\r\n"


def test_a_body_is_read_only_as_it_is_written() -> None:
    read: list[int] = []

    def body() -> Iterator[bytes]:
        for at in range(10):
            read.append(at)
            yield b"x" * WRITE_BYTES

    talk = Talk(b"LITERAL+")
    talk.connection.send(c.Append("x", body(), 10 * WRITE_BYTES))
    talk.connection.data_to_send()
    talk.connection.data_to_send()
    assert read == [0]


@pytest.mark.parametrize("chunks", [[b"abc"], [b"abcd", b"ef"], [b"abcdef"], []])
def test_a_body_of_another_length_kills_the_connection(chunks: list[bytes]) -> None:
    talk = Talk(b"LITERAL+")
    talk.connection.send(c.Append("x", chunks, 5))
    with pytest.raises(LocalProtocolError, match="5 bytes"):
        talk.write()
    with pytest.raises(LocalProtocolError):
        talk.connection.next_event()


def test_stray_continuations_are_harmless_but_not_without_end() -> None:
    talk = Talk()
    talk.hear(*[b"+ hm"] * STRAYS_MAX)
    with pytest.raises(RemoteProtocolError):
        talk.hear(b"+ hm")


# --- IDLE ---


def test_idle_is_done_when_asked() -> None:
    talk = Talk(exists=1)
    handle = talk.send(c.Idle())
    events = talk.hear(b"* 2 EXISTS", b"+ idling", b"* 3 EXISTS", b"* OK Still here")
    assert [type(found) for found in taken(handle, events)] == [r.Exists, r.Exists, r.Status]
    talk.connection.done()
    talk.connection.done()
    assert talk.write() == b"DONE\r\n"
    assert reply(talk.hear(b"* 4 EXISTS", b"A2 OK"), handle).word == "OK"


def test_idle_done_before_the_server_agrees() -> None:
    talk = Talk(exists=1)
    talk.send(c.Idle())
    talk.connection.done()
    assert talk.write() == b""
    talk.hear(b"+")
    assert talk.written == b"DONE\r\n"
    talk.hear(b"A2 OK")
    talk.send(c.Idle())
    talk.hear(b"+")
    assert talk.written == b""


def test_a_server_may_end_idle_itself() -> None:
    talk = Talk(exists=1)
    handle = talk.send(c.Idle())
    assert reply(talk.hear(b"+", b"A2 OK bored"), handle).word == "OK"
    assert talk.connection.is_idle


@pytest.mark.parametrize("reply", [b"A2 OK bored", b"A2 BAD no"])
def test_idle_done_after_the_server_has_ended_it(reply: bytes) -> None:
    talk = Talk(exists=1)
    talk.send(c.Idle())
    talk.hear(b"+", reply)
    talk.connection.done()
    assert talk.write() == b""
    talk.send(c.Idle())
    talk.hear(b"+")
    assert talk.written == b""


def test_one_done_however_often_the_server_agrees_to_idle() -> None:
    talk = Talk(exists=1)
    handle = talk.send(c.Idle())
    talk.hear(b"+ idling")
    talk.connection.done()
    talk.hear(*[b"+ idling"] * STRAYS_MAX)
    assert talk.written == b"DONE\r\n"
    with pytest.raises(RemoteProtocolError, match="nobody announced"):
        talk.hear(b"+ idling")
    assert not handle.ended


# --- what may not be sent ---


def test_commands_out_of_phase_are_our_mistake_and_send_nothing() -> None:
    talk = Talk()
    for command in (c.Fetch(UIDS, ("FLAGS",)), c.Close(), LOGIN, c.StartTls()):
        with pytest.raises(LocalProtocolError, match="makes no sense"):
            talk.connection.send(command)
    assert talk.write() == b""
    assert talk.connection.is_idle
    assert talk.send(c.Noop()).tag == "A1"


def test_nothing_is_sent_before_the_greeting() -> None:
    with pytest.raises(LocalProtocolError):
        Connection().send(c.Noop())


def test_commands_that_must_wait() -> None:
    talk = Talk()
    talk.send(c.List())
    assert not talk.connection.may_send(c.List())
    with pytest.raises(LocalProtocolError, match="must wait"):
        talk.connection.send(c.List())


# --- whose fault ---


def dies(talk: Talk, *lines: bytes) -> Exception:
    with pytest.raises((RemoteProtocolError, UnreachableError, ThrottledError)) as caught:
        talk.hear(*lines)
    with pytest.raises(type(caught.value)):
        talk.connection.next_event()
    with pytest.raises(type(caught.value)):
        talk.connection.send(c.Noop())
    with pytest.raises(type(caught.value)):
        talk.connection.data_to_send()
    return caught.value


def test_an_unknown_tag() -> None:
    assert "never sent" in str(dies(Talk(), b"B77 OK what"))


def test_a_second_reply_to_one_command() -> None:
    talk = Talk()
    talk.send(c.Noop())
    assert isinstance(dies(talk, b"A1 OK", b"A1 OK"), RemoteProtocolError)


def test_an_ok_for_a_message_that_was_not_sent() -> None:
    talk = Talk()
    talk.send(c.Append.of("x", b"body"))
    assert "before it was sent" in str(dies(talk, b"A1 OK [APPENDUID 1 1] stored"))


def test_a_bye_carries_its_text_at_once() -> None:
    talk = Talk(exists=1)
    talk.send(c.Fetch(UIDS, ("FLAGS",)))
    error = dies(talk, b"* BYE Session invalidated - AccessTokenExpired")
    assert isinstance(error, UnreachableError)
    assert "AccessTokenExpired" in str(error)


@pytest.mark.parametrize(
    ("code", "url"),
    [(b"[REFERRAL imap://other.example/] ", "imap://other.example/"), (b"[REFERRAL a b] ", ""), (b"", "")],
)
def test_a_bye_may_name_another_server(code: bytes, url: str) -> None:
    error = dies(Talk(), b"* BYE " + code + b"not here")
    assert isinstance(error, UnreachableError)
    assert error.hint == (f"it names another server: {url}" if url else "")


def test_replies_before_a_bye_count() -> None:
    talk = Talk(b"LITERAL+")
    first = talk.send(c.Append.of("x", b"1"))
    talk.send(c.Append.of("x", b"2"))
    talk.connection.receive_data(b"A1 OK [APPENDUID 1 5] stored\r\n* BYE too bad\r\n")
    event = talk.connection.next_event()
    assert isinstance(event, Ended)
    assert event.handle is first
    with pytest.raises(UnreachableError):
        talk.connection.next_event()


def test_the_bye_of_a_logout_is_no_error() -> None:
    talk = Talk()
    handle = talk.send(c.Logout())
    events = talk.hear(b"* BYE bye", b"* BYE bye", b"A1 OK", b"* BYE bye")
    assert reply(events, handle).word == "OK"


def test_the_end_in_the_middle_of_a_literal() -> None:
    talk = Talk(exists=1)
    talk.send(c.Fetch(UIDS, ("BODY.PEEK[]",)))
    talk.connection.receive_data(b"* 1 FETCH (BODY[] {100}\r\nabc")
    talk.connection.receive_eof()
    with pytest.raises(UnreachableError, match="in the middle of a response"):
        talk.connection.next_event()


def test_what_came_before_the_end_is_used_first() -> None:
    talk = Talk()
    handle = talk.send(c.Noop())
    talk.connection.receive_data(b"* OK hm\r\nA1 OK\r\n")
    talk.connection.receive_eof()
    assert isinstance(talk.connection.next_event(), Received)
    event = talk.connection.next_event()
    assert isinstance(event, Ended)
    assert event.handle is handle
    with pytest.raises(UnreachableError):
        talk.connection.next_event()


def test_plaintext_behind_the_starttls_reply() -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    connection.next_event()
    connection.send(c.StartTls())
    connection.data_to_send()
    connection.receive_data(b"A1 OK go\r\n* CAPABILITY FORGED\r\n")
    with pytest.raises(RemoteProtocolError, match="ahead of TLS"):
        connection.next_event()


# --- streams ---


def test_a_large_literal_is_lent_before_its_response() -> None:
    talk = Talk(exists=1)
    handle = talk.send(c.Fetch(UIDS, ("BODY.PEEK[]",)))
    body = b"A2 OK not yet\r\n* BYE no\r\n" * 10_000
    talk.connection.receive_data(b"* 1 FETCH (BODY[] {%d}\r\n" % len(body))
    events: list[Event] = []
    got = bytearray()
    for start in range(0, len(body), 7777):
        talk.connection.receive_data(body[start : start + 7777])
        while (event := talk.connection.next_event()) is not None:
            if isinstance(event, LiteralChunk):
                got += event.data
            else:
                events.append(event)
    events += talk.hear(b" UID 11)", b"A2 OK")
    assert bytes(got) == body
    assert isinstance(events[0], LiteralStart)
    assert taken(handle, events) == [r.Fetch(1, uid=11, bodies={"": r.Streamed(len(body))})]
    assert isinstance(events[-1], Ended)


def test_the_same_events_one_byte_at_a_time() -> None:
    wire = (
        b'* OK [CAPABILITY IMAP4rev1] hi\r\n* PREAUTH x\r\n* 3 EXISTS\r\n+\r\n* LIST () "/" {3}\r\na\r\n\r\n'
        b"* 1 FETCH (UID 4 FLAGS (\\Seen) BODY[] {5}\r\nhello)\r\n* OK [ALERT] {90}\r\n* [X] y\r\n"
    )
    whole = Connection()
    whole.receive_data(wire)
    bytewise = Connection()
    seen: list[Event] = []
    for at in range(len(wire)):
        bytewise.receive_data(wire[at : at + 1])
        seen += all_events(bytewise)
    assert seen == all_events(whole)


FRAGMENTS = st.sampled_from(
    [
        *(
            b"* OK x",
            b"* NO [LIMIT] x",
            b"* BAD x",
            b"* BYE x",
            b"+",
            b"+ !!",
            b"A1 OK",
            b"A2 NO",
            b"A3 BAD x",
            b"A9 OK",
        ),
        *(
            b"* 3 EXISTS",
            b"* 1 EXPUNGE",
            b"* 0 EXPUNGE",
            b"* VANISHED 1:4294967295",
            b"* VANISHED (EARLIER) 3",
        ),
        *(
            b"* 1 FETCH (UID 11)",
            b"* 4294967295 FETCH (UID 12 FLAGS (a))",
            b"* 1 FETCH (FLAGS (",
            b"* 2 FETCH ()",
        ),
        *(
            b"* CAPABILITY",
            b"* CAPABILITY LITERAL+ IMAP4rev1",
            b"* ENABLED UTF8=ACCEPT",
            b"* FLAGS ()",
            b"* LIST",
        ),
        *(
            b"* OK [UIDNEXT x] y",
            b"* OK [HIGHESTMODSEQ 0]",
            b"* OK [CLOSED]",
            b"* OK [COPYUID 1 11 1] x",
            b"* OK [PERMANENTFLAGS]",
        ),
        *(
            b"* ESEARCH (TAG A1) UID ALL 3",
            b"* SEARCH 1 2",
            b"* STATUS x (MESSAGES 1)",
            b"* ID NIL",
            b"* 1 FETCH (BODY[] {3}",
            b"\0",
        ),
    ]
)
COMMANDS = st.sampled_from(
    [
        *(c.Noop(), c.Fetch(UIDS, ("FLAGS",)), c.Search(), c.Move(UIDS, "x"), c.Expunge(), c.Idle()),
        *(
            c.Select("x"),
            c.Close(),
            c.Append.of("x", b"body"),
            c.List(),
            c.Enable(("X",)),
            c.Logout(),
            c.Capability(),
        ),
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=40) | COMMANDS, max_size=40))
def test_whatever_a_server_says_only_our_errors_come_out(steps: list[bytes | c.Command]) -> None:
    talk = Talk(exists=2)
    try:
        for step in steps:
            if isinstance(step, bytes):
                talk.hear(step)
            elif talk.connection.state.allows(step) and talk.connection.may_send(step):
                talk.send(step)
    except (RemoteProtocolError, UnreachableError, ThrottledError):
        with pytest.raises((RemoteProtocolError, UnreachableError, ThrottledError)):
            talk.connection.next_event()


def test_a_number_too_large_for_the_short_cut_is_one_lost_response() -> None:
    talk = Talk(exists=3)
    handle = talk.send(c.Fetch(UIDS, ("FLAGS",)))
    talk.hear(b"* 4294967296 FETCH (UID 11)", b"* 1 FETCH (UID 12)", b"A2 OK")
    assert handle.taken == 1
    assert handle.incomplete
