"""What is removed is kept, and what is kept can be put back, exactly once, whatever interrupts either."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.engine.test_real import account
from tests.engine.test_sync import World, answers, message, world

from mailtwin.engine import Pair, sync, undo
from mailtwin.engine.pair import Keeping
from mailtwin.engine.resolving import Decision, resolve
from mailtwin.errors import ExitCode, StorageError
from mailtwin.model import INBOX, MailboxName, Side, make_flags
from mailtwin.planner import Policy
from mailtwin.state import Kept, State
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.memory import Answer, Manners
from mailtwin.testing.realservers import RealServer

__all__ = ["world"]

DATE = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
FLAGS = make_flags(["\\Flagged", "$Work"])


def all_of_it(_kept: Kept) -> bool:
    return True


async def undo_all(pair: Pair, state: State) -> None:
    """Puts back all that is kept."""
    await undo(pair, state, all_of_it)


def kept(world: World) -> list[Kept]:
    """What is kept; every row has its file with the right bytes, and every file a row."""
    with world.state() as state:
        assert state.check() == []
        found = state.kept()
        files = {path.name: path.stat().st_size for path in state.quarantine.glob("*")}
    assert {one.file: one.size for one in found} == files
    return found


async def removed_one(world: World) -> bytes:
    """Two messages in step, then one of them is removed on the left, and on the right by a run."""
    for number in range(2):
        world.left.add(INBOX, message(number), FLAGS, DATE)
    await world.run()
    world.left.user_remove(INBOX, 1)
    report = await world.run()
    assert report.in_step
    assert report.counts.removed_right == 1
    return message(0)


async def test_a_removed_message_is_kept_and_put_back(world: World) -> None:
    data = await removed_one(world)
    (one,) = kept(world)
    assert (one.side, one.ref, one.flags, one.date, one.run) == (Side.RIGHT, 1, FLAGS, DATE, 2)
    assert one.message_id == "<0@sync.example>"
    with world.state() as state:
        assert (state.quarantine / one.file).read_bytes() == data
        assert state.quarantine.stat().st_mode & 0o777 == 0o700
        undone = await undo(world.pair, state, all_of_it)
    assert [each.ref for each in undone.restored] == [1]
    assert kept(world) == []
    back = world.right.contents()[3]
    assert (back.data, back.flags, back.date) == (data, FLAGS, DATE)
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(0), message(1)]
    await world.check()


@pytest.mark.parametrize("left_too", [False, True])
async def test_removing_may_be_interrupted_at_every_step(tmp_path: Path, left_too: bool) -> None:
    """Nothing is gone that is not kept, and nothing is kept twice."""
    stop_at = 0
    finished = False
    while not finished:
        stop_at += 1
        (tmp_path / str(stop_at)).mkdir()
        world = World(tmp_path / str(stop_at))
        for number in range(4):
            world.left.add(INBOX, message(number))
        await world.run()
        world.left.user_remove(INBOX, 1, 2)
        if left_too:
            world.right.user_remove(INBOX, 3)
        finished = await world.run_until(stop_at)
        with world.state() as state:
            there = {one.file for one in state.kept()}
            lost = {message(0), message(1)} - {mail.data for mail in world.right.contents().values()}
            assert lost <= {(state.quarantine / file).read_bytes() for file in there}
        assert (await world.run()).in_step
        assert len(kept(world)) == (3 if left_too else 2), stop_at
        await world.check()
        with world.state() as state:
            await undo(world.pair, state, all_of_it)
        assert (await world.run()).in_step
        assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(n) for n in range(4)]
    assert stop_at > 8


@pytest.mark.parametrize("answer", [Answer.UID, Answer.ACCEPTED, Answer.LOST_BEFORE, Answer.LOST_AFTER])
async def test_undo_may_be_interrupted_at_every_step(tmp_path: Path, answer: Answer) -> None:
    stop_at = 0
    finished = False
    while not finished:
        stop_at += 1
        (tmp_path / str(stop_at)).mkdir()
        world = World(tmp_path / str(stop_at))
        data = await removed_one(world)
        world.right.manners = Manners(answer=answers(*[answer] * 3))
        finished = await world.run_until(stop_at, undo_all)
        world.right.manners = Manners()
        with world.state() as state:
            undone = await undo(world.pair, state, all_of_it)
            assert not undone.problems
            assert state.kept() == []
        assert world.bodies(Side.RIGHT) == [data, message(1)], stop_at
        assert (await world.run()).in_step
        assert kept(world) == []
        await world.check()
    assert stop_at > 4


async def lose_the_answer(world: World) -> None:
    """An undo whose answer was lost, although the message was stored."""
    await removed_one(world)
    world.right.manners = Manners(answer=answers(*[Answer.LOST_AFTER] * 9))
    with world.state() as state:
        undone = await undo(world.pair, state, all_of_it)
    assert undone.problems
    world.right.manners = Manners()


@pytest.mark.parametrize("meanwhile", ["sync", "renumbered", "both"])
async def test_what_was_stored_without_an_answer_is_found_whatever_happened_meanwhile(
    world: World, meanwhile: str
) -> None:
    await lose_the_answer(world)
    if meanwhile in ("renumbered", "both"):
        world.right.user_renumbers(INBOX)
    if meanwhile in ("sync", "both"):
        assert (await world.run()).in_step
    with world.state() as state:
        undone = await undo(world.pair, state, all_of_it)
        assert not undone.problems
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(0), message(1)]
    assert kept(world) == []


async def test_what_a_first_undo_stores_after_a_second_one_is_held(world: World) -> None:
    """The server's process that had it was suspended, and wakes much later."""
    data = await removed_one(world)
    world.right.manners = Manners(answer=answers(Answer.UID, Answer.UID, Answer.LATE))
    for restored in ([], [1]):
        with world.state() as state:
            undone = await undo(world.pair, state, all_of_it)
        assert [each.ref for each in undone.restored] == restored
    assert (await world.run()).in_step
    assert world.right.land() == 1
    report = await world.run()
    assert not report.in_step
    assert "arrived on right late" in report.problems[0].error.message
    assert world.bodies(Side.LEFT) == [data, message(1)]
    assert world.bodies(Side.RIGHT) == [data, data, message(1)]
    with world.state() as state:
        assert len(resolve(state, Decision.REMOVE_EXTRA)) == 1
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [data, message(1)]
    await world.check()


async def test_what_both_undos_store_before_the_next_run_is_copied_once(world: World) -> None:
    data = await removed_one(world)
    world.right.manners = Manners(answer=answers(Answer.UID, Answer.UID, Answer.LATE))
    for _ in range(2):
        with world.state() as state:
            await undo(world.pair, state, all_of_it)
    assert world.right.land() == 1
    assert not (await world.run()).in_step
    assert world.bodies(Side.LEFT) == [data, message(1)]


async def test_an_undo_of_an_interrupted_removal_lets_the_message_stay(world: World) -> None:
    for number in range(2):
        world.left.add(INBOX, message(number))
    await world.run()
    world.left.user_remove(INBOX, 1)
    stop_at, begun = 0, False
    while 1 in world.right.contents():
        stop_at += 1
        await world.run_until(stop_at)
        with world.state() as state:
            begun = bool(state.kept()) and 1 in world.right.contents()
            if begun:
                await undo(world.pair, state, all_of_it)
        if begun:
            break
    assert begun
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(0), message(1)]


async def test_what_an_interrupted_run_kept_belongs_to_the_run_that_removed_it(world: World) -> None:
    await removed_one(world)
    world.left.user_remove(INBOX, 2)
    kept_at = 0
    for stop_at in range(1, 30):
        await world.run_until(stop_at)
        with world.state() as state:
            kept_at = max((one.run or 0 for one in state.kept()), default=0)
        if kept_at > 2:
            break
    world.right.user_flags(INBOX, 2, make_flags(["\\Answered"]))
    assert (await world.run()).in_step
    last = next(one for one in kept(world) if one.ref == 2)
    with world.state() as state:
        assert last.run == state.runs(1)[0].run
    assert last.flags == make_flags(["\\Answered"])


async def test_a_run_that_changes_nothing_costs_one_durable_write_whatever_is_kept(world: World) -> None:
    await removed_one(world)
    writes: list[None] = []
    with State.open(
        world.path, left="left", right="right", now=time.time, on_commit=lambda: writes.append(None)
    ) as state:
        assert (await sync(world.pair, state)).in_step
    assert len(writes) == 2  # told of before and after the commit
    assert len(kept(world)) == 1


async def test_a_refusal_leaves_it_kept(world: World) -> None:
    await removed_one(world)
    world.right.manners = Manners(answer=answers(*[Answer.REFUSED] * 9))
    with world.state() as state:
        undone = await undo(world.pair, state, all_of_it)
    assert not undone.restored
    assert "does not take the message" in undone.problems[0].error.message
    assert len(kept(world)) == 1


async def test_a_file_that_is_not_what_was_kept_is_not_put_back(world: World) -> None:
    await removed_one(world)
    with world.state() as state:
        (one,) = state.kept()
        (state.quarantine / one.file).write_bytes(b"something else")
        damaged = await undo(world.pair, state, all_of_it)
        (state.quarantine / one.file).unlink()
        missing = await undo(world.pair, state, all_of_it)
    assert "should have" in damaged.problems[0].error.message
    assert isinstance(missing.problems[0].error, StorageError)
    assert world.bodies(Side.RIGHT) == [message(1)]


async def test_what_cannot_be_kept_is_not_removed(world: World) -> None:
    for number in range(3):
        world.left.add(INBOX, message(number))
    await world.run()
    world.left.user_remove(INBOX, 1, 2)
    world.right.user_withholds(INBOX, 2)
    for _ in range(2):
        report = await world.run()
        assert report.exit_code is ExitCode.NOT_IN_STEP
        (problem,) = report.problems
        assert (problem.side, problem.ref) == (Side.RIGHT, 2)
        assert "it is not removed, because it cannot be kept" in problem.error.message
        assert list(world.right.contents()) == [2, 3]
    world.right.user_withholds(INBOX, 2, False)
    assert (await world.run()).in_step
    assert len(kept(world)) == 2


async def test_nothing_is_kept_when_nothing_is_to_be_kept(world: World) -> None:
    world.pair = replace(world.pair, keeping=Keeping(days=0))
    await removed_one(world)
    assert kept(world) == []


async def test_what_is_old_or_too_much_is_forgotten_with_its_file(world: World) -> None:
    await removed_one(world)
    with world.state() as state:
        (state.quarantine / "left-behind.eml.part").write_bytes(b"by a crash")
    for number in range(2, 6):
        world.left.add(INBOX, message(number))
    await world.run()
    world.left.user_remove(INBOX, 2, 3)
    await world.run()
    assert len(kept(world)) == 3
    world.left.add(INBOX, message(9))
    world.pair = replace(world.pair, keeping=Keeping(days=1, bytes_max=2 * len(message(0))))
    await world.run()
    assert [one.ref for one in kept(world)] == [2, 3]
    for days in (1, 2):
        later = time.time() + days * 24 * 3600
        with State.open(world.path, left="left", right="right", now=lambda: later) as state:  # noqa: B023 - closed within this round
            await sync(world.pair, state)
    assert kept(world) == []


async def test_a_removed_mailbox_is_kept_message_by_message(world: World) -> None:
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    old = MailboxName(("Old", "é"))
    for number in range(3):
        world.left.add(old, message(number), FLAGS, DATE)
    world.left.add(INBOX, message(7))
    await world.run()
    world.left.user_remove_mailbox(old)
    assert (await world.run()).in_step
    assert old not in world.right.names()
    assert [one.mailbox for one in kept(world)] == [old] * 3
    with world.state() as state:
        assert len((await undo(world.pair, state, lambda one: one.run == 2)).restored) == 3
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT, old) == [message(0), message(1), message(2)]
    await world.check()


@pytest.mark.parametrize("kind", ["dovecot", "courier"])
async def test_on_real_servers(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Removed on the server by hand, in the Maildir by a run, and the other way round."""
    server: RealServer = request.getfixturevalue(kind)
    connect = account(server)
    path = tmp_path / "s.db"

    async def run() -> None:
        pair = Pair(connect(), MaildirStore(tmp_path / "mail"))
        with State.open(path, left="a", right="b", now=time.time) as state:
            report = await sync(pair, state)
            assert report.in_step, report.problems

    maildir = tmp_path / "mail"
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    bodies = {f"{number}.M1P1.host": message(number).replace(b"\r\n", b"\n") for number in range(4)}
    for name, body in bodies.items():
        (maildir / "cur" / f"{name}:2,FS").write_bytes(body)
    await run()
    (maildir / "cur" / "0.M1P1.host:2,FS").unlink()
    left = connect()
    await left.connect(create=False)
    async with left.open(INBOX) as mailbox:
        uids = sorted((await mailbox.observe()).listing.flags, key=str)
        await mailbox.remove([uids[3]])
    await left.close()
    await run()
    assert len(list((maildir / "cur").iterdir())) == 2
    with State.open(path, left="a", right="b", now=time.time) as state:
        assert {one.side for one in state.kept()} == set(Side)
        undone = await undo(Pair(connect(), MaildirStore(maildir)), state, all_of_it)
        assert len(undone.restored) == 2, undone.problems
    await run()
    there = [*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()]
    assert sorted(file.read_bytes() for file in there) == sorted(bodies.values())
    assert all(file.name.endswith("FS") for file in there)
