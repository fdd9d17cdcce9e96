"""The commands in flight: in which order they were sent, and which of them an untagged response answers.

A response is offered to whoever may take it, oldest first. Who asked about one thing (a mailbox, a few messages) is
found by that thing, so that a thousand commands in flight do not each look at a thousand answers.

Not here: what a response changes (`state`), what may join those in flight (`pipelining`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mailtwin.imap.commands import Command, Taken
from mailtwin.imap.commands.base import Topic, topic_of
from mailtwin.imap.outgoing import Handle
from mailtwin.imap.pipelining import Trait


class InFlight:
    """Handles without a tagged reply, in the order sent.

    `kinds`: how many of each kind there are; what may join them depends on their kinds, however many there are.
    """

    __slots__ = ("_about", "_handles", "_others", "kinds")

    def __init__(self) -> None:
        self.kinds: Counter[type[Command]] = Counter()
        self._handles: dict[str, Handle] = {}
        self._about: dict[Topic, dict[str, Handle]] = {}
        self._others: dict[str, Handle] = {}

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._handles.values())

    def __getitem__(self, tag: str) -> Handle:
        return self._handles[tag]

    def __contains__(self, tag: str) -> bool:
        return tag in self._handles

    @property
    def oldest(self) -> Handle:
        """The one that was sent first. There must be one."""
        return next(iter(self))

    def add(self, handle: Handle) -> None:
        """It was sent behind the others."""
        tag, topics = handle.tag, handle.command.topics(handle.asked)
        self._handles[tag] = handle
        self.kinds[type(handle.command)] += 1
        if topics is None:
            self._others[tag] = handle
        else:
            for topic in topics:
                self._about.setdefault(topic, {})[tag] = handle

    def remove(self, handle: Handle) -> None:
        """Its tagged reply came."""
        tag, topics, kind = handle.tag, handle.command.topics(handle.asked), type(handle.command)
        del self._handles[tag]
        self.kinds[kind] -= 1
        if not self.kinds[kind]:
            del self.kinds[kind]
        self._others.pop(tag, None)
        for topic in topics or ():
            about = self._about[topic]
            del about[tag]
            if not about:
                del self._about[topic]

    def heard(self) -> Sequence[Handle]:
        """Those that the server may be answering by now: none behind a change of mailbox, which itself is first."""
        return (self.oldest,) if self._is_changing() else tuple(self)

    def takers(self, response: Taken) -> tuple[Handle, ...]:
        """Those that `response` answers; counted with each."""
        if len(self._handles) == 1:
            # The usual case, and the one in which an answer has as many responses as a mailbox has messages.
            (handle,) = self._handles.values()
            if not handle.command.takes(response, handle.asked):
                return ()
            handle.taken += 1
            return (handle,)
        takers = [
            handle for handle in self._candidates(response) if handle.command.takes(response, handle.asked)
        ]
        for handle in takers:
            handle.taken += 1
        return tuple(takers)

    def _candidates(self, response: Taken) -> Sequence[Handle]:
        if self._is_changing():
            return (self.oldest,)
        about = self._about.get(topic_of(response))
        if not about:
            return tuple(self._others.values())
        if not self._others:
            return tuple(about.values())
        both = about | self._others
        return [both[tag] for tag in sorted(both, key=lambda tag: (len(tag), tag))]

    def _is_changing(self) -> bool:
        return any(Trait.SELECTS in kind.traits for kind in self.kinds)
