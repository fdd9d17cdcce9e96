"""The connection: opened as the client opens one, then spoken on by a person; in a thread of its own.

The server may speak at any time, and a person who types cannot be made to wait for that: the event loop runs beside the
one who reads the keyboard. Calls come from that other thread and wait, or raise what ended the connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Final, TypeVar

from mailtwin.client import Credentials, Endpoint, Place, Session, Timeouts
from mailtwin.client.failures import located
from mailtwin.client.tap import Tapped
from mailtwin.client.transport import Wire
from mailtwin.errors import MailtwinError, RemoteProtocolError, UnreachableError
from mailtwin.imap.parser import parse
from mailtwin.imap.responses import Continuation, Status
from mailtwin.talk.hearing import Hearing
from mailtwin.talk.knowledge import Knowledge
from mailtwin.talk.redaction import Redactor
from mailtwin.talk.screen import Screen

RECEIVE_BYTES: Final = 64 * 1024
_FOREVER_S: Final = 3600.0
_T = TypeVar("_T")


class Answer(Enum):
    """What ended a wait."""

    TAGGED = "tagged"
    """The command was answered."""
    GO_ON = "go on"
    """The server said `+`."""
    TIME = "time"
    """Neither, for as long as was said."""
    CLOSED = "closed"
    """There is no connection any more."""


class Ear:
    """Follows what is said: shows it, learns from it, tells who waits."""

    def __init__(self, screen: Screen, redactor: Redactor, knowledge: Knowledge) -> None:
        self.screen = screen
        self.hearing = Hearing()
        self.status: Status | None = None
        self.go_on = False
        self.bye = False
        self.failure: MailtwinError | None = None
        self.on_tagged: Callable[[Status], bool] = lambda _: False
        self._redactor = redactor
        self._knowledge = knowledge

    def heard(self, data: bytes) -> None:
        """The server sent these bytes; `failure` is why they, and all that follow, cannot be told apart any more."""
        if self.failure is not None:
            return
        try:
            self._hear(data)
        except MailtwinError as error:
            self.failure = error

    def _hear(self, data: bytes) -> None:
        self.screen.parsed(data)
        for piece in self.hearing.feed(data):
            self.screen.heard(piece)
            if piece.frame is None:
                continue
            response = parse(piece.frame)
            self._knowledge.learn(response)
            if isinstance(response, Continuation):
                self.go_on = True
            elif isinstance(response, Status) and response.word == "BYE":
                self.bye = True
            elif isinstance(response, Status) and response.tag is not None:
                self.status = response
                self._redactor.ended(response.tag)
                if self.on_tagged(response):
                    return

    def said(self, data: bytes) -> None:
        """We sent these bytes."""
        self.screen.said(data)


class Mouth:
    """The `Machine` of the wire while a person speaks: what is received is heard at once, nothing is understood."""

    unread = 0
    holding = None

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._buffer = bytearray(RECEIVE_BYTES)
        self._outgoing: deque[bytes] = deque()
        self._left = b""
        self.eof = False

    @property
    def has_to_send(self) -> bool:
        """See `Machine`."""
        return bool(self._outgoing)

    def get_buffer(self) -> memoryview:
        """See `Machine`."""
        return memoryview(self._buffer)

    def received(self, count: int, /) -> None:
        """See `Machine`."""
        self.receive_data(bytes(self._buffer[:count]))

    def receive_data(self, data: bytes, /) -> None:
        """See `Machine`."""
        self._ear.heard(data)

    def receive_eof(self) -> None:
        """See `Machine`."""
        self.eof = True

    def take_unread(self) -> bytes:
        """See `Machine`."""
        return self._ear.hearing.take_unread()

    def data_to_send(self) -> bytes:
        """See `Machine`."""
        data = self._outgoing.popleft()
        self._ear.said(data)
        return data

    def send(self, data: bytes) -> None:
        """These bytes go out next."""
        self._outgoing.append(data)


class Line:
    """A connection for one person. `on_close` is called, in the other thread, when it ends by itself."""

    def __init__(self, place: Place, ear: Ear, timeouts: Timeouts) -> None:
        self.on_close: Callable[[], None] = lambda: None
        self._place, self._ear, self._timeouts = place, ear, timeouts
        self._mouth = Mouth(ear)
        self._wire: Wire | None = None
        self._news = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None
        self._expected: dict[str, str] = {}
        self._tls_due = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()
        self.error: MailtwinError | None = None

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    # --- called by the person's thread ---

    def open(self, who: Credentials | None) -> None:
        """Connects, with TLS as the place says, and logs in if told as whom. Raises as `Session.open` does."""
        self._do(self._open(who))

    def send(self, data: bytes, *, tag: str = "", command: str = "") -> None:
        """Sends bytes; with `tag` and `command`, the first of a command."""
        self._do(self._send(data, tag, command))

    def wait(self, tag: str, *, go_on: bool = False, max_s: float = _FOREVER_S) -> Answer:
        """Waits for the tagged reply `tag`; with `go_on`, also for a `+`."""
        return self._do(self._wait(tag, go_on, max_s))

    def close(self) -> None:
        """Drops the connection and ends the thread."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def is_open(self) -> bool:
        """Whether anything can be said."""
        return self._wire is not None and not self._mouth.eof and self.error is None

    # --- in the loop ---

    async def _open(self, who: Credentials | None) -> None:
        tapped = Tapped(self._ear.heard, self._ear.said)
        session = await Session.greeted(self._place, timeouts=self._timeouts, connection=tapped)
        if who is not None:
            await session.log_in(who)
        self._ear.go_on = False
        self._ear.on_tagged = self._tagged
        self._wire = session.hand_over()
        self._wire.use(self._mouth)
        self._listener = self._loop.create_task(self._listen(self._wire))

    async def _send(self, data: bytes, tag: str, command: str) -> None:
        if not self.is_open or self._wire is None:
            raise self.error or UnreachableError(f"{self._place.host}: the connection is closed")
        if tag:
            self._expected[tag] = command
        self._ear.go_on = False
        self._mouth.send(data)
        self._wire.pump()
        self._wire.wake()

    async def _wait(self, tag: str, go_on: bool, max_s: float) -> Answer:
        try:
            async with asyncio.timeout(max_s):
                while True:
                    if go_on and self._ear.go_on:
                        self._ear.go_on = False
                        return Answer.GO_ON
                    if tag and tag not in self._expected and not self._tls_due:
                        return Answer.TAGGED
                    if not self.is_open:
                        return Answer.CLOSED
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return Answer.TIME

    async def _listen(self, wire: Wire) -> None:
        try:
            while not self._mouth.eof:
                wire.pump()
                wire.check()
                if self._ear.failure is not None:
                    raise self._ear.failure
                if self._tls_due:
                    await self._start_tls(wire)
                    self._tls_due = False
                self._news.set()
                await wire.more(_FOREVER_S)
                self._news.set()
        except MailtwinError as error:
            self.error = located(self._place, error)
        if self._ear.hearing.begun:
            self._ear.screen.partial(self._ear.hearing.begun)
        self._mouth.eof = True
        self._news.set()
        self.on_close()

    async def _start_tls(self, wire: Wire) -> None:
        if self._ear.hearing.begun:
            raise RemoteProtocolError("the server, or someone in between, sent data ahead of TLS")
        if not isinstance(self._place, Endpoint):
            raise RemoteProtocolError("TLS inside of a tunnel is not supported")
        await wire.start_tls(self._place, self._timeouts.connect)

    def _tagged(self, status: Status) -> bool:
        """A reply came; True: what follows it is no IMAP."""
        assert status.tag is not None
        command = " ".join(self._expected.pop(status.tag, "").upper().split())
        if status.word != "OK" or self._wire is None:
            return False
        if command == "STARTTLS":
            self._tls_due = True
        elif command == "COMPRESS DEFLATE":
            self._ear.screen.forget_unread()
            self._wire.start_deflate()
            return True
        return False

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
        if self._wire is not None:
            await self._wire.aborted()
