"""Ends a run at any chosen step: before or after each effect on a store, before or after each durable write.

    clock = StepClock(stop_at=7)
    pair = Pair(InterruptingStore(left, clock), InterruptingStore(right, clock))
    state = State.open(..., on_commit=clock.step)
    await sync(pair, state)        # raises Interrupted at the seventh step

`Interrupted` is a BaseException: nothing that handles errors may handle a power cut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mailtwin.model import Flags, Identity, MailboxName, Ref
from mailtwin.stores.base import (
    Delivery,
    FlagChange,
    Look,
    Mailbox,
    MailboxList,
    Message,
    Observation,
    Outcome,
    Spool,
    Store,
    Target,
)


class Interrupted(BaseException):
    """The run ended here."""


@dataclass(slots=True)
class StepClock:
    """Counts steps; raises Interrupted at step `stop_at` (counted from 1), never when that is None."""

    stop_at: int | None = None
    steps: int = 0

    def step(self) -> None:
        """One more step. Raises Interrupted when it is the chosen one."""
        self.steps += 1
        if self.steps == self.stop_at:
            raise Interrupted(f"step {self.steps}")


class InterruptingStore(Store):
    """Another store, with a step before and after each effect."""

    def __init__(self, store: Store, clock: StepClock) -> None:
        self.store = store
        self.clock = clock
        self.address = store.address
        self.copies_within = store.copies_within

    @property
    def merges(self) -> bool:
        """See `Store`."""
        return self.store.merges

    @property
    def has_email_ids(self) -> bool:
        """See `Store`."""
        return self.store.has_email_ids

    async def connect(self, *, create: bool) -> None:
        """See `Store`."""
        await self.store.connect(create=create)

    async def reconnect(self) -> None:
        """See `Store`."""
        await self.store.reconnect()

    async def close(self) -> None:
        """See `Store`."""
        await self.store.close()

    def limits(self) -> str:
        """See `Store`."""
        return self.store.limits()

    async def mailboxes(self) -> MailboxList:
        """See `Store`."""
        return await self.store.mailboxes()

    async def create(self, name: MailboxName) -> None:
        """See `Store`; an effect."""
        self.clock.step()
        await self.store.create(name)
        self.clock.step()

    async def remove_mailbox(self, name: MailboxName) -> None:
        """See `Store`; an effect."""
        self.clock.step()
        await self.store.remove_mailbox(name)
        self.clock.step()

    async def labels(self) -> MailboxList | None:
        """See `Store`."""
        return await self.store.labels()

    async def create_label(self, name: MailboxName) -> None:
        """See `Store`; an effect."""
        self.clock.step()
        await self.store.create_label(name)
        self.clock.step()

    async def remove_label(self, name: MailboxName) -> None:
        """See `Store`; an effect."""
        self.clock.step()
        await self.store.remove_label(name)
        self.clock.step()

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[Mailbox]:
        """See `Store`."""
        async with self.store.open(name) as mailbox:
            yield _InterruptingMailbox(mailbox, self.clock)


class _InterruptingMailbox(Mailbox):
    def __init__(self, mailbox: Mailbox, clock: StepClock) -> None:
        self.name = mailbox.name
        self.mailbox = mailbox
        self.clock = clock

    async def observe(self, since: Observation | None = None) -> Observation:
        return await self.mailbox.observe(since)

    async def identify(self, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        return await self.mailbox.identify(refs)

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        return await self.mailbox.look(refs)

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        messages = self.mailbox.fetch(refs, spool)
        try:
            async for message in messages:
                yield message
        finally:
            await messages.aclose()

    async def email_ids(self, refs: Sequence[Ref]) -> Mapping[Ref, str]:
        return await self.mailbox.email_ids(refs)

    async def copy_to(
        self, name: MailboxName, refs: Sequence[Ref], validity: str, into: str
    ) -> list[Outcome]:
        self.clock.step()
        outcomes = await self.mailbox.copy_to(name, refs, validity, into)
        self.clock.step()
        return outcomes

    def delivery(self) -> Delivery:
        return _InterruptingDelivery(self.mailbox.delivery(), self.clock)

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        # One change after the other, so that a run can also end between two of them.
        refused: dict[str, str] = {}
        for change in changes:
            self.clock.step()
            refused.update(await self.mailbox.store_flags([change]))
        self.clock.step()
        return refused

    async def remove(self, refs: Sequence[Ref]) -> None:
        for ref in refs:
            self.clock.step()
            await self.mailbox.remove([ref])
        self.clock.step()


class _InterruptingDelivery(Delivery):
    def __init__(self, delivery: Delivery, clock: StepClock) -> None:
        self.delivery = delivery
        self.clock = clock

    def spool(self) -> Spool:
        return self.delivery.spool()

    def stage(self, message: Message, flags: Flags) -> Target:
        return self.delivery.stage(message, flags)

    async def commit(self) -> list[Outcome]:
        self.clock.step()
        outcomes = await self.delivery.commit()
        self.clock.step()
        return outcomes

    async def abort(self) -> None:
        await self.delivery.abort()
