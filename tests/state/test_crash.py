"""What was committed is there after kill -9, and nothing else; so it is at every single durable write."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.state.conftest import LEFT, RIGHT

from mailtwin.model import INBOX, NO_FLAGS, Side
from mailtwin.planner.operations import Link
from mailtwin.state import AddLink, Change, Note, SetValidity, State

BATCH = 50

_WRITER = """
import os, signal, sys
from pathlib import Path
from mailtwin.model import INBOX, NO_FLAGS, Side
from mailtwin.planner.operations import Link
from mailtwin.state import AddLink, Note, SetValidity, State

path, batch, deadly = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
calls = 0
def on_commit():
    global calls
    calls += 1
    if calls == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

with State.open(path, left=sys.argv[4], right=sys.argv[5], now=lambda: 0.0, on_commit=on_commit) as state:
    state.begin_run("sync")
    state.commit(INBOX, [SetValidity(side, "1") for side in Side])
    print(0, flush=True)
    for number in range(1, 100_000):
        uids = range(number * batch, (number + 1) * batch)
        state.commit(INBOX, [change for uid in uids
                             for change in (AddLink(Link(uid, str(uid), NO_FLAGS)), Note("copy", uid, None, ""))])
        print(number, flush=True)
"""


def writer(path: Path, deadly: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(path), str(BATCH), str(deadly), LEFT, RIGHT]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def batches(path: Path) -> int:
    """How many whole batches the state holds; it is sound, or this fails."""
    with State.open(path, left=LEFT, right=RIGHT, now=lambda: 0.0) as state:
        links = state.base(INBOX).links
        assert [link.left for link in links] == list(range(BATCH, BATCH + len(links)))
        assert len(links) % BATCH == 0
        assert len(state.history(limit=10**6)) == len(links)
        assert state.check() == []
        return len(links) // BATCH


@pytest.mark.parametrize("attempt", range(4))
def test_killed_at_any_moment(path: Path, attempt: int) -> None:
    with writer(path, deadly=0) as process:
        assert process.stdout is not None
        chance = random.Random(attempt)
        lines = [process.stdout.readline() for _ in range(chance.randrange(1, 40))]
        time.sleep(chance.random() / 100)
        process.kill()
        lines += process.stdout.readlines()
    said = int([line for line in lines if line.endswith("\n")][-1])
    held = batches(path)
    assert held in (said, said + 1)


@pytest.mark.parametrize("deadly", range(1, 8))
def test_killed_before_and_after_a_commit(path: Path, deadly: int) -> None:
    with writer(path, deadly) as process:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    # Calls 1 and 2 belong to the validities, 3 and 4 to the first batch: the even ones come after the commit.
    assert batches(path) == max(0, deadly // 2 - 1)


class StopError(Exception):
    pass


def life_of_a_mailbox(path: Path, on_commit: Callable[[], None]) -> None:
    """Four durable writes."""
    with State.open(path, left=LEFT, right=RIGHT, now=lambda: 0.0, on_commit=on_commit) as state:
        run = state.begin_run("sync")
        state.add_mailbox(INBOX)
        state.commit(INBOX, [*(SetValidity(side, "1") for side in Side), AddLink(Link(1, 1, NO_FLAGS))])
        state.forget_mailbox(INBOX)
        state.end_run(run, "in step", {})


@pytest.mark.parametrize("stop", range(1, 9))
def test_interrupted_at_every_durable_write(path: Path, stop: int) -> None:
    calls = 0

    def on_commit() -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise StopError

    with pytest.raises(StopError):
        life_of_a_mailbox(path, on_commit)
    with State.open(path, left=LEFT, right=RIGHT, now=lambda: 0.0) as state:
        written = stop // 2
        assert (INBOX in state.mailboxes()) == (written in (1, 2))
        assert state.has_links() == (written == 2)
        assert [run.outcome for run in state.runs()] == (
            [] if not written else [None if written < 4 else "in step"]
        )
        assert state.check() == []


def test_a_commit_that_was_interrupted_can_be_repeated(path: Path) -> None:
    armed = [True]

    def on_commit() -> None:
        if armed.pop() if armed else False:
            raise StopError

    changes: list[Change] = [AddLink(Link(1, 1, NO_FLAGS)), Note("copy", 1, 1, "")]
    with State.open(path, left=LEFT, right=RIGHT, now=lambda: 0.0, on_commit=on_commit) as state:
        state.begin_run("sync")
        with pytest.raises(StopError):
            state.commit(INBOX, changes)
        assert not state.mailboxes()
        state.commit(INBOX, changes)
        assert state.has_links()
        assert [line.run for line in state.history()] == [1]
