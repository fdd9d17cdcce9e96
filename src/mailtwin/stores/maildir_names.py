"""The names of message files in a Maildir: a unique part that never changes, and an info part that holds the flags.

`1700000000.M12345P678Q9R0badcafe.host:2,FS`: the part before the separator is the message's ref; the letters behind
`2,` are its flags. Letters that mean nothing to us belong to a mail reader (keywords, say) and are kept.

The convention for unique names is https://cr.yp.to/proto/maildir.html; pure except for the defaults of `UniqueNames`.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from mailtwin.model import Flags, Vocabulary, make_flags
from mailtwin.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, FORWARDED, SEEN

HINT_FOREIGN = "what is no message has no place in a Maildir: remove it, or bring back what belongs there"
"""For people whose Maildir holds links to nothing, pipes and the like under names that messages could have."""

LETTERS: dict[str, str] = {
    "D": DRAFT,
    "F": FLAGGED,
    "P": FORWARDED,
    "R": ANSWERED,
    "S": SEEN,
    "T": DELETED,
}
"""What the standard letters mean; "passed" covers forwarded, resent and bounced."""

MAILDIR_VOCABULARY = Vocabulary(make_flags(LETTERS.values()), any_keyword=False)
"""The flags that file names can hold."""

VERBATIM = ",mailtwin=verbatim"
"""Ends the unique part of a file whose bytes are wire bytes although they look converted (see `line_endings`)."""

_TEMPORARY = ",mailtwin="
_OURS = {flag: letter for letter, flag in LETTERS.items()}
_counter = itertools.count(1)
_run = secrets.token_hex(4)


def split_name(file_name: str, separator: str = ":") -> tuple[str, str]:
    """The unique part and the rest, which begins with the separator or is empty."""
    at = file_name.find(f"{separator}2,")
    if at < 0:
        at = file_name.find(separator)
    return (file_name, "") if at < 0 else (file_name[:at], file_name[at:])


@lru_cache(maxsize=4096)
def flags_of(info: str) -> Flags:
    """The flags that an info part (`:2,FS`) shows; an info of another version shows none."""
    return make_flags(LETTERS[letter] for letter in _letters(info)[0] if letter in LETTERS)


def info_with(info: str, flags: Flags, separator: str = ":") -> str:
    """An info part that shows exactly `flags`, in ASCII order, with all in `info` that is not ours."""
    letters, rest = _letters(info)
    kept = {letter for letter in letters if letter not in LETTERS}
    ours = {_OURS[flag] for flag in flags if flag in _OURS}
    return f"{separator}2,{''.join(sorted(kept | ours))}{rest}"


def _letters(info: str) -> tuple[str, str]:
    """The flag letters of an info part, and what follows them."""
    if info[1:3] != "2,":
        return "", ""
    text = info[3:]
    end = next((at for at, char in enumerate(text) if not char.isalnum()), len(text))
    return text[:end], text[end:]


class UniqueNames:
    """Makes unique names: one clock reading, process, counter and random run each, so that no two are equal.

    The clock (`time.time_ns`), host and process come in from outside; the random part covers processes that share
    number and host name, as containers do.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], int] = time.time_ns,
        host: str | None = None,
        pid: int | None = None,
        counter: Iterator[int] = _counter,
        run: str = _run,
    ) -> None:
        self._clock = clock
        self.host = escape_host(socket.gethostname() if host is None else host)
        self.pid = os.getpid() if pid is None else pid
        self._counter = counter
        self._run = run

    def new(self) -> str:
        """A name that no other message has."""
        seconds, nanoseconds = divmod(self._clock(), 10**9)
        usec = nanoseconds // 1000
        return f"{seconds}.M{usec}P{self.pid}Q{next(self._counter)}R{self._run}.{self.host}"

    def temporary(self) -> str:
        """A name for `tmp/` which tells whose file it is, so that a crash leaves nothing behind for long."""
        return f"{self.new()}{_TEMPORARY}{self.pid}"

    def owner(self, temporary_name: str) -> int | None:
        """The process of this host that made this file in `tmp/`, or None when it is not one of ours."""
        made_by = temporary_name.rpartition(f".{self.host}{_TEMPORARY}")[2]
        return int(made_by) if made_by.isascii() and made_by.isdigit() and len(made_by) < 10 else None


def escape_host(host: str) -> str:
    """A host name for a file name: `/` and `:` as the convention's octal escapes, also `,` and all not printable."""
    safe = "".join(char if _is_plain(char) else f"\\{ord(char):03o}" for char in host)
    return safe[:64] or "localhost"


def _is_plain(char: str) -> bool:
    return char.isascii() and char.isprintable() and char not in "/:,;!\\ "
