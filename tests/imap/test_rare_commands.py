"""The commands that are imported only where they are used: how each is written, what answers it, what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.kinds import KINDS, UIDS
from tests.imap.test_commands import line, parts
from tests.imap.wire import say

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import Connection
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.commands import acl, metadata, notify, ordered, quota, revising, switches
from mailtwin.imap.encode import Dialect
from mailtwin.imap.extensions import Acl

NEW = ("MessageNew", "MessageExpunge")

WRITTEN: list[tuple[c.Command, bytes]] = [
    (quota.GetQuota(), b'GETQUOTA ""'),
    (quota.GetQuota("User quota"), b'GETQUOTA "User quota"'),
    (quota.GetQuota(b"\xff"), b"GETQUOTA {1}\r\n<hold>\xff"),
    (quota.GetQuotaRoot("Ä"), b'GETQUOTAROOT "&AMQ-"'),
    (quota.SetQuota("", {"STORAGE": 512, "MESSAGE": 9}), b'SETQUOTA "" (STORAGE 512 MESSAGE 9)'),
    (quota.SetQuota(b"u", {}), b'SETQUOTA "u" ()'),
    (metadata.GetMetadata("", ("/shared/comment",)), b'GETMETADATA "" ("/shared/comment")'),
    (
        metadata.GetMetadata("INBOX", ("/shared/comment", "/private/a b"), size_max=1024),
        b'GETMETADATA (MAXSIZE 1024) "INBOX" ("/shared/comment" "/private/a b")',
    ),
    (metadata.GetMetadata("x", ("/a",), depth="1"), b'GETMETADATA (DEPTH 1) "x" ("/a")'),
    (
        metadata.GetMetadata("x", ("/a",), size_max=0, depth="infinity"),
        b'GETMETADATA (MAXSIZE 0 DEPTH infinity) "x" ("/a")',
    ),
    (metadata.SetMetadata("x", {"/private/a": b"1", "/b": None}), b'SETMETADATA "x" ("/private/a" "1" "/b" NIL)'),
    (metadata.SetMetadata("", {"/a": b"x\r\ny"}), b'SETMETADATA "" ("/a" {4}\r\n<hold>x\r\ny)'),
    (metadata.SetMetadata("", {"/a": b"x\0y"}), b'SETMETADATA "" ("/a" ~{3}\r\n<hold>x\0y)'),
    (metadata.SetMetadata("", {"/a": b""}), b'SETMETADATA "" ("/a" "")'),
    (acl.GetAcl("x"), b'GETACL "x"'),
    (acl.SetAcl("x", "fred", "rwipslda"), b'SETACL "x" "fred" "rwipslda"'),
    (acl.SetAcl("x", "fred", "cda", "+"), b'SETACL "x" "fred" "+cda"'),
    (acl.SetAcl("x", "-anyone", "lr", "-"), b'SETACL "x" "-anyone" "-lr"'),
    (acl.SetAcl("x", "fred", ""), b'SETACL "x" "fred" ""'),
    (acl.DeleteAcl("x", "fred"), b'DELETEACL "x" "fred"'),
    (acl.ListRights("x", "smith"), b'LISTRIGHTS "x" "smith"'),
    (acl.GetMyRights("INBOX"), b'MYRIGHTS "INBOX"'),
    (ordered.Sort(("DATE",)), b"UID SORT (DATE) UTF-8 ALL"),
    (ordered.Sort(("REVERSE", "SIZE", "FROM"), ("UNSEEN", "UID", UIDS)),
     b"UID SORT (REVERSE SIZE FROM) UTF-8 UNSEEN UID 3:5,9"),
    (ordered.Sort(("DATE",), returns=("ALL", "COUNT")), b"UID SORT RETURN (ALL COUNT) (DATE) UTF-8 ALL"),
    (ordered.Sort(("DATE",), window=c.Window(1, 9)), b"UID SORT RETURN (PARTIAL 1:9) (DATE) UTF-8 ALL"),
    (ordered.Thread(), b"UID THREAD REFERENCES UTF-8 ALL"),
    (ordered.Thread("ORDEREDSUBJECT", ("TEXT", c.Text("é"))),
     b"UID THREAD ORDEREDSUBJECT UTF-8 TEXT {2}\r\n<hold>\xc3\xa9"),
    (ordered.MakeUidBatches(2000), b"UIDBATCHES 2000"),
    (ordered.MakeUidBatches(500, 10, 20), b"UIDBATCHES 500 10:20"),
    (ordered.MakeUidBatches(500, 22, 22), b"UIDBATCHES 500 22:22"),
    (notify.Notify(), b"NOTIFY NONE"),
    (notify.Notify((notify.Watch("selected", NEW),)), b"NOTIFY SET (selected (MessageNew MessageExpunge))"),
    (
        notify.Notify((notify.Watch("selected-delayed", (*NEW, "FlagChange"), fetch=("UID", "FLAGS")),)),
        b"NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))",
    ),
    (
        notify.Notify((
            notify.Watch("personal", (*NEW, "MailboxName", "SubscriptionChange")),
            notify.Watch("subtree", names=("Lists", "Ä")),
            notify.Watch("mailboxes", NEW, ("a b",)),
        ), status=True),
        (
            b"NOTIFY SET STATUS (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))"
            b' (subtree ("Lists" "&AMQ-") NONE) (mailboxes ("a b") (MessageNew MessageExpunge))'
        ),
    ),
    (revising.Replace(7, c.Append.of("Drafts", b"x", flags=["\\Draft"])),
     b'UID REPLACE 7 "Drafts" (\\Draft) {1}\r\n<hold>x'),
    (revising.StoreLabels(UIDS, "+", frozenset({"Ä", "\\Inbox"})),
     b'UID STORE 3:5,9 +X-GM-LABELS.SILENT (\\Inbox "&AMQ-")'),
    (revising.StoreLabels(UIDS, "=", frozenset(), silent=False), b"UID STORE 3:5,9 X-GM-LABELS ()"),
    (switches.Compress(), b"COMPRESS DEFLATE"),
    (switches.Unauthenticate(), b"UNAUTHENTICATE"),
    (switches.GetJmapAccess(), b"GETJMAPACCESS"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "expected"), WRITTEN, ids=[str(row[1][:50]) for row in WRITTEN])
def test_written(command: c.Command, expected: bytes) -> None:
    assert line(command) == expected


def test_every_rare_command_is_in_the_table() -> None:
    common = {kind for kind in vars(c).values() if isinstance(kind, type)}
    assert {type(command) for command, _ in WRITTEN} == KINDS - common


def test_a_session_that_does_not_use_them_does_not_import_them() -> None:
    code = "import sys, mailtwin.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rare = {
        f"mailtwin.imap.commands.{name}"
        for name in ("acl", "metadata", "notify", "ordered", "quota", "revising", "switches")
    }
    rare |= {
        f"mailtwin.imap.{name}"
        for name in (
            "bodystructure",
            "envelope",
            "extensions",
            "fetchdata",
            "jsonlines",
            "linelimits",
            "rarecodes",
        )
    }
    assert not rare & set(done.stdout.split())


REFUSED: list[c.Command] = [
    quota.GetQuota("a\r\nb"),
    quota.GetQuotaRoot(""),
    metadata.GetMetadata("x", ()),
    metadata.GetMetadata("x", ("comment",)),
    metadata.GetMetadata("x", ("/a*",)),
    metadata.GetMetadata("x", ("/ä",)),
    metadata.GetMetadata("x", ("/a\r\nA2 NOOP",)),
    metadata.GetMetadata("x", ("/a",), size_max=-1),
    metadata.SetMetadata("x", {}),
    metadata.SetMetadata("x", {"a": None}),
    acl.SetAcl("x", "me", "r w"),
    acl.SetAcl("x", "me", "LR"),
    acl.SetAcl("x", "me\n", "lr"),
    acl.ListRights("", "me"),
    acl.DeleteAcl("x", "a\0b"),
    ordered.Sort(()),
    ordered.Sort(("DATE)",)),
    ordered.Sort(("DATE",), ()),
    ordered.Thread("A B"),
    ordered.MakeUidBatches(499),
    ordered.MakeUidBatches(500, 0, 5),
    ordered.MakeUidBatches(500, 6, 5),
    ordered.MakeUidBatches(500, 6),
    quota.SetQuota("x", {"A B": 1}),
    quota.SetQuota("x", {"STORAGE": -1}),
    revising.Replace(7, c.Append.of("", b"x")),
    revising.StoreLabels(UIDS, "+", frozenset({"\\In box"})),
    revising.StoreLabels(UIDS, "+", frozenset({""})),
    revising.StoreLabels(UIDS, "+", frozenset({"a\r\nb"})),
    notify.Notify(status=True),
    notify.Notify((notify.Watch("selected", NEW), notify.Watch("selected-delayed", NEW))),
    notify.Notify((notify.Watch("personal", ("MessageNew",)),)),
    notify.Notify((notify.Watch("personal", ("FlagChange",)),)),
    notify.Notify((notify.Watch("personal", ("NewMail",)),)),
    notify.Notify((notify.Watch("personal", NEW, ("x",)),)),
    notify.Notify((notify.Watch("subtree", NEW),)),
    notify.Notify((notify.Watch("selected", ("MailboxName",)),)),
    notify.Notify((notify.Watch("personal", NEW, fetch=("UID",)),)),
    notify.Notify((notify.Watch("selected", fetch=("UID",)),)),
]


@pytest.mark.parametrize("command", REFUSED, ids=range(len(REFUSED)))
def test_refused_before_anything_is_sent(command: c.Command) -> None:
    with pytest.raises(LocalProtocolError):
        parts(command)


# --- which answers are theirs ---

TAKEN = [
    (quota.GetQuota(), b'* QUOTA "" (STORAGE 1 2)', True),
    (quota.GetQuota(), b'* QUOTA "x" (STORAGE 1 2)', False),
    (quota.GetQuota(), b"* QUOTAROOT INBOX", False),
    (quota.GetQuotaRoot("INBOX"), b"* QUOTAROOT Inbox x", True),
    (quota.GetQuotaRoot("a"), b"* QUOTAROOT b x", False),
    (quota.GetQuotaRoot("a"), b"* QUOTA x ()", True),
    (metadata.GetMetadata("Ä", ("/a",)), b'* METADATA "&AMQ-" (/a "1")', True),
    (metadata.GetMetadata("x", ("/a",)), b'* METADATA y (/a "1")', False),
    (metadata.GetMetadata("x", ("/a",)), b"* METADATA x /a", False),
    (acl.GetAcl("x"), b"* ACL x me lr", True),
    (acl.GetAcl("x"), b"* ACL y me lr", False),
    (acl.ListRights("x", "me"), b"* LISTRIGHTS x me lr", True),
    (acl.ListRights("x", "me"), b"* LISTRIGHTS x you lr", False),
    (acl.GetMyRights("inbox"), b"* MYRIGHTS INBOX lr", True),
    (acl.GetMyRights("x"), b"* ACL x me lr", False),
    (ordered.Sort(("DATE",)), b"* SORT 3 1", True),
    (ordered.Sort(("DATE",)), b"* SEARCH 3 1", False),
    (quota.SetQuota("x", {}), b"* QUOTA x ()", True),
    (quota.SetQuota("x", {}), b"* QUOTA y ()", False),
    (ordered.Sort(("DATE",), returns=("ALL",)), b'* ESEARCH (TAG "A1") UID ALL 3,1', True),
    (ordered.Sort(("DATE",), returns=("ALL",)), b'* ESEARCH (TAG "A2") UID ALL 3,1', False),
    (revising.Replace(7, c.Append.of("x", b"")), b"* OK [APPENDUID 1 9] stored", True),
    (revising.Replace(7, c.Append.of("x", b"")), b"* OK still here", False),
    (revising.Replace(7, c.Append.of("x", b"")), b"* 3 EXPUNGE", True),
    (revising.Replace(7, c.Append.of("x", b"")), b"* VANISHED 7", True),
    (revising.StoreLabels(UIDS, "+", frozenset()), b"* 3 FETCH (UID 9 X-GM-LABELS ())", True),
    (revising.StoreLabels(UIDS, "+", frozenset()), b"* 9 FETCH (UID 8 X-GM-LABELS ())", False),
    (ordered.Thread(), b"* THREAD (1 2)", True),
    (ordered.MakeUidBatches(500), b'* UIDBATCHES (TAG "A1") 9:1', True),
    (ordered.MakeUidBatches(500), b'* UIDBATCHES (TAG "A2") 9:1', False),
    (notify.Notify((notify.Watch("personal", NEW),), status=True), b"* STATUS x (MESSAGES 1)", True),
    (notify.Notify((notify.Watch("personal", NEW),)), b"* STATUS x (MESSAGES 1)", False),
    (notify.Notify(), b"* OK [NOTIFICATIONOVERFLOW] too much", True),
    (notify.Notify(), b"* OK still here", False),
    (notify.Notify(), b"* OK [ALERT] hm", False),
    (switches.GetJmapAccess(), b'* JMAPACCESS "https://x/jmap"', True),
    (switches.Unauthenticate(), b"* CAPABILITY IMAP4rev1", True),
]


@pytest.mark.parametrize(("command", "wire", "taken"), TAKEN, ids=range(len(TAKEN)))
def test_takes_what_answers_it_and_nothing_else(command: c.Command, wire: bytes, taken: bool) -> None:
    response = say(wire)
    assert not isinstance(response, r.Continuation)
    assert command.takes(response, c.Asked("A1")) is taken
    assert not command.takes(r.Exists(3), c.Asked("A1"))
    assert not command.takes(r.Other("X", None, ()), c.Asked("A1"))


DAMAGED = [
    (quota.GetQuota(), b'* QUOTA "" (STORAGE 1)'),
    (quota.GetQuotaRoot("x"), b'* QUOTAROOT "x'),
    (metadata.GetMetadata("x", ("/a",)), b"* METADATA x (/a)"),
    (acl.GetAcl("x"), b"* ACL x me"),
    (acl.ListRights("x", "me"), b"* LISTRIGHTS x"),
    (acl.GetMyRights("x"), b"* MYRIGHTS x (lr)"),
    (ordered.Sort(("DATE",)), b"* SORT 1 two"),
    (ordered.Sort(("DATE",), returns=("ALL",)), b"* ESEARCH UID ALL ("),
    (quota.SetQuota("", {}), b'* QUOTA "" (STORAGE 1)'),
    (revising.Replace(7, c.Append.of("x", b"")), b"* EXPUNGE"),
    (ordered.Thread(), b"* THREAD (1 2"),
    (ordered.MakeUidBatches(500), b"* UIDBATCHES 9:1"),
    (notify.Notify((notify.Watch("personal", NEW),), status=True), b"* STATUS x (MESSAGES)"),
    (switches.GetJmapAccess(), b"* JMAPACCESS"),
]


@pytest.mark.parametrize(("command", "wire"), DAMAGED, ids=[str(row[1]) for row in DAMAGED])
def test_a_damaged_answer_makes_the_command_incomplete(command: c.Command, wire: bytes) -> None:
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    select = connection.send(c.Select("x"))
    connection.data_to_send()
    connection.receive_data(select.tag.encode() + b" OK in\r\n")
    connection.next_event()
    handle = connection.send(command)
    connection.receive_data(wire + b"\r\n")
    connection.next_event()
    assert len(handle.incomplete) == 1
    assert handle.taken == 0


# --- both directions ---

ENTRIES = st.from_regex(r"/(private|shared)/[a-z0-9/ ().-]{1,20}", fullmatch=True).map(str.rstrip)


@given(st.dictionaries(ENTRIES, st.none() | st.binary(max_size=30), min_size=1, max_size=4), st.booleans())
def test_annotations_survive_the_wire(values: dict[str, bytes | None], plus: bool) -> None:
    """What SETMETADATA writes, METADATA reads."""
    command = metadata.SetMetadata("INBOX", values)
    written = line(command, Dialect("plus" if plus else "ask")).replace(b"<hold>", b"")
    response = say(b"* METADATA " + written.removeprefix(b"SETMETADATA "))
    assert isinstance(response, r.Other)
    assert response.value is not None
    assert response.value.values == values  # type: ignore[attr-defined]


@given(
    st.lists(
        st.tuples(st.text("abc -@", min_size=1, max_size=6), st.text("lrswipkxtea", max_size=6)), max_size=3
    )
)
def test_rights_survive_the_wire(entries: list[tuple[str, str]]) -> None:
    """What SETACL writes for each, ACL reads."""
    words = b"".join(
        b" " + line(acl.SetAcl("x", identifier, rights)).removeprefix(b'SETACL "x" ')
        for identifier, rights in entries
    )
    response = say(b'* ACL "x"' + words)
    assert isinstance(response, r.Other)
    assert response.value == Acl(b"x", tuple((name.encode(), rights) for name, rights in entries))


def test_a_replaced_message_is_told_with_the_mailbox_of_the_new_one() -> None:
    assert revising.Replace(7, c.Append.of("Drafts", b"x")).about == "Drafts"
    assert revising.StoreLabels(UIDS, "+", frozenset()).about is None
