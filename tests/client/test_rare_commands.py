"""Quota, annotations, rights, order and structure as real servers tell them: each where it is announced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import pytest
from tests.client.test_real_servers import endpoint, someone

from mailtwin.client import Session
from mailtwin.client.result import Result
from mailtwin.errors import CommandRefusedError
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.imap.bodystructure import Multipart, sections
from mailtwin.imap.commands import acl, metadata, notify, ordered, quota
from mailtwin.imap.encode import OpenRange
from mailtwin.imap.envelope import Envelope
from mailtwin.imap.extensions import (
    Acl,
    ListedRights,
    Metadata,
    MyRights,
    Quota,
    QuotaRoots,
    Sorted,
    Threads,
    order_of,
)
from mailtwin.imap.fetchdata import read
from mailtwin.imap.linelimits import limit_of
from mailtwin.imap.needs import missing
from mailtwin.testing.realservers import Kind, RealServer

T = TypeVar("T")

MESSAGE = b"""\
From: "A (odd) one" <a@x.org>\r
To: team: b@x.org, c@x.org;\r
Subject: %b\r
Date: %b\r
Message-ID: <%b@x.org>\r
%bMIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="=x"\r
\r
--=x\r
Content-Type: text/plain; charset=utf-8\r
\r
text\r
--=x\r
Content-Type: message/rfc822\r
Content-Disposition: attachment; filename="a \\"b\\".eml"\r
\r
Subject: inside\r
\r
body\r
--=x--\r
"""


def values(result: Result, kind: type[T]) -> list[T]:
    """What answered, all of one kind."""
    assert result.complete, (result.status, result.incomplete)
    return [
        taken.value
        for taken in result.responses
        if isinstance(taken, r.Other) and isinstance(taken.value, kind)
    ]


@pytest.fixture
async def session(imap_server: RealServer) -> AsyncIterator[Session]:
    """Logged in, with three messages in INBOX, the second an answer to the first; INBOX is selected."""
    session = await Session.open(endpoint(imap_server), someone(imap_server))
    for subject, date, number, more in (
        (b"bread", b"Fri, 02 Jan 2026 10:00:00 +0000", b"1", b""),
        (b"Re: bread", b"Sat, 03 Jan 2026 10:00:00 +0000", b"2", b"In-Reply-To: <1@x.org>\r\n"),
        (b"apples", b"Thu, 01 Jan 2026 10:00:00 +0000", b"3", b""),
    ):
        await session.run(c.Append.of("INBOX", MESSAGE % (subject, date, number, more)))
    await session.run(c.Select("INBOX"))
    yield session
    await session.close()


def on(*kinds: Kind) -> pytest.MarkDecorator:
    """The servers that have what a test is about; `needs` makes sure that they say so."""
    return pytest.mark.parametrize("imap_server_kind", kinds, indirect=True)


def needs(session: Session, capability: str) -> None:
    assert session.has(capability), f"{capability} is not announced"


async def uids(session: Session) -> list[int]:
    result = await session.run(c.Search())
    (answer,) = result.responses
    assert isinstance(answer, r.Search)
    return list(answer.numbers)


async def test_sort_and_thread(session: Session) -> None:
    first, second, third = await uids(session)
    if session.has("SORT"):
        (by_date,) = values(await session.run(ordered.Sort(("DATE",))), Sorted)
        assert by_date.numbers == (third, first, second)
        keys = ("SUBJECT", c.Text("nowhere"))
        (nothing,) = values(await session.run(ordered.Sort(("REVERSE", "SIZE"), keys)), Sorted)
        assert nothing.numbers == ()
    needs(session, "THREAD=REFERENCES")
    (threads,) = values(await session.run(ordered.Thread()), Threads)
    members = {member.number: member.parent for thread in threads.threads for member in thread}
    assert members == {first: None, second: first, third: None}
    assert len(threads.threads) == 2


async def test_structures_and_envelopes(session: Session) -> None:
    result = await session.run(c.Fetch(OpenRange(1), ("ENVELOPE", "BODYSTRUCTURE", "BODY")))
    assert result.complete, result.incomplete
    fetches = [taken for taken in result.responses if isinstance(taken, r.Fetch)]
    assert len(fetches) == 3
    for fetch in fetches:
        envelope = read("ENVELOPE", fetch.extra["ENVELOPE"])
        assert isinstance(envelope, Envelope)
        assert envelope.from_[0].mailbox == b"a"
        assert {address.mailbox for address in envelope.to if address.host} == {b"b", b"c"}
        for name in ("BODYSTRUCTURE", "BODY"):
            structure = read(name, fetch.extra[name])
            assert isinstance(structure, Multipart)
            assert [section for section, _ in sections(structure)] == ["1", "2", "2.1"]
            attached = structure.parts[1]
            assert not isinstance(attached, Multipart)
            assert attached.envelope is not None
            assert attached.envelope.subject == b"inside"
        full = read("BODYSTRUCTURE", fetch.extra["BODYSTRUCTURE"])
        assert isinstance(full, Multipart)
        disposition = full.parts[1].extension.disposition
        assert disposition is not None
        assert disposition.parameters == {"filename": b'a "b".eml'}


@on("dovecot", "cyrus")
async def test_every_section_can_be_fetched(session: Session) -> None:
    needs(session, "BINARY")
    result = await session.run(c.Fetch(OpenRange(1), ("BINARY.PEEK[1]", "BINARY.SIZE[1]")))
    fetches = [taken for taken in result.responses if isinstance(taken, r.Fetch)]
    assert all(fetch.bodies["BINARY[1]"] == b"text" for fetch in fetches)
    assert all(read("BINARY.SIZE[1]", fetch.extra["BINARY.SIZE[1]"]) == 4 for fetch in fetches)


@on("cyrus")
async def test_object_identifiers(session: Session) -> None:
    needs(session, "OBJECTID")
    result = await session.run(c.Fetch(OpenRange(1), ("EMAILID", "THREADID")))
    assert result.complete
    ids = {
        read("EMAILID", taken.extra["EMAILID"]) for taken in result.responses if isinstance(taken, r.Fetch)
    }
    assert len(ids) == 3
    status = await session.run(c.StatusOf("INBOX", ("MAILBOXID",)))
    (answer,) = status.responses
    assert isinstance(answer, r.MailboxStatus)
    assert isinstance(answer.items["MAILBOXID"], bytes)


async def test_quota(session: Session) -> None:
    needs(session, "QUOTA")
    result = await session.run(quota.GetQuotaRoot("INBOX"))
    (roots,) = values(result, QuotaRoots)
    assert roots.mailbox == b"INBOX"
    assert {one.root for one in values(result, Quota)} <= set(roots.roots)


@on("dovecot", "cyrus")
async def test_annotations(session: Session) -> None:
    needs(session, "METADATA")
    entry = "/private/comment"
    for value in (b"short", b"two\r\nlines", "é".encode()):
        await session.run(metadata.SetMetadata("INBOX", {entry: value}))
        (said,) = values(await session.run(metadata.GetMetadata("INBOX", (entry,))), Metadata)
        assert said.values == {entry: value}
    await session.run(metadata.SetMetadata("INBOX", {entry: None}))
    gone = values(
        await session.run(metadata.GetMetadata("INBOX", (entry,), size_max=99, depth="0")), Metadata
    )
    assert not any(one.values.get(entry) for one in gone)


async def test_rights(session: Session, imap_server: RealServer) -> None:
    needs(session, "ACL")
    (mine,) = values(await session.run(acl.GetMyRights("INBOX")), MyRights)
    assert {"l", "r"} <= set(mine.rights)
    assert session.state.namespaces is not None
    box = session.state.namespaces.personal[0][0] + b"shared box"
    friend = imap_server.user().user
    await session.run(c.Create(box))
    await session.run(acl.SetAcl(box, friend, "lr"))
    (rights,) = values(await session.run(acl.GetAcl(box)), Acl)
    assert set(dict(rights.entries)[friend.encode()]) == {"l", "r"}
    (listed,) = values(await session.run(acl.ListRights(box, friend)), ListedRights)
    assert "l" in "".join((listed.always, *listed.groups))
    await session.run(acl.DeleteAcl(box, friend))
    (rights,) = values(await session.run(acl.GetAcl(box)), Acl)
    assert friend.encode() not in dict(rights.entries)


@on("dovecot")
async def test_notify(session: Session) -> None:
    needs(session, "NOTIFY")
    await session.run(c.Create("elsewhere"))
    watches = (
        notify.Watch("selected", ("MessageNew", "MessageExpunge")),
        notify.Watch("personal", ("MessageNew", "MessageExpunge", "MailboxName")),
    )
    result = await session.run(notify.Notify(watches, status=True))
    assert b"elsewhere" in {taken.name for taken in result.responses if isinstance(taken, r.MailboxStatus)}
    await session.run(notify.Notify())


async def test_how_long_a_line_may_be(session: Session) -> None:
    """What the table allows is taken."""
    limit = limit_of(session.state)
    filler = " ".join(["UNSEEN"] * ((limit.bytes_max - 40) // 7))
    result = await session.run(c.Search(tuple(filler.split())))
    assert result.ok


@on("dovecot", "cyrus")
async def test_sorted_results(session: Session) -> None:
    first, second, third = await uids(session)
    command = ordered.Sort(("DATE",), returns=("ALL", "COUNT"))
    assert not missing(command, session.state)
    (answer,) = (await session.run(command)).responses
    assert isinstance(answer, r.ESearch)
    assert order_of(answer) == (third, first, second)
    assert answer.items["COUNT"] == 3


async def test_quota_that_may_not_be_set(session: Session) -> None:
    """Not by a user of these servers: the refusal is one, and names no other quota."""
    with pytest.raises(CommandRefusedError):
        await session.run(quota.SetQuota("", {"STORAGE": 100_000}))
