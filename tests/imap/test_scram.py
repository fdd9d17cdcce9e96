"""SCRAM: the examples of RFC 5802 and 7677, a server that checks, and how a false server betrays itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.errors import LocalProtocolError, MailtwinError, RemoteProtocolError, Retry
from mailtwin.imap import Connection, Ended, Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap.sasl import scram as module
from mailtwin.imap.sasl.prep import saslprep
from mailtwin.imap.sasl.scram import ITERATIONS_MAX, ITERATIONS_MIN, Binding, Hash, scram

PENCIL = Secret("pencil")

EXAMPLES: dict[Hash, tuple[str, str, str, str, str]] = {
    "SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


def said(text: str) -> bytes:
    return b"+ " + base64.b64encode(text.encode()) + b"\r\n"


def sent(connection: Connection) -> bytes:
    return bytes(connection.data_to_send())


class Talk:
    """A connection in the middle of a login."""

    def __init__(self, mechanism: sasl.Mechanism) -> None:
        self.connection = Connection()
        self.connection.receive_data(b"* OK [CAPABILITY IMAP4rev1 SASL-IR] hi\r\n")
        self.connection.next_event()
        self.handle = self.connection.send(c.Authenticate(mechanism, at_once=True))
        self.first = base64.b64decode(sent(self.connection).split()[-1]).decode()

    def hear(self, line: bytes) -> list[object]:
        self.connection.receive_data(line)
        events: list[object] = []
        while (event := self.connection.next_event()) is not None:
            events.append(event)
        return events

    def answer(self, text: str) -> str:
        """What the client says to this challenge."""
        self.hear(said(text))
        return base64.b64decode(sent(self.connection)).decode()


@pytest.mark.parametrize("algorithm", EXAMPLES)
def test_examples(algorithm: Hash) -> None:
    nonce, client_first, server_first, client_final, server_final = EXAMPLES[algorithm]
    mechanism = scram("user", PENCIL, algorithm=algorithm, nonce=nonce)
    assert mechanism.name == f"SCRAM-{algorithm}"
    talk = Talk(mechanism)
    assert talk.first == client_first
    assert talk.answer(server_first) == client_final
    assert talk.answer(server_final) == ""
    (ended,) = talk.hear(b"A1 OK in\r\n")
    assert isinstance(ended, Ended)


# --- a server that knows the password, written from RFC 5802 section 3 ---


class Server:
    """What a server keeps (a salt and two keys), and how it checks."""

    def __init__(self, password: bytes, algorithm: Hash, iterations: int = 4096) -> None:
        self.name = {"SHA-1": "sha1", "SHA-256": "sha256"}[algorithm]
        self.salt = b"salt of the server"
        self.iterations = iterations
        salted = hashlib.pbkdf2_hmac(self.name, password, self.salt, iterations)
        self.stored_key = hashlib.new(self.name, self._hmac(salted, b"Client Key")).digest()
        self.server_key = self._hmac(salted, b"Server Key")

    def _hmac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.name).digest()

    def first(self, client_first: str) -> str:
        self.bare = client_first.split(",", 2)[2]
        self.header = client_first[: -len(self.bare)]
        nonce = self.bare.rpartition("r=")[2]
        self.said = f"r={nonce}TAIL,s={base64.b64encode(self.salt).decode()},i={self.iterations}"
        return self.said

    def final(self, client_final: str, bound: bytes = b"") -> str | None:
        """The signature, or None when the proof or the binding is wrong."""
        without_proof, _, proof = client_final.rpartition(",p=")
        if base64.b64decode(without_proof.split(",")[0][2:]) != self.header.encode() + bound:
            return None
        about = f"{self.bare},{self.said},{without_proof}".encode()
        signature = self._hmac(self.stored_key, about)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.new(self.name, key).digest() != self.stored_key:
            return None
        return "v=" + base64.b64encode(self._hmac(self.server_key, about)).decode()


@pytest.mark.parametrize("algorithm", EXAMPLES)
@pytest.mark.parametrize(
    ("user", "password"),
    [("u", "p"), ("a,b=c", "d,e=f"), ("üser", "pässword"), ("u", "I\u00adX"), ("u", "\u2168 x\u00a0y")],
)
def test_a_server_that_checks(algorithm: Hash, user: str, password: str) -> None:
    talk = Talk(scram(user, Secret(password), algorithm=algorithm, nonce="abc"))
    stored = unicodedata.normalize("NFKC", password.replace("\u00ad", "").replace("\u00a0", " "))
    server = Server(stored.encode(), algorithm)
    escaped = user.replace("=", "=3D").replace(",", "=2C")
    assert talk.first == f"n,,n={escaped},r=abc"
    signature = server.final(talk.answer(server.first(talk.first)))
    assert signature is not None
    assert talk.answer(signature + ",extension=1") == ""
    assert len(talk.hear(b"A1 OK in\r\n")) == 1


@pytest.mark.parametrize(
    ("binding", "could_bind", "header"),
    [
        (None, False, "n,,"),
        (None, True, "y,,"),
        (Binding("tls-unique", b"finished\0\xff"), False, "p=tls-unique,,"),
        (Binding("tls-exporter", b"\x01" * 32), True, "p=tls-exporter,,"),
    ],
)
def test_bindings(binding: Binding | None, could_bind: bool, header: str) -> None:
    mechanism = scram(
        "user", PENCIL, algorithm="SHA-256", nonce="abc", binding=binding, could_bind=could_bind
    )
    assert mechanism.name == ("SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256")
    talk, server = Talk(mechanism), Server(b"pencil", "SHA-256")
    assert talk.first == f"{header}n=user,r=abc"
    final = talk.answer(server.first(talk.first))
    assert server.final(final, binding.data if binding else b"") is not None
    assert server.final(final, b"somebody in the middle") is None
    assert "finished" not in repr(binding)


# --- false servers ---


def begun(nonce: str = "abc") -> Talk:
    return Talk(scram("user", PENCIL, algorithm="SHA-256", nonce=nonce))


def challenged() -> tuple[Talk, str]:
    """A login after the client's proof, and the right signature."""
    talk, server = begun(), Server(b"pencil", "SHA-256")
    signature = server.final(talk.answer(server.first(talk.first)))
    assert signature is not None
    return talk, signature


@pytest.mark.parametrize(
    "challenge",
    [
        "r=abcTAIL,s=c2FsdA==,i=1",
        f"r=abcTAIL,s=c2FsdA==,i={ITERATIONS_MIN - 1}",
        "r=abc,s=c2FsdA==,i=4096",
        "r=xyzTAIL,s=c2FsdA==,i=4096",
    ],
)
def test_a_weaker_proof_than_is_safe_is_never_given(challenge: str) -> None:
    talk = begun()
    with pytest.raises(sasl.Unproven) as caught:
        talk.hear(said(challenge))
    assert caught.value.retry is Retry.NEVER
    assert "pencil" not in str(caught.value)
    with pytest.raises(sasl.Unproven):
        talk.connection.data_to_send()


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "r=abcTAIL",
        "r=abcTAIL,s=c2FsdA==",
        "r=abcTAIL,s=!,i=4096",
        "r=abcTAIL,s=é,i=4096",
        "r=abcTAIL,s=c2Fsd,i=4096",
        "r=abcTAIL,s=,i=4096",
        "r=abcTAIL,s====,i=4096",
        "r=abcTAIL,s=c2FsdA==,i=0",
        "r=abcTAIL,s=c2FsdA==,i=-4096",
        "r=abcTAIL,s=c2FsdA==,i=99999999999",
        f"r=abcTAIL,s=c2FsdA==,i={ITERATIONS_MAX + 1}",
        "m=new,r=abcTAIL,s=c2FsdA==,i=4096",
        f"r=abcTAIL,s={base64.b64encode(bytes(1025)).decode()},i=4096",
    ],
)
def test_nonsense(challenge: str) -> None:
    with pytest.raises(RemoteProtocolError):
        begun().hear(said(challenge))


def test_a_challenge_that_is_no_text() -> None:
    with pytest.raises(RemoteProtocolError):
        begun().hear(b"+ /w==\r\n")


def test_the_limits_themselves_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ITERATIONS_MIN == 4096
    monkeypatch.setattr(module, "ITERATIONS_MAX", 5000)
    for iterations in (4096, 5000):
        talk, server = begun(), Server(b"pencil", "SHA-256", iterations)
        assert server.final(talk.answer(server.first(talk.first))) is not None
    long = "r=abc" + "x" * (module.NONCE_BYTES_MAX - 3)
    assert begun().answer(f"{long},s={base64.b64encode(bytes(1024)).decode()},i=4096")
    with pytest.raises(sasl.Unproven):
        begun().answer(f"{long}x,s=c2FsdA==,i=4096")


@pytest.mark.parametrize("signature", ["v=", "v=AAAA", "v=!", "v=é", "x=y", ""])
def test_a_wrong_signature(signature: str) -> None:
    talk, right = challenged()
    with pytest.raises(RemoteProtocolError):
        talk.hear(said(signature))
    other, _ = challenged()
    wrong = bytearray(base64.b64decode(right[2:]))
    wrong[0] ^= 1
    with pytest.raises(sasl.Unproven):
        other.hear(said("v=" + base64.b64encode(wrong).decode()))


def test_an_ok_before_the_first_challenge() -> None:
    with pytest.raises(sasl.Unproven):
        begun().hear(b"A1 OK in\r\n")


def test_an_ok_before_the_signature() -> None:
    talk, _ = challenged()
    with pytest.raises(sasl.Unproven, match="without having proved"):
        talk.hear(b"A1 OK in\r\n")


def test_an_ok_after_a_challenge_that_was_no_base64() -> None:
    talk, _ = challenged()
    talk.hear(b"+ !!!\r\n")
    assert sent(talk.connection) == b"*\r\n"
    with pytest.raises(sasl.Unproven):
        talk.hear(b"A1 OK in\r\n")


def test_an_error_in_words_is_followed_by_a_no() -> None:
    talk, _ = challenged()
    assert talk.answer("e=invalid-proof") == ""
    (ended,) = talk.hear(b"A1 NO no\r\n")
    assert isinstance(ended, Ended)
    assert talk.handle.challenge == b"e=invalid-proof"


@pytest.mark.parametrize("after", [b"A1 OK in\r\n", b"+ \r\n", b"+ \r\nA1 OK in\r\n"])
def test_an_error_in_words_is_never_followed_by_an_ok(after: bytes) -> None:
    for talk in (begun(), challenged()[0]):
        talk.hear(said("e=other-error"))
        with pytest.raises(RemoteProtocolError):
            talk.hear(after)


def test_a_challenge_after_the_signature_cancels() -> None:
    talk, signature = challenged()
    assert talk.answer(signature) == ""
    talk.hear(said("more"))
    assert sent(talk.connection) == b"*\r\n"


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"r=abcT,s=c2FsdA==,i=4096", b"e=x"]), max_size=4))
def test_no_words_make_an_impostor_believed(challenges: list[bytes]) -> None:
    talk = begun()
    try:
        for challenge in challenges:
            talk.hear(b"+ " + base64.b64encode(challenge) + b"\r\n")
        events = talk.hear(b"A1 OK in\r\n")
    except MailtwinError:
        return
    pytest.fail(f"logged in: {events}")


# --- what goes in ---


@pytest.mark.parametrize("nonce", ["", "a,b", "a b", "ä", "x" * 1025])
def test_bad_nonces(nonce: str) -> None:
    with pytest.raises(LocalProtocolError):
        scram("user", PENCIL, algorithm="SHA-1", nonce=nonce)


@pytest.mark.parametrize(
    ("user", "password"), [("", "x"), ("a\0", "x"), ("u", "a\x07b"), ("u", "\U0001f600")]
)
def test_bad_users_and_passwords(user: str, password: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        scram(user, Secret(password), algorithm="SHA-256", nonce="abc")
    assert password not in str(caught.value) or password == "x"


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("\u0627 1 \u0628", "\u0627 1 \u0628"),
        ("", ""),
        ("\u00ad", ""),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text, stored=True) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\u0007",
        "é\u0007",
        "\u0627\u0031",
        "\u0627x\u0628",
        "\ue000",
        "\ufdd0",
        "\ud800",
        "\u2ff0",
        "\u200e",
    ],
)
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="SASLprep") as caught:
        saslprep(text, stored=True)
    assert text not in str(caught.value)


def test_saslprep_lets_newer_characters_ask_but_not_be_stored() -> None:
    assert saslprep("\u0221", stored=False) == "\u0221"
    with pytest.raises(LocalProtocolError):
        saslprep("\u0221", stored=True)


@given(st.text(max_size=40))
def test_saslprep_is_stable(text: str) -> None:
    try:
        prepared = saslprep(text, stored=True)
    except LocalProtocolError:
        return
    assert saslprep(prepared, stored=True) == prepared
