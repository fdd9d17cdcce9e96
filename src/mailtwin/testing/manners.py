"""How a simulated server behaves: one frozen value of switches, and named profiles.

What it is: `Manners`, read by `mailtwin.testing.simserver`. Each switch reproduces one behaviour that was seen on a
real server and that broke a real client; the evidence is in one line at the switch. No switch here makes the server
break RFC 3501 unless its comment says so.

What it is not: faults, limits or settings. Cutting a connection or refusing the n-th command is
`mailtwin.testing.simfaults`, budgets and pauses are `mailtwin.testing.simlimits`, and what the owner of an account with
labels can choose is `mailtwin.testing.simlabels`. Whole providers are put together in `mailtwin.testing.providers`.

A profile is a starting point, made to be varied::

    manners = dataclasses.replace(PLAIN, append_uid=False, chatter_seed=7)
    manners = PLAIN.without("MOVE", "UIDPLUS")

Read next: `mailtwin.testing.simserver`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

__all__ = [
    "BARE",
    "CHATTY",
    "EXTENSIONS",
    "GMAIL_MANNERS",
    "PLAIN",
    "PROFILES",
    "SILENT_APPEND",
    "LoginCapabilities",
    "Manners",
    "Withheld",
]

EXTENSIONS = (
    "SASL-IR",
    "LITERAL+",
    "LITERAL-",
    "ENABLE",
    "ID",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "UIDPLUS",
    "MOVE",
    "ESEARCH",
    "CONDSTORE",
    "QRESYNC",
    "OBJECTID",
    "X-GM-EXT-1",
)
"""The capability names that the simulator can switch, in the order in which it announces them."""


class LoginCapabilities(Enum):
    """How the capabilities of the authenticated state reach the client in the login exchange."""

    UNTAGGED = "untagged"
    """`* CAPABILITY ...` before the tagged OK: Gmail, MailKit's transcripts."""
    CODE = "code"
    """`A1 OK [CAPABILITY ...] Logged in`: Dovecot, Cyrus."""
    NONE = "none"
    """Nothing; the client has to ask: Courier, Exchange."""


class Withheld(Enum):
    """What FETCH makes of the body of a message that has a header field `X-Withheld`."""

    NOTHING = "nothing"
    """The body, as of any other message."""
    NO_DATA = "no-data"
    """OK, and not a word of the message: Exchange, for an item that it cannot render."""
    NOTICE = "notice"
    """A message about the failure in its place: Exchange."""
    NO_LITERAL = "no-literal"
    """All that was asked for but the body: iCloud."""
    UNAVAILABLE = "unavailable"
    """`NO [UNAVAILABLE]` for the whole command: Yahoo."""


@dataclass(frozen=True, slots=True)
class Manners:
    """The switches. Names of extensions are those of `EXTENSIONS`; sizes are in bytes."""

    extensions: frozenset[str] = frozenset(EXTENSIONS) - {"LITERAL-", "QRESYNC", "OBJECTID", "X-GM-EXT-1"}
    """What the server can do. A command or option of an extension that is not here gets BAD (Exchange, Strato)."""
    late: frozenset[str] = frozenset()
    """Announced only after authentication: Gmail and Proton Bridge announce UIDPLUS and MOVE so."""
    unannounced: frozenset[str] = frozenset()
    """Works, and is never announced: RFC 4315 codes from servers without UIDPLUS; SPECIAL-USE from Exchange."""
    words_before: tuple[str, ...] = ()
    """Capabilities announced before login that mean nothing here: Gmail's XLIST and XYZZY."""
    words_after: tuple[str, ...] = ()
    """The same after login: Yahoo's XYMHIGHESTMODSEQ."""
    greeting: str = "mailtwin simulator ready"
    """The text of the greeting."""
    greeting_capabilities: bool = True
    """The greeting carries `[CAPABILITY ...]` (Dovecot) or nothing (Gmail, Exchange)."""
    login_capabilities: LoginCapabilities = LoginCapabilities.CODE
    """How the capabilities after login are told."""
    mechanisms: tuple[str, ...] = ("PLAIN", "XOAUTH2")
    """SASL mechanisms, announced as `AUTH=...`. The simulator knows PLAIN and XOAUTH2."""
    web_alert: bool = False
    """A right password is refused, with an untagged `NO [WEBALERT link]` before it: Gmail, after an odd login."""
    unconnected: bool = False
    """Login is OK, and all that needs it is `BAD User is authenticated but not connected.`: Exchange, at times."""
    silent_enable: bool = False
    """ENABLE does it and sends no `* ENABLED`: iCloud."""
    login_needs_tls: bool = False
    """`LOGINDISABLED`, and LOGIN and PLAIN refused, until TLS is up: Exchange, most hosted Dovecots."""

    append_uid: bool = True
    """APPENDUID is returned, whether or not UIDPLUS is announced: Gmail gives it before it is announced to clients that
    read only the greeting; Proton Bridge and several proxies announce it and give none."""
    copy_uid: bool = True
    """COPYUID is returned by COPY and MOVE, independently of the announcement."""
    hides_new_mail: bool = False
    """New mail has no EXISTS and is invisible to SEARCH and FETCH until NOOP, CHECK, IDLE or SELECT: Gmail."""
    check_tells: bool = True
    """CHECK shows what `hides_new_mail`. No: it does not, as OfflineIMAP, which sends CHECK, met it at Gmail."""
    appends_with_bad: bool = False
    """A message that is not taken is refused with `BAD Command Argument Error. 11`: Exchange."""
    needs_final_crlf: bool = False
    """APPEND of a message whose last line does not end is BAD: Yahoo."""
    append_limit: int | None = None
    """`APPENDLIMIT=n` (RFC 7889), refused with TOOBIG before the upload: Gmail 35651584, Yahoo 41697280."""

    separator: str = "/"
    """The hierarchy separator on the wire: Courier and Cyrus use `.`."""
    prefix: str = ""
    """The personal namespace's prefix, ending in the separator: Courier's `INBOX.`."""

    inbox_shown: str = "INBOX"
    """How LIST spells INBOX: Yahoo's `Inbox`."""
    unselectable: tuple[str, ...] = ()
    """Mailboxes that are listed and cannot be selected: iCloud's `Notes`."""
    window: int | None = None
    """Only so many messages of a mailbox, the newest, are shown when it is selected or asked for: the folder size limit
    of a Gmail account (1000, 2000, 5000, 10000), Yahoo's 10000. The others look as if they were gone."""
    search_limit: int | None = None
    """SEARCH finds at most so many, the newest: Yahoo."""
    header_words: bool = False
    """SEARCH of header fields and text finds whole words only, so no part of a Message-ID: Gmail."""
    modseq_search_dies: bool = False
    """`UID SEARCH RETURN (...) ... MODSEQ n` ends the session with `BYE System Error`: Gmail."""

    preset_keywords: tuple[str, ...] = ()
    """Keywords that every mailbox has: Gmail's `$NotPhishing`, and what others left there, such as `a]b`."""
    offers_keywords: bool = True
    r"""PERMANENTFLAGS has `\*`. Exchange has system flags only."""
    keeps_keywords: bool = True
    """No: keywords in STORE and APPEND are dropped and the answer is OK all the same: Exchange."""

    raw_atoms: bool = False
    """Flags may hold `]`, labels with blanks have no quotes in FETCH (against the ABNF): Gmail, for clients of old."""
    repeats_attributes: bool = False
    """Bodies come twice in one FETCH response: Gmail."""
    size_error: int = 0
    """RFC822.SIZE is wrong by so many bytes: Exchange, hMailServer."""
    renders_anew: bool = False
    """Messages are stored as the server would write them, headers unfolded and line ends made CRLF: Exchange."""
    withholds: Withheld = Withheld.NOTHING
    """What becomes of bodies that the server cannot hand out."""
    odd_dates: bool = False
    """INTERNALDATE is `00-Jan-0000 00:00:00 +0000`: Yahoo, Domino."""
    modseq_unasked: bool = False
    """SELECT tells a HIGHESTMODSEQ where CONDSTORE is not announced: Yahoo."""
    odd_copyuid: bool = False
    """COPYUID of nothing has empty sets, and that of MOVE comes as `* [COPYUID ...]`: Exchange."""
    trailing_spaces: bool = False
    """STATUS and SEARCH responses end in a space: Exchange, Yahoo."""
    exists_before_plus: bool = False
    """Untagged EXISTS comes before the `+` of IDLE: Exchange."""
    bad_text: str | None = None
    """The text of every BAD, which hides what was wrong: Exchange's `Command Argument Error. 12`."""
    split_fetch: bool = False
    """One FETCH response per item, several per message (RFC 3501 section 7.4.2 allows it): Gmail."""
    uid_last: bool = False
    """UID is the last item of a FETCH response, after the body: Exchange, Courier."""
    textless_codes: bool = False
    """`OK [HIGHESTMODSEQ n]` with no human text after it (against the ABNF): Gmail."""

    chatter_seed: int | None = None
    """Random but truthful untagged responses (OK, EXISTS, CAPABILITY, FETCH by sequence number) between all others,
    also before the `+` of a literal; RFC 3501 section 7 allows them at any time. The seed makes them repeatable."""
    chatter_percent: int = 30
    """How often chatter comes before a response, while `chatter_seed` is set."""

    literal_lookalikes: bool = False
    """Some chatter has human text that ends in `{90}`, which is no literal (RFC 3501 section 7.1: text); clients that
    look for literals in every line wait for ever. Python's imaplib does, and all that is built on it."""

    identity: tuple[tuple[str, str], ...] = (("name", "mailtwin-sim"),)
    """What ID (RFC 2971) answers."""
    command_limit: int = 65536
    """The longest command, literals apart; Dovecot's limit. A longer one gets BAD and the connection ends."""
    literal_limit: int = 67108864
    """The longest literal of an APPEND when there is no `append_limit`."""

    def __post_init__(self) -> None:
        for field in ("extensions", "late", "unannounced"):
            unknown = getattr(self, field) - set(EXTENSIONS)
            if unknown:
                raise ValueError(f"{field}: the simulator does not know {sorted(unknown)}")
        if len(self.separator) != 1 or self.separator in '"\\*%&':
            raise ValueError(
                f"separator must be one character that a mailbox name may hold: {self.separator!r}"
            )
        if self.prefix and not self.prefix.endswith(self.separator):
            raise ValueError(f"prefix must end in the separator {self.separator!r}: {self.prefix!r}")
        for field in ("window", "search_limit", "append_limit"):
            number = getattr(self, field)
            if number is not None and number < 1:
                raise ValueError(f"{field} must be at least 1, or None for no limit")
        if not 0 <= self.chatter_percent <= 90:
            raise ValueError("chatter_percent must be within 0 and 90")

    def has(self, extension: str) -> bool:
        """Whether the server can do this, announced or not."""
        return extension in self.extensions or extension in self.unannounced

    def without(self, *names: str) -> Manners:
        """The same manners, without these extensions."""
        gone = frozenset(names)
        return replace(
            self,
            extensions=self.extensions - gone,
            late=self.late - gone,
            unannounced=self.unannounced - gone,
        )

    def announced(self, *, authenticated: bool) -> list[str]:
        """The announced extensions and words in this state (without IMAP4rev1, STARTTLS and AUTH=)."""
        hidden = self.unannounced if authenticated else self.unannounced | self.late
        names = [name for name in EXTENSIONS if name in self.extensions and name not in hidden]
        if authenticated:
            names = [name for name in names if name != "SASL-IR"]
            if self.append_limit is not None:
                names.append(f"APPENDLIMIT={self.append_limit}")
        return names + list(self.words_after if authenticated else self.words_before)


PLAIN = Manners()
"""Everything that the simulator can do, and no oddity: in the manner of Dovecot."""

BARE = Manners(
    extensions=frozenset(),
    greeting_capabilities=False,
    login_capabilities=LoginCapabilities.NONE,
    mechanisms=(),
    append_uid=False,
    copy_uid=False,
    separator=".",
    prefix="INBOX.",
)
"""RFC 3501 alone, no extension at all; everything that a client wants has to be worked out from the base protocol."""

GMAIL_MANNERS = Manners(
    extensions=PLAIN.extensions - {"LITERAL+"} | {"LITERAL-"},
    late=frozenset(
        {"ENABLE", "MOVE", "CONDSTORE", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "LITERAL-", "SPECIAL-USE"}
    ),
    unannounced=frozenset({"UIDPLUS"}),
    greeting_capabilities=False,
    login_capabilities=LoginCapabilities.UNTAGGED,
    hides_new_mail=True,
    append_limit=35651584,
    textless_codes=True,
    identity=(("name", "GImap"), ("vendor", "Google, Inc.")),
)
"""Capabilities grow at login and come untagged; APPENDUID without UIDPLUS; new mail hidden until NOOP.

For servers of plain mail, and the harder half of the accounts, to which UIDPLUS is not announced. The whole provider,
with labels, is `mailtwin.testing.providers.GMAIL`."""

SILENT_APPEND = Manners(append_uid=False, copy_uid=False)
"""UIDPLUS is announced, and neither APPENDUID nor COPYUID is ever given: Proton Bridge."""

CHATTY = Manners(chatter_seed=1, chatter_percent=50, literal_lookalikes=True, split_fetch=True, uid_last=True)
"""Untagged responses everywhere, FETCH answers in pieces, the UID after the body."""

PROFILES = {
    "plain": PLAIN,
    "bare": BARE,
    "gmail-manners": GMAIL_MANNERS,
    "silent-append": SILENT_APPEND,
    "chatty": CHATTY,
}
"""The profiles by the name that a person types."""
