"""An account with a limit a day, and one that its provider locked, as a person meets them."""

from __future__ import annotations

from pathlib import Path

from tests.cli.running import Program, account, serving

from mailtwin.errors import ExitCode
from mailtwin.testing.simlimits import Limits

BODY = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * 100_000
"""Of 200 kB: four of them fit into a day of one megabyte, and nothing else does."""

CONFIG = """
[stores.far]
type = "imap"
host = "127.0.0.1"
port = {port}
tls = "off"
user = "me"
password_command = "echo asked >> {asked}; echo sesame"
download_megabytes_per_day = {limit}

[stores.disk]
type = "maildir"
path = "{mail}"

[pairs.home]
left = "far"
right = "disk"
"""


def configure(program: Program, port: int, limit: object) -> tuple[Path, Path]:
    """Writes the configuration; the Maildir, and the file that tells how often the password was asked for."""
    mail, asked = program.home / "Mail", program.home / "asked"
    path = program.home / "config" / "mailtwin" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.format(port=port, asked=asked, limit=limit, mail=mail), encoding="utf-8")
    return mail, asked


async def test_a_day_that_is_used_up(program: Program) -> None:
    mail, found = account()
    for number in range(6):
        found["INBOX"].append(b"Message-ID: <%d@cli.example>\r\n" % number + BODY)
    async with serving(mail) as (server, _):
        where, _asked = configure(program, server.port, 1)
        first = await program.run("sync")
        assert first.code == ExitCode.UNREACHABLE
        assert "2 messages wait (" in first.err
        assert "downloaded in the last 24 hours, of 1.0 MiB; 2 messages wait (" in first.err
        assert "; it goes on at 2" in first.err
        assert "not in step: 4 copied to the right" in first.out
        assert len(list((where / "cur").iterdir()) + list((where / "new").iterdir())) == 4
        fetched = server.counts["UID FETCH"]
        again = await program.run("sync", "--json")
        assert again.code == ExitCode.UNREACHABLE
        assert server.counts["UID FETCH"] == fetched
        (report,) = [line for line in again.lines if line["event"] == "report"]
        assert all(problem["known"] for problem in report["problems"])
        (standing,) = report["accounts"]
        assert standing["account"] == f"me@127.0.0.1:{server.port}"
        assert standing["downloaded"]["limit"] == 1 << 20
        assert standing["downloaded"]["waiting"]["messages"] == 2
        assert 800_000 < standing["downloaded"]["bytes"] < 1 << 20
        (status,) = [
            line for line in (await program.run("status", "--json")).lines if line["event"] == "status"
        ]
        assert status["accounts"][0]["downloaded"]["waiting"] == standing["downloaded"]["waiting"]
        assert "account: me@127.0.0.1" in (await program.run("status")).out
        configure(program, server.port, '"none"')
        assert (await program.run("sync")).code == ExitCode.OK
        assert (await program.run("verify")).code == ExitCode.OK


async def test_a_locked_account_is_left_alone(program: Program) -> None:
    mail, found = account()
    found["INBOX"].append(BODY)
    async with serving(mail, limits=Limits(download_daily=100)) as (server, _):
        _, asked = configure(program, server.port, 0)
        locked = await program.run("sync")
        assert locked.code == ExitCode.UNREACHABLE
        assert "Account exceeded command or bandwidth limits" in locked.err
        assert "hint: no run logs in before 2" in locked.err
        connections = server.connections
        for command in ("sync", "plan", "check", "verify"):
            done = await program.run(command)
            assert done.code == ExitCode.UNREACHABLE, command
            assert "is left alone until 2" in done.err
        assert server.connections == connections
        assert asked.read_text().count("asked") == 1, "no password is asked for when nobody logs in"
        assert "is left alone until 2" in (await program.run("status")).out
        server.meter.limits = Limits()
        assert (await program.run("sync", "--retry")).code == ExitCode.OK
        assert "left alone" not in (await program.run("status")).out
        assert (await program.run("sync")).code == ExitCode.OK
