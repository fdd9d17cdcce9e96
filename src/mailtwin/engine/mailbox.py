"""One mailbox of a pair: observe, plan, execute one phase, and again until there is nothing left to do.

Recovery is this very loop: after a crash the journal holds what was begun, the next observation shows what became of
it, and the planner decides. Nothing here decides what should be done; nothing here remembers a list of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from mailtwin.engine.backlog import Backlog, Failure
from mailtwin.engine.copying import Copier
from mailtwin.engine.doubts import find_doubts, unreadable
from mailtwin.engine.known import Known, sighting_of
from mailtwin.engine.metering import LOOKED_MAX, postponed, sizes_of
from mailtwin.engine.pair import SETTLE_S, Pair, ends
from mailtwin.engine.placing import Placer
from mailtwin.engine.poison import Poisoned
from mailtwin.engine.quarantine import Keeper
from mailtwin.engine.recall import recall, remember
from mailtwin.engine.removals import Gate
from mailtwin.engine.report import (
    Counts,
    MailboxResult,
    PhaseStarted,
    Problem,
    ProblemFound,
    Progress,
    Reporter,
)
from mailtwin.errors import MailboxError, MailtwinError, MessageError, Scope
from mailtwin.model import Flags, MailboxName, Ref, Side, format_flags, make_flags
from mailtwin.model.labels import label_in
from mailtwin.planner import (
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
    Record,
    Relink,
    Remove,
    RemoveIntent,
    Reset,
    Settle,
    StoreFlags,
    StoreIntent,
    Straggler,
    ended_removals,
    plan_messages,
)
from mailtwin.state import (
    REMOVAL_S,
    AddLink,
    AddRemoval,
    AddStore,
    AddStraggler,
    Change,
    DropCopy,
    DropLink,
    DropRemoval,
    DropSnapshot,
    DropStore,
    DropStraggler,
    ForgetAll,
    Note,
    Obstacle,
    ReplaceStraggler,
    SaveSighting,
    SetFlags,
    SetValidity,
    State,
)
from mailtwin.stores.base import FlagChange

ROUNDS_MAX = 40
"""More rounds of observing and planning than any mailbox needs: each phase takes one, a moving target a few more."""

ATTEMPTS_MAX = 2
"""So often the same plan is executed; then the store does not do what it is told, and a person has to know."""

Op = TypeVar("Op")


class NeedsReconnect(Exception):
    """An interrupted copy is waited for: the destination is left, connected anew, and observed again."""

    def __init__(self, side: Side, intents: Sequence[CopyIntent]) -> None:
        super().__init__(side)
        self.side = side
        self.intents = intents


@dataclass(slots=True)
class MailboxRun:
    """The work on one mailbox while it is open on both sides; `gate` lets its removals through, or does not.

    `has_cleared`: a message that was suspected of ending connections was tried alone, and ended none.
    """

    pair: Pair
    state: State
    name: MailboxName
    known: Known
    report: Reporter
    backlog: Backlog
    gate: Gate
    problems: list[Problem] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    base: Base = field(default_factory=Base)
    unremovable: set[tuple[Side, Ref]] = field(default_factory=set)
    placer: Placer = field(init=False)
    has_cleared: bool = False
    _last: tuple[Operation, ...] = ()
    _attempts: int = 0

    def __post_init__(self) -> None:
        self.placer = Placer(self.pair, self.state, self.name)

    async def run(self) -> MailboxResult:
        """Brings the mailbox in step, as far as it can be.

        Raises NeedsReconnect, NeedsSecondLook, Poisoned, GuardError, or a store's or the state's error.
        """
        self.base = self.state.base(self.name)
        if self.base.stores:
            # A STORE whose connection was lost may still take effect, and must not be looked for before.
            await self.pair.sleep(SETTLE_S)
        if self.known.asks_changes:
            self.known.recalled = tuple(
                recall(self.pair, self.state, self.name, self.base, side) for side in Side
            )
        whole = False
        for _round in range(ROUNDS_MAX):
            await self.known.observe(whole=whole)
            self._learn_validities()
            self._commit([*await self.backlog.refresh(self.known, self.base), *self._ended_removals()])
            plan = await self._plan()
            phase = self._possible(plan.first_phase())
            if not phase:
                self._commit(await self.placer.learn(self.known))
                return self._finish(plan)
            # That something had no effect is not believed of what was told to have changed.
            whole = phase == self._last and not self.known.is_whole
            if whole:
                continue
            if self._stuck(phase):
                return self._give_up(phase)
            removals = only(Remove, phase)
            if removals:
                phase = tuple(self.gate.admit(self.base, self.known, removals))
            self.report(PhaseStarted(self.name, PHASES[type(phase[0])], len(phase), plan))
            await self._execute(phase)
        raise MailboxError(
            f"{self.name}: it changes faster than it can be brought in step", hint="run again later"
        )

    def _possible(self, phase: tuple[Operation, ...]) -> tuple[Operation, ...]:
        """The phase without the removals of what cannot be kept."""
        unremovable = self.unremovable | self.backlog.unkept()
        if not unremovable:
            return phase
        return tuple(op for op in phase if not (isinstance(op, Remove) and (op.side, op.ref) in unremovable))

    async def _plan(self) -> Plan:
        """Plans until the first phase needs more than knowledge and agreements."""
        while True:
            plan = make_plan(self.pair, self.base, self.known, self.backlog)
            phase = plan.first_phase()
            requests = only(Identify, phase)
            if requests:
                for request in requests:
                    await self._identify(request)
                self._commit(self.backlog.identified(self.known.identities))
            elif phase and all(
                isinstance(op, Record | Adopt | Relink | Forget | Abandon | Hold | Reset) for op in phase
            ):
                self.report(PhaseStarted(self.name, PHASES[type(phase[0])], len(phase), plan))
                self._commit([change for op in phase for change in self._agree(op)])
            else:
                return plan

    async def _identify(self, request: Identify) -> None:
        side = request.side
        # One that has an agreement needs no copy, whoever it is.
        linked = {link.ref(side) for link in self.base.links}
        for refs in self.backlog.portions(side, request.refs):
            with self._suspecting(side, refs, Obstacle.IDENTITY):
                if self.backlog.goes_alone((side, refs[0])):
                    # Should nobody learn who it is, its size is enough to let most others go on.
                    self.backlog.measure(side, await self.known.mailboxes[side].look(refs))
                for ref in await self.known.identify(replace(request, refs=tuple(refs))):
                    if ref not in linked:
                        self._remember(side, Failure(ref, unreadable()), Obstacle.IDENTITY)

    # --- agreements: no store is touched ---------------------------------------------------------------------------

    def _agree(self, operation: Operation) -> Iterable[Change]:
        match operation:
            case Record(link, flags, why):
                yield SetFlags(link, flags)
                yield DropStore(link.left, link.right)
                yield Note("agree", link.left, link.right, f"{format_flags(flags)} ({why})")
            case Adopt(left, right, flags, why, intent):
                self.counts += Counts(adopted=1)
                yield AddLink(Link(left, right, flags))
                if intent is not None:
                    yield DropCopy(intent)
                yield Note("adopt", left, right, why, self.known.message_id(left, right))
            case Relink(link, side, _, why, intent):
                self.counts += Counts(adopted=1)
                renewed = operation.renewed
                left, right = renewed.left, renewed.right
                yield DropLink(link)
                yield AddLink(renewed)
                if intent is not None:
                    yield AddStore(replace(intent, left=left, right=right))
                detail = f"{why}, where it was {link.ref(side)}"
                yield Note("relink", left, right, detail, self.known.message_id(left, right))
            case Forget(link, why):
                yield DropLink(link)
                yield Note("forget", link.left, link.right, why)
            case Abandon(intent, why, straggler):
                if straggler is not None:
                    yield AddStraggler(straggler)
                yield _drop(intent)
                yield Note("abandon", *ends(intent.source, intent.ref), why)
            case Hold(straggler, held, why):
                yield ReplaceStraggler(straggler, held)
                yield Note("hold", *ends(straggler.source.other, held.found), why)
            case Reset(side, old, new, why):
                self.backlog.forget_all()
                yield ForgetAll()
                yield Note("reset", None, None, f"{side.label}: {old} -> {new} ({why})")
                for each in Side:
                    yield SetValidity(each, self.known.observations[each].listing.validity)

    def _learn_validities(self) -> None:
        """A mailbox seen for the first time: from now on its links belong to these numberings."""
        self._commit(
            [
                SetValidity(side, self.known.observations[side].listing.validity)
                for side in Side
                if self.base.validity(side) is None
            ]
        )

    def _ended_removals(self) -> list[Change]:
        """Forgets the removals that were begun and say nothing any more."""
        if not self.base.removals:
            return []
        oldest = self.state.steady_now() - REMOVAL_S
        return [DropRemoval(each) for each in ended_removals(self.base, self.known.listings(), oldest)]

    def _commit(self, changes: list[Change]) -> None:
        if changes:
            self.state.commit(self.name, changes)
            self.base = self.state.base(self.name)

    # --- effects ---------------------------------------------------------------------------------------------------

    async def _execute(self, phase: tuple[Operation, ...]) -> None:
        settles = only(Settle, phase)
        if settles:
            side = settles[0].intent.source.other
            raise NeedsReconnect(side, [s.intent for s in settles if s.intent.source.other is side])
        self._commit([change for op in phase for change in self._agree(op)])
        await self._copy(only(Copy, phase))
        await self._store_flags(only(StoreFlags, phase))
        await self._remove(only(Remove, phase))

    async def _copy(self, operations: Sequence[Copy]) -> None:
        found = await self.placer.find(self.known, operations)
        for side in sorted({op.source for op in operations}):
            # A server that merges may have made a message to be copied the twin of one that was just sent to it.
            linked = {link.ref(side) for link in self.base.links}
            copies = [
                op for op in operations if op.source is side and op not in found and op.ref not in linked
            ]
            if copies:
                await self._copy_from(side, copies)
        if found:
            # Last, because the mailboxes are not open any more afterwards.
            before = self.counts
            placed = await self.placer.place(self.known, self.base, found)
            self.counts = before + Counts(
                copied_to_left=placed[Side.LEFT], copied_to_right=placed[Side.RIGHT]
            )
            self.base = self.state.base(self.name)

    async def _copy_from(self, side: Side, copies: Sequence[Copy]) -> None:
        destination = self.known.observations[side.other].listing
        before = self.counts

        def progress() -> None:
            copied = {f"copied_to_{side.other.label}": copier.copied}
            self.counts = before + Counts(**copied, transferred_bytes=copier.copied_bytes)
            self.report(
                Progress(self.name, Phase.COPY, copier.done, len(copies), self.counts.transferred_bytes)
            )

        copier = Copier(
            state=self.state,
            name=self.name,
            side=side,
            mailboxes=self.known.mailboxes,
            validity=destination.validity,
            keep=destination.vocabulary.without(self.known.ignored).keep,
            linked={link.ref(side.other) for link in self.base.links},
            merges=self.pair.store(side.other).merges,
            allowance=self.backlog.allowance(side),
            progress=progress,
        )
        wanted = {op.ref: op for op in copies}
        sizes = await self._sizes(side, list(wanted))
        try:
            for refs in self._rationed(side, self.backlog.portions(side, list(wanted)), sizes):
                with self._suspecting(side, refs, Obstacle.MESSAGE):
                    await copier.copy([wanted[ref] for ref in refs])
        finally:
            for failure in copier.failures:
                self._remember(side, failure)
        self.base = self.state.base(self.name)

    async def _sizes(self, side: Side, refs: Sequence[Ref]) -> Mapping[Ref, int] | None:
        """The sizes of messages that are to be copied; None where nothing of what they use is limited."""
        if not self.pair.meter.is_limited(side):
            return None
        return sizes_of(refs, await self.known.mailboxes[side].look(refs[:LOOKED_MAX]))

    def _rationed(
        self, side: Side, portions: Iterable[Sequence[Ref]], sizes: Mapping[Ref, int] | None
    ) -> Iterator[Sequence[Ref]]:
        """The portions as far as there is room for them in the accounts' day; what has to wait is set aside."""
        if sizes is None:
            yield from portions
            return
        for portion in portions:
            left = {ref: sizes[ref] for ref in portion}
            for refs in self.pair.meter.portions(side, portion, sizes.__getitem__):
                for ref in refs:
                    del left[ref]
                yield refs
            self.backlog.postpone(side, left)

    async def _store_flags(self, operations: Sequence[StoreFlags]) -> None:
        if not operations:
            return
        intents = [
            AddStore(StoreIntent(op.link.left, op.link.right, op.side, op.add, op.remove, op.result))
            for op in operations
        ]
        self._commit([*intents, *map(_flags_note, operations)])
        for side in Side:
            groups: dict[tuple[Flags, Flags], list[Ref]] = {}
            for op in operations:
                if op.side is side:
                    groups.setdefault((op.add, op.remove), []).append(op.link.ref(side))
            if groups:
                changes = [FlagChange(tuple(refs), add, remove) for (add, remove), refs in groups.items()]
                refused = await self.known.mailboxes[side].store_flags(changes)
                stored = sum(map(len, groups.values()))
                self.counts += Counts(**{f"flags_{side.label}": stored})
                self._leave_out(side, refused, operations)
        self.report(
            Progress(self.name, Phase.FLAGS, len(operations), len(operations), self.counts.transferred_bytes)
        )

    def _leave_out(self, side: Side, refused: Mapping[str, str], operations: Sequence[StoreFlags]) -> None:
        """What `side` does not take is left out of the comparison for this run, and told."""
        if not refused:
            return
        self.known.ignored = make_flags(self.known.ignored | refused.keys())
        self._commit([DropStore(op.link.left, op.link.right) for op in operations if refused.keys() & op.add])
        for flag, reason in sorted(refused.items()):
            what = f"the keyword {flag}" if (label := label_in(flag)) is None else f"the label {label}"
            error = MailboxError(f"{self.pair.store(side).address} does not take {what}: {reason}")
            self._problem(Problem(error, self.name, side))

    async def _remove(self, operations: Sequence[Remove]) -> None:
        if not operations:
            return
        self.state.require_sound(self.name)
        for side in Side:
            whys = {op.ref: op.why for op in operations if op.side is side}
            if whys:
                await self._remove_from(side, whys)
        self.report(
            Progress(self.name, Phase.REMOVE, len(operations), len(operations), self.counts.transferred_bytes)
        )

    async def _remove_from(self, side: Side, whys: dict[Ref, str]) -> None:
        """Removes messages on one side, each with its reason; each is kept first, unless nothing is to be kept."""
        mailbox = self.known.mailboxes[side]
        validity = self.known.observations[side].listing.validity
        if not self.pair.keeping.days:
            begun = [AddRemoval(RemoveIntent(side, ref, validity)) for ref in whys]
            notes = [Note("remove", *ends(side, ref), f"on {side.label}: {why}") for ref, why in whys.items()]
            self._commit([*begun, *notes])
            await mailbox.remove(list(whys))
            self.counts += Counts(**{f"removed_{side.label}": len(whys)})
            return
        keeper = Keeper(self.state, self.name, side, mailbox, validity)
        for portion in self.backlog.portions(side, list(whys)):
            with self._suspecting(side, portion, Obstacle.QUARANTINE):
                async with aclosing(keeper.keep({ref: whys[ref] for ref in portion})) as batches:
                    async for refs in batches:
                        await mailbox.remove(refs)
                        self.counts += Counts(**{f"removed_{side.label}": len(refs)})
                        self.pair.meter.require()
        for problem in keeper.problems:
            assert problem.ref is not None
            self.unremovable.add((side, problem.ref))
            self._problem(problem)

    # --- what does not work ----------------------------------------------------------------------------------------

    def _remember(self, side: Side, failure: Failure, obstacle: Obstacle | None = None) -> None:
        """A message could not be copied; it rests from now on."""
        before = self.backlog.known.get((side, failure.ref))
        known = before is not None and before.attempts > 0
        self._commit(self.backlog.fail(side, failure, obstacle))
        problem = Problem(failure.error, self.name, side, failure.ref, failure.message_id, known)
        if (side, failure.ref) not in self.backlog.known:
            self.problems.append(problem)
        self.report(ProblemFound(problem))

    @contextmanager
    def _suspecting(self, side: Side, portion: Sequence[Ref], obstacle: Obstacle) -> Iterator[None]:
        """When a connection ends over a message of `portion` in here, that is remembered of the message, as `obstacle`.

        Raises Poisoned when the message was alone, else the error.
        """
        try:
            yield
            self.has_cleared = self.has_cleared or self.backlog.goes_alone((side, portion[0]))
        except MailtwinError as error:
            if error.suspect is None:
                raise
            key = (side, error.suspect)
            failure = self._loss(key, error, obstacle)
            if not self.backlog.goes_alone(key):
                self._commit(self.backlog.suspect(side, failure, obstacle))
                raise
            is_new = not self.backlog.known[key].attempts
            self._remember(side, failure, obstacle)
            raise Poisoned(error, is_new=is_new) from error

    def _loss(self, key: tuple[Side, Ref], error: MailtwinError, obstacle: Obstacle) -> Failure:
        """That a connection ended over this message, with what is known of it."""
        side, ref = key
        reason = f"the connection ended each time: {error.message}"
        if obstacle is Obstacle.QUARANTINE:
            reason = f"it is not removed, because it cannot be kept; {reason}"
        who = self.known.identities[side].get(ref)
        message_id = "" if who is None else who.message_id
        size = self.backlog.size(key) if who is None else who.size
        return Failure(ref, MessageError(reason), message_id, size, who, is_loss=True)

    def _problem(self, problem: Problem) -> None:
        self.problems.append(problem)
        self.report(ProblemFound(problem))

    def _stuck(self, phase: tuple[Operation, ...]) -> bool:
        """Whether this very phase was executed before, to no effect; flags a server drops are learnt on the way."""
        if phase != self._last:
            self._last, self._attempts = phase, 1
            return False
        self._attempts += 1
        refused = make_flags(
            flag for op in only(StoreFlags, phase) for flag in op.add if not flag.startswith("\\")
        )
        if self._attempts > ATTEMPTS_MAX and refused - self.known.ignored:
            self.known.ignored = make_flags(self.known.ignored | refused)
            self._commit([DropStore(op.link.left, op.link.right) for op in only(StoreFlags, phase)])
            self._last = ()
            return False
        return self._attempts > ATTEMPTS_MAX

    def _give_up(self, phase: tuple[Operation, ...]) -> MailboxResult:
        kind = PHASES[type(phase[0])].name.lower()
        self._problem(
            Problem(
                MailboxError(
                    f"{self.name}: {len(phase)} operations ({kind}) were accepted by the store and had no effect",
                    hint="`mailtwin plan --verbose` shows them",
                ),
                self.name,
            )
        )
        return self._leave(settled=False)

    def _finish(self, plan: Plan) -> MailboxResult:
        self._commit([*self.backlog.tidy(self.known.listings(), self.base), *self._ended_removals()])
        self._commit(self.backlog.end({(op.side, op.ref) for op in only(Remove, plan)}))
        for problem in find_doubts(self.pair, self.name, self.base, self.known, plan):
            self._problem(problem)
        self._commit(self.gate.end({op.side for op in only(Remove, plan)}))
        self._note_waiting()
        return self._leave(settled=not self.problems)

    def _note_waiting(self) -> None:
        """Writes down what has to wait for another day, and tells it."""
        later, sizes = self.backlog.later, {source: list[int]() for source in Side}
        # Mostly nothing waits, and then nobody goes through the agreements.
        linked = {(side, link.ref(side)) for link in self.base.links for side in Side} if later else set()
        for (side, ref), size in later.items():
            if (side, ref) not in linked and self.known.holds(side, ref):
                sizes[side].append(size)
        for one in self.pair.meter.leave(self.name, sizes):
            self._problem(postponed(one, known=False))

    def _leave(self, settled: bool) -> MailboxResult:
        """The cursors of a mailbox in step, but for what rests, vouch that nothing is left to do in it; others only say
        what was seen.

        A side that drops a keyword is in step without it, as one that says beforehand that it cannot hold it; but
        whether it still drops it has to be looked at each time. Single messages that cannot be had do not keep the rest
        from being a measure of what is there.
        """
        in_step = settled and not self.known.ignored
        changes: list[Change] = [self._snapshot(side, in_step) for side in Side]
        if settled or all(problem.error.scope is Scope.MESSAGE for problem in self.problems):
            changes += [
                SaveSighting(
                    side, sighting_of(self.known.observations[side]), side in self.known.listed_whole
                )
                for side in Side
            ]
        self._commit(changes)
        return MailboxResult(self.name, settled and not self.backlog.known, self.counts)

    def _snapshot(self, side: Side, in_step: bool) -> Change:
        seen = self.known.observations[side]
        found = remember(self.pair, self.name, side, seen, self.base, in_step=in_step)
        return found or DropSnapshot(side)


def make_plan(pair: Pair, base: Base, known: Known, backlog: Backlog) -> Plan:
    """The plan on what is known now, without copies of what rests."""
    left, right = listings = known.listings()
    return plan_messages(known.plain_base(base), left, right, pair.policy, backlog.aside(listings))


def only(kind: type[Op], operations: Iterable[object]) -> list[Op]:
    """Those of `operations` that are of this kind."""
    return [operation for operation in operations if isinstance(operation, kind)]


def _flags_note(op: StoreFlags) -> Note:
    """A change of flags as it is begun; once it is seen it is agreed on, which is noted too."""
    changed = [f"+({format_flags(op.add)})"] if op.add else []
    changed += [f"-({format_flags(op.remove)})"] if op.remove else []
    detail = f"on {op.side.label}: {' '.join(changed)} ({op.why})"
    return Note("flags", op.link.left, op.link.right, detail)


def _drop(intent: CopyIntent | Straggler) -> Change:
    """The end of what is known of an interrupted copy."""
    return DropStraggler(intent) if isinstance(intent, Straggler) else DropCopy(intent)
