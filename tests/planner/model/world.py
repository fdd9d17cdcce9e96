"""The state of the little world as one immutable value, and what its users do to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache
from typing import NamedTuple

from mailtwin.model import NO_FLAGS, Flags, Identity, Ref, Side, Vocabulary, make_flags
from mailtwin.model.flags import EVERYTHING
from mailtwin.planner import (
    CopyIntent,
    Direction,
    Operation,
    Policy,
    RemoveIntent,
    StoreIntent,
    Straggler,
    Verdict,
)

F = make_flags(["\\Flagged"])
G = make_flags(["\\Seen"])


class Mail(NamedTuple):
    """One message in a mailbox; `identity` is a short name, see `identity_of`."""

    ref: Ref
    identity: str
    flags: Flags


class Box(NamedTuple):
    """One mailbox: its messages in the order of arrival, the number of the next one, its UIDVALIDITY, and the flags
    that it cannot hold."""

    mails: tuple[Mail, ...] = ()
    next: int = 1
    validity: int = 1
    deaf_to: Flags = NO_FLAGS

    @property
    def vocabulary(self) -> Vocabulary:
        """The flags that it can hold."""
        return EVERYTHING.without(self.deaf_to)

    def find(self, ref: Ref) -> Mail | None:
        return next((mail for mail in self.mails if mail.ref == ref), None)

    def without(self, ref: Ref) -> Box:
        return self._replace(mails=tuple(mail for mail in self.mails if mail.ref != ref))

    def with_flags(self, ref: Ref, flags: Flags) -> Box:
        return self._replace(mails=tuple(m._replace(flags=flags) if m.ref == ref else m for m in self.mails))


class Journal(NamedTuple):
    """What is durable. A link is (left, right, agreed flags)."""

    links: tuple[tuple[Ref, Ref, Flags], ...] = ()
    copies: tuple[CopyIntent, ...] = ()
    stores: tuple[StoreIntent, ...] = ()
    stragglers: tuple[Straggler, ...] = ()
    removals: tuple[RemoveIntent, ...] = ()
    validities: tuple[str, str] = ("1", "1")


class Flight(NamedTuple):
    """A command that was sent (or nearly so) and whose answer nobody will read: it may still take effect.

    `waited`: a copy that was waited for already, so that nobody expects it any more.
    """

    side: Side
    append: tuple[str, Flags] | None = None
    store: tuple[Ref, Flags, Flags] | None = None
    remove: Ref | None = None
    waited: bool = False


class Answer(Enum):
    """How a server answers an APPEND, if not with the UID."""

    ACCEPTED = "OK"
    LOST = "the connection was cut"


class Budget(NamedTuple):
    """How much users and the enemy may still do. `lates`: copies that land although they were waited for."""

    acts: int = 0
    crashes: int = 0
    cuts: int = 0
    renumberings: int = 0
    lessons: int = 0
    lates: int = 0


class Tally(NamedTuple):
    """How often users placed an identity on each side, and removed it: anywhere, and where they had placed it.
    `late`: how often a copy landed on each side that nobody expected any more; there may be one too many for each.
    `moved`: how often users moved it out on each side, which makes it neither more nor fewer once it is back.
    `shared`: how many of those that were placed on both sides are one message, in step from the beginning."""

    identity: str
    placed: tuple[int, int] = (0, 0)
    removed: int = 0
    taken_back: int = 0
    late: tuple[int, int] = (0, 0)
    moved: tuple[int, int] = (0, 0)
    shared: int = 0


class World(NamedTuple):
    """Everything. `away`: what users moved out and may move back. `queue`, `batch`, `answers`, `begun`, `grounds`,
    `floors` are lost in a crash."""

    boxes: tuple[Box, Box]
    journal: Journal
    budget: Budget
    tallies: tuple[Tally, ...]
    wanted: Flags = NO_FLAGS
    away: tuple[tuple[Side, Mail], ...] = ()
    flights: tuple[Flight, ...] = ()
    queue: tuple[Operation, ...] = ()
    batch: tuple[CopyIntent, ...] = ()
    answers: tuple[Ref | Answer, ...] = ()
    begun: bool = False
    grounds: tuple[tuple[Box, int | None], ...] | None = None
    floors: tuple[int, int] | None = None

    def with_box(self, side: Side, box: Box) -> World:
        left, right = self.boxes
        return self._replace(boxes=(box, right) if side is Side.LEFT else (left, box))

    def place(self, side: Side, identity: str, flags: Flags, ref: Ref | None = None) -> World:
        """A message arrives; without `ref` it gets the next number."""
        box = self.boxes[side]
        mail = Mail(box.next if ref is None else ref, identity, box.vocabulary.keep(flags))
        return self.with_box(side, box._replace(mails=(*box.mails, mail), next=box.next + (ref is None)))

    def with_flights(self, *, added: Iterable[Flight]) -> World:
        """More commands in the air."""
        return self._replace(flights=tuple(sorted((*self.flights, *added), key=repr)))

    def links(self) -> dict[tuple[Ref, Ref], Flags]:
        """The agreements: the flags agreed on, for each linked pair."""
        return {(left, right): flags for left, right, flags in self.journal.links}

    def with_links(self, links: dict[tuple[Ref, Ref], Flags]) -> World:
        """The same world with these agreements."""
        rows = tuple((*ends, links[ends]) for ends in sorted(links, key=repr))
        return self._replace(journal=self.journal._replace(links=rows))

    def with_intents(
        self,
        *,
        copies: Iterable[CopyIntent] | None = None,
        stores: Iterable[StoreIntent] | None = None,
        stragglers: Iterable[Straggler] | None = None,
        removals: Iterable[RemoveIntent] | None = None,
    ) -> World:
        """The same world with these intents instead."""
        journal = self.journal
        if copies is not None:
            journal = journal._replace(copies=tuple(sorted(copies, key=repr)))
        if stores is not None:
            journal = journal._replace(stores=tuple(stores))
        if stragglers is not None:
            journal = journal._replace(stragglers=tuple(sorted(stragglers, key=repr)))
        if removals is not None:
            journal = journal._replace(removals=tuple(sorted(set(removals), key=repr)))
        return self._replace(journal=journal)

    def with_straggler(self, old: Straggler | None, new: Straggler | None) -> World:
        """The same world in which `new` takes the place of `old`."""
        stragglers = list(self.journal.stragglers)
        if old in stragglers:
            stragglers.remove(old)
        return self.with_intents(stragglers=stragglers if new is None else [*stragglers, new])

    def without_copy(self, intent: CopyIntent | Straggler | None) -> World:
        """The same world in which that copy has ended."""
        if intent is None:
            return self
        if isinstance(intent, Straggler):
            return self.with_straggler(intent, None)
        ends = (intent.source, intent.ref)
        return self.with_intents(
            copies=[each for each in self.journal.copies if (each.source, each.ref) != ends]
        )

    def without_stores(self, left: Ref, right: Ref) -> World:
        """The same world in which no change of flags is open for that link."""
        kept = [each for each in self.journal.stores if (each.left, each.right) != (left, right)]
        return self.with_intents(stores=kept)

    def idle(self) -> bool:
        """Whether no process is at work on this mailbox."""
        return not self.queue and not self.batch and self.grounds is None

    def powered_off(self) -> World:
        """This world without what only the process knew."""
        return self._replace(queue=(), batch=(), answers=(), begun=False, grounds=None, floors=None)


@dataclass(frozen=True, slots=True)
class Scenario:
    """The bounds of one exploration, and who may do what.

    `users`: the sides on which there is a user; `toggles`: the flags that each side's user toggles; `may_append` and
    the like: what users do besides; `movers`: the sides on which users move messages out and back, so that the same
    message has another ref; `drawers`: the sides on which that takes two acts, and anything may happen in between.
    In a Maildir such a message has its old name again, as if `mv` had moved the file.
    `identities`: the identity of each next message that a user appends. `named`: the right side is a Maildir, whose
    new names are known beforehand. `tells_uid`: servers answer APPEND with the UID.
    `right_deaf_to`: the flags that the right side cannot hold, as long as it has not learnt to.
    `batch_max`: how many copies are begun together.
    `partial`: listings may break off. `split`: each user has a flag of their own, and the last word about it stands.
    """

    budget: Budget
    users: tuple[Side, ...] = (Side.LEFT, Side.RIGHT)
    toggles: tuple[Flags, Flags] = (F, F)
    may_append: bool = True
    may_remove: bool = True
    movers: tuple[Side, ...] = ()
    drawers: tuple[Side, ...] = ()
    identities: str = "bcdefgh"
    named: bool = False
    tells_uid: bool = True
    partial: bool = False
    split: bool = False
    policy: Policy = field(default_factory=Policy)
    right_deaf_to: Flags = NO_FLAGS
    batch_max: int = 9
    start: tuple[str, str] = ("a", "")
    linked: bool = False

    def first_world(self) -> World:
        """`start` gives the identities on each side; `linked`: they are in step already, one to one."""
        world = World((Box(), Box(deaf_to=self.right_deaf_to)), Journal(), self.budget, ())
        for side in Side:
            for identity in self.start[side]:
                world = _placed(self, world, side, identity, NO_FLAGS)
        if self.linked:
            pairs = zip(world.boxes[Side.LEFT].mails, world.boxes[Side.RIGHT].mails, strict=True)
            links = tuple((left.ref, right.ref, NO_FLAGS) for left, right in pairs)
            tallies = tuple(tally._replace(shared=tally.placed[0]) for tally in world.tallies)
            world = world._replace(journal=world.journal._replace(links=links), tallies=tallies)
        return world

    def names(self, side: Side) -> bool:
        """Whether the messages of `side` have names instead of numbers."""
        return self.named and side is Side.RIGHT

    def untouchable(self) -> tuple[Side, ...]:
        """Sides that no one but their user may change: a one-way source, and the only side that has a user."""
        if self.policy.direction is Direction.LEFT_TO_RIGHT:
            return (Side.LEFT,)
        return self.users if len(self.users) == 1 and not self.budget.renumberings else ()


@cache
def identity_of(name: str) -> Identity:
    """The planner's view of an identity."""
    return Identity(headers=name, content=f"size:{name}", has_message_id=True)


# --- what users do --------------------------------------------------------------------------------------------------


def user_moves(scenario: Scenario, world: World) -> Iterator[tuple[str, World]]:
    """Everything that a user may do next."""
    if not world.budget.acts:
        return
    after = world._replace(budget=world.budget._replace(acts=world.budget.acts - 1))
    for side in scenario.users:
        for mail in world.boxes[side].mails:
            for name, moved in _moves_of(scenario, after, side, mail):
                yield f"{side.label} user {name} {mail.identity}", moved
        if scenario.may_append:
            count = sum(map(sum, (tally.placed for tally in world.tallies)))
            identity = scenario.identities[min(count, len(scenario.identities)) - 1] if count else "a"
            yield f"{side.label} user appends {identity}", _placed(scenario, after, side, identity, NO_FLAGS)
    for index, (side, mail) in enumerate(world.away):
        rest = after._replace(away=world.away[:index] + world.away[index + 1 :])
        yield f"{side.label} user moves back {mail.identity}", _back(scenario, rest, side, mail)
    for straggler in world.journal.stragglers:
        yield from _decisions(scenario, after, straggler)


def _decisions(scenario: Scenario, world: World, straggler: Straggler) -> Iterator[tuple[str, World]]:
    """What a person may decide about a copy that arrived late; to keep it is to put it there."""
    side = straggler.source.other
    if (
        straggler.found is None
        or straggler.verdict is not Verdict.NONE
        or world.journal.validities[side] != straggler.validity
    ):
        return
    identity = straggler.identity.headers
    unwanted = world.with_straggler(straggler, replace(straggler, verdict=Verdict.REMOVE))
    wanted = world.with_straggler(straggler, replace(straggler, verdict=Verdict.KEEP))
    if any(tally.identity == identity and any(tally.moved) for tally in world.tallies):
        # It may be what a user moved: then it is that user's message which is removed, and keeping it adds none.
        unwanted = unwanted._replace(tallies=_counted(world.tallies, identity, side, removed=1))
    else:
        wanted = wanted._replace(tallies=_counted(world.tallies, identity, side, placed=1))
    yield f"a person does not want {straggler.found}", unwanted
    if side in scenario.users:
        yield f"a person keeps {straggler.found}", wanted


def _moves_of(scenario: Scenario, world: World, side: Side, mail: Mail) -> Iterator[tuple[str, World]]:
    box = world.boxes[side]
    for flag in sorted(box.vocabulary.keep(scenario.toggles[side])):
        toggled = box.with_flags(mail.ref, make_flags(mail.flags ^ {flag}))
        yield f"toggles {flag} of", world.with_box(side, toggled)._replace(wanted=world.wanted ^ {flag})
    gone = world.with_box(side, box.without(mail.ref))
    if scenario.may_remove:
        yield "removes", gone._replace(tallies=_counted(world.tallies, mail.identity, side, removed=1))
    moved = gone._replace(tallies=_counted(world.tallies, mail.identity, side, moved=1))
    if side in scenario.movers:
        yield "moves out and back", _arrived(scenario, moved, side, mail.identity, mail.flags)
    if side in scenario.drawers:
        yield "moves out", moved._replace(away=tuple(sorted((*world.away, (side, mail)), key=repr)))


def _back(scenario: Scenario, world: World, side: Side, mail: Mail) -> World:
    ref = mail.ref if scenario.names(side) else None
    return world.place(side, mail.identity, mail.flags, ref)


def _placed(scenario: Scenario, world: World, side: Side, identity: str, flags: Flags) -> World:
    tallies = _counted(world.tallies, identity, side, placed=1)
    return _arrived(scenario, world, side, identity, flags)._replace(tallies=tallies)


def _arrived(scenario: Scenario, world: World, side: Side, identity: str, flags: Flags) -> World:
    ref = None
    if scenario.names(side):
        box = world.boxes[side]
        ref = f"user.{box.next}"
        world = world.with_box(side, box._replace(next=box.next + 1))
    return world.place(side, identity, flags, ref)


def _counted(
    tallies: tuple[Tally, ...],
    identity: str,
    side: Side,
    *,
    placed: int = 0,
    removed: int = 0,
    moved: int = 0,
) -> tuple[Tally, ...]:
    by_name = {tally.identity: tally for tally in tallies}
    old = by_name.get(identity, Tally(identity))
    left, right = old.placed
    moved_left, moved_right = old.moved
    counts = (left + placed, right) if side is Side.LEFT else (left, right + placed)
    own = bool(removed and old.placed[side])
    by_name[identity] = old._replace(
        placed=counts,
        removed=old.removed + removed,
        taken_back=old.taken_back + own,
        moved=(moved_left + moved, moved_right) if side is Side.LEFT else (moved_left, moved_right + moved),
    )
    return tuple(by_name[name] for name in sorted(by_name))
