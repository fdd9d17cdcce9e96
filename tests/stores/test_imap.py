"""IMAP as a store: the contract on real servers and on simulated ones with all kinds of manners."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.stores.imap import ImapStore
from mailtwin.testing.conformance import CHECKS, ByteClass, Check, Harness, Traits, check_id
from mailtwin.testing.manners import PROFILES, Manners
from mailtwin.testing.realservers import Kind, RealServer
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

B = ByteClass
REAL: dict[Kind, Traits] = {
    "dovecot": Traits(
        refuses=frozenset({B.EMPTY}),
        rewrites=frozenset({B.BARE_LF, B.MIXED_ENDS, B.BARE_CR}),
        stops_cheaply=False,
        removes_parents=False,  # it does, and goes on listing them
        tells_changes=True,
    ),
    "cyrus": Traits(
        refuses=frozenset({B.EMPTY, B.BARE_LF, B.MIXED_ENDS, B.MALFORMED_MIME}),
        rewrites=frozenset({B.EIGHT_BIT}),
        stops_cheaply=False,
        removes_parents=False,
        tells_changes=True,
    ),
    "courier": Traits(
        cursors=False,
        rewrites=frozenset({B.EMPTY, B.BARE_LF, B.MIXED_ENDS, B.BARE_CR, B.NO_FINAL_NEWLINE}),
        stops_cheaply=False,
    ),
}


def imap_store(port: int, user: str, password: str) -> ImapStore:
    """A store on a server on loopback."""
    endpoint = Endpoint("127.0.0.1", port, "plain")
    return ImapStore(endpoint, lambda: Credentials(user, Secret(password)), user)


class ImapHarness(Harness):
    """An account that nobody has used."""

    def __init__(self, port: int, user: str, password: str, traits: Traits) -> None:
        self.traits = traits
        self._account = (port, user, password)

    async def fresh(self) -> ImapStore:
        store = imap_store(*self._account)
        await store.connect(create=False)
        return store

    async def again(self) -> ImapStore:
        return await self.fresh()


@pytest.mark.parametrize("check", CHECKS, ids=check_id)
async def test_conformance_on_a_real_server(check: Check, imap_server: RealServer) -> None:
    account = imap_server.user()
    await check(ImapHarness(imap_server.port, account.user, account.password, REAL[imap_server.kind]))


def traits_of(manners: Manners) -> Traits:
    """What a simulated server with these manners is like."""
    has_modseq = "CONDSTORE" in manners.announced(authenticated=True)
    return Traits(
        says_where=manners.append_uid,
        cursors=has_modseq,
        tells_changes=has_modseq,
        refuses=frozenset({B.EMPTY}),
        stops_cheaply=False,
    )


@pytest.fixture(params=PROFILES)
async def simulated(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SimServer, Manners]]:
    """A simulated server of each profile."""
    manners = PROFILES[request.param]
    mail = SimMail()
    mail.add_account("alice", "secret")
    async with SimServer(mail, manners) as server:
        yield server, manners


@pytest.mark.parametrize("check", CHECKS, ids=check_id)
async def test_conformance_on_a_simulated_server(check: Check, simulated: tuple[SimServer, Manners]) -> None:
    server, manners = simulated
    await check(ImapHarness(server.port, "alice", "secret", traits_of(manners)))
