"""What the rarer untagged responses say, as values: quota, annotations, rights, order, threads, batches.

The parser imports this module with the first such response and puts the value into `Other.value`; a response of one
of these names that does not say what its RFC lets it say is `Unparsed`, and the commands that wanted it are incomplete.
Also here: what the items of LIST and ESEARCH mean that only some commands ask for.

Names of mailboxes, identifiers and quota roots are bytes as on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from mailtwin.imap.codes import in_wire_order
from mailtwin.imap.encode import Name, name_bytes
from mailtwin.imap.responses import ESearch, ListItem, Value
from mailtwin.imap.tokens import (
    INT63_MAX,
    UINT32_MAX,
    VALUES_MAX,
    Malformed,
    Reader,
    number,
    to_bytes,
    to_text,
)
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX
from mailtwin.model.uidset import UidSet

_BLANK = b" \t\r\0"
_ENTRY = re.compile(rb"/[ -~]+")
_LETTERS = re.compile(rb"[A-Za-z0-9]*")
_RANGE = re.compile(rb"([0-9]{1,10})(?::([0-9]{1,10}))?")
_ENDS = re.compile(rb"(-?[1-9][0-9]{0,9})(?::(-?[1-9][0-9]{0,9}))?")
_REST = re.compile(rb".*+", re.DOTALL)
_SORT_MODSEQ = re.compile(rb"\([ \t]*+MODSEQ[ \t]++([0-9]{1,19})[ \t]*+\)\Z", re.IGNORECASE)


# --- quota (RFC 9208 section 5) ---


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a resource is used, and how much may be: KiB for STORAGE, messages for MESSAGE."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Quota:
    """QUOTA: the resources of one quota root by upper-case name; none: nothing is limited."""

    root: bytes
    resources: Mapping[str, Usage]


@dataclass(frozen=True, slots=True)
class QuotaRoots:
    """QUOTAROOT: the quota roots that a mailbox counts for."""

    mailbox: bytes
    roots: tuple[bytes, ...]


def _quota(reader: Reader) -> Quota:
    root = reader.string()
    # Courier leaves the list out where nothing is limited.
    listed = () if reader.at_end() else _list(reader.value())
    reader.expect_end()
    if len(listed) % 3:
        raise Malformed("not a list of resources with usage and limit")
    resources: dict[str, Usage] = {}
    for at in range(0, len(listed), 3):
        used, limit = (_number(value) for value in listed[at + 1 : at + 3])
        resources[to_text(to_bytes(listed[at])).upper()] = Usage(used, limit)
    return Quota(root, resources)


def _quota_roots(reader: Reader) -> QuotaRoots:
    return QuotaRoots(_mailbox(reader), _strings(reader))


# --- annotations (RFC 5464 section 4.4) ---


@dataclass(frozen=True, slots=True)
class Metadata:
    """METADATA of a mailbox, or of the server (""). Names of entries are lower case.

    Either `values`, as asked for (None: there is none), or `changed`: names alone, told unasked.
    """

    mailbox: bytes
    values: Mapping[str, bytes | None]
    changed: tuple[str, ...] = ()


def _metadata(reader: Reader) -> Metadata:
    mailbox = _mailbox(reader)
    first = reader.value()
    if not isinstance(first, tuple):
        rest = _strings(reader)
        return Metadata(mailbox, {}, tuple(map(_entry, (first, *rest))))
    reader.expect_end()
    if len(first) % 2:
        raise Malformed("not a list of entries and values")
    pairs = zip(first[::2], first[1::2], strict=True)
    return Metadata(
        mailbox, {_entry(name): None if value is None else to_bytes(value) for name, value in pairs}
    )


def _entry(value: Value) -> str:
    name = to_bytes(value)
    if _ENTRY.fullmatch(name) is None:
        raise Malformed("not the name of an annotation")
    return name.decode("ascii").lower()


# --- rights (RFC 4314 section 3.6 to 3.8) ---


@dataclass(frozen=True, slots=True)
class Acl:
    """ACL: identifiers and the letters of their rights, in the server's order; `-name` has negative rights."""

    mailbox: bytes
    entries: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class ListedRights:
    """LISTRIGHTS: what an identifier always has, and the groups of rights that can only be given together."""

    mailbox: bytes
    identifier: bytes
    always: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MyRights:
    """MYRIGHTS: what we may do."""

    mailbox: bytes
    rights: str


def _acl(reader: Reader) -> Acl:
    mailbox = _mailbox(reader)
    words = _strings(reader)
    if len(words) % 2:
        raise Malformed("not a list of identifiers and rights")
    return Acl(mailbox, tuple(zip(words[::2], map(_letters, words[1::2]), strict=True)))


def _listed_rights(reader: Reader) -> ListedRights:
    mailbox, identifier, always = _mailbox(reader), reader.string(), _letters(reader.string())
    return ListedRights(mailbox, identifier, always, tuple(map(_letters, _strings(reader))))


def _my_rights(reader: Reader) -> MyRights:
    mailbox, rights = _mailbox(reader), _letters(reader.string())
    reader.expect_end()
    return MyRights(mailbox, rights)


def _letters(word: bytes) -> str:
    if _LETTERS.fullmatch(word) is None:
        raise Malformed("not the letters of rights")
    return word.decode("ascii")


# --- order (RFC 5256 section 4) ---


@dataclass(frozen=True, slots=True)
class Sorted:
    """SORT: UIDs, or sequence numbers, in the order asked for; `modseq` as in SEARCH (RFC 7162 section 3.1.6)."""

    numbers: tuple[int, ...]
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadMember:
    """A message and the one that it answers; a `parent` of None: the first, or its parent is missing."""

    number: int
    parent: int | None


@dataclass(frozen=True, slots=True)
class Threads:
    """THREAD: each thread as its members, a parent before its children. Flat: a thread can be 100,000 deep."""

    threads: tuple[tuple[ThreadMember, ...], ...]


def _sorted(reader: Reader) -> Sorted:
    rest = _line(reader)
    match = _SORT_MODSEQ.search(rest)
    modseq = None if match is None else number(match[1], high=INT63_MAX)
    words = (rest if match is None else rest[: match.start()]).replace(b"\0", b" ").split()
    if len(words) > VALUES_MAX:
        raise Malformed(f"it has more than {VALUES_MAX} values")
    return Sorted(tuple(number(word, low=1) for word in words), modseq)


def _threads(reader: Reader) -> Threads:
    threads: list[tuple[ThreadMember, ...]] = []
    while not reader.at_end():
        members: list[ThreadMember] = []
        _collect(_list(reader.value()), None, members)
        threads.append(tuple(members))
    return Threads(tuple(threads))


def _collect(listed: tuple[Value, ...], parent: int | None, members: list[ThreadMember]) -> None:
    """Adds a thread-list; as deep as the parser lets lists be. Numbers are a chain, lists are its branches."""
    branching = False
    for value in listed:
        if isinstance(value, tuple):
            branching = True
            _collect(value, parent, members)
        elif branching or not isinstance(value, int) or not 1 <= value <= UINT32_MAX:
            raise Malformed("not a thread")
        else:
            members.append(ThreadMember(value, parent))
            parent = value


# --- batches (RFC 10022 section 3.1) ---


@dataclass(frozen=True, slots=True)
class UidBatches:
    """UIDBATCHES: ranges of UIDs as (low, high), in the server's order, the newest first."""

    tag: str | None
    ranges: tuple[tuple[int, int], ...]


def _uid_batches(reader: Reader) -> UidBatches:
    correlator = _list(reader.value())
    if len(correlator) != 2 or to_bytes(correlator[0]).upper() != b"TAG":
        raise Malformed("the tag is missing")
    tag = to_text(to_bytes(correlator[1]))
    text = _line(reader)
    if text.count(b",") >= VALUES_MAX:
        raise Malformed(f"it has more than {VALUES_MAX} ranges")
    ranges = tuple(map(_range, text.split(b","))) if text else ()
    ordered = sorted(ranges)
    if any(after[0] <= before[1] for before, after in pairwise(ordered)):
        raise Malformed("two batches overlap")
    return UidBatches(tag, ranges)


def _range(text: bytes) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise Malformed("not a range of UIDs")
    ends = sorted((number(match[1], low=1), number(match[2] or match[1], low=1)))
    return ends[0], ends[1]


# --- elsewhere ---


@dataclass(frozen=True, slots=True)
class JmapAccess:
    """JMAPACCESS (RFC 9698): the URL of the JMAP session resource with the same messages."""

    url: str


def _jmap_access(reader: Reader) -> JmapAccess:
    url = reader.string()
    reader.expect_end()
    return JmapAccess(to_text(url))


@dataclass(frozen=True, slots=True)
class Partial:
    """PARTIAL of an ESEARCH (RFC 9394 section 3.1): the window asked for, and what of the result lies in it.

    Counted from 1 at the oldest, or from -1 at the newest.
    """

    first: int
    last: int
    numbers: UidSet


def partial_of(answer: ESearch) -> Partial | None:
    """The PARTIAL result of an ESEARCH; None when it has none. Raises `Malformed` for nonsense."""
    if "PARTIAL" not in answer.items:
        return None
    window, found = _pair(answer.items["PARTIAL"])
    match = _ENDS.fullmatch(to_bytes(window))
    if match is None:
        raise Malformed("not a window of a result")
    numbers = UidSet() if found is None else _uid_set(to_bytes(found))
    return Partial(int(match[1]), int(match[2] or match[1]), numbers)


ORDERED_MAX = 1_000_000
"""Numbers that are written out one by one; 13 bytes can name four billion."""


def order_of(answer: ESearch) -> tuple[int, ...]:
    """The numbers of ALL in the server's order, which is that of the criteria after a SORT (RFC 5267 section 3.1).

    Raises `Malformed` when they are more than can be written out.
    """
    written = answer.items.get("ALL")
    raw = written if isinstance(written, bytes) else str(answer.all or "").encode("ascii")
    (ranges,) = in_wire_order(raw)
    if sum(map(len, ranges)) > ORDERED_MAX:
        raise Malformed("it names more messages than can be written out")
    return tuple(number for numbers in ranges for number in numbers)


def child_info(item: ListItem) -> frozenset[str]:
    """Which LIST selection options match below this mailbox (RFC 5258 section 3.5), upper case; often nothing."""
    value = item.extended.get("CHILDINFO")
    return frozenset(to_text(to_bytes(word)).upper() for word in (value if isinstance(value, tuple) else ()))


def old_name(item: ListItem) -> bytes | None:
    """The name that this mailbox had, or that somebody asked for (RFC 9051 section 6.3.9.7); None: no other."""
    value = item.extended.get("OLDNAME")
    if isinstance(value, tuple) and len(value) == 1:
        return to_bytes(value[0])
    return None if value is None or isinstance(value, tuple) else to_bytes(value)


def is_same_mailbox(ours: Name, theirs: bytes, *, utf8: bool) -> bool:
    """Whether the server speaks of the mailbox that we named; INBOX in any case."""
    name = name_bytes(ours, utf8=utf8)
    return name == theirs or name.upper() == theirs.upper() == b"INBOX"


# --- words ---


def _mailbox(reader: Reader) -> bytes:
    name = reader.string()
    if len(name) > MAILBOX_NAME_BYTES_MAX:
        raise Malformed(f"the name of the mailbox has more than {MAILBOX_NAME_BYTES_MAX} bytes")
    return name


def _strings(reader: Reader) -> tuple[bytes, ...]:
    """All that is left, word by word."""
    words: list[bytes] = []
    while not reader.at_end():
        reader.count()
        words.append(reader.string())
    return tuple(words)


def _line(reader: Reader) -> bytes:
    """All that is left, in which there can be no literal."""
    rest = reader.take(_REST)
    reader.expect_end()
    return b"" if rest is None else rest[0].strip(_BLANK)


def _list(value: Value) -> tuple[Value, ...]:
    if not isinstance(value, tuple):
        raise Malformed("a list is missing")
    return value


def _pair(value: Value) -> tuple[Value, Value]:
    listed = _list(value)
    if len(listed) != 2:
        raise Malformed("not a list of two")
    return listed[0], listed[1]


def _number(value: Value) -> int:
    return number(to_bytes(value), high=INT63_MAX)


def _uid_set(text: bytes) -> UidSet:
    try:
        return UidSet.parse(text.decode("ascii"))
    except ValueError as error:
        raise Malformed(str(error)) from None


READERS: dict[str, Callable[[Reader], object]] = {
    "ACL": _acl,
    "JMAPACCESS": _jmap_access,
    "LISTRIGHTS": _listed_rights,
    "METADATA": _metadata,
    "MYRIGHTS": _my_rights,
    "QUOTA": _quota,
    "QUOTAROOT": _quota_roots,
    "SORT": _sorted,
    "THREAD": _threads,
    "UIDBATCHES": _uid_batches,
}
