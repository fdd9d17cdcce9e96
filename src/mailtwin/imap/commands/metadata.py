"""Annotations of mailboxes and of the server (RFC 5464). Not part of `commands`: import it where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, Taken
from mailtwin.imap.encode import Encoder, Name
from mailtwin.imap.extensions import Metadata, is_same_mailbox


@dataclass(frozen=True, slots=True)
class GetMetadata(Command):
    """GETMETADATA (RFC 5464 section 4.2) of `entries` such as `/private/comment`; mailbox "" is the server itself.

    `size_max`: leave out longer values (the reply's METADATA LONGENTRIES code says that there were). `depth`: how far
    below each entry to look. A value that is too large to be held makes the answer incomplete.
    """

    verb = "GETMETADATA"
    answers = frozenset({"METADATA"})

    mailbox: Name
    entries: tuple[str, ...]
    size_max: int | None = None
    depth: Literal["0", "1", "infinity"] | None = None

    def encode(self, out: Encoder) -> None:
        if not self.entries:
            raise LocalProtocolError("GETMETADATA needs an entry")
        out.raw("GETMETADATA ")
        if self.size_max is not None:
            out.raw("(MAXSIZE ").number(self.size_max)
            out.raw(f" DEPTH {self.depth}) " if self.depth is not None else ") ")
        elif self.depth is not None:
            out.raw(f"(DEPTH {self.depth}) ")
        out.name(self.mailbox).raw(" (")
        for at, entry in enumerate(self.entries):
            write_entry(out.raw(" " if at else ""), entry)
        out.raw(")")

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        """See `Command`. A METADATA with names only is news about a change, not an answer (section 4.4.2)."""
        value = response.value if isinstance(response, r.Other) else None
        return (
            isinstance(value, Metadata)
            and not value.changed
            and is_same_mailbox(self.mailbox, value.mailbox, utf8=asked.utf8)
        )


@dataclass(frozen=True, slots=True)
class SetMetadata(Command):
    """SETMETADATA (RFC 5464 section 4.3): entries and their new values, None removes; mailbox "" is the server."""

    verb = "SETMETADATA"

    mailbox: Name
    values: Mapping[str, bytes | None] = field(repr=False)

    def encode(self, out: Encoder) -> None:
        if not self.values:
            raise LocalProtocolError("SETMETADATA needs an entry")
        out.raw("SETMETADATA ").name(self.mailbox).raw(" (")
        for at, (entry, value) in enumerate(self.values.items()):
            write_entry(out.raw(" " if at else ""), entry)
            out.raw(" ")
            if value is None:
                out.raw("NIL")
            elif b"\r" in value or b"\n" in value or b"\0" in value:
                out.literal(value, len(value), binary=b"\0" in value)
            else:
                out.string(value)
        out.raw(")")


def write_entry(out: Encoder, entry: str) -> None:
    """The name of an entry (RFC 5464 section 3.2). Raises LocalProtocolError for what no entry may be called."""
    if not entry.startswith("/") or not entry.isascii() or any(char in "*%" or char < " " for char in entry):
        raise LocalProtocolError(f"not the name of an annotation: {entry[:80]!r}")
    out.string(entry)
