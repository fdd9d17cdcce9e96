"""An IMAP account as a store (RFC 3501, RFC 9051, and what extensions the server has).

The base protocol is always enough: extensions make it quicker. A listing is called complete only when the server said
OK, held nothing back, and named as many messages as the mailbox holds (rules R8 and R9); anything less covers nothing.
Nothing here decides what is done: see `mailtwin.engine`. Read next: `imap_names`, then `mailtwin.client.session`.
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
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, cast
from urllib.parse import quote

from mailtwin.client import Credentials, Endpoint, Result, Session
from mailtwin.errors import (
    CommandRefusedError,
    MailboxError,
    MailtwinError,
    MessageError,
    UnreachableError,
)
from mailtwin.imap import LiteralChunk, LiteralStart, OpenRange, responses
from mailtwin.imap import commands as c
from mailtwin.imap.commands import Taken
from mailtwin.model import (
    Flags,
    Identity,
    Listing,
    MailboxName,
    Ref,
    UidSet,
    Vocabulary,
    header_fields,
    identity_of,
)
from mailtwin.model.flags import DELETED, make_flags
from mailtwin.model.limits import MAILBOXES_MAX
from mailtwin.stores.base import (
    Delivery,
    DigestSpool,
    FlagChange,
    Mailbox,
    MailboxInfo,
    MailboxList,
    Message,
    Observation,
    Outcome,
    Spool,
    Store,
    Stored,
    Target,
    Unknown,
)
from mailtwin.stores.imap_names import NameProblem, Namespace

SET_BYTES_MAX = 8_000
"""The longest set of UIDs in one command (rule R19)."""

PORTIONS = (10**9, 20, 1)
"""How many messages are asked for at once: first as many as a command can name, then those that were left out."""

STATUS_ITEMS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ")
IDENTITY_SECTION = "HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)"
UNUSABLE = frozenset({"\\noselect", "\\nonexistent"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ImapStore(Store):
    """One account. `credentials` is called at each login, so that a token can be renewed."""

    def __init__(self, endpoint: Endpoint, credentials: Callable[[], Credentials], user: str) -> None:
        scheme = "imaps" if endpoint.security == "tls" else "imap"
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.address = f"{scheme}://{quote(user, safe='')}@{host}:{endpoint.port}/"
        self._endpoint = endpoint
        self._credentials = credentials
        self._session: Session | None = None
        self._namespace: Namespace | None = None
        self.owed_marks: dict[MailboxName, UidSet] = {}

    @property
    def session(self) -> Session:
        """The open session. Raises UnreachableError before `connect` and after a loss."""
        if self._session is None:
            raise UnreachableError(f"{self.address} is not connected")
        return self._session

    async def connect(self, *, create: bool) -> None:  # noqa: ARG002 - a Maildir's
        """Logs in. `create` means nothing here: an account exists or not."""
        assert self._session is None
        self._session = await Session.open(self._endpoint, self._credentials())
        self._namespace = None

    async def reconnect(self) -> None:
        """Ends the old connection at once and logs in anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.abort()
        await self.connect(create=False)

    async def close(self) -> None:
        """LOGOUT, briefly."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def describe(self) -> tuple[str, ...]:
        """The address, what the server calls itself, and what it can do."""
        state = self.session.state
        capabilities = " ".join(sorted(state.capabilities))
        fields = state.server_id.fields if state.server_id is not None else {}
        named = " ".join(value for key in ("name", "version") if (value := fields.get(key)))
        return tuple(line for line in (self.address, named, capabilities) if line)

    # --- mailboxes ---------------------------------------------------------------------------------------------------

    async def mailboxes(self) -> MailboxList:
        """One LIST; with the STATUS of all mailboxes in the same answer where the server can (RFC 5819)."""
        session = self.session
        status_items = self._status_items()
        in_one = bool(status_items) and session.has("LIST-STATUS")
        answer = await session.run(c.List(status=status_items if in_one else ()))
        items = list_items(answer)
        if len(items) > MAILBOXES_MAX:
            raise MailboxError(f"{self.address} lists more than {MAILBOXES_MAX} mailboxes")
        self._namespace = Namespace.of(session.state.namespaces, items)
        found, problems = self._read_items(self._namespace, items)
        statuses = answer.responses if in_one else await self._ask_cursors(found, status_items)
        cursors = {
            session.decode_name(item.name): cursor_of(item.items)
            for item in statuses
            if isinstance(item, responses.MailboxStatus)
        }
        infos = {name: _with_cursor(info, cursors) for name, info in found.items()}
        return MailboxList(infos, answer.complete, problems)

    def _status_items(self) -> tuple[str, ...]:
        """What to ask for: without modification sequences no cursor can be had, and nothing is asked."""
        return STATUS_ITEMS if self.session.has("CONDSTORE") else ()

    def _read_items(
        self, namespace: Namespace, items: Iterable[responses.ListItem]
    ) -> tuple[dict[MailboxName, MailboxInfo], dict[str, str]]:
        found: dict[MailboxName, MailboxInfo] = {}
        problems: dict[str, str] = {}
        for item in items:
            if item.attributes & UNUSABLE:
                continue
            spelling = self.session.decode_name(item.name)
            try:
                name = namespace.parse(spelling, item.separator)
            except NameProblem as problem:
                problems[spelling] = str(problem)
                continue
            if name is None:
                continue
            if name in found and found[name].spelling != spelling:
                problems[spelling] = f"has the same name as {found[name].spelling}"
                continue
            found[name] = MailboxInfo(name, None, spelling, _special_use(item.attributes))
        return found, problems

    async def _ask_cursors(
        self, found: Mapping[MailboxName, MailboxInfo], status_items: tuple[str, ...]
    ) -> list[Taken]:
        """One STATUS for each mailbox, pipelined, where LIST cannot do it."""
        if not status_items:
            return []
        asked = [c.StatusOf(info.spelling, status_items) for info in found.values()]
        answers = await self._run_all(asked)
        return [response for answer in answers if answer.ok for response in answer.responses]

    async def create(self, name: MailboxName) -> None:
        """CREATE and SUBSCRIBE; what exists already is no error (RFC 5530, ALREADYEXISTS)."""
        refusal = await self._create(await self.spell(name))
        namespace = await self._know_namespace()
        guess = namespace.guess_prefix()
        if refusal and guess is not None:
            # Without NAMESPACE nobody says that all names begin with INBOX: the refusal does.
            self._namespace = guess
            refusal = await self._create(await self.spell(name))
            if refusal:
                self._namespace = namespace
        if refusal and name not in (await self.mailboxes()).mailboxes:
            raise MailboxError(f"{self.address} refused to create {name}: {refusal}")

    async def _create(self, spelling: str) -> str:
        """Creates and subscribes; returns the server's refusal, or nothing."""
        created, _subscribed = await self._run_all([c.Create(spelling), c.Subscribe(spelling)])
        return "" if created.ok else created.text or "no reason given"

    async def remove_mailbox(self, name: MailboxName) -> None:
        """DELETE: the mailbox and its mail, not its children; some servers refuse while there are any."""
        try:
            await self._leave()
            await self.session.run(c.Delete(await self.spell(name)))
        except CommandRefusedError as error:
            raise MailboxError(error.message) from error

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[Mailbox]:
        """SELECT. Another SELECT ends it: nothing is ever expunged by leaving."""
        mailbox = ImapMailbox(self, name, await self.spell(name))
        await mailbox.select()
        yield mailbox

    async def _leave(self) -> None:
        """Leaves the selected mailbox without expunging; where UNSELECT is missing, for INBOX read-only."""
        if self.session.state.selected is not None:
            leaving = c.Unselect() if self.session.has("UNSELECT") else c.Examine("INBOX")
            await self.session.run(leaving)

    async def spell(self, name: MailboxName) -> str:
        """How the server spells `name`. Raises MailboxError when it cannot."""
        try:
            return (await self._know_namespace()).spell(name)
        except NameProblem as problem:
            raise MailboxError(f"{self.address} cannot hold a mailbox called {name}: {problem}") from None

    async def _know_namespace(self) -> Namespace:
        """Asked for once: the separator, and where NAMESPACE is missing what the names look like."""
        if self._namespace is None:
            namespaces = self.session.state.namespaces
            answer = await self.session.run(c.List(patterns=("*" if namespaces is None else "",)))
            self._namespace = Namespace.of(namespaces, list_items(answer))
        return self._namespace

    async def _run_all(self, commands: Sequence[c.Command]) -> list[Result]:
        """The answers to pipelined commands; raises UnreachableError when one got none."""
        results = await self.session.run_all(commands)
        for result in results:
            if result.lost is not None:
                raise result.lost
        return results


class ImapMailbox(Mailbox):
    """A selected mailbox."""

    def __init__(self, store: ImapStore, name: MailboxName, spelling: str) -> None:
        self.name = name
        self.spelling = spelling
        self.store = store
        self.validity = 0
        self.floor = 1
        self._fresh = False

    async def select(self) -> None:
        """Selects the mailbox, or selects it anew so that everything new is visible."""
        condstore = self.store.session.has("CONDSTORE")
        try:
            await self.store.session.run(c.Select(self.spelling, condstore=condstore))
        except CommandRefusedError as error:
            raise MailboxError(error.message, hint=error.hint) from error
        await self._pay_marks()
        self._fresh = True

    # --- looking -----------------------------------------------------------------------------------------------------

    async def observe(self) -> Observation:
        """SELECT and `UID FETCH 1:* (FLAGS)`; the cursor is that of the SELECT, so it is older than the listing."""
        if not self._fresh:
            await self.select()
        self._fresh = False
        selected = self.store.session.state.selected
        assert selected is not None
        cursor = cursor_of(
            {
                "UIDVALIDITY": selected.uid_validity or 0,
                "UIDNEXT": selected.uid_next or 0,
                "MESSAGES": selected.exists,
                "HIGHESTMODSEQ": selected.highest_modseq or 0,
            }
        )
        self.validity = selected.uid_validity or 0
        flags, complete = await self._list_flags()
        self.floor = max(selected.uid_next or 1, max(flags, default=0) + 1)
        listing = Listing(
            flags=cast(dict[Ref, Flags], flags),
            validity=str(self.validity),
            coverage=None if complete else UidSet(),
            uid_next=self.floor,
            vocabulary=vocabulary_of(selected.permanent_flags),
        )
        return Observation(listing, cursor if complete else None)

    async def _list_flags(self) -> tuple[dict[int, Flags], bool]:
        """All UIDs and flags, and whether that is certainly all; a short answer gets a second chance (R9)."""
        flags: dict[int, Flags] = {}
        for _attempt in range(2):
            selected = self.store.session.state.selected
            assert selected is not None
            if selected.exists == 0:
                return {}, True
            answer = await self.store.session.run(c.Fetch(OpenRange(1), ("UID", "FLAGS")))
            flags = {
                item.uid: make_flags(item.flags)
                for item in answer.responses
                if isinstance(item, responses.Fetch) and item.uid is not None and item.flags is not None
            }
            if answer.complete and len(flags) == selected.exists:
                return flags, True
            await self.store.session.run(c.Noop())
        return flags, False

    async def identify(self, refs: Sequence[Ref]) -> dict[Ref, Identity]:
        """Header fields and sizes; whole bodies only of messages without a Message-ID, digested as they come."""
        headers: dict[int, tuple[bytes, int]] = {}
        async for uids in self._in_portions(refs, headers):
            answer = await self._fetch_some(uids, ("UID", "RFC822.SIZE", f"BODY.PEEK[{IDENTITY_SECTION}]"))
            _read_headers(answer, uids, headers)
        found: dict[Ref, Identity] = {}
        nameless: list[Ref] = []
        for uid, (header, size) in sorted(headers.items()):
            identity = identity_of(header, size, None)
            if identity is None:
                nameless.append(uid)
            else:
                found[uid] = identity
        async for message in self.fetch(nameless, DigestSpool):
            if message.error is None:
                found[message.ref] = message.spool.identity()
        return found

    async def _in_portions(self, refs: Iterable[Ref], answered: Container[Ref]) -> AsyncIterator[UidSet]:
        """Sets of UIDs to ask for: all at once, and what was not answered though it is there in ever smaller ones.

        A server that says NO because of one message, or OK and less than it was asked for, must not hide the others.
        """
        missing = set(refs)
        for portion in PORTIONS:
            for uids in portions(missing, portion):
                yield uids
            missing = {ref for ref in missing if ref not in answered}
            if not missing:
                return
            missing &= await self._present(missing)

    async def _present(self, refs: set[Ref]) -> set[Ref]:
        """Those of `refs` that the server lists."""
        present: set[Ref] = set()
        for uids in uid_set(refs).split(SET_BYTES_MAX):
            answer = await self._fetch_some(uids, ("UID", "FLAGS"))
            present.update(
                i.uid for i in answer.responses if isinstance(i, responses.Fetch) and i.uid is not None
            )
        return present

    async def _fetch_some(self, uids: UidSet, attributes: tuple[str, ...]) -> Result:
        """A FETCH that may be refused. Raises UnreachableError when the connection is lost."""
        (result,) = await self.store.session.run_all([c.Fetch(uids, attributes)])
        if result.lost is not None:
            raise result.lost
        return result

    # --- bodies ------------------------------------------------------------------------------------------------------

    async def fetch(self, refs: Sequence[Ref], spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """`BODY.PEEK[]` of many messages per command, each body into its spool as it comes (rule R13)."""
        done: set[Ref] = set()
        failed: dict[Ref, Message] = {}
        async for uids in self._in_portions(refs, done):
            async with aclosing(self._stream(uids, spool)) as messages:
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

    async def _stream(self, uids: UidSet, spool: Callable[[], Spool]) -> AsyncGenerator[Message, None]:
        """The answer to one FETCH of bodies, refused or not, put together message by message."""
        gathered = _Gathered(spool)
        command = c.Fetch(uids, ("UID", "FLAGS", "INTERNALDATE", "BODY.PEEK[]"))
        try:
            async with aclosing(self.store.session.stream(command)) as answers:
                async for item in answers:
                    message = gathered.take(item)
                    if message is not None and message.ref in uids:
                        yield message
                    elif message is not None:
                        message.spool.discard()
            for message in gathered.rest():
                yield message
        finally:
            gathered.discard()

    def delivery(self) -> Delivery:
        """A batch of APPENDs."""
        return ImapDelivery(self)

    # --- changing ----------------------------------------------------------------------------------------------------

    async def store_flags(self, changes: Sequence[FlagChange]) -> None:
        """`UID STORE +FLAGS.SILENT` and `-FLAGS.SILENT`, grouped and pipelined."""
        commands: list[c.Command] = []
        for change in changes:
            for uids in uid_set(change.refs).split(SET_BYTES_MAX):
                if change.add:
                    commands.append(c.Store(uids, "+", change.add))
                if change.remove:
                    commands.append(c.Store(uids, "-", change.remove))
        await self._all_ok(commands, "change flags")

    async def remove(self, refs: Sequence[Ref]) -> None:
        """`\\Deleted` and UID EXPUNGE; without UIDPLUS an EXPUNGE from which all other messages are kept safe."""
        mine = uid_set(refs)
        if self.store.session.has("UIDPLUS"):
            commands: list[c.Command] = []
            for uids in mine.split(SET_BYTES_MAX):
                commands += [_mark(uids, "+"), c.UidExpunge(uids)]
            await self._all_ok(commands, "remove messages")
        else:
            await self._expunge_alone(mine)

    async def _expunge_alone(self, mine: UidSet) -> None:
        """EXPUNGE takes everything marked \\Deleted: what others marked is unmarked meanwhile, and marked again.

        When the connection is lost in between, that is made good at the next SELECT. (A power cut there costs those
        marks, and no message.)
        """
        answer = await self.store.session.run(c.Search(("DELETED",)))
        marked = UidSet.of(
            uid for item in answer.responses if isinstance(item, responses.Search) for uid in item.numbers
        )
        others = marked - mine
        self.store.owed_marks[self.name] = others
        await self._all_ok(
            [_mark(uids, "-") for uids in others.split(SET_BYTES_MAX)], "unmark messages of others"
        )
        marks = [_mark(uids, "+") for uids in mine.split(SET_BYTES_MAX)]
        try:
            await self._all_ok([*marks, c.Expunge()], "remove messages")
        finally:
            if self.store.session.is_open:
                await self._pay_marks()

    async def _pay_marks(self) -> None:
        owed = self.store.owed_marks.get(self.name, UidSet())
        await self._all_ok(
            [_mark(uids, "+") for uids in owed.split(SET_BYTES_MAX)], "mark messages of others again"
        )
        self.store.owed_marks.pop(self.name, None)

    async def _all_ok(self, commands: Sequence[c.Command], what: str) -> None:
        results = await self.store.session.run_all(commands)
        for result in results:
            if result.lost is not None:
                raise result.lost
        for result in results:
            if not result.ok:
                raise MailboxError(
                    f"{self.store.address} refused to {what} in {self.spelling}: {result.text}"
                )


class ImapDelivery(Delivery):
    """Messages on their way into a mailbox by APPEND, held in spools until then."""

    def __init__(self, mailbox: ImapMailbox) -> None:
        self._mailbox = mailbox
        self._spools: list[Spool] = []
        self._staged: list[tuple[Message, Flags]] = []
        self._size_max = append_limit(mailbox.store.session.state.capabilities)

    def spool(self) -> Spool:
        """In memory up to 1 MiB, then on disk: an announced literal cannot be taken back."""
        spool = Spool()
        self._spools.append(spool)
        return spool

    def stage(self, message: Message, flags: Flags) -> Target:
        """Checks the server's size limit (RFC 7889) before anything is uploaded."""
        if self._size_max is not None and message.spool.size > self._size_max:
            raise MessageError(
                f"the message has {message.spool.size} bytes; the server takes {self._size_max} at most"
            )
        self._staged.append((message, flags))
        return Target(ref=None, floor=self._mailbox.floor, identity=message.spool.identity())

    async def commit(self) -> list[Outcome]:
        """APPENDs, pipelined as far as the server's literals allow; the UID is taken from the answer (rule R4)."""
        commands: list[c.Command] = [
            c.Append(self._mailbox.spelling, message.spool.chunks(), message.spool.size, flags, message.date)
            for message, flags in self._staged
        ]
        try:
            # Some servers show what was stored only after a NOOP, also to UID FETCH.
            results = await self._mailbox.store.session.run_all([*commands, c.Noop()])
        finally:
            await self.abort()
        return [self._outcome(result) for result in results[:-1]]

    def _outcome(self, result: Result) -> Outcome:
        if result.lost is not None:
            return Unknown(finished=not result.sent, accepted=False)
        if not result.ok:
            # By the RFC nothing was stored. A server that says NO after it stored exists: the next listing tells.
            return Unknown(finished=True, accepted=False, error=_refusal(result))
        code = result.code
        if code is None or code.name != "APPENDUID" or len(code.args) != 2:
            return Unknown(finished=True, accepted=True)
        validity, uids = cast(tuple[int, UidSet], code.args)
        if len(uids) != 1 or validity != self._mailbox.validity:
            return Unknown(finished=True, accepted=True)
        uid = next(iter(uids))
        self._mailbox.floor = max(self._mailbox.floor, uid + 1)
        return Stored(uid)

    async def abort(self) -> None:
        """Lets the spools go."""
        for spool in self._spools:
            spool.discard()
        self._spools.clear()


@dataclass(slots=True)
class _Facts:
    """What is known of one message so far: it may come in several FETCH responses, in any order (rule R3)."""

    flags: Flags | None = None
    date: datetime | None = None
    body: Spool | None = None
    said: bool = False


class _Gathered:
    """Puts messages together from the responses to one FETCH; each body goes into a spool as it comes."""

    def __init__(self, new_spool: Callable[[], Spool]) -> None:
        self._new_spool = new_spool
        self._open: Spool | None = None
        self._facts: dict[int, _Facts] = {}

    def take(self, item: object) -> Message | None:
        """The message that `item` completes, if it does."""
        match item:
            case LiteralStart():
                self._drop_open()
                self._open = self._new_spool()
            case LiteralChunk(data):
                if self._open is not None:
                    self._open.write(data)
            case responses.Fetch(uid=int(uid)):
                return self._take_fetch(uid, item)
            case responses.Fetch():
                self._drop_open()
        return None

    def _take_fetch(self, uid: int, item: responses.Fetch) -> Message | None:
        facts = self._facts.setdefault(uid, _Facts())
        if item.flags is not None:
            facts.flags = make_flags(item.flags)
        facts.date = item.internal_date or facts.date
        if "" in item.bodies:
            facts.said = True
            self._take_body(facts, item.bodies[""])
        if facts.body is None or facts.flags is None or facts.date is None:
            return None
        return self._message(uid)

    def _take_body(self, facts: _Facts, body: responses.BodyValue) -> None:
        if isinstance(body, bytes):
            self._drop_open()
            self._open = self._new_spool()
            if body:
                self._open.write(body)
        spool, self._open = self._open, None
        if spool is not None:
            if facts.body is not None:
                facts.body.discard()
            facts.body = spool

    def rest(self) -> Iterator[Message]:
        """The messages of which something is missing and nothing more will come; NIL for a body is an error."""
        for uid in [uid for uid, facts in self._facts.items() if facts.said]:
            yield self._message(uid)

    def _message(self, uid: int) -> Message:
        facts = self._facts.pop(uid)
        error = None
        if facts.body is None:
            error = MessageError("the server answers NIL instead of the message")
        body = facts.body or self._new_spool()
        date = facts.date or _date_in(body.header)
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


def cursor_of(items: Mapping[str, int | bytes]) -> str | None:
    """The same text for the same contents, from STATUS or from SELECT; None without modification sequences.

    A HIGHESTMODSEQ of 0 is NOMODSEQ (RFC 7162, section 3.1.2.2), a negative one nonsense that servers send.
    """
    values = [items.get(name) for name in ("UIDVALIDITY", "UIDNEXT", "MESSAGES", "HIGHESTMODSEQ")]
    if not all(isinstance(value, int) for value in values) or not all(
        cast(int, v) > 0 for v in (values[0], values[3])
    ):
        return None
    return ":".join(map(str, values))


def _with_cursor(info: MailboxInfo, cursors: Mapping[str, str | None]) -> MailboxInfo:
    return MailboxInfo(info.name, cursors.get(info.spelling), info.spelling, info.special_use)


def portions(refs: Iterable[Ref], size: int) -> Iterator[UidSet]:
    """The UIDs in sets of `size` at most, each short enough for one command."""
    uids = sorted(cast(Iterable[int], refs))
    for at in range(0, len(uids), size):
        yield from UidSet.of(uids[at : at + size]).split(SET_BYTES_MAX)


def _read_headers(answer: Result, uids: UidSet, headers: dict[int, tuple[bytes, int]]) -> None:
    """Adds header and size of each message of which the answer tells both, be it in several responses (rule R3)."""
    sizes: dict[int, int] = {}
    fields: dict[int, bytes] = {}
    for item in answer.responses:
        if isinstance(item, responses.Fetch) and item.uid is not None and item.uid in uids:
            fields.update((item.uid, body) for body in item.bodies.values() if isinstance(body, bytes))
            if item.size is not None:
                sizes[item.uid] = item.size
    headers.update((uid, (header, sizes[uid])) for uid, header in fields.items() if uid in sizes)


def list_items(answer: Result) -> list[responses.ListItem]:
    """The mailboxes of a LIST answer."""
    return [item for item in answer.responses if isinstance(item, responses.ListItem)]


def vocabulary_of(permanent_flags: Iterable[str] | None) -> Vocabulary:
    """What the selected mailbox keeps (RFC 9051, section 7.1: without PERMANENTFLAGS, everything)."""
    if permanent_flags is None:
        return Vocabulary()
    names = list(permanent_flags)
    return Vocabulary(make_flags(names), "\\*" in names)


def append_limit(capabilities: Iterable[str]) -> int | None:
    """The largest message the server takes in bytes, from APPENDLIMIT=n (RFC 7889)."""
    for name in capabilities:
        key, _, value = name.partition("=")
        if key == "APPENDLIMIT" and value.isdigit():
            return int(value)
    return None


def uid_set(refs: Iterable[Ref]) -> UidSet:
    """Refs of an IMAP mailbox as a set of UIDs."""
    return UidSet.of(cast(Iterable[int], refs))


def _mark(uids: UidSet, sign: Literal["+", "-"]) -> c.Command:
    return c.Store(uids, sign, make_flags((DELETED,)))


def _special_use(attributes: frozenset[str]) -> str:
    uses = ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
    return next((use for use in uses if use.lower() in attributes), "")


def _refusal(result: Result) -> MailtwinError:
    return MessageError(f"the server refused the message: {result.text}")


def _date_in(header: bytes) -> datetime:
    """The Date field, for a message whose arrival date the server cannot tell."""
    try:
        date = parsedate_to_datetime(header_fields(header)["date"].decode("ascii", "replace"))
    except ValueError:
        return EPOCH
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
