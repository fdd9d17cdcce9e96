"""What the planner knows and what it may decide, as values.

A dry run prints these; `explain` is their `why`; a bug report is the planner's arguments. Nothing here executes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TypeAlias

from mailtwin.model import Flags, Identity, MailboxName, Ref, Side


class Direction(Enum):
    """Which sides may be changed."""

    TWO_WAY = "two-way"
    LEFT_TO_RIGHT = "left-to-right"
    RIGHT_TO_LEFT = "right-to-left"

    def may_change(self, side: Side) -> bool:
        """Whether operations on `side` are allowed."""
        return self is Direction.TWO_WAY or (self is Direction.LEFT_TO_RIGHT) == (side is Side.RIGHT)


class Removals(Enum):
    """What becomes of a message that its twin's side no longer holds."""

    PROPAGATE = "propagate"
    KEEP = "keep"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a person wants. `flag_change_beats_removal`: a message whose flags changed on the surviving side since
    the last agreement is copied back instead of being removed. `remove_mailboxes`: a mailbox removed on one side is
    removed on the other."""

    direction: Direction = Direction.TWO_WAY
    removals: Removals = Removals.PROPAGATE
    flag_change_beats_removal: bool = False
    remove_mailboxes: bool = False


# --- what is known besides the two listings -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """An agreement: these two are the same message, and these flags are what both sides agreed on."""

    left: Ref
    right: Ref
    flags: Flags = field(compare=False)

    def ref(self, side: Side) -> Ref:
        """The message on `side`."""
        return self.left if side is Side.LEFT else self.right

    def with_ref(self, side: Side, ref: Ref) -> Link:
        """The same agreement about another message on `side`."""
        return replace(self, left=ref) if side is Side.LEFT else replace(self, right=ref)


class Attempt(IntEnum):
    """What is known of the end of an attempt to store a message.

    OPEN: nothing, it may still take effect. WAITED: no answer was read, its connection is gone and time has passed;
    that proves little (a server's process may have been suspended). ANSWERED: the server said no, or nothing was sent;
    it can no longer take effect. ACCEPTED: the server said that it stored the message.
    """

    OPEN = 0
    WAITED = 1
    ANSWERED = 2
    ACCEPTED = 3


@dataclass(frozen=True, slots=True)
class CopyIntent:
    """A copy that was begun and not seen to end.

    `ref` on `source` was to be stored on the other side: under the known name `target`, or under a UID of at least
    `floor`, in the numbering `validity`. `flags`: the source's flags when it was sent. A copy under a known name is
    made by this process alone: once another one looks, it is there or never will be.
    """

    source: Side
    ref: Ref
    flags: Flags
    validity: str
    target: Ref | None = None
    floor: int | None = None
    identity: Identity | None = None
    attempt: Attempt = Attempt.OPEN

    @property
    def finished(self) -> bool:
        """Whether a listing made now decides: the attempt is over as far as anybody can tell."""
        return self.attempt is not Attempt.OPEN or self.target is not None


class Verdict(IntEnum):
    """What a person decided about a straggler that was found: nothing yet, that it is to be removed, or that it is mail
    of its own, to be treated like any other."""

    NONE = 0
    REMOVE = 1
    KEEP = 2


@dataclass(frozen=True, slots=True)
class Straggler:
    """A copy that was given up without an answer, and that may arrive all the same: then it is nobody's new mail.

    Of `ref` on `source`, sent with `flags`; it would get a UID of at least `floor` in the numbering `validity`, any
    UID in another one. `found`: the message that is it; what becomes of that a person decides (`verdict`).
    """

    source: Side
    ref: Ref
    flags: Flags
    validity: str
    floor: int
    identity: Identity
    found: Ref | None = None
    verdict: Verdict = Verdict.NONE


@dataclass(frozen=True, slots=True)
class StoreIntent:
    """A change of flags on `side` that was begun and not seen to end; `result` is the agreement once it is visible.

    At most one for each link: a newer one replaces it. What is not visible is taken for not having happened, so nobody
    may look before the STORE can no longer take effect: after a crash or a lost connection, wait as for `Settle`.
    """

    left: Ref
    right: Ref
    side: Side
    add: Flags
    remove: Flags
    result: Flags


@dataclass(frozen=True, slots=True)
class RemoveIntent:
    """The removal of `ref` on `side`, in the numbering `validity`, was begun: it took effect, or may at any time.

    A message that goes after that may have been removed by nobody but us, so its absence is no evidence of what a
    person wants. `began`: when, in seconds of a clock that the planner does not ask.
    """

    side: Side
    ref: Ref
    validity: str
    began: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Base:
    """The durable knowledge of one mailbox: agreements, the validities they belong to, and open intents.

    A validity is None before the mailbox was first seen on that side. `renumbered`: the agreements were forgotten
    because a numbering changed, and the mailbox was not in step since.
    """

    links: Sequence[Link] = ()
    left_validity: str | None = None
    right_validity: str | None = None
    copies: Sequence[CopyIntent] = ()
    stores: Sequence[StoreIntent] = ()
    stragglers: Sequence[Straggler] = ()
    removals: Sequence[RemoveIntent] = ()
    renumbered: bool = False

    def validity(self, side: Side) -> str | None:
        """The numbering that the links' refs on `side` belong to."""
        return self.left_validity if side is Side.LEFT else self.right_validity


# --- operations on messages -----------------------------------------------------------------------------------------


class Phase(IntEnum):
    """One plan executes one phase; inside a phase order is free; then observe and plan again."""

    RESET = 0
    SETTLE = 1
    IDENTIFY = 2
    COPY = 3
    FLAGS = 4
    REMOVE = 5
    FORGET = 6


@dataclass(frozen=True, slots=True)
class Reset:
    """The numbering of `side` changed: no link or intent of this mailbox means anything any more; pair anew.

    Drops all links and intents of both sides and adopts both numberings as they were just seen.
    """

    side: Side
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Give every interrupted copy towards the same side time to arrive (this one included, and those whose intent has
    ended already): leave its connection, wait, connect anew; then it has been waited for, and observe again."""

    intent: CopyIntent
    why: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """An interrupted copy did not happen: drop its intent, and remember it as `straggler` if it may arrive all the
    same. Or: a straggler is nothing any more, drop it."""

    intent: CopyIntent | Straggler
    why: str
    straggler: Straggler | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A straggler arrived: from now on it is known as `held`, and left alone until a person decides."""

    straggler: Straggler
    held: Straggler
    why: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """What nobody but a person can decide, and is left alone until then: a copy that the server accepted, or may have
    stored, and that cannot be found; a straggler that arrived."""

    intent: CopyIntent | Straggler
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The message `ref` of `source` is not copied yet: the other side may have it, and cannot tell."""

    source: Side
    ref: Ref
    why: str


@dataclass(frozen=True, slots=True)
class Identify:
    """Find out who these messages are (their headers; their bodies where there is no Message-ID)."""

    side: Side
    refs: tuple[Ref, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Store the message `ref` of `source` on the other side with `flags`."""

    source: Side
    ref: Ref
    flags: Flags
    why: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Both sides hold the same message already: link them, agreeing on `flags`. `intent`: the copy it completes."""

    left: Ref
    right: Ref
    flags: Flags
    why: str
    intent: CopyIntent | None = None


@dataclass(frozen=True, slots=True)
class Relink:
    """The message at the end of `link` on `side` went and came back as `ref`: that is the end of the agreement from now
    on. The flags agreed on stay, and so does the change of flags that was begun (`intent`)."""

    link: Link
    side: Side
    ref: Ref
    why: str
    intent: StoreIntent | None = None

    @property
    def renewed(self) -> Link:
        """The agreement as it is afterwards."""
        return self.link.with_ref(self.side, self.ref)


@dataclass(frozen=True, slots=True)
class StoreFlags:
    """Add and remove flags on `side`; once that is visible both sides agree on `result`."""

    link: Link
    side: Side
    add: Flags
    remove: Flags
    result: Flags
    why: str


@dataclass(frozen=True, slots=True)
class Record:
    """Make `flags` the agreement, and drop the link's store intent: the matter is closed."""

    link: Link
    flags: Flags
    why: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove `ref` on `side`. `link` is its agreement, or None for a copy that was never agreed or a
    straggler that is not wanted (`intent`)."""

    side: Side
    ref: Ref
    link: Link | None
    why: str
    intent: CopyIntent | Straggler | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop an agreement: both messages are gone, or one is to be copied anew."""

    link: Link
    why: str


Operation: TypeAlias = (
    Reset
    | Settle
    | Abandon
    | Hold
    | Unresolved
    | Wait
    | Identify
    | Copy
    | Adopt
    | Relink
    | StoreFlags
    | Record
    | Remove
    | Forget
)

PHASES: dict[type, Phase] = {
    Reset: Phase.RESET,
    Settle: Phase.SETTLE,
    Abandon: Phase.SETTLE,
    Hold: Phase.SETTLE,
    Identify: Phase.IDENTIFY,
    Adopt: Phase.COPY,
    Relink: Phase.COPY,
    Copy: Phase.COPY,
    Record: Phase.FLAGS,
    StoreFlags: Phase.FLAGS,
    Remove: Phase.REMOVE,
    Forget: Phase.FORGET,
    Unresolved: Phase.FORGET,
    Wait: Phase.FORGET,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the planner would do now, sorted by phase, side and message."""

    operations: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to execute; what is unresolved or waits is not."""
        return any(not isinstance(operation, Unresolved | Wait) for operation in self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def first_phase(self) -> tuple[Operation, ...]:
        """The part that may be executed on these grounds: the operations of the earliest phase."""
        executable = [op for op in self.operations if not isinstance(op, Unresolved | Wait)]
        if not executable:
            return ()
        first = min(PHASES[type(op)] for op in executable)
        return tuple(op for op in executable if PHASES[type(op)] is first)

    def unresolved(self) -> tuple[Unresolved | Wait, ...]:
        """What a person has to look at: the mailbox is not in step, and nothing is to be executed for it."""
        return tuple(op for op in self.operations if isinstance(op, Unresolved | Wait))


# --- operations on mailboxes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateMailbox:
    """Create `name` on `side`."""

    side: Side
    name: MailboxName
    why: str


@dataclass(frozen=True, slots=True)
class HoldMailbox:
    """A known mailbox is missing on `side`: nothing is done to its twin, a person sees it."""

    side: Side
    name: MailboxName
    why: str


@dataclass(frozen=True, slots=True)
class RemoveMailbox:
    """Remove `name` on `side`, whose twin was removed; only ever executed on a mailbox that is in step or empty."""

    side: Side
    name: MailboxName
    why: str


@dataclass(frozen=True, slots=True)
class ForgetMailbox:
    """Both sides lost `name`: drop what is known about it."""

    name: MailboxName
    why: str


MailboxOperation: TypeAlias = CreateMailbox | HoldMailbox | RemoveMailbox | ForgetMailbox
