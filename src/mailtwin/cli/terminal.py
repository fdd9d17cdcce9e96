"""The screen of a person at a terminal: progress bars and tables. Imports rich, so it is itself imported late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mailtwin.cli import words
from mailtwin.cli.output import Lines, harmless
from mailtwin.cli.screen import TextScreen
from mailtwin.engine import report as events
from mailtwin.engine.findings import Kind, Verification
from mailtwin.engine.report import CheckReport, Event, PairPlan, RunReport
from mailtwin.errors import MailtwinError

NAME_CHARS_MAX = 28


class TerminalLines(Lines):
    """Lines above the progress bars."""

    def __init__(self, console: Console) -> None:
        super().__init__(console.file)  # type: ignore[arg-type]
        self._console = console

    def write(self, line: str = "") -> None:
        # Text, not markup: names of mailboxes hold brackets.
        self._console.print(Text(harmless(line)), soft_wrap=True)


class TerminalScreen(TextScreen):
    """Shows one bar for the mailboxes and one for the messages of the current one."""

    def __init__(
        self, out: Lines, console: Console, *, quiet: bool, verbose: bool, tables: Console | None
    ) -> None:
        self._console = console
        super().__init__(out, TerminalLines(console), quiet=quiet, verbose=verbose)
        self._tables = tables
        self._progress: Progress | None = None
        self._mailboxes = self._messages = TaskID(0)

    def event(self, event: Event) -> None:
        if isinstance(event, events.Compared):
            if self.verbose or event.finding.kind is not Kind.SAME:
                self.pause()
            super().event(event)
            return
        bars = self._bars()
        match event:
            case events.Connected(side=side, address=address):
                bars.update(self._mailboxes, description=f"connected: {side.label}", detail=Text(address))
            case events.Listed(changed=changed):
                bars.update(self._mailboxes, description="mailboxes", total=changed, detail=Text())
            case events.MailboxStarted(name=name, index=index, total=total):
                detail = Text(f"{index:,} of {total:,}")
                bars.update(self._mailboxes, total=total, completed=index - 1, detail=detail)
                bars.update(self._messages, visible=True, total=None, completed=0, detail=Text())
                bars.update(self._messages, description=short(str(name)))
            case events.PhaseStarted(phase=phase, operations=operations):
                detail = Text(f"{words.PHASES[phase]} {operations:,}")
                bars.update(self._messages, total=operations or None, completed=0, detail=detail)
            case events.Progress(phase=phase, done=done, total=total, transferred_bytes=transferred):
                size = f", {words.size(transferred)}" if transferred else ""
                detail = Text(f"{words.PHASES[phase]} {done:,} of {total:,}{size}")
                bars.update(self._messages, total=total, completed=done, detail=detail)
            case events.MailboxFinished():
                bars.advance(self._mailboxes)
            case events.Verifying(name=name, done=done, total=total, read_bytes=read):
                detail = Text(f"reading {done:,} of {total:,}, {words.size(read)}")
                bars.update(self._messages, total=total or None, completed=done, detail=detail)
            case events.MailboxVerified():
                bars.advance(self._mailboxes)
            case events.ProblemFound() | events.Reconnecting():
                pass
        if not isinstance(event, events.Progress):
            super().event(event)

    def report(self, report: RunReport) -> None:
        self.pause()
        super().report(report)

    def plan(self, plan: PairPlan) -> None:
        self.pause()
        super().plan(plan)

    def check(self, report: CheckReport) -> None:
        self.pause()
        super().check(report)

    def verified(self, done: Verification) -> None:
        self.pause()
        super().verified(done)

    def error(self, error: MailtwinError) -> None:
        self.pause()
        super().error(error)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if self._tables is None:
            super().table(head, rows)
            return
        table = Table(*head)
        for row in rows:
            table.add_row(*(Text(harmless(cell)) for cell in row))
        self._tables.print(table)

    def pause(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _bars(self) -> Progress:
        if self._progress is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._mailboxes = self._progress.add_task("connecting", total=None, detail="")
            self._messages = self._progress.add_task("", total=None, visible=False, detail="")
            self._progress.start()
        return self._progress


def short(name: str) -> str:
    """A mailbox name that fits beside a bar."""
    name = harmless(name)
    return name if len(name) <= NAME_CHARS_MAX else "..." + name[-(NAME_CHARS_MAX - 3) :]


def make(out: TextIO, err: TextIO, *, quiet: bool, verbose: bool) -> TextScreen:
    """A screen whose tables are drawn only where standard output is a terminal as well."""
    tables = Console(file=out) if out.isatty() else None
    return TerminalScreen(Lines(out), Console(file=err), quiet=quiet, verbose=verbose, tables=tables)
