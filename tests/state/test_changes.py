"""Random sequences of commits against a model in dictionaries; what is written is read, also after opening anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.state.strategies import CHANGES, FLAGS, REFS, SIDES, ContradictionError, Model, exact, plain

from mailtwin.model import INBOX, NO_FLAGS, Flags, MailboxName, Ref, Side, make_flags
from mailtwin.planner.operations import Base, CopyIntent, Link, StoreIntent
from mailtwin.state import (
    AddCopy,
    AddLink,
    AddStore,
    Change,
    DropLink,
    ForgetAll,
    Note,
    SaveSighting,
    SaveSnapshot,
    SetFlags,
    SetValidity,
    Sighting,
    Snapshot,
    State,
)

SEEN = make_flags(["\\Seen"])
NAMES = [INBOX, MailboxName(("a/b\\", "Grüße")), MailboxName(("\udce4", "\0"))]


def opened(path: Path) -> State:
    return State.open(path, left="left", right="right", now=lambda: 5.0)


def assert_holds(state: State, model: Model, name: MailboxName) -> None:
    base, expected = plain(state.base(name)), model.base()
    assert base == expected
    assert exact(base) == exact(expected)
    assert {side: state.snapshot(name, side) for side in Side} == {
        side: model.snapshots.get(side) for side in Side
    }
    rows = state.uncopied(name, suspects=True)
    assert {(one.side, one.ref): replace(one, mailbox=INBOX) for one in rows} == model.uncopied
    assert state.uncopied(name) == [one for one in rows if one.attempts]
    sightings = [state.sighting(name, side) for side in Side]
    assert [astuple(one) if one else None for one in sightings] == [
        astuple(one) if (one := model.sightings.get(side)) else None for side in Side
    ]
    held = {one.side: replace(one, mailbox=INBOX) for one in state.held(name)}
    assert held == model.held
    facts = [
        (copy.intent, copy.size, copy.sha256, copy.message_id, copy.begun) for copy in state.copies(name)
    ]
    wanted = [(copy.intent, copy.size, copy.sha256, copy.message_id, 5.0) for copy in model.copies.values()]
    assert sorted(facts, key=repr) == sorted(wanted, key=repr)
    notes = [
        Note(line.operation, line.left, line.right, line.detail, line.message_id)
        for line in reversed(state.history(mailbox=name))
    ]
    assert notes == model.notes


def assert_counts(state: State, models: dict[MailboxName, Model]) -> None:
    records = state.mailboxes()
    for name, record in records.items():
        model = models[name]
        assert record.links == len(model.links)
        assert record.intents == len(model.copies) + len(model.stores) + len(model.removals)
        assert [record.validity(side) for side in Side] == [model.validities.get(side) for side in Side]
        cursors = [record.cursor(side) for side in Side]
        assert cursors == [snapshot and snapshot.cursor for snapshot in map(model.snapshots.get, Side)]
    assert state.has_links() == any(model.links for model in models.values())


COMMITS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.lists(CHANGES, max_size=12), st.booleans()), max_size=10
)


@settings(max_examples=150, deadline=None)
@given(COMMITS)
def test_the_state_does_what_the_model_does(commits: list[tuple[MailboxName, list[Change], bool]]) -> None:
    models = {name: Model() for name in NAMES}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        state = opened(path)
        for name, changes, reopen in commits:
            try:
                models[name] = models[name].apply(changes)
            except ContradictionError:
                with pytest.raises(AssertionError, match="contradicts"):
                    state.commit(name, changes)
            else:
                state.commit(name, changes)
            if reopen:
                state.close()
                state = opened(path)
            for each, model in models.items():
                assert_holds(state, model, each)
            assert_counts(state, models)
        state.close()


@given(st.dictionaries(REFS, FLAGS), st.dictionaries(REFS, st.tuples(REFS, FLAGS)), SIDES)
def test_a_snapshot_rebuilds_the_listing(
    seen: dict[Ref, Flags], agreed: dict[Ref, tuple[Ref, Flags]], side: Side
) -> None:
    links = [
        Link(ref, twin, flags) if side is Side.LEFT else Link(twin, ref, flags)
        for ref, (twin, flags) in agreed.items()
    ]
    snapshot = Snapshot.of(side, "cursor", seen, links)
    assert snapshot.listing(links) == seen


def test_a_snapshot_of_a_mailbox_in_step_holds_nothing() -> None:
    links = [Link(uid, uid + 100, SEEN) for uid in range(1, 50)]
    assert not Snapshot.of(Side.LEFT, "c", {link.left: SEEN for link in links}, links).deviations


def test_an_integer_and_its_digits_are_two_messages(state: State) -> None:
    links = [Link(7, "7", SEEN), Link("7", 7, NO_FLAGS)]
    state.commit(INBOX, map(AddLink, links))
    state.commit(INBOX, [DropLink(links[1])])
    assert exact(state.base(INBOX)) == [(7, "7", SEEN)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Link(1, 2, SEEN), Link(1, 3, SEEN)),
        (Link(1, 2, SEEN), Link(4, 2, SEEN)),
        (Link(1, 2, SEEN), Link(1, 2, SEEN)),
    ],
)
def test_a_contradicting_agreement_is_refused_with_its_whole_commit(
    state: State, first: Link, second: Link
) -> None:
    state.commit(INBOX, [AddLink(first)])
    with pytest.raises(AssertionError, match="contradicts"):
        state.commit(INBOX, [Note("x", 1, 2, "y"), AddLink(Link(8, 8, SEEN)), AddLink(second)])
    assert exact(state.base(INBOX)) == [(first.left, first.right, SEEN)]
    assert not state.history()
    assert state.check() == [
        "mailbox INBOX has agreements without the numbering that their messages belong to"
    ]


def test_an_agreement_may_be_replaced_in_one_commit(state: State) -> None:
    old, new = Link(1, 2, SEEN), Link(1, 3, NO_FLAGS)
    state.commit(INBOX, [AddLink(old)])
    state.commit(INBOX, [DropLink(old), AddLink(new), SetFlags(new, SEEN)])
    assert exact(state.base(INBOX)) == [(1, 3, SEEN)]
    assert state.mailboxes()[INBOX].links == 1


def test_the_end_of_an_agreement_ends_its_flag_change_and_the_snapshots(state: State) -> None:
    link = Link(1, 2, SEEN)
    store = StoreIntent(1, 2, Side.LEFT, SEEN, NO_FLAGS, SEEN)
    saves = [SaveSnapshot(Snapshot(side, "c")) for side in Side]
    state.commit(INBOX, [AddLink(link), AddStore(store), *saves])
    state.commit(INBOX, [DropLink(link)])
    assert state.base(INBOX).stores == ()
    assert [state.snapshot(INBOX, side) for side in Side] == [None, None]
    state.commit(INBOX, [AddLink(link)])
    state.commit(INBOX, [saves[0], DropLink(link)])
    assert state.snapshot(INBOX, Side.LEFT) == Snapshot(Side.LEFT, "c")


@pytest.mark.parametrize("change", [AddLink(Link(3, 4, SEEN)), SetFlags(Link(1, 2, SEEN), NO_FLAGS)])
def test_a_snapshot_does_not_outlive_the_agreements_that_it_was_made_with(
    state: State, change: Change
) -> None:
    saves = [SaveSnapshot(Snapshot(side, "c", {9: SEEN})) for side in Side]
    state.commit(INBOX, [AddLink(Link(1, 2, SEEN)), *saves])
    state.commit(INBOX, [SetFlags(Link(5, 6, SEEN), NO_FLAGS)])
    assert [state.snapshot(INBOX, side) for side in Side] == [save.snapshot for save in saves]
    state.commit(INBOX, [change])
    assert [state.snapshot(INBOX, side) for side in Side] == [None, None]
    state.commit(INBOX, [DropLink(Link(1, 2, SEEN)), saves[0]])
    assert state.snapshot(INBOX, Side.LEFT) == saves[0].snapshot


def test_it_is_counted_how_long_listings_rest_on_changes(path: Path) -> None:
    now = 1000.0
    with State.open(path, left="l", right="r", now=lambda: now) as state:
        told: list[tuple[float, int] | None] = []
        for step_s, whole in ((0, False), (10, True), (20, False), (30, False), (40, True)):
            now = 1000.0 + step_s
            state.commit(INBOX, [SaveSighting(Side.LEFT, Sighting(step_s), whole)])
            seen = state.sighting(INBOX, Side.LEFT)
            assert seen == Sighting(step_s)
            told.append((seen.whole, seen.changed))
        assert told == [(0, 1), (1010, 0), (1010, 1), (1010, 2), (1040, 0)]
        state.commit(INBOX, [ForgetAll()])
        assert state.sighting(INBOX, Side.LEFT) is None


@pytest.mark.parametrize("fails_at", [3, 4], ids=["before it is written", "after it was written"])
def test_after_a_commit_that_failed_the_agreements_are_those_of_the_file(path: Path, fails_at: int) -> None:
    calls = 0

    def on_commit() -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise KeyboardInterrupt

    with State.open(path, left="left", right="right", now=lambda: 5.0, on_commit=on_commit) as state:
        state.commit(INBOX, [AddLink(Link(1, 2, SEEN)), AddLink(Link(3, 4, SEEN))])
        assert len(state.base(INBOX).links) == 2
        with pytest.raises(KeyboardInterrupt):
            state.commit(INBOX, [DropLink(Link(1, 2, SEEN)), SetFlags(Link(3, 4, SEEN), NO_FLAGS)])
        kept = exact(state.base(INBOX))
    with opened(path) as state:
        assert kept == exact(state.base(INBOX))
    assert len(kept) == (2 if fails_at == 3 else 1)


def test_a_forgotten_mailbox_leaves_only_its_history(state: State) -> None:
    intent = CopyIntent(Side.LEFT, 5, NO_FLAGS, "1")
    validities = [SetValidity(Side.LEFT, "1"), SetValidity(Side.RIGHT, "1")]
    state.commit(
        INBOX, [*validities, AddLink(Link(1, 2, SEEN)), AddCopy(intent, 1, "", ""), Note("copy", 1, 2, "why")]
    )
    state.forget_mailbox(INBOX)
    assert not state.mailboxes()
    assert state.mentioned_mailboxes() == {INBOX}
    assert not state.has_links()
    assert state.base(INBOX) == Base()
    assert [line.detail for line in state.history(mailbox=INBOX)] == ["why"]
    assert state.check() == []
    state.add_mailbox(INBOX)
    state.add_mailbox(INBOX)
    assert list(state.mailboxes()) == [INBOX]
    assert state.base(INBOX) == Base()


def test_an_unknown_mailbox_has_an_empty_base(state: State) -> None:
    assert state.base(INBOX) == Base()
    assert state.snapshot(INBOX, Side.LEFT) is None
    assert not state.mailboxes()


def test_mailboxes_do_not_touch_each_other(open_state: Callable[[], State]) -> None:
    state = open_state()
    other = MailboxName(("Other",))
    for name in (INBOX, other):
        state.commit(name, [AddLink(Link(1, 2, SEEN)), SaveSnapshot(Snapshot(Side.LEFT, str(name)))])
    state.commit(INBOX, [ForgetAll()])
    assert state.mailboxes()[INBOX].links == 0
    assert exact(state.base(other)) == [(1, 2, SEEN)]
    assert state.snapshot(other, Side.LEFT) == Snapshot(Side.LEFT, "Other")


def test_an_empty_commit_writes_nothing(path: Path) -> None:
    writes: list[int] = []
    with State.open(path, left="l", right="r", now=lambda: 0.0, on_commit=lambda: writes.append(1)) as state:
        state.commit(INBOX, [])
        assert not writes
        assert not state.mailboxes()
