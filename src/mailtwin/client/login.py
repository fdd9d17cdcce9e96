"""Logging in and getting acquainted: which commands, in which order, in how few round trips.

Capabilities are asked for only when the server has not said them since the last change (rule R1). A NO to a password
is final. The next way is tried only when the last one did not come so far: after a BAD, and after a NO to a SCRAM
exchange in which the server has not said anything yet (it keeps this password in a form that SCRAM cannot use).

Which ways there are: `ways`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailtwin.client import ways
from mailtwin.client.endpoint import Credentials
from mailtwin.client.masking import clean, masked
from mailtwin.client.result import Result
from mailtwin.errors import LocalProtocolError, LoginError, MailtwinError, ThrottledError, UnreachableError
from mailtwin.imap.codes import referral_of
from mailtwin.imap.commands import Authenticate, Capability, Command, Enable, Id, Login, Namespace
from mailtwin.imap.quirks import text_of

if TYPE_CHECKING:
    from mailtwin.client.session import Session

_WANTED = ("CONDSTORE", "QRESYNC")
_PASSING_CODES = frozenset({"UNAVAILABLE", "INUSE", "SERVERBUG"})
_TOKENS = frozenset({"xoauth2", "oauthbearer"})
_WITHOUT_SECRET = frozenset({"external", "anonymous"})
_DETAILS_MAX = 20
_CHALLENGES = (b"r=", b"v=", b"<", b"Username", b"Password", b"User Name")
"""How challenges begin that say nothing to people."""


class TokenRefused(LoginError):
    """The server refused an access token; `details` is what it said about it (RFC 7628 section 3.2.2), such as
    `status`, `scope` and `openid-configuration`.
    """

    def __init__(self, message: str, details: Mapping[str, str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.details = details


class Referred(LoginError):
    """The server sends us to another one (RFC 2221); `url` is where to.

    Never followed by itself: whoever can play one server could name another, and be given the password there.
    """

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message, hint=f"it names another server: {url}; if that is right, use its host name")
        self.url = url


class NamespaceEndsIt(UnreachableError):
    """The connection was lost, without a word, over the question for the namespaces."""


async def authenticate(session: Session, credentials: Credentials) -> None:
    """Logs in. Raises LoginError, ThrottledError, UnreachableError, and RemoteProtocolError (`sasl.Unproven` among
    them) when the server plays false. No error shows the secret, whatever the server says.
    """
    try:
        refusal = await _log_in(session, credentials)
    except MailtwinError as error:
        clean(error, credentials)
        raise
    if refusal is not None:
        # Raised here, where a report of the stack cannot show what the server repeated of our words.
        raise refusal


async def _log_in(session: Session, credentials: Credentials) -> MailtwinError | None:
    """The reason why not, or None. Raises what ends the connection."""
    if not credentials.secret.reveal() and credentials.mechanism not in _WITHOUT_SECRET:
        return LoginError(
            f"{session.endpoint.host}: the server wants {credentials.user} to log in, and there is no password",
            hint="give the store one of password_command, password_file and password_env",
        )
    if not session.state.capabilities_known:
        await session.run(Capability())
    result: Result | None = None
    unusable: LocalProtocolError | None = None
    for way in ways.choose(session.has, credentials, session.line()):
        try:
            result = await _attempt(session, way, credentials)
        except LocalProtocolError as error:
            unusable = error
            continue
        if result.ok:
            return None
        if not _may_go_on(result, way):
            break
    refusal = _failure(session, credentials, result, unusable)
    clean(refusal, credentials)
    return refusal


async def _attempt(session: Session, way: ways.Way, credentials: Credentials) -> Result:
    """One way to log in; without its initial response when the server refuses that (quirk of the same name)."""
    if way.make is None:
        return await _ask(session, Login(credentials.user, credentials.secret))
    mechanism = way.make()
    if mechanism.client_first and session.has("SASL-IR"):
        result = await _ask(session, Authenticate(mechanism, at_once=True))
        if result.status is None or result.status.word != "BAD":
            return result
        mechanism = way.make()
    return await _ask(session, Authenticate(mechanism))


async def _ask(session: Session, command: Command) -> Result:
    (result,) = await session.run_all([command])
    if isinstance(result.lost, LocalProtocolError) and not result.sent:
        raise result.lost
    return result


def _may_go_on(result: Result, way: ways.Way) -> bool:
    if result.status is None or result.is_pause or _is_passing(result):
        return False
    return result.status.word == "BAD" or (way.hides and result.challenges == 0)


def _is_passing(result: Result) -> bool:
    return result.code is not None and result.code.name in _PASSING_CODES


def _failure(
    session: Session, credentials: Credentials, result: Result | None, unusable: LocalProtocolError | None
) -> MailtwinError:
    host = session.endpoint.host
    if result is None and unusable is not None:
        return LoginError(f"{host}: no login was tried: {unusable.message}", hint=unusable.hint)
    if result is None:
        offered = sorted(name[5:] for name in session.state.capabilities if name.startswith("AUTH="))
        return LoginError(
            f"{host}: the server takes no password here; it offers {', '.join(offered) or 'no way to log in'}",
            hint="use tls or starttls" if session.endpoint.security == "plain" else "",
        )
    if result.status is None:
        return result.lost or UnreachableError(f"{host}: the login was not answered")
    error = result.error(host)
    if isinstance(error, ThrottledError | UnreachableError):
        return error
    said = _said(result, credentials)
    if _is_passing(result):
        return UnreachableError(f"{host}: no login at the moment: {said}")
    message = f"{host}: the server refuses the login of {credentials.user}: {said}"
    url = _shown(referral_of(result.code).encode(), credentials)
    if url:
        return Referred(message, url)
    if credentials.mechanism in _TOKENS:
        details = _details(result.challenge, credentials)
        return TokenRefused(message, details, hint="the token may have expired or lack the scope for IMAP")
    return LoginError(
        message, hint="check user and password; some providers want a password made for this one program"
    )


def _said(result: Result, credentials: Credentials) -> str:
    """What the server said in its reply and in the last challenge, without the secret, which it may have repeated."""
    details = _details(result.challenge, credentials)
    told = ", ".join(f"{name} {value[:200]}" for name, value in details.items())
    if not told and not result.challenge.startswith(_CHALLENGES):
        told = _shown(result.challenge, credentials)
    text = _shown(result.status.text, credentials) if result.status is not None else ""
    return " ".join(filter(None, (text or "no reason given", f"({told})" if told else "")))


def _details(challenge: bytes, credentials: Credentials) -> dict[str, str]:
    """What the JSON in a challenge says, by name (RFC 7628 section 3.2.2); nothing if it is none."""
    try:
        said = json.loads(challenge)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    texts = {name: value for name, value in said.items() if isinstance(value, str)}
    return {
        _shown(name.encode(), credentials): _shown(texts[name].encode("utf-8", "replace"), credentials)
        for name in sorted(texts)[:_DETAILS_MAX]
    }


def _shown(text: bytes, credentials: Credentials) -> str:
    """A server's text for people; the secret goes before the text is cut."""
    return text_of(masked(text.decode("utf-8", "replace"), credentials).encode("utf-8", "replace"))


async def introduce(session: Session, *, ask_namespace: bool = True) -> None:
    """Capabilities if they did not come with the login; then ID, NAMESPACE and ENABLE in one flight.

    ID comes before any SELECT: some servers insist. Only what is announced and used is enabled (rule R14): UTF8=ACCEPT
    where nothing works without it, since modified UTF-7 can say every name; never IMAP4rev2. Raises `NamespaceEndsIt`,
    and what a lost connection raises.
    """
    if not session.state.capabilities_known:
        await session.run(Capability())
    commands: list[Command] = []
    if session.has("ID"):
        commands.append(Id())
    if session.has("NAMESPACE") and ask_namespace:
        commands.append(Namespace())
    wanted = tuple(name for name in _WANTED if session.has(name))
    if session.has("UTF8=ONLY"):
        wanted += ("UTF8=ACCEPT",)
    if session.has("ENABLE") and wanted:
        commands.append(Enable(wanted))
    for result in await session.run_all(commands):
        if result.lost is not None:
            broken_off = type(result.lost) is UnreachableError and session.state.bye is None
            if isinstance(result.command, Namespace) and broken_off:
                raise NamespaceEndsIt(result.lost.message)
            raise result.lost
