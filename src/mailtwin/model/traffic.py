"""How many bytes go between us and a provider, and how many of them it bears in a day: values and their names.

Read next: `mailtwin.engine.rationing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

DAY_S: Final = 24 * 3600.0
"""Providers count by the day. Which day, they do not say; so any 24 hours are one."""


class Way(Enum):
    """Which way bytes go: from the provider to us, or from us to it."""

    DOWN = "downloaded"
    UP = "uploaded"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that came from a provider (`down`) and that went to it (`up`)."""

    down: int = 0
    up: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.down + other.down, self.up + other.up)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.down - other.down, self.up - other.up)

    def __bool__(self) -> bool:
        return self != NO_TRAFFIC

    def of(self, way: Way) -> int:
        """The bytes that went this way."""
        return self.down if way is Way.DOWN else self.up


NO_TRAFFIC: Final = Traffic()


@dataclass(frozen=True, slots=True)
class DailyLimits:
    """How many bytes an account may use in 24 hours, each way. None: nobody said; 0: as many as there are."""

    down: int | None = None
    up: int | None = None

    def or_else(self, others: DailyLimits) -> DailyLimits:
        """These limits, and where nobody said any, the `others`."""
        return DailyLimits(
            others.down if self.down is None else self.down, others.up if self.up is None else self.up
        )

    def of(self, way: Way) -> int | None:
        """The limit of this way; None when there is none."""
        return (self.down if way is Way.DOWN else self.up) or None


NO_LIMITS: Final = DailyLimits()


@dataclass(frozen=True, slots=True)
class Slot:
    """What was used in a stretch of time that ends at `ends_s`: it counts until a day after that."""

    ends_s: float
    traffic: Traffic
