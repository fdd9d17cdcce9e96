"""The decision about one mailbox: what was observed goes in, a sorted plan comes out.

Pure and total: no clock, no randomness, no order but the sorted one. The rules are the table in ARCHITECTURE.md; each
part of it is a module of its own. Read next, in the order of the data: `links`, `begun`, `stragglers`, `returned`,
`fresh`.
"""

from __future__ import annotations

from mailtwin.model import Listing, Ref, Side
from mailtwin.planner.begun import plan_begun_copies
from mailtwin.planner.draft import Draft
from mailtwin.planner.fresh import plan_fresh
from mailtwin.planner.links import plan_links
from mailtwin.planner.operations import Abandon, Attempt, Base, Plan, Policy, Reset, Settle
from mailtwin.planner.returned import plan_returned
from mailtwin.planner.stragglers import plan_held, straggler_of


def plan_messages(
    base: Base,
    left: Listing,
    right: Listing,
    policy: Policy,
    aside: frozenset[tuple[Side, Ref]] = frozenset(),
) -> Plan:
    """What to do about one mailbox, given what is known and what both sides were just seen to hold.

    `base`: at most one link and one store intent for each message, at most one copy intent for each source message;
    any number of stragglers.
    `aside`: messages that failed in this run and are not copied; they are still somebody's twin. Raises nothing.

    Execute the plan's first phase only, then observe and plan again. An empty plan means: nothing to do on these
    grounds.
    """
    draft = Draft(base, (left, right), policy, aside)
    if _plan_resets(draft):
        return draft.plan()
    plan_links(draft)
    plan_begun_copies(draft)
    plan_held(draft)
    if plan_returned(draft):
        plan_fresh(draft)
    return draft.plan()


def _plan_resets(draft: Draft) -> bool:
    """Plans nothing but a new beginning when a numbering changed; returns whether one did."""
    changed = [side for side in Side if _is_renumbered(draft, side)]
    in_the_air = [intent for intent in draft.base.copies if not intent.finished]
    if changed and in_the_air:
        # A reset drops the intents; a copy that arrived afterwards would be nobody's, and copied a second time.
        for intent in in_the_air:
            draft.add(Settle(intent, "it must not arrive after the mailbox was paired anew"))
        return True
    waited_for = [intent for intent in draft.base.copies if intent.attempt is Attempt.WAITED]
    if changed and waited_for:
        for intent in waited_for:
            draft.add(Abandon(intent, "the mailbox is paired anew", straggler_of(intent, intent.identity)))
        return True
    for side in changed:
        old, new = draft.base.validity(side), draft.listings[side].validity
        draft.add(Reset(side, old or "", new, f"the numbering on {side.label} changed"))
    return bool(changed)


def _is_renumbered(draft: Draft, side: Side) -> bool:
    known, listing = draft.base.validity(side), draft.listings[side]
    # A listing that broke off before it told its numbering proves nothing.
    told = bool(listing.validity) or listing.complete
    return told and known is not None and known != listing.validity
