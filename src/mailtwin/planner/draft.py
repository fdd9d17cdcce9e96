"""A plan in the making: the planner's arguments, and what its parts have decided so far.

Used inside one call of `plan_messages`; nothing of it leaves the planner but the finished `Plan`.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailtwin.model import Flags, Listing, Ref, Side, Vocabulary
from mailtwin.model.flags import DELETED
from mailtwin.planner.merge import shared_flags
from mailtwin.planner.operations import (
    PHASES,
    Abandon,
    Adopt,
    Base,
    Copy,
    Forget,
    Hold,
    Identify,
    Operation,
    Phase,
    Plan,
    Policy,
    Record,
    Remove,
    Reset,
    Settle,
    StoreFlags,
    Unresolved,
    Wait,
)

RefKey = tuple[int, str]


def ref_key(ref: Ref) -> RefKey:
    """Refs in order: UIDs by number, names by character."""
    return (ref, "") if isinstance(ref, int) else (0, ref)


class Draft:
    """The arguments of one planning, and its outcome so far.

    `unlinked`: on each side the messages without an agreement, in order. `taken`: those of them that an open intent
    speaks for, so that they are not fresh. `unasked`: the messages that must be identified before more can be said.
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
        self.unasked: tuple[set[Ref], set[Ref]] = (set(), set())
        self._unlinked_sets: dict[Side, frozenset[Ref]] = {}

    def is_linked(self, side: Side, ref: Ref) -> bool:
        """Whether the message `ref`, seen on `side`, has an agreement. Meaningful once the links were planned."""
        if side not in self._unlinked_sets:
            self._unlinked_sets[side] = frozenset(self.unlinked[side])
        return ref not in self._unlinked_sets[side]

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
        case Record(link=link) | Forget(link=link):
            return Side.LEFT, link.left
        case Identify(side=side, refs=refs):
            return side, refs[0]
        case Settle(intent=intent) | Abandon(intent=intent) | Unresolved(intent=intent):
            return intent.source, intent.ref
        case Hold(straggler=straggler):
            return straggler.source, straggler.ref
        case Reset(side=side):
            return side, 0
