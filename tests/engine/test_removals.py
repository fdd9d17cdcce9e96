"""What is removed at once, what is looked at twice, what is held back, and what becomes of an approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.engine import plan
from mailtwin.engine.approving import approve, held_back
from mailtwin.engine.report import RunReport
from mailtwin.errors import ExitCode, GuardError, MailboxError
from mailtwin.model import INBOX, Identity, MailboxName, Ref, Side
from mailtwin.planner import Policy, Removals
from mailtwin.state import HeldRemovals, HoldRemovals, Note
from mailtwin.stores.base import Observation
from mailtwin.stores.memory import Manners, MemoryMailbox, MemoryStore


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty world."""
    return World(tmp_path)


async def filled(world: World, count: int, *names: str) -> list[MailboxName]:
    """So many messages in each mailbox, on both sides."""
    mailboxes = [MailboxName.parse(name) for name in names or ("INBOX",)]
    for at, name in enumerate(mailboxes):
        for number in range(count):
            world.left.add(name, message(at * 100_000 + number))
    assert (await world.run()).in_step
    return mailboxes


def held(world: World) -> list[HeldRemovals]:
    """What the state says is held back."""
    with world.state() as state:
        assert state.check() == []
        return state.held()


def agree(world: World) -> int:
    """A person approves of all that is held back; in how many mailboxes."""
    with world.state() as state:
        return len(approve(state, held_back(state)))


def assert_held(report: RunReport, *words: str) -> None:
    """The run held something back, and nothing else was wrong."""
    errors = [problem.error for problem in report.problems]
    assert errors
    assert all(isinstance(error, GuardError) for error in errors), errors
    assert report.exit_code is ExitCode.GUARD
    for word in words:
        assert all(word in error.message for error in errors), errors


@pytest.fixture
def reconnects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the stores that were connected anew."""
    noted: list[str] = []
    original = MemoryStore.reconnect

    async def reconnect(self: MemoryStore) -> None:
        noted.append(self.address)
        await original(self)

    monkeypatch.setattr(MemoryStore, "reconnect", reconnect)
    return noted


# --- one look, two looks ---


@pytest.mark.parametrize(("count", "expected"), [(1, []), (3, []), (4, ["right"]), (20, ["right"])])
async def test_more_than_a_few_removals_are_looked_at_on_a_fresh_connection(
    world: World, reconnects: list[str], count: int, expected: list[str]
) -> None:
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, count + 1))
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == count
    assert [result.name for result in report.mailboxes] == [INBOX]
    assert reconnects == expected
    await world.check()


async def test_only_the_side_that_lacks_messages_is_connected_anew(
    world: World, reconnects: list[str]
) -> None:
    await filled(world, 60)
    world.left.user_remove(INBOX, *range(1, 11))
    assert (await world.run()).in_step
    assert reconnects == ["left"]


async def test_all_mailboxes_share_one_fresh_connection(world: World, reconnects: list[str]) -> None:
    names = await filled(world, 30, "INBOX", "A", "B")
    for name in names:
        world.right.user_remove(name, *range(1, 11))
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 30
    assert reconnects == ["right"]


async def test_few_removals_in_many_mailboxes_are_looked_at_twice_in_the_end(
    world: World, reconnects: list[str]
) -> None:
    names = await filled(world, 9, *(f"M{number}" for number in range(12)))
    for name in names:
        world.right.user_remove(name, 1, 2, 3)
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 36
    assert reconnects == ["right"]


def shortened(
    monkeypatch: pytest.MonkeyPatch, store: MemoryStore, keep: Callable[[int, int], bool]
) -> list[int]:
    """The n-th listing of `store` holds only the UIDs that `keep(n, uid)`, and says that it is complete."""
    original = MemoryMailbox.observe
    looks: list[int] = []

    async def observe(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        seen = await original(self)
        if self.store is not store:
            return seen
        looks.append(len(looks))
        flags = {uid: held for uid, held in seen.listing.flags.items() if keep(len(looks), int(uid))}
        return Observation(replace(seen.listing, flags=flags), None)

    monkeypatch.setattr(MemoryMailbox, "observe", observe)
    return looks


async def test_a_listing_that_is_short_once_and_says_ok_removes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.right.manners = Manners(cursors=False)
    await filled(world, 60)
    shortened(monkeypatch, world.right, lambda look, uid: look > 2 or uid > 10)
    report = await world.run()
    assert report.in_step, report.problems
    assert len(world.bodies(Side.LEFT)) == 60
    assert held(world) == []
    with world.state() as state:
        assert [line.detail for line in state.history(operation="look-again")] == [
            "10 messages were missing in one complete listing, and none of them in the next"
        ]


@pytest.mark.parametrize("second", [5, 15], ids=["fewer", "more"])
async def test_two_looks_that_differ_remove_nothing_and_say_so(
    world: World, monkeypatch: pytest.MonkeyPatch, second: int
) -> None:
    world.right.manners = Manners(cursors=False)
    await filled(world, 60)
    world.right.user_remove(INBOX, 1)
    shortened(monkeypatch, world.right, lambda look, uid: uid > (10 if look < 3 else second))
    report = await world.run()
    (problem,) = report.problems
    assert isinstance(problem.error, MailboxError)
    assert "two complete looks at it differ" in problem.error.message
    assert len(world.bodies(Side.LEFT)) == 60
    monkeypatch.undo()
    assert (await world.run()).in_step
    assert len(world.bodies(Side.LEFT)) == 59


async def test_a_listing_that_stays_short_is_held_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.right.manners = Manners(cursors=False)
    await filled(world, 60)
    looks = shortened(monkeypatch, world.right, lambda _look, uid: uid > 40)
    assert_held(await world.run(), "40 messages", "40 of 60", "UID 1 <0@sync.example>", "and 30 more")
    assert len(looks) == 3, "a glance, and two looks"
    assert len(world.bodies(Side.LEFT)) == 60
    monkeypatch.undo()
    report = await world.run()
    assert report.in_step
    assert not any(report.counts.as_dict().values())
    assert held(world) == []


# --- the signs, as they come from two stores ---


async def test_a_side_that_became_empty(world: World) -> None:
    await filled(world, 4)
    world.right.user_remove(INBOX, 1, 2, 3, 4)
    assert_held(await world.run(), "none of the messages that both sides held is left on the right")
    assert len(world.bodies(Side.LEFT)) == 4


async def test_a_person_may_tidy_a_mailbox_of_three(world: World) -> None:
    await filled(world, 3)
    world.right.user_remove(INBOX, 1, 2, 3)
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == []


TRASH = MailboxName(("Bin",))


@pytest.mark.parametrize("use", ["\\Trash", "\\Junk"])
@pytest.mark.parametrize("side", list(Side), ids=["on the left", "on the right"])
async def test_what_is_emptied_as_a_matter_of_course(world: World, use: str, side: Side) -> None:
    """It is enough that one side says so. What goes is looked at twice, and kept, like everything else."""
    store = world.left if side is Side.LEFT else world.right
    store.user_create(TRASH, use)
    await filled(world, 60, "INBOX", "Bin")
    world.right.user_remove(TRASH, *range(1, 61))
    world.right.user_remove(INBOX, *range(1, 5))
    with world.state() as state:
        assert (await plan(world.pair, state)).exit_code is ExitCode.OK
    report = await world.run()
    assert report.in_step, report.problems
    assert (len(world.bodies(Side.LEFT, TRASH)), len(world.bodies(Side.LEFT))) == (0, 56)
    with world.state() as state:
        assert len(state.kept(TRASH)) == 60


async def test_an_emptied_trash_neither_excuses_nor_accuses_the_others(world: World) -> None:
    world.left.user_create(TRASH, "\\Trash")
    names = await filled(world, 10, "Bin", *(f"M{number}" for number in range(9)))
    for name in names:
        world.right.user_remove(name, *range(1, 7 if name != TRASH else 11))
    assert_held(await world.run(), "54 of 90 messages")
    assert len(held(world)) == 10
    assert len(world.bodies(Side.LEFT, TRASH)) == 10


async def test_another_disk(world: World) -> None:
    world.right.user_moves("1:1")
    await filled(world, 9)
    world.right.user_moves("2:1")
    world.right.user_remove(INBOX, 1)
    assert_held(await world.run(), "another disk or another directory than last time")
    assert len(world.bodies(Side.LEFT)) == 9
    agree(world)
    assert (await world.run()).in_step
    world.right.user_remove(INBOX, 2)
    assert (await world.run()).in_step, "the other disk is the one of last time by now"


async def test_the_other_disk_is_the_one_of_last_time_also_where_a_message_cannot_be_read(
    world: World,
) -> None:
    world.right.user_moves("1:1")
    await filled(world, 9)
    world.right.user_withholds(INBOX, world.right.add(INBOX, message(50)))
    world.right.user_moves("2:1")
    assert not (await world.run()).in_step
    world.right.user_remove(INBOX, 1)
    report = await world.run()
    assert not report.in_step
    assert report.counts.removed_left == 1


async def test_a_server_that_shows_only_the_newest_messages(world: World) -> None:
    await filled(world, 1001)
    world.right.user_remove(INBOX, 1)
    assert_held(await world.run(), "exactly the newest 1,000 messages")
    assert len(world.bodies(Side.LEFT)) == 1001


async def test_a_listing_far_shorter_than_the_last(world: World) -> None:
    """Most of what was listed was never copied, so that few of the agreements are missing."""
    world.pair = replace(world.pair, policy=Policy(removals=Removals.KEEP))
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 51))
    assert (await world.run()).in_step, "they are kept, and agreed on still"
    world.left.add(INBOX, message(100))
    assert (await world.run()).in_step
    world.pair = replace(world.pair, policy=Policy())
    assert_held(await world.run(), "50 of 61")


async def test_many_mailboxes_each_below_its_own_limit(world: World) -> None:
    names = await filled(world, 10, *(f"M{number}" for number in range(10)))
    for name in names:
        world.right.user_remove(name, *range(1, 9))
    report = await world.run()
    assert_held(report, "with those of other mailboxes 80 of 100 messages")
    assert len(report.problems) == 10
    assert all(len(world.bodies(Side.LEFT, name)) == 10 for name in names)
    assert agree(world) == 10
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 80
    await world.check()


async def test_what_is_removed_at_one_look_is_bounded_in_the_whole_pair(world: World) -> None:
    """Three of three in each of thirty mailboxes: a few go before it is known that all do."""
    names = await filled(world, 3, *(f"M{number:02}" for number in range(30)))
    for name in names:
        world.right.user_remove(name, 1, 2, 3)
    report = await world.run()
    assert_held(report, "of 90 messages")
    assert report.counts.removed_left == 24
    assert sum(len(world.bodies(Side.LEFT, name)) for name in names) == 66


async def test_both_sides_lost_something(world: World) -> None:
    """What one side lost is held back; what a person removed on the other goes."""
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 41))
    world.left.user_remove(INBOX, *range(51, 56))
    report = await world.run()
    assert_held(report, "40 messages", "on the left")
    assert report.counts.removed_right == 5
    assert [one.side for one in held(world)] == [Side.LEFT]


async def test_the_rest_of_a_mailbox_is_brought_in_step(world: World) -> None:
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 41))
    world.left.add(INBOX, message(100))
    report = await world.run()
    assert_held(report)
    assert report.counts.copied_to_right == 1


# --- mailboxes that vanished ---


async def vanished(world: World, count: int) -> MailboxName:
    """A mailbox that was removed on the right, which shall count."""
    name = MailboxName(("Old",))
    for number in range(count):
        world.left.add(name, message(number))
    world.left.add(INBOX, message(100_000))
    await world.run()
    world.right.user_remove_mailbox(name)
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    return name


async def test_a_small_mailbox_is_removed_because_it_was_asked_for(
    world: World, reconnects: list[str]
) -> None:
    name = await vanished(world, 1)
    world.left.add(INBOX, message(7))
    assert (await world.run()).in_step
    assert world.left.names() == [INBOX]
    assert reconnects == []
    assert world.bodies(Side.LEFT, name) == []


async def test_a_large_mailbox_that_vanished_is_held_back_until_approved(
    world: World, reconnects: list[str]
) -> None:
    name = await vanished(world, 30)
    assert_held(await world.run(), "the whole mailbox vanished on the right")
    assert reconnects == ["right"]
    assert len(world.bodies(Side.LEFT, name)) == 30
    (one,) = held(world)
    assert (one.whole, len(one.refs)) == (True, 30)
    agree(world)
    assert (await world.run()).in_step
    assert world.left.names() == [INBOX]
    assert held(world) == []


async def test_a_mailbox_that_came_back_is_not_removed(world: World) -> None:
    name = await vanished(world, 30)
    await world.run()
    agree(world)
    world.right.user_create(name)
    assert (await world.run()).in_step
    assert len(world.bodies(Side.LEFT, name)) == len(world.bodies(Side.RIGHT, name)) == 30
    assert held(world) == []


async def test_small_mailboxes_that_vanish_together(world: World) -> None:
    names = await filled(world, 9, "INBOX", *(f"M{number}" for number in range(5)))
    for name in names[1:]:
        world.right.user_remove_mailbox(name)
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    assert_held(await world.run(), "with those of other mailboxes 45 of 54 messages")
    assert world.left.names() == sorted(names)


# --- approvals ---


async def held_world(world: World) -> frozenset[int | str]:
    """40 of 60 messages are missing on the right, and held back."""
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 41))
    assert_held(await world.run())
    (one,) = held(world)
    assert (one.mailbox, one.side, one.whole, one.is_approved) == (INBOX, Side.LEFT, False, False)
    assert one.refs == set(range(1, 41))
    return one.refs


async def test_what_is_held_back_is_remembered_once_and_not_written_again(world: World) -> None:
    await held_world(world)
    (before,) = held(world)
    assert_held(await world.run())
    (after,) = held(world)
    assert after == before
    assert before.since
    with world.state() as state:
        assert len(state.history(operation="hold-removals")) == 1


async def test_an_approval_lets_the_removals_through_and_is_used_up(world: World) -> None:
    await held_world(world)
    agree(world)
    assert [one.is_approved for one in held(world)] == [True]
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 40
    assert held(world) == []
    await world.check()


async def test_a_few_more_removals_go_with_those_approved(world: World) -> None:
    await held_world(world)
    agree(world)
    world.right.user_remove(INBOX, 41, 42)
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 42
    assert held(world) == []


async def test_removals_beyond_the_approval_are_judged_anew(world: World) -> None:
    await held_world(world)
    agree(world)
    world.right.user_remove(INBOX, *range(41, 61))
    report = await world.run()
    assert_held(report, "20 messages", "none of the messages")
    assert report.counts.removed_left == 40
    (one,) = held(world)
    assert (one.refs, one.approved) == (frozenset(range(41, 61)), frozenset())
    agree(world)
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == []


async def test_an_approval_ends_when_the_messages_are_back(world: World) -> None:
    """The disk is mounted again: what was approved is not planned any more, and must not be for another time."""
    await filled(world, 60)
    mail = world.right.contents()
    box = world.right._account.boxes[INBOX]
    box.messages = {uid: one for uid, one in mail.items() if uid > 40}
    box.modseq += 1
    await world.run()
    agree(world)
    box.messages = dict(mail)
    box.modseq += 1
    report = await world.run()
    assert report.in_step, report.problems
    assert held(world) == []
    box.messages = {uid: one for uid, one in mail.items() if uid > 40}
    box.modseq += 1
    assert_held(await world.run())


async def test_an_approval_ends_when_nothing_moved_after_all(world: World) -> None:
    """The same, and the side looks just as when it was last in step: the mailbox is not even opened."""
    await filled(world, 60)
    box = world.right._account.boxes[INBOX]
    mail, modseq = dict(box.messages), box.modseq
    world.right.user_remove(INBOX, *range(1, 41))
    await world.run()
    agree(world)
    box.messages, box.modseq = mail, modseq
    report = await world.run()
    assert [result.unchanged for result in report.mailboxes] == [True]
    assert held(world) == []


async def test_an_approval_ends_with_the_numbering(world: World) -> None:
    await held_world(world)
    agree(world)
    world.left.user_renumbers(INBOX)
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 0
    assert len(world.bodies(Side.LEFT)) == len(world.bodies(Side.RIGHT)) == 60
    assert held(world) == []


async def test_an_approval_ends_when_removals_are_to_be_kept(world: World) -> None:
    await held_world(world)
    agree(world)
    world.pair = replace(world.pair, policy=Policy(removals=Removals.KEEP))
    assert (await world.run()).in_step
    assert held(world) == []
    assert len(world.bodies(Side.LEFT)) == 60


async def test_a_run_over_other_mailboxes_leaves_an_approval_alone(world: World) -> None:
    await held_world(world)
    agree(world)
    world.left.add(MailboxName(("Other",)), message(7))
    pair = world.pair
    world.pair = replace(pair, select=lambda name: not name.is_inbox)
    assert (await world.run()).in_step
    assert [one.is_approved for one in held(world)] == [True]
    world.pair = pair
    assert (await world.run()).in_step


async def test_what_changed_since_it_was_shown_is_not_approved(world: World) -> None:
    await held_world(world)
    with world.state() as state:
        shown = held_back(state)
    world.right.user_remove(INBOX, 41)
    await world.run()
    with world.state() as state:
        assert approve(state, shown) == []
        assert len(approve(state, held_back(state))) == 1
        assert [line.operation for line in state.history(operation="approve")] == ["approve"]


async def test_a_hold_names_its_messages(world: World) -> None:
    await held_world(world)
    with world.state() as state:
        (one,) = held_back(state)
    assert one.messages[0] == (1, "<0@sync.example>")
    assert len(one.messages) == 40


def test_a_message_id_of_another_numbering_is_not_told(world: World) -> None:
    with world.state() as state:
        for note in (
            Note("copy", 1, 1, "", "<old@x>"),
            Note("reset", None, None, ""),
            Note("copy", 2, 2, "", "<new@x>"),
        ):
            state.commit(INBOX, [note])
        state.commit(INBOX, [HoldRemovals(HeldRemovals(INBOX, Side.LEFT, "2", frozenset({1, 2}), "many"))])
        (one,) = held_back(state)
    assert one.messages == ((1, ""), (2, "<new@x>"))


@pytest.mark.parametrize("stop_at", range(1, 36))
async def test_killed_between_the_approval_and_the_last_removal(world: World, stop_at: int) -> None:
    """Whenever it is, the next run removes the rest of what was approved, and nothing else."""
    await filled(world, 12)
    world.right.user_remove(INBOX, *range(1, 13))
    await world.run()
    agree(world)
    world.right.add(INBOX, message(50))
    done = await world.run_until(stop_at)
    assert world.bodies(Side.RIGHT) == [message(50)]
    report = await world.run()
    assert report.in_step, report.problems
    assert world.bodies(Side.LEFT) == [message(50)]
    assert held(world) == []
    await world.check()
    assert not done or stop_at > 30, "every step is tried"


# --- a look ahead ---


async def test_a_plan_says_what_would_be_held_back(world: World) -> None:
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 41))
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert planned.exit_code is ExitCode.GUARD
    (problem,) = planned.problems
    assert "40 of 60" in problem.error.message
    assert held(world) == []
    await world.run()
    agree(world)
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert planned.exit_code is ExitCode.OK
    assert [one.is_approved for one in held(world)] == [True]


async def test_a_plan_counts_all_mailboxes(world: World) -> None:
    names = await filled(world, 10, *(f"M{number}" for number in range(10)))
    for name in names:
        world.right.user_remove(name, *range(1, 9))
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert len(planned.problems) == 10
    assert all("80 of 100" in problem.error.message for problem in planned.problems)


# --- messages that were moved ---


def move(store: MemoryStore, target: MailboxName, *uids: int) -> None:
    """Somebody moves messages out of INBOX."""
    mail = store.contents()
    for uid in uids:
        store.add(target, mail[uid].data)
    store.user_remove(INBOX, *uids)


async def assert_plan_and_run_agree(world: World) -> RunReport:
    """What a plan says would be held back is what the run holds back."""
    with world.state() as state:
        planned = await plan(world.pair, state)
    report = await world.run()
    said, done = (
        [(problem.mailbox, problem.error.message) for problem in result.problems]
        for result in (planned, report)
    )
    assert said == done
    return report


@pytest.mark.parametrize("name", ["Archive", "A"], ids=["after INBOX", "before INBOX"])
async def test_an_inbox_that_was_emptied_into_another_mailbox(world: World, name: str) -> None:
    """Nothing of it is lost: the messages are there, on both sides."""
    archive = MailboxName((name,))
    world.left.add(archive, message(500))
    await filled(world, 60)
    move(world.right, archive, *range(1, 61))
    report = await assert_plan_and_run_agree(world)
    assert report.in_step, report.problems
    assert world.bodies(Side.LEFT) == []
    assert len(world.bodies(Side.LEFT, archive)) == 61
    await world.check()


async def test_what_was_not_moved_is_judged_by_itself(world: World) -> None:
    archive = MailboxName(("Archive",))
    await filled(world, 60)
    move(world.right, archive, *range(1, 31))
    world.right.user_remove(INBOX, *range(31, 61))
    report = await assert_plan_and_run_agree(world)
    assert_held(report, "30 messages", "none of the messages")
    assert report.counts.removed_left == 30
    (one,) = held(world)
    assert one.refs == set(range(31, 61))


async def test_new_mail_elsewhere_excuses_nothing(world: World) -> None:
    await filled(world, 60)
    world.right.user_remove(INBOX, *range(1, 61))
    for number in range(60):
        world.right.add(MailboxName(("Lists",)), message(1000 + number))
    assert_held(await assert_plan_and_run_agree(world), "60 messages")
    assert len(world.bodies(Side.LEFT)) == 60


async def test_mailboxes_that_were_emptied_into_another_are_no_loss_of_the_pair(world: World) -> None:
    names = await filled(world, 10, "INBOX", *(f"M{number}" for number in range(9)))
    for name in names[1:]:
        mail = world.right.contents(name)
        for uid in range(1, 10):
            world.right.add(INBOX, mail[uid].data)
            world.right.user_remove(name, uid)
    report = await assert_plan_and_run_agree(world)
    assert report.in_step, report.problems
    assert report.counts.removed_left == 81


async def test_an_inbox_that_was_emptied_into_a_new_mailbox(world: World) -> None:
    await filled(world, 60)
    move(world.right, MailboxName(("Archive", "2026")), *range(1, 61))
    report = await assert_plan_and_run_agree(world)
    assert report.in_step, report.problems


async def test_a_plan_judges_what_goes_at_the_first_look_as_the_run_does(world: World) -> None:
    """A single removal goes before it is known how many there are in all."""
    names = await filled(world, 20, *(f"M{number}" for number in range(10)))
    for name in names[1:]:
        world.right.user_remove(name, *range(1, 19))
    world.right.user_remove(names[0], 1)
    report = await assert_plan_and_run_agree(world)
    assert [one.mailbox for one in held(world)] == names[1:]
    assert report.counts.removed_left == 1


async def test_a_plan_that_cannot_see_who_arrives_says_both(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = MailboxName(("Archive",))
    await filled(world, 60)
    move(world.right, archive, *range(1, 61))
    original = MemoryMailbox.identify

    async def identify(self: MemoryMailbox, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        if self.name == archive:
            raise MailboxError("it cannot be read now")
        return await original(self, refs)

    monkeypatch.setattr(MemoryMailbox, "identify", identify)
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert {(problem.mailbox, type(problem.error)) for problem in planned.problems} == {
        (INBOX, GuardError),
        (archive, MailboxError),
    }
