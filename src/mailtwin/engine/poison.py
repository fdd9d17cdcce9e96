"""Messages over which connections end: how one is found, told from those beside it, and kept from stopping the rest.

A server that hangs up, or falls silent, each time a certain message is sent or asked for would end every run at that
message. So whenever a connection ends, the message that was under way becomes a suspect, durably (`Uncopied.losses`):
the first of a batch that was not answered, or the one whose body did not come. Messages travel in company, and the end
of a connection may have nothing to do with any of them; therefore a suspect is tried again as before, and, when the
connection ends over it again, alone. Only what fails alone is poison: it rests in the backlog, and the run goes on.

Whether a message that was sent has arrived all the same is not asked here: its copy is an open intent like any other.

Read next: `backlog`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtwin.errors import MailtwinError

LOSSES_MAX = 2
"""A message over which so many connections ended is from then on sent, or asked for, alone."""

POISON_IN_A_ROW_MAX = 3
"""More than so many, with nothing done in between, are not poison: it is the server that hangs up on everything."""

POISON_MAX = 20
"""So many messages of one run may end a connection alone; each costs up to a timeout, and pauses."""


class Poisoned(Exception):
    """A message was alone, and the connection ended over it with `error`. `is_new`: no run knew that of it before."""

    def __init__(self, error: MailtwinError, *, is_new: bool) -> None:
        super().__init__(error)
        self.error = error
        self.is_new = is_new


@dataclass(slots=True)
class Tolerance:
    """How much poison a run has met. `total`: messages; `in_a_row`: new ones since anything else was done."""

    total: int = 0
    in_a_row: int = 0

    @property
    def is_spent(self) -> bool:
        """Whether no message that is known to be poison should be tried any more in this run."""
        return self.total >= POISON_MAX

    def progress(self) -> None:
        """Something was done: the server does not hang up on everything."""
        self.in_a_row = 0

    def note(self, found: Poisoned) -> None:
        """Counts one. Raises the error of its connection when the run had better end."""
        self.total += 1
        self.in_a_row += found.is_new
        error, count = found.error, 0
        if self.in_a_row > POISON_IN_A_ROW_MAX:
            count = self.in_a_row
        elif found.is_new and self.total > POISON_MAX:
            count = self.total
        if count:
            raise type(error)(
                f"{error.message}; {count} messages ended a connection in this run, each of them alone",
                hint="the server may be ill; run again later: it goes on behind these messages",
            ) from error
