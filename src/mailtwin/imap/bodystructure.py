"""BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2) as values, read on demand from what a FETCH left in `Fetch.extra`.

A part's type, encoding and size must be what they should be, or nothing is (`Malformed`). Of what follows, which no
decision hangs on and servers get wrong most, a field that is none of its kind is None and stays in `extension`.

Types, encodings and names of parameters are lower case; all texts are bytes as the server wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mailtwin.imap.envelope import Envelope, nstring, read_envelope
from mailtwin.imap.responses import Value
from mailtwin.imap.tokens import INT63_MAX, Malformed, to_bytes, to_text

Parameters: TypeAlias = "Mapping[str, bytes]"

_ODD_NUMBER = re.compile(rb"-?[0-9][0-9.e+]{0,18}")


@dataclass(frozen=True, slots=True)
class Disposition:
    """Content-Disposition (RFC 2183): `inline`, `attachment` or another word, and its parameters."""

    kind: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extension:
    """What only BODYSTRUCTURE says of a part, as far as the server said it. `rest`: what could not be read."""

    disposition: Disposition | None = None
    languages: tuple[bytes, ...] = ()
    location: bytes | None = None
    rest: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Single:
    """A part without parts, or an attached message (`message`, its envelope and its structure).

    `octets` is the size in its transfer encoding, None where the server does not say. `lines`: of text and messages.
    """

    type: str
    subtype: str
    parameters: Parameters
    id: bytes | None
    description: bytes | None
    encoding: str
    octets: int | None
    lines: int | None = None
    envelope: Envelope | None = None
    message: Structure | None = None
    md5: bytes | None = None
    extension: Extension = Extension()


@dataclass(frozen=True, slots=True)
class Multipart:
    """Parts. Some servers say of an empty multipart that it has none."""

    parts: tuple[Structure, ...]
    subtype: str
    parameters: Parameters = field(default_factory=dict)
    extension: Extension = Extension()


Structure: TypeAlias = "Single | Multipart"


def read_structure(value: Value) -> Structure:
    """The structure that `value` is; as deep as the parser lets lists be. Raises `Malformed`."""
    if not isinstance(value, tuple) or not value:
        raise Malformed("a body structure is missing")
    if isinstance(value[0], tuple) or _is_empty_multipart(value):
        return _multipart(value)
    return _single(value)


def sections(structure: Structure) -> Iterator[tuple[str, Single]]:
    """Each part that has content, with the section by which BODY[section] fetches it (RFC 9051 section 6.4.5.1)."""
    yield from _sections(structure, "")


def _sections(structure: Structure, prefix: str) -> Iterator[tuple[str, Single]]:
    if isinstance(structure, Multipart):
        for at, part in enumerate(structure.parts, start=1):
            here = f"{prefix}{at}"
            if isinstance(part, Multipart):
                yield from _sections(part, f"{here}.")
            else:
                yield here, part
                if part.message is not None:
                    yield from _sections(part.message, f"{here}.")
    else:
        yield f"{prefix}1", structure
        if structure.message is not None:
            yield from _sections(structure.message, f"{prefix}1.")


# --- parts ---


def _is_empty_multipart(value: tuple[Value, ...]) -> bool:
    """`("MIXED" ("BOUNDARY" "x") ...)` or `(NIL "MIXED" ...)`: no part, then what follows the parts."""
    if value[0] is None:
        return len(value) > 1 and isinstance(value[1], bytes) and not _has_size(value)
    return len(value) > 1 and not isinstance(value[1], bytes | int) and not _has_size(value)


def _has_size(value: tuple[Value, ...]) -> bool:
    return len(value) > 6 and isinstance(value[6], int)


def _multipart(value: tuple[Value, ...]) -> Multipart:
    at = 0
    parts: list[Structure] = []
    while at < len(value) and isinstance(value[at], tuple):
        parts.append(read_structure(value[at]))
        at += 1
    if not parts and value[0] is None:
        at = 1
    if at >= len(value):
        raise Malformed("a multipart has no subtype")
    subtype = _word(value[at])
    parameters, rest = _parameters_first(value[at + 1 :])
    return Multipart(tuple(parts), subtype, parameters, _extension(rest))


def _parameters_first(rest: tuple[Value, ...]) -> tuple[Parameters, tuple[Value, ...]]:
    return (_parameters(rest[0]), rest[1:]) if rest else ({}, ())


def _single(value: tuple[Value, ...]) -> Single:
    if len(value) < 7:
        raise Malformed("a part has at least seven fields")
    main, subtype = _word(value[0]) or "application", _word(value[1]) or "octet-stream"
    rest = value[7:]
    lines: int | None = None
    envelope: Envelope | None = None
    message: Structure | None = None
    if main == "message" and subtype in ("rfc822", "global") and _looks_attached(rest):
        envelope = None if rest[0] is None else read_envelope(rest[0])
        message = None if rest[1] is None else read_structure(rest[1])
        lines, rest = _lines(rest[2:])
    elif main == "text" or (rest and isinstance(rest[0], int)):
        lines, rest = _lines(rest)
    md5, rest = _md5(rest)
    return Single(
        main,
        subtype,
        _parameters(value[2]),
        nstring(value[3]),
        nstring(value[4]),
        _word(value[5]) or "7bit",
        _count(value[6]),
        lines,
        envelope,
        message,
        md5,
        _extension(rest),
    )


def _looks_attached(rest: tuple[Value, ...]) -> bool:
    """Whether an envelope and a structure follow, or two NILs and a number; servers also leave out all three."""
    if len(rest) < 2:
        return False
    envelope, message = rest[:2]
    if isinstance(envelope, tuple):
        return len(envelope) >= 10 and isinstance(message, tuple | None)
    if envelope is not None:
        return False
    if isinstance(message, tuple):
        # Not a disposition, which is a word and its parameters.
        return len(message) >= 7 or (bool(message) and isinstance(message[0], tuple))
    return message is None and len(rest) > 2 and isinstance(rest[2], int)


def _lines(rest: tuple[Value, ...]) -> tuple[int | None, tuple[Value, ...]]:
    """The number of lines, which may be NIL, or be left out where its place is taken."""
    if rest and (rest[0] is None or isinstance(rest[0], int) or _is_odd_number(rest[0])):
        return _count(rest[0]), rest[1:]
    return None, rest


def _is_odd_number(value: Value) -> bool:
    return isinstance(value, bytes) and _ODD_NUMBER.fullmatch(value) is not None


def _md5(rest: tuple[Value, ...]) -> tuple[bytes | None, tuple[Value, ...]]:
    # A list is the disposition: what comes before it was left out.
    if rest and not isinstance(rest[0], tuple):
        return nstring(rest[0]), rest[1:]
    return None, rest


def _extension(rest: tuple[Value, ...]) -> Extension:
    disposition = _disposition(rest[0]) if rest else None
    if rest and disposition is None and rest[0] not in (None, b""):
        return Extension(rest=rest)
    languages = _languages(rest[1]) if len(rest) > 1 else ()
    if languages is None:
        return Extension(disposition, rest=rest[1:])
    if len(rest) > 2 and isinstance(rest[2], tuple):
        return Extension(disposition, languages, rest=rest[2:])
    location = nstring(rest[2]) if len(rest) > 2 else None
    return Extension(disposition, languages, location, rest[3:])


# --- fields ---


def _disposition(value: Value) -> Disposition | None:
    """A disposition, also one that is a bare word; None for NIL and for anything else."""
    if isinstance(value, bytes):
        return Disposition(to_text(value).lower()) if value else None
    if not isinstance(value, tuple) or not value or not isinstance(value[0], bytes):
        return None
    parameters = value[1] if len(value) > 1 else None
    if len(value) > 2 or not _is_parameters(parameters):
        return None
    return Disposition(to_text(value[0]).lower(), _parameters(parameters))


def _languages(value: Value) -> tuple[bytes, ...] | None:
    """A language or a list of them; () for NIL, None for anything else."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        return tuple(item for item in value if isinstance(item, bytes)) if _is_flat(value) else None
    return (to_bytes(value),)


def _is_flat(value: tuple[Value, ...]) -> bool:
    return all(item is None or isinstance(item, bytes) for item in value)


def _is_parameters(value: Value) -> bool:
    return value is None or value == b"" or (isinstance(value, tuple) and not any(map(_is_list, value)))


def _is_list(value: Value) -> bool:
    return isinstance(value, tuple)


def _parameters(value: Value) -> Parameters:
    """Names and values; a name without a value has an empty one, and "" is no parameters."""
    if value is None or value == b"":
        return {}
    if not isinstance(value, tuple):
        raise Malformed("not a list of parameters")
    words = [nstring(item) or b"" for item in value]
    if len(words) % 2:
        words.append(b"")
    pairs = zip(words[::2], words[1::2], strict=True)
    return {to_text(name).lower(): text for name, text in pairs if name or text}


def _word(value: Value) -> str:
    """A word in lower case, "" for NIL."""
    return "" if value is None else to_text(to_bytes(value)).lower()


def _count(value: Value) -> int | None:
    """A number; None for NIL and for what can only be a number that went wrong (`-1`, `9.37e+06`)."""
    if isinstance(value, tuple):
        raise Malformed("a number is missing")
    return value if isinstance(value, int) and value <= INT63_MAX else None
