"""No pattern of the kernel takes more steps than its subject is long, whatever is said again and again in it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.steps import CountingPattern, Meter, patterns

import mailtwin.imap

for _module in pkgutil.walk_packages(mailtwin.imap.__path__, "mailtwin.imap."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

PATTERNS = patterns()


def is_searched_for(name: str) -> bool:
    """Whether the kernel looks for the pattern anywhere in a text, not only at one place."""
    module, _, variable = name.rpartition("[")[0].rpartition(".")
    source = inspect.getsource(sys.modules[module])
    return re.search(rf"\b{variable}\.(search|findall|finditer|sub)\(", source) is not None


def steps(pattern: re.Pattern[Any], subject: Any, *, everywhere: bool) -> int:
    meter = Meter()
    counting = CountingPattern(pattern, meter)
    if everywhere:
        list(counting.finditer(subject))
    else:
        counting.match(subject)
        counting.fullmatch(subject)
    return meter.looks


def grows_faster(pattern: re.Pattern[Any], head: Any, part: Any, tail: Any, *, everywhere: bool) -> bool:
    once, twice, often = (
        steps(pattern, head + part * times + tail, everywhere=everywhere) for times in (12, 24, 48)
    )
    growth, again = twice - once, often - twice
    return again > 2 * growth + growth // 4 + 100


def test_the_patterns_of_the_kernel_are_known() -> None:
    assert len(PATTERNS) > 50
    assert is_searched_for("mailtwin.imap.quirks._CODE_IN_TEXT[0]")
    assert not is_searched_for("mailtwin.imap.tokens._VALUE[0]")


SAMPLES: dict[str, bytes] = {
    "_LINE[0]": b"* 1 FETCH (UID 4 FLAGS (\\Seen a) MODSEQ (9) FLAGS ())",
    "WIRE_LINE[0]": b"* 1 FETCH (UID 4 FLAGS (\\Seen a) MODSEQ (9) FLAGS ())\r\n",
    "_STRUCTURED[0]": b"*  \tLIST",
}
"""What such a pattern matches, where Hypothesis cannot make it up."""

BOUNDED = {
    # Never sees more than the last 64 bytes of a line.
    "mailtwin.imap.framing._LITERAL[0]",
}


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - BOUNDED))
@settings(max_examples=60, derandomize=True, database=None)
@given(st.data())
def test_no_pattern_goes_over_its_subject_again_and_again(name: str, data: st.DataObject) -> None:
    pattern = PATTERNS[name]
    # What is said again is a part of something that the pattern wants, at the place where it wants it.
    known = SAMPLES.get(name.rpartition(".")[2])
    made: st.SearchStrategy[Any] = st.from_regex(pattern) if known is None else st.just(known)
    sample = data.draw(made)
    at, end = sorted((data.draw(st.integers(0, len(sample))), data.draw(st.integers(0, len(sample)))))
    part = sample[at:end] or sample[:1]
    odd: Any = st.sampled_from(["", "\0", '"', ")", "]", "}", " ", "\n", "x"])
    tail = data.draw(odd)
    if isinstance(sample, bytes):
        tail = tail.encode()
    everywhere = is_searched_for(name)
    assert not grows_faster(pattern, sample[:at], part[:8], tail, everywhere=everywhere)


@pytest.mark.parametrize(
    ("pattern", "head", "part", "tail", "everywhere"),
    [
        (rb"(a*)*b", b"", b"a", b"", False),
        (rb"a*a*b", b"", b"a", b"", False),
        (rb"[^b]*b", b"", b"a", b"", True),
        (rb'"(?:[^"\\]|\\.)*+"', b'"', b'\\"', b"", True),
    ],
)
def test_one_that_does_is_seen(
    pattern: bytes, head: bytes, part: bytes, tail: bytes, everywhere: bool
) -> None:
    if pattern == rb"(a*)*b":
        # Doubling for each character: a few are enough.
        assert steps(re.compile(pattern), b"a" * 12, everywhere=False) > 2**12
    else:
        assert grows_faster(re.compile(pattern), head, part, tail, everywhere=everywhere)


@pytest.mark.parametrize(
    "pattern",
    [rb"(ab|a)(c|bcd)", rb"a{2,3}?b*+c", rb"(?>a|ab)c", rb"\b[^\W\d]+\b", rb"(?=a)(?!ab).*"],
)
@given(st.text(alphabet="abcABCdxyz1 ", max_size=12).map(str.encode))
def test_the_counting_matcher_agrees_with_re(pattern: bytes, text: bytes) -> None:
    """`CountingPattern` checks each end against `re` itself."""
    for flags in (re.NOFLAG, re.IGNORECASE):
        counting = CountingPattern(re.compile(pattern, flags), Meter())
        counting.match(text)
        counting.fullmatch(text)
        counting.search(text)
        assert counting.sub(b"-", text) == re.sub(pattern, b"-", text, flags=flags)
