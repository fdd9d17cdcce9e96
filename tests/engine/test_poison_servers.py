"""Servers that hang up over certain messages, on the wire: pipelined APPENDs, many bodies to one FETCH, large ones."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.engine.test_sync import message

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync, verify
from mailtwin.engine.report import RunReport
from mailtwin.errors import ExitCode, UnreachableError
from mailtwin.model import Side
from mailtwin.state import State
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.faultproxy import Cut, FaultProxy, Rule, When
from mailtwin.testing.manners import BARE, PLAIN, Manners
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

MOMENTS = {
    "append": [Rule(Cut(), ("APPEND",), about="poison", times=None)],
    "append in the literal": [Rule(Cut(), ("APPEND",), When.IN_LITERAL, about="poison", times=None)],
    "fetch": [Rule(Cut(), ("FETCH",), When.MID_REPLY, about="poison", times=None)],
}


@dataclass(slots=True)
class Wire:
    """Two simulated accounts, each behind a proxy."""

    accounts: tuple[SimAccount, SimAccount]
    proxies: tuple[FaultProxy, FaultProxy]
    path: Path
    report: RunReport = field(default_factory=RunReport)

    def pair(self) -> Pair:
        """New connections to both."""
        left, right = (
            ImapStore(
                Endpoint("127.0.0.1", proxy.port, "plain"),
                lambda: Credentials("alice", Secret("secret")),
                "alice",
            )
            for proxy in self.proxies
        )
        return Pair(left, right, sleep=no_sleep)

    def state(self) -> State:
        return State.open(self.path, left="left", right="right", now=time.time)

    async def run(self) -> RunReport:
        with self.state() as state:
            self.report = await sync(self.pair(), state)
            assert state.check() == []
        return self.report

    def bodies(self, side: Side) -> list[bytes]:
        return sorted(self.accounts[side]["INBOX"].bodies())

    async def check(self) -> None:
        """Nothing is left to do, and both sides are the same."""
        report = await self.run()
        assert report.in_step, report.problems
        assert not any(report.counts.as_dict().values())
        proof = await verify(self.pair(), None, deep=True)
        assert proof.identical, proof.differences


async def no_sleep(_seconds: float) -> None:
    """Time does not matter here."""


@pytest.fixture(params=[PLAIN, BARE], ids=["plain", "bare"])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    manners: Manners = request.param
    async with AsyncExitStack() as stack:
        accounts, proxies = [], []
        for _ in Side:
            mail = SimMail()
            accounts.append(mail.add_account("alice", "secret"))
            server = await stack.enter_async_context(SimServer(mail, manners))
            proxies.append(await stack.enter_async_context(FaultProxy(server.port)))
        yield Wire((accounts[0], accounts[1]), (proxies[0], proxies[1]), tmp_path / "state.db")


def deadly_side(moment: str, source: Side) -> Side:
    return source if moment == "fetch" else source.other


@pytest.mark.parametrize("source", Side, ids=lambda side: f"from-{side.label}")
@pytest.mark.parametrize("moment", MOMENTS)
async def test_one_in_the_middle_of_a_batch_is_set_aside_and_copied_when_it_heals(
    wire: Wire, moment: str, source: Side
) -> None:
    mail = [message(n, "poison" if n == 49 else "good") for n in range(100)]
    for data in mail:
        wire.accounts[source]["INBOX"].append(data)
    proxy = wire.proxies[deadly_side(moment, source)]
    proxy.arm(MOMENTS[moment])
    report = await wire.run()
    assert wire.bodies(source.other) == sorted(data for data in mail if b"poison" not in data)
    assert [(one.side, one.ref) for one in report.problems] == [(source, 50)]
    assert report.exit_code is ExitCode.NOT_IN_STEP
    asked = "UID 50 of INBOX was asked for" if moment == "fetch" else "message 50 of INBOX was sent"
    assert asked in report.problems[0].error.message
    losses = len(proxy.fired)
    assert losses in (3, 4), (
        "answers to earlier ones may be lost with the first connection: those are seen to be there"
    )
    await wire.run()
    assert len(proxy.fired) == losses + 1, "once, alone"
    proxy.arm(())
    await wire.run()
    await wire.check()
    assert wire.bodies(source.other) == sorted(mail)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_three_of_them(wire: Wire, moment: str) -> None:
    mail = [message(n, "poison" if n in (2, 3, 17) else "good") for n in range(40)]
    for data in mail:
        wire.accounts[Side.LEFT]["INBOX"].append(data)
    wire.proxies[deadly_side(moment, Side.LEFT)].arm(MOMENTS[moment])
    report = await wire.run()
    assert wire.bodies(Side.RIGHT) == sorted(data for data in mail if b"poison" not in data)
    assert [one.ref for one in report.problems] == [3, 4, 18]


@pytest.mark.parametrize("word", ["APPEND", "FETCH"])
async def test_a_server_that_hangs_up_on_every_message_ends_the_run(wire: Wire, word: str) -> None:
    mail = [message(n) for n in range(30)]
    for data in mail:
        wire.accounts[Side.LEFT]["INBOX"].append(data)
    moment = When.BEFORE if word == "APPEND" else When.MID_REPLY
    proxy = wire.proxies[Side.RIGHT if word == "APPEND" else Side.LEFT]
    proxy.arm([Rule(Cut(), (word,), moment, times=None, about="Message-ID")])
    with pytest.raises(UnreachableError) as caught:
        await wire.run()
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert len(proxy.fired) < 16
    proxy.arm(())
    await wire.run()
    await wire.check()
    assert wire.bodies(Side.RIGHT) == sorted(mail)


async def test_of_a_large_body_the_one_that_is_coming_is_meant(wire: Wire) -> None:
    """The server answers in an order of its own; a large body says beforehand whose it is."""
    mail = [message(0), message(1), message(2, "poison") + b"x" * 300_000]
    for data in mail:
        wire.accounts[Side.LEFT]["INBOX"].append(data)
    wire.proxies[Side.LEFT].arm(MOMENTS["fetch"])
    report = await wire.run()
    assert [one.ref for one in report.problems] == [3]
    assert wire.bodies(Side.RIGHT) == sorted(mail[:2])


async def test_a_message_that_was_stored_each_time_is_no_poison(wire: Wire) -> None:
    mail = [message(n, "poison" if n in (5, 9) else "good") for n in range(20)]
    for data in mail:
        wire.accounts[Side.LEFT]["INBOX"].append(data)
    wire.proxies[Side.RIGHT].arm([Rule(Cut(), ("APPEND",), When.EXECUTED, times=None, about="poison")])
    report = await wire.run()
    assert report.in_step, report.problems
    assert wire.bodies(Side.RIGHT) == sorted(mail)
    await wire.check()


async def test_what_cannot_be_kept_is_not_removed(wire: Wire) -> None:
    mail = [message(n, "poison" if n == 1 else "good") for n in range(6)]
    for data in mail:
        wire.accounts[Side.LEFT]["INBOX"].append(data)
    await wire.run()
    wire.proxies[Side.RIGHT].arm(MOMENTS["fetch"])
    for uid in (1, 2, 3):
        wire.accounts[Side.LEFT]["INBOX"].remove(uid)
    report = await wire.run()
    assert wire.bodies(Side.RIGHT) == sorted([mail[1], *mail[3:]])
    assert [(one.side, one.ref) for one in report.problems] == [(Side.RIGHT, 2)]
    wire.proxies[Side.RIGHT].arm(())
    await wire.run()
    await wire.check()
    assert wire.bodies(Side.RIGHT) == sorted(mail[3:])


async def test_a_deep_verification_names_the_message(wire: Wire) -> None:
    for n in range(6):
        wire.accounts[Side.LEFT]["INBOX"].append(message(n, "poison" if n == 3 else "good"))
    await wire.run()
    wire.proxies[Side.RIGHT].arm(MOMENTS["fetch"])
    with wire.state() as state, pytest.raises(UnreachableError, match="UID 4 of INBOX was asked for"):
        await verify(wire.pair(), state, deep=True)
