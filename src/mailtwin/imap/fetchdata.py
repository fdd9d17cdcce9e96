"""What the attributes in `Fetch.extra` mean, read on demand: the hot path never comes here.

`read` raises `Malformed` for a value that does not say what its RFC lets it say; a command that takes such a response
is incomplete (`connection`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mailtwin.imap.bodystructure import read_structure
from mailtwin.imap.envelope import nstring, read_envelope
from mailtwin.imap.fetch import parse_date
from mailtwin.imap.responses import Value
from mailtwin.imap.tokens import UINT32_MAX, Malformed, number, to_bytes, to_text


def read(name: str, value: Value) -> object:
    """The value of the attribute `name` (upper case): typed where it is known, else as it is. Raises `Malformed`.

    ENVELOPE: Envelope. BODY, BODYSTRUCTURE: Structure. EMAILID, THREADID (RFC 8474): str, THREADID also None.
    OBJECTID (OBJECTID+, which is to follow it): identifiers by upper-case name.
    SAVEDATE (RFC 8514): datetime or None. PREVIEW (RFC 8970): bytes or None. BINARY.SIZE[..] (RFC 3516): int.
    X-GM-MSGID, X-GM-THRID: int. X-GM-LABELS: tuple of bytes in modified UTF-7, special ones with a backslash.
    """
    reader = _READERS.get(name.partition("[")[0])
    return value if reader is None else reader(value)


def _object_id(value: Value) -> str:
    if not isinstance(value, tuple) or len(value) != 1:
        raise Malformed("not an object identifier")
    return to_text(to_bytes(value[0]))


def _object_ids(value: Value) -> dict[str, str]:
    if not isinstance(value, tuple) or len(value) % 2:
        raise Malformed("not names with object identifiers")
    words = [to_text(to_bytes(word)) for word in value]
    return {name.upper(): identifier for name, identifier in zip(words[::2], words[1::2], strict=True)}


def _thread_id(value: Value) -> str | None:
    return None if value is None else _object_id(value)


def _date(value: Value) -> datetime | None:
    if value is None:
        return None
    date = parse_date(to_text(to_bytes(value)))
    if date is None:
        raise Malformed("not a date")
    return date


def _size(value: Value) -> int:
    return number(to_bytes(value), high=UINT32_MAX)


def _number64(value: Value) -> int:
    return number(to_bytes(value), high=2**64 - 1)


def _labels(value: Value) -> tuple[bytes, ...]:
    if not isinstance(value, tuple):
        raise Malformed("not a list of labels")
    # An unquoted NIL is a label like any other.
    return tuple(b"NIL" if item is None else to_bytes(item) for item in value)


_READERS: dict[str, Callable[[Value], object]] = {
    "BINARY.SIZE": _size,
    "BODY": read_structure,
    "BODYSTRUCTURE": read_structure,
    "EMAILID": _object_id,
    "OBJECTID": _object_ids,
    "ENVELOPE": read_envelope,
    "PREVIEW": nstring,
    "SAVEDATE": _date,
    "THREADID": _thread_id,
    "X-GM-LABELS": _labels,
    "X-GM-MSGID": _number64,
    "X-GM-THRID": _number64,
}
