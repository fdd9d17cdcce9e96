"""Which message of one side is which of the other, told by nothing but the messages: no state, no UIDs, no order.

What the state says is linked is not believed: a verification that took its pairs from there would prove the state
with the state. First the very bytes decide. Where one side holds the same bytes more often, the copies with the same
flags and date belong together, and a copy that is held for a person's decision comes last. What has no equal left on
the other side is then looked for by the header fields that a person would know it by, and by the Message-ID alone (a
server may have written the other fields anew). Of what has none a server may have left nothing to tell it by: there,
where the bytes differ at any rate, the state may explain whose copy it is. Without it the other fields tell, and last
size and date, where these belong to one message only. Such pairs are one message whose bytes were altered. Two messages
with different Message-IDs are never one. What is left over is missing on the other side, or, where that side holds the
very bytes, one too many.

Pure functions. Read next: `mailtwin.engine.verify`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailtwin.model import Flags, Ref, Side
from mailtwin.model.identity import IDENTITY_FIELDS, identity_from
from mailtwin.state import Digest


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as one side shows it. `flags`: those that both sides can hold. `date_s`: seconds since 1970."""

    ref: Ref
    digest: Digest
    flags: Flags
    date_s: int


@dataclass(frozen=True, slots=True)
class Match:
    """One message: as the left and as the right shows it, or alone on one side.

    `is_double`: it is alone, though the other side holds the very same bytes. `is_agreed`: nothing that both sides show
    tells that these two are one message; a run that copied one to the other noted it.
    """

    left: Seen | None
    right: Seen | None
    is_double: bool = False
    is_agreed: bool = False

    def on(self, side: Side) -> Seen | None:
        """How `side` shows it."""
        return self.left if side is Side.LEFT else self.right


_NONE: Mapping[Ref, Ref] = {}
_Key = Callable[[Seen], Hashable]
_Sides = tuple[list[Seen], list[Seen]]

_no_fields = identity_from(dict.fromkeys(IDENTITY_FIELDS, b""), 0, "")
assert _no_fields is not None
NO_FIELDS = _no_fields.headers
"""The digest of a header without any identity field."""

_EQUAL_BYTES: tuple[_Key, ...] = (
    lambda seen: (seen.flags, seen.date_s),
    lambda seen: seen.date_s,
    lambda seen: seen.flags,
    lambda _seen: True,
)


def _named(seen: Seen) -> str | None:
    return seen.digest.headers if seen.digest.message_id else None


def _nameless(seen: Seen) -> str | None:
    digest = seen.digest
    return None if digest.message_id or digest.headers == NO_FIELDS else digest.headers


def _with(key: Callable[[Seen], str | None], *more: _Key) -> _Key:
    """`key` together with `more`; None where `key` is None."""

    def combined(seen: Seen) -> Hashable:
        first = key(seen)
        return None if first is None else (first, *(part(seen) for part in more))

    return combined


def _message_id(seen: Seen) -> str | None:
    return seen.digest.message_id or None


def _date(seen: Seen) -> Hashable:
    return seen.date_s


_ALTERED_BYTES: tuple[_Key, ...] = (
    _with(_named, lambda seen: (seen.flags, seen.date_s)),
    _with(_named, _date),
    _with(_named),
    _with(_message_id, _date),
    _with(_message_id),
)

_ALTERED_BYTES_OF_NAMELESS: tuple[_Key, ...] = (_with(_nameless, _date),)

_ALTERED_BYTES_OF_ONE: tuple[_Key, ...] = (
    _nameless,
    lambda seen: (seen.digest.size, seen.date_s),
)
"""Too weak to tell which of several messages it is."""


def match(
    left: Iterable[Seen],
    right: Iterable[Seen],
    late: Container[tuple[Side, Ref]] = (),
    twins: Mapping[Ref, Ref] = _NONE,
) -> list[Match]:
    """Every message of both sides, each once. `late`: copies that are known to be one too many. `twins`: what a run
    noted of left messages and their right copies, for what neither bytes nor a Message-ID tell.
    """
    groups: dict[str, _Sides] = defaultdict(lambda: ([], []))
    for side, messages in zip(Side, (left, right), strict=True):
        for seen in messages:
            groups[seen.digest.sha256][side].append(seen)
    matches: list[Match] = []
    rest: _Sides = ([], [])
    for group in groups.values():
        pairs, left_over = _equal(group, late) if all(group) else ([], group)
        matches += [Match(*pair) for pair in pairs]
        for side in Side:
            rest[side].extend(left_over[side])
    pairs, rest = _pair(rest, _ALTERED_BYTES)
    single = [
        {seen.ref: seen for seen in rest[side] if not groups[seen.digest.sha256][side.other]} for side in Side
    ]
    agreed, rest = _pair_agreed(rest, single, twins)
    matches += [Match(*pair, is_agreed=True) for pair in agreed]
    more, rest = _pair(rest, _ALTERED_BYTES_OF_NAMELESS)
    pairs += more
    for key in _ALTERED_BYTES_OF_ONE:
        more, rest = _pair_unique(rest, key)
        pairs += more
    matches += [Match(*pair) for pair in pairs]
    matches += [Match(seen, None, bool(groups[seen.digest.sha256][Side.RIGHT])) for seen in rest[Side.LEFT]]
    matches += [Match(None, seen, bool(groups[seen.digest.sha256][Side.LEFT])) for seen in rest[Side.RIGHT]]
    return matches


def _equal(group: _Sides, late: Container[tuple[Side, Ref]]) -> tuple[list[tuple[Seen, Seen]], _Sides]:
    """Pairs messages of one and the same content; and what is left on each side."""
    if len(group[Side.LEFT]) == len(group[Side.RIGHT]) == 1:
        return [(group[Side.LEFT][0], group[Side.RIGHT][0])], ([], [])
    awaited: _Sides = ([], [])
    held: _Sides = ([], [])
    for side in Side:
        for seen in group[side]:
            (held if (side, seen.ref) in late else awaited)[side].append(seen)
    pairs, rest = _pair(awaited, _EQUAL_BYTES)
    for side in Side:
        rest[side].extend(held[side])
    more, rest = _pair(rest, _EQUAL_BYTES)
    return [*pairs, *more], rest


def _pair(sides: _Sides, keys: Sequence[_Key]) -> tuple[list[tuple[Seen, Seen]], _Sides]:
    """Pairs messages that have a key in common, the first key first; and what is left on each side."""
    left, right = sides
    pairs: list[tuple[Seen, Seen]] = []
    for key in keys:
        if not (left and right):
            break
        waiting: dict[Hashable, deque[Seen]] = defaultdict(deque)
        for seen in right:
            waiting[key(seen)].append(seen)
        waiting.pop(None, None)
        left_over: list[Seen] = []
        for seen in left:
            partners = waiting.get(key(seen))
            if partners:
                pairs.append((seen, partners.popleft()))
            else:
                left_over.append(seen)
        taken = {id(other) for _, other in pairs}
        left, right = left_over, [seen for seen in right if id(seen) not in taken]
    return pairs, (left, right)


def _pair_agreed(
    sides: _Sides, candidates: Sequence[Mapping[Ref, Seen]], twins: Mapping[Ref, Ref]
) -> tuple[list[tuple[Seen, Seen]], _Sides]:
    """Pairs those of the `candidates` (by ref, on each side) that are twins; not two with Message-IDs."""
    pairs = [
        (seen, other)
        for seen in candidates[Side.LEFT].values()
        if (other := candidates[Side.RIGHT].get(twins.get(seen.ref, ""))) is not None
        and not (seen.digest.message_id and other.digest.message_id)
    ]
    return pairs, _without(sides, pairs)


def _without(sides: _Sides, pairs: Iterable[tuple[Seen, Seen]]) -> _Sides:
    taken = {id(seen) for pair in pairs for seen in pair}
    left, right = ([seen for seen in side if id(seen) not in taken] for side in sides)
    return left, right


def _pair_unique(sides: _Sides, key: _Key) -> tuple[list[tuple[Seen, Seen]], _Sides]:
    """Pairs messages that have a key in common with exactly one of the other side; not two with Message-IDs."""
    counts = [Counter(map(key, side)) for side in sides]
    others = {key(seen): seen for seen in sides[Side.RIGHT]}
    pairs: list[tuple[Seen, Seen]] = []
    for seen in sides[Side.LEFT]:
        found = key(seen)
        other = others.get(found) if found is not None else None
        unique = all(count[found] == 1 for count in counts)
        if other is not None and unique and not (seen.digest.message_id and other.digest.message_id):
            pairs.append((seen, other))
    return pairs, _without(sides, pairs)
