"""Commands about quota (RFC 9208, RFC 2087). Not part of `commands`: import this module where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailtwin.imap import responses as r
from mailtwin.imap.commands.base import Asked, Command, OneMailbox, Taken
from mailtwin.imap.encode import Encoder
from mailtwin.imap.extensions import Quota, QuotaRoots, is_same_mailbox


@dataclass(frozen=True, slots=True)
class GetQuota(Command):
    """GETQUOTA (RFC 9208 section 4.1.2): what is used of one quota root, which may be the empty string."""

    verb = "GETQUOTA"
    answers = frozenset({"QUOTA"})

    root: str | bytes = ""

    def encode(self, out: Encoder) -> None:
        out.raw("GETQUOTA ").string(self.root)

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return _is_about(response, self.root)


@dataclass(frozen=True, slots=True)
class SetQuota(Command):
    """SETQUOTA (RFC 9208 section 4.1.4, QUOTASET): new limits, by the name of the resource; none: no limit at all.

    The answer is what holds then.
    """

    verb = "SETQUOTA"
    answers = frozenset({"QUOTA"})

    root: str | bytes
    limits: Mapping[str, int]

    def encode(self, out: Encoder) -> None:
        out.raw("SETQUOTA ").string(self.root).raw(" (")
        for at, (name, limit) in enumerate(self.limits.items()):
            out.raw(" " if at else "").atom(name).raw(" ").number(limit)
        out.raw(")")

    def takes(self, response: Taken, _asked: Asked, /) -> bool:
        return _is_about(response, self.root)


class GetQuotaRoot(OneMailbox):
    """GETQUOTAROOT (RFC 9208 section 4.1.3): the quota roots of a mailbox, and each with its QUOTA.

    A QUOTA does not say for which command it came: only those whose root the QUOTAROOT names are the mailbox's.
    """

    __slots__ = ()
    verb = "GETQUOTAROOT"
    answers = frozenset({"QUOTA", "QUOTAROOT"})

    def takes(self, response: Taken, asked: Asked, /) -> bool:
        value = response.value if isinstance(response, r.Other) else None
        if isinstance(value, QuotaRoots):
            return is_same_mailbox(self.mailbox, value.mailbox, utf8=asked.utf8)
        return isinstance(value, Quota)


def _is_about(response: Taken, root: str | bytes) -> bool:
    value = response.value if isinstance(response, r.Other) else None
    return isinstance(value, Quota) and value.root == (root if isinstance(root, bytes) else root.encode())
