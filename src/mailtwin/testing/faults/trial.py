"""One trial: two sides, one tool, one scenario, one seed; run until it had its chance, then read and counted.

The tool sees the left side directly, the right side through the proxy. First both sides hold different mail, and become
one; then both are changed, by other programs, and become one again. In each of both stages the tool is run up to
`Patience.faulty` times with faults (no more once a run ended well without any), then `Patience.clean` times without.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailtwin.testing.faultproxy import FaultProxy, Fired, Recreate, Rule, Scenario
from mailtwin.testing.faults.audit import Counts, Expected, audit
from mailtwin.testing.faults.sides import MAILBOXES, Found, MaildirSide, ServerSide, Side, letters
from mailtwin.testing.faults.tools import Endpoint, Tool
from mailtwin.testing.realservers import RealServer

__all__ = ["Outcome", "Patience", "Run", "Scene", "run_trial"]

_OUTPUT_KEPT = 4000


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a tool is run in each stage, how long a run may take, and how much mail there is.

    A run over its time is killed: a stalled server would keep any tool for minutes. `mails`: letters that each side
    begins with, in each mailbox.
    """

    faulty: int = 6
    clean: int = 2
    run_s_max: float = 45.0
    mails: int = 8


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tool: its exit code (None: killed, by a fault or for its time), and the faults it met."""

    code: int | None
    seconds: float
    faults: int
    output: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial came to."""

    counts: Counts
    runs: tuple[Run, ...]
    fired: tuple[Fired, ...]
    events: int

    @property
    def kills(self) -> int:
        """Runs that did not end by themselves."""
        return sum(run.code is None for run in self.runs)


@dataclass(slots=True)
class Scene:
    """Two sides, what they must hold, and a tool that is run through the proxy."""

    left: Side
    right: ServerSide
    tool: Tool
    proxy: FaultProxy
    rng: random.Random
    source: itertools.count[int] = field(default_factory=itertools.count)
    expected: Expected = field(default_factory=Expected)
    runs: list[Run] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None

    # --- people ---

    def fill(self, count: int, seed: str) -> None:
        """Both sides get mailboxes, and each its own mail."""
        for number, side in enumerate((self.left, self.right)):
            side.create()
            self._deliver(side, count, f"{seed}/{number}")

    def _deliver(self, side: Side, count: int, seed: str) -> None:
        for mailbox in MAILBOXES:
            side.deliver(mailbox, itertools.islice(letters(f"{seed}/{mailbox}", self.source), count))
        self.expected.add(side.read())

    def change(self, count: int, seed: str) -> None:
        """On each side, in each mailbox, `count` letters are removed, as many get other flags, as many are new."""
        contents = self.left.read(), self.right.read()
        once = [_once(side) for side in contents]
        both = sorted(once[0].keys() & once[1].keys())
        self.rng.shuffle(both)
        for mailbox in MAILBOXES:
            some = iter([number for number in both if once[0][number].mailbox == mailbox])
            for side, found in zip((self.left, self.right), once, strict=True):
                gone = [found[number] for number in itertools.islice(some, count)]
                side.remove(gone)
                self.expected.removed.update(one.number for one in gone if one.number is not None)
                marked = [found[number] for number in itertools.islice(some, count)]
                side.flag({one: one.flags ^ {"\\flagged"} for one in marked})
        for number, side in enumerate((self.left, self.right)):
            self._deliver(side, count, f"{seed}/{number}")

    # --- the tool ---

    def kill(self) -> None:
        """Kills the run that is going on: SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def run(self, seconds_max: float) -> Run:
        """Runs the tool once."""
        faults, began = len(self.proxy.fired), time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            *self.tool.arguments(),
            env=self.tool.environ(),
            cwd=self.tool.home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        reading = asyncio.create_task(process.stdout.read())
        try:
            await asyncio.wait_for(process.wait(), seconds_max)
        except TimeoutError:
            self.kill()
        finally:
            self.kill()
            code = await process.wait()
            self._process = None
        output = (await reading).decode(errors="replace")[-_OUTPUT_KEPT:]
        run = Run(
            None if code == -signal.SIGKILL else code,
            time.monotonic() - began,
            len(self.proxy.fired) - faults,
            output,
        )
        self.runs.append(run)
        return run

    async def stage(self, rules: Sequence[Rule], seed: str, patience: Patience) -> None:
        """With faults until it had its chance, then without."""
        self.proxy.arm(rules, seed)
        for _ in range(patience.faulty):
            run = await self.run(patience.run_s_max)
            if run.code == 0 and not run.faults:
                break
        await self.settle(patience)

    async def settle(self, patience: Patience) -> None:
        """What was held back arrives; then runs without faults."""
        self.proxy.arm(())
        await self.proxy.at_rest()
        for _ in range(patience.clean):
            await self.run(patience.run_s_max)

    async def count(self) -> Counts:
        """Both sides, read and counted."""
        left, right, held = await asyncio.gather(
            asyncio.to_thread(self.left.read),
            asyncio.to_thread(self.right.read),
            asyncio.to_thread(self.tool.held),
        )
        confessed = bool(self.runs) and self.runs[-1].code != 0
        return audit(self.expected, left, right, marks=self.tool.marks, held=held, confessed=confessed)


async def run_trial(
    tool: type[Tool],
    server: RealServer,
    scenario: Scenario,
    home: Path,
    *,
    seed: int | None = None,
    patience: Patience | None = None,
    maildir: bool = False,
) -> Outcome:
    """One trial. `home`: an empty directory for the tool (and the Maildir on the left, if wanted)."""
    patience = patience or Patience()
    key = f"{scenario.name}/{server.kind}/{scenario.seed if seed is None else seed}"
    async with made(tool, server, home, key, maildir=maildir) as scene:
        rules = _spelt(scenario.rules, scene.right)
        await asyncio.to_thread(scene.fill, patience.mails, key)
        await scene.stage(rules, f"{key}/fill", patience)
        await asyncio.to_thread(scene.change, max(1, patience.mails // 4), f"{key}/change")
        await scene.stage(rules, f"{key}/change", patience)
        counts = await scene.count()
        passed = scene.proxy.passed.total()
        return Outcome(counts, tuple(scene.runs), tuple(scene.proxy.fired), passed)


class made:  # noqa: N801 - reads like a function where it is used
    """A scene with its proxy, for as long as the context lasts."""

    def __init__(
        self, tool: type[Tool], server: RealServer, home: Path, key: str, *, maildir: bool = False
    ) -> None:
        self._right = ServerSide(server)
        self._left: Side = MaildirSide(home / "Maildir") if maildir else ServerSide(server)
        self._tool, self._home, self._key, self._server = tool, home, key, server

    async def __aenter__(self) -> Scene:
        account = self._right.account
        self._proxy = FaultProxy(self._server.port, account=(account.user, account.password))
        await self._proxy.__aenter__()
        tool = self._tool(
            self._home / "tool", _endpoint(self._left, 0), _endpoint(self._right, self._proxy.port)
        )
        scene = Scene(self._left, self._right, tool, self._proxy, random.Random(self._key))
        self._proxy.kill = scene.kill
        await asyncio.to_thread(tool.prepare)
        return scene

    async def __aexit__(self, *error: object) -> None:
        await self._proxy.__aexit__(None, None, None)


def _endpoint(side: Side, port: int) -> Endpoint:
    if isinstance(side, MaildirSide):
        return Endpoint(path=side.root)
    assert isinstance(side, ServerSide)
    server, account = side.server, side.account
    return Endpoint(server.kind, port or server.port, account.user, account.password, server.prefix)


def _spelt(rules: Sequence[Rule], side: ServerSide) -> tuple[Rule, ...]:
    """The rules with mailbox names as the server has them."""
    return tuple(
        replace(rule, do=Recreate(side.spelt(rule.do.mailbox))) if isinstance(rule.do, Recreate) else rule
        for rule in rules
    )


def _once(contents: Sequence[Found]) -> dict[int, Found]:
    """The letters that one side has exactly once."""
    seen: dict[int, list[Found]] = {}
    for one in contents:
        if one.number is not None:
            seen.setdefault(one.number, []).append(one)
    return {number: some[0] for number, some in seen.items() if len(some) == 1}
