"""The decisions about copies that were given up and arrive all the same.

A server's process that was suspended (by a full disk, a lock, a debugger) may store a message long after its connection
is gone, and after the message was sent again. What arrives then looks like new mail and is not: taken for new mail it
would be doubled on the other side as well. It is recognised by its identity among the messages that have no twin, held,
and shown to a person, who alone can know that it is not a second copy that somebody made on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailtwin.model import Identity, Ref, Side
from mailtwin.planner.draft import Draft, ref_key
from mailtwin.planner.operations import Abandon, CopyIntent, Hold, Remove, Straggler, Unresolved, Verdict


def straggler_of(intent: CopyIntent, identity: Identity | None) -> Straggler | None:
    """What is remembered of a copy that is given up; None when it could not be recognised, or can never arrive."""
    if intent.target is not None or identity is None:
        return None
    return Straggler(intent.source, intent.ref, intent.flags, intent.validity, intent.floor or 0, identity)


def plan_held(draft: Draft) -> None:
    """Decides about the stragglers that were found, and takes them away from the fresh messages."""
    for straggler in sorted(draft.base.stragglers, key=_order):
        side, found = straggler.source.other, straggler.found
        if found is not None and not _is_missing(draft, straggler):
            if straggler.verdict is not Verdict.KEEP:
                draft.taken[side].add(found)
            _plan_held(draft, straggler, side, found)


def _plan_held(draft: Draft, straggler: Straggler, side: Side, found: Ref) -> None:
    listing = draft.listings[side]
    if listing.lacks(found):
        draft.add(Abandon(straggler, f"it is not on {side.label} any more"))
    elif found not in listing.flags:
        return
    elif draft.is_linked(side, found):
        draft.add(Abandon(straggler, f"it is linked on {side.label}"))
    elif straggler.verdict is Verdict.KEEP:
        return
    elif straggler.verdict is Verdict.REMOVE and draft.policy.direction.may_change(side):
        why = "an extra copy that arrived late and is not wanted"
        draft.add(Remove(side, found, None, why, straggler))
    else:
        draft.add(Unresolved(straggler, f"an extra copy of it arrived on {side.label} late"))


def awaited(draft: Draft, side: Side) -> list[Straggler]:
    """The stragglers that may still be found on `side`; those with the lowest floor choose first."""
    missing = (
        each for each in draft.base.stragglers if each.source is side.other and _is_missing(draft, each)
    )
    return sorted(missing, key=_order)


def may_be_one(draft: Draft, side: Side, ref: Ref, stragglers: Sequence[Straggler]) -> bool:
    """Whether `ref` on `side` may be one of `stragglers`, as far as numbers tell."""
    return any(isinstance(ref, int) and ref >= _floor(draft, side, each) for each in stragglers)


def hold_arrived(draft: Draft, side: Side, alone: Sequence[Ref]) -> list[Ref]:
    """Holds those messages without a twin that are stragglers; returns the others. They must be identified."""
    rest = list(alone)
    kept = {
        each.found
        for each in draft.base.stragglers
        if each.verdict is Verdict.KEEP and each.source is side.other
    }
    for straggler in awaited(draft, side):
        found = next((ref for ref in rest if ref not in kept and _is_it(draft, side, straggler, ref)), None)
        if found is not None:
            rest.remove(found)
            held = replace(straggler, found=found, validity=draft.listings[side].validity)
            draft.add(Hold(straggler, held, f"an extra copy of it arrived on {side.label} late"))
    return rest


def _is_missing(draft: Draft, straggler: Straggler) -> bool:
    """Whether it was not found yet, or under a number that means nothing any more."""
    return straggler.found is None or straggler.validity != draft.listings[straggler.source.other].validity


def _floor(draft: Draft, side: Side, straggler: Straggler) -> int:
    return straggler.floor if straggler.validity == draft.listings[side].validity else 0


def _is_it(draft: Draft, side: Side, straggler: Straggler, ref: Ref) -> bool:
    """The same message, or the same headers: some servers render anew what they store."""
    if not may_be_one(draft, side, ref, [straggler]):
        return False
    seen = draft.listings[side].identities[ref]
    return seen == straggler.identity or seen.resembles(straggler.identity)


def _order(straggler: Straggler) -> tuple[object, ...]:
    known = (straggler.validity, sorted(straggler.flags), straggler.verdict, straggler.found or 0)
    return straggler.floor, straggler.source, ref_key(straggler.ref), straggler.identity, *known
