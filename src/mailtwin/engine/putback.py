"""Putting back what was removed: a copy like any other, written down before it is tried, and looked for before it is
tried again. What an attempt without an answer may still store is remembered as a straggler, as that of any copy.

Read first: `quarantine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mailtwin.engine.known import in_pair
from mailtwin.engine.pair import SETTLE_S, Pair, ends
from mailtwin.engine.quarantine import BATCH_MESSAGES_MAX
from mailtwin.engine.report import Problem
from mailtwin.engine.sync import close, connect
from mailtwin.errors import MailtwinError, MessageError, Scope, StorageError
from mailtwin.model import Identity, MailboxName, Ref, Side
from mailtwin.planner import Straggler, Verdict
from mailtwin.state import (
    AddStraggler,
    BeginRestore,
    Change,
    DropKept,
    DropLink,
    Kept,
    Note,
    ReplaceStraggler,
    State,
)
from mailtwin.stores.base import Mailbox, Message, Observation, Spool, Stored
from mailtwin.stores.durable import let_go, off_loop, storage_error

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo did: the messages that are there again, and the problems."""

    restored: tuple[Kept, ...] = ()
    problems: tuple[Problem, ...] = ()


async def undo(pair: Pair, state: State, concerns: Callable[[Kept], bool]) -> Undone:
    """Puts kept messages that it `concerns` back to where they were removed from.

    May be interrupted at any moment and said again: what may have been stored is looked for first. A message that never
    went (its removal was interrupted) is left as it is. Raises a store's errors of scope STORE and wider.
    """
    work: dict[tuple[MailboxName, Side], list[Kept]] = {}
    for kept in state.kept():
        if concerns(kept):
            work.setdefault((kept.mailbox, kept.side), []).append(kept)
    restored: list[Kept] = []
    problems: list[Problem] = []
    if any(kept.begun_validity is not None for group in work.values() for kept in group):
        # What an interrupted undo sent may still be on its way.
        await pair.sleep(SETTLE_S)
    try:
        if work:
            await connect(pair, create=False)
        for (name, side), group in work.items():
            try:
                await _Restorer(pair, state, name, side, restored, problems).restore(group)
            except MailtwinError as error:
                if error.scope > Scope.MAILBOX:
                    raise
                problems.append(Problem(error, name, side))
    finally:
        await close(pair)
    return Undone(tuple(restored), tuple(problems))


@dataclass(slots=True)
class _Restorer:
    """Puts messages back into one mailbox."""

    pair: Pair
    state: State
    name: MailboxName
    side: Side
    restored: list[Kept]
    problems: list[Problem]

    async def restore(self, group: Sequence[Kept]) -> None:
        store, there = self.pair.store(self.side), self.pair.name_on(self.side, self.name)
        listed = await store.mailboxes()
        if there not in listed.mailboxes and listed.complete:
            await store.create(there)
        async with store.open(there) as mailbox:
            seen = in_pair(self.name, there, await mailbox.observe())
            missing = await self._look_for(mailbox, seen, group)
            for at in range(0, len(missing), BATCH_MESSAGES_MAX):
                await self._store(mailbox, seen, missing[at : at + BATCH_MESSAGES_MAX])

    async def _look_for(self, mailbox: Mailbox, seen: Observation, group: Sequence[Kept]) -> list[Kept]:
        """Those of `group` that are not there, neither still nor again."""
        held, validity = seen.listing.flags, seen.listing.validity
        floors = [
            _floor(kept, validity)
            for kept in group
            if kept.begun_validity is not None and kept.target is None
        ]
        window = [ref for ref in held if floors and isinstance(ref, int) and ref >= min(floors)]
        found: dict[Ref, Identity] = dict(await mailbox.identify(window)) if window else {}
        missing: list[Kept] = []
        for kept in group:
            copy = next(
                (ref for ref in sorted(found, key=str) if _is_it(kept, ref, found[ref], validity)), None
            )
            if copy is not None:
                # Linked or not: whatever is there since the attempt and is the same message is what was stored.
                del found[copy]
                self._done(kept, self._wanted(kept, copy, validity))
            elif kept.target is not None and kept.target in held:
                self._done(kept)
            elif kept.ref in held and _plain(validity) == _plain(kept.validity):
                self._done(kept, self._stays(kept))
            else:
                missing.append(kept)
        return missing

    def _stays(self, kept: Kept) -> list[Change]:
        """A message whose removal was interrupted is to stay: then nothing may be known that has it removed again."""
        base = self.state.base(self.name)
        changes: list[Change] = [DropLink(link) for link in base.links if link.ref(self.side) == kept.ref]
        changes += [
            ReplaceStraggler(each, replace(each, verdict=Verdict.KEEP))
            for each in base.stragglers
            if each.source is self.side.other and each.found == kept.ref
        ]
        return changes

    def _wanted(self, kept: Kept, ref: Ref, validity: str) -> Sequence[Change]:
        """`ref` is the message, and no extra copy: that of another attempt may arrive beside it."""
        return [
            AddStraggler(replace(each, found=ref, validity=validity, verdict=Verdict.KEEP))
            for each in self.state.base(self.name).stragglers
            if each.source is self.side.other and each.found is None and each.identity == kept.identity
        ][:1]

    def _given_up(self, kept: Kept) -> Sequence[Change]:
        """What an earlier attempt may still store."""
        if kept.begun_validity is None or kept.target is not None:
            return []
        floor = kept.floor or 0
        straggler = Straggler(
            self.side.other, kept.ref, kept.flags, kept.begun_validity, floor, kept.identity
        )
        return [AddStraggler(straggler)]

    async def _store(self, mailbox: Mailbox, seen: Observation, group: Sequence[Kept]) -> None:
        delivery = mailbox.delivery()
        staged: list[Kept] = []
        changes: list[Change] = []
        try:
            for kept in group:
                spool = delivery.spool()
                try:
                    await off_loop(lambda spool=spool, kept=kept: self._read(kept, spool))  # type: ignore[misc]
                    flags = seen.listing.vocabulary.keep(kept.flags)
                    target = delivery.stage(Message(kept.ref, kept.flags, kept.date, spool), flags)
                except (MessageError, StorageError) as error:
                    spool.discard()
                    self.problems.append(Problem(error, self.name, self.side, kept.ref, kept.message_id))
                    continue
                begun = replace(
                    kept, begun_validity=seen.listing.validity, target=target.ref, floor=target.floor
                )
                staged.append(begun)
                changes += [*self._given_up(kept), BeginRestore(begun)]
            self.state.commit(self.name, changes, forgotten=True)
            outcomes = await delivery.commit()
        finally:
            await delivery.abort()
        for kept, outcome in zip(staged, outcomes, strict=True):
            if isinstance(outcome, Stored):
                self._done(kept, self._wanted(kept, outcome.ref, seen.listing.validity))
                continue
            why = outcome.error or MessageError(
                "it is not known yet whether it is there again", hint="say `mailtwin undo` again"
            )
            self.problems.append(Problem(why, self.name, self.side, kept.ref, kept.message_id))

    def _read(self, kept: Kept, spool: Spool) -> None:
        path = self.state.quarantine / kept.file
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    spool.write(piece)
        except OSError as error:
            raise storage_error(error, path, "read what was kept in") from error
        if spool.size != kept.size:
            raise MessageError(f"{path} has {spool.size} bytes and should have {kept.size}")

    def _done(self, kept: Kept, changes: Sequence[Change] = ()) -> None:
        note = Note("undo", *ends(self.side, kept.ref), f"on {self.side.label}", kept.message_id)
        self.state.commit(self.name, [*changes, DropKept(kept), note], forgotten=True)
        let_go(self.state.quarantine / kept.file)
        self.restored.append(kept)


def _is_it(kept: Kept, ref: Ref, identity: Identity, validity: str) -> bool:
    """Whether `ref` is what an earlier attempt stored."""
    if kept.begun_validity is None or kept.target is not None or not isinstance(ref, int):
        return False
    return ref >= _floor(kept, validity) and (identity == kept.identity or identity.resembles(kept.identity))


def _floor(kept: Kept, validity: str) -> int:
    """In another numbering it may have any number."""
    return (kept.floor or 0) if kept.begun_validity == validity else 0


def _plain(validity: str) -> str:
    """A numbering without the mailbox's name, which the engine may have told with it."""
    return validity.partition(" ")[0]
