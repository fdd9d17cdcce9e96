"""One interface for every place that holds mail, and nothing else: stores observe and obey, they decide nothing.

A store keeps no durable state of its own. Few operations are required; each has its contract in its docstring, and the
conformance suite in `mailtwin.testing.conformance` is the contract in executable form: memory, Maildir and IMAP pass it
unchanged.

The way of a copy, the same for every destination (ordering invariants 2 and 5 of ARCHITECTURE.md):

    delivery = mailbox.delivery()
    async for message in source.fetch(refs, delivery.spool):      # bodies flow into the destination's own spools
        delivery.stage(message)  -> Target                        # nothing visible yet
    ... the engine makes the intents durable, from the targets ...
    await delivery.commit()      -> Outcome for each, in order    # durable, visible
    ... the engine makes the agreements durable ...
"""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

from mailtwin.errors import MailboxError, MailtwinError, StorageError
from mailtwin.model import ANY_SIZE, Flags, Identity, Listing, MailboxName, Ref, SizeRange, header_fields
from mailtwin.model.identity import HEADER_BYTES_MAX, identity_from
from mailtwin.model.limits import SPOOL_MEMORY_BYTES_MAX
from mailtwin.model.traffic import NO_LIMITS, NO_TRAFFIC, DailyLimits, Traffic

_HEADER_STEP_BYTES = 4096

ALL_MAIL = MailboxName(("All Mail",))
"""What the one mailbox is called in which a store with labels shows all messages."""


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """One mailbox of a store. `cursor`: see `Observation`; None when it would cost opening the mailbox.

    `spelling`: the name as this store writes it, for people. `special_use`: `\\Sent` and the like, or "".
    """

    name: MailboxName
    cursor: str | None = None
    spelling: str = ""
    special_use: str = ""


@dataclass(frozen=True, slots=True)
class MailboxList:
    """The mailboxes that can hold messages. Only a `complete` list is evidence that a mailbox is missing.

    `problems`: mailboxes that exist and cannot be used, by the store's spelling, and why.
    """

    mailboxes: Mapping[MailboxName, MailboxInfo]
    complete: bool = True
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Numbering:
    """UIDVALIDITY and UIDNEXT of a mailbox (RFC 9051, section 2.3.1.1)."""

    validity: int
    uid_next: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A listing, and the cursor that was read *before* it.

    Two equal cursors mean that nothing changed in the mailbox between the moments they were read: no message, no flag.
    None means that this store cannot tell, and the mailbox is listed again next time.

    `location`: which place on which disk was looked at, as far as the store can tell it; "" when it cannot. (Of an IMAP
    mailbox the numbering tells that.) `whole`: everything was listed; else it was only asked what changed since an
    earlier observation.
    """

    listing: Listing
    cursor: str | None
    location: str = ""
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """Where a staged message will be: under the name `ref`, known beforehand, or at a UID of at least `floor`.

    `identity` is what to look for at a UID; a name needs none.
    """

    ref: Ref | None
    floor: int | None
    identity: Identity | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The message is in the mailbox, durably, under `ref`."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Refused:
    """The message is certainly not in the mailbox, and why."""

    error: MailtwinError


@dataclass(frozen=True, slots=True)
class Unknown:
    """The message may or may not be in the mailbox.

    `finished`: the attempt is over, a listing tells; else it may still take effect. `accepted`: the server said it was
    stored, without saying where. `error`: the refusal, or the end of the connection of which no answer came.
    """

    finished: bool
    accepted: bool
    error: MailtwinError | None = None


Outcome = Stored | Refused | Unknown


class Spool:
    """Takes the wire bytes (CRLF line ends) of one message from a source; measures them on the way.

    The base class keeps them: in memory up to 1 MiB, beyond that in an unlinked temporary file.
    """

    digests = True
    """Whether `sha256` and `identity` can be had; a store that knows its messages by name saves the time."""

    def __init__(self) -> None:
        self.size = 0
        self._header = bytearray()
        self._header_done = False
        self._fields: Mapping[str, bytes] | None = None
        self._sha256 = hashlib.sha256()
        self._memory: list[bytes] | None = []
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes | memoryview) -> None:
        """Appends wire bytes; a memoryview is only borrowed. Raises StorageError when the disk refuses."""
        self.measure(chunk)
        self.keep(chunk)

    def measure(self, chunk: bytes | memoryview) -> None:
        """Counts, digests and looks for the end of the header."""
        self.size += len(chunk)
        if self.digests:
            self._sha256.update(chunk)
        if not self._header_done:
            self._measure_header(chunk)

    def _measure_header(self, chunk: bytes | memoryview) -> None:
        # In steps, because a chunk may be a whole message, of which the header is a small part.
        for at in range(0, len(chunk), _HEADER_STEP_BYTES):
            start = max(0, len(self._header) - 3)
            room = HEADER_BYTES_MAX - len(self._header)
            self._header += chunk[at : at + min(_HEADER_STEP_BYTES, room)]
            ends = [at for at in (self._header.find(mark, start) for mark in (b"\n\r\n", b"\n\n")) if at >= 0]
            self._header_done = bool(ends) or len(self._header) >= HEADER_BYTES_MAX
            if ends:
                del self._header[min(ends) + 1 :]
            if self._header_done:
                return

    def keep(self, chunk: bytes | memoryview) -> None:
        """Stores the bytes; a store with a better place for them overrides this."""
        if self._memory is not None:
            self._memory.append(bytes(chunk))
            if self.size > SPOOL_MEMORY_BYTES_MAX:
                self._spill(self._memory)
                self._memory = None
        else:
            self._spill((chunk,))

    def _spill(self, chunks: Iterable[bytes | memoryview]) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the spool
            self._file.writelines(chunks)
        except OSError as error:
            raise StorageError(
                f"a message of more than {self.size} bytes cannot be held in {tempfile.gettempdir()}: "
                f"{error.strerror}",
                hint="make room there, or set TMPDIR to a directory with room",
            ) from error

    @property
    def sha256(self) -> str:
        """The digest of all bytes written, hexadecimal."""
        assert self.digests
        return self._sha256.hexdigest()

    @property
    def header(self) -> bytes:
        """The header block, or its first 256 KiB."""
        return bytes(self._header)

    @property
    def fields(self) -> Mapping[str, bytes]:
        """The identity fields of the header, once the message is complete."""
        if self._fields is None:
            self._fields = header_fields(self._header)
        return self._fields

    def identity(self) -> Identity:
        """Who the message is, once it is complete."""
        identity = identity_from(self.fields, self.size, self.sha256)
        assert identity is not None
        return identity

    def chunks(self, size: int = 256 * 1024) -> Iterator[bytes]:
        """The bytes again, from the start."""
        if self._memory is not None:
            yield from self._memory
        elif self._file is not None:
            self._file.seek(0)
            while chunk := self._file.read(size):
                yield chunk

    def discard(self) -> None:
        """Lets the bytes go; may be called twice."""
        self._memory = []
        if self._file is not None:
            self._file.close()
            self._file = None


class DigestSpool(Spool):
    """Measures a body and keeps nothing of it."""

    def keep(self, chunk: bytes | memoryview) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Message:
    """One fetched message. `date` is the arrival date (INTERNALDATE; a Maildir file's mtime), always with a zone.

    `spool` holds its body, or `error` says why there is none: a failure of this message only.
    """

    ref: Ref
    flags: Flags
    date: datetime
    spool: Spool
    error: MailtwinError | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a store tells of one message without reading it: its flags and its arrival date as they are now.

    `stamp`: while it stays the same, so do the message's bytes, as far as this store can vouch for that; "" when it
    cannot. (An IMAP message is immutable under its UIDVALIDITY and UID, RFC 3501 section 2.3.1.1; of a file its number
    and times tell.) `sizes`: the least and the most bytes that it may have on the wire.
    """

    flags: Flags
    date: datetime
    stamp: str
    sizes: SizeRange = ANY_SIZE


@dataclass(frozen=True, slots=True)
class FlagChange:
    """Add and remove these flags on these messages."""

    refs: tuple[Ref, ...]
    add: Flags
    remove: Flags


class Delivery(ABC):
    """One batch of messages on its way into a mailbox."""

    @abstractmethod
    def spool(self) -> Spool:
        """A new spool for one body; the source writes into it. Raises StorageError."""

    @abstractmethod
    def stage(self, message: Message, flags: Flags) -> Target:
        """Prepares `message` (its spool from this delivery, complete) to be stored with `flags`; nothing is visible.

        `flags` were already reduced to the mailbox's vocabulary. Raises MessageError when this destination cannot
        hold the message, StorageError when the disk refuses.
        """

    @abstractmethod
    async def commit(self) -> list[Outcome]:
        """Makes all staged messages visible and durable; one outcome for each, in the order staged.

        The caller has made the intents durable. Raises nothing for a single message; a lost connection becomes
        `Unknown` for those without an answer.
        """

    @abstractmethod
    async def abort(self) -> None:
        """Lets everything staged and not committed go; may be called twice, also after `commit`."""


class Mailbox(ABC):
    """One open mailbox. Refs that are not there any more are passed over, never an error."""

    name: MailboxName

    @abstractmethod
    async def observe(self, since: Observation | None = None) -> Observation:
        """Lists all messages with their flags as they are now. A power cut takes back nothing of what was told.

        `since`: an earlier observation of this mailbox, exactly as it was made: the store may ask only for what changed
        after it, and lists everything where that leaves a doubt. The result is the same listing, except that a change
        of flags which the other end forgets to tell is missing in it. Raises MailboxError or a store's error.
        """

    @abstractmethod
    async def identify(self, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        """The identities of those of `refs` that are still there and can be read.

        When the connection ends meanwhile, the error's `suspect` is the message that was under way, as in `fetch`.
        """

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        """What can be told of those of `refs` that are still there, without reading them.

        What is left out has to be read: a store that can tell nothing leaves all of them out.
        """
        del refs
        return {}

    @abstractmethod
    def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """The messages with their bytes, in any order, each body written into a new spool from `spool`.

        A message that the server will not hand out comes as a `Message` with `error`; one that is gone does not come.
        When the connection ends meanwhile, the error's `suspect` is the message that was under way, as far as the store
        can tell.
        """

    async def email_ids(self, refs: Sequence[Ref]) -> Mapping[Ref, str]:
        """What this store calls those of `refs` that are still there in whatever mailbox they are (RFC 8474 section
        5.1); nothing where `Store.has_email_ids` is False."""
        del refs
        return {}

    async def copy_to(
        self, name: MailboxName, refs: Sequence[Ref], validity: str, into: str
    ) -> list[Outcome]:
        """Copies messages of this mailbox, whose numbering has to be `validity`, into another one of this store with
        the numbering `into`, with flags and dates; one outcome for each of `refs`, as from `Delivery.commit`.

        The caller has made the intents durable. The other mailbox has to be observed anew before it is used. Raises
        MailboxError when `validity` is not the numbering.
        """
        del refs, validity, into
        raise MailboxError(f"{self.name} cannot be copied from to {name}")

    @abstractmethod
    def delivery(self) -> Delivery:
        """A new, empty batch for this mailbox."""

    @abstractmethod
    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        """Changes flags by delta; what the caller does not name stays. Whether it took effect shows `observe`.

        Returns the flags that this store does not take, each with its reason; all others were changed.
        """

    @abstractmethod
    async def remove(self, refs: Sequence[Ref]) -> None:
        """Removes exactly these messages, no others. Whether it took effect shows `observe`."""


class Store(ABC):
    """A place that holds mailboxes. Used by one task at a time."""

    address: str
    """The canonical address, without secrets: what the state is found by."""

    copies_within = False
    """Whether messages can be copied from one mailbox to another without leaving the store (`Mailbox.copy_to`)."""

    @property
    def merges(self) -> bool:
        """Whether a message that the connected store holds already, in whatever mailbox, is not stored a second time:
        it stays as it is there, with its own flags."""
        return False

    @property
    def has_email_ids(self) -> bool:
        """Whether the connected store knows a message in two mailboxes for the same (`Mailbox.email_ids`)."""
        return False

    owner: str = ""
    """Who logs in; "" where nobody has to."""
    account: str = ""
    """Whose traffic a provider counts, the same name in all pairs; "" where nobody counts."""

    daily_limits: DailyLimits = NO_LIMITS
    """What a person said the account may use in a day."""

    @abstractmethod
    async def connect(self, *, create: bool) -> None:
        """Makes the store usable. `create`: a store that does not exist yet may be created (a new Maildir).

        Raises StoreMissingError, LoginError, UnreachableError, TlsError, ProtocolError, LockedError, StorageError.
        """

    @abstractmethod
    async def reconnect(self) -> None:
        """Drops what connection there is and connects anew; nothing sent before can be answered any more."""

    @abstractmethod
    async def close(self) -> None:
        """Lets go politely; may be called twice and after any error."""

    def limits(self) -> str:
        """What the connected store says beforehand of the messages that it takes; "" when it says nothing.

        A message that it refused may be taken once this is another text.
        """
        return ""

    def traffic(self) -> Traffic:
        """The bytes that all connections of this store carried so far, those that ended included."""
        return NO_TRAFFIC

    @property
    def is_throttled(self) -> bool:
        """Whether the provider asked for a pause since the last attempt to connect."""
        return False

    def known_limits(self) -> DailyLimits:
        """What is known of the daily limits of the connected store's provider."""
        return NO_LIMITS

    def describe(self) -> tuple[str, ...]:
        """What a person wants to know of the connected store, line by line; the address first."""
        return (self.address,)

    @abstractmethod
    async def mailboxes(self) -> MailboxList:
        """All mailboxes that can hold messages, with cursors where they cost nothing."""

    async def numbering(self, name: MailboxName) -> Numbering | None:
        """How a server numbers the messages of a mailbox; None when that cannot be seen here, or it is not there."""
        del name
        return None

    @abstractmethod
    async def create(self, name: MailboxName) -> None:
        """Creates a mailbox (and its parents); one that exists is no error. Raises MailboxError."""

    @abstractmethod
    async def remove_mailbox(self, name: MailboxName) -> None:
        """Removes a mailbox with what is in it, not its children. Raises MailboxError."""

    async def labels(self) -> MailboxList | None:
        """The labels that messages can carry here (see `mailtwin.model.labels`), in use or not, as `mailboxes` last saw
        them; None where there are none."""
        return None

    async def create_label(self, name: MailboxName) -> None:
        """Makes a label that no message carries yet; one that exists is no error. Raises MailboxError."""
        raise MailboxError(f"{self.address} has no labels, and cannot have {name}")

    async def remove_label(self, name: MailboxName) -> None:
        """Removes a label that no message carries. Raises MailboxError, also when one does."""
        raise MailboxError(f"{self.address} has no labels, and no {name}")

    @abstractmethod
    def open(self, name: MailboxName) -> AbstractAsyncContextManager[Mailbox]:
        """Opens a mailbox for reading and writing; one at a time.

        Raises NoMailboxError when there is none of that name, MailboxError when it cannot be opened.
        """
