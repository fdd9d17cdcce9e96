"""The parts of the simulated server that have an answer without a connection: names, arguments, the mail store."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from tests.testing.rawclient import HI, world

from mailtwin.testing.simmail import SimMail, SimMailbox
from mailtwin.testing.simmime import header_fields, split_message
from mailtwin.testing.simnames import decode_mutf7, encode_mutf7, list_pattern
from mailtwin.testing.simparse import BadCommand, Cursor, format_datetime, format_set, quote, string


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("R&D", b"R&-D"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # the example of RFC 3501
        ("Entwürfe", b"Entw&APw-rfe"),
        ("🎂", b"&2Dzfgg-"),
        ("a\tb", b"a&AAk-b"),
    ],
)
def test_modified_utf7(name: str, wire: bytes) -> None:
    assert encode_mutf7(name) == wire
    assert decode_mutf7(wire) == name


@pytest.mark.parametrize("wire", [b"&", b"&abc", b"\xc3\xbc", b"&AA-", b"&2Dw-", b"a\tb", b"&A-"])
def test_names_that_are_not_modified_utf7(wire: bytes) -> None:
    with pytest.raises(ValueError):
        decode_mutf7(wire)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*", ["INBOX", "a", "a/b", "a/b/c"]),
        ("%", ["INBOX", "a"]),
        ("a/%", ["a/b"]),
        ("a*", ["a", "a/b", "a/b/c"]),
        ("%/%/c", ["a/b/c"]),
        ("inbox", ["INBOX"]),
        ("A", []),
        ("%%%**%", ["INBOX", "a", "a/b", "a/b/c"]),
    ],
)
def test_list_patterns(pattern: str, matching: list[str]) -> None:
    regex: re.Pattern[str] = list_pattern(pattern, "/")
    assert [name for name in ("INBOX", "a", "a/b", "a/b/c") if regex.fullmatch(name)] == matching


def test_strings() -> None:
    assert Cursor(b'"a \\"b\\" \\\\"').astring() == b'a "b" \\'
    assert Cursor(b"{3}\r\na\r\n rest").astring() == b"a\r\n"
    assert Cursor(b"a]b").astring() == b"a]b"
    assert Cursor(b"a]b").atom() == b"a"
    assert quote(b'a"\\') == b'"a\\"\\\\"'
    assert string(b"a b") == b'"a b"'
    assert string(b'a"b') == b'{3}\r\na"b'


@pytest.mark.parametrize("raw", [b'"open', b'"a\r\nb"', b'"\\x"', b"{9}\r\nshort", b"", b"(", b"{3}abc"])
def test_strings_that_are_none(raw: bytes) -> None:
    with pytest.raises(BadCommand):
        Cursor(raw).astring()


@pytest.mark.parametrize("day", ["31-Feb-2026", "1-Jan-2026", " 1-Foo-2026", " 1-Jan-26"])
def test_date_times_that_are_none(day: str) -> None:
    with pytest.raises(BadCommand):
        Cursor(f'"{day} 00:00:00 +0000"'.encode()).date_time()


def test_date_times_and_sets() -> None:
    assert Cursor(b'" 1-jan-2026 00:00:00 -0130"').date_time().isoformat() == "2026-01-01T00:00:00-01:30"
    assert format_datetime(datetime(2026, 1, 2, 3, 4, 5)) == b'" 2-Jan-2026 03:04:05 +0000"'  # noqa: DTZ001
    assert format_set([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10"
    assert format_set([]) == ""
    with pytest.raises(BadCommand):
        Cursor(b"99999999999").number()


def test_header_and_text() -> None:
    assert split_message(b"\r\ntext") == (b"\r\n", b"text")
    assert split_message(b"A: 1\n\ntext") == (b"A: 1\n\n", b"text")
    assert split_message(b"A: 1\r\n") == (b"A: 1\r\n", b"")
    assert header_fields(b"A: 1\r\n\t2\r\nodd\r\nB:\r\n\r\nC: 3") == [
        (b"a", b"A: 1\r\n\t2\r\n"),
        (b"", b"odd\r\n"),
        (b"b", b"B:\r\n"),
    ]


def test_flags_are_equal_in_any_case_and_keep_their_first_spelling() -> None:
    mailbox: SimMailbox = SimMail().add_account("a", "b")["inbox"]
    uid = mailbox.append(HI, ["\\SEEN", "Work", "\\Recent"])
    before = mailbox.highest_modseq
    assert mailbox.set_flags(uid, ["\\seen", "WORK"]).flags == {"\\Seen", "Work"}
    assert mailbox.highest_modseq == before


def test_what_the_mail_store_refuses() -> None:
    mail = SimMail()
    account = mail.add_account("a", "b")
    account.create("X/Y")
    for wrong in (
        lambda: mail.add_account("a", "c"),
        lambda: account.create("Inbox"),
        lambda: account.create("/x"),
        lambda: account.rename("X", "INBOX"),
        lambda: account.rename("X", "X/Y/Z"),
    ):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(KeyError):
        account.rename("nowhere", "else")
    account.rename("X/Y", "Z")
    assert account.names() == ["INBOX", "Z"]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("SENTON 2-Jan-2020", b" 1"),
        ("SENTBEFORE 2-Jan-2020", b""),
        ("SENTSINCE 1-Jan-2020", b" 1"),
        ("FROM bob", b" 1"),
        ("SUBJECT|one two", b" 1"),
        ("SMALLER 20", b" 2"),
        ("RECENT", b" 1 2"),
        ("NEW", b" 1 2"),
        ("OLD", b""),
        ('MODSEQ "/flags/\\\\seen" all 3', b" 2 (MODSEQ 3)"),
    ],
)
async def test_more_search_keys(keys: str, found: bytes) -> None:
    dated = b"Date: Thu, 2 Jan 2020 23:59:00 -0800\r\nFrom: Bob <b@x>\r\nSubject: one\r\n two\r\n\r\n"
    async with world(bodies=[dated, b"Date: never\r\n\r\n"]) as made:
        client = await made.login("INBOX")
        assert b"* SEARCH" + found in await client.command(*f"SEARCH {keys}".split("|"))


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("SEARCH CHARSET KOI8-R ALL", b" NO [BADCHARSET"),
        ("SEARCH RETURN (SAVE) ALL", b" BAD "),
        ("ID (x)", b" BAD "),
        ("SUBSCRIBE nowhere", b" NO [NONEXISTENT]"),
        ("RENAME nowhere else", b" NO [NONEXISTENT]"),
        ("STATUS INBOX (FOO)", b" BAD "),
        ("STATUS &foo (UIDNEXT)", b" NO [CANNOT]"),
        ('LIST "" &foo', b" BAD "),
        ("SELECT INBOX (FOO)", b" BAD "),
        ("STORE 1 ~FLAGS (\\Seen)", b" BAD "),
        ("CHECK", b" OK "),
        ("STATUS INBOX (RECENT UNSEEN)", b" OK "),
    ],
)
async def test_replies(line: str, reply: bytes) -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert reply in (await client.command(line))[-1]


async def break_the_clock() -> None:
    """Make the simulator itself fail in a session, which hangs up."""

    def no_time() -> datetime:
        raise ZeroDivisionError

    async with world() as made:
        client = await made.login()
        made.server.mail.clock = no_time
        made.account.create("A")
        client.send(b"a APPEND A {1+}\r\nx\r\n")
        assert await client.rest() == b""


async def test_an_error_of_the_simulator_itself_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await break_the_clock()


async def test_a_literal_beyond_all_reason_ends_the_connection() -> None:
    async with world() as made:
        client = await made.login()
        client.send(b"a APPEND INBOX {99999999999+}\r\n")
        assert (await client.rest()).startswith(b"* BYE")
