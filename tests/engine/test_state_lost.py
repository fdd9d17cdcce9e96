"""The state is lost, restored from an old backup, or corrupt: both sides are paired again by who the messages are,
nothing is removed, nothing is doubled, and no body travels where headers decide.

`MAILTWIN_WORLDS` and `MAILTWIN_WORLDS_SEED` as in `test_worlds`.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message, world
from tests.engine.test_worlds import ACTS, SEED, WORLDS, RandomWorld

from mailtwin.errors import ExitCode, StateError
from mailtwin.model import INBOX, NO_FLAGS, Ref, Side, make_flags
from mailtwin.stores.base import Message, Spool
from mailtwin.stores.memory import Answer, Manners, MemoryMailbox

__all__ = ["world"]

ANSWERS = (*[Answer.UID] * 4, Answer.ACCEPTED, Answer.REFUSED, Answer.LOST_BEFORE, Answer.LOST_AFTER)
"""Without `LATE`: that a copy may still arrive is known to the state alone, as that a removal may take effect."""

PARTS = ("", "-wal", "-shm")


class ForgetfulWorld(RandomWorld):
    """A random world in which the state is lost now and then, and replaced by an old one, between two runs."""

    def bad_manners(self) -> Manners:
        return Manners(answer=lambda _n: self.rng.choice(ANSWERS), cursors=self.rng.random() < 0.5)

    @property
    def backup(self) -> Path:
        return self.path.with_name("backup.db")

    def act(self) -> None:
        """Somebody does something, on one side or to the state."""
        choice = self.rng.random()
        if choice < 0.05:
            self.tell("the state is lost")
            self.forgotten = True
            self.path.unlink(missing_ok=True)
        elif choice < 0.15 and self.path.exists():
            self.tell("the state is backed up")
            shutil.copy(self.path, self.backup)
        elif choice < 0.25 and self.backup.exists():
            self.tell("the state is restored")
            self.forgotten = True
            shutil.copy(self.backup, self.path)
        else:
            super().act()

    def meanwhile(self) -> None:
        """During a run, the state is its own."""
        if self.rng.random() < 0.03:
            self.tell("meanwhile")
            super().act()

    def most(self, data: bytes) -> int:
        """A run may end between the two steps of what came back."""
        return RandomWorld.most(self, data) + (data in self.removed)

    async def run_somehow(self) -> None:
        before = [
            Counter(mail.data for mail in store.contents().values()) for store in (self.left, self.right)
        ]
        await super().run_somehow()
        for store, had in zip((self.left, self.right), before, strict=True):
            gone = had - Counter(mail.data for mail in store.contents().values())
            assert gone.keys() <= self.removed | self.strays, (
                f"removed on the {store.address}, and nobody wished it"
            )


@pytest.mark.timeout(0 if WORLDS > 1_000 else 120)
@pytest.mark.parametrize("part", range(3))
async def test_random_worlds_with_a_forgetful_state(part: int, tmp_path: Path) -> None:
    for number in range(part, WORLDS, 3):
        seed = SEED + number
        directory = tmp_path / str(number)
        directory.mkdir()
        forgetful = ForgetfulWorld(directory, seed)
        try:
            for _ in range(ACTS):
                if forgetful.rng.random() < 0.3:
                    await forgetful.run_somehow()
                else:
                    forgetful.act()
                forgetful.check_now()
            await forgetful.settle()
        except BaseException as error:
            error.add_note(f"world {seed}:\n" + "\n".join(forgetful.story))
            raise


# --- what it costs ---


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Ref]:
    """The messages whose bodies were asked for."""
    refs: list[Ref] = []
    fetch = MemoryMailbox.fetch

    async def counted(
        self: MemoryMailbox, wanted: Sequence[Ref], spool: Callable[[], Spool]
    ) -> AsyncGenerator[Message, None]:
        refs.extend(wanted)
        async for each in fetch(self, wanted, spool):
            yield each

    monkeypatch.setattr(MemoryMailbox, "fetch", counted)
    return refs


def lose(path: Path, _old: Path) -> None:
    """There is no state any more."""
    path.unlink()


def restore(path: Path, old: Path) -> None:
    """It is the state of some runs ago."""
    shutil.copy(old, path)


@pytest.mark.parametrize("spoil", [lose, restore])
async def test_both_sides_went_on(
    world: World, spoil: Callable[[Path, Path], None], fetched: list[Ref], tmp_path: Path
) -> None:
    """Since the backup: new mail on both sides, flags, a removal that both sides know, one that only one side knows."""
    for number in range(20):
        world.left.add(INBOX, message(number))
    await world.run()
    old = tmp_path / "old.db"
    shutil.copy(world.path, old)
    for number in range(20, 30):
        (world.left if number % 2 else world.right).add(INBOX, message(number))
    world.left.user_remove(INBOX, 1)
    world.right.user_flags(INBOX, 2, make_flags(["\\Seen"]))
    await world.run()
    await world.run()
    world.right.user_remove(INBOX, 3)
    fetched.clear()
    spoil(world.path, old)
    report = await world.run()
    assert report.in_step
    if spoil is lose:
        # Nobody can tell a removal from new mail without a state: the message comes back.
        assert (report.counts.adopted, len(fetched)) == (28, 1)
        assert message(2) in [mail.data for mail in world.right.contents().values()]
    else:
        # The removal is known. What is removed is fetched, to be kept.
        assert (report.counts.adopted, report.counts.removed_left, len(fetched)) == (10, 1, 1)
    assert len(world.left.contents()) == len(world.right.contents()) == (29 if spoil is lose else 28)
    assert world.left.contents()[2].flags == make_flags(["\\Seen"])
    await world.check()


async def test_what_cannot_be_decided_is_listed(world: World) -> None:
    """A message that cannot be read may be the twin of any other: nothing is made of it, and it is told."""
    for number in range(5):
        world.left.add(INBOX, message(number))
    await world.run()
    world.path.unlink()
    world.right.user_withholds(INBOX, 3)
    report = await world.run()
    assert report.exit_code is ExitCode.NOT_IN_STEP
    assert {(problem.side, problem.ref) for problem in report.problems} == {(Side.RIGHT, 3), (Side.LEFT, 3)}
    assert report.counts.transferred_bytes == 0
    assert report.counts.adopted == 4
    world.right.user_withholds(INBOX, 3, withheld=False)
    assert (await world.run()).counts.adopted == 1
    await world.check()


async def test_what_came_back_under_another_number_keeps_its_twin(world: World, fetched: list[Ref]) -> None:
    """Another program wrote the mailbox anew while flags changed on the other side: nothing travels or is removed."""
    for number in range(20):
        world.left.add(INBOX, message(number))
    await world.run()
    fetched.clear()
    for uid, mail in sorted(world.right.contents().items()):
        world.right.user_remove(INBOX, uid)
        world.right.add(INBOX, mail.data, mail.flags)
    world.left.user_flags(INBOX, 3, make_flags(["\\Seen"]))
    report = await world.run()
    assert report.in_step
    assert fetched == []
    assert (report.counts.adopted, report.counts.flags_right) == (20, 1)
    assert report.counts.removed_left == report.counts.copied_to_left == 0
    assert sorted(world.left.contents()) == list(range(1, 21))
    assert world.right.contents()[23].flags == make_flags(["\\Seen"])
    await world.check()


async def test_a_survivor_that_cannot_be_read_is_not_copied_over(world: World) -> None:
    """It may be what came back: that waits, and no agreement is taken for a message that could not be copied."""
    for number in range(3):
        world.left.add(INBOX, message(number))
    await world.run()
    world.left.user_withholds(INBOX, 2)
    world.right.user_remove(INBOX, 2)
    world.right.add(INBOX, message(1))
    report = await world.run()
    assert report.exit_code is ExitCode.NOT_IN_STEP
    assert report.counts.copied_to_left == 0
    assert sorted(world.left.contents()) == [1, 2, 3]
    world.left.user_withholds(INBOX, 2, withheld=False)
    assert (await world.run()).counts.adopted == 1
    await world.check()


# --- a damaged file ---


def truncate(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(chance.randrange(path.stat().st_size))


def flip_bytes(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def lose_a_page(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data) // 4096) * 4096
    data[at : at + 4096] = chance.choice((bytes(4096), chance.randbytes(4096)))
    path.write_bytes(data)


def foreign_database(path: Path, chance: random.Random) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE links (mailbox, left_ref, right_ref, flags)")
    connection.execute("INSERT INTO links VALUES (1, ?, 1, '')", (chance.randrange(9),))
    connection.commit()
    connection.close()


def log_of_another(path: Path, chance: random.Random) -> None:
    """The write-ahead log of another database lies beside it."""
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE links (mailbox, left_ref, right_ref, flags)")
    for _ in range(chance.randrange(1, 50)):
        connection.execute("INSERT INTO links VALUES (1, 2, 3, ?)", (chance.randbytes(500),))
    connection.commit()
    shutil.copy(f"{other}-wal", f"{path}-wal")
    connection.close()
    other.unlink()


DAMAGES = [truncate, flip_bytes, lose_a_page, foreign_database, log_of_another]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_state_removes_and_doubles_nothing(
    damage: Callable[[Path, random.Random], None], tmp_path: Path
) -> None:
    ends: Counter[str] = Counter()
    for seed in range(WORLDS // 3):
        directory = tmp_path / str(seed)
        directory.mkdir()
        chance = random.Random(f"{damage.__name__}/{seed}")
        spoilt = World(directory)
        for number in range(60):
            spoilt.left.add(INBOX, message(number), chance.choice((NO_FLAGS, make_flags(["\\Seen"]))))
        await spoilt.run()
        damage(spoilt.path, chance)
        said: StateError | None = None
        try:
            await spoilt.run()
        except StateError as error:
            said = error
        except Exception as error:
            raise AssertionError(f"{damage.__name__} {seed}: {error!r}") from error
        assert said is None or "Move the file away" in said.hint or "state directory" in said.hint, said
        ends["ran" if said is None else "refused"] += 1
        for store in (spoilt.left, spoilt.right):
            found = sorted(mail.data for mail in store.contents().values())
            assert found == sorted(message(number) for number in range(60)), f"{damage.__name__} {seed}"
        for part in PARTS:
            spoilt.path.with_name(spoilt.path.name + part).unlink(missing_ok=True)
        report = await spoilt.run()
        assert (report.in_step, report.counts.adopted, report.counts.transferred_bytes) == (True, 60, 0)
        await spoilt.check()
    assert ends.total() == WORLDS // 3
