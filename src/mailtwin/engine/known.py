"""What is known of one mailbox during a run: both listings as last observed, and what was learnt since.

Identities are asked for once and kept as long as the mailbox is open. Flags that a server was seen not to keep are left
out of both listings, so that their absence is never taken for somebody's wish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mailtwin.engine.together import together
from mailtwin.model import (
    ANY_SIZE,
    NO_FLAGS,
    Flags,
    Identity,
    Listing,
    MailboxName,
    Ref,
    Side,
    SizeRange,
    make_flags,
)
from mailtwin.planner import Base, Identify, Link
from mailtwin.state import Sighting
from mailtwin.stores.base import Mailbox, Observation


@dataclass(slots=True)
class Known:
    """Both sides of one open mailbox. `nameless`: the messages that nobody can identify, each with its size.

    `recalled`: what both sides held before, as far as it is known; `asks_changes`: whether it may be asked only what
    changed since, and since the last look. `listed_whole`: the sides of which everything was listed meanwhile.
    """

    mailboxes: tuple[Mailbox, Mailbox]
    observations: tuple[Observation, ...] = ()
    identities: tuple[dict[Ref, Identity], dict[Ref, Identity]] = field(default_factory=lambda: ({}, {}))
    ignored: Flags = NO_FLAGS
    nameless: tuple[dict[Ref, SizeRange], dict[Ref, SizeRange]] = field(default_factory=lambda: ({}, {}))
    recalled: tuple[Observation | None, ...] = (None, None)
    asks_changes: bool = True
    listed_whole: set[Side] = field(default_factory=set)

    async def observe(self, *, whole: bool = False) -> None:
        """Lists both sides, at the same time; `whole`: asks for everything."""
        left, right = self.mailboxes
        before = self.observations
        asked_whole = whole or not self.asks_changes
        since_left, since_right = (None, None) if asked_whole else before or self.recalled
        seen_left, seen_right = await together(left.observe(since_left), right.observe(since_right))
        self.observations = (seen_left, in_pair(left.name, right.name, seen_right))
        self.listed_whole |= {side for side in Side if self.observations[side].whole}
        for side, old, new in zip(Side, before, self.observations, strict=False):
            if old.listing.validity != new.listing.validity:
                # Renumbered while it was open: what was learnt under a number is about another message.
                self.identities[side].clear()
                self.nameless[side].clear()

    @property
    def is_whole(self) -> bool:
        """Whether everything was listed at the last look."""
        return all(seen.whole for seen in self.observations)

    async def identify(self, request: Identify) -> list[Ref]:
        """Asks one side for identities, and once more for those that did not come; returns those that nobody can tell.

        Messages that merely went meanwhile are looked past.
        """
        side, mailbox = request.side, self.mailboxes[request.side]
        missing = await self._ask(side, request.refs)
        if missing:
            await self.observe()
            missing = await self._ask(side, [ref for ref in missing if self.holds(side, ref)])
        if missing:
            looks = await mailbox.look(missing)
            self.nameless[side].update(
                (ref, looks[ref].sizes if ref in looks else ANY_SIZE) for ref in missing
            )
        return missing

    async def _ask(self, side: Side, refs: Sequence[Ref]) -> list[Ref]:
        """Asks for identities; those that do not come, in order."""
        found = await self.mailboxes[side].identify(refs)
        self.identities[side].update(found)
        return [ref for ref in refs if ref not in found]

    def listing(self, side: Side) -> Listing:
        """What the planner may know of `side`."""
        seen = self.observations[side].listing
        flags = seen.flags
        if self.ignored:
            flags = {ref: make_flags(held - self.ignored) for ref, held in flags.items()}
        return replace(seen, flags=flags, identities=self.identities[side], nameless=self.nameless[side])

    def plain_base(self, base: Base) -> Base:
        """`base` without the flags that do not count."""
        if not self.ignored:
            return base
        return replace(base, links=[strip(link, self.ignored) for link in base.links])

    def message_id(self, left: Ref, right: Ref) -> str:
        """What a person knows a message by, as far as one side was asked who it is."""
        who = self.identities[Side.LEFT].get(left) or self.identities[Side.RIGHT].get(right)
        return "" if who is None else who.message_id

    def listings(self) -> tuple[Listing, Listing]:
        """What the planner may know of both sides."""
        return self.listing(Side.LEFT), self.listing(Side.RIGHT)

    def is_numbered_as(self, base: Base) -> bool:
        """Whether the refs that `base` knows are still those of the same messages on both sides."""
        return all(base.validity(side) == self.observations[side].listing.validity for side in Side)

    def holds(self, side: Side, ref: Ref) -> bool:
        """Whether `ref` was there at the last look."""
        return ref in self.observations[side].listing.flags


def in_pair(left: MailboxName, here: MailboxName, seen: Observation) -> Observation:
    """What was seen of the mailbox `here`, as the state of the pair knows it: under the left name.

    A numbering belongs to a mailbox. Where the two are called differently, the numbering is told together with the
    name: when a person gives the left mailbox another twin, no ref of the old twin may be taken for one of the new.
    """
    if here == left:
        return seen
    return replace(seen, listing=replace(seen.listing, validity=f"{seen.listing.validity} {here}"))


def own_numbering(validity: str) -> str:
    """A numbering as the mailbox itself knows it: the inverse of what `in_pair` does to it."""
    return validity.partition(" ")[0]


def sighting_of(seen: Observation) -> Sighting:
    """What is remembered of a side that is in step, for the day when it shows less."""
    return Sighting(len(seen.listing.flags), seen.location)


def count_forgotten(base: Base, side: Side, listing: Listing) -> int:
    """How many messages that both sides held this side does not even remember: they are missing, and not removed."""
    if listing.uid_next is None or not listing.complete:
        return 0
    return sum(listing.is_to_come(link.ref(side)) for link in base.links)


def strip(link: Link, flags: Flags) -> Link:
    """The link without these flags in its agreement."""
    return replace(link, flags=make_flags(link.flags - flags)) if link.flags & flags else link
