"""A home for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.running import Program


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Lets the processes of all tests share their compiled modules, which is half of their time."""
    return {
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode")),
        "PYTHONDONTWRITEBYTECODE": "",
    }


@pytest.fixture
def program(tmp_path: Path, bytecode: dict[str, str]) -> Program:
    """The real program, with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    return Program(home, dict(bytecode))
