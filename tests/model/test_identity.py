"""Who a message is: the header scanner against the standard library's parser, and when two are taken for one."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model.identity import (
    HEADER_BYTES_MAX,
    IDENTITY_FIELDS,
    Identity,
    header_fields,
    identity_of,
)

NOTHING = dict.fromkeys(IDENTITY_FIELDS, b"")

HEADERS = [
    (b"", {}),
    (b"\r\nSubject: body\r\n", {}),
    (b"Subject: a\r\n\r\nDate: body\r\n", {"subject": b"a"}),
    (b"Subject: a\n\nDate: body\n", {"subject": b"a"}),
    (b"SUBJECT:a\r\nmessage-ID:  <x@y> \r\n", {"subject": b"a", "message-id": b"<x@y>"}),
    (b"Subject: a\r\n b\r\n\tc\r\nDate: d\r\n", {"subject": b"a b c", "date": b"d"}),
    (b"Message-ID:\r\n <folded@x>\r\n", {"message-id": b"<folded@x>"}),
    (b"Subject: first\r\nSubject: second\r\n more\r\n", {"subject": b"first"}),
    (b"X-Subject: no\r\nReceived: by a\r\n subject: no\r\nFrom: f\r\n", {"from": b"f"}),
    (b"Subject : spaced\r\n", {"subject": b"spaced"}),
    (b"Subject: caf\xe9 \xff\r\n", {"subject": b"caf\xe9 \xff"}),
    (b"Subject: a  \t b\r\n", {"subject": b"a b"}),
    (b"Subject: a\r\n \r\nDate: d\r\n", {"subject": b"a", "date": b"d"}),
    (b"From x@y Mon Jan 1\r\nSubject: mbox\r\n", {"subject": b"mbox"}),
    (b"Subject: =?utf-8?q?a?=\r\n", {"subject": b"=?utf-8?q?a?="}),
    (b"Subject:\r\n", {}),
    (b"Subject: last", {"subject": b"last"}),
    (b"Subject\r\nDate: d\r\n", {"date": b"d"}),
]


@pytest.mark.parametrize(("header", "expected"), HEADERS)
def test_fields(header: bytes, expected: dict[str, bytes]) -> None:
    assert header_fields(header) == NOTHING | expected


def test_line_ends_do_not_matter() -> None:
    header = b"Message-ID: <a@b>\r\nSubject: one\r\n two\r\nDate: now\r\n\r\n"
    assert header_fields(header) == header_fields(header.replace(b"\r\n", b"\n"))


def test_the_scan_has_a_limit() -> None:
    filler = b"X: " + b"x" * (HEADER_BYTES_MAX - 16) + b"\r\n"
    assert header_fields(filler + b"Date: 7\r\n")["date"] == b"7"
    assert header_fields(filler + filler + b"Date: 7\r\n")["date"] == b""


def test_a_field_of_many_lines_takes_linear_time() -> None:
    header = b"Subject: a\n" + b" b\n" * (HEADER_BYTES_MAX // 3)
    assert len(header_fields(header)["subject"]) > HEADER_BYTES_MAX // 2


def by_email(header: bytes) -> dict[str, bytes]:
    message = email.message_from_bytes(header, policy=email.policy.compat32)
    found = dict(NOTHING)
    for name, value in reversed(list(message.raw_items())):
        if name.lower() in found:
            found[name.lower()] = b" ".join(str(value).encode("ascii", "surrogateescape").split())
    return found


names = st.sampled_from(["Message-ID", "message-id", "Date", "FROM", "Subject", "X-Other", "To"])
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.sampled_from("\té"), max_size=20)
folds = st.lists(values.filter(lambda text: bool(text.strip())), min_size=1, max_size=3)
fields = st.tuples(names, folds)


@given(st.lists(fields, max_size=8), st.sampled_from(["\r\n", "\n"]), st.sampled_from([" ", "\t", "   "]))
def test_the_standard_library_agrees(listed: list[tuple[str, list[str]]], end: str, fold: str) -> None:
    lines = "".join(f"{name}: {(end + fold).join(parts)}{end}" for name, parts in listed)
    header = (lines + end + "Subject: body" + end).encode("latin-1")
    assert header_fields(header) == by_email(header)


@given(st.binary(max_size=200))
def test_anything_is_scanned(header: bytes) -> None:
    fields = header_fields(header)
    assert set(fields) == set(IDENTITY_FIELDS)
    identity_of(header, 1, None)


MESSAGE = b"Message-ID: <a@b>\r\nDate: now\r\nFrom: f\r\nSubject: s\r\n\r\n"


def test_what_makes_an_identity() -> None:
    identity = identity_of(MESSAGE, 100, None)
    assert identity is not None
    assert identity.content == "size:100"
    assert identity.has_message_id
    assert identity == identity_of(MESSAGE.replace(b"Subject: s", b"subject:  s"), 100, "ab")


@pytest.mark.parametrize(
    "other",
    [
        identity_of(MESSAGE, 101, None),
        identity_of(MESSAGE.replace(b"<a@b>", b"<c@d>"), 100, None),
        identity_of(MESSAGE.replace(b": now", b": later"), 100, None),
        identity_of(MESSAGE.replace(b"From: f", b"From: g"), 100, None),
        identity_of(MESSAGE.replace(b"Subject: s", b"Subject: t"), 100, None),
        identity_of(MESSAGE.replace(b"Message-ID: <a@b>\r\n", b""), 100, "ab"),
    ],
)
def test_what_makes_another_message(other: Identity | None) -> None:
    assert other is not None
    assert other != identity_of(MESSAGE, 100, None)


def test_without_message_id_the_digest_decides() -> None:
    header = MESSAGE.replace(b"Message-ID: <a@b>\r\n", b"")
    assert identity_of(header, 100, None) is None
    identity = identity_of(header, 100, "ab12")
    assert identity is not None
    assert identity.content == "sha256:ab12"
    assert not identity.has_message_id
    assert not identity.resembles(identity)


def test_resemblance_ignores_the_size_only() -> None:
    one, other = identity_of(MESSAGE, 100, None), identity_of(MESSAGE, 90, None)
    third = identity_of(MESSAGE.replace(b"<a@b>", b"<c@d>"), 100, None)
    assert one is not None
    assert other is not None
    assert third is not None
    assert one.resembles(other)
    assert not one.resembles(third)


def test_fields_cannot_run_into_each_other() -> None:
    one = identity_of(b"Message-ID: <a>\r\nDate: b\r\nFrom: c\r\n\r\n", 1, None)
    other = identity_of(b"Message-ID: <a>\r\nDate: b c\r\n\r\n", 1, None)
    assert one != other
