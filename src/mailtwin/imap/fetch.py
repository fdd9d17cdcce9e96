"""FETCH and UIDFETCH responses (RFC 9051 section 7.5.2, RFC 9586): the plain way, for every shape.

An attribute whose value is not what it should be is kept in `extra` and its field stays None: nobody takes nonsense
for a fact, and the rest of the response is not lost.

Read next: `mailtwin.imap.fetchline`, which does the common shape faster.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from mailtwin.imap.responses import BodyValue, Fetch, Value
from mailtwin.imap.tokens import INT63_MAX, UINT32_MAX, Malformed, Reader, to_bytes

_START = re.compile(rb"[ \t]*+\(")
_ATTRIBUTE = re.compile(rb"[ \t\r\0]*+(?:([A-Za-z][A-Za-z0-9._-]*+)(\[)?|(\)))")
_SECTION = re.compile(rb'([^][(){}"]*+(?:\([^()"]*+\))?)\](?:<([0-9]{1,10})>)?')
_SECTION_PART = re.compile(rb'[^][(){}"]*+(?=\()')
_SECTION_END = re.compile(rb"[ \t]*+\](?:<([0-9]{1,10})>)?")
_NUMBER = re.compile(rb"[ \t]++([0-9]{1,20})(?=[ \t)\r\0]|\Z)")
_MODSEQ = re.compile(rb"[ \t]*+\([ \t]*+([0-9]{1,20})[ \t]*+\)")
_QUOTED = re.compile(rb'[ \t]++"([^"\\]{0,60})"')

_DATE = re.compile(r" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_MONTHS = {
    name: month
    for month, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}

# What RFC 3501 calls the same thing by another name.
_BODY_ALIASES = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}


class _Facts:
    """The attributes of one response as far as they were read."""

    __slots__ = ("bodies", "extra", "flags", "internal_date", "modseq", "size", "uid")

    def __init__(self, uid: int | None) -> None:
        self.uid = uid
        self.flags: tuple[str, ...] | None = None
        self.modseq: int | None = None
        self.internal_date: datetime | None = None
        self.size: int | None = None
        self.bodies: dict[str, BodyValue] = {}
        self.extra: dict[str, Value] = {}


def parse_fetch(reader: Reader, seq: int, uid: int | None = None) -> Fetch:
    """The rest of `* seq FETCH`, from its list on; `uid` comes from UIDFETCH. Raises `Malformed`."""
    if reader.take(_START) is None:
        raise Malformed("a list of attributes is missing")
    facts = _Facts(uid)
    while True:
        match = reader.take(_ATTRIBUTE)
        if match is None:
            raise Malformed("the name of an attribute is missing")
        if match[3]:
            break
        name = match[1].decode("ascii").upper()
        if match[2]:
            _read_section(reader, facts, name)
        elif name in _BODY_ALIASES:
            _add_body(facts, _BODY_ALIASES[name], reader.body())
        elif name not in _FIELDS or not _FIELDS[name](reader, facts):
            facts.extra[name] = reader.value()
    reader.expect_end()
    return Fetch(
        seq, facts.uid, facts.flags, facts.modseq, facts.internal_date, facts.size, facts.bodies, facts.extra
    )


def _read_section(reader: Reader, facts: _Facts, name: str) -> None:
    section, origin = _section(reader)
    if name in ("BODY", "BODY.PEEK"):
        _add_body(facts, section + origin, reader.body())
    elif name in ("BINARY", "BINARY.PEEK"):
        _add_body(facts, f"BINARY[{section}]{origin}", reader.body())
    else:
        facts.extra[f"{name}[{section}]{origin}"] = reader.value()


def _section(reader: Reader) -> tuple[str, str]:
    """`1.HEADER.FIELDS (DATE FROM)`, upper case, however the server wrote the names of the header fields; and `<0>`,
    the origin octet of a part of it, or nothing.
    """
    match = reader.take(_SECTION)
    if match is not None:
        return " ".join(match[1].decode("latin-1").upper().split()), _origin(match[2])
    part = reader.take(_SECTION_PART)
    if part is None:
        raise Malformed("a body section has no end")
    fields = reader.value()
    end = reader.take(_SECTION_END)
    if not isinstance(fields, tuple) or end is None:
        raise Malformed("a body section has no end")
    names = b" ".join(map(to_bytes, fields))
    return (part[0].strip() + b" (" + names + b")").decode("latin-1").upper(), _origin(end[1])


def _origin(octet: bytes | None) -> str:
    return "" if octet is None else f"<{int(octet)}>"


def _add_body(facts: _Facts, section: str, content: BodyValue) -> None:
    # Said twice, once as NIL: the octets count.
    if content is not None or section not in facts.bodies:
        facts.bodies[section] = content


def _number(reader: Reader, pattern: re.Pattern[bytes], low: int, high: int) -> int | None:
    """The number here if it is one from low to high; else None, and nothing moves."""
    match = pattern.match(reader.text, reader.pos)
    if match is None or not low <= int(match[1]) <= high:
        return None
    reader.pos = match.end()
    return int(match[1])


def _read_uid(reader: Reader, facts: _Facts) -> bool:
    uid = _number(reader, _NUMBER, 1, UINT32_MAX)
    if uid is not None:
        facts.uid = uid
    return uid is not None


def _read_flags(reader: Reader, facts: _Facts) -> bool:
    flags = reader.flags()
    if flags is not None:
        facts.flags = flags
    return flags is not None


def _read_modseq(reader: Reader, facts: _Facts) -> bool:
    modseq = _number(reader, _MODSEQ, 0, INT63_MAX)
    if modseq is None:
        modseq = _number(reader, _NUMBER, 0, INT63_MAX)
    if modseq is not None:
        facts.modseq = modseq
    return modseq is not None


def _read_size(reader: Reader, facts: _Facts) -> bool:
    size = _number(reader, _NUMBER, 0, INT63_MAX)
    if size is not None:
        facts.size = size
    return size is not None


def _read_date(reader: Reader, facts: _Facts) -> bool:
    match = _QUOTED.match(reader.text, reader.pos)
    date = parse_date(match[1].decode("latin-1")) if match is not None else None
    if match is None or date is None:
        return False
    reader.pos = match.end()
    facts.internal_date = date
    return True


_FIELDS: dict[str, Callable[[Reader, _Facts], bool]] = {
    "FLAGS": _read_flags,
    "INTERNALDATE": _read_date,
    "MODSEQ": _read_modseq,
    "RFC822.SIZE": _read_size,
    "UID": _read_uid,
}


def parse_date(text: str) -> datetime | None:
    """`17-Jul-1996 02:44:25 -0700` (RFC 9051 section 9, date-time) with its offset; None for nonsense."""
    match = _DATE.fullmatch(text)
    if match is None or match[2].lower() not in _MONTHS:
        return None
    offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
    try:
        return datetime(
            int(match[3]),
            _MONTHS[match[2].lower()],
            int(match[1]),
            int(match[4]),
            int(match[5]),
            int(match[6]),
            tzinfo=timezone(-offset if match[7] == "-" else offset),
        )
    except ValueError:
        return None
