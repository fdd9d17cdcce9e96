"""What keeps a mailbox from being in step although nothing is left to do: problems for a person, nothing to execute."""

from __future__ import annotations

from collections.abc import Iterator

from mailtwin.engine.known import Known, count_forgotten
from mailtwin.engine.pair import Pair
from mailtwin.engine.report import Problem
from mailtwin.errors import MailboxError, MessageError
from mailtwin.model import MailboxName, Side
from mailtwin.planner import Base, CopyIntent, Plan, Straggler, Wait
from mailtwin.stores.base import MailboxList


def find_doubts(pair: Pair, name: MailboxName, base: Base, known: Known, plan: Plan) -> Iterator[Problem]:
    """Listings that do not show everything, or not everything that was there, and copies that cannot be found."""
    for side in Side:
        listing, there = known.observations[side].listing, pair.store(side).address
        if not listing.complete:
            short = MailboxError(
                f"{name}: {there} did not list all messages that it says the mailbox holds. What was not "
                "listed was not taken for removed.",
                hint="run again later; a server that always does this hides mail",
            )
            yield Problem(short, name, side)
        forgotten = count_forgotten(base, side, listing)
        if forgotten:
            lost = MailboxError(
                f"{name}: {there} has forgotten {forgotten} messages that both sides held; it was not told to "
                "remove them. Their twins were left alone.",
                hint="was it restored from a backup? Move the state away (`mailtwin status` names it) to have them "
                "copied back",
            )
            yield Problem(lost, name, side)
    for op in plan.unresolved():
        if isinstance(op, Wait):
            yield Problem(MessageError(f"the message is not copied yet: {op.why}"), name, op.source, op.ref)
        else:
            yield _unresolved(name, op.intent, op.why)


def _unresolved(name: MailboxName, intent: CopyIntent | Straggler, why: str) -> Problem:
    hint = "`mailtwin resolve` decides"
    if isinstance(intent, Straggler):
        error = MessageError(f"{why}. It is not copied back, and not removed.", hint=hint)
        return Problem(error, name, intent.source.other, intent.found)
    error = MessageError(
        f"it is not known whether the message was stored: {why}. It is not sent again.", hint=hint
    )
    return Problem(error, name, intent.source, intent.ref)


def unreadable() -> MessageError:
    """The error of a message that is there and cannot be identified."""
    return MessageError("the message cannot be read, so nobody can tell whether the other side has it")


def list_doubts(pair: Pair, lists: tuple[MailboxList, MailboxList]) -> Iterator[Problem]:
    """Mailboxes that exist and cannot be used, lists that are short, and a choice that leaves nothing."""
    for side in Side:
        listed, there = lists[side], pair.store(side).address
        for spelling, why in sorted(listed.problems.items()):
            yield Problem(MailboxError(f"{spelling}: {why}"), side=side)
        if not listed.complete:
            yield Problem(MailboxError(f"{there} did not list all mailboxes"), side=side)
    left, right = lists
    names = {*left.mailboxes, *map(pair.names.to_left, right.mailboxes)}
    if names and not any(map(pair.select, names)):
        nothing = MailboxError(
            f"none of the {len(names)} mailboxes is included",
            hint="`mailtwin check` shows their names; compare them with what is included and excluded",
        )
        yield Problem(nothing)
