"""What `mailtwin status` shows of one pair, read from its state alone: no network, and a run may be going on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from mailtwin.config.build import Built
from mailtwin.engine.approving import HeldBack, held_back
from mailtwin.engine.metering import Meter
from mailtwin.engine.rationing import Use
from mailtwin.engine.resolving import Undecided, undecided
from mailtwin.model import MailboxName
from mailtwin.state import Kept, Ledger, MailboxRecord, RunRecord, State, Uncopied

RUNS_SHOWN = 5

OUTCOME_CHARS_MAX = 72
"""An error may have a paragraph to say; in a table it is cut, and `--json` has the whole."""


@dataclass(frozen=True, slots=True)
class PairStatus:
    """A pair's state. `path` is where it lies; without any run yet, everything is empty. `uses`: how its accounts
    stand, whatever other pairs they are in."""

    left: str
    right: str
    path: Path
    runs: tuple[RunRecord, ...] = ()
    mailboxes: tuple[MailboxRecord, ...] = ()
    unresolved: tuple[Undecided, ...] = ()
    kept: tuple[Kept, ...] = ()
    uncopied: tuple[Uncopied, ...] = ()
    held: tuple[HeldBack, ...] = ()
    uses: tuple[Use, ...] = ()

    @property
    def links(self) -> int:
        """Messages that both sides agree on."""
        return sum(record.links for record in self.mailboxes)

    @property
    def intents(self) -> int:
        """Copies and flag changes that were begun and not seen to end."""
        return sum(record.intents for record in self.mailboxes)

    @property
    def busy_mailboxes(self) -> tuple[MailboxName, ...]:
        """Mailboxes with something open."""
        return tuple(record.name for record in self.mailboxes if record.intents)


def read_status(built: Built) -> PairStatus:
    """The status of a pair. Raises StateError and StorageError."""
    path, left, right = built.state, built.pair.left.address, built.pair.right.address
    uses = read_uses(built)
    state = State.read_only(path, left=left, right=right)
    if state is None:
        return PairStatus(left, right, path, uses=uses)
    with state:
        return PairStatus(
            left,
            right,
            path,
            tuple(state.runs(RUNS_SHOWN)),
            tuple(state.mailboxes().values()),
            tuple(undecided(state)),
            tuple(state.kept()),
            tuple(state.uncopied()),
            tuple(held_back(state)),
            uses,
        )


def read_uses(built: Built) -> tuple[Use, ...]:
    """How the accounts of a pair stand. Raises StateError and StorageError."""
    ledger = Ledger.read_only(built.ledger, now=time.time)
    if ledger is None:
        return ()
    with ledger:
        return Meter(ledger, (built.pair.left, built.pair.right)).uses()


def outcome(run: RunRecord) -> str:
    """How a run ended, in words that fit into a table."""
    if run.outcome is None:
        return "running, or killed"
    line = " ".join(run.outcome.split())
    return line if len(line) <= OUTCOME_CHARS_MAX else f"{line[: OUTCOME_CHARS_MAX - 3]}..."
