"""What every test may ask for: real servers, started when the first test wants them and shared by the session.

A test gets its isolation from `server.user()`: an account that nobody has used. With pytest-xdist each worker has
servers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from mailtwin.testing.realservers import KINDS, Kind, RealServer, running

# A deadline for one example, or for making examples up, measures the machine, not the code.
settings.register_profile(
    "mailtwin", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mailtwin")

_SERVER_FIXTURES: Final = frozenset({*KINDS, "imap_server", "imap_server_kind"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever uses a real server, so that no test can forget to say so."""
    for item in items:
        if _SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A Dovecot with Maildir storage, `/` as separator and no prefix."""
    with running("dovecot", run_dir=tmp_path_factory.mktemp("dovecot")) as server:
        yield server


@pytest.fixture(scope="session")
def cyrus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A Cyrus with `/` as separator and no prefix."""
    with running("cyrus", run_dir=tmp_path_factory.mktemp("cyrus")) as server:
        yield server


@pytest.fixture(scope="session")
def courier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A Courier: `.` as separator, `INBOX.` as prefix, and few extensions."""
    with running("courier", run_dir=tmp_path_factory.mktemp("courier")) as server:
        yield server


@pytest.fixture(scope="session", params=KINDS)
def imap_server_kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of server in turn, not started."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="session")
def imap_server(request: pytest.FixtureRequest, imap_server_kind: Kind) -> RealServer:
    """Each real server in turn."""
    server: RealServer = request.getfixturevalue(imap_server_kind)
    return server
