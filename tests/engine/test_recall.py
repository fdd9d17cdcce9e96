"""Only what changed is asked for, whatever the size of a mailbox; when it is listed whole all the same; and nothing
comes out differently.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.engine.test_removals import filled
from tests.engine.test_sync import World, message

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.recall import WHOLE_AFTER_RUNS, WHOLE_AFTER_S
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, NO_FLAGS, Side, make_flags
from mailtwin.planner import Direction, Policy
from mailtwin.state import State
from mailtwin.stores.base import FlagChange, Observation
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.memory import Manners as MemoryManners
from mailtwin.stores.memory import MemoryMailbox
from mailtwin.testing.conformance import Mail, deliver
from mailtwin.testing.manners import BARE, CHATTY, GMAIL_MANNERS, PLAIN, SILENT_APPEND, Manners
from mailtwin.testing.realservers import RealServer
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

SEEN, FLAGGED = make_flags(["\\Seen"]), make_flags(["\\Flagged"])


def imap_store(port: int, user: str = "alice", password: str = "secret") -> ImapStore:
    endpoint = Endpoint("127.0.0.1", port, "plain")
    return ImapStore(endpoint, lambda: Credentials(user, Secret(password)), user)


# --- what it costs ---


@dataclass
class Relay:
    """Passes bytes between a client and a server on `target`, and counts them; `lines`: those of the client."""

    target: int
    port: int = 0
    count: int = 0
    lines: list[bytes] = field(default_factory=list)
    served: set[asyncio.Task[None]] = field(default_factory=set)

    def restart(self) -> None:
        """Forgets what was counted."""
        self.count = 0
        self.lines.clear()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.get_running_loop().create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._pass(reader, to_server, self.lines), self._pass(from_server, writer, []))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: list[bytes]
    ) -> None:
        try:
            while data := await reader.read(65536):
                self.count += len(data)
                lines += data.splitlines()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
            with suppress(ConnectionError):  # how it ended is the tests' business
                await writer.wait_closed()


@asynccontextmanager
async def relay_to(port: int) -> AsyncIterator[Relay]:
    relay = Relay(port)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*relay.served)


async def cost_of_three_changes(
    directory: Path, port: int, user: str, password: str, count: int
) -> tuple[list[bytes], int]:
    """A mailbox of `count` messages in step; then one is added, one removed and one flagged on the server, and a run
    brings that over: the names of its commands, and all bytes.
    """
    world = World(directory)
    person = imap_store(port, user, password)
    await person.connect(create=False)
    async with person.open(INBOX) as mailbox:
        await deliver(mailbox, [Mail(message(number)) for number in range(count)])
    for number in range(count):
        world.left.add(INBOX, message(number))
    async with relay_to(port) as relay:
        world.pair = Pair(world.left, imap_store(relay.port, user, password), sleep=world._sleep)
        assert (await world.run()).in_step
        async with person.open(INBOX) as mailbox:
            uids = sorted((await mailbox.observe()).listing.flags, key=str)
            await mailbox.remove(uids[10:11])
            await mailbox.store_flags([FlagChange((uids[20],), FLAGGED, NO_FLAGS)])
            await deliver(mailbox, [Mail(message(count))])
        relay.restart()
        report = await world.run()
        lines, bytes_passed = list(relay.lines), relay.count
        assert report.in_step, report.problems
        counts = report.counts
        assert (counts.copied_to_left, counts.removed_left, counts.flags_left) == (1, 1, 1)
        relay.restart()
        assert (await world.run()).in_step
        assert not any(b"FETCH" in line or b"SELECT" in line for line in relay.lines)
    await person.close()
    assert len(world.bodies(Side.LEFT)) == count
    return [line.split(b" ", 1)[1] for line in lines if b" " in line], bytes_passed


@pytest.mark.parametrize("manners", [PLAIN, GMAIL_MANNERS], ids=["plain", "gmail"])
async def test_a_small_change_costs_the_same_in_a_large_mailbox(manners: Manners, tmp_path: Path) -> None:
    costs = []
    for count in (250, 5_000):
        mail = SimMail()
        mail.add_account("alice", "secret")
        directory = tmp_path / str(count)
        directory.mkdir()
        async with SimServer(mail, manners) as server:
            costs.append(await cost_of_three_changes(directory, server.port, "alice", "secret", count))
    assert_alike(*costs)


@pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
async def test_a_small_change_costs_the_same_on_a_real_server(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: RealServer = request.getfixturevalue(kind)
    costs = []
    for count in (100, 1_000):
        account = server.user()
        directory = tmp_path / str(count)
        directory.mkdir()
        costs.append(
            await cost_of_three_changes(directory, server.port, account.user, account.password, count)
        )
    assert_alike(*costs)
    assert any(b"VANISHED" in line for line in costs[0][0])


def assert_alike(small: tuple[list[bytes], int], large: tuple[list[bytes], int]) -> None:
    """The same commands; and as many bytes, but for longer numbers."""
    assert [line.split()[0] for line in small[0]] == [line.split()[0] for line in large[0]]
    assert not any(b"1:*" in line for line in large[0])
    assert len(large[0]) < 40
    assert large[1] < small[1] + 10 * len(large[0])


# --- when everything is listed all the same ---


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Which side was asked, and whether for everything."""
    asked: list[tuple[str, bool]] = []
    observe = MemoryMailbox.observe

    async def observing(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        asked.append((self.store.address, since is None))
        seen = await observe(self, since)
        return replace(seen, whole=since is None)

    monkeypatch.setattr(MemoryMailbox, "observe", observing)
    return asked


async def changed_run(world: World, at_s: float = 1e9, pair: Pair | None = None) -> RunReport:
    """A run at this time, after something changed on both sides."""
    for store in (world.left, world.right):
        uid = min(store.contents())
        store.user_flags(INBOX, uid, make_flags(store.contents()[uid].flags ^ FLAGGED))
    with State.open(world.path, left="left", right="right", now=lambda: at_s) as state:
        report = await sync(pair or world.pair, state)
    assert report.in_step, report.problems
    return report


def first_of(asked: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """How each side was asked first."""
    return sorted(dict(reversed(asked)).items())


WHOLE = [("left", True), ("right", True)]
CHANGES = [("left", False), ("right", False)]


async def test_after_the_first_look_only_changes_are_asked_for(
    world: World, asked: list[tuple[str, bool]]
) -> None:
    world.left.add(INBOX, message(1))
    await world.run()
    assert asked[:2] == WHOLE
    assert len(asked) > 2
    assert not any(whole for _, whole in asked[2:])
    asked.clear()
    await changed_run(world)
    assert asked
    assert not any(whole for _, whole in asked)


async def test_a_mailbox_is_listed_whole_after_a_week_and_after_a_hundred_runs(
    world: World, asked: list[tuple[str, bool]]
) -> None:
    world.left.add(INBOX, message(1))
    now = 1e9
    await changed_run_of_new(world, now)
    day_s = 24 * 3600.0
    found = []
    for day in range(1, 16):
        asked.clear()
        await changed_run(world, now + day * day_s)
        found.append(first_of(asked) == WHOLE)
    week = round(WHOLE_AFTER_S / day_s)
    assert found == [day % week == 0 for day in range(1, 16)]
    now += 15 * day_s
    found = []
    for _ in range(WHOLE_AFTER_RUNS + 2):
        asked.clear()
        now += 1
        await changed_run(world, now)
        found.append(first_of(asked) == WHOLE)
    assert found.index(True) == WHOLE_AFTER_RUNS - 1
    assert found.count(True) == 1


async def changed_run_of_new(world: World, at_s: float) -> None:
    with State.open(world.path, left="left", right="right", now=lambda: at_s) as state:
        assert (await sync(world.pair, state)).in_step


async def test_a_person_may_want_everything_listed(world: World, asked: list[tuple[str, bool]]) -> None:
    world.left.add(INBOX, message(1))
    await world.run()
    asked.clear()
    full = replace(world.pair, full=True)
    with world.state() as state:
        assert (await sync(full, state)).in_step
    assert asked == WHOLE, "also of a mailbox that did not move"
    asked.clear()
    await changed_run(world, pair=full)
    assert all(whole for _, whole in asked)
    asked.clear()
    await changed_run(world)
    assert first_of(asked) == CHANGES


async def test_another_policy_begins_with_everything(world: World, asked: list[tuple[str, bool]]) -> None:
    world.left.add(INBOX, message(1))
    await world.run()
    asked.clear()
    await changed_run(world, pair=replace(world.pair, policy=Policy(direction=Direction.LEFT_TO_RIGHT)))
    assert first_of(asked) == WHOLE


async def test_a_side_that_did_not_move_is_recalled_for_the_other_one(
    world: World, asked: list[tuple[str, bool]]
) -> None:
    world.left.add(INBOX, message(1))
    world.right.manners = MemoryManners(cursors=True)
    await world.run()
    asked.clear()
    world.right.user_flags(INBOX, 1, SEEN)
    world.right.user_flags(INBOX, 1, NO_FLAGS)
    await world.run()
    assert asked == [("right", False)]
    with world.state() as state:
        sightings = {side: state.sighting(INBOX, side) for side in Side}
    assert {side: seen and seen.changed for side, seen in sightings.items()} == {Side.LEFT: 0, Side.RIGHT: 1}


async def test_a_mailbox_that_is_not_in_step_is_opened_and_asked_for_changes(
    world: World, asked: list[tuple[str, bool]]
) -> None:
    for number in range(3):
        world.left.add(INBOX, message(number))
    world.left.user_withholds(INBOX, 2)
    assert not (await world.run()).in_step
    asked.clear()
    world.left.user_withholds(INBOX, 2, withheld=False)
    report = await world.run()
    assert report.in_step, report.problems
    assert first_of(asked) == CHANGES
    assert len(world.bodies(Side.RIGHT)) == 3


async def test_the_second_look_before_removals_is_at_everything(
    world: World, asked: list[tuple[str, bool]]
) -> None:
    await filled(world, 60)
    asked.clear()
    world.right.user_remove(INBOX, *range(1, 11))
    world.left.add(INBOX, message(100))
    report = await world.run()
    assert report.in_step, report.problems
    assert report.counts.removed_left == 10
    # The first look sees the removals; from the second on, also after the copies, everything is listed.
    assert first_of(asked) == CHANGES
    seconds = [whole for _, whole in asked]
    assert all(seconds[seconds.index(True) :])
    assert seconds.count(True) >= 4


async def test_an_effect_that_is_not_told_is_looked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose modification sequence does not move with what we store."""
    world.left.add(INBOX, message(1))
    await world.run()
    observe = MemoryMailbox.observe
    forgets = False
    store_flags = MemoryMailbox.store_flags

    async def storing(self: MemoryMailbox, changes: list[FlagChange]) -> None:
        nonlocal forgets
        forgets = True
        await store_flags(self, changes)

    async def forgetful(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        if since is not None and forgets and self.store is world.right:
            return replace(since, whole=False)
        return await observe(self, since)

    monkeypatch.setattr(MemoryMailbox, "observe", forgetful)
    monkeypatch.setattr(MemoryMailbox, "store_flags", storing)
    world.left.user_flags(INBOX, 1, SEEN)
    report = await world.run()
    assert report.in_step, report.problems
    assert world.right.contents()[1].flags == SEEN


# --- nothing comes out differently ---


def changes(seed: int) -> Callable[[SimAccount, list[int]], None]:
    """Somebody's work on one mailbox; the same for the same seed and the same mail."""
    rng = random.Random(seed)

    def work(account: SimAccount, numbers: list[int]) -> None:
        box = account["INBOX"]
        for _ in range(rng.randint(0, 4)):
            uids = sorted(box.uids(), key=lambda uid: box[uid].body)
            some = [uid for uid in uids if rng.random() < 0.2][:3]
            match rng.randrange(5):
                case 0:
                    numbers.append(len(numbers))
                    box.append(message(numbers[-1]), rng.sample(["\\Seen", "\\Flagged"], rng.randint(0, 2)))
                case 1:
                    for uid in some:
                        box.remove(uid)
                case 2 | 3:
                    for uid in some:
                        box.set_flags(
                            uid, box[uid].flags ^ {rng.choice(["\\Seen", "\\Flagged", "$recalled"])}
                        )
                case _:
                    numbers.append(len(numbers))
                    box.remove(box.append(message(numbers[-1])))

    return work


def contents(account: SimAccount) -> Counter[tuple[bytes, frozenset[str]]]:
    return Counter((one.body, one.flags) for one in account["INBOX"])


async def lived(state_path: Path, manners: Manners, seed: int, *, full: bool) -> list[object]:
    """What both sides hold after each of some runs between which both were changed."""
    told: list[object] = []
    mails = SimMail(), SimMail()
    accounts = [mail.add_account("alice", "secret") for mail in mails]
    numbers: list[int] = []
    work = changes(seed)
    async with SimServer(mails[0], PLAIN) as one, SimServer(mails[1], manners) as two:
        for _ in range(8):
            for account in accounts:
                work(account, numbers)
            pair = Pair(imap_store(one.port), imap_store(two.port), full=full)
            with State.open(state_path, left="l", right="r", now=lambda: 1e9) as state:
                report = await sync(pair, state)
                assert report.in_step, report.problems
                assert state.check() == []
            assert contents(accounts[0]) == contents(accounts[1])
            told.append((contents(accounts[0]), report.counts))
        fetches = [line for _, line in (*one.transcript, *two.transcript) if b" UID FETCH " in line]
        assert any(b"CHANGEDSINCE" in line for line in fetches) is not full
    return told


@pytest.mark.parametrize(
    "manners",
    [PLAIN, BARE, GMAIL_MANNERS, SILENT_APPEND, CHATTY, PLAIN.without("ESEARCH")],
    ids=["plain", "bare", "gmail", "silent", "chatty", "no-esearch"],
)
@pytest.mark.parametrize("seed", range(3))
async def test_changes_make_what_whole_listings_make(manners: Manners, seed: int, tmp_path: Path) -> None:
    by_changes = await lived(tmp_path / "changes.db", manners, seed, full=False)
    assert by_changes == await lived(tmp_path / "full.db", manners, seed, full=True)
