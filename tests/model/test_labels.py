"""Labels as flags: there and back, and who holds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model import Vocabulary, format_flags, make_flags, parse_flags
from mailtwin.model.flags import EVERYTHING, is_flag
from mailtwin.model.labels import LABEL_CHARS_MAX, is_label, label_flag, label_flags, label_in, split_labels

labels = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=20)


@given(labels)
def test_there_and_back(label: str) -> None:
    flag = label_flag(label)
    assert label_in(flag) == label
    assert is_label(flag)
    assert not is_flag(flag), "no server can write it as a flag"
    assert " " not in flag


@given(st.sets(labels, max_size=5))
def test_as_text(names: set[str]) -> None:
    flags = label_flags(names)
    assert parse_flags(format_flags(flags)) == flags


@pytest.mark.parametrize("flag", ["\\Seen", "work", "label", "label(", "xlabel(a)", "label(a"])
def test_no_label(flag: str) -> None:
    assert label_in(flag) is None


def test_who_holds_labels() -> None:
    flags = make_flags(["\\Seen", "work", label_flag("Work")])
    assert EVERYTHING.keep(flags) == flags
    assert Vocabulary().keep(flags) == {"\\Seen", "work"}
    assert Vocabulary(labels=True).without(make_flags([label_flag("Work")])).keep(flags) == {"\\Seen", "work"}
    assert Vocabulary(labels=True).without(make_flags(["work"])).holds(label_flag("Work"))


def test_split() -> None:
    flags = make_flags(["\\Seen", label_flag("Work")])
    assert split_labels(flags) == (make_flags(["\\Seen"]), make_flags([label_flag("Work")]))
    plain = make_flags(["\\Seen"])
    assert split_labels(plain)[0] is plain


def test_what_is_too_long_is_nobodys_label() -> None:
    assert label_flags(["", "x" * (LABEL_CHARS_MAX + 1), "y"]) == make_flags([label_flag("y")])
