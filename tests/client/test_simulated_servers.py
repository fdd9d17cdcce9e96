"""The same working day with a server of every manner that broke a client."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.client.workout import workout

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.errors import UnreachableError
from mailtwin.imap import commands as c
from mailtwin.testing.manners import BARE, CHATTY, GMAIL_MANNERS, PLAIN, LoginCapabilities, Manners
from mailtwin.testing.simfaults import cut
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

ALICE = Credentials("alice", Secret("secret"))

MANNERS: dict[str, Manners] = {
    "plain": PLAIN,
    "bare": replace(BARE, prefix=""),
    "chatty": CHATTY,
    "gmail": GMAIL_MANNERS,
    "capabilities never told": replace(
        PLAIN, greeting_capabilities=False, login_capabilities=LoginCapabilities.NONE
    ),
    "capabilities inside login": replace(PLAIN, login_capabilities=LoginCapabilities.UNTAGGED),
    "literals must ask": PLAIN.without("LITERAL+"),
    "uid last, in pieces": replace(PLAIN, uid_last=True, split_fetch=True),
    "chatter and lookalikes": replace(PLAIN, chatter_seed=3, chatter_percent=80, literal_lookalikes=True),
    "chatter before every continuation": replace(
        PLAIN.without("LITERAL+"), chatter_seed=5, chatter_percent=80
    ),
    "courier's names": replace(PLAIN, separator=".", prefix="INBOX."),
}


@pytest.mark.parametrize("name", MANNERS)
async def test_a_working_day(name: str) -> None:
    mail = SimMail()
    mail.add_account("alice", "secret")
    async with SimServer(mail, MANNERS[name]) as server:
        session = await Session.open(Endpoint("127.0.0.1", server.port, "plain"), ALICE)
        await workout(session)
        await session.close()


@pytest.mark.parametrize("nth", [1, 2, 5])
async def test_a_cut_connection_loses_no_outcome(nth: int) -> None:
    mail = SimMail()
    inbox = mail.add_account("alice", "secret")["INBOX"]
    async with SimServer(mail, PLAIN, faults=[cut("APPEND", nth=nth)]) as server:
        session = await Session.open(Endpoint("127.0.0.1", server.port, "plain"), ALICE)
        results = await session.run_all([c.Append.of("INBOX", b"Subject: %d\r\n\r\n" % n) for n in range(8)])
        await session.close()
    assert len(results) == 8
    assert sum(result.ok for result in results) <= len(inbox)
    assert sum(result.ok for result in results) >= nth - 1
    assert all(isinstance(result.lost, UnreachableError) for result in results if not result.ok)
