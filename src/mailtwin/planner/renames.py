"""Mailboxes that are called differently on the two sides: an explicit bijection, applied at the border.

Everything behind the border, the planner and the state, knows a mailbox by its left name.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailtwin.errors import ConfigurationError
from mailtwin.model import MailboxName


class NameMap:
    """Left names to right names and back; a name that no pair mentions is called the same on both sides.

    Exact: a pair says nothing about the children of its mailboxes. Raises ConfigurationError when one name stands in
    two pairs on the same side.
    """

    __slots__ = ("_to_left", "_to_right")

    def __init__(self, pairs: Iterable[tuple[MailboxName, MailboxName]] = ()) -> None:
        self._to_right: dict[MailboxName, MailboxName] = {}
        self._to_left: dict[MailboxName, MailboxName] = {}
        for left, right in pairs:
            _enter(self._to_right, left, right, "left")
            _enter(self._to_left, right, left, "right")

    def to_right(self, name: MailboxName) -> MailboxName:
        """What the left mailbox `name` is called on the right.

        Raises ConfigurationError when another left mailbox was given that name.
        """
        return _translate(name, self._to_right, self._to_left, "left")

    def to_left(self, name: MailboxName) -> MailboxName:
        """What the right mailbox `name` is called on the left.

        Raises ConfigurationError when another right mailbox was given that name.
        """
        return _translate(name, self._to_left, self._to_right, "right")


def _enter(table: dict[MailboxName, MailboxName], name: MailboxName, twin: MailboxName, side: str) -> None:
    known = table.setdefault(name, twin)
    if known != twin:
        raise ConfigurationError(
            f"the {side} mailbox {name} cannot be both {known} and {twin} on the other side",
            hint="give every mailbox one counterpart",
        )


def _translate(
    name: MailboxName,
    table: dict[MailboxName, MailboxName],
    back: dict[MailboxName, MailboxName],
    side: str,
) -> MailboxName:
    if name in table:
        return table[name]
    if name in back:
        raise ConfigurationError(
            f"the {side} mailboxes {name} and {back[name]} would both be {name} on the other side",
            hint=f"give {name} a counterpart of its own, or leave it out",
        )
    return name
