"""A command as a person, or a program that knows better, wrote it."""

from __future__ import annotations

from dataclasses import dataclass

from mailtwin.imap.commands.base import Asked, Command, Taken
from mailtwin.imap.encode import Encoder
from mailtwin.imap.pipelining import Trait


@dataclass(frozen=True, slots=True)
class Raw(Command):
    """Any command: `parts` are text, literal, text, literal ... as it is to be written, without tag and final CRLF.

    It takes every untagged response until its reply, is alone on the connection, and the session's state does not
    follow what it does: after a `SELECT` of this kind no mailbox counts as selected. Not for STARTTLS, AUTHENTICATE,
    IDLE and COMPRESS, which are more than a line and an answer.
    """

    verb = "RAW"
    traits = Trait.ALONE

    parts: tuple[bytes, ...]

    def encode(self, out: Encoder) -> None:
        for at, part in enumerate(self.parts):
            if at % 2:
                out.literal(part, len(part))
            else:
                out.written(part)

    def takes(self, _response: Taken, _asked: Asked, /) -> bool:
        return True
