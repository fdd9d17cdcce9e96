"""The last look before anything is removed: what may go at once, what is looked at again, and what is held back.

    planned -> few and plausible: removed
            -> else: the mailbox is left until all others were worked on, both sides that lack messages are connected
               anew, and it is observed again. What both looks lack and nothing speaks against is removed.
               What the judge (`guards`) does not believe is held back, durably, until a person approves exactly that.

A short answer that says OK is seldom short in the same way twice. What is approved is let through, what is planned
beyond it is judged by itself; an approval ends when its removals happened or are not planned any more. A message that
this very run found in another mailbox was moved, not lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from mailtwin.engine.guards import (
    NAMED_MAX,
    REMOVALS_UNGUARDED,
    Evidence,
    PairTotal,
    Sign,
    explain,
    judge,
    refusal,
)
from mailtwin.engine.known import Known
from mailtwin.errors import GuardError, MailboxError
from mailtwin.model import Listing, MailboxName, Ref, Side
from mailtwin.planner import Base, Remove
from mailtwin.state import Change, DropHeld, HeldRemovals, HoldRemovals, Note, Sighting, State

LOOKED_AT_ONCE = 3
"""So many removals in a mailbox need no second look."""

ARRIVALS_MAX = 100_000
"""So many messages that a run copied are compared with those that are missing."""

End = tuple[Side, Ref]
Arrival = tuple[MailboxName, str]
"""A mailbox and a Message-ID."""


class NeedsSecondLook(Exception):
    """Removals that are not believed yet: `looked`, what one look would remove; `unapproved`, those of them that nobody
    approved."""

    def __init__(self, looked: frozenset[End], unapproved: frozenset[End]) -> None:
        super().__init__(len(looked))
        self.looked = looked
        self.unapproved = unapproved


@dataclass(slots=True)
class Budget:
    """What one run removes at one look in all its mailboxes; when it is used up, everything is looked at twice."""

    left: int = REMOVALS_UNGUARDED
    spent: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(Side, 0))

    def spend(self, operations: Iterable[Remove], *, disposable: bool) -> None:
        """Notes removals that are about to happen; what was thrown away anyway is no loss of the pair."""
        for operation in operations:
            self.left -= 1
            self.spent[operation.side] += not disposable


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What the first look would have removed, those messages of it that were `moved` to another mailbox, and what all
    mailboxes together would lose, by side."""

    looked: frozenset[End]
    pair: Mapping[Side, PairTotal]
    moved: frozenset[End] = frozenset()


@dataclass(slots=True)
class Gate:
    """Lets the removals of one mailbox through, or does not. `look` is None at the first look; `disposable`: see
    `Evidence`."""

    state: State
    name: MailboxName
    budget: Budget
    look: SecondLook | None = None
    disposable: bool = False
    _compared: bool = False

    def anew(self) -> Gate:
        """The same gate for another attempt at the mailbox."""
        return replace(self, _compared=False)

    def admit(self, base: Base, known: Known, operations: Sequence[Remove]) -> list[Remove]:
        """Those of the planned removals that may be done now; never none.

        Raises NeedsSecondLook, GuardError for what is held back (that is durable then), MailboxError when both looks
        differ. At the first look nothing is written.
        """
        case = Case.of(self.state, self.name, base, known, operations, self.look, disposable=self.disposable)
        if self.look is None:
            return self._at_first_look(case)
        self._compare(case, self.look.looked)
        self._compared = True
        self.state.commit(self.name, case.forgotten())
        admitted = [op for op in operations if case.is_let_through(op)]
        if not admitted:
            raise self._hold(case)
        return admitted

    def end(self, planned: AbstractSet[Side]) -> list[Change]:
        """What is written when nothing more is to be removed: holds end on the sides on which nothing is `planned`."""
        changes: list[Change] = [
            DropHeld(one.side) for one in self.state.held(self.name) if one.side not in planned
        ]
        if self.look is not None and not self._compared:
            count = len(self.look.looked)
            why = f"{count:,} messages were missing in one complete listing, and none of them in the next"
            changes.append(Note("look-again", None, None, why))
        return changes

    def _at_first_look(self, case: Case) -> list[Remove]:
        linked = case.linked
        if len(linked) > min(LOOKED_AT_ONCE, self.budget.left) or any(case.signs.values()):
            unapproved = frozenset((side, ref) for side, found in case.evidence.items() for ref in found.refs)
            raise NeedsSecondLook(frozenset((op.side, op.ref) for op in linked), unapproved)
        self.budget.spend(linked, disposable=self.disposable)
        return list(case.operations)

    def _compare(self, case: Case, looked: frozenset[End]) -> None:
        """What is missing at one look only is no removal, and nothing else in that listing is believed."""
        now = frozenset((op.side, op.ref) for op in case.linked)
        new = now - looked
        back = case.which_are_back(looked - now)
        if new or back:
            raise MailboxError(
                f"{self.name}: two complete looks at it differ: {len(back):,} messages that were missing at the first "
                f"are there at the second, {len(new):,} are missing since. Nothing of that was removed.",
                hint="run again; a server that does this each time gives short answers",
            )

    def _hold(self, case: Case) -> GuardError:
        """Holds back everything that is left, durably; returns the error that says so."""
        changes: list[Change] = []
        errors = []
        for side, found in case.evidence.items():
            held, error = withhold(self.state, self.name, case.base, found)
            changes += hold(case.held.get(side), held)
            errors.append(error)
        self.state.commit(self.name, changes)
        return errors[0]


@dataclass(frozen=True, slots=True)
class Case:
    """Planned removals of one mailbox, what is known about those that need a reason, and the signs against them.

    None is needed for what was `excused`: it was approved, or moved to another mailbox.
    """

    operations: Sequence[Remove]
    base: Base
    known: Known
    held: Mapping[Side, HeldRemovals]
    excused: frozenset[End]
    evidence: Mapping[Side, Evidence]
    signs: Mapping[Side, Mapping[Sign, str]]

    @classmethod
    def of(
        cls,
        state: State | None,
        name: MailboxName,
        base: Base,
        known: Known,
        operations: Sequence[Remove],
        look: SecondLook | None = None,
        *,
        disposable: bool = False,
    ) -> Case:
        """The case of these removals. Raises StateError and StorageError."""
        found = [] if state is None else state.held(name)
        held = {one.side: one for one in found if not one.whole and one.validity == base.validity(one.side)}
        excused = frozenset((one.side, ref) for one in held.values() for ref in one.approved)
        excused |= look.moved if look is not None else frozenset()
        evidence = {}
        for side in Side:
            own = [op.ref for op in operations if op.side is side and op.link is not None]
            refs = [ref for ref in own if (side, ref) not in excused]
            if refs:
                sighting = None if state is None else state.sighting(name, side.other)
                known_of = _evidence(sighting, base, known, side, refs, excused)
                total = look.pair[side] if look is not None else PairTotal()
                evidence[side] = replace(known_of, pair=total, disposable=disposable)
        signs = {side: judge(each) for side, each in evidence.items()}
        return cls(operations, base, known, held, excused, evidence, signs)

    @property
    def linked(self) -> list[Remove]:
        """The removals of messages that the other side lacks; a person decided about all others one by one."""
        return [op for op in self.operations if op.link is not None]

    def is_let_through(self, operation: Remove) -> bool:
        """Whether a person wants this removal, or nothing speaks against it."""
        side = operation.side
        if operation.link is None or not self.signs.get(side):
            return True
        return (side, operation.ref) in self.excused

    def which_are_back(self, gone: frozenset[End]) -> list[End]:
        """Those of the messages whose twin, which was missing, is there."""
        return [
            (side, link.ref(side))
            for link in self.base.links
            for side in Side
            if (side, link.ref(side)) in gone and self.known.holds(side.other, link.ref(side.other))
        ]

    def forgotten(self) -> list[Change]:
        """The end of what was held back on a side on which nothing is removed any more."""
        planned = {op.side for op in self.linked}
        return [DropHeld(side) for side in self.held if side not in planned]


def _evidence(
    sighting: Sighting | None,
    base: Base,
    known: Known,
    side: Side,
    refs: Sequence[Ref],
    excused: frozenset[End],
) -> Evidence:
    here = known.observations[side].listing.flags
    there = known.observations[side.other]
    links = [link for link in base.links if link.ref(side) in here and (side, link.ref(side)) not in excused]
    gone = sum(1 for which, _ref in excused if which is side)
    missing = set(refs)
    twins = [link.ref(side.other) for link in links if link.ref(side) in missing]
    return Evidence(
        side=side,
        refs=tuple(refs),
        agreed=len(links),
        listed=len(there.listing.flags),
        listed_before=None if sighting is None else sighting.listed - gone,
        survivors=sum(link.ref(side.other) in there.listing.flags for link in links),
        only_oldest=_are_oldest(twins, there.listing),
        location=there.location,
        location_before="" if sighting is None else sighting.location,
    )


def _are_oldest(missing: Iterable[Ref], listing: Listing) -> bool:
    """Whether each of `missing` has a smaller UID than everything that is listed."""
    uids = [ref for ref in listing.flags if isinstance(ref, int)]
    edge = min(uids, default=0)
    return all(isinstance(ref, int) and ref < edge for ref in missing)


def withhold(state: State, name: MailboxName, base: Base, found: Evidence) -> tuple[HeldRemovals, GuardError]:
    """Removals that the judge does not believe: as the state keeps them, and the error that says so."""
    why = explain(found, judge(found).values())
    validity = base.validity(found.side) or ""
    held = HeldRemovals(name, found.side, validity, frozenset(found.refs), why, whole=found.whole)
    return held, refusal(name, why, name_messages(state, held, NAMED_MAX), len(found.refs))


def hold(before: HeldRemovals | None, held: HeldRemovals) -> list[Change]:
    """What is written of removals that are held back: nothing when it is known already."""
    if before is not None and replace(before, since=0.0) == held:
        return []
    return [HoldRemovals(held), Note("hold-removals", None, None, f"on {held.side.label}: {held.why}")]


def _names(state: State, name: MailboxName, ends: AbstractSet[End]) -> dict[End, str]:
    """The Message-IDs of messages in the present numbering, as far as the history tells them."""
    resets = state.history(mailbox=name, operation="reset", limit=1)
    since = max((line.number for line in resets), default=0)
    lines = state.message_ids(name, ends)
    return {(side, ref): message_id for number, side, ref, message_id in lines if number > since}


def message_ids(state: State, held: HeldRemovals, limit: int) -> list[tuple[Ref, str]]:
    """The first `limit` of the messages, each with its Message-ID as far as the history tells it ("": it does not)."""
    refs = sorted(held.refs, key=lambda ref: (isinstance(ref, str), ref))[:limit]
    known = _names(state, held.mailbox, {(held.side, ref) for ref in refs})
    return [(ref, known.get((held.side, ref), "")) for ref in refs]


def arrivals(state: State, run: int) -> list[Arrival]:
    """The messages that `run` copied, as far as they have a Message-ID."""
    lines = state.history(run=run, operation="copy", limit=ARRIVALS_MAX)
    return [(line.mailbox, line.message_id) for line in lines if line.message_id]


def find_moved(
    state: State, name: MailboxName, looked: AbstractSet[End], arrived: Iterable[Arrival]
) -> frozenset[End]:
    """Those of the messages, missing in `name`, that arrived in another mailbox: both sides hold them there."""
    elsewhere = {message_id for mailbox, message_id in arrived if mailbox != name}
    if not elsewhere:
        return frozenset()
    return frozenset(
        end for end, message_id in _names(state, name, looked).items() if message_id in elsewhere
    )


def name_messages(state: State, held: HeldRemovals, limit: int) -> list[str]:
    """The same in words: a message as its store knows it, and its Message-ID."""
    named = message_ids(state, held, limit)
    return [f"{f'UID {ref}' if isinstance(ref, int) else ref} {who}".rstrip() for ref, who in named]
