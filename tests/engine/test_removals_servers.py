"""Removals that servers only seem to show: simulated ones, and a Dovecot behind the fault proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair
from mailtwin.engine.approving import approve, held_back
from mailtwin.errors import GuardError, MailboxError
from mailtwin.model import INBOX, NO_FLAGS, MailboxName, Side, make_flags
from mailtwin.planner import Policy
from mailtwin.stores.base import FlagChange
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.faultproxy import Curtail, FaultProxy, Rule, Shorten
from mailtwin.testing.manners import BARE, PLAIN
from mailtwin.testing.realservers import RealServer
from mailtwin.testing.simfaults import shorten
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

FLAGGED = make_flags(["\\Flagged"])


@dataclass
class Behind(World):
    """A store in memory on the left; on the right, behind a proxy, an IMAP server."""

    def __init__(self, directory: Path, proxy: FaultProxy, port: int, user: str, password: str) -> None:
        super().__init__(directory)
        self.proxy = proxy

        def store(at: int) -> ImapStore:
            return ImapStore(
                Endpoint("127.0.0.1", at, "plain"), lambda: Credentials(user, Secret(password)), user
            )

        self.direct = store(port)
        self.pair = Pair(self.left, store(proxy.port), sleep=self._sleep)

    async def fill(self, count: int) -> None:
        """So many messages on both sides."""
        for number in range(count):
            self.left.add(INBOX, message(number))
        assert (await self.run()).in_step

    async def listed(self) -> list[int]:
        """The UIDs that are there, seen without the proxy; and something moved, so that a run has to look."""
        await self.direct.connect(create=False)
        try:
            async with self.direct.open(INBOX) as mailbox:
                uids = [int(uid) for uid in (await mailbox.observe()).listing.flags]
                await mailbox.store_flags([FlagChange((uids[0],), FLAGGED, NO_FLAGS)])
                return uids
        finally:
            await self.direct.close()

    async def remove(self, count: int) -> None:
        """Another program removes the youngest messages on the right."""
        uids = await self.listed()
        await self.direct.connect(create=False)
        try:
            async with self.direct.open(INBOX) as mailbox:
                await mailbox.observe()
                await mailbox.remove(uids[-count:])
        finally:
            await self.direct.close()

    def count(self) -> int:
        """How many messages the left holds."""
        return len(self.bodies(Side.LEFT))


@asynccontextmanager
async def simulated(directory: Path, manners: object = PLAIN) -> AsyncIterator[Behind]:
    mail = SimMail()
    mail.add_account("alice", "secret")
    async with (
        SimServer(mail, manners) as server,  # type: ignore[arg-type]
        FaultProxy(server.port, account=("alice", "secret")) as proxy,
    ):
        yield Behind(directory, proxy, server.port, "alice", "secret")


@asynccontextmanager
async def dovecot_behind(directory: Path, server: RealServer) -> AsyncIterator[Behind]:
    user = server.user()
    async with FaultProxy(server.port, account=(user.user, user.password)) as proxy:
        yield Behind(directory, proxy, server.port, user.user, user.password)


@pytest.fixture(params=["plain", "bare", pytest.param("dovecot", marks=pytest.mark.servers)])
async def behind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Behind]:
    """A simulated server with many extensions, one with none, and a real one."""
    if request.param == "dovecot":
        async with dovecot_behind(tmp_path, request.getfixturevalue("dovecot")) as world:
            yield world
    else:
        async with simulated(tmp_path, PLAIN if request.param == "plain" else BARE) as world:
            yield world


async def test_a_mailbox_that_is_curtailed_on_one_connection(behind: Behind) -> None:
    """A complete listing of a mailbox that is not complete; a fresh connection knows better."""
    await behind.fill(30)
    await behind.listed()
    behind.proxy.arm([Rule(Curtail(8))], seed=1)
    report = await behind.run()
    assert len(behind.proxy.fired) == 1
    assert report.in_step, report.problems
    with behind.state() as state:
        (line,) = state.history(operation="look-again")
    assert line.detail == "22 messages were missing in one complete listing, and none of them in the next"
    assert behind.count() == 30
    assert len(await behind.listed()) == 30


async def test_a_mailbox_that_is_curtailed_otherwise_on_each_connection(behind: Behind) -> None:
    await behind.fill(30)
    await behind.listed()
    behind.proxy.arm([Rule(Curtail(8)), Rule(Curtail(18), nth=2)], seed=1)
    report = await behind.run()
    (problem,) = report.problems
    assert isinstance(problem.error, MailboxError)
    assert "10 messages that were missing at the first are there at the second" in problem.error.message
    assert behind.count() == 30
    behind.proxy.arm([], seed=1)
    assert (await behind.run()).in_step
    assert behind.count() == len(await behind.listed()) == 30


@pytest.mark.parametrize("keep", [0, 8])
async def test_a_mailbox_that_stays_curtailed(behind: Behind, keep: int) -> None:
    """Every connection sees the same: the judge has the last word."""
    await behind.fill(40)
    await behind.listed()
    behind.proxy.arm([Rule(Curtail(keep), times=None)], seed=1)
    for _ in range(2):
        report = await behind.run()
        (problem,) = report.problems
        assert isinstance(problem.error, GuardError), problem.error
        assert behind.count() == 40
    behind.proxy.arm([], seed=1)
    report = await behind.run()
    assert report.in_step, report.problems
    assert behind.count() == len(await behind.listed()) == 40
    with behind.state() as state:
        assert state.held() == []
        assert state.check() == []


async def test_a_listing_that_is_shorter_than_exists_says(behind: Behind) -> None:
    await behind.fill(20)
    await behind.listed()
    behind.proxy.arm([Rule(Shorten(3), ("FETCH",), times=None)], seed=1)
    behind.pair = replace(behind.pair, full=True)
    report = await behind.run()
    assert ["did not list all messages" in one.error.message for one in report.problems] == [True]
    assert behind.count() == 20
    behind.proxy.arm([], seed=1)
    assert (await behind.run()).in_step
    assert behind.count() == 20


async def test_messages_that_really_were_removed(behind: Behind) -> None:
    await behind.fill(30)
    await behind.remove(12)
    report = await behind.run()
    assert report.in_step, report.problems
    assert behind.count() == 18
    await behind.remove(18)
    report = await behind.run()
    (problem,) = report.problems
    assert isinstance(problem.error, GuardError)
    assert behind.count() == 18
    with behind.state() as state:
        approve(state, held_back(state))
    report = await behind.run()
    assert report.in_step, report.problems
    assert behind.count() == 0


async def test_a_list_that_is_short_on_one_connection_removes_no_mailbox(tmp_path: Path) -> None:
    """Where removed mailboxes are removed: LIST is asked again, on a fresh connection."""
    async with simulated(tmp_path) as behind:
        name = MailboxName(("Old",))
        for number in range(10):
            behind.left.add(name, message(number))
        await behind.fill(3)
        behind.pair = replace(behind.pair, policy=Policy(remove_mailboxes=True))
        behind.proxy.arm([Rule(Shorten(1), ("LIST",), nth=1, times=1)], seed=1)
        report = await behind.run()
        assert behind.proxy.fired
        assert len(behind.bodies(Side.LEFT, name)) == 10
        assert "did not list it, but it is there" in report.problems[0].error.message
        behind.proxy.arm([], seed=1)
        assert (await behind.run()).in_step


@pytest.mark.parametrize("nth", range(1, 6))
async def test_a_simulated_server_that_is_short_at_the_nth_fetch(tmp_path: Path, nth: int) -> None:
    mail = SimMail()
    found = mail.add_account("alice", "secret")
    async with SimServer(mail, BARE) as server:
        world = World(tmp_path)
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        right = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        world.pair = Pair(world.left, right, sleep=world._sleep)
        for number in range(30):
            world.left.add(INBOX, message(number))
        assert (await world.run()).in_step
        for uid in found["INBOX"].uids()[:10]:
            found["INBOX"].remove(uid)
        server.faults.add(shorten("FETCH", nth, keep=2, times=2))
        await world.run()
        assert len(world.bodies(Side.LEFT)) in (20, 30)
        server.faults.clear()
        assert (await world.run()).in_step
        assert len(world.bodies(Side.LEFT)) == len(found["INBOX"]) == 20
