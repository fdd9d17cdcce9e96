"""COMPRESS=DEFLATE: what is inflated, what is refused, and real servers that compress. Bombs: `test_threats.py`."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.scripted import Step, greeting, scripted
from tests.client.test_real_servers import endpoint, someone
from tests.client.workout import workout

from mailtwin.client import Credentials, Endpoint, Session, Timeouts
from mailtwin.client.deflate import PIECE_BYTES, RATIO_MAX, Deflater, Inflater
from mailtwin.errors import RemoteProtocolError, UnreachableError
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.testing.realservers import RealServer

NOBODY = Credentials("user")


def deflated(data: bytes, *, end: bool = False) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return stream.compress(data) + stream.flush(zlib.Z_FINISH if end else zlib.Z_SYNC_FLUSH)


def inflated(pieces: Sequence[bytes], inflater: Inflater | None = None) -> bytes:
    inflater = inflater or Inflater()
    out = bytearray()
    for piece in pieces:
        inflater.feed(piece)
        while not inflater.is_empty:
            taken = inflater.take()
            assert len(taken) <= PIECE_BYTES
            out += taken
    return bytes(out)


@given(st.binary(max_size=5000), st.integers(1, 400))
def test_however_it_is_cut(data: bytes, size: int) -> None:
    packed = deflated(data)
    assert inflated([packed[at : at + size] for at in range(0, len(packed), size)]) == data


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_both_ways(pieces: list[bytes]) -> None:
    deflater, inflater = Deflater(), Inflater()
    for piece in pieces:
        # Each can be read at once, without waiting for the next.
        assert inflated([deflater.deflate(piece)], inflater) == piece


def test_far_more_than_a_piece() -> None:
    data = random.Random(1).randbytes(50_000) * 20
    assert inflated([deflated(data)]) == data


def test_damaged() -> None:
    with pytest.raises(RemoteProtocolError, match="damaged"):
        inflated([b"\xff" * 100])


def test_the_end_of_the_stream_is_the_end() -> None:
    inflater = Inflater()
    assert inflated([deflated(b"* BYE\r\n", end=True) + b"whatever"], inflater) == b"* BYE\r\n"
    assert inflater.ended
    assert inflater.is_empty


def test_a_bomb_is_refused_and_what_is_honest_is_not() -> None:
    zeros = deflated(bytes(50_000_000))
    assert len(zeros) * RATIO_MAX < 50_000_000
    assert len(inflated([zeros])) == 50_000_000  # inside the allowance
    with pytest.raises(RemoteProtocolError, match="inflate to more than"):
        inflated([zeros], Inflater(allowance_bytes=1_000_000))
    at = Inflater(ratio_max=0, allowance_bytes=50_000_000)
    assert len(inflated([zeros], at)) == 50_000_000
    with pytest.raises(RemoteProtocolError):
        inflated([zeros], Inflater(ratio_max=0, allowance_bytes=49_999_999))


# --- a server that compresses ---

PLAY = "* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n"


@asynccontextmanager
async def compressing(
    answers: Sequence[tuple[str, bytes]], *, with_the_reply: bytes = b"", hang_up: bool = False
) -> AsyncIterator[Endpoint]:
    """Says OK to COMPRESS with `with_the_reply` (compressed) behind it; then hears each line and answers."""
    wrong: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inflate = zlib.decompressobj(wbits=-15)
        deflate = zlib.compressobj(wbits=-15)
        heard = b""
        writer.write(PLAY.encode())
        assert await reader.readline() == b"A1 COMPRESS DEFLATE\r\n"
        behind = (
            deflate.compress(with_the_reply) + deflate.flush(zlib.Z_SYNC_FLUSH) if with_the_reply else b""
        )
        writer.write(b"A1 OK\r\n" + behind)
        for line, answer in answers:
            while b"\r\n" not in heard and (data := await reader.read(1000)):
                heard += inflate.decompress(data)
            if heard != line.encode() + b"\r\n":
                wrong.append(f"{heard!r} and not {line!r}")
            heard = b""
            writer.write(deflate.compress(answer) + deflate.flush(zlib.Z_SYNC_FLUSH))
            await writer.drain()
        if not hang_up:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint("127.0.0.1", port, "plain", compress=True)
        assert not wrong, wrong
    finally:
        server.close()
        await server.wait_closed()


async def test_not_unless_asked_for() -> None:
    script: list[Step] = [greeting("COMPRESS=DEFLATE"), "A1 NOOP", b"A1 OK\r\n"]
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Noop())
        await session.abort()


@pytest.mark.parametrize(
    "script",
    [
        [greeting(), "A1 NOOP", b"A1 OK\r\n"],
        [
            greeting("COMPRESS=DEFLATE"),
            "A1 COMPRESS DEFLATE",
            b"A1 NO [COMPRESSIONACTIVE] x\r\n",
            "A2 NOOP",
            b"A2 OK\r\n",
        ],
        [greeting("COMPRESS=DEFLATE"), "A1 COMPRESS DEFLATE", b"A1 BAD x\r\n", "A2 NOOP", b"A2 OK\r\n"],
    ],
)
async def test_servers_that_do_not(script: list[Step]) -> None:
    async with scripted(script) as place:
        session = await Session.open(dataclasses.replace(place, compress=True), NOBODY)
        await session.run(c.Noop())
        await session.abort()


async def test_both_directions_and_what_came_with_the_reply() -> None:
    async with compressing(
        [("A2 NOOP", b"* CAPABILITY IMAP4rev1 X\r\nA2 OK done\r\n")], with_the_reply=b"* OK [ALERT] early\r\n"
    ) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Noop())
        assert session.has("X")
        assert list(session.state.alerts) == ["early"]
        await session.abort()


async def test_what_came_before_the_end_is_read() -> None:
    lines = b"".join(b'* LIST () "/" m%d\r\n' % number for number in range(100_000))
    async with compressing([('A2 LIST "" "*"', lines + b"A2 OK\r\n* BYE enough\r\n")], hang_up=True) as place:
        session = await Session.open(place, NOBODY)
        result = await session.run(c.List())
        assert len(result.responses) == 100_000
        with pytest.raises(UnreachableError, match="enough"):
            await session.run(c.Noop())
        await session.abort()


async def test_one_long_line_is_inflated_to_its_end() -> None:
    numbers = range(1_000_000, 1_200_000)
    line = b"* STATUS x (MESSAGES 1)\r\n* SEARCH " + " ".join(map(str, numbers)).encode() + b"\r\n"
    async with compressing(
        [('A2 SELECT "INBOX"', b"A2 OK\r\n"), ("A3 UID SEARCH ALL", line + b"A3 OK\r\n")]
    ) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Select("INBOX"))
        assert (await session.run(c.Search())).responses == (r.Search(tuple(numbers)),)
        await session.abort()


async def test_damage_is_an_error_of_the_server() -> None:
    script: list[Step] = [greeting("COMPRESS=DEFLATE"), "A1 COMPRESS DEFLATE", b"A1 OK\r\n" + b"\xff" * 40]
    async with scripted(script, whole=False) as place:
        session = await Session.open(
            dataclasses.replace(place, compress=True), NOBODY, timeouts=Timeouts(reply=5)
        )
        with pytest.raises(RemoteProtocolError, match="damaged"):
            await session.run(c.Noop())
        await session.abort()


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
@pytest.mark.parametrize("security", ["tls", "plain"])
async def test_a_working_day(kind: str, security: str, request: pytest.FixtureRequest) -> None:
    server: RealServer = request.getfixturevalue(kind)
    place = dataclasses.replace(endpoint(server, security), compress=True)  # type: ignore[arg-type]
    session = await Session.open(place, someone(server))
    assert session._wire._inflater is not None
    await workout(session)
    await session.close()
