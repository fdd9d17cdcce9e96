"""The decisions about messages that have no agreement and no copy under way: pair them, or copy them.

Two sides that hold the same messages already are paired without a transfer. As long as both sides have fresh messages
and some of them are not identified, nothing is copied: the copy might be there.
"""

from __future__ import annotations

from collections import defaultdict

from mailtwin.model import Identity, Ref, Side
from mailtwin.planner.draft import Draft
from mailtwin.planner.merge import common_flags
from mailtwin.planner.operations import Adopt, Copy


def plan_fresh(draft: Draft) -> None:
    """Decides about every fresh message."""
    fresh = (_fresh(draft, Side.LEFT), _fresh(draft, Side.RIGHT))
    if not any(fresh[side] and draft.policy.direction.may_change(side.other) for side in Side):
        return
    if all(fresh):
        nameless = [
            [ref for ref in fresh[side] if ref not in draft.listings[side].identities] for side in Side
        ]
        if any(nameless):
            for side in Side:
                draft.identify(side, nameless[side])
            return
        fresh = _adopt(draft, fresh)
    for side in Side:
        if draft.listings[side.other].complete and draft.policy.direction.may_change(side.other):
            flags, why = draft.listings[side].flags, f"new on {side.label}"
            draft.operations.extend(Copy(side, ref, flags[ref], why) for ref in fresh[side])


def _fresh(draft: Draft, side: Side) -> list[Ref]:
    taken, aside = draft.taken[side], draft.aside
    return [ref for ref in draft.unlinked[side] if ref not in taken and (side, ref) not in aside]


def _adopt(draft: Draft, fresh: tuple[list[Ref], list[Ref]]) -> tuple[list[Ref], list[Ref]]:
    """Pairs equal identities in the order of their refs, the first with the first; returns what remains."""
    left, right = draft.listings
    twins: dict[Identity, list[Ref]] = defaultdict(list)
    for ref in reversed(fresh[Side.RIGHT]):
        twins[right.identities[ref]].append(ref)
    alone: list[Ref] = []
    for ref in fresh[Side.LEFT]:
        same = twins.get(left.identities[ref])
        if same:
            twin = same.pop()
            agreed = common_flags(left.flags[ref], right.flags[twin], draft.vocabularies)
            draft.add(Adopt(ref, twin, agreed, "the same message on both sides"))
        else:
            alone.append(ref)
    rest = {ref for same in twins.values() for ref in same}
    return alone, [ref for ref in fresh[Side.RIGHT] if ref in rest]
