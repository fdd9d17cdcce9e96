"""Three-way merge of flags between two sides that may not be able to hold the same flags.

What a side cannot hold counts as unchanged there, so it is neither taken for removed nor ever stored there. The merge
changes one side at a time, and says what both sides agree on once that one change is visible: never more, so that a
crash between the two leaves nothing that could be mistaken for a person's doing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtwin.model import Flags, Side, Vocabulary
from mailtwin.planner.operations import Direction, StoreIntent


@dataclass(frozen=True, slots=True)
class FlagVerdict:
    """What two sides with different flags need: a change of `side` (None: nothing to store), then agree on `result`."""

    side: Side | None
    add: Flags
    remove: Flags
    result: Flags


def effective_flags(agreed: Flags, seen: Flags, vocabulary: Vocabulary) -> Flags:
    """The flags of one side as the merge reads them: as seen where the side can hold them, else as agreed."""
    held = vocabulary.keep(seen)
    kept = vocabulary.keep(agreed)
    return held if kept is agreed else held | (agreed - kept)


def merge_flags(agreed: Flags, left: Flags, right: Flags) -> Flags:
    """The three-way merge: where the sides differ, the one that differs from what was agreed wins."""
    return (left & right) | ((left ^ right) - agreed)


def common_flags(left: Flags, right: Flags, vocabularies: tuple[Vocabulary, Vocabulary]) -> Flags:
    """What two sides that were never linked agree on: what both have, and what only one of them can hold."""
    only_left = left - vocabularies[Side.RIGHT].keep(left)
    only_right = right - vocabularies[Side.LEFT].keep(right)
    return (left & right) | only_left | only_right


def judge_flags(
    agreed: Flags,
    left: Flags,
    right: Flags,
    vocabularies: tuple[Vocabulary, Vocabulary],
    direction: Direction,
) -> FlagVerdict | None:
    """What a linked pair needs whose sides show `left` and `right`; None when nothing.

    One-way, the source's word is the last one. No verdict names a side that may not be changed, or a flag that its
    side cannot hold.
    """
    seen = (left, right)
    effective = (
        effective_flags(agreed, left, vocabularies[Side.LEFT]),
        effective_flags(agreed, right, vocabularies[Side.RIGHT]),
    )
    if direction is Direction.TWO_WAY:
        merged = merge_flags(agreed, *effective)
    else:
        merged = effective[Side.LEFT if direction is Direction.LEFT_TO_RIGHT else Side.RIGHT]
    for side in Side:
        held = vocabularies[side].keep(seen[side])
        add, remove = vocabularies[side].keep(merged) - held, held - merged
        if (add or remove) and direction.may_change(side):
            other = effective[side.other]
            # Where the other side still has to follow, the agreement stays what it was.
            result = (merged & other) | (agreed & (merged ^ other))
            return FlagVerdict(side, add, remove, result)
    return None if merged == agreed else FlagVerdict(None, Flags(), Flags(), merged)


def is_visible(intent: StoreIntent, seen: Flags, vocabulary: Vocabulary) -> bool:
    """Whether a side that shows `seen` shows the effect of `intent`, as far as it can hold it."""
    return vocabulary.keep(intent.add) <= seen and not (vocabulary.keep(intent.remove) & seen)
