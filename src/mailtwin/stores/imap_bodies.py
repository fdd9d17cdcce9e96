"""Message bodies and headers out of FETCH responses, which may tell one message in several, in any order (rule R3).

Read first: `imap_mailbox`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mailtwin.errors import MessageError, RemoteProtocolError
from mailtwin.imap import LiteralChunk, LiteralStart, responses
from mailtwin.imap.quirks import is_substitute
from mailtwin.model import Flags, Identity, Ref, identity_of
from mailtwin.model.flags import make_flags
from mailtwin.model.limits import (
    FLAG_CHARS_MAX,
    LISTING_FLAGS_BYTES_MAX,
    LISTING_SURPLUS_MAX,
    TOLD_IN_PARTS_BYTES_MAX,
    UNASKED_BYTES_MAX,
)
from mailtwin.stores.base import Look, Message, Spool

_FLAG_COST_BYTES = 100
"""What one flag in a set costs besides its characters."""

_UID = re.compile(rb"[( ]UID ([0-9]{1,10})[ )]", re.IGNORECASE)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The date of a message that has none."""


class FlagReader:
    """Which attributes tell the flags of a message, and how they are read; one for each command."""

    attributes: tuple[str, ...] = ("FLAGS",)

    def take(self, item: responses.Fetch) -> Flags | None:
        """The flags of the message as far as this response completes them; None when it does not."""
        if item.uid is None or item.flags is None:
            return None
        return make_flags(flag for flag in item.flags if len(flag) <= FLAG_CHARS_MAX)


@dataclass(slots=True)
class _Facts:
    """What is known of one message so far: it may come in several FETCH responses, in any order (rule R3)."""

    flags: Flags | None = None
    date: datetime | None = None
    size: int | None = None
    body: Spool | None = None
    said: bool = False
    substitute: bool = False

    def learn(self, item: responses.Fetch, reader: FlagReader) -> None:
        """What the response tells besides a body."""
        flags = reader.take(item)
        self.flags = self.flags if flags is None else flags
        self.date = item.internal_date or self.date
        self.size = item.size if item.size is not None else self.size

    @property
    def complete(self) -> bool:
        """Whether nothing more has to come. That a body is empty is believed only of a message of no size (R13)."""
        if self.body is None or self.flags is None or self.date is None:
            return False
        return self.body.size > 0 or self.size == 0


class FlagList:
    """Puts a listing together from the responses to one FETCH of flags, within limits: a server may say anything.

    `found`: the flags by UID. `exists()` tells how many messages there are, as far as the server said by now.
    """

    def __init__(self, about: str, exists: Callable[[], int], reader: FlagReader) -> None:
        self.found: dict[int, Flags] = {}
        self._about = about
        self._exists = exists
        self._reader = reader
        self._most = 0
        self._sets: set[Flags] = set()
        self._bytes = 0

    def take(self, item: responses.Fetch) -> None:
        """Uses one response. Raises RemoteProtocolError when there is no end to it."""
        flags = self._reader.take(item)
        if item.uid is None or flags is None:
            return
        self.found[item.uid] = flags
        if flags not in self._sets:
            self._sets.add(flags)
            self._bytes += sum(_FLAG_COST_BYTES + len(flag) for flag in flags)
            if self._bytes > LISTING_FLAGS_BYTES_MAX:
                raise RemoteProtocolError(
                    f"{self._about}: the flags of its messages take more than {LISTING_FLAGS_BYTES_MAX} bytes"
                )
        self._most = max(self._most, self._exists())
        if len(self.found) > self._most + LISTING_SURPLUS_MAX:
            raise RemoteProtocolError(
                f"{self._about}: the server says that it holds {self._most} messages, and lists more without an end"
            )


class Unasked:
    """How many bytes a server sent that nobody asked for, or told before. `about`: where."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._total = 0

    def add(self, size: int) -> None:
        """So many more. Raises RemoteProtocolError when it is no accident any more."""
        self._total += size
        if self._total > UNASKED_BYTES_MAX:
            raise RemoteProtocolError(
                f"{self._about}: the server sends one body after the other that nobody asked for"
            )


class _Parts:
    """How many bytes belong to messages of which something is still to come. `about`: whose messages they are."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._bytes: dict[int, int] = {}
        self._total = 0

    def keep(self, uid: int, size: int) -> None:
        """So many bytes of this message wait. Raises RemoteProtocolError when it is too much, and not one message's."""
        self._total += size - self._bytes.get(uid, 0)
        self._bytes[uid] = size
        if self._total > TOLD_IN_PARTS_BYTES_MAX and len(self._bytes) > 1:
            raise RemoteProtocolError(
                f"{self._about}: the server tells parts of {len(self._bytes)} messages ({self._total} bytes), "
                "and never the rest"
            )

    def release(self, uid: int) -> None:
        """The message is complete."""
        self._total -= self._bytes.pop(uid, 0)


class Gathered:
    """Puts the `wanted` messages together from the responses to one FETCH; each body goes into a spool as it comes.

    `told`: those that were complete. `begun`: the one whose large body is coming, if its UID was said before.
    """

    def __init__(
        self, about: str, new_spool: Callable[[], Spool], wanted: Container[int], reader: FlagReader
    ) -> None:
        self._new_spool = new_spool
        self._reader = reader
        self._wanted = wanted
        self._open: Spool | None = None
        self._facts: dict[int, _Facts] = {}
        self.begun: int | None = None
        self.told: set[int] = set()
        self._parts = _Parts(about)
        self._unasked = Unasked(about)

    def take(self, item: object) -> Message | None:
        """The message that `item` completes, if it does. Raises RemoteProtocolError when none ever is."""
        match item:
            case LiteralStart(prefix):
                uid = _UID.search(prefix)
                self.begun = int(uid[1]) if uid is not None and int(uid[1]) in self._wanted else None
                self._drop_open()
                self._open = self._new_spool()
            case LiteralChunk(data):
                if self._open is not None:
                    self._open.write(data)
            case responses.Fetch(uid=int(uid)) if uid in self._wanted:
                self.begun = None
                return self._take_fetch(uid, item)
            case responses.Fetch():
                self.begun = None
                self._unasked.add(0 if self._open is None else self._open.size)
                self._drop_open()
        return None

    def _take_fetch(self, uid: int, item: responses.Fetch) -> Message | None:
        facts = self._facts.setdefault(uid, _Facts())
        facts.learn(item, self._reader)
        if "" in item.bodies:
            facts.said = True
            self._take_body(facts, item.bodies[""])
        if facts.complete:
            if uid in self.told and facts.body is not None:
                self._unasked.add(facts.body.size)
            self.told.add(uid)
            return self._message(uid)
        self._parts.keep(uid, 0 if facts.body is None else facts.body.size)
        return None

    def _take_body(self, facts: _Facts, body: responses.BodyValue) -> None:
        if isinstance(body, bytes):
            self._drop_open()
            self._open = self._new_spool()
            facts.substitute = is_substitute(body)
            if body:
                self._open.write(body)
        spool, self._open = self._open, None
        if spool is not None:
            if facts.body is not None:
                self._unasked.add(facts.body.size)
                facts.body.discard()
            facts.body = spool

    def rest(self) -> Iterator[Message]:
        """The messages of which something is missing and nothing more will come; NIL for a body is an error."""
        for uid in [uid for uid, facts in self._facts.items() if facts.said]:
            yield self._message(uid)

    def _message(self, uid: int) -> Message:
        facts = self._facts.pop(uid)
        self._parts.release(uid)
        error = None
        if facts.body is None:
            error = MessageError("the server answers NIL instead of the message")
        elif not facts.body.size and facts.size != 0:
            error = MessageError("the server hands out nothing for a message that is not empty")
        elif facts.substitute:
            error = MessageError("the server hands out a notice that it cannot, instead of the message")
        body = facts.body or self._new_spool()
        date = facts.date or _date_in(body)
        return Message(uid, facts.flags if facts.flags is not None else make_flags(()), date, body, error)

    def discard(self) -> None:
        """Lets go what belongs to nothing."""
        self._drop_open()
        for facts in self._facts.values():
            if facts.body is not None:
                facts.body.discard()
        self._facts.clear()

    def _drop_open(self) -> None:
        if self._open is not None:
            self._open.discard()
            self._open = None


class Identities:
    """Puts identities together from header fields and sizes, which may come in several responses (rule R3).

    `nameless`: messages without a Message-ID, of which only the body can tell. `answered`: all that were told in full.
    """

    def __init__(self, about: str) -> None:
        self.found: dict[Ref, Identity] = {}
        self.nameless: set[int] = set()
        self.answered: set[Ref] = set()
        self._halves: dict[int, tuple[bytes | None, int | None]] = {}
        self._parts = _Parts(about)

    def take(self, item: responses.Fetch) -> None:
        """Uses one response. Raises RemoteProtocolError when it is all halves."""
        if item.uid is None or item.uid in self.answered:
            return
        header, size = self._halves.pop(item.uid, (None, None))
        for body in item.bodies.values():
            header = body if isinstance(body, bytes) else header
        size = item.size if item.size is not None else size
        if header is None or size is None:
            self._halves[item.uid] = (header, size)
            self._parts.keep(item.uid, 0 if header is None else len(header))
            return
        self._parts.release(item.uid)
        self.answered.add(item.uid)
        identity = identity_of(header, size, None)
        if identity is None:
            self.nameless.add(item.uid)
        else:
            self.found[item.uid] = identity


class Looks:
    """Puts together what is told of messages without their bodies, which may come in several responses (rule R3).

    `answered`: all whose flags and size were told; those of them that have a date are `found`.
    """

    def __init__(self, validity: int, reader: FlagReader) -> None:
        self._reader = reader
        self.found: dict[Ref, Look] = {}
        self.answered: set[Ref] = set()
        self._validity = validity
        self._facts: dict[int, _Facts] = {}

    def take(self, item: responses.Fetch) -> None:
        """Uses one response."""
        if item.uid is None or item.uid in self.answered:
            return
        facts = self._facts.setdefault(item.uid, _Facts())
        facts.learn(item, self._reader)
        if facts.flags is None or facts.size is None:
            return
        self.answered.add(item.uid)
        del self._facts[item.uid]
        if facts.date is not None:
            # A server without a numbering does not say that a UID stands for one message.
            stamp = f"{self._validity}:{facts.size}" if self._validity else ""
            self.found[item.uid] = Look(facts.flags, facts.date, stamp, (facts.size, facts.size))


def _date_in(body: Spool) -> datetime:
    """The Date field, for a message whose arrival date the server cannot tell."""
    try:
        date = parsedate_to_datetime(body.fields["date"].decode("ascii", "replace"))
    except (ValueError, OverflowError):
        return EPOCH
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
