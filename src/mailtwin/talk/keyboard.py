"""Where commands come from: a person at a terminal, with history and completion; or a pipe.

What the server says meanwhile is shown above the prompt, and what was typed so far is put back (`Terminal.around`).
The history holds only what it is told to `remember`, and belongs to its owner alone.
"""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, TextIO

HISTORY_LINES_MAX: Final = 2_000
_WAKE: Final = signal.SIGUSR1
_CLEAR: Final = "\r\x1b[K"


class Woken(Exception):
    """Something happened that ends the wait for a line."""


class Keyboard:
    """Lines from a pipe or a file; at a terminal, see `Terminal`."""

    is_terminal = False

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._asking = False
        self._reader = threading.get_ident()
        self._woken = False
        signal.signal(_WAKE, self._on_signal)

    def ask(self, prompt: str, *, secret: bool = False) -> str | None:
        """The next line without its end; None at the end of the input.

        Raises `Woken` after `wake`, and KeyboardInterrupt for Ctrl-C. `secret`: it is not shown.
        """
        with self._waiting():
            return self._read(prompt, secret=secret)

    def wake(self) -> None:
        """Ends the `ask` under way, or else the next one; called by another thread."""
        self._woken = True
        if self._asking:
            signal.pthread_kill(self._reader, _WAKE)

    def remember(self, line: str) -> None:
        """Adds a line to the history, where there is one."""

    def around(self) -> Iterator[None]:
        """Wraps what is printed while `ask` waits."""
        yield

    def _read(self, _prompt: str, *, secret: bool) -> str | None:
        del secret
        line = self._source.readline()
        return line.rstrip("\r\n") if line else None

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self._asking = True
        try:
            if self._woken:
                raise Woken
            yield
        finally:
            self._asking = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asking:
            raise Woken


class Terminal(Keyboard):
    """A person. `complete` gives the word at the end of a line, and what it may become; `history`: the file, if any."""

    is_terminal = True

    def __init__(self, complete: Callable[[str], tuple[str, list[str]]], history: Path | None) -> None:
        super().__init__(sys.stdin)
        self._complete = complete
        self._history = history
        self._prompt: str | None = None
        self._candidates: list[str] = []
        self._readline = _readline()
        if self._readline is not None:
            self._set_up(self._readline)

    def remember(self, line: str) -> None:
        """See `Keyboard`; also into the file, at once."""
        if self._readline is not None:
            self._readline.add_history(line)
        if self._history is not None:
            _append(self._history, line)

    def around(self) -> Iterator[None]:
        """See `Keyboard`: the prompt goes away, and comes back with what was typed."""
        prompt = self._prompt
        if prompt is None:
            yield
            return
        sys.stdout.write(_CLEAR)
        sys.stdout.flush()
        yield
        typed = self._readline.get_line_buffer() if self._readline is not None else ""
        sys.stdout.write(prompt + typed)
        sys.stdout.flush()

    def _read(self, prompt: str, *, secret: bool) -> str | None:
        try:
            if secret:
                return getpass.getpass(prompt)
            self._prompt = prompt
            return input(prompt)
        except EOFError:
            return None
        finally:
            self._prompt = None

    def _set_up(self, readline: Any) -> None:
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind("bind ^I rl_complete")
        else:
            readline.parse_and_bind("tab: complete")
            # A terminal that is told to bracket what is pasted would have to be told again after each line of ours.
            readline.parse_and_bind("set enable-bracketed-paste off")
        readline.set_auto_history(False)
        readline.set_completer_delims(" \t(")
        readline.set_completer(self._nth)
        if self._history is not None:
            for line in _lines(self._history):
                readline.add_history(line)

    def _nth(self, _word: str, number: int) -> str | None:
        if self._readline is None:
            return None
        if not number:
            line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            word, candidates = self._complete(line)
            # Readline replaces from its own idea of where the word begins, which knows no quotes.
            skipped = self._readline.get_begidx() - (len(line) - len(word))
            self._candidates = [one[skipped:] for one in candidates]
        return self._candidates[number] if number < len(self._candidates) else None


def _readline() -> Any:
    try:
        import readline
    except ImportError:
        # A Python without it: lines can be typed all the same.
        return None
    return readline


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-HISTORY_LINES_MAX:]
    except FileNotFoundError:
        return []


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = _lines(path)
    long = len(kept) >= HISTORY_LINES_MAX
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if long else os.O_APPEND)
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
        # Also a file that was there before, made by somebody who was less careful.
        os.fchmod(file.fileno(), 0o600)
        old = kept[-HISTORY_LINES_MAX // 2 :] if long else []
        file.writelines(f"{one}\n" for one in [*old, line])
