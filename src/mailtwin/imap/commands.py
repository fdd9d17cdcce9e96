"""What a client asks, as values: each command knows how it is written, which untagged responses answer it (rules R2,
R3, R4), and what may be in flight beside it (`pipelining`).

Messages are addressed by UID only. Names are text, or the server's own bytes. Nothing here waits, retries or decides:
a `Connection` writes the commands, and the untagged responses that a command `takes` are reported with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import ClassVar, Literal, TypeAlias

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.encode import Encoder, Name, OpenRange, Uids, name_bytes
from mailtwin.imap.pipelining import Trait
from mailtwin.imap.sasl import Mechanism, Secret
from mailtwin.model import UidSet

Taken: TypeAlias = "r.Untagged | r.Status"
"""What may answer a command besides its tagged reply: data, or an untagged OK, NO or BAD."""

_FETCH_NAMES = frozenset({"FETCH", "UIDFETCH"})
_GONE_NAMES = frozenset({"EXPUNGE", "VANISHED"})
_MAILBOX_NEWS = (r.Exists, r.Recent, r.Expunge, r.Vanished, r.Fetch, r.MailboxFlags)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command needs to recognise its answers: its tag, and whether names are UTF-8 in this session."""

    tag: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `answers` names the untagged responses that must not be lost for its answer to be complete, `kinds`
    are the responses that it takes.
    """

    verb: ClassVar[str]
    traits: ClassVar[Trait] = Trait.NONE
    answers: ClassVar[frozenset[str]] = frozenset()
    kinds: ClassVar[tuple[type, ...]] = ()

    def encode(self, out: Encoder) -> None:
        """Writes the command without its tag. Raises LocalProtocolError for what cannot be written."""
        out.raw(self.verb)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        """Whether this untagged response belongs to the answer; by its kind, if nothing more is said."""
        return isinstance(response, self.kinds)

    @property
    def about(self) -> Name | None:
        """The mailbox it names, for messages to people."""
        name: Name | None = getattr(self, "mailbox", None)
        return name


@dataclass(frozen=True, slots=True)
class OneMailbox(Command):
    """A command whose only argument is a mailbox."""

    mailbox: Name

    def encode(self, out: Encoder) -> None:
        out.raw(f"{self.verb} ").mailbox(self.mailbox)


# --- any state ---


@dataclass(frozen=True, slots=True)
class Capability(Command):
    """CAPABILITY (RFC 9051 section 6.1.1)."""

    verb = "CAPABILITY"
    traits = Trait.ANONYMOUS
    answers = frozenset({"CAPABILITY"})
    kinds = (r.Capability,)


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """NOOP (RFC 9051 section 6.1.2): whatever is new in the selected mailbox."""

    verb = "NOOP"
    kinds = _MAILBOX_NEWS


@dataclass(frozen=True, slots=True)
class Logout(Command):
    """LOGOUT (RFC 9051 section 6.1.3); the BYE it causes is not an error."""

    verb = "LOGOUT"
    traits = Trait.ALONE


@dataclass(frozen=True, slots=True)
class Id(Command):
    """ID (RFC 2971). Never empty: some servers refuse `ID ()`."""

    verb = "ID"
    traits = Trait.ANONYMOUS
    answers = frozenset({"ID"})
    kinds = (r.ServerId,)

    fields: Mapping[str, str] = field(default_factory=lambda: {"name": "mailtwin"})

    def encode(self, out: Encoder) -> None:
        if not self.fields:
            raise LocalProtocolError("ID needs at least one field")
        out.raw("ID (")
        for at, (name, value) in enumerate(self.fields.items()):
            out.raw(" " if at else "").string(name).raw(" ").string(value)
        out.raw(")")


# --- not authenticated ---


@dataclass(frozen=True, slots=True)
class StartTls(Command):
    """STARTTLS (RFC 9051 section 6.2.1)."""

    verb = "STARTTLS"
    traits = Trait.ALONE


@dataclass(frozen=True, slots=True)
class Login(Command):
    """LOGIN (RFC 9051 section 6.2.3)."""

    verb = "LOGIN"
    traits = Trait.ALONE
    kinds = (r.Capability,)

    user: str
    secret: Secret

    def encode(self, out: Encoder) -> None:
        out.raw("LOGIN ").string(self.user).raw(" ").string(self.secret.reveal())


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """AUTHENTICATE (RFC 9051 section 6.2.2); `at_once`: the first response goes with the command (RFC 4959)."""

    verb = "AUTHENTICATE"
    traits = Trait.ALONE
    kinds = (r.Capability,)

    mechanism: Mechanism
    at_once: bool = False

    def encode(self, out: Encoder) -> None:
        """See `Command`; the connection adds the first response and runs the exchange."""
        out.raw("AUTHENTICATE ").atom(self.mechanism.name)


# --- authenticated ---


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


@dataclass(frozen=True, slots=True)
class Namespace(Command):
    """NAMESPACE (RFC 2342)."""

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
        out.raw("STATUS ").mailbox(self.mailbox).raw(" ").atoms(self.items)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        """See `Command`; INBOX in any case."""
        if not isinstance(response, r.MailboxStatus):
            return False
        ours = name_bytes(self.mailbox, utf8=asked.utf8)
        return ours == response.name or ours.upper() == response.name.upper() == b"INBOX"


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

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        if self.resync is not None and isinstance(response, r.Fetch | r.Vanished):
            return True
        if isinstance(response, r.Status):
            return response.code is not None
        return isinstance(response, r.Exists | r.Recent | r.MailboxFlags)


@dataclass(frozen=True, slots=True)
class Examine(Select):
    """EXAMINE (RFC 9051 section 6.3.3): SELECT that changes nothing."""

    verb = "EXAMINE"


@dataclass(frozen=True, slots=True)
class Append(Command):
    """APPEND (RFC 9051 section 6.3.12): exactly `size` octets, as they are (rule R12).

    `body` is bytes, or the pieces of a message in order (iterated once). `binary`: a literal8 (RFC 3516), which may
    hold NUL. `date`: aware, to the second.
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
        out.raw("APPEND ").mailbox(self.mailbox).raw(" ")
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


@dataclass(frozen=True, slots=True)
class Delete(OneMailbox):
    """DELETE (RFC 9051 section 6.3.5)."""

    verb = "DELETE"


@dataclass(frozen=True, slots=True)
class Rename(OneMailbox):
    """RENAME (RFC 9051 section 6.3.6)."""

    verb = "RENAME"

    to: Name

    def encode(self, out: Encoder) -> None:
        out.raw("RENAME ").mailbox(self.mailbox).raw(" ").mailbox(self.to)


@dataclass(frozen=True, slots=True)
class Subscribe(OneMailbox):
    """SUBSCRIBE (RFC 9051 section 6.3.7)."""

    verb = "SUBSCRIBE"


@dataclass(frozen=True, slots=True)
class Unsubscribe(OneMailbox):
    """UNSUBSCRIBE (RFC 9051 section 6.3.8)."""

    verb = "UNSUBSCRIBE"


@dataclass(frozen=True, slots=True)
class Idle(Command):
    """IDLE (RFC 2177); ended by `Connection.done`."""

    verb = "IDLE"
    traits = Trait.ALONE
    kinds = (*_MAILBOX_NEWS, r.Status, r.MailboxStatus)


# --- selected ---


@dataclass(frozen=True, slots=True)
class Unselect(Command):
    """UNSELECT (RFC 3691): leaves the mailbox and expunges nothing."""

    verb = "UNSELECT"
    traits = Trait.SELECTS


@dataclass(frozen=True, slots=True)
class Close(Command):
    """CLOSE (RFC 9051 section 6.4.1): expunges what is marked `\\Deleted`, silently, and leaves the mailbox."""

    verb = "CLOSE"
    traits = Trait.SELECTS


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """UID FETCH (RFC 9051 section 6.4.9); UID comes with every answer and need not be asked for.

    `changed_since`: only messages with a greater MODSEQ (RFC 7162 section 3.1.4); `vanished` adds those expunged
    since then (QRESYNC enabled). Takes what is said about one of `uids`, by UID (rule R3).
    """

    verb = "FETCH"
    answers = _FETCH_NAMES

    uids: Uids
    attributes: tuple[str, ...]
    changed_since: int | None = None
    vanished: bool = False

    def encode(self, out: Encoder) -> None:
        if not self.attributes:
            raise LocalProtocolError("FETCH needs an attribute")
        out.raw("UID FETCH ").uids(self.uids).raw(" ").attributes(self.attributes)
        if self.changed_since is not None:
            out.raw(" (CHANGEDSINCE ").number(self.changed_since)
            out.raw(" VANISHED)" if self.vanished else ")")
        elif self.vanished:
            raise LocalProtocolError("VANISHED needs CHANGEDSINCE")

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


@dataclass(frozen=True, slots=True)
class Move(Copy):
    """UID MOVE (RFC 6851)."""

    verb = "MOVE"
    answers = _GONE_NAMES

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Expunge | r.Vanished) or Copy.takes(self, response, _asked)


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """EXPUNGE (RFC 9051 section 6.4.3): also what other clients marked `\\Deleted`."""

    verb = "EXPUNGE"
    traits = Trait.CHANGES
    answers = _GONE_NAMES
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
    answers of both forms are taken, since not every server knows the second.
    """

    verb = "SEARCH"
    traits = Trait.ANONYMOUS
    answers = frozenset({"SEARCH", "ESEARCH"})

    keys: Sequence[SearchKey] = ("ALL",)
    returns: tuple[str, ...] = ()

    def encode(self, out: Encoder) -> None:
        if not self.keys:
            raise LocalProtocolError("SEARCH needs a key")
        out.raw("UID SEARCH")
        if self.returns:
            out.raw(" RETURN ").atoms(self.returns)
        if not out.dialect.utf8 and any(isinstance(k, Text) and not k.value.isascii() for k in self.keys):
            out.raw(" CHARSET UTF-8")
        for key in self.keys:
            _encode_key(out.raw(" "), key)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        if isinstance(response, r.ESearch):
            return response.tag in (asked.tag, None)
        return isinstance(response, r.Search)


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
