"""Real-looking mail from a seed, for tests, demonstrations and measurements.

`messages(seed, count)` gives the same messages for the same arguments (and the first `n` of a longer corpus are the
corpus of `n`): conversations with In-Reply-To, encoded and raw UTF-8 subjects, HTML, attachments, 8-bit bytes without a
charset, malformed MIME, mail without a Message-ID. All lines end in CRLF, there is no NUL. Sizes are log-normal around
8 KB, up to 4 MB. The people and the words are made up; the shapes are those of mailboxes.
"""

from __future__ import annotations

import base64
import math
import quopri
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

__all__ = ["CorpusMessage", "messages"]

_MEDIAN_SIZE = 8192
_SIZE_SPREAD = 1.1
_LARGEST_SIZE = 4 * 1024 * 1024
_HUGE_SHARE = 0.002
_HUGE_FACTOR = 60
_HEADER_SIZE = 600
_POOL_SIZE = 262144
_FIRST_DATE = datetime(2014, 3, 1, 8, 0, 0, tzinfo=UTC)
_MEAN_GAP_S = 9000.0
_REPLY_SHARE = 0.4
_NO_MESSAGE_ID_SHARE = 0.02
_CONVERSATIONS_OPEN = 200
_REFERENCES_KEPT = 10

_PEOPLE = (
    ("Anna Lindqvist", "anna.lindqvist@example.org"),
    ("Björn Åkesson", "bjorn@example.se"),
    ("Chidi Okafor", "chidi.okafor@example.com"),
    ("Dvořák, Tomáš", "tomas.dvorak@example.cz"),
    ("Elena Petrova", "e.petrova@example.net"),
    ("François Lefèvre", "flefevre@example.fr"),
    ("佐藤 花子", "hanako@example.jp"),
    ("Hassan Ali", "hassan@example.ae"),
    ("Isabel Núñez", "isabel.nunez@example.es"),
    ("Joan O'Brien", "joan@example.ie"),
    ("Kim Min-jun", "minjun.kim@example.kr"),
    ('Lars \\"Lasse\\" Holm', "lasse@example.dk"),
    ("accounts", "no-reply@shop.example"),
    ("Newsletter", "news@list.example"),
    ("", "cron@server.example"),
)
_SUBJECTS = (
    "Minutes of Tuesday",
    "Invoice 2024-0173",
    "Your order has been shipped",
    "lunch?",
    "[dev] Release candidate, please test",
    "Fwd: photos from the summer house",
    "Réunion de mercredi à 14 h",
    "Grüße aus Köln",
    "会議の資料について",
    "Отчёт за квартал",
    "🎉 Happy birthday 🎂",
    "Security alert for your account",
    "Re-scheduling the dentist",
    'The "final" final version (3)',
    "",
    "A subject that goes on for longer than a header line should and so is folded by every mail program there is",
)
_WORD_TEXT = """
the a of to and in for is on that with as we you it by at from this have not are be will can
meeting project report budget server mailbox letter garden weekend coffee contract delivery invoice
please thanks regards tomorrow yesterday attached according question answer version problem
Über größer façade naïve mañana çok šest żółty дом письмо 今日 明日
{90} FETCH * OK (unbalanced
"""
_WORDS = tuple(_WORD_TEXT.split())
_KEYWORDS = ("$Forwarded", "$MDNSent", "NonJunk", "$label1", "Work")


@dataclass(frozen=True, slots=True)
class CorpusMessage:
    """One message with what a store keeps about it. `date` has a time zone."""

    body: bytes
    flags: frozenset[str]
    date: datetime


@dataclass(frozen=True, slots=True)
class _Thread:
    """The last message of a conversation."""

    subject: str
    message_id: bytes
    references: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """What follows the first header fields: more fields, and the text."""

    fields: bytes
    text: bytes


def messages(seed: int, count: int) -> Iterator[CorpusMessage]:
    """`count` messages, oldest first."""
    writer = _Writer(random.Random(f"corpus/{seed}"))
    for number in range(count):
        yield writer.write(number)


class _Writer:
    """Writes one message after the other; random, from one generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._date = _FIRST_DATE
        self._threads: deque[_Thread] = deque(maxlen=_CONVERSATIONS_OPEN)
        self._text = self._make_text()
        self._ascii = self._text.encode("ascii", "replace").decode("ascii")
        self._noise = rng.randbytes(_POOL_SIZE)
        kinds = (
            (40, self._plain),
            (22, self._alternative),
            (14, self._with_attachment),
            (8, self._html),
            (8, self._quoted_printable),
            (5, self._raw_8bit),
            (3, self._malformed),
        )
        self._makers = [maker for _, maker in kinds]
        self._weights = [weight for weight, _ in kinds]

    def write(self, number: int) -> CorpusMessage:
        """The next message."""
        rng = self._rng
        self._date += timedelta(seconds=int(rng.expovariate(1 / _MEAN_GAP_S)) + 1)
        date = self._date.astimezone(timezone(timedelta(hours=rng.choice((-8, -5, 0, 1, 1, 2, 9)))))
        size = min(self._size(), _LARGEST_SIZE)
        maker: Callable[[int], _Content] = rng.choices(self._makers, self._weights)[0]
        content = maker(max(20, size - _HEADER_SIZE))
        head = self._envelope(number, date)
        return CorpusMessage(head + content.fields + b"\r\n" + content.text, self._flags(), date)

    def _size(self) -> int:
        size = int(self._rng.lognormvariate(math.log(_MEDIAN_SIZE), _SIZE_SPREAD))
        return size * _HUGE_FACTOR if self._rng.random() < _HUGE_SHARE else size

    # --- Header ----------------------------------------------------------------------------------------------------

    def _envelope(self, number: int, date: datetime) -> bytes:
        rng = self._rng
        sender, *receivers = rng.sample(_PEOPLE, rng.choice((2, 2, 2, 3, 5)))
        parent = rng.choice(self._threads) if self._threads and rng.random() < _REPLY_SHARE else None
        subject = _reply_subject(parent.subject) if parent else rng.choice(_SUBJECTS)
        message_id = b"<%x.%016x@%s>" % (
            number,
            rng.getrandbits(64),
            sender[1].partition("@")[2].encode("ascii"),
        )
        fields = [
            b"Return-Path: <%s>" % sender[1].encode("ascii"),
            b"Received: from mx%d.example.net (mx.example.net [192.0.2.%d])\r\n\tby mail.example.org with ESMTPS; %s"
            % (rng.randrange(9), rng.randrange(1, 255), format_datetime(date).encode("ascii")),
            b"Date: " + format_datetime(date).encode("ascii"),
            b"From: " + self._mailbox(sender),
            b"To: " + b",\r\n ".join(self._mailbox(person) for person in receivers),
            b"Subject: " + self._unstructured(subject),
        ]
        if rng.random() >= _NO_MESSAGE_ID_SHARE:
            references = (*parent.references, parent.message_id)[-_REFERENCES_KEPT:] if parent else ()
            fields.append(b"Message-ID: " + message_id)
            self._threads.append(_Thread(subject, message_id, references))
        if parent:
            fields.append(b"In-Reply-To: " + parent.message_id)
            fields.append(b"References: " + b"\r\n ".join((*parent.references, parent.message_id)))
        return b"\r\n".join(fields) + b"\r\n"

    def _mailbox(self, person: tuple[str, str]) -> bytes:
        name, address = person
        if not name:
            return address.encode("ascii")
        if not name.isascii():
            return _encoded_word(name, "b") + b" <" + address.encode("ascii") + b">"
        return b'"' + name.encode("ascii") + b'" <' + address.encode("ascii") + b">"

    def _unstructured(self, text: str) -> bytes:
        if len(text) > 70:
            middle = text.rfind(" ", 0, 60)
            return text[:middle].encode("utf-8") + b"\r\n" + text[middle:].encode("utf-8")
        if text.isascii():
            return text.encode("ascii")
        # Raw UTF-8 is against RFC 5322, and common.
        form = self._rng.choice(("b", "q", "raw"))
        return text.encode("utf-8") if form == "raw" else _encoded_word(text, form)

    def _flags(self) -> frozenset[str]:
        rng = self._rng
        flags = {"\\Seen"} if rng.random() < 0.75 else set()
        for flag, share in (("\\Answered", 0.15), ("\\Flagged", 0.05), ("\\Draft", 0.01)):
            if rng.random() < share:
                flags.add(flag)
        if rng.random() < 0.08:
            flags.add(rng.choice(_KEYWORDS))
        return frozenset(flags)

    # --- Text ------------------------------------------------------------------------------------------------------

    def _plain(self, size: int) -> _Content:
        return _Content(
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n", self._ascii_text(size)
        )

    def _html(self, size: int) -> _Content:
        return _Content(
            b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n", self._html_text(size)
        )

    def _quoted_printable(self, size: int) -> _Content:
        fields = (
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n"
        )
        text = self._slice(self._text, size // 2).encode("utf-8").replace(b"\r\n", b"\n")
        return _Content(fields, quopri.encodestring(text).replace(b"\n", b"\r\n"))

    def _raw_8bit(self, size: int) -> _Content:
        # No charset and no MIME at all, as from old forms and printers.
        return _Content(b"", self._slice(self._text, size).encode("latin-1", "replace"))

    def _alternative(self, size: int) -> _Content:
        plain = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + self._ascii_text(size // 3)
        html = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + self._html_text(size * 2 // 3)
        return self._multipart(b"alternative", [plain, html])

    def _with_attachment(self, size: int) -> _Content:
        text = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + self._ascii_text(min(size // 4, 2000))
        kind, name = self._rng.choice(((b"application/pdf", b"scan.pdf"), (b"image/jpeg", b"IMG_0042.JPG")))
        head = (
            b"Content-Type: %s; name=%s\r\nContent-Disposition: attachment; filename=%s\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" % (kind, name, name)
        )
        octets = self._octets(size * 3 // 4)
        return self._multipart(b"mixed", [text, head + base64.encodebytes(octets).replace(b"\n", b"\r\n")])

    def _malformed(self, size: int) -> _Content:
        """A multipart that never ends, one without a boundary, one whose parts are not there, a broken charset."""
        text = self._ascii_text(size)
        return self._rng.choice(
            (
                _Content(b'Content-Type: multipart/mixed; boundary="=_x"\r\n', b"--=_x\r\n\r\n" + text),
                _Content(b"Content-Type: multipart/alternative\r\n", text),
                _Content(b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="\r\n', text),
                _Content(b"Content-Type: text/plain; charset=\r\nnot a header line\r\n", text),
            )
        )

    def _multipart(self, subtype: bytes, parts: list[bytes]) -> _Content:
        boundary = b"----=_Part_%016x" % self._rng.getrandbits(64)
        head = b'MIME-Version: 1.0\r\nContent-Type: multipart/%s;\r\n\tboundary="%s"\r\n' % (
            subtype,
            boundary,
        )
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
        return _Content(head, b"This is a multi-part message.\r\n" + body + b"--" + boundary + b"--\r\n")

    def _html_text(self, size: int) -> bytes:
        lines = self._slice(self._text, size * 4 // 5).encode("utf-8").replace(b"\r\n", b"<br>\r\n")
        return b"<html><body><p>\r\n" + lines + b"</p></body></html>\r\n"

    # --- Pools -----------------------------------------------------------------------------------------------------

    def _make_text(self) -> str:
        rng = self._rng
        lines: list[str] = []
        length = 0
        while length < _POOL_SIZE:
            line = " ".join(rng.choices(_WORDS, k=rng.randrange(1, 12)))
            if rng.random() < 0.1:
                line = rng.choice(("> ", "", "From ", "-- ", ".")) + line
            lines.append(line[:76] + "\r\n")
            length += len(lines[-1])
        return "".join(lines)

    def _ascii_text(self, size: int) -> bytes:
        return self._slice(self._ascii, size).encode("ascii")

    def _slice(self, pool: str, size: int) -> str:
        """Whole lines of a pool, about `size` characters."""
        if size >= _POOL_SIZE:
            return pool * (size // _POOL_SIZE)
        begin = pool.find("\r\n", self._start(size)) + 2
        end = pool.find("\r\n", min(begin + size, len(pool) - 2)) + 2
        return pool[begin:end]

    def _octets(self, size: int) -> bytes:
        if size >= _POOL_SIZE:
            return self._noise * (size // _POOL_SIZE)
        start = self._start(size)
        return self._noise[start : start + size]

    def _start(self, size: int) -> int:
        return self._rng.randrange(max(1, _POOL_SIZE - size - 200))


def _reply_subject(subject: str) -> str:
    return subject if subject.startswith("Re: ") else f"Re: {subject}"


def _encoded_word(text: str, form: str) -> bytes:
    """RFC 2047: text in UTF-8 as one encoded word."""
    raw = text.encode("utf-8")
    if form == "b":
        return b"=?utf-8?B?" + base64.b64encode(raw) + b"?="
    coded = b"".join(b"%c" % byte if chr(byte).isalnum() and byte < 128 else b"=%02X" % byte for byte in raw)
    return b"=?UTF-8?Q?" + coded + b"?="
