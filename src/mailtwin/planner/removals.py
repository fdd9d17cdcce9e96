"""What the removals prove that we began ourselves: nothing about what a person wants.

A message is removed because its twin is gone, and its twin is removed when it is gone: so what our own removal took
away must never be taken for a person's wish. Seldom is there anything left that could follow it. But between the
listing that condemned it and the moment when it goes, which may be minutes (it is kept first) or, when the connection
was lost or the process died after the command was sent, any time later:

* what was gone may be there again: under another ref, and the survivor is linked with that (`returned`); or, in a
  Maildir, under its old name. Then the removal takes effect, and what came back would be the next to go.
* the other side's numbering may change: everything is paired anew, this message with what came back.
* the survivor's flags may change, and a policy may want it copied back because of that.

Therefore a removal is written down before its effect is attempted (`RemoveIntent`), and a message that goes after that
takes nothing with it: its agreement ends, and its twin is copied anew. This holds in every order of events, needs no
pause, and no trust that what was sent has taken effect by now. It costs a body that travels when it need not; and when
a removal that was begun never took effect, the message got a new twin, and a person removes it within a day or two, it
comes back once. Waiting instead (leave the connection, pause, look again) would not cost that, and would lose a message
when a server that was suspended wakes up later. Not to pair such a survivor at all (copy what came back, remove the
survivor) would lose nothing either, but double it when a new numbering falls between the two.

What was begun says nothing any more when its message is gone and nobody speaks of it; when the numbering is another
one, under which its command cannot take effect; and after a time in which no server still executes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtwin.model import Listing, Ref, Side
from mailtwin.planner.operations import Base, RemoveIntent


def begun_removals(base: Base, listings: Sequence[Listing]) -> frozenset[tuple[Side, Ref]]:
    """The messages whose removal was begun, in the numberings of `listings` (left and right)."""
    return frozenset(
        (each.side, each.ref) for each in base.removals if each.validity == listings[each.side].validity
    )


def ended_removals(base: Base, listings: Sequence[Listing], oldest: float) -> list[RemoveIntent]:
    """The removals that say nothing any more, on the grounds of `listings` (left and right).

    `oldest`: one that began before this (in the seconds of `RemoveIntent.began`), and whose message is there, will not
    take effect any more.
    """
    if not base.removals:
        return []
    spoken_of = {(side, link.ref(side)) for link in base.links for side in Side}
    spoken_of |= {(copy.source, copy.ref) for copy in base.copies}

    def has_ended(intent: RemoveIntent) -> bool:
        listing = listings[intent.side]
        if listing.validity != intent.validity:
            return bool(listing.validity) or listing.complete
        if intent.ref in listing.flags:
            return intent.began < oldest
        return listing.lacks(intent.ref) and (intent.side, intent.ref) not in spoken_of

    return [intent for intent in base.removals if has_ended(intent)]
