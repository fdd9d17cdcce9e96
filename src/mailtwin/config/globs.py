"""Patterns of mailbox names: `*` is any text, also over levels, `?` one character, everything else is itself.

`[` has no meaning of its own, because real mailboxes are called `[Imap]/All Mail`. A backslash before `*` or `?`
makes it an ordinary character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mailtwin.model import MailboxName

_SPECIAL = re.compile(r"\\[*?]|[*?]")
_WILDCARD = re.compile(r"(?<!\\)[*?]")


def selector(include: Iterable[str], exclude: Iterable[str]) -> Callable[[MailboxName], bool]:
    """Whether a mailbox takes part: one of `include` fits its name, and none of `exclude`."""
    included, excluded = _pattern(include), _pattern(exclude)

    def select(name: MailboxName) -> bool:
        text = str(name)
        return included.fullmatch(text) is not None and excluded.fullmatch(text) is None

    return select


def naming(include: Iterable[str]) -> Callable[[MailboxName], bool]:
    """Whether one of `include` is the very name of a mailbox, without a wildcard."""
    return selector([glob for glob in include if not _WILDCARD.search(glob)], ())


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """One expression for all; for none of them, one that fits nothing."""
    return re.compile("|".join(map(_translate, globs)) or r"(?!)", re.DOTALL)


def _translate(glob: str) -> str:
    parts = []
    at = 0
    glob = re.sub(r"\Ainbox(?=/|\Z)", "INBOX", glob, flags=re.IGNORECASE)
    for special in _SPECIAL.finditer(glob):
        parts.append(re.escape(glob[at : special.start()]))
        parts.append({"*": ".*", "?": "."}.get(special[0]) or re.escape(special[0][1]))
        at = special.end()
    return "".join(parts) + re.escape(glob[at:])
