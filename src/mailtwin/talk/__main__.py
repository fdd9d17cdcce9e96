"""`python -m mailtwin.imap talk`: the arguments, and everything put together.

    python -m mailtwin.imap talk imaps://user@host/
    python -m mailtwin.imap talk --view parsed imap://user@127.0.0.1:1143/ < commands
    python -m mailtwin.imap talk --tunnel 'ssh mail.example.org imapd' imap://user@mail.example.org/

The password is taken from `MAILTWIN_PASSWORD`, else asked for on a terminal. Exit codes are those of `mailtwin`.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mailtwin.client import Credentials, Secret, Timeouts
from mailtwin.config.address import parse_address
from mailtwin.config.places import default_state_dir, place_of
from mailtwin.config.secrets import ask_at_terminal, find_secret
from mailtwin.config.settings import Auth, ImapSettings, SecretSource
from mailtwin.errors import ConfigurationError, ExitCode, MailtwinError, SecretError
from mailtwin.model import Side
from mailtwin.talk.keyboard import Keyboard, Terminal
from mailtwin.talk.knowledge import Knowledge
from mailtwin.talk.line import Ear, Line
from mailtwin.talk.person import HELP, Person
from mailtwin.talk.redaction import Redactor
from mailtwin.talk.screen import Screen, View

VARIABLE = "MAILTWIN_PASSWORD"


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mailtwin.imap talk",
        description="Speak IMAP with a server, and see all that is said, without passwords.",
        epilog=f"The password is taken from {VARIABLE}, else asked for on a terminal.\n\n{HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("address", help="imaps://user@host[:port]/ or imap://user@host[:port]/")
    parser.add_argument("--ca-file", type=Path, metavar="PATH", help="trust these certificates (PEM) as well")
    parser.add_argument(
        "--tunnel", metavar="COMMAND", help="a command (for the shell) that is the connection"
    )
    parser.add_argument(
        "--no-login", action="store_true", help="connect, start TLS, and leave the login to you"
    )
    parser.add_argument("--auth", choices=[auth.value for auth in Auth], default="auto", help="how to log in")
    parser.add_argument(
        "--view", choices=[view.value for view in View], default="raw", help="how responses are shown [raw]"
    )
    parser.add_argument(
        "--log", type=Path, metavar="PATH", help="append what is said to this file, without passwords"
    )
    parser.add_argument(
        "--no-history", action="store_true", help="neither read nor write the history of commands"
    )
    return parser


def _settings(arguments: argparse.Namespace) -> ImapSettings:
    settings = parse_address(arguments.address)
    if not isinstance(settings, ImapSettings):
        raise ConfigurationError(f"{arguments.address} is no IMAP server", hint="imaps://user@host/")
    if arguments.ca_file is not None:
        settings = replace(settings, ca_file=arguments.ca_file)
    if VARIABLE in os.environ:
        settings = replace(settings, secret=SecretSource(variable=VARIABLE))
    return replace(settings, tunnel=arguments.tunnel, auth=Auth(arguments.auth))


def _credentials(settings: ImapSettings) -> Credentials:
    def ask(question: str) -> str:
        answer = ask_at_terminal(question)
        if answer is None:
            raise SecretError(
                f"There is no password for {settings.address}, and no terminal to ask for it.",
                hint=f"Set {VARIABLE}, or say --no-login.",
            )
        return answer

    # The variables of the two sides are for pairs; with one server, one name is enough.
    environ = {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}
    secret = find_secret(settings, Side.LEFT, ask, environ)
    return Credentials(settings.user, Secret(secret), settings.auth.value)


def _keyboard(knowledge: Knowledge, *, history: bool) -> Keyboard:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Keyboard(sys.stdin)
    return Terminal(knowledge.complete, default_state_dir() / "talk_history" if history else None)


def run(arguments: argparse.Namespace) -> ExitCode:
    """One conversation. Raises MailtwinError."""
    settings = _settings(arguments)
    place = place_of(settings)
    who = None if arguments.no_login else _credentials(settings)
    # Bytes that are no text go through, and what a terminal of another character set cannot show is escaped.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    redactor, knowledge = Redactor(), Knowledge()
    if who is not None:
        redactor.know(who)
    screen = Screen(sys.stdout, sys.stderr, redactor, view=View(arguments.view), log=arguments.log)
    keyboard = _keyboard(knowledge, history=not arguments.no_history)
    screen.around = keyboard.around
    line = Line(place, Ear(screen, redactor, knowledge), Timeouts())
    line.on_close = keyboard.wake
    try:
        line.open(who)
        if keyboard.is_terminal:
            screen.note("/help tells how; Ctrl-D ends")
        return Person(line, screen, keyboard, redactor, knowledge).talk()
    except MailtwinError as error:
        screen.error(error)
        return error.exit_code
    finally:
        line.close()
        screen.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tool; the exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        return run(arguments)
    except MailtwinError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
