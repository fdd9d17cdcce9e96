"""What was done to a message, when, in which run and why, and what is known of it now: from the state alone.

A message is followed over everything that names it together with another one: the agreement, a copy that was begun,
lines of history. Lines from before the last change of numbering are about other messages under the same numbers; they
are found by Message-ID only. No store is asked here: `mailtwin verify` looks at the messages themselves.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from mailtwin.engine.resolving import Undecided, undecided
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.planner import CopyIntent, Link, RemoveIntent, StoreIntent, Straggler
from mailtwin.state import Digest, HistoryEntry, Kept, State, Uncopied

ENDS_MAX = 100
"""So many messages are followed for one question: a bad link in the chain must not lead through a whole mailbox."""

LINES_MAX = 1_000
"""So many lines of history about one message are read, the youngest."""

_INFO = re.compile(r"[:;!-]2,[A-Za-z]*\Z")

End = tuple[Side, Ref]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One message: its ends on both sides, now or once, and all that the state knows of it.

    `link`: what both sides agree on. `copies`, `flag_change`, `removals`: what was begun and not seen to end. `late`:
    copies that were given up and may arrive, or did. `waiting`: what a person has to decide. `uncopied`: ends that
    could not be copied. `kept`: what was removed and can be put back. `digests`: what was read of it last. `history`:
    oldest first.
    """

    mailbox: MailboxName
    message_id: str
    ends: tuple[End, ...]
    link: Link | None = None
    copies: tuple[CopyIntent, ...] = ()
    flag_change: StoreIntent | None = None
    removals: tuple[RemoveIntent, ...] = ()
    late: tuple[Straggler, ...] = ()
    waiting: tuple[Undecided, ...] = ()
    uncopied: tuple[Uncopied, ...] = ()
    kept: tuple[Kept, ...] = ()
    digests: tuple[tuple[Side, Digest], ...] = ()
    history: tuple[HistoryEntry, ...] = ()


def explain_message_id(
    state: State, message_id: str, mailbox: MailboxName | None = None
) -> list[Explanation]:
    """Every message that is known by this Message-ID, by mailbox. Raises StateError and StorageError."""
    named = sorted(state.named(message_id), key=lambda one: (one[0], one[1], str(one[2])))
    lines = state.history(mailbox=mailbox, message_id=message_id, limit=LINES_MAX)
    names = sorted({name for name, _, _ in named} | {line.mailbox for line in lines})
    found: list[Explanation] = []
    for name in names:
        if mailbox in (None, name):
            seeds = [(side, ref) for where, side, ref in named if where == name]
            own = [line for line in lines if line.mailbox == name]
            found += _Tracer(state, name).explain_all(seeds, message_id, own)
    return found


def explain_ref(state: State, mailbox: MailboxName, text: str, side: Side | None) -> list[Explanation]:
    """The message that a store knows as `text`: a UID, or a Maildir file's name with or without its directory and
    flags; on `side`, or on either. Raises StateError and StorageError."""
    tracer = _Tracer(state, mailbox)
    sides = tuple(Side) if side is None else (side,)
    seeds = [(each, ref) for each in sides for ref in refs_in(text)]
    return tracer.explain_all([end for end in seeds if tracer.knows(end)], "", [])


def refs_in(text: str) -> tuple[Ref, ...]:
    """What a person may mean by `text`."""
    unique = _INFO.sub("", text.rpartition("/")[2])
    return (int(unique), unique) if unique.isascii() and unique.isdigit() else (unique,)


def with_message_ids(state: State, lines: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """`lines`, each with the Message-ID that another line, or a reading, gives to its message."""
    nameless: dict[MailboxName, set[End]] = {}
    for line in lines:
        if not line.message_id:
            nameless.setdefault(line.mailbox, set()).update(_ends(line))
    tables = {name: _Names(state, name, ends) for name, ends in nameless.items() if ends}
    return [
        line
        if line.message_id or line.mailbox not in tables
        else replace(line, message_id=tables[line.mailbox].of(line))
        for line in lines
    ]


class _Names:
    """The Message-IDs of messages of one mailbox, each valid between two changes of the numbering."""

    def __init__(self, state: State, name: MailboxName, wanted: set[End]) -> None:
        self._resets = _resets(state, name)
        self._table: dict[tuple[int, End], str] = {}
        for side in Side:
            for ref, digest in state.digests(name, side).items():
                if (side, ref) in wanted and digest.message_id:
                    self._table[len(self._resets), (side, ref)] = digest.message_id
        for number, side, ref, message_id in state.message_ids(name, wanted):
            self._table[bisect_right(self._resets, number), (side, ref)] = message_id

    def of(self, line: HistoryEntry) -> str:
        epoch = bisect_right(self._resets, line.number)
        return next((self._table[epoch, end] for end in _ends(line) if (epoch, end) in self._table), "")


@dataclass
class _Tracer:
    """Follows messages of one mailbox."""

    state: State
    name: MailboxName
    _seen: set[End] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.base = self.state.base(self.name)
        self.links = {(side, link.ref(side)): link for link in self.base.links for side in Side}
        self.digests = {side: self.state.digests(self.name, side) for side in Side}
        self.waiting = [one for one in undecided(self.state) if one.mailbox == self.name]
        self.uncopied = {(one.side, one.ref): one for one in self.state.uncopied(self.name)}
        self.kept = [one for one in self.state.kept() if one.mailbox == self.name]
        self.last_reset = max(_resets(self.state, self.name), default=0)

    def knows(self, end: End) -> bool:
        """Whether anything at all is known of the message."""
        side, ref = end
        if end in self.links or end in self.uncopied or ref in self.digests[side]:
            return True
        return bool(self._begun(end) or self._lines(end))

    def explain_all(
        self, seeds: Iterable[End], message_id: str, lines: Sequence[HistoryEntry]
    ) -> list[Explanation]:
        """Each message once; and those that only `lines` from before the last change of numbering know."""
        found = [self._explain(seed) for seed in seeds if seed not in self._seen]
        told = {line.number for one in found for line in one.history}
        earlier = [line for line in lines if line.number not in told]
        if earlier:
            ends = dict.fromkeys(end for line in earlier for end in _ends(line))
            history = tuple(sorted(earlier, key=lambda line: line.number))
            found.append(Explanation(self.name, message_id, tuple(ends), history=history))
        return found

    def _explain(self, seed: End) -> Explanation:
        ends: dict[End, None] = {}
        lines: dict[int, HistoryEntry] = {}
        todo = [seed]
        while todo and len(ends) < ENDS_MAX:
            end = todo.pop(0)
            if end in ends:
                continue
            ends[end] = None
            lines |= {line.number: line for line in self._lines(end)}
            todo += self._next(end)
        self._seen |= ends.keys()
        history = tuple(lines[number] for number in sorted(lines))
        link = next((self.links[end] for end in ends if end in self.links), None)
        digests = tuple((side, self.digests[side][ref]) for side, ref in ends if ref in self.digests[side])
        begun = [one for end in ends for one in self._begun(end)]
        waiting = tuple(one for one in self.waiting if (one.side, one.ref) in ends)
        valid = {side: self.base.validity(side) for side in Side}
        names = [*(line.message_id for line in history), *(digest.message_id for _, digest in digests)]
        names += [
            *(one.message_id for one in waiting),
            *(self.uncopied[end].message_id for end in ends if end in self.uncopied),
        ]
        return Explanation(
            mailbox=self.name,
            message_id=next(filter(None, names), ""),
            ends=tuple(sorted(ends, key=lambda end: (end[0], str(end[1])))),
            link=link,
            copies=tuple(dict.fromkeys(one for one in begun if isinstance(one, CopyIntent))),
            flag_change=next((one for one in begun if isinstance(one, StoreIntent)), None),
            removals=tuple(one for one in begun if isinstance(one, RemoveIntent)),
            late=tuple(dict.fromkeys(one for one in begun if isinstance(one, Straggler))),
            waiting=waiting,
            uncopied=tuple(self.uncopied[end] for end in ends if end in self.uncopied),
            kept=tuple(
                one for one in self.kept if (one.side, one.ref) in ends and one.validity == valid[one.side]
            ),
            digests=digests,
            history=history,
        )

    def _lines(self, end: End) -> list[HistoryEntry]:
        side, ref = end
        lines = self.state.history(mailbox=self.name, ref=ref, limit=LINES_MAX)
        return [line for line in lines if line.ref(side) == ref and line.number > self.last_reset]

    def _begun(self, end: End) -> list[CopyIntent | StoreIntent | RemoveIntent | Straggler]:
        """What was begun on this message."""
        side, ref = end
        copies = [one for one in self.base.copies if end in _both(one.source, one.ref, one.target)]
        late = [one for one in self.base.stragglers if end in _both(one.source, one.ref, one.found)]
        stores = [one for one in self.base.stores if (one.left, one.right)[side] == ref]
        removals = [
            one
            for one in self.base.removals
            if end == (one.side, one.ref) and one.validity == self.base.validity(side)
        ]
        return [*copies, *late, *stores, *removals]

    def _next(self, end: End) -> Iterator[End]:
        """The other ends of whatever names this one."""
        if end in self.links:
            yield from _pair(self.links[end].left, self.links[end].right)
        for line in self._lines(end):
            yield from _ends(line)
        for one in self._begun(end):
            match one:
                case (
                    CopyIntent(source=source, ref=ref, target=other)
                    | Straggler(source=source, ref=ref, found=other)
                ):
                    yield from _both(source, ref, other)
                case StoreIntent(left=left, right=right):
                    yield from _pair(left, right)


def _resets(state: State, name: MailboxName) -> list[int]:
    return sorted(line.number for line in state.history(mailbox=name, operation="reset"))


def _pair(left: Ref | None, right: Ref | None) -> Iterator[End]:
    if left is not None:
        yield Side.LEFT, left
    if right is not None:
        yield Side.RIGHT, right


def _both(source: Side, ref: Ref, other: Ref | None) -> list[End]:
    return [(source, ref), *([(source.other, other)] if other is not None else [])]


def _ends(line: HistoryEntry) -> list[End]:
    return list(_pair(line.left, line.right))
