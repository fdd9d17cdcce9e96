"""Each switch of the simulated providers, seen over the wire by a client of others (imaplib) and by our own."""

from __future__ import annotations

import asyncio
import contextlib
import imaplib
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.testing.switches import ROWS, Raw, Row, World

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.client.tap import Tapped
from mailtwin.errors import MailtwinError
from mailtwin.imap import commands as c
from mailtwin.testing.providers import PROVIDERS

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}={row.on[:20]}")
switched = pytest.mark.parametrize("on", [True, False], ids=["on", "off"])


def test_every_switch_has_a_row() -> None:
    switches = {switch.name for provider in PROVIDERS.values() for switch in provider.switches()}
    assert {row.name for row in ROWS} == switches


def judge(row: Row, heard: bytes, *, on: bool) -> None:
    found = re.search(row.mark, heard, re.DOTALL) is not None
    assert found is (on is not row.absent), heard.decode("utf-8", "replace")


# --- imaplib -----------------------------------------------------------------------------------------------------


class Recorded(imaplib.IMAP4):
    """imaplib, with all that it read in `heard`."""

    def __init__(self, port: int) -> None:
        self.heard = bytearray()
        super().__init__("127.0.0.1", port, timeout=1.5)

    def read(self, size: int) -> bytes:
        data = super().read(size)
        self.heard += data
        return data

    def readline(self) -> bytes:
        line = super().readline()
        self.heard += line
        return line

    def say(self, raw: Raw) -> None:
        """Send bytes as they are and read lines until what is waited for is there, or nothing comes."""
        self.send(raw.data)
        start = len(self.heard)
        with contextlib.suppress(TimeoutError):
            while not re.search(raw.until, self.heard[start:], re.DOTALL) and self.readline():
                pass


@contextmanager
def connected(row: Row, port: int) -> Iterator[list[Recorded]]:
    clients: list[Recorded] = []
    try:
        for _ in range(row.connections):
            clients.append(Recorded(port))
            log_in(row, clients[-1])
        yield clients
    finally:
        for client in clients:
            client.shutdown()


def log_in(row: Row, client: Recorded) -> None:
    # It takes text that ends in {90} for a literal and waits for more (`literal_lookalikes`).
    with contextlib.suppress(imaplib.IMAP4.error, TimeoutError):
        if row.by_token:
            client.authenticate("XOAUTH2", lambda _: b"user=alice\x01auth=Bearer token-1\x01\x01")
        else:
            client.login("alice", "secret")
    if client.state == "AUTH" and row.select:
        with contextlib.suppress(imaplib.IMAP4.error):
            client.select()


def use_imaplib(row: Row, world: World, loop: asyncio.AbstractEventLoop) -> bytes:
    async def happen(line: object) -> None:
        assert callable(line)
        line(world)

    with connected(row, world.server.port) as clients:
        client = clients[0]
        for line in row.lines:
            if isinstance(line, Raw):
                client.say(line)
                continue
            if not isinstance(line, str | tuple):
                asyncio.run_coroutine_threadsafe(happen(line), loop).result(5)
                continue
            text, literal = line if isinstance(line, tuple) else (line, None)
            verb, _, rest = text.partition(" ")
            setattr(client, "literal", literal)  # noqa: B010 - typed as text, and sent as bytes
            with contextlib.suppress(imaplib.IMAP4.error):
                client.xatom(verb, *([rest] if rest else []))
        return b"".join(bytes(one.heard) for one in clients)


@rows
@switched
async def test_seen_by_imaplib(row: Row, on: bool) -> None:
    world = World(row.provider(on=on))
    async with world.server:
        heard = await asyncio.to_thread(use_imaplib, row, world, asyncio.get_running_loop())
    judge(row, heard, on=on)


# --- our own client ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.ours], ids=lambda row: f"{row.name}={row.on[:20]}"
)
@switched
async def test_seen_by_our_own_client(row: Row, on: bool) -> None:
    world, heard = World(row.provider(on=on)), bytearray()
    async with world.server:
        becomes = await use_ours(row, world, heard)
    judge(row, bytes(heard), on=on)
    if on:
        assert becomes == row.becomes, heard.decode("utf-8", "replace")


async def use_ours(row: Row, world: World, heard: bytearray) -> str:
    """What the last command ends with: its status, or the class of the error."""
    credentials = Credentials("alice", Secret("token-1" if row.by_token else "secret"))
    if row.by_token:
        credentials = Credentials("alice", Secret("token-1"), "xoauth2")
    endpoint = Endpoint("127.0.0.1", world.server.port, "plain")
    sessions: list[Session] = []
    try:
        for _ in range(row.connections):
            tapped = Tapped(heard=heard.extend, said=lambda _: None)
            sessions.append(await Session.open(endpoint, credentials, connection=tapped))
        return await converse(row, world, sessions[0])
    except MailtwinError as error:
        return type(error).__name__
    finally:
        for session in sessions:
            await session.abort()


async def converse(row: Row, world: World, session: Session) -> str:
    if row.select:
        await session.run(c.Select("INBOX"))
    becomes = ""
    for act in row.ours:
        if not isinstance(act, c.Command):
            act(world)
            continue
        (result,) = await session.run_all([act])
        if result.lost is not None:
            return type(result.lost).__name__
        assert result.status is not None
        becomes = result.status.word + (" pause" if result.is_pause else "")
    return becomes
