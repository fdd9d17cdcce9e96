"""Commands of a simulated server in any state and before authentication.

RFC 3501 sections 6.1 and 6.2, RFC 2971 (ID), RFC 4616 and 4959 (PLAIN, SASL-IR), RFC 5161 (ENABLE); XOAUTH2 as Google
and Microsoft document it.
"""

from __future__ import annotations

import base64
import binascii

from mailtwin.testing.manners import LoginCapabilities
from mailtwin.testing.simparse import BadCommand, Cursor, quote
from mailtwin.testing.simsession import Command, Needs, Refused, Reply, Session

__all__ = ["COMMANDS"]

_OAUTH_ERROR = base64.b64encode(b'{"status":"400","schemes":"bearer","scope":"mail"}').decode("ascii")


def _capability(session: Session, args: Cursor) -> Reply:
    args.end()
    session.untagged(session.capability_line().encode("ascii"))
    return Reply("Capabilities listed")


def _noop(_session: Session, args: Cursor) -> Reply:
    args.end()
    return Reply("Nothing done")


def _logout(session: Session, args: Cursor) -> Reply:
    args.end()
    session.leave_mailbox()
    session.bye("Good bye")
    return Reply("Logged out")


def _id(session: Session, args: Cursor) -> Reply:
    args.sp()
    if not args.skip(b"NIL"):
        strings = args.parenthesised(args.nstring, empty=True)
        if len(strings) % 2 or None in strings[::2]:
            raise BadCommand("ID takes pairs of field and value")
    args.end()
    pairs = [quote(text.encode("ascii")) for pair in session.manners.identity for text in pair]
    session.answer(b"ID (" + b" ".join(pairs) + b")" if pairs else b"ID NIL")
    return Reply("Pleased to meet you")


def _starttls(session: Session, args: Cursor) -> Reply:
    args.end()
    if session.setting.starttls is None or session.secure:
        raise BadCommand("STARTTLS is not available")
    session.wants_tls = True
    return Reply("Begin TLS")


def _login(session: Session, args: Cursor) -> Reply:
    args.sp()
    user = args.astring()
    args.sp()
    password = args.astring()
    args.end()
    return _check_password(session, user, password)


async def _authenticate(session: Session, args: Cursor) -> Reply:
    args.sp()
    mechanism = args.word()
    initial: bytes | None = None
    if args.skip(b" "):
        session.require("SASL-IR", "initial response")
        initial = args.rest()
    args.end()
    if mechanism not in session.manners.mechanisms or mechanism not in ("PLAIN", "XOAUTH2"):
        raise Refused("Unknown mechanism", "CANNOT")
    if initial is None:
        await session.ask("")
        initial = await session.wire.line()
    response = _decode(initial)
    if mechanism == "PLAIN":
        return _plain(session, response)
    return await _xoauth2(session, response)


def _decode(line: bytes) -> bytes:
    if line == b"*":
        raise BadCommand("Authentication cancelled")
    try:
        return b"" if line == b"=" else base64.b64decode(line, validate=True)
    except binascii.Error as bad:
        raise BadCommand("Bad base64") from bad


def _plain(session: Session, response: bytes) -> Reply:
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise BadCommand("Bad PLAIN response")
    authorize, user, password = parts
    if authorize not in (b"", user):
        raise Refused("No authorization as another user", "AUTHORIZATIONFAILED")
    return _check_password(session, user, password)


async def _xoauth2(session: Session, response: bytes) -> Reply:
    fields = dict(field.partition(b"=")[::2] for field in response.split(b"\x01") if field)
    user = fields.get(b"user", b"").decode("utf-8", "replace")
    scheme, _, token = fields.get(b"auth", b"").decode("utf-8", "replace").partition(" ")
    account = session.setting.mail.accounts.get(user)
    if session.login_disabled or account is None or account.token is None:
        right = False
    else:
        right = scheme.lower() == "bearer" and token == account.token and account.token_is_good
    if not right:
        # The reason comes as a challenge, to which the client must answer before it gets the tagged NO.
        await session.ask(_OAUTH_ERROR)
        await session.wire.line()
        raise Refused("Invalid credentials", "AUTHENTICATIONFAILED")
    return _welcome(session, user, by_token=True)


def _check_password(session: Session, user: bytes, password: bytes) -> Reply:
    if session.login_disabled:
        raise Refused("Passwords are taken in TLS only", "PRIVACYREQUIRED")
    name = user.decode("utf-8", "replace")
    account = session.setting.mail.accounts.get(name)
    if account is None or account.password.encode("utf-8") != password:
        raise Refused("Invalid credentials", "AUTHENTICATIONFAILED")
    return _welcome(session, name, by_token=False)


def _welcome(session: Session, user: str, *, by_token: bool) -> Reply:
    if session.manners.web_alert:
        link = "WEBALERT https://accounts.example.com/signin/continue"
        session.untagged(f"NO [{link}] Web login required.".encode("ascii"))
        raise Refused("Please log in via your web browser (Failure)", "ALERT")
    refusal = session.setting.meter.at_login(user)
    if refusal is not None:
        raise Refused(refusal.text, refusal.code)
    session.logged_in(user, by_token=by_token)
    how = session.manners.login_capabilities
    if how is LoginCapabilities.UNTAGGED:
        session.untagged(session.capability_line().encode("ascii"))
    return Reply("Logged in", session.capability_line() if how is LoginCapabilities.CODE else None)


def _enable(session: Session, args: Cursor) -> Reply:
    args.sp()
    names = [args.word()]
    while args.skip(b" "):
        names.append(args.word())
    args.end()
    enabled = [name for name in names if name in ("CONDSTORE", "QRESYNC") and session.manners.has(name)]
    if enabled:
        session.enable_condstore()
    session.qresync = session.qresync or "QRESYNC" in enabled
    if not session.manners.silent_enable:
        session.untagged(" ".join(["ENABLED", *enabled]).encode("ascii"))
    return Reply("Enabled")


COMMANDS = {
    "CAPABILITY": Command(_capability, Needs.ANYTHING),
    "NOOP": Command(_noop, Needs.ANYTHING, asks_for_news=True),
    "LOGOUT": Command(_logout, Needs.ANYTHING),
    "ID": Command(_id, Needs.ANYTHING, "ID"),
    "STARTTLS": Command(_starttls, Needs.NOT_AUTHENTICATED),
    "LOGIN": Command(_login, Needs.NOT_AUTHENTICATED),
    "AUTHENTICATE": Command(_authenticate, Needs.NOT_AUTHENTICATED),
    "ENABLE": Command(_enable, Needs.AUTHENTICATED, "ENABLE"),
}
"""By name."""
