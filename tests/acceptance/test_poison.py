"""Acceptance by messages over which the connection to a real server ends each time: all others are copied in the same
run, `mailtwin status` names these, and once they pass they are copied, once each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailtwin.testing.faults.__main__ import scenarios
from mailtwin.testing.faults.sides import Contents
from mailtwin.testing.faults.tools import Mailtwin
from mailtwin.testing.faults.trial import made
from mailtwin.testing.realservers import Kind, RealServer

MAILS = 6
RUN_S_MAX = 150.0
POISON = {"poison-append": {2, 4}, "poison-fetch": {17}}
"""The letters that are never stored, or never read; letter 5 is stored, though its answer never comes."""


def numbers(contents: Contents) -> list[int]:
    """The letters that are there, sorted."""
    return sorted(one.number for one in contents if one.number is not None)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", POISON)
async def test_all_but_the_poison_is_copied(name: str, imap_server: RealServer, tmp_path: Path) -> None:
    kind: Kind = imap_server.kind
    (scenario,) = scenarios([name])
    everything, poison = list(range(4 * MAILS)), POISON[name]
    async with made(Mailtwin, imap_server, tmp_path, f"{name}/{kind}") as scene:
        assert isinstance(scene.tool, Mailtwin)
        scene.fill(MAILS, name)
        scene.proxy.arm(scenario.rules)
        run = await scene.run(RUN_S_MAX)
        assert run.code == 3, run
        source, other = (scene.left, scene.right) if name == "poison-append" else (scene.right, scene.left)
        assert numbers(source.read()) == everything
        assert numbers(other.read()) == [number for number in everything if number not in poison]
        told = scene.tool.status()["uncopied"]
        assert len(told) == len(poison)
        assert all("the connection ended each time" in one["reason"] for one in told), told
        scene.proxy.arm(())
        run = await scene.run(RUN_S_MAX)
        assert run.code == 0, run
        assert numbers(source.read()) == numbers(other.read()) == everything
        assert scene.tool.status()["uncopied"] == []
