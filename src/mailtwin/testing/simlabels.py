"""One store of messages with labels, shown as mailboxes: the mail of an account as Gmail keeps it.

A message is stored once. Each label that it has is a mailbox that holds it, under a UID of that mailbox's own; All Mail
holds every message but those in Trash and Spam, which are only there. So flags are the message's and not the copy's,
COPY adds a label, MOVE trades one for another, and EXPUNGE takes one away. What becomes of a message without any label
is decided by the owner of the account (`LabelSettings`).

It is an account like any other (`mailtwin.testing.simmail`), to be put behind any server::

    account = LabelledAccount(mail, "secret", LabelSettings(expunge=Expunge.TRASH))
    mail.add("alice", account)
    account["INBOX"].append(b"Subject: hi\\r\\n\\r\\nhi\\r\\n")
    assert len(account[account.name_of(Role.ALL)]) == 1

Where the evidence is silent, this was chosen: `\\Deleted` belongs to the copy in one mailbox unless `shared_deleted`;
to expunge a message in All Mail does nothing but unmark it when the account archives; a message that merges keeps the
flags and the date that it had; a label given to a message in Trash or Spam takes it out of there.

Read next: `mailtwin.testing.simgmail`, what X-GM-EXT-1 says of labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from mailtwin.testing.simmail import SimAccount, SimMail, SimMailbox, SimMessage
from mailtwin.testing.simmime import header_fields

__all__ = [
    "LANGUAGES",
    "Expunge",
    "LabelSettings",
    "LabelledAccount",
    "LabelledMailbox",
    "Merge",
    "Role",
]


class Role(Enum):
    """The mailboxes that every account has: special use (RFC 6154) and label."""

    INBOX = (None, "\\Inbox")
    ALL = ("\\All", None)
    DRAFTS = ("\\Drafts", "\\Draft")
    SENT = ("\\Sent", "\\Sent")
    STARRED = ("\\Flagged", "\\Starred")
    IMPORTANT = ("\\Important", "\\Important")
    SPAM = ("\\Junk", "\\Spam")
    TRASH = ("\\Trash", "\\Trash")

    @property
    def special_use(self) -> str | None:
        """The attribute in LIST."""
        use: str | None = self.value[0]
        return use

    @property
    def label(self) -> str | None:
        """The label in X-GM-LABELS; All Mail is none."""
        label: str | None = self.value[1]
        return label


_BINS = (Role.TRASH, Role.SPAM)

LANGUAGES: dict[str, tuple[str, dict[Role, str]]] = {
    "en": (
        "[Gmail]",
        {
            Role.ALL: "All Mail",
            Role.DRAFTS: "Drafts",
            Role.SENT: "Sent Mail",
            Role.STARRED: "Starred",
            Role.IMPORTANT: "Important",
            Role.SPAM: "Spam",
            Role.TRASH: "Trash",
        },
    ),
    "de": (
        "[Google Mail]",
        {
            Role.ALL: "Alle Nachrichten",
            Role.DRAFTS: "Entwürfe",
            Role.SENT: "Gesendet",
            Role.STARRED: "Markiert",
            Role.IMPORTANT: "Wichtig",
            Role.SPAM: "Spam",
            Role.TRASH: "Papierkorb",
        },
    ),
    "ru": (
        "[Gmail]",
        {
            Role.ALL: "Вся почта",
            Role.DRAFTS: "Черновики",
            Role.SENT: "Отправленные",
            Role.STARRED: "Помеченные",
            Role.IMPORTANT: "Важное",
            Role.SPAM: "Спам",
            Role.TRASH: "Корзина",
        },
    ),
}
"""The root above the mailboxes that every account has, and their names, by the owner's language."""


class Expunge(Enum):
    """What becomes of a message that is expunged from its last label."""

    ARCHIVE = "archive"
    TRASH = "trash"
    DELETE = "delete"


class Merge(Enum):
    """Which stored message an APPEND is taken to repeat."""

    NEVER = "never"
    BYTES = "bytes"
    MESSAGE_ID = "message-id"


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """What the owner of the account has chosen, and the store's habits; each is a switch."""

    auto_expunge: bool = True
    r"""A message is expunged as soon as it is marked `\Deleted` (the default of the settings page)."""
    expunge: Expunge = Expunge.ARCHIVE
    """A message that is expunged from its last label stays in All Mail, goes to Trash, or is gone."""
    merge: Merge = Merge.MESSAGE_ID
    """An APPEND of a message that the account has stores nothing, adds the label, and tells the UID of the one that is
    there. Equal are messages of one Message-ID, or of the same bytes, or none."""
    shared_deleted: bool = False
    r"""`\Deleted` set in one mailbox shows in all, as other flags do."""
    language: str = "en"
    """The language of the names of the special mailboxes: `en`, `de` or `ru`. Read when the account is made."""
    strict_names: bool = True
    """Names with blanks at an end of a level or two in a row, with `^`, or below the special root cannot be created."""

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise ValueError(f"language must be one of {', '.join(LANGUAGES)}: {self.language!r}")


@dataclass(slots=True, eq=False)
class _Stored:
    """A message: what all its copies share, and where they are."""

    first: SimMessage
    message_id: bytes
    flags: frozenset[str]
    uids: dict[LabelledMailbox, int] = field(default_factory=dict)


class LabelledMailbox(SimMailbox):
    """The messages that have one label. `role` is None for a label that somebody made."""

    def __init__(self, account: LabelledAccount, mail: SimMail, role: Role | None) -> None:
        super().__init__(mail, role.special_use if role else None)
        self.role = role
        self.label = role.label if role else None
        """The label as X-GM-LABELS has it, before modified UTF-7; None for All Mail."""
        self._account = account
        self.keywords = account.keywords

    def append(self, body: bytes, flags: Iterable[str] = (), date: datetime | None = None) -> int:
        stored = self._account.equal_to(body)
        if stored is None:
            message_id = _message_ids(body, b"message-id")
            first = SimMessage(
                0, frozenset(), date or self._mail.clock(), 0, body, self._mail.next_email_id()
            )
            first = replace(first, thread_id=self._account.thread_of(body) or first.email_id)
            stored = _Stored(first, message_id[0] if message_id else b"", self._spell(flags) - {"\\Deleted"})
            self._account.add_stored(stored)
        uid = self._account.place(stored, self)
        if "\\Deleted" in self._spell(flags):
            self.set_flags(uid, self[uid].flags | {"\\Deleted"})
        return uid

    def copy(self, message: SimMessage) -> int:
        return self._account.place(self._account.stored(message), self)

    def move(self, uid: int, target: SimMailbox) -> int:
        stored = self._account.stored(self[uid])
        new = target.copy(self[uid])
        if target is not self and self in stored.uids and self.role is not Role.ALL:
            self._account.withdraw(stored, self)
        return new

    def set_flags(self, uid: int, flags: Iterable[str]) -> SimMessage:
        message = self[uid]
        wanted = self._spell(flags)
        self._account.set_flags(self._account.stored(message), self, wanted)
        if "\\Deleted" in wanted - message.flags and self._account.settings.auto_expunge and uid in self:
            message = self[uid]
            self.expunge(uid)
            return message
        return self.get(uid) or replace(message, flags=wanted)

    def expunge(self, uid: int) -> None:
        account, stored = self._account, self._account.stored(self[uid])
        how = account.settings.expunge
        if self.role in _BINS:
            account.delete_stored(stored)
            return
        if self.role is Role.ALL:
            account.set_flags(stored, self, self[uid].flags - {"\\Deleted"})
        else:
            account.withdraw(stored, self)
        if self.role is Role.ALL or set(stored.uids) == {account.of(Role.ALL)}:
            if how is Expunge.TRASH:
                account.place(stored, account.of(Role.TRASH))
            elif how is Expunge.DELETE:
                account.delete_stored(stored)

    def remove(self, uid: int) -> None:
        """Take the label away, whatever the settings; in All Mail, Trash and Spam: the message itself."""
        stored = self._account.stored(self[uid])
        if self.role in (*_BINS, Role.ALL):
            self._account.delete_stored(stored)
        else:
            self._account.withdraw(stored, self)

    def renew(self, uid_validity: int) -> None:
        super().renew(uid_validity)
        for message in self:
            self._account.stored(message).uids[self] = message.uid

    # --- for the account alone -------------------------------------------------------------------------------------

    def show(self, stored: _Stored) -> int:
        """Hold the message, under a new UID."""
        return self._put(replace(stored.first, flags=stored.flags))

    def hide(self, uid: int) -> None:
        """Hold the message no more."""
        super().remove(uid)

    def show_flags(self, uid: int, flags: frozenset[str]) -> None:
        """Show these flags."""
        super().set_flags(uid, flags)

    def show_labels(self, uid: int, labels: frozenset[str]) -> None:
        """Show these labels; a change has a modification sequence, and is told to nobody."""
        if self[uid].labels != labels:
            self._messages[uid] = replace(self[uid], labels=labels, modseq=self._tick())


class LabelledAccount(SimAccount):
    """An account whose mailboxes are labels. `settings` may be replaced at any time, the language excepted."""

    def __init__(
        self,
        mail: SimMail,
        password: str,
        settings: LabelSettings | None = None,
        token: str | None = None,
    ) -> None:
        self.settings = settings or LabelSettings()
        self.keywords: dict[str, str] = {}
        self._stored: dict[int, _Stored] = {}
        self._by_message_id: dict[bytes, _Stored] = {}
        self._by_body: dict[bytes, _Stored] = {}
        self._threads: dict[bytes, int] = {}
        self._roles: dict[Role, LabelledMailbox] = {}
        super().__init__(mail, password, token)
        self.root, names = LANGUAGES[self.settings.language]
        for role, name in names.items():
            mailbox = LabelledMailbox(self, mail, role)
            self._roles[role] = self._mailboxes[f"{self.root}/{name}"] = mailbox
        self.subscriptions |= set(self._mailboxes)

    def _new_mailbox(self, name: str, special_use: str | None) -> SimMailbox:
        if special_use is not None:
            raise ValueError("special mailboxes are there from the start")
        role = Role.INBOX if name == "INBOX" else None
        mailbox = LabelledMailbox(self, self._mail, role)
        if role is None:
            mailbox.label = name
        else:
            self._roles[role] = mailbox
        return mailbox

    # --- mailboxes -------------------------------------------------------------------------------------------------

    def of(self, role: Role) -> LabelledMailbox:
        """A mailbox that every account has."""
        return self._roles[role]

    def name_of(self, role: Role) -> str:
        """Its name, in the owner's language."""
        return next(name for name, mailbox in self._mailboxes.items() if mailbox is self._roles[role])

    def mailbox_of(self, label: str, *, create: bool = False) -> LabelledMailbox | None:
        """The mailbox of a label, made if it is not there and `create`; ValueError when there can be none."""
        for role, mailbox in self._roles.items():
            if role.label is not None and label.lower() == role.label.lower():
                return mailbox
        if label.startswith("\\"):
            raise ValueError(f"There is no system label {label}")
        found = self.get(label)
        if found is None and create:
            found = self.create(label)
        assert found is None or isinstance(found, LabelledMailbox)
        return found

    def create(self, name: str, special_use: str | None = None) -> SimMailbox:
        if self.settings.strict_names:
            if "^" in name or name == self.root or name.startswith(self.root + "/"):
                raise ValueError(f"Invalid folder name: {name} (Failure)")
            if any(level != " ".join(level.split()) for level in name.split("/")):
                raise ValueError("Folder contains excess whitespace. (Failure)")
        return super().create(name, special_use)

    def delete(self, name: str) -> None:
        """Take a label away from everything. ValueError for the mailboxes that every account has."""
        mailbox = self._own_label(name, "deleted")
        for message in mailbox:
            self.withdraw(self.stored(message), mailbox)
        super().delete(name)

    def rename(self, old: str, new: str) -> None:
        """Give a label, and those below it, another name. ValueError for the mailboxes that every account has."""
        if old in self:
            self._own_label(old, "renamed")
        super().rename(old, new)
        for name, mailbox in self._mailboxes.items():
            if isinstance(mailbox, LabelledMailbox) and mailbox.role is None:
                mailbox.label = name
        for stored in self._stored.values():
            self._show_labels(stored)

    def _own_label(self, name: str, done: str) -> LabelledMailbox:
        mailbox = self[name]
        assert isinstance(mailbox, LabelledMailbox)
        if mailbox.role is not None:
            raise ValueError(f"{name} cannot be {done}")
        return mailbox

    # --- messages --------------------------------------------------------------------------------------------------

    def stored(self, message: SimMessage) -> _Stored:
        """What is stored for a message as some mailbox shows it."""
        return self._stored[message.email_id]

    def add_stored(self, stored: _Stored) -> None:
        """Store a message, as yet in no mailbox."""
        self._stored[stored.first.email_id] = stored
        self._by_body.setdefault(stored.first.body, stored)
        if stored.message_id:
            self._by_message_id.setdefault(stored.message_id, stored)
            self._threads.setdefault(stored.message_id, stored.first.thread_id)

    def delete_stored(self, stored: _Stored) -> None:
        """The message is gone for ever."""
        for mailbox in list(stored.uids):
            mailbox.hide(stored.uids.pop(mailbox))
        del self._stored[stored.first.email_id]
        for index, key in ((self._by_body, stored.first.body), (self._by_message_id, stored.message_id)):
            if index.get(key) is stored:
                del index[key]

    def equal_to(self, body: bytes) -> _Stored | None:
        """The stored message that an APPEND of these bytes repeats."""
        if self.settings.merge is Merge.BYTES:
            return self._by_body.get(body)
        if self.settings.merge is Merge.MESSAGE_ID:
            return next(map(self._by_message_id.get, _message_ids(body, b"message-id")), None)
        return None

    def thread_of(self, body: bytes) -> int | None:
        """The thread that a message continues, by In-Reply-To and References."""
        for parent in (*_message_ids(body, b"in-reply-to"), *reversed(_message_ids(body, b"references"))):
            if parent in self._threads:
                return self._threads[parent]
        return None

    def place(self, stored: _Stored, target: LabelledMailbox) -> int:
        """Add a label, if it is not there; the UID in its mailbox."""
        if target not in stored.uids:
            to_bin = target.role in _BINS
            for mailbox in list(stored.uids):
                if to_bin or mailbox.role in _BINS:
                    mailbox.hide(stored.uids.pop(mailbox))
            places = [target] if to_bin or target.role is Role.ALL else [self.of(Role.ALL), target]
            if target.role is Role.STARRED:
                self._share_flags(stored, stored.flags | {"\\Flagged"})
            elif "\\Flagged" in stored.flags and not to_bin:
                places.append(self.of(Role.STARRED))
            for mailbox in places:
                if mailbox not in stored.uids:
                    stored.uids[mailbox] = mailbox.show(stored)
            self._show_labels(stored)
        return stored.uids[target]

    def withdraw(self, stored: _Stored, mailbox: LabelledMailbox) -> None:
        """Take a label away; the message stays in All Mail."""
        if mailbox.role is Role.STARRED:
            self._share_flags(stored, stored.flags - {"\\Flagged"})
        if mailbox in stored.uids:
            mailbox.hide(stored.uids.pop(mailbox))
        self._show_labels(stored)

    def set_flags(self, stored: _Stored, mailbox: LabelledMailbox, flags: frozenset[str]) -> None:
        r"""Set the flags of a message through one of its mailboxes."""
        own = flags & {"\\Deleted"}
        self._share_flags(stored, flags if self.settings.shared_deleted else flags - own)
        if mailbox in stored.uids and not self.settings.shared_deleted:
            mailbox.show_flags(stored.uids[mailbox], flags)
        starred = self.of(Role.STARRED)
        in_bin = any(place.role in _BINS for place in stored.uids)
        if "\\Flagged" in flags and not in_bin:
            self.place(stored, starred)
        elif "\\Flagged" not in flags and starred in stored.uids:
            self.withdraw(stored, starred)

    def _share_flags(self, stored: _Stored, flags: frozenset[str]) -> None:
        stored.flags = flags
        for mailbox, uid in stored.uids.items():
            own = frozenset() if self.settings.shared_deleted else mailbox[uid].flags & {"\\Deleted"}
            mailbox.show_flags(uid, flags | own)

    def _show_labels(self, stored: _Stored) -> None:
        labels = frozenset(mailbox.label for mailbox in stored.uids if mailbox.label)
        for mailbox, uid in stored.uids.items():
            mailbox.show_labels(uid, labels)


def _message_ids(body: bytes, field_name: bytes) -> list[bytes]:
    """The message identifiers in the first field of this name."""
    for name, raw in header_fields(body):
        if name == field_name:
            return re.findall(rb"<[^<>\s]+>", raw)
    return []
