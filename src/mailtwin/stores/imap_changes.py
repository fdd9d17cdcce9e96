"""A listing made of an earlier one and of what changed since then (CONDSTORE and QRESYNC, RFC 7162).

It is the listing of the moment when the mailbox was selected. Which messages that were is proven by counting, whatever
the server leaves out: each UID that it gave since is accounted for, and as many messages are left as it says that there
are. Where the count does not tell, SEARCH names what is there, and what it does not name is asked for once more by
FETCH. Whatever does not fit together proves nothing: the mailbox is listed whole.

Flags cannot be counted. That a change of flags was left out shows only when nothing that was told explains why the
modification sequence moved; then it is asked for once more. What is not found so is found by the next whole listing:
how long that may be put off is the engine's to say. Read first: `imap_mailbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from mailtwin.client import Result, Session
from mailtwin.errors import RemoteProtocolError
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.linelimits import Kind
from mailtwin.model import Flags, UidSet
from mailtwin.model.limits import LISTING_SURPLUS_MAX
from mailtwin.model.uidset import UID_MAX
from mailtwin.stores.imap_bodies import FlagList, FlagReader

CURSOR_ITEMS = ("UIDVALIDITY", "UIDNEXT", "MESSAGES", "HIGHESTMODSEQ")

ASKED_MAX = 2
"""How often changes are asked for when nothing explains why the modification sequence moved."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a mailbox stood when STATUS or SELECT told it. Its text is the same for the same contents."""

    validity: int
    uid_next: int
    messages: int
    modseq: int

    @classmethod
    def of(cls, items: Mapping[str, int | bytes]) -> Self | None:
        """From STATUS items by name; None without modification sequences, or without a numbering.

        A HIGHESTMODSEQ of 0 is NOMODSEQ (RFC 7162, section 3.1.2.2), a negative one nonsense that servers send.
        """
        values = [value for name in CURSOR_ITEMS if isinstance(value := items.get(name), int)]
        return cls(*values) if len(values) == len(CURSOR_ITEMS) and values[0] > 0 and values[3] > 0 else None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises ValueError for anything else."""
        validity, uid_next, messages, modseq = map(int, text.split(":"))
        return cls(validity, uid_next, messages, modseq)

    def __str__(self) -> str:
        return f"{self.validity}:{self.uid_next}:{self.messages}:{self.modseq}"


class Selected(Protocol):
    """The selected mailbox, as far as it has to be known here."""

    @property
    def session(self) -> Session:
        """The open session. Raises UnreachableError."""

    @property
    def about(self) -> str:
        """Where it is, for errors."""

    def flag_reader(self) -> FlagReader:
        """How the flags of its messages are told, for one command."""

    async def each(
        self,
        command: c.Fetch,
        take: Callable[[r.Fetch], None],
        take_gone: Callable[[r.Vanished], None] = ...,
    ) -> Result:
        """Hands over what answers a FETCH as it comes; then its result, a refusal too."""

    def split(self, uids: UidSet, make: Callable[[UidSet], Kind]) -> Iterator[Kind]:
        """`make(part)` for parts of `uids`, each short enough for this server."""

    def heed(self, result: Result) -> None:
        """Raises the error of a refusal that is about more than its command."""


@dataclass(slots=True)
class Ledger:
    """What `known` (all messages and their flags, at the cursor `then` or after it) became until the cursor `now`.

    `told`: the messages that the server told with their flags, `gone`: those it said are gone, `modseq`: the greatest
    modification sequence of a message that it told.
    """

    known: Mapping[int, Flags]
    then: Cursor
    now: Cursor
    told: dict[int, Flags] = field(default_factory=dict)
    gone: UidSet = field(default_factory=UidSet)
    modseq: int = 0
    _top: int = field(init=False)

    def __post_init__(self) -> None:
        self._top = max(self.known, default=0)

    @property
    def is_possible(self) -> bool:
        """Whether both cursors can belong to one mailbox that has a past: one numbering, and nothing went back."""
        then, now = self.then, self.now
        forth = then.validity == now.validity and then.uid_next <= now.uid_next and then.modseq <= now.modseq
        return forth and max(self._top, now.messages) < now.uid_next <= UID_MAX

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing happened since."""
        return self.then == self.now and len(self.known) == self.now.messages

    @property
    def explains_modseq(self) -> bool:
        """Whether something that was told can be what the mailbox' modification sequence comes from."""
        return self.modseq >= self.now.modseq or self.then.modseq == self.now.modseq or bool(self.gone)

    @property
    def is_contradictory(self) -> bool:
        """Whether a message was told that is gone, or was when all messages were known: a UID never comes back."""
        return any(uid in self.gone or (uid < self._fresh and uid not in self.known) for uid in self.told)

    def listing(self) -> dict[int, Flags]:
        """All messages that are not known to be gone."""
        flags = {**self.known, **self.told}
        if len(self.gone) > len(flags):
            # A server that forgot what it expunged names all that is not there.
            return {uid: held for uid, held in flags.items() if uid not in self.gone}
        for uid in self.gone:
            flags.pop(uid, None)
        return flags

    def is_proven(self, flags: Mapping[int, Flags]) -> bool:
        """Whether these are certainly all messages: each UID given since is accounted for, and the count is right.

        Without the first, one that came and was not told could stand for one that went.
        """
        first, end = self._fresh, self.now.uid_next
        given = UidSet(((first, end - 1),)) if first < end else UidSet()
        accounted = UidSet.of(uid for uid in self.told if uid >= first) | self.gone
        return len(flags) == self.now.messages and not given - accounted

    @property
    def _fresh(self) -> int:
        """The lowest UID that can have been given since all messages were known."""
        return max(self.then.uid_next, self._top + 1)


async def list_changed(
    mailbox: Selected, known: Mapping[int, Flags], then: Cursor, now: Cursor
) -> Mapping[int, Flags] | None:
    """All messages with their flags at the cursor `now`, which a SELECT just told; None: nothing is proven.

    `known`: all messages at the cursor `then`, or seen after it. Raises UnreachableError, ThrottledError and
    RemoteProtocolError.
    """
    ledger = Ledger(known, then, now)
    if not ledger.is_possible or not now.messages:
        return None
    if ledger.is_at_rest:
        return known
    for _ in range(ASKED_MAX):
        if not await _ask(mailbox, ledger):
            return None
        if ledger.explains_modseq:
            break
    if ledger.is_contradictory:
        return None
    flags = ledger.listing()
    if ledger.is_proven(flags):
        return flags
    return await _search(mailbox, ledger, flags) if len(flags) >= now.messages else None


async def _ask(mailbox: Selected, ledger: Ledger) -> bool:
    """Asks what changed; whether the answer is whole, as far as it can tell.

    The set has a last UID: `*` would be the last message that is left, and what went above it not be told.
    """
    reader = mailbox.flag_reader()
    listing = FlagList(mailbox.about, lambda: ledger.now.messages, reader)
    room = len(ledger.known) + ledger.now.messages + LISTING_SURPLUS_MAX
    gone = [ledger.gone]
    heard: set[int | None] = {None}

    def take(item: r.Fetch) -> None:
        listing.take(item)
        heard.add(item.uid)
        ledger.modseq = max(ledger.modseq, item.modseq or 0)

    def take_gone(item: r.Vanished) -> None:
        nonlocal room
        room -= max(1, len(item.uids.ranges))
        if room < 0:
            raise RemoteProtocolError(f"{mailbox.about}: the server tells without an end what is gone")
        gone.append(item.uids)

    changes = c.Fetch(
        UidSet(((1, ledger.now.uid_next - 1),)),
        ("UID", *reader.attributes),
        changed_since=ledger.then.modseq,
        vanished="QRESYNC" in mailbox.session.state.enabled,
    )
    answer = await mailbox.each(changes, take, take_gone)
    ledger.told |= listing.found
    ledger.gone = _union(gone)
    # What is told of a message without all its flags is a change that nobody knows.
    return answer.complete and len(heard) == len(listing.found) + 1


async def _search(mailbox: Selected, ledger: Ledger, flags: dict[int, Flags]) -> Mapping[int, Flags] | None:
    """`flags` without what SEARCH does not name and FETCH does not find; None when they contradict each other."""
    present = await _ask_present(mailbox)
    if present is None:
        return None
    listed = UidSet.of(flags)
    present &= UidSet(((1, ledger.now.uid_next - 1),))
    missing = listed - present
    if len(present) != ledger.now.messages or present - listed or any(uid in missing for uid in ledger.told):
        return None
    there: set[int | None] = set()
    for command in mailbox.split(missing, lambda part: c.Fetch(part, ("UID",))):
        answer = await mailbox.each(command, lambda item: there.add(item.uid))
        if there or not answer.complete:
            return None
    for uid in missing:
        del flags[uid]
    return flags


async def _ask_present(mailbox: Selected) -> UidSet | None:
    """The UIDs that SEARCH names, in one set where the server can (ESEARCH, RFC 4731); None when it cannot tell."""
    returns = ("ALL",) if mailbox.session.has("ESEARCH") else ()
    (answer,) = await mailbox.session.run_all([c.Search(returns=returns)])
    mailbox.heed(answer)
    if not answer.complete:
        return None
    sets = [one.all or UidSet() for one in answer.responses if isinstance(one, r.ESearch) and one.uid]
    return _union([*sets, *(UidSet.of(one.numbers) for one in answer.responses if isinstance(one, r.Search))])


def _union(sets: Iterable[UidSet]) -> UidSet:
    return UidSet.of_ranges(pair for one in sets for pair in one.ranges)
