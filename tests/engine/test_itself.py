"""A store that is both sides of a pair is noticed before anything is written; two that look alike are not accused."""

from __future__ import annotations

import imaplib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.engine import Pair, check, plan, sync
from mailtwin.errors import ConfigurationError
from mailtwin.state import State
from mailtwin.stores.base import Numbering, Store
from mailtwin.stores.imap import ImapStore
from mailtwin.stores.maildir import MaildirStore
from mailtwin.stores.maildir_numbers import read_numbering
from mailtwin.testing.manners import BARE, GMAIL_MANNERS, PLAIN, Manners
from mailtwin.testing.realservers import Account, RealServer
from mailtwin.testing.simmail import SimAccount, SimMail
from mailtwin.testing.simserver import SimServer


def letter(number: int) -> bytes:
    return b"Message-ID: <%d@itself>\r\nSubject: %d\r\n\r\nbody\r\n" % (number, number)


@asynccontextmanager
async def serving(*accounts: tuple[str, int], manners: Manners = PLAIN) -> AsyncIterator[list[ServedAccount]]:
    """Servers with one account each, of these names, that hold so many messages and are all numbered alike."""
    async with AsyncExitStack() as stack:
        served = []
        for user, count in accounts:
            mail = SimMail()
            account = mail.add_account(user, "secret")
            for number in range(count):
                account["INBOX"].append(letter(number), [], datetime(2026, 1, 2, tzinfo=UTC))
            server = await stack.enter_async_context(SimServer(mail, manners))
            served.append(ServedAccount(server.port, user, account))
        yield served


@dataclass(frozen=True)
class ServedAccount:
    port: int
    user: str
    account: SimAccount

    def store(self, host: str = "127.0.0.1", user: str | None = None) -> ImapStore:
        return imap(host, self.port, user or self.user, "secret")


def imap(host: str, port: int, user: str, password: str) -> ImapStore:
    endpoint = Endpoint(host, port, "plain", allow_plain=True)
    return ImapStore(endpoint, lambda: Credentials(user, Secret(password)), user)


async def run(path: Path, left: Store, right: Store) -> bool:
    """Whether the run was refused because both sides are one store."""
    with State.open(path, left=left.address, right=right.address, now=lambda: 1e9) as state:
        try:
            await sync(Pair(left, right), state)
        except ConfigurationError as error:
            refusal = error
        else:
            return False
        assert f"{left.address} and {right.address} are one and the same" in refusal.message
        assert refusal.hint
        assert not state.has_links()
        return True


@pytest.mark.parametrize("manners", [PLAIN, BARE, GMAIL_MANNERS], ids=["plain", "bare", "gmail-manners"])
async def test_an_account_under_two_names_of_its_host(manners: Manners, tmp_path: Path) -> None:
    async with serving(("me", 3), manners=manners) as (served,):
        served.account.create("Sent")
        assert await run(tmp_path / "s.db", served.store(), served.store("localhost"))
        for look in (plan, check):
            with pytest.raises(ConfigurationError, match="one and the same"):
                await look(Pair(served.store(), served.store("localhost")), None)
        assert len(served.account["INBOX"]) == 3


async def test_without_a_message_nothing_is_proven(tmp_path: Path) -> None:
    async with serving(("me", 0)) as (served,):
        assert not await run(tmp_path / "s.db", served.store(), served.store("localhost"))
        served.account["INBOX"].append(letter(1))
        assert await run(tmp_path / "s.db", served.store(), served.store("localhost"))


async def test_the_first_mailbox_with_a_message_decides(tmp_path: Path) -> None:
    """An INBOX that was emptied proves nothing; a mailbox with other numbers proves that there are two."""
    async with serving(("me", 1), ("me@example.org", 1)) as (one, other):
        for account in (one.account, other.account):
            account["INBOX"].remove(1)
            account.create("Work").append(letter(7))
        assert await run(tmp_path / "one.db", one.store(), one.store("localhost"))
        other.account.create("Sent").append(letter(8))
        one.account.create("Sent")
        assert not await run(tmp_path / "two.db", one.store(), other.store())


DIFFERENT = [
    ("me", "you", 3, 3),  # two people's accounts, made in the same second with the same welcome messages
    ("me", "me@example.org", 0, 0),
    ("me", "me@example.org", 3, 4),
]


@pytest.mark.parametrize(("one", "other", "on_one", "on_other"), DIFFERENT)
async def test_two_accounts_that_are_numbered_alike(
    one: str, other: str, on_one: int, on_other: int, tmp_path: Path
) -> None:
    async with serving((one, on_one), (other, on_other)) as (left, right):
        assert not await run(tmp_path / "s.db", left.store(), right.store())
        assert len(left.account["INBOX"]) == len(right.account["INBOX"]) == max(on_one, on_other)


async def test_two_accounts_with_other_messages_at_the_same_uids(tmp_path: Path) -> None:
    async with serving(("me", 1), ("me@example.org", 1)) as (left, right):
        left.account["INBOX"].append(letter(10))
        right.account["INBOX"].append(letter(11))
        assert not await run(tmp_path / "s.db", left.store(), right.store())
        assert len(left.account["INBOX"]) == len(right.account["INBOX"]) == 3


async def test_a_pair_that_agrees_on_something_is_never_asked_again(tmp_path: Path) -> None:
    """After the first run two accounts may well be numbered alike."""
    async with serving(("me", 3), ("me@example.org", 0)) as (left, right):
        for _ in range(2):
            assert not await run(tmp_path / "s.db", left.store(), right.store())
        assert [len(one.account["INBOX"]) for one in (left, right)] == [3, 3]


async def test_a_copy_is_told_apart_by_any_message(tmp_path: Path) -> None:
    """What the hint says."""
    async with serving(("me", 1), ("ME@example.org", 1)) as (left, right):
        assert await run(tmp_path / "s.db", left.store(), right.store())
        left.account["INBOX"].append(letter(9))
        assert not await run(tmp_path / "s.db", left.store(), right.store())
        assert [len(one.account["INBOX"]) for one in (left, right)] == [2, 2]


LISTS = [
    ("dovecot-uidlist", b"3 V1795538342 N4 G6cea\n1 :a\n2 W12 :b\n", Numbering(1795538342, 4)),
    ("dovecot-uidlist", b"3 V1795538342 N4 G6cea\n3 :a\n4 W12 :b\n7 :c\n", Numbering(1795538342, 8)),
    ("dovecot-uidlist", b"3 V1795538343 N1 G100c\n", Numbering(1795538343, 1)),
    ("dovecot-uidlist", b"1 1795538342 4\n1 a\n", Numbering(1795538342, 4)),
    ("courierimapuiddb", b"1 795538342 4\n1 179.M9P3V00I04_0.vm,S=22\n3 179.M1\n", Numbering(795538342, 4)),
    ("courierimapuiddb", b"", None),
    ("dovecot-uidlist", b"Dear diary\n", None),
    ("dovecot-uidlist", b"\xff" * 1000, None),
    ("other", b"1 2 3\n", None),
]


@pytest.mark.parametrize(("name", "content", "expected"), LISTS)
def test_lists_of_uids(name: str, content: bytes, expected: Numbering | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_numbering(tmp_path) == expected


def test_a_list_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidlist").mkdir()
    assert read_numbering(tmp_path) is None


@pytest.fixture(params=["dovecot", "courier"])
def server(request: pytest.FixtureRequest) -> RealServer:
    """A server that serves Maildirs."""
    found: RealServer = request.getfixturevalue(request.param)
    return found


def fill(server: RealServer, bodies: Iterable[bytes], *mailboxes: str) -> Account:
    """A new account with these messages in its INBOX, and with these mailboxes."""
    user = server.user()
    with imaplib.IMAP4("127.0.0.1", server.port) as client:
        client.login(user.user, user.password)
        for name in mailboxes:
            client.create(f"{server.prefix}{name}")
        for body in bodies:
            client.append("INBOX", "", "", body)
    return user


def store_of(server: RealServer, user: Account, host: str = "127.0.0.1") -> ImapStore:
    return imap(host, server.port, user.user, user.password)


def served_maildir(server: RealServer, user: Account) -> Path:
    return server.run_dir / "home" / user.user / "Maildir"


@pytest.mark.servers
async def test_an_account_and_the_maildir_that_is_served(server: RealServer, tmp_path: Path) -> None:
    user = fill(server, map(letter, range(3)), "Sub")
    root = served_maildir(server, user)
    assert await run(tmp_path / "one.db", store_of(server, user), MaildirStore(root))
    assert await run(tmp_path / "two.db", MaildirStore(root), store_of(server, user))
    (root / "new" / "1.M1P1.other").write_bytes(letter(9))  # delivered, and not seen by the server yet
    assert await run(tmp_path / "three.db", store_of(server, user), MaildirStore(root))


@pytest.mark.servers
async def test_a_real_account_under_two_names(imap_server: RealServer, tmp_path: Path) -> None:
    user = fill(imap_server, [letter(1)])
    one, same = store_of(imap_server, user), store_of(imap_server, user, "localhost")
    assert await run(tmp_path / "s.db", one, same)
    other = store_of(imap_server, fill(imap_server, [letter(1)]))
    assert not await run(tmp_path / "t.db", store_of(imap_server, user), other)


@pytest.mark.servers
async def test_a_maildir_with_other_mail_that_is_numbered_alike(server: RealServer, tmp_path: Path) -> None:
    """Both accounts are made in the same second more often than not."""
    user, other = fill(server, map(letter, (1, 2, 3))), fill(server, map(letter, (1, 12, 13)))
    assert not await run(
        tmp_path / "s.db", store_of(server, user), MaildirStore(served_maildir(server, other))
    )
