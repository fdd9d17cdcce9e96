"""What a mechanism is: a generator that yields responses and is sent challenges, all decoded; and what is secret.

`yield` gives what the client says; its value is the server's next challenge, or None when the server accepts the login
instead. A mechanism in which the server has to prove itself raises then, if it has not. Where there is nothing more
to say the generator returns; a challenge after that cancels the exchange (RFC 9051 section 6.2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from mailtwin.errors import LocalProtocolError, RemoteProtocolError, Retry

Exchange: TypeAlias = Generator[bytes, bytes | None, None]


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

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A mechanism ready to run: its registered name and what starts the exchange.

    `client_first`: its first response needs no challenge, so that it may travel with the command (RFC 4959). Of the
    others the first `yield` is never sent: it only waits for the first challenge.
    """

    name: str
    start: Callable[[], Exchange] = field(repr=False)
    client_first: bool = True


class Unproven(RemoteProtocolError):
    """The server could not prove that it knows the password, or asked for a weaker proof than is safe to give."""

    retry = Retry.NEVER


def refuse(forbidden: str, *values: str) -> None:
    """Raises LocalProtocolError when one of `values` holds one of the characters in `forbidden`. Shows no value."""
    if any(char in value for value in values for char in forbidden):
        raise LocalProtocolError("a user name or secret contains a character that this login cannot carry")


def utf8(value: str) -> bytes:
    """The bytes of a user name or secret. Raises LocalProtocolError, which does not show it, for no valid Unicode."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError("a user name or secret is no valid Unicode text") from None
