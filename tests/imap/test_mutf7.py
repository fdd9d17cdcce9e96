"""Modified UTF-7 both ways: known names, damaged names, any name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.imap.mutf7 import decode, encode, is_exact

KNOWN = [
    ("INBOX", b"INBOX"),
    ("", b""),
    ("Tom & Jerry", b"Tom &- Jerry"),
    ("&", b"&-"),
    ("&-", b"&--"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
    ("Entwürfe", b"Entw&APw-rfe"),
    ("é&é", b"&AOk-&-&AOk-"),
    ("😀", b"&2D3eAA-"),
    ("a\tb\x7f", b"a&AAk-b&AH8-"),
    ("\x00", b"&AAA-"),
    ("[Gmail]/Отправленные", b"[Gmail]/&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"),
    ("+~\\ \"%*", b"+~\\ \"%*"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wire"), KNOWN)
def test_known_names(text: str, wire: bytes) -> None:
    assert encode(text) == wire
    assert decode(wire) == text
    assert is_exact(text)


DAMAGED = [
    (b"a&b", "a\udc26b"),
    (b"&", "\udc26"),
    (b"&AOk", "\udc26AOk"),
    (b"&AOk-&AOk-", "é\udc26AOk-"),
    (b"&AGEA-", "\udc26AGEA-"),
    (b"&AGE-", "\udc26AGE-"),
    (b"&A-", "\udc26A-"),
    (b"&2AA-", "\udc262AA-"),
    (b"&AOl-", "\udc26AOl-"),
    (b"&U/BTFw-", "\udc26U/BTFw-"),
    (b"caf\xc3\xa9", "caf\udcc3\udca9"),
    (b"a\r\nb\0", "a\udc0d\udc0ab\udc00"),
    (b"\x7f", "\udc7f"),
]


@pytest.mark.parametrize(("wire", "text"), DAMAGED)
def test_damaged_names_are_kept(wire: bytes, text: str) -> None:
    assert decode(wire) == text
    assert encode(text) == wire
    assert not is_exact(text)


PIECES = [b"&", b"-", b"AOk", b"A", b"AAA", b"+", b",", b"/", b"=", b"\xe9", b"\0", b"2D3eAA", b"2D0", b" "]


@given(st.binary(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_every_name_on_the_wire_survives(wire: bytes) -> None:
    assert encode(decode(wire)) == wire


@given(st.text(max_size=40))
def test_every_text_survives(text: str) -> None:
    wire = encode(text)
    assert all(0x20 <= byte <= 0x7E for byte in wire)
    assert decode(wire) == text


def test_other_surrogates_are_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode("a\ud800")


def test_long_names_take_linear_time() -> None:
    assert encode(decode(b"&" * 1_000_000)) == b"&" * 1_000_000
    assert encode(decode(b"&" + b"A" * 1_000_000)) == b"&" + b"A" * 1_000_000
