"""Labels between accounts of a simulated server that keeps them, and between one of them and a Maildir."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_table, parse_table
from tests.engine.test_labels import TABLE

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync, verify
from mailtwin.engine.report import Event, Reconnecting, RunReport
from mailtwin.state import State
from mailtwin.stores.base import ALL_MAIL, Store
from mailtwin.stores.imap_labels import LabelView
from mailtwin.stores.maildir_labels import LabelledMaildir
from mailtwin.testing.corpus import CorpusMessage, messages
from mailtwin.testing.interrupts import Interrupted
from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simfaults import When, cut
from mailtwin.testing.simlabels import LabelledAccount, Role
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


# --- the case it all began with ---

LABELS = ("Work", "Work/2024", "Family", "\u00dcbersicht", "lists and news", "100%")
Contents = dict[bytes, list[tuple[frozenset[str], frozenset[str], datetime]]]


def fill(
    made: LabelledAccount,
    chosen: Iterable[CorpusMessage],
    chance: random.Random,
    labels: Sequence[str] = LABELS,
) -> None:
    """Messages, half of them in several labels, some in none."""
    for name in labels:
        if name not in made:
            made.create(name)
    for message in chosen:
        inbox = chance.random() < 0.5
        where = chance.sample(
            labels, chance.randrange(2, 4) if chance.random() < 0.5 else chance.randrange(2)
        )
        places = [*(["INBOX"] if inbox else []), *where] or [made.name_of(Role.ALL)]
        uid = made[places[0]].append(message.body, message.flags, message.date)
        for place in places[1:]:
            made[place].copy(made[places[0]][uid])


def contents(made: LabelledAccount) -> Contents:
    """What the account holds, by the messages' bytes: flags, labels, dates."""
    found: Contents = {}
    for message in made[made.name_of(Role.ALL)]:
        found.setdefault(message.body, []).append((message.flags, message.labels, message.date))
    return found


async def test_gmail_to_gmail_workspace(tmp_path: Path) -> None:
    """An account that does not announce UIDPLUS, another that does, a thousand messages, half of them in several
    labels, and ten runs that end in the middle: both hold the same in the end, and each was uploaded once.

    Once this ended in "Backend could not find uid for message".
    """
    chance = random.Random(1)
    corpus = list(messages(seed=1, count=1000))
    async with account("unannounced=UIDPLUS") as (one, left), account() as (two, right):
        fill(left, corpus[:600], chance)
        fill(right, corpus[400:], chance)
        before = {**contents(right), **contents(left)}

        async def run() -> RunReport:
            def die(event: Event) -> None:
                if isinstance(event, Reconnecting):
                    raise Interrupted("and with the connection the program")

            pair = Pair(store(one), store(two), select=ALL_MAIL.__eq__, sleep=no_sleep)
            state = State.open(
                tmp_path / "state.db", left=pair.left.address, right=pair.right.address, now=now
            )
            try:
                return await sync(pair, state, die)
            finally:
                state.close()

        for server, commands in ((two, "AAAAAS"), (one, "AAAS")):
            for command in commands:
                server.faults.clear()
                if command == "A":
                    server.faults.add(cut("APPEND", nth=chance.randrange(1, 60)))
                else:
                    moment = chance.choice([When.BEFORE, When.EXECUTED])
                    server.faults.add(cut("UID STORE", nth=chance.randrange(1, 4), when=moment))
                with pytest.raises(Interrupted):
                    await run()
        for server in (one, two):
            server.faults.clear()
        report = await run()
        assert report.in_step, report.problems
        assert contents(left) == contents(right)
        assert contents(left).keys() == before.keys(), "no message lost, none altered"
        assert all(len(copies) == 1 for copies in contents(left).values()), "none doubled"
        assert (one.counts["APPEND"], two.counts["APPEND"]) == (400, 400), "each was uploaded once"
        proof = await verify(Pair(store(one), store(two), select=ALL_MAIL.__eq__), None, deep=True)
        assert proof.identical
        assert not any((await run()).counts.as_dict().values())


async def no_sleep(_seconds: float) -> None:
    """Time does not matter here."""


def now() -> float:
    """One moment."""
    return 1_700_000_000.0
