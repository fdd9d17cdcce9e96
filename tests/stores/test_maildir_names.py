"""File names: the unique part, the letters, and what belongs to other programs."""

from __future__ import annotations

import itertools

import pytest

from mailtwin.model import make_flags
from mailtwin.stores.maildir_names import LETTERS, UniqueNames, escape_host, flags_of, info_with, split_name


@pytest.mark.parametrize(
    ("file_name", "separator", "unique", "info", "letters"),
    [
        ("1.a.host", ":", "1.a.host", "", ""),
        ("1.a.host:2,", ":", "1.a.host", ":2,", ""),
        ("1.a.host,S=12:2,FS", ":", "1.a.host,S=12", ":2,FS", "FS"),
        ("1.a.host:2,SSF", ":", "1.a.host", ":2,SSF", "FS"),
        ("1.a.host:2,aSz", ":", "1.a.host", ":2,aSz", "S"),
        ("1.a.host:1,exp", ":", "1.a.host", ":1,exp", ""),
        ("1.a.host:", ":", "1.a.host", ":", ""),
        ("1.a.host!2,T", "!", "1.a.host", "!2,T", "T"),
        ("1.a-b.host-2,T", "-", "1.a-b.host", "-2,T", "T"),
        ("1.a.host;2,DPR,x", ";", "1.a.host", ";2,DPR,x", "DPR"),
    ],
)
def test_names_fall_in_two(file_name: str, separator: str, unique: str, info: str, letters: str) -> None:
    assert split_name(file_name, separator) == (unique, info)
    assert flags_of(info) == make_flags(LETTERS[letter] for letter in letters)


@pytest.mark.parametrize(
    ("info", "letters", "result"),
    [
        ("", "", ":2,"),
        ("", "SF", ":2,FS"),
        (":2,S", "", ":2,"),
        (":2,bSa", "F", ":2,Fab"),  # keywords of a mail reader stay, in ASCII order
        (":2,S,extra", "T", ":2,T,extra"),
        (":1,exp", "S", ":2,S"),
    ],
)
def test_letters_change_and_the_rest_stays(info: str, letters: str, result: str) -> None:
    flags = make_flags(LETTERS[letter] for letter in letters)
    assert info_with(info, flags) == result
    assert flags_of(result) == flags
    assert info_with(info, flags | {"work", "\\Answered"} - {"\\Answered"}) == result


def test_unique_names_are_made_of_what_comes_in_from_outside() -> None:
    names = UniqueNames(
        clock=lambda: 1_700_000_000_000_012_345, host="mx/1:a", pid=77, counter=itertools.count(5), run="ab"
    )
    assert names.new() == "1700000000.M12P77Q5Rab.mx\\0571\\072a"
    assert names.temporary() == "1700000000.M12P77Q6Rab.mx\\0571\\072a,mailtwin=77"
    assert names.owner(names.temporary()) == 77


def test_unique_names_are_unique_when_the_clock_stands_still() -> None:
    makers = [UniqueNames(clock=lambda: 0) for _ in range(3)]
    made = [maker.new() for maker in makers for _ in range(1000)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "name",
    [
        "1.M1P7Q1R1.host,mailtwin=",
        "1.M1P7Q1R1.host,mailtwin=x",
        "1.M1P7Q1R1.host,mailtwin=verbatim",
        "1.M1P7Q1R1.host,mailtwin=99999999999999",
        "1.M1P7Q1R1.other,mailtwin=7",
        "1.M1P7Q1R1.host",
        "",
    ],
)
def test_what_is_not_ours_has_no_owner(name: str) -> None:
    assert UniqueNames(host="host").owner(name) is None


@pytest.mark.parametrize(
    ("host", "escaped"),
    [
        ("mx1.example.org", "mx1.example.org"),
        ("a/b:c", "a\\057b\\072c"),
        ("", "localhost"),
        ("x" * 300, "x" * 64),
        ("ü", "\\374"),
        ("a,b!;\\ ", "a\\054b\\041\\073\\134\\040"),
    ],
)
def test_host_names_are_escaped(host: str, escaped: str) -> None:
    assert escape_host(host) == escaped
