"""The kept inputs: small files, each named after what it is about."""

from __future__ import annotations

import re
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")

TARGET_NAMES = ("connection", "cost", "framing", "responses", "words")


def inputs(target: str) -> dict[str, bytes]:
    """The kept inputs of `target` by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def words() -> list[bytes]:
    """The words of `words.dict`, which libFuzzer reads too."""
    text = (CORPUS / "words.dict").read_text("ascii")
    quoted = re.findall(r'^"((?:[^"\\]|\\.)*)"$', text, re.MULTILINE)
    return [_ESCAPE.sub(_unescaped, word.encode()) for word in quoted]


_ESCAPE = re.compile(rb'\\(x[0-9A-Fa-f]{2}|["\\])')


def _unescaped(escape: re.Match[bytes]) -> bytes:
    word = escape[1]
    return bytes([int(word[1:], 16)]) if word[:1] == b"x" else word
