"""Messages over which the connection ends each time: they are found, set aside and shown, and the rest goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.engine import plan, sync, verify
from mailtwin.engine import poison as poison_module
from mailtwin.engine.backlog import RETRY_S_FIRST
from mailtwin.engine.pair import Keeping
from mailtwin.engine.poison import POISON_IN_A_ROW_MAX
from mailtwin.engine.report import RunReport
from mailtwin.errors import ExitCode, UnreachableError
from mailtwin.model import INBOX, MailboxName, Ref, Side
from mailtwin.planner import Direction, Policy
from mailtwin.state import Obstacle, Uncopied
from mailtwin.stores.base import Message, Outcome, Spool, Unknown
from mailtwin.stores.memory import Manners, MemoryMailbox, MemoryMessage, MemoryStore

HOUR = 3600.0
ACTS = {"store": Side.RIGHT, "fetch": Side.LEFT}
"""What kills the connection to which side, when mail goes from left to right."""


class PoisonWorld(World):
    """A world whose servers hang up over some messages, whose clock is told, and which counts what is sent and asked
    for. `deadly`: words in a message, and the acts that they end."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.now_s = 1_000_000.0
        self.deadly: dict[bytes, set[str]] = {}
        self.done: list[tuple[str, bytes]] = []
        self.report = RunReport()
        self.pair = replace(self.pair, now=lambda: self.now_s)
        for store in (self.left, self.right):
            store.manners = Manners(hangs_up=self._hangs_up)

    def _hangs_up(self, act: str, data: bytes) -> bool:
        self.done.append((act, data))
        return any(word in data and act in acts for word, acts in self.deadly.items())

    def fill(self, side: Side, count: int, poisonous: dict[int, str]) -> list[bytes]:
        """Puts mail on one side, `poisonous` by number: what ends a connection over it. Returns it all."""
        store = (self.left, self.right)[side]
        mail = [message(n, f"poison-{n}." if n in poisonous else "good") for n in range(count)]
        for data in mail:
            store.add(INBOX, data)
        for number, act in poisonous.items():
            self.deadly.setdefault(b"poison-%d." % number, set()).add(act)
        return mail

    async def go(self) -> RunReport:
        """One run, an hour's fraction later; what is done is counted anew."""
        self.now_s += 60
        self.done.clear()
        self.pauses.clear()
        self.report = await self.run()
        return self.report

    def tries(self, act: str) -> Counter[bytes]:
        """How often the act was tried on each message in the last run."""
        return Counter(data for done, data in self.done if done == act)

    def rows(self, *, suspects: bool = False) -> list[Uncopied]:
        """What the state remembers."""
        with self.state() as state:
            assert state.check() == []
            return state.uncopied(suspects=suspects)


@pytest.fixture
def world(tmp_path: Path) -> PoisonWorld:
    return PoisonWorld(tmp_path)


def good(mail: list[bytes]) -> list[bytes]:
    return sorted(data for data in mail if b"poison" not in data)


# --- one, some, all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", Side, ids=lambda side: f"from-{side.label}")
@pytest.mark.parametrize("act", ACTS)
async def test_one_among_a_hundred_is_set_aside_and_the_rest_copied_in_the_same_run(
    world: PoisonWorld, act: str, source: Side
) -> None:
    mail = world.fill(source, 100, {49: act})
    report = await world.go()
    assert world.bodies(source.other) == good(mail)
    assert world.bodies(source) == sorted(mail)
    assert [(one.side, one.ref, one.known) for one in report.problems] == [(source, 50, False)]
    assert report.exit_code is ExitCode.NOT_IN_STEP
    assert "the connection ended each time" in report.problems[0].error.message
    assert "50 " in report.problems[0].error.message
    (row,) = world.rows(suspects=True)
    assert (row.attempts, row.due, row.obstacle) == (1, row.last, Obstacle.MESSAGE)
    assert world.tries(act)[mail[49]] == 3, "twice in company, once alone"
    assert sum(world.pauses) < 60


async def test_what_was_read_before_the_connection_ended_is_kept(world: PoisonWorld) -> None:
    mail = world.fill(Side.LEFT, 100, {49: "fetch"})
    await world.go()
    fetched = world.tries("fetch")
    assert all(fetched[data] == 1 for data in mail[:49])


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("numbers", [(3, 4, 5), (0, 10, 19), (17, 18, 19)], ids=str)
async def test_three_are_set_aside_in_one_run(world: PoisonWorld, act: str, numbers: tuple[int, ...]) -> None:
    mail = world.fill(Side.LEFT, 20, dict.fromkeys(numbers, act))
    report = await world.go()
    assert world.bodies(Side.RIGHT) == good(mail)
    assert sorted(str(one.ref) for one in report.problems) == sorted(str(n + 1) for n in numbers)


async def test_both_kinds_on_both_sides(world: PoisonWorld) -> None:
    left = world.fill(Side.LEFT, 20, {2: "store", 9: "fetch"})
    for number in range(20, 40):
        word = {22: "poison-22.", 31: "poison-31."}.get(number, "good")
        world.right.add(INBOX, message(number, word))
    world.deadly.update({b"poison-22.": {"store"}, b"poison-31.": {"fetch"}})
    right = [one.data for one in world.right.contents().values()]
    report = await world.go()
    assert len(report.problems) == 4
    assert world.bodies(Side.LEFT) == sorted([*left, *good(right)])
    assert world.bodies(Side.RIGHT) == sorted([*right, *good(left)])


@pytest.mark.parametrize("act", ACTS)
async def test_a_server_that_hangs_up_on_everything_ends_the_run_soon(world: PoisonWorld, act: str) -> None:
    mail = world.fill(Side.LEFT, 50, {})
    world.deadly[b"good"] = {act}
    with pytest.raises(UnreachableError, match="each of them alone") as caught:
        await world.go()
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert len(world.tries(act)) <= POISON_IN_A_ROW_MAX + 26
    assert sum(world.pauses) < 120
    assert world.bodies(Side.RIGHT) == []
    world.deadly.clear()
    report = await world.go()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == sorted(mail)
    await world.check()


async def test_what_is_more_than_a_run_may_meet_is_met_by_the_next_ones(world: PoisonWorld) -> None:
    mail = world.fill(Side.LEFT, 15, dict.fromkeys(range(2, 13), "store"))
    for _ in range(4):
        try:
            await world.go()
        except UnreachableError:
            continue
    assert world.bodies(Side.RIGHT) == good(mail)
    assert len(world.rows()) == 11


async def test_known_poison_beyond_what_a_run_may_meet_is_left_alone(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(Side.LEFT, 10, {2: "store", 4: "store", 6: "store"})
    await world.go()
    monkeypatch.setattr(poison_module, "POISON_MAX", 2)
    world.left.add(INBOX, message(10, "good"))
    report = await world.go()
    assert sum(count for data, count in world.tries("store").items() if b"poison" in data) == 2
    assert len(report.problems) == 3
    assert all(one.known for one in report.problems)
    assert len(world.bodies(Side.RIGHT)) == 8


# --- in the runs that follow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
async def test_poison_is_tried_once_and_alone_in_the_next_runs_then_ever_more_rarely(
    world: PoisonWorld, act: str
) -> None:
    mail = world.fill(Side.LEFT, 10, {5: act})
    await world.go()
    for attempts in (2, 3):
        world.left.add(INBOX, message(100 + attempts, "good"))
        report = await world.go()
        assert world.tries(act)[mail[5]] == 1
        order = [data for done, data in world.done if done == act]
        assert order[-1] == mail[5], "what is known to end the connection keeps nothing waiting"
        assert [one.known for one in report.problems] == [True]
        assert world.rows()[0].attempts == attempts
    await world.go()
    assert world.tries(act) == {}
    world.now_s += RETRY_S_FIRST
    await world.go()
    assert world.tries(act) == {mail[5]: 1}
    assert world.rows()[0].due == world.rows()[0].last + 2 * HOUR


@pytest.mark.parametrize("act", ACTS)
async def test_poison_that_heals_is_copied_once_and_forgotten(world: PoisonWorld, act: str) -> None:
    mail = world.fill(Side.LEFT, 10, {5: act})
    await world.go()
    world.deadly.clear()
    report = await world.go()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == sorted(mail)
    assert world.rows(suspects=True) == []
    await world.check()


async def test_losses_are_counted_over_runs_when_the_server_does_not_come_back(world: PoisonWorld) -> None:
    class Fragile(MemoryStore):
        """A server that dies with the connection, and is started again after the run."""

        async def reconnect(self) -> None:
            if not self._connected:
                raise UnreachableError("connection refused")

    right = Fragile("right", manners=world.right.manners)
    world.right, world.pair = right, replace(world.pair, right=right)
    mail = world.fill(Side.LEFT, 10, {5: "store"})
    for run in range(3):
        with pytest.raises(UnreachableError):
            await world.go()
        rows = world.rows(suspects=True)
        assert [(one.losses, one.attempts) for one in rows] == [(run + 1, 0) if run < 2 else (2, 1)]
        assert len(world.rows()) == (run == 2), "a suspect is nobody's problem"
    with pytest.raises(UnreachableError):
        await world.go()
    assert world.bodies(Side.RIGHT) == good(mail)
    with pytest.raises(UnreachableError):
        await world.go()
    report = await world.go()
    assert [one.known for one in report.problems] == [True], "now it rests, and the run comes to its end"


async def test_a_connection_that_ends_now_and_then_blames_nobody(world: PoisonWorld) -> None:
    mail = world.fill(Side.LEFT, 12, {})
    stored = 0

    def hangs_up(act: str, _data: bytes) -> bool:
        nonlocal stored
        stored += act == "store"
        return act == "store" and stored % 5 == 0

    world.right.manners = Manners(hangs_up=hangs_up)
    report = await world.go()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == sorted(mail)
    assert world.rows(suspects=True) == []


async def test_a_neighbour_that_is_blamed_is_cleared_when_it_is_alone(world: PoisonWorld) -> None:
    """The source hands messages out in an order of its own: in company, the first is blamed for the third."""
    mail = world.fill(Side.LEFT, 3, {})
    blamed = 0

    def hangs_up(act: str, data: bytes) -> bool:
        nonlocal blamed
        if act == "fetch" and data == mail[0] and blamed < 2:
            blamed += 1
            return True
        return act == "fetch" and data == mail[2]

    world.left.manners = Manners(hangs_up=hangs_up)
    report = await world.go()
    assert world.bodies(Side.RIGHT) == sorted(mail[:2])
    assert [one.ref for one in report.problems] == [3]


async def test_answers_that_are_lost_with_the_connection_lead_to_the_right_one_in_the_same_run(
    world: PoisonWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that crashes with some answers still in its buffer: all of them seem to be to blame, one by one."""
    mail = world.fill(Side.LEFT, 20, {})
    original = MemoryMailbox.fetch

    async def fetch(
        self: MemoryMailbox, refs: Sequence[Ref], spool: Callable[[], Spool]
    ) -> AsyncGenerator[Message, None]:
        buffered = [ref for ref in refs if isinstance(ref, int) and ref >= 10]
        crashes = self.store is world.left and 15 in refs
        whole = [ref for ref in refs if not crashes or ref not in buffered]
        async for each in original(self, whole, spool):
            yield each
        if crashes:
            self.store.break_connection()
            raise UnreachableError("crashed").over(buffered[0], f"while message {buffered[0]} was asked for")

    monkeypatch.setattr(MemoryMailbox, "fetch", fetch)
    report = await world.go()
    assert world.bodies(Side.RIGHT) == sorted(mail[:14] + mail[15:])
    assert [one.ref for one in report.problems] == [15]


# --- an APPEND without an answer --------------------------------------------------------------------------------------


class Swallows(MemoryStore):
    """Stores the message, and hangs up."""

    swallows: Callable[[bytes], bool] = staticmethod(lambda _data: False)

    def append(self, name: MailboxName, message: MemoryMessage) -> Outcome:
        outcome = super().append(name, message)
        if self.swallows(message.data):
            self.break_connection()
            return Unknown(finished=False, accepted=False, error=UnreachableError("hung up"))
        return outcome


async def test_what_was_stored_although_the_connection_ended_is_no_poison(world: PoisonWorld) -> None:
    right = Swallows("right")
    right.swallows = lambda data: b"poison" in data
    world.right, world.pair = right, replace(world.pair, right=right)
    mail = world.fill(Side.LEFT, 10, {5: "never"})
    report = await world.go()
    assert report.in_step, report.problems
    assert report.counts.adopted == 1
    assert world.bodies(Side.RIGHT) == sorted(mail)
    assert world.rows(suspects=True) == []


async def test_what_arrives_after_all_when_it_was_alone_is_adopted_and_no_poison(world: PoisonWorld) -> None:
    right = Swallows("right", manners=world.right.manners)
    world.right, world.pair = right, replace(world.pair, right=right)
    mail = world.fill(Side.LEFT, 10, {5: "store"})
    count = 0

    def swallows(data: bytes) -> bool:
        return b"poison" in data

    def hangs_up(act: str, data: bytes) -> bool:
        nonlocal count
        count += act == "store" and b"poison" in data
        return act == "store" and b"poison" in data and count < 3

    right.swallows, right.manners = swallows, Manners(hangs_up=hangs_up)
    report = await world.go()
    assert count == 3
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == sorted(mail)
    assert world.rows(suspects=True) == []
    await world.check()


@pytest.mark.parametrize("act", ACTS)
async def test_interrupted_at_every_third_step_it_loses_and_doubles_nothing(tmp_path: Path, act: str) -> None:
    stop_at = -2
    finished = False
    while not finished:
        stop_at += 3
        directory = tmp_path / str(stop_at)
        directory.mkdir()
        world = PoisonWorld(directory)
        mail = world.fill(Side.LEFT, 3, {1: act})
        finished = await world.run_until(stop_at)
        for _ in range(2):
            await world.go()
            assert world.bodies(Side.RIGHT) == good(mail)
        assert [one.ref for one in world.rows(suspects=True)] == [2]
        world.deadly.clear()
        world.pair = replace(world.pair, retry=True)
        await world.go()
        await world.check()
        assert world.bodies(Side.RIGHT) == sorted(mail)
    assert stop_at > 20


# --- who it is --------------------------------------------------------------------------------------------------------


async def test_what_cannot_even_be_identified_lets_all_others_pass_but_those_of_its_size(
    world: PoisonWorld,
) -> None:
    left = world.fill(Side.LEFT, 10, {5: "identify"})
    world.right.add(INBOX, message(50, "of another size altogether"))
    same = left[5].replace(b"<5@", b"<7@").replace(b"poison", b"nosiop")
    assert len(same) == len(left[5])
    world.right.add(INBOX, same)
    report = await world.go()
    assert set(good(left)) < set(world.bodies(Side.RIGHT))
    assert message(50, "of another size altogether") in world.bodies(Side.LEFT)
    assert same not in world.bodies(Side.LEFT)
    row = next(one for one in world.rows() if one.ref == 6)
    assert (row.obstacle, row.size) == (Obstacle.IDENTITY, len(left[5]))
    assert not report.in_step
    world.deadly.clear()
    world.pair = replace(world.pair, retry=True)
    assert (await world.go()).in_step
    await world.check()


# --- removals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def removing(world: PoisonWorld) -> tuple[PoisonWorld, list[bytes]]:
    """Ten messages in step, three of them removed on the left, one of which cannot be fetched from the right."""
    world.pair = replace(world.pair, keeping=Keeping(days=30))
    mail = world.fill(Side.LEFT, 10, {})
    await world.go()
    world.left.user_remove(INBOX, 3, 4, 5)
    world.deadly[mail[3]] = {"fetch"}
    return world, mail


async def test_what_cannot_be_kept_is_not_removed_and_the_rest_is(
    removing: tuple[PoisonWorld, list[bytes]],
) -> None:
    world, mail = removing
    report = await world.go()
    assert world.bodies(Side.RIGHT) == sorted(mail[:2] + mail[3:4] + mail[5:])
    assert [(one.side, one.ref, one.known) for one in report.problems] == [(Side.RIGHT, 4, False)]
    assert "it is not removed, because it cannot be kept" in report.problems[0].error.message
    assert world.tries("fetch")[mail[3]] == 3
    for _ in range(2):
        report = await world.go()
        assert world.tries("fetch")[mail[3]] == 1
        assert [one.known for one in report.problems] == [True]
    for _ in range(2):
        report = await world.go()
        assert world.tries("fetch") == {}
        assert not report.in_step
    with world.state() as state:
        planned = await plan(world.pair, state)
        world.deadly.clear()
        proof = await verify(world.pair, state)
    assert [one.ref for one in planned.problems] == [4]
    assert [one.why.partition(",")[0] for one in proof.differences] == ["it is not removed"]


async def test_what_can_be_kept_again_is_removed(removing: tuple[PoisonWorld, list[bytes]]) -> None:
    world, mail = removing
    await world.go()
    world.deadly.clear()
    report = await world.go()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == sorted(mail[:2] + mail[5:])
    assert world.rows(suspects=True) == []


async def test_what_is_not_to_be_removed_any_more_need_not_be_kept(
    removing: tuple[PoisonWorld, list[bytes]],
) -> None:
    world, mail = removing
    await world.go()
    world.pair = replace(world.pair, policy=Policy(direction=Direction.RIGHT_TO_LEFT))
    world.deadly.clear()
    report = await world.go()
    assert world.rows(suspects=True) == []
    assert mail[3] in world.bodies(Side.RIGHT)
    assert report.in_step, report.problems


async def test_a_removal_that_somebody_made_himself_is_forgotten(
    removing: tuple[PoisonWorld, list[bytes]],
) -> None:
    world, _mail = removing
    await world.go()
    world.right.user_remove(INBOX, 4)
    assert (await world.go()).in_step
    assert world.rows(suspects=True) == []


async def test_among_many_that_are_looked_at_twice(world: PoisonWorld) -> None:
    mail = world.fill(Side.LEFT, 30, {})
    await world.go()
    world.left.user_remove(INBOX, *range(3, 9))
    world.deadly[mail[3]] = {"fetch"}
    report = await world.go()
    assert world.bodies(Side.RIGHT) == sorted(mail[:2] + mail[3:4] + mail[8:])
    assert [one.ref for one in report.problems] == [4]


async def test_a_mailbox_that_cannot_be_kept_is_not_removed_and_the_others_are(world: PoisonWorld) -> None:
    names = [MailboxName(("A",)), MailboxName(("B",))]
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    world.left.add(INBOX, message(0))
    for number, name in enumerate(names, 1):
        world.left.add(name, message(number))
    await world.go()
    for name in names:
        world.left.user_remove_mailbox(name)
    world.deadly[message(1)] = {"fetch"}
    report = await world.go()
    assert world.right.names() == sorted([INBOX, names[0]])
    (problem,) = report.problems
    assert problem.mailbox == names[0]
    assert "it cannot be kept" in problem.error.message
    world.deadly.clear()
    assert (await world.go()).in_step
    assert world.right.names() == [INBOX]


# --- other readers ----------------------------------------------------------------------------------------------------


async def test_a_verification_that_cannot_go_on_names_the_message(world: PoisonWorld) -> None:
    mail = world.fill(Side.LEFT, 10, {})
    await world.go()
    world.deadly[mail[6]] = {"fetch"}
    with world.state() as state, pytest.raises(UnreachableError, match="while message 7 was asked for"):
        await verify(world.pair, state, deep=True)


async def test_verify_tells_why_poison_is_missing(world: PoisonWorld) -> None:
    world.fill(Side.LEFT, 10, {5: "store"})
    await world.go()
    with world.state() as state:
        proof = await verify(world.pair, state)
        noted = state.history(operation="not-copied")
    assert "it could not be copied: the connection ended each time" in proof.differences[0].why
    assert [line.left for line in noted] == [6]


async def test_a_suspect_is_nobodys_problem(world: PoisonWorld) -> None:
    world.fill(Side.LEFT, 10, {5: "store"})
    real = world.right.reconnect

    async def gone() -> None:
        raise UnreachableError("no route to host")

    world.right.reconnect = gone  # type: ignore[method-assign]
    with pytest.raises(UnreachableError):
        await world.go()
    world.right.reconnect = real  # type: ignore[method-assign]
    world.deadly.clear()
    with world.state() as state:
        planned = await plan(world.pair, state)
        assert planned.problems == ()
        assert (await sync(world.pair, state)).in_step
    assert world.rows(suspects=True) == []
