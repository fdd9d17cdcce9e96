"""A selected IMAP mailbox: looking, fetching, changing.

A listing is called complete only when the server said OK, held nothing back, and named as many messages as the mailbox
holds (rules R8 and R9); anything less covers nothing. Read next: `imap_bodies`, `imap_delivery`.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Literal, Protocol, cast

from mailtwin.client import Refused, Result, Session
from mailtwin.errors import (
    CommandRefusedError,
    MailboxError,
    MessageError,
    NoMailboxError,
    RemoteProtocolError,
    Scope,
    ThrottledError,
    UnreachableError,
)
from mailtwin.imap import LiteralStart, OpenRange, SelectedMailbox, linelimits, responses
from mailtwin.imap import commands as c
from mailtwin.imap.linelimits import Kind
from mailtwin.imap.quirks import throttle_of, window_of
from mailtwin.model import Flags, Identity, Listing, MailboxName, Ref, UidSet, Vocabulary
from mailtwin.model.flags import DELETED, make_flags
from mailtwin.model.uidset import UID_MAX
from mailtwin.stores.base import (
    Delivery,
    DigestSpool,
    FlagChange,
    Look,
    Mailbox,
    Message,
    Observation,
    Outcome,
    Spool,
)
from mailtwin.stores.imap_bodies import EPOCH, FlagList, FlagReader, Gathered, Identities, Looks, Unasked
from mailtwin.stores.imap_changes import Cursor, list_changed
from mailtwin.stores.imap_delivery import ImapDelivery
from mailtwin.stores.imap_within import EmailIds, copy_to, id_attribute

LISTINGS_MAX = 2
"""How often a mailbox is listed until the answer is complete."""

PORTIONS = (10**9, 20, 1)
"""How many messages are asked for at once: first as many as a command can name, then those that were left out."""

IDENTITY_SECTION = "HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)"


class OpenAccount(Protocol):
    """What a mailbox needs of its store. `owed_marks`: `\\Deleted` marks of others, taken away for a moment; with the
    UIDVALIDITY under which they were."""

    address: str
    owed_marks: dict[MailboxName, tuple[int, UidSet]]

    @property
    def session(self) -> Session:
        """The open session. Raises UnreachableError."""

    async def spell(self, name: MailboxName) -> str:
        """How the server spells `name`. Raises MailboxError when it cannot."""


class ImapMailbox(Mailbox):
    """A selected mailbox. `vocabulary_of` and `flag_reader` say what it can hold and how that is read."""

    def __init__(self, store: OpenAccount, name: MailboxName, spelling: str) -> None:
        self.name = name
        self.spelling = spelling
        self.store = store
        self.validity = 0
        self.floor = 1
        self._fresh = False
        self._counted = False

    @property
    def session(self) -> Session:
        """The store's session."""
        return self.store.session

    async def select(self) -> None:
        """Selects the mailbox, or selects it anew so that everything new is visible."""
        condstore = self.session.has("CONDSTORE")
        try:
            answer = await self.session.run(c.Select(self.spelling, condstore=condstore))
        except CommandRefusedError as error:
            missing = isinstance(error, Refused) and says_missing(error.result)
            kind = NoMailboxError if missing else MailboxError
            raise kind(error.message, hint=error.hint) from error
        counts = any(isinstance(item, responses.Exists) for item in answer.responses)
        self._counted = counts and answer.complete
        await self._pay_marks()
        self._fresh = True

    def flag_reader(self) -> FlagReader:
        """How the flags of its messages are told, for one command."""
        return FlagReader()

    def vocabulary_of(self, permanent_flags: Iterable[str] | None) -> Vocabulary:
        """What it keeps (RFC 9051, section 7.1: without PERMANENTFLAGS, everything)."""
        if permanent_flags is None:
            return Vocabulary()
        names = list(permanent_flags)
        return Vocabulary(make_flags(names), "\\*" in names)

    # --- looking -----------------------------------------------------------------------------------------------------

    async def observe(self, since: Observation | None = None) -> Observation:
        """SELECT and `UID FETCH 1:* (FLAGS)`; the cursor is that of the SELECT, so it is older than the listing.

        With `since`, and modification sequences, only what changed is asked for (`imap_changes`). An answer that is
        short, or during which messages went, gets a second chance (R9), and that one is whole: to a session whose
        mailbox is removed or made anew by another one, some servers show that all messages went, under the old
        numbering.
        """
        attempts = 0
        while True:
            if not self._fresh:
                await self.select()
            self._fresh = False
            attempts += 1
            opened = self._selected
            cursor, uid_next, opened_with = self._cursor(), opened.uid_next, opened.exists
            changed = await self._list_changed(since, cursor) if attempts == 1 else None
            flags, complete = (changed, True) if changed is not None else await self._list_flags()
            complete = complete and opened.exists >= opened_with
            if complete or attempts == LISTINGS_MAX:
                break
        self.validity = opened.uid_validity or 0
        self.floor = max(opened.uid_next or 1, max(flags, default=0) + 1)
        if uid_next is not None and uid_next <= max(flags, default=0):
            uid_next = None  # mail came in between, or the server does not know what it says
        listing = Listing(
            flags=cast(dict[Ref, Flags], flags),
            validity=str(self.validity),
            coverage=self._coverage(flags) if complete else UidSet(),
            uid_next=uid_next,
            vocabulary=self.vocabulary_of(opened.permanent_flags),
        )
        told = str(cursor) if cursor is not None and listing.complete else None
        return Observation(listing, told, whole=changed is None)

    async def _list_changed(
        self, since: Observation | None, now: Cursor | None
    ) -> Mapping[int, Flags] | None:
        """All messages and flags, by what changed since; None when they have to be listed whole."""
        if since is None or since.cursor is None or now is None or not since.listing.complete:
            return None
        known = cast(Mapping[int, Flags], since.listing.flags)
        return await list_changed(self, known, Cursor.parse(since.cursor), now)

    @property
    def _selected(self) -> SelectedMailbox:
        """What the session knows of this mailbox while it is selected."""
        selected = self.session.state.selected
        assert selected is not None
        assert selected.name == self.spelling, "another mailbox was opened meanwhile"
        return selected

    @property
    def _in_this_mailbox(self) -> Session:
        """The session, for commands about messages: a UID says nothing without its mailbox."""
        session, selected = self.session, self.session.state.selected
        assert selected is None or selected.name == self.spelling, "another mailbox was opened meanwhile"
        return session

    def _cursor(self) -> Cursor | None:
        selected = self._selected
        return Cursor.of(
            {
                "UIDVALIDITY": selected.uid_validity or 0,
                "UIDNEXT": selected.uid_next or 0,
                "MESSAGES": selected.exists,
                # What some servers say without announcing CONDSTORE is no such number.
                "HIGHESTMODSEQ": (selected.highest_modseq or 0) if self.session.has("CONDSTORE") else 0,
            }
        )

    async def _list_flags(self) -> tuple[Mapping[int, Flags], bool]:
        """All UIDs and flags, and whether that is certainly all."""
        if self._selected.exists == 0:
            # Empty only if the server said so: an EXISTS that is missing or was not understood is no zero.
            return {}, self._counted
        reader = self.flag_reader()
        listing = FlagList(self.about, self._exists, reader)
        answer = await self.each(c.Fetch(OpenRange(1), ("UID", *reader.attributes)), listing.take)
        error = answer.error(self.session.endpoint.host, mailbox=self.spelling)
        if error is not None:
            raise error
        return listing.found, answer.complete and len(listing.found) == self._selected.exists

    @property
    def about(self) -> str:
        """Where it is, for errors."""
        return f"{self.session.endpoint.host}: {self.spelling}"

    def _exists(self) -> int:
        selected = self.session.state.selected
        return 0 if selected is None else selected.exists

    async def identify(self, refs: Sequence[Ref]) -> dict[Ref, Identity]:
        """Header fields and sizes; whole bodies only of messages without a Message-ID, digested as they come."""
        gathered = Identities(self.about)
        attributes = ("UID", "RFC822.SIZE", f"BODY.PEEK[{IDENTITY_SECTION}]")
        async for command in self._in_portions(refs, gathered.answered, attributes):
            with self._naming(command, gathered.answered):
                await self.each(command, gathered.take)
        found = gathered.found
        async for message in self.fetch(sorted(gathered.nameless), DigestSpool):
            if message.error is None:
                found[message.ref] = message.spool.identity()
        return found

    async def look(self, refs: Sequence[Ref]) -> Mapping[Ref, Look]:
        """Flags, dates and sizes. The stamp is the numbering and the size: bytes under a UID never change."""
        selected = self._selected
        reader = self.flag_reader()
        looks = Looks(selected.uid_validity or 0, reader)
        attributes = ("UID", *reader.attributes, "INTERNALDATE", "RFC822.SIZE")
        async for command in self._in_portions(refs, looks.answered, attributes):
            with self._naming(command, looks.answered):
                await self.each(command, looks.take)
        return looks.found

    async def _in_portions(
        self, refs: Iterable[Ref], answered: Container[Ref], attributes: tuple[str, ...]
    ) -> AsyncIterator[c.Fetch]:
        """What to ask: for all at once, and for what was not answered though it is there in ever smaller portions.

        A server that says NO because of one message, or OK and less than it was asked for, must not hide the others.
        """
        missing = set(refs)
        for portion in PORTIONS:
            for uids in portions(missing, portion):
                for command in self.split(uids, lambda part: c.Fetch(part, attributes)):
                    yield command
            missing = {ref for ref in missing if ref not in answered}
            if not missing:
                return
            missing &= await self._present(missing)

    async def _present(self, refs: set[Ref]) -> set[Ref]:
        """Those of `refs` that are there, as far as a complete listing tells: an answer without them proves nothing."""
        if not refs:
            return refs
        flags, complete = await self._list_flags()
        return refs & flags.keys() if complete else refs

    async def email_ids(self, refs: Sequence[Ref]) -> Mapping[Ref, str]:
        """X-GM-MSGID, or EMAILID (RFC 8474)."""
        attribute = id_attribute(self.session)
        if attribute is None:
            return {}
        gathered = EmailIds(attribute)
        for command in self.split(uid_set(refs), lambda part: c.Fetch(part, ("UID", attribute))):
            await self.each(command, gathered.take)
        return gathered.found

    async def copy_to(
        self, name: MailboxName, refs: Sequence[Ref], validity: str, into: str
    ) -> list[Outcome]:
        """UID COPY."""
        spelling = await self.store.spell(name)
        if str(self._selected.uid_validity or 0) != validity:
            raise MailboxError(f"{self.spelling} was numbered anew; nothing is copied from it")
        return await copy_to(self._in_this_mailbox, spelling, refs, into)

    def _coverage(self, flags: Mapping[int, Flags]) -> UidSet | None:
        """What a complete listing covers: everything (None), or what lies above the lower edge of a window."""
        window = window_of(self.session.state.capabilities)
        return None if window is None or len(flags) < window else UidSet(((min(flags), UID_MAX),))

    def split(self, uids: UidSet, make: Callable[[UidSet], Kind]) -> Iterator[Kind]:
        """`make(part)` for parts of `uids`, each short enough for this server (rule R19)."""
        return linelimits.split(uids, make, self.session.state)

    async def each(
        self,
        command: c.Fetch,
        take: Callable[[responses.Fetch], None],
        take_gone: Callable[[responses.Vanished], None] = lambda _gone: None,
    ) -> Result:
        """Hands over the responses to a FETCH as they come, so that a large mailbox is never held; then its result.

        A refusal is in the result. Raises UnreachableError when the connection is lost, ThrottledError for a wish to
        pause.
        """
        unasked = Unasked(self.about)
        async with aclosing(self._in_this_mailbox.stream(command)) as answers:
            async for item in answers:
                if isinstance(item, responses.Fetch):
                    take(item)
                elif isinstance(item, responses.Vanished):
                    take_gone(item)
                elif isinstance(item, LiteralStart):
                    unasked.add(item.size)
                elif isinstance(item, Result):
                    self.heed(item)
                    return item
        raise AssertionError("a stream ends with its result")

    @contextmanager
    def _naming(
        self, command: c.Fetch, answered: Container[Ref], begun: Callable[[], int | None] = lambda: None
    ) -> Iterator[None]:
        """When the connection ends in here, its error names the message that was `begun`, else the first not
        `answered`."""
        try:
            yield
        except (UnreachableError, RemoteProtocolError) as error:
            assert isinstance(command.uids, UidSet)
            uid = begun() or next((uid for uid in command.uids if uid not in answered), None)
            if uid is None:
                raise
            raise error.over(uid, f"while UID {uid} of {self.spelling} was asked for") from error

    def heed(self, result: Result) -> None:
        """Raises the error of a refusal that is about more than this command (rule R16): no use to go on asking.

        So is an OK with a wish to pause behind it; LIMIT there only says that the answer is short.
        """
        host = self.session.endpoint.host
        error = result.error(host, mailbox=self.spelling)
        if error is not None and error.scope > Scope.MAILBOX:
            raise error
        if (
            not result.ok
            or result.status is None
            or (result.code is not None and result.code.name == "LIMIT")
        ):
            return
        pause = throttle_of(result.status)
        if pause is not None:
            raise ThrottledError(f"{host}: {self.spelling}: {result.text}", pause_s=pause.pause_s)

    # --- bodies ------------------------------------------------------------------------------------------------------

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """`BODY.PEEK[]` of many messages per command, each body into its spool as it comes (rule R13)."""
        done: set[Ref] = set()
        failed: dict[Ref, Message] = {}
        attributes = ("UID", *self.flag_reader().attributes, "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]")
        async for command in self._in_portions(refs, done, attributes):
            async with aclosing(self._stream(command, spool)) as messages:
                async for message in messages:
                    if message.ref in done:
                        message.spool.discard()
                    elif message.error is not None:
                        failed[message.ref] = message
                    else:
                        done.add(message.ref)
                        yield message
        for ref in await self._present({ref for ref in refs if ref not in done}):
            kept_back = MessageError("the server lists the message and does not hand it out")
            yield failed.get(ref) or Message(ref, make_flags(()), EPOCH, spool(), kept_back)

    async def _stream(self, command: c.Fetch, spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """The answer to one FETCH of bodies, refused or not, put together message by message."""
        gathered = Gathered(self.about, spool, command.uids, self.flag_reader())
        try:
            with self._naming(command, gathered.told, lambda: gathered.begun):
                async with aclosing(self._in_this_mailbox.stream(command)) as answers:
                    async for item in answers:
                        if isinstance(item, Result):
                            self.heed(item)
                        message = gathered.take(item)
                        if message is not None:
                            yield message
            for message in gathered.rest():
                yield message
        finally:
            gathered.discard()

    def delivery(self) -> Delivery:
        """A batch of APPENDs."""
        return ImapDelivery(self)

    # --- changing ----------------------------------------------------------------------------------------------------

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        """`UID STORE +FLAGS.SILENT` and `-FLAGS.SILENT`, grouped and pipelined."""
        commands: list[c.Command] = []
        for change in changes:
            uids = uid_set(change.refs)
            if change.add:
                commands += self.split(uids, partial(c.Store, sign="+", flags=change.add))
            if change.remove:
                commands += self.split(uids, partial(c.Store, sign="-", flags=change.remove))
        await self._all_ok(commands, "change flags")
        return {}

    async def remove(self, refs: Sequence[Ref]) -> None:
        """`\\Deleted` and UID EXPUNGE; where that is missing, announced and refused too, an EXPUNGE from which all
        other messages are kept safe.
        """
        mine = uid_set(refs)
        if not self.session.has("UIDPLUS") or not await self._expunge_by_uid(mine):
            await self._expunge_alone(mine)

    async def _expunge_by_uid(self, mine: UidSet) -> bool:
        """Whether the server does UID EXPUNGE, as it announces; False: it refused, and the messages are marked."""
        commands: list[c.Command] = [*self.split(mine, _marking("+")), *self.split(mine, c.UidExpunge)]
        results = await self._in_this_mailbox.run_all(commands)
        for result in results:
            self.heed(result)
        expunges = [result for result in results if isinstance(result.command, c.UidExpunge)]
        marked = all(result.ok for result in results if result not in expunges)
        if mine and marked and not any(result.ok for result in expunges):
            return False
        self._check(results, "remove messages")
        return True

    async def _expunge_alone(self, mine: UidSet) -> None:
        """EXPUNGE takes everything marked \\Deleted: what others marked is unmarked meanwhile, and marked again.

        When the connection is lost in between, that is made good at the next SELECT. (A power cut there costs those
        marks, and no message.)
        """
        flags, complete = await self._list_flags()
        if not complete:
            raise MailboxError(
                f"{self.store.address} does not list all messages of {self.spelling}: an EXPUNGE might remove others"
            )
        others = UidSet.of(uid for uid, held in flags.items() if DELETED in held) - mine
        self.store.owed_marks[self.name] = (self.validity, others)
        unmark = list(self.split(others, _marking("-")))
        marks = self.split(mine, _marking("+"))
        try:
            await self._all_ok(unmark, "unmark messages of others")
            await self._all_ok([*marks, c.Expunge()], "remove messages")
        finally:
            if self.session.is_open:
                await self._pay_marks()

    async def _pay_marks(self) -> None:
        validity, owed = self.store.owed_marks.get(self.name, (0, UidSet()))
        selected = self.session.state.selected
        if selected is not None and (selected.uid_validity or 0) == validity:
            marks = self.split(owed, _marking("+"))
            await self._all_ok(list(marks), "mark messages of others again")
        self.store.owed_marks.pop(self.name, None)

    async def _all_ok(self, commands: Sequence[c.Command], what: str) -> None:
        self._check(await self._in_this_mailbox.run_all(commands), what)

    def _check(self, results: Sequence[Result], what: str) -> None:
        for result in results:
            self.heed(result)
        for result in results:
            if not result.ok:
                raise MailboxError(
                    f"{self.store.address} refused to {what} in {self.spelling}: {result.text}"
                )


def says_missing(answer: Result) -> bool:
    """Whether a refused SELECT says that there is no such mailbox (RFC 5530), or gives no reason of another kind."""
    if answer.status is None or answer.status.word != "NO":
        return False
    return answer.status.code is None or answer.status.code.name in ("NONEXISTENT", "TRYCREATE")


def portions(refs: Iterable[Ref], size: int) -> Iterator[UidSet]:
    """The UIDs in sets of `size` at most."""
    uids = sorted(cast(Iterable[int], refs))
    for at in range(0, len(uids), size):
        yield UidSet.of(uids[at : at + size])


def uid_set(refs: Iterable[Ref]) -> UidSet:
    """Refs of an IMAP mailbox as a set of UIDs."""
    return UidSet.of(cast(Iterable[int], refs))


def _marking(sign: Literal["+", "-"]) -> Callable[[UidSet], c.Store]:
    return partial(c.Store, sign=sign, flags=make_flags((DELETED,)))
