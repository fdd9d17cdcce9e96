"""The removal of a mailbox as a whole, because it vanished on the other side and a person wants that to count.

A LIST may be short, and a mailbox may hold news: it is removed only when it really is gone there, holds nothing that
never was on both sides, and all of it is kept. A large one is held back until that is approved, see `removals`.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from mailtwin.engine.guards import Evidence, PairTotal, judge
from mailtwin.engine.known import in_pair
from mailtwin.engine.pair import Pair
from mailtwin.engine.quarantine import Keeper
from mailtwin.engine.removals import hold, withhold
from mailtwin.errors import MailboxError, NoMailboxError
from mailtwin.model import Listing, MailboxName, Ref, Side
from mailtwin.planner import Base, RemoveMailbox
from mailtwin.state import HeldRemovals, Note, State


@dataclass(frozen=True, slots=True)
class Vanished:
    """A mailbox that is to be removed on `side`."""

    pair: Pair
    state: State
    operation: RemoveMailbox

    @property
    def side(self) -> Side:
        """Where it is still there."""
        return self.operation.side

    @property
    def name(self) -> MailboxName:
        """Its name on the left."""
        return self.operation.name

    def evidence(self, total: PairTotal) -> Evidence:
        """Its messages that both sides held and whose removal nobody approved; `total`: see `remove`."""
        base, before = self.state.base(self.name), self._held()
        approved = frozenset[Ref]()
        if before is not None and before.validity == base.validity(self.side):
            approved = before.approved
        refs = tuple(link.ref(self.side) for link in base.links if link.ref(self.side) not in approved)
        return Evidence(self.side, refs, len(base.links), whole=True, pair=total)

    async def remove(self, total: PairTotal) -> None:
        """Removes it; `total`: what this run would remove on `side` in all.

        Raises GuardError when it is held back, MailboxError when it is not gone, holds news or cannot be kept, and
        what opening and removing it raises.
        """
        await self._refuse_if_there()
        self.state.require_sound(self.name)
        base = self.state.base(self.name)
        self._refuse_implausible(base, total)
        held = await self._refuse_news(base)
        if held.flags and self.pair.keeping.days:
            await self._keep_all(held)
        await self.pair.store(self.side).remove_mailbox(self._there)
        self.state.forget_mailbox(self.name)
        note = Note("remove-mailbox", None, None, f"on {self.side.label}: {self.operation.why}")
        self.state.annotate(self.name, [note])

    @property
    def _there(self) -> MailboxName:
        return self.pair.name_on(self.side, self.name)

    def _held(self) -> HeldRemovals | None:
        found = (one for one in self.state.held(self.name) if one.side is self.side and one.whole)
        return next(found, None)

    def _refuse_implausible(self, base: Base, total: PairTotal) -> None:
        found = self.evidence(total)
        if judge(found):
            held, error = withhold(self.state, self.name, base, found)
            self.state.commit(self.name, hold(self._held(), held))
            raise error

    async def _refuse_if_there(self) -> None:
        missing, name = self.side.other, self.pair.name_on(self.side.other, self.name)
        store = self.pair.store(missing)
        listed = await store.mailboxes()
        if listed.complete and name not in listed.mailboxes:
            try:
                async with store.open(name):
                    pass
            except NoMailboxError:
                return
        raise MailboxError(
            f"{self.name}: the {missing.label} side did not list it, but it is there. Nothing was removed."
        )

    async def _refuse_news(self, base: Base) -> Listing:
        """What the mailbox holds; an error if anything in it arrived or changed since: it would be lost."""
        side, name = self.side, self.name
        agreed = {link.ref(side): link.flags for link in base.links}
        async with self.pair.store(side).open(self._there) as mailbox:
            held = in_pair(name, self._there, await mailbox.observe()).listing
        is_another = base.validity(side) not in (None, held.validity)
        is_news = any(agreed.get(ref) != flags for ref, flags in held.flags.items())
        if is_another or is_news or not held.complete:
            raise MailboxError(
                f"{name}: it was removed on the {side.other.label} side, but holds mail on the {side.label} side that "
                "never was on both. It was left alone.",
                hint="create it again on the other side to have its mail copied there",
            )
        return held

    async def _keep_all(self, held: Listing) -> None:
        async with self.pair.store(self.side).open(self._there) as mailbox:
            keeper = Keeper(self.state, self.name, self.side, mailbox, held.validity)
            async with aclosing(keeper.keep(dict.fromkeys(held.flags, "its mailbox was removed"))) as batches:
                async for _refs in batches:
                    pass  # kept; they go with the mailbox
        if keeper.problems:
            raise MailboxError(
                f"{self.name}: {len(keeper.problems)} of its messages cannot be kept, so it was not removed: "
                f"{keeper.problems[0].error.message}"
            )
