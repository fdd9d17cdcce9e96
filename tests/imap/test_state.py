"""What the server says becomes what is true: rows of `heard -> state`, and the phases."""

from __future__ import annotations

import pytest
from tests.imap.kinds import KINDS

from mailtwin.imap import Connection, Phase, Secret, SelectedMailbox
from mailtwin.imap import commands as c
from mailtwin.imap.commands import switches
from mailtwin.imap.encode import Dialect
from mailtwin.imap.state import AFTER, ALERTS_MAX, ALLOWED
from mailtwin.model import UidSet
from mailtwin.model.limits import CAPABILITIES_MAX

LOGIN = c.Login("u", Secret("p"))


class Session:
    """A connection and the server's lines."""

    def __init__(self, greeting: bytes = b"* OK hi") -> None:
        self.connection = Connection()
        self.state = self.connection.state
        self.hear(greeting)

    def hear(self, *lines: bytes) -> None:
        for line in lines:
            self.connection.receive_data(line + b"\r\n")
        while self.connection.next_event() is not None:
            pass

    def do(self, command: c.Command, *lines: bytes, reply: bytes = b"OK") -> None:
        """Sends a command; the server says `lines`, then the tagged reply."""
        handle = self.connection.send(command)
        while self.connection.data_to_send():
            pass
        self.hear(*lines, handle.tag.encode() + b" " + reply)

    @property
    def box(self) -> SelectedMailbox:
        assert self.state.selected is not None
        return self.state.selected


def selected(*lines: bytes, capabilities: bytes = b"IMAP4REV1") -> Session:
    session = Session(b"* PREAUTH [CAPABILITY " + capabilities + b"] hi")
    session.do(c.Select("INBOX"), *lines)
    return session


# --- capabilities (rule R1) ---


def test_capabilities_of_the_greeting() -> None:
    session = Session(b"* OK [CAPABILITY imap4rev1 Idle] hi")
    assert session.state.capabilities == {"IMAP4REV1", "IDLE"}
    assert session.state.capabilities_known
    assert session.state.has("idle")


def test_no_capabilities_are_not_known() -> None:
    assert not Session().state.capabilities_known


def test_untagged_capabilities_inside_login_replace_the_greetings() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 OLD] hi")
    session.do(LOGIN, b"* CAPABILITY IMAP4rev1 UIDPLUS")
    assert session.state.capabilities == {"IMAP4REV1", "UIDPLUS"}
    assert session.state.capabilities_known


def test_unauthenticate_forgets_all_that_the_user_had() -> None:
    session = selected(capabilities=b"IMAP4rev1 ENABLE CONDSTORE UNAUTHENTICATE")
    session.do(c.Namespace(), b'* NAMESPACE (("" "/")) NIL NIL')
    session.do(c.Enable(("CONDSTORE",)), b"* ENABLED CONDSTORE")
    session.do(switches.Unauthenticate())
    state = session.state
    assert (state.phase, state.selected) == (Phase.NOT_AUTHENTICATED, None)
    assert (state.enabled, state.namespaces) == (frozenset(), None)
    assert (state.capabilities, state.capabilities_known) == (frozenset(), False)


def test_unauthenticate_may_say_what_holds_next() -> None:
    session = selected(capabilities=b"IMAP4rev1 UNAUTHENTICATE QUOTA")
    session.do(switches.Unauthenticate(), reply=b"OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] out")
    assert session.state.capabilities == {"IMAP4REV1", "AUTH=PLAIN"}
    session.do(LOGIN)
    assert session.state.phase is Phase.AUTHENTICATED


def test_a_code_in_the_tagged_ok_of_login_replaces_them() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 OLD] hi")
    session.do(LOGIN, b"* CAPABILITY MIDDLE", reply=b"OK [CAPABILITY IMAP4rev1 UIDPLUS] in")
    assert session.state.capabilities == {"IMAP4REV1", "UIDPLUS"}


def test_login_without_capabilities_forgets_them() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 OLD] hi")
    session.do(LOGIN)
    assert not session.state.capabilities_known
    assert not session.state.has("OLD")


def test_a_refused_login_forgets_nothing() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1] hi")
    session.do(LOGIN, reply=b"NO wrong")
    assert session.state.capabilities_known
    assert session.state.phase is Phase.NOT_AUTHENTICATED


def test_starttls_forgets_them() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi")
    session.do(c.StartTls(), reply=b"OK [CAPABILITY FORGED] go")
    assert not session.state.capabilities_known
    assert not session.state.has("FORGED")


def test_nothing_said_in_the_clear_counts_inside_tls() -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hi")
    session.hear(b"* ENABLED UTF8=ACCEPT")
    session.hear(b'* NAMESPACE (("forged." ".")) NIL NIL')
    session.hear(b'* ID ("name" "Dovecot")')
    session.hear(b"* OK [ALERT] call this number")
    session.do(c.StartTls(), reply=b"OK [ALERT] and say your password")
    state = session.state
    assert not state.utf8
    assert state.namespaces is None
    assert state.server_name == ""
    assert not state.alerts


@pytest.mark.parametrize(("word", "known"), [(b"OK", False), (b"NO", True)])
def test_a_referral_says_nothing_about_capabilities(word: bytes, known: bool) -> None:
    session = Session(b"* OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS] hi")
    session.do(LOGIN, reply=word + b" [REFERRAL imap://me;AUTH=*@other.example/] go there")
    assert session.state.capabilities_known is known
    assert session.state.has("LOGIN-REFERRALS") is known


def test_the_last_word_wins_wherever_it_comes_from() -> None:
    session = Session(b"* OK [CAPABILITY A] hi")
    session.do(LOGIN, b"* OK [CAPABILITY B] x", b"* CAPABILITY C", b"* OK [CAPABILITY D] y")
    assert session.state.capabilities == {"D"}


def test_the_limit_on_capabilities() -> None:
    at = b" ".join(b"X%d" % number for number in range(CAPABILITIES_MAX))
    session = Session(b"* OK [CAPABILITY " + at + b"] hi")
    assert len(session.state.capabilities) == CAPABILITIES_MAX
    session = Session()
    session.hear(b"* CAPABILITY Y " + at)
    assert len(session.state.capabilities) <= CAPABILITIES_MAX


@pytest.mark.parametrize(
    ("capabilities", "literals"),
    [(b"A", "ask"), (b"LITERAL-", "minus"), (b"LITERAL+", "plus"), (b"IMAP4rev2", "ask")],
)
def test_how_literals_are_written_follows_the_capabilities(capabilities: bytes, literals: str) -> None:
    assert Session(b"* PREAUTH [CAPABILITY " + capabilities + b"] hi").state.dialect.literals == literals


# --- enable ---


def test_enabled_changes_how_names_are_written() -> None:
    session = Session(b"* PREAUTH [CAPABILITY ENABLE UTF8=ACCEPT] hi")
    assert session.state.dialect == Dialect("ask", utf8=False)
    session.do(c.Enable(("UTF8=ACCEPT",)), b"* ENABLED UTF8=ACCEPT")
    assert session.state.dialect == Dialect("ask", utf8=True)


def test_a_silent_enable_counts_what_is_announced() -> None:
    session = Session(b"* PREAUTH [CAPABILITY ENABLE CONDSTORE] hi")
    session.do(c.Enable(("CONDSTORE", "QRESYNC")))
    assert session.state.enabled == {"CONDSTORE"}


def test_an_empty_enabled_enables_nothing() -> None:
    session = Session(b"* PREAUTH [CAPABILITY ENABLE CONDSTORE] hi")
    session.do(c.Enable(("CONDSTORE",)), b"* ENABLED")
    assert session.state.enabled == frozenset()


def test_a_refused_enable_enables_nothing() -> None:
    session = Session(b"* PREAUTH [CAPABILITY ENABLE CONDSTORE] hi")
    session.do(c.Enable(("CONDSTORE",)), reply=b"NO no")
    assert session.state.enabled == frozenset()


# --- phases ---


def test_every_command_has_a_row_of_phases() -> None:
    verbs = {kind.verb for kind in KINDS}
    assert set(ALLOWED) == verbs
    assert {verb for verb, _ in AFTER} <= verbs


@pytest.mark.parametrize(
    ("command", "reply", "before", "after"),
    [
        (c.Select("x"), b"OK", b"", Phase.SELECTED),
        (c.Select("x"), b"NO", b"", Phase.AUTHENTICATED),
        (c.Select("x"), b"NO", b"selected", Phase.AUTHENTICATED),
        (c.Select("x"), b"BAD", b"selected", Phase.AUTHENTICATED),
        (c.Examine("x"), b"OK", b"", Phase.SELECTED),
        (c.Close(), b"OK", b"selected", Phase.AUTHENTICATED),
        (c.Close(), b"NO", b"selected", Phase.SELECTED),
        (c.Unselect(), b"OK", b"selected", Phase.AUTHENTICATED),
        (c.Unselect(), b"BAD", b"selected", Phase.SELECTED),
        (c.Noop(), b"BAD", b"selected", Phase.SELECTED),
        (switches.Unauthenticate(), b"OK", b"selected", Phase.NOT_AUTHENTICATED),
        (switches.Unauthenticate(), b"OK", b"", Phase.NOT_AUTHENTICATED),
        (switches.Unauthenticate(), b"NO", b"selected", Phase.SELECTED),
        (switches.Compress(), b"OK", b"selected", Phase.SELECTED),
    ],
)
def test_phases_change_by_tagged_replies(
    command: c.Command, reply: bytes, before: bytes, after: Phase
) -> None:
    session = selected() if before else Session(b"* PREAUTH hi")
    session.do(command, reply=reply)
    assert session.state.phase is after
    assert (session.state.selected is not None) == (after is Phase.SELECTED)


# --- the selected mailbox ---

ROWS = b"* 3 EXISTS", b"* OK [UIDVALIDITY 7] v", b"* OK [UIDNEXT 40] n", b"* OK [HIGHESTMODSEQ 99]"


def test_what_select_says() -> None:
    session = selected(
        *ROWS, b"* FLAGS (\\Seen x)", b"* OK [PERMANENTFLAGS (\\Seen \\*)] p", b"* OK [UIDNOTSTICKY] s"
    )
    box = session.box
    assert (box.name, box.exists, box.uid_validity, box.uid_next, box.highest_modseq) == (
        "INBOX",
        3,
        7,
        40,
        99,
    )
    assert (box.flags, box.permanent_flags) == (("\\Seen", "x"), ("\\Seen", "\\*"))
    assert (box.read_only, box.no_modseq, box.uids_not_sticky) == (False, False, True)


def test_read_only_by_examine_and_by_code() -> None:
    session = Session(b"* PREAUTH hi")
    session.do(c.Examine("x"))
    assert session.box.read_only
    for code, read_only in ((b"READ-ONLY", True), (b"READ-WRITE", False)):
        session.do(c.Select("x"), reply=b"OK [" + code + b"] x")
        assert session.box.read_only is read_only
    session.hear(b"* OK [READ-ONLY] from now on")
    assert session.box.read_only


def test_nomodseq_and_negative_modseq() -> None:
    assert selected(b"* OK [NOMODSEQ] x").box.no_modseq
    assert selected(b"* OK [HIGHESTMODSEQ 0] x").box.highest_modseq is None
    assert selected(b"* OK [HIGHESTMODSEQ -1] x").box.highest_modseq is None


def test_nothing_of_one_mailbox_survives_into_the_next() -> None:
    session = selected(*ROWS, b"* OK [PERMANENTFLAGS (\\Seen)] p")
    session.hear(b"* 1 FETCH (UID 10)")
    session.do(c.Select("other"), b"* 1 EXISTS")
    assert session.box == SelectedMailbox("other", exists=1, sequence=session.box.sequence)
    assert len(session.box.sequence) == 0


def test_the_old_mailboxs_last_words_are_not_the_new_ones() -> None:
    """Before CLOSED, or before its EXISTS, the server still speaks of the mailbox being left."""
    session = selected(*ROWS)
    session.do(
        c.Select("other"),
        b"* 9 EXISTS",
        b"* OK [UIDNEXT 1000] old",
        b"* 2 FETCH (UID 22 FLAGS ())",
        b"* 1 EXPUNGE",
        b"* OK [CLOSED] left",
        b"* 1 EXISTS",
    )
    assert session.box == SelectedMailbox("other", exists=1, sequence=session.box.sequence)
    assert session.box.sequence.uid(2) is None


def test_uidnext_grows_with_what_is_seen_and_the_cursor_does_not() -> None:
    session = selected(*ROWS)
    session.hear(b"* 3 FETCH (UID 50 MODSEQ (1000))")
    assert session.box.uid_next == 51
    assert session.box.highest_modseq == 99
    session.do(c.Noop(), reply=b"OK [HIGHESTMODSEQ 1000] done")
    assert session.box.highest_modseq == 1000


def test_exists_expunge_and_vanished_are_counted() -> None:
    session = selected(b"* 5 EXISTS")
    session.hear(b"* 1 FETCH (UID 10)", b"* 2 FETCH (UID 20)", b"* 3 FETCH (UID 30)")
    session.hear(b"* 6 EXISTS", b"* 2 EXPUNGE")
    assert session.box.exists == 5
    assert [session.box.sequence.uid(seq) for seq in (1, 2, 3)] == [10, 30, None]
    session.hear(b"* VANISHED 30,99")
    assert session.box.exists == 3
    session.hear(b"* VANISHED (EARLIER) 10")
    assert session.box.exists == 3
    assert session.box.sequence.uid(1) == 10


def test_more_expunges_than_messages() -> None:
    session = selected(b"* 1 EXISTS")
    session.hear(b"* 1 EXPUNGE", b"* 1 EXPUNGE", b"* 7 EXPUNGE")
    assert session.box.exists == 0


def test_a_damaged_expunge_makes_every_position_unknown() -> None:
    session = selected(b"* 2 EXISTS", b"* 1 FETCH (UID 10)")
    session.hear(b"* 1 FETCH (UID 10)", b"* 0 EXPUNGE")
    assert session.box.sequence.uid(1) is None


def test_server_words_outside_a_mailbox_change_none() -> None:
    session = Session(b"* PREAUTH hi")
    session.hear(b"* 3 EXISTS", b"* 1 EXPUNGE", b"* VANISHED 3", b"* FLAGS (a)", b"* 1 FETCH (UID 1)")
    session.hear(b"* OK [UIDNEXT 4] x")
    assert session.state.selected is None


def test_namespaces_id_and_alerts() -> None:
    session = Session(b"* PREAUTH [ALERT] watch out")
    session.hear(b'* NAMESPACE (("" "/")) NIL NIL', b'* ID ("name" "x")', b"* NO [ALERT] disk\x07full")
    assert session.state.namespaces is not None
    assert session.state.namespaces.personal == ((b"", "/"),)
    assert session.state.server_id is not None
    assert list(session.state.alerts) == ["watch out", "disk?full"]
    session.hear(b"* NO [WEBALERT https://example.com/unlock] sign in", b"* OK [ALERT (x)]")
    assert list(session.state.alerts)[2:] == ["sign in https://example.com/unlock", "(x)"]
    session.hear(*[b"* OK [ALERT] again"] * ALERTS_MAX)
    assert len(session.state.alerts) == ALERTS_MAX


def test_positions_resolve_uids_only_where_known() -> None:
    session = selected(b"* 2 EXISTS")
    session.hear(b"* 1 FETCH (UID 10)")
    handle = session.connection.send(c.Fetch(UidSet.of([1, 2, 10]), ("FLAGS",)))
    while session.connection.data_to_send():
        pass
    session.hear(b"* 1 FETCH (FLAGS (a))", b"* 2 FETCH (FLAGS (b))")
    assert handle.taken == 1
