"""Both sides at the same time, with plain errors."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mailtwin.errors import MailtwinError

A = TypeVar("A")
B = TypeVar("B")


async def together(left: Coroutine[Any, Any, A], right: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of both. When one fails the other is cancelled, and the error of the widest scope is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(left), group.create_task(right)
    except BaseExceptionGroup as failed:
        raise widest(failed) from None
    return tasks[0].result(), tasks[1].result()


def widest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One error for a group of them: a mistake of our own before all others, then the widest scope."""
    leaves = [widest(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return max(leaves, key=lambda error: error.scope if isinstance(error, MailtwinError) else 100)
