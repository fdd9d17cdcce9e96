"""Which way to log in, and what becomes of a way that fails; transcripts, and the real servers."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest
from tests.client.scripted import Hear, Step, scripted
from tests.client.test_real_servers import endpoint, someone

from mailtwin.client import Credentials, Endpoint, Secret, Session, TokenRefused, Tunnel, ways
from mailtwin.client.endpoint import MechanismName
from mailtwin.errors import LoginError, MailtwinError, RemoteProtocolError, ThrottledError, UnreachableError
from mailtwin.imap.sasl import Mechanism, Unproven, scram
from mailtwin.imap.sasl.scram import Binding
from mailtwin.testing.realservers import RealServer

USER, PENCIL = "user", Secret("pencil")
UNIQUE = Binding("tls-unique", b"x")
SCRAMS = "AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256"
PLUSSES = f"{SCRAMS} AUTH=SCRAM-SHA-1-PLUS AUTH=SCRAM-SHA-256-PLUS"
ALL = f"{PLUSSES} AUTH=CRAM-MD5 AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2"

# What was asked for, what the server offers, whether nobody can listen, a binding: the ways in order.
ROWS: list[tuple[MechanismName, str, bool, Binding | None, str]] = [
    ("auto", "", True, None, "LOGIN"),
    ("auto", "LOGINDISABLED", True, None, ""),
    ("auto", "AUTH=PLAIN", True, None, "PLAIN LOGIN"),
    ("auto", "AUTH=PLAIN LOGINDISABLED", True, None, "PLAIN"),
    ("auto", "AUTH=LOGIN LOGINDISABLED", True, None, "LOGIN"),
    ("auto", "AUTH=PLAIN AUTH=CRAM-MD5", True, None, "PLAIN LOGIN"),
    ("auto", "AUTH=PLAIN AUTH=CRAM-MD5", False, None, "CRAM-MD5"),
    ("auto", "AUTH=PLAIN", False, None, "PLAIN LOGIN"),
    ("auto", SCRAMS, False, None, "SCRAM-SHA-256 SCRAM-SHA-1"),
    ("auto", f"{SCRAMS} AUTH=PLAIN", True, UNIQUE, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"),
    ("auto", ALL, True, None, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN LOGIN"),
    (
        "auto",
        ALL,
        True,
        UNIQUE,
        "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN LOGIN",
    ),
    ("auto", "AUTH=XOAUTH2 LOGINDISABLED", True, None, ""),
    ("plain", ALL, True, UNIQUE, "PLAIN"),
    ("plain", "", True, None, "PLAIN"),
    ("login", ALL, True, None, "LOGIN LOGIN"),
    ("login", "LOGINDISABLED AUTH=LOGIN", True, None, "LOGIN"),
    ("login", "LOGINDISABLED", True, None, ""),
    ("cram-md5", "", True, None, "CRAM-MD5"),
    ("scram-sha-256", "", True, None, "SCRAM-SHA-256"),
    ("scram-sha-256", PLUSSES, True, UNIQUE, "SCRAM-SHA-256-PLUS SCRAM-SHA-256"),
    ("scram-sha-1", PLUSSES, True, None, "SCRAM-SHA-1"),
    ("xoauth2", "", True, None, "XOAUTH2"),
    ("oauthbearer", "", True, None, "OAUTHBEARER"),
    ("external", "", True, None, "EXTERNAL"),
    ("anonymous", "", True, None, "ANONYMOUS"),
]


@pytest.mark.parametrize(("wanted", "offered", "is_protected", "binding", "expected"), ROWS)
def test_ways(
    wanted: MechanismName, offered: str, is_protected: bool, binding: Binding | None, expected: str
) -> None:
    line = ways.Line("h", 143, is_protected, binding)
    chosen = list(ways.choose(offered.split().__contains__, Credentials(USER, PENCIL, wanted), line))
    assert " ".join(way.name for way in chosen) == expected
    for way in chosen:
        assert way.make is None or way.make().name == way.name
    assert all(way.hides == way.name.startswith("SCRAM") for way in chosen)


def test_nonces_are_never_used_twice() -> None:
    line = ways.Line("h", 143, is_protected=True)
    (way,) = ways.choose(
        {"LOGINDISABLED", "AUTH=SCRAM-SHA-256"}.__contains__, Credentials(USER, PENCIL), line
    )
    assert way.make is not None
    assert len({next(way.make().start()) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("binding", "offered", "header"),
    [
        (UNIQUE, "AUTH=SCRAM-SHA-256", b"y,,"),
        (None, "AUTH=SCRAM-SHA-256", b"n,,"),
        (UNIQUE, "AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", b"p=tls-unique,,"),
        (None, "AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS", b"n,,"),
    ],
)
def test_a_hidden_plus_is_found_out(binding: Binding | None, offered: str, header: bytes) -> None:
    line = ways.Line("h", 143, is_protected=True, binding=binding)
    way = next(ways.choose(offered.split().__contains__, Credentials(USER, PENCIL), line))
    assert way.make is not None
    assert next(way.make().start()).startswith(header)


def test_where_nobody_can_listen() -> None:
    assert Endpoint("h", 1, "tls").is_protected
    assert Endpoint("h", 1, "starttls").is_protected
    assert Endpoint("127.0.0.1", 1, "plain").is_protected
    assert Tunnel(("ssh",), "h").is_protected
    assert not Endpoint("h", 1, "plain", allow_plain=True).is_protected


# --- transcripts ---

CTRL_A = "\x01"
NONCE = "rOprNGfwEbeRWgbNEkqO"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FIRST = b64(f"n,,n=user,r={NONCE}")
SALTED = b64(f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").encode()
PROOF = b64(f"c=biws,r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNED = b64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").encode()
PLAIN = b64("\0user\0pencil")
IN = b" OK [CAPABILITY IMAP4rev1 INSIDE] in\r\n"


def hi(capabilities: str) -> bytes:
    return f"* OK [CAPABILITY IMAP4rev1 {capabilities}] hi\r\n".encode()


SCRIPTS: dict[str, list[Step]] = {
    "at once": [
        hi("SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN"),
        f"A1 AUTHENTICATE SCRAM-SHA-256 {FIRST}",
        b"+ " + SALTED + b"\r\n",
        PROOF,
        b"+ " + SIGNED + b"\r\n",
        "",
        b"A1" + IN,
    ],
    "asked for": [
        hi("AUTH=SCRAM-SHA-256"),
        "A1 AUTHENTICATE SCRAM-SHA-256",
        b"+ \r\n",
        FIRST,
        b"+ " + SALTED + b"\r\n",
        PROOF,
        b"* OK still here\r\n+ " + SIGNED + b"\r\n",
        "",
        b"A1" + IN,
    ],
    "a password kept in another form": [
        hi("SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN"),
        f"A1 AUTHENTICATE SCRAM-SHA-256 {FIRST}",
        b"A1 NO [AUTHENTICATIONFAILED] no\r\n",
        f"A2 AUTHENTICATE PLAIN {PLAIN}",
        b"A2" + IN,
    ],
    "the initial response refused": [
        hi("SASL-IR AUTH=SCRAM-SHA-256"),
        f"A1 AUTHENTICATE SCRAM-SHA-256 {FIRST}",
        b"A1 BAD what\r\n",
        "A2 AUTHENTICATE SCRAM-SHA-256",
        b"+\r\n",
        FIRST,
        b"+ " + SALTED + b"\r\n",
        PROOF,
        b"+ " + SIGNED + b"\r\n",
        "",
        b"A2" + IN,
    ],
    "nothing but prompts": [
        hi("SASL-IR LOGINDISABLED AUTH=LOGIN"),
        "A1 AUTHENTICATE LOGIN",
        b"+ VXNlcm5hbWU6\r\n",
        b64("user"),
        b"+ UGFzc3dvcmQ6\r\n",
        b64("pencil"),
        b"A1" + IN,
    ],
    "every way fails before it begins": [
        hi("AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-1 AUTH=PLAIN AUTH=LOGIN"),
        "A1 AUTHENTICATE SCRAM-SHA-256",
        b"A1 BAD no\r\n",
        "A2 AUTHENTICATE SCRAM-SHA-1",
        b"A2 BAD no\r\n",
        "A3 AUTHENTICATE PLAIN",
        b"A3 BAD no\r\n",
        "A4 AUTHENTICATE LOGIN",
        b"A4 BAD no\r\n",
        'A5 LOGIN "user" "pencil"',
        b"A5" + IN,
    ],
}


@pytest.fixture(autouse=True)
def _one_nonce(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "script" in request.node.name:
        monkeypatch.setattr("mailtwin.client.ways.secrets.token_urlsafe", lambda _bytes: NONCE)


@pytest.mark.parametrize("name", SCRIPTS)
async def test_script(name: str) -> None:
    async with scripted(SCRIPTS[name]) as place:
        session = await Session.open(place, Credentials(USER, PENCIL))
        assert session.has("INSIDE")
        await session.abort()


async def refused(script: list[Step], who: Credentials | None = None) -> MailtwinError:
    async with scripted(script) as place:
        with pytest.raises(MailtwinError) as caught:
            await Session.open(place, who or Credentials(USER, PENCIL))
    error: BaseException | None = caught.value
    while error is not None:
        assert "pencil" not in f"{error!s} {error!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__
    return caught.value


@pytest.mark.parametrize(
    "end", [[b"A1 NO no\r\n"], [b"+ " + b64("e=invalid-proof").encode() + b"\r\n", "", b"A1 NO no\r\n"]]
)
async def test_script_of_a_wrong_password_that_is_not_shown_afterwards(end: list[Step]) -> None:
    error = await refused([*SCRIPTS["at once"][:4], *end, Hear(b"")])
    assert isinstance(error, LoginError)
    assert ("invalid-proof" in error.message) == (len(end) > 1)
    assert NONCE not in error.message


async def test_script_of_a_server_that_does_not_know_the_password() -> None:
    wrong = b64("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").encode()
    error = await refused([*SCRIPTS["at once"][:4], b"+ " + wrong + b"\r\n", Hear(b"")])
    assert isinstance(error, Unproven)


async def test_script_of_an_ok_without_a_proof() -> None:
    error = await refused([*SCRIPTS["at once"][:4], b"A1" + IN, Hear(b"")])
    assert isinstance(error, Unproven)
    assert "without having proved" in error.message


async def test_script_of_a_downgrade_of_the_proof() -> None:
    cheap = b64(f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1").encode()
    error = await refused([*SCRIPTS["at once"][:2], b"+ " + cheap + b"\r\n", Hear(b"")])
    assert isinstance(error, Unproven)


async def test_script_of_a_pause_that_is_not_answered_with_the_password() -> None:
    error = await refused([*SCRIPTS["at once"][:2], b"A1 NO [LIMIT] slow down\r\n", Hear(b"")])
    assert isinstance(error, ThrottledError)
    error = await refused([*SCRIPTS["at once"][:2], b"A1 NO [UNAVAILABLE] later\r\n", Hear(b"")])
    assert isinstance(error, UnreachableError)


async def test_script_of_a_password_that_only_plain_can_carry() -> None:
    who = Credentials(USER, Secret("\N{GRINNING FACE}"))
    first = b64("\0user\0\N{GRINNING FACE}")
    script: list[Step] = [
        hi("SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN"),
        f"A1 AUTHENTICATE PLAIN {first}",
        b"A1" + IN,
    ]
    async with scripted(script) as place:
        await (await Session.open(place, who)).abort()
    error = await refused(
        [hi("AUTH=SCRAM-SHA-256"), Hear(b"")], Credentials(USER, who.secret, "scram-sha-256")
    )
    assert isinstance(error, LoginError)
    assert "SASLprep" in error.message
    assert 'auth = "plain"' in error.hint


async def test_script_of_a_refused_token() -> None:
    said = (
        '{"status":"invalid_token","scope":"mail pencil","openid-configuration":"https://e.example/","n":[1]}'
    )
    script: list[Step] = [
        hi("SASL-IR"),
        f"A1 AUTHENTICATE XOAUTH2 {b64(f'user=user{CTRL_A}auth=Bearer pencil{CTRL_A * 2}')}",
        b"+ " + b64(said).encode() + b"\r\n",
        "",
        b"A1 NO no\r\n",
    ]
    error = await refused(script, Credentials(USER, PENCIL, "xoauth2"))
    assert isinstance(error, TokenRefused)
    assert error.details == {
        "openid-configuration": "https://e.example/",
        "scope": "mail ***",
        "status": "invalid_token",
    }
    assert "invalid_token" in error.message
    assert "token" in error.hint


async def test_no_password_for_a_server_that_wants_one() -> None:
    error = await refused([hi("AUTH=PLAIN"), Hear(b"")], Credentials(USER))
    assert isinstance(error, LoginError)
    assert "no password" in error.message


@pytest.mark.parametrize(
    ("who", "line"),
    [
        (Credentials("owner", mechanism="external"), f"A1 AUTHENTICATE EXTERNAL {b64('owner')}"),
        (Credentials("", mechanism="external"), "A1 AUTHENTICATE EXTERNAL ="),
        (Credentials("trace", mechanism="anonymous"), f"A1 AUTHENTICATE ANONYMOUS {b64('trace')}"),
    ],
)
async def test_logins_without_a_secret(who: Credentials, line: str) -> None:
    async with scripted([hi("SASL-IR"), line, b"A1" + IN]) as place:
        await (await Session.open(place, who)).abort()


async def test_a_login_accepted_before_it_was_made() -> None:
    error = await refused([hi("AUTH=PLAIN"), "A1 AUTHENTICATE PLAIN", b"A1" + IN])
    assert isinstance(error, RemoteProtocolError)


# --- the real servers ---

MECHANISMS: list[MechanismName] = ["plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.servers
@pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
async def test_passwords(kind: str, mechanism: MechanismName, request: pytest.FixtureRequest) -> None:
    server: RealServer = request.getfixturevalue(kind)
    who = someone(server)
    for place in (endpoint(server), endpoint(server, "starttls")):
        session = await Session.open(place, Credentials(who.user, who.secret, mechanism))
        await session.close()
        with pytest.raises(LoginError):
            await Session.open(place, Credentials(who.user, Secret("wrong"), mechanism))


async def test_auto_proves_the_password(dovecot: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    who = someone(dovecot)
    used: list[str] = []
    for name in ("plain", "login"):
        monkeypatch.setattr(f"mailtwin.imap.sasl.{name}", lambda *_: used.append("shown"))
    session = await Session.open(endpoint(dovecot), who)
    await session.close()
    assert not used


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
async def test_tokens(dovecot: RealServer, mechanism: MechanismName) -> None:
    account = dovecot.user()
    token = Secret(dovecot.oauth_token(account))
    session = await Session.open(endpoint(dovecot), Credentials(account.user, token, mechanism))
    await session.close()
    expired = Secret(dovecot.oauth_token(account, valid_s=-10))
    with pytest.raises(TokenRefused) as caught:
        await Session.open(endpoint(dovecot), Credentials(account.user, expired, mechanism))
    assert caught.value.details["status"] in ("401", "invalid_token")
    assert expired.reveal() not in f"{caught.value} {vars(caught.value)}"


async def test_bound_to_tls(cyrus: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.2, for which Python has a binding; Cyrus announces -PLUS when it has one, too."""
    context = ssl.create_default_context(cafile=cyrus.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    monkeypatch.setattr("mailtwin.client.transport.tls_context", lambda _endpoint: context)
    made: list[object] = []
    real = scram.scram

    def spy(user: str, secret: Secret, **options: Any) -> Mechanism:
        made.append(options["binding"])
        return real(user, secret, **options)

    monkeypatch.setattr(scram, "scram", spy)
    mechanism: MechanismName
    for mechanism in ("auto", "scram-sha-1", "scram-sha-256"):
        who = someone(cyrus)
        session = await Session.open(endpoint(cyrus), Credentials(who.user, who.secret, mechanism))
        await session.close()
    assert [type(one) for one in made] == [Binding] * 3


async def test_no_binding_without_tls_or_beyond_python(dovecot: RealServer) -> None:
    who = someone(dovecot)
    session = await Session.open(endpoint(dovecot, "plain"), who)
    assert session.line().binding is None
    await session.close()
    session = await Session.open(endpoint(dovecot), who)
    binding = session.line().binding
    assert (binding is not None) == ("tls-exporter" in ssl.CHANNEL_BINDING_TYPES)
    await session.close()
