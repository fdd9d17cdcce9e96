"""Commands about the session: in any state, and before the login (RFC 9051 sections 6.1 and 6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import MAILBOX_NEWS, Command
from mailtwin.imap.encode import Encoder
from mailtwin.imap.pipelining import Trait
from mailtwin.imap.sasl import Mechanism, Secret


class Capability(Command):
    """CAPABILITY (RFC 9051 section 6.1.1)."""

    __slots__ = ()
    verb = "CAPABILITY"
    traits = Trait.ANONYMOUS
    answers = frozenset({"CAPABILITY"})
    kinds = (r.Capability,)


class Noop(Command):
    """NOOP (RFC 9051 section 6.1.2): whatever is new in the selected mailbox."""

    __slots__ = ()
    verb = "NOOP"
    kinds = MAILBOX_NEWS


class Logout(Command):
    """LOGOUT (RFC 9051 section 6.1.3); the BYE it causes is not an error."""

    __slots__ = ()
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


# --- before the login ---


class StartTls(Command):
    """STARTTLS (RFC 9051 section 6.2.1)."""

    __slots__ = ()
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
