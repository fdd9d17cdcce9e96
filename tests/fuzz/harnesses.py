"""What must hold for every input: a function for each way into the kernel, from bytes to nothing or an AssertionError.

`TARGETS` names them. The replay of the kept corpus (`test_corpus`), the bounded mutation in `make test` and the
coverage-guided fuzzer (`run`) all call these and nothing else. In each:

* nothing comes out but the kernel's documented exceptions;
* the same comes out however the bytes are cut;
* what is held stays below the limits, whatever was announced;
* (`cost`) a part of the input said again and again costs as much each time.
"""

from __future__ import annotations

import base64
import binascii
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from unittest.mock import patch
from zlib import crc32

from tests.fuzz.steps import measured
from tests.imap.replay import Act, Cut, Run, Step, raises_again, single, whole

from mailtwin.errors import LocalProtocolError, MailtwinError, RemoteProtocolError
from mailtwin.imap import (
    Connection,
    OpenRange,
    Received,
    Secret,
    mutf7,
    sasl,
    seqmap,
)
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.bodystructure import Multipart, Single, sections
from mailtwin.imap.commands import acl, metadata, notify, ordered, quota, switches
from mailtwin.imap.encode import Body, Dialect, Encoder, Hold, name_bytes, name_text
from mailtwin.imap.extensions import child_info, old_name, partial_of
from mailtwin.imap.fetchdata import read
from mailtwin.imap.framing import Frame, Framer, LiteralChunk, LiteralStart
from mailtwin.imap.jsonlines import Reader
from mailtwin.imap.parser import RAW_BYTES_MAX, parse, parse_literal_place, parse_plain
from mailtwin.imap.quirks import is_back_end_missing, limit_of, text_of, throttle_of
from mailtwin.imap.sasl import Mechanism
from mailtwin.imap.sasl.cram import cram_md5
from mailtwin.imap.sasl.scram import scram
from mailtwin.imap.seqmap import MESSAGES_MAX
from mailtwin.imap.state import ALERTS_MAX, SelectedMailbox, SessionState
from mailtwin.imap.tokens import Malformed
from mailtwin.model import UidSet
from mailtwin.model.limits import CAPABILITIES_MAX, MAILBOX_NAME_BYTES_MAX

INPUT_BYTES_MAX = 4096
"""Longer inputs find nothing that these do not, and are slow to cut in every way."""

UINT32_MAX = 2**32 - 1

PAUSE_S_MAX = 24 * 3600


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Ways to cut `data`: whole, byte by byte, and two that depend on the data alone."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for salt in (1, 2):
        yield _pieces(data, Random(crc32(data, salt)))


def _pieces(data: bytes, random: Random) -> list[bytes]:
    pieces: list[bytes] = []
    while data:
        size = random.randint(1, 24)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    """At no time is more than this allocated in the block."""
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if started:
            tracemalloc.stop()
    assert peak < limit_bytes, f"{peak} bytes were allocated at once"


# --- framing ---

_SMALL = {
    "line_bytes_max": 200,
    "literal_inline_max": 8,
    "literal_bytes_max": 1000,
    "inline_total_max": 40,
    "literals_max": 6,
    "buffer_bytes": 8,
}
"""Limits that a short input can reach."""


def framing(data: bytes) -> None:
    """Where responses begin and end."""
    for limits in ({}, _SMALL):
        first: list[object] | None = None
        for pieces in cuts(data):
            found = _framed(pieces, limits)
            assert first is None or found == first, "the frames depend on how the bytes were cut"
            first = found


def _framed(pieces: list[bytes], limits: dict[str, int]) -> list[object]:
    framer = Framer(**limits)
    events: list[object] = []
    body = b""
    try:
        for piece in pieces:
            framer.feed(piece)
            while (event := framer.next()) is not None:
                if isinstance(event, LiteralChunk):
                    assert event.data, "an empty piece of a literal"
                    body += event.data
                    if event.last:
                        events.append(body)
                        body = b""
                    continue
                if isinstance(event, Frame):
                    _check_frame(event)
                events.append(event)
            if limits:
                _check_held(framer, limits)
    except RemoteProtocolError as error:
        events.append(error.message)
        for _ in range(2):
            raises_again(error, framer.next)
        events.append(framer.begun(RAW_BYTES_MAX))
        return events
    events += [body, framer.at_boundary, framer.begun(RAW_BYTES_MAX), framer.unread]
    assert not framer.at_boundary or not framer.unread
    return events


def _check_frame(frame: Frame) -> None:
    assert len(frame.segments) == len(frame.literals) + 1
    assert not any(b"\n" in segment for segment in frame.segments)
    if frame.is_text:
        assert not frame.literals
        assert frame.segments[0]


def _check_held(framer: Framer, limits: dict[str, int]) -> None:
    """The framer holds one response at most, and of that no more than its limits."""
    held = sum(map(len, framer._segments))
    inline = sum(len(literal) for literal in framer._literals if isinstance(literal, bytes))
    assert held <= limits["line_bytes_max"] + 1
    assert inline <= limits["inline_total_max"]
    assert len(framer._literals) <= limits["literals_max"]
    # What is not taken over yet waits for the end of its line, or of a literal that may be held.
    assert framer.unread <= limits["line_bytes_max"] + 2 + limits["inline_total_max"]
    assert len(framer.get_buffer()) >= limits["buffer_bytes"] // 4


# --- whole responses ---


def responses(data: bytes) -> None:
    """What responses say, by every function that reads them."""
    _check_json(data)
    state = SessionState()
    state.selected = SelectedMailbox("INBOX")
    framer = Framer(literal_inline_max=24)
    framer.feed(data)
    try:
        while (event := framer.next()) is not None:
            if isinstance(event, Frame):
                _check_response(event, state)
            elif isinstance(event, LiteralStart):
                place = parse_literal_place(event.prefix)
                assert place is None or isinstance(place[0].bodies[place[1]], r.Streamed)
    except RemoteProtocolError:
        pass


def _check_json(data: bytes) -> None:
    whole: list[str] | None = None
    for pieces in ([data], [data[at : at + 7] for at in range(0, len(data), 7)]):
        reader = Reader(held_bytes_max=64)
        lines = [json.dumps(line, ensure_ascii=False) for piece in pieces for line in reader.feed(piece)]
        lines += [json.dumps(line, ensure_ascii=False) for line in reader.end()]
        assert all(line.encode() for line in lines)
        assert whole is None or lines == whole, "the JSON depends on how the bytes were cut"
        whole = lines


def _check_response(frame: Frame, state: SessionState) -> None:
    response = parse(frame)
    assert response == parse_plain(frame), "the hot path and the plain one disagree"
    _check_values(response)
    if isinstance(response, r.Continuation):
        return
    if isinstance(response, r.Status):
        throttle = throttle_of(response)
        assert throttle is None or throttle.pause_s is None or 0 <= throttle.pause_s <= PAUSE_S_MAX
        limit_of(response)
        is_back_end_missing(response)
        assert text_of(response.text).isprintable()
    else:
        resolved = state.resolve(response)
        assert type(resolved) in (type(response), r.Vanished)
    state.apply(response)
    _check_state(state)


def _check_values(response: r.Response) -> None:
    """No field holds what its type does not promise."""
    if isinstance(response, r.Fetch):
        assert 0 <= response.seq <= UINT32_MAX
        assert response.uid is None or 1 <= response.uid <= UINT32_MAX
        assert response.modseq is None or 0 <= response.modseq < 2**63
        assert response.size is None or 0 <= response.size < 2**63
        assert response.flags is None or all(
            flag.encode().split() == [flag.encode()] for flag in response.flags
        )
        for name, value in response.extra.items():
            _check_attribute(name, value)
    elif isinstance(response, r.Exists | r.Recent):
        assert 0 <= response.count <= UINT32_MAX
    elif isinstance(response, r.Expunge):
        assert 1 <= response.seq <= UINT32_MAX
    elif isinstance(response, r.Search):
        assert all(1 <= number <= UINT32_MAX for number in response.numbers)
    elif isinstance(response, r.ListItem):
        assert len(response.name) <= MAILBOX_NAME_BYTES_MAX
        for convert in (child_info, old_name):
            _may_be_malformed(lambda convert=convert: convert(response))  # type: ignore[misc]
        _check_name(response.name)
    elif isinstance(response, r.ESearch):
        _may_be_malformed(lambda: partial_of(response))
    elif isinstance(response, r.Unparsed):
        assert response.reason
        assert len(response.raw) <= RAW_BYTES_MAX


def _check_attribute(name: str, value: r.Value) -> None:
    found = _may_be_malformed(lambda: read(name, value))
    if isinstance(found, Single | Multipart):
        numbers = [number for number, _ in sections(found)]
        assert len(set(numbers)) == len(numbers)


def _may_be_malformed(convert: Callable[[], object]) -> object:
    try:
        return convert()
    except Malformed:
        return None


def _check_state(state: SessionState) -> None:
    assert len(state.capabilities) <= CAPABILITIES_MAX
    assert len(state.enabled) <= CAPABILITIES_MAX
    assert len(state.alerts) <= ALERTS_MAX
    box = state.selected
    if box is not None:
        assert box.exists >= 0
        assert len(box.sequence) <= MESSAGES_MAX


# --- the whole connection ---

_UIDS = UidSet.parse("3:5,11")
_SECRET = Secret("hunter2")
_DATE = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)

COMMANDS: dict[str, Callable[[], c.Command]] = {
    "a": lambda: c.Append.of("Sent", b"two\r\nlines", flags=["\\Seen"], date=_DATE),
    "b": lambda: c.Append("Sent", [b"in ", b"", b"pieces"], 9, binary=True),
    "c": c.Capability,
    "d": lambda: c.Append("Sent", [b"too short"], 12),
    "e": lambda: c.Enable(("CONDSTORE", "UTF8=ACCEPT")),
    "f": lambda: c.Fetch(_UIDS, ("FLAGS", "BODYSTRUCTURE", "BODY.PEEK[]")),
    "g": lambda: c.Fetch(OpenRange(3), ("FLAGS",), 7, vanished=True),
    "h": lambda: c.StatusOf("INBOX", ("MESSAGES",)),
    "i": c.Idle,
    "j": switches.Compress,
    "k": switches.Unauthenticate,
    "l": lambda: c.Login("jö", _SECRET),
    "m": lambda: c.Move(_UIDS, "Trash"),
    "n": c.Noop,
    "o": c.Logout,
    "p": lambda: c.Authenticate(sasl.plain("me", _SECRET), at_once=True),
    "q": c.Namespace,
    "r": lambda: c.Search(("TEXT", c.Text("é"))),
    "s": lambda: c.Select("INBOX", condstore=True),
    "t": lambda: c.Store(_UIDS, "+", frozenset({"\\Seen"})),
    "u": lambda: c.Authenticate(scram("me", _SECRET, algorithm="SHA-256", nonce="abc")),
    "v": lambda: c.Select("INBOX", resync=c.Resync(7, 9, _UIDS)),
    "w": c.Close,
    "x": c.Expunge,
    "y": lambda: c.Copy(_UIDS, "x\xe9"),
    "z": c.StartTls,
    "A": lambda: acl.GetAcl("INBOX"),
    "B": lambda: ordered.MakeUidBatches(1000),
    "C": lambda: c.Authenticate(cram_md5("me", _SECRET)),
    "D": lambda: c.Delete("old"),
    "E": lambda: c.Examine("INBOX"),
    "G": lambda: metadata.GetMetadata("INBOX", ("/private/comment",)),
    "I": c.Id,
    "L": lambda: c.List(returns=("SPECIAL-USE",), status=("MESSAGES",)),
    "N": notify.Notify,
    "O": lambda: c.Authenticate(sasl.oauthbearer("me", _SECRET), at_once=True),
    "Q": lambda: quota.GetQuotaRoot("INBOX"),
    "S": lambda: ordered.Sort(("DATE",)),
    "T": ordered.Thread,
    "U": lambda: c.UidExpunge(_UIDS),
    "X": lambda: c.Authenticate(sasl.xoauth2("me", _SECRET)),
    "W": c.Lsub,
    "Y": lambda: c.Authenticate(sasl.login("me", _SECRET)),
}
"""What an input of `connection` may send, by the letter that follows a backtick."""

_SIGN = b"`"


def script(data: bytes) -> list[Step]:
    """An input of `connection` as a transcript: a server's bytes, and what the client does in between.

    A backtick and a letter of `COMMANDS` send that command; and "`.": DONE, "`-": the socket takes nothing for now,
    "`+": it does again, "`!": the server closes. Before any other character a backtick is the server's.
    """
    steps: list[Step] = []
    takes = True
    for part in _parts(data):
        if isinstance(part, bytes):
            steps.append(part)
        elif part in "-+":
            takes = part == "+"
        elif part in _ACTS:
            steps.append(_ACTS[part])
        else:
            steps.append(COMMANDS[part]())
        if takes:
            steps.append(Act.WRITE)
    return steps


_ACTS = {".": Act.DONE, "!": Act.CLOSED}


def _parts(data: bytes) -> Iterator[bytes | str]:
    said = b""
    while data:
        head, sign, data = data.partition(_SIGN)
        said += head
        action = data[:1].decode("latin-1")
        if sign and action and (action in COMMANDS or action in ".-+!"):
            if said:
                yield said
            yield action
            said, data = b"", data[1:]
        else:
            said += sign
    if said:
        yield said


def connection(data: bytes) -> None:
    """A session with a server that says anything, while commands are in flight."""
    steps = script(data)
    expected = _run(steps, whole)
    for cut in (single, lambda piece: _pieces(piece, Random(crc32(piece)))):
        assert _run(steps, cut) == expected, "what happens depends on how the bytes were cut"


def _run(steps: list[Step], cut: Cut) -> list[object]:
    run = Run(Framer(literal_inline_max=64, line_bytes_max=INPUT_BYTES_MAX))
    log = run.play(steps, cut)
    _check_state(run.connection.state)
    for entry in log:
        for part in entry if isinstance(entry, tuple) else ():
            if isinstance(part, r.Fetch | r.Exists | r.Search | r.ListItem):
                _check_values(part)
    return log


# --- names, sets, strings, mechanisms ---


def words(data: bytes) -> None:
    """What is read and written in small: names, sets of UIDs, strings, SASL challenges."""
    _check_name(data)
    _check_set(data)
    _check_strings(data)
    for mechanism in _mechanisms():
        _check_mechanism(mechanism, data.split(b"\n"))


def _check_name(data: bytes) -> None:
    text = mutf7.decode(data)
    assert mutf7.encode(text) == data
    if mutf7.is_exact(text):
        text.encode()
        assert all(0x20 <= byte <= 0x7E for byte in data)
    for utf8 in (False, True):
        assert name_bytes(name_text(data, utf8=utf8), utf8=utf8) == data


def _check_set(data: bytes) -> None:
    text = data.decode("latin-1")
    try:
        uids = UidSet.parse(text)
    except ValueError:
        return
    assert UidSet.parse(str(uids)) == uids
    assert all(1 <= low <= high <= UINT32_MAX for low, high in uids.ranges)
    assert len(uids.ranges) <= text.count(",") + 1


def _check_strings(data: bytes) -> None:
    for literals in ("ask", "minus", "plus"):
        for utf8 in (False, True):
            try:
                written = Encoder(Dialect(literals, utf8)).raw("* X ").string(data).finish()
            except LocalProtocolError:
                assert any(byte in data for byte in b"\r\n\0")
                continue
            framer = Framer()
            for part in written:
                if isinstance(part, Body):
                    assert isinstance(part.chunks, bytes)
                    framer.feed(part.chunks)
                elif not isinstance(part, Hold):
                    framer.feed(part)
            frame = framer.next()
            assert isinstance(frame, Frame)
            assert framer.next() is None
            response = parse(frame)
            assert isinstance(response, r.Other)
            assert response.data == (data,)


def _mechanisms() -> Iterator[Mechanism]:
    yield sasl.plain("me", _SECRET)
    yield sasl.login("me", _SECRET)
    yield sasl.xoauth2("me", _SECRET)
    yield sasl.oauthbearer("me", _SECRET)
    yield sasl.external(authorize_as="me")
    yield sasl.anonymous("me")
    yield cram_md5("me", _SECRET)
    yield scram("me", _SECRET, algorithm="SHA-256", nonce="abc")


def _check_mechanism(mechanism: Mechanism, challenges: list[bytes]) -> None:
    exchange = mechanism.start()
    try:
        next(exchange)
        for challenge in challenges[:4]:
            try:
                decoded = base64.b64decode(challenge, validate=True)
            except binascii.Error:
                decoded = challenge
            said = exchange.send(decoded)
            assert _SECRET.reveal() not in repr(mechanism)
            assert isinstance(said, bytes)
        exchange.send(None)
    except (StopIteration, MailtwinError):
        pass


# --- cost ---

STEPS_PER_BYTE_MAX = 600
"""Lines of Python and looks of patterns, for one byte that is said again: some fifty in a usual response."""

_TIMES = 16


def cost(data: bytes) -> None:
    """A part of the input said again: twice as often costs twice as much, and never more memory than its size allows.

    The input is `head SEP part SEP tail`, SEP being "``"; without it all of it is the part.
    """
    head, part, tail = parts_of(data)
    if not part:
        return
    counts: list[int] = []
    wire = b""
    # A map of sequence numbers may cost 20 MB (its own tests hold it to that); here it may cost next to nothing.
    with patch.object(seqmap, "MESSAGES_MAX", 1000):
        for times in (_TIMES, 2 * _TIMES, 4 * _TIMES):
            wire = head + part * times + tail
            with measured() as meter:
                _listen(wire)
            counts.append(meter.steps)
        with memory_below(64 * len(wire) + _FIXED_BYTES):
            _listen(wire)
    once, twice, often = counts
    # Where the part costs the same each time, the second difference is as large as the first, twice.
    growth, again = twice - once, often - twice
    assert again <= 2 * growth + growth // 4 + 1000, f"{part!r} costs more each time: {counts}"
    assert often <= STEPS_PER_BYTE_MAX * (len(head) + 4 * _TIMES * len(part) + len(tail)) + 20_000, counts


_FIXED_BYTES = 2_000_000
"""Buffer, modules imported on the way, tables of patterns."""


def parts_of(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Head, part and tail of an input of `cost`."""
    pieces = data.split(2 * _SIGN, 2)
    if len(pieces) == 3:
        return pieces[0], pieces[1], pieces[2]
    return b"", pieces[0], b"".join(pieces[1:])


def _listen(wire: bytes) -> None:
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    connection.send(c.Select("INBOX"))
    connection.data_to_send()
    connection.receive_data(b"* 3 EXISTS\r\nA1 OK\r\n" + wire)
    try:
        while (event := connection.next_event()) is not None:
            if isinstance(event, LiteralStart):
                parse_literal_place(event.prefix)
            elif isinstance(event, Received) and isinstance(event.response, r.Status):
                throttle_of(event.response)
                is_back_end_missing(event.response)
            elif isinstance(event, Received) and isinstance(event.response, r.Fetch):
                for name, value in event.response.extra.items():
                    _check_attribute(name, value)
    except MailtwinError:
        pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "connection": connection,
    "cost": cost,
    "framing": framing,
    "responses": responses,
    "words": words,
}
"""What can be fuzzed, by name; `corpus/NAME` are its kept inputs."""
