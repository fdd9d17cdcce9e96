"""SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and neither sends it.

    C: n,,n=user,r=nonce
    S: r=nonce+more,s=salt,i=4096
    C: c=biws,r=nonce+more,p=proof
    S: v=signature

Without the server's valid signature there is no login, whatever the tagged reply says. The -PLUS variants bind the
exchange to the TLS connection below, so that nobody can stand in the middle with a certificate of his own.

The nonce comes from outside: nothing here is random.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mailtwin.errors import LocalProtocolError, RemoteProtocolError
from mailtwin.imap.sasl.base import Exchange, Mechanism, Secret, Unproven, refuse
from mailtwin.imap.sasl.oauth import escaped
from mailtwin.imap.sasl.prep import saslprep

Hash: TypeAlias = Literal["SHA-1", "SHA-256"]

ITERATIONS_MIN: Final = 4096
"""RFC 5802 section 5.1, RFC 7677 section 4: less, and whoever plays the server could guess the password at home."""

ITERATIONS_MAX: Final = 2_000_000
"""A second of computing; today's advice for stored passwords is 600,000."""

NONCE_BYTES_MAX: Final = 1024
SALT_BYTES_MAX: Final = 1024
"""Real ones have 16 to 64 bytes."""

_NONCE = re.compile(r"[!-+\--~]+")
_SERVER_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?", re.DOTALL)
_SERVER_FINAL = re.compile(r"v=([^,]*)(?:,.*)?", re.DOTALL)
_ERROR = "e="
_HASHES: dict[str, str] = {"SHA-1": "sha1", "SHA-256": "sha256"}


@dataclass(frozen=True, slots=True)
class Binding:
    """What names one TLS connection at both of its ends: `tls-exporter` (RFC 9266) or `tls-unique` (RFC 5929)."""

    kind: str
    data: bytes = field(repr=False)


def scram(
    user: str,
    secret: Secret,
    *,
    algorithm: Hash,
    nonce: str,
    binding: Binding | None = None,
    could_bind: bool = False,
) -> Mechanism:
    """SCRAM-`algorithm`, or its -PLUS variant with a `binding`. `nonce`: printable, no comma, never used before.

    `could_bind`: there is a binding, but the server does not offer -PLUS; it finds out if somebody hid that it does
    (RFC 5802 section 6). Raises LocalProtocolError for a user or password that SASLprep forbids.
    """
    if not _NONCE.fullmatch(nonce) or len(nonce) > NONCE_BYTES_MAX:
        raise LocalProtocolError("a SCRAM nonce is printable ASCII without commas")
    refuse("\0", user)
    if binding is not None:
        header, bound = f"p={binding.kind},,", binding.data
    else:
        header, bound = "y,," if could_bind else "n,,", b""
    terms = _Terms(
        _HASHES[algorithm],
        escaped(saslprep(user, stored=False)),
        saslprep(secret.reveal(), stored=True).encode(),
        nonce,
        header,
        bound,
    )
    return Mechanism(f"SCRAM-{algorithm}{'-PLUS' if binding else ''}", terms.exchange)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What one exchange is about."""

    hash_name: str
    user: str
    password: bytes = field(repr=False)
    nonce: str
    header: str
    bound: bytes

    def exchange(self) -> Exchange:
        client_first = f"n={self.user},r={self.nonce}"
        server_first = _text((yield (self.header + client_first).encode()))
        if server_first.startswith(_ERROR):
            yield from _refused()
        nonce, salt, iterations = self._read_first(server_first)
        header = base64.b64encode(self.header.encode() + self.bound).decode()
        client_final = f"c={header},r={nonce}"
        proof, signature = self._proofs(salt, iterations, f"{client_first},{server_first},{client_final}")
        server_final = _text((yield f"{client_final},p={proof}".encode()))
        if server_final.startswith(_ERROR):
            yield from _refused()
        _check_final(server_final, signature)
        yield b""

    def _read_first(self, text: str) -> tuple[str, bytes, int]:
        found = _SERVER_FIRST.fullmatch(text)
        if found is None:
            raise RemoteProtocolError("a SCRAM message that is none")
        nonce, iterations = found[1], int(found[3])
        if not nonce.startswith(self.nonce) or not len(self.nonce) < len(nonce) <= NONCE_BYTES_MAX:
            raise Unproven("the server answers somebody else's login (its nonce does not go on from ours)")
        if iterations < ITERATIONS_MIN:
            raise Unproven(
                f"the server wants a proof that is cheap to break ({iterations} iterations, "
                f"{ITERATIONS_MIN} are the least); the password was not used"
            )
        if iterations > ITERATIONS_MAX:
            raise RemoteProtocolError(
                f"the server wants a proof that takes too long ({iterations} iterations)"
            )
        return nonce, _salt(found[2]), iterations

    def _proofs(self, salt: bytes, iterations: int, about: str) -> tuple[str, bytes]:
        """The client's proof in base64 and the signature that the server has to give (RFC 5802 section 3)."""
        name = self.hash_name
        salted = hashlib.pbkdf2_hmac(name, self.password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", name)
        stored_key = hashlib.new(name, client_key).digest()
        client_signature = hmac.digest(stored_key, about.encode(), name)
        proof = bytes(a ^ b for a, b in zip(client_key, client_signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", name)
        return base64.b64encode(proof).decode(), hmac.digest(server_key, about.encode(), name)


def _text(challenge: bytes | None) -> str:
    """A challenge as text; None, because the server has accepted us before it proved anything, is refused."""
    if challenge is None:
        raise Unproven("the server accepts the login without having proved that it knows the password")
    try:
        return challenge.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("a SCRAM challenge that is no text") from None


def _salt(encoded: str) -> bytes:
    try:
        salt = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise RemoteProtocolError("a SCRAM salt that is not base64") from None
    if not 0 < len(salt) <= SALT_BYTES_MAX:
        raise RemoteProtocolError(f"a SCRAM salt of {len(salt)} bytes")
    return salt


def _check_final(text: str, signature: bytes) -> None:
    found = _SERVER_FINAL.fullmatch(text)
    if found is None:
        raise RemoteProtocolError("a SCRAM message that is none")
    try:
        given = base64.b64decode(found[1], validate=True)
    except ValueError:
        given = b""
    if not hmac.compare_digest(given, signature):
        raise Unproven("the server does not know the password: its signature is wrong")


def _refused() -> Exchange:
    """After the server's `e=` (RFC 5802 section 7): a tagged NO follows an empty answer, and never an OK."""
    _text((yield b""))
    raise RemoteProtocolError("the server goes on with a login that it broke off")
