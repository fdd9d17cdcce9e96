"""What a reviewer found who tried to make runs lose, double or alter a message, or say what is not true."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.test_sync import World, message

from mailtwin.model import INBOX, Side
from mailtwin.stores.base import Outcome, Unknown
from mailtwin.stores.memory import MemoryMessage


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty world."""
    return World(tmp_path)


# --- numbering ---


async def test_what_is_known_under_a_number_is_forgotten_when_the_mailbox_is_renumbered_during_a_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        world.left.add(INBOX, message(number))
    for number in (8, 1, 3):
        world.right.add(INBOX, message(number))
    append = world.right.append

    def renumbering(name: object, new: MemoryMessage) -> Outcome:
        monkeypatch.setattr(world.right, "append", append)
        world.right.user_remove(INBOX, 1)
        world.right.user_renumbers(INBOX)
        append(INBOX, new)
        # What an IMAP store makes of an APPENDUID with another UIDVALIDITY.
        return Unknown(finished=True, accepted=True)

    monkeypatch.setattr(world.right, "append", renumbering)
    await world.run()
    await world.run()
    assert world.bodies(Side.LEFT) == world.bodies(Side.RIGHT)
    assert {message(1), message(2), message(3)} <= set(world.bodies(Side.LEFT))
    await world.check()
