"""An account whose mailboxes are labels, seen as what it is: one mailbox with all mail, and labels on its messages.

A server of X-GM-EXT-1 keeps each message once and shows it in a mailbox for each of its labels, and in one with the
special use `\\All` (RFC 6154). Here only that one is a mailbox; the labels of a message are flags of it (see
`mailtwin.model.labels`), and the names of all labels are `labels`. What lies in Trash and Junk is in no other mailbox,
and so is no part of this view. Read first: `imap`, `imap_mailbox`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Literal, cast

from mailtwin.client import Credentials, Place
from mailtwin.errors import ConfigurationError, MailboxError, MailtwinError
from mailtwin.imap import commands as c
from mailtwin.imap import fetchdata, responses
from mailtwin.imap.commands.revising import StoreLabels
from mailtwin.imap.tokens import Malformed
from mailtwin.model import NO_FLAGS, Flags, MailboxName, Ref, UidSet, Vocabulary
from mailtwin.model.flags import make_flags
from mailtwin.model.labels import label_flags, label_in, split_labels
from mailtwin.model.traffic import NO_LIMITS, DailyLimits
from mailtwin.stores.base import (
    ALL_MAIL,
    FlagChange,
    Mailbox,
    MailboxInfo,
    MailboxList,
    Message,
    Observation,
    Outcome,
    Stored,
    Target,
)
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.imap_bodies import FlagReader
from mailtwin.stores.imap_delivery import ImapDelivery
from mailtwin.stores.imap_mailbox import ImapMailbox, uid_set

LABELS = "X-GM-LABELS"
EXTENSION = "X-GM-EXT-1"

Sign = Literal["+", "-"]

CARRIED = frozenset({"\\inbox", "\\important", "\\sent"})
"""The server's own labels that are carried over. `\\Starred` and `\\Draft` are told by the flags `\\Flagged` and
`\\Draft`; a message with any other one is not in the mailbox of all mail, or says nothing that a person decided."""


class LabelView(ImapStore):
    """The mailbox of all mail of one account. Raises ConfigurationError when the server has no labels."""

    copies_within = False  # there is one mailbox

    def __init__(
        self,
        endpoint: Place,
        credentials: Callable[[], Credentials],
        user: str,
        daily_limits: DailyLimits = NO_LIMITS,
    ) -> None:
        super().__init__(endpoint, credentials, user, daily_limits)
        self.address += "?view=labels"
        self.trash: str | None = None
        self._all = ""
        self._labels: MailboxList | None = None

    async def mailboxes(self) -> MailboxList:
        """One LIST, of which only the mailbox of all mail is told."""
        if not self.session.has(EXTENSION):
            raise ConfigurationError(
                f"{self.address}: the server has no labels (it does not announce {EXTENSION})",
                hint='leave out `view = "labels"`: its mailboxes are kept in step as mailboxes',
            )
        listed = await super().mailboxes()
        uses = {info.special_use: info for info in listed.mailboxes.values() if info.special_use}
        if "\\All" not in uses:
            raise ConfigurationError(
                f"{self.address} does not show the mailbox with all mail",
                hint='let the account show "All Mail" to IMAP (its settings, Labels), or leave out `view = "labels"`',
            )
        self._all = uses["\\All"].spelling
        self.trash = uses["\\Trash"].spelling if "\\Trash" in uses else None
        root = uses["\\All"].name.parts[:-1]
        labels = {name: info for name, info in listed.mailboxes.items() if _is_label(info, root)}
        self._labels = replace(listed, mailboxes=labels)
        return MailboxList({ALL_MAIL: replace(uses["\\All"], name=ALL_MAIL, special_use="")}, listed.complete)

    async def labels(self) -> MailboxList:
        """The labels as the last LIST told them."""
        if self._labels is None:
            await self.mailboxes()
        assert self._labels is not None
        return self._labels

    async def create_label(self, name: MailboxName) -> None:
        """CREATE."""
        await super().create(name)

    async def remove_label(self, name: MailboxName) -> None:
        """DELETE, if no message carries it."""
        spelling = await self.spell(name)
        answer = await self.session.run(c.StatusOf(spelling, ("MESSAGES",)))
        told = [
            item.items.get("MESSAGES")
            for item in answer.responses
            if isinstance(item, responses.MailboxStatus)
        ]
        if told != [0]:
            raise MailboxError(f"the label {name} is not removed: {self.address} has messages that carry it")
        await super().remove_mailbox(name)

    async def create(self, name: MailboxName) -> None:
        """There is one mailbox, and it exists."""
        await self._require(name)

    async def remove_mailbox(self, name: MailboxName) -> None:
        """Never: it is the account."""
        raise MailboxError(f"{name} cannot be removed: it is all mail of {self.address}")

    @asynccontextmanager
    async def open(self, name: MailboxName) -> AsyncIterator[Mailbox]:
        """SELECT of the mailbox with all mail."""
        await self._require(name)
        mailbox = LabelledMailbox(self, name, self._all)
        await mailbox.select()
        yield mailbox

    async def _require(self, name: MailboxName) -> None:
        if self._labels is None:
            await self.mailboxes()
        if name != ALL_MAIL:
            raise MailboxError(
                f"{self.address} is seen as one mailbox with labels; there is no mailbox {name} in it"
            )


class LabelReader(FlagReader):
    """Flags and labels, which may be told in two responses; a message of which only one half came is not told."""

    attributes = ("FLAGS", LABELS)

    def __init__(self, decode: Callable[[bytes], str]) -> None:
        self._decode = decode
        self._halves: dict[int, tuple[Flags | None, Flags | None]] = {}

    def take(self, item: responses.Fetch) -> Flags | None:
        """See `FlagReader`. A value that says nothing sensible is as good as none (rule R7)."""
        if item.uid is None:
            return None
        told = super().take(item)
        flags, labels = self._halves.get(item.uid, (None, None))
        flags = flags if told is None else told
        if LABELS in item.extra:
            try:
                labels = self._labels(item)
            except Malformed:
                return None
        self._halves[item.uid] = flags, labels
        return None if flags is None or labels is None else make_flags(flags | labels)

    def _labels(self, item: responses.Fetch) -> Flags:
        told = cast("tuple[bytes, ...]", fetchdata.read(LABELS, item.extra[LABELS]))
        names = [self._decode(raw) for raw in told]
        return label_flags(name for name in names if not name.startswith("\\") or name.lower() in CARRIED)


class LabelledMailbox(ImapMailbox):
    """The mailbox of all mail, selected. Its messages go to the trash when they are removed."""

    store: LabelView

    async def observe(self, since: Observation | None = None) -> Observation:
        """As any mailbox; everything is listed when a label that was seen is not there any more.

        It may have another name now, which is no change of the messages that carry it to a modification sequence.
        """
        if since is not None and not await self._knows_labels_of(since):
            since = None
        return await super().observe(since)

    async def _knows_labels_of(self, since: Observation) -> bool:
        """Whether the account has all labels that messages carried then, but for the server's own."""
        listed = await self.store.labels()
        names = {info.spelling.lower() for info in listed.mailboxes.values()}
        carried = {label_in(flag) or "" for flags in {*since.listing.flags.values()} for flag in flags}
        return all(not label or label.startswith("\\") or label.lower() in names for label in carried)

    def flag_reader(self) -> FlagReader:
        """Flags and labels."""
        return LabelReader(self.session.decode_name)

    def vocabulary_of(self, permanent_flags: Iterable[str] | None) -> Vocabulary:
        """As any mailbox, and labels."""
        return replace(super().vocabulary_of(permanent_flags), labels=True)

    def delivery(self) -> ImapDelivery:
        """APPENDs, without the labels: those are changed when the message is there."""
        return LabelledDelivery(self)

    async def store_flags(self, changes: Sequence[FlagChange]) -> Mapping[str, str]:
        """Flags as everywhere. Labels one by one, each on all its messages at once: one that the server does not take
        keeps no other from being set."""
        plain: list[FlagChange] = []
        wanted: dict[tuple[str, Sign], set[Ref]] = {}
        refused: dict[str, str] = {}
        for change in changes:
            (add, labels_on), (remove, labels_off) = split_labels(change.add), split_labels(change.remove)
            if add or remove:
                plain.append(FlagChange(change.refs, add, remove))
            for sign, flags in (("+", labels_on), ("-", labels_off)):
                for flag in flags:
                    if why := _why_not(label_in(flag) or ""):
                        refused[flag] = why
                    else:
                        wanted.setdefault((flag, cast(Sign, sign)), set()).update(change.refs)
        refused.update(await super().store_flags(plain))
        commands = [
            (flag, command)
            for (flag, sign), refs in sorted(wanted.items())
            for command in self.split(uid_set(refs), partial(_store_label, sign=sign, flag=flag))
        ]
        results = await self._in_this_mailbox.run_all([command for _flag, command in commands])
        for (flag, _command), result in zip(commands, results, strict=True):
            self.heed(result)
            if not result.ok:
                code = result.code.name if result.code is not None else "the server gave no reason"
                refused[flag] = result.text or code
        return refused

    async def remove(self, refs: Sequence[Ref]) -> None:
        """MOVE to the trash: what an EXPUNGE does is a setting of the account (archive, trash, destroy)."""
        trash = self.store.trash
        if trash is None:
            raise MailboxError(
                f"{self.store.address} does not show its trash, so nothing can be removed there",
                hint="let the account show the trash to IMAP (its settings, Labels)",
            )
        # Where there is no MOVE, a copy in the trash is in no other mailbox all the same.
        kind = c.Move if self.session.has("MOVE") else c.Copy
        moves = self.split(uid_set(refs), lambda part: kind(part, trash))
        await self._all_ok(list(moves), "move messages to the trash")


class LabelledDelivery(ImapDelivery):
    """A batch of APPENDs to the mailbox of all mail, and the labels of what they stored."""

    def __init__(self, mailbox: LabelledMailbox) -> None:
        super().__init__(mailbox)
        self._labelled = mailbox
        self._labels: list[Flags] = []

    def stage(self, message: Message, flags: Flags) -> Target:
        flags, labels = split_labels(flags)
        target = super().stage(message, flags)
        self._labels.append(labels)
        return target

    async def commit(self) -> list[Outcome]:
        """APPENDs, then labels. Where one is refused, or the connection ends first, the next listing shows it."""
        outcomes = await super().commit()
        changes = [
            FlagChange((outcome.ref,), labels, NO_FLAGS)
            for outcome, labels in zip(outcomes, self._labels, strict=True)
            if labels and isinstance(outcome, Stored)
        ]
        if self._labelled.session.is_open:
            try:
                await self._labelled.store_flags(changes)
            except MailtwinError:
                pass  # what was stored is stored: its labels are changed again when it is seen without them
        return outcomes


def _store_label(uids: UidSet, *, sign: Sign, flag: str) -> StoreLabels:
    label = label_in(flag)
    assert label is not None
    return StoreLabels(uids, sign, frozenset({label}))


def _is_label(info: MailboxInfo, root: tuple[str, ...]) -> bool:
    """`root`: the name below which all mail is, and with it what else is the server's own, such as chats."""
    is_own = info.special_use or info.name.is_inbox or (root and info.name.parts[: len(root)] == root)
    return not is_own


def _why_not(label: str) -> str:
    """Why a label cannot be given to a message here, or taken from it; "" when it can."""
    if label.startswith("\\") and label.lower() not in CARRIED:
        return "a label that begins with a backslash is the server's own"
    if not label.isprintable():
        return "it cannot be written as the name of a mailbox"
    return ""
