"""Commands that change what a connection is, COMPRESS and UNAUTHENTICATE, or lead away from it, GETJMAPACCESS.

Not part of `commands`: import this module where it is used.
"""

from __future__ import annotations

from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, Taken
from mailtwin.imap.encode import Encoder
from mailtwin.imap.extensions import JmapAccess
from mailtwin.imap.pipelining import Trait


class Compress(Command):
    """COMPRESS DEFLATE (RFC 4978 section 3). All bytes behind its OK are raw DEFLATE, in both directions.

    Deflating and inflating is the transport's business; what was received behind the reply is to be inflated.
    """

    __slots__ = ()
    verb = "COMPRESS"
    traits = Trait.ALONE

    def encode(self, out: Encoder) -> None:
        out.raw("COMPRESS DEFLATE")


class Unauthenticate(Command):
    """UNAUTHENTICATE (RFC 8437): logs out and stays connected. What was selected, enabled, announced is forgotten."""

    __slots__ = ()
    verb = "UNAUTHENTICATE"
    traits = Trait.ALONE
    kinds = (r.Capability,)


class GetJmapAccess(Command):
    """GETJMAPACCESS (RFC 9698): where the same messages can be had by JMAP."""

    __slots__ = ()
    verb = "GETJMAPACCESS"
    traits = Trait.ANONYMOUS
    answers = frozenset({"JMAPACCESS"})

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Other) and isinstance(response.value, JmapAccess)
