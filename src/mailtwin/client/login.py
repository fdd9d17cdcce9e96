"""Logging in and getting acquainted: which commands, in which order, in how few round trips.

Capabilities are asked for only when the server has not said them since the last change (rule R1). A NO to a password
is final; a BAD to one way of giving it lets the next be tried (quirk "initial-response-refused").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailtwin.client.endpoint import Credentials
from mailtwin.client.result import Result
from mailtwin.errors import LoginError, MailtwinError, ThrottledError, UnreachableError
from mailtwin.imap import sasl
from mailtwin.imap.commands import Authenticate, Capability, Command, Enable, Id, Login, Namespace
from mailtwin.imap.quirks import text_of

if TYPE_CHECKING:
    from mailtwin.client.session import Session

_WANTED = ("CONDSTORE", "QRESYNC")
_PASSING_CODES = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG"})


async def authenticate(session: Session, credentials: Credentials) -> None:
    """Logs in. Raises LoginError, ThrottledError, UnreachableError."""
    if not session.state.capabilities_known:
        await session.run(Capability())
    result: Result | None = None
    for command in _attempts(session, credentials):
        (result,) = await session.run_all([command])
        if result.ok:
            return
        if result.status is None or result.status.word == "NO":
            break
    raise _failure(session, credentials, result)


def _attempts(session: Session, credentials: Credentials) -> Iterator[Command]:
    user, secret, wanted = credentials.user, credentials.secret, credentials.mechanism
    mechanism = None
    if wanted == "xoauth2":
        mechanism = sasl.xoauth2(user, secret)
    elif wanted == "plain" or (wanted == "auto" and session.has("AUTH=PLAIN")):
        mechanism = sasl.plain(user, secret)
    if mechanism is not None:
        if session.has("SASL-IR"):
            yield Authenticate(mechanism, at_once=True)
        yield Authenticate(mechanism)
    if wanted in ("auto", "login") and not session.has("LOGINDISABLED"):
        yield Login(user, secret)


def _failure(session: Session, credentials: Credentials, result: Result | None) -> MailtwinError:
    host = session.endpoint.host
    if result is None:
        ways = sorted(name[5:] for name in session.state.capabilities if name.startswith("AUTH="))
        return LoginError(
            f"{host}: the server takes no password here; it offers {', '.join(ways) or 'no way to log in'}",
            hint="use tls or starttls" if session.endpoint.security == "plain" else "",
        )
    if result.status is None:
        return result.lost or UnreachableError(f"{host}: the login was not answered")
    error = result.error(host)
    if isinstance(error, ThrottledError | UnreachableError):
        return error
    said = _without_secret(_reasons(result), credentials)
    if result.code is not None and result.code.name in _PASSING_CODES:
        return UnreachableError(f"{host}: no login at the moment: {said}")
    return LoginError(
        f"{host}: the server refuses the login of {credentials.user}: {said}", hint=_hint(credentials)
    )


def _hint(credentials: Credentials) -> str:
    if credentials.mechanism == "xoauth2":
        return "the token may have expired or lack the scope for IMAP"
    return "check user and password; some providers want a password made for this one program"


def _reasons(result: Result) -> str:
    """What the server said in its reply and, for OAuth, in the challenge before it (RFC 7628 section 3.2.2)."""
    told = text_of(result.challenge)
    try:
        challenge = json.loads(result.challenge)
    except ValueError:
        challenge = None
    if isinstance(challenge, dict):
        told = ", ".join(
            f"{key} {value}"[:200] for key, value in sorted(challenge.items()) if isinstance(value, str)
        )
    return " ".join(part for part in (result.text or "no reason given", f"({told})" if told else "") if part)


def _without_secret(text: str, credentials: Credentials) -> str:
    secret = credentials.secret.reveal()
    return text.replace(secret, "***") if secret else text


async def introduce(session: Session) -> None:
    """Capabilities if they did not come with the login; then ID, NAMESPACE and ENABLE in one flight.

    ID comes before any SELECT: some servers insist. Only what is announced and used is enabled (rule R14).
    """
    if not session.state.capabilities_known:
        await session.run(Capability())
    commands: list[Command] = []
    if session.has("ID"):
        commands.append(Id())
    if session.has("NAMESPACE"):
        commands.append(Namespace())
    wanted = tuple(name for name in _WANTED if session.has(name))
    if session.has("ENABLE") and wanted:
        commands.append(Enable(wanted))
    for result in await session.run_all(commands):
        if result.lost is not None:
            raise result.lost
