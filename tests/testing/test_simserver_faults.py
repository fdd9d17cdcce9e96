"""The fault rules of the simulated server: what was done, and what the client got to see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.testing.rawclient import HI, RawClient, data, world

from mailtwin.testing.simfaults import Fault, FaultList, When, cut, reply_no, shorten


async def append(client: RawClient) -> bytes:
    client.send(b"a APPEND INBOX {%d+}\r\n" % len(HI) + HI + b"\r\n")
    return await client.response()


@pytest.mark.parametrize(("when", "stored"), [("before_execution", 2), ("executed_before_reply", 3)])
async def test_cut_at_the_third_append(when: str, stored: int) -> None:
    async with world(faults=[cut(after_command="APPEND", nth=3, when=when)]) as made:
        client = await made.login("INBOX")
        for _ in range(2):
            assert data([await append(client)], b"EXISTS")
            assert (await client.response()).endswith(b"RECENT")
            assert (await client.response()).startswith(b"a OK")
        client.send(b"a APPEND INBOX {%d+}\r\n" % len(HI) + HI + b"\r\n")
        assert await client.rest() == b""
        assert len(made.inbox) == stored
        again = await made.login("INBOX")
        assert data([await append(again)], b"EXISTS")


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("UID STORE 1 +FLAGS (\\Deleted)", "STORE"),
        ("UID STORE 1 +FLAGS (\\Deleted)", "UID STORE"),
        ("STORE 1 +FLAGS (\\Deleted)", "STORE"),
        ("EXPUNGE", "EXPUNGE"),
        ("UID MOVE 1:2 A", "MOVE"),
        ("CREATE B", "CREATE"),
    ],
)
async def test_cut_after_the_effect(command: str, rule: str) -> None:
    async with world(bodies=[HI] * 2, faults=[cut(rule)]) as made:
        made.account.create("A")
        made.account["INBOX"].set_flags(2, ["\\Deleted"])
        client = await made.login("INBOX")
        assert await client.command(command) == [b""]
        inbox = made.account["INBOX"]
        assert {
            "STORE": 1 in inbox and "\\Deleted" in inbox[1].flags,
            "EXPUNGE": made.inbox == [1],
            "MOVE": made.inbox == [],
            "CREATE": "B" in made.account,
        }[rule.removeprefix("UID ")]


async def test_a_rule_for_the_uid_form_does_not_count_the_other() -> None:
    async with world(bodies=[HI], faults=[cut("UID FETCH")]) as made:
        client = await made.login("INBOX")
        assert len(await client.command("FETCH 1 UID")) == 2
        assert await client.command("UID FETCH 1 UID") == [b""]


async def test_cut_in_the_middle_of_a_body() -> None:
    async with world(bodies=[b"x" * 1000], faults=[cut("FETCH", when=When.MID_REPLY)]) as made:
        client = await made.login("INBOX")
        client.send(b"a UID FETCH 1 BODY.PEEK[]\r\n")
        seen = await client.rest()
        assert seen.startswith(b"* 1 FETCH (UID 1 BODY[] {1000}\r\nxxx")
        assert len(seen) < 600


async def test_cut_while_idling() -> None:
    async with world(faults=[cut("IDLE")]) as made:
        client = await made.login("INBOX")
        client.send(b"a IDLE\r\n")
        assert (await client.response()).startswith(b"+")
        client.send(b"DONE\r\n")
        assert await client.rest() == b""


async def test_reply_no_without_the_effect() -> None:
    async with world(bodies=[HI], faults=[reply_no("STORE", 2, "LIMIT", times=2)]) as made:
        client = await made.login("INBOX")
        replies = [(await client.command(f"STORE 1 FLAGS (k{n})"))[-1][:13] for n in range(4)]
        assert replies == [b"T3 OK Stored", b"T4 NO [LIMIT]", b"T5 NO [LIMIT]", b"T6 OK Stored"]
        assert made.account["INBOX"][1].flags == {"k3"}


async def test_reply_no_with_the_effect() -> None:
    async with world(faults=[reply_no("APPEND", when=When.EXECUTED)]) as made:
        client = await made.login()
        assert b"T2 NO Refused" in (await client.command("APPEND INBOX", HI))[-1]
        assert made.inbox == [1]


async def test_a_short_answer_that_says_ok() -> None:
    async with world(bodies=[HI] * 9, faults=[shorten("FETCH", keep=4), shorten("SEARCH")]) as made:
        client = await made.login("INBOX")
        answer = await client.command("UID FETCH 1:* UID")
        assert (len(answer), answer[-1]) == (5, b"T3 OK Fetched")
        assert await client.command("UID SEARCH ALL") == [b"T4 OK Searched"]
        assert len(await client.command("UID FETCH 1:* UID")) == 10


async def test_rules_added_while_running_count_from_then() -> None:
    async with world() as made:
        client = await made.login()
        await client.command("NOOP")
        made.server.faults.add(cut("NOOP", nth=2))
        assert len(await client.command("NOOP")) == 1
        assert await client.command("NOOP") == [b""]


async def test_drop_connections() -> None:
    async with world() as made:
        client = await made.login()
        made.server.drop_connections()
        assert await client.rest() == b""
        assert b" OK" in (await (await made.login()).command("NOOP"))[-1]


def test_the_first_rule_that_is_due_wins_and_all_count() -> None:
    faults = FaultList([cut("NOOP", nth=2), reply_no("NOOP", nth=1, times=2), cut("NOOP", nth=3)])
    due = [faults.next("NOOP") for _ in range(4)]
    assert [fault and (fault.cuts, fault.refuses) for fault in due] == [
        (False, True),
        (True, False),
        (True, False),
        None,
    ]
    faults.clear()
    assert faults.next("NOOP") is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: cut("NOOP", nth=0),
        lambda: cut("NOOP", when="never"),
        lambda: shorten("FETCH", keep=-1),
        lambda: reply_no("NOOP", when=When.MID_REPLY),
    ],
)
def test_rules_that_cannot_be(make: Callable[[], Fault]) -> None:
    with pytest.raises(ValueError):
        make()
