"""Why the bytes of one message differ between two servers, as far as the bytes tell."""

from __future__ import annotations

import pytest

from mailtwin.engine.rewriting import why_bytes_differ

PLAIN = b"Subject: caf\xe9\r\n\r\none\r\ntwo\r\n"
REWRITTEN = "the same but for {}, as servers write them anew{}"


@pytest.mark.parametrize(
    ("left", "right", "why"),
    [
        (PLAIN, PLAIN.replace(b"\r\n", b"\n"), REWRITTEN.format("line ends", " on the left")),
        (PLAIN.replace(b"e\r", b"e\r\r"), PLAIN, REWRITTEN.format("line ends", " on the right")),
        (PLAIN.replace(b"\r\n", b"\n"), PLAIN.replace(b"\r\n", b"\r"), REWRITTEN.format("line ends", "")),
        (PLAIN, PLAIN.replace(b"\xe9", b"X"), REWRITTEN.format("8-bit bytes in the header", " on the right")),
        (PLAIN[:-2], PLAIN, REWRITTEN.format("the end of the last line", " on the right")),
        (
            PLAIN[:-2],
            PLAIN.replace(b"\xe9", b"X"),
            REWRITTEN.format("8-bit bytes in the header and the end of the last line", " on the right"),
        ),
        (
            PLAIN.replace(b"\r\n", b"\n"),
            PLAIN.replace(b"\xe9", b"X"),
            REWRITTEN.format("line ends and 8-bit bytes in the header", " on the right"),
        ),
        (PLAIN, PLAIN.replace(b"two", b"tvo"), "they differ first at byte 23, in the body"),
        (PLAIN, PLAIN.replace(b"S", b"s"), "they differ first at byte 0, in the header"),
        (PLAIN, PLAIN[:-4], "they differ first at byte 23, in the body"),
        (b"", b"x", "they differ first at byte 0, in the header"),
        # An 8-bit byte in the body is nobody's to mask.
        (b"a: b\r\n\r\n\xe9\r\n", b"a: b\r\n\r\nX\r\n", "they differ first at byte 8, in the body"),
    ],
)
def test_why_bytes_differ(left: bytes, right: bytes, why: str) -> None:
    assert why_bytes_differ(left, right) == why
