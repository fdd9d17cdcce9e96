"""Mailboxes with different names on the two sides."""

from __future__ import annotations

import pytest

from mailtwin.errors import ConfigurationError
from mailtwin.model import INBOX, MailboxName
from mailtwin.planner import NameMap

A, B, C = (MailboxName((name,)) for name in "ABC")
SENT, SENT_ITEMS = MailboxName(("Sent",)), MailboxName(("Sent Items",))


def test_a_name_that_is_not_mentioned_is_the_same_on_both_sides() -> None:
    names = NameMap()
    assert names.to_right(A) == A
    assert names.to_left(A) == A


def test_a_pair_works_both_ways() -> None:
    names = NameMap([(SENT, SENT_ITEMS)])
    assert names.to_right(SENT) == SENT_ITEMS
    assert names.to_left(SENT_ITEMS) == SENT


def test_names_may_be_exchanged() -> None:
    names = NameMap([(A, B), (B, A)])
    assert [names.to_right(A), names.to_right(B), names.to_left(A), names.to_left(B)] == [B, A, B, A]


def test_a_pair_says_nothing_about_children() -> None:
    child = MailboxName(("Sent", "2024"))
    assert NameMap([(SENT, SENT_ITEMS)]).to_right(child) == child


def test_inbox_may_be_elsewhere_as_long_as_nothing_else_claims_its_place() -> None:
    names = NameMap([(INBOX, A)])
    assert names.to_right(INBOX) == A
    with pytest.raises(ConfigurationError, match="INBOX"):
        names.to_left(INBOX)


def test_a_pair_may_be_given_twice() -> None:
    assert NameMap([(A, B), (A, B)]).to_right(A) == B


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(A, B), (A, C)], "the left mailbox A cannot be both B and C"),
        ([(A, C), (B, C)], "the right mailbox C cannot be both A and B"),
    ],
)
def test_no_name_may_have_two_counterparts(
    pairs: list[tuple[MailboxName, MailboxName]], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        NameMap(pairs)
    assert caught.value.hint


def test_two_names_would_become_one() -> None:
    names = NameMap([(A, B)])
    with pytest.raises(ConfigurationError, match="the left mailboxes B and A would both be B"):
        names.to_right(B)
    with pytest.raises(ConfigurationError, match="the right mailboxes A and B would both be A"):
        names.to_left(A)
