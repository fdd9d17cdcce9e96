"""Each invariant of the state, broken on purpose, is found."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailtwin.errors import StateError
from mailtwin.model import INBOX, NO_FLAGS, Identity, MailboxName, Side
from mailtwin.planner.operations import CopyIntent, Link, RemoveIntent, StoreIntent, Straggler, Verdict
from mailtwin.state import (
    AddCopy,
    AddKept,
    AddLink,
    AddRemoval,
    AddStore,
    AddStraggler,
    Change,
    Digest,
    HeldRemovals,
    HoldRemovals,
    Kept,
    Note,
    SaveDigests,
    SaveEmails,
    SaveSighting,
    SaveSnapshot,
    SaveUncopied,
    SetValidity,
    Sighting,
    Snapshot,
    State,
    Uncopied,
    checks,
)

DAY = datetime(2024, 1, 1, tzinfo=UTC)
SOUND: list[Change] = [
    SetValidity(Side.LEFT, "1"),
    SetValidity(Side.RIGHT, "2"),
    AddLink(Link(1, "a", NO_FLAGS)),
    AddLink(Link(2, "b", NO_FLAGS)),
    AddCopy(CopyIntent(Side.LEFT, 3, NO_FLAGS, "2"), 1, "", ""),
    AddCopy(CopyIntent(Side.RIGHT, "c", NO_FLAGS, "1"), 1, "", ""),
    AddStore(StoreIntent(1, "a", Side.LEFT, NO_FLAGS, NO_FLAGS, NO_FLAGS)),
    AddRemoval(RemoveIntent(Side.RIGHT, "b", "2")),
    SaveSnapshot(Snapshot(Side.LEFT, "x", {3: NO_FLAGS, 1: None})),
    AddStraggler(Straggler(Side.LEFT, 5, NO_FLAGS, "2", 1, Identity("h", "size:1", True))),
    AddStraggler(
        Straggler(
            Side.LEFT, 6, NO_FLAGS, "2", 1, Identity("i", "size:1", True), found=7, verdict=Verdict.KEEP
        )
    ),
    SaveDigests(Side.LEFT, {1: Digest("1:1", "ab" * 32, 1, "h", "<1@x>")}),
    AddKept(Kept(INBOX, Side.LEFT, 9, "1", NO_FLAGS, DAY, 1, "", Identity("k", "size:1", True), "f")),
    SaveUncopied(Uncopied(INBOX, Side.LEFT, 8, "too big", identity=Identity("u", "size:1", True))),
    SaveSighting(Side.LEFT, Sighting(2, "1:2")),
    HoldRemovals(HeldRemovals(INBOX, Side.RIGHT, "2", frozenset({"b"}), "many are missing")),
    SaveEmails(Side.LEFT, {1: "17"}),
    Note("copy", 1, "a", ""),
]


def fill(state: State) -> None:
    """Two runs, with something of every kind."""
    for changes in (SOUND, [Note("copy", 2, "b", "")]):
        run = state.begin_run("sync")
        state.commit(INBOX, changes)
        state.end_run(run, "in step", {})


def test_a_sound_state_has_no_problems(state: State) -> None:
    fill(state)
    assert state.check() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            SetValidity(Side.RIGHT, "9"),
            ["copy of message 3 towards the right side belongs to another numbering"],
        ),
        (
            SetValidity(Side.LEFT, "9"),
            ["copy of message c towards the left side belongs to another numbering"],
        ),
        (
            AddCopy(CopyIntent(Side.LEFT, 1, NO_FLAGS, "2"), 1, "", ""),
            ["left message 1 is linked and still has"],
        ),
        (
            AddCopy(CopyIntent(Side.RIGHT, "b", NO_FLAGS, "1"), 1, "", ""),
            ["right message b is linked and still has"],
        ),
        (
            AddStore(StoreIntent(1, "b", Side.LEFT, NO_FLAGS, NO_FLAGS, NO_FLAGS)),
            ["a change of flags of 1 = b was begun without an agreement"],
        ),
    ],
)
def test_changes_that_leave_something_wrong(state: State, change: Change, words: list[str]) -> None:
    state.commit(INBOX, SOUND)
    state.commit(INBOX, [change])
    assert_found(state, words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE mailboxes SET links = 5", ["count of agreements of mailbox INBOX is wrong"]),
        (
            "UPDATE mailboxes SET known = 0",
            [
                f"INBOX was forgotten and still has {what}"
                for what in (
                    "agreements",
                    "begun copies",
                    "begun changes of flags",
                    "begun removals",
                    "cursors",
                    "late copies",
                    "uncopied messages",
                    "removals that are held back",
                    "email ids",
                )
            ],
        ),
        (
            "UPDATE mailboxes SET right_validity = NULL",
            ["without the numbering", "message 3 towards the right"],
        ),
        (
            "DROP INDEX links_by_right; UPDATE links SET right_ref = 'a'",
            ["right message a belongs to 2 agreements"],
        ),
        (
            "DELETE FROM stores; DELETE FROM emails; UPDATE links SET mailbox = 77; UPDATE mailboxes SET links = 0",
            ["belongs to an unknown mailbox (row 77)"],
        ),
        (
            "UPDATE held SET mailbox = 77; UPDATE held_messages SET mailbox = 77",
            ["a removal that is held back belongs to an unknown mailbox (row 77)"],
        ),
        (
            "UPDATE held SET side = 9; UPDATE held_messages SET side = 9",
            ["the side of held removals of mailbox row 1 has the value 9"],
        ),
        ("DELETE FROM held_messages", ["INBOX: removals on the right side are held back, and none is named"]),
        ("DELETE FROM held", ["removals on the right side are named, and none is held back"]),
        ("DELETE FROM snapshots", ["the left side has deviations without a snapshot"]),
        ("UPDATE stragglers SET found = 9, verdict = 0", ["late copy 9 on the right side is held 2 times"]),
        (
            "UPDATE stragglers SET verdict = 2 WHERE ref = 5",
            ["it was decided about a late copy of message 5 that never arrived"],
        ),
        ("UPDATE emails SET ref = 99", ["left message 99 has an email id and no agreement"]),
        (
            "UPDATE copies SET identity_headers = 'x' WHERE ref = 3",
            ["the copy of message 3 has half of an identity"],
        ),
        ("UPDATE digests SET sha256 = x'00'", ["the digest of message 1 on the left side has 1 bytes"]),
        ("UPDATE digests SET stamp = ''", ["the digest of message 1 on the left side has 32 bytes"]),
        (
            "UPDATE stores SET mailbox = 77",
            [
                "was begun without an agreement",
                "a begun change of flags belongs to an unknown mailbox (row 77)",
            ],
        ),
        (
            "UPDATE emails SET mailbox = 77",
            ["has an email id and no agreement", "an email id belongs to an unknown mailbox (row 77)"],
        ),
        *(
            (f"UPDATE {table} SET mailbox = 77", [f"{what} belongs to an unknown mailbox (row 77)"])
            for what, table in (
                ("a begun removal", "removals"),
                ("a late copy", "stragglers"),
                ("a kept message", "kept"),
                ("an uncopied message", "uncopied"),
                ("a digest", "digests"),
                ("a sighting", "sightings"),
                ("a line of history", "history"),
            )
        ),
        *(
            (
                "DELETE FROM links; UPDATE mailboxes SET known = 0, links = 0;"
                + "".join(
                    f" DELETE FROM {other};"
                    for other in (
                        "copies",
                        "stores",
                        "snapshots",
                        "deviations",
                        "removals",
                        "stragglers",
                        "uncopied",
                        "held",
                        "held_messages",
                        "emails",
                    )
                    if other not in (table, needed)
                ),
                [f"INBOX was forgotten and still has {what}"],
            )
            for what, table, needed in (
                ("begun copies", "copies", ""),
                ("begun removals", "removals", ""),
                ("cursors", "snapshots", "deviations"),
                ("late copies", "stragglers", ""),
                ("uncopied messages", "uncopied", ""),
                ("removals that are held back", "held", "held_messages"),
            )
        ),
        *(
            (f"UPDATE {table} SET {column} = 9", [f"{what} of mailbox row 1 has the value 9"])
            for what, table, column in (
                ("the attempt of a copy", "copies", "attempt"),
                ("the side of a change of flags", "stores", "side"),
                ("the side of a begun removal", "removals", "side"),
                ("the side of a digest", "digests", "side"),
                ("the side of a sighting", "sightings", "side"),
                ("the approval of a removal", "held_messages", "approved"),
                ("the side of a kept message", "kept", "side"),
                ("the side of an uncopied message", "uncopied", "side"),
                ("what keeps a message from being copied", "uncopied", "obstacle"),
            )
        ),
        (
            "UPDATE stragglers SET verdict = 9 WHERE found IS NOT NULL",
            ["the verdict about a late copy of mailbox row 1 has the value 9"],
        ),
        ("UPDATE runs SET outcome = NULL WHERE id = 1", ["run 1 ended without", "run 1 has no outcome"]),
        ("UPDATE history SET run = 99", ["a line of history belongs to run 99"]),
    ],
)
def test_damage_from_outside(state: State, damage: str, words: list[str]) -> None:
    fill(state)
    state._connection.executescript(damage)
    assert_found(state, words)


def assert_found(state: State, words: list[str]) -> None:
    found = state.check()
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))


def test_findings_are_limited(state: State) -> None:
    state.commit(INBOX, [*SOUND, *(AddLink(Link(uid, uid, NO_FLAGS)) for uid in range(1_000, 1_500))])
    state.commit(
        INBOX, [AddCopy(CopyIntent(Side.LEFT, uid, NO_FLAGS, "2"), 1, "", "") for uid in range(1_000, 1_500)]
    )
    assert len(state.check()) == checks.PROBLEMS_MAX


def test_an_agreement_that_the_disk_altered_is_noticed_before_it_counts(
    path: Path, open_state: Callable[[], State]
) -> None:
    """The file is a sound database, and says that another message is linked: only the index knows better."""
    with open_state() as state:
        state.commit(INBOX, [*(SetValidity(side, "1") for side in Side), *links(40)])
        state.require_sound(INBOX)
        state.require_sound(MailboxName(("unknown",)))
    intact = path.read_bytes()
    places = [found.start() for found in re.finditer(b"left-23", intact)]
    assert len(places) == 2, "in the table and in the index"
    for place in places:
        path.write_bytes(intact[:place] + b"left-99" + intact[place + 7 :])
        with open_state() as state:
            assert len(state.base(INBOX).links) == 40
            with pytest.raises(StateError, match="contradict each other"):
                state.require_sound(INBOX)


def links(count: int) -> list[Change]:
    return [AddLink(Link(f"left-{number:02}", f"right-{number:02}", NO_FLAGS)) for number in range(count)]
