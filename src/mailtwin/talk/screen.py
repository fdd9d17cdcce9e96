"""How a conversation looks: `C:` what we say, `S:` what the server says, `|` octets of literals; or JSON.

Whatever the server sends, only printable characters reach the terminal; the others are written as `\\x1b`. A line that
does not end in CRLF, as the protocol wants it, says so. Everything goes through one lock: two threads write.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TextIO

from mailtwin.errors import MailtwinError, StorageError
from mailtwin.imap.jsonlines import Reader
from mailtwin.talk.hearing import Heard
from mailtwin.talk.redaction import Redactor

LITERAL_SHOWN_BYTES = 2048
"""Of one literal, unless all is wanted: enough for the header of a message."""

PARSED_BYTES_MAX = 1024 * 1024
"""Of literals in the parsed view; larger ones are told by size and SHA-256."""


class View(Enum):
    """What is shown of the server's responses."""

    RAW = "raw"
    PARSED = "parsed"
    BOTH = "both"


def printable(text: str) -> str:
    """`text` without a character that does anything to a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else _escape(char) for char in text)


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 255 else f"\\x{ord(char):02x}"


def printable_json(text: str) -> str:
    """JSON that was made without escapes, with those that a terminal needs."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class Screen:
    """Prints to `out`; notes for the person to `notes`. `around` wraps each piece of output (a prompt gives way)."""

    def __init__(
        self, out: TextIO, notes: TextIO, redactor: Redactor, *, view: View, log: Path | None = None
    ) -> None:
        self.view = view
        self.shows_all = False
        self.around: Callable[[], Iterator[None]] = _nothing
        self._out, self._notes = out, notes
        self._redactor = redactor
        self._reader = Reader(held_bytes_max=PARSED_BYTES_MAX)
        self._lock = threading.RLock()
        self._log = _opened(log) if log is not None else None
        self._octets: dict[str, int] = {}

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()

    def said(self, data: bytes) -> None:
        """We sent these bytes."""
        for piece, is_literal in self._redactor.said(data):
            if is_literal:
                self._literal(piece, "C")
            else:
                self._literal_ends("C")
                self._raw(f"C: {printable(_decoded(piece))}")

    def heard(self, piece: Heard) -> None:
        """The server sent this."""
        if piece.is_literal:
            self._literal(piece.raw, "S")
            return
        for part, is_literal in piece.parts():
            if is_literal:
                self._literal(part, "S")
            else:
                self._literal_ends("S")
                line = part.rstrip(b"\r\n")
                self._raw(f"S: {self._shown(line)}{_odd_end(part)}")

    def parsed(self, data: bytes) -> None:
        """Shows what is complete with these bytes as JSON, if that is wanted."""
        for value in self._reader.feed(data):
            if self.view is not View.RAW:
                self._print(printable_json(self._redactor.heard(json.dumps(value, ensure_ascii=False))))

    def forget_unread(self) -> None:
        """What follows is no continuation of what came before (compressed bytes were among it)."""
        self._reader = Reader(held_bytes_max=PARSED_BYTES_MAX)

    def partial(self, data: bytes) -> None:
        """The connection ended in the middle of these bytes."""
        for line in filter(None, data[:LITERAL_SHOWN_BYTES].split(b"\n")):
            self._raw(f"S: {self._shown(line)} [not complete]")

    def note(self, text: str) -> None:
        """Words for the person, on the other stream."""
        with self._aside():
            self._notes.write(f"{text}\n")
            self._notes.flush()

    def error(self, error: MailtwinError) -> None:
        """What went wrong."""
        self.note(f"error: {printable(self._redactor.heard(error.message))}")
        if error.hint:
            self.note(f"hint: {printable(self._redactor.heard(error.hint))}")

    def _shown(self, data: bytes) -> str:
        return printable(self._redactor.heard(_decoded(data)))

    def _literal(self, octets: bytes, who: str) -> None:
        seen = self._octets.get(who, 0)
        room = len(octets) if self.shows_all else max(0, LITERAL_SHOWN_BYTES - seen)
        self._octets[who] = seen + len(octets)
        for line in octets[:room].splitlines():
            self._raw(f"{who}| {self._shown(line)}")

    def _literal_ends(self, who: str) -> None:
        hidden = 0 if self.shows_all else self._octets.get(who, 0) - LITERAL_SHOWN_BYTES
        if hidden > 0:
            self._raw(f"{who}| [{hidden:,} more octets; /all shows everything]")
        self._octets[who] = 0

    def _raw(self, line: str) -> None:
        if self._log is not None:
            self._log.write(line + "\n")
            self._log.flush()
        if self.view is not View.PARSED:
            self._print(line)

    def _print(self, line: str) -> None:
        with self._aside():
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except BrokenPipeError:
                # Who read it has seen enough; the conversation ends with its input.
                self._out = io.StringIO()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        with self._lock:
            wrapped = self.around()
            next(wrapped)
            yield
            next(wrapped, None)


def _nothing() -> Iterator[None]:
    yield


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _odd_end(line: bytes) -> str:
    if line.endswith(b"\r\n"):
        return " [CR before CRLF]" if line.endswith(b"\r\r\n") else ""
    return " [ends in LF without CR]" if line.endswith(b"\n") else ""


def _opened(path: Path) -> TextIO:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"the log {path} cannot be written: {error.strerror}") from error
    return os.fdopen(handle, "a", encoding="utf-8")
