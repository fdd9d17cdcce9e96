"""What is in a Maildir mailbox right now, while mail readers and deliverers rename files in it.

A directory that changes during a scan may hide a file that is only being renamed. So each directory is scanned again
as long as its modification time moves, and what any scan saw counts as there: a message is reported as gone only if no
scan saw it. `new` comes before `cur`, because readers move messages that way. A directory that changed too short a time
ago might change again without its modification time moving; it is scanned twice.

When a directory never rests, the scan is not `quiet`, and the absence of a message in it proves nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mailtwin.model import Flags
from mailtwin.stores.maildir_names import flags_of, split_name

SCANS_MAX = 8
GRAIN_NS = 2 * 10**9
"""Two changes within one tick of the file system's clock leave the same modification time. The coarsest ticks in use
are 2 s (FAT); ext4, XFS and Btrfs have 10 ms or less, NFS 1 s. Only a time older than this proves anything."""

PREFERENCE = {"new": 0, "cur": 1}

Stamp = tuple[int, int, int, int]
"""Device, inode, modification time and change time of a directory. Programs that restore a Maildir set the first time
back; nobody can set the second."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is: its subdirectory, what follows the unique part in its name, and the flags this shows."""

    subdirectory: str
    info: str
    flags: Flags

    def rank(self) -> tuple[int, str]:
        """Of two files with one unique name the greater one counts: in `cur`, then with more letters."""
        return PREFERENCE[self.subdirectory], self.info


@dataclass(frozen=True, slots=True)
class Scan:
    """The messages by ref; `odd` maps refs to unique names that are not UTF-8. The rest: see `Observation`."""

    places: dict[str, Place]
    odd: dict[str, str]
    quiet: bool
    cursor: str | None
    location: str


@lru_cache(maxsize=4096)
def make_place(subdirectory: str, info: str) -> Place:
    """A place; equal places are one object, because a million files have a dozen of them."""
    return Place(subdirectory, info, flags_of(info))


def cursor_of(directory: Path, now_ns: int) -> str | None:
    """The cursor of the mailbox in `directory`, None when it changed too short a time ago. Raises OSError."""
    return _cursor([_stamp(directory / name) for name in PREFERENCE], now_ns)


def scan_mailbox(directory: Path, separator: str, now_ns: int) -> Scan:
    """Scans `new` and `cur` of `directory`. Raises OSError."""
    stamps: dict[str, Stamp] = {}
    last: dict[str, dict[str, Place]] = {}
    earlier: list[dict[str, Place]] = []
    odd: dict[str, str] = {}
    pending = list(PREFERENCE)
    for attempt in range(SCANS_MAX):
        for name in pending:
            if name in last:
                earlier.append(last[name])
            stamps[name] = _stamp(directory / name)
            last[name] = _scan(directory / name, name, separator, odd)
        moved = [name for name in PREFERENCE if _stamp(directory / name) != stamps[name]]
        fresh = [name for name in PREFERENCE if is_fresh(max(stamps[name][2:]), now_ns)]
        pending = sorted({*moved, *fresh} if attempt == 0 else moved, key=list(PREFERENCE).index)
        if not pending:
            break
    cursor = None if pending else _cursor([stamps[name] for name in PREFERENCE], now_ns)
    # With a cursor the last scans are exact, and what only earlier ones saw was removed meanwhile. Without one the
    # mailbox is listed again next time, so that it does no harm to take a removed message for present once more.
    places = _union(earlier if cursor is None else [], last)
    return Scan(places, odd, quiet=not pending, cursor=cursor, location=location_of(directory))


def location_of(directory: Path) -> str:
    """The file system and the directory in it, by their numbers: another disk, or another directory, has others.

    The number of a device may be another one after a restart, that of a file system stays; where there is none, a
    device without a major number (NFS) tells nothing. Raises OSError.
    """
    status = directory.stat()
    file_system = os.statvfs(directory).f_fsid
    if not file_system and os.major(status.st_dev):
        file_system = status.st_dev
    return f"{file_system:x}:{status.st_ino:x}"


def _scan(directory: Path, name: str, separator: str, odd: dict[str, str]) -> dict[str, Place]:
    seen: dict[str, Place] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name[0] == "." or entry.is_dir(follow_symlinks=False):
                continue
            unique, info = split_name(entry.name, separator)
            place = make_place(name, info)
            if not unique.isascii():
                unique = _ref(unique, odd)
            other = seen.get(unique)
            if other is None or place.rank() > other.rank():
                seen[unique] = place
    return seen


def _union(earlier: list[dict[str, Place]], last: dict[str, dict[str, Place]]) -> dict[str, Place]:
    """All messages of all scans; for each the place seen last counts, except that `new` never hides `cur`."""
    places = last["cur"]
    for older in (last["new"], *reversed(earlier)):
        for ref, place in older.items():
            places.setdefault(ref, place)
    return places


def _ref(unique: str, odd: dict[str, str]) -> str:
    """A ref that can be stored as text; the unique name itself unless it is not UTF-8."""
    ref = unique.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if ref != unique:
        odd[ref] = unique
    return ref


def _stamp(directory: Path) -> Stamp:
    status = directory.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _cursor(stamps: list[Stamp], now_ns: int) -> str | None:
    if any(is_fresh(max(stamp[2:]), now_ns) for stamp in stamps):
        return None
    return " ".join(
        f"{device:x}:{inode:x}:{mtime_ns}:{ctime_ns}" for device, inode, mtime_ns, ctime_ns in stamps
    )


def is_fresh(changed_ns: int, now_ns: int) -> bool:
    """Whether another change could still leave the same time."""
    return changed_ns > now_ns - GRAIN_NS
