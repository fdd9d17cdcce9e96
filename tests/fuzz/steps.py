"""What the kernel does for some bytes, counted instead of timed: its lines of Python and the steps of its patterns.

A pattern that goes back over what it passed is where a parser's cost grows faster than its input, and a clock sees that
only for long inputs on a quiet machine. Here every pattern of the kernel is matched a second time by a plain
backtracking matcher that counts each look at a character. It knows no shortcut of `re`, so it never counts too little,
and for each match it is checked to agree with `re`.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType, ModuleType
from typing import Any

_parser: Any = importlib.import_module("re._parser")
_op: Any = importlib.import_module("re._constants")

PACKAGES = ("mailtwin.imap", "mailtwin.model")

Test = Callable[[int], bool]
Rest = Callable[[int], int | None]
Matcher = Callable[["Subject", int, Rest], "int | None"]


class Meter:
    """Steps so far."""

    def __init__(self) -> None:
        self.lines = 0
        self.looks = 0

    @property
    def steps(self) -> int:
        return self.lines + self.looks


class Subject:
    """What is searched, as code points, and the meter that counts each look at it."""

    __slots__ = ("codes", "meter", "size")

    def __init__(self, text: bytes | bytearray | str, meter: Meter) -> None:
        self.codes = [ord(char) for char in text] if isinstance(text, str) else bytes(text)
        self.size = len(text)
        self.meter = meter

    def passes(self, test: Test, at: int) -> bool:
        self.meter.looks += 1
        return at < self.size and test(self.codes[at])


# --- from a parsed pattern to a matcher: (subject, at, rest) -> the end of a match of both it and the rest, or None ---

_CATEGORIES: dict[str, tuple[str, bool]] = {
    "CATEGORY_DIGIT": (r"\d", True),
    "CATEGORY_NOT_DIGIT": (r"\d", False),
    "CATEGORY_SPACE": (r"\s", True),
    "CATEGORY_NOT_SPACE": (r"\s", False),
    "CATEGORY_WORD": (r"\w", True),
    "CATEGORY_NOT_WORD": (r"\w", False),
}


class _Compiler:
    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self._is_bytes = isinstance(pattern.pattern, bytes)
        self._flags = pattern.flags

    def sequence(self, items: Any) -> Matcher:
        matchers = [self._item(op, argument) for op, argument in items]

        def run(subject: Subject, at: int, rest: Rest) -> int | None:
            def from_(index: int, here: int) -> int | None:
                if index == len(matchers):
                    return rest(here)
                return matchers[index](subject, here, lambda end: from_(index + 1, end))

            return from_(0, at)

        return run

    def _item(self, op: Any, argument: Any) -> Matcher:
        test = self._single(op, argument)
        if test is not None:
            return lambda subject, at, rest: rest(at + 1) if subject.passes(test, at) else None
        name = str(op)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(name, *argument)
        if name == "SUBPATTERN":
            assert not any(argument[1:3]), "no pattern of the kernel changes flags half-way"
            return self.sequence(argument[3])
        if name == "ATOMIC_GROUP":
            return _atomic(self.sequence(argument))
        if name == "BRANCH":
            return _branch([self.sequence(branch) for branch in argument[1]])
        if name in ("ASSERT", "ASSERT_NOT"):
            assert argument[0] == 1, "no pattern of the kernel looks back"
            return _look_ahead(self.sequence(argument[1]), wanted=name == "ASSERT")
        assert name == "AT", name
        return self._place(str(argument))

    def _repeat(self, name: str, low: int, high: Any, items: Any) -> Matcher:
        most = sys.maxsize if high == _op.MAXREPEAT else int(high)
        test = self._single(*items[0]) if len(items) == 1 else None
        if name == "MIN_REPEAT":
            return _lazy(self.sequence(items), low, most)
        if test is not None:
            return _greedy_single(test, low, most, gives_back=name == "MAX_REPEAT")
        if name == "MAX_REPEAT":
            return _greedy(self.sequence(items), low, most)
        return _possessive(self.sequence(items), low, most)

    def _place(self, name: str) -> Matcher:
        is_word = self._class(r"\w")

        def holds(subject: Subject, at: int) -> bool:
            subject.meter.looks += 1
            if name == "AT_BEGINNING_STRING":
                return at == 0
            if name == "AT_BEGINNING":  # the beginning of a line: all patterns that use it are MULTILINE
                return at == 0 or subject.codes[at - 1] == ord("\n")
            if name == "AT_END_STRING":
                return at == subject.size
            assert name == "AT_BOUNDARY", name
            before = at > 0 and is_word(subject.codes[at - 1])
            after = at < subject.size and is_word(subject.codes[at])
            return before != after

        return lambda subject, at, rest: rest(at) if holds(subject, at) else None

    # One character.

    def _single(self, op: Any, argument: Any) -> Test | None:
        name = str(op)
        if name == "LITERAL":
            return self._literal(argument)
        if name == "NOT_LITERAL":
            test = self._literal(argument)
            return lambda code: not test(code)
        if name == "ANY":
            return (lambda _: True) if self._flags & re.DOTALL else (lambda code: code != ord("\n"))
        return self._set(argument) if name == "IN" else None

    def _literal(self, wanted: int) -> Test:
        if self._flags & re.IGNORECASE:
            both = {ord(chr(wanted).lower()), ord(chr(wanted).upper())}
            return lambda code: code in both
        return lambda code: code == wanted

    def _set(self, items: Any) -> Test:
        negated = str(items[0][0]) == "NEGATE"
        tests: list[Test] = []
        for op, argument in items[negated:]:
            if str(op) == "LITERAL":
                tests.append(self._literal(argument))
            elif str(op) == "RANGE":
                tests.append(self._range(*argument))
            else:
                assert str(op) == "CATEGORY", op
                text, wanted = _CATEGORIES[str(argument)]
                tests.append(self._class(text, wanted=wanted))
        # Asked once per code point of a kind; a dictionary answers after that.
        known: dict[int, bool] = {}

        def holds(code: int) -> bool:
            if code not in known:
                known[code] = any(test(code) for test in tests) != negated
            return known[code]

        return holds

    def _range(self, low: int, high: int) -> Test:
        def holds(code: int) -> bool:
            codes = {code}
            if self._flags & re.IGNORECASE:
                codes |= {ord(chr(code).lower()[:1]), ord(chr(code).upper()[:1])}
            return any(low <= one <= high for one in codes)

        return holds

    def _class(self, text: str, *, wanted: bool = True) -> Test:
        if self._is_bytes:
            raw = re.compile(text.encode())
            return lambda code: (raw.match(bytes([code])) is not None) == wanted
        plain = re.compile(text, self._flags & re.ASCII)
        return lambda code: (plain.match(chr(code)) is not None) == wanted


def _branch(branches: list[Matcher]) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        for branch in branches:
            subject.meter.looks += 1
            end = branch(subject, at, rest)
            if end is not None:
                return end
        return None

    return run


def _atomic(inner: Matcher) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        end = inner(subject, at, lambda here: here)
        return None if end is None else rest(end)

    return run


def _look_ahead(inner: Matcher, *, wanted: bool) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        found = inner(subject, at, lambda here: here) is not None
        return rest(at) if found == wanted else None

    return run


def _greedy_single(test: Test, low: int, most: int, *, gives_back: bool) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        end = at
        while end - at < most and subject.passes(test, end):
            end += 1
        while end - at >= low:
            found = rest(end)
            if found is not None or not gives_back:
                return found
            subject.meter.looks += 1
            end -= 1
        return None

    return run


def _greedy(inner: Matcher, low: int, most: int) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        def further(count: int, here: int) -> int | None:
            subject.meter.looks += 1
            if count < most:
                end = inner(subject, here, lambda after: further(count + 1, after) if after > here else None)
                if end is not None:
                    return end
            return rest(here) if count >= low else None

        return further(0, at)

    return run


def _lazy(inner: Matcher, low: int, most: int) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        def further(count: int, here: int) -> int | None:
            subject.meter.looks += 1
            end = rest(here) if count >= low else None
            if end is not None or count >= most:
                return end
            return inner(subject, here, lambda after: further(count + 1, after) if after > here else None)

        return further(0, at)

    return run


def _possessive(inner: Matcher, low: int, most: int) -> Matcher:
    def run(subject: Subject, at: int, rest: Rest) -> int | None:
        count, here = 0, at
        while count < most:
            end = inner(subject, here, lambda after: after)
            if end is None or (end == here and count >= low):
                break
            count, here = count + 1, end
        return rest(here) if count >= low else None

    return run


# --- patterns that count ---


@cache
def _matcher(pattern: re.Pattern[Any]) -> Matcher:
    return _Compiler(pattern).sequence(_parser.parse(pattern.pattern, pattern.flags))


class CountingPattern:
    """A compiled pattern that answers as ever and counts what a plain matcher has to do for it."""

    def __init__(self, pattern: re.Pattern[Any], meter: Meter) -> None:
        self._pattern = pattern
        self._meter = meter
        self._matcher = _matcher(pattern)

    def _end(self, subject: Subject, at: int, *, whole: bool = False) -> int | None:
        return self._matcher(subject, at, lambda end: end if not whole or end == subject.size else None)

    def _agree(self, found: re.Match[Any] | None, end: int | None) -> re.Match[Any] | None:
        assert (None if found is None else found.end()) == end, self._pattern
        return found

    def match(self, text: Any, at: int = 0, end: int = sys.maxsize) -> re.Match[Any] | None:
        subject = Subject(text[:end], self._meter)
        return self._agree(self._pattern.match(text, at, end), self._end(subject, at))

    def fullmatch(self, text: Any) -> re.Match[Any] | None:
        subject = Subject(text, self._meter)
        return self._agree(self._pattern.fullmatch(text), self._end(subject, 0, whole=True))

    def search(self, text: Any) -> re.Match[Any] | None:
        found = self._pattern.search(text)
        self._look(Subject(text, self._meter), 0, found)
        return found

    def finditer(self, text: Any) -> Iterator[re.Match[Any]]:
        subject = Subject(text, self._meter)
        at = 0
        for found in self._pattern.finditer(text):
            self._look(subject, at, found)
            at = found.end()
            yield found
        self._look(subject, at, None)

    def _look(self, subject: Subject, at: int, found: re.Match[Any] | None) -> None:
        """From place to place up to where `re` found it."""
        last = subject.size if found is None else found.start()
        for start in range(at, last + 1):
            end = self._end(subject, start)
            if found is not None and start == last:
                self._agree(found, end)
            else:
                # An empty match right behind another one is none for `re`.
                assert end is None or end == start == at, self._pattern

    def findall(self, text: Any) -> list[Any]:
        for _ in self.finditer(text):
            pass
        return self._pattern.findall(text)

    def sub(self, template: Any, text: Any) -> Any:
        for _ in self.finditer(text):
            pass
        return self._pattern.sub(template, text)


def modules() -> list[ModuleType]:
    """The kernel's modules that are imported by now."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(tuple(f"{package}." for package in PACKAGES)) or name in PACKAGES
    ]


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern of these modules, by the name in one of them."""
    found: dict[str, re.Pattern[Any]] = {}
    seen: set[int] = set()
    for module in modules():
        for name, value in vars(module).items():
            for at, one in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(one, re.Pattern) and id(one) not in seen:
                    seen.add(id(one))
                    found[f"{module.__name__}.{name}[{at}]"] = one
    return found


@contextmanager
def measured() -> Iterator[Meter]:
    """Counts what the kernel does in the block, on this thread."""
    meter = Meter()
    known: dict[int, CountingPattern] = {}

    def counting(value: Any) -> Any:
        if isinstance(value, re.Pattern):
            return known.setdefault(id(value), CountingPattern(value, meter))
        if isinstance(value, tuple) and any(isinstance(one, re.Pattern) for one in value):
            return tuple(map(counting, value))
        return value

    replaced: list[tuple[ModuleType, str, Any]] = []
    for module in modules():
        for name, value in list(vars(module).items()):
            new = counting(value)
            if new is not value:
                replaced.append((module, name, value))
                setattr(module, name, new)

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if not str(frame.f_globals.get("__name__", "")).startswith(PACKAGES):
            return None
        meter.lines += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield meter
    finally:
        sys.settrace(before)
        for module, name, value in replaced:
            setattr(module, name, value)
