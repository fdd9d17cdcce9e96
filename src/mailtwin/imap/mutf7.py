"""Modified UTF-7, the spelling of mailbox names outside ASCII (RFC 3501 section 5.1.3).

Both directions are total on what servers send: `encode(decode(name)) == name` for every name, so that a mailbox with
a damaged name can still be selected. A byte that is not modified UTF-7 where it stands (an `&` that begins nothing,
a control character, a byte above 0x7E) becomes U+DC00 + byte, as `surrogateescape` does for bytes above 0x7F. Such a
text is no valid Unicode: show and store it with an error handler, and never give it to another server.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

_RUN = re.compile(rb"&([A-Za-z0-9+,]*+)-|[\x20-\x25\x27-\x7e]++|.", re.DOTALL)
_PIECE = re.compile("[\x20-\x25\x27-\x7e]+|&|[\udc00-\udcff]+|[^\x20-\x7e\udc00-\udcff]+")
_RAW = 0xDC00


def encode(name: str) -> bytes:
    """`name` in modified UTF-7. Raises UnicodeEncodeError for a surrogate that `decode` does not produce."""
    return b"".join(_encode_piece(piece) for piece in _PIECE.findall(name))


def _encode_piece(piece: str) -> bytes:
    if piece == "&":
        return b"&-"
    if piece.isascii() and piece.isprintable():
        return piece.encode("ascii")
    if _RAW <= ord(piece[0]) <= _RAW + 0xFF:
        return bytes(ord(char) - _RAW for char in piece)
    return _shift(piece)


def _shift(text: str) -> bytes:
    encoded = b2a_base64(text.encode("utf-16-be"), newline=False)
    return b"&" + encoded.rstrip(b"=").replace(b"/", b",") + b"-"


def decode(name: bytes) -> str:
    """The text of `name`, with raw bytes where it is not modified UTF-7 in the one form that `encode` writes."""
    pieces: list[str] = []
    shifted = False
    for match in _RUN.finditer(name):
        run, code = match[0], match[1]
        if code is None:
            text = run.decode("ascii") if 0x20 <= run[0] <= 0x7E and run != b"&" else chr(_RAW + run[0])
            shifted = False
        elif not code:
            text, shifted = "&", False
        else:
            # Two runs side by side would be written as one.
            found = None if shifted else _unshift(code)
            shifted = found is not None
            text = chr(_RAW + ord("&")) + run[1:].decode("ascii") if found is None else found
        pieces.append(text)
    return "".join(pieces)


def _unshift(code: bytes) -> str | None:
    padded = code.replace(b",", b"/") + b"=" * (-len(code) % 4)
    try:
        text = a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except ValueError:
        return None
    plain = any("\x20" <= char <= "\x7e" for char in text)
    return None if plain or _shift(text) != b"&" + code + b"-" else text


def is_exact(name: str) -> bool:
    """Whether `decode` understood all of it: the name is valid Unicode and can be given to another server."""
    return not any("\ud800" <= char <= "\udfff" for char in name)
