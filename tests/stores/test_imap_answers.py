"""What an IMAP store makes of answers that speak of other messages than their own."""

from __future__ import annotations

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.model import INBOX
from mailtwin.stores.base import Outcome, Stored, Unknown
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.conformance import Mail, numbered, stage
from mailtwin.testing.faultproxy import FaultProxy, Rule, SwapUids
from mailtwin.testing.manners import PLAIN
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
