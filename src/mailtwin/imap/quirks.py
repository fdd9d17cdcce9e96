"""What servers do that the RFCs do not say, as named behaviours: how each is recognised and what we do about it.

Never a brand: a behaviour that one server is known for turns up in others. The table is what a reader and a test look
at (`docs/servers.md` has the test of each); the functions below it are what the code asks. How long a command may be is
a table of its own, `linelimits`.
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
        "account-locked",
        "every command is refused with `Account exceeded command or bandwidth limits`",
        "a pause of a day, the longest that is documented: the run ends, and nobody logs in meanwhile",
        "Gmail",
    ),
    Quirk(
        "back-end-missing",
        "the login was accepted and every command is answered `User is authenticated but not connected`",
        "unreachable for now, never a refusal of one command",
        "Exchange Online (MailKit 1494)",
    ),
    Quirk(
        "capabilities-come-late",
        "capabilities come untagged or as a code, in any reply, and more of them after the login",
        "the last ones said hold; STARTTLS and a login forget them; asked for only when nobody says them (rule R1)",
        "Gmail, Proton Bridge",
    ),
    Quirk(
        "code-without-text",
        "a response code and nothing behind it",
        "the text is optional",
        "Gmail",
    ),
    Quirk(
        "odd-characters-in-flags",
        "brackets in flags and labels, labels that are not quoted",
        "understood where there is one possible sense",
        "Gmail",
    ),
    Quirk(
        "message-in-pieces",
        "several FETCH responses for one message, or an attribute twice",
        "merged by message (rule R3)",
        "Gmail",
    ),
    Quirk(
        "damaged-response",
        "a structure, an envelope or any other response that says nothing sensible",
        "that response is lost, its command incomplete, the session goes on (rule R7); stores ask for neither",
        "Gmail, Exchange, Domino, SmarterMail",
    ),
    Quirk(
        "short-answer-says-ok",
        "OK, and fewer messages than the mailbox holds, or a code that admits it",
        "nothing is concluded from what is missing (rules R8, R9)",
        "Gmail, Cyrus, Stalwart",
    ),
    Quirk(
        "window-on-a-mailbox",
        "a server of which it is known shows as many messages as its window has",
        "what lies below the lowest UID shown is not covered by the listing",
        "Yahoo (bichon 144)",
    ),
    Quirk(
        "message-withheld",
        "OK or NO without the body, NIL, or an empty body of a message that has a size",
        "asked for once more, alone; then that message's failure, and never an empty mail (rules R13, R17)",
        "iCloud, Yahoo, Yandex, Gmail",
    ),
    Quirk(
        "notice-instead-of-message",
        "a message that says that the message could not be retrieved",
        "that message's failure; the notice is not copied",
        "Exchange (OfflineIMAP 62)",
    ),
    Quirk(
        "size-is-a-guess",
        "RFC822.SIZE is not the number of octets that come",
        "the octets count (rule R13)",
        "Exchange, hMailServer, hydroxide",
    ),
    Quirk(
        "append-merges",
        "the APPENDUID of a message that was there before",
        "taken as it is: the place of the copy is that message",
        "Gmail (wildduck 555)",
    ),
    Quirk(
        "new-mail-hidden",
        "what was stored is not shown before a NOOP, or EXISTS does not come at all",
        "a NOOP behind the APPENDs; listings begin with a SELECT and end when they agree with EXISTS",
        "Gmail, Stalwart",
    ),
    Quirk(
        "name-refused",
        "a mailbox that cannot be made, or is listed and cannot be selected",
        "that mailbox's failure, with the server's words",
        "Gmail, GMX, iCloud",
    ),
    Quirk(
        "special-use-unannounced",
        "special uses in a plain LIST, in a language of the user's",
        "attributes are taken where they come; names mean nothing",
        "Gmail, Exchange",
    ),
    Quirk(
        "alert-with-a-link",
        "an ALERT, or a code of its own, that wants a person",
        "kept for people, with its link",
        "Gmail",
    ),
    Quirk(
        "bye-at-any-time",
        "BYE and the end, in the middle of anything",
        "an error at once with the server's words; the next login asks for the credentials anew",
        "Exchange, GMX, Gmail",
    ),
    Quirk(
        "idle-cut-off",
        "a session in IDLE is ended after five minutes",
        "IDLE is said again before, wherever one waits (`mailtwin.client.watch`)",
        "Yahoo",
    ),
    Quirk(
        "message-rewritten",
        "a message comes back with other octets, or another size, than it was stored with",
        "a copy is recognised above the noted UIDNEXT by the fields of its header alone; never by its octets alone",
        "Exchange (vandelay 12), Cyrus, Courier",
    ),
    Quirk(
        "list-options-refused",
        "LIST with options, announced: BAD, NO, or OK without a single mailbox",
        "the plain LIST, and a STATUS for each mailbox",
        "Exchange, Proton Bridge, Strato",
    ),
    Quirk(
        "keywords-dropped",
        "PERMANENTFLAGS without `\\*`",
        "what the server cannot hold is not missed there",
        "Exchange",
    ),
    Quirk(
        "copyuid-anywhere",
        "COPYUID in an untagged OK, without a condition, or of two empty sets",
        "taken from between the command and its reply, if it names its messages (rule R4)",
        "Exchange, Cyrus",
    ),
    Quirk(
        "words-that-are-no-imap",
        "a line without tag or `*`",
        "an event; when the end follows and the words ask for it, a pause",
        "Exchange (`Server Unavailable. 15`)",
    ),
    Quirk(
        "plus-in-company",
        "untagged responses before a `+`, or a `+` with nothing behind it",
        "only a tagged reply ends the wait (rule R5)",
        "Exchange, Dovecot",
    ),
    Quirk(
        "last-message-is-always-named",
        "`n:*` answers with the last message, however low its UID",
        "UIDs below n are not taken (RFC 9051 section 9)",
        "all",
    ),
    Quirk(
        "one-at-a-time",
        "pipelined commands are answered with BAD; known by the name in the ID",
        "one command in flight; 25 elsewhere",
        "Exchange (geary)",
    ),
    Quirk(
        "token-refused-by-challenge",
        "the error of an OAuth token comes as a `+`",
        "answered, and told with the reply (RFC 7628 section 3.2.3)",
        "Exchange, Gmail",
    ),
    Quirk(
        "rev2-announced",
        "IMAP4rev2 is announced, and incomplete",
        "never enabled: nothing is gained by it (rule R14)",
        "Exchange (MailKit 2016), Strato",
    ),
    Quirk(
        "namespace-ends-the-session",
        "the connection ends over NAMESPACE",
        "connected once more, without that question",
        "Exchange 2003 (MailKit 1512)",
    ),
    Quirk(
        "message-refused",
        "an APPEND refused for what the message is: its size, its header, its line ends",
        "that message's failure; its bytes are never changed (rules R12, R17)",
        "Exchange, Yahoo, Cyrus",
    ),
    Quirk(
        "refusals-end-the-session",
        "the connection ends after some commands were refused",
        "connected anew; what was refused for what it is is not sent again (rule R17)",
        "Exchange",
    ),
    Quirk(
        "modseq-without-condstore",
        "HIGHESTMODSEQ without CONDSTORE, or below zero",
        "not believed: the mailbox is listed each time",
        "Yahoo, Zoho (MailKit 1686)",
    ),
    Quirk(
        "inbox-in-any-case",
        "`Inbox`",
        "INBOX",
        "Yahoo",
    ),
    Quirk(
        "nonsense-for-a-value",
        "a date of year 0, a number with an exponent, zeros for what cannot be zero",
        "kept aside; the field says that it is not known",
        "Domino, mail.ru (MailKit 1838), Coremail (defects 52)",
    ),
    Quirk(
        "fetch-of-nothing",
        "FETCH of message 0, or without a UID",
        "nobody's answer, unless the sequence map knows the message (rule R3)",
        "Courier (MailKit 428)",
    ),
    Quirk(
        "names-below-inbox",
        "all mailboxes begin with INBOX, and NAMESPACE is missing",
        "the prefix is taken off",
        "Courier",
    ),
    Quirk(
        "id-before-select",
        "SELECT refused as an unsafe login",
        "ID goes out before any SELECT; where it was not announced, when it turns out to be wanted",
        "Coremail (OfflineIMAP 696)",
    ),
    Quirk(
        "sets-upwards-only",
        "BAD to a set that is not in ascending order",
        "sets are always written upwards",
        "Coremail (defects 40)",
    ),
    Quirk(
        "search-unreliable",
        "SEARCH finds too little, or nothing",
        "listings and UIDs of copies come from FETCH (rule R10); what SEARCH leaves out is gone when FETCH agrees",
        "Gmail, Yahoo, Yandex, Exchange 2010, Coremail",
    ),
    Quirk(
        "uid-expunge-missing",
        "no UIDPLUS, or UID EXPUNGE announced and refused",
        "EXPUNGE, with the marks of others taken away meanwhile",
        "hMailServer, Proton Bridge",
    ),
    Quirk(
        "appenduid-not-to-be-trusted",
        "APPENDUID announced and missing, of another UIDVALIDITY, or of several UIDs",
        "the next listing tells",
        "Proton Bridge, DavMail (315)",
    ),
    Quirk(
        "uids-forgotten",
        "a message that we know has a UID that the server has not given yet",
        "numbering restored from a backup: no removal",
        "hMailServer",
    ),
    Quirk(
        "bye-without-end",
        "BYE again and again",
        "counted, and cut off at the timeout of LOGOUT",
        "Yandex (MailKit 938)",
    ),
    Quirk(
        "unknown-response",
        "an untagged response that no RFC has",
        "an event and nothing else",
        "Zimbra (net-imap 2)",
    ),
    Quirk(
        "quotes-unescaped",
        "quotes inside a quoted name; octets of NUL around a response",
        "understood where the line ends behind them",
        "anonymous (MailKit 485)",
    ),
    Quirk(
        "literal-miscounted",
        "a literal longer than announced, or shorter by one or two octets",
        "that response is lost; what follows is not",
        "anonymous (MailKit 1369)",
    ),
    Quirk(
        "mailbox-grows-while-selected",
        "EXISTS before the reply to SELECT",
        "part of the state, so that nobody waits for it in IDLE",
        "anonymous (chatmail 4926)",
    ),
    Quirk(
        "one-command-for-a-body",
        "each command renders the message anew",
        "a message is fetched whole, by one command",
        "hydroxide (131)",
    ),
)

LIMIT_CODES = frozenset({"MESSAGELIMIT", "THROTTLED", "LIMIT", "OVERQUOTA", "UNAVAILABLE", "INUSE"})
"""An answer that carries one of these may be short although it says OK (rule R8)."""

TEXT_SHOWN_MAX = 500

SUBSTITUTE_BYTES_MAX = 16 * 1024
"""What a server hands out for a message that it cannot render is short."""

_PAUSE = re.compile(r"suggested backoff time: *([0-9]{1,12}) *milliseconds", re.IGNORECASE)
_LOCKED = re.compile(r"command or bandwidth limits", re.IGNORECASE)
_THROTTLE = re.compile(
    r"request is throttled|too many simultaneous connections|\[throttled\]|bandwidth limits"
    r"|maximum number of connections|server unavailable\. 15|connection is closed\. 1[45]",
    re.IGNORECASE,
)
_THROTTLE_CODES = frozenset({"THROTTLED", "LIMIT"})
# Without looking for the end of the code: it may never come, and the next one would be looked for just as far.
_CODE_IN_TEXT = re.compile(r"\[(" + "|".join(sorted(LIMIT_CODES)) + r")[ \]]")
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
    if _LOCKED.search(text):
        return Throttle(_PAUSE_S_MAX)
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
