"""Where each key and value stands in a TOML text: the standard library's reader does not tell.

Only used when a mistake has to be shown, on a text that `tomllib` accepted; so this scanner need not find mistakes
itself, only never run past the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text; both count from 1, columns in characters."""

    line: int
    column: int


START = Position(1, 1)

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Positions:
    """The index of one text. Paths are those of the keys from the root down; array elements count from `0`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._keys: dict[KeyPath, int] = {}
        self._values: dict[KeyPath, int] = {}
        self._document()

    def key(self, path: KeyPath) -> Position:
        """Where the key `path` is written, or the nearest table around it."""
        return self._nearest(path, self._keys)

    def value(self, path: KeyPath) -> Position:
        """Where the value of `path` begins, or the nearest table around it."""
        return self._nearest(
            path, self._values | {p: at for p, at in self._keys.items() if p not in self._values}
        )

    def _nearest(self, path: KeyPath, index: dict[KeyPath, int]) -> Position:
        for length in range(len(path), 0, -1):
            if path[:length] in index:
                return self._position(index[path[:length]])
        return START

    def _position(self, at: int) -> Position:
        return Position(self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at))

    def _document(self) -> None:
        table: KeyPath = ()
        counts: dict[KeyPath, int] = {}
        self._blank()
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header(counts)
            else:
                self._assignment(table)
            self._blank()

    def _header(self, counts: dict[KeyPath, int]) -> KeyPath:
        start = self._at
        double = self._text.startswith("[[", start)
        self._at += 2 if double else 1
        path = self._key_path()
        self._at += 2 if double else 1
        for length in range(1, len(path) + 1):
            self._keys.setdefault(path[:length], start)
        if double:
            counts[path] = counts.get(path, -1) + 1
            path = (*path, str(counts[path]))
            self._keys[path] = start
        return path

    def _assignment(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for part in self._key_path():
            path = (*path, part)
            self._keys.setdefault(path, start)
        self._keys[path] = start
        self._at += 1  # the equals sign, where _key_path stopped
        self._blank()
        self._value(path)

    def _key_path(self) -> KeyPath:
        """A dotted key; stops in front of `=` or `]`."""
        parts: list[str] = []
        while self._at < len(self._text):
            self._blank()
            if bare := _BARE.match(self._text, self._at):
                parts.append(bare[0])
                self._at = bare.end()
            elif quoted := _STRING.match(self._text, self._at):
                parts.append(_unquote(quoted[0]))
                self._at = quoted.end()
            self._blank()
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
        return tuple(parts)

    def _value(self, path: KeyPath) -> None:
        self._values[path] = self._at
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._sequence(path, "]")
        elif opening == "{":
            self._sequence(path, "}")
        else:
            token = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = token.end() if token else len(self._text)

    def _sequence(self, path: KeyPath, closing: str) -> None:
        """An array or an inline table, from its opening bracket to behind its closing one."""
        self._at += 1
        count = 0
        self._blank()
        while self._at < len(self._text) and not self._text.startswith(closing, self._at):
            if closing == "}":
                self._assignment(path)
            else:
                self._value((*path, str(count)))
            count += 1
            self._blank()
            if self._text.startswith(",", self._at):
                self._at += 1
                self._blank()
        self._at += 1

    def _blank(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None
        self._at = blank.end()


def _unquote(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1]
    return _ESCAPE.sub(
        lambda m: _ESCAPES.get(m[1]) or (chr(int(m[1][1:], 16)) if len(m[1]) > 1 else m[1]), text[1:-1]
    )
