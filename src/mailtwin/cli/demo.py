"""`mailtwin demo`: two simulated servers and a Maildir become one, before your eyes, and stay so.

The servers run inside this process, on free ports of the loopback interface; the Maildir and the states lie in a
temporary directory. Everything else is what `mailtwin sync` does: the same addresses, client, planner and state.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from mailtwin import engine
from mailtwin.cli import runner, words
from mailtwin.cli.commands import looking_ahead
from mailtwin.cli.output import Lines
from mailtwin.cli.screen import TextScreen
from mailtwin.config.address import parse_address
from mailtwin.config.build import Built, build_pair
from mailtwin.config.settings import PairSettings
from mailtwin.errors import ConfigurationError, ExitCode
from mailtwin.model import Side
from mailtwin.state import State
from mailtwin.testing.corpus import CorpusMessage, messages
from mailtwin.testing.manners import GMAIL_MANNERS, PLAIN
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

SEED = 20240501
USER, PASSWORD = "demo", "sesame"
MAILBOXES = {"INBOX": 180, "Sent": 60, "Archive/2024": 40, "Entwürfe": 20}
ROUNDS_MAX = 5
"""Changes on three sides travel over two pairs; more rounds than this mean that they never come to rest."""

INTRODUCTION = """\
This is what mailtwin does, shown on mail that nobody will miss. Server A behaves as most servers do. Server B has
Gmail's manners: it tells what it can do only after login, says where it stored a message without ever having promised
to, and hides new mail from SEARCH until it has been sent a NOOP. Clients have lost mail by each of these."""

FAREWELL = """\
Now with your own account (INBOX and all other mailboxes, both ways; the password is asked for):

    mailtwin check imaps://you@imap.example.org/ maildir:~/Mail     # logs in, shows how mailboxes map
    mailtwin plan  imaps://you@imap.example.org/ maildir:~/Mail     # what would be done, and why
    mailtwin sync  imaps://you@imap.example.org/ maildir:~/Mail     # do it; again at any time

Only copying, never changing the server:

    mailtwin sync --direction left-to-right imaps://you@imap.example.org/ maildir:~/Mail

For Gmail, make an app password first (https://myaccount.google.com/apppasswords) and use
imaps://you%40gmail.com@imap.gmail.com/. To run unattended, write a configuration file: see the README."""


def demo(keep: Path | None) -> int:
    """Runs the demonstration; 0 when everything was proven identical. `keep`: a new directory for what remains of it.

    Raises ConfigurationError when that exists.
    """
    if keep is not None and keep.exists():
        raise ConfigurationError(
            f"{keep} exists already.", hint="Name a directory that the demonstration can make."
        )
    with ExitStack() as stack:
        if keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailtwin-demo-")))
        else:
            directory = keep.absolute()
        return runner.run(_Demo(Lines(sys.stdout), directory, kept=keep is not None).run())


@dataclass(slots=True)
class _Demo:
    """The whole story; `proven` is the truth about it."""

    out: Lines
    directory: Path
    kept: bool
    left: SimMail = field(default_factory=SimMail)
    right: SimMail = field(default_factory=SimMail)
    proven: bool = True
    step: int = 0

    async def run(self) -> int:
        began_s = time.monotonic()
        self.out.write(INTRODUCTION)
        a, b = self.left.add_account(USER, PASSWORD), self.right.add_account(USER, PASSWORD)
        spare = fill(a)
        async with SimServer(self.left, PLAIN) as one, SimServer(self.right, GMAIL_MANNERS) as other:
            self.heading("Two servers and an empty Maildir")
            addresses = [f"imap://{USER}@{server.host}:{server.port}/" for server in (one, other)]
            total = words.number(sum(MAILBOXES.values()), "message")
            self.out.write(f"A  {addresses[0]}  {total} in {len(MAILBOXES)} mailboxes")
            self.out.write(f"B  {addresses[1]}  empty, with Gmail's manners")
            self.out.write(f"M  {self.maildir_address}  does not exist yet")
            servers = self.pair(addresses[0], addresses[1])
            maildir = self.pair(addresses[0], self.maildir_address)
            await self.first_time(servers, a, b)
            await self.first_time(maildir, a, None)
            await self.changes(servers, maildir, (a, b), spare)
            await self.nothing_to_do(servers, (one, other))
        self.heading("Yours")
        if self.kept:
            self.out.write(f"The Maildir and the states are kept in {self.directory}.")
        self.out.write(FAREWELL)
        self.out.write()
        verdict = "everything was proven identical" if self.proven else "NOT everything was proven identical"
        self.out.write(f"{verdict}, in {words.duration(time.monotonic() - began_s)}")
        return ExitCode.OK if self.proven else ExitCode.NOT_IN_STEP

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def first_time(self, built: Built, left: SimAccount, right: SimAccount | None) -> None:
        """A plan, a run, a proof."""
        self.heading("A and B become twins" if right else "A and a Maildir become twins")
        await self.plan(built)
        await self.sync(built)
        await self.prove(built)
        if right is not None:
            self.prove_in_memory(left, right)

    async def changes(
        self,
        servers: Built,
        maildir: Built,
        accounts: tuple[SimAccount, SimAccount],
        spare: list[CorpusMessage],
    ) -> None:
        """Everybody changes something; the runs bring it to rest."""
        self.heading("Meanwhile people read, answer, delete, on all three")
        for line in (*change_servers(*accounts, spare), *change_maildir(self.directory / "Mail", spare)):
            self.out.write(f"- {line}")
        await self.plan(servers)
        await self.plan(maildir)
        for built in itertools.islice(itertools.cycle((servers, maildir)), 2 * ROUNDS_MAX):
            moved = await self.sync(built)
            if not moved and built is servers:
                break
        await self.prove(servers)
        await self.prove(maildir)
        self.prove_in_memory(*accounts)

    async def nothing_to_do(self, built: Built, servers: tuple[SimServer, SimServer]) -> None:
        """A run in which nothing changed costs next to nothing."""
        self.heading("A run with nothing to do")
        before = [server.counts.total() for server in servers]
        if await self.sync(built):
            self.fail("something was done although nothing had changed")
        for name, server, count in zip("AB", servers, before, strict=True):
            self.out.write(
                f"{name} was sent {words.number(server.counts.total() - count, 'command')}, login included"
            )

    # --- what each step is made of ------------------------------------------------------------------------------------

    @property
    def maildir_address(self) -> str:
        return f"maildir:{self.directory / 'Mail'}"

    def heading(self, text: str) -> None:
        self.out.write()
        self.out.write(
            f"--- {self.step}. {text} ".ljust(100, "-") if self.step else f"--- {text} ".ljust(100, "-")
        )
        self.step += 1

    def fail(self, text: str) -> None:
        self.proven = False
        self.out.write(f"FAILED: {text}")

    def pair(self, left: str, right: str) -> Built:
        settings = PairSettings(
            f"{left} <-> {right}",
            parse_address(left),
            parse_address(right),
            state_dir=self.directory / "state",
        )
        return build_pair(settings, lambda _question: PASSWORD, environ={})

    def screen(self, command: str, built: Built) -> TextScreen:
        left, right = built.pair.left.address, built.pair.right.address
        self.out.write(f"$ mailtwin {command} {left} {right}")
        screen = _Screen(self.out, self.out)
        screen.begin(built.name, left, right)
        return screen

    async def plan(self, built: Built) -> None:
        screen = self.screen("plan", built)
        with looking_ahead(built) as (ready, state):
            screen.plan(await engine.plan(ready.pair, state))

    async def sync(self, built: Built) -> bool:
        """Whether anything was done."""
        screen = self.screen("sync", built)
        left, right = built.pair.left.address, built.pair.right.address
        with State.open(built.state, left=left, right=right, now=time.time) as state:
            report = await engine.sync(built.pair, state, screen.event)
        screen.report(report)
        if not report.in_step:
            self.fail("the two sides are not in step")
        return any(report.counts.as_dict().values())

    async def prove(self, built: Built) -> None:
        """Reads every message of both sides again and compares bytes, flags and dates, without the state."""
        found = await engine.compare_stores(built.pair.left, built.pair.right)
        what = f"{words.number(found.same, 'message')} in {words.number(len(found.mailboxes), 'mailbox')}"
        if found.identical:
            self.out.write(f"proof: {what}, read again on both sides: the same bytes, flags and dates")
            return
        for difference in found.differences[:20]:
            self.out.write(f"  {words.finding(difference)}")
        self.fail(f"{words.number(found.difference_count, 'difference')}; {what} are identical")

    def prove_in_memory(self, left: SimAccount, right: SimAccount) -> None:
        """The servers are in this process: what they hold can be compared without any of our own client."""
        contents = [contents_of(account) for account in (left, right)]
        if contents[Side.LEFT] == contents[Side.RIGHT]:
            self.out.write("proof: the memory of A and B holds the same messages, none lost, none doubled")
        else:
            self.fail("A and B do not hold the same messages")


class _Screen(TextScreen):
    """What the commands show, without the addresses that stand in the line above."""

    def title(self, lines: Lines) -> None:
        """Nothing."""


def contents_of(account: SimAccount) -> Counter[tuple[str, bytes, frozenset[str]]]:
    """Every message of a simulated account: mailbox, bytes and flags, with how often it is there."""
    return Counter(
        (name, message.body, message.flags) for name in account.names() for message in account[name]
    )


def fill(account: SimAccount) -> list[CorpusMessage]:
    """Fills an account; returns messages that are left for later."""
    source = messages(SEED, sum(MAILBOXES.values()) + 12)
    for name, count in MAILBOXES.items():
        mailbox = account[name] if name in account else account.create(name)
        for message in itertools.islice(source, count):
            mailbox.append(message.body, message.flags, message.date)
    return list(source)


def change_servers(a: SimAccount, b: SimAccount, spare: list[CorpusMessage]) -> list[str]:
    """What people do on the two servers; each line says one thing that was done."""
    here, there = a["INBOX"], b["INBOX"]
    mine, theirs = here.uids(), there.uids()
    for message in (spare.pop() for _ in range(4)):
        here.append(message.body, message.flags, message.date)
    for message in (spare.pop() for _ in range(3)):
        there.append(message.body, message.flags, message.date)
    for uid in mine[:6]:
        here.set_flags(uid, here[uid].flags | {"\\Flagged"})
    for uid in theirs[4:9]:
        there.set_flags(uid, there[uid].flags | {"\\Answered", "\\Seen"})
    for uid in mine[20:27]:
        here.remove(uid)
    for uid in theirs[25:31]:
        there.remove(uid)
    b.create("Travel/Iceland")
    moved = a["Sent"][a["Sent"].uids()[0]]
    b["Travel/Iceland"].append(moved.body, moved.flags, moved.date)
    return [
        "on A: 4 new messages, 6 flagged, 7 removed",
        "on B: 3 new messages, 5 answered (two of them those just flagged on A), 6 removed (two of them also on A)",
        "on B: a new mailbox Travel/Iceland with a copy of a sent message",
    ]


def change_maildir(root: Path, spare: list[CorpusMessage]) -> list[str]:
    """What a mail reader does in the Maildir: renames for flags, a delivery, removals."""
    files = sorted((root / "cur").iterdir())
    unread = [file for file in files if not file.name.endswith("S")][:2]
    for file in unread:
        file.rename(file.with_name(file.name + "S"))
    gone = [file for file in files if file not in unread][-3:]
    for file in gone:
        file.unlink()
    (root / "new" / "1714550000.M1P1.reader").write_bytes(spare.pop().body.replace(b"\r\n", b"\n"))
    return [f"in the Maildir: 1 message delivered, {len(unread)} read, {len(gone)} removed"]
