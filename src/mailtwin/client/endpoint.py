"""Where to connect, as whom, and how long to wait: the values that open a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mailtwin.errors import ConfigurationError
from mailtwin.imap import Secret


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server. `ca_file`: certificates (PEM) trusted besides those of the system.

    Raises ConfigurationError for `plain` to another machine, unless `allow_plain` says that the way there is safe.
    """

    host: str
    port: int
    security: Literal["tls", "starttls", "plain"]
    ca_file: Path | None = None
    allow_plain: bool = False

    def __post_init__(self) -> None:
        if self.security == "plain" and not (self.allow_plain or _is_loopback(self.host)):
            raise ConfigurationError(
                f"{self.host}: without TLS everyone on the way can read the password and the mail",
                hint="use tls or starttls",
            )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in. `secret` is a password, or for `xoauth2` a token; `auto` takes the best way for a password."""

    user: str
    secret: Secret
    mechanism: Literal["auto", "plain", "login", "xoauth2"] = "auto"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds, for each thing (rule R15). What runs out kills the connection.

    `reply` and `literal` begin anew with every byte that moves in either direction. `refusal`: after an untagged BAD
    to an APPEND, for the tagged reply that should follow. `close`: for the answer to LOGOUT.
    """

    connect: float = 30.0
    greeting: float = 30.0
    reply: float = 120.0
    literal: float = 60.0
    refusal: float = 10.0
    close: float = 5.0


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
