"""What a session rarely needs and a library user may: the corners of the kernel that no other file reaches."""

from __future__ import annotations

import hmac
import os
import runpy
import sys
from pathlib import Path

import pytest
from tests.imap.kinds import SECRET, UIDS
from tests.imap.test_commands import line
from tests.imap.wire import say

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import Connection
from mailtwin.imap import __main__ as tool
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.encode import name_text
from mailtwin.imap.framing import announced
from mailtwin.imap.jsonlines import Reader
from mailtwin.imap.outgoing import WRITE_BYTES
from mailtwin.imap.parser import head_of, parse_literal_place
from mailtwin.imap.sasl import cram
from mailtwin.model.limits import CAPABILITIES_MAX


def connected(greeting: bytes = b"* OK hi\r\n") -> Connection:
    connection = Connection()
    connection.receive_data(greeting)
    connection.next_event()
    return connection


def written(connection: Connection) -> bytes:
    """Everything that is to be sent now."""
    sent = b""
    while piece := connection.data_to_send():
        sent += piece
    return sent


@pytest.mark.parametrize(
    ("command", "about"), [(c.Select("x"), "x"), (c.Copy(UIDS, b"&AOk-"), b"&AOk-"), (c.Noop(), None)]
)
def test_a_command_says_which_mailbox_it_is_about(command: c.Command, about: str | bytes | None) -> None:
    assert command.about == about


def test_the_bytes_of_a_mailbox_name_are_written_as_they_came() -> None:
    assert line(c.Select(b"&AOk- \x22")) == b'SELECT "&AOk- \\""'


def test_a_mailbox_name_as_text() -> None:
    assert name_text(b"&AOk-", utf8=False) == name_text("é".encode(), utf8=True) == "é"


@pytest.mark.parametrize(
    "said", [b"BODY[TEXT", b"BODY[HEADER.FIELDS (DATE)", b"BODY[HEADER.FIELDS DATE]", b"BODY[]<x> 1"]
)
def test_a_body_section_without_an_end_is_one_lost_response(said: bytes) -> None:
    assert isinstance(say(b"* 1 FETCH (" + said), r.Unparsed)


def test_status_takes_nothing_but_its_status() -> None:
    connection = connected(b"* PREAUTH hi\r\n")
    handle = connection.send(c.StatusOf("x", ("MESSAGES",)))
    assert written(connection)
    connection.receive_data(
        b"* 3 EXISTS\r\n* STATUS y (MESSAGES 1)\r\n* STATUS x (MESSAGES 2)\r\nA1 OK done\r\n"
    )
    while not handle.ended:
        connection.next_event()
    assert handle.taken == 1


def test_receiving_into_the_buffer_is_receiving() -> None:
    connection = Connection()
    assert connection.is_idle
    data = b"* OK hi\r\n* OK more"
    at = 0
    while at < len(data):
        room = connection.get_buffer()
        count = min(len(room), 5, len(data) - at)
        room[:count] = data[at : at + count]
        connection.received(count)
        at += count
    assert connection.next_event() is not None
    assert connection.next_event() is None
    assert not connection.between_responses
    assert (connection.unread, connection.take_unread(), connection.unread) == (9, b"* OK more", 0)


def test_a_bad_that_nobody_is_guilty_of_is_only_heard() -> None:
    connection = connected(b"* PREAUTH hi\r\n")
    handle = connection.send(c.Noop())
    assert connection.in_flight == (handle,)
    assert written(connection)
    connection.receive_data(b"* BAD hm\r\nA1 OK done\r\n")
    while not handle.ended:
        connection.next_event()
    assert handle.refused is None


def test_a_fetch_without_a_number_teaches_no_sequence() -> None:
    """UIDFETCH of UIDONLY (RFC 9586 section 3.3) names the message by its UID alone."""
    connection = connected(b"* PREAUTH hi\r\n")
    handle = connection.send(c.Select("INBOX"))
    assert written(connection)
    connection.receive_data(
        b"* 1 EXISTS\r\n* OK [UIDNEXT 5] next\r\nA1 OK done\r\n* 9 UIDFETCH (FLAGS ())\r\n"
    )
    while not handle.ended:
        connection.next_event()
    connection.next_event()
    assert connection.state.selected is not None
    assert connection.state.selected.uid_next == 10


def test_no_server_announces_more_than_can_be_kept() -> None:
    names = " ".join(f"X{number:05}" for number in range(CAPABILITIES_MAX + 10))
    connection = connected(f"* OK [CAPABILITY {names}] hi\r\n".encode())
    assert not connection.state.capabilities_known
    connection.receive_data(f"* CAPABILITY {names}\r\n* CAPABILITY IDLE\r\n".encode())
    connection.next_event()
    assert (connection.state.capabilities, connection.state.capabilities_known) == (frozenset(), False)
    connection.next_event()
    assert connection.state.capabilities == {"IDLE"}


def test_a_large_piece_of_a_body_is_cut_for_back_pressure() -> None:
    connection = connected(b"* PREAUTH [CAPABILITY LITERAL+] hi\r\n")
    body = bytes(range(256)) * (WRITE_BYTES // 100)
    connection.send(c.Append("x", iter([b"", body, b"end"]), len(body) + 3, frozenset()))
    connection.receive_data(b"+ go on\r\n")
    pieces = [bytes(connection.data_to_send())]
    connection.next_event()
    while piece := bytes(connection.data_to_send()):
        pieces.append(piece)
    assert max(map(len, pieces)) <= WRITE_BYTES
    assert b"".join(pieces).endswith(body + b"end\r\n")


@pytest.mark.parametrize("segment", [b"", b"*", b"* ", b"A1 OK"])
def test_what_has_no_head(segment: bytes) -> None:
    assert head_of(segment) is None


@pytest.mark.parametrize(
    "prefix",
    [b'* LIST () "/" ', b"* 1 FETCH (UID 5 RFC822.SIZE ", b'* 1 FETCH (BODY[TEXT] "x" X ', b"nonsense "],
)
def test_a_literal_that_is_no_body(prefix: bytes) -> None:
    assert parse_literal_place(prefix) is None


def test_a_reader_that_failed_reads_nothing_more() -> None:
    reader = Reader()
    list(reader.feed(b"* OK {"))
    list(reader.end())
    assert reader.failed
    assert list(reader.feed(b"* OK more\r\n")) == []


def test_cram_md5_without_a_challenge_proves_nothing() -> None:
    exchange = cram.cram_md5("me", SECRET).start()
    assert next(exchange) == b""
    with pytest.raises(StopIteration):
        exchange.send(None)


def test_a_python_without_md5_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("unsupported hash type md5")

    monkeypatch.setattr(hmac, "new", refuse)
    exchange = cram.cram_md5("me", SECRET).start()
    next(exchange)
    with pytest.raises(LocalProtocolError, match="no MD5"):
        exchange.send(b"<1@x>")


# --- the tool, in this process ---


def run_tool(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], data: Path, *arguments: str
) -> tuple[int, str]:
    """The exit code and the output of the tool for this input."""
    monkeypatch.setattr(sys, "argv", ["mailtwin.imap", *arguments])
    before = os.dup(0)
    with data.open("rb") as source:
        os.dup2(source.fileno(), 0)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("mailtwin.imap", run_name="__main__")
    finally:
        os.dup2(before, 0)
        os.close(before)
    return int(ended.value.code or 0), capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize(("data", "code", "lines"), [(b"* OK hi\r\n* 1 EXISTS\r\n", 0, 2), (b"* OK h", 1, 1)])
def test_the_tool(
    data: bytes,
    code: int,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "said").write_bytes(data)
    for split in ("1", "1000"):
        ended, out = run_tool(monkeypatch, capfd, tmp_path / "said", "parse", "--split", split)
        assert (ended, out.count("\n")) == (code, lines)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("split", ["0", "-1", "x"])
def test_wrong_arguments_of_the_tool(
    split: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "said").write_bytes(b"")
    assert run_tool(monkeypatch, capfd, tmp_path / "said", "parse", "--split", split)[0] == 2


def test_who_read_the_output_has_seen_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "said").write_bytes(b"* OK hi\r\n")

    def broken(*_: object, **__: object) -> bool:
        raise BrokenPipeError

    monkeypatch.setattr(tool, "parse", broken)
    assert tool.main(["parse"]) == 1


def test_talk_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from mailtwin.talk import __main__ as talk

    seen: list[object] = []

    def main(words: object) -> int:
        seen.append(words)
        return 7

    monkeypatch.setattr(talk, "main", main)
    assert tool.main(["talk", "imap://me@h/"]) == 7
    assert seen == [["imap://me@h/"]]


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b'* LIST () "/" {5}', 5),
        (b"* 1 FETCH (BODY[] {12+}", 12),
        (b"* X ~{7}", 7),
        (b"* X y{5}", None),
        (b"", None),
    ],
)
def test_what_a_line_announces(line: bytes, size: int | None) -> None:
    assert announced(line) == size


def test_whether_something_waits_to_be_written() -> None:
    connection = connected(b"* PREAUTH hi\r\n")
    waits = [connection.has_to_send]
    connection.send(c.Append.of("x", b"body"))
    waits.append(connection.has_to_send)
    assert written(connection).endswith(b"{4}\r\n")
    waits.append(connection.has_to_send)  # the body, when the server asks for it
    connection.receive_data(b"+ go on\r\n")
    connection.next_event()
    assert written(connection) == b"body\r\n"
    waits.append(connection.has_to_send)
    assert waits == [False, True, True, False]


def test_nothing_behind_a_change_of_mailbox_is_answered_yet() -> None:
    connection = connected(b"* PREAUTH hi\r\n")
    select, status = connection.send(c.Select("INBOX")), connection.send(c.StatusOf("x", ("MESSAGES",)))
    assert written(connection)
    connection.receive_data(
        b"* STATUS x (MESSAGES 1)\r\n* 2 EXISTS\r\nA1 OK done\r\n* STATUS x (MESSAGES 3)\r\nA2 OK done\r\n"
    )
    while not status.ended:
        connection.next_event()
    assert (select.taken, status.taken) == (1, 1)
