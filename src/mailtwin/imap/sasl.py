"""SASL mechanisms as generators (RFC 9051 section 6.2.2): they yield responses and are sent challenges, all decoded.

`yield` gives what the client says; the value of the `yield` is the server's next challenge. The first response may
travel with the command where the server has SASL-IR (RFC 4959). A `Secret` cannot be printed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from mailtwin.errors import LocalProtocolError

Exchange: TypeAlias = Generator[bytes, bytes, None]


class Secret:
    """A password or token that no log, repr or traceback shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself; only what writes it to the server asks for it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A mechanism ready to run: its registered name and what starts the exchange."""

    name: str
    start: Callable[[], Exchange] = field(repr=False)


def plain(user: str, secret: Secret, *, authorize_as: str = "") -> Mechanism:
    """PLAIN (RFC 4616); `authorize_as` is the mailbox owner when an administrator logs in."""
    _refuse("\0", authorize_as, user, secret.reveal())

    def exchange() -> Exchange:
        yield f"{authorize_as}\0{user}\0{secret.reveal()}".encode()

    return Mechanism("PLAIN", exchange)


def xoauth2(user: str, token: Secret) -> Mechanism:
    """XOAUTH2 (Google, Microsoft). A refusal comes as a challenge and is answered with an empty response."""
    _refuse("\x01", user, token.reveal())

    def exchange() -> Exchange:
        yield f"user={user}\x01auth=Bearer {token.reveal()}\x01\x01".encode()
        yield b""

    return Mechanism("XOAUTH2", exchange)


def _refuse(separator: str, *values: str) -> None:
    if any(separator in value for value in values):
        raise LocalProtocolError("a user name or secret contains the character that separates them")
