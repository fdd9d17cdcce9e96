"""`mailtwin verify` from outside: what it prints, returns, reads and leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.cli.running import Program, account, contents, serving

from mailtwin.errors import ExitCode
from mailtwin.testing.manners import GMAIL_MANNERS
from mailtwin.testing.simfaults import When, cut

MAILBOXES = ("INBOX", "Sent", "Archive/2024")


def files(program: Program, mailbox: str = "") -> list[Path]:
    """The message files of a mailbox."""
    root = program.home / "Mail" / mailbox
    return sorted(path for part in ("cur", "new") for path in (root / part).iterdir())


def rotten(data: bytes) -> bytes:
    """The message with another bit near its end."""
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


async def test_twins_are_identical_and_stay_unread(program: Program) -> None:
    mail, found = account(10, mailboxes=MAILBOXES)
    before = contents(found)
    async with serving(mail) as (server, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        first = await program.run("verify", *pair)
        assert (first.code, first.out.count("\n")) == (ExitCode.OK, 1), first.out
        assert first.out.startswith("identical: 30 messages in 3 mailboxes the same on both sides, 60 read (")
        fetched = server.counts["UID FETCH"]
        again = await program.run("verify", "--quiet", *pair)
        assert (again.code, again.out, again.err) == (ExitCode.OK, "", "")
        # In each mailbox: flags for the listing; flags, dates and sizes for the look; no body.
        assert server.counts["UID FETCH"] - fetched == 2 * len(MAILBOXES)
        deep = await program.run("verify", "--deep", "--json", *pair)
        assert deep.lines[-2] | {"mailboxes": None, "read_bytes": None} == {
            "version": 1, "pair": f"{address} <-> maildir:{program.home}/Mail", "event": "verify", "identical": True,
            "exit_code": 0, "deep": True, "excluded_mailboxes": 0, "read": 60, "mailboxes": None, "read_bytes": None,
            "findings": {"same": 30, "missing": 0, "altered": 0, "doubled": 0, "unresolved": 0, "unreadable": 0,
                         "unseen": 0},
        }  # fmt: skip
    status = await program.run("status", *pair)
    assert "verify  identical  30 the same, 0 differences" in status.out
    assert contents(found) == before


async def test_nothing_compared_is_nothing_proven(program: Program) -> None:
    """A misspelt --include leaves no mailbox: that the rest is identical says nothing."""
    mail, _ = account(2, mailboxes=MAILBOXES)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        misspelt = await program.run("verify", "--include", "Achive*", *pair)
    assert misspelt.code == ExitCode.NOT_IN_STEP, misspelt.out
    assert "not seen (none of the 3 mailboxes is included)" in misspelt.out


async def test_every_difference_is_a_line(program: Program) -> None:
    mail, found = account(6)
    inbox = found["INBOX"]
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        assert (await program.run("verify", *pair)).code == ExitCode.OK
        inbox.set_flags(inbox.uids()[0], ["\\Flagged", "\\Draft"])
        inbox.remove(inbox.uids()[1])
        # Still held by both sides, and not that with the new flags.
        kept = {body.replace(b"\r\n", b"\n") for body in inbox.bodies()[1:]}
        path = next(path for path in files(program) if path.read_bytes() in kept)
        stamp = path.stat().st_mtime
        path.write_bytes(rotten(path.read_bytes()))
        os.utime(path, (stamp, stamp))
        (program.home / "Mail" / "new" / "1.mine").write_text("Subject: mine\n\nhere only\n")
        done = await program.run("verify", *pair)
        assert done.code == ExitCode.NOT_IN_STEP
        lines = done.out.splitlines()
        assert lines[0] == f"{address} <-> maildir:{program.home}/Mail"
        assert lines[-1].startswith(
            "not identical: 3 messages in 1 mailbox the same on both sides, 2 missing on the left, 2 altered, "
        )
        altered = [line for line in lines if line.startswith("INBOX: altered: ")]
        assert len(altered) == 2
        assert any("flags (left: \\Draft \\Flagged" in line for line in altered)
        assert any("bytes (left: " in line and "they differ first at byte" in line for line in altered)
        assert "INBOX: missing on the left: 1.mine of the right" in done.out
        machine = await program.run("verify", "--json", "--verbose", *pair)
        kinds = [line["finding"] for line in machine.lines if line["event"] == "compared"]
        assert sorted(kinds) == ["altered", "altered", "missing", "missing", "same", "same", "same"]
        assert [line["exit_code"] for line in machine.lines[-2:]] == [3, 3]


async def test_two_servers_one_of_which_breaks_off(program: Program) -> None:
    (left, _), (right, other) = account(5, mailboxes=MAILBOXES), account(0)
    async with serving(left) as (one, a), serving(right, GMAIL_MANNERS) as (_, b):
        assert (await program.run("sync", a, b)).code == ExitCode.OK
        one.faults.add(cut("FETCH", 3, When.MID_REPLY))
        done = await program.run("verify", a, b)
        assert done.code == ExitCode.OK, done.out
        other["Sent"].remove(other["Sent"].uids()[0])
        out = await program.run("verify", "--exclude", "Sent", a, b)
        assert (out.code, "1 mailbox left out" in out.out) == (ExitCode.OK, True)
        missing = await program.run("verify", a, b)
        assert (missing.code, missing.out.count("Sent: missing on the right")) == (ExitCode.NOT_IN_STEP, 1)


async def test_before_the_first_run_nothing_is_written(program: Program) -> None:
    (left, _), (right, _) = account(5), account(5)
    async with serving(left) as (_, a), serving(right) as (_, b):
        done = await program.run("verify", a, b)
    assert done.code == ExitCode.OK, done.out
    assert list(program.home.iterdir()) == []


async def test_a_maildir_that_is_not_there_is_no_empty_one(program: Program) -> None:
    mail, _ = account(1)
    async with serving(mail) as (_, address):
        done = await program.run("verify", address, "maildir:~/Mail")
    assert done.code == ExitCode.STORE_MISSING
    assert list(program.home.iterdir()) == []


@pytest.mark.parametrize("old_s", [0, 3600], ids=["just written", "an hour old"])
async def test_a_file_written_to_is_read_again_whatever_its_date_says(program: Program, old_s: int) -> None:
    mail, _ = account(2)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        path = files(program)[0]
        if old_s:
            os.utime(path, (time.time() - old_s, time.time() - old_s))
        await program.run("verify", *pair)
        status, data = path.stat(), path.read_bytes()
        path.write_bytes(rotten(data))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        done = await program.run("verify", *pair)
    assert "bytes (left: " in done.out
