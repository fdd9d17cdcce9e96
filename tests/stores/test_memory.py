"""The store in memory: the contract under several manners, and what is peculiar to it."""

from __future__ import annotations

import pytest

from mailtwin.errors import StoreMissingError, UnreachableError
from mailtwin.model import INBOX, NO_FLAGS, MailboxName, Vocabulary, make_flags
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.stores.base import FlagChange, Outcome, Refused, Spool, Stored, Unknown
from mailtwin.stores.memory import Answer, Manners, MemoryStore, always
from mailtwin.testing.conformance import (
    CHECKS,
    ByteClass,
    Check,
    Harness,
    Mail,
    Traits,
    check_id,
    numbered,
    stage,
)


class MemoryHarness(Harness):
    def __init__(self, manners: Manners, traits: Traits) -> None:
        self.traits = traits
        self._store = MemoryStore(manners=manners)

    async def fresh(self) -> MemoryStore:
        await self._store.connect(create=False)
        return self._store

    async def again(self) -> MemoryStore:
        store = self._store.again()
        await store.connect(create=False)
        return store


def no_bare_line_ends(data: bytes) -> str:
    return "bare line ends" if data.count(b"\n") != data.count(b"\r\n") or not data else ""


KINDS = {
    "good": (Manners(), Traits()),
    "silent about UIDs": (Manners(answer=always(Answer.ACCEPTED)), Traits(says_where=False)),
    "few flags": (Manners(vocabulary=Vocabulary(SYSTEM_FLAGS, any_keyword=False)), Traits(keywords=False)),
    "no cursors, makes parents": (Manners(cursors=False, creates_parents=True), Traits(cursors=False)),
    "strict, one byte at a time": (
        Manners(refusal=no_bare_line_ends, chunk_size=999),
        Traits(refuses=frozenset({ByteClass.BARE_LF, ByteClass.MIXED_ENDS, ByteClass.EMPTY})),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", CHECKS, ids=check_id)
async def test_conformance(check: Check, kind: str) -> None:
    await check(MemoryHarness(*KINDS[kind]))


@pytest.mark.parametrize(
    ("answer", "outcome", "holds", "connected"),
    [
        (Answer.UID, Stored(1), 1, True),
        (Answer.ACCEPTED, Unknown(finished=True, accepted=True), 1, True),
        (Answer.REFUSED, Refused, 0, True),
        (Answer.LOST_BEFORE, Unknown, 0, False),
        (Answer.LOST_AFTER, Unknown, 1, False),
        (Answer.LATE, Unknown, 0, False),
    ],
)
async def test_how_storing_ends(
    answer: Answer, outcome: Outcome | type[Outcome], holds: int, connected: bool
) -> None:
    store = MemoryStore(manners=Manners(answer=always(answer)))
    await store.connect(create=False)
    async with store.open(INBOX) as mailbox:
        delivery = mailbox.delivery()
        stage(delivery, Mail())
        (got,) = await delivery.commit()
        assert got == outcome if not isinstance(outcome, type) else isinstance(got, outcome)
        assert len(store.contents()) == holds
        if not connected:
            assert isinstance(got, Unknown)
            assert not got.finished
            with pytest.raises(UnreachableError):
                await mailbox.observe()
            await store.reconnect()
    assert store.land() == (answer is Answer.LATE)


async def test_after_the_connection_broke_nothing_more_is_sent() -> None:
    store = MemoryStore(manners=Manners(answer=lambda n: Answer.LOST_AFTER if n == 1 else Answer.UID))
    await store.connect(create=False)
    async with store.open(INBOX) as mailbox:
        delivery = mailbox.delivery()
        for number in range(4):
            stage(delivery, Mail(numbered(number)))
        outcomes = await delivery.commit()
    assert [type(outcome) for outcome in outcomes] == [Stored, Unknown, Unknown, Unknown]
    assert len(store.contents()) == 2


async def test_what_people_do() -> None:
    store = MemoryStore()
    name = MailboxName(("Work",))
    first = store.add(name, numbered(1), make_flags(["\\Seen", "\\Recent"]))
    second = store.add(name, numbered(2))
    store.user_flags(name, second, make_flags(["work"]))
    store.user_withholds(name, first)
    store.user_rename_mailbox(name, MailboxName(("Play",)))
    name = MailboxName(("Play",))
    await store.connect(create=False)
    async with store.open(name) as mailbox:
        listing = (await mailbox.observe()).listing
        assert listing.flags == {first: make_flags(["\\Seen"]), second: make_flags(["work"])}
        assert list(await mailbox.identify([first, second])) == [second]
        errors = [message.error async for message in mailbox.fetch([first, second], Spool)]
        assert [error is None for error in errors] == [False, True]
        store.user_remove(name, first, 99)
        await mailbox.store_flags([FlagChange((first, second), make_flags(["x"]), NO_FLAGS)])
        assert store.contents(name)[second].flags == make_flags(["work", "x"])
        store.user_renumbers(name)
        with pytest.raises(UnreachableError):  # the server ends the session that had the old one open
            await mailbox.observe()
    await store.reconnect()
    async with store.open(name) as mailbox:
        again = (await mailbox.observe()).listing
        assert (list(again.flags), again.validity != listing.validity) == ([1], True)
    store.user_create(MailboxName(("Sent",)), "\\Sent")
    assert (await store.mailboxes()).mailboxes[MailboxName(("Sent",))].special_use == "\\Sent"
    store.user_remove_mailbox(name)
    assert store.names() == [INBOX, MailboxName(("Sent",))]
    assert store.contents(name) == {}


async def test_a_store_that_vanished_is_missing_not_empty() -> None:
    store = MemoryStore()
    store.add(INBOX, numbered(1))
    store.vanish()
    with pytest.raises(StoreMissingError):
        await store.connect(create=False)
    await store.connect(create=True)
    assert store.contents() == {}
