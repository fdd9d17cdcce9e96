"""An IMAP account as a store (RFC 3501, RFC 9051, and what extensions the server has).

The base protocol is always enough: extensions make it quicker. Nothing here decides what is done: see
`mailtwin.engine`. Read next: `imap_names`, `imap_mailbox`, then `mailtwin.client.session`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

from mailtwin.client import Credentials, Place, Result, Session
from mailtwin.errors import CommandRefusedError, MailboxError, ThrottledError, UnreachableError
from mailtwin.imap import LiteralChunk, LiteralStart, responses
from mailtwin.imap import commands as c
from mailtwin.imap.commands import Taken
from mailtwin.model import MailboxName, UidSet
from mailtwin.model.limits import MAILBOXES_MAX
from mailtwin.model.traffic import NO_LIMITS, NO_TRAFFIC, DailyLimits, Traffic
from mailtwin.stores.base import Mailbox, MailboxInfo, MailboxList, Numbering, Store
from mailtwin.stores.imap_changes import CURSOR_ITEMS, Cursor
from mailtwin.stores.imap_delivery import append_limit
from mailtwin.stores.imap_mailbox import ImapMailbox
from mailtwin.stores.imap_names import NameProblem, Namespace
from mailtwin.stores.imap_within import id_attribute, merges
from mailtwin.stores.providers import limits_of

LIST_RESPONSES_MAX = 2 * MAILBOXES_MAX
"""Each mailbox is listed, and its status told in the same answer."""

STANDARD_PORTS = frozenset({0, 143, 993})
"""Those of IMAP, and that of a tunnel."""

UNUSABLE = frozenset({"\\noselect", "\\nonexistent"})


class ImapStore(Store):
    """One account. `credentials` is called at each login, so that a token can be renewed. `daily_limits`: what a
    person said that it may use in a day.
    """

    def __init__(
        self,
        endpoint: Place,
        credentials: Callable[[], Credentials],
        user: str,
        daily_limits: DailyLimits = NO_LIMITS,
    ) -> None:
        # An account is the same one, and so is its state, when it is reached through a tunnel.
        scheme = "imaps" if endpoint.security in ("tls", "tunnel") else "imap"
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.address = f"{scheme}://{quote(user, safe='')}@{host}:{endpoint.port or 993}/"
        self.owner = user
        # However it is reached, a provider counts for the account; another port may be another server altogether.
        self.account = f"{user}@{host}" + ("" if endpoint.port in STANDARD_PORTS else f":{endpoint.port}")
        self.daily_limits = daily_limits
        self._ended = NO_TRAFFIC
        self._is_refused_for_now = False
        self._endpoint = endpoint
        self._credentials = credentials
        self._session: Session | None = None
        self._namespace: Namespace | None = None
        self.owed_marks: dict[MailboxName, tuple[int, UidSet]] = {}

    @property
    def session(self) -> Session:
        """The open session. Raises UnreachableError before `connect` and after a loss."""
        if self._session is None:
            raise UnreachableError(f"{self.address} is not connected")
        return self._session

    async def connect(self, *, create: bool) -> None:  # noqa: ARG002 - a Maildir's
        """Logs in. `create` means nothing here: an account exists or not."""
        assert self._session is None
        self._is_refused_for_now = False
        try:
            self._session = await Session.open(self._endpoint, self._credentials())
        except ThrottledError:
            self._is_refused_for_now = True
            raise
        self._namespace = None

    async def reconnect(self) -> None:
        """Ends the old connection at once and logs in anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.abort()
            self._ended += session.traffic
        await self.connect(create=False)

    async def close(self) -> None:
        """LOGOUT, briefly."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            self._ended += session.traffic

    def traffic(self) -> Traffic:
        """The bytes of all sessions, as they went over the connections. A login that failed is not counted."""
        return self._ended if self._session is None else self._ended + self._session.traffic

    @property
    def is_throttled(self) -> bool:
        """In the session, or instead of one."""
        return self._is_refused_for_now or (self._session is not None and self._session.is_throttled)

    def known_limits(self) -> DailyLimits:
        """By what the server announces."""
        return limits_of(self.session.state.capabilities)

    copies_within = True

    @property
    def merges(self) -> bool:
        """Where there is X-GM-EXT-1."""
        return merges(self.session)

    @property
    def has_email_ids(self) -> bool:
        """Where there is X-GM-EXT-1 or OBJECTID."""
        return id_attribute(self.session) is not None

    def limits(self) -> str:
        """The largest message (RFC 7889), where the server tells it for all mailboxes."""
        size_max = append_limit(self.session.state.capabilities)
        return "" if size_max is None else f"APPENDLIMIT={size_max}"

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
        answer = await self._list_with_cursors(status_items)
        in_one = answer is not None
        answer = answer or await self._list(c.List())
        items = list_items(answer)
        if len(items) > MAILBOXES_MAX:
            raise _too_many(self.address)
        self._namespace = Namespace.of(session.state.namespaces, items)
        found, problems = self._read_items(self._namespace, items)
        statuses = answer.responses if in_one else await self._ask_cursors(found, status_items)
        cursors = {
            session.decode_name(item.name): str(cursor)
            for item in statuses
            if isinstance(item, responses.MailboxStatus) and (cursor := Cursor.of(item.items)) is not None
        }
        infos = {name: _with_cursor(info, cursors) for name, info in found.items()}
        return MailboxList(infos, answer.complete, problems)

    async def _list_with_cursors(self, status_items: tuple[str, ...]) -> Result | None:
        """LIST with the STATUS of all mailboxes; None where the server cannot, says so or answers with nothing.

        An account always has an INBOX: an OK without a single mailbox is an answer of a server that did not
        understand.
        """
        if not status_items or not self.session.has("LIST-STATUS"):
            return None
        try:
            answer = await self._list(c.List(status=status_items))
        except CommandRefusedError:
            return None
        return answer if list_items(answer) else None

    async def _list(self, command: c.List) -> Result:
        """The answer to LIST, held no longer than it has to be: a server may list without an end.

        Raises as `Session.run`, and MailboxError for more mailboxes than anybody has.
        """
        taken: list[Taken] = []
        unheld: tuple[str, ...] = ()
        async with aclosing(self.session.stream(command)) as answers:
            async for item in answers:
                if isinstance(item, Result):
                    error = item.error(self.session.endpoint.host)
                    if error is not None:
                        raise error
                    return replace(item, responses=tuple(taken), incomplete=(*item.incomplete, *unheld))
                if isinstance(item, LiteralStart | LiteralChunk):
                    unheld = ("a literal was too large to be held",)
                    continue
                taken.append(item)
                if len(taken) > LIST_RESPONSES_MAX:
                    raise _too_many(self.address)
        raise AssertionError("a stream ends with its result")

    def _status_items(self) -> tuple[str, ...]:
        """What to ask for: without modification sequences no cursor can be had, and nothing is asked."""
        return CURSOR_ITEMS if self.session.has("CONDSTORE") else ()

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

    async def numbering(self, name: MailboxName) -> Numbering | None:
        """One STATUS; None when the server refuses it."""
        (answer,) = await self._run_all([c.StatusOf(await self.spell(name), ("UIDVALIDITY", "UIDNEXT"))])
        for response in answer.responses if answer.ok else ():
            if isinstance(response, responses.MailboxStatus):
                validity, uid_next = (response.items.get(item) for item in ("UIDVALIDITY", "UIDNEXT"))
                if isinstance(validity, int) and isinstance(uid_next, int):
                    return Numbering(validity, uid_next)
        return None

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
            answer = await self._list(c.List(patterns=("*" if namespaces is None else "",)))
            self._namespace = Namespace.of(namespaces, list_items(answer))
        return self._namespace

    async def _run_all(self, commands: Sequence[c.Command]) -> list[Result]:
        """The answers to pipelined commands; raises UnreachableError when one got none."""
        results = await self.session.run_all(commands)
        for result in results:
            if result.lost is not None:
                raise result.lost
        return results


def _with_cursor(info: MailboxInfo, cursors: Mapping[str, str]) -> MailboxInfo:
    return MailboxInfo(info.name, cursors.get(info.spelling), info.spelling, info.special_use)


def _too_many(address: str) -> MailboxError:
    return MailboxError(f"{address} lists more than {MAILBOXES_MAX} mailboxes")


def list_items(answer: Result) -> list[responses.ListItem]:
    """The mailboxes of a LIST answer."""
    return [item for item in answer.responses if isinstance(item, responses.ListItem)]


def _special_use(attributes: frozenset[str]) -> str:
    uses = (
        "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent", "\\Trash",
    )  # fmt: skip
    return next((use for use in uses if use.lower() in attributes), "")
