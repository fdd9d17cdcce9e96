"""Servers that hold something else than they were sent: another message of its Message-ID, or it rendered anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.engine.test_label_accounts import account
from tests.engine.test_placing import plain

from mailtwin.engine import Pair, sync
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, MailboxName, make_flags
from mailtwin.state import State
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.memory import MemoryStore
from mailtwin.testing.simserver import SimServer

WORK = MailboxName(("Work",))
FIRST = b"Message-ID: <a@x>\r\nSubject: first\r\n\r\none\r\n"
SECOND = b"Message-ID: <a@x>\r\nSubject: second\r\n\r\nanother text\r\n"


async def run(left: MemoryStore | MaildirStore, server: SimServer, state: Path) -> RunReport:
    """One run of `left` with the account."""

    async def no_sleep(_seconds: float) -> None:
        """Time does not matter here."""

    pair = Pair(left, plain(server), sleep=no_sleep)
    opened = State.open(state, left=pair.left.address, right=pair.right.address, now=time.time)
    try:
        return await sync(pair, opened)
    finally:
        opened.close()


async def test_another_message_of_the_same_message_id_is_told(tmp_path: Path) -> None:
    left = MemoryStore("left")
    left.add(INBOX, FIRST)
    left.add(WORK, SECOND)
    async with account() as (server, made):
        for _again in range(2):
            report = await run(left, server, tmp_path / "state.db")
            assert not report.in_step
            assert "another message with the same Message-ID" in str(report.problems[0].error.message)
        assert {message.body for name in ("INBOX", "Work") for message in made[name]} == {FIRST}
    assert SECOND in {message.data for message in left.contents(WORK).values()}, "nothing is lost"
    assert len(left.contents(INBOX)) == 1
    assert sorted(message.data for message in left.contents(WORK).values()) == [FIRST, SECOND], (
        "and what the server has there is here, too"
    )


@pytest.mark.parametrize("flags", [["\\Seen"], ["\\Seen", "\\Answered"], []])
async def test_flags_of_a_message_that_was_there_are_merged(flags: list[str], tmp_path: Path) -> None:
    left = MemoryStore("left")
    uid = left.add(WORK, FIRST, make_flags(flags))
    async with account() as (server, made):
        made["INBOX"].append(FIRST, ["\\Flagged"])
        report = await run(left, server, tmp_path / "state.db")
        assert report.in_step, report.problems
        wanted = make_flags([*flags, "\\Flagged"])
        assert left.contents(WORK)[uid].flags == wanted
        assert {frozenset(message.flags) for message in made["Work"]} == {wanted}
        assert server.counts["APPEND"] == 1


async def test_what_a_server_rendered_anew_is_known_again_when_it_is_numbered_anew(tmp_path: Path) -> None:
    left, right = MemoryStore("left"), MemoryStore("right")
    letter = b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\ntext\r\n"
    for number in range(5):
        left.add(INBOX, letter % (number, number))

    async def sync_once() -> RunReport:
        state = State.open(tmp_path / "state.db", left="left", right="right", now=time.time)
        try:
            return await sync(Pair(left, right), state)
        finally:
            state.close()

    assert (await sync_once()).in_step
    for uid, message in right.contents(INBOX).items():
        right.user_rots(INBOX, uid, message.data + b"-- \r\nwith a footer\r\n")
    right.user_renumbers(INBOX)
    report = await sync_once()
    assert report.in_step, report.problems
    assert report.counts.adopted == 5
    assert len(left.contents(INBOX)) == len(right.contents(INBOX)) == 5
    # From now on a message of the same headers is one of its own again.
    left.add(INBOX, letter % (9, 9))
    right.add(INBOX, letter % (9, 9) + b"footer\r\n")
    assert (await sync_once()).in_step
    assert len(left.contents(INBOX)) == len(right.contents(INBOX)) == 7
