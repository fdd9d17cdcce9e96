"""`docs/servers.md` is true: each behaviour has a row, each test named there exists and runs. And two behaviours that
are too large for a transcript.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.client.scripted import Step, greeting, scripted
from tests.transcripts.reading import read_all

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.imap.linelimits import LIMITS
from mailtwin.imap.quirks import QUIRKS
from mailtwin.model import INBOX
from mailtwin.model.flags import make_flags
from mailtwin.stores.base import FlagChange
from mailtwin.stores.imap import ImapStore

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text("utf-8")
TRANSCRIPTS = read_all()


def section(title: str) -> str:
    """The text of one section of the page."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the rows of the table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return [name.strip() for name in cell.split(",")]


SECTIONS = ("What was seen", "The rules", "Extensions", "What a client has to survive")
NAMED = {name for title in SECTIONS for row in rows(title) for name in names(row[-1])}


def functions(path: Path) -> set[str]:
    """The tests of a file that can run: none that is skipped or expected to fail."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {
                part.attr
                for mark in node.decorator_list
                for part in ast.walk(mark)
                if isinstance(part, ast.Attribute)
            }
            if not marks & {"skip", "skipif", "xfail"}:
                found.add(node.name)
    return found


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_test_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    if function:
        assert function in functions(ROOT / path)
    else:
        assert name in TRANSCRIPTS


def test_every_behaviour_has_a_row_and_every_row_a_behaviour() -> None:
    told = {name for row in rows("What was seen") for name in names(row[2])}
    assert told == {quirk.name for quirk in QUIRKS} | {limit.name for limit in LIMITS}


def test_every_transcript_is_told_once_or_more() -> None:
    told = set(re.findall(r"[a-z]+/[a-z0-9-]+", section("What was seen")))
    assert set(TRANSCRIPTS) == {name for name in told if not name.startswith("tests/")}


def test_every_rule_has_a_row() -> None:
    assert [row[0] for row in rows("The rules")] == [f"R{number}" for number in range(1, 21)]


def test_every_row_of_what_a_client_survives_is_a_test_of_its_own() -> None:
    tested = Counter(row[-1].partition("::")[2] for row in rows("What a client has to survive"))
    written = {
        name for name in functions(ROOT / "tests/client/test_session.py") if name.startswith("test_row_")
    }
    assert set(tested) == written
    assert set(tested.values()) == {1}


# --- too large for a transcript ---


def store_on(endpoint: Endpoint) -> ImapStore:
    return ImapStore(endpoint, lambda: Credentials("user", Secret("secret")), "user")


def opened(count: int, *capabilities: str) -> list[Step]:
    """What a store does until it has selected an INBOX with `count` messages."""
    return [
        greeting(*capabilities),
        'A1 LIST "" "*"',
        b'* LIST () "/" "INBOX"\r\nA1 OK listed\r\n',
        'A2 SELECT "INBOX"',
        b"* %d EXISTS\r\n* OK [UIDVALIDITY 7] numbering\r\nA2 OK [READ-WRITE] in\r\n" % count,
    ]


@pytest.mark.parametrize(("count", "covered"), [(9_999, True), (10_000, False), (10_001, False)])
async def test_messages_below_a_window_are_not_gone(count: int, covered: bool) -> None:
    told = b"".join(b"* %d FETCH (UID %d FLAGS ())\r\n" % (seq, seq + 100) for seq in range(1, count + 1))
    script = [
        *opened(count, "XYMHIGHESTMODSEQ"),
        "A3 UID FETCH 1:* (UID FLAGS)",
        told + b"A3 OK done\r\n",
        "A4 LOGOUT",
    ]
    async with scripted(script) as endpoint:
        store = store_on(endpoint)
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            listing = (await mailbox.observe()).listing
        await store.close()
    assert listing.lacks(50) is covered
    assert listing.lacks(count + 101)


@asynccontextmanager
async def listening(capability: str, heard: list[bytes]) -> AsyncIterator[Endpoint]:
    """A server that says OK to everything and keeps what it heard."""
    answers = {
        b"LIST": b'* LIST () "/" "INBOX"\r\n',
        b"SELECT": b"* 2000 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n",
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting(*capability.split()))
        while line := await reader.readline():
            heard.append(line)
            tag, verb, *_ = line.split()
            writer.write(answers.get(verb, b"") + tag + b" OK done\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plain")
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("capability", "line_bytes_max", "count"),
    [("XYMHIGHESTMODSEQ", 1_000, 13), ("", 8_000, 2), ("X-GM-EXT-1", 16_000, 1)],
    ids=["takes-short-lines", "not-known", "takes-16k-lines"],
)
async def test_sets_fit_the_lines_of_the_server(capability: str, line_bytes_max: int, count: int) -> None:
    """2,000 messages that no range can join, in as many commands as the server's lines ask for."""
    heard: list[bytes] = []
    uids = range(10_001, 14_001, 2)
    async with listening(capability, heard) as endpoint:
        store = store_on(endpoint)
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            await mailbox.store_flags([FlagChange(tuple(uids), make_flags(["\\Seen"]), make_flags(()))])
        await store.close()
    stores = [line for line in heard if b"UID STORE" in line]
    assert all(len(line) <= line_bytes_max for line in stores)
    assert len(stores) == count
    assert b",".join(line.split()[3] for line in stores) == ",".join(map(str, uids)).encode()
