"""Waiting for changes: of the selected mailbox, or of many at once with NOTIFY (RFC 5465).

What comes only says *that* something happened and when to look; it never decides anything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from enum import Enum
from typing import Final

from mailtwin.client.session import IDLE_S_MAX, Session
from mailtwin.imap.commands import Taken
from mailtwin.imap.commands.notify import Notify, Watch, is_overflow

POLL_S: Final = 60.0
"""Between two looks at a mailbox on a server without IDLE."""


class Gap(Enum):
    """The server has stopped telling, and some of what happened was not told: look at everything, then ask again."""

    OVERFLOW = "overflow"


async def changes(
    session: Session, *, renew_s: float = IDLE_S_MAX, poll_s: float = POLL_S
) -> AsyncGenerator[Taken, None]:
    """What happens in the selected mailbox, until `session.stop_idle`: by IDLE, or without it by NOOP each `poll_s`.

    `renew_s` has to stay below 29 minutes (RFC 2177). Raises `Refused`, UnreachableError and its kin.
    """
    news = session.idle(max_s=renew_s, renew=True) if session.has("IDLE") else session.listen(renew_s=poll_s)
    async with aclosing(news):
        async for one in news:
            yield one


async def notifications(
    session: Session, watches: Sequence[Watch], *, renew_s: float = IDLE_S_MAX
) -> AsyncGenerator[Taken | Gap, None]:
    """What happens where `watches` say, until `session.stop_idle`: first a STATUS of each mailbox watched.

    Of the selected mailbox, which the filter `selected` watches and no other, servers were seen to tell in IDLE only:
    so it waits in IDLE where a mailbox is selected. After `Gap.OVERFLOW` (the server could not keep up and has ended
    NOTIFY) the stream ends. Raises `Refused` when the server has no NOTIFY or will not watch that, UnreachableError
    and its kin.
    """
    result = await session.run(Notify(tuple(watches), status=True))
    for response in result.responses:
        if is_overflow(response):
            yield Gap.OVERFLOW
            return
        yield response
    in_idle = session.has("IDLE") and session.state.selected is not None
    told = session.idle(max_s=renew_s, renew=True) if in_idle else session.listen(renew_s=renew_s)
    overflowed = False
    async with aclosing(told) as news:
        async for one in news:
            if overflowed:
                continue  # what comes until IDLE has ended: everything has to be looked at anyway
            if is_overflow(one):
                overflowed = True
                session.stop_idle()
            else:
                yield one
    if overflowed:
        yield Gap.OVERFLOW
