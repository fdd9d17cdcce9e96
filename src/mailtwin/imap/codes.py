"""Status responses and continuations: a condition, perhaps a `[CODE ...]`, text for people (RFC 9051 section 7.1).

A damaged code never costs the response that carries it: it is kept raw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from mailtwin.imap.responses import Code, Continuation, Status, StatusWord
from mailtwin.imap.tokens import INT63_MAX, Malformed, flag_names, number, to_text
from mailtwin.model.limits import CAPABILITIES_MAX
from mailtwin.model.uidset import UidSet

RARE = frozenset(
    {
        "BADCHARSET",
        "BADEVENT",
        "BADURL",
        "INPROGRESS",
        "JMAPACCESS",
        "MAILBOXID",
        "MAXCONVERTMESSAGES",
        "MAXCONVERTPARTS",
        "MESSAGELIMIT",
        "METADATA",
        "MODIFIED",
        "NOUPDATE",
        "OBJECTID",
        "REFERRAL",
        "UNDEFINED-FILTER",
    }
)
"""Codes that `mailtwin.imap.rarecodes` converts."""

_STATUS = re.compile(
    rb"(?:\*[ \t]*+|([^\s*+]\S*+)[ \t]++)(OK|NO|BAD|BYE|PREAUTH)(?:[ \t]++|(?=\[)|\Z)", re.IGNORECASE
)
_BARE_CODE = re.compile(rb"\*[ \t]*+(?=\[)")
# With a list, which may hold flags with a `]`; with strings, which may too; anything else up to the first `]`.
_CODE_NAME = rb'\[([^\s\]="(]++)'
_CODES = (
    re.compile(_CODE_NAME + rb"[ \t]*+(\([^)]*+\))[ \t]*+\][ \t]?"),
    re.compile(_CODE_NAME + rb'((?:"(?:[^"\\]|\\.)*+"|[^\]"])*+)\][ \t]?', re.DOTALL),
    re.compile(_CODE_NAME + rb"([^\]]*+)\][ \t]?"),
)
_FLAG_LIST = re.compile(rb"\(([^)]*+)\)")
_INTEGER = re.compile(rb"-?[0-9]{1,20}")


def parse_text(line: bytes) -> Status | Continuation | None:
    """The text response on this line; None if it is none.

    A code without a condition (`* [ALERT] hi`) is taken for an untagged OK.
    """
    if line[:1] == b"+":
        text = line[1:]
        code, text = _split_code(text[1:] if text[:1] in (b" ", b"\t") else text)
        return Continuation(text, code)
    match = _STATUS.match(line)
    if match is not None:
        code, text = _split_code(line[match.end() :])
        tag = None if match[1] is None else to_text(match[1])
        return Status(cast("StatusWord", match[2].decode("ascii").upper()), tag, code, text)
    match = _BARE_CODE.match(line)
    if match is not None:
        code, text = _split_code(line[match.end() :])
        return Status("OK", None, code, text)
    return None


def _split_code(text: bytes) -> tuple[Code | None, bytes]:
    if text[:1] != b"[":
        return None, text
    for pattern in _CODES:
        match = pattern.match(text)
        if match is not None:
            return _code(to_text(match[1]).upper(), match[2].strip()), text[match.end() :]
    return None, text


def _code(name: str, raw: bytes) -> Code:
    convert = _rare if name in RARE else _CONVERTERS.get(name)
    if convert is not None:
        try:
            return convert(name, raw)
        except ValueError:
            pass
    return Code(name, (raw,) if raw else ())


def _rare(name: str, raw: bytes) -> Code:
    # Only a session that meets one of these pays for knowing what they say.
    from mailtwin.imap.rarecodes import CONVERTERS

    return Code(name, CONVERTERS[name](raw))


def referral_of(code: Code | None) -> str:
    """The URL at which a server says that the mail is (RFC 2193, RFC 2221); empty where it says no such thing."""
    url = code.args[0] if code is not None and code.name == "REFERRAL" and code.args else ""
    return url if isinstance(url, str) else ""


def capability_names(raw: bytes) -> frozenset[str]:
    """Capability names, upper case. Raises `Malformed` for more than `CAPABILITIES_MAX`."""
    names = raw.split()
    if len(names) > CAPABILITIES_MAX:
        raise Malformed(f"more than {CAPABILITIES_MAX} capabilities")
    return frozenset(to_text(name).upper() for name in names)


def _capability(name: str, raw: bytes) -> Code:
    return Code(name, tuple(sorted(capability_names(raw))))


def _append_uid(name: str, raw: bytes) -> Code:
    validity, uids = raw.split()
    return Code(name, (number(validity), _uid_set(uids)), in_wire_order(uids))


def _copy_uid(name: str, raw: bytes) -> Code:
    words = raw.split()
    # Exchange copies nothing with two empty sets; one set of two says nothing that can be relied on.
    validity, source, destination = (words[0], b"", b"") if len(words) == 1 else words
    return Code(
        name, (number(validity), _uid_set(source), _uid_set(destination)), in_wire_order(source, destination)
    )


def _uid_set(raw: bytes) -> UidSet:
    return UidSet.parse(raw.decode("ascii"))


def in_wire_order(*sets: bytes) -> tuple[tuple[range, ...], ...]:
    """The sets in the order of the wire, as ranges: 13 bytes can name four billion.

    A range is read upwards however it is written (RFC 4315 section 3).
    """
    return tuple(tuple(map(_range, raw.split(b",") if raw else ())) for raw in sets)


def _range(part: bytes) -> range:
    low, colon, high = part.partition(b":")
    first, last = sorted((int(low), int(high) if colon else int(low)))
    return range(first, last + 1)


def _permanent_flags(name: str, raw: bytes) -> Code:
    match = _FLAG_LIST.fullmatch(raw)
    if match is None:
        raise Malformed("not a list of flags")
    return Code(name, flag_names(match[1]))


def _number(name: str, raw: bytes) -> Code:
    if _INTEGER.fullmatch(raw) is None or int(raw) > INT63_MAX:
        raise Malformed("not a number")
    return Code(name, (int(raw),))


_CONVERTERS: dict[str, Callable[[str, bytes], Code]] = {
    "APPENDUID": _append_uid,
    "CAPABILITY": _capability,
    "COPYUID": _copy_uid,
    "HIGHESTMODSEQ": _number,
    "PERMANENTFLAGS": _permanent_flags,
    "UIDNEXT": _number,
    "UIDVALIDITY": _number,
    "UNSEEN": _number,
}
