"""What is implausible is not done: the last look at a plan before anything is removed."""

from __future__ import annotations

from mailtwin.errors import GuardError
from mailtwin.model import MailboxName
from mailtwin.planner import Base, Operation, Remove

REMOVALS_UNGUARDED = 25
"""So few removals are always plausible: a person tidies up a small mailbox."""

REMOVAL_SHARE_MAX = 0.5
"""Above this share of a mailbox's agreements, removals look like a lost disk or a truncated listing."""


def refuse_implausible(name: MailboxName, base: Base, operations: tuple[Operation, ...]) -> None:
    """Raises GuardError when these operations would remove an implausible part of the mailbox."""
    removals = sum(isinstance(op, Remove) and op.link is not None for op in operations)
    if removals > REMOVALS_UNGUARDED and removals > REMOVAL_SHARE_MAX * len(base.links):
        raise GuardError(
            f"{name}: {removals} of {len(base.links)} messages that both sides held are missing on one side. "
            "That looks like a lost disk or a truncated answer, so nothing was removed.",
            hint="look at `mailtwin plan`; if the messages were removed on purpose, run `mailtwin sync "
            "--approve-removals` once",
        )
