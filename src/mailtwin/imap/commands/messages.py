"""Commands about the messages of the selected mailbox, always by UID (RFC 9051 section 6.4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import FETCH_NAMES, GONE_NAMES, Asked, Command, Taken, Topic, uid_topics
from mailtwin.imap.encode import Encoder, Name, OpenRange, Uids
from mailtwin.imap.pipelining import Trait
from mailtwin.model import UidSet


class Unselect(Command):
    """UNSELECT (RFC 3691): leaves the mailbox and expunges nothing."""

    __slots__ = ()
    verb = "UNSELECT"
    traits = Trait.SELECTS


class Close(Command):
    """CLOSE (RFC 9051 section 6.4.1): expunges what is marked `\\Deleted`, silently, and leaves the mailbox."""

    __slots__ = ()
    verb = "CLOSE"
    traits = Trait.SELECTS


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a result by position (RFC 9394): from 1, the oldest, up; or from -1, the newest, down."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if not 1 <= min(abs(self.first), abs(self.last)) <= max(abs(self.first), abs(self.last)) < 2**32:
            raise LocalProtocolError(f"not positions in a result: {self}")
        if (self.first < 0) != (self.last < 0):
            raise LocalProtocolError(f"a window is counted from one end: {self}")

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """UID FETCH (RFC 9051 section 6.4.9); UID comes with every answer and need not be asked for.

    `changed_since`: only messages with a greater MODSEQ (RFC 7162 section 3.1.4); `vanished` adds those expunged
    since then (QRESYNC enabled). `window`: only these of the messages (RFC 9394 section 3.3). Takes what is said
    about one of `uids`, by UID (rule R3).
    """

    verb = "FETCH"
    answers = FETCH_NAMES

    uids: Uids
    attributes: tuple[str, ...]
    changed_since: int | None = None
    vanished: bool = False
    window: Window | None = None

    def encode(self, out: Encoder) -> None:
        if not self.attributes:
            raise LocalProtocolError("FETCH needs an attribute")
        if self.vanished and self.changed_since is None:
            raise LocalProtocolError("VANISHED needs CHANGEDSINCE")
        out.raw("UID FETCH ").uids(self.uids).raw(" ").attributes(self.attributes)
        if self.changed_since is None and self.window is None:
            return
        out.raw(" (")
        if self.window is not None:
            out.raw(f"PARTIAL {self.window}")
        if self.changed_since is not None:
            out.raw(" CHANGEDSINCE " if self.window is not None else "CHANGEDSINCE ")
            out.number(self.changed_since).raw(" VANISHED" if self.vanished else "")
        out.raw(")")

    @property
    def awaits(self) -> frozenset[str]:
        return self.answers | {"VANISHED"} if self.vanished else self.answers

    def topics(self, _asked: Asked, /) -> Collection[Topic] | None:
        """See `Command`."""
        return None if self.vanished else uid_topics(self.uids)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        if isinstance(response, r.Fetch):
            return response.uid in self.uids
        return self.vanished and isinstance(response, r.Vanished) and response.earlier


@dataclass(frozen=True, slots=True)
class Store(Command):
    """UID STORE of flags (RFC 9051 section 6.4.9): `+` adds, `-` removes, `=` replaces.

    `unchanged_since`: not where MODSEQ is greater (RFC 7162 section 3.1.3); those are in the reply's MODIFIED code.
    """

    verb = "STORE"
    traits = Trait.CHANGES

    uids: Uids
    sign: Literal["+", "-", "="]
    flags: frozenset[str]
    silent: bool = True
    unchanged_since: int | None = None

    def encode(self, out: Encoder) -> None:
        out.raw("UID STORE ").uids(self.uids)
        if self.unchanged_since is not None:
            out.raw(" (UNCHANGEDSINCE ").number(self.unchanged_since).raw(")")
        sign = "" if self.sign == "=" else self.sign
        out.raw(f" {sign}FLAGS{'.SILENT' if self.silent else ''} ").flags(self.flags)

    @property
    def awaits(self) -> frozenset[str]:
        """See `Command`; a silent one is told new MODSEQs only (RFC 7162 section 3.1.3), where it asked for order."""
        return self.answers if self.silent and self.unchanged_since is None else FETCH_NAMES

    def topics(self, _asked: Asked, /) -> Collection[Topic] | None:
        """See `Command`."""
        return uid_topics(self.uids)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Fetch) and response.uid in self.uids


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """UID COPY (RFC 9051 section 6.4.7)."""

    verb = "COPY"
    traits = Trait.CHANGES

    uids: Uids
    mailbox: Name

    def encode(self, out: Encoder) -> None:
        out.raw(f"UID {self.verb} ").uids(self.uids).raw(" ").mailbox(self.mailbox)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        """See `Command`: a COPYUID that names only our messages may come untagged (rule R4)."""
        if not isinstance(response, r.Status) or response.code is None or response.code.name != "COPYUID":
            return False
        args = response.code.args
        return len(args) == 3 and isinstance(args[1], UidSet) and _is_within(args[1], self.uids)


class Move(Copy):
    """UID MOVE (RFC 6851)."""

    __slots__ = ()
    verb = "MOVE"
    answers = GONE_NAMES

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Expunge | r.Vanished) or Copy.takes(self, response, _asked)


class Expunge(Command):
    """EXPUNGE (RFC 9051 section 6.4.3): also what other clients marked `\\Deleted`."""

    __slots__ = ()
    verb = "EXPUNGE"
    traits = Trait.CHANGES
    answers = GONE_NAMES
    kinds = (r.Expunge, r.Vanished)


@dataclass(frozen=True, slots=True)
class UidExpunge(Expunge):
    """UID EXPUNGE (RFC 4315): only what is marked `\\Deleted` among `uids`."""

    uids: Uids

    def encode(self, out: Encoder) -> None:
        out.raw("UID EXPUNGE ").uids(self.uids)


@dataclass(frozen=True, slots=True)
class Text:
    """A string argument of a search key: written as a string, never as a keyword."""

    value: str


SearchKey: TypeAlias = "str | Text | UidSet | OpenRange | date | int"


@dataclass(frozen=True, slots=True)
class Search(Command):
    """UID SEARCH (RFC 9051 section 6.4.4): `keys` in order, such as `("HEADER", Text("Message-ID"), Text("<x@y>"))`.

    A `str` is a keyword of the grammar, a set stands for itself after UID. `returns`: ALL, COUNT, MIN, MAX (RFC 4731);
    answers of both forms are taken, since not every server knows the second. `window`: return only these of what was
    found (PARTIAL, RFC 9394 section 3.1; `extensions.partial_of` reads the answer).
    """

    verb = "SEARCH"
    traits = Trait.ANONYMOUS
    answers = frozenset({"SEARCH", "ESEARCH"})

    keys: Sequence[SearchKey] = ("ALL",)
    returns: tuple[str, ...] = ()
    window: Window | None = None

    def encode(self, out: Encoder) -> None:
        out.raw("UID SEARCH")
        write_returns(out, self.returns, self.window)
        if not out.dialect.utf8 and any(isinstance(k, Text) and not k.value.isascii() for k in self.keys):
            out.raw(" CHARSET UTF-8")
        write_keys(out, self.keys)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        if isinstance(response, r.ESearch):
            return response.tag in (asked.tag, None)
        return isinstance(response, r.Search)


def write_returns(out: Encoder, returns: tuple[str, ...], window: Window | None) -> None:
    """The RETURN option of SEARCH and SORT, if there is anything to say."""
    if window is not None:
        out.raw(" RETURN (")
        for name in returns:
            out.atom(name).raw(" ")
        out.raw(f"PARTIAL {window})")
    elif returns:
        out.raw(" RETURN ").atoms(returns)


def write_keys(out: Encoder, keys: Sequence[SearchKey]) -> None:
    """Search keys, each after a space. Raises LocalProtocolError when there is none."""
    if not keys:
        raise LocalProtocolError("a search needs a key")
    for key in keys:
        _encode_key(out.raw(" "), key)


def _encode_key(out: Encoder, key: SearchKey) -> None:
    if isinstance(key, Text):
        out.string(key.value)
    elif isinstance(key, str):
        out.atom(key)
    elif isinstance(key, int):
        out.number(key)
    elif isinstance(key, date):
        out.day(key)
    else:
        out.uids(key)


def _is_within(uids: UidSet, asked: Uids) -> bool:
    if isinstance(asked, OpenRange):
        return all(low >= asked.first for low, _ in uids.ranges)
    return not uids - asked
