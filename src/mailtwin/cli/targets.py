"""Which pairs a command line means: names of configured pairs, all of them, or two addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailtwin.config.address import is_address, parse_address
from mailtwin.config.settings import (
    ONE_MAILBOX,
    ImapSettings,
    Layout,
    MaildirSettings,
    PairSettings,
    StoreSettings,
    View,
)
from mailtwin.errors import ConfigurationError
from mailtwin.planner.operations import Direction, Removals


@dataclass(frozen=True, slots=True)
class Overrides:
    """What options on the command line put in the place of the configuration; None and () leave it as it is."""

    config: Path | None = None
    direction: str | None = None
    removals: str | None = None
    remove_mailboxes: bool | None = None
    view: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    layout: str | None = None
    ca_file: Path | None = None
    state_dir: Path | None = None


def find_pairs(targets: Sequence[str], overrides: Overrides) -> list[PairSettings]:
    """The pairs that `targets` name, with the overrides applied. Raises ConfigurationError."""
    if any(map(is_address, targets)):
        if overrides.config is not None:
            raise ConfigurationError(
                f"Found addresses as well as --config {overrides.config}; expected one of them.",
                hint="A pair of addresses uses nothing of the configuration; name a pair of it instead.",
            )
        pairs = [_pair_of_addresses(targets)]
    else:
        pairs = _configured(targets, overrides.config)
    return [_override(pair, overrides) for pair in pairs]


def _pair_of_addresses(targets: Sequence[str]) -> PairSettings:
    stores = [parse_address(target) for target in targets]
    if len(stores) != 2:
        raise ConfigurationError(
            f"Found {len(stores)} addresses; expected two, the left side and the right side.",
            hint="For example: mailtwin sync imaps://user@host/ maildir:~/Mail",
        )
    left, right = stores
    if left == right or _same_place(left, right):
        raise ConfigurationError(f"Both sides are {left.address}: a mailbox needs no twin in itself.")
    return PairSettings(f"{left.address} <-> {right.address}", left, right)


def _same_place(left: StoreSettings, right: StoreSettings) -> bool:
    if isinstance(left, MaildirSettings) and isinstance(right, MaildirSettings):
        one, other = left.path.resolve(), right.path.resolve()
        return one.is_relative_to(other) or other.is_relative_to(one)
    return False


def _configured(names: Sequence[str], config: Path | None) -> list[PairSettings]:
    from mailtwin.config.load import default_path, load, nearest

    path = config or default_path()
    pairs = {pair.name: pair for pair in load(path).pairs}
    for name in names:
        if name not in pairs:
            raise ConfigurationError(f'There is no pair "{name}" in {path}; {nearest(name, pairs)}')
    return [pairs[name] for name in dict.fromkeys(names)] if names else list(pairs.values())


def _override(pair: PairSettings, overrides: Overrides) -> PairSettings:
    policy = pair.policy
    if overrides.direction is not None:
        policy = replace(policy, direction=Direction(overrides.direction))
    if overrides.removals is not None:
        policy = replace(policy, removals=Removals(overrides.removals))
    if overrides.remove_mailboxes:
        policy = replace(policy, remove_mailboxes=True)
    settings = replace(
        pair,
        policy=policy,
        include=overrides.include or pair.include,
        exclude=overrides.exclude or pair.exclude,
        left=_override_store(pair.left, overrides),
        right=_override_store(pair.right, overrides),
        state_dir=overrides.state_dir or pair.state_dir,
        view=pair.view if overrides.view is None else View(overrides.view),
    )
    if settings.view is View.LABELS and settings.chooses_mailboxes:
        raise ConfigurationError(f"{settings.name}: {ONE_MAILBOX}.")
    return settings


def _override_store(store: StoreSettings, overrides: Overrides) -> StoreSettings:
    if isinstance(store, ImapSettings):
        return replace(store, ca_file=overrides.ca_file or store.ca_file)
    return store if overrides.layout is None else replace(store, layout=Layout(overrides.layout))
