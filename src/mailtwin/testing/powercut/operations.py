"""What a program does to a disk, as values: the steps after each of which the power may go.

Paths are relative to the watched directory and name what was there at that moment; "" is the directory itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MakeFile:
    """A new, empty file."""

    path: str


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """A new, empty directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes into a file at `offset`."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A file cut or stretched (by zeros) to `size` bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class SetTime:
    """The modification time of a file, in nanoseconds since 1970."""

    path: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Rename:
    """A file or directory under another name; what had that name is gone."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Link:
    """A second name for a file."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A name less, of a file or an empty directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Sync:
    """fsync of a file (its bytes and time) or of a directory (the names in it)."""

    path: str


@dataclass(frozen=True, slots=True)
class SyncAll:
    """syncfs: everything."""


Operation = MakeFile | MakeDirectory | Write | Resize | SetTime | Rename | Link | Remove | Sync | SyncAll


@dataclass(frozen=True, slots=True)
class Survivor:
    """One name after the power cut: a file with its bytes, or a directory (`data` is None).

    `mtime_ns` is None where no modification time was ever set by the program.
    """

    data: bytes | None
    mtime_ns: int | None = None


Tree = dict[str, Survivor]
"""What is on a disk, by path; directories come before what is in them."""


@dataclass(slots=True)
class Log:
    """What was on the disk when watching began (all of it durable), and what was done since, in order."""

    start: Tree = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
