"""Behaviours that no RFC has, by the words that servers used."""

from __future__ import annotations

import pytest

from mailtwin.imap.quirks import (
    QUIRKS,
    SUBSTITUTE_BYTES_MAX,
    TEXT_SHOWN_MAX,
    Throttle,
    is_back_end_missing,
    is_id_wanted,
    is_substitute,
    limit_of,
    takes_one_at_a_time,
    text_of,
    throttle_in,
    throttle_of,
    window_of,
)
from mailtwin.imap.responses import Code, Status


def status(text: bytes, code: str | None = None) -> Status:
    return Status("NO", "A1", None if code is None else Code(code), text)


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        (status(b"Request is throttled. Suggested Backoff Time: 299961 milliseconds"), Throttle(299.961)),
        (status(b"Suggested Backoff Time: 999999999999 milliseconds"), Throttle(86400.0)),
        (status(b"Success [THROTTLED]"), Throttle(None)),
        (status(b"x", "THROTTLED"), Throttle(None)),
        (status(b"x", "LIMIT"), Throttle(None)),
        (status(b"Too many simultaneous connections. (Failure)", "ALERT"), Throttle(None)),
        (status(b"Account exceeded command or bandwidth limits.", "OVERQUOTA"), Throttle(86400.0)),
        (status(b"[OVERQUOTA] Account exceeded command or bandwidth limits."), Throttle(86400.0)),
        (status(b"Bandwidth limits are near"), Throttle(None)),
        (status(b"Maximum number of connections from user+IP exceeded"), Throttle(None)),
        (status(b"Connection is closed. 14"), Throttle(None)),
        (status(b"Connection is closed. 15"), Throttle(None)),
        (status(b"Quota exceeded", "OVERQUOTA"), None),
        (status(b"UID FETCH Server error", "UNAVAILABLE"), None),
        (status(b"no such mailbox", "NONEXISTENT"), None),
        (status(b""), None),
        (status(b"\xff\xfe"), None),
    ],
)
def test_throttle(said: Status, pause: Throttle | None) -> None:
    assert throttle_of(said) == pause


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (status(b"x", "MESSAGELIMIT"), "MESSAGELIMIT"),
        (status(b"Success [THROTTLED]"), "THROTTLED"),
        (status(b"some [MESSAGELIMIT 1000 23]"), "MESSAGELIMIT"),
        (status(b"THROTTLED"), None),
        (status(b"[LIMIT now] and then"), "LIMIT"),
        (status(b"[LIMITED] to you, [UNLIMITED"), None),
        (status(b"[LIMIT"), None),
        (status(b"[INUSE " * 100_000), "INUSE"),
        (status(b"[INUS" * 1_000_000), None),
        (status(b"ok", "UIDNEXT"), None),
    ],
)
def test_limit(said: Status, limit: str | None) -> None:
    assert limit_of(said) == limit


def test_back_end_missing() -> None:
    assert is_back_end_missing(status(b"User is authenticated but not connected."))
    assert not is_back_end_missing(status(b"User is connected."))


def test_a_line_that_is_no_response_may_ask_for_a_pause() -> None:
    assert throttle_in(b"Server Unavailable. 15") == Throttle(None)
    assert throttle_in(b"Server Unavailable. 7") is None


def test_id_wanted() -> None:
    assert is_id_wanted(status(b"SELECT Unsafe Login. Please contact support"))
    assert not is_id_wanted(status(b"SELECT no such mailbox"))
    assert not is_id_wanted(Status("OK", "A1", None, b"unsafe login"))


def test_notices_instead_of_messages() -> None:
    notice = b"From: x\r\nSubject: Retrieval using the IMAP4 protocol failed for the following message: 7\r\n\r\nSorry"
    assert is_substitute(notice)
    assert not is_substitute(b"Subject: Re: retrieval using the imap4 protocol failed\r\n\r\n")
    assert is_substitute(notice.ljust(SUBSTITUTE_BYTES_MAX))
    assert not is_substitute(notice.ljust(SUBSTITUTE_BYTES_MAX + 1))


def test_windows_and_one_at_a_time() -> None:
    assert window_of(frozenset({"IMAP4REV1", "XYMHIGHESTMODSEQ"})) == 10_000
    assert window_of(frozenset({"IMAP4REV1"})) is None
    assert takes_one_at_a_time("Microsoft.Exchange.Imap4.Imap4Server")
    assert not takes_one_at_a_time("Dovecot")
    assert not takes_one_at_a_time("")


def test_a_servers_text_is_shown_without_control_characters_and_not_without_end() -> None:
    assert text_of(b" a\x1b[31mb\r\xff ") == "a?[31mb?\ufffd"
    assert len(text_of(b"x" * (TEXT_SHOWN_MAX + 1))) == TEXT_SHOWN_MAX


def test_each_quirk_says_everything() -> None:
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
    assert all(quirk.sign and quirk.answer and quirk.seen for quirk in QUIRKS)
