"""The sync tables on real servers: IMAP with Maildir, IMAP with IMAP, plain, again, and interrupted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_interrupted, check_table, parse_table
from tests.engine.test_tables import TWO_WAY

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, sync
from mailtwin.engine.report import Counts, RunReport
from mailtwin.planner import Policy
from mailtwin.state import State
from mailtwin.stores.base import Store
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.realservers import RealServer


def account(server: RealServer) -> Callable[[], Store]:
    """A fresh account; each call is another connection to it."""
    user = server.user()

    def connect() -> Store:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        return ImapStore(endpoint, lambda: Credentials(user.user, Secret(user.password)), user.user)

    return connect


def maildir(root: Path) -> Callable[[], Store]:
    """A Maildir; each call is another program that uses it."""
    return lambda: MaildirStore(root)


async def test_imap_with_maildir(imap_server: RealServer, tmp_path: Path) -> None:
    left, right = account(imap_server), maildir(tmp_path / "mail")
    bench = Bench(lambda: (left(), right()), tmp_path / "state.db", keeps_keywords=(True, False))
    await check_table(bench, parse_table(TWO_WAY))


async def test_maildir_with_imap(imap_server: RealServer, tmp_path: Path) -> None:
    left, right = maildir(tmp_path / "mail"), account(imap_server)
    bench = Bench(lambda: (left(), right()), tmp_path / "state.db", keeps_keywords=(False, True))
    await check_table(bench, parse_table(TWO_WAY))


PAIRS = [("dovecot", "cyrus"), ("cyrus", "courier"), ("courier", "dovecot"), ("dovecot", "dovecot")]


@pytest.mark.servers
@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
async def test_imap_with_imap(kinds: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    left, right = (account(request.getfixturevalue(kind)) for kind in kinds)
    bench = Bench(lambda: (left(), right()), tmp_path / "state.db")
    await check_table(bench, parse_table(TWO_WAY))


@pytest.mark.servers
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["dovecot", "cyrus", "courier"])
async def test_imap_with_maildir_interrupted_at_every_step(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(kind)

    def bench(number: int) -> Bench:
        left, right = account(server), maildir(tmp_path / f"mail{number}")
        return Bench(lambda: (left(), right()), tmp_path / f"{number}.db", keeps_keywords=(True, False))

    done = await check_interrupted(bench, parse_table(TWO_WAY))
    assert done["interrupted"] > 20


WILD = ("axb", "a*b", "a%b", "100%", "*", "a*", "a*/sub")


async def test_names_with_the_wildcards_of_list(imap_server: RealServer, tmp_path: Path) -> None:
    """They are names like others, to be created, filled, listed with their status, and removed exactly.

    Cyrus refuses `%`, which is a problem of these mailboxes only; Courier and Dovecot take all.
    """
    connect, root = account(imap_server), tmp_path / "mail"
    policy = Policy(remove_mailboxes=True)

    async def run() -> RunReport:
        left, right = MaildirStore(root, layout="nested"), connect()
        with State.open(tmp_path / "state.db", left=left.address, right="right", now=time.time) as state:
            return await sync(Pair(left, right, policy=policy), state)

    for name in ("INBOX", *WILD):
        for part in ("cur", "new", "tmp"):
            (root / name / part).mkdir(parents=True)
        (root / name / "cur" / "1.M1P1.h:2,S").write_bytes(f"Message-ID: <{name}@wild>\n\n{name}\n".encode())
    report = await run()
    refused = {problem.mailbox for problem in report.problems}
    expected = {"a%b", "100%"} if imap_server.kind == "cyrus" else set()
    assert {str(name) for name in refused} == expected, report.problems
    held = await names_on(connect())
    assert held == {"INBOX", *WILD} - expected
    shutil.rmtree(root / "a*b")
    (root / "axb" / "cur" / "2.M1P1.h:2,").write_bytes(b"Message-ID: <2@wild>\n\n2\n")
    report = await run()
    assert {str(problem.mailbox) for problem in report.problems} == expected
    assert await names_on(connect()) == held - {"a*b"}
    assert (await run()).counts.as_dict() == Counts().as_dict()


async def names_on(store: Store) -> set[str]:
    """The mailboxes of a store."""
    await store.connect(create=False)
    try:
        return set(map(str, (await store.mailboxes()).mailboxes))
    finally:
        await store.close()
