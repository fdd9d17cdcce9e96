"""A simulated IMAP server: in this process, on a free port of 127.0.0.1, over mail that a test holds in its hands.

It follows RFC 3501 with care, and is as odd as `Manners` say, so that a client can be tried against servers that one
cannot rent. It shares no code with `mailtwin.imap`. ::

    mail = SimMail()
    mail.add_account("alice", "secret")["INBOX"].append(b"Subject: hi\\r\\n\\r\\nhi\\r\\n")
    async with SimServer(mail, GMAIL_MANNERS, faults=[cut("APPEND", nth=3)]) as server:
        ...  # any client, to 127.0.0.1, server.port
    assert server.counts["UID FETCH"] == 1

A client that blocks runs in `asyncio.to_thread`. Change the mail and the faults in the thread of the event loop.

Not simulated: ENVELOPE, BODYSTRUCTURE, MIME parts, MULTIAPPEND, COMPRESS, ACLs, quota.

Reading order: `manners`, `simmail` (the mail) and `simlabels` (mail with labels), `simview` (what one client knows of a
mailbox), `simparse` and `simwire` (bytes), `simsession` (one connection), `simlogin`, `simlist`, `simmailboxes`,
`simfetch`, `simgmail`, `simmessages` (the commands), `simfaults`, `simlimits`; `providers`, where all is put together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from mailtwin.testing import simfetch, simlist, simlogin, simmailboxes, simmessages
from mailtwin.testing.manners import PLAIN, Manners
from mailtwin.testing.simfaults import Fault, FaultList
from mailtwin.testing.simlimits import Limits, Meter
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simsession import Session, Setting
from mailtwin.testing.simwire import Wire

__all__ = ["SimServer"]

_COMMANDS = {
    **simlogin.COMMANDS,
    **simlist.COMMANDS,
    **simmailboxes.COMMANDS,
    **simfetch.COMMANDS,
    **simmessages.COMMANDS,
}


class SimServer:
    """An IMAP server over `mail`, as an asynchronous context manager.

    `tls` makes it speak TLS from the first byte; `starttls` makes it offer STARTTLS. `faults` can also be added later,
    to `server.faults`. `limits` is what the service allows; `server.meter` counts. An error of the simulator itself
    in a session is raised when the context is left.
    """

    def __init__(
        self,
        mail: SimMail,
        manners: Manners = PLAIN,
        *,
        faults: Iterable[Fault] = (),
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.mail = mail
        self.manners = manners
        self.faults = FaultList(faults)
        self.meter = Meter(limits or Limits(), mail)
        self._setting = Setting(mail, manners, self.faults, self.meter, _COMMANDS, starttls)
        self._tls = tls
        self._wanted_port = port
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], Wire] = {}
        self._failures: list[BaseException] = []
        self.connections = 0
        """How many connections were accepted so far."""

    @property
    def host(self) -> str:
        """Where it listens."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        if self._server is None:
            raise RuntimeError("the server is not running")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def counts(self) -> Counter[str]:
        """How many commands of each name were executed; `UID FETCH` is a name of its own."""
        return self._setting.counts

    @property
    def transcript(self) -> list[tuple[int, bytes]]:
        """Each command received, without the octets of its literals, and the number of its connection (from 1).

        It holds passwords as the client sent them, and the last 100,000 commands.
        """
        return list(self._setting.transcript)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self._wanted_port, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            while self._sessions:
                await asyncio.wait(list(self._sessions))
            await self._server.wait_closed()
            self._server = None
        if self._failures and error is None:
            raise self._failures[0]

    def drop_connections(self) -> None:
        """End all connections now, without a word, as a restart of the server does."""
        for task, wire in self._sessions.items():
            wire.abort()
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = Wire(reader, writer, self.manners.command_limit)
        session = Session(self._setting, wire, self.connections, secure=self._tls is not None)
        task = asyncio.get_running_loop().create_task(
            _serve(session, wire), name=f"simserver {self.connections}"
        )
        self._sessions[task] = wire
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        if not task.cancelled():
            failure = task.exception()
            if failure is not None:
                self._failures.append(failure)


async def _serve(session: Session, wire: Wire) -> None:
    try:
        await session.run()
    finally:
        await wire.close()
