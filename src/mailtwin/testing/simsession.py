"""One connection to a simulated server: its state, how a command is read and answered, and what is told in between.

The commands themselves are functions `(session, arguments) -> Reply` in `simlogin`, `simmailboxes`, `simmessages` and
their neighbours; `simserver` puts them into one table. The answer to a command is kept until its tagged reply is known
(long ones excepted), so that a fault can take it back.
"""

from __future__ import annotations

import inspect
import random
import re
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from mailtwin.testing.manners import Manners
from mailtwin.testing.simfaults import Fault, FaultList, When
from mailtwin.testing.simlimits import Judgement, Meter
from mailtwin.testing.simmail import SimAccount, SimMail, SimMailbox
from mailtwin.testing.simnames import Names
from mailtwin.testing.simparse import BadCommand, Cursor, SeqSet, format_set
from mailtwin.testing.simview import View
from mailtwin.testing.simwire import Disconnected, LineTooLong, Wire

__all__ = ["Command", "HangUp", "Needs", "Refused", "Reply", "Session", "Setting"]

_LITERAL_AT_END = re.compile(rb"\{([0-9]{1,20})(\+?)\}\Z")
_LITERAL_MINUS_LIMIT = 4096
_HOPELESS_LITERAL = 1 << 30
_TRANSCRIPT_LINES = 100_000


class Refused(Exception):
    """The command is well-formed and cannot be done: the tagged reply is NO."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class HangUp(Exception):
    """The server ends the connection with a BYE of this text, and without a tagged reply."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Reply:
    """A tagged reply."""

    text: str
    code: str | None = None
    status: str = "OK"


class Needs(Enum):
    """The state that a command needs."""

    ANYTHING = "any state"
    NOT_AUTHENTICATED = "a connection that is not yet authenticated"
    AUTHENTICATED = "authentication"
    SELECTED = "a selected mailbox"


Handler = Callable[["Session", Cursor], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table of commands."""

    handler: Handler
    needs: Needs
    extension: str | None = None
    may_expunge: bool = True
    """EXPUNGE responses may come with the answer: not where sequence numbers are in use (RFC 3501 section 7.4.1)."""
    asks_for_news: bool = False
    """Makes new mail visible also where `Manners.hides_new_mail`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sessions of a server share."""

    mail: SimMail
    manners: Manners
    faults: FaultList
    meter: Meter
    commands: Mapping[str, Command]
    starttls: ssl.SSLContext | None = None
    counts: Counter[str] = field(default_factory=Counter)
    transcript: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_TRANSCRIPT_LINES))


class Session:
    """One connection. `number` counts the server's connections from 1."""

    def __init__(self, setting: Setting, wire: Wire, number: int, *, secure: bool) -> None:
        self.setting = setting
        self.manners = setting.manners
        self.names = Names(setting.manners.separator, setting.manners.prefix)
        self.wire = wire
        self.number = number
        self.secure = secure
        self.account: SimAccount | None = None
        self.user = ""
        self.by_token = False
        """The login was one with an OAuth token."""
        self._since = setting.meter.now()
        self._errors = 0
        self.view: View | None = None
        self.condstore = False
        self.qresync = False
        """ENABLE QRESYNC was given: VANISHED takes the place of EXPUNGE (RFC 7162 section 3.2.10)."""
        self.ended = False
        self.wants_tls = False
        """STARTTLS was accepted; TLS begins when its tagged OK is out."""
        self.tag = "*"
        self.on_change: Callable[[], None] = _nothing
        """Called at each change of the selected mailbox; IDLE sets it."""
        self._answers_left: int | None = None
        seed = setting.manners.chatter_seed
        self._random = None if seed is None else random.Random(f"{seed}/{number}")

    # --- The life of a connection ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Greet, then read and answer until the client leaves."""
        try:
            code = self.capability_line() if self.manners.greeting_capabilities else None
            self._send_status("*", Reply(self.manners.greeting, code))
            await self.wire.flush()
            while not self.ended:
                raw = await self._read_command()
                if raw is not None:
                    await self._answer_command(raw)
                await self.wire.flush()
                await self._start_tls_if_asked()
        except LineTooLong:
            self.bye("Command line too long")
            await self.wire.flush()
        except HangUp as end:
            self.wire.hold = False
            self.bye(end.text)
            await self.wire.flush()
        except Disconnected:
            pass  # the client left, or a fault said so
        finally:
            self.leave_mailbox()
            if self.account is not None:
                self.setting.meter.connections[self.user] -= 1

    def logged_in(self, user: str, *, by_token: bool) -> None:
        """From here on the connection is this user's."""
        self.account, self.user, self.by_token = self.setting.mail.accounts[user], user, by_token
        self._since = self.setting.meter.now()
        self.setting.meter.connections[user] += 1

    def bye(self, text: str) -> None:
        """Say why the connection ends, and end it after this."""
        self.wire.send(b"* BYE " + text.encode("ascii") + b"\r\n")
        self.ended = True

    async def _start_tls_if_asked(self) -> None:
        if self.wants_tls and self.setting.starttls is not None:
            self.wants_tls = False
            await self.wire.start_tls(self.setting.starttls)
            self.secure = True

    # --- Reading ---------------------------------------------------------------------------------------------------

    async def _read_command(self) -> bytes | None:
        """A command with its literals in place, or None when it was refused at a literal."""
        data = bytearray()
        shown: list[bytes] = []
        refusal: Reply | None = None
        budget = self.manners.command_limit
        while True:
            line = await self.wire.line()
            data += line
            shown.append(line)
            match = _LITERAL_AT_END.search(line)
            budget -= len(line)
            if budget < 0:
                raise LineTooLong
            if match is None:
                break
            size, non_sync = int(match[1]), bool(match[2])
            refusal = refusal or self._judge_literal(bytes(data), size, non_sync)
            if not non_sync:
                if refusal:
                    break
                self.continuation("Go ahead")
                await self.wire.flush()
            data += b"\r\n" + await self._read_literal(size, wanted=refusal is None)
            if not self._is_append(data):
                budget -= size
        self.setting.transcript.append((self.number, b" ".join(shown).rstrip()))
        if refusal is None:
            return bytes(data)
        self._refuse_unread(bytes(data), refusal)
        return None

    async def _read_literal(self, size: int, *, wanted: bool) -> bytes:
        if wanted:
            return await self.wire.exactly(size)
        if size > _HOPELESS_LITERAL:
            raise LineTooLong
        await self.wire.discard(size)
        return b""

    def _judge_literal(self, text: bytes, size: int, non_sync: bool) -> Reply | None:
        """The refusal to give instead of taking this literal, if there is a reason for one."""
        if non_sync and not self.manners.has("LITERAL+"):
            if not self.manners.has("LITERAL-"):
                return Reply("Non-synchronizing literals are not supported", status="BAD")
            if size > _LITERAL_MINUS_LIMIT:
                return Reply("Non-synchronizing literal too large", status="BAD")
        limit = self.manners.command_limit
        if self._is_append(text):
            limit = self.manners.append_limit or self.manners.literal_limit
            if not non_sync and not self._append_target_exists(text):
                return Reply("No such mailbox", "TRYCREATE", "NO")
        if size > limit:
            if self.manners.appends_with_bad:
                return Reply("Command Argument Error. 11", status="BAD")
            return Reply("Literal too large", "TOOBIG", "NO")
        return None

    def _is_append(self, text: bytes | bytearray) -> bool:
        """Whether large literals are allowed in the command that begins so."""
        return self.account is not None and bytes(text[:200]).upper().split(b" ")[1:2] == [b"APPEND"]

    def _append_target_exists(self, text: bytes) -> bool:
        """Whether an APPEND read up to its literal names a mailbox of ours; True when that cannot be told yet."""
        cursor = Cursor(text)
        try:
            cursor.tag()
            cursor.sp()
            cursor.word()
            cursor.sp()
            raw = cursor.astring()
        except BadCommand:
            return True
        try:
            return self.require_account().get(self.names.from_wire(raw)) is not None
        except ValueError:
            return False

    def _refuse_unread(self, data: bytes, refusal: Reply) -> None:
        try:
            tag = Cursor(data).tag()
        except BadCommand:
            tag = "*"
        self._status(tag, refusal)

    # --- Answering -------------------------------------------------------------------------------------------------

    async def _answer_command(self, raw: bytes) -> None:
        cursor = Cursor(raw, raw_atoms=self.manners.raw_atoms)
        try:
            self.tag = cursor.tag()
        except BadCommand as bad:
            self._status("*", self._bad(bad))
            return
        try:
            cursor.sp()
            name = cursor.word()
            if name == "UID":
                cursor.sp()
                name = "UID " + cursor.word()
            command = self._allowed(name)
        except BadCommand as bad:
            self._status(self.tag, self._bad(bad))
            return
        if self.view is not None and self.view.is_stale:
            self.bye("The selected mailbox is gone")
            return
        judgement = self._judge(command)
        if judgement is not None and not judgement.throttled:
            self._refuse(judgement)
            return
        fault = self.setting.faults.next(name)
        sent = self.wire.sent
        await self._execute(name, command, cursor, fault, judgement)
        await self.wire.flush()
        if self.account is not None:
            self.setting.meter.sent(self.user, self.wire.sent - sent)

    def _judge(self, command: Command) -> Judgement | None:
        """What the limits of the service have against a command."""
        most = self.setting.meter.limits.pipeline_limit
        if most is not None and self.wire.waiting_lines >= most:
            return Judgement("BAD", "Too many commands at once")
        if self.account is None or command.needs is Needs.ANYTHING:
            return None
        if self.manners.unconnected:
            return Judgement("BAD", "User is authenticated but not connected.")
        token_bye = self.setting.meter.limits.token_bye
        if self.by_token and token_bye is not None and not self.account.token_is_good:
            return Judgement("BYE", token_bye)
        return self.setting.meter.at_command(self.user, self._since)

    def _refuse(self, judgement: Judgement) -> None:
        if judgement.status == "BYE":
            raise HangUp(judgement.text)
        if judgement.status == "RAW":
            self.wire.send(judgement.text.encode("ascii") + b"\r\n")
            self.ended = True
            return
        self._status(self.tag, Reply(judgement.text, judgement.code, judgement.status))

    def _bad(self, bad: BadCommand) -> Reply:
        return Reply(self.manners.bad_text or str(bad), status="BAD")

    def _allowed(self, name: str) -> Command:
        command = self.setting.commands.get(name)
        if command is None or (command.extension and not self.manners.has(command.extension)):
            raise BadCommand(f"Unknown command {name}")
        held = {
            Needs.ANYTHING: True,
            Needs.NOT_AUTHENTICATED: self.account is None,
            Needs.AUTHENTICATED: self.account is not None,
            Needs.SELECTED: self.view is not None,
        }
        if not held[command.needs]:
            raise BadCommand(f"{name} needs {command.needs.value}")
        return command

    async def _execute(
        self, name: str, command: Command, cursor: Cursor, fault: Fault | None, pause: Judgement | None
    ) -> None:
        if fault is not None and fault.when is When.BEFORE:
            if fault.cuts:
                raise Disconnected
            self._status(self.tag, Reply(fault.text, fault.code, "NO"))
            return
        self.wire.hold = fault is not None and fault.cuts
        self._answers_left = fault.keep if fault is not None and fault.shortens else 1 if pause else None
        reply = await self._run_handler(command, cursor)
        self.setting.counts[name] += 1
        self._answers_left = None
        tells = command.asks_for_news and (name != "CHECK" or self.manners.check_tells)
        self.tell_changes(expunge=command.may_expunge, news=tells)
        if pause is not None and reply.status == "OK":
            reply = Reply(pause.text)
        if fault is not None and fault.refuses:
            reply = Reply(fault.text, fault.code, "NO")
        self._status(self.tag, reply)
        if fault is not None and fault.cuts:
            await self._cut(fault)

    async def _run_handler(self, command: Command, cursor: Cursor) -> Reply:
        try:
            answer = command.handler(self, cursor)
            return await answer if inspect.isawaitable(answer) else answer
        except BadCommand as bad:
            return self._bad(bad)
        except Refused as no:
            return Reply(no.text, no.code, "NO")

    async def _cut(self, fault: Fault) -> None:
        unsent = self.wire.take_unsent()
        self.wire.hold = False
        if fault.when is When.MID_REPLY:
            self.wire.send(unsent[: len(unsent) // 2])
            await self.wire.flush()
        raise Disconnected

    # --- What handlers say -----------------------------------------------------------------------------------------

    def untagged(self, line: bytes) -> None:
        """Send `* line`, chatter before it where the manners have it."""
        self._chatter()
        self.wire.send(b"* " + line + b"\r\n")

    def answer(self, line: bytes) -> None:
        """Send `* line` as a part of what the command asked for; a fault may leave it out."""
        if self._answers_left is not None:
            if not self._answers_left:
                return
            self._answers_left -= 1
        self.untagged(line)

    def answer_vanished(self, gone: list[int], among: SeqSet | None) -> None:
        """Send `VANISHED (EARLIER)` for those of the UIDs that were asked for; None: for all."""
        spans = None if among is None else among.spans(self.require_view().mailbox.uid_next - 1)
        told = [uid for uid in gone if spans is None or any(low <= uid <= high for low, high in spans)]
        if told:
            self.answer(f"VANISHED (EARLIER) {format_set(told)}".encode("ascii"))

    def untagged_ok(self, code: str, text: str) -> None:
        """Send an untagged OK with a response code."""
        self._status("*", Reply(text, code))

    def continuation(self, text: str) -> None:
        """Send a continuation request; it is flushed with the rest."""
        self._chatter()
        self.wire.send(b"+ " + text.encode("ascii") + b"\r\n")

    async def ask(self, text: str) -> None:
        """Send a continuation request now, also when a fault holds the answer."""
        self.continuation(text)
        held, self.wire.hold = self.wire.hold, False
        await self.wire.flush()
        self.wire.hold = held

    def _status(self, tag: str, reply: Reply) -> None:
        self._chatter()
        self._send_status(tag, reply)

    def _send_status(self, tag: str, reply: Reply) -> None:
        parts = [tag, reply.status]
        if reply.code:
            parts.append(f"[{reply.code}]")
        if not (reply.code and reply.status == "OK" and self.manners.textless_codes):
            parts.append(reply.text)
        self.wire.send(" ".join(parts).encode("utf-8") + b"\r\n")
        if reply.status == "BAD":
            self._errors += 1
            if self._errors == self.setting.meter.limits.error_limit:
                self.bye("Too many protocol errors. Connection is closed. 13")

    # --- State that handlers use -----------------------------------------------------------------------------------

    def capability_line(self) -> str:
        """`CAPABILITY ...` as true now."""
        names = ["IMAP4rev1", *self.manners.announced(authenticated=self.account is not None)]
        if self.account is None:
            if self.setting.starttls is not None and not self.secure:
                names.append("STARTTLS")
            if self.login_disabled:
                names.append("LOGINDISABLED")
            else:
                names.extend(f"AUTH={mechanism}" for mechanism in self.manners.mechanisms)
        return "CAPABILITY " + " ".join(names)

    @property
    def login_disabled(self) -> bool:
        """Passwords and tokens are not taken on this connection as it is."""
        return self.manners.login_needs_tls and not self.secure

    def require_account(self) -> SimAccount:
        """The account; the table of commands has made sure that there is one."""
        assert self.account is not None
        return self.account

    def require_view(self) -> View:
        """The selected mailbox; the table of commands has made sure that there is one."""
        assert self.view is not None
        return self.view

    def require_writable(self) -> View:
        """The selected mailbox, when it is not open for reading only."""
        view = self.require_view()
        if view.read_only:
            raise Refused("The mailbox is selected read-only", "READ-ONLY")
        return view

    def name_from(self, raw: bytes) -> str:
        """The store's name of a mailbox named by the client."""
        try:
            return self.names.from_wire(raw)
        except ValueError as bad:
            raise Refused(str(bad), "CANNOT") from bad

    def mailbox_from(self, raw: bytes, code: str = "NONEXISTENT") -> SimMailbox:
        """The existing mailbox that the client named."""
        mailbox = self.require_account().get(self.name_from(raw))
        if mailbox is None:
            raise Refused("No such mailbox", code)
        return mailbox

    def require(self, extension: str, what: str) -> None:
        """Refuse as unknown what the server cannot do."""
        if not self.manners.has(extension):
            raise BadCommand(f"Unknown argument {what}")

    def enable_condstore(self) -> None:
        """From the first use of CONDSTORE on, untagged FETCH responses have MODSEQ (RFC 7162 section 3.1)."""
        self.require("CONDSTORE", "MODSEQ")
        if not self.condstore:
            self.condstore = True
            if self.view is not None:
                self.untagged_ok(f"HIGHESTMODSEQ {self.view.mailbox.highest_modseq}", "Highest")

    def leave_mailbox(self) -> None:
        """Have no mailbox selected."""
        if self.view is not None:
            self.view.close()
            self.view = None

    def wake(self) -> None:
        """Something changed in the selected mailbox."""
        self.on_change()

    # --- Untagged responses nobody asked for -----------------------------------------------------------------------

    def tell_changes(self, *, expunge: bool, news: bool) -> None:
        """Tell what others, and this command, changed in the selected mailbox."""
        view = self.view
        if view is None:
            return
        if expunge and self.qresync:
            # Without chatter: the view has lost the messages before the client hears of it.
            gone = sorted(uid for _, uid in view.expunging())
            if gone:
                self.wire.send(f"* VANISHED {format_set(gone)}\r\n".encode("ascii"))
        elif expunge:
            for seq, _ in view.expunging():
                self.untagged(b"%d EXPUNGE" % seq)
        if (news or not self.manners.hides_new_mail) and view.take_added():
            self.untagged(b"%d EXISTS" % len(view.uids))
            self.untagged(b"%d RECENT" % len(view.recent))
        self.tell_keywords()
        for uid in view.take_reflagged():
            self.untagged(self.fetch_flags(uid))

    def tell_keywords(self) -> None:
        """Tell the mailbox's flags when they became more."""
        view = self.require_view()
        if view.keywords_told != len(view.mailbox.keywords):
            view.keywords_told = len(view.mailbox.keywords)
            self.untagged(b"FLAGS (" + " ".join(view.known_flags()).encode("ascii") + b")")
            self.untagged_ok(f"PERMANENTFLAGS ({' '.join(self.permanent_flags(view))})", "Flags permitted")

    def permanent_flags(self, view: View) -> list[str]:
        """What PERMANENTFLAGS lists for a mailbox."""
        if view.read_only:
            return []
        return [*view.known_flags(), "\\*"] if self.manners.offers_keywords else view.known_flags()

    def fetch_flags(self, uid: int, *, with_uid: bool = False) -> bytes:
        """The FETCH response that tells a message's flags, by sequence number."""
        view = self.require_view()
        seq = view.seq(uid)
        assert seq is not None
        items = [f"FLAGS ({' '.join(view.flags(uid))})"]
        if with_uid or self.qresync:
            items.insert(len(items) if self.manners.uid_last else 0, f"UID {uid}")
        if self.condstore:
            items.append(f"MODSEQ ({view.mailbox[uid].modseq})")
        return f"{seq} FETCH ({' '.join(items)})".encode("ascii")

    def _chatter(self) -> None:
        if self._random is None or self.ended:
            return
        while self._random.randrange(100) < self.manners.chatter_percent:
            self.wire.send(b"* " + self._random.choice(list(self._things_to_say(self._random))) + b"\r\n")

    def _things_to_say(self, rng: random.Random) -> Iterator[bytes]:
        """Truths that nobody asked for."""
        yield b"OK Still here"
        yield self.capability_line().encode("ascii")
        if self.manners.literal_lookalikes:
            yield b"OK [ALERT] Your quota is nearly used up: {90}"
        view = self.view
        if view is None:
            return
        yield b"%d EXISTS" % len(view.uids)
        uid = rng.choice(view.uids) if view.uids else 0
        if uid in view.mailbox:
            yield self.fetch_flags(uid)


def _nothing() -> None:
    pass
