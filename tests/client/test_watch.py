"""Waiting for changes: IDLE that is renewed, NOOP where there is no IDLE, NOTIFY and what it could not tell."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from tests.client.scripted import Stall, Step, greeting, scripted
from tests.client.test_real_servers import endpoint, someone

from mailtwin.client import Credentials, Endpoint, Refused, Session, Timeouts
from mailtwin.client.watch import Gap, changes, notifications
from mailtwin.errors import ThrottledError, UnreachableError
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.commands.notify import Watch
from mailtwin.testing.realservers import RealServer

NOBODY = Credentials("user")
SELECT: list[Step] = ['A1 SELECT "INBOX"', b"* 3 EXISTS\r\nA1 OK in\r\n"]
PERSONAL = Watch("personal", ("MessageNew", "MessageExpunge"))
NOTIFY = "A1 NOTIFY SET STATUS (personal (MessageNew MessageExpunge))"


@asynccontextmanager
async def playing(script: list[Step]) -> AsyncIterator[Session]:
    """A session with a server that plays `script`, whose last line is a NOOP that shows the session to be whole."""
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY)
        yield session
        await session.run(c.Noop())
        await session.abort()


async def heard(
    session: Session,
    news: AsyncGenerator[object, None],
    *,
    until: object | None = None,
    patience_s: float = 5,
) -> list[object]:
    """What `news` tells, up to its end, or up to `until`, where it is stopped."""
    told: list[object] = []
    async with asyncio.timeout(patience_s), aclosing(news):
        async for one in news:
            told.append(one)
            if one == until:
                session.stop_idle()
    return told


async def test_idle_is_renewed_and_nothing_is_missed() -> None:
    script: list[Step] = [
        greeting("IDLE"),
        *SELECT,
        "A2 IDLE",
        b"+\r\n* 4 EXISTS\r\n",
        "DONE",
        b"* 5 EXISTS\r\nA2 OK\r\n* 6 EXISTS\r\n",
        "A3 IDLE",
        b"* 7 EXISTS\r\n+\r\n",
        "DONE",
        b"A3 OK\r\n",
        "A4 IDLE",
        b"+\r\n* 8 EXISTS\r\n",
        "DONE",
        b"A4 OK\r\n",
        "A5 NOOP",
        b"A5 OK\r\n",
    ]
    async with playing(script) as session:
        await session.run(c.Select("INBOX"))
        told = await heard(session, changes(session, renew_s=0.05), until=r.Exists(8))
        assert told == [r.Exists(count) for count in range(4, 9)]


def test_it_is_renewed_before_any_server_was_seen_to_give_up() -> None:
    """Yahoo ends the session after 300 seconds, most servers after 30 minutes (RFC 2177)."""
    waits = (Session.idle, Session.listen, changes, notifications)
    pauses = [
        parameter.default
        for call in waits
        for name, parameter in inspect.signature(call).parameters.items()
        if name.endswith("_s")
    ]
    assert len(pauses) > len(waits)
    assert max(pauses) <= 285


async def test_a_server_that_ends_idle_by_itself_is_not_asked_for_ever() -> None:
    async with scripted([greeting("IDLE"), *SELECT, "A2 IDLE", b"+\r\nA2 OK enough\r\n", Stall()]) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Select("INBOX"))
        assert await heard(session, changes(session)) == []
        await session.abort()


async def test_without_idle() -> None:
    script: list[Step] = [
        greeting(),
        *SELECT,
        b"* 7 EXISTS\r\n",
        "A2 NOOP",
        b"* 5 EXISTS\r\nA2 OK\r\n",
        "A3 NOOP",
        b"* 1 EXPUNGE\r\nA3 OK\r\n* 4 EXISTS\r\n",
        Stall(),
    ]
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Select("INBOX"))
        told = await heard(session, changes(session, poll_s=0.05), until=r.Exists(4))
        assert r.Exists(5) in told
        await session.abort()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"A2 NO no\r\n", Refused),
        (b"A2 NO [LIMIT] slower\r\n", ThrottledError),
        (b"* BYE Session expired\r\n", UnreachableError),
    ],
)
async def test_a_refusal_ends_the_watch(answer: bytes, error: type[Exception]) -> None:
    async with scripted([greeting(), *SELECT, "A2 NOOP", answer, Stall()], whole=False) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Select("INBOX"))
        with pytest.raises(error):
            await heard(session, changes(session, poll_s=0.01))
        await session.abort()


async def test_a_dead_line_is_found_out() -> None:
    async with scripted([greeting(), *SELECT, "A2 NOOP", Stall()]) as place:
        session = await Session.open(place, NOBODY, timeouts=Timeouts(reply=0.1))
        await session.run(c.Select("INBOX"))
        with pytest.raises(UnreachableError, match="no answer to NOOP"):
            await heard(session, changes(session, poll_s=0.01))


async def test_notify() -> None:
    script: list[Step] = [
        greeting("NOTIFY"),
        NOTIFY,
        b"* STATUS a (MESSAGES 1)\r\n* STATUS b (MESSAGES 2)\r\nA1 OK\r\n* STATUS a (MESSAGES 3)\r\n",
        "A2 NOOP",
        b'* LIST () "/" new\r\n* STATUS b (MESSAGES 4)\r\nA2 OK\r\n',
        b"* STATUS b (MESSAGES 5)\r\n",
        Stall(),
    ]
    last = r.MailboxStatus(b"b", {"MESSAGES": 5})
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY)
        told = await heard(session, notifications(session, [PERSONAL], renew_s=0.05), until=last)
        counts = [(one.name, one.items["MESSAGES"]) for one in told if isinstance(one, r.MailboxStatus)]
        assert counts == [(b"a", 1), (b"b", 2), (b"a", 3), (b"b", 4), (b"b", 5)]
        assert any(isinstance(one, r.ListItem) for one in told)
        await session.abort()


async def test_a_talkative_server_hears_from_us_in_time() -> None:
    """What would end the session is our silence, not the server's."""
    asked: list[bytes] = []

    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting("NOTIFY"))
        assert await reader.readline() == NOTIFY.encode() + b"\r\n"
        writer.write(b"A1 OK\r\n")
        line = asyncio.create_task(reader.readline())
        for _ in range(100):
            writer.write(b"* STATUS a (MESSAGES 3)\r\n")
            await asyncio.wait([line], timeout=0.02)
            if line.done():
                asked.append(line.result())
                break
        line.cancel()
        writer.write(b"* STATUS a (MESSAGES 4)\r\n" + b"A2 OK\r\n" * len(asked))
        writer.close()

    async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
        place = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plain")
        session = await Session.open(place, NOBODY)
        last = r.MailboxStatus(b"a", {"MESSAGES": 4})
        await heard(session, notifications(session, [PERSONAL], renew_s=0.1), until=last)
        await session.abort()
    assert asked == [b"A2 NOOP\r\n"]


SELECTED = Watch("selected", ("MessageNew", "MessageExpunge"))
BOTH = "A2 NOTIFY SET STATUS (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))"


async def test_notify_in_a_selected_mailbox_waits_in_idle() -> None:
    script: list[Step] = [
        greeting("NOTIFY", "IDLE"),
        *SELECT,
        BOTH,
        b"A2 OK\r\n* STATUS a (MESSAGES 3)\r\n",
        "A3 IDLE",
        b"+\r\n* 4 EXISTS\r\n* STATUS a (MESSAGES 4)\r\n",
        "DONE",
        b'* LIST () "/" new\r\nA3 OK\r\n* 5 EXISTS\r\n',
        "A4 IDLE",
        b"+\r\n* 6 EXISTS\r\n",
        "DONE",
        b"A4 OK\r\n",
    ]
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY)
        await session.run(c.Select("INBOX"))
        news = notifications(session, [SELECTED, PERSONAL], renew_s=0.05)
        told = await heard(session, news, until=r.Exists(6))
        assert [one for one in told if not isinstance(one, r.ListItem)] == [
            r.MailboxStatus(b"a", {"MESSAGES": 3}),
            r.Exists(4),
            r.MailboxStatus(b"a", {"MESSAGES": 4}),
            r.Exists(5),
            r.Exists(6),
        ]
        assert len(told) == 6
        await session.abort()


async def test_what_a_server_could_not_tell_in_idle() -> None:
    script: list[Step] = [
        greeting("NOTIFY", "IDLE"),
        *SELECT,
        BOTH,
        b"A2 OK\r\n",
        "A3 IDLE",
        b"+\r\n* 4 EXISTS\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n* 9 EXISTS\r\n",
        "DONE",
        b"* 10 EXISTS\r\nA3 OK\r\n",
        "A4 NOOP",
        b"A4 OK\r\n",
    ]
    async with playing(script) as session:
        await session.run(c.Select("INBOX"))
        assert await heard(session, notifications(session, [SELECTED, PERSONAL])) == [
            r.Exists(4),
            Gap.OVERFLOW,
        ]


async def test_what_was_said_before_idle_is_told() -> None:
    """Mail that comes between SELECT and IDLE: nobody would tell of it again."""
    script: list[Step] = [
        greeting("IDLE"),
        'A1 SELECT "INBOX"',
        b"* 3 EXISTS\r\nA1 OK in\r\n* 4 EXISTS\r\n",
        "A2 NOOP",
        b"A2 OK\r\n",
    ]
    async with playing(script) as session:
        await session.run(c.Select("INBOX"))
        assert await heard(session, changes(session), until=r.Exists(4)) == [r.Exists(4)]


async def test_what_a_server_could_not_tell() -> None:
    script: list[Step] = [
        greeting("NOTIFY"),
        NOTIFY,
        b"A1 OK\r\n* STATUS a (MESSAGES 3)\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n* STATUS a (MESSAGES 9)\r\n",
        "A2 NOOP",
        b"A2 OK\r\n",
    ]
    async with playing(script) as session:
        told = await heard(session, notifications(session, [PERSONAL]))
        assert told == [r.MailboxStatus(b"a", {"MESSAGES": 3}), Gap.OVERFLOW]
        assert session.is_open


async def test_a_server_that_gives_up_before_it_says_ok() -> None:
    script: list[Step] = [
        greeting("NOTIFY"),
        NOTIFY,
        b"* STATUS a (MESSAGES 3)\r\n* OK [NOTIFICATIONOVERFLOW] too many mailboxes\r\nA1 OK\r\n",
        "A2 NOOP",
        b"A2 OK\r\n",
    ]
    async with playing(script) as session:
        told = await heard(session, notifications(session, [PERSONAL]))
        assert told == [r.MailboxStatus(b"a", {"MESSAGES": 3}), Gap.OVERFLOW]


async def test_notify_refused() -> None:
    answer = b"A1 NO [BADEVENT (MessageNew)] no\r\n"
    async with playing([greeting(), NOTIFY, answer, "A2 NOOP", b"A2 OK\r\n"]) as session:
        with pytest.raises(Refused):
            await heard(session, notifications(session, [PERSONAL]))


# --- the real servers ---


async def test_new_mail_is_told(imap_server: RealServer) -> None:
    who = someone(imap_server)
    watching = await Session.open(endpoint(imap_server), who)
    writing = await Session.open(endpoint(imap_server), who)
    await watching.run(c.Select("INBOX"))
    async with asyncio.TaskGroup() as group:
        told = group.create_task(
            heard(watching, changes(watching, renew_s=0.7), until=r.Exists(1), patience_s=30)
        )
        await asyncio.sleep(1.0)
        assert (await writing.run(c.Append.of("INBOX", b"Subject: new\r\n\r\n"))).ok
    assert r.Exists(1) in told.result()
    await watching.close()
    await writing.close()


async def test_notify_tells_of_the_selected_mailbox_and_of_others(dovecot: RealServer) -> None:
    who = someone(dovecot)
    watching = await Session.open(endpoint(dovecot), who)
    writing = await Session.open(endpoint(dovecot), who)
    await writing.run(c.Create("other"))
    await watching.run(c.Select("INBOX"))
    told: list[object] = []

    async def watch() -> None:
        async with asyncio.timeout(30), aclosing(notifications(watching, [SELECTED, PERSONAL])) as news:
            async for one in news:
                told.append(one)
                others = [it for it in told if isinstance(it, r.MailboxStatus) and it.items.get("MESSAGES")]
                if r.Exists(1) in told and others:
                    watching.stop_idle()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await asyncio.sleep(0.5)
        for name in ("INBOX", "other"):
            assert (await writing.run(c.Append.of(name, b"Subject: new\r\n\r\n"))).ok
    await watching.run(c.Noop())
    await watching.close()
    await writing.close()


async def test_notify_tells_of_mailboxes_that_are_not_selected(dovecot: RealServer) -> None:
    who = someone(dovecot)
    watching = await Session.open(endpoint(dovecot), who)
    writing = await Session.open(endpoint(dovecot), who)
    assert watching.has("NOTIFY")
    await writing.run(c.Create("other"))
    told: list[object] = []

    async def watch() -> None:
        async with asyncio.timeout(30), aclosing(notifications(watching, [PERSONAL])) as news:
            async for one in news:
                told.append(one)
                if isinstance(one, r.MailboxStatus) and one.name == b"other" and one.items.get("MESSAGES"):
                    watching.stop_idle()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await asyncio.sleep(0.5)
        assert (await writing.run(c.Append.of("other", b"Subject: new\r\n\r\n"))).ok
    assert told
    await watching.close()
    await writing.close()
