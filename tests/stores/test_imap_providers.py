"""The store's contract on the simulated providers, and where they by their nature do not hold it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.stores.test_imap import ImapHarness, traits_of

from mailtwin.testing.conformance import CHECKS, ByteClass, Check, Traits, check_id
from mailtwin.testing.providers import EXCHANGE, GMAIL, ICLOUD, PROVIDERS, YAHOO, Provider
from mailtwin.testing.simmail import SimMail

B = ByteClass
NOT_ENDING_IN_CRLF = {B.NO_FINAL_NEWLINE, B.BARE_LF, B.MIXED_ENDS, B.BARE_CR}

TRAITS: dict[str, Traits] = {
    "gmail": traits_of(GMAIL.manners),
    "exchange": replace(
        traits_of(EXCHANGE.manners),
        keywords=False,
        rewrites=frozenset({B.BARE_LF, B.MIXED_ENDS, B.BARE_CR}),
    ),
    "yahoo": replace(traits_of(YAHOO.manners), refuses=frozenset({B.EMPTY, *NOT_ENDING_IN_CRLF})),
    "icloud": traits_of(ICLOUD.manners),
}

MERGES = "equal messages are one: an APPEND of what the account has stores nothing"
EXPUNGES = r"a message is gone as soon as it is marked \Deleted"
RENDERS = "sizes are estimated and headers unfolded, so the identity of the bytes that were sent is that of no message"

DIFFERS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("gmail", "bytes_survive_exactly"): (MERGES, ("merge=never",)),
    ("gmail", "flags_and_dates_survive"): (EXPUNGES, ("auto_expunge=no",)),
    ("gmail", "identical_messages_are_two"): (MERGES, ("merge=never",)),
    ("gmail", "fetch_may_be_broken_off"): (MERGES, ("merge=never",)),
    ("gmail", "identities_are_those_of_the_bytes"): (MERGES, ("merge=never",)),
    ("gmail", "exactly_these_are_removed"): (EXPUNGES, ("auto_expunge=no",)),
    ("gmail", "listed_cursors_are_those_of_observations"): (MERGES, ("merge=never",)),
    ("exchange", "identities_are_those_of_the_bytes"): (RENDERS, ("size_error=0", "renders_anew=no")),
}
"""Checks that do not hold with a provider as it is, why, and the switches with which they do."""


async def hold(provider: Provider, check: Check) -> None:
    mail = SimMail()
    # The mailboxes that everybody has would be taken for some that the check made.
    replace(provider, mailboxes=()).add_account(mail, "alice", "secret")
    async with provider.server(mail) as server:
        await check(ImapHarness(server.port, "alice", "secret", TRAITS[provider.name]))


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("check", CHECKS, ids=check_id)
async def test_conformance(check: Check, name: str) -> None:
    _, switches = DIFFERS.get((name, check_id(check)), ("", ()))
    await hold(PROVIDERS[name].switch(*switches), check)


@pytest.mark.parametrize(("name", "check"), DIFFERS)
async def test_what_does_not_hold_with_a_provider_as_it_is(name: str, check: str) -> None:
    (found,) = [one for one in CHECKS if check_id(one) == check]
    with pytest.raises((AssertionError, KeyError)):
        await hold(PROVIDERS[name], found)
