"""The IMAP wire protocol as a pure kernel: bytes in, events out; no socket, clock or log.

Usable alone, with nothing but the standard library. In the order of the data's way: `framing` (bytes to frames),
`parser` (frames to `responses`), `state` (what they make true), `connection` (which command they answer); and back:
`commands`, `encode`, `outgoing`. `quirks` names what servers do that no RFC says.

What few sessions need is imported by those that do: `extensions`, `fetchdata`, `rarecodes` (what rarer responses,
attributes and codes say), `linelimits` (how long a command may be), `needs` (what has to be announced for it), the
rarer modules of `commands`.
`python -m mailtwin.imap parse` shows what a server said as JSON.
"""

from mailtwin.imap import commands, responses
from mailtwin.imap.connection import Connection, Ended, Event, Greeting, Received
from mailtwin.imap.encode import OpenRange
from mailtwin.imap.framing import LiteralChunk, LiteralStart
from mailtwin.imap.outgoing import Handle
from mailtwin.imap.sasl import Mechanism, Secret
from mailtwin.imap.state import Phase, SelectedMailbox, SessionState
from mailtwin.model.flags import is_flag

__all__ = [
    "Connection",
    "Ended",
    "Event",
    "Greeting",
    "Handle",
    "LiteralChunk",
    "LiteralStart",
    "Mechanism",
    "OpenRange",
    "Phase",
    "Received",
    "Secret",
    "SelectedMailbox",
    "SessionState",
    "commands",
    "is_flag",
    "responses",
]
