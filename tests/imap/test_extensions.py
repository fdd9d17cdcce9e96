"""What the rarer untagged responses say: one row per shape, the examples of the RFCs first."""

from __future__ import annotations

import pytest
from tests.imap.wire import say

from mailtwin.imap import parser
from mailtwin.imap.extensions import (
    READERS,
    Acl,
    JmapAccess,
    ListedRights,
    Metadata,
    MyRights,
    Partial,
    Quota,
    QuotaRoots,
    Sorted,
    ThreadMember,
    Threads,
    UidBatches,
    Usage,
    child_info,
    is_same_mailbox,
    old_name,
    order_of,
    partial_of,
)
from mailtwin.imap.framing import Frame
from mailtwin.imap.parser import parse
from mailtwin.imap.responses import ESearch, ListItem, Other, Streamed, Unparsed
from mailtwin.imap.tokens import VALUES_MAX, Malformed
from mailtwin.model import UidSet
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX, NESTING_MAX


def thread(*members: tuple[int, int | None]) -> tuple[ThreadMember, ...]:
    return tuple(ThreadMember(*member) for member in members)


SAID: list[tuple[bytes, object]] = [
    # RFC 9208
    (b'* QUOTA "" (STORAGE 10 512)', Quota(b"", {"STORAGE": Usage(10, 512)})),
    (b"* QUOTA x (storage 10 512 MESSAGE 3 9)", Quota(b"x", {"STORAGE": Usage(10, 512), "MESSAGE": Usage(3, 9)})),
    (b'* QUOTA "" ()', Quota(b"", {})),
    (b'* QUOTA "ROOT"', Quota(b"ROOT", {})),  # Courier
    (b'* QUOTA "" (STORAGE 0 9223372036854775807)', Quota(b"", {"STORAGE": Usage(0, 2**63 - 1)})),
    (b'* QUOTA {3}\r\na"b (STORAGE 1 2) ', Quota(b'a"b', {"STORAGE": Usage(1, 2)})),
    (b"* QUOTA NIL (STORAGE 1 2)", Quota(b"NIL", {"STORAGE": Usage(1, 2)})),
    (b'* QUOTAROOT INBOX ""', QuotaRoots(b"INBOX", (b"",))),
    (b"* QUOTAROOT comp.mail.mime", QuotaRoots(b"comp.mail.mime", ())),
    (b'* QUOTAROOT "a b" x 12 "y z"', QuotaRoots(b"a b", (b"x", b"12", b"y z"))),
    # RFC 5464
    (b'* METADATA "INBOX" (/private/comment "My own comment")', Metadata(
        b"INBOX", {"/private/comment": b"My own comment"})),
    (b'* METADATA "" (/Shared/Comment NIL /private/x 12)', Metadata(
        b"", {"/shared/comment": None, "/private/x": b"12"})),
    (b"* METADATA INBOX (/private/comment {3}\r\na\r\n /b ~{3}\r\nx\0y)", Metadata(
        b"INBOX", {"/private/comment": b"a\r\n", "/b": b"x\0y"})),
    (b'* METADATA "" /shared/comment', Metadata(b"", {}, ("/shared/comment",))),
    (b'* METADATA "INBOX" /shared/comment "/private/comment"', Metadata(
        b"INBOX", {}, ("/shared/comment", "/private/comment"))),
    (b"* METADATA x ()", Metadata(b"x", {})),
    # RFC 4314
    (b"* ACL INBOX Fred rwipsldexta -anyone wetd $team w", Acl(
        b"INBOX", ((b"Fred", "rwipsldexta"), (b"-anyone", "wetd"), (b"$team", "w")))),
    (b'* ACL "a b"', Acl(b"a b", ())),
    (b'* ACL x me ""', Acl(b"x", ((b"me", ""),))),
    (b"* LISTRIGHTS ~/Mail/saved smith la r swicdkxte", ListedRights(
        b"~/Mail/saved", b"smith", "la", ("r", "swicdkxte"))),
    (b'* LISTRIGHTS archive anyone "" l r s w i p k x t e c d a 0 1', ListedRights(
        b"archive", b"anyone", "", tuple("lrswipkxtecda01"))),
    (b"* MYRIGHTS INBOX rwiptsldaex ", MyRights(b"INBOX", "rwiptsldaex")),
    (b'* MYRIGHTS INBOX ""', MyRights(b"INBOX", "")),
    # RFC 5256, RFC 7162
    (b"* SORT 2 84 882", Sorted((2, 84, 882))),
    (b"* SORT", Sorted(())),
    (b"* SORT 5 3 ", Sorted((5, 3))),
    (b"* SORT 2 84 (MODSEQ 620162338)", Sorted((2, 84), 620162338)),
    (b"* THREAD (166)(167)(168)", Threads((
        thread((166, None)), thread((167, None)), thread((168, None))))),
    (b"* THREAD (2)(3 6 (4 23)(44 7 96))", Threads((
        thread((2, None)), thread((3, None), (6, 3), (4, 6), (23, 4), (44, 6), (7, 44), (96, 7))))),
    (b"* THREAD ((3)(5))", Threads((thread((3, None), (5, None)),))),
    (b"* THREAD (1 (2 (3)(4))(5))", Threads((
        thread((1, None), (2, 1), (3, 2), (4, 2), (5, 1)),))),
    (b"* THREAD", Threads(())),
    # RFC 10022
    (b'* UIDBATCHES (TAG "A143") 215295:99696,99695:20351,20350:7830,7829:1', UidBatches(
        "A143", ((99696, 215295), (20351, 99695), (7830, 20350), (1, 7829)))),
    (b'* UIDBATCHES (TAG "A1")', UidBatches("A1", ())),
    (b"* UIDBATCHES (tag A1) 7,6:1", UidBatches("A1", ((7, 7), (1, 6)))),
    # RFC 9698
    (b'* JMAPACCESS "https://example.com/.s/[jmap]"', JmapAccess("https://example.com/.s/[jmap]")),
    (b"* JMAPACCESS https://example.com/jmap", JmapAccess("https://example.com/jmap")),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "value"), [pytest.param(*row, id=repr(row[0])[2:60]) for row in SAID])
def test_said(wire: bytes, value: object) -> None:
    response = say(wire)
    assert isinstance(response, Other), response
    assert response.value == value


def test_every_reader_has_rows_and_is_known_to_the_parser() -> None:
    assert {wire.split()[1].decode() for wire, _ in SAID} == set(READERS) == parser.EXTENSIONS


DAMAGED = [
    b'* QUOTA "" (STORAGE 10)',
    b'* QUOTA "" (STORAGE ten 512)',
    b'* QUOTA "" (STORAGE 1 9223372036854775808)',
    b'* QUOTA "" (STORAGE -1 5)',
    b'* QUOTA "" STORAGE 10 512',
    b"* QUOTA",
    b'* QUOTA "" (STORAGE 1 2) x',
    b"* QUOTAROOT",
    b"* QUOTAROOT INBOX (x)",
    b"* METADATA INBOX",
    b"* METADATA INBOX (/a)",
    b"* METADATA INBOX (/a (b))",
    b'* METADATA INBOX (a "b")',
    b"* METADATA INBOX comment",
    b"* METADATA INBOX (/a b) c",
    b"* METADATA INBOX NIL",
    b"* ACL",
    b"* ACL INBOX me",
    b"* ACL INBOX me l-r",
    b"* ACL INBOX (me lr)",
    b"* LISTRIGHTS INBOX me",
    b"* LISTRIGHTS INBOX me lr (s)",
    b"* MYRIGHTS INBOX",
    b"* MYRIGHTS INBOX lr s",
    b"* SORT 0",
    b"* SORT 4294967296",
    b"* SORT 1 x",
    b"* SORT 1 (MODSEQ x)",
    b"* SORT 1 {1}\r\n2",
    b"* THREAD 1",
    b"* THREAD (1",
    b"* THREAD (x)",
    b"* THREAD (0)",
    b"* THREAD (NIL)",
    b"* THREAD (4294967296)",
    b"* THREAD (1 (2) 3)",
    b"* UIDBATCHES",
    b"* UIDBATCHES 5:1",
    b"* UIDBATCHES (MAILBOX x) 5:1",
    b'* UIDBATCHES (TAG "A1") 5:0',
    b'* UIDBATCHES (TAG "A1") 5:*',
    b'* UIDBATCHES (TAG "A1") 9:5,5:1',
    b'* UIDBATCHES (TAG "A1") 9:5, 4:1',
    b"* JMAPACCESS",
    b"* JMAPACCESS a b",
]


@pytest.mark.parametrize("wire", DAMAGED, ids=lambda wire: repr(wire)[2:60])
def test_damage_is_named_and_keeps_its_bytes(wire: bytes) -> None:
    response = say(wire)
    assert isinstance(response, Unparsed), response
    assert response.name == wire.split()[1].decode()
    assert response.raw == wire.split(b"{1}")[0]
    assert response.reason


def test_a_number_in_front_makes_it_something_else() -> None:
    assert say(b"* 5 QUOTA x") == Other("QUOTA", 5, (b"x",))


def test_an_annotation_too_large_to_be_held_is_not_read() -> None:
    frame = Frame((b"* METADATA INBOX (/a ", b")"), (Streamed(99_999),), is_text=False)
    assert isinstance(parse(frame), Unparsed)


def test_mailbox_names_have_a_limit() -> None:
    for head in (b"QUOTAROOT", b"ACL"):
        at = b"* " + head + b" " + b"x" * MAILBOX_NAME_BYTES_MAX
        assert isinstance(parse(Frame((at,), (), is_text=False)), Other)
        assert isinstance(parse(Frame((at + b"x",), (), is_text=False)), Unparsed)


def quick(segment: bytes) -> object:
    return parse(Frame((segment,), (), is_text=False))


def test_a_thread_can_be_long_and_is_limited_in_depth() -> None:
    long = quick(b"* THREAD (" + b" ".join(b"%d" % n for n in range(1, 200_001)) + b")")
    assert isinstance(long, Other)
    assert isinstance(long.value, Threads)
    assert long.value.threads[0][-1] == ThreadMember(200_000, 199_999)
    assert repr(long.value)
    deepest = b"(1 " * NESTING_MAX + b"2" + b")" * NESTING_MAX
    assert isinstance(quick(b"* THREAD " + deepest), Other)
    assert isinstance(quick(b"* THREAD (" + deepest + b")"), Unparsed)


def test_what_they_hold_has_a_limit() -> None:
    assert isinstance(quick(b"* SORT" + b" 1" * VALUES_MAX), Other)
    assert isinstance(quick(b"* SORT" + b" 1" * (VALUES_MAX + 1)), Unparsed)
    assert isinstance(quick(b"* QUOTAROOT x" + b" y" * (VALUES_MAX + 1)), Unparsed)
    batches = b'* UIDBATCHES (TAG "x") ' + b",".join(b"%d" % n for n in range(1, VALUES_MAX + 1))
    assert isinstance(quick(batches), Other)
    assert isinstance(quick(batches + b",2000000"), Unparsed)


# --- items of LIST and ESEARCH ---


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"UID PARTIAL (-1:-100 200:250,252:300)", Partial(-1, -100, UidSet.parse("200:250,252:300"))),
        (b"UID PARTIAL (1:500 NIL)", Partial(1, 500, UidSet())),
        (b"UID PARTIAL (7 99)", Partial(7, 7, UidSet.parse("99"))),
        (b"UID ALL 1:5", None),
    ],
)
def test_partial(wire: bytes, expected: Partial | None) -> None:
    answer = say(b'* ESEARCH (TAG "A1") ' + wire)
    assert isinstance(answer, ESearch)
    assert partial_of(answer) == expected


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"UID ALL 30,5:7,2", (30, 5, 6, 7, 2)),
        (b"UID ALL 7:5", (5, 6, 7)),
        (b"UID ALL 2:4,9", (2, 3, 4, 9)),
        (b"UID COUNT 0", ()),
    ],
)
def test_the_order_of_a_sort(wire: bytes, expected: tuple[int, ...]) -> None:
    answer = say(b'* ESEARCH (TAG "A1") ' + wire)
    assert isinstance(answer, ESearch)
    assert order_of(answer) == expected
    assert (answer.all or UidSet()) == UidSet.of(expected)


def test_an_order_too_long_to_be_written_out() -> None:
    answer = say(b"* ESEARCH UID ALL 1:4294967295")
    assert isinstance(answer, ESearch)
    with pytest.raises(Malformed):
        order_of(answer)


@pytest.mark.parametrize(
    "value", [b"(1:5)", b"(x 5)", b"(0:5 5)", b"(1:5 x)", b"(1:5 (5))", b"5", b"(1:* 5)"]
)
def test_partial_nonsense_is_refused(value: bytes) -> None:
    answer = say(b'* ESEARCH (TAG "A1") UID PARTIAL ' + value)
    assert isinstance(answer, ESearch)
    with pytest.raises(Malformed):
        partial_of(answer)


@pytest.mark.parametrize(
    ("wire", "children", "old"),
    [
        (b"foo", frozenset(), None),
        (b'"foo" ("CHILDINFO" ("SUBSCRIBED"))', frozenset({"SUBSCRIBED"}), None),
        (b"foo (childinfo (subscribed special-use))", frozenset({"SUBSCRIBED", "SPECIAL-USE"}), None),
        (b'foo ("OLDNAME" ("b a r"))', frozenset(), b"b a r"),
        (b'foo ("OLDNAME" ("12") CHILDINFO NIL)', frozenset(), b"12"),
        (b"foo (OLDNAME bar)", frozenset(), b"bar"),
        (b"foo (OLDNAME (a b))", frozenset(), None),
    ],
)
def test_extended_list_data(wire: bytes, children: frozenset[str], old: bytes | None) -> None:
    item = say(b'* LIST () "/" ' + wire)
    assert isinstance(item, ListItem)
    assert (child_info(item), old_name(item)) == (children, old)


def test_the_same_mailbox() -> None:
    assert is_same_mailbox("Ä", b"&AMQ-", utf8=False)
    assert is_same_mailbox("Ä", "Ä".encode(), utf8=True)
    assert is_same_mailbox(b"inbox", b"INBOX", utf8=False)
    assert not is_same_mailbox("a", b"A", utf8=False)
