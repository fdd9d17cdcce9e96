"""Random worlds: two people, servers that break off, accept without a word or store late, crashes at any step.

Whatever happens, in the end each message that nobody removed is on both sides exactly once, with the flags that its
last reader left; one that was removed is on neither side or (where the removal met its copy under way) on both. On the
way nothing is there twice, but for copies that landed after they were given up.

`MAILTWIN_WORLDS` sets how many worlds are tried, `MAILTWIN_WORLDS_SEED` where they begin (`make soak`: 3,000).
"""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.engine import Pair, sync
from mailtwin.engine.approving import approve, held_back
from mailtwin.engine.resolving import Decision, resolve
from mailtwin.errors import MailtwinError
from mailtwin.model import INBOX, make_flags
from mailtwin.state import State
from mailtwin.stores.memory import Answer, Manners, MemoryStore
from mailtwin.testing.interrupts import Interrupted, InterruptingStore, StepClock

WORLDS = int(os.environ.get("MAILTWIN_WORLDS", "150"))
SEED = int(os.environ.get("MAILTWIN_WORLDS_SEED", "0"))
ACTS = 30
STEPS_MAX = 60
ANSWERS = (*[Answer.UID] * 4, *Answer)
FLAGS = ("\\Seen", "\\Flagged", "\\Answered")
ROUNDS_MAX = 12


@dataclass(slots=True)
class Meanwhile(StepClock):
    """A clock at each of whose steps something may happen."""

    act: Callable[[], None] = lambda: None

    def step(self) -> None:
        StepClock.step(self)
        self.act()


def hash_of(data: bytes) -> int:
    """A number for some bytes, the same in every process."""
    return zlib.crc32(data)


class RandomWorld(World):
    """A world in which chance decides, and what its people did in it."""

    renumbers = True

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory)
        self.rng = random.Random(seed)
        self.story: list[str] = []
        self.placed: set[bytes] = set()
        self.removed: set[bytes] = set()
        self.landed: Counter[bytes] = Counter()
        self.when_sleeping = self.maybe_land
        for store in (self.left, self.right):
            store.manners = self.bad_manners()
        self.now = 1e9
        self.deadly = frozenset(random.Random(seed).choices(("", "store", "fetch", "identify"), k=2))

    def hangs_up(self, act: str, data: bytes) -> bool:
        """In some worlds, a connection ends each time over every fifth message."""
        return act in self.deadly and hash_of(data) % 5 == 0

    def bad_manners(self) -> Manners:
        """Each message is answered as chance will have it."""
        return Manners(
            answer=lambda _n: self.rng.choice(ANSWERS),
            cursors=self.rng.random() < 0.5,
            is_mute=self.sometimes(),
            is_short=self.sometimes(),
            hangs_up=self.hangs_up,
            empties=self.rng.random() < 0.5,
        )

    def sometimes(self) -> Callable[[], bool]:
        """What happens never, or now and then."""
        often = self.rng.choice((0, 0, 0.1, 0.4))
        return lambda: self.rng.random() < often

    def store(self) -> MemoryStore:
        return self.rng.choice((self.left, self.right))

    def tell(self, what: str) -> None:
        self.story.append(what)

    def maybe_land(self) -> None:
        if self.rng.random() < 0.3:
            self.land()

    def land(self) -> None:
        """What was under way when a connection broke arrives."""
        for store in (self.left, self.right):
            before = Counter(mail.data for mail in store.contents().values())
            if store.land():
                after = Counter(mail.data for mail in store.contents().values())
                self.landed += after - before
                self.tell(f"{store.address}: {(after - before).total()} land")

    # --- people ---

    def act(self) -> None:
        """Somebody does something on one side."""
        store = self.store()
        found = list(store.contents().items())
        choice = self.rng.random()
        if choice < 0.4 or not found:
            data = message(len(self.placed))
            self.placed.add(data)
            uid = store.add(INBOX, data, make_flags(self.rng.sample(FLAGS, self.rng.randint(0, 2))))
            self.tell(f"{store.address}: new {len(self.placed) - 1} as {uid}")
            return
        uid, mail = self.rng.choice(found)
        if choice < 0.6:
            store.user_remove(INBOX, uid)
            self.removed.add(mail.data)
            self.tell(f"{store.address}: removes {uid}")
        elif choice < 0.9:
            flags = make_flags(mail.flags ^ {self.rng.choice(FLAGS)})
            store.user_flags(INBOX, uid, flags)
            self.tell(f"{store.address}: flags of {uid} are {sorted(flags)}")
        elif choice < 0.94 and self.renumbers:
            store.user_renumbers(INBOX)
            self.tell(f"{store.address}: renumbered")
        else:
            self.land()

    def meanwhile(self) -> None:
        """Somebody may do something between any two steps of a run."""
        if self.rng.random() < 0.03:
            self.tell("meanwhile")
            self.act()

    # --- runs ---

    async def run_somehow(self) -> None:
        """A run that may be interrupted at any step."""
        clock = Meanwhile(
            self.rng.randint(1, STEPS_MAX) if self.rng.random() < 0.5 else None, act=self.meanwhile
        )
        left, right = (InterruptingStore(store, clock) for store in (self.left, self.right))
        pair = Pair(left, right, sleep=self._sleep)
        self.tell(f"run until step {clock.stop_at}")
        try:
            with State.open(
                self.path, left="left", right="right", now=self._time, on_commit=clock.step
            ) as state:
                await sync(pair, state)
        except Interrupted:
            self.tell("interrupted")
        except MailtwinError as error:
            self.tell(f"failed: {error.message}")

    def _time(self) -> float:
        self.now += 1
        return self.now

    def check_now(self) -> None:
        """Nothing is lost that nobody removed, and nothing is doubled that did not land late."""
        for store in (self.left, self.right):
            there = Counter(mail.data for mail in store.contents().values())
            for data, count in there.items():
                assert count <= self.most(data), f"{data!r} is {count} times on the {store.address}"
        both = {mail.data for store in (self.left, self.right) for mail in store.contents().values()}
        assert self.placed - self.removed <= both, "a message is lost"

    def most(self, data: bytes) -> int:
        """How often a message may be on one side for the moment."""
        return 1 + self.landed[data]

    async def settle(self) -> None:
        """Everything is well behaved from now on, and a person decides what is left to decide and to be tried again."""
        self.land()
        for store in (self.left, self.right):
            store.manners = Manners()
        problems: object = None
        for _ in range(ROUNDS_MAX):
            self.tell("settles")
            with State.open(self.path, left="left", right="right", now=self._time) as state:
                report = await sync(replace(self.pair, sleep=self._sleep, retry=True), state)
                assert state.check() == []
                decided = [
                    *resolve(state, Decision.SEND_AGAIN),
                    *resolve(state, Decision.REMOVE_EXTRA),
                    *approve(state, held_back(state)),
                ]
            self.check_now()
            problems = report.problems
            if report.in_step and not decided:
                break
        else:
            raise AssertionError(f"does not come to rest: {problems}")
        left, right = (
            sorted((mail.data, sorted(mail.flags)) for mail in store.contents().values())
            for store in (self.left, self.right)
        )
        assert left == right
        assert len({data for data, _ in left}) == len(left), "something is there twice in the end"
        assert self.placed - self.removed <= {data for data, _ in left}


@pytest.mark.timeout(0 if WORLDS > 1_000 else 120)
@pytest.mark.parametrize("part", range(3))
async def test_random_worlds(part: int, tmp_path: Path) -> None:
    for number in range(part, WORLDS, 3):
        seed = SEED + number
        directory = tmp_path / str(number)
        directory.mkdir()
        world = RandomWorld(directory, seed)
        try:
            for _ in range(ACTS):
                if world.rng.random() < 0.3:
                    await world.run_somehow()
                else:
                    world.act()
                world.check_now()
            await world.settle()
        except BaseException as error:
            error.add_note(f"world {seed}:\n" + "\n".join(world.story))
            raise
