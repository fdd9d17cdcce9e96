"""Reading the arguments of a command: a cursor over its bytes, literals in place.

A command is what the client sent from the tag to the last CRLF, with `{n}CRLF` and the n octets of each literal where
they stood. Each method of `Cursor` reads one production of RFC 3501 section 9 and raises `BadCommand` when it is
not there; nothing is skipped and nothing guessed, so that a client's mistake is seen as such.

This reading is on purpose independent of `mailtwin.imap`: two readings of the RFC find each other's errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TypeVar

__all__ = [
    "BadCommand",
    "Cursor",
    "SeqSet",
    "format_datetime",
    "format_set",
    "parse_date",
    "quote",
    "string",
]

T = TypeVar("T")

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_LIST_MAILBOX = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
_TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
_QUOTED = re.compile(rb'"((?:[^\x00\r\n"\\\x80-\xff]|\\["\\])*)"')
_QUOTED_PAIR = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"\{([0-9]{1,10})\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SET = re.compile(rb"[0-9*:,]+")
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_RAW_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\]+')
_WORD = re.compile(rb"[A-Za-z0-9.\-=+]+")
_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_DATE_TIME = re.compile(r"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_SAFE_QUOTED = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*")

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LARGEST_NUMBER = 0xFFFFFFFF


class BadCommand(Exception):
    """The command does not parse, or is not allowed here: the tagged reply is BAD with this text."""


@dataclass(frozen=True, slots=True)
class SeqSet:
    """A sequence set as sent: pairs of numbers, None for `*`."""

    ranges: tuple[tuple[int | None, int | None], ...]

    def spans(self, largest: int) -> list[tuple[int, int]]:
        """The ranges as (low, high), with `*` as the largest number in use; `5:3` is `3:5` (RFC 3501 section 9)."""
        spans = []
        for left, right in self.ranges:
            low = largest if left is None else left
            high = largest if right is None else right
            spans.append((min(low, high), max(low, high)))
        return spans


class Cursor:
    """A position in the bytes of one command. `raw_atoms`: flags may hold `]`, against the ABNF."""

    def __init__(self, data: bytes, *, raw_atoms: bool = False) -> None:
        self._data = data
        self._at = 0
        self._flag = _RAW_FLAG if raw_atoms else _FLAG

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return self._at == len(self._data)

    def peek(self, expected: bytes) -> bool:
        """Whether these bytes come next, in any case."""
        return self._data[self._at : self._at + len(expected)].upper() == expected

    def skip(self, expected: bytes) -> bool:
        """Read these bytes if they come next, in any case, and say whether they did."""
        if not self.peek(expected):
            return False
        self._at += len(expected)
        return True

    def expect(self, expected: bytes) -> None:
        """Read these bytes."""
        if not self.skip(expected):
            raise BadCommand(f"{expected.decode('ascii')!r} expected")

    def sp(self) -> None:
        """Read exactly one space."""
        self.expect(b" ")

    def end(self) -> None:
        """Nothing may be left."""
        if not self.at_end:
            raise BadCommand("Unexpected arguments")

    def tag(self) -> str:
        """A command's tag."""
        return self._match(_TAG, "tag")[0].decode("ascii")

    def word(self) -> str:
        """A command name, search key or option, in upper case."""
        return self._match(_WORD, "word")[0].decode("ascii").upper()

    def number(self, largest: int = _LARGEST_NUMBER) -> int:
        """A number, 32 bits wide unless said otherwise."""
        value = int(self._match(_NUMBER, "number")[0])
        if value > largest:
            raise BadCommand("Number too large")
        return value

    def mod_sequence(self) -> int:
        """A 63-bit modification sequence (RFC 7162)."""
        return self.number((1 << 63) - 1)

    def flag(self) -> str:
        r"""A flag: `\Seen` or a keyword."""
        return self._match(self._flag, "flag")[0].decode("ascii")

    def flags(self) -> list[str]:
        """A parenthesised, maybe empty list of flags."""
        return self.parenthesised(self.flag, empty=True)

    def astring(self) -> bytes:
        """An atom (in which `]` is allowed), quoted string or literal."""
        return self._atom_or_string(_ASTRING)

    def list_mailbox(self) -> bytes:
        """A mailbox pattern of LIST: as `astring`, with wildcards."""
        return self._atom_or_string(_LIST_MAILBOX)

    def atom(self) -> bytes:
        """An atom."""
        return bytes(self._match(_ATOM, "atom")[0])

    def string(self) -> bytes:
        """A quoted string or literal."""
        if self.peek(b'"'):
            return _QUOTED_PAIR.sub(rb"\1", self._match(_QUOTED, "quoted string")[1])
        return self.literal()

    def literal(self) -> bytes:
        """A literal's octets."""
        size = int(self._match(_LITERAL, "literal")[1])
        if len(self._data) - self._at < size:
            raise BadCommand("Literal is incomplete")
        self._at += size
        return self._data[self._at - size : self._at]

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.skip(b"NIL"):
            return None
        return self.string()

    def seq_set(self) -> SeqSet:
        """A sequence set, such as `1:3,7,9:*`."""
        raw = self._match(_SET, "sequence set")[0].decode("ascii")
        ranges = []
        for item in raw.split(","):
            ends = [_seq_number(end) for end in item.split(":")]
            if len(ends) > 2:
                raise BadCommand("Bad sequence set")
            ranges.append((ends[0], ends[-1]))
        return SeqSet(tuple(ranges))

    @property
    def at_seq_set(self) -> bool:
        """A digit or `*` comes next."""
        return self._data[self._at : self._at + 1] in frozenset(b"%c" % c for c in b"0123456789*")

    def date_time(self) -> datetime:
        """A quoted date-time, as in APPEND."""
        match = _DATE_TIME.fullmatch(self.string().decode("ascii", "replace"))
        if not match:
            raise BadCommand("Bad date-time")
        day, month, year, hour, minute, second, sign, zone_hour, zone_minute = match.groups()
        offset = timedelta(hours=int(zone_hour), minutes=int(zone_minute))
        try:
            zone = timezone(-offset if sign == "-" else offset)
            return datetime(
                int(year), _month(month), int(day), int(hour), int(minute), int(second), tzinfo=zone
            )
        except ValueError as bad:
            raise BadCommand("Bad date-time") from bad

    def parenthesised(self, item: Callable[[], T], *, empty: bool = False) -> list[T]:
        """`(` items with a space between them `)`."""
        self.expect(b"(")
        items: list[T] = []
        if empty and self.skip(b")"):
            return items
        items.append(item())
        while not self.skip(b")"):
            self.sp()
            items.append(item())
        return items

    def rest(self) -> bytes:
        """All that is left."""
        start, self._at = self._at, len(self._data)
        return self._data[start:]

    def _atom_or_string(self, atom: re.Pattern[bytes]) -> bytes:
        if self.peek(b'"') or self.peek(b"{"):
            return self.string()
        return bytes(self._match(atom, "string")[0])

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self._data, self._at)
        if match is None:
            raise BadCommand(f"A {what} was expected")
        self._at = match.end()
        return match


def _seq_number(text: str) -> int | None:
    if text == "*":
        return None
    if not text.isdigit() or not 0 < int(text) <= _LARGEST_NUMBER:
        raise BadCommand("Bad sequence set")
    return int(text)


def _month(name: str) -> int:
    try:
        return _MONTHS.index(name.capitalize()) + 1
    except ValueError as bad:
        raise BadCommand("No such month") from bad


def parse_date(raw: bytes) -> date:
    """A date of SEARCH, such as `1-Feb-2026`."""
    match = _DATE.fullmatch(raw.decode("ascii", "replace"))
    if not match:
        raise BadCommand("Bad date")
    try:
        return date(int(match[3]), _month(match[2]), int(match[1]))
    except ValueError as bad:
        raise BadCommand("Bad date") from bad


def format_datetime(moment: datetime) -> bytes:
    """A quoted date-time. A naive datetime counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f'"{aware.day:2d}-{_MONTHS[aware.month - 1]}-{aware:%Y %H:%M:%S %z}"'.encode("ascii")


def format_set(numbers: list[int]) -> str:
    """Ascending numbers as a sequence set, `1:3,7`."""
    out: list[str] = []
    first = 0
    for place, number in enumerate(numbers):
        if place + 1 < len(numbers) and numbers[place + 1] == number + 1:
            continue
        out.append(str(number) if first == place else f"{numbers[first]}:{number}")
        first = place + 1
    return ",".join(out)


def quote(raw: bytes) -> bytes:
    """A quoted string of text that is known to be fit for one."""
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def string(raw: bytes) -> bytes:
    """A quoted string where that is simple, else a literal."""
    if len(raw) < 200 and _SAFE_QUOTED.fullmatch(raw):
        return b'"' + raw + b'"'
    return b"{%d}\r\n" % len(raw) + raw
