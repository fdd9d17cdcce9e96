"""A simulated Gmail account, its labels as mailboxes, and a Maildir: both change at random, connections are cut, and
runs keep them in step without a message that is lost, or stored twice.

Each message has a Message-ID of its own. What is not so well as yet is told in `docs/simulator.md`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.report import RunReport
from mailtwin.model import MailboxName, make_flags
from mailtwin.state import State
from mailtwin.stores.base import FlagChange, Mailbox, Message, Spool
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.providers import GMAIL, Provider
from mailtwin.testing.simfaults import When, cut
from mailtwin.testing.simlabels import LabelledAccount, LabelledMailbox, Role
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

USED = ("INBOX", "Work", "a/b")
BINS = (Role.TRASH, Role.SPAM)
VIEWS = (Role.ALL, Role.STARRED, Role.IMPORTANT)
"""They show messages of other mailboxes again, and take no part."""
DATE = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)
ROUNDS = 5

SWITCHES = {
    "as it is": (),
    "UIDs are not told": ("unannounced=UIDPLUS", "append_uid=no", "copy_uid=no", "check_tells=no"),
    "expunge waits": ("auto_expunge=no",),
    "expunge is trash": ("expunge=trash",),
    "repeats itself": ("repeats_attributes=yes", "split_fetch=yes", "chatter_seed=1"),
}


def body(number: int) -> bytes:
    return b"Message-ID: <%d@x>\r\nFrom: a@x\r\nSubject: number %d\r\n\r\ntext %d\r\n" % ((number,) * 3)


def name_of(text: str) -> MailboxName:
    return MailboxName(tuple(text.split("/")))


async def no_sleep(_seconds: float) -> None:
    """Time does not matter here."""


class World:
    """An account, a Maildir, and what two people did; `purged` are the messages that somebody deleted for ever."""

    def __init__(self, provider: Provider, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        mail = SimMail()
        account = provider.add_account(mail, "alice", "secret")
        assert isinstance(account, LabelledAccount)
        self.account = account
        self.server: SimServer = provider.server(mail)
        for name in USED[1:]:
            account.create(name)
        self.made = 0
        self.purged: set[bytes] = set()
        self.story: list[str] = []

    def tell(self, what: str) -> None:
        self.story.append(what)

    def names(self) -> list[str]:
        """The mailboxes that take part."""
        return [name for name in self.account.names() if self.mailbox(name).role not in VIEWS]

    def mailbox(self, name: str) -> LabelledMailbox:
        found = self.account[name]
        assert isinstance(found, LabelledMailbox)
        return found

    def new(self) -> bytes:
        self.made += 1
        return body(self.made)

    # --- the person at the web page --------------------------------------------------------------------------------

    def far(self) -> None:
        name = self.rng.choice(self.account.names())
        mailbox = self.mailbox(name)
        act = self.rng.choice(["deliver", "deliver", "label", "move", "unlabel", "trash", "flag", "unflag"])
        if act == "deliver":
            self.tell(f"far: message {self.made + 1} into {name}")
            self.mailbox(self.rng.choice(USED)).append(self.new())
            return
        if not len(mailbox):
            return
        uid = self.rng.choice(mailbox.uids())
        target = self.mailbox(self.rng.choice(USED))
        self.tell(f"far: {act} {mailbox[uid].body[12:18]!r} of {name}, {target.label}")
        if act == "label":
            target.copy(mailbox[uid])
        elif act == "move":
            mailbox.move(uid, target)
        elif act == "trash":
            mailbox.move(uid, self.account.of(Role.TRASH))
        elif act == "unlabel":
            if mailbox.role in (*BINS, Role.ALL):
                self.purged.add(mailbox[uid].body)
            mailbox.remove(uid)
        else:
            flag = self.rng.choice([{"\\Flagged"}, {"\\Seen"}])
            flags = mailbox[uid].flags
            mailbox.set_flags(uid, flags | flag if act == "flag" else flags - flag)

    # --- the person with the Maildir -------------------------------------------------------------------------------

    @asynccontextmanager
    async def near_mailbox(self, name: str) -> AsyncIterator[Mailbox]:
        store = MaildirStore(self.directory / "mail")
        await store.connect(create=True)
        try:
            await store.create(name_of(name))
            async with store.open(name_of(name)) as mailbox:
                yield mailbox
        finally:
            await store.close()

    async def bodies(self, name: str) -> dict[bytes, list[object]]:
        """The refs of each message of a mailbox."""
        found: dict[bytes, list[object]] = {}
        async with self.near_mailbox(name) as mailbox:
            refs = list((await mailbox.observe()).listing.flags)
            async for message in mailbox.fetch(refs, Spool):
                found.setdefault(b"".join(message.spool.chunks()), []).append(message.ref)
        return found

    async def near(self) -> None:
        name = self.rng.choice(self.names())
        held = await self.bodies(name)
        act = self.rng.choice(["deliver", "copy", "remove", "flag", "unflag"])
        if act == "deliver":
            await self.store_near(self.rng.choice(USED), self.new())
        elif held:
            chosen = sorted(held)[self.rng.randrange(len(held))]
            self.tell(f"near: {act} {chosen[12:18]!r} of {name}")
            if act == "copy":
                await self.store_near(self.rng.choice(USED), chosen)
                return
            if act == "remove":
                await self.remove_near(name, chosen)
                return
            flag, none = make_flags([self.rng.choice(["\\Flagged", "\\Seen"])]), make_flags([])
            async with self.near_mailbox(name) as mailbox:
                ref = next(one for one in (await mailbox.observe()).listing.flags if one in held[chosen])
                added, removed = (flag, none) if act == "flag" else (none, flag)
                await mailbox.store_flags([FlagChange((ref,), added, removed)])

    async def remove_near(self, name: str, data: bytes) -> None:
        if self.mailbox(name).role in BINS or not self.is_far(data):
            self.purged.add(data)
        held = (await self.bodies(name))[data]
        async with self.near_mailbox(name) as mailbox:
            await mailbox.remove([ref for ref in (await mailbox.observe()).listing.flags if ref in held])

    def is_far(self, wanted: bytes) -> bool:
        return any(wanted in self.account[name].bodies() for name in self.account.names())

    async def store_near(self, name: str, data: bytes) -> None:
        if data in await self.bodies(name):
            return  # equal messages in one mailbox are one to Gmail
        self.tell(f"near: {data[12:18]!r} into {name}")
        async with self.near_mailbox(name) as mailbox:
            delivery = mailbox.delivery()
            spool = delivery.spool()
            spool.write(data)
            delivery.stage(Message(0, make_flags([]), DATE, spool), make_flags([]))
            await delivery.commit()

    # --- mailtwin --------------------------------------------------------------------------------------------------

    async def run(self) -> RunReport:
        endpoint = Endpoint("127.0.0.1", self.server.port, "plain")
        left = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        right = MaildirStore(self.directory / "mail")
        state = State.open(self.directory / "state.db", left=left.address, right=right.address, now=time.time)
        with state:
            pair = Pair(left, right, sleep=no_sleep)
            report = await sync(pair, state)
        self.tell(f"run: {report.counts.as_dict()} {[problem.error.message for problem in report.problems]}")
        return report

    async def settle(self) -> None:
        """Run until there is nothing left to do: a few runs have to be enough."""
        for _ in range(5):
            report = await self.run()
            if report.in_step and not any(report.counts.as_dict().values()):
                return
        raise AssertionError(self.story)

    async def judge(self) -> None:
        """Each mailbox holds the same on both sides, each once; nothing is stored twice, nothing is gone."""
        for name in self.names():
            far, near = Counter(self.account[name].bodies()), await self.bodies(name)
            assert set(far.values()) <= {1}, (name, self.story)
            assert far == Counter({data: len(refs) for data, refs in near.items()}), (name, self.story)
        stored = Counter(data for role in (Role.ALL, *BINS) for data in self.account.of(role).bodies())
        assert set(stored.values()) <= {1}, self.story
        expected = {body(number) for number in range(1, self.made + 1)} - self.purged
        assert expected <= set(stored), self.story


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES.keys())
async def test_random_worlds(switches: tuple[str, ...], seed: int, tmp_path: Path) -> None:
    world = World(GMAIL.switch(*switches), tmp_path, seed)
    async with world.server:
        for turn in range(ROUNDS):
            for _ in range(4):
                world.far()
            for _ in range(3 if turn else 0):
                await world.near()
            await world.settle()
            await world.judge()


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("command", ["APPEND", "UID STORE", "UID FETCH", "EXPUNGE", "SELECT"])
async def test_cut_connections(command: str, when: When, tmp_path: Path) -> None:
    """The outcome of what was under way is found, on a server that hides new mail and merges what comes again."""
    world = World(GMAIL.switch("unannounced=UIDPLUS", "append_uid=no", "check_tells=no"), tmp_path, 1)
    async with world.server:
        for _ in range(3):
            world.mailbox("INBOX").append(world.new())
        await world.settle()
        for name in USED:
            await world.store_near(name, world.new())
        world.mailbox("INBOX").set_flags(1, ["\\Seen"])
        await world.remove_near("INBOX", body(2))
        before = world.server.connections
        world.server.faults.add(cut(command, when=when, times=2))
        runs = 0
        while not (await world.run()).in_step:
            runs += 1
            assert runs < 3, world.story
        assert world.server.connections - before > runs + 1, "nothing was cut"
        world.server.faults.clear()
        await world.settle()
        await world.judge()


async def test_a_removal_takes_one_label_and_leaves_the_others(tmp_path: Path) -> None:
    world = World(GMAIL, tmp_path, 1)
    async with world.server:
        world.mailbox("INBOX").append(world.new())
        world.mailbox("Work").copy(world.mailbox("INBOX")[1])
        await world.settle()
        await world.remove_near("INBOX", body(1))
        await world.settle()
        await world.judge()
        assert [len(world.mailbox(name)) for name in ("INBOX", "Work")] == [0, 1]
        assert len(world.account.of(Role.ALL)) == 1
