"""The sync tables on real servers: IMAP with Maildir, IMAP with IMAP, plain, again, and interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_interrupted, check_table, parse_table
from tests.engine.test_tables import TWO_WAY

from mailtwin.client import Credentials, Endpoint, Secret
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
