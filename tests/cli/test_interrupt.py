"""Ctrl-C at any moment: the next run goes on, nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from tests.cli.running import Program, account, contents, interrupt_when, serving, wait

from mailtwin.cli.runner import InterruptedRunError, run
from mailtwin.errors import ExitCode, UnreachableError
from mailtwin.testing.manners import GMAIL_MANNERS
from mailtwin.testing.simserver import SimServer


def commands(name: str, count: int) -> Callable[[SimServer], bool]:
    """Whether a server has been sent so many commands of this name."""
    return lambda server: server.counts[name] >= count


MOMENTS = [
    (signal.SIGINT, commands("LIST", 1)),
    (signal.SIGINT, commands("APPEND", 1)),
    (signal.SIGINT, commands("APPEND", 17)),
    (signal.SIGTERM, commands("APPEND", 40)),
]


@pytest.mark.parametrize(("which", "reached"), MOMENTS)
async def test_signal_and_next_run(
    program: Program, which: signal.Signals, reached: Callable[[SimServer], bool]
) -> None:
    (left, one), (right, other) = account(60), account()
    async with serving(left) as (_, a), serving(right, GMAIL_MANNERS) as (server, b):
        process = await program.start("sync", a, b)
        await interrupt_when(process, lambda: reached(server), which)
        ended = await wait(process)
        assert ended.code == ExitCode.INTERRUPTED, ended.err
        assert ended.err.splitlines()[-1] == "interrupted; the next run goes on from here"
        assert "Traceback" not in ended.err
        status = await program.run("status", a, b)
        assert "interrupted" in status.out or "no run yet" in status.out
        again = await program.run("sync", a, b)
        assert again.code == ExitCode.OK, again.err
    assert contents(one) == contents(other)
    assert len(one["INBOX"]) == 60


async def test_killed_and_next_run(program: Program) -> None:
    (left, one), (right, other) = account(60), account()
    async with serving(left) as (_, a), serving(right, GMAIL_MANNERS) as (server, b):
        process = await program.start("sync", a, b)
        await interrupt_when(process, lambda: server.counts["APPEND"] >= 20, signal.SIGKILL)
        assert (await wait(process)).code == -signal.SIGKILL
        assert "running, or killed" in (await program.run("status", a, b)).out
        again = await program.run("sync", a, b)
        assert again.code == ExitCode.OK, again.err
    assert Counter(one["INBOX"].bodies()) == Counter(other["INBOX"].bodies())


async def test_json_tells_of_the_interruption(program: Program) -> None:
    mail, _ = account(200)
    async with serving(mail) as (server, address):
        process = await program.start("sync", "--json", address, "maildir:~/Mail")
        await interrupt_when(process, lambda: server.counts["UID FETCH"] >= 1, signal.SIGINT)
        ended = await wait(process)
    assert ended.code == ExitCode.INTERRUPTED
    assert ended.lines[-1] == {"version": 1, "pair": None, "event": "end", "exit_code": 130}


SIGNALLED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{which})

sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["status", "maildir:/a", "imap://me@127.0.0.1:1/"]
from mailtwin.cli import main
main()
"""
"""The program, which is sent a signal when it begins to import a module."""

EARLY = [
    ("mailtwin.cli.app", "interrupted; nothing was begun"),
    ("mailtwin.cli.commands", "interrupted; the next run goes on from here"),
]


@pytest.mark.parametrize("which", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(("module", "words"), EARLY)
def test_in_the_first_moments(which: str, module: str, words: str) -> None:
    code = SIGNALLED.format(module=module, which=which)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (ExitCode.INTERRUPTED, words)


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As whoever started the program wants it."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SIGNALLED.format(
        module="mailtwin.cli.app", which="SIGTERM"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "interrupted" not in done.stderr
    assert done.returncode == ExitCode.OK, done.stderr


# --- the runner -----------------------------------------------------------------------------------------------------


async def _raise_signal(which: signal.Signals) -> None:
    signal.raise_signal(which)
    await asyncio.sleep(10)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels(which: signal.Signals) -> None:
    before = signal.getsignal(which)
    mine = signal.signal(which, lambda *_: None)
    try:
        handler = signal.getsignal(which)
        with pytest.raises(InterruptedRunError):
            run(_raise_signal(which))
        assert signal.getsignal(which) is handler
    finally:
        signal.signal(which, mine)
    assert signal.getsignal(which) == before


def test_farewell_is_waited_for() -> None:
    said = []

    async def main() -> None:
        try:
            await _raise_signal(signal.SIGINT)
        finally:
            await asyncio.sleep(0.01)
            said.append("bye")

    with pytest.raises(InterruptedRunError):
        run(main())
    assert said == ["bye"]


def test_farewell_that_fails_is_still_an_interruption() -> None:
    async def main() -> None:
        try:
            await _raise_signal(signal.SIGINT)
        finally:
            raise UnreachableError("gone")

    with pytest.raises(InterruptedRunError):
        run(main())


def test_result_and_errors_pass() -> None:
    async def fail() -> None:
        raise UnreachableError("no")

    async def give() -> int:
        return 7

    assert run(give()) == 7
    with pytest.raises(UnreachableError):
        run(fail())
