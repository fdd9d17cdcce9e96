"""Every transcript is played: see `reading` for what they look like and `playing` for what plays them."""

from __future__ import annotations

import pytest
from tests.transcripts.playing import play_above, play_on_kernel
from tests.transcripts.reading import read_all

ALL = read_all()
KERNEL = [name for name, one in ALL.items() if one.floor == "kernel"]
ABOVE = [name for name, one in ALL.items() if one.floor != "kernel"]


@pytest.mark.parametrize("name", KERNEL)
def test_on_the_kernel(name: str) -> None:
    play_on_kernel(ALL[name])


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "in drops"])
@pytest.mark.parametrize("name", ABOVE)
async def test_above_the_kernel(name: str, drip: bool) -> None:
    await play_above(ALL[name], drip=drip)
