"""The mail behind a simulated server: accounts, mailboxes, messages. Plain values, no protocol.

Mailbox names are `str` with `/` between levels, whatever separator and prefix a server shows on the wire; `INBOX` is
there from the start, in any spelling. A test reads and changes the mail directly, as another client would::

    mail = SimMail()
    account = mail.add_account("alice", "secret")
    uid = account["INBOX"].append(b"Subject: hi\r\n\r\nhi\r\n", flags=["\\Seen"])
    account["INBOX"].set_flags(uid, ["\\Flagged"])

Sessions of a server are told of each change; in a test with a running server, change the mail in the thread of its
event loop. Nothing is written to disk. The clock and the first UIDVALIDITY are parameters, so a run can be repeated.

Read next: `mailtwin.testing.simview`, what one session knows of a mailbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from itertools import count

__all__ = ["SYSTEM_FLAGS", "Change", "SimAccount", "SimMail", "SimMailbox", "SimMessage"]

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
"""The flags of RFC 3501 that can be stored (`\\Recent` belongs to a session)."""

_SYSTEM_BY_LOWER = {flag.lower(): flag for flag in SYSTEM_FLAGS}
_EPOCH = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class Change(Enum):
    """What happened to a message."""

    ADDED = "added"
    REFLAGGED = "reflagged"
    REMOVED = "removed"


Listener = Callable[[Change, int], None]


@dataclass(frozen=True, slots=True)
class SimMessage:
    """One stored message. A change of flags makes a new value.

    `email_id` is the same for all copies of a message in an account (RFC 8474 section 5.1). `thread_id` is 0 and
    `labels` are empty but in an account of `mailtwin.testing.simlabels`.
    """

    uid: int
    flags: frozenset[str]
    date: datetime
    modseq: int
    body: bytes
    email_id: int
    thread_id: int = 0
    labels: frozenset[str] = frozenset()


class SimMailbox:
    """A mailbox: messages by UID, in order, and the counters of RFC 3501 and RFC 7162."""

    def __init__(self, mail: SimMail, special_use: str | None = None) -> None:
        self.uid_validity = mail.next_uid_validity()
        self.mailbox_id = self.uid_validity
        """The number in MAILBOXID (RFC 8474): the same for ever, also under another name or numbering."""
        self.special_use = special_use
        self.uid_next = 1
        self.highest_modseq = 1
        self.deleted = False
        self.recent_from = 1
        self.keywords: dict[str, str] = {}
        self.listeners: list[Listener] = []
        self._messages: dict[int, SimMessage] = {}
        self._removed: dict[int, int] = {}
        self._mail = mail

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[SimMessage]:
        """The messages, in UID order."""
        return iter(list(self._messages.values()))

    def __getitem__(self, uid: int) -> SimMessage:
        return self._messages[uid]

    def __contains__(self, uid: object) -> bool:
        return uid in self._messages

    def get(self, uid: int) -> SimMessage | None:
        """The message with this UID, if it is still there."""
        return self._messages.get(uid)

    def uids(self) -> list[int]:
        """All UIDs, ascending."""
        return list(self._messages)

    def bodies(self) -> list[bytes]:
        """All messages' bytes, in UID order."""
        return [message.body for message in self._messages.values()]

    def append(self, body: bytes, flags: Iterable[str] = (), date: datetime | None = None) -> int:
        """Add a message and return its UID. Without a date, the clock's."""
        known = self._spell(flags)
        return self._put(
            SimMessage(0, known, date or self._mail.clock(), 0, body, self._mail.next_email_id())
        )

    def copy(self, message: SimMessage) -> int:
        """Add a copy of a message of this or another mailbox of the account, and return its UID."""
        return self._put(replace(message, flags=self._spell(message.flags)))

    def move(self, uid: int, target: SimMailbox) -> int:
        """Have a message in `target` instead of here, and return its UID there."""
        new = target.copy(self._messages[uid])
        self.remove(uid)
        return new

    def set_flags(self, uid: int, flags: Iterable[str]) -> SimMessage:
        """Replace the flags. Equal flags change nothing, the modification sequence included."""
        old = self._messages[uid]
        wanted = self._spell(flags)
        if wanted == old.flags:
            return old
        new = replace(old, flags=wanted, modseq=self._tick())
        self._messages[uid] = new
        self._tell(Change.REFLAGGED, uid)
        return new

    def expunge(self, uid: int) -> None:
        r"""What EXPUNGE and CLOSE do to a message marked `\Deleted`."""
        self.remove(uid)

    def remove(self, uid: int) -> None:
        """Take a message out of the mailbox, whatever its flags."""
        del self._messages[uid]
        self._removed[uid] = self._tick()
        self._tell(Change.REMOVED, uid)

    def removed_since(self, modseq: int) -> list[int]:
        """The UIDs of the messages that left after this modification sequence, ascending."""
        return sorted(uid for uid, when in self._removed.items() if when > modseq)

    def renew(self, uid_validity: int) -> None:
        """Number all messages anew under another UIDVALIDITY, as a restored or rebuilt server does.

        Sessions that have the mailbox selected lose it, as if it were deleted: they cannot be told.
        """
        for listener in list(self.listeners):
            self.listeners.remove(listener)
        self.uid_validity = uid_validity
        self._removed.clear()
        old = list(self._messages.values())
        self._messages = {
            uid: replace(message, uid=uid, modseq=self._tick()) for uid, message in enumerate(old, start=1)
        }
        self.uid_next = len(old) + 1
        self.recent_from = self.uid_next

    def _put(self, message: SimMessage) -> int:
        """Store a message under the next UID and modification sequence."""
        uid = self.uid_next
        self.uid_next += 1
        self._messages[uid] = replace(message, uid=uid, modseq=self._tick())
        self._tell(Change.ADDED, uid)
        return uid

    def _tick(self) -> int:
        self.highest_modseq += 1
        return self.highest_modseq

    def _tell(self, change: Change, uid: int) -> None:
        for listener in self.listeners:
            listener(change, uid)

    def _spell(self, flags: Iterable[str]) -> frozenset[str]:
        """Flags are equal in any case; the spelling seen first in the mailbox is kept."""
        spelled = []
        for flag in flags:
            lower = flag.lower()
            if lower == "\\recent":
                continue
            system = _SYSTEM_BY_LOWER.get(lower)
            spelled.append(system or self.keywords.setdefault(lower, flag))
        return frozenset(spelled)


class SimAccount:
    """One user's mailboxes and subscriptions."""

    def __init__(self, mail: SimMail, password: str, token: str | None) -> None:
        self.password = password
        self.token = token
        self.token_ends: datetime | None = None
        """From when on the token is worth nothing, by the clock of the mail."""
        self.subscriptions: set[str] = {"INBOX"}
        self._mail = mail
        self._mailboxes: dict[str, SimMailbox] = {"INBOX": self._new_mailbox("INBOX", None)}

    @property
    def token_is_good(self) -> bool:
        """There is a token, and its time is not over."""
        return self.token is not None and (self.token_ends is None or self._mail.clock() < self.token_ends)

    def __getitem__(self, name: str) -> SimMailbox:
        return self._mailboxes[spell_inbox(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and spell_inbox(name) in self._mailboxes

    def get(self, name: str) -> SimMailbox | None:
        """The mailbox of this name, if there is one."""
        return self._mailboxes.get(spell_inbox(name))

    def names(self) -> list[str]:
        """The names of all mailboxes, sorted, INBOX first."""
        return sorted(self._mailboxes, key=lambda name: (name != "INBOX", name))

    def create(self, name: str, special_use: str | None = None) -> SimMailbox:
        """A new, empty mailbox; ValueError when it exists or has an empty level in its name."""
        name = spell_inbox(name)
        if name in self._mailboxes:
            raise ValueError("Mailbox already exists")
        if not all(name.split("/")):
            raise ValueError("A level of the mailbox name is empty")
        mailbox = self._new_mailbox(name, special_use)
        self._mailboxes[name] = mailbox
        return mailbox

    def delete(self, name: str) -> None:
        """Remove a mailbox and its messages; its children stay. ValueError for INBOX, KeyError when there is none."""
        name = spell_inbox(name)
        if name == "INBOX":
            raise ValueError("INBOX cannot be deleted")
        self._mailboxes.pop(name).deleted = True

    def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all below it; UIDVALIDITY and UIDs stay. INBOX is emptied into a new mailbox instead.

        ValueError when a new name is taken, KeyError when there is nothing of the old name.
        """
        old, new = spell_inbox(old), spell_inbox(new)
        if new in self._mailboxes:
            raise ValueError("Mailbox already exists")
        if old == "INBOX":
            self._empty_inbox_into(new)
            return
        moved = {
            name: new + name[len(old) :] for name in self._mailboxes if (name + "/").startswith(old + "/")
        }
        if not moved:
            raise KeyError(old)
        if (new + "/").startswith(old + "/"):
            raise ValueError("A mailbox cannot be renamed to below itself")
        if any(target in self._mailboxes for target in moved.values()):
            raise ValueError("A mailbox below the new name already exists")
        for name, target in moved.items():
            self._mailboxes[target] = self._mailboxes.pop(name)

    def size(self) -> int:
        """The bytes of all messages, copies of one message counted once."""
        sizes = {
            message.email_id: len(message.body) for mailbox in self._mailboxes.values() for message in mailbox
        }
        return sum(sizes.values())

    def has_children(self, name: str) -> bool:
        """Whether a mailbox exists below this name."""
        return any(other.startswith(name + "/") for other in self._mailboxes)

    def _new_mailbox(self, name: str, special_use: str | None) -> SimMailbox:  # noqa: ARG002 - for other kinds
        return SimMailbox(self._mail, special_use)

    def _empty_inbox_into(self, new: str) -> None:
        target = self.create(new)
        inbox = self._mailboxes["INBOX"]
        for message in inbox:
            inbox.move(message.uid, target)


class SimMail:
    """All accounts of a simulated server."""

    def __init__(self, clock: Callable[[], datetime] | None = None, uid_validity: int = 1700000000) -> None:
        self.clock = clock or (lambda: _EPOCH)
        self.accounts: dict[str, SimAccount] = {}
        self._uid_validity = uid_validity
        self._email_ids = count(1_700_000_000_000_000_000)

    def add_account(self, name: str, password: str, token: str | None = None) -> SimAccount:
        """A new account with an INBOX. `token` is the OAuth token that XOAUTH2 takes."""
        account = SimAccount(self, password, token)
        self.add(name, account)
        return account

    def add(self, name: str, account: SimAccount) -> None:
        """Add an account made elsewhere, such as one of `mailtwin.testing.simlabels`."""
        if name in self.accounts:
            raise ValueError(f"account {name!r} exists")
        self.accounts[name] = account

    def next_uid_validity(self) -> int:
        """A UIDVALIDITY never given before."""
        self._uid_validity += 1
        return self._uid_validity

    def next_email_id(self) -> int:
        """A number for a message that nobody has seen before."""
        return next(self._email_ids)


def spell_inbox(name: str) -> str:
    """`INBOX` is one name in any case (RFC 3501 section 5.1); all others are as they are."""
    return "INBOX" if name.upper() == "INBOX" else name
