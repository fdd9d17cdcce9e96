"""What was read of a message is remembered, decides nothing, and goes with its mailbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailtwin.model import INBOX, NO_FLAGS, MailboxName, Ref, Side
from mailtwin.planner.operations import Link
from mailtwin.state import AddLink, Digest, DropDigests, ForgetAll, Note, SaveDigests, SetValidity, State
from mailtwin.state import state as module

LISTS = MailboxName(("Lists",))


def digest(number: int, stamp: str = "1:7") -> Digest:
    return Digest(stamp, f"{number:064x}", number, "ab" * 16, f"<{number}@x>")


def test_digests_are_kept_by_side_and_ref(open_state: Callable[[], State]) -> None:
    state = open_state()
    refs: dict[Ref, Digest] = {7: digest(1), "7": digest(2), "\udce4": digest(3)}
    state.annotate(INBOX, [SaveDigests(Side.LEFT, refs), SaveDigests(Side.RIGHT, {7: digest(4)})])
    state.close()
    state = open_state()
    assert state.digests(INBOX, Side.LEFT) == refs
    assert state.digests(INBOX, Side.RIGHT) == {7: digest(4)}
    assert state.digests(LISTS, Side.LEFT) == {}


def test_a_later_reading_replaces_an_earlier_one(state: State) -> None:
    state.annotate(INBOX, [SaveDigests(Side.LEFT, {7: digest(1), 8: digest(2)})])
    state.annotate(INBOX, [SaveDigests(Side.LEFT, {7: digest(3, "2:7")}), DropDigests(Side.LEFT, [8, 9])])
    assert state.digests(INBOX, Side.LEFT) == {7: digest(3, "2:7")}


def test_remarks_make_nothing_known(state: State) -> None:
    state.annotate(INBOX, [SaveDigests(Side.LEFT, {7: digest(1)}), Note("create-mailbox", None, None, "")])
    assert state.mailboxes() == {}
    assert state.check() == []
    state.add_mailbox(INBOX)
    state.annotate(INBOX, [DropDigests(Side.LEFT, [7])])
    assert list(state.mailboxes()) == [INBOX]
    state.annotate(LISTS, [])
    assert list(state.mailboxes()) == [INBOX]


def test_they_outlive_a_change_of_numbering_and_not_their_mailbox(state: State) -> None:
    state.commit(INBOX, [SetValidity(side, "1") for side in Side] + [AddLink(Link(7, 7, NO_FLAGS))])
    state.annotate(INBOX, [SaveDigests(Side.LEFT, {7: digest(1)})])
    state.commit(INBOX, [SaveDigests(Side.LEFT, {8: digest(2)}), ForgetAll()])
    assert sorted(state.digests(INBOX, Side.LEFT), key=str) == [7, 8]
    state.forget_mailbox(INBOX)
    assert state.digests(INBOX, Side.LEFT) == {}


def test_they_go_with_the_last_line_about_an_unknown_mailbox(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTES_MAX", 1)
    state.annotate(LISTS, [SaveDigests(Side.LEFT, {7: digest(1)}), Note("create-mailbox", None, None, "")])
    run = state.begin_run("sync")
    state.commit(INBOX, [Note("copy", 1, 2, "")])
    state.end_run(run, "in step", {})
    assert state.digests(LISTS, Side.LEFT) == {}
    assert state.check() == []


def test_messages_are_found_by_message_id(state: State) -> None:
    state.commit(INBOX, [Note("copy", 1, "a", "", "<1@x>"), Note("copy", 2, "b", "", "<2@x>")])
    state.annotate(LISTS, [SaveDigests(Side.RIGHT, {5: digest(1)})])
    assert state.named("<1@x>") == {(INBOX, Side.LEFT, 1), (INBOX, Side.RIGHT, "a"), (LISTS, Side.RIGHT, 5)}
    state.commit(INBOX, [Note("reset", None, None, "")])
    assert state.named("<1@x>") == {(LISTS, Side.RIGHT, 5)}
    assert state.named("<2@x>") == set()
