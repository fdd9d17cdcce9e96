"""What came of a command."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailtwin.errors import CommandRefusedError, MailtwinError, ThrottledError, UnreachableError
from mailtwin.imap.commands import Command, Taken
from mailtwin.imap.quirks import is_back_end_missing, text_of, throttle_of
from mailtwin.imap.responses import Code, Status


class Refused(CommandRefusedError):
    """The server answered NO or BAD; `result` is the whole answer, its response code included."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one command.

    `status` is the tagged reply; None when there was none: then `lost` says why, and `sent` whether the server can
    have executed the command (False: it cannot). `responses`: what answered it before, in order. `incomplete`: the
    reasons why that may be less than everything. `challenge`: the last SASL challenge; `challenges`: how
    many there were.
    """

    command: Command
    status: Status | None
    responses: tuple[Taken, ...] = field(default=(), repr=False)
    incomplete: tuple[str, ...] = ()
    lost: MailtwinError | None = None
    sent: bool = True
    challenge: bytes = field(default=b"", repr=False)
    challenges: int = 0

    @property
    def ok(self) -> bool:
        """Whether the server said OK."""
        return self.status is not None and self.status.word == "OK"

    @property
    def complete(self) -> bool:
        """Whether the server said OK and nothing hints at a short answer (rule R8, without the count)."""
        return self.ok and not self.incomplete

    @property
    def code(self) -> Code | None:
        """The response code of the tagged reply, or an untagged COPYUID (rule R4)."""
        if self.status is not None and self.status.code is not None:
            return self.status.code
        return self.find_code("COPYUID")

    def find_code(self, name: str) -> Code | None:
        """The code `name` of the tagged reply, or the last one of an untagged reply to this very command."""
        statuses = [taken for taken in self.responses if isinstance(taken, Status)]
        for status in (self.status, *reversed(statuses)):
            if status is not None and status.code is not None and status.code.name == name:
                return status.code
        return None

    @property
    def is_pause(self) -> bool:
        """Whether the tagged reply asks for a pause (rule R16)."""
        return self.status is not None and throttle_of(self.status) is not None

    @property
    def text(self) -> str:
        """What the server said to people in the tagged reply."""
        return "" if self.status is None else text_of(self.status.text)

    def error(self, where: str, *, mailbox: str = "") -> MailtwinError | None:
        """The error that this result is, or None when the server said OK. `where` names the server.

        ThrottledError for a wish to pause (rule R16), UnreachableError for a lost connection, else `Refused`.
        """
        if self.status is None or self.ok:
            return self.lost
        about = f" {mailbox!r}" if mailbox else ""
        message = f"{where}: {self.command.verb}{about} refused: {self.text or 'no reason given'}"
        pause = throttle_of(self.status)
        if pause is not None:
            return ThrottledError(message, pause_s=pause.pause_s)
        if is_back_end_missing(self.status):
            return UnreachableError(message)
        return Refused(message, self)
