"""An IMAP session over asyncio: commands in, results out, one task at a time.

    session = await Session.open(endpoint, credentials)
    result = await session.run(commands.Select("INBOX"))
    async with aclosing(session.stream(commands.Fetch(uids, ("BODY.PEEK[]",)))) as answers: ...
    await session.close()

Whatever cuts a command short (an error, a timeout, a cancellation, leaving a stream early) drops the connection: a
session is never half used. An outcome that was read is never lost with it (`run_all`).

Not here: what a login is made of (`login`), bytes and sockets (`transport`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final, TypeAlias

from mailtwin.client import login
from mailtwin.client.endpoint import Credentials, Endpoint, Place, Timeouts, Tunnel
from mailtwin.client.failures import located
from mailtwin.client.result import Result
from mailtwin.client.transport import Wire, dial
from mailtwin.client.ways import Line
from mailtwin.errors import (
    LocalProtocolError,
    MailtwinError,
    RemoteProtocolError,
    ThrottledError,
    TlsError,
    UnreachableError,
)
from mailtwin.imap import (
    Connection,
    Ended,
    Event,
    Handle,
    LiteralChunk,
    LiteralStart,
    Phase,
    Received,
    SessionState,
)
from mailtwin.imap.commands import Command, Id, Idle, Logout, Noop, Select, StartTls, Taken
from mailtwin.imap.encode import Name, name_bytes, name_text
from mailtwin.imap.quirks import is_id_wanted, takes_one_at_a_time, throttle_of
from mailtwin.imap.responses import Continuation, Status
from mailtwin.model.traffic import Traffic

Answer: TypeAlias = "Taken | LiteralStart | LiteralChunk | Result"

PIPELINE_MAX: Final = 25
"""Commands in flight: servers were seen to answer BAD to fifty."""

RESPONSES_MAX: Final = 5_000_000
"""Responses to one command: a mailbox has fewer messages."""

UNASKED_MAX: Final = 5_000_000
"""Responses that answer no command, between two tagged replies: a server that says more will never stop."""

IDLE_S_MAX: Final = 280.0
"""Half an hour by RFC 2177; but some servers, and many home routers, give up after five minutes."""

_HINT_GREETING = "is this an IMAP port? 993 is usual for tls, 143 for starttls"


class Session:
    """A connection that is logged in. Made by `open`; used by one task at a time.

    `pipeline_max` may be lowered for a server that wants fewer commands at a time.
    """

    def __init__(self, endpoint: Place, connection: Connection, wire: Wire, timeouts: Timeouts) -> None:
        self.endpoint = endpoint
        self.pipeline_max = PIPELINE_MAX
        self._connection = connection
        self._wire = wire
        self._timeouts = timeouts
        self._busy = False
        self._error: MailtwinError | None = None
        self._idle_stopped = False
        self._unasked = 0
        self._is_throttled = False

    @classmethod
    async def open(
        cls,
        endpoint: Place,
        credentials: Credentials,
        *,
        timeouts: Timeouts | None = None,
        connection: Connection | None = None,
    ) -> Session:
        """Connects, starts TLS, logs in and gets acquainted, in as few round trips as the server allows.

        `connection`: a fresh one, to see what it sees (`tap.Tapped`); should the server hang up over NAMESPACE, what
        follows is on another. Raises UnreachableError, TlsError, LoginError, ThrottledError or RemoteProtocolError.
        """
        session = await cls.greeted(endpoint, timeouts=timeouts, connection=connection)
        try:
            await session.enter(credentials)
        except login.NamespaceEndsIt:
            # Quirk "namespace-ends-the-session": once more, without that question.
            session = await cls.greeted(endpoint, timeouts=timeouts)
            await session.enter(credentials, ask_namespace=False)
        return session

    @classmethod
    async def greeted(
        cls, endpoint: Place, *, timeouts: Timeouts | None = None, connection: Connection | None = None
    ) -> Session:
        """Connects and starts TLS as `endpoint` says, and nothing more: for tools. Arguments and errors as `open`."""
        timeouts = timeouts or Timeouts()
        connection = connection or Connection()
        wire = await _reach(endpoint, connection, timeouts)
        session = cls(endpoint, connection, wire, timeouts)
        async with session._opening():
            await session._greet()
        return session

    async def log_in(self, credentials: Credentials) -> None:
        """Logs in, unless the greeting said that we are. Raises as `open` does, and drops the connection then."""
        async with self._opening():
            if self.state.phase is Phase.NOT_AUTHENTICATED:
                await login.authenticate(self, credentials)

    async def enter(self, credentials: Credentials, *, ask_namespace: bool = True) -> None:
        """The second half of `open`: logs in and gets acquainted. Raises as `open` does."""
        await self.log_in(credentials)
        async with self._opening():
            await login.introduce(self, ask_namespace=ask_namespace)
            if takes_one_at_a_time(self.state.server_name):
                self.pipeline_max = 1
            if self.endpoint.compress and self.has("COMPRESS=DEFLATE"):
                await self._compress()

    def hand_over(self) -> Wire:
        """The connection itself, for a tool that speaks from here on; the session is over. Nothing may be in flight."""
        assert not self._busy
        assert self._error is None
        self._error = UnreachableError(f"{self.endpoint.host}: the connection was handed over")
        return self._wire

    @asynccontextmanager
    async def _opening(self) -> AsyncGenerator[None, None]:
        try:
            yield
        except BaseException as error:
            await self.abort()
            if isinstance(error, MailtwinError) and not error.hint:
                error.hint = self._wire.remark()
            raise

    # --- what is known ---

    @property
    def state(self) -> SessionState:
        """Everything that the server said so far."""
        return self._connection.state

    def has(self, capability: str) -> bool:
        """Whether the server announces `capability` now."""
        return self.state.has(capability)

    @property
    def traffic(self) -> Traffic:
        """How many bytes this connection carried so far, as they went over it: compressed ones where they are."""
        return self._wire.traffic

    @property
    def is_throttled(self) -> bool:
        """Whether the server asked for a pause in this session (rule R16), in whatever answer or last word."""
        return self._is_throttled

    def line(self) -> Line:
        """The connection, as far as a login has to know it."""
        place = self.endpoint
        return Line(place.host, place.port, place.is_protected, self._wire.binding())

    @property
    def is_open(self) -> bool:
        """Whether another command can be tried."""
        return self._error is None

    def encode_name(self, name: str) -> bytes:
        """A mailbox name as this session writes it."""
        return name_bytes(name, utf8=self.state.utf8)

    def decode_name(self, name: bytes) -> str:
        """A mailbox name as the server wrote it, for people; the inverse of `encode_name`."""
        return name_text(name, utf8=self.state.utf8)

    # --- commands ---

    async def run(self, command: Command) -> Result:
        """The result of one command that has to succeed.

        A SELECT refused for want of an ID is tried again after one. Raises `Refused` (a CommandRefusedError) on NO and
        BAD, ThrottledError when the server asks for a pause, UnreachableError on loss, LocalProtocolError when it
        cannot be sent.
        """
        (result,) = await self.run_all([command])
        if isinstance(command, Select) and result.status is not None and is_id_wanted(result.status):
            # Quirk "id-before-select": the name that was not announced as wanted, and once more.
            _, result = await self.run_all([Id(), command])
        error = result.error(self.endpoint.host, mailbox=self._shown(command.about))
        if error is not None:
            raise error
        return result

    async def run_all(self, commands: Sequence[Command]) -> list[Result]:
        """The results of several commands, in order, in flight together as far as the rules allow.

        Raises nothing for a single one: look at each `Result`. When the connection is lost, those without a tagged
        reply have `lost` and no `status`. Large literals are not kept: such a result is incomplete, use `stream`.
        """
        batch = _Batch(commands, self.endpoint.host)
        try:
            with self._exclusive():
                self._catch_up()
                while not batch.finished:
                    while batch.waiting and self._may_send(batch):
                        batch.send(self._connection)
                    if batch.in_flight:
                        batch.note(await self._next())
        except MailtwinError as error:
            batch.lose(error)
        return batch.results

    async def stream(self, command: Command) -> AsyncGenerator[Answer, None]:
        """The answer to one command as it comes, its `Result` (without responses) last, be it OK, NO or BAD.

        A literal too large to be held comes as a LiteralStart and LiteralChunks *before* its response, in which it is
        `Streamed`; that response then comes whether it answers the command or not: look at its UID before using the
        bytes. A chunk is valid until the next step. Raises UnreachableError and its kin; leaving early drops the
        connection (use `contextlib.aclosing`).
        """
        with self._exclusive():
            handle = self._begin(command)
            literal_open = False
            while True:
                event = await self._next()
                if handle.taken > RESPONSES_MAX:
                    raise located(self.endpoint, _too_many(handle))
                if isinstance(event, LiteralStart):
                    literal_open = True
                    yield event
                elif isinstance(event, LiteralChunk):
                    self._wire.pause_reading()
                    yield event
                elif isinstance(event, Ended):
                    yield _result(event.handle, event.status)
                    return
                elif isinstance(event, Received) and (handle in event.takers or literal_open):
                    literal_open = False
                    if not isinstance(event.response, Continuation):
                        yield event.response

    async def idle(self, *, max_s: float = IDLE_S_MAX, renew: bool = False) -> AsyncGenerator[Taken, None]:
        """What the server tells unasked (RFC 2177), until `max_s` are over or `stop_idle` is called.

        What came since the last command is part of it: nobody waits for what was said already. With `renew` IDLE is
        said again every `max_s`, and nothing is missed in between; only a server that ends it by itself ends this,
        too. Raises `Refused` when the server will not, and UnreachableError and its kin.
        """
        with self._exclusive():
            self._idle_stopped = False
            while (event := self._step()) is not None:
                if isinstance(event, Received) and not isinstance(event.response, Continuation):
                    yield event.response
            loop = asyncio.get_running_loop()
            again = not self._idle_stopped
            while again:
                again = False
                handle = self._connection.send(Idle())
                end = loop.time() + max_s
                while not handle.ended:
                    event = await self._next_until(end)
                    if event is None:
                        again = renew and not self._idle_stopped
                        self._connection.done()
                        event = await self._next()
                    if isinstance(event, Ended):
                        self._raise_refusal(event)
                    elif isinstance(event, Received) and handle in event.takers:
                        assert not isinstance(event.response, Continuation)
                        yield event.response

    async def listen(self, *, renew_s: float = IDLE_S_MAX) -> AsyncGenerator[Taken, None]:
        """Everything that the server says without being asked and without IDLE, until `stop_idle` is called.

        That is what NOTIFY brings (RFC 5465), and what came since the last command is part of it. NOOP is said after
        each `renew_s`, for the server's timer and to find out what it does not tell by itself. Raises `Refused` when
        the server refuses that, and UnreachableError and its kin.
        """
        with self._exclusive():
            self._idle_stopped = False
            loop = asyncio.get_running_loop()
            # However much the server says: what its timer counts is our silence.
            end = loop.time() + renew_s
            while not self._idle_stopped:
                event = await self._next_until(end)
                if event is None and not self._idle_stopped:
                    self._connection.send(Noop())
                    end = loop.time() + renew_s
                while event is not None or self._connection.in_flight:
                    event = event or await self._next()
                    if isinstance(event, Ended):
                        self._raise_refusal(event)
                    elif isinstance(event, Received) and not isinstance(event.response, Continuation):
                        yield event.response
                    event = None

    def _raise_refusal(self, event: Ended) -> None:
        error = _result(event.handle, event.status).error(self.endpoint.host)
        if error is not None:
            raise error

    def stop_idle(self) -> None:
        """Ends `idle` and `listen` soon; may be called by any task of the loop."""
        self._idle_stopped = True
        self._wire.wake()

    async def close(self) -> None:
        """Says LOGOUT, waits a little for the answer, and drops the connection. Never raises for a dead one."""
        if self._error is None and not self._busy:
            try:
                async with asyncio.timeout(self._timeouts.close):
                    await self.run_all([Logout()])
            except TimeoutError:
                pass
        await self.abort()

    async def abort(self) -> None:
        """Drops the connection without a word."""
        if self._error is None:
            self._error = UnreachableError(f"{self.endpoint.host}: the session is closed")
        await self._wire.aborted()

    # --- opening ---

    async def _greet(self) -> None:
        with self._exclusive():
            await self._next()
            if self.endpoint.security != "starttls":
                return
            if self.state.phase is not Phase.NOT_AUTHENTICATED:
                # Logged in before TLS: by whom, nobody can tell (rule R20).
                raise RemoteProtocolError(
                    f"{self.endpoint.host}: the server refuses STARTTLS: it greets with PREAUTH"
                )
            handle = self._begin(StartTls())
            while not handle.ended:
                event = await self._next()
                if isinstance(event, Ended) and event.status.word != "OK":
                    raise TlsError(
                        f"{self.endpoint.host}: the server refuses STARTTLS: {_result(handle, event.status).text}",
                        hint="use tls, usually on port 993",
                    )
            assert isinstance(self.endpoint, Endpoint)
            await self._wire.start_tls(self.endpoint, self._timeouts.connect)
            if self._connection.unread:
                raise RemoteProtocolError(f"{self.endpoint.host}: someone sent data ahead of TLS")

    async def _compress(self) -> None:
        from mailtwin.imap.commands.switches import Compress

        (result,) = await self.run_all([Compress()])
        if result.lost is not None:
            raise result.lost
        # A server that will not (RFC 4978 section 3: TLS compresses already) is one without.
        if result.ok:
            self._wire.start_deflate()

    # --- the machine ---

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        assert not self._busy, "a session serves one task at a time"
        if self._error is not None:
            raise self._error
        self._busy = True
        try:
            yield
        except MailtwinError as error:
            if not self._connection.is_idle:
                self._drop(error)
            raise
        finally:
            self._busy = False
            if not self._connection.is_idle:
                self._drop(
                    UnreachableError(f"{self.endpoint.host}: a command was cut short and the session dropped")
                )

    def _begin(self, command: Command) -> Handle:
        self._catch_up()
        return self._connection.send(command)

    def _may_send(self, batch: _Batch) -> bool:
        return len(batch.in_flight) < self.pipeline_max and self._connection.may_send(batch.next)

    def _catch_up(self) -> None:
        """Applies what came since the last command, so that a BYE is known before anything is sent."""
        while self._step() is not None:
            pass

    def _step(self) -> Event | None:
        if self._error is not None:
            raise self._error
        try:
            event = self._connection.next_event()
            self._wire.pump()
            if event is None:
                self._wire.check()
            self._note_unasked(event)
        except MailtwinError as error:
            self._drop(located(self.endpoint, error))
            assert self._error is not None
            raise self._error from error
        return event

    def _note_unasked(self, event: Event | None) -> None:
        if isinstance(event, Ended):
            self._unasked = 0
            self._is_throttled = self._is_throttled or throttle_of(event.status) is not None
        elif isinstance(event, Received) and not event.takers:
            self._unasked += 1
            if self._unasked > UNASKED_MAX:
                raise RemoteProtocolError("the server does not stop talking about what nobody asked")

    async def _next(self) -> Event:
        while True:
            event = self._step()
            if event is not None:
                return event
            wait_s, what = self._patience()
            if not await self._wire.more(wait_s):
                hint = _HINT_GREETING if self.state.phase is Phase.GREETING else ""
                error = UnreachableError(f"{self.endpoint.host}: {what} within {wait_s:g} s", hint=hint)
                self._drop(error)
                raise error

    async def _next_until(self, end: float) -> Event | None:
        """The next event; None at `end` or when `stop_idle` was called."""
        loop = asyncio.get_running_loop()
        while not self._idle_stopped and loop.time() < end:
            event = self._step()
            if event is not None:
                return event
            await self._wire.more(max(0.0, end - loop.time()))
        return None

    def _patience(self) -> tuple[float, str]:
        """How long to wait for the next byte, and what did not come if it does not."""
        holding = self._connection.holding
        if self.state.phase is Phase.GREETING:
            return self._timeouts.greeting, "no greeting"
        if holding is not None and holding.refused is not None:
            return self._timeouts.refusal, "no tagged reply after an untagged BAD"
        if not self._connection.between_responses:
            return self._timeouts.literal, "the rest of a response did not come"
        verbs = dict.fromkeys(handle.command.verb for handle in self._connection.in_flight)
        return self._timeouts.reply, f"no answer to {', '.join(verbs)}"

    def _drop(self, error: MailtwinError) -> None:
        if self._error is None:
            self._error = error
        self._is_throttled = self._is_throttled or isinstance(error, ThrottledError)
        self._wire.abort()

    def _shown(self, name: Name | None) -> str:
        if name is None:
            return ""
        return self.decode_name(name) if isinstance(name, bytes) else name


async def _reach(place: Place, connection: Connection, timeouts: Timeouts) -> Wire:
    if isinstance(place, Tunnel):
        from mailtwin.client.tunnel import dig

        return await dig(place, connection, timeouts)
    return await dial(place, connection, timeouts.connect)


class _Batch:
    """Commands on their way to results."""

    def __init__(self, commands: Sequence[Command], host: str) -> None:
        self._host = host
        self.results: list[Result] = [Result(command, None, sent=False) for command in commands]
        self.in_flight: dict[Handle, int] = {}
        self._taken: dict[Handle, list[Taken]] = {}
        self._sent = 0

    @property
    def waiting(self) -> bool:
        """Whether some were not sent yet."""
        return self._sent < len(self.results)

    @property
    def finished(self) -> bool:
        return not self.waiting and not self.in_flight

    @property
    def next(self) -> Command:
        """The next to be sent."""
        return self.results[self._sent].command

    def send(self, connection: Connection) -> None:
        """Sends the next; one that cannot be sent is lost on its own."""
        at, command = self._sent, self.next
        self._sent += 1
        try:
            handle = connection.send(command)
        except LocalProtocolError as error:
            self.results[at] = Result(command, None, lost=error, sent=False)
            return
        self.in_flight[handle] = at
        self._taken[handle] = []

    def note(self, event: Event) -> None:
        """Files an event with the commands that it is about."""
        if isinstance(event, Received):
            if isinstance(event.response, Continuation):
                return
            for handle in event.takers:
                taken = self._taken[handle]
                if len(taken) >= RESPONSES_MAX:
                    raise _too_many(handle)
                taken.append(event.response)
        elif isinstance(event, Ended):
            at = self.in_flight.pop(event.handle)
            self.results[at] = _result(event.handle, event.status, tuple(self._taken.pop(event.handle)))
        elif isinstance(event, LiteralStart):
            for handle in self.in_flight:
                handle.distrust(f"a literal of {event.size} bytes was not kept")

    def lose(self, error: MailtwinError) -> None:
        """There will be no more tagged replies."""
        for handle, at in self.in_flight.items():
            # The server said BAD while it was asked for leave to send: the message was never sent, that is certain.
            refused = handle.refused if not handle.sent else None
            lost = _result(handle, refused, tuple(self._taken[handle]))
            self.results[at] = lost if refused is not None else _lose(lost, error)
        for at in range(self._sent, len(self.results)):
            self.results[at] = _lose(self.results[at], error)
        self.in_flight.clear()
        self._sent = len(self.results)


def _too_many(handle: Handle) -> RemoteProtocolError:
    return RemoteProtocolError(f"{handle.command.verb} got more than {RESPONSES_MAX} responses")


def _result(handle: Handle, status: Status | None, taken: tuple[Taken, ...] = ()) -> Result:
    return Result(
        handle.command,
        status,
        taken,
        tuple(handle.incomplete),
        sent=handle.sent,
        challenge=handle.challenge,
        challenges=handle.challenges,
    )


def _lose(result: Result, error: MailtwinError) -> Result:
    return Result(result.command, None, result.responses, result.incomplete, error, result.sent)
