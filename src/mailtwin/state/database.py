"""The file under the state: created, locked, migrated, opened, and its failures in our own words.

WAL with `synchronous=FULL`: a transaction that returned survives a power cut, readers never wait for the writer, and
a commit costs one fsync. Read next: `state`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from mailtwin.errors import LockedError, MailtwinError, StateError, StorageError

APPLICATION_ID = 0x6D74776E
"""`mtwn`: what `file` and we ourselves recognise the database by."""

BUSY_S_MAX = 10.0
WAL_KEPT_BYTES_MAX = 16 * 1024 * 1024
CACHE_KIB = 32 * 1024

_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}",
    f"PRAGMA cache_size = -{CACHE_KIB}",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
)

_DAMAGED_HINT = (
    "Move the file away and run again: without it both sides are compared anew and messages that both hold are "
    "recognised, not copied. Removals and flag changes made since the last run cannot be told apart then: messages "
    "removed on one side come back."
)

_DISK_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_NOLFS,
)


# --- failures --------------------------------------------------------------------------------------------------------


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Turns what SQLite and the operating system raise into StorageError, LockedError or StateError.

    A violated constraint can only be our own mistake and becomes an AssertionError; a call after `close` is one too.
    """
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise AssertionError(f"the state is used wrongly: {error}") from error
    except sqlite3.IntegrityError as error:
        raise AssertionError(f"a change contradicts the state: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _translate(path, error) from error
    except UnicodeDecodeError as error:
        # What SQLite tells of a damaged file may quote it.
        raise damaged(path, str(error)) from error
    except OSError as error:
        raise StorageError(
            f"The state {path} cannot be used: {error.strerror or error}.",
            hint="Check free space and permissions of its directory.",
        ) from error


def _translate(path: Path, error: sqlite3.DatabaseError) -> MailtwinError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DISK_CODES:
        return StorageError(
            f"The disk refused the state {path}: {error}.",
            hint="Nothing half done was kept. Check free space and permissions of its directory.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(
            f"Another program holds the state {path} open for writing.",
            hint="Close programs that look into the database and run again.",
        )
    return damaged(path, str(error))


def damaged(path: Path, what: str) -> StateError:
    """The error for a file that is not a sound database."""
    return StateError(f"The state {path} is damaged or not a state of mailtwin: {what}.", hint=_DAMAGED_HINT)


# --- the lock --------------------------------------------------------------------------------------------------------


class Lock:
    """An exclusive lock beside the database (on it, closing a second handle would drop SQLite's own locks).

    The operating system releases it when the process ends in whatever way. The file stays: removing it would let two
    runs lock two different files of the same name.
    """

    def __init__(self, path: Path) -> None:
        """Raises LockedError when another run holds it, OSError when the file cannot be made."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip()
            os.close(self._handle)
            who = f" (process {holder})" if holder.isdigit() else ""
            raise LockedError(
                f"Another run works on this pair{who}.",
                hint="Wait until it has ended, or stop it, and run again.",
            ) from error
        self._write(str(os.getpid()))

    def _write(self, text: str) -> None:
        # A courtesy to whoever waits: a full disk must not keep us from starting.
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text.encode(), 0)
        except OSError:
            pass

    def release(self) -> None:
        """Lets go; may be called once."""
        self._write("")
        os.close(self._handle)


# --- opening ---------------------------------------------------------------------------------------------------------


def create_directory(path: Path) -> None:
    """Makes the directory `path` and those above it (0700) where there are none, durably. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(folder.parent)


def create(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Makes a state with the latest schema at `path`, under the lock; `fill` writes its first rows.

    Whole or not at all, also after a power cut: it is made beside and renamed when it is durable. So a file that is
    there and empty was not left by an interrupted first run; its content was lost.

    Raises OSError and sqlite3 errors.
    """
    new = path.with_name(path.name + ".new")
    _remove(new)
    try:
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = connect(new, "rw")
        try:
            migrate(connection, 0, fill)
        finally:
            connection.close()
        # That SQLite's journal is gone is durable before the name is: nobody would look for it afterwards.
        _sync_directory(path.parent)
        new.rename(path)
    except BaseException:
        _remove(new)
        raise
    _sync_directory(path.parent)


def _remove(new: Path) -> None:
    """Removes what was not finished, with SQLite's journal of it."""
    for name in (new.name, new.name + "-journal"):
        new.with_name(name).unlink(missing_ok=True)


def require_content(path: Path) -> None:
    """Raises StateError when the file at `path` holds nothing at all, OSError when it cannot be looked at."""
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty, as after a crash of a file system that lost what it held")


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to an existing file; `mode` is `rw`, `ro` or `immutable`. Raises sqlite3 errors."""
    query = "immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_S_MAX,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, also where the directory does not permit SQLite's helper files."""
    try:
        return connect(path, "ro")
    except sqlite3.OperationalError:
        # Without write permission nobody of this user is writing either; a file with an unfinished log must not be
        # read without it, though.
        if wal_bytes(path):
            raise
        return connect(path, "immutable")


def wal_bytes(path: Path) -> int:
    """The size of the write-ahead log; a run that ended cleanly leaves none."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


# --- schema ----------------------------------------------------------------------------------------------------------


def scripts() -> list[str]:
    """The schema as SQL scripts, in order; the n-th (from 1) brings a database from version n-1 to n."""
    folder = resources.files("mailtwin.state") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    assert [int(name[:3]) for name in names] == list(range(1, len(names) + 1)), names
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version, from 1.

    Raises StateError when the file holds nothing, or belongs to another application or to a newer mailtwin.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if (owner, found, tables) == (0, 0, 0):
        raise damaged(path, "it is an empty database")
    if owner != APPLICATION_ID:
        raise StateError(
            f"{path} is a database of another program, not a state of mailtwin.",
            hint="Choose another state directory.",
        )
    if found > len(scripts()):
        raise StateError(
            f"The state {path} was written by a newer mailtwin (schema {found}, this one knows {len(scripts())}).",
            hint="Run the newer version; an older one would not understand what was noted.",
        )
    return found


def migrate(
    connection: sqlite3.Connection, found: int, fill: Callable[[sqlite3.Connection], None] | None = None
) -> None:
    """Brings the schema from version `found` to the latest and lets `fill` write, all in one transaction.

    Raises sqlite3 errors; then nothing was changed.
    """
    todo = scripts()[found:]
    if not todo:
        return
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {found + len(todo)};\n"
    try:
        connection.executescript("BEGIN IMMEDIATE;\n" + marks + "\n".join(todo))
        if fill is not None:
            fill(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Reads the whole database and compares tables with indexes. Raises StateError when it is not sound."""
    found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    if found != "ok":
        raise damaged(path, found)
