"""`mailtwin approve` as a person uses it: shown, asked, approved; and what may be wrong with that."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.running import Program, account, contents, serving
from tests.cli.test_terminal import at_terminal, read_until, terminal

from mailtwin.errors import ExitCode
from mailtwin.state import State
from mailtwin.testing.simmail import SimAccount

MAILDIR = "maildir:~/Mail"


def remove_files(program: Program, keep: int = 0) -> None:
    """All but so many of the Maildir's messages go."""
    files = sorted(path for part in ("cur", "new") for path in (program.home / "Mail" / part).iterdir())
    for path in files[: len(files) - keep]:
        path.unlink()


@asynccontextmanager
async def held(
    program: Program, count: int = 12, *, others: Sequence[str] = ()
) -> AsyncIterator[tuple[SimAccount, str]]:
    """An account, and its address, whose Maildir's INBOX was emptied; that is held back. `others`: empty mailboxes."""
    mail, found = account(count)
    for name in others:
        found.create(name)
    async with serving(mail) as (_, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        remove_files(program)
        ended = await program.run("sync", address, MAILDIR)
        assert ended.code == ExitCode.GUARD, ended.err
        assert len(found["INBOX"]) == count
        yield found, address


def state_files(program: Program) -> list[Path]:
    return list((program.home / "state").rglob("*.db"))


async def test_what_is_held_back_is_shown_approved_and_done(program: Program) -> None:
    async with held(program) as (found, address):
        status = await program.run("status", address, MAILDIR)
        assert "held back: INBOX: 12 messages that both sides held are missing on the right" in status.out
        assert "`mailtwin approve`" in status.out
        planned = await program.run("plan", address, MAILDIR)
        assert planned.code == ExitCode.GUARD
        assert "none of the messages that both sides held is left on the right" in planned.err
        shown = await program.run("approve", address, MAILDIR)
        assert shown.code == ExitCode.NOT_IN_STEP
        assert shown.out.splitlines()[-1].startswith("nothing was approved; ")
        assert sum(line.startswith("  UID ") for line in shown.out.splitlines()) == 12
        done = await program.run("approve", "--yes", address, MAILDIR)
        assert done.code == ExitCode.OK
        assert done.out.splitlines()[-1] == "12 removals approved; the next `mailtwin sync` carries them out"
        assert (
            "approved, the next `mailtwin sync` does it"
            in (await program.run("status", address, MAILDIR)).out
        )
        again = await program.run("approve", "--yes", address, MAILDIR)
        assert again.code == ExitCode.OK
        assert "approved;" not in again.out
        assert (await program.run("plan", address, MAILDIR)).code == ExitCode.OK
        assert len(found["INBOX"]) == 12
        synced = await program.run("sync", address, MAILDIR)
        assert synced.code == ExitCode.OK, synced.err
        assert len(found["INBOX"]) == 0
        assert "held back:" not in (await program.run("status", address, MAILDIR)).out
        log = await program.run("log", address, MAILDIR, "--mailbox", "INBOX")
        assert "removals held back" in log.out
        assert "removals approved" in log.out


async def test_as_json(program: Program) -> None:
    async with held(program) as (_, address):
        shown = await program.run("approve", "--json", address, MAILDIR)
        assert (shown.code, [line["event"] for line in shown.lines]) == (3, ["begin", "held", "end"])
        (one,) = shown.lines[1]["removals"]
        assert (one["mailbox"], one["side"], one["count"], one["approved"]) == ("INBOX", "left", 12, False)
        assert [set(message) for message in one["messages"]] == [{"ref", "message_id"}] * 12
        done = await program.run("approve", "--json", "--yes", address, MAILDIR)
        assert (done.code, [line["event"] for line in done.lines]) == (0, ["begin", "held", "approve", "end"])
        assert done.lines[2]["removals"][0]["approved"] is True
        status = await program.run("status", "--json", address, MAILDIR)
        assert [one["approved"] for one in status.lines[1]["held"]] == [True]


async def test_long_lists_are_cut(program: Program) -> None:
    async with held(program, count=130) as (_, address):
        ended = await program.run("sync", "--json", address, MAILDIR)
        (report,) = [line for line in ended.lines if line["event"] == "report"]
        assert "and 120 more" in report["problems"][0]["message"]
        assert len(report["problems"][0]["message"]) < 1500
        shown = await program.run("approve", "--json", address, MAILDIR)
        (one,) = shown.lines[1]["removals"]
        assert (one["count"], len(one["messages"])) == (130, 100)
        assert "  and 30 messages more" in (await program.run("approve", address, MAILDIR)).out.splitlines()


async def test_nothing_to_approve(program: Program) -> None:
    """Not even a state is made of a pair that was never synchronised."""
    mail, _ = account(3)
    async with serving(mail) as (_, address):
        for arguments in ((), ("--yes",), ("--yes", "--json")):
            ended = await program.run("approve", *arguments, address, MAILDIR)
            assert ended.code == ExitCode.OK
        assert state_files(program) == []
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        ended = await program.run("approve", "--yes", address, MAILDIR)
        assert (ended.code, ended.out.splitlines()[1:]) == (ExitCode.OK, ["nothing is held back"])


async def test_another_mailbox_and_no_mailbox(program: Program) -> None:
    async with held(program, others=("Sent",)) as (_, address):
        ended = await program.run("approve", "--yes", "--mailbox", "Sent", address, MAILDIR)
        assert ended.out.splitlines()[1:] == ["nothing is held back"]
        wrong = await program.run("approve", "--yes", "--mailbox", "a//b", address, MAILDIR)
        assert wrong.code == ExitCode.USAGE
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.GUARD
        right = await program.run("approve", "--yes", "--mailbox", "INBOX", address, MAILDIR)
        assert right.code == ExitCode.OK
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK


async def test_a_stale_plan(program: Program) -> None:
    """What was approved came back, and goes again: that is for another approval."""
    mail, found = account(12)
    async with serving(mail) as (_, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        (program.home / "Mail").rename(program.home / "disk")
        for part in ("cur", "new", "tmp"):
            (program.home / "Mail" / part).mkdir(parents=True)
        ended = await program.run("sync", address, MAILDIR)
        assert ended.code == ExitCode.GUARD
        assert "another disk or another directory than last time" in ended.err
        assert (await program.run("approve", "--yes", address, MAILDIR)).code == ExitCode.OK
        (program.home / "Mail").rename(program.home / "mount-point")
        (program.home / "disk").rename(program.home / "Mail")
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        assert len(found["INBOX"]) == 12
        remove_files(program)
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.GUARD
        assert len(found["INBOX"]) == 12


async def test_while_a_run_is_going_on(program: Program) -> None:
    async with held(program) as (_, address):
        (path,) = state_files(program)
        right = f"maildir:{program.home}/Mail"
        with State.open(path, left=address, right=right, now=lambda: 1e9):
            ended = await program.run("approve", "--yes", address, MAILDIR)
            assert ended.code == ExitCode.LOCKED
            assert "error:" in ended.err
            assert (await program.run("approve", address, MAILDIR)).code == ExitCode.NOT_IN_STEP
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.GUARD


@asynccontextmanager
async def asked(program: Program, address: str) -> AsyncIterator[tuple[int, subprocess.Popen[bytes]]]:
    """A person's end of the terminal, at which the program has asked, and the program."""
    with terminal() as (ours, theirs):
        process = at_terminal(program, theirs, "approve", address, MAILDIR)
        try:
            assert "Remove 12 messages at the next sync?" in await read_until(ours, "[y/N]")
            yield ours, process
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3), ("", 3)])
async def test_a_person_is_asked(program: Program, answer: str, code: int) -> None:
    async with held(program) as (_, address):
        async with asked(program, address) as (ours, process):
            os.write(ours, f"{answer}\n".encode())
            assert await asyncio.to_thread(process.wait, 30) == code
        status = await program.run("status", "--json", address, MAILDIR)
        assert [one["approved"] for one in status.lines[1]["held"]] == [code == 0]


async def test_a_person_who_is_asked_may_leave(program: Program) -> None:
    async with held(program) as (_, address):
        async with asked(program, address) as (ours, process):
            while process.poll() is None:
                # Again, as a person would: readline is deaf for a moment before it begins to wait.
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, 5)
            assert "Traceback" not in await read_until(ours, "interrupted")
            assert process.returncode == ExitCode.INTERRUPTED
        assert (await program.run("approve", address, MAILDIR)).code == ExitCode.NOT_IN_STEP


async def test_killed_after_the_approval(program: Program) -> None:
    """kill -9 in the run that carries the approval out: the next one does the rest, and nothing else."""
    async with held(program, count=40) as (found, address):
        assert (await program.run("approve", "--yes", address, MAILDIR)).code == ExitCode.OK
        found["INBOX"].append(b"Message-ID: <new@x>\r\n\r\nnew\r\n")
        process = await program.start("sync", address, MAILDIR)
        for _ in range(500):
            if len(found["INBOX"]) < 41 or process.returncode is not None:
                break
            await asyncio.sleep(0.005)
        if process.returncode is None:
            process.kill()
        await process.communicate()
        ended = await program.run("sync", address, MAILDIR)
        assert ended.code == ExitCode.OK, ended.err
        assert [b"<new@x>" in body for body in contents(found)["INBOX"]] == [True]
