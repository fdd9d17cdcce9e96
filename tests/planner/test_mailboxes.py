"""The mailbox tree: one row per case, then what holds of every plan."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.strategies import POLICIES

from mailtwin.model import INBOX, MailboxName, Side
from mailtwin.planner import (
    CreateMailbox,
    Direction,
    ForgetMailbox,
    HoldMailbox,
    MailboxListing,
    MailboxOperation,
    Policy,
    Removals,
    RemoveMailbox,
    plan_mailboxes,
)

TWO_WAY = Policy()
REMOVE = Policy(remove_mailboxes=True)
LEFT_TO_RIGHT = Policy(direction=Direction.LEFT_TO_RIGHT, remove_mailboxes=True)
KEEP = Policy(removals=Removals.KEEP, remove_mailboxes=True)


@dataclass(frozen=True, slots=True)
class Row:
    """`known`, `left` and `right` list mailboxes; a list that ends in `?` is not complete."""

    name: str
    known: str
    left: str
    right: str
    plan: str
    policy: Policy = TWO_WAY


ROWS = [
    Row("in step", "A", "A", "A", ""),
    Row("on both sides and never seen before", "", "A", "A", ""),
    Row("new on the left", "", "A", "", "create right A"),
    Row("new on the right", "", "", "A", "create left A"),
    Row("new, and the other list broke off", "", "A", "?", ""),
    Row("new, on a list that broke off", "", "A ?", "", "create right A"),
    Row("parents first", "", "A/B/C A A/B", "", "create right A, create right A/B, create right A/B/C"),
    Row("missing on the left", "A", "", "A", "hold left A"),
    Row("missing on the right", "A", "A", "", "hold right A"),
    Row("missing on a list that broke off", "A", "?", "A", ""),
    Row("missing on both sides", "A", "", "", "forget A"),
    Row("missing on both sides, one list broke off", "A", "?", "", ""),
    Row("removed on the left", "A", "", "A", "remove right A", REMOVE),
    Row("removed on the right", "A", "A", "", "remove left A", REMOVE),
    Row("removed, says a list that broke off", "A", "?", "A", "", REMOVE),
    Row("children are removed first", "A A/B", "", "A A/B", "remove right A/B, remove right A", REMOVE),
    Row("INBOX is never removed", "INBOX", "", "INBOX", "hold left INBOX", REMOVE),
    Row("its children may be", "INBOX/A", "", "INBOX/A", "remove right INBOX/A", REMOVE),
    Row("removals are not passed on", "A", "", "A", "hold left A", KEEP),
    Row("one-way, new on the source", "", "A", "", "create right A", LEFT_TO_RIGHT),
    Row("one-way, new on the destination", "", "", "A", "", LEFT_TO_RIGHT),
    Row("one-way, removed on the source", "A", "", "A", "remove right A", LEFT_TO_RIGHT),
    Row("one-way, removed on the destination", "A", "A", "", "hold right A", LEFT_TO_RIGHT),
    Row(
        "everything at once",
        "B C D",
        "A B",
        "C E",
        "create left E, create right A, hold left C, hold right B, forget D",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows(row: Row) -> None:
    known, left, right = (_listing(text) for text in (row.known, row.left, row.right))
    plan = plan_mailboxes(known.names, left, right, row.policy)
    assert sorted(map(_words, plan)) == sorted(filter(None, row.plan.split(", ")))


def test_creations_come_first_and_removals_run_from_the_leaves() -> None:
    known, left, right = _listing("A A/B A/B/C"), _listing("X/Y X"), _listing("A A/B A/B/C")
    plan = plan_mailboxes(known.names, left, right, REMOVE)
    expected = "create right X, create right X/Y, remove right A/B/C, remove right A/B, remove right A"
    assert ", ".join(map(_words, plan)) == expected


def _listing(text: str) -> MailboxListing:
    words = text.split()
    return MailboxListing(
        frozenset(MailboxName.parse(word) for word in words if word != "?"), "?" not in words
    )


def _words(operation: MailboxOperation) -> str:
    verb = type(operation).__name__.removesuffix("Mailbox").lower()
    side = "" if isinstance(operation, ForgetMailbox) else f"{operation.side.label} "
    return f"{verb} {side}{operation.name}"


NAMES = st.sampled_from([*map(MailboxName.parse, ["A", "A/B", "A/B/C", "B", "B/A", "INBOX/A"]), INBOX])
LISTINGS = st.builds(MailboxListing, st.frozensets(NAMES), st.booleans())


@settings(deadline=None)
@given(st.frozensets(NAMES), LISTINGS, LISTINGS, POLICIES)
def test_every_plan(
    known: frozenset[MailboxName], left: MailboxListing, right: MailboxListing, policy: Policy
) -> None:
    seen = (left, right)
    plan = plan_mailboxes(known, left, right, policy)
    assert len({operation.name for operation in plan}) == len(plan)
    for operation in plan:
        match operation:
            case CreateMailbox(side, name):
                assert policy.direction.may_change(side)
                assert seen[side].lacks(name)
                assert name not in known
            case RemoveMailbox(side, name):
                assert policy.direction.may_change(side)
                assert policy.remove_mailboxes
                assert name in known
                assert not name.is_inbox
                assert seen[side.other].lacks(name)
            case HoldMailbox(side, name):
                assert name in known
                assert seen[side].lacks(name)
            case ForgetMailbox(name):
                assert left.lacks(name)
                assert right.lacks(name)
    created = [op.name for op in plan if isinstance(op, CreateMailbox) and op.side is Side.LEFT]
    assert created == sorted(created)
    removed = [op.name for op in plan if isinstance(op, RemoveMailbox)]
    assert removed == sorted(removed, reverse=True)
