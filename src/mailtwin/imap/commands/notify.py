"""NOTIFY (RFC 5465): what the server shall tell unasked, also about mailboxes that are not selected.

Afterwards come, at any time: STATUS and LIST for other mailboxes, METADATA with the names of changed entries, and
for the selected one what NOOP would bring. NOTIFICATIONOVERFLOW in an untagged OK means that the server has stopped.
Not part of `commands`: import this module where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, Taken
from mailtwin.imap.encode import Encoder, Name
from mailtwin.imap.pipelining import Trait

MESSAGE_EVENTS = frozenset({"MessageNew", "MessageExpunge", "FlagChange", "AnnotationChange"})
EVENTS = MESSAGE_EVENTS | {
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
}

_SELECTED = ("selected", "selected-delayed")


@dataclass(frozen=True, slots=True)
class Watch:
    """Which events (of `EVENTS`, none: nothing) in which mailboxes.

    `where`: a filter of RFC 5465 section 6; `subtree` and `mailboxes` need `names`. `fetch`: what to say about new
    messages of the selected mailbox, else the server's choice.
    """

    where: Literal[
        "selected", "selected-delayed", "inboxes", "personal", "subscribed", "subtree", "mailboxes"
    ]
    events: tuple[str, ...] = ()
    names: tuple[Name, ...] = ()
    fetch: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises LocalProtocolError for what RFC 5465 sections 5 and 6 rule out."""
        events = frozenset(self.events)
        if not events <= EVENTS:
            raise LocalProtocolError(f"not events of NOTIFY: {', '.join(sorted(events - EVENTS))[:80]}")
        if bool(self.names) != (self.where in ("subtree", "mailboxes")):
            raise LocalProtocolError("NOTIFY names mailboxes after subtree and mailboxes, and only there")
        if ("MessageNew" in events) != ("MessageExpunge" in events):
            raise LocalProtocolError("MessageNew and MessageExpunge only come together")
        if events & {"FlagChange", "AnnotationChange"} and "MessageNew" not in events:
            raise LocalProtocolError("FlagChange needs MessageNew and MessageExpunge")
        if self.where in _SELECTED and events - MESSAGE_EVENTS:
            raise LocalProtocolError("only messages can be watched in the selected mailbox")
        if self.fetch and (self.where not in _SELECTED or "MessageNew" not in events):
            raise LocalProtocolError("only new messages of the selected mailbox can be fetched")


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """NOTIFY SET, or NOTIFY NONE without `watches`; `status`: begin with a STATUS of each mailbox watched."""

    verb = "NOTIFY"
    traits = Trait.ANONYMOUS
    answers = frozenset({"STATUS"})

    watches: tuple[Watch, ...] = ()
    status: bool = False

    def encode(self, out: Encoder) -> None:
        if not self.watches:
            if self.status:
                raise LocalProtocolError("NOTIFY NONE brings no STATUS")
            out.raw("NOTIFY NONE")
            return
        if sum(watch.where in _SELECTED for watch in self.watches) > 1:
            raise LocalProtocolError("the selected mailbox can be watched once")
        out.raw("NOTIFY SET STATUS" if self.status else "NOTIFY SET")
        for watch in self.watches:
            watch.check()
            _write(out, watch)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        """See `Command`: a server may have given up before it says OK."""
        if isinstance(response, r.Status):
            return is_overflow(response)
        return self.status and isinstance(response, r.MailboxStatus)


def is_overflow(response: r.Response) -> bool:
    """Whether the server says that it could not keep up and has ended NOTIFY (RFC 5465 section 5.8)."""
    if not isinstance(response, r.Status) or response.code is None:
        return False
    return response.code.name == "NOTIFICATIONOVERFLOW"


def _write(out: Encoder, watch: Watch) -> None:
    out.raw(f" ({watch.where} ")
    if watch.names:
        out.raw("(")
        for at, name in enumerate(watch.names):
            out.raw(" " if at else "").mailbox(name)
        out.raw(") ")
    if not watch.events:
        out.raw("NONE)")
        return
    out.raw("(")
    for at, event in enumerate(watch.events):
        out.raw(" " if at else "").atom(event)
        if event == "MessageNew" and watch.fetch:
            out.raw(" ").attributes(watch.fetch)
    out.raw("))")
