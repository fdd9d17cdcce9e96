"""What a power cut leaves: a pure function of what was done, and of luck.

What is assumed of the file system, and no more:

* fsync of a file makes its bytes and its time durable, not its name; fsync of a directory the names in it, not the
  bytes of the files; syncfs all of it.
* What was not synced may be there or not, each write and each name for itself and in any order; a write may be torn,
  and zeros stand where a later one survived and an earlier one did not.
* A rename is one thing: the new name is there and the old one gone, or neither, and what makes one durable makes the
  other (so it is on every file system with a journal).

Read first: `operations`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
    Survivor,
    Sync,
    SyncAll,
    Tree,
    Write,
)


@dataclass(eq=False, slots=True)
class _File:
    now: bytes = b""
    durable: bytes = b""
    pending: list[Write | Resize] = field(default_factory=list)
    mtime_ns: int | None = None
    durable_mtime_ns: int | None = None

    def change(self, change: Write | Resize) -> None:
        self.now = _changed(self.now, change)
        self.pending.append(change)

    def sync(self) -> None:
        self.durable, self.durable_mtime_ns = self.now, self.mtime_ns
        self.pending.clear()


@dataclass(eq=False, slots=True)
class _Change:
    """A name that was given (`node`) or taken away (None); together with its `twin`, or not at all."""

    directory: _Directory
    name: str
    node: _File | _Directory | None
    twin: _Change | None = None


@dataclass(eq=False, slots=True)
class _Directory:
    now: dict[str, _File | _Directory] = field(default_factory=dict)
    durable: dict[str, _File | _Directory] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in list(self.pending):
            if change.twin is not None and change.twin in change.twin.directory.pending:
                change.twin.directory.settle(change.twin)
        self.durable = dict(self.now)
        self.pending.clear()

    def settle(self, change: _Change) -> None:
        """One change becomes durable, alone."""
        _apply(self.durable, change)
        self.pending.remove(change)


_Names = Callable[[_Directory], dict[str, _File | _Directory]]
_Content = Callable[[_File], tuple[bytes, int | None]]


class Disk:
    """A directory that starts as `tree`, all of it durable, and what becomes of it."""

    def __init__(self, tree: Tree) -> None:
        self._root = _Directory()
        for path, survivor in tree.items():
            parent, name = self._place(path)
            node: _File | _Directory = _Directory()
            if survivor.data is not None:
                node = _File(survivor.data, survivor.data, [], survivor.mtime_ns, survivor.mtime_ns)
            parent.now[name] = parent.durable[name] = node

    def apply(self, operation: Operation) -> None:
        """One more step of the program."""
        match operation:
            case MakeFile(path):
                self._name(path, _File())
            case MakeDirectory(path):
                self._name(path, _Directory())
            case Write(path) | Resize(path):
                self._file(path).change(operation)
            case SetTime(path, mtime_ns):
                self._file(path).mtime_ns = mtime_ns
            case Rename(old, new):
                given = self._name(new, self._node(old))
                given.twin = self._remove(old)
                given.twin.twin = given
            case Link(old, new):
                self._name(new, self._node(old))
            case Remove(path):
                self._remove(path)
            case Sync(path):
                self._node(path).sync()
            case SyncAll():
                _sync_below(self._root)

    def everything(self) -> Tree:
        """What is there when all of it survives: what the program itself sees."""
        return dict(
            _walk(self._root, lambda directory: directory.now, lambda file: (file.now, file.mtime_ns))
        )

    def synced(self) -> Tree:
        """What is there when nothing survives that was not synced."""
        return dict(
            _walk(
                self._root,
                lambda directory: directory.durable,
                lambda file: (file.durable, file.durable_mtime_ns),
            )
        )

    def mixture(self, chance: random.Random) -> Tree:
        """What may be there: of what was not synced, whatever `chance` lets survive."""
        share = chance.choice((0.1, 0.5, 0.9))
        lucky: set[int] = set()

        def names(directory: _Directory) -> dict[str, _File | _Directory]:
            left = dict(directory.durable)
            for change in directory.pending:
                if id(change) in lucky:
                    _apply(left, change)
            return left

        def content(file: _File) -> tuple[bytes, int | None]:
            return _torn(file, chance, share), chance.choice((file.mtime_ns, file.durable_mtime_ns))

        decided: set[int] = set()
        for directory in _directories(self._root):
            for change in directory.pending:
                decided.add(id(change))
                if id(change.twin) not in decided and chance.random() < share:
                    lucky |= {id(change)} | ({id(change.twin)} if change.twin is not None else set())
        return dict(_walk(self._root, names, content))

    # --- names ---

    def _place(self, path: str) -> tuple[_Directory, str]:
        parent, _, name = path.rpartition("/")
        node = self._node(parent)
        assert isinstance(node, _Directory), path
        return node, name

    def _node(self, path: str) -> _File | _Directory:
        node: _File | _Directory = self._root
        for part in path.split("/") if path else []:
            assert isinstance(node, _Directory), path
            node = node.now[part]
        return node

    def _file(self, path: str) -> _File:
        node = self._node(path)
        assert isinstance(node, _File), path
        return node

    def _name(self, path: str, node: _File | _Directory) -> _Change:
        directory, name = self._place(path)
        change = _Change(directory, name, node)
        directory.now[name] = node
        directory.pending.append(change)
        return change

    def _remove(self, path: str) -> _Change:
        directory, name = self._place(path)
        del directory.now[name]
        change = _Change(directory, name, None)
        directory.pending.append(change)
        return change


def outcomes(log: Log, mixtures: int = 2, seed: int = 0) -> Iterator[tuple[int, str, Tree]]:
    """Everything that a power cut during `log` may leave, as far as it is tried.

    For each number of operations done: nothing survived that was not synced; everything did; and `mixtures` times what
    chance (seeded by `seed`) lets survive. Gives the number of operations, which of these, and the tree.
    """
    disk = Disk(log.start)
    for done in range(len(log.operations) + 1):
        if done:
            disk.apply(log.operations[done - 1])
        yield done, "synced", disk.synced()
        yield done, "everything", disk.everything()
        for number in range(mixtures):
            chance = random.Random(f"{seed}/{done}/{number}")
            yield done, f"mixture {number}", disk.mixture(chance)


def read_tree(root: Path) -> Tree:
    """What is in the directory `root`. Raises OSError."""
    tree: Tree = {}
    for directory, names, files in os.walk(root):
        names.sort()
        at = Path(directory)
        for name in names:
            tree[str((at / name).relative_to(root))] = Survivor(None)
        for name in sorted(files):
            path = at / name
            tree[str(path.relative_to(root))] = Survivor(path.read_bytes(), path.stat().st_mtime_ns)
    return tree


def write_tree(tree: Tree, root: Path) -> None:
    """Makes the directory `root`, which must not exist, with `tree` in it. Raises OSError."""
    root.mkdir(parents=True)
    for path, survivor in tree.items():
        if survivor.data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(survivor.data)
            if survivor.mtime_ns is not None:
                os.utime(root / path, ns=(survivor.mtime_ns, survivor.mtime_ns))


# --- parts -----------------------------------------------------------------------------------------------------------


def _changed(data: bytes, change: Write | Resize) -> bytes:
    if isinstance(change, Resize):
        return data[: change.size].ljust(change.size, b"\0")
    return (
        data[: change.offset].ljust(change.offset, b"\0")
        + change.data
        + data[change.offset + len(change.data) :]
    )


def _torn(file: _File, chance: random.Random, share: float) -> bytes:
    """The bytes of a file of whose unsynced writes some survive, and of these some in part."""
    data = file.durable
    for change in file.pending:
        if chance.random() < share:
            if isinstance(change, Write) and chance.random() < 0.3:
                change = Write(
                    change.path, change.offset, change.data[: chance.randrange(len(change.data) + 1)]
                )
            data = _changed(data, change)
    return data


def _apply(names: dict[str, _File | _Directory], change: _Change) -> None:
    if change.node is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.node


def _directories(root: _Directory) -> Iterator[_Directory]:
    """Every directory that may be reached, whatever survives."""
    seen, waiting = set[int](), [root]
    while waiting:
        directory = waiting.pop()
        if id(directory) not in seen:
            seen.add(id(directory))
            yield directory
            nodes = [
                *directory.now.values(),
                *directory.durable.values(),
                *(c.node for c in directory.pending),
            ]
            waiting += [node for node in nodes if isinstance(node, _Directory)]


def _sync_below(root: _Directory) -> None:
    for directory in list(_directories(root)):
        for node in [*directory.now.values(), *directory.durable.values()]:
            if isinstance(node, _File):
                node.sync()
        directory.durable = dict(directory.now)
        directory.pending.clear()


def _walk(
    root: _Directory, names: _Names, content: _Content, prefix: str = ""
) -> Iterator[tuple[str, Survivor]]:
    for name, node in sorted(names(root).items()):
        path = prefix + name
        if isinstance(node, _File):
            yield path, Survivor(*content(node))
        else:
            yield path, Survivor(None)
            yield from _walk(node, names, content, f"{path}/")
