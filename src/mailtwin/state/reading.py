"""Queries: rows into the values of the floors below. Every function raises sqlite3 errors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from mailtwin.model import Flags, Identity, MailboxName, Ref, Side
from mailtwin.planner.operations import (
    Attempt,
    Base,
    CopyIntent,
    Link,
    RemoveIntent,
    StoreIntent,
    Straggler,
    Verdict,
)
from mailtwin.state.changes import Digest, Snapshot
from mailtwin.state.codec import (
    pack_name,
    pack_text,
    unpack_flags,
    unpack_name,
    unpack_ref,
    unpack_text,
)
from mailtwin.state.records import (
    CopyRecord,
    HeldRemovals,
    HistoryEntry,
    Kept,
    MailboxRecord,
    Obstacle,
    Placed,
    RunRecord,
    Sighting,
    StragglerRecord,
    Uncopied,
)

_MAILBOXES = """
SELECT name, links,
    (SELECT count(*) FROM copies WHERE copies.mailbox = mailboxes.id)
        + (SELECT count(*) FROM stores WHERE stores.mailbox = mailboxes.id)
        + (SELECT count(*) FROM removals WHERE removals.mailbox = mailboxes.id),
    left_side.cursor, right_side.cursor, left_validity, right_validity
FROM mailboxes
LEFT JOIN snapshots AS left_side ON left_side.mailbox = mailboxes.id AND left_side.side = 0
LEFT JOIN snapshots AS right_side ON right_side.mailbox = mailboxes.id AND right_side.side = 1
WHERE known = 1
"""

_COPY_COLUMNS = (
    "source, ref, flags, validity, target, floor, identity_headers, identity_content, has_message_id, attempt"
)

_STRAGGLER_COLUMNS = (
    "source, ref, flags, validity, floor, identity_headers, identity_content, has_message_id, found, verdict"
)

_HISTORY = """
SELECT run, at, name, operation, left_ref, right_ref, detail, message_id, history.id
FROM history LEFT JOIN mailboxes ON mailboxes.id = history.mailbox
WHERE (:mailbox IS NULL OR name = :mailbox)
    AND (:ref IS NULL OR left_ref = :ref OR right_ref = :ref)
    AND (:message_id IS NULL OR message_id = :message_id)
    AND (:run IS NULL OR run = :run)
    AND (:operation IS NULL OR operation = :operation)
    AND (:since IS NULL OR at >= :since)
ORDER BY history.id DESC LIMIT :limit
"""


def mailboxes(connection: sqlite3.Connection) -> dict[MailboxName, MailboxRecord]:
    """All known mailboxes, sorted by name."""
    records = (MailboxRecord(unpack_name(row[0]), *row[1:]) for row in connection.execute(_MAILBOXES))
    return {record.name: record for record in sorted(records, key=lambda record: record.name)}


def mentioned_mailboxes(connection: sqlite3.Connection) -> set[MailboxName]:
    """All mailboxes that any row is about."""
    return {unpack_name(name) for (name,) in connection.execute("SELECT name FROM mailboxes")}


def links(connection: sqlite3.Connection, name: MailboxName) -> list[Link]:
    """The agreements of `name`."""
    rows = connection.execute(
        "SELECT left_ref, right_ref, flags FROM links JOIN mailboxes ON mailboxes.id = mailbox WHERE name = ?",
        (pack_name(name),),
    )
    return [Link(unpack_ref(left), unpack_ref(right), unpack_flags(flags)) for left, right, flags in rows]


def base(connection: sqlite3.Connection, name: MailboxName, agreed: tuple[Link, ...]) -> Base:
    """Everything the planner needs to know about `name`; `agreed`: its agreements."""
    row = connection.execute(
        "SELECT id, left_validity, right_validity, renumbered FROM mailboxes WHERE name = ?",
        (pack_name(name),),
    ).fetchone()
    if row is None:
        return Base()
    mailbox, left_validity, right_validity, renumbered = row
    copy_rows = connection.execute(f"SELECT {_COPY_COLUMNS} FROM copies WHERE mailbox = ?", (mailbox,))
    stores = connection.execute(
        "SELECT left_ref, right_ref, side, add_flags, remove_flags, result FROM stores WHERE mailbox = ?",
        (mailbox,),
    )
    straggler_rows = connection.execute(
        f"SELECT {_STRAGGLER_COLUMNS} FROM stragglers WHERE mailbox = ? ORDER BY id", (mailbox,)
    )
    removals = connection.execute(
        "SELECT side, ref, validity, steady FROM removals WHERE mailbox = ?", (mailbox,)
    )
    return Base(
        links=agreed,
        left_validity=left_validity,
        right_validity=right_validity,
        copies=tuple(map(_copy_intent, copy_rows)),
        stores=tuple(map(_store_intent, stores)),
        stragglers=tuple(map(_straggler, straggler_rows)),
        removals=tuple(map(_remove_intent, removals)),
        renumbered=bool(renumbered),
    )


def _copy_intent(row: tuple[Any, ...]) -> CopyIntent:
    source, ref, flags, validity, target, floor, headers, content, has_message_id, attempt = row
    return CopyIntent(
        source=Side(source),
        ref=unpack_ref(ref),
        flags=unpack_flags(flags),
        validity=validity,
        target=None if target is None else unpack_ref(target),
        floor=floor,
        identity=None if headers is None else Identity(headers, content, bool(has_message_id)),
        attempt=Attempt(attempt),
    )


def _straggler(row: tuple[Any, ...]) -> Straggler:
    source, ref, flags, validity, floor, headers, content, has_message_id, found, verdict = row
    return Straggler(
        source=Side(source),
        ref=unpack_ref(ref),
        flags=unpack_flags(flags),
        validity=validity,
        floor=floor,
        identity=Identity(headers, content, bool(has_message_id)),
        found=None if found is None else unpack_ref(found),
        verdict=Verdict(verdict),
    )


def _store_intent(row: tuple[Any, ...]) -> StoreIntent:
    left, right, side, add, remove, result = row
    return StoreIntent(
        left=unpack_ref(left),
        right=unpack_ref(right),
        side=Side(side),
        add=unpack_flags(add),
        remove=unpack_flags(remove),
        result=unpack_flags(result),
    )


def _remove_intent(row: tuple[Any, ...]) -> RemoveIntent:
    side, ref, validity, began = row
    return RemoveIntent(Side(side), unpack_ref(ref), validity, began)


def snapshot(connection: sqlite3.Connection, name: MailboxName, side: Side) -> Snapshot | None:
    """What `side` of `name` held when last seen, or None."""
    row = connection.execute(
        "SELECT mailbox, cursor FROM snapshots JOIN mailboxes ON mailboxes.id = mailbox WHERE name = ? AND side = ?",
        (pack_name(name), side.value),
    ).fetchone()
    if row is None:
        return None
    mailbox, cursor = row
    rows = connection.execute(
        "SELECT ref, flags FROM deviations WHERE mailbox = ? AND side = ?", (mailbox, side.value)
    )
    deviations: dict[Ref, Flags | None] = {
        unpack_ref(ref): None if flags is None else unpack_flags(flags) for ref, flags in rows
    }
    return Snapshot(side, cursor, deviations)


def digests(connection: sqlite3.Connection, name: MailboxName, side: Side) -> dict[Ref, Digest]:
    """What was read of the messages of `side` of `name`."""
    rows = connection.execute(
        "SELECT ref, stamp, sha256, size, headers, message_id"
        " FROM digests JOIN mailboxes ON mailboxes.id = mailbox WHERE name = ? AND side = ?",
        (pack_name(name), side.value),
    )
    return {
        unpack_ref(ref): Digest(unpack_text(stamp), sha256.hex(), size, headers, unpack_text(message_id))
        for ref, stamp, sha256, size, headers, message_id in rows
    }


def copies(connection: sqlite3.Connection, name: MailboxName | None) -> list[CopyRecord]:
    """Open copies with what describes the message, oldest first."""
    rows = connection.execute(
        f"SELECT name, size, sha256, message_id, begun, {_COPY_COLUMNS}"
        " FROM copies JOIN mailboxes ON mailboxes.id = copies.mailbox"
        " WHERE ?1 IS NULL OR name = ?1 ORDER BY begun, name, source, ref",
        (None if name is None else pack_name(name),),
    )
    return [
        CopyRecord(unpack_name(row[0]), _copy_intent(row[5:]), row[1], row[2], unpack_text(row[3]), row[4])
        for row in rows
    ]


def stragglers(connection: sqlite3.Connection, name: MailboxName | None) -> list[StragglerRecord]:
    """Stragglers with what describes the message, oldest first."""
    rows = connection.execute(
        f"SELECT name, size, stragglers.message_id, since, {_STRAGGLER_COLUMNS}"
        " FROM stragglers JOIN mailboxes ON mailboxes.id = stragglers.mailbox"
        " WHERE ?1 IS NULL OR name = ?1 ORDER BY stragglers.id",
        (None if name is None else pack_name(name),),
    )
    return [
        StragglerRecord(unpack_name(row[0]), _straggler(row[4:]), row[1], unpack_text(row[2]), row[3])
        for row in rows
    ]


def sighting(connection: sqlite3.Connection, name: MailboxName, side: Side) -> Sighting | None:
    """What `side` showed of `name` when it was last in step, or None."""
    row = connection.execute(
        "SELECT listed, location, whole, changed FROM sightings JOIN mailboxes ON mailboxes.id = mailbox"
        " WHERE name = ? AND side = ?",
        (pack_name(name), side.value),
    ).fetchone()
    return None if row is None else Sighting(*row)


def held(connection: sqlite3.Connection, name: MailboxName | None) -> list[HeldRemovals]:
    """Removals that are held back, by mailbox and side."""
    rows = connection.execute(
        "SELECT mailbox, name, side, validity, whole, why, since FROM held JOIN mailboxes ON mailboxes.id = mailbox"
        " WHERE ?1 IS NULL OR name = ?1",
        (None if name is None else pack_name(name),),
    ).fetchall()
    found = []
    for mailbox, packed, side, validity, whole, why, since in rows:
        messages = connection.execute(
            "SELECT ref, approved FROM held_messages WHERE mailbox = ? AND side = ?", (mailbox, side)
        ).fetchall()
        one = HeldRemovals(
            mailbox=unpack_name(packed),
            side=Side(side),
            validity=validity,
            refs=frozenset(unpack_ref(ref) for ref, _ in messages),
            why=unpack_text(why),
            approved=frozenset(unpack_ref(ref) for ref, approved in messages if approved),
            whole=bool(whole),
            since=since,
        )
        found.append(one)
    return sorted(found, key=lambda one: (one.mailbox, one.side))


def kept(connection: sqlite3.Connection, name: MailboxName | None) -> list[Kept]:
    """Removed messages that are kept, oldest first."""
    rows = connection.execute(
        "SELECT name, side, ref, validity, flags, date, size, message_id, identity_headers, identity_content,"
        " has_message_id, file, run, since, begun_validity, target, floor"
        " FROM kept JOIN mailboxes ON mailboxes.id = kept.mailbox WHERE ?1 IS NULL OR name = ?1 ORDER BY kept.id",
        (None if name is None else pack_name(name),),
    )
    return list(map(_kept, rows))


def _kept(row: tuple[Any, ...]) -> Kept:
    name, side, ref, validity, flags, date, size, message_id, headers, content, has_id, file, *rest = row
    run, since, begun_validity, target, floor = rest
    return Kept(
        mailbox=unpack_name(name),
        side=Side(side),
        ref=unpack_ref(ref),
        validity=validity,
        flags=unpack_flags(flags),
        date=datetime.fromisoformat(date),
        size=size,
        message_id=unpack_text(message_id),
        identity=Identity(headers, content, bool(has_id)),
        file=file,
        run=run,
        since=since,
        begun_validity=begun_validity,
        target=None if target is None else unpack_ref(target),
        floor=floor,
    )


def without_email(connection: sqlite3.Connection, name: MailboxName, side: Side) -> list[Ref]:
    """The linked messages of `name` on `side` whose email id is not known."""
    column = f"{side.label}_ref"
    rows = connection.execute(
        f"SELECT links.{column} FROM links JOIN mailboxes ON mailboxes.id = links.mailbox"
        f" LEFT JOIN emails ON emails.mailbox = links.mailbox AND side = ? AND ref = links.{column}"
        " WHERE name = ? AND email_id IS NULL",
        (side.value, pack_name(name)),
    )
    return [unpack_ref(ref) for (ref,) in rows]


def placed(connection: sqlite3.Connection, side: Side, ids: Iterable[str]) -> dict[str, list[Placed]]:
    """The linked messages that `side` calls by one of `ids`, by mailbox."""
    found: dict[str, list[Placed]] = {}
    for email_id in ids:
        rows = connection.execute(
            "SELECT name, left_ref, right_ref, links.flags, left_validity, right_validity FROM emails"
            " JOIN mailboxes ON mailboxes.id = emails.mailbox"
            f" JOIN links ON links.mailbox = emails.mailbox AND links.{side.label}_ref = emails.ref"
            " WHERE email_id = ? AND side = ? ORDER BY name",
            (email_id, side.value),
        )
        for name, left, right, flags, *validities in rows:
            link = Link(unpack_ref(left), unpack_ref(right), unpack_flags(flags))
            found.setdefault(email_id, []).append(Placed(unpack_name(name), link, *validities))
    return found


def uncopied(connection: sqlite3.Connection, name: MailboxName | None, *, suspects: bool) -> list[Uncopied]:
    """Messages that could not be copied, by mailbox, side and ref; with `suspects` also what is merely suspected."""
    rows = connection.execute(
        "SELECT name, side, ref, obstacle, reason, due, attempts, first, last, grounds, stamp, size, message_id,"
        " identity_headers, identity_content, has_message_id, losses"
        " FROM uncopied JOIN mailboxes ON mailboxes.id = uncopied.mailbox"
        " WHERE (?1 IS NULL OR name = ?1) AND attempts >= ?2 ORDER BY name, side, ref",
        (None if name is None else pack_name(name), 0 if suspects else 1),
    )
    return list(map(_uncopied, rows))


def _uncopied(row: tuple[Any, ...]) -> Uncopied:
    name, side, ref, obstacle, reason, due, attempts, first, last, grounds, stamp, size, message_id, *who = (
        row
    )
    headers, content, has_message_id, losses = who
    return Uncopied(
        mailbox=unpack_name(name),
        side=Side(side),
        ref=unpack_ref(ref),
        reason=unpack_text(reason),
        obstacle=Obstacle(obstacle),
        due=due,
        attempts=attempts,
        first=first,
        last=last,
        grounds=unpack_text(grounds),
        stamp=unpack_text(stamp),
        size=size,
        message_id=unpack_text(message_id),
        identity=None if headers is None else Identity(headers, content, bool(has_message_id)),
        losses=losses,
    )


def runs(connection: sqlite3.Connection, limit: int) -> list[RunRecord]:
    """The last `limit` runs, newest first."""
    rows = connection.execute(
        "SELECT id, command, began, ended, outcome, counts FROM runs ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [
        RunRecord(run, command, began, ended, outcome, json.loads(counts))
        for run, command, began, ended, outcome, counts in rows
    ]


def history(connection: sqlite3.Connection, wanted: Mapping[str, Any], limit: int) -> list[HistoryEntry]:
    """The last `limit` notes that match `wanted` (packed values, None: any), newest first."""
    rows = connection.execute(_HISTORY, {**wanted, "limit": limit})
    return [
        HistoryEntry(
            run=run,
            at=at,
            mailbox=unpack_name(name),
            operation=operation,
            left=None if left is None else unpack_ref(left),
            right=None if right is None else unpack_ref(right),
            detail=unpack_text(detail),
            message_id=unpack_text(message_id),
            number=number,
        )
        for run, at, name, operation, left, right, detail, message_id, number in rows
    ]


_NAMED = """
SELECT name, left_ref, right_ref FROM history JOIN mailboxes ON mailboxes.id = mailbox WHERE message_id = :message_id
    AND history.id > coalesce(
        (SELECT max(other.id) FROM history AS other
         WHERE other.mailbox = history.mailbox AND other.operation = 'reset'), 0)
UNION SELECT name, iif(side = 0, ref, NULL), iif(side = 1, ref, NULL)
    FROM digests JOIN mailboxes ON mailboxes.id = mailbox WHERE message_id = :message_id
UNION SELECT name, iif(source = 0, ref, NULL), iif(source = 1, ref, NULL)
    FROM copies JOIN mailboxes ON mailboxes.id = mailbox WHERE message_id = :message_id
UNION SELECT name, iif(source = 0, ref, found), iif(source = 1, ref, found)
    FROM stragglers JOIN mailboxes ON mailboxes.id = mailbox WHERE message_id = :message_id
UNION SELECT name, iif(side = 0, ref, NULL), iif(side = 1, ref, NULL)
    FROM uncopied JOIN mailboxes ON mailboxes.id = mailbox WHERE message_id = :message_id
"""


def named(connection: sqlite3.Connection, message_id: str) -> set[tuple[MailboxName, Side, Ref]]:
    """The messages that are known, or were since the last change of numbering, to carry this Message-ID."""
    rows = connection.execute(_NAMED, {"message_id": pack_text(message_id)})
    return {
        (unpack_name(name), side, unpack_ref(ref))
        for name, left, right in rows
        for side, ref in ((Side.LEFT, left), (Side.RIGHT, right))
        if ref is not None
    }


def message_ids(
    connection: sqlite3.Connection, name: MailboxName, wanted: Collection[tuple[Side, Ref]]
) -> list[tuple[int, Side, Ref, str]]:
    """The Message-IDs that the history knows of `wanted`, each with the number of its line, rising."""
    rows = connection.execute(
        "SELECT history.id, left_ref, right_ref, message_id FROM history JOIN mailboxes ON mailboxes.id = mailbox"
        " WHERE name = ? AND message_id != '' ORDER BY history.id",
        (pack_name(name),),
    )
    return [
        (number, side, unpack_ref(ref), unpack_text(message_id))
        for number, left, right, message_id in rows
        for side, ref in ((Side.LEFT, left), (Side.RIGHT, right))
        if ref is not None and (side, unpack_ref(ref)) in wanted
    ]
