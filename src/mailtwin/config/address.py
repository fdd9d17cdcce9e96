"""Addresses of stores as a person types them, to settings; the opposite way is `settings.*.address`.

    imaps://user@host[:993]/                IMAP over TLS
    imap://user@host[:143]/                 IMAP with STARTTLS; without TLS on the loopback interface
    imap://user@host/?tls=off               without TLS, said explicitly (or ?tls=starttls, on loopback)
    maildir:~/Mail  maildir:/abs?layout=nested

A user name may contain `@` as it is or as `%40`. A password has no place in an address and is refused; no error
message repeats one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

from mailtwin.config.settings import LOOPBACK_HOSTS, ImapSettings, Layout, MaildirSettings, StoreSettings, Tls
from mailtwin.errors import ConfigurationError

HINT = "An address looks like imaps://user@host/ or imap://user@host/ or maildir:~/Mail."
PASSWORD_HINT = (
    "Leave the password out: set MAILTWIN_LEFT_PASSWORD or MAILTWIN_RIGHT_PASSWORD, or be asked for it on a terminal. "
    "(A colon that belongs to the user name is written %3A.)"
)
HOST_CHARS_MAX = 253
LABEL_CHARS_MAX = 63
"""Of a name in the domain name system (RFC 1035 section 2.3.4)."""

_SCHEME = re.compile(r"(imaps?|maildir):", re.IGNORECASE)
_TO_COLON = r"(://(?:[^:\[]|\[[0-9A-Fa-f:.]+\])*:)"
_AFTER_COLON_TO_AT = re.compile(_TO_COLON + r".*@", re.DOTALL)
_AFTER_COLON_NO_PORT = re.compile(_TO_COLON + r"(?!\d{1,5}(?:[/?].*)?\Z).+", re.DOTALL)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+")


def is_address(text: str) -> bool:
    """Whether `text` is meant as an address, right or wrong, and not as the name of a pair."""
    return ":" in text or "/" in text


def parse_address(text: str) -> StoreSettings:
    """The settings of the store at `text`. Raises ConfigurationError, never with a password in its message."""
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ConfigurationError(
            f"{redact(text)!r} is not the address of a mail store.", hint=_hint_for(text)
        )
    rest = text[scheme.end() :]
    if scheme[1].lower() == "maildir":
        return _parse_maildir(text, rest)
    return _parse_imap(text, rest, implicit=scheme[1].lower() == "imaps")


def redact(text: str) -> str:
    """`text` with `***` for whatever may be a password in it."""
    with_host = _AFTER_COLON_TO_AT.sub(r"\1***@", text)
    return with_host if with_host != text else _AFTER_COLON_NO_PORT.sub(r"\1***", text)


def _hint_for(text: str) -> str:
    if text.startswith(("/", "~", ".")):
        return f"For a Maildir at that place, write maildir:{text}"
    return HINT


def _parse_imap(text: str, rest: str, *, implicit: bool) -> ImapSettings:
    if not rest.startswith("//"):
        raise _wrong(text, "an IMAP address goes on with // after the colon")
    user, at, server = rest[2:].rpartition("@")
    if not at or not user:
        raise _wrong(text, "no user is named in it")
    if ":" in user:
        raise ConfigurationError(
            f"The address {redact(text)!r} holds a password, which would show in the process list, "
            "in the shell's history and in logs.",
            hint=PASSWORD_HINT,
        )
    found = _HOST.match(server)
    if found is None:
        raise _wrong(text, "no host is named in it")
    host = found[0].strip("[]").lower()
    if not is_host(host):
        raise _wrong(text, f"{host!r} cannot be the name of a host")
    port_text, _, query = server[found.end() :].partition("?")
    port_match = re.fullmatch(r"(?::(\d{1,5}))?/?", port_text)
    if port_match is None or (port_match[1] and not 1 <= int(port_match[1]) <= 65535):
        raise _wrong(text, f"{port_text!r} after the host is neither a port nor the end of it")
    options = _options(text, query, {"tls": ("starttls", "off")} if not implicit else {})
    tls = _tls(host, options.get("tls"), implicit=implicit)
    return ImapSettings(
        user=_user(text, user), host=host, port=int(port_match[1]) if port_match[1] else tls.port, tls=tls
    )


def _user(text: str, quoted: str) -> str:
    try:
        user = unquote(quoted, errors="strict")
        user.encode()
    except UnicodeError as error:
        raise _wrong(text, "its user name is not UTF-8") from error
    if has_controls(user):
        raise _wrong(text, "a control character is in its user name")
    return user


def has_controls(text: str) -> bool:
    """Whether something is in `text` that no name holds: a line break, a NUL and the like."""
    return any(ord(char) < 32 or ord(char) == 127 for char in text)


def is_host(text: str) -> bool:
    """Whether a name server could be asked for `text`, or it is an IP address. Neither is asked here."""
    if ":" in text:
        return True
    try:
        name = text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        return False
    labels = name.removesuffix(".").split(".")
    return len(name) <= HOST_CHARS_MAX and all(0 < len(label) <= LABEL_CHARS_MAX for label in labels)


def _tls(host: str, option: str | None, *, implicit: bool) -> Tls:
    if implicit:
        return Tls.IMPLICIT
    if option is not None:
        return Tls(option)
    # Nobody else can listen on the loopback interface, and servers there rarely have a certificate for it.
    return Tls.OFF if host in LOOPBACK_HOSTS else Tls.STARTTLS


def _parse_maildir(text: str, rest: str) -> MaildirSettings:
    path, _, query = rest.partition("?")
    if re.match(r"//[^/]", path):
        raise _wrong(text, "a Maildir is on no host; after // its path goes on with another /")
    options = _options(text, query, {"layout": tuple(layout.value for layout in Layout)})
    if not path:
        raise _wrong(text, "no directory is named in it")
    path = unquote(path, errors="surrogateescape")
    if "\0" in path:
        raise _wrong(text, "a NUL is in its path")
    return MaildirSettings(
        path=absolute(re.sub(r"^//(?=/)", "", path)),
        layout=Layout(options.get("layout", Layout.AUTO.value)),
    )


def absolute(path: str) -> Path:
    """`path` with `~` resolved, absolute and without `..`; symbolic links stay. Raises ConfigurationError."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"The home directory in {path!r} is not known.", hint="Write the path from the root down."
        ) from error
    return Path(os.path.abspath(expanded))  # noqa: PTH100 - unlike resolve(), this keeps symbolic links


def in_home(find: Callable[[], Path], lack: str, *, hint: str) -> Path:
    """The path that `find` makes from the home directory. Raises ConfigurationError, which begins with `lack`."""
    try:
        path = find()
    except RuntimeError:
        path = Path("~")
    if not path.is_absolute():
        raise ConfigurationError(f"{lack}: your home directory is not known.", hint=hint)
    return path


def _options(text: str, query: str, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        value = unquote(value)
        if name not in allowed:
            raise _wrong(
                text, f"it has no option {name!r}" + (f", only {', '.join(allowed)}" if allowed else "")
            )
        if value not in allowed[name]:
            raise _wrong(
                text, f"{name}={value} is not one of {', '.join(f'{name}={v}' for v in allowed[name])}"
            )
        options[name] = value
    return options


def _wrong(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The address {redact(text)!r} is not understood: {why}.", hint=HINT)
