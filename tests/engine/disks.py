"""A Maildir on the left, a server in memory on the right, and the state: all that a power cut or a full disk can hit
lies in one directory, and what must hold afterwards is checked here."""

from __future__ import annotations

import copy
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailtwin.engine import Pair, sync, undo
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, Flags, MailboxName, make_flags
from mailtwin.state import State
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.maildir_names import UniqueNames, split_name
from mailtwin.stores.memory import MemoryStore

WORK = MailboxName(("Work",))
NAMES = (INBOX, WORK)
SYSTEM = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "T": "\\Deleted", "D": "\\Draft"}

Job = Callable[[Pair, State], Awaitable[object]]
Mail = dict[bytes, Flags]
"""Messages, each of them once, with their flags."""


@contextmanager
def quick_directory(beside: Path) -> Iterator[Path]:
    """A directory in memory, where a thousand syncs take no time; `beside` where there is no such place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else beside) as directory:
        yield Path(directory)


def letter(number: int) -> bytes:
    """A message; every third one has no Message-ID."""
    message_id = f"Message-ID: <{number}@disk.example>\r\n" if number % 3 else ""
    return f"{message_id}Subject: {number}\r\n\r\nThe body of {number}.\r\n".encode()


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
        return process.pid


async def undo_all(pair: Pair, state: State) -> None:
    """Puts back all that is kept."""
    undone = await undo(pair, state, lambda _kept: True)
    for problem in undone.problems:
        raise problem.error


async def no_sleep(_seconds: float) -> None:
    """Time does not matter here."""


@dataclass
class Scene:
    """Both sides and the state. `removed`: what a person removed on one side."""

    root: Path
    server: MemoryStore = field(default_factory=lambda: MemoryStore("server"))
    removed: set[bytes] = field(default_factory=set)
    process: int | None = None
    now: Callable[[], float] = time.time

    @property
    def maildir(self) -> Path:
        return self.root / "mail"

    def directory(self, name: MailboxName) -> Path:
        return self.maildir if name.is_inbox else self.maildir / f".{name}"

    def elsewhere(self, root: Path, server: MemoryStore) -> Scene:
        """The same scene after a power cut: another disk, and the server as it was then."""
        return Scene(root, copy.deepcopy(server).again(), self.removed, now=self.now)

    def stores(self) -> tuple[MaildirStore, MemoryStore]:
        return MaildirStore(self.maildir, names=UniqueNames(pid=self.process)), self.server

    def state(self) -> State:
        return State.open(self.root / "state" / "s.db", left="maildir", right="server", now=self.now)

    async def do(self, job: Job) -> None:
        """Does `job` with stores and a state of its own."""
        left, right = self.stores()
        with self.state() as state:
            await job(Pair(left, right, sleep=no_sleep), state)

    async def run(self) -> RunReport:
        """One run."""
        left, right = self.stores()
        with self.state() as state:
            return await sync(Pair(left, right, sleep=no_sleep), state)

    # --- people ---

    def deliver(self, number: int, flags: str = "", name: MailboxName = INBOX) -> Path:
        """A new message in the Maildir, by another program that syncs nothing."""
        place = self.directory(name)
        for part in ("tmp", "new", "cur"):
            (place / part).mkdir(parents=True, exist_ok=True)
        file = place / "cur" / f"{number}.M1P1.other:2,{flags}"
        file.write_bytes(letter(number).replace(b"\r\n", b"\n"))
        return file

    def file_of(self, number: int, name: MailboxName = INBOX) -> Path:
        """The file that holds this message."""
        wanted = letter(number).replace(b"\r\n", b"\n")
        return next(file for file in self.files(name) if file.read_bytes() == wanted)

    def uid_of(self, number: int, name: MailboxName = INBOX) -> int:
        return next(uid for uid, mail in self.server.contents(name).items() if mail.data == letter(number))

    def remove_left(self, number: int) -> None:
        self.file_of(number).unlink()
        self.removed.add(letter(number))

    def remove_right(self, number: int) -> None:
        self.server.user_remove(INBOX, self.uid_of(number))
        self.removed.add(letter(number))

    # --- what is there ---

    def files(self, name: MailboxName = INBOX) -> list[Path]:
        place = self.directory(name)
        return [
            file for part in ("new", "cur") if (place / part).is_dir() for file in (place / part).iterdir()
        ]

    def left(self, name: MailboxName = INBOX) -> list[tuple[bytes, Flags]]:
        """The messages of the Maildir with their flags, read by hand."""
        found = []
        for file in self.files(name):
            letters = split_name(file.name, ":")[1].removeprefix(":2,")
            flags = make_flags(SYSTEM[letter] for letter in letters)
            found.append((file.read_bytes().replace(b"\n", b"\r\n"), flags))
        return sorted(found, key=lambda one: one[0])

    def right(self, name: MailboxName = INBOX) -> list[tuple[bytes, Flags]]:
        found = [(mail.data, mail.flags) for mail in self.server.contents(name).values()]
        return sorted(found, key=lambda one: one[0])

    def kept(self) -> list[bytes]:
        """The messages in the quarantine of which the state knows."""
        with self.state() as state:
            files = [state.quarantine / one.file for one in state.kept()]
        return [file.read_bytes() for file in files if file.exists()]

    # --- what must hold ---

    def check_now(self, placed: set[bytes]) -> None:
        """At any moment: agreements are true, nothing is lost, nothing is doubled."""
        with self.state() as state:
            assert state.check() == []
            links = {name: state.base(name).links for name in NAMES}
        for name in NAMES:
            there = self.server.contents(name)
            refs = {split_name(file.name, ":")[0]: file for file in self.files(name)}
            for link in links[name]:
                left, right = refs.get(str(link.left)), there.get(int(link.right))
                ends = [left and left.read_bytes().replace(b"\n", b"\r\n"), right and right.data]
                if None in ends:
                    alive = next((end for end in ends if end is not None), None)
                    assert alive is None or alive in self.removed, f"{link} speaks of what is not there"
                else:
                    assert ends[0] == ends[1], f"{link} links two different messages"
        served = [data for name in NAMES for data, _ in self.right(name)]
        assert len(set(served)) == len(served), "doubled on the server"
        whole = [data for name in NAMES for data, _ in self.left(name) if data in placed]
        assert len(set(whole)) == len(whole), "doubled in the Maildir"
        assert placed <= {*whole, *served, *self.kept()}, "lost"

    async def check_settled(self, expected: dict[MailboxName, Mail]) -> None:
        """After two undisturbed runs both sides are as expected, and nothing is left over."""
        await self.run()
        report = await self.run()
        assert report.in_step, report.problems
        assert not any(report.counts.as_dict().values()), report.counts
        for name, mail in expected.items():
            wanted = sorted(mail.items(), key=lambda one: one[0])
            assert self.right(name) == wanted, f"{name} on the server"
            assert self.left(name) == wanted, f"{name} in the Maildir"
        self.check_tidy()

    def check_tidy(self) -> None:
        """Nothing is left in `tmp/`, and nothing in the quarantine of which nobody knows but whole messages: those go
        when they are old."""
        assert list(self.maildir.rglob("tmp/*")) == []
        with self.state() as state:
            assert state.check() == []
            known = {one.file for one in state.kept()}
            files = {path.name: path.read_bytes() for path in state.quarantine.glob("*")}
            assert known <= files.keys()
            assert {files[name] for name in files.keys() - known} <= self.removed
            assert state.let_go_files() == set()
