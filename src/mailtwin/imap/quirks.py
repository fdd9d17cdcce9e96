"""What servers do that the RFCs do not say, as named behaviours: how each is recognised and what we do about it.

Never a brand: a behaviour that one server is known for turns up in others. The table is what a reader and a test look
at; the functions below it are what the code asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailtwin.imap.responses import Status


@dataclass(frozen=True, slots=True)
class Quirk:
    """A behaviour: the sign by which it is recognised, our answer, and where it was seen."""

    name: str
    sign: str
    answer: str
    seen: str


QUIRKS = (
    Quirk(
        "enable-is-silent",
        "ENABLE of an advertised extension ends with OK and no `* ENABLED`",
        "what was asked for and is advertised counts as enabled",
        "iCloud (MailKit 1871)",
    ),
    Quirk(
        "initial-response-refused",
        "AUTHENTICATE with an initial response (SASL-IR advertised) ends with BAD",
        "the same mechanism again without the initial response",
        "Coremail: 126, 163 (io-imap 0.5.0)",
    ),
    Quirk(
        "append-refused-untagged",
        "untagged BAD, and no `+`, while an APPEND asks for leave to send its literal",
        "the APPEND has failed; a short wait for a tagged reply, then the connection is given up",
        "GMX (K-9 5558)",
    ),
    Quirk(
        "throttle-in-words",
        "a pause is asked for in human text, as a code in the wrong place, or in a BYE",
        "a pause, not an error (rule R16)",
        "Exchange Online, Gmail",
    ),
    Quirk(
        "back-end-missing",
        "the login was accepted and every command is answered `User is authenticated but not connected`",
        "unreachable for now, never a refusal of one command",
        "Exchange Online (MailKit 1494)",
    ),
)

LIMIT_CODES = frozenset({"MESSAGELIMIT", "THROTTLED", "LIMIT", "OVERQUOTA", "UNAVAILABLE", "INUSE"})
"""An answer that carries one of these may be short although it says OK (rule R8)."""

TEXT_SHOWN_MAX = 500

_PAUSE = re.compile(r"suggested backoff time: *([0-9]{1,12}) *milliseconds", re.IGNORECASE)
_THROTTLE = re.compile(
    r"request is throttled|too many simultaneous connections|\[throttled\]|bandwidth limits"
    r"|maximum number of connections|server unavailable\. 15|connection is closed\. 14",
    re.IGNORECASE,
)
_THROTTLE_CODES = frozenset({"THROTTLED", "LIMIT"})
# Without looking for the end of the code: it may never come, and the next one would be looked for just as far.
_CODE_IN_TEXT = re.compile(r"\[(" + "|".join(sorted(LIMIT_CODES)) + r")[ \]]")
_NOT_CONNECTED = re.compile(r"authenticated but not connected", re.IGNORECASE)
_PAUSE_S_MAX = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """The server asks for a pause; None: it did not say how long."""

    pause_s: float | None


def throttle_of(status: Status) -> Throttle | None:
    """The pause that a status response asks for, or None when it asks for none."""
    text = status.text.decode("utf-8", "replace")
    pause = _PAUSE.search(text)
    if pause:
        return Throttle(min(int(pause[1]) / 1000, _PAUSE_S_MAX))
    coded = status.code is not None and status.code.name in _THROTTLE_CODES
    return Throttle(None) if coded or _THROTTLE.search(text) else None


def limit_of(status: Status) -> str | None:
    """The code, in its place or in the text, by which a server admits that an answer may be short."""
    if status.code is not None and status.code.name in LIMIT_CODES:
        return status.code.name
    found = _CODE_IN_TEXT.search(status.text.decode("utf-8", "replace"))
    return found[1] if found else None


def is_back_end_missing(status: Status) -> bool:
    """Whether the server's front end lost what is behind it."""
    return _NOT_CONNECTED.search(status.text.decode("utf-8", "replace")) is not None


def text_of(text: bytes) -> str:
    """A server's text for people: decoded, without control characters, of bounded length."""
    shown = text[:TEXT_SHOWN_MAX].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in shown).strip()
