"""Removals that were held back, and a person's approval of exactly those: written to the state, carried out by the next
run. No store is asked here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailtwin.engine.removals import message_ids
from mailtwin.model import MailboxName, Ref
from mailtwin.state import HeldRemovals, HoldRemovals, Note, State

MESSAGES_NAMED_MAX = 100
"""So many messages are named of one mailbox; how many there are is told as well."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Removals that are held back from one side of a mailbox, and the first hundred of their messages: as their store
    knows them, and their Message-IDs ("": not known)."""

    held: HeldRemovals
    messages: tuple[tuple[Ref, str], ...]


def held_back(state: State, mailbox: MailboxName | None = None) -> list[HeldBack]:
    """What the last runs held back, by mailbox and side. Raises StateError and StorageError."""
    return [
        HeldBack(held, tuple(message_ids(state, held, MESSAGES_NAMED_MAX))) for held in state.held(mailbox)
    ]


def approve(state: State, shown: Iterable[HeldBack]) -> list[HeldBack]:
    """Approves exactly what a person was shown, and returns it as it is now.

    What has changed since it was shown, or is approved already, is left as it is, and left out. Raises StateError and
    StorageError.
    """
    now = state.held()
    approved = []
    for one in shown:
        held = one.held
        if held in now and not held.is_approved:
            new = replace(held, approved=held.refs)
            note = Note("approve", None, None, f"on {held.side.label}: {held.why}")
            state.commit(held.mailbox, [HoldRemovals(new), note])
            approved.append(replace(one, held=new))
    return approved
