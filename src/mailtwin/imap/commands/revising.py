"""Commands of extensions that change messages: REPLACE (RFC 8508), and labels (X-GM-EXT-1).

Not part of `commands`: import this module where it is used.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import GONE_NAMES, Asked, Command, Taken, Topic, uid_topics
from mailtwin.imap.commands.mailboxes import Append
from mailtwin.imap.encode import Encoder, Name, Uids
from mailtwin.imap.pipelining import Trait
from mailtwin.model import UidSet
from mailtwin.model.flags import is_flag


@dataclass(frozen=True, slots=True)
class Replace(Command):
    """UID REPLACE (RFC 8508 section 3.2): the message `by` is stored and `uid` expunged, or neither.

    The UID of the new message is the APPENDUID of an untagged OK (`Result.find_code`), if the server tells it.
    """

    verb = "REPLACE"
    traits = Trait.CHANGES | Trait.ANONYMOUS
    answers = GONE_NAMES

    uid: int
    by: Append

    def encode(self, out: Encoder) -> None:
        self.by.encode_arguments(out.raw("UID REPLACE ").uids(UidSet.of([self.uid])).raw(" "))

    @property
    def about(self) -> Name:
        """The mailbox of the new message."""
        return self.by.mailbox

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        if isinstance(response, r.Status):
            return response.code is not None and response.code.name == "APPENDUID"
        return isinstance(response, r.Expunge | r.Vanished)


@dataclass(frozen=True, slots=True)
class StoreLabels(Command):
    """UID STORE of X-GM-LABELS: `+` adds, `-` removes, `=` replaces; a label that begins with a backslash is special.

    `fetchdata.read` tells the labels of a message.
    """

    verb = "STORE"
    traits = Trait.CHANGES

    uids: Uids
    sign: Literal["+", "-", "="]
    labels: frozenset[str]
    silent: bool = True

    def encode(self, out: Encoder) -> None:
        sign = "" if self.sign == "=" else self.sign
        out.raw("UID STORE ").uids(self.uids)
        out.raw(f" {sign}X-GM-LABELS{'.SILENT' if self.silent else ''} (")
        for at, label in enumerate(sorted(self.labels)):
            out.raw(" " if at else "")
            if label.startswith("\\"):
                if not is_flag(label):
                    raise LocalProtocolError(f"not a special label: {label[:80]!r}")
                out.raw(label)
            else:
                out.mailbox(label)
        out.raw(")")

    def topics(self, _asked: Asked, /) -> Collection[Topic] | None:
        """See `Command`."""
        return uid_topics(self.uids)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return isinstance(response, r.Fetch) and response.uid in self.uids
