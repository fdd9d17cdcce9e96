"""One IMAP connection without its socket: bytes in, events out; commands in, bytes out.

    connection = Connection()
    connection.receive_data(b"* OK hello\\r\\n")      # or get_buffer() and received(), without copying
    connection.next_event()                          # Greeting(...); None: more bytes are needed
    handle = connection.send(commands.Noop())
    connection.data_to_send()                        # b"A1 NOOP\\r\\n"; b"": nothing to send now

Every untagged response is applied to `state` first, then offered to the commands in flight, oldest first, which take
what answers them; the event names them. Only a tagged reply ends a command. What may be short although it says OK is
*incomplete*, with the reasons (rules R7, R8).

The order of writing is the order of sending. A literal that the server must ask for holds back all that follows.
After an error the connection is dead: every call raises the same.

Not here: when to wait, for how long, and what to do next (`mailtwin.client`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

from mailtwin.errors import (
    LocalProtocolError,
    MailtwinError,
    RemoteProtocolError,
    ThrottledError,
    UnreachableError,
)
from mailtwin.imap import commands as c
from mailtwin.imap.codes import referral_of
from mailtwin.imap.encode import Encoder
from mailtwin.imap.fetchline import WIRE_LINE, fetch_of
from mailtwin.imap.framing import Frame, Framer, LiteralChunk, LiteralStart
from mailtwin.imap.inflight import InFlight
from mailtwin.imap.outgoing import Handle, Outgoing
from mailtwin.imap.parser import parse
from mailtwin.imap.pipelining import may_follow
from mailtwin.imap.quirks import limit_of, text_of, throttle_in, throttle_of
from mailtwin.imap.responses import Continuation, Fetch, Response, Status, Unparsed, Untagged
from mailtwin.imap.sasl import Exchange
from mailtwin.imap.state import Phase, SessionState
from mailtwin.imap.tokens import Malformed

CHALLENGES_MAX: Final = 20
"""Of one login: no mechanism has more than three."""

STRAYS_MAX: Final = 1_000
"""`+` that nobody waits for: harmless one by one, but a server that sends nothing else is none."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's first words: OK or PREAUTH (a BYE is an error)."""

    status: Status


@dataclass(frozen=True, slots=True)
class Received:
    """An untagged response or a `+`, already applied to the state; `takers`: the commands that it answers.

    A FETCH has its UID filled in and an EXPUNGE is a VANISHED where the sequence map knows the message.
    """

    response: Response
    takers: tuple[Handle, ...] = ()


_new = Received.__new__
_set_response, _set_takers = (vars(Received)[field.name].__set__ for field in fields(Received))


@dataclass(frozen=True, slots=True)
class Ended:
    """The tagged reply of a command."""

    handle: Handle
    status: Status


Event: TypeAlias = Greeting | Received | Ended | LiteralStart | LiteralChunk


class Connection:
    """The protocol machine of one connection."""

    def __init__(self, framer: Framer | None = None) -> None:
        self.state = SessionState()
        self._framer = framer or Framer()
        self._in_flight = InFlight()
        self._outgoing = Outgoing()
        self._exchange: Exchange | None = None
        self._exchange_begun = False
        self._idling = self._done_wanted = False
        self._tags = 0
        self._strays = 0
        self._bye: Status | None = None
        self._last: Response | None = None
        self._eof = False
        self._dead: MailtwinError | None = None

    # --- bytes in ---

    def get_buffer(self) -> memoryview:
        """Free space to receive into."""
        return self._framer.get_buffer()

    def received(self, count: int) -> None:
        """`count` bytes were written into the last `get_buffer()`."""
        self._framer.received(count)

    def receive_data(self, data: bytes) -> None:
        """Copies bytes in: for tests and tools."""
        self._framer.feed(data)

    def receive_eof(self) -> None:
        """The server will send nothing more; `next_event` raises once what came before is used up."""
        self._eof = True

    @property
    def unread(self) -> int:
        """Bytes received and not used yet."""
        return self._framer.unread

    def take_unread(self) -> bytes:
        """Removes and returns what was received and not used: after COMPRESS it has to be inflated first."""
        return self._framer.take_unread()

    @property
    def between_responses(self) -> bool:
        """Whether nothing was begun that is not finished (a literal, a line)."""
        return self._framer.at_boundary

    # --- commands ---

    @property
    def in_flight(self) -> tuple[Handle, ...]:
        """The commands without a tagged reply, in the order sent."""
        return tuple(self._in_flight)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight and nothing waits to be written: the next command starts on clean ground."""
        return not self._in_flight and not self._outgoing

    @property
    def has_to_send(self) -> bool:
        """Whether something waits to be written, be it for the server's `+`; else `data_to_send` is empty."""
        return bool(self._outgoing)

    @property
    def holding(self) -> Handle | None:
        """The command whose literal waits for the server's `+`."""
        return self._outgoing.holding

    def may_send(self, command: c.Command) -> bool:
        """Whether RFC 9051 section 5.5 lets `command` join those in flight."""
        return may_follow(command, self._in_flight.kinds)

    def send(self, command: c.Command) -> Handle:
        """Queues a command. Raises LocalProtocolError, with nothing queued, when it cannot be sent or written now."""
        if self._dead is not None:
            raise self._dead
        if not self.state.allows(command):
            raise LocalProtocolError(
                f"{command.verb} makes no sense while the session is {self.state.phase.value}"
            )
        if not self.may_send(command):
            raise LocalProtocolError(f"{command.verb} must wait for the commands in flight")
        tag = f"A{self._tags + 1}"
        dialect = self.state.dialect
        encoder = Encoder(dialect).raw(f"{tag} ")
        command.encode(encoder)
        if isinstance(command, c.Authenticate):
            self._exchange = self._begin_exchange(command, encoder)
            self._exchange_begun = command.at_once or not command.mechanism.client_first
        handle = Handle(command, c.Asked(tag, dialect.utf8))
        self._outgoing.add(handle, encoder.finish())
        self._tags += 1
        self._in_flight.add(handle)
        self._idling = self._done_wanted = False
        self.state.began(command)
        return handle

    def data_to_send(self) -> bytes | memoryview:
        """The next bytes to write, some tens of KiB at most; empty when there are none now.

        Raises LocalProtocolError when the body of an APPEND is not as long as it was said to be, and whatever reading
        the body raises: the connection cannot be used after that.
        """
        if self._dead is not None:
            raise self._dead
        try:
            return self._outgoing.take()
        except MailtwinError as error:
            self._dead = error
            raise

    def done(self) -> None:
        """Ends an IDLE in flight: DONE goes out now, or when the server has said `+`."""
        if self._idling and not self._done_wanted:
            self._send_line(self._in_flight.oldest, b"DONE")
        self._done_wanted = True

    # --- events out ---

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed.

        Raises RemoteProtocolError when the server breaks the protocol; UnreachableError, or ThrottledError where it
        says so, after BYE or the end of the connection; from then on always the same.
        """
        if self._dead is not None:
            raise self._dead
        try:
            if self.state.selected is not None:
                fetch = self._framer.short_cut(WIRE_LINE, fetch_of)
                if fetch is not None:
                    return self._listed(fetch)
            item = self._framer.next()
            if isinstance(item, Frame):
                return self._dispatch(parse(item))
            if item is None and self._eof:
                raise self._lost()
        except MailtwinError as error:
            self._dead = error
            raise
        return item

    def _dispatch(self, response: Response) -> Event:
        self._last = response
        if self.state.phase is Phase.GREETING:
            return self._greeting(response)
        if isinstance(response, Status):
            return self._untagged_status(response) if response.tag is None else self._tagged(response)
        if isinstance(response, Continuation):
            self._continue(response)
            return Received(response)
        return self._untagged(response)

    def _greeting(self, response: Response) -> Greeting:
        if not isinstance(response, Status) or response.tag or response.word not in ("OK", "PREAUTH", "BYE"):
            self._raise_plain_words()
            raise RemoteProtocolError(f"this is no IMAP server: it greets with {_said(response)!r}")
        self.state.greeted(response)
        if response.word == "BYE":
            self._bye = response
            raise self._lost()
        return Greeting(response)

    def _untagged(self, response: Untagged) -> Received:
        resolved = self.state.resolve(response)
        self.state.apply(response)
        if isinstance(resolved, Unparsed):
            self._distrust_damaged(resolved)
        takers = self._in_flight.takers(resolved)
        if isinstance(resolved, Fetch) and resolved.extra:
            if "UID" in resolved.extra:
                # Whose message that is nobody can tell, so whoever asked for messages may miss it.
                self._distrust("FETCH", "the UID of a message could not be read")
            if takers:
                _distrust_nonsense(resolved, takers)
        return Received(resolved, takers)

    def _listed(self, fetch: Fetch) -> Received:
        """`_untagged` for what the short cut brings: nothing in it is damaged, nothing is left to be read."""
        if fetch.uid is None:
            return self._untagged(fetch)
        self.state.apply(fetch)
        # Received(...), cheaper: see `fetchline.fetch_of`.
        received: Received = _new(Received)
        _set_response(received, fetch)
        _set_takers(received, self._in_flight.takers(fetch))
        return received

    def _untagged_status(self, status: Status) -> Received:
        self.state.apply(status)
        if status.word == "BYE":
            self._bye = status
            if not self._is_leaving():
                raise self._lost()
        limit = limit_of(status)
        if limit is not None:
            for handle in self._in_flight.heard():
                handle.distrust(f"the server said {limit} in an untagged {status.word}")
        if status.word == "BAD":
            self._note_refusal(status)
        return Received(status, self._in_flight.takers(status)[:1])

    def _tagged(self, status: Status) -> Ended:
        assert status.tag is not None
        if status.tag not in self._in_flight:
            raise RemoteProtocolError(
                f"the server answers a command that was never sent: {status.tag[:40]!r}"
            )
        handle = self._in_flight[status.tag]
        if status.word == "OK" and not handle.sent:
            raise RemoteProtocolError(f"the server accepts {handle.command.verb} before it was sent")
        if status.word == "OK":
            self._check_exchange()
        self._in_flight.remove(handle)
        handle.ended = True
        self._idling = False
        self._exchange = None
        limit = limit_of(status)
        if limit is not None:
            handle.distrust(f"the server said {limit} in its reply")
        self.state.ended(handle.command, status, answered=handle.taken > 0)
        if handle.command.verb == "STARTTLS" and status.word == "OK" and self.unread:
            # Words in the clear behind the reply would be taken for the server's own inside TLS (rule R20).
            raise RemoteProtocolError("the server, or someone in between, sent data ahead of TLS")
        return Ended(handle, status)

    def _raise_plain_words(self) -> None:
        """Raises ThrottledError when the last words, which are no IMAP, ask for a pause."""
        if isinstance(self._last, Unparsed):
            pause = throttle_in(self._last.raw)
            if pause is not None:
                raise ThrottledError(f"the server says {_said(self._last)!r}", pause_s=pause.pause_s)

    def _lost(self) -> MailtwinError:
        if self._bye is None:
            self._raise_plain_words()
        if self._bye is not None:
            text = f"the server closed the connection: {text_of(self._bye.text)}"
            pause = throttle_of(self._bye)
            if pause is not None:
                return ThrottledError(text, pause_s=pause.pause_s)
            url = referral_of(self._bye.code)
            return UnreachableError(
                text, hint=f"it names another server: {text_of(url.encode())}" if url else ""
            )
        if self.state.phase is Phase.GREETING:
            return UnreachableError("the server closed the connection without a greeting")
        where = "" if self.between_responses else " in the middle of a response"
        return UnreachableError(f"the server closed the connection{where}")

    def _is_leaving(self) -> bool:
        return self.state.phase is Phase.LOGOUT or any(
            isinstance(handle.command, c.Logout) for handle in self._in_flight
        )

    # --- whose answer is incomplete ---

    def _distrust_damaged(self, response: Unparsed) -> None:
        self._distrust(response.name, f"a response could not be read ({response.reason}): {_said(response)}")

    def _distrust(self, name: str | None, reason: str) -> None:
        """Something is missing from an untagged response `name` (None: nobody knows which)."""
        for handle in self._in_flight.heard():
            wanted = handle.command.awaits
            if wanted and (name is None or name in wanted):
                handle.distrust(reason)

    def _note_refusal(self, status: Status) -> None:
        appends = (handle for handle in self._in_flight if isinstance(handle.command, c.Append))
        handle = self.holding or next(appends, None)
        if handle is not None:
            handle.refused = status
            handle.distrust(f"the server said BAD beside its reply: {text_of(status.text)[:80]}")

    # --- what a `+` sets going ---

    def _continue(self, continuation: Continuation) -> None:
        if self._exchange is not None:
            self._answer(continuation, self._exchange)
        elif not self._idling and self._in_flight and isinstance(self._in_flight.oldest.command, c.Idle):
            self._idling = True
            if self._done_wanted:
                self._send_line(self._in_flight.oldest, b"DONE")
        elif not self._outgoing.go_on():
            self._strays += 1
            if self._strays > STRAYS_MAX:
                raise RemoteProtocolError("the server keeps asking for data that nobody announced")

    def _begin_exchange(self, command: c.Authenticate, encoder: Encoder) -> Exchange:
        exchange = command.mechanism.start()
        if command.at_once:
            if not command.mechanism.client_first:
                raise LocalProtocolError(f"in {command.mechanism.name} the server speaks first")
            # RFC 4959 section 3: an empty initial response is written as `=`.
            encoder.raw(" " + (base64.b64encode(next(exchange)).decode("ascii") or "="))
        elif not command.mechanism.client_first:
            next(exchange)
        return exchange

    def _check_exchange(self) -> None:
        """The server says OK: a mechanism in which it has to prove itself raises if it did not."""
        if self._exchange is None:
            return
        if not self._exchange_begun:
            raise RemoteProtocolError("the server accepts a login that was not made")
        try:
            self._exchange.send(None)
        except StopIteration:
            pass

    def _answer(self, continuation: Continuation, exchange: Exchange) -> None:
        handle = self._in_flight.oldest
        handle.challenges += self._exchange_begun
        if handle.challenges > CHALLENGES_MAX:
            raise RemoteProtocolError("the server does not stop asking for something else to log in with")
        try:
            if self._exchange_begun:
                handle.challenge = base64.b64decode(continuation.text, validate=True)
                response = exchange.send(handle.challenge)
            else:
                self._exchange_begun = True
                response = next(exchange)
        except (StopIteration, binascii.Error):
            # Nothing to say to this: the exchange is cancelled (RFC 9051 section 6.2.2).
            self._send_line(handle, b"*")
            return
        self._send_line(handle, base64.b64encode(response))

    def _send_line(self, handle: Handle, line: bytes) -> None:
        self._outgoing.add(handle, [line + b"\r\n"])


def _distrust_nonsense(fetch: Fetch, takers: tuple[Handle, ...]) -> None:
    """An attribute that says nothing makes the answers that it is part of incomplete (rule R7).

    Not so dates, sizes and modification sequences: servers make them up, and their fields say that they are not known.
    """
    if "FLAGS" in fetch.extra:
        for handle in takers:
            handle.distrust("the flags of a message could not be read")
    # Only who asks for more than flags, dates, sizes and bodies pays for knowing what it means.
    from mailtwin.imap.fetchdata import read

    for name, value in fetch.extra.items():
        try:
            read(name, value)
        except Malformed as error:
            for handle in takers:
                handle.distrust(f"{name} of a message could not be read ({error})")


def _said(response: Response) -> str:
    if isinstance(response, Unparsed):
        return text_of(response.raw[:100])
    return (
        text_of(response.text[:100])
        if isinstance(response, Status | Continuation)
        else type(response).__name__
    )
