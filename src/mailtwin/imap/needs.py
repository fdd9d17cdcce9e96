"""What a server has to announce for a command to be more than a hope: extensions, and options of commands, as a table.

Nothing here forbids anything: servers do more than they announce, and announce more than they do. A client that asks
first knows which refusal to expect. A capability that IMAP4rev2 contains (RFC 9051 appendix E) counts as announced
where that is *enabled*, not where it is only announced: some servers announce it and mean little by it.

Not part of `mailtwin.imap`: import this module where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailtwin.imap import commands as c
from mailtwin.imap.commands import Command
from mailtwin.imap.state import SessionState

VERBS: dict[str, str] = {
    "AUTHENTICATE": "",
    "COMPRESS": "COMPRESS=DEFLATE",
    "DELETEACL": "ACL",
    "ENABLE": "ENABLE",
    "GETACL": "ACL",
    "GETJMAPACCESS": "JMAPACCESS",
    "GETMETADATA": "METADATA",
    "GETQUOTA": "QUOTA",
    "GETQUOTAROOT": "QUOTA",
    "ID": "ID",
    "IDLE": "IDLE",
    "LISTRIGHTS": "ACL",
    "MOVE": "MOVE",
    "MYRIGHTS": "ACL",
    "NAMESPACE": "NAMESPACE",
    "NOTIFY": "NOTIFY",
    "REPLACE": "REPLACE",
    "SETACL": "ACL",
    "SETMETADATA": "METADATA",
    "SETQUOTA": "QUOTASET",
    "SORT": "SORT",
    "STARTTLS": "STARTTLS",
    "THREAD": "",
    "UIDBATCHES": "UIDBATCHES",
    "UNAUTHENTICATE": "UNAUTHENTICATE",
    "UNSELECT": "UNSELECT",
}
"""The commands of extensions, and the capability of each; "": it depends on the arguments."""

IN_REV2 = frozenset(
    {
        "ENABLE",
        "ESEARCH",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "SASL-IR",
        "SPECIAL-USE",
        "STATUS=SIZE",
        "UIDPLUS",
        "UNSELECT",
    }
)

ATTRIBUTES: dict[str, str] = {
    "BINARY": "BINARY",
    "EMAILID": "OBJECTID",
    "MODSEQ": "CONDSTORE",
    "OBJECTID": "OBJECTID+",
    "PREVIEW": "PREVIEW",
    "SAVEDATE": "SAVEDATE",
    "THREADID": "OBJECTID",
    "X-GM-LABELS": "X-GM-EXT-1",
    "X-GM-MSGID": "X-GM-EXT-1",
    "X-GM-THRID": "X-GM-EXT-1",
}
"""FETCH attributes, without section, that the base protocol does not know."""

STATUS_ITEMS: dict[str, str] = {
    "APPENDLIMIT": "APPENDLIMIT",
    "DELETED": "IMAP4REV2",
    "DELETED-STORAGE": "QUOTA=RES-STORAGE",
    "HIGHESTMODSEQ": "CONDSTORE",
    "MAILBOXID": "OBJECTID",
    "OBJECTID": "OBJECTID+",
    "SIZE": "STATUS=SIZE",
}
"""STATUS items that the base protocol does not know."""

IMPLIED: dict[str, tuple[str, ...]] = {
    "CONDSTORE": ("QRESYNC",),
    "METADATA": ("METADATA-SERVER",),
    "OBJECTID": ("OBJECTID+",),
    "UTF8=ACCEPT": ("UTF8=ONLY",),
}
"""What else announces a capability (RFC 7162 section 3.2.3, RFC 5464 section 1, RFC 6855 section 7)."""


def missing(command: Command, state: SessionState) -> frozenset[str]:
    """The capabilities, upper case, that `command` needs and the server does not announce; empty: none."""
    rev2 = IN_REV2 if "IMAP4REV2" in state.enabled else frozenset[str]()
    return frozenset(name for name in _needs(command) if not (name in rev2 or _has(state, name)))


def _has(state: SessionState, name: str) -> bool:
    if any(state.has(one) for one in (name, *IMPLIED.get(name, ()))):
        return True
    # APPENDLIMIT=35651584, PREVIEW=FUZZY: announced with a value.
    return any(announced.startswith(f"{name}=") for announced in state.capabilities)


def _needs(command: Command) -> Iterator[str]:
    verb = VERBS.get(command.verb)
    if verb:
        yield verb
    match command:
        case c.Authenticate():
            yield f"AUTH={command.mechanism.name}"
            if command.at_once:
                yield "SASL-IR"
        case c.Enable(names):
            yield from (name.upper() for name in names)
        case c.Append(binary=True):
            yield "BINARY"
        case c.Create(use=(_, *_)):
            yield "CREATE-SPECIAL-USE"
        case c.Select():
            yield from (
                ("QRESYNC",) if command.resync is not None else ("CONDSTORE",) if command.condstore else ()
            )
        case c.StatusOf(items=items):
            yield from (STATUS_ITEMS[item] for item in items if item in STATUS_ITEMS)
        case c.UidExpunge():
            yield "UIDPLUS"
        case c.List():
            yield from _of_list(command)
        case c.Fetch():
            yield from _of_fetch(command)
        case c.Store(unchanged_since=int()):
            yield "CONDSTORE"
        case c.Search():
            yield from _of_results(command.returns, command.window is not None, "ESEARCH")
        case _:
            yield from _of_rare(command)


def _of_list(command: c.List) -> Iterator[str]:
    options = (*command.select, *command.returns)
    if options or len(command.patterns) > 1:
        yield "LIST-EXTENDED"
    if "SPECIAL-USE" in options:
        yield "SPECIAL-USE"
    if command.status:
        yield "LIST-STATUS"
    yield from (STATUS_ITEMS[item] for item in command.status if item in STATUS_ITEMS)


def _of_fetch(command: c.Fetch) -> Iterator[str]:
    names = (name.partition("[")[0].partition(".")[0].upper() for name in command.attributes)
    yield from (ATTRIBUTES[name] for name in names if name in ATTRIBUTES)
    if command.changed_since is not None:
        yield "CONDSTORE"
    if command.vanished:
        yield "QRESYNC"
    if command.window is not None:
        yield "PARTIAL"


def _of_results(returns: tuple[str, ...], windowed: bool, capability: str) -> Iterator[str]:
    if returns or windowed:
        yield capability
    if windowed:
        yield "PARTIAL"


def _of_rare(command: Command) -> Iterator[str]:
    # Without importing what few sessions use.
    match command.verb:
        case "SORT":
            from mailtwin.imap.commands.ordered import Sort

            assert isinstance(command, Sort)
            yield from _of_results(command.returns, command.window is not None, "ESORT")
        case "THREAD":
            from mailtwin.imap.commands.ordered import Thread

            assert isinstance(command, Thread)
            yield f"THREAD={command.algorithm.upper()}"
        case "STORE" if not isinstance(command, c.Store):
            yield "X-GM-EXT-1"
