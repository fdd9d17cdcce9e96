"""What an IMAP store makes of answers that speak of other messages than their own."""

from __future__ import annotations

import contextlib

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.errors import MailtwinError, ThrottledError
from mailtwin.model import INBOX, MailboxName, Ref
from mailtwin.stores.base import Mailbox, Outcome, Spool, Stored, Unknown
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.conformance import Mail, numbered, stage
from mailtwin.testing.faultproxy import FaultProxy, Inject, Recreate, Rule, Shorten, SwapUids
from mailtwin.testing.manners import PLAIN
from mailtwin.testing.realservers import RealServer
from mailtwin.testing.simlimits import Limits
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer


async def delivered(rules: list[Rule]) -> list[Outcome]:
    mail = SimMail()
    mail.add_account("alice", "secret")
    async with SimServer(mail, PLAIN) as server, FaultProxy(server.port) as proxy:
        proxy.arm(rules)
        endpoint = Endpoint("127.0.0.1", proxy.port, "plain")
        store = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            await mailbox.observe()
            delivery = mailbox.delivery()
            for number in range(4):
                stage(delivery, Mail(numbered(number)))
            outcomes = await delivery.commit()
        await store.close()
        assert len(proxy.fired) == len(rules)
        return outcomes


async def test_uids_that_ascend_are_believed() -> None:
    outcomes = await delivered([])
    assert outcomes == [Stored(number) for number in range(1, 5)]


async def test_uids_of_one_batch_that_do_not_ascend_are_not_believed() -> None:
    outcomes = await delivered([Rule(SwapUids(), ("APPEND",), nth=2)])
    assert outcomes == [Unknown(finished=True, accepted=True)] * 4


async def test_messages_that_go_while_they_are_listed_are_looked_for_once_more() -> None:
    """As Cyrus tells it to a session whose mailbox another one makes anew."""
    mail = SimMail()
    inbox = mail.add_account("alice", "secret")["INBOX"]
    for number in range(3):
        inbox.append(numbered(number))
    async with SimServer(mail, PLAIN) as server, FaultProxy(server.port) as proxy:
        endpoint = Endpoint("127.0.0.1", proxy.port, "plain")
        store = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        await store.connect(create=False)
        gone = Inject(("* 3 EXPUNGE", "* 2 EXPUNGE", "* 1 EXPUNGE"))
        proxy.arm([Rule(Shorten(0), ("UID FETCH",)), Rule(gone, ("UID FETCH",))])
        async with store.open(INBOX) as mailbox:
            listing = (await mailbox.observe()).listing
        await store.close()
        assert len(proxy.fired) == 2
    assert (len(listing.flags), listing.complete) == (3, True)


async def asked(mailbox: Mailbox, what: str, came: list[Ref]) -> None:
    """Asks for three messages; those whose bodies came are in `came`."""
    match what:
        case "observe":
            await mailbox.observe()
        case "identify":
            await mailbox.identify([1, 2, 3])
        case "look":
            await mailbox.look([1, 2, 3])
        case _:
            async for message in mailbox.fetch([1, 2, 3], Spool):
                came += [message.ref]


@pytest.mark.parametrize("what", ["observe", "identify", "look", "fetch"])
async def test_an_ok_that_asks_for_a_pause_is_a_pause(what: str) -> None:
    """`OK Success [THROTTLED]`, and only the first of three messages: to ask on at once would make it worse."""
    mail = SimMail()
    inbox = mail.add_account("alice", "secret")["INBOX"]
    for number in range(3):
        inbox.append(numbered(number))
    async with SimServer(mail, PLAIN) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        store = ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        throttled = []
        await store.connect(create=False)
        async with store.open(INBOX) as mailbox:
            throttled.append(store.is_throttled)
            server.meter.limits = Limits(throttle_every=1)
            came: list[Ref] = []
            with pytest.raises(ThrottledError, match=r"\[THROTTLED\]"):
                await asked(mailbox, what, came)
            assert came == ([1] if what == "fetch" else []), "what came before it is handed out"
            throttled.append(store.is_throttled)
        server.meter.limits = Limits()
        await store.reconnect()
        throttled.append(store.is_throttled)
        await store.close()
        assert throttled == [False, True, False]


async def test_a_mailbox_that_is_made_anew_while_it_is_listed_is_not_taken_for_empty(
    imap_server: RealServer,
) -> None:
    """Some tell the session that has it open that all messages went, under the old numbering; some end it."""
    account, name = imap_server.user(), MailboxName(("Work",))
    foreign = f"{imap_server.prefix}Work"
    async with FaultProxy(imap_server.port, account=(account.user, account.password)) as proxy:
        endpoint = Endpoint("127.0.0.1", proxy.port, "plain")
        store = ImapStore(endpoint, lambda: Credentials(account.user, Secret(account.password)), account.user)
        await store.connect(create=False)
        await store.create(name)
        async with store.open(name) as mailbox:
            await mailbox.observe()
            delivery = mailbox.delivery()
            for number in range(3):
                stage(delivery, Mail(numbered(number)))
            await delivery.commit()
            proxy.arm([Rule(Recreate(foreign), ("UID FETCH",))])
            with contextlib.suppress(MailtwinError):
                seen = (await mailbox.observe()).listing
                assert len(seen.flags) == 3 or not seen.complete
        assert [fired.rule.do for fired in proxy.fired] == [Recreate(foreign)]
        await store.reconnect()
        async with store.open(name) as mailbox:
            assert len((await mailbox.observe()).listing.flags) == 3
        await store.close()
