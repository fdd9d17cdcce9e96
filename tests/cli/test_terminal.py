"""A person at a terminal: asked for the password, shown progress, able to stop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.cli.running import PROGRAM, Program, account, serving

from mailtwin.errors import ExitCode


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: ours and the program's."""
    ours, theirs = os.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def take_terminal() -> None:
    """Makes standard input the terminal of this process, so that Ctrl-C reaches it."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def at_terminal(program: Program, theirs: int, *arguments: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, **program.environ, "HOME": str(program.home), "TERM": "xterm", "COLUMNS": "100"}
    environ = {name: value for name, value in environ.items() if not name.startswith("MAILTWIN_")}
    environ["XDG_STATE_HOME"] = str(program.home / "state")
    return subprocess.Popen(
        [PROGRAM, *arguments],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=take_terminal,  # noqa: PLW1509 - it makes two system calls and takes no lock
    )


async def read_until(ours: int, text: str) -> str:
    """What the program shows, until `text` is part of it."""
    shown = ""
    async with asyncio.timeout(30):
        while text not in shown:
            shown += (await asyncio.to_thread(os.read, ours, 65536)).decode()
    return shown


@pytest.mark.parametrize("password", ["sesame", "sesami"])
async def test_password_is_asked_for(program: Program, password: str) -> None:
    mail, found = account(5)
    async with serving(mail) as (_, address):
        with terminal() as (ours, theirs):
            process = at_terminal(program, theirs, "sync", address, "maildir:~/Mail")
            shown = await read_until(ours, "Password for me on 127.0.0.1: ")
            os.write(ours, f"{password}\n".encode())
            good = password == "sesame"
            shown = await read_until(ours, "in step: 5 copied" if good else "error: ")
            assert password not in shown
            code = await asyncio.to_thread(process.wait, 30)
    assert code == (ExitCode.OK if good else ExitCode.LOGIN)
    assert len(found["INBOX"]) == 5


async def test_ctrl_c_at_the_password(program: Program) -> None:
    mail, _ = account(1)
    async with serving(mail) as (server, address):
        with terminal() as (ours, theirs):
            process = at_terminal(program, theirs, "sync", address, "maildir:~/Mail")
            await read_until(ours, "Password for me on 127.0.0.1: ")
            os.write(ours, b"\x03")
            await read_until(ours, "interrupted; the next run goes on from here")
            assert await asyncio.to_thread(process.wait, 30) == ExitCode.INTERRUPTED
        assert server.connections == 0
