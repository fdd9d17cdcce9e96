"""The configuration file, read strictly: all its mistakes in one pass, each with its place and what was expected.

TOML without surprises: an unknown key is a mistake (with the nearest known one), a value of the wrong type is a
mistake, and so is a Maildir that two pairs would fight over.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mailtwin.config import schema
from mailtwin.config.address import in_home, is_address
from mailtwin.config.schema import AnyKey, Key, WrongValueError
from mailtwin.config.settings import (
    ONE_MAILBOX,
    Configuration,
    ImapSettings,
    MaildirSettings,
    PairSettings,
    SecretSource,
    StoreSettings,
    View,
)
from mailtwin.errors import ConfigurationError
from mailtwin.planner.operations import Policy

CONFIGURATION_BYTES_MAX = 16 * 1024 * 1024
NAMED_MAX = 20
T = TypeVar("T")
KeyPath = tuple[str, ...]
_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)$")
_TWICE = {
    "Cannot overwrite a value": "this key is there for the second time",
    "Cannot declare": "this table is there for the second time",
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in the file that is not as it has to be: about the key at `path`, or about its value."""

    path: KeyPath
    text: str
    about_value: bool = False


def default_path() -> Path:
    """Where the configuration is looked for: `mailtwin/config.toml` in `$XDG_CONFIG_HOME`, else in `~/.config`.

    Raises ConfigurationError when there is no home directory.
    """
    import platformdirs

    return in_home(
        lambda: platformdirs.user_config_path("mailtwin") / "config.toml",
        "There is no configuration",
        hint="Set HOME or XDG_CONFIG_HOME, or name the file with --config.",
    )


def load(path: Path) -> Configuration:
    """The configuration in the file at `path`. Raises ConfigurationError, with all mistakes in it."""
    return parse(_read(path), path)


def parse(text: str, path: Path) -> Configuration:
    """The configuration in `text`; `path` is where it is from, for the messages. Raises ConfigurationError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(text, path, error) from error
    mistakes: list[Mistake] = []
    configuration = _Reader(mistakes).configuration(document, path)
    if mistakes:
        raise _all_mistakes(text, path, mistakes)
    return configuration


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(CONFIGURATION_BYTES_MAX)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"There is no configuration file {path}.",
            hint="Write one as the README shows, name another with --config, or name the two stores instead: "
            "mailtwin sync imaps://user@host/ maildir:~/Mail",
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {path} cannot be read: {error.strerror}.",
            hint="It has to be a file that you may read; name another with --config.",
        ) from error
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()  # some editors begin every file with this mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        raise ConfigurationError(
            f"{path}:{line}:{column}: found a byte that is not UTF-8; expected TOML, which is always UTF-8."
        ) from error


def _not_toml(text: str, path: Path, error: tomllib.TOMLDecodeError) -> ConfigurationError:
    what = str(error)
    place = _TOML_PLACE.search(what)
    line, column = (int(place[1]), int(place[2])) if place else (text.count("\n") + 1, 1)
    reason = re.sub(r" \(at .*\)$", "", what)
    reason = _TWICE.get(reason.partition(" (")[0], reason[:1].lower() + reason[1:])
    return ConfigurationError(
        f"{path}:{line}:{column}: this is not TOML: {reason}.",
        hint="Strings stand in quotes, tables in brackets: see https://toml.io",
    )


def _all_mistakes(text: str, path: Path, mistakes: Iterable[Mistake]) -> ConfigurationError:
    from mailtwin.config.positions import Positions

    positions = Positions(text)
    placed = sorted(
        (
            (positions.value if mistake.about_value else positions.key)(mistake.path),
            mistake.path,
            mistake.text,
        )
        for mistake in mistakes
    )
    lines = [
        f"{path}:{place.line}:{place.column}: {dotted(key_path)}: {what}" for place, key_path, what in placed
    ]
    count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return ConfigurationError("\n  ".join([f"The configuration has {count}:", *lines]))


def dotted(path: KeyPath) -> str:
    """A key path as TOML writes it."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in path) or "the file"


def described(value: object) -> str:
    """A value as a person wrote it, for an error message; long ones are cut."""
    match value:
        case str():
            text = f'"{value}"'
        case bool():
            text = str(value).lower()
        case Mapping():
            return "a table"
        case list():
            return "a list" if value else "an empty list"
        case _:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """A phrase that names the known name nearest to `name`, or the first of all when none is near."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    more = f" and {len(names) - NAMED_MAX:,} more" if len(names) > NAMED_MAX else ""
    return f"expected one of {', '.join(names[:NAMED_MAX])}{more}" if names else "none is known"


class _Table:
    """One table of the file whose keys are taken one by one; what is left in the end is unknown."""

    def __init__(self, values: Mapping[str, object], path: KeyPath, mistakes: list[Mistake]) -> None:
        self.path = path
        self._values = values
        self._mistakes = mistakes

    def take(self, key: Key[T]) -> T:
        """The value of `key`, or its default; a mistake is noted and the default stands in."""
        value: object = self._values
        path = self.path
        for part in key.name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                if key.required:
                    self._note(
                        self.path, f"{key.name} is missing; expected {key.kind.expected}", at_value=False
                    )
                return key.default
            value = value[part]
            path = (*path, part)
        try:
            return key.kind.read(value)
        except WrongValueError as error:
            found = described(_inside(value, error.path))
            self._note((*path, *error.path), f"found {found}; expected {error.expected or key.kind.expected}")
        except ConfigurationError as error:
            self._note(path, f"found {described(value)}; expected {key.kind.expected} ({error.message})")
        return key.default

    def _note(self, path: KeyPath, text: str, *, at_value: bool = True) -> None:
        self._mistakes.append(Mistake(path, text, at_value))

    def check_names(self, keys: Sequence[AnyKey]) -> None:
        """Notes every key that is not among `keys`."""
        _check_names(self._values, self.path, [key.name.split(".") for key in keys], self._mistakes)


def _inside(value: object, path: KeyPath) -> object:
    for part in path:
        if isinstance(value, Mapping):
            value = value[part]
        elif isinstance(value, list):
            value = value[int(part)]
    return value


def _check_names(
    values: Mapping[str, object], path: KeyPath, known: Sequence[Sequence[str]], mistakes: list[Mistake]
) -> None:
    """`known`: the known keys below this table, each as a path."""
    for name, value in values.items():
        deeper = [parts[1:] for parts in known if parts[0] == name and len(parts) > 1]
        if deeper and isinstance(value, Mapping):
            _check_names(value, (*path, name), deeper, mistakes)
        elif deeper:
            wanted = " or ".join(".".join((name, *parts)) for parts in deeper)
            mistakes.append(
                Mistake((*path, name), f"found {described(value)}; expected {wanted}", about_value=True)
            )
        elif [name] not in [list(parts) for parts in known]:
            mistakes.append(
                Mistake((*path, name), _unknown(name, dict.fromkeys(parts[0] for parts in known)))
            )


def _unknown(name: str, known: Iterable[str]) -> str:
    known = list(known)
    if name in ("password", "pass", "passwd"):
        return (
            "a password is never written into the configuration; expected "
            f"{', '.join(key.name for key in schema.SECRET_KEYS)}, or none of them to be asked"
        )
    for kind, keys in schema.STORE_KEYS.items():
        if schema.TYPE.name in known and name in [key.name for key in keys]:
            return f'unknown key here; only stores of type "{kind}" have it'
    return f"unknown key; {nearest(name, known)}"


class _Reader:
    """Reads a whole document and notes the mistakes; what it returns is only good when there are none."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self._mistakes = mistakes

    def configuration(self, document: Mapping[str, object], path: Path) -> Configuration:
        _check_names(document, (), [["stores"], ["pairs"]], self._mistakes)
        stores = {name: self._store(table) for name, table in self._tables(document, "stores")}
        pairs = [self._pair(table, stores) for _, table in self._tables(document, "pairs")]
        if not pairs and not self._mistakes:
            self._mistakes.append(Mistake((), "there is no pair; expected at least one table [pairs.NAME]"))
        self._check_maildirs(stores, pairs)
        return Configuration(path, tuple(pair for pair in pairs if pair is not None))

    def _tables(self, document: Mapping[str, object], section: str) -> Iterator[tuple[str, _Table]]:
        tables = document.get(section, {})
        if not isinstance(tables, Mapping):
            self._note(
                (section,), f"found {described(tables)}; expected tables [{section}.NAME]", about_value=True
            )
            return
        for name, values in tables.items():
            if isinstance(values, Mapping):
                yield name, _Table(values, (section, name), self._mistakes)
            else:
                self._note(
                    (section, name),
                    f"found {described(values)}; expected a table [{section}.NAME]",
                    about_value=True,
                )

    def _note(self, path: KeyPath, text: str, *, about_value: bool = False) -> None:
        self._mistakes.append(Mistake(path, text, about_value))

    def _store(self, table: _Table) -> StoreSettings | None:
        before = len(self._mistakes)
        kind = table.take(schema.TYPE)
        if kind not in schema.STORE_KEYS:
            if len(self._mistakes) == before:
                self._note(
                    (*table.path, "type"), f'found "{kind}"; expected "imap" or "maildir"', about_value=True
                )
            return None
        table.check_names(schema.STORE_KEYS[kind])
        return self._imap(table) if kind == "imap" else self._maildir(table)

    def _imap(self, table: _Table) -> ImapSettings:
        tls = table.take(schema.TLS)
        secret = SecretSource(
            command=table.take(schema.PASSWORD_COMMAND),
            file=table.take(schema.PASSWORD_FILE),
            variable=table.take(schema.PASSWORD_ENV),
        )
        given = [
            key.name
            for key, value in zip(
                schema.SECRET_KEYS, (secret.command, secret.file, secret.variable), strict=True
            )
            if value is not None
        ]
        for name in given[1:]:
            self._note(
                (*table.path, name), f"a second source of the password, besides {given[0]}; expected only one"
            )
        tunnel = table.take(schema.TUNNEL_COMMAND)
        port, ca_file = table.take(schema.PORT_KEY), table.take(schema.CA_FILE)
        if tunnel is not None:
            beside = {
                "tls": tls is not schema.TLS.default,
                "port": port is not None,
                "ca_file": ca_file is not None,
            }
            for name in filter(beside.__getitem__, beside):
                self._note(
                    (*table.path, name), "it has no meaning beside tunnel_command; expected only one of them"
                )
        return ImapSettings(
            user=table.take(schema.USER),
            host=table.take(schema.HOST_KEY),
            port=port or tls.port,
            tls=tls,
            auth=table.take(schema.AUTH),
            secret=secret,
            ca_file=ca_file,
            tunnel=tunnel,
            compress=table.take(schema.COMPRESS),
            download_megabytes_per_day=table.take(schema.DOWNLOAD_LIMIT),
            upload_megabytes_per_day=table.take(schema.UPLOAD_LIMIT),
        )

    def _maildir(self, table: _Table) -> MaildirSettings:
        return MaildirSettings(
            path=table.take(schema.MAILDIR_PATH),
            layout=table.take(schema.LAYOUT),
            encoding=table.take(schema.ENCODING),
            info_separator=table.take(schema.INFO_SEPARATOR),
        )

    def _pair(self, table: _Table, stores: Mapping[str, StoreSettings | None]) -> PairSettings | None:
        table.check_names(schema.PAIR_KEYS)
        if is_address(table.path[-1]):
            self._note(table.path, "a name with : or / would be taken for an address; expected another name")
        names = (table.take(schema.LEFT), table.take(schema.RIGHT))
        for key, name in zip((schema.LEFT, schema.RIGHT), names, strict=True):
            if name and name not in stores:
                what = f'there is no store "{name}"; {nearest(name, stores)}'
                self._note((*table.path, key.name), what, about_value=True)
        if names[0] and names[0] == names[1]:
            self._note(
                (*table.path, "right"),
                f'found "{names[1]}" on both sides; expected two stores',
                about_value=True,
            )
        rename = table.take(schema.RENAME)
        self._check_rename(table.path, [right for _, right in rename])
        policy = Policy(
            direction=table.take(schema.DIRECTION),
            removals=table.take(schema.REMOVALS),
            flag_change_beats_removal=table.take(schema.FLAG_CHANGE),
            remove_mailboxes=table.take(schema.REMOVE_MAILBOXES),
        )
        include, exclude = table.take(schema.INCLUDE), table.take(schema.EXCLUDE)
        state_dir = table.take(schema.STATE_DIR)
        days, megabytes = table.take(schema.QUARANTINE_DAYS), table.take(schema.QUARANTINE_MEGABYTES)
        view = table.take(schema.VIEW)
        left, right = (stores.get(name) for name in names)
        if left is None or right is None:
            return None
        pair = PairSettings(
            table.path[-1], left, right, policy, include, exclude, rename, state_dir, days, megabytes, view
        )
        if view is View.LABELS and pair.chooses_mailboxes:
            self._note((*table.path, "view"), ONE_MAILBOX, about_value=True)
        return pair

    def _check_rename(self, path: KeyPath, rights: Sequence[object]) -> None:
        for at, right in enumerate(rights):
            if right in rights[:at]:
                self._note((*path, "rename"), f'two mailboxes would both be "{right}" on the right')

    def _check_maildirs(
        self, stores: Mapping[str, StoreSettings | None], pairs: Sequence[PairSettings | None]
    ) -> None:
        """One Maildir, one pair: two that write to it would each take the other's changes for a person's."""
        unread = schema.MAILDIR_PATH.default  # a mistake already; it would only seem to overlap
        maildirs = [
            (name, store.path)
            for name, store in stores.items()
            if isinstance(store, MaildirSettings) and store.path != unread
        ]
        for at, (name, path) in enumerate(maildirs):
            for other, taken in maildirs[:at]:
                if _overlap(path, taken):
                    what = f"{path} is the Maildir of stores.{other} ({taken}), or one lies in the other"
                    self._note(("stores", name, "path"), f"{what}; expected one of its own", about_value=True)
        owners: dict[Path, str] = {}
        for pair in filter(None, pairs):
            for key, store in ((schema.LEFT, pair.left), (schema.RIGHT, pair.right)):
                if not isinstance(store, MaildirSettings) or store.path == unread:
                    continue
                owner = owners.setdefault(store.path, pair.name)
                if owner != pair.name:
                    what = f"the Maildir {store.path} belongs to pairs.{owner}; expected one pair for each Maildir"
                    self._note(("pairs", pair.name, key.name), what, about_value=True)


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)
