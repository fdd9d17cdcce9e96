"""Verification between real servers and a Maildir: what is the same, what somebody changed, what a server rewrites."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.engine.test_real import account

from mailtwin.engine import Pair, sync, verify
from mailtwin.engine.findings import Kind, Verification
from mailtwin.model import INBOX, NO_FLAGS, make_flags
from mailtwin.state import State
from mailtwin.stores.base import FlagChange, Mailbox, Store
from mailtwin.stores.maildir import MaildirStore
from mailtwin.testing.conformance import SAMPLES, ByteClass, Mail, deliver, numbered
from mailtwin.testing.realservers import Kind as ServerKind
from mailtwin.testing.realservers import RealServer

DAY = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
B = ByteClass
KINDS = (
    B.CRLF,
    B.EIGHT_BIT,
    B.MALFORMED_MIME,
    B.NO_HEADER,
    B.LARGE,
    B.BARE_LF,
    B.MIXED_ENDS,
    B.NO_FINAL_NEWLINE,
)
LINE_ENDS = "the same but for line ends, as servers write them anew on the left"
REWRITES: dict[ServerKind, dict[ByteClass, str]] = {
    "dovecot": {B.BARE_LF: LINE_ENDS, B.MIXED_ENDS: LINE_ENDS},
    "cyrus": {
        B.EIGHT_BIT: "the same but for 8-bit bytes in the header, as servers write them anew on the left"
    },
    "courier": {
        B.BARE_LF: LINE_ENDS,
        B.MIXED_ENDS: LINE_ENDS,
        B.NO_FINAL_NEWLINE: "the same but for the end of the last line, as servers write them anew on the left",
    },
}


class Twins:
    """A server and a Maildir with a state; each run and each look is another connection."""

    def __init__(self, server: RealServer, directory: Path) -> None:
        self.connect: Callable[[], Store] = account(server)
        self.root = directory / "mail"
        self.state = directory / "state.db"
        # Two seconds on: whatever was written a moment ago may be remembered.
        self.ahead_ns = 3 * 10**9

    def stores(self) -> tuple[Store, Store]:
        return self.connect(), MaildirStore(self.root, clock_ns=lambda: time.time_ns() + self.ahead_ns)

    async def sync(self) -> None:
        left, right = self.stores()
        with State.open(self.state, left=left.address, right=right.address, now=time.time) as state:
            await sync(Pair(left, right), state)

    async def verify(self, *, deep: bool = False) -> Verification:
        left, right = self.stores()
        with State.open(self.state, left=left.address, right=right.address, now=time.time) as state:
            return await verify(Pair(left, right), state, deep=deep)

    @asynccontextmanager
    async def inbox(self, store: Store) -> AsyncIterator[Mailbox]:
        """Somebody else at work."""
        await store.connect(create=True)
        try:
            async with store.open(INBOX) as mailbox:
                await mailbox.observe()
                yield mailbox
        finally:
            await store.close()

    def files(self) -> list[Path]:
        return sorted(path for part in ("cur", "new") for path in (self.root / part).iterdir())


@pytest.fixture
def twins(imap_server: RealServer, tmp_path: Path) -> Twins:
    """Not yet filled."""
    return Twins(imap_server, tmp_path)


async def test_what_is_identical_is_read_once(twins: Twins) -> None:
    left, _ = twins.stores()
    async with twins.inbox(left) as mailbox:
        await deliver(mailbox, [Mail(numbered(number), make_flags(["\\Seen"]), DAY) for number in range(20)])
    await twins.sync()
    first = await twins.verify()
    assert first.identical, first.differences
    assert (first.same, first.read) == (20, 40)
    assert (await twins.verify()).read == 0
    assert (await twins.verify(deep=True)).read == 40


async def test_what_somebody_changed_is_found_and_nothing_else(twins: Twins) -> None:
    left, _ = twins.stores()
    async with twins.inbox(left) as mailbox:
        await deliver(mailbox, [Mail(numbered(number), NO_FLAGS, DAY) for number in range(8)])
    await twins.sync()
    assert (await twins.verify()).identical
    flagged, doubled, rotten, late, *_ = twins.files()
    left, right = twins.stores()
    async with twins.inbox(left) as mailbox:
        refs = sorted((await mailbox.observe()).listing.flags, key=str)
        await mailbox.remove([refs[-1]])
    async with twins.inbox(right) as mailbox:
        await mailbox.store_flags([FlagChange((flagged.name,), make_flags(["\\Flagged"]), NO_FLAGS)])
    copy = doubled.with_name(f"1.{doubled.name}")
    copy.write_bytes(doubled.read_bytes())
    os.utime(copy, (doubled.stat().st_mtime,) * 2)
    stamp = rotten.stat().st_mtime
    rotten.write_bytes(rotten.read_bytes().replace(b"text", b"texu"))
    os.utime(rotten, (stamp, stamp))
    os.utime(late, (stamp + 60, stamp + 60))
    found = await twins.verify()
    told = sorted(
        (one.kind.value, "" if one.side is None else one.side.label, *(change.what for change in one.altered))
        for one in found.differences
    )
    assert told == [
        ("altered", "", "bytes"),
        ("altered", "", "date"),
        ("altered", "", "flags"),
        ("doubled", "right"),
        ("missing", "left"),
    ]
    assert found.same == 4


def sample(kind: ByteClass) -> bytes:
    """A message of that kind with a Message-ID of its own, as far as it has one."""
    return SAMPLES[kind].replace(b"<conformance@", b"<%s@" % kind.name.lower().encode())


async def test_what_a_server_writes_anew_is_said_so(twins: Twins, imap_server_kind: ServerKind) -> None:
    """From the Maildir to the server: the bytes that it changes are altered, with the reason; the rest is the same."""
    _, right = twins.stores()
    async with twins.inbox(right) as mailbox:
        refs = await deliver(mailbox, [Mail(sample(kind), NO_FLAGS, DAY) for kind in KINDS])
    await twins.sync()
    found = await twins.verify()
    refusal = "it could not be copied: the server refused the message"
    by_ref = {
        one.right: (one.kind, refusal if one.why.startswith(refusal) else one.why)
        for one in found.differences
    }
    refused = {B.BARE_LF, B.MIXED_ENDS, B.MALFORMED_MIME} if imap_server_kind == "cyrus" else set()
    altered = {kind: (Kind.ALTERED, why) for kind, why in REWRITES[imap_server_kind].items()}
    expected = {**altered, **dict.fromkeys(refused, (Kind.MISSING, refusal))}
    assert {kind: by_ref[ref] for kind, ref in zip(KINDS, refs, strict=True) if ref in by_ref} == expected
    assert found.same == len(KINDS) - len(expected)
    assert found.difference_count == len(expected)


NAMELESS = [
    b"\r\nonly a body,\nwith mixed\r\nends\n",  # no header at all
    b"X-Other: 1\r\n\r\na header that names nothing,\nand mixed\r\nends\n",
    b"From: a@example.org\r\n\r\ntwo of one sender,\nthe one\r\n",
    b"From: a@example.org\r\n\r\ntwo of one sender,\n\nthe other\r\n",
]
"""Messages without a Message-ID that Dovecot and Courier write anew."""


async def test_what_a_server_writes_anew_has_a_twin_also_without_a_message_id(
    twins: Twins, imap_server_kind: ServerKind
) -> None:
    """Neither bytes nor size nor header tell: what the run noted does. Cyrus takes no such message."""
    _, right = twins.stores()
    async with twins.inbox(right) as mailbox:
        refs = await deliver(mailbox, [Mail(body, NO_FLAGS, DAY) for body in NAMELESS])
    await twins.sync()
    refused = imap_server_kind == "cyrus"
    kind, why = (Kind.MISSING, "the server refused the message") if refused else (Kind.ALTERED, LINE_ENDS)
    for _ in range(2):
        found = await twins.verify()
        assert {one.kind for one in found.differences} == {kind}, found.differences
        assert {one.right for one in found.differences} == set(refs)
        assert all(why in one.why for one in found.differences), found.differences
