"""Flags as values: one spelling for each, so that two sides can be compared.

System flags (RFC 9051 section 2.3.2) are written as the RFC writes them; keywords compare without regard to case, so
each is known by the first spelling met in this process. `\\Recent` is a server's business and never synchronised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

Flags = frozenset[str]

NO_FLAGS: Flags = frozenset()
ANSWERED = "\\Answered"
DELETED = "\\Deleted"
DRAFT = "\\Draft"
FLAGGED = "\\Flagged"
SEEN = "\\Seen"
FORWARDED = "$Forwarded"
RECENT = "\\Recent"
SYSTEM_FLAGS: Flags = frozenset({ANSWERED, DELETED, DRAFT, FLAGGED, SEEN})

LABEL_PREFIX = "label("
"""How a flag begins that stands for a label, see `mailtwin.model.labels`."""

_SPELLINGS_MAX = 100_000
_spellings: dict[str, str] = {flag.lower(): flag for flag in (*SYSTEM_FLAGS, FORWARDED)}
_interned: dict[Flags, Flags] = {}


def make_flags(names: Iterable[str]) -> Flags:
    """The set of these flags in their one spelling, without `\\Recent` and `\\*`; equal sets are one object.

    Raises nothing: a name that no server may send is a name like any other.
    """
    flags = frozenset(_spell(name) for name in names if name.lower() not in ("\\recent", "\\*"))
    if len(_interned) < _SPELLINGS_MAX:
        return _interned.setdefault(flags, flags)
    return _interned.get(flags, flags)


_FLAG = re.compile(r"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")


@lru_cache(maxsize=4096)
def is_flag(name: str) -> bool:
    """Whether `name` can be written as a flag (RFC 9051 section 9: a backslash and an atom, or an atom)."""
    return _FLAG.fullmatch(name) is not None


def _spell(name: str) -> str:
    # A hostile server must not grow this table for ever: past the limit a new keyword keeps its own spelling.
    lowered = name.lower()
    known = _spellings.get(lowered)
    if known is not None:
        return known
    if len(_spellings) < _SPELLINGS_MAX:
        _spellings[lowered] = name
    return name


def format_flags(flags: Flags) -> str:
    """The flags in a fixed order, separated by spaces: for people, for the state, for a test."""
    return " ".join(sorted(flags))


def parse_flags(text: str) -> Flags:
    """The inverse of `format_flags`: only spaces separate, for an odd server's keyword may hold other white space."""
    return make_flags(filter(None, text.split(" ")))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which flags one side can hold (RFC 9051 section 7.1, PERMANENTFLAGS; the letters of a Maildir).

    What a side cannot hold is never read as "removed there" and never sent there. `refused`: single flags that a
    server turned out not to keep, whatever it announced. What some server sends and no client may send back, such as a
    keyword with a bracket in it, is held by nobody. `labels`: whether messages carry labels here.
    """

    flags: Flags = SYSTEM_FLAGS
    any_keyword: bool = True
    refused: Flags = NO_FLAGS
    labels: bool = False

    def holds(self, flag: str) -> bool:
        """Whether this side keeps `flag`."""
        if flag in self.refused:
            return False
        if flag.startswith(LABEL_PREFIX):
            return self.labels
        if not is_flag(flag):
            return False
        return flag in self.flags or (self.any_keyword and not flag.startswith("\\"))

    def keep(self, flags: Flags) -> Flags:
        """The part of `flags` that this side can hold."""
        if all(map(self.holds, flags)):
            return flags
        return make_flags(flag for flag in flags if self.holds(flag))

    def without(self, refused: Flags) -> Vocabulary:
        """This vocabulary less the flags that a server turned out not to keep."""
        if not refused:
            return self
        return replace(self, flags=self.flags - refused, refused=self.refused | refused)


EVERYTHING = Vocabulary(labels=True)
