"""One working day of a session, the same for every server: create, upload, list, read, flag, copy, move, remove."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime

from mailtwin.client import Session
from mailtwin.imap import LiteralChunk, OpenRange
from mailtwin.imap import commands as c
from mailtwin.imap import responses as r
from mailtwin.model import UidSet

WHEN = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
SMALL = [b"Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\nbody %d\r\n" % (n, n, n) for n in range(40)]
LARGE = b"Subject: large\r\nMessage-ID: <large@x>\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 40_000


def prefix_of(session: Session) -> str:
    spaces = session.state.namespaces
    return session.decode_name(spaces.personal[0][0]) if spaces is not None and spaces.personal else ""


async def listing(session: Session) -> dict[int, frozenset[str]]:
    result = await session.run(c.Fetch(OpenRange(1), ("FLAGS",)))
    assert result.complete
    flags: dict[int, frozenset[str]] = {}
    for fetch in result.responses:
        if isinstance(fetch, r.Fetch) and fetch.uid is not None and fetch.flags is not None:
            flags[fetch.uid] = frozenset(fetch.flags) - {"\\Recent"}
    return flags


async def body_of(session: Session, uid: int) -> bytes:
    body = bytearray()
    async with aclosing(session.stream(c.Fetch(UidSet.of([uid]), ("BODY.PEEK[]",)))) as answers:
        async for answer in answers:
            if isinstance(answer, LiteralChunk):
                body += answer.data
            elif isinstance(answer, r.Fetch) and isinstance(answer.bodies.get(""), bytes):
                inline = answer.bodies[""]
                assert isinstance(inline, bytes)
                body += inline
    return bytes(body)


async def workout(session: Session) -> None:
    """Raises AssertionError or an error of ours where the server and the session do not understand each other."""
    box, other = prefix_of(session) + "Bücher & mehr", prefix_of(session) + "other"
    await session.run_all([c.Create(box), c.Create(other)])
    listed = (await session.run(c.List())).responses
    names = {session.decode_name(item.name) for item in listed if isinstance(item, r.ListItem)}
    assert {box, other, "INBOX"} <= names

    results = await session.run_all(
        [c.Append.of(box, message, flags=["\\Seen"], date=WHEN) for message in SMALL]
    )
    assert all(result.ok for result in results)
    pieces = (LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))
    assert (await session.run(c.Append(box, pieces, len(LARGE)))).ok

    await session.run(c.Select(box, condstore=session.has("CONDSTORE")))
    selected = session.state.selected
    assert selected is not None
    assert selected.exists == len(SMALL) + 1
    flags = await listing(session)
    uids = sorted(flags)
    assert [flags[uid] for uid in uids] == [frozenset({"\\Seen"})] * len(SMALL) + [frozenset()]
    assert await body_of(session, uids[3]) == SMALL[3]
    assert await body_of(session, uids[-1]) == LARGE
    attributes = ("INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]")
    about = (await session.run(c.Fetch(UidSet.of(uids[:1]), attributes))).responses
    assert {fetch.internal_date for fetch in about if isinstance(fetch, r.Fetch)} - {None} == {WHEN}
    assert {fetch.size for fetch in about if isinstance(fetch, r.Fetch)} - {None} == {len(SMALL[0])}

    await session.run(c.Store(UidSet.of(uids[:5]), "+", frozenset({"\\Flagged"})))
    await session.run(c.Store(UidSet.of(uids[:2]), "-", frozenset({"\\Seen"})))
    assert (await listing(session))[uids[0]] == {"\\Flagged"}
    copied = await session.run(c.Copy(UidSet.of(uids[:3]), other))
    if session.has("UIDPLUS"):
        assert copied.code is not None
        assert copied.code.name == "COPYUID"
    if session.has("MOVE"):
        moved = await session.run(c.Move(UidSet.of(uids[5:7]), other))
        code = moved.find_code("COPYUID")
        assert code is not None
        assert selected.exists == len(SMALL) - 1
    await session.run(c.Store(UidSet.of(uids[:2]), "+", frozenset({"\\Deleted"})))
    await session.run(c.UidExpunge(UidSet.of(uids[:1])) if session.has("UIDPLUS") else c.Expunge())
    left = await listing(session)
    assert uids[0] not in left
    assert len(left) == selected.exists

    status = await session.run(c.StatusOf(other, ("MESSAGES", "UIDNEXT", "UIDVALIDITY")))
    (counted,) = [one for one in status.responses if isinstance(one, r.MailboxStatus)]
    assert counted.items["MESSAGES"] == (5 if session.has("MOVE") else 3)
    found = await session.run(c.Search(("HEADER", c.Text("Message-ID"), c.Text("<9@x>"))))
    assert [one.numbers for one in found.responses if isinstance(one, r.Search)] == [(uids[9],)]

    await session.run(c.Rename(other, prefix_of(session) + "renamed"))
    await session.run(c.Examine("INBOX"))
    assert session.state.selected is not None
    assert session.state.selected.read_only
    for result in await session.run_all([c.Delete(box), c.Delete(prefix_of(session) + "renamed")]):
        assert result.ok
    assert (await session.run(c.Noop())).ok
