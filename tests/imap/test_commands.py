"""How each command is written, which responses it takes, what is refused before it is sent, what may fly together."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import OpenRange, Secret, is_flag, sasl
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.encode import LITERAL_MINUS_MAX, LITERAL_PLUS_MAX, Body, Dialect, Encoder, Hold, Part
from mailtwin.imap.pipelining import may_follow
from mailtwin.model import UidSet
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX

UIDS = UidSet.parse("3:5,9")
SECRET = Secret("hunter2")
ASKED = c.Asked("A1")


def parts(command: c.Command, dialect: Dialect | None = None) -> tuple[Part, ...]:
    encoder = Encoder(dialect or Dialect())
    command.encode(encoder)
    return encoder.finish()


def line(command: c.Command, dialect: Dialect | None = None) -> bytes:
    """What goes over the wire, with `<hold>` where the server must ask."""
    shown = b""
    for part in parts(command, dialect):
        if isinstance(part, bytes):
            shown += part
        elif isinstance(part, Body):
            shown += part.chunks if isinstance(part.chunks, bytes) else b"".join(part.chunks)
        else:
            shown += b"<hold>"
    assert shown.endswith(b"\r\n")
    return shown[:-2]


WRITTEN = [
    (c.Capability(), b"CAPABILITY"),
    (c.Noop(), b"NOOP"),
    (c.Logout(), b"LOGOUT"),
    (c.StartTls(), b"STARTTLS"),
    (c.Namespace(), b"NAMESPACE"),
    (c.Idle(), b"IDLE"),
    (c.Close(), b"CLOSE"),
    (c.Unselect(), b"UNSELECT"),
    (c.Expunge(), b"EXPUNGE"),
    (c.Id(), b'ID ("name" "mailtwin")'),
    (c.Id({"name": "a", "version": "1"}), b'ID ("name" "a" "version" "1")'),
    (c.Login("me", SECRET), b'LOGIN "me" "hunter2"'),
    (c.Login('m"e', Secret('a\\b"c')), rb'LOGIN "m\"e" "a\\b\"c"'),
    (c.Login("me", Secret("pä")), b'LOGIN "me" {3}\r\n<hold>p\xc3\xa4'),
    (c.Authenticate(sasl.plain("me", SECRET)), b"AUTHENTICATE PLAIN"),
    (c.Enable(("CONDSTORE", "QRESYNC")), b"ENABLE CONDSTORE QRESYNC"),
    (c.List(), b'LIST "" "*"'),
    (c.List(("%",), "INBOX."), b'LIST "INBOX." "%"'),
    (c.List(("a", "b*")), b'LIST "" ("a" "b*")'),
    (c.List(select=("SUBSCRIBED",)), b'LIST (SUBSCRIBED) "" "*"'),
    (c.List(returns=("SPECIAL-USE", "CHILDREN")), b'LIST "" "*" RETURN (SPECIAL-USE CHILDREN)'),
    (c.List(status=("MESSAGES", "UIDNEXT")), b'LIST "" "*" RETURN (STATUS (MESSAGES UIDNEXT))'),
    (
        c.List(returns=("SPECIAL-USE",), status=("MESSAGES",)),
        b'LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES))',
    ),
    (c.Lsub(), b'LSUB "" "*"'),
    (c.StatusOf("INBOX", ("UIDNEXT", "MESSAGES")), b'STATUS "INBOX" (UIDNEXT MESSAGES)'),
    (c.Select("INBOX"), b'SELECT "INBOX"'),
    (c.Select("INBOX", condstore=True), b'SELECT "INBOX" (CONDSTORE)'),
    (
        c.Select("INBOX", resync=c.Resync(67, 90060115194045000)),
        b'SELECT "INBOX" (QRESYNC (67 90060115194045000))',
    ),
    (c.Select("INBOX", resync=c.Resync(67, 20, UIDS)), b'SELECT "INBOX" (QRESYNC (67 20 3:5,9))'),
    (c.Examine("Ä"), b'EXAMINE "&AMQ-"'),
    (c.Create("A&B"), b'CREATE "A&-B"'),
    (c.Create("Sent", ("\\Sent",)), b'CREATE "Sent" (USE (\\Sent))'),
    (c.Delete("x"), b'DELETE "x"'),
    (c.Rename("x", "y z"), b'RENAME "x" "y z"'),
    (c.Subscribe('a"b'), rb'SUBSCRIBE "a\"b"'),
    (c.Unsubscribe(b"raw &AMQ-"), b'UNSUBSCRIBE "raw &AMQ-"'),
    (c.Fetch(UIDS, ("FLAGS",)), b"UID FETCH 3:5,9 (FLAGS)"),
    (c.Fetch(OpenRange(7), ("FLAGS", "MODSEQ")), b"UID FETCH 7:* (FLAGS MODSEQ)"),
    (c.Fetch(UIDS, ("FLAGS",), 12), b"UID FETCH 3:5,9 (FLAGS) (CHANGEDSINCE 12)"),
    (c.Fetch(UIDS, ("FLAGS",), 12, vanished=True), b"UID FETCH 3:5,9 (FLAGS) (CHANGEDSINCE 12 VANISHED)"),
    (
        c.Fetch(UIDS, ("BODY.PEEK[HEADER.FIELDS (DATE FROM)]", "BODY.PEEK[]<0.1024>")),
        b"UID FETCH 3:5,9 (BODY.PEEK[HEADER.FIELDS (DATE FROM)] BODY.PEEK[]<0.1024>)",
    ),
    (
        c.Fetch(UIDS, ("FLAGS",), window=c.Window(-1, -100)),
        b"UID FETCH 3:5,9 (FLAGS) (PARTIAL -1:-100)",
    ),
    (
        c.Fetch(OpenRange(1), ("FLAGS",), 12, vanished=True, window=c.Window(1, 500)),
        b"UID FETCH 1:* (FLAGS) (PARTIAL 1:500 CHANGEDSINCE 12 VANISHED)",
    ),
    (c.Store(UIDS, "+", frozenset({"\\Seen", "$Junk"})), b"UID STORE 3:5,9 +FLAGS.SILENT ($Junk \\Seen)"),
    (c.Store(UIDS, "-", frozenset({"\\Seen"}), silent=False), b"UID STORE 3:5,9 -FLAGS (\\Seen)"),
    (
        c.Store(UIDS, "=", frozenset(), unchanged_since=5),
        b"UID STORE 3:5,9 (UNCHANGEDSINCE 5) FLAGS.SILENT ()",
    ),
    (c.Copy(UIDS, "Trash"), b'UID COPY 3:5,9 "Trash"'),
    (c.Move(UIDS, "Trash"), b'UID MOVE 3:5,9 "Trash"'),
    (c.UidExpunge(UIDS), b"UID EXPUNGE 3:5,9"),
    (c.Search(), b"UID SEARCH ALL"),
    (
        c.Search(("UID", UIDS, "UNDELETED"), ("ALL", "COUNT")),
        b"UID SEARCH RETURN (ALL COUNT) UID 3:5,9 UNDELETED",
    ),
    (c.Search(("SINCE", date(2026, 1, 5), "LARGER", 10)), b"UID SEARCH SINCE 05-Jan-2026 LARGER 10"),
    (c.Search(("SAVEDSINCE", date(2026, 1, 5))), b"UID SEARCH SAVEDSINCE 05-Jan-2026"),
    (c.Search(("SAVEDATESUPPORTED",)), b"UID SEARCH SAVEDATESUPPORTED"),
    (c.Search(window=c.Window(-1, -20)), b"UID SEARCH RETURN (PARTIAL -1:-20) ALL"),
    (
        c.Search(("UNSEEN",), ("COUNT",), c.Window(1, 500)),
        b"UID SEARCH RETURN (COUNT PARTIAL 1:500) UNSEEN",
    ),
    (
        c.Search(("HEADER", c.Text("Message-ID"), c.Text("<a@b>"))),
        b'UID SEARCH HEADER "Message-ID" "<a@b>"',
    ),
    (c.Search(("TEXT", c.Text("é"))), b"UID SEARCH CHARSET UTF-8 TEXT {2}\r\n<hold>\xc3\xa9"),
    (c.Append.of("Sent", b"x\ry\nz"), b'APPEND "Sent" {5}\r\n<hold>x\ry\nz'),
    (
        c.Append.of(
            "Sent",
            b"x",
            flags=["\\Seen", "\\Draft"],
            date=datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        ),
        b'APPEND "Sent" (\\Draft \\Seen) "03-Feb-2026 04:05:06 -0330" {1}\r\n<hold>x',
    ),
    (c.Append("x", [b"ab", b"c"], 3, binary=True), b'APPEND "x" ~{3}\r\n<hold>abc'),
]


@pytest.mark.parametrize(("command", "expected"), WRITTEN, ids=[str(row[1][:50]) for row in WRITTEN])
def test_written(command: c.Command, expected: bytes) -> None:
    assert line(command) == expected


def test_every_command_is_in_the_table() -> None:
    kinds = {
        kind
        for kind in vars(c).values()
        if isinstance(kind, type) and issubclass(kind, c.Command) and hasattr(kind, "verb")
    }
    assert kinds == {type(command) for command, _ in WRITTEN}


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 0), (-1, 5), (1, -5), (1, 2**32), (-(2**32), -1)])
def test_a_window_is_counted_from_one_end(first: int, last: int) -> None:
    with pytest.raises(LocalProtocolError):
        c.Window(first, last)


def test_utf8_names_after_enable() -> None:
    dialect = Dialect(utf8=True)
    assert line(c.Select("Ä&B"), dialect) == 'SELECT "Ä&B"'.encode()
    assert line(c.Search(("TEXT", c.Text("é"))), dialect) == 'UID SEARCH TEXT "é"'.encode()


@pytest.mark.parametrize("utf8", [False, True])
def test_a_message_is_written_the_same_whatever_its_header(utf8: bool) -> None:
    """RFC 9755 has taken the `UTF8 (~{n}...)` of RFC 6855 section 4 out again (its appendix B.1)."""
    message = "Subject: Grüße\r\n\r\n".encode()
    assert line(c.Append.of("x", message), Dialect(utf8=utf8)) == b'APPEND "x" {20}\r\n<hold>' + message


def test_a_name_of_odd_bytes_is_a_literal() -> None:
    assert line(c.Select(b"a\xffb")) == b"SELECT {3}\r\n<hold>a\xffb"
    assert line(c.Select(b"a\xffb"), Dialect(utf8=True)) == b"SELECT {3}\r\n<hold>a\xffb"


@pytest.mark.parametrize(
    ("literals", "size", "asks"),
    [
        ("ask", 0, True),
        ("minus", LITERAL_MINUS_MAX, False),
        ("minus", LITERAL_MINUS_MAX + 1, True),
        ("plus", LITERAL_MINUS_MAX + 1, False),
        ("plus", LITERAL_PLUS_MAX, False),
        ("plus", LITERAL_PLUS_MAX + 1, True),
    ],
)
def test_literals_that_need_not_ask(literals: str, size: int, asks: bool) -> None:
    written = parts(c.Append("x", b"m" * size, size), Dialect(literals))  # type: ignore[arg-type]
    assert (Hold() in written) == asks
    assert (b"+}\r\n" in written[0]) != asks  # type: ignore[operator]


ARGUMENTS = st.text(max_size=20) | st.text(alphabet="\r\n\0a ", max_size=8)


@given(ARGUMENTS)
def test_no_argument_becomes_a_second_command(text: str) -> None:
    """Whatever the text: the command is refused, or its line breaks are the encoder's own."""
    for command in (
        c.Login(text, Secret(text)),
        c.Id({text: text}),
        c.Search(("TEXT", c.Text(text))),
        c.Search((text,)),
        c.Select(text),
        c.Rename("x", text),
        c.List((text,)),
        c.Store(UIDS, "+", frozenset({text})),
        c.Fetch(UIDS, (text,)),
        c.Enable((text,)),
        c.StatusOf("x", (text,)),
    ):
        try:
            written = parts(command)
        except LocalProtocolError:
            continue
        texts = [part for part in written if isinstance(part, bytes)]
        for at, part in enumerate(texts):
            body, end = part[:-2], part[-2:]
            assert end == b"\r\n"
            assert not set(body) & set(b"\r\n\0")
            assert at == len(texts) - 1 or body.endswith(b"}")


REFUSED = [
    c.Login("a\r\nb", SECRET),
    c.Login("a", Secret("b\nNOOP")),
    c.Select("a\r\nA2 DELETE INBOX"),
    c.Select("\0"),
    c.Select("\ud800"),
    c.Login("\udcff", SECRET),
    c.Login("a", Secret("\ud800")),
    c.Select(b"a\nb"),
    c.Select(""),
    c.Create("x" * (MAILBOX_NAME_BYTES_MAX + 1)),
    c.Create("x", ("\\Sent)\r\n",)),
    c.Id({}),
    c.Enable(()),
    c.Enable(("A B",)),
    c.List(()),
    c.List(returns=("A)",)),
    c.StatusOf("INBOX", ("MESSAGES)",)),
    c.StatusOf("INBOX", ()),
    c.Fetch(OpenRange(0), ("FLAGS",)),
    c.Fetch(OpenRange(-1), ("FLAGS",)),
    c.Fetch(OpenRange(2**32), ("FLAGS",)),
    c.Fetch(UidSet(), ("FLAGS",)),
    c.Fetch(UIDS, ()),
    c.Fetch(UIDS, ("FLAGS) (",)),
    c.Fetch(UIDS, ("BODY[]",)),
    c.Fetch(UIDS, ("body[TEXT]<0.5>",)),
    c.Fetch(UIDS, ("RFC822",)),
    c.Fetch(UIDS, ("RFC822.TEXT",)),
    c.Fetch(UIDS, ("FLAGS",), vanished=True),
    c.Fetch(UIDS, ("FLAGS",), changed_since=-1),
    c.Fetch(UIDS, ("FLAGS",), changed_since=2**63),
    c.Store(UIDS, "+", frozenset({"a b"})),
    c.Store(UIDS, "+", frozenset({"é"})),
    c.Store(UIDS, "+", frozenset({"\\"})),
    c.Search(()),
    c.Search(("ALL\r\n",)),
    c.Append("x", b"", 0, date=datetime(2026, 1, 1)),  # noqa: DTZ001
    c.Append("x", b"", -1),
    c.Append("x", b"", 2**63),
]


@pytest.mark.parametrize("command", REFUSED, ids=range(len(REFUSED)))
def test_refused_before_anything_is_sent(command: c.Command) -> None:
    with pytest.raises(LocalProtocolError):
        parts(command)


def test_the_longest_name_is_written() -> None:
    assert len(line(c.Create("x" * MAILBOX_NAME_BYTES_MAX))) > MAILBOX_NAME_BYTES_MAX


def test_flags_that_imap_can_hold() -> None:
    assert all(map(is_flag, ("\\Seen", "$Junk", "a/b", "x[1", "NonJunk")))
    assert not any(map(is_flag, ("", "\\", "a b", "a]", "é", "x*", "(x", 'x"', "a\r")))


def test_no_repr_shows_a_secret() -> None:
    login = c.Login("me", SECRET)
    for value in (login, c.Authenticate(sasl.plain("me", SECRET)), SECRET, sasl.xoauth2("me", SECRET)):
        assert "hunter2" not in repr(value)
        assert "hunter2" not in str(value)
    assert "hunter2" not in repr(c.Append("x", b"hunter2", 7))


COPYUID = r.Code("COPYUID", (1, UidSet.parse("3:4"), UidSet.parse("10:11")))
FOREIGN = r.Code("COPYUID", (1, UidSet.parse("3,8"), UidSet.parse("10:11")))

TAKEN = [
    (c.Fetch(UIDS, ("FLAGS",)), r.Fetch(12, uid=4), True),
    (c.Fetch(UIDS, ("FLAGS",)), r.Fetch(4, uid=12), False),
    (c.Fetch(UIDS, ("FLAGS",)), r.Fetch(4), False),
    (c.Fetch(OpenRange(7), ("FLAGS",)), r.Fetch(1, uid=7), True),
    (c.Fetch(OpenRange(7), ("FLAGS",)), r.Fetch(1, uid=6), False),
    (c.Fetch(OpenRange(7), ("FLAGS",)), r.Fetch(7), False),
    (c.Fetch(UIDS, ("FLAGS",), 1, vanished=True), r.Vanished(UIDS, earlier=True), True),
    (c.Fetch(UIDS, ("FLAGS",), 1, vanished=True), r.Vanished(UIDS, earlier=False), False),
    (c.Fetch(UIDS, ("FLAGS",)), r.Vanished(UIDS, earlier=True), False),
    (c.Store(UIDS, "+", frozenset()), r.Fetch(1, uid=9), True),
    (c.Store(UIDS, "+", frozenset()), r.Fetch(9, uid=1), False),
    (c.Copy(UIDS, "x"), r.Status("OK", None, COPYUID), True),
    (c.Copy(UIDS, "x"), r.Status("OK", None, FOREIGN), False),
    (c.Copy(OpenRange(3), "x"), r.Status("OK", None, FOREIGN), True),
    (c.Copy(OpenRange(4), "x"), r.Status("OK", None, COPYUID), False),
    (c.Copy(UIDS, "x"), r.Status("OK", None, r.Code("COPYUID", (b"1  ",))), False),
    (c.Copy(UIDS, "x"), r.Expunge(1), False),
    (c.Move(UIDS, "x"), r.Status("OK", None, COPYUID), True),
    (c.Move(UIDS, "x"), r.Expunge(1), True),
    (c.Move(UIDS, "x"), r.Vanished(UIDS, earlier=False), True),
    (c.Append.of("x", b""), r.Status("OK", None, r.Code("APPENDUID", (1, UIDS))), False),
    (c.Search(), r.Search((1,)), True),
    (c.Search(), r.ESearch("A1", uid=True), True),
    (c.Search(), r.ESearch(None, uid=True), True),
    (c.Search(), r.ESearch("A2", uid=True), False),
    (c.StatusOf("Ä", ("MESSAGES",)), r.MailboxStatus(b"&AMQ-", {}), True),
    (c.StatusOf("INBOX", ("MESSAGES",)), r.MailboxStatus(b"Inbox", {}), True),
    (c.StatusOf("a", ("MESSAGES",)), r.MailboxStatus(b"A", {}), False),
    (c.List(), r.MailboxStatus(b"a", {}), False),
    (c.List(status=("MESSAGES",)), r.MailboxStatus(b"a", {}), True),
    (c.List(), r.ListItem("LIST", frozenset(), "/", b"a"), True),
    (c.List(), r.ListItem("XLIST", frozenset(), "/", b"a"), True),
    (c.List(), r.ListItem("LSUB", frozenset(), "/", b"a"), False),
    (c.Lsub(), r.ListItem("LSUB", frozenset(), "/", b"a"), True),
    (c.Lsub(), r.ListItem("LIST", frozenset(), "/", b"a"), False),
    (c.List(), r.Exists(3), False),
    (c.Select("x"), r.Exists(3), True),
    (c.Select("x"), r.Status("OK", None, r.Code("UIDNEXT", (4,))), True),
    (c.Select("x"), r.Status("OK", None), False),
    (c.Select("x"), r.Fetch(1, uid=1), False),
    (c.Select("x", resync=c.Resync(1, 1)), r.Fetch(1, uid=1), True),
    (c.Idle(), r.MailboxStatus(b"other", {"UIDNEXT": 7}), True),
    (c.Idle(), r.ListItem("LIST", frozenset(), "/", b"new"), True),
    (c.Idle(), r.Other("METADATA", None, (b"INBOX", b"/shared/comment")), True),
    (c.Idle(), r.Other("NOOP", None, ()), False),
    (c.Idle(), r.Exists(3), True),
    (c.Idle(), r.Status("OK", None), True),
    (c.Noop(), r.Expunge(3), True),
    (c.Noop(), r.ListItem("LIST", frozenset(), "/", b"a"), False),
    (c.Login("me", SECRET), r.Capability(frozenset()), True),
]


@pytest.mark.parametrize(("command", "response", "taken"), TAKEN, ids=range(len(TAKEN)))
def test_takes_what_answers_it_and_nothing_else(command: c.Command, response: c.Taken, taken: bool) -> None:
    assert command.takes(response, ASKED) is taken


FETCH, SELECT, STORE = c.Fetch(UIDS, ("FLAGS",)), c.Select("x"), c.Store(UIDS, "+", frozenset())
TOGETHER = [
    ([FETCH], FETCH, True),
    ([FETCH], STORE, True),
    ([STORE], c.UidExpunge(UIDS), True),
    ([c.Append.of("x", b"")], c.Append.of("x", b""), True),
    ([c.StatusOf("a", ("MESSAGES",))], c.StatusOf("b", ("MESSAGES",)), True),
    ([c.Create("a")], c.List(), True),
    ([c.List()], c.Lsub(), True),
    ([c.List()], c.List(), False),
    ([c.Search()], c.Noop(), True),
    ([c.Search()], c.Search(), False),
    ([c.Id(), c.Namespace()], c.Enable(("CONDSTORE",)), True),
    ([c.Enable(("CONDSTORE",))], c.Noop(), False),
    ([FETCH], SELECT, False),
    ([c.Noop()], SELECT, False),
    ([SELECT], FETCH, True),
    ([SELECT], c.Search(), True),
    ([SELECT], STORE, False),
    ([SELECT], c.UidExpunge(UIDS), False),
    ([SELECT], c.Move(UIDS, "y"), False),
    ([SELECT, FETCH], SELECT, False),
    ([FETCH], c.Close(), False),
    ([FETCH], c.Idle(), False),
    ([c.Idle()], c.Noop(), False),
    ([c.Noop()], c.Logout(), False),
    ([c.StartTls()], c.Capability(), False),
    ([c.Login("a", SECRET)], c.Capability(), False),
    ([], c.Logout(), True),
    ([], SELECT, True),
]


@pytest.mark.parametrize(("earlier", "command", "allowed"), TOGETHER, ids=range(len(TOGETHER)))
def test_what_may_be_in_flight_together(earlier: list[c.Command], command: c.Command, allowed: bool) -> None:
    assert may_follow(command, earlier) is allowed


def test_dates_do_not_depend_on_the_locale_and_keep_the_instant_in_odd_zones() -> None:
    odd = timezone(timedelta(minutes=53, seconds=28))
    command = c.Append("x", b"", 0, date=datetime(1900, 12, 31, 23, 59, 59, tzinfo=odd))
    assert b'"31-Dec-1900 23:59:31 +0053"' in line(command)
    assert b'"01-May-2026 00:00:00 +0000"' in line(
        c.Append("x", b"", 0, date=datetime(2026, 5, 1, tzinfo=UTC))
    )
