"""Mailbox names as an attack (the class of CVE-2021-20247), and directories as one: nothing outside of the Maildir is
made, read or removed, no two names share a directory, and what cannot be held is refused by its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailtwin.errors import MailboxError
from mailtwin.imap.encode import name_text
from mailtwin.model import INBOX, MailboxName
from mailtwin.model.limits import NESTING_MAX
from mailtwin.stores import layout as layout_module
from mailtwin.stores.base import Spool
from mailtwin.stores.imap_names import NameProblem, Namespace
from mailtwin.stores.layout import LAYOUTS
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.conformance import Mail, deliver

KINDS = sorted(LAYOUTS)

WIRE_NAMES: tuple[bytes, ...] = (
    b"..",
    b".",
    b"...",
    b"../..",
    b"../../escape",
    b"a/../../b",
    b"a/./b",
    b"/etc/passwd",
    b"//server/share",
    b"a//b",
    b"a/",
    b"/",
    b"\\..\\b",
    b"C:\\x",
    b"a\0b",
    b"\0",
    b"~root",
    b"$HOME",
    b"-rf",
    b"cur",
    b"new",
    b"tmp",
    b"CUR",
    b"a/cur",
    b"a/tmp/b",
    b".a.b",
    b"a.b",
    b"a%2Eb",
    b"a%2eb",
    b"%2E%2E",
    b"%2e%2e",
    b"%00",
    b"dovecot.index.log",
    b"dovecot-uidlist",
    b"maildirfolder",
    b"subscriptions",
    b".mailtwin",
    b"inbox",
    b"INBOX",
    b"Inbox",
    b"INBOX/cur",
    b"inbox/x",
    b"Work",
    b"WORK",
    b"work",
    "Café".encode(),
    "Cafe\u0301".encode(),
    b"Caf&AOk-",
    b"Cafe&AwE-",
    b"&AOk",
    b"&&&",
    b"&-",
    b"&",
    b"&AC4ALg-",
    b"&AC8-etc",
    b"&AAA-",
    b"&2AA-",
    b"&AGE-",
    b"a",
    b"\xff\xfe",
    b"\x1b[31mred",
    b"a\rb",
    b"a\nb",
    b"a\x7f",
    " \u202ergnp.exe".encode(),
    b" ",
    b"a ",
    b" a",
    b"x" * 255,
    b"x" * 256,
    b"x" * 1000,
    b"%" * 86,
    b"/".join([b"d"] * 99),
    b"/".join([b"d"] * 200),
    b"/".join([b"d"] * 500),
    b"/".join([b"y" * 90] * 11),
)
"""What a server may list, with `/` as separator."""


def decoded(raw: bytes) -> MailboxName | None:
    """The mailbox that a listed name means; None for one that is refused there already."""
    try:
        return Namespace("", "/").parse(name_text(raw, utf8=False), "/")
    except NameProblem:
        return None


def tree(root: Path) -> set[str]:
    """Everything below `root`, links not followed."""
    return {
        str(Path(at, name).relative_to(root)) for at, dirs, files in os.walk(root) for name in (*dirs, *files)
    }


class Surroundings:
    """A directory with a Maildir in it, and things beside it that nobody may touch."""

    def __init__(self, directory: Path) -> None:
        self.outside = directory
        self.root = directory / "deep" / "down" / "mail"
        for place in ("escape", "b", "deep/escape", "deep/down/b", "secret/cur", "secret/new", "secret/tmp"):
            (directory / place).mkdir(parents=True)
        self.secret = directory / "secret" / "cur" / "1.secret:2,S"
        self.secret.write_bytes(b"Subject: a secret\n\nx\n")
        for name in ("old", "older"):
            (directory / "secret" / "tmp" / name).write_bytes(b"precious")
        self.root.mkdir(parents=True)
        self.before = self._beside()

    def _beside(self) -> set[str]:
        return {path for path in tree(self.outside) if not path.startswith("deep/down/mail/")}

    def check(self) -> None:
        """Nothing beside the Maildir was touched."""
        assert self._beside() == self.before
        assert self.secret.read_bytes() == b"Subject: a secret\n\nx\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Surroundings]:
    """A Maildir among other things, which are still as they were in the end."""
    around = Surroundings(tmp_path)
    yield around
    around.check()


async def connected(root: Path, kind: str, **options: object) -> MaildirStore:
    store = MaildirStore(root, layout=kind, **options)  # type: ignore[arg-type]
    await store.connect(create=True)
    return store


async def hold(store: MaildirStore, name: MailboxName, body: bytes) -> str:
    """Makes a mailbox with one message; else why it is refused, by an error that is about this mailbox only."""
    try:
        await store.create(name)
        async with store.open(name) as mailbox:
            await deliver(mailbox, [Mail(data=body)])
    except MailboxError as error:
        return error.message
    return ""


async def bodies(store: MaildirStore, name: MailboxName) -> list[bytes]:
    """What a mailbox holds."""
    async with store.open(name) as mailbox:
        refs = list((await mailbox.observe()).listing.flags)
        return sorted([b"".join(m.spool.chunks()) async for m in mailbox.fetch(refs, Spool)])


@pytest.mark.parametrize("encoding", ["utf-8", "imap"])
@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_a_server_lists_stays_inside_and_apart(
    kind: str, encoding: str, place: Surroundings
) -> None:
    store = await connected(place.root, kind, encoding=encoding)
    names = sorted({name for raw in WIRE_NAMES if (name := decoded(raw)) is not None})
    assert len(names) > 50
    held = {name: b"Subject: %d\r\n\r\nx\r\n" % at for at, name in enumerate(names)}
    reasons = {name: await hold(store, name, held[name]) for name in names}
    refused = {name for name, why in reasons.items() if why}
    assert all(str(name)[:20] in reasons[name] for name in refused)
    listed = await store.mailboxes()
    assert listed.complete
    assert listed.problems == {}
    assert set(listed.mailboxes) - {INBOX} == set(names) - refused - {INBOX}
    for name in sorted(set(names) - refused):
        assert await bodies(store, name) == [held[name]]
    assert len(names) - len(refused) > 40
    place.check()
    for name in sorted(set(names) - refused - {INBOX}, reverse=True):
        await store.remove_mailbox(name)
    assert set((await store.mailboxes()).mailboxes) == {INBOX}
    await store.close()


WIRE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(WIRE_NAMES),
    st.lists(st.sampled_from([*WIRE_NAMES, b"/", b".", b"&"]), min_size=1, max_size=3).map(b"".join),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(st.lists(WIRE, min_size=1, max_size=8, unique=True), st.sampled_from(["utf-8", "imap"]))
def test_any_bytes_for_names(kind: str, raw: list[bytes], encoding: str) -> None:
    names = sorted({name for each in raw if (name := decoded(each)) is not None})
    with tempfile.TemporaryDirectory() as directory:
        around = Surroundings(Path(directory))

        async def fill() -> None:
            store = await connected(around.root, kind, encoding=encoding)
            held = {name: b"Subject: %d\r\n\r\nx\r\n" % at for at, name in enumerate(names)}
            refused = {name for name in names if await hold(store, name, held[name])}
            listed = await store.mailboxes()
            assert set(listed.mailboxes) - {INBOX} == set(names) - refused - {INBOX}
            for name in set(names) - refused:
                assert await bodies(store, name) == [held[name]]
            await store.close()

        asyncio.run(fill())
        around.check()


def test_different_names_on_the_wire_are_one_mailbox_only_where_imap_says_so() -> None:
    """INBOX in any case is one mailbox, and a name may be written in plain or encoded; all others stay apart."""
    by_name: dict[MailboxName, list[bytes]] = {}
    for raw in WIRE_NAMES:
        name = decoded(raw)
        if name is not None:
            by_name.setdefault(name, []).append(raw)
    shared = {frozenset(raws) for raws in by_name.values() if len(raws) > 1}
    assert all(len({name_text(raw, utf8=False).upper() for raw in raws}) == 1 for raws in shared)


# --- a Maildir that somebody prepared --------------------------------------------------------------------------------


def mailbox_at(directory: Path) -> Path:
    for name in ("cur", "new", "tmp"):
        (directory / name).mkdir(parents=True)
    return directory


@pytest.mark.parametrize("part", ["cur", "new", "tmp"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_behind_a_link_for_messages_is_neither_read_nor_cleaned(
    kind: str, part: str, place: Surroundings
) -> None:
    store = await connected(place.root, kind)
    name = MailboxName(("Bait",))
    await store.create(name)
    directory = store._layout.canonical(name)
    (directory / part).rmdir()
    (directory / part).symlink_to(place.outside / "secret" / part)
    later = MaildirStore(place.root, layout=kind, clock_ns=lambda: 4 * 10**18)
    await store.close()
    await later.connect(create=False)
    with pytest.raises(MailboxError, match="symbolic link"):
        async with later.open(name):
            pass
    if part == "cur":
        assert list((await later.mailboxes()).problems.values()) == [
            "its messages are behind a symbolic link"
        ]
    assert (place.outside / "secret" / "tmp" / "old").exists()
    await later.close()


async def test_nothing_is_made_below_a_link(place: Surroundings) -> None:
    store = await connected(place.root, "nested")
    (place.root / "A").symlink_to(place.outside / "escape")
    (place.root / "S").symlink_to(place.outside)
    for name in (MailboxName(("A", "B")), MailboxName(("S", "secret")), MailboxName(("S", "secret", "x"))):
        with pytest.raises(MailboxError, match="symbolic link"):
            await store.create(name)
        with pytest.raises(MailboxError, match="symbolic link"):
            await store.remove_mailbox(name)
        with pytest.raises(MailboxError, match="symbolic link"):
            async with store.open(name):
                pass
    await store.close()


@pytest.mark.parametrize(("link", "real"), [("A", "B"), ("B", "A"), ("A", "INBOX")])
@pytest.mark.parametrize("kind", KINDS)
async def test_two_names_never_share_a_directory_by_a_link(
    kind: str, link: str, real: str, place: Surroundings
) -> None:
    store = await connected(place.root, kind)
    name, other = MailboxName((link,)), MailboxName((real,))
    await store.create(other)
    (store._layout.canonical(name)).symlink_to(store._layout.canonical(other))
    listed = await store.mailboxes()
    assert set(listed.mailboxes) == {INBOX, other}
    (why,) = listed.problems.values()
    assert why.startswith("is the same directory as ")
    for attempt in (store.create, store.remove_mailbox):
        with pytest.raises(MailboxError):
            await attempt(name)
    with pytest.raises(MailboxError):
        async with store.open(name):
            pass
    await store.close()


async def test_two_names_never_share_a_directory_where_the_disk_ignores_case(
    place: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the usual file systems of macOS and Windows."""
    store = await connected(place.root, "maildir++")
    await store.create(MailboxName(("Work",)))
    original = layout_module.is_mailbox

    def ignoring_case(directory: Path) -> bool:
        there = {entry.name.lower(): entry for entry in directory.parent.iterdir()}
        found = there.get(directory.name.lower())
        return found is not None and original(found)

    monkeypatch.setattr(layout_module, "is_mailbox", ignoring_case)
    store._layout.folds = True
    for name in (MailboxName(("WORK",)), MailboxName(("work",))):
        with pytest.raises(MailboxError, match="another one"):
            await store.create(name)
    async with store.open(MailboxName(("Work",))) as mailbox:
        assert mailbox.directory.name == ".Work"
    await store.create(MailboxName(("Play",)))
    await store.close()


async def test_a_disk_that_tells_names_apart_is_seen_to(place: Surroundings) -> None:
    store = await connected(place.root, "maildir++")
    assert not store._layout.folds
    (place.root / "CUR").symlink_to("cur")
    assert not layout_module.folds(place.root), "it is spelled so"
    await store.close()


@pytest.mark.parametrize("levels", [NESTING_MAX, NESTING_MAX + 1, 10_000])
async def test_depth(levels: int, place: Surroundings) -> None:
    """What is made is found again; what would not be is not made."""
    store = await connected(place.root, "nested")
    name = MailboxName(("d",) * levels)
    held = not await hold(store, name, b"Subject: deep\r\n\r\nx\r\n")
    assert held == (levels <= NESTING_MAX)
    assert (name in (await store.mailboxes()).mailboxes) == held
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_odd_things_in_the_place_of_mailboxes_and_messages(kind: str, place: Surroundings) -> None:
    """Pipes, sockets, links to nothing, files: none stops the others, none is followed, nothing waits for ever."""
    store = await connected(place.root, kind)
    good = MailboxName(("Good",))
    await hold(store, good, b"Subject: good\r\n\r\nx\r\n")
    dot = "." if kind == "maildir++" else ""
    os.mkfifo(place.root / f"{dot}pipe")
    (place.root / f"{dot}file").write_bytes(b"")
    (place.root / f"{dot}nowhere").symlink_to("nothing")
    (place.root / f"{dot}circle").symlink_to(f"{dot}circle")
    mailbox_at(place.root / f"{dot}\x1b[31m\n")
    mailbox_at(place.root / os.fsdecode(dot.encode() + b"\xff\xfe"))
    cur = store._layout.canonical(good) / "cur"
    os.mkfifo(cur / "1.pipe:2,")
    (cur / "1.link:2,").symlink_to(place.secret)
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(cur):  # the path of a socket must be short
        server.bind("1.socket:2,")
    listed = await store.mailboxes()
    assert good in listed.mailboxes
    assert MailboxName(("\x1b[31m\n",)) in listed.mailboxes
    async with store.open(good) as mailbox:
        refs = list((await mailbox.observe()).listing.flags)
        found = {message.ref: message async for message in mailbox.fetch(refs, Spool)}
    failed = {ref for ref, message in found.items() if message.error is not None}
    assert failed == {"1.pipe", "1.link", "1.socket"}
    assert len(found) == 4
    await store.close()
