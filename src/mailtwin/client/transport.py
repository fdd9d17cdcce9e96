"""A TCP connection (with TLS or without, compressed or not) or a tunnel below an IMAP `Connection`.

Pull, no queue: the transport receives straight into the framer's buffer, and whoever wants an event asks for it. While
nobody asks, at most one buffer is read ahead; then reading pauses and TCP holds the server back. Writing takes the
next bytes only when there is room for them. One task waits at a time, for either direction: neither can starve the
other, so a server that stops reading until we read does not stop us.

Not here: what to send and what it means (`session`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from mailtwin.client.endpoint import Endpoint
from mailtwin.client.failures import certificates_failure, connect_failure
from mailtwin.errors import MailtwinError, StorageError, UnreachableError
from mailtwin.imap import Connection
from mailtwin.model.traffic import Traffic

if TYPE_CHECKING:
    from mailtwin.client.deflate import Deflater, Inflater
    from mailtwin.imap.sasl.scram import Binding

READ_AHEAD_BYTES: Final = 128 * 1024
WRITE_BUFFER_BYTES: Final = 256 * 1024


class Machine(Protocol):
    """What a `Wire` moves bytes for: a `Connection`, as far as a wire has to know it."""

    @property
    def unread(self) -> int:
        """Bytes received and not used yet."""

    @property
    def has_to_send(self) -> bool:
        """Whether something waits to be written."""

    @property
    def holding(self) -> object | None:
        """What waits for the server's `+`, if anything does."""

    def get_buffer(self) -> memoryview:
        """Free space to receive into."""

    def received(self, count: int, /) -> None:
        """`count` bytes were written into the last `get_buffer()`."""

    def receive_data(self, data: bytes, /) -> None:
        """These bytes were received."""

    def receive_eof(self) -> None:
        """There will be no more."""

    def take_unread(self) -> bytes:
        """Removes and returns what was received and not used."""

    def data_to_send(self) -> bytes | memoryview:
        """The next bytes to write; empty when there are none now."""


class Wire(asyncio.BufferedProtocol):
    """The protocol that asyncio drives, and the few things that the session does with it."""

    def __init__(self, connection: Machine) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = self._loop.create_future()
        self._reading = True
        self._writable = True
        self._inflater: Inflater | None = None
        self._deflater: Deflater | None = None
        self._compressed = bytearray()
        self._damage: MailtwinError | None = None
        self._ended = False
        self._bytes_in = self._bytes_out = 0

    # --- called by asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast("asyncio.Transport", transport))

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint  # The framer knows better.
        return memoryview(self._compressed) if self._inflater is not None else self._connection.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._bytes_in += nbytes
        if self._inflater is not None:
            self._inflater.feed(memoryview(self._compressed)[:nbytes])
            self._inflate(self._inflater)
        else:
            self._connection.received(nbytes)
        if self._connection.unread >= READ_AHEAD_BYTES:
            # Also where somebody waits: TLS would fill the next buffer before that task runs, and `more` goes on.
            self.pause_reading()
        self.wake()

    def eof_received(self) -> None:
        self._end()
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # What a person is told is what did not come.
        self._writable = False
        self._end()
        self.wake()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = not self._closed.done()
        self.wake()

    # --- called by the session ---

    @property
    def traffic(self) -> Traffic:
        """The bytes received and written so far: compressed ones where they are, inside of TLS where there is."""
        return Traffic(self._bytes_in, self._bytes_out)

    def use(self, machine: Machine) -> None:
        """From here on all bytes are for, and from, `machine`; what is unread stays behind."""
        self._connection = machine
        if self._ended:
            machine.receive_eof()

    def pump(self) -> None:
        """Writes what there is to write, as far as there is room. Raises StorageError when a body cannot be read."""
        while self._connection.has_to_send and self._writable and self._transport is not None:
            try:
                data = self._connection.data_to_send()
            except OSError as error:
                raise StorageError(f"a message could not be read while it was sent: {error}") from error
            if not data:
                return
            if self._deflater is not None:
                data = self._deflater.deflate(data)
            self._bytes_out += len(data)
            self._transport.write(data)

    def check(self) -> None:
        """Raises RemoteProtocolError when what came could not be inflated; ask when there is no event left."""
        if self._damage is not None:
            raise self._damage

    async def more(self, timeout_s: float) -> bool:
        """Waits until bytes came, room to write came, the connection ended or `wake` was called.

        False when nothing of that happened within `timeout_s`.
        """
        assert self._waiter is None
        if self._inflater is not None and self._inflate(self._inflater, wanted=True):
            return True
        self._resume_reading()
        if self._connection.holding is not None:
            self._acknowledge_at_once()
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._give_up)
        try:
            await self._waiter
        except TimeoutError:
            return False
        finally:
            timer.cancel()
            self._waiter = None
        return True

    def wake(self) -> None:
        """Ends the wait of `more`."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def pause_reading(self) -> None:
        """Nothing is received until the next `more`: what was lent from the buffer stays valid."""
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._reading = False

    async def start_tls(self, endpoint: Endpoint, timeout_s: float) -> None:
        """TLS from here on (RFC 9051 section 6.2.1). Raises TlsError and its kin."""
        assert self._transport is not None
        context = tls_context(endpoint)
        self._resume_reading()
        transport = None
        try:
            async with asyncio.timeout(timeout_s):
                transport = await self._loop.start_tls(
                    self._transport, self, context, server_hostname=endpoint.host
                )
        except OSError as error:
            raise connect_failure(endpoint, error) from error
        finally:
            if transport is None:
                # asyncio never calls connection_lost for a handshake that failed.
                self.abort()
                self.connection_lost(None)
        if transport is None:
            raise UnreachableError(f"{endpoint}: the server closed the connection during the TLS handshake")
        self._use(transport)

    def start_deflate(self) -> None:
        """COMPRESS from here on (RFC 4978): what is unread already came compressed."""
        from mailtwin.client.deflate import PIECE_BYTES, Deflater, Inflater  # few sessions are compressed

        self._inflater, self._deflater = Inflater(), Deflater()
        self._compressed = bytearray(PIECE_BYTES)
        self._inflater.feed(self._connection.take_unread())
        self._inflate(self._inflater)

    def binding(self) -> Binding | None:
        """What names this TLS connection at both of its ends; None without TLS, or when Python cannot say it."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        if tls is None:
            return None
        # RFC 9266: tls-unique says nothing in TLS 1.3, where its successor is for.
        kind = "tls-exporter" if tls.version() == "TLSv1.3" else "tls-unique"
        if kind not in ssl.CHANNEL_BINDING_TYPES:
            return None
        data = tls.get_channel_binding(kind)
        if not data:
            return None
        from mailtwin.imap.sasl.scram import Binding

        return Binding(kind, data)

    def remark(self) -> str:
        """What there is to add to an error: nothing, for a connection that has no words beside the protocol."""
        return ""

    def abort(self) -> None:
        """Drops the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def aborted(self) -> None:
        """Drops the connection and waits until the operating system has it back."""
        self.abort()
        if self._transport is not None:
            await asyncio.shield(self._closed)

    def _inflate(self, inflater: Inflater, *, wanted: bool = False) -> bool:
        """Moves on what came compressed, as long as not much is unread; whether anything moved, or broke.

        `wanted`: what is unread is not enough, however much it is (a long line).
        """
        moved = False
        try:
            while not inflater.is_empty and (
                self._connection.unread < READ_AHEAD_BYTES or (wanted and not moved)
            ):
                piece = inflater.take()
                self._connection.receive_data(piece)
                moved = moved or bool(piece)
        except MailtwinError as error:
            moved = self._damage is None
            self._damage = self._damage or error
        if inflater.ended or (self._ended and inflater.is_empty):
            self._connection.receive_eof()
        if not inflater.is_empty:
            self.pause_reading()
        return moved

    def _end(self) -> None:
        """Nothing more will be received; what came compressed and waits is still to be read."""
        self._ended = True
        if self._inflater is None or self._inflater.is_empty:
            self._connection.receive_eof()

    def _use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def _resume_reading(self) -> None:
        if not self._reading and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._reading = True

    def _acknowledge_at_once(self) -> None:
        # The `+` we wait for follows another small segment. Servers that leave Nagle's algorithm on hold it back until
        # that one is acknowledged, and Linux acknowledges after 40 ms: for each message. Not sticky, hence each time.
        quick = getattr(socket, "TCP_QUICKACK", None)
        raw = self._transport.get_extra_info("socket") if self._transport is not None else None
        if quick is not None and raw is not None and raw.family != getattr(socket, "AF_UNIX", None):
            raw.setsockopt(socket.IPPROTO_TCP, quick, 1)

    def _give_up(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())


async def dial(endpoint: Endpoint, connection: Connection, timeout_s: float) -> Wire:
    """Connects within `timeout_s`, the TLS handshake included where it comes first.

    Raises UnreachableError, TlsError or RemoteProtocolError, each saying what is wrong.
    """
    loop = asyncio.get_running_loop()
    implicit = endpoint.security == "tls"
    context = tls_context(endpoint) if implicit else None
    try:
        async with asyncio.timeout(timeout_s):
            _, wire = await loop.create_connection(
                lambda: Wire(connection),
                endpoint.host,
                endpoint.port,
                ssl=context,
                server_hostname=endpoint.host if implicit else None,
                happy_eyeballs_delay=0.25,
            )
    except OSError as error:
        raise connect_failure(endpoint, error) from error
    return wire


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Trust in the system's authorities and the endpoint's own file. Raises TlsError when that cannot be read."""
    try:
        changed_ns = endpoint.ca_file.stat().st_mtime_ns if endpoint.ca_file is not None else 0
        return _tls_context(endpoint.ca_file, changed_ns)
    except OSError as error:
        raise certificates_failure(endpoint.ca_file, error) from error


@lru_cache(maxsize=16)
def _tls_context(ca_file: Path | None, _changed_ns: int) -> ssl.SSLContext:
    # Reading the system's authorities costs 20 ms of CPU; several sessions with one server share them.
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
