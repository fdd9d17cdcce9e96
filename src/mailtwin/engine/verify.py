"""Proof that two stores hold the same mail: every message's bytes, flags and date, without trusting the state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mailtwin.engine.pair import Pair, open_both
from mailtwin.engine.report import Comparison
from mailtwin.engine.together import together
from mailtwin.model import MailboxName, Side, Vocabulary, format_flags
from mailtwin.planner.merge import shared_flags
from mailtwin.stores.base import DigestSpool, Mailbox, Store

DIFFERENCES_MAX = 1_000
"""So many differences are listed; more are only counted."""


@dataclass(frozen=True, slots=True, order=True)
class Print:
    """What two identical messages have in common. `date_s`: the arrival date in whole seconds."""

    sha256: str
    flags: str
    date_s: int
    size: int
    message_id: str

    def __str__(self) -> str:
        flags = f" ({self.flags})" if self.flags else ""
        return f"{self.message_id or self.sha256[:16]} {self.size} bytes{flags}"


async def compare(pair: Pair) -> Comparison:
    """Compares both sides message by message; both are connected already and stay so. Raises a store's errors."""
    left, right = await together(pair.left.mailboxes(), pair.right.mailboxes())
    names = {name for name in left.mailboxes if pair.select(name)}
    on_right = {name for name in map(pair.names.to_left, right.mailboxes) if pair.select(name)}
    differences = [f"{name}: only on the left" for name in sorted(names - on_right)]
    differences += [f"{name}: only on the right" for name in sorted(on_right - names)]
    for side, listed in zip(Side, (left, right), strict=True):
        differences += [
            f"{spelling} on the {side.label}: {why}" for spelling, why in sorted(listed.problems.items())
        ]
        if not listed.complete:
            differences.append(f"the {side.label} did not list all of its mailboxes")
    messages = 0
    for name in sorted(names & on_right):
        same, found = await _compare_mailbox(pair, name)
        messages += same
        differences += found
    return Comparison(len(names & on_right), messages, tuple(differences[:DIFFERENCES_MAX]), len(differences))


async def _compare_mailbox(pair: Pair, name: MailboxName) -> tuple[int, list[str]]:
    async with open_both(pair, name) as (left, right):
        observed = [(await mailbox.observe()).listing for mailbox in (left, right)]
        vocabularies = (observed[Side.LEFT].vocabulary, observed[Side.RIGHT].vocabulary)
        refs = [list(listing.flags) for listing in observed]
        (left_prints, left_unreadable), (right_prints, right_unreadable) = await together(
            _prints(left, refs[Side.LEFT], vocabularies), _prints(right, refs[Side.RIGHT], vocabularies)
        )
    sides, unreadable = (left_prints, right_prints), (left_unreadable, right_unreadable)
    lines = []
    for side in Side:
        if not observed[side].complete:
            lines.append(f"{name}: the {side.label} did not list all of its messages")
        if unreadable[side]:
            lines.append(f"{name}: {unreadable[side]} messages on the {side.label} cannot be read")
        for print_, count in sorted((sides[side] - sides[side.other]).items()):
            times = f" ({count} times)" if count > 1 else ""
            lines.append(f"{name}: only on the {side.label}: {print_}{times}")
    return (sides[Side.LEFT] & sides[Side.RIGHT]).total(), lines


async def _prints(
    mailbox: Mailbox, refs: list[int | str], vocabularies: tuple[Vocabulary, Vocabulary]
) -> tuple[Counter[Print], int]:
    """Each message that can be read, and how many cannot."""
    found: Counter[Print] = Counter()
    unreadable = 0
    async for message in mailbox.fetch(refs, DigestSpool):
        spool = message.spool
        if message.error is not None:
            unreadable += 1
            continue
        message_id = spool.fields["message-id"].decode("utf-8", "replace")
        flags = format_flags(shared_flags(message.flags, vocabularies))
        date_s = int(message.date.timestamp())
        found[Print(spool.sha256, flags, date_s, spool.size, message_id)] += 1
    return found, unreadable


async def compare_stores(left: Store, right: Store) -> Comparison:
    """`compare` for two stores that are not connected: connects, compares everything, closes."""
    pair = Pair(left, right)
    try:
        await together(left.connect(create=False), right.connect(create=False))
        return await compare(pair)
    finally:
        await left.close()
        await right.close()
