"""Several sessions with one server: opened when they are wanted, used again, and never more than the server bears.

A server that says "too many" is believed: from then on there are as many as there were. With none left to wait for,
the next attempt is as late as the back-off says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from mailtwin.client.backoff import Backoff
from mailtwin.client.session import Session
from mailtwin.errors import MailtwinError, ThrottledError, UnreachableError

SESSIONS_MAX: Final = 4
"""Providers allow ten to twenty for each account, and other programs of the person need some."""


class Pool:
    """Sessions of one account. `open_session` opens one more; `limit` is how many there may be at a time.

    `sleep` and `chance` are the clock and the randomness of the back-off.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[Session]],
        *,
        limit: int = SESSIONS_MAX,
        policy: Backoff | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        assert limit >= 1
        self._open_session = open_session
        self._limit = limit
        self._policy = policy or Backoff()
        self._sleep = sleep
        self._chance = chance
        self._idle: list[Session] = []
        self._taken = 0
        self._changed = asyncio.Condition()
        self._closed = False

    @property
    def limit(self) -> int:
        """How many sessions there may be now."""
        return self._limit

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session for this task alone; a dead one is not handed out again.

        Raises what opening one raises, once the back-off gives up; UnreachableError after `close`.
        """
        session = await self._take()
        try:
            yield session
        finally:
            await self._give_back(session)

    async def close(self) -> None:
        """Says LOGOUT on the sessions nobody uses; the others are closed when they are given back."""
        self._closed = True
        async with self._changed:
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        async with asyncio.TaskGroup() as group:
            for session in idle:
                group.create_task(session.close())

    async def _take(self) -> Session:
        failures = 0
        while True:
            session = await self._reserve()
            if session is not None:
                return session
            opened = False
            try:
                session = await self._open_session()
                opened = True
                return session
            except MailtwinError as error:
                failures += 1
                pause_s = self._policy.pause_s(error, failures, self._chance())
                if self._learns(error):
                    # Somebody else's session is worth waiting for, and no attempt of our own.
                    continue
                if pause_s is None:
                    raise
            finally:
                if not opened:
                    await self._release()
            await self._sleep(pause_s)

    def _learns(self, error: MailtwinError) -> bool:
        """Whether the server has just said that the other sessions are all that it bears."""
        if not isinstance(error, ThrottledError):
            return False
        others = self._taken - 1 + len(self._idle)
        self._limit = max(1, min(self._limit, others))
        return others > 0

    async def _reserve(self) -> Session | None:
        """A session that is open already, or None: the caller may open one, and has a place for it."""
        async with self._changed:
            while True:
                if self._closed:
                    raise UnreachableError("the sessions with this server are closed")
                while self._idle:
                    session = self._idle.pop()
                    if session.is_open:
                        self._taken += 1
                        return session
                    await session.abort()
                if self._taken < self._limit:
                    self._taken += 1
                    return None
                await self._changed.wait()

    async def _release(self) -> None:
        async with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    async def _give_back(self, session: Session) -> None:
        if self._closed and session.is_open:
            await session.close()
        elif not session.is_open:
            await session.abort()
        else:
            self._idle.append(session)
        await self._release()
