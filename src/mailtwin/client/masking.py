"""Taking a secret out of what a server said: some repeat the line that they did not like.

A secret may come back as it is, as the quoted string of a LOGIN, or in base64, alone or inside of a SASL response,
whole or cut anywhere.
"""

from __future__ import annotations

import base64
import re

from mailtwin.client.endpoint import Credentials
from mailtwin.errors import MailtwinError

MASK = "***"
_RUN = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_PIECE_MIN = 8
"""A shorter piece of base64 is five bytes at most, and as likely an English word."""


def masked(text: str, who: Credentials) -> str:
    """`text` without the secret of `who` in any form that was ever sent."""
    secret = who.secret.reveal()
    if not secret:
        return text
    for form in (secret.replace("\\", "\\\\").replace('"', '\\"'), secret):
        text = text.replace(form, MASK)
    sent = _encodings(who.user, secret)
    return _RUN.sub(lambda found: MASK if _is_piece(found[0], sent) else found[0], text)


def clean(error: MailtwinError, who: Credentials) -> None:
    """Takes the secret of `who` out of `error`; the errors that led to it, which may show it too, are cut off."""
    error.message = masked(error.message, who)
    error.hint = masked(error.hint, who)
    error.args = (error.message,)
    error.__cause__ = error.__context__ = None


def _is_piece(run: str, sent: tuple[str, ...]) -> bool:
    bare = run.rstrip("=")
    return any(bare in whole or whole in bare for whole in sent)


def _encodings(user: str, secret: str) -> tuple[str, ...]:
    """The base64 of every response that holds the secret as it is."""
    responses = (
        secret,
        f"\0{user}\0{secret}",
        f"user={user}\x01auth=Bearer {secret}\x01\x01",
        f"auth=Bearer {secret}\x01\x01",
    )
    encoded = []
    for response in responses:
        data = response.encode("utf-8", "surrogatepass")
        # OAUTHBEARER puts the secret at any of three offsets of a base64 group.
        for skipped in range(3 if response.startswith("auth") else 1):
            text = base64.b64encode(b"\0" * skipped + data).decode().rstrip("=")
            encoded.append(text[(skipped * 4 + 2) // 3 : len(text) - 1])
    return tuple(form for form in encoded if len(form) >= _PIECE_MIN)
