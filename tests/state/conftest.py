from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from mailtwin.state import State

LEFT = "imaps://ann@mail.example.org"
RIGHT = "maildir:/srv/mail/ann"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def open_state(path: Path) -> Iterator[Callable[[], State]]:
    """Opens the state of the test's pair; the time rises by one second each time somebody looks."""
    ticks = count(1_000)
    opened: list[State] = []

    def opener() -> State:
        opened.append(State.open(path, left=LEFT, right=RIGHT, now=lambda: float(next(ticks))))
        return opened[-1]

    yield opener
    for state in opened:
        state.close()


@pytest.fixture
def state(open_state: Callable[[], State]) -> State:
    return open_state()
