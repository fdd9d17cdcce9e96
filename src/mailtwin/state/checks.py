"""The invariants of the state as queries; each finds rows that must not exist."""

from __future__ import annotations

import sqlite3

from mailtwin.model import MailboxName, Side
from mailtwin.state.codec import pack_name

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
    (
        "mailbox {0}: late copy {1} on the {2} side is held {3} times",
        (
            "SELECT name, found, iif(source = 0, 'right', 'left'), count(*) FROM stragglers"
            " LEFT JOIN mailboxes ON mailboxes.id = stragglers.mailbox WHERE found IS NOT NULL"
            " GROUP BY mailbox, source, found, validity HAVING count(*) > 1"
        ),
    ),
    (
        "mailbox {0}: it was decided about a late copy of message {1} that never arrived",
        (
            "SELECT name, ref FROM stragglers LEFT JOIN mailboxes ON mailboxes.id = stragglers.mailbox"
            " WHERE found IS NULL AND verdict != 0"
        ),
    ),
    (
        "mailbox {0}: the copy of message {1} has half of an identity",
        (
            "SELECT name, ref FROM copies LEFT JOIN mailboxes ON mailboxes.id = copies.mailbox"
            " WHERE (identity_headers IS NULL) + (identity_content IS NULL) + (has_message_id IS NULL) NOT IN (0, 3)"
        ),
    ),
    (
        "mailbox {0}: the digest of message {1} on the {2} side has {3} bytes",
        (
            "SELECT name, ref, iif(side = 0, 'left', 'right'), length(sha256) FROM digests"
            " LEFT JOIN mailboxes ON mailboxes.id = digests.mailbox WHERE length(sha256) != 32 OR stamp = ''"
        ),
    ),
    *(
        (
            f"mailbox {{0}}: {side.label} message {{1}} has an email id and no agreement",
            (
                "SELECT name, ref FROM emails LEFT JOIN mailboxes ON mailboxes.id = emails.mailbox"
                f" LEFT JOIN links ON links.mailbox = emails.mailbox AND links.{side.label}_ref = ref"
                f" WHERE side = {side.value} AND links.mailbox IS NULL"
            ),
        )
        for side in Side
    ),
    (
        "mailbox {0}: removals on the {1} side are held back, and none is named",
        (
            "SELECT name, iif(side = 0, 'left', 'right') FROM held LEFT JOIN mailboxes ON mailboxes.id = mailbox"
            " WHERE (mailbox, side) NOT IN (SELECT mailbox, side FROM held_messages)"
        ),
    ),
    (
        "mailbox row {0}: removals on the {1} side are named, and none is held back",
        (
            "SELECT DISTINCT mailbox, iif(side = 0, 'left', 'right') FROM held_messages"
            " WHERE (mailbox, side) NOT IN (SELECT mailbox, side FROM held)"
        ),
    ),
    *(
        (
            f"{what} belongs to an unknown mailbox (row {{}})",
            f"SELECT DISTINCT mailbox FROM {table} WHERE mailbox NOT IN (SELECT id FROM mailboxes)",
        )
        for what, table in (
            ("a begun copy", "copies"),
            ("a begun change of flags", "stores"),
            ("a begun removal", "removals"),
            ("a cursor", "snapshots"),
            ("a late copy", "stragglers"),
            ("a digest", "digests"),
            ("a kept message", "kept"),
            ("an uncopied message", "uncopied"),
            ("a sighting", "sightings"),
            ("a removal that is held back", "held"),
            ("an email id", "emails"),
            ("a line of history", "history"),
        )
    ),
    *(
        (
            f"mailbox {{}} was forgotten and still has {what}",
            f"SELECT name FROM mailboxes WHERE known = 0 AND id IN (SELECT mailbox FROM {table})",
        )
        for what, table in (
            ("begun copies", "copies"),
            ("begun changes of flags", "stores"),
            ("begun removals", "removals"),
            ("cursors", "snapshots"),
            ("late copies", "stragglers"),
            ("uncopied messages", "uncopied"),
            ("removals that are held back", "held"),
            ("email ids", "emails"),
        )
    ),
    *(
        (
            f"{what} of mailbox row {{0}} has the value {{1}}, which means nothing",
            f"SELECT DISTINCT mailbox, {column} FROM {table} WHERE {column} NOT IN ({values})",
        )
        for what, table, column, values in (
            ("the source of a copy", "copies", "source", "0, 1"),
            ("the attempt of a copy", "copies", "attempt", "0, 1, 2, 3"),
            ("the side of a change of flags", "stores", "side", "0, 1"),
            ("the side of a begun removal", "removals", "side", "0, 1"),
            ("the side of a cursor", "snapshots", "side", "0, 1"),
            ("the source of a late copy", "stragglers", "source", "0, 1"),
            ("the verdict about a late copy", "stragglers", "verdict", "0, 1, 2"),
            ("the side of a digest", "digests", "side", "0, 1"),
            ("the side of a kept message", "kept", "side", "0, 1"),
            ("the side of an uncopied message", "uncopied", "side", "0, 1"),
            ("what keeps a message from being copied", "uncopied", "obstacle", "0, 1, 2, 3"),
            ("the side of a sighting", "sightings", "side", "0, 1"),
            ("the side of held removals", "held", "side", "0, 1"),
            ("the approval of a removal", "held_messages", "approved", "0, 1"),
        )
    ),
    (
        "run {0} ended without an outcome",
        "SELECT id FROM runs WHERE ended IS NOT NULL AND outcome IS NULL",
    ),
    (
        "run {0} has no outcome, and is not the last one",
        "SELECT id FROM runs WHERE outcome IS NULL AND id < (SELECT max(id) FROM runs)",
    ),
    (
        "a line of history belongs to run {0}, which is yet to come",
        "SELECT DISTINCT run FROM history WHERE run > (SELECT coalesce(max(id), 0) FROM runs)",
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


def agreements_are_sound(connection: sqlite3.Connection, name: MailboxName) -> bool:
    """Whether the agreements of `name` are as many as is said, and the same in the table and in the index."""
    row = connection.execute("SELECT id, links FROM mailboxes WHERE name = ?", (pack_name(name),)).fetchone()
    if row is None:
        return True
    mailbox, count = row
    # The flags are in the table only: asked for them, SQLite cannot help itself with the index.
    of_table, of_index, same = connection.execute(
        "SELECT"
        " (SELECT count(flags) FROM links NOT INDEXED WHERE mailbox = ?1),"
        " (SELECT count(*) FROM links INDEXED BY links_by_right WHERE mailbox = ?1),"
        " (SELECT count(flags) FROM links AS one NOT INDEXED WHERE mailbox = ?1 AND EXISTS ("
        "  SELECT 1 FROM links AS other INDEXED BY links_by_right WHERE other.mailbox = one.mailbox"
        "  AND other.right_ref = one.right_ref AND other.left_ref = one.left_ref))",
        (mailbox,),
    ).fetchone()
    return bool(of_table == of_index == same == count)
