"""A pair of stores and what a person wants of it: the engine's input."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mailtwin.engine.metering import Meter
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.planner import NameMap, Policy
from mailtwin.stores.base import Mailbox, Store


def every_mailbox(_name: MailboxName) -> bool:
    """Selects all mailboxes."""
    return True


def no_mailbox(_name: MailboxName) -> bool:
    """Names none."""
    return False


SETTLE_S = 5.0
"""How long is waited for an interrupted command to take effect once its connection is gone, in seconds."""

_NOT_IN_STEP = " not-in-step"


def ends(side: Side, ref: Ref | None) -> tuple[Ref | None, Ref | None]:
    """A message on one side, as a (left, right) pair."""
    return (ref, None) if side is Side.LEFT else (None, ref)


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long removed messages are kept, in days (0: not at all), and how many bytes of them at most."""

    days: int = 30
    bytes_max: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pair:
    """Two stores to be kept identical.

    `names` maps left names to right names; `select` says of a left name whether it takes part, `is_named` whether it
    was chosen by that very name.
    `retry` tries at once what could not be copied before. `full` lists every mailbox whole, whatever its server says
    of what changed. `keeping` says what becomes of removed messages. `sleep` is
    the clock of every pause, in seconds; `now` tells the time, in seconds since 1970. `meter` counts what the
    accounts use, and says when it is enough.
    """

    left: Store
    right: Store
    policy: Policy = field(default_factory=Policy)
    names: NameMap = field(default_factory=NameMap)
    select: Callable[[MailboxName], bool] = every_mailbox
    is_named: Callable[[MailboxName], bool] = no_mailbox
    retry: bool = False
    full: bool = False
    keeping: Keeping = field(default_factory=Keeping)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time
    meter: Meter = field(default_factory=Meter)

    def store(self, side: Side) -> Store:
        """The store on `side`."""
        return self.left if side is Side.LEFT else self.right

    def name_on(self, side: Side, name: MailboxName) -> MailboxName:
        """How the mailbox that is called `name` on the left is called on `side`."""
        return name if side is Side.LEFT else self.names.to_right(name)

    def seal(self, name: MailboxName, cursor: str, *, in_step: bool = True) -> str:
        """`cursor` as it is saved for the mailbox `name`: it vouches that nothing is left to do *under this policy* and
        with this twin. Under another policy the same contents may mean work. Not `in_step`: it vouches for nothing, and
        only says what was seen."""
        return f"{cursor}{'' if in_step else _NOT_IN_STEP}{self._seal(name)}"

    def unseal(self, name: MailboxName, sealed: str) -> str | None:
        """The inverse of `seal`; None when it was sealed with another policy or twin."""
        seal = self._seal(name)
        return sealed.removesuffix(seal).removesuffix(_NOT_IN_STEP) if sealed.endswith(seal) else None

    def _seal(self, name: MailboxName) -> str:
        policy = self.policy
        wins = "flags-win" if policy.flag_change_beats_removal else "removals-win"
        twin = self.name_on(Side.RIGHT, name)
        return f" {policy.direction.value} {policy.removals.value} {wins} {twin}"


@asynccontextmanager
async def open_both(pair: Pair, name: MailboxName) -> AsyncIterator[tuple[Mailbox, Mailbox]]:
    """The mailbox that is called `name` on the left, open on both sides. Raises what opening it raises."""
    async with (
        pair.left.open(name) as left,
        pair.right.open(pair.name_on(Side.RIGHT, name)) as right,
    ):
        yield left, right
