"""QRESYNC of the simulated server (RFC 7162 section 3.2), by a raw client and by our own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.testing.rawclient import HI, RawClient, World, data, world

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.imap import commands as c
from mailtwin.imap.responses import Fetch, Vanished
from mailtwin.model import UidSet
from mailtwin.testing.manners import PLAIN

QRESYNC = replace(PLAIN, extensions=PLAIN.extensions | {"QRESYNC"})
VALIDITY = 1700000001


async def enabled(made: World) -> RawClient:
    client = await made.login()
    assert (await client.command("ENABLE QRESYNC"))[0] == b"* ENABLED QRESYNC"
    return client


def change(made: World) -> int:
    """From the state that is returned on: 2 and 4 are gone, 3 is seen, 6 is new."""
    inbox = made.account["INBOX"]
    modseq = inbox.highest_modseq
    inbox.remove(4)
    inbox.remove(2)
    inbox.set_flags(3, ["\\Seen"])
    inbox.append(HI)
    return modseq


@pytest.mark.parametrize(
    ("known", "vanished"),
    [
        ("", b"2,4"),
        (" 1:5", b"2,4"),
        (" 1:3", b"2"),
        (" 1,3,5", None),
        (" 1:5 (1,3 1,3)", b"2,4"),
        (" 1:*", b"2,4"),
    ],
)
async def test_select_tells_what_happened_since(known: str, vanished: bytes | None) -> None:
    async with world(QRESYNC, bodies=[HI] * 5) as made:
        modseq = change(made)
        client = await enabled(made)
        answer = await client.command(f"SELECT INBOX (QRESYNC ({VALIDITY} {modseq}{known}))")
        told = [line for line in answer if line.startswith(b"* VANISHED")]
        assert told == ([] if vanished is None else [b"* VANISHED (EARLIER) " + vanished])
        fetched = data(answer, b"FETCH")
        assert [line.split(b" FLAGS")[0] for line in fetched] == [b"* 2 FETCH (UID 3", b"* 4 FETCH (UID 6"]
        assert all(b"MODSEQ (" in line for line in fetched)


async def test_another_numbering_is_told_nothing() -> None:
    async with world(QRESYNC, bodies=[HI] * 5) as made:
        modseq = change(made)
        client = await enabled(made)
        answer = await client.command(f"SELECT INBOX (QRESYNC (7 {modseq}))")
        assert not [line for line in answer if line.startswith(b"* VANISHED")] + data(answer, b"FETCH")
        made.account["INBOX"].renew(VALIDITY + 1000)
        answer = await client.command(f"SELECT INBOX (QRESYNC ({VALIDITY + 1000} 1))")
        assert not [line for line in answer if line.startswith(b"* VANISHED")]


async def test_fetch_tells_what_vanished_of_what_was_asked_for() -> None:
    async with world(QRESYNC, bodies=[HI] * 5) as made:
        client = await enabled(made)
        await client.command("SELECT INBOX")
        modseq = change(made)
        await client.command("NOOP")
        answer = await client.command(f"UID FETCH 1:3 (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
        assert answer[0] == b"* VANISHED (EARLIER) 2"
        assert len(data(answer, b"FETCH")) == 1
        assert b" BAD " in (await client.command(f"FETCH 1 (FLAGS) (CHANGEDSINCE {modseq} VANISHED)"))[-1]


async def test_vanished_takes_the_place_of_expunge() -> None:
    async with world(QRESYNC, bodies=[HI] * 5) as made:
        client, other = await enabled(made), await made.login("INBOX")
        await client.command("SELECT INBOX")
        change(made)
        assert (await client.command("NOOP"))[0] == b"* VANISHED 2,4"
        assert {b"* 4 EXPUNGE", b"* 2 EXPUNGE"} <= set(await other.command("NOOP"))
        await client.command("UID STORE 1,5 +FLAGS.SILENT (\\Deleted)")
        answer = await client.command("EXPUNGE")
        assert answer[0] == b"* VANISHED 1,5"
        assert answer[-1].startswith(b"T6 OK [HIGHESTMODSEQ ")
        await client.command("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
        assert (await client.command("UID EXPUNGE 3"))[0] == b"* VANISHED 3"


async def test_untagged_fetch_has_the_uid_and_a_mailbox_is_closed_by_another() -> None:
    async with world(QRESYNC, bodies=[HI] * 2) as made:
        client = await enabled(made)
        await client.command("SELECT INBOX")
        made.account["INBOX"].set_flags(2, ["\\Seen"])
        assert (await client.command("NOOP"))[0].startswith(
            b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Seen) MODSEQ ("
        )
        assert b"* OK [CLOSED] The other mailbox is closed" in await client.command("EXAMINE INBOX")


@pytest.mark.parametrize(
    "line", ["SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"]
)
async def test_it_has_to_be_enabled_first(line: str) -> None:
    async with world(QRESYNC, bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b" BAD " in (await client.command(line))[-1]
    async with world(PLAIN, bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert (await client.command("ENABLE QRESYNC"))[0] == b"* ENABLED"
        assert b" BAD " in (await client.command(line))[-1]


async def test_our_own_client_resynchronises() -> None:
    async with world(QRESYNC, bodies=[HI] * 5) as made:
        modseq = change(made)
        endpoint = Endpoint("127.0.0.1", made.server.port, "plain")
        session = await Session.open(endpoint, Credentials("alice", Secret("secret")))
        await session.run(c.Enable(("QRESYNC",)))
        result = await session.run(c.Select("INBOX", resync=c.Resync(VALIDITY, modseq)))
        assert result.complete
        vanished = [one.uids for one in result.responses if isinstance(one, Vanished)]
        assert vanished == [UidSet.of([2, 4])]
        assert [one.uid for one in result.responses if isinstance(one, Fetch)] == [3, 6]
        made.account["INBOX"].remove(1)
        await session.run(c.Noop())
        assert session.state.selected is not None
        assert session.state.selected.exists == 3
        await session.close()
