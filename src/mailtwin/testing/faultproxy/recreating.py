"""A mailbox is made anew: the same mail with other UIDs and another UIDVALIDITY, as after a restored backup."""

from __future__ import annotations

import imaplib
import time
from typing import Any

__all__ = ["recreate"]

_ASIDE = "faultproxy-aside"


def recreate(address: tuple[str, int], account: tuple[str, str], mailbox: str) -> None:
    """Renames `mailbox` away, creates it, copies everything into it and removes the old one. Not for INBOX.

    Raises imaplib.IMAP4.error and OSError when the server does not do it.
    """
    client = imaplib.IMAP4(*address)
    try:
        client.login(*account)
        aside = _beside(mailbox)
        before = _validity(client, mailbox)
        # Where UIDVALIDITY is the time of creation, in seconds, two mailboxes of one second would have the same.
        time.sleep(1.1)
        _ok(client.rename(_quoted(mailbox), _quoted(aside)))
        _ok(client.create(_quoted(mailbox)))
        _, (count, *_) = _ok(client.select(_quoted(aside)))
        if int(count or b"0"):
            _ok(client.copy("1:*", _quoted(mailbox)))
        _ok(client.unselect() if "UNSELECT" in client.capabilities else client.close())
        _ok(client.delete(_quoted(aside)))
        if _validity(client, mailbox) == before:
            raise client.error(f"{mailbox} was made anew and kept its UIDVALIDITY")
    finally:
        client.logout()


def _beside(mailbox: str) -> str:
    """A name on the same level: with the prefix that the server demands, if it demands one."""
    for separator in "./":
        if separator in mailbox:
            return mailbox.rpartition(separator)[0] + separator + _ASIDE
    return _ASIDE


def _validity(client: imaplib.IMAP4, mailbox: str) -> bytes:
    _, (answer, *_) = _ok(client.status(_quoted(mailbox), "(UIDVALIDITY)"))
    return bytes(answer).rpartition(b"UIDVALIDITY")[2]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _ok(answer: tuple[str, Any]) -> tuple[str, Any]:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error(str(answer))
    return answer
