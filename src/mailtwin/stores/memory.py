"""A store in memory: the reference implementation of `Store`, and the world in which the engine is tested.

It behaves as an IMAP server does: UIDs that only grow, a UIDVALIDITY, a counter that moves with every change. How well
behaved the server is, is a value (`Manners`): whether it says where it stored a message, which flags it keeps, whether
it can tell that nothing changed, and after how many messages the connection breaks. What a person does to the mail with
another program is done by the `user_` methods; they work without a connection.

It is not the IMAP simulator: nothing here speaks a protocol. Read next: `mailtwin.testing.conformance`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import NoReturn

from mailtwin.errors import (
    MailboxError,
    MailtwinError,
    MessageError,
    NoMailboxError,
    StoreMissingError,
    UnreachableError,
)
from mailtwin.model import (
    INBOX,
    NO_FLAGS,
    Flags,
    Identity,
    Listing,
    MailboxName,
    Ref,
    UidSet,
    Vocabulary,
    make_flags,
)
from mailtwin.model.flags import EVERYTHING
from mailtwin.model.labels import label_in
from mailtwin.stores.base import (
    Delivery,
    FlagChange,
    Look,
    Mailbox,
    MailboxInfo,
    MailboxList,
    Message,
    Observation,
    Outcome,
    Refused,
    Spool,
    Store,
    Stored,
    Target,
    Unknown,
)

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Answer(Enum):
    """How storing one message ends."""

    UID = "stored, and the server says under which UID"
    ACCEPTED = "stored, and the server does not say where"
    REFUSED = "not stored; the server says so"
    DENIED = "stored, although the server says that it was not"
    LOST_BEFORE = "the connection breaks before the message is stored"
    LOST_AFTER = "the connection breaks after the message is stored"
    LATE = "the connection breaks, and the message is stored when the test calls `land`"


@dataclass(frozen=True, slots=True)
class Manners:
    """What the server behind a `MemoryStore` is like; the defaults are a good server.

    `answer(n)` says how the n-th message stored through this store ends (n counts from 0 over all batches).
    `refusal(data)` gives the reason why the server does not take these bytes, or "". It is said with the error
    `refuses_with`. `limits`: what it says of that beforehand. `cursors`: whether it can tell
    that nothing changed. `creates_parents`: whether creating `A/B` makes `A` a mailbox too. `chunk_size`: in which
    pieces bodies arrive. `is_mute()`: whether it does not say who this message is, this time, when it is asked.
    `is_short()`: whether it breaks off in the middle of this listing. `hangs_up(act, data)`: whether the connection
    breaks before this act (`store`, `fetch`, `identify`) on these bytes is done. `removes_late()`: whether the
    connection breaks while messages are removed, and they go when the test calls `land`. `empties`: a mailbox that
    is made anew while a session has it open seems empty to that session until it is listed again, where others end
    the session.
    `email_ids`: whether it knows equal messages for the same. `unwelcome`: flags that it says it does not take, and
    why. `labels`: messages carry labels, as the vocabulary says.
    """

    vocabulary: Vocabulary = EVERYTHING
    cursors: bool = True
    creates_parents: bool = False
    chunk_size: int = 256 * 1024
    answer: Callable[[int], Answer] = lambda _n: Answer.UID
    refusal: Callable[[bytes], str] = lambda _data: ""
    is_mute: Callable[[], bool] = lambda: False
    is_short: Callable[[], bool] = lambda: False
    hangs_up: Callable[[str, bytes], bool] = lambda _act, _data: False
    removes_late: Callable[[], bool] = lambda: False
    empties: bool = False
    refuses_with: type[MailtwinError] = MessageError
    limits: str = ""
    unwelcome: Mapping[str, str] = field(default_factory=dict)
    email_ids: bool = False
    labels: bool = False


def always(answer: Answer) -> Callable[[int], Answer]:
    """For `Manners.answer`: every message ends like this."""
    return lambda _n: answer


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """One message as the store holds it. `withheld`: the server lists it and does not hand it out."""

    data: bytes
    flags: Flags
    date: datetime
    withheld: bool = False


@dataclass(slots=True)
class _Box:
    """One mailbox; `modseq` moves with every change of a message, its flags or the set of messages."""

    validity: int
    messages: dict[int, MemoryMessage] = field(default_factory=dict)
    uid_next: int = 1
    modseq: int = 1
    special_use: str = ""

    def append(self, message: MemoryMessage) -> int:
        uid = self.uid_next
        self.uid_next += 1
        self.put(uid, message)
        return uid

    def put(self, uid: int, message: MemoryMessage) -> None:
        if self.messages.get(uid) != message:
            self.messages[uid] = message
            self.modseq += 1

    def drop(self, uid: int) -> None:
        if self.messages.pop(uid, None) is not None:
            self.modseq += 1

    def cursor(self) -> str:
        return f"{self.validity}:{self.modseq}:{self.uid_next}"


@dataclass(slots=True)
class _Account:
    """What outlives every connection to the store."""

    boxes: dict[MailboxName, _Box] = field(default_factory=dict)
    exists: bool = True
    validities: int = 0
    stored: int = 0
    late: list[tuple[MailboxName, MemoryMessage]] = field(default_factory=list)
    late_removals: list[tuple[_Box, int]] = field(default_factory=list)
    location: str = ""
    labels: set[MailboxName] = field(default_factory=set)

    def create(self, name: MailboxName) -> _Box:
        if name not in self.boxes:
            self.validities += 1
            self.boxes[name] = _Box(self.validities)
        return self.boxes[name]


class MemoryStore(Store):
    """Mail in memory. `exists=False`: a store that `connect(create=True)` makes; INBOX comes with it."""

    def __init__(
        self, address: str = "memory:", *, manners: Manners | None = None, exists: bool = True
    ) -> None:
        self.address = address
        self.manners = manners or Manners()
        self._account = _Account(exists=exists)
        self._account.create(INBOX)
        self._connected = False

    def again(self) -> MemoryStore:
        """Another, unconnected store on the same mail: what a restarted program would open."""
        other = MemoryStore(self.address, manners=self.manners)
        other._account = self._account
        return other

    async def connect(self, *, create: bool) -> None:
        if not self._account.exists and not create:
            raise StoreMissingError(f"{self.address} does not exist")
        self._account.exists = True
        self._connected = True

    async def reconnect(self) -> None:
        await self.connect(create=False)

    async def close(self) -> None:
        self._connected = False

    copies_within = True

    @property
    def has_email_ids(self) -> bool:
        return self.manners.email_ids

    def limits(self) -> str:
        return self.manners.limits

    async def mailboxes(self) -> MailboxList:
        self.require_connection()
        return MailboxList(
            {
                name: MailboxInfo(name, self.cursor(box), str(name), box.special_use)
                for name, box in sorted(self._account.boxes.items())
            }
        )

    async def create(self, name: MailboxName) -> None:
        self.require_connection()
        self._account.create(name)
        parent = name.parent
        while self.manners.creates_parents and parent is not None:
            self._account.create(parent)
            parent = parent.parent

    async def remove_mailbox(self, name: MailboxName) -> None:
        self.require_connection()
        if name.is_inbox:
            raise MailboxError("INBOX cannot be removed")
        self._account.boxes.pop(name, None)

    async def labels(self) -> MailboxList | None:
        self.require_connection()
        if not self.manners.labels:
            return None
        return MailboxList({name: MailboxInfo(name) for name in sorted(self.label_names())})

    async def create_label(self, name: MailboxName) -> None:
        self.require_connection()
        self._account.labels.add(name)

    async def remove_label(self, name: MailboxName) -> None:
        self.require_connection()
        if name in self._carried():
            raise MailboxError(f"the label {name} is not removed: {self.address} has messages that carry it")
        self._account.labels.discard(name)

    def label_names(self) -> set[MailboxName]:
        """The labels there are now."""
        return self._account.labels | self._carried()

    def _carried(self) -> set[MailboxName]:
        flags = {
            flag
            for box in self._account.boxes.values()
            for each in box.messages.values()
            for flag in each.flags
        }
        labels = [label for flag in flags if (label := label_in(flag)) is not None]
        return {MailboxName.parse(label) for label in labels if not label.startswith("\\")}

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[MemoryMailbox]:
        self.require_connection()
        self.box(name)
        yield MemoryMailbox(self, name)

    # --- for the mailbox and the delivery ---

    def require_connection(self) -> None:
        """Raises UnreachableError when not connected, as after a connection that broke."""
        if not self._connected:
            raise UnreachableError(f"{self.address} is not connected")

    def box(self, name: MailboxName) -> _Box:
        """The mailbox `name`. Raises MailboxError when there is none."""
        found = self._account.boxes.get(name)
        if found is None:
            raise NoMailboxError(f"there is no mailbox {name}")
        return found

    def cursor(self, box: _Box) -> str | None:
        """The cursor of `box`, when this server has cursors."""
        return box.cursor() if self.manners.cursors else None

    @property
    def location(self) -> str:
        """Where the mail lies: see `user_moves`."""
        return self._account.location

    def append(self, name: MailboxName, message: MemoryMessage) -> Outcome:
        """Stores one message the way the manners say."""
        if not self._connected:
            return Unknown(finished=False, accepted=False, error=_lost(self.address))
        if self.manners.hangs_up("store", message.data):
            self._connected = False
            return Unknown(finished=False, accepted=False, error=_lost(self.address))
        answer = self.manners.answer(self._account.stored)
        self._account.stored += 1
        reason = self.manners.refusal(message.data)
        if reason or answer is Answer.REFUSED:
            kind = self.manners.refuses_with
            return Refused(kind(f"the server does not take the message: {reason or 'it says no'}"))
        if name not in self._account.boxes:
            return Refused(MailboxError(f"there is no mailbox {name}"))
        return self._end(name, message, answer)

    def _end(self, name: MailboxName, message: MemoryMessage, answer: Answer) -> Outcome:
        if answer is Answer.UID:
            return Stored(self.box(name).append(message))
        if answer is Answer.ACCEPTED:
            self.box(name).append(message)
            return Unknown(finished=True, accepted=True)
        if answer is Answer.DENIED:
            self.box(name).append(message)
            return Unknown(finished=True, accepted=False, error=MessageError("the server says no"))
        if answer is Answer.LOST_AFTER:
            self.box(name).append(message)
        elif answer is Answer.LATE:
            self._account.late.append((name, message))
        self._connected = False
        return Unknown(finished=False, accepted=False, error=_lost(self.address))

    def postpone(self, box: _Box, uids: Sequence[int]) -> NoReturn:
        """The connection breaks, and these messages are removed when the test calls `land`. Raises UnreachableError."""
        self._account.late_removals += [(box, uid) for uid in uids]
        self.break_connection()
        raise _lost(self.address)

    # --- what a person or the network does meanwhile ---

    def add(
        self,
        name: MailboxName,
        data: bytes,
        flags: Flags = NO_FLAGS,
        date: datetime = EPOCH,
    ) -> int:
        """A new message arrives (in a mailbox made for it where there is none); returns its UID."""
        kept = self.manners.vocabulary.keep(make_flags(flags))
        return self._account.create(name).append(MemoryMessage(data, kept, date))

    def contents(self, name: MailboxName = INBOX) -> dict[int, MemoryMessage]:
        """What the mailbox holds now, by UID; a copy. Empty when there is no such mailbox."""
        box = self._account.boxes.get(name)
        return dict(box.messages) if box is not None else {}

    def names(self) -> list[MailboxName]:
        """The mailboxes there are now, sorted."""
        return sorted(self._account.boxes)

    def user_flags(self, name: MailboxName, uid: int, flags: Flags) -> None:
        """Someone sets the flags of a message to exactly these."""
        box = self.box(name)
        kept = self.manners.vocabulary.keep(make_flags(flags))
        box.put(uid, replace(box.messages[uid], flags=kept))

    def user_remove(self, name: MailboxName, *uids: int) -> None:
        """Someone removes messages; those that are gone already are passed over."""
        for uid in uids:
            self.box(name).drop(uid)

    def user_rots(self, name: MailboxName, uid: int, data: bytes) -> None:
        """The bytes of a message turn into others under the same UID, which no server may let happen."""
        box = self.box(name)
        box.put(uid, replace(box.messages[uid], data=data))

    def user_dates(self, name: MailboxName, uid: int, date: datetime) -> None:
        """The arrival date of a message turns into another one."""
        box = self.box(name)
        box.put(uid, replace(box.messages[uid], date=date))

    def user_withholds(self, name: MailboxName, uid: int, withheld: bool = True) -> None:
        """The server stops (or begins again) to hand out this message; it stays listed."""
        box = self.box(name)
        box.put(uid, replace(box.messages[uid], withheld=withheld))

    def user_create(self, name: MailboxName, special_use: str = "") -> None:
        """Someone creates a mailbox."""
        self._account.create(name).special_use = special_use

    def user_label(self, name: MailboxName) -> None:
        """Someone makes a label."""
        self._account.labels.add(name)

    def user_unlabel(self, name: MailboxName) -> None:
        """Someone removes a label that no message carries."""
        self._account.labels.discard(name)

    def user_remove_mailbox(self, name: MailboxName) -> None:
        """Someone removes a mailbox with all that is in it."""
        del self._account.boxes[name]

    def user_rename_mailbox(self, name: MailboxName, new: MailboxName) -> None:
        """Someone renames a mailbox; it keeps its UIDs and its UIDVALIDITY."""
        self._account.boxes[new] = self._account.boxes.pop(name)

    def user_renumbers(self, name: MailboxName) -> None:
        """The mailbox gets a new UIDVALIDITY and new UIDs for the same messages, in the same order."""
        kept = list(self.box(name).messages.values())
        del self._account.boxes[name]
        box = self._account.create(name)
        for message in kept:
            box.append(message)

    def user_moves(self, location: str) -> None:
        """The mail lies somewhere else from now on, as on another disk; it stays the same mail."""
        self._account.location = location

    def break_connection(self) -> None:
        """Everything fails with UnreachableError until the next `reconnect`."""
        self._connected = False

    def vanish(self) -> None:
        """The store is gone with all mail, as an unmounted disk."""
        self._account.boxes.clear()
        self._account.exists = False
        self._account.create(INBOX)

    def land(self) -> int:
        """What was under way when the connection broke takes effect: messages arrive (`Answer.LATE`), and others go
        (`Manners.removes_late`) unless their mailbox was numbered anew; returns how many."""
        late, self._account.late = self._account.late, []
        for name, message in late:
            self._account.create(name).append(message)
        removals, self._account.late_removals = self._account.late_removals, []
        for box, uid in removals:
            box.drop(uid)
        return len(late) + len(removals)


class MemoryMailbox(Mailbox):
    """One mailbox of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, name: MailboxName) -> None:
        self.name = name
        self.store = store
        self._opened = store.box(name)

    async def observe(self, since: Observation | None = None) -> Observation:  # noqa: ARG002 - it costs little
        if self.store.manners.empties:
            self.store.require_connection()
            self._opened = self.store.box(self.name)
        box, manners = self._box(), self.store.manners
        seen = sorted(box.messages.items())
        is_short = manners.is_short()
        listing = Listing(
            flags={uid: message.flags for uid, message in seen[: len(seen) // 2 if is_short else None]},
            validity=str(box.validity),
            coverage=UidSet() if is_short else None,
            uid_next=box.uid_next,
            vocabulary=manners.vocabulary,
        )
        return Observation(listing, None if is_short else self.store.cursor(box), self.store.location)

    async def identify(self, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        is_mute = self.store.manners.is_mute
        found: dict[Ref, Identity] = {}
        for uid, message in list(self._present(refs)):
            self._hang_up_over("identify", uid, message)
            if not message.withheld and not is_mute():
                found[uid] = _identity(message.data)
        return found

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        validity = self._box().validity
        return {
            uid: Look(
                message.flags, message.date, f"{validity}:{len(message.data)}", (len(message.data),) * 2
            )
            for uid, message in self._present(refs)
        }

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        for uid, message in list(self._present(refs)):
            self.store.require_connection()
            self._hang_up_over("fetch", uid, message)
            body = spool()
            if message.withheld:
                error = MessageError(f"the server does not hand out message {uid}")
                yield Message(uid, message.flags, message.date, body, error)
                continue
            view = memoryview(message.data)
            for at in range(0, len(view), self.store.manners.chunk_size):
                body.write(view[at : at + self.store.manners.chunk_size])
            yield Message(uid, message.flags, message.date, body)

    async def email_ids(self, refs: Sequence[Ref]) -> Mapping[Ref, str]:
        if not self.store.has_email_ids:
            return {}
        return {uid: hashlib.sha256(message.data).hexdigest() for uid, message in self._present(refs)}

    async def copy_to(
        self, name: MailboxName, refs: Sequence[Ref], validity: str, into: str
    ) -> list[Outcome]:
        if validity != str(self._box().validity):
            raise MailboxError(f"{self.name} was numbered anew")
        held = dict(self._present(refs))
        gone = MessageError("it is gone")
        outcomes = [
            self.store.append(name, held[ref]) if isinstance(ref, int) and ref in held else Refused(gone)
            for ref in refs
        ]
        is_another = str(self.store.box(name).validity) != into
        return [Unknown(True, True) if is_another and isinstance(o, Stored) else o for o in outcomes]

    def delivery(self) -> MemoryDelivery:
        return MemoryDelivery(self.store, self.name, self._box().uid_next)

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        box, vocabulary, unwelcome = self._box(), self.store.manners.vocabulary, self.store.manners.unwelcome
        refused: dict[str, str] = {}
        for change in changes:
            refused.update((flag, unwelcome[flag]) for flag in change.add if flag in unwelcome)
            add = vocabulary.keep(make_flags(change.add - unwelcome.keys()))
            for uid, message in list(self._present(change.refs)):
                box.put(uid, replace(message, flags=make_flags((message.flags | add) - change.remove)))
        return refused

    async def remove(self, refs: Sequence[Ref]) -> None:
        box = self._box()
        uids = [uid for uid, _message in self._present(refs)]
        if uids and self.store.manners.removes_late():
            self.store.postpone(box, uids)
        for uid in uids:
            box.drop(uid)

    def _box(self) -> _Box:
        """The mailbox as it was opened, though another one may have its name by now."""
        self.store.require_connection()
        opened = self._opened
        if self.store.box(self.name) is opened:
            return opened
        if self.store.manners.empties:
            return _Box(opened.validity, uid_next=opened.uid_next, modseq=opened.modseq + 1)
        self.store.break_connection()
        raise _lost(self.store.address)

    def _hang_up_over(self, act: str, uid: int, message: MemoryMessage) -> None:
        """The connection breaks over this message, if these are the server's manners."""
        if self.store.manners.hangs_up(act, message.data):
            self.store.break_connection()
            raise _lost(self.store.address).over(uid, f"while message {uid} was asked for")

    def _present(self, refs: Sequence[Ref]) -> Iterator[tuple[int, MemoryMessage]]:
        messages = self._box().messages
        for ref in refs:
            if isinstance(ref, int) and ref in messages:
                yield ref, messages[ref]


class MemoryDelivery(Delivery):
    """One batch for a `MemoryMailbox`."""

    def __init__(self, store: MemoryStore, name: MailboxName, floor: int) -> None:
        self._store = store
        self._name = name
        self._floor = floor
        self._staged: list[MemoryMessage] = []

    def spool(self) -> Spool:
        return Spool()

    def stage(self, message: Message, flags: Flags) -> Target:
        data = b"".join(message.spool.chunks())
        date = message.date.replace(microsecond=0)
        manners = self._store.manners
        kept = manners.vocabulary.keep(make_flags(flags - manners.unwelcome.keys()))
        self._staged.append(MemoryMessage(data, kept, date))
        identity = message.spool.identity()
        message.spool.discard()
        return Target(ref=None, floor=self._floor, identity=identity)

    async def commit(self) -> list[Outcome]:
        staged, self._staged = self._staged, []
        return [self._store.append(self._name, message) for message in staged]

    async def abort(self) -> None:
        self._staged = []


def _identity(data: bytes) -> Identity:
    spool = Spool()
    spool.write(data)
    try:
        return spool.identity()
    finally:
        spool.discard()


def _lost(address: str) -> UnreachableError:
    return UnreachableError(f"the connection to {address} broke")
