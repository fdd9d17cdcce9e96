"""`mailtwin log`, `explain` and `state check` from outside."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.running import Program, account, serving

from mailtwin.cli.past import parse_since
from mailtwin.errors import ExitCode

HEAD = ["when", "run", "mailbox", "what", "message", "why"]


@pytest.mark.parametrize(
    ("text", "before_s"), [("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_a_span_of_time(text: str, before_s: int) -> None:
    assert parse_since(text, 2e9) == 2e9 - before_s


def test_a_date() -> None:
    assert parse_since("2026-03-31", 0) == datetime(2026, 3, 31).astimezone().timestamp()
    assert parse_since("2026-03-31T18:00+02:00", 0) == 1774972800.0


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "2026-13-01", "-1d", "9999999d"])
def test_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="expected a date or a span"):
        parse_since(text, 2e9)


async def test_what_was_done_and_why(program: Program) -> None:
    mail, found = account(0, mailboxes=("INBOX", "Sent"))
    inbox = found["INBOX"]
    for number in range(3):
        inbox.append(b"Message-ID: <%d@log.example>\r\n\r\nbody\r\n" % number)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        nothing = await program.run("log", *pair)
        assert (nothing.code, nothing.out.splitlines()[1:]) == (ExitCode.OK, ["nothing is noted"])
        assert (await program.run("sync", *pair)).code == ExitCode.OK
        inbox.set_flags(1, ["\\Flagged"])
        inbox.remove(2)
        assert (await program.run("sync", *pair)).code == ExitCode.OK
    # From here on there is no server any more.
    runs = await program.run("log", *pair)
    head, last, first = runs.out.splitlines()[1:]
    assert head.split() == ["run", "began", "took", "command", "outcome", "done"]
    assert (last.split()[0], first.split()[0]) == ("2", "1")
    assert last.endswith("sync     in step  1 flag change on the right, 1 removed on the right")
    second = await program.run("log", "2", *pair)
    lines = second.out.splitlines()[1:]
    assert (await program.run("log", *pair, "2")).out == second.out
    assert lines[0].split() == HEAD
    assert [line for line in lines if "removed  " in line and "<1@log.example>" in line]
    assert [
        line for line in lines if "flags set" in line and "+(\\Flagged)" in line and "<0@log.example>" in line
    ]
    made = await program.run("log", "--mailbox", "Sent", *pair)
    assert "mailbox created" in made.out
    limited = await program.run("log", "--limit", "1", *pair)
    assert (limited.out.count("\n"), limited.err) == (
        3,
        "older ones are not shown; see --limit and --since\n",
    )
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    assert (await program.run("log", "--since", later, *pair)).out.splitlines()[1:] == ["nothing is noted"]
    machine = await program.run("log", "1", "--json", *pair)
    (log,) = [line for line in machine.lines if line["event"] == "history"]
    assert (log["more"], len(log["entries"])) == (False, 4)


async def test_a_message_explained(program: Program) -> None:
    mail, found = account(0)
    found["INBOX"].append(b"Message-ID: <a@explain.example>\r\n\r\nbody\r\n", ["\\Seen"])
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        assert (await program.run("sync", *pair)).code == ExitCode.OK
    (path,) = (program.home / "Mail" / "cur").iterdir()
    ways = [
        ("<a@explain.example>",),
        ("a@explain.example",),
        ("1", "--mailbox", "INBOX"),
        ("--mailbox", "INBOX", path),
    ]
    told = [await program.run("explain", *way, *pair) for way in ways]
    assert {one.code for one in told} == {ExitCode.OK}
    assert len({one.out for one in told}) == 1
    unique = path.name.partition(":")[0]
    lines = told[0].out.splitlines()[1:]
    assert lines[:2] == [
        f"INBOX: UID 1 of the left, {unique} of the right, <a@explain.example>",
        f"  both sides agree on it: UID 1 = {unique}, flags: \\Seen",
    ]
    assert lines[2].endswith("to right: new on left")
    wrong_side = await program.run("explain", "1", "--mailbox", "INBOX", "--side", "right", *pair)
    assert (wrong_side.code, wrong_side.out.splitlines()[1:]) == (ExitCode.FAILED, ["nothing is known of it"])
    no_mailbox = await program.run("explain", "1", *pair)
    assert (no_mailbox.code, "needs --mailbox" in no_mailbox.err) == (ExitCode.USAGE, True)
    machine = await program.run("explain", "--json", "<a@explain.example>", *pair)
    (explained,) = [line for line in machine.lines if line["event"] == "explain"]
    (one,) = explained["messages"]
    assert (one["left"], one["right"], one["agreed"]["flags"]) == ([1], [unique], ["\\Seen"])
    assert [line["operation"] for line in one["history"]] == ["copy"]
    unknown = await program.run("explain", "--json", "<b@explain.example>", *pair)
    assert (unknown.code, unknown.lines[-1]["exit_code"]) == (ExitCode.FAILED, ExitCode.FAILED)


async def test_a_state_that_contradicts_itself(program: Program) -> None:
    mail, _ = account(3)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        before = await program.run("state", "check", *pair)
        assert (before.code, before.out.splitlines()[1:]) == (ExitCode.OK, ["no run yet"])
        assert (await program.run("sync", *pair)).code == ExitCode.OK
    (path,) = (program.home / "state" / "mailtwin").glob("*.db")
    sound = await program.run("state", "check", *pair)
    assert (sound.code, sound.out.splitlines()[1:]) == (ExitCode.OK, [f"state: {path}: sound"])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE mailboxes SET links = 7")
    connection.commit()
    connection.close()
    wrong = await program.run("state", "check", *pair)
    assert wrong.code == ExitCode.STATE
    assert wrong.out.splitlines()[1:] == [
        "the count of agreements of mailbox INBOX is wrong",
        f"state: {path}: 1 contradiction",
    ]
    machine = await program.run("state", "check", "--json", *pair)
    assert [line["findings"] for line in machine.lines if line["event"] == "state-check"] == [
        ["the count of agreements of mailbox INBOX is wrong"]
    ]


async def test_reading_the_past_changes_nothing(program: Program) -> None:
    mail, _ = account(1)
    async with serving(mail) as (_, address):
        pair = (address, "maildir:~/Mail")
        await program.run("sync", *pair)
    (path,) = (program.home / "state" / "mailtwin").glob("*.db")
    before = path.read_bytes()
    for command in (("log",), ("log", "1"), ("explain", "a@b"), ("state", "check")):
        await program.run(*command, *pair)
    assert path.read_bytes() == before
