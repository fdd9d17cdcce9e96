"""X-GM-EXT-1 of a simulated server, as Google documents it: items of FETCH, labels of STORE, keys of SEARCH.

The labels themselves are in `mailtwin.testing.simlabels`; on an account of another kind messages have identifiers and
no labels, and cannot be given any.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailtwin.testing.simlabels import LabelledAccount, LabelledMailbox, Role
from mailtwin.testing.simmail import SimMessage
from mailtwin.testing.simmime import header_fields
from mailtwin.testing.simnames import decode_mutf7, encode_mutf7
from mailtwin.testing.simparse import BadCommand, Cursor, quote
from mailtwin.testing.simsearch import Predicate, contains_words
from mailtwin.testing.simsession import Refused, Session
from mailtwin.testing.simview import View

__all__ = ["FETCH_ITEMS", "labels_line", "search_key", "store_labels"]

_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_TERM = re.compile(r'(-?)(?:([a-z0-9]+):)?("[^"]*"|\S+)')


def _labels_in(view: View, message: SimMessage, *, raw: bool) -> bytes:
    """The labels, but for that of the mailbox itself."""
    own = view.mailbox.label if isinstance(view.mailbox, LabelledMailbox) else None
    shown = (encode_mutf7(label) for label in sorted(message.labels) if label != own)
    quoted = (
        one if _ASTRING.fullmatch(one) or (raw and not one.startswith(b"\\")) else quote(one) for one in shown
    )
    return b"X-GM-LABELS (" + b" ".join(quoted) + b")"


def _message_number(_view: View, message: SimMessage) -> bytes:
    return b"X-GM-MSGID %d" % message.email_id


def _thread_number(_view: View, message: SimMessage) -> bytes:
    return b"X-GM-THRID %d" % (message.thread_id or message.email_id)


FETCH_ITEMS: dict[str, Callable[[bool], Callable[[View, SimMessage], bytes]]] = {
    "X-GM-MSGID": lambda _raw: _message_number,
    "X-GM-THRID": lambda _raw: _thread_number,
    "X-GM-LABELS": lambda raw: lambda view, message: _labels_in(view, message, raw=raw),
}
"""By name: what renders the item, for `Manners.raw_atoms` or not."""


def labels_line(session: Session, uid: int, *, with_uid: bool) -> bytes:
    """The FETCH response that tells a message's labels, by sequence number."""
    view = session.require_view()
    head = f"{view.seq(uid)} FETCH ({f'UID {uid} ' if with_uid else ''}".encode("ascii")
    return head + _labels_in(view, view.mailbox[uid], raw=session.manners.raw_atoms) + b")"


def store_labels(session: Session, args: Cursor, kind: str, messages: list[SimMessage]) -> None:
    """Read the labels of a STORE, `kind` being its action, and give them to, or take them from, these messages.

    A label that does not exist is created. A message that loses the label of the selected mailbox leaves it.
    """
    account, view = session.require_account(), session.require_view()
    if not isinstance(account, LabelledAccount):
        raise Refused("There are no labels in this account", "CANNOT")
    sign = kind[0] if kind[0] in "+-" else "="
    names = _label_list(args)
    args.end()
    own = view.mailbox.label if isinstance(view.mailbox, LabelledMailbox) else None
    try:
        wanted = [account.mailbox_of(name, create=sign != "-") for name in names]
    except ValueError as bad:
        raise Refused(str(bad), "CANNOT") from bad
    for message in messages:
        stored = account.stored(message)
        if sign == "-":
            gone = [mailbox for mailbox in wanted if mailbox is not None and mailbox in stored.uids]
        elif sign == "+":
            gone = []
        else:
            gone = [
                mailbox
                for mailbox in stored.uids
                if mailbox not in wanted and mailbox.role is not Role.ALL and mailbox.label != own
            ]
        for mailbox in wanted if sign != "-" else ():
            assert mailbox is not None
            account.place(stored, mailbox)
        for mailbox in gone:
            if mailbox in stored.uids:
                account.withdraw(stored, mailbox)


def _label_list(args: Cursor) -> list[str]:
    def label() -> str:
        raw = b"\\" + args.atom() if args.skip(b"\\") else args.astring()
        try:
            return decode_mutf7(raw)
        except ValueError as bad:
            raise BadCommand(str(bad)) from bad

    return args.parenthesised(label, empty=True) if args.peek(b"(") else [label()]


# --- SEARCH ----------------------------------------------------------------------------------------------------------


def search_key(key: str, args: Cursor) -> Predicate | None:
    """One of the search keys X-GM-MSGID, X-GM-THRID, X-GM-LABELS and X-GM-RAW; None for any other."""
    if key == "X-GM-MSGID":
        number = args.number((1 << 64) - 1)
        return lambda message: message.email_id == number
    if key == "X-GM-THRID":
        number = args.number((1 << 64) - 1)
        return lambda message: (message.thread_id or message.email_id) == number
    if key == "X-GM-LABELS":
        (wanted,) = _label_list(args)
        return lambda message: wanted.lower() in {label.lower() for label in message.labels}
    if key == "X-GM-RAW":
        return _query(args.astring().decode("utf-8", "replace"))
    return None


def _query(text: str) -> Predicate:
    """A part of Google's search syntax: words, `from:` `to:` `subject:` `rfc822msgid:` `label:` `in:` `is:`, `-`."""
    terms = [_term(operator, value.strip('"'), negated) for negated, operator, value in _TERM.findall(text)]
    return lambda message: all(term(message) for term in terms)


def _term(operator: str, value: str, negated: str) -> Predicate:
    plain = _plain_term(operator, value.lower())
    return (lambda message: not plain(message)) if negated else plain


def _plain_term(operator: str, value: str) -> Predicate:
    if operator in ("from", "to", "subject"):
        return lambda message: contains_words(_field(message, operator), value.encode())
    if operator == "rfc822msgid":
        bare = value.strip("<>").encode()
        return lambda message: _field(message, "message-id").strip(b" \t\r\n<>").lower() == bare
    if operator in ("label", "in"):
        wanted = {value, "\\" + value} if value != "anywhere" else set()
        return lambda message: not wanted or bool(wanted & {label.lower() for label in message.labels})
    if operator == "is":
        states: dict[str, Predicate] = {
            "read": lambda message: "\\Seen" in message.flags,
            "unread": lambda message: "\\Seen" not in message.flags,
            "starred": lambda message: "\\Flagged" in message.flags,
            "important": lambda message: "\\Important" in message.labels,
        }
        if value in states:
            return states[value]
    elif not operator:
        return lambda message: contains_words(message.body, value.encode())
    raise Refused(f"The simulator does not know {operator}:{value}", "CANNOT")


def _field(message: SimMessage, wanted: str) -> bytes:
    name = wanted.encode()
    return b" ".join(raw.partition(b":")[2] for own, raw in header_fields(message.body) if own == name)
