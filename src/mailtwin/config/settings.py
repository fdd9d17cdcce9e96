"""What a person configured, checked and typed: values that the rest of this package makes stores and pairs of.

Both ways to configure end here: a TOML file (`mailtwin.config.load`) and two addresses on the command line
(`mailtwin.config.address`). No secret is ever part of a setting, only where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from mailtwin.model import MailboxName
from mailtwin.planner.operations import Policy

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class Tls(Enum):
    """How a connection to an IMAP server is protected (RFC 8314 section 3.2, RFC 9051 section 6.2.1)."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    OFF = "off"

    @property
    def port(self) -> int:
        """The port that belongs to it unless another is given."""
        return 993 if self is Tls.IMPLICIT else 143


class Auth(Enum):
    """How to log in; `auto`: the strongest way that the server offers and a password allows."""

    AUTO = "auto"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    SCRAM_SHA_1 = "scram-sha-1"
    SCRAM_SHA_256 = "scram-sha-256"
    XOAUTH2 = "xoauth2"
    OAUTHBEARER = "oauthbearer"
    EXTERNAL = "external"
    ANONYMOUS = "anonymous"

    @property
    def wants_token(self) -> bool:
        """Whether the secret is an access token instead of a password."""
        return self in (Auth.XOAUTH2, Auth.OAUTHBEARER)

    @property
    def wants_secret(self) -> bool:
        """Whether there is a secret at all."""
        return self not in (Auth.EXTERNAL, Auth.ANONYMOUS)


INFO_SEPARATORS = (":", ";", "!", "-")


class Layout(Enum):
    """How mailboxes lie in a Maildir, see `mailtwin.stores.layout`; `auto` looks; a new one gets `maildir++`."""

    AUTO = "auto"
    MAILDIR_PLUS_PLUS = "maildir++"
    NESTED = "nested"


class Encoding(Enum):
    """How mailbox names are written in a Maildir, see `mailtwin.stores.layout`; `auto` looks."""

    AUTO = "auto"
    UTF8 = "utf-8"
    IMAP = "imap"


class View(Enum):
    """What is kept in step: mailboxes with messages in them, or all mail with the labels that each message carries."""

    MAILBOXES = "mailboxes"
    LABELS = "labels"


ONE_MAILBOX = (
    'with view = "labels" all mail is one mailbox; expected no choice of mailboxes and no names for them'
)
"""What is wrong when `PairSettings.chooses_mailboxes` with labels."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a password or token comes from; at most one is set, none means: ask.

    `command`: an argument list, or a line for the shell. `file`: only its owner may read it. `variable`: the name of
    an environment variable.
    """

    command: tuple[str, ...] | str | None = None
    file: Path | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """An account on an IMAP server.

    `tunnel`: a command (an argument list, or a line for the shell) that is the connection, whatever `port` and `tls`
    say. `compress`: save bytes where the server can. The two limits are in MiB; 0: none, None: the provider's.
    """

    user: str
    host: str
    port: int
    tls: Tls
    auth: Auth = Auth.AUTO
    secret: SecretSource = field(default_factory=SecretSource)
    ca_file: Path | None = None
    tunnel: tuple[str, ...] | str | None = None
    compress: bool = False
    download_megabytes_per_day: int | None = None
    upload_megabytes_per_day: int | None = None

    @property
    def address(self) -> str:
        """The canonical address, without secrets."""
        scheme = "imaps" if self.tls is Tls.IMPLICIT else "imap"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == self.tls.port else f":{self.port}"
        plain_by_default = self.host in LOOPBACK_HOSTS
        option = ""
        if self.tls is not Tls.IMPLICIT and plain_by_default != (self.tls is Tls.OFF):
            option = f"?tls={self.tls.value}"
        return f"{scheme}://{quote(self.user, safe='')}@{host}{port}/{option}"


@dataclass(frozen=True, slots=True)
class MaildirSettings:
    """A Maildir on this machine. `path` is absolute; links in it are kept as the person wrote them."""

    path: Path
    layout: Layout = Layout.AUTO
    encoding: Encoding = Encoding.AUTO
    info_separator: str = ":"

    @property
    def address(self) -> str:
        """The canonical address."""
        option = "" if self.layout is Layout.AUTO else f"?layout={self.layout.value}"
        path = str(self.path).replace("%", "%25").replace("?", "%3F")
        return f"maildir:{path}{option}"


StoreSettings: TypeAlias = ImapSettings | MaildirSettings


@dataclass(frozen=True, slots=True)
class PairSettings:
    """Two stores that are to be kept identical, and how."""

    name: str
    left: StoreSettings
    right: StoreSettings
    policy: Policy = field(default_factory=Policy)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    rename: tuple[tuple[MailboxName, MailboxName], ...] = ()
    state_dir: Path | None = None
    quarantine_days: int = 30
    quarantine_megabytes: int = 1_024
    view: View = View.MAILBOXES

    @property
    def chooses_mailboxes(self) -> bool:
        """Whether it says which mailboxes take part, or what they are called."""
        return bool(self.exclude or self.rename) or self.include != ("*",)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything in one configuration file."""

    path: Path
    pairs: tuple[PairSettings, ...]
