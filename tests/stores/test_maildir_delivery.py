"""Into the Maildir: where messages appear, and what a disk that refuses leaves behind."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailtwin.errors import MailboxError, StorageError
from mailtwin.model import INBOX, MailboxName, make_flags
from mailtwin.stores import durable, maildir_delivery
from mailtwin.stores.base import Refused, Stored, Unknown
from mailtwin.stores.durable import make_durable, off_loop
from mailtwin.stores.maildir import MaildirMailbox, MaildirStore
from mailtwin.stores.maildir_delivery import MakeDurable
from mailtwin.testing.conformance import Mail, deliver, flags_in, numbered, read, stage

BIG = numbered(1, (b"x" * 70 + b"\r\n") * 20_000)


@asynccontextmanager
async def inbox(root: Path, durably: MakeDurable = make_durable) -> AsyncIterator[MaildirMailbox]:
    store = MaildirStore(root, durably=durably)
    await store.connect(create=True)
    try:
        async with store.open(INBOX) as mailbox:
            yield mailbox
    finally:
        await store.close()


def file_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def names_in(root: Path, subdirectory: str) -> list[str]:
    return sorted(path.name for path in (root / subdirectory).iterdir())


@pytest.mark.parametrize(
    ("flags", "subdirectory", "info"),
    [
        ("", "new", ""),
        ("\\Seen", "cur", ":2,S"),
        ("\\Draft", "cur", ":2,D"),
        ("\\Flagged $Forwarded", "cur", ":2,FP"),
    ],
)
async def test_where_a_message_appears(flags: str, subdirectory: str, info: str, tmp_path: Path) -> None:
    async with inbox(tmp_path) as mailbox:
        (ref,) = await deliver(mailbox, [Mail(flags=make_flags(flags.split()))])
    assert names_in(tmp_path, subdirectory) == [f"{ref}{info}"]
    file = tmp_path / subdirectory / f"{ref}{info}"
    assert oct(file.stat().st_mode)[-3:] == "600"
    assert b"\r" not in file.read_bytes()


@pytest.mark.parametrize(
    "date",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 900_000, UTC),
        datetime(9999, 1, 1, tzinfo=UTC),
    ],
)
async def test_dates_out_of_this_world_are_no_error(date: datetime, tmp_path: Path) -> None:
    async with inbox(tmp_path) as mailbox:
        (ref,) = await deliver(mailbox, [Mail(date=date)])
        got = (await read(mailbox, [ref]))[ref][1].date
    assert got == min(max(date.replace(microsecond=0), datetime(1901, 12, 13, 20, 45, 52, tzinfo=UTC)), got)


async def test_a_small_message_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    async with inbox(tmp_path) as mailbox:
        monkeypatch.setattr(os, "write", counted)
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        monkeypatch.undo()
        await delivery.abort()
    assert sizes == [len(Mail().data.replace(b"\r\n", b"\n"))]


async def test_a_marked_message_is_verbatim_in_spite_of_its_look(tmp_path: Path) -> None:
    async with inbox(tmp_path) as mailbox:
        wire = b"Subject: x\n\nbare\n"
        (ref,) = await deliver(mailbox, [Mail(wire)])
        (name,) = names_in(tmp_path, "new")
        assert (tmp_path / "new" / name).read_bytes() == wire
        # A reader moves it and flags it; the mark is in the part of the name that stays.
        (tmp_path / "new" / name).rename(tmp_path / "cur" / f"{name}:2,S")
        assert (await read(mailbox, [ref]))[ref][0] == wire
        (ref,) = await deliver(mailbox, [Mail(wire * 30_000)])
        assert (await read(mailbox, [ref]))[ref][0] == wire * 30_000


# --- a disk that refuses --------------------------------------------------------------------------------------------

FULL_BYTES = 512 * 1024


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 512 KiB; where mounting is not permitted, writes that fail as if it were one."""
    root = tmp_path / "small"
    root.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={FULL_BYTES}", "mailtwin-test", str(root)]
    if mount and subprocess.run([mount, *options], check=False, capture_output=True).returncode == 0:
        yield root
        subprocess.run(["umount", str(root)], check=True)
        return
    room, write = FULL_BYTES, os.write

    def limited(descriptor: int, data: bytes) -> int:
        nonlocal room
        room -= len(data)
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", limited)
    yield root


async def test_a_full_disk_stops_and_leaves_nothing(full_disk: Path) -> None:
    root = full_disk / "mail"
    async with inbox(root) as mailbox:
        (kept,) = await deliver(mailbox, [Mail()])
        delivery = mailbox.delivery()
        stage(delivery, Mail(numbered(2)))
        with pytest.raises(StorageError, match=str(root)) as caught:
            stage(delivery, Mail(BIG))
        assert "room" in caught.value.hint
        assert "space" in caught.value.message
        await delivery.abort()
        assert set(await flags_in(mailbox)) == {kept}
        assert names_in(root, "tmp") == []


Refusal = Callable[[pytest.MonkeyPatch, int], None]


def refuse_write(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def write(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", write)


def refuse_utime(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def utime(path: Path, times: tuple[int, int]) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "utime", utime)


@pytest.mark.parametrize("refuse", [refuse_write, refuse_utime])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT, errno.EROFS])
async def test_a_refusal_while_staging(
    refuse: Refusal, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox(tmp_path) as mailbox:
        delivery = mailbox.delivery()
        refuse(monkeypatch, number)
        with pytest.raises(StorageError) as caught:
            stage(delivery, Mail())
        monkeypatch.undo()
        assert str(tmp_path) in caught.value.message
        assert caught.value.hint
        await delivery.abort()
        assert names_in(tmp_path, "tmp") == []
        assert await flags_in(mailbox) == {}


async def test_one_file_that_cannot_be_made_durable_is_refused_alone(tmp_path: Path) -> None:
    def second_fails(files: Sequence[Path], directory: Path) -> dict[Path, OSError]:
        return {files[1]: OSError(errno.EIO, "Input/output error")}

    async with inbox(tmp_path, second_fails) as mailbox:
        delivery = mailbox.delivery()
        for number in range(3):
            stage(delivery, Mail(numbered(number)))
        outcomes = await delivery.commit()
        assert [type(outcome) for outcome in outcomes] == [Stored, Refused, Stored]
        assert isinstance(outcomes[1], Refused)
        assert "Input/output" in outcomes[1].error.message
        assert len(await flags_in(mailbox)) == 2
        assert names_in(tmp_path, "tmp") == []


async def test_a_directory_that_cannot_be_synced_leaves_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(directory: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with inbox(tmp_path) as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        monkeypatch.setattr(maildir_delivery, "sync_directory", broken)
        (outcome,) = await delivery.commit()
    assert isinstance(outcome, Unknown)
    assert (outcome.finished, outcome.accepted, outcome.error is not None) == (True, False, True)


def not_at_all(files: Sequence[Path], directory: Path) -> dict[Path, OSError]:
    return {}


@pytest.mark.parametrize("durably", [make_durable, not_at_all])
@pytest.mark.parametrize("count", [1, 9])
async def test_a_mailbox_removed_before_the_commit(count: int, durably: MakeDurable, tmp_path: Path) -> None:
    store = MaildirStore(tmp_path, durably=durably)
    await store.connect(create=True)
    await store.create(MailboxName(("Work",)))
    async with store.open(MailboxName(("Work",))) as mailbox:
        delivery = mailbox.delivery()
        for number in range(count):
            stage(delivery, Mail(numbered(number)))
        shutil.rmtree(tmp_path / ".Work")
        for outcome in await delivery.commit():
            assert isinstance(outcome, Refused)
            assert isinstance(outcome.error, MailboxError)
    await store.close()


async def test_a_file_that_cannot_be_shown_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with inbox(tmp_path) as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        monkeypatch.setattr(Path, "rename", refuse)
        (outcome,) = await delivery.commit()
        assert isinstance(outcome, Refused)
        assert isinstance(outcome.error, StorageError)
        assert names_in(tmp_path, "tmp") == []


async def test_nothing_is_visible_before_it_is_durable(tmp_path: Path) -> None:
    seen: list[tuple[int, list[str]]] = []

    def watched(files: Sequence[Path], directory: Path) -> dict[Path, OSError]:
        seen.append((len(files), names_in(tmp_path, "new")))
        assert all(file.stat().st_size for file in files)
        return make_durable(files, directory)

    async with inbox(tmp_path, watched) as mailbox:
        await deliver(mailbox, [Mail(numbered(number)) for number in range(50)])
    assert seen == [(50, [])], "one group, and nothing shown before it"


async def test_a_cancelled_commit_is_waited_for(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(files: Sequence[Path], directory: Path) -> dict[Path, OSError]:
        begun.set()
        assert go_on.wait(10)
        return {}

    async with inbox(tmp_path, slow) as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        commit = asyncio.create_task(delivery.commit())
        await off_loop(begun.wait)
        commit.cancel()
        await asyncio.sleep(0.01)
        assert not commit.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await commit
        await delivery.abort()
        assert len(await flags_in(mailbox)) == 1, "the commit took effect, and the abort left it alone"


# --- durable --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 40])
@pytest.mark.parametrize("syncfs", [True, False])
def test_each_file_is_synced_one_way_or_the_other(
    count: int, syncfs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / str(number) for number in range(count)]
    for file in files:
        file.write_bytes(b"x")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(file_of(descriptor)))
    monkeypatch.setattr(durable, "sync_file_system", lambda directory: syncfs)
    assert make_durable(files, tmp_path) == {}
    one_by_one = not (syncfs and count >= durable.FILES_FOR_SYNCFS_MIN)
    assert sorted(synced) == sorted(str(file) for file in files if one_by_one)


def test_errors_belong_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / str(number) for number in range(8)]
    for file in files[:7]:
        file.write_bytes(b"x")

    def fsync(descriptor: int) -> None:
        if file_of(descriptor).endswith("/3"):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(durable, "sync_file_system", lambda directory: False)
    failed = make_durable(files, tmp_path)
    assert {file.name: error.errno for file, error in failed.items()} == {"3": errno.EIO, "7": errno.ENOENT}


@pytest.mark.parametrize(
    ("system", "release", "usable"),
    [
        ("Linux", "6.18.44-fc", True),
        ("Linux", "5.8.0", True),
        ("Linux", "5.7.19-generic", False),
        ("Linux", "unknown", False),
        ("Darwin", "23.1.0", False),
    ],
)
def test_syncfs_is_used_where_it_reports_errors(
    system: str, release: str, usable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.release", lambda: release)
    assert durable.sync_file_system(tmp_path) is usable
