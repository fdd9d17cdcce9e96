"""The file: made private, locked, found again, converted, and refused with clear words when it is not sound."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.state.conftest import LEFT, RIGHT

from mailtwin.errors import LockedError, MailtwinError, StateError, StorageError
from mailtwin.model import INBOX, NO_FLAGS, Side
from mailtwin.planner.operations import Link
from mailtwin.state import AddLink, Note, SetValidity, State, database, state_path
from mailtwin.testing.powercut import Refusing, expect_complete, outcomes, watched, write_tree

LINKS = [AddLink(Link(uid, uid, NO_FLAGS)) for uid in range(1, 5_001)]
VALIDITIES = [SetValidity(side, "1") for side in Side]


def opened(path: Path, left: str = LEFT, right: str = RIGHT) -> State:
    return State.open(path, left=left, right=right, now=lambda: 0.0)


def filled(path: Path) -> Path:
    with opened(path) as state:
        run = state.begin_run("sync")
        state.commit(INBOX, [*VALIDITIES, *LINKS])
        state.end_run(run, "in step", {})
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- names and modes -------------------------------------------------------------------------------------------------


def test_the_same_pair_is_found_again() -> None:
    folder = Path("state")
    path = state_path(folder, LEFT, RIGHT)
    assert path == state_path(folder, LEFT, RIGHT)
    assert path != state_path(folder, RIGHT, LEFT)
    assert path != state_path(folder, LEFT + "x", RIGHT)
    assert path.parent == folder
    assert path.name.startswith("imaps-ann@mail.example.org--maildir-srv-mail-ann-")


@pytest.mark.parametrize("address", ["", "/", "../../etc", "a" * 5_000, "Grüße\0\n", "\udce4", ".hidden"])
def test_any_address_makes_a_plain_file_name(address: str) -> None:
    name = state_path(Path("d"), address, address).name
    assert re.fullmatch(r"[a-z0-9][a-z0-9.@-]*\.db", name)
    assert len(name) < 120


def test_addresses_are_kept_whatever_they_contain(path: Path) -> None:
    opened(path, "maildir:/\udce4", "Grüße\0").close()
    opened(path, "maildir:/\udce4", "Grüße\0").close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = tmp_path / "a" / "b" / "state.db"
        with opened(path) as state:
            state.commit(INBOX, [Note("x", 1, 2, "")])
            files = sorted(path.parent.iterdir())
            assert [file.name for file in files] == [
                "state.db",
                "state.db-shm",
                "state.db-wal",
                "state.db.lock",
            ]
            assert {mode(file) for file in files} == {0o600}
            assert {mode(folder) for folder in (path.parent, path.parent.parent)} == {0o700}
    finally:
        os.umask(old)


def test_closing_leaves_the_database_and_the_lock(path: Path) -> None:
    state = opened(path)
    state.commit(INBOX, LINKS)
    state.close()
    state.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]
    assert (path.parent / "state.db.lock").read_text() == ""


def test_using_it_wrongly_is_our_own_mistake(path: Path) -> None:
    state = State.open(
        path, left=LEFT, right=RIGHT, now=lambda: 0.0, on_commit=lambda: state.add_mailbox(INBOX)
    )
    with pytest.raises(AssertionError, match="from within its own commit"):
        state.add_mailbox(INBOX)
    state.close()
    with pytest.raises(AssertionError, match="closed"):
        state.base(INBOX)


def test_threads_take_turns(state: State) -> None:
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(state.commit, INBOX, [link]) for link in LINKS[:200]]
        reads = [pool.submit(state.base, INBOX) for _ in range(50)]
        assert [future.exception() for future in writes] == [None] * 200
        assert [future.exception() for future in reads] == [None] * 50
    assert len(state.base(INBOX).links) == 200


# --- the lock --------------------------------------------------------------------------------------------------------

_HOLD = """
import sys
from pathlib import Path
from mailtwin.state import State
state = State.open(Path(sys.argv[1]), left=sys.argv[2], right=sys.argv[3], now=lambda: 0.0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the state open."""
    command = [sys.executable, "-c", _HOLD, str(path), LEFT, RIGHT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_runs_exclude_each_other(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(LockedError, match=rf"Another run works on this pair \(process {holder.pid}\)"):
        opened(path)
    looked = State.read_only(path, left=LEFT, right=RIGHT)
    assert looked is not None
    assert not looked.has_links()
    looked.close()
    holder.kill()
    holder.wait()
    opened(path).close()


def test_the_same_process_is_no_exception(path: Path) -> None:
    with opened(path), pytest.raises(LockedError, match=str(os.getpid())):
        opened(path)
    opened(path).close()


def test_a_failed_opening_releases_the_lock(path: Path) -> None:
    filled(path)
    for _ in range(2):
        with pytest.raises(StateError):
            opened(path, left="other")


def test_a_program_that_writes_into_the_database_is_named_as_the_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S_MAX", 0.05)
    filled(path)
    with opened(path) as state:
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="Another program holds"):
            state.commit(INBOX, [Note("x", 1, 2, "")])
        other.close()
        state.commit(INBOX, [Note("x", 1, 2, "")])


# --- not ours --------------------------------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()


def foreign_marked(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 1")
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def text(path: Path) -> None:
    path.write_text("Dear diary, " * 1_000)


def newer(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()


def of_others(path: Path) -> None:
    opened(path, "imaps://bob@mail.example.org", RIGHT).close()


def truncated(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)


def truncated_in_the_first_page(path: Path) -> None:
    filled(path)
    os.truncate(path, 1_000)


def schema_overwritten(path: Path) -> None:
    filled(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_000)


def emptied(path: Path) -> None:
    filled(path)
    os.truncate(path, 0)


def emptied_with_a_log(path: Path) -> None:
    """Only what was about to be folded into the file is left."""
    emptied(path)
    path.with_name(path.name + "-wal").write_bytes(b"\0" * 8192)


def without_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size > 0


def of_others_in_reverse(path: Path) -> None:
    opened(path, RIGHT, LEFT).close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (foreign, "a database of another program"),
        (foreign_marked, "a database of another program"),
        (text, "damaged or not a state of mailtwin"),
        (newer, "written by a newer mailtwin"),
        (of_others, "belongs to imaps://bob@mail.example.org and"),
        (of_others_in_reverse, "belongs to maildir"),
        (truncated, "damaged"),
        (truncated_in_the_first_page, "damaged"),
        (schema_overwritten, "damaged"),
        (emptied, "damaged or not a state of mailtwin: it is empty"),
        (emptied_with_a_log, "damaged or not a state of mailtwin: it is empty"),
        (without_tables, "damaged or not a state of mailtwin: it is an empty database"),
    ],
)
def test_what_is_not_our_state_is_refused_and_left_alone(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(path)
    before = path.read_bytes()
    for opener in (opened, lambda path: State.read_only(path, left=LEFT, right=RIGHT)):
        with pytest.raises(StateError, match=words) as caught:
            opener(path)
        assert caught.value.hint
        assert str(path) in caught.value.message
    assert path.read_bytes() == before


def spoil_an_agreement(path: Path) -> None:
    """Changes one row without its index, deep in the file: nothing that a glance would see."""
    content = path.read_bytes()
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'links_by_right'").fetchone()[
        0
    ]
    connection.close()
    # The right half of an interior page's cells: pointers to leaves.
    start = page * 4096 - 20
    path.write_bytes(content[:start] + b"\xff" * 8 + content[start + 8 :])


def test_hidden_damage_is_looked_for_after_an_unclean_end_only(path: Path) -> None:
    filled(path)
    spoil_an_agreement(path)
    state = opened(path)
    state.begin_run("sync")
    state.add_mailbox(INBOX)
    state.close()  # without an end of the run: as after a crash
    with pytest.raises(StateError, match="damaged") as caught:
        opened(path)
    assert "Move the file away" in caught.value.hint


def test_damage_met_at_work_is_called_by_its_name(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'links'").fetchone()[0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with opened(path) as state, pytest.raises(StateError, match="damaged"):
        state.base(INBOX)


# --- looking only ----------------------------------------------------------------------------------------------------


def test_looking_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "none" / "state.db"
    assert State.read_only(path, left=LEFT, right=RIGHT) is None
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    assert State.read_only(path, left=LEFT, right=RIGHT) is None
    assert list(path.parent.iterdir()) == []


def test_looking_changes_nothing(path: Path) -> None:
    filled(path)
    before = path.read_bytes()
    for _ in range(2):
        looked = State.read_only(path, left=LEFT, right=RIGHT)
        assert looked is not None
        assert len(looked.base(INBOX).links) == len(LINKS)
        assert looked.check() == []
        with pytest.raises(AssertionError, match="for reading only"):
            looked.add_mailbox(INBOX)
        looked.close()
    assert path.read_bytes() == before
    assert database.wal_bytes(path) == 0  # else the next run would take it for the trace of a crash


def test_looking_sees_what_a_run_has_written_so_far(path: Path) -> None:
    with opened(path) as state:
        looked = State.read_only(path, left=LEFT, right=RIGHT)
        assert looked is not None
        for link in LINKS[:3]:
            state.commit(INBOX, [link])
            assert looked.base(INBOX) == state.base(INBOX)
        looked.close()


# --- versions --------------------------------------------------------------------------------------------------------


def test_an_older_state_is_converted_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    latest = database.scripts()
    steps = ["ALTER TABLE links ADD COLUMN colour;", "UPDATE links SET colour = 'blue';"]
    monkeypatch.setattr(database, "scripts", lambda: [*latest, *steps])
    with pytest.raises(StateError, match="an older mailtwin"):
        State.read_only(path, left=LEFT, right=RIGHT)
    with opened(path) as state:
        assert len(state.base(INBOX).links) == len(LINKS)
        assert state._connection.execute("SELECT DISTINCT colour FROM links").fetchall() == [("blue",)]
        assert state._connection.execute("PRAGMA user_version").fetchone() == (len(latest) + 2,)


def test_every_version_ever_shipped_can_be_converted(path: Path) -> None:
    latest = database.scripts()
    for version in range(1, len(latest) + 1):
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript("".join(latest[:version]))
        connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("INSERT INTO mailboxes (name, links) VALUES ('INBOX', 1)")
        connection.execute("INSERT INTO links (mailbox, left_ref, right_ref, flags) VALUES (1, 7, '7', '')")
        connection.commit()
        connection.close()
        with opened(path) as state:
            assert state.base(INBOX).links == (Link(7, "7", NO_FLAGS),)


def test_a_step_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    latest = database.scripts()
    steps = ["CREATE TABLE colours (x);", "DROP TABLE links; CREATE TABLE runs (x);"]
    monkeypatch.setattr(database, "scripts", lambda: [*latest, *steps])
    with pytest.raises(StateError):
        opened(path)
    monkeypatch.undo()
    with opened(path) as state:
        assert len(state.base(INBOX).links) == len(LINKS)
        assert state._connection.execute("PRAGMA user_version").fetchone() == (len(latest),)


def test_a_creation_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = database.scripts()
    monkeypatch.setattr(database, "scripts", lambda: [*good, "CREATE TABLE x (id; nonsense"])
    with pytest.raises(MailtwinError):
        opened(path)
    assert [file.name for file in path.parent.iterdir()] == ["state.db.lock"]
    monkeypatch.undo()
    assert State.read_only(path, left=LEFT, right=RIGHT) is None
    opened(path).close()


def test_a_creation_that_was_killed_is_begun_again(path: Path) -> None:
    for name in ("state.db.new", "state.db.new-journal"):
        path.with_name(name).write_bytes(b"half of it")
    opened(path).close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


def test_a_link_that_leads_nowhere_is_not_replaced(path: Path) -> None:
    """A state on a disk that is not mounted is not a new pair."""
    path.symlink_to(path.with_name("disk") / "state.db")
    with pytest.raises(StorageError):
        opened(path)
    assert path.is_symlink()


def assert_whole_or_not_there(path: Path) -> None:
    """Who looks sees a state or none; and the next run has one."""
    looked = State.read_only(path, left=LEFT, right=RIGHT)
    if looked is not None:
        assert looked.check() == []
        looked.close()
    with opened(path) as state:
        assert state.check() == []
    assert sorted(file.name for file in path.parent.iterdir()) == ["state.db", "state.db.lock"]


def test_the_power_goes_while_a_state_is_made(tmp_path: Path) -> None:
    root = tmp_path / "first"
    root.mkdir()
    with watched(root) as log:
        opened(root / "state.db").close()
    expect_complete(log, root)
    for number, (_, _, tree) in enumerate(outcomes(log, mixtures=3)):
        write_tree(tree, tmp_path / str(number))
        assert_whole_or_not_there(tmp_path / str(number) / "state.db")
    assert number > 30


@pytest.mark.parametrize("lasting", [False, True])
def test_a_disk_refuses_while_a_state_is_made(tmp_path: Path, lasting: bool) -> None:
    for nth in range(1, 1_000):
        root = tmp_path / str(nth)
        root.mkdir()
        gate = Refusing(nth, errno.ENOSPC, lasting)
        with watched(root, gate), contextlib.suppress(StorageError):
            opened(root / "state.db").close()
        if not gate.refused:
            assert nth > 30
            return
        assert_whole_or_not_there(root / "state.db")
    pytest.fail("a state takes fewer operations than that")


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_a_lot(state: State) -> None:
    for number in range(50):
        state.commit(INBOX, [Note("x", number, None, "y" * 100)] * 2_000)


def test_a_full_disk_loses_only_what_did_not_fit(small_disk: Path) -> None:
    path = small_disk / "state.db"
    with opened(path) as state:
        state.commit(INBOX, [*VALIDITIES, *LINKS[:100]])
        with pytest.raises(StorageError, match="The disk refused the state"):
            write_a_lot(state)
        assert len(state.base(INBOX).links) == 100
    with opened(path) as state:
        assert len(state.base(INBOX).links) == 100
        assert len(state.history(limit=10**6)) % 2_000 == 0
        assert state.check() == []


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_disk_without_any_room(small_disk: Path) -> None:
    with pytest.raises(OSError):
        fill(small_disk)
    with pytest.raises(StorageError) as caught:
        opened(small_disk / "state.db")
    assert "free space" in caught.value.hint


def test_a_read_only_disk_can_be_looked_at(small_disk: Path) -> None:
    path = small_disk / "state.db"
    with opened(path) as state:
        state.commit(INBOX, LINKS[:10])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError):
        opened(path)
    with pytest.raises(StorageError):
        opened(small_disk / "new" / "state.db")
    looked = State.read_only(path, left=LEFT, right=RIGHT)
    assert looked is not None
    assert len(looked.base(INBOX).links) == 10
    looked.close()


def test_no_room_in_the_database(state: State) -> None:
    state.commit(INBOX, LINKS[:10])
    pages = state._connection.execute("PRAGMA page_count").fetchone()[0]
    state._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match="full"):
        state.commit(INBOX, LINKS[10:])
    assert len(state.base(INBOX).links) == 10
    state._connection.execute("PRAGMA max_page_count = 1000000")
    state.commit(INBOX, LINKS[10:])
    assert len(state.base(INBOX).links) == len(LINKS)


def test_a_directory_in_the_place_of_the_file(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError):
        opened(path)


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be used"):
        opened(tmp_path / "file" / "state.db")
