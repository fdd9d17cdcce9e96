"""Response codes that carry something and that few sessions meet; `codes` imports this module with the first of them.

Each converter takes the bytes behind the name and gives the arguments of `Code`; `ValueError` leaves the code raw.
"""

from __future__ import annotations

from collections.abc import Callable

from mailtwin.imap.framing import Frame
from mailtwin.imap.responses import Value
from mailtwin.imap.tokens import INT63_MAX, Malformed, Reader, number, to_bytes, to_text
from mailtwin.model.uidset import UidSet

Arguments = tuple[object, ...]


def _values(raw: bytes) -> tuple[Value, ...]:
    reader = Reader(Frame((raw,), (), is_text=False))
    values: list[Value] = []
    while not reader.at_end():
        values.append(reader.value())
    return tuple(values)


def _listed(raw: bytes) -> tuple[Value, ...]:
    values = _values(raw)
    if len(values) != 1 or not isinstance(values[0], tuple):
        raise Malformed("not one list")
    return values[0]


def _words(raw: bytes) -> Arguments:
    """BADCHARSET, BADEVENT: a list of words, or nothing."""
    return tuple(to_text(to_bytes(value)) for value in _listed(raw)) if raw else ()


def _string(raw: bytes) -> Arguments:
    """BADURL, JMAPACCESS, NOUPDATE, REFERRAL, UNDEFINED-FILTER: one string."""
    reader = Reader(Frame((raw,), (), is_text=False))
    word = reader.string()
    reader.expect_end()
    return (to_text(word),)


def _object_id(raw: bytes) -> Arguments:
    """MAILBOXID (RFC 8474 section 4.2)."""
    values = _listed(raw)
    if len(values) != 1:
        raise Malformed("not one identifier")
    return (to_text(to_bytes(values[0])),)


def _object_ids(raw: bytes) -> Arguments:
    """OBJECTID (OBJECTID+, which is to follow RFC 8474): names in upper case, each with its identifier."""
    values = tuple(to_text(to_bytes(value)) for value in _listed(raw))
    if not values or len(values) % 2:
        raise Malformed("not names with identifiers")
    return tuple(word if at % 2 else word.upper() for at, word in enumerate(values))


def _numbers(raw: bytes) -> Arguments:
    return tuple(number(word, high=INT63_MAX) for word in raw.split())


def _message_limit(raw: bytes) -> Arguments:
    """MESSAGELIMIT (RFC 9738 section 3): the limit, and perhaps the lowest UID that was still processed."""
    found = _numbers(raw)
    if len(found) not in (1, 2):
        raise Malformed("not a limit")
    return found


def _one_number(raw: bytes) -> Arguments:
    found = _numbers(raw)
    if len(found) != 1:
        raise Malformed("not one number")
    return found


def _modified(raw: bytes) -> Arguments:
    """MODIFIED (RFC 7162 section 3.1.3): the messages that a STORE left alone."""
    return (UidSet.parse(raw.decode("ascii")),)


def _progress(raw: bytes) -> Arguments:
    """INPROGRESS (RFC 9585 section 4): tag, how much is done, of how much; each may be None."""
    if not raw:
        return ()
    values = _listed(raw)
    if len(values) != 3:
        raise Malformed("not a progress")
    tag = None if values[0] is None else to_text(to_bytes(values[0]))
    counts = (None if value is None else number(to_bytes(value), high=INT63_MAX) for value in values[1:])
    return (tag, *counts)


def _metadata(raw: bytes) -> Arguments:
    """METADATA (RFC 5464 section 4.2 and 4.3): LONGENTRIES n, MAXSIZE n, TOOMANY, NOPRIVATE."""
    word, _, rest = raw.upper().partition(b" ")
    if word in (b"LONGENTRIES", b"MAXSIZE"):
        return (to_text(word), *_one_number(rest))
    if word in (b"TOOMANY", b"NOPRIVATE") and not rest:
        return (to_text(word),)
    raise Malformed("not a reason about annotations")


CONVERTERS: dict[str, Callable[[bytes], Arguments]] = {
    "BADCHARSET": _words,
    "BADEVENT": _words,
    "BADURL": _string,
    "INPROGRESS": _progress,
    "JMAPACCESS": _string,
    "MAILBOXID": _object_id,
    "MAXCONVERTMESSAGES": _one_number,
    "MAXCONVERTPARTS": _one_number,
    "MESSAGELIMIT": _message_limit,
    "METADATA": _metadata,
    "MODIFIED": _modified,
    "NOUPDATE": _string,
    "OBJECTID": _object_ids,
    "REFERRAL": _string,
    "UNDEFINED-FILTER": _string,
}
