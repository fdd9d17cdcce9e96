"""Messages that the other side holds in another mailbox are copied there, and not sent again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.engine.test_label_accounts import LABELS, account, fill

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.report import RunReport
from mailtwin.model import MailboxName, make_flags
from mailtwin.state import State
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.memory import Answer, Manners, MemoryStore, always
from mailtwin.testing.corpus import messages
from mailtwin.testing.interrupts import Interrupted, InterruptingStore, StepClock
from mailtwin.testing.simlabels import LabelledAccount, Role
from mailtwin.testing.simserver import SimServer

ONE, TWO, THREE = (MailboxName((name,)) for name in ("One", "Two", "Three"))
BODY = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\n" + b"line\r\n" * 50
OTHER = b"Subject: nobody has named it\r\n\r\n" + b"text\r\n" * 50
KNOWS = Manners(email_ids=True)


class World:
    """Two accounts in memory, of which the left one knows a message in two mailboxes for the same."""

    def __init__(self, path: Path, right: Manners | None = None) -> None:
        self.left = MemoryStore("left", manners=KNOWS)
        self.right = MemoryStore("right", manners=right or Manners())
        self.path = path

    async def run(self, clock: StepClock | None = None) -> RunReport:
        clock = clock or StepClock()
        pair = Pair(
            InterruptingStore(self.left, clock), InterruptingStore(self.right, clock), sleep=self._no_sleep
        )
        state = State.open(self.path, left="left", right="right", now=time.time, on_commit=clock.step)
        try:
            return await sync(pair, state)
        finally:
            state.close()

    async def _no_sleep(self, _seconds: float) -> None:
        """Time does not matter, but what a server is late with arrives."""
        self.right.land()

    def held(self) -> tuple[Counter[tuple[str, bytes]], Counter[tuple[str, bytes]]]:
        """What each side holds: mailbox and bytes."""
        left, right = (
            Counter(
                (str(name), message.data)
                for name in store.names()
                for message in store.contents(name).values()
            )
            for store in (self.left, self.right)
        )
        return left, right


async def until_in_step(run: Callable[[], Awaitable[RunReport]]) -> None:
    """A few runs have to be enough."""
    report = await run()
    for _ in range(2):
        if not report.in_step:
            report = await run()
    assert report.in_step, report.problems


async def test_a_message_in_two_mailboxes_is_sent_once(tmp_path: Path) -> None:
    world = World(tmp_path / "state.db")
    for data in (BODY, OTHER):
        world.left.add(ONE, data, make_flags(["\\Seen"]))
        world.left.add(TWO, data, make_flags(["\\Seen"]))
    report = await world.run()
    assert report.in_step
    assert report.counts.transferred_bytes == len(BODY) + len(OTHER)
    assert report.counts.copied_to_right == 4
    left, right = world.held()
    assert left == right
    world.left.add(THREE, BODY)
    report = await world.run()
    assert (report.in_step, report.counts.transferred_bytes) == (True, 0), "known from another run"
    assert [each.flags for each in world.right.contents(THREE).values()] == [frozenset()]


async def test_a_message_that_is_moved_is_not_sent(tmp_path: Path) -> None:
    world = World(tmp_path / "state.db")
    uid = world.left.add(TWO, BODY)
    await world.run()
    world.left.user_remove(TWO, uid)
    world.left.add(ONE, BODY)
    report = await world.run()
    assert (report.in_step, report.counts.transferred_bytes) == (True, 0)
    left, right = world.held()
    assert left == right == Counter({("One", BODY): 1})


ANSWERS = {
    "says where": always(Answer.UID),
    "does not say where": always(Answer.ACCEPTED),
    "says no to the second": lambda n: Answer.REFUSED if n == 1 else Answer.UID,
    "says no and does it": lambda n: Answer.DENIED if n == 1 else Answer.UID,
    "breaks before": lambda n: Answer.LOST_BEFORE if n == 1 else Answer.UID,
    "breaks after": lambda n: Answer.LOST_AFTER if n == 1 else Answer.UID,
    "is late": lambda n: Answer.LATE if n == 1 else Answer.UID,
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_whatever_the_server_answers(name: str, tmp_path: Path) -> None:
    world = World(tmp_path / "state.db", Manners(answer=ANSWERS[name]))
    for mailbox in (ONE, TWO, THREE):
        world.left.add(mailbox, BODY)
    await until_in_step(world.run)
    left, right = world.held()
    assert left == right


async def test_interrupted_at_every_step(tmp_path: Path) -> None:
    async def prepared(number: int) -> World:
        world = World(tmp_path / f"{number}.db")
        uid = world.left.add(ONE, BODY)
        world.left.add(ONE, OTHER)
        await world.run()
        world.left.user_remove(ONE, uid)
        for mailbox in (TWO, THREE):
            world.left.add(mailbox, BODY, make_flags(["\\Flagged"]))
            world.left.add(mailbox, OTHER)
        world.right.add(TWO, BODY + b"another\r\n")
        return world

    clock = StepClock()
    await (await prepared(0)).run(clock)
    assert clock.steps > 20
    for stop_at in range(1, clock.steps + 1):
        world = await prepared(stop_at)
        with pytest.raises(Interrupted):
            await world.run(StepClock(stop_at))
        await until_in_step(world.run)
        left, right = world.held()
        assert left == right, stop_at
        assert max(left.values()) == 1, stop_at


async def test_where_the_twin_is_no_more_it_is_sent(tmp_path: Path) -> None:
    world = World(tmp_path / "state.db")
    world.left.add(TWO, BODY)
    await world.run()
    world.right.user_renumbers(TWO)
    world.left.add(ONE, BODY)
    report = await world.run()
    assert report.in_step
    assert report.counts.transferred_bytes == len(BODY)
    world.right.user_remove(TWO, *world.right.contents(TWO))
    world.left.add(THREE, BODY)
    await until_in_step(world.run)
    left, right = world.held()
    assert left == right == Counter({("One", BODY): 1, ("Three", BODY): 1})


# --- accounts whose mailboxes are labels ---


def plain(running: SimServer) -> ImapStore:
    """The account, seen as mailboxes."""
    endpoint = Endpoint("127.0.0.1", running.port, "plain")
    return ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")


def placements(made: LabelledAccount) -> dict[str, Counter[bytes]]:
    """The messages of each mailbox that is no view."""
    views = (Role.ALL, Role.STARRED, Role.IMPORTANT)
    return {
        name: Counter(message.body for message in made[name])
        for name in made.names()
        if name not in {made.name_of(role) for role in views}
    }


@pytest.mark.parametrize("switches", [(), ("unannounced=UIDPLUS",), ("copy_uid=no",), ("merge=never",)])
async def test_labels_seen_as_mailboxes(switches: tuple[str, ...], tmp_path: Path) -> None:
    corpus = list(messages(seed=2, count=120))
    async with account() as (one, left), account(*switches) as (two, right):
        fill(left, corpus[:80], random.Random(1), LABELS[:4])
        fill(right, corpus[80:], random.Random(1), LABELS[:4])
        labelled = {body for made in (left, right) for held in placements(made).values() for body in held}

        async def run() -> RunReport:
            pair = Pair(plain(one), plain(two), sleep=_no_sleep)
            state = State.open(
                tmp_path / "s.db", left=pair.left.address, right=pair.right.address, now=time.time
            )
            try:
                return await sync(pair, state)
            finally:
                state.close()

        await until_in_step(run)
        assert placements(left) == placements(right)
        assert sum(map(len, placements(left).values())) > 1.5 * len(labelled)
        assert one.counts["APPEND"] + two.counts["APPEND"] == len(labelled), "each was sent once"
        assert not any((await run()).counts.as_dict().values())


async def _no_sleep(_seconds: float) -> None:
    """Time does not matter here."""
