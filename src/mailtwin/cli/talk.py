"""`python -m mailtwin.imap talk URL`: an interactive IMAP session that shows everything both sides say.

    python -m mailtwin.imap talk imaps://user@host/ [--no-login] [--json] [--ca-file FILE] [--tunnel COMMAND]

Type commands without a tag. `{file:PATH}` stands for a literal with the bytes of that file; a line that ends in `{5}`
is followed by a literal of five bytes, typed line by line. `IDLE` lasts until the next line. What the server says
between commands is shown when it says it. `/json` and `/raw` switch what is shown, `/help` says more; LOGOUT, Ctrl-D or
the server's BYE end it.

Passwords never show: neither in what is sent nor in what a server repeats, nor in the history. Without a terminal the
commands are read from standard input, and nothing but the session is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mailtwin.cli.output import Lines, error_lines, harmless, prepare_streams
from mailtwin.client import Credentials, Session
from mailtwin.client.masking import masked
from mailtwin.config.address import parse_address
from mailtwin.config.build import place_of
from mailtwin.config.secrets import ask_at_terminal, find_secret
from mailtwin.config.settings import ImapSettings
from mailtwin.errors import ConfigurationError, ExitCode, LocalProtocolError, MailtwinError
from mailtwin.imap import Connection, Secret
from mailtwin.imap.commands import Command, Login
from mailtwin.imap.commands.raw import Raw
from mailtwin.imap.framing import Frame, Framer, LiteralChunk
from mailtwin.imap.jsonlines import Reader
from mailtwin.model import Side

SHOWN_BYTES_MAX: Final = 4_000
"""Of one literal or one line; the rest is only counted."""

SENT_LINES_MAX: Final = 40
"""Of what is sent in one go: a message that is uploaded is not the news."""

HISTORY_LINES: Final = 1_000
RENEW_S: Final = 240.0

HELP: Final = """commands go without a tag: UID FETCH 1:* (FLAGS)
{file:PATH}  a literal with the bytes of that file
... {5}      a literal of five bytes follows, line by line
IDLE         until the next line
/raw /json   what the server says, as it is or as `python -m mailtwin.imap parse` prints it
/help        this
LOGOUT       or Ctrl-D: the end"""

COMMANDS: Final = (
    "APPEND", "CAPABILITY", "CLOSE", "COPY", "CREATE", "DELETE", "ENABLE", "EXAMINE", "EXPUNGE", "FETCH", "GETACL",
    "GETMETADATA", "GETQUOTA", "GETQUOTAROOT", "ID", "IDLE", "LIST", "LOGIN", "LOGOUT", "LSUB", "MOVE", "MYRIGHTS",
    "NAMESPACE", "NOOP", "NOTIFY", "RENAME", "SEARCH", "SELECT", "SETACL", "SETMETADATA", "SORT", "STATUS", "STORE",
    "SUBSCRIBE", "THREAD", "UID", "UNSELECT", "UNSUBSCRIBE"
)  # fmt: skip
_NOT_HERE: Final = {
    "STARTTLS": "TLS is started by the address: imap://user@host/?tls=starttls",
    "AUTHENTICATE": "leave out --no-login, and the best mechanism is used",
    "COMPRESS": "what is compressed cannot be shown",
}
_FILE: Final = re.compile(r"\{file:([^}]+)\}")
_COUNT: Final = re.compile(r"\{(\d+)\+?\}\Z")
_WORD: Final = re.compile(r'\\?[^\s()"{}]+')


class Overheard(Connection):
    """A connection that tells what it hears and says."""

    def __init__(self, heard: Callable[[bytes], None], said: Callable[[bytes], None]) -> None:
        super().__init__()
        self._heard_, self._said_ = heard, said
        self._lent = memoryview(b"")

    def get_buffer(self) -> memoryview:
        self._lent = super().get_buffer()
        return self._lent

    def received(self, count: int) -> None:
        self._heard_(bytes(self._lent[:count]))
        super().received(count)

    def receive_data(self, data: bytes) -> None:
        self._heard_(data)
        super().receive_data(data)

    def data_to_send(self) -> bytes | memoryview:
        data = super().data_to_send()
        if data:
            self._said_(bytes(data))
        return data


class Transcript:
    """Shows both sides, without secrets and without anything that could move the cursor.

    `words` collects names of mailboxes and flags that were seen, for completion.
    """

    def __init__(self, out: Lines, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.secrets: list[Credentials] = []
        self.words: set[str] = set()
        self._out = out
        self._framer: Framer | None = Framer()
        self._reader = Reader()

    def heard(self, data: bytes) -> None:
        """Bytes of the server."""
        for value in self._reader.feed(data):
            self._collect(value)
            if self.as_json:
                self._show("", json.dumps(value, ensure_ascii=False))
        if self._framer is None:
            return
        try:
            self._framer.feed(data)
            while (event := self._framer.next()) is not None:
                if isinstance(event, Frame) and not self.as_json:
                    self._show_frame(event)
                elif isinstance(event, LiteralChunk) and event.last and not self.as_json:
                    self._show("S| ", "(a large literal)")
        except MailtwinError as error:
            self._framer = None
            self._show("!! ", error.message)

    def said(self, data: bytes) -> None:
        """Bytes of ours."""
        if self.as_json:
            return
        lines = _text(data).removesuffix("\r\n").split("\r\n")
        for line in lines[:SENT_LINES_MAX]:
            self._show("C: ", line)
        if len(lines) > SENT_LINES_MAX:
            self._show("C: ", f"... {len(lines) - SENT_LINES_MAX} more lines")

    def remark(self, text: str) -> None:
        """Our own words."""
        if not self.as_json:
            for line in text.splitlines():
                self._show("-- ", line)

    def _show_frame(self, frame: Frame) -> None:
        shown = _text(frame.segments[0])
        for literal, segment in zip(frame.literals, frame.segments[1:], strict=True):
            size = len(literal) if isinstance(literal, bytes) else literal.size
            self._show("S: ", f"{shown}{{{size}}}")
            if isinstance(literal, bytes):
                self._show_literal(literal)
            shown = _text(segment)
        self._show("S: ", shown)

    def _show_literal(self, literal: bytes) -> None:
        for line in _text(literal[:SHOWN_BYTES_MAX]).split("\r\n"):
            self._show("S| ", line)
        if len(literal) > SHOWN_BYTES_MAX:
            self._show("S| ", f"... {len(literal) - SHOWN_BYTES_MAX} more bytes")

    def _show(self, prefix: str, text: str) -> None:
        for who in self.secrets:
            text = masked(text, who)
        if len(text) > SHOWN_BYTES_MAX and not self.as_json:
            text = f"{text[:SHOWN_BYTES_MAX]} ... {len(text) - SHOWN_BYTES_MAX} more characters"
        self._out.write(prefix + harmless(text).replace("\n", "\\x0a").replace("\t", "\\x09"))

    def _collect(self, value: dict[str, Any]) -> None:
        if len(self.words) > HISTORY_LINES or not isinstance(value["data"], dict):
            return
        for found in (value["data"].get("name"), *(value["data"].get("flags") or ())):
            if isinstance(found, str) and found:
                self.words.add(found if _WORD.fullmatch(found) else json.dumps(found, ensure_ascii=False))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


class Keyboard:
    """Lines from a terminal, with history and completion, or from standard input."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._candidates: list[str] = []
        if self._is_terminal:
            self._prepare()

    def _prepare(self) -> None:
        import readline

        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t\n()")
        readline.parse_and_bind("tab: complete")
        readline.set_auto_history(False)
        if self._history.exists():
            readline.read_history_file(self._history)

    @property
    def _history(self) -> Path:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(base) / "mailtwin" / "talk-history"

    def _complete(self, text: str, state: int) -> str | None:
        if state == 0:
            known = (*COMMANDS, *sorted(self._transcript.words), "/raw", "/json", "/help")
            self._candidates = [word for word in known if word.upper().startswith(text.upper())]
        return self._candidates[state] if state < len(self._candidates) else None

    async def line(self, prompt: str) -> str | None:
        """The next line; None at the end of the input."""
        return await asyncio.to_thread(self._read, prompt)

    def _read(self, prompt: str) -> str | None:
        try:
            return input(prompt) if self._is_terminal else _next_line()
        except EOFError:
            return None

    def remember(self, line: str) -> None:
        """Adds a line to the history, if there is one."""
        if self._is_terminal and line.strip():
            import readline

            readline.add_history(line)

    def save(self) -> None:
        """Writes the history, for nobody but its owner."""
        if not self._is_terminal:
            return
        import readline

        self._history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        readline.set_history_length(HISTORY_LINES)
        os.close(os.open(self._history, os.O_WRONLY | os.O_CREAT, 0o600))
        readline.write_history_file(self._history)
        self._history.chmod(0o600)


def _next_line() -> str | None:
    line = sys.stdin.readline()
    return line.rstrip("\r\n") if line else None


class Talk:
    """One conversation."""

    def __init__(self, session: Session, transcript: Transcript, keyboard: Keyboard) -> None:
        self._session = session
        self._transcript = transcript
        self._keyboard = keyboard

    async def go_on(self) -> None:
        """Reads and executes lines until the end. Raises what ends the connection."""
        while self._session.is_open:
            line = await self._while_listening(self._keyboard.line("> "))
            if line is None or line.strip().upper() == "LOGOUT":
                return
            try:
                await self._execute(line.strip())
            except (LocalProtocolError, ConfigurationError) as error:
                self._transcript.remark(error.message)
                if error.hint:
                    self._transcript.remark(error.hint)

    async def _while_listening(self, typing: Any) -> str | None:
        """A line; meanwhile whatever the server says is shown."""
        task = asyncio.ensure_future(typing)

        async def listen() -> None:
            async with aclosing(self._session.listen(renew_s=RENEW_S)) as news:
                async for _response in news:
                    pass  # shown by the transcript

        listening = asyncio.ensure_future(listen())
        done, _ = await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening in done and listening.exception() is not None:
            # The connection has gone; the line that is being typed has nowhere to go.
            task.cancel()
            raise listening.exception() or AssertionError
        line: str | None = await task
        self._session.stop_idle()
        await listening
        return line

    async def _execute(self, line: str) -> None:
        verb = line.partition(" ")[0].upper()
        if verb != "LOGIN":
            self._keyboard.remember(line)
        if not line:
            return
        if verb in _NOT_HERE:
            raise ConfigurationError(f"{verb} cannot be typed here", hint=_NOT_HERE[verb])
        if verb == "LOGIN":
            await self._log_in(line)
        elif verb == "IDLE":
            await self._idle()
        elif verb in ("/RAW", "/JSON"):
            self._transcript.as_json = verb == "/JSON"
        elif verb.startswith("/"):
            self._transcript.remark(HELP)
        else:
            await self._run(Raw(await self._parts(line)))

    async def _run(self, command: Command) -> None:
        (result,) = await self._session.run_all([command])
        if result.lost is not None:
            raise result.lost

    async def _log_in(self, line: str) -> None:
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise ConfigurationError(f"LOGIN cannot be read: {error}") from error
        if len(words) != 3:
            raise ConfigurationError("LOGIN wants a user and a password")
        who = Credentials(words[1], Secret(words[2]))
        self._transcript.secrets.append(who)
        await self._run(Login(who.user, who.secret))

    async def _idle(self) -> None:
        async def idle() -> None:
            async with aclosing(self._session.idle(max_s=RENEW_S, renew=True)) as news:
                async for _response in news:
                    pass  # shown by the transcript

        idling = asyncio.ensure_future(idle())
        typing = asyncio.ensure_future(self._keyboard.line(""))
        await asyncio.wait((idling, typing), return_when=asyncio.FIRST_COMPLETED)
        self._session.stop_idle()
        await typing
        await idling

    async def _parts(self, line: str) -> tuple[bytes, ...]:
        """The line as text and literals. Raises ConfigurationError when a file cannot be read."""
        parts: list[bytes] = []
        texts = _FILE.split(line)
        for at, text in enumerate(texts):
            parts.append(_read_file(text) if at % 2 else text.encode("utf-8", "surrogateescape"))
        while (count := _COUNT.search(parts[-1].decode("utf-8", "surrogateescape"))) is not None:
            parts[-1] = parts[-1][: -len(count[0])]
            literal, rest = await self._typed_literal(int(count[1]))
            parts += [literal, rest]
        return tuple(parts)

    async def _typed_literal(self, size: int) -> tuple[bytes, bytes]:
        """A literal of `size` bytes, typed line by line, and what stands behind it in its last line."""
        typed = b""
        while len(typed) < size:
            line = await self._keyboard.line("literal> ")
            if line is None:
                raise ConfigurationError(f"the literal ends after {len(typed)} of {size} bytes")
            typed += line.encode("utf-8", "surrogateescape") + b"\r\n"
        return typed[:size], typed[size:].removesuffix(b"\r\n")


def _read_file(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error


async def talk(arguments: argparse.Namespace, out: Lines) -> None:
    """Connects, logs in and talks. Raises MailtwinError."""
    settings = parse_address(arguments.url)
    if not isinstance(settings, ImapSettings):
        raise ConfigurationError(f"{arguments.url} is no IMAP server", hint="imaps://user@host/")
    settings = replace(settings, ca_file=arguments.ca_file, tunnel=arguments.tunnel)
    transcript = Transcript(out, as_json=arguments.json)
    secret = "" if arguments.no_login else find_secret(settings, Side.LEFT, ask_at_terminal)
    who = Credentials(settings.user, Secret(secret))
    transcript.secrets.append(who)
    connection = Overheard(transcript.heard, transcript.said)
    keyboard = Keyboard(transcript)
    session = await Session.connect(place_of(settings), connection=connection)
    try:
        if not arguments.no_login:
            await session.log_in(who)
        await Talk(session, transcript, keyboard).go_on()
    finally:
        keyboard.save()
        await session.close()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mailtwin.imap talk",
        description="An interactive IMAP session that shows everything both sides say.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", help="imaps://user@host/ or imap://user@host/, as for mailtwin itself")
    parser.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="trust the certificates (PEM) in this file too"
    )
    parser.add_argument("--no-login", action="store_true", help="do not log in; LOGIN can be typed")
    parser.add_argument("--json", action="store_true", help="begin with what the server says as JSON")
    parser.add_argument("--tunnel", metavar="COMMAND", help="talk to this command instead of a port")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Runs the tool; the exit code is that of `mailtwin`."""
    prepare_streams()
    arguments = _arguments(argv)
    errors = Lines(sys.stderr)
    try:
        asyncio.run(talk(arguments, Lines(sys.stdout)))
    except MailtwinError as error:
        for line in error_lines(error):
            errors.write(line)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK
