"""What the engine tells while it works and when it is done: values for whoever shows them, in any form.

Events are for progress and may be thrown away; a `RunReport` is the whole truth about a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from mailtwin.engine.findings import Finding, VerifiedMailbox
from mailtwin.engine.rationing import Use
from mailtwin.errors import ExitCode, MailtwinError
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.planner.operations import MailboxOperation, Phase, Plan


@dataclass(frozen=True, slots=True)
class Counts:
    """What was done: messages, and `transferred_bytes` of message bodies."""

    copied_to_left: int = 0
    copied_to_right: int = 0
    adopted: int = 0
    flags_left: int = 0
    flags_right: int = 0
    removed_left: int = 0
    removed_right: int = 0
    transferred_bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that kept the two sides from being in step, about a message, a mailbox or a side.

    `known`: an earlier run told of it, and it rests or has not changed.
    """

    error: MailtwinError
    mailbox: MailboxName | None = None
    side: Side | None = None
    ref: Ref | None = None
    message_id: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class MailboxResult:
    """How one mailbox ended. `unchanged`: its cursors had not moved, so it was not even opened."""

    name: MailboxName
    in_step: bool
    counts: Counts = field(default_factory=Counts)
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class RunReport:
    """The whole run. `uses`: how the accounts of both sides stand after it, as far as anybody counts."""

    mailboxes: tuple[MailboxResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    uses: tuple[Use, ...] = ()

    @property
    def counts(self) -> Counts:
        """The sum over all mailboxes."""
        return sum((result.counts for result in self.mailboxes), Counts())

    @property
    def in_step(self) -> bool:
        """Whether both sides hold the same mail in all twinned mailboxes."""
        return not self.problems and all(result.in_step for result in self.mailboxes)

    @property
    def is_news(self) -> bool:
        """Whether it is out of step for another reason than messages that earlier runs could not copy either."""
        return not self.in_step and not (self.problems and all(problem.known for problem in self.problems))

    @property
    def exit_code(self) -> ExitCode:
        """0 when in step; the code of the one kind of problem there was; else 3."""
        return ExitCode.OK if self.in_step else _exit_code(self.problems)


@dataclass(frozen=True, slots=True)
class PlannedMailbox:
    """The plan of one mailbox, nothing of it done. `in_step`: there is nothing to do."""

    name: MailboxName
    plan: Plan
    in_step: bool


@dataclass(frozen=True, slots=True)
class PairPlan:
    """Everything a `sync` would do now, as far as it can be known without doing the first of it.

    `label_operations`: what it would do to labels that no message carries, or that will be in use by then.
    """

    mailbox_operations: tuple[MailboxOperation, ...]
    mailboxes: tuple[PlannedMailbox, ...]
    problems: tuple[Problem, ...] = ()
    label_operations: tuple[MailboxOperation, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """0 when the plan says everything; else as for a run."""
        return _exit_code(self.problems) if self.problems else ExitCode.OK


def _exit_code(problems: Iterable[Problem]) -> ExitCode:
    codes = {problem.error.exit_code for problem in problems} - {ExitCode.FAILED}
    return codes.pop() if len(codes) == 1 else ExitCode.NOT_IN_STEP


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A side is ready."""

    side: Side
    address: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The mailboxes are known; `changed` of `total` have to be looked into."""

    total: int
    changed: int
    operations: tuple[MailboxOperation, ...]


@dataclass(frozen=True, slots=True)
class MailboxStarted:
    """A mailbox is being opened."""

    name: MailboxName
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase of a mailbox's plan begins: `operations` of it, in a plan of `plan` as a whole."""

    name: MailboxName
    phase: Phase
    operations: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` messages of the phase are through; `transferred_bytes` in this mailbox so far."""

    name: MailboxName
    phase: Phase
    done: int
    total: int
    transferred_bytes: int


@dataclass(frozen=True, slots=True)
class MailboxFinished:
    """A mailbox is done."""

    result: MailboxResult


@dataclass(frozen=True, slots=True)
class ProblemFound:
    """A problem, as soon as it is met; it is in the report as well."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """`error` ended a connection, or is a server's wish to be left alone: in `pause_s` seconds both sides are connected
    anew, for the `attempt`-th time in a row of at most `attempts`."""

    error: MailtwinError
    pause_s: float
    attempt: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Verifying:
    """`done` of `total` messages of a mailbox that have to be read are read, on both sides together."""

    name: MailboxName
    done: int
    total: int
    read_bytes: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One message was compared, or something kept it from being compared."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class MailboxVerified:
    """All messages of a mailbox were compared."""

    result: VerifiedMailbox


Event: TypeAlias = (
    Connected
    | Listed
    | MailboxStarted
    | PhaseStarted
    | Progress
    | MailboxFinished
    | ProblemFound
    | Reconnecting
    | Verifying
    | Compared
    | MailboxVerified
)
Reporter: TypeAlias = Callable[[Event], None]


def ignore_events(_event: Event) -> None:
    """A reporter for those who only want the report."""


# --- check ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MappedMailbox:
    """How one mailbox is spelled on each side ("" where it is missing), and what becomes of it, in words."""

    name: MailboxName
    left: str
    right: str
    what: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found: lines about each side, the mailboxes, and those that cannot be used, with the reason."""

    sides: tuple[tuple[str, ...], ...]
    rows: tuple[MappedMailbox, ...]
    problems: tuple[tuple[str, str], ...] = ()
