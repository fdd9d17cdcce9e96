"""No test of the client waits long for anything."""

from __future__ import annotations

import pytest

from mailtwin.client import Credentials, Secret, Timeouts

PASSWORD = "correct-horse"


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("user", Secret(PASSWORD))


@pytest.fixture
def timeouts() -> Timeouts:
    return Timeouts(connect=5, greeting=5, reply=5, literal=5, refusal=0.1, close=1)
