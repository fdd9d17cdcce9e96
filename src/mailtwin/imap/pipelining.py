"""What may be in flight together (RFC 9051 section 5.5), as data: traits of commands and one function over them.

We address messages by UID only, which removes most ambiguities. What is left: which mailbox is selected, untagged
answers that do not say which command they belong to, and commands that change how the next one must be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Flag, auto
from typing import Protocol


class Trait(Flag):
    """What a command needs from, or does to, those in flight around it."""

    NONE = 0
    ALONE = auto()
    """Nothing before it and nothing after it: it takes over the connection (IDLE), or what follows depends on it."""

    LAST = auto()
    """Nothing after it until its tagged reply: the next command may have to be written differently (ENABLE)."""

    SELECTS = auto()
    """Changes which mailbox is selected: waits for everything before it, and nothing behind it is answered yet."""

    CHANGES = auto()
    """Changes messages of the selected mailbox: must not be sent on the hope that a SELECT in flight succeeds."""

    ANONYMOUS = auto()
    """Its untagged answers do not say whose they are: never two of the same verb."""


class InFlight(Protocol):
    """A command, as far as this module needs to know it."""

    @property
    def verb(self) -> str:
        """Its name, without UID."""

    @property
    def traits(self) -> Trait:
        """What it needs."""


def may_follow(command: InFlight, in_flight: Iterable[InFlight]) -> bool:
    """Whether `command` may be sent while `in_flight`, in the order sent, have not been answered."""
    earlier = tuple(in_flight)
    if not earlier:
        return True
    if command.traits & (Trait.ALONE | Trait.SELECTS):
        return False
    return not any(_is_ambiguous(command, other) for other in earlier)


def _is_ambiguous(command: InFlight, earlier: InFlight) -> bool:
    if earlier.traits & (Trait.ALONE | Trait.LAST):
        return True
    if Trait.SELECTS in earlier.traits and Trait.CHANGES in command.traits:
        return True
    return Trait.ANONYMOUS in command.traits and command.verb == earlier.verb
