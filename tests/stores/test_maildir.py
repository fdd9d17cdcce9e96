"""The Maildir store: the contract in both layouts, and coming and going."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mailtwin.errors import (
    ConfigurationError,
    LockedError,
    MailboxError,
    Scope,
    StorageError,
    StoreMissingError,
)
from mailtwin.model import INBOX, MailboxName
from mailtwin.stores.base import Spool
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.maildir_names import UniqueNames
from mailtwin.testing.conformance import (
    CHECKS,
    Check,
    Harness,
    Mail,
    Traits,
    check_id,
    deliver,
    flags_in,
    numbered,
    read,
)


class MaildirHarness(Harness):
    traits = Traits(keywords=False, known_refs=True, is_shared=False)

    def __init__(self, root: Path, layout: str, separator: str) -> None:
        self.root = root
        self.layout = layout
        self.separator = separator
        self.ahead_ns = 0

    async def fresh(self) -> MaildirStore:
        store = self._store()
        await store.connect(create=True)
        return store

    async def again(self) -> MaildirStore:
        # The layout of what is there now is found out, not told.
        self.layout = "auto"
        store = self._store()
        await store.connect(create=False)
        return store

    async def pass_time(self) -> None:
        self.ahead_ns += 3 * 10**9
        await asyncio.sleep(0.02)  # the file system's own clock must tick too

    def _store(self) -> MaildirStore:
        return MaildirStore(
            self.root,
            layout=self.layout,
            separator=self.separator,
            clock_ns=lambda: time.time_ns() + self.ahead_ns,
        )


@pytest.mark.parametrize(("layout", "separator"), [("maildir++", ":"), ("nested", ":"), ("auto", "!")])
@pytest.mark.parametrize("check", CHECKS, ids=check_id)
async def test_conformance(check: Check, layout: str, separator: str, tmp_path: Path) -> None:
    await check(MaildirHarness(tmp_path / "mail", layout, separator))


def tree(root: Path) -> list[Path]:
    return sorted(root.rglob("*"))


async def made(root: Path, layout: str = "auto") -> MaildirStore:
    store = MaildirStore(root, layout=layout)
    await store.connect(create=True)
    return store


# --- coming and going -----------------------------------------------------------------------------------------------


def nothing(root: Path) -> None:
    pass


def other_files(root: Path) -> None:
    root.mkdir()
    (root / "notes.txt").write_text("no mail here")


@pytest.mark.parametrize("prepare", [nothing, Path.mkdir, other_files])
@pytest.mark.parametrize("layout", ["auto", "maildir++", "nested"])
async def test_a_missing_maildir_is_missing_not_empty(
    prepare: Callable[[Path], None], layout: str, tmp_path: Path
) -> None:
    root = tmp_path / "mail"
    prepare(root)
    before = tree(tmp_path)
    store = MaildirStore(root, layout=layout)
    with pytest.raises(StoreMissingError, match="not ten thousand deletions") as caught:
        await store.connect(create=False)
    assert (caught.value.scope, caught.value.hint != "") == (Scope.PAIR, True)
    assert tree(tmp_path) == before
    await store.connect(create=True)
    assert list((await store.mailboxes()).mailboxes) == [INBOX]
    await store.close()


async def test_a_maildir_below_missing_directories_is_made(tmp_path: Path) -> None:
    store = await made(tmp_path / "a" / "b" / "mail")
    await store.close()
    assert oct((tmp_path / "a" / "b" / "mail" / "cur").stat().st_mode)[-3:] == "700"


@pytest.mark.parametrize("place", ["mail", "mail/below/it"])
async def test_a_file_is_no_maildir(place: str, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"")
    for create in (False, True):
        with pytest.raises(ConfigurationError, match=r"mail is not a directory$"):
            await MaildirStore(tmp_path / place).connect(create=create)


@pytest.mark.parametrize(("layout", "other"), [("nested", "maildir++"), ("maildir++", "nested")])
async def test_a_maildir_of_another_layout_is_neither_missing_nor_new(
    layout: str, other: str, tmp_path: Path
) -> None:
    await (await made(tmp_path, layout=layout)).close()
    before = tree(tmp_path)
    for create in (False, True):
        with pytest.raises(ConfigurationError, match=f"do not lie as {re.escape(other)}, but as"):
            await MaildirStore(tmp_path, layout=other).connect(create=create)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("layout", "separator"), [("flat", ":"), ("auto", "/"), ("auto", "")])
def test_options_that_make_no_sense(layout: str, separator: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        MaildirStore(tmp_path, layout=layout, separator=separator)


async def test_a_maildir_is_used_once_at_a_time(tmp_path: Path) -> None:
    first, second = await made(tmp_path), MaildirStore(tmp_path)
    inside = tree(tmp_path)
    with pytest.raises(LockedError, match="another run"):
        await second.connect(create=False)
    await first.close()
    await second.connect(create=False)
    await second.close()
    assert tree(tmp_path) == inside, "the lock left a file behind"


async def test_a_file_system_without_locks_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", flock)
    store = await made(tmp_path)
    assert INBOX in (await store.mailboxes()).mailboxes
    await store.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_root_that_vanishes_is_missing_everywhere(replaced: bool, tmp_path: Path) -> None:
    root = tmp_path / "mail"
    store = await made(root)
    async with store.open(INBOX) as mailbox:
        await deliver(mailbox, [Mail()])
        root.rename(tmp_path / "elsewhere")
        if replaced:
            shutil.copytree(
                tmp_path / "elsewhere", root, ignore=lambda _directory, names: [n for n in names if ".M" in n]
            )
        with pytest.raises(StoreMissingError):
            await mailbox.observe()
        with pytest.raises(StoreMissingError):
            await store.mailboxes()
        with pytest.raises(StoreMissingError):
            await store.create(MailboxName(("New",)))
    if not replaced:
        with pytest.raises(StoreMissingError):
            await store.reconnect()
    await store.close()


async def test_a_mailbox_removed_meanwhile_is_an_error_of_the_mailbox(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await store.create(MailboxName(("Work",)))
    async with store.open(MailboxName(("Work",))) as mailbox:
        await deliver(mailbox, [Mail()])
        shutil.rmtree(tmp_path / ".Work")
        with pytest.raises(MailboxError):
            await mailbox.observe()
    await store.close()


async def test_what_cannot_be_read_makes_the_list_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await made(tmp_path, "nested")
    for name in ("Open", "Closed"):
        await store.create(MailboxName((name, "Child")))
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "Closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    listed = await store.mailboxes()
    assert MailboxName(("Open", "Child")) in listed.mailboxes
    assert not listed.complete
    assert listed.problems == {"Closed": "cannot be read"}
    await store.close()


async def test_nothing_but_mail_is_written(tmp_path: Path) -> None:
    store = await made(tmp_path)
    await store.create(MailboxName(("Work",)))
    async with store.open(MailboxName(("Work",))) as mailbox:
        await deliver(mailbox, [Mail()])
    await store.close()
    files = [path for path in tree(tmp_path) if path.is_file()]
    assert [path.name for path in files if path.parent.name != "new"] == ["maildirfolder"]
    assert len(files) == 2


async def test_a_linked_mailbox_is_used_and_never_removed(tmp_path: Path) -> None:
    elsewhere = await made(tmp_path / "elsewhere")
    async with elsewhere.open(INBOX) as mailbox:
        await deliver(mailbox, [Mail()])
    await elsewhere.close()
    store = await made(tmp_path / "mail")
    (tmp_path / "mail" / ".Link").symlink_to(tmp_path / "elsewhere")
    async with store.open(MailboxName(("Link",))) as mailbox:
        assert len(await flags_in(mailbox)) == 1
    with pytest.raises(MailboxError, match="link"):
        await store.remove_mailbox(MailboxName(("Link",)))
    with pytest.raises(MailboxError, match="INBOX"):
        await store.remove_mailbox(INBOX)
    await store.close()


async def test_a_mailbox_without_new_and_tmp_gets_them(tmp_path: Path) -> None:
    store = await made(tmp_path)
    (tmp_path / ".Half" / "cur").mkdir(parents=True)
    name = MailboxName(("Half",))
    assert (await store.mailboxes()).mailboxes[name].cursor is None
    async with store.open(name) as mailbox:
        await deliver(mailbox, [Mail()])
    await store.close()


# --- leftovers ------------------------------------------------------------------------------------------------------

HOUR_NS = 3600 * 10**9


async def test_leftovers_of_a_crash_go(tmp_path: Path) -> None:
    await (await made(tmp_path)).close()
    ours = UniqueNames()
    dead = UniqueNames(pid=2**22 + 1)  # above the largest process number of Linux
    other_host = UniqueNames(host="elsewhere", pid=2**22 + 1)
    names = {
        "dead": dead.temporary(),
        "alive": UniqueNames(pid=os.getppid()).temporary(),
        "own": ours.temporary(),
        "other host": other_host.temporary(),
        "not ours": "1700000000.M1P9999999Q1.host",
    }
    for name in names.values():
        (tmp_path / "tmp" / name).write_bytes(b"half a mess")
        os.utime(tmp_path / "tmp" / name, (0, 0))  # a staged message has its date already

    async def opened(later_ns: int) -> set[str]:
        store = MaildirStore(tmp_path, clock_ns=lambda: time.time_ns() + later_ns, names=ours)
        await store.connect(create=False)
        async with store.open(INBOX):
            left = {path.name for path in (tmp_path / "tmp").iterdir()}
        await store.close()
        return {what for what, name in names.items() if name in left}

    assert await opened(35 * HOUR_NS) == {"alive", "own", "other host", "not ours"}
    assert await opened(37 * HOUR_NS) == set()


async def test_file_names_that_are_not_utf8_are_messages_too(tmp_path: Path) -> None:
    store = await made(tmp_path)
    (tmp_path / "cur" / os.fsdecode(b"1700000000.caf\xe9:2,F")).write_bytes(b"Subject: x\n\nbody\n")
    async with store.open(INBOX) as mailbox:
        (ref,) = await flags_in(mailbox)
        assert str(ref).encode() == b"1700000000.caf\\xe9"
        assert (await read(mailbox, [ref]))[ref][0] == b"Subject: x\r\n\r\nbody\r\n"
        await mailbox.remove([ref])
        assert await flags_in(mailbox) == {}
    await store.close()


@pytest.mark.parametrize("target", ["nowhere", "1.target"])
async def test_a_link_is_an_error_of_that_message(tmp_path: Path, target: str) -> None:
    """Who may only put names into a Maildir must not have other files of its owner uploaded."""
    store = await made(tmp_path)
    (tmp_path / "new" / "1.link").symlink_to(target)
    (tmp_path / "1.target").write_bytes(b"Subject: a secret\n\nbody\n")
    async with store.open(INBOX) as mailbox:
        (message,) = [message async for message in mailbox.fetch(["1.link"], Spool)]
        assert message.error is not None
        assert "is a symbolic link" in message.error.message
        assert await mailbox.identify(["1.link"]) == {}
    await store.close()


async def test_what_is_no_file_is_an_error_of_that_message(tmp_path: Path) -> None:
    store = await made(tmp_path)
    os.mkfifo(tmp_path / "cur" / "1.pipe:2,")
    (tmp_path / "cur" / "directory").mkdir()
    (tmp_path / "cur" / ".hidden").write_bytes(b"")
    async with store.open(INBOX) as mailbox:
        assert set(await flags_in(mailbox)) == {"1.pipe"}
        (message,) = [message async for message in mailbox.fetch(["1.pipe"], Spool)]
        assert message.error is not None
        assert await mailbox.identify(["1.pipe"]) == {}
    await store.close()


async def test_recognising_leaves_no_file_open(tmp_path: Path) -> None:
    store = MaildirStore(tmp_path)
    await store.connect(create=True)
    async with store.open(INBOX) as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(number)) for number in range(20)])
        before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - with its own descriptor, both times
        assert len(await mailbox.identify(refs)) == 20
        assert len(await mailbox.look(refs)) == 20
        assert len(await read(mailbox, refs)) == 20
        assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - with its own descriptor, both times
    await store.close()


async def test_too_many_open_files_say_nothing_about_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that counts as unreadable is not recognised: it would be copied beside its twin."""
    store = MaildirStore(tmp_path)
    await store.connect(create=True)
    async with store.open(INBOX) as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(number)) for number in range(3)])
        opening = os.open

        def refuse(path: Path, flags: int, *rest: int) -> int:
            if flags & os.O_NOFOLLOW:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return opening(path, flags, *rest)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(StorageError, match="Too many open files") as caught:
            await mailbox.identify(refs)
        assert "ulimit" in caught.value.hint
        monkeypatch.undo()
    await store.close()


async def test_a_mailbox_tells_where_it_lies(tmp_path: Path) -> None:
    """The same after a restart and after changes; another directory in its place is another one, the same mail in it
    or not."""

    async def location() -> str:
        store = MaildirStore(tmp_path / "mail")
        await store.connect(create=True)
        try:
            async with store.open(INBOX) as mailbox:
                return (await mailbox.observe()).location
        finally:
            await store.close()

    first = await location()
    (tmp_path / "mail" / "new" / "1.a").write_bytes(b"hello\n")
    assert await location() == first != ""
    shutil.copytree(tmp_path / "mail", tmp_path / "copy")
    (tmp_path / "mail").rename(tmp_path / "unmounted")
    (tmp_path / "copy").rename(tmp_path / "mail")
    assert await location() != first
