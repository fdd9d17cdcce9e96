"""Which UID each sequence number has, as far as the server told (RFC 9051 section 2.3.1.2).

The server renumbers with every EXPUNGE, so this map must see every EXPUNGE, VANISHED and EXISTS of the selected
mailbox, in order. What it does not know for certain it does not know: `uid` then answers None and the caller sets the
response aside (rule R3). Four bytes per message; an EXPUNGE costs microseconds, also the hundred-thousandth.

Not here: who is told about it (`connection`), what else the mailbox holds (`state`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from mailtwin.model import UidSet

MESSAGES_MAX = 5_000_000
"""Positions kept: 20 MB; FETCH responses beyond need a UID of their own to be of use."""

_PENDING_MAX = 1024
_SINGLY_MAX = 8


class SequenceMap:
    """A growing array of UIDs by position, with recent removals noted beside it until they are worth a rewrite."""

    __slots__ = ("_gaps", "_removed", "_uids")

    def __init__(self) -> None:
        self._uids = array("I")
        # The n-th removed position less n. A live position p then lies at p + (how many of these are <= p): both
        # a look-up and a removal are one bisection.
        self._removed: list[int] = []
        self._gaps = 0

    def __len__(self) -> int:
        """How many positions are kept; the mailbox may hold more."""
        return len(self._uids) - len(self._removed)

    def uid(self, seq: int) -> int | None:
        """The UID of the message with sequence number `seq`, or None where it is not known."""
        if not 0 < seq <= len(self):
            return None
        return self._uids[self._place(seq - 1)] or None

    def learn(self, seq: int, uid: int) -> None:
        """The server named both numbers of one message. What contradicts it is forgotten."""
        if not 0 < seq <= MESSAGES_MAX:
            return
        missing = seq - len(self._uids) + len(self._removed)
        if missing == 1:
            self._uids.append(uid)
            return
        if missing > 1:
            self._gaps += missing
            self._uids.frombytes(bytes(missing * self._uids.itemsize))
        place = self._place(seq - 1)
        known = self._uids[place]
        if known == uid:
            return
        if known:
            self.clear()
            self.learn(seq, uid)
            return
        self._uids[place] = uid
        self._gaps -= 1

    def expunge(self, seq: int) -> int | None:
        """Takes the message `seq` out, moves those above it down by one, and gives its UID where known."""
        if not 0 < seq <= len(self):
            return None
        uid = self._uids[self._place(seq - 1)]
        self._gaps -= not uid
        self._remove(seq - 1)
        return uid or None

    def vanish(self, uids: UidSet) -> int:
        """Takes these UIDs out (RFC 7162 section 3.2.10) and says how many messages that were.

        With gaps in the map nobody can tell which position moved: all is forgotten, and each UID counts.
        """
        if self._gaps:
            self.clear()
            return len(uids)
        last = self.uid(len(self)) or 0
        beyond = sum(high - max(low, last + 1) + 1 for low, high in uids.ranges if high > last)
        runs = [run for low, high in uids.ranges if (run := self._run(low, high))]
        found = sum(map(len, runs))
        if found <= _SINGLY_MAX:
            for position in sorted((position for run in runs for position in run), reverse=True):
                self._remove(position)
        else:
            self._remove_runs(runs)
        return found + beyond

    def shrink(self, count: int) -> None:
        """The mailbox holds `count` messages: a map of more than that is wrong and forgotten."""
        if count < len(self):
            self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._uids = array("I")
        self._removed = []
        self._gaps = 0

    def _run(self, low: int, high: int) -> range:
        positions = range(len(self))
        first = bisect_left(positions, low, key=self._uid_at)
        return range(first, bisect_right(positions, high, lo=first, key=self._uid_at))

    def _uid_at(self, position: int) -> int:
        return self._uids[self._place(position)]

    def _place(self, position: int) -> int:
        if not self._removed:
            return position
        return position + bisect_right(self._removed, position)

    def _remove(self, position: int) -> None:
        insort(self._removed, position)
        for at in range(bisect_right(self._removed, position), len(self._removed)):
            self._removed[at] -= 1
        if len(self._removed) >= _PENDING_MAX:
            self._compact()

    def _remove_runs(self, runs: list[range]) -> None:
        self._compact()
        self._keep_between((run.start, run.stop) for run in runs)

    def _compact(self) -> None:
        places = [position + rank for rank, position in enumerate(self._removed)]
        self._removed = []
        self._keep_between((place, place + 1) for place in places)

    def _keep_between(self, cuts: Iterable[tuple[int, int]]) -> None:
        kept = array("I")
        start = 0
        for low, high in cuts:
            kept += self._uids[start:low]
            start = high
        kept += self._uids[start:]
        self._uids = kept
