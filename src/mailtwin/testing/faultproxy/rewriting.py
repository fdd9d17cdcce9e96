"""What becomes of the server's responses on their way: pure functions of what came, no socket.

`View` is what the client was told (how many messages there are, what the server can); `rewrite` takes one response to
a command in flight and returns the bytes that the client gets in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mailtwin.testing.faultproxy.rules import (
    AddCode,
    Curtail,
    Do,
    Duplicate,
    HideNew,
    Inject,
    Reorder,
    Rule,
    Shorten,
    StripCapabilities,
    StripCodes,
)
from mailtwin.testing.faultproxy.wire import Command, Response

__all__ = ["Flight", "View"]

_ALWAYS_STRIPPED = ("COMPRESS=*", "STARTTLS", "LOGINDISABLED")
"""What would hide the rest of the session from the proxy; it speaks plain text on loopback."""

_CAPABILITIES = re.compile(
    rb"(?i)(\A\* +CAPABILITY|\A[^ ]+ +(?:OK|NO|PREAUTH) +\[CAPABILITY)((?: +[^ \]\r\n]+)+)"
)
_UID_CODE = re.compile(rb"(?i)\[(?:APPENDUID [0-9]+|COPYUID [0-9]+ [0-9:,]+) ([0-9:,]+)\]")
_VANISHED = re.compile(rb"(?i)\* +VANISHED +([0-9:,]+)")
_ESEARCH_ALL = re.compile(rb"(?i)( ALL )([0-9:,]+)")
_DESCRIBES = frozenset(
    {"CAPABILITY", "EXISTS", "FETCH", "FLAGS", "LIST", "LSUB", "RECENT", "SEARCH", "STATUS"}
)
_LISTED = frozenset({"FETCH", "LIST", "LSUB"})
_SELECTS = frozenset({"SELECT", "EXAMINE"})
_SHOWS_NEW = frozenset({"NOOP", "CHECK", "SELECT", "EXAMINE"})
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ATOM = re.compile(rb"[^ \r\n]+")


@dataclass(slots=True)
class Flight:
    """A command under way, the rules that are due for it, and how much of its answer came."""

    command: Command
    rules: tuple[Rule, ...] = ()
    listed: int = 0
    started: bool = False
    held: list[bytes] = field(default_factory=list)

    def find(self, *deeds: type[Do]) -> Rule | None:
        """The first rule of this kind."""
        return next((rule for rule in self.rules if isinstance(rule.do, deeds)), None)


@dataclass(slots=True)
class View:
    """One connection as its client sees it."""

    rules: Sequence[Rule] = ()
    capability: bytes = b""
    flags: bytes = b""
    exists: int | None = None
    recent: int | None = None
    selected: bytes | None = None
    hidden: int = 0
    fresh: set[int] = field(default_factory=set)
    _hides: bool = field(init=False)
    _keep: int | None = field(init=False)
    _capabilities: list[str] = field(init=False)
    _codes: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._hides = any(isinstance(rule.do, HideNew) for rule in self.rules)
        self._keep = next((rule.do.keep for rule in self.rules if isinstance(rule.do, Curtail)), None)
        self._capabilities = list(_ALWAYS_STRIPPED)
        self._codes = []
        for rule in self.rules:
            if isinstance(rule.do, StripCapabilities):
                self._capabilities += rule.do.names
            elif isinstance(rule.do, StripCodes):
                self._codes += [name.encode() for name in rule.do.names]

    def begin(self, command: Command) -> None:
        """The client sends a command."""
        if command.name in _SELECTS:
            self.exists = self.recent = None
            self.hidden = 0
            self.fresh.clear()
            self.selected = mailbox_of(command)
        elif command.name in ("CLOSE", "UNSELECT"):
            self.exists = self.selected = None

    def rewrite(self, response: Response, flight: Flight | None) -> Iterator[bytes]:
        """What the client gets for this response, in pieces; nothing at all if it is swallowed."""
        name = flight.command.name if flight else ""
        is_reply = flight is not None and response.tag == flight.command.tag
        if self._hides and self._is_hidden(response, flight, is_reply):
            return
        self._observe(response)
        raw = self._strip(response)
        if self._keep is not None:
            curtailed = _curtailed(response, raw, self._keep)
            if curtailed is None:
                return
            raw = curtailed
        if flight is None or response.is_continuation:
            yield raw
            return
        if is_reply and self._hides and name in _SHOWS_NEW:
            yield from self._uncover()
        inject = flight.find(Inject)
        if inject is not None and isinstance(inject.do, Inject):
            yield from self._injected(inject.do.responses)
        if is_reply:
            yield from reversed(flight.held)
            flight.held.clear()
            yield _with_code(raw, flight)
            return
        if self.fresh and name == "UID SEARCH" and response.kind in ("SEARCH", "ESEARCH"):
            raw = self._searched(response, raw)
        kept = _shortened(response, raw, flight)
        if kept is None:
            return
        if flight.find(Reorder) and response.kind == "FETCH":
            flight.held.append(kept)
            return
        yield from reversed(flight.held)
        flight.held.clear()
        yield kept
        if flight.find(Duplicate) and response.kind in _DESCRIBES:
            yield kept

    # --- what is so ---

    def _observe(self, response: Response) -> None:
        kind = response.kind
        if (said := _CAPABILITIES.search(self._strip(response))) is not None:
            self.capability = b"* CAPABILITY" + said[2] + b"\r\n"
        elif kind == "FLAGS":
            self.flags = response.raw
        elif kind == "EXISTS":
            self.exists = response.number
        elif kind == "RECENT":
            self.recent = response.number
        elif kind == "EXPUNGE" and self.exists is not None:
            self.exists -= 1
        elif self.exists is not None and (gone := _VANISHED.match(response.line)):
            self.exists -= sum(1 for _ in _members(gone[1]))

    def _injected(self, wanted: Sequence[str]) -> Iterator[bytes]:
        for one in wanted:
            if one == "EXISTS" and self.exists is not None:
                yield b"* %d EXISTS\r\n" % self.exists
            elif one == "RECENT" and self.recent is not None:
                yield b"* %d RECENT\r\n" % self.recent
            elif one == "FLAGS" and self.exists is not None:
                yield self.flags
            elif one == "CAPABILITY":
                yield self.capability
            elif one.startswith("*"):
                yield one.encode() + b"\r\n"

    # --- stripping ---

    def _strip(self, response: Response) -> bytes:
        if response.frame.literals:
            return response.raw
        raw = _CAPABILITIES.sub(self._without, response.raw)
        for code in self._codes:
            raw = re.sub(rb"(?i)\A([^ ]+ +OK +)\[" + code + rb"\b[^\]]*\] ?", rb"\1", raw)
        return raw

    def _without(self, matched: re.Match[bytes]) -> bytes:
        names = [
            name
            for name in matched[2].split()
            if not any(fnmatchcase(name.decode().upper(), pattern) for pattern in self._capabilities)
        ]
        return b" ".join((matched[1], *names))

    # --- hiding ---

    def _is_hidden(self, response: Response, flight: Flight | None, is_reply: bool) -> bool:
        """Whether this response would show what is new; remembers that it was not shown."""
        if flight is not None and is_reply and self.selected is not None:
            code = _UID_CODE.search(response.line)
            if code and mailbox_of(flight.command) == self.selected:
                self.fresh.update(_members(code[1]))
        if flight is None or flight.command.name in _SHOWS_NEW or self.exists is None:
            return False
        kind, number = response.kind, response.number
        if kind == "EXISTS" and number is not None and number > self.exists:
            self.hidden = number - self.exists
            return True
        if kind == "RECENT":
            return bool(self.hidden)
        if kind == "EXPUNGE" and number is not None and number > self.exists:
            self.hidden -= 1
            return True
        return kind == "FETCH" and number is not None and number > self.exists

    def _uncover(self) -> Iterator[bytes]:
        self.fresh.clear()
        if self.hidden and self.exists is not None:
            self.exists += self.hidden
            self.hidden = 0
            yield b"* %d EXISTS\r\n" % self.exists

    def _searched(self, response: Response, raw: bytes) -> bytes:
        """A UID SEARCH answer without what is hidden."""
        if response.kind == "SEARCH":
            head, *uids = re.split(rb"(?= [0-9])", raw.rstrip(b"\r\n"))
            return head + b"".join(uid for uid in uids if int(uid) not in self.fresh) + b"\r\n"
        return _ESEARCH_ALL.sub(self._without_fresh, raw)

    def _without_fresh(self, found: re.Match[bytes]) -> bytes:
        seen = [uid for uid in _members(found[2]) if uid not in self.fresh]
        return found[1] + b",".join(b"%d" % uid for uid in seen) if seen else b""


def mailbox_of(command: Command) -> bytes | None:
    """The mailbox that a SELECT, EXAMINE, APPEND, COPY or MOVE is about, in one spelling; None for other commands."""
    words = command.parts[0].split(b" ", 2)
    if command.name.startswith("UID "):
        words = command.parts[0].split(b" ", 4)
        words = [*words[:1], *words[2:3], words[-1]]
    elif command.name in ("COPY", "MOVE"):
        words = command.parts[0].split(b" ", 3)
    if command.name.removeprefix("UID ") not in ("SELECT", "EXAMINE", "APPEND", "COPY", "MOVE"):
        return None
    argument = words[-1]
    if (quoted := _QUOTED.match(argument)) is not None:
        name = re.sub(rb"\\(.)", rb"\1", quoted[1])
    elif argument.startswith(b"{") and len(command.parts) > 1:
        name = command.parts[1]
    else:
        atom = _ATOM.match(argument)
        name = atom[0] if atom else b""
    return b"INBOX" if name.upper() == b"INBOX" else name


def _curtailed(response: Response, raw: bytes, keep: int) -> bytes | None:
    """The response of a mailbox of which only the first `keep` messages are there; None: it is about another one."""
    kind, number = response.kind, response.number
    if kind in ("EXISTS", "RECENT") and number is not None:
        return b"* %d %s\r\n" % (min(number, keep), kind.encode())
    if kind in ("FETCH", "EXPUNGE") and number is not None:
        return raw if number <= keep else None
    return _searched(response, raw, keep)


def _shortened(response: Response, raw: bytes, flight: Flight) -> bytes | None:
    rule = flight.find(Shorten)
    if rule is None or not isinstance(rule.do, Shorten):
        return raw
    keep = rule.do.keep
    if response.kind in _LISTED:
        flight.listed += 1
        return raw if flight.listed <= keep else None
    return _searched(response, raw, keep)


def _searched(response: Response, raw: bytes, keep: int) -> bytes:
    """A SEARCH answer with its first `keep` messages."""
    if response.kind == "SEARCH":
        head, *numbers = re.split(rb"(?= [0-9])", raw.rstrip(b"\r\n"))
        return head + b"".join(numbers[:keep]) + b"\r\n"
    if response.kind == "ESEARCH":
        return _ESEARCH_ALL.sub(lambda found: _first(found, keep), raw)
    return raw


def _first(found: re.Match[bytes], keep: int) -> bytes:
    some = [number for number, _ in zip(_members(found[2]), range(keep), strict=False)]
    return found[1] + b",".join(b"%d" % number for number in some) if some else b""


def _members(uids: bytes) -> Iterator[int]:
    for part in uids.split(b","):
        first, _, last = part.partition(b":")
        ends = sorted((int(first), int(last or first)))
        yield from range(ends[0], ends[1] + 1)


def _with_code(raw: bytes, flight: Flight) -> bytes:
    rule = flight.find(AddCode)
    if rule is None or not isinstance(rule.do, AddCode):
        return raw
    code = rule.do.code.encode()
    return re.sub(rb"(?i)\A([^ ]+ +OK)(?: +\[[^\]]*\])?", rb"\1 [" + code + b"]", raw)
