"""The decisions about copies that were given up and arrive all the same.

A server's process that was suspended (by a full disk, a lock, a debugger) may store a message long after its connection
is gone, and after the message was sent again. What arrives then looks like new mail and is not: taken for new mail it
would be doubled on the other side as well. It is recognised by its identity among the messages that have no twin, held,
and shown to a person, who alone can know that it is not a second copy that somebody made on purpose.
"""

from __future__ import annotations

from collections import defaultdict
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


def lowest_floor(draft: Draft, side: Side) -> int | None:
    """The UID from which on a message on `side` may be a straggler, as far as numbers tell; None for no message."""
    return min((_floor(draft, side, each) for each in awaited(draft, side)), default=None)


def hold_arrived(draft: Draft, side: Side, alone: Sequence[Ref]) -> list[Ref]:
    """Holds those messages without a twin that are stragglers; returns the others. Those that may be are identified."""
    stragglers = awaited(draft, side)
    if not stragglers:
        return list(alone)
    verdicts = (each for each in draft.base.stragglers if each.source is side.other)
    kept = {each.found for each in verdicts if each.verdict is Verdict.KEEP}
    identities = draft.listings[side].identities
    alike: dict[str, list[int]] = defaultdict(list)
    for ref in alone:
        if isinstance(ref, int) and ref in identities and ref not in kept:
            alike[identities[ref].headers].append(ref)
    held: set[Ref] = set()
    for straggler in stragglers:
        candidates = alike.get(straggler.identity.headers, [])
        floor = _floor(draft, side, straggler)
        found = next((r for r in candidates if r >= floor and _is_it(straggler, identities[r])), None)
        if found is not None:
            candidates.remove(found)
            held.add(found)
            known = replace(straggler, found=found, validity=draft.listings[side].validity)
            draft.add(Hold(straggler, known, f"an extra copy of it arrived on {side.label} late"))
    return [ref for ref in alone if ref not in held]


def _is_missing(draft: Draft, straggler: Straggler) -> bool:
    """Whether it was not found yet, or under a number that means nothing any more."""
    return straggler.found is None or straggler.validity != draft.listings[straggler.source.other].validity


def _floor(draft: Draft, side: Side, straggler: Straggler) -> int:
    return straggler.floor if straggler.validity == draft.listings[side].validity else 0


def _is_it(straggler: Straggler, seen: Identity) -> bool:
    """The same message, or the same headers: some servers render anew what they store."""
    return seen == straggler.identity or seen.resembles(straggler.identity)


def _order(straggler: Straggler) -> tuple[object, ...]:
    known = (straggler.validity, sorted(straggler.flags), straggler.verdict, straggler.found or 0)
    return straggler.floor, straggler.source, ref_key(straggler.ref), straggler.identity, *known
