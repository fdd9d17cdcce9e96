"""The cheapest look that can prove a mailbox in step: whatever did not move is taken from the state, not listed again.

Both cursors unmoved: nothing is opened. One of them unmoved: only the other side is listed (a Maildir that changed a
moment ago cannot tell yet, and listing it costs no round trip), and compared with what the unmoved side held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailtwin.engine.backlog import Backlog, is_due
from mailtwin.engine.known import count_forgotten, in_pair, sighting_of
from mailtwin.engine.pair import Pair
from mailtwin.engine.recall import recall, remember
from mailtwin.model import Listing, MailboxName, Side
from mailtwin.planner import plan_messages
from mailtwin.state import (
    Change,
    DropHeld,
    MailboxRecord,
    SaveSighting,
    State,
    Uncopied,
)
from mailtwin.stores.base import MailboxList


@dataclass(frozen=True, slots=True)
class Glance:
    """What the lists alone tell of one twinned mailbox. `unmoved`: the sides whose cursor is the saved one."""

    name: MailboxName
    unmoved: frozenset[Side]

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing has to be opened."""
        return len(self.unmoved) == len(Side)


def glance(
    pair: Pair,
    record: MailboxRecord | None,
    lists: tuple[MailboxList, MailboxList],
    name: MailboxName,
    uncopied: Iterable[Uncopied] = (),
) -> Glance:
    """Compares the listed cursors with those of the moment when nothing was left to do but for what is `uncopied`.

    With an open intent, or a message that is to be tried again, nothing is taken for unmoved; nor when everything is
    to be listed.
    """
    if pair.full or record is None or record.intents or any(is_due(pair, one) for one in uncopied):
        return Glance(name, frozenset())
    unmoved = set()
    for side in Side:
        info = lists[side].mailboxes.get(pair.name_on(side, name))
        cursor = info.cursor if info is not None else None
        if cursor is not None and pair.seal(name, cursor) == record.cursor(side):
            unmoved.add(side)
    return Glance(name, frozenset(unmoved))


async def is_still_in_step(pair: Pair, state: State, found: Glance) -> bool:
    """Whether a look at the one side that may have moved shows that nothing is left to do.

    Raises what opening and listing that side raises.
    """
    if len(found.unmoved) != 1:
        return False
    (resting,) = found.unmoved
    name, moved = found.name, resting.other
    unmoved = state.snapshot(name, resting)
    if unmoved is None:
        return False
    base = state.base(name)
    backlog = Backlog.of(pair, name, state.uncopied(name, suspects=True), set(), 0)
    since = recall(pair, state, name, base, moved)
    async with pair.store(moved).open(pair.name_on(moved, name)) as mailbox:
        observed = in_pair(name, mailbox.name, await mailbox.observe(since))
        changed = await backlog.look(moved, mailbox)
    rested = Listing(unmoved.listing(base.links), validity=base.validity(resting) or "")
    left, right = (rested, observed.listing) if resting is Side.LEFT else (observed.listing, rested)
    plan = plan_messages(base, left, right, pair.policy, backlog.aside((left, right)))
    changed += backlog.tidy((left, right), base)
    doubtful = not observed.listing.complete or count_forgotten(base, moved, observed.listing)
    if plan or plan.unresolved() or doubtful or changed:
        return False
    changes: list[Change] = [DropHeld(one.side) for one in state.held(name)]
    snapshot, sighting = remember(pair, name, moved, observed, base), sighting_of(observed)
    if snapshot is not None:
        changes.append(snapshot)
    if snapshot is not None or sighting != state.sighting(name, moved):
        changes.append(SaveSighting(moved, sighting, observed.whole))
    state.commit(name, changes)
    return True
