"""Deliberate design mistakes, each a small lie told to the sound planner or a step that the executor leaves out.

The planner that is shipped knows nothing of them: what it is shown is falsified, or what it decided is rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from tests.planner.model.world import F, G

from mailtwin.model import Listing, Side, make_flags
from mailtwin.planner import Adopt, Attempt, Base, Operation, StoreFlags
from mailtwin.planner.merge import merge_flags


class Mistake(Enum):
    """The first ten are those of ARCHITECTURE.md; the others were found on the way."""

    NO_COVERAGE = auto()
    """A listing that broke off is taken for a complete one."""
    BLIND_COPY = auto()
    """Copies are made towards a side that was not fully seen (absence is still judged honestly)."""
    NO_STORE_INTENT = auto()
    """Flags are stored without an intent."""
    ADOPT_AS_SEEN = auto()
    """A copy that is found is linked with the flags it has now instead of those it was sent with."""
    EARLY_BASE = auto()
    """A change of flags on one side advances the agreement to the full merge before the other side followed."""
    KEEP_INTENTS = auto()
    """A new store intent does not replace the older one of the same link. (A new *copy* intent cannot meet an older one
    in our protocol: a message under an intent is not copied again before that intent is dropped.)"""
    ABSOLUTE_STORE = auto()
    """Flags are set to the wanted set instead of being added and removed."""
    COMMIT_FIRST = auto()
    """The agreement is made durable before the effect. (Our protocol commits nothing for a STORE or a removal at all;
    the mistake is to do so, first.)"""
    NO_JOURNAL = auto()
    """Copies are made without intents; an interrupted one is found as a message of equal identity."""
    NO_JOURNAL_NO_IDENTITY = auto()
    """Copies are made without intents, and equal messages are not paired either."""
    NO_SETTLE = auto()
    """An interrupted copy is given up as soon as a listing does not show it, while it may still arrive."""
    NO_FENCE = auto()
    """After a crash flags are looked at while a STORE of the crashed process may still take effect."""
    RESET_IN_FLIGHT = auto()
    """A new UIDVALIDITY drops the intents of copies that may still arrive."""
    FRESH_IN_WINDOW = auto()
    """While an intent waits for a full listing, what may be its copy is taken for new mail."""
    FORGET_STRAGGLERS = auto()
    """A copy that was waited for and given up is forgotten, as if it could not arrive any more."""
    COPY_RETURNED = auto()
    """A message that went and came back is new mail, and its former twin one that was removed on the other side."""
    NO_REMOVE_INTENT = auto()
    """Messages are removed without an intent; what our removal took away is taken for a person's wish."""
    RESET_FORGETS_REMOVALS = auto()
    """A new UIDVALIDITY on one side forgets the removals that were begun on the other one."""


Mistakes = frozenset[Mistake]


@dataclass(frozen=True, slots=True)
class BlindListing(Listing):
    """A listing that claims to be complete and yet proves no absence outside what it covers."""

    complete = property(lambda _self: True)


def falsified(mistakes: Mistakes, side: Side, listing: Listing) -> Listing:
    """The listing as a planner with these mistakes would read it."""
    if Mistake.NO_COVERAGE in mistakes:
        listing = replace(listing, coverage=None)
    if Mistake.BLIND_COPY in mistakes:
        fields = (listing.validity, listing.coverage, listing.uid_next, listing.identities)
        listing = BlindListing(listing.flags, *fields)
    if Mistake.NO_JOURNAL_NO_IDENTITY in mistakes:
        own = {ref: replace(each, headers=f"{side.label} {ref}") for ref, each in listing.identities.items()}
        listing = replace(listing, identities=own)
    return listing


def disguised(mistakes: Mistakes, base: Base, side: Side, listing: Listing) -> Listing:
    """The listing as a planner with these mistakes would compare it with what was seen on the other side."""
    if Mistake.COPY_RETURNED not in mistakes:
        return listing
    linked = {link.ref(side) for link in base.links}
    known = listing.identities.items()
    own = {ref: replace(who, headers=f"linked {who.headers}") if ref in linked else who for ref, who in known}
    return replace(listing, identities=own)


def falsified_base(mistakes: Mistakes, base: Base, seen: tuple[Listing, Listing]) -> Base:
    """What is known as a planner with these mistakes would read it."""
    copies = base.copies
    renumbered = any(base.validity(side) != seen[side].validity for side in Side)
    if Mistake.NO_SETTLE in mistakes or (Mistake.RESET_IN_FLIGHT in mistakes and renumbered):
        copies = [replace(intent, attempt=Attempt.ANSWERED) for intent in copies]
    if Mistake.FRESH_IN_WINDOW in mistakes:
        copies = [intent for intent in copies if seen[intent.source.other].complete]
    return base if copies is base.copies else replace(base, copies=copies)


def rewritten(mistakes: Mistakes, operation: Operation, seen: tuple[Listing, Listing]) -> Operation:
    """The operation as a planner with these mistakes would have decided."""
    match operation:
        case Adopt(left, right, intent=intent) if intent is not None and Mistake.ADOPT_AS_SEEN in mistakes:
            side = intent.source.other
            return replace(operation, flags=seen[side].flags[left if side is Side.LEFT else right])
        case StoreFlags(link=link) if Mistake.EARLY_BASE in mistakes:
            shown = (seen[Side.LEFT].flags[link.left], seen[Side.RIGHT].flags[link.right])
            return replace(operation, result=make_flags(merge_flags(link.flags, *shown)))
        case StoreFlags(link=link, side=side) if Mistake.ABSOLUTE_STORE in mistakes:
            wanted = (seen[side].flags[link.ref(side)] | operation.add) - operation.remove
            return replace(operation, add=make_flags(wanted), remove=make_flags((F | G) - wanted))
        case _:
            return operation
