"""The invariants of the state as queries; each finds rows that must not exist."""

from __future__ import annotations

import sqlite3

_RULES: tuple[tuple[str, str], ...] = (
    (
        "the count of agreements of mailbox {} is wrong",
        "SELECT name FROM mailboxes WHERE links != (SELECT count(*) FROM links WHERE mailbox = mailboxes.id)",
    ),
    (
        "mailbox {} was forgotten and still has agreements",
        "SELECT name FROM mailboxes WHERE known = 0 AND links > 0",
    ),
    (
        "mailbox {0}: right message {1} belongs to {2} agreements",
        (
            "SELECT name, right_ref, count(*) FROM links NOT INDEXED JOIN mailboxes ON mailboxes.id = links.mailbox"
            " GROUP BY mailbox, right_ref HAVING count(*) > 1"
        ),
    ),
    (
        "an agreement belongs to an unknown mailbox (row {})",
        "SELECT DISTINCT mailbox FROM links WHERE mailbox NOT IN (SELECT id FROM mailboxes)",
    ),
    (
        "mailbox {0} has agreements without the numbering that their messages belong to",
        "SELECT name FROM mailboxes WHERE links > 0 AND (left_validity IS NULL OR right_validity IS NULL)",
    ),
    (
        "mailbox {0}: the copy of message {1} towards the {2} side belongs to another numbering",
        (
            "SELECT name, ref, iif(source = 0, 'right', 'left') FROM copies"
            " LEFT JOIN mailboxes ON mailboxes.id = copies.mailbox"
            " WHERE validity IS NOT iif(source = 0, right_validity, left_validity)"
        ),
    ),
    (
        "mailbox {0}: left message {1} is linked and still has a copy intent",
        (
            "SELECT name, ref FROM copies JOIN links ON links.mailbox = copies.mailbox AND left_ref = ref"
            " JOIN mailboxes ON mailboxes.id = copies.mailbox WHERE source = 0"
        ),
    ),
    (
        "mailbox {0}: right message {1} is linked and still has a copy intent",
        (
            "SELECT name, ref FROM copies JOIN links ON links.mailbox = copies.mailbox AND right_ref = ref"
            " JOIN mailboxes ON mailboxes.id = copies.mailbox WHERE source = 1"
        ),
    ),
    (
        "mailbox {0}: a change of flags of {1} = {2} was begun without an agreement",
        (
            "SELECT name, stores.left_ref, stores.right_ref FROM stores"
            " LEFT JOIN mailboxes ON mailboxes.id = stores.mailbox"
            " LEFT JOIN links ON links.mailbox = stores.mailbox AND links.left_ref = stores.left_ref"
            " AND links.right_ref = stores.right_ref WHERE links.mailbox IS NULL"
        ),
    ),
    (
        "mailbox row {0}: the {1} side has deviations without a snapshot",
        (
            "SELECT DISTINCT mailbox, iif(side = 0, 'left', 'right') FROM deviations"
            " WHERE (mailbox, side) NOT IN (SELECT mailbox, side FROM snapshots)"
        ),
    ),
)

PROBLEMS_MAX = 100
"""Findings listed for one rule; a person needs the first few."""


def problems(connection: sqlite3.Connection) -> list[str]:
    """What contradicts the invariants, one sentence each. Raises sqlite3 errors."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    for text, query in _RULES:
        rows = connection.execute(query).fetchmany(PROBLEMS_MAX)
        found.extend(text.format(*row) for row in rows)
    return found
