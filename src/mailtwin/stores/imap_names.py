"""Mailbox names between a server's spelling and the separator-free `MailboxName` (RFC 2342, RFC 9051 section 5.1).

Only the personal namespace is a person's own mail. Its prefix (`INBOX.` on Courier) is taken off, so that `INBOX.Sent`
here is `Sent` there. What cannot be said on a server is refused, never bent. `*` and `%` are characters like others:
they are wildcards in the patterns of LIST alone, and no name is ever used as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailtwin.imap.responses import ListItem, Namespaces
from mailtwin.model import INBOX, MailboxName
from mailtwin.model.limits import MAILBOX_NAME_BYTES_MAX


class NameProblem(ValueError):
    """A name that one of the two spellings cannot express; the text says why."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """The personal namespace: names are `prefix` and parts joined by `separator` (None: no hierarchy).

    `foreign`: prefixes of other users' and shared mailboxes, which are left out. `known`: the server said all that.
    """

    prefix: str = ""
    separator: str | None = "/"
    foreign: tuple[str, ...] = ()
    known: bool = True

    @classmethod
    def of(cls, namespaces: Namespaces | None, items: Iterable[ListItem]) -> Namespace:
        """From the server's NAMESPACE answer, or from what a LIST shows where there is none."""
        listed = list(items)
        separators = [item.separator for item in listed if item.separator]
        if namespaces is None or not namespaces.personal:
            plain = cls("", separators[0] if separators else None, known=False)
            guess = plain.guess_prefix()
            others = [item.name for item in listed if item.name.upper() not in (b"", b"INBOX")]
            inside = guess is not None and all(name.startswith(guess.prefix.encode()) for name in others)
            return guess if guess is not None and others and inside else plain
        prefix, separator = namespaces.personal[0]
        others = [raw for raw, _ in (*namespaces.other_users, *namespaces.shared)]
        foreign = tuple(raw.decode("utf-8", "surrogateescape") for raw in others if raw)
        return cls(
            prefix.decode("utf-8", "surrogateescape"), separator or next(iter(separators), None), foreign
        )

    def guess_prefix(self) -> Namespace | None:
        """The namespace of a server that says nothing about it and wants all mailboxes below INBOX."""
        if self.known or self.prefix or not self.separator:
            return None
        return Namespace(f"INBOX{self.separator}", self.separator, known=False)

    def parse(self, spelling: str, separator: str | None) -> MailboxName | None:
        """The name of a listed mailbox; None for one that is not the person's own. Raises NameProblem."""
        if spelling.upper() == "INBOX":
            return INBOX
        if any(spelling.startswith(prefix) for prefix in self.foreign):
            return None
        inside = spelling.removeprefix(self.prefix)
        if self.prefix and inside == spelling:
            return None
        parts = tuple(inside.split(separator)) if separator else (inside,)
        if not all(parts):
            raise NameProblem("a part of the name is empty")
        if any("\udc00" <= char <= "\udcff" for char in inside):
            raise NameProblem("the name is not valid modified UTF-7 or UTF-8")
        name = MailboxName(parts)
        if name == INBOX:
            raise NameProblem("it would be a second INBOX elsewhere")
        return name

    def spell(self, name: MailboxName) -> str:
        """How the server spells `name`. Raises NameProblem."""
        if name == INBOX:
            return "INBOX"
        if len(name.parts) > 1 and self.separator is None:
            raise NameProblem("the server has no hierarchy of mailboxes")
        for part in name.parts:
            if self.separator is not None and self.separator in part:
                raise NameProblem(f"{part!r} contains the server's hierarchy separator {self.separator!r}")
            if any(ord(char) < 32 or ord(char) == 127 for char in part):
                raise NameProblem("it contains a control character")
        spelled = self.prefix + (self.separator or "").join(name.parts)
        if len(spelled.encode("utf-8", "surrogatepass")) > MAILBOX_NAME_BYTES_MAX:
            raise NameProblem(f"it is longer than {MAILBOX_NAME_BYTES_MAX} bytes")
        return spelled
