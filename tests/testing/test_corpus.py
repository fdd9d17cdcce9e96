"""The corpus: repeatable, on the wire as mail must be, and as varied as mailboxes are."""

from __future__ import annotations

import re
import statistics
from email import message_from_bytes
from email.policy import default
from itertools import islice

from mailtwin.testing.corpus import CorpusMessage, messages

SAMPLE = list(messages(seed=1, count=2000))


def share(pattern: bytes) -> float:
    return sum(bool(re.search(pattern, message.body)) for message in SAMPLE) / len(SAMPLE)


def test_the_same_seed_gives_the_same_mail() -> None:
    assert list(messages(1, 50)) == SAMPLE[:50]
    assert list(islice(messages(1, 10**6), 50)) == SAMPLE[:50]
    assert list(messages(2, 50)) != SAMPLE[:50]
    assert list(messages(1, 0)) == []


def test_lines_end_in_crlf_and_there_is_no_nul() -> None:
    bad = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")
    assert not any(bad.search(message.body) for message in SAMPLE)
    assert all(b"\r\n\r\n" in message.body for message in SAMPLE)


def test_sizes() -> None:
    sizes = [len(message.body) for message in SAMPLE]
    assert 7000 < statistics.median(sizes) < 9500
    assert min(sizes) > 300
    assert 100_000 < max(sizes) <= 4_300_000


def test_messages_differ() -> None:
    assert len({message.body for message in SAMPLE}) == len(SAMPLE)
    assert len(set(re.findall(rb"(?m)^Message-ID: (.*)\r$", b"".join(m.body for m in SAMPLE)))) > 1900


def test_every_shape_is_there() -> None:
    assert 0.2 < share(rb"\r\nIn-Reply-To: <") < 0.6
    assert 0.9 < share(rb"\r\nMessage-ID: <") < 1
    assert share(rb"Subject: (Re: )?=\?UTF-8\?Q\?") > 0.02
    assert share(rb"Subject: (Re: )?=\?utf-8\?B\?") > 0.02
    assert share(rb"Subject: [^\r]*[\x80-\xff]") > 0.02
    assert share(rb"Subject: [^\r]*\r\n ") > 0.02
    assert share(rb"Content-Disposition: attachment") > 0.05
    assert share(rb"multipart/alternative;") > 0.1
    assert share(rb"quoted-printable") > 0.03
    assert share(rb"Content-Type: text/html") > 0.1
    assert share(rb"multipart/alternative\r\n") > 0.002
    assert share(rb"not a header line") > 0.002


def test_replies_point_to_messages_that_are_there() -> None:
    known: set[bytes] = set()
    for message in SAMPLE:
        for parent in re.findall(rb"(?m)^In-Reply-To: (.*)\r$", message.body):
            assert parent in known
        known.update(re.findall(rb"(?m)^Message-ID: (.*)\r$", message.body))


def test_dates_ascend_and_have_a_zone() -> None:
    dates = [message.date for message in SAMPLE]
    assert dates == sorted(dates)
    assert all(date.tzinfo is not None for date in dates)
    assert len({date.utcoffset() for date in dates}) > 3


def test_flags() -> None:
    seen = {flag for message in SAMPLE for flag in message.flags}
    assert {"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded"} <= seen
    assert "\\Deleted" not in seen
    assert any(not message.flags for message in SAMPLE)


def test_a_mail_reader_can_read_it() -> None:
    multipart: CorpusMessage = next(m for m in SAMPLE if b"Content-Disposition: attachment" in m.body)
    parsed = message_from_bytes(multipart.body, policy=default)
    assert parsed.get_content_type() == "multipart/mixed"
    assert not parsed.defects
    assert [part.get_content_type() for part in parsed.walk()][1] == "text/plain"
