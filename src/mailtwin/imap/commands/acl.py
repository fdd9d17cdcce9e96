"""Who may do what with a mailbox (RFC 4314). Not part of `commands`: import this module where it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, OneMailbox, Taken
from mailtwin.imap.encode import Encoder, Name
from mailtwin.imap.extensions import Acl, ListedRights, MyRights, is_same_mailbox

_RIGHTS = re.compile("[a-z0-9]*")


class GetAcl(OneMailbox):
    """GETACL (RFC 4314 section 3.3)."""

    __slots__ = ()
    verb = "GETACL"
    answers = frozenset({"ACL"})

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        value = response.value if isinstance(response, r.Other) else None
        return isinstance(value, Acl) and is_same_mailbox(self.mailbox, value.mailbox, utf8=asked.utf8)


@dataclass(frozen=True, slots=True)
class SetAcl(Command):
    """SETACL (RFC 4314 section 3.1): gives (`+`), takes (`-`) or sets (`=`) the rights of an identifier.

    An identifier with a leading `-` has *negative* rights: what it lists is denied.
    """

    verb = "SETACL"

    mailbox: Name
    identifier: str
    rights: str
    sign: Literal["+", "-", "="] = "="

    def encode(self, out: Encoder) -> None:
        if not _RIGHTS.fullmatch(self.rights):
            raise LocalProtocolError(f"not the letters of rights: {self.rights[:80]!r}")
        out.raw("SETACL ").mailbox(self.mailbox).raw(" ").string(self.identifier)
        out.raw(" ").string(("" if self.sign == "=" else self.sign) + self.rights)


@dataclass(frozen=True, slots=True)
class DeleteAcl(Command):
    """DELETEACL (RFC 4314 section 3.2)."""

    verb = "DELETEACL"

    mailbox: Name
    identifier: str

    def encode(self, out: Encoder) -> None:
        out.raw("DELETEACL ").mailbox(self.mailbox).raw(" ").string(self.identifier)


@dataclass(frozen=True, slots=True)
class ListRights(Command):
    """LISTRIGHTS (RFC 4314 section 3.4): which rights an identifier can be given."""

    verb = "LISTRIGHTS"
    answers = frozenset({"LISTRIGHTS"})

    mailbox: Name
    identifier: str

    def encode(self, out: Encoder) -> None:
        out.raw("LISTRIGHTS ").mailbox(self.mailbox).raw(" ").string(self.identifier)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        value = response.value if isinstance(response, r.Other) else None
        return (
            isinstance(value, ListedRights)
            and value.identifier == self.identifier.encode()
            and is_same_mailbox(self.mailbox, value.mailbox, utf8=asked.utf8)
        )


class GetMyRights(OneMailbox):
    """MYRIGHTS (RFC 4314 section 3.5)."""

    __slots__ = ()
    verb = "MYRIGHTS"
    answers = frozenset({"MYRIGHTS"})

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        value = response.value if isinstance(response, r.Other) else None
        return isinstance(value, MyRights) and is_same_mailbox(self.mailbox, value.mailbox, utf8=asked.utf8)
