"""What a correct client survives, row by row, over a real socket; and that no outcome that was read is ever lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Protocol

import pytest
from tests.client.scripted import Drip, HangUp, Hear, Stall, Step, greeting, scripted

from mailtwin.client import Answer, Credentials, Refused, Result, Session, Timeouts
from mailtwin.errors import (
    LocalProtocolError,
    MailtwinError,
    RemoteProtocolError,
    StorageError,
    ThrottledError,
    UnreachableError,
)
from mailtwin.imap import LiteralChunk, LiteralStart, OpenRange, Phase
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.model import UidSet

SELECT: list[Step] = [
    'A1 SELECT "INBOX"',
    b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\nA1 OK [READ-WRITE] in\r\n",
]
FLAGS = c.Fetch(OpenRange(1), ("FLAGS",))
ALL_FLAGS = "A2 UID FETCH 1:* (FLAGS)"


class Play(Protocol):
    def __call__(
        self, *script: Step, capabilities: str = "", patience: Timeouts | None = None, whole: bool = True
    ) -> AbstractAsyncContextManager[Session]:
        """A session with a server that plays `script` after a PREAUTH greeting; dropped at the end."""


@pytest.fixture
def play(credentials: Credentials, timeouts: Timeouts) -> Play:
    @asynccontextmanager
    async def start(
        *script: Step, capabilities: str = "", patience: Timeouts | None = None, whole: bool = True
    ) -> AsyncIterator[Session]:
        async with scripted([greeting(*capabilities.split()), *script], whole=whole) as endpoint:
            session = await Session.open(endpoint, credentials, timeouts=patience or timeouts)
            try:
                yield session
            finally:
                await session.abort()

    return start


async def select(session: Session) -> None:
    await session.run(c.Select("INBOX"))


def flags_by_uid(responses: Sequence[object]) -> dict[int | None, tuple[str, ...] | None]:
    return {fetch.uid: fetch.flags for fetch in responses if isinstance(fetch, r.Fetch)}


async def streamed(session: Session, command: c.Command) -> list[Answer]:
    """All that `stream` yields, chunks joined into bytes."""
    answers: list[Answer] = []
    async with aclosing(session.stream(command)) as stream:
        async for answer in stream:
            if isinstance(answer, LiteralChunk):
                answer = LiteralChunk(memoryview(bytes(answer.data)), answer.last)
            answers.append(answer)
    return answers


# --- the table of servers.md, section 4 ---


async def test_row_capabilities_change_at_any_time(play: Play) -> None:
    async with play("A1 NOOP", b"* CAPABILITY IMAP4rev1 MOVE\r\nA1 OK\r\n", capabilities="OLD") as session:
        assert session.has("OLD")
        await session.run(c.Noop())
        assert session.has("move")
        assert not session.has("OLD")


async def test_row_unrelated_responses_in_the_middle_of_a_listing(play: Play) -> None:
    async with play(
        *SELECT,
        ALL_FLAGS,
        b"* 1 FETCH (UID 11 FLAGS (a))\r\n* 4 EXISTS\r\n* OK Still here\r\n* 1 EXPUNGE\r\n",
        b'* 2 FETCH (UID 13 FLAGS (b))\r\n* LIST () "/" x\r\n* 3 FETCH (UID 14 FLAGS (c))\r\nA2 OK done\r\n',
    ) as session:
        await select(session)
        result = await session.run(FLAGS)
        assert flags_by_uid(result.responses) == {11: ("a",), 13: ("b",), 14: ("c",)}
        assert [type(one) for one in result.responses] == [r.Fetch] * 3
        assert result.complete
        assert session.state.selected is not None
        assert session.state.selected.exists == 3


async def test_row_a_sequence_number_is_not_a_uid(play: Play) -> None:
    async with play(
        *SELECT,
        "A2 UID FETCH 12 (FLAGS)",
        b"* 12 FETCH (FLAGS (wrong))\r\n* 3 FETCH (UID 12 FLAGS (right))\r\n* 12 FETCH (FLAGS (wrong))\r\nA2 OK\r\n",
    ) as session:
        await select(session)
        result = await session.run(c.Fetch(UidSet.of([12]), ("FLAGS",)))
        assert [(fetch.uid, fetch.flags) for fetch in result.responses if isinstance(fetch, r.Fetch)] == [
            (12, ("right",))
        ]


async def test_row_exists_before_the_continuation_of_an_append(play: Play) -> None:
    async with play(
        'A1 APPEND "x" {4}', b"* 5 EXISTS\r\n* OK [ALERT] {90}\r\n+ go\r\n", Hear(b"body\r\n"), b"A1 OK\r\n"
    ) as session:
        assert (await session.run(c.Append.of("x", b"body"))).ok


async def test_row_an_append_of_bare_line_ends(play: Play) -> None:
    body = b"\rA\nB\r\r\n\n.\x80\xff"
    async with play(
        f'A1 APPEND "x" {{{len(body)}}}', b"+\r\n", Hear(body + b"\r\n"), b"A1 OK\r\n"
    ) as session:
        assert (await session.run(c.Append.of("x", body))).ok


async def test_row_a_literal_that_looks_like_protocol_in_seven_byte_chunks(play: Play) -> None:
    body = b"A2 OK done\r\n* BYE no\r\n+ x\r\n* 9 EXPUNGE\r\n{10}\r\n" * 3000
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        Drip(b"* 1 FETCH (UID 11 BODY[] {%d}\r\n" % len(body) + body + b")\r\nA2 OK\r\n", 7777),
        "A3 UID FETCH 11 (BODY.PEEK[])",
        Drip(b"* 1 FETCH (UID 11 BODY[] {400}\r\n" + body[:400] + b")\r\nA3 OK\r\n", 7),
    ) as session:
        await select(session)
        fetch = c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",))
        answers = await streamed(session, fetch)
        assert b"".join(bytes(chunk.data) for chunk in answers if isinstance(chunk, LiteralChunk)) == body
        assert isinstance(answers[0], LiteralStart)
        assert answers[-2] == r.Fetch(1, uid=11, bodies={"": r.Streamed(len(body))})
        assert isinstance(answers[-1], Result)
        (small,) = (await session.run(fetch)).responses
        assert isinstance(small, r.Fetch)
        assert small.bodies[""] == body[:400]
        assert session.state.selected is not None
        assert session.state.selected.exists == 3


async def test_row_an_unbalanced_parenthesis_in_a_quoted_string(play: Play) -> None:
    async with play(
        *SELECT,
        ALL_FLAGS,
        b'* 1 FETCH (UID 11 X ("a(b") FLAGS (a))\r\n* 2 FETCH (UID 12 FLAGS (b))\r\nA2 OK\r\n',
    ) as session:
        await select(session)
        assert flags_by_uid((await session.run(FLAGS)).responses) == {11: ("a",), 12: ("b",)}


async def test_row_braces_in_human_text(play: Play) -> None:
    async with play(
        "A1 NOOP", b"* OK [ALERT] read this {90}\r\nA1 OK {5}\r\n", "A2 NOOP", b"A2 OK\r\n"
    ) as session:
        await session.run(c.Noop())
        await session.run(c.Noop())
        assert list(session.state.alerts) == ["read this {90}"]


async def test_row_two_search_responses_and_an_exists(play: Play) -> None:
    async with play(
        *SELECT, "A2 UID SEARCH ALL", b"* SEARCH 1 2\r\n* 4 EXISTS\r\n* SEARCH 3\r\nA2 OK\r\n"
    ) as session:
        await select(session)
        found = (await session.run(c.Search())).responses
        assert [number for one in found if isinstance(one, r.Search) for number in one.numbers] == [1, 2, 3]


async def test_row_a_search_line_of_1_4_megabytes(play: Play) -> None:
    numbers = range(1_000_000, 1_175_000)
    async with play(
        *SELECT, "A2 UID SEARCH ALL", b"* SEARCH " + " ".join(map(str, numbers)).encode() + b"\r\nA2 OK\r\n"
    ) as session:
        await select(session)
        assert (await session.run(c.Search())).responses == (r.Search(tuple(numbers)),)


async def test_row_bye_and_close_in_the_middle_of_a_fetch(play: Play) -> None:
    async with play(
        *SELECT, ALL_FLAGS, b"* 1 FETCH (UID 11 FLAGS ())\r\n* BYE Session expired, sorry\r\n", HangUp()
    ) as session:
        await select(session)
        with pytest.raises(UnreachableError, match="Session expired, sorry"):
            await session.run(FLAGS)
        with pytest.raises(UnreachableError, match="Session expired, sorry"):
            await session.run(c.Noop())


async def test_row_a_stall_in_the_middle_of_a_literal(play: Play) -> None:
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        b"* 1 FETCH (UID 11 BODY[] {1000}\r\nabc",
        Stall(),
        patience=Timeouts(literal=0.1),
    ) as session:
        await select(session)
        with pytest.raises(UnreachableError, match="rest of a response did not come within"):
            await session.run(c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",)))
        assert not session.is_open


async def test_row_a_mailbox_name_as_a_literal(play: Play) -> None:
    async with play(
        'A1 LIST "" "*"', b'* LIST () "/" {7}\r\na "b" c\r\n* LIST () "/" d\r\nA1 OK\r\n'
    ) as session:
        result = await session.run(c.List())
        assert [item.name for item in result.responses if isinstance(item, r.ListItem)] == [b'a "b" c', b"d"]


async def test_row_odd_but_harmless_lines(play: Play) -> None:
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        b"* [ALERT] hi\r\n* 1 FETCH (UID 11 BODY[] {3}\r\nabc\r\n)\r\n\r\nA2 OK\r\n",
    ) as session:
        await select(session)
        result = await session.run(c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",)))
        assert result.complete
        assert result.responses == (r.Fetch(1, uid=11, bodies={"": b"abc"}),)


async def test_row_three_thousand_fetches_in_one_segment(play: Play) -> None:
    lines = b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (seq, seq + 10) for seq in range(1, 3001))
    async with play(*SELECT, ALL_FLAGS, lines + b"A2 OK\r\n") as session:
        await select(session)
        began = time.process_time()
        assert len((await session.run(FLAGS)).responses) == 3000
        assert time.process_time() - began < 2


async def test_row_an_appenduid_left_by_a_failed_command(play: Play) -> None:
    async with play(
        Hear(b'A1 APPEND "x" {1+}\r\n1\r\nA2 APPEND "x" {1+}\r\n2\r\n'),
        b"* OK [APPENDUID 7 98] odd\r\nA1 NO [APPENDUID 7 97] no\r\nA2 OK done\r\n",
        capabilities="LITERAL+ UIDPLUS",
    ) as session:
        first, second = await session.run_all([c.Append.of("x", b"1"), c.Append.of("x", b"2")])
        assert first.status is not None
        assert first.status.word == "NO"
        assert second.ok
        assert second.code is None
        assert second.find_code("APPENDUID") is None


async def test_an_appenduid_without_uidplus(play: Play) -> None:
    async with play(
        Hear(b'A1 APPEND "x" {1+}\r\n1\r\n'), b"A1 OK [APPENDUID 7 97] done\r\n", capabilities="LITERAL+"
    ) as session:
        code = (await session.run(c.Append.of("x", b"1"))).code
        assert code is not None
        assert code.args == (7, UidSet.of([97]))


async def test_the_limit_on_responses_kept(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.RESPONSES_MAX", 2)
    item = b'* LIST () "/" a\r\n'
    at, above = item * 2 + b"A1 OK\r\n", item * 3 + b"A2 OK\r\n"
    async with play('A1 LIST "" "*"', at, 'A2 LIST "" "*"', above) as session:
        assert len((await session.run(c.List())).responses) == 2
        with pytest.raises(RemoteProtocolError, match="more than 2 responses"):
            await session.run(c.List())


# --- refusals ---


async def test_a_refusal_names_server_command_mailbox_and_reason(play: Play) -> None:
    async with play(
        'A1 SELECT "B&APw-ro"', b"A1 NO [NONEXISTENT] no such \x07mailbox\r\n", "A2 NOOP", b"A2 OK\r\n"
    ) as session:
        with pytest.raises(Refused, match=r"127.0.0.1: SELECT 'Büro' refused: no such \?mailbox") as caught:
            await session.run(c.Select("Büro"))
        assert caught.value.result.code == r.Code("NONEXISTENT")
        assert (await session.run(c.Noop())).ok


@pytest.mark.parametrize(
    ("line", "pause_s"),
    [
        (b"NO [THROTTLED] slow down", None),
        (b"BAD Request is throttled. Suggested Backoff Time: 300000 milliseconds", 300.0),
        (b"NO [OVERQUOTA] Account exceeded command or bandwidth limits.", 86400.0),
    ],
)
async def test_a_wish_to_pause_is_not_a_refusal(line: bytes, pause_s: float | None, play: Play) -> None:
    async with play("A1 NOOP", b"A1 " + line + b"\r\n") as session:
        with pytest.raises(ThrottledError) as caught:
            await session.run(c.Noop())
        assert caught.value.pause_s == pause_s


async def test_a_full_mailbox_is_a_refusal(play: Play) -> None:
    async with play('A1 CREATE "x"', b"A1 NO [OVERQUOTA] Quota exceeded\r\n") as session:
        with pytest.raises(Refused):
            await session.run(c.Create("x"))


async def test_a_command_that_cannot_be_sent_costs_nothing_else(play: Play) -> None:
    async with play(Hear(b'A1 CREATE "a"\r\nA2 CREATE "b"\r\n'), b"A1 OK\r\nA2 OK\r\n") as session:
        first, second, third = await session.run_all([c.Create("a"), c.Create("x\r\ny"), c.Create("b")])
        assert first.ok
        assert third.ok
        assert isinstance(second.lost, LocalProtocolError)
        assert not second.sent
        assert session.is_open
        with pytest.raises(LocalProtocolError):
            await session.run(c.Close())
        assert session.is_open


# --- several at a time ---


async def test_no_more_than_the_cap_is_in_flight(play: Play) -> None:
    def status(numbers: range) -> bytes:
        return b"".join(b'A%d STATUS "m%d" (MESSAGES)\r\n' % (number, number) for number in numbers)

    def reply(numbers: range) -> bytes:
        return b"".join(b"* STATUS m%d (MESSAGES 1)\r\nA%d OK\r\n" % (number, number) for number in numbers)

    async with play(
        Hear(status(range(1, 26))),
        reply(range(1, 26)),
        Hear(status(range(26, 31))),
        reply(range(26, 31)),
    ) as session:
        results = await session.run_all([c.StatusOf(f"m{number}", ("MESSAGES",)) for number in range(1, 31)])
        assert all(result.ok for result in results)
        assert len(results[29].responses) == 1


async def test_a_server_that_wants_one_at_a_time(play: Play) -> None:
    async with play("A1 NOOP", b"A1 OK\r\n", "A2 NOOP", b"A2 OK\r\n") as session:
        session.pipeline_max = 1
        assert all(result.ok for result in await session.run_all([c.Noop(), c.Noop()]))


async def test_commands_that_may_not_be_together_wait(play: Play) -> None:
    async with play(
        'A1 LIST "" "*"', b'* LIST () "/" a\r\nA1 OK\r\n', 'A2 LIST "" "b"', b'* LIST () "/" b\r\nA2 OK\r\n'
    ) as session:
        first, second = await session.run_all([c.List(), c.List(("b",))])
        assert [item.name for item in first.responses if isinstance(item, r.ListItem)] == [b"a"]
        assert [item.name for item in second.responses if isinstance(item, r.ListItem)] == [b"b"]


async def test_select_and_fetch_in_one_flight(play: Play) -> None:
    async with play(
        Hear(b'A1 SELECT "INBOX"\r\nA2 UID FETCH 1:* (FLAGS)\r\n'),
        b"* 1 EXISTS\r\nA1 OK\r\n* 1 FETCH (UID 5 FLAGS ())\r\nA2 OK\r\n",
    ) as session:
        _, fetched = await session.run_all([c.Select("INBOX"), FLAGS])
        assert flags_by_uid(fetched.responses) == {5: ()}


async def test_outcomes_that_were_read_survive_a_lost_connection(play: Play) -> None:
    async with play(
        Hear(b'A1 APPEND "x" {1+}\r\n1\r\nA2 APPEND "x" {1+}\r\n2\r\n'),
        b"A1 OK [APPENDUID 7 1] stored\r\n* BYE power cut\r\n",
        HangUp(),
        capabilities="LITERAL+",
    ) as session:
        session.pipeline_max = 2
        first, second, third = await session.run_all([c.Append.of("x", bytes([number])) for number in b"123"])
        assert first.code is not None
        assert first.lost is None
        assert isinstance(second.lost, UnreachableError)
        assert second.sent
        assert not third.sent
        assert isinstance(third.lost, UnreachableError)
        assert "power cut" in third.lost.message
        (later,) = await session.run_all([c.Noop()])
        assert later.lost is second.lost
        assert not later.sent


async def test_a_bye_between_commands_is_known_before_the_next_is_sent(play: Play) -> None:
    async with play(b"* BYE idle too long\r\n", HangUp()) as session:
        await asyncio.sleep(0.05)
        (result,) = await session.run_all([c.Append.of("x", b"1")])
        assert not result.sent
        assert result.lost is not None
        assert "idle too long" in result.lost.message


# --- uploads ---


async def test_a_refused_message_lets_the_next_be_sent(play: Play) -> None:
    async with play(
        'A1 APPEND "x" {1}',
        b"A1 NO [TOOBIG] no\r\n",
        'A2 APPEND "x" {1}',
        b"+\r\n",
        Hear(b"2\r\n"),
        b"A2 OK [APPENDUID 7 2] done\r\n",
    ) as session:
        first, second = await session.run_all([c.Append.of("x", b"1"), c.Append.of("x", b"2")])
        assert not first.ok
        assert not first.sent
        assert second.ok


async def test_an_untagged_bad_and_nothing_more(play: Play) -> None:
    async with play('A1 APPEND "x" {1}', b"* BAD Message too large\r\n", Stall()) as session:
        first, second = await session.run_all([c.Append.of("x", b"1"), c.Append.of("x", b"2")])
        assert first.status == r.Status("BAD", None, None, b"Message too large")
        assert not first.sent
        assert isinstance(first.error("host"), Refused)
        assert second.lost is not None


async def test_an_untagged_bad_that_meant_nothing(play: Play) -> None:
    async with play(
        'A1 APPEND "x" {1}', b"* BAD hm\r\n+ go\r\n", Hear(b"1\r\n"), b"A1 OK [APPENDUID 1 1] x\r\n"
    ) as session:
        result = await session.run(c.Append.of("x", b"1"))
        assert result.ok
        assert not result.complete


async def test_both_directions_full_do_not_lock(play: Play) -> None:
    """The server reads our upload only when we read what it has to say."""
    body = b"m" * 8_000_000
    noise = b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n" * 250_000

    async with play(
        *SELECT,
        'A2 APPEND "x" {8000000}',
        b"+ go\r\n" + noise,
        Hear(body + b"\r\n"),
        b"A2 OK done\r\n",
    ) as session:
        await select(session)
        chunks = [body[:1_000_000]] * 8
        assert (await session.run(c.Append("x", iter(chunks), len(body)))).ok


async def test_a_body_is_not_read_ahead_of_the_network(play: Play) -> None:
    read = 0

    def body() -> Iterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b"x" * 65536

    async with play('A1 APPEND "x" {65536000}', b"+\r\n", HangUp(), whole=False) as session:
        (result,) = await session.run_all([c.Append("x", body(), 65_536_000)])
        assert result.lost is not None
        assert not result.sent
    assert read < 500


def _broken_body(error: Exception) -> Iterator[bytes]:
    yield b"12"
    raise error


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (lambda: iter([b"123"]), LocalProtocolError),
        (lambda: iter([b"12345"]), LocalProtocolError),
        (lambda: _broken_body(OSError("disk")), StorageError),
        (lambda: _broken_body(StorageError("disk")), StorageError),
    ],
)
async def test_a_body_that_breaks_costs_the_connection_only(
    body: Callable[[], Iterator[bytes]], error: type[MailtwinError], play: Play
) -> None:
    async with play(
        Hear(b'A1 NOOP\r\nA2 APPEND "x" {4+}\r\n'), b"A1 OK\r\n", capabilities="LITERAL+", whole=False
    ) as session:
        noop, append = await session.run_all([c.Noop(), c.Append("x", body(), 4)])
        assert isinstance(append.lost, error)
        assert not append.sent
        assert not noop.ok or noop.status is not None
        assert not session.is_open


# --- streams ---


async def test_a_stream_left_early_drops_the_connection(play: Play) -> None:
    async with play(*SELECT, ALL_FLAGS, b"* 1 FETCH (UID 11 FLAGS ())\r\n", Stall()) as session:
        await select(session)
        async with aclosing(session.stream(FLAGS)) as stream:
            async for _ in stream:
                break
        assert not session.is_open
        with pytest.raises(UnreachableError, match="cut short"):
            await session.run(c.Noop())


async def test_a_stream_ends_with_its_result_also_when_refused(play: Play) -> None:
    async with play(*SELECT, ALL_FLAGS, b"A2 NO not now\r\n", "A3 NOOP", b"A3 OK\r\n") as session:
        await select(session)
        (result,) = await streamed(session, FLAGS)
        assert isinstance(result, Result)
        assert result.text == "not now"
        await session.run(c.Noop())


async def test_a_streamed_literal_of_somebody_else_is_followed_by_its_response(play: Play) -> None:
    body = b"z" * 100_000
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        b"* 2 FETCH (BODY[] {100000}\r\n" + body + b" UID 12)\r\nA2 OK\r\n",
    ) as session:
        await select(session)
        answers = await streamed(session, c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",)))
        fetch = answers[-2]
        assert isinstance(fetch, r.Fetch)
        assert fetch.uid == 12


async def test_lent_bytes_stay_while_the_consumer_waits(play: Play) -> None:
    body = bytes(range(256)) * 40_000
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        b"* 1 FETCH (UID 11 BODY[] {%d}\r\n" % len(body) + body + b")\r\nA2 OK\r\n",
    ) as session:
        await select(session)
        got = bytearray()
        async with aclosing(session.stream(c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",)))) as stream:
            async for answer in stream:
                if isinstance(answer, LiteralChunk):
                    await asyncio.sleep(0.002)
                    got += answer.data
        assert bytes(got) == body


async def test_a_slow_consumer_holds_the_server_back(play: Play) -> None:
    lines = b"* 1 FETCH (UID 11 FLAGS (\\Seen))\r\n" * 400_000
    # The server stays: one that hangs up at the end of its script takes along what was not received yet.
    async with play(*SELECT, ALL_FLAGS, lines + b"A2 OK\r\n", Stall(), whole=False) as session:
        await select(session)
        count = 0
        async with aclosing(session.stream(FLAGS)) as stream:
            async for answer in stream:
                if count == 1000:
                    await asyncio.sleep(0.2)
                    assert session._connection.unread < 512 * 1024
                count += isinstance(answer, r.Fetch)
        assert count == 400_000


async def test_a_large_literal_without_stream_is_not_complete(play: Play) -> None:
    async with play(
        *SELECT,
        "A2 UID FETCH 11 (BODY.PEEK[])",
        b"* 1 FETCH (UID 11 BODY[] {100000}\r\n" + b"z" * 100_000 + b")\r\nA2 OK\r\n",
    ) as session:
        await select(session)
        result = await session.run(c.Fetch(UidSet.of([11]), ("BODY.PEEK[]",)))
        assert result.ok
        assert not result.complete


# --- IDLE ---


async def test_idle_until_stopped(play: Play) -> None:
    async with play(
        *SELECT, "A2 IDLE", b"* 4 EXISTS\r\n+ idling\r\n* 5 EXISTS\r\n", "DONE", b"* 6 EXISTS\r\nA2 OK\r\n"
    ) as session:
        await select(session)
        seen: list[object] = []
        async with aclosing(session.idle()) as news:
            async for one in news:
                seen.append(one)
                if one == r.Exists(5):
                    session.stop_idle()
        assert seen == [r.Exists(4), r.Exists(5), r.Exists(6)]
        assert session.is_open


async def test_idle_ends_by_itself_and_begins_again(play: Play) -> None:
    async with play(
        *SELECT, "A2 IDLE", b"+\r\n", "DONE", b"A2 OK\r\n", "A3 IDLE", b"+\r\n", "DONE", b"A3 OK\r\n"
    ) as session:
        await select(session)
        for _ in range(2):
            async with aclosing(session.idle(max_s=0.05)) as news:
                assert [one async for one in news] == []


async def test_idle_refused(play: Play) -> None:
    async with play(*SELECT, "A2 IDLE", b"A2 BAD no\r\n", "A3 NOOP", b"A3 OK\r\n") as session:
        await select(session)
        with pytest.raises(Refused):
            async with aclosing(session.idle()) as news:
                assert [one async for one in news] == []
        await session.run(c.Noop())


async def test_a_server_that_ignores_done(play: Play) -> None:
    async with play(*SELECT, "A2 IDLE", b"+\r\n", "DONE", Stall(), patience=Timeouts(reply=0.1)) as session:
        await select(session)
        with pytest.raises(UnreachableError, match="no answer to IDLE"):
            async with aclosing(session.idle(max_s=0.05)) as news:
                assert [one async for one in news] == []


# --- time, cancellation, closing ---


async def test_no_answer(play: Play) -> None:
    async with play("A1 NOOP", Stall(), patience=Timeouts(reply=0.1)) as session:
        with pytest.raises(UnreachableError, match=r"no answer to NOOP within 0\.1 s"):
            await session.run(c.Noop())
        assert not session.is_open


async def test_every_byte_gives_new_patience(play: Play) -> None:
    slow = Drip(b"* OK [INPROGRESS] wait\r\n" * 2 + b"A1 OK\r\n", 5, 0.03)
    async with play("A1 NOOP", slow, patience=Timeouts(reply=0.15, literal=0.15)) as session:
        assert (await session.run(c.Noop())).ok


async def test_a_server_that_takes_no_bytes(play: Play) -> None:
    async with play(
        'A1 APPEND "x" {50000000}',
        b"+\r\n",
        Drip(b"", 1),
        patience=Timeouts(reply=0.3),
        whole=False,
    ) as session:
        (result,) = await session.run_all([c.Append("x", [b"x" * 1_000_000] * 50, 50_000_000)])
        assert result.lost is not None


async def test_cancellation_leaves_a_dead_session(play: Play) -> None:
    async with play("A1 NOOP", Stall()) as session:
        task = asyncio.create_task(session.run(c.Noop()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not session.is_open
        with pytest.raises(UnreachableError):
            await session.run(c.Noop())


async def test_cancellation_while_opening(credentials: Credentials) -> None:
    async with scripted([b"* OK hi\r\n", "A1 CAPABILITY", Stall()]) as endpoint:
        task = asyncio.create_task(Session.open(endpoint, credentials))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_one_task_at_a_time(play: Play) -> None:
    async with play("A1 NOOP", Stall(), whole=False) as session:
        task = asyncio.create_task(session.run(c.Noop()))
        await asyncio.sleep(0.02)
        with pytest.raises(AssertionError, match="one task at a time"):
            await session.run(c.Noop())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_logout(play: Play) -> None:
    async with play("A1 LOGOUT", b"* BYE bye\r\nA1 OK\r\n") as session:
        await session.close()
        assert session.state.phase is Phase.LOGOUT
        await session.close()
        with pytest.raises(UnreachableError, match="closed"):
            await session.run(c.Noop())


async def test_a_server_that_says_bye_for_ever(play: Play) -> None:
    async with play("A1 LOGOUT", Drip(b"* BYE bye\r\n" * 200, 11, 0.01), whole=False) as session:
        began = time.monotonic()
        await session.close()
        assert time.monotonic() - began < 3


async def test_a_logout_that_is_never_answered(play: Play) -> None:
    async with play("A1 LOGOUT", Stall(), patience=Timeouts(close=0.05)) as session:
        await session.close()


async def test_a_reply_to_nothing(play: Play) -> None:
    async with play("A1 NOOP", b"B1 OK\r\n") as session:
        with pytest.raises(RemoteProtocolError, match=r"127.0.0.1: .*never sent"):
            await session.run(c.Noop())


async def test_names(play: Play) -> None:
    async with play(
        "A1 ENABLE UTF8=ACCEPT", b"* ENABLED UTF8=ACCEPT\r\nA1 OK\r\n", capabilities="ENABLE UTF8=ACCEPT"
    ) as session:
        assert session.encode_name("Büro & Co") == b"B&APw-ro &- Co"
        assert session.decode_name(b"B&APw-ro &- Co") == "Büro & Co"
        await session.run(c.Enable(("UTF8=ACCEPT",)))
        assert session.encode_name("Büro & Co") == "Büro & Co".encode()
        assert session.decode_name("Büro & Co".encode()) == "Büro & Co"
