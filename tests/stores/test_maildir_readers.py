"""A mail reader works in the same Maildir at the same time."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailtwin.model import INBOX, NO_FLAGS, make_flags
from mailtwin.stores import maildir_scan
from mailtwin.stores.base import FlagChange, Spool
from mailtwin.stores.maildir import MaildirMailbox, MaildirStore
from mailtwin.stores.maildir_scan import cursor_of, scan_mailbox
from mailtwin.testing.conformance import Mail, deliver, flags_in, numbered, read

LATER_NS = 10 * 10**9
SEEN = make_flags(["\\Seen"])
FLAGGED = make_flags(["\\Flagged"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cur", "new", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def fill(root: Path, count: int, info: str = ":2,") -> list[str]:
    names = [f"17000.M{number}.host" for number in range(count)]
    for name in names:
        (root / "cur" / f"{name}{info}").write_bytes(b"Subject: %s\n\nbody\n" % name.encode())
    return names


async def opened(root: Path) -> tuple[MaildirStore, MaildirMailbox]:
    store = MaildirStore(root)
    await store.connect(create=False)
    async with store.open(INBOX) as mailbox:
        return store, mailbox


@contextmanager
def reader(step: Callable[[int], None], *, missed: bool = False) -> Iterator[None]:
    """Runs `step` in another thread as fast as it goes, until the end of the block.

    `missed`: the reader may find that we were faster, and goes on.
    """
    stop = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        turn = 0
        while not stop.is_set() and not errors:
            turn += 1
            try:
                step(turn - 1)
            except (OSError, ValueError) as error:
                errors.extend([] if missed else [error])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not errors, errors


def toggling(root: Path, names: list[str]) -> Callable[[int], None]:
    """A reader that marks each message as seen and unseen, over and over."""

    def step(turn: int) -> None:
        name = names[turn % len(names)]
        infos = (":2,", ":2,S") if turn // len(names) % 2 == 0 else (":2,S", ":2,")
        (root / "cur" / f"{name}{infos[0]}").rename(root / "cur" / f"{name}{infos[1]}")

    return step


async def test_a_renamed_message_is_never_reported_as_gone(root: Path) -> None:
    names = fill(root, 3000)
    store, mailbox = await opened(root)
    with reader(toggling(root, names)):
        for _ in range(20):
            listing = (await mailbox.observe()).listing
            gone = [name for name in names if listing.lacks(name)]
            assert not gone
    assert set(await flags_in(mailbox)) == set(names)
    await store.close()


async def test_work_goes_on_while_messages_are_renamed(root: Path) -> None:
    names = fill(root, 40)
    store, mailbox = await opened(root)

    def toggle(turn: int) -> None:
        path = min(root.glob(f"cur/{names[turn % len(names)]}:2,*"))
        path.rename(
            path.with_name(path.name.removesuffix("S") if path.name.endswith("S") else f"{path.name}S")
        )

    with reader(toggle, missed=True):
        got = [message async for message in mailbox.fetch(names, Spool)]
        assert {message.ref for message in got} == set(names)
        wanted = set(names)
        while wanted:
            await mailbox.store_flags([FlagChange(tuple(sorted(wanted)), FLAGGED, NO_FLAGS)])
            wanted = {name for name in names if FLAGGED - (await mailbox.observe()).listing.flags[name]}
    await store.close()


async def test_messages_that_were_renamed_since_the_listing(root: Path) -> None:
    names = fill(root, 3)
    store, mailbox = await opened(root)
    await mailbox.observe()
    (root / "cur" / f"{names[0]}:2,").rename(root / "cur" / f"{names[0]}:2,RSa")
    (root / "cur" / f"{names[1]}:2,").rename(root / "new" / names[1])
    (root / "cur" / f"{names[2]}:2,").unlink()
    assert set(await read(mailbox, names)) == set(names[:2])
    assert set(await mailbox.identify(names)) == set(names[:2])
    await mailbox.observe()
    (root / "cur" / f"{names[0]}:2,RSa").rename(root / "cur" / f"{names[0]}:2,Sa")
    await mailbox.store_flags([FlagChange(tuple(names), FLAGGED, SEEN)])
    assert sorted(path.name for path in (root / "cur").iterdir()) == [f"{names[0]}:2,Fa", f"{names[1]}:2,F"]
    await mailbox.remove([names[1], names[2]])
    assert set(await flags_in(mailbox)) == {names[0]}
    await store.close()


async def test_a_message_renamed_all_the_time_is_an_error_of_its_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(root, 2)
    store, mailbox = await opened(root)
    await mailbox.observe()
    os_open = os.open

    def renamed(path: Path, flags: int) -> int:
        if names[0] in str(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return os_open(path, flags)

    monkeypatch.setattr(os, "open", renamed)
    errors = {message.ref: message.error async for message in mailbox.fetch(names, Spool)}
    assert [errors[name] is None for name in names] == [False, True]
    await store.close()


async def test_reading_errors_are_errors_of_the_message(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = fill(root, 2)
    (root / "cur" / f"{names[1]}:2,").write_bytes(b"x" * 600_000)
    store, mailbox = await opened(root)
    read_bytes = os.read

    def broken(descriptor: int, count: int) -> bytes:
        if names[1] in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(5, "Input/output error")
        return read_bytes(descriptor, count)

    monkeypatch.setattr(os, "read", broken)
    errors = {message.ref: message.error async for message in mailbox.fetch(names, Spool)}
    assert [errors[name] is None for name in names] == [True, False]
    assert set(await mailbox.identify(names)) == {names[0]}
    await store.close()


async def test_two_files_of_one_name_are_one_message(root: Path) -> None:
    (root / "new" / "1.a").write_bytes(b"x")
    (root / "cur" / "1.a:2,").write_bytes(b"x")
    (root / "cur" / "1.a:2,S").write_bytes(b"x")
    store, mailbox = await opened(root)
    assert await flags_in(mailbox) == {"1.a": SEEN}
    for _ in range(3):
        assert set(await flags_in(mailbox)) == {"1.a"}
        await mailbox.remove(["1.a"])
    assert await flags_in(mailbox) == {}
    await store.close()


# --- the scan -------------------------------------------------------------------------------------------------------


def scan_with(
    monkeypatch: pytest.MonkeyPatch, root: Path, step: Callable[[int, str], None], now_ns: int
) -> maildir_scan.Scan:
    """Scans `root`; `step(n, subdirectory)` happens after the n-th directory was read."""
    plain, turns = maildir_scan._scan, iter(range(1000))

    def scan(
        directory: Path, name: str, separator: str, odd: dict[str, str]
    ) -> dict[str, maildir_scan.Place]:
        seen = plain(directory, name, separator, odd)
        step(next(turns), name)
        return seen

    monkeypatch.setattr(maildir_scan, "_scan", scan)
    return scan_mailbox(root, ":", now_ns)


def test_a_directory_that_moved_is_scanned_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "new" / "1.a").write_bytes(b"")
    time.sleep(0.02)

    def step(turn: int, name: str) -> None:
        if turn == 1:
            (root / "new" / "1.a").rename(root / "cur" / "1.a:2,S")
        if turn == 2:
            (root / "new" / "2.b").write_bytes(b"")

    scan = scan_with(monkeypatch, root, step, time.time_ns() + LATER_NS)
    assert {ref: place.flags for ref, place in scan.places.items()} == {"1.a": SEEN, "2.b": NO_FLAGS}
    assert scan.quiet
    assert scan.cursor is not None


def test_what_went_during_the_scan_is_gone_when_the_scan_is_exact(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(root, 2)
    time.sleep(0.02)

    def step(turn: int, name: str) -> None:
        if turn == 1:
            (root / "cur" / f"{names[0]}:2,").unlink()

    scan = scan_with(monkeypatch, root, step, time.time_ns() + LATER_NS)
    assert (set(scan.places), scan.cursor is not None) == ({names[1]}, True)


def test_what_one_of_two_scans_saw_is_there_when_time_is_too_short(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(root, 2)

    def step(turn: int, name: str) -> None:
        if turn == 1:
            (root / "cur" / f"{names[0]}:2,").unlink()

    scan = scan_with(monkeypatch, root, step, time.time_ns())
    assert (set(scan.places), scan.cursor) == (set(names), None)


def test_a_directory_that_never_rests_proves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(turn: int, name: str) -> None:
        time.sleep(0.005)
        (root / name / f"{turn}.x").write_bytes(b"")

    scan = scan_with(monkeypatch, root, step, time.time_ns() + LATER_NS)
    assert (scan.quiet, scan.cursor) == (False, None)


@pytest.mark.parametrize("subdirectory", ["new", "cur"])
def test_cursors_show_every_change_and_are_not_given_too_early(root: Path, subdirectory: str) -> None:
    assert cursor_of(root, time.time_ns()) is None, "another change in the same tick would not show"
    assert cursor_of(root, time.time_ns() - LATER_NS) is None, "nor with a time in the future"
    later = time.time_ns() + LATER_NS
    first = cursor_of(root, later)
    assert first == cursor_of(root, later)
    assert first is not None
    time.sleep(0.02)
    (root / subdirectory / "1.a").write_bytes(b"")
    second = cursor_of(root, later)
    assert second not in (None, first)
    moved = root / "moved"
    (root / subdirectory).rename(moved)
    (root / subdirectory).mkdir()
    status = moved.stat()
    os.utime(root / subdirectory, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cursor_of(root, later) != second, "another directory with the same time"


def test_a_large_mailbox_costs_names_and_little_else(root: Path) -> None:
    names = fill(root, 20_000, ":2,S")
    tracemalloc.start()
    scan = scan_mailbox(root, ":", time.time_ns() + LATER_NS)
    flags = {ref: place.flags for ref, place in scan.places.items()}
    size, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(flags) == len(names)
    assert len({id(place) for place in scan.places.values()}) == 1
    per_message = size / len(names)
    assert per_message < 49 + len(names[-1]) + 2 * 110, f"{per_message:.0f} bytes for each message"


async def test_unseen_mail_becomes_cur_with_its_first_flag(root: Path) -> None:
    store, mailbox = await opened(root)
    (ref,) = await deliver(mailbox, [Mail(numbered(1))])
    assert (root / "new" / str(ref)).exists()
    await mailbox.store_flags([FlagChange((ref,), SEEN, NO_FLAGS)])
    assert (root / "cur" / f"{ref}:2,S").exists()
    await mailbox.store_flags([FlagChange((ref,), make_flags(["work"]), SEEN)])
    assert (root / "cur" / f"{ref}:2,").exists(), "a keyword that no letter stands for is passed over"
    await store.close()
