"""FETCH and UID FETCH of a simulated server (RFC 3501 section 6.4.5, RFC 7162 section 3.1.4).

Not there: ENVELOPE, BODYSTRUCTURE and sections of MIME parts; a client that asks for them gets BAD.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mailtwin.testing.simmail import SimMessage
from mailtwin.testing.simmime import header_fields, split_message
from mailtwin.testing.simparse import BadCommand, Cursor, format_datetime, string
from mailtwin.testing.simsession import Command, Needs, Refused, Reply, Session
from mailtwin.testing.simview import View

__all__ = ["COMMANDS", "select_uids"]


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing asked for of each message."""

    name: str
    render: Callable[[View, SimMessage], bytes]
    marks_seen: bool = False


def _uid(_view: View, message: SimMessage) -> bytes:
    return b"UID %d" % message.uid


def _flags(view: View, message: SimMessage) -> bytes:
    return f"FLAGS ({' '.join(view.flags(message.uid))})".encode("ascii")


def _date(_view: View, message: SimMessage) -> bytes:
    return b"INTERNALDATE " + format_datetime(message.date)


def _size(_view: View, message: SimMessage) -> bytes:
    return b"RFC822.SIZE %d" % len(message.body)


def _modseq(_view: View, message: SimMessage) -> bytes:
    return b"MODSEQ (%d)" % message.modseq


_UID = _Item("UID", _uid)
_FLAGS = _Item("FLAGS", _flags)
_MODSEQ = _Item("MODSEQ", _modseq)
_SIMPLE = {
    item.name: item
    for item in (_UID, _FLAGS, _MODSEQ, _Item("INTERNALDATE", _date), _Item("RFC822.SIZE", _size))
}


def select_uids(session: Session, args: Cursor, *, by_uid: bool) -> list[int]:
    """Read a sequence set and return the UIDs that it means in the selected mailbox."""
    try:
        return session.require_view().select(args.seq_set(), by_uid=by_uid)
    except IndexError as bad:
        raise BadCommand(str(bad)) from bad


async def _fetch(session: Session, args: Cursor, *, by_uid: bool) -> Reply:
    args.sp()
    uids = select_uids(session, args, by_uid=by_uid)
    args.sp()
    items = _parse_items(session, args)
    since = _parse_since(session, args)
    args.end()
    if since is not None and _MODSEQ not in items:
        items.append(_MODSEQ)
    if _MODSEQ in items:
        session.enable_condstore()
    if by_uid and _UID not in items:
        items.insert(0, _UID)
    mailbox = session.require_view().mailbox
    missing = False
    for uid in uids:
        message = mailbox.get(uid)
        if message is None:
            missing = True
        elif since is None or message.modseq > since:
            _answer(session, message, items)
            if session.wire.is_full:
                await session.wire.flush()
    if missing and not by_uid:
        # The client's sequence numbers still count messages that others removed (RFC 2180 section 4.1.2).
        raise Refused("Some of the messages no longer exist", "EXPUNGEISSUED")
    return Reply("Fetched")


def _answer(session: Session, message: SimMessage, items: list[_Item]) -> None:
    view = session.require_view()
    if any(item.marks_seen for item in items) and not view.read_only and "\\Seen" not in message.flags:
        message = view.mailbox.set_flags(message.uid, message.flags | {"\\Seen"})
        if _FLAGS not in items:
            items = [*items, _FLAGS]
    if _FLAGS in items:
        view.told_flags(message.uid)
    parts = [item.render(view, message) for item in items if item is not _UID]
    uid = _uid(view, message) if _UID in items else None
    head = b"%d FETCH (" % (view.seq(message.uid) or 0)
    pieces = [[part] for part in parts] if session.manners.split_fetch and parts else [parts]
    for piece in pieces:
        if uid is not None:
            piece.insert(len(piece) if session.manners.uid_last else 0, uid)
        session.answer(head + b" ".join(piece) + b")")


def _parse_since(session: Session, args: Cursor) -> int | None:
    if not args.skip(b" "):
        return None
    args.expect(b"(CHANGEDSINCE ")
    session.require("CONDSTORE", "CHANGEDSINCE")
    since = args.mod_sequence()
    args.expect(b")")
    return since


def _parse_items(session: Session, args: Cursor) -> list[_Item]:
    if args.peek(b"("):
        items = args.parenthesised(lambda: _parse_item(session, args))
    elif args.skip(b"FAST"):
        return [_FLAGS, _SIMPLE["INTERNALDATE"], _SIMPLE["RFC822.SIZE"]]
    else:
        items = [_parse_item(session, args)]
    return items


def _parse_item(session: Session, args: Cursor) -> _Item:
    name = args.word()
    if name == "MODSEQ":
        session.require("CONDSTORE", name)
    if name in _SIMPLE:
        return _SIMPLE[name]
    whole: dict[str, tuple[_Section, bool]] = {
        "RFC822": (_whole, True),
        "RFC822.HEADER": (_header, False),
        "RFC822.TEXT": (_text, True),
    }
    if name in whole:
        section, marks_seen = whole[name]
        return _Item(name, partial(_render_section, name.encode("ascii"), section, None), marks_seen)
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
    return _Item("BODY", partial(_render_section, label, section, extent), marks_seen)


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
