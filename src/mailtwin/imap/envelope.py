"""ENVELOPE (RFC 9051 section 7.5.2) as a value, read on demand from what a FETCH left in `Fetch.extra`.

Texts are bytes as in the header of the message: encoded words are not decoded, and `None` is a field that is missing.
Not here: asking for it. The synchroniser never does, since servers get it wrong (`mailtwin.imap.quirks`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtwin.imap.responses import Value
from mailtwin.imap.tokens import Malformed, to_bytes

_FIELDS = 10


@dataclass(frozen=True, slots=True)
class Address:
    """One address; `route` is obsolete. A group is a sequence: its start, its members, its end."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None

    @property
    def is_group_start(self) -> bool:
        """Whether this only says the name of the group that follows, in `mailbox`."""
        return self.host is None and self.mailbox is not None

    @property
    def is_group_end(self) -> bool:
        """Whether this only ends a group."""
        return self.host is None and self.mailbox is None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of a message's header that servers keep at hand."""

    date: bytes | None
    subject: bytes | None
    from_: tuple[Address, ...]
    sender: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    in_reply_to: bytes | None
    message_id: bytes | None


def read_envelope(value: Value) -> Envelope:
    """The envelope that `value` is. Raises `Malformed` when a field is missing or is none of its kind.

    Understood: "" and () for no addresses, NIL for an address, and whatever follows the ten fields.
    """
    if not isinstance(value, tuple) or len(value) < _FIELDS:
        raise Malformed("an envelope has ten fields")
    return Envelope(
        nstring(value[0]),
        nstring(value[1]),
        _addresses(value[2]),
        _addresses(value[3]),
        _addresses(value[4]),
        _addresses(value[5]),
        _addresses(value[6]),
        _addresses(value[7]),
        nstring(value[8]),
        nstring(value[9]),
    )


def nstring(value: Value) -> bytes | None:
    """A string, or None for NIL. Raises `Malformed` for a list."""
    return None if value is None else to_bytes(value)


def _addresses(value: Value) -> tuple[Address, ...]:
    if value is None or value == b"":
        return ()
    if not isinstance(value, tuple):
        raise Malformed("a list of addresses is missing")
    if len(value) == 1 and _is_nested(value[0]):
        # One pair of parentheses too many.
        return _addresses(value[0])
    return tuple(_address(item) for item in value if item is not None)


def _is_nested(value: Value) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, tuple) for item in value)


def _address(value: Value) -> Address:
    if not isinstance(value, tuple) or len(value) != 4:
        raise Malformed("an address has four fields")
    return Address(nstring(value[0]), nstring(value[1]), nstring(value[2]), nstring(value[3]))
