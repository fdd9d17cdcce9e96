"""Changes as SQL: one function for each kind, called with runs of changes of that kind inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mailtwin.model import Side
from mailtwin.planner.operations import RemoveIntent, Straggler
from mailtwin.state.changes import (
    AddCopy,
    AddKept,
    AddLink,
    AddRemoval,
    AddStore,
    AddStraggler,
    BeginRestore,
    Change,
    DropCopy,
    DropDigests,
    DropHeld,
    DropKept,
    DropLink,
    DropRemoval,
    DropSnapshot,
    DropStore,
    DropStraggler,
    DropUncopied,
    EndAttempt,
    ForgetAll,
    HoldRemovals,
    Note,
    ReplaceStraggler,
    SaveDigests,
    SaveEmails,
    SaveSighting,
    SaveSnapshot,
    SaveUncopied,
    SetFlags,
    SetValidity,
)
from mailtwin.state.codec import Stored, pack_flags, pack_ref, pack_text
from mailtwin.state.records import Kept, Uncopied

DETAIL_CHARS_MAX = 2_000
"""One line of history: a server's refusal may be quoted in it, a page of HTML need not be."""

MESSAGE_ID_CHARS_MAX = 1_000
"""RFC 5322 allows 998 in a line; what a message really carries may be anything."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Where changes go: an open transaction, the mailbox's row, the run (None: outside of one), the time, and the time
    by which deadlines are counted (`State.steady_now`)."""

    connection: sqlite3.Connection
    mailbox: int
    run: int | None
    at: float
    steady: float

    def many(self, sql: str, rows: Iterable[tuple[Stored | float | None, ...]]) -> int:
        """Executes `sql` with each row, the mailbox in front; returns how many rows were changed."""
        mailbox = self.mailbox
        return self.connection.executemany(sql, ((mailbox, *row) for row in rows)).rowcount


def write(transaction: Transaction, changes: Iterable[Change]) -> None:
    """Applies `changes` as if one by one, snapshots last. Raises sqlite3 errors."""
    ordered = sorted(_effective(changes), key=_lane)
    added = sum(_WRITERS[kind](transaction, list(group)) for kind, group in groupby(ordered, type))
    if added:
        transaction.many("UPDATE mailboxes SET links = links + ?2 WHERE id = ?1", [(added,)])


_OUTLIVE_FORGETTING = (
    Note,
    SetValidity,
    AddStraggler,
    ReplaceStraggler,
    DropStraggler,
    AddRemoval,
    DropRemoval,
    SaveDigests,
    DropDigests,
    AddKept,
    BeginRestore,
    DropKept,
)


def _effective(changes: Iterable[Change]) -> list[Change]:
    """`changes` without those that a later `ForgetAll` undoes, and with what the end of an agreement entails."""
    kept: list[Change] = []
    for change in changes:
        if isinstance(change, ForgetAll):
            kept = [earlier for earlier in kept if isinstance(earlier, _OUTLIVE_FORGETTING)]
        kept.append(change)
        if isinstance(change, DropLink):
            kept.append(DropStore(change.link.left, change.link.right))
    return kept


def _lane(change: Change) -> int:
    """Changes to different tables do not touch each other: sorted by table they come in long runs of one kind."""
    return _LANES[type(change)]


# Each of the following returns by how much the number of links grew.


def _add_links(transaction: Transaction, changes: Sequence[AddLink]) -> int:
    links = (change.link for change in changes)
    _drop_both_snapshots(transaction)
    return transaction.many(
        "INSERT INTO links (mailbox, left_ref, right_ref, flags) VALUES (?, ?, ?, ?)",
        ((pack_ref(link.left), pack_ref(link.right), pack_flags(link.flags)) for link in links),
    )


def _drop_links(transaction: Transaction, changes: Sequence[DropLink]) -> int:
    dropped = transaction.many(
        "DELETE FROM links WHERE mailbox = ? AND left_ref = ? AND right_ref = ?",
        ((pack_ref(change.link.left), pack_ref(change.link.right)) for change in changes),
    )
    transaction.many(
        "DELETE FROM emails WHERE mailbox = ? AND side = ? AND ref = ?",
        ((side.value, pack_ref(change.link.ref(side))) for change in changes for side in Side),
    )
    if dropped:
        _drop_both_snapshots(transaction)
    return -dropped


def _set_flags(transaction: Transaction, changes: Sequence[SetFlags]) -> int:
    changed = transaction.many(
        "UPDATE links SET flags = ?4 WHERE mailbox = ?1 AND left_ref = ?2 AND right_ref = ?3",
        (
            (pack_ref(change.link.left), pack_ref(change.link.right), pack_flags(change.flags))
            for change in changes
        ),
    )
    if changed:
        _drop_both_snapshots(transaction)
    return 0


def _add_copies(transaction: Transaction, changes: Sequence[AddCopy]) -> int:
    at = transaction.at
    transaction.many(
        "INSERT OR REPLACE INTO copies (mailbox, source, ref, flags, validity, target, floor, identity_headers,"
        " identity_content, has_message_id, attempt, size, sha256, message_id, begun)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_copy_row(change, at) for change in changes),
    )
    return 0


def _copy_row(change: AddCopy, at: float) -> tuple[Stored | float | None, ...]:
    intent, who = change.intent, change.intent.identity
    return (
        intent.source.value,
        pack_ref(intent.ref),
        pack_flags(intent.flags),
        intent.validity,
        None if intent.target is None else pack_ref(intent.target),
        intent.floor,
        None if who is None else who.headers,
        None if who is None else who.content,
        None if who is None else who.has_message_id,
        intent.attempt.value,
        change.size,
        change.sha256,
        pack_text(change.message_id[:MESSAGE_ID_CHARS_MAX]),
        at,
    )


def _drop_copies(transaction: Transaction, changes: Sequence[DropCopy]) -> int:
    transaction.many(
        "DELETE FROM copies WHERE mailbox = ? AND source = ? AND ref = ?",
        ((change.intent.source.value, pack_ref(change.intent.ref)) for change in changes),
    )
    return 0


def _end_attempts(transaction: Transaction, changes: Sequence[EndAttempt]) -> int:
    transaction.many(
        "UPDATE copies SET attempt = ?4 WHERE mailbox = ?1 AND source = ?2 AND ref = ?3",
        (
            (change.intent.source.value, pack_ref(change.intent.ref), change.attempt.value)
            for change in changes
        ),
    )
    return 0


def _add_stragglers(transaction: Transaction, changes: Sequence[AddStraggler]) -> int:
    at, steady = transaction.at, transaction.steady
    transaction.many(
        "INSERT INTO stragglers (mailbox, source, ref, flags, validity, floor, identity_headers, identity_content,"
        " has_message_id, found, verdict, size, message_id, since, steady)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, max(size), coalesce(max(message_id), ''), ?12, ?13"
        " FROM copies WHERE mailbox = ?1 AND source = ?2 AND ref = ?3",
        ((*_straggler_row(change.straggler), at, steady) for change in changes),
    )
    return 0


def _straggler_row(straggler: Straggler) -> tuple[Stored | float | None, ...]:
    return (
        straggler.source.value,
        pack_ref(straggler.ref),
        pack_flags(straggler.flags),
        straggler.validity,
        straggler.floor,
        straggler.identity.headers,
        straggler.identity.content,
        straggler.identity.has_message_id,
        None if straggler.found is None else pack_ref(straggler.found),
        straggler.verdict.value,
    )


_THIS_STRAGGLER = (
    "id = (SELECT min(id) FROM stragglers WHERE mailbox = ?1 AND source = ?2 AND ref = ?3 AND flags = ?4"
    " AND validity = ?5 AND floor = ?6 AND identity_headers = ?7 AND identity_content = ?8 AND has_message_id = ?9"
    " AND found IS ?10 AND verdict = ?11)"
)


def _replace_stragglers(transaction: Transaction, changes: Sequence[ReplaceStraggler]) -> int:
    for change in changes:
        new = change.new
        found = None if new.found is None else pack_ref(new.found)
        transaction.many(
            f"UPDATE stragglers SET found = ?12, validity = ?13, verdict = ?14 WHERE {_THIS_STRAGGLER}",
            [(*_straggler_row(change.old), found, new.validity, new.verdict.value)],
        )
    return 0


def _drop_stragglers(transaction: Transaction, changes: Sequence[DropStraggler]) -> int:
    transaction.many(
        f"DELETE FROM stragglers WHERE {_THIS_STRAGGLER}",
        (_straggler_row(change.straggler) for change in changes),
    )
    return 0


def _add_stores(transaction: Transaction, changes: Sequence[AddStore]) -> int:
    intents = (change.intent for change in changes)
    transaction.many(
        "INSERT OR REPLACE INTO stores VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                pack_ref(intent.left),
                pack_ref(intent.right),
                intent.side.value,
                pack_flags(intent.add),
                pack_flags(intent.remove),
                pack_flags(intent.result),
            )
            for intent in intents
        ),
    )
    return 0


def _drop_stores(transaction: Transaction, changes: Sequence[DropStore]) -> int:
    transaction.many(
        "DELETE FROM stores WHERE mailbox = ? AND left_ref = ? AND right_ref = ?",
        ((pack_ref(change.left), pack_ref(change.right)) for change in changes),
    )
    return 0


def _add_removals(transaction: Transaction, changes: Sequence[AddRemoval]) -> int:
    steady = transaction.steady
    transaction.many(
        "INSERT OR REPLACE INTO removals (mailbox, side, ref, validity, steady) VALUES (?, ?, ?, ?, ?)",
        ((*_removal_row(change.intent), steady) for change in changes),
    )
    return 0


def _drop_removals(transaction: Transaction, changes: Sequence[DropRemoval]) -> int:
    transaction.many(
        "DELETE FROM removals WHERE mailbox = ? AND side = ? AND ref = ? AND validity = ?",
        (_removal_row(change.intent) for change in changes),
    )
    return 0


def _removal_row(intent: RemoveIntent) -> tuple[Stored, ...]:
    return intent.side.value, pack_ref(intent.ref), intent.validity


def forget_all(transaction: Transaction, _changes: Sequence[ForgetAll] = ()) -> int:
    """Deletes links, intents of copies and changes of flags, snapshots, uncopied messages and held removals of the
    mailbox; returns minus the number of links."""
    tables = (
        "copies", "stores", "snapshots", "deviations", "uncopied", "sightings", "held", "held_messages", "emails",
    )  # fmt: skip
    transaction.many("UPDATE mailboxes SET renumbered = 1 WHERE id = ? AND links > 0", [()])
    for table in tables:
        transaction.many(f"DELETE FROM {table} WHERE mailbox = ?", [()])
    return -transaction.many("DELETE FROM links WHERE mailbox = ?", [()])


def _set_validities(transaction: Transaction, changes: Sequence[SetValidity]) -> int:
    for change in changes:
        column = f"{change.side.label}_validity"
        transaction.many(f"UPDATE mailboxes SET {column} = ?2 WHERE id = ?1", [(change.validity,)])
    return 0


def _save_snapshots(transaction: Transaction, changes: Sequence[SaveSnapshot]) -> int:
    for change in changes:
        snapshot = change.snapshot
        side = snapshot.side.value
        _drop_snapshots(transaction, [DropSnapshot(snapshot.side)])
        transaction.many(
            "INSERT INTO deviations (mailbox, side, ref, flags) VALUES (?, ?, ?, ?)",
            (
                (side, pack_ref(ref), None if flags is None else pack_flags(flags))
                for ref, flags in snapshot.deviations.items()
            ),
        )
        transaction.many(
            "INSERT INTO snapshots (mailbox, side, cursor) VALUES (?, ?, ?)", [(side, snapshot.cursor)]
        )
    return 0


def _drop_snapshots(transaction: Transaction, changes: Sequence[DropSnapshot]) -> int:
    for change in changes:
        for table in ("snapshots", "deviations"):
            transaction.many(f"DELETE FROM {table} WHERE mailbox = ? AND side = ?", [(change.side.value,)])
    return 0


def _drop_both_snapshots(transaction: Transaction) -> None:
    """They say what was seen beside agreements that are others now."""
    _drop_snapshots(transaction, [DropSnapshot(side) for side in Side])


def _save_sightings(transaction: Transaction, changes: Sequence[SaveSighting]) -> int:
    transaction.many("UPDATE mailboxes SET renumbered = 0 WHERE id = ?", [()])
    steady = transaction.steady
    transaction.many(
        "INSERT INTO sightings (mailbox, side, listed, location, whole, changed)"
        " VALUES (?1, ?2, ?3, ?4, iif(?5, ?6, 0), iif(?5, 0, 1)) ON CONFLICT (mailbox, side) DO UPDATE SET"
        " listed = ?3, location = ?4, whole = iif(?5, ?6, whole), changed = iif(?5, 0, changed + 1)",
        (
            (change.side.value, change.sighting.listed, change.sighting.location, change.whole, steady)
            for change in changes
        ),
    )
    return 0


def _hold_removals(transaction: Transaction, changes: Sequence[HoldRemovals]) -> int:
    for change in changes:
        held, side = change.held, change.held.side.value
        _drop_held(transaction, [DropHeld(held.side)])
        transaction.many(
            "INSERT INTO held (mailbox, side, validity, whole, why, since) VALUES (?, ?, ?, ?, ?, ?)",
            [(side, held.validity, held.whole, pack_text(held.why), held.since or transaction.at)],
        )
        transaction.many(
            "INSERT INTO held_messages (mailbox, side, ref, approved) VALUES (?, ?, ?, ?)",
            ((side, pack_ref(ref), ref in held.approved) for ref in held.refs),
        )
    return 0


def _drop_held(transaction: Transaction, changes: Sequence[DropHeld]) -> int:
    for change in changes:
        for table in ("held", "held_messages"):
            transaction.many(f"DELETE FROM {table} WHERE mailbox = ? AND side = ?", [(change.side.value,)])
    return 0


def _add_kept(transaction: Transaction, changes: Sequence[AddKept]) -> int:
    run, at, steady = transaction.run, transaction.at, transaction.steady
    # What was kept before, when the removal was interrupted, is kept anew.
    transaction.many(
        "DELETE FROM kept WHERE mailbox = ? AND side = ? AND validity = ? AND ref = ?",
        ((one.side.value, one.validity, pack_ref(one.ref)) for one in (change.kept for change in changes)),
    )
    transaction.many(
        "INSERT INTO kept (mailbox, run, since, steady, side, ref, validity, flags, date, size, message_id,"
        " identity_headers, identity_content, has_message_id, file)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((run, at, steady, *_kept_row(change.kept)) for change in changes),
    )
    return 0


def _kept_row(kept: Kept) -> tuple[Stored | float | None, ...]:
    return (
        kept.side.value,
        pack_ref(kept.ref),
        kept.validity,
        pack_flags(kept.flags),
        kept.date.isoformat(),
        kept.size,
        pack_text(kept.message_id[:MESSAGE_ID_CHARS_MAX]),
        kept.identity.headers,
        kept.identity.content,
        kept.identity.has_message_id,
        kept.file,
    )


def _begin_restores(transaction: Transaction, changes: Sequence[BeginRestore]) -> int:
    transaction.many(
        "UPDATE kept SET begun = 1, begun_validity = ?3, target = ?4, floor = ?5 WHERE mailbox = ?1 AND file = ?2",
        (
            (
                change.kept.file,
                change.kept.begun_validity,
                None if change.kept.target is None else pack_ref(change.kept.target),
                change.kept.floor,
            )
            for change in changes
        ),
    )
    return 0


def _drop_kept(transaction: Transaction, changes: Sequence[DropKept]) -> int:
    transaction.many(
        "DELETE FROM kept WHERE mailbox = ? AND file = ?", ((change.kept.file,) for change in changes)
    )
    return 0


def _save_uncopied(transaction: Transaction, changes: Sequence[SaveUncopied]) -> int:
    transaction.many(
        "INSERT OR REPLACE INTO uncopied (mailbox, side, ref, obstacle, reason, due, attempts, first, last, grounds,"
        " stamp, size, message_id, identity_headers, identity_content, has_message_id, losses)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_uncopied_row(change.uncopied) for change in changes),
    )
    return 0


def _uncopied_row(one: Uncopied) -> tuple[Stored | float | None, ...]:
    who = one.identity
    return (
        one.side.value,
        pack_ref(one.ref),
        one.obstacle.value,
        pack_text(one.reason[:DETAIL_CHARS_MAX]),
        one.due,
        one.attempts,
        one.first,
        one.last,
        pack_text(one.grounds[:DETAIL_CHARS_MAX]),
        pack_text(one.stamp),
        one.size,
        pack_text(one.message_id[:MESSAGE_ID_CHARS_MAX]),
        None if who is None else who.headers,
        None if who is None else who.content,
        None if who is None else who.has_message_id,
        one.losses,
    )


def _drop_uncopied(transaction: Transaction, changes: Sequence[DropUncopied]) -> int:
    transaction.many(
        "DELETE FROM uncopied WHERE mailbox = ? AND side = ? AND ref = ?",
        ((change.side.value, pack_ref(change.ref)) for change in changes),
    )
    return 0


def _save_emails(transaction: Transaction, changes: Sequence[SaveEmails]) -> int:
    transaction.many(
        "INSERT OR REPLACE INTO emails (mailbox, side, ref, email_id) VALUES (?, ?, ?, ?)",
        (
            (change.side.value, pack_ref(ref), email_id)
            for change in changes
            for ref, email_id in change.ids.items()
        ),
    )
    return 0


def _write_notes(transaction: Transaction, changes: Sequence[Note]) -> int:
    run, at = transaction.run, transaction.at
    transaction.many(
        "INSERT INTO history (mailbox, run, at, operation, left_ref, right_ref, detail, message_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                run,
                at,
                note.operation,
                None if note.left is None else pack_ref(note.left),
                None if note.right is None else pack_ref(note.right),
                pack_text(note.detail[:DETAIL_CHARS_MAX]),
                pack_text(note.message_id[:MESSAGE_ID_CHARS_MAX]),
            )
            for note in changes
        ),
    )
    return 0


def _save_digests(transaction: Transaction, changes: Sequence[SaveDigests]) -> int:
    for change in changes:
        side = change.side.value
        transaction.many(
            "INSERT OR REPLACE INTO digests (mailbox, side, ref, stamp, sha256, size, headers, message_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    side,
                    pack_ref(ref),
                    pack_text(digest.stamp),
                    bytes.fromhex(digest.sha256),
                    digest.size,
                    digest.headers,
                    pack_text(digest.message_id[:MESSAGE_ID_CHARS_MAX]),
                )
                for ref, digest in change.digests.items()
            ),
        )
    return 0


def _drop_digests(transaction: Transaction, changes: Sequence[DropDigests]) -> int:
    for change in changes:
        transaction.many(
            "DELETE FROM digests WHERE mailbox = ? AND side = ? AND ref = ?",
            ((change.side.value, pack_ref(ref)) for ref in change.refs),
        )
    return 0


_TABLE: tuple[tuple[int, type, Callable[[Transaction, Sequence[Any]], int]], ...] = (
    (0, ForgetAll, forget_all),
    (1, SetValidity, _set_validities),
    (2, AddLink, _add_links),
    (2, DropLink, _drop_links),
    (2, SetFlags, _set_flags),
    (3, AddCopy, _add_copies),
    (3, DropCopy, _drop_copies),
    (3, EndAttempt, _end_attempts),
    (3, AddStraggler, _add_stragglers),
    (3, ReplaceStraggler, _replace_stragglers),
    (3, DropStraggler, _drop_stragglers),
    (4, AddStore, _add_stores),
    (4, DropStore, _drop_stores),
    (4, AddRemoval, _add_removals),
    (4, DropRemoval, _drop_removals),
    (5, SaveSighting, _save_sightings),
    (5, HoldRemovals, _hold_removals),
    (5, DropHeld, _drop_held),
    (5, AddKept, _add_kept),
    (5, BeginRestore, _begin_restores),
    (5, DropKept, _drop_kept),
    (5, SaveUncopied, _save_uncopied),
    (5, DropUncopied, _drop_uncopied),
    (5, SaveEmails, _save_emails),
    (5, Note, _write_notes),
    (6, SaveSnapshot, _save_snapshots),
    (6, DropSnapshot, _drop_snapshots),
    (7, SaveDigests, _save_digests),
    (7, DropDigests, _drop_digests),
)
"""Each kind's lane (changes in one lane keep their order, lanes follow each other) and its function."""

_LANES = {kind: lane for lane, kind, _ in _TABLE}
_WRITERS = {kind: writer for _, kind, writer in _TABLE}
