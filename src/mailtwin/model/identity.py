"""Who a message is, told from what a server shows cheaply, without changing the message.

Two messages are taken for the same only when both halves agree: the header fields that a person would know it by, and
a measure of its content (its size on the wire, or its digest where there is no Message-ID to rely on). The scanner
below looks at four header fields and never parses the message; the standard library's `email` is its test oracle.

The same identity adopts two populated sides, finds a message whose APPEND was cut off, and heals a lost database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

IDENTITY_FIELDS = ("message-id", "date", "from", "subject")
HEADER_BYTES_MAX = 256 * 1024
MESSAGE_ID_CHARS_MAX = 998

_WIRE_NAMES = {name.encode("ascii"): name for name in IDENTITY_FIELDS}
_CONTINUATIONS = b" \t"
_FIRST_BYTES = frozenset(b"\r\v\f" + b"".join(name[:1].lower() + name[:1].upper() for name in _WIRE_NAMES))
"""How a line with an identity field can begin; a look at one byte spares the rest of a long header."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """`headers` is a digest of the identity fields; `content` is `size:N` or `sha256:HEX` of the wire bytes.

    `has_message_id` says whether the headers alone are strong evidence.
    """

    headers: str
    content: str
    has_message_id: bool
    message_id: str = field(default="", compare=False)
    """For people; the digest of the headers counts."""

    @property
    def size(self) -> int | None:
        """The size on the wire in bytes, where it is what the content is measured by."""
        kind, _, measure = self.content.partition(":")
        return int(measure) if kind == "size" else None

    def resembles(self, other: Identity) -> bool:
        """Whether the headers alone say it is the same message: enough only for messages at or above a
        UID that was noted."""
        return self.has_message_id and self.headers == other.headers


def identity_of(header: bytes, size: int, sha256: str | None) -> Identity | None:
    """The identity of a message from its header bytes, its size in wire bytes (CRLF) and, if known, its digest.

    Returns None when the headers carry no Message-ID and no digest is given: the caller must read the body first.
    """
    return identity_from(header_fields(header), size, sha256)


def identity_from(fields: Mapping[str, bytes], size: int, sha256: str | None) -> Identity | None:
    """The same from the identity fields themselves."""
    has_message_id = bool(fields["message-id"])
    if not has_message_id and sha256 is None:
        return None
    digest = hashlib.sha256(b"".join([fields[name] + b"\0" for name in IDENTITY_FIELDS]))
    content = f"size:{size}" if has_message_id else f"sha256:{sha256}"
    return Identity(digest.hexdigest()[:32], content, has_message_id, message_id_of(fields))


def message_id_of(fields: Mapping[str, bytes]) -> str:
    """The Message-ID for people, "" where there is none; it may be anything, and is cut to a line's length."""
    return fields["message-id"].decode("utf-8", "replace")[:MESSAGE_ID_CHARS_MAX]


def header_fields(header: bytes | bytearray) -> dict[str, bytes]:
    """The first of each identity field in a header block, unfolded, white space collapsed; b"" where there is none.

    Lines may end in CRLF or LF; the scan stops at the first empty line or after 256 KiB.
    """
    found: dict[bytes, list[bytes]] = {}
    current: list[bytes] | None = None
    for line in bytes(header[:HEADER_BYTES_MAX]).split(b"\n"):
        if line[:1] in _CONTINUATIONS:
            # An empty piece is in every bytes: the header ends here.
            if not line:
                break
            if current is not None:
                current.append(line)
            continue
        current = None
        if line[0] in _FIRST_BYTES:
            line = line.rstrip(b"\r")
            if not line:
                break
            name, _, value = line.partition(b":")
            name = name.strip().lower()
            if name in _WIRE_NAMES and name not in found:
                current = found[name] = [value]
    return {
        name: b" ".join(b" ".join(found[wire]).split()) if wire in found else b""
        for wire, name in _WIRE_NAMES.items()
    }
