"""Refs, names and flags as SQLite values and back.

An integer stays an integer and a text a text. A text that is not valid Unicode (a Maildir file name in some old
encoding reaches Python with surrogates in it) becomes a blob, because SQLite could not keep it as text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from mailtwin.model import Flags, MailboxName, Ref, make_flags

Stored: TypeAlias = int | str | bytes


def pack_text(text: str) -> str | bytes:
    """`text` as SQLite can keep it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
    return text


def unpack_text(value: Stored) -> str:
    """The inverse of `pack_text`."""
    return value.decode(errors="surrogatepass") if isinstance(value, bytes) else str(value)


def pack_ref(ref: Ref) -> Stored:
    """A UID as it is, a Maildir name as text or blob."""
    return ref if isinstance(ref, int) else pack_text(ref)


def unpack_ref(value: Stored) -> Ref:
    """The inverse of `pack_ref`."""
    return value.decode(errors="surrogatepass") if isinstance(value, bytes) else value


@lru_cache(maxsize=8192)
def pack_flags(flags: Flags) -> str | bytes:
    """The flags, sorted, separated by single spaces (which no flag contains: RFC 9051 section 9, `flag`)."""
    return pack_text(" ".join(sorted(flags)))


@lru_cache(maxsize=8192)
def unpack_flags(value: Stored) -> Flags:
    """The inverse of `pack_flags`, in the spelling that this process uses."""
    text = unpack_text(value)
    return make_flags(text.split(" ")) if text else make_flags(())


def pack_name(name: MailboxName) -> str | bytes:
    """A mailbox name in its one spelling."""
    return pack_text(str(name))


def unpack_name(value: Stored) -> MailboxName:
    """The inverse of `pack_name`."""
    return MailboxName.parse(unpack_text(value))
