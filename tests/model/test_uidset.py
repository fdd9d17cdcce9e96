"""Sets of UIDs: a table of spellings, and Python's sets as the oracle."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model import UidSet
from mailtwin.model.uidset import UID_MAX

SPELLINGS = [
    ("", "", []),
    ("7", "7", [7]),
    ("1:4", "1:4", [1, 2, 3, 4]),
    ("4:1", "1:4", [1, 2, 3, 4]),
    ("3:3", "3", [3]),
    ("1:4,7,9:12", "1:4,7,9:12", [1, 2, 3, 4, 7, 9, 10, 11, 12]),
    ("9,1,2,3", "1:3,9", [1, 2, 3, 9]),
    ("1:5,3:8,8,9", "1:9", list(range(1, 10))),
    ("5,5", "5", [5]),
    ("4294967295", "4294967295", [UID_MAX]),
    ("007", "7", [7]),
]


@pytest.mark.parametrize(("text", "canonical", "members"), SPELLINGS)
def test_spellings(text: str, canonical: str, members: list[int]) -> None:
    uids = UidSet.parse(text)
    assert str(uids) == canonical
    assert list(uids) == members
    assert len(uids) == len(members)
    assert bool(uids) == bool(members)
    assert uids == UidSet.of(members)
    assert UidSet.parse(canonical) == uids


@pytest.mark.parametrize(
    "text",
    ["*", "1:*", "0", "0:5", "4294967296", "99999999999999", "-1", "1,", ",1", "1,,2", "1:2:3", ":", "1:", ":1", " 1",
     "1 2", "a", "²", "٣", "1_0", "+1"],
)  # fmt: skip
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError):
        UidSet.parse(text)


@pytest.mark.parametrize(
    "ranges",
    [((0, 1),), ((2, 1),), ((1, 2), (3, 4)), ((5, 6), (1, 2)), ((1, UID_MAX + 1),), ((1, 5), (5, 9))],
)
def test_only_canonical_ranges_can_be_built(ranges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError):
        UidSet(ranges)


@pytest.mark.parametrize("uid", [0, -1, UID_MAX + 1])
def test_numbers_that_are_no_uids(uid: int) -> None:
    with pytest.raises(ValueError):
        UidSet.of([uid])
    assert uid not in UidSet(((1, UID_MAX),))


def test_membership_of_other_things() -> None:
    assert "1" not in UidSet.of([1])
    assert None not in UidSet.of([1])


members = st.sets(st.integers(1, 60) | st.integers(UID_MAX - 30, UID_MAX), max_size=50)


@given(members, members)
def test_like_a_set_of_integers(left: set[int], right: set[int]) -> None:
    one, other = UidSet.of(left), UidSet.of(right)
    assert list(one) == sorted(left)
    assert list(one | other) == sorted(left | right)
    assert list(one & other) == sorted(left & right)
    assert list(one - other) == sorted(left - right)
    assert (one == other) == (left == right)
    assert hash(one) == hash(UidSet.of(sorted(left, reverse=True)))
    for uid in left | right | {1, UID_MAX}:
        assert (uid in one) == (uid in left)
    assert UidSet.parse(str(one)) == one


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), max_size=20))
def test_ranges_in_any_order_unite(ranges: list[tuple[int, int]]) -> None:
    expected = {uid for low, high in ranges for uid in range(min(low, high), max(low, high) + 1)}
    assert list(UidSet.of_ranges(ranges)) == sorted(expected)


@given(st.sets(st.integers(1, UID_MAX) | st.integers(1, 200), max_size=80), st.integers(21, 60))
def test_pieces_fit_and_unite_to_the_whole(uids: set[int], byte_count: int) -> None:
    whole = UidSet.of(uids)
    pieces = list(whole.split(byte_count))
    assert all(pieces)
    assert all(len(str(piece)) <= byte_count for piece in pieces)
    assert [uid for piece in pieces for uid in piece] == sorted(uids)
    for piece, following in pairwise(pieces):
        low, high = following.ranges[0]
        first = str(UidSet(((low, high),)))
        assert len(str(piece)) + 1 + len(first) > byte_count, "a piece was cut short"


def test_the_widest_range_fits_the_smallest_piece() -> None:
    widest = UidSet(((UID_MAX - 1, UID_MAX),))
    assert [str(piece) for piece in widest.split(21)] == ["4294967294:4294967295"]
    with pytest.raises(ValueError):
        list(widest.split(20))


def test_consecutive_uids_cost_one_range() -> None:
    everything = UidSet(((1, UID_MAX),))
    assert len(everything) == UID_MAX
    assert len(everything - UidSet.of([5])) == UID_MAX - 1
    assert (everything & UidSet.of([5])).ranges == ((5, 5),)


def test_many_ranges_take_linear_time() -> None:
    odd = UidSet.of(range(1, 1_000_000, 2))
    even = UidSet.of(range(2, 1_000_001, 2))
    assert len(odd | even) == 1_000_000
    assert odd - even == odd
    assert not odd & even
    assert sum(1 for _ in odd.split(8000)) < 500
