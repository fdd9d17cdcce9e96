"""Plays transcripts: on the kernel, the bytes cut in every way; on the client and on the store above it.

What lines of `do` and `then` may use: all commands, `r` (responses), `UidSet`, `uids("1:3")`, `OpenRange`, `Secret`;
`state`, the session's; `heard`, every response so far; `result`, what the last `do` gave (on the kernel: the result of
the command that ended last); `error`, what was raised last. On the client: `open(mechanism="auto", user="user",
secret="secret")`, `run(command, ...)` (one command, or several at once), `close()`. On the store: `connect()`,
`mailboxes()`, `create(name)`, `observe()`, `fetch(uid, ...)`, `append(message)`, `remove(uid, ...)`, `identify(uid,
...)`, about the mailbox INBOX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from tests.client.scripted import Drip, HangUp, Hear, scripted
from tests.client.scripted import Step as Line
from tests.transcripts.reading import Step, Transcript

from mailtwin import client, errors
from mailtwin.client import Credentials, Endpoint, Result, Session, Timeouts
from mailtwin.errors import MailtwinError
from mailtwin.imap import (
    Connection,
    Ended,
    Greeting,
    LiteralChunk,
    LiteralStart,
    OpenRange,
    Phase,
    Received,
    Secret,
    linelimits,
    sasl,
)
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.commands import ordered, quota, revising
from mailtwin.model import INBOX, MailboxName, UidSet
from mailtwin.model.flags import make_flags
from mailtwin.stores.base import Message, Spool
from mailtwin.stores.imap import ImapStore

PATIENCE = Timeouts(connect=5, greeting=5, reply=5, literal=5, refusal=0.1, close=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WORDS: dict[str, Any] = {
    **{name: getattr(c, name) for name in c.__all__},
    "OpenRange": OpenRange,
    "Phase": Phase,
    "Result": Result,
    "Secret": Secret,
    "UidSet": UidSet,
    "box": lambda *parts: MailboxName(parts),
    "ordered": ordered,
    "quota": quota,
    "r": r,
    "revising": revising,
    "sasl": sasl,
    "uids": UidSet.parse,
    "fetched": lambda result: {one.uid: one for one in result.responses if isinstance(one, r.Fetch)},
    "linelimits": linelimits,
    "kinds": lambda result: [type(one).__name__ for one in result.responses],
}


class Expected:
    """Whether what was to be raised was raised."""

    def __init__(self, step: Step) -> None:
        self._kind, _, self._words = step.text.partition(" ")

    def check(self, error: BaseException | None) -> None:
        """Raises AssertionError when `error` is not what was expected."""
        assert error is not None, f"{self._kind} was not raised"
        kind = getattr(errors, self._kind, None) or getattr(client, self._kind)
        assert type(error) is kind, f"{error!r}"
        assert re.search(re.escape(self._words), str(error)), f"{error}"


# --- the kernel ---


class KernelPlay:
    """One way of playing a transcript: `cut` makes pieces of what the server says without waiting."""

    def __init__(self, cut: Callable[[bytes], Iterable[bytes]]) -> None:
        self._cut = cut
        self._connection = Connection()
        self._taken: dict[Any, list[Any]] = {}
        self.heard: list[Any] = []
        self.results: list[Result] = []
        self.handles: list[Any] = []
        self._written = bytearray()
        self._error: MailtwinError | None = None
        self._raised: MailtwinError | None = None

    def play(self, transcript: Transcript) -> None:
        """Plays all steps. Raises AssertionError where something is not as written."""
        for step in transcript.steps:
            if step.kind == "raises":
                Expected(step).check(self._error)
                self._raised, self._error = self._error, None
                continue
            assert self._error is None, f"{transcript.name}: {self._error!r} before {step.text!r}"
            match step.kind:
                case "S":
                    self._hear(step.data)
                case "C":
                    self._check_written(step.data)
                case "end":
                    self._connection.receive_eof()
                    self._hear(b"")
                case "do":
                    self._do(step)
                case "then":
                    assert eval(step.code, self._words()), f"{transcript.name}: {step.text}"  # type: ignore[arg-type]
        assert self._error is None, f"{transcript.name}: {self._error!r}"
        assert not self._written, bytes(self._written)

    def _words(self) -> dict[str, Any]:
        return {
            **WORDS,
            "state": self._connection.state,
            "connection": self._connection,
            "heard": self.heard,
            "error": self._raised,
            "result": self.results[-1] if self.results else None,
            "results": self.results,
            "handle": self.handles[-1] if self.handles else None,
        }

    def _do(self, step: Step) -> None:
        try:
            done = eval(step.code, self._words())  # type: ignore[arg-type]
            if isinstance(done, c.Command):
                self.handles.append(self._connection.send(done))
                self._taken[self.handles[-1]] = []
        except MailtwinError as error:
            self._error = error

    def _check_written(self, expected: bytes) -> None:
        while data := self._connection.data_to_send():
            self._written += data
        said = bytes(self._written[: len(expected)])
        assert said == expected, bytes(self._written)
        del self._written[: len(expected)]

    def _hear(self, data: bytes) -> None:
        for piece in self._cut(data) if data else (b"",):
            self._connection.receive_data(piece)
            try:
                while (event := self._connection.next_event()) is not None:
                    self._note(event)
            except MailtwinError as error:
                self._error = error
                return

    def _note(self, event: Any) -> None:
        if isinstance(event, Received):
            self.heard.append(event.response)
            for handle in event.takers:
                self._taken[handle].append(event.response)
        elif isinstance(event, Greeting):
            self.heard.append(event.status)
        elif isinstance(event, Ended):
            self.heard.append(event.status)
            handle = event.handle
            taken, reasons = tuple(self._taken.pop(handle)), tuple(handle.incomplete)
            self.results.append(Result(handle.command, event.status, taken, reasons, sent=handle.sent))
        else:
            assert isinstance(event, LiteralStart | LiteralChunk)


def play_on_kernel(transcript: Transcript) -> None:
    """Whole, byte by byte, and cut in two at every position: the same must happen."""
    longest = max((len(step.data) for step in transcript.steps if step.kind == "S"), default=1)
    whole = _played(transcript, lambda data: (data,))
    assert _played(transcript, lambda data: (data[at : at + 1] for at in range(len(data)))) == whole
    for position in range(1, longest):
        at = position
        assert _played(transcript, lambda data, at=at: (data[:at], data[at:])) == whole, f"cut at {at}"  # type: ignore[misc]


def _played(transcript: Transcript, cut: Callable[[bytes], Iterable[bytes]]) -> list[Any]:
    play = KernelPlay(cut)
    play.play(transcript)
    return play.heard


# --- above it ---


def script_of(transcript: Transcript, *, drip: bool) -> list[Line]:
    """The server's part, for `scripted`."""
    lines: list[Line] = []
    for step in transcript.steps:
        if step.kind == "S":
            lines.append(Drip(step.data, 7) if drip else step.data)
        elif step.kind == "C":
            lines.append(Hear(step.data))
        elif step.kind == "end":
            lines.append(HangUp())
    return lines


class ClientFloor:
    """What a client transcript can do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.session: Session | None = None

    async def open(self, mechanism: str = "auto", user: str = "user", secret: str = "secret") -> Session:
        who = Credentials(user, Secret(secret), mechanism)  # type: ignore[arg-type]
        self.session = await Session.open(self._endpoint, who, timeouts=PATIENCE)
        return self.session

    async def run(self, *commands: c.Command) -> Any:
        assert self.session is not None
        if len(commands) == 1:
            return await self.session.run(commands[0])
        return await self.session.run_all(commands)

    async def close(self) -> None:
        assert self.session is not None
        await self.session.close()

    async def abort(self) -> None:
        if self.session is not None:
            await self.session.abort()


class StoreFloor:
    """What a store transcript can do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.store = ImapStore(endpoint, lambda: Credentials("user", Secret("secret")), "user")

    @property
    def session(self) -> Session | None:
        return self.store._session

    async def connect(self) -> None:
        await self.store.connect(create=False)

    async def mailboxes(self) -> Any:
        return await self.store.mailboxes()

    async def create(self, *parts: str) -> None:
        await self.store.create(MailboxName(parts))

    async def observe(self) -> Any:
        async with self.store.open(INBOX) as mailbox:
            return await mailbox.observe()

    async def fetch(self, *refs: int) -> dict[Any, Message]:
        async with self.store.open(INBOX) as mailbox:
            return {message.ref: message async for message in mailbox.fetch(refs, Spool)}

    async def identify(self, *refs: int) -> Any:
        async with self.store.open(INBOX) as mailbox:
            return await mailbox.identify(refs)

    async def append(self, message: str) -> Any:
        async with self.store.open(INBOX) as mailbox:
            await mailbox.observe()
            delivery = mailbox.delivery()
            spool = delivery.spool()
            spool.write(message.encode())
            delivery.stage(Message(1, make_flags(()), EPOCH, spool), make_flags(()))
            (outcome,) = await delivery.commit()
            return outcome

    async def remove(self, *refs: int) -> None:
        async with self.store.open(INBOX) as mailbox:
            await mailbox.observe()
            await mailbox.remove(refs)

    async def abort(self) -> None:
        await self.store.close()


async def play_above(transcript: Transcript, *, drip: bool) -> None:
    """Plays a client or store transcript against a server that follows the script to the letter."""
    kind = ClientFloor if transcript.floor == "client" else StoreFloor
    async with scripted(script_of(transcript, drip=drip)) as endpoint:
        floor = kind(endpoint)
        try:
            await _act(transcript, floor)
        finally:
            await floor.abort()


async def _act(transcript: Transcript, floor: ClientFloor | StoreFloor) -> None:
    result: Any = None
    error: MailtwinError | None = None
    raised: MailtwinError | None = None
    calls = {name: getattr(floor, name) for name in vars(type(floor)) if name not in ("abort", "session")}
    for step in transcript.steps:
        if step.kind == "raises":
            Expected(step).check(error)
            raised, error = error, None
        elif step.kind == "do":
            assert error is None, f"{transcript.name}: {error!r} before {step.text!r}"
            try:
                result = await eval(step.code, {**WORDS, **calls})  # type: ignore[arg-type]
            except MailtwinError as failure:
                error = failure
        elif step.kind == "then":
            session = floor.session
            state = session and session.state
            words = {**WORDS, "result": result, "error": raised, "session": session, "state": state}
            assert error is None, f"{transcript.name}: {error!r}"
            assert eval(step.code, words), f"{transcript.name}: {step.text} ({result!r})"  # type: ignore[arg-type]
    assert error is None, f"{transcript.name}: {error!r}"
