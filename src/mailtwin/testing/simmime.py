"""Just enough of a message's form for a simulated server: header and text, header fields."""

from __future__ import annotations

import re

__all__ = ["header_fields", "render_anew", "split_message"]

_HEADER_END = re.compile(rb"\A\r?\n|\r?\n\r?\n")
_FIELD = re.compile(rb"[^\r\n]*(?:\r?\n|\Z)(?:[ \t][^\r\n]*(?:\r?\n|\Z))*")


def split_message(body: bytes) -> tuple[bytes, bytes]:
    """The header with the empty line that ends it, and the text. Without an empty line all is header."""
    match = _HEADER_END.search(body)
    if match is None:
        return body, b""
    return body[: match.end()], body[match.end() :]


def header_fields(body: bytes) -> list[tuple[bytes, bytes]]:
    """Each header field: its name in lower case (empty without a colon), and its bytes with continuation lines."""
    header = split_message(body)[0]
    fields = []
    for match in _FIELD.finditer(header):
        raw = match[0]
        if raw.strip(b"\r\n"):
            name, colon, _ = raw.partition(b":")
            fields.append((name.strip().lower() if colon else b"", raw))
    return fields


def render_anew(body: bytes) -> bytes:
    """The message as a server would write it that keeps properties instead of bytes: header fields unfolded, blanks at
    the end of lines gone, CRLF everywhere."""
    header, text = split_message(body)
    unfolded = re.sub(rb"\r?\n[ \t]+", b" ", header)
    lines = re.split(rb"\r\n|\n|\r", unfolded + text)
    return b"\r\n".join(line.rstrip(b" \t") for line in lines)
