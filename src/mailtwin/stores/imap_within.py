"""Copying inside one account, and how an account tells that messages in two mailboxes are the same (RFC 8474).

Read first: `imap_mailbox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from mailtwin.client import Result, Session
from mailtwin.errors import MessageError
from mailtwin.imap import commands as c
from mailtwin.imap import fetchdata, responses
from mailtwin.imap.tokens import Malformed
from mailtwin.model import Ref, UidSet
from mailtwin.stores.base import Outcome, Stored, Unknown

EMAIL_IDS = {"X-GM-EXT-1": "X-GM-MSGID", "OBJECTID": "EMAILID"}
"""By the capability that brings it: the attribute that is the same for a message in all of its mailboxes."""


def id_attribute(session: Session) -> str | None:
    """The attribute to ask for; None where there is none."""
    return next((name for capability, name in EMAIL_IDS.items() if session.has(capability)), None)


def merges(session: Session) -> bool:
    """Whether the server takes an APPEND of a message that the account holds for one of that message."""
    return session.has("X-GM-EXT-1")


class EmailIds:
    """Gathers the ids out of FETCH responses; a value that says nothing sensible is as good as none."""

    def __init__(self, attribute: str) -> None:
        self.found: dict[Ref, str] = {}
        self._attribute = attribute

    def take(self, item: responses.Fetch) -> None:
        """Uses one response."""
        if item.uid is None or self._attribute not in item.extra:
            return
        try:
            self.found[item.uid] = str(fetchdata.read(self._attribute, item.extra[self._attribute]))
        except Malformed:
            self.found.pop(item.uid, None)


async def copy_to(session: Session, spelling: str, refs: Sequence[Ref], into: str) -> list[Outcome]:
    """UID COPY of each of `refs` from the selected mailbox, in flight together; NOOP, for a server that hides what is
    new.

    A command for each: the sets of one COPYUID do not tell which is which once one of the UIDs was there before.
    `into`: the destination's UIDVALIDITY; a COPYUID of another one tells nothing.
    """
    commands: list[c.Command] = [c.Copy(UidSet.of([cast(int, ref)]), spelling) for ref in refs]
    results = (await session.run_all([*commands, c.Noop()]))[:-1]
    stored = [_stored(result, into) for result in results]
    # Nothing was copied, and the server says OK, when the message is gone. Where it never tells, that is not known.
    tells = any(one is not None for one in stored)
    return [one or _unknown(result, tells=tells) for one, result in zip(stored, results, strict=True)]


def _stored(result: Result, into: str) -> Stored | None:
    code = result.code if result.ok else None
    if code is None or code.name != "COPYUID" or len(code.args) != 3:
        return None
    validity, _, uids = cast(tuple[int, UidSet, UidSet], code.args)
    return Stored(next(iter(uids))) if len(uids) == 1 and str(validity) == into else None


def _unknown(result: Result, *, tells: bool) -> Unknown:
    if result.lost is not None:
        return Unknown(finished=not result.sent, accepted=False)
    if not result.ok:
        error = MessageError(f"the server does not copy the message: {result.text or 'it gave no reason'}")
        return Unknown(finished=True, accepted=False, error=error)
    return Unknown(finished=True, accepted=not tells)
