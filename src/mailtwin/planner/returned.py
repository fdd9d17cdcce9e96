"""The decisions about messages that went and came back under another ref: moved away and back, put back from a backup,
written anew by another program.

A message whose twin is gone keeps its agreement when the other side has a fresh message of its identity. Anything else
(copy the new one, then remove the old one) would send a body for nothing, and leave two of it on both sides if a
new numbering came in between. Who the messages are is asked only where a side lacks some and has fresh ones; what did
not come back is decided as if nobody had asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mailtwin.model import Identity, Ref, Side
from mailtwin.planner.begun import adoption
from mailtwin.planner.draft import Draft, RefKey, Survivor, ref_key
from mailtwin.planner.operations import Adopt, Link, Relink


def plan_returned(draft: Draft) -> bool:
    """Decides about every message whose twin is gone; False when more must be identified first, and nothing that is
    fresh may be decided before."""
    decided = True
    for side in Side:
        survivors = sorted((each for each in draft.survivors if each.side is side.other), key=_order)
        fresh = draft.fresh(side) if survivors else []
        if fresh and _must_identify(draft, side, fresh):
            decided = False
        else:
            _decide(draft, side, survivors, fresh)
    return decided


def _must_identify(draft: Draft, side: Side, fresh: Sequence[Ref]) -> bool:
    """Asks for the identities of those that may be twins again; whether there are any."""
    returned = [ref for ref in fresh if draft.is_unasked(side, ref)]
    draft.identify(side, returned)
    return draft.ask_survivors(side.other) or bool(returned)


def _decide(draft: Draft, side: Side, survivors: Sequence[Survivor], fresh: Sequence[Ref]) -> None:
    """Pairs survivors and fresh messages of equal identity: the first that went from `side`, the first that came."""
    came: dict[Identity, list[Ref]] = defaultdict(list)
    for ref in reversed(fresh):
        came[draft.listings[side].identities[ref]].append(ref)
    for survivor in survivors:
        identity = survivor.identity(draft.listings[side.other])
        same = came.get(identity) if identity is not None else None
        if same:
            ref = same.pop()
            draft.taken[side].add(ref)
            draft.add(_pairing(draft, survivor, ref))
        elif survivor.otherwise is not None:
            draft.add(survivor.otherwise)


def _pairing(draft: Draft, survivor: Survivor, ref: Ref) -> Relink | Adopt:
    side, origin = survivor.side.other, survivor.origin
    why = f"went and came back on {side.label}"
    if isinstance(origin, Link):
        return Relink(origin, side, ref, why, survivor.store)
    return adoption(draft, origin, ref, survivor.ref, f"{why} while it was copied")


def _order(survivor: Survivor) -> tuple[RefKey, RefKey]:
    return ref_key(survivor.gone), ref_key(survivor.ref)
