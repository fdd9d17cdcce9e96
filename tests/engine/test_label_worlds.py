"""Random worlds of labels: people on both sides of an account with labels, servers and runs that break off anywhere.

An account is kept in step with another one and with a Maildir, seen as labels; the people deliver, label, unlabel,
star, archive, trash, take out of the trash, make, rename and delete labels. Their acts between two moments at which
all was in step are written down, and so is which side they touched: whatever was touched on one side only has to be
on both sides as that side left it, each message once, with exactly its labels; what both touched has to be the same.

`MAILTWIN_WORLDS` sets how many worlds are tried, `MAILTWIN_WORLDS_SEED` where they begin (`make soak`: 3,000).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from tests.engine.test_label_accounts import account, no_sleep, store
from tests.engine.test_worlds import Meanwhile

from mailtwin.engine import Pair, sync
from mailtwin.engine.approving import approve, held_back
from mailtwin.engine.resolving import Decision, resolve
from mailtwin.errors import MailtwinError
from mailtwin.model import Side
from mailtwin.state import State
from mailtwin.stores.base import ALL_MAIL, Store
from mailtwin.stores.maildir_labels import FILE_NAME, LabelledMaildir
from mailtwin.testing.interrupts import Interrupted, InterruptingStore
from mailtwin.testing.simfaults import When, cut, reply_no
from mailtwin.testing.simlabels import LabelledAccount, Role
from mailtwin.testing.simserver import SimServer

WORLDS = int(os.environ.get("MAILTWIN_WORLDS", "16"))
SEED = int(os.environ.get("MAILTWIN_WORLDS_SEED", "0"))
EPOCHS = 3
ACTS = 9
STEPS_MAX = 60
ROUNDS_MAX = 10
STAR = "\\Flagged"
INBOX = "\\Inbox"
NAMES = ("Work", "Work/2024", "Home", "caf\u00e9", "a b")
MANNERS = (
    ("unannounced=UIDPLUS",),
    ("append_uid=no",),
    ("append_uid=no", "copy_uid=no"),
    ("merge=never",),
    ("merge=bytes",),
    ("expunge=trash",),
    ("expunge=delete",),
    ("split_fetch=yes",),
    ("chatter_seed=3",),
    ("check_tells=no",),
    ("language=de",),
    ("shared_deleted=yes",),
)
COMMANDS = ("APPEND", "UID STORE", "UID FETCH", "UID MOVE", "UID COPY", "LIST", "SELECT", "CREATE", "DELETE")


def letter(number: int) -> bytes:
    """A message; every fourth has no Message-ID."""
    name = b"" if number % 4 == 3 else b"Message-ID: <%d@worlds.example>\r\n" % number
    return b"Subject: %d\r\n%s\r\nThe text of %d.\r\n" % (number, name, number)


class Person(Protocol):
    """One side as somebody sees and changes it with their own program. Marks are labels and `\\Flagged`."""

    def held(self) -> dict[bytes, list[frozenset[str]]]:
        """The messages, each copy with its marks."""

    def names(self) -> set[str]:
        """The labels."""

    def deliver(self, body: bytes, marks: frozenset[str]) -> None:
        """A new message."""

    def mark(self, body: bytes, mark: str, *, on: bool) -> None:
        """Marks a message, or takes the mark away."""

    def trash(self, body: bytes) -> None:
        """Removes a message."""

    def create(self, name: str) -> None:
        """Makes a label."""

    def delete(self, name: str) -> None:
        """Takes a label away from everything."""

    def rename(self, name: str, new: str) -> None:
        """Gives a label, not those below it, another name."""


class AccountPerson:
    """Somebody who uses the web pages of an account."""

    def __init__(self, made: LabelledAccount) -> None:
        self.made = made

    def held(self) -> dict[bytes, list[frozenset[str]]]:
        found: dict[bytes, list[frozenset[str]]] = {}
        for message in self.made[self.made.name_of(Role.ALL)]:
            labels = {label for label in message.labels if label != "\\Starred"}
            found.setdefault(message.body, []).append(frozenset(labels | (message.flags & {STAR})))
        return found

    def names(self) -> set[str]:
        roles = {self.made.name_of(role) for role in Role}
        return {name for name in self.made.names() if name not in roles}

    def deliver(self, body: bytes, marks: frozenset[str]) -> None:
        uid = self.made[self.made.name_of(Role.ALL)].append(body, marks & {STAR})
        assert uid
        for mark in marks - {STAR}:
            self.mark(body, mark, on=True)

    def mark(self, body: bytes, mark: str, *, on: bool) -> None:
        everything = self.made.of(Role.ALL)
        for message in [each for each in everything if each.body == body]:
            if mark == STAR:
                everything.set_flags(message.uid, message.flags | {STAR} if on else message.flags - {STAR})
                continue
            mailbox = self.made.mailbox_of(mark, create=on)
            stored = self.made.stored(message)
            if mailbox is not None:
                (self.made.place if on else self.made.withdraw)(stored, mailbox)

    def trash(self, body: bytes) -> None:
        for message in [each for each in self.made.of(Role.ALL) if each.body == body]:
            self.made.place(self.made.stored(message), self.made.of(Role.TRASH))

    def create(self, name: str) -> None:
        if name not in self.made:
            self.made.create(name)

    def delete(self, name: str) -> None:
        self.made.delete(name)

    def rename(self, name: str, new: str) -> None:
        for body in [body for body, copies in self.held().items() if name in copies[0]]:
            self.mark(body, new, on=True)
        self.create(new)
        self.made.delete(name)


class MaildirPerson:
    """Somebody who uses a Maildir with programs of their own, and an editor."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    @property
    def directory(self) -> Path:
        (path,) = self.root.rglob(FILE_NAME)
        return path.parent

    def _lines(self) -> tuple[set[str], dict[str, set[str]]]:
        names: set[str] = set()
        held: dict[str, set[str]] = {}
        for line in (self.directory / FILE_NAME).read_text().splitlines()[1:]:
            unique, *labels = line.replace("%25", "%").split("\t")
            if unique:
                held[unique] = set(labels)
            else:
                names |= set(labels)
        return names, held

    def _write(self, names: set[str], held: dict[str, set[str]]) -> None:
        lines = ["# mailtwin labels 1", *(f"\t{name}" for name in sorted(names))]
        lines += ["\t".join((unique, *sorted(labels))) for unique, labels in held.items() if labels]
        new = self.directory / "new-labels"
        new.write_text("\n".join(line.replace("%", "%25") for line in lines) + "\n")
        new.rename(self.directory / FILE_NAME)

    def _files(self) -> dict[str, Path]:
        paths = [path for part in ("cur", "new") for path in (self.directory / part).iterdir()]
        return {path.name.partition(":2,")[0]: path for path in paths}

    def _find(self, body: bytes) -> list[tuple[str, Path]]:
        return [(unique, path) for unique, path in self._files().items() if _bytes(path) == body]

    def held(self) -> dict[bytes, list[frozenset[str]]]:
        _, labels = self._lines()
        found: dict[bytes, list[frozenset[str]]] = {}
        for unique, path in self._files().items():
            star = {STAR} if "F" in path.name.partition(":2,")[2] else set[str]()
            found.setdefault(_bytes(path), []).append(frozenset(labels.get(unique, set()) | star))
        return found

    def names(self) -> set[str]:
        names, held = self._lines()
        return {name for name in names.union(*held.values()) if not name.startswith("\\")}

    def deliver(self, body: bytes, marks: frozenset[str]) -> None:
        self.count += 1
        unique = f"17000000{self.count:02}.M1P1.somewhere"
        names, held = self._lines()
        held[unique] = set(marks - {STAR})
        self._write(names, held)
        path = self.directory / "cur" / f"{unique}:2,{'F' if STAR in marks else ''}"
        path.write_bytes(body.replace(b"\r\n", b"\n"))

    def mark(self, body: bytes, mark: str, *, on: bool) -> None:
        for unique, path in self._find(body):
            if mark == STAR:
                flags = set(path.name.partition(":2,")[2]) - {"F"} | ({"F"} if on else set())
                path.rename(self.directory / "cur" / f"{unique}:2,{''.join(sorted(flags))}")
                continue
            names, held = self._lines()
            labels = held.setdefault(unique, set())
            (labels.add if on else labels.discard)(mark)
            self._write(names, held)

    def trash(self, body: bytes) -> None:
        for _unique, path in self._find(body):
            path.unlink()

    def create(self, name: str) -> None:
        names, held = self._lines()
        self._write(names | {name}, held)

    def delete(self, name: str) -> None:
        names, held = self._lines()
        self._write(names - {name}, {unique: labels - {name} for unique, labels in held.items()})

    def rename(self, name: str, new: str) -> None:
        names, held = self._lines()
        renamed = {
            unique: labels - {name} | ({new} if name in labels else set()) for unique, labels in held.items()
        }
        self._write(names - {name} | {new}, renamed)


def _bytes(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@dataclass(slots=True)
class Epoch:
    """What people did since all was in step: which side touched what, which messages came and went."""

    before: dict[bytes, frozenset[str]] = field(default_factory=dict)
    names_before: set[str] = field(default_factory=set)
    touched: dict[tuple[bytes, str], set[Side]] = field(default_factory=dict)
    named: dict[str, set[Side]] = field(default_factory=dict)
    came: dict[bytes, set[Side]] = field(default_factory=dict)
    went: set[bytes] = field(default_factory=set)
    returned: set[bytes] = field(default_factory=set)


class LabelWorld:
    """A world in which chance decides, and what its people did in it."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        people: tuple[Person, Person],
        stores: tuple[Callable[[], Store], Callable[[], Store]],
        servers: Sequence[SimServer],
    ) -> None:
        self.rng = random.Random(seed)
        self.state = directory / "state.db"
        self.people = people
        self.stores = stores
        self.servers = servers
        self.story: list[str] = []
        self.epoch = Epoch()
        self.delivered: set[bytes] = set()
        self.removed: set[bytes] = set()
        self.now = 1e9

    # --- people ---

    def act(self) -> None:
        """Somebody does something on one side."""
        side = self.rng.choice(list(Side))
        person = self.people[side]
        choice = self.rng.random()
        held = sorted(person.held().items())
        if choice < 0.25 or not held:
            self._deliver(side)
        elif choice < 0.65:
            body, copies = self.rng.choice(held)
            mark = self.rng.choice((*NAMES, INBOX, STAR))
            self._mark(side, body, mark, on=mark not in copies[0])
        elif choice < 0.75:
            body, _ = self.rng.choice(held)
            self._trash(side, body)
        elif choice < 0.8:
            self._return(side)
        else:
            self._name(side)

    def _tell(self, side: Side, what: str) -> None:
        self.story.append(f"{side.label}: {what}")

    def _deliver(self, side: Side) -> None:
        body = letter(len(self.delivered))
        self.delivered.add(body)
        for each in Side if self.rng.random() < 0.15 else (side,):
            marks = frozenset(self.rng.sample((*NAMES, INBOX, STAR), self.rng.randint(0, 3)))
            self.epoch.came.setdefault(body, set()).add(each)
            self.people[each].deliver(body, marks)
            for mark in marks:
                if mark in NAMES:
                    self.epoch.named.setdefault(mark, set()).add(each)
            self._tell(each, f"new {len(self.delivered) - 1} {sorted(marks)}")

    def _mark(self, side: Side, body: bytes, mark: str, *, on: bool) -> None:
        self.people[side].mark(body, mark, on=on)
        self.epoch.touched.setdefault((body, mark), set()).add(side)
        if mark in NAMES:
            self.epoch.named.setdefault(mark, set()).add(side)
        self._tell(side, f"{_number(body)} {'+' if on else '-'}{mark}")

    def _trash(self, side: Side, body: bytes) -> None:
        self.people[side].trash(body)
        self.removed.add(body)
        self.epoch.went.add(body)
        self._tell(side, f"{_number(body)} to the trash")

    def _return(self, side: Side) -> None:
        person = self.people[side]
        if not isinstance(person, AccountPerson):
            return
        for message in list(person.made.of(Role.TRASH))[:1]:
            person.made.place(person.made.stored(message), person.made.of(Role.INBOX))
            self.epoch.returned.add(message.body)
            self._tell(side, f"{_number(message.body)} out of the trash")

    def _name(self, side: Side) -> None:
        person = self.people[side]
        there = sorted(person.names())
        if not there or self.rng.random() < 0.3:
            name = self.rng.choice(NAMES)
            self.epoch.named.setdefault(name, set()).add(side)
            person.create(name)
            self._tell(side, f"label {name}")
            return
        name = self.rng.choice(there)
        carried = [body for body, copies in person.held().items() if any(name in marks for marks in copies)]
        free = [other for other in NAMES if other not in there]
        new = self.rng.choice(free) if free and self.rng.random() < 0.6 else None
        for body in carried:
            self.epoch.touched.setdefault((body, name), set()).add(side)
            if new is not None:
                self.epoch.touched.setdefault((body, new), set()).add(side)
        self.epoch.named.setdefault(name, set()).add(side)
        if new is None:
            person.delete(name)
        else:
            self.epoch.named.setdefault(new, set()).add(side)
            person.rename(name, new)
        self._tell(side, f"label {name} is now {new}, of {[_number(body) for body in carried]}")

    def meanwhile(self) -> None:
        """Somebody may do something between any two steps of a run."""
        if self.rng.random() < 0.03:
            self.story.append("meanwhile")
            self.act()

    # --- runs ---

    def pair(self, clock: Meanwhile | None = None) -> Pair:
        """New connections."""
        left, right = (make() for make in self.stores)
        if clock is not None:
            left, right = InterruptingStore(left, clock), InterruptingStore(right, clock)
        return Pair(left, right, select=ALL_MAIL.__eq__, sleep=no_sleep)

    async def run_somehow(self) -> None:
        """A run in which connections end and commands are refused, and that may be interrupted at any step."""
        stop_at = self.rng.randint(1, STEPS_MAX) if self.rng.random() < 0.5 else None
        clock = Meanwhile(stop_at, act=self.meanwhile)
        for server in self.servers:
            server.faults.clear()
            for _ in range(self.rng.choice((0, 0, 1, 2))):
                command, nth = self.rng.choice(COMMANDS), self.rng.randint(1, 3)
                if self.rng.random() < 0.25:
                    server.faults.add(reply_no(command, nth))
                else:
                    server.faults.add(cut(command, nth, self.rng.choice(list(When))))
        self.story.append(f"run until step {stop_at}")
        pair = self.pair(clock)
        state = State.open(
            self.state,
            left=pair.left.address,
            right=pair.right.address,
            now=self._time,
            on_commit=clock.step,
        )
        try:
            report = await sync(pair, state)
            self.story += [f"problem: {problem.error.message}" for problem in report.problems]
        except Interrupted:
            self.story.append("interrupted")
        except MailtwinError as error:
            self.story.append(f"failed: {error.message}")
        finally:
            state.close()

    def _time(self) -> float:
        self.now += 1
        return self.now

    def check_now(self) -> None:
        """Nothing is lost that nobody removed, and nothing is doubled."""
        left, right = (person.held() for person in self.people)
        for side, held in ((Side.LEFT, left), (Side.RIGHT, right)):
            doubled = [_number(body) for body, copies in held.items() if len(copies) > 1]
            assert not doubled, f"{doubled} are twice on the {side.label}"
        assert self.delivered - self.removed <= left.keys() | right.keys(), "a message is lost"

    async def settle(self) -> None:
        """No more faults, and a person decides what is left to decide; then everything has to be as it should."""
        for server in self.servers:
            server.faults.clear()
        seen = tuple({body: copies[0] for body, copies in person.held().items()} for person in self.people)
        names = tuple(person.names() for person in self.people)
        self.story.append("settles")
        report = None
        for _ in range(ROUNDS_MAX):
            pair = replace(self.pair(), retry=True)
            state = State.open(self.state, left=pair.left.address, right=pair.right.address, now=self._time)
            with state:
                report = await sync(pair, state)
                assert state.check() == []
                decided = [
                    *resolve(state, Decision.SEND_AGAIN),
                    *resolve(state, Decision.REMOVE_EXTRA),
                    *approve(state, held_back(state)),
                ]
            self.check_now()
            if report.in_step and not decided:
                break
        else:
            assert report is not None
            raise AssertionError(f"does not come to rest: {report.problems}")
        self._check_account(seen, names)

    def _check_account(
        self, seen: tuple[dict[bytes, frozenset[str]], ...], names: tuple[set[str], ...]
    ) -> None:
        left, right = ({body: copies[0] for body, copies in person.held().items()} for person in self.people)
        assert left == right
        assert self.people[Side.LEFT].names() == self.people[Side.RIGHT].names()
        epoch = self.epoch
        for body in self.delivered:
            if body in epoch.returned:
                continue
            if body in epoch.went:
                if body in epoch.before:
                    assert body not in left, f"{_number(body)} was removed, and is there"
                continue
            if body not in epoch.before and body not in epoch.came:
                assert body not in left, f"{_number(body)} came back by itself"
                continue
            assert body in left, f"{_number(body)} is lost"
            for mark in (*NAMES, INBOX, STAR):
                self._check_mark(body, mark, left[body], seen)
        for name in NAMES:
            sides = epoch.named.get(name, set())
            if len(sides) == 2 or any(name in marks for marks in left.values()):
                continue
            expected = name in (names[next(iter(sides))] if sides else epoch.names_before)
            assert (name in self.people[Side.LEFT].names()) == expected, f"label {name}"
        self.epoch = Epoch(left, self.people[Side.LEFT].names())

    def _check_mark(
        self, body: bytes, mark: str, marks: frozenset[str], seen: tuple[dict[bytes, frozenset[str]], ...]
    ) -> None:
        epoch = self.epoch
        sides = epoch.touched.get((body, mark), set()) | epoch.came.get(body, set())
        if len(sides) == 2:
            return
        expected = mark in seen[next(iter(sides))][body] if sides else mark in epoch.before[body]
        assert (mark in marks) == expected, f"{mark} of {_number(body)}: touched by {sides}"


def _number(body: bytes) -> int:
    return int(body.split(b"\r\n")[0].removeprefix(b"Subject: "))


@pytest.mark.timeout(0 if WORLDS > 1_000 else 240)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("other", ["account", "maildir"])
async def test_random_worlds_of_labels(other: str, part: int, tmp_path: Path) -> None:
    for number in range(part, WORLDS // 2, 4):
        seed = SEED + number
        directory = tmp_path / str(number)
        directory.mkdir()
        rng = random.Random(-1 - seed)
        async with AsyncExitStack() as stack:
            one, left = await stack.enter_async_context(account(*rng.choice(((), *MANNERS))))
            if other == "account":
                two, right = await stack.enter_async_context(account(*rng.choice(((), *MANNERS))))
                people: tuple[Person, Person] = AccountPerson(left), AccountPerson(right)
                world = LabelWorld(
                    directory, seed, people, (partial(store, one), partial(store, two)), [one, two]
                )
            else:
                root = directory / "mail"
                maildir = LabelledMaildir(root)
                await maildir.connect(create=True)
                await maildir.create(ALL_MAIL)
                await maildir.close()
                people = AccountPerson(left), MaildirPerson(root)
                world = LabelWorld(
                    directory, seed, people, (partial(store, one), partial(LabelledMaildir, root)), [one]
                )
            try:
                for _ in range(EPOCHS):
                    for _ in range(ACTS):
                        if world.rng.random() < 0.35:
                            await world.run_somehow()
                        else:
                            world.act()
                        world.check_now()
                    await world.settle()
            except BaseException as error:
                error.add_note(f"world {seed}:\n" + "\n".join(world.story))
                raise
