"""What a run would do, and how mailboxes map: the same survey and the same planner, and nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mailtwin.engine.backlog import Backlog, problems_of, summaries
from mailtwin.engine.doubts import find_doubts, list_doubts, unreadable
from mailtwin.engine.guards import PairTotal, judge
from mailtwin.engine.itself import refuse_itself
from mailtwin.engine.known import Known
from mailtwin.engine.labelling import Labels
from mailtwin.engine.mailbox import make_plan, only
from mailtwin.engine.pair import Pair, open_both
from mailtwin.engine.removals import (
    ARRIVALS_MAX,
    Arrival,
    Budget,
    Case,
    Gate,
    NeedsSecondLook,
    SecondLook,
    find_moved,
    withhold,
)
from mailtwin.engine.report import (
    CheckReport,
    Listed,
    MailboxStarted,
    MappedMailbox,
    PairPlan,
    PlannedMailbox,
    Problem,
    Reporter,
    ignore_events,
)
from mailtwin.engine.sync import Survey, close, connect, count_agreed, survey_pair
from mailtwin.engine.vanished import Vanished
from mailtwin.errors import MailtwinError, Scope
from mailtwin.model import Listing, MailboxName, Side
from mailtwin.planner import Base, Copy, CreateMailbox, Identify, Plan, Remove, RemoveMailbox, Reset
from mailtwin.state import State
from mailtwin.stores.base import Observation


async def plan(pair: Pair, state: State | None, report: Reporter = ignore_events) -> PairPlan:
    """Everything that `sync` would do now. `state` is None when there is none yet. Raises what `sync` raises."""
    try:
        await connect(pair, create=False, report=report)
        survey = await _survey(pair, state)
        busy = [name for name in survey.twins if name not in survey.unchanged]
        report(Listed(len(survey.twins), len(busy), survey.operations))
        planned: list[PlannedMailbox] = []
        previews: list[_Preview] = []
        problems = list(list_doubts(pair, survey.lists))
        for index, name in enumerate(busy, 1):
            report(MailboxStarted(name, index, len(busy)))
            try:
                preview = _Preview(pair, state, survey, name)
                entry, doubts = await preview.plan()
                planned.append(entry)
                problems += doubts
                previews.append(preview)
            except MailtwinError as error:
                if error.scope > Scope.MAILBOX:
                    raise
                problems.append(Problem(error, name))
        problems += problems_of(pair, state.uncopied() if state is not None else (), ())
        if state is not None:
            problems += await _held_back(pair, state, survey, previews)
        labels = await Labels.look(pair, state, afresh=False)
        label_operations = labels.plan() if labels is not None else ()
        return PairPlan(survey.operations, tuple(planned), tuple(problems), label_operations)
    finally:
        await close(pair)


async def _survey(pair: Pair, state: State | None) -> Survey:
    survey = await survey_pair(pair, state)
    if state is None or not state.has_links():
        await refuse_itself(pair, survey.lists)
    return survey


async def _held_back(pair: Pair, state: State, survey: Survey, previews: Sequence[_Preview]) -> list[Problem]:
    """What a run would hold back, unless its second look shows something else."""
    held = _judge(pair, state, survey, previews, ())
    if not held:
        return []
    # Who arrives is asked only now that it matters: what was moved to another mailbox is not lost.
    arrived: list[Arrival] = []
    failed: list[Problem] = []
    for preview in previews:
        try:
            arrived += await preview.arrivals()
        except MailtwinError as error:
            if error.scope > Scope.MAILBOX:
                raise
            failed.append(Problem(error, preview.name))
    return [*failed, *_judge(pair, state, survey, previews, arrived)]


def _judge(
    pair: Pair, state: State, survey: Survey, previews: Sequence[_Preview], arrived: Sequence[Arrival]
) -> list[Problem]:
    """What speaks against the planned removals, when these messages arrive elsewhere in the same run."""
    budget = Budget()
    looks = {one: look for one in previews if (look := one.first_look(state, budget, arrived)) is not None}
    counts = Counter(budget.spent)
    for one, look in looks.items():
        if not one.is_disposable:
            counts.update(side for side, _ref in look.looked - look.moved)
    vanished = [Vanished(pair, state, op) for op in survey.operations if isinstance(op, RemoveMailbox)]
    for mailbox in vanished:
        counts[mailbox.side] += len(mailbox.evidence(PairTotal()).refs)
    agreed = count_agreed(pair, state, survey)
    totals = {side: PairTotal(counts[side], agreed) for side in Side}
    found = [
        (one.name, one.base, evidence)
        for one, look in looks.items()
        for evidence in one.case(state, replace(look, pair=totals)).evidence.values()
    ]
    found += [(one.name, state.base(one.name), one.evidence(totals[one.side])) for one in vanished]
    return [
        Problem(withhold(state, name, base, evidence)[1], name)
        for name, base, evidence in found
        if judge(evidence)
    ]


@dataclass(slots=True, eq=False)
class _Preview:
    """The plan of one mailbox, and what was known when it was made."""

    pair: Pair
    state: State | None
    survey: Survey
    name: MailboxName
    base: Base = field(default_factory=Base)
    known: Known | None = None
    found: Plan = field(default_factory=Plan)

    @property
    def removals(self) -> list[Remove]:
        """The removals in the plan."""
        return only(Remove, self.found)

    @property
    def is_disposable(self) -> bool:
        """Whether the mailbox is emptied as a matter of course."""
        return self.name in self.survey.disposable

    def first_look(self, state: State, budget: Budget, arrived: Sequence[Arrival]) -> SecondLook | None:
        """What the second look will be told of the first: the removals that nobody approved, and those of them that
        were moved. None when a run would remove all at the first look."""
        if self.known is None or not self.removals:
            return None
        try:
            Gate(state, self.name, budget, disposable=self.is_disposable).admit(
                self.base, self.known, self.removals
            )
        except NeedsSecondLook as need:
            moved = find_moved(state, self.name, need.looked, arrived)
            return SecondLook(need.unapproved, {side: PairTotal() for side in Side}, moved)
        return None

    def case(self, state: State, look: SecondLook) -> Case:
        """The case of the planned removals, as it is judged at the second look."""
        assert self.known is not None
        return Case.of(
            state, self.name, self.base, self.known, self.removals, look, disposable=self.is_disposable
        )

    async def arrivals(self) -> list[Arrival]:
        """The messages that the plan copies; the first ones, where they are very many."""
        found: list[Arrival] = []
        for side in Side:
            refs = [op.ref for op in only(Copy, self.found) if op.source is side][:ARRIVALS_MAX]
            if refs:
                async with self.pair.store(side).open(self.pair.name_on(side, self.name)) as mailbox:
                    who = await mailbox.identify(refs)
                found += [(self.name, one.message_id) for one in who.values() if one.message_id]
        return found

    async def plan(self) -> tuple[PlannedMailbox, list[Problem]]:
        """The first plan that needs no more looking, with a changed numbering taken as already forgotten.

        With it what keeps the mailbox from being in step whatever is done.
        """
        base = self.state.base(self.name) if self.state is not None else Base()
        missing = {
            op.side for op in self.survey.operations if isinstance(op, CreateMailbox) and op.name == self.name
        }
        if missing:
            return await self._plan_new(missing.pop())
        async with open_both(self.pair, self.name) as mailboxes:
            known = Known(mailboxes, asks_changes=False)
            await known.observe()
            return await self._settle(base, known)

    async def _settle(self, base: Base, known: Known) -> tuple[PlannedMailbox, list[Problem]]:
        records = self.state.uncopied(self.name, suspects=True) if self.state is not None else []
        backlog = Backlog.of(self.pair, self.name, records, set(), len(records))
        await backlog.refresh(known, base)
        resets: list[Reset] = []
        while True:
            found = make_plan(self.pair, base, known, backlog)
            phase = found.first_phase()
            if only(Reset, phase):
                resets += only(Reset, phase)
                base = Base()
                backlog.forget_all()
            elif only(Identify, phase):
                for request in only(Identify, phase):
                    await known.identify(request)
            else:
                problems = list(find_doubts(self.pair, self.name, base, known, found))
                problems += [
                    Problem(unreadable(), self.name, side, ref)
                    for side in Side
                    for ref in known.nameless[side].keys() - {link.ref(side) for link in base.links}
                    if (side, ref) not in backlog.known
                ]
                self.base, self.known, self.found = base, known, found
                found = replace(found, operations=(*resets, *found.operations))
                in_step = not found and not problems and not backlog.known
                return PlannedMailbox(self.name, found, in_step), problems

    async def _plan_new(self, missing: Side) -> tuple[PlannedMailbox, list[Problem]]:
        """A mailbox that one side does not have yet is planned against an empty one."""
        there = self.pair.name_on(missing.other, self.name)
        async with self.pair.store(missing.other).open(there) as mailbox:
            seen = await mailbox.observe()
        nothing = Observation(Listing({}), None)
        known = Known((mailbox, mailbox), (nothing, seen) if missing is Side.LEFT else (seen, nothing))
        return await self._settle(Base(), known)


async def check(pair: Pair, state: State | None) -> CheckReport:
    """Logs in on both sides and says how each mailbox maps, given `state`. Changes nothing. Raises as `sync`."""
    try:
        await connect(pair, create=False)
        survey = await _survey(pair, state)
        sides = tuple(pair.store(side).describe() for side in Side)
        rows = [_map_row(pair, survey, name) for name in sorted(_all_names(pair, survey))]
        problems = [
            (f"{spelling} ({side.label})", why)
            for side in Side
            for spelling, why in survey.lists[side].problems.items()
        ]
        uncopied = [
            one for one in (state.uncopied() if state is not None else ()) if pair.select(one.mailbox)
        ]
        problems += [
            (str(name), f"{count} of its messages could not be copied; `mailtwin status` tells why")
            for name, count in summaries(uncopied)
        ]
        return CheckReport(sides, tuple(rows), tuple(sorted(problems)))
    finally:
        await close(pair)


def _all_names(pair: Pair, survey: Survey) -> set[MailboxName]:
    left, right = survey.lists
    return set(left.mailboxes) | set(map(pair.names.to_left, right.mailboxes))


def _map_row(pair: Pair, survey: Survey, name: MailboxName) -> MappedMailbox:
    """How one mailbox is spelled on each side, and what becomes of it."""
    spellings = []
    for side in Side:
        info = survey.lists[side].mailboxes.get(pair.name_on(side, name))
        spellings.append((info.spelling or str(info.name)) if info is not None else "")
    if not pair.select(name):
        what = "excluded"
    elif name in survey.views:
        what = "left out: it shows messages of other mailboxes again; include it by its name to have it"
    elif all(spellings):
        what = "twinned"
    else:
        missing = Side.LEFT if not spellings[0] else Side.RIGHT
        creates = CreateMailbox in {type(op) for op in survey.operations if op.name == name}
        what = f"created on the {missing.label}" if creates else f"missing on the {missing.label}, left alone"
    return MappedMailbox(name, spellings[0], spellings[1], what)
