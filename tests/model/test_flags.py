"""Flags: one spelling for each, and what a side can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model import flags as flags_module
from mailtwin.model.flags import (
    EVERYTHING,
    NO_FLAGS,
    SYSTEM_FLAGS,
    Flags,
    Vocabulary,
    format_flags,
    make_flags,
    parse_flags,
)

SPELLINGS = [
    ([], set()),
    (["\\Seen"], {"\\Seen"}),
    (["\\seen", "\\SEEN", "\\Seen"], {"\\Seen"}),
    (["\\Recent", "\\Seen", "\\*"], {"\\Seen"}),
    (["\\RECENT"], set()),
    (["$forwarded"], {"$Forwarded"}),
    (["a]b", "\\Odd"], {"a]b", "\\Odd"}),
]


@pytest.mark.parametrize(("names", "expected"), SPELLINGS)
def test_spellings(names: list[str], expected: set[str]) -> None:
    assert make_flags(names) == expected


def test_a_keyword_keeps_its_first_spelling() -> None:
    assert make_flags(["FirstSpelling"]) == {"FirstSpelling"}
    assert make_flags(["FIRSTSPELLING", "firstspelling"]) == {"FirstSpelling"}


def test_equal_sets_are_one_object() -> None:
    assert make_flags(["\\Seen", "x-one"]) is make_flags(["X-ONE", "\\SEEN"])


def test_the_tables_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags_module, "_SPELLINGS_MAX", 0)
    assert make_flags(["Beyond-The-Limit"]) == {"Beyond-The-Limit"}
    assert make_flags(["BEYOND-the-limit"]) == {"BEYOND-the-limit"}
    assert make_flags(["\\SEEN"]) == {"\\Seen"}
    assert "beyond-the-limit" not in flags_module._spellings
    assert make_flags(["Beyond-The-Limit"]) not in flags_module._interned


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" "), min_size=1, max_size=8)


@given(st.sets(words | st.sampled_from(sorted(SYSTEM_FLAGS)), max_size=8))
def test_format_and_parse_are_inverse(names: set[str]) -> None:
    flags = make_flags(names)
    assert parse_flags(format_flags(flags)) == flags


def test_format_is_sorted() -> None:
    assert format_flags(make_flags(["b", "\\Seen", "a"])) == "\\Seen a b"
    assert format_flags(NO_FLAGS) == ""


VOCABULARIES: list[tuple[Vocabulary, str, bool]] = [
    (EVERYTHING, "\\Seen", True),
    (EVERYTHING, "keyword", True),
    (EVERYTHING, "\\Odd", False),
    (Vocabulary(make_flags(["\\Seen", "$mdnsent"]), any_keyword=False), "\\Seen", True),
    (Vocabulary(make_flags(["\\Seen"]), any_keyword=False), "\\Flagged", False),
    (Vocabulary(make_flags(["\\Seen"]), any_keyword=False), "keyword", False),
    (EVERYTHING.without(make_flags(["keyword"])), "keyword", False),
    (EVERYTHING.without(make_flags(["keyword"])), "other", True),
    (EVERYTHING.without(make_flags(["\\Seen"])), "\\Seen", False),
    (EVERYTHING.without(make_flags(["a"])).without(make_flags(["b"])), "a", False),
    (EVERYTHING.without(make_flags(["a"])).without(make_flags(["b"])), "b", False),
]


@pytest.mark.parametrize(("vocabulary", "flag", "held"), VOCABULARIES)
def test_what_a_side_holds(vocabulary: Vocabulary, flag: str, held: bool) -> None:
    assert vocabulary.holds(flag) is held
    flags: Flags = make_flags([flag, "\\Answered"])
    assert (flag in vocabulary.keep(flags)) is held


def test_keeping_everything_changes_nothing() -> None:
    flags = make_flags(["\\Seen", "x"])
    assert EVERYTHING.keep(flags) is flags
    assert EVERYTHING.without(NO_FLAGS) is EVERYTHING
