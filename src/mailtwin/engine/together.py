"""Both sides at the same time, with plain errors."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mailtwin.errors import MailtwinError, Scope

A = TypeVar("A")
B = TypeVar("B")


async def together(left: Coroutine[Any, Any, A], right: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """The results of both. When one fails the other is cancelled, and the error of the widest scope is raised.

    An error that concerns one mailbox waits until the other side has ended: cutting that short costs its connection.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(_patient(left)), group.create_task(_patient(right))
    except BaseExceptionGroup as failed:
        raise widest(failed) from None
    one, two = tasks[0].result(), tasks[1].result()
    if isinstance(one, MailtwinError):
        raise one
    if isinstance(two, MailtwinError):
        raise two
    return one, two


async def _patient(work: Coroutine[Any, Any, A]) -> A | MailtwinError:
    try:
        return await work
    except MailtwinError as error:
        if error.scope > Scope.MAILBOX:
            raise
        return error


def widest(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One error for a group of them: a mistake of our own before all others, then the widest scope."""
    leaves = [widest(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return max(leaves, key=lambda error: error.scope if isinstance(error, MailtwinError) else 100)
