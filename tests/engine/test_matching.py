"""Which messages belong together when several could."""

from __future__ import annotations

import pytest

from mailtwin.engine.matching import NO_FIELDS, Match, Seen, match
from mailtwin.model import NO_FLAGS, Side, make_flags
from mailtwin.state import Digest

SEEN = make_flags(["\\Seen"])


def seen(
    ref: int, content: str, headers: str = "", message_id: str = "", *, size: int = 1, date_s: int = 0
) -> Seen:
    """A message; `content` stands for its bytes."""
    return Seen(ref, Digest("", content, size, headers or NO_FIELDS, message_id), NO_FLAGS, date_s)


def refs(matches: list[Match]) -> set[tuple[int | str | None, int | str | None, bool]]:
    """Who belongs to whom."""
    return {
        (
            None if one.left is None else one.left.ref,
            None if one.right is None else one.right.ref,
            one.is_double,
        )
        for one in matches
    }


def test_copies_with_the_same_flags_and_date_belong_together() -> None:
    left = [seen(1, "a", date_s=5), seen(2, "a", date_s=6)]
    right = [seen(11, "a", date_s=6), seen(12, "a", date_s=5), seen(13, "a", date_s=6)]
    assert refs(match(left, right)) == {(1, 12, False), (2, 11, False), (None, 13, True)}


def test_a_copy_that_waits_for_a_decision_is_the_one_too_many() -> None:
    left, right = [seen(1, "a")], [seen(11, "a"), seen(12, "a")]
    assert refs(match(left, right, {(Side.RIGHT, 11)})) == {(1, 12, False), (None, 11, True)}


def test_the_bytes_decide_before_the_message_id() -> None:
    left = [seen(1, "a", "h", "<1>"), seen(2, "b", "h", "<1>")]
    right = [seen(11, "b", "h", "<1>"), seen(12, "c", "h", "<1>")]
    assert refs(match(left, right)) == {(2, 11, False), (1, 12, False)}


def test_headers_decide_before_the_message_id_alone() -> None:
    left = [seen(1, "a", "h", "<1>"), seen(2, "b", "i", "<1>")]
    right = [seen(11, "c", "i", "<1>"), seen(12, "d", "j", "<1>")]
    assert refs(match(left, right)) == {(2, 11, False), (1, 12, False)}


def test_a_doubled_message_of_which_one_copy_was_altered() -> None:
    left = [seen(1, "a", "h", "<1>"), seen(2, "a", "h", "<1>")]
    right = [seen(11, "a", "h", "<1>"), seen(12, "b", "h", "<1>")]
    assert refs(match(left, right)) == {(1, 11, False), (2, 12, False)}


def test_without_a_message_id_the_date_tells_or_there_is_only_one() -> None:
    left, right = [seen(1, "a", "h", date_s=1, size=5)], [seen(11, "b", "h", date_s=2)]
    assert refs(match(left, right)) == {(1, 11, False)}
    right.append(seen(12, "c", "h", date_s=1))
    assert refs(match(left, right)) == {(1, 12, False), (None, 11, False)}
    right[1] = seen(12, "c", "h", date_s=3)
    assert refs(match(left, right)) == {(1, None, False), (None, 11, False), (None, 12, False)}


def test_size_and_date_tell_only_where_they_are_unique() -> None:
    left, right = [seen(1, "a", date_s=1)], [seen(11, "b", date_s=1)]
    assert refs(match(left, right)) == {(1, 11, False)}
    right.append(seen(12, "c", date_s=1))
    assert refs(match(left, right)) == {(1, None, False), (None, 11, False), (None, 12, False)}


def test_two_message_ids_are_two_messages() -> None:
    left, right = [seen(1, "a", "h", "<1>", date_s=1)], [seen(11, "b", "i", "<2>", date_s=1)]
    assert refs(match(left, right)) == {(1, None, False), (None, 11, False)}


def test_messages_without_any_field_are_not_the_same_for_that() -> None:
    left, right = [seen(1, "a", size=1)], [seen(11, "b", size=2)]
    assert refs(match(left, right)) == {(1, None, False), (None, 11, False)}


JOINED = [
    ("what is alone on both sides is one", [seen(1, "a")], [seen(11, "b", size=2)], {(1, 11)}),
    ("one of them lost its Message-ID", [seen(1, "a", "h", "<1>")], [seen(11, "b")], {(1, 11)}),
    ("two Message-IDs", [seen(1, "a", "h", "<1>")], [seen(11, "b", "i", "<2>")], {(1, None), (None, 11)}),
    ("not each other's twins", [seen(1, "a")], [seen(12, "b", size=2)], {(1, None), (None, 12)}),
    ("nobody's twin", [seen(3, "a")], [seen(13, "b", size=2)], {(3, None), (None, 13)}),
    (
        "two of one sender and date",
        [seen(1, "a", "h"), seen(2, "b", "h")],
        [seen(12, "c", "h"), seen(11, "d", "h")],
        {(1, 11), (2, 12)},
    ),
    (
        "the bytes are believed, not the state",
        [seen(1, "a"), seen(2, "b", size=2)],
        [seen(11, "b", size=2), seen(12, "a")],
        {(1, 12), (2, 11)},
    ),
    (
        "the Message-ID is believed, not the state",
        [seen(1, "a", "h", "<1>"), seen(2, "b")],
        [seen(11, "c"), seen(12, "d", "h", "<1>", size=2)],
        {(1, 12), (2, 11)},
    ),
    (
        "one too many is none that was altered",
        [seen(1, "a"), seen(2, "a")],
        [seen(11, "a"), seen(12, "c", size=2)],
        {(1, 11), (2, None), (None, 12)},
    ),
]


@pytest.mark.parametrize(
    ("left", "right", "expected"), [row[1:] for row in JOINED], ids=[row[0] for row in JOINED]
)
def test_what_a_run_noted_explains_what_is_altered(
    left: list[Seen], right: list[Seen], expected: set[tuple[int | None, int | None]]
) -> None:
    assert {ends[:2] for ends in refs(match(left, right, twins={1: 11, 2: 12}))} == expected
