"""Commands of a simulated server about messages, FETCH apart: APPEND, STORE, COPY, MOVE, EXPUNGE, SEARCH.

RFC 3501 sections 6.3.11 and 6.4.3 to 6.4.8, RFC 4315 (UIDPLUS), RFC 4731 (ESEARCH), RFC 6851 (MOVE), RFC 7162
(CONDSTORE).
"""

from __future__ import annotations

from functools import partial

from mailtwin.testing.simfetch import select_uids
from mailtwin.testing.simgmail import labels_line, search_key, store_labels
from mailtwin.testing.simmail import SYSTEM_FLAGS, SimMailbox, SimMessage
from mailtwin.testing.simmime import render_anew
from mailtwin.testing.simparse import BadCommand, Cursor, format_set
from mailtwin.testing.simsearch import parse_keys
from mailtwin.testing.simsession import Command, HangUp, Needs, Refused, Reply, Session

__all__ = ["COMMANDS"]

_LOWER_SYSTEM_FLAGS = {flag.lower() for flag in SYSTEM_FLAGS}
_RESULT_OPTIONS = {"ALL", "COUNT", "MIN", "MAX"}


def _append(session: Session, args: Cursor) -> Reply:
    args.sp()
    raw = args.astring()
    args.sp()
    flags: list[str] = []
    if args.peek(b"("):
        flags = _keepable(session, args.flags())
        args.sp()
    date = None
    if args.peek(b'"'):
        date = args.date_time()
        args.sp()
    body = args.literal()
    args.end()
    mailbox = session.mailbox_from(raw, "TRYCREATE")
    refusal = _refusal(session, body)
    if refusal is not None:
        return refusal
    session.setting.meter.received(session.user, len(body))
    uid = mailbox.append(render_anew(body) if session.manners.renders_anew else body, flags, date)
    code = f"APPENDUID {mailbox.uid_validity} {uid}" if session.manners.append_uid else None
    return Reply("Appended", code)


def _refusal(session: Session, body: bytes) -> Reply | None:
    """Why the server does not take this message."""
    manners = session.manners
    if not body or b"\0" in body:
        if manners.appends_with_bad:
            return Reply("Command Argument Error. 11", status="BAD")
        return Reply("A message is not empty and holds no NUL", "CANNOT", "NO")
    if manners.needs_final_crlf and not body.endswith(b"\r\n"):
        return Reply("APPEND Message must end with CRLF", "CLIENTBUG", "BAD")
    account = session.require_account()
    judgement = session.setting.meter.at_append(session.user, len(body), account)
    return None if judgement is None else Reply(judgement.text, judgement.code, judgement.status)


def _keepable(session: Session, flags: list[str]) -> list[str]:
    """The flags that the server stores. BAD for a system flag that clients cannot set."""
    for flag in flags:
        if flag.startswith("\\") and flag.lower() not in _LOWER_SYSTEM_FLAGS:
            raise BadCommand(f"Flag {flag} cannot be set")
    if session.manners.keeps_keywords:
        return flags
    held = {keyword.lower() for keyword in session.manners.preset_keywords}
    return [flag for flag in flags if flag.startswith("\\") or flag.lower() in held]


def _store(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    view = session.require_writable()
    args.sp()
    uids = select_uids(session, args, by_uid=by_uid)
    args.sp()
    limit = _parse_unchanged_since(session, args)
    action = args.word()
    args.sp()
    kind = action.removesuffix(".SILENT")
    if limit is not None:
        session.enable_condstore()
    present = [message for message in map(view.mailbox.get, uids) if message is not None]
    modified = {message.uid: None for message in present if limit is not None and message.modseq > limit}
    wanted = [message for message in present if message.uid not in modified]
    if kind in ("FLAGS", "+FLAGS", "-FLAGS"):
        flags = _keepable(session, _parse_store_flags(args))
        args.end()
        for message in wanted:
            _store_one(session, message, kind, flags)
            _tell_store(session, message.uid, silent=kind != action, by_uid=by_uid)
    elif kind in ("X-GM-LABELS", "+X-GM-LABELS", "-X-GM-LABELS"):
        session.require("X-GM-EXT-1", kind)
        store_labels(session, args, kind, wanted)
        for message in wanted if kind == action else ():
            if message.uid in view.mailbox:
                session.answer(labels_line(session, message.uid, with_uid=by_uid))
    else:
        raise BadCommand(f"Unknown STORE action {action}")
    code = None
    if modified:
        code = "MODIFIED " + format_set([uid if by_uid else view.seq(uid) or 0 for uid in modified])
    if len(present) < len(uids) and not by_uid:
        raise Refused("Some of the messages no longer exist", "EXPUNGEISSUED")
    return Reply("Stored", code)


def _parse_unchanged_since(session: Session, args: Cursor) -> int | None:
    if not args.skip(b"(UNCHANGEDSINCE "):
        return None
    session.require("CONDSTORE", "UNCHANGEDSINCE")
    limit = args.mod_sequence()
    args.expect(b") ")
    return limit


def _parse_store_flags(args: Cursor) -> list[str]:
    if args.peek(b"("):
        return args.flags()
    flags = [args.flag()]
    while args.skip(b" "):
        flags.append(args.flag())
    return flags


def _store_one(session: Session, message: SimMessage, kind: str, flags: list[str]) -> None:
    mailbox = session.require_view().mailbox
    lower = {flag.lower() for flag in flags}
    if kind == "-FLAGS":
        wanted = {flag for flag in message.flags if flag.lower() not in lower}
    elif kind == "+FLAGS":
        wanted = {*message.flags, *flags}
    else:
        wanted = set(flags)
    mailbox.set_flags(message.uid, wanted)


def _tell_store(session: Session, uid: int, *, silent: bool, by_uid: bool) -> None:
    view = session.require_view()
    view.told_flags(uid)
    session.tell_keywords()
    if uid not in view.mailbox:
        return  # expunged in the same breath; EXPUNGE says it
    if not silent:
        session.answer(session.fetch_flags(uid, with_uid=by_uid))
    elif session.condstore:
        # RFC 7162 section 3.1.3: .SILENT hides the flags, not the modification sequence.
        head = f"{view.seq(uid)} FETCH ({f'UID {uid} ' if by_uid else ''}"
        session.answer(f"{head}MODSEQ ({view.mailbox[uid].modseq}))".encode("ascii"))


def _copy(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    copied = _copy_messages(session, args, by_uid=by_uid)
    code = _copyuid(copied) if copied[1] and session.manners.copy_uid else None
    if not copied[1] and session.manners.odd_copyuid:
        code = f"COPYUID {copied[0]}  "
    return Reply("Copied", code)


def _move(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    session.require_writable()
    moved = _copy_messages(session, args, by_uid=by_uid, move=True)
    if moved[1] and session.manners.copy_uid:
        # RFC 6851 section 4.3: before the EXPUNGE responses, so in an untagged OK.
        if session.manners.odd_copyuid:
            session.untagged(f"[{_copyuid(moved)}]".encode("ascii"))
        else:
            session.untagged_ok(_copyuid(moved), "Moved")
    return Reply("Moved")


_Copied = tuple[int, list[int], list[int]]
"""The target's UIDVALIDITY, the source UIDs, the target UIDs."""


def _copy_messages(session: Session, args: Cursor, *, by_uid: bool, move: bool = False) -> _Copied:
    args.sp()
    uids = select_uids(session, args, by_uid=by_uid)
    args.sp()
    raw = args.astring()
    args.end()
    source = session.require_view().mailbox
    target: SimMailbox = session.mailbox_from(raw, "TRYCREATE")
    messages = [message for message in map(source.get, uids) if message is not None]
    if len(messages) < len(uids) and not by_uid:
        # All or nothing (RFC 3501 section 6.4.7).
        raise Refused("Some of the messages no longer exist", "EXPUNGEISSUED")
    new = [source.move(message.uid, target) if move else target.copy(message) for message in messages]
    return target.uid_validity, [message.uid for message in messages], new


def _copyuid(copied: _Copied) -> str:
    # Both sets in one order; what a copy merged into may lie below, so the new UIDs need not ascend.
    return f"COPYUID {copied[0]} {format_set(copied[1])} {format_set(copied[2])}"


def _expunge(session: Session, args: Cursor) -> Reply:
    args.end()
    mailbox = session.require_writable().mailbox
    for message in mailbox:
        if "\\Deleted" in message.flags:
            mailbox.expunge(message.uid)
    return _expunged(session)


def _uid_expunge(session: Session, args: Cursor) -> Reply:
    mailbox = session.require_writable().mailbox
    args.sp()
    uids = select_uids(session, args, by_uid=True)
    args.end()
    for uid in uids:
        message = mailbox.get(uid)
        if message is not None and "\\Deleted" in message.flags:
            mailbox.expunge(uid)
    return _expunged(session)


def _expunged(session: Session) -> Reply:
    """The reply, with the modification sequence of the removals once QRESYNC is on (RFC 7162 section 3.2.7)."""
    modseq = session.require_view().mailbox.highest_modseq
    return Reply("Expunged", f"HIGHESTMODSEQ {modseq}" if session.qresync else None)


def _search(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    view = session.require_view()
    args.sp()
    options = _parse_result_options(session, args)
    _parse_charset(args)
    modseq_used: list[bool] = []
    manners = session.manners
    more = search_key if manners.has("X-GM-EXT-1") else None
    matches = parse_keys(
        args, view, lambda: modseq_used.append(True), by_words=manners.header_words, more=more
    )
    if modseq_used and options is not None and manners.modseq_search_dies:
        raise HangUp("System Error")
    if modseq_used:
        session.enable_condstore()
    found = [
        message for message in map(view.mailbox.get, view.uids) if message is not None and matches(message)
    ]
    found = found[-(manners.search_limit or 0) :]
    numbers = [message.uid if by_uid else view.seq(message.uid) or 0 for message in found]
    modseq = max((message.modseq for message in found), default=0) if modseq_used else 0
    if options is None:
        tail = f" (MODSEQ {modseq})" if modseq else " " if manners.trailing_spaces else ""
        session.answer(("SEARCH" + "".join(f" {number}" for number in numbers) + tail).encode("ascii"))
    else:
        session.answer(_esearch(session.tag, options, numbers, modseq, by_uid=by_uid))
    return Reply("Searched")


def _parse_result_options(session: Session, args: Cursor) -> list[str] | None:
    if not args.skip(b"RETURN "):
        return None
    session.require("ESEARCH", "RETURN")
    options = args.parenthesised(args.word, empty=True)
    if set(options) - _RESULT_OPTIONS:
        raise BadCommand("Unknown result option")
    args.sp()
    return options or ["ALL"]


def _parse_charset(args: Cursor) -> None:
    if args.skip(b"CHARSET "):
        charset = args.astring().upper()
        args.sp()
        if charset not in (b"US-ASCII", b"UTF-8"):
            raise Refused("Unknown charset", "BADCHARSET (US-ASCII UTF-8)")


def _esearch(tag: str, options: list[str], numbers: list[int], modseq: int, *, by_uid: bool) -> bytes:
    parts = [f'ESEARCH (TAG "{tag}")']
    if by_uid:
        parts.append("UID")
    if numbers and "MIN" in options:
        parts.append(f"MIN {numbers[0]}")
    if numbers and "MAX" in options:
        parts.append(f"MAX {numbers[-1]}")
    if numbers and "ALL" in options:
        parts.append(f"ALL {format_set(numbers)}")
    if "COUNT" in options:
        parts.append(f"COUNT {len(numbers)}")
    if modseq:
        parts.append(f"MODSEQ {modseq}")
    return " ".join(parts).encode("ascii")


COMMANDS = {
    "APPEND": Command(_append, Needs.AUTHENTICATED),
    "STORE": Command(partial(_store, by_uid=False), Needs.SELECTED, may_expunge=False),
    "UID STORE": Command(partial(_store, by_uid=True), Needs.SELECTED),
    "COPY": Command(partial(_copy, by_uid=False), Needs.SELECTED),
    "UID COPY": Command(partial(_copy, by_uid=True), Needs.SELECTED),
    "MOVE": Command(partial(_move, by_uid=False), Needs.SELECTED, "MOVE"),
    "UID MOVE": Command(partial(_move, by_uid=True), Needs.SELECTED, "MOVE"),
    "EXPUNGE": Command(_expunge, Needs.SELECTED),
    "UID EXPUNGE": Command(_uid_expunge, Needs.SELECTED, "UIDPLUS"),
    "SEARCH": Command(partial(_search, by_uid=False), Needs.SELECTED, may_expunge=False),
    "UID SEARCH": Command(partial(_search, by_uid=True), Needs.SELECTED),
}
"""By name."""
