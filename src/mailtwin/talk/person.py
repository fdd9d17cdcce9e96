"""What a person does: types commands and literals, reads the answers, leaves.

A line is sent after a tag of ours, as it was typed. `{file:PATH}` in it becomes a literal with the content of a file; a
line that ends in `{12}` asks for twelve octets. While a command waits for something (`+`), lines go out without a tag.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mailtwin.errors import ExitCode, MailtwinError
from mailtwin.imap.encode import LITERAL_MINUS_MAX
from mailtwin.talk.keyboard import Keyboard, Woken
from mailtwin.talk.knowledge import VERBS, Knowledge
from mailtwin.talk.line import Answer, Line
from mailtwin.talk.redaction import Redactor, secret_verb
from mailtwin.talk.screen import Screen, View

PROMPT: Final = "> "
PROMPT_MORE: Final = "+ "
REPLY_S_MAX: Final = 120.0
"""For commands from a pipe: nobody is there to press Ctrl-C."""

CLOSE_S_MAX: Final = 5.0

HELP: Final = """\
What you type is sent after a tag:   UID FETCH 1:* (FLAGS)
A literal from a file:               APPEND INBOX {file:~/message.eml}
A literal that you type:             APPEND INBOX {12}   (then twelve octets, then the rest of the command)
After a + of the server, lines are sent without a tag: DONE, a SASL response, * to cancel.
/raw /parsed /both   how responses are shown        /all        literals in full, or no more
/wait SECONDS        only listen                    /help       this
/quit, Ctrl-D        LOGOUT and leave               Ctrl-C      do not wait for the answer any longer"""

_FILE: Final = re.compile(r"\{file:([^}]+)\}")
_MARKER: Final = re.compile(r"\{([0-9]{1,10})(\+?)\}\Z")


class _Interrupted(Exception):
    """The person does not want to wait, or there is nothing more to read."""


class Person:
    """One conversation."""

    def __init__(
        self, line: Line, screen: Screen, keyboard: Keyboard, redactor: Redactor, knowledge: Knowledge
    ) -> None:
        self._line, self._screen, self._keyboard = line, screen, keyboard
        self._redactor, self._knowledge = redactor, knowledge
        self._tags = 0
        self._leaving = False

    def talk(self) -> ExitCode:
        """Until LOGOUT, the end of the input or the end of the connection. Raises MailtwinError."""
        while self._line.is_open:
            try:
                text = self._keyboard.ask(PROMPT)
            except Woken:
                break
            except KeyboardInterrupt:
                self._screen.note("(Ctrl-D ends)")
                continue
            if text is None:
                self._log_out()
                break
            if text.strip():
                self._obey(text.strip("\r\n"))
        if self._line.error is not None:
            raise self._line.error
        if not self._leaving:
            self._screen.note("the server closed the connection")
        return ExitCode.OK if self._leaving else ExitCode.UNREACHABLE

    def _obey(self, text: str) -> None:
        if text.startswith("/"):
            self._own_command(text)
            return
        if self._may_be_remembered(text):
            self._keyboard.remember(text)
        try:
            self._command(text)
        except Woken:
            return
        except (_Interrupted, KeyboardInterrupt):
            self._screen.note("(no longer waiting for the answer)")

    def _may_be_remembered(self, text: str) -> bool:
        """Known commands that are no login and hold no secret; what was mistyped may have been anything."""
        verb = text.split(maxsplit=1)[0].upper()
        known = verb in VERBS or verb in self._knowledge.capabilities
        return known and secret_verb(verb) is None and self._redactor.heard(text) == text

    # --- commands of our own ---

    def _own_command(self, text: str) -> None:
        name, _, argument = text.partition(" ")
        match name:
            case "/raw" | "/parsed" | "/both":
                self._screen.view = View(name[1:])
            case "/all":
                self._screen.shows_all = not self._screen.shows_all
            case "/wait" if re.fullmatch(r"\s*[0-9]{1,5}(\.[0-9]+)?\s*", argument):
                try:
                    self._line.wait("", max_s=float(argument))
                except KeyboardInterrupt:
                    return
            case "/quit":
                self._log_out()
            case _:
                self._screen.note(HELP)

    def _log_out(self) -> None:
        self._leaving = True
        try:
            tag = self._next_tag()
            self._line.send(f"{tag} LOGOUT\r\n".encode(), tag=tag, command="LOGOUT")
            if self._line.wait(tag, max_s=CLOSE_S_MAX) is Answer.TAGGED:
                self._line.wait("", max_s=CLOSE_S_MAX)
        except (MailtwinError, KeyboardInterrupt):
            # Whoever leaves does not care how.
            return

    # --- IMAP ---

    def _next_tag(self) -> str:
        self._tags += 1
        return f"T{self._tags}"

    def _command(self, text: str) -> None:
        contents: list[bytes] = []
        try:
            text = _FILE.sub(lambda found: self._literal_of(found[1], contents), text)
        except OSError as error:
            self._screen.note(f"nothing was sent: {error.filename}: {error.strerror}")
            return
        tag = self._next_tag()
        self._leaving = self._leaving or text.strip().upper() == "LOGOUT"
        # The markers of files are marked by a line break behind them, which nobody can type.
        first, *rest = text.split("\n")
        self._say(f"{tag} {first}", tag=tag, command=text)
        for content, part in zip(contents, rest, strict=True):
            if not self._goes_on(tag, first):
                return
            self._line.send(content)
            self._say(part)
            first = part
        self._type_literals(tag, first)
        self._finish(tag)

    def _literal_of(self, path: str, contents: list[bytes]) -> str:
        content = Path(path).expanduser().read_bytes()
        contents.append(content)
        has = self._knowledge.capabilities
        at_once = "LITERAL+" in has or ("LITERAL-" in has and len(content) <= LITERAL_MINUS_MAX)
        return f"{{{len(content)}{'+' if at_once else ''}}}\n"

    def _say(self, text: str, *, tag: str = "", command: str = "") -> None:
        self._line.send(text.encode("utf-8", "surrogateescape") + b"\r\n", tag=tag, command=command)

    def _goes_on(self, tag: str, line: str) -> bool:
        """Whether the literal that `line` announces may be sent: at once, or after the server's `+`."""
        marker = _MARKER.search(line)
        assert marker is not None
        return bool(marker[2]) or self._wait(tag) is Answer.GO_ON

    def _type_literals(self, tag: str, line: str) -> None:
        while (marker := _MARKER.search(line)) is not None and not self._in_exchange():
            if not self._goes_on(tag, line):
                return
            self._line.send(self._typed_octets(int(marker[1])))
            line = self._ask("rest of the command: ")
            self._say(line)

    def _typed_octets(self, size: int) -> bytes:
        """Exactly `size` octets, typed as lines with CRLF between them, and at the end if there is room for one."""
        while True:
            octets = b""
            while True:
                octets += self._ask(f"{size - len(octets)} octets: ").encode("utf-8", "surrogateescape")
                if len(octets) == size:
                    return octets
                octets += b"\r\n"
                if len(octets) == size:
                    return octets
                if len(octets) > size:
                    break
            self._screen.note(f"{size} octets were announced, these are more: again, please")

    def _finish(self, tag: str) -> None:
        """Waits for the tagged reply, and answers the server's `+` until then."""
        while self._wait(tag) is Answer.GO_ON:
            text = self._ask(PROMPT_MORE)
            while text.startswith("/"):
                self._own_command(text)
                text = self._ask(PROMPT_MORE)
            self._say(text)

    def _in_exchange(self) -> bool:
        return self._redactor.is_responding

    def _ask(self, prompt: str) -> str:
        text = self._keyboard.ask(prompt, secret=self._redactor.is_secret)
        if text is None:
            raise _Interrupted
        return text

    def _wait(self, tag: str) -> Answer:
        patience = {} if self._keyboard.is_terminal else {"max_s": REPLY_S_MAX}
        answer = self._line.wait(tag, go_on=True, **patience)
        if answer is Answer.TIME:
            self._screen.note(f"no answer within {REPLY_S_MAX:g} s")
            raise _Interrupted
        return answer
