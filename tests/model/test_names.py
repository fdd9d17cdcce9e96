"""Mailbox names without a separator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model import INBOX, MailboxName

SPELLINGS = [
    ("INBOX", ("INBOX",)),
    ("inbox", ("INBOX",)),
    ("Inbox/Sub", ("INBOX", "Sub")),
    ("a/Inbox", ("a", "Inbox")),
    ("a/b/c", ("a", "b", "c")),
    ("a\\/b", ("a/b",)),
    ("a\\\\b", ("a\\b",)),
    ("a\\\\/b", ("a\\", "b")),
    ("台北/😀", ("台北", "😀")),
]


@pytest.mark.parametrize(("text", "parts"), SPELLINGS)
def test_spellings(text: str, parts: tuple[str, ...]) -> None:
    name = MailboxName.parse(text)
    assert name.parts == parts
    assert MailboxName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a//b"])
def test_empty_parts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        MailboxName.parse(text)
    with pytest.raises(ValueError):
        MailboxName(())


def test_a_backslash_at_the_end_is_refused() -> None:
    with pytest.raises(ValueError):
        MailboxName.parse("a\\")


def test_inbox_and_family() -> None:
    child = MailboxName(("inbox", "a"))
    assert INBOX.is_inbox
    assert not child.is_inbox
    assert child.parent == INBOX
    assert INBOX.parent is None


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4).map(tuple))
def test_every_name_survives_as_text(parts: tuple[str, ...]) -> None:
    name = MailboxName(parts)
    assert MailboxName.parse(str(name)) == name


@given(
    st.lists(st.sampled_from(["a", "/", "\\"]), min_size=1, max_size=4),
    st.lists(st.sampled_from("a/\\"), min_size=1),
)
def test_different_names_have_different_texts(left: list[str], right: list[str]) -> None:
    one, other = MailboxName(tuple(left)), MailboxName(tuple(right))
    assert (one == other) == (str(one) == str(other))
