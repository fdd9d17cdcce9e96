"""Mailbox names on disk: reversible, inside the root whatever the name, and those that other programs make."""

from __future__ import annotations

import mailbox
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import MailboxError
from mailtwin.model import INBOX, MailboxName
from mailtwin.stores import layout as layout_module
from mailtwin.stores.layout import LAYOUTS, Layout, MaildirPlusPlus, Nested, detect
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.maildir_names import MAILDIR_VOCABULARY
from mailtwin.testing.conformance import Mail, deliver, flags_in

ROOT = Path("/mail")
KINDS = sorted(LAYOUTS)

parts = st.one_of(
    st.text(min_size=1, max_size=12),
    st.text("./%~:\\\0\x7f2EFcurnewtmp", min_size=1, max_size=12),
    st.sampled_from(["..", ".", "cur", "new", "tmp", "INBOX", "inbox", "/etc/passwd", "%2E", "%2e%2e", "\0"]),
)
names = st.lists(parts, min_size=1, max_size=4).map(lambda found: MailboxName(tuple(found)))


def make(directory: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (directory / name).mkdir(parents=True)


@pytest.mark.parametrize("kind", KINDS)
@given(name=names, other=names, imap_names=st.booleans())
def test_every_name_is_reversible_and_stays_inside(
    kind: str, name: MailboxName, other: MailboxName, imap_names: bool
) -> None:
    layout = LAYOUTS[kind](ROOT, imap_names=imap_names)
    try:
        path, second = layout.canonical(name), layout.canonical(other)
    except MailboxError:
        return
    assert path.is_relative_to(ROOT)
    assert Path(os.path.normpath(path)) == path, "a component that means something to the file system"
    assert (path == second) == (name == other)
    relative = path.relative_to(ROOT)
    assert not {"cur", "new", "tmp"} & set(relative.parts)
    assert all(0 < len(part.encode()) <= 255 and "\0" not in part for part in relative.parts)
    if path != ROOT:
        assert layout.parse(str(relative)) == name


@pytest.mark.parametrize(
    ("kind", "name", "directory"),
    [
        ("maildir++", ("INBOX",), "."),
        ("maildir++", ("inbox", "Child"), ".INBOX.Child"),
        ("maildir++", ("Entwürfe", "a.b/c"), ".Entwürfe.a%2Eb%2Fc"),
        ("maildir++", ("100%",), ".100%25"),
        ("nested", ("INBOX",), "INBOX"),
        ("nested", ("Entwürfe", "a.b/c"), "Entwürfe/a.b%2Fc"),
        ("nested", ("..", "cur", ".x"), "%2E./%63ur/%2Ex"),
    ],
)
def test_known_directories(kind: str, name: tuple[str, ...], directory: str) -> None:
    assert LAYOUTS[kind](ROOT).canonical(MailboxName(name)) == ROOT / directory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["x" * 256, "\0" * 86, "é" * 128, "\udcff", "日" * 86])
async def test_what_the_disk_cannot_hold_is_refused(kind: str, part: str, tmp_path: Path) -> None:
    store = MaildirStore(tmp_path, layout=kind)
    await store.connect(create=True)
    for name in (MailboxName((part,)), MailboxName(("Parent", part))):
        with pytest.raises(MailboxError):
            await store.create(name)
        with pytest.raises(MailboxError):
            await store.remove_mailbox(name)
    assert list((await store.mailboxes()).mailboxes) == [INBOX]
    await store.close()


async def test_paths_too_long_are_refused(tmp_path: Path) -> None:
    store = MaildirStore(tmp_path, layout="nested")
    await store.connect(create=True)
    with pytest.raises(MailboxError):
        await store.create(MailboxName(("x" * 250,) * 20))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MailboxError):
        await store.create(MailboxName(("file", "child")))
    await store.close()


# --- directories made by others -------------------------------------------------------------------------------------


def test_foreign_spellings_are_read_as_they_are(tmp_path: Path) -> None:
    for name in (".", ".100% sure", ".Sent", ".a.b", ".&AOk-"):
        make(tmp_path / name)
    (tmp_path / ".git").mkdir()
    found = MaildirPlusPlus(tmp_path).find()
    expected = {("INBOX",), ("100% sure",), ("Sent",), ("a", "b"), ("&AOk-",)}
    assert {name.parts for name in found.directories} == expected
    assert not found.problems
    assert MaildirPlusPlus(tmp_path).directory(MailboxName(("100% sure",))) == tmp_path / ".100% sure"


@pytest.mark.parametrize("kind", KINDS)
async def test_names_in_modified_utf7_are_read_and_made(kind: str, tmp_path: Path) -> None:
    """A Maildir of Dovecot or OfflineIMAP, and what another program with other habits put into it."""
    dot = "." if kind == "maildir++" else ""
    for name in ("Entw&APw-rfe", "R&-D", "R&D", "Überall"):
        make(tmp_path / f"{dot}{name}")
    if kind == "maildir++":
        make(tmp_path / "x")
        (tmp_path / "x").rename(tmp_path / "y")
        for part in ("cur", "new", "tmp"):
            (tmp_path / "y" / part).rename(tmp_path / part)
    store = MaildirStore(tmp_path, layout=kind)
    await store.connect(create=False)
    listed = {str(name) for name in (await store.mailboxes()).mailboxes} - {"INBOX"}
    assert listed == {"Entwürfe", "R&D", "Überall"}
    await store.create(MailboxName(("Été",)))
    assert (tmp_path / f"{dot}&AMk-t&AOk-" / "cur").is_dir()
    async with store.open(MailboxName(("Überall",))) as mailbox:
        assert await flags_in(mailbox) == {}
    await store.close()


@pytest.mark.parametrize(
    ("encoding", "there", "made"),
    [
        ("auto", "Sent", "Été"),
        ("imap", "Sent", "&AMk-t&AOk-"),
        ("utf-8", "&AOk-", "Été"),
        ("auto", "R&-D", "Été"),
    ],
)
async def test_the_encoding_of_new_names(encoding: str, there: str, made: str, tmp_path: Path) -> None:
    make(tmp_path / there)
    store = MaildirStore(tmp_path, layout="nested", encoding=encoding)
    await store.connect(create=False)
    assert MailboxName((there,)) in (await store.mailboxes()).mailboxes
    await store.create(MailboxName(("Été",)))
    assert (tmp_path / made / "cur").is_dir()
    await store.close()


def test_a_directory_that_goes_while_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "Sent")
    (tmp_path / "Going").mkdir()
    seen = layout_module._subdirectories

    def going(directory: Path) -> Iterator[tuple[str, Path]]:
        if directory.name == "Going":
            directory.rmdir()
        return seen(directory)

    monkeypatch.setattr(layout_module, "_subdirectories", going)
    found = Nested(tmp_path).find()
    assert (set(found.directories), found.complete) == ({MailboxName(("Sent",))}, False)


@pytest.mark.parametrize(
    ("kind", "directories", "problems"),
    [
        ("maildir++", [".%41", ".A"], {".%41": "means the same mailbox as .A"}),
        ("maildir++", [".%41", ".%2541", ".%2E"], {}),
        ("maildir++", [".a..b", "..x", ".inbox"], {".a..b", "..x", ".inbox"}),
        ("nested", ["Inbox", "INBOX"], {"Inbox": "means the same mailbox as INBOX"}),
        ("nested", ["INBOX", "x", "x/cur/y", ".hidden"], {}),
        ("nested", ["%" * 200], {"%" * 200}),
    ],
)
def test_what_cannot_be_used_is_a_problem(
    kind: str, directories: list[str], problems: dict[str, str] | set[str], tmp_path: Path
) -> None:
    for directory in directories:
        make(tmp_path / directory)
    found = LAYOUTS[kind](tmp_path).find()
    if isinstance(problems, dict):
        assert found.problems == problems
    assert set(found.problems) == set(problems)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_are_not_utf8_are_problems(kind: str, tmp_path: Path) -> None:
    make(tmp_path / ("INBOX" if kind == "nested" else "."))
    make(tmp_path / os.fsdecode(b".caf\xe9" if kind == "maildir++" else b"caf\xe9"))
    found = LAYOUTS[kind](tmp_path).find()
    assert list(found.directories) == [INBOX]
    ((spelling, reason),) = found.problems.items()
    assert spelling.endswith("caf\\xe9")
    assert "UTF-8" in reason


@pytest.mark.parametrize(
    ("directories", "kind"),
    [
        ([], MaildirPlusPlus),
        (["."], MaildirPlusPlus),
        ([".Sent"], MaildirPlusPlus),
        ([".", "Sent"], MaildirPlusPlus),
        (["INBOX"], Nested),
        (["Work/2024"], Nested),
        ([".Sent", "INBOX"], MaildirPlusPlus),
    ],
)
def test_the_layout_shows_in_what_is_there(
    directories: list[str], kind: type[Layout], tmp_path: Path
) -> None:
    for directory in directories:
        make(tmp_path / directory)
    assert type(detect(tmp_path)) is kind


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    make(tmp_path / "INBOX")
    (tmp_path / "INBOX" / "up").symlink_to(tmp_path)
    assert list(Nested(tmp_path).find().directories) == [INBOX]


# --- the standard library as the oracle -----------------------------------------------------------------------------


async def test_the_standard_library_reads_what_we_write(tmp_path: Path) -> None:
    store = MaildirStore(tmp_path / "mail")
    await store.connect(create=True)
    await store.create(MailboxName(("Sent",)))
    await store.create(MailboxName(("Work", "2024")))
    async with store.open(MailboxName(("Work", "2024"))) as opened:
        (ref,) = await deliver(opened, [Mail(flags=MAILDIR_VOCABULARY.flags)])
    await store.close()
    box = mailbox.Maildir(tmp_path / "mail", create=False)
    assert sorted(box.list_folders()) == ["Sent", "Work.2024"]
    message = box.get_folder("Work.2024")[str(ref)]
    assert (message.get_flags(), message.get_subdir()) == ("DFPRST", "cur")
    assert message.get_date() == Mail().date.timestamp()
    assert b"\r" not in box.get_folder("Work.2024").get_bytes(str(ref))


async def test_we_read_what_the_standard_library_writes(tmp_path: Path) -> None:
    box = mailbox.Maildir(tmp_path / "mail")
    folder = box.add_folder("Work.2024")
    message = mailbox.MaildirMessage("Subject: hello\n\nbody\n")
    message.set_subdir("cur")
    message.set_flags("FSx")
    key = folder.add(message)
    new = box.add("Subject: new\n\nbody\n")
    store = MaildirStore(tmp_path / "mail")
    await store.connect(create=False)
    assert set((await store.mailboxes()).mailboxes) == {INBOX, MailboxName(("Work", "2024"))}
    async with store.open(MailboxName(("Work", "2024"))) as opened:
        assert await flags_in(opened) == {key: {"\\Seen", "\\Flagged"}}
    async with store.open(INBOX) as opened:
        assert await flags_in(opened) == {new: set()}
    await store.close()
