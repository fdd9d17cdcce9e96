"""How a server that serves a Maildir numbers the messages in it: the lists that Dovecot and Courier keep beside them.

Read only to notice that a Maildir is what the other side serves. No UID of these lists is ever used: between two looks
of the server they are behind the directory.

    dovecot-uidlist     3 V1700000000 N4 G...    then a line for each message, its UID first; N is behind until the next
                                                 rewrite. Version 1: 1 1700000000 4.
    courierimapuiddb    1 1700000000 4           UIDVALIDITY and UIDNEXT, then a line for each message, its UID first.
"""

from __future__ import annotations

import re
from pathlib import Path

from mailtwin.stores.base import Numbering

_LISTS = ("dovecot-uidlist", "courierimapuiddb")
_HEAD = re.compile(rb"(?:\d+ (?:\S+ )*?V(\d+) (?:\S+ )*?N(\d+)\b|1 (\d+) (\d+)$)")
_UID = re.compile(rb"(\d{1,10}) ")


def read_numbering(directory: Path) -> Numbering | None:
    """The numbering of the mailbox in `directory`; None when no list lies there that can be read and understood."""
    for name in _LISTS:
        try:
            with (directory / name).open("rb") as lines:
                head = _HEAD.match(next(lines, b"").rstrip())
                if head is None:
                    continue
                validity, announced = (int(value) for value in head.groups() if value is not None)
                uids = [int(found[1]) for found in map(_UID.match, lines) if found is not None]
        except OSError:  # there is none, or it is for the server's eyes only: nothing can be told
            continue
        return Numbering(validity, max(announced, max(uids, default=0) + 1))
    return None
