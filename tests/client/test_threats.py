"""What a hostile server, or somebody in between, may try against a session; each test bears the name of the threat.

Those that need no socket are in `tests/imap/test_threats.py`; false SCRAM servers in `test_ways.py` and
`tests/imap/test_scram.py`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import time
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from tests.client.scripted import Drip, HangUp, Hear, Stall, StartTls, Step, greeting, scripted

from mailtwin.client import Credentials, Endpoint, Secret, Session, Timeouts
from mailtwin.client.deflate import PIECE_BYTES, Inflater
from mailtwin.client.endpoint import MechanismName
from mailtwin.client.masking import masked
from mailtwin.client.transport import Wire
from mailtwin.errors import LoginError, MailtwinError, RemoteProtocolError, TlsError, UnreachableError
from mailtwin.imap import commands as c
from mailtwin.imap.framing import Framer

PASSWORD = 'tr0ub4dor "&" \\3'
WHO = Credentials("user", Secret(PASSWORD))
NOBODY = Credentials("user")
SHORT = Timeouts(connect=2, greeting=2, reply=2, literal=2, close=0.3)


# --- STARTTLS injection and stripping: the password is never sent ---

STRIPPED: dict[str, tuple[list[Step], str]] = {
    "refused": (
        [b"* OK [CAPABILITY IMAP4rev1] hi\r\n", "A1 STARTTLS", b"A1 NO not here\r\n", Hear(b"")],
        "the server refuses STARTTLS: not here",
    ),
    "unknown": (
        [b"* OK hi\r\n", "A1 STARTTLS", b"A1 BAD what\r\n", Hear(b"")],
        "the server refuses STARTTLS: what",
    ),
    "logged in already": ([b"* PREAUTH welcome\r\n", Hear(b"")], "it greets with PREAUTH"),
    "behind the reply": (
        [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n* CAPABILITY AUTH=PLAIN\r\n", Hear(b"")],
        "sent data ahead of TLS",
    ),
    "in front of the handshake": (
        [
            b"* OK hi\r\n",
            "A1 STARTTLS",
            Drip(b"A1 OK go\r\n* CAPABILITY AUTH=PLAIN\r\nA2 OK in\r\n", 10, 0.05),
            Hear(b""),
        ],
        "TLS",
    ),
    "a BYE instead": (
        [b"* OK hi\r\n", "A1 STARTTLS", b"* BYE no\r\n", Hear(b"")],
        "closed the connection: no",
    ),
}


@pytest.mark.parametrize("name", STRIPPED)
async def test_starttls_injection_and_stripping(name: str) -> None:
    script, reason = STRIPPED[name]
    async with scripted(script, security="starttls", whole=False) as place:
        with pytest.raises((TlsError, RemoteProtocolError, UnreachableError), match=reason):
            await Session.open(place, WHO, timeouts=SHORT)


async def test_starttls_injection_while_tls_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a transport let something in the clear through, it is not read as if it had come inside TLS."""

    async def leaky(wire: Wire, _place: Endpoint, _timeout_s: float) -> None:
        wire._connection.receive_data(b"* CAPABILITY AUTH=PLAIN\r\n")

    monkeypatch.setattr(Wire, "start_tls", leaky)
    script: list[Step] = [b"* OK hi\r\n", "A1 STARTTLS", b"A1 OK go\r\n", Hear(b"")]
    async with scripted(script, security="starttls", whole=False) as place:
        with pytest.raises(RemoteProtocolError, match="sent data ahead of TLS"):
            await Session.open(place, WHO, timeouts=SHORT)


async def test_starttls_injection_of_capabilities() -> None:
    """What was announced in the clear (here: that only a weak way is offered) is not believed inside TLS."""
    plain = base64.b64encode(f"\0user\0{PASSWORD}".encode()).decode()
    script: list[Step] = [
        b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED FORGED] hi\r\n",
        "A1 STARTTLS",
        b"* CAPABILITY FORGED\r\nA1 OK [CAPABILITY FORGED] go\r\n",
        StartTls(),
        "A2 CAPABILITY",
        b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nA2 OK\r\n",
        f"A3 AUTHENTICATE PLAIN {plain}",
        b"A3 OK [CAPABILITY IMAP4rev1 REAL] in\r\n",
    ]
    async with scripted(script, security="starttls") as place:
        session = await Session.open(place, WHO, timeouts=SHORT)
        assert session.has("REAL")
        assert not session.has("FORGED")
        await session.abort()


# --- a downgrade of the login on an open line ---


@pytest.mark.parametrize("answer", [b"BAD no", b"NO no"])
@pytest.mark.parametrize("offered", ["AUTH=SCRAM-SHA-256", "AUTH=CRAM-MD5", "AUTH=SCRAM-SHA-1 AUTH=CRAM-MD5"])
async def test_login_downgrade_on_an_open_line(
    answer: bytes, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes the hidden ways fail is not rewarded with the password in the clear."""
    monkeypatch.setattr("mailtwin.client.endpoint._is_loopback", lambda _host: False)
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"* OK [CAPABILITY IMAP4rev1 {offered} AUTH=PLAIN AUTH=LOGIN] hi\r\n".encode())
        while line := await reader.readline():
            heard.extend(line)
            writer.write(line.split()[0] + b" " + answer + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LoginError):
        await Session.open(Endpoint("127.0.0.1", port, "plain", allow_plain=True), WHO, timeouts=SHORT)
    server.close()
    await server.wait_closed()
    assert b"AUTHENTICATE" in heard
    assert b"PLAIN" not in heard
    assert b"LOGIN" not in heard


# --- credentials in errors, logs and reprs ---

MECHANISMS: list[MechanismName] = ["plain", "login", "xoauth2", "oauthbearer", "cram-md5", "scram-sha-256"]


@asynccontextmanager
async def parrot(word: str, *, bye: bool = False) -> AsyncIterator[Endpoint]:
    """A server that answers every line with `word` and all that it heard so far, as it was and without base64."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1 SASL-IR] hi\r\n")
        heard = []
        while line := await reader.readline():
            heard.append(line.strip())
            tag = heard[0].split()[0]
            for text in line.split()[-1:]:
                try:
                    heard.append(base64.b64decode(text, validate=True).replace(b"\0", b" "))
                except ValueError:
                    pass
            if len(heard) < 4 and word == "+":
                writer.write(b"+ " + base64.b64encode(b"say it " + b" ".join(heard)) + b"\r\n")
            else:
                reply = b"* BYE" if bye else tag + b" " + (b"NO" if word == "+" else word.encode())
                writer.write(reply + b" I heard: " + b" ".join(heard) + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plain")
    finally:
        server.close()
        await server.wait_closed()


def forms(password: str) -> list[str]:
    """The ways in which the secret could be read in a text."""
    encoded = [
        base64.b64encode(text.encode()).decode().rstrip("=")[:-1]
        for text in (password, f"\0user\0{password}", f"user=user\x01auth=Bearer {password}\x01\x01")
    ]
    inside = base64.b64encode(f"xx{password}".encode()).decode()[4:-4]
    return [
        password,
        password.replace("\\", "\\\\").replace('"', '\\"'),
        repr(password)[1:-1],
        inside,
        *encoded,
    ]


def all_of(error: BaseException) -> str:
    """Everything that a log, a debugger's report or a person could show of an error."""
    told = io.StringIO()
    seen: BaseException | None = error
    while seen is not None:
        told.write(f"{seen!s}\n{seen!r}\n{vars(seen)!r}\n")
        seen = seen.__cause__ or seen.__context__
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    told.write("".join(line for line in report.format() if "tests/client" not in line))
    return told.getvalue()


@pytest.mark.parametrize("bye", [False, True])
@pytest.mark.parametrize("word", ["NO", "BAD", "NO [ALERT]", "NO [UNAVAILABLE]", "NO [LIMIT]", "+"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_credentials_in_errors_and_logs(
    mechanism: MechanismName, word: str, bye: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with parrot(word, bye=bye) as place:
        with pytest.raises(MailtwinError) as caught:
            await Session.open(place, Credentials("user", Secret(PASSWORD), mechanism), timeouts=SHORT)
    told = all_of(caught.value) + caplog.text
    for form in forms(PASSWORD):
        assert form not in told, form


async def test_credentials_in_whatever_a_login_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the error was not made by the login itself."""

    async def careless(_session: Session, who: Credentials) -> None:
        cause = ValueError(who.secret.reveal())
        raise UnreachableError("the server said " + who.secret.reveal(), hint=who.secret.reveal()) from cause

    monkeypatch.setattr("mailtwin.client.login._log_in", careless)
    async with scripted([b"* OK hi\r\n"]) as place:
        with pytest.raises(UnreachableError, match=r"the server said \*\*\*") as caught:
            await Session.open(place, WHO, timeouts=SHORT)
    error = caught.value
    for form in forms(PASSWORD):
        assert form not in f"{error!s} {error!r} {error.hint} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("password", ["pw", "correct-horse-battery-staple", "ü€😀", "x" * 3000, '=,\\"'])
@pytest.mark.parametrize("cut", [40, 80, 500, 10_000])
def test_credentials_cut_anywhere(password: str, cut: int) -> None:
    who = Credentials("user", Secret(password))
    for response in (f"\0user\0{password}", password, f"n,a=user,\x01auth=Bearer {password}\x01\x01"):
        text = base64.b64encode(response.encode()).decode()
        shown = masked(f"bad line: AUTHENTICATE {text[:cut]}", who)
        assert len(password) < 6 or text[20:40] not in shown
    assert masked("an innocent text of the server, NOTHING/more+1234567890=", who) == (
        "an innocent text of the server, NOTHING/more+1234567890="
    )


def test_credentials_in_reprs() -> None:
    endpoint = Endpoint("h", 1, "tls")
    for value in (WHO, WHO.secret, c.Login("user", WHO.secret), [WHO], {"a": WHO}, endpoint):
        for form in forms(PASSWORD):
            assert form not in f"{value!r} {value!s}"


# --- servers that never stop ---


@asynccontextmanager
async def endless(reply: bytes, *, preauth: bool = True, compress: bool = False) -> AsyncIterator[Endpoint]:
    """Greets, hears one line, and then says `reply` for ever, as fast as it is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = "PREAUTH" if preauth else "OK"
        writer.write(f"* {word} [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n".encode())
        stream = zlib.compressobj(9, wbits=-15)
        try:
            await reader.readline()
            writer.write(b"A1 OK\r\n" if compress else b"")
            while True:
                data = reply * (1000 if len(reply) < 1000 else 1)
                writer.write(stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH) if compress else data)
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], "plain", compress=compress)
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "word", [b"* BYE bye\r\n", b"* OK Still here\r\n", b"+ \r\n", b"\r\n", b"* 1 EXISTS\r\n", b"x"]
)
async def test_a_server_that_never_stops_answering_logout(word: bytes) -> None:
    async with endless(word) as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        began = time.monotonic()
        await session.close()
        assert time.monotonic() - began < 3
        assert not session.is_open


async def test_a_server_that_never_stops_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.UNASKED_MAX", 20_000)
    async with endless(b"* OK Still here\r\n") as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        with pytest.raises(RemoteProtocolError, match="does not stop"):
            await session.run(c.Noop())
        await session.abort()


async def test_what_nobody_asked_is_counted_between_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.UNASKED_MAX", 10)
    script: list[Step] = [greeting()]
    for number in range(1, 4):
        script += [f"A{number} NOOP", b"* OK x\r\n" * 10 + f"A{number} OK\r\n".encode()]
    async with scripted(script) as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        for _ in range(3):
            await session.run(c.Noop())
        await session.abort()


async def read_all(session: Session) -> None:
    async with aclosing(session.stream(c.List())) as answers:
        async for _ in answers:
            pass


async def test_an_answer_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.RESPONSES_MAX", 5000)
    async with endless(b'* LIST () "/" again\r\n') as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        with pytest.raises(RemoteProtocolError, match="more than 5000 responses"):
            await session.run(c.List())
        await session.abort()
    async with endless(b'* LIST () "/" again\r\n') as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        with pytest.raises(RemoteProtocolError, match="more than 5000 responses"):
            await read_all(session)
        await session.abort()


@pytest.mark.parametrize("word", [b"* OK again\r\n", b"* CAPABILITY AUTH=PLAIN\r\n", b"+ \r\n", b"x" * 100])
async def test_a_server_that_never_lets_us_in(word: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.UNASKED_MAX", 20_000)
    monkeypatch.setattr("mailtwin.client.session.RESPONSES_MAX", 20_000)
    async with endless(word, preauth=False) as place:
        with pytest.raises((RemoteProtocolError, UnreachableError)):
            await Session.open(place, WHO, timeouts=SHORT)


@pytest.mark.parametrize("challenge", [b"+ \r\n", b"+ eA==\r\n", b"+ !\r\n"])
@pytest.mark.parametrize("mechanism", ["plain", "login", "xoauth2", "scram-sha-256"])
async def test_a_server_that_never_stops_challenging(challenge: bytes, mechanism: MechanismName) -> None:
    async with endless(challenge, preauth=False) as place:
        with pytest.raises(MailtwinError):
            async with asyncio.timeout(10):
                await Session.open(place, Credentials("user", Secret("x"), mechanism), timeouts=SHORT)


async def test_progress_gives_patience_and_nothing_else_does() -> None:
    """Rule R15: a word of progress (RFC 9585) begins the wait anew; silence ends it."""
    progress = b'* OK [INPROGRESS ("A1" 1 9)] still at it\r\n'
    patience = Timeouts(reply=0.3, literal=0.3)
    async with scripted(
        [greeting(), "A1 NOOP", Drip(progress * 8, len(progress), 0.1), b"A1 OK\r\n"]
    ) as place:
        session = await Session.open(place, NOBODY, timeouts=patience)
        began = time.monotonic()
        await session.run(c.Noop())
        assert time.monotonic() - began > 0.6
        await session.abort()
    async with scripted([greeting(), "A1 NOOP", progress, Stall()]) as place:
        session = await Session.open(place, NOBODY, timeouts=patience)
        with pytest.raises(UnreachableError, match=r"no answer to NOOP within 0\.3 s"):
            await session.run(c.Noop())
        await session.abort()


# --- memory ---


@pytest.mark.parametrize(
    "word",
    [b"* OK [ALERT] " + b"x" * 500 + b"\r\n", b"* 1 FETCH (UID 1 FLAGS (a))\r\n", b"* LIST () NIL x\r\n"],
)
async def test_memory_is_bounded_whatever_is_said(word: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailtwin.client.session.UNASKED_MAX", 20_000)
    async with endless(word) as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        tracemalloc.start()
        with pytest.raises(RemoteProtocolError):
            await session.run(c.Id())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await session.abort()
    assert peak < 6_000_000


async def test_deflate_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"ratio_max": 10, "allowance_bytes": 2**20}
    monkeypatch.setattr("mailtwin.client.deflate.Inflater.__init__.__kwdefaults__", limits)
    async with endless(b"* OK " + b"z" * 60_000 + b"\r\n", compress=True) as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        tracemalloc.start()
        with pytest.raises(RemoteProtocolError, match=r"127\.0\.0\.1: .*inflate to more than") as caught:
            await session.run(c.Noop())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not session.is_open
        await session.abort()
    assert "compression off" in caught.value.hint
    assert peak < 8_000_000


def test_deflate_bomb_of_a_few_bytes() -> None:
    """However much a piece would inflate to, no more of it is ever held than one piece."""
    bomb = zlib.compressobj(9, wbits=-15)
    data = bomb.compress(bytes(64 * 2**20)) + bomb.flush()
    inflater = Inflater()
    inflater.feed(data)
    tracemalloc.start()
    pieces = 0
    while not inflater.is_empty and pieces < 100:
        assert len(inflater.take()) <= PIECE_BYTES
        pieces += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pieces == 100
    assert peak < 4 * PIECE_BYTES + 2 * len(data)


async def test_deflate_bomb_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**(Framer.__init__.__kwdefaults__ or {}), "line_bytes_max": 1_000_000}
    monkeypatch.setattr("mailtwin.imap.framing.Framer.__init__.__kwdefaults__", defaults)
    async with endless(bytes(1000).replace(b"\0", b"z"), compress=True) as place:
        session = await Session.open(place, NOBODY, timeouts=SHORT)
        with pytest.raises(RemoteProtocolError, match="line of more than"):
            await session.run(c.Noop())
        await session.abort()


async def test_a_connection_that_only_just_lives() -> None:
    async with scripted(
        [greeting(), "A1 NOOP", Drip(b"A1 OK done and done\r\n", 1, 0.01), HangUp()]
    ) as place:
        session = await Session.open(place, NOBODY, timeouts=Timeouts(reply=0.2, literal=0.2))
        assert (await session.run(c.Noop())).ok
        await session.abort()
