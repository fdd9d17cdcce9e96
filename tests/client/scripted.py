"""A server on loopback that plays a script, byte for byte, and checks that the client plays its part.

A script is a list: bytes are sent as they are, a str is a line that the client must send (without CRLF), `Hear` takes
raw bytes, the others are below. When the client does something else, the server hangs up and `scripted` raises.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mailtwin.client import Endpoint

PEM = Path(__file__).parent / "pem"
AUTHORITY = PEM / "authority.pem"


@dataclass(frozen=True)
class Hear:
    """The client must send exactly these bytes."""

    data: bytes


@dataclass(frozen=True)
class Drip:
    """Sends `data` in pieces of `size` bytes, with a pause after each."""

    data: bytes
    size: int
    pause_s: float = 0.0


@dataclass(frozen=True)
class Stall:
    """Says nothing, until the client hangs up."""


@dataclass(frozen=True)
class HangUp:
    """Closes the connection."""


@dataclass(frozen=True)
class StartTls:
    """The server's side of the handshake."""


Step: TypeAlias = bytes | str | Hear | Drip | Stall | HangUp | StartTls


def greeting(*capabilities: str) -> bytes:
    """Logged in already, with these capabilities: nothing stands between a test and its matter."""
    return f"* PREAUTH [CAPABILITY {' '.join(('IMAP4rev1', *capabilities))}] hi\r\n".encode()


def server_tls(certificate: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM / f"{certificate}.pem")
    return context


@asynccontextmanager
async def scripted(
    script: Sequence[Step],
    *,
    security: str = "plain",
    certificate: str = "localhost",
    trust: bool = True,
    whole: bool = True,
) -> AsyncIterator[Endpoint]:
    """Serves one client. With `whole`, the script must have been played to its end."""
    finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    wrong: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = 0
        try:
            for step in script:
                await asyncio.wait_for(_play(step, reader, writer, certificate), 10)
                done += 1
        except (AssertionError, TimeoutError) as error:
            wrong.append(f"step {done}: {error!r}")
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
            wrong.append(f"step {done}: the client left ({error!r})")
        finally:
            writer.transport.abort()
            if not finished.done():
                finished.set_result(done)

    context = server_tls(certificate) if security == "tls" else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Endpoint("127.0.0.1", port, security, AUTHORITY if trust else None)  # type: ignore[arg-type]
        if whole:
            played = await asyncio.wait_for(finished, 10)
            assert not wrong, wrong
            assert played == len(script)
    except BaseException as error:
        error.add_note(f"what the server has to say about it: {wrong}")
        raise
    finally:
        server.close()
        await server.wait_closed()


async def _play(
    step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, certificate: str
) -> None:
    match step:
        case bytes():
            writer.write(step)
            await writer.drain()
        case str():
            line = await reader.readline()
            assert line == step.encode() + b"\r\n", line
        case Hear(data):
            heard = await reader.readexactly(len(data))
            assert heard == data, heard[:200]
        case Drip(data, size, pause_s):
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                await asyncio.sleep(pause_s)
        case Stall():
            while await reader.read(65536):
                pass
        case HangUp():
            await writer.drain()
            writer.close()
        case StartTls():
            await writer.start_tls(server_tls(certificate))
