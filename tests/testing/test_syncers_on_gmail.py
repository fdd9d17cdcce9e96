"""The simulated Gmail from outside: mbsync and OfflineIMAP keep it in step; OfflineIMAP fails on it as it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.testing.rawclient import World, provided, world
from tests.testing.syncers import Mbsync, NearMaildir, OfflineImap, unmarked

from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simmail import SimAccount

ALL, SENT = "[Gmail]/All Mail", "[Gmail]/Sent Mail"
UNSHARED = (ALL, "[Gmail]/Important", "[Gmail]/Spam", "[Gmail]/Starred", "[Gmail]/Trash")
"""What repeats or hides messages of the other mailboxes."""


def body(number: int) -> bytes:
    header = b"Message-ID: <%d@x>\r\nDate: Mon, 5 Jan 2026 10:00:%02d +0000\r\n" % (number, number)
    return header + b"From: a@x\r\nSubject: %d\r\n\r\ntext %d\r\n" % (number, number)


def fill(account: SimAccount) -> None:
    """Five messages in INBOX, two of them in Work as well; others in a nested label and in Sent Mail."""
    for number in range(5):
        account["INBOX"].append(body(number), ["\\Seen"])
    work = account.create("Work")
    for uid in (1, 2):
        work.copy(account["INBOX"][uid])
    account.create("a/b").append(body(7))
    account[SENT].append(body(8))


def change(made: World, near: NearMaildir) -> None:
    """One message is new in the Maildir, one lost its label there, one was flagged on each side."""
    near.put("Work", body(9))
    near.find("INBOX", body(0)).unlink()
    flagged = near.find("INBOX", body(3))
    flagged.rename(flagged.with_name(flagged.name + "F"))
    made.account["INBOX"].set_flags(5, ["\\Flagged", "\\Seen"])


def in_step(made: World, near: NearMaildir) -> None:
    """Both hold the same, what is in All Mail is there once, and nothing was done to other labels."""
    account = made.account
    for name in ("INBOX", "Work", "a/b", SENT):
        assert near.bodies(name) == sorted(map(unmarked, account[name].bodies())), name
    assert Counter(map(unmarked, account[ALL].bodies())) == Counter(map(body, (0, 1, 2, 3, 4, 7, 8, 9)))
    assert sorted(map(unmarked, account["Work"].bodies())) == [body(0), body(1), body(9)]
    assert sorted(account["[Gmail]/Starred"].bodies()) == [body(3), body(4)]
    assert sum("F" in path.name.partition(":2,")[2] for path in near.files("INBOX")) == 2


async def test_mbsync(tmp_path: Path) -> None:
    async with provided(GMAIL) as made:
        fill(made.account)
        mbsync = Mbsync(made.server.port, tmp_path, f'* ![Gmail]* "{SENT}"')
        await mbsync.run()
        change(made, mbsync)
        mbsync.age()
        await mbsync.run()
        in_step(made, mbsync)
        before = made.server.counts.copy()
        await mbsync.run()
        assert not {"APPEND", "UID STORE", "EXPUNGE", "CREATE"} & set(made.server.counts - before)


async def test_offlineimap(tmp_path: Path) -> None:
    async with provided(GMAIL) as made:
        fill(made.account)
        offlineimap = OfflineImap(made.server.port, tmp_path, UNSHARED)
        assert (await offlineimap.run()).code == 0
        change(made, offlineimap)
        assert (await offlineimap.run()).code == 0
        in_step(made, offlineimap)
        before = made.server.counts.copy()
        assert (await offlineimap.run()).code == 0
        assert not {"APPEND", "UID STORE", "EXPUNGE", "CREATE"} & set(made.server.counts - before)


@pytest.mark.parametrize("announced", [True, False])
async def test_offlineimap_fails_where_uidplus_is_not_announced_and_new_mail_is_hidden(
    announced: bool, tmp_path: Path
) -> None:
    """It was "Backend could not find uid for message"; the next run gives the other account one more copy."""
    hidden = ("check_tells=no", "unannounced=" if announced else "unannounced=UIDPLUS")
    async with provided(GMAIL.switch(*hidden)) as gmail, world(bodies=[body(1)]) as other:
        offlineimap = OfflineImap(other.server.port, tmp_path, near_port=gmail.server.port)
        ended = [await offlineimap.run() for _ in range(2)]
        (stored,) = gmail.account["INBOX"].bodies()
        assert unmarked(stored) == body(1)
        assert gmail.server.counts["APPEND"] == (1 if announced else 2)
        complaint = "did not return a valid UID (got '0') for UID '1'"
        for one in ended:
            assert (complaint in one.said) is not announced, one.said
            assert one.code == (0 if announced else 1)
        assert len(other.account["INBOX"]) == (1 if announced else 2)
