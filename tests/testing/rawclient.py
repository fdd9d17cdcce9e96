"""A client that shows what is on the wire: it sends bytes, and splits what comes into responses, nothing more."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from mailtwin.testing.manners import PLAIN, Manners
from mailtwin.testing.providers import Provider
from mailtwin.testing.simfaults import Fault
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
HI = b"Subject: hi\r\nMessage-ID: <hi@x>\r\n\r\nhello\r\n"


class RawClient:
    """One connection. Responses are given as bytes without the last CRLF, literals in place."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._tags = 0

    async def response(self) -> bytes:
        """The next response; `b""` at the end of the stream."""
        response = await self.reader.readline()
        while match := LITERAL.search(response):
            if response.endswith(b"{90}\r\n"):
                break  # the look-alike in human text
            response += await self.reader.readexactly(int(match[1])) + await self.reader.readline()
        return response.removesuffix(b"\r\n")

    async def rest(self) -> bytes:
        """All bytes until the server hangs up."""
        return await self.reader.read()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def command(self, *parts: bytes | str) -> list[bytes]:
        """Send a command; each part after the first is a synchronising literal. Return all its responses."""
        self._tags += 1
        tag = b"T%d" % self._tags
        line = tag + b" " + _bytes(parts[0])
        responses: list[bytes] = []
        for literal in map(_bytes, parts[1:]):
            self.send(line + b" {%d}\r\n" % len(literal))
            while not (response := await self.response()).startswith(b"+"):
                responses.append(response)
                if response.startswith(tag) or not response:
                    return responses
            responses.append(response)
            line = literal
        self.send(line + b"\r\n")
        while not responses or (responses[-1] and not responses[-1].startswith(tag + b" ")):
            responses.append(await self.response())
        return responses

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


def _bytes(part: bytes | str) -> bytes:
    return part.encode() if isinstance(part, str) else part


class World:
    """A running server with one account, `alice`, and clients that are closed at the end."""

    def __init__(self, server: SimServer, account: SimAccount) -> None:
        self.server = server
        self.account = account
        self._clients: list[RawClient] = []

    @property
    def inbox(self) -> list[int]:
        return self.account["INBOX"].uids()

    async def connect(self, context: ssl.SSLContext | None = None) -> RawClient:
        """A connection before login, greeting unread."""
        name = "localhost" if context else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, ssl=context, server_hostname=name, limit=1 << 24
        )
        client = RawClient(reader, writer)
        self._clients.append(client)
        return client

    async def login(self, mailbox: str | None = None) -> RawClient:
        """A connection after login, and after SELECT when a mailbox is given."""
        client = await self.connect()
        await client.response()
        assert b" OK" in (await client.command("LOGIN alice secret"))[-1]
        if mailbox:
            assert b" OK" in (await client.command(f'SELECT "{mailbox}"'))[-1]
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def world(
    manners: Manners = PLAIN,
    bodies: Iterable[bytes] = (),
    faults: Iterable[Fault] = (),
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
) -> AsyncIterator[World]:
    """A server with these manners, and these messages in alice's INBOX."""
    mail = SimMail()
    account = mail.add_account("alice", "secret", "token-1")
    for body in bodies:
        account["INBOX"].append(body)
    async with SimServer(mail, manners, faults=faults, tls=tls, starttls=starttls) as server:
        made = World(server, account)
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def provided(provider: Provider, bodies: Iterable[bytes] = ()) -> AsyncIterator[World]:
    """A server of this provider, and these messages in alice's INBOX."""
    mail = SimMail()
    account = provider.add_account(mail, "alice", "secret", "token-1")
    for body in bodies:
        account["INBOX"].append(body)
    async with provider.server(mail) as server:
        made = World(server, account)
        try:
            yield made
        finally:
            await made.close()


def data(responses: list[bytes], word: bytes) -> list[bytes]:
    """The untagged responses of this kind: `EXISTS`, `FETCH`, `SEARCH` ..."""
    return [line for line in responses if re.match(rb"\* (\d+ )?" + word + rb"\b", line)]
