"""What accounts used of their providers' patience: bytes of the last day, rests that were asked for, what waits.

One SQLite file beside the states of all pairs, because an account may be in several of them, and because several runs
may write at a time. It decides nothing: see `mailtwin.engine.rationing`. Losing it costs the memory of one day.

Time is counted by a steady clock of its own (`clock`). A machine's clock that is set ahead gives a day back, once.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from mailtwin.errors import StateError
from mailtwin.model import MailboxName, Side
from mailtwin.model.traffic import DAY_S, NO_LIMITS, NO_TRAFFIC, DailyLimits, Slot, Traffic, Way
from mailtwin.state import clock, database
from mailtwin.state.codec import pack_name, pack_text, unpack_name, unpack_text

LEDGER_NAME: Final = "accounts.ledger"
"""The file, in the directory of the states."""

SLOT_S: Final = 600.0
"""Traffic is noted by stretches of so many seconds: 145 rows for a day."""

LEAP_S: Final = 2 * DAY_S
"""How far its clock goes on at most: further than a day, so that nothing counts any more after a week without a run."""

_APPLICATION_ID: Final = 0x6D74776C
_VERSION: Final = 1

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), read REAL NOT NULL, steady REAL NOT NULL);
-- What was used in each stretch of time, by its number since 1970.
CREATE TABLE IF NOT EXISTS slots (
    account NOT NULL, slot INTEGER NOT NULL, down INTEGER NOT NULL, up INTEGER NOT NULL, PRIMARY KEY (account, slot)
) WITHOUT ROWID;
-- Limits that are known by what the server announced, and the rest that it asked for (NULL: none), in steady time.
CREATE TABLE IF NOT EXISTS accounts (
    account NOT NULL PRIMARY KEY, down INTEGER, up INTEGER, rest_until REAL, rest_why
) WITHOUT ROWID;
-- What could not be copied from `side` in a mailbox of a pair, because the account had used up its day that way.
CREATE TABLE IF NOT EXISTS left_over (
    pair NOT NULL, mailbox NOT NULL, side INTEGER NOT NULL, account NOT NULL, way TEXT NOT NULL,
    messages INTEGER NOT NULL, bytes INTEGER NOT NULL, least INTEGER NOT NULL, PRIMARY KEY (pair, mailbox, side)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_HINT = (
    "Move the file away and run again: what was used of each account in the last 24 hours is forgotten then."
)


@dataclass(frozen=True, slots=True)
class Rest:
    """Nobody is to log in to the account before `until_s` (steady time), and why."""

    until_s: float
    why: str


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Messages of one mailbox and side that wait for `account` to have room again this `way`.

    `size`: their bytes, all together; `least`: those of the smallest.
    """

    pair: str
    mailbox: MailboxName
    side: Side
    account: str
    way: Way
    messages: int
    size: int
    least: int


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Everything that is noted of one account, at the steady time `now_s`, when the machine's clock said `clock_s`.

    `limits`: as far as they are known from the provider. `slots`: those that count in the 24 hours up to now.
    """

    name: str
    now_s: float
    clock_s: float = 0.0
    limits: DailyLimits = NO_LIMITS
    slots: tuple[Slot, ...] = ()
    rest: Rest | None = None
    left: tuple[LeftOver, ...] = ()

    def on_the_clock(self, steady_s: float) -> float:
        """A steady time as the machine's clock will show it, in seconds since 1970."""
        return self.clock_s + steady_s - self.now_s


class Ledger:
    """The ledger, open. Made by `open` or `read_only`; methods raise StorageError, LockedError and StateError."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, now: Callable[[], float], *, writes: bool
    ) -> None:
        self.path = path
        self._connection = connection
        self._now = now
        self._writes = writes
        self._guard = threading.RLock()
        self._ahead: dict[str, tuple[int, Traffic]] = {}

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], float]) -> Ledger:
        """The ledger at `path`, made on first use. `now` gives seconds since 1970. Several may be open at a time."""
        with _failures(path):
            database.create_directory(path.parent)
            # An empty file is a new ledger, also one that a power cut left.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = database.connect(path, "rw")
            try:
                if not _version(connection, path):
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(_SCHEMA)
                connection.execute(
                    "INSERT OR IGNORE INTO clock (id, read, steady) VALUES (1, ?1, ?1)", (now(),)
                )
            except BaseException:
                connection.close()
                raise
            return cls(path, connection, now, writes=True)

    @classmethod
    def read_only(cls, path: Path, *, now: Callable[[], float]) -> Ledger | None:
        """The ledger for looking at it; None when there is none yet. Creates nothing."""
        with _failures(path):
            if not path.exists() or (path.stat().st_size == 0 and not database.wal_bytes(path)):
                return None
            connection = database.connect_read_only(path)
            try:
                found = _version(connection, path)
                is_set = found and connection.execute("SELECT 1 FROM clock").fetchone() is not None
            except BaseException:
                connection.close()
                raise
            if not is_set:
                connection.close()
                return None
            return cls(path, connection, now, writes=False)

    def close(self) -> None:
        """Lets go; may be called twice."""
        with self._guard, _failures(self.path):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    def account(self, name: str) -> AccountRecord:
        """What is noted of the account; one that was never met has used nothing."""
        with self._transaction("BEGIN") as connection:
            clock_s = self._now()
            now_s = clock.steady(connection, clock_s, LEAP_S)
            packed = pack_text(name)
            row = connection.execute(
                "SELECT down, up, rest_until, rest_why FROM accounts WHERE account = ?", (packed,)
            ).fetchone()
            down, up, until_s, why = row or (None, None, None, "")
            slots = connection.execute(
                "SELECT slot, down, up FROM slots WHERE account = ? AND slot >= ? ORDER BY slot",
                (packed, _slot(now_s - DAY_S)),
            )
            left = connection.execute(
                "SELECT pair, mailbox, side, way, messages, bytes, least FROM left_over WHERE account = ?"
                " ORDER BY pair, mailbox, side",
                (packed,),
            )
            return AccountRecord(
                name,
                now_s,
                clock_s,
                DailyLimits(down, up),
                tuple(Slot((slot + 1) * SLOT_S, Traffic(*traffic)) for slot, *traffic in slots),
                None if until_s is None or until_s <= now_s else Rest(until_s, unpack_text(why)),
                tuple(
                    LeftOver(unpack_text(pair), unpack_name(mailbox), Side(side), name, Way(way), *sizes)
                    for pair, mailbox, side, way, *sizes in left
                ),
            )

    # --- writing -----------------------------------------------------------------------------------------------------

    def charge(self, name: str, used: Traffic, *, ahead: Traffic = NO_TRAFFIC) -> None:
        """So much was used since the last call, durably, and the next so much is about to be (`ahead`).

        What was said to be ahead at the last call is taken back. Who is killed before the next one has used all of it:
        an error on the safe side.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            now_s = clock.go_on(connection, self._now(), LEAP_S)
            packed, slot = pack_text(name), _slot(now_s)
            if name in self._ahead:
                _take_back(connection, packed, *self._ahead[name])
            _add(connection, packed, slot, used + ahead)
            connection.execute(
                "DELETE FROM slots WHERE account = ? AND slot < ?", (packed, _slot(now_s - DAY_S))
            )
        self._ahead[name] = (slot, ahead)

    def learn_limits(self, name: str, limits: DailyLimits) -> None:
        """The provider's limits, as its server announced; a rest that was asked for is over: the login went well."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            connection.execute(
                "INSERT INTO accounts (account, down, up) VALUES (?1, ?2, ?3) ON CONFLICT (account)"
                " DO UPDATE SET down = ?2, up = ?3, rest_until = NULL, rest_why = NULL",
                (pack_text(name), limits.down, limits.up),
            )

    def rest(self, name: str, for_s: float, why: str) -> None:
        """Nobody is to log in to the account for so many seconds."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            until_s = clock.go_on(connection, self._now(), LEAP_S) + for_s
            connection.execute(
                "INSERT INTO accounts (account, rest_until, rest_why) VALUES (?1, ?2, ?3) ON CONFLICT (account)"
                " DO UPDATE SET rest_until = ?2, rest_why = ?3",
                (pack_text(name), until_s, pack_text(why)),
            )

    def leave(self, pair: str, mailbox: MailboxName, left: Collection[LeftOver]) -> None:
        """What waits in a mailbox of a pair; nothing, when `left` is empty."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            key = (pack_text(pair), pack_name(mailbox))
            connection.execute("DELETE FROM left_over WHERE pair = ? AND mailbox = ?", key)
            connection.executemany(
                "INSERT INTO left_over (pair, mailbox, side, account, way, messages, bytes, least)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (*key, one.side, pack_text(one.account), one.way.value, one.messages, one.size, one.least)
                    for one in left
                ],
            )

    def left_of(self, pair: str) -> list[LeftOver]:
        """What waits in the mailboxes of a pair."""
        with self._transaction("BEGIN") as connection:
            rows = connection.execute(
                "SELECT mailbox, side, account, way, messages, bytes, least FROM left_over WHERE pair = ?"
                " ORDER BY mailbox, side",
                (pack_text(pair),),
            )
            return [
                LeftOver(pair, unpack_name(mailbox), Side(side), unpack_text(account), Way(way), *sizes)
                for mailbox, side, account, way, *sizes in rows
            ]

    @contextmanager
    def _transaction(self, how: str) -> Iterator[sqlite3.Connection]:
        assert self._writes or how == "BEGIN", "this ledger was opened for reading only"
        with self._guard, _failures(self.path):
            connection = self._connection
            connection.execute(how)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def _slot(steady_s: float) -> int:
    return int(steady_s // SLOT_S)


def _add(connection: sqlite3.Connection, account: str | bytes, slot: int, traffic: Traffic) -> None:
    if traffic:
        connection.execute(
            "INSERT INTO slots (account, slot, down, up) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (account, slot)"
            " DO UPDATE SET down = down + ?3, up = up + ?4",
            (account, slot, traffic.down, traffic.up),
        )


def _take_back(connection: sqlite3.Connection, account: str | bytes, slot: int, traffic: Traffic) -> None:
    """What was added to this slot, if it still counts."""
    connection.execute(
        "UPDATE slots SET down = down - ?, up = up - ? WHERE account = ? AND slot = ?",
        (traffic.down, traffic.up, account, slot),
    )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the ledger; 0 for a new one. Raises StateError for any other database."""
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if (owner, found, tables) != (0, 0, 0) and (owner != _APPLICATION_ID or found > _VERSION):
        raise StateError(
            f"{path} is not a ledger of accounts, or one of a newer mailtwin.",
            hint="Choose another state directory.",
        )
    return found


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        with database.failures(path):
            yield
    except StateError as error:
        if not error.hint.startswith("Choose"):
            error.hint = _HINT
        raise
    except ValueError as error:
        raise StateError(f"The ledger {path} holds what was never written: {error}.", hint=_HINT) from error
