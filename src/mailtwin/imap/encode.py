"""How values are written to the server (RFC 9051 sections 4 and 5.1, RFC 7888): strings, literals, names, flags, dates.

An `Encoder` collects the parts of one command. What must not be in a command is refused here (`LocalProtocolError`),
so that no argument can become a second command: CR, LF and NUL are never written outside the body of an APPEND.

Read next: `commands`, which use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import mutf7
from mailtwin.model import UidSet
from mailtwin.model.flags import is_flag
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX

LITERAL_MINUS_MAX = 4096
"""RFC 7888 section 5: what LITERAL- lets pass without asking."""

LITERAL_PLUS_MAX = 1024 * 1024
"""Above this a round trip is cheap beside an upload that the server might have refused (too big, no such mailbox)."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ATOM = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9.\-]+(\[[A-Za-z0-9.\- ()]*\](<[0-9]+\.[0-9]+>)?)?")
_MARKS_SEEN = re.compile(r"BODY\[.*|RFC822(\.TEXT)?", re.DOTALL)
_PLAIN = re.compile(rb"[ -~]*")
_LINE_ENDS = frozenset("\r\n\0")
_FORBIDDEN = re.compile(rb"[\r\n\0]")

Name: TypeAlias = "str | bytes"
"""A mailbox: text, or the very bytes that the server used for it."""


@dataclass(frozen=True, slots=True)
class OpenRange:
    """`first:*`. The server always includes the last message (RFC 9051 section 9); ours begins at `first`."""

    first: int

    def __contains__(self, uid: object) -> bool:
        return isinstance(uid, int) and uid >= self.first

    def __str__(self) -> str:
        return f"{self.first}:*"


Uids: TypeAlias = "UidSet | OpenRange"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the session state says about writing: how literals go out, and whether names are UTF-8 (RFC 6855)."""

    literals: Literal["ask", "minus", "plus"] = "ask"
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing further may be sent before the server says `+`."""


@dataclass(frozen=True, slots=True)
class Body:
    """The octets of a literal: exactly `size` of them, whole or in pieces."""

    chunks: bytes | Iterable[bytes] = field(repr=False)
    size: int = 0


Part: TypeAlias = "bytes | Hold | Body"


class Encoder:
    """Collects the parts of one command in order."""

    __slots__ = ("_parts", "_text", "dialect")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._parts: list[Part] = []
        self._text = bytearray()

    def raw(self, text: str) -> Encoder:
        """Trusted text of our own: verbs, spaces, parentheses."""
        self._text += text.encode("ascii")
        return self

    def atom(self, text: str) -> Encoder:
        """One atom (RFC 9051 section 4.1). Raises LocalProtocolError for what is none."""
        if not _ATOM.fullmatch(text):
            raise LocalProtocolError(f"not an IMAP atom: {text[:80]!r}")
        return self.raw(text)

    def string(self, value: str | bytes) -> Encoder:
        """A quoted string where that can hold it, else a literal. Raises LocalProtocolError for CR, LF or NUL."""
        data = _utf8(value) if isinstance(value, str) else value
        if _FORBIDDEN.search(data):
            # The value is not shown: it may be a password.
            raise LocalProtocolError("a line break or NUL cannot be part of an IMAP argument")
        if _PLAIN.fullmatch(data) or (self.dialect.utf8 and _is_utf8(data)):
            self._text += b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            return self
        return self.literal(data, len(data))

    def name(self, mailbox: Name) -> Encoder:
        """A mailbox name or pattern in the spelling of this session (RFC 3501 section 5.1.3, RFC 6855)."""
        if isinstance(mailbox, str) and not _LINE_ENDS.isdisjoint(mailbox):
            raise LocalProtocolError(f"a mailbox name cannot hold a line break or NUL: {mailbox[:80]!r}")
        try:
            data = name_bytes(mailbox, utf8=self.dialect.utf8)
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"a mailbox name that is no text: {mailbox[:80]!r}") from error
        if len(data) > MAILBOX_NAME_BYTES_MAX:
            raise LocalProtocolError(f"a mailbox name of {len(data)} bytes is longer than any server takes")
        return self.string(data)

    def mailbox(self, mailbox: Name) -> Encoder:
        """The name of one mailbox. Raises LocalProtocolError when it is empty."""
        if not mailbox:
            raise LocalProtocolError("a mailbox has a name; the empty string is none")
        return self.name(mailbox)

    def uids(self, uids: Uids) -> Encoder:
        """A set of UIDs. Raises LocalProtocolError when it is empty, since no sequence-set says "none", and for an
        open range that begins at no UID.
        """
        if isinstance(uids, OpenRange) and not 1 <= uids.first < 2**32:
            raise LocalProtocolError(f"not a UID: {uids.first}")
        text = str(uids)
        if not text:
            raise LocalProtocolError("an IMAP command cannot name an empty set of UIDs")
        return self.raw(text)

    def number(self, value: int) -> Encoder:
        """A non-negative number of at most 63 bits."""
        if not 0 <= value < 2**63:
            raise LocalProtocolError(f"not an IMAP number: {value}")
        return self.raw(str(value))

    def flags(self, flags: Iterable[str]) -> Encoder:
        """A flag list in a fixed order, in parentheses. Raises LocalProtocolError for what no server can hold."""
        names = sorted(flags)
        for name in names:
            if not is_flag(name):
                raise LocalProtocolError(f"not a flag that IMAP can hold: {name[:80]!r}")
        return self.raw("(" + " ".join(names) + ")")

    def attributes(self, names: Sequence[str]) -> Encoder:
        """Fetch attributes in parentheses. Refuses those that would set `\\Seen` (rule R13)."""
        for name in names:
            if not _ATTRIBUTE.fullmatch(name):
                raise LocalProtocolError(f"not a fetch attribute: {name[:80]!r}")
            if _MARKS_SEEN.fullmatch(name.upper()):
                raise LocalProtocolError(f"{name[:80]} would mark the message as seen; ask for BODY.PEEK")
        return self.raw("(" + " ".join(names) + ")")

    def atoms(self, names: Iterable[str]) -> Encoder:
        """Atoms in parentheses."""
        self.raw("(")
        for at, name in enumerate(names):
            self.raw(" " if at else "").atom(name)
        return self.raw(")")

    def date_time(self, when: datetime) -> Encoder:
        """An INTERNALDATE (RFC 9051 section 9, `date-time`): this instant, in its zone without the seconds of that.

        Raises LocalProtocolError without a time zone.
        """
        offset = when.utcoffset()
        if offset is None:
            raise LocalProtocolError("an INTERNALDATE needs a time zone")
        minutes = int(offset.total_seconds() / 60)
        try:
            when -= offset - timedelta(minutes=minutes)
        except OverflowError:
            raise LocalProtocolError(f"not an INTERNALDATE: {when}") from None
        sign = "-" if minutes < 0 else "+"
        hours, minutes = divmod(abs(minutes), 60)
        clock = f"{when.hour:02}:{when.minute:02}:{when.second:02}"
        return self.raw('"').day(when).raw(f' {clock} {sign}{hours:02}{minutes:02}"')

    def day(self, day: date) -> Encoder:
        """A date (RFC 9051 section 9, `date-text`), whatever the locale."""
        return self.raw(f"{day.day:02}-{_MONTHS[day.month - 1]}-{day.year:04}")

    def literal(self, chunks: bytes | Iterable[bytes], size: int, *, binary: bool = False) -> Encoder:
        """A literal of exactly `size` octets; `binary` for a literal8 (RFC 3516), which may hold NUL.

        Raises LocalProtocolError for a size that is none.
        """
        if not 0 <= size < 2**63:
            raise LocalProtocolError(f"not the size of a literal: {size}")
        at_once = size <= self._unasked_max()
        self._text += b"%b{%d%b}\r\n" % (b"~" if binary else b"", size, b"+" if at_once else b"")
        self._flush()
        if not at_once:
            self._parts.append(Hold())
        self._parts.append(Body(chunks, size))
        return self

    def finish(self) -> tuple[Part, ...]:
        """The parts of the command, its final CRLF included."""
        self._text += b"\r\n"
        self._flush()
        return tuple(self._parts)

    def _unasked_max(self) -> int:
        limits = {"ask": -1, "minus": LITERAL_MINUS_MAX, "plus": LITERAL_PLUS_MAX}
        return limits[self.dialect.literals]

    def _flush(self) -> None:
        self._parts.append(bytes(self._text))
        self._text.clear()


def name_bytes(mailbox: Name, *, utf8: bool) -> bytes:
    """A mailbox name as on the wire: UTF-8 after ENABLE UTF8=ACCEPT, else modified UTF-7; bytes as they are."""
    if isinstance(mailbox, bytes):
        return mailbox
    return mailbox.encode("utf-8", "surrogateescape") if utf8 else mutf7.encode(mailbox)


def name_text(name: bytes, *, utf8: bool) -> str:
    """The inverse of `name_bytes`; bytes that are no text survive as surrogates."""
    return name.decode("utf-8", "surrogateescape") if utf8 else mutf7.decode(name)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Neither the value nor the cause is shown: it may be a password.
        raise LocalProtocolError("an IMAP argument that is no valid Unicode text") from None


def _is_utf8(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text.isprintable()
