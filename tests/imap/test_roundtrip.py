"""What is written is what is read: every kind of value through the encoder, the framer and the parser, and back.

The other direction, names as servers write them, is in `test_mutf7`; annotations and rights are in
`test_rare_commands`, structures and envelopes in `test_fetchdata`.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.imap.test_commands import line
from tests.imap.wire import seen

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import Connection, OpenRange, Received, Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.encode import (
    LITERAL_MINUS_MAX,
    LITERAL_PLUS_MAX,
    Body,
    Dialect,
    Encoder,
    Hold,
    Name,
    Part,
    name_bytes,
    name_text,
)
from mailtwin.imap.fetchline import parse_fetch_line
from mailtwin.imap.framing import Frame
from mailtwin.imap.parser import parse, parse_plain
from mailtwin.imap.responses import Response
from mailtwin.imap.tokens import unescape
from mailtwin.model import UidSet
from mailtwin.model.flags import is_flag
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX

DIALECTS = [Dialect(literals, utf8) for literals in ("ask", "minus", "plus") for utf8 in (False, True)]
dialects = st.sampled_from(DIALECTS)


def written(parts: tuple[Part, ...]) -> bytes:
    """What goes over the wire once the server has asked for all it must ask for."""
    wire = b""
    for part in parts:
        if isinstance(part, Body):
            wire += part.chunks if isinstance(part.chunks, bytes) else b"".join(part.chunks)
        elif isinstance(part, bytes):
            wire += part
    return wire


def read(encoder: Encoder) -> Response:
    """The response that this would be if a server wrote it, in one piece or byte by byte."""
    wire = written(encoder.finish())
    (frame,) = seen([wire])
    assert seen([wire[at : at + 1] for at in range(len(wire))]) == [frame]
    assert isinstance(frame, Frame)
    response = parse(frame)
    assert response == parse_plain(frame)
    return response


# --- strings, by the state of the session ---

# What a literal is needed for, what a quoted string must escape, and what looks like something else.
PIECES = ['"', "\\", "{3}", "{3+}", "é", "台", "\x7f", "\t", "\u2028", "NIL", "(", ")", " ", "~{2}", "]"]
lines_of_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=30)
texts = lines_of_text | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
octets = st.binary(max_size=40).map(lambda data: data.translate(None, b"\r\n\0"))


@given(texts | octets, dialects)
def test_strings(value: str | bytes, dialect: Dialect) -> None:
    response = read(Encoder(dialect).raw("* X ").string(value).raw(" ").string(value))
    data = value.encode() if isinstance(value, str) else value
    assert response == r.Other("X", None, (data, data))


@given(texts | octets, dialects)
def test_a_string_is_quoted_where_the_session_lets_it_be(value: str | bytes, dialect: Dialect) -> None:
    data = value.encode() if isinstance(value, str) else value
    parts = Encoder(dialect).string(value).finish()
    wire = written(parts)
    if wire[:1] == b'"':
        assert dialect.utf8 or data.isascii()
        assert unescape(wire[1:-3]) == data
        assert len(parts) == 1
    else:
        assert wire == b"{%d%b}\r\n%b\r\n" % (len(data), b"" if dialect.literals == "ask" else b"+", data)
        assert not data.isascii() or not data.decode().isprintable()
        assert (Hold() in parts) == (dialect.literals == "ask")


@pytest.mark.parametrize(
    ("dialect", "size_max"), [(Dialect("minus"), LITERAL_MINUS_MAX), (Dialect("plus"), LITERAL_PLUS_MAX)]
)
def test_literals_up_to_the_limit_are_not_asked_for(dialect: Dialect, size_max: int) -> None:
    for size, asked in ((size_max, False), (size_max + 1, True)):
        parts = Encoder(dialect).string(b"\xff" * size).finish()
        assert (Hold() in parts) == asked
        assert written(parts).startswith(b"{%d}" % size if asked else b"{%d+}" % size)


@given(st.dictionaries(texts.map(str.lower), texts, min_size=1, max_size=4), dialects)
def test_the_fields_of_id(fields: dict[str, str], dialect: Dialect) -> None:
    encoder = Encoder(dialect).raw("* ")
    c.Id(fields).encode(encoder)
    assert read(encoder) == r.ServerId({name.upper().lower(): value for name, value in fields.items()})


# --- names ---


@given(texts | octets, dialects)
@example("Entwürfe & Notizen/日本語", Dialect())
@example(b"damaged &AOk", Dialect(utf8=True))
def test_mailbox_names(name: Name, dialect: Dialect) -> None:
    try:
        encoder = Encoder(dialect).raw('* LIST () "/" ').mailbox(name)
    except LocalProtocolError:
        assert not name or len(name_bytes(name, utf8=dialect.utf8)) > MAILBOX_NAME_BYTES_MAX
        return
    item = read(encoder)
    assert isinstance(item, r.ListItem)
    assert item.name == name_bytes(name, utf8=dialect.utf8)
    if isinstance(name, str):
        assert name_text(item.name, utf8=dialect.utf8) == name
    else:
        assert item.name == name


@given(octets, st.booleans())
def test_the_text_of_a_name_on_the_wire_is_written_as_it_was(name: bytes, utf8: bool) -> None:
    assert name_bytes(name_text(name, utf8=utf8), utf8=utf8) == name


@given(texts.filter(bool), st.booleans())
def test_a_mailbox_is_recognised_in_the_answer(name: str, utf8: bool) -> None:
    command = c.StatusOf(name, ("MESSAGES",))
    encoder = Encoder(Dialect(utf8=utf8)).raw("* STATUS ").mailbox(name).raw(" (MESSAGES 3)")
    status = read(encoder)
    assert status == r.MailboxStatus(name_bytes(name, utf8=utf8), {"MESSAGES": 3})
    assert isinstance(status, r.MailboxStatus)
    assert command.takes(status, c.Asked("A1", utf8))


# --- sets and numbers ---

uids = st.integers(1, 2**32 - 1) | st.integers(1, 30)
sets = st.lists(uids | st.tuples(uids, uids), min_size=1, max_size=12).map(
    lambda parts: UidSet.of_ranges(part if isinstance(part, tuple) else (part, part) for part in parts)
)


@given(sets)
def test_sets_of_uids(uids: UidSet) -> None:
    assert UidSet.parse(str(uids)) == uids
    assert read(Encoder(Dialect()).raw("* VANISHED ").uids(uids)) == r.Vanished(uids, earlier=False)
    assert read(Encoder(Dialect()).raw("* ESEARCH UID ALL ").uids(uids)) == r.ESearch(None, True, uids)
    said = read(Encoder(Dialect()).raw("* OK [COPYUID 7 ").uids(uids).raw(" ").uids(uids).raw("] x"))
    assert isinstance(said, r.Status)
    assert said.code is not None
    assert said.code.args == (7, uids, uids)
    ranges = tuple(range(low, high + 1) for low, high in uids.ranges)
    assert said.code.ordered == (ranges, ranges)


@given(st.integers(1, 2**32 - 1), uids)
def test_open_ranges(first: int, uid: int) -> None:
    assert str(OpenRange(first)) == f"{first}:*"
    assert (uid in OpenRange(first)) == (uid in UidSet(((first, 2**32 - 1),)))
    assert line(c.Fetch(OpenRange(first), ("FLAGS",))) == b"UID FETCH %d:* (FLAGS)" % first


@given(st.integers(0, 2**63 - 1))
def test_numbers(value: int) -> None:
    said = read(
        Encoder(Dialect())
        .raw("* 1 FETCH (MODSEQ (")
        .number(value)
        .raw(") RFC822.SIZE ")
        .number(value)
        .raw(")")
    )
    assert said == r.Fetch(1, modseq=value, size=value)


@given(st.integers(max_value=-1) | st.integers(min_value=2**63))
def test_no_other_numbers(value: int) -> None:
    with pytest.raises(LocalProtocolError):
        Encoder(Dialect()).number(value)


# --- flags ---

flags = st.sampled_from(["\\Seen", "\\Deleted", "$Junk", "NonJunk", "a/b", "x[1", "\\x"]) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12
).filter(is_flag)


@given(st.frozensets(flags, max_size=8))
def test_flags(names: frozenset[str]) -> None:
    expected = tuple(sorted(names))
    assert read(Encoder(Dialect()).raw("* FLAGS ").flags(names)) == r.MailboxFlags(expected)
    said = read(Encoder(Dialect()).raw("* 7 FETCH (UID 9 FLAGS ").flags(names).raw(")"))
    assert said == r.Fetch(7, 9, expected)


@given(st.text(max_size=8))
def test_what_is_no_flag_is_never_written(name: str) -> None:
    try:
        Encoder(Dialect()).flags([name])
    except LocalProtocolError:
        assert not is_flag(name)
    else:
        assert is_flag(name)


# --- dates ---

zones = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
odd_zones = st.integers(-(24 * 3600 - 1), 24 * 3600 - 1).map(
    lambda seconds: timezone(timedelta(seconds=seconds))
)


def dated(when: datetime) -> datetime | None:
    said = read(Encoder(Dialect()).raw("* 1 FETCH (INTERNALDATE ").date_time(when).raw(")"))
    assert isinstance(said, r.Fetch)
    assert not said.extra
    return said.internal_date


@given(st.datetimes(timezones=zones))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))))
@example(datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=23, minutes=59))))
def test_dates(when: datetime) -> None:
    date = dated(when)
    assert date == when.replace(microsecond=0)
    assert date is not None
    assert date.utcoffset() == when.utcoffset()


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=odd_zones))  # noqa: DTZ001
@example(datetime(1900, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28))))
@example(datetime(1900, 1, 1, tzinfo=timezone(-timedelta(hours=23, minutes=59, seconds=59))))
def test_zones_with_seconds_keep_the_instant(when: datetime) -> None:
    """No such zone can be written (RFC 9051 section 9, `zone`)."""
    assert dated(when) == when.replace(microsecond=0)


@pytest.mark.parametrize(
    "when",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=30))),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(seconds=30))),
    ],
)
def test_an_instant_outside_the_calendar_is_refused(when: datetime) -> None:
    with pytest.raises(LocalProtocolError, match="INTERNALDATE"):
        Encoder(Dialect()).date_time(when)


# --- logins ---


@given(lines_of_text.filter(bool), lines_of_text, st.booleans())
def test_the_first_response_of_a_login(user: str, password: str, at_once: bool) -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    connection.next_event()
    connection.send(c.Authenticate(sasl.plain(user, Secret(password)), at_once=at_once))
    said = bytes(connection.data_to_send())
    if not at_once:
        connection.receive_data(b"+ \r\n")
        connection.next_event()
        said = said.removesuffix(b"\r\n") + b" " + connection.data_to_send()
    sent = base64.b64decode(said.removeprefix(b"A1 AUTHENTICATE PLAIN ").removesuffix(b"\r\n"), validate=True)
    assert sent == f"\0{user}\0{password}".encode()


def test_an_empty_first_response() -> None:
    connection = Connection()
    connection.receive_data(b"* OK hi\r\n")
    connection.next_event()
    connection.send(c.Authenticate(sasl.external(), at_once=True))
    assert connection.data_to_send() == b"A1 AUTHENTICATE EXTERNAL =\r\n"


# --- the hot path ---

words = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"()'), min_size=1, max_size=9
)


@st.composite
def listed(draw: st.DrawFn) -> tuple[bytes, r.Fetch]:
    """A line as servers write it in answer to `FETCH (UID FLAGS MODSEQ)`, and what it says."""
    seq, uid = draw(uids), draw(st.none() | uids)
    names = draw(st.none() | st.lists(words, max_size=5).map(tuple))
    modseq = draw(st.none() | st.integers(0, 10**18 - 1))
    said = []
    if uid is not None:
        said.append(f"UID {uid}")
    if names is not None:
        said.append(f"FLAGS ({' '.join(names)})")
    if modseq is not None or not said:
        modseq = modseq or 0
        said.append(f"MODSEQ ({modseq})")
    attributes = " ".join(draw(st.permutations(said)))
    return f"* {seq} FETCH ({attributes})".encode(), r.Fetch(seq, uid, names, modseq)


@given(listed())
def test_the_hot_path_takes_what_listings_are_made_of(row: tuple[bytes, r.Fetch]) -> None:
    segment, expected = row
    assert parse_fetch_line(segment) == expected
    assert parse_plain(Frame((segment,), (), is_text=False)) == expected


@given(
    st.lists(
        listed().map(lambda row: row[0])
        | st.sampled_from([b"* 3 EXISTS", b"* 1 EXPUNGE", b"* 2 FETCH (FLAGS ()"]),
        max_size=12,
    )
)
def test_a_listing_says_the_same_by_every_way_through_the_connection(segments: list[bytes]) -> None:
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    connection.send(c.Select("INBOX"))
    connection.data_to_send()
    connection.receive_data(b"* 9 EXISTS\r\nA1 OK\r\n")
    while connection.next_event() is not None:
        pass
    connection.receive_data(b"".join(segment + b"\r\n" for segment in segments))
    for segment in segments:
        plain = parse_plain(Frame((segment,), (), is_text=False))
        assert not isinstance(plain, r.Status | r.Continuation)
        expected = connection.state.resolve(plain)
        event = connection.next_event()
        assert isinstance(event, Received)
        assert event.response == expected
    assert connection.next_event() is None


def test_utc_is_written_as_such() -> None:
    assert line(c.Append("x", b"", 0, date=datetime(2026, 1, 2, tzinfo=UTC))).count(b"+0000") == 1
