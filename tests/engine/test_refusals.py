"""The disk refuses the n-th call, for every n, once or from then on: the run ends with a clear error, nothing is lost
or doubled, the next run goes on, and nothing is left behind.

`MAILTWIN_REFUSALS=all` tries each error number at each call; without it they take turns.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.disks import Scene, dead_process, quick_directory
from tests.engine.test_powercut import STORIES, Story

from mailtwin.errors import ExitCode, MailtwinError, Scope
from mailtwin.testing.powercut import Refusing, expect_complete, watched

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)
ALL = os.environ.get("MAILTWIN_REFUSALS") == "all"


async def prepared(story: Story, root: Path, process: int) -> Scene:
    """The scene before the run in which something is refused, by a process of its own."""
    scene = Scene(root, process=process)
    scene.root.mkdir()
    story.before(scene)
    if not story.first_run:
        await scene.run()
    story.people(scene)
    if story.in_step_again:
        await scene.run()
    return scene


async def code_of(story: Story, scene: Scene) -> ExitCode:
    """How the run ended. Whatever is no MailtwinError is a mistake of ours."""
    try:
        if story.lastly:
            await scene.do(story.job)
            return ExitCode.OK
        return (await scene.run()).exit_code
    except MailtwinError as error:
        said = error
    assert said.hint, f"no hint: {said.message}"
    return said.exit_code if said.scope > Scope.MAILBOX else ExitCode.NOT_IN_STEP


def is_done(story: Story, scene: Scene) -> bool:
    """Whether nothing is left to do of the story."""
    if story.lastly:
        return not scene.kept()
    return all(
        scene.left(name) == scene.right(name) == sorted(mail.items()) for name, mail in story.expected.items()
    )


def refusals(calls: int) -> Iterator[tuple[int, int, bool]]:
    for nth in range(1, calls + 1):
        for lasting in (False, True):
            turn = ERRORS if ALL else (ERRORS[(nth + lasting) % len(ERRORS)],)
            for number in turn:
                yield nth, number, lasting


@pytest.mark.timeout(0 if ALL else 600)
@pytest.mark.parametrize("name", STORIES)
async def test_the_disk_refuses_any_call(name: str, tmp_path: Path) -> None:
    story = STORIES[name]
    with quick_directory(tmp_path) as directory:
        process = dead_process()
        plain = await prepared(story, directory / "plain", process)
        counter = Refusing(0, 0)
        with watched(plain.root, counter):
            await code_of(story, plain)
        for nth, number, lasting in refusals(counter.calls):
            root = directory / f"{nth}-{number}-{lasting}"
            scene = await prepared(story, root, process)
            gate = Refusing(nth, number, lasting)
            try:
                with watched(root, gate) as log:
                    code = await code_of(story, scene)
                scene.process = None
                expect_complete(log, root)
                if code is ExitCode.OK:
                    assert is_done(story, scene), "said to be done and is not"
                else:
                    # What somebody may not do to one mailbox says nothing about the disk.
                    of_one = number == errno.EACCES and code is ExitCode.NOT_IN_STEP
                    assert gate.refused
                    assert code is ExitCode.DISK or of_one, code
                scene.check_now({data for mail in story.expected.values() for data in mail} | scene.removed)
                for job in story.lastly:
                    await scene.do(job)
                await scene.check_settled(story.expected)
            except BaseException as error:
                error.add_note(
                    f"{name}: {errno.errorcode[number]} at call {nth}, lasting: {lasting}: {gate.refused[:2]}"
                )
                raise
            shutil.rmtree(root)
