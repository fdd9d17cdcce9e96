"""What a run would do, and how mailboxes map: the same survey and the same planner, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mailtwin.engine.backlog import Backlog, problems_of, summaries
from mailtwin.engine.doubts import find_doubts, list_doubts, unreadable
from mailtwin.engine.guards import Evidence, PairTotal, judge
from mailtwin.engine.known import Known
from mailtwin.engine.labelling import Labels
from mailtwin.engine.mailbox import make_plan, only
from mailtwin.engine.pair import Pair, open_both
from mailtwin.engine.removals import Case, withhold
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
from mailtwin.planner import Base, CreateMailbox, Identify, Remove, RemoveMailbox, Reset
from mailtwin.state import State
from mailtwin.stores.base import Observation


async def plan(pair: Pair, state: State | None, report: Reporter = ignore_events) -> PairPlan:
    """Everything that `sync` would do now. `state` is None when there is none yet. Raises what `sync` raises."""
    try:
        await connect(pair, create=False, report=report)
        survey = await survey_pair(pair, state)
        busy = [name for name in survey.twins if name not in survey.unchanged]
        report(Listed(len(survey.twins), len(busy), survey.operations))
        planned: list[PlannedMailbox] = []
        removals: list[tuple[MailboxName, Evidence]] = []
        problems = list(list_doubts(pair, survey.lists))
        for index, name in enumerate(busy, 1):
            report(MailboxStarted(name, index, len(busy)))
            try:
                preview = _Preview(pair, state, survey, name)
                entry, doubts = await preview.plan()
                planned.append(entry)
                problems += doubts
                removals += [(name, found) for found in preview.removals]
            except MailtwinError as error:
                if error.scope > Scope.MAILBOX:
                    raise
                problems.append(Problem(error, name))
        problems += problems_of(pair, state.uncopied() if state is not None else (), ())
        if state is not None:
            removals += _removed_with_their_mailbox(pair, state, survey)
            problems += _held_back(pair, state, removals)
        labels = await Labels.look(pair, state, afresh=False)
        label_operations = labels.plan() if labels is not None else ()
        return PairPlan(survey.operations, tuple(planned), tuple(problems), label_operations)
    finally:
        await close(pair)


def _removed_with_their_mailbox(
    pair: Pair, state: State, survey: Survey
) -> Iterator[tuple[MailboxName, Evidence]]:
    for operation in survey.operations:
        if isinstance(operation, RemoveMailbox):
            yield operation.name, Vanished(pair, state, operation).evidence(PairTotal())


def _held_back(
    pair: Pair, state: State, removals: Sequence[tuple[MailboxName, Evidence]]
) -> Iterator[Problem]:
    """What a run would hold back, unless a second look shows something else."""
    agreed = count_agreed(pair, state)
    for name, found in removals:
        count = sum(len(other.refs) for _, other in removals if other.side is found.side)
        whole = replace(found, pair=PairTotal(count, agreed))
        if judge(whole):
            yield Problem(withhold(state, name, state.base(name), whole)[1], name)


@dataclass(slots=True)
class _Preview:
    """The plan of one mailbox. `removals`: what is known of those in it that are not approved."""

    pair: Pair
    state: State | None
    survey: Survey
    name: MailboxName
    removals: Sequence[Evidence] = ()

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
            known = Known(mailboxes)
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
                    for ref in known.nameless[side]
                    if (side, ref) not in backlog.known
                ]
                self.removals = self._evidence(base, known, only(Remove, found))
                found = replace(found, operations=(*resets, *found.operations))
                in_step = not found and not problems and not backlog.known
                return PlannedMailbox(self.name, found, in_step), problems

    def _evidence(self, base: Base, known: Known, operations: Sequence[Remove]) -> Sequence[Evidence]:
        if self.state is None or not operations:
            return ()
        return tuple(Case.of(self.state, self.name, base, known, operations).evidence.values())

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
        survey = await survey_pair(pair, state)
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
