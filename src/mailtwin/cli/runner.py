"""Runs a coroutine so that Ctrl-C (SIGINT) and SIGTERM end it cleanly: it is cancelled, and may let go of what it has.

Only the first signal cancels politely; a second one cancels the farewell as well. What was committed is durable either
way, and the next run goes on from there.
"""

from __future__ import annotations

import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from mailtwin.errors import MailtwinError

T = TypeVar("T")


class InterruptedRunError(Exception):
    """A signal ended the run."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of `main`. Raises InterruptedRunError after SIGINT or SIGTERM, else what `main` raises."""
    import asyncio  # late: also those who only want help import this module

    with asyncio.Runner() as runner:
        return runner.run(_interruptible(main))


async def _interruptible(main: Coroutine[Any, Any, T]) -> T:
    import asyncio

    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    signals: list[signal.Signals] = []

    def interrupt(which: signal.Signals) -> None:
        signals.append(which)
        task.cancel()

    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    for which in before:
        loop.add_signal_handler(which, interrupt, which)
    try:
        return await task
    except (asyncio.CancelledError, MailtwinError) as error:
        if signals:
            raise InterruptedRunError from error
        raise
    finally:
        for which, handler in before.items():
            loop.remove_signal_handler(which)
            if handler is not None:  # None: not one of Python's
                signal.signal(which, handler)
