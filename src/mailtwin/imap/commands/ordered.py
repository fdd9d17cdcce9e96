"""SORT, THREAD (RFC 5256) and UIDBATCHES (RFC 10022): what the server arranges for us.

Not part of `commands`: import this module where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, Taken
from mailtwin.imap.commands.messages import SearchKey, Window, write_keys, write_returns
from mailtwin.imap.encode import Encoder
from mailtwin.imap.extensions import Sorted, Threads, UidBatches
from mailtwin.imap.pipelining import Trait

BATCH_SIZE_MIN = 500
"""RFC 10022 section 3.1: a server may refuse fewer messages to a batch."""


@dataclass(frozen=True, slots=True)
class Sort(Command):
    """UID SORT (RFC 5256 section 3): the UIDs that match `keys`, in the order of `criteria`.

    Criteria: ARRIVAL, CC, DATE, FROM, SIZE, SUBJECT, TO, each perhaps after REVERSE; DISPLAYFROM, DISPLAYTO
    (RFC 5957). `returns`: ALL, COUNT, MIN, MAX (ESORT, RFC 5267 section 3); `window`: only these of the result
    (PARTIAL). The answer is an ESEARCH then, in the server's order: `extensions.order_of`, `extensions.partial_of`.
    """

    verb = "SORT"
    traits = Trait.ANONYMOUS
    answers = frozenset({"SORT", "ESEARCH"})

    criteria: tuple[str, ...]
    keys: Sequence[SearchKey] = ("ALL",)
    returns: tuple[str, ...] = ()
    window: Window | None = None

    def encode(self, out: Encoder) -> None:
        if not self.criteria:
            raise LocalProtocolError("SORT needs a criterion")
        out.raw("UID SORT")
        write_returns(out, self.returns, self.window)
        out.raw(" ").atoms(self.criteria).raw(" UTF-8")
        write_keys(out, self.keys)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        if isinstance(response, r.ESearch):
            return response.tag in (asked.tag, None)
        return isinstance(response, r.Other) and isinstance(response.value, Sorted)


@dataclass(frozen=True, slots=True)
class Thread(Command):
    """UID THREAD (RFC 5256 section 4); `algorithm`: REFERENCES, ORDEREDSUBJECT or another THREAD= capability."""

    verb = "THREAD"
    traits = Trait.ANONYMOUS
    answers = frozenset({"THREAD"})

    algorithm: str = "REFERENCES"
    keys: Sequence[SearchKey] = ("ALL",)

    def encode(self, out: Encoder) -> None:
        out.raw("UID THREAD ").atom(self.algorithm).raw(" UTF-8")
        write_keys(out, self.keys)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Other) and isinstance(response.value, Threads)


@dataclass(frozen=True, slots=True)
class MakeUidBatches(Command):
    """UIDBATCHES (RFC 10022 section 3): ranges of UIDs with `size` messages each, the newest first.

    `first` and `last` number the batches wanted, from 1; both None: all.
    """

    verb = "UIDBATCHES"
    answers = frozenset({"UIDBATCHES"})

    size: int
    first: int | None = None
    last: int | None = None

    def encode(self, out: Encoder) -> None:
        if self.size < BATCH_SIZE_MIN:
            raise LocalProtocolError(f"a batch has at least {BATCH_SIZE_MIN} messages")
        out.raw("UIDBATCHES ").number(self.size)
        if self.first is None and self.last is None:
            return
        if self.first is None or self.last is None or not 1 <= self.first <= self.last:
            raise LocalProtocolError(f"not a range of batches: {self.first}:{self.last}")
        out.raw(" ").number(self.first).raw(":").number(self.last)

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        value = response.value if isinstance(response, r.Other) else None
        return isinstance(value, UidBatches) and value.tag in (asked.tag, None)
