"""The simulated server against clients written by others: imaplib, IMAPClient and mbsync.

They find what a server and its own tests agree on and both have wrong.
"""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imapclient import IMAPClient
from tests.testing.rawclient import HI, World, world
from tests.testing.syncers import Mbsync, unmarked

from mailtwin.testing.corpus import messages
from mailtwin.testing.manners import BARE, CHATTY, GMAIL_MANNERS, PLAIN, SILENT_APPEND, Manners

# imaplib takes text that ends in {90} for a literal and waits for 90 octets, so it cannot be tried with look-alikes.
PROFILES = {
    "plain": PLAIN,
    "bare": BARE,
    "gmail-manners": GMAIL_MANNERS,
    "silent-append": SILENT_APPEND,
    "chatty": replace(CHATTY, literal_lookalikes=False),
}
every_profile = pytest.mark.parametrize("manners", PROFILES.values(), ids=PROFILES.keys())
CORPUS = list(messages(seed=3, count=60))


@every_profile
async def test_imaplib(manners: Manners) -> None:
    async with world(manners, bodies=[HI]) as made:
        await asyncio.to_thread(_use_imaplib, made.server.port)
        assert [message.body for message in made.account["INBOX"]] == [b"Subject: x\r\n\r\nnew\r\n"]
        assert made.account["INBOX"][2].flags >= {"\\Flagged", "\\Answered"}
        assert "Work/2026" in made.account or "2026" in made.account


def _use_imaplib(port: int) -> None:
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login("alice", "secret")
        dotted = b'"." "INBOX"' in str(client.list()[1]).encode()
        assert client.create("INBOX.2026" if dotted else "Work/2026")[0] == "OK"
        assert client.select()[1] == [b"1"] or client.untagged_responses["EXISTS"][-1] == b"1"
        assert client.append("INBOX", "(\\Flagged)", "", b"Subject: x\r\n\r\nnew\r\n")[0] == "OK"
        client.noop()
        assert client.uid("SEARCH", "SUBJECT", "x")[1] == [b"2"]
        fetched = client.uid("FETCH", "2", "(UID RFC822.SIZE BODY.PEEK[])")[1]
        assert b"Subject: x\r\n\r\nnew\r\n" in [item[1] for item in fetched if isinstance(item, tuple)]
        client.uid("STORE", "2", "+FLAGS", "(\\Answered)")
        client.store("1", "+FLAGS", "(\\Deleted)")
        assert client.expunge()[1][-1] == b"1"


@every_profile
async def test_imapclient(manners: Manners) -> None:
    async with world(manners) as made:
        for message in CORPUS:
            made.account["INBOX"].append(message.body, message.flags, message.date)
        await asyncio.to_thread(_use_imapclient, made.server.port)
        assert made.account["INBOX"][61].body == HI


def _use_imapclient(port: int) -> None:
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("alice", "secret")
        names = [name for _, _, name in client.list_folders()]
        assert names == ["INBOX"]
        assert client.select_folder("INBOX")[b"EXISTS"] == 60
        uids = client.search()
        assert uids == list(range(1, 61))
        fetched = client.fetch(uids, ["BODY.PEEK[]", "FLAGS", "INTERNALDATE", "RFC822.SIZE"])
        for uid, message in zip(uids, CORPUS, strict=True):
            assert fetched[uid][b"BODY[]"] == message.body
            assert {flag.decode() for flag in fetched[uid][b"FLAGS"]} - {"\\Recent"} == message.flags
            assert fetched[uid][b"RFC822.SIZE"] == len(message.body)
            assert fetched[uid][b"INTERNALDATE"].astimezone(UTC) == message.date.astimezone(UTC)
        client.append("INBOX", HI, ["\\Seen"], datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC))
        client.noop()
        assert client.search(["HEADER", "Message-ID", "<hi@x>"]) == [61]
        client.set_flags([61], [b"\\Flagged"])
        client.copy([61], "INBOX")
        client.delete_messages([1])
        client.expunge()
        assert client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] == 61


async def test_imapclient_idles() -> None:
    async with world(bodies=[HI]) as made:
        loop = asyncio.get_running_loop()

        def deliver() -> None:
            loop.call_soon_threadsafe(made.account["INBOX"].append, HI)

        assert (2, b"EXISTS") in await asyncio.to_thread(_idle, made.server.port, deliver)


def _idle(port: int, deliver: Callable[[], None]) -> list[tuple[int, bytes]]:
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("alice", "secret")
        client.select_folder("INBOX")
        client.idle()
        deliver()
        pushed: list[tuple[int, bytes]] = client.idle_check(timeout=10)
        client.idle_done()
        return pushed


# --- mbsync ------------------------------------------------------------------------------------------------------


def fill(made: World) -> None:
    for message in CORPUS:
        made.account["INBOX"].append(message.body, message.flags, message.date)
    made.account.create("Grüße").append(HI)


# mbsync 1.4 gives up at a FETCH response that it did not ask for ("extraneous data"), so `chatty` is not for it.
@pytest.mark.parametrize("name", ["plain", "bare", "gmail-manners", "silent-append"])
async def test_mbsync_pulls(name: str, tmp_path: Path) -> None:
    async with world(PROFILES[name]) as made:
        fill(made)
        mbsync = Mbsync(made.server.port, tmp_path)
        await mbsync.run()
        assert mbsync.bodies("INBOX") == sorted(made.account["INBOX"].bodies())
        # mbsync leaves names in modified UTF-7; BARE has a prefix before them, which it takes for a level.
        assert len(list(mbsync.maildir.glob("**/*Gr&APwA3w-e/cur"))) == 1


# Without APPENDUID, mbsync 1.4 looks for its copies and then refuses the answer to its own question, so only with it.
@pytest.mark.parametrize("manners", [PLAIN, GMAIL_MANNERS, replace(BARE, append_uid=True)])
async def test_mbsync_pushes(manners: Manners, tmp_path: Path) -> None:
    async with world(manners) as made:
        fill(made)
        inbox = made.account["INBOX"]
        mbsync = Mbsync(made.server.port, tmp_path)
        await mbsync.run()
        mbsync.put("INBOX", HI)
        mbsync.find("INBOX", CORPUS[9].body).unlink()
        inbox.set_flags(5, ["\\Flagged"])
        mbsync.age()
        await mbsync.run()
        assert inbox.uids() == [uid for uid in range(1, 62) if uid != 10]
        assert unmarked(inbox[61].body) == HI
        assert sum(path.name.endswith(":2,F") for path in mbsync.files("INBOX")) == 1 + sum(
            message.flags == {"\\Flagged"} for message in CORPUS if message is not CORPUS[4]
        )

        before = made.server.counts.copy()
        await mbsync.run()
        done = made.server.counts - before
        assert not {"APPEND", "UID STORE", "EXPUNGE", "CREATE"} & set(done)
