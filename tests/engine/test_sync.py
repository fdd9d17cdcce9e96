"""Runs on stores in memory: what servers do between a command and its answer, odd messages, mailboxes, guards."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mailtwin.engine import Pair, check, compare_stores, plan, sync
from mailtwin.engine.pair import SETTLE_S
from mailtwin.engine.report import Event, Reconnecting, RunReport
from mailtwin.errors import (
    ExitCode,
    GuardError,
    MailboxError,
    StoreMissingError,
    UnreachableError,
)
from mailtwin.model import INBOX, MailboxName, Side, Vocabulary, make_flags
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.planner import Copy, Direction, NameMap, Policy, Reset
from mailtwin.state import State
from mailtwin.stores.base import FlagChange, Observation, Unknown
from mailtwin.stores.memory import Answer, Manners, MemoryMailbox, MemoryStore, always
from mailtwin.testing.interrupts import Interrupted, InterruptingStore, StepClock

SEEN = make_flags(["\\Seen"])


def message(number: int, body: str = "body") -> bytes:
    """A small message with a Message-ID of its own."""
    return f"Message-ID: <{number}@sync.example>\r\nSubject: {number}\r\n\r\n{body} {number}\r\n".encode()


class World:
    """Two stores in memory, a state, and runs over them."""

    def __init__(self, directory: Path) -> None:
        self.left = MemoryStore("left")
        self.right = MemoryStore("right")
        self.path = directory / "state.db"
        self.pair = Pair(self.left, self.right, sleep=self._sleep)
        self.pauses: list[float] = []
        self.when_sleeping: Callable[[], object] = lambda: None

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.when_sleeping()

    def state(self) -> State:
        """The state, open."""
        return State.open(self.path, left="left", right="right", now=time.time)

    async def run(self) -> RunReport:
        """One run, with a state of its own."""
        with self.state() as state:
            return await sync(self.pair, state)

    async def run_until(self, stop_at: int, job: Callable[[Pair, State], Awaitable[object]] = sync) -> bool:
        """Does `job`, interrupted at its `stop_at`-th effect or durable write; whether it came to its end."""
        clock = StepClock(stop_at)
        left, right = InterruptingStore(self.left, clock), InterruptingStore(self.right, clock)
        try:
            with State.open(
                self.path, left="left", right="right", now=time.time, on_commit=clock.step
            ) as state:
                await job(replace(self.pair, left=left, right=right), state)
        except Interrupted:
            return False
        return True

    async def check(self) -> None:
        """In step, nothing left to do, nothing doubled."""
        report = await self.run()
        assert report.in_step, report.problems
        assert not any(report.counts.as_dict().values()), report.counts
        comparison = await compare_stores(self.left, self.right)
        assert comparison.identical, comparison.differences
        with self.state() as state:
            assert state.check() == []

    def bodies(self, side: Side, name: MailboxName = INBOX) -> list[bytes]:
        """The messages of one side, sorted."""
        store = self.left if side is Side.LEFT else self.right
        return sorted(message.data for message in store.contents(name).values())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty world."""
    return World(tmp_path)


def answers(*script: Answer) -> Callable[[int], Answer]:
    """The n-th message ends as scripted; after the script all is well."""
    return lambda n: script[n] if n < len(script) else Answer.UID


# --- the answer to an APPEND ---


@pytest.mark.parametrize("answer", [Answer.ACCEPTED, Answer.LOST_BEFORE, Answer.LOST_AFTER, Answer.REFUSED])
async def test_each_message_is_stored_once_however_its_append_ends(world: World, answer: Answer) -> None:
    for number in range(7):
        world.left.add(INBOX, message(number), SEEN if number % 2 else make_flags([]))
    world.right.manners = Manners(answer=answers(Answer.UID, answer, Answer.UID, answer))
    await world.run()
    await world.run()
    assert world.bodies(Side.RIGHT) == [message(number) for number in range(7)]
    await world.check()


async def test_a_copy_that_lands_after_the_reconnect_is_not_doubled(world: World) -> None:
    world.left.add(INBOX, message(1))
    world.right.manners = Manners(answer=answers(Answer.LATE))
    world.when_sleeping = world.right.land
    report = await world.run()
    assert report.in_step, report.problems
    assert world.bodies(Side.RIGHT) == [message(1)]
    assert world.pauses
    await world.check()


async def test_a_server_that_accepts_and_loses_is_reported_and_never_sent_the_message_again(
    world: World,
) -> None:
    class Liar(MemoryStore):
        """Says OK and stores nothing."""

        def append(self, name: MailboxName, message: object) -> object:  # type: ignore[override]
            return Unknown(finished=True, accepted=True)

    liar = Liar("right")
    world.right = liar
    world.pair = replace(world.pair, right=liar)
    world.left.add(INBOX, message(1))
    for _ in range(3):
        report = await world.run()
        assert not report.in_step
        assert "not sent again" in report.problems[-1].error.message


async def test_a_lost_connection_is_made_anew_a_few_times(world: World) -> None:
    for number in range(10):
        world.left.add(INBOX, message(number))
    world.right.manners = Manners(answer=always(Answer.LOST_BEFORE))
    with pytest.raises(UnreachableError):
        await world.run()
    assert len(world.pauses) < 40
    world.right.manners = Manners()
    assert (await world.run()).in_step
    await world.check()


# --- numbering ---


async def test_a_new_uidvalidity_pairs_again_without_a_transfer(world: World) -> None:
    for number in range(5):
        world.left.add(INBOX, message(number), SEEN)
    await world.run()
    world.right.user_renumbers(INBOX)
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert any(isinstance(op, Reset) for op in planned.mailboxes[0].plan)
    assert not any(isinstance(op, Copy) for op in planned.mailboxes[0].plan)
    report = await world.run()
    assert report.in_step
    assert report.counts.adopted == 5
    assert report.counts.transferred_bytes == 0
    await world.check()


async def test_a_lost_state_pairs_again_without_a_transfer(world: World) -> None:
    for number in range(5):
        world.left.add(INBOX, message(number))
    world.left.add(INBOX, b"Subject: no Message-ID\r\n\r\nx\r\n")
    await world.run()
    world.path.unlink()
    report = await world.run()
    assert report.counts.adopted == 6
    assert report.counts.transferred_bytes == 0
    await world.check()


# --- odd messages ---


async def test_identical_messages_stay_as_many_as_they_are(world: World) -> None:
    for _ in range(3):
        world.left.add(INBOX, message(1))
    world.right.add(INBOX, message(1))
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(1)] * 3
    await world.check()


@pytest.mark.parametrize(
    "odd", [b"", b"\r\n", b"no header at all", b"\xff\xfe: \x80\r\n\r\n\x00bare\nlf\rcr", b"A" * 3_000_000]
)
async def test_bytes_are_bytes(world: World, odd: bytes) -> None:
    world.left.add(INBOX, odd)
    world.right.add(INBOX, message(1))
    assert (await world.run()).in_step
    assert world.bodies(Side.RIGHT) == sorted([odd, message(1)])
    await world.check()


async def test_a_message_that_cannot_be_read_is_reported_and_the_rest_goes_on(world: World) -> None:
    poison = world.left.add(INBOX, message(0))
    world.left.user_withholds(INBOX, poison)
    world.left.add(INBOX, message(1))
    report = await world.run()
    assert not report.in_step
    assert [problem.ref for problem in report.problems] == [poison]
    assert world.bodies(Side.RIGHT) == [message(1)]
    world.left.user_withholds(INBOX, poison, False)
    assert (await world.run()).in_step
    await world.check()


async def test_a_message_that_the_destination_refuses_is_reported_and_the_rest_goes_on(world: World) -> None:
    world.left.add(INBOX, message(0, "refuse me"))
    world.left.add(INBOX, message(1))
    world.right.manners = Manners(refusal=lambda data: "no bare newlines" if b"refuse me" in data else "")
    report = await world.run()
    assert not report.in_step
    assert report.problems[0].message_id == "<0@sync.example>"
    assert world.bodies(Side.RIGHT) == [message(1)]


# --- flags that a side cannot hold ---


async def test_keywords_survive_a_side_that_cannot_hold_them(world: World) -> None:
    uid = world.left.add(INBOX, message(1), make_flags(["$Work", "\\Seen"]))
    world.right.manners = Manners(vocabulary=Vocabulary(SYSTEM_FLAGS, any_keyword=False))
    assert (await world.run()).in_step
    world.right.user_flags(INBOX, 1, make_flags(["\\Flagged"]))
    assert (await world.run()).in_step
    assert world.left.contents()[uid].flags == make_flags(["$Work", "\\Flagged"])


async def test_keywords_survive_a_side_that_learns_to_hold_them(world: World) -> None:
    uid = world.left.add(INBOX, message(1), make_flags(["$Work"]))
    world.right.manners = Manners(vocabulary=Vocabulary(SYSTEM_FLAGS, any_keyword=False))
    assert (await world.run()).in_step
    world.right.manners = Manners()
    world.right.user_flags(INBOX, 1, SEEN)
    assert (await world.run()).in_step
    assert world.left.contents()[uid].flags == make_flags(["$Work", "\\Seen"])
    await world.check()


class Forgetful(MemoryStore):
    """Says that it keeps every keyword, and drops them silently."""

    def drops(self, _name: MailboxName, uid: int) -> None:
        """Takes the keywords off a message."""
        held = self.contents(_name)[uid]
        self.user_flags(_name, uid, make_flags(held.flags & SYSTEM_FLAGS))


async def test_keywords_survive_a_server_that_drops_them_silently(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = world.left.add(INBOX, message(1), make_flags(["$Work", "\\Seen"]))
    forgetful = Forgetful("right")
    world.right, world.pair = forgetful, replace(world.pair, right=forgetful)
    original = MemoryMailbox.store_flags

    async def dropping(self: MemoryMailbox, changes: Sequence[FlagChange]) -> None:
        await original(self, changes)
        if self.store is forgetful:
            for held in list(forgetful.contents()):
                forgetful.drops(INBOX, held)

    monkeypatch.setattr(MemoryMailbox, "store_flags", dropping)
    monkeypatch.setattr(forgetful, "append", _drop_keywords(forgetful))
    for _ in range(3):
        await world.run()
        assert world.left.contents()[uid].flags == make_flags(["$Work", "\\Seen"])
    forgetful.user_flags(INBOX, 1, make_flags([]))
    await world.run()
    assert world.left.contents()[uid].flags == make_flags(["$Work"])


def _drop_keywords(store: MemoryStore) -> Callable[..., object]:
    original = store.append

    def append(name: MailboxName, message: object) -> object:
        flags = make_flags(message.flags & SYSTEM_FLAGS)  # type: ignore[attr-defined]
        return original(name, replace(message, flags=flags))  # type: ignore[type-var,arg-type]

    return append


# --- mailboxes ---


async def test_mailboxes_are_created_on_the_other_side_with_all_their_names(world: World) -> None:
    names = [MailboxName(("Lists", "Später", "日本")), MailboxName(("a.b/c",)), MailboxName(("Empty",))]
    for name in names:
        world.left.user_create(name)
    world.left.add(names[0], message(1))
    world.right.add(MailboxName(("Only here",)), message(2))
    assert (await world.run()).in_step
    assert world.left.names() == world.right.names()
    await world.check()


async def test_a_mailbox_that_disappeared_is_held_and_its_twin_left_alone(world: World) -> None:
    name = MailboxName(("Work",))
    world.left.add(name, message(1))
    world.left.add(INBOX, message(2))
    await world.run()
    world.left.user_remove_mailbox(name)
    report = await world.run()
    assert not report.in_step
    assert isinstance(report.problems[0].error, MailboxError)
    assert world.bodies(Side.RIGHT, name) == [message(1)]


async def test_a_removed_mailbox_is_removed_on_the_other_side_only_when_asked_and_nothing_in_it_is_news(
    world: World,
) -> None:
    work, play = MailboxName(("Work",)), MailboxName(("Play",))
    for name in (work, play):
        world.left.add(name, message(1))
    world.left.add(INBOX, message(2))
    await world.run()
    for name in (work, play):
        world.left.user_remove_mailbox(name)
    world.right.add(play, message(3))
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    report = await world.run()
    assert world.right.names() == [INBOX, play]
    assert [problem.mailbox for problem in report.problems] == [play]
    assert world.bodies(Side.RIGHT, play) == [message(1), message(3)]


async def test_renamed_mailboxes_are_twins_under_their_two_names(world: World) -> None:
    names = NameMap([(MailboxName(("Sent",)), MailboxName(("Sent Items",)))])
    world.pair = replace(world.pair, names=names)
    world.left.add(MailboxName(("Sent",)), message(1))
    assert (await world.run()).in_step
    assert world.right.names() == [INBOX, MailboxName(("Sent Items",))]
    assert not any((await world.run()).counts.as_dict().values())


async def test_only_selected_mailboxes_take_part(world: World) -> None:
    world.pair = replace(world.pair, select=lambda name: name.is_inbox)
    world.left.add(MailboxName(("Spam",)), message(1))
    assert (await world.run()).in_step
    assert world.right.names() == [INBOX]


# --- guards ---


async def test_a_vanished_store_is_not_ten_thousand_removals(world: World) -> None:
    for number in range(5):
        world.left.add(MailboxName(("Work",)), message(number))
    world.pair = replace(world.pair, select=lambda name: not name.is_inbox)
    await world.run()
    world.right.user_remove_mailbox(MailboxName(("Work",)))
    with pytest.raises(StoreMissingError) as caught:
        await world.run()
    assert caught.value.exit_code is ExitCode.STORE_MISSING
    assert len(world.bodies(Side.LEFT, MailboxName(("Work",)))) == 5


# --- what a run costs ---


async def test_a_mailbox_whose_cursors_did_not_move_is_not_opened(world: World) -> None:
    world.left.add(INBOX, message(1))
    await world.run()
    report = await world.run()
    assert [result.unchanged for result in report.mailboxes] == [True]


async def test_a_plan_changes_nothing_and_says_what_a_run_would_do(world: World) -> None:
    world.left.add(INBOX, message(1))
    world.left.add(MailboxName(("New",)), message(2))
    planned = await plan(world.pair, None)
    assert not world.path.exists()
    assert [(entry.name, len(entry.plan.operations)) for entry in planned.mailboxes] == [
        (INBOX, 1),
        (MailboxName(("New",)), 1),
    ]
    assert len(planned.mailbox_operations) == 1
    assert world.bodies(Side.RIGHT) == []


async def test_one_way_never_touches_the_source(world: World) -> None:
    world.pair = replace(world.pair, policy=Policy(direction=Direction.RIGHT_TO_LEFT))
    world.left.add(INBOX, message(1))
    world.right.add(INBOX, message(2))
    assert (await world.run()).in_step
    assert world.bodies(Side.RIGHT) == [message(2)]
    assert world.bodies(Side.LEFT) == [message(1), message(2)]


async def test_a_keyword_removed_before_the_next_look_stays_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = world.left.add(INBOX, message(1), make_flags(["$Work"]))
    original = MemoryMailbox.observe
    looks = 0

    async def observing(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        nonlocal looks
        if self.store is world.right and world.right.contents():
            looks += 1
            if looks == 1:
                world.left.user_flags(INBOX, uid, make_flags([]))
        return await original(self, since)

    monkeypatch.setattr(MemoryMailbox, "observe", observing)
    await world.run()
    await world.run()
    assert world.left.contents()[uid].flags == make_flags([])
    assert world.right.contents()[1].flags == make_flags([])


async def test_a_server_that_comes_back_after_a_while_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.left.add(INBOX, message(1))
    world.right.manners = Manners(answer=answers(Answer.LOST_AFTER))
    original, refused = MemoryStore.reconnect, 0

    async def reconnect(self: MemoryStore) -> None:
        nonlocal refused
        if self is world.right and refused < 2:
            refused += 1
            raise UnreachableError("connection refused")
        await original(self)

    monkeypatch.setattr(MemoryStore, "reconnect", reconnect)
    events: list[Event] = []
    with world.state() as state:
        report = await sync(world.pair, state, events.append)
    assert report.in_step, report.problems
    assert refused == 2
    # A person sees why nothing seems to happen: each time before the pause, not after it.
    told = [event for event in events if isinstance(event, Reconnecting)]
    assert [event.attempt for event in told] == [1, 2, 3]
    assert [event.pause_s for event in told] == [one for one in world.pauses if one != SETTLE_S]
    await world.check()


async def test_what_was_done_is_told_even_when_a_guard_stops_the_mailbox(world: World) -> None:
    for number in range(60):
        world.left.add(INBOX, message(number))
    await world.run()
    world.right.user_remove(INBOX, *range(1, 41))
    world.left.add(INBOX, message(100))
    report = await world.run()
    assert isinstance(report.problems[0].error, GuardError)
    assert report.counts.copied_to_right == 1


# --- what a person chose, and what is said ---


async def test_a_choice_that_leaves_nothing_is_a_problem(world: World) -> None:
    world.left.add(INBOX, message(1))
    world.pair = replace(world.pair, select=lambda name: name == MailboxName(("Imbox",)))
    report = await world.run()
    assert report.exit_code is ExitCode.NOT_IN_STEP
    assert report.problems[0].error.message == "none of the 1 mailboxes is included"
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert [problem.error.message for problem in planned.problems] == [report.problems[0].error.message]


async def test_check_knows_what_is_held(world: World) -> None:
    """A mailbox that vanished on one side is left alone there, not created."""
    sent = MailboxName(("Sent",))
    world.left.add(sent, message(1))
    world.left.add(INBOX, message(2))
    await world.run()
    await world.check()
    world.right.user_remove_mailbox(sent)
    with world.state() as state:
        rows = {row.name: row.what for row in (await check(world.pair, state)).rows}
    assert rows == {INBOX: "twinned", sent: "missing on the right, left alone"}
    with world.state() as state:
        new = {row.name: row.what for row in (await check(world.pair, None)).rows}
    assert new[sent] == "created on the right"


async def test_a_server_that_does_not_come_back_is_no_wrong_address(world: World) -> None:
    class Gone(MemoryStore):
        """Breaks off at the first message, and is not there any more."""

        async def reconnect(self) -> None:
            raise UnreachableError("right: connection refused", hint="check host and port")

    gone = Gone("right", manners=Manners(answer=always(Answer.LOST_BEFORE)))
    world.right, world.pair = gone, replace(world.pair, right=gone)
    world.left.add(INBOX, message(1))
    with pytest.raises(UnreachableError) as raised:
        await world.run()
    assert "attempts to make it anew failed" in raised.value.message
    assert "run again later" in (raised.value.hint or "")
