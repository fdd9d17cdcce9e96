"""Messages on their way into an IMAP mailbox by APPEND, and what the server's answer says about each.

Read first: `imap_mailbox`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, cast

from mailtwin.client import Result, Session
from mailtwin.errors import (
    LocalProtocolError,
    MailboxError,
    MailboxFullError,
    MailtwinError,
    MessageError,
    MessageRefusedError,
    Scope,
)
from mailtwin.imap import commands as c
from mailtwin.imap.quirks import throttle_in
from mailtwin.model import Flags, Identity, Ref, UidSet
from mailtwin.stores.base import Delivery, Message, Outcome, Refused, Spool, Stored, Target, Unknown
from mailtwin.stores.imap_within import merges

_LASTING = frozenset({"TOOBIG", "CANNOT"})
"""Response codes of a NO that holds as long as message and server are what they are (RFC 4469, RFC 5530)."""


class Destination(Protocol):
    """The selected mailbox that messages go to. `floor`: no message to come gets a lower UID."""

    spelling: str
    validity: int
    floor: int

    @property
    def session(self) -> Session:
        """The open session. Raises UnreachableError."""

    async def identify(self, refs: Sequence[Ref]) -> Mapping[Ref, Identity]:
        """The identities of those of `refs` that are there."""


class ImapDelivery(Delivery):
    """Messages on their way into a mailbox by APPEND, held in spools until then."""

    def __init__(self, mailbox: Destination) -> None:
        self._mailbox = mailbox
        self._spools: list[Spool] = []
        self._staged: list[tuple[Message, Flags]] = []
        self._size_max = append_limit(mailbox.session.state.capabilities)

    def spool(self) -> Spool:
        """In memory up to 1 MiB, then on disk: an announced literal cannot be taken back."""
        spool = Spool()
        self._spools.append(spool)
        return spool

    def stage(self, message: Message, flags: Flags) -> Target:
        """Checks the server's size limit (RFC 7889) before anything is uploaded."""
        if self._size_max is not None and message.spool.size > self._size_max:
            raise MessageRefusedError(
                f"the message has {message.spool.size} bytes; the server takes {self._size_max} at most"
            )
        self._staged.append((message, flags))
        return Target(ref=None, floor=self._mailbox.floor, identity=message.spool.identity())

    async def commit(self) -> list[Outcome]:
        """APPENDs, pipelined as far as the server's literals allow; the UID is taken from the answer (rule R4).

        UIDs are given in the order of the APPENDs (RFC 3501 section 2.3.1.1). Where those that came do not ascend, an
        answer speaks of another message than its own, and none is believed: the next listing tells.
        """
        commands: list[c.Command] = [
            c.Append(self._mailbox.spelling, message.spool.chunks(), message.spool.size, flags, message.date)
            for message, flags in self._staged
        ]
        try:
            # Some servers show what was stored only after a NOOP, also to UID FETCH.
            results = await self._mailbox.session.run_all([*commands, c.Noop()])
        finally:
            await self.abort()
        floor = self._mailbox.floor
        outcomes = [self._outcome(result) for result in results[:-1]]
        # Below the floor are messages that were there before: a server that merges equal ones names them.
        new = [ref for ref in map(_uid, outcomes) if ref is not None and ref >= floor]
        if not all(one < other for one, other in pairwise(new)):
            outcomes = [_doubted(outcome, floor) for outcome in outcomes]
        return await self._tell_merged(outcomes) if merges(self._mailbox.session) else outcomes

    async def _tell_merged(self, outcomes: list[Outcome]) -> list[Outcome]:
        """The same, but for messages that were not stored because the account holds another one of their Message-ID.

        Only other header fields prove that it is another message: it may be rendered anew, and have another size.
        """
        stored = [outcome.ref for outcome in outcomes if isinstance(outcome, Stored)]
        try:
            found = await self._mailbox.identify(stored) if stored else {}
        except MailtwinError:
            return outcomes  # stored they are; the next listing goes on from there
        merged = MessageRefusedError(
            "the server holds another message with the same Message-ID, and did not store this one"
        )
        return [
            Refused(merged)
            if isinstance(outcome, Stored)
            and outcome.ref in found
            and found[outcome.ref].headers != message.spool.identity().headers
            else outcome
            for (message, _), outcome in zip(self._staged, outcomes, strict=True)
        ]

    def _outcome(self, result: Result) -> Outcome:
        if result.lost is not None:
            # What cannot be put into words for this server is no end of the connection.
            error = None if isinstance(result.lost, LocalProtocolError) else result.lost
            return Unknown(finished=not result.sent, accepted=False, error=error)
        if not result.ok:
            # By the RFC nothing was stored. A server that says NO after it stored exists: the next listing tells.
            return Unknown(finished=True, accepted=False, error=self._refusal(result))
        code = result.code
        if code is None or code.name != "APPENDUID" or len(code.args) != 2:
            return Unknown(finished=True, accepted=True)
        validity, uids = cast(tuple[int, UidSet], code.args)
        if len(uids) != 1 or validity != self._mailbox.validity:
            return Unknown(finished=True, accepted=True)
        uid = next(iter(uids))
        self._mailbox.floor = max(self._mailbox.floor, uid + 1)
        return Stored(uid)

    def _refusal(self, result: Result) -> MailtwinError:
        """What a refused APPEND means: a pause (rule R16), a full mailbox or one that is gone, or just this message.

        A LIMIT that asks for no pause is one on this message (RFC 5530, section 3); BAD and the codes of `_LASTING`
        are said of the message for ever (rule R17), any other NO may be said of the moment.
        """
        mailbox, status = self._mailbox, result.status
        assert status is not None
        code = "" if result.code is None else result.code.name
        error = result.error(mailbox.session.endpoint.host, mailbox=mailbox.spelling)
        is_of_message = code == "LIMIT" and throttle_in(status.text) is None
        if error is not None and error.scope > Scope.MAILBOX and not is_of_message:
            return error
        if code == "OVERQUOTA":
            return MailboxFullError(f"{mailbox.spelling}: the server takes no message: {result.text}")
        if code == "TRYCREATE":
            return MailboxError(f"{mailbox.spelling}: the server takes no message: {result.text}")
        kind = MessageRefusedError if status.word == "BAD" or code in _LASTING else MessageError
        return kind(f"the server refused the message: {result.text or 'it gave no reason'}")

    async def abort(self) -> None:
        """Lets the spools go."""
        for spool in self._spools:
            spool.discard()
        self._spools.clear()


def _uid(outcome: Outcome) -> int | None:
    return outcome.ref if isinstance(outcome, Stored) and isinstance(outcome.ref, int) else None


def _doubted(outcome: Outcome, floor: int) -> Outcome:
    """The same without the UID that the server gave to it."""
    uid = _uid(outcome)
    return outcome if uid is None or uid < floor else Unknown(finished=True, accepted=True)


def append_limit(capabilities: Iterable[str]) -> int | None:
    """The largest message the server takes in bytes, from APPENDLIMIT=n (RFC 7889)."""
    for name in capabilities:
        key, _, value = name.partition("=")
        if key == "APPENDLIMIT" and value.isdigit():
            return int(value)
    return None
