"""A table of the switches of the simulated providers: what to ask for, and what then is, or is not, on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from mailtwin.imap import OpenRange
from mailtwin.imap import commands as c
from mailtwin.model import UidSet
from mailtwin.testing.providers import EXCHANGE, GMAIL, ICLOUD, YAHOO, Provider
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

ONE = b"Message-ID: <one.two@x>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\nSubject: first\r\n message\r\n\r\nhello\r\n"
KEPT = b"Message-ID: <kept@x>\r\nX-Withheld: 1\r\nSubject: second\r\n\r\nnever seen\r\n"
NEW = b"Message-ID: <new@x>\r\nSubject: third\r\n\r\nnew mail\r\n"
AGAIN = ONE.replace(b"Subject", b"X-Other: 1\r\nSubject")


class World:
    """A running provider with one account: two messages in INBOX, the first also in `Work` and in `two words`."""

    def __init__(self, provider: Provider) -> None:
        self.mail = SimMail()
        self.account: SimAccount = provider.add_account(self.mail, "alice", "secret", "token-1")
        self.server: SimServer = provider.server(self.mail)
        inbox = self.account["INBOX"]
        inbox.append(ONE)
        inbox.append(KEPT)
        for name in ("Work", "two words"):
            self.account.create(name).copy(inbox[1])

    def later(self, **time: int) -> None:
        """Set the clock of the mail forward."""
        now = self.mail.clock() + timedelta(**time)
        self.mail.clock = lambda: now


Act = Callable[[World], object]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes to send as they are, and the regular expression to wait for, for a second and a half at most."""

    data: bytes
    until: bytes


Line = str | tuple[str, bytes] | Raw | Act
"""A command; a command with a literal at its end; raw bytes; something that happens meanwhile."""


@dataclass(frozen=True, slots=True)
class Row:
    """One switch.

    `mark` (a regular expression) is in what the server says when the switch is `on` and not when it is `off`; with
    `absent`, the other way round. `ours` are the commands of our own client that show it, and `becomes` what the last
    of them ends with while the switch is on. Without `ours` it is a thing that our client cannot be made to ask for,
    or that is seen before its first command.
    """

    name: str
    on: str
    off: str
    lines: tuple[Line, ...]
    mark: bytes
    ours: tuple[c.Command | Act, ...] = ()
    becomes: str = "OK"
    absent: bool = False
    base: Provider = GMAIL
    also: tuple[str, ...] = ()
    """Other switches that this one needs."""
    select: bool = True
    by_token: bool = False
    connections: int = 1

    def provider(self, *, on: bool) -> Provider:
        """The provider with the switch on or off."""
        return self.base.switch(*self.also, f"{self.name}={self.on if on else self.off}")


def words(names: frozenset[str], *without: str) -> str:
    """Names of extensions as the value of a switch."""
    return ",".join(sorted(names - set(without)))


def flags(*names: str) -> frozenset[str]:
    """Flags for `Store`."""
    return frozenset(names)


FIRST, BOTH = UidSet.of([1]), UidSet.of([1, 2])
FETCH_ALL = "UID FETCH 1:* (FLAGS)"
BODY_1 = c.Fetch(FIRST, ("UID", "BODY.PEEK[]"))
BODY_2 = c.Fetch(UidSet.of([2]), ("UID", "BODY.PEEK[]"))
APPEND = ('APPEND "INBOX"', NEW)
APPEND_OURS = c.Append.of("INBOX", NEW)
NOOP = c.Noop()
IDLE = Raw(b"i1 IDLE\r\n", rb"\+ ")
MARK_DELETED = c.Store(FIRST, "+", flags("\\Deleted"))
EXTENSIONS = GMAIL.manners.extensions


def deliver(world: World) -> None:
    """Another client puts a message into INBOX."""
    world.account["INBOX"].append(NEW)


def odd_keyword(world: World) -> None:
    """Somebody gave a message a keyword with a bracket."""
    world.account["INBOX"].set_flags(1, ["a]b"])


def tomorrow(world: World) -> None:
    """A day passes."""
    world.later(days=1)


def end_token(world: World) -> None:
    """The OAuth token is good for another minute, which passes."""
    world.account.token_ends = world.mail.clock() + timedelta(minutes=1)
    world.later(minutes=1)


ROWS = [
    # --- capabilities and login ---
    Row("extensions", words(EXTENSIONS, "MOVE"), words(EXTENSIONS), ("UID MOVE 1 Work",), rb" BAD "),
    Row(
        "late",
        words(GMAIL.manners.late),
        words(GMAIL.manners.late, "MOVE"),
        (),
        rb"MOVE [^\r]*AUTH=",
        absent=True,
    ),
    Row(
        "unannounced",
        "UIDPLUS",
        "",
        (APPEND,),
        rb"CAPABILITY IMAP4rev1 [^\r]*UIDPLUS",
        (APPEND_OURS,),
        absent=True,
    ),
    Row("words_before", "XLIST", "", (), rb"XLIST [^\r]*AUTH=", (NOOP,)),
    Row("words_after", "XYZZY2", "", (), rb"APPENDLIMIT=35651584 XYZZY2\r", (NOOP,)),
    Row("greeting", "Gimap says hi", "ready", (), rb"\A\* OK Gimap says hi\r", (NOOP,)),
    Row("greeting_capabilities", "yes", "no", (), rb"\A\* OK \[CAPABILITY IMAP4rev1 ", (NOOP,)),
    Row("login_capabilities", "code", "none", (), rb"OK \[CAPABILITY [^\r]*APPENDLIMIT", (NOOP,)),
    Row("mechanisms", "PLAIN", "PLAIN,XOAUTH2", (), rb"AUTH=XOAUTH2", (NOOP,), absent=True),
    Row(
        "web_alert",
        "yes",
        "no",
        (),
        rb"\* NO \[WEBALERT https://[^\r]*\r\n\S+ NO \[ALERT\]",
        (NOOP,),
        "LoginError",
    ),
    Row(
        "unconnected",
        "yes",
        "no",
        ("STATUS INBOX (MESSAGES)",),
        rb"BAD User is authenticated but not connected",
        (c.Select("INBOX"),),
        "BAD",
        base=EXCHANGE,
        select=False,
    ),
    Row(
        "silent_enable",
        "yes",
        "no",
        ("ENABLE CONDSTORE",),
        rb"\* ENABLED",
        (c.Enable(("CONDSTORE",)),),
        absent=True,
        base=ICLOUD,
        select=False,
    ),
    Row("login_needs_tls", "yes", "no", (), rb"LOGINDISABLED", (NOOP,), "LoginError"),
    # --- storing ---
    Row("append_uid", "no", "yes", (APPEND,), rb"APPENDUID", (APPEND_OURS,), absent=True),
    Row("copy_uid", "no", "yes", ("UID COPY 2 Work",), rb"COPYUID", (c.Copy(BOTH, "Work"),), absent=True),
    Row(
        "hides_new_mail",
        "yes",
        "no",
        (APPEND, "UID SEARCH HEADER Message-ID <new@x>"),
        rb"\* SEARCH 3",
        (APPEND_OURS, c.Search(("HEADER", "Message-ID", c.Text("<new@x>")))),
        absent=True,
        also=("extensions=IDLE",),
    ),
    Row("check_tells", "no", "yes", (APPEND, "CHECK"), rb"\* 3 EXISTS", absent=True),
    Row(
        "appends_with_bad",
        "yes",
        "no",
        (('APPEND "INBOX"', b"a\0b"),),
        rb"BAD Command Argument Error\. 11",
        (c.Append.of("INBOX", b"a\0b"),),
        "BAD",
    ),
    Row(
        "needs_final_crlf",
        "yes",
        "no",
        (('APPEND "INBOX"', b"Subject: x\r\n\r\nx"),),
        rb"BAD \[CLIENTBUG\]",
        (c.Append.of("INBOX", b"Subject: x\r\n\r\nx"),),
        "BAD",
    ),
    Row("append_limit", "10", "none", (APPEND,), rb"APPENDLIMIT=10.*NO \[TOOBIG\]", (APPEND_OURS,), "NO"),
    Row(
        "literal_limit",
        "10",
        "1000",
        (APPEND,),
        rb"NO \[TOOBIG\]",
        (APPEND_OURS,),
        "NO",
        also=("append_limit=none",),
    ),
    # --- mailboxes ---
    Row("separator", ".", "/", ('LIST "" "*"',), rb'"\[Gmail\]\.All Mail"', (c.List(("*",)),)),
    Row("prefix", "INBOX/", "", ('LIST "" "*"',), rb'"INBOX/Work"', (c.List(("*",)),)),
    Row("inbox_shown", "Inbox", "INBOX", ('LIST "" "*"',), rb'"Inbox"', (c.List(("*",)),)),
    Row("unselectable", "Work", "", ("EXAMINE Work",), rb"NO \[CANNOT\]", (c.Select("Work"),), "NO"),
    Row("window", "1", "none", (FETCH_ALL,), rb"\* 1 EXISTS", (c.Fetch(OpenRange(1), ("FLAGS",)),)),
    Row("language", "de", "en", ('LIST "" "*"',), rb'"\[Google Mail\]/Entw&APw-rfe"', (c.List(("*",)),)),
    Row(
        "strict_names",
        "yes",
        "no",
        ('CREATE "a "',),
        rb"NO \[CANNOT\] Folder contains excess whitespace",
        (c.Create("a "),),
        "NO",
    ),
    # --- searching ---
    Row("search_limit", "1", "none", ("UID SEARCH ALL",), rb"\* SEARCH 2", (c.Search(("ALL",)),), base=YAHOO),
    Row(
        "header_words",
        "yes",
        "no",
        ("UID SEARCH HEADER Message-ID one.tw",),
        rb"\* SEARCH 1",
        (c.Search(("HEADER", "Message-ID", c.Text("one.tw"))),),
        absent=True,
    ),
    Row(
        "modseq_search_dies",
        "yes",
        "no",
        ("UID SEARCH RETURN (ALL) MODSEQ 1",),
        rb"\* BYE System Error",
        (c.Search(("MODSEQ", "1"), ("ALL",)),),
        "UnreachableError",
    ),
    Row(
        "trailing_spaces",
        "yes",
        "no",
        ("STATUS INBOX (MESSAGES)", "UID SEARCH ALL"),
        rb"MESSAGES 2\) \r",
        (c.StatusOf("INBOX", ("MESSAGES",)),),
        base=EXCHANGE,
    ),
    # --- flags ---
    Row("preset_keywords", "$Phishing", "", (), rb"\* FLAGS \([^)]*\$Phishing", (NOOP,)),
    Row("offers_keywords", "no", "yes", (), rb"PERMANENTFLAGS [^\r]*\\\*", (NOOP,), absent=True),
    Row(
        "keeps_keywords",
        "no",
        "yes",
        ("UID STORE 1 +FLAGS (Mine)",),
        rb"FETCH \([^\r]*Mine",
        (c.Store(FIRST, "+", flags("Mine"), silent=False),),
        absent=True,
    ),
    Row(
        "raw_atoms",
        "yes",
        "no",
        (odd_keyword, "UID FETCH 1 (X-GM-LABELS)", "UID STORE 1 -FLAGS (a]b)"),
        rb"X-GM-LABELS \([^\r]*Work two words\)",
        (odd_keyword, c.Fetch(FIRST, ("X-GM-LABELS", "FLAGS"))),
    ),
    Row(
        "shared_deleted",
        "yes",
        "no",
        ("UID STORE 1 +FLAGS (\\Deleted)", "SELECT Work", FETCH_ALL),
        rb"UIDNEXT 2\].*FETCH \([^)]*FLAGS \([^)]*\\Deleted",
        (MARK_DELETED, c.Select("Work"), c.Fetch(FIRST, ("FLAGS",))),
        also=("auto_expunge=no",),
    ),
    Row(
        "auto_expunge",
        "yes",
        "no",
        ("UID STORE 1 +FLAGS.SILENT (\\Deleted)",),
        rb"\* 1 EXPUNGE",
        (MARK_DELETED,),
    ),
    Row(
        "expunge",
        "trash",
        "archive",
        ("UID STORE 2 +FLAGS.SILENT (\\Deleted)", 'STATUS "[Gmail]/Trash" (MESSAGES)'),
        rb"MESSAGES 1\)",
        (c.Store(UidSet.of([2]), "+", flags("\\Deleted")), c.StatusOf("[Gmail]/Trash", ("MESSAGES",))),
    ),
    Row(
        "merge",
        "message-id",
        "never",
        (("APPEND INBOX", AGAIN),),
        rb"\[APPENDUID \d+ 1\]",
        (c.Append.of("INBOX", AGAIN),),
    ),
    # --- fetching ---
    Row("repeats_attributes", "yes", "no", ("UID FETCH 1 (BODY.PEEK[])",), rb"BODY\[\].*BODY\[\]", (BODY_1,)),
    Row(
        "size_error",
        "17",
        "0",
        ("UID FETCH 1 (RFC822.SIZE)",),
        rb"RFC822\.SIZE %d\b" % (len(ONE) + 17),
        (c.Fetch(FIRST, ("RFC822.SIZE",)),),
        base=EXCHANGE,
    ),
    Row(
        "renders_anew",
        "yes",
        "no",
        (("APPEND INBOX", ONE), "NOOP", "UID FETCH 3 (BODY.PEEK[])"),
        rb"Subject: first message\r\n",
        (c.Append.of("INBOX", ONE), c.Fetch(UidSet.of([3]), ("BODY.PEEK[]",))),
        base=EXCHANGE,
    ),
    Row(
        "withholds",
        "no-data",
        "nothing",
        ("UID FETCH 2 (FLAGS BODY.PEEK[])",),
        rb"never seen",
        (BODY_2,),
        base=EXCHANGE,
        absent=True,
    ),
    Row(
        "withholds",
        "notice",
        "nothing",
        ("UID FETCH 2 (BODY.PEEK[])",),
        rb"Retrieval using the IMAP4 protocol failed",
        (BODY_2,),
        base=EXCHANGE,
    ),
    Row(
        "withholds",
        "no-literal",
        "nothing",
        ("UID FETCH 2 (FLAGS BODY.PEEK[])",),
        rb"\* 2 FETCH \(UID 2 FLAGS \([^)]*\)\)",
        (c.Fetch(UidSet.of([2]), ("UID", "FLAGS", "BODY.PEEK[]")),),
        base=ICLOUD,
    ),
    Row(
        "withholds",
        "unavailable",
        "nothing",
        ("UID FETCH 2 (BODY.PEEK[])",),
        rb"NO \[UNAVAILABLE\]",
        (BODY_2,),
        "NO",
        base=YAHOO,
    ),
    Row(
        "odd_dates",
        "yes",
        "no",
        ("UID FETCH 1 (INTERNALDATE)",),
        rb'INTERNALDATE "00-Jan-0000',
        (c.Fetch(FIRST, ("INTERNALDATE",)),),
        base=YAHOO,
    ),
    Row(
        "split_fetch",
        "yes",
        "no",
        ("UID FETCH 1 (FLAGS RFC822.SIZE)",),
        rb"FETCH \(UID 1 RFC822\.SIZE \d+\)\r",
        (c.Fetch(FIRST, ("FLAGS", "RFC822.SIZE")),),
    ),
    Row("uid_last", "yes", "no", ("UID FETCH 1 (BODY.PEEK[])",), rb"hello\r\n UID 1\)", (BODY_1,)),
    Row("modseq_unasked", "yes", "no", (), rb"\[HIGHESTMODSEQ \d+\]", (NOOP,), base=YAHOO),
    # --- the form of answers ---
    Row(
        "odd_copyuid",
        "yes",
        "no",
        ("UID MOVE 1 Work",),
        rb"\* \[COPYUID \d+ 1 2\]",
        (c.Move(FIRST, "Work"),),
        base=EXCHANGE,
    ),
    Row(
        "odd_copyuid",
        "yes",
        "no",
        ("UID COPY 99 Work",),
        rb"OK \[COPYUID \d+  \]",
        (c.Copy(UidSet.of([99]), "Work"),),
        base=EXCHANGE,
    ),
    Row(
        "exists_before_plus",
        "yes",
        "no",
        (deliver, IDLE, Raw(b"DONE\r\n", b"i1 OK")),
        rb"\* 3 EXISTS\r.*\r\n\+ ",
        base=EXCHANGE,
    ),
    Row(
        "bad_text",
        "Command Argument Error. 12",
        "none",
        ("UID FETCH 1 (NONSENSE)",),
        rb"BAD Command Argument Error\. 12",
        (c.Fetch(FIRST, ("NONSENSE",)),),
        "BAD",
        base=EXCHANGE,
    ),
    Row("textless_codes", "yes", "no", (), rb"\* OK \[UIDVALIDITY \d+\]\r", (NOOP,)),
    Row("identity", "name:GImap", "name:Other", ("ID NIL",), rb'\* ID \("name" "GImap"\)', (NOOP,)),
    Row(
        "chatter_seed",
        "1",
        "none",
        (FETCH_ALL,),
        rb"\* OK Still here",
        (c.Fetch(BOTH, ("FLAGS",)),),
        also=("chatter_percent=50",),
    ),
    Row(
        "chatter_percent",
        "80",
        "0",
        (FETCH_ALL,),
        rb"\* OK Still here",
        (c.Fetch(BOTH, ("FLAGS",)),),
        also=("chatter_seed=1",),
    ),
    Row(
        "literal_lookalikes",
        "yes",
        "no",
        (),
        rb"\{90\}\r",
        (c.Fetch(BOTH, ("FLAGS",)), NOOP, NOOP, NOOP),
        also=("chatter_seed=4", "chatter_percent=60"),
    ),
    Row(
        "command_limit",
        "60",
        "1000",
        (f"UID FETCH {','.join('1' * 40)} (FLAGS)",),
        rb"\* BYE Command line too long",
    ),
    # --- limits ---
    Row(
        "max_connections",
        "1",
        "none",
        (),
        rb"NO \[ALERT\] Too many simultaneous connections",
        (NOOP,),
        "ThrottledError",
        connections=2,
    ),
    Row(
        "download_daily",
        "1",
        "none",
        ("STATUS INBOX (MESSAGES)",),
        rb"NO \[OVERQUOTA\] Account exceeded",
        (c.StatusOf("INBOX", ("MESSAGES",)),),
        "ThrottledError",
    ),
    Row(
        "upload_daily",
        "10",
        "none",
        (APPEND,),
        rb"NO \[OVERQUOTA\] Account exceeded",
        (APPEND_OURS,),
        "NO pause",
    ),
    Row("storage", "10", "none", (APPEND,), rb"NO \[OVERQUOTA\] Out of storage", (APPEND_OURS,), "NO"),
    Row(
        "throttle_every",
        "2",
        "none",
        (FETCH_ALL,),
        rb"OK Success \[THROTTLED\]",
        (c.Fetch(OpenRange(1), ("FLAGS",)),),
        "OK pause",
    ),
    Row(
        "throttle",
        "no",
        "ok",
        (FETCH_ALL,),
        rb"NO \[LIMIT\]",
        (c.Fetch(OpenRange(1), ("FLAGS",)),),
        "NO pause",
        also=("throttle_every=2",),
    ),
    Row(
        "throttle",
        "bad",
        "ok",
        (FETCH_ALL,),
        rb"BAD Request is throttled. Suggested Backoff Time: 5000 milli",
        (c.Fetch(OpenRange(1), ("FLAGS",)),),
        "BAD pause",
        also=("throttle_every=2",),
    ),
    Row(
        "throttle",
        "bye",
        "ok",
        (FETCH_ALL,),
        rb"\* BYE Connection is closed. 14",
        (c.Fetch(OpenRange(1), ("FLAGS",)),),
        "ThrottledError",
        also=("throttle_every=2",),
    ),
    Row(
        "throttle",
        "raw",
        "ok",
        (FETCH_ALL,),
        rb"\nServer Unavailable. 15\r",
        (c.Fetch(OpenRange(1), ("FLAGS",)),),
        "ThrottledError",
        also=("throttle_every=2",),
    ),
    Row(
        "backoff_ms",
        "77",
        "88",
        (FETCH_ALL,),
        rb"Suggested Backoff Time: 77 milli",
        also=("throttle_every=2", "throttle=bad"),
    ),
    Row(
        "error_limit",
        "2",
        "none",
        ("UID FETCH 1 (X)", "UID FETCH 1 (X)", Raw(b"n NOOP\r\n", b"BYE|n OK")),
        rb"\* BYE Too many protocol errors",
        (c.Fetch(FIRST, ("X",)), c.Fetch(FIRST, ("X",))),
        "BAD",
    ),
    Row(
        "pipeline_limit",
        "3",
        "none",
        (Raw(b"p NOOP\r\n" * 9, b"(p (OK|BAD).*){9}"),),
        rb"BAD Too many commands at once",
    ),
    Row(
        "session_s",
        "3600",
        "none",
        (tomorrow, FETCH_ALL),
        rb"\* BYE Session expired",
        (tomorrow, c.Fetch(BOTH, ("FLAGS",))),
        "UnreachableError",
    ),
    Row(
        "token_bye",
        "Session invalidated - AccessTokenExpired",
        "none",
        (end_token, FETCH_ALL),
        rb"\* BYE Session invalidated - AccessTokenExpired",
        (end_token, c.Fetch(BOTH, ("FLAGS",))),
        "UnreachableError",
        base=EXCHANGE,
        by_token=True,
    ),
    Row("idle_limit_s", "1", "none", (IDLE, Raw(b"", b"BYE")), rb"\* BYE IDLE terminated", base=YAHOO),
]
