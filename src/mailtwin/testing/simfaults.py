"""Faults of a simulated server: an ordered list of rules, each about the n-th command of a name.

::

    server = SimServer(mail, PLAIN, faults=[cut("APPEND", nth=3), reply_no("UID STORE", nth=1, code="LIMIT")])
    server.faults.add(cut("EXPUNGE", when=When.BEFORE))

A rule named `STORE` also counts `UID STORE`; a rule named `UID STORE` counts only that. Commands are counted over all
connections of the server, from the moment the rule was added, so that a rule is about one exact point of a run.
When several rules are due, the first in the list is applied.

Read next: `mailtwin.testing.simserver`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["Fault", "FaultList", "When", "cut", "reply_no", "shorten"]


class When(Enum):
    """The moment of the fault, in the life of one command."""

    BEFORE = "before_execution"
    """The command, with its literals, was received; nothing was done."""
    EXECUTED = "executed_before_reply"
    """All is done; the client has seen nothing of it, not even the untagged responses."""
    MID_REPLY = "mid_reply"
    """All is done; the client gets the first half of the bytes of the reply, be it inside a literal."""


class _Effect(Enum):
    CUT = "cut"
    NO = "no"
    SHORTEN = "shorten"


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. Made by `cut`, `reply_no` and `shorten`."""

    effect: _Effect
    command: str
    nth: int
    times: int
    when: When
    code: str | None = None
    text: str = "Refused by the fault plan"
    keep: int = 0

    def __post_init__(self) -> None:
        if self.nth < 1 or self.times < 1 or self.keep < 0:
            raise ValueError("nth and times count from 1, keep from 0")

    @property
    def cuts(self) -> bool:
        """The connection ends."""
        return self.effect is _Effect.CUT

    @property
    def refuses(self) -> bool:
        """The tagged reply is NO."""
        return self.effect is _Effect.NO

    @property
    def shortens(self) -> bool:
        """The answer is OK, and not complete."""
        return self.effect is _Effect.SHORTEN


def cut(after_command: str, nth: int = 1, when: When | str = When.EXECUTED, times: int = 1) -> Fault:
    """End the connection at the `nth` such command (and the `times - 1` that follow it)."""
    return Fault(_Effect.CUT, after_command.upper(), nth, times, When(when))


def reply_no(
    command: str,
    nth: int = 1,
    code: str | None = None,
    text: str = "Refused by the fault plan",
    when: When | str = When.BEFORE,
    times: int = 1,
) -> Fault:
    """Answer NO, with `[code]` if given. With `When.EXECUTED` the server lies: it has done it, and says NO."""
    moment = When(when)
    if moment is When.MID_REPLY:
        raise ValueError("a NO is sent before or after the execution, not in the middle of a reply")
    return Fault(_Effect.NO, command.upper(), nth, times, moment, code, text)


def shorten(command: str, nth: int = 1, keep: int = 0, times: int = 1) -> Fault:
    """Send only the first `keep` responses of what was asked for (FETCH, SEARCH, LIST, ...), and then a tagged OK.

    Gmail, Yahoo's window of 10,000 and throttled servers give such answers: absent there does not mean removed.
    """
    return Fault(_Effect.SHORTEN, command.upper(), nth, times, When.EXECUTED, keep=keep)


class FaultList:
    """The rules in order, each with its count of the commands that it has seen."""

    def __init__(self, rules: Iterable[Fault] = ()) -> None:
        self._rules: list[tuple[Fault, list[int]]] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Fault) -> None:
        """Append a rule; it counts from here."""
        self._rules.append((rule, [0]))

    def clear(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def next(self, command: str) -> Fault | None:
        """Count one command (`FETCH`, `UID FETCH`), and return the fault that is due for it."""
        due: Fault | None = None
        for rule, seen in self._rules:
            if rule.command not in (command, command.removeprefix("UID ")):
                continue
            seen[0] += 1
            if due is None and rule.nth <= seen[0] < rule.nth + rule.times:
                due = rule
        return due
