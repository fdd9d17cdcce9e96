"""Acceptance by a server that stalls: its session is suspended with messages in its hands, and wakes much too late.

mailtwin is killed while it waits, run again, waits in vain, sends again; then the suspended session stores what it was
given at first. Whatever that makes of the server's side, nothing of it may reach the other one, and a person's decision
makes both sides equal.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.foreign import Contents, ForeignMaildir, ForeignServer
from tests.acceptance.killing import Twin
from tests.acceptance.test_kill import corpus
from tests.cli.running import PROGRAM

from mailtwin.testing.realservers import Kind, RealServer

MESSAGES = 300
STORED_FIRST = 40
WAIT_S_MAX = 60
ATTEMPTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    name: str
    state: str

    def send(self, number: signal.Signals) -> None:
        """Signals it; one that ended meanwhile does not mind."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


def descendants(pid: int) -> Iterator[Process]:
    """All processes below `pid`."""
    children: dict[int, list[Process]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, facts = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it ended meanwhile
        state, parent = facts.split()[:2]
        children.setdefault(int(parent), []).append(Process(int(stat.parent.name), name, state))
    below = [pid]
    while below:
        for child in children.get(below.pop(), []):
            below.append(child.pid)
            yield child


def sessions(server: RealServer) -> list[Process]:
    """The processes that serve a client each."""
    return [process for process in descendants(server.pid) if process.name in ("imap", "imapd")]


def stored(maildir: Path) -> int:
    """How many messages lie there, seen without asking the server: its locks are left alone."""
    return sum(1 for part in ("new", "cur") for _ in (maildir / part).glob("*"))


def is_locked(maildir: Path, by: Iterable[Process]) -> bool:
    """Whether one of these processes may keep the others out of the mailbox: by a file, or by the kernel."""
    owners = {line.split("ADVISORY")[-1].split()[1] for line in Path("/proc/locks").read_text().splitlines()}
    return any(str(process.pid) in owners for process in by) or any(maildir.rglob("*lock*"))


def suspend_sessions(server: RealServer, maildir: Path) -> list[Process]:
    """Suspends all sessions at a moment when none holds a lock: with one, the server would stall every other session
    too, until it takes the lock for forgotten, minutes later.
    """

    def suspended() -> bool:
        return all(process.state == "T" for process in sessions(server))

    for _ in range(ATTEMPTS_MAX):
        found = sessions(server)
        for process in found:
            process.send(signal.SIGSTOP)
        wait_for("suspended sessions", suspended)
        if not is_locked(maildir, found):
            return found
        for process in found:
            process.send(signal.SIGCONT)
        time.sleep(0.002)
    pytest.fail("the sessions hold a lock whenever one looks")


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Waits until `holds()`; fails after a minute."""
    end = time.monotonic() + WAIT_S_MAX
    while not holds():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.005)


def is_at_rest(account: ForeignServer) -> bool:
    """Whether nothing arrives any more."""
    before = account.count("INBOX")
    time.sleep(1.5)
    return account.count("INBOX") == before


def extra(contents: Contents) -> int:
    """How many messages are there more than once."""
    digests = Counter(found.mail.digest for found in contents["INBOX"])
    return digests.total() - len(digests)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "kind", ["dovecot", "courier"]
)  # a process for each session: one can be suspended alone
def test_what_a_suspended_session_stores_in_the_end_goes_nowhere(
    kind: Kind, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: RealServer = request.getfixturevalue(kind)
    right, left = ForeignServer(server), ForeignMaildir(tmp_path / "Maildir")
    left.create(["INBOX"])
    left.deliver("INBOX", itertools.islice(corpus(MESSAGES), MESSAGES))
    twin = Twin(tmp_path, left.address, right.address, right.password, random.Random(0))

    maildir = server.maildir(right.account)
    first = subprocess.Popen(
        [PROGRAM, "sync", left.address, right.address],
        env=twin.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    suspended: list[Process] = []
    try:
        wait_for("an upload", lambda: first.poll() is not None or stored(maildir) >= STORED_FIRST)
        suspended = suspend_sessions(server, maildir)
        time.sleep(0.3)  # what it still sends lies in the suspended session's hands then
    finally:
        first.kill()
        first.wait()
        try:
            second = twin.run()
        finally:
            for process in suspended:
                process.send(signal.SIGCONT)
    assert second.code == 0, second
    wait_for("the last of what was sent", lambda: is_at_rest(right))

    late = extra(right.read())
    third = twin.run()
    assert extra(left.read()) == 0
    assert len(left.read()["INBOX"]) == MESSAGES
    assert third.code == (3 if late else 0), third
    (report,) = (event for event in third.events if event["event"] == "report")
    told = [problem for problem in report["problems"] if "arrived on right late" in problem["message"]]
    assert len(told) == late

    decided = subprocess.run(
        [PROGRAM, "resolve", "--remove-extra", left.address, right.address],
        env=twin.environ(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert (f"{late} message" if late else "nothing to decide") in decided.stdout
    last = twin.run()
    assert last.code == 0, last
    assert sorted(found.mail for found in left.read()["INBOX"]) == sorted(
        found.mail for found in right.read()["INBOX"]
    )
    assert extra(right.read()) == 0
