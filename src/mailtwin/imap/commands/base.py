"""What every command is: how it is written, what answers it, what may be in flight beside it (`pipelining`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from mailtwin.imap import responses as r
from mailtwin.imap.encode import Encoder, Name, Uids
from mailtwin.imap.pipelining import Trait
from mailtwin.model import UidSet

FETCH_NAMES = frozenset({"FETCH", "UIDFETCH"})
GONE_NAMES = frozenset({"EXPUNGE", "VANISHED"})

Taken: TypeAlias = "r.Untagged | r.Status"
"""What may answer a command besides its tagged reply: data, or an untagged OK, NO or BAD."""

Topic: TypeAlias = "int | bytes | None"
"""One thing that a response is about: a message by its UID, a mailbox by its name; None: neither."""

TOPICS_MAX = 100
"""A command about more messages than that is asked about each response."""

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

    def topics(self, _asked: Asked, /) -> Collection[Topic] | None:
        """What its answers are about, where it takes nothing else; None: only `takes` can tell."""
        return None

    @property
    def awaits(self) -> frozenset[str]:
        """The names of the untagged responses of which none must be lost for this answer to be complete (rule R7)."""
        return self.answers

    @property
    def about(self) -> Name | None:
        """The mailbox it names, for messages to people."""
        name: Name | None = getattr(self, "mailbox", None)
        return name


def topic_of(response: Taken) -> Topic:
    """What `response` is about."""
    if isinstance(response, r.Fetch):
        return response.uid
    return name_topic(response.name) if isinstance(response, r.MailboxStatus) else None


def name_topic(name: bytes) -> bytes:
    """A mailbox by its name on the wire; INBOX in any case is one."""
    return b"INBOX" if name.upper() == b"INBOX" else name


def uid_topics(uids: Uids) -> Collection[int] | None:
    """Messages by their UIDs, if they are few."""
    return uids if isinstance(uids, UidSet) and len(uids) <= TOPICS_MAX else None


@dataclass(frozen=True, slots=True)
class OneMailbox(Command):
    """A command whose only argument is a mailbox."""

    mailbox: Name

    def encode(self, out: Encoder) -> None:
        out.raw(f"{self.verb} ").mailbox(self.mailbox)
