"""Mailbox names without a separator: a path of parts, the same on every store.

Each store turns a `MailboxName` into its own spelling (a separator, a prefix, modified UTF-7, a directory) and back.
INBOX is one mailbox however a server spells it (RFC 9051 section 5.1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class MailboxName:
    """The parts of a mailbox name from the root down; never empty, no part empty."""

    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.parts or not all(self.parts):
            raise ValueError(f"a mailbox name needs parts, none of them empty: {self.parts!r}")
        if self.parts[0].upper() == "INBOX":
            object.__setattr__(self, "parts", ("INBOX", *self.parts[1:]))

    @classmethod
    def parse(cls, text: str) -> MailboxName:
        """The inverse of `str`: parts separated by `/`, in which `\\/` and `\\\\` stand for themselves."""
        parts = [""]
        escaped = False
        for char in text:
            if escaped or char not in "\\/":
                parts[-1] += char
                escaped = False
            elif char == "\\":
                escaped = True
            else:
                parts.append("")
        if escaped:
            raise ValueError(f"a mailbox name cannot end in a single backslash: {text!r}")
        return cls(tuple(parts))

    def __str__(self) -> str:
        return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in self.parts)

    @property
    def is_inbox(self) -> bool:
        """Whether this is INBOX itself (not a child of it)."""
        return self.parts == ("INBOX",)

    @property
    def parent(self) -> MailboxName | None:
        """The name one level up, or None at the top."""
        return MailboxName(self.parts[:-1]) if len(self.parts) > 1 else None


INBOX = MailboxName(("INBOX",))
