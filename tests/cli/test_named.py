"""`--mailbox` with a name that no state knows: an error with the near names, from every command that reads it."""

from __future__ import annotations

import pytest
from tests.cli.running import Program, account, serving
from tests.cli.test_bad_input import assert_error

from mailtwin.errors import ExitCode

MAILDIR = "maildir:~/Mail"

COMMANDS = [
    ("approve",),
    ("approve", "--yes"),
    ("resolve",),
    ("resolve", "--send-again"),
    ("log",),
    ("log", "1"),
    ("undo",),
    ("undo", "1"),
    ("explain", "1"),
    ("explain", "a@b"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_name_that_no_state_knows(program: Program, command: tuple[str, ...]) -> None:
    mail, _ = account(1, mailboxes=("INBOX", "Archive/2024", "Sent"))
    name, *rest = command
    async with serving(mail) as (server, address):
        early = await program.run(name, "--mailbox", "Snet", *rest, address, MAILDIR)
        assert "no mailbox" not in early.err
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        connections = server.connections
        ended = await program.run(name, "--mailbox", "Snet", *rest, address, MAILDIR)
        assert server.connections == connections
        assert_error(ended, ExitCode.CONFIGURATION, 'no mailbox "Snet"; did you mean Sent?', "hint: ")
        machine = await program.run(name, "--json", "--mailbox", "xxx", *rest, address, MAILDIR)
        assert [line["event"] for line in machine.lines] == ["begin", "error", "end"]
        assert "expected one of Archive/2024, INBOX, Sent" in machine.lines[1]["message"]
        assert machine.lines[2]["exit_code"] == machine.code == ExitCode.CONFIGURATION
        right = await program.run(name, "--mailbox", "Sent", *rest, address, MAILDIR)
        assert right.code in (ExitCode.OK, ExitCode.FAILED)
        assert right.err == ""


async def test_several_pairs_and_other_names(program: Program) -> None:
    """One pair that knows the name is enough; the name on the right is told to be one."""
    mail, found = account(1, mailboxes=("INBOX", "Sent Items"))
    other, _ = account(1)
    config = program.home / "c.toml"
    async with serving(mail) as (one, _), serving(other) as (two, _):
        stores = "".join(
            f'[stores.s{number}]\ntype = "imap"\nhost = "127.0.0.1"\nport = {server.port}\ntls = "off"\nuser = "me"\n'
            f'[stores.d{number}]\ntype = "maildir"\npath = "~/{number}"\n'
            f'[pairs.p{number}]\nleft = "s{number}"\nright = "d{number}"\n'
            for number, server in enumerate((one, two))
        )
        config.write_text(
            stores.replace('right = "d0"\n', 'right = "d0"\nrename = { "Sent Items" = "Sent" }\n')
        )
        assert (await program.run("sync", "--config", config)).code == ExitCode.OK
        log = await program.run("log", "--config", config, "--mailbox", "Sent Items")
        assert (log.code, log.err) == (ExitCode.OK, "")
        assert log.out.startswith("p0: ")
        assert "p1: " not in log.out
        wrong = await program.run("log", "--config", config, "--mailbox", "Sent")
        assert_error(wrong, ExitCode.CONFIGURATION, "on the left it is Sent Items")
        found.delete("Sent Items")
        await program.run("sync", "--config", config)
        assert (await program.run("log", "--config", config, "--mailbox", "Sent Items")).code == ExitCode.OK
