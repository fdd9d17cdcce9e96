"""What providers document of their limits, by what their servers announce.

Only where the documentation gives a number; everybody else is told by their own words (`mailtwin.imap.quirks`). The
limits here are a fifth below the documented ones: what they count, and when their day begins, they do not say.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from mailtwin.model.traffic import NO_LIMITS, DailyLimits

_MIB: Final = 1 << 20

GMAIL: Final = DailyLimits(down=2_000 * _MIB, up=400 * _MIB)
"""Documented: 2,500 MB down and 500 MB up in a day; beyond, the account is locked for up to 24 hours."""

_LIMITS: Final = {"X-GM-EXT-1": GMAIL}


def limits_of(capabilities: Container[str]) -> DailyLimits:
    """The daily limits of the provider whose server announces these capabilities; none of one that is not known."""
    return next((limits for name, limits in _LIMITS.items() if name in capabilities), NO_LIMITS)
