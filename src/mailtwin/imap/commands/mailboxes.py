"""Commands about mailboxes as a whole, once logged in (RFC 9051 section 6.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import (
    FETCH_NAMES,
    MAILBOX_NEWS,
    Asked,
    Command,
    OneMailbox,
    Taken,
    Topic,
    name_topic,
    topic_of,
)
from mailtwin.imap.encode import Encoder, Name, name_bytes
from mailtwin.imap.pipelining import Trait
from mailtwin.model import UidSet


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """ENABLE (RFC 5161)."""

    verb = "ENABLE"
    traits = Trait.LAST | Trait.ANONYMOUS
    answers = frozenset({"ENABLED"})
    kinds = (r.Enabled,)

    names: tuple[str, ...]

    def encode(self, out: Encoder) -> None:
        if not self.names:
            raise LocalProtocolError("ENABLE needs at least one name")
        out.raw("ENABLE")
        for name in self.names:
            out.raw(" ").atom(name)


class Namespace(Command):
    """NAMESPACE (RFC 2342)."""

    __slots__ = ()
    verb = "NAMESPACE"
    traits = Trait.ANONYMOUS
    answers = frozenset({"NAMESPACE"})
    kinds = (r.Namespaces,)


@dataclass(frozen=True, slots=True)
class List(Command):
    """LIST (RFC 9051 section 6.3.9), plain unless one of the options of RFC 5258 and RFC 5819 is used.

    `select`: SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE. `returns`: SUBSCRIBED, CHILDREN, SPECIAL-USE.
    `status`: the STATUS items to return with each mailbox.
    """

    verb = "LIST"
    traits = Trait.ANONYMOUS
    answers = frozenset({"LIST", "XLIST", "STATUS"})

    patterns: tuple[Name, ...] = ("*",)
    reference: Name = ""
    select: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    status: tuple[str, ...] = ()

    def encode(self, out: Encoder) -> None:
        if not self.patterns:
            raise LocalProtocolError("LIST needs a pattern")
        out.raw("LIST ")
        if self.select:
            out.atoms(self.select).raw(" ")
        out.name(self.reference).raw(" ")
        if len(self.patterns) == 1:
            out.name(self.patterns[0])
        else:
            out.raw("(")
            for at, pattern in enumerate(self.patterns):
                out.raw(" " if at else "").name(pattern)
            out.raw(")")
        self._encode_returns(out)

    def _encode_returns(self, out: Encoder) -> None:
        if not (self.returns or self.status):
            return
        out.raw(" RETURN (")
        for at, name in enumerate(self.returns):
            out.raw(" " if at else "").atom(name)
        if self.status:
            out.raw(" STATUS " if self.returns else "STATUS ").atoms(self.status)
        out.raw(")")

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        if isinstance(response, r.ListItem):
            return response.kind != "LSUB"
        return bool(self.status) and isinstance(response, r.MailboxStatus)


@dataclass(frozen=True, slots=True)
class Lsub(Command):
    """LSUB (RFC 3501 section 6.3.9): subscriptions, where LIST cannot select them."""

    verb = "LSUB"
    traits = Trait.ANONYMOUS
    answers = frozenset({"LSUB"})

    pattern: Name = "*"
    reference: Name = ""

    def encode(self, out: Encoder) -> None:
        out.raw("LSUB ").name(self.reference).raw(" ").name(self.pattern)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.ListItem) and response.kind == "LSUB"


@dataclass(frozen=True, slots=True)
class StatusOf(Command):
    """STATUS (RFC 9051 section 6.3.11); `items` like UIDVALIDITY, UIDNEXT, MESSAGES, HIGHESTMODSEQ."""

    verb = "STATUS"
    answers = frozenset({"STATUS"})

    mailbox: Name
    items: tuple[str, ...]

    def encode(self, out: Encoder) -> None:
        if not self.items:
            raise LocalProtocolError("STATUS needs an item")
        out.raw("STATUS ").mailbox(self.mailbox).raw(" ").atoms(self.items)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        """See `Command`; INBOX in any case."""
        return isinstance(response, r.MailboxStatus) and topic_of(response) in self.topics(asked)

    def topics(self, asked: Asked, /) -> Collection[Topic]:
        """See `Command`."""
        return (name_topic(name_bytes(self.mailbox, utf8=asked.utf8)),)


@dataclass(frozen=True, slots=True)
class Resync:
    """The QRESYNC parameter of SELECT (RFC 7162 section 3.2.5): where we stood."""

    uid_validity: int
    modseq: int
    known: UidSet = field(default_factory=UidSet)


@dataclass(frozen=True, slots=True)
class Select(Command):
    """SELECT (RFC 9051 section 6.3.2). What it says about the mailbox is in the session state.

    `condstore`: announce that we want MODSEQ (RFC 7162 section 3.1.8). With `resync` the changes since then are part
    of the answer.
    """

    verb = "SELECT"
    traits = Trait.SELECTS
    answers = frozenset({"EXISTS"})

    mailbox: Name
    condstore: bool = False
    resync: Resync | None = None

    def encode(self, out: Encoder) -> None:
        out.raw(f"{self.verb} ").mailbox(self.mailbox)
        if self.resync is not None:
            out.raw(" (QRESYNC (").number(self.resync.uid_validity).raw(" ").number(self.resync.modseq)
            if self.resync.known:
                out.raw(" ").uids(self.resync.known)
            out.raw("))")
        elif self.condstore:
            out.raw(" (CONDSTORE)")

    @property
    def awaits(self) -> frozenset[str]:
        """See `Command`; with `resync` a lost VANISHED or FETCH would be a change that nobody tells again."""
        return self.answers if self.resync is None else self.answers | FETCH_NAMES | {"VANISHED"}

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        if self.resync is not None and isinstance(response, r.Fetch | r.Vanished):
            return True
        if isinstance(response, r.Status):
            return response.code is not None
        return isinstance(response, r.Exists | r.Recent | r.MailboxFlags)


class Examine(Select):
    """EXAMINE (RFC 9051 section 6.3.3): SELECT that changes nothing."""

    __slots__ = ()
    verb = "EXAMINE"


@dataclass(frozen=True, slots=True)
class Append(Command):
    """APPEND (RFC 9051 section 6.3.12): exactly `size` octets, as they are (rule R12).

    `body` is bytes, or the pieces of a message in order (iterated once). `binary`: a literal8 (RFC 3516), which may
    hold NUL. `date`: aware, to the second.

    A header in UTF-8 is written like any other, also after ENABLE UTF8=ACCEPT: RFC 9755 has no `UTF8 (~{n}...)` any
    more (appendix B.1), IMAP4rev2 never had it, and servers that announce UTF8=ACCEPT were seen to refuse it.
    """

    verb = "APPEND"

    mailbox: Name
    body: bytes | Iterable[bytes] = field(repr=False)
    size: int
    flags: frozenset[str] = frozenset()
    date: datetime | None = None
    binary: bool = False

    @classmethod
    def of(
        cls, mailbox: Name, message: bytes, *, flags: Iterable[str] = (), date: datetime | None = None
    ) -> Append:
        """An APPEND of a message in memory."""
        return cls(mailbox, message, len(message), frozenset(flags), date)

    def encode(self, out: Encoder) -> None:
        self.encode_arguments(out.raw("APPEND "))

    def encode_arguments(self, out: Encoder) -> None:
        """The mailbox, and the message with its flags and date."""
        out.mailbox(self.mailbox).raw(" ")
        if self.flags:
            out.flags(self.flags).raw(" ")
        if self.date is not None:
            out.date_time(self.date).raw(" ")
        out.literal(self.body, self.size, binary=self.binary)


@dataclass(frozen=True, slots=True)
class Create(OneMailbox):
    """CREATE (RFC 9051 section 6.3.4); `use`: special uses such as `\\Sent` (RFC 6154 section 3)."""

    verb = "CREATE"

    use: tuple[str, ...] = ()

    def encode(self, out: Encoder) -> None:
        out.raw("CREATE ").mailbox(self.mailbox)
        if self.use:
            out.raw(" (USE ").flags(self.use).raw(")")


class Delete(OneMailbox):
    """DELETE (RFC 9051 section 6.3.5)."""

    __slots__ = ()
    verb = "DELETE"


@dataclass(frozen=True, slots=True)
class Rename(OneMailbox):
    """RENAME (RFC 9051 section 6.3.6)."""

    verb = "RENAME"

    to: Name

    def encode(self, out: Encoder) -> None:
        out.raw("RENAME ").mailbox(self.mailbox).raw(" ").mailbox(self.to)


class Subscribe(OneMailbox):
    """SUBSCRIBE (RFC 9051 section 6.3.7)."""

    __slots__ = ()
    verb = "SUBSCRIBE"


class Unsubscribe(OneMailbox):
    """UNSUBSCRIBE (RFC 9051 section 6.3.8)."""

    __slots__ = ()
    verb = "UNSUBSCRIBE"


class Idle(Command):
    """IDLE (RFC 2177); ended by `Connection.done`."""

    __slots__ = ()
    verb = "IDLE"
    traits = Trait.ALONE
    kinds = (*MAILBOX_NEWS, r.Status, r.MailboxStatus, r.ListItem)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        """See `Command`. With NOTIFY also what is new elsewhere: STATUS, LIST, METADATA (RFC 5465 section 5)."""
        if isinstance(response, r.Other):
            return response.name == "METADATA"
        return isinstance(response, self.kinds)
