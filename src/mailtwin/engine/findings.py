"""What a verification finds, message by message and as a whole, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from mailtwin.errors import ExitCode
from mailtwin.model import MailboxName, Ref, Side


class Kind(Enum):
    """What becomes of one message in a comparison.

    SAME: both sides hold it, bytes, flags and date. MISSING: one side lacks it. ALTERED: both hold it, and differ in
    bytes, flags or date. DOUBLED: one side holds the very bytes more often than the other. UNRESOLVED: one side holds
    it alone, and `mailtwin resolve` knows why. UNREADABLE: it is there and cannot be read. UNSEEN: what a store does
    not show, so that nothing can be said about it: a mailbox that cannot be opened, a list that is not complete.
    """

    SAME = "same"
    MISSING = "missing"
    ALTERED = "altered"
    DOUBLED = "doubled"
    UNRESOLVED = "unresolved"
    UNREADABLE = "unreadable"
    UNSEEN = "unseen"


DIFFERENCES = tuple(kind for kind in Kind if kind is not Kind.SAME)


@dataclass(frozen=True, slots=True)
class Alteration:
    """In what two messages differ: `bytes`, `flags` or `date`, and what each side has there, in words."""

    what: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One message, or a mailbox as a whole (neither `left` nor `right`).

    `mailbox`: the left name, or how a store spells what has none; "" for a store as a whole. `side`: the one that lacks
    the message, holds one too many, or cannot show it; None where both are meant. `why`: what can be told of the cause.
    """

    kind: Kind
    mailbox: str
    side: Side | None = None
    left: Ref | None = None
    right: Ref | None = None
    message_id: str = ""
    size: int | None = None
    altered: tuple[Alteration, ...] = ()
    why: str = ""

    @property
    def is_message(self) -> bool:
        """Whether it is about one message."""
        return self.left is not None or self.right is not None


Tally = Mapping[tuple[Kind, Side | None], int]
"""How many findings there are of each kind, by the side that they name."""


@dataclass(frozen=True, slots=True)
class VerifiedMailbox:
    """How one mailbox ended. `read`: so many messages were read (`read_bytes` of them), on both sides together; the
    others were read before and have not changed since, as far as their stores can tell."""

    name: MailboxName
    tally: Tally
    read: int = 0
    read_bytes: int = 0

    @property
    def same(self) -> int:
        """Messages that both sides hold identically."""
        return self.tally.get((Kind.SAME, None), 0)


@dataclass(frozen=True, slots=True)
class Verification:
    """How far two stores hold the same mail.

    `differences` lists the first thousand; `tally` counts all, and what is the same. `excluded`: mailboxes that do not
    take part. `deep`: nothing was taken from an earlier reading.
    """

    mailboxes: tuple[VerifiedMailbox, ...]
    differences: tuple[Finding, ...]
    tally: Tally = field(default_factory=dict)
    excluded: int = 0
    deep: bool = False

    @property
    def same(self) -> int:
        """Messages that both sides hold identically."""
        return self.count([Kind.SAME])

    @property
    def difference_count(self) -> int:
        """Everything that is not the same."""
        return self.count(DIFFERENCES)

    @property
    def identical(self) -> bool:
        """Whether both sides hold the same mail, as far as can be seen, and everything could be seen."""
        return not self.difference_count

    @property
    def read(self) -> int:
        """Messages that were read, on both sides together."""
        return sum(mailbox.read for mailbox in self.mailboxes)

    @property
    def read_bytes(self) -> int:
        """Their bytes."""
        return sum(mailbox.read_bytes for mailbox in self.mailboxes)

    @property
    def exit_code(self) -> ExitCode:
        """0 only when both sides are identical."""
        return ExitCode.OK if self.identical else ExitCode.NOT_IN_STEP

    def count(self, kinds: Iterable[Kind]) -> int:
        """Findings of these kinds."""
        wanted = set(kinds)
        return sum(count for (kind, _side), count in self.tally.items() if kind in wanted)
