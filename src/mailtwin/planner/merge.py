"""Three-way merge of flags between two sides that may not be able to hold the same flags.

Only what both sides can hold is merged, agreed on and stored; of anything else neither the presence nor the absence
means a thing. (To count what a side cannot hold as unchanged there, and keep it in the agreement, would lose it: once
that side learns to hold it, its absence would look like a removal.) The merge changes one side at a time, and says what
both sides agree on once that one change is visible: never more, so that a crash between the two leaves nothing that
could be mistaken for a person's doing.
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


def shared_flags(flags: Flags, vocabularies: tuple[Vocabulary, Vocabulary]) -> Flags:
    """The part of `flags` that both sides can hold: the only flags the merge knows."""
    return vocabularies[Side.RIGHT].keep(vocabularies[Side.LEFT].keep(flags))


def merge_flags(agreed: Flags, left: Flags, right: Flags) -> Flags:
    """The three-way merge: where the sides differ, the one that differs from what was agreed wins."""
    return (left & right) | ((left ^ right) - agreed)


def common_flags(left: Flags, right: Flags, vocabularies: tuple[Vocabulary, Vocabulary]) -> Flags:
    """What two sides that were never linked agree on: what both have and both can hold."""
    return shared_flags(left & right, vocabularies)


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
    agreed, *seen = (shared_flags(flags, vocabularies) for flags in (agreed, left, right))
    if direction is Direction.TWO_WAY:
        merged = merge_flags(agreed, *seen)
    else:
        merged = seen[Side.LEFT if direction is Direction.LEFT_TO_RIGHT else Side.RIGHT]
    for side in Side:
        held, other = seen[side], seen[side.other]
        if held != merged and direction.may_change(side):
            # Where the other side still has to follow, the agreement stays what it was.
            result = (merged & other) | (agreed & (merged ^ other))
            return FlagVerdict(side, merged - held, held - merged, result)
    return None if merged == agreed else FlagVerdict(None, Flags(), Flags(), merged)


def is_visible(intent: StoreIntent, seen: Flags, vocabulary: Vocabulary) -> bool:
    """Whether a side that shows `seen` shows the effect of `intent`, as far as it can hold it."""
    return vocabulary.keep(intent.add) <= seen and not (vocabulary.keep(intent.remove) & seen)
