"""Whole accounts on real servers: names, odd messages, dates and keywords, over different separators and layouts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.engine.test_real import account

from mailtwin.engine import Pair, compare_stores, sync
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, Flags, MailboxName, make_flags
from mailtwin.state import State
from mailtwin.stores.base import DigestSpool, FlagChange, Message, Store, Stored
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.realservers import RealServer

MAILBOXES = (
    INBOX,
    MailboxName(("Archive",)),
    MailboxName(("Archive", "2024", "März & Co")),
    MailboxName(("日本語", "メール")),
    MailboxName(("Empty",)),
    MailboxName(("Empty", "too")),
)
DATE = datetime(2003, 7, 9, 23, 59, 58, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
BROKEN_MIME = (
    b'Message-ID: <broken@example.org>\r\nContent-Type: multipart/mixed; boundary="x\r\n\r\n'
    b"--x\r\nContent-Type: text/plain; charset=?\r\n\r\n\x80\xfe\r\n--y--\r\n"
)
TWICE = b"Message-ID: <twice@example.org>\r\nSubject: twice\r\n\r\nthe same\r\n"
NO_ID = b"Subject: without Message-ID\r\n\r\nbody\r\n"
LOOKS_LIKE_IMAP = b"Subject: {90}\r\n\r\n)\r\n* 1 EXPUNGE\r\nA1 OK done\r\n* BYE (unbalanced {5}\r\n"
FIFTY_MB = b"Message-ID: <big@example.org>\r\n\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 800_000

ODD = (BROKEN_MIME, TWICE, TWICE, NO_ID, LOOKS_LIKE_IMAP)


def plain(number: int) -> bytes:
    """A message like many."""
    return b"Message-ID: <%d@scenario.example>\r\nSubject: %d\r\n\r\nHello %d\r\n" % (number, number, number)


async def deliver(store: Store, name: MailboxName, *mails: tuple[bytes, Flags]) -> None:
    """Puts messages into a mailbox, made where it is missing."""
    await store.create(name)
    async with store.open(name) as mailbox:
        vocabulary = (await mailbox.observe()).listing.vocabulary
        delivery = mailbox.delivery()
        for data, flags in mails:
            spool = delivery.spool()
            spool.write(data)
            delivery.stage(Message(0, flags, DATE, spool), vocabulary.keep(flags))
        assert all(isinstance(outcome, Stored) for outcome in await delivery.commit())


async def run(stores: tuple[Store, Store], state_path: Path) -> RunReport:
    """One run over a pair."""
    left, right = stores
    with State.open(state_path, left=left.address, right=right.address, now=time.time) as state:
        return await sync(Pair(left, right), state)


async def check_account(connect: Callable[[], tuple[Store, Store]], state: Path) -> None:
    """Fills both sides, twins them, changes both at once, twins them again, and proves it each time."""
    left, right = connect()
    await left.connect(create=True)
    await right.connect(create=True)
    for number, name in enumerate(MAILBOXES):
        mails = [] if "Empty" in name.parts else [(plain(number), make_flags(["\\Seen", "$Label1"]))]
        await deliver((left, right)[number % 2], name, *mails)
    await deliver(left, INBOX, *((data, make_flags(["\\Flagged"])) for data in ODD))
    await deliver(right, INBOX, (plain(100), make_flags(["work", "\\Answered"])), (TWICE, make_flags([])))
    await left.close()
    await right.close()
    first = await run(connect(), state)
    assert first.in_step, first.problems
    await prove(connect, len(MAILBOXES), 4 + len(ODD) + 1)

    left, right = connect()
    await left.connect(create=False)
    await right.connect(create=False)
    await deliver(left, MAILBOXES[2], (plain(200), make_flags(["\\Draft"])))
    await deliver(right, MAILBOXES[2], (plain(201), make_flags([])))
    await change_all(left, MAILBOXES[1], add=make_flags(["\\Deleted"]))
    await change_all(right, MAILBOXES[1], remove=make_flags(["\\Seen"]))
    async with right.open(INBOX) as mailbox:
        held = (await mailbox.observe()).listing.flags
        await mailbox.remove(list(held)[:3])
    await left.close()
    await right.close()
    second = await run(connect(), state)
    assert second.in_step, second.problems
    await prove(connect, len(MAILBOXES), 4 + len(ODD) + 1 + 2 - 3)
    third = await run(connect(), state)
    assert third.in_step
    assert not any(third.counts.as_dict().values()), third.counts


async def change_all(
    store: Store, name: MailboxName, *, add: Flags = frozenset(), remove: Flags = frozenset()
) -> None:
    """Changes the flags of every message of a mailbox."""
    async with store.open(name) as mailbox:
        held = (await mailbox.observe()).listing.flags
        await mailbox.store_flags([FlagChange(tuple(held), add, remove)])


async def prove(connect: Callable[[], tuple[Store, Store]], mailboxes: int, messages: int) -> None:
    """Both sides hold so many identical messages and nothing else; a server may add parents to the mailboxes."""
    comparison = await compare_stores(*connect())
    assert comparison.identical, comparison.differences
    assert len(comparison.mailboxes) >= mailboxes
    assert comparison.same == messages


@pytest.mark.parametrize("layout", ["maildir++", "nested"])
async def test_imap_with_maildir(imap_server: RealServer, layout: str, tmp_path: Path) -> None:
    left = account(imap_server)
    await check_account(lambda: (left(), MaildirStore(tmp_path / "mail", layout=layout)), tmp_path / "s.db")


@pytest.mark.servers
@pytest.mark.parametrize(
    "kinds", [("dovecot", "courier"), ("courier", "cyrus"), ("cyrus", "dovecot")], ids="-".join
)
async def test_imap_with_imap(kinds: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    left, right = (account(request.getfixturevalue(kind)) for kind in kinds)
    await check_account(lambda: (left(), right()), tmp_path / "s.db")


@pytest.mark.slow
async def test_fifty_megabytes_there_and_back(dovecot: RealServer, cyrus: RealServer, tmp_path: Path) -> None:
    one, two = account(dovecot), account(cyrus)
    source = one()
    await source.connect(create=True)
    await deliver(source, INBOX, (FIFTY_MB, make_flags(["\\Seen"])))
    await source.close()
    assert (await run((one(), MaildirStore(tmp_path / "mail")), tmp_path / "1.db")).in_step
    assert (await run((MaildirStore(tmp_path / "mail"), two()), tmp_path / "2.db")).in_step
    assert (await run((one(), two()), tmp_path / "3.db")).counts.adopted == 1
    await prove(lambda: (one(), two()), 1, 1)


async def test_an_empty_message_is_stored_where_a_server_takes_it_and_reported_where_not(
    courier: RealServer, dovecot: RealServer, tmp_path: Path
) -> None:
    maildir = MaildirStore(tmp_path / "mail")
    await maildir.connect(create=True)
    await deliver(maildir, INBOX, (b"", make_flags([])), (plain(1), make_flags([])))
    await maildir.close()
    there = account(courier)
    assert (await run((MaildirStore(tmp_path / "mail"), there()), tmp_path / "1.db")).in_step
    refusing = account(dovecot)
    for _ in range(2):
        report = await run((MaildirStore(tmp_path / "mail"), refusing()), tmp_path / "2.db")
        assert not report.in_step
        assert len(report.problems) == 1
        assert "zero byte" in report.problems[0].error.message
    store = refusing()
    await store.connect(create=False)
    async with store.open(INBOX) as mailbox:
        assert len((await mailbox.observe()).listing.flags) == 1
    await store.close()


async def test_dates_are_kept_to_the_second_in_any_zone(imap_server: RealServer, tmp_path: Path) -> None:
    there = account(imap_server)
    source = there()
    await source.connect(create=True)
    await deliver(source, INBOX, (plain(1), make_flags([])))
    await source.close()
    await run((there(), MaildirStore(tmp_path / "mail")), tmp_path / "s.db")
    maildir = MaildirStore(tmp_path / "mail")
    await maildir.connect(create=False)
    async with maildir.open(INBOX) as mailbox:
        refs = list((await mailbox.observe()).listing.flags)
        dates = [message.date async for message in mailbox.fetch(refs, DigestSpool)]
    await maildir.close()
    assert dates == [DATE.astimezone(UTC)]
