"""A run over a pair: connect, list, plan the mailboxes, and bring one after the other in step.

A mailbox whose cursors did not move since it was last in step is not opened at all. A lost connection is made anew and
the mailbox begun again: what was done is in the state. Removals that need a second look come last, on fresh connections
and when it is known how many there are in the whole pair (see `removals`); after them mailboxes as a whole are removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from mailtwin.engine.backlog import Backlog, Key, problems_of
from mailtwin.engine.doubts import list_doubts
from mailtwin.engine.glance import Glance, glance, is_still_in_step
from mailtwin.engine.guards import DISPOSABLE, PairTotal
from mailtwin.engine.itself import refuse_itself
from mailtwin.engine.known import Known
from mailtwin.engine.labelling import Labels
from mailtwin.engine.mailbox import MailboxRun, NeedsReconnect
from mailtwin.engine.metering import postponed
from mailtwin.engine.pair import SETTLE_S, Pair, open_both
from mailtwin.engine.poison import Poisoned, Tolerance
from mailtwin.engine.quarantine import tidy
from mailtwin.engine.removals import (
    LOOKED_AT_ONCE,
    Budget,
    Gate,
    NeedsSecondLook,
    SecondLook,
    arrivals,
    find_moved,
)
from mailtwin.engine.report import (
    Connected,
    Counts,
    Event,
    Listed,
    MailboxFinished,
    MailboxResult,
    MailboxStarted,
    Problem,
    ProblemFound,
    Reconnecting,
    Reporter,
    RunReport,
    ignore_events,
)
from mailtwin.engine.together import together
from mailtwin.engine.vanished import Vanished
from mailtwin.engine.views import views_in
from mailtwin.errors import (
    LimitError,
    MailboxError,
    MailtwinError,
    Retry,
    Scope,
    StoreMissingError,
    ThrottledError,
    UnreachableError,
)
from mailtwin.model import MailboxName, Side
from mailtwin.planner import (
    Attempt,
    CreateMailbox,
    ForgetMailbox,
    HoldMailbox,
    MailboxListing,
    MailboxOperation,
    RemoveMailbox,
    plan_mailboxes,
)
from mailtwin.state import DropHeld, EndAttempt, MailboxRecord, Note, State, Uncopied
from mailtwin.stores.base import MailboxList

CREATION_ROUNDS_MAX = 4
"""Rounds of listing and creating mailboxes: one, and another for each kind of parent that a server adds."""

RECONNECTS_MAX = 5
"""Lost connections per mailbox after which the run gives up; the next run goes on. Those that are put down to a message
(`poison`) do not count."""

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before connecting anew, in seconds."""

THROTTLED_S = (5.0, 15.0, 30.0, 60.0, 120.0)
"""Pauses for a server that asks for one and does not say how long, in seconds."""

PAUSE_S_MAX = 120.0
"""The longest pause within a run; a server that wants a longer one ends it, and the account rests for that long."""

REST_S = 900.0
"""How long an account rests when its server still asked for pauses after all of these, and does not say how long."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What both sides list, in left names, and which mailboxes are the pair's business. `views`: see `views_in`.
    `disposable`: those that a side says are emptied as a matter of course."""

    lists: tuple[MailboxList, MailboxList]
    views: frozenset[MailboxName]
    operations: tuple[MailboxOperation, ...]
    twins: tuple[MailboxName, ...]
    glances: Mapping[MailboxName, Glance]
    disposable: frozenset[MailboxName]

    @property
    def unchanged(self) -> frozenset[MailboxName]:
        """The mailboxes that need not be opened."""
        return frozenset(name for name, found in self.glances.items() if found.is_unchanged)


@dataclass(slots=True)
class Tally:
    """What the attempts at one mailbox did, all together, the messages that they could not copy, and the problems that
    the last one left."""

    counts: Counts = field(default_factory=Counts)
    problems: list[Problem] = field(default_factory=list)
    tried: set[Key] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mailbox that is to be looked at again: what was told of it, what was done in it, what it would lose."""

    started: MailboxStarted
    tally: Tally
    need: NeedsSecondLook


@dataclass(slots=True)
class PairRun:
    """One run, with its number in the state; use `sync`."""

    pair: Pair
    state: State
    report: Reporter
    number: int
    created: dict[CreateMailbox, None] = field(default_factory=dict)
    refused: dict[CreateMailbox, MailtwinError] = field(default_factory=dict)
    results: list[MailboxResult] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    waiting: dict[MailboxName, Waiting] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    failures: int = 0
    tolerance: Tolerance = field(default_factory=Tolerance)

    async def run(self) -> RunReport:
        """The whole run; the stores are closed afterwards, whatever happened."""
        try:
            before = self._uncopied()
            await connect(self.pair, create=not self.state.has_links(), report=self.report)
            survey = await self._create_missing()
            await self._arrange(survey)
            await self._work(survey)
            await self._label()
            self.pair.meter.forget_but(survey.twins)
        finally:
            for name, waiting in self.waiting.items():
                self.results.append(MailboxResult(name, False, waiting.tally.counts))
            await close(self.pair)
        new = self._uncopied() - before
        uncopied = problems_of(self.pair, self.state.uncopied(), new)
        limits = [Problem(error, known=not self._is_told_anew()) for error in self.pair.meter.problems()]
        problems = (*self.problems, *limits, *uncopied)
        return RunReport(tuple(self.results), problems, self.pair.meter.uses())

    def _is_told_anew(self) -> bool:
        """Whether this run was the first to leave messages for another day in some mailbox."""
        return any(isinstance(problem.error, LimitError) and not problem.known for problem in self.problems)

    def _uncopied(self) -> set[tuple[MailboxName, Key]]:
        return {(one.mailbox, (one.side, one.ref)) for one in self.state.uncopied()}

    async def _survey(self) -> Survey:
        """Lists both sides, through lost connections."""
        self.failures = 0
        while True:
            try:
                survey = await survey_pair(self.pair, self.state)
                if not self.state.has_links():
                    await refuse_itself(self.pair, survey.lists)
                return survey
            except MailtwinError as error:
                await self._recover(error)

    def _refuse_vanished(self, survey: Survey) -> None:
        """A side that holds nothing any more of what was agreed on is a lost disk, not a wish."""
        known = [name for name, record in self.state.mailboxes().items() if record.links]
        for side in Side:
            names = survey.lists[side].mailboxes
            if known and not any(self.pair.name_on(side, name) in names for name in known):
                raise StoreMissingError(
                    f"{self.pair.store(side).address} holds none of the {len(known)} mailboxes that it held "
                    "when it was last in step. Nothing was removed.",
                    hint="is the disk mounted, is this the right account?",
                )

    async def _create_missing(self) -> Survey:
        """Creates mailboxes until neither side lacks one: a server may make parents of its own accord."""
        survey = await self._survey()
        self._refuse_vanished(survey)
        for _round in range(CREATION_ROUNDS_MAX):
            tried = self.created.keys() | self.refused.keys()
            creations = [op for op in survey.operations if isinstance(op, CreateMailbox) and op not in tried]
            if not creations:
                break
            for operation in creations:
                await self._create(operation)
            survey = await self._survey()
        return survey

    async def _create(self, operation: CreateMailbox) -> None:
        side, name = operation.side, operation.name
        try:
            await self.pair.store(side).create(self.pair.name_on(side, name))
            self.created[operation] = None
            self._note(name, "create-mailbox", f"on {side.label}: {operation.why}")
        except MailtwinError as error:
            if error.scope > Scope.MAILBOX:
                raise
            self.refused[operation] = error
            self._problem(Problem(error, name, side))

    async def _arrange(self, survey: Survey) -> None:
        """Tells what was found and created, and executes the rest of the plan for the mailboxes themselves."""
        for problem in list_doubts(self.pair, survey.lists):
            self._problem(problem)
        changed = len(survey.twins) - len(survey.unchanged)
        others = tuple(op for op in survey.operations if not isinstance(op, CreateMailbox))
        self._tell(Listed(len(survey.twins), changed, (*self.created, *others)))
        for operation in others:
            self._arrange_one(operation)

    def _arrange_one(self, operation: MailboxOperation) -> None:
        match operation:
            case HoldMailbox(side, name, why):
                self._problem(
                    Problem(
                        MailboxError(
                            f"{name}: {why}. Its twin was left alone.",
                            hint="create it again to have its mail copied back, or remove its twin too with "
                            "`--remove-mailboxes` (`remove_mailboxes = true`)",
                        ),
                        name,
                        side,
                    )
                )
            case ForgetMailbox(name, why):
                self.state.forget_mailbox(name)
                self._note(name, "forget-mailbox", why)

    async def _work(self, survey: Survey) -> None:
        """Works on one mailbox after the other, and again on those whose removals need a second look."""
        lacking = {operation.name for operation in self.refused}
        resting = {} if self.pair.retry else self.pair.meter.resting()
        busy = [name for name in survey.twins if name not in survey.unchanged | lacking | resting.keys()]
        vanished = [
            Vanished(self.pair, self.state, operation)
            for operation in survey.operations
            if isinstance(operation, RemoveMailbox)
        ]
        self._forget_held({*busy, *resting, *(mailbox.name for mailbox in vanished)})
        agreed = count_agreed(self.pair, self.state, survey)
        uncopied = {name for name, _key in self._uncopied()}
        self.results += [
            MailboxResult(name, name not in uncopied, unchanged=True) for name in sorted(survey.unchanged)
        ]
        for name in sorted((set(survey.twins) & resting.keys()) - survey.unchanged):
            # Not even opened: to list it in each run until there is room would use up what room there will be.
            self.results.append(MailboxResult(name, in_step=False))
            for left in resting[name]:
                self._problem(postponed(left, known=True))
        for index, name in enumerate(busy, 1):
            started = MailboxStarted(name, index, len(busy))
            await self._work_on(survey, started, Tally(), None)
        if self.waiting or vanished:
            await self._look_again(survey, vanished, agreed)

    async def _label(self) -> None:
        """Makes both sides have the same labels, where messages carry labels: those in use are there already."""
        self.failures = 0
        while True:
            try:
                touched = any(not result.unchanged for result in self.results)
                labels = await Labels.look(self.pair, self.state, afresh=touched or self.failures > 0)
                if labels is not None:
                    for problem in await labels.execute(self.state):
                        self._problem(problem)
                return
            except MailtwinError as error:
                if error.scope > Scope.MAILBOX:
                    await self._recover(error)
                    continue
                if error.message not in {problem.error.message for problem in self.problems}:
                    self._problem(Problem(error))
                return

    def _forget_held(self, planned: AbstractSet[MailboxName]) -> None:
        """Where nothing is to be done, nothing is held back any more."""
        for held in self.state.held():
            if held.mailbox not in planned and self.pair.select(held.mailbox):
                self.state.commit(held.mailbox, [DropHeld(held.side)])

    async def _work_on(
        self, survey: Survey, started: MailboxStarted, tally: Tally, look: SecondLook | None
    ) -> None:
        """Works on one mailbox; its result, or what it waits for, is noted."""
        self.pair.meter.require()
        self._tell(started)
        in_step = False
        found = survey.glances[started.name]
        gate = Gate(self.state, found.name, self.budget, look, found.name in survey.disposable)
        try:
            in_step = await self._bring_in_step(found, tally, gate)
        except NeedsSecondLook as need:
            self.waiting[found.name] = Waiting(started, tally, need)
            return
        except MailtwinError as error:
            if error.scope > Scope.MAILBOX:
                raise
            self._problem(Problem(error, found.name))
        finally:
            if found.name not in self.waiting:
                self.problems += tally.problems
                result = MailboxResult(found.name, in_step, tally.counts)
                self.results.append(result)
        self._tell(MailboxFinished(self.results[-1]))

    async def _look_again(self, survey: Survey, vanished: list[Vanished], agreed: int) -> None:
        """What was not believed at one look is looked at on fresh connections, now that all of it is known."""
        counts = dict(self.budget.spent)
        doubtful = {side for waiting in self.waiting.values() for side, _ref in waiting.need.looked}
        moved = {}
        arrived = arrivals(self.state, self.number)
        for name, waiting in self.waiting.items():
            moved[name] = find_moved(self.state, name, waiting.need.looked, arrived)
            for side, _ref in waiting.need.unapproved - moved[name]:
                counts[side] += name not in survey.disposable
        for mailbox in vanished:
            lost = len(mailbox.evidence(PairTotal()).refs)
            counts[mailbox.side] += lost
            doubtful |= {mailbox.side} if lost > LOOKED_AT_ONCE else set()
        totals = {side: PairTotal(counts[side], agreed) for side in Side}
        self.failures = 0
        for side in sorted(doubtful):
            await self._reconnect(side.other)
        for name in list(self.waiting):
            waiting = self.waiting.pop(name)
            look = SecondLook(waiting.need.looked, totals, moved[name])
            await self._work_on(survey, waiting.started, waiting.tally, look)
        for mailbox in vanished:
            try:
                await mailbox.remove(totals[mailbox.side])
            except MailtwinError as error:
                if error.suspect is None and error.scope > Scope.MAILBOX:
                    raise
                await self._leave(mailbox.name, error)

    async def _leave(self, name: MailboxName, error: MailtwinError) -> None:
        """A mailbox is not removed; because of a message over which the connection ended, perhaps."""
        if error.suspect is not None:
            await self._recover(error)
            error = MailboxError(f"{name}: it was not removed, because it cannot be kept: {error.message}")
        self._problem(Problem(error, name))

    async def _bring_in_step(self, found: Glance, tally: Tally, gate: Gate) -> bool:
        """Works on one mailbox, through lost connections; whether it is in step. Raises NeedsSecondLook."""
        name = found.name
        self.state.add_mailbox(name)
        self.failures = 0
        glanced = gate.look is not None
        while True:
            try:
                if not glanced:
                    # Once only: after an attempt the listed cursors are old.
                    glanced = True
                    if await is_still_in_step(self.pair, self.state, found):
                        return not self.state.uncopied(name)
                return await self._attempt(gate.anew(), tally)
            except NeedsReconnect as need:
                await self._settle(name, need)
            except Poisoned as found_poison:
                self.tolerance.note(found_poison)
                self.failures = 0
                await self._recover(found_poison.error)
            except MailtwinError as error:
                await self._recover(error)

    async def _attempt(self, gate: Gate, tally: Tally) -> bool:
        """Opens the mailbox on both sides and brings it in step; whether it is."""
        name = gate.name
        async with open_both(self.pair, name) as (left, right):
            records, total = self.state.uncopied(name, suspects=True), self.state.count_uncopied()
            backlog = Backlog.of(self.pair, name, records, tally.tried, total)
            backlog.risks_losses = not self.tolerance.is_spent
            # The second look is at everything: what was told to have changed is what it has to prove.
            known = Known((left, right), asks_changes=gate.look is None and not self.pair.full)
            attempt = MailboxRun(self.pair, self.state, name, known, self.report, backlog, gate)
            try:
                return (await attempt.run()).in_step
            except ThrottledError:
                if attempt.counts.copied_to_left or attempt.counts.copied_to_right:
                    # Something was agreed on for good in between: however often a server pauses, there is an end.
                    self.failures = 0
                raise
            finally:
                tally.counts += attempt.counts
                tally.problems = attempt.problems
                if any(attempt.counts.as_dict().values()):
                    self.tolerance.progress()
                if attempt.has_cleared:
                    # One message fewer that the losses may be about: they lead to the right one.
                    self.failures = 0

    async def _settle(self, name: MailboxName, need: NeedsReconnect) -> None:
        """Gives interrupted copies time to arrive; what a fresh connection shows after that decides about them."""
        await self.pair.sleep(SETTLE_S)
        await self._reconnect(need.side)
        self.state.commit(name, [EndAttempt(intent, Attempt.WAITED) for intent in need.intents])

    async def _reconnect(self, side: Side) -> None:
        """Leaves the connection, and makes a fresh one."""
        try:
            await self.pair.store(side).reconnect()
        except MailtwinError as error:
            await self._recover(error)

    async def _recover(self, error: MailtwinError) -> None:
        """Connects anew after a lost connection, with growing pauses; raises the error when that cannot help."""
        self.failures = await recover(self.pair, error, self.failures, self.report)

    def _problem(self, problem: Problem) -> None:
        self.problems.append(problem)
        self._tell(ProblemFound(problem))

    def _note(self, name: MailboxName, operation: str, detail: str) -> None:
        """A line of history about a mailbox as a whole, which does not make it known."""
        self.state.annotate(name, [Note(operation, None, None, detail)])

    def _tell(self, event: Event) -> None:
        self.report(event)


def _gone_for_good(error: MailtwinError) -> MailtwinError:
    """What is said when a server that was there does not come back: not that the address may be wrong."""
    if not isinstance(error, UnreachableError):
        return error
    return UnreachableError(
        f"{error.message}; the connection was lost, and {RECONNECTS_MAX} attempts to make it anew failed",
        hint="the server was there when this run began; run again later: it goes on from there",
    )


async def sync(pair: Pair, state: State, report: Reporter = ignore_events) -> RunReport:
    """Makes both sides hold the same mail, as far as it can be done now.

    Raises a MailtwinError of scope STORE or wider when the run could not go on; what was done until then is durable.
    Cancelling it at any moment leaves a state from which the next run goes on.
    """
    run = state.begin_run("sync")
    outcome = "interrupted"
    work = PairRun(pair, state, report, run)
    try:
        result = await work.run()
        outcome = "in step" if result.in_step else "not in step"
    except MailtwinError as error:
        outcome = f"failed: {error.message}"
        raise
    finally:
        counts = RunReport(tuple(work.results)).counts.as_dict()
        kept_s = pair.keeping.days * 24 * 3600.0
        state.end_run(run, outcome, counts, kept_s=kept_s, kept_bytes=pair.keeping.bytes_max)
    tidy(state, kept_s)
    return result


async def recover(pair: Pair, error: MailtwinError, failures: int, report: Reporter) -> int:
    """Connects anew after `error`, the one after `failures` others, with growing pauses; returns how many it is now.

    Raises the error when connecting anew cannot help, or did not too often.
    """
    while True:
        failures += 1
        hopeless = error.scope is not Scope.STORE or error.retry is Retry.NEVER
        if hopeless:
            raise error
        if failures > RECONNECTS_MAX:
            _let_rest(pair, error)
            raise _gone_for_good(error) from error
        pause_s = pause_after(error, failures)
        if pause_s > PAUSE_S_MAX:
            _let_rest(pair, error)
            raise error
        report(Reconnecting(error, pause_s, failures, RECONNECTS_MAX))
        await pair.sleep(pause_s)
        try:
            for side in Side:
                await pair.store(side).reconnect()
        except MailtwinError as again:
            error = again
        else:
            return failures


def pause_after(error: MailtwinError, failures: int) -> float:
    """How long to wait after the `failures`-th error in a row, in seconds: as long as the server says, if it does."""
    if isinstance(error, ThrottledError):
        if error.pause_s is not None:
            return error.pause_s
        return THROTTLED_S[min(failures, len(THROTTLED_S)) - 1]
    return BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]


def _let_rest(pair: Pair, error: MailtwinError) -> None:
    """The run ends with `error`: no other one logs in before a server that asked for a pause has had it."""
    if isinstance(error, ThrottledError):
        pair.meter.rest(error, REST_S if error.pause_s is None else error.pause_s)


async def connect(pair: Pair, *, create: bool, report: Reporter = ignore_events) -> None:
    """Connects both sides at the same time, each once.

    Raises the first error, telling which side it came from, and LimitError for an account that must be left alone.
    """

    async def one(side: Side) -> None:
        store = pair.store(side)
        await store.connect(create=create)
        report(Connected(side, store.address))

    pair.meter.admit(retry=pair.retry)
    try:
        await together(one(Side.LEFT), one(Side.RIGHT))
    except ThrottledError as error:
        _let_rest(pair, error)
        raise
    pair.meter.entered()


async def close(pair: Pair) -> None:
    """Closes both sides, and writes down what they used."""
    await asyncio.gather(*(pair.store(side).close() for side in Side))
    pair.meter.charge()


def count_agreed(pair: Pair, state: State, survey: Survey) -> int:
    """How many messages both sides hold in all mailboxes that take part, but for the disposable ones."""
    return sum(
        record.links
        for name, record in state.mailboxes().items()
        if pair.select(name) and name not in survey.disposable
    )


async def survey_pair(pair: Pair, state: State | None) -> Survey:
    """Lists both sides and plans the mailboxes."""
    left, right = await together(pair.left.mailboxes(), pair.right.mailboxes())
    records: Mapping[MailboxName, MailboxRecord] = state.mailboxes() if state is not None else {}
    lists = (left, right)
    views = views_in(pair, lists)
    on_left, on_right, known = (
        {name for name in names if name not in views and pair.select(name)}
        for names in (left.mailboxes, map(pair.names.to_left, right.mailboxes), records)
    )
    operations = plan_mailboxes(
        known,
        MailboxListing(frozenset(on_left), left.complete),
        MailboxListing(frozenset(on_right), right.complete),
        pair.policy,
    )
    created = {op.name for op in operations if isinstance(op, CreateMailbox)}
    twins = tuple(sorted(on_left & on_right | created))
    uncopied: dict[MailboxName, list[Uncopied]] = {}
    for one in state.uncopied(suspects=True) if state is not None else ():
        uncopied.setdefault(one.mailbox, []).append(one)
    glances = {
        name: glance(
            pair, None if name in created else records.get(name), lists, name, uncopied.get(name, ())
        )
        for name in twins
    }
    disposable = {name for name, info in left.mailboxes.items() if info.special_use in DISPOSABLE}
    disposable |= {
        pair.names.to_left(name) for name, info in right.mailboxes.items() if info.special_use in DISPOSABLE
    }
    return Survey(lists, views, operations, twins, glances, frozenset(disposable))
