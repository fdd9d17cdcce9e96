"""The hot path says what the plain parser says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailtwin.imap.fetchline import FLAGS_BYTES_MAX, parse_fetch_line
from mailtwin.imap.framing import Frame
from mailtwin.imap.parser import parse_plain
from mailtwin.imap.responses import Fetch
from mailtwin.model.limits import LINE_BYTES_MAX

TAKEN = [
    (b"* 12 FETCH (UID 77 FLAGS (\\Seen $x))", Fetch(12, 77, ("\\Seen", "$x"))),
    (b"* 12 FETCH (FLAGS () UID 77)", Fetch(12, 77, ())),
    (b"* 12 FETCH (MODSEQ (991) UID 77 FLAGS (a))", Fetch(12, 77, ("a",), 991)),
    (b"* 12 FETCH (FLAGS (\\Seen))", Fetch(12, None, ("\\Seen",))),
    (b"* 12 FETCH (UID 77)", Fetch(12, 77)),
    (b"* 12 FETCH (FLAGS (a] \xe9) FLAGS (b))", Fetch(12, None, ("b",))),
    (b"* 0 FETCH (UID 4294967295)", Fetch(0, 4294967295)),
]


@pytest.mark.parametrize(("segment", "expected"), TAKEN)
def test_the_common_shape_is_taken(segment: bytes, expected: Fetch) -> None:
    assert parse_fetch_line(segment) == expected


LEFT = [
    b"* 12 FETCH ()",
    b"* 12 FETCH (UID 0)",
    b"* 12 FETCH (UID 4294967296)",
    b"* 4294967296 FETCH (UID 1)",
    b"* 12 FETCH (UID 77 )",
    b"* 12 FETCH (UID 77 FLAGS (\\Seen)",
    b"* 12 FETCH (UID 77 FLAGS (\\Seen)))",
    b"* 12 FETCH (UID 77FLAGS (\\Seen))",
    b'* 12 FETCH (FLAGS ("a b"))',
    b"* 12 FETCH (UID 77 RFC822.SIZE 5)",
    b"* 12 FETCH (UID 77 MODSEQ (9999999999999999999))",
    b"* 12 FETCH (BODY[] ",
    b"* 12 EXISTS",
    b"",
    b"* 12 FETCH (FLAGS (" + b"x" * (FLAGS_BYTES_MAX + 1) + b"))",
]


@pytest.mark.parametrize("segment", LEFT, ids=lambda segment: repr(segment[:50]))
def test_other_shapes_are_left_to_the_plain_parser(segment: bytes) -> None:
    assert parse_fetch_line(segment) is None


digits = st.integers(0, 2**33).map(b"%d".__mod__) | st.from_regex(rb"[0-9]{0,21}", fullmatch=True)
flags = st.lists(
    st.sampled_from(
        [b"\\Seen", b"\\Flagged", b"$Forwarded", b"a]", b"[b", b"\xc3\xa9", b"\xff", b'"q"', b"(", b"{3}"]
    )
).map(b" ".join)
attributes = st.one_of(
    digits.map(b"UID %b".__mod__),
    flags.map(b"FLAGS (%b)".__mod__),
    digits.map(b"MODSEQ (%b)".__mod__),
    st.sampled_from([b"RFC822.SIZE 5", b"BODY[] NIL", b"", b"uid 7"]),
)
gaps = st.sampled_from([b" ", b" ", b" ", b"", b"  ", b"\t"])
lines = st.builds(
    lambda seq, head, words, gap, tail: b"* " + seq + head + gap.join(words) + tail,
    digits,
    st.sampled_from([b" FETCH (", b" FETCH (", b" fetch (", b" FETCH", b"  FETCH ("]),
    st.lists(attributes, max_size=4),
    gaps,
    st.sampled_from([b")", b")", b")", b"", b"))", b" )", b")\r", b")\n"]),
)


@given(lines | st.binary(max_size=40))
@example(b"* 12 FETCH (UID 7 FLAGS (\\Seen))\n")
@example(b"* 12 FETCH (UID 7 UID 8)")
def test_equal_to_the_plain_parser(segment: bytes) -> None:
    fetch = parse_fetch_line(segment)
    if fetch is not None:
        assert fetch == parse_plain(Frame((segment,), (), is_text=False))


def test_hostile_lines_take_linear_time() -> None:
    parse_fetch_line(b"* 12 FETCH (" + b"UID 7 " * (LINE_BYTES_MAX // 6))
    parse_fetch_line(b"* 12 FETCH (FLAGS (" + b"(" * LINE_BYTES_MAX)
    parse_fetch_line(b"* 12 FETCH (FLAGS (" + b"x" * LINE_BYTES_MAX)
