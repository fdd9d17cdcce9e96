"""The sync tables on stores in memory and on Maildirs: plain, again, and interrupted at every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_interrupted, check_table, parse_table

from mailtwin.planner import Direction, Policy, Removals
from mailtwin.stores.base import Store
from mailtwin.stores.memory import Answer, Manners, MemoryStore, always

TWO_WAY = """
    # base | left | right -> left | right
      -    | .    | -     -> .    | .        # new on the left
      -    | SFRD | -     -> SFRD | SFRD     # new on the left, with flags
      -    | -    | S     -> S    | S        # new on the right
      -    | SF   | SR    -> SFR  | SFR      # on both sides already, with other flags
      -    | k    | -     -> k    | k        # new, with a keyword
      S    | S    | S     -> S    | S        # nothing happened
      .    | S    | .     -> S    | S        # seen on the left
      .    | .    | F     -> F    | F        # flagged on the right
      S    | .    | S     -> .    | .        # unseen on the left
      SF   | SF   | S     -> S    | S        # unflagged on the right
      S    | SF   | .     -> F    | F        # both changed, different flags
      .    | S    | S     -> S    | S        # both changed, the same flag
      F    | FSk  | lR    -> SklR | SklR     # many changes at once
      k    | .    | k     -> .    | .        # keyword removed on the left
      S    | -    | S     -> -    | -        # removed on the left
      S    | S    | -     -> -    | -        # removed on the right
      S    | -    | SF    -> -    | -        # removed on the left, flagged on the right: removed
      S    | -    | -     -> -    | -        # removed on both
      .    | T    | .     -> T    | T        # marked as deleted, which is a flag
"""

LEFT_TO_RIGHT = """
      -    | S    | -     -> S    | S        # new on the source
      -    | -    | F     -> -    | F        # new on the destination: not ours
      .    | S    | .     -> S    | S        # changed on the source
      .    | .    | S     -> .    | .        # changed on the destination: put back
      S    | -    | S     -> -    | -        # removed on the source
      S    | S    | -     -> S    | S        # removed on the destination: copied again
"""

KEEP = """
      S    | -    | S     -> -    | S        # removed on the left: kept on the right
      .    | .    | -     -> .    | -        # removed on the right: kept on the left
      -    | F    | -     -> F    | F
"""

RESTORE = """
      S    | -    | S     -> S    | S        # removed on the left: comes back
      .    | F    | -     -> F    | F        # removed on the right: comes back as it is now
"""

FLAGS_WIN = """
      S    | -    | SF    -> SF   | SF       # removed on the left, but flagged on the right since
      S    | -    | S     -> -    | -        # removed on the left
"""

TABLES = {
    "two-way": (TWO_WAY, Policy()),
    "left-to-right": (LEFT_TO_RIGHT, Policy(direction=Direction.LEFT_TO_RIGHT)),
    "keep": (KEEP, Policy(removals=Removals.KEEP)),
    "restore": (RESTORE, Policy(removals=Removals.RESTORE)),
    "flags-win": (FLAGS_WIN, Policy(flag_change_beats_removal=True)),
}
IDENTICAL = {"two-way", "restore", "flags-win"}

MANNERS = {
    "good": Manners(),
    "no-cursors": Manners(cursors=False),
    "no-appenduid": Manners(answer=always(Answer.ACCEPTED)),
}


def memory(left: Manners, right: Manners) -> Callable[[], tuple[Store, Store]]:
    """Two stores in memory; whoever connects finds the same mail."""
    stores = MemoryStore("left", manners=left), MemoryStore("right", manners=right)
    return lambda: stores


@pytest.mark.parametrize("manners", MANNERS)
@pytest.mark.parametrize("name", TABLES)
async def test_table(name: str, manners: str, tmp_path: Path) -> None:
    table, policy = TABLES[name]
    bench = Bench(memory(MANNERS["good"], MANNERS[manners]), tmp_path / "state.db", policy)
    rows = parse_table(table)
    if name in IDENTICAL:
        await check_table(bench, rows)
    else:
        await bench.prepare(rows)
        assert (await bench.run()).in_step
        await bench.expect(rows)
        assert not any((await bench.run()).counts.as_dict().values())


@pytest.mark.parametrize("manners", MANNERS)
async def test_table_interrupted_at_every_step(manners: str, tmp_path: Path) -> None:
    def bench(number: int) -> Bench:
        return Bench(memory(MANNERS[manners], MANNERS["good"]), tmp_path / f"{number}.db")

    done = await check_interrupted(bench, parse_table(TWO_WAY))
    assert done["interrupted"] > 20
