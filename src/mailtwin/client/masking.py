"""Taking a secret out of what a server said: some repeat the line that they did not like.

A secret may come back as it is, as the quoted string of a LOGIN, or in base64, alone or inside of a SASL response,
whole or cut anywhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from mailtwin.client.endpoint import Credentials
from mailtwin.errors import MailtwinError
from mailtwin.imap import Secret

MASK = "***"
_RUN = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_PIECE = 8
"""So many characters of base64 in common with what was sent, and it is a piece of it."""


class Mask:
    """Takes one secret out of any number of texts."""

    __slots__ = ("_forms", "_sent")

    def __init__(self, user: str, secret: Secret) -> None:
        word = secret.reveal()
        self._forms: tuple[str, ...] = (word.replace("\\", "\\\\").replace('"', '\\"'), word) if word else ()
        self._sent = _pieces(user, word) if word else frozenset()

    @classmethod
    def of_response(cls, base64_text: str) -> Mask:
        """For a SASL response of which nothing is known but how it was written."""
        mask = cls("", Secret(""))
        mask._forms = (base64_text,)
        mask._sent = frozenset(_windows(base64_text.rstrip("=")))
        return mask

    def __call__(self, text: str) -> str:
        """`text` without the secret, in any form in which it was sent."""
        for form in self._forms:
            text = text.replace(form, MASK)
        if not self._sent:
            return text
        return _RUN.sub(lambda found: found[0] if self._sent.isdisjoint(_windows(found[0])) else MASK, text)


def masked(text: str, who: Credentials) -> str:
    """`text` without the secret of `who` in any form that was ever sent."""
    return Mask(who.user, who.secret)(text)


def clean(error: MailtwinError, who: Credentials) -> None:
    """Takes the secret of `who` out of `error`; the errors that led to it, which may show it too, are cut off."""
    error.message = masked(error.message, who)
    error.hint = masked(error.hint, who)
    error.args = (error.message,)
    error.__cause__ = error.__context__ = None


def _pieces(user: str, secret: str) -> frozenset[str]:
    """Every piece of the base64 of every response that holds the secret as it is, wherever it begins in it."""
    responses = (
        secret,
        f"\0{user}\0{secret}",
        f"user={user}\x01auth=Bearer {secret}\x01\x01",
        f"auth=Bearer {secret}\x01\x01",
    )
    found: set[str] = set()
    for response in responses:
        data = response.encode("utf-8", "surrogatepass")
        for before in range(3):
            text = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
            # The first characters hold bits of what stands before, the last one of what follows.
            found.update(_windows(text[(before * 8 + 5) // 6 : -1]))
    return frozenset(found)


def _windows(text: str) -> Iterator[str]:
    return (text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1))
