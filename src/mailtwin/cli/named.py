"""The mailbox that `--mailbox` names to a command that reads the state: a typing error must not read as "nothing".

A pair whose state has never heard of the mailbox is passed over; when none has, that is an error. As long as nothing
was synchronised nobody can say that a name is wrong, and the command says that there is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailtwin.config.build import Built
from mailtwin.errors import ConfigurationError
from mailtwin.model import MailboxName
from mailtwin.state import State


@dataclass(slots=True)
class NamedMailbox:
    """`name` as the command line has it, or None when it names no mailbox; and what became known while the pairs were
    asked for it, one after the other."""

    name: MailboxName | None
    known: set[MailboxName] = field(default_factory=set)
    is_found: bool = False
    on_left: MailboxName | None = None

    def concerns(self, built: Built) -> bool:
        """Whether the command has to do with this pair. Raises StateError and StorageError."""
        if self.name is None:
            return True
        left, right = built.pair.left.address, built.pair.right.address
        state = State.read_only(built.state, left=left, right=right)
        if state is None:
            return True
        with state:
            names = state.mentioned_mailboxes()
        if self.name in names:
            self.is_found = True
        else:
            self.known |= names
            renamed = dict(built.settings.rename)
            self.on_left = next((name for name in names if renamed.get(name) == self.name), self.on_left)
        return not names or self.name in names

    def require(self) -> None:
        """Raises ConfigurationError when pairs were asked and none of them knows the mailbox."""
        if self.is_found or not self.known:
            return
        from mailtwin.config.load import nearest  # late: for a mistake only

        if self.on_left is not None:
            what = f"it is the name on the right, on the left it is {self.on_left}"
        else:
            what = nearest(str(self.name), map(str, sorted(self.known)))
        raise ConfigurationError(
            f'The state knows no mailbox "{self.name}"; {what}',
            hint="`--mailbox` takes the name on the left side; a mailbox is known from its first `mailtwin sync` on.",
        )
