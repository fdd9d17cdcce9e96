"""The words of a response: strings, atoms, numbers and lists (RFC 9051 section 4), read from a frame one by one.

Every word is one match of a compiled pattern, never a loop over bytes, and no pattern goes back over what it passed.
What is odd but has only one meaning is accepted; what is not is `Malformed`, which never leaves the parser.

Read next: `mailtwin.imap.parser`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mailtwin.imap.framing import Frame
from mailtwin.imap.responses import BodyValue, Streamed, Value
from mailtwin.model.limits import NESTING_MAX

UINT32_MAX = 2**32 - 1
INT63_MAX = 2**63 - 1
"""Modification sequences and sizes (RFC 7162 section 7, RFC 9051 section 9): what a signed 64-bit integer holds."""

VALUES_MAX = 1_000_000
"""Words in the lists of one response that nobody interprets: what the memory for them may cost."""

FLAGS_MAX = 100_000
"""Flags in one list: servers keep some hundred keywords at most."""

_NUMBER_DIGITS_MAX = 20
_CACHED_FLAGS_BYTES_MAX = 256

_SPACE = re.compile(rb"[ \t\r\0]*+")
_VALUE = re.compile(
    rb'[ \t\r\0]*+(?:(\()|(\))|"((?:[^"\\]|\\.)*+)"|([^ \t\r\0()"][^ \t\r\0()]*+)|\Z)', re.DOTALL
)
_OPEN, _CLOSE, _QUOTED, _ATOM = 1, 2, 3, 4
_ESCAPE = re.compile(rb'\\(["\\])')
_FLAGS = re.compile(rb'[ \t]*+\(([^()"]*+)\)')
# Only the last quote of a line can be without its twin, so looking for it costs one look. No escapes, for that reason.
_FLAGS_ODD = re.compile(rb'[ \t]*+\(((?:"[^"]*+"|[^()]|\([^()]*+\))*+)\)')
_FLAG_ODD = re.compile(rb'"[^"]*+"|[^\s()]*+(?:\([^\s()]*+\))?[^\s()]*+')


class Malformed(ValueError):
    """This response does not say anything; the message says why."""


class Reader:
    """A position in a frame. Every method leaves it after what it returned, or raises `Malformed`."""

    __slots__ = ("_index", "_literals", "_segments", "_values", "pos", "text")

    def __init__(self, frame: Frame, pos: int = 0) -> None:
        self._segments = frame.segments
        self._literals = frame.literals
        self._index = 0
        self._values = 0
        self.text = frame.segments[0]
        self.pos = pos

    def fork(self) -> Reader:
        """Another reader at the same place."""
        other = Reader(Frame(self._segments, self._literals, is_text=False), self.pos)
        other.text, other._index, other._values = self.text, self._index, self._values
        return other

    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return self._at_segment_end() and self._index == len(self._literals)

    def _at_segment_end(self) -> bool:
        match = _SPACE.match(self.text, self.pos)
        return match is not None and match.end() == len(self.text)

    def expect_end(self) -> None:
        """Nothing may follow: what does is a sign that something before it was misread."""
        if not self.at_end():
            raise Malformed("there is more than there should be")

    def take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """What `pattern` matches here; otherwise None and nothing moves."""
        match = pattern.match(self.text, self.pos)
        if match is not None:
            self.pos = match.end()
        return match

    def literal(self) -> bytes | Streamed | None:
        """The literal that comes next; None if there is none here."""
        if not self.literal_follows():
            return None
        literal = self._literals[self._index]
        self._index += 1
        self.text = self._segments[self._index]
        self.pos = 0
        return literal

    def literal_follows(self) -> bool:
        """Whether the next word is a literal."""
        return self._index < len(self._literals) and self._at_segment_end()

    def value(self) -> Value:
        """One string, atom, number, NIL or whole list."""
        stack: list[list[Value]] = []
        while True:
            match = _VALUE.match(self.text, self.pos)
            if match is None:
                raise Malformed("a quoted string has no end")
            kind = match.lastindex
            if kind == _OPEN:
                if len(stack) >= NESTING_MAX:
                    raise Malformed(f"lists are nested more than {NESTING_MAX} deep")
                stack.append([])
                self.pos = match.end()
                continue
            if kind == _CLOSE:
                if not stack:
                    raise Malformed("a value is missing")
                value: Value = tuple(stack.pop())
                self.pos = match.end()
            else:
                value = self._plain(match)
            self.count()
            if not stack:
                return value
            stack[-1].append(value)

    def count(self) -> None:
        """One more value; raises `Malformed` above `VALUES_MAX`."""
        self._values += 1
        if self._values > VALUES_MAX:
            raise Malformed(f"it has more than {VALUES_MAX} values")

    def _plain(self, match: re.Match[bytes]) -> Value:
        if match.lastindex is None:
            return self._short_literal()
        self.pos = match.end()
        if match.lastindex == _QUOTED:
            return unescape(match[_QUOTED])
        return atom_value(match[_ATOM])

    def _short_literal(self) -> bytes:
        literal = self.literal()
        if literal is None:
            raise Malformed("it ends too early")
        if isinstance(literal, Streamed):
            raise Malformed("a literal is too large for its place")
        return literal

    def string(self) -> bytes:
        """A string or an atom, whatever it looks like: `NIL` and `12` are words here."""
        match = _VALUE.match(self.text, self.pos)
        if match is None or match.lastindex in (_OPEN, _CLOSE):
            raise Malformed("a string is missing")
        if match.lastindex is None:
            return self._short_literal()
        self.pos = match.end()
        return unescape(match[_QUOTED]) if match.lastindex == _QUOTED else match[_ATOM]

    def body(self) -> BodyValue:
        """The content of a body section: a literal, a quoted string or NIL, never an atom."""
        self.count()
        literal = self.literal()
        if literal is not None:
            return literal
        match = _VALUE.match(self.text, self.pos)
        if match is not None and match.lastindex == _QUOTED:
            self.pos = match.end()
            return unescape(match[_QUOTED])
        if match is not None and match.lastindex == _ATOM and match[_ATOM].upper() == b"NIL":
            self.pos = match.end()
            return None
        raise Malformed("a body section has no content")

    def flags(self) -> tuple[str, ...] | None:
        """A list of flags, also with characters that no flag may have; None if this is none.

        A quoted flag is taken without its quotes, but nothing with white space in it is a flag.
        """
        match = self.take(_FLAGS)
        if match is not None:
            return flag_names(match[1])
        match = _FLAGS_ODD.match(self.text, self.pos)
        if match is None:
            return None
        words = [word.strip(b'"') if word[:1] == b'"' else word for word in _FLAG_ODD.findall(match[1])]
        names = [word for word in words if word]
        if any(name.split() != [name] for name in names):
            return None
        self.pos = match.end()
        return tuple(map(to_text, _checked_flags(names)))


def unescape(quoted: bytes) -> bytes:
    """The content of a quoted string; a backslash before anything but `"` and `\\` stands for itself."""
    return _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def atom_value(atom: bytes) -> Value:
    """An atom: NIL, a number if it is written as one and nothing is lost by it, else itself."""
    if atom.isdigit():
        return (
            int(atom) if len(atom) <= _NUMBER_DIGITS_MAX and (atom[0] != ord("0") or len(atom) == 1) else atom
        )
    return None if atom.upper() == b"NIL" else atom


def number(digits: bytes, *, low: int = 0, high: int = UINT32_MAX) -> int:
    """A checked number; `Malformed` outside low..high. Never converts more than 20 digits."""
    if digits.isdigit() and len(digits) <= _NUMBER_DIGITS_MAX:
        value = int(digits)
        if low <= value <= high:
            return value
    raise Malformed(f"not a number from {low} to {high}: {digits[:30]!r}")


def flag_names(raw: bytes) -> tuple[str, ...]:
    """The flags in `raw`, which white space separates. Raises `Malformed` for more than `FLAGS_MAX`."""
    return _flag_names(raw) if len(raw) <= _CACHED_FLAGS_BYTES_MAX else _split_flags(raw)


def _split_flags(raw: bytes) -> tuple[str, ...]:
    return tuple(map(to_text, _checked_flags(raw.split())))


def _checked_flags(words: list[bytes]) -> list[bytes]:
    if len(words) > FLAGS_MAX:
        raise Malformed(f"more than {FLAGS_MAX} flags")
    return words


# Most messages of a mailbox have one of a few sets of flags. Bounded in number, and in size by `flag_names`.
_flag_names = lru_cache(maxsize=4096)(_split_flags)


def to_text(word: bytes) -> str:
    """A word for which the wire promises ASCII: else UTF-8, else Latin-1, so that it can be stored and compared."""
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        return word.decode("latin-1")


def to_bytes(value: Value) -> bytes:
    """A string again, where `Reader.value` took its digits for a number."""
    if isinstance(value, int):
        return b"%d" % value
    if not isinstance(value, bytes):
        raise Malformed("a string is missing")
    return value
