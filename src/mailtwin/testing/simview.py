"""What one session has been told of its selected mailbox: sequence numbers, and what is still to be told.

Sequence numbers are positions in what the *client* knows. So a change made by another session waits here until it may
be told: EXISTS and FETCH at any time, EXPUNGE only when no FETCH, STORE or SEARCH by sequence numbers is in progress
(RFC 3501 section 7.4.1). The mailbox itself is in `mailtwin.testing.simmail`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from mailtwin.testing.simmail import SYSTEM_FLAGS, Change, SimMailbox
from mailtwin.testing.simparse import SeqSet

__all__ = ["View"]


class View:
    """A selected mailbox, as one client sees it. `wake` is called at each change by anyone.

    `window`: only so many messages, the newest at this moment, are in the view (and all that come later).
    """

    def __init__(
        self,
        name: str,
        mailbox: SimMailbox,
        wake: Callable[[], None],
        *,
        read_only: bool,
        window: int | None = None,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.read_only = read_only
        self.uids = mailbox.uids()[-(window or 0) :]
        self.keywords_told = len(mailbox.keywords)
        self.recent = {uid for uid in self.uids if uid >= mailbox.recent_from}
        self._uid_validity = mailbox.uid_validity
        self._wake = wake
        self._added: list[int] = []
        self._removed: list[int] = []
        self._reflagged: dict[int, None] = {}
        mailbox.listeners.append(self._notice)
        self._claim_recent()

    def close(self) -> None:
        """Hear of no more changes."""
        if self._notice in self.mailbox.listeners:
            self.mailbox.listeners.remove(self._notice)

    @property
    def is_stale(self) -> bool:
        """The mailbox was deleted or numbered anew under this session, which cannot go on."""
        return self.mailbox.deleted or self.mailbox.uid_validity != self._uid_validity

    def seq(self, uid: int) -> int | None:
        """The sequence number of a UID, if the client knows the message."""
        place = bisect_left(self.uids, uid)
        if place < len(self.uids) and self.uids[place] == uid:
            return place + 1
        return None

    def select(self, wanted: SeqSet, *, by_uid: bool) -> list[int]:
        """The UIDs that a set means, ascending, each once. A UID of no message means nothing.

        Raises `IndexError` for a sequence number beyond what the client was told.
        """
        spans = wanted.spans((self.uids[-1] if self.uids else 0) if by_uid else len(self.uids))
        slices = []
        for low, high in spans:
            if by_uid:
                slices.append((bisect_left(self.uids, low), bisect_right(self.uids, high)))
            elif low < 1 or high > len(self.uids):
                raise IndexError("No message has such a sequence number")
            else:
                slices.append((low - 1, high))
        if len(slices) == 1:
            return self.uids[slices[0][0] : slices[0][1]]
        return sorted({uid for start, stop in slices for uid in self.uids[start:stop]})

    def expunging(self) -> Iterator[tuple[int, int]]:
        """The sequence numbers to send in EXPUNGE responses, in this order, and the UIDs.

        A message leaves the view after its number was sent, so that what is said in between is true.
        """
        removed = self._removed.copy()
        self._removed.clear()
        for uid in removed:
            seq = self.seq(uid)
            if seq is not None:
                yield seq, uid
                del self.uids[seq - 1]
                self.recent.discard(uid)
                self._reflagged.pop(uid, None)

    def take_added(self) -> int:
        """How many messages joined the view, to be told as one EXISTS. Those already gone never were."""
        fresh = [uid for uid in self._added if uid in self.mailbox]
        self._added.clear()
        self.uids.extend(fresh)
        self.recent.update(uid for uid in fresh if uid >= self.mailbox.recent_from)
        self._claim_recent()
        return len(fresh)

    def take_reflagged(self) -> list[int]:
        """The UIDs in the view whose flags changed since they were told."""
        known = [uid for uid in self._reflagged if self.seq(uid) is not None and uid in self.mailbox]
        for uid in known:
            del self._reflagged[uid]
        return sorted(known)

    def told_flags(self, uid: int) -> None:
        """The client has just been told, or has itself set, the flags of this message."""
        self._reflagged.pop(uid, None)

    def flags(self, uid: int) -> list[str]:
        r"""The flags of a message with `\Recent` if it is so for this session."""
        flags = sorted(self.mailbox[uid].flags)
        return ["\\Recent", *flags] if uid in self.recent else flags

    def known_flags(self) -> list[str]:
        """The flags that the FLAGS response lists."""
        return [*SYSTEM_FLAGS, *self.mailbox.keywords.values()]

    def _notice(self, change: Change, uid: int) -> None:
        if change is Change.ADDED:
            self._added.append(uid)
        elif change is Change.REMOVED:
            self._removed.append(uid)
        else:
            self._reflagged[uid] = None
        self._wake()

    def _claim_recent(self) -> None:
        r"""`\Recent` goes to the first session that can change the mailbox (RFC 3501 section 2.3.2)."""
        if not self.read_only and self.uids:
            self.mailbox.recent_from = max(self.mailbox.recent_from, self.uids[-1] + 1)
