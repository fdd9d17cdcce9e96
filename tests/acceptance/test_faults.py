"""A share of the fault suite (`make faults`) and of the soak (`make soak`): nothing lost, doubled, altered or stuck.

Little mail, few runs, and not every scenario on every server.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailtwin.testing.faultproxy import Scenario
from mailtwin.testing.faults.__main__ import scenarios
from mailtwin.testing.faults.audit import Counts
from mailtwin.testing.faults.soak import soak
from mailtwin.testing.faults.tools import Mailtwin
from mailtwin.testing.faults.trial import Outcome, Patience, run_trial
from mailtwin.testing.realservers import KINDS, Kind, RealServer

SLOW = frozenset({"stall", "throttled"})
EVERYWHERE = frozenset({"append-cut", "append-cut-no-uidplus", "no-appenduid", "recreated-between"})
PATIENCE = Patience(faulty=2, clean=2, mails=6)
AT_ONCE = 4
WORLD = 7


def share(kind: Kind) -> list[Scenario]:
    """Where today's tools fail, on each server; every other scenario on one of them."""
    at = KINDS.index(kind)
    some = [scenario for scenario in scenarios() if scenario.name not in SLOW]
    return [
        scenario
        for number, scenario in enumerate(some)
        if scenario.name in EVERYWHERE or number % len(KINDS) == at
    ]


def test_every_scenario_but_the_slow_ones_is_in_a_share() -> None:
    names = {scenario.name for scenario in scenarios()}
    assert names >= SLOW
    assert {scenario.name for kind in KINDS for scenario in share(kind)} == names - SLOW


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_fault_loses_doubles_or_alters_anything(
    kind: Kind, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: RealServer = request.getfixturevalue(kind)
    limit = asyncio.Semaphore(AT_ONCE)

    async def trial(scenario: Scenario) -> Outcome:
        async with limit:
            home = tmp_path / scenario.name
            home.mkdir()
            return await run_trial(Mailtwin, server, scenario, home, patience=PATIENCE)

    some = share(kind)
    for scenario, outcome in zip(some, await asyncio.gather(*map(trial, some)), strict=True):
        counts = outcome.counts
        told = f"{scenario.name}: {counts}\n" + "\n".join(map(str, (*outcome.runs, *outcome.fired)))
        assert bool(outcome.fired) == bool(scenario.rules), told
        assert (counts.harm, counts.stuck, counts.refused, counts.flags) == (0, 0, 0, 0), told


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_random_kill_or_cut_loses_doubles_or_alters_anything(
    kind: Kind, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: RealServer = request.getfixturevalue(kind)
    numbers = (WORLD, WORLD + 1)
    worlds = await asyncio.gather(
        *(soak(Mailtwin, server, tmp_path, seed=1, number=number, runs=6) for number in numbers)
    )
    assert sum(world.killed for world in worlds) > 0
    assert sum(world.cut for world in worlds) > 0
    assert [world.counts for world in worlds] == [Counts(held=world.counts.held) for world in worlds]
