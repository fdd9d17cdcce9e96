"""What the proxy may do to a connection, as values: a `Rule` says what (`do`), to which event (`on`), and how often.

Events are connections and commands. They are counted over all connections since the rules were armed, each rule for
itself; a rule for `FETCH` counts `UID FETCH` as well, one for `UID FETCH` only that, one for `*` every command after
login. A rule that is `about` a text counts only the commands that hold it, in their literals too; in the middle of a
reply it counts all of them, and strikes in the responses that hold the text.

From the `nth` on, a rule is due `times` times (None: always), each time with its `probability`. Chance depends on the
seed, the rule and the count alone, so that the same seed gives the same faults to the same events.

Read next: `scenario` (rules from a file), `rewriting` and `proxy` (what comes of them).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = [
    "CONNECTION",
    "AddCode",
    "Answer",
    "Armed",
    "Curtail",
    "Cut",
    "CutAtByte",
    "Do",
    "Duplicate",
    "HideNew",
    "HoldBack",
    "Inject",
    "Kill",
    "Recreate",
    "Reorder",
    "Rule",
    "Shorten",
    "Stall",
    "StripCapabilities",
    "StripCodes",
    "SwapUids",
    "Throttle",
    "When",
]

CONNECTION = "CONNECTION"
"""The event that a client connects; every other event is a command."""

_NOT_COUNTED_BY_STAR = frozenset(
    {"AUTHENTICATE", "CAPABILITY", "ENABLE", "ID", "LOGIN", "LOGOUT", "NAMESPACE"}
)


class When(Enum):
    """The moment, in the life of one command."""

    BEFORE = "before"
    """The command came in whole; the server has seen nothing of it."""
    IN_LITERAL = "in-literal"
    """The server has half of the command's last literal; of a command without one, half of its line."""
    EXECUTED = "executed"
    """The server has answered; the tagged reply does not reach the client."""
    MID_REPLY = "mid-reply"
    """The client has half of the first response, in the middle of its literal if it has one."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends on both sides; with `reset`, the client sees RST instead of FIN."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class CutAtByte:
    """The connection ends after so many bytes to the client, or to the server. Only on CONNECTION."""

    byte: int
    to_server: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """The program that is tested is killed (the proxy's `kill` is called), and the connection ends."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing moves any more in either direction, for so many seconds, or (None) until the client hangs up."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HoldBack:
    """The client is cut off; the server gets the command all the same, so many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the proxy's own. BEFORE: the server never sees the command. EXECUTED: a lie.

    `word`: NO, BAD, or BYE (then the connection ends). On CONNECTION it is the greeting: only BYE.
    """

    word: str = "NO"
    code: str | None = None
    text: str = "Refused by the fault plan"

    def __post_init__(self) -> None:
        if self.word not in ("NO", "BAD", "BYE"):
            raise ValueError("an answer is NO, BAD or BYE")


@dataclass(frozen=True, slots=True)
class AddCode:
    """A tagged OK gets this response code, in the place of its own."""

    code: str


@dataclass(frozen=True, slots=True)
class Shorten:
    """Of FETCH, SEARCH, ESEARCH and LIST answers only the first `keep` messages or mailboxes pass; then OK."""

    keep: int = 0


@dataclass(frozen=True, slots=True)
class Curtail:
    """Every mailbox looks as if it held only its first `keep` messages: EXISTS says so too. Only on CONNECTION."""

    keep: int = 0


@dataclass(frozen=True, slots=True)
class Inject:
    """Untagged responses before each response to the command.

    EXISTS, RECENT, FLAGS and CAPABILITY stand for what the server said last, if it said it; everything else is sent
    as it is: `* OK Still here`.
    """

    responses: tuple[str, ...] = ("EXISTS", "RECENT", "FLAGS", "CAPABILITY", "* OK Still here")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Untagged responses that say what is, not what happened (so not EXPUNGE), come twice."""


@dataclass(frozen=True, slots=True)
class Reorder:
    """FETCH responses that follow one another come in reverse."""


@dataclass(frozen=True, slots=True)
class SwapUids:
    """The tagged reply waits for the next one, and both swap their APPENDUID; only if another APPEND is under way."""


@dataclass(frozen=True, slots=True)
class StripCapabilities:
    """These never appear in a list of capabilities; `NAME=*` stands for all that begin so. Only on CONNECTION."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StripCodes:
    """These response codes are removed from every response: APPENDUID, COPYUID. Only on CONNECTION."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HideNew:
    """What was appended to the selected mailbox is not shown before NOOP or a new SELECT. Only on CONNECTION."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """So many bytes a second pass, in each direction. Only on CONNECTION."""

    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Recreate:
    """Another program renames the mailbox away, makes it anew (another UIDVALIDITY), and copies all mail into it."""

    mailbox: str


Do: TypeAlias = (
    AddCode
    | Answer
    | Curtail
    | Cut
    | CutAtByte
    | Duplicate
    | HideNew
    | HoldBack
    | Inject
    | Kill
    | Recreate
    | Reorder
    | Shorten
    | Stall
    | StripCapabilities
    | StripCodes
    | SwapUids
    | Throttle
)
_OF_CONNECTIONS = (Curtail, CutAtByte, HideNew, StripCapabilities, StripCodes, Throttle)
_OF_EITHER = (Answer, Cut, Kill, Stall)
_AT_ANY_MOMENT = (Cut, Kill, Stall)


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault. Raises ValueError for what cannot be: a greeting that is held back, a mailbox recreated mid-reply."""

    do: Do
    on: tuple[str, ...] = (CONNECTION,)
    when: When = When.BEFORE
    nth: int = 1
    times: int | None = 1
    probability: float = 1.0
    about: str = ""

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1) or not 0 < self.probability <= 1:
            raise ValueError("nth and times count from 1, and a probability is above 0 and at most 1")
        if not self.on or any(name != name.upper() for name in self.on):
            raise ValueError("a rule is about CONNECTION or about commands, in upper case")
        name = type(self.do).__name__
        connection = CONNECTION in self.on
        if connection != isinstance(self.do, _OF_CONNECTIONS) and not isinstance(self.do, _OF_EITHER):
            raise ValueError(f"{name} is about {'commands' if connection else 'connections'}")
        if connection and (len(self.on) > 1 or self.when is not When.BEFORE):
            raise ValueError("a connection has no other moments and no commands beside it")
        if connection and self.about:
            raise ValueError("a connection is about no text")
        if connection and isinstance(self.do, Answer) and self.do.word != "BYE":
            raise ValueError("a greeting that refuses is BYE")
        allowed = _AT_ANY_MOMENT
        if self.when in (When.IN_LITERAL, When.MID_REPLY) and not isinstance(self.do, allowed):
            raise ValueError(f"{name} has no moment {self.when.value}")
        if self.when is When.EXECUTED and not isinstance(self.do, (*allowed, Answer)):
            raise ValueError(f"{name} has no moment {self.when.value}")

    def matches(self, event: str, data: bytes = b"") -> bool:
        """Whether this event counts: CONNECTION, `FETCH`, `UID FETCH`; `data`: the whole command."""
        if self.when is not When.MID_REPLY and not self.holds(data):
            return False
        if event in self.on or event.removeprefix("UID ") in self.on:
            return True
        return "*" in self.on and event != CONNECTION and event not in _NOT_COUNTED_BY_STAR

    def holds(self, data: bytes) -> bool:
        """Whether this is what the rule is about."""
        return self.about.encode() in data


class Armed:
    """Rules that count events."""

    def __init__(self, rules: Sequence[Rule], seed: int | str) -> None:
        self.rules = tuple(rules)
        self._seed = seed
        self._seen = [0] * len(self.rules)

    def due(self, event: str, data: bytes = b"") -> list[Rule]:
        """Counts one event (`data`: the whole command) and returns the rules that are due for it, in their order."""
        found: list[Rule] = []
        for index, rule in enumerate(self.rules):
            if not rule.matches(event, data):
                continue
            self._seen[index] += 1
            count = self._seen[index]
            if count < rule.nth or (rule.times is not None and count >= rule.nth + rule.times):
                continue
            if random.Random(f"{self._seed}/{index}/{count}").random() < rule.probability:
                found.append(rule)
        return found
