"""How results and progress reach whoever called: one interface, and its plainest form, lines of text.

Results go to standard output, everything else to standard error. The other forms are imported only where they are
wanted: `mailtwin.cli.terminal` (progress bars and tables) and `mailtwin.cli.jsonscreen`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from mailtwin.cli import words
from mailtwin.cli.output import Lines, aligned, error_lines
from mailtwin.cli.past import Past, aligned_lines, explained, took
from mailtwin.cli.status import PairStatus, outcome
from mailtwin.engine.approving import HeldBack
from mailtwin.engine.explaining import Explanation
from mailtwin.engine.findings import Kind, Verification
from mailtwin.engine.putback import Undone
from mailtwin.engine.report import (
    CheckReport,
    Compared,
    Event,
    Listed,
    MailboxFinished,
    MailboxResult,
    PairPlan,
    ProblemFound,
    Progress,
    Reconnecting,
    RunReport,
    Verifying,
)
from mailtwin.engine.resolving import Decision, Undecided
from mailtwin.errors import MailtwinError
from mailtwin.model import Side
from mailtwin.state import Kept

PROGRESS_S = 10.0
"""Without a terminal, a long phase says so often that it is alive: the line lands in a log."""


class Screen(ABC):
    """Shows what happens. All methods may be called for several pairs, one after the other, each after `begin`."""

    @abstractmethod
    def begin(self, name: str, left: str, right: str) -> None:
        """Work on a pair begins; `left` and `right` are its addresses."""

    @abstractmethod
    def event(self, event: Event) -> None:
        """The engine tells of its progress."""

    @abstractmethod
    def report(self, report: RunReport) -> None:
        """A synchronisation ended."""

    @abstractmethod
    def plan(self, plan: PairPlan) -> None:
        """A plan was made."""

    @abstractmethod
    def check(self, report: CheckReport) -> None:
        """The mailboxes were looked at."""

    @abstractmethod
    def status(self, status: PairStatus) -> None:
        """A state was read."""

    @abstractmethod
    def resolved(self, decision: Decision | None, found: Sequence[Undecided]) -> None:
        """What was decided; without a decision, what waits for one."""

    @abstractmethod
    def held(self, found: Sequence[HeldBack]) -> None:
        """What is held back until it is approved."""

    @abstractmethod
    def approved(self, done: Sequence[HeldBack], left: int) -> None:
        """What was approved; `left` mailboxes were not, because what they hold back has changed."""

    def not_approved(self) -> None:
        """Nobody said yes, so nothing was approved."""

    @abstractmethod
    def verified(self, done: Verification) -> None:
        """A verification ended; its findings were told as events."""

    @abstractmethod
    def log(self, past: Past) -> None:
        """What was done in the past."""

    @abstractmethod
    def explained(self, found: Sequence[Explanation]) -> None:
        """What is known of a message."""

    @abstractmethod
    def checked_state(self, path: Path | None, found: Sequence[str]) -> None:
        """What contradicts the invariants of the state at `path`; None when there is none yet."""

    @abstractmethod
    def kept(self, kept: Sequence[Kept]) -> None:
        """What was removed and can be put back."""

    @abstractmethod
    def undone(self, undone: Undone) -> None:
        """What was put back."""

    @abstractmethod
    def error(self, error: MailtwinError) -> None:
        """Work on the pair ended with an error."""

    def pause(self) -> None:
        """Something else will use the terminal, or everything ended."""


class TextScreen(Screen):
    """Plain lines. `quiet`: nothing as long as all is well. `verbose`: a line for each operation and each event."""

    def __init__(
        self,
        out: Lines,
        err: Lines,
        *,
        quiet: bool = False,
        verbose: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.out = out
        self.err = err
        self.quiet = quiet
        self.verbose = verbose
        self.now_s = now_s
        self.name = ""
        self.addresses = ""
        self._began_s = now_s()
        self._shown_s = now_s()
        self._titled = False

    def begin(self, name: str, left: str, right: str) -> None:
        self.addresses = f"{left} <-> {right}"
        self.name = "" if name == self.addresses else f"{name}: "
        self._began_s = self._shown_s = self.now_s()
        self._titled = False

    def title(self, lines: Lines) -> None:
        """Says which pair the following is about."""
        lines.write(f"{self.name}{self.addresses}")

    def event(self, event: Event) -> None:
        if isinstance(event, Compared):
            self._compared(event)
        if self.quiet:
            return
        match event:
            case Listed(total=total, changed=changed, operations=operations):
                self.title(self.err)
                self.err.write(f"{words.number(total, 'mailbox')}, {changed:,} to look into")
                for operation in operations:
                    self.err.write(f"{operation.name}: {words.mailbox_operation(operation)}")
            case MailboxFinished(result=result) if self.verbose or _is_news(result):
                self.err.write(words.mailbox_line(result))
                self._shown_s = self.now_s()
            case Reconnecting():
                self.err.write(words.reconnecting(event))
            case ProblemFound(problem=problem) if self.verbose:
                self.err.write(f"problem: {words.problem_line(problem)}")
            case Progress() if self.now_s() - self._shown_s >= PROGRESS_S:
                self._shown_s = self.now_s()
                size = words.size(event.transferred_bytes)
                done = f"{event.done:,} of {event.total:,}"
                self.err.write(f"{event.name}: {words.PHASES[event.phase]}, {done} ({size})")
            case Verifying() if self.now_s() - self._shown_s >= PROGRESS_S:
                self._shown_s = self.now_s()
                done = f"{event.done:,} of {event.total:,}"
                self.err.write(f"{event.name}: reading, {done} ({words.size(event.read_bytes)})")
            case _:
                pass

    def _compared(self, event: Compared) -> None:
        """Differences are results, told as they are found; there may be too many of them to be kept."""
        if self.verbose or event.finding.kind is not Kind.SAME:
            if not self._titled:
                self._titled = True
                self.title(self.out)
            self.out.write(words.finding(event.finding))

    def verified(self, done: Verification) -> None:
        if self.quiet and done.identical:
            return
        took = words.duration(self.now_s() - self._began_s)
        self.out.write(f"{self.name}{words.verified(done)}; {took}")

    def report(self, report: RunReport) -> None:
        for line in words.problem_lines(report.problems):
            self.err.write(line)
        if self.quiet and report.in_step:
            return
        outcome = (
            "in step" if report.in_step else "not in step" if report.is_news else "not in step as before"
        )
        took = words.duration(self.now_s() - self._began_s)
        self.out.write(f"{self.name}{outcome}: {words.counts(report.counts)}; {took}")

    def plan(self, plan: PairPlan) -> None:
        self.title(self.out)
        lines: dict[str, list[str]] = {}
        for operation in plan.mailbox_operations:
            lines.setdefault(str(operation.name), []).append(words.mailbox_operation(operation))
        for operation in plan.label_operations:
            lines.setdefault(f"label {operation.name}", []).append(words.mailbox_operation(operation))
        for entry in plan.mailboxes:
            lines.setdefault(str(entry.name), []).extend(words.plan_lines(entry.plan, verbose=self.verbose))
        rows = [
            (name if not index else "", line)
            for name in sorted(lines)
            for index, line in enumerate(lines[name])
        ]
        for line in aligned(rows) or ["nothing to do"]:
            self.out.write(line)
        for line in words.problem_lines(plan.problems):
            self.err.write(line)

    def check(self, report: CheckReport) -> None:
        self.title(self.out)
        for side in Side:
            for line in report.sides[side]:
                self.out.write(f"{side.label}: {line}")
        self.table(
            ("left", "right", ""), [(row.left or "-", row.right or "-", row.what) for row in report.rows]
        )
        for name, why in report.problems:
            self.err.write(f"problem: {name}: {why}")

    def status(self, status: PairStatus) -> None:
        self.title(self.out)
        self.out.write(f"state: {status.path}")
        if not status.runs:
            self.out.write("no run yet")
            self._accounts(status)
            return
        messages = words.number(status.links, "message")
        self.out.write(f"{words.number(len(status.mailboxes), 'mailbox')}, {messages} in agreement")
        if status.intents:
            where = ", ".join(map(str, status.busy_mailboxes))
            self.out.write(
                f"{words.number(status.intents, 'operation')} begun and not seen to end, in: {where}"
            )
        if status.kept:
            bytes_ = words.size(sum(kept.size for kept in status.kept))
            removed = words.number(len(status.kept), "removed message")
            self.out.write(f"{removed} kept ({bytes_}); `mailtwin undo` shows them")
        for lacking in status.uncopied:
            self.out.write(f"{words.undone(lacking)}: {words.uncopied_line(lacking)}")
        for held in status.held:
            hint = "" if held.held.is_approved else "; `mailtwin approve` shows the messages and asks"
            self.out.write(f"held back: {words.held_line(held)}{hint}")
        for one in status.unresolved:
            self.out.write(f"unresolved: {words.undecided(one)}")
        self._accounts(status)
        self.table(
            ("began", "run", "", "outcome", "done"),
            [
                (words.local_time(run.began), str(run.run), run.command, outcome(run), words.run_counts(run))
                for run in status.runs
            ],
        )

    def _accounts(self, status: PairStatus) -> None:
        for use in status.uses:
            for line in words.account_lines(use):
                self.out.write(f"account: {line}")

    def resolved(self, decision: Decision | None, found: Sequence[Undecided]) -> None:
        self.title(self.out)
        for one in found:
            self.out.write(words.undecided(one))
        self.out.write(words.resolved(decision, found))

    def held(self, found: Sequence[HeldBack]) -> None:
        self.title(self.out)
        for line in words.held_lines(found):
            self.out.write(line)

    def approved(self, done: Sequence[HeldBack], left: int) -> None:
        for line in words.approved(done, left):
            self.out.write(line)

    def not_approved(self) -> None:
        self.out.write("nothing was approved; `mailtwin approve --yes` approves without asking")

    def log(self, past: Past) -> None:
        self.title(self.out)
        if past.runs is not None:
            rows = [
                (
                    str(run.run),
                    words.local_time(run.began),
                    took(run),
                    run.command,
                    outcome(run),
                    words.run_counts(run),
                )
                for run in past.runs
            ]
            self.table(("run", "began", "took", "command", "outcome", "done"), rows)
        else:
            when = {line.number: words.local_time(line.at) for line in past.entries}
            head = ("when", "run", "mailbox", "what", "message", "why")
            self.table(head, aligned_lines(past.entries, when))
        if not (past.runs or past.entries):
            self.out.write("nothing is noted")
        if past.more:
            self.err.write("older ones are not shown; see --limit and --since")

    def explained(self, found: Sequence[Explanation]) -> None:
        self.title(self.out)
        for one in found:
            for line in explained(one):
                self.out.write(line)
            when = {line.number: words.local_time(line.at) for line in one.history}
            for line in aligned(aligned_lines(one.history, when)):
                self.out.write(f"  {line}")
        if not found:
            self.out.write("nothing is known of it")

    def checked_state(self, path: Path | None, found: Sequence[str]) -> None:
        self.title(self.out)
        if path is None:
            self.out.write("no run yet")
            return
        for problem in found:
            self.out.write(problem)
        sound = "sound" if not found else words.number(len(found), "contradiction")
        self.out.write(f"state: {path}: {sound}")

    def kept(self, kept: Sequence[Kept]) -> None:
        self.title(self.out)
        for line in words.kept_lines(kept):
            self.out.write(line)

    def undone(self, undone: Undone) -> None:
        self.title(self.out)
        if undone.restored or undone.problems:
            self.out.write(f"{words.number(len(undone.restored), 'message')} put back")
        else:
            self.out.write("nothing to put back: nothing like that is kept, `mailtwin undo` shows what is")
        for line in words.problem_lines(undone.problems):
            self.err.write(line)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on standard output."""
        if rows:
            for line in aligned([tuple(head), *map(tuple, rows)]):
                self.out.write(line)

    def error(self, error: MailtwinError) -> None:
        for line in error_lines(error):
            self.err.write(line)


def _is_news(result: MailboxResult) -> bool:
    return not result.in_step or any(result.counts.as_dict().values())
