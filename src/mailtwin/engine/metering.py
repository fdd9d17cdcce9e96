"""What the accounts of a pair use: written down as it is used, and held against what they may use.

The rest of the engine asks before it logs in, before each mailbox, and for each portion of copies; `rationing` decides.
Without a ledger nothing is counted and nothing is limited.

What is about to be used is written down before: a run that is killed has used it all, and never more than is noted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mailtwin.engine.rationing import Use, choose
from mailtwin.engine.report import Problem
from mailtwin.errors import LimitError, ThrottledError
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.model.traffic import NO_TRAFFIC, Traffic, Way
from mailtwin.state import Ledger, LeftOver
from mailtwin.stores.base import Look, Store

PORTION_MESSAGES_MAX = 500
PORTION_BYTES_MAX = 16 * 1024 * 1024
"""What is copied between two looks at the ledger, and at most lost of a day when a run is killed."""

LOOKED_MAX = 20_000
"""The sizes of so many messages are asked for; of more, those are the measure. Each costs some eighty bytes."""

SIZE_UNKNOWN = 64 * 1024
"""Taken for the size of a message that its store does not tell."""

T = TypeVar("T")


@dataclass(slots=True)
class Meter:
    """The meter of one pair; `stores` are its left and its right one. Methods raise what `Ledger` raises."""

    ledger: Ledger | None = None
    stores: tuple[Store, ...] = ()
    _charged: dict[str, Traffic] = field(default_factory=dict)
    _ahead: dict[str, Traffic] = field(default_factory=dict)

    @property
    def pair(self) -> str:
        """What the ledger knows the pair by."""
        return " ".join(store.address for store in self.stores)

    def _counted(self) -> Iterator[tuple[Ledger, Store]]:
        """The stores whose account somebody counts."""
        for store in self.stores:
            if self.ledger is not None and store.account:
                yield self.ledger, store

    def uses(self) -> tuple[Use, ...]:
        """How the accounts of both sides stand now."""
        return tuple(use_of(ledger, store) for ledger, store in self._counted())

    # --- logging in --------------------------------------------------------------------------------------------------

    def admit(self, *, retry: bool) -> None:
        """Raises LimitError when an account must not be logged in to now. `retry`: a person knows better than a rest
        that was asked for."""
        for use in self.uses():
            if use.rest is not None and not retry:
                until = use.record.on_the_clock(use.rest.until_s)
                raise LimitError(
                    f"{use.account} is left alone until {moment(until)}: {use.rest.why}",
                    until=until,
                    hint="`mailtwin sync --retry` logs in all the same",
                )
        self.require()

    def entered(self) -> None:
        """Both sides are logged in: what their servers announce is known."""
        for ledger, store in self._counted():
            record = ledger.account(store.account)
            if record.rest is not None or record.limits != store.known_limits():
                ledger.learn_limits(store.account, store.known_limits())

    def rest(self, error: ThrottledError, for_s: float) -> None:
        """The run ends with this wish to be left alone: nobody logs in for so many seconds."""
        for ledger, store in self._counted():
            if store.is_throttled:
                ledger.rest(store.account, for_s, error.message)
                record = ledger.account(store.account)
                assert record.rest is not None
                when = moment(record.on_the_clock(record.rest.until_s))
                error.hint = f"no run logs in before {when}, unless with `mailtwin sync --retry`"

    # --- using -------------------------------------------------------------------------------------------------------

    def charge(self, ahead: Mapping[str, Traffic] | None = None) -> None:
        """Writes down what was used since the last time, and what is about to be, by account."""
        for ledger, store in self._counted():
            name, total = store.account, store.traffic()
            used = total - self._charged.get(name, NO_TRAFFIC)
            expected = (ahead or {}).get(name, NO_TRAFFIC)
            if used or expected != self._ahead.get(name, NO_TRAFFIC):
                ledger.charge(name, used, ahead=expected)
                self._charged[name], self._ahead[name] = total, expected

    def _limits_anything(self) -> bool:
        return any(use.limits.of(way) is not None for use in self.uses() for way in Way)

    def require(self) -> None:
        """Raises LimitError when an account has used so much that even looking is too much."""
        if not self._limits_anything():
            return
        self.charge()
        for use in self.uses():
            for way in Way:
                if use.is_spent(way):
                    until = use.record.on_the_clock(use.goes_on_s(way))
                    raise LimitError(f"{standing(use, way)}.", until=until, hint=HINT)

    def _ends(self, source: Side) -> Iterator[tuple[Store, Way, Use]]:
        """The accounts that a copy from `source` uses, and which way."""
        for ledger, store in self._counted():
            way = Way.DOWN if store is self.stores[source] else Way.UP
            yield store, way, use_of(ledger, store)

    def is_limited(self, source: Side) -> bool:
        """Whether copies from `source` use anything that is limited."""
        return any(use.limits.of(way) is not None for _, way, use in self._ends(source))

    def _narrowest(self, source: Side) -> tuple[Use, Way]:
        """The limit that copies from `source` meet first."""
        ends = [(use, way) for _, way, use in self._ends(source) if use.limits.of(way) is not None]
        return min(ends, key=lambda end: end[0].room(end[1]) or 0)

    def portions(self, source: Side, items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
        """What may be copied from `source`, in portions, as long as there is room; each is reserved beforehand.

        What comes in no portion has to wait.
        """
        waiting = list(items)
        while waiting:
            self.charge()
            use, way = self._narrowest(source)
            choice = choose(
                [size_of(item) for item in waiting],
                use.room(way),
                use.share(way),
                messages_max=PORTION_MESSAGES_MAX,
                bytes_max=PORTION_BYTES_MAX,
            )
            if not choice.taken:
                return
            ahead = {
                store.account: Traffic(choice.size, 0) if way is Way.DOWN else Traffic(0, choice.size)
                for store, way, _ in self._ends(source)
            }
            self.charge(ahead)
            taken = set(choice.taken)
            yield [item for position, item in enumerate(waiting) if position in taken]
            waiting = [item for position, item in enumerate(waiting) if position not in taken]
        self.charge()

    def slices(self, refs: Sequence[Ref], looks: Mapping[Ref, Look]) -> Iterator[Sequence[Ref]]:
        """Messages to be read, not copied: in one where nothing is limited, else in portions as long as a day lasts.

        Raises LimitError then.
        """
        if not self._limits_anything():
            yield refs
            return
        sizes = sizes_of(refs, looks)
        rest = list(refs)
        while rest:
            self.require()
            taken = choose(
                [sizes[ref] for ref in rest],
                None,
                None,
                messages_max=PORTION_MESSAGES_MAX,
                bytes_max=PORTION_BYTES_MAX,
            ).taken
            yield rest[: len(taken)]
            rest = rest[len(taken) :]

    # --- what waits --------------------------------------------------------------------------------------------------

    def leave(self, name: MailboxName, sizes: Mapping[Side, Sequence[int]]) -> list[LeftOver]:
        """Notes the messages of a mailbox that have to wait, by their source; nobody waits where there are none."""
        if self.ledger is None:
            return []
        left = []
        for source, waiting in sizes.items():
            if waiting:
                use, way = self._narrowest(source)
                least, size = min(waiting), sum(waiting)
                left.append(LeftOver(self.pair, name, source, use.account, way, len(waiting), size, least))
        if left or any(one.mailbox == name for one in self.ledger.left_of(self.pair)):
            self.ledger.leave(self.pair, name, left)
        return left

    def left(self) -> list[LeftOver]:
        """What waits in the mailboxes of this pair."""
        return [] if self.ledger is None else self.ledger.left_of(self.pair)

    def resting(self) -> dict[MailboxName, list[LeftOver]]:
        """The mailboxes of this pair in which messages wait for which there is no room yet, and those."""
        uses = {use.account: use for use in self.uses()}
        found: dict[MailboxName, list[LeftOver]] = {}
        for one in self.left():
            use = uses.get(one.account)
            if use is not None and use.goes_on_s(one.way) > use.record.now_s:
                found.setdefault(one.mailbox, []).append(one)
        return found

    def forget_but(self, names: Iterable[MailboxName]) -> None:
        """Nothing waits any more in mailboxes other than these."""
        kept = set(names)
        for one in self.left():
            if one.mailbox not in kept:
                self.leave(one.mailbox, {})

    def problems(self) -> list[LimitError]:
        """What there is to tell of the accounts for which messages of this pair wait: how it stands, and until when."""
        waiting = {(one.account, one.way) for one in self.left()}
        return [
            LimitError(f"{standing(use, way)}.", until=use.record.on_the_clock(use.goes_on_s(way)), hint=HINT)
            for use in self.uses()
            for way in Way
            if (use.account, way) in waiting
        ]


HINT = "run again then: it goes on from there; `mailtwin status` shows how it stands"


def use_of(ledger: Ledger, store: Store) -> Use:
    """How the account of `store` stands: what a person said of its limits holds, else what is known of its provider."""
    record = ledger.account(store.account)
    return Use(record, store.daily_limits.or_else(record.limits))


def sizes_of(refs: Sequence[Ref], looks: Mapping[Ref, Look]) -> dict[Ref, int]:
    """The sizes of these messages, in bytes; one of which the store tells nothing has the mean of the others."""
    told = {ref: int(look.sizes[1]) for ref, look in looks.items() if look.sizes[1] < math.inf}
    mean = sum(told.values()) // len(told) if told else SIZE_UNKNOWN
    return {ref: told.get(ref, mean) for ref in refs}


def standing(use: Use, way: Way) -> str:
    """How an account stands, in words: what was used, what waits, when it goes on, when it will be done."""
    limit, messages, size = use.limits.of(way), *use.left(way)
    said = f"{use.account}: {mebibytes(use.used(way))} {way.value} in the last 24 hours"
    if limit is not None:
        said += f", of {mebibytes(limit)}"
    at = use.record.on_the_clock
    if messages:
        said += f"; {messages:,} {'message waits' if messages == 1 else 'messages wait'} ({mebibytes(size)})"
    if use.goes_on_s(way) > use.record.now_s:
        said += f"; it goes on at {moment(at(use.goes_on_s(way)))}"
    if messages:
        said += f", and will be done by {moment(at(use.done_s(way)))}"
    return said


def postponed(left: LeftOver, *, known: bool) -> Problem:
    """What there is to tell of the messages of one mailbox that wait. `known`: an earlier run told it."""
    noun = "message waits" if left.messages == 1 else "messages wait"
    said = f"{left.messages:,} {noun} ({mebibytes(left.size)}) until {left.account} has room"
    return Problem(LimitError(said), left.mailbox, left.side, known=known)


def mebibytes(count: int) -> str:
    """A number of bytes in MiB, those of small numbers to the kibibyte."""
    value = count / (1 << 20)
    return (
        f"{value:,.0f} MiB" if value >= 100 else f"{value:,.3f} MiB" if value < 0.1 else f"{value:,.1f} MiB"
    )


def moment(clock_s: float) -> str:
    """A moment for people, in their own time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(clock_s))
