"""A verification finds every difference between two stores, calls it by its name, and finds nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_stragglers import stall
from tests.engine.test_sync import World, message, world

from mailtwin.engine import Pair, compare_stores, verify
from mailtwin.engine.findings import Finding, Kind, Verification
from mailtwin.engine.report import Compared, Event, MailboxVerified, Verifying, ignore_events
from mailtwin.errors import ExitCode, UnreachableError
from mailtwin.model import INBOX, NO_FLAGS, Flags, MailboxName, Ref, Side, Vocabulary, make_flags
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.planner import CopyIntent, Direction, NameMap, Policy, Removals
from mailtwin.state import AddCopy, State
from mailtwin.stores.base import Message, Observation, Spool
from mailtwin.stores.memory import EPOCH, Answer, Manners, MemoryMailbox, MemoryStore, always
from mailtwin.testing.interrupts import Interrupted

__all__ = ["world"]

module = import_module("mailtwin.engine.verify")
SEEN = make_flags(["\\Seen"])
WORK = MailboxName(("Work",))


async def verified(
    world: World, *, deep: bool = False, report: Callable[[Event], None] = ignore_events
) -> Verification:
    """A verification with the world's state."""
    with world.state() as state:
        found = await verify(world.pair, state, deep=deep, report=report)
        assert state.check() == []
    return found


def kinds(found: Verification) -> list[tuple[Kind, Side | None]]:
    """The kind and side of each difference."""
    return [(one.kind, one.side) for one in found.differences]


async def twins(world: World, count: int = 3) -> None:
    """Both sides hold the same messages, and have been verified once."""
    for number in range(count):
        world.left.add(INBOX, message(number))
    assert (await world.run()).in_step
    found = await verified(world)
    assert found.identical, found.differences
    assert (found.same, found.read) == (count, 2 * count)


# --- every mutation, and nothing else ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """One message of a twin; `copies` of it are in both stores."""

    number: int
    has_message_id: bool
    flags: Flags
    hours: int
    copies: int

    @property
    def data(self) -> bytes:
        token = hashlib.sha256(b"%d" % self.number).hexdigest().encode()
        message_id = b"Message-ID: <%s@twin.example>\r\n" % token if self.has_message_id else b""
        return message_id + b"Subject: %s\r\n\r\nThe body of %s.\r\n" % (token[:9], token)


FLAGS = st.sets(st.sampled_from(["\\Seen", "\\Flagged", "work"])).map(make_flags)
MUTATIONS = ("drop", "double", "flip", "flag", "date")


@st.composite
def mails(draw: st.DrawFn) -> list[Mail]:
    """A mailbox. Messages without a Message-ID have dates of their own, as nearly all mail has."""
    count = draw(st.integers(1, 8))
    return [
        Mail(
            number,
            named := draw(st.booleans()),
            draw(FLAGS),
            draw(st.integers(0, 2)) if named else 10 + number,
            draw(st.integers(1, 2)),
        )
        for number in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Mutation:
    """What happens to the message at `index` on one side."""

    what: str
    side: Side
    index: int
    at: int


@st.composite
def mutated_twins(draw: st.DrawFn) -> tuple[list[Mail], list[Mutation]]:
    mailbox = draw(mails())
    hit = draw(st.lists(st.sampled_from(range(len(mailbox))), min_size=1, unique=True))
    return mailbox, [
        Mutation(
            draw(st.sampled_from(MUTATIONS)), draw(st.sampled_from(Side)), index, draw(st.integers(0, 70))
        )
        for index in hit
    ]


def fill(stores: Sequence[MemoryStore], mailbox: Sequence[Mail]) -> None:
    for store, order in zip(stores, (mailbox, mailbox[::-1]), strict=True):
        for mail in order:
            for _ in range(mail.copies):
                store.add(INBOX, mail.data, mail.flags, EPOCH + timedelta(hours=mail.hours))


def mutate(store: MemoryStore, mail: Mail, mutation: Mutation) -> tuple[Kind, Side | None, tuple[str, ...]]:
    """Does it, and returns what has to be found."""
    side = mutation.side
    uid = next(uid for uid, held in store.contents().items() if held.data == mail.data)
    held = store.contents()[uid]
    match mutation.what:
        case "drop":
            store.user_remove(INBOX, uid)
            return (Kind.DOUBLED, side.other, ()) if mail.copies > 1 else (Kind.MISSING, side, ())
        case "double":
            store.add(INBOX, held.data, held.flags, held.date)
            return Kind.DOUBLED, side, ()
        case "flip":
            # In the body or the subject: with another Message-ID it would be another message.
            at = len(held.data) - 3 - mutation.at % 60
            data = held.data[:at] + bytes([held.data[at] ^ 1]) + held.data[at + 1 :]
            store.user_remove(INBOX, uid)
            store.add(INBOX, data, held.flags, held.date)
            return Kind.ALTERED, None, ("bytes",)
        case "flag":
            store.user_flags(INBOX, uid, held.flags ^ SEEN)
            return Kind.ALTERED, None, ("flags",)
        case _:
            store.user_dates(INBOX, uid, held.date + timedelta(seconds=1))
            return Kind.ALTERED, None, ("date",)


def told(found: Verification) -> Counter[tuple[Kind, Side | None, tuple[str, ...]]]:
    return Counter(
        (one.kind, one.side, tuple(change.what for change in one.altered)) for one in found.differences
    )


@settings(max_examples=150)
@given(mutated_twins())
def test_every_mutation_is_found_and_nothing_else(twin: tuple[list[Mail], list[Mutation]]) -> None:
    """With what was remembered of the twins before, and without; in the order of the stores and against it."""
    mailbox, mutations = twin

    async def check(path: Path) -> None:
        stores = (MemoryStore("left"), MemoryStore("right"))
        fill(stores, mailbox)
        total = sum(mail.copies for mail in mailbox)
        with State.open(path, left="left", right="right", now=time.time) as state:
            before = await verify(Pair(*stores), state)
            assert (before.identical, before.same, before.read) == (True, total, 2 * total)
            expected = Counter(mutate(stores[one.side], mailbox[one.index], one) for one in mutations)
            after = await verify(Pair(*stores), state)
            assert told(after) == expected
            assert after.read <= len(mutations)
            assert told(await compare_stores(*stores)) == expected
            turned = await compare_stores(stores[Side.RIGHT], stores[Side.LEFT])
            assert told(turned) == Counter(
                {
                    (kind, None if side is None else side.other, what): count
                    for (kind, side, what), count in expected.items()
                }
            )
            changed = sum(count for (kind, _, _), count in expected.items() if kind is Kind.ALTERED)
            dropped = sum(one.what == "drop" for one in mutations)
            assert after.same == total - changed - dropped
            assert after.exit_code is ExitCode.NOT_IN_STEP

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(check(Path(directory) / "state.db"))


@settings(max_examples=100)
@given(mails(), st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_can_change_unseen(mailbox: list[Mail], at: int, change: int) -> None:
    """Wherever it is: in the header, in the Message-ID, at a line end."""
    stores = (MemoryStore("left"), MemoryStore("right"))
    fill(stores, mailbox)
    uid, held = next(iter(stores[0].contents().items()))
    at %= len(held.data)
    data = held.data[:at] + bytes([held.data[at] ^ change]) + held.data[at + 1 :]
    stores[0].user_rots(INBOX, uid, data)
    found = asyncio.run(compare_stores(*stores))
    assert not found.identical
    assert len(found.differences) <= 2


# --- what is trusted --------------------------------------------------------------------------------------------------


async def test_what_was_read_before_is_not_read_again(world: World) -> None:
    await twins(world)
    world.left.add(INBOX, message(3))
    assert (await world.run()).in_step
    again = await verified(world)
    assert (again.same, again.read, again.identical) == (4, 2, True)
    assert (await verified(world)).read == 0
    assert (await verified(world, deep=True)).read == 8


async def test_a_renumbered_mailbox_is_read_again(world: World) -> None:
    await twins(world)
    world.right.user_renumbers(INBOX)
    again = await verified(world)
    assert (again.identical, again.read) == (True, 3)


async def test_rot_is_seen_by_a_deep_verification_only_and_whose_it_is(world: World) -> None:
    await twins(world)
    world.right.user_rots(INBOX, 2, message(1).replace(b"body", b"bady"))
    assert (await verified(world)).identical
    (found,) = (await verified(world, deep=True)).differences
    assert (found.kind, found.left, found.right) == (Kind.ALTERED, 2, 2)
    assert found.why == (
        "the bytes on the right are not those read before, though nothing shows a change; "
        f"they differ first at byte {message(1).index(b'body') + 1}, in the body"
    )
    # From now on it is known.
    assert not (await verified(world)).identical


async def test_what_is_gone_is_forgotten(world: World) -> None:
    await twins(world)
    world.left.user_remove(INBOX, 1)
    assert (await world.run()).in_step
    assert (await verified(world)).identical
    with world.state() as state:
        assert [sorted(state.digests(INBOX, side)) for side in Side] == [[2, 3], [2, 3]]


async def test_another_twin_is_not_taken_for_the_old_one(world: World) -> None:
    """The left mailbox gets another twin, whose messages have the same numbers and sizes."""
    one, other = MailboxName(("One",)), MailboxName(("Other",))
    for number in range(3):
        world.left.add(WORK, message(number))
        world.right.add(one, message(number))
        world.right.add(other, message(number).replace(b"body", b"BODY"))
    world.right._account.boxes[other].validity = world.right._account.boxes[one].validity
    with world.state() as state:
        for twin, read, identical in ((one, 6, True), (other, 3, False)):
            world.pair = replace(world.pair, names=NameMap([(WORK, twin)]), select=lambda name: name == WORK)
            found = await verify(world.pair, state)
            assert (found.read, found.identical) == (read, identical)
            assert all(difference.kind is Kind.ALTERED for difference in found.differences)


async def test_without_a_state_everything_is_read(world: World) -> None:
    await twins(world)
    for _ in range(2):
        found = await verify(world.pair, None)
        assert (found.identical, found.read, found.deep) == (True, 6, False)


async def test_a_verification_makes_nothing_known(world: World) -> None:
    """What it remembers of a mailbox must not make the next run believe that both sides once agreed on it."""
    for store in (world.left, world.right):
        store.add(WORK, message(1))
    assert (await verified(world)).identical
    with world.state() as state:
        assert state.mailboxes() == {}
        assert len(state.digests(WORK, Side.LEFT)) == 1
    world.right.user_remove_mailbox(WORK)
    assert (await world.run()).in_step
    assert world.bodies(Side.RIGHT, WORK) == [message(1)]


# --- what it says -----------------------------------------------------------------------------------------------------


async def test_flags_count_as_far_as_both_sides_can_hold_them(world: World) -> None:
    world.right.manners = Manners(vocabulary=Vocabulary(SYSTEM_FLAGS, any_keyword=False))
    await twins(world, 1)
    world.left.user_flags(INBOX, 1, make_flags(["work"]))
    assert (await verified(world)).identical
    world.left.user_flags(INBOX, 1, make_flags(["work", "\\Seen"]))
    (found,) = (await verified(world)).differences
    assert [(one.what, one.left, one.right) for one in found.altered] == [("flags", "\\Seen", "none")]


async def test_all_that_differs_is_named(world: World) -> None:
    await twins(world, 1)
    world.right.user_remove(INBOX, 1)
    body = message(0).replace(b"\r\n", b"\n")
    world.right.add(INBOX, body, SEEN, EPOCH + timedelta(days=1))
    (found,) = (await verified(world)).differences
    assert [one.what for one in found.altered] == ["bytes", "flags", "date"]
    assert (found.altered[2].left, found.altered[2].right) == (
        "2000-01-01T00:00:00+00:00",
        "2000-01-02T00:00:00+00:00",
    )
    assert found.why == "the same but for line ends, as servers write them anew on the left"


async def test_what_cannot_be_read_is_said_with_its_twin(world: World) -> None:
    await twins(world)
    world.right.user_withholds(INBOX, 2)
    found = await verified(world, deep=True)
    (one,) = found.differences
    assert (one.kind, one.side, one.left, one.right, one.message_id) == (
        Kind.UNREADABLE, Side.RIGHT, 2, 2, "<1@sync.example>",
    )  # fmt: skip
    assert "does not hand out" in one.why
    assert found.same == 2
    world.left.user_withholds(INBOX, 2)
    (both,) = (await verified(world, deep=True)).differences
    assert (both.kind, both.side, both.left, both.right) == (Kind.UNREADABLE, None, 2, 2)
    # Without a state nobody knows whose twin it is.
    assert kinds(await compare_stores(world.left, world.right)) == [
        (Kind.UNREADABLE, Side.LEFT),
        (Kind.UNREADABLE, Side.RIGHT),
    ]


async def test_an_extra_copy_that_waits_for_a_decision_is_the_one_too_many(world: World) -> None:
    await stall(world)
    assert not (await world.run()).in_step
    (found,) = (await verified(world)).differences
    assert (found.kind, found.side, found.left, found.right) == (Kind.UNRESOLVED, Side.RIGHT, None, 2)
    assert found.why == "an extra copy that arrived late; `mailtwin resolve` decides"


async def test_a_copy_that_may_be_missing_waits_too(world: World) -> None:
    world.left.add(INBOX, message(0))
    world.right.manners = Manners(answer=always(Answer.ACCEPTED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryMailbox, "observe", hide_new_mail(world.right))
        await world.run()
    world.right.user_remove(INBOX, 1)
    assert not (await world.run()).in_step
    (found,) = (await verified(world)).differences
    assert (found.kind, found.side, found.left, found.right) == (Kind.UNRESOLVED, Side.LEFT, 1, None)


def hide_new_mail(store: MemoryStore) -> Callable[[MemoryMailbox], object]:
    """A server that accepts mail and does not show it."""
    observe = MemoryMailbox.observe

    async def hiding(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        seen = await observe(self)
        if self.store is store:
            return replace(seen, listing=replace(seen.listing, flags={}), cursor=None)
        return seen

    return hiding


async def test_a_copy_that_was_begun_is_explained(world: World) -> None:
    await twins(world)
    uid = world.left.add(INBOX, message(3))
    with world.state() as state:
        validity = state.base(INBOX).right_validity or ""
        state.commit(INBOX, [AddCopy(CopyIntent(Side.LEFT, uid, NO_FLAGS, validity), 1, "", "")])
    (found,) = (await verified(world)).differences
    assert (found.kind, found.side) == (Kind.MISSING, Side.RIGHT)
    assert found.why.startswith("its copy was begun and not seen to end")


async def test_what_policy_explains_is_said_so(world: World) -> None:
    await twins(world)
    world.pair = replace(world.pair, policy=Policy(direction=Direction.LEFT_TO_RIGHT))
    world.right.add(INBOX, message(7))
    world.right.add(WORK, message(8))
    assert (await world.run()).in_step
    found = await verified(world)
    why = "by policy: the direction left-to-right does not change the left"
    assert [(one.kind, one.mailbox, one.side, one.why) for one in found.differences] == [
        (Kind.MISSING, "Work", Side.LEFT, why),
        (Kind.MISSING, "INBOX", Side.LEFT, why),
    ]
    assert found.exit_code is ExitCode.NOT_IN_STEP


async def test_what_is_kept_is_said_so(world: World) -> None:
    await twins(world)
    world.pair = replace(world.pair, policy=Policy(removals=Removals.KEEP))
    world.left.user_remove(INBOX, 2)
    assert (await world.run()).in_step
    world.right.add(INBOX, message(9))
    whys = {one.right: one.why for one in (await verified(world)).differences}
    assert whys == {
        2: "by policy: removed on the left and kept on the right (removals: keep)",
        4: "",
    }


async def test_mailboxes(world: World) -> None:
    await twins(world)
    world.left.user_create(WORK)
    world.right.user_create(MailboxName(("Spam",)))
    world.pair = replace(world.pair, select=lambda name: str(name) != "Spam")
    found = await verified(world)
    (one,) = found.differences
    assert (one.kind, one.mailbox, one.side, one.is_message) == (Kind.MISSING, "Work", Side.RIGHT, False)
    assert (found.excluded, len(found.mailboxes), found.same) == (1, 1, 3)


async def test_a_listing_that_is_cut_short_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await twins(world)
    observe = MemoryMailbox.observe

    async def short(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        seen = await observe(self)
        from mailtwin.model import UidSet

        return replace(seen, listing=replace(seen.listing, coverage=UidSet()))

    monkeypatch.setattr(MemoryMailbox, "observe", short)
    assert kinds(await verified(world)) == [(Kind.UNSEEN, Side.LEFT), (Kind.UNSEEN, Side.RIGHT)]


# --- going on, and limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", Side, ids=lambda side: side.label)
async def test_a_lost_connection_costs_what_was_not_remembered_only(
    world: World, broken: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_MESSAGES", 2)
    for number in range(6):
        for store in (world.left, world.right):
            store.add(INBOX, message(number))
    fetch = MemoryMailbox.fetch
    lost: list[Ref] = []

    async def breaking(
        self: MemoryMailbox, refs: Sequence[Ref], spool: Callable[[], Spool]
    ) -> AsyncGenerator[Message, None]:
        async for one in fetch(self, refs, spool):
            if self.store is world.pair.store(broken) and one.ref == 5 and not lost:
                lost.append(one.ref)
                raise UnreachableError("the connection broke")
            yield one

    monkeypatch.setattr(MemoryMailbox, "fetch", breaking)
    found = await verified(world)
    assert (found.identical, found.same, world.pauses) == (True, 6, [0.5])
    assert found.read == 12


async def test_an_interrupted_verification_is_gone_on_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_MESSAGES", 2)
    for number in range(6):
        for store in (world.left, world.right):
            store.add(INBOX, message(number))

    def stop(event: Event) -> None:
        if isinstance(event, Verifying):
            raise Interrupted

    with pytest.raises(Interrupted):
        await verified(world, report=stop)
    with world.state() as state:
        kept = sum(len(state.digests(INBOX, side)) for side in Side)
        assert [run.outcome for run in state.runs()] == ["interrupted"]
    assert kept
    found = await verified(world)
    assert (found.identical, found.read) == (True, 12 - kept)


async def test_all_differences_are_told_and_counted_and_the_first_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DIFFERENCES_MAX", 2)
    for number in range(5):
        world.left.add(INBOX, message(number))
    events: list[Event] = []
    found = await verified(world, report=events.append)
    assert (len(found.differences), found.difference_count) == (2, 5)
    missing = [event.finding.left for event in events if isinstance(event, Compared)]
    assert missing == [1, 2, 3, 4, 5]
    (result,) = [event.result for event in events if isinstance(event, MailboxVerified)]
    assert (result.same, result.tally, result.read) == (0, {(Kind.MISSING, Side.RIGHT): 5}, 5)


async def test_every_message_is_told_once(world: World) -> None:
    await twins(world)
    told: list[Finding] = []

    def hear(event: Event) -> None:
        if isinstance(event, Compared):
            told.append(event.finding)

    world.right.user_flags(INBOX, 3, SEEN)
    await verified(world, report=hear)
    assert sorted((one.left, one.right, one.kind.value) for one in told) == [
        (1, 1, "same"), (2, 2, "same"), (3, 3, "altered"),
    ]  # fmt: skip


async def test_bodies_are_never_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand messages of a mailbox: one body at a time passes through, and no spool keeps any of it."""
    fetch = MemoryMailbox.fetch
    kept: list[int] = []

    async def watching(
        self: MemoryMailbox, refs: Sequence[Ref], spool: Callable[[], Spool]
    ) -> AsyncGenerator[Message, None]:
        async for one in fetch(self, refs, spool):
            kept.append(sum(map(len, one.spool.chunks())))
            yield one

    monkeypatch.setattr(MemoryMailbox, "fetch", watching)
    for number in range(1_000):
        for store in (world.left, world.right):
            store.add(INBOX, message(number))
    assert (await verified(world)).identical
    assert (len(kept), sum(kept)) == (2_000, 0)


async def test_a_verification_is_a_run_of_its_own(world: World) -> None:
    await twins(world)
    world.right.user_remove(INBOX, 1)
    await verified(world)
    with world.state() as state:
        last, first, _ = state.runs()
    assert (first.command, first.outcome, first.counts) == (
        "verify", "identical", {"same": 3, "differences": 0, "read": 6},
    )  # fmt: skip
    assert (last.outcome, last.counts) == ("not identical", {"same": 2, "differences": 1, "read": 0})
