"""The decisions about linked messages: flags that differ, and messages that one side no longer holds.

The loop over the links is the one part of the planner that a run without changes goes through in full; it allocates
nothing for a link whose two sides show what was agreed. `bench/planner.py` measures it.
"""

from __future__ import annotations

from mailtwin.model import Flags, Listing, Ref, Side
from mailtwin.planner.draft import Draft, Survivor, ref_key
from mailtwin.planner.merge import FlagVerdict, is_visible, judge_flags
from mailtwin.planner.operations import (
    Forget,
    Link,
    Operation,
    Record,
    Removals,
    Remove,
    StoreFlags,
    StoreIntent,
)

_Seen = tuple[Flags, Flags, Flags]


def plan_links(draft: Draft) -> None:
    """Decides about every link and finds the messages that have none."""
    left, right = (listing.flags.get for listing in draft.listings)
    begun = {(intent.left, intent.right): intent for intent in draft.base.stores}
    # Most links show one of few combinations of flags, so each combination is judged once.
    verdicts: dict[_Seen, FlagVerdict | None] = {}
    missing_left = missing_right = 0
    for link in draft.base.links:
        agreed, seen_left, seen_right = link.flags, left(link.left), right(link.right)
        if begun and (link.left, link.right) in begun:
            _plan_begun(draft, link, begun[link.left, link.right])
        elif seen_left is agreed and seen_right is agreed:
            continue
        elif seen_left is not None and seen_right is not None:
            seen = (agreed, seen_left, seen_right)
            if seen not in verdicts:
                verdicts[seen] = _judge(draft, seen)
            verdict = verdicts[seen]
            if verdict is not None:
                draft.add(_flag_operation(link, verdict))
        else:
            _plan_missing(draft, link, seen_left, seen_right)
        missing_left += seen_left is None
        missing_right += seen_right is None
    for side, missing in zip(Side, (missing_left, missing_right), strict=True):
        draft.unlinked[side].extend(_unlinked(draft, side, missing))


def _unlinked(draft: Draft, side: Side, missing: int) -> list[Ref]:
    listing, links = draft.listings[side], draft.base.links
    if len(links) - missing == len(listing.flags):
        return []
    linked = {link.ref(side) for link in links}
    return sorted((ref for ref in listing.flags if ref not in linked), key=ref_key)


# --- flags ----------------------------------------------------------------------------------------------------------


def _judge(draft: Draft, seen: _Seen) -> FlagVerdict | None:
    return judge_flags(*seen, draft.vocabularies, draft.policy.direction)


def _flag_operation(link: Link, verdict: FlagVerdict) -> StoreFlags | Record:
    if verdict.side is None:
        return Record(link, verdict.result, "both sides show the same change of flags")
    changed_by = f"flags changed on {verdict.side.other.label}"
    return StoreFlags(link, verdict.side, verdict.add, verdict.remove, verdict.result, changed_by)


def _plan_begun(draft: Draft, link: Link, intent: StoreIntent) -> None:
    """A change of flags was begun on this link: it ends here, one way or the other.

    An intent that is not visible did not happen (no STORE that the planner is told of can still take effect). It must
    not stay: a later change by a person would look like its effect.
    """
    seen = tuple(draft.listings[side].flags.get(link.ref(side)) for side in Side)
    shown = seen[intent.side]
    arrived = None
    if shown is not None and is_visible(intent, shown, draft.listings[intent.side].vocabulary):
        arrived = Record(link, intent.result, f"flags arrived on {intent.side.label}")
    left, right = seen
    if left is None or right is None:
        _plan_missing(draft, link, left, right, intent, arrived)
        return
    if arrived is not None:
        draft.add(arrived)
        return
    verdict = _judge(draft, (link.flags, left, right))
    if verdict is None:
        draft.add(Record(link, link.flags, f"a change of flags on {intent.side.label} did not take place"))
    else:
        draft.add(_flag_operation(link, verdict))


# --- messages that are gone -----------------------------------------------------------------------------------------


def _plan_missing(
    draft: Draft,
    link: Link,
    seen_left: Flags | None,
    seen_right: Flags | None,
    begun: StoreIntent | None = None,
    arrived: Record | None = None,
) -> None:
    """At least one side does not show its message; only proven absence counts.

    `begun`: the change of flags that was begun on the link; when its effect is visible, `arrived` comes first.
    """
    left, right = draft.listings
    gone = (_is_gone(left, link.left, seen_left), _is_gone(right, link.right, seen_right))
    if all(gone):
        draft.add(Forget(link, "gone on both sides"))
    elif gone[Side.LEFT] and seen_right is not None:
        _add_survivor(
            draft, link, Side.RIGHT, begun, arrived or _without_twin(draft, link, Side.RIGHT, seen_right)
        )
    elif gone[Side.RIGHT] and seen_left is not None:
        _add_survivor(
            draft, link, Side.LEFT, begun, arrived or _without_twin(draft, link, Side.LEFT, seen_left)
        )
    elif arrived is not None:
        draft.add(arrived)


def _is_gone(listing: Listing, ref: Ref, seen: Flags | None) -> bool:
    return seen is None and listing.lacks(ref)


def _add_survivor(
    draft: Draft, link: Link, side: Side, begun: StoreIntent | None, otherwise: Operation | None
) -> None:
    draft.survivors.append(Survivor(side, link.ref(side), link.ref(side.other), link, otherwise, begun))


def _without_twin(draft: Draft, link: Link, side: Side, seen: Flags) -> Operation | None:
    """The message is gone from the other side for good, and `side` still holds it."""
    policy, gone = draft.policy, f"removed on {side.other.label}"
    if draft.may_be_our_doing(side.other, link.ref(side.other)):
        return Forget(link, f"{gone} by mailtwin, and it is on {side.label} again")
    if not policy.direction.may_change(side):
        return Forget(link, f"{gone}, to be copied again")
    if policy.removals is Removals.RESTORE:
        return Forget(link, f"{gone}, to be restored")
    if policy.removals is Removals.KEEP:
        return None
    if draft.flags_win(side, link.flags, seen):
        return Forget(link, f"{gone}, but its flags changed on {side.label}")
    return Remove(side, link.ref(side), link, gone)
