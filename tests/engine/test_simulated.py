"""Sync tables between simulated servers with all kinds of manners, while connections are cut and answers are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_table, parse_table
from tests.engine.test_tables import TWO_WAY

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine.report import RunReport
from mailtwin.model import INBOX, Side
from mailtwin.stores.base import Store
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.manners import BARE, GMAIL_MANNERS, PLAIN, PROFILES, SILENT_APPEND, Manners
from mailtwin.testing.simfaults import Fault, When, cut, reply_no, shorten
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

ROWS = parse_table(TWO_WAY)


@asynccontextmanager
async def server(manners: Manners) -> AsyncIterator[SimServer]:
    """A server with one empty account."""
    mail = SimMail()
    mail.add_account("alice", "secret")
    async with SimServer(mail, manners) as running:
        yield running


def store(running: SimServer) -> ImapStore:
    """Another connection to the account."""
    endpoint = Endpoint("127.0.0.1", running.port, "plain")
    return ImapStore(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")


@pytest.mark.parametrize("right", PROFILES)
@pytest.mark.parametrize("left", ["plain", "gmail-manners"])
async def test_imap_with_imap_whatever_the_manners(left: str, right: str, tmp_path: Path) -> None:
    async with server(PROFILES[left]) as one, server(PROFILES[right]) as two:
        await check_table(Bench(lambda: (store(one), store(two)), tmp_path / "state.db"), ROWS)


@pytest.mark.parametrize("manners", PROFILES)
async def test_imap_with_maildir_whatever_the_manners(manners: str, tmp_path: Path) -> None:
    async with server(PROFILES[manners]) as one:

        def stores() -> tuple[Store, Store]:
            return store(one), MaildirStore(tmp_path / "mail")

        await check_table(Bench(stores, tmp_path / "state.db", keeps_keywords=(True, False)), ROWS)


FAULTS = {
    f"{rule.command} {rule.nth} {what}": rule
    for what, rules in {
        "cut when executed": [cut(name, nth) for name in ("APPEND", "STORE") for nth in (1, 2)],
        "cut before": [
            cut(name, 1, When.BEFORE) for name in ("APPEND", "STORE", "EXPUNGE", "SELECT", "LIST", "FETCH")
        ],
        "cut in the reply": [cut(name, 1, When.MID_REPLY) for name in ("SELECT", "FETCH", "LIST", "APPEND")],
        "cut, expunged": [cut("EXPUNGE", 1)],
        "NO and not done": [reply_no(name, 1) for name in ("APPEND", "STORE", "EXPUNGE")],
        "NO and done": [reply_no(name, 1, when=When.EXECUTED) for name in ("APPEND", "STORE", "EXPUNGE")],
        "short and OK": [shorten("FETCH", nth, keep) for nth, keep in ((1, 0), (1, 3), (2, 2), (3, 1))],
    }.items()
    for rule in rules
}


async def settle(bench: Bench) -> RunReport:
    """Runs until both sides are in step; a few runs have to be enough."""
    report = RunReport()
    for _ in range(4):
        report = await bench.run()
        if report.in_step:
            return report
    raise AssertionError(report.problems)


@pytest.mark.parametrize("side", Side, ids=lambda side: side.label)
@pytest.mark.parametrize(
    "manners", [PLAIN, BARE, GMAIL_MANNERS, SILENT_APPEND], ids=["plain", "bare", "gmail", "silent"]
)
@pytest.mark.parametrize("name", FAULTS)
async def test_no_fault_loses_or_doubles_anything(
    name: str, manners: Manners, side: Side, tmp_path: Path
) -> None:
    fault: Fault = FAULTS[name]
    async with server(PLAIN) as good, server(manners) as bad:
        pair = (bad, good) if side is Side.LEFT else (good, bad)
        bench = Bench(lambda: (store(pair[0]), store(pair[1])), tmp_path / "state.db")
        await bench.prepare(ROWS)
        bad.faults.add(fault)
        await settle(bench)
        bad.faults.clear()
        await bench.expect(ROWS)
        await bench.expect_nothing_to_do()


async def test_a_mailbox_that_is_always_listed_short_removes_nothing(tmp_path: Path) -> None:
    async with server(PLAIN) as one, server(PLAIN) as two:
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db")
        rows = [row for row in ROWS if row.base is not None and None not in row.sides]
        await bench.prepare(rows)
        two.faults.add(shorten("FETCH", 1, keep=1, times=1000))
        report = await bench.run()
        assert not report.in_step
        assert "did not list all messages" in report.problems[0].error.message
        two.faults.clear()
        await settle(bench)
        await bench.expect(rows)


async def test_a_mailbox_recreated_during_a_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    mail = SimMail()
    account = mail.add_account("alice", "secret")
    async with server(PLAIN) as one, SimServer(mail, replace(PLAIN)) as two:
        bench = Bench(lambda: (store(one), store(two)), tmp_path / "state.db")
        rows = [row for row in ROWS if None not in row.expected]
        await bench.prepare(rows)
        await settle(bench)
        account[str(INBOX)].renew(1_800_000_000)
        await settle(bench)
        await bench.expect(rows)
        await bench.expect_nothing_to_do()
