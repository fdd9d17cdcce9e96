"""Durable writes as values: what `State.commit` takes, in one transaction.

A change to something that is not there changes nothing. Changes take effect in the order given, except that snapshots
come last: a cursor is never saved before the rows that it covers (ordering invariant 4). Read next: `state`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mailtwin.model import Flags, Ref, Side
from mailtwin.planner.operations import Attempt, CopyIntent, Link, RemoveIntent, StoreIntent, Straggler
from mailtwin.state.records import HeldRemovals, Kept, Sighting, Uncopied


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a side held when it was last seen, and the cursor that was read before it.

    `deviations` holds only what the agreements do not say: an unlinked message with its flags, a linked one with
    flags other than agreed, or None for a linked one that was missing. Usually empty.

    It is exact as long as the agreements are those it was made with: whatever changes one of them (`AddLink`,
    `DropLink`, `SetFlags`) drops the snapshots of the mailbox, unless the same commit saves them anew.
    """

    side: Side
    cursor: str
    deviations: Mapping[Ref, Flags | None] = field(default_factory=dict)

    @classmethod
    def of(cls, side: Side, cursor: str, seen: Mapping[Ref, Flags], links: Iterable[Link]) -> Snapshot:
        """The snapshot of a complete listing `seen`, relative to the agreements `links`."""
        agreed = _agreed(side, links)
        deviations: dict[Ref, Flags | None] = {
            ref: flags for ref, flags in seen.items() if agreed.get(ref) != flags
        }
        deviations.update((ref, None) for ref in agreed if ref not in seen)
        return cls(side, cursor, deviations)

    def listing(self, links: Iterable[Link]) -> dict[Ref, Flags]:
        """All messages with their flags as they were seen, rebuilt from the agreements and the deviations."""
        seen = _agreed(self.side, links)
        for ref, flags in self.deviations.items():
            if flags is None:
                seen.pop(ref, None)
            else:
                seen[ref] = flags
        return seen


def _agreed(side: Side, links: Iterable[Link]) -> dict[Ref, Flags]:
    """Not by `Link.ref`, which costs as much as the rest: there are as many links as messages."""
    if side is Side.LEFT:
        return {link.left: link.flags for link in links}
    return {link.right: link.flags for link in links}


@dataclass(frozen=True, slots=True)
class AddLink:
    """Both sides were seen to hold this message. Neither ref may be linked already."""

    link: Link


@dataclass(frozen=True, slots=True)
class DropLink:
    """The agreement ends, and with it an open change of flags on it."""

    link: Link


@dataclass(frozen=True, slots=True)
class SetFlags:
    """Both sides agree on `flags` for this message now."""

    link: Link
    flags: Flags


@dataclass(frozen=True, slots=True)
class AddCopy:
    """A copy is about to be attempted; replaces an older intent on the same source message.

    `size` (bytes), `sha256` (hexadecimal) and `message_id` describe what is sent, for a person who has to decide.
    """

    intent: CopyIntent
    size: int
    sha256: str
    message_id: str


@dataclass(frozen=True, slots=True)
class DropCopy:
    """The copy became an agreement or was proven not to have happened."""

    intent: CopyIntent


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """More is known of the end of the attempt to store the copy."""

    intent: CopyIntent
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class AddStraggler:
    """A copy that is given up may arrive all the same; its intent, if it is there still, tells which message it is.

    Forgotten a day later, unless it was found.
    """

    straggler: Straggler


@dataclass(frozen=True, slots=True)
class ReplaceStraggler:
    """More is known of a straggler, or was decided."""

    old: Straggler
    new: Straggler


@dataclass(frozen=True, slots=True)
class DropStraggler:
    """The straggler became an agreement, or is nothing any more."""

    straggler: Straggler


@dataclass(frozen=True, slots=True)
class AddStore:
    """Flags are about to be changed on one side; replaces an older intent on the same link."""

    intent: StoreIntent


@dataclass(frozen=True, slots=True)
class DropStore:
    """The change of flags on this link was recorded or given up."""

    left: Ref
    right: Ref


@dataclass(frozen=True, slots=True)
class AddRemoval:
    """A message is about to be removed; replaces an older intent on it. It began now, whatever the intent says."""

    intent: RemoveIntent


@dataclass(frozen=True, slots=True)
class DropRemoval:
    """The removal of this message says nothing any more."""

    intent: RemoveIntent


@dataclass(frozen=True, slots=True)
class ForgetAll:
    """Drops links, intents, snapshots, uncopied messages and held removals of the mailbox: it is numbered anew. Not the
    stragglers and the removals that were begun: they know their own numbering, and only one side's changed."""


@dataclass(frozen=True, slots=True)
class SetValidity:
    """The numbering (UIDVALIDITY) to which refs on `side` belong from now on."""

    side: Side
    validity: str


@dataclass(frozen=True, slots=True)
class SaveSnapshot:
    """Replaces what is known to have been seen on the snapshot's side."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class DropSnapshot:
    """What was seen on `side` is not relied on any more."""

    side: Side


@dataclass(frozen=True, slots=True)
class SaveSighting:
    """The mailbox is in step, and `side` shows this of it. `whole`: all of it was listed, else only what had changed;
    that, and when, is counted here, whatever the sighting says of it."""

    side: Side
    sighting: Sighting
    whole: bool = True


@dataclass(frozen=True, slots=True)
class HoldRemovals:
    """These removals are held back until they are approved; replaces what was held back on that side."""

    held: HeldRemovals


@dataclass(frozen=True, slots=True)
class DropHeld:
    """Nothing is held back any more on `side`, and nothing approved: it happened, or is not planned any more."""

    side: Side


@dataclass(frozen=True, slots=True)
class AddKept:
    """A message is about to be removed, and its file in the quarantine is durable.

    Replaces what an interrupted run kept of it.
    """

    kept: Kept


@dataclass(frozen=True, slots=True)
class BeginRestore:
    """A kept message is about to be put back: see `Kept`."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class DropKept:
    """A kept message is there again, or was there all the time; its file may go."""

    kept: Kept


@dataclass(frozen=True, slots=True)
class SaveUncopied:
    """A message could not be copied; replaces what was known of its earlier attempts."""

    uncopied: Uncopied


@dataclass(frozen=True, slots=True)
class DropUncopied:
    """The message `ref` on `side` was copied, or is no more."""

    side: Side
    ref: Ref


@dataclass(frozen=True, slots=True)
class SaveEmails:
    """What the store on `side` calls these linked messages in whatever mailbox they are."""

    side: Side
    ids: Mapping[Ref, str]


@dataclass(frozen=True, slots=True)
class Note:
    """A line of history: what was done and why (`detail`)."""

    operation: str
    left: Ref | None
    right: Ref | None
    detail: str
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Digest:
    """What was read of a message: `sha256` (hexadecimal) and `size` of its wire bytes, `headers` (the digest of its
    identity fields), its Message-ID. It holds for as long as the store shows the same `stamp` (`stores.base.Look`)."""

    stamp: str
    sha256: str
    size: int
    headers: str
    message_id: str


@dataclass(frozen=True, slots=True)
class SaveDigests:
    """The bytes of these messages on `side` were read; replaces what was known of them."""

    side: Side
    digests: Mapping[Ref, Digest]


@dataclass(frozen=True, slots=True)
class DropDigests:
    """Nothing is known any more of the bytes of these messages on `side`."""

    side: Side
    refs: Sequence[Ref]


Remark: TypeAlias = Note | SaveDigests | DropDigests
"""A change that decides nothing: what was done, and what was read."""

Change: TypeAlias = (
    AddLink
    | DropLink
    | SetFlags
    | AddCopy
    | DropCopy
    | EndAttempt
    | AddStraggler
    | ReplaceStraggler
    | DropStraggler
    | AddStore
    | DropStore
    | AddRemoval
    | DropRemoval
    | ForgetAll
    | SetValidity
    | SaveSnapshot
    | DropSnapshot
    | SaveSighting
    | HoldRemovals
    | DropHeld
    | AddKept
    | BeginRestore
    | DropKept
    | SaveUncopied
    | DropUncopied
    | SaveEmails
    | Remark
)
