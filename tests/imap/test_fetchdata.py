"""What FETCH attributes mean that are read on demand: the examples of the RFCs, then what servers make of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.wire import say

from mailtwin.imap import Connection
from mailtwin.imap import commands as c
from mailtwin.imap.bodystructure import (
    Disposition,
    Extension,
    Multipart,
    Single,
    Structure,
    read_structure,
    sections,
)
from mailtwin.imap.envelope import Address, Envelope, read_envelope
from mailtwin.imap.fetchdata import read
from mailtwin.imap.framing import Frame
from mailtwin.imap.parser import parse
from mailtwin.imap.responses import Fetch, Value
from mailtwin.imap.tokens import Malformed
from mailtwin.model import UidSet
from mailtwin.model.limits import NESTING_MAX


def value_of(wire: bytes) -> Value:
    """`wire` as the parser leaves it in `extra`."""
    response = say(b"* 1 FETCH (X " + wire + b")")
    assert isinstance(response, Fetch), response
    return response.extra["X"]


# --- ENVELOPE ---


def to(mailbox: bytes, host: bytes = b"x.org", name: bytes | None = None) -> Address:
    return Address(name, None, mailbox, host)


TERRY = to(b"gray", b"cac.washington.edu", b"Terry Gray")
NOBODY = Envelope(None, None, (), (), (), (), (), (), None, None)
ENVELOPES: list[tuple[bytes, Envelope]] = [
    (
        (b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes"'
        b' (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu"))'
        b' (("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL'
        b' "<B27397-0100000@cac.washington.edu>")'),
        Envelope(
            b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
            b"IMAP4rev1 WG mtg summary and minutes",
            (TERRY,),
            (TERRY,),
            (TERRY,),
            (to(b"imap", b"cac.washington.edu"),),
            (to(b"minutes", b"CNRI.Reston.VA.US"), to(b"KLENSIN", b"MIT.EDU", b"John Klensin")),
            (),
            None,
            b"<B27397-0100000@cac.washington.edu>",
        ),
    ),
    (b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", NOBODY),
    (b'(NIL NIL () "" () "" NIL NIL NIL NIL)', NOBODY),  # no addresses, in other words
    (b"(NIL {4}\r\na\"\r\n NIL NIL NIL NIL NIL NIL NIL NIL)", Envelope(
        None, b'a"\r\n', (), (), (), (), (), (), None, None)),
    (b"( NIL  2024 NIL NIL NIL NIL NIL NIL  7 0012 )", Envelope(  # spaces (Exchange), bare words
        None, b"2024", (), (), (), (), (), (), b"7", b"0012")),
    (b'(NIL NIL (NIL (NIL NIL "a" "x.org")) NIL NIL NIL NIL NIL NIL NIL)', Envelope(  # a NIL address
        None, None, (to(b"a"),), (), (), (), (), (), None, None)),
    (b'(NIL NIL (((NIL NIL "a" "x.org")(NIL NIL "b" "x.org"))) NIL NIL NIL NIL NIL NIL NIL)', Envelope(
        None, None, (to(b"a"), to(b"b")), (), (), (), (), (), None, None)),  # parentheses too many
    (b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL (x))", NOBODY),  # more than there should be
]  # fmt: skip


@pytest.mark.parametrize(("wire", "expected"), ENVELOPES)
def test_envelope(wire: bytes, expected: Envelope) -> None:
    assert read_envelope(value_of(wire)) == expected


def test_a_group_of_addresses() -> None:
    wire = (
        b'(NIL NIL NIL NIL NIL ((NIL NIL "team" NIL)(NIL NIL "a" "x.org")(NIL NIL NIL NIL)) NIL NIL NIL NIL)'
    )
    start, member, end = read_envelope(value_of(wire)).to
    assert [start.is_group_start, member.is_group_start, end.is_group_start] == [True, False, False]
    assert [start.is_group_end, member.is_group_end, end.is_group_end] == [False, False, True]


@pytest.mark.parametrize(
    "wire",
    [
        b"NIL",
        b'"x"',
        b"()",
        b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        b"((NIL) NIL NIL NIL NIL NIL NIL NIL NIL NIL)",
        b'(NIL NIL "a@x.org" NIL NIL NIL NIL NIL NIL NIL)',
        b'(NIL NIL (("a" NIL "b")) NIL NIL NIL NIL NIL NIL NIL)',
        b'(NIL NIL ("a" NIL "b" "c") NIL NIL NIL NIL NIL NIL NIL)',
        b'(NIL NIL (("a" NIL ("b") "c")) NIL NIL NIL NIL NIL NIL NIL)',
    ],
)
def test_no_envelope(wire: bytes) -> None:
    with pytest.raises(Malformed):
        read_envelope(value_of(wire))


# --- BODY and BODYSTRUCTURE ---

NONE = Extension()
PLAIN = Single("text", "plain", {"charset": b"US-ASCII"}, None, None, "7bit", 3028, 92)
INLINE = Disposition("inline")
STRUCTURES: list[tuple[bytes, Structure]] = [
    (b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92)', PLAIN),
    (
        (b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)("TEXT" "PLAIN"'
        b' ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "Compiler diff"'
        b' "BASE64" 4554 73) "MIXED")'),
        Multipart(
            (
                Single("text", "plain", {"charset": b"US-ASCII"}, None, None, "7bit", 1152, 23),
                Single("text", "plain", {"charset": b"US-ASCII", "name": b"cc.diff"},
                       b"<960723163407.20117h@cac.washington.edu>", b"Compiler diff", "base64", 4554, 73),
            ),
            "mixed",
        ),
    ),
    (
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 "md5==" ("attachment" ("FileName" "a")) ("en" "de") "http://x/" 7)',
        Single("text", "plain", {}, None, None, "7bit", 5, 1, md5=b"md5==", extension=Extension(
            Disposition("attachment", {"filename": b"a"}), (b"en", b"de"), b"http://x/", (7,))),
    ),
    (
        b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1) "ALTERNATIVE" ("BOUNDARY" "x") ("inline" NIL) "en" NIL)',
        Multipart((Single("text", "plain", {}, None, None, "7bit", 5, 1),), "alternative",
                  {"boundary": b"x"}, Extension(INLINE, (b"en",))),
    ),
    (
        (b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 342 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1) 9 NIL NIL NIL NIL)'),
        Single("message", "rfc822", {}, None, None, "7bit", 342, 9,
               Envelope(None, b"s", (), (), (), (), (), (), None, None),
               Single("text", "plain", {}, None, None, "7bit", 5, 1)),
    ),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 99)', Single("image", "png", {}, None, None, "base64", 99)),
    (
        b'("MESSAGE" "GLOBAL" NIL NIL NIL "8BIT" 5 NIL NIL 0)',
        Single("message", "global", {}, None, None, "8bit", 5, 0),
    ),
    # An attached message without envelope, structure and lines, with and without what follows them.
    (b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 787)', Single("message", "rfc822", {}, None, None, "7bit", 787)),
    (
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 787 NIL ("attachment" ("filename" "x")) NIL NIL)',
        Single("message", "rfc822", {}, None, None, "7bit", 787,
               extension=Extension(Disposition("attachment", {"filename": b"x"}))),
    ),
    (
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 787 NIL ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1) 12)',
        Single("message", "rfc822", {}, None, None, "7bit", 787, 12, None,
               Single("text", "plain", {}, None, None, "7bit", 5, 1)),
    ),
    (
        b'("MESSAGE" "DELIVERY-STATUS" NIL NIL NIL "7BIT" 500 NIL NIL NIL NIL)',
        Single("message", "delivery-status", {}, None, None, "7bit", 500),
    ),
    (b'("MESSAGE" "DELIVERY-STATUS" NIL NIL NIL "7BIT" 500 12)', Single(
        "message", "delivery-status", {}, None, None, "7bit", 500, 12)),
    (b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 787 12 NIL)', Single(
        "message", "rfc822", {}, None, None, "7bit", 787, 12)),
    # Text without lines, with NIL lines, with lines that are none.
    (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5)', Single("text", "plain", {}, None, None, "7bit", 5)),
    (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 NIL NIL ("inline" NIL) NIL NIL)', Single(
        "text", "plain", {}, None, None, "7bit", 5, extension=Extension(INLINE))),
    (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 NIL ("inline" NIL) NIL NIL)', Single(
        "text", "plain", {}, None, None, "7bit", 5, extension=Extension(INLINE))),
    (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 -1 NIL "inline")', Single(
        "text", "plain", {}, None, None, "7bit", 5, extension=Extension(INLINE))),
    # No size, no encoding, no type at all.
    (b'("TEXT" "PLAIN" NIL NIL NIL NIL NIL 3)', Single("text", "plain", {}, None, None, "7bit", None, 3)),
    (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 9.37e+06 3)', Single("text", "plain", {}, None, None, "7bit", None, 3)),
    (b'(NIL NIL NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL)', Single(
        "application", "octet-stream", {}, None, None, "7bit", 0)),
    # Multiparts without parts.
    (b'("ALTERNATIVE" ("BOUNDARY" "x") NIL NIL)', Multipart((), "alternative", {"boundary": b"x"})),
    (b'(NIL "MIXED" ("BOUNDARY" "x") NIL NIL)', Multipart((), "mixed", {"boundary": b"x"})),
    (b'("MIXED" NIL NIL NIL)', Multipart((), "mixed")),
    # Parameters that are none, lack a value, have NIL for one.
    (b'("IMAGE" "PNG" "" NIL NIL "BASE64" 9)', Single("image", "png", {}, None, None, "base64", 9)),
    (b'("IMAGE" "PNG" ("") NIL NIL "BASE64" 9)', Single("image", "png", {}, None, None, "base64", 9)),
    (b'("IMAGE" "PNG" ("NAME" NIL "X") NIL NIL "BASE64" 9)', Single(
        "image", "png", {"name": b"", "x": b""}, None, None, "base64", 9)),
    # Disorder behind what matters.
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 NIL "attachment" NIL)', Single(
        "image", "png", {}, None, None, "base64", 9, extension=Extension(Disposition("attachment")))),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 ("attachment" ("filename" "x")))', Single(
        "image", "png", {}, None, None, "base64", 9,
        extension=Extension(Disposition("attachment", {"filename": b"x"})))),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 NIL (("x")) "en")', Single(
        "image", "png", {}, None, None, "base64", 9, extension=Extension(rest=(((b"x",),), b"en")))),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 NIL ("inline" NIL NIL))', Single(
        "image", "png", {}, None, None, "base64", 9, extension=Extension(rest=((b"inline", None, None),)))),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 NIL NIL ("en" (x)) "l")', Single(
        "image", "png", {}, None, None, "base64", 9, extension=Extension(rest=((b"en", (b"x",)), b"l")))),
    (b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 9 NIL NIL NIL (x))', Single(
        "image", "png", {}, None, None, "base64", 9, extension=Extension(rest=((b"x",),)))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "expected"), STRUCTURES, ids=[f"{at}-{row[0][:40]!r}" for at, row in enumerate(STRUCTURES)]
)
def test_structure(wire: bytes, expected: Structure) -> None:
    assert read_structure(value_of(wire)) == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"NIL",
        b'"TEXT"',
        b"()",
        b'("TEXT" "PLAIN")',
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT")',
        b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1))',
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" (5) 1)',
        b'("TEXT" "PLAIN" ("a" ("b")) NIL NIL "7BIT" 5 1)',
        b'("TEXT" "PLAIN" "x" NIL NIL "7BIT" 5 1)',
        b'("TEXT" "PLAIN" NIL (x) NIL "7BIT" 5 1)',
        b'(("TEXT") "MIXED")',
        b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1) ("MIXED"))',
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 9 (NIL (s) NIL NIL NIL NIL NIL NIL NIL NIL) NIL 9)',
    ],
)
def test_no_structure(wire: bytes) -> None:
    with pytest.raises(Malformed):
        read_structure(value_of(wire))


def test_sections_name_what_can_be_fetched() -> None:
    text = b'("TEXT" "%b" NIL NIL NIL "7BIT" 5 1)'
    inner = b'(%b%b "ALTERNATIVE")' % (text % b"A", text % b"B")
    message = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 9 (%b) %b 9)' % (b" ".join([b"NIL"] * 10), inner)
    structure = read_structure(value_of(b'(%b%b%b "MIXED")' % (inner, message, text % b"C")))
    assert [(section, part.subtype) for section, part in sections(structure)] == [
        ("1.1", "a"), ("1.2", "b"), ("2", "rfc822"), ("2.1", "a"), ("2.2", "b"), ("3", "c"),
    ]  # fmt: skip
    assert [section for section, _ in sections(PLAIN)] == ["1"]
    assert [section for section, _ in sections(read_structure(value_of(message)))] == ["1", "1.1", "1.2"]


def test_structures_are_as_deep_as_lists_may_be() -> None:
    leaf = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)'
    deepest = b"(" * (NESTING_MAX - 1) + leaf + b' "MIXED")' * (NESTING_MAX - 1)
    response = parse(Frame((b"* 1 FETCH (BODY " + deepest + b")",), (), is_text=False))
    assert isinstance(response, Fetch)
    structure = read_structure(response.extra["BODY"])
    assert [section for section, _ in sections(structure)] == [".".join(["1"] * (NESTING_MAX - 1))]


def test_a_hundred_thousand_parts_take_linear_time() -> None:
    leaf = b'("T" "P" NIL NIL NIL "7BIT" 5)'
    response = parse(Frame((b"* 1 FETCH (BODY (" + leaf * 100_000 + b' "MIXED"))',), (), is_text=False))
    assert isinstance(response, Fetch)
    structure = read_structure(response.extra["BODY"])
    assert isinstance(structure, Multipart)
    assert len(structure.parts) == 100_000


VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.binary(max_size=5)
    | st.integers(0, 2**64 - 1)
    | st.sampled_from([b"TEXT", b"MESSAGE", b"RFC822"]),
    lambda inner: st.lists(inner, max_size=11).map(tuple),
    max_leaves=60,
)


@given(
    VALUES, st.sampled_from(["ENVELOPE", "BODY", "BODYSTRUCTURE", "EMAILID", "SAVEDATE", "X-GM-LABELS", "X"])
)
def test_any_value_is_read_or_refused(value: Value, name: str) -> None:
    try:
        read(name, value)
    except Malformed:
        pass


# Any envelope and structure, written as a server writes it.

TEXTS = st.none() | st.binary(max_size=8)
WORDS = st.sampled_from(["text", "image", "message", "x-a"])
ADDRESSES = st.lists(st.builds(Address, TEXTS, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple)
WRITTEN_ENVELOPES = st.builds(
    Envelope, TEXTS, TEXTS, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, TEXTS, TEXTS
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["charset", "name", "x"]), st.binary(min_size=1, max_size=5), max_size=2
)
EXTENSIONS = st.builds(
    Extension,
    st.none() | st.builds(Disposition, st.sampled_from(["inline", "attachment"]), PARAMETERS),
    st.lists(st.sampled_from([b"en", b"de"]), max_size=2).map(tuple),
    st.none() | st.just(b"http://x/"),
)
SINGLES = st.builds(
    Single, st.sampled_from(["image", "audio"]), WORDS, PARAMETERS, TEXTS, TEXTS, st.just("base64"),
    st.integers(0, 2**40), md5=st.none() | st.just(b"Q2hlY2s="), extension=EXTENSIONS,
)  # fmt: skip
TEXT_PARTS = st.builds(
    Single, st.just("text"), WORDS, PARAMETERS, TEXTS, TEXTS, st.just("7bit"), st.integers(0, 9),
    st.integers(0, 9), md5=st.none() | st.just(b"Q2hlY2s="), extension=EXTENSIONS,
)  # fmt: skip


def around(parts: st.SearchStrategy[Structure]) -> st.SearchStrategy[Structure]:
    attached = st.builds(
        Single, st.just("message"), st.just("rfc822"), PARAMETERS, TEXTS, TEXTS, st.just("8bit"), st.integers(0, 9),
        st.integers(0, 9), WRITTEN_ENVELOPES, parts, extension=EXTENSIONS,
    )  # fmt: skip
    several = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return attached | st.builds(Multipart, several, st.sampled_from(["mixed", "x"]), PARAMETERS, EXTENSIONS)


LEAVES: st.SearchStrategy[Structure] = SINGLES | TEXT_PARTS
WRITTEN_STRUCTURES = st.recursive(LEAVES, around, max_leaves=6)


def written_addresses(addresses: tuple[Address, ...]) -> Value:
    return tuple((a.name, a.route, a.mailbox, a.host) for a in addresses) or None


def written_envelope(e: Envelope) -> Value:
    lists = (e.from_, e.sender, e.reply_to, e.to, e.cc, e.bcc)
    return (e.date, e.subject, *map(written_addresses, lists), e.in_reply_to, e.message_id)


def written_parameters(parameters: object) -> Value:
    assert isinstance(parameters, dict)
    return tuple(word for name, text in parameters.items() for word in (name.upper().encode(), text)) or None


def written_extension(e: Extension) -> tuple[Value, ...]:
    disposition: Value = None
    if e.disposition is not None:
        disposition = (e.disposition.kind.encode(), written_parameters(e.disposition.parameters))
    return (disposition, e.languages or None, e.location)


def written(s: Structure) -> Value:
    if isinstance(s, Multipart):
        return (*map(written, s.parts), s.subtype.encode(), written_parameters(s.parameters),
                *written_extension(s.extension))  # fmt: skip
    special: tuple[Value, ...] = () if s.lines is None else (s.lines,)
    if s.message is not None:
        assert s.envelope is not None
        special = (written_envelope(s.envelope), written(s.message), s.lines)
    return (
        s.type.upper().encode(), s.subtype.encode(), written_parameters(s.parameters), s.id, s.description,
        s.encoding.upper().encode(), s.octets, *special, s.md5, *written_extension(s.extension),
    )  # fmt: skip


def frame_of(value: Value) -> Frame:
    """A FETCH that holds `value`, all its strings as literals."""
    segments, literals = [b"* 1 FETCH (X "], []

    def put(item: Value) -> None:
        if isinstance(item, tuple):
            segments[-1] += b"("
            for at, inner in enumerate(item):
                segments[-1] += b" " if at else b""
                put(inner)
            segments[-1] += b")"
        elif isinstance(item, bytes):
            literals.append(item)
            segments.append(b"")
        else:
            segments[-1] += b"NIL" if item is None else b"%d" % item

    put(value)
    segments[-1] += b")"
    return Frame(tuple(segments), tuple(literals), is_text=False)


@given(WRITTEN_STRUCTURES)
def test_structures_survive_the_wire(structure: Structure) -> None:
    response = parse(frame_of(written(structure)))
    assert isinstance(response, Fetch)
    assert read_structure(response.extra["X"]) == structure


@given(WRITTEN_ENVELOPES)
def test_envelopes_survive_the_wire(envelope: Envelope) -> None:
    response = parse(frame_of(written_envelope(envelope)))
    assert isinstance(response, Fetch)
    assert read_envelope(response.extra["X"]) == envelope


# --- the others ---


@pytest.mark.parametrize(
    ("name", "wire", "expected"),
    [
        ("EMAILID", b"(M6d99ac3275bb4e)", "M6d99ac3275bb4e"),
        ("EMAILID", b"(0012)", "0012"),
        ("OBJECTID", b"(emailid M1 THREADID 0012)", {"EMAILID": "M1", "THREADID": "0012"}),
        ("OBJECTID", b"()", {}),
        ("THREADID", b"(T64b478a75b7ea9)", "T64b478a75b7ea9"),
        ("THREADID", b"NIL", None),
        ("SAVEDATE", b'"23-Jan-2026 04:05:06 +0000"', datetime(2026, 1, 23, 4, 5, 6, tzinfo=UTC)),
        ("SAVEDATE", b"NIL", None),
        ("PREVIEW", b'"Hello"', b"Hello"),
        ("PREVIEW", b"NIL", None),
        ("BINARY.SIZE[1.2]", b"44", 44),
        ("X-GM-MSGID", b"18446744073709551615", 2**64 - 1),
        ("X-GM-THRID", b"1278455344230334865", 1278455344230334865),
        ("X-GM-LABELS", b'(\\Inbox "a b" 2024 NIL &AMQ-)', (b"\\Inbox", b"a b", b"2024", b"NIL", b"&AMQ-")),
        ("X-GM-LABELS", b"()", ()),
        ("X-WHATEVER", b"(1 x)", (1, b"x")),
    ],
)
def test_other_attributes(name: str, wire: bytes, expected: object) -> None:
    assert read(name, value_of(wire)) == expected


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("EMAILID", b"NIL"),
        ("EMAILID", b"M1"),
        ("EMAILID", b"(M1 M2)"),
        ("THREADID", b"((T1))"),
        ("OBJECTID", b"M1"),
        ("OBJECTID", b"(EMAILID)"),
        ("OBJECTID", b"(EMAILID (M1))"),
        ("SAVEDATE", b'"yesterday"'),
        ("SAVEDATE", b"(x)"),
        ("PREVIEW", b"(x)"),
        ("BINARY.SIZE[1]", b"-1"),
        ("BINARY.SIZE[1]", b"4294967296"),
        ("X-GM-MSGID", b"18446744073709551616"),
        ("X-GM-MSGID", b"abc"),
        ("X-GM-LABELS", b"NIL"),
        ("X-GM-LABELS", b"((x))"),
    ],
)
def test_other_nonsense(name: str, wire: bytes) -> None:
    with pytest.raises(Malformed):
        read(name, value_of(wire))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (b"UID 5 ENVELOPE (NIL)", "ENVELOPE of a message could not be read (an envelope has ten fields)"),
        (b"UID 5 EMAILID NIL", "EMAILID of a message could not be read (not an object identifier)"),
        (b"UID 5 ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", None),
        (b"UID 5 X-THING (x)", None),
        (b"UID 6 ENVELOPE (NIL)", None),  # nobody asked
    ],
)
def test_nonsense_makes_the_command_incomplete(attributes: bytes, reason: str | None) -> None:
    connection = Connection()
    for line in (b"* PREAUTH hi", b"A1 OK in"):
        connection.receive_data(line + b"\r\n")
        if line.startswith(b"*"):
            connection.next_event()
            connection.send(c.Select("x"))
            connection.data_to_send()
    connection.next_event()
    handle = connection.send(c.Fetch(UidSet.parse("5"), ("ENVELOPE",)))
    connection.receive_data(b"* 1 FETCH (" + attributes + b")\r\n")
    connection.next_event()
    assert handle.incomplete == ([] if reason is None else [reason])
