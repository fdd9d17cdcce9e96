"""No password is shown, wherever it stands in what is sent and however the server repeats it."""

from __future__ import annotations

import base64

import pytest

from mailtwin.client import Credentials, Secret
from mailtwin.talk.redaction import Redactor, secret_verb

SECRET = "tiger lily"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def shown(redactor: Redactor, *pieces: bytes) -> list[str]:
    return [part.decode("utf-8", "replace") for piece in pieces for part, _ in redactor.said(piece)]


SENT = [
    (b'A1 LOGIN joe "tiger lily"\r\n', ["A1 LOGIN joe ***"]),
    (b"A1 login joe tiger lily\r\n", ["A1 login joe ***"]),
    (b'A1  LOGIN  "j o" "tiger lily"\r\n', ['A1  LOGIN  "j o" ***']),
    (b"A1 LOGIN joe {10+}\r\ntiger lily\r\n", ["A1 LOGIN joe ***", "***", ""]),
    (b'A1 LOGIN {3}\r\njoe "tiger lily"\r\n', ["A1 LOGIN ***", "***", "***"]),
    (b"A1 LOGIN {3}\r\njoe {10}\r\ntiger lily\r\n", ["A1 LOGIN ***", "***", "***", "***", ""]),
    (b'A1 LOIGN joe "tiger lily"\r\n', ["A1 LOIGN joe ***"]),
    (b'A1 LOGINN "tiger lily"\r\n', ['A1 LOGINN ***']),
    (b"A1 AUTHENTICATE PLAIN " + b64(f"\0joe\0{SECRET}").encode() + b"\r\n", ["A1 AUTHENTICATE PLAIN ***"]),
    (b"A1 AUTHENTICATE PLAIN\r\n" + b64(f"\0joe\0{SECRET}").encode() + b"\r\n", ["A1 AUTHENTICATE PLAIN", "***"]),
    (b"A1 AUTHENTICATE LOGIN\r\nam9l\r\n" + b64(SECRET).encode() + b"\r\n", ["A1 AUTHENTICATE LOGIN", "***", "***"]),
    (b"A1 AUTHENTICATE X\r\n*\r\n", ["A1 AUTHENTICATE X", "*"]),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "expected"), SENT)
@pytest.mark.parametrize("split", [1, 3, 1000])
def test_what_is_sent(sent: bytes, expected: list[str], split: int) -> None:
    redactor = Redactor()
    pieces = [sent[at : at + split] for at in range(0, len(sent), split)]
    assert shown(redactor, *pieces) == expected
    if SECRET.encode() in sent or b64(SECRET).encode() in sent or b64(f"\0joe\0{SECRET}").encode() in sent:
        for echo in (SECRET, b64(SECRET), b64(f"\0joe\0{SECRET}"), f'"{SECRET}"'):
            assert "***" in redactor.heard(f"A1 BAD what is {echo}?"), echo
            assert echo not in redactor.heard(f"A1 BAD what is {echo}?")


def test_commands_afterwards_are_shown() -> None:
    redactor = Redactor()
    assert shown(redactor, b"A1 AUTHENTICATE PLAIN\r\n", b"AGEAYg==\r\n") == ["A1 AUTHENTICATE PLAIN", "***"]
    assert redactor.is_secret
    redactor.ended("A1")
    assert shown(redactor, b"A2 NOOP\r\n") == ["A2 NOOP"]
    assert shown(redactor, b"A3 LOGIN a b\r\n", b"A4 NOOP\r\n") == ["A3 LOGIN a ***", "A4 NOOP"]


def test_a_password_that_is_known_is_never_shown() -> None:
    redactor = Redactor()
    redactor.know(Credentials("joe", Secret('quo"te')))
    assert redactor.heard(r'* BAD LOGIN joe "quo\"te"') == '* BAD LOGIN joe "***"'


def test_literals_of_other_commands_are_shown() -> None:
    redactor = Redactor()
    said = list(redactor.said(b"A1 APPEND INBOX {4}\r\nLOGI\r\nA2 NOOP\r\n"))
    assert said == [(b"A1 APPEND INBOX {4}", False), (b"LOGI", True), (b"", False), (b"A2 NOOP", False)]


@pytest.mark.parametrize(
    "word", ["NOOP", "LOGOUT", "LIST", "UID", "ID", "IDLE", "UNAUTHENTICATE", "XLIST", "DONE"]
)
def test_other_verbs_are_no_login(word: str) -> None:
    assert secret_verb(word) is None
