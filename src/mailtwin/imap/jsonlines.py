"""A server's bytes as JSON values, one for each response, for people and programs that look into a session.

The shape of every value is documented in `docs/imap-parse.md` and frozen by tests: fields may be added, never changed.

Large literals are held, up to a limit for each response, and become part of the value. Beyond that limit only their
size and SHA-256 are kept, so the memory is a small multiple of the limit whatever the server sends.

Not here: reading and writing (`__main__`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.extensions import partial_of
from mailtwin.imap.fetchdata import read
from mailtwin.imap.framing import Frame, Framer, LiteralChunk, LiteralStart
from mailtwin.imap.parser import RAW_BYTES_MAX, head_of, parse
from mailtwin.imap.tokens import Malformed
from mailtwin.model import UidSet

Json: TypeAlias = "None | bool | int | str | list[Any] | dict[str, Any]"

HELD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Literals of one response that are held: attachments rarely are larger, and a JSON text of that size still works."""

_FIELDS: Final = frozenset({"FLAGS", "INTERNALDATE", "MODSEQ", "RFC822.SIZE", "UID"})


@dataclass(frozen=True, slots=True)
class Digest(r.Streamed):
    """A literal that was too large to be held."""

    sha256: str


class Reader:
    """Bytes in, JSON values out; how the bytes are cut makes no difference.

    `failed`: the input cannot be understood any further, or ended too early.
    """

    def __init__(self, *, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self.failed = False
        self._framer = Framer()
        self._held_bytes_max = held_bytes_max
        self._forget_literals()

    def _forget_literals(self) -> None:
        self._large: list[bytes | Digest] = []
        self._room = self._held_bytes_max
        self._holding = False
        self._size = 0
        self._held = bytearray()
        self._hash = hashlib.sha256()

    def feed(self, data: bytes) -> Iterator[dict[str, Json]]:
        """The responses that are complete with `data`."""
        self._framer.feed(data)
        while not self.failed:
            try:
                event = self._framer.next()
            except RemoteProtocolError as error:
                yield self._fail(error.message)
                return
            if event is None:
                return
            if isinstance(event, Frame):
                yield as_json(self._whole(event))
            elif isinstance(event, LiteralStart):
                self._begin(event.size)
            else:
                self._go_on(event)

    def end(self) -> Iterator[dict[str, Json]]:
        """There is no more input: what was begun and not finished is `unparsed`."""
        if not self.failed and not self._framer.at_boundary:
            yield self._fail("the input ends in the middle of a response")

    def _fail(self, reason: str) -> dict[str, Json]:
        self.failed = True
        raw = self._framer.begun(RAW_BYTES_MAX)
        return _unparsed(r.Unparsed(raw, reason), raw)

    def _begin(self, size: int) -> None:
        self._holding = size <= self._room
        self._size = size
        self._room -= size if self._holding else 0
        self._held, self._hash = bytearray(), hashlib.sha256()

    def _go_on(self, chunk: LiteralChunk) -> None:
        if self._holding:
            self._held += chunk.data
        else:
            self._hash.update(chunk.data)
        if chunk.last:
            self._large.append(
                bytes(self._held) if self._holding else Digest(self._size, self._hash.hexdigest())
            )
            self._held = bytearray()

    def _whole(self, frame: Frame) -> Frame:
        """The frame with its large literals back in their places."""
        if self._large:
            large = iter(self._large)
            frame = replace(
                frame,
                literals=tuple(next(large) if isinstance(one, r.Streamed) else one for one in frame.literals),
            )
        self._forget_literals()
        return frame


def as_json(frame: Frame) -> dict[str, Json]:
    """One response."""
    response = parse(frame)
    if isinstance(response, r.Status):
        kind = "untagged" if response.tag is None else "tagged"
        return _object(kind, response.tag, response.word, code=response.code, text=response.text)
    if isinstance(response, r.Continuation):
        return _object("continuation", code=response.code, text=response.text)
    if isinstance(response, r.Unparsed):
        return _unparsed(response, frame.segments[0])
    head = head_of(frame.segments[0])
    assert head is not None
    return _object("untagged", None, *head, data=_data(response))


def _unparsed(response: r.Unparsed, segment: bytes) -> dict[str, Json]:
    head = None if response.name is None else head_of(segment)
    number = None if head is None else head[1]
    return _object(
        "unparsed",
        None,
        response.name,
        number,
        text=response.reason.encode(),
        data={"raw": plain(response.raw)},
    )


def _object(
    kind: str,
    tag: str | None = None,
    name: str | None = None,
    number: int | None = None,
    *,
    code: r.Code | None = None,
    text: bytes | None = None,
    data: Json = None,
) -> dict[str, Json]:
    return {
        "kind": kind,
        "tag": tag,
        "name": name,
        "number": number,
        "code": None if code is None else {"name": code.name, "args": _arguments(code)},
        "text": plain(text),
        "data": data,
    }


def _arguments(code: r.Code) -> list[Json]:
    """Sets in the order of the wire where that is known, since it pairs the UIDs of a COPYUID."""
    ordered = iter(code.ordered)
    return [
        _written(next(ordered)) if isinstance(argument, UidSet) and code.ordered else plain(argument)
        for argument in code.args
    ]


def _written(uids: tuple[range, ...]) -> str:
    runs: list[range] = []
    for run in uids:
        if runs and run.start == runs[-1].stop:
            runs[-1] = range(runs[-1].start, run.stop)
        else:
            runs.append(run)
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}:{run[-1]}" for run in runs)


# --- data ---


def _data(response: r.Untagged) -> Json:
    if isinstance(response, r.Exists | r.Recent | r.Expunge):
        return None
    if isinstance(response, r.Fetch):
        return _fetch(response)
    if isinstance(response, r.Other) and response.value is None:
        return {"values": plain(response.data)}
    shown = plain(response.value if isinstance(response, r.Other) else response)
    assert isinstance(shown, dict)
    if isinstance(response, r.ListItem | r.MailboxStatus):
        return {"mailbox": shown.pop("name")} | {key: value for key, value in shown.items() if key != "kind"}
    if isinstance(response, r.ESearch) and "PARTIAL" in response.items:
        shown["items"]["PARTIAL"] = _partial(response)
    return shown


def _partial(response: r.ESearch) -> Json:
    try:
        return plain(partial_of(response))
    except Malformed:
        return {"unread": plain(response.items["PARTIAL"])}


def _fetch(response: r.Fetch) -> Json:
    """What the response said and nothing else, by the names of the attributes."""
    facts: dict[str, Json] = {}
    for name, fact in (
        ("UID", response.uid),
        ("FLAGS", response.flags),
        ("MODSEQ", response.modseq),
        ("INTERNALDATE", response.internal_date),
        ("RFC822.SIZE", response.size),
    ):
        if fact is not None:
            facts[name] = plain(fact)
    for section, content in response.bodies.items():
        facts[_body_name(section)] = plain(content)
    for name, value in response.extra.items():
        facts.setdefault(name, _attribute(name, value))
    return facts


def _body_name(section: str) -> str:
    """`BODY[TEXT]<0>` for `TEXT<0>`, as on the wire."""
    if section.startswith("BINARY["):
        return section
    name, bracket, origin = section.rpartition("<") if section.endswith(">") else (section, "", "")
    return f"BODY[{name}]{bracket}{origin}"


def _attribute(name: str, value: r.Value) -> Json:
    if name in _FIELDS:
        return {"unread": plain(value)}
    try:
        return plain(read(name, value))
    except Malformed:
        return {"unread": plain(value)}


def plain(value: object) -> Json:
    """Any value of `mailtwin.imap` as JSON: bytes as text where they are UTF-8, else as base64."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, UidSet):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Digest):
        return {"size": value.size, "sha256": value.sha256}
    assert is_dataclass(value)
    return {field.name.rstrip("_"): plain(getattr(value, field.name)) for field in fields(value)}


def _text(data: bytes) -> Json:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}
