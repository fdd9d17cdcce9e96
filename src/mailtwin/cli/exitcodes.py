"""What each exit code means, in one sentence: for `mailtwin --help` and the README, which a test compares."""

from __future__ import annotations

from mailtwin.errors import ExitCode

EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.OK: "Done; after `sync`: both sides are in step; after `verify`: they are identical.",
    ExitCode.FAILED: "A failure without a code of its own, or a mistake in mailtwin.",
    ExitCode.USAGE: "The command line was not understood.",
    ExitCode.NOT_IN_STEP: "Something is not in step, or not identical; each message and mailbox is listed.",
    ExitCode.CONFIGURATION: "The configuration, an address or a name is wrong.",
    ExitCode.LOGIN: "A server refused the user name or the password.",
    ExitCode.UNREACHABLE: "A server could not be reached, the connection was lost for good, or a limit is used up.",
    ExitCode.TLS: "The encrypted connection failed, or the certificate is not trusted.",
    ExitCode.PROTOCOL: "A server does not speak IMAP, or refused a command it must know.",
    ExitCode.STORE_MISSING: "A store that held mail before is not there (an unmounted disk?).",
    ExitCode.LOCKED: "Another run works on the same pair or the same Maildir.",
    ExitCode.DISK: "The disk is full, read-only or failing.",
    ExitCode.STATE: "The state cannot be used: damaged, of another pair, or of a newer mailtwin.",
    ExitCode.GUARD: "Removals are implausible, so they were held back; `approve` shows them.",
    ExitCode.SECRET: "A password could not be had.",
    ExitCode.INTERRUPTED: "Interrupted; the next run goes on from there.",
}


def as_help() -> str:
    """The table as it stands in `mailtwin --help`."""
    return "\n".join(f"  {code.value:>3}  {what.replace('`', '')}" for code, what in EXIT_CODES.items())
