"""Commands of a simulated server about mailboxes: making, selecting and leaving them, and IDLE.

RFC 3501 sections 6.3 and 6.4.1 to 6.4.2, RFC 2177 (IDLE), RFC 3691 (UNSELECT), RFC 7162 (CONDSTORE and QRESYNC).
LIST and STATUS are in `simlist`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from mailtwin.testing.simmail import SimAccount
from mailtwin.testing.simparse import BadCommand, Cursor, SeqSet
from mailtwin.testing.simsession import Command, HangUp, Needs, Refused, Reply, Session
from mailtwin.testing.simview import View

__all__ = ["COMMANDS"]


def _open(session: Session, args: Cursor, *, read_only: bool) -> Reply:
    args.sp()
    raw = args.astring()
    parameters = args.parenthesised(lambda: _parameter(session, args)) if args.skip(b" ") else []
    args.end()
    if session.view is not None and session.qresync:
        session.untagged_ok("CLOSED", "The other mailbox is closed")
    session.leave_mailbox()
    mailbox = session.mailbox_from(raw)
    name, manners = session.name_from(raw), session.manners
    if name in manners.unselectable:
        raise Refused("Mailbox is not selectable", "CANNOT")
    if parameters:
        session.enable_condstore()
    for keyword in manners.preset_keywords:
        mailbox.keywords.setdefault(keyword.lower(), keyword)
    view = View(name, mailbox, session.wake, read_only=read_only, window=manners.window)
    _describe(session, view)
    # Only now: chatter speaks of the selected mailbox, and the client cannot know it before its EXISTS.
    session.view = view
    for resync in parameters:
        if resync is not None:
            _resynchronise(session, view, resync)
    return Reply("Selected", "READ-ONLY" if read_only else "READ-WRITE")


@dataclass(frozen=True, slots=True)
class _Resync:
    """What a client says it knows (RFC 7162 section 3.2.5). `known`: None for all UIDs that there ever were."""

    uid_validity: int
    modseq: int
    known: SeqSet | None


def _parameter(session: Session, args: Cursor) -> _Resync | None:
    """A parameter of SELECT: CONDSTORE, or QRESYNC, which says what to tell."""
    name = args.word()
    if name == "CONDSTORE":
        session.require(name, name)
        return None
    if name != "QRESYNC" or not session.qresync:
        raise BadCommand(f"Unknown parameter {name}")
    args.expect(b" (")
    uid_validity = args.number()
    args.sp()
    modseq, known = args.mod_sequence(), None
    if args.skip(b" "):
        known = args.seq_set()
    if args.skip(b" ("):
        # Pairs of sequence numbers and UIDs, for servers that have forgotten what was removed. This one never does.
        args.seq_set()
        args.sp()
        args.seq_set()
        args.expect(b")")
    args.expect(b")")
    return _Resync(uid_validity, modseq, known)


def _resynchronise(session: Session, view: View, resync: _Resync) -> None:
    if resync.uid_validity != view.mailbox.uid_validity:
        return
    session.answer_vanished(view.mailbox.removed_since(resync.modseq), resync.known)
    for uid in view.uids:
        if view.mailbox[uid].modseq > resync.modseq:
            session.answer(session.fetch_flags(uid, with_uid=True))


def _describe(session: Session, view: View) -> None:
    mailbox = view.mailbox
    session.untagged(f"FLAGS ({' '.join(view.known_flags())})".encode("ascii"))
    session.untagged(b"%d EXISTS" % len(view.uids))
    session.untagged(b"%d RECENT" % len(view.recent))
    unseen = next((seq for seq, uid in enumerate(view.uids, 1) if "\\Seen" not in mailbox[uid].flags), None)
    if unseen is not None:
        session.untagged_ok(f"UNSEEN {unseen}", "First unseen")
    session.untagged_ok(f"PERMANENTFLAGS ({' '.join(session.permanent_flags(view))})", "Flags permitted")
    session.untagged_ok(f"UIDVALIDITY {mailbox.uid_validity}", "UIDs valid")
    session.untagged_ok(f"UIDNEXT {mailbox.uid_next}", "Predicted next UID")
    if session.manners.has("CONDSTORE") or session.manners.modseq_unasked:
        session.untagged_ok(f"HIGHESTMODSEQ {mailbox.highest_modseq}", "Highest")
    if session.manners.has("OBJECTID"):
        session.untagged_ok(f"MAILBOXID (F{mailbox.mailbox_id})", "Ok")


def _close(session: Session, args: Cursor) -> Reply:
    args.end()
    view = session.require_view()
    if not view.read_only:
        for message in view.mailbox:
            if "\\Deleted" in message.flags:
                view.mailbox.expunge(message.uid)
    session.leave_mailbox()
    return Reply("Closed")


def _unselect(session: Session, args: Cursor) -> Reply:
    args.end()
    session.leave_mailbox()
    return Reply("Unselected")


def _check(_session: Session, args: Cursor) -> Reply:
    args.end()
    return Reply("Checked")


def _account_and_name(session: Session, args: Cursor) -> tuple[SimAccount, str]:
    args.sp()
    raw = args.astring()
    return session.require_account(), session.name_from(
        raw.removesuffix(session.names.separator.encode("ascii"))
    )


def _create(session: Session, args: Cursor) -> Reply:
    account, name = _account_and_name(session, args)
    args.end()
    try:
        mailbox = account.create(name)
    except ValueError as bad:
        raise Refused(str(bad), "ALREADYEXISTS" if name in account else "CANNOT") from bad
    code = f"MAILBOXID (F{mailbox.mailbox_id})" if session.manners.has("OBJECTID") else None
    return Reply("Created", code)


def _delete(session: Session, args: Cursor) -> Reply:
    account, name = _account_and_name(session, args)
    args.end()
    try:
        account.delete(name)
    except ValueError as bad:
        raise Refused(str(bad), "CANNOT") from bad
    except KeyError as bad:
        raise Refused("No such mailbox", "NONEXISTENT") from bad
    if session.view is not None and session.view.is_stale:
        session.leave_mailbox()
    return Reply("Deleted")


def _rename(session: Session, args: Cursor) -> Reply:
    account, old = _account_and_name(session, args)
    _, new = _account_and_name(session, args)
    args.end()
    try:
        account.rename(old, new)
    except ValueError as bad:
        raise Refused(str(bad), "ALREADYEXISTS" if new in account else "CANNOT") from bad
    except KeyError as bad:
        raise Refused("No such mailbox", "NONEXISTENT") from bad
    return Reply("Renamed")


def _subscribe(session: Session, args: Cursor) -> Reply:
    account, name = _account_and_name(session, args)
    args.end()
    if name not in account:
        raise Refused("No such mailbox", "NONEXISTENT")
    account.subscriptions.add(name)
    return Reply("Subscribed")


def _unsubscribe(session: Session, args: Cursor) -> Reply:
    account, name = _account_and_name(session, args)
    args.end()
    account.subscriptions.discard(name)
    return Reply("Unsubscribed")


async def _idle(session: Session, args: Cursor) -> Reply:
    args.end()
    changed = asyncio.Event()
    session.on_change = changed.set
    if session.manners.exists_before_plus:
        session.tell_changes(expunge=False, news=True)
    await session.ask("Idling")
    limit_s = session.setting.meter.limits.idle_limit_s
    end = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
    done = asyncio.ensure_future(session.wire.line())
    try:
        while not done.done():
            changed.clear()
            session.tell_changes(expunge=True, news=True)
            await session.wire.flush()
            waiting = asyncio.ensure_future(changed.wait())
            left_s = None if end is None else end - asyncio.get_running_loop().time()
            ready, _ = await asyncio.wait(
                {done, waiting}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
            waiting.cancel()
            if not ready:
                raise HangUp("IDLE terminated: idle for too long")
    finally:
        session.on_change = _nothing
        done.cancel()
    if (await done).upper() != b"DONE":
        raise BadCommand("DONE expected")
    return Reply("Idled")


def _nothing() -> None:
    pass


COMMANDS = {
    "SELECT": Command(partial(_open, read_only=False), Needs.AUTHENTICATED),
    "EXAMINE": Command(partial(_open, read_only=True), Needs.AUTHENTICATED),
    "CREATE": Command(_create, Needs.AUTHENTICATED),
    "DELETE": Command(_delete, Needs.AUTHENTICATED),
    "RENAME": Command(_rename, Needs.AUTHENTICATED),
    "SUBSCRIBE": Command(_subscribe, Needs.AUTHENTICATED),
    "UNSUBSCRIBE": Command(_unsubscribe, Needs.AUTHENTICATED),
    "CLOSE": Command(_close, Needs.SELECTED),
    "UNSELECT": Command(_unselect, Needs.SELECTED, "UNSELECT"),
    "CHECK": Command(_check, Needs.SELECTED, asks_for_news=True),
    "IDLE": Command(_idle, Needs.AUTHENTICATED, "IDLE", asks_for_news=True),
}
"""By name."""
