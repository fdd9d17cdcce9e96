"""FETCH and UID FETCH of a simulated server (RFC 3501 section 6.4.5, RFC 7162 sections 3.1.4, 3.2.6, RFC 8474).

Not there: ENVELOPE, BODYSTRUCTURE and sections of MIME parts; a client that asks for them gets BAD.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from mailtwin.testing.manners import Manners, Withheld
from mailtwin.testing.simgmail import FETCH_ITEMS
from mailtwin.testing.simmail import SimMessage
from mailtwin.testing.simmime import header_fields, split_message
from mailtwin.testing.simparse import BadCommand, Cursor, SeqSet, format_datetime, string
from mailtwin.testing.simsession import Command, Needs, Refused, Reply, Session
from mailtwin.testing.simview import View

__all__ = ["COMMANDS", "select_uids"]


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing asked for of each message."""

    name: str
    render: Callable[[View, SimMessage], bytes]
    marks_seen: bool = False
    is_body: bool = False
    """The message or its text, which a server may be unable to hand out."""


def _uid(_view: View, message: SimMessage) -> bytes:
    return b"UID %d" % message.uid


def _flags(view: View, message: SimMessage) -> bytes:
    return f"FLAGS ({' '.join(view.flags(message.uid))})".encode("ascii")


def _date(_view: View, message: SimMessage) -> bytes:
    return b"INTERNALDATE " + format_datetime(message.date)


def _no_date(_view: View, _message: SimMessage) -> bytes:
    return b'INTERNALDATE "00-Jan-0000 00:00:00 +0000"'


def _size(error: int, _view: View, message: SimMessage) -> bytes:
    return b"RFC822.SIZE %d" % max(0, len(message.body) + error)


def _modseq(_view: View, message: SimMessage) -> bytes:
    return b"MODSEQ (%d)" % message.modseq


def _email_id(_view: View, message: SimMessage) -> bytes:
    return b"EMAILID (M%d)" % message.email_id


def _thread_id(_view: View, message: SimMessage) -> bytes:
    return b"THREADID (T%d)" % message.thread_id if message.thread_id else b"THREADID NIL"


_UID = _Item("UID", _uid)
_FLAGS = _Item("FLAGS", _flags)
_MODSEQ = _Item("MODSEQ", _modseq)
_SIMPLE = {
    item.name: item
    for item in (_UID, _FLAGS, _MODSEQ, _Item("EMAILID", _email_id), _Item("THREADID", _thread_id))
}
_ITEM_NEEDS = {"MODSEQ": "CONDSTORE", "EMAILID": "OBJECTID", "THREADID": "OBJECTID"} | dict.fromkeys(
    FETCH_ITEMS, "X-GM-EXT-1"
)


def _simple_item(name: str, manners: Manners) -> _Item | None:
    if name == "INTERNALDATE":
        return _Item(name, _no_date if manners.odd_dates else _date)
    if name == "RFC822.SIZE":
        return _Item(name, partial(_size, manners.size_error))
    if name in FETCH_ITEMS:
        return _Item(name, FETCH_ITEMS[name](manners.raw_atoms))
    return _SIMPLE.get(name)


def select_uids(session: Session, args: Cursor, *, by_uid: bool) -> list[int]:
    """Read a sequence set and return the UIDs that it means in the selected mailbox."""
    return _select(session, args.seq_set(), by_uid=by_uid)


def _select(session: Session, wanted: SeqSet, *, by_uid: bool) -> list[int]:
    try:
        return session.require_view().select(wanted, by_uid=by_uid)
    except IndexError as bad:
        raise BadCommand(str(bad)) from bad


async def _fetch(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    args.sp()
    wanted = args.seq_set()
    uids = _select(session, wanted, by_uid=by_uid)
    args.sp()
    items = _parse_items(session, args)
    since, vanished = _parse_since(session, args, by_uid=by_uid)
    args.end()
    if since is not None and _MODSEQ not in items:
        items.append(_MODSEQ)
    if _MODSEQ in items:
        session.enable_condstore()
    if by_uid and _UID not in items:
        items.insert(0, _UID)
    mailbox = session.require_view().mailbox
    if vanished and since is not None:
        session.answer_vanished(mailbox.removed_since(since), wanted)
    missing = False
    for uid in uids:
        message = mailbox.get(uid)
        if message is None:
            missing = True
        elif since is None or message.modseq > since:
            _answer_or_withhold(session, message, items)
            if session.wire.is_full:
                await session.wire.flush()
    if missing and not by_uid:
        # The client's sequence numbers still count messages that others removed (RFC 2180 section 4.1.2).
        raise Refused("Some of the messages no longer exist", "EXPUNGEISSUED")
    return Reply("Fetched")


def _answer_or_withhold(session: Session, message: SimMessage, items: list[_Item]) -> None:
    how = session.manners.withholds
    bodies = [item for item in items if item.is_body]
    if how is Withheld.NOTHING or not bodies or not _is_withheld(message):
        _answer(session, message, items)
    elif how is Withheld.UNAVAILABLE:
        raise Refused("UID FETCH Server error - Please try again later", "UNAVAILABLE")
    elif how is Withheld.NOTICE:
        _answer(session, replace(message, body=_notice(message)), items)
    elif how is Withheld.NO_LITERAL:
        _answer(session, message, [item for item in items if item not in bodies])


def _is_withheld(message: SimMessage) -> bool:
    return any(name == b"x-withheld" for name, _ in header_fields(message.body))


def _notice(message: SimMessage) -> bytes:
    words = b"Retrieval using the IMAP4 protocol failed for the following message: %d" % message.uid
    return b"Subject: " + words + b"\r\n\r\nThe server couldn't retrieve the message.\r\n"


def _answer(session: Session, message: SimMessage, items: list[_Item]) -> None:
    view = session.require_view()
    if any(item.marks_seen for item in items) and not view.read_only and "\\Seen" not in message.flags:
        seen = view.mailbox.set_flags(message.uid, message.flags | {"\\Seen"})
        message = replace(seen, body=message.body)
        if _FLAGS not in items:
            items = [*items, _FLAGS]
    if _FLAGS in items:
        view.told_flags(message.uid)
    parts = [
        part
        for item in items
        if item is not _UID
        for part in [item.render(view, message)] * (1 + (item.is_body and session.manners.repeats_attributes))
    ]
    uid = _uid(view, message) if _UID in items else None
    head = b"%d FETCH (" % (view.seq(message.uid) or 0)
    pieces = [[part] for part in parts] if session.manners.split_fetch and parts else [parts]
    for piece in pieces:
        if uid is not None:
            piece.insert(len(piece) if session.manners.uid_last else 0, uid)
        session.answer(head + b" ".join(piece) + b")")


def _parse_since(session: Session, args: Cursor, *, by_uid: bool) -> tuple[int | None, bool]:
    """The modification sequence of CHANGEDSINCE, and whether VANISHED goes with it."""
    if not args.skip(b" "):
        return None, False
    args.expect(b"(CHANGEDSINCE ")
    session.require("CONDSTORE", "CHANGEDSINCE")
    since = args.mod_sequence()
    vanished = args.skip(b" VANISHED")
    args.expect(b")")
    if vanished and not (by_uid and session.qresync):
        raise BadCommand("VANISHED needs UID FETCH and ENABLE QRESYNC")
    return since, vanished


def _parse_items(session: Session, args: Cursor) -> list[_Item]:
    if args.peek(b"("):
        items = args.parenthesised(lambda: _parse_item(session, args))
    elif args.skip(b"FAST"):
        names = ("FLAGS", "INTERNALDATE", "RFC822.SIZE")
        items = [item for name in names if (item := _simple_item(name, session.manners))]
    else:
        items = [_parse_item(session, args)]
    return items


def _parse_item(session: Session, args: Cursor) -> _Item:
    name = args.word()
    if name in _ITEM_NEEDS:
        session.require(_ITEM_NEEDS[name], name)
    simple = _simple_item(name, session.manners)
    if simple is not None:
        return simple
    whole: dict[str, tuple[_Section, bool]] = {
        "RFC822": (_whole, True),
        "RFC822.HEADER": (_header, False),
        "RFC822.TEXT": (_text, True),
    }
    if name in whole:
        section, marks_seen = whole[name]
        render = partial(_render_section, name.encode("ascii"), section, None)
        return _Item(name, render, marks_seen, is_body=section is not _header)
    if name in ("BODY", "BODY.PEEK") and args.peek(b"["):
        return _parse_body(args, marks_seen=name == "BODY")
    raise BadCommand(f"Unknown FETCH item {name}")


_Section = Callable[[bytes], bytes]


def _whole(body: bytes) -> bytes:
    return body


def _header(body: bytes) -> bytes:
    return split_message(body)[0]


def _text(body: bytes) -> bytes:
    return split_message(body)[1]


def _some_fields(names: frozenset[bytes], wanted: bool, body: bytes) -> bytes:
    return b"".join(raw for name, raw in header_fields(body) if (name in names) is wanted) + b"\r\n"


def _parse_body(args: Cursor, *, marks_seen: bool) -> _Item:
    args.expect(b"[")
    section, label = _parse_section(args)
    args.expect(b"]")
    label = b"BODY[" + label + b"]"
    extent: tuple[int, int] | None = None
    if args.skip(b"<"):
        start = args.number()
        args.expect(b".")
        extent = (start, args.number())
        args.expect(b">")
        label += b"<%d>" % start
    render = partial(_render_section, label, section, extent)
    return _Item("BODY", render, marks_seen, is_body=section in (_whole, _text))


def _parse_section(args: Cursor) -> tuple[_Section, bytes]:
    if args.peek(b"]"):
        return _whole, b""
    word = args.word()
    if word == "HEADER":
        return _header, b"HEADER"
    if word == "TEXT":
        return _text, b"TEXT"
    if word not in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        raise BadCommand(f"The simulator has no section {word}")
    args.sp()
    names = args.parenthesised(args.astring)
    lower = frozenset(name.lower() for name in names)
    label = word.encode("ascii") + b" (" + b" ".join(string_or_atom(name) for name in names) + b")"
    return partial(_some_fields, lower, word == "HEADER.FIELDS"), label


def string_or_atom(name: bytes) -> bytes:
    """A header field's name as it is shown in the label of a section."""
    return name if re.fullmatch(rb"[A-Za-z0-9-]+", name) else string(name)


def _render_section(
    label: bytes, section: _Section, extent: tuple[int, int] | None, _view: View, message: SimMessage
) -> bytes:
    octets = section(message.body)
    if extent is not None:
        octets = octets[extent[0] : extent[0] + extent[1]]
    return label + b" {%d}\r\n" % len(octets) + octets


COMMANDS = {
    "FETCH": Command(partial(_fetch, by_uid=False), Needs.SELECTED, may_expunge=False),
    "UID FETCH": Command(partial(_fetch, by_uid=True), Needs.SELECTED),
}
"""By name."""
