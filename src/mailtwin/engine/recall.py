"""What a side held when a mailbox was last worked on, as the state tells it again: so that only what changed since is
asked for.

A server that forgets to tell of a change of flags is believed for a while only: after a week, or a hundred runs in
which the mailbox had changed, it is listed whole all the same; so it is when a person wants it (`Pair.full`).
"""

from __future__ import annotations

from mailtwin.engine.pair import Pair
from mailtwin.model import Listing, MailboxName, Side
from mailtwin.planner import Base
from mailtwin.state import SaveSnapshot, Snapshot, State
from mailtwin.stores.base import Observation

WHOLE_AFTER_S = 7 * 24 * 3600.0
"""After so long at the latest a mailbox is listed whole, in seconds by the clock for deadlines."""

WHOLE_AFTER_RUNS = 100
"""After so many runs that only asked what had changed: as one in a hundred costs next to nothing."""


def recall(pair: Pair, state: State, name: MailboxName, base: Base, side: Side) -> Observation | None:
    """What `side` was last seen to hold, exactly; None when it is not known or has to be listed whole.

    `base`: what the state holds of the mailbox now. Raises StateError and StorageError.
    """
    if pair.full:
        return None
    snapshot, sighting = state.snapshot(name, side), state.sighting(name, side)
    if snapshot is None or sighting is None or sighting.changed >= WHOLE_AFTER_RUNS:
        return None
    cursor = pair.unseal(name, snapshot.cursor)
    if cursor is None or state.steady_now() - sighting.whole >= WHOLE_AFTER_S:
        return None
    listing = Listing(snapshot.listing(base.links), validity=base.validity(side) or "")
    return Observation(listing, cursor, sighting.location)


def remember(
    pair: Pair, name: MailboxName, side: Side, seen: Observation, base: Base, *, in_step: bool = True
) -> SaveSnapshot | None:
    """What `recall` is to tell again: `seen` beside the agreements of `base`; None without a cursor.

    `in_step`: nothing is left to do in the mailbox, and it need not be opened as long as the cursor stays.
    """
    if seen.cursor is None:
        return None
    cursor = pair.seal(name, seen.cursor, in_step=in_step)
    return SaveSnapshot(Snapshot.of(side, cursor, seen.listing.flags, base.links))
