"""What was done to a message can be told afterwards: by its Message-ID, by its name on either side, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.test_stragglers import stall
from tests.engine.test_sync import World, message, world

from mailtwin.engine import explaining, undo
from mailtwin.engine.explaining import (
    Explanation,
    explain_message_id,
    explain_ref,
    refs_in,
    with_message_ids,
)
from mailtwin.engine.resolving import Decision, resolve
from mailtwin.model import INBOX, NO_FLAGS, MailboxName, Ref, Side, make_flags
from mailtwin.planner import Link, Policy
from mailtwin.state import AddLink, HistoryEntry, Note, SetValidity, State

__all__ = ["world"]

SEEN = make_flags(["\\Seen"])
WORK = MailboxName(("Work",))


def done(found: Explanation) -> list[tuple[str, str]]:
    """What was done and why."""
    return [(line.operation, line.detail) for line in found.history]


def by_id(world: World, number: int) -> list[Explanation]:
    with world.state() as state:
        return explain_message_id(state, f"<{number}@sync.example>")


def by_ref(world: World, text: str, side: Side | None = None) -> list[Explanation]:
    with world.state() as state:
        return explain_ref(state, INBOX, text, side)


async def test_the_life_of_a_message(world: World) -> None:
    world.right.add(INBOX, message(9))
    world.left.add(INBOX, message(0))
    assert (await world.run()).in_step
    world.left.user_flags(INBOX, 1, SEEN)
    assert (await world.run()).in_step
    (found,) = by_id(world, 0)
    assert (found.mailbox, found.message_id, found.ends) == (
        INBOX, "<0@sync.example>", ((Side.LEFT, 1), (Side.RIGHT, 2)),
    )  # fmt: skip
    assert found.link == Link(1, 2, SEEN)
    assert found.link is not None
    assert found.link.flags == SEEN
    assert done(found) == [
        ("copy", "to right: new on left"),
        ("flags", "on right: +(\\Seen) (flags changed on left)"),
        ("agree", "\\Seen (flags arrived on right)"),
    ]
    assert [line.run for line in found.history] == [1, 2, 2]
    world.right.user_remove(INBOX, 2)
    assert (await world.run()).in_step
    (found,) = by_id(world, 0)
    assert found.link is None
    assert done(found)[3:] == [("remove", "on left: removed on right"), ("forget", "gone on both sides")]
    assert {one.ends for one in (*by_ref(world, "1", Side.LEFT), *by_ref(world, "2", Side.RIGHT))} == {
        found.ends
    }
    # On either side: two messages.
    assert len(by_ref(world, "1")) == 2


async def test_a_message_that_was_recognised_is_known_by_its_message_id(world: World) -> None:
    for store in (world.left, world.right):
        store.add(INBOX, message(0))
    assert (await world.run()).counts.adopted == 1
    (found,) = by_id(world, 0)
    assert done(found) == [("adopt", "the same message on both sides")]


async def test_a_change_of_numbering_divides_what_was_from_what_is(world: World) -> None:
    for number in range(2):
        world.left.add(INBOX, message(number))
    assert (await world.run()).in_step
    world.left.user_remove(INBOX, 1)
    assert (await world.run()).in_step
    world.right.user_renumbers(INBOX)
    assert (await world.run()).in_step
    # What was number 2 on the right is number 1 now, and that number was another message's.
    now, before = by_id(world, 1)
    assert (now.ends, done(now)[-1][0]) == (((Side.LEFT, 2), (Side.RIGHT, 1)), "adopt")
    assert [line.operation for line in before.history] == ["copy"]
    (one,) = by_ref(world, "1", Side.RIGHT)
    assert one == replace(now, history=one.history)
    assert "<0@sync.example>" not in {line.message_id for line in one.history}
    (gone,) = by_id(world, 0)
    assert [line.operation for line in gone.history] == ["copy", "remove"]


async def test_what_is_open_is_said(world: World) -> None:
    await stall(world)
    await world.run()
    (found,) = by_id(world, 0)
    assert found.ends == ((Side.LEFT, 1), (Side.RIGHT, 1), (Side.RIGHT, 2))
    assert [late.found for late in found.late] == [2]
    assert [one.ref for one in found.waiting] == [2]
    assert [what for what, _ in done(found)] == ["abandon", "copy", "hold"]
    with world.state() as state:
        resolve(state, Decision.REMOVE_EXTRA)
    (found,) = by_id(world, 0)
    assert (found.waiting, done(found)[-1]) == ((), ("decide", "remove-extra"))


async def test_what_was_removed_and_can_be_put_back_is_said(world: World) -> None:
    world.left.add(INBOX, message(0))
    assert (await world.run()).in_step
    world.left.user_remove(INBOX, 1)
    assert (await world.run()).in_step
    (found,) = by_id(world, 0)
    assert [(one.side, one.ref) for one in found.kept] == [(Side.RIGHT, 1)]
    with world.state() as state:
        undone = await undo(world.pair, state, lambda _one: True)
    assert len(undone.restored) == 1
    (found,) = by_id(world, 0)
    assert (found.kept, done(found)[-1]) == ((), ("undo", "on right"))


async def test_a_message_in_two_mailboxes_is_told_twice(world: World) -> None:
    for name in (INBOX, WORK):
        world.left.add(name, message(0))
    assert (await world.run()).in_step
    assert [found.mailbox for found in by_id(world, 0)] == [INBOX, WORK]
    with world.state() as state:
        assert len(explain_message_id(state, "<0@sync.example>", WORK)) == 1


async def test_nothing_is_known_of_what_never_was(world: World) -> None:
    world.left.add(INBOX, message(0))
    await world.run()
    assert by_id(world, 5) == by_ref(world, "7") == by_ref(world, "1.M1P1.host") == []


async def test_mailboxes_that_were_made_and_removed_are_noted(world: World) -> None:
    world.pair = replace(world.pair, policy=Policy(remove_mailboxes=True))
    world.left.user_create(WORK)
    assert (await world.run()).in_step
    world.left.user_remove_mailbox(WORK)
    assert (await world.run()).in_step
    with world.state() as state:
        lines = [(line.operation, line.detail) for line in reversed(state.history(mailbox=WORK))]
    assert lines == [
        ("create-mailbox", "on right: new on left"),
        ("remove-mailbox", "on right: removed on left"),
    ]


async def test_a_mailbox_gone_on_both_sides_is_noted(world: World) -> None:
    for store in (world.left, world.right):
        store.user_create(WORK)
    assert (await world.run()).in_step
    for store in (world.left, world.right):
        store.user_remove_mailbox(WORK)
    assert (await world.run()).in_step
    with world.state() as state:
        assert [line.operation for line in state.history(mailbox=WORK)] == ["forget-mailbox"]
        assert WORK not in state.mailboxes()


@pytest.mark.parametrize(
    ("text", "refs"),
    [
        ("7", (7, "7")),
        ("1234.M5P6.host", ("1234.M5P6.host",)),
        ("1234.M5P6.host:2,FS", ("1234.M5P6.host",)),
        ("/home/me/Mail/cur/1234.M5P6.host;2,", ("1234.M5P6.host",)),
        ("cur/7:2,S", (7, "7")),
        ("٣", ("٣",)),
    ],
)
def test_what_a_person_may_call_a_message(text: str, refs: tuple[Ref, ...]) -> None:
    assert refs_in(text) == refs


def noted(state: State, *notes: Note) -> None:
    """A run with these lines."""
    run = state.begin_run("sync")
    state.commit(INBOX, notes)
    state.end_run(run, "in step", {})


def named(state: State) -> list[str]:
    lines: list[HistoryEntry] = with_message_ids(state, state.history())
    return [line.message_id for line in reversed(lines)]


def test_lines_without_a_message_id_get_that_of_the_same_message(world: World) -> None:
    with world.state() as state:
        noted(state, Note("copy", 1, 11, "", "<1@x>"), Note("copy", 2, 1, "", "<2@x>"))
        noted(state, Note("remove", 1, None, ""), Note("remove", None, 1, ""), Note("remove", None, 99, ""))
        assert named(state) == ["<1@x>", "<2@x>", "<1@x>", "<2@x>", ""]
        noted(state, Note("reset", None, None, ""), Note("remove", 1, None, ""))
        assert named(state)[5:] == ["", ""]
        noted(state, Note("adopt", 1, 5, "", "<3@x>"))
        assert named(state)[5:] == ["", "<3@x>", "<3@x>"]


def test_a_long_chain_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "ENDS_MAX", 5)
    with world.state() as state:
        state.commit(INBOX, [SetValidity(Side.LEFT, "1"), SetValidity(Side.RIGHT, "1")])
        state.commit(INBOX, [AddLink(Link(1, 1, NO_FLAGS))])
        noted(state, *(Note("copy", uid // 2, (uid + 1) // 2, "") for uid in range(2, 100)))
        (found,) = explain_ref(state, INBOX, "1", Side.LEFT)
    assert len(found.ends) == 5
