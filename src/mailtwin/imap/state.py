"""What is true about a session: a fold of everything the server said, in order (rules R1 and R2).

Three tables and a fold. `ALLOWED` says in which phase a command may be sent, `AFTER` what its tagged reply makes of the
phase (RFC 9051 section 3), and `_FOLDS` what each untagged response changes. A phase changes by tagged replies only:

    greeting OK -> NOT_AUTHENTICATED -- LOGIN, AUTHENTICATE OK --> AUTHENTICATED -- SELECT OK --> SELECTED
    greeting PREAUTH -------------------------------------------> AUTHENTICATED <-- CLOSE, UNSELECT OK, SELECT NO --
    UNAUTHENTICATE OK --> NOT_AUTHENTICATED

Capabilities are state: whatever says them last is right, wherever it came from; a login forgets them, and STARTTLS
everything that was said in the clear.

Not here: who asked (`connection`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.encode import Dialect, Name
from mailtwin.imap.quirks import text_of
from mailtwin.imap.seqmap import SequenceMap
from mailtwin.model import UidSet
from mailtwin.model.limits import CAPABILITIES_MAX

ALERTS_MAX = 20
_ALERTS = frozenset({"ALERT", "WEBALERT"})
"""Words for people; the second, which no RFC knows, comes with a link to where the account can be unlocked."""


class Phase(Enum):
    """The states of RFC 9051 section 3."""

    GREETING = "greeting"
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_OPEN = frozenset({Phase.NOT_AUTHENTICATED, Phase.AUTHENTICATED, Phase.SELECTED})
_BEFORE = frozenset({Phase.NOT_AUTHENTICATED})
_INSIDE = frozenset({Phase.AUTHENTICATED, Phase.SELECTED})
_SELECTED = frozenset({Phase.SELECTED})

_CHANGES_USER = frozenset({"LOGIN", "AUTHENTICATE", "UNAUTHENTICATE"})
"""Other capabilities hold afterwards: those said with it, or else nobody knows which."""

ALLOWED: dict[str, frozenset[Phase]] = {
    **dict.fromkeys(("CAPABILITY", "NOOP", "LOGOUT", "ID", "COMPRESS"), _OPEN),
    **dict.fromkeys(("STARTTLS", "LOGIN", "AUTHENTICATE"), _BEFORE),
    **dict.fromkeys(
        ("ENABLE", "NAMESPACE", "LIST", "LSUB", "STATUS", "SELECT", "EXAMINE", "APPEND", "CREATE", "DELETE"),
        _INSIDE,
    ),
    **dict.fromkeys(("RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "IDLE", "NOTIFY", "UNAUTHENTICATE"), _INSIDE),
    **dict.fromkeys(
        ("GETQUOTA", "GETQUOTAROOT", "SETQUOTA", "GETMETADATA", "SETMETADATA", "GETJMAPACCESS"), _INSIDE
    ),
    **dict.fromkeys(("GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS"), _INSIDE),
    **dict.fromkeys(("UNSELECT", "CLOSE", "FETCH", "STORE", "COPY", "MOVE", "EXPUNGE", "SEARCH"), _SELECTED),
    **dict.fromkeys(("SORT", "THREAD", "UIDBATCHES", "REPLACE"), _SELECTED),
}

AFTER: dict[tuple[str, str], Phase] = {
    ("LOGIN", "OK"): Phase.AUTHENTICATED,
    ("AUTHENTICATE", "OK"): Phase.AUTHENTICATED,
    # A SELECT that fails has left the mailbox before (RFC 9051 section 6.3.2). After a BAD nobody knows.
    **{(verb, "OK"): Phase.SELECTED for verb in ("SELECT", "EXAMINE")},
    **{(verb, word): Phase.AUTHENTICATED for verb in ("SELECT", "EXAMINE") for word in ("NO", "BAD")},
    **{(verb, "OK"): Phase.AUTHENTICATED for verb in ("CLOSE", "UNSELECT")},
    ("LOGOUT", "OK"): Phase.LOGOUT,
    ("UNAUTHENTICATE", "OK"): Phase.NOT_AUTHENTICATED,
}


@dataclass(slots=True)
class SelectedMailbox:
    """What the server said about the selected mailbox; None where it has not said it.

    `uid_next` also grows with the UIDs seen. `highest_modseq` is a cursor and only what a HIGHESTMODSEQ code said.
    `exists` follows EXISTS, EXPUNGE and VANISHED.
    """

    name: Name
    read_only: bool = False
    exists: int = 0
    uid_validity: int | None = None
    uid_next: int | None = None
    highest_modseq: int | None = None
    no_modseq: bool = False
    uids_not_sticky: bool = False
    flags: tuple[str, ...] = ()
    permanent_flags: tuple[str, ...] | None = None
    sequence: SequenceMap = field(default_factory=SequenceMap, repr=False)


class SessionState:
    """The fold. Read its attributes; only the connection calls the methods that change it.

    `capabilities` are upper case; `capabilities_known` is False while nobody said them since the last change.
    `selected` is None while a SELECT is under way. `bye` is the text of the server's BYE, `alerts` its last ALERTs.
    """

    __slots__ = (
        "_login_said_them",
        "_selecting",
        "alerts",
        "bye",
        "capabilities",
        "capabilities_known",
        "enabled",
        "namespaces",
        "phase",
        "selected",
        "server_id",
    )

    def __init__(self) -> None:
        self.phase = Phase.GREETING
        self.capabilities: frozenset[str] = frozenset()
        self.capabilities_known = False
        self.enabled: frozenset[str] = frozenset()
        self.namespaces: r.Namespaces | None = None
        self.server_id: r.ServerId | None = None
        self.selected: SelectedMailbox | None = None
        self.bye: str | None = None
        self.alerts: deque[str] = deque(maxlen=ALERTS_MAX)
        self._selecting: SelectedMailbox | None = None
        self._login_said_them = False

    # --- what follows from it ---

    def has(self, capability: str) -> bool:
        """Whether the server has announced `capability`, by the last word it said."""
        return capability.upper() in self.capabilities

    @property
    def utf8(self) -> bool:
        """Whether names are UTF-8 (RFC 6855 section 3, RFC 9051 section 6.3.1), else modified UTF-7."""
        return not self.enabled.isdisjoint(("UTF8=ACCEPT", "IMAP4REV2"))

    @property
    def server_name(self) -> str:
        """What the server calls itself (ID, RFC 2971), lower case; empty if it has not said so."""
        return "" if self.server_id is None else (self.server_id.fields.get("name") or "").lower()

    @property
    def dialect(self) -> Dialect:
        """How the next command is written."""
        if "LITERAL+" in self.capabilities:
            return Dialect("plus", self.utf8)
        # IMAP4rev2 contains LITERAL- (RFC 9051 appendix E), but only servers that say so are known to mean it.
        return Dialect("minus" if "LITERAL-" in self.capabilities else "ask", self.utf8)

    def allows(self, command: c.Command) -> bool:
        """Whether the protocol knows `command` in this phase; a SELECT under way counts as done."""
        phase = Phase.SELECTED if self._selecting is not None else self.phase
        return phase in ALLOWED[command.verb]

    # --- commands begin and end ---

    def greeted(self, status: r.Status) -> None:
        """The greeting: OK, PREAUTH or BYE (RFC 9051 section 7.1)."""
        phases = {"OK": Phase.NOT_AUTHENTICATED, "PREAUTH": Phase.AUTHENTICATED}
        self.phase = phases.get(status.word, Phase.LOGOUT)
        self.apply(status)

    def began(self, command: c.Command) -> None:
        """`command` was handed out for sending."""
        if isinstance(command, c.Select):
            self.selected = None
            self._selecting = SelectedMailbox(command.mailbox, read_only=command.verb == "EXAMINE")
        elif command.verb in _CHANGES_USER:
            self._login_said_them = False

    def ended(self, command: c.Command, status: r.Status, *, answered: bool) -> None:
        """The tagged reply of `command` came; `answered`: untagged responses came with it."""
        self.apply(status)
        if isinstance(command, c.Select):
            self.selected = self._selecting if status.word == "OK" else None
            self._selecting = None
        self.phase = AFTER.get((command.verb, status.word), self.phase)
        if self.phase is not Phase.SELECTED:
            self.selected = None
        if status.word != "OK":
            return
        if command.verb == "STARTTLS":
            self._forget_the_open_line()
        elif command.verb in _CHANGES_USER and not self._login_said_them:
            self._forget_capabilities()
        if command.verb == "UNAUTHENTICATE":
            # RFC 8437 section 3: nothing of the last user may be left, what he enabled included.
            self.enabled = frozenset()
            self.namespaces = None
        if isinstance(command, c.Enable) and not answered:
            # Quirk "enable-is-silent".
            asked = frozenset(name.upper() for name in command.names)
            self.enabled |= asked & self.capabilities

    def _forget_the_open_line(self) -> None:
        """Before TLS anybody could have said anything: how names are written, where they begin, words for people."""
        self._forget_capabilities()
        self.enabled = frozenset()
        self.namespaces = self.server_id = None
        self.alerts.clear()

    def _forget_capabilities(self) -> None:
        self.capabilities = frozenset()
        self.capabilities_known = False

    # --- untagged responses ---

    def resolve(self, response: r.Untagged) -> r.Untagged:
        """Sequence numbers into UIDs where the map knows them; to be asked before `apply`.

        A FETCH without UID gets the one of its position; an EXPUNGE of a known message becomes a VANISHED.
        """
        if isinstance(response, r.Fetch):
            if response.uid is None and self.selected is not None:
                uid = self.selected.sequence.uid(response.seq)
                return replace(response, uid=uid) if uid is not None else response
        elif isinstance(response, r.Expunge) and self.selected is not None:
            uid = self.selected.sequence.uid(response.seq)
            if uid is not None:
                return r.Vanished(UidSet.of([uid]), earlier=False)
        return response

    def apply(self, response: r.Response) -> None:
        """One response, as the server sent it, changes what is true."""
        fold = self._FOLDS.get(type(response))
        if fold is not None:
            fold(self, response)

    def _apply_fetch(self, fetch: r.Fetch) -> None:
        # While a SELECT is under way nobody can tell which mailbox a FETCH is about.
        box = self.selected
        if box is None or fetch.uid is None:
            return
        if fetch.seq:
            box.sequence.learn(fetch.seq, fetch.uid)
        if box.uid_next is not None and fetch.uid >= box.uid_next:
            box.uid_next = fetch.uid + 1

    def _apply_status(self, status: r.Status) -> None:
        if status.word == "BYE":
            self.bye = text_of(status.text)
        if status.code is not None:
            self._apply_code(status.code, status)

    def _apply_code(self, code: r.Code, status: r.Status) -> None:
        if code.name == "CAPABILITY":
            # One that was not understood (too long) is one that did not come: they are asked for.
            names = frozenset(name for name in code.args if isinstance(name, str))
            if len(names) == len(code.args):
                self._set_capabilities(names)
        elif code.name in _ALERTS:
            link = b" ".join(arg for arg in code.args if isinstance(arg, bytes))
            self.alerts.append(text_of(b" ".join(filter(None, (status.text, link)))))
        elif code.name == "CLOSED" and self._selecting is not None:
            # RFC 7162 section 3.2.11: what came before was about the mailbox left.
            self._selecting = SelectedMailbox(self._selecting.name, self._selecting.read_only)
        else:
            box = self._selecting or self.selected
            change = _BOX_CODES.get(code.name)
            if box is not None and change is not None:
                change(box, code)

    def _apply_capability(self, response: r.Capability) -> None:
        self._set_capabilities(response.names)

    def _set_capabilities(self, names: frozenset[str]) -> None:
        self.capabilities = names
        self.capabilities_known = self._login_said_them = True

    def _apply_enabled(self, response: r.Enabled) -> None:
        if len(response.names | self.enabled) <= CAPABILITIES_MAX:
            self.enabled |= response.names

    def _apply_exists(self, response: r.Exists) -> None:
        box = self._selecting or self.selected
        if box is not None:
            box.exists = response.count
            box.sequence.shrink(response.count)

    def _apply_expunge(self, response: r.Expunge) -> None:
        # Without a selected mailbox (a SELECT under way) it is about the one being left.
        if self.selected is not None:
            self.selected.sequence.expunge(response.seq)
            self.selected.exists = max(0, self.selected.exists - 1)

    def _apply_vanished(self, response: r.Vanished) -> None:
        if self.selected is not None and not response.earlier:
            gone = self.selected.sequence.vanish(response.uids)
            self.selected.exists = max(0, self.selected.exists - gone)

    def _apply_flags(self, response: r.MailboxFlags) -> None:
        box = self._selecting or self.selected
        if box is not None:
            box.flags = response.flags

    def _apply_namespaces(self, response: r.Namespaces) -> None:
        self.namespaces = response

    def _apply_id(self, response: r.ServerId) -> None:
        self.server_id = response

    def _apply_unparsed(self, response: r.Unparsed) -> None:
        # Positions may have moved without our seeing it.
        if self.selected is not None and response.name in (None, "EXPUNGE", "VANISHED", "EXISTS"):
            self.selected.sequence.clear()

    _FOLDS: ClassVar[dict[type, Callable[[SessionState, Any], None]]] = {
        r.Capability: _apply_capability,
        r.Enabled: _apply_enabled,
        r.Exists: _apply_exists,
        r.Expunge: _apply_expunge,
        r.Fetch: _apply_fetch,
        r.MailboxFlags: _apply_flags,
        r.Namespaces: _apply_namespaces,
        r.ServerId: _apply_id,
        r.Status: _apply_status,
        r.Unparsed: _apply_unparsed,
        r.Vanished: _apply_vanished,
    }


def _number(code: r.Code) -> int | None:
    value = code.args[0] if code.args else None
    return value if isinstance(value, int) else None


def _set_uid_validity(box: SelectedMailbox, code: r.Code) -> None:
    box.uid_validity = _number(code) or box.uid_validity


def _set_uid_next(box: SelectedMailbox, code: r.Code) -> None:
    box.uid_next = _number(code) or box.uid_next


def _set_highest_modseq(box: SelectedMailbox, code: r.Code) -> None:
    modseq = _number(code)
    if modseq is not None and modseq > 0:
        box.highest_modseq, box.no_modseq = modseq, False


def _set_no_modseq(box: SelectedMailbox, _code: r.Code) -> None:
    box.highest_modseq, box.no_modseq = None, True


def _set_permanent_flags(box: SelectedMailbox, code: r.Code) -> None:
    box.permanent_flags = tuple(str(flag) for flag in code.args)


def _set_read_only(box: SelectedMailbox, code: r.Code) -> None:
    box.read_only = code.name == "READ-ONLY"


def _set_not_sticky(box: SelectedMailbox, _code: r.Code) -> None:
    box.uids_not_sticky = True


_BOX_CODES: dict[str, Callable[[SelectedMailbox, r.Code], None]] = {
    "HIGHESTMODSEQ": _set_highest_modseq,
    "NOMODSEQ": _set_no_modseq,
    "PERMANENTFLAGS": _set_permanent_flags,
    "READ-ONLY": _set_read_only,
    "READ-WRITE": _set_read_only,
    "UIDNEXT": _set_uid_next,
    "UIDNOTSTICKY": _set_not_sticky,
    "UIDVALIDITY": _set_uid_validity,
}
