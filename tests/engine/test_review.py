"""What a reviewer found who tried to make runs lose, double or alter a message, or say what is not true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.tables import Bench, parse_table
from tests.engine.test_simulated import server, store
from tests.engine.test_sync import World, message

from mailtwin.engine import compare_stores, copying, plan
from mailtwin.engine.findings import Kind
from mailtwin.errors import ExitCode, MailboxError
from mailtwin.imap import responses
from mailtwin.model import INBOX, Identity, MailboxName, Ref, Side, UidSet, make_flags
from mailtwin.planner import Direction, NameMap, Policy, Removals
from mailtwin.stores.base import Observation, Outcome, Spool, Stored, Unknown
from mailtwin.stores.imap_bodies import EPOCH, FlagReader, Gathered
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.memory import MemoryMailbox, MemoryMessage, MemoryStore
from mailtwin.testing import simfetch
from mailtwin.testing.manners import BARE, PLAIN
from mailtwin.testing.simfaults import When, cut, reply_no, shorten
from mailtwin.testing.simsession import Session

WORK = MailboxName(("Work",))
SENT, ITEMS, MAIL = (MailboxName((name,)) for name in ("Sent", "Sent Items", "Sent Mail"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty world."""
    return World(tmp_path)


# --- numbering ---


async def test_what_is_known_under_a_number_is_forgotten_when_the_mailbox_is_renumbered_during_a_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        world.left.add(INBOX, message(number))
    for number in (8, 1, 3):
        world.right.add(INBOX, message(number))
    append = world.right.append

    def renumbering(name: object, new: MemoryMessage) -> Outcome:
        monkeypatch.setattr(world.right, "append", append)
        world.right.user_remove(INBOX, 1)
        world.right.user_renumbers(INBOX)
        append(INBOX, new)
        # What an IMAP store makes of an APPENDUID with another UIDVALIDITY.
        return Unknown(finished=True, accepted=True)

    monkeypatch.setattr(world.right, "append", renumbering)
    await world.run()
    await world.run()
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT)
    assert {message(1), message(2), message(3)} <= set(world.bodies(Side.LEFT))
    await world.check()


async def test_a_mailbox_that_is_given_another_twin_is_paired_with_that_one_anew(
    world: World, tmp_path: Path
) -> None:
    """In a Maildir all mailboxes have one numbering: the old twin's messages look removed from the new one."""
    maildir = MaildirStore(tmp_path / "mail")
    for name in (".Sent Items", ".Sent Mail"):
        for part in ("cur", "new", "tmp"):
            (tmp_path / "mail" / name / part).mkdir(parents=True)
    names = NameMap([(SENT, ITEMS)])
    world.pair = replace(world.pair, right=maildir, names=names, select=lambda name: name in (INBOX, SENT))
    world.left.add(INBOX, message(1))
    world.left.add(SENT, message(2))
    assert (await world.run()).in_step
    world.pair = replace(world.pair, names=NameMap([(SENT, MAIL)]))
    for _ in range(2):
        assert (await world.run()).in_step
        assert world.bodies(Side.LEFT, SENT) == [message(2)]
    assert len(list((tmp_path / "mail" / ".Sent Mail" / "new").iterdir())) == 1


# --- policies ---


@pytest.mark.parametrize(
    "before",
    [Policy(direction=Direction.LEFT_TO_RIGHT), Policy(removals=Removals.KEEP)],
    ids=["one-way", "keep"],
)
async def test_a_changed_policy_is_applied_to_mailboxes_in_which_nothing_changed(
    world: World, before: Policy
) -> None:
    world.left.add(INBOX, message(1))
    await world.run()
    world.pair = replace(world.pair, policy=before)
    world.right.add(INBOX, message(2))
    world.left.user_remove(INBOX, 1)
    assert (await world.run()).in_step
    world.pair = replace(world.pair, policy=Policy())
    assert (await world.run()).in_step
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT) == [message(2)]
    await world.check()


# --- mailboxes ---


async def test_a_mailbox_that_replaced_the_known_one_is_not_removed(world: World) -> None:
    """Its messages have the numbers and the flags that were agreed on, and are others."""
    world.left.add(INBOX, message(1))
    world.left.add(WORK, message(2))
    await world.run()
    world.left.user_remove_mailbox(WORK)
    world.right.user_remove_mailbox(WORK)
    world.right.add(WORK, message(3))
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    report = await world.run()
    assert world.bodies(Side.RIGHT, WORK) == [message(3)]
    assert [problem.mailbox for problem in report.problems] == [WORK]


async def test_a_mailbox_that_cannot_be_opened_is_not_taken_for_removed(tmp_path: Path) -> None:
    """A server whose disk is out lists less, and refuses the rest."""
    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(
            world.pair, left=store(one), right=store(two), policy=Policy(remove_mailboxes=True)
        )
        account = next(iter(one.mail.accounts.values()))
        account["INBOX"].append(message(1))
        account.create("Work").append(message(2))
        assert (await world.run()).in_step
        one.faults.add(shorten("LIST", 1, keep=1))
        one.faults.add(reply_no("SELECT", 1, code="UNAVAILABLE"))
        report = await world.run()
        assert not report.in_step
        one.faults.clear()
        assert (await world.run()).in_step
        assert next(iter(two.mail.accounts.values()))["Work"].bodies() == [message(2)]


# --- what a server says and does not mean ---


async def test_a_server_that_forgets_what_it_stored_costs_no_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said under which UID it stored the message, and lost it: a crash, a backup, a replica that is behind."""
    world.left.add(INBOX, message(1))
    monkeypatch.setattr(world.right, "append", lambda name, _new: Stored(world.right.box(name).uid_next))
    for _ in range(2):
        report = await world.run()
        assert world.bodies(Side.LEFT) == [message(1)]
        assert "forgotten 1 message" in report.problems[0].error.message


async def test_a_mailbox_restored_from_a_backup_removes_nothing_on_the_other_side(tmp_path: Path) -> None:
    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=store(two))
        box = next(iter(two.mail.accounts.values()))["INBOX"]
        for number in (1, 2, 3):
            box.append(message(number))
        assert (await world.run()).in_step
        box.remove(3)
        box.uid_next = 3
        assert not (await world.run()).in_step
        assert len(next(iter(one.mail.accounts.values()))["INBOX"]) == 3


async def test_a_select_without_the_number_of_messages_is_no_empty_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untagged = Session.untagged

    def swallow(self: Session, data: bytes) -> None:
        if not data.endswith(b" EXISTS"):
            untagged(self, data)

    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=store(two))
        box = next(iter(two.mail.accounts.values()))["INBOX"]
        box.append(message(1))
        assert (await world.run()).in_step
        box.append(message(2))
        monkeypatch.setattr(Session, "untagged", swallow)
        assert not (await world.run()).in_step
        monkeypatch.undo()
        assert (await world.run()).in_step
        assert box.bodies() == [message(1), message(2)]


async def test_a_short_search_expunges_nothing_that_others_marked(tmp_path: Path) -> None:
    """Without UIDPLUS an EXPUNGE takes whatever is marked, and SEARCH is the last thing to rely on (rule R10)."""
    async with server(BARE) as one, server(BARE) as two:
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db")
        rows = parse_table("""
            S | - | S -> - | -
            T | T | T -> T | T
        """)
        await bench.prepare(rows)
        two.faults.add(shorten("SEARCH", 1, keep=0, times=9))
        await bench.run()
        await bench.expect(rows)
        await bench.expect_nothing_to_do()


@pytest.mark.parametrize("nth", [1, 2])
async def test_marks_of_others_survive_a_refusal(nth: int, tmp_path: Path) -> None:
    async with server(BARE) as one, server(BARE) as two:
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db")
        rows = parse_table("""
            S | - | S -> - | -
            T | T | T -> T | T
        """)
        await bench.prepare(rows)
        two.faults.add(reply_no("STORE", nth, when=When.EXECUTED))
        await bench.run()
        two.faults.clear()
        await bench.run()
        await bench.expect(rows)


async def test_an_empty_answer_for_a_message_that_is_not_empty_is_never_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on Yandex and iCloud: the body comes as an empty string, and everything says OK (rule R13)."""
    async with server(PLAIN) as one:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=MaildirStore(tmp_path / "mail"))
        next(iter(one.mail.accounts.values()))["INBOX"].append(message(1))
        monkeypatch.setattr(simfetch, "_whole", lambda _body: b"")
        assert not (await world.run()).in_step
        monkeypatch.undo()
        assert (await world.run()).in_step
        (file,) = (tmp_path / "mail" / "new").iterdir()
        assert file.read_bytes() == message(1).replace(b"\r\n", b"\n")


def test_a_date_that_no_calendar_holds_is_no_date() -> None:
    taken = Gathered("a server", Spool, UidSet.of([7]), FlagReader())
    header = b"Date: Mon, 1 Jan 99999999999999999999 00:00:00 +0000\r\n\r\n"
    taken.take(responses.Fetch(1, 7, (), None, None, len(header), {"": header}, {}))
    assert [found.date for found in taken.rest()] == [EPOCH]


# --- flags ---


async def test_a_keyword_that_cannot_be_sent_stops_nothing_and_stays_where_it_is(tmp_path: Path) -> None:
    odd = make_flags(["a]b", "über", "fine"])
    left = MemoryStore("left")
    box = left.box(INBOX)
    box.append(MemoryMessage(message(1), odd, EPOCH))
    uid = box.append(MemoryMessage(message(2), make_flags([]), EPOCH))
    async with server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=left, right=store(two))
        assert (await world.run()).in_step
        there = next(iter(two.mail.accounts.values()))["INBOX"]
        assert [held.flags for held in there] == [{"fine"}, frozenset()]
        box.put(uid, replace(box.messages[uid], flags=odd))
        assert (await world.run()).in_step
        assert [held.flags for held in there] == [{"fine"}, {"fine"}]
        there.set_flags(1, ["fine", "\\Seen"])
        assert (await world.run()).in_step
        assert left.contents()[1].flags == odd | {"\\Seen"}


async def test_a_removal_that_broke_off_is_not_taken_for_a_change_of_flags(tmp_path: Path) -> None:
    """Between our mark and our EXPUNGE the connection broke; the mark is not a person's wish to keep the message."""
    async with server(PLAIN) as one, server(PLAIN) as two:
        policy = Policy(flag_change_beats_removal=True)
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db", policy)
        rows = parse_table("S | - | S -> - | -")
        await bench.prepare(rows)
        two.faults.add(cut("EXPUNGE", 1, When.BEFORE))
        await bench.run()
        await bench.run()
        await bench.expect(rows)


# --- messages that come and go during a run ---


async def test_a_message_removed_while_it_was_to_be_recognised_is_no_problem(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = world.left.add(INBOX, message(1))
    for side in (world.left, world.right):
        side.add(INBOX, message(2))
    identify = MemoryMailbox.identify

    async def removing(self: MemoryMailbox, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        world.left.user_remove(INBOX, gone)
        return await identify(self, refs)

    monkeypatch.setattr(MemoryMailbox, "identify", removing)
    report = await world.run()
    assert report.in_step, report.problems
    await world.check()


async def test_a_server_that_merges_with_a_message_that_is_to_be_copied_itself_links_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.left.add(INBOX, message(1))
    uid = world.right.add(INBOX, message(1, "rendered anew"))
    monkeypatch.setattr(world.right, "append", lambda _name, _new: Stored(uid))
    assert (await world.run()).in_step
    assert len(world.bodies(Side.LEFT)) == len(world.bodies(Side.RIGHT)) == 1


# --- looking without touching ---


async def test_a_plan_says_that_a_copy_cannot_be_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.left.add(INBOX, message(1))
    lost = Unknown(finished=True, accepted=True)
    monkeypatch.setattr(world.right, "append", lambda _name, _new: lost)
    await world.run()
    with world.state() as state:
        planned = await plan(world.pair, state)
    assert [entry.in_step for entry in planned.mailboxes] == [False]
    assert "not sent again" in planned.problems[0].error.message
    assert planned.exit_code is ExitCode.NOT_IN_STEP


async def test_a_plan_says_that_a_listing_is_short_and_a_message_unreadable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = world.left.add(INBOX, message(1))
    world.left.user_withholds(INBOX, uid)
    world.right.add(INBOX, message(2, "of another size"))
    planned = await plan(world.pair, None)
    assert [problem.ref for problem in planned.problems] == [uid]
    monkeypatch.setattr(MemoryMailbox, "observe", observe_short(world.right))
    planned = await plan(world.pair, None)
    assert [(entry.in_step, problem.side) for entry in planned.mailboxes for problem in planned.problems] == [
        (False, Side.RIGHT)
    ]


def observe_short(store: MemoryStore) -> Callable[[MemoryMailbox], Awaitable[Observation]]:
    """An `observe` that shows nothing of the mailboxes of `store`, and says so."""
    observe = MemoryMailbox.observe

    async def short(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        seen = await observe(self)
        if self.store is not store:
            return seen
        return Observation(replace(seen.listing, flags={}, coverage=UidSet()), None)

    return short


async def test_a_mailbox_that_cannot_be_listed_keeps_no_other_one_from_being_planned(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = MemoryMailbox.observe

    async def refusing(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        if self.name == INBOX and self.store is world.left:
            raise MailboxError("it cannot be listed")
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.store.break_connection()  # as a session does that is cut short
            raise
        return await observe(self)

    for side in (world.left, world.right):
        side.user_create(WORK)
    monkeypatch.setattr(MemoryMailbox, "observe", refusing)
    planned = await plan(world.pair, None)
    assert [problem.mailbox for problem in planned.problems] == [INBOX]
    assert [entry.name for entry in planned.mailboxes] == [WORK]


async def test_two_stores_are_identical_only_as_far_as_both_can_be_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (world.left, world.right):
        side.user_withholds(INBOX, side.add(INBOX, message(1)))
    found = await compare_stores(world.left, world.right)
    assert [(one.kind, one.side) for one in found.differences] == [(Kind.UNREADABLE, side) for side in Side]
    monkeypatch.setattr(MemoryMailbox, "observe", observe_short(world.left))
    world.right.user_remove(INBOX, 1)
    assert not (await compare_stores(world.left, world.right)).identical


# --- pauses and full mailboxes ---


@pytest.mark.parametrize("command", ["APPEND", "FETCH", "STORE", "EXPUNGE"])
async def test_a_server_that_wants_a_pause_gets_it(command: str, tmp_path: Path) -> None:
    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=store(two))
        left, right = (next(iter(running.mail.accounts.values()))["INBOX"] for running in (one, two))
        for number in (1, 2):
            left.append(message(number))
        assert (await world.run()).in_step
        left.remove(1)
        left.set_flags(2, ["\\Seen"])
        left.append(message(3))
        right.append(message(4))
        two.faults.add(
            reply_no(command, 1, text="Request is throttled. Suggested Backoff Time: 1500 milliseconds")
        )
        report = await world.run()
        assert report.in_step, report.problems
        assert 1.5 in world.pauses
        assert sorted(left.bodies()) == sorted(right.bodies()) == [message(number) for number in (2, 3, 4)]


async def test_a_full_mailbox_is_not_sent_every_message_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_MESSAGES_MAX", 2)
    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=store(two))
        left, right = (next(iter(running.mail.accounts.values()))["INBOX"] for running in (one, two))
        for number in range(6):
            left.append(message(number))
        two.faults.add(reply_no("APPEND", 2, code="OVERQUOTA", text="Quota exceeded", times=99))
        report = await world.run()
        assert [str(problem.error) for problem in report.problems] == [
            "INBOX: the server takes no message: Quota exceeded"
        ]
        assert right.bodies() == [message(0)]
        two.faults.clear()
        assert (await world.run()).in_step
        assert right.bodies() == [message(number) for number in range(6)]


@pytest.mark.parametrize("nth", [2, 3])
@pytest.mark.parametrize("keep", [0, 1])
async def test_short_answers_while_messages_are_recognised_double_nothing(
    nth: int, keep: int, tmp_path: Path
) -> None:
    """Two in a row: what was asked for, and whether what was left out is there at all."""
    async with server(PLAIN) as one, server(PLAIN) as two:
        world = World(tmp_path)
        world.pair = replace(world.pair, left=store(one), right=store(two))
        boxes = [next(iter(running.mail.accounts.values()))["INBOX"] for running in (one, two)]
        boxes[1].renew(7)  # numbered alike, they would be one account
        for number in range(5):
            for box in boxes:
                box.append(message(number))
                box.append(b"Subject: %d\r\n\r\nno Message-ID\r\n" % number)
        two.faults.add(shorten("FETCH", nth, keep, times=2))
        await world.run()
        report = await world.run()
        assert report.in_step, report.problems
        assert [len(box) for box in boxes] == [10, 10]
