"""Each rule of the fault proxy, as a foreign client sees it: `imaplib` in a thread, a simulated server behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import imaplib
import re
import socket
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

from mailtwin.testing.faultproxy import (
    CONNECTION,
    AddCode,
    Answer,
    Curtail,
    Cut,
    CutAtByte,
    Duplicate,
    FaultProxy,
    HideNew,
    HoldBack,
    Inject,
    Kill,
    Recreate,
    Reorder,
    Rule,
    Shorten,
    Stall,
    StripCapabilities,
    StripCodes,
    SwapUids,
    Throttle,
    When,
)
from mailtwin.testing.manners import PLAIN, Manners
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

T = TypeVar("T")
BODY = b"Subject: hi\r\n\r\n" + b"hello world\r\n" * 40
APPEND = ("APPEND",)
ENDED = (imaplib.IMAP4.abort, OSError)


@dataclass(frozen=True, slots=True)
class World:
    proxy: FaultProxy
    account: SimAccount

    @property
    def uids(self) -> list[int]:
        return self.account["INBOX"].uids()

    async def do(self, act: Callable[[imaplib.IMAP4], T], *, wait_s: float = 20) -> T:
        """What `act` makes of a client that has logged in and selected INBOX."""

        def work() -> T:
            client = imaplib.IMAP4("127.0.0.1", self.proxy.port, timeout=wait_s)
            try:
                client.login("alice", "secret")
                client.select()
                return act(client)
            finally:
                client.shutdown()

        return await asyncio.to_thread(work)


@asynccontextmanager
async def world(
    *rules: Rule, messages: int = 3, manners: Manners = PLAIN, seed: int = 1
) -> AsyncIterator[World]:
    mail = SimMail()
    account = mail.add_account("alice", "secret")
    for _ in range(messages):
        account["INBOX"].append(BODY)
    async with (
        SimServer(mail, manners) as server,
        FaultProxy(server.port, account=("alice", "secret")) as proxy,
    ):
        proxy.arm(rules, seed)
        yield World(proxy, account)


def append(client: imaplib.IMAP4) -> bytes:
    """The text of the answer."""
    word, (text,) = client.append("INBOX", "", "", BODY)
    return word.encode() + b" " + bytes(text)


def fetch(client: imaplib.IMAP4) -> list[bytes]:
    _, found = client.uid("FETCH", "1:*", "(FLAGS)")
    return [line for line in found if isinstance(line, bytes)]


def raw(port: int, *lines: bytes) -> bytes:
    """What comes, to the end of the stream, when these lines are sent at once."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n" + b"".join(lines) + b"z LOGOUT\r\n")
        seen = b""
        while data := sock.recv(65536):
            seen += data
        return seen


async def wire(here: World, *lines: bytes) -> list[bytes]:
    """The lines that come after the one that opened the mailbox."""
    seen = await asyncio.to_thread(raw, here.proxy.port, *lines)
    return re.split(rb"\r\nb [^\r]*\r\n", seen, maxsplit=1)[1].split(b"\r\n")


async def test_without_rules_bytes_pass_as_they_are() -> None:
    async with world() as here:
        assert (await here.do(append)).startswith(b"OK [APPENDUID")
        _, parts = await here.do(lambda client: client.uid("FETCH", "4", "(BODY.PEEK[])"))
        assert parts[0][1] == BODY
        assert here.proxy.fired == []
        assert here.proxy.passed["APPEND"] == 1


@pytest.mark.parametrize(
    ("when", "stored"),
    [(When.BEFORE, 0), (When.IN_LITERAL, 0), (When.EXECUTED, 1), (When.MID_REPLY, 1)],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_cut(when: When, stored: int, reset: bool) -> None:
    async with world(Rule(Cut(reset), APPEND, when, nth=2)) as here:

        def act(client: imaplib.IMAP4) -> None:
            append(client)
            with pytest.raises(ENDED):
                append(client)

        await here.do(act)
        await here.proxy.at_rest()
        assert len(here.uids) == 4 + stored
        assert [fired.event for fired in here.proxy.fired] == ["APPEND 1 literals"]
        await here.do(append)


async def test_cut_in_the_middle_of_a_literal() -> None:
    async with world(Rule(Cut(), ("FETCH",), When.MID_REPLY)) as here:
        seen = await asyncio.to_thread(raw, here.proxy.port, b"c UID FETCH 1 BODY.PEEK[]\r\n")
        assert seen.endswith(BODY[: len(BODY) // 2])


@pytest.mark.parametrize("to_server", [False, True])
async def test_cut_at_byte(to_server: bool) -> None:
    async with world(Rule(CutAtByte(30, to_server))) as here:
        if to_server:
            with pytest.raises(ENDED):
                await here.do(append)
        else:
            assert len(await asyncio.to_thread(raw, here.proxy.port)) == 30
        assert await here.do(fetch)


async def test_kill() -> None:
    killed: list[bool] = []
    async with world(Rule(Kill(), ("STORE",), When.EXECUTED)) as here:
        here.proxy.kill = lambda: killed.append(True)
        with pytest.raises(ENDED):
            await here.do(lambda client: client.uid("STORE", "1", "+FLAGS", "(\\Seen)"))
        assert killed == [True]
        assert "\\Seen" in here.account["INBOX"][1].flags


@pytest.mark.parametrize("when", list(When))
async def test_a_stall_for_good_ends_with_the_client(when: When) -> None:
    async with world(Rule(Stall(), APPEND, when)) as here:
        with pytest.raises(TimeoutError):
            await here.do(append, wait_s=0.3)
        await here.proxy.at_rest()
        assert await here.do(fetch)


@pytest.mark.parametrize("when", list(When))
async def test_after_a_short_stall_all_goes_on(when: When) -> None:
    async with world(Rule(Stall(0.05), APPEND, when)) as here:
        assert (await here.do(append)).startswith(b"OK")
        assert len(here.uids) == 4
        assert len(here.proxy.fired) == 1


async def test_hold_back() -> None:
    async with world(Rule(HoldBack(0.2), APPEND)) as here:
        with pytest.raises(ENDED):
            await here.do(append)
        assert len(here.uids) == 3
        await here.proxy.at_rest()
        assert len(here.uids) == 4


async def left_open() -> list[str]:
    """What the collector of garbage says about connections that nobody closed."""
    await asyncio.sleep(0.05)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gc.collect()
    return [str(each.message) for each in told if "unclosed" in str(each.message)]


@pytest.mark.parametrize(
    "rule", [Rule(HoldBack(60), APPEND), Rule(Stall(), APPEND)], ids=["held back", "stalled"]
)
async def test_a_proxy_that_is_left_leaves_no_connection_open(rule: Rule) -> None:
    """An open one would be told of at the next collection of garbage: as an error, or as that of another test."""

    async def leave() -> None:
        async with world(rule) as here:
            with pytest.raises(ENDED):
                await here.do(append, wait_s=0.3)

    await leave()
    assert await left_open() == []


async def test_sessions_that_are_cancelled_leave_no_connection_open() -> None:
    """As those of a program that ends in the middle are."""

    async def leave() -> None:
        async with world() as here:
            reader, writer = await asyncio.open_connection("127.0.0.1", here.proxy.port)
            assert (await reader.readline()).startswith(b"* OK")
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            assert await reader.read() == b""
            writer.transport.abort()

    with contextlib.suppress(asyncio.CancelledError):  # that of the session
        await leave()
    assert await left_open() == []


@pytest.mark.parametrize(("when", "stored"), [(When.BEFORE, 3), (When.EXECUTED, 4)])
async def test_answer_no(when: When, stored: int) -> None:
    async with world(Rule(Answer("NO", "LIMIT", "not now"), APPEND, when)) as here:
        assert await here.do(append) == b"NO [LIMIT] not now"
        assert len(here.uids) == stored


async def test_answer_bad_and_bye() -> None:
    rules = Rule(Answer("BAD"), ("STORE",)), Rule(Answer("BYE", None, "Session expired"), ("SEARCH",))
    async with world(*rules) as here:
        with pytest.raises(imaplib.IMAP4.error, match="Refused by the fault plan"):
            await here.do(lambda client: client.uid("STORE", "1", "+FLAGS", "(\\Seen)"))
        with pytest.raises(ENDED, match="Session expired"):
            await here.do(lambda client: client.uid("SEARCH", "ALL"))


async def test_a_greeting_that_refuses() -> None:
    async with world(Rule(Answer("BYE", "UNAVAILABLE", "later"))) as here:
        with pytest.raises((*ENDED, imaplib.IMAP4.error), match="later"):
            await here.do(append)
        assert await here.do(append)


async def test_strip_capabilities_everywhere() -> None:
    rules = Rule(StripCapabilities(("UIDPLUS", "LIST-*")), times=None)
    async with world(rules) as here:
        seen = await asyncio.to_thread(raw, here.proxy.port, b"c CAPABILITY\r\n")
        lists = re.findall(rb"CAPABILITY IMAP4[^\]\r]*", seen)
        assert len(lists) >= 2
        assert b"MOVE" in lists[-1]
        assert not any(name in found for found in lists for name in (b"UIDPLUS", b"LIST-", b"STARTTLS"))
        assert b"[APPENDUID" in await here.do(append)


async def test_strip_codes() -> None:
    async with world(Rule(StripCodes(("APPENDUID",)), times=None)) as here:
        answer = await here.do(append)
        assert answer.startswith(b"OK ")
        assert b"APPENDUID" not in answer


async def test_new_messages_are_hidden_until_noop() -> None:
    async with world(Rule(HideNew(), times=None)) as here:

        def act(client: imaplib.IMAP4) -> None:
            append(client)
            assert len(fetch(client)) == 3
            assert client.uid("SEARCH", "ALL")[1] == [b"1 2 3"]
            assert client.untagged_responses.get("EXISTS") in (None, [b"3"])
            client.noop()
            assert client.untagged_responses["EXISTS"][-1] == b"4"
            assert len(fetch(client)) == 4

        await here.do(act)
        assert len(await here.do(fetch)) == 4


async def test_throttle_changes_nothing_but_the_pace() -> None:
    async with world(Rule(Throttle(2000), times=None)) as here:
        lines = await wire(here, b"c UID FETCH 1 FLAGS\r\n")
        assert lines[1].startswith(b"c OK")


async def test_shorten() -> None:
    rule = Rule(Shorten(2), ("FETCH", "SEARCH", "LIST"), times=None)
    async with world(rule, messages=5) as here:
        for name in "ABC":
            here.account.create(name)
        assert len(await here.do(fetch)) == 2
        assert await here.do(lambda client: client.uid("SEARCH", "ALL")) == ("OK", [b"1 2"])
        assert len((await here.do(lambda client: client.list()))[1]) == 2
        lines = await wire(here, b"c UID SEARCH RETURN (ALL) ALL\r\n")
        assert lines[0].endswith(b" ALL 1,2")


async def test_curtail() -> None:
    """A whole mailbox, to all appearances; another connection sees that there is more."""
    async with world(Rule(Curtail(2)), messages=5) as here:

        def act(client: imaplib.IMAP4) -> None:
            assert client.select() == ("OK", [b"2"])
            assert len(fetch(client)) == 2
            assert client.uid("SEARCH", "ALL") == ("OK", [b"1 2"])

        await here.do(act)
        assert len(await here.do(fetch)) == 5


async def test_add_code() -> None:
    async with world(Rule(AddCode("THROTTLED"), ("FETCH",))) as here:
        lines = await wire(here, b"c UID FETCH 1 FLAGS\r\n")
        assert lines[1].startswith(b"c OK [THROTTLED] ")


async def test_inject() -> None:
    async with world(Rule(Inject(), ("FETCH",))) as here:
        lines = await wire(here, b"c UID FETCH 1:2 FLAGS\r\n")
        kinds = [b" ".join(line.split()[:3])[:14] for line in lines]
        chatter = [
            b"* 3 EXISTS",
            b"* 3 RECENT",
            b"* FLAGS (\\Answ"[:14],
            b"* CAPABILITY I"[:14],
            b"* OK Still",
        ]
        assert kinds.count(b"* 3 EXISTS") == kinds.count(b"* OK Still") == 3
        assert [kind for kind in kinds if kind.endswith(b"FETCH")] == [b"* 1 FETCH", b"* 2 FETCH"]
        assert kinds[: len(chatter)] == chatter


async def test_duplicate() -> None:
    async with world(Rule(Duplicate(), ("FETCH", "EXPUNGE"), times=None)) as here:
        here.account["INBOX"].set_flags(3, ["\\Deleted"])
        lines = await wire(here, b"c UID FETCH 1:2 FLAGS\r\nd EXPUNGE\r\n")
        assert lines[0] == lines[1] != lines[2] == lines[3]
        assert [line for line in lines if line.endswith(b"EXPUNGE")] == [b"* 3 EXPUNGE"]


async def test_reorder() -> None:
    async with world(Rule(Reorder(), ("FETCH",))) as here:
        lines = await wire(here, b"c UID FETCH 1:3 FLAGS\r\n")
        assert [line[:9] for line in lines[:3]] == [b"* 3 FETCH", b"* 2 FETCH", b"* 1 FETCH"]


async def test_two_appends_get_each_others_uid() -> None:
    async with world(Rule(SwapUids(), APPEND)) as here:
        lines = await wire(
            here, *(b"%c APPEND INBOX {%d+}\r\n%s\r\n" % (tag, len(BODY), BODY) for tag in b"cd")
        )
        replies = [line for line in lines if line[:4] in (b"c OK", b"d OK")]
        assert [reply.partition(b"]")[0].split()[-1] for reply in replies] == [b"5", b"4"]


async def test_recreate() -> None:
    async with world(Rule(Recreate("Work"), APPEND)) as here:
        work = here.account.create("Work")
        work.append(BODY)
        before = work.uid_validity
        await here.do(append)
        assert here.account["Work"].uid_validity != before
        assert here.account["Work"].bodies() == [BODY]
        assert sorted(here.account.names()) == ["INBOX", "Work"]


async def test_the_same_seed_gives_the_same_faults() -> None:
    async def refused(seed: int) -> list[bool]:
        async with world(Rule(Answer(), APPEND, times=None, probability=0.5), seed=seed) as here:
            return await here.do(lambda client: [append(client).startswith(b"NO") for _ in range(12)])

    first = await refused(1)
    assert first == await refused(1)
    assert first != await refused(2)
    assert 0 < sum(first) < len(first)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rule(Cut(), nth=0),
        lambda: Rule(Cut(), times=0),
        lambda: Rule(Cut(), probability=0.0),
        lambda: Rule(Cut(), ("append",)),
        lambda: Rule(Cut(), ()),
        lambda: Rule(Cut(), (CONNECTION, "APPEND")),
        lambda: Rule(Cut(), when=When.EXECUTED),
        lambda: Rule(Shorten()),
        lambda: Rule(HideNew(), APPEND),
        lambda: Rule(Curtail(1), ("FETCH",)),
        lambda: Rule(Shorten(), ("FETCH",), When.EXECUTED),
        lambda: Rule(Answer(), ("FETCH",), When.MID_REPLY),
        lambda: Rule(Answer("NO")),
        lambda: Answer("OK"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


# --- a text that a rule is about ---


async def test_a_rule_about_a_text_counts_only_the_commands_that_hold_it() -> None:
    poison = b"Subject: poison\r\n\r\n"
    async with world(Rule(Cut(), APPEND, nth=2, times=None, about="poison"), messages=0) as here:

        def several(client: imaplib.IMAP4) -> None:
            for body in (BODY, poison, BODY, BODY):
                assert client.append("INBOX", "", "", body)[0] == "OK"
            with pytest.raises(ENDED):
                client.append("INBOX", "", "", poison)

        await here.do(several)
        assert len(here.uids) == 4
        assert len(here.proxy.fired) == 1


async def test_in_the_middle_of_a_reply_it_strikes_where_the_text_is() -> None:
    rule = Rule(Cut(), ("FETCH",), When.MID_REPLY, times=None, about="poison")
    async with world(rule, messages=2) as here:
        here.account["INBOX"].append(b"Subject: poison\r\n\r\n" + b"x" * 100)
        here.account["INBOX"].append(BODY)
        seen = await wire(here, b"c UID FETCH 1:4 (BODY[])\r\n")
        text = b"\r\n".join(seen)
        assert text.count(BODY) == 2
        assert b"Subject: poison" in text
        assert b"x" * 100 not in text
        assert b"4 FETCH" not in text
        seen = await wire(here, b"c UID FETCH 1:4 (FLAGS)\r\n")
        assert b"4 FETCH" in b"\r\n".join(seen)
    with pytest.raises(ValueError, match="about no text"):
        Rule(Cut(), about="poison")
