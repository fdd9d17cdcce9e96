"""The exception tree: the cause is the class, the consequence is an attribute.

Every error that a server, a disk, a configuration or a person can cause is a `MailtwinError`. Its `scope` says what
to abandon, `retry` says when another attempt makes sense, and `exit_code` is what the command line returns. Only the
engine and the back-off read the first two, only the command line reads the last. Mistakes of our own are assertions.

Read next: `mailtwin.model`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Self


class Scope(IntEnum):
    """What is abandoned because of an error; the wider scope includes the narrower ones."""

    MESSAGE = 1
    MAILBOX = 2
    STORE = 3
    PAIR = 4
    RUN = 5


class Retry(Enum):
    """When another attempt can succeed."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"


class ExitCode(IntEnum):
    """The exit codes of the command line; documented in the README and stable."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_IN_STEP = 3
    CONFIGURATION = 10
    LOGIN = 11
    UNREACHABLE = 12
    TLS = 13
    PROTOCOL = 14
    STORE_MISSING = 15
    LOCKED = 16
    DISK = 17
    STATE = 18
    GUARD = 19
    SECRET = 20
    INTERRUPTED = 130


class MailtwinError(Exception):
    """The root of all errors that are not our own mistakes.

    `message` says in one paragraph what happened; `hint` says what a person can do about it. `suspect`: of a connection
    that ended, the message (its ref) that was under way; whether it is to blame, one such end does not tell.
    """

    scope: Scope = Scope.RUN
    retry: Retry = Retry.NEVER
    exit_code: ExitCode = ExitCode.FAILED
    suspect: int | str | None = None

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def over(self, suspect: int | str, doing: str) -> Self:
        """The same error, of a connection that ended while `doing`, over the message `suspect`."""
        other = type(self)(f"{self.message} ({doing})", hint=self.hint)
        other.suspect = suspect
        return other


class ConfigurationError(MailtwinError):
    """The configuration or the command line asks for something that makes no sense."""

    exit_code = ExitCode.CONFIGURATION


class SecretError(MailtwinError):
    """A password or token could not be had."""

    scope = Scope.STORE
    exit_code = ExitCode.SECRET


class ProtocolError(MailtwinError):
    """A rule of the wire protocol was broken; the subclass says by whom."""

    scope = Scope.STORE
    exit_code = ExitCode.PROTOCOL


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol forbids in this state; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The server sent what no IMAP server may send; the connection is unusable."""

    retry = Retry.LATER


class UnreachableError(MailtwinError):
    """No connection: unknown host, refused, reset, timed out, closed by the server (with its BYE text)."""

    scope = Scope.STORE
    retry = Retry.LATER
    exit_code = ExitCode.UNREACHABLE


class TlsError(MailtwinError):
    """TLS could not be established or the certificate is not trusted."""

    scope = Scope.STORE
    exit_code = ExitCode.TLS


class LoginError(MailtwinError):
    """The server refused the credentials."""

    scope = Scope.STORE
    exit_code = ExitCode.LOGIN


class ThrottledError(MailtwinError):
    """The server asks for a pause of `pause_s` seconds (`None`: it did not say how long)."""

    scope = Scope.STORE
    retry = Retry.LATER
    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, pause_s: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pause_s = pause_s


class LimitError(MailtwinError):
    """An account has used what its provider allows, or a person, or its provider asked for a rest: not now.

    `until`: when it goes on, in seconds since 1970; None: this error does not tell it.
    """

    scope = Scope.PAIR
    retry = Retry.LATER
    exit_code = ExitCode.UNREACHABLE

    def __init__(self, message: str, *, until: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.until = until


class CommandRefusedError(MailtwinError):
    """The server answered NO or BAD to a command that had to succeed."""

    scope = Scope.MAILBOX
    retry = Retry.LATER
    exit_code = ExitCode.PROTOCOL


class StoreMissingError(MailtwinError):
    """A store that held mail before is not there any more (an unmounted disk, a moved Maildir)."""

    scope = Scope.PAIR
    exit_code = ExitCode.STORE_MISSING


class MailboxError(MailtwinError):
    """One mailbox cannot be opened, created, named or listed; the others go on."""

    scope = Scope.MAILBOX
    retry = Retry.LATER


class NoMailboxError(MailboxError):
    """The store says that there is no such mailbox: not that it cannot be had now."""


class MailboxFullError(MailboxError):
    """One mailbox, or the account, takes no more mail (a quota); what else is to be done in it goes on."""


class MessageError(MailtwinError):
    """One message cannot be read or stored; the others go on."""

    scope = Scope.MESSAGE
    retry = Retry.LATER


class MessageRefusedError(MessageError):
    """One message will never be taken as it is by the store as it is: too big, or against its rules."""

    retry = Retry.NEVER


class StorageError(MailtwinError):
    """The disk refused: full, read-only, no permission, input/output error."""

    scope = Scope.PAIR
    retry = Retry.LATER
    exit_code = ExitCode.DISK


class StateError(MailtwinError):
    """The state database cannot be used: not ours, newer than this program, or damaged."""

    scope = Scope.PAIR
    exit_code = ExitCode.STATE


class LockedError(MailtwinError):
    """Another run works on the same pair or the same Maildir."""

    scope = Scope.PAIR
    retry = Retry.LATER
    exit_code = ExitCode.LOCKED


class GuardError(MailtwinError):
    """What would be removed is implausible; nothing was removed."""

    scope = Scope.MAILBOX
    exit_code = ExitCode.GUARD
