"""The commands from outside: what they do, print and return."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path

import pytest
from tests.cli.running import CERTIFICATE, Program, account, contents, serving

from mailtwin.errors import ExitCode
from mailtwin.model import INBOX, Side, make_flags
from mailtwin.model.identity import identity_of
from mailtwin.planner import Straggler
from mailtwin.state import AddStraggler, State
from mailtwin.testing.manners import GMAIL_MANNERS, SILENT_APPEND

MAILBOXES = ("INBOX", "Sent", "Archive/2024")


async def test_sync_with_a_maildir_and_again(program: Program) -> None:
    mail, found = account(10, mailboxes=MAILBOXES)
    async with serving(mail) as (_, address):
        first = await program.run("sync", address, "maildir:~/Mail")
        assert (first.code, first.out.count("\n")) == (ExitCode.OK, 1)
        assert first.out.startswith("in step: 30 copied to the right (")
        assert "Archive/2024: 10 copied to the right" in first.err
        second = await program.run("sync", address, "maildir:~/Mail")
        assert second.code == ExitCode.OK
        assert second.err == f"{address} <-> maildir:{program.home}/Mail\n3 mailboxes, 3 to look into\n"
        assert second.out.startswith("in step: nothing to do; ")
        found["INBOX"].remove(found["INBOX"].uids()[0])
        third = await program.run("sync", "--quiet", address, "maildir:~/Mail")
        assert (third.code, third.out, third.err) == (ExitCode.OK, "", "")
    files = [path for part in ("cur", "new") for path in (program.home / "Mail").rglob(f"{part}/*")]
    assert len(files) == 29


async def test_sync_between_two_servers(program: Program) -> None:
    (left, one), (right, other) = account(5, mailboxes=MAILBOXES), account(3, seed=2)
    async with serving(left, SILENT_APPEND) as (_, a), serving(right, GMAIL_MANNERS) as (_, b):
        done = await program.run("sync", a, b)
        assert done.code == ExitCode.OK, done.err
        assert contents(one) == contents(other)
        assert len(one["INBOX"]) == 8
        verified = await program.run("plan", a, b)
        assert (verified.code, verified.out.splitlines()[1:]) == (ExitCode.OK, ["nothing to do"])


async def test_plan_of_a_maildir_to_come_creates_nothing(program: Program) -> None:
    mail, _ = account(3, mailboxes=("INBOX", "Sent"))
    async with serving(mail) as (server, address):
        planned = await program.run("plan", address, "maildir:~/Mail")
        assert planned.out.splitlines() == [
            f"{address} <-> maildir:{program.home}/Mail",
            "INBOX  copy to the right: 3 messages (new on left)",
            "Sent   create on the right (new on left)",
            "       copy to the right: 3 messages (new on left)",
        ]
        detailed = await program.run("plan", "--verbose", address, "maildir:~/Mail")
        assert "INBOX  copy to the right: UID 1 of the left (new on left)" in detailed.out
        assert server.counts["APPEND"] == 0
    assert planned.code == detailed.code == ExitCode.OK
    assert list(program.home.iterdir()) == []


async def test_plan_of_a_directory_with_other_things_in_it(program: Program) -> None:
    """A fresh disk holds `lost+found`; what `sync` would do there is to begin a Maildir."""
    mail, _ = account(3)
    (program.home / "Mail" / "lost+found").mkdir(parents=True)
    async with serving(mail) as (_, address):
        for command in ("plan", "check", "sync"):
            ended = await program.run(command, address, "maildir:~/Mail")
            assert ended.code == ExitCode.OK, ended.err


async def test_check_shows_the_map(program: Program) -> None:
    mail, _ = account(1, mailboxes=("INBOX", "Sent", "Trash"))
    async with serving(mail) as (_, address):
        checked = await program.run("check", "--exclude", "Tr*", address, "maildir:~/Mail")
    assert checked.code == ExitCode.OK
    assert f"left: {address}" in checked.out
    assert "right: does not exist yet; the first sync creates it" in checked.out
    assert checked.out.splitlines()[-4:] == [
        "left   right",
        "INBOX  INBOX  twinned",
        "Sent   -      created on the right",
        "Trash  -      excluded",
    ]
    assert list(program.home.iterdir()) == []


@pytest.mark.parametrize("options", ["?layout=nested", "/100%25"])
async def test_the_title_is_what_was_typed(program: Program, options: str) -> None:
    mail, _ = account(1)
    async with serving(mail) as (_, address):
        target = f"maildir:{program.home}/Mail{options}"
        planned = await program.run("plan", address, target)
    assert planned.out.splitlines()[0] == f"{address} <-> {target}"


async def test_status(program: Program) -> None:
    mail, _ = account(4, mailboxes=MAILBOXES)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        before = await program.run("status", *pair)
        assert before.out.splitlines()[-1] == "no run yet"
        await program.run("sync", *pair)
    after = await program.run("status", *pair)
    assert (before.code, after.code) == (ExitCode.OK, ExitCode.OK)
    title, state, mailboxes, down, up, head, run = after.out.splitlines()
    assert title == f"{address} <-> maildir:{program.home}/Mail"
    assert Path(state.removeprefix("state: ")).is_relative_to(program.home / "state" / "mailtwin")
    assert mailboxes == "3 mailboxes, 12 messages in agreement"
    me = address.removeprefix("imap://").removesuffix("/")
    assert down.startswith(f"account: {me}: ")
    assert down.endswith(" MiB downloaded in the last 24 hours")
    assert up.endswith(" MiB uploaded in the last 24 hours")
    assert head.split() == ["began", "run", "outcome", "done"]
    assert run.split("  ", 1)[1].startswith("1    sync  in step  12 copied to the right (")


async def test_what_arrived_late_waits_for_a_decision(program: Program) -> None:
    """The state knows that a copy was given up and sent again; then the first one arrives."""
    mail, found = account(0)
    body = b"Message-ID: <late@example.org>\r\nSubject: late\r\n\r\nbody\r\n"
    (program.home / "Mail" / "cur").mkdir(parents=True)
    for part in ("new", "tmp"):
        (program.home / "Mail" / part).mkdir()
    (program.home / "Mail" / "new" / "1.M1P1.host").write_bytes(body.replace(b"\r\n", b"\n"))
    async with serving(mail) as (_, address):
        pair = ("maildir:~/Mail", address)
        nothing = await program.run("resolve", *pair)
        assert (nothing.code, nothing.out.splitlines()[-1]) == (ExitCode.OK, "nothing to decide")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        (uid,) = found["INBOX"].uids()
        (path,) = (program.home / "state" / "mailtwin").glob("*.db")
        identity = identity_of(body, len(body), None)
        assert identity is not None
        left = f"maildir:{program.home}/Mail"
        with State.open(path, left=left, right=address, now=time.time) as state:
            validity = state.base(INBOX).right_validity
            late = Straggler(Side.LEFT, "1.M1P1.host", make_flags([]), validity or "", uid, identity)
            state.commit(INBOX, [AddStraggler(late)])
        found["INBOX"].append(body)
        held = await program.run("sync", *pair)
        assert (held.code, found["INBOX"].uids()) == (ExitCode.NOT_IN_STEP, [uid, uid + 1])
        assert f"UID {uid + 1}: an extra copy of it arrived on right late" in held.err
        shown = await program.run("resolve", *pair)
        assert shown.code == ExitCode.NOT_IN_STEP
        assert shown.out.splitlines()[1:] == [
            f"INBOX: UID {uid + 1} of the right (size unknown): an extra copy, which arrived late",
            "1 message to decide; decide with --remove-extra or --keep-extra",
        ]
        assert "unresolved: INBOX: UID" in (await program.run("status", *pair)).out
        both = await program.run("resolve", *pair, "--remove-extra", "--keep-extra")
        assert (both.code, "not both" in both.err) == (ExitCode.USAGE, True)
        other = await program.run("resolve", *pair, "--remove-extra", "--mailbox", "Sent")
        assert (other.code, other.out) == (ExitCode.CONFIGURATION, "")
        decided = await program.run("resolve", *pair, "--remove-extra", "--send-again", "--json")
        assert decided.code == ExitCode.OK
        assert [
            (line["decision"], len(line["messages"])) for line in decided.lines if line["event"] == "resolve"
        ] == [
            ("send-again", 0),
            ("remove-extra", 1),
        ]
        last = await program.run("sync", *pair)
        assert last.code == ExitCode.OK, last.err
        assert found["INBOX"].uids() == [uid]


async def test_undo_puts_back_what_a_run_removed(program: Program) -> None:
    mail, found = account(4)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("undo", *pair)).out.splitlines()[-1] == "nothing is kept"
        await program.run("sync", *pair)
        found["INBOX"].remove(found["INBOX"].uids()[0])
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        listed = await program.run("undo", *pair)
        assert listed.code == ExitCode.OK
        assert listed.out.splitlines()[1] == "run 2: 1 message removed"
        assert "1 removed message kept (" in (await program.run("status", *pair)).out
        nothing = await program.run("undo", *pair, "1")
        assert nothing.code == ExitCode.FAILED
        assert nothing.out.splitlines()[-1].startswith("nothing to put back")
        other = await program.run("undo", *pair, "--message-id", "<nobody@example.org>")
        assert (other.code, other.out.splitlines()[-1]) == (ExitCode.OK, "nothing is kept")
        undone = await program.run("undo", *pair, "2")
        assert (undone.code, undone.out.splitlines()[-1]) == (ExitCode.OK, "1 message put back"), undone.err
        twice = await program.run("undo", *pair, "2", "--json")
        assert (twice.code, twice.lines[-1]["exit_code"]) == (ExitCode.FAILED, ExitCode.FAILED)
        again = await program.run("sync", *pair)
        assert again.out.startswith("in step: 1 copied to the left"), again.err
        assert len(found["INBOX"]) == 4
        assert (await program.run("undo", *pair, "--json")).lines[1]["messages"] == []


async def test_configured_pairs(program: Program) -> None:
    mail, found = account(2, mailboxes=MAILBOXES)
    async with serving(mail) as (server, _):
        config = program.home / "config" / "mailtwin" / "config.toml"
        config.parent.mkdir(parents=True)
        store = f'type = "imap"\nhost = "127.0.0.1"\nport = {server.port}\nuser = "me"\ntls = "off"\n'
        config.write_text(
            f'[stores.server]\n{store}password_command = "echo sesame"\n'
            '[stores.one]\ntype = "maildir"\npath = "~/one"\n'
            '[stores.two]\ntype = "maildir"\npath = "~/two"\nlayout = "nested"\n'
            '[pairs.first]\nleft = "server"\nright = "one"\nmailboxes.exclude = ["Sent"]\n'
            '[pairs.second]\nleft = "server"\nright = "two"\nstate_dir = "~/elsewhere"\nrename."Archive/2024" = "Old"\n'
        )
        done = await program.run("sync")
        assert (done.code, done.err.count("<->")) == (ExitCode.OK, 2), done.err
        assert [line[: line.index("(")] for line in done.out.splitlines()] == [
            "first: in step: 4 copied to the right ",
            "second: in step: 6 copied to the right ",
        ]
        only = await program.run("sync", "--direction", "left-to-right", "second", "--config", config)
        assert only.out.startswith("second: in step: nothing to do")
        wrong = await program.run("sync", "secnd")
        assert wrong.code == ExitCode.CONFIGURATION
        assert wrong.err == f'error: There is no pair "secnd" in {config}; did you mean second?\n'
    assert not (program.home / "one" / ".Sent").exists()
    assert (program.home / "two" / "Old" / "cur").is_dir()
    assert list((program.home / "elsewhere").glob("*.db"))
    assert len(found["INBOX"]) == 2


async def test_direction_on_the_command_line(program: Program) -> None:
    mail, found = account(2)
    async with serving(mail) as (_, address):
        pair = ("--direction", "left-to-right", address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        (program.home / "Mail" / "new" / "1.1.reader").write_text("Subject: mine\n\nnot for the server\n")
        await program.run("sync", *pair)
    assert len(found["INBOX"]) == 2


async def test_a_certificate_of_ones_own(program: Program) -> None:
    mail, _ = account(2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with serving(mail, tls=context) as (_, address):
        trusted = await program.run("sync", "--ca-file", CERTIFICATE, address, "maildir:~/Mail")
        assert trusted.code == ExitCode.OK, trusted.err


async def test_several_pairs_of_which_one_fails(program: Program) -> None:
    mail, _ = account(2)
    async with serving(mail) as (server, _):
        config = program.home / "c.toml"
        config.write_text(
            '[stores]\ngone = { type = "imap", host = "127.0.0.1", port = 1, user = "me", tls = "off" }\n'
            f'there = {{ type = "imap", host = "127.0.0.1", port = {server.port}, user = "me", tls = "off" }}\n'
            'one = { type = "maildir", path = "~/one" }\ntwo = { type = "maildir", path = "~/two" }\n'
            '[pairs]\na = { left = "gone", right = "one" }\nb = { left = "there", right = "two" }\n'
        )
        done = await program.run("sync", "--config", config)
    assert done.code == ExitCode.UNREACHABLE
    assert done.err.startswith("error: ")
    assert done.out.startswith("b: in step: 2 copied to the right")


async def test_output_that_nobody_reads(program: Program) -> None:
    """`mailtwin sync ... | head -0` must not end the run."""
    mail, _ = account(20)
    async with serving(mail) as (_, address):
        process = await program.start("sync", "--json", address, "maildir:~/Mail")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]
        await process.stderr.read()
        assert await asyncio.wait_for(process.wait(), 30) == ExitCode.OK
    assert len([path for part in ("cur", "new") for path in (program.home / "Mail" / part).iterdir()]) == 20


@pytest.mark.parametrize("arguments", [("--help",), ("sync", "--help"), ("--version",)])
async def test_help(program: Program, arguments: tuple[str, ...]) -> None:
    done = await program.run(*arguments)
    assert (done.code, done.err) == (ExitCode.OK, "")
