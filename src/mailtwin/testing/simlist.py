"""LIST, LSUB, STATUS and NAMESPACE of a simulated server.

RFC 3501 sections 6.3.8 to 6.3.10, RFC 2342 (NAMESPACE), RFC 5258 (LIST-EXTENDED), RFC 5819 (LIST-STATUS), RFC 6154
(SPECIAL-USE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailtwin.testing.simmail import SimMailbox
from mailtwin.testing.simnames import decode_mutf7, encode_mutf7, list_pattern
from mailtwin.testing.simparse import BadCommand, Cursor, quote, string
from mailtwin.testing.simsession import Command, Needs, Reply, Session

__all__ = ["COMMANDS"]

_SELECTION = {"SUBSCRIBED", "SPECIAL-USE", "REMOTE", "RECURSIVEMATCH"}
_ITEM_NEEDS = {"HIGHESTMODSEQ": "CONDSTORE", "MAILBOXID": "OBJECTID"}
_RETURNS = {"SUBSCRIBED", "SPECIAL-USE", "CHILDREN"}


@dataclass(slots=True)
class _Request:
    """A LIST or LSUB as parsed."""

    patterns: list[str]
    only: list[str]
    returns: list[str]
    status: list[str]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A name to list, as shown on the wire but for modified UTF-7. Without a mailbox it is a level above others."""

    shown: str
    mailbox: SimMailbox | None
    subscribed: bool
    has_children: bool


def _namespace(session: Session, args: Cursor) -> Reply:
    args.end()
    prefix, separator = session.names.prefix.encode("ascii"), session.names.separator.encode("ascii")
    session.answer(b"NAMESPACE ((" + quote(prefix) + b" " + quote(separator) + b")) NIL NIL")
    return Reply("Namespaces listed")


def _list(session: Session, args: Cursor) -> Reply:
    request = _parse_list(session, args)
    if request.patterns == [""]:
        session.answer(_line("LIST", ["\\Noselect"], session.names.separator, ""))
        return Reply("Separator told")
    with_subscribed = "SUBSCRIBED" in request.only + request.returns
    for entry in _matching(session, request):
        attributes = _attributes(session, entry, with_subscribed=with_subscribed)
        shown = _spelled(session, entry.shown)
        session.answer(_line("LIST", attributes, session.names.separator, shown))
        if request.status and entry.mailbox is not None:
            session.answer(_status_line(session, encode_mutf7(shown), entry.mailbox, request.status))
    return Reply("Mailboxes listed")


def _lsub(session: Session, args: Cursor) -> Reply:
    args.sp()
    reference = args.astring()
    args.sp()
    pattern = args.list_mailbox()
    args.end()
    request = _Request([_pattern(reference + pattern)], ["SUBSCRIBED"], [], [])
    for entry in _matching(session, request):
        session.answer(_line("LSUB", [], session.names.separator, _spelled(session, entry.shown)))
    return Reply("Subscriptions listed")


def _parse_list(session: Session, args: Cursor) -> _Request:
    request = _Request([], [], [], [])
    args.sp()
    if args.peek(b"("):
        session.require("LIST-EXTENDED", "selection options")
        request.only = args.parenthesised(args.word, empty=True)
        args.sp()
    reference = args.astring()
    args.sp()
    if args.peek(b"("):
        session.require("LIST-EXTENDED", "patterns")
        raw = args.parenthesised(args.list_mailbox)
    else:
        raw = [args.list_mailbox()]
    request.patterns = [_pattern(reference + pattern) if pattern else "" for pattern in raw]
    if args.skip(b" "):
        if not session.manners.has("LIST-STATUS"):
            session.require("LIST-EXTENDED", "RETURN")
        args.expect(b"RETURN ")
        args.parenthesised(lambda: _parse_return(session, args, request), empty=True)
    args.end()
    _check_options(session, request)
    return request


def _parse_return(session: Session, args: Cursor, request: _Request) -> None:
    option = args.word()
    if option == "STATUS":
        session.require("LIST-STATUS", "STATUS")
        args.sp()
        request.status = _status_items(session, args)
    else:
        session.require("LIST-EXTENDED", option)
        request.returns.append(option)


def _check_options(session: Session, request: _Request) -> None:
    if set(request.only) - _SELECTION or set(request.returns) - _RETURNS:
        raise BadCommand("Unknown LIST option")
    if "SPECIAL-USE" in request.only + request.returns:
        session.require("SPECIAL-USE", "SPECIAL-USE")


def _pattern(raw: bytes) -> str:
    try:
        return decode_mutf7(raw)
    except ValueError as bad:
        raise BadCommand(str(bad)) from bad


def _matching(session: Session, request: _Request) -> Iterator[_Entry]:
    regexes = [list_pattern(pattern, session.names.separator) for pattern in request.patterns]
    for entry in _entries(session, subscribed_only="SUBSCRIBED" in request.only):
        special = entry.mailbox is not None and entry.mailbox.special_use is not None
        if "SPECIAL-USE" in request.only and not special:
            continue
        if any(regex.fullmatch(entry.shown) for regex in regexes):
            yield entry


def _entries(session: Session, *, subscribed_only: bool) -> list[_Entry]:
    account, names = session.require_account(), session.names
    mailboxes = {names.shown(name): account[name] for name in account.names()}
    subscribed = {names.shown(name) for name in account.subscriptions}
    above = {level for shown in mailboxes for level in _levels_above(shown, names.separator)}
    if subscribed_only:
        listed = subscribed
    else:
        listed = set(mailboxes) | above
    return [
        _Entry(shown, mailboxes.get(shown), shown in subscribed, shown in above)
        for shown in sorted(listed, key=lambda shown: (shown != "INBOX", shown))
    ]


def _levels_above(shown: str, separator: str) -> Iterator[str]:
    place = shown.find(separator)
    while place > 0:
        yield shown[:place]
        place = shown.find(separator, place + 1)


def _attributes(session: Session, entry: _Entry, *, with_subscribed: bool) -> list[str]:
    attributes = []
    if entry.mailbox is None:
        attributes.append("\\Noselect" if entry.has_children else "\\NonExistent")
    if session.manners.has("CHILDREN"):
        attributes.append("\\HasChildren" if entry.has_children else "\\HasNoChildren")
    if with_subscribed and entry.subscribed:
        attributes.append("\\Subscribed")
    if entry.mailbox is not None and entry.mailbox.special_use and session.manners.has("SPECIAL-USE"):
        attributes.append(entry.mailbox.special_use)
    return attributes


def _spelled(session: Session, shown: str) -> str:
    return session.manners.inbox_shown if shown == "INBOX" else shown


def _line(kind: str, attributes: list[str], separator: str, shown: str) -> bytes:
    head = f"{kind} ({' '.join(attributes)}) ".encode("ascii")
    return head + quote(separator.encode("ascii")) + b" " + string(encode_mutf7(shown))


def _status(session: Session, args: Cursor) -> Reply:
    args.sp()
    raw = args.astring()
    args.sp()
    items = _status_items(session, args)
    args.end()
    mailbox = session.mailbox_from(raw)
    session.answer(_status_line(session, raw, mailbox, items))
    return Reply("Status told")


def _status_items(session: Session, args: Cursor) -> list[str]:
    items = args.parenthesised(args.word)
    for item in items:
        if item in _ITEM_NEEDS:
            session.require(_ITEM_NEEDS[item], item)
        elif item not in ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"):
            raise BadCommand(f"Unknown STATUS item {item}")
    return items


def _status_line(session: Session, name: bytes, mailbox: SimMailbox, items: list[str]) -> bytes:
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
    values = [f"{item} {_status_value(mailbox, item, session.manners.window)}" for item in items]
    end = " " if session.manners.trailing_spaces else ""
    return b"STATUS " + string(name) + f" ({' '.join(values)}){end}".encode("ascii")


def _status_value(mailbox: SimMailbox, item: str, window: int | None) -> int | str:
    shown = mailbox.uids()[-(window or 0) :]
    values: dict[str, Callable[[], int | str]] = {
        "MESSAGES": lambda: len(shown),
        "RECENT": lambda: sum(1 for uid in shown if uid >= mailbox.recent_from),
        "UNSEEN": lambda: sum(1 for uid in shown if "\\Seen" not in mailbox[uid].flags),
        "UIDNEXT": lambda: mailbox.uid_next,
        "UIDVALIDITY": lambda: mailbox.uid_validity,
        "HIGHESTMODSEQ": lambda: mailbox.highest_modseq,
        "MAILBOXID": lambda: f"(F{mailbox.mailbox_id})",
    }
    return values[item]()


COMMANDS = {
    "NAMESPACE": Command(_namespace, Needs.AUTHENTICATED, "NAMESPACE"),
    "LIST": Command(_list, Needs.AUTHENTICATED),
    "LSUB": Command(_lsub, Needs.AUTHENTICATED),
    "STATUS": Command(_status, Needs.AUTHENTICATED),
}
"""By name."""
