"""The power goes after each operation on the disk, in every scene, and the next runs make both sides equal again."""

from __future__ import annotations

import copy
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engine.disks import WORK, Job, Mail, Scene, dead_process, letter, quick_directory, undo_all

from mailtwin.engine import quarantine, sync
from mailtwin.model import INBOX, NO_FLAGS, MailboxName, make_flags
from mailtwin.state import database
from mailtwin.stores import durable, maildir_delivery, maildir_files, maildir_scan
from mailtwin.stores.memory import MemoryStore
from mailtwin.testing.powercut import Call, Log, expect_complete, outcomes, watched, write_tree

MIXTURES = int(os.environ.get("MAILTWIN_POWERCUT_MIXTURES", "1"))
SEEN, FLAGGED = make_flags(["\\Seen"]), make_flags(["\\Flagged"])

Expected = dict[MailboxName, Mail]


def nothing(_scene: Scene) -> None:
    """Nobody does anything."""


@dataclass(frozen=True)
class Story:
    """What is there and in step (`before`; not for a `first_run`), what people do that is durable (`people`, brought
    `in_step_again`) and that is not (`unsynced`), what the program does then (`job`) while the power may go, what is
    done first afterwards (`lastly`), and what must be there in the end."""

    before: Callable[[Scene], None]
    expected: Expected
    people: Callable[[Scene], None] = nothing
    unsynced: Callable[[Scene], None] = nothing
    first_run: bool = False
    in_step_again: bool = False
    job: Job = sync
    lastly: tuple[Job, ...] = ()


def on_server(scene: Scene) -> None:
    for number, flags in enumerate((NO_FLAGS, SEEN, FLAGGED)):
        scene.server.add(INBOX, letter(number), flags)
    scene.server.add(WORK, letter(7))


def in_maildir(scene: Scene) -> None:
    for number, flags in enumerate(("", "S", "F")):
        scene.deliver(number, flags)
    scene.deliver(7, "", WORK)


def six(scene: Scene) -> None:
    for number in range(6):
        scene.server.add(INBOX, letter(number))


def everything_changes(scene: Scene) -> None:
    scene.remove_left(0)
    scene.remove_right(1)
    flagged = scene.file_of(2)
    flagged.rename(scene.maildir / "cur" / f"{flagged.name}:2,F")
    scene.server.user_flags(INBOX, scene.uid_of(2), SEEN)
    scene.server.user_flags(INBOX, scene.uid_of(3), SEEN)
    scene.deliver(8, "R")
    scene.server.add(INBOX, letter(9), FLAGGED)
    scene.server.add(WORK, letter(7))


def remove_two(scene: Scene) -> None:
    scene.remove_left(0)
    scene.remove_right(1)


FOUR: Expected = {
    INBOX: {letter(0): NO_FLAGS, letter(1): SEEN, letter(2): FLAGGED},
    WORK: {letter(7): NO_FLAGS},
}
STORIES = {
    "pull": Story(nothing, FOUR, people=on_server, first_run=True),
    "push": Story(nothing, FOUR, people=in_maildir, first_run=True),
    "changes": Story(
        six,
        {
            INBOX: {
                letter(2): make_flags(SEEN | FLAGGED),
                letter(3): SEEN,
                letter(4): NO_FLAGS,
                letter(5): NO_FLAGS,
                letter(8): make_flags(["\\Answered"]),
                letter(9): FLAGGED,
            },
            WORK: {letter(7): NO_FLAGS},
        },
        people=everything_changes,
    ),
    "undo": Story(
        six,
        {INBOX: {letter(number): NO_FLAGS for number in range(6)}},
        people=remove_two,
        in_step_again=True,
        job=undo_all,
        lastly=(undo_all,),
    ),
}


async def record(story: Story, scene: Scene) -> tuple[Log, list[MemoryStore]]:
    """Lets the story happen; what was done to the disk, and the server before each operation and after the last."""
    story.before(scene)
    if not story.first_run:
        await scene.run()
        assert scene.left() == scene.right()
    story.people(scene)
    if story.in_step_again:
        await scene.run()
    servers: list[MemoryStore] = []

    def look(_call: Call) -> None:
        # Several calls may come before the next operation: the last one shows the latest moment.
        done = len(log.operations)
        del servers[done:]
        servers.extend([copy.deepcopy(scene.server)] * (done + 1 - len(servers)))

    with watched(scene.root, look) as log:
        story.unsynced(scene)
        await scene.do(story.job)
    servers.append(copy.deepcopy(scene.server))
    expect_complete(log, scene.root)
    return log, servers


Check = Callable[[Scene, MemoryStore], Awaitable[None]]


async def cut_everywhere(story: Story, directory: Path, check: Check, mixtures: int = MIXTURES) -> int:
    """Lets the power go after each operation, and checks what is left with the server as it was then.

    Returns how many different things may be left.
    """
    (directory / "first").mkdir()
    scene = Scene(directory / "first", process=dead_process())
    log, servers = await record(story, scene)
    tried = set()
    for number, (done, what, tree) in enumerate(outcomes(log, mixtures)):
        server = servers[min(done, len(servers) - 1)]
        key = (tuple(tree.items()), str(server._account))
        if key in tried:
            continue
        tried.add(key)
        after = scene.elsewhere(directory / str(number), server)
        write_tree(tree, after.root)
        try:
            await check(after, server)
        except BaseException as error:
            error.add_note(f"{what} survived, after operation {done} of {len(log.operations)}")
            for operation in log.operations[max(0, done - 6) : done + 3]:
                error.add_note(str(operation)[:150])
            raise
    return len(tried)


def ends_as_expected(story: Story) -> Check:
    """What must hold at once, and after two more runs."""

    async def check(after: Scene, _server: MemoryStore) -> None:
        after.check_now({data for mail in story.expected.values() for data in mail} | after.removed)
        for job in story.lastly:
            await after.do(job)
        await after.check_settled(story.expected)

    return check


@pytest.fixture(autouse=True)
def _one_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree that a cut leaves is made anew here, and stands for the same directories of the same disk."""
    monkeypatch.setattr(maildir_scan, "location_of", lambda _directory: "the disk")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STORIES)
async def test_the_power_goes_after_any_operation(name: str, tmp_path: Path) -> None:
    story = STORIES[name]
    with quick_directory(tmp_path) as directory:
        assert await cut_everywhere(story, directory, ends_as_expected(story)) > 50


# --- what others do without syncing ---


def write_without_sync(file: Path, data: bytes) -> None:
    """As a mail reader does that thinks the disk will not fail."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, data.replace(b"\r\n", b"\n"))
    os.close(descriptor)


def unsynced_mail(scene: Scene) -> None:
    for number in (8, 10):
        temporary = scene.maildir / "tmp" / f"{number}"
        write_without_sync(temporary, letter(number))
        os.rename(temporary, scene.maildir / "cur" / f"{number}.M1P1.other:2,S")  # noqa: PTH104 - as it is watched
    flagged = scene.file_of(3)
    os.rename(flagged, scene.maildir / "cur" / f"{flagged.name.partition(':')[0]}:2,F")  # noqa: PTH104 - as it is watched


def one_arrives(scene: Scene) -> None:
    scene.server.add(INBOX, letter(10))


UNSYNCED = Story(six, {}, people=one_arrives, unsynced=unsynced_mail)


async def nothing_is_removed(after: Scene, server: MemoryStore) -> None:
    """Two runs leave the server all that it had."""
    for _ in range(2):
        await after.run()
    there = [data for data, _ in after.right()]
    for mail in server.contents().values():
        assert there.count(mail.data) == 1
        if mail.data == letter(3) and mail.flags:
            assert (letter(3), FLAGGED) in after.right()


async def test_what_others_did_not_sync_is_never_taken_for_removed(tmp_path: Path) -> None:
    """A message or a flag that another program put there a moment ago, seen by a run, and taken back by a power cut."""
    with quick_directory(tmp_path) as directory:
        assert await cut_everywhere(UNSYNCED, directory, nothing_is_removed) > 50


# --- the simulation notices mistakes ---


def syncs_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    weaker = [pragma.replace("synchronous = FULL", "synchronous = NORMAL") for pragma in database._PRAGMAS]
    assert weaker != list(database._PRAGMAS)
    monkeypatch.setattr(database, "_PRAGMAS", weaker)


def syncs_no_delivered_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maildir_delivery, "sync_directory", lambda _directory: None)


def syncs_no_delivered_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_sync", lambda _file: None)
    monkeypatch.setattr(durable, "FILES_FOR_SYNCFS_MIN", 10**9)


def syncs_no_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "sync_directory", lambda _directory: None)


def syncs_no_name_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maildir_files, "sync_directory", lambda _directory: None)


MISTAKES = [
    (syncs_no_commit, "changes"),
    (syncs_no_delivered_name, "pull"),
    (syncs_no_delivered_file, "pull"),
    (syncs_no_quarantine, "changes"),
    (syncs_no_name_of_others, "unsynced"),
]


@pytest.mark.parametrize(("mistake", "name"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES])
async def test_a_sync_that_is_left_out_is_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    story = STORIES.get(name, UNSYNCED)
    check = ends_as_expected(story) if name in STORIES else nothing_is_removed
    with quick_directory(tmp_path) as directory, pytest.raises(AssertionError):
        await cut_everywhere(story, directory, check, mixtures=0)
