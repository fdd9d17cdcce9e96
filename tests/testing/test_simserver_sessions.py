"""What one session of the simulated server learns of another's changes, and when (RFC 3501 sections 5.2 and 7.4.1)."""

from __future__ import annotations

from tests.testing.rawclient import HI, data, world

from mailtwin.testing.manners import GMAIL_MANNERS


async def test_exists_for_mail_of_others() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        other = await made.login()
        for expected in (2, 3):
            await other.command("APPEND INBOX", HI)
            assert data(await client.command("NOOP"), b"EXISTS") == [b"* %d EXISTS" % expected]


async def test_flags_of_others() -> None:
    async with world(bodies=[HI] * 2) as made:
        client = await made.login("INBOX")
        made.account["INBOX"].set_flags(2, ["\\Seen"])
        assert await client.command("NOOP") == [b"* 2 FETCH (FLAGS (\\Recent \\Seen))", b"T3 OK Nothing done"]
        assert await client.command("NOOP") == [b"T4 OK Nothing done"]


async def test_flags_of_others_with_modseq_once_condstore_is_in_use() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login()
        await client.command("SELECT INBOX (CONDSTORE)")
        made.account["INBOX"].set_flags(1, ["\\Seen"])
        assert b"* 1 FETCH (FLAGS (\\Recent \\Seen) MODSEQ (3))" in await client.command("NOOP")


async def test_no_expunge_while_sequence_numbers_are_in_use() -> None:
    async with world(bodies=[HI] * 3) as made:
        client = await made.login("INBOX")
        made.account["INBOX"].remove(1)
        answer = await client.command("FETCH 1:3 UID")
        assert answer[:-1] == [b"* 2 FETCH (UID 2)", b"* 3 FETCH (UID 3)"]
        assert b"NO [EXPUNGEISSUED]" in answer[-1]
        assert await client.command("STORE 2 +FLAGS.SILENT (\\Seen)") == [b"T4 OK Stored"]
        assert (await client.command("SEARCH ALL"))[0] == b"* SEARCH 2 3"
        assert await client.command("UID FETCH 2 UID") == [
            b"* 2 FETCH (UID 2)",
            b"* 1 EXPUNGE",
            b"T6 OK Fetched",
        ]
        assert await client.command("FETCH 1 UID") == [b"* 1 FETCH (UID 2)", b"T7 OK Fetched"]


async def test_expunges_count_down_as_they_are_told() -> None:
    async with world(bodies=[HI] * 5) as made:
        client = await made.login("INBOX")
        for uid in (4, 1, 5):
            made.account["INBOX"].remove(uid)
        made.account["INBOX"].append(HI)
        answer = await client.command("NOOP")
        assert answer[:4] == [b"* 4 EXPUNGE", b"* 1 EXPUNGE", b"* 3 EXPUNGE", b"* 3 EXISTS"]


async def test_mail_that_came_and_went_unseen_is_not_told() -> None:
    async with world() as made:
        client = await made.login("INBOX")
        made.account["INBOX"].remove(made.account["INBOX"].append(HI))
        assert await client.command("NOOP") == [b"T3 OK Nothing done"]
        made.account["INBOX"].append(HI)
        assert b"* 1 EXISTS" in await client.command("NOOP")


async def test_copies_by_sequence_number_are_all_or_nothing() -> None:
    async with world(bodies=[HI] * 2) as made:
        target = made.account.create("A")
        client = await made.login("INBOX")
        made.account["INBOX"].remove(1)
        assert b"NO [EXPUNGEISSUED]" in (await client.command("COPY 1:2 A"))[-1]
        assert len(target) == 0
        assert b" OK " in (await client.command("UID COPY 1:2 A"))[-1]
        assert len(target) == 1


async def test_idle_pushes() -> None:
    async with world(GMAIL_MANNERS, bodies=[HI] * 2) as made:
        client = await made.login("INBOX")
        client.send(b"a IDLE\r\n")
        assert (await client.response()).startswith(b"+")
        made.account["INBOX"].append(HI)
        assert [await client.response(), await client.response()] == [b"* 3 EXISTS", b"* 3 RECENT"]
        made.account["INBOX"].set_flags(2, ["\\Seen"])
        assert await client.response() == b"* 2 FETCH (FLAGS (\\Recent \\Seen))"
        made.account["INBOX"].remove(1)
        assert await client.response() == b"* 1 EXPUNGE"
        client.send(b"done\r\n")
        assert await client.response() == b"a OK Idled"
        assert b" OK" in (await client.command("NOOP"))[-1]


async def test_idle_ended_by_something_else() -> None:
    async with world() as made:
        client = await made.login("INBOX")
        client.send(b"a IDLE\r\n")
        await client.response()
        client.send(b"b NOOP\r\n")
        assert b"a BAD" in await client.response()


async def test_recent_goes_to_one_session() -> None:
    async with world(bodies=[HI]) as made:
        first = await made.login()
        assert b"* 1 RECENT" in await first.command("EXAMINE INBOX")
        assert b"* 1 RECENT" in await first.command("SELECT INBOX")
        assert b"* 0 RECENT" in await (await made.login()).command("SELECT INBOX")


async def test_a_client_that_hangs_up_leaves_no_trace() -> None:
    async with world() as made:
        client = await made.login("INBOX")
        await client.close()
        other = await made.login()
        await other.command("NOOP")
        assert made.account["INBOX"].listeners == []


async def test_the_server_ends_with_clients_connected_and_idling() -> None:
    async with world(bodies=[HI]) as made:
        clients = [await made.login("INBOX") for _ in range(3)]
        for client in clients:
            client.send(b"a IDLE\r\n")
            await client.response()
        await made.server.__aexit__(None, None, None)
        assert [await client.rest() for client in clients] == [b""] * 3


async def test_counts_and_transcript() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        await client.command("UID FETCH 1 UID")
        await client.command("APPEND INBOX", HI)
        assert made.server.counts == {"LOGIN": 1, "SELECT": 1, "UID FETCH": 1, "APPEND": 1}
        assert made.server.transcript[-1] == (1, b"T4 APPEND INBOX {42}")
        assert made.server.connections == 1
