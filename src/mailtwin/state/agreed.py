"""The agreements of the mailbox that is being worked on, in memory, and in step with what is committed: so that reading
them after a commit costs what it changed and not what the mailbox holds.

Only who holds the lock may keep them, and nothing is kept over a commit that failed: the file is the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mailtwin.model import MailboxName, Ref
from mailtwin.planner.operations import Link
from mailtwin.state.changes import AddLink, Change, DropLink, ForgetAll, SetFlags


class Agreed:
    """The links of the mailbox `name`."""

    def __init__(self, name: MailboxName, links: Iterable[Link]) -> None:
        self.name = name
        self._by_left: dict[Ref, Link] = {link.left: link for link in links}

    @property
    def links(self) -> tuple[Link, ...]:
        """All of them, in no order."""
        return tuple(self._by_left.values())

    def apply(self, changes: Iterable[Change]) -> None:
        """What was committed, in its order."""
        links = self._by_left
        for change in changes:
            match change:
                case AddLink(link):
                    links[link.left] = link
                case DropLink(link) if self._holds(link):
                    del links[link.left]
                case SetFlags(link, flags) if self._holds(link):
                    links[link.left] = replace(link, flags=flags)
                case ForgetAll():
                    links.clear()
                case _:
                    pass

    def _holds(self, link: Link) -> bool:
        return self._by_left.get(link.left) == link
