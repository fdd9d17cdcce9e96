"""The decisions about messages that have no agreement and no copy under way: pair them, or copy them.

Two sides that hold the same messages already are paired without a transfer. As long as both sides have fresh messages
and some of them are not identified, nothing is copied: the copy might be there. For the same reason a message waits
when the other side has one of its size that nobody can identify. What is left without a twin may be a straggler, and is
held then.
"""

from __future__ import annotations

from collections import defaultdict

from mailtwin.model import Identity, Ref, Side
from mailtwin.planner.draft import Draft
from mailtwin.planner.merge import common_flags
from mailtwin.planner.operations import Adopt, Copy, Wait
from mailtwin.planner.stragglers import hold_arrived, lowest_floor


def plan_fresh(draft: Draft) -> None:
    """Decides about every fresh message."""
    fresh = (draft.fresh(Side.LEFT), draft.fresh(Side.RIGHT))
    if not any(
        fresh[side] and (_may_leave(draft, side) or lowest_floor(draft, side) is not None) for side in Side
    ):
        return
    blind = (_nameless(draft, Side.LEFT), _nameless(draft, Side.RIGHT))
    if _must_identify(draft, fresh, blind):
        return
    if all(fresh):
        fresh = _adopt(draft, fresh)
        if draft.base.renumbered:
            fresh = _adopt_rendered(draft, fresh)
    for side in Side:
        if not draft.listings[side.other].complete:
            continue  # the twin may be what was not seen
        alone = hold_arrived(draft, side, _without_doubt(draft, side, fresh[side], blind[side.other]))
        if _may_leave(draft, side):
            flags, why = draft.listings[side].flags, f"new on {side.label}"
            draft.operations.extend(
                Copy(side, ref, flags[ref], why) for ref in alone if (side, ref) not in draft.aside
            )


def _without_doubt(draft: Draft, side: Side, refs: list[Ref], blind: list[Ref]) -> list[Ref]:
    """Those of `refs` that have no twin on the other side; those that may be one of its `blind` messages wait."""
    ranges = {draft.listings[side.other].nameless[ref] for ref in blind}
    if not ranges:
        return refs
    alone: list[Ref] = []
    for ref in refs:
        size = draft.listings[side].identities[ref].size
        if not any(size is None or least <= size <= most for least, most in ranges):
            alone.append(ref)
        elif _may_leave(draft, side):
            why = f"{side.other.label} has a message that cannot be read and may be this one"
            draft.add(Wait(side, ref, why))
    return alone


def _may_leave(draft: Draft, side: Side) -> bool:
    """Whether what is new on `side` may be copied to the other one."""
    return draft.policy.direction.may_change(side.other)


def _must_identify(
    draft: Draft, fresh: tuple[list[Ref], list[Ref]], blind: tuple[list[Ref], list[Ref]]
) -> bool:
    """Asks for the identities without which nothing can be decided: of all that may have a twin on the other side,
    else of those that may be stragglers; whether there are any."""
    asked = False
    for side in Side:
        known, lowest = draft.listings[side].identities, lowest_floor(draft, side)
        unasked = [ref for ref in fresh[side] if ref not in known]
        if not (all(fresh) or blind[side.other]):
            unasked = [
                ref for ref in unasked if lowest is not None and isinstance(ref, int) and ref >= lowest
            ]
        draft.identify(side, unasked)
        asked = asked or bool(unasked)
    return asked


def _nameless(draft: Draft, side: Side) -> list[Ref]:
    """The messages without a twin that nobody can identify."""
    listing = draft.listings[side]
    if not listing.nameless:
        return []
    bereft = (each.ref for each in draft.survivors if each.side is side and each.identity(listing) is None)
    return [ref for ref in (*draft.unlinked[side], *bereft) if ref in listing.nameless]


def _adopt_rendered(draft: Draft, fresh: tuple[list[Ref], list[Ref]]) -> tuple[list[Ref], list[Ref]]:
    """Pairs what was in step before a numbering changed, and is rendered anew by its server since it was stored: the
    only two messages left whose headers say that they are the same. Returns what remains; where not everything was
    seen, those that may be such a pair wait.

    Elsewhere headers alone are no identity: two copies of one letter, one of them changed by a list, are two messages.
    """
    left, right = draft.listings
    seen_all = left.complete and right.complete
    by_headers = [_by_headers(draft, side, fresh[side]) for side in Side]
    paired: tuple[set[Ref], set[Ref]] = (set(), set())
    for headers, refs in by_headers[Side.LEFT].items():
        twins = by_headers[Side.RIGHT].get(headers, [])
        if not seen_all and twins:
            paired[Side.LEFT].update(refs)
            paired[Side.RIGHT].update(twins)
        elif len(refs) == len(twins) == 1:
            (ref,), (twin,) = refs, twins
            agreed = common_flags(left.flags[ref], right.flags[twin], draft.vocabularies)
            draft.add(
                Adopt(ref, twin, agreed, "the same message before the numbering changed, rendered anew")
            )
            paired[Side.LEFT].add(ref)
            paired[Side.RIGHT].add(twin)
    rest = [[ref for ref in fresh[side] if ref not in paired[side]] for side in Side]
    return rest[Side.LEFT], rest[Side.RIGHT]


def _by_headers(draft: Draft, side: Side, refs: list[Ref]) -> dict[str, list[Ref]]:
    """Messages with a Message-ID by what their headers say."""
    found: dict[str, list[Ref]] = defaultdict(list)
    for ref in refs:
        who = draft.listings[side].identities[ref]
        if who.has_message_id:
            found[who.headers].append(ref)
    return found


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
