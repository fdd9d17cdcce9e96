"""Why the bytes of one message differ between two servers, where that can be told from the bytes alone.

Some servers write anew what they are given: Dovecot and Courier turn bare line feeds into CRLF, Courier ends the last
line, Cyrus masks 8-bit bytes in header lines. That is no corruption, and no copy can undo it. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import combinations

_LINE_END = re.compile(rb"\r*\n|\r")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_MASKED = bytes(range(128)) + b"X" * 128


def _line_ends(data: bytes) -> bytes:
    return _LINE_END.sub(b"\r\n", data)


def _header_bytes(data: bytes) -> bytes:
    end = _HEADER_END.search(data)
    at = len(data) if end is None else end.start()
    return data[:at].translate(_MASKED) + data[at:]


def _last_line(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\r\n"


_REWRITINGS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("line ends", _line_ends),
    ("8-bit bytes in the header", _header_bytes),
    ("the end of the last line", _last_line),
)


def why_bytes_differ(left: bytes, right: bytes) -> str:
    """What a server's rewriting explains, or where the first difference is; the bytes must differ."""
    for count in range(1, len(_REWRITINGS) + 1):
        for chosen in combinations(_REWRITINGS, count):
            forms = [form for _, form in chosen]
            normal = _apply(forms, left)
            if normal == _apply(forms, right):
                what = " and ".join(name for name, _ in chosen)
                where = " on the left" if normal == left else " on the right" if normal == right else ""
                return f"the same but for {what}, as servers write them anew{where}"
    at = _first_difference(left, right)
    end = _HEADER_END.search(left)
    part = "body" if end is not None and at >= end.end() else "header"
    return f"they differ first at byte {at}, in the {part}"


def _apply(forms: Sequence[Callable[[bytes], bytes]], data: bytes) -> bytes:
    for form in forms:
        data = form(data)
    return data


def _first_difference(left: bytes, right: bytes) -> int:
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
