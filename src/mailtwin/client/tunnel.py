"""A command as the connection: its standard input and output are the server, such as `ssh mail.example.org imapd`.

Two pipes and not a pair of sockets: there are servers that refuse to start on a socket, for fear of being open to all.
What the command writes to its standard error is kept, the end of it, for the error message. It is ended with the
connection: by the end of its input, then by SIGTERM, then by SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from typing import Any, Final

from mailtwin.client.endpoint import Timeouts, Tunnel
from mailtwin.client.transport import Wire
from mailtwin.errors import UnreachableError
from mailtwin.imap import Connection
from mailtwin.imap.quirks import text_of

WORDS_BYTES_MAX: Final = 4096
"""Of what the command says beside the protocol, the last."""

_KILL_S: Final = 1.0


class Command(asyncio.SubprocessProtocol):
    """The running command, as asyncio drives it."""

    def __init__(self) -> None:
        self.words = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        del fd  # Only its standard error is ours to read.
        self.words += data
        del self.words[:-WORDS_BYTES_MAX]

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def has_ended(self, within_s: float) -> bool:
        """Waits for its end."""
        await asyncio.wait([self.ended], timeout=within_s)
        return self.ended.done()


class Reading(asyncio.Protocol):
    """The command's output."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            room = self._wire.get_buffer(len(view))
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self._wire.buffer_updated(count)
            view = view[count:]

    def eof_received(self) -> None:
        self._wire.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.connection_lost(exc)


class Writing(asyncio.BaseProtocol):
    """The command's input. That it is closed shows at the output, too."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lost = asyncio.get_running_loop().create_future()

    def pause_writing(self) -> None:
        self._wire.pause_writing()

    def resume_writing(self) -> None:
        self._wire.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._wire.pause_writing()
        self.lost.set_result(None)


class Pipes(asyncio.Transport):
    """Two pipes as one transport, as far as a `Wire` needs it."""

    def __init__(self, reader: asyncio.ReadTransport, writer: asyncio.WriteTransport) -> None:
        super().__init__()
        self._reader = reader
        self._writer = writer

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._writer.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._writer.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        self._reader.pause_reading()

    def resume_reading(self) -> None:
        self._reader.resume_reading()

    def is_closing(self) -> bool:
        return self._reader.is_closing()

    def abort(self) -> None:
        self._reader.close()
        # Unlike that of a socket, a pipe's cannot be aborted twice.
        if not self._writer.is_closing():
            self._writer.abort()


class TunnelWire(Wire):
    """A connection to a command, which ends with it."""

    def __init__(self, connection: Connection, tunnel: Tunnel, patience_s: float) -> None:
        super().__init__(connection)
        self._tunnel = tunnel
        self._patience_s = patience_s
        self._command = Command()
        self._process: asyncio.SubprocessTransport | None = None
        self._writing = Writing(self)

    async def connect(self) -> None:
        """Starts the command. Raises UnreachableError when there is none of that name."""
        loop = asyncio.get_running_loop()
        # Each end is ours to close until a transport, or the command, has it.
        its_input, to_write = os.pipe()
        from_read, its_output = os.pipe()
        try:
            reader, _ = await loop.connect_read_pipe(lambda: Reading(self), os.fdopen(from_read, "rb", 0))
            writer, _ = await loop.connect_write_pipe(lambda: self._writing, os.fdopen(to_write, "wb", 0))
            self._use(Pipes(reader, writer))
            await self._start(its_input, its_output)
        finally:
            # The command has copies of its own: when it ends, we see the end.
            os.close(its_input)
            os.close(its_output)

    async def _start(self, stdin: int, stdout: int) -> None:
        try:
            self._process, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: self._command, *self._tunnel.argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise UnreachableError(
                f"{self._tunnel.host}: the tunnel's command {self._tunnel.argv[0]!r} could not be started: "
                f"{error.strerror or error}",
                hint="check its name and path",
            ) from error

    def remark(self) -> str:
        """The last line that the command said to people, or how it ended."""
        name = self._tunnel.argv[0]
        lines = bytes(self._command.words).split(b"\n")
        said = next((text_of(line) for line in reversed(lines) if line.strip()), "")
        if said:
            return f"{name} says: {said}"
        code = self._process.get_returncode() if self._process is not None else None
        return f"{name} ended with code {code}" if code else ""

    async def aborted(self) -> None:
        """Drops the connection and waits until the command is gone."""
        await super().aborted()
        process = self._process
        if self._transport is not None:
            await asyncio.shield(self._writing.lost)
        if process is None:
            return
        try:
            for signal in (None, process.terminate, process.kill):
                if await self._has_ended(signal):
                    return
        finally:
            # Also kills it, if we are cancelled while we wait.
            process.close()

    async def _has_ended(self, signal: Callable[[], None] | None) -> bool:
        if signal is None:
            return await self._command.has_ended(self._patience_s)
        try:
            signal()
        except ProcessLookupError:
            pass
        return await self._command.has_ended(_KILL_S)


async def dig(tunnel: Tunnel, connection: Connection, timeouts: Timeouts) -> Wire:
    """The connection through `tunnel`. Raises UnreachableError when its command cannot be started."""
    wire = TunnelWire(connection, tunnel, timeouts.close)
    connected = False
    try:
        await wire.connect()
        connected = True
    finally:
        if not connected:
            await wire.aborted()
    return wire
