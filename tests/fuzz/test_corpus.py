"""The kept corpus through every harness, and a bounded share of mutation that is the same each time."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from tests.fuzz.harnesses import INPUT_BYTES_MAX, TARGETS, script
from tests.fuzz.kept import CORPUS, TARGET_NAMES, inputs, words
from tests.imap.replay import Act

from mailtwin.imap import commands as c
from mailtwin.imap import connection, framing, mutf7, parser, quirks
from mailtwin.imap.framing import Framer
from mailtwin.imap.responses import Fetch
from mailtwin.imap.seqmap import SequenceMap

KEPT = [
    pytest.param(target, data, id=f"{target}/{name}")
    for target in TARGET_NAMES
    for name, data in inputs(target).items()
]


@pytest.mark.parametrize(("target", "data"), KEPT)
def test_replay(target: str, data: bytes) -> None:
    TARGETS[target](data)


def test_every_target_has_a_corpus_that_is_small() -> None:
    assert set(TARGETS) == set(TARGET_NAMES) == {path.name for path in CORPUS.iterdir() if path.is_dir()}
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) <= INPUT_BYTES_MAX
    assert sum(path.stat().st_size for path in files) < 300_000


def test_a_script_is_what_a_server_says_and_a_client_does() -> None:
    assert script(b"* OK hi\r\n`n`-`?A1 OK `` x`!") == [
        *(b"* OK hi\r\n", Act.WRITE),
        *(c.Noop(), Act.WRITE),
        *(b"`?A1 OK `` x", Act.CLOSED),
    ]
    assert script(b"") == []
    assert script(b"`") == [b"`", Act.WRITE]


# --- mutation ---

ROUNDS = {"connection": 25, "cost": 4, "framing": 40, "responses": 40, "words": 25}
"""Mutants in each of `BATCHES` batches: a few seconds for all."""

BATCHES = 10


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("target", TARGET_NAMES)
def test_mutants(target: str, batch: int) -> None:
    random = Random(f"{target} {batch}")
    kept = list(inputs(target).values())
    for _ in range(ROUNDS[target]):
        data = mutant(random.choice(kept), kept, random)
        try:
            TARGETS[target](data)
        except Exception as error:
            error.add_note(f"the input was {data!r}")
            raise


def mutant(data: bytes, kept: list[bytes], random: Random) -> bytes:
    for _ in range(random.randint(1, 4)):
        data = random.choice(MUTATIONS)(data, kept, random)
    # What costs more than it should does so for short inputs too.
    return data[:600]


def _without(data: bytes, _kept: list[bytes], random: Random) -> bytes:
    at, end = _slice(data, random)
    return data[:at] + data[end:]


def _again(data: bytes, _kept: list[bytes], random: Random) -> bytes:
    at, end = _slice(data, random)
    return data[:end] + data[at:]


def _other_byte(data: bytes, _kept: list[bytes], random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.choice((*range(256), *b'\r\n\0 ()"\\{}[]*+0'))]) + data[at + 1 :]


def _with_a_word(data: bytes, _kept: list[bytes], random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(words()) + data[at:]


def _with_another(data: bytes, kept: list[bytes], random: Random) -> bytes:
    other = random.choice(kept)
    return data[: _slice(data, random)[1]] + other[_slice(other, random)[0] :]


def _slice(data: bytes, random: Random) -> tuple[int, int]:
    at = random.randrange(len(data) + 1)
    return at, min(len(data), at + random.choice((1, 1, 2, 5, 20, 80)))


Mutation = Callable[[bytes, list[bytes], Random], bytes]
MUTATIONS: tuple[Mutation, ...] = (_without, _again, _other_byte, _with_a_word, _with_a_word, _with_another)


# --- the harnesses see what they are there to see ---


def _wrong_fetch(segment: bytes) -> Fetch | None:
    return Fetch(1, 1) if segment.startswith(b"* 1 FETCH (UID 4") else None


def _depends_on_the_cut(self: Framer) -> bytes | None:
    line = _TAKE_LINE(self)
    return line[:-1] if line is not None and self.unread else line


_TAKE_LINE = Framer._take_line


def _held_for_ever(self: SequenceMap, seq: int, uid: int) -> None:
    _HELD.append(bytes(1_000_000))
    _LEARN(self, seq, uid)


_HELD: list[bytes] = []
_LEARN = SequenceMap.learn

PLANTED: list[tuple[str, object, str, Any, str, type[Exception], str]] = [
    (
        *("cost", quirks, "_CODE_IN_TEXT", re.compile(r"\[(LIMIT|INUSE)\b[^\]]*\]")),
        *("limit-codes-in-text", AssertionError, "costs more each time"),
    ),
    (
        *("cost", framing, "_NESTING", re.compile(rb'"(?:[^"\\]|\\.)*+"|[()]', re.DOTALL)),
        *("strings-without-end-before-an-empty-line", AssertionError, "costs more each time"),
    ),
    (
        *("cost", SequenceMap, "learn", _held_for_ever),
        *("numbers-that-contradict", AssertionError, "allocated at once"),
    ),
    (
        *("framing", Framer, "_take_line", _depends_on_the_cut),
        *("two-lines", AssertionError, "depend on how"),
    ),
    ("responses", parser, "parse_fetch_line", _wrong_fetch, "hot-path", AssertionError, "disagree"),
    ("connection", connection, "STRAYS_MAX", None, "idle-with-many-pluses", TypeError, "not supported"),
    ("connection", Framer, "_take_line", _depends_on_the_cut, "idle", AssertionError, "depends on how"),
    ("words", mutf7, "_unshift", lambda _: "x", "names", AssertionError, ""),
]


@pytest.mark.parametrize(
    ("target", "owner", "name", "fault", "kept", "kind", "says"),
    PLANTED,
    ids=[f"{row[0]}-{row[2]}" for row in PLANTED],
)
def test_a_planted_fault_is_found(
    target: str,
    owner: object,
    name: str,
    fault: object,
    kept: str,
    kind: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = inputs(target)[kept]
    TARGETS[target](data)
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(kind) as caught:
        TARGETS[target](data)
    assert says in str(caught.value)
