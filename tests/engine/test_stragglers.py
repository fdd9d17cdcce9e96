"""Copies whose fate nobody knows: those that land after they were given up, and those that come and go unseen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.engine.test_sync import World, answers, message, world

from mailtwin.engine import plan
from mailtwin.engine.resolving import Decision, Undecided, resolve, undecided
from mailtwin.errors import ExitCode
from mailtwin.model import INBOX, Side
from mailtwin.state import State
from mailtwin.state.state import STRAGGLER_S
from mailtwin.stores.memory import Answer, Manners

__all__ = ["world"]


def decide(world: World, decision: Decision) -> list[Undecided]:
    """A person decides between two runs."""
    with world.state() as state:
        return resolve(state, decision)


def waiting(world: World) -> list[Undecided]:
    """What waits for a person."""
    with world.state() as state:
        assert state.check() == []
        return undecided(state)


async def stall(world: World, count: int = 1) -> None:
    """The server's session hangs with a copy in it, `count` times; each is given up and sent again; then all wake."""
    for number in range(count):
        world.left.add(INBOX, message(number))
    # Each time the copies before the one that hangs are stored.
    script = [answer for _ in range(count) for answer in (Answer.LATE, Answer.UID)]
    world.right.manners = Manners(answer=answers(*script))
    report = await world.run()
    assert report.in_step, report.problems
    assert world.right.land() == count
    assert world.bodies(Side.RIGHT) == sorted([message(number) for number in range(count)] * 2)


async def test_what_lands_after_it_was_sent_again_is_never_new_mail(world: World) -> None:
    await stall(world)
    for _ in range(3):
        report = await world.run()
        assert report.exit_code is ExitCode.NOT_IN_STEP
        (problem,) = report.problems
        assert (problem.side, problem.ref) == (Side.RIGHT, 2)
        assert "arrived on right late" in problem.error.message
        assert world.bodies(Side.LEFT) == [message(0)]
        assert len(world.bodies(Side.RIGHT)) == 2
    (one,) = waiting(world)
    assert (one.is_extra, one.side, one.ref, one.message_id) == (True, Side.RIGHT, 2, "<0@sync.example>")


async def test_an_extra_copy_that_is_not_wanted_is_removed(world: World) -> None:
    await stall(world, 3)
    await world.run()
    assert len(decide(world, Decision.REMOVE_EXTRA)) == 3
    assert waiting(world) == decide(world, Decision.KEEP_EXTRA) == []
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_right == 3
    assert world.bodies(Side.RIGHT) == [message(0), message(1), message(2)]
    await world.check()


async def test_an_extra_copy_that_is_kept_is_mail_like_any_other(world: World) -> None:
    await stall(world)
    await world.run()
    assert len(decide(world, Decision.KEEP_EXTRA)) == 1
    report = await world.run()
    assert report.in_step, report.problems
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(0)] * 2
    await world.check()


async def test_an_extra_copy_that_somebody_removed_is_decided(world: World) -> None:
    await stall(world)
    await world.run()
    world.right.user_remove(INBOX, 2)
    assert (await world.run()).in_step
    assert waiting(world) == []
    await world.check()


async def test_an_extra_copy_of_a_message_that_was_removed_does_not_come_back(world: World) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=answers(Answer.LATE))
    assert (await world.run()).in_step
    world.left.user_remove(INBOX, 1)
    assert (await world.run()).in_step
    assert world.bodies(Side.RIGHT) == []
    world.right.land()
    assert not (await world.run()).in_step
    assert world.bodies(Side.LEFT) == []


async def test_new_mail_arrives_as_ever_while_a_straggler_is_awaited(world: World) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=answers(Answer.LATE))
    assert (await world.run()).in_step
    world.right.add(INBOX, message(7))
    world.left.add(INBOX, message(8))
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(0), message(7), message(8)]
    await world.check()


async def test_a_straggler_stays_known_when_the_mailbox_is_renumbered(world: World) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=answers(Answer.LATE))
    assert (await world.run()).in_step
    world.right.user_renumbers(INBOX)
    world.right.land()
    assert not (await world.run()).in_step
    assert world.bodies(Side.LEFT) == [message(0)]
    decide(world, Decision.REMOVE_EXTRA)
    assert (await world.run()).in_step
    await world.check()


async def test_a_plan_shows_what_is_held_and_changes_nothing(world: World) -> None:
    await stall(world)
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert [type(op).__name__ for op in planned.mailboxes[0].plan] == ["Hold"]
    assert waiting(world) == []


@pytest.mark.parametrize(("seconds", "known"), [(STRAGGLER_S - 60, True), (STRAGGLER_S + 60, False)])
async def test_stragglers_that_do_not_arrive_in_time_are_forgotten(
    world: World, seconds: float, known: bool, tmp_path: Path
) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=answers(Answer.LATE))
    assert (await world.run()).in_step
    now = time.time()
    with State.open(world.path, left="left", right="right", now=lambda: now) as state:
        for part in (0.5, 1.0):
            now = time.time() + seconds * part
            state.end_run(state.begin_run("sync"), "in step", {})
        assert bool(state.stragglers()) is known


async def test_one_that_was_found_waits_for_as_long_as_it_takes(world: World) -> None:
    await stall(world)
    await world.run()
    later = time.time() + 10 * STRAGGLER_S
    with State.open(world.path, left="left", right="right", now=lambda: later) as state:
        state.end_run(state.begin_run("sync"), "in step", {})
        assert len(undecided(state)) == 1


async def test_what_came_and_went_unseen_is_not_sent_again_until_a_person_says_so(world: World) -> None:
    """Its answer was lost, and somebody moved the copy away before the next look: sent again it would be doubled."""
    for number in range(3):
        world.left.add(INBOX, message(number))
    world.right.manners = Manners(answer=answers(Answer.LOST_AFTER))

    def move_away() -> None:
        if 1 in world.right.contents():
            world.right.user_remove(INBOX, 1)

    world.when_sleeping = move_away
    for _ in range(2):
        report = await world.run()
        assert report.exit_code is ExitCode.NOT_IN_STEP
        assert "may be what came to right and is gone again" in report.problems[-1].error.message
    # The others were certainly not stored by then, and did not have to wait.
    assert world.bodies(Side.RIGHT) == [message(1), message(2)]
    (one,) = waiting(world)
    assert (one.is_extra, one.side, one.ref) == (False, Side.LEFT, 1)
    assert decide(world, Decision.REMOVE_EXTRA) == []
    assert len(decide(world, Decision.SEND_AGAIN)) == 1
    report = await world.run()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == [message(0), message(1), message(2)]
    await world.check()


async def test_a_decision_may_concern_some_only(world: World) -> None:
    await stall(world, 2)
    await world.run()
    with world.state() as state:
        (decided,) = resolve(state, Decision.KEEP_EXTRA, lambda one: one.message_id == "<1@sync.example>")
    assert decided.message_id == "<1@sync.example>"
    assert not (await world.run()).in_step
    assert world.bodies(Side.LEFT) == [message(0), message(1), message(1)]
