"""The steady clock of a database: it goes on with the machine's clock, but never back, and never far at a time.

What has a deadline is noted with it, so that a clock that jumps ends nothing that is to last for a while.
"""

from __future__ import annotations

import sqlite3

LEAP_S_MAX = 24 * 3600.0
"""By how much deadlines come nearer at most from one setting of the clock to the next, whatever the machine says."""


def steady(connection: sqlite3.Connection, now_s: float, leap_s: float = LEAP_S_MAX) -> float:
    """The steady time when the machine's clock says `now_s`; `leap_s` from its last setting at most.

    Raises sqlite3 errors.
    """
    read, at = connection.execute("SELECT read, steady FROM clock").fetchone()
    return float(at + min(max(now_s - read, 0.0), leap_s))


def go_on(connection: sqlite3.Connection, now_s: float, leap_s: float = LEAP_S_MAX) -> float:
    """Lets the steady clock go on to `now_s`, and returns it. Raises sqlite3 errors."""
    at = steady(connection, now_s, leap_s)
    connection.execute("UPDATE clock SET read = ?, steady = ?", (now_s, at))
    return at
