"""SEARCH keys of a simulated server (RFC 3501 section 6.4.4), read into predicates.

Strings are looked for in the raw bytes of a message, without regard to ASCII case; encoded words and transfer encodings
are not decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from email.utils import parsedate_to_datetime

from mailtwin.testing.simmail import SimMessage
from mailtwin.testing.simmime import header_fields, split_message
from mailtwin.testing.simparse import BadCommand, Cursor, parse_date
from mailtwin.testing.simview import View

__all__ = ["Predicate", "contains_words", "parse_keys"]

Predicate = Callable[[SimMessage], bool]

_FLAG_KEYS = {
    "ANSWERED": "\\Answered",
    "DELETED": "\\Deleted",
    "DRAFT": "\\Draft",
    "FLAGGED": "\\Flagged",
    "SEEN": "\\Seen",
}
_HEADER_KEYS = ("BCC", "CC", "FROM", "SUBJECT", "TO")
_DATE_KEYS = ("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE")
_MAX_NESTING = 50
_WORDS = re.compile(rb"[a-z0-9\x80-\xff]+")


def parse_keys(
    args: Cursor,
    view: View,
    on_modseq: Callable[[], None],
    *,
    by_words: bool = False,
    more: Callable[[str, Cursor], Predicate | None] | None = None,
) -> Predicate:
    """All search keys up to the end of the command, joined by AND. `on_modseq` is called when MODSEQ is among them.

    `by_words`: header fields and text are searched for whole words. `more` reads keys of an extension.
    """
    keys = _Keys(view, on_modseq, contains_words if by_words else _contains, more)
    parts = [keys.read(args, 0)]
    while not args.at_end:
        args.sp()
        parts.append(keys.read(args, 0))
    return _all_of(parts)


def contains_words(text: bytes, wanted: bytes) -> bool:
    """Whether the words of `wanted` (runs of letters and digits) are whole words of `text`, one after the other."""
    words = b" ".join(_WORDS.findall(wanted.lower()))
    return b" %b " % words in b" %b " % b" ".join(_WORDS.findall(text.lower()))


def _contains(text: bytes, wanted: bytes) -> bool:
    return wanted.lower() in text.lower()


class _Keys:
    def __init__(
        self,
        view: View,
        on_modseq: Callable[[], None],
        holds: Callable[[bytes, bytes], bool],
        more: Callable[[str, Cursor], Predicate | None] | None,
    ) -> None:
        self._view = view
        self._on_modseq = on_modseq
        self._holds = holds
        self._more = more

    def read(self, args: Cursor, depth: int) -> Predicate:
        """One search key."""
        if depth > _MAX_NESTING:
            raise BadCommand("Search keys nested too deeply")
        if args.peek(b"("):
            return _all_of(args.parenthesised(lambda: self.read(args, depth + 1)))
        if args.at_seq_set:
            return self._numbers(args, by_uid=False)
        key = args.word()
        if key == "NOT":
            args.sp()
            inner = self.read(args, depth + 1)
            return lambda message: not inner(message)
        if key == "OR":
            args.sp()
            left = self.read(args, depth + 1)
            args.sp()
            right = self.read(args, depth + 1)
            return lambda message: left(message) or right(message)
        if key == "UID":
            args.sp()
            return self._numbers(args, by_uid=True)
        return self._of_flags(key) or self._with_argument(key, args)

    def _numbers(self, args: Cursor, *, by_uid: bool) -> Predicate:
        try:
            uids = frozenset(self._view.select(args.seq_set(), by_uid=by_uid))
        except IndexError as bad:
            raise BadCommand(str(bad)) from bad
        return lambda message: message.uid in uids

    def _of_flags(self, key: str) -> Predicate | None:
        recent = self._view.recent
        fixed: dict[str, Predicate] = {
            "ALL": lambda _message: True,
            "RECENT": lambda message: message.uid in recent,
            "OLD": lambda message: message.uid not in recent,
            "NEW": lambda message: message.uid in recent and "\\Seen" not in message.flags,
        }
        if key in fixed:
            return fixed[key]
        if key in _FLAG_KEYS:
            return lambda message: _FLAG_KEYS[key] in message.flags
        if key.removeprefix("UN") in _FLAG_KEYS:
            return lambda message: _FLAG_KEYS[key.removeprefix("UN")] not in message.flags
        return None

    def _with_argument(self, key: str, args: Cursor) -> Predicate:
        args.sp()
        if key in ("KEYWORD", "UNKEYWORD"):
            flag = args.flag().lower()
            return lambda message: (flag in {f.lower() for f in message.flags}) == (key == "KEYWORD")
        if key in ("LARGER", "SMALLER"):
            size = args.number()
            return lambda message: len(message.body) > size if key == "LARGER" else len(message.body) < size
        if key == "MODSEQ":
            return self._modseq(args)
        if key in _DATE_KEYS:
            return _date_key(key, parse_date(args.astring()))
        if key in _HEADER_KEYS:
            return _header_key(key.encode("ascii"), args.astring(), self._holds)
        if key == "HEADER":
            name = args.astring()
            args.sp()
            return _header_key(name, args.astring(), self._holds)
        if key in ("BODY", "TEXT"):
            return _text_key(key, args.astring(), self._holds)
        if self._more is not None and (predicate := self._more(key, args)) is not None:
            return predicate
        raise BadCommand(f"Unknown search key {key}")

    def _modseq(self, args: Cursor) -> Predicate:
        if args.peek(b'"'):
            # A metadata entry and its type: the simulator has one modification sequence per message for all.
            args.string()
            args.sp()
            args.word()
            args.sp()
        least = args.mod_sequence()
        self._on_modseq()
        return lambda message: message.modseq >= least


def _all_of(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda message: all(part(message) for part in parts)


def _date_key(key: str, day: date) -> Predicate:
    kind = key.removeprefix("SENT")
    sent = key != kind

    def holds(message: SimMessage) -> bool:
        own = _sent_date(message.body) if sent else message.date.date()
        if own is None:
            return False
        return {"BEFORE": own < day, "ON": own == day, "SINCE": own >= day}[kind]

    return holds


def _sent_date(body: bytes) -> date | None:
    for name, line in header_fields(body):
        if name == b"date":
            try:
                return parsedate_to_datetime(
                    line.partition(b":")[2].strip().decode("ascii", "replace")
                ).date()
            except ValueError:
                return None  # a malformed Date matches no date, as on real servers
    return None


def _header_key(name: bytes, wanted: bytes, holds: Callable[[bytes, bytes], bool]) -> Predicate:
    name = name.lower()

    def matches(message: SimMessage) -> bool:
        for own, line in header_fields(message.body):
            if own == name and holds(re.sub(rb"\r?\n(?=[ \t])", b"", line.partition(b":")[2]), wanted):
                return True
        return False

    return matches


def _text_key(key: str, wanted: bytes, holds: Callable[[bytes, bytes], bool]) -> Predicate:
    def matches(message: SimMessage) -> bool:
        return holds(message.body if key == "TEXT" else split_message(message.body)[1], wanted)

    return matches
