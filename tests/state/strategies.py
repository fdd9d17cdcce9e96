"""Random changes, and a model of the state in dictionaries that says what they should do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from mailtwin.model import INBOX, Flags, Identity, Ref, Side, make_flags
from mailtwin.planner.operations import (
    Attempt,
    Base,
    CopyIntent,
    Link,
    RemoveIntent,
    StoreIntent,
    Straggler,
    Verdict,
)
from mailtwin.state import (
    AddCopy,
    AddLink,
    AddRemoval,
    AddStore,
    AddStraggler,
    Change,
    DropCopy,
    DropHeld,
    DropLink,
    DropRemoval,
    DropSnapshot,
    DropStore,
    DropStraggler,
    DropUncopied,
    EndAttempt,
    ForgetAll,
    HeldRemovals,
    HoldRemovals,
    Note,
    Obstacle,
    ReplaceStraggler,
    SaveSighting,
    SaveSnapshot,
    SaveUncopied,
    SetFlags,
    SetValidity,
    Sighting,
    Snapshot,
    Uncopied,
)

# 7 and "7", names in old encodings and odd characters must stay apart; few of them, so that changes meet.
REFS: st.SearchStrategy[Ref] = st.sampled_from(
    [1, 7, 2**32 - 1, "7", "a.b,c=1", "\udce4\udcff", "\0", "Grüße", "\ud800x"]
)
FLAGS: st.SearchStrategy[Flags] = st.frozensets(
    st.sampled_from(["\\Seen", "\\Flagged", "$Forwarded", "work", "\xa0odd\x85", "\udce4"]), max_size=3
).map(make_flags)
SIDES = st.sampled_from(list(Side))
TEXTS = st.text(st.characters(), max_size=8)
LINKS = st.builds(Link, REFS, REFS, FLAGS)
COPIES = st.builds(
    CopyIntent,
    source=SIDES,
    ref=REFS,
    flags=FLAGS,
    validity=st.sampled_from(["", "1", "4294967295"]),
    target=st.none() | REFS,
    floor=st.none() | st.integers(1, 2**32 - 1),
    identity=st.none() | st.builds(Identity, st.just("abc"), st.just("size:1"), st.booleans()),
    attempt=st.sampled_from(Attempt),
)
STRAGGLERS = st.builds(
    Straggler,
    source=SIDES,
    ref=REFS,
    flags=FLAGS,
    validity=st.sampled_from(["1", "2"]),
    floor=st.integers(0, 2),
    identity=st.builds(Identity, st.just("abc"), st.just("size:1"), st.booleans()),
    found=st.none() | REFS,
    verdict=st.sampled_from(Verdict),
)
STORES = st.builds(StoreIntent, left=REFS, right=REFS, side=SIDES, add=FLAGS, remove=FLAGS, result=FLAGS)
SNAPSHOTS = st.builds(
    Snapshot, SIDES, st.sampled_from(["", "c1", "c2"]), st.dictionaries(REFS, st.none() | FLAGS, max_size=3)
)
UNCOPIED = st.builds(
    Uncopied,
    mailbox=st.just(INBOX),
    side=SIDES,
    ref=REFS,
    reason=TEXTS,
    obstacle=st.sampled_from(Obstacle),
    due=st.none() | st.floats(0, 1e10),
    attempts=st.integers(0, 2**40),
    first=st.floats(0, 1e10),
    last=st.floats(0, 1e10),
    grounds=TEXTS,
    stamp=TEXTS,
    size=st.none() | st.integers(0, 2**40),
    message_id=TEXTS,
    identity=st.none() | st.builds(Identity, st.just("abc"), st.just("size:1"), st.booleans()),
    losses=st.integers(0, 2**40),
)
HELD = st.builds(
    HeldRemovals,
    mailbox=st.just(INBOX),
    side=SIDES,
    validity=st.just("1"),
    refs=st.frozensets(REFS, min_size=1),
    why=TEXTS,
    whole=st.booleans(),
    since=st.just(7.0),
).flatmap(lambda held: st.sampled_from([held, replace(held, approved=frozenset(list(held.refs)[:2]))]))
SIGHTINGS = st.builds(Sighting, st.integers(0, 2**40), st.sampled_from(["", "1:2"]))
NOTES = st.builds(Note, st.sampled_from(["copy", "remove"]), st.none() | REFS, st.none() | REFS, TEXTS, TEXTS)
REMOVALS = st.builds(RemoveIntent, SIDES, REFS, st.sampled_from(["1", "2"]))
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(AddLink, LINKS),
    st.builds(DropLink, LINKS),
    st.builds(SetFlags, LINKS, FLAGS),
    st.builds(AddCopy, COPIES, st.integers(0, 2**40), st.just("ab" * 32), TEXTS),
    st.builds(DropCopy, COPIES),
    st.builds(EndAttempt, COPIES, st.sampled_from(Attempt)),
    st.builds(AddStraggler, STRAGGLERS),
    st.builds(
        lambda old, found, verdict, validity: ReplaceStraggler(
            old, replace(old, found=found, verdict=verdict, validity=validity)
        ),
        STRAGGLERS,
        st.none() | REFS,
        st.sampled_from(Verdict),
        st.sampled_from(["1", "2"]),
    ),
    st.builds(DropStraggler, STRAGGLERS),
    st.builds(AddStore, STORES),
    st.builds(DropStore, REFS, REFS),
    st.builds(AddRemoval, REMOVALS),
    st.builds(DropRemoval, REMOVALS),
    st.just(ForgetAll()),
    st.builds(SetValidity, SIDES, st.sampled_from(["1", "2"])),
    st.builds(SaveSnapshot, SNAPSHOTS),
    st.builds(DropSnapshot, SIDES),
    st.builds(SaveUncopied, UNCOPIED),
    st.builds(DropUncopied, SIDES, REFS),
    st.builds(SaveSighting, SIDES, SIGHTINGS, st.booleans()),
    st.builds(HoldRemovals, HELD),
    st.builds(DropHeld, SIDES),
    NOTES,
)


class ContradictionError(Exception):
    """A ref would belong to two agreements."""


@dataclass
class Model:
    """What one mailbox should hold. Applied one by one, in the plainest way."""

    links: dict[tuple[Ref, Ref], Flags] = field(default_factory=dict)
    validities: dict[Side, str] = field(default_factory=dict)
    copies: dict[tuple[Side, Ref], AddCopy] = field(default_factory=dict)
    stores: dict[tuple[Ref, Ref], StoreIntent] = field(default_factory=dict)
    snapshots: dict[Side, Snapshot] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    stragglers: list[Straggler] = field(default_factory=list)
    uncopied: dict[tuple[Side, Ref], Uncopied] = field(default_factory=dict)
    sightings: dict[Side, Sighting] = field(default_factory=dict)
    held: dict[Side, HeldRemovals] = field(default_factory=dict)
    removals: set[RemoveIntent] = field(default_factory=set)
    renumbered: bool = False

    def copy(self) -> Model:
        return Model(
            dict(self.links),
            dict(self.validities),
            dict(self.copies),
            dict(self.stores),
            dict(self.snapshots),
            list(self.notes),
            list(self.stragglers),
            dict(self.uncopied),
            dict(self.sightings),
            dict(self.held),
            set(self.removals),
            self.renumbered,
        )

    def apply(self, changes: Iterable[Change]) -> Model:
        """The state after one commit. Raises ContradictionError."""
        after = self.copy()
        snapshots: list[Change] = []
        todo = list(changes)
        for at, change in enumerate(todo):
            if isinstance(change, SaveSnapshot | DropSnapshot):
                snapshots.append(change)
                continue
            if isinstance(change, ForgetAll):
                snapshots = []
                after.renumbered = self.renumbered or bool(self.links)
            try:
                after._one(change)
            except ContradictionError:
                # What is forgotten in the same commit contradicts nothing.
                if ForgetAll() not in todo[at:]:
                    raise
        for change in snapshots:
            after._one(change)
        return after

    def _one(self, change: Change) -> None:
        match change:
            case AddLink() | DropLink() | SetFlags():
                self._one_link(change)
            case AddCopy(intent):
                self.copies[intent.source, intent.ref] = change
            case DropCopy(intent):
                self.copies.pop((intent.source, intent.ref), None)
            case EndAttempt(intent, attempt):
                begun = self.copies.get((intent.source, intent.ref))
                if begun is not None:
                    ended = replace(begun.intent, attempt=attempt)
                    self.copies[intent.source, intent.ref] = replace(begun, intent=ended)
            case AddStraggler() | ReplaceStraggler() | DropStraggler():
                self._one_straggler(change)
            case AddStore() | DropStore() | AddRemoval() | DropRemoval():
                self._one_effect(change)
            case ForgetAll():
                self.links, self.copies, self.stores, self.snapshots = {}, {}, {}, {}
                self.uncopied, self.sightings, self.held = {}, {}, {}
            case SetValidity(side, validity):
                self.validities[side] = validity
            case SaveSnapshot(snapshot):
                self.snapshots[snapshot.side] = snapshot
            case DropSnapshot(side):
                self.snapshots.pop(side, None)
            case SaveSighting() | HoldRemovals() | DropHeld() | SaveUncopied() | DropUncopied():
                self._one_trouble(change)
            case Note():
                self.notes.append(change)

    def _one_effect(self, change: AddStore | DropStore | AddRemoval | DropRemoval) -> None:
        match change:
            case AddStore(store):
                self.stores[store.left, store.right] = store
            case DropStore(left, right):
                self.stores.pop((left, right), None)
            case AddRemoval(removal):
                self.removals.add(removal)
            case DropRemoval(removal):
                self.removals.discard(removal)

    def _one_trouble(
        self, change: SaveSighting | HoldRemovals | DropHeld | SaveUncopied | DropUncopied
    ) -> None:
        match change:
            case SaveSighting(side, sighting, whole):
                self.renumbered = False
                before = self.sightings.get(side, Sighting(0))
                counted = replace(sighting, whole=5.0) if whole else before
                changed = 0 if whole else before.changed + 1
                self.sightings[side] = replace(sighting, whole=counted.whole, changed=changed)
            case HoldRemovals(held):
                self.held[held.side] = held
            case DropHeld(side):
                self.held.pop(side, None)
            case SaveUncopied(one):
                self.uncopied[one.side, one.ref] = one
            case DropUncopied(side, ref):
                self.uncopied.pop((side, ref), None)

    def _one_straggler(self, change: AddStraggler | ReplaceStraggler | DropStraggler) -> None:
        match change:
            case AddStraggler(straggler):
                self.stragglers.append(straggler)
            case ReplaceStraggler(old, new):
                if old in self.stragglers:
                    self.stragglers[self.stragglers.index(old)] = new
            case DropStraggler(straggler):
                if straggler in self.stragglers:
                    self.stragglers.remove(straggler)

    def _one_link(self, change: AddLink | DropLink | SetFlags) -> None:
        key = (change.link.left, change.link.right)
        match change:
            case AddLink(link):
                if any(link.left == left or link.right == right for left, right in self.links):
                    raise ContradictionError
                self.links[key] = link.flags
                self.snapshots = {}
            case DropLink():
                if self.links.pop(key, None) is not None:
                    self.snapshots = {}
                self.stores.pop(key, None)
            case SetFlags(_, flags):
                if key in self.links:
                    self.links[key] = flags
                    self.snapshots = {}

    def base(self) -> Base:
        return plain(
            Base(
                links=[Link(left, right, flags) for (left, right), flags in self.links.items()],
                left_validity=self.validities.get(Side.LEFT),
                right_validity=self.validities.get(Side.RIGHT),
                copies=[change.intent for change in self.copies.values()],
                stores=list(self.stores.values()),
                stragglers=list(self.stragglers),
                removals=list(self.removals),
                renumbered=self.renumbered,
            )
        )


def plain(base: Base) -> Base:
    """`base` in some fixed order."""
    return replace(
        base,
        links=sorted(base.links, key=repr),
        copies=sorted(base.copies, key=repr),
        stores=sorted(base.stores, key=repr),
        stragglers=sorted(base.stragglers, key=repr),
        removals=sorted((replace(each, began=0.0) for each in base.removals), key=repr),
    )


def exact(base: Base) -> list[tuple[Ref, Ref, Flags]]:
    """The links with their flags, which `Link` itself does not compare."""
    return [(link.left, link.right, link.flags) for link in base.links]
