"""SASL exchanges, as the connection runs them; the examples of RFC 2195, 4422, 4505, 4616 and 7628."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable

import pytest

from mailtwin.errors import LocalProtocolError, RemoteProtocolError
from mailtwin.imap import Connection, Ended, Mechanism, Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap.sasl.cram import cram_md5

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


# --- the examples of the RFCs: what the server says, what the client answers ---

TOKEN = Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
BEARER = (
    b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRj"
    b"Mk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
BEARER_REFUSED = (
    b"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24iOiJodHRwczov"
    b"L2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
)
EXCHANGES: dict[str, tuple[Mechanism, list[tuple[bytes, bytes]]]] = {
    "PLAIN, RFC 4616": (
        sasl.plain("tim", Secret("tanstaaftanstaaf")),
        [(b"", base64.b64encode(b"\0tim\0tanstaaftanstaaf"))],
    ),
    "PLAIN for another, RFC 4616": (
        sasl.plain("Kurt", Secret("xipj3plmq"), authorize_as="Ursel"),
        [(b"", base64.b64encode(b"Ursel\0Kurt\0xipj3plmq"))],
    ),
    "LOGIN, as most say it": (
        sasl.login("tim", Secret("tanstaaf")),
        [(base64.b64encode(b"Username:"), b"dGlt"), (base64.b64encode(b"Password:"), b"dGFuc3RhYWY=")],
    ),
    "LOGIN, as some say it": (
        sasl.login("tim", Secret("tanstaaf")),
        [(b"", b"dGlt"), (base64.b64encode(b"User Name\0"), b"dGFuc3RhYWY=")],
    ),
    "CRAM-MD5, RFC 2195": (
        cram_md5("tim", Secret("tanstaaftanstaaf")),
        [
            (
                b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
                b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw",
            )
        ],
    ),
    "EXTERNAL, RFC 4422": (sasl.external(), [(b"", b"")]),
    "EXTERNAL as somebody, RFC 4422": (
        sasl.external(authorize_as="fred@example.com"),
        [(b"", base64.b64encode(b"fred@example.com"))],
    ),
    "ANONYMOUS, RFC 4505": (sasl.anonymous("sirhc"), [(b"", b"c2lyaGM=")]),
    "OAUTHBEARER, RFC 7628": (
        sasl.oauthbearer("user@example.com", TOKEN, host="server.example.com", port=143),
        [(b"", BEARER)],
    ),
    "OAUTHBEARER refused, RFC 7628": (
        sasl.oauthbearer("user@example.com", TOKEN, host="server.example.com", port=143),
        [(b"", BEARER), (BEARER_REFUSED, b"AQ==")],
    ),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_examples(name: str) -> None:
    mechanism, said = EXCHANGES[name]
    connection = connected()
    connection.send(c.Authenticate(mechanism))
    assert sent(connection) == b"A1 AUTHENTICATE " + mechanism.name.encode() + b"\r\n"
    for challenge, response in said:
        hear(connection, b"+ " + challenge + b"\r\n")
        assert sent(connection) == response + b"\r\n"
    (ended,) = hear(connection, b"A1 OK in\r\n")
    assert isinstance(ended, Ended)


@pytest.mark.parametrize(
    ("mechanism", "first"),
    [
        (sasl.external(), b"="),
        (sasl.anonymous(), b"="),
        (sasl.oauthbearer("user@example.com", TOKEN, host="server.example.com", port=143), BEARER),
    ],
)
def test_initial_responses(mechanism: Mechanism, first: bytes) -> None:
    connection = connected()
    connection.send(c.Authenticate(mechanism, at_once=True))
    assert sent(connection) == f"A1 AUTHENTICATE {mechanism.name} ".encode() + first + b"\r\n"


@pytest.mark.parametrize("make", [sasl.login, cram_md5])
def test_no_initial_response_where_the_server_speaks_first(
    make: Callable[[str, Secret], Mechanism],
) -> None:
    connection = connected()
    with pytest.raises(LocalProtocolError, match="server speaks first"):
        connection.send(c.Authenticate(make("u", Secret("p")), at_once=True))
    assert sent(connection) == b""
    assert connection.is_idle


def test_an_ok_to_a_login_that_was_not_made() -> None:
    connection = connected()
    connection.send(c.Authenticate(sasl.plain("u", Secret("p"))))
    sent(connection)
    connection.receive_data(b"A1 OK welcome\r\n")
    with pytest.raises(RemoteProtocolError, match="not made"):
        connection.next_event()


def test_the_number_of_challenges_is_kept() -> None:
    connection = connected()
    handle = connection.send(c.Authenticate(sasl.login("u", Secret("p"))))
    assert handle.challenges == 0
    hear(connection, b"+ eA==\r\n+ eQ==\r\n")
    assert handle.challenges == 2
    assert handle.challenge == b"y"


def test_a_mechanism_serves_again() -> None:
    mechanism = sasl.login("u", Secret("p"))
    for _ in range(2):
        connection = connected()
        connection.send(c.Authenticate(mechanism))
        sent(connection)
        hear(connection, b"+ eA==\r\n")
        assert sent(connection) == b"dQ==\r\n"


@pytest.mark.parametrize(
    "make",
    [
        lambda: sasl.login("a\0", Secret("x")),
        lambda: sasl.external(authorize_as="a\0"),
        lambda: sasl.anonymous("x" * 256),
        lambda: sasl.anonymous("x\0"),
        lambda: cram_md5("a\0", Secret("x")),
        lambda: sasl.oauthbearer("a", Secret("x\x01auth=y")),
        lambda: sasl.oauthbearer("", Secret("x")).start().send(None),
        lambda: sasl.plain("a", Secret("\ud800")).start().send(None),
        lambda: sasl.xoauth2("\ud800", Secret("x")).start().send(None),
    ],
)
def test_what_no_mechanism_can_carry(make: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError):
        make()


def test_a_user_name_with_the_characters_of_the_header() -> None:
    exchange = sasl.oauthbearer("a,b=c", Secret("t")).start()
    assert next(exchange) == b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01"


def test_a_secret_is_not_written_to_files() -> None:
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write(Secret("a"))
