"""The same working day with Dovecot, Cyrus and Courier, over each kind of connection."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Literal

import pytest
from tests.client.workout import workout

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.errors import LoginError, TlsError
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.testing.realservers import RealServer


def endpoint(server: RealServer, security: Literal["tls", "starttls", "plain"] = "tls") -> Endpoint:
    port = server.tls_port if security == "tls" else server.port
    return Endpoint("127.0.0.1", port, security, server.ca_file)


def someone(server: RealServer) -> Credentials:
    account = server.user()
    return Credentials(account.user, Secret(account.password))


@pytest.mark.parametrize("security", ["tls", "starttls", "plain"])
async def test_a_working_day(imap_server: RealServer, security: Literal["tls", "starttls", "plain"]) -> None:
    session = await Session.open(endpoint(imap_server, security), someone(imap_server))
    await workout(session)
    await session.close()


@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_ways_to_log_in(imap_server: RealServer, mechanism: Literal["plain", "login"]) -> None:
    who = someone(imap_server)
    session = await Session.open(endpoint(imap_server), Credentials(who.user, who.secret, mechanism))
    assert session.has("IMAP4REV1")
    await session.close()


async def test_a_wrong_password(imap_server: RealServer) -> None:
    wrong = Credentials(someone(imap_server).user, Secret("wrong"))
    with pytest.raises(LoginError) as caught:
        await Session.open(endpoint(imap_server), wrong)
    assert "wrong" not in str(caught.value)


async def test_a_certificate_that_nobody_trusts(imap_server: RealServer) -> None:
    with pytest.raises(TlsError, match="not trusted"):
        await Session.open(Endpoint("127.0.0.1", imap_server.tls_port, "tls"), someone(imap_server))


async def test_idle_tells_of_new_mail(imap_server: RealServer) -> None:
    who = someone(imap_server)
    watching = await Session.open(endpoint(imap_server), who)
    writing = await Session.open(endpoint(imap_server), who)
    await watching.run(c.Select("INBOX"))
    news: list[object] = []

    async def watch() -> None:
        async with aclosing(watching.idle(max_s=20)) as answers:
            async for answer in answers:
                news.append(answer)
                if isinstance(answer, r.Exists):
                    watching.stop_idle()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await asyncio.sleep(0.5)
        assert (await writing.run(c.Append.of("INBOX", b"Subject: new\r\n\r\n"))).ok
    assert r.Exists(1) in news
    await watching.close()
    await writing.close()


async def test_tokens(dovecot: RealServer) -> None:
    account = dovecot.user()
    token = Secret(dovecot.oauth_token(account))
    session = await Session.open(endpoint(dovecot), Credentials(account.user, token, "xoauth2"))
    await session.close()
    expired = Secret(dovecot.oauth_token(account, valid_s=-10))
    with pytest.raises(LoginError, match="status 401") as caught:
        await Session.open(endpoint(dovecot), Credentials(account.user, expired, "xoauth2"))
    assert expired.reveal() not in str(caught.value)
