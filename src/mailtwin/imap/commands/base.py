"""What every command is: how it is written, what answers it, what may be in flight beside it (`pipelining`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from mailtwin.imap import responses as r
from mailtwin.imap.encode import Encoder, Name
from mailtwin.imap.pipelining import Trait

FETCH_NAMES = frozenset({"FETCH", "UIDFETCH"})
GONE_NAMES = frozenset({"EXPUNGE", "VANISHED"})

Taken: TypeAlias = "r.Untagged | r.Status"
"""What may answer a command besides its tagged reply: data, or an untagged OK, NO or BAD."""

MAILBOX_NEWS = (r.Exists, r.Recent, r.Expunge, r.Vanished, r.Fetch, r.MailboxFlags)
"""What a server tells about the selected mailbox unasked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command needs to recognise its answers: its tag, and whether names are UTF-8 in this session."""

    tag: str
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `answers` names the untagged responses that must not be lost for its answer to be complete, whatever
    its options (`awaits` adds those of its options); `kinds` are the responses that it takes.
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
    def awaits(self) -> frozenset[str]:
        """The names of the untagged responses of which none must be lost for this answer to be complete (rule R7)."""
        return self.answers

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
