"""Whole providers to test against: Gmail, Exchange Online, Yahoo and iCloud, put together from switches.

A `Provider` is what it says and how (`Manners`), what it allows (`Limits`), and what an account there is like: the
mailboxes that everybody has, and for Gmail the store with labels. Nothing here is more than a value; each switch can be
set by its name, from a test or from the command line (`mailtwin.testing.simulate`)::

    gmail = GMAIL.switch("unannounced=UIDPLUS", "check_tells=no", "expunge=trash")
    mail = SimMail()
    account = gmail.add_account(mail, "alice", "secret")
    async with gmail.server(mail) as server:
        ...  # any client, to 127.0.0.1, server.port

What each switch does, and who was seen to behave so, is in the docstring at its field and in docs/simulator.md.
Not simulated of these providers, and so not announced: QUOTA, COMPRESS, UTF8=ACCEPT, UIDONLY, PARTIAL, BINARY.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from mailtwin.testing.manners import GMAIL_MANNERS, PLAIN, LoginCapabilities, Manners, Withheld
from mailtwin.testing.simlabels import LabelledAccount, LabelSettings
from mailtwin.testing.simlimits import Limits, Throttle
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer

__all__ = ["EXCHANGE", "GMAIL", "ICLOUD", "PROVIDERS", "YAHOO", "Provider", "Switch"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch as a person sees it: the value that it belongs to, its name, how it is set, and what it does."""

    group: str
    name: str
    value: str
    about: str
    choices: tuple[str, ...]
    """The words that it can be set to; none: it is no choice of words."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider. `labels`: its accounts keep one store with labels; None: each mailbox has messages of its own."""

    name: str
    manners: Manners = PLAIN
    limits: Limits = field(default_factory=Limits)
    labels: LabelSettings | None = None
    mailboxes: tuple[tuple[str, str | None], ...] = ()
    """The mailboxes that an account has besides INBOX, with their special use."""

    def add_account(self, mail: SimMail, user: str, password: str, token: str | None = None) -> SimAccount:
        """A new account as this provider gives it. `token`: what XOAUTH2 takes."""
        if self.labels is not None:
            labelled = LabelledAccount(mail, password, self.labels, token)
            mail.add(user, labelled)
            return labelled
        account = mail.add_account(user, password, token)
        for name, special_use in self.mailboxes:
            account.create(name, special_use)
        account.subscriptions |= set(account.names())
        return account

    def server(self, mail: SimMail, **options: Any) -> SimServer:
        """A server of this provider; `options` are those of `SimServer`: faults, TLS, port."""
        return SimServer(mail, self.manners, limits=self.limits, **options)

    def switch(self, *settings: str) -> Provider:
        """The same provider with other switches, each as `name=value`.

        A value is a number, `yes` or `no`, `none`, a word, words with commas between them, or `field:value` pairs with
        semicolons. Raises `ValueError` for an unknown name and for a value that the switch cannot have.
        """
        changed = self
        for setting in settings:
            name, _, value = setting.partition("=")
            group = changed._group_of(name)
            changed = replace(changed, **{group: _set(getattr(changed, group), name, value)})
        return changed

    def switches(self) -> Iterator[Switch]:
        """All switches, as they are set."""
        for group in self._groups():
            held = getattr(self, group)
            about, hints = _docstrings(type(held)), typing.get_type_hints(type(held))
            for one in fields(held):
                shown, hint = _shown(getattr(held, one.name)), hints[one.name]
                is_enum = isinstance(hint, type) and issubclass(hint, Enum)
                choices = tuple(str(choice.value) for choice in hint) if is_enum else ()
                yield Switch(group, one.name, shown, about[one.name], choices)

    def _groups(self) -> list[str]:
        return [group for group in ("manners", "limits", "labels") if getattr(self, group) is not None]

    def _group_of(self, name: str) -> str:
        for group in self._groups():
            if name in {one.name for one in fields(getattr(self, group))}:
                return group
        raise ValueError(f"{self.name} has no switch {name!r}")


def _set(held: Any, name: str, value: str) -> Any:
    hint = typing.get_type_hints(type(held))[name]
    try:
        return replace(held, **{name: _read(hint, value)})
    except ValueError as bad:
        raise ValueError(f"{name}={value}: {bad}") from bad


def _read(hint: Any, value: str) -> Any:
    """A value of this type as a person typed it."""
    if isinstance(hint, types.UnionType):
        inner = next(one for one in typing.get_args(hint) if one is not type(None))
        return None if value.lower() == "none" else _read(inner, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is bool:
        if value.lower() not in ("yes", "no"):
            raise ValueError("yes or no expected")
        return value.lower() == "yes"
    if hint is int or hint is str:
        return hint(value)
    words = [word for word in value.split(",") if word]
    if typing.get_origin(hint) is frozenset:
        return frozenset(words)
    if typing.get_args(hint)[0] is str:
        return tuple(words)
    return tuple(tuple(pair.split(":", 1)) for pair in value.split(";") if pair)


def _shown(value: Any) -> str:
    """The inverse of `_read`."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, tuple):
        if value and isinstance(value[0], tuple):
            return ";".join(":".join(pair) for pair in value)
        return ",".join(value)
    return "none" if value is None else str(value)


def _docstrings(kind: type) -> dict[str, str]:
    """The docstring below each field of a class, as one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(below, ast.Expr), f"{statement.target.id} has no docstring"
            assert isinstance(below.value, ast.Constant), f"{statement.target.id} has no docstring"
            found[statement.target.id] = " ".join(str(below.value.value).split())
    return found


GMAIL = Provider(
    "gmail",
    replace(
        GMAIL_MANNERS,
        extensions=GMAIL_MANNERS.extensions | {"X-GM-EXT-1"},
        late=GMAIL_MANNERS.late | {"UIDPLUS"},
        unannounced=frozenset(),
        words_before=("XLIST", "XYZZY"),
        greeting="Gimap ready for requests from 127.0.0.1 x7mb1",
        header_words=True,
        modseq_search_dies=True,
        preset_keywords=("$NotPhishing", "$Phishing"),
    ),
    Limits(
        max_connections=15,
        download_daily=2500 * _MIB,
        upload_daily=500 * _MIB,
        session_s=86400,
        token_bye="Session expired, please login again.",
    ),
    LabelSettings(),
)
"""Gmail. UIDPLUS is announced after login; accounts where it is not yet: `unannounced=UIDPLUS`."""

EXCHANGE = Provider(
    "exchange",
    Manners(
        extensions=frozenset(
            {"SASL-IR", "UIDPLUS", "MOVE", "ID", "UNSELECT", "CHILDREN", "IDLE", "NAMESPACE", "LITERAL+"}
        ),
        late=frozenset({"MOVE"}),
        unannounced=frozenset({"SPECIAL-USE"}),
        greeting="The Microsoft Exchange IMAP4 service is ready. [QQBNADAAUABSADAAMQ==]",
        greeting_capabilities=False,
        login_capabilities=LoginCapabilities.NONE,
        identity=(("name", "Microsoft.Exchange.Imap4.Imap4Server"), ("version", "15.20")),
        bad_text="Command Argument Error. 12",
        appends_with_bad=True,
        offers_keywords=False,
        keeps_keywords=False,
        preset_keywords=("$MDNSent",),
        uid_last=True,
        odd_copyuid=True,
        trailing_spaces=True,
        exists_before_plus=True,
        renders_anew=True,
        size_error=17,
        withholds=Withheld.NO_DATA,
        command_limit=9900,
        literal_limit=35 * _MIB,
    ),
    Limits(
        max_connections=20,
        throttle=Throttle.BAD,
        error_limit=10,
        pipeline_limit=50,
        token_bye="Session invalidated - AccessTokenExpired",
    ),
    mailboxes=(
        ("Archive", None),
        ("Deleted Items", "\\Trash"),
        ("Drafts", "\\Drafts"),
        ("Junk Email", "\\Junk"),
        ("Outbox", None),
        ("Sent Items", "\\Sent"),
    ),
)
"""Exchange Online: few extensions, messages rendered anew, sizes estimated, every BAD in the same words."""

YAHOO = Provider(
    "yahoo",
    Manners(
        extensions=frozenset(
            {
                *("SASL-IR", "ID", "MOVE", "NAMESPACE", "UIDPLUS", "LITERAL+", "CHILDREN", "UNSELECT"),
                *("OBJECTID", "ENABLE", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "IDLE"),
            }
        ),
        words_after=("XYMHIGHESTMODSEQ",),
        greeting="IMAP4rev1 imapgate ready",
        append_limit=41697280,
        needs_final_crlf=True,
        inbox_shown="Inbox",
        window=10000,
        search_limit=1000,
        modseq_unasked=True,
        trailing_spaces=True,
        withholds=Withheld.UNAVAILABLE,
        identity=(("name", "Yahoo! Mail"),),
    ),
    Limits(throttle=Throttle.NO, idle_limit_s=300),
    mailboxes=(
        ("Archive", "\\Archive"),
        ("Bulk", "\\Junk"),
        ("Draft", "\\Drafts"),
        ("Sent", "\\Sent"),
        ("Trash", "\\Trash"),
    ),
)
"""Yahoo and AOL: a window on the newest 10,000 messages, identifiers without CONDSTORE."""

ICLOUD = Provider(
    "icloud",
    Manners(
        extensions=frozenset(
            {
                *(
                    "SASL-IR",
                    "ENABLE",
                    "UIDPLUS",
                    "CONDSTORE",
                    "QRESYNC",
                    "ESEARCH",
                    "LIST-STATUS",
                    "NAMESPACE",
                ),
                *("ID", "IDLE"),
            }
        ),
        words_before=("XAPPLELITERAL",),
        words_after=("XAPPLELITERAL",),
        greeting="iCloud Mail IMAP service ready",
        silent_enable=True,
        unselectable=("Notes",),
        withholds=Withheld.NO_LITERAL,
        identity=(("name", "iCloud"),),
    ),
    mailboxes=(
        ("Archive", None),
        ("Deleted Messages", None),
        ("Drafts", None),
        ("Junk", None),
        ("Notes", None),
        ("Sent Messages", None),
    ),
)
"""iCloud: ENABLE without a word, no MOVE, a mailbox that cannot be selected, bodies that do not come."""

PROVIDERS = {provider.name: provider for provider in (GMAIL, EXCHANGE, YAHOO, ICLOUD)}
"""By the name that a person types."""
