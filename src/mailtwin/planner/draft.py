"""A plan in the making: the planner's arguments, and what its parts have decided so far.

Used inside one call of `plan_messages`; nothing of it leaves the planner but the finished `Plan`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailtwin.model import Flags, Identity, Listing, Ref, Side, Vocabulary
from mailtwin.model.flags import DELETED
from mailtwin.planner.merge import shared_flags
from mailtwin.planner.operations import (
    PHASES,
    Abandon,
    Adopt,
    Base,
    Copy,
    CopyIntent,
    Forget,
    Hold,
    Identify,
    Link,
    Operation,
    Phase,
    Plan,
    Policy,
    Record,
    Relink,
    Removals,
    Remove,
    Reset,
    Settle,
    StoreFlags,
    StoreIntent,
    Unresolved,
    Wait,
)
from mailtwin.planner.removals import begun_removals

RefKey = tuple[int, str]

KEPT_ASKED_MAX = 1_000
"""So many messages that a policy keeps without a twin are asked who they are, the newest ones.

They stay without one for ever and would all be asked again whenever something new arrives. Under the other policies
every survivor is asked, once: what follows for each (a removal after it was fetched whole, a search for its twin) costs
more than its headers.
"""


def ref_key(ref: Ref) -> RefKey:
    """Refs in order: UIDs by number, names by character."""
    return (ref, "") if isinstance(ref, int) else (0, ref)


@dataclass(frozen=True, slots=True)
class Survivor:
    """The message `ref` on `side`, whose twin `gone` was taken out of the other side's mailbox.

    `origin` tells that they were twins: an agreement, with the change of flags that was begun on it (`store`), or a
    copy that was found and not agreed on yet. `otherwise`: what is decided unless the twin came back under another ref.
    """

    side: Side
    ref: Ref
    gone: Ref
    origin: Link | CopyIntent
    otherwise: Operation | None
    store: StoreIntent | None = None

    def identity(self, listing: Listing) -> Identity | None:
        """Who it is, as far as that was asked; `listing` is that of its side. Of a copy what was sent counts, for a
        server may have rendered it anew."""
        sent = self.origin.identity if isinstance(self.origin, CopyIntent) else None
        return sent or listing.identities.get(self.ref)


class Draft:
    """The arguments of one planning, and its outcome so far.

    `unlinked`: on each side the messages without an agreement, in order. `taken`: those of them that an open intent
    speaks for, so that they are not fresh. `survivors`: the messages whose twin is gone, undecided as yet. `unasked`:
    the messages that must be identified before more can be said.
    """

    def __init__(
        self,
        base: Base,
        listings: tuple[Listing, Listing],
        policy: Policy,
        aside: frozenset[tuple[Side, Ref]],
    ) -> None:
        self.base = base
        self.listings = listings
        self.policy = policy
        self.aside = aside
        self.operations: list[Operation] = []
        self.unlinked: tuple[list[Ref], list[Ref]] = ([], [])
        self.taken: tuple[set[Ref], set[Ref]] = (set(), set())
        self.survivors: list[Survivor] = []
        self.unasked: tuple[set[Ref], set[Ref]] = (set(), set())
        self._unlinked_sets: dict[Side, frozenset[Ref]] = {}
        self._ours = begun_removals(base, listings)

    def is_linked(self, side: Side, ref: Ref) -> bool:
        """Whether the message `ref`, seen on `side`, has an agreement. Meaningful once the links were planned."""
        if side not in self._unlinked_sets:
            self._unlinked_sets[side] = frozenset(self.unlinked[side])
        return ref not in self._unlinked_sets[side]

    def may_be_our_doing(self, side: Side, gone: Ref) -> bool:
        """Whether `gone` may have gone from `side` by a removal that we began: see `removals`."""
        return (side, gone) in self._ours

    def fresh(self, side: Side) -> list[Ref]:
        """The messages on `side` that nothing speaks for and that can be identified, in order."""
        taken, nameless = self.taken[side], self.listings[side].nameless
        return [ref for ref in self.unlinked[side] if ref not in taken and ref not in nameless]

    def is_unasked(self, side: Side, ref: Ref) -> bool:
        """Whether it is not known yet who the message is, nor that nobody can tell."""
        listing = self.listings[side]
        return ref not in listing.identities and ref not in listing.nameless

    def ask_survivors(self, side: Side) -> bool:
        """Asks who those messages on `side` are whose twin is gone; whether there are any that were not asked yet."""
        asked = [each for each in self.survivors if each.side is side]
        if self.policy.removals is Removals.KEEP:
            asked = sorted(asked, key=lambda each: ref_key(each.ref))[-KEPT_ASKED_MAX:]
        there = self.listings[side]
        refs = [e.ref for e in asked if e.identity(there) is None and self.is_unasked(side, e.ref)]
        self.identify(side, refs)
        return bool(refs)

    def add(self, operation: Operation) -> None:
        """One more decision."""
        self.operations.append(operation)

    def identify(self, side: Side, refs: Iterable[Ref]) -> None:
        """These must be identified first."""
        self.unasked[side].update(refs)

    @property
    def vocabularies(self) -> tuple[Vocabulary, Vocabulary]:
        """The flags that each side can hold."""
        left, right = self.listings
        return left.vocabulary, right.vocabulary

    def flags_win(self, side: Side, agreed: Flags, seen: Flags) -> bool:
        """Whether a message that only `side` still holds is copied back because its flags changed there.

        Where the other side may not be changed there is nothing to copy back to, and the removal stands.
        """
        may_return = self.policy.flag_change_beats_removal and self.policy.direction.may_change(side.other)
        # Nobody marks a message as deleted to have it back; a removal of ours that broke off leaves such a mark.
        before, after = (shared_flags(flags, self.vocabularies) - {DELETED} for flags in (agreed, seen))
        return may_return and before != after

    def plan(self) -> Plan:
        """All decisions, sorted by phase, side and message."""
        for side in Side:
            refs = tuple(sorted(self.unasked[side], key=ref_key))
            if refs:
                self.add(Identify(side, refs, "may be the same message as one on the other side"))
        return Plan(tuple(sorted(self.operations, key=_place)))


def _place(operation: Operation) -> tuple[Phase, Side, RefKey]:
    side, ref = _subject(operation)
    return PHASES[type(operation)], side, ref_key(ref)


def _subject(operation: Operation) -> tuple[Side, Ref]:
    """The side and the message that an operation is sorted by."""
    match operation:
        case Copy(source=side, ref=ref) | Wait(source=side, ref=ref) | Remove(side=side, ref=ref):
            return side, ref
        case Adopt(left=ref):
            return Side.LEFT, ref
        case StoreFlags(link=link, side=side):
            return side, link.ref(side)
        case Record(link=link) | Forget(link=link) | Relink(link=link):
            return Side.LEFT, link.left
        case Identify(side=side, refs=refs):
            return side, refs[0]
        case Settle(intent=intent) | Abandon(intent=intent) | Unresolved(intent=intent):
            return intent.source, intent.ref
        case Hold(straggler=straggler):
            return straggler.source, straggler.ref
        case Reset(side=side):
            return side, 0
