"""Copies in batches: stage, make the intents durable, store, make the agreements durable.

The order is the ordering invariants' (ARCHITECTURE.md): an intent is durable before its effect, an agreement only after
the effect was confirmed. A batch bounds memory and the number of files that become durable together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mailtwin.engine.backlog import Failure
from mailtwin.errors import (
    MailboxFullError,
    MailtwinError,
    MessageError,
    RemoteProtocolError,
    Scope,
    ThrottledError,
    UnreachableError,
)
from mailtwin.model import NO_FLAGS, Flags, MailboxName, Ref, Side, make_flags
from mailtwin.model.flags import SYSTEM_FLAGS
from mailtwin.model.identity import message_id_of
from mailtwin.planner import Attempt, Copy, CopyIntent, Link, StoreIntent
from mailtwin.state import AddCopy, AddLink, AddStore, Change, DropCopy, EndAttempt, Note, State
from mailtwin.stores.base import Delivery, Mailbox, Message, Outcome, Refused, Spool, Stored, Unknown

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Staged:
    """One message of a batch: what is intended and why, the flags it goes with, and what a person knows it by.

    `sha256` is left out where the destination names the message beforehand: there is nothing to look for then.
    """

    intent: CopyIntent
    flags: Flags
    size: int
    sha256: str
    message_id: str
    why: str


@dataclass(slots=True)
class Batch:
    """What is staged and not yet stored, in order."""

    delivery: Delivery
    staged: list[Staged] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def full(self) -> bool:
        """Whether it should be stored before anything is added."""
        return len(self.staged) >= BATCH_MESSAGES_MAX or self.size_bytes >= BATCH_BYTES_MAX


@dataclass(slots=True)
class Copier:
    """Copies messages of one mailbox from `source` to the other side.

    `linked` holds the destination's refs that have an agreement already; `merges`: see `Store`; `progress` is called
    after each batch.
    `done` counts the messages that went through, `copied` those of them that are known to be stored. After `allowance`
    failures, or when the destination takes no message at all, nothing more is copied.
    """

    state: State
    name: MailboxName
    side: Side
    mailboxes: tuple[Mailbox, Mailbox]
    validity: str
    keep: Callable[[Flags], Flags]
    linked: set[Ref]
    merges: bool
    allowance: int
    progress: Callable[[], None]
    failures: list[Failure] = field(default_factory=list)
    done: int = 0
    copied: int = 0
    copied_bytes: int = 0
    _batch: Batch | None = None
    _halt: MailtwinError | None = None
    _full: bool = False

    async def copy(self, operations: Sequence[Copy]) -> None:
        """Executes `operations`, all with this copier's source side; may be called again. What failed: `failures`.

        Raises what is about more than one message: a full disk, a mailbox that is gone, a server's wish to pause. When
        a connection ends, the error's `suspect` is the source's message that was under way; what came before it, or
        before the wish to pause, from the source is stored.
        """
        wanted = {operation.ref: operation for operation in operations}
        source = self.mailboxes[self.side]
        messages = source.fetch(list(wanted), self._spool)
        lost: MailtwinError | None = None
        try:
            while not self.is_halted and lost is None:
                try:
                    message = await anext(messages, None)
                except MailtwinError as error:
                    if error.suspect is None and not isinstance(error, ThrottledError):
                        raise
                    lost = error
                    continue
                if message is None:
                    break
                self._stage(message, wanted[message.ref])
                if self._batch is not None and self._batch.full:
                    await self._store()
            await self._store()
            if lost is not None:
                raise lost
        finally:
            await messages.aclose()
            if self._batch is not None:
                await self._batch.delivery.abort()
                self._batch = None

    @property
    def is_halted(self) -> bool:
        """Whether nothing more is to be copied."""
        return self._full or len(self.failures) >= self.allowance

    def _spool(self) -> Spool:
        if self._batch is None:
            self._batch = Batch(self.mailboxes[self.side.other].delivery())
        return self._batch.delivery.spool()

    def _stage(self, message: Message, operation: Copy) -> None:
        message_id = message_id_of(message.spool.fields)
        if message.error is not None:
            message.spool.discard()
            self.failures.append(Failure(message.ref, message.error, message_id))
            return
        assert self._batch is not None
        sent = self.keep(operation.flags)
        try:
            target = self._batch.delivery.stage(message, sent)
        except MessageError as error:
            spool = message.spool
            who = spool.identity() if spool.digests else None
            self.failures.append(Failure(message.ref, error, message_id, spool.size, who))
            spool.discard()
            return
        intent = CopyIntent(
            source=self.side,
            ref=message.ref,
            # Where a message may have been there before, its system flags are agreed on when they are seen.
            flags=make_flags(sent - SYSTEM_FLAGS) if self.merges else sent,
            validity=self.validity,
            target=target.ref,
            floor=target.floor,
            identity=target.identity,
        )
        sha256 = message.spool.sha256 if target.ref is None else ""
        staged = Staged(intent, sent, message.spool.size, sha256, message_id, operation.why)
        self._batch.staged.append(staged)
        self._batch.size_bytes += message.spool.size

    async def _store(self) -> None:
        batch = self._batch
        if batch is None:
            return
        if batch.staged:
            begun = [AddCopy(one.intent, one.size, one.sha256, one.message_id) for one in batch.staged]
            self.state.commit(self.name, begun)
            outcomes = await batch.delivery.commit()
            self.state.commit(self.name, list(self._conclude(batch, outcomes)))
            self.done += len(batch.staged)
            self.progress()
            if self._halt is not None:
                raise self._halt
        self._batch = None
        await batch.delivery.abort()

    def _conclude(self, batch: Batch, outcomes: Sequence[Outcome]) -> Iterator[Change]:
        for one, outcome in zip(batch.staged, outcomes, strict=True):
            match outcome:
                case Stored(ref) if ref in self.linked:
                    yield from self._merged(one, ref)
                case Stored(ref):
                    yield from self._stored(one, ref)
                case Refused(error):
                    self._fail(one, error)
                    yield DropCopy(one.intent)
                case Unknown(finished, accepted, error):
                    if finished:
                        attempt = Attempt.ACCEPTED if accepted else Attempt.ANSWERED
                        yield EndAttempt(one.intent, attempt)
                    if error is not None and not accepted:
                        self._fail(one, error)

    def _stored(self, one: Staged, ref: Ref) -> Iterator[Change]:
        self.linked.add(ref)
        self.copied += 1
        self.copied_bytes += one.size
        intent, other = one.intent, self.side.other
        left, right = (intent.ref, ref) if self.side is Side.LEFT else (ref, intent.ref)
        agreed = agreed_when_sent(intent.flags)
        yield AddLink(Link(left, right, agreed))
        yield DropCopy(intent)
        yield Note("copy", left, right, f"to {other.label}: {one.why}", one.message_id)
        keywords = make_flags(one.flags - agreed)
        if keywords:
            # Agreed on as soon as they are seen; if they never are, the server dropped them.
            yield AddStore(StoreIntent(left, right, other, keywords, NO_FLAGS, one.flags))

    def _merged(self, one: Staged, ref: Ref) -> Iterator[Change]:
        there = self.side.other.label
        error = MessageError(
            f"the {there} side did not store the message: it says that it holds it already, as {ref}, "
            "which is the twin of another message"
        )
        self._fail(one, error)
        yield DropCopy(one.intent)

    def _fail(self, one: Staged, error: MailtwinError) -> None:
        """Notes why a message was not copied; what is about more than this message ends the copying."""
        if isinstance(error, MailboxFullError):
            if self._full:
                return  # one says it for all
            self._full = True
        elif error.scope > Scope.MESSAGE:
            # Of a connection that ended, the first without an answer tells: the others were merely sent behind it.
            self._halt = self._halt or self._over(one, error)
            return
        intent = one.intent
        self.failures.append(Failure(intent.ref, error, one.message_id, one.size, intent.identity))

    def _over(self, one: Staged, error: MailtwinError) -> MailtwinError:
        if not isinstance(error, UnreachableError | RemoteProtocolError):
            return error
        ref = one.intent.ref
        return error.over(ref, f"while the {self.side.label}'s message {ref} of {self.name} was sent")


def agreed_when_sent(flags: Flags) -> Flags:
    """What both sides agree on when a message was sent with `flags`, before anybody looked.

    Keywords are agreed only when they were seen: a server that drops them silently must not look like a person who
    removed them. System flags are taken at the server's word, so that a change made meanwhile is told from ours.
    """
    return make_flags(flags & SYSTEM_FLAGS)
