"""One frame becomes one response value (RFC 9051 section 7 and the extensions in use). Total: it never raises.

A response that cannot be converted becomes `Unparsed` with the reason (rule R7). Numbers are checked here, once.
What servers get wrong in only one possible sense is understood (the table in the tests names each case), what would
have to be guessed is not.

Read next: `mailtwin.imap.fetch`, `mailtwin.imap.codes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailtwin.imap.codes import capability_names, parse_text
from mailtwin.imap.fetch import parse_fetch
from mailtwin.imap.fetchline import parse_fetch_line
from mailtwin.imap.framing import Frame
from mailtwin.imap.responses import (
    Capability,
    Enabled,
    ESearch,
    Exists,
    Expunge,
    Fetch,
    ListItem,
    MailboxFlags,
    MailboxStatus,
    Namespaces,
    Other,
    Recent,
    Response,
    Search,
    ServerId,
    Streamed,
    Unparsed,
    Untagged,
    Value,
    Vanished,
)
from mailtwin.imap.tokens import INT63_MAX, UINT32_MAX, Malformed, Reader, number, to_bytes, to_text, unescape
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX
from mailtwin.model.uidset import UidSet

RAW_BYTES_MAX = 200
"""How much of a response `Unparsed` keeps."""

EXTENSIONS = frozenset(
    (
        "ACL",
        "JMAPACCESS",
        "LISTRIGHTS",
        "METADATA",
        "MYRIGHTS",
        "QUOTA",
        "QUOTAROOT",
        "SORT",
        "THREAD",
        "UIDBATCHES",
    )
)
"""Names of responses that `mailtwin.imap.extensions` reads."""

_HEAD = re.compile(rb"\*[ \t]*+(?:([0-9]++)[ \t]++)?([A-Za-z][A-Za-z0-9._-]*+)(?=[ \t(\r\0]|\Z)")
_SPACES = re.compile(rb"[ \t]*+")
_REST = re.compile(rb".*+", re.DOTALL)
_NUMBERS = re.compile(rb"[0-9 \t\r\0]*+")
_SEARCH_MODSEQ = re.compile(rb"\([ \t]*+MODSEQ[ \t]++(-?[0-9]{1,20})[ \t]*+\)[ \t]*+\Z", re.IGNORECASE)
_VANISHED = re.compile(rb"[ \t]*+(\([ \t]*+EARLIER[ \t]*+\))?[ \t]*+([0-9:,]*+)[ \t]*+\Z", re.IGNORECASE)
_ATTRIBUTES = re.compile(rb"[ \t]*+\(([^()]*+)\)[ \t]++")
_SEPARATOR = re.compile(rb'(?:NIL|""|"\\?(.)")[ \t]++', re.IGNORECASE | re.DOTALL)
_QUOTED_NAME = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t]*+(?=\(|\Z)', re.DOTALL)
_QUOTED_NAME_ODD = re.compile(rb'"(.*)"[ \t]*+\Z', re.DOTALL)
_ATOM_NAME = re.compile(rb'([^ "()]++)(?: ++(?=\()| *+\Z)')
_ATOM_NAME_ODD = re.compile(rb'([^"()]*[^"() \t]) *+\Z')
_STATUS_NAME_ODD = re.compile(rb'([^"()]*[^"() \t])[ \t]*+(?=\(|\Z)')
_NEGATIVE = re.compile(rb"-[0-9]{1,18}")
_WORD = re.compile(rb"[ \t]*+([A-Za-z][A-Za-z0-9._/-]*+)(?=[ \t]|\Z)[ \t]*+")
_SET = re.compile(rb"[0-9:,]++(?=[ \t]|\Z)")


def parse(frame: Frame) -> Response:
    """The response in `frame`: by the hot path where it fits, else by the plain one."""
    if not frame.literals:
        fetch = parse_fetch_line(frame.segments[0])
        if fetch is not None:
            return fetch
    return parse_plain(frame)


def parse_plain(frame: Frame) -> Response:
    """The response in `frame`, every kind in the same way."""
    first = frame.segments[0]
    if frame.is_text:
        return parse_text(first) or Unparsed(first[:RAW_BYTES_MAX], "not an IMAP response")
    head = _HEAD.match(first)
    if head is None:
        return Unparsed(first[:RAW_BYTES_MAX], "the name of the response is missing")
    name = head[2].decode("ascii").upper()
    try:
        return _untagged(Reader(frame, head.end()), name, head[1])
    except ValueError as error:
        return Unparsed(first[:RAW_BYTES_MAX], str(error), name)


def head_of(segment: bytes) -> tuple[str, int | None] | None:
    """The upper-case name of an untagged response, and the number before it (None where there is none that counts)."""
    head = _HEAD.match(segment)
    if head is None:
        return None
    digits = head[1]
    count = int(digits) if digits is not None and len(digits) <= 20 else None
    return head[2].decode("ascii").upper(), count


def parse_literal_place(prefix: bytes) -> tuple[Fetch, str] | None:
    """Where a streamed literal belongs, from `LiteralStart.prefix`: what its FETCH said so far and the body section.

    None when it is not the content of a body section. The UID may still come after the body.
    """
    response = parse_plain(Frame((prefix, b")"), (Streamed(0),), is_text=False))
    if not isinstance(response, Fetch):
        return None
    streamed = (section for section, content in response.bodies.items() if isinstance(content, Streamed))
    return next(((response, section) for section in streamed), None)


def _untagged(reader: Reader, name: str, digits: bytes | None) -> Untagged:
    if name in NUMBERED:
        if digits is None:
            raise Malformed("its number is missing")
        return NUMBERED[name](reader, digits)
    if digits is None and name in NAMED:
        return NAMED[name](reader)
    return _other(reader, name, digits)


def _other(reader: Reader, name: str, digits: bytes | None) -> Other:
    count = None if digits is None else number(digits, high=2**64 - 1)
    value = _extension(reader.fork(), name) if count is None and name in EXTENSIONS else None
    data: list[Value] = []
    while not reader.at_end():
        data.append(reader.value())
    return Other(name, count, tuple(data), value)


def _extension(reader: Reader, name: str) -> object:
    # Only who asks for one of these pays for knowing what they say.
    from mailtwin.imap.extensions import READERS

    return READERS[name](reader)


# --- with a number in front ---


def _exists(reader: Reader, digits: bytes) -> Exists:
    reader.expect_end()
    return Exists(number(digits))


def _recent(reader: Reader, digits: bytes) -> Recent:
    reader.expect_end()
    return Recent(number(digits))


def _expunge(reader: Reader, digits: bytes) -> Expunge:
    reader.expect_end()
    return Expunge(number(digits, low=1))


def _fetch(reader: Reader, digits: bytes) -> Fetch:
    return parse_fetch(reader, number(digits))


def _uid_fetch(reader: Reader, digits: bytes) -> Fetch:
    return parse_fetch(reader, 0, number(digits, low=1))


NUMBERED: dict[str, Callable[[Reader, bytes], Untagged]] = {
    "EXISTS": _exists,
    "EXPUNGE": _expunge,
    "FETCH": _fetch,
    "RECENT": _recent,
    "UIDFETCH": _uid_fetch,
}


# --- words and sets ---


def _rest(reader: Reader) -> bytes:
    """What is left of a response that has no literals."""
    rest = reader.take(_REST)
    reader.expect_end()
    return rest[0].strip(b" \t\r\0") if rest is not None else b""


def _capability(reader: Reader) -> Capability:
    return Capability(capability_names(_rest(reader)))


def _enabled(reader: Reader) -> Enabled:
    return Enabled(capability_names(_rest(reader)))


def _mailbox_flags(reader: Reader) -> MailboxFlags:
    flags = reader.flags()
    if flags is None:
        raise Malformed("a list of flags is missing")
    reader.expect_end()
    return MailboxFlags(flags)


def _vanished(reader: Reader) -> Vanished:
    match = _VANISHED.fullmatch(_rest(reader))
    if match is None:
        raise Malformed("not a set of UIDs")
    return Vanished(UidSet.parse(match[2].decode("ascii")), match[1] is not None)


def _search(reader: Reader) -> Search:
    rest = _rest(reader)
    listed = _NUMBERS.match(rest)
    end = listed.end() if listed is not None else 0
    modseq = None
    if end < len(rest):
        match = _SEARCH_MODSEQ.match(rest, end)
        if match is None:
            raise Malformed("not a list of numbers")
        # A server that counts below zero has no modification sequences.
        modseq = None if match[1].startswith(b"-") else number(match[1], high=INT63_MAX)
    words = rest[:end].replace(b"\0", b" ").split()
    if words and max(map(len, words)) > 10:
        raise Malformed("a number is too large")
    numbers = tuple(map(int, words))
    if numbers and not 1 <= min(numbers) <= max(numbers) <= UINT32_MAX:
        raise Malformed("a number is out of range")
    return Search(numbers, modseq)


def _esearch(reader: Reader) -> ESearch:
    items: dict[str, Value] = {}
    tag: str | None = None
    everything: UidSet | None = None
    uid = False
    reader.take(_SPACES)
    if reader.text[reader.pos : reader.pos + 1] == b"(":
        items, tag = _correlator(reader)
    while not reader.at_end():
        word = reader.take(_WORD)
        if word is None:
            raise Malformed("the name of a result is missing")
        reader.count()
        name = word[1].decode("ascii").upper()
        if name == "UID" and not uid:
            uid = True
        elif name == "ALL":
            numbers = reader.take(_SET)
            if numbers is not None:
                everything = UidSet.parse(numbers[0].decode("ascii"))
                if str(everything).encode("ascii") != numbers[0]:
                    items[name] = numbers[0]
        elif reader.at_end() or _WORD.match(reader.text, reader.pos) is not None:
            items[name] = None
        else:
            items[name] = reader.value()
    return ESearch(tag, uid, everything, items)


def _correlator(reader: Reader) -> tuple[dict[str, Value], str | None]:
    """`(TAG "A1" MAILBOX ...)` (RFC 4466 section 2.6.2, RFC 7377): the tag, and whatever else is in there."""
    items = _pairs(reader.value())
    tag = items.pop("TAG", None)
    return items, None if tag is None else to_text(to_bytes(tag))


def _pairs(listed: Value) -> dict[str, Value]:
    """A list of alternating names and values by upper-case name; NIL is an empty list."""
    if listed is None:
        return {}
    if not isinstance(listed, tuple) or len(listed) % 2:
        raise Malformed("not a list of names and values")
    return {
        to_text(to_bytes(key)).upper(): value for key, value in zip(listed[::2], listed[1::2], strict=True)
    }


# --- mailboxes ---


def _list_item(reader: Reader, kind: str) -> ListItem:
    attributes = reader.take(_ATTRIBUTES)
    separator = reader.take(_SEPARATOR) if attributes is not None else None
    if attributes is None or separator is None:
        raise Malformed("attributes or separator are missing")
    name = _listed_name(reader)
    extended = {} if reader.at_end() else _pairs(reader.value())
    reader.expect_end()
    return ListItem(
        "LSUB" if kind == "LSUB" else "XLIST" if kind == "XLIST" else "LIST",
        frozenset(to_text(word).lower() for word in attributes[1].split()),
        None if separator[1] is None else to_text(separator[1]),
        name,
        extended,
    )


def _listed_name(reader: Reader) -> bytes:
    """A mailbox name that extended data or nothing follows.

    Unquoted names with spaces or tabs and quoted ones with bare quotes are understood where the line ends after them.
    """
    match = reader.take(_QUOTED_NAME)
    if match is None and reader.literal_follows():
        return _checked_name(reader.string())
    if match is not None:
        return _checked_name(unescape(match[1]))
    match = reader.take(_QUOTED_NAME_ODD) or reader.take(_ATOM_NAME) or reader.take(_ATOM_NAME_ODD)
    if match is None:
        raise Malformed("the name of the mailbox is missing")
    return _checked_name(match[1])


def _checked_name(name: bytes) -> bytes:
    if len(name) > MAILBOX_NAME_BYTES_MAX:
        raise Malformed(f"the name of the mailbox has more than {MAILBOX_NAME_BYTES_MAX} bytes")
    return name


def _mailbox_status(reader: Reader) -> MailboxStatus:
    reader.take(_SPACES)
    match = reader.take(_QUOTED_NAME)
    if match is not None:
        name = unescape(match[1])
    elif reader.literal_follows():
        name = reader.string()
    else:
        match = reader.take(_STATUS_NAME_ODD)
        if match is None:
            raise Malformed("the name of the mailbox is missing")
        name = match[1]
    items = {} if reader.at_end() else _pairs(reader.value())
    reader.expect_end()
    checked = {key: _status_value(value) for key, value in items.items() if value is not None}
    return MailboxStatus(_checked_name(name), checked)


def _status_value(value: Value) -> int | bytes:
    """A number, also a negative one; else bytes: `9.37e+06` is nobody's exact number."""
    if isinstance(value, tuple):
        # One identifier (RFC 8474), or several with names (OBJECTID+).
        return b" ".join(map(to_bytes, value))
    if isinstance(value, int) and value <= INT63_MAX:
        return value
    word = to_bytes(value)
    return int(word) if _NEGATIVE.fullmatch(word) else word


# --- about the server ---


def _namespaces(reader: Reader) -> Namespaces:
    personal, others, shared = (_namespace(reader.value()) for _ in range(3))
    reader.expect_end()
    return Namespaces(personal, others, shared)


def _namespace(listed: Value) -> tuple[tuple[bytes, str | None], ...]:
    if listed is None:
        return ()
    if not isinstance(listed, tuple):
        raise Malformed("not a list of namespaces")
    found: list[tuple[bytes, str | None]] = []
    for item in listed:
        if not isinstance(item, tuple) or len(item) < 2:
            raise Malformed("not a namespace")
        separator = None if item[1] is None else to_text(to_bytes(item[1])) or None
        found.append((_checked_name(to_bytes(item[0])), separator))
    return tuple(found)


def _server_id(reader: Reader) -> ServerId:
    fields = _pairs(reader.value())
    reader.expect_end()
    return ServerId(
        {key.lower(): None if value is None else to_text(to_bytes(value)) for key, value in fields.items()}
    )


NAMED: dict[str, Callable[[Reader], Untagged]] = {
    "CAPABILITY": _capability,
    "ENABLED": _enabled,
    "ESEARCH": _esearch,
    "FLAGS": _mailbox_flags,
    "ID": _server_id,
    "LIST": lambda reader: _list_item(reader, "LIST"),
    "LSUB": lambda reader: _list_item(reader, "LSUB"),
    "NAMESPACE": _namespaces,
    "SEARCH": _search,
    "STATUS": _mailbox_status,
    "VANISHED": _vanished,
    "XLIST": lambda reader: _list_item(reader, "XLIST"),
}
