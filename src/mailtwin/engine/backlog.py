"""The messages of one mailbox that could not be copied: which of them rest, and when each is tried again.

No message is sent, or asked for, again and again for ever (rule R17). What its destination will not take as it is waits
until something changed: the message itself, what the destination says of its limits, mailtwin, or a person's mind
(`--retry`). Any other trouble may pass: the next two runs try again, then each attempt comes after twice the time, up
to a week. Every run tells of all of them, of known trouble apart from new.

To the planner what rests is set aside: not to be copied, and still recognised when somebody brought it to the other
side by hand.

A message over which connections ended is among them from the first time on, as a suspect that nobody is told of: see
`poison`. What cannot be kept before its removal rests like what cannot be copied.

A side that refuses a thousand messages of a mailbox, or says that it is full, refuses the mailbox: nothing is sent to
it until one of those is due. Read next: `mailtwin.state.records.Uncopied`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from mailtwin.engine.known import Known
from mailtwin.engine.pair import Pair, ends
from mailtwin.engine.poison import LOSSES_MAX
from mailtwin.engine.report import Problem
from mailtwin.errors import MailboxFullError, MailtwinError, MessageError, MessageRefusedError, Retry
from mailtwin.model import ANY_SIZE, Identity, Listing, MailboxName, Ref, Side, SizeRange
from mailtwin.planner import Base
from mailtwin.state import Change, DropUncopied, Note, Obstacle, SaveUncopied, Uncopied
from mailtwin.stores.base import Look, Mailbox

ATTEMPTS_AT_ONCE = 3
"""So many runs in a row try, since most troubles pass."""

RETRY_S_FIRST = 3600.0
"""The attempt after those comes so many seconds later."""

RETRY_S_MAX = 7 * 24 * 3600.0
"""The longest time between two attempts, in seconds."""

UNCOPIED_MAX = 1_000
"""So many messages of one mailbox and side are remembered; a destination that refuses more takes nothing at all."""

UNCOPIED_TOTAL_MAX = 20_000
"""So many are remembered of one pair: a hostile server must not fill the disk with the names of what it refuses."""

HINT_RETRY = "`mailtwin sync --retry` tries again at once"

Key = tuple[Side, Ref]


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed: the message `ref`, as far as it was read, and why. `is_loss`: a connection ended."""

    ref: Ref
    error: MailtwinError
    message_id: str = ""
    size: int | None = None
    identity: Identity | None = None
    is_loss: bool = False


def due_after(attempts: int, *, lasting: bool, now_s: float) -> float | None:
    """When a message whose `attempts`-th attempt failed at `now_s` is tried again, in seconds since 1970; None: not
    before something changed."""
    if lasting:
        return None
    doublings = min(attempts - ATTEMPTS_AT_ONCE, 30)
    return now_s if doublings < 0 else now_s + min(RETRY_S_FIRST * 2**doublings, RETRY_S_MAX)


@lru_cache(maxsize=1)
def program_version() -> str:
    """The version of mailtwin; "" where it is not installed. Looked up late: few runs need it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mailtwin")
    except PackageNotFoundError:
        return ""


def grounds_of(pair: Pair, side: Side) -> str:
    """What a message on `side` is tried against; both sides have to be connected."""
    return f"{program_version()} {pair.store(side.other).limits()}".rstrip()


def is_due(pair: Pair, one: Uncopied) -> bool:
    """Whether the message is to be tried again now; both sides have to be connected."""
    now_s = pair.now()
    is_time = one.due is not None and one.due <= now_s
    # A clock that was set back must not keep a message resting for years.
    return pair.retry or is_time or one.last > now_s or one.grounds != grounds_of(pair, one.side)


@dataclass(slots=True)
class Backlog:
    """The uncopied messages of the mailbox `name`, while it is open.

    `tried`: those whose attempt failed in this run; they rest until the next one. `later`: those for which an account
    has no room today, with their sizes. `room`: how many more than are known may be remembered. `risks_losses`: whether
    what is known to end connections may be tried. What the methods return has to be committed.
    """

    pair: Pair
    name: MailboxName
    known: dict[Key, Uncopied]
    tried: set[Key] = field(default_factory=set)
    room: int = UNCOPIED_TOTAL_MAX
    risks_losses: bool = True
    later: dict[Key, int] = field(default_factory=dict)
    _asked: set[Key] = field(default_factory=set)
    _changed: set[Key] = field(default_factory=set)
    _sizes: dict[Key, SizeRange] = field(default_factory=dict)

    @classmethod
    def of(
        cls, pair: Pair, name: MailboxName, records: Iterable[Uncopied], tried: set[Key], total: int
    ) -> Backlog:
        """From what the state holds of this mailbox, suspects included, and how many it holds of all."""
        known = {(one.side, one.ref): one for one in records}
        return cls(pair, name, known, tried, max(0, UNCOPIED_TOTAL_MAX - total))

    # --- what rests --------------------------------------------------------------------------------------------------

    def rests(self, key: Key) -> bool:
        """Whether this message is not to be tried now."""
        if key in self.tried:
            return True
        one = self.known.get(key)
        if one is None or key in self._changed:
            return False
        return not is_due(self.pair, one) or (is_poison(one) and not self.risks_losses)

    def portions(self, side: Side, refs: Sequence[Ref]) -> list[list[Ref]]:
        """`refs` as they are to be sent or asked for: each suspect alone, then all others together, at last those that
        ended a connection alone before, so that they keep nothing waiting."""
        apart = {
            ref: one
            for ref in refs
            if (one := self.known.get((side, ref))) is not None and one.losses >= LOSSES_MAX
        }
        together = [ref for ref in refs if ref not in apart]
        return [
            *([ref] for ref, one in apart.items() if not is_poison(one)),
            *([together] if together else []),
            *([ref] for ref, one in apart.items() if is_poison(one)),
        ]

    def goes_alone(self, key: Key) -> bool:
        """Whether this message is sent, or asked for, alone."""
        one = self.known.get(key)
        return one is not None and one.losses >= LOSSES_MAX

    def unkept(self) -> set[Key]:
        """What is not to be removed now, because it cannot be kept."""
        return {
            key for key, one in self.known.items() if one.obstacle is Obstacle.QUARANTINE and self.rests(key)
        }

    def allowance(self, side: Side) -> int:
        """How many messages of `side` may fail before copying them ends; 0: nothing is to be copied from it now."""
        resting = [one for key, one in self.known.items() if key[0] is side and self.rests(key)]
        if any(one.obstacle is Obstacle.DESTINATION for one in resting):
            return 0
        return max(0, UNCOPIED_MAX - len(resting))

    def aside(self, listings: Sequence[Listing]) -> frozenset[Key]:
        """What is not to be copied now: all messages of a side whose other side takes none."""
        if not (self.known or self.tried or self.later):
            return frozenset()
        blocked = [side for side in Side if not self.allowance(side)]
        resting = {key for key in self.known.keys() | self.tried if self.rests(key)} | self.later.keys()
        return frozenset(resting.union((side, ref) for side in blocked for ref in listings[side].flags))

    def postpone(self, side: Side, sizes: Mapping[Ref, int]) -> None:
        """These messages wait for another day. They are set aside, and nothing is wrong with them."""
        self.later.update(((side, ref), size) for ref, size in sizes.items())

    def tell(self, known: Known) -> None:
        """Says who the messages are that were read before, and who rests because nobody can tell: nobody has to ask."""
        for (side, ref), one in self.known.items():
            if one.identity is not None:
                known.identities[side][ref] = one.identity
            elif one.obstacle is Obstacle.IDENTITY and self.rests((side, ref)):
                size = ANY_SIZE if one.size is None else (one.size, one.size)
                known.nameless[side][ref] = self._sizes.get((side, ref), size)

    async def refresh(self, known: Known, base: Base) -> list[Change]:
        """Forgets what needs no copy any more, sees which of the others changed, and tells `known` who they are.

        Nothing of that while all messages are numbered anew. Raises what `Mailbox.look` raises.
        """
        if not known.is_numbered_as(base):
            return []
        changes = self.tidy(known.listings(), base)
        for side in Side:
            changes += await self.look(side, known.mailboxes[side])
        self.tell(known)
        return changes

    # --- what becomes of them ----------------------------------------------------------------------------------------

    def fail(self, side: Side, failure: Failure, obstacle: Obstacle | None = None) -> list[Change]:
        """An attempt failed. Beyond the limits it is not remembered, and counts for this run only."""
        key, error, now_s = (side, failure.ref), failure.error, self.pair.now()
        before = self.known.get(key)
        self.tried.add(key)
        if before is None and self.room <= 0:
            return []
        self.room -= before is None
        if obstacle is None:
            is_full = isinstance(error, MailboxFullError)
            obstacle = Obstacle.DESTINATION if is_full else Obstacle.MESSAGE
        attempts = 1 if before is None else before.attempts + 1
        one = Uncopied(
            mailbox=self.name,
            side=side,
            ref=failure.ref,
            reason=error.message,
            obstacle=obstacle,
            due=due_after(attempts, lasting=error.retry is Retry.NEVER, now_s=now_s),
            attempts=attempts,
            first=now_s if before is None else before.first,
            last=now_s,
            grounds=grounds_of(self.pair, side),
            stamp="" if before is None else before.stamp,
            size=failure.size if failure.size is not None or before is None else before.size,
            message_id=failure.message_id or ("" if before is None else before.message_id),
            identity=failure.identity or (None if before is None else before.identity),
            losses=LOSSES_MAX if failure.is_loss else 0,
        )
        self.known[key] = one
        self._asked.discard(key)
        if before is not None and before.attempts and before.reason == one.reason:
            return [SaveUncopied(one)]
        return [SaveUncopied(one), Note("not-copied", *ends(side, one.ref), one.reason, one.message_id)]

    def suspect(self, side: Side, failure: Failure, obstacle: Obstacle) -> list[Change]:
        """A connection ended over this message, among others: it may be to blame. Nothing beyond the limits."""
        key, now_s = (side, failure.ref), self.pair.now()
        before = self.known.get(key)
        if before is None:
            if self.room <= 0:
                return []
            self.room -= 1
            before = Uncopied(
                mailbox=self.name,
                side=side,
                ref=failure.ref,
                reason=failure.error.message,
                obstacle=obstacle,
                due=now_s,
                attempts=0,
                first=now_s,
                last=now_s,
                grounds=grounds_of(self.pair, side),
                size=failure.size,
                message_id=failure.message_id,
                identity=failure.identity,
            )
        self.known[key] = replace(before, losses=before.losses + 1)
        return [SaveUncopied(self.known[key])]

    def end(self, removals: Collection[Key]) -> list[Change]:
        """Nothing is left to do but for what rests, and for the `removals` that are planned: the others need not be
        kept, and what is merely suspected need not be sent or asked for."""
        return self._forget(
            [
                key
                for key, one in self.known.items()
                if not one.attempts or (one.obstacle is Obstacle.QUARANTINE and key not in removals)
            ]
        )

    def tidy(self, listings: Sequence[Listing], base: Base) -> list[Change]:
        """Forgets what is linked now, is certainly no longer there, or is not to be copied any more."""
        if not self.known:
            return []
        linked = {(side, link.ref(side)) for link in base.links for side in Side}
        gone = [
            (side, ref)
            for side, ref in self.known
            if ((side, ref) in linked) is not (self.known[side, ref].obstacle is Obstacle.QUARANTINE)
            or (ref not in listings[side].flags and listings[side].lacks(ref))
            or not self._may_leave(side, ref)
        ]
        return self._forget(gone)

    def _may_leave(self, side: Side, ref: Ref) -> bool:
        obstacle, may_change = self.known[side, ref].obstacle, self.pair.policy.direction.may_change
        if obstacle is Obstacle.IDENTITY:
            return True
        return may_change(side if obstacle is Obstacle.QUARANTINE else side.other)

    def identified(self, identities: Sequence[Collection[Ref]]) -> list[Change]:
        """Forgets what could not be identified and now is."""
        return self._forget(
            [
                (side, ref)
                for (side, ref), one in self.known.items()
                if one.obstacle is Obstacle.IDENTITY and ref in identities[side]
            ]
        )

    def _forget(self, keys: Iterable[Key]) -> list[Change]:
        found = list(keys)
        for key in found:
            del self.known[key]
            self.room += 1
        return [DropUncopied(side, ref) for side, ref in found]

    def forget_all(self) -> None:
        """All messages are numbered anew."""
        self.known.clear()
        self.tried.clear()
        self.later.clear()

    def measure(self, side: Side, looks: Mapping[Ref, Look]) -> None:
        """Takes the sizes of messages that are told before they are read."""
        self._sizes.update(((side, ref), look.sizes) for ref, look in looks.items())

    def size(self, key: Key) -> int | None:
        """How many bytes the message has, if that was told."""
        least, most = self._sizes.get(key, ANY_SIZE)
        return least if least == most else None

    async def look(self, side: Side, mailbox: Mailbox) -> list[Change]:
        """Asks `side`, without reading, whether one of its messages is another than when it was tried: then it is due.

        Each is asked about once after each attempt, but for those over which a connection ended. Raises what
        `Mailbox.look` raises.
        """
        asked = [
            key
            for key, one in self.known.items()
            if key[0] is side and key not in self._asked and not one.losses
        ]
        if not asked:
            return []
        self._asked.update(asked)
        looks = await mailbox.look([ref for _, ref in asked])
        self.measure(side, looks)
        changes: list[Change] = []
        for key in asked:
            look, one = looks.get(key[1]), self.known[key]
            if look is None:
                continue
            if look.stamp in ("", one.stamp):
                continue
            if one.stamp and key not in self.tried:
                self._changed.add(key)
            self.known[key] = replace(one, stamp=look.stamp)
            changes.append(SaveUncopied(self.known[key]))
        return changes


def is_poison(one: Uncopied) -> bool:
    """Whether a connection ended over it when it was alone."""
    return one.losses >= LOSSES_MAX and one.attempts > 0


def problem_of(one: Uncopied, *, known: bool) -> Problem:
    """What a run tells of an uncopied message. `known`: an earlier run told it already."""
    kind = MessageRefusedError if one.due is None else MessageError
    return Problem(
        kind(one.reason, hint=HINT_RETRY), one.mailbox, one.side, one.ref, one.message_id, known=known
    )


def problems_of(
    pair: Pair, records: Iterable[Uncopied], new: Collection[tuple[MailboxName, Key]]
) -> list[Problem]:
    """All uncopied messages of the mailboxes that take part; `new`: those that this run was the first to meet."""
    return [
        problem_of(one, known=(one.mailbox, (one.side, one.ref)) not in new)
        for one in records
        if pair.select(one.mailbox)
    ]


def summaries(records: Iterable[Uncopied]) -> list[tuple[MailboxName, int]]:
    """How many messages of each mailbox are uncopied, by mailbox."""
    return sorted(Counter(one.mailbox for one in records).items())
