"""Whether both sides of a pair are one and the same store, reached in two ways: a host name and its alias, or an
account and the Maildir that its server serves.

Such a pair would double whatever arrives between the looks at its two sides. So it is looked for before anything is
agreed on or written. What numbers a mailbox is what it is: two stores with the same UIDVALIDITY and UIDNEXT in each
mailbox are one, or one is a copy of the other's files, and both are equal until the next message. The messages have to
be the same as well (between two accounts UID, arrival date, size and identity), since accounts that were made in the
same second have the same small numbers; and those who log in have to have the same name, at least up to the `@`.
Without a message nothing is proven, and the next run asks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mailtwin.engine.pair import Pair
from mailtwin.errors import ConfigurationError, MailtwinError, Scope
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.stores.base import Mailbox, MailboxList, Numbering

Contents = Mapping[Ref, object]

COMPARED_MAX = 1000
"""So many messages of one mailbox are compared, the newest; of a Maildir that holds as many, none."""

IDENTIFIED_MAX = 20
"""Of so many of them the headers."""


async def refuse_itself(pair: Pair, lists: tuple[MailboxList, MailboxList]) -> None:
    """Raises ConfigurationError when both sides are the same store. Changes nothing.

    To be asked while nothing is agreed on yet. `lists`: what both sides list. Raises what the stores raise, too.
    """
    owners = [pair.store(side).owner for side in Side]
    if not any(owners) or (all(owners) and _local_part(owners[0]) != _local_part(owners[1])):
        return
    common = sorted(lists[Side.LEFT].mailboxes.keys() & lists[Side.RIGHT].mailboxes.keys())
    used = await _used_mailboxes(pair, common)
    if not used or not await _hold_the_same(pair, used, by_uid=all(owners)):
        return
    left, right = pair.left.address, pair.right.address
    count = f"all {len(common)} mailboxes" if len(common) > 1 else "the mailbox"
    raise ConfigurationError(
        f"{left} and {right} are one and the same: {count} that both list have the same UIDVALIDITY and UIDNEXT. "
        "Nothing was written.",
        hint="name another store; if they are two, one of them a copy of the other's files, put a message into one of "
        "them and run again",
    )


def _local_part(owner: str) -> str:
    return owner.partition("@")[0].casefold()


async def _used_mailboxes(pair: Pair, names: list[MailboxName]) -> list[MailboxName]:
    """Those that ever held a message; none when any mailbox is numbered otherwise on the other side."""
    used = []
    for name in names:
        one, other = await _numberings(pair, name)
        if one is not None and other is not None:
            if one != other:
                return []
            if one.uid_next > 1:
                used.append(name)
    return used


async def _numberings(pair: Pair, name: MailboxName) -> tuple[Numbering | None, Numbering | None]:
    """How both sides number a mailbox. A list beside the messages comes first: where there is none, nobody is asked."""
    first = Side.RIGHT if pair.left.owner else Side.LEFT
    here, there = pair.store(first), pair.store(first.other)
    try:
        one = await here.numbering(name)
        if one is None:
            return None, None
        other = await there.numbering(name)
        if one != other:
            # A message may have arrived between, and some servers know of it only when they open the mailbox.
            async with there.open(name):
                one = await here.numbering(name)
            other = await there.numbering(name)
    except MailtwinError as error:
        _pass_over(error)
        return None, None
    return one, other


async def _hold_the_same(pair: Pair, names: list[MailboxName], *, by_uid: bool) -> bool:
    """Whether the first of the mailboxes that holds any message holds the same ones on both sides."""
    for name in names:
        left, right = await _contents(pair, name, by_uid)
        if left != right:
            left, right = await _contents(pair, name, by_uid)  # a message may have arrived between
        if left or right:
            # A server may show a message otherwise than its file does, but not most of them.
            in_common = len(left.items() & right.items())
            return left == right if by_uid else 2 * in_common > max(len(left), len(right))
    return False


async def _contents(pair: Pair, name: MailboxName, by_uid: bool) -> tuple[Contents, Contents]:
    try:
        async with pair.left.open(name) as left, pair.right.open(name) as right:
            find = _find_by_uid if by_uid else _find_by_header
            return await find(left), await find(right)
    except MailtwinError as error:
        _pass_over(error)
        return {}, {}


async def _find_by_uid(mailbox: Mailbox) -> Contents:
    """What the newest messages are: their dates and stamps, and who some of them are."""
    refs = await _refs(mailbox)
    looks = await mailbox.look(refs)
    who = await mailbox.identify(refs[-IDENTIFIED_MAX:])
    return {ref: (look.date, look.stamp, who.get(ref)) for ref, look in looks.items()}


async def _find_by_header(mailbox: Mailbox) -> Contents:
    """What the headers of the messages say, as far as they are not too many, and how often."""
    refs = await _refs(mailbox)
    if len(refs) == COMPARED_MAX:
        return {"many": True}
    return Counter(one.headers for one in (await mailbox.identify(refs)).values())


async def _refs(mailbox: Mailbox) -> list[Ref]:
    """The last messages."""
    seen = await mailbox.observe()
    return sorted(seen.listing.flags, key=lambda ref: (isinstance(ref, str), ref))[-COMPARED_MAX:]


def _pass_over(error: MailtwinError) -> None:
    """What is wrong with one mailbox tells nothing here; the run will tell it. Raises what is wrong with more."""
    if error.scope > Scope.MAILBOX:
        raise error
