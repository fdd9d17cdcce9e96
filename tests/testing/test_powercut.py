"""What a power cut leaves, as known answers; and that nothing is done to the disk unseen."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from pathlib import Path

import pytest

from mailtwin.testing.powercut import (
    Call,
    Disk,
    Log,
    Operation,
    Refusing,
    Survivor,
    Tree,
    expect_complete,
    outcomes,
    read_tree,
    watched,
    write_tree,
)
from mailtwin.testing.powercut.operations import (
    Link,
    MakeDirectory,
    MakeFile,
    Remove,
    Rename,
    Resize,
    SetTime,
    Sync,
    SyncAll,
    Write,
)

START: Tree = {"a": Survivor(None), "b": Survivor(None), "a/old": Survivor(b"old")}
NEW: list[Operation] = [MakeFile("a/x"), Write("a/x", 0, b"hello")]


def after(*operations: Operation) -> Disk:
    disk = Disk(START)
    for operation in operations:
        disk.apply(operation)
    return disk


def files(tree: Tree) -> dict[str, bytes]:
    return {path: survivor.data for path, survivor in tree.items() if survivor.data is not None}


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        (NEW, {"a/old": b"old"}),
        ([*NEW, Sync("a/x")], {"a/old": b"old"}),
        ([*NEW, Sync("a")], {"a/old": b"old", "a/x": b""}),
        ([*NEW, Sync("a/x"), Sync("a")], {"a/old": b"old", "a/x": b"hello"}),
        ([*NEW, Sync("a"), Sync("a/x"), Write("a/x", 4, b"!!")], {"a/old": b"old", "a/x": b"hello"}),
        ([*NEW, Sync("a"), SyncAll(), Resize("a/x", 1)], {"a/old": b"old", "a/x": b"hello"}),
        ([*NEW, Resize("a/x", 7), SyncAll()], {"a/old": b"old", "a/x": b"hello\0\0"}),
        ([Rename("a/old", "b/new")], {"a/old": b"old"}),
        ([Rename("a/old", "b/new"), Sync("a")], {"b/new": b"old"}),
        ([Rename("a/old", "b/new"), Sync("b")], {"b/new": b"old"}),
        ([Link("a/old", "b/new"), Sync("a")], {"a/old": b"old"}),
        ([Link("a/old", "b/new"), Sync("b")], {"a/old": b"old", "b/new": b"old"}),
        ([Remove("a/old"), Sync("b")], {"a/old": b"old"}),
        ([Remove("a/old"), Sync("a")], {}),
        (
            [MakeDirectory("a/d"), MakeFile("a/d/x"), Write("a/d/x", 0, b"x"), Sync("a/d/x"), Sync("a/d")],
            {"a/old": b"old"},
        ),
        ([MakeDirectory("a/d"), MakeFile("a/d/x"), Sync("a/d"), Sync("a")], {"a/old": b"old", "a/d/x": b""}),
    ],
)
def test_what_is_left_when_nothing_survives_that_was_not_synced(
    operations: list[Operation], left: dict[str, bytes]
) -> None:
    assert files(after(*operations).synced()) == left


def test_everything_may_survive_too() -> None:
    disk = after(*NEW, Rename("a/old", "b/new"), SetTime("b/new", 7))
    assert files(disk.everything()) == {"a/x": b"hello", "b/new": b"old"}
    assert disk.everything()["b/new"].mtime_ns == 7
    assert disk.synced()["a/old"].mtime_ns is None


def test_chance_leaves_what_is_possible_and_nothing_else() -> None:
    disk = after(*NEW, Write("a/x", 5, b" world"), Rename("a/old", "b/new"))
    seen = {frozenset(files(disk.mixture(random.Random(seed))).items()) for seed in range(300)}
    names = {tuple(sorted(dict(one))) for one in seen}
    assert names == {("a/old",), ("b/new",), ("a/old", "a/x"), ("a/x", "b/new")}
    contents = {dict(one)["a/x"] for one in seen if "a/x" in dict(one)}
    assert {b"", b"hello", b"hello world", b"\0\0\0\0\0 world"} <= contents
    torn = contents - {b"", b"hello", b"hello world", b"\0\0\0\0\0 world"}
    assert any(b"hello world".startswith(data) for data in torn)


def play(root: Path) -> None:
    """Everything that is watched, by hand."""
    descriptor = os.open(root / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"some")
    os.write(descriptor, b"thing")
    os.pwrite(descriptor, b"S", 0)
    os.ftruncate(descriptor, 6)
    os.fsync(descriptor)
    os.close(descriptor)
    (root / "sub").mkdir()
    (root / "file").rename(root / "sub" / "moved")
    os.link(root / "sub" / "moved", root / "link")
    os.utime(root / "link", (5, 5))
    connection = sqlite3.connect(root / "data.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (7)")
    connection.commit()
    connection.close()
    os.close(os.open(root / "sub" / "gone", os.O_WRONLY | os.O_CREAT))
    (root / "sub" / "gone").unlink()
    (root / "empty").mkdir()
    (root / "empty").rmdir()


def test_nothing_is_done_unseen(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"was there")
    with watched(tmp_path) as log:
        play(tmp_path)
    expect_complete(log, tmp_path)
    kinds = {type(operation) for operation in log.operations}
    assert kinds == {MakeFile, MakeDirectory, Write, Resize, SetTime, Rename, Link, Remove, Sync}
    assert "data.db-wal" in {operation.path for operation in log.operations if isinstance(operation, Sync)}
    (tmp_path / "unseen").write_bytes(b"x")
    with pytest.raises(AssertionError, match="unseen"):
        expect_complete(log, tmp_path)


def test_a_commit_that_returned_survives(tmp_path: Path) -> None:
    """The database of a cut at any moment is sound, and holds what was committed by then."""
    root = tmp_path / "first"
    root.mkdir()
    committed: list[int] = []
    with watched(root) as log:
        connection = sqlite3.connect(root / "data.db", isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        for number in range(5):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            committed.append(len(log.operations))
        connection.close()
    expect_complete(log, root)
    for number, (done, what, tree) in enumerate(outcomes(log, mixtures=2)):
        write_tree(tree, tmp_path / str(number))
        if done < committed[0]:
            continue
        connection = sqlite3.connect(tmp_path / str(number) / "data.db")
        rows = [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        assert rows == list(range(len(rows)))
        assert len(rows) >= sum(moment <= done for moment in committed), (done, what)


def test_a_tree_is_written_as_it_was_read(tmp_path: Path) -> None:
    play(tmp_path)
    tree = read_tree(tmp_path)
    write_tree(tree, tmp_path / "copy" / "of it")
    assert read_tree(tmp_path / "copy" / "of it") == tree


def test_any_call_can_be_refused(tmp_path: Path) -> None:
    calls: list[Call] = []
    with watched(tmp_path, calls.append):
        play(tmp_path)
    assert {call.what for call in calls} == {
        *("open", "write", "resize", "fsync", "mkdir", "rename", "link", "utime", "remove"),
    }
    for nth in range(1, len(calls) + 1):
        root = tmp_path / f"refused{nth}"
        root.mkdir()
        gate = Refusing(nth, errno.EIO)
        failed: list[Exception] = []
        with watched(root, gate) as log:
            try:
                play(root)
            except (OSError, sqlite3.OperationalError) as error:
                failed.append(error)
        assert [call.what for call in gate.refused] == [calls[nth - 1].what]
        assert failed or gate.refused[0].path.startswith("data.db")
        expect_complete(log, root)


def test_a_full_disk_stays_full(tmp_path: Path) -> None:
    gate = Refusing(2, errno.ENOSPC, lasting=True)
    with watched(tmp_path, gate) as log:
        for number in range(4):
            if number:
                with pytest.raises(OSError, match="No space"):
                    (tmp_path / str(number)).mkdir()
            else:
                (tmp_path / str(number)).mkdir()
    assert log.operations == [MakeDirectory("0")]
    assert len(gate.refused) == 3


def test_what_is_elsewhere_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    with watched(tmp_path / "in", Refusing(1, errno.EIO, lasting=True)) as log:
        play(tmp_path / "out")
    assert log == Log()
