"""What the commands do: pair by pair, each with its own screenful and error.

A pair that fails does not keep the others from being tried; the exit code is that of the failures when they are all of
one kind.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import click

from mailtwin.cli import runner
from mailtwin.cli.named import NamedMailbox
from mailtwin.cli.output import Lines
from mailtwin.cli.screen import Screen, TextScreen
from mailtwin.cli.targets import Overrides, find_pairs
from mailtwin.config.build import Built, build_pair, with_stand_ins
from mailtwin.config.secrets import ask_at_terminal
from mailtwin.errors import ExitCode, MailtwinError
from mailtwin.model import MailboxName
from mailtwin.state import Ledger, State


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, parsed."""

    targets: tuple[str, ...]
    overrides: Overrides
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    retry: bool = False
    full: bool = False
    decisions: tuple[str, ...] = ()
    yes: bool = False
    mailbox: str | None = None
    message_id: str | None = None
    deep: bool = False
    run: int | None = None
    since: float | None = None
    limit: int = 0
    message: str = ""
    side: str | None = None


def make_options(values: Mapping[str, Any]) -> Options:
    """Options from what click hands over, by name; a command that lacks one has its default."""
    overrides = {field.name: values[field.name] for field in fields(Overrides) if field.name in values}
    own = {name: value for name, value in values.items() if name not in overrides}
    return Options(overrides=Overrides(**overrides), **own)


def make_screen(options: Options, *, narrates: bool) -> Screen:
    """The screen for this call: JSON where wanted, bars on a terminal, plain lines elsewhere.

    `narrates`: what the engine tells of its progress is worth lines that stay.
    """
    if options.as_json:
        from mailtwin.cli.jsonscreen import JsonScreen

        return JsonScreen(Lines(sys.stdout), Lines(sys.stderr), quiet=options.quiet, verbose=options.verbose)
    silent = options.quiet or not narrates
    if sys.stderr.isatty() and not options.quiet:
        from mailtwin.cli import terminal

        return terminal.make(sys.stdout, sys.stderr, quiet=silent, verbose=options.verbose)
    return TextScreen(Lines(sys.stdout), Lines(sys.stderr), quiet=silent, verbose=options.verbose)


def run(command: str, options: Options) -> int:
    """Runs the command of this name and returns the exit code."""
    return {
        "sync": sync,
        "plan": plan,
        "check": check,
        "status": status,
        "resolve": resolve,
        "approve": approve,
        "verify": verify,
        "log": log,
        "explain": explain,
        "state-check": check_state,
        "undo": undo,
    }[command](options)


def sync(options: Options) -> int:
    """Makes both sides of each pair hold the same mail."""
    from mailtwin import engine

    async def one(built: Built, screen: Screen) -> ExitCode:
        with _open_state(built) as state:
            report = await engine.sync(built.pair, state, screen.event)
        screen.report(report)
        return report.exit_code

    return _each(options, lambda built, screen: _online(built, screen, one, creates=True), narrates=True)


def plan(options: Options) -> int:
    """Shows what `sync` would do."""
    from mailtwin import engine

    async def one(built: Built, screen: Screen) -> ExitCode:
        with looking_ahead(built) as (ready, state):
            planned = await engine.plan(ready.pair, state, screen.event)
        screen.plan(planned)
        return planned.exit_code

    return _each(options, lambda built, screen: _online(built, screen, one))


def check(options: Options) -> int:
    """Logs in on both sides and shows how each mailbox maps."""
    from mailtwin import engine

    async def one(built: Built, screen: Screen) -> ExitCode:
        with looking_ahead(built) as (ready, state):
            report = await engine.check(ready.pair, state)
        screen.check(report)
        return ExitCode.NOT_IN_STEP if report.problems else ExitCode.OK

    return _each(options, lambda built, screen: _online(built, screen, one))


@contextmanager
def looking_ahead(built: Built) -> Iterator[tuple[Built, State | None]]:
    """The pair as a first run would find it, and its state, only for reading."""
    with _state_of(built) as state:
        yield with_stand_ins(built, agreed=state is not None and state.has_links()), state


def status(options: Options) -> int:
    """Shows the state of each pair; asks nobody and connects nowhere."""
    from mailtwin.cli.status import read_status

    def one(built: Built, screen: Screen) -> ExitCode:
        screen.status(read_status(built))
        return ExitCode.OK

    return _each(options, one)


def resolve(options: Options) -> int:
    """Decides about the messages that wait for a person, or shows them; asks nobody and connects nowhere."""
    from mailtwin.engine.resolving import Decision, Undecided, undecided
    from mailtwin.engine.resolving import resolve as decide

    mailbox = _mailbox(options)

    def concerns(one: Undecided) -> bool:
        return mailbox in (None, one.mailbox) and options.message_id in (None, one.message_id)

    def one(built: Built, screen: Screen) -> ExitCode:
        if options.decisions:
            with _open_state(built) as state:
                for decision in map(Decision, options.decisions):
                    screen.resolved(decision, decide(state, decision, concerns))
            return ExitCode.OK
        with _state_of(built) as known:
            found = [] if known is None else [each for each in undecided(known) if concerns(each)]
        screen.resolved(None, found)
        return ExitCode.NOT_IN_STEP if found else ExitCode.OK

    return _each(options, one)


def approve(options: Options) -> int:
    """Lets removals that were held back through, after a person has seen them; connects nowhere."""
    from mailtwin.engine.approving import approve as let_through
    from mailtwin.engine.approving import held_back

    def one(built: Built, screen: Screen) -> ExitCode:
        with _state_of(built) as known:
            found = [] if known is None else held_back(known, _mailbox(options))
        screen.held(found)
        waiting = [each for each in found if not each.held.is_approved]
        if not waiting:
            return ExitCode.OK
        if not (options.yes or _is_confirmed(options, sum(len(each.held.refs) for each in waiting))):
            screen.not_approved()
            return ExitCode.NOT_IN_STEP
        with _open_state(built) as state:
            done = let_through(state, waiting)
        screen.approved(done, len(waiting) - len(done))
        return ExitCode.OK if len(done) == len(waiting) else ExitCode.NOT_IN_STEP

    return _each(options, one)


def _is_confirmed(options: Options, count: int) -> bool:
    """Whether a person at the terminal says so; without one, nobody does."""
    from mailtwin.cli.words import number

    if options.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(f"Remove {number(count, 'message')} at the next sync?", err=True)


def verify(options: Options) -> int:
    """Compares both sides message by message. Digests are remembered in the state, if there is one."""
    from mailtwin import engine

    async def one(built: Built, screen: Screen) -> ExitCode:
        with _open_state(built) if built.state.exists() else nullcontext() as state:
            done = await engine.verify(built.pair, state, deep=options.deep, report=screen.event)
        screen.verified(done)
        return done.exit_code

    return _each(options, lambda built, screen: _online(built, screen, one), narrates=True)


def _mailbox(options: Options) -> MailboxName | None:
    """The mailbox that the command line names. Raises ValueError."""
    return None if options.mailbox is None else MailboxName.parse(options.mailbox)


def _open_state(built: Built) -> State:
    """The state of the pair, for writing; made on first use. Raises as `State.open`."""
    left, right = built.pair.left.address, built.pair.right.address
    return State.open(built.state, left=left, right=right, now=time.time)


@contextmanager
def _state_of(built: Built) -> Iterator[State | None]:
    """The state of the pair, only for reading; None when there is none yet."""
    state = State.read_only(built.state, left=built.pair.left.address, right=built.pair.right.address)
    try:
        yield state
    finally:
        if state is not None:
            state.close()


def log(options: Options) -> int:
    """Shows the last runs, or what was done in one of them, or in a mailbox; from the state alone."""
    from mailtwin.cli.past import Past
    from mailtwin.engine.explaining import with_message_ids

    since = options.since
    mailbox = _mailbox(options)

    def runs(state: State) -> Past:
        found = [run for run in state.runs(options.limit + 1) if since is None or run.began >= since]
        return Past(tuple(found[: options.limit]), more=len(found) > options.limit)

    def entries(state: State) -> Past:
        found = state.history(mailbox=mailbox, run=options.run, since=since, limit=options.limit + 1)
        shown = with_message_ids(state, found[: options.limit])
        return Past(None, tuple(reversed(shown)), more=len(found) > options.limit)

    def one(built: Built, screen: Screen) -> ExitCode:
        lists_runs = options.run is None and mailbox is None
        with _state_of(built) as state:
            if state is None:
                screen.log(Past(() if lists_runs else None))
            else:
                screen.log(runs(state) if lists_runs else entries(state))
        return ExitCode.OK

    return _each(options, one)


def explain(options: Options) -> int:
    """Shows what was done to a message and what is known of it; from the state alone."""
    from mailtwin.engine.explaining import Explanation, explain_message_id, explain_ref
    from mailtwin.model import Side

    mailbox = _mailbox(options)
    side = None if options.side is None else Side.LEFT if options.side == "left" else Side.RIGHT
    found: list[Explanation] = []

    def about(state: State) -> list[Explanation]:
        by_ref = [] if mailbox is None else explain_ref(state, mailbox, options.message, side)
        if by_ref or "@" not in options.message:
            return by_ref
        message_id = options.message if options.message.startswith("<") else f"<{options.message}>"
        return explain_message_id(state, message_id, mailbox)

    def one(built: Built, screen: Screen) -> ExitCode:
        with _state_of(built) as state:
            known = [] if state is None else about(state)
        found.extend(known)
        screen.explained(known)
        return ExitCode.OK

    return _each(options, one, at_end=lambda: ExitCode.OK if found else ExitCode.FAILED)


def check_state(options: Options) -> int:
    """Looks for contradictions in the state of each pair; works while a run is going on."""

    def one(built: Built, screen: Screen) -> ExitCode:
        with _state_of(built) as state:
            found = [] if state is None else state.check()
        screen.checked_state(None if state is None else built.state, found)
        return ExitCode.STATE if found else ExitCode.OK

    return _each(options, one)


def undo(options: Options) -> int:
    """Puts back what a run removed, or shows what can be put back."""
    from mailtwin import engine
    from mailtwin.state import Kept

    mailbox = _mailbox(options)

    def is_named(kept: Kept) -> bool:
        return mailbox in (None, kept.mailbox) and options.message_id in (None, kept.message_id)

    def concerns(kept: Kept) -> bool:
        return is_named(kept) and kept.run == options.run

    async def put_back(built: Built, screen: Screen) -> ExitCode:
        with _open_state(built) as state:
            undone = await engine.undo(built.pair, state, concerns)
        screen.undone(undone)
        if undone.problems:
            return ExitCode.NOT_IN_STEP
        return ExitCode.OK if undone.restored else ExitCode.FAILED

    def one(built: Built, screen: Screen) -> ExitCode:
        if options.run is not None:
            return _online(built, screen, put_back)
        with _state_of(built) as state:
            screen.kept(() if state is None else list(filter(is_named, state.kept())))
        return ExitCode.OK

    return _each(options, one)


def _online(
    built: Built, screen: Screen, work: Callable[[Built, Screen], Any], *, creates: bool = False
) -> ExitCode:
    """Asks for passwords while nothing is open yet, then works until done or interrupted.

    What the accounts use is noted; without `creates` only where something was noted before.
    """
    with _metered(built, creates=creates) as metered:
        metered.pair.meter.admit(retry=metered.pair.retry)
        for login in built.logins:
            login.find()
        gc.freeze()
        gc.enable()
        result: ExitCode = runner.run(work(metered, screen))
    return result


@contextmanager
def _metered(built: Built, *, creates: bool) -> Iterator[Built]:
    """The pair with a meter of its accounts, if it has any."""
    from mailtwin.engine.metering import Meter

    stores = (built.pair.left, built.pair.right)
    if not any(store.account for store in stores) or not (creates or built.ledger.exists()):
        yield built
        return
    with Ledger.open(built.ledger, now=time.time) as ledger:
        yield replace(built, pair=replace(built.pair, meter=Meter(ledger, stores)))


def _each(
    options: Options,
    work: Callable[[Built, Screen], ExitCode],
    *,
    narrates: bool = False,
    at_end: Callable[[], ExitCode] = lambda: ExitCode.OK,
) -> int:
    """Does the work on each pair; `at_end` judges what all of them together came to, when none failed."""
    screen = make_screen(options, narrates=narrates)
    named = NamedMailbox(_mailbox(options))
    try:
        code = worst(_all(options, screen, work, named))
        if code is ExitCode.OK:
            named.require()
            code = at_end()
    except MailtwinError as error:
        code = error.exit_code
        screen.error(error)
    finally:
        screen.pause()
    return code


def _all(
    options: Options, screen: Screen, work: Callable[[Built, Screen], ExitCode], named: NamedMailbox
) -> Iterable[ExitCode]:
    for settings in find_pairs(options.targets, options.overrides):
        built = build_pair(settings, ask_at_terminal, retry=options.retry, full=options.full)
        screen.begin(built.name, settings.left.address, settings.right.address)
        try:
            yield work(built, screen) if named.concerns(built) else ExitCode.OK
        except MailtwinError as error:
            screen.error(error)
            yield error.exit_code


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """One exit code for several: 0 when all are, the code of the one kind of failure, else 3."""
    kinds = set(codes) - {ExitCode.OK}
    if len(kinds) <= 1:
        return kinds.pop() if kinds else ExitCode.OK
    return ExitCode.NOT_IN_STEP
