"""Mechanisms that send what they have as it is: PLAIN and LOGIN the password, EXTERNAL and ANONYMOUS none."""

from __future__ import annotations

from mailtwin.errors import LocalProtocolError
from mailtwin.imap.sasl.base import Exchange, Mechanism, Secret, refuse, utf8

TRACE_MAX = 255
"""RFC 4505 section 2: characters of ANONYMOUS's trace information."""


def plain(user: str, secret: Secret, *, authorize_as: str = "") -> Mechanism:
    """PLAIN (RFC 4616); `authorize_as` is the mailbox owner when an administrator logs in."""
    refuse("\0", authorize_as, user, secret.reveal())

    def exchange() -> Exchange:
        yield utf8(f"{authorize_as}\0{user}\0{secret.reveal()}")

    return Mechanism("PLAIN", exchange)


def login(user: str, secret: Secret) -> Mechanism:
    """LOGIN (never standardised): two prompts whose words differ from server to server, so only their order counts."""
    refuse("\0", user, secret.reveal())

    def exchange() -> Exchange:
        yield b""
        yield utf8(user)
        yield utf8(secret.reveal())

    return Mechanism("LOGIN", exchange, client_first=False)


def external(*, authorize_as: str = "") -> Mechanism:
    """EXTERNAL (RFC 4422 appendix A): who we are is known from outside: a client certificate, a local socket."""
    refuse("\0", authorize_as)

    def exchange() -> Exchange:
        yield utf8(authorize_as)

    return Mechanism("EXTERNAL", exchange)


def anonymous(trace: str = "") -> Mechanism:
    """ANONYMOUS (RFC 4505); `trace` tells the server's administrator whom to ask."""
    refuse("\0", trace)
    if len(trace) > TRACE_MAX:
        raise LocalProtocolError(f"ANONYMOUS carries at most {TRACE_MAX} characters")

    def exchange() -> Exchange:
        yield utf8(trace)

    return Mechanism("ANONYMOUS", exchange)
