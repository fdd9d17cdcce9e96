"""What changed since an earlier listing: what is asked, what is believed, and when the mailbox is listed whole instead.

Each row is a play. Known is a mailbox of UIDVALIDITY 7 that held messages 1 to 5, the second one seen, at modification
sequence 100. `S:` is what the server says to the SELECT, then what it says to each command (`C:`) of the client. What
must come of it: a listing (`=`), or the question for everything, which ends each play that proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from tests.client.scripted import Step, greeting, scripted
from tests.transcripts.test_servers import store_on

from mailtwin.errors import MailtwinError, RemoteProtocolError, ThrottledError
from mailtwin.model import INBOX, Flags, Listing, Ref, UidSet, make_flags
from mailtwin.model.limits import LISTING_SURPLUS_MAX
from mailtwin.stores.base import Observation
from mailtwin.stores.imap_changes import Cursor

SEEN, PLAIN = make_flags(["\\Seen"]), make_flags(())
KNOWN: dict[Ref, Flags] = {1: PLAIN, 2: SEEN, 3: PLAIN, 4: PLAIN, 5: PLAIN}
SINCE = Observation(Listing(KNOWN, "7"), "7:6:5:100")
WHOLE = "C: UID FETCH 1:* (UID FLAGS)"
GMAIL = ("CONDSTORE", "ESEARCH")
BASE = ("CONDSTORE",)
RESYNC = ("CONDSTORE", "ESEARCH", "ENABLE", "QRESYNC")


@dataclass(frozen=True)
class Play:
    """What happens, and what is listed in the end; None: everything is asked for."""

    name: str
    capabilities: tuple[str, ...]
    selected: str
    """EXISTS, UIDNEXT, HIGHESTMODSEQ (0: NOMODSEQ) and UIDVALIDITY of the SELECT."""
    lines: str
    listed: Mapping[int, Flags] | None
    since: Observation = SINCE

    def script(self) -> list[Step]:
        """For a server that plays it."""
        exists, uid_next, modseq, validity = self.selected.split()
        code = f"HIGHESTMODSEQ {modseq}" if modseq != "0" else "NOMODSEQ"
        told = [f"* {exists} EXISTS", f"* OK [UIDVALIDITY {validity}] x", f"* OK [UIDNEXT {uid_next}] x"]
        steps = [
            'C: LIST "" "*"',
            'S: * LIST () "/" "INBOX"',
            'C: SELECT "INBOX" (CONDSTORE)' if "CONDSTORE" in self.capabilities else 'C: SELECT "INBOX"',
            *(f"S: {line}" for line in (*told, f"* OK [{code}] x")),
            *filter(None, (line.strip() for line in self.lines.splitlines())),
        ]
        if self.listed is None:
            messages = range(1, int(exists) + 1)
            steps += [WHOLE, *(f"S: * {seq} FETCH (UID {seq + 10} FLAGS ())" for seq in messages)]
        if "ENABLE" in self.capabilities:
            steps = ["C: ENABLE CONDSTORE QRESYNC", "S: * ENABLED CONDSTORE QRESYNC", *steps]
        return [greeting(*self.capabilities), *_tagged(steps)]


def _tagged(steps: list[str]) -> list[Step]:
    """Lines as steps: commands get tags, and an OK at the end where the play has no reply of its own."""
    script: list[Step] = []
    number = 0
    replied = True
    for step in [*steps, "C: LOGOUT"]:
        who, _, text = step.partition(": ")
        if who == "C":
            script += [] if replied else [f"A{number} OK done\r\n".encode()]
            number += 1
            script.append(f"A{number} {text}")
            replied = False
        else:
            replied = text.startswith("A ")
            script.append(f"A{number}{text[1:]}\r\n".encode() if replied else f"{text}\r\n".encode())
    return script


def with_(**changes: Flags | None) -> dict[int, Flags]:
    """The known messages with others (`_6=SEEN`) or without some (`_5=None`)."""
    found = {int(ref): flags for ref, flags in KNOWN.items()}
    found.update({int(name[1:]): flags for name, flags in changes.items() if flags is not None})
    return {uid: flags for uid, flags in found.items() if changes.get(f"_{uid}", flags) is not None}


def without(uid: int, cursor: str | None) -> Observation:
    """An earlier look at the mailbox when this message was gone."""
    return Observation(Listing({ref: flags for ref, flags in KNOWN.items() if ref != uid}, "7"), cursor)


INCOMPLETE = Observation(Listing(KNOWN, "7", coverage=UidSet()), "7:6:5:100")

ASK = "C: UID FETCH 1:5 (UID FLAGS) (CHANGEDSINCE 100)"
ASK_6 = "C: UID FETCH 1:6 (UID FLAGS) (CHANGEDSINCE 100)"
ASK_7 = "C: UID FETCH 1:7 (UID FLAGS) (CHANGEDSINCE 100)"
RESYNC_5 = "C: UID FETCH 1:5 (UID FLAGS) (CHANGEDSINCE 100 VANISHED)"
RESYNC_6 = "C: UID FETCH 1:6 (UID FLAGS) (CHANGEDSINCE 100 VANISHED)"
RESYNC_7 = "C: UID FETCH 1:7 (UID FLAGS) (CHANGEDSINCE 100 VANISHED)"
SEARCH = "C: UID SEARCH RETURN (ALL) ALL"
THREE = "S: * 3 FETCH (UID 3 MODSEQ (105) FLAGS (\\Seen))"
ONE = "S: * 1 FETCH (UID 1 MODSEQ (105) FLAGS (\\Seen))"
SIX = "S: * 6 FETCH (UID 6 MODSEQ (106) FLAGS ())"

PLAYS = (
    Play("nothing happened", GMAIL, "5 6 100 7", "", with_()),
    Play("flags", GMAIL, "5 6 105 7", f"{ASK}\n{THREE}", with_(_3=SEEN)),
    Play("a new message", GMAIL, "6 7 106 7", f"{ASK_6}\n{SIX}", with_(_6=PLAIN)),
    Play("both", BASE, "6 7 106 7", f"{ASK_6}\n{SIX}\n{THREE}", with_(_3=SEEN, _6=PLAIN)),
    Play(
        "mail comes while it is asked: it belongs to the next listing",
        GMAIL,
        "5 6 105 7",
        f"{ASK}\n{THREE}\nS: * 6 EXISTS",
        with_(_3=SEEN),
    ),
    # --- what went, without QRESYNC ---
    Play(
        "a removal",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{ASK}\n{SEARCH}\nS: * ESEARCH (TAG "A5") UID ALL 1:3,5\nC: UID FETCH 4 (UID)',
        with_(_4=None),
    ),
    Play(
        "a removal, and flags that explain the modification sequence",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 2:5\nC: UID FETCH 1 (UID)',
        with_(_1=None, _3=SEEN),
    ),
    Play(
        "a removal where there is no ESEARCH",
        BASE,
        "4 6 105 7",
        f"{ASK}\n{THREE}\nC: UID SEARCH ALL\nS: * SEARCH 1 2\nS: * SEARCH 5 3\nC: UID FETCH 4 (UID)",
        with_(_3=SEEN, _4=None),
    ),
    Play(
        "ESEARCH answered in the old form",
        GMAIL,
        "4 6 105 7",
        f"{ASK}\n{THREE}\n{SEARCH}\nS: * SEARCH 1 2 3 5\nC: UID FETCH 4 (UID)",
        with_(_3=SEEN, _4=None),
    ),
    Play(
        "one came and went: the count alone proves nothing",
        GMAIL,
        "6 8 106 7",
        f'{ASK_7}\n{SIX}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:6',
        with_(_6=PLAIN),
    ),
    Play(
        "new mail while it is searched is the next listing's",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * 5 EXISTS\nS: * ESEARCH (TAG "A4") UID ALL 1:3,5:6\nC: UID FETCH 4 (UID)',
        with_(_3=SEEN, _4=None),
    ),
    Play(
        "nothing explains why the modification sequence moved: asked once more",
        GMAIL,
        "5 6 105 7",
        f"{ASK}\n{ASK}\n{THREE}",
        with_(_3=SEEN),
    ),
    Play(
        "a modification sequence that moves with other mailboxes",
        GMAIL,
        "5 6 900 7",
        f"{ASK}\n{ASK}",
        with_(),
    ),
    # --- what went, with QRESYNC ---
    Play("a removal is told", RESYNC, "4 6 105 7", f"{RESYNC_5}\nS: * VANISHED (EARLIER) 4", with_(_4=None)),
    Play(
        "the last message went, and one that came after it",
        RESYNC,
        "4 7 108 7",
        f"{RESYNC_6}\nS: * VANISHED (EARLIER) 5:6",
        with_(_5=None),
    ),
    Play(
        "removals, flags and new mail",
        RESYNC,
        "4 8 108 7",
        f"{RESYNC_7}\nS: * VANISHED (EARLIER) 1,4,6\n{THREE}\nS: * 5 FETCH (UID 7 MODSEQ (108) FLAGS (\\Seen))",
        with_(_1=None, _3=SEEN, _4=None, _7=SEEN),
    ),
    Play(
        "a server that forgot what it expunged names all that is not there",
        RESYNC,
        "2 6 105 7",
        f"{RESYNC_5}\nS: * VANISHED (EARLIER) 1,4:4294967295\n{THREE}",
        with_(_1=None, _3=SEEN, _4=None, _5=None),
    ),
    Play(
        "a removal that VANISHED leaves out is searched",
        RESYNC,
        "4 6 105 7",
        f'{RESYNC_5}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A5") UID ALL 1:3,5\nC: UID FETCH 4 (UID)',
        with_(_3=SEEN, _4=None),
    ),
    # --- what proves nothing ---
    Play("no CONDSTORE", ("XHIGHESTMODSEQ",), "1 12 105 7", "", None),
    Play("another numbering", GMAIL, "1 12 105 8", "", None),
    Play("the modification sequence went back", GMAIL, "1 12 99 7", "", None),
    Play("no modification sequences any more", GMAIL, "1 12 0 7", "", None),
    Play("UIDNEXT went back", GMAIL, "1 3 105 7", "", None),
    Play("fewer UIDs than messages", GMAIL, "9 6 105 7", "", None),
    Play("one message too many", GMAIL, "5 6 105 7", f"{ASK}\n{ONE}", None, without(3, "7:6:4:100")),
    Play("a new message is not told", GMAIL, "6 7 106 7", f"{ASK_6}\n{ASK_6}", None),
    Play(
        "one went, another one came and is not told",
        GMAIL,
        "5 7 105 7",
        f'{ASK_6}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3,5:6',
        None,
    ),
    Play("a UID comes back", GMAIL, "5 6 105 7", f"{ASK}\n{THREE}", None, without(3, "7:6:4:100")),
    Play("it did not move, and holds another number", GMAIL, "5 6 100 7", ASK, None, without(3, "7:6:5:100")),
    Play("of a look that was not complete", GMAIL, "5 6 105 7", "", None, INCOMPLETE),
    Play("of a look without a cursor", GMAIL, "5 6 105 7", "", None, without(3, None)),
    Play("refused", GMAIL, "5 6 105 7", f"{ASK}\nS: A BAD what?", None),
    Play("damaged", GMAIL, "5 6 105 7", f"{ASK}\nS: * 3 FETCH (UID 3 FLAGS (", None),
    Play("cut off with a code", GMAIL, "5 6 105 7", f"{ASK}\n{THREE}\nS: A OK [MESSAGELIMIT 1 3] some", None),
    Play("held back with a code", GMAIL, "5 6 105 7", f"{ASK}\n{THREE}\nS: A OK [INUSE] Success", None),
    Play(
        "a VANISHED that cannot be read", RESYNC, "4 6 105 7", f"{RESYNC_5}\nS: * VANISHED (EARLIER) x", None
    ),
    Play(
        "gone and there",
        RESYNC,
        "4 6 105 7",
        f"{RESYNC_5}\nS: * VANISHED (EARLIER) 3\n{THREE}",
        None,
    ),
    Play(
        "SEARCH finds too little",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3',
        None,
    ),
    Play(
        "SEARCH finds nothing",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID',
        None,
    ),
    Play(
        "SEARCH speaks of positions",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") ALL 1:4',
        None,
    ),
    Play("SEARCH is refused", GMAIL, "4 6 105 7", f"{ASK}\n{THREE}\n{SEARCH}\nS: A NO not now", None),
    Play(
        "SEARCH admits that it is short",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3,5\nS: A OK [LIMIT] some',
        None,
    ),
    Play(
        "SEARCH does not know what was just told",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:2,4:5',
        None,
    ),
    Play(
        "SEARCH knows another message instead",
        GMAIL,
        "4 7 105 7",
        f'{ASK_6}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3,6',
        None,
    ),
    Play(
        "FETCH finds what SEARCH did not",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3,5\nC: UID FETCH 4 (UID)\nS: * 4 FETCH (UID 4)',
        None,
    ),
    Play(
        "FETCH cannot tell",
        GMAIL,
        "4 6 105 7",
        f'{ASK}\n{THREE}\n{SEARCH}\nS: * ESEARCH (TAG "A4") UID ALL 1:3,5\nC: UID FETCH 4 (UID)\nS: A NO not now',
        None,
    ),
)


async def observed(script: list[Step], since: Observation) -> Observation:
    async with scripted(script) as endpoint:
        store = store_on(endpoint)
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            seen = await mailbox.observe(since)
        await store.close()
        return seen


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_what_is_made_of_what_changed(play: Play) -> None:
    seen = await observed(play.script(), play.since)
    exists, uid_next, modseq, validity = play.selected.split()
    assert seen.whole is (play.listed is None)
    everything = {seq + 10: PLAIN for seq in range(1, int(exists) + 1)}
    assert seen.listing.flags == (everything if play.listed is None else play.listed)
    assert seen.listing.complete
    if play.listed is not None:
        assert seen.listing.uid_next == int(uid_next)
        assert seen.cursor == f"{validity}:{uid_next}:{exists}:{modseq}"


def test_each_play_has_its_name() -> None:
    assert len({play.name for play in PLAYS}) == len(PLAYS)


def cut_short(script: list[Step], *answer: bytes) -> list[Step]:
    """The play up to the first question for changes, which is answered so."""
    at = next(
        number for number, step in enumerate(script) if isinstance(step, str) and "CHANGEDSINCE" in step
    )
    return [*script[: at + 1], *answer]


async def failure(answer: bytes, play: Play) -> MailtwinError:
    async with scripted(cut_short(play.script(), answer), whole=False) as endpoint:
        store = store_on(endpoint)
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            with pytest.raises(MailtwinError) as raised:
                await mailbox.observe(SINCE)
        await store.close()
    return raised.value


FLAGS_PLAY = next(play for play in PLAYS if play.name == "flags")
REMOVAL_PLAY = next(play for play in PLAYS if play.name == "a removal is told")


async def test_a_wish_to_be_left_alone_is_a_pause() -> None:
    error = await failure(
        b"A3 NO [LIMIT] Request is throttled. Suggested Backoff Time: 500 milliseconds\r\n", FLAGS_PLAY
    )
    assert isinstance(error, ThrottledError)
    assert error.pause_s == 0.5


async def test_what_is_gone_is_not_told_without_an_end() -> None:
    error = await failure(b"* VANISHED (EARLIER) 9\r\n" * (LISTING_SURPLUS_MAX + 20), REMOVAL_PLAY)
    assert isinstance(error, RemoteProtocolError)
    assert "without an end" in error.message


async def test_a_mailbox_that_shrinks_while_it_is_asked_is_listed_whole() -> None:
    """Some servers show a mailbox that is made anew as one of which all messages went."""
    script = [
        *cut_short(
            FLAGS_PLAY.script(), b"* 3 FETCH (UID 3 MODSEQ (105) FLAGS ())\r\n* 1 EXPUNGE\r\nA3 OK done\r\n"
        ),
        'A4 SELECT "INBOX" (CONDSTORE)',
        b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 6] x\r\n* OK [HIGHESTMODSEQ 107] x\r\nA4 OK in\r\n",
        "A5 UID FETCH 1:* (UID FLAGS)",
        *(b"* %d FETCH (UID %d FLAGS ())\r\n" % (uid - 1, uid) for uid in range(2, 6)),
        b"A5 OK done\r\n",
        "A6 LOGOUT",
    ]
    seen = await observed(script, SINCE)
    assert seen.whole
    assert sorted(map(int, seen.listing.flags)) == [2, 3, 4, 5]


def test_a_cursor_is_read_as_it_is_written() -> None:
    cursor = Cursor.of({"UIDVALIDITY": 7, "UIDNEXT": 6, "MESSAGES": 5, "HIGHESTMODSEQ": 2**63 - 1})
    assert cursor == Cursor(7, 6, 5, 2**63 - 1)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "items", [{}, {"UIDVALIDITY": 0}, {"HIGHESTMODSEQ": 0}, {"HIGHESTMODSEQ": -1}, {"MESSAGES": b"x"}]
)
def test_no_cursor_without_all_its_numbers(items: dict[str, int | bytes]) -> None:
    numbers: dict[str, int | bytes] = {"UIDVALIDITY": 7, "UIDNEXT": 6, "MESSAGES": 5, "HIGHESTMODSEQ": 9}
    assert Cursor.of({**numbers, **items} if items else {}) is None
