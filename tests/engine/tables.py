"""Sync tests as tables, one row per message: what both sides once agreed on, what a person made of it on each side,
and what both must show in the end.

    base | left | right -> left | right
    S    | -    | S     -> -    | -          # removed on the left

A cell holds flag letters (S F R D T for the system flags, k and l for keywords, w, h and i for labels), `.` for no
flags, `-` for "not there". `base` is `-` for a message that was never on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailtwin.engine import Pair, compare, sync
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, Flags, MailboxName, Ref, Side, make_flags
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.model.labels import label_flag
from mailtwin.planner import Policy
from mailtwin.state import State
from mailtwin.stores.base import FlagChange, Mailbox, Message, Refused, Spool, Store
from mailtwin.testing.interrupts import Interrupted, InterruptingStore, StepClock

LETTERS = {
    "S": "\\Seen",
    "F": "\\Flagged",
    "R": "\\Answered",
    "D": "\\Draft",
    "T": "\\Deleted",
    "k": "$Label1",
    "l": "work",
    "w": label_flag("Work"),
    "h": label_flag("Home/caf\u00e9 100% (old)"),
    "i": label_flag("\\Inbox"),
}
DAY = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)

Cell = Flags | None


@dataclass(frozen=True, slots=True)
class Row:
    """One message of a table."""

    number: int
    base: Cell
    sides: tuple[Cell, Cell]
    expected: tuple[Cell, Cell]
    text: str

    @property
    def data(self) -> bytes:
        """The message: its number tells it from the others; every third one has no Message-ID."""
        message_id = b"" if self.number % 3 == 2 else b"Message-ID: <row-%d@table.example>\r\n" % self.number
        header = b"From: someone@table.example\r\nSubject: row %d\r\n" % self.number
        return header + message_id + b"\r\nThe body of row %d.\r\n" % self.number

    @property
    def date(self) -> datetime:
        """An arrival date of its own."""
        return DAY + timedelta(hours=self.number)


def parse_table(text: str) -> list[Row]:
    """The rows of a table; blank lines and what follows a `#` do not count."""
    rows: list[Row] = []
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if content:
            before, _, after = content.partition("->")
            base, left, right = map(_cell, before.split("|"))
            expected_left, expected_right = map(_cell, after.split("|"))
            row = Row(len(rows), base, (left, right), (expected_left, expected_right), line.strip())
            rows.append(row)
    return rows


def _cell(text: str) -> Cell:
    text = text.strip()
    if text == "-":
        return None
    return make_flags(LETTERS[letter] for letter in text.replace(".", ""))


class Person:
    """Somebody who uses one side with a mail program of their own: another connection to the same store."""

    def __init__(self, store: Store, mailbox: MailboxName = INBOX) -> None:
        self.store = store
        self.mailbox = mailbox

    async def make(self, wanted: Iterable[tuple[Row, Cell]]) -> None:
        """Makes the mailbox hold exactly these messages with these flags."""
        rows = {row.data: (row, cell) for row, cell in wanted}
        await self.store.connect(create=True)
        try:
            await self.store.create(self.mailbox)
            async with self.store.open(self.mailbox) as mailbox:
                held = (await mailbox.observe()).listing
                present = await _present(mailbox)
                delivery = mailbox.delivery()
                for data, (row, cell) in rows.items():
                    if cell is not None and data not in present:
                        spool = delivery.spool()
                        spool.write(data)
                        flags = held.vocabulary.keep(cell)
                        delivery.stage(Message(0, flags, row.date, spool), flags)
                outcomes = await delivery.commit()
                assert not any(isinstance(outcome, Refused) for outcome in outcomes), outcomes
                await delivery.abort()
                # A server that does not say where it stored a message gave it no labels yet.
                present = await _present(mailbox)
                changes, removed = [], []
                for data, (ref, flags) in present.items():
                    cell = rows[data][1]
                    if cell is None:
                        removed.append(ref)
                    elif (kept := held.vocabulary.keep(cell)) != flags:
                        changes.append(FlagChange((ref,), make_flags(kept - flags), make_flags(flags - kept)))
                if changes:
                    await mailbox.store_flags(changes)
                if removed:
                    await mailbox.remove(removed)
        finally:
            await self.store.close()

    async def see(self) -> dict[bytes, list[tuple[Flags, datetime]]]:
        """What the mailbox holds: bytes to flags and date of each copy."""
        found: dict[bytes, list[tuple[Flags, datetime]]] = {}
        await self.store.connect(create=False)
        try:
            async with self.store.open(self.mailbox) as mailbox:
                held = (await mailbox.observe()).listing
                async for message in mailbox.fetch(list(held.flags), Spool):
                    body = b"".join(message.spool.chunks())
                    found.setdefault(body, []).append((held.flags[message.ref], message.date))
        finally:
            await self.store.close()
        return found


async def _present(mailbox: Mailbox) -> dict[bytes, tuple[Ref, Flags]]:
    """The messages by their bytes."""
    held = (await mailbox.observe()).listing
    return {
        b"".join(message.spool.chunks()): (message.ref, message.flags)
        async for message in mailbox.fetch(list(held.flags), Spool)
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """Two sides to run a table on: `stores` makes new connections to the same two places each time it is called.

    `keyword`: whether that side keeps keywords.
    """

    stores: Callable[[], tuple[Store, Store]]
    state: Path
    policy: Policy = field(default_factory=Policy)
    keeps_keywords: tuple[bool, bool] = (True, True)
    mailbox: MailboxName = INBOX

    def person(self, side: Side) -> Person:
        """Somebody on `side`."""
        return Person(self.stores()[side], self.mailbox)

    async def prepare(self, rows: list[Row]) -> None:
        """Makes the base by a run of its own, then lets a person on each side do their part."""
        together = [(row, row.base) for row in rows if row.base is not None]
        for side in Side:
            await self.person(side).make(together)
        if together:
            report = await self.run()
            assert report.in_step, report.problems
        for side in Side:
            await self.person(side).make([(row, row.sides[side]) for row in rows])

    async def run(self, clock: StepClock | None = None) -> RunReport:
        """One run; raises Interrupted when the clock says so."""
        clock = clock or StepClock()
        left, right = self.stores()
        pair = Pair(
            InterruptingStore(left, clock),
            InterruptingStore(right, clock),
            self.policy,
            select=self.mailbox.__eq__,
            sleep=_no_sleep,
        )
        state = State.open(
            self.state, left=left.address, right=right.address, now=time.time, on_commit=clock.step
        )
        try:
            return await sync(pair, state)
        finally:
            state.close()

    async def count_steps(self) -> int:
        """The steps of one run."""
        clock = StepClock()
        await self.run(clock)
        return clock.steps

    async def expect(self, rows: list[Row]) -> None:
        """Both sides hold what the table says, bytes, flags and dates, and nothing else."""
        for side in Side:
            seen = await self.person(side).see()
            wanted = {row.data: row for row in rows if row.expected[side] is not None}
            assert {data: len(copies) for data, copies in seen.items()} == dict.fromkeys(wanted, 1), (
                side.label
            )
            for data, row in wanted.items():
                flags, date = seen[data][0]
                assert flags == self._expected(row, side), (side.label, row.text)
                assert date == row.date, (side.label, row.text)

    def _expected(self, row: Row, side: Side) -> Flags:
        """The table speaks of sides that keep keywords. Beside one that does not, nobody else touches them."""
        expected, own = row.expected[side], row.sides[side]
        assert expected is not None
        if all(self.keeps_keywords):
            return expected
        keywords = (own or make_flags([])) - SYSTEM_FLAGS if self.keeps_keywords[side] else make_flags([])
        return make_flags((expected & SYSTEM_FLAGS) | keywords)

    async def expect_nothing_to_do(self) -> None:
        """A run changes nothing, and both sides are identical."""
        report = await self.run()
        assert report.in_step, report.problems
        assert not any(report.counts.as_dict().values()), report.counts
        pair = Pair(*self.stores(), select=self.mailbox.__eq__)
        await pair.left.connect(create=False)
        await pair.right.connect(create=False)
        try:
            comparison = await compare(pair)
        finally:
            await pair.left.close()
            await pair.right.close()
        assert comparison.identical, comparison.differences


async def _no_sleep(_seconds: float) -> None:
    """Time does not matter here."""


async def check_table(bench: Bench, rows: list[Row]) -> None:
    """Runs a table plain, and then again: nothing is left to do."""
    await bench.prepare(rows)
    report = await bench.run()
    assert report.in_step, report.problems
    await bench.expect(rows)
    await bench.expect_nothing_to_do()


async def check_interrupted(
    benches: Callable[[int], Bench], rows: list[Row], every: int = 1
) -> Mapping[str, int]:
    """Runs a table interrupted at every step (at every `every`-th one), resumed, and compared.

    `benches(n)` gives a fresh bench for each number. Returns how much was done.
    """
    plain = benches(0)
    await plain.prepare(rows)
    steps = await plain.count_steps()
    done = 0
    for stop_at in range(1, steps + 1, every):
        bench = benches(stop_at)
        await bench.prepare(rows)
        try:
            await bench.run(StepClock(stop_at))
        except Interrupted:
            done += 1
        report = await bench.run()
        assert report.in_step, (stop_at, report.problems)
        await bench.expect(rows)
        await bench.expect_nothing_to_do()
    assert done == len(range(1, steps + 1, every)), "a run did not get as far as it did before"
    return {"steps": steps, "interrupted": done}
