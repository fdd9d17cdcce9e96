"""Runs the program as a process of its own and kills it: SIGKILL, no farewell, at random moments of its work.

A moment is a number of events (lines of `--json`) and a while after the last of them, as long as events take in that
very run: so kills fall between two steps as well as into the middle of one, however fast the machine is.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.running import PROGRAM

RUN_S_MAX = 1_200
_EVENTS_BEFORE_WORK = 4
_AT_WORK = ("mailbox-started", "phase-started", "progress", "mailbox-finished")


@dataclass(frozen=True, slots=True)
class Run:
    """How one process ended: by itself with `code`, or killed (`code` is -9)."""

    code: int
    events: tuple[dict[str, Any], ...]
    errors: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def at_work(self) -> bool:
        """Whether the last that was seen of it is that it worked on a mailbox."""
        return bool(self.events) and self.events[-1]["event"] in _AT_WORK

    @property
    def counts(self) -> dict[str, int]:
        """What the run says it did."""
        return next((dict(e["counts"]) for e in self.events if e["event"] == "report"), {})

    def __str__(self) -> str:
        last = {key: self.events[-1].get(key) for key in ("event", "mailbox", "phase")} if self.events else {}
        return f"code {self.code} after {len(self.events)} events, the last {last} {self.errors.strip()}"


@dataclass(slots=True)
class Twin:
    """One pair, and every run of it so far."""

    home: Path
    left: str
    right: str
    password: str
    rng: random.Random
    runs: list[Run] = field(default_factory=list)

    def run(self) -> Run:
        """To its end."""
        return self._run(None)

    def run_killed(self, first: int, events: int) -> Run:
        """Kills it when it has told of `first` to `first + events` events, if it lasts as long."""
        return self._run(first + self.rng.randrange(events))

    def _run(self, kill_after: int | None) -> Run:
        with tempfile.TemporaryFile() as errors:
            started = time.monotonic()
            process = subprocess.Popen(
                [PROGRAM, "sync", "--json", self.left, self.right],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self.environ(),
            )
            seen: list[bytes] = []
            first = started
            try:
                assert process.stdout is not None
                while (kill_after is None or len(seen) <= kill_after) and (line := process.stdout.readline()):
                    first = first if seen else time.monotonic()
                    seen.append(line)
                    assert time.monotonic() - started < RUN_S_MAX
                if kill_after is not None and process.poll() is None:
                    # The start is left out: it takes longer than the whole work on a small store.
                    time.sleep(self.rng.uniform(0, 2 * (time.monotonic() - first) / max(1, len(seen))))
                    process.kill()
                seen += process.stdout.read().splitlines(keepends=True)
                code = process.wait(RUN_S_MAX)
            finally:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()
            errors.seek(0)
            told = errors.read().decode(errors="replace")
        run = Run(code, tuple(json.loads(line) for line in seen if line.endswith(b"\n")), told)
        self.runs.append(run)
        return run

    def environ(self) -> dict[str, str]:
        """The environment of every run: a home of its own, and the passwords."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILTWIN_", "XDG_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "MAILTWIN_LEFT_PASSWORD": self.password,
            "MAILTWIN_RIGHT_PASSWORD": self.password,
            # Compiled modules are half of the start, and must not be written into the tree that is tested.
            "PYTHONPYCACHEPREFIX": str(self.home / "bytecode"),
            "PYTHONDONTWRITEBYTECODE": "",
        }


def bring_in_step(twin: Twin, kills: int, events: int) -> list[Run]:
    """Kills run after run, then lets one end; those that were killed. `events`: about as many has the whole work.

    A run that ended before its moment must have ended well, and is no kill.
    """
    killed: list[Run] = []
    for number in range(kills):
        # Once while it is still connecting, perhaps; then it is at work.
        run = twin.run_killed(_EVENTS_BEFORE_WORK if number else 0, max(2, events // kills))
        if run.killed:
            killed.append(run)
        else:
            assert run.code == 0, run
    last = twin.run()
    assert last.code == 0, last
    return killed
