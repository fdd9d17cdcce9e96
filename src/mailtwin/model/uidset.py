"""Sets of UIDs as sorted ranges: what RFC 9051 (section 9, `sequence-set`) writes as `1:4,7,9:12`.

A `UidSet` holds only concrete numbers: `*` depends on the mailbox and is the caller's to resolve. One million
consecutive UIDs cost one range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

UID_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class UidSet:
    """An immutable set of UIDs; `ranges` are inclusive, sorted, disjoint and not adjacent."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        last = -1
        for low, high in self.ranges:
            if not (1 <= low <= high <= UID_MAX and low > last + 1):
                raise ValueError(f"not a canonical UID range: {low}:{high}")
            last = high

    @classmethod
    def of(cls, uids: Iterable[int]) -> UidSet:
        """The set of these UIDs, in any order, repeated or not. Raises ValueError outside 1..2**32-1."""
        members = frozenset(uids)
        ordered = sorted(members)
        lows = [uid for uid in ordered if uid - 1 not in members]
        highs = [uid for uid in ordered if uid + 1 not in members]
        return cls(tuple(zip(lows, highs, strict=True)))

    @classmethod
    def of_ranges(cls, ranges: Iterable[tuple[int, int]]) -> UidSet:
        """The union of inclusive ranges in any order, either end first."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted((min(pair), max(pair)) for pair in ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def parse(cls, text: str) -> UidSet:
        """Reads `1:4,7`; the empty string is the empty set. Raises ValueError for anything else, `*` included."""
        if not text:
            return cls()
        return cls.of_ranges(_parse_range(part) for part in text.split(","))

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ranges)

    def __contains__(self, uid: object) -> bool:
        if not isinstance(uid, int):
            return False
        at = bisect_right(self.ranges, uid, key=lambda pair: pair[0]) - 1
        return at >= 0 and uid <= self.ranges[at][1]

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __or__(self, other: UidSet) -> UidSet:
        return UidSet.of_ranges((*self.ranges, *other.ranges))

    def __and__(self, other: UidSet) -> UidSet:
        return self - (self - other)

    def __sub__(self, other: UidSet) -> UidSet:
        kept: list[tuple[int, int]] = []
        cuts = iter((*other.ranges, (UID_MAX + 2, UID_MAX + 2)))
        cut_low, cut_high = next(cuts)
        for low, high in self.ranges:
            while cut_high < low:
                cut_low, cut_high = next(cuts)
            start = low
            while cut_low <= high:
                if start < cut_low:
                    kept.append((start, cut_low - 1))
                start = max(start, cut_high + 1)
                if cut_high > high:
                    break
                cut_low, cut_high = next(cuts)
            if start <= high:
                kept.append((start, high))
        return UidSet(tuple(kept))

    def split(self, byte_count: int) -> Iterator[UidSet]:
        """Subsets, in order, each of which is written in at most `byte_count` bytes (rule R19).

        Raises ValueError when even one range may not fit (fewer than 21 bytes).
        """
        if byte_count < 21:
            raise ValueError("a range needs up to 21 bytes")
        piece: list[tuple[int, int]] = []
        used = 0
        for low, high in self.ranges:
            size = len(str(low)) + (0 if low == high else 1 + len(str(high)))
            if piece and used + 1 + size > byte_count:
                yield UidSet(tuple(piece))
                piece, used = [], 0
            used += size + (1 if piece else 0)
            piece.append((low, high))
        if piece:
            yield UidSet(tuple(piece))


def _parse_range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not (_is_number(low) and (_is_number(high) or not colon)):
        raise ValueError(f"not a UID or a range of UIDs: {text[:40]!r}")
    return int(low), int(high) if colon else int(low)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
