"""The three-way merge of flags."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.rows import flags
from tests.planner.strategies import FLAGS, VOCABULARIES

from mailtwin.model import Flags, Side, Vocabulary, make_flags
from mailtwin.model.flags import EVERYTHING
from mailtwin.planner import Direction, StoreIntent
from mailtwin.planner.merge import common_flags, is_visible, judge_flags, merge_flags

BOTH_HOLD_ALL = (EVERYTHING, EVERYTHING)


@pytest.mark.parametrize(
    ("agreed", "left", "right", "merged"),
    [
        ("", "", "", ""),
        ("S", "S", "S", "S"),
        ("", "S", "", "S"),
        ("", "", "S", "S"),
        ("S", "", "S", ""),
        ("S", "S", "", ""),
        ("S", "", "", ""),
        ("", "S", "S", "S"),
        ("S", "SF", "", "F"),
        ("SF", "F", "S", ""),
        ("A", "AS", "AF", "SFA"),
    ],
)
def test_the_side_that_differs_from_what_was_agreed_wins(
    agreed: str, left: str, right: str, merged: str
) -> None:
    assert merge_flags(flags(agreed), flags(left), flags(right)) == flags(merged)


@settings(deadline=None)
@given(FLAGS, FLAGS, FLAGS, st.tuples(VOCABULARIES, VOCABULARIES), st.sampled_from(Direction))
def test_storing_what_is_asked_for_comes_to_an_end_with_both_sides_equal(
    agreed: Flags,
    left: Flags,
    right: Flags,
    vocabularies: tuple[Vocabulary, Vocabulary],
    direction: Direction,
) -> None:
    seen = [left, right]
    rounds = 0
    while (verdict := judge_flags(agreed, seen[0], seen[1], vocabularies, direction)) is not None:
        rounds += 1
        assert rounds <= 3
        if verdict.side is not None:
            assert direction.may_change(verdict.side)
            seen[verdict.side] = make_flags((seen[verdict.side] | verdict.add) - verdict.remove)
        agreed = verdict.result
    shared = [vocabularies[0].keep(vocabularies[1].keep(each)) for each in seen]
    assert shared[Side.LEFT] == shared[Side.RIGHT]


@given(FLAGS, FLAGS, FLAGS)
def test_after_one_store_neither_side_looks_as_if_a_person_had_changed_it(
    agreed: Flags, left: Flags, right: Flags
) -> None:
    """The merge aims at the same flags before and after the first of its two steps."""
    verdict = judge_flags(agreed, left, right, BOTH_HOLD_ALL, Direction.TWO_WAY)
    if verdict is not None and verdict.side is not None:
        seen = [left, right]
        seen[verdict.side] = make_flags((seen[verdict.side] | verdict.add) - verdict.remove)
        assert merge_flags(verdict.result, seen[0], seen[1]) == merge_flags(agreed, left, right)


def test_flags_that_differ_at_the_first_meeting_are_joined() -> None:
    agreed = common_flags(flags("SF"), flags("SA"), BOTH_HOLD_ALL)
    assert agreed == flags("S")
    assert merge_flags(agreed, flags("SF"), flags("SA")) == flags("SFA")


@pytest.mark.parametrize(
    ("add", "remove", "seen", "visible"),
    [
        ("S", "", "S", True),
        ("S", "", "SF", True),
        ("S", "", "", False),
        ("SF", "", "S", False),
        ("", "S", "", True),
        ("", "S", "S", False),
        ("F", "S", "F", True),
        ("F", "S", "FS", False),
    ],
)
def test_an_effect_is_visible_when_all_of_it_is(add: str, remove: str, seen: str, visible: bool) -> None:
    intent = StoreIntent(1, 1, Side.LEFT, flags(add), flags(remove), flags(""))
    assert is_visible(intent, flags(seen), EVERYTHING) is visible
