"""The engine's protocol, step by step: what a running process may do next in a given world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.planner.model.mistakes import Mistake, Mistakes, disguised, falsified, falsified_base, rewritten
from tests.planner.model.world import Answer, Box, Flight, Journal, Scenario, Tally, World, identity_of

from mailtwin.model import Listing, Ref, Side, UidSet, make_flags
from mailtwin.planner import (
    Abandon,
    Adopt,
    Attempt,
    Base,
    Copy,
    CopyIntent,
    Forget,
    Hold,
    Identify,
    Link,
    Operation,
    Plan,
    Record,
    Relink,
    Remove,
    RemoveIntent,
    Reset,
    Settle,
    StoreFlags,
    StoreIntent,
    Unresolved,
    ended_removals,
    plan_messages,
)

Glimpse = tuple[Box, int | None]
"""A mailbox as it was when it was listed, and after how many messages the listing broke off."""

SETTLING_PLANS_MAX = 40
"""More plans than any of these worlds needs to come to rest."""

COMMITS = (Record, Adopt, Relink, Forget, Abandon, Hold, Reset)
"""What touches no mailbox: the next plan may be made on the same observation."""


class Executor:
    """One scenario's process, with the given mistakes in it. Stateless but for its caches."""

    def __init__(self, scenario: Scenario, mistakes: Mistakes = frozenset()) -> None:
        self.scenario = scenario
        self.mistakes = mistakes
        self._plans: dict[tuple[Journal, Glimpse, Glimpse], Plan] = {}
        self._listings: dict[tuple[Side, Glimpse], Listing] = {}
        self._settled: dict[tuple[object, ...], tuple[tuple[Box, Box], Journal] | None] = {}

    # --- observing and planning -------------------------------------------------------------------------------------

    def plans(self, world: World) -> Iterator[tuple[str, World]]:
        """All the ways in which an idle process may come to its next phase."""
        if world.grounds is not None:
            left, right = world.grounds
            yield "plans again", self._planned(world, left, right)
            return
        for name, left, right in self._glimpses(world):
            planned = self._planned(self._tidied(self._fenced(world), left, right), left, right)
            if planned.queue:
                yield f"observes{name} and plans {_names(planned.queue)}", planned

    def _glimpses(self, world: World) -> Iterator[tuple[str, Glimpse, Glimpse]]:
        left, right = world.boxes
        yield "", (left, None), (right, None)
        if self.scenario.partial:
            for cut in sorted({0, 1, len(left.mails)}):
                yield f" {cut} of left", (left, cut), (right, None)
            for cut in sorted({0, 1, len(right.mails)}):
                yield f" {cut} of right", (left, None), (right, cut)

    def _fenced(self, world: World) -> World:
        """Whatever a crashed process stored is stored by now, or never will be, before anybody looks."""
        if Mistake.NO_FENCE in self.mistakes:
            return world
        return world._replace(flights=tuple(f for f in world.flights if f.store is None))

    def _tidied(self, world: World, left: Glimpse, right: Glimpse) -> World:
        """The same world without the removals that say nothing any more; nothing here is so old that it cannot land."""
        journal = world.journal
        if not journal.removals:
            return world
        base = Base([Link(*link) for link in journal.links], copies=journal.copies, removals=journal.removals)
        ended = ended_removals(base, (self._listing(Side.LEFT, left), self._listing(Side.RIGHT, right)), -1.0)
        return world.with_intents(removals=[each for each in journal.removals if each not in ended])

    def _planned(self, world: World, left: Glimpse, right: Glimpse) -> World:
        phase = self.plan(world.journal, left, right).first_phase()
        keep = bool(phase) and all(isinstance(operation, COMMITS) for operation in phase)
        return world._replace(
            queue=phase,
            grounds=(left, right) if keep else None,
            floors=(left[0].next, right[0].next) if any(isinstance(op, Copy) for op in phase) else None,
        )

    def plan(self, journal: Journal, left: Glimpse, right: Glimpse) -> Plan:
        """The plan on these grounds; what it asks to be identified is identified at once."""
        key = (journal, left, right)
        if key not in self._plans:
            self._plans[key] = self._make_plan(journal, left, right)
        return self._plans[key]

    def _make_plan(self, journal: Journal, left: Glimpse, right: Glimpse) -> Plan:
        full = (self._listing(Side.LEFT, left), self._listing(Side.RIGHT, right))
        links = [Link(*link) for link in journal.links]
        asked: tuple[set[Ref], set[Ref]] = (set(), set())
        validities, copies, stores = journal.validities, journal.copies, journal.stores
        base = Base(links, *validities, copies, stores, journal.stragglers, journal.removals)
        full = (
            disguised(self.mistakes, base, Side.LEFT, full[Side.LEFT]),
            disguised(self.mistakes, base, Side.RIGHT, full[Side.RIGHT]),
        )
        for _ in range(4):
            seen = (_asked(full[Side.LEFT], asked[Side.LEFT]), _asked(full[Side.RIGHT], asked[Side.RIGHT]))
            base = falsified_base(self.mistakes, base, seen)
            plan = plan_messages(base, *seen, self.scenario.policy)
            requests = [op for op in plan.first_phase() if isinstance(op, Identify)]
            if not requests:
                return Plan(tuple(rewritten(self.mistakes, operation, seen) for operation in plan))
            for request in requests:
                asked[request.side].update(request.refs)
        raise AssertionError("the planner asks for the same identities again")

    def _listing(self, side: Side, glimpse: Glimpse) -> Listing:
        key = (side, glimpse)
        if key not in self._listings:
            box, cut = glimpse
            mails = box.mails[:cut]
            numbers = [mail.ref for mail in mails if isinstance(mail.ref, int)]
            listing = Listing(
                flags={mail.ref: mail.flags for mail in mails},
                validity=str(box.validity),
                coverage=None if cut is None else UidSet.of_ranges([(1, max(numbers))] if numbers else []),
                uid_next=None if self.scenario.names(side) else box.next,
                identities={mail.ref: identity_of(mail.identity) for mail in mails},
                vocabulary=box.vocabulary,
            )
            self._listings[key] = falsified(self.mistakes, side, listing)
        return self._listings[key]

    # --- executing --------------------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """All that the process may do next while a phase is being executed."""
        if world.batch:
            yield from self._copy_steps(world)
            return
        operation = world.queue[0]
        rest = world._replace(queue=world.queue[1:])
        match operation:
            case Copy():
                yield from self._begin_copies(world, operation.source)
            case StoreFlags() if not world.begun:
                yield "stores intents", self._begin_stores(world)
            case StoreFlags():
                begun = bool(rest.queue) and isinstance(rest.queue[0], StoreFlags)
                yield "stores flags", self.effect(rest._replace(begun=begun), self._store_flight(operation))
            case Remove() if not world.begun:
                yield "writes remove intents", self._begin_removals(world)
            case Remove(side, ref):
                rest = rest._replace(begun=bool(rest.queue))
                if Mistake.COMMIT_FIRST in self.mistakes and operation.link is not None:
                    rest = self._commit(rest, Forget(operation.link, operation.why))
                yield "removes", self.effect(rest, Flight(side, remove=ref))
            case _:
                yield type(operation).__name__.lower() + "s", self._commit(rest, operation)
        if len(world.queue) > 1 and not world.begun and not isinstance(operation, Copy):
            yield "takes another first", world._replace(queue=(*world.queue[1:], operation))

    def crashed(self, world: World) -> World:
        """The process dies; what it was just doing may still happen."""
        flights = [
            _append_flight(intent) for intent in world.batch[len(world.answers) :] if intent.target is None
        ]
        if world.begun:
            flights.extend(self._store_flight(op) for op in world.queue if isinstance(op, StoreFlags))
            flights.extend(Flight(op.side, remove=op.ref) for op in world.queue if isinstance(op, Remove))
        return world.with_flights(added=flights).powered_off()

    def effect(self, world: World, flight: Flight) -> World:
        """A command takes effect on what its mailbox holds now."""
        box = world.boxes[flight.side]
        if flight.append is not None:
            return _expected(world, flight).place(flight.side, *flight.append)
        if flight.remove is not None:
            return world.with_box(flight.side, box.without(flight.remove))
        assert flight.store is not None
        ref, add, remove = flight.store
        assert box.vocabulary.keep(add | remove) == add | remove
        mail = box.find(ref)
        if mail is None:
            return world
        return world.with_box(flight.side, box.with_flags(ref, make_flags((mail.flags | add) - remove)))

    @staticmethod
    def _store_flight(operation: StoreFlags) -> Flight:
        ref = operation.link.ref(operation.side)
        return Flight(operation.side, store=(ref, operation.add, operation.remove))

    # --- copies -----------------------------------------------------------------------------------------------------

    def _begin_copies(self, world: World, source: Side) -> Iterator[tuple[str, World]]:
        """The whole batch of one direction is fetched and staged, and its intents are durable."""
        copies = [op for op in world.queue if isinstance(op, Copy) and op.source is source]
        del copies[self.scenario.batch_max :]
        rest = tuple(op for op in world.queue if op not in copies)
        world = world._replace(queue=rest)
        intents: list[CopyIntent] = []
        for copy in copies:
            mail = world.boxes[source].find(copy.ref)
            if mail is None:
                continue  # it is gone: the store does not hand it out
            world, target, floor = self._target(world, source.other)
            intents.append(
                CopyIntent(
                    source,
                    copy.ref,
                    world.boxes[source.other].vocabulary.keep(copy.flags),
                    str(world.boxes[source.other].validity),
                    target=target,
                    floor=floor,
                    identity=identity_of(mail.identity),
                )
            )
        if not self.mistakes & {Mistake.NO_JOURNAL, Mistake.NO_JOURNAL_NO_IDENTITY}:
            world = world.with_intents(copies=[*world.journal.copies, *intents])
        yield "writes copy intents", world._replace(batch=tuple(intents), answers=())

    def _target(self, world: World, side: Side) -> tuple[World, Ref | None, int | None]:
        box = world.boxes[side]
        if self.scenario.names(side):
            # Names of copies are chosen when they are staged; one that was not delivered is never used again.
            return world.with_box(side, box._replace(next=box.next + 1)), f"copy.{box.next}", None
        assert world.floors is not None
        return world, None, world.floors[side]

    def _copy_steps(self, world: World) -> Iterator[tuple[str, World]]:
        done = len(world.answers)
        if done == len(world.batch):
            yield "commits the copies", self._commit_copies(world)
            return
        intent, side = world.batch[done], world.batch[done].source.other
        arrived = world.place(side, _identity_name(intent), intent.flags, intent.target)
        told = intent.target is not None or self.scenario.tells_uid
        answer = arrived.boxes[side].mails[-1].ref if told else Answer.ACCEPTED
        yield f"copies {_identity_name(intent)}", arrived._replace(answers=(*world.answers, answer))
        if world.budget.cuts and intent.target is None:
            lost = world.batch[done:]
            cut = world.with_flights(added=map(_append_flight, lost))
            budget = world.budget._replace(cuts=world.budget.cuts - 1)
            answers = (*world.answers, *(Answer.LOST for _ in lost))
            yield "loses the connection while copying", cut._replace(budget=budget, answers=answers)

    def _commit_copies(self, world: World) -> World:
        """Links and ended intents in one commit."""
        links, copies = world.links(), list(world.journal.copies)
        for intent, answer in zip(world.batch, world.answers, strict=True):
            if intent in copies and answer is not Answer.LOST:
                copies.remove(intent)
                if answer is Answer.ACCEPTED:
                    copies.append(replace(intent, attempt=Attempt.ACCEPTED))
            if not isinstance(answer, Answer):
                links[_ends(intent, answer)] = intent.flags
        world = world.with_links(links).with_intents(copies=copies)
        return world._replace(batch=(), answers=())

    # --- flags ------------------------------------------------------------------------------------------------------

    def _begin_stores(self, world: World) -> World:
        """Intents for all changes of the phase, each in place of an older one for its link."""
        stores, links = list(world.journal.stores), world.links()
        for op in world.queue:
            if isinstance(op, StoreFlags):
                ends = (op.link.left, op.link.right)
                if Mistake.KEEP_INTENTS not in self.mistakes:
                    stores = [old for old in stores if (old.left, old.right) != ends]
                stores.insert(0, StoreIntent(*ends, op.side, op.add, op.remove, op.result))
                if Mistake.COMMIT_FIRST in self.mistakes:
                    links[ends] = op.result
        if self.mistakes & {Mistake.NO_STORE_INTENT, Mistake.COMMIT_FIRST}:
            stores = []
        return world.with_links(links).with_intents(stores=stores)._replace(begun=True)

    # --- removals ---------------------------------------------------------------------------------------------------

    def _begin_removals(self, world: World) -> World:
        """An intent for every removal of the phase, in the numbering that it was planned in."""
        begun = [
            RemoveIntent(op.side, op.ref, world.journal.validities[op.side])
            for op in world.queue
            if isinstance(op, Remove)
        ]
        if Mistake.NO_REMOVE_INTENT in self.mistakes:
            begun = []
        return world.with_intents(removals=[*world.journal.removals, *begun])._replace(begun=True)

    # --- commits ----------------------------------------------------------------------------------------------------

    def _commit(self, world: World, operation: Operation) -> World:
        """What changes only what is durable."""
        links = world.links()
        match operation:
            case Record(link, flags) if (link.left, link.right) in links:
                links[link.left, link.right] = flags
                return world.with_links(links).without_stores(link.left, link.right)
            case Adopt(left, right, flags, intent=intent):
                links[left, right] = flags
                return world.with_links(links).without_copy(intent)
            case Relink(link, intent=intent) if (link.left, link.right) in links:
                new = operation.renewed
                links[new.left, new.right] = links.pop((link.left, link.right))
                moved = [] if intent is None else [replace(intent, left=new.left, right=new.right)]
                after = world.with_links(links).without_stores(link.left, link.right)
                return after.with_intents(stores=[*after.journal.stores, *moved])
            case Forget(link):
                links.pop((link.left, link.right), None)
                return world.with_links(links).without_stores(link.left, link.right)
            case Abandon(intent, straggler=straggler):
                ended = world.without_copy(intent)
                if straggler is None or Mistake.FORGET_STRAGGLERS in self.mistakes:
                    return ended
                return ended.with_straggler(None, straggler)
            case Hold(straggler, held):
                return world.with_straggler(straggler, held)
            case Settle(intent):
                ended = _waited(world, intent.source.other).without_copy(intent)
                waited = replace(intent, attempt=Attempt.WAITED)
                return ended.with_intents(copies=[*ended.journal.copies, waited])
            case Reset():
                assert world.grounds is not None
                left, right = (str(box.validity) for box, _ in world.grounds)
                outlive = world.journal._replace(links=(), copies=(), stores=(), validities=(left, right))
                forgets = Mistake.RESET_FORGETS_REMOVALS in self.mistakes
                journal = outlive._replace(removals=()) if forgets else outlive
                return world._replace(journal=journal)
            case _:
                return world

    # --- settling ---------------------------------------------------------------------------------------------------

    def settle(self, world: World) -> World | None:
        """The world in which nothing happens any more but the process's own work; None when that never ends."""
        rest = self.crashed(world)._replace(flights=())
        passed: list[tuple[object, ...]] = []
        while (rest.boxes, rest.journal) not in self._settled:
            passed.append((rest.boxes, rest.journal))
            if len(passed) > SETTLING_PLANS_MAX:
                self._settled[passed[0]] = None
                break
            seen = (rest.boxes[0], None), (rest.boxes[1], None)
            rest = self._planned(self._tidied(rest, *seen), *seen)
            if not rest.queue:
                self._settled[passed[-1]] = (rest.boxes, rest.journal)
            while rest.queue or rest.batch:
                rest = next(self.steps(rest))[1]
            rest = rest.powered_off()
        end = self._settled[passed[0] if len(passed) > SETTLING_PLANS_MAX else (rest.boxes, rest.journal)]
        self._settled.update(dict.fromkeys(passed, end))
        # Who placed, removed and wanted what is not the process's business, and not part of what was remembered.
        return None if end is None else world.powered_off()._replace(boxes=end[0], journal=end[1], flights=())

    def unresolved(self, world: World) -> tuple[Unresolved, ...]:
        """The copies that a person has to look at in a settled world."""
        plan = self.plan(world.journal, (world.boxes[0], None), (world.boxes[1], None))
        return tuple(op for op in plan.unresolved() if isinstance(op, Unresolved))


def _waited(world: World, side: Side) -> World:
    """The same world after a pause: what was sent to `side` has taken effect, or nobody expects it to."""
    here = [flight for flight in world.flights if flight.side is side]
    late = [flight._replace(waited=True) for flight in here if flight.append and world.budget.lates]
    rest = tuple(flight for flight in world.flights if flight.side is not side)
    return world._replace(flights=rest).with_flights(added=late)


def _expected(world: World, flight: Flight) -> World:
    """The same world, in which it is noted when a copy lands that nobody expects."""
    if not flight.waited or flight.append is None:
        return world
    tallies = tuple(
        _one_late(tally, flight.side) if tally.identity == flight.append[0] else tally
        for tally in world.tallies
    )
    budget = world.budget._replace(lates=world.budget.lates - 1)
    flights = world.flights if budget.lates else tuple(each for each in world.flights if not each.waited)
    return world._replace(tallies=tallies, budget=budget, flights=flights)


def _one_late(tally: Tally, side: Side) -> Tally:
    left, right = tally.late
    return tally._replace(late=(left + 1, right) if side is Side.LEFT else (left, right + 1))


def _asked(listing: Listing, asked: set[Ref]) -> Listing:
    return replace(
        listing, identities={ref: each for ref, each in listing.identities.items() if ref in asked}
    )


def _identity_name(intent: CopyIntent) -> str:
    assert intent.identity is not None
    return intent.identity.headers


def _append_flight(intent: CopyIntent) -> Flight:
    return Flight(intent.source.other, append=(_identity_name(intent), intent.flags))


def _ends(intent: CopyIntent, copy: Ref) -> tuple[Ref, Ref]:
    return (intent.ref, copy) if intent.source is Side.LEFT else (copy, intent.ref)


def _names(phase: tuple[Operation, ...]) -> str:
    return " ".join(type(operation).__name__ for operation in phase) or "nothing"
