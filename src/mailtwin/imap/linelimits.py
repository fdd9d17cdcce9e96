"""How long a command line may be, and commands split to fit (rule R19).

No RFC limits a line in a way that servers agree on, and one that is too long costs the connection, or only part of
the answer. What is known is a table of behaviours: how each is recognised, how many bytes it takes, where it was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from mailtwin.errors import LocalProtocolError
from mailtwin.imap.commands import Command
from mailtwin.imap.encode import Encoder
from mailtwin.imap.state import SessionState
from mailtwin.model import UidSet

Kind = TypeVar("Kind", bound=Command)

_TAG_BYTES_MAX = 12
_RANGE_BYTES_MAX = 21


@dataclass(frozen=True, slots=True)
class LineLimit:
    """A behaviour: lines of up to `bytes_max` are taken by servers that announce one of `capabilities`, or whose ID
    says one of `names` (lower case), and that announce none of `unless`.
    """

    name: str
    bytes_max: int
    capabilities: frozenset[str]
    names: frozenset[str]
    seen: str
    unless: frozenset[str] = frozenset()

    def is_of(self, state: SessionState) -> bool:
        """Whether the server has said that it is one of those."""
        named = bool(self.capabilities & state.capabilities) or state.server_name in self.names
        return named and not self.unless & state.capabilities


LIMITS = (
    LineLimit(
        "takes-short-lines",
        1_000,
        frozenset({"XYMHIGHESTMODSEQ"}),
        frozenset(),
        "Yahoo (MailKit's table)",
    ),
    LineLimit(
        "takes-short-lines-only-ever",
        1_000,
        frozenset({"SCAN"}),
        frozenset(),
        "UW imapd (MailKit's table); Cyrus, which has SCAN and takes more, has ID",
        unless=frozenset({"ID"}),
    ),
    LineLimit(
        "takes-16k-lines",
        16_000,
        frozenset({"X-GM-EXT-1"}),
        frozenset(),
        "the servers of X-GM-EXT-1 (MailKit's table)",
    ),
    LineLimit("takes-64k-lines", 64_000, frozenset(), frozenset({"dovecot"}), "Dovecot (MailKit's table)"),
)
"""The first that applies counts: a shorter limit is the safer guess."""

CAUTIOUS = LineLimit("not-known", 8_000, frozenset(), frozenset(), "Exchange fails near 9,900")
"""Where nothing is known."""


def limit_of(state: SessionState) -> LineLimit:
    """The behaviour of this server, by what it said so far."""
    for limit in LIMITS:
        if limit.is_of(state):
            return limit
    return CAUTIOUS


def split(uids: UidSet, make: Callable[[UidSet], Kind], state: SessionState) -> Iterator[Kind]:
    """`make(part)` for parts of `uids`, in order, each on a line that the server takes; nothing for no UIDs.

    Raises LocalProtocolError when the rest of the command leaves no room for a set.
    """
    if not uids:
        return
    room = limit_of(state).bytes_max - _line_bytes(make(UidSet(((1, 1),))), state)
    if room < _RANGE_BYTES_MAX:
        raise LocalProtocolError("the command is longer than a line that this server takes")
    for part in uids.split(room):
        yield make(part)


def _line_bytes(command: Command, state: SessionState) -> int:
    """The bytes of its lines, literals not counted, with its tag and CRLF."""
    encoder = Encoder(state.dialect)
    command.encode(encoder)
    return _TAG_BYTES_MAX + sum(len(part) for part in encoder.finish() if isinstance(part, bytes))
