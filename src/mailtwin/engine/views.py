"""Mailboxes that hold no mail of their own: they show messages of other mailboxes again (all, flagged, important).

Kept in step beside the others, each message would be copied once more for each of them. So they take part only if they
are included by their very name.
"""

from __future__ import annotations

from mailtwin.engine.pair import Pair
from mailtwin.model import MailboxName, Side
from mailtwin.stores.base import MailboxList

VIEWS = frozenset({"\\All", "\\Flagged", "\\Important"})
"""Special uses of such mailboxes (RFC 6154, section 2; RFC 8457)."""


def views_in(pair: Pair, lists: tuple[MailboxList, MailboxList]) -> frozenset[MailboxName]:
    """The left names of those that take no part: what is a view on one side is not filled from the other either."""
    found = {name for name, info in lists[Side.LEFT].mailboxes.items() if info.special_use in VIEWS}
    found |= {
        pair.names.to_left(name)
        for name, info in lists[Side.RIGHT].mailboxes.items()
        if info.special_use in VIEWS
    }
    return frozenset(name for name in found if not pair.is_named(name))
