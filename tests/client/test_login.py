"""Opening a session, transcript by transcript: what is sent, in how many round trips, and what an error says."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path

import pytest
from tests.client.conftest import PASSWORD
from tests.client.scripted import Drip, HangUp, Hear, Stall, StartTls, Step, scripted

from mailtwin.client import Credentials, Endpoint, Referred, Secret, Session, Timeouts
from mailtwin.errors import (
    ConfigurationError,
    LoginError,
    MailtwinError,
    RemoteProtocolError,
    ThrottledError,
    TlsError,
    UnreachableError,
)

PLAIN = base64.b64encode(f"\0user\0{PASSWORD}".encode()).decode()
XOAUTH2 = base64.b64encode(f"user=user\x01auth=Bearer {PASSWORD}\x01\x01".encode()).decode()
LOGIN = f'LOGIN "user" "{PASSWORD}"'

TRANSCRIPTS: dict[str, tuple[str, list[Step]]] = {
    "capabilities in the greeting and in the tagged OK": (
        "auto",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE PLAIN {PLAIN}",
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "capabilities untagged inside the login": (
        "auto",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE PLAIN {PLAIN}",
            b"* CAPABILITY IMAP4rev1 UIDPLUS\r\nA1 OK in\r\n",
        ],
    ),
    "capabilities never said unasked": (
        "auto",
        [
            b"* OK hi\r\n",
            "A1 CAPABILITY",
            b"* CAPABILITY IMAP4rev1\r\nA1 OK\r\n",
            f"A2 {LOGIN}",
            b"A2 OK in\r\n",
            "A3 CAPABILITY",
            b"* CAPABILITY IMAP4rev1 UIDPLUS\r\nA3 OK\r\n",
        ],
    ),
    "the first response asked for": (
        "plain",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n",
            "A1 AUTHENTICATE PLAIN",
            b"+\r\n",
            PLAIN,
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "the first response announced and refused": (
        "auto",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE PLAIN {PLAIN}",
            b"A1 BAD Parse command error\r\n",
            "A2 AUTHENTICATE PLAIN",
            b"+ \r\n",
            PLAIN,
            b"A2 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "authenticate refused, login works": (
        "auto",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n",
            "A1 AUTHENTICATE PLAIN",
            b"A1 BAD no\r\n",
            f"A2 {LOGIN}",
            b"A2 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "login by choice": (
        "login",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n",
            f"A1 {LOGIN}",
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "a token": (
        "xoauth2",
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE XOAUTH2 {XOAUTH2}",
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
        ],
    ),
    "logged in already": ("auto", [b"* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] hi\r\n"]),
    "getting acquainted in one flight": (
        "login",
        [
            b"* OK [CAPABILITY IMAP4rev1] hi\r\n",
            f"A1 {LOGIN}",
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS ID NAMESPACE ENABLE CONDSTORE QRESYNC] in\r\n",
            Hear(b'A2 ID ("name" "mailtwin")\r\nA3 NAMESPACE\r\nA4 ENABLE CONDSTORE QRESYNC\r\n'),
            b"* ID NIL\r\nA2 NO what\r\n",
            b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\nA3 OK\r\n* ENABLED CONDSTORE QRESYNC\r\nA4 OK\r\n',
        ],
    ),
    "nothing enabled that is not announced": (
        "login",
        [
            b"* OK [CAPABILITY IMAP4rev1] hi\r\n",
            f"A1 {LOGIN}",
            b"A1 OK [CAPABILITY IMAP4rev1 UIDPLUS ENABLE IMAP4rev2 UTF8=ACCEPT] in\r\n",
        ],
    ),
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_transcript(name: str, timeouts: Timeouts) -> None:
    mechanism, script = TRANSCRIPTS[name]
    who = Credentials("user", Secret(PASSWORD), mechanism)  # type: ignore[arg-type]
    async with scripted(script) as endpoint:
        session = await Session.open(endpoint, who, timeouts=timeouts)
        assert session.has("UIDPLUS")
        await session.abort()


async def test_starttls_then_everything_anew(credentials: Credentials, timeouts: Timeouts) -> None:
    script: list[Step] = [
        b"* OK [CAPABILITY IMAP4rev1 FORGED AUTH=PLAIN] hi\r\n",
        "A1 STARTTLS",
        b"A1 OK go\r\n",
        StartTls(),
        "A2 CAPABILITY",
        b"* CAPABILITY IMAP4rev1\r\nA2 OK\r\n",
        f"A3 {LOGIN}",
        b"A3 OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n",
    ]
    async with scripted(script, security="starttls") as endpoint:
        session = await Session.open(endpoint, credentials, timeouts=timeouts)
        assert session.has("UIDPLUS")
        await session.abort()


async def refused(
    script: list[Step], *, security: str = "plain", mechanism: str = "auto", whole: bool = True
) -> MailtwinError:
    """The error of an opening that fails; it never shows the password."""
    who = Credentials("user", Secret(PASSWORD), mechanism)  # type: ignore[arg-type]
    patience = Timeouts(connect=2, greeting=0.2, reply=0.5, literal=0.5)
    async with scripted(script, security=security, whole=whole) as endpoint:
        with pytest.raises(MailtwinError) as caught:
            await Session.open(endpoint, who, timeouts=patience)
    error: BaseException | None = caught.value
    while error is not None:
        for told in (str(error), repr(error), repr(vars(error))):
            assert PASSWORD not in told
            assert PLAIN not in told
        error = error.__cause__ or error.__context__
    return caught.value


HI = b"* OK [CAPABILITY IMAP4rev1] hi\r\n"


async def test_wrong_password() -> None:
    error = await refused([HI, f"A1 {LOGIN}", b"A1 NO [AUTHENTICATIONFAILED] Invalid credentials\r\n"])
    assert isinstance(error, LoginError)
    assert "user" in error.message
    assert "Invalid credentials" in error.message
    assert error.hint


async def test_a_server_that_repeats_the_password() -> None:
    error = await refused([HI, f"A1 {LOGIN}", f"A1 NO user {PASSWORD} unknown\r\n".encode()])
    assert "user *** unknown" in error.message


async def test_a_wrong_password_is_not_tried_twice() -> None:
    await refused(
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE PLAIN {PLAIN}",
            b"A1 NO no\r\n",
            Hear(b""),
        ]
    )


async def test_a_refused_token_says_why() -> None:
    challenge = base64.b64encode(b'{"status":"401","schemes":"bearer","scope":"https://mail"}')
    error = await refused(
        [
            b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hi\r\n",
            f"A1 AUTHENTICATE XOAUTH2 {XOAUTH2}",
            b"+ " + challenge + b"\r\n",
            "",
            b"A1 NO SASL failed\r\n",
        ],
        mechanism="xoauth2",
    )
    assert isinstance(error, LoginError)
    assert "status 401" in error.message
    assert "scope https://mail" in error.message
    assert "token" in error.hint


async def test_a_referral_is_told_and_not_followed() -> None:
    url = f"imap://user:{PASSWORD};AUTH=*@other.example/"
    error = await refused([HI, f"A1 {LOGIN}", f"A1 NO [REFERRAL {url}] elsewhere\r\n".encode(), Hear(b"")])
    assert isinstance(error, Referred)
    assert error.url == "imap://user:***;AUTH=*@other.example/"
    assert error.url in error.hint


@pytest.mark.parametrize("reply", [b"NO [REFERRAL] where?", b"NO [REFERRAL a b] what?"])
async def test_a_referral_to_nowhere_is_a_refusal(reply: bytes) -> None:
    error = await refused([HI, f"A1 {LOGIN}", b"A1 " + reply + b"\r\n"])
    assert type(error) is LoginError


async def test_a_referral_instead_of_a_greeting() -> None:
    error = await refused([b"* BYE [REFERRAL imap://other.example/] not here\r\n"])
    assert isinstance(error, UnreachableError)
    assert "imap://other.example/" in error.hint


async def test_no_way_to_log_in() -> None:
    error = await refused([b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED STARTTLS AUTH=XOAUTH2] hi\r\n"])
    assert isinstance(error, LoginError)
    assert "XOAUTH2" in error.message
    assert "starttls" in error.hint


async def test_throttled_login() -> None:
    error = await refused(
        [HI, f"A1 {LOGIN}", b"A1 NO [ALERT] Too many simultaneous connections. (Failure)\r\n"]
    )
    assert isinstance(error, ThrottledError)


async def test_a_login_that_cannot_be_checked_now() -> None:
    error = await refused([HI, f"A1 {LOGIN}", b"A1 NO [UNAVAILABLE] try later\r\n"])
    assert isinstance(error, UnreachableError)


async def test_a_front_end_without_its_back_end() -> None:
    error = await refused(
        [
            HI,
            f"A1 {LOGIN}",
            b"A1 OK\r\n",
            "A2 CAPABILITY",
            b"A2 BAD User is authenticated but not connected.\r\n",
        ]
    )
    assert isinstance(error, UnreachableError)


async def test_a_bye_instead_of_an_answer() -> None:
    error = await refused([HI, f"A1 {LOGIN}", b"* BYE maintenance at noon\r\n"])
    assert isinstance(error, UnreachableError)
    assert "127.0.0.1" in error.message
    assert "maintenance at noon" in error.message


async def test_a_bye_while_getting_acquainted() -> None:
    error = await refused(
        [b"* PREAUTH [CAPABILITY IMAP4rev1 ID] hi\r\n", 'A1 ID ("name" "mailtwin")', b"* BYE never\r\n"]
    )
    assert isinstance(error, UnreachableError)


# --- TLS (rule R20) ---


async def test_plaintext_smuggled_behind_the_starttls_reply() -> None:
    error = await refused(
        [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n* CAPABILITY FORGED\r\n"], security="starttls"
    )
    assert isinstance(error, RemoteProtocolError)
    assert "ahead of TLS" in error.message


async def test_preauth_where_tls_is_demanded() -> None:
    error = await refused([b"* PREAUTH hi\r\n"], security="starttls")
    assert isinstance(error, RemoteProtocolError)
    assert "PREAUTH" in error.message


@pytest.mark.parametrize("answer", [b"A1 NO not here\r\n", b"A1 BAD what\r\n"])
async def test_starttls_refused_sends_no_password(answer: bytes) -> None:
    error = await refused([b"* OK hi\r\n", "A1 STARTTLS", answer], security="starttls")
    assert isinstance(error, TlsError)


async def test_a_starttls_handshake_that_breaks() -> None:
    error = await refused([b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n", HangUp()], security="starttls")
    assert isinstance(error, UnreachableError)


async def test_a_starttls_handshake_that_is_no_tls() -> None:
    error = await refused(
        [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n", Drip(b"\x00" * 100, 100, 0.1)],
        security="starttls",
        whole=False,
    )
    assert isinstance(error, TlsError | RemoteProtocolError | UnreachableError)


async def test_a_tls_handshake_that_stalls(credentials: Credentials) -> None:
    async with scripted([Stall()], whole=False) as endpoint:
        with pytest.raises(UnreachableError, match="no connection in time"):
            await Session.open(
                Endpoint(endpoint.host, endpoint.port, "tls"), credentials, timeouts=Timeouts(connect=0.1)
            )


async def test_a_starttls_handshake_that_stalls(credentials: Credentials) -> None:
    script: list[Step] = [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n", Stall()]
    async with scripted(script, security="starttls") as endpoint:
        with pytest.raises(UnreachableError, match="no connection in time"):
            await Session.open(endpoint, credentials, timeouts=Timeouts(connect=0.1))


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize(
    ("certificate", "trust", "words"),
    [
        ("localhost", False, "not trusted"),
        ("expired", True, "expired"),
        ("early", True, "not valid yet"),
        ("other", True, "another name"),
    ],
)
async def test_certificates(
    security: str, certificate: str, trust: bool, words: str, credentials: Credentials, timeouts: Timeouts
) -> None:
    script: list[Step] = [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n", StartTls()]
    async with scripted(
        script if security == "starttls" else [],
        security=security,
        certificate=certificate,
        trust=trust,
        whole=False,
    ) as endpoint:
        with pytest.raises(TlsError, match=words) as caught:
            await Session.open(endpoint, credentials, timeouts=timeouts)
    assert "no password was sent" in caught.value.message
    assert ("--ca-file" in caught.value.hint) == (not trust)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (Path(__file__), r"not a file of certificates \(PEM\)$"),
        (Path("/nowhere/ca.pem"), "the certificates cannot be read: No such file or directory$"),
    ],
)
async def test_a_ca_file_that_is_none(file: Path, words: str, credentials: Credentials) -> None:
    here = Endpoint("127.0.0.1", 1, "tls", ca_file=file)
    with pytest.raises(TlsError, match=words) as caught:
        await Session.open(here, credentials)
    assert caught.value.hint


def test_a_number_with_colons_is_told_from_its_port() -> None:
    assert str(Endpoint("::1", 143, "plain")) == "[::1]:143"


# --- who is there at all ---


async def test_tls_to_a_port_that_speaks_plain(credentials: Credentials, timeouts: Timeouts) -> None:
    async with scripted([b"* OK hi\r\n", Stall()], whole=False) as endpoint:
        with pytest.raises(RemoteProtocolError, match="does not speak TLS") as caught:
            await Session.open(Endpoint(endpoint.host, endpoint.port, "tls"), credentials, timeouts=timeouts)
    assert "imap://" in caught.value.hint


async def test_plain_to_a_port_that_speaks_tls(credentials: Credentials) -> None:
    async with scripted([Stall()], security="tls", whole=False) as endpoint:
        plain = Endpoint(endpoint.host, endpoint.port, "plain")
        with pytest.raises(UnreachableError, match="no greeting") as caught:
            await Session.open(plain, credentials, timeouts=Timeouts(greeting=0.1))
    assert "993" in caught.value.hint


@pytest.mark.parametrize(
    "first", [b"220 mail ESMTP\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n"]
)
async def test_another_protocol(first: bytes) -> None:
    error = await refused([first])
    assert isinstance(error, RemoteProtocolError)
    assert first.decode().strip() in error.message


async def test_no_greeting() -> None:
    error = await refused([Stall()])
    assert isinstance(error, UnreachableError)
    assert "no greeting within 0.2 s" in error.message


async def test_closed_without_a_greeting() -> None:
    assert isinstance(await refused([HangUp()]), UnreachableError)


async def test_nobody_listens(credentials: Credentials) -> None:
    async with scripted([], whole=False) as endpoint:
        pass
    with pytest.raises(UnreachableError, match="refused"):
        await Session.open(endpoint, credentials)


async def test_an_unknown_host(credentials: Credentials) -> None:
    with pytest.raises(UnreachableError, match="unknown host"):
        await Session.open(Endpoint("no-such-host.invalid", 993, "tls"), credentials)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "LocalHost"])
def test_plain_on_this_machine(host: str) -> None:
    Endpoint(host, 143, "plain")


@pytest.mark.parametrize("host", ["mail.example", "10.0.0.1", "localhost.example", "::2"])
def test_plain_to_another_machine_must_be_asked_for(host: str) -> None:
    with pytest.raises(ConfigurationError):
        Endpoint(host, 143, "plain")
    Endpoint(host, 143, "plain", allow_plain=True)


async def test_secrets_are_never_logged(caplog: pytest.LogCaptureFixture, timeouts: Timeouts) -> None:
    caplog.set_level(logging.DEBUG)
    _, script = TRANSCRIPTS["capabilities in the greeting and in the tagged OK"]
    who = Credentials("user", Secret(PASSWORD))
    async with scripted(script) as endpoint:
        session = await Session.open(endpoint, who, timeouts=timeouts)
        await session.abort()
    assert PASSWORD not in caplog.text
    assert PLAIN not in caplog.text
    assert PASSWORD not in repr(who)


@pytest.mark.parametrize("words", [b"", b"* BYE too much\r\n"], ids=["without a word", "with a BYE"])
async def test_a_server_that_hangs_up_over_namespace(
    words: bytes, credentials: Credentials, timeouts: Timeouts
) -> None:
    """It is connected to once more, without that question; one that says why it hangs up is believed."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* PREAUTH [CAPABILITY IMAP4rev1 ID NAMESPACE] hi\r\n")
        while line := await reader.readline():
            heard.append(line)
            if b"NAMESPACE" in line:
                writer.write(words)
                break
            writer.write(line.split()[0] + b" OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plain")
    if words:
        with pytest.raises(UnreachableError, match="too much"):
            await Session.open(endpoint, credentials, timeouts=timeouts)
        assert len(heard) == 2
    else:
        session = await Session.open(endpoint, credentials, timeouts=timeouts)
        assert session.is_open
        assert [line.split()[1] for line in heard] == [b"ID", b"NAMESPACE", b"ID"]
        await session.abort()
    server.close()
    await server.wait_closed()
