"""What servers say, and what we take it for: one row per shape, named after who sends it or why it matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.wire import say

from mailtwin.imap.fetch import parse_date
from mailtwin.imap.framing import Frame
from mailtwin.imap.parser import RAW_BYTES_MAX, parse, parse_literal_place
from mailtwin.imap.responses import (
    Capability,
    Code,
    Continuation,
    Enabled,
    ESearch,
    Exists,
    Expunge,
    Fetch,
    ListItem,
    MailboxFlags,
    MailboxStatus,
    Namespaces,
    Other,
    Recent,
    Response,
    Search,
    ServerId,
    Status,
    Streamed,
    Unparsed,
    Vanished,
)
from mailtwin.imap.tokens import FLAGS_MAX, VALUES_MAX
from mailtwin.model import UidSet
from mailtwin.model.limits import CAPABILITIES_MAX, LINE_BYTES_MAX, MAILBOX_NAME_BYTES_MAX, NESTING_MAX


def uids(text: str) -> UidSet:
    return UidSet.parse(text)


def ranges(text: str) -> tuple[range, ...]:
    ends = [[int(end) for end in part.split(":")] for part in text.split(",")]
    return tuple(range(low_high[0], low_high[-1] + 1) for low_high in ends)


def check(table: list[tuple[bytes, Response]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("wire", "expected"), [pytest.param(wire, value, id=repr(wire)[2:60]) for wire, value in table]
    )


# --- conditions and text ---


@check(
    [
        (b"A1 OK LOGIN completed", Status("OK", "A1", None, b"LOGIN completed")),
        (b"A1 NO [CANNOT] no", Status("NO", "A1", Code("CANNOT"), b"no")),
        (b"A1 BAD Command Error. 12", Status("BAD", "A1", None, b"Command Error. 12")),
        (b"* OK Still here", Status("OK", None, None, b"Still here")),
        (b"* PREAUTH welcome", Status("PREAUTH", None, None, b"welcome")),
        (b"* BYE Connection is closed. 14", Status("BYE", None, None, b"Connection is closed. 14")),
        (b"* ok lower", Status("OK", None, None, b"lower")),
        (b"A1 OK", Status("OK", "A1")),
        (b"A1 OK ", Status("OK", "A1")),
        (b"* OK", Status("OK", None)),
        (b"* [ALERT] hi", Status("OK", None, Code("ALERT"), b"hi")),
        (b"* OK [ALERT] full {90}", Status("OK", None, Code("ALERT"), b"full {90}")),
        (b"* OK caf\xc3\xa9 \xff", Status("OK", None, None, b"caf\xc3\xa9 \xff")),
        (b"* OK [unfinished", Status("OK", None, None, b"[unfinished")),
        (b"* OK [] empty", Status("OK", None, None, b"[] empty")),
        (b"+ idling", Continuation(b"idling")),
        (b"+", Continuation()),
        (b"+ ", Continuation()),
        (b"+idling", Continuation(b"idling")),
        (b"+ eyJzdGF0dXMiOiI0MDAifQ==", Continuation(b"eyJzdGF0dXMiOiI0MDAifQ==")),
        (b"+ [ALERT] go", Continuation(b"go", Code("ALERT"))),
        (b"Server Unavailable. 15", Unparsed(b"Server Unavailable. 15", "not an IMAP response")),
        (b"*", Unparsed(b"*", "not an IMAP response")),
        (b"A1 FETCH (UID 5)", Unparsed(b"A1 FETCH (UID 5)", "not an IMAP response")),
    ]
)
def test_text(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


CODES: list[tuple[bytes, Code, bytes]] = [
    (b"[CAPABILITY IMAP4rev1 uidplus] hi", Code("CAPABILITY", ("IMAP4REV1", "UIDPLUS")), b"hi"),
    (b"[HIGHESTMODSEQ 715194045007]", Code("HIGHESTMODSEQ", (715194045007,)), b""),
    (b"[HIGHESTMODSEQ -1] Zoho", Code("HIGHESTMODSEQ", (-1,)), b"Zoho"),
    (b"[UIDVALIDITY 3857529045] ok", Code("UIDVALIDITY", (3857529045,)), b"ok"),
    (b"[UIDNEXT 4392] Predicted", Code("UIDNEXT", (4392,)), b"Predicted"),
    (b"[UIDNEXT soon] text", Code("UIDNEXT", (b"soon",)), b"text"),
    (b"[UIDNEXT 99999999999999999999999] text", Code("UIDNEXT", (b"9" * 23,)), b"text"),
    (b"[UNSEEN 12] first", Code("UNSEEN", (12,)), b"first"),
    (b"[READ-WRITE] done", Code("READ-WRITE"), b"done"),
    (b"[appenduid 7 12] x", Code("APPENDUID", (7, uids("12")), (ranges("12"),)), b"x"),
    (b"[APPENDUID 7 5:6,2] x", Code("APPENDUID", (7, uids("2,5:6")), (ranges("5:6,2"),)), b"x"),
    (b"[APPENDUID 7] x", Code("APPENDUID", (b"7",)), b"x"),
    (b"[APPENDUID 7 *] x", Code("APPENDUID", (b"7 *",)), b"x"),
    (b"[APPENDUID 7 0] x", Code("APPENDUID", (b"7 0",)), b"x"),
    (
        b"[COPYUID 7 4,1:2 9:11] x",
        Code("COPYUID", (7, uids("1:2,4"), uids("9:11")), (ranges("4,1:2"), ranges("9:11"))),
        b"x",
    ),
    (
        b"[COPYUID 7 3:1 9:7]",
        Code("COPYUID", (7, uids("1:3"), uids("7:9")), (ranges("1:3"), ranges("7:9"))),
        b"",
    ),
    (b"[COPYUID 7  ] Exchange", Code("COPYUID", (7, UidSet(), UidSet()), ((), ())), b"Exchange"),
    (b"[COPYUID 7 5] one set", Code("COPYUID", (b"7 5",)), b"one set"),
    (
        b"[COPYUID 7 1:4294967295 1:4294967295] huge",
        Code(
            "COPYUID",
            (7, uids("1:4294967295"), uids("1:4294967295")),
            (ranges("1:4294967295"), ranges("1:4294967295")),
        ),
        b"huge",
    ),
    (
        b"[PERMANENTFLAGS (\\Seen $x \\*)] Limited",
        Code("PERMANENTFLAGS", ("\\Seen", "$x", "\\*")),
        b"Limited",
    ),
    (b"[PERMANENTFLAGS (a] b[c] \\*)] Gmail", Code("PERMANENTFLAGS", ("a]", "b[c]", "\\*")), b"Gmail"),
    (b"[PERMANENTFLAGS ()]", Code("PERMANENTFLAGS"), b""),
    (b"[PERMANENTFLAGS] none", Code("PERMANENTFLAGS"), b"none"),
    (
        b'[Error="Proxy ] \\"x\\" failed" Hex=8] Exchange',
        Code("ERROR", (b'="Proxy ] \\"x\\" failed" Hex=8',)),
        b"Exchange",
    ),
    (b'[WEBALERT https://x/?a=b] see "]', Code("WEBALERT", (b"https://x/?a=b",)), b'see "]'),
    (b'[BADURL "half] text', Code("BADURL", (b'"half',)), b"text"),
    (b"[UNKNOWN-CTE]text", Code("UNKNOWN-CTE"), b"text"),
    (b"[X-FOO bar  baz ]  two", Code("X-FOO", (b"bar  baz",)), b" two"),
]


@pytest.mark.parametrize(
    ("wire", "code", "text"), [pytest.param(*row, id=repr(row[0])[2:60]) for row in CODES]
)
def test_codes(wire: bytes, code: Code, text: bytes) -> None:
    assert say(b"A1 OK " + wire) == Status("OK", "A1", code, text)
    assert say(b"* NO " + wire) == Status("NO", None, code, text)


def test_capabilities_have_a_limit_that_never_costs_the_reply() -> None:
    names = b" ".join(b"X%d" % n for n in range(CAPABILITIES_MAX))
    at = parse(Frame((b"* CAPABILITY " + names,), (), is_text=False))
    assert isinstance(at, Capability)
    assert len(at.names) == CAPABILITIES_MAX
    above = parse(Frame((b"* CAPABILITY Y " + names,), (), is_text=False))
    assert isinstance(above, Unparsed)
    assert above.name == "CAPABILITY"
    code = parse(Frame((b"A1 OK [CAPABILITY Y " + names + b"] in",), (), is_text=True))
    assert code == Status("OK", "A1", Code("CAPABILITY", (b"Y " + names,)), b"in")


# --- the session and the selected mailbox ---


@check(
    [
        (b"* CAPABILITY IMAP4rev1 UIDPLUS", Capability(frozenset({"IMAP4REV1", "UIDPLUS"}))),
        (b"* CAPABILITY IMAP4rev1 auth=plain ", Capability(frozenset({"IMAP4REV1", "AUTH=PLAIN"}))),
        (b"* CAPABILITY", Capability(frozenset())),
        (b"* ENABLED CONDSTORE qresync", Enabled(frozenset({"CONDSTORE", "QRESYNC"}))),
        (b"* ENABLED", Enabled(frozenset())),
        (b"* 23 EXISTS", Exists(23)),
        (b"* 0 exists ", Exists(0)),
        (b"*  4294967295  EXISTS", Exists(4294967295)),
        (b"* 5 RECENT", Recent(5)),
        (b"* 5 EXPUNGE", Expunge(5)),
        (b"* VANISHED 41,43:116", Vanished(uids("41,43:116"), earlier=False)),
        (b"* VANISHED (EARLIER) 300:310,405 ", Vanished(uids("300:310,405"), earlier=True)),
        (b"* VANISHED (earlier)", Vanished(UidSet(), earlier=True)),
        (b"* FLAGS (\\Answered \\Seen)", MailboxFlags(("\\Answered", "\\Seen"))),
        (b"* FLAGS ()", MailboxFlags(())),
        (b"* FLAGS (a] [b] $c% \\* x{1}y)", MailboxFlags(("a]", "[b]", "$c%", "\\*", "x{1}y"))),
        (b'* FLAGS ("quoted" a"b c(d) \\Seen)', MailboxFlags(("quoted", 'a"b', "c(d)", "\\Seen"))),
        (b'* FLAGS ("" a)', MailboxFlags(("a",))),
        (b'* FLAGS ("a b")', Unparsed(b'* FLAGS ("a b")', "a list of flags is missing", "FLAGS")),
        (b'* FLAGS ("a ")', Unparsed(b'* FLAGS ("a ")', "a list of flags is missing", "FLAGS")),
        (b'* FLAGS (" ")', Unparsed(b'* FLAGS (" ")', "a list of flags is missing", "FLAGS")),
        (b"* FLAGS (\xc3\xa9 \xe9)", MailboxFlags(("é", "é"))),
        (b"* NOOP", Other("NOOP", None, ())),
        (b'* QUOTA "" (STORAGE 10 512)', Other("QUOTA", None, (b"", (b"STORAGE", 10, 512)))),
        (b"* 7 X-THING nil 5 {2}\r\nhi x", Other("X-THING", 7, (None, 5, b"hi", b"x"))),
    ]
)
def test_session(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


@check(
    [
        (b"* EXISTS", Unparsed(b"* EXISTS", "its number is missing", "EXISTS")),
        (b"* FETCH (UID 5)", Unparsed(b"* FETCH (UID 5)", "its number is missing", "FETCH")),
        (b"* 5 EXISTS 6", Unparsed(b"* 5 EXISTS 6", "there is more than there should be", "EXISTS")),
        (b"* -5 EXISTS", Unparsed(b"* -5 EXISTS", "the name of the response is missing")),
        (b"* 5", Unparsed(b"* 5", "the name of the response is missing")),
        (b'* ID ("a"', Unparsed(b'* ID ("a"', "it ends too early", "ID")),
        (b'* ID ("a" "b', Unparsed(b'* ID ("a" "b', "a quoted string has no end", "ID")),
        (b'* ID ("a")', Unparsed(b'* ID ("a")', "not a list of names and values", "ID")),
        (b"* VANISHED 1:*", Unparsed(b"* VANISHED 1:*", "not a set of UIDs", "VANISHED")),
    ]
)
def test_damaged(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"* 4294967296 EXISTS", "EXISTS"),
        (b"* 0 EXPUNGE", "EXPUNGE"),
        (b"* 4294967296 FETCH (UID 1)", "FETCH"),
        (b"* 0 UIDFETCH (FLAGS ())", "UIDFETCH"),
        (b"* VANISHED 0", "VANISHED"),
        (b"* VANISHED 4294967296", "VANISHED"),
        (b"* SEARCH 0", "SEARCH"),
        (b"* SEARCH 4294967296", "SEARCH"),
        (b"* " + b"9" * 5000 + b" EXISTS", "EXISTS"),
        (b"* 1 FETCH (UID 5))", "FETCH"),
        (b"* 1 FETCH (UID 5", "FETCH"),
        (b"* 1 FETCH (UID)", "FETCH"),
        (b"* 1 FETCH UID 5", "FETCH"),
        (b"* 1 FETCH (BODY[] 5)", "FETCH"),
        (b"* 1 FETCH (BODY[HEADER.FIELDS (X) NIL)", "FETCH"),
        (b"* 1 FETCH (UID 5 FLAGS (\\Seen UID 6)", "FETCH"),
        (b"* LIST", "LIST"),
        (b"* LIST () INBOX", "LIST"),
        (b'* LIST () "/"', "LIST"),
        (b"* STATUS", "STATUS"),
        (b"* STATUS x (MESSAGES)", "STATUS"),
        (b"* NAMESPACE NIL", "NAMESPACE"),
        (b"* NAMESPACE x y z", "NAMESPACE"),
        (b"* NAMESPACE (x) NIL NIL", "NAMESPACE"),
        (b"* FLAGS \\Seen", "FLAGS"),
        (b"* ESEARCH ALL 0", "ESEARCH"),
        (b"* ESEARCH UID 5", "ESEARCH"),
    ],
)
def test_damage_is_named(wire: bytes, name: str) -> None:
    frame = Frame((wire,), (), is_text=False)
    response = parse(frame)
    assert isinstance(response, Unparsed)
    assert response.name == name
    assert response.raw == wire[:RAW_BYTES_MAX]
    assert response.reason


# --- SEARCH ---


@check(
    [
        (b"* SEARCH 2 84 882", Search((2, 84, 882))),
        (b"* SEARCH", Search(())),
        (b"* SEARCH ", Search(())),
        (b"* SEARCH 5 9 ", Search((5, 9))),
        (b"* SEARCH  9  5  5", Search((9, 5, 5))),
        (b"* SEARCH 2 5 (MODSEQ 917162500)", Search((2, 5), 917162500)),
        (b"* SEARCH 2 (MODSEQ -1)", Search((2,))),
        (b"* SEARCH (modseq 7) ", Search((), 7)),
        (b'* ESEARCH (TAG "A282") UID ALL 2,10:15', ESearch("A282", uid=True, all=uids("2,10:15"))),
        (b"* ESEARCH (TAG A282) ALL 7", ESearch("A282", uid=False, all=uids("7"))),
        (b'* ESEARCH (TAG "A") UID', ESearch("A", uid=True)),
        (b"* ESEARCH", ESearch(None, uid=False)),
        (
            b'* ESEARCH (TAG "h") MIN 2 MAX 9 COUNT 3 MODSEQ 99 ALL 2,9',
            ESearch("h", uid=False, all=uids("2,9"), items={"MIN": 2, "MAX": 9, "COUNT": 3, "MODSEQ": 99}),
        ),
        (
            b'* ESEARCH (TAG "h") UID ALL MIN COUNT 0',
            ESearch("h", uid=True, items={"MIN": None, "COUNT": 0}),
        ),
        (
            b'* ESEARCH (TAG "h") UID PARTIAL (-1:-100 200:250) ',
            ESearch("h", uid=True, items={"PARTIAL": (b"-1:-100", b"200:250")}),
        ),
        (
            b'* ESEARCH (TAG "h" MAILBOX "x" UIDVALIDITY 1) UID ALL 4',
            ESearch("h", uid=True, all=uids("4"), items={"MAILBOX": b"x", "UIDVALIDITY": 1}),
        ),
        # RFC 5267: changes of a search that was to be kept up to date; never asked for.
        (b'* ESEARCH (TAG "A1") UID ADDTO (0 7:9)', ESearch("A1", True, None, {"ADDTO": (0, b"7:9")})),
        (b"* ESEARCH UID ALL 9,2:3", ESearch(None, True, UidSet.parse("2:3,9"), {"ALL": b"9,2:3"})),
    ]
)
def test_search(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


# --- mailboxes ---


def listed(
    name: bytes, *attributes: str, separator: str | None = "/", **extended: tuple[bytes | int | None, ...]
) -> ListItem:
    return ListItem("LIST", frozenset(attributes), separator, name, extended)


@check(
    [
        (b'* LIST () "/" INBOX', listed(b"INBOX")),
        (b'* LIST (\\HasNoChildren \\Sent) "." "INBOX.Sent Items"', listed(
            b"INBOX.Sent Items", "\\hasnochildren", "\\sent", separator=".")),
        (b'* LSUB () "/" a', ListItem("LSUB", frozenset(), "/", b"a")),
        (b'* XLIST (\\Inbox) "/" Inbox', ListItem("XLIST", frozenset({"\\inbox"}), "/", b"Inbox")),
        (b"* LIST (\\Noselect) NIL x", listed(b"x", "\\noselect", separator=None)),
        (b'* LIST () "" x', listed(b"x", separator=None)),
        (b'* LIST () "\\\\" "a\\\\b"', listed(b"a\\b", separator="\\")),
        (b'* LIST () "\\" a', listed(b"a", separator="\\")),
        (b'* LIST (\\Noselect) "/" ""', listed(b"", "\\noselect")),
        (b'* LIST () "/" "a \\"b\\" (c) {3}"', listed(b'a "b" (c) {3}')),
        (b'* LIST () "/" "a "b" c"', listed(b'a "b" c')),
        (b'* LIST () "/" "back\\slash"', listed(b"back\\slash")),
        (b'* LIST () "/" {4}\r\na"\r\n', listed(b'a"\r\n')),
        (b'* LIST () "/" {3}\r\nabc ("CHILDINFO" ("SUBSCRIBED"))', listed(b"abc", CHILDINFO=(b"SUBSCRIBED",))),
        (b'* LIST () "/" NIL', listed(b"NIL")),
        (b'* LIST () "/" 2024', listed(b"2024")),
        (b'* LIST () "/" Sent Items ', listed(b"Sent Items")),
        (b'* LIST () "/" "a\tb"', listed(b"a\tb")),
        (b'* LIST () "/" a\tb', listed(b"a\tb")),
        (b'* LIST ()\t"/"\tINBOX', listed(b"INBOX")),
        (b'* LIST () "/" &U,BTFw-]%*', listed(b"&U,BTFw-]%*")),
        (b'* LIST () "/" caf\xc3\xa9', listed(b"caf\xc3\xa9")),
        (b'* LIST () "/" foo ("OLDNAME" ("bar"))', listed(b"foo", OLDNAME=(b"bar",))),
        (b'* LIST () "/" "foo" (childinfo (SUBSCRIBED) X 5)', listed(
            b"foo", CHILDINFO=(b"SUBSCRIBED",), X=5)),  # type: ignore[arg-type]
        (b'* LIST () "/" foo ()', listed(b"foo")),
    ]
)  # fmt: skip
def test_list(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


@check(
    [
        (
            b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)",
            MailboxStatus(b"blurdybloop", {"MESSAGES": 231, "UIDNEXT": 44292}),
        ),
        (b'* STATUS "a b" (messages 1) ', MailboxStatus(b"a b", {"MESSAGES": 1})),
        (b"* STATUS {5}\r\na (b) (MESSAGES 1)", MailboxStatus(b"a (b)", {"MESSAGES": 1})),
        (b"* STATUS a b (MESSAGES 1)", MailboxStatus(b"a b", {"MESSAGES": 1})),
        (b"* STATUS INBOX ()", MailboxStatus(b"INBOX", {})),
        (b"* STATUS INBOX", MailboxStatus(b"INBOX", {})),
        (b"* STATUS INBOX (MAILBOXID (F2212ea8))", MailboxStatus(b"INBOX", {"MAILBOXID": b"F2212ea8"})),
        (b"* STATUS INBOX (MAILBOXID (0012))", MailboxStatus(b"INBOX", {"MAILBOXID": b"0012"})),
        (b"* STATUS INBOX (MAILBOXID (12))", MailboxStatus(b"INBOX", {"MAILBOXID": b"12"})),
        (
            b"* STATUS INBOX (OBJECTID (MAILBOXID F1 ACCOUNTID 0012) MESSAGES 1)",
            MailboxStatus(b"INBOX", {"OBJECTID": b"MAILBOXID F1 ACCOUNTID 0012", "MESSAGES": 1}),
        ),
        (b"* STATUS INBOX (HIGHESTMODSEQ -1)", MailboxStatus(b"INBOX", {"HIGHESTMODSEQ": -1})),
        (
            b"* STATUS INBOX (UIDNEXT 9.37e+06 MESSAGES 0)",
            MailboxStatus(b"INBOX", {"UIDNEXT": b"9.37e+06", "MESSAGES": 0}),
        ),
        (b"* STATUS INBOX (APPENDLIMIT NIL MESSAGES 1)", MailboxStatus(b"INBOX", {"MESSAGES": 1})),
        (
            b"* STATUS INBOX (SIZE 9223372036854775807 X 9223372036854775808)",
            MailboxStatus(b"INBOX", {"SIZE": 2**63 - 1, "X": b"9223372036854775808"}),
        ),
    ]
)
def test_status(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


@pytest.mark.parametrize("wire", [b'* LIST () "/" %b', b'* LIST () "/" "%b"', b"* STATUS %b ()"])
def test_mailbox_names_have_a_limit(wire: bytes) -> None:
    at = parse(Frame((wire % (b"x" * MAILBOX_NAME_BYTES_MAX),), (), is_text=False))
    assert isinstance(at, ListItem | MailboxStatus)
    above = parse(Frame((wire % (b"x" * (MAILBOX_NAME_BYTES_MAX + 1)),), (), is_text=False))
    assert isinstance(above, Unparsed)


@check(
    [
        (
            b'* NAMESPACE (("" "/")("#mh/" NIL)) NIL (("Public." "." "X" ("a" 1)))',
            Namespaces(((b"", "/"), (b"#mh/", None)), (), ((b"Public.", "."),)),
        ),
        (b"* NAMESPACE NIL NIL NIL", Namespaces((), (), ())),
        (
            b'* ID ("Name" "Dovecot" "version" NIL build 12)',
            ServerId({"name": "Dovecot", "version": None, "build": "12"}),
        ),
        (b"* ID NIL", ServerId({})),
        (b"* ID ()", ServerId({})),
    ]
)
def test_server(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


# --- FETCH ---

JULY = datetime(1996, 7, 17, 2, 44, 25, tzinfo=timezone(timedelta(hours=-7)))


@check(
    [
        (b"* 12 FETCH (UID 77 FLAGS (\\Seen))", Fetch(12, 77, ("\\Seen",))),
        (b"* 12 FETCH (FLAGS () UID 77 MODSEQ (991))", Fetch(12, 77, (), 991)),
        (b"* 12 FETCH (MODSEQ (991))", Fetch(12, modseq=991)),
        (b"* 12 FETCH (MODSEQ 991)", Fetch(12, modseq=991)),
        (b"* 12 FETCH (MODSEQ (-1))", Fetch(12, extra={"MODSEQ": (b"-1",)})),
        (
            b"* 12 FETCH (MODSEQ (9223372036854775808))",
            Fetch(12, extra={"MODSEQ": (9223372036854775808,)}),
        ),
        (b"* 12 fetch ( uid 77  flags ( \\Seen ) ) ", Fetch(12, 77, ("\\Seen",))),
        (b"* 12 FETCH (UID 77 FLAGS (a] [b c%* \xe9))", Fetch(12, 77, ("a]", "[b", "c%*", "é"))),
        (b'* 12 FETCH (FLAGS ("x" \\Seen) UID 77)', Fetch(12, 77, ("x", "\\Seen"))),
        (b'* 12 FETCH (FLAGS ("x y" \\Seen) UID 77)', Fetch(12, 77, extra={"FLAGS": (b"x y", b"\\Seen")})),
        (b'* 12 FETCH (FLAGS (" x" \\Seen) UID 77)', Fetch(12, 77, extra={"FLAGS": (b" x", b"\\Seen")})),
        (b"* 12 FETCH (FLAGS NIL UID 77)", Fetch(12, 77, extra={"FLAGS": None})),
        (b"* 12 FETCH (UID 77 UID 78 FLAGS (a) FLAGS (b))", Fetch(12, 78, ("b",))),
        (b"* 12 FETCH (UID 0)", Fetch(12, extra={"UID": 0})),
        (b"* 12 FETCH (UID 4294967296)", Fetch(12, extra={"UID": 4294967296})),
        (b"* 0 FETCH (UID 5)", Fetch(0, 5)),
        (b"* 25 UIDFETCH (FLAGS (\\Seen) MODSEQ (5))", Fetch(0, 25, ("\\Seen",), 5)),
        (b"* 12 FETCH ()", Fetch(12)),
        (b"* 12 FETCH (RFC822.SIZE 44827)", Fetch(12, size=44827)),
        (b"* 12 FETCH (RFC822.SIZE -1)", Fetch(12, extra={"RFC822.SIZE": b"-1"})),
        (b"* 12 FETCH (RFC822.SIZE 9.37e+06)", Fetch(12, extra={"RFC822.SIZE": b"9.37e+06"})),
        (b'* 12 FETCH (INTERNALDATE "17-Jul-1996 02:44:25 -0700")', Fetch(12, internal_date=JULY)),
        (
            b'* 12 FETCH (INTERNALDATE "00-Jan-0000 00:00:00 +0000" UID 5)',
            Fetch(12, 5, extra={"INTERNALDATE": b"00-Jan-0000 00:00:00 +0000"}),
        ),
        (b"* 12 FETCH (INTERNALDATE NIL)", Fetch(12, extra={"INTERNALDATE": None})),
        (b"* 12 FETCH (BODY[] {3}\r\nabc)", Fetch(12, bodies={"": b"abc"})),
        (b"* 12 FETCH (BODY[]{3}\r\nabc UID 7)", Fetch(12, 7, bodies={"": b"abc"})),
        (b"* 12 FETCH (BODY[] ~{3}\r\na\0c)", Fetch(12, bodies={"": b"a\0c"})),
        (b'* 12 FETCH (body[text] "a \\"b\\" )")', Fetch(12, bodies={"TEXT": b'a "b" )'})),
        (b"* 12 FETCH (BODY[] NIL)", Fetch(12, bodies={"": None})),
        (b'* 12 FETCH (BODY[] "")', Fetch(12, bodies={"": b""})),
        (b"* 12 FETCH (BODY[]<0> {3}\r\nabc)", Fetch(12, bodies={"<0>": b"abc"})),
        (
            b'* 12 FETCH (BODY[]<0> "abc" BODY[]<003> "def" BODY[] NIL)',
            Fetch(12, bodies={"<0>": b"abc", "<3>": b"def", "": None}),
        ),
        (b'* 12 FETCH (BODY[TEXT]<4294967295> "")', Fetch(12, bodies={"TEXT<4294967295>": b""})),
        (b"* 12 FETCH (BODY[] {1}\r\nx BODY[] NIL)", Fetch(12, bodies={"": b"x"})),
        (b"* 12 FETCH (BODY[] NIL BODY[] {1}\r\nx)", Fetch(12, bodies={"": b"x"})),
        (b"* 12 FETCH (BODY.PEEK[] {1}\r\nx)", Fetch(12, bodies={"": b"x"})),
        (b"* 12 FETCH (RFC822 {1}\r\nx)", Fetch(12, bodies={"": b"x"})),
        (b"* 12 FETCH (RFC822.HEADER {1}\r\nx RFC822.TEXT NIL)", Fetch(12, bodies={"HEADER": b"x", "TEXT": None})),
        (
            b"* 12 FETCH (BODY[HEADER.FIELDS (Date  FROM)] {6}\r\nDate:\n)",
            Fetch(12, bodies={"HEADER.FIELDS (DATE FROM)": b"Date:\n"}),
        ),
        (
            b'* 12 FETCH (BODY[1.2.HEADER.FIELDS ("Date" {4}\r\nFROM X])]<0> "" UID 7)',
            Fetch(12, 7, bodies={"1.2.HEADER.FIELDS (DATE FROM X])<0>": b""}),
        ),
        (b"* 12 FETCH (BINARY[1] ~{2}\r\nx\0 BINARY.SIZE[1] 2)", Fetch(
            12, bodies={"BINARY[1]": b"x\0"}, extra={"BINARY.SIZE[1]": 2})),
        (b"* 12 FETCH (BINARY[1.2]<7> NIL UID 3)", Fetch(12, 3, bodies={"BINARY[1.2]<7>": None})),
        (
            b'* 12 FETCH (X-GM-THRID 1278455344230334865 X-GM-MSGID 9223372036854775809 X-GM-LABELS (\\Inbox "a b"))',
            Fetch(
                12,
                extra={
                    "X-GM-THRID": 1278455344230334865,
                    "X-GM-MSGID": 9223372036854775809,
                    "X-GM-LABELS": (b"\\Inbox", b"a b"),
                },
            ),
        ),
        (b"* 12 FETCH (X-GM-LABELS (a]b [c] NIL))", Fetch(12, extra={"X-GM-LABELS": (b"a]b", b"[c]", None)})),
        (b"* 12 FETCH (EMAILID (M6d99) THREADID NIL)", Fetch(12, extra={"EMAILID": (b"M6d99",), "THREADID": None})),
        (b"* 12 FETCH (EMAILID (0099))", Fetch(12, extra={"EMAILID": (b"0099",)})),
        (
            b'* 12 FETCH (ENVELOPE (NIL  "a)b((" ((NIL NIL "x" "y"))) UID 7)',
            Fetch(12, 7, extra={"ENVELOPE": (None, b"a)b((", ((None, None, b"x", b"y"),))}),
        ),
        (
            b'* 12 FETCH (BODY ("TEXT" NIL 5)("a" {1}\r\n)))',
            Unparsed(b'* 12 FETCH (BODY ("TEXT" NIL 5)("a" ', "the name of an attribute is missing", "FETCH"),
        ),
        (b'* 12 FETCH (BODYSTRUCTURE (("a")("b" 5)))', Fetch(12, extra={"BODYSTRUCTURE": ((b"a",), (b"b", 5))})),
        (b"* 12 FETCH (BODY[] {1}\r\nx\r\n)", Fetch(12, bodies={"": b"x"})),
        (
            b"* 12 FETCH (UID 5 BODY[] {2}\r\nabc)",
            Unparsed(b"* 12 FETCH (UID 5 BODY[] ", "a value is missing", "FETCH"),
        ),
    ]
)  # fmt: skip
def test_fetch(wire: bytes, expected: Response) -> None:
    assert say(wire) == expected


DATES = [
    ("17-Jul-1996 02:44:25 -0700", JULY),
    (" 7-jul-1996 02:44:25 +0000", datetime(1996, 7, 7, 2, 44, 25, tzinfo=UTC)),
    ("7-Jul-1996 02:44:25 +0530", datetime(1996, 7, 7, 2, 44, 25, tzinfo=timezone(timedelta(minutes=330)))),
    ("00-Jan-0000 00:00:00 +0000", None),
    ("30-Feb-2020 00:00:00 +0000", None),
    ("17-Foo-1996 02:44:25 -0700", None),
    ("17-Jul-1996 25:44:25 -0700", None),
    ("17-Jul-1996 02:44:25 -9900", None),
    ("17-Jul-1996 02:44:25", None),
    ("17-Jul-1996 02:44:25 GMT", None),
    ("١٧-Jul-1996 02:44:25 -0700", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), DATES)
def test_dates(text: str, expected: datetime | None) -> None:
    date = parse_date(text)
    assert date == expected
    assert date is None or expected is None or date.utcoffset() == expected.utcoffset()


PLACES: list[tuple[bytes, tuple[int, int | None, str] | None]] = [
    (b"* 12 FETCH (UID 5 BODY[] ", (12, 5, "")),
    (b"* 12 FETCH (BODY[] ", (12, None, "")),
    (b'* 12 FETCH (BODY[1] "" UID 5 BODY[2]<0> ', (12, 5, "2<0>")),
    (b"* 7 UIDFETCH (BODY[TEXT] ", (0, 7, "TEXT")),
    (b"* 12 FETCH (RFC822 ", (12, None, "")),
    (b"* 12 FETCH (UID 5 BINARY[2] ", (12, 5, "BINARY[2]")),
    (b"* 12 FETCH (ENVELOPE (", None),
    (b"* 12 FETCH (X ", None),
    (b"* LIST () NIL ", None),
    (b"nonsense", None),
]


@pytest.mark.parametrize(("prefix", "expected"), PLACES)
def test_where_a_streamed_literal_belongs(
    prefix: bytes, expected: tuple[int, int | None, str] | None
) -> None:
    place = parse_literal_place(prefix)
    assert (place and (place[0].seq, place[0].uid, place[1])) == expected


def test_a_streamed_literal_keeps_its_place() -> None:
    frame = Frame((b"* 12 FETCH (BODY[] ", b" UID 5)"), (Streamed(99),), is_text=False)
    assert parse(frame) == Fetch(12, 5, bodies={"": Streamed(99)})
    misplaced = Frame((b"* LIST () NIL ", b""), (Streamed(99),), is_text=False)
    assert isinstance(parse(misplaced), Unparsed)


# --- limits and time ---


def quick(segment: bytes) -> Response:
    """Parses; what took more than linear time would not come back before the runner loses patience."""
    return parse(Frame((segment,), (), is_text=False))


def test_nesting_has_a_limit() -> None:
    at = b"* X " + b"(" * NESTING_MAX + b")" * NESTING_MAX
    above = b"* X " + b"(" * (NESTING_MAX + 1) + b")" * (NESTING_MAX + 1)
    assert isinstance(quick(at), Other)
    assert isinstance(quick(above), Unparsed)
    assert isinstance(quick(b"* 1 FETCH (X " + b"(" * LINE_BYTES_MAX), Unparsed)


def test_values_have_a_limit() -> None:
    assert isinstance(quick(b"* X (" + b"a " * (VALUES_MAX - 1) + b")"), Other)
    assert isinstance(quick(b"* X (" + b"a " * VALUES_MAX + b")"), Unparsed)
    assert isinstance(quick(b"* X " + b"a " * (VALUES_MAX + 1)), Unparsed)
    assert isinstance(quick(b"* 1 FETCH (" + b'BODY[] "" ' * (VALUES_MAX + 1) + b")"), Unparsed)


def test_flags_have_a_limit() -> None:
    assert isinstance(quick(b"* FLAGS (" + b"a " * FLAGS_MAX + b")"), MailboxFlags)
    assert isinstance(quick(b"* FLAGS (" + b"a " * FLAGS_MAX + b"b)"), Unparsed)
    assert isinstance(quick(b'* 1 FETCH (FLAGS ("q" ' + b"a " * FLAGS_MAX + b"))"), Unparsed)
    assert isinstance(quick(b"* 1 FETCH (FLAGS (" + b"a " * FLAGS_MAX + b"b))"), Unparsed)


def test_a_search_of_200_000_uids() -> None:
    numbers = tuple(range(1_000_000, 1_200_000))
    assert quick(b"* SEARCH " + b" ".join(b"%d" % n for n in numbers)) == Search(numbers)


@pytest.mark.parametrize(
    "segment",
    [
        b"* SEARCH " + b"9" * LINE_BYTES_MAX,
        b"* 1 FETCH (UID " + b"9" * LINE_BYTES_MAX,
        b"* 1 FETCH (FLAGS (" + b'"\\' * (LINE_BYTES_MAX // 2),
        b"* 1 FETCH (FLAGS (" + b'" (' * (LINE_BYTES_MAX // 3),
        b"* 1 FETCH (FLAGS (\\Seen " + b"x " * (LINE_BYTES_MAX // 2),
        b"* 1 FETCH (" + b"FLAGS () " * (LINE_BYTES_MAX // 9),
        b'* 1 FETCH (X "' + b'\\"' * (LINE_BYTES_MAX // 2),
        b"* 1 FETCH (" + b" " * LINE_BYTES_MAX,
        b"* 1 FETCH (BODY[" + b"(" * LINE_BYTES_MAX,
        b'* LIST () "/" "' + b'" ' * (LINE_BYTES_MAX // 2) + b"x",
        b'* LIST () "/" ' + b"a " * (LINE_BYTES_MAX // 2) + b"(",
        b'* LIST () "/" a' + b" " * LINE_BYTES_MAX + b"\t",
        b"* STATUS " + b"a " * (LINE_BYTES_MAX // 2) + b")",
        b"* VANISHED " + b"1," * (LINE_BYTES_MAX // 2) + b"x",
        b"* " + b" " * LINE_BYTES_MAX,
        b"* ESEARCH " + b"A " * 500_000,
    ],
    ids=lambda segment: repr(segment[:30]),
)
def test_the_longest_lines_take_linear_time(segment: bytes) -> None:
    quick(segment)


@pytest.mark.parametrize(
    "line",
    [
        b"A1 OK [" + b"x" * LINE_BYTES_MAX,
        b'A1 OK [X "' + b'\\"' * (LINE_BYTES_MAX // 2),
        b"A1 OK [X " + b'"" ' * (LINE_BYTES_MAX // 3),
        b"A1 OK [X (" + b"( " * (LINE_BYTES_MAX // 2),
        b"x" * LINE_BYTES_MAX,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_the_longest_texts_take_linear_time(line: bytes) -> None:
    parse(Frame((line,), (), is_text=True))


# --- anything at all ---

WORDS = [
    b"* ", b"12 ", b"FETCH ", b"LIST ", b"STATUS ", b"SEARCH ", b"ESEARCH ", b"ID ", b"NAMESPACE ", b"FLAGS ",
    b"UID ", b"BODY[", b"HEADER.FIELDS ", b"INTERNALDATE ", b"MODSEQ ", b"RFC822.SIZE ", b"VANISHED ", b"CAPABILITY ",
    b"(", b")", b"]", b'"', b"\\", b'"/" ', b"NIL ", b"99999999999 ", b"7 ", b"1:5,9 ", b"-1 ", b"OK ", b"[COPYUID ",
    b"[APPENDUID ", b"\0", b" ", b"\t", b"\xe9", b"<0>", b"A1 ", b"+", b"1-Jan-2020 00:00:00 +0000",
]  # fmt: skip
segments = st.lists(st.sampled_from(WORDS), max_size=15).map(b"".join) | st.binary(max_size=60)
literals = st.binary(max_size=10) | st.builds(Streamed, st.integers(0, 99))


@given(st.data(), st.lists(segments, min_size=1, max_size=4), st.booleans())
def test_parsing_never_raises(data: st.DataObject, texts: list[bytes], is_text: bool) -> None:
    count = len(texts) - 1
    texts[0] = data.draw(st.sampled_from([b"", b"* ", b"* 1 FETCH (", b"* LIST ", b"A1 OK ["])) + texts[0]
    values = tuple(data.draw(st.lists(literals, min_size=count, max_size=count)))
    parse(Frame(tuple(texts), values, is_text))
    parse_literal_place(texts[0])


def quote(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


strings = st.binary(max_size=30)


@given(strings, strings, st.booleans())
def test_strings_survive_the_wire(name: bytes, body: bytes, literal: bool) -> None:
    if literal or {0, 10, 13} & {*name, *body}:
        frame = Frame((b"* 1 FETCH (X ", b" BODY[] ", b")"), (name, body), is_text=False)
    else:
        text = b"* 1 FETCH (X %b BODY[] %b)" % (quote(name), quote(body))
        frame = Frame((text,), (), is_text=False)
    assert parse(frame) == Fetch(1, bodies={"": body}, extra={"X": name})
