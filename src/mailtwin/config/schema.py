"""Every key of the configuration file, as data: its kind, its default and what it is for.

The reader (`mailtwin.config.load`) takes values by these keys; a test keeps the README's tables equal to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

from mailtwin.config.settings import INFO_SEPARATORS, Auth, Encoding, Layout, Tls, View
from mailtwin.model import MailboxName
from mailtwin.planner.operations import Direction, Removals

T = TypeVar("T")


class WrongValueError(Exception):
    """A value is not of its key's kind. `expected`, if any, says more than the kind does.

    `path` leads from the value to the part of it that is wrong.
    """

    def __init__(self, expected: str = "", path: tuple[str, ...] = ()) -> None:
        super().__init__(expected)
        self.expected = expected
        self.path = path


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a value has to be: `expected` for people, `read` to check and convert; it raises WrongValueError."""

    expected: str
    read: Callable[[object], T]


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """One key. `default_text` is the default as the documentation shows it; `required` keys have none.

    `default` is what the value is when the key is absent; for a required key, what stands in until the mistake is
    reported.
    """

    name: str
    kind: Kind[T]
    default: T
    about: str
    default_text: str = ""
    required: bool = False


AnyKey: TypeAlias = Key[Any]


# --- kinds ----------------------------------------------------------------------------------------------------------


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValueError
    if not value.strip():
        raise WrongValueError("a string that is not empty")
    if "\0" in value:
        raise WrongValueError("a string without NUL")
    return value


def _host(value: object) -> str:
    from mailtwin.config.address import is_host  # as in `_path`

    host = _string(value).strip("[]").lower()
    if any(char in " \t\r\n/@?#" for char in host) or not is_host(host):
        raise WrongValueError("the name or number of a host alone, without scheme, user or path")
    return host


def _user(value: object) -> str:
    from mailtwin.config.address import has_controls  # as in `_path`

    user = _string(value)
    if has_controls(user):
        raise WrongValueError("a string without line breaks and other control characters")
    return user


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongValueError
    return value


def _port(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise WrongValueError
    return value


def _path(value: object) -> Path:
    text = _string(value)
    if not text.startswith(("/", "~")):
        raise WrongValueError("an absolute path, or one that begins with ~")
    from mailtwin.config.address import absolute  # cheap, but only needed where a path is configured

    return absolute(text)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise WrongValueError
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise WrongValueError("a string", (str(index),))
    return tuple(value)


def _command(value: object) -> tuple[str, ...] | str:
    if isinstance(value, list):
        if not value:
            raise WrongValueError
        return _strings(value)
    return _string(value)


def _separator(value: object) -> str:
    if value not in INFO_SEPARATORS:
        raise WrongValueError
    return str(value)


def _count(low: int, high: int) -> Kind[int]:
    """A whole number between two others."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise WrongValueError
        return value

    return Kind(f"a whole number from {low} to {high}", read)


def _daily_limit(value: object) -> int | None:
    return 0 if value == "none" else _count(0, 10_000_000).read(value)


def _names(value: object) -> tuple[tuple[MailboxName, MailboxName], ...]:
    if not isinstance(value, Mapping):
        raise WrongValueError
    return tuple((_name(left, left), _name(right, left)) for left, right in value.items())


def _name(value: object, key: str) -> MailboxName:
    try:
        return MailboxName.parse(_string(value))
    except (ValueError, WrongValueError) as error:
        raise WrongValueError("a mailbox name on both sides of =, without empty levels", (key,)) from error


def _choice(kind: type[E]) -> Kind[E]:
    values = [str(member.value) for member in kind]

    def read(value: object) -> E:
        if value not in values:
            raise WrongValueError
        return kind(value)

    return Kind("one of " + ", ".join(f'"{value}"' for value in values), read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind for a key that may be absent."""
    return cast("Kind[T | None]", kind)


E = TypeVar("E", bound=Enum)
STRING = Kind("a string", _string)
STORE_TYPE = Kind('"imap" or "maildir"', _string)
HOST = Kind("a host", _host)
USER_NAME = Kind("a string", _user)
BOOLEAN = Kind("true or false", _boolean)
PORT: Kind[int | None] = Kind("a number from 1 to 65535", _port)
PATH = Kind("a path", _path)
STRINGS = Kind("a list of strings", _strings)
COMMAND = Kind("a list of strings, or a line for the shell", _command)
SEPARATOR = Kind("one of " + ", ".join(f'"{value}"' for value in INFO_SEPARATORS), _separator)
DAILY_LIMIT = Kind('a whole number from 0 to 10000000, or "none"', _daily_limit)
NAMES = Kind("a table of mailbox names", _names)


# --- keys -----------------------------------------------------------------------------------------------------------

TYPE = Key("type", STORE_TYPE, "", 'The kind of store: `"imap"` or `"maildir"`.', required=True)

HOST_KEY = Key("host", HOST, "", "The server's name or address.", required=True)
USER = Key(
    "user", USER_NAME, "", "Who logs in, as the server wants it: often the whole mail address.", required=True
)
TLS = Key(
    "tls",
    _choice(Tls),
    Tls.IMPLICIT,
    "Protection of the connection. `starttls` never falls back to an open connection.",
    '"implicit"',
)
PORT_KEY = Key("port", PORT, None, "The server's port.", "993, or 143 unless `tls` is `implicit`")
AUTH = Key(
    "auth",
    _choice(Auth),
    Auth.AUTO,
    "How to log in; `auto` takes the strongest way that a password allows. With `xoauth2` and `oauthbearer` the secret "
    "is an access token, with `external` and `anonymous` there is none.",
    '"auto"',
)
PASSWORD_COMMAND = Key(
    "password_command",
    optional(COMMAND),
    None,
    'Prints the password on its first line, such as `["pass", "show", "mail"]`. A string runs in `/bin/sh`.',
    "none",
)
PASSWORD_FILE = Key(
    "password_file",
    optional(PATH),
    None,
    "Holds the password on its first line; only its owner may read it (mode 0600).",
    "none",
)
PASSWORD_ENV = Key(
    "password_env", optional(STRING), None, "The environment variable that holds the password.", "none"
)
CA_FILE = Key(
    "ca_file", optional(PATH), None, "Certificates (PEM) to trust besides those the system trusts.", "none"
)
TUNNEL_COMMAND = Key(
    "tunnel_command",
    optional(COMMAND),
    None,
    "Is the connection, by its standard input and output, instead of `tls` and `port`: "
    '`["ssh", "mail.example.org", "/usr/lib/dovecot/imap"]`. It may have logged in already. '
    "A string runs in `/bin/sh`.",
    "none",
)
COMPRESS = Key(
    "compress",
    BOOLEAN,
    False,
    "Compress what is sent and received, on servers with COMPRESS=DEFLATE.",
    "false",
)
DOWNLOAD_LIMIT = Key(
    "download_megabytes_per_day",
    DAILY_LIMIT,
    None,
    "How much may come from the account in 24 hours, in all pairs together; the rest of the copies waits. 0: no limit.",
    "the provider's, where it is [known](#limits-of-providers)",
)
UPLOAD_LIMIT = Key(
    "upload_megabytes_per_day",
    DAILY_LIMIT,
    None,
    "The same for what goes to the account.",
    "the provider's",
)
IMAP_KEYS: tuple[AnyKey, ...] = (
    TYPE, HOST_KEY, USER, TLS, PORT_KEY, AUTH, PASSWORD_COMMAND, PASSWORD_FILE, PASSWORD_ENV, CA_FILE,
    TUNNEL_COMMAND, COMPRESS, DOWNLOAD_LIMIT, UPLOAD_LIMIT,
)  # fmt: skip
SECRET_KEYS: tuple[AnyKey, ...] = (PASSWORD_COMMAND, PASSWORD_FILE, PASSWORD_ENV)

MAILDIR_PATH = Key(
    "path", PATH, Path(), "The Maildir's directory; created at the first run if it is missing.", required=True
)
LAYOUT = Key(
    "layout",
    _choice(Layout),
    Layout.AUTO,
    "How mailboxes lie in it: `maildir++` as `.Archive.2024`, INBOX being the directory itself; `nested` as "
    "`Archive/2024`, INBOX being `INBOX`; `auto` looks, and takes `maildir++` for a new Maildir.",
    '"auto"',
)
INFO_SEPARATOR = Key(
    "info_separator",
    SEPARATOR,
    ":",
    "Stands between a file's name and its flags; another one for file systems that know no `:` in names.",
    '":"',
)
ENCODING = Key(
    "encoding",
    _choice(Encoding),
    Encoding.AUTO,
    "How names outside ASCII are written on disk: `utf-8`; `imap` as `Entw&APw-rfe`, as Dovecot and OfflineIMAP do; "
    "`auto` looks, and takes `utf-8` where there is none yet.",
    '"auto"',
)
MAILDIR_KEYS: tuple[AnyKey, ...] = (TYPE, MAILDIR_PATH, LAYOUT, ENCODING, INFO_SEPARATOR)

LEFT = Key("left", STRING, "", "The name of one store.", required=True)
RIGHT = Key("right", STRING, "", "The name of the other store.", required=True)
DIRECTION = Key(
    "direction", _choice(Direction), Direction.TWO_WAY, "Which sides may be changed.", '"two-way"'
)
REMOVALS = Key(
    "removals",
    _choice(Removals),
    Removals.PROPAGATE,
    "What becomes of a message that was removed on one side: removed on the other, kept there, or copied back.",
    '"propagate"',
)
FLAG_CHANGE = Key(
    "flag_change_beats_removal",
    BOOLEAN,
    False,
    "A message removed on one side whose flags changed on the other meanwhile is copied back.",
    "false",
)
REMOVE_MAILBOXES = Key(
    "remove_mailboxes", BOOLEAN, False, "A mailbox removed on one side is removed on the other.", "false"
)
QUARANTINE_DAYS = Key(
    "quarantine_days",
    _count(0, 3_650),
    30,
    "For how long removed messages are kept, so that `mailtwin undo` can put them back; 0: not at all.",
    "30",
)
QUARANTINE_MEGABYTES = Key(
    "quarantine_megabytes",
    _count(1, 1_000_000),
    1_024,
    "How much of them is kept; the oldest go first.",
    "1024",
)
INCLUDE = Key(
    "mailboxes.include",
    STRINGS,
    ("*",),
    "The mailboxes to keep in step, by their names on the left. `*` stands for any text, also over levels, `?` for one "
    "character; `[` has no meaning of its own, nor have `*` and `?` after a backslash.",
    '["*"]',
)
EXCLUDE = Key("mailboxes.exclude", STRINGS, (), "Mailboxes to leave out even if included.", "[]")
RENAME = Key(
    "rename", NAMES, (), "Mailboxes with other names on the right: `\"left name\" = \"right name\"`.", "empty"
)  # fmt: skip
STATE_DIR = Key(
    "state_dir",
    optional(PATH),
    None,
    "Where the pair's state lies.",
    "`mailtwin` in `$XDG_STATE_HOME`, else in `~/.local/state`",
)
VIEW = Key(
    "view",
    _choice(View),
    View.MAILBOXES,
    "`labels`: all mail once, each message with its labels. A server must have labels; a Maildir keeps them in a file.",
    '"mailboxes"',
)
PAIR_KEYS: tuple[AnyKey, ...] = (
    LEFT, RIGHT, VIEW, DIRECTION, REMOVALS, FLAG_CHANGE, REMOVE_MAILBOXES, QUARANTINE_DAYS, QUARANTINE_MEGABYTES,
    INCLUDE, EXCLUDE, RENAME, STATE_DIR,
)  # fmt: skip

STORE_KEYS: Mapping[str, Sequence[AnyKey]] = {"imap": IMAP_KEYS, "maildir": MAILDIR_KEYS}
