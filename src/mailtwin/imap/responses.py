"""What a server says, as values (RFC 3501 and RFC 9051 section 7, and the extensions in use).

The parser turns one frame into one of these. `bytes` stay `bytes` where the wire does not promise text: mailbox names
(modified UTF-7 or UTF-8, the session decides), literals, text for people. Numbers are checked, names of codes,
capabilities and attributes are upper case. Nothing here knows what a command asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from mailtwin.model import UidSet

StatusWord: TypeAlias = Literal["OK", "NO", "BAD", "BYE", "PREAUTH"]
Value: TypeAlias = "bytes | int | None | tuple[Value, ...]"
"""A parsed but uninterpreted value: string or atom, number, NIL, list."""


@dataclass(frozen=True, slots=True)
class Code:
    """A response code (RFC 9051 section 7.1, RFC 5530). `args`: what it carries.

    CAPABILITY: names (str). APPENDUID: (uidvalidity, UidSet). COPYUID: (uidvalidity, UidSet source, UidSet
    destination), each set also as ranges in wire order in `ordered`, for pairing. PERMANENTFLAGS: flags (str).
    UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ, UNSEEN: (int,). MODIFIED: (UidSet,). MESSAGELIMIT: (limit,) or (limit, uid).
    INPROGRESS: () or (tag, done, goal), each perhaps None. MAILBOXID, BADURL, JMAPACCESS, NOUPDATE, REFERRAL,
    UNDEFINED-FILTER: (str,). BADCHARSET, BADEVENT: words (str). METADATA: (word,) or (word, int). MAXCONVERTMESSAGES,
    MAXCONVERTPARTS: (int,). OBJECTID: (name, identifier, ...), str. Anything else: (raw bytes,) or (). So is one of
    these that the server damaged: look at the types before using them.
    """

    name: str
    args: tuple[object, ...] = ()
    ordered: tuple[tuple[range, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD (tagged or not), BYE, PREAUTH: an optional code, then text for people."""

    word: StatusWord
    tag: str | None
    code: Code | None = None
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Continuation:
    """`+`: go on. `text` is what follows (a base64 challenge during AUTHENTICATE)."""

    text: bytes = b""
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """All capabilities as of now, upper case."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Enabled:
    """Extensions that ENABLE switched on (RFC 5161)."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Exists:
    """The number of messages in the selected mailbox."""

    count: int


@dataclass(frozen=True, slots=True)
class Recent:
    """The number of recent messages (RFC 3501); of no use to anyone."""

    count: int


@dataclass(frozen=True, slots=True)
class Expunge:
    """One message left; the sequence numbers above it moved down by one."""

    seq: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """Messages left, by UID (RFC 7162). `earlier`: before this session looked."""

    uids: UidSet
    earlier: bool


@dataclass(frozen=True, slots=True)
class MailboxFlags:
    """The flags defined in the selected mailbox (untagged FLAGS), as spelled by the server."""

    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListItem:
    """One mailbox of LIST, LSUB or XLIST. `name` as on the wire; `attributes` lower case, with the backslash.

    `separator` is None for a flat name. `extended`: the data items of RFC 5258, by upper-case name.
    """

    kind: Literal["LIST", "LSUB", "XLIST"]
    attributes: frozenset[str]
    separator: str | None
    name: bytes
    extended: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """STATUS items of one mailbox by upper-case name; what is no number (OBJECTID's MAILBOXID) stays bytes.

    OBJECTID (OBJECTID+) is its names and identifiers with a space between: `MAILBOXID F1 ACCOUNTID a`.
    """

    name: bytes
    items: Mapping[str, int | bytes]


@dataclass(frozen=True, slots=True)
class Search:
    """One SEARCH answer: UIDs or sequence numbers, as the command asked."""

    numbers: tuple[int, ...]
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class ESearch:
    """One ESEARCH answer (RFC 4731). `tag` correlates it with its command.

    `items`: the other results by upper-case name, and ALL as written where that is not in ascending order (RFC 5267:
    `extensions.order_of`).
    """

    tag: str | None
    uid: bool
    all: UidSet | None = None
    items: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Streamed:
    """Stands where a large literal stood: its bytes went out as `LiteralChunk` events before this response."""

    size: int


BodyValue: TypeAlias = "bytes | Streamed | None"


@dataclass(frozen=True, slots=True)
class Fetch:
    """One FETCH (or UIDFETCH) response: some facts about one message; several for one message are normal (rule R3).

    `seq` is a sequence number and never a UID; 0 in UIDFETCH and for servers that say `* 0 FETCH`.
    `bodies` maps the section as written by the server, upper case and without BODY (`""` for `BODY[]`, `HEADER.FIELDS
    (DATE FROM)`), to its bytes; `None` is NIL. A part of one has its origin octet behind it: `<0>` for `BODY[]<0>` is
    never taken for the whole. What BINARY decoded (RFC 3516) is `BINARY[1]`. `extra`: every other attribute by
    upper-case name; `mailtwin.imap.fetchdata` reads them.
    """

    seq: int
    uid: int | None = None
    flags: tuple[str, ...] | None = None
    modseq: int | None = None
    internal_date: datetime | None = None
    size: int | None = None
    bodies: Mapping[str, BodyValue] = field(default_factory=dict)
    extra: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Namespaces:
    """NAMESPACE (RFC 2342): (prefix, separator) pairs, prefix as on the wire."""

    personal: tuple[tuple[bytes, str | None], ...]
    other_users: tuple[tuple[bytes, str | None], ...]
    shared: tuple[tuple[bytes, str | None], ...]


@dataclass(frozen=True, slots=True)
class ServerId:
    """ID (RFC 2971): lower-case field names."""

    fields: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Other:
    """A well-formed untagged response that the session itself has no use for.

    `value`: what it says, where `mailtwin.imap.extensions` knows the name, else None. It follows from the rest, so
    comparisons leave it out.
    """

    name: str
    number: int | None
    data: tuple[Value, ...]
    value: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A frame that could not be converted (rule R7): its first bytes and why; the connection goes on.

    `name` is the response's name where it could still be told (a damaged FETCH makes the FETCH incomplete).
    """

    raw: bytes
    reason: str
    name: str | None = None


Untagged: TypeAlias = (
    Capability
    | Enabled
    | Exists
    | Recent
    | Expunge
    | Vanished
    | MailboxFlags
    | ListItem
    | MailboxStatus
    | Search
    | ESearch
    | Fetch
    | Namespaces
    | ServerId
    | Other
    | Unparsed
)
Response: TypeAlias = Status | Continuation | Untagged
