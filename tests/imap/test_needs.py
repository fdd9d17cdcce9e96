"""Which capabilities a command needs: a row for each command and option of an extension, none for the base protocol."""

from __future__ import annotations

import pytest
from tests.imap.kinds import KINDS, SAMPLES, UIDS

from mailtwin.imap import Connection, OpenRange, Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap.commands import notify, ordered, quota, revising, switches
from mailtwin.imap.commands.base import Command
from mailtwin.imap.needs import IN_REV2, VERBS, missing
from mailtwin.imap.state import SessionState

BASE = {
    "Append", "Capability", "Close", "Copy", "Create", "Delete", "Examine", "Expunge", "Fetch", "List", "Login",
    "Logout", "Lsub", "Noop", "Raw", "Rename", "Search", "Select", "StatusOf", "Store", "Subscribe", "Unsubscribe",
}  # fmt: skip
"""The commands that need nothing as long as no option of an extension is used."""


def state(capabilities: str = "") -> SessionState:
    connection = Connection()
    connection.receive_data(f"* PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n".encode())
    connection.next_event()
    return connection.state


def test_the_base_protocol_needs_nothing_and_every_extension_something() -> None:
    for sample in SAMPLES:
        assert bool(missing(sample, state())) is (type(sample).__name__ not in BASE), sample


def test_every_verb_of_the_table_is_a_commands() -> None:
    assert set(VERBS) <= {kind.verb for kind in KINDS}


NEEDS: list[tuple[Command, str]] = [
    (c.Id(), "ID"),
    (c.Idle(), "IDLE"),
    (c.Namespace(), "NAMESPACE"),
    (c.Unselect(), "UNSELECT"),
    (c.StartTls(), "STARTTLS"),
    (c.Enable(("CONDSTORE", "Utf8=Accept")), "ENABLE CONDSTORE UTF8=ACCEPT"),
    (c.Authenticate(sasl.plain("u", Secret("p"))), "AUTH=PLAIN"),
    (c.Authenticate(sasl.plain("u", Secret("p")), at_once=True), "AUTH=PLAIN SASL-IR"),
    (c.Append("x", b"", 0, binary=True), "BINARY"),
    (c.Create("x", ("\\Sent",)), "CREATE-SPECIAL-USE"),
    (c.Select("x", condstore=True), "CONDSTORE"),
    (c.Examine("x", resync=c.Resync(1, 2)), "QRESYNC"),
    (c.StatusOf("x", ("MESSAGES", "SIZE", "HIGHESTMODSEQ")), "STATUS=SIZE CONDSTORE"),
    (c.StatusOf("x", ("MAILBOXID", "APPENDLIMIT")), "OBJECTID APPENDLIMIT"),
    (c.UidExpunge(UIDS), "UIDPLUS"),
    (c.Move(UIDS, "x"), "MOVE"),
    (c.List(select=("SUBSCRIBED",)), "LIST-EXTENDED"),
    (c.List(("a", "b")), "LIST-EXTENDED"),
    (c.List(returns=("SPECIAL-USE",)), "LIST-EXTENDED SPECIAL-USE"),
    (c.List(status=("MESSAGES", "HIGHESTMODSEQ")), "LIST-STATUS CONDSTORE"),
    (c.Fetch(UIDS, ("EMAILID", "SAVEDATE", "preview")), "OBJECTID SAVEDATE PREVIEW"),
    (c.Fetch(UIDS, ("BINARY.PEEK[1]", "BINARY.SIZE[1]", "MODSEQ")), "BINARY CONDSTORE"),
    (c.Fetch(UIDS, ("X-GM-MSGID", "X-GM-LABELS")), "X-GM-EXT-1"),
    (c.Fetch(UIDS, ("FLAGS",), 5), "CONDSTORE"),
    (c.Fetch(OpenRange(1), ("FLAGS",), 5, vanished=True, window=c.Window(1, 9)), "CONDSTORE QRESYNC PARTIAL"),
    (c.Store(UIDS, "+", frozenset(), unchanged_since=5), "CONDSTORE"),
    (c.Search(returns=("COUNT",)), "ESEARCH"),
    (c.Search(window=c.Window(1, 9)), "ESEARCH PARTIAL"),
    (ordered.Sort(("DATE",)), "SORT"),
    (ordered.Sort(("DATE",), returns=("ALL",)), "SORT ESORT"),
    (ordered.Thread("REFERENCES"), "THREAD=REFERENCES"),
    (ordered.MakeUidBatches(500), "UIDBATCHES"),
    (notify.Notify(), "NOTIFY"),
    (quota.SetQuota("", {}), "QUOTASET"),
    (revising.Replace(1, c.Append.of("x", b"")), "REPLACE"),
    (revising.StoreLabels(UIDS, "+", frozenset()), "X-GM-EXT-1"),
    (switches.Compress(), "COMPRESS=DEFLATE"),
    (switches.GetJmapAccess(), "JMAPACCESS"),
    (switches.Unauthenticate(), "UNAUTHENTICATE"),
]


@pytest.mark.parametrize(("command", "needed"), NEEDS, ids=[f"{row[0].verb}-{row[1]}" for row in NEEDS])
def test_needs(command: Command, needed: str) -> None:
    names = needed.split()
    assert missing(command, state()) == set(names)
    assert not missing(command, state(needed))
    for name in names:
        others = " ".join(other for other in names if other != name)
        implied = {name} & {"CONDSTORE"} if "QRESYNC" in others else set()
        assert missing(command, state(others)) == {name} - implied


@pytest.mark.parametrize(
    ("command", "announced"),
    [
        (c.Select("x", condstore=True), "QRESYNC"),
        (c.Fetch(UIDS, ("PREVIEW",)), "PREVIEW=FUZZY"),
        (c.Fetch(UIDS, ("EMAILID",)), "OBJECTID+"),
        (c.StatusOf("x", ("APPENDLIMIT",)), "APPENDLIMIT=35651584"),
        (c.Enable(("UTF8=ACCEPT",)), "ENABLE UTF8=ONLY"),
    ],
)
def test_announced_by_another_name(command: Command, announced: str) -> None:
    assert not missing(command, state(announced))


def test_rev2_counts_where_it_is_enabled() -> None:
    announced = state("IMAP4rev2")
    assert missing(c.Move(UIDS, "x"), announced) == {"MOVE"}
    announced.enabled = frozenset({"IMAP4REV2"})
    assert not missing(c.Move(UIDS, "x"), announced)
    assert "MOVE" in IN_REV2
