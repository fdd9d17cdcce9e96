"""Watches what this process does to the files in one directory, writes it down, and refuses what it is told to.

    with watched(directory) as log:
        ...                                 # log.operations: what was done, in order
    with watched(directory, gate):
        ...                                 # gate(call) is asked first and may raise OSError

The functions of `os` that change files are replaced as long as it lasts, `syncfs` is, and a layer is put below SQLite
(`sqlite`). Files that are written by other means (`open(path, "w")`) are not seen: `expect_complete` finds out. One
directory at a time; for Linux.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from mailtwin.stores import durable
from mailtwin.testing.powercut import sqlite
from mailtwin.testing.powercut.operations import (
    Link,
    Log,
    MakeDirectory,
    MakeFile,
    Operation,
    Remove,
    Rename,
    Resize,
    SetTime,
    Sync,
    SyncAll,
    Write,
)
from mailtwin.testing.powercut.survival import Disk, read_tree

VOLATILE = ("-shm",)
"""Ends of the names of files that mean nothing after a power cut."""


@dataclass(frozen=True, slots=True)
class Call:
    """Something that is about to be done to the disk: `what` (open, write, resize, utime, rename, link, remove, mkdir,
    fsync, syncfs) to the file or directory at `path`, in the watched directory."""

    what: str
    path: str


Gate = Callable[[Call], None]


def let_pass(_call: Call) -> None:
    """Refuses nothing."""


@dataclass(slots=True)
class Refusing:
    """A gate that refuses the `nth` call (from 1) with this error number; `lasting`: and all that come after it."""

    nth: int
    number: int
    lasting: bool = False
    calls: int = 0
    refused: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> None:
        self.calls += 1
        if self.calls == self.nth or (self.lasting and self.calls > self.nth):
            self.refused.append(call)
            raise OSError(self.number, os.strerror(self.number))


@contextmanager
def watched(root: Path, gate: Gate = let_pass) -> Iterator[Log]:
    """The log of what is done in `root`, which exists, while inside; `gate` is asked before each call.

    Databases in it must be opened and closed inside.
    """
    seam = _Seam(root.resolve(), gate, Log(start=_without_volatile(read_tree(root.resolve()))))
    layer = sqlite.layer()
    replaced = {name: getattr(seam, name) for name in _Seam.REPLACED}
    layer.install(seam)
    try:
        with mock.patch.multiple(os, **replaced), mock.patch.object(durable, "sync_file_system", seam.syncfs):
            yield seam.log
    finally:
        layer.remove()


def expect_complete(log: Log, root: Path) -> None:
    """Raises AssertionError when what is in `root` is not what `log` says was done: then something was not seen."""
    disk = Disk(log.start)
    for operation in log.operations:
        disk.apply(operation)
    told = {path: survivor.data for path, survivor in disk.everything().items()}
    there = {path: survivor.data for path, survivor in _without_volatile(read_tree(root)).items()}
    differing = sorted(path for path in told.keys() | there.keys() if told.get(path, 0) != there.get(path, 0))
    assert not differing, f"changed without being seen: {differing}"


def _without_volatile(tree: dict[str, Any]) -> dict[str, Any]:
    return {path: survivor for path, survivor in tree.items() if not path.endswith(VOLATILE)}


def _named_by(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class _Seam:
    """What stands in front of `os` and SQLite. Methods named as in `os` replace what is there."""

    REPLACED = (
        "fdatasync",
        "fsync",
        "ftruncate",
        "link",
        "mkdir",
        "open",
        "pwrite",
        "remove",
        "rename",
        "replace",
        "rmdir",
        "unlink",
        "utime",
        "write",
    )

    def __init__(self, root: Path, gate: Gate, log: Log) -> None:
        self.log = log
        self._root = str(root)
        self._gate = gate
        # One call at a time, so that the order written down is the order in which things were done.
        self._lock = threading.RLock()
        self._real: Any = {name: getattr(os, name) for name in self.REPLACED}
        self._syncfs = durable.sync_file_system

    # --- which file ---

    def _inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        """`path` relative to the root; None when it is not in it."""
        if isinstance(path, int):
            full = _named_by(path)
        else:
            start = "." if dir_fd is None else _named_by(dir_fd)
            full = os.path.abspath(Path(start, os.fsdecode(path)))  # noqa: PTH100 - links stay what they are
        if full == self._root:
            return ""
        inside = full.startswith(self._root + "/") and not full.endswith((" (deleted)", *VOLATILE))
        return full[len(self._root) + 1 :] if inside else None

    def _do(self, what: str, path: str | None, do: Callable[[], Any], *operations: Operation) -> Any:
        """Asks the gate, does it, writes it down."""
        if path is None:
            return do()
        with self._lock:
            self._gate(Call(what, path))
            result = do()
            self.log.operations += operations
            return result

    # --- os ---

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        def do() -> int:
            return int(self._real["open"](path, flags, mode, dir_fd=dir_fd))

        inside = self._inside(path, dir_fd)
        if inside is None or not flags & (os.O_WRONLY | os.O_RDWR):
            return do()
        with self._lock:
            exists = os.path.lexists(Path(self._root, inside))
            operations: list[Operation] = []
            if flags & os.O_CREAT and not exists:
                operations.append(MakeFile(inside))
            elif flags & os.O_TRUNC:
                operations.append(Resize(inside, 0))
            return int(self._do("open", inside, do, *operations))

    def write(self, descriptor: int, data: Any) -> int:
        inside = self._inside(descriptor)
        if inside is None:
            return int(self._real["write"](descriptor, data))
        with self._lock:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR)
            return self._written(inside, offset, data, lambda: self._real["write"](descriptor, data))

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        inside = self._inside(descriptor)
        do = partial(self._real["pwrite"], descriptor, data, offset)
        return int(do()) if inside is None else self._written(inside, offset, data, do)

    def _written(self, path: str, offset: int, data: Any, do: Callable[[], int]) -> int:
        with self._lock:
            count = int(self._do("write", path, do))
            self.log.operations.append(Write(path, offset, bytes(data)[:count]))
            return count

    def ftruncate(self, descriptor: int, size: int) -> None:
        inside = self._inside(descriptor)
        do = partial(self._real["ftruncate"], descriptor, size)
        self._do("resize", inside, do, Resize(inside or "", size))

    def fsync(self, descriptor: int) -> None:
        inside = self._inside(descriptor)
        self._do("fsync", inside, lambda: self._real["fsync"](descriptor), Sync(inside or ""))

    fdatasync = fsync

    def rename(
        self, old: Any, new: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        there, here = self._inside(old, src_dir_fd), self._inside(new, dst_dir_fd)
        assert (there is None) == (here is None), "a rename into or out of the watched directory"
        do = partial(self._real["rename"], old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._do("rename", here, do, Rename(there or "", here or ""))

    replace = rename

    def link(self, old: Any, new: Any, **options: Any) -> None:
        there, here = self._inside(old), self._inside(new)
        do = partial(self._real["link"], old, new, **options)
        self._do("link", here, do, Link(there or "", here or ""))

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        self._do("remove", inside, lambda: self._real["unlink"](path, dir_fd=dir_fd), Remove(inside or ""))

    remove = unlink

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        self._do("remove", inside, lambda: self._real["rmdir"](path, dir_fd=dir_fd), Remove(inside or ""))

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        inside = self._inside(path, dir_fd)
        do = partial(self._real["mkdir"], path, mode, dir_fd=dir_fd)
        if inside is not None and Path(self._root, inside).is_dir():
            do()  # which is refused: it changes nothing
        self._do("mkdir", inside, do, MakeDirectory(inside or ""))

    def utime(self, path: Any, times: Any = None, **options: Any) -> None:
        inside = self._inside(path)
        do = partial(self._real["utime"], path, times, **options)
        if inside is None:
            do()
            return
        with self._lock:
            self._do("utime", inside, do)
            mtime_ns = Path(self._root, inside).stat().st_mtime_ns
            self.log.operations.append(SetTime(inside, mtime_ns))

    def syncfs(self, directory: Path) -> bool:
        """As `durable.sync_file_system`: an error is an answer, too."""
        try:
            return bool(
                self._do("syncfs", self._inside(directory), lambda: self._try_syncfs(directory), SyncAll())
            )
        except OSError:
            return False

    def _try_syncfs(self, directory: Path) -> bool:
        if not self._syncfs(directory):
            raise OSError(errno.EIO, "syncfs is not there, or failed")
        return True

    # --- SQLite: see sqlite.Watcher ---

    def _ask(self, what: str, path: Path, *operations: Operation) -> Callable[[], None]:
        inside = self._inside(path)
        if inside is None:
            return lambda: None
        self._gate(Call(what, inside))
        return lambda: self.log.operations.extend(operations)

    def _named(self, path: Path) -> str:
        return self._inside(path) or ""

    def opening(self, path: Path, creating: bool) -> Callable[[], None]:
        return self._ask("open", path, *([MakeFile(self._named(path))] if creating else []))

    def writing(self, path: Path, offset: int, data: bytes) -> Callable[[], None]:
        return self._ask("write", path, Write(self._named(path), offset, data))

    def resizing(self, path: Path, size: int) -> Callable[[], None]:
        return self._ask("resize", path, Resize(self._named(path), size))

    def syncing(self, path: Path, directory_too: bool) -> Callable[[], None]:
        return self._ask("fsync", path, Sync(self._named(path)), *self._and_directory(path, directory_too))

    def removing(self, path: Path, directory_too: bool) -> Callable[[], None]:
        return self._ask("remove", path, Remove(self._named(path)), *self._and_directory(path, directory_too))

    def _and_directory(self, path: Path, directory_too: bool) -> list[Operation]:
        return [Sync(self._named(path.parent))] if directory_too else []
