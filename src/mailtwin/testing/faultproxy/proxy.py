"""A proxy on loopback before a real IMAP server, that does what its rules say and tells what it did.

::

    async with FaultProxy(port, account=account) as proxy:
        proxy.arm([Rule(Cut(), ("APPEND",), When.EXECUTED, nth=3)], seed=1)
        ...  # let a client work at 127.0.0.1, proxy.port
        proxy.fired

Whole commands are read before they are passed on (the proxy itself says `+` to a synchronising literal), whole
responses before they are rewritten. Commands, tags and bytes are the client's own. Plain text only: COMPRESS and
STARTTLS are never announced.

Read first: `rules`. Read next: `session` (one connection).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mailtwin.testing.faultproxy.recreating import recreate
from mailtwin.testing.faultproxy.rules import CONNECTION, Armed, Recreate, Rule
from mailtwin.testing.faultproxy.session import ProxySession
from mailtwin.testing.faultproxy.wire import LINE_BYTES_MAX

__all__ = ["FaultProxy", "Fired"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Fired:
    """One fault that happened: `at_s` since the proxy began, on which connection, by which rule, to what."""

    at_s: float
    connection: int
    rule: Rule
    event: str

    def __str__(self) -> str:
        return f"{self.at_s:8.3f} s connection {self.connection}: {self.rule.do} {self.rule.when.value} {self.event}"


class FaultProxy:
    """The proxy. `account`: user and password of the mailbox that `Recreate` works on, by a connection of its own.

    `kill` is called by the rule `Kill`. `fired` is what happened, `passed` how many commands of each name came.
    """

    def __init__(
        self,
        server_port: int,
        *,
        host: str = HOST,
        account: tuple[str, str] | None = None,
        kill: Callable[[], object] | None = None,
    ) -> None:
        self.server_address = host, server_port
        self.fired: list[Fired] = []
        self.passed: Counter[str] = Counter()
        self.port = 0
        self.kill = kill
        self._account = account
        self._armed = Armed((), 0)
        self._began = time.monotonic()
        self._connections = 0
        self._sessions: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._stop = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=LINE_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._stop.set()
        for task in self._late:
            task.cancel()
        ended = await asyncio.gather(*self._sessions, return_exceptions=True)
        await asyncio.gather(*self._late, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure

    def arm(self, rules: Sequence[Rule], seed: int | str = 1) -> None:
        """From now on these rules, and no others; counts begin anew. Connections keep the rules they began with."""
        self._armed = Armed(rules, seed)

    def due(self, event: str, data: bytes = b"") -> list[Rule]:
        """Counts an event (`data`: the whole command); what is to be done about it."""
        if event != CONNECTION:
            self.passed[event] += 1
        return self._armed.due(event, data)

    def note(self, connection: int, rule: Rule, event: str) -> None:
        """Something was done."""
        self.fired.append(Fired(time.monotonic() - self._began, connection, rule, event))

    async def at_rest(self) -> None:
        """Waits until no connection is left and everything that was held back has been delivered."""
        while self._sessions or self._late:
            await asyncio.wait((*self._sessions, *self._late))

    def later(self, work: asyncio.Task[None], to_server: asyncio.StreamWriter) -> None:
        """Keeps a delivery that outlives its client, and closes its connection however it ends, begun or not."""
        self._late.add(work)
        work.add_done_callback(self._late.discard)
        work.add_done_callback(lambda _work: to_server.transport.abort())

    async def recreate(self, rule: Recreate) -> None:
        """Makes the mailbox anew while nothing passes."""
        assert self._account is not None, "a scenario that recreates a mailbox needs the account"
        self.gate.clear()
        try:
            await asyncio.to_thread(recreate, self.server_address, self._account, rule.mailbox)
        finally:
            self.gate.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stop.is_set():
            # It came while the proxy was being left, which waits for nobody any more.
            writer.transport.abort()
            return
        self._connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await ProxySession(self, self._connections, reader, writer).run(self._stop)
        finally:
            self._sessions.discard(task)
