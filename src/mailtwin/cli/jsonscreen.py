"""The screen for machines: one JSON object per line on standard output; errors also as text on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mailtwin.cli import jsonform
from mailtwin.cli.output import Lines, error_lines
from mailtwin.cli.past import Past, explanation
from mailtwin.cli.screen import Screen
from mailtwin.cli.status import PairStatus
from mailtwin.engine.approving import HeldBack
from mailtwin.engine.explaining import Explanation
from mailtwin.engine.findings import Kind, Verification
from mailtwin.engine.putback import Undone
from mailtwin.engine.report import CheckReport, Compared, Event, PairPlan, RunReport
from mailtwin.engine.resolving import Decision, Undecided
from mailtwin.errors import MailtwinError
from mailtwin.state import Kept


class JsonScreen(Screen):
    """Every line names the pair that it is about; the last one is about none. `quiet`: no events of progress.
    `verbose`: also what is the same."""

    def __init__(self, out: Lines, err: Lines, *, quiet: bool = False, verbose: bool = False) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._verbose = verbose
        self._pair: str | None = None

    def begin(self, name: str, left: str, right: str) -> None:
        self._pair = name
        self._write({"event": "begin", "left": left, "right": right})

    def event(self, event: Event) -> None:
        if isinstance(event, Compared):
            shown = self._verbose or event.finding.kind is not Kind.SAME
        else:
            shown = not self._quiet
        if shown:
            self._write(jsonform.event(event))

    def report(self, report: RunReport) -> None:
        self._write(jsonform.report(report))

    def plan(self, plan: PairPlan) -> None:
        self._write(jsonform.plan(plan))

    def check(self, report: CheckReport) -> None:
        self._write(jsonform.check(report))

    def status(self, status: PairStatus) -> None:
        self._write(jsonform.status(status))

    def resolved(self, decision: Decision | None, found: Sequence[Undecided]) -> None:
        self._write(jsonform.resolved(decision, found))

    def held(self, found: Sequence[HeldBack]) -> None:
        self._write({"event": "held", "removals": list(map(jsonform.held_back, found))})

    def approved(self, done: Sequence[HeldBack], left: int) -> None:
        self._write({"event": "approve", "removals": list(map(jsonform.held_back, done)), "left": left})

    def verified(self, done: Verification) -> None:
        self._write(jsonform.verified(done))

    def log(self, past: Past) -> None:
        self._write(jsonform.log(past))

    def explained(self, found: Sequence[Explanation]) -> None:
        self._write({"event": "explain", "messages": list(map(explanation, found))})

    def checked_state(self, path: Path | None, found: Sequence[str]) -> None:
        state = None if path is None else str(path)
        self._write({"event": "state-check", "state": state, "findings": list(found)})

    def kept(self, kept: Sequence[Kept]) -> None:
        self._write(jsonform.kept(kept))

    def undone(self, undone: Undone) -> None:
        self._write(jsonform.undone(undone))

    def error(self, error: MailtwinError) -> None:
        self._write({"event": "error", **jsonform.error(error)})
        for line in error_lines(error):
            self._err.write(line)

    def end(self, exit_code: int) -> None:
        """The end of everything, with the program's exit code."""
        self._pair = None
        self._write({"event": "end", "exit_code": exit_code})

    def _write(self, form: jsonform.Json) -> None:
        # ASCII, so that neither the locale nor a name that is not Unicode can spoil a line.
        self._out.write(json.dumps({"version": jsonform.VERSION, "pair": self._pair, **form}))
