"""The contract of `mailtwin.stores.base` in executable form: every store passes the same checks, unchanged.

A store's test file says how to make a fresh store (`Harness`) and what it is like (`Traits`), and runs `CHECKS`:

    @pytest.mark.parametrize("check", CHECKS, ids=check_id)
    async def test_conformance(check: Check, tmp_path: Path) -> None:
        await check(MyHarness(tmp_path))

A trait only ever narrows what is expected where servers differ by their nature; what a server does not take must be
refused, never dropped in silence.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

from mailtwin.errors import CommandRefusedError, MailboxError, MessageError
from mailtwin.model import INBOX, NO_FLAGS, Flags, Identity, MailboxName, Ref, make_flags
from mailtwin.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailtwin.stores.base import (
    Delivery,
    FlagChange,
    Mailbox,
    Message,
    Observation,
    Outcome,
    Refused,
    Spool,
    Store,
    Stored,
    Target,
    Unknown,
)

__all__ = [
    "CHECKS",
    "SAMPLES",
    "ByteClass",
    "Check",
    "Harness",
    "Mail",
    "Traits",
    "check_id",
    "deliver",
    "fill",
    "flags_in",
    "identity",
    "numbered",
    "read",
    "stage",
]


class ByteClass(Enum):
    """Kinds of message bytes of which servers think differently."""

    CRLF = "lines end in CRLF"
    EIGHT_BIT = "bytes above 127, not UTF-8"
    MALFORMED_MIME = "broken MIME structure and header lines"
    NO_HEADER = "no header at all"
    NO_FINAL_NEWLINE = "the last line does not end"
    LARGE = "3 MB"
    BARE_LF = "every line ends in a bare LF"
    MIXED_ENDS = "some lines end in CRLF, some in LF, some in CR CR LF"
    BARE_CR = "bare CRs inside lines"
    EMPTY = "no bytes at all"


_HEADER = b"Message-ID: <conformance@example.org>\r\nDate: Mon, 5 Feb 2024 10:00:00 +0100\r\n"
_HEADER += b"From: Anna <anna@example.org>\r\nSubject: conformance\r\n"

SAMPLES: dict[ByteClass, bytes] = {
    ByteClass.CRLF: _HEADER + b"\r\nHello,\r\n\r\n.\r\nworld\r\n",
    ByteClass.EIGHT_BIT: _HEADER + b"X-Raw: \xe9\xff\r\n\r\n\x80\xc3\x28 caf\xe9\r\n",
    ByteClass.MALFORMED_MIME: _HEADER
    + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b\r\nnot a header line\r\n\r\n--b\r\n--x--\r\n',
    ByteClass.NO_HEADER: b"\r\nonly a body\r\n",
    ByteClass.NO_FINAL_NEWLINE: _HEADER + b"\r\nno end",
    ByteClass.LARGE: _HEADER + b"\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 46_000,
    ByteClass.BARE_LF: (_HEADER + b"\r\nline\r\nline\r\n").replace(b"\r\n", b"\n"),
    ByteClass.MIXED_ENDS: _HEADER + b"\r\none\ntwo\r\nthree\r\r\nfour\n",
    ByteClass.BARE_CR: _HEADER + b"\r\none\rtwo\r\nthree\r",
    ByteClass.EMPTY: b"",
}
"""One message of each kind."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store is like by its nature.

    `keywords`: keeps any keyword. `known_refs`: says beforehand under which ref a message will be. `says_where`: a
    commit ends with `Stored`, else with `Unknown(accepted=True)`. `cursors`: observations have cursors (after
    `Harness.pass_time`). `refuses`: bytes that are refused. `rewrites`: bytes that are stored as other bytes.
    `stops_cheaply`: a reader that stops early can go on with other messages; else the rest is on its way already, and
    only a new connection gets rid of it. `removes_parents`: a mailbox that has children can be removed.
    `is_shared`: several stores may be connected at a time. `tells_changes`: an observation since another one asks
    for what changed only.
    """

    keywords: bool = True
    known_refs: bool = False
    says_where: bool = True
    cursors: bool = True
    refuses: frozenset[ByteClass] = frozenset()
    rewrites: frozenset[ByteClass] = frozenset()
    stops_cheaply: bool = True
    removes_parents: bool = True
    is_shared: bool = True
    tells_changes: bool = False


class Harness(ABC):
    """Makes stores for the checks; one harness is used for one check."""

    traits = Traits()

    @abstractmethod
    async def fresh(self) -> Store:
        """A connected store with an empty INBOX and no other mail."""

    @abstractmethod
    async def again(self) -> Store:
        """Another connected store on the same mail, after the first one was closed."""

    async def pass_time(self) -> None:
        """Lets so much time pass that the store can tell the last change from the next one."""

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """A fresh store, closed at the end."""
        store = await self.fresh()
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def inbox(self) -> AsyncIterator[Mailbox]:
        """The open INBOX of a fresh store."""
        async with self.store() as store, store.open(INBOX) as mailbox:
            yield mailbox


Check = Callable[[Harness], Awaitable[None]]
CHECKS: list[Check] = []
"""All checks, in the order in which they are best read."""


def check_id(check: Check) -> str:
    """A short name for a test report."""
    return getattr(check, "__name__", "check")


def _check(function: Check) -> Check:
    CHECKS.append(function)
    return function


# --- tools ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """A message to deliver."""

    data: bytes = SAMPLES[ByteClass.CRLF]
    flags: Flags = NO_FLAGS
    date: datetime = datetime(2024, 2, 5, 10, 0, 7, tzinfo=timezone(timedelta(hours=1)))


@dataclass(slots=True)
class _Batch:
    """What became of a delivery."""

    targets: list[Target] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


def numbered(number: int, body: bytes = b"text\r\n") -> bytes:
    """A message that differs from those of other numbers."""
    return b"Message-ID: <%d@example.org>\r\nSubject: number %d\r\n\r\n" % (number, number) + body


def fill(spool: Spool, data: bytes) -> Spool:
    """Writes `data` as a network would bring it: in odd pieces, each in a buffer that is used again at once."""
    sizes = (1, 2, 7, 1021) if len(data) < 10_000 else (65_536, 262_144, 1)
    at = turn = 0
    while at < len(data):
        buffer = bytearray(data[at : at + sizes[turn % len(sizes)]])
        spool.write(memoryview(buffer))
        at, turn = at + len(buffer), turn + 1
        buffer[:] = bytes(len(buffer))
    return spool


def identity(data: bytes) -> Identity:
    """The identity of these wire bytes."""
    spool = fill(Spool(), data)
    try:
        return spool.identity()
    finally:
        spool.discard()


def stage(delivery: Delivery, mail: Mail) -> Target:
    """Stages one message."""
    spool = fill(delivery.spool(), mail.data)
    return delivery.stage(Message(1, mail.flags, mail.date, spool), mail.flags)


async def deliver(mailbox: Mailbox, mails: Iterable[Mail]) -> list[Ref]:
    """Delivers `mails` in one batch and returns their refs, found in the listing where the server does not say them."""
    before = (await mailbox.observe()).listing.flags
    delivery = mailbox.delivery()
    for mail in mails:
        stage(delivery, mail)
    outcomes = await delivery.commit()
    refs = [outcome.ref for outcome in outcomes if isinstance(outcome, Stored)]
    if len(refs) == len(outcomes):
        return refs
    for outcome in outcomes:
        assert isinstance(outcome, Unknown), f"refused: {outcome}"
        assert outcome.finished, f"not finished: {outcome}"
    after = (await mailbox.observe()).listing.flags
    found = sorted((ref for ref in after if ref not in before), key=lambda ref: (str(type(ref)), ref))
    assert len(found) == len(outcomes), f"{len(outcomes)} messages delivered, {len(found)} found"
    return found


async def read(mailbox: Mailbox, refs: Sequence[Ref]) -> dict[Ref, tuple[bytes, Message]]:
    """The bytes and the rest of these messages."""
    found: dict[Ref, tuple[bytes, Message]] = {}
    async with aclosing(mailbox.fetch(refs, Spool)) as messages:
        async for message in messages:
            assert message.error is None, f"message {message.ref} came without a body: {message.error}"
            assert message.ref not in found, f"message {message.ref} came twice"
            assert message.ref in refs, f"message {message.ref} came unasked"
            found[message.ref] = b"".join(message.spool.chunks()), message
            message.spool.discard()
    return found


async def flags_in(mailbox: Mailbox) -> dict[Ref, Flags]:
    """All messages with their flags, from a complete listing."""
    listing = (await mailbox.observe()).listing
    assert listing.complete, "the listing is not complete"
    return dict(listing.flags)


# --- mailboxes ------------------------------------------------------------------------------------------------------

PLAIN = MailboxName(("Archive",))
NESTED = MailboxName(("Archive", "2024", "Q1"))
FOREIGN = MailboxName(("Entwürfe & Pläne", "日本語"))
AWKWARD = (
    "a.b",
    "a/b",
    "..",
    ".",
    "%41",
    "A",
    "100%",
    'q"uo\\te',
    "cur",
    "&AOk-",
    "~x",
    " x",
    "x ",
    "é",
    "e\u0301",
)


@_check
async def a_fresh_store_has_an_empty_inbox(harness: Harness) -> None:
    """INBOX is there and holds nothing; that is a complete observation."""
    async with harness.store() as store:
        mailboxes = await store.mailboxes()
        assert INBOX in mailboxes.mailboxes
        assert mailboxes.complete
        assert not mailboxes.problems, mailboxes.problems
        async with store.open(INBOX) as mailbox:
            assert mailbox.name == INBOX
            assert await flags_in(mailbox) == {}


@_check
async def mailboxes_are_created(harness: Harness) -> None:
    """Nested and non-ASCII names come back as they went; what exists is no error; nothing else appears but parents."""
    async with harness.store() as store:
        before = set((await store.mailboxes()).mailboxes)
        for name in (NESTED, FOREIGN, PLAIN, PLAIN):
            await store.create(name)
        after = await store.mailboxes()
        made = set(after.mailboxes) - before
        parents = {NESTED.parent, FOREIGN.parent}
        assert {NESTED, FOREIGN, PLAIN} <= made, made
        assert made - {NESTED, FOREIGN, PLAIN} <= parents, made
        assert all(name == info.name for name, info in after.mailboxes.items())
        for name in (NESTED, FOREIGN):
            async with store.open(name) as mailbox:
                assert await flags_in(mailbox) == {}


@_check
async def mailboxes_are_removed_without_their_children(harness: Harness) -> None:
    """Removing a mailbox takes its messages and leaves its children with theirs."""
    async with harness.store() as store:
        await store.create(PLAIN)
        await store.create(NESTED)
        for name in (PLAIN, NESTED):
            async with store.open(name) as mailbox:
                await deliver(mailbox, [Mail()])
        if harness.traits.removes_parents:
            await store.remove_mailbox(PLAIN)
            left = (await store.mailboxes()).mailboxes
            assert PLAIN not in left
            assert NESTED in left
        async with store.open(NESTED) as mailbox:
            assert len(await flags_in(mailbox)) == 1
        await store.remove_mailbox(NESTED)
        assert NESTED not in (await store.mailboxes()).mailboxes


@_check
async def mailboxes_do_not_share_messages(harness: Harness) -> None:
    """What is delivered into one mailbox is in no other."""
    async with harness.store() as store:
        await store.create(PLAIN)
        async with store.open(PLAIN) as mailbox:
            await deliver(mailbox, [Mail()])
        async with store.open(INBOX) as mailbox:
            assert await flags_in(mailbox) == {}


@_check
async def awkward_names_are_held_exactly_or_refused(harness: Harness) -> None:
    """A name that the store cannot hold is a MailboxError and leaves nothing; all others come back exactly."""
    async with harness.store() as store:
        known = set((await store.mailboxes()).mailboxes)
        for part in AWKWARD:
            name = MailboxName((part,))
            try:
                await store.create(name)
            except (MailboxError, CommandRefusedError):
                expected = known
            else:
                expected = known | {name}
            found = await store.mailboxes()
            assert set(found.mailboxes) == expected, (
                f"after creating {part!r}: {set(found.mailboxes) ^ expected}"
            )
            assert not found.problems, found.problems
            known = expected


@_check
async def a_missing_mailbox_cannot_be_opened(harness: Harness) -> None:
    """Opening what is not there is an error of that mailbox, and the store goes on."""
    async with harness.store() as store:
        try:
            async with store.open(MailboxName(("Missing",))):
                raise AssertionError("a mailbox that is not there was opened")
        except (MailboxError, CommandRefusedError):
            pass
        async with store.open(INBOX) as mailbox:
            assert await flags_in(mailbox) == {}


# --- delivery -------------------------------------------------------------------------------------------------------


@_check
async def bytes_survive_exactly(harness: Harness) -> None:
    """Every kind of message comes back byte by byte, or is refused where the traits say so."""
    async with harness.inbox() as mailbox:
        for kind, data in SAMPLES.items():
            if kind in harness.traits.refuses:
                await _expect_refusal(mailbox, kind, data)
                continue
            (ref,) = await deliver(mailbox, [Mail(data)])
            got = (await read(mailbox, [ref]))[ref][0]
            if kind not in harness.traits.rewrites:
                assert got == data, f"{kind.value}: {len(data)} bytes became {len(got)}"


async def _expect_refusal(mailbox: Mailbox, kind: ByteClass, data: bytes) -> None:
    before = await flags_in(mailbox)
    delivery = mailbox.delivery()
    try:
        stage(delivery, Mail(data))
    except MessageError:
        await delivery.abort()
    else:
        (outcome,) = await delivery.commit()
        said_no = isinstance(outcome, Unknown) and outcome.finished and not outcome.accepted and outcome.error
        assert isinstance(outcome, Refused) or said_no, f"{kind.value}: {outcome} where a refusal was due"
    assert await flags_in(mailbox) == before, f"{kind.value}: refused and yet stored"


@_check
async def flags_and_dates_survive(harness: Harness) -> None:
    """A message keeps its flags, and its date to the second whatever the zone."""
    mails = [
        Mail(numbered(1)),
        Mail(numbered(2), make_flags([SEEN]), datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        Mail(numbered(3), make_flags([ANSWERED, DELETED, DRAFT, FLAGGED, SEEN])),
        Mail(
            numbered(4),
            make_flags([FLAGGED]),
            datetime(2021, 6, 1, 0, 0, 1, tzinfo=timezone(-timedelta(hours=9))),
        ),
    ]
    async with harness.inbox() as mailbox:
        refs = await deliver(mailbox, mails)
        listed, messages = await flags_in(mailbox), await read(mailbox, refs)
        for mail, ref in zip(mails, refs, strict=True):
            assert listed[ref] == mail.flags
            data, message = messages[ref]
            assert data == mail.data
            assert message.flags == mail.flags
            assert message.date.utcoffset() is not None, "a date without a zone"
            assert message.date == mail.date, f"{mail.date} became {message.date}"


@_check
async def the_vocabulary_is_true(harness: Harness) -> None:
    """What the listing's vocabulary holds is kept, and all that is shown is in it."""
    wanted = make_flags([SEEN, FLAGGED, "$Forwarded", "work"])
    async with harness.inbox() as mailbox:
        vocabulary = (await mailbox.observe()).listing.vocabulary
        assert not harness.traits.keywords or vocabulary.keep(wanted) == wanted
        (ref,) = await deliver(mailbox, [Mail(flags=vocabulary.keep(wanted))])
        listing = (await mailbox.observe()).listing
        assert listing.flags[ref] == listing.vocabulary.keep(wanted)


@_check
async def nothing_is_visible_before_the_commit(harness: Harness) -> None:
    """Staged messages are not in the mailbox; the commit makes them so."""
    async with harness.inbox() as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        assert await flags_in(mailbox) == {}
        assert len(await delivery.commit()) == 1
        assert len(await flags_in(mailbox)) == 1


@_check
async def an_aborted_delivery_leaves_nothing(harness: Harness) -> None:
    """Staged, half written and never written messages vanish; aborting twice and after a commit is harmless."""
    async with harness.inbox() as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        delivery.spool().write(SAMPLES[ByteClass.LARGE][:700_000])
        delivery.spool()
        await delivery.abort()
        await delivery.abort()
        assert await flags_in(mailbox) == {}
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        await delivery.commit()
        await delivery.abort()
        assert len(await flags_in(mailbox)) == 1


@_check
async def an_empty_delivery_is_nothing(harness: Harness) -> None:
    """Committing nothing has no outcomes."""
    async with harness.inbox() as mailbox:
        assert await mailbox.delivery().commit() == []


@_check
async def targets_and_outcomes_are_true(harness: Harness) -> None:
    """The ref is the announced one, or not below the announced floor; identities are those of the bytes."""
    async with harness.inbox() as mailbox:
        await deliver(mailbox, [Mail(numbered(0))])
        before = await flags_in(mailbox)
        delivery, batch = mailbox.delivery(), _Batch()
        for number in range(1, 4):
            batch.targets.append(stage(delivery, Mail(numbered(number))))
        batch.outcomes = await delivery.commit()
        new = set(await flags_in(mailbox)) - set(before)
        assert len(new) == 3
        for number, (target, outcome) in enumerate(zip(batch.targets, batch.outcomes, strict=True), start=1):
            assert (target.ref is not None) == harness.traits.known_refs
            assert isinstance(outcome, Stored) == harness.traits.says_where, outcome
            if isinstance(outcome, Stored):
                assert outcome.ref in new
                assert target.ref in (None, outcome.ref)
            assert all(target.floor is None or (isinstance(ref, int) and ref >= target.floor) for ref in new)
            assert target.identity in (None, identity(numbered(number)))
            assert target.ref is not None or target.identity is not None, "nothing to find the message by"


@_check
async def identical_messages_are_two(harness: Harness) -> None:
    """Two equal messages get two refs, in one batch and in two."""
    async with harness.inbox() as mailbox:
        refs = [*await deliver(mailbox, [Mail(), Mail()]), *await deliver(mailbox, [Mail()])]
        assert len(set(refs)) == 3
        assert set(await flags_in(mailbox)) == set(refs)


@_check
async def a_batch_of_200_keeps_its_order(harness: Harness) -> None:
    """Outcomes come in the order staged, each for its message."""
    async with harness.inbox() as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(number)) for number in range(200)])
        assert len(set(refs)) == 200
        messages = await read(mailbox, refs)
        assert [messages[ref][0] for ref in refs] == [numbered(number) for number in range(200)]


# --- reading --------------------------------------------------------------------------------------------------------


@_check
async def fetch_passes_over_what_is_gone(harness: Harness) -> None:
    """Any order of refs; removed ones do not come; reading changes no flag."""
    async with harness.inbox() as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(number)) for number in range(6)])
        await mailbox.remove([refs[1], refs[4]])
        wanted = [refs[5], refs[1], refs[0], refs[4], refs[3]]
        messages = await read(mailbox, wanted)
        assert set(messages) == {refs[0], refs[3], refs[5]}
        assert messages[refs[5]][0] == numbered(5)
        assert await read(mailbox, [refs[1]]) == {}
        assert await read(mailbox, []) == {}
        assert set((await flags_in(mailbox)).values()) == {NO_FLAGS}


@_check
async def fetch_may_be_broken_off(harness: Harness) -> None:
    """A reader that stops after one message leaves a usable mailbox, or at least a store that can be reconnected."""
    large = SAMPLES[ByteClass.LARGE]
    async with harness.store() as store:
        async with store.open(INBOX) as mailbox:
            refs = await deliver(mailbox, [Mail(large), Mail(numbered(1)), Mail(large)])
            async with aclosing(mailbox.fetch(refs, Spool)) as messages:
                async for message in messages:
                    message.spool.discard()
                    break
            if harness.traits.stops_cheaply:
                assert (await read(mailbox, [refs[2]]))[refs[2]][0] == large
                return
        await store.reconnect()
        async with store.open(INBOX) as mailbox:
            assert (await read(mailbox, [refs[2]]))[refs[2]][0] == large


@_check
async def identities_are_those_of_the_bytes(harness: Harness) -> None:
    """With and without Message-ID, small and large, the store tells the same identity as a spool full of the bytes."""
    folded = (
        b"Subject: a\r\n\tfolded  line\r\nMESSAGE-ID:\r\n <x@y>\r\nmessage-id: <second@y>\r\n\r\nbody\r\n"
    )
    datas = [numbered(1), numbered(1, b"other text\r\n"), folded, b"Subject: no id\r\n\r\nbody\r\n"]
    datas += [SAMPLES[ByteClass.LARGE], SAMPLES[ByteClass.EIGHT_BIT], SAMPLES[ByteClass.NO_HEADER]]
    async with harness.inbox() as mailbox:
        refs = await deliver(mailbox, [Mail(data) for data in datas])
        (gone,) = await deliver(mailbox, [Mail(numbered(9))])
        await mailbox.remove([gone])
        identities = await mailbox.identify([*refs, gone])
        assert gone not in identities
        for ref, data in zip(refs, datas, strict=True):
            assert identities[ref] == identity(data), data[:60]


@_check
async def a_look_tells_what_can_be_told_without_reading(harness: Harness) -> None:
    """Flags and dates as they are now; a stamp that is the message's own, and stays the same while nobody writes."""
    async with harness.inbox() as mailbox:
        mails = [Mail(numbered(number), make_flags([SEEN] if number else [])) for number in range(3)]
        refs = await deliver(mailbox, mails)
        (gone,) = await deliver(mailbox, [Mail(numbered(9))])
        await mailbox.remove([gone])
        await harness.pass_time()
        await mailbox.observe()
        looks = await mailbox.look([*refs, gone])
        again = await mailbox.look(refs)
        bodies = await read(mailbox, refs)
        assert set(looks) == set(refs)
        assert looks == again
        for ref in refs:
            _, message = bodies[ref]
            look = looks[ref]
            assert look.stamp, f"no stamp for {ref}"
            assert (look.flags, look.date) == (message.flags, message.date)
        await mailbox.store_flags([FlagChange((refs[0],), make_flags([FLAGGED]), NO_FLAGS)])
        changed = await mailbox.look(refs)
        assert changed[refs[0]].flags == make_flags([FLAGGED])
        assert [changed[ref] for ref in refs[1:]] == [looks[ref] for ref in refs[1:]]


# --- flags and removal ----------------------------------------------------------------------------------------------


@_check
async def flags_change_by_delta(harness: Harness) -> None:
    """What a change does not name stays; messages that are gone are passed over; adding twice is adding."""
    async with harness.inbox() as mailbox:
        mails = [
            Mail(numbered(1), make_flags([SEEN, FLAGGED])),
            Mail(numbered(2)),
            Mail(numbered(3), make_flags([SEEN])),
        ]
        first, second, third = await deliver(mailbox, mails)
        (gone,) = await deliver(mailbox, [Mail(numbered(9))])
        await mailbox.remove([gone])
        await mailbox.store_flags(
            [
                FlagChange((first, second, gone), add=make_flags([ANSWERED]), remove=make_flags([FLAGGED])),
                FlagChange((first, third), add=make_flags([DRAFT, SEEN]), remove=NO_FLAGS),
                FlagChange((third,), add=NO_FLAGS, remove=make_flags([SEEN])),
                FlagChange((second,), add=NO_FLAGS, remove=NO_FLAGS),
            ]
        )
        assert await flags_in(mailbox) == {
            first: make_flags([SEEN, ANSWERED, DRAFT]),
            second: make_flags([ANSWERED]),
            third: make_flags([DRAFT]),
        }
        assert (await read(mailbox, [second]))[second][0] == numbered(2)
        await mailbox.store_flags([])


@_check
async def exactly_these_are_removed(harness: Harness) -> None:
    """Neither others, nor those that carry \\Deleted; removing what is gone is harmless."""
    async with harness.inbox() as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(number)) for number in range(5)])
        (marked,) = await deliver(mailbox, [Mail(numbered(9), make_flags([DELETED]))])
        await mailbox.remove([refs[3], refs[0]])
        await mailbox.remove([refs[0]])
        await mailbox.remove([])
        assert set(await flags_in(mailbox)) == {refs[1], refs[2], refs[4], marked}
        await mailbox.remove([refs[1], marked, refs[2], refs[4]])
        assert await flags_in(mailbox) == {}


# --- observing ------------------------------------------------------------------------------------------------------


async def _observed(harness: Harness, mailbox: Mailbox) -> Observation:
    await harness.pass_time()
    return await mailbox.observe()


@_check
async def equal_cursors_mean_no_change(harness: Harness) -> None:
    """Nothing changed: the cursor stays (where there are cursors). Anything changed: it is another, or None."""
    async with harness.store() as store, store.open(INBOX) as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(1)), Mail(numbered(2))])
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: deliver(mailbox, [Mail(numbered(3))]),
            lambda: mailbox.store_flags([FlagChange((refs[0],), make_flags([SEEN]), NO_FLAGS)]),
            lambda: mailbox.store_flags([FlagChange((refs[0],), NO_FLAGS, make_flags([SEEN]))]),
            lambda: mailbox.remove([refs[1]]),
        ]
        for change in changes:
            first = await _observed(harness, mailbox)
            second = await _observed(harness, mailbox)
            assert not harness.traits.cursors or first.cursor is not None, "no cursor after a pause"
            assert first.cursor == second.cursor, "the cursor moved without a change"
            assert first.listing.flags == second.listing.flags
            await change()
            third = await mailbox.observe()
            assert third.cursor is None or third.cursor != second.cursor, (
                "a change that the cursor does not show"
            )
            assert third.listing.flags != second.listing.flags


@asynccontextmanager
async def _somebody_else(harness: Harness, mailbox: Mailbox) -> AsyncIterator[Mailbox]:
    """The same mailbox in another session, where there may be one."""
    if not harness.traits.is_shared:
        yield mailbox
        return
    store = await harness.again()
    try:
        async with store.open(mailbox.name) as other:
            yield other
    finally:
        await store.close()


async def _change(rng: random.Random, mailbox: Mailbox, number: int) -> None:
    """Somebody adds, removes and marks messages, and some come and go at once."""
    for change in range(rng.randint(0, 3)):
        present = sorted(await flags_in(mailbox), key=str)
        some = rng.sample(present, min(len(present), rng.randint(1, 4)))
        match rng.randrange(4):
            case 0:
                mails = [Mail(numbered(100 * number + 10 * change + one)) for one in range(rng.randint(1, 3))]
                await deliver(mailbox, mails)
            case 1:
                await mailbox.remove(some)
            case 2:
                flag, other = rng.sample([SEEN, FLAGGED, ANSWERED], 2)
                await mailbox.store_flags([FlagChange(tuple(some), make_flags([flag]), make_flags([other]))])
            case _:
                passing = await deliver(mailbox, [Mail(numbered(100 * number + 10 * change))])
                await mailbox.remove(passing)


@_check
async def what_changed_since_makes_the_same_listing(harness: Harness) -> None:
    """Whatever somebody else did meanwhile, an observation since an earlier one shows what a whole one does."""
    rng = random.Random(4)
    async with harness.inbox() as mailbox, _somebody_else(harness, mailbox) as other:
        await deliver(other, [Mail(numbered(number)) for number in range(12)])
        before = [await _observed(harness, mailbox)]
        for number in range(1, 25):
            await _change(rng, other, number)
            changed = await mailbox.observe(rng.choice([before[-1], before[-1], rng.choice(before)]))
            whole = await mailbox.observe()
            assert changed.listing == whole.listing
            assert changed.cursor in (whole.cursor, None)
            assert whole.whole
            before.append(changed)
            await harness.pass_time()
        asked_whole = sum(seen.whole for seen in before[1:])
        assert asked_whole == 0 if harness.traits.tells_changes else asked_whole == len(before) - 1, (
            asked_whole
        )
        # A look that was made after its cursor was read, as any is, with a change in between.
        late = await mailbox.observe()
        await _change(rng, other, 99)
        late = replace(late, listing=(await mailbox.observe()).listing)
        await _change(rng, other, 98)
        assert (await mailbox.observe(late)).listing == (await mailbox.observe()).listing


@_check
async def listed_cursors_are_those_of_observations(harness: Harness) -> None:
    """A mailbox list may carry cursors; they compare with those of observations."""
    async with harness.store() as store:
        async with store.open(INBOX) as mailbox:
            await deliver(mailbox, [Mail()])
            observed = (await _observed(harness, mailbox)).cursor
        listed = (await store.mailboxes()).mailboxes[INBOX].cursor
        assert listed is None or listed == observed
        async with store.open(INBOX) as mailbox:
            await deliver(mailbox, [Mail()])
        changed = (await store.mailboxes()).mailboxes[INBOX].cursor
        assert changed is None or changed != observed


@_check
async def refs_and_validity_outlive_the_connection(harness: Harness) -> None:
    """Closed and opened again, a store shows the same messages under the same refs in the same numbering."""
    store = await harness.fresh()
    await store.create(NESTED)
    async with store.open(NESTED) as mailbox:
        refs = await deliver(mailbox, [Mail(numbered(1), make_flags([SEEN])), Mail(numbered(2))])
        before = (await mailbox.observe()).listing
    await store.close()
    await store.close()
    store = await harness.again()
    async with store.open(NESTED) as mailbox:
        after = (await mailbox.observe()).listing
        assert (after.flags, after.validity) == (before.flags, before.validity)
        assert (await read(mailbox, refs))[refs[0]][0] == numbered(1)
    await store.reconnect()
    async with store.open(NESTED) as mailbox:
        assert set(await flags_in(mailbox)) == set(refs)
    await store.close()
