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
from collections.abc import Callable, Iterator
from contextlib import suppress
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


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """All processes below `pid`, with their names."""
    children: dict[int, list[tuple[int, str]]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(int(fields.split()[1]), []).append((int(stat.parent.name), name))
    below = [pid]
    while below:
        for child in children.get(below.pop(), []):
            below.append(child[0])
            yield child


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

    first = subprocess.Popen(
        [PROGRAM, "sync", left.address, right.address],
        env=twin.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    suspended: list[int] = []
    try:
        wait_for("an upload", lambda: first.poll() is not None or right.count("INBOX") >= STORED_FIRST)
        suspended = [pid for pid, name in descendants(server.pid) if name in ("imap", "imapd")]
        for pid in suspended:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)  # what it still sends lies in the suspended session's hands then
    finally:
        first.kill()
        first.wait()
        try:
            second = twin.run()
        finally:
            for pid in suspended:
                with suppress(ProcessLookupError):  # a session of nobody's may have ended meanwhile
                    os.kill(pid, signal.SIGCONT)
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
