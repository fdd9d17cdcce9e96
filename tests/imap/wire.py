"""Feeding bytes to a framer in every way a network can, for the tests of the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from mailtwin.errors import RemoteProtocolError
from mailtwin.imap.framing import Frame, Framer, LiteralChunk, LiteralStart
from mailtwin.imap.parser import parse, parse_plain
from mailtwin.imap.responses import Response

Seen = Frame | LiteralStart | bytes | str


class Limits(TypedDict, total=False):
    line_bytes_max: int
    literal_inline_max: int
    literal_bytes_max: int
    inline_total_max: int
    literals_max: int
    buffer_bytes: int


def seen(pieces: Iterable[bytes], limits: Limits | None = None) -> list[Seen]:
    """The events for these pieces; the chunks of a literal joined; an error, which ends it, as its text."""
    framer = Framer(**(limits or {}))
    events: list[Seen] = []
    chunks: list[bytes] = []
    try:
        for piece in pieces:
            framer.feed(piece)
            while (event := framer.next()) is not None:
                if isinstance(event, LiteralChunk):
                    chunks.append(bytes(event.data))
                    if event.last:
                        events.append(b"".join(chunks))
                        chunks.clear()
                else:
                    events.append(event)
    except RemoteProtocolError as error:
        events.append(error.message)
    return events


def in_every_way(data: bytes, limits: Limits | None = None) -> list[Seen]:
    """The events for `data`, which are the same whole, byte by byte, and cut in two at every position."""
    events = seen([data], limits)
    small: Limits = {"buffer_bytes": 8}
    small.update(limits or {})
    single = [data[at : at + 1] for at in range(len(data))]
    assert seen(single, limits) == events
    assert seen(single, small) == events
    for cut in range(1, len(data)):
        assert seen([data[:cut], data[cut:]], limits) == events, f"cut at {cut}"
    return events


def said(data: bytes) -> list[Response]:
    """The responses in `data`, the same however it is cut, and by both ways of parsing."""
    responses: list[Response] = []
    for event in in_every_way(data):
        assert isinstance(event, Frame), event
        response = parse(event)
        assert response == parse_plain(event)
        responses.append(response)
    return responses


def say(line: bytes) -> Response:
    """The one response in `line`, which lacks its CRLF."""
    (response,) = said(line + b"\r\n")
    return response
