"""What one side was seen to hold in one mailbox, and how far that can be relied on.

Absence is evidence only where we looked: a `Listing` says what it covers. A message is known to a store by its `Ref`:
an IMAP UID (an integer) or the unique part of a Maildir file name (a string). Nothing gets a UID that has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from mailtwin.model.flags import EVERYTHING, Flags, Vocabulary
from mailtwin.model.identity import Identity
from mailtwin.model.uidset import UidSet

Ref = int | str
SizeRange = tuple[int, float]
ANY_SIZE: SizeRange = (0, math.inf)


class Side(IntEnum):
    """One of the two stores of a pair."""

    LEFT = 0
    RIGHT = 1

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side(1 - self)

    @property
    def label(self) -> str:
        """`left` or `right`, for people and for the state."""
        return "left" if self is Side.LEFT else "right"


@dataclass(frozen=True, slots=True)
class Listing:
    """The messages of one mailbox on one side.

    `flags` maps every message seen to its flags. `identities` holds those identities that were asked for; a message
    without one has not been identified yet, or is `nameless`: asked for, and nobody can tell. All that such a message
    is told from others by is the least and the most bytes that it may have on the wire. `coverage` is None when the
    listing is complete, else the UIDs in which absence means expunged. `validity` names the numbering (UIDVALIDITY);
    refs of another validity mean nothing here.
    `uid_next`: the UID that the next message will get, if the side tells. `vocabulary`: the flags this side can hold.
    """

    flags: Mapping[Ref, Flags]
    validity: str = ""
    coverage: UidSet | None = None
    uid_next: int | None = None
    identities: Mapping[Ref, Identity] = field(default_factory=dict)
    vocabulary: Vocabulary = EVERYTHING
    nameless: Mapping[Ref, SizeRange] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything in the mailbox was seen."""
        return self.coverage is None

    def lacks(self, ref: Ref) -> bool:
        """Whether this listing proves that `ref` was taken out of the mailbox."""
        covered = self.coverage is None or ref in self.coverage
        return ref not in self.flags and covered and not self.is_to_come(ref)

    def is_to_come(self, ref: Ref) -> bool:
        """Whether the side says that `ref` was not given to any message yet.

        About a message that it held before, that is no removal: a server restored from a backup, or a replica that is
        behind, has forgotten the message.
        """
        return self.uid_next is not None and isinstance(ref, int) and ref >= self.uid_next


NOTHING_SEEN = Listing(flags={}, coverage=UidSet())
