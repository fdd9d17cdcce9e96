"""A command as the connection: what it says, how it ends, and a real server behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.client.workout import workout

from mailtwin.client import Credentials, Secret, Session, Timeouts, Tunnel
from mailtwin.client.tunnel import TunnelWire
from mailtwin.errors import ConfigurationError, LoginError, MailtwinError, UnreachableError
from mailtwin.imap import commands as c
from mailtwin.testing.realservers import RealServer

NOBODY = Credentials("user")
PREAUTH = "* PREAUTH [CAPABILITY IMAP4rev1] hi"


def tunnel(program: str) -> Tunnel:
    """A tunnel to a program of Python, in which `say` and `hear` are lines."""
    prelude = (
        "import os, signal, sys, time\n"
        "def say(line): sys.stdout.buffer.write(line.encode() + b'\\r\\n'); sys.stdout.buffer.flush()\n"
        "def hear(): return sys.stdin.buffer.readline()\n"
    )
    return Tunnel((sys.executable, "-c", prelude + program), "mail.example")


async def opened(program: str, **patience: float) -> Session:
    return await Session.open(tunnel(program), NOBODY, timeouts=Timeouts(**patience))


async def failed(program: str, who: Credentials = NOBODY, **patience: float) -> MailtwinError:
    with pytest.raises(MailtwinError) as caught:
        await Session.open(tunnel(program), who, timeouts=Timeouts(**patience))
    assert "mail.example" in caught.value.message
    return caught.value


async def test_logged_in_by_the_tunnel() -> None:
    session = await opened(
        f"say('{PREAUTH}')\nassert hear() == b'A1 NOOP\\r\\n'; say('A1 OK')\nhear(); say('* BYE'); say('A2 OK')"
    )
    assert (await session.run(c.Noop())).ok
    await session.close()


async def test_a_login_inside_the_tunnel() -> None:
    session = await Session.open(
        tunnel(
            "say('* OK [CAPABILITY IMAP4rev1] hi')\nhear(); say('A1 OK [CAPABILITY IMAP4rev1 INSIDE] in'); hear()"
        ),
        Credentials("user", Secret("pencil")),
    )
    assert session.has("INSIDE")
    await session.abort()


async def test_a_login_is_wanted_and_there_is_no_password() -> None:
    error = await failed("say('* OK [CAPABILITY IMAP4rev1] hi'); hear()")
    assert isinstance(error, LoginError)


async def test_no_such_command() -> None:
    with pytest.raises(
        UnreachableError, match=r"mail.example: .*'/no/such/command' could not be started"
    ) as caught:
        await Session.open(Tunnel(("/no/such/command",), "mail.example"), NOBODY)
    assert caught.value.hint


async def test_what_the_command_says_to_people_is_told() -> None:
    error = await failed("sys.stderr.write('a\\nssh: Permission denied \\x1b[31m\\n\\n'); sys.exit(255)")
    assert isinstance(error, UnreachableError)
    assert "without a greeting" in error.message
    assert error.hint.endswith("says: ssh: Permission denied ?[31m")


async def test_how_a_silent_command_ended() -> None:
    assert "ended with code 3" in (await failed("sys.exit(3)")).hint


async def test_much_is_said_to_people() -> None:
    error = await failed("sys.stderr.write('x' * 10_000_000 + '\\nthe end\\n'); sys.exit(1)")
    assert error.hint.endswith("says: the end")


async def test_no_greeting() -> None:
    began = time.monotonic()
    error = await failed("time.sleep(60)", greeting=0.3, close=0.1)
    assert "no greeting" in error.message
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("stubborn", [False, True])
async def test_the_command_ends_with_the_session(stubborn: bool, tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if stubborn else ""
    pid = tmp_path / "pid"
    session = await opened(
        f"{ignore}open({str(pid)!r}, 'w').write(str(os.getpid()))\nsay('{PREAUTH}')\ntime.sleep(60)",
        close=0.1,
    )
    began = time.monotonic()
    await session.close()
    assert time.monotonic() - began < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_the_command_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    session = await opened(
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\nsay('{PREAUTH}')\ntime.sleep(60)"
    )
    os.kill(int(pid.read_text()), signal.SIGKILL)
    with pytest.raises(UnreachableError, match="closed the connection"):
        await session.run(c.Noop())
    await session.close()


async def test_cancelled_while_closing(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    session = await opened(
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\nsay('{PREAUTH}')\ntime.sleep(60)"
    )
    closing = asyncio.create_task(session.abort())
    await asyncio.sleep(0.1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert isinstance(session._wire, TunnelWire)
    assert await session._wire._command.has_ended(10)  # and is told of: nothing is left behind
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("argv", [(), ("",), ("ssh", "a\0b")])
def test_commands_that_are_none(argv: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError):
        Tunnel(argv, "h")


@pytest.mark.parametrize("compress", [False, True])
async def test_a_working_day_with_the_server_itself(dovecot: RealServer, compress: bool) -> None:
    """Dovecot's imap on its standard input and output, as ssh would start it: no port, no password."""
    account = dovecot.user()
    inside = ("nsenter", "--target", str(dovecot.pid), "--mount", "--")
    imap = (*inside, "/usr/lib/dovecot/imap", "-c", "/mnt/dovecot.conf", "-u", account.user)
    session = await Session.open(Tunnel(imap, "localhost", compress), Credentials(account.user))
    assert session._wire._inflater is not None or not compress
    await workout(session)
    await session.close()
