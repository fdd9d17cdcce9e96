"""Random worlds: two people who also move messages away and, at once or later, back; servers that break off, accept
without a word, or store and remove late; crashes at any step.

Whatever happens, in the end each message that nobody removed is on both sides exactly once, with the flags that its
last reader left; one that was removed is on neither side or (where the removal met its copy under way) on both. On the
way nothing is there twice, but for copies that landed after they were given up, and for messages that were away when it
was forgotten what both sides had agreed on (a new numbering, a lost state), or their twins were moved as well: these
looked like new mail.

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
from mailtwin.engine.resolving import Decision, Undecided, resolve, undecided
from mailtwin.errors import MailtwinError
from mailtwin.model import INBOX, Ref, Side, make_flags
from mailtwin.state import State
from mailtwin.stores.memory import Answer, Manners, MemoryMessage, MemoryStore
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

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory)
        self.rng = random.Random(seed)
        self.story: list[str] = []
        self.placed: set[bytes] = set()
        self.removed: set[bytes] = set()
        self.landed: Counter[bytes] = Counter()
        self.away: list[tuple[MemoryStore, MemoryMessage]] = []
        self.forgotten = False
        self.held: Counter[bytes] = Counter()
        self.strays: set[bytes] = set()
        self.moved: Counter[bytes] = Counter()
        self.doubled: Counter[bytes] = Counter()
        self.moves = self.rng.random() < 0.5
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
            # What came back is recognised once it is proven that it went, and a short listing proves nothing.
            is_short=(lambda: False) if self.moves else self.sometimes(),
            hangs_up=self.hangs_up,
            removes_late=self.sometimes(),
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
        if self.away and self.rng.random() < 0.3:
            self.move_back()
            return
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
        elif choice < 0.7 and self.moves and not self.landed[mail.data]:
            # (Who moves an extra copy that landed late makes it mail of its own.)
            store.user_remove(INBOX, uid)
            self.moved[mail.data] += 1
            self.tell(f"{store.address}: moves {uid} away")
            if self.rng.random() < 0.5:
                self.put_back(store, mail)
            else:
                self.away.append((store, mail))
                self.strays.add(mail.data)
        elif choice < 0.9:
            flags = make_flags(mail.flags ^ {self.rng.choice(FLAGS)})
            store.user_flags(INBOX, uid, flags)
            self.tell(f"{store.address}: flags of {uid} are {sorted(flags)}")
        elif choice < 0.94:
            store.user_renumbers(INBOX)
            self.forgotten = True
            self.tell(f"{store.address}: renumbered")
        else:
            self.land()

    def move_back(self) -> None:
        """What was moved away last comes back. It may look like a copy that arrived late, and be held; and when nobody
        knew of its twin (which was moved too, or forgotten), that was new mail meanwhile."""
        store, mail = self.away.pop()
        self.held[mail.data] += 1
        self.doubled[mail.data] += self.forgotten or self.moved[mail.data] > 1
        self.put_back(store, mail)

    def put_back(self, store: MemoryStore, mail: MemoryMessage) -> None:
        """The same message, under another number."""
        back = store.add(INBOX, mail.data, mail.flags)
        self.tell(f"{store.address}: moves it back, as {back}")

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
        both |= {mail.data for _, mail in self.away}
        assert self.placed - self.removed <= both, "a message is lost"

    def most(self, data: bytes) -> int:
        """How often a message may be on one side for the moment."""
        return 1 + self.landed[data] + self.doubled[data] + self.held[data]

    def wanted(self, state: State) -> Callable[[Undecided], bool]:
        """Whether a person who looks sees that it is no extra copy that is held: all there is is held, and it is the
        first of them."""
        held = {(one.side, one.ref) for one in undecided(state) if one.is_extra}
        copies: dict[bytes, list[tuple[Side, Ref]]] = {}
        for side in Side:
            for uid, mail in (self.left, self.right)[side].contents().items():
                copies.setdefault(mail.data, []).append((side, uid))
        first = {min(ends) for ends in copies.values() if held.issuperset(ends)}
        return lambda one: (one.side, one.ref) in first

    async def settle(self) -> None:
        """Everything is well behaved from now on, and a person decides what is left to decide and to be tried again."""
        self.land()
        while self.away:
            self.move_back()
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
                    *resolve(state, Decision.KEEP_EXTRA, self.wanted(state)),
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
        there = Counter(data for data, _ in left)
        # Who moves what is held makes it mail of its own; then what lands late may stay as well.
        extra = self.landed + self.doubled if self.moves else Counter[bytes]()
        assert all(count <= 1 + extra[data] for data, count in there.items()), (
            "something is there twice in the end"
        )
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
