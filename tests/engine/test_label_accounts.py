"""Labels between accounts of a simulated server that keeps them, and between one of them and a Maildir."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_table, parse_table
from tests.engine.test_labels import TABLE

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.stores.base import ALL_MAIL, Store
from mailtwin.stores.imap_labels import LabelView
from mailtwin.stores.maildir_labels import LabelledMaildir
from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simlabels import LabelledAccount
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

ROWS = parse_table(TABLE)


@asynccontextmanager
async def account(*switches: str) -> AsyncIterator[tuple[SimServer, LabelledAccount]]:
    """A server with one empty account."""
    provider = GMAIL.switch(*switches)
    mail = SimMail()
    made = provider.add_account(mail, "alice", "secret")
    assert isinstance(made, LabelledAccount)
    async with provider.server(mail) as running:
        yield running, made


def store(running: SimServer) -> LabelView:
    """Another connection to the account."""
    endpoint = Endpoint("127.0.0.1", running.port, "plain")
    return LabelView(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")


SWITCHES = {
    "as it is": (),
    "UIDPLUS not announced": ("unannounced=UIDPLUS",),
    "no APPENDUID": ("append_uid=no",),
    "german, expunge to trash": ("language=de", "expunge=trash"),
    "no merging": ("merge=never",),
    "split FETCH": ("split_fetch=yes",),
    "chatter": ("chatter_seed=7",),
}


@pytest.mark.parametrize("name", SWITCHES)
async def test_account_with_account(name: str, tmp_path: Path) -> None:
    async with account() as (one, _), account(*SWITCHES[name]) as (two, _):
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db", mailbox=ALL_MAIL)
        await check_table(bench, ROWS)


@pytest.mark.parametrize("name", SWITCHES)
async def test_account_with_maildir(name: str, tmp_path: Path) -> None:
    async with account(*SWITCHES[name]) as (one, _):

        def stores() -> tuple[Store, Store]:
            return store(one), LabelledMaildir(tmp_path / "mail")

        await check_table(Bench(stores, tmp_path / "state.db", mailbox=ALL_MAIL), ROWS)
