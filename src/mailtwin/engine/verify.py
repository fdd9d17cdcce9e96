"""Proof that two stores hold the same mail: every message's bytes, flags and date, without trusting the state.

Which messages there are, their flags, dates and sizes are asked of both stores anew each time, and messages are paired
by what they are (`mailtwin.engine.matching`), never by what the state says is linked. What the state knows is used to
*explain* a difference (a decision that waits, a policy that keeps, an altered message that only a run can know), never
to explain it away.

Bytes are compared by the digests of what travels on the wire. Unless the verification is deep, a message that was read
before is not read again as long as its store shows the same stamp of it. That trusts an IMAP server to give a UID to
one message only, for ever (RFC 3501 section 2.3.1.1), and a file system to move the change time of a file that was
written to. It does not see bytes that rot on a disk or in a server's store: a deep verification does.

Memory is bounded by the number of messages in the largest mailbox (some hundred bytes each), never by their bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailtwin.engine.findings import Alteration, Finding, Kind, Verification, VerifiedMailbox
from mailtwin.engine.known import in_pair
from mailtwin.engine.matching import Match, Seen, match
from mailtwin.engine.pair import Pair, open_both
from mailtwin.engine.report import (
    Compared,
    MailboxStarted,
    MailboxVerified,
    Reporter,
    Verifying,
    ignore_events,
)
from mailtwin.engine.resolving import Undecided, undecided
from mailtwin.engine.rewriting import why_bytes_differ
from mailtwin.engine.sync import close, connect, recover
from mailtwin.engine.together import together
from mailtwin.engine.views import views_in
from mailtwin.errors import MailtwinError, Scope
from mailtwin.model import Flags, Listing, MailboxName, Ref, Side, Vocabulary, format_flags
from mailtwin.planner import Base, Removals
from mailtwin.planner.merge import shared_flags
from mailtwin.state import Digest, DropDigests, Obstacle, SaveDigests, State, Uncopied
from mailtwin.stores.base import DigestSpool, Look, Mailbox, MailboxList, Message, Spool, Store

DIFFERENCES_MAX = 1_000
"""So many differences are kept for the report; each is told as it is found, and all are counted."""

GROUP_MESSAGES = 500
"""So many digests become durable together: an interrupted verification goes on from there."""

REASONS_MAX = 100
"""So many altered messages of one mailbox are read again to tell why their bytes differ."""

REASON_BYTES_MAX = 4 * 1024 * 1024
"""The largest message that is read again for that."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def verify(
    pair: Pair, state: State | None, *, deep: bool = False, report: Reporter = ignore_events
) -> Verification:
    """Compares both sides message by message and changes nothing on either.

    `state`: where digests are remembered and explanations come from; None compares without. `deep`: every byte is read.
    Each message is told as a `Compared` event. Raises a MailtwinError of scope STORE or wider when it could not go on.
    """
    run = state.begin_run("verify") if state is not None else 0
    outcome, counts = "interrupted", {}
    try:
        found = await _verify(pair, state, deep=deep, report=report)
        outcome = "identical" if found.identical else "not identical"
        counts = {"same": found.same, "differences": found.difference_count, "read": found.read}
        return found
    except MailtwinError as error:
        outcome = f"failed: {error.message}"
        raise
    finally:
        if state is not None:
            state.end_run(run, outcome, counts)


async def _verify(pair: Pair, state: State | None, *, deep: bool, report: Reporter) -> Verification:
    try:
        await connect(pair, create=False, report=report)
        return await PairProof(pair, state, deep, report).run()
    finally:
        await close(pair)


async def compare(pair: Pair) -> Verification:
    """A deep verification of two stores that are connected and stay so, without any state."""
    return await PairProof(pair, None, True, ignore_events).run()


async def compare_stores(left: Store, right: Store) -> Verification:
    """A deep verification of two stores that are not connected, without any state."""
    return await verify(Pair(left, right), None, deep=True)


@dataclass(slots=True)
class PairProof:
    """One verification; use `verify`."""

    pair: Pair
    state: State | None
    deep: bool
    report: Reporter
    differences: list[Finding] = field(default_factory=list)
    tally: Counter[tuple[Kind, Side | None]] = field(default_factory=Counter)
    mailboxes: list[VerifiedMailbox] = field(default_factory=list)

    async def run(self) -> Verification:
        """Compares the mailboxes, then the messages of those that both sides have."""
        lists = await self._list()
        names = (
            set(lists[Side.LEFT].mailboxes),
            set(map(self.pair.names.to_left, lists[Side.RIGHT].mailboxes)),
        )
        everywhere = names[Side.LEFT] | names[Side.RIGHT]
        selected = {name for name in everywhere if self.pair.select(name)} - views_in(self.pair, lists)
        if everywhere and not selected:
            why = f"none of the {len(everywhere)} mailboxes is included"
            self._tell(Finding(Kind.UNSEEN, "", None, why=why))
        for finding in self._compare_lists(lists, [side & selected for side in names]):
            self._tell(finding)
        twins = sorted(names[Side.LEFT] & names[Side.RIGHT] & selected)
        waiting = undecided(self.state) if self.state is not None else []
        for index, name in enumerate(twins, 1):
            self.pair.meter.require()
            self.report(MailboxStarted(name, index, len(twins)))
            await self._compare(name, [one for one in waiting if one.mailbox == name])
        excluded = len(everywhere) - len(selected)
        return Verification(tuple(self.mailboxes), tuple(self.differences), self.tally, excluded, self.deep)

    async def _list(self) -> tuple[MailboxList, MailboxList]:
        failures = 0
        while True:
            try:
                return await together(self.pair.left.mailboxes(), self.pair.right.mailboxes())
            except MailtwinError as error:
                failures = await recover(self.pair, error, failures, self.report)

    def _compare_lists(
        self, lists: tuple[MailboxList, MailboxList], names: Sequence[set[MailboxName]]
    ) -> Iterator[Finding]:
        for side, listed in zip(Side, lists, strict=True):
            if not listed.complete:
                why = f"{self.pair.store(side).address} did not list all of its mailboxes"
                yield Finding(Kind.UNSEEN, "", side, why=why)
            for spelling, why in sorted(listed.problems.items()):
                yield Finding(Kind.UNSEEN, spelling, side, why=why)
            for name in sorted(names[side.other] - names[side]):
                yield Finding(Kind.MISSING, str(name), side, why=self._unchanged_by_policy(side))

    def _unchanged_by_policy(self, side: Side) -> str:
        direction = self.pair.policy.direction
        if direction.may_change(side):
            return ""
        return f"by policy: the direction {direction.value} does not change the {side.label}"

    async def _compare(self, name: MailboxName, waiting: Sequence[Undecided]) -> None:
        """One mailbox, through lost connections: what was read is not read again."""
        proof = MailboxProof(self, name, waiting)
        failures = read = 0
        findings: list[Finding] = []
        while True:
            try:
                async with open_both(self.pair, name) as mailboxes:
                    findings = await proof.compare(mailboxes)
                break
            except MailtwinError as error:
                if error.scope <= Scope.MAILBOX:
                    findings = [Finding(Kind.UNSEEN, str(name), why=error.message)]
                    break
                failures = 0 if proof.read > read else failures
                read = proof.read
                failures = await recover(self.pair, error, failures, self.report)
        tally = Counter((finding.kind, finding.side) for finding in findings)
        for finding in findings:
            self._tell(finding)
        result = VerifiedMailbox(name, tally, proof.read, proof.read_bytes)
        self.mailboxes.append(result)
        self.report(MailboxVerified(result))

    def _tell(self, finding: Finding) -> None:
        self.tally[finding.kind, finding.side] += 1
        if finding.kind is not Kind.SAME and len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(finding)
        self.report(Compared(finding))

    def why_alone(self, side: Side, *, was_linked: bool) -> str:
        """What policy says about a message that only `side` holds. `was_linked`: both sides once agreed on it."""
        by_direction = self._unchanged_by_policy(side.other)
        if not by_direction and was_linked and self.pair.policy.removals is Removals.KEEP:
            return (
                f"by policy: removed on the {side.other.label} and kept on the {side.label} (removals: keep)"
            )
        return by_direction


@dataclass(frozen=True, slots=True)
class Explanations:
    """What the state can tell of messages that are alone or cannot be read, each known by its side and ref.

    `twins`: the other end of what is agreed on. `waiting`: what a person has to decide. `begun`: copies that were begun
    and not seen to end. `uncopied`: why a message could not be copied, or not be removed.
    """

    twins: Mapping[tuple[Side, Ref], Ref]
    waiting: Mapping[tuple[Side, Ref], Undecided]
    begun: frozenset[tuple[Side, Ref]]
    uncopied: Mapping[tuple[Side, Ref], str]

    @classmethod
    def of(cls, base: Base, waiting: Iterable[Undecided], uncopied: Iterable[Uncopied]) -> Explanations:
        """From what is agreed on and begun in one mailbox, what waits in it, and what could not be copied."""
        return cls(
            {(side, link.ref(side)): link.ref(side.other) for link in base.links for side in Side},
            {(one.side, one.ref): one for one in waiting},
            frozenset((intent.source, intent.ref) for intent in base.copies),
            {(one.side, one.ref): _why_uncopied(one) for one in uncopied},
        )


@dataclass(slots=True)
class MailboxProof:
    """The comparison of one mailbox. `known`: the digests of its messages, read now or earlier, on both sides."""

    whole: PairProof
    name: MailboxName
    waiting: Sequence[Undecided]
    read: int = 0
    read_bytes: int = 0
    known: tuple[dict[Ref, Digest], dict[Ref, Digest]] = field(default_factory=lambda: ({}, {}))
    unreadable: tuple[dict[Ref, str], dict[Ref, str]] = field(default_factory=lambda: ({}, {}))
    rotten: set[tuple[Side, Ref]] = field(default_factory=set)
    _to_read: int = 0
    _trusted: set[tuple[Side, Ref]] = field(default_factory=set)

    def __post_init__(self) -> None:
        state, name = self.whole.state, self.name
        if state is None:
            return
        self.known = (state.digests(name, Side.LEFT), state.digests(name, Side.RIGHT))
        if not self.whole.deep:
            self._trusted = {(side, ref) for side in Side for ref in self.known[side]}

    async def compare(self, mailboxes: tuple[Mailbox, Mailbox]) -> list[Finding]:
        """All findings about its messages. Raises a store's errors; then it may be called again."""
        left, right = mailboxes
        self._to_read = self.read
        observed = await together(left.observe(), right.observe())
        listings = (observed[Side.LEFT].listing, in_pair(self.name, right.name, observed[Side.RIGHT]).listing)
        vocabularies = (listings[Side.LEFT].vocabulary, listings[Side.RIGHT].vocabulary)
        sides = await together(
            self._see(Side.LEFT, left, listings[Side.LEFT], vocabularies),
            self._see(Side.RIGHT, right, listings[Side.RIGHT], vocabularies),
        )
        late = {(one.side, one.ref) for one in self.waiting if one.is_extra}
        agreed, state = self._agreed(listings), self.whole.state
        uncopied = state.uncopied(self.name) if state is not None and agreed.left_validity is not None else ()
        known = Explanations.of(agreed, self.waiting, uncopied)
        matches = match(*sides, late, {link.left: link.right for link in agreed.links})
        short = [
            Finding(Kind.UNSEEN, str(self.name), side, why="not all of its messages are listed")
            for side in Side
            if not listings[side].complete
        ]
        unreadable = list(self._unreadable(matches, known.twins))
        covered = {(side, ref) for found in unreadable for side, ref in _ends(found)}
        why = await self._reasons(mailboxes, matches)
        findings = [
            self._finding(found, known, why)
            for found in matches
            if not any((side, seen.ref) in covered for side in Side if (seen := found.on(side)) is not None)
        ]
        return [*short, *unreadable, *findings]

    # --- seeing ------------------------------------------------------------------------------------------------------

    async def _see(
        self, side: Side, mailbox: Mailbox, listing: Listing, vocabularies: tuple[Vocabulary, Vocabulary]
    ) -> list[Seen]:
        """What `side` holds; what is not known by its stamp is read. What cannot be read is in `unreadable`."""
        looks = await mailbox.look(list(listing.flags))
        self._forget(side, listing)
        self.unreadable[side].clear()
        stamps = {ref: self._stamp(side, mailbox, look) for ref, look in looks.items()}
        seen: list[Seen] = []
        to_read: list[Ref] = []
        for ref in listing.flags:
            look, digest = looks.get(ref), self.known[side].get(ref)
            trusted = (side, ref) in self._trusted and digest is not None and digest.stamp == stamps.get(ref)
            if look is not None and digest is not None and trusted:
                seen.append(Seen(ref, digest, shared_flags(look.flags, vocabularies), _seconds(look.date)))
            else:
                to_read.append(ref)
        self._to_read += len(to_read)
        fresh: dict[Ref, Digest] = {}
        try:
            async with aclosing(self._fetch(mailbox, to_read, looks)) as messages:
                async for message in messages:
                    if message.error is not None:
                        self.unreadable[side][message.ref] = message.error.message
                        continue
                    look = looks.get(message.ref)
                    digest = _digest(message, stamps.get(message.ref, ""))
                    flags, date = (message.flags, message.date) if look is None else (look.flags, look.date)
                    seen.append(Seen(message.ref, digest, shared_flags(flags, vocabularies), _seconds(date)))
                    self._count(digest)
                    if digest.stamp:
                        fresh[message.ref] = digest
                    if len(fresh) >= GROUP_MESSAGES:
                        self._remember(side, fresh)
                        fresh = {}
        finally:
            self._remember(side, fresh)
        return seen

    async def _fetch(
        self, mailbox: Mailbox, refs: Sequence[Ref], looks: Mapping[Ref, Look]
    ) -> AsyncGenerator[Message, None]:
        """The messages, as long as the day of the account lasts. Raises LimitError."""
        for portion in self.whole.pair.meter.slices(refs, looks):
            async with aclosing(mailbox.fetch(portion, DigestSpool)) as messages:
                async for message in messages:
                    yield message

    def _stamp(self, side: Side, mailbox: Mailbox, look: Look) -> str:
        """The store's stamp; with the name of a mailbox that is called otherwise there, for it may get another twin."""
        if not look.stamp or side is Side.LEFT or mailbox.name == self.name:
            return look.stamp
        return f"{look.stamp} {mailbox.name}"

    def _count(self, digest: Digest) -> None:
        self.read += 1
        self.read_bytes += digest.size
        if self.read % GROUP_MESSAGES == 0 or self.read == self._to_read:
            self.whole.report(Verifying(self.name, self.read, self._to_read, self.read_bytes))

    def _remember(self, side: Side, fresh: Mapping[Ref, Digest]) -> None:
        for ref, digest in fresh.items():
            before = self.known[side].get(ref)
            if before is not None and before.stamp == digest.stamp and before.sha256 != digest.sha256:
                self.rotten.add((side, ref))
            self._trusted.add((side, ref))
        self.known[side].update(fresh)
        if self.whole.state is not None and fresh:
            self.whole.state.annotate(self.name, [SaveDigests(side, fresh)])

    def _forget(self, side: Side, listing: Listing) -> None:
        gone = [ref for ref in self.known[side] if ref not in listing.flags] if listing.complete else []
        for ref in gone:
            del self.known[side][ref]
        if self.whole.state is not None and gone:
            self.whole.state.annotate(self.name, [DropDigests(side, gone)])

    def _agreed(self, listings: tuple[Listing, Listing]) -> Base:
        """What was agreed on, for explanations; nothing when it is about another numbering."""
        if self.whole.state is None:
            return Base()
        base = self.whole.state.base(self.name)
        valid = all(base.validity(side) == listings[side].validity for side in Side)
        return base if valid else Base(copies=base.copies)

    # --- telling -----------------------------------------------------------------------------------------------------

    def _unreadable(
        self, matches: Iterable[Match], twins: Mapping[tuple[Side, Ref], Ref]
    ) -> Iterator[Finding]:
        """Messages that cannot be read; with the twin they once had, which is then not said to be missing."""
        alone = {
            (side, seen.ref): seen
            for found in matches
            for side in Side
            if (seen := found.on(side)) is not None and found.on(side.other) is None
        }
        told: set[tuple[Side, Ref]] = set()
        for side in Side:
            for ref, why in self.unreadable[side].items():
                if (side, ref) in told:
                    continue
                twin = twins.get((side, ref))
                both = twin is not None and twin in self.unreadable[side.other]
                if both and twin is not None:
                    told.add((side.other, twin))
                seen = None if twin is None else alone.get((side.other, twin))
                refs = {side: ref, side.other: twin if both or seen is not None else None}
                yield Finding(
                    Kind.UNREADABLE,
                    str(self.name),
                    None if both else side,
                    refs[Side.LEFT],
                    refs[Side.RIGHT],
                    "" if seen is None else seen.digest.message_id,
                    None if seen is None else seen.digest.size,
                    why=why,
                )

    def _finding(self, found: Match, known: Explanations, why: Mapping[int, str]) -> Finding:
        left, right = found.left, found.right
        some = left or right
        assert some is not None
        refs = (None if left is None else left.ref, None if right is None else right.ref)
        about = (*refs, some.digest.message_id, some.digest.size)
        if left is not None and right is not None:
            altered = tuple(_alterations(left, right))
            kind = Kind.ALTERED if altered else Kind.SAME
            reasons = [*self._rot(left, right), *([why[id(found)]] if id(found) in why else [])]
            if found.is_agreed:
                reasons.append("one is the copy of the other by what a run noted")
            return Finding(kind, str(self.name), None, *about, altered, "; ".join(reasons))
        side = Side.LEFT if left is not None else Side.RIGHT
        kind, reason = self._alone(side, some.ref, known)
        if kind is Kind.MISSING and found.is_double:
            return Finding(Kind.DOUBLED, str(self.name), side, *about, why=reason)
        return Finding(kind, str(self.name), side.other if kind is Kind.MISSING else side, *about, why=reason)

    def _rot(self, left: Seen, right: Seen) -> Iterator[str]:
        """Whose bytes turned into others though its store shows no change: only a deep verification can see that."""
        for side, seen in zip(Side, (left, right), strict=True):
            if (side, seen.ref) in self.rotten:
                yield f"the bytes on the {side.label} are not those read before, though nothing shows a change"

    def _alone(self, side: Side, ref: Ref, known: Explanations) -> tuple[Kind, str]:
        """What is known of a message that only `side` holds."""
        end = (side, ref)
        if end in known.waiting:
            extra = known.waiting[end].is_extra
            what = "an extra copy that arrived late" if extra else "its copy may have been stored"
            return Kind.UNRESOLVED, f"{what}; `mailtwin resolve` decides"
        if end in known.begun:
            return Kind.MISSING, "its copy was begun and not seen to end; the next `mailtwin sync` settles it"
        if end in known.uncopied:
            return Kind.MISSING, known.uncopied[end]
        return Kind.MISSING, self.whole.why_alone(side, was_linked=end in known.twins)

    async def _reasons(self, mailboxes: tuple[Mailbox, Mailbox], matches: Iterable[Match]) -> dict[int, str]:
        """Why the bytes of altered messages differ, by the `id` of the match: the first few are read again for it."""
        reasons: dict[int, str] = {}
        for found in matches:
            if len(reasons) >= REASONS_MAX:
                break
            left, right = found.left, found.right
            if left is None or right is None or left.digest.sha256 == right.digest.sha256:
                continue
            if max(left.digest.size, right.digest.size) <= REASON_BYTES_MAX:
                bodies = await together(
                    _body(mailboxes[Side.LEFT], left.ref), _body(mailboxes[Side.RIGHT], right.ref)
                )
                if bodies[Side.LEFT] != bodies[Side.RIGHT]:
                    reasons[id(found)] = why_bytes_differ(*bodies)
        return reasons


def _why_uncopied(one: Uncopied) -> str:
    return one.reason if one.obstacle is Obstacle.QUARANTINE else f"it could not be copied: {one.reason}"


def _ends(found: Finding) -> Iterator[tuple[Side, Ref]]:
    for side, ref in zip(Side, (found.left, found.right), strict=True):
        if ref is not None:
            yield side, ref


def _digest(message: Message, stamp: str) -> Digest:
    spool = message.spool
    message_id = spool.fields["message-id"].decode("utf-8", "replace")
    return Digest(stamp, spool.sha256, spool.size, spool.identity().headers, message_id)


async def _body(mailbox: Mailbox, ref: Ref) -> bytes:
    """The bytes of one message; nothing of one that is gone meanwhile."""
    body = b""
    async with aclosing(mailbox.fetch([ref], Spool)) as messages:
        async for message in messages:
            body = b"".join(message.spool.chunks())
            message.spool.discard()
    return body


def _alterations(left: Seen, right: Seen) -> Iterator[Alteration]:
    if left.digest.sha256 != right.digest.sha256:
        yield Alteration("bytes", _content(left), _content(right))
    if left.flags != right.flags:
        yield Alteration("flags", _flags(left.flags), _flags(right.flags))
    if left.date_s != right.date_s:
        yield Alteration("date", _date(left.date_s), _date(right.date_s))


def _content(seen: Seen) -> str:
    return f"{seen.digest.size} bytes, SHA-256 {seen.digest.sha256[:16]}"


def _flags(flags: Flags) -> str:
    return format_flags(flags) or "none"


def _date(date_s: int) -> str:
    return (_EPOCH + timedelta(seconds=date_s)).isoformat()


def _seconds(date: datetime) -> int:
    return (date - _EPOCH) // timedelta(seconds=1)
