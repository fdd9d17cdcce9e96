"""The two streams of a command: lines that cannot hurt a terminal, and a reader that may go away.

Names and refusals come from servers. What could move the cursor or recolour the screen is shown as `\\xNN` instead.
"""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from mailtwin.errors import MailtwinError

IN_UTF8 = ["-X", "utf8"]
"""The interpreter's options with which `mailtwin.cli.main` starts it anew."""

STANDARD_ERROR = 2
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def harmless(text: str) -> str:
    """`text` with control characters (all but tab and line feed) made visible."""
    return text.translate(_CONTROLS)


class Lines:
    """Writes lines to a stream. When its reader has gone, writing goes on into nothing: a run must not end by it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._gone = False

    def write(self, line: str = "") -> None:
        """One line, at once."""
        if self._gone:
            return
        try:
            self.stream.write(harmless(line) + "\n")
            self.stream.flush()
        except (BrokenPipeError, OSError):
            # Also a full disk behind a redirection: what is shown matters less than what is done.
            self._gone = True
            _discard_from_now_on(self.stream)


def _discard_from_now_on(stream: TextIO) -> None:
    """Lets the interpreter's own last flush succeed."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass


def prepare_streams() -> None:
    """Makes all three streams usable, whoever called: closed ones lead nowhere.

    Characters that the terminal's encoding lacks are shown escaped instead of ending the program.
    """
    _open_what_is_closed()
    # The option is given where the locale is not UTF-8, see `mailtwin.cli.main`; the terminal still is what it is.
    encoding = locale.getencoding() if sys.orig_argv[1:3] == IN_UTF8 else None
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding=encoding, errors="backslashreplace")


def _open_what_is_closed() -> None:
    """Otherwise one of our files would get the number of a stream, and what others write there."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - it stays open as long as we run


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as text columns, without trailing blanks."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def error_lines(error: MailtwinError) -> list[str]:
    """An error as people see it: one paragraph, and what they can do about it."""
    return [f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else [])]
