"""Which ways to log in there are, best first: from what the server offers, what we have, and how safe the line is.

A password is best proven and not shown (SCRAM). Where it has to be shown it is inside TLS, on this machine or in a
tunnel, or the user has said that the way there is safe. CRAM-MD5 is only better than showing it on an open line.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailtwin.client.endpoint import Credentials
from mailtwin.imap import sasl
from mailtwin.imap.sasl import Mechanism

if TYPE_CHECKING:
    from mailtwin.imap.sasl.scram import Binding, Hash

NONCE_BYTES = 18


@dataclass(frozen=True, slots=True)
class Line:
    """The connection, as far as a login has to know it.

    `host` and `port` are those meant to be reached, `is_protected` says that nobody can listen, `binding` names the
    TLS connection at both of its ends where that is possible.
    """

    host: str
    port: int
    is_protected: bool
    binding: Binding | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """One way to log in: the LOGIN command (`make` is None), or a mechanism, made anew for each attempt.

    `make` raises LocalProtocolError for a user or secret that the mechanism cannot carry. `hides`: the server learns
    nothing from an attempt that fails, so that another way may follow.
    """

    name: str
    make: Callable[[], Mechanism] | None = None
    hides: bool = False


def choose(has: Callable[[str], bool], who: Credentials, line: Line) -> Iterator[Way]:
    """The ways to try, in order, given what the server `has`; none: it offers nothing for what we have."""
    match who.mechanism:
        case "auto":
            yield from _for_password(has, who, line)
        case "login":
            yield from _logins(has, who)
        case "scram-sha-1":
            yield from _scrams(has, who, line, ("SHA-1",), asked_for=True)
        case "scram-sha-256":
            yield from _scrams(has, who, line, ("SHA-256",), asked_for=True)
        case _:
            yield _single(who, line)


def _single(who: Credentials, line: Line) -> Way:
    user, secret = who.user, who.secret
    match who.mechanism:
        case "xoauth2":
            return Way("XOAUTH2", lambda: sasl.xoauth2(user, secret))
        case "oauthbearer":
            return Way("OAUTHBEARER", lambda: sasl.oauthbearer(user, secret, host=line.host, port=line.port))
        case "external":
            return Way("EXTERNAL", lambda: sasl.external(authorize_as=user))
        case "anonymous":
            return Way("ANONYMOUS", lambda: sasl.anonymous(user))
        case "cram-md5":
            return _cram(who)
        case _:
            return _plain(who)


def _for_password(has: Callable[[str], bool], who: Credentials, line: Line) -> Iterator[Way]:
    hiding = list(_scrams(has, who, line, ("SHA-256", "SHA-1"), asked_for=False))
    if not line.is_protected and has("AUTH=CRAM-MD5"):
        hiding.append(_cram(who))
    yield from hiding
    if hiding and not line.is_protected:
        # Whoever listens could make what hides the password fail, and wait for it to be shown.
        return
    if has("AUTH=PLAIN"):
        yield _plain(who)
    if has("AUTH=LOGIN"):
        yield _sasl_login(who)
    if not has("LOGINDISABLED"):
        yield Way("LOGIN")


def _logins(has: Callable[[str], bool], who: Credentials) -> Iterator[Way]:
    if not has("LOGINDISABLED"):
        yield Way("LOGIN")
    if has("AUTH=LOGIN"):
        yield _sasl_login(who)


def _scrams(
    has: Callable[[str], bool], who: Credentials, line: Line, hashes: tuple[Hash, ...], *, asked_for: bool
) -> Iterator[Way]:
    """The variants bound to the TLS connection come first; one that was asked for is tried unannounced, too."""
    bound = [algorithm for algorithm in hashes if has(f"AUTH=SCRAM-{algorithm}-PLUS")]
    if line.binding is not None:
        for algorithm in bound:
            yield Way(f"SCRAM-{algorithm}-PLUS", _scram(who, algorithm, line.binding), hides=True)
    could_bind = line.binding is not None and not bound
    for algorithm in hashes:
        if asked_for or has(f"AUTH=SCRAM-{algorithm}"):
            yield Way(f"SCRAM-{algorithm}", _scram(who, algorithm, None, could_bind=could_bind), hides=True)


def _scram(
    who: Credentials, algorithm: Hash, binding: Binding | None, *, could_bind: bool = False
) -> Callable[[], Mechanism]:
    def make() -> Mechanism:
        from mailtwin.imap.sasl.scram import scram  # with its tables, only where it is used

        nonce = secrets.token_urlsafe(NONCE_BYTES)
        return scram(
            who.user, who.secret, algorithm=algorithm, nonce=nonce, binding=binding, could_bind=could_bind
        )

    return make


def _cram(who: Credentials) -> Way:
    def make() -> Mechanism:
        from mailtwin.imap.sasl.cram import cram_md5

        return cram_md5(who.user, who.secret)

    return Way("CRAM-MD5", make)


def _plain(who: Credentials) -> Way:
    return Way("PLAIN", lambda: sasl.plain(who.user, who.secret))


def _sasl_login(who: Credentials) -> Way:
    return Way("LOGIN", lambda: sasl.login(who.user, who.secret))
