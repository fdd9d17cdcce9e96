"""Messages that the other side holds already, in another mailbox: copied there inside that store, not sent again.

A store that knows a message in two mailboxes for the same (`Store.has_email_ids`) tells by which agreement elsewhere in
the pair its twin is known; a store that copies by itself (`Store.copies_within`) makes the new twin of that one. It is
a copy like any other: the intent is durable before it, the agreement after it, and what is not known to have happened
is looked for by its identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mailtwin.engine.copying import agreed_when_sent
from mailtwin.engine.known import Known, own_numbering
from mailtwin.engine.pair import Pair
from mailtwin.errors import MailboxError, MailtwinError, Scope
from mailtwin.model import Identity, Listing, MailboxName, Ref, Side
from mailtwin.planner import Attempt, Base, Copy, CopyIntent, Link
from mailtwin.state import AddCopy, AddLink, Change, DropCopy, EndAttempt, Note, Placed, SaveEmails, State
from mailtwin.stores.base import Outcome, Refused, Stored, Unknown


@dataclass(slots=True)
class Placer:
    """Places messages of one mailbox. `tried`: what could not be placed in this run, and is sent instead."""

    pair: Pair
    state: State
    name: MailboxName
    tried: set[tuple[Side, Ref]] = field(default_factory=set)

    def can_place(self, source: Side) -> bool:
        """Whether messages of `source` can be recognised, and the other side copies by itself."""
        return self.pair.store(source).has_email_ids and self.pair.store(source.other).copies_within

    async def find(self, known: Known, operations: Sequence[Copy]) -> dict[Copy, Placed]:
        """Those of `operations` whose message the other side holds in another mailbox, and where."""
        found: dict[Copy, Placed] = {}
        for side in Side:
            copies = {
                op.ref: op for op in operations if op.source is side and (side, op.ref) not in self.tried
            }
            if not copies or not self.can_place(side):
                continue
            ids = await known.mailboxes[side].email_ids(list(copies))
            places = self.state.placed(side, set(ids.values()))
            for ref, email_id in ids.items():
                elsewhere = [one for one in places.get(email_id, ()) if one.mailbox != self.name]
                if elsewhere and ref in copies:
                    found[copies[ref]] = elsewhere[0]
        return found

    async def place(self, known: Known, base: Base, found: Mapping[Copy, Placed]) -> dict[Side, int]:
        """Executes what `find` found; how many messages each side got.

        The mailbox has to be observed anew afterwards: it is not open any more where something was placed. Raises a
        store's or the state's error.
        """
        done = dict.fromkeys(Side, 0)
        linked = {side: {link.ref(side) for link in base.links} for side in Side}
        groups: dict[tuple[Side, MailboxName], dict[Copy, Placed]] = {}
        for op, placed in found.items():
            groups.setdefault((op.source, placed.mailbox), {})[op] = placed
        for (side, mailbox), group in sorted(groups.items()):
            self.tried |= {(side, op.ref) for op in group}
            destination = known.observations[side.other].listing
            try:
                done[side.other] += await self._place_from(
                    side, mailbox, group, destination, linked[side.other]
                )
            except MailtwinError as error:
                if error.scope > Scope.MAILBOX:
                    raise
                # The other mailbox cannot be used: its messages are sent.
        return done

    async def _place_from(
        self,
        side: Side,
        mailbox: MailboxName,
        group: Mapping[Copy, Placed],
        destination: Listing,
        linked: set[Ref],
    ) -> int:
        pair, there = self.pair, side.other
        store = pair.store(there)
        validity = next(iter(group.values())).validity(there)
        twins = {op: placed.link.ref(there) for op, placed in group.items()}
        async with store.open(pair.name_on(there, mailbox)) as other:
            who = await other.identify(list(twins.values()))
            begun = [
                (op, _intent(op, group[op].link, who[twin], destination))
                for op, twin in twins.items()
                if twin in who
            ]
            if not begun:
                return 0
            self.state.commit(self.name, [_add(intent, who[twins[op]]) for op, intent in begun])
            refs = [twins[op] for op, _ in begun]
            into = pair.name_on(there, self.name)
            try:
                outcomes = await other.copy_to(
                    into, refs, own_numbering(validity), own_numbering(destination.validity)
                )
            except MailboxError:
                # Numbered anew, and nothing was tried.
                self.state.commit(self.name, [DropCopy(intent) for _, intent in begun])
                raise
        changes = [
            change
            for (op, intent), outcome in zip(begun, outcomes, strict=True)
            for change in _conclude(op, intent, outcome, mailbox, linked)
        ]
        self.state.commit(self.name, changes)
        return sum(isinstance(change, AddLink) for change in changes)

    async def learn(self, known: Known) -> list[Change]:
        """What the stores call the linked messages, as far as that is not in the state."""
        changes: list[Change] = []
        for side in Side:
            if not self.can_place(side):
                continue
            missing = self.state.without_email(self.name, side)
            if missing:
                changes.append(SaveEmails(side, await known.mailboxes[side].email_ids(missing)))
        return changes


def _intent(op: Copy, twin: Link, who: Identity, destination: Listing) -> CopyIntent:
    """The copy has the flags of the message that it is made of, as far as those were agreed on."""
    known = [ref for ref in destination.flags if isinstance(ref, int)]
    floor = max(destination.uid_next or 1, max(known, default=0) + 1)
    return CopyIntent(op.source, op.ref, twin.flags, destination.validity, floor=floor, identity=who)


def _conclude(
    op: Copy, intent: CopyIntent, outcome: Outcome, mailbox: MailboxName, linked: set[Ref]
) -> Iterator[Change]:
    """What is known of a message after the attempt to place it; `linked`: see `Copier`."""
    match outcome:
        case Stored(ref) if ref not in linked:
            linked.add(ref)
            left, right = (op.ref, ref) if op.source is Side.LEFT else (ref, op.ref)
            yield AddLink(Link(left, right, agreed_when_sent(intent.flags)))
            yield DropCopy(intent)
            assert intent.identity is not None
            why = f"to {op.source.other.label}, copied there from {mailbox}: {op.why}"
            yield Note("copy", left, right, why, intent.identity.message_id)
        case Stored() | Refused():
            yield DropCopy(intent)
        case Unknown(finished, accepted):
            if finished:
                yield EndAttempt(intent, Attempt.ACCEPTED if accepted else Attempt.ANSWERED)


def _add(intent: CopyIntent, who: Identity) -> AddCopy:
    return AddCopy(intent, who.size or 0, "", who.message_id)
