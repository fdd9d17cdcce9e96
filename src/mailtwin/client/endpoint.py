"""Where to connect, as whom, and how long to wait: the values that open a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from mailtwin.errors import ConfigurationError
from mailtwin.imap import Secret

MechanismName: TypeAlias = Literal[
    "auto",
    "plain",
    "login",
    "cram-md5",
    "scram-sha-1",
    "scram-sha-256",
    "xoauth2",
    "oauthbearer",
    "external",
    "anonymous",
]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server. `ca_file`: certificates (PEM) trusted besides those of the system.

    `compress`: ask for COMPRESS=DEFLATE (RFC 4978) where it is announced. Raises ConfigurationError for `plain` to
    another machine, unless `allow_plain` says that the way there is safe.
    """

    host: str
    port: int
    security: Literal["tls", "starttls", "plain"]
    ca_file: Path | None = None
    allow_plain: bool = False
    compress: bool = False

    def __post_init__(self) -> None:
        if not (self.is_protected or self.allow_plain):
            raise ConfigurationError(
                f"{self.host}: without TLS everyone on the way can read the password and the mail",
                hint="use tls or starttls",
            )

    @property
    def is_protected(self) -> bool:
        """Whether nobody on the way can read what is sent; a login waits until TLS is up."""
        return self.security != "plain" or _is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A command whose standard input and output are the connection, such as an IMAP server started through ssh.

    It has its own protection, and usually its own login: then the server greets with PREAUTH. `host` names the server
    for people and for SASL; `compress` as for `Endpoint`.
    """

    argv: tuple[str, ...]
    host: str
    compress: bool = False
    port: ClassVar[int] = 0
    security: ClassVar[Literal["tunnel"]] = "tunnel"
    is_protected: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ConfigurationError(f"{self.host}: the command of the tunnel is empty")
        if any("\0" in argument for argument in self.argv):
            raise ConfigurationError(f"{self.host}: the command of the tunnel holds a NUL")

    def __str__(self) -> str:
        return self.host


Place: TypeAlias = "Endpoint | Tunnel"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in. `secret` is a password; for `xoauth2` and `oauthbearer` a token; nothing for `external` and
    `anonymous`. `auto` takes the best way for a password.
    """

    user: str
    secret: Secret = field(default_factory=lambda: Secret(""))
    mechanism: MechanismName = "auto"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds, for each thing (rule R15). What runs out kills the connection.

    `reply` and `literal` begin anew with every byte that moves in either direction. `refusal`: after an untagged BAD
    to an APPEND, for the tagged reply that should follow. `close`: for the answer to LOGOUT, and for the command of a
    tunnel to end.
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
