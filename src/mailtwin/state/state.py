"""The durable knowledge about one pair of stores: agreements, journal, snapshots, history. One SQLite file.

The state decides nothing. The order of durable writes (ordering invariants 2, 4 and 6 of ARCHITECTURE.md) is the
caller's duty; that each write is all or nothing, and there after a power cut, is ours. Read next: `changes`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from mailtwin.errors import StateError
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.planner.operations import Base
from mailtwin.state import checks, clock, database, reading
from mailtwin.state.agreed import Agreed
from mailtwin.state.changes import Change, Digest, Remark, Snapshot
from mailtwin.state.clock import LEAP_S_MAX
from mailtwin.state.codec import pack_name, pack_ref, pack_text, unpack_name, unpack_text
from mailtwin.state.records import (
    CopyRecord,
    HeldRemovals,
    HistoryEntry,
    Kept,
    MailboxRecord,
    Placed,
    RunRecord,
    Sighting,
    StragglerRecord,
    Uncopied,
)
from mailtwin.state.writing import Transaction, forget_all, write

RUNS_MAX = 200
"""Runs whose history is kept."""

NOTES_MAX = 1_000_000
"""Lines of history kept, whatever the number of runs."""

STRAGGLER_S = 24 * 3600.0 + LEAP_S_MAX
"""How long a copy that was given up may still arrive: a day, longer than any server keeps a session that does nothing;
and a clock that jumps ahead once must not end it."""

REMOVAL_S = STRAGGLER_S
"""How long a removal that was begun may still take effect, for the same reasons."""

STRAGGLERS_MAX = 10_000
"""Stragglers remembered of one pair, the youngest: a connection that breaks all day must not fill the disk."""

_SLUG_CHARS_MAX = 40


def _nothing() -> None:
    pass


def _no_time() -> float:
    return 0.0


def state_path(directory: Path, left: str, right: str) -> Path:
    """The file in `directory` for this pair: the same for the same two addresses in the same order.

    The name says to a person what it is, and to nobody a secret: addresses come without.
    """
    digest = hashlib.sha256(f"{left}\0{right}".encode(errors="surrogatepass")).hexdigest()[:16]
    return directory / f"{_slug(left)}--{_slug(right)}-{digest}.db"


def _slug(address: str) -> str:
    return re.sub(r"[^a-z0-9.@]+", "-", address.lower()).strip("-.")[-_SLUG_CHARS_MAX:].strip("-.") or "store"


class State:
    """One pair's state, open. Made by `open` or `read_only`; every method raises StorageError and StateError.

    Calls may come from several threads, one at a time each. Nothing may be called after `close`.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: database.Lock | None,
        now: Callable[[], float],
        on_commit: Callable[[], None],
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._now = now
        self._on_commit = on_commit
        self._guard = threading.RLock()
        self._run: int | None = None
        self._unwritten_run: tuple[int, str, float] | None = None
        self._agreed: Agreed | None = None
        self._closed = False

    # --- opening and closing -----------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        left: str,
        right: str,
        now: Callable[[], float],
        on_commit: Callable[[], None] = _nothing,
    ) -> State:
        """Opens the state of the pair (`left`, `right`), made on first use, and locks it until `close`.

        `now` gives seconds since 1970. `on_commit` is called twice for every durable write: immediately before (an
        exception undoes the write, as a crash there would) and immediately after (the write stays).

        Raises LockedError when another run works on the pair; StateError when the file is not ours, belongs to other
        addresses, is newer than this program or damaged; StorageError when the disk refuses.
        """
        with database.failures(path):
            database.create_directory(path.parent)
            lock = database.Lock(path.with_name(path.name + ".lock"))
            try:
                connection = _open_locked(path, (left, right), now())
            except BaseException:
                lock.release()
                raise
            return cls(path, connection, lock, now, on_commit)

    @classmethod
    def read_only(cls, path: Path, *, left: str, right: str) -> State | None:
        """The state as it is, for looking at it while a run may be going on; None when there is none yet.

        Takes no lock and creates nothing. Raises as `open`, except LockedError.
        """
        with database.failures(path):
            if not path.exists():
                return None
            database.require_content(path)
            connection = database.connect_read_only(path)
            try:
                _expect_latest(database.version(connection, path), path)
                _expect_pair(connection, path, (left, right))
            except BaseException:
                connection.close()
                raise
            return cls(path, connection, None, _no_time, _nothing)

    def close(self) -> None:
        """Folds the log into the file and releases the lock; may be called twice."""
        if self._closed:
            return
        self._closed = True
        with self._guard, database.failures(self.path):
            try:
                self._connection.close()
            finally:
                if self._lock is not None:
                    self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    def mailboxes(self) -> Mapping[MailboxName, MailboxRecord]:
        """All known mailboxes, sorted by name."""
        with self._reading() as connection:
            return reading.mailboxes(connection)

    def mentioned_mailboxes(self) -> set[MailboxName]:
        """All mailboxes that anything is noted about, also those that are known no more and have a history only."""
        with self._reading() as connection:
            return reading.mentioned_mailboxes(connection)

    def add_mailbox(self, name: MailboxName) -> None:
        """From now on `name` is known; nothing happens when it was."""
        with self._writing() as connection:
            _mailbox(connection, name)

    def forget_mailbox(self, name: MailboxName) -> None:
        """Drops everything about `name` except its history."""
        with self._writing() as connection:
            mailbox = _mailbox(connection, name)
            forget_all(self._transaction(connection, mailbox))
            for table in ("stragglers", "removals", "digests"):
                connection.execute(f"DELETE FROM {table} WHERE mailbox = ?", (mailbox,))
            connection.execute(
                "UPDATE mailboxes SET known = 0, links = 0, left_validity = NULL, right_validity = NULL,"
                " renumbered = 0"
                " WHERE name = ?",
                (pack_name(name),),
            )

    def has_links(self) -> bool:
        """Whether both sides agree on any message at all."""
        with self._reading() as connection:
            return connection.execute("SELECT 1 FROM links LIMIT 1").fetchone() is not None

    # --- one mailbox -------------------------------------------------------------------------------------------------

    def base(self, name: MailboxName) -> Base:
        """All agreements, open intents and validities of `name`; an empty base for an unknown mailbox."""
        with self._reading() as connection:
            agreed = self._agreed
            if agreed is None or agreed.name != name:
                agreed = Agreed(name, reading.links(connection, name))
            if self._lock is not None:
                self._agreed = agreed
            return reading.base(connection, name, agreed.links)

    def require_sound(self, name: MailboxName) -> None:
        """Compares the two places in which each agreement of `name` is stored: the table and its index.

        To be called before anything is removed on the word of an agreement: one that a defect of the disk altered would
        name a message that is not there, and condemn its twin. Raises StateError when the places differ.
        """
        with self._reading() as connection:
            if not checks.agreements_are_sound(connection, name):
                raise database.damaged(self.path, f"the agreements about {name} contradict each other")

    def snapshot(self, name: MailboxName, side: Side) -> Snapshot | None:
        """What `side` held when last seen, or None."""
        with self._reading() as connection:
            return reading.snapshot(connection, name, side)

    def commit(self, name: MailboxName, changes: Iterable[Change], *, forgotten: bool = False) -> None:
        """Writes all `changes` of mailbox `name` in one transaction, or none. `name` is known from then on, unless it
        may stay `forgotten`.

        When it returns they survive a power cut. An agreement that contradicts another one is our own
        mistake: AssertionError, and nothing is written.
        """
        todo = list(changes)
        if not todo:
            return
        with self._guard:
            agreed = self._agreed
            with self._writing() as connection:
                mailbox = _row(connection, name) if forgotten else _mailbox(connection, name)
                write(self._transaction(connection, mailbox), todo)
            if agreed is not None and agreed.name == name:
                agreed.apply(todo)
            self._agreed = agreed

    def labels(self) -> frozenset[MailboxName]:
        """The labels that both sides have had, and that are not gone on both."""
        with self._reading() as connection:
            return frozenset(unpack_name(name) for (name,) in connection.execute("SELECT name FROM labels"))

    def agree_labels(self, names: Collection[MailboxName]) -> None:
        """Replaces them, in one transaction."""
        with self._writing() as connection:
            connection.execute("DELETE FROM labels")
            connection.executemany(
                "INSERT INTO labels (name) VALUES (?)", [(pack_name(name),) for name in names]
            )

    def annotate(self, name: MailboxName, remarks: Iterable[Remark]) -> None:
        """Writes in one transaction what decides nothing: unlike `commit`, it does not make the mailbox known."""
        self.commit(name, remarks, forgotten=True)

    def without_email(self, name: MailboxName, side: Side) -> list[Ref]:
        """The linked messages of `name` on `side` of which it is not known what their store calls them in whatever
        mailbox they are."""
        with self._reading() as connection:
            return reading.without_email(connection, name, side)

    def placed(self, side: Side, ids: Collection[str]) -> dict[str, list[Placed]]:
        """The linked messages that the store on `side` calls by one of `ids`, in any mailbox."""
        with self._reading() as connection:
            return reading.placed(connection, side, ids)

    def digests(self, name: MailboxName, side: Side) -> dict[Ref, Digest]:
        """What was read of the messages of `name` on `side`."""
        with self._reading() as connection:
            return reading.digests(connection, name, side)

    def copies(self, name: MailboxName | None = None) -> list[CopyRecord]:
        """Open copies of one mailbox, or of all, with what tells a person which message it is."""
        with self._reading() as connection:
            return reading.copies(connection, name)

    def stragglers(self, name: MailboxName | None = None) -> list[StragglerRecord]:
        """Copies that were given up and may arrive, or did, of one mailbox or of all."""
        with self._reading() as connection:
            return reading.stragglers(connection, name)

    def uncopied(self, name: MailboxName | None = None, *, suspects: bool = False) -> list[Uncopied]:
        """Messages that could not be copied, of one mailbox or of all, by mailbox; with `suspects` also those that are
        merely suspected of ending connections."""
        with self._reading() as connection:
            return reading.uncopied(connection, name, suspects=suspects)

    def count_uncopied(self) -> int:
        """How many messages of all mailboxes could not be copied or are suspected."""
        with self._reading() as connection:
            return int(connection.execute("SELECT count(*) FROM uncopied").fetchone()[0])

    def sighting(self, name: MailboxName, side: Side) -> Sighting | None:
        """What `side` showed of `name` when it was last in step, or None."""
        with self._reading() as connection:
            return reading.sighting(connection, name, side)

    def held(self, name: MailboxName | None = None) -> list[HeldRemovals]:
        """Removals that the guard holds back, of one mailbox or of all, by mailbox and side."""
        with self._reading() as connection:
            return reading.held(connection, name)

    # --- the quarantine ----------------------------------------------------------------------------------------------

    @property
    def quarantine(self) -> Path:
        """The directory beside the file in which removed messages are kept; it need not exist."""
        return self.path.with_name(self.path.name + ".kept")

    def kept(self, name: MailboxName | None = None) -> list[Kept]:
        """Removed messages that are kept, of one mailbox or of all, oldest first."""
        with self._reading() as connection:
            return reading.kept(connection, name)

    def kept_files(self) -> set[str]:
        """The names of the files in `quarantine` that belong to a message that is kept."""
        with self._reading() as connection:
            return {file for (file,) in connection.execute("SELECT file FROM kept")}

    def let_go_files(self) -> set[str]:
        """The names of the files in `quarantine` whose messages are not kept any more: they are to be deleted."""
        with self._reading() as connection:
            return {file for (file,) in connection.execute("SELECT file FROM let_go")}

    def forget_files(self, names: Collection[str]) -> None:
        """These files are deleted, durably or not: one that a power cut brings back is nobody's."""
        if names:
            with self._writing() as connection:
                connection.executemany("DELETE FROM let_go WHERE file = ?", ((name,) for name in names))

    # --- runs and history --------------------------------------------------------------------------------------------

    def begin_run(self, command: str) -> int:
        """Starts a run and returns its number; history is written under it until `end_run`.

        The run is written with its first durable write: a run that changes nothing costs one, at its end.
        """
        with self._reading() as connection:
            last = connection.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0]
        self._run = int(last) + 1
        self._unwritten_run = (self._run, command, self._now())
        return self._run

    def end_run(
        self,
        run: int,
        outcome: str,
        counts: Mapping[str, int],
        *,
        kept_s: float = math.inf,
        kept_bytes: float = math.inf,
    ) -> None:
        """Ends the run that `begin_run` returned, and forgets what is old: history beyond the last 200 runs or a
        million lines, stragglers that did not arrive in time, messages removed longer than `kept_s` seconds ago (by
        `steady_now`) and the oldest ones until the others have no more than `kept_bytes` bytes; never what this run
        removed.
        """
        assert run == self._run, f"run {run} is not the one that was begun last"
        with self._writing() as connection:
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = ?, counts = ? WHERE id = ?",
                (self._now(), outcome, json.dumps(dict(counts)), run),
            )
            _prune(connection, run)
            steady = clock.go_on(connection, self._now())
            _forget_stragglers(connection, steady)
            _forget_kept(connection, run, steady - kept_s, kept_bytes)
        self._run = None

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The last `limit` runs, newest first."""
        with self._reading() as connection:
            return reading.runs(connection, limit)

    def history(
        self,
        *,
        mailbox: MailboxName | None = None,
        ref: Ref | None = None,
        message_id: str | None = None,
        run: int | None = None,
        operation: str | None = None,
        since: float | None = None,
        limit: int = 1_000,
    ) -> list[HistoryEntry]:
        """The last `limit` lines of history, newest first.

        Narrowed to a mailbox, to a message (its ref on either side, or its Message-ID), to a run, to one kind of
        operation, to what was done `since` (seconds since 1970).
        """
        wanted: dict[str, Any] = {
            "mailbox": None if mailbox is None else pack_name(mailbox),
            "ref": None if ref is None else pack_ref(ref),
            "message_id": None if message_id is None else pack_text(message_id),
            "run": run,
            "operation": operation,
            "since": since,
        }
        with self._reading() as connection:
            return reading.history(connection, wanted, limit)

    def named(self, message_id: str) -> set[tuple[MailboxName, Side, Ref]]:
        """The messages that carry this Message-ID, as far as that was ever noted, under the present numbering."""
        with self._reading() as connection:
            return reading.named(connection, message_id)

    def message_ids(
        self, name: MailboxName, wanted: Collection[tuple[Side, Ref]]
    ) -> list[tuple[int, Side, Ref, str]]:
        """The Message-IDs that lines of history give to `wanted`: line number (rising), side, ref, Message-ID."""
        with self._reading() as connection:
            return reading.message_ids(connection, name, wanted)

    def steady_now(self) -> float:
        """The time by which deadlines are counted, in seconds since about 1970: it goes on with the clock, but never
        back, and by a day at most from the end of one run to the next. A clock that jumps cannot end what is to last
        for a while; who does not run mailtwin for a month keeps things longer.
        """
        with self._reading() as connection:
            return clock.steady(connection, self._now())

    def check(self) -> list[str]:
        """What contradicts the invariants of the state, one sentence each; empty when all is well. Reads everything."""
        with self._reading() as connection:
            return checks.problems(connection)

    def _transaction(self, connection: sqlite3.Connection, mailbox: int) -> Transaction:
        now = self._now()
        return Transaction(connection, mailbox, self._run, now, clock.steady(connection, now))

    # --- transactions ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Several queries see one moment of the database, whatever a run writes meanwhile."""
        with self._guard, database.failures(self.path):
            _begin(self._connection, "BEGIN")
            try:
                yield self._connection
            except ValueError as error:
                raise database.damaged(self.path, f"it holds what was never written: {error}") from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        assert self._lock is not None, "this state was opened for reading only"
        with self._guard, database.failures(self.path):
            self._agreed = None
            connection = self._connection
            _begin(connection, "BEGIN IMMEDIATE")
            try:
                self._write_run(connection)
                yield connection
                self._on_commit()
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.IntegrityError):
                    database.verify(connection, self.path)
                raise
            self._unwritten_run = None
            self._on_commit()

    def _write_run(self, connection: sqlite3.Connection) -> None:
        if self._unwritten_run is None:
            return
        connection.execute("UPDATE runs SET outcome = 'interrupted' WHERE outcome IS NULL")
        connection.execute(
            "INSERT INTO runs (id, command, began, first_note) VALUES (?, ?, ?,"
            " 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'history'), 0))",
            self._unwritten_run,
        )


# --- opening ---------------------------------------------------------------------------------------------------------


def _open_locked(path: Path, pair: tuple[str, str], now: float) -> sqlite3.Connection:
    """A connection to a sound, current database of this pair; a look at all of it only after an unclean end."""
    if not os.path.lexists(path):
        database.create(path, lambda connection: _fill(connection, pair, now))
    database.require_content(path)
    unclean = database.wal_bytes(path) > 0
    connection = database.connect(path, "rw")
    try:
        found = database.version(connection, path)
        if unclean or _was_killed(connection):
            database.verify(connection, path)
        _expect_pair(connection, path, pair)
        connection.execute("PRAGMA journal_mode = WAL")
        database.migrate(connection, found)
        if _pair(connection) is None:
            _fill(connection, pair, now)
    except BaseException:
        connection.close()
        raise
    return connection


def _fill(connection: sqlite3.Connection, pair: tuple[str, str], now: float) -> None:
    """The first rows of a new state."""
    connection.execute(
        "INSERT INTO pair (id, left_address, right_address, created) VALUES (1, ?, ?, ?)",
        (pack_text(pair[0]), pack_text(pair[1]), now),
    )
    connection.execute("UPDATE clock SET read = ?1, steady = ?1", (now,))


def _was_killed(connection: sqlite3.Connection) -> bool:
    last = connection.execute("SELECT outcome FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    return last is not None and last[0] is None


def _pair(connection: sqlite3.Connection) -> tuple[str, str] | None:
    row = connection.execute("SELECT left_address, right_address FROM pair").fetchone()
    return None if row is None else (unpack_text(row[0]), unpack_text(row[1]))


def _expect_pair(connection: sqlite3.Connection, path: Path, pair: tuple[str, str]) -> None:
    found = _pair(connection)
    if found is not None and found != pair:
        raise StateError(
            f"The state {path} belongs to {found[0]} and {found[1]}, not to {pair[0]} and {pair[1]}.",
            hint="Give each pair its own state; to start anew with other stores, move this file away.",
        )


def _expect_latest(found: int, path: Path) -> None:
    if found < len(database.scripts()):
        raise StateError(
            f"The state {path} was written by an older mailtwin and has not been converted yet.",
            hint="Run a synchronisation once.",
        )


def _begin(connection: sqlite3.Connection, how: str) -> None:
    assert not connection.in_transaction, "the state was called from within its own commit"
    connection.execute(how)


def _row(connection: sqlite3.Connection, name: MailboxName) -> int:
    """The row of mailbox `name`, whether it is known or only remarked upon."""
    packed = pack_name(name)
    row = connection.execute("SELECT id FROM mailboxes WHERE name = ?", (packed,)).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO mailboxes (name, known) VALUES (?, 0) RETURNING id", (packed,)
        ).fetchone()
    return int(row[0])


def _mailbox(connection: sqlite3.Connection, name: MailboxName) -> int:
    """The row of mailbox `name`, which is known from now on."""
    packed = pack_name(name)
    row = connection.execute("SELECT id, known FROM mailboxes WHERE name = ?", (packed,)).fetchone()
    if row is not None and row[1]:
        return int(row[0])
    return int(
        connection.execute(
            "INSERT INTO mailboxes (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET known = 1 RETURNING id",
            (packed,),
        ).fetchone()[0]
    )


def _forget_stragglers(connection: sqlite3.Connection, now: float) -> None:
    """Drops those that did not arrive, when they are old or too many; one that was found waits for a person."""
    connection.execute(
        "DELETE FROM stragglers WHERE found IS NULL AND (steady < ?1 OR id <= ("
        " SELECT id FROM stragglers ORDER BY id DESC LIMIT 1 OFFSET ?2))",
        (now - STRAGGLER_S, STRAGGLERS_MAX),
    )


def _forget_kept(connection: sqlite3.Connection, run: int, since: float, bytes_max: float) -> None:
    """Drops what was removed before `since` or is too much; not what `run` removed, or what is being put back."""
    connection.execute(
        "DELETE FROM kept WHERE run IS NOT ?1 AND begun = 0 AND (steady < ?2 OR id IN ("
        " SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id DESC) AS total FROM kept) WHERE total > ?3))",
        (run, since, bytes_max),
    )


def _prune(connection: sqlite3.Connection, run: int) -> None:
    """Drops old runs and their notes; notes have rising numbers, so both limits are one range."""
    oldest = run - RUNS_MAX + 1
    connection.execute("DELETE FROM runs WHERE id < ?", (oldest,))
    dropped = connection.execute(
        "DELETE FROM history WHERE id < max("
        " (SELECT coalesce(min(first_note), 0) FROM runs),"
        " (SELECT coalesce(max(id), 0) FROM history) - ? + 1)",
        (NOTES_MAX,),
    ).rowcount
    if dropped and connection.execute("SELECT 1 FROM mailboxes WHERE known = 0 LIMIT 1").fetchone():
        connection.execute(
            "DELETE FROM mailboxes WHERE known = 0 AND id NOT IN (SELECT DISTINCT mailbox FROM history)"
            " AND id NOT IN (SELECT DISTINCT mailbox FROM kept)"
        )
        connection.execute("DELETE FROM digests WHERE mailbox NOT IN (SELECT id FROM mailboxes)")
