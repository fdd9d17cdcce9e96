"""Settings to the engine's values: stores that are not connected yet, and pairs of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mailtwin.client import Credentials, Secret
from mailtwin.config.globs import naming, selector
from mailtwin.config.places import default_state_dir, place_of
from mailtwin.config.secrets import Ask, asks_a_person, find_secret
from mailtwin.config.settings import ImapSettings, MaildirSettings, PairSettings, StoreSettings, View
from mailtwin.engine import Pair
from mailtwin.engine.pair import Keeping
from mailtwin.model import MailboxName, Side
from mailtwin.model.traffic import DailyLimits
from mailtwin.planner import NameMap
from mailtwin.state import LEDGER_NAME, state_path
from mailtwin.stores.base import ALL_MAIL, Store

if TYPE_CHECKING:
    from mailtwin.stores.imap import ImapStore
    from mailtwin.stores.maildir import MaildirStore


@dataclass(slots=True)
class Login:
    """The credentials of one side: found when first wanted, and kept. `find` may ask a person.

    An access token ends after an hour or so, often in the middle of a run: it is good for one login. For the next one
    its source is asked anew, unless that is a person.
    """

    settings: ImapSettings
    side: Side
    ask: Ask
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _found: Credentials | None = None
    _used: bool = False

    def find(self) -> Credentials:
        """The credentials, before anything is open. Raises SecretError."""
        if self._found is None:
            secret = Secret(find_secret(self.settings, self.side, self.ask, self.environ))
            self._found = Credentials(self.settings.user, secret, self.settings.auth.value)
        return self._found

    def use(self) -> Credentials:
        """The credentials for one login. Raises SecretError."""
        is_ended = self._used and self.settings.auth.wants_token
        if is_ended and not asks_a_person(self.settings, self.side, self.environ):
            self._found = None
        self._used = True
        return self.find()


@dataclass(frozen=True, slots=True)
class Built:
    """A pair that is ready to run, where its state is, and the logins that it will need."""

    settings: PairSettings
    pair: Pair
    state: Path
    logins: tuple[Login, ...]

    @property
    def name(self) -> str:
        """What people call the pair."""
        return self.settings.name

    @property
    def ledger(self) -> Path:
        """Where it is noted what the accounts use: one file for all pairs of a state directory."""
        return self.state.parent / LEDGER_NAME


def build_pair(
    settings: PairSettings,
    ask: Ask,
    *,
    retry: bool = False,
    full: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Built:
    """The pair and its state's place. Touches neither network nor disk. Raises ConfigurationError."""
    logins: list[Login] = []
    labels = settings.view is View.LABELS
    left, right = (
        _build_store(store, labels, partial(Login, side=side, ask=ask, environ=environ), logins)
        for side, store in ((Side.LEFT, settings.left), (Side.RIGHT, settings.right))
    )
    pair = Pair(
        left=left,
        right=right,
        policy=settings.policy,
        names=NameMap(settings.rename),
        select=_is_all_mail if labels else selector(settings.include, settings.exclude),
        is_named=naming(settings.include),
        retry=retry,
        full=full,
        keeping=Keeping(settings.quarantine_days, settings.quarantine_megabytes * 1024 * 1024),
    )
    directory = settings.state_dir or default_state_dir()
    return Built(settings, pair, state_path(directory, left.address, right.address), tuple(logins))


def _is_all_mail(name: MailboxName) -> bool:
    return name == ALL_MAIL


def _build_store(
    settings: StoreSettings, labels: bool, login_for: Callable[[ImapSettings], Login], logins: list[Login]
) -> Store:
    if isinstance(settings, MaildirSettings):
        return _maildir_kind(labels)(
            settings.path,
            layout=settings.layout.value,
            encoding=settings.encoding.value,
            separator=settings.info_separator,
        )
    login = login_for(settings)
    logins.append(login)
    return _imap_kind(labels)(place_of(settings), login.use, settings.user, _limits_of(settings))


def _limits_of(settings: ImapSettings) -> DailyLimits:
    megabytes = (settings.download_megabytes_per_day, settings.upload_megabytes_per_day)
    return DailyLimits(*(None if count is None else count * 1024 * 1024 for count in megabytes))


# Each kind of store is imported where there is one.


def _maildir_kind(labels: bool) -> type[MaildirStore]:
    if labels:
        from mailtwin.stores.maildir_labels import LabelledMaildir

        return LabelledMaildir
    from mailtwin.stores.maildir import MaildirStore

    return MaildirStore


def _imap_kind(labels: bool) -> type[ImapStore]:
    if labels:
        from mailtwin.stores.imap_labels import LabelView

        return LabelView
    from mailtwin.stores.imap import ImapStore

    return ImapStore


def with_stand_ins(built: Built, *, agreed: bool) -> Built:
    """`built` for looking ahead: a Maildir that the first run would create is an empty store in memory.

    `agreed`: both sides agreed on something before; then a missing Maildir is missing, and nothing stands in for it.
    """
    if agreed:
        return built
    pair, settings = built.pair, built.settings
    if isinstance(settings.left, MaildirSettings) and not _is_there(settings.left.path):
        pair = replace(pair, left=_not_yet(pair.left.address))
    if isinstance(settings.right, MaildirSettings) and not _is_there(settings.right.path):
        pair = replace(pair, right=_not_yet(pair.right.address))
    return replace(built, pair=pair)


def _is_there(path: Path) -> bool:
    """Whether a Maildir of any layout is at `path`; what cannot be read is, and the store will say why."""
    from mailtwin.stores.layout import LAYOUTS

    try:
        return any(next(layout(path).candidates([]), None) for layout in LAYOUTS.values())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _not_yet(address: str) -> Store:
    """An empty store that says so. Memory is imported here because only a look ahead needs it."""
    from mailtwin.stores.memory import Manners, MemoryStore

    class NotYet(MemoryStore):
        """A Maildir that does not exist."""

        def describe(self) -> tuple[str, ...]:
            return self.address, "does not exist yet; the first sync creates it"

    return NotYet(address, manners=Manners(labels=True))
