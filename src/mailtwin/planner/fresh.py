"""The decisions about messages that have no agreement and no copy under way: pair them, or copy them.

Two sides that hold the same messages already are paired without a transfer. As long as both sides have fresh messages
and some of them are not identified, nothing is copied: the copy might be there. What is left without a twin may be a
straggler, and is held then.
"""

from __future__ import annotations

from collections import defaultdict

from mailtwin.model import Identity, Ref, Side
from mailtwin.planner.draft import Draft
from mailtwin.planner.merge import common_flags
from mailtwin.planner.operations import Adopt, Copy
from mailtwin.planner.stragglers import hold_arrived, lowest_floor


def plan_fresh(draft: Draft) -> None:
    """Decides about every fresh message."""
    fresh = (_fresh(draft, Side.LEFT), _fresh(draft, Side.RIGHT))
    if not any(
        fresh[side] and (_may_leave(draft, side) or lowest_floor(draft, side) is not None) for side in Side
    ):
        return
    if _must_identify(draft, fresh):
        return
    if all(fresh):
        fresh = _adopt(draft, fresh)
    for side in Side:
        if not draft.listings[side.other].complete:
            continue  # the twin may be what was not seen
        alone = hold_arrived(draft, side, fresh[side])
        if _may_leave(draft, side):
            flags, why = draft.listings[side].flags, f"new on {side.label}"
            draft.operations.extend(Copy(side, ref, flags[ref], why) for ref in alone)


def _may_leave(draft: Draft, side: Side) -> bool:
    """Whether what is new on `side` may be copied to the other one."""
    return draft.policy.direction.may_change(side.other)


def _must_identify(draft: Draft, fresh: tuple[list[Ref], list[Ref]]) -> bool:
    """Asks for the identities without which nothing can be decided: of all when both sides have fresh messages, else
    of those that may be stragglers; whether there are any."""
    asked = False
    for side in Side:
        known, lowest = draft.listings[side].identities, lowest_floor(draft, side)
        nameless = [ref for ref in fresh[side] if ref not in known]
        if not all(fresh):
            nameless = [
                ref for ref in nameless if lowest is not None and isinstance(ref, int) and ref >= lowest
            ]
        draft.identify(side, nameless)
        asked = asked or bool(nameless)
    return asked


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
