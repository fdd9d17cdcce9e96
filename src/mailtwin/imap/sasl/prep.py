"""SASLprep (RFC 4013): one spelling for user names and passwords that people type in different ways.

The tables are those of Unicode 3.2, as the RFC demands, whatever Unicode this Python has.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

from mailtwin.errors import LocalProtocolError

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str, *, stored: bool) -> str:
    """`text` in its one spelling. `stored`: characters that Unicode 3.2 did not know are refused (RFC 3454 section 7).

    Raises LocalProtocolError, which does not show the text.
    """
    if text.isascii():
        if not text.isprintable():
            raise _refused("a control character")
        return text
    mapped = "".join(_mapped(char) for char in text)
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if any(forbidden(char) for char in prepared for forbidden in _PROHIBITED):
        raise _refused("a character that has no place in it")
    if stored and any(map(stringprep.in_table_a1, prepared)):
        raise _refused("a character newer than this login")
    _check_directions(prepared)
    return prepared


def _mapped(char: str) -> str:
    """RFC 4013 section 2.1: other spaces to SPACE, and what is commonly mapped to nothing to nothing."""
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _check_directions(text: str) -> None:
    """RFC 3454 section 6: text from right to left is all of it from right to left."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(map(stringprep.in_table_d2, text)):
        raise _refused("text of both directions")


def _refused(what: str) -> LocalProtocolError:
    return LocalProtocolError(
        f"the user name or password has {what}, which SASLprep forbids (RFC 4013)",
        hint='inside TLS, auth = "plain" carries every password',
    )
