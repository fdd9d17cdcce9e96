"""Clocks that jump, between runs and during them, and files from the future: nothing is lost, doubled or forgotten."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.disks import Scene, letter, quick_directory
from tests.engine.test_quarantine import kept, removed_one
from tests.engine.test_sync import World, message, world

from mailtwin.engine import sync
from mailtwin.engine.pair import Keeping
from mailtwin.model import INBOX, NO_FLAGS, Side
from mailtwin.state import State
from mailtwin.state.clock import LEAP_S_MAX
from mailtwin.stores.maildir import LEFTOVER_S_MAX, MaildirStore
from mailtwin.stores.memory import Answer, Manners, MemoryStore

__all__ = ["world"]

DAY_S = 24 * 3600.0
YEAR_S = 365 * DAY_S


async def run_at(world: World, *moments: float) -> None:
    """A run at each of these moments, in seconds from now."""
    for moment in moments:
        with State.open(
            world.path,
            left="left",
            right="right",
            now=lambda: time.time() + moment,  # noqa: B023 - closed within this round
        ) as state:
            await sync(world.pair, state)


JUMPS = [[YEAR_S], [YEAR_S, 0, 60], [-YEAR_S, 0], [YEAR_S, YEAR_S + 60, YEAR_S + 3600], [-YEAR_S, YEAR_S]]


@pytest.mark.parametrize("jumps", JUMPS)
async def test_what_was_removed_stays_when_the_clock_jumps(world: World, jumps: list[float]) -> None:
    await removed_one(world)
    await run_at(world, *jumps)
    assert [one.message_id for one in kept(world)] == ["<0@sync.example>"]


@pytest.mark.parametrize("start", [0, YEAR_S, -YEAR_S])
async def test_what_was_removed_goes_after_its_days_whatever_the_year(world: World, start: float) -> None:
    await removed_one(world)
    world.pair = replace(world.pair, keeping=Keeping(days=5))
    await run_at(world, start, *(start + day * DAY_S for day in range(1, 4)))
    assert len(kept(world)) == 1
    await run_at(world, *(start + day * DAY_S for day in range(4, 7)))
    assert kept(world) == []


@pytest.mark.parametrize("jumps", JUMPS[:4])
async def test_a_copy_that_lands_late_is_known_when_the_clock_jumps(world: World, jumps: list[float]) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=lambda n: Answer.LATE if n == 0 else Answer.UID)
    await run_at(world, *jumps)
    assert world.bodies(Side.RIGHT) == [message(0)]
    world.right.land()
    await world.run()
    assert world.bodies(Side.LEFT) == [message(0)], "the late copy was copied back"


def test_the_steady_clock_never_goes_back_and_leaps_a_day_at_most(tmp_path: Path) -> None:
    now = 1e9
    chance = random.Random(1)
    last = 0.0
    with State.open(tmp_path / "s.db", left="l", right="r", now=lambda: now) as state:
        assert state.steady_now() == now
        for _ in range(100):
            now += chance.choice((1.0, 3600.0, YEAR_S, -YEAR_S, -1.0, 0.0))
            steady = state.steady_now()
            assert 0 <= steady - last <= LEAP_S_MAX or not last
            state.end_run(state.begin_run("sync"), "in step", {})
            assert state.steady_now() == steady
            last = steady


def test_it_is_the_clock_for_who_runs_every_day(tmp_path: Path) -> None:
    now = 1e9
    with State.open(tmp_path / "s.db", left="l", right="r", now=lambda: now) as state:
        for _ in range(40):
            now += LEAP_S_MAX
            assert state.steady_now() == now
            state.end_run(state.begin_run("sync"), "in step", {})


async def test_what_a_lost_state_kept_stays_as_long_as_it_would_have(world: World) -> None:
    data = await removed_one(world)
    with world.state() as state:
        directory = state.quarantine
    world.path.unlink()
    await run_at(world, 0, YEAR_S)
    assert [file.read_bytes() for file in directory.iterdir()] == [data]
    (file,) = directory.iterdir()
    old = time.time() - 31 * DAY_S
    os.utime(file, (old, old))
    await run_at(world, 0)
    assert list(directory.iterdir()) == []


# --- a Maildir ---


class Moving:
    """A clock that jumps whenever somebody looks at it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __call__(self) -> int:
        return time.time_ns() + int(self.chance.choice((0, 0, YEAR_S, -YEAR_S, 3, -3)) * 10**9)


def touched(path: Path, seconds: float) -> None:
    moment = time.time() + seconds
    os.utime(path, (moment, moment))


@pytest.mark.parametrize("seed", range(8))
async def test_runs_under_a_jumping_clock_end_as_under_any_other(seed: int, tmp_path: Path) -> None:
    with quick_directory(tmp_path) as directory:
        clock = Moving(seed)
        scene = JumpingScene(directory, now=lambda: clock() / 10**9)
        scene.clock_ns = clock
        chance = random.Random(seed)
        expected: dict[bytes, None] = {}
        for number in range(12):
            if chance.random() < 0.5:
                scene.server.add(INBOX, letter(number))
            else:
                # From the future, or from long ago; so are its directories.
                touched(scene.deliver(number), chance.choice((YEAR_S, -YEAR_S, 0)))
                touched(scene.maildir / "cur", chance.choice((YEAR_S, -YEAR_S, 0)))
            expected[letter(number)] = None
            if number % 4 == 3:
                await scene.run()
                gone = chance.choice(list(expected))
                del expected[gone]
                scene.server.user_remove(
                    INBOX, *(uid for uid, mail in scene.server.contents().items() if mail.data == gone)
                )
                scene.removed.add(gone)
            await scene.run()
        await scene.check_settled({INBOX: dict.fromkeys(expected, NO_FLAGS)})
        assert sorted(scene.kept()) == sorted(scene.removed)


class JumpingScene(Scene):
    """A scene in which the Maildir looks at a clock of ours."""

    clock_ns: Callable[[], int]

    def stores(self) -> tuple[MaildirStore, MemoryStore]:
        return MaildirStore(self.maildir, clock_ns=self.clock_ns), self.server


async def test_a_change_that_leaves_the_time_of_a_directory_is_seen(tmp_path: Path) -> None:
    """Programs that restore a directory set its time back; then the clock says that nothing happened."""
    with quick_directory(tmp_path) as directory:
        later = time.time_ns() + 3600 * 10**9
        scene = JumpingScene(directory)
        scene.clock_ns = lambda: later
        scene.deliver(1)
        await scene.run()
        assert (await scene.run()).mailboxes[0].unchanged
        cur = scene.maildir / "cur"
        before = cur.stat()
        scene.deliver(2)
        os.utime(cur, ns=(before.st_atime_ns, before.st_mtime_ns))
        await scene.run()
        assert len(scene.right()) == 2


async def test_a_file_from_the_future_is_nobodys_leftover(tmp_path: Path) -> None:
    scene = JumpingScene(tmp_path)
    scene.clock_ns = lambda: time.time_ns() - int(YEAR_S * 10**9)
    scene.deliver(1)
    other = scene.maildir / "tmp" / "delivered.by.another"
    other.write_bytes(b"half")
    await scene.run()
    assert other.exists()
    scene.clock_ns = lambda: time.time_ns() + (LEFTOVER_S_MAX + 60) * 10**9
    await scene.run()
    assert not other.exists()
