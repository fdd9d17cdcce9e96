"""What is implausible is not done: the judge of a plan's removals, a pure function of what is known about them.

A lost disk, a truncated answer and a person with a broom look alike: messages that both sides held are missing on one
of them. `judge` names the signs that speak against the person. Nothing is looked at here; see `removals`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from mailtwin.errors import GuardError
from mailtwin.model import MailboxName, Ref, Side

REMOVALS_UNGUARDED = 25
"""So few removals are always plausible in their number: a person tidies up a small mailbox."""

REMOVAL_SHARE_MAX = 0.5
"""Above this share of what both sides hold, removals look like a lost disk or a truncated listing."""

MANY_REMOVALS = 1000
MANY_SHARE_MAX = 0.1
"""Above this number a smaller share is enough: of a large mailbox nobody removes thousands of messages in passing."""

DISPOSABLE = frozenset({"\\Trash", "\\Junk"})
"""The special uses (RFC 6154) of mailboxes that people and servers empty as a matter of course."""

EMPTY_UNGUARDED = 3
"""So many messages may all have been removed from a mailbox: somebody tidied it up, and it is done in a moment."""

WINDOWS = frozenset({1000, 2000, 5000, 10_000})
"""Servers that show only the newest messages of a mailbox show so many (by the provider's rule, or the owner's)."""

NAMED_MAX = 10
"""So many messages are named in an explanation."""


class Sign(Enum):
    """Why removals are implausible."""

    MANY = "many"
    EMPTIED = "emptied"
    SHORT = "short"
    WINDOW = "window"
    MOVED = "moved"
    VANISHED = "vanished"
    PAIR = "pair"


@dataclass(frozen=True, slots=True)
class PairTotal:
    """What one run would remove on one side in all mailboxes of the pair, of `agreed` messages that both sides held."""

    removals: int = 0
    agreed: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the removals of a mailbox's messages on `side`: they are missing on the other one.

    `refs`: what would be removed. `agreed`: the messages that both sides held and that `side` still holds, `refs` among
    them. On the other side `listed` messages are listed now, and `listed_before` were when the mailbox was last in step
    (None: not known); `survivors` of those agreed on are among them. `only_oldest`: everything that is missing is older
    than everything that is listed. `location`, `location_before`: see `Observation`. `whole`: the mailbox itself would
    be removed. `disposable`: a side calls the mailbox one that is emptied as a matter of course. `pair`: this run as a
    whole, without disposable mailboxes.
    """

    side: Side
    refs: Sequence[Ref]
    agreed: int
    listed: int = 0
    listed_before: int | None = None
    survivors: int = 0
    only_oldest: bool = False
    location: str = ""
    location_before: str = ""
    whole: bool = False
    disposable: bool = False
    pair: PairTotal = PairTotal()


def is_implausible(removals: int, agreed: int) -> bool:
    """Whether so many removals, of so many messages, are too many."""
    if removals > MANY_REMOVALS and removals > MANY_SHARE_MAX * agreed:
        return True
    return removals > REMOVALS_UNGUARDED and removals > REMOVAL_SHARE_MAX * agreed


def judge(found: Evidence) -> dict[Sign, str]:
    """The signs against these removals, each in words; none: they are plausible.

    How much of a disposable mailbox is left says nothing. What else speaks against it, and a pair that loses too much
    elsewhere, counts there as well.
    """
    if not found.refs:
        return {}
    signs = {} if found.disposable else _amount(found)
    there, count = found.side.other.label, len(found.refs)
    if found.only_oldest and found.listed in WINDOWS:
        signs[Sign.WINDOW] = (
            f"exactly the newest {found.listed:,} messages are listed on the {there}, as by a server that shows no more"
        )
    if found.location != found.location_before and found.location and found.location_before:
        signs[Sign.MOVED] = f"the {there} is another disk or another directory than last time"
    elsewhere = found.pair.removals - (0 if found.disposable else count)
    if elsewhere > 0 and is_implausible(found.pair.removals, found.pair.agreed):
        signs[Sign.PAIR] = (
            f"with those of other mailboxes {found.pair.removals:,} of {found.pair.agreed:,} messages"
        )
    return signs


def _amount(found: Evidence) -> dict[Sign, str]:
    """The signs that lie in how much is missing and how much is left."""
    there, count = found.side.other.label, len(found.refs)
    before = found.listed_before or 0
    signs: dict[Sign, str] = {}
    if found.whole:
        if count > REMOVALS_UNGUARDED:
            signs[Sign.VANISHED] = f"the whole mailbox vanished on the {there}"
    elif not found.survivors and count > EMPTY_UNGUARDED:
        signs[Sign.EMPTIED] = f"none of the messages that both sides held is left on the {there}"
    elif is_implausible(count, found.agreed):
        signs[Sign.MANY] = f"{count:,} of {found.agreed:,} messages that both sides held"
    if not signs and not found.whole and is_implausible(before - found.listed, before):
        signs[Sign.SHORT] = (
            f"{found.listed:,} messages are listed on the {there}, {before:,} were when both sides were last in step"
        )
    return signs


def explain(found: Evidence, signs: Iterable[str]) -> str:
    """Why removals are held back, in a sentence without the mailbox and without the messages."""
    count = len(found.refs)
    here, there = found.side.label, found.side.other.label
    what = (
        "1 message that both sides held is" if count == 1 else f"{count:,} messages that both sides held are"
    )
    return f"{what} missing on the {there}, and would be removed on the {here}: {'; '.join(signs)}"


def refusal(name: MailboxName, why: str, messages: Sequence[str], count: int) -> GuardError:
    """The error of removals that are held back: `why`, and the first of the `count` messages by name."""
    shown = list(messages[:NAMED_MAX])
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return GuardError(
        f"{name}: {why}. Nothing was removed. They are: {', '.join(shown)}{more}",
        hint="if they were removed on purpose, `mailtwin approve` lets exactly these removals through; if not, mend "
        "that side, and the next run goes on",
    )
