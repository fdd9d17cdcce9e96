"""What each screen shows of the same events and reports."""

from __future__ import annotations

import dataclasses
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from mailtwin.cli import jsonform, words
from mailtwin.cli.jsonscreen import JsonScreen
from mailtwin.cli.output import Lines, aligned, harmless
from mailtwin.cli.past import Past
from mailtwin.cli.screen import TextScreen
from mailtwin.cli.status import PairStatus
from mailtwin.cli.terminal import TerminalScreen, short
from mailtwin.engine import metering
from mailtwin.engine.approving import HeldBack
from mailtwin.engine.explaining import Explanation
from mailtwin.engine.findings import Alteration, Finding, Kind, Verification, VerifiedMailbox
from mailtwin.engine.putback import Undone
from mailtwin.engine.rationing import Use
from mailtwin.engine.report import (
    CheckReport,
    Compared,
    Connected,
    Counts,
    Event,
    Listed,
    MailboxFinished,
    MailboxResult,
    MailboxStarted,
    MailboxVerified,
    MappedMailbox,
    PairPlan,
    PhaseStarted,
    PlannedMailbox,
    Problem,
    ProblemFound,
    Progress,
    Reconnecting,
    RunReport,
    Verifying,
)
from mailtwin.engine.resolving import Decision, Undecided
from mailtwin.errors import GuardError, LimitError, MessageError, UnreachableError
from mailtwin.model import INBOX, Identity, MailboxName, Side, make_flags
from mailtwin.model.traffic import NO_LIMITS, DailyLimits, Slot, Traffic, Way
from mailtwin.planner.operations import (
    Abandon,
    Adopt,
    Attempt,
    Copy,
    CopyIntent,
    CreateMailbox,
    Forget,
    ForgetMailbox,
    Hold,
    HoldMailbox,
    Identify,
    Link,
    Operation,
    Phase,
    Plan,
    Record,
    Relink,
    Remove,
    RemoveIntent,
    RemoveMailbox,
    Reset,
    Settle,
    StoreFlags,
    StoreIntent,
    Straggler,
    Unresolved,
    Verdict,
)
from mailtwin.state import (
    AccountRecord,
    Digest,
    HeldRemovals,
    HistoryEntry,
    Kept,
    LeftOver,
    MailboxRecord,
    Obstacle,
    Rest,
    RunRecord,
    Uncopied,
)

SENT = MailboxName(("Sent",))
LIST = MailboxName(("Lists", "[x]\x1b[31m"))
LINK = Link(4, "17.a", make_flags(["\\Seen"]))
INTENT = CopyIntent(Side.LEFT, 9, make_flags([]), "1", floor=20, attempt=Attempt.ACCEPTED)
STRAGGLER = Straggler(Side.LEFT, 9, make_flags([]), "1", 20, Identity("abc", "size:1", True), found=23)
SEEN = make_flags(["\\Seen"])
OPERATIONS: tuple[Operation, ...] = (
    Reset(Side.LEFT, "1", "2", "the numbering on left changed"),
    Settle(INTENT, "its copy may still arrive on right"),
    Abandon(INTENT, "its copy never reached right"),
    Identify(Side.RIGHT, (1, 2, 3), "may be the same"),
    Adopt(5, "18.b", SEEN, "the same message on both sides"),
    Relink(LINK, Side.RIGHT, "20.d", "went and came back on right"),
    Copy(Side.LEFT, 6, SEEN, "new on left"),
    Copy(Side.LEFT, 7, SEEN, "new on left"),
    Record(LINK, SEEN, "both sides show the same change of flags"),
    StoreFlags(LINK, Side.RIGHT, make_flags(["\\Flagged"]), SEEN, SEEN, "flags changed on left"),
    Remove(Side.RIGHT, "19.c", LINK, "removed on left"),
    Forget(LINK, "gone on both sides"),
    Unresolved(INTENT, "right accepted it and does not show it"),
    Hold(STRAGGLER, STRAGGLER, "an extra copy of it arrived on right late"),
    Unresolved(STRAGGLER, "an extra copy of it arrived on right late"),
)
PLAN = PairPlan(
    (
        CreateMailbox(Side.RIGHT, SENT, "new on left"),
        HoldMailbox(Side.LEFT, MailboxName(("Held",)), "missing on left"),
        RemoveMailbox(Side.LEFT, MailboxName(("Old",)), "removed on right"),
        ForgetMailbox(MailboxName(("Older",)), "missing on both sides"),
    ),
    (PlannedMailbox(INBOX, Plan(OPERATIONS), False), PlannedMailbox(LIST, Plan(), True)),
    (Problem(GuardError("too many", hint="look"), INBOX),),
    (CreateMailbox(Side.RIGHT, MailboxName(("Work",)), "new on left"),),
)
PROBLEMS = (
    Problem(MessageError("too big", hint="ask"), INBOX, Side.RIGHT, 12, "<a@b>"),
    Problem(MessageError("too big", hint="ask"), INBOX, Side.RIGHT, 13),
    Problem(GuardError("no"), SENT),
    Problem(GuardError("Odd: unusable"), None, Side.LEFT),
)
COUNTS = Counts(1, 2, 3, 4, 1, 6, 7, 5_000_000)
RESULT = MailboxResult(INBOX, False, COUNTS)
USE = Use(
    AccountRecord(
        "me@h",
        1e9,
        1e9,
        NO_LIMITS,
        (Slot(1e9 - 3600, Traffic(200 << 20, 5 << 10)),),
        Rest(1e9 + 60, "it said so"),
        (LeftOver("p", INBOX, Side.LEFT, "me@h", Way.DOWN, 1_234, 300 << 20, 10),),
    ),
    DailyLimits(down=200 << 20),
)
REPORT = RunReport((RESULT, MailboxResult(SENT, True, unchanged=True)), PROBLEMS, (USE,))
EVENTS: tuple[Event, ...] = (
    Connected(Side.LEFT, "imaps://me@h/"),
    Listed(2, 1, PLAN.mailbox_operations[:1]),
    MailboxStarted(INBOX, 1, 1),
    PhaseStarted(INBOX, Phase.COPY, 2, Plan(OPERATIONS)),
    Progress(INBOX, Phase.COPY, 1, 2, 2048),
    ProblemFound(PROBLEMS[0]),
    Reconnecting(UnreachableError("h: no answer", hint="wait"), 2.0, 3, 5),
    MailboxFinished(RESULT),
    MailboxFinished(MailboxResult(SENT, True, unchanged=True)),
    Verifying(INBOX, 1, 2, 2048),
    Compared(Finding(Kind.SAME, "INBOX", None, 1, "17.a", "<a@b>", 10)),
    Compared(
        Finding(
            Kind.ALTERED,
            "INBOX",
            None,
            4,
            "18.b",
            "<b@b>",
            10,
            (Alteration("flags", "\\Seen", "none"), Alteration("date", "2024", "2025")),
        )
    ),
    MailboxVerified(VerifiedMailbox(INBOX, {(Kind.SAME, None): 1, (Kind.ALTERED, None): 1}, 2, 2048)),
)
(FOUND,) = [
    event.finding for event in EVENTS if isinstance(event, Compared) and event.finding.kind is not Kind.SAME
]
VERIFICATION = Verification(
    (VerifiedMailbox(INBOX, {(Kind.SAME, None): 1}, 2, 2048), VerifiedMailbox(SENT, {})),
    (),
    {
        (Kind.SAME, None): 1,
        (Kind.ALTERED, None): 2,
        (Kind.MISSING, Side.RIGHT): 1,
        (Kind.MISSING, Side.LEFT): 3,
    },
    excluded=1,
)
CHECK = CheckReport(
    (("imaps://me@h/", "IMAP4REV1"), ("maildir:/m",)),
    (MappedMailbox(INBOX, "INBOX", "INBOX", "twinned"), MappedMailbox(LIST, "Lists.[x]", "", "excluded")),
    (("&bad (left)", "no such name"),),
)
WHO = Identity("abc", "size:1", True)
DATE = datetime(2020, 1, 2, tzinfo=UTC)
KEPT = (
    Kept(INBOX, Side.LEFT, 7, "1", make_flags([]), DATE, 1234, "<a@b>", WHO, "f.eml", run=7, since=1e9),
    Kept(SENT, Side.RIGHT, "17.a", "1", make_flags([]), DATE, 2000, "", WHO, "g.eml", run=2, since=1e9),
)
WHY = (
    "4 messages that both sides held are missing on the right, and would be removed on the left: all of them"
)
HELD = (
    HeldBack(
        HeldRemovals(INBOX, Side.LEFT, "1", frozenset(range(1, 5)), WHY, since=1e9), ((1, "<a@b>"), (2, ""))
    ),
    HeldBack(
        HeldRemovals(SENT, Side.RIGHT, "1", frozenset(["17.a"]), "why", approved=frozenset(["17.a"])),
        (("17.a", ""),),
    ),
)
STATUS = PairStatus(
    "imaps://me@h/",
    "maildir:/m",
    Path("/state/x.db"),
    (RunRecord(2, "sync", 1e9, None, None, {}), RunRecord(1, "sync", 1e9, 1e9 + 1, "in step", {"adopted": 3, "x": 1})),
    (MailboxRecord(INBOX, 3, 1, None, None, None, None), MailboxRecord(SENT, 1, 0, None, None, None, None)),
    (
        Undecided(INBOX, Side.LEFT, 9, 2000, "ab" * 32, "", 1e9, INTENT),
        Undecided(INBOX, Side.RIGHT, 23, None, "", "<a@b>", 1e9, STRAGGLER),
    ),
    KEPT,
    (
        Uncopied(INBOX, Side.LEFT, 5, "too big", due=None, first=1e9, last=1e9, size=2000),
        Uncopied(
            SENT, Side.RIGHT, "19.c", "not now", due=1e9 + 3600, attempts=2, first=1e9, last=1e9, message_id="<c@d>"
        ),
    ),
    HELD,
    (USE,),
)  # fmt: skip


LINES = (
    HistoryEntry(3, 1e9, INBOX, "copy", 4, "17.a", "to right: new on left", "<a@b>", 7),
    HistoryEntry(None, 1e9, INBOX, "decide", None, "18.b", "keep-extra", "", 8),
    HistoryEntry(4, 1e9, SENT, "polish", None, None, "done by a newer version", "", 9),
)
EXPLAINED = Explanation(
    INBOX,
    "<a@b>",
    ((Side.LEFT, 4), (Side.RIGHT, "17.a")),
    LINK,
    (INTENT,),
    StoreIntent(4, "17.a", Side.RIGHT, SEEN, make_flags([]), SEEN),
    (RemoveIntent(Side.RIGHT, "17.a", "1"),),
    (
        STRAGGLER,
        dataclasses.replace(STRAGGLER, found=None),
        dataclasses.replace(STRAGGLER, verdict=Verdict.KEEP),
    ),
    STATUS.unresolved[1:],
    STATUS.uncopied[:1],
    KEPT[:1],
    ((Side.RIGHT, Digest("x", "ab" * 32, 2000, "h", "<a@b>")),),
    LINES[:1],
)


class Clock:
    """Advances by 6 seconds at each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 6
        return self.now_s


def text_screen(**options: bool) -> tuple[TextScreen, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    screen = TextScreen(Lines(out), Lines(err), now_s=Clock(), **options)
    screen.begin("home", "imaps://me@h/", "maildir:/m")
    return screen, out, err


# --- text -----------------------------------------------------------------------------------------------------------

INBOX_LINE = (
    "INBOX: 1 copied to the left, 2 copied to the right (4.8 MiB), 3 recognised on both sides, "
    "4 flag changes on the left, 1 flag change on the right, 6 removed on the left, 7 removed on the right; not in step"
)


def test_events_as_text() -> None:
    screen, out, err = text_screen()
    for event in EVENTS:
        screen.event(event)
    assert out.getvalue().splitlines() == [
        "home: imaps://me@h/ <-> maildir:/m",
        (
            "INBOX: altered: UID 4 of the left and 18.b of the right, <b@b>, flags (left: \\Seen; right: none), "
            "date (left: 2024; right: 2025)"
        ),
    ]
    assert err.getvalue().splitlines() == [
        "home: imaps://me@h/ <-> maildir:/m",
        "2 mailboxes, 1 to look into",
        "Sent: create on the right (new on left)",
        "h: no answer; connecting anew in 2.0 s (3 of 5)",
        INBOX_LINE,
    ]


FINDINGS = [
    (
        Finding(Kind.SAME, "INBOX", None, 1, "17.a", "<a@b>", 10),
        "INBOX: the same: UID 1 of the left and 17.a of the right, <a@b>, 10 bytes",
    ),
    (
        Finding(Kind.MISSING, "INBOX", Side.RIGHT, 1, None, "", 10, why="by policy"),
        "INBOX: missing on the right: UID 1 of the left, 10 bytes (by policy)",
    ),
    (
        Finding(Kind.DOUBLED, "INBOX", Side.LEFT, 1, None, "<a@b>", 10),
        "INBOX: one too many on the left: UID 1 of the left, <a@b>, 10 bytes",
    ),
    (
        Finding(Kind.UNRESOLVED, "INBOX", Side.LEFT, 1, None, "<a@b>", 10, why="decide"),
        "INBOX: unresolved on the left: UID 1 of the left, <a@b>, 10 bytes (decide)",
    ),
    (
        Finding(Kind.UNREADABLE, "INBOX", None, 1, 2, why="no"),
        "INBOX: cannot be read: UID 1 of the left and UID 2 of the right (no)",
    ),
    (Finding(Kind.MISSING, "Sent", Side.RIGHT), "Sent: the mailbox is missing on the right"),
    (Finding(Kind.UNSEEN, "", Side.LEFT, why="it is short"), "not seen on the left (it is short)"),
    (Finding(Kind.UNSEEN, "INBOX", why="no"), "INBOX: not seen (no)"),
]


@pytest.mark.parametrize(("found", "expected"), FINDINGS)
def test_findings_as_text(found: Finding, expected: str) -> None:
    assert words.finding(found) == expected


def test_verification_as_text() -> None:
    screen, out, _ = text_screen(quiet=True)
    screen.verified(VERIFICATION)
    assert out.getvalue() == (
        "home: not identical: 1 message in 2 mailboxes the same on both sides, 3 missing on the left, 1 missing on the "
        "right, 2 altered, 1 mailbox left out, 2 read (2.0 KiB); 6.0 s\n"
    )
    screen.verified(Verification((), ()))
    assert out.getvalue().count("\n") == 1


def test_verified_runs_as_text() -> None:
    run = RunRecord(1, "verify", 1e9, 1e9 + 1, "identical", {"same": 1200, "differences": 1, "read": 3})
    assert words.run_counts(run) == "1,200 the same, 1 difference"
    assert words.run_counts(dataclasses.replace(run, counts={})) == "not counted"


def test_what_is_the_same_is_told_on_request_only() -> None:
    screen, out, _ = text_screen(verbose=True)
    for event in EVENTS:
        screen.event(event)
    assert "INBOX: the same: UID 1" in out.getvalue()
    lines = [line for line in json_lines(verbose=True) if line["event"] == "compared"]
    assert [line["finding"] for line in lines] == ["same", "altered"]


def test_a_long_phase_shows_signs_of_life() -> None:
    screen, _, err = text_screen()
    for done in range(5):
        screen.event(Progress(INBOX, Phase.COPY, done, 5, done * 1024))
    screen.event(Verifying(INBOX, 1, 2, 2048))
    assert err.getvalue().splitlines() == [
        "INBOX: copying, 1 of 5 (1.0 KiB)",
        "INBOX: copying, 3 of 5 (3.0 KiB)",
        "INBOX: reading, 1 of 2 (2.0 KiB)",
    ]


def test_report_as_text() -> None:
    screen, out, err = text_screen()
    screen.report(REPORT)
    assert out.getvalue().startswith("home: not in step: 1 copied to the left, 2 copied")
    assert out.getvalue().endswith("; 6.0 s\n")
    assert err.getvalue().splitlines() == [
        "problems:",
        "  on the left: Odd: unusable",
        "problems in INBOX:",
        "  on the right, UID 12, <a@b>: too big",
        "  on the right, UID 13: too big",
        "  hint: ask",
        "problems in Sent:",
        "  no",
    ]


def test_known_problems_are_told_apart_and_not_at_length() -> None:
    screen, out, err = text_screen()
    known = [
        Problem(MessageError("too big", hint="retry"), INBOX, Side.LEFT, uid, known=True)
        for uid in range(1, 14)
    ]
    result = MailboxResult(INBOX, False)
    screen.report(
        RunReport((result,), (*known, Problem(MessageError("new", hint="retry"), INBOX, Side.LEFT, 99)))
    )
    assert out.getvalue().startswith("home: not in step: ")
    assert err.getvalue().splitlines() == [
        "problems in INBOX:",
        "  on the left, UID 99: new",
        "  hint: retry",
        "known problems in INBOX:",
        *(f"  on the left, UID {uid}: too big" for uid in range(1, 11)),
        "  and 3 more, which `mailtwin status` shows",
        "  hint: retry",
    ]
    screen.report(RunReport((result,), tuple(known)))
    assert out.getvalue().splitlines()[-1].startswith("home: not in step as before: ")


def test_quiet_shows_problems_only() -> None:
    screen, out, err = text_screen(quiet=True)
    for event in EVENTS:
        screen.event(event)
    screen.report(RunReport((MailboxResult(INBOX, True, COUNTS),)))
    assert out.getvalue().splitlines()[1:] == [words.finding(FOUND)]
    assert err.getvalue() == ""
    screen.report(REPORT)
    assert "not in step" in out.getvalue()
    assert "<a@b>" in err.getvalue()


def test_plan_as_text() -> None:
    screen, out, err = text_screen()
    screen.plan(PLAN)
    assert out.getvalue().splitlines() == [
        "home: imaps://me@h/ <-> maildir:/m",
        "Held        hold: nothing is done while it is missing on the left (missing on left)",
        "INBOX       pair anew with the left: 1 message (the numbering on left changed)",
        "            make sure of an interrupted copy: 1 message (its copy may still arrive on right)",
        "            give up an interrupted copy: 1 message (its copy never reached right)",
        "            look at headers on the right: 3 messages (may be the same)",
        "            recognise on both sides: 1 message (the same message on both sides)",
        "            recognise again on the right: 1 message (went and came back on right)",
        "            copy to the right: 2 messages (new on left)",
        "            note flags: 1 message (both sides show the same change of flags)",
        "            set flags on the right: 1 message (flags changed on left)",
        "            remove on the right: 1 message (removed on left)",
        "            forget: 1 message (gone on both sides)",
        "            unresolved, left for a person: 1 message (right accepted it and does not show it)",
        "            hold what arrived late: 1 message (an extra copy of it arrived on right late)",
        "            unresolved, left for a person: 1 message (an extra copy of it arrived on right late)",
        "Old         remove on the left (removed on right)",
        "Older       forget (missing on both sides)",
        "Sent        create on the right (new on left)",
        "label Work  create on the right (new on left)",
    ]
    assert err.getvalue().splitlines() == ["problems in INBOX:", "  too many", "  hint: look"]


def test_every_operation_by_itself() -> None:
    assert words.plan_lines(Plan(OPERATIONS), verbose=True) == [
        "pair anew with the left (the numbering on left changed)",
        "make sure of an interrupted copy: UID 9 of the left (its copy may still arrive on right)",
        "give up an interrupted copy: UID 9 of the left (its copy never reached right)",
        "look at headers on the right: 3 messages (may be the same)",
        "recognise on both sides: UID 5 and 18.b (the same message on both sides)",
        "recognise again on the right: 17.a is 20.d now (went and came back on right)",
        "copy to the right: UID 6 of the left (new on left)",
        "copy to the right: UID 7 of the left (new on left)",
        "note flags: UID 4 and 17.a (both sides show the same change of flags)",
        "set flags on the right: 17.a, add \\Flagged and remove \\Seen (flags changed on left)",
        "remove on the right: 19.c (removed on left)",
        "forget: UID 4 and 17.a (gone on both sides)",
        "unresolved, left for a person: UID 9 of the left (right accepted it and does not show it)",
        "hold what arrived late: UID 23 of the right (an extra copy of it arrived on right late)",
        "unresolved, left for a person: UID 23 of the right (an extra copy of it arrived on right late)",
    ]


def test_check_as_text() -> None:
    screen, out, err = text_screen()
    screen.check(CHECK)
    assert out.getvalue().splitlines() == [
        "home: imaps://me@h/ <-> maildir:/m",
        "left: imaps://me@h/",
        "left: IMAP4REV1",
        "right: maildir:/m",
        "left       right",
        "INBOX      INBOX  twinned",
        "Lists.[x]  -      excluded",
    ]
    assert err.getvalue() == "problem: &bad (left): no such name\n"


def test_a_run_that_was_cut_short_does_not_say_how_much_it_did() -> None:
    run = RunRecord(1, "sync", 1e9, 1e9 + 1, "interrupted", {"adopted": 0})
    assert words.run_counts(run) == "not counted"
    run = dataclasses.replace(run, counts={"adopted": 3})
    assert words.run_counts(run) == "3 recognised on both sides, or more"
    run = dataclasses.replace(run, outcome="not in step", counts={})
    assert words.run_counts(run) == "nothing to do"


def test_status_as_text() -> None:
    screen, out, _ = text_screen()
    screen.status(STATUS)
    lines = out.getvalue().splitlines()
    assert lines[1:4] == [
        "state: /state/x.db",
        "2 mailboxes, 4 messages in agreement",
        "1 operation begun and not seen to end, in: INBOX",
    ]
    assert lines[4] == "2 removed messages kept (3.2 KiB); `mailtwin undo` shows them"
    at, later = words.local_time(1e9), words.local_time(1e9 + 3600)
    assert lines[5:11] == [
        (
            f"not copied: INBOX: UID 5 of the left (2.0 KiB): too big (tried once, last {at}; again when something "
            "changed, or with `mailtwin sync --retry`)"
        ),
        (
            f"not copied: Sent: 19.c of the right (<c@d>): not now (tried 2 times, last {at}; again after {later}, or "
            "with `mailtwin sync --retry`)"
        ),
        f"held back: INBOX: {WHY}; `mailtwin approve` shows the messages and asks",
        "held back: Sent: approved, the next `mailtwin sync` does it: why",
        (
            "unresolved: INBOX: UID 9 of the left (2.0 KiB, SHA-256 abababababababab): may have been stored on the "
            "right, and is not found there"
        ),
        "unresolved: INBOX: UID 23 of the right (<a@b>): an extra copy, which arrived late",
    ]
    soon, day = words.local_time(1e9 + 60), metering.moment(1e9 + 23 * 3600)
    assert lines[11:14] == [
        f"account: me@h is left alone until {soon}: it said so",
        (
            "account: me@h: 200 MiB downloaded in the last 24 hours, of 200 MiB; 1,234 messages wait (300 MiB); "
            f"it goes on at {day}, and will be done by {metering.moment(1e9 + 47 * 3600)}"
        ),
        "account: me@h: 0.005 MiB uploaded in the last 24 hours",
    ]
    assert lines[15].endswith("  2    sync  running, or killed  not counted")
    assert lines[16].endswith("  1    sync  in step             3 recognised on both sides")


def test_accounts_in_json() -> None:
    form = jsonform.account(USE)
    assert form["downloaded"] == {
        "bytes": 200 << 20,
        "limit": 200 << 20,
        "waiting": {"messages": 1_234, "bytes": 300 << 20},
        "goes_on": 1e9 + 23 * 3600,
        "done": 1e9 + 47 * 3600,
    }
    assert form["uploaded"] == {
        "bytes": 5 << 10,
        "limit": None,
        "waiting": {"messages": 0, "bytes": 0},
        "goes_on": None,
        "done": None,
    }
    assert (form["rests_until"], form["rests_because"]) == (1e9 + 60, "it said so")
    assert jsonform.error(LimitError("no", until=7.0))["until"] == 7.0


def test_what_is_kept_as_text() -> None:
    screen, out, err = text_screen()
    screen.kept(KEPT)
    assert out.getvalue().splitlines()[1:] == [
        "run 2: 1 message removed",
        "  Sent: 17.a of the right (2.0 KiB)",
        "run 7: 1 message removed",
        "  INBOX: UID 7 of the left (<a@b>)",
    ]
    screen.undone(Undone(KEPT[:1], (Problem(MessageError("no", hint="again"), INBOX, Side.LEFT, 7),)))
    assert out.getvalue().splitlines()[-1] == "1 message put back"
    assert "  on the left, UID 7: no" in err.getvalue().splitlines()
    assert words.kept_lines(()) == ["nothing is kept"]


def test_what_is_held_back_as_text() -> None:
    screen, out, _ = text_screen()
    screen.held(HELD)
    assert out.getvalue().splitlines()[1:] == [
        f"INBOX: {WHY}",
        "  UID 1 <a@b>",
        "  UID 2",
        "  and 2 messages more",
        "Sent: approved, the next `mailtwin sync` does it: why",
        "  17.a",
    ]
    assert words.held_lines(()) == ["nothing is held back"]
    assert words.approved(HELD, 0) == ["5 removals approved; the next `mailtwin sync` carries them out"]
    (whole,) = words.approved(
        [dataclasses.replace(HELD[0], held=dataclasses.replace(HELD[0].held, whole=True))], 0
    )[1:]
    assert "`--remove-mailboxes`" in whole
    assert words.approved((), 1) == ["1 mailbox changed since it was shown, and not approved: look again"]


def test_decisions_as_text() -> None:
    screen, out, _ = text_screen()
    screen.resolved(None, STATUS.unresolved)
    assert out.getvalue().splitlines()[3] == (
        "2 messages to decide; decide with --send-again or --remove-extra or --keep-extra"
    )
    assert words.resolved(None, STATUS.unresolved[:1]) == "1 message to decide; decide with --send-again"
    assert words.resolved(Decision.KEEP_EXTRA, STATUS.unresolved[1:]) == (
        "1 message decided (keep-extra); the next `mailtwin sync` carries it out"
    )
    assert words.resolved(Decision.KEEP_EXTRA, ()) == words.resolved(None, ()) == "nothing to decide"


def test_history_as_text() -> None:
    screen, out, err = text_screen()
    screen.log(Past(None, LINES, more=True))
    when = words.local_time(1e9)
    assert out.getvalue().splitlines()[1:] == [
        "when                 run  mailbox  what     message             why",
        f"{when}  3    INBOX    copied   UID 4 = 17.a <a@b>  to right: new on left",
        f"{when}  -    INBOX    decided  18.b                keep-extra",
        f"{when}  4    Sent     polish                       done by a newer version",
    ]
    assert err.getvalue() == "older ones are not shown; see --limit and --since\n"


def test_a_message_explained_as_text() -> None:
    screen, out, _ = text_screen()
    screen.explained((EXPLAINED,))
    assert out.getvalue().splitlines()[1:-1] == [
        "INBOX: UID 4 of the left, 17.a of the right, <a@b>",
        "  both sides agree on it: UID 4 = 17.a, flags: \\Seen",
        "  begun: the copy to the right: accepted, and not found there",
        "  begun: flags on the right: add \\Seen",
        "  begun: the removal on the right: not seen to end",
        "  a copy arrived late on the right, as UID 23: held",
        "  a copy to the right was given up and may arrive yet",
        "  a copy arrived late on the right, as UID 23: kept as mail of its own",
        "  waits for `mailtwin resolve`: " + words.undecided(STATUS.unresolved[1]),
        "  not copied to the right: " + words.uncopied(STATUS.uncopied[0]),
        f"  removed from the {KEPT[0].side.label} and kept: {words.message(KEPT[0].ref)}; `mailtwin undo` puts it back",
        "  read on the right: 2.0 KiB, SHA-256 abababababababab",
    ]


UNKEPT = dataclasses.replace(STATUS.uncopied[1], obstacle=Obstacle.QUARANTINE)
WORDS = [
    (words.undone(STATUS.uncopied[1]), "not copied"),
    (words.undone(UNKEPT), "not removed"),
    (words.undone_where(STATUS.uncopied[1]), "not copied to the left"),
    (words.undone_where(UNKEPT), "not removed on the right"),
    (words.number(1, "mailbox"), "1 mailbox"),
    (words.number(2, "mailbox"), "2 mailboxes"),
    (words.number(12_345, "message"), "12,345 messages"),
    (words.size(0), "0 bytes"),
    (words.size(1), "1 byte"),
    (words.size(1536), "1.5 KiB"),
    (words.size(3 * 1024**3), "3.0 GiB"),
    (words.size(2 * 1024**4), "2.0 TiB"),
    (words.duration(0.04), "0.0 s"),
    (words.duration(61), "1 min 01 s"),
    (words.duration(7_260), "2 h 01 min"),
    (words.counts(Counts()), "nothing to do"),
]


@pytest.mark.parametrize(("found", "expected"), WORDS)
def test_words(found: str, expected: str) -> None:
    assert found == expected


# --- output ---------------------------------------------------------------------------------------------------------


def test_control_characters_are_made_visible() -> None:
    assert harmless("a\x1b[31m\x07\r\x9b\tü\n") == "a\\x1b[31m\\x07\\x0d\\x9b\tü\n"


def test_a_reader_that_went_away() -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    lines = Lines(Broken())
    lines.write("one")
    lines.write("two")


def test_aligned() -> None:
    assert aligned([("a", "bb", ""), ("aaa", "b", "c")]) == ["a    bb", "aaa  b   c"]
    assert aligned([]) == []


# --- terminal -------------------------------------------------------------------------------------------------------


def terminal_screen(**options: bool) -> tuple[TerminalScreen, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    console = Console(file=err, force_terminal=True, width=100, color_system=None)
    tables = Console(file=out, force_terminal=True, width=100, color_system=None)
    settings = {"quiet": False, "verbose": False} | options
    screen = TerminalScreen(Lines(out), console, tables=tables, **settings)
    screen.begin("home", "imaps://me@h/", "maildir:/m")
    return screen, out, err


def test_terminal() -> None:
    screen, out, err = terminal_screen()
    for event in EVENTS:
        screen.event(event)
        screen._bars().refresh()
    screen.report(REPORT)
    screen.verified(VERIFICATION)
    screen.pause()
    shown = err.getvalue()
    for text in ("connected: left", "INBOX", "copying 1 of 2, 2.0 KiB", "problems in INBOX:", "<a@b>"):
        assert text in shown
    assert "reading 1 of 2, 2.0 KiB" in shown
    assert out.getvalue().splitlines()[1] == words.finding(FOUND)
    assert "home: not in step" in out.getvalue()
    assert "home: not identical" in out.getvalue()


def test_terminal_with_names_that_look_like_markup() -> None:
    screen, _, err = terminal_screen()
    screen.event(MailboxStarted(LIST, 1, 1))
    screen.event(MailboxFinished(MailboxResult(LIST, True, COUNTS)))
    screen.pause()
    assert "Lists/[x]\\x1b[31m" in err.getvalue()
    assert "\x1b[31m" not in err.getvalue()


def test_terminal_tables() -> None:
    screen, out, _ = terminal_screen()
    screen.check(CHECK)
    screen.status(STATUS)
    screen.plan(PLAN)
    assert "│ Lists.[x]" in out.getvalue()
    assert "running, or killed" in out.getvalue()


def test_long_names_beside_a_bar() -> None:
    assert short("x" * 28) == "x" * 28
    assert short("Archive/" + "x" * 40) == "..." + "x" * 25


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_lines(*, quiet: bool = False, verbose: bool = False) -> list[dict[str, object]]:
    out, err = io.StringIO(), io.StringIO()
    screen = JsonScreen(Lines(out), Lines(err), quiet=quiet, verbose=verbose)
    screen.begin("home", "imaps://me@h/", "maildir:/m")
    for event in EVENTS:
        screen.event(event)
    screen.report(REPORT)
    screen.plan(PLAN)
    screen.check(CHECK)
    screen.status(STATUS)
    screen.resolved(Decision.SEND_AGAIN, STATUS.unresolved)
    screen.held(HELD)
    screen.approved(HELD[1:], 1)
    screen.verified(VERIFICATION)
    screen.log(Past(STATUS.runs[1:]))
    screen.log(Past(None, LINES))
    screen.explained((EXPLAINED,))
    screen.checked_state(Path("/state/x.db"), ["wrong"])
    screen.kept(KEPT)
    screen.undone(Undone(KEPT[:1], (Problem(MessageError("no", hint="again"), INBOX, Side.LEFT, 7),)))
    screen.error(GuardError("too many", hint="look"))
    screen.end(3)
    assert err.getvalue() == "error: too many\nhint: look\n"
    return [json.loads(line) for line in out.getvalue().splitlines()]


def shape(value: object) -> object:
    """The names and types in a JSON value; lists are known by their first element."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_json_is_stable() -> None:
    """Adding a name here is fine; renaming or removing one needs a new version of the format."""
    expected = json.loads(Path(__file__).with_name("json_v1.json").read_text(encoding="utf-8"))
    found = {str(line["event"]): shape(line) for line in json_lines()}
    assert found == expected


def test_json_values() -> None:
    lines = json_lines()
    assert all(line["version"] == 1 for line in lines)
    assert [line["pair"] for line in lines] == ["home"] * (len(lines) - 1) + [None]
    by_event = {line["event"]: line for line in lines}
    assert by_event["report"]["counts"] == COUNTS.as_dict()
    assert by_event["report"]["exit_code"] == REPORT.exit_code
    mailboxes = by_event["plan"]["mailboxes"]
    assert isinstance(mailboxes, list)
    assert [operation["operation"] for operation in mailboxes[0]["operations"]] == [
        "reset", "settle", "abandon", "identify", "adopt", "relink", "copy", "copy", "record", "store-flags",
        "remove", "forget", "unresolved", "hold", "unresolved",
    ]  # fmt: skip
    assert mailboxes[0]["operations"][5] == {
        "operation": "relink",
        "what": "recognise again on the right",
        "why": "went and came back on right",
        "side": "right",
        "left": 4,
        "right": "20.d",
        "old": "17.a",
    }
    assert mailboxes[0]["operations"][6] == {
        "operation": "copy",
        "what": "copy to the right",
        "why": "new on left",
        "side": "right",
        "left": 6,
        "flags": ["\\Seen"],
    }


def test_quiet_json_has_results_only() -> None:
    assert [line["event"] for line in json_lines(quiet=True)] == [
        "begin", "compared", "report", "plan", "check", "status", "resolve", "held", "approve", "verify", "log",
        "history", "explain", "state-check", "kept", "undo", "error", "end",
    ]  # fmt: skip


def test_an_error_of_many_words_is_cut_in_tables_only() -> None:
    long = "failed: " + "word\n" * 500
    runs = (RunRecord(2, "sync", 1e9, 1e9 + 1, long, {}), RunRecord(1, "sync", 1e9, 1e9 + 1, "in step", {}))
    status = dataclasses.replace(STATUS, runs=runs)
    screen, out, _ = text_screen()
    screen.status(status)
    screen.log(Past(runs))
    failed = [line for line in out.getvalue().splitlines() if "failed: word word" in line]
    assert len(failed) == 2
    assert max(map(len, failed)) < 130
    assert all("... " in line for line in failed)
    machine = io.StringIO()
    JsonScreen(Lines(machine), Lines(io.StringIO())).status(status)
    assert json.loads(machine.getvalue())["runs"][0]["outcome"] == long
