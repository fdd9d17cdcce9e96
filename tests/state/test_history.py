"""Runs and what was done in them: findable, and bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailtwin.model import INBOX, MailboxName, Ref
from mailtwin.state import HistoryEntry, Note, RunRecord, State
from mailtwin.state import state as module

LISTS = MailboxName(("Lists",))


def test_a_run_tells_when_it_was_and_how_it_ended(state: State) -> None:
    run = state.begin_run("sync")
    state.commit(INBOX, [Note("copy", 1, "a", "new on the left", "<1@x>")])
    assert state.runs() == [RunRecord(run, "sync", 1001.0, None, None, {})]
    assert state.history() == [HistoryEntry(run, 1002.0, INBOX, "copy", 1, "a", "new on the left", "<1@x>")]
    state.end_run(run, "in step", {"copied": 1})
    assert state.runs() == [RunRecord(run, "sync", 1001.0, 1003.0, "in step", {"copied": 1})]


def test_what_is_done_outside_of_a_run_is_noted_too(state: State) -> None:
    state.commit(INBOX, [Note("resolve", 1, None, "by hand")])
    assert [line.run for line in state.history()] == [None]


def test_a_run_that_was_killed_is_called_interrupted_by_the_next(open_state: Callable[[], State]) -> None:
    state = open_state()
    state.begin_run("sync")
    state.add_mailbox(INBOX)
    state.close()
    state = open_state()
    run = state.begin_run("sync")
    assert [each.outcome for each in state.runs()] == [None]
    state.end_run(run, "in step", {})
    assert [(each.outcome, each.ended is None) for each in state.runs()] == [
        ("in step", False),
        ("interrupted", True),
    ]


def test_a_run_that_changes_nothing_costs_one_write(path: Path) -> None:
    calls: list[int] = []
    with State.open(path, left="l", right="r", now=lambda: 0.0, on_commit=lambda: calls.append(1)) as state:
        run = state.begin_run("sync")
        state.base(INBOX)
        state.end_run(run, "in step", {})
        assert len(calls) == 2  # before and after that one
        assert len(state.runs()) == 1


@pytest.mark.parametrize(
    ("wanted", "details"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"limit": 2}, ["d", "c"]),
        ({"mailbox": INBOX}, ["c", "a"]),
        ({"ref": 7}, ["c", "a"]),
        ({"ref": "7"}, ["d"]),
        ({"ref": "\udce4"}, ["b"]),
        ({"message_id": "<1@x>"}, ["d", "a"]),
        ({"run": 1}, ["a"]),
        ({"mailbox": LISTS, "message_id": "<1@x>"}, ["d"]),
        ({"mailbox": MailboxName(("None",))}, []),
    ],
)
def test_history_is_findable(state: State, wanted: dict[str, object], details: list[str]) -> None:
    lines: list[tuple[MailboxName, Ref | None, Ref | None, str, str]] = [
        (INBOX, 7, "x", "a", "<1@x>"),
        (LISTS, 1, "\udce4", "b", ""),
        (INBOX, None, 7, "c", "<2@x>"),
        (LISTS, 2, "7", "d", "<1@x>"),
    ]
    for name, left, right, detail, message_id in lines:
        run = state.begin_run("sync")
        state.commit(name, [Note("copy", left, right, detail, message_id)])
        state.end_run(run, "ok", {})
    assert [line.detail for line in state.history(**wanted)] == details  # type: ignore[arg-type]


def test_a_line_of_history_has_a_limit(state: State) -> None:
    state.commit(INBOX, [Note("copy", 1, 2, "x" * 10_000, "y" * 10_000)])
    (line,) = state.history()
    assert (len(line.detail), len(line.message_id)) == (2_000, 1_000)


def test_only_the_last_runs_are_kept(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_MAX", 3)
    for number in range(1, 6):
        run = state.begin_run("sync")
        notes = [Note("copy", number, each, "") for each in range(number % 3)]
        state.commit(INBOX, notes)
        state.end_run(run, "ok", {})
    assert [run.run for run in state.runs()] == [5, 4, 3]
    assert {line.run for line in state.history()} == {5, 4}  # the third run did nothing


def test_the_numbers_of_pruned_lines_are_not_used_again(
    open_state: Callable[[], State], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUNS_MAX", 1)
    for number in range(1, 5):
        state = open_state()
        run = state.begin_run("sync")
        state.commit(INBOX, [Note("copy", number, None, "")] * (number % 2))
        state.end_run(run, "ok", {})
        assert [line.left for line in state.history()] == [number] * (number % 2)
        state.close()


def test_only_so_many_lines_are_kept(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTES_MAX", 5)
    run = state.begin_run("sync")
    state.commit(INBOX, [Note("copy", uid, None, "") for uid in range(20)])
    assert len(state.history()) == 20
    state.end_run(run, "ok", {})
    assert [line.left for line in state.history()] == [19, 18, 17, 16, 15]


def test_a_forgotten_mailbox_goes_with_its_last_line(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTES_MAX", 1)
    state.commit(LISTS, [Note("copy", 1, 2, "")])
    state.forget_mailbox(LISTS)
    assert len(state.history(mailbox=LISTS)) == 1
    run = state.begin_run("sync")
    state.commit(INBOX, [Note("copy", 1, 2, "")])
    state.end_run(run, "ok", {})
    assert [line.mailbox for line in state.history()] == [INBOX]
    assert state._connection.execute("SELECT name FROM mailboxes").fetchall() == [("INBOX",)]
