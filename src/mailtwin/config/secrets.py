"""Where a password comes from, in this order: what the configuration names, the environment, a person at a terminal.

The two variables `MAILTWIN_LEFT_PASSWORD` and `MAILTWIN_RIGHT_PASSWORD` only serve a side for which nothing is
configured: with several pairs they could not mean all of them.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from mailtwin.config.settings import ImapSettings, SecretSource
from mailtwin.errors import SecretError
from mailtwin.model import Side

VARIABLES = {Side.LEFT: "MAILTWIN_LEFT_PASSWORD", Side.RIGHT: "MAILTWIN_RIGHT_PASSWORD"}

SECRET_BYTES_MAX = 64 * 1024
"""The longest access tokens known have some 4 KiB; a whole file given by mistake is not sent to a server."""

COMMAND_S_MAX = 300.0
"""A command may ask for a passphrase, but must not keep a nightly run for ever."""

Ask = Callable[[str], str | None]
"""Asks a person for a secret, with a question; None when there is nobody to ask."""


def find_secret(settings: ImapSettings, side: Side, ask: Ask, environ: Mapping[str, str] = os.environ) -> str:
    """The password or token for an account on `side`; empty where none is wanted, or may not be.

    Raises SecretError, which names all the ways to give one.
    """
    source = settings.secret
    if not settings.auth.wants_secret:
        return ""
    if source.command is not None:
        return _from_command(source.command, settings)
    if source.file is not None:
        return _from_file(source.file, settings)
    if source.variable is not None:
        return _from_variable(source.variable, settings, environ)
    if VARIABLES[side] in environ:
        return _from_variable(VARIABLES[side], settings, environ)
    if settings.tunnel is not None and source == SecretSource():
        # Whoever may start the tunnel is usually logged in by it; nobody is asked for what is rarely wanted.
        return ""
    what = "Access token" if settings.auth.wants_token else "Password"
    answer = ask(f"{what} for {settings.user} on {settings.host}: ")
    if answer is None:
        raise SecretError(
            f"There is no password for {settings.address} on the {side.label}, and no terminal to ask for it.",
            hint=f"Set {VARIABLES[side]}, or give the store one of password_command, password_file and password_env "
            "in the configuration.",
        )
    return _checked(answer, "what was typed", settings)


def asks_a_person(settings: ImapSettings, side: Side, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `find_secret` would ask: nothing else can tell the secret."""
    return settings.secret == SecretSource() and VARIABLES[side] not in environ


def ask_at_terminal(question: str) -> str | None:
    """Asks without showing the answer; None without a terminal or when the person ends the input."""
    import getpass
    import sys

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    try:
        return getpass.getpass(question, stream=sys.stderr)
    except EOFError:
        return None


def _from_command(command: tuple[str, ...] | str, settings: ImapSettings) -> str:
    shown = command if isinstance(command, str) else command[0]
    arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, timeout=COMMAND_S_MAX, check=False)
    except OSError as error:
        raise _failed(
            settings, f"password_command {shown!r} could not be started: {error.strerror}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(
            settings, f"password_command {shown!r} did not end within {COMMAND_S_MAX:.0f} seconds"
        ) from error
    if done.returncode != 0:
        raise _failed(settings, f"password_command {shown!r} ended with exit code {done.returncode}")
    return _checked(_first_line(done.stdout), f"the output of password_command {shown!r}", settings)


def _from_file(path: Path, settings: ImapSettings) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise _failed(settings, f"password_file {path} cannot be read: {error.strerror}") from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(
            f"The password_file {path} for {settings.address} can be read by others "
            f"(mode {stat.S_IMODE(status.st_mode):04o}); it was not used.",
            hint=f"Run: chmod 600 {path}",
        )
    return _checked(_first_line(content), f"password_file {path}", settings)


def _from_variable(name: str, settings: ImapSettings, environ: Mapping[str, str]) -> str:
    if name not in environ:
        raise _failed(settings, f"the environment variable {name} is not set")
    return _checked(environ[name], f"the environment variable {name}", settings)


def _first_line(content: bytes) -> str:
    return (
        content[: SECRET_BYTES_MAX + 1].partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "surrogateescape")
    )


def _checked(secret: str, origin: str, settings: ImapSettings) -> str:
    if not secret:
        raise _failed(settings, f"{origin} is empty")
    if len(secret) > SECRET_BYTES_MAX:
        raise _failed(settings, f"{origin} is longer than any password")
    if any(char in secret for char in "\0\r\n"):
        raise _failed(settings, f"{origin} has a line break or a NUL in it, which no password has")
    try:
        secret.encode()
    except UnicodeEncodeError as error:
        raise _failed(settings, f"{origin} is not UTF-8") from error
    return secret


def _failed(settings: ImapSettings, why: str) -> SecretError:
    return SecretError(f"There is no password for {settings.address}: {why}.")
