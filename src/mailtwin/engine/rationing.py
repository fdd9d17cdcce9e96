"""How much of an account's day is used, what may still be copied, when copying goes on and when it will be done.

Pure functions of what the ledger says at one moment. A day is any 24 hours: what was used counts until a day later.
Copies may take nine tenths of a limit; the rest is for looking, flags and removals, which go on.

Read next: `metering`, which asks and writes down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailtwin.model.traffic import DAY_S, NO_LIMITS, DailyLimits, Way
from mailtwin.state import AccountRecord, Rest

COPIES_TENTHS: Final = 9
"""So many tenths of a limit are for the bodies of messages."""

RESUME_PART: Final = 4
"""Copying goes on when one part in so many of its share is free again: not for every message that becomes possible."""

_NO_RECORD: Final = AccountRecord("", 0.0)


@dataclass(frozen=True, slots=True)
class Use:
    """What an account used and may use. `limits` are those in force; `record` is what the ledger holds of it."""

    record: AccountRecord = _NO_RECORD
    limits: DailyLimits = NO_LIMITS

    @property
    def account(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def rest(self) -> Rest | None:
        """The rest that its provider asked for."""
        return self.record.rest

    def used(self, way: Way, at_s: float | None = None) -> int:
        """The bytes that count now, or would at `at_s` (steady time) if nothing more were used until then."""
        moment = self.record.now_s if at_s is None else at_s
        return sum(slot.traffic.of(way) for slot in self.record.slots if slot.ends_s + DAY_S > moment)

    def share(self, way: Way) -> int | None:
        """The bytes of 24 hours that copies may take; None: as many as there are."""
        limit = self.limits.of(way)
        return None if limit is None else max(1, limit * COPIES_TENTHS // 10)

    def room(self, way: Way) -> int | None:
        """The bytes that copies may take now, none below zero; None: as many as there are."""
        share = self.share(way)
        return None if share is None else max(0, share - self.used(way))

    def is_spent(self, way: Way) -> bool:
        """Whether even looking is too much."""
        limit = self.limits.of(way)
        return limit is not None and self.used(way) >= limit

    def left(self, way: Way) -> tuple[int, int]:
        """How many messages wait for room, and how many bytes they have together, in all pairs."""
        waiting = [one for one in self.record.left if one.way is way]
        return sum(one.messages for one in waiting), sum(one.size for one in waiting)

    def goes_on_s(self, way: Way) -> float:
        """The steady time at which there is enough room again; in the past or now: there is."""
        share = self.share(way)
        if share is None:
            return self.record.now_s
        least = min((one.least for one in self.record.left if one.way is way), default=0)
        wanted = max(least, min(self.left(way)[1], share // RESUME_PART), 1)
        return self._free_s(way, share, min(wanted, alone_room(share)))

    def done_s(self, way: Way) -> float:
        """The steady time at which all that waits will have been copied, if a run begins whenever there is room.

        Within a day all of the share becomes free; from then on, each day is like the one before.
        """
        share, size = self.share(way), self.left(way)[1]
        if share is None or not size:
            return self.record.now_s
        days, rest = divmod(size - 1, share)
        return max(self._free_s(way, share, rest + 1), self.goes_on_s(way)) + days * DAY_S

    def _free_s(self, way: Way, share: int, wanted: int) -> float:
        """The first moment at which `wanted` bytes of the share are not used."""
        moments = [self.record.now_s, *(slot.ends_s + DAY_S for slot in self.record.slots)]
        return next((moment for moment in moments if self.used(way, moment) + wanted <= share), max(moments))


@dataclass(frozen=True, slots=True)
class Choice:
    """Some of several messages: `taken` fit (by their positions), with `size` bytes together."""

    taken: tuple[int, ...] = ()
    size: int = 0


def choose(
    sizes: Sequence[int], room: int | None, share: int | None, *, messages_max: int, bytes_max: int
) -> Choice:
    """The first messages that fit into `room`, as many as one batch may hold; what is too large is looked past.

    One that is larger than a whole day's share fits when hardly anything else was used: it would never fit else.
    """
    taken: list[int] = []
    total = 0
    for position, size in enumerate(sizes):
        if taken and (len(taken) >= messages_max or total + size > bytes_max):
            break
        if room is None or total + size <= room:
            taken.append(position)
            total += size
    if not taken and room is not None and share is not None and room >= alone_room(share):
        taken = [position for position, size in enumerate(sizes) if size > alone_room(share)][:1]
        total = sum(sizes[position] for position in taken)
    return Choice(tuple(taken), total)


def alone_room(share: int) -> int:
    """The room at which a message goes alone that is larger than that."""
    return max(1, share * 9 // 10)
