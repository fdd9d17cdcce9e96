"""What a hostile server, or a hostile argument, may try against the kernel; each test bears the name of the threat.

Those that need a socket are in `tests/client/test_threats.py`.
"""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import LocalProtocolError, MailtwinError, RemoteProtocolError
from mailtwin.imap import Connection, Ended, LiteralChunk, LiteralStart, Phase, Received, Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.connection import CHALLENGES_MAX, STRAYS_MAX
from mailtwin.imap.framing import LITERALS_MAX, Framer
from mailtwin.imap.state import ALERTS_MAX
from mailtwin.model import UidSet
from mailtwin.model.limits import (
    CAPABILITIES_MAX,
    LINE_BYTES_MAX,
    LITERAL_BYTES_MAX,
    LITERAL_INLINE_MAX,
    LITERALS_INLINE_TOTAL_MAX,
    NESTING_MAX,
)

FETCH = c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",))


def connected(capabilities: str = "", framer: Framer | None = None) -> Connection:
    connection = Connection(framer)
    connection.receive_data(f"* PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n".encode())
    connection.next_event()
    return connection


def selected() -> Connection:
    connection = connected()
    ask(connection, c.Select("INBOX"))
    hear(connection, b"* 3 EXISTS\r\nA1 OK\r\n")
    return connection


def ask(connection: Connection, *commands: c.Command) -> bytes:
    """What is written for these commands."""
    for command in commands:
        connection.send(command)
    written = bytearray()
    while data := connection.data_to_send():
        written += data
    return bytes(written)


def hear(connection: Connection, data: bytes) -> list[object]:
    connection.receive_data(data)
    return heard(connection)


def heard(connection: Connection) -> list[object]:
    events: list[object] = []
    while (event := connection.next_event()) is not None:
        if not isinstance(event, LiteralChunk):
            events.append(event)
    return events


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    """At no time is more than this allocated in the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes, f"{peak} bytes"


# --- response injection through literals ---

INJECTION = (
    b"A2 OK done\r\n* BYE go away\r\n+\r\n* 1 EXPUNGE\r\n* CAPABILITY FORGED\r\n* 9 EXISTS\r\nA3 NO {5}\r\n"
)


@pytest.mark.parametrize("repeated", [1, 2000])
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_response_injection_through_the_literal_of_a_body(repeated: int, size: int) -> None:
    connection, body = selected(), INJECTION * repeated
    ask(connection, FETCH)
    data = b"* 1 FETCH (UID 11 BODY[] {%d}\r\n%b)\r\nA2 OK really\r\n" % (len(body), body)
    events: list[object] = []
    for at in range(0, len(data), size):
        events += hear(connection, data[at : at + size])
    assert [type(event) for event in events][-2:] == [Received, Ended]
    assert isinstance(events[-1], Ended)
    assert events[-1].status.text == b"really"
    assert isinstance(events[0], LiteralStart) == (len(body) > LITERAL_INLINE_MAX)
    assert len(events) == (3 if len(body) > LITERAL_INLINE_MAX else 2)
    assert connection.state.selected is not None
    assert connection.state.selected.exists == 3
    assert not connection.state.has("FORGED")


def test_response_injection_through_the_literal_of_a_mailbox_name() -> None:
    connection = connected()
    ask(connection, c.List())
    name = b"x\r\nA1 OK done\r\n* LIST () NIL forged"
    events = hear(connection, b"* LIST () NIL {%d}\r\n%b\r\nA1 OK really\r\n" % (len(name), name))
    assert isinstance(events[0], Received)
    assert isinstance(events[0].response, r.ListItem)
    assert events[0].response.name == name
    assert len(events) == 2


def test_response_injection_through_text_that_looks_like_a_literal() -> None:
    connection = selected()
    ask(connection, FETCH)
    events = hear(
        connection, b"* OK read {400}\r\n* NO {1}\r\n* 1 FETCH (UID 11 BODY[] {2}\r\nhi)\r\nA2 OK {3}\r\n"
    )
    assert len(events) == 4


def test_a_response_hidden_in_a_literal_answers_nobody() -> None:
    connection = connected("UIDPLUS LITERAL+")
    ask(connection, c.Append.of("x", b"1"))
    code = b"A1 OK [APPENDUID 1 1] forged\r\n"
    events = hear(connection, b"* LIST () NIL {%d}\r\n%b\r\n" % (len(code), code))
    assert [isinstance(event, Ended) for event in events] == [False]


# --- tag confusion ---


@pytest.mark.parametrize(
    "reply", [b"A2 OK\r\n", b"a1 OK\r\n", b"A01 OK\r\n", b"A1A1 OK\r\n", b"A1* OK\r\n", b"\xc1\xb11 OK\r\n"]
)
def test_tag_confusion_with_a_tag_never_sent(reply: bytes) -> None:
    connection = connected()
    ask(connection, c.Noop())
    with pytest.raises(RemoteProtocolError):
        hear(connection, reply)


def test_tag_confusion_with_a_tag_already_answered() -> None:
    connection = connected()
    ask(connection, c.Noop())
    hear(connection, b"A1 OK\r\n")
    ask(connection, c.Noop())
    with pytest.raises(RemoteProtocolError, match="never sent"):
        hear(connection, b"A1 OK\r\n")


def test_tag_confusion_with_a_command_not_yet_written() -> None:
    connection = connected()
    handle = connection.send(c.Append.of("x", b"body"))
    connection.data_to_send()
    assert not handle.sent
    with pytest.raises(RemoteProtocolError, match="before it was sent"):
        hear(connection, b"A1 OK [APPENDUID 1 1] stored, believe me\r\n")


def test_tag_confusion_of_answers_in_another_order() -> None:
    connection = connected()
    first = connection.send(c.StatusOf("a", ("MESSAGES",)))
    second = connection.send(c.StatusOf("b", ("MESSAGES",)))
    connection.data_to_send()
    events = hear(connection, b"* STATUS b (MESSAGES 2)\r\nA2 OK\r\n* STATUS a (MESSAGES 1)\r\nA1 OK\r\n")
    takers = [event.takers for event in events if isinstance(event, Received)]
    assert takers == [(second,), (first,)]


def test_tag_confusion_by_a_login_that_was_not_asked_for() -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n* PREAUTH welcome\r\n* OK [CAPABILITY X] you are in\r\n")
    heard(connection)
    assert connection.state.phase is Phase.NOT_AUTHENTICATED


# --- STARTTLS injection ---


@pytest.mark.parametrize(
    "behind", [b"* CAPABILITY AUTH=PLAIN\r\n", b"A2 OK in\r\n", b"\x16", b"\0", b"* OK half"]
)
def test_starttls_injection(behind: bytes) -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    connection.next_event()
    ask(connection, c.StartTls())
    with pytest.raises(RemoteProtocolError, match="ahead of TLS"):
        hear(connection, b"A1 OK go\r\n" + behind)


def test_starttls_forgets_what_was_said_before() -> None:
    connection = Connection()
    connection.receive_data(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN FORGED] hi\r\n")
    connection.next_event()
    ask(connection, c.StartTls())
    hear(connection, b"* CAPABILITY IMAP4rev1 FORGED\r\nA1 OK [CAPABILITY FORGED] go\r\n")
    assert not connection.state.capabilities_known
    assert not connection.state.has("FORGED")


# --- literal bombs ---


@pytest.mark.parametrize("size", [LITERAL_BYTES_MAX + 1, 10**19, 10**40])
def test_literal_bomb_by_its_size(size: int) -> None:
    connection = selected()
    ask(connection, FETCH)
    with memory_below(2_000_000), pytest.raises(RemoteProtocolError, match="literal of more than"):
        hear(connection, b"* 1 FETCH (UID 11 BODY[] {%d}\r\n" % size)


def test_literal_bomb_by_announcing_and_not_sending() -> None:
    with memory_below(2_000_000):
        connection = selected()
        ask(connection, FETCH)
        hear(connection, b"* 1 FETCH (UID 11 BODY[] {%d}\r\nabc" % LITERAL_BYTES_MAX)


def test_literal_bomb_by_number() -> None:
    connection = selected()
    piece = b" X {0}\r\n"
    with memory_below(4_000_000), pytest.raises(RemoteProtocolError, match="literals in one response"):
        hear(connection, b"* 1 FETCH (UID 11" + piece * (LITERALS_MAX + 1))


def test_literal_bomb_by_sum() -> None:
    connection = selected()
    piece = b" X {%d}\r\n%b" % (LITERAL_INLINE_MAX, bytes(LITERAL_INLINE_MAX))
    pieces = LITERALS_INLINE_TOTAL_MAX // LITERAL_INLINE_MAX
    with memory_below(2 * LITERALS_INLINE_TOTAL_MAX):
        hear(connection, b"* 1 FETCH (UID 11")
        for _ in range(pieces):
            hear(connection, piece)
        with pytest.raises(RemoteProtocolError, match="bytes of literals"):
            hear(connection, piece)


def test_literal_bomb_that_is_streamed_costs_no_memory() -> None:
    connection = selected()
    ask(connection, FETCH)
    chunk, count = bytes(65536), 1000
    with memory_below(2_000_000):
        hear(connection, b"* 1 FETCH (UID 11 BODY[] {%d}\r\n" % (len(chunk) * count))
        for _ in range(count):
            hear(connection, chunk)
        assert len(hear(connection, b")\r\nA2 OK\r\n")) == 2


# --- nesting bombs ---


@pytest.mark.parametrize("depth", [NESTING_MAX + 1, 100_000])
@pytest.mark.parametrize("closed", [False, True])
def test_nesting_bomb(depth: int, closed: bool) -> None:
    connection = selected()
    handle = connection.send(FETCH)
    connection.data_to_send()
    bomb = b"(" * depth + b")" * (depth if closed else 0)
    with memory_below(8_000_000):
        events = hear(connection, b"* 1 FETCH (UID 11 BODYSTRUCTURE " + bomb + b")\r\nA2 OK\r\n")
    assert isinstance(events[0], Received)
    assert isinstance(events[0].response, r.Unparsed)
    assert handle.incomplete
    assert isinstance(events[1], Ended)


def test_nesting_bomb_across_literals() -> None:
    connection = selected()
    with memory_below(8_000_000):
        hear(connection, b"* 1 FETCH (UID 11 X " + b"( {1}\r\nx" * 5000 + b"\r\n\r\n* 4 EXISTS\r\n")
    assert connection.state.selected is not None
    assert connection.state.selected.exists == 4


# --- memory: everything that can grow is bounded ---


def test_an_endless_line() -> None:
    connection = connected(framer=Framer(line_bytes_max=1_000_000))
    with memory_below(5_000_000):
        for _ in range(15):
            hear(connection, b"x" * 65536)
        with pytest.raises(RemoteProtocolError, match="line of more than"):
            hear(connection, b"x" * 65536)


def test_the_limit_of_a_line_is_that_of_the_limits() -> None:
    connection = connected()
    with memory_below(5 * LINE_BYTES_MAX):
        for _ in range(LINE_BYTES_MAX // 65536):
            hear(connection, b"x" * 65536)
        with pytest.raises(RemoteProtocolError, match="line of more than"):
            hear(connection, b"xx")


def endless(line: Callable[[int], bytes], count: int = 6000) -> None:
    connection = selected()
    for number in range(count):
        hear(connection, line(number))


@pytest.mark.parametrize(
    "line",
    [
        lambda n: b"* OK [ALERT] number %d %b\r\n" % (n, b"x" * 400),
        lambda n: b"* CAPABILITY C%d\r\n" % n,
        lambda n: b"* ENABLED E%d\r\n" % n,
        lambda n: b"* FLAGS (f%d)\r\n" % n,
        lambda n: b"* OK [PERMANENTFLAGS (f%d)] x\r\n" % n,
        lambda n: b"* LIST () NIL m%d\r\n" % n,
        lambda n: b"* STATUS m%d (MESSAGES 1)\r\n" % n,
        lambda n: b"* 1 FETCH (UID %d FLAGS (f%d))\r\n" % (n + 1, n),
        lambda n: b"* SEARCH %d\r\n" % (n + 1),
        lambda n: b"* VANISHED %d\r\n" % (n + 1),
        lambda n: b'* ID ("name" "s%d")\r\n' % n,
        lambda n: b"* nonsense %d (\r\n" % n,
        lambda n: b"* OK [APPENDUID 1 %d] x\r\n" % (n + 1),
        lambda _: b"\r\n",
    ],
)
def test_responses_without_end_leave_nothing_behind(line: Callable[[int], bytes]) -> None:
    with memory_below(2_000_000):
        endless(line)


def test_an_endless_list_of_capabilities() -> None:
    connection = connected()
    for at in range(20):
        names = b" ".join(b"C%d" % (at * 900 + number) for number in range(900))
        hear(connection, b"* CAPABILITY " + names + b"\r\n* ENABLED " + names + b"\r\n")
    assert len(connection.state.capabilities) <= CAPABILITIES_MAX
    assert len(connection.state.enabled) <= CAPABILITIES_MAX
    held = connection.state.capabilities
    names = b" ".join(b"D%d" % number for number in range(CAPABILITIES_MAX + 1))
    hear(connection, b"* CAPABILITY " + names + b"\r\n* OK [CAPABILITY " + names + b"] hi\r\n")
    assert connection.state.capabilities == held


def test_alerts_without_end() -> None:
    connection = connected()
    hear(connection, b"* OK [ALERT] x\r\n" * (ALERTS_MAX + 5))
    assert len(connection.state.alerts) == ALERTS_MAX


def test_continuations_without_end() -> None:
    connection = connected()
    hear(connection, b"+ \r\n" * STRAYS_MAX)
    with pytest.raises(RemoteProtocolError, match="nobody announced"):
        hear(connection, b"+ \r\n")


def test_challenges_without_end() -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    connection.next_event()
    ask(connection, c.Authenticate(sasl.plain("u", Secret("p")), at_once=True))
    hear(connection, b"+ \r\n" * CHALLENGES_MAX)
    with pytest.raises(RemoteProtocolError, match="does not stop asking"):
        hear(connection, b"+ \r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"* VANISHED 1:4294967295\r\n",
        b"* ESEARCH (TAG A1) UID ALL 1:4294967295\r\n",
        b"* OK [COPYUID 1 1:4294967295 1:4294967295] x\r\n",
        b"* OK [APPENDUID 1 1:4294967295] x\r\n",
        b"* OK [APPENDUID 1 1:1000000] x\r\n",
    ],
)
def test_a_few_bytes_that_name_four_billion_messages(line: bytes) -> None:
    connection = selected()
    with memory_below(2_000_000):
        hear(connection, line)


@pytest.mark.parametrize("digits", [11, 20, 5000, 100_000])
def test_numbers_that_are_none(digits: int) -> None:
    connection = selected()
    number = b"9" * digits
    for line in (
        b"* %b EXISTS",
        b"* %b FETCH (UID 1)",
        b"* 1 FETCH (UID %b)",
        b"* OK [UIDNEXT %b] x",
        b"* SEARCH %b",
        b"* VANISHED %b",
        b"* STATUS x (MESSAGES %b)",
        b"* ESEARCH UID COUNT %b",
        b"* 1 FETCH (RFC822.SIZE %b MODSEQ (%b))",
    ):
        hear(connection, line.replace(b"%b", number) + b"\r\n")
    assert connection.state.selected is not None
    assert connection.state.selected.exists == 3


# --- time: no line takes more than its length ---

EVIL = [
    b"* OK [" + b"[" * 100_000,
    b"* OK [X " + b'"' * 100_000,
    b"* OK [X " + b'"\\' * 50_000,
    b"* OK [PERMANENTFLAGS (" + b"(" * 100_000,
    b"* 1 FETCH (FLAGS (" + b'"' * 100_000,
    b"* 1 FETCH (FLAGS (" + b"(a" * 50_000,
    b"* 1 FETCH (BODY[HEADER.FIELDS (" + b"(" * 100_000,
    b"* 1 FETCH (X " + b'"\\' * 50_000,
    b"* 1 FETCH (" + b" " * 100_000,
    b"* 1 FETCH (UID" + b" " * 100_000 + b"x",
    b"* LIST (" + b"\\a " * 50_000,
    b'* LIST () "' + b"\\" * 100_001,
    b"* STATUS " + b"(" * 100_000,
    b"* SEARCH" + b" 1" * 50_000 + b" x",
    b"* ESEARCH (TAG" + b" " * 100_000,
    b"* NAMESPACE " + b"((" * 50_000,
    b"* ID (" + b'"a" ' * 25_001 + b")",
    b"* VANISHED " + b"1," * 50_000,
    b"* CAPABILITY" + b" A" * 50_000,
    b" " * 100_000 + b"x",
    b"*" * 100_000,
    b"* " + b"{1}" * 30_000,
    b"* OK " + b"[LIMIT " * 100_000,
    b"* OK " + b"suggested backoff time: " * 50_000,
]


@pytest.mark.parametrize("line", EVIL, ids=lambda line: repr(line[:24]))
def test_no_line_takes_more_than_its_length(line: bytes) -> None:
    """By the clock of whoever waits: thousands of times its length would be hours. `tests/fuzz` counts steps."""
    connection = selected()
    hear(connection, line + b"\r\n* 7 EXISTS\r\n")
    assert connection.state.selected is not None
    assert connection.state.selected.exists == 7


# --- command injection ---

_PIECES = re.compile(rb'"(?:[^"\\\r\n]|\\["\\])*"|\{(\d+)(\+?)\}\r\n|[^\r\n"{]+|\{', re.DOTALL)


def lines_of(written: bytes) -> int:
    """How many commands a server reads in these bytes, which hold whole literals: a reader of its own."""
    count = at = 0
    while at < len(written):
        if written.startswith(b"\r\n", at):
            count, at = count + 1, at + 2
            continue
        piece = _PIECES.match(written, at)
        assert piece is not None, written[at : at + 40]
        at = piece.end() + (int(piece[1]) if piece[1] else 0)
        # Only a message may hold what ends lines, even where a literal makes it harmless.
        assert b" APPEND " in written or not set(written[piece.end() : at]) & {0, 10, 13}, written
    return count


NASTY = [
    "\r\nA9 DELETE INBOX",
    '" x',
    "\\",
    "{5}\r\n",
    "{5+}",
    "\0",
    "%",
    "*",
    "(",
    ")",
    "NIL",
    "&",
    "\n",
    "é",
    "~",
]
TEXTS = st.text(max_size=30) | st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=6).map("".join)


def written_for(command: c.Command, capabilities: str) -> bytes | None:
    """What a connection writes, continuations granted; None when the command is refused before a byte is written."""
    connection = connected(capabilities)
    if capabilities == "ENABLE UTF8=ACCEPT LITERAL+":
        ask(connection, c.Enable(("UTF8=ACCEPT",)))
        hear(connection, b"* ENABLED UTF8=ACCEPT\r\nA1 OK\r\n")
    ask(connection, c.Select("INBOX"))
    tag = b"A2" if connection.state.utf8 else b"A1"
    hear(connection, tag + b" OK\r\n")
    try:
        written = ask(connection, command)
    except LocalProtocolError:
        assert connection.is_idle
        assert connection.data_to_send() == b""
        return None
    while connection.holding is not None:
        hear(connection, b"+ \r\n")
        written += ask(connection)
    return written


@pytest.mark.parametrize("capabilities", ["", "LITERAL-", "LITERAL+", "ENABLE UTF8=ACCEPT LITERAL+"])
@pytest.mark.parametrize(
    "make",
    [
        c.Create,
        c.Delete,
        c.Subscribe,
        lambda text: c.Rename(text, "x"),
        lambda text: c.Rename("x", text),
        lambda text: c.List((text,), reference=text),
        lambda text: c.StatusOf(text, ("MESSAGES",)),
        lambda text: c.StatusOf("x", (text,)),
        lambda text: c.Copy(UidSet.of([1]), text),
        lambda text: c.Append.of(text, b"body"),
        lambda text: c.Append.of("x", b"body", flags=[text]),
        lambda text: c.Append.of("x", text.encode("utf-8", "surrogatepass")),
        lambda text: c.Store(UidSet.of([1]), "+", frozenset({text})),
        lambda text: c.Search(("HEADER", c.Text(text), c.Text("x"))),
        lambda text: c.Search(("BODY", c.Text(text))),
        lambda text: c.Search((text,)),
        lambda text: c.Search(("ALL",), returns=(text,)),
        lambda text: c.Fetch(UidSet.of([1]), (text,)),
        lambda text: c.Id({text: text}),
        lambda text: c.Enable((text,)),
    ],
)
@given(text=TEXTS)
def test_command_injection(make: Callable[[str], c.Command], capabilities: str, text: str) -> None:
    written = written_for(make(text), capabilities)
    if written is not None:
        assert lines_of(written) == 1, written


@given(user=TEXTS, password=TEXTS)
def test_command_injection_through_a_login(user: str, password: str) -> None:
    connection = Connection()
    connection.receive_data(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n")
    connection.next_event()
    try:
        written = ask(connection, c.Login(user, Secret(password)))
    except LocalProtocolError:
        assert connection.data_to_send() == b""
        return
    assert lines_of(written) == 1


@given(name=st.binary(max_size=20))
def test_command_injection_through_a_name_that_a_server_invented(name: bytes) -> None:
    written = written_for(c.Delete(name), "LITERAL+")
    if written is not None:
        assert lines_of(written) == 1


# --- whatever it is, it is an error of ours ---


@given(st.lists(st.binary(max_size=60) | st.sampled_from(EVIL).map(lambda line: line[:200]), max_size=12))
def test_no_bytes_raise_anything_but_errors_of_ours(pieces: list[bytes]) -> None:
    connection = selected()
    ask(connection, FETCH, c.Noop())
    for piece in pieces:
        try:
            hear(connection, piece + b"\r\n")
        except MailtwinError:
            break
