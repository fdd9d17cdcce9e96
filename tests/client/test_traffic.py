"""The bytes that a connection carried, counted as they went over it."""

from __future__ import annotations

import zlib
from contextlib import aclosing
from dataclasses import replace

from tests.client.scripted import Hear, Step, greeting, scripted

from mailtwin.client import Credentials, Session, Timeouts
from mailtwin.imap import commands as c
from mailtwin.model import UidSet
from mailtwin.model.traffic import Traffic

BODY = bytes(range(256)) * 4096


async def test_all_bytes_of_both_directions_are_counted(credentials: Credentials, timeouts: Timeouts) -> None:
    head, selected = greeting(), b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\nA1 OK in\r\n"
    fetched = b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%b)\r\nA2 OK done\r\n" % (len(BODY), BODY)
    select, fetch = 'A1 SELECT "INBOX"', "A2 UID FETCH 1 (BODY.PEEK[])"
    async with scripted([head, select, selected, fetch, fetched]) as endpoint:
        session = await Session.open(endpoint, credentials, timeouts=timeouts)
        assert session.traffic == Traffic(len(head), 0)
        await session.run(c.Select("INBOX"))
        assert session.traffic == Traffic(len(head + selected), len(select) + 2)
        command = c.Fetch(UidSet.of([1]), ("BODY.PEEK[]",))
        async with aclosing(session.stream(command)) as answers:
            async for _ in answers:
                pass
        all_of_it = Traffic(len(head + selected + fetched), len(select) + 2 + len(fetch) + 2)
        assert session.traffic == all_of_it
        await session.abort()
        assert session.traffic == all_of_it, "what was counted stays after the end"


async def test_what_is_compressed_counts_as_it_travels(credentials: Credentials, timeouts: Timeouts) -> None:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    told = b"* OK " + b"so much of the same " * 1000 + b"\r\nA2 OK done\r\n"
    squeezed = deflate.compress(told) + deflate.flush(zlib.Z_SYNC_FLUSH)
    ours = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    question = ours.compress(b"A2 NOOP\r\n") + ours.flush(zlib.Z_SYNC_FLUSH)
    head = greeting("COMPRESS=DEFLATE")
    agreed = b"A1 OK go\r\n"
    script: list[Step] = [head, "A1 COMPRESS DEFLATE", agreed, Hear(question), squeezed]
    async with scripted(script) as endpoint:
        session = await Session.open(replace(endpoint, compress=True), credentials, timeouts=timeouts)
        await session.run(c.Noop())
        sent = len(b"A1 COMPRESS DEFLATE\r\n") + len(question)
        assert session.traffic == Traffic(len(head + agreed + squeezed), sent)
        assert len(squeezed) < len(told) / 10
        await session.abort()
