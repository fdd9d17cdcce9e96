"""The decision about the mailboxes of a pair, apart from the messages in them.

A mailbox that is missing from an incomplete list is not known to be missing. Removing a mailbox is the one thing that
must be asked for: by default a mailbox that disappeared on one side is held, and a person sees it. Names are left
names here (see `renames`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mailtwin.model import MailboxName, Side
from mailtwin.planner.operations import (
    CreateMailbox,
    ForgetMailbox,
    HoldMailbox,
    MailboxOperation,
    Policy,
    Removals,
    RemoveMailbox,
)


@dataclass(frozen=True, slots=True)
class MailboxListing:
    """The names listed on one side; only when `complete` is a name's absence evidence."""

    names: AbstractSet[MailboxName]
    complete: bool = True

    def lacks(self, name: MailboxName) -> bool:
        """Whether this list proves that there is no such mailbox."""
        return self.complete and name not in self.names


def plan_mailboxes(
    known: AbstractSet[MailboxName], left: MailboxListing, right: MailboxListing, policy: Policy
) -> tuple[MailboxOperation, ...]:
    """What to do about the mailboxes themselves; `known` are those that were in step once.

    In order: creations (parents before children), held mailboxes, removals (children before parents), and what is
    forgotten. Raises nothing.
    """
    operations: list[MailboxOperation] = []
    for name in sorted({*known, *left.names, *right.names}):
        if left.lacks(name) and right.lacks(name):
            operations.append(ForgetMailbox(name, "missing on both sides"))
        for side, here, there in ((Side.LEFT, left, right), (Side.RIGHT, right, left)):
            if here.lacks(name) and name in there.names:
                operations.extend(_plan_missing(name, side, policy, is_known=name in known))
    by_kind = {kind: [op for op in operations if isinstance(op, kind)] for kind in _KINDS}
    by_kind[RemoveMailbox].reverse()
    return tuple(operation for kind in _KINDS for operation in by_kind[kind])


_KINDS: tuple[type[MailboxOperation], ...] = (CreateMailbox, HoldMailbox, RemoveMailbox, ForgetMailbox)


def _plan_missing(
    name: MailboxName, missing: Side, policy: Policy, *, is_known: bool
) -> tuple[MailboxOperation, ...]:
    """`name` exists on one side and is proven missing on `missing`."""
    there = missing.other
    if not is_known:
        allowed = policy.direction.may_change(missing)
        return (CreateMailbox(missing, name, f"new on {there.label}"),) if allowed else ()
    removable = policy.remove_mailboxes and policy.removals is Removals.PROPAGATE and not name.is_inbox
    if removable and policy.direction.may_change(there):
        return (RemoveMailbox(there, name, f"removed on {missing.label}"),)
    return (HoldMailbox(missing, name, f"missing on {missing.label}"),)
