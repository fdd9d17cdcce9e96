"""`python -m mailtwin.testing.faults.soak`: hundreds of runs, each ended by kill -9 or a broken connection at random.

Worlds of two sides follow one another; in each, other programs change both sides before each run, and each run meets
one fault at a random point: the n-th command, before it, in its literal, after its effect, or in its reply. After some
runs the tool works undisturbed and both sides are counted. A world depends on the seed and its number alone, so that
`--first` goes on where an interrupted soak ended, and repeats a world that went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mailtwin.testing.faultproxy import Cut, Kill, Rule, When
from mailtwin.testing.faults.audit import Counts
from mailtwin.testing.faults.tools import TOOLS, Tool
from mailtwin.testing.faults.trial import Patience, Scene, made
from mailtwin.testing.realservers import KINDS, Kind, RealServer, running

__all__ = ["Soaked", "World", "main", "soak"]

RUNS_PER_WORLD = 10
_COMMANDS_AHEAD = 24
_PATIENCE = Patience(clean=2)
_MOMENTS = (When.BEFORE, When.IN_LITERAL, When.EXECUTED, When.EXECUTED, When.MID_REPLY)
_EVENTS = (("*",), ("*",), ("APPEND",), ("FETCH",), ("STORE", "EXPUNGE", "MOVE", "COPY"))


@dataclass(frozen=True, slots=True)
class World:
    """What came of one world: how many runs were killed and how many lost a connection, and both sides' counts."""

    number: int
    server: str
    runs: int
    killed: int
    cut: int
    counts: Counts


@dataclass(slots=True)
class Soaked:
    """All worlds so far."""

    worlds: list[World] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """Runs that met their fault."""
        return sum(world.killed + world.cut for world in self.worlds)

    def __str__(self) -> str:
        lines = []
        for kind in sorted({world.server for world in self.worlds}):
            some = [world for world in self.worlds if world.server == kind]
            counts = sum((world.counts for world in some), Counts())
            told = ", ".join(f"{value} {name}" for name, value in asdict(counts).items())
            killed, cut = sum(world.killed for world in some), sum(world.cut for world in some)
            lines.append(f"{kind}: {len(some)} worlds, {killed} runs killed, {cut} runs cut: {told}")
        return "\n".join(lines)


async def soak(
    tool: type[Tool], server: RealServer, base: Path, *, seed: int, number: int, runs: int = RUNS_PER_WORLD
) -> World:
    """One world. `base` is a directory for its files."""
    key = f"soak/{seed}/{number}"
    rng = random.Random(key)
    home = base / f"{server.kind}-{number}"
    home.mkdir(parents=True)
    killed = cut = 0
    async with made(tool, server, home, key) as scene:
        await asyncio.to_thread(scene.fill, 6, key)
        for run in range(runs):
            if run:
                await asyncio.to_thread(scene.change, 1, f"{key}/{run}")
            rule = _fault(rng)
            met = await _run(scene, rule, f"{key}/{run}")
            killed += met and isinstance(rule.do, Kill)
            cut += met and isinstance(rule.do, Cut)
        await scene.settle(_PATIENCE)
        counts = await scene.count()
    return World(number, server.kind, runs, killed, cut, counts)


def _fault(rng: random.Random) -> Rule:
    """A kill or a cut at one random point; at a command that may be the first or one of many."""
    do = Kill() if rng.random() < 0.5 else Cut(reset=rng.random() < 0.3)
    on = rng.choice(_EVENTS)
    nth = rng.randrange(1, _COMMANDS_AHEAD if on == ("*",) else 1 + _COMMANDS_AHEAD // 4)
    return Rule(do, on, rng.choice(_MOMENTS), nth)


async def _run(scene: Scene, rule: Rule, key: str) -> bool:
    """Whether the run met its fault."""
    scene.proxy.arm([rule], key)
    return (await scene.run(_PATIENCE.run_s_max)).faults > 0


async def _soak_all(
    tool: type[Tool], kinds: Sequence[Kind], first: int, runs: int, seed: int, jobs: int, log: Path | None
) -> Soaked:
    found = Soaked()
    numbers = iter(range(first, 10**9))
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailtwin-soak-")))
        servers = [stack.enter_context(running(kind, run_dir=base / kind)) for kind in kinds]

        async def work() -> None:
            while found.runs < runs:
                number = next(numbers)
                # The server follows from the number, so that --first repeats the same world.
                server = servers[number % len(servers)]
                world = await soak(tool, server, base / "homes", seed=seed, number=number)
                found.worlds.append(world)
                sys.stderr.write(f"{found.runs:5} runs: {world}\n")
                if log:
                    with log.open("a") as file:
                        file.write(json.dumps(asdict(world)) + "\n")

        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until so many runs met their fault; 1 when anything was lost, doubled, altered or stuck in silence."""
    parser = argparse.ArgumentParser(prog="python -m mailtwin.testing.faults.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="that were killed or cut [1000]")
    parser.add_argument("--first", type=int, default=0, help="the world to begin with [0]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", action="append", choices=KINDS, help="[all]")
    parser.add_argument("--tool", choices=list(TOOLS), default="mailtwin")
    parser.add_argument("--jobs", type=int, default=2, help="worlds at the same time [2]")
    parser.add_argument("--log", type=Path, metavar="PATH", help="append a line of JSON for each world")
    chosen = parser.parse_args(arguments)
    found = asyncio.run(
        _soak_all(
            TOOLS[chosen.tool],
            chosen.server or list(KINDS),
            chosen.first,
            chosen.runs,
            chosen.seed,
            chosen.jobs,
            chosen.log,
        )
    )
    total = sum((world.counts for world in found.worlds), Counts())
    sys.stdout.write(f"{chosen.tool}, seed {chosen.seed}: {found.runs} runs killed or cut\n{found}\n")
    return int(bool(total.harm or total.stuck))


if __name__ == "__main__":
    sys.exit(main())
