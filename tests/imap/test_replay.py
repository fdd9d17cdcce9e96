"""What hears every transcript again would see a connection that depends on how its bytes were cut."""

from __future__ import annotations

import pytest
from tests.imap.conftest import Transcript, hear_again
from tests.imap.replay import Act, Run, Step, in_two, single, whole

from mailtwin.imap import commands as c
from mailtwin.imap.framing import Framer

STEPS: list[Step] = [
    b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n",
    *(c.Append.of("x", b"body"), Act.WRITE, b"* 1 EXISTS\r\n+ go\r\n", Act.WRITE, b"A1 OK done\r\n"),
    *(c.Idle(), Act.WRITE, b"+\r\n", Act.DONE, Act.WRITE, b"A2 OK\r\n", Act.CLOSED),
]


def test_a_transcript_is_played() -> None:
    log = Run().play(STEPS)
    assert b'A1 APPEND "x" {4}\r\n' in log
    assert b"body\r\n" in log
    assert b"DONE\r\n" in log
    assert "UnreachableError: the server closed the connection" in log
    hear_again(Transcript(None, STEPS, 75))


def test_cuts() -> None:
    assert list(whole(b"abc")) == [b"abc"]
    assert list(single(b"abc")) == [b"a", b"b", b"c"]
    cut = in_two(4)
    assert [cut(b"abc"), cut(b"de"), cut(b"fg")] == [[b"abc"], [b"d", b"e"], [b"fg"]]


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A framer that loses the last byte of a piece, but only where a line is not complete yet."""
    feed = Framer.feed
    monkeypatch.setattr(
        Framer, "feed", lambda self, data: feed(self, data[:-1] if data[-1:] == b"X" else data)
    )
    hear_again(Transcript(None, [b"* PREAUTH hello\r\n"], 17))
    with pytest.raises(AssertionError, match="byte by byte"):
        hear_again(Transcript(None, [b"* PREAUTH heXXo\r\n"], 17))


def test_every_position_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[bytes] = []
    feed = Framer.feed

    def noting(self: Framer, data: bytes) -> None:
        fed.append(data)
        feed(self, data)

    monkeypatch.setattr(Framer, "feed", noting)
    greeting = b"* PREAUTH hello\r\n"
    hear_again(Transcript(None, [greeting], len(greeting)))
    assert {greeting[:at] for at in range(1, len(greeting) + 1)} <= set(fed)
