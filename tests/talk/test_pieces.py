"""The pure parts: bytes cut without a change, what a terminal is spared, what completion offers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.imap.framing import Framer
from mailtwin.imap.parser import parse
from mailtwin.talk.hearing import Hearing
from mailtwin.talk.knowledge import Knowledge, written
from mailtwin.talk.redaction import Redactor
from mailtwin.talk.screen import LITERAL_SHOWN_BYTES, Screen, View, printable

WIRE = (
    b"* OK [CAPABILITY IMAP4rev1 X] hi {5}\r\n\r\n"
    b"* 1 FETCH (BODY[1] {5}\r\na\r\nb\x1b BODY[2] ~{3}\r\nx\0y UID 7)\n"
    b"* 2 FETCH (BODY[] {70000}\r\n" + b"z" * 70000 + b" FLAGS (\\Seen $x))\r\n+ \r\nT1 OK\r\r\n"
)


@given(st.lists(st.integers(1, 30_000), max_size=12))
def test_not_a_byte_is_lost(sizes: list[int]) -> None:
    hearing, at, raw, frames = Hearing(), 0, b"", 0
    for size in [*sizes, len(WIRE)]:
        for piece in hearing.feed(WIRE[at : at + size]):
            assert b"".join(part for part, _ in piece.parts()) == piece.raw or piece.is_literal
            raw += piece.raw
            frames += piece.frame is not None
        at += size
    assert raw + hearing.begun == WIRE
    assert frames == 5


def shown(wire: bytes, *, view: View = View.RAW, everything: bool = False) -> str:
    out = io.StringIO()
    screen = Screen(out, io.StringIO(), Redactor(), view=view)
    screen.shows_all = everything
    screen.parsed(wire)
    for piece in Hearing().feed(wire):
        screen.heard(piece)
    return out.getvalue()


def test_how_it_looks() -> None:
    lines = shown(WIRE).splitlines()
    assert lines[:9] == [
        "S: * OK [CAPABILITY IMAP4rev1 X] hi {5}",
        "S: ",
        "S: * 1 FETCH (BODY[1] {5}",
        "S| a",
        "S| b\\x1b",
        "S:  BODY[2] ~{3}",
        "S| x\\x00y",
        "S:  UID 7) [ends in LF without CR]",
        "S: * 2 FETCH (BODY[] {70000}",
    ]
    assert lines[-3].startswith("S:  FLAGS")
    assert f"S| [{70000 - LITERAL_SHOWN_BYTES:,} more octets; /all shows everything]" in lines
    assert lines[-1] == "S: T1 OK [CR before CRLF]"
    assert shown(WIRE, everything=True).count("z") == 70000


def test_parsed() -> None:
    objects = [json.loads(line) for line in shown(WIRE, view=View.PARSED).splitlines()]
    assert [one["name"] for one in objects] == ["OK", "FETCH", "FETCH", None, "OK"]


@given(st.binary())
@pytest.mark.parametrize("view", list(View))
def test_nothing_moves_the_cursor(view: View, data: bytes) -> None:
    wire = b"* OK " + data.replace(b"\n", b"") + b'\r\n* LIST () "/" {%d}\r\n%b\r\n' % (len(data), data)
    assert all(char.isprintable() or char == "\n" for char in shown(wire, view=view).replace("\t", ""))


def test_printable() -> None:
    assert printable("a\x9b\u202e\U000e0001é") == "a\\x9b\\u202e\\udb40\\udc01é"


def test_the_log_is_for_its_owner_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    screen = Screen(io.StringIO(), io.StringIO(), Redactor(), view=View.PARSED, log=log)
    screen.said(b"T1 LOGIN joe tiger\r\n")
    screen.close()
    assert log.read_text() == "C: T1 LOGIN joe ***\n"
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def knowledge() -> Knowledge:
    known, framer = Knowledge(), Framer()
    framer.feed(
        b'* LIST () "/" "Sent Items"\r\n* LIST () "/" Sent\r\n* STATUS "Q\\"x" (MESSAGES 1)\r\n'
        b"* 1 FETCH (FLAGS ($Junk))\r\n* OK [PERMANENTFLAGS (Work \\*)] x\r\n"
        b'* CAPABILITY IMAP4rev1 XSTUFF AUTH=PLAIN\r\n* LIST () "/" {4}\r\na\x1b[2\r\n'
    )
    while (frame := framer.next()) is not None:
        known.learn(parse(frame))  # type: ignore[arg-type]
    return known


OFFERED = [
    ("SEL", ["SELECT"]),
    ("sel", ["SELECT"]),
    ("/p", ["/parsed"]),
    ("UID FE", ["FETCH"]),
    ("SELECT Sen", ["Sent", '"Sent Items"']),
    ('SELECT "Sent I', ['"Sent Items"']),
    ("STATUS Q", ['"Q\\"x"']),
    ("SELECT a", []),
    ("UID STORE 1 +FLAGS (\\S", ["\\Seen"]),
    ("UID STORE 1 +FLAGS ($", ["$Junk"]),
    ("UID STORE 1 +FLAGS (W", ["Work"]),
    ("UID FETCH 1 (FL", ["FLAGS"]),
    ("ENABLE XS", ["XSTUFF"]),
    ("AUTHENTICATE P", ["PLAIN"]),
    ("NOOP ", []),
]


@pytest.mark.parametrize(("line", "expected"), OFFERED)
def test_completion(knowledge: Knowledge, line: str, expected: list[str]) -> None:
    word, offered = knowledge.complete(line)
    assert line.endswith(word)
    assert sorted(offered) == sorted(expected)


def test_names_are_written_as_a_command_has_them() -> None:
    assert [written(name) for name in (b"a", b"a b", b'a"\\', b"&AOk-")] == [
        "a",
        '"a b"',
        '"a\\"\\\\"',
        "&AOk-",
    ]
