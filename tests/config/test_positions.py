"""Where keys and values stand in a TOML text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.config.positions import KeyPath, Position, Positions

TEXT = '''# [not.a] table
top = 1
"quoted key" = "a # b"  # comment
[a.b]   # header
c.d = [1, {e = "]"}, """
x = 1
"""]
'f' = {g.h = 2020-01-01 10:00:00, i = 'j'}
[[a.list]]
k = -1.5e3
[[a.list]]
k = """ "" """"
"\\u00e4\\t" = true
'''

PLACES: list[tuple[KeyPath, tuple[int, int], tuple[int, int]]] = [
    (("top",), (2, 1), (2, 7)),
    (("quoted key",), (3, 1), (3, 16)),
    (("a",), (4, 1), (4, 1)),
    (("a", "b"), (4, 1), (4, 1)),
    (("a", "b", "c", "d"), (5, 1), (5, 7)),
    (("a", "b", "c", "d", "0"), (5, 1), (5, 8)),
    (("a", "b", "c", "d", "1", "e"), (5, 12), (5, 16)),
    (("a", "b", "c", "d", "2"), (5, 1), (5, 22)),
    (("a", "b", "f", "g", "h"), (8, 8), (8, 14)),
    (("a", "b", "f", "i"), (8, 35), (8, 39)),
    (("a", "list", "0", "k"), (10, 1), (10, 5)),
    (("a", "list", "1", "k"), (12, 1), (12, 5)),
    (("a", "list", "1", "ä\t"), (13, 1), (13, 14)),
    (("a", "b", "missing", "deeper"), (4, 1), (4, 1)),
    (("nowhere",), (1, 1), (1, 1)),
]


@pytest.mark.parametrize(("path", "key", "value"), PLACES)
def test_place(path: KeyPath, key: tuple[int, int], value: tuple[int, int]) -> None:
    positions = Positions(TEXT)
    assert positions.key(path) == Position(*key)
    assert positions.value(path) == Position(*value)


def test_the_text_above_is_toml() -> None:
    assert tomllib.loads(TEXT)["a"]["list"][1]["k"] == ' "" "'


@given(st.text(alphabet="ab.=[]{}\"'# \n,1\\"))
def test_every_text_comes_to_an_end(text: str) -> None:
    """Only TOML is ever given to it, but a difference of opinion must not hang the program."""
    Positions(text)
