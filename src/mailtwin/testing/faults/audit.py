"""What became of every letter, counted: pure, from what both sides hold and what they must hold."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields

from mailtwin.testing.faults.sides import Contents, Found
from mailtwin.testing.faults.tools import Held

__all__ = ["Counts", "Expected", "audit", "digest"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages that are not as they should be.

    `lost`: on neither side, and nobody removed it. `doubled`: copies too many, on both sides together. `altered`:
    copies with other bytes than the original; `marked`: the same but for a header field the tool is known to add.
    `undone`: removed by somebody, and back on both sides. `stuck`: on one side only, although the tool says that all
    is well; `refused`: the same, and the tool says so. `flags`: differ between both sides. `held`: what the tool keeps
    for a person to decide; it counts as nothing else.
    """

    lost: int = 0
    doubled: int = 0
    altered: int = 0
    marked: int = 0
    undone: int = 0
    stuck: int = 0
    refused: int = 0
    flags: int = 0
    held: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def harm(self) -> int:
        """What must be zero whatever happens: lost, doubled and altered."""
        return self.lost + self.doubled + self.altered


@dataclass(slots=True)
class Expected:
    """The mail that there should be: for each letter its mailbox and what it was when it was delivered."""

    mailboxes: dict[int, str] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)

    def add(self, delivered: Iterable[Found]) -> None:
        """Letters as their side shows them right after their delivery; those known already stay as they are."""
        for one in delivered:
            if one.number is not None and one.number not in self.digests:
                self.mailboxes[one.number] = one.mailbox
                self.digests[one.number] = digest(one.body)


def digest(body: bytes) -> str:
    """What two equal bodies have in common."""
    return hashlib.sha256(body).hexdigest()


def audit(
    expected: Expected,
    left: Contents,
    right: Contents,
    *,
    marks: Collection[bytes] = (),
    held: Collection[Held] = (),
    confessed: bool = False,
) -> Counts:
    """Counts; `confessed`: the tool's last run ended with an error."""
    extra = {(h.mailbox, h.on_left, h.ref) for h in held if h.is_extra}
    missing = {(h.mailbox, h.on_left, h.ref) for h in held if not h.is_extra}
    sides: list[dict[int, list[Found]]] = []
    excused: set[int] = set()
    lost = doubled = altered = marked = undone = apart = flags = 0
    for contents, on_left in ((left, True), (right, False)):
        copies: dict[int, list[Found]] = defaultdict(list)
        for one in contents:
            if one.number is None:
                altered += 1
                continue
            if (one.mailbox, on_left, one.handle) in missing:
                excused.add(one.number)
            if (one.mailbox, on_left, one.handle) in extra:
                continue
            copies[one.number].append(one)
            original = expected.digests[one.number]
            if digest(one.body) != original:
                if digest(_without(one.body, marks)) == original:
                    marked += 1
                else:
                    altered += 1
        sides.append(copies)
    for number, mailbox in expected.mailboxes.items():
        here = [[one for one in side.get(number, ()) if one.mailbox == mailbox] for side in sides]
        elsewhere = sum(len(side.get(number, ())) for side in sides) - len(here[0]) - len(here[1])
        if number in expected.removed:
            if here[0] and here[1]:
                undone += 1
            elif (here[0] or here[1]) and number not in excused:
                apart += 1
            continue
        doubled += elsewhere + sum(max(0, len(copies) - 1) for copies in here)
        if not here[0] and not here[1]:
            lost += 1
        elif not here[0] or not here[1]:
            apart += number not in excused
        elif {one.flags for one in here[0]} != {one.flags for one in here[1]}:
            flags += 1
    stuck, refused = (0, apart) if confessed else (apart, 0)
    return Counts(lost, doubled, altered, marked, undone, stuck, refused, flags, len(held))


def _without(body: bytes, marks: Collection[bytes]) -> bytes:
    head, end, text = body.partition(b"\r\n\r\n")
    for mark in marks:
        head = re.sub(rb"(?im)^" + re.escape(mark) + rb":[^\n]*\n(?:[ \t][^\n]*\n)*", b"", head + b"\r\n")[
            :-2
        ]
    return head + end + text
