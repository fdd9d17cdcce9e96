"""Each invariant of the state, broken on purpose, is found."""

from __future__ import annotations

import pytest

from mailtwin.model import INBOX, NO_FLAGS, Side
from mailtwin.planner.operations import CopyIntent, Link, StoreIntent
from mailtwin.state import (
    AddCopy,
    AddLink,
    AddStore,
    Change,
    Note,
    SaveSnapshot,
    SetValidity,
    Snapshot,
    State,
    checks,
)

SOUND: list[Change] = [
    SetValidity(Side.LEFT, "1"),
    SetValidity(Side.RIGHT, "2"),
    AddLink(Link(1, "a", NO_FLAGS)),
    AddLink(Link(2, "b", NO_FLAGS)),
    AddCopy(CopyIntent(Side.LEFT, 3, NO_FLAGS, "2"), 1, "", ""),
    AddCopy(CopyIntent(Side.RIGHT, "c", NO_FLAGS, "1"), 1, "", ""),
    AddStore(StoreIntent(1, "a", Side.LEFT, NO_FLAGS, NO_FLAGS, NO_FLAGS)),
    SaveSnapshot(Snapshot(Side.LEFT, "x", {3: NO_FLAGS, 1: None})),
    Note("copy", 1, "a", ""),
]


def test_a_sound_state_has_no_problems(state: State) -> None:
    state.commit(INBOX, SOUND)
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
        ("UPDATE mailboxes SET known = 0", ["INBOX was forgotten and still has agreements"]),
        (
            "UPDATE mailboxes SET right_validity = NULL",
            ["without the numbering", "message 3 towards the right"],
        ),
        (
            "DROP INDEX links_by_right; UPDATE links SET right_ref = 'a'",
            ["right message a belongs to 2 agreements"],
        ),
        (
            "UPDATE links SET mailbox = 77; UPDATE mailboxes SET links = 0; DELETE FROM stores",
            ["belongs to an unknown mailbox (row 77)"],
        ),
        ("DELETE FROM snapshots", ["the left side has deviations without a snapshot"]),
    ],
)
def test_damage_from_outside(state: State, damage: str, words: list[str]) -> None:
    state.commit(INBOX, SOUND)
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
