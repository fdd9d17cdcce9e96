"""CRAM-MD5 (RFC 2195): the password stays here, a keyed MD5 of the server's challenge goes out.

Better than a password in the clear, and worse than one inside TLS: the server has to keep the password as it is, and
whoever listens can try passwords at home.
"""

from __future__ import annotations

import hmac

from mailtwin.errors import LocalProtocolError
from mailtwin.imap.sasl.base import Exchange, Mechanism, Secret, refuse, utf8


def cram_md5(user: str, secret: Secret) -> Mechanism:
    """CRAM-MD5; the server speaks first."""
    refuse("\0", user, secret.reveal())

    def exchange() -> Exchange:
        challenge = yield b""
        if challenge is not None:
            yield utf8(user) + b" " + _digest(utf8(secret.reveal()), challenge)

    return Mechanism("CRAM-MD5", exchange, client_first=False)


def _digest(key: bytes, challenge: bytes) -> bytes:
    try:
        return hmac.new(key, challenge, "md5").hexdigest().encode()
    except ValueError as error:
        raise LocalProtocolError("this system's Python has no MD5, which CRAM-MD5 needs") from error
