"""Whole runs against servers that mean harm: whatever they say, memory, disk and time stay bounded, the error names the
server, nothing on the other side is lost, and the next run with a server in its senses goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count, repeat
from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.report import RunReport
from mailtwin.errors import ExitCode, MailtwinError
from mailtwin.model import INBOX, MailboxName, Side
from mailtwin.planner import Direction, Policy
from mailtwin.state import State
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

Answer = Callable[[str], Iterable[bytes]]
"""What is sent for a command, given its line without the tag; the tagged OK comes after it, if it ends."""

MIB = 1024 * 1024


def nothing(_line: str) -> list[bytes]:
    return []


def listing(_line: str) -> list[bytes]:
    return [b'* LIST () "/" INBOX\r\n']


def selecting(exists: int, uid_next: int = 4) -> Answer:
    return lambda _line: [
        b"* %d EXISTS\r\n* OK [UIDVALIDITY 7] .\r\n* OK [UIDNEXT %d] .\r\n" % (exists, uid_next)
    ]


def mail(number: int) -> bytes:
    """Message `number` as FETCH items."""
    data = message(number)
    date = b'INTERNALDATE "01-Jan-2024 00:00:00 +0000"'
    return b"UID %d FLAGS () %s RFC822.SIZE %d BODY[] {%d}\r\n%s" % (number, date, len(data), len(data), data)


def fetching(line: str) -> list[bytes]:
    if "BODY" in line:
        return [b"* %d FETCH (%s)\r\n" % (number, mail(number)) for number in (1, 2, 3)]
    return [b"* %d FETCH (UID %d FLAGS ())\r\n" % (number, number) for number in (1, 2, 3)]


GOOD: Mapping[str, Answer] = {"LIST": listing, "SELECT": selecting(3), "UID FETCH": fetching}


def only_flags(answer: Answer) -> Answer:
    """Harm in the listing of flags, and good manners when bodies are asked for."""
    return lambda line: fetching(line) if "BODY" in line else answer(line)


def only_bodies(answer: Answer) -> Answer:
    """Harm in bodies and headers, and good manners before."""
    return lambda line: answer(line) if "BODY" in line else fetching(line)


@asynccontextmanager
async def hostile(answers: Mapping[str, Answer]) -> AsyncIterator[ImapStore]:
    """A server with `answers` for what it is asked, and an account on it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n")
            while line := (await reader.readline()).decode("latin-1").strip():
                tag, _, command = line.partition(" ")
                verb = " ".join(command.upper().split()[: 2 if command.upper().startswith("UID ") else 1])
                for data in answers.get(verb, nothing)(command):
                    writer.write(data)
                    await writer.drain()
                writer.write(f"{tag} OK\r\n".encode())
                await writer.drain()
                if verb == "LOGOUT":
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client had enough
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        endpoint = Endpoint("127.0.0.1", port, "plain")
        yield ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, smaller: what is bounded is bounded by them."""
    for where, limit in {
        "mailtwin.client.session.RESPONSES_MAX": 20_000,
        "mailtwin.client.session.UNASKED_MAX": 20_000,
        "mailtwin.stores.imap.LIST_RESPONSES_MAX": 2_000,
        "mailtwin.stores.imap_bodies.LISTING_SURPLUS_MAX": 1_000,
        "mailtwin.stores.imap_bodies.LISTING_FLAGS_BYTES_MAX": 2 * MIB,
        "mailtwin.stores.imap_bodies.TOLD_IN_PARTS_BYTES_MAX": 4 * MIB,
        "mailtwin.stores.imap_bodies.UNASKED_BYTES_MAX": 8 * MIB,
    }.items():
        monkeypatch.setattr(where, limit)
    monkeypatch.setattr(sys.modules["mailtwin.engine.sync"], "RECONNECTS_MAX", 1)


def forever(piece: bytes) -> Answer:
    return lambda _line: repeat(piece * 50)


def numbered(make: Callable[[int], bytes]) -> Answer:
    return lambda _line: map(make, count(1))


def endless_line(start: bytes) -> Answer:
    def answer(_line: str) -> Iterator[bytes]:
        yield start
        yield from repeat(b"x" * 65536)

    return answer


def bodies_for_ever(uids: int, rest: bytes = b"") -> Answer:
    """Bodies of that many messages in turn, with the rest of what was asked for or without."""

    def answer(_line: str) -> Iterator[bytes]:
        for number in count():
            uid = 1 + number % uids
            yield b"* %d FETCH (UID %d %s BODY[] {%d}\r\n%s)\r\n" % (uid, uid, rest, MIB, b"x" * MIB)

    return answer


COMPLETE = b'FLAGS () INTERNALDATE "01-Jan-2024 00:00:00 +0000" RFC822.SIZE 1'


HARM: dict[str, tuple[dict[str, Answer], str]] = {
    "mailboxes without end": (
        {"LIST": numbered(lambda n: b'* LIST () "/" box%d\r\n' % n)},
        "lists more than",
    ),
    "one mailbox for ever": ({"LIST": forever(b'* LIST () "/" INBOX\r\n')}, "lists more than"),
    "talk instead of a list": ({"LIST": forever(b"* OK still here\r\n")}, "does not stop"),
    "talk instead of mail": ({"UID FETCH": forever(b"* OK still here\r\n")}, "does not stop"),
    "a name without end": ({"LIST": endless_line(b'* LIST () "/" ')}, "a line of more than"),
    "a list of flags without end": (
        {"UID FETCH": endless_line(b"* 1 FETCH (UID 1 FLAGS (")},
        "a line of more than",
    ),
    "UIDs without end": (
        {"UID FETCH": numbered(lambda n: b"* %d FETCH (UID %d FLAGS ())\r\n" % (n, n))},
        "lists more without an end",
    ),
    "one UID for ever": (
        {"UID FETCH": forever(b"* 1 FETCH (UID 1 FLAGS ())\r\n")},
        "more than 20000 responses",
    ),
    "four billion messages, UIDs without end": (
        {
            "SELECT": selecting(2**32 - 1),
            "UID FETCH": numbered(lambda n: b"* %d FETCH (UID %d FLAGS ())\r\n" % (n, n)),
        },
        "more than 20000 responses",
    ),
    "keywords without end": (
        {
            "SELECT": selecting(10_000),
            "UID FETCH": numbered(
                lambda n: (
                    b"* %d FETCH (UID %d FLAGS (%s))\r\n"
                    % (n, n, b" ".join(b"k%d-%d" % (n, i) for i in range(99)))
                )
            ),
        },
        "flags of its messages take more than",
    ),
    "expunges without end": ({"UID FETCH": forever(b"* 1 EXPUNGE\r\n")}, "127.0.0.1"),
    "bodies of which the rest never comes": (
        {"SELECT": selecting(99), "UID FETCH": only_bodies(bodies_for_ever(3, b"FLAGS ()"))},
        "nobody asked for",
    ),
    "the same bodies for ever": (
        {"UID FETCH": only_bodies(bodies_for_ever(3, COMPLETE))},
        "nobody asked for",
    ),
    "bodies of other messages for ever": (
        {"UID FETCH": only_bodies(bodies_for_ever(10**6, COMPLETE))},
        "nobody asked for",
    ),
    "a literal of four gigabytes in a list": (
        {"LIST": lambda _line: [b'* LIST () "/" {4294967296}\r\n']},
        "127.0.0.1",
    ),
}


class HostileWorld(World):
    """The right side holds mail that must survive; the left one is a server."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.right.add(INBOX, message(99))
        self.peak = 0
        self.pair = replace(self.pair, policy=Policy(direction=Direction.LEFT_TO_RIGHT))

    async def meet(self, answers: Mapping[str, Answer]) -> RunReport | MailtwinError:
        """A run with that server, in bounded time and memory."""
        async with hostile({**GOOD, **answers}) as store:
            self.pair = replace(self.pair, left=store)
            store.address = "left"
            tracemalloc.start()
            try:
                async with asyncio.timeout(60):
                    return await self.run()
            except MailtwinError as error:
                return error
            finally:
                self.peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()


@pytest.fixture
def world(tmp_path: Path) -> HostileWorld:
    return HostileWorld(tmp_path)


@pytest.mark.parametrize("name", HARM)
async def test_a_hostile_server_ends_the_run_and_harms_nothing(name: str, world: HostileWorld) -> None:
    answers, words = HARM[name]
    met = await world.meet(answers)
    assert isinstance(met, MailtwinError), met
    assert words in met.message
    assert met.message.startswith(("127.0.0.1", "left ")), "it says which server"
    assert met.exit_code in (ExitCode.PROTOCOL, ExitCode.FAILED, ExitCode.UNREACHABLE)
    assert world.peak < 100 * MIB
    assert world.bodies(Side.RIGHT) == [message(99)]
    with world.state() as state:
        assert state.check() == []


async def test_a_server_in_its_senses_is_gone_on_with(world: HostileWorld) -> None:
    await world.meet(HARM["keywords without end"][0])
    report = await world.meet({})
    assert isinstance(report, RunReport)
    assert {message(1), message(2), message(3), message(99)} == set(world.bodies(Side.RIGHT))


async def test_four_billion_messages_of_which_three_are_listed_prove_nothing(world: HostileWorld) -> None:
    report = await world.meet({"SELECT": selecting(2**32 - 1)})
    assert isinstance(report, RunReport)
    assert "did not list all messages" in report.problems[0].error.message
    assert message(99) in world.bodies(Side.RIGHT)


@pytest.mark.parametrize("announced", [1, 5, 10**9, 2**32 - 1])
async def test_a_size_that_is_a_lie_is_not_believed(announced: int, world: HostileWorld) -> None:
    """What came is the message, whatever its size was said to be (rule R13)."""
    big = b"Message-ID: <big@x>\r\n\r\n" + b"x" * (3 * MIB)

    def answer(line: str) -> list[bytes]:
        date = b'INTERNALDATE "01-Jan-2024 00:00:00 +0000"'
        items = b"UID 1 FLAGS () %s RFC822.SIZE %d" % (date, announced)
        if "HEADER" in line:
            return [b"* 1 FETCH (%s BODY[HEADER.FIELDS (MESSAGE-ID)] {23}\r\n%s)\r\n" % (items, big[:23])]
        return [b"* 1 FETCH (%s BODY[] {%d}\r\n%s)\r\n" % (items, len(big), big)]

    def flags(_line: str) -> list[bytes]:
        return [b"* 1 FETCH (UID 1 FLAGS ())\r\n"]

    met = await world.meet(
        {"SELECT": selecting(1), "UID FETCH": lambda line: answer(line) if "BODY" in line else flags(line)}
    )
    assert isinstance(met, RunReport)
    assert big in world.bodies(Side.RIGHT)
    assert world.peak < 100 * MIB


async def test_flags_longer_than_any_are_no_flags(world: HostileWorld) -> None:
    monster = b"k" * MIB

    def answer(line: str) -> list[bytes]:
        if "BODY" in line:
            return fetching(line)
        return [b"* %d FETCH (UID %d FLAGS (\\Seen %s%d))\r\n" % (n, n, monster, n) for n in (1, 2, 3)]

    met = await world.meet({"UID FETCH": answer})
    assert isinstance(met, RunReport)
    assert len(world.bodies(Side.RIGHT)) == 4
    assert all(len(flag) < 100 for held in world.right.contents().values() for flag in held.flags)


NAMES = (
    b"..",
    b"../../escape",
    b"/etc",
    b"a//b",
    b"cur",
    b"&AC4ALg-",
    b"&AC8-etc",
    b"x" * 300,
    b"Work",
    b"work",
    b"&2AA-",
)


async def test_hostile_names_are_refused_by_name_and_the_rest_goes_on(
    world: HostileWorld, tmp_path: Path
) -> None:
    """The class of CVE-2021-20247."""
    answers = dict(GOOD)
    answers["LIST"] = lambda _line: [b'* LIST () "/" %s\r\n' % name for name in (b"INBOX", *NAMES)]
    beside = tmp_path / "beside"
    beside.mkdir()
    root = beside / "down" / "mail"
    async with hostile(answers) as store:
        store.address = "left"
        right = MaildirStore(root)
        world.pair = replace(world.pair, left=store, right=right)
        with State.open(tmp_path / "names.db", left="left", right=right.address, now=time.time) as state:
            report = await sync(world.pair, state)
    told = {str(problem.mailbox or problem.error.message)[:20] for problem in report.problems}
    assert any("x" * 20 in one for one in told)
    held = {path.parent.parent for path in root.rglob("*") if path.is_file() and path.parent.name == "new"}
    assert len(held) == len([result for result in report.mailboxes if result.in_step]) >= 6
    assert all(path.is_relative_to(root) for path in beside.rglob("*") if path.is_file())
    assert {path.name for path in beside.iterdir()} == {"down"}
    assert {MailboxName(("Work",)), MailboxName(("work",))} <= {result.name for result in report.mailboxes}


async def test_an_odd_maildir_harms_no_server_and_stops_nothing(tmp_path: Path) -> None:
    """Directories, links and pipes that somebody put into a Maildir, on their way to a server."""
    root, secret = tmp_path / "mail", tmp_path / "secret"
    for box in ("", ".Good", ".\x1b[31m", ".a*b", ".Link to nowhere", ".Bait"):
        for part in ("cur", "new", "tmp"):
            (root / box / part).mkdir(parents=True)
    (root / ".Bait" / "cur").rmdir()
    for part in ("cur", "new", "tmp"):
        (secret / part).mkdir(parents=True)
    (secret / "cur" / "1.secret:2,").write_bytes(b"Subject: secret\n\nx\n")
    (root / ".Bait" / "cur").symlink_to(secret / "cur")
    (root / ".circle").symlink_to(".circle")
    (root / ".Good" / "cur" / "1.bait:2,").symlink_to(secret / "cur" / "1.secret:2,")
    os.mkfifo(root / ".Good" / "cur" / "2.pipe:2,")
    (root / ".Good" / "cur" / "3.good:2,").write_bytes(b"Subject: good\n\nx\n")
    server_mail = SimMail()
    account = server_mail.add_account("alice", "secret")
    async with SimServer(server_mail) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        right = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        left = MaildirStore(root)
        with State.open(tmp_path / "state.db", left=left.address, right="right", now=time.time) as state:
            report = await sync(Pair(left, right), state)
    told = " ".join(f"{problem.mailbox} {problem.ref} {problem.error.message}" for problem in report.problems)
    for word in ("1.bait", "2.pipe", ".Bait", "control character"):
        assert word in told, word
    assert "a*b" in account
    assert account["Good"].bodies() == [b"Subject: good\r\n\r\nx\r\n"]
    held = [body for name in account.names() for body in account[name].bodies()]
    assert not any(b"secret" in body for body in held)
    assert (secret / "cur" / "1.secret:2,").exists()
