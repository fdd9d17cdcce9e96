"""Command lines stay below what a server takes, by the behaviour that it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import Connection
from mailtwin.imap import commands as c
from mailtwin.imap.encode import Encoder
from mailtwin.imap.linelimits import CAUTIOUS, LIMITS, LineLimit, limit_of, split
from mailtwin.imap.state import SessionState
from mailtwin.model import UidSet


def state(capabilities: str = "IMAP4REV1", server: str = "NIL") -> SessionState:
    connection = Connection()
    connection.receive_data(f"* PREAUTH [CAPABILITY {capabilities}] hi\r\n* ID {server}\r\n".encode())
    while connection.next_event() is not None:
        pass
    return connection.state


@pytest.mark.parametrize(
    ("said", "name", "bytes_max"),
    [
        (state(), "not-known", 8_000),
        (state("IMAP4REV1 XYMHIGHESTMODSEQ"), "takes-short-lines", 1_000),
        (state("IMAP4REV1 SCAN SORT"), "takes-short-lines-only-ever", 1_000),
        (state("IMAP4REV1 SCAN ID"), "not-known", 8_000),
        (state("IMAP4REV1 X-GM-EXT-1"), "takes-16k-lines", 16_000),
        (state(server='("name" "Dovecot")'), "takes-64k-lines", 64_000),
        (state("SCAN", '("name" "Dovecot")'), "takes-short-lines-only-ever", 1_000),
        (state(server='("name" NIL "version" "7")'), "not-known", 8_000),
        (state(server='("name" "Dovecot clone")'), "not-known", 8_000),
    ],
)
def test_behaviours(said: SessionState, name: str, bytes_max: int) -> None:
    assert (limit_of(said).name, limit_of(said).bytes_max) == (name, bytes_max)


def test_the_table_has_one_row_for_each_behaviour_and_says_where_it_was_seen() -> None:
    rows: tuple[LineLimit, ...] = (*LIMITS, CAUTIOUS)
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.seen for row in rows)
    assert all(row.capabilities or row.names for row in LIMITS)


@given(
    st.sets(st.integers(1, 2**32 - 1), max_size=300), st.sampled_from(["SCAN", "IMAP4REV1"]), st.booleans()
)
def test_parts_are_everything_in_order_and_fit(uids: set[int], capability: str, moves: bool) -> None:
    said = state(capability)
    everything = UidSet.of(uids)

    def make(part: UidSet) -> c.Command:
        return c.Move(part, "Trash/é") if moves else c.Fetch(part, ("FLAGS", "RFC822.SIZE"))

    seen: list[int] = []
    for command in split(everything, make, said):
        assert isinstance(command, c.Move | c.Fetch)
        assert isinstance(command.uids, UidSet)
        seen += command.uids
        encoder = Encoder(said.dialect).raw("A99999999 ")
        command.encode(encoder)
        lines = sum(len(part) for part in encoder.finish() if isinstance(part, bytes))
        assert lines <= limit_of(said).bytes_max
    assert seen == sorted(uids)


def test_as_few_parts_as_fit() -> None:
    scattered = UidSet.of(range(1_000_000, 1_002_000, 2))
    parts = list(split(scattered, lambda part: c.Copy(part, "x"), state("SCAN")))
    assert len(parts) == 9  # 8,000 bytes into some 970


def test_a_command_that_fills_the_line_alone() -> None:
    with pytest.raises(LocalProtocolError):
        list(split(UidSet.of([1]), lambda part: c.Copy(part, "x" * 990), state("SCAN")))
