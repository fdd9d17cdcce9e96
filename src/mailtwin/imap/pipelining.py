"""What may be in flight together (RFC 9051 section 5.5), as data: traits of commands and one function over them.

We address messages by UID only, which removes most ambiguities. What is left: which mailbox is selected, untagged
answers that do not say which command they belong to, and commands that change how the next one must be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Rule:
    """Two commands that must not be in flight together: a trait of each (None: any), perhaps only of one verb."""

    why: str
    earlier: Trait | None = None
    later: Trait | None = None
    same_verb: bool = False

    def forbids(self, earlier: InFlight, later: InFlight) -> bool:
        """Whether `later` must wait for the tagged reply of `earlier`."""
        return (
            (self.earlier is None or self.earlier in earlier.traits)
            and (self.later is None or self.later in later.traits)
            and (not self.same_verb or earlier.verb == later.verb)
        )


RULES = (
    Rule("it takes over the connection, so all others must be done", later=Trait.ALONE),
    Rule("it has the connection, or decides what can come next", earlier=Trait.ALONE),
    Rule("how the next command is written depends on the reply", earlier=Trait.LAST),
    Rule(
        "answers about the mailbox being left could be taken for answers about the next", later=Trait.SELECTS
    ),
    Rule("the change would hit whatever is selected if the SELECT fails", Trait.SELECTS, Trait.CHANGES),
    Rule("nobody could tell whose the answers are", Trait.ANONYMOUS, Trait.ANONYMOUS, same_verb=True),
)
"""All of them; what no rule forbids may be in flight together (RFC 9051 section 5.5)."""


def may_follow(command: InFlight, in_flight: Iterable[InFlight]) -> bool:
    """Whether `command` may be sent while `in_flight`, in the order sent, have not been answered."""
    return not any(rule.forbids(earlier, command) for earlier in in_flight for rule in RULES)
