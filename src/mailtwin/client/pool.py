"""Several sessions with one server: opened when they are wanted, used again, and never more than the server bears.

A server that says "too many" is believed: from then on there are as many as there were. With none left to wait for,
the next attempt is as late as the back-off says, whoever makes it. Until a login was accepted they are made one at a
time, and a refusal is the error of all who wait: a wrong password is tried once, not once for each task.
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
        # Places: taken by sessions in use and by those being opened.
        self._taken = self._opening = 0
        # Who waits for a pause to end; until then nobody opens anything.
        self._pausing = 0
        self._accepted = False
        self._refusal: MailtwinError | None = None
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def limit(self) -> int:
        """How many sessions there may be now."""
        return self._limit

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A session for this task alone; a dead one is not handed out again.

        Raises what opening one raises, once the back-off gives up, also if that happened to another task while this one
        waited; UnreachableError after `close`.
        """
        session = await self._take()
        try:
            yield session
        finally:
            await self._give_back(session)

    async def close(self) -> None:
        """Says LOGOUT on the sessions nobody uses; the others are closed when they are given back."""
        self._closed = True
        idle, self._idle = self._idle, []
        self._tell()
        async with asyncio.TaskGroup() as group:
            for session in idle:
                group.create_task(session.close())

    async def _take(self) -> Session:
        failures = 0
        while True:
            session = await self._reserve()
            if session is not None:
                return session
            try:
                return await self._open()
            except MailtwinError as error:
                failures += 1
                await self._wait_after(error, failures)

    async def _reserve(self) -> Session | None:
        """A session that is open already, or None: the caller may open one, and has a place for it."""
        before = self._refusal
        while True:
            if self._closed:
                raise UnreachableError("the sessions with this server are closed")
            if self._idle:
                session = self._idle.pop()
                if session.is_open:
                    self._taken += 1
                    return session
                await session.abort()
            elif self._refusal is not None and self._refusal is not before:
                raise self._refusal
            elif self._may_open():
                self._taken += 1
                self._opening += 1
                return None
            else:
                await self._changed.wait()

    def _may_open(self) -> bool:
        return self._taken < self._limit and not self._pausing and (self._accepted or not self._opening)

    async def _open(self) -> Session:
        opened = False
        try:
            session = await self._open_session()
            opened = self._accepted = True
            self._refusal = None
            return session
        finally:
            self._opening -= 1
            self._taken -= not opened
            self._tell()

    async def _wait_after(self, error: MailtwinError, failures: int) -> None:
        """Waits until another attempt makes sense; raises `error` when none does."""
        pause_s = self._policy.pause_s(error, failures, self._chance())
        if self._learns(error):
            # Somebody else's session is worth waiting for, and no attempt of our own.
            return
        if pause_s is None:
            self._accepted = False
            self._refusal = error
            self._tell()
            raise error
        self._pausing += 1
        try:
            await self._sleep(pause_s)
        finally:
            self._pausing -= 1
            self._tell()

    def _learns(self, error: MailtwinError) -> bool:
        """Whether the server has just said that the other sessions are all that it bears."""
        if not isinstance(error, ThrottledError):
            return False
        others = self._taken + len(self._idle)
        self._limit = max(1, min(self._limit, others))
        return others > 0

    def _tell(self) -> None:
        """Something has changed: all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _give_back(self, session: Session) -> None:
        try:
            if self._closed and session.is_open:
                await session.close()
            elif not session.is_open:
                await session.abort()
            else:
                self._idle.append(session)
        finally:
            self._taken -= 1
            self._tell()
