"""Adopting: a server and a Maildir that hold the same mail already are joined without transferring a message.

So is a pair whose state was lost or replaced by an old backup, and a mailbox that was numbered anew. What goes over the
wire is counted: no body, where headers decide.

`MAILTWIN_ACCEPTANCE_ADOPTED` sets the size (`make acceptance`: 50,000).
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.engine.test_state_lost import lose, restore

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.client.tap import Tapped
from mailtwin.engine import Pair, sync
from mailtwin.engine.report import RunReport
from mailtwin.state import State
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.corpus import messages
from mailtwin.testing.realservers import Account, RealServer

MESSAGES = int(os.environ.get("MAILTWIN_ACCEPTANCE_ADOPTED", "2000"))
SEED = 20261124
FLAGS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S"}
BODY = re.compile(rb"BODY(?:\.PEEK)?\[\]|RFC822(?!\.SIZE)|APPEND ")


@dataclass(slots=True)
class Wire:
    """What went over the wire: bytes heard, and commands that move bodies."""

    heard_bytes: int = 0
    moved: list[bytes] = field(default_factory=list)

    def hear(self, data: bytes) -> None:
        self.heard_bytes += len(data)

    def say(self, data: bytes) -> None:
        self.moved += BODY.findall(data)


class WatchedStore(ImapStore):
    """A store of which every byte is seen."""

    wire: Wire

    async def connect(self, *, create: bool) -> None:
        assert self._session is None
        tapped = Tapped(heard=self.wire.hear, said=self.wire.say)
        self._session = await Session.open(self._endpoint, self._credentials(), connection=tapped)
        self._namespace = None


@dataclass(slots=True)
class Twins:
    """An account of a Dovecot and a Maildir beside it, which hold the same `count` messages."""

    server: RealServer
    directory: Path
    count: int
    account: Account = field(init=False)
    held: Path = field(init=False)

    def __post_init__(self) -> None:
        self.account = self.server.user()
        self.held = self.server.maildir(self.account)
        for root in (self.held, self.root):
            for part in ("tmp", "new", "cur"):
                (root / part).mkdir(parents=True)
        for number, (body, letters, date_s) in enumerate(self._mail()):
            for root, name in ((self.held, f"{date_s}.M{number}P1.server"), (self.root, f"{number}.other")):
                file = root / "cur" / f"{name}:2,{letters}"
                file.write_bytes(body)
                os.utime(file, (date_s, date_s))
        for path in (self.held, *self.held.rglob("*")):
            shutil.chown(path, "mail", "mail")

    def _mail(self) -> Iterator[tuple[bytes, str, int]]:
        written = 0
        for message in messages(SEED, 2 * self.count):
            # Without a Message-ID the body decides, which is another story.
            if (
                b"\nmessage-id:" in message.body[: message.body.find(b"\r\n\r\n")].lower()
                and written < self.count
            ):
                written += 1
                letters = "".join(sorted(FLAGS[flag] for flag in message.flags if flag in FLAGS))
                yield message.body.replace(b"\r\n", b"\n"), letters, int(message.date.timestamp())
        assert written == self.count

    @property
    def root(self) -> Path:
        return self.directory / "mail"

    @property
    def state(self) -> Path:
        return self.directory / "s.db"

    async def run(self) -> tuple[RunReport, Wire]:
        """One run, and what went over the wire."""
        wire = Wire()
        endpoint = Endpoint("127.0.0.1", self.server.port, "plain")
        user, password = self.account.user, self.account.password
        store = WatchedStore(endpoint, lambda: Credentials(user, Secret(password)), user)
        store.wire = wire
        with State.open(self.state, left="server", right="maildir", now=time.time) as state:
            report = await sync(Pair(store, MaildirStore(self.root)), state)
        return report, wire

    def names(self) -> set[str]:
        """The messages on both sides, by the names of their files without flags."""
        return {
            f"{root.name}/{file.name.partition(':')[0].partition(',')[0]}"
            for root in (self.held, self.root)
            for part in ("new", "cur")
            for file in (root / part).iterdir()
        }

    async def expect_adopted(self, count: int) -> Wire:
        """A run recognises `count` messages, moves none, and leaves nothing to do for the next one."""
        before = self.names()
        report, wire = await self.run()
        assert report.in_step, report.problems
        done = {name: number for name, number in report.counts.as_dict().items() if number}
        assert done == ({"adopted": count} if count else {})
        assert wire.moved == []
        assert self.names() == before
        report, _ = await self.run()
        assert report.in_step
        assert not any(report.counts.as_dict().values())
        return wire


@pytest.mark.timeout(120 + MESSAGES // 50)
async def test_two_sides_with_the_same_mail_are_joined_without_a_transfer(
    dovecot: RealServer, tmp_path: Path
) -> None:
    twins = Twins(dovecot, tmp_path, MESSAGES)
    began = time.monotonic()
    wire = await twins.expect_adopted(MESSAGES)
    sys.stdout.write(
        f"{MESSAGES} messages joined, and looked at once more, in {time.monotonic() - began:.1f} s; heard for each: "
        f"{wire.heard_bytes // MESSAGES} bytes; memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )


@pytest.mark.parametrize("spoil", [lose, restore])
async def test_a_state_that_was_lost_or_is_old_costs_no_transfer(
    spoil: Callable[[Path, Path], None], dovecot: RealServer, tmp_path: Path
) -> None:
    twins = Twins(dovecot, tmp_path, 200)
    await twins.expect_adopted(200)
    old = tmp_path / "old.db"
    shutil.copy(twins.state, old)
    for number in range(20):
        file = twins.root / "new" / f"late{number}.other"
        file.write_bytes(b"Message-ID: <late%d@adopt.example>\nSubject: late\n\nbody\n" % number)
    report, _ = await twins.run()
    assert (report.in_step, report.counts.copied_to_left) == (True, 20)
    spoil(twins.state, old)
    await twins.expect_adopted(220 if spoil is lose else 20)


async def test_a_mailbox_that_was_numbered_anew_costs_no_transfer(
    dovecot: RealServer, tmp_path: Path
) -> None:
    twins = Twins(dovecot, tmp_path, 200)
    await twins.expect_adopted(200)
    await asyncio.sleep(1.1)  # a Dovecot numbers by the second in which it begins to
    for file in twins.held.glob("dovecot*"):
        file.unlink()
    await twins.expect_adopted(200)
