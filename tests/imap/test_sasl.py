"""SASL exchanges, as the connection runs them."""

from __future__ import annotations

import base64

import pytest

from mailtwin.errors import LocalProtocolError
from mailtwin.imap import Connection, Ended, Secret, sasl
from mailtwin.imap import commands as c

REFUSAL = b'{"status":"401","schemes":"bearer","scope":"mail"}'


def connected(capabilities: bytes = b"IMAP4rev1") -> Connection:
    connection = Connection()
    connection.receive_data(b"* OK [CAPABILITY " + capabilities + b"] hi\r\n")
    connection.next_event()
    return connection


def hear(connection: Connection, data: bytes) -> list[object]:
    connection.receive_data(data)
    events: list[object] = []
    while (event := connection.next_event()) is not None:
        events.append(event)
    return events


def sent(connection: Connection) -> bytes:
    return bytes(connection.data_to_send())


def test_plain() -> None:
    connection = connected()
    connection.send(c.Authenticate(sasl.plain("tim", Secret("tanstaaftanstaaf"), authorize_as="root")))
    assert sent(connection) == b"A1 AUTHENTICATE PLAIN\r\n"
    hear(connection, b"* OK wait\r\n+ \r\n")
    assert sent(connection) == base64.b64encode(b"root\0tim\0tanstaaftanstaaf") + b"\r\n"
    (ended,) = hear(connection, b"A1 OK in\r\n")
    assert isinstance(ended, Ended)


def test_plain_at_once() -> None:
    connection = connected()
    connection.send(c.Authenticate(sasl.plain("u", Secret("p")), at_once=True))
    assert sent(connection) == b"A1 AUTHENTICATE PLAIN " + base64.b64encode(b"\0u\0p") + b"\r\n"


@pytest.mark.parametrize("at_once", [True, False])
def test_xoauth2_answers_the_refusal_and_keeps_its_reason(at_once: bool) -> None:
    connection = connected()
    handle = connection.send(c.Authenticate(sasl.xoauth2("u@x", Secret("tok")), at_once=at_once))
    first = base64.b64encode(b"user=u@x\x01auth=Bearer tok\x01\x01")
    written = sent(connection)
    if not at_once:
        hear(connection, b"+\r\n")
        written += sent(connection)
    assert written == (
        b"A1 AUTHENTICATE XOAUTH2 " + first + b"\r\n"
        if at_once
        else b"A1 AUTHENTICATE XOAUTH2\r\n" + first + b"\r\n"
    )
    hear(connection, b"+ " + base64.b64encode(REFUSAL) + b"\r\n")
    assert sent(connection) == b"\r\n"
    hear(connection, b"A1 NO refused\r\n")
    assert handle.challenge == REFUSAL


@pytest.mark.parametrize("challenge", [b"+ !!!\r\n", b"+ Zm9v\r\n"])
def test_a_challenge_without_an_answer_cancels(challenge: bytes) -> None:
    connection = connected()
    connection.send(c.Authenticate(sasl.plain("u", Secret("p")), at_once=True))
    sent(connection)
    hear(connection, challenge)
    assert sent(connection) == b"*\r\n"


def test_separators_inside_user_or_secret_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        sasl.plain("a\0b", Secret("x"))
    with pytest.raises(LocalProtocolError):
        sasl.plain("a", Secret("\0"))
    with pytest.raises(LocalProtocolError):
        sasl.xoauth2("a", Secret("x\x01y"))


def test_secrets_compare_but_do_not_show() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert repr(Secret("a")) == str(Secret("a")) == f"{Secret('a')}" == "Secret(***)"
