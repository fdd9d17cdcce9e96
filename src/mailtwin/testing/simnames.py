"""Mailbox names on the wire of a simulated server: modified UTF-7, separator, prefix, LIST patterns.

The mail store knows `Work/2026`; a server with the separator `.` and the prefix `INBOX.` shows `INBOX.Work.2026`.
"""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["Names", "decode_mutf7", "encode_mutf7", "list_pattern"]

_PLAIN_RUN = re.compile(r"[\x20-\x7e]+|[^\x20-\x7e]+")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode_mutf7(name: str) -> bytes:
    """RFC 3501 section 5.1.3: printable ASCII as it is, `&` as `&-`, all else as base64 of UTF-16."""
    out = []
    for run in _PLAIN_RUN.findall(name):
        if " " <= run[0] <= "~":
            out.append(run.encode("ascii").replace(b"&", b"&-"))
        else:
            coded = base64.b64encode(run.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
            out.append(b"&" + coded + b"-")
    return b"".join(out)


def decode_mutf7(raw: bytes) -> str:
    """The inverse of `encode_mutf7`. ValueError for 8-bit bytes, an open shift or bad base64."""
    if any(not 0x20 <= byte <= 0x7E for byte in raw):
        raise ValueError("a mailbox name has bytes that modified UTF-7 does not use")
    if b"&" in _SHIFTED.sub(b"", raw):
        raise ValueError("a mailbox name has an & that begins nothing")
    out, end = "", 0
    for match in _SHIFTED.finditer(raw):
        out += raw[end : match.start()].decode("ascii") + _decode_shifted(match[1])
        end = match.end()
    return out + raw[end:].decode("ascii")


def _decode_shifted(coded: bytes) -> str:
    if not coded:
        return "&"
    padded = coded.replace(b",", b"/") + b"=" * (-len(coded) % 4)
    try:
        return base64.b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as bad:
        raise ValueError("a mailbox name has bad modified UTF-7") from bad


class Names:
    """The mapping between the store's names and the wire's, for one separator and prefix."""

    def __init__(self, separator: str, prefix: str) -> None:
        self.separator = separator
        self.prefix = prefix

    def to_wire(self, name: str) -> bytes:
        """The store's name as the server shows it, in modified UTF-7."""
        return encode_mutf7(self.shown(name))

    def shown(self, name: str) -> str:
        """The store's name with the server's prefix and separator. INBOX has no prefix."""
        if name == "INBOX":
            return name
        return self.prefix + name.replace("/", self.separator)

    def from_wire(self, raw: bytes) -> str:
        """The store's name of a name on the wire. ValueError when the server cannot have such a mailbox."""
        name = decode_mutf7(raw)
        if name.upper() == "INBOX":
            return "INBOX"
        if not name.startswith(self.prefix):
            raise ValueError(f"Mailbox names begin with {self.prefix}")
        name = name.removeprefix(self.prefix)
        if self.separator != "/" and "/" in name:
            raise ValueError("A mailbox name cannot hold /")
        return name.replace(self.separator, "/")


def list_pattern(pattern: str, separator: str) -> re.Pattern[str]:
    """RFC 3501 section 6.3.8: `*` matches anything, `%` anything within a level; INBOX matches in any case."""
    within = f"[^{re.escape(separator)}]*"
    parts = {"*": ".*", "%": within}
    # Runs of wildcards mean the same as one, and would make the regular expression slow.
    pattern = re.sub(r"[*%]*\*[*%]*", "*", re.sub("%+", "%", pattern))
    regex = "".join(parts.get(char) or re.escape(char) for char in pattern)
    if pattern.upper() == "INBOX":
        return re.compile("INBOX")
    return re.compile(regex, re.DOTALL)
