"""A pool: how many sessions there are, who gets which, and what it learns from a server that has enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from tests.client.test_real_servers import endpoint, someone

from mailtwin.client import Session
from mailtwin.client.pool import Pool
from mailtwin.errors import LoginError, MailtwinError, ThrottledError, UnreachableError
from mailtwin.imap import commands as c
from mailtwin.testing.realservers import RealServer


class FakeSession:
    """As much of a session as a pool looks at."""

    def __init__(self) -> None:
        self.is_open = True
        self.goodbyes = 0

    async def close(self) -> None:
        self.goodbyes += 1
        self.is_open = False

    async def abort(self) -> None:
        self.is_open = False


class Server:
    """Opens sessions, unless an error is next; `bears` how many it lets be open."""

    def __init__(self, *errors: MailtwinError, bears: int = 100) -> None:
        self.errors = list(errors)
        self.bears = bears
        self.sessions: list[FakeSession] = []
        self.slept: list[float] = []
        self.attempts = 0
        self.attempts_too_early = 0
        self.pausing = self.trying = self.most_trying = 0

    @property
    def open(self) -> int:
        return sum(session.is_open for session in self.sessions)

    async def connect(self) -> Session:
        self.attempts += 1
        self.attempts_too_early += bool(self.pausing)
        self.trying += 1
        self.most_trying = max(self.most_trying, self.trying)
        await asyncio.sleep(0)
        self.trying -= 1
        if self.errors:
            raise self.errors.pop(0)
        if self.open >= self.bears:
            raise ThrottledError("too many simultaneous connections")
        self.sessions.append(FakeSession())
        return cast("Session", self.sessions[-1])

    async def sleep(self, pause_s: float) -> None:
        self.slept.append(pause_s)
        self.pausing += 1
        await asyncio.sleep(0.005)
        self.pausing -= 1

    def pool(self, limit: int = 3) -> Pool:
        return Pool(self.connect, limit=limit, sleep=self.sleep, chance=lambda: 0.0)


async def work(pool: Pool, tasks: int, during: Callable[[], Awaitable[object]]) -> None:
    async def one() -> None:
        async with pool.session():
            await during()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(one())


async def test_never_more_than_the_limit_and_each_is_used_again() -> None:
    server = Server()
    pool = server.pool(3)
    busy = most = 0

    async def during() -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.002)
        busy -= 1

    await work(pool, 20, during)
    assert most == 3
    assert len(server.sessions) == 3
    await pool.close()
    assert [session.goodbyes for session in server.sessions] == [1, 1, 1]


async def test_one_after_the_other_needs_one() -> None:
    server = Server()
    pool = server.pool()
    for _ in range(5):
        async with pool.session():
            pass
    assert len(server.sessions) == 1


async def test_a_dead_session_is_not_handed_out() -> None:
    server = Server()
    pool = server.pool()
    async with pool.session():
        server.sessions[0].is_open = False
    async with pool.session():
        pass
    server.sessions[1].is_open = False
    async with pool.session():
        assert server.open == 1
    assert len(server.sessions) == 3


async def test_a_server_that_has_enough_is_believed() -> None:
    server = Server(bears=2)
    pool = server.pool(10)
    await work(pool, 12, lambda: asyncio.sleep(0.005))
    assert pool.limit == 2
    assert len(server.sessions) == 2
    assert server.attempts < 12
    assert server.slept == []


async def test_with_nobody_to_wait_for_it_waits_as_long_as_the_server_says() -> None:
    server = Server(ThrottledError("x", pause_s=77), UnreachableError("y"))
    pool = server.pool()
    async with pool.session():
        pass
    assert server.slept == [77, 2]
    assert pool.limit == 1


async def test_a_refused_login_is_everybodys_error_and_not_repeated() -> None:
    server = Server(LoginError("no"))
    pool = server.pool()
    with pytest.raises(LoginError):
        async with pool.session():
            pass
    assert server.attempts == 1
    assert server.slept == []
    async with pool.session():
        pass


async def test_a_refused_login_is_tried_once_however_many_wait() -> None:
    server = Server(LoginError("no"), LoginError("no again"))
    pool = server.pool(4)

    async def one() -> None:
        async with pool.session():
            raise AssertionError

    ends = await asyncio.gather(*(one() for _ in range(10)), return_exceptions=True)
    assert server.attempts == 1
    assert {type(end) for end in ends} == {LoginError}
    ends = await asyncio.gather(*(one() for _ in range(10)), return_exceptions=True)
    assert server.attempts == 2
    assert {str(end) for end in ends} == {"no again"}


async def test_logins_are_made_together_once_one_was_accepted() -> None:
    server = Server()
    await work(server.pool(4), 8, lambda: asyncio.sleep(0.005))
    assert server.most_trying == 3
    server = Server(UnreachableError("x"), UnreachableError("y"))
    await work(server.pool(4), 8, lambda: asyncio.sleep(0.005))
    assert server.slept == [1, 2]


async def test_nobody_tries_while_one_pauses() -> None:
    server = Server()
    pool = server.pool(4)
    await work(pool, 4, lambda: asyncio.sleep(0.005))
    for session in server.sessions:
        session.is_open = False
    server.errors = [ThrottledError("slower", pause_s=7) for _ in range(6)]
    await work(pool, 8, lambda: asyncio.sleep(0.005))
    assert server.attempts_too_early == 0
    assert set(server.slept) == {7}
    assert server.most_trying <= 4


async def test_a_session_in_use_keeps_nobody_from_trying_after_a_refusal() -> None:
    server = Server()
    pool = server.pool(3)
    async with pool.session():
        server.errors = [LoginError("no")]
        with pytest.raises(LoginError):
            async with pool.session():
                pass
        async with asyncio.timeout(1), pool.session():
            assert server.open == 2


async def test_cancelled_while_one_pauses() -> None:
    paused = asyncio.Event()

    async def sleep(_pause_s: float) -> None:
        paused.set()
        await asyncio.sleep(60)

    server = Server(UnreachableError("x"))
    pool = Pool(server.connect, limit=2, sleep=sleep)
    task = asyncio.create_task(work(pool, 1, lambda: asyncio.sleep(0)))
    await paused.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1), pool.session():
        pass


async def test_cancelled_while_opening_leaves_its_place() -> None:
    server = Server()

    async def never() -> Session:
        await asyncio.sleep(60)
        raise AssertionError

    pool = Pool(never, limit=1)
    task = asyncio.create_task(work(pool, 1, lambda: asyncio.sleep(0)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pool._open_session = server.connect
    async with asyncio.timeout(1), pool.session():
        pass


async def test_closing_wakes_those_who_wait() -> None:
    server = Server()
    pool = server.pool(1)
    async with pool.session():
        waiting = asyncio.create_task(work(pool, 1, lambda: asyncio.sleep(0)))
        await asyncio.sleep(0.01)
        await pool.close()
        with pytest.raises(ExceptionGroup) as caught:
            await waiting
        assert caught.group_contains(UnreachableError)
    assert server.sessions[0].goodbyes == 1
    with pytest.raises(UnreachableError):
        async with pool.session():
            pass


async def test_a_real_server(dovecot: RealServer) -> None:
    who = someone(dovecot)
    pool = Pool(lambda: Session.open(endpoint(dovecot), who))

    async def one() -> None:
        async with pool.session() as session:
            assert (await session.run(c.Noop())).ok

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(one())
    await pool.close()
