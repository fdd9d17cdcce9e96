"""The labels of a pair whose both sides have labels: which there are, apart from which message carries which.

What a message carries is merged with its flags. A label that was made, renamed or removed on one side is made or
removed on the other as mailboxes are (`plan_mailboxes`), with two differences: no mail goes with a label, so removing
one need not be asked for; and one that messages carry is in use, so it is not removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailtwin.engine.pair import Pair
from mailtwin.engine.report import Problem
from mailtwin.engine.together import together
from mailtwin.errors import MailboxError, MailtwinError, Scope
from mailtwin.model import MailboxName, Side
from mailtwin.planner import (
    CreateMailbox,
    HoldMailbox,
    MailboxListing,
    MailboxOperation,
    RemoveMailbox,
    plan_mailboxes,
)
from mailtwin.state import Note, State
from mailtwin.stores.base import ALL_MAIL, MailboxList


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of both sides as they were last listed, and what is to be done about them."""

    pair: Pair
    state: State | None
    lists: tuple[MailboxList, MailboxList]

    @classmethod
    async def look(cls, pair: Pair, state: State | None, *, afresh: bool) -> Labels | None:
        """What both sides have, listed again if `afresh`; None unless both have labels. Raises a store's error."""
        if afresh:
            await together(pair.left.mailboxes(), pair.right.mailboxes())
        left, right = await together(pair.left.labels(), pair.right.labels())
        return None if left is None or right is None else cls(pair, state, (left, right))

    def plan(self) -> tuple[MailboxOperation, ...]:
        """What would make both sides have the same ones."""
        left, right = (MailboxListing(frozenset(each.mailboxes), each.complete) for each in self.lists)
        policy = replace(self.pair.policy, remove_mailboxes=True)
        known = frozenset[MailboxName]() if self.state is None else self.state.labels()
        return plan_mailboxes(known, left, right, policy)

    async def execute(self, state: State) -> list[Problem]:
        """Makes both sides have the same ones, as far as each takes them; why it does not, where it does not."""
        names = [set(each.mailboxes) for each in self.lists]
        problems = list(self._unusable())
        for operation in self.plan():
            if isinstance(operation, HoldMailbox):
                continue  # one-way, and it is the other side's: it stays
            problem = await self._execute(state, operation, names)
            if problem is not None:
                problems.append(problem)
        # What was agreed on and is still to be removed on one side is not new there.
        known = state.labels()
        agreed = names[Side.LEFT] & names[Side.RIGHT] | known & (names[Side.LEFT] | names[Side.RIGHT])
        if agreed != known:
            state.agree_labels(agreed)
        return problems

    async def _execute(
        self, state: State, operation: MailboxOperation, names: list[set[MailboxName]]
    ) -> Problem | None:
        if not isinstance(operation, CreateMailbox | RemoveMailbox):
            return None
        side, name = operation.side, operation.name
        creates = isinstance(operation, CreateMailbox)
        store = self.pair.store(side)
        try:
            await (store.create_label(name) if creates else store.remove_label(name))
        except MailtwinError as error:
            if error.scope > Scope.MAILBOX:
                raise
            return Problem(error, ALL_MAIL, side)
        (names[side].add if creates else names[side].discard)(name)
        what = "create-label" if creates else "remove-label"
        state.annotate(ALL_MAIL, [Note(what, None, None, f"{name} on {side.label}: {operation.why}")])
        return None

    def _unusable(self) -> Iterator[Problem]:
        for side in Side:
            for spelling, why in sorted(self.lists[side].problems.items()):
                yield Problem(MailboxError(f"the label {spelling}: {why}"), ALL_MAIL, side)
