"""What the state tells people: mailboxes, open copies, runs and history, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from mailtwin.model import Flags, Identity, MailboxName, Ref, Side
from mailtwin.planner.operations import CopyIntent, Link, Straggler


@dataclass(frozen=True, slots=True)
class MailboxRecord:
    """A known mailbox: its agreements, open intents (copies, flag changes, removals) and cursors, in one glance.

    A cursor is None when there is no snapshot of that side.
    """

    name: MailboxName
    links: int
    intents: int
    left_cursor: str | None
    right_cursor: str | None
    left_validity: str | None
    right_validity: str | None

    def cursor(self, side: Side) -> str | None:
        """The cursor of the snapshot of `side`."""
        return self.left_cursor if side is Side.LEFT else self.right_cursor

    def validity(self, side: Side) -> str | None:
        """The numbering that the links' refs on `side` belong to."""
        return self.left_validity if side is Side.LEFT else self.right_validity


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """An open copy with what a person needs to recognise the message. `begun`: seconds since 1970."""

    mailbox: MailboxName
    intent: CopyIntent
    size: int
    sha256: str
    message_id: str
    begun: float


@dataclass(frozen=True, slots=True)
class StragglerRecord:
    """A straggler with what a person needs to recognise the message. `size` is None when it is not known; `since`:
    when it was given up, in seconds since 1970."""

    mailbox: MailboxName
    straggler: Straggler
    size: int | None
    message_id: str
    since: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that was removed and is kept for a while, in the file `file` of the quarantine.

    It was `ref` on `side` in the numbering `validity`. `run` removed it (None: not known any more), at `since` (seconds
    since 1970; 0 before it is written). `begun_validity` is set when it was about to be put back: then it may be there
    already, under the name `target` or at a UID of at least `floor`.
    """

    mailbox: MailboxName
    side: Side
    ref: Ref
    validity: str
    flags: Flags
    date: datetime
    size: int
    message_id: str
    identity: Identity
    file: str
    run: int | None = None
    since: float = 0.0
    begun_validity: str | None = None
    target: Ref | None = None
    floor: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A linked message of a mailbox that is known by an email id: the agreement, and the numberings that it is of."""

    mailbox: MailboxName
    link: Link
    left_validity: str
    right_validity: str

    def validity(self, side: Side) -> str:
        """The numbering that the link's ref on `side` belongs to."""
        return self.left_validity if side is Side.LEFT else self.right_validity


class Obstacle(Enum):
    """What keeps a message from being copied."""

    MESSAGE = 0
    """It cannot be read, or is not taken."""
    IDENTITY = 1
    """It cannot be read so far that anybody could tell whether the other side has it."""
    DESTINATION = 2
    """The other side takes no message at all, as when it is full; this one was the first to be refused."""
    QUARANTINE = 3
    """It cannot be read to be kept before its removal, so it is not removed."""


@dataclass(frozen=True, slots=True)
class Uncopied:
    """A message that could not be copied: `ref` on `side`, the `obstacle` and the `reason` in words.

    `attempts` were made between `first` and `last`; the next one is `due` (None: not before something changed). Times
    are in seconds since 1970. `grounds`: what it was tried against; `stamp`: what its store tells of it
    (`stores.base.Look`; "" when it was not asked). `size` in bytes, `message_id` and `identity` as far as it was read.

    `losses`: how often a connection ended over it. Without `attempts` it is merely suspected of that, and nothing that
    a person has to know.
    """

    mailbox: MailboxName
    side: Side
    ref: Ref
    reason: str
    obstacle: Obstacle = Obstacle.MESSAGE
    due: float | None = None
    attempts: int = 1
    first: float = 0.0
    last: float = 0.0
    grounds: str = ""
    stamp: str = ""
    size: int | None = None
    message_id: str = ""
    identity: Identity | None = None
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a side showed of a mailbox when it was last in step: how many messages, and where they lay ("": unknown).

    `whole`: when it was last listed whole, in seconds by `State.steady_now` (0: not known); `changed`: in how many runs
    since then it was only asked what had changed.
    """

    listed: int
    location: str = ""
    whole: float = field(default=0.0, compare=False)
    changed: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class HeldRemovals:
    """Removals on `side` that the guard holds back, and `why`, in words.

    `refs` belong to the numbering `validity`; `approved`, some of them, may be removed after all. `whole`: the mailbox
    itself would be removed. `since`: when they were held back, in seconds since 1970; 0 before it is written.
    """

    mailbox: MailboxName
    side: Side
    validity: str
    refs: frozenset[Ref]
    why: str
    approved: frozenset[Ref] = frozenset()
    whole: bool = False
    since: float = 0.0

    @property
    def is_approved(self) -> bool:
        """Whether all of them may be removed."""
        return self.refs <= self.approved


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run; times are seconds since 1970.

    `ended` and `outcome` are None while it runs. One that was killed never gets an `ended`; the next run turns its
    outcome into `interrupted`.
    """

    run: int
    command: str
    began: float
    ended: float | None
    outcome: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing done: when (seconds since 1970), in which run (None: outside of one), where, to which message, why.

    `number` rises with every line, and no line ever gets the number of another one.
    """

    run: int | None
    at: float
    mailbox: MailboxName
    operation: str
    left: Ref | None
    right: Ref | None
    detail: str
    message_id: str
    number: int = field(default=0, compare=False)

    def ref(self, side: Side) -> Ref | None:
        """The message on `side`."""
        return self.left if side is Side.LEFT else self.right
