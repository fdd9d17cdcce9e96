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

SUBSTITUTE_BYTES_MAX = 16 * 1024
"""What a server hands out for a message that it cannot render is short."""

_PAUSE = re.compile(r"suggested backoff time: *([0-9]{1,12}) *milliseconds", re.IGNORECASE)
_THROTTLE = re.compile(
    r"request is throttled|too many simultaneous connections|\[throttled\]|bandwidth limits"
    r"|maximum number of connections|server unavailable\. 15|connection is closed\. 14",
    re.IGNORECASE,
)
_THROTTLE_CODES = frozenset({"THROTTLED", "LIMIT"})
_CODE_IN_TEXT = re.compile(r"\[(" + "|".join(sorted(LIMIT_CODES)) + r")\b[^\]]*\]")
_NOT_CONNECTED = re.compile(r"authenticated but not connected", re.IGNORECASE)
_UNSAFE_LOGIN = re.compile(r"unsafe login", re.IGNORECASE)
_SUBSTITUTE = re.compile(
    rb"^subject:[ \t]*retrieval using the imap4 protocol failed", re.IGNORECASE | re.MULTILINE
)
_ONE_AT_A_TIME = ("microsoft.exchange",)
_WINDOWS = {"XYMHIGHESTMODSEQ": 10_000}
_PAUSE_S_MAX = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """The server asks for a pause; None: it did not say how long."""

    pause_s: float | None


def throttle_of(status: Status) -> Throttle | None:
    """The pause that a status response asks for, or None when it asks for none."""
    asked = throttle_in(status.text)
    if asked is None and status.code is not None and status.code.name in _THROTTLE_CODES:
        return Throttle(None)
    return asked


def throttle_in(words: bytes) -> Throttle | None:
    """The pause that these words ask for; also of a line that is no IMAP response."""
    text = words.decode("utf-8", "replace")
    pause = _PAUSE.search(text)
    if pause:
        return Throttle(min(int(pause[1]) / 1000, _PAUSE_S_MAX))
    return Throttle(None) if _THROTTLE.search(text) else None


def limit_of(status: Status) -> str | None:
    """The code, in its place or in the text, by which a server admits that an answer may be short."""
    if status.code is not None and status.code.name in LIMIT_CODES:
        return status.code.name
    found = _CODE_IN_TEXT.search(status.text.decode("utf-8", "replace"))
    return found[1] if found else None


def is_back_end_missing(status: Status) -> bool:
    """Whether the server's front end lost what is behind it."""
    return _NOT_CONNECTED.search(status.text.decode("utf-8", "replace")) is not None


def is_id_wanted(status: Status) -> bool:
    """Whether a command was refused because the client has not said its name (RFC 2971)."""
    return status.word != "OK" and _UNSAFE_LOGIN.search(status.text.decode("utf-8", "replace")) is not None


def is_substitute(message: bytes) -> bool:
    """Whether these bytes, a whole message, are what a server hands out for one that it cannot render."""
    return len(message) <= SUBSTITUTE_BYTES_MAX and _SUBSTITUTE.search(message) is not None


def window_of(capabilities: frozenset[str]) -> int | None:
    """How many messages of a mailbox, the newest, a server with these capabilities shows at most; None: all.

    A mailbox that shows so many may hold more: what is missing below the lowest UID shown was not removed.
    """
    return min((count for name, count in _WINDOWS.items() if name in capabilities), default=None)


def takes_one_at_a_time(server_name: str) -> bool:
    """Whether a server that calls itself so (ID, RFC 2971) was seen to answer pipelined commands with BAD."""
    return server_name.lower().startswith(_ONE_AT_A_TIME)


def text_of(text: bytes) -> str:
    """A server's text for people: decoded, without control characters, of bounded length."""
    shown = text[:TEXT_SHOWN_MAX].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in shown).strip()
