"""Mechanisms that send an access token: XOAUTH2 (Google, Microsoft) and OAUTHBEARER (RFC 7628).

Both servers say why they refuse a token in a challenge of JSON, which has to be answered before the tagged NO comes.
The connection keeps that challenge with the command.
"""

from __future__ import annotations

from mailtwin.errors import LocalProtocolError
from mailtwin.imap.sasl.base import Exchange, Mechanism, Secret, refuse, utf8


def xoauth2(user: str, token: Secret) -> Mechanism:
    """XOAUTH2. A refusal comes as a challenge and is answered with an empty response."""
    refuse("\x01", user, token.reveal())

    def exchange() -> Exchange:
        yield utf8(f"user={user}\x01auth=Bearer {token.reveal()}\x01\x01")
        yield b""

    return Mechanism("XOAUTH2", exchange)


def oauthbearer(user: str, token: Secret, *, host: str = "", port: int = 0) -> Mechanism:
    """OAUTHBEARER (RFC 7628 section 3.1); `host` and `port` are those that the client meant to reach.

    A refusal comes as a challenge and is answered with one 0x01 (section 3.2.3).
    """
    refuse("\x01\0", user, token.reveal(), host)
    where = f"host={host}\x01" if host else ""
    if port:
        where += f"port={port}\x01"

    def exchange() -> Exchange:
        yield utf8(f"n,a={escaped(user)},\x01{where}auth=Bearer {token.reveal()}\x01\x01")
        yield b"\x01"

    return Mechanism("OAUTHBEARER", exchange)


def escaped(name: str) -> str:
    """A name as GS2 headers carry it (RFC 5801 section 4, saslname). Raises LocalProtocolError when it is empty."""
    if not name:
        raise LocalProtocolError("this login needs a user name")
    return name.replace("=", "=3D").replace(",", "=2C")
