"""Where responses begin and end: literals, text that looks like literals, limits, and every way to cut the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.wire import Limits, in_every_way, seen

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap.framing import BUFFER_BYTES, Frame, Framer, LiteralChunk, LiteralStart
from mailtwin.imap.responses import Streamed
from mailtwin.model.limits import LINE_BYTES_MAX


def line(*segments: bytes, literals: tuple[bytes | Streamed, ...] = ()) -> Frame:
    return Frame(segments, literals, is_text=False)


def text(content: bytes) -> Frame:
    return Frame((content,), (), is_text=True)


FETCH = b"* 1 FETCH (BODY[] "

FRAMES = [
    ("a line", b"* 5 EXISTS\r\n", [line(b"* 5 EXISTS")]),
    ("two lines", b"* 5 EXISTS\r\n* 1 RECENT\r\n", [line(b"* 5 EXISTS"), line(b"* 1 RECENT")]),
    ("a bare line feed", b"* 5 EXISTS\n* 6 EXISTS\r\n", [line(b"* 5 EXISTS"), line(b"* 6 EXISTS")]),
    ("empty lines", b"\r\n\n* 5 EXISTS\r\n\r\n", [line(b"* 5 EXISTS")]),
    ("NUL padding", b"\0\0* 5 EXISTS\0\r\n\0\r\n", [line(b"* 5 EXISTS")]),
    ("a bare CR stays", b"* OK a\rb\r\n", [text(b"* OK a\rb")]),
    ("an unfinished line", b"* 5 EXISTS\r\n* 6 EX", [line(b"* 5 EXISTS")]),
    ("a literal", FETCH + b"{3}\r\nabc)\r\n", [line(FETCH, b")", literals=(b"abc",))]),
    ("a literal8", FETCH + b"~{3}\r\na\0c)\r\n", [line(FETCH, b")", literals=(b"a\0c",))]),
    ("a plus sign", FETCH + b"{3+}\r\nabc)\r\n", [line(FETCH, b")", literals=(b"abc",))]),
    ("an empty literal", FETCH + b"{0}\r\n)\r\n", [line(FETCH, b")", literals=(b"",))]),
    ("leading zeros", FETCH + b"{003}\r\nabc)\r\n", [line(FETCH, b")", literals=(b"abc",))]),
    ("no space", b"* 1 FETCH (BODY[]{1}\r\nx)\r\n", [line(b"* 1 FETCH (BODY[]", b")", literals=(b"x",))]),
    ("a name", b'* LIST () "/" {3}\r\na"b\r\n', [line(b'* LIST () "/" ', b"", literals=(b'a"b',))]),
    (
        "two literals",
        b"* X ({1}\r\na {2}\r\nbc)\r\n",
        [line(b"* X (", b" ", b")", literals=(b"a", b"bc"))],
    ),
    (
        "a section with a literal",
        b"* 1 FETCH (BODY[HEADER.FIELDS ({4}\r\nDATE)] {2}\r\nhi)\r\n",
        [line(b"* 1 FETCH (BODY[HEADER.FIELDS (", b")] ", b")", literals=(b"DATE", b"hi"))],
    ),
    (
        "a literal full of protocol",
        FETCH + b"{39}\r\n)\r\n* 9 EXPUNGE\r\nA1 OK done {5}\r\n* BYE\r\n)\r\n* 5 EXISTS\r\n",
        [
            line(FETCH, b")", literals=(b")\r\n* 9 EXPUNGE\r\nA1 OK done {5}\r\n* BYE\r\n",)),
            line(b"* 5 EXISTS"),
        ],
    ),
    ("braces in text for people", b"* OK [ALERT] full {90}\r\n", [text(b"* OK [ALERT] full {90}")]),
    ("braces in a tagged reply", b"A1 NO too big {90}\r\n", [text(b"A1 NO too big {90}")]),
    ("braces in a continuation", b"+ go {90}\r\n", [text(b"+ go {90}")]),
    ("braces without a condition", b"* [ALERT] hi {90}\r\n", [text(b"* [ALERT] hi {90}")]),
    ("braces in no IMAP at all", b"Server Unavailable. {15}\r\n", [text(b"Server Unavailable. {15}")]),
    ("braces in a string", b'* LIST () "/" "a {3}"\r\n', [line(b'* LIST () "/" "a {3}"')]),
    ("braces in an atom", b"* LIST () NIL a{3}\r\n", [line(b"* LIST () NIL a{3}")]),
    ("braces around a word", b"* LIST () NIL {x}\r\n", [line(b"* LIST () NIL {x}")]),
    ("a lower-case condition", b"* ok x {1}\r\n", [text(b"* ok x {1}")]),
    ("a condition without text", b"A1 OK\r\n", [text(b"A1 OK")]),
    ("a word that begins like one", b"* OKAY {1}\r\nx\r\n", [line(b"* OKAY ", b"", literals=(b"x",))]),
    ("a bare continuation", b"+\r\n", [text(b"+")]),
    ("a bare asterisk", b"*\r\n", [text(b"*")]),
    (
        "a parenthesis in a string",
        b'* 1 FETCH (X "a)b(" BODY[] {1}\r\nx)\r\n* 2 EXISTS\r\n',
        [line(b'* 1 FETCH (X "a)b(" BODY[] ', b")", literals=(b"x",)), line(b"* 2 EXISTS")],
    ),
    (
        "an empty line after a literal in a list",
        FETCH + b"{1}\r\nx\r\n)\r\n* 5 EXISTS\r\n",
        [line(FETCH, b")", literals=(b"x",)), line(b"* 5 EXISTS")],
    ),
    (
        "an empty line, then more attributes",
        FETCH + b"{1}\r\nx\r\n UID 5)\r\n",
        [line(FETCH, b" UID 5)", literals=(b"x",))],
    ),
    (
        "a literal announced one octet too long",
        FETCH + b"{4}\r\nabc)\r\n* 5 EXISTS\r\n",
        [line(FETCH, b"", literals=(b"abc)",)), line(b"* 5 EXISTS")],
    ),
    (
        "a literal announced one octet too short",
        FETCH + b"{2}\r\nabc)\r\n* 5 EXISTS\r\n",
        [line(FETCH, b"c)", literals=(b"ab",)), line(b"* 5 EXISTS")],
    ),
    (
        "an empty line after a literal in a list, and a string without an end",
        b'* X ("\\"( {1}\r\nx\r\n)\r\n* 5 EXISTS\r\n',
        [line(b'* X ("\\"( ', b")", literals=(b"x",)), line(b"* 5 EXISTS")],
    ),
    (
        "an empty line after a literal that ends the response",
        b"* LIST () NIL {1}\r\nx\r\n\r\n* 5 EXISTS\r\n",
        [line(b"* LIST () NIL ", b"", literals=(b"x",)), line(b"* 5 EXISTS")],
    ),
]


@pytest.mark.parametrize(("wire", "expected"), [pytest.param(w, e, id=name) for name, w, e in FRAMES])
def test_frames(wire: bytes, expected: list[Frame]) -> None:
    assert in_every_way(wire) == expected


def test_the_end_of_a_response_is_known_without_a_further_byte() -> None:
    framer = Framer()
    framer.feed(b"* LIST () NIL {1}\r\nx\r\n")
    assert framer.next() == line(b"* LIST () NIL ", b"", literals=(b"x",))
    assert framer.at_boundary


def test_large_literals_are_streamed() -> None:
    wire = b"* 1 FETCH (UID 7 BODY[] {9}\r\n) UID 5\r\nFLAGS ())\r\n"
    events = in_every_way(wire, {"literal_inline_max": 8})
    assert events == [
        LiteralStart(b"* 1 FETCH (UID 7 BODY[] ", 9),
        b") UID 5\r\n",
        line(b"* 1 FETCH (UID 7 BODY[] ", b"FLAGS ())", literals=(Streamed(9),)),
    ]


def test_a_literal_of_the_limit_is_held() -> None:
    assert in_every_way(FETCH + b"{8}\r\n12345678)\r\n", {"literal_inline_max": 8}) == [
        line(FETCH, b")", literals=(b"12345678",))
    ]


def test_the_prefix_never_shows_the_content_of_an_earlier_literal() -> None:
    wire = b"* 1 FETCH (BODY[1] {5}\r\nUID 9 BODY[2] {9}\r\n123456789 UID 7)\r\n"
    assert in_every_way(wire, {"literal_inline_max": 8}) == [
        LiteralStart(b'* 1 FETCH (BODY[1] "" BODY[2] ', 9),
        b"123456789",
        line(b"* 1 FETCH (BODY[1] ", b" BODY[2] ", b" UID 7)", literals=(b"UID 9", Streamed(9))),
    ]


def test_chunks_are_views_that_nobody_copied() -> None:
    framer = Framer(literal_inline_max=0)
    framer.feed(FETCH + b"{10}\r\n1234")
    assert framer.next() == LiteralStart(FETCH, 10)
    chunk = framer.next()
    assert isinstance(chunk, LiteralChunk)
    assert isinstance(chunk.data, memoryview)
    assert chunk.data.readonly
    assert (bytes(chunk.data), chunk.last) == (b"1234", False)
    assert framer.next() is None
    assert not framer.at_boundary
    framer.feed(b"567890)\r\n")
    chunk = framer.next()
    assert isinstance(chunk, LiteralChunk)
    assert (bytes(chunk.data), chunk.last) == (b"567890", True)
    assert framer.next() == line(FETCH, b")", literals=(Streamed(10),))


@pytest.mark.parametrize("size", [1, 7])
def test_a_literal_full_of_protocol_in_small_pieces(size: int) -> None:
    body = b"\r\n".join(
        [b")", b"* 4 EXPUNGE", b"A1 OK done", b"* 2 FETCH (UID 9 BODY[] {90}", b"+ go", b"* BYE x"]
    )
    wire = FETCH + b"{%d}\r\n%b)\r\nA1 OK done\r\n" % (len(body), body)
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert seen(pieces) == [line(FETCH, b")", literals=(body,)), text(b"A1 OK done")]
    assert seen(pieces, {"literal_inline_max": 4})[1] == body


# --- the position between two responses ---


def test_boundaries_and_what_is_left() -> None:
    assert Framer().at_boundary
    framer = Framer()
    framer.feed(b"A1 OK begin TLS\r\n* 9 EXISTS")
    assert not framer.at_boundary
    assert framer.next() == text(b"A1 OK begin TLS")
    assert framer.unread == len(b"* 9 EXISTS")
    assert framer.take_unread() == b"* 9 EXISTS"
    assert framer.take_unread() == b""
    framer.feed(b"* 1 EXISTS\r\n")
    assert framer.next() == line(b"* 1 EXISTS")


def test_the_middle_of_a_response_is_no_boundary() -> None:
    framer = Framer()
    framer.feed(FETCH + b"{3}\r\n")
    assert framer.next() is None
    assert framer.unread == 0
    assert not framer.at_boundary


# --- limits ---

LIMITS: list[tuple[str, Limits, bytes, bytes, str]] = [
    ("a line", {"line_bytes_max": 10}, b"* 5 EXISTS\r\n", b"* 15 EXISTS\r\n", "a line of more than 10 bytes"),
    ("a line of text", {"line_bytes_max": 6}, b"A OK b\r\n", b"A OK bc\r\n", "a line of more than 6 bytes"),
    (
        "all the lines of a response",
        {"line_bytes_max": 12},
        b"* X ({1}\r\na)\r\n",
        b"* X ({1}\r\na 1234)\r\n",
        "a line of more than 12 bytes",
    ),
    (
        "a literal",
        {"literal_bytes_max": 4, "literal_inline_max": 2},
        b"* X {4}\r\nabcd\r\n",
        b"* X {5}\r\nabcde\r\n",
        "a literal of more than 4 bytes",
    ),
    (
        "all literals held",
        {"inline_total_max": 4},
        b"* X {2}\r\nab {2}\r\nab\r\n",
        b"* X {2}\r\nab {3}\r\nabc\r\n",
        "more than 4 bytes of literals",
    ),
    (
        "the number of literals",
        {"literals_max": 2},
        b"* X {0}\r\n {0}\r\n\r\n",
        b"* X {0}\r\n {0}\r\n {0}\r\n\r\n",
        "more than 2 literals",
    ),
    (
        "the text before large literals",
        {"line_bytes_max": 60, "literal_inline_max": 0},
        b"* X" + b" {1}\r\na" * 8 + b"\r\n",
        b"* X" + b" {1}\r\na" * 9 + b"\r\n",
        "too many large literals",
    ),
]


@pytest.mark.parametrize(
    ("limits", "at", "above", "message"), [pytest.param(*row, id=name) for name, *row in LIMITS]
)
def test_limits(limits: Limits, at: bytes, above: bytes, message: str) -> None:
    assert not any(isinstance(event, str) for event in in_every_way(at, limits))
    *_, error = in_every_way(above, limits)
    assert isinstance(error, str)
    assert message in error


def test_absurd_numbers_are_over_the_limit() -> None:
    for digits in (b"4294967296", b"9" * 40):
        with pytest.raises(RemoteProtocolError):
            run(FETCH + b"{%b}\r\n" % digits)


def test_a_line_without_end_is_refused_before_it_is_complete() -> None:
    framer = Framer(line_bytes_max=1000)
    framer.feed(b"* X " + b"x" * 1000)
    with pytest.raises(RemoteProtocolError):
        framer.next()
    framer.feed(b"\r\n* 5 EXISTS\r\n")
    with pytest.raises(RemoteProtocolError):
        framer.next()


def run(wire: bytes, step: int = BUFFER_BYTES) -> int:
    framer = Framer()
    count = 0
    for at in range(0, len(wire), step):
        framer.feed(wire[at : at + step])
        while framer.next() is not None:
            count += 1
    return count


def test_the_buffer_grows_for_a_long_line_and_shrinks_again() -> None:
    framer = Framer(buffer_bytes=64)
    framer.feed(b"* X " + b"x" * 1000)
    assert framer.next() is None
    assert len(framer.get_buffer()) >= 16
    framer.feed(b"\r\n")
    assert framer.next() is not None
    assert len(framer.get_buffer()) == 64


# --- time: linear, so generous bounds tell it from anything worse ---


def test_three_thousand_responses_in_one_segment() -> None:
    wire = b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (seq, seq + 7) for seq in range(1, 3001))
    framer = Framer()
    framer.feed(wire)
    count = 0
    while framer.next() is not None:
        count += 1
    assert count == 3000


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"* SEARCH" + b" 1234567" * 180_000 + b"\r\n", id="a SEARCH line of 1.4 MB"),
        pytest.param(b"* X " + b"x" * (LINE_BYTES_MAX - 4) + b"\r\n", id="the longest line"),
        pytest.param(b"* X " + b" " * (LINE_BYTES_MAX - 5) + b"}\r\n", id="the longest line, blank"),
        pytest.param(b"* X (" + b"{0}\r\n\r\n " * 10_000 + b")\r\n", id="literals and empty lines"),
        pytest.param(b"\r\n" * 1_000_000 + b"* X\r\n", id="a million empty lines"),
        pytest.param(b'* X ("' + b'\\"' * 1_000_000 + b" {0}\r\n\r\n)\r\n", id="a string without end"),
    ],
)
def test_long_lines_take_linear_time(wire: bytes) -> None:
    assert run(wire, 4000) == 1


# --- anything at all ---

FRAGMENTS = [
    b"* ", b"1 FETCH (", b"BODY[] ", b"{3}\r\n", b"{0}\r\n", b"{12}\r\n", b"~{2}\r\n", b"{99999999999}\r\n", b"abc",
    b")", b"\r\n", b"\n", b"\r", b"\0", b'"', b"\\", b"OK ", b"A1 ", b"+ ", b"[", b"]", b" ", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join), st.integers(1, 9))
def test_any_mixture_is_the_same_however_it_is_cut(wire: bytes, step: int) -> None:
    limits: Limits = {"literal_inline_max": 4, "line_bytes_max": 60, "buffer_bytes": 4}
    pieces = [wire[at : at + step] for at in range(0, len(wire), step)]
    assert seen(pieces, limits) == seen([wire], limits)


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_protocol_errors(wire: bytes) -> None:
    seen([wire], {"literal_inline_max": 16, "line_bytes_max": 100})


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_every_literal_arrives_as_it_was_sent(bodies: list[bytes]) -> None:
    wire = b"* X (" + b" ".join(b"{%d}\r\n%b" % (len(body), body) for body in bodies) + b")\r\n* 5 EXISTS\r\n"
    first, last = seen([wire[at : at + 3] for at in range(0, len(wire), 3)])
    assert isinstance(first, Frame)
    assert first.literals == tuple(bodies)
    assert last == line(b"* 5 EXISTS")
