"""`python -m mailtwin.testing.faults`: every scenario with every tool against every server, in one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mailtwin.testing.faultproxy import Scenario, load
from mailtwin.testing.faults.table import Cell, as_json, summary, text
from mailtwin.testing.faults.tools import TOOLS, Endpoint, Tool
from mailtwin.testing.faults.trial import Patience, run_trial
from mailtwin.testing.realservers import KINDS, Kind, RealServer, running

__all__ = ["main", "scenarios"]

SCENARIOS = Path(__file__).parent / "scenarios"


def scenarios(wanted: Sequence[str] = ()) -> list[Scenario]:
    """The scenarios of these names or files; all that are shipped if none is named. Raises ScenarioError, OSError."""
    paths = [Path(name) if name.endswith(".toml") else SCENARIOS / f"{name}.toml" for name in wanted]
    return [load(path) for path in paths or sorted(SCENARIOS.glob("*.toml"))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suite; 1 when mailtwin lost, doubled or altered anything, or left something stuck in silence."""
    parser = argparse.ArgumentParser(prog="python -m mailtwin.testing.faults", description=__doc__)
    parser.add_argument(
        "--scenario", action="append", default=[], metavar="NAME", help="or a TOML file [all]"
    )
    parser.add_argument("--server", action="append", choices=KINDS, help="[all]")
    parser.add_argument("--tool", action="append", choices=list(TOOLS), help="[all]")
    parser.add_argument("--runs", type=int, default=6, help="with faults, at most, in each stage [6]")
    parser.add_argument("--mails", type=int, default=8, help="letters on each side in each mailbox [8]")
    parser.add_argument("--seed", type=int, help="in the place of the scenarios' own")
    parser.add_argument("--maildir", action="store_true", help="the left side is a Maildir")
    parser.add_argument("--jobs", type=int, default=2, help="trials at the same time [2]")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every trial as a line of JSON")
    chosen = parser.parse_args(arguments)
    patience = Patience(faulty=chosen.runs, mails=chosen.mails)
    cells = asyncio.run(
        _all(
            scenarios(chosen.scenario),
            chosen.server or list(KINDS),
            [TOOLS[name] for name in chosen.tool or TOOLS],
            patience,
            chosen.seed,
            chosen.maildir,
            chosen.jobs,
        )
    )
    if chosen.json:
        chosen.json.write_text("".join(json.dumps(as_json(cell)) + "\n" for cell in cells))
    versions = "\n".join(
        f"{name}: {tool.version() or 'not installed'}"
        for name, tool in TOOLS.items()
        if not chosen.tool or name in chosen.tool
    )
    sys.stdout.write(f"{versions}\n\n{text(cells)}\n\n{summary(cells)}\n")
    ours = [cell.outcome.counts for cell in cells if cell.tool == "mailtwin" and cell.outcome]
    return int(any(counts.harm or counts.stuck for counts in ours))


async def _all(
    wanted: Sequence[Scenario],
    kinds: Sequence[Kind],
    tools: Sequence[type[Tool]],
    patience: Patience,
    seed: int | None,
    maildir: bool,
    jobs: int,
) -> list[Cell]:
    limit = asyncio.Semaphore(jobs)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailtwin-faults-")))
        servers = {kind: stack.enter_context(running(kind, run_dir=base / kind)) for kind in kinds}

        async def trial(scenario: Scenario, server: RealServer, tool: type[Tool]) -> Cell:
            number = scenario.seed if seed is None else seed
            absent = _absent(tool, server.kind, maildir)
            outcome = None
            if not absent:
                async with limit:
                    home = base / "homes" / f"{scenario.name}-{server.kind}-{tool.name}"
                    home.mkdir(parents=True)
                    outcome = await run_trial(
                        tool, server, scenario, home, seed=number, patience=patience, maildir=maildir
                    )
            cell = Cell(scenario.name, server.kind, tool.name, number, outcome, absent)
            sys.stderr.write(text([cell]).splitlines()[1] + "\n")
            return cell

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(trial(scenario, servers[kind], tool))
                for scenario in wanted
                for kind in kinds
                for tool in tools
            ]
        return [task.result() for task in tasks]


def _absent(tool: type[Tool], kind: Kind, maildir: bool) -> str:
    if tool.path() is None:
        return "not installed"
    left = Endpoint(path=Path("Maildir")) if maildir else Endpoint(kind)
    return tool.unable(left, Endpoint(kind)) or ""


if __name__ == "__main__":
    sys.exit(main())
