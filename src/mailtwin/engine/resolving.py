"""What only a person can decide, and what becomes of the decision: written to the state, carried out by the next run.

Two things wait for a person: a copy that a server accepted, or may have stored, and that cannot be found, or not be
told from an equal message; and an extra copy, one that was given up and sent again and that arrived all the same. No
store is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from mailtwin.engine.pair import ends
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.planner import Attempt, CopyIntent, Straggler, Verdict, straggler_of
from mailtwin.state import (
    AddStraggler,
    Change,
    DropCopy,
    Note,
    ReplaceStraggler,
    State,
)


class Decision(Enum):
    """What a person may want."""

    SEND_AGAIN = "send-again"
    REMOVE_EXTRA = "remove-extra"
    KEEP_EXTRA = "keep-extra"


@dataclass(frozen=True, slots=True)
class Undecided:
    """One message that waits: `ref` on `side`, with what a person knows it by.

    `size` in bytes and `sha256` (hexadecimal, of the bytes that were sent) as far as they are known; `since`: seconds
    since 1970. `about` is a `CopyIntent` for a copy that is missing, a `Straggler` for one too many.
    """

    mailbox: MailboxName
    side: Side
    ref: Ref
    size: int | None
    sha256: str
    message_id: str
    since: float
    about: CopyIntent | Straggler

    @property
    def is_extra(self) -> bool:
        """Whether it is one too many; else one that may be missing."""
        return isinstance(self.about, Straggler)


def undecided(state: State) -> list[Undecided]:
    """Everything that waits for a person, by mailbox, the oldest first. Raises StateError and StorageError."""
    missing = [
        Undecided(
            record.mailbox,
            record.intent.source,
            record.intent.ref,
            record.size,
            record.sha256,
            record.message_id,
            record.begun,
            record.intent,
        )
        for record in state.copies()
        if record.intent.attempt is not Attempt.OPEN
    ]
    extra = [
        Undecided(
            record.mailbox,
            straggler.source.other,
            straggler.found,
            record.size,
            "",
            record.message_id,
            record.since,
            straggler,
        )
        for record in state.stragglers()
        for straggler in [record.straggler]
        if straggler.found is not None and straggler.verdict is Verdict.NONE
    ]
    return sorted((*missing, *extra), key=lambda one: (one.mailbox, one.since, one.side, str(one.ref)))


def resolve(
    state: State, decision: Decision, concerns: Callable[[Undecided], bool] = lambda _one: True
) -> list[Undecided]:
    """Decides about everything that waits, that `decision` fits, and that it `concerns`; returns what that was."""
    decided = [
        one for one in undecided(state) if one.is_extra != (decision is Decision.SEND_AGAIN) and concerns(one)
    ]
    for one in decided:
        state.commit(one.mailbox, [*_changes(one.about, decision), _note(one, decision)])
    return decided


def _changes(about: CopyIntent | Straggler, decision: Decision) -> Iterable[Change]:
    if isinstance(about, CopyIntent):
        # It is in doubt, not disproved: should it turn up after all, it must not be taken for new mail.
        straggler = straggler_of(about, about.identity)
        if straggler is not None:
            yield AddStraggler(straggler)
        yield DropCopy(about)
    elif decision is Decision.REMOVE_EXTRA:
        yield ReplaceStraggler(about, replace(about, verdict=Verdict.REMOVE))
    else:
        yield ReplaceStraggler(about, replace(about, verdict=Verdict.KEEP))


def _note(one: Undecided, decision: Decision) -> Note:
    return Note("decide", *ends(one.side, one.ref), decision.value, one.message_id)
