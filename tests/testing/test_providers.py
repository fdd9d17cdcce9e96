"""The simulated providers over the wire: labels as clients see them, several sessions, the program, the switches."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from imapclient import IMAPClient
from tests.testing.rawclient import HI, data, provided

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.imap import commands as c
from mailtwin.imap.commands.revising import StoreLabels
from mailtwin.imap.responses import Fetch
from mailtwin.model import UidSet
from mailtwin.testing import simulate
from mailtwin.testing.manners import Manners
from mailtwin.testing.providers import EXCHANGE, GMAIL, ICLOUD, PROVIDERS, YAHOO, Provider
from mailtwin.testing.simlabels import LabelSettings
from mailtwin.testing.simlimits import Limits

BYE_BYE = b"Subject: bye\r\nMessage-ID: <bye@x>\r\nIn-Reply-To: <hi@x>\r\n\r\nbye\r\n"
ALL, TRASH, STARRED = "[Gmail]/All Mail", "[Gmail]/Trash", "[Gmail]/Starred"


# --- X-GM-EXT-1 as three clients see it --------------------------------------------------------------------------


def use_imapclient(port: int) -> None:
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("alice", "secret")
        assert client.find_special_folder(b"\\All") == ALL
        client.select_folder("INBOX")
        got = client.fetch([1, 2], ["X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS"])
        assert (
            got[1][b"X-GM-MSGID"] == got[1][b"X-GM-THRID"] == got[2][b"X-GM-THRID"] != got[2][b"X-GM-MSGID"]
        )
        assert got[1][b"X-GM-LABELS"] == ()
        client.add_gmail_labels([1], ["two words", "Äpfel", "\\Starred"])
        assert set(client.get_gmail_labels([1])[1]) == {"two words", "Äpfel", "\\Starred"}
        assert client.get_flags([1])[1] == (b"\\Recent", b"\\Flagged")
        client.remove_gmail_labels([1], ["\\Starred"])
        assert b"\\Flagged" not in client.get_flags([1])[1]
        assert client.gmail_search("rfc822msgid:hi@x") == [1]
        assert client.gmail_search("label:Äpfel -subject:bye") == [1]
        assert client.search(["X-GM-MSGID", got[2][b"X-GM-MSGID"]]) == [2]
        assert client.search(["X-GM-THRID", got[2][b"X-GM-THRID"]]) == [1, 2]
        client.move([2], TRASH)
        client.set_gmail_labels([1], ["Work"])
        client.select_folder(ALL)
        assert set(client.get_gmail_labels([1])[1]) == {"\\Inbox", "Work"}
        assert {name for _, _, name in client.list_folders()} >= {"Work", "two words", "Äpfel"}


async def test_labels_with_imapclient() -> None:
    async with provided(GMAIL, [HI, BYE_BYE]) as made:
        await asyncio.to_thread(use_imapclient, made.server.port)
        assert made.account[TRASH].bodies() == [BYE_BYE]
        assert (
            made.account["Work"].bodies()
            == made.account["INBOX"].bodies()
            == made.account[ALL].bodies()
            == [HI]
        )
        assert len(made.account["two words"]) == 0


async def test_labels_with_our_own_client() -> None:
    async with provided(GMAIL, [HI, BYE_BYE]) as made:
        endpoint = Endpoint("127.0.0.1", made.server.port, "plain")
        session = await Session.open(endpoint, Credentials("alice", Secret("secret")))
        await session.run(c.Select("INBOX"))
        one = UidSet.of([1])
        await session.run(StoreLabels(one, "+", frozenset({"two words", "Äpfel", "\\Starred"})))
        fetched = await session.run(c.Fetch(one, ("FLAGS", "X-GM-MSGID", "X-GM-LABELS")))
        (told,) = [response for response in fetched.responses if isinstance(response, Fetch)]
        assert told.extra["X-GM-LABELS"] == (b"\\Starred", b"two words", b"&AMQ-pfel")
        assert told.extra["X-GM-MSGID"] == made.account["INBOX"][1].email_id
        assert told.flags is not None
        assert "\\Flagged" in told.flags
        await session.run(StoreLabels(one, "-", frozenset({"\\Inbox"})))
        assert session.state.selected is not None
        assert session.state.selected.exists == 1
        await session.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("hello", b" 1"),
        ("hell", b""),
        ("from:nobody", b""),
        ("subject:bye", b" 2"),
        ("is:unread", b" 1 2"),
        ("is:read", b""),
        ("is:starred", b""),
        ("in:inbox", b" 1 2"),
        ("in:trash", b""),
        ("in:anywhere -rfc822msgid:<hi@x>", b" 2"),
    ],
)
async def test_googles_search(query: str, found: bytes) -> None:
    async with provided(GMAIL, [HI, BYE_BYE]) as made:
        client = await made.login("INBOX")
        assert (await client.command(f'UID SEARCH X-GM-RAW "{query}"'))[0] == b"* SEARCH" + found


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ('UID SEARCH X-GM-RAW "has:attachment"', b" NO [CANNOT]"),
        ("UID STORE 1 +X-GM-LABELS (\\Nonsense)", b" NO [CANNOT]"),
        ("UID STORE 1 +X-GM-LABELS (a^b)", b" NO [CANNOT]"),
        ("UID STORE 1 +X-GM-LABELS (&foo)", b" BAD "),
        ("UID STORE 1 -X-GM-LABELS (nowhere)", b" OK "),
        ("UID STORE 1 +X-GM-LABELS Work", b" OK "),
        ('CREATE "a  b"', b" NO [CANNOT]"),
        ('CREATE "[Gmail]/mine"', b" NO [CANNOT]"),
        ("DELETE [Gmail]/Trash", b" NO [CANNOT]"),
        ("RENAME [Gmail]/Trash Bin", b" NO [CANNOT]"),
        ("SELECT [Gmail]", b" NO [NONEXISTENT]"),
    ],
)
async def test_replies(line: str, reply: bytes) -> None:
    async with provided(GMAIL, [HI]) as made:
        client = await made.login("INBOX")
        assert reply in (await client.command(line))[-1]


async def test_without_the_extension_its_words_are_bad() -> None:
    async with provided(YAHOO, [HI]) as made:
        client = await made.login("INBOX")
        for line in ("UID FETCH 1 X-GM-LABELS", "UID STORE 1 +X-GM-LABELS (a)", "UID SEARCH X-GM-RAW hi"):
            assert b" BAD " in (await client.command(line))[-1]


async def test_labels_of_an_account_that_has_none() -> None:
    extensions = ",".join(YAHOO.manners.extensions | {"X-GM-EXT-1"})
    async with provided(YAHOO.switch(f"extensions={extensions}"), [HI]) as made:
        client = await made.login("INBOX")
        assert b" NO [CANNOT]" in (await client.command("UID STORE 1 +X-GM-LABELS (a)"))[-1]
        assert b"X-GM-LABELS ()" in (await client.command("UID FETCH 1 X-GM-LABELS"))[0]


# --- one store, several sessions ---------------------------------------------------------------------------------


async def test_other_sessions_are_told_what_a_label_does_to_their_mailbox() -> None:
    async with provided(GMAIL.switch("hides_new_mail=no"), [HI]) as made:
        made.account.create("Work")
        inbox, work, everything, trash = [await made.login(name) for name in ("INBOX", "Work", ALL, TRASH)]
        await inbox.command("UID COPY 1 Work")
        assert b"* 1 EXISTS" in await work.command("NOOP")
        assert data(await everything.command("NOOP"), b"EXISTS") == []
        await work.command("UID STORE 1 +FLAGS (\\Seen)")
        for client in (inbox, everything):
            assert b"* 1 FETCH (FLAGS (\\Recent \\Seen))" in await client.command("NOOP")
        assert b"* 1 EXPUNGE" in await everything.command(f'UID COPY 1 "{TRASH}"')
        for client in (inbox, work):
            assert b"* 1 EXPUNGE" in await client.command("NOOP")
        assert b"* 1 EXISTS" in await trash.command("NOOP")


async def test_every_mailbox_counts_its_own_uids_and_changes() -> None:
    async with provided(GMAIL, [HI, BYE_BYE]) as made:
        client = await made.login("INBOX")
        await client.command("CREATE Work")
        assert b"[COPYUID 1700000009 2 1]" in (await client.command("UID COPY 2 Work"))[-1]
        await client.command("SELECT Work (CONDSTORE)")
        before = (await client.command("STATUS Work (HIGHESTMODSEQ)"))[0]
        await client.command("UID STORE 1 (UNCHANGEDSINCE 99) +FLAGS (\\Seen)")
        since = re.search(rb"HIGHESTMODSEQ (\d+)", before)
        assert since is not None
        changed = await client.command(b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %b)" % since[1])
        assert data(changed, b"FETCH")
        assert (
            b"[MODIFIED 1]"
            in (await client.command(b"UID STORE 1 (UNCHANGEDSINCE %b) +FLAGS (\\Answered)" % since[1]))[-1]
        )
        assert (await client.command("UID SEARCH RETURN (ALL COUNT) ALL"))[0].endswith(b"ALL 1 COUNT 1")


async def test_an_append_that_merges_tells_the_uid_that_is_there_and_no_exists() -> None:
    async with provided(GMAIL, [HI, BYE_BYE]) as made:
        client = await made.login("INBOX")
        answer = await client.command("APPEND INBOX", HI)
        assert answer[-1].endswith(b"OK [APPENDUID 1700000001 1]")
        assert data(await client.command("NOOP"), b"EXISTS") == []


async def test_what_is_marked_and_not_expunged() -> None:
    async with provided(GMAIL.switch("auto_expunge=no"), [HI]) as made:
        client = await made.login("INBOX")
        assert data(await client.command("UID STORE 1 +FLAGS.SILENT (\\Deleted)"), b"EXPUNGE") == []
        assert b"* 1 EXPUNGE" in await client.command("UID EXPUNGE 1")
        assert made.account[ALL].uids() == [1]


async def test_fetch_that_marks_seen_is_seen_in_all_mailboxes() -> None:
    async with provided(GMAIL, [HI]) as made:
        client = await made.login("INBOX")
        await client.command("UID FETCH 1 BODY[]")
        assert made.account[ALL][1].flags == {"\\Seen"}


# --- tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [GMAIL, EXCHANGE], ids=lambda provider: provider.name)
async def test_a_token_ends(provider: Provider) -> None:
    async with provided(provider, [HI]) as made:
        mail = made.server.mail
        made.account.token_ends = mail.clock() + timedelta(hours=1)
        token = base64.b64encode(b"user=alice\x01auth=Bearer token-1\x01\x01").decode()
        client = await made.connect()
        await client.response()
        assert b" OK" in (await client.command(f"AUTHENTICATE XOAUTH2 {token}"))[-1]
        later = mail.clock() + timedelta(hours=1)
        mail.clock = lambda: later
        assert await client.command("SELECT INBOX") == [
            f"* BYE {provider.limits.token_bye}".encode(),
            b"",
        ]
        client = await made.connect()
        await client.response()
        client.send(f"a AUTHENTICATE XOAUTH2 {token}\r\n".encode())
        assert (await client.response()).startswith(b"+ ey")
        client.send(b"\r\n")
        assert b"a NO [AUTHENTICATIONFAILED]" in await client.response()


async def test_a_closed_connection_makes_room_for_another() -> None:
    async with provided(GMAIL.switch("max_connections=1")) as made:
        for _ in range(3):
            client = await made.login()
            await client.command("LOGOUT")
            await client.rest()


async def test_a_new_day_has_a_new_budget() -> None:
    async with provided(GMAIL.switch("download_daily=1", "session_s=none"), [HI]) as made:
        client = await made.login()
        mail, line = made.server.mail, "STATUS INBOX (MESSAGES)"
        assert b"NO [OVERQUOTA]" in (await client.command(line))[-1]
        assert b" OK" in (await client.command("NOOP"))[-1]
        tomorrow = mail.clock() + timedelta(days=1)
        mail.clock = lambda: tomorrow
        assert b" OK" in (await client.command(line))[-1]


# --- the other providers -----------------------------------------------------------------------------------------

CAPABILITIES = {
    "gmail": (
        "SASL-IR ID IDLE NAMESPACE UNSELECT CHILDREN X-GM-EXT-1 XLIST XYZZY AUTH=PLAIN AUTH=XOAUTH2",
        """LITERAL- ENABLE ID IDLE NAMESPACE UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE UIDPLUS MOVE
        ESEARCH CONDSTORE X-GM-EXT-1 APPENDLIMIT=35651584""",
    ),
    "exchange": (
        "SASL-IR LITERAL+ ID IDLE NAMESPACE UNSELECT CHILDREN UIDPLUS AUTH=PLAIN AUTH=XOAUTH2",
        "LITERAL+ ID IDLE NAMESPACE UNSELECT CHILDREN UIDPLUS MOVE",
    ),
    "yahoo": (
        """SASL-IR LITERAL+ ENABLE ID IDLE NAMESPACE UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE UIDPLUS
        MOVE OBJECTID AUTH=PLAIN AUTH=XOAUTH2""",
        """LITERAL+ ENABLE ID IDLE NAMESPACE UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE UIDPLUS MOVE
        OBJECTID APPENDLIMIT=41697280 XYMHIGHESTMODSEQ""",
    ),
    "icloud": (
        """SASL-IR ENABLE ID IDLE NAMESPACE LIST-STATUS UIDPLUS ESEARCH CONDSTORE QRESYNC XAPPLELITERAL AUTH=PLAIN
        AUTH=XOAUTH2""",
        "ENABLE ID IDLE NAMESPACE LIST-STATUS UIDPLUS ESEARCH CONDSTORE QRESYNC XAPPLELITERAL",
    ),
}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_capabilities_before_and_after_login(name: str) -> None:
    async with provided(PROVIDERS[name]) as made:
        client = await made.connect()
        await client.response()
        before = (await client.command("CAPABILITY"))[0]
        await client.command("LOGIN alice secret")
        after = (await client.command("CAPABILITY"))[0]
    for told, expected in zip((before, after), CAPABILITIES[name], strict=True):
        assert told.decode().split() == ["*", "CAPABILITY", "IMAP4rev1", *expected.split()]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_what_is_announced_is_done(name: str) -> None:
    """Base protocol and every announced extension that has a command of its own."""
    async with provided(PROVIDERS[name], [HI]) as made:
        client = await made.login("INBOX")
        announced = set((await client.command("CAPABILITY"))[0].split())
        tries = {
            b"ENABLE": "ENABLE CONDSTORE",
            b"ID": "ID NIL",
            b"NAMESPACE": "NAMESPACE",
            b"LIST-EXTENDED": 'LIST "" (INBOX)',
            b"LIST-STATUS": 'LIST "" INBOX RETURN (STATUS (MESSAGES))',
            b"SPECIAL-USE": 'LIST (SPECIAL-USE) "" *',
            b"ESEARCH": "UID SEARCH RETURN () ALL",
            b"CONDSTORE": "UID FETCH 1 MODSEQ",
            b"OBJECTID": "UID FETCH 1 (EMAILID THREADID)",
            b"X-GM-EXT-1": "UID FETCH 1 X-GM-MSGID",
            b"UIDPLUS": "UID EXPUNGE 1",
            b"MOVE": "UID MOVE 99 INBOX",
            b"UNSELECT": "UNSELECT",
        }
        for word, line in tries.items():
            status = b"OK" if word in announced else b"BAD"
            assert (await client.command(line))[-1].split()[1] == status, line


async def test_identifiers_of_objectid() -> None:
    async with provided(YAHOO, [HI]) as made:
        client = await made.login()
        created = (await client.command("CREATE Work"))[-1]
        assert b"[MAILBOXID (F17000000" in created
        selected = await client.command("SELECT INBOX")
        assert b"* OK [MAILBOXID (F1700000001)] Ok" in selected
        assert b"MAILBOXID (F1700000001)" in (await client.command("STATUS INBOX (MAILBOXID)"))[0]
        await client.command("UID COPY 1 Work")
        here = await client.command("UID FETCH 1 (EMAILID THREADID)")
        await client.command("SELECT Work")
        there = await client.command("UID FETCH 1 (EMAILID THREADID)")
        assert data(here, b"FETCH") == data(there, b"FETCH")
        assert b"EMAILID (M1700000000000000000) THREADID NIL" in here[0]


async def test_messages_fall_out_of_the_window() -> None:
    async with provided(YAHOO.switch("window=2"), [HI, BYE_BYE, HI]) as made:
        client = await made.login("INBOX")
        assert (await client.command("UID SEARCH ALL"))[0] == b"* SEARCH 2 3 "
        assert b"MESSAGES 2 UIDNEXT 4" in (await client.command("STATUS INBOX (MESSAGES UIDNEXT)"))[0]
        assert data(await client.command("UID FETCH 1 FLAGS"), b"FETCH") == []


async def test_pauses_that_exchange_asks_for() -> None:
    async with provided(EXCHANGE.switch("throttle_every=3"), [HI]) as made:
        client = await made.login("INBOX")
        await client.command("UID FETCH 1 FLAGS")
        (reply,) = await client.command("UID FETCH 1 FLAGS")
        assert reply.endswith(b"BAD Request is throttled. Suggested Backoff Time: 5000 milliseconds")
        assert b" OK" in (await client.command("UID FETCH 1 FLAGS"))[-1]


# --- the values --------------------------------------------------------------------------------------------------


def test_switches_read_what_they_show() -> None:
    for provider in PROVIDERS.values():
        settings = [f"{switch.name}={switch.value}" for switch in provider.switches()]
        assert provider.switch(*settings) == provider
        assert all(switch.about.endswith((".", "`")) for switch in provider.switches())


def test_every_value_is_a_switch_and_no_two_have_one_name() -> None:
    names = [switch.name for switch in GMAIL.switches()]
    assert len(names) == len(set(names))
    held = [one.name for kind in (Manners, Limits, LabelSettings) for one in fields(kind)]
    assert names == held


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense=1",
        "window=x",
        "window=0",
        "max_connections=0",
        "check_tells=maybe",
        "merge=always",
        "language=tlh",
        "late=FOO",
        "throttle=gently",
        "expunge=",
    ],
)
def test_settings_that_cannot_be(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong.split("=", maxsplit=1)[0]):
        GMAIL.switch(wrong)


def test_an_account_without_labels_has_no_settings_of_labels() -> None:
    with pytest.raises(ValueError):
        ICLOUD.switch("merge=never")


# --- the program -------------------------------------------------------------------------------------------------


async def test_the_program_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailtwin.testing.simulate", "gmail", "--account", "bob:pass:word", "--messages", "3",
        "--token", "t", "--token-seconds", "60", "--switch", "unannounced=UIDPLUS", "--switch", "language=de",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = re.fullmatch(rb"gmail listens on 127\.0\.0\.1 port (\d+)\n", await process.stdout.readline())
        assert said is not None
        names = await asyncio.to_thread(look, int(said[1]))
        assert "[Google Mail]/Entwürfe" in names
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


def look(port: int) -> list[str]:
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.login("bob", "pass:word")
        assert client.select_folder("INBOX")[b"EXISTS"] == 3
        assert b"UIDPLUS" not in client.capabilities()
        return [name for _, _, name in client.list_folders()]


@pytest.mark.parametrize(
    "arguments",
    [["yahoo", "--switch", "merge=never"], ["--account", "nobody"], ["aol"], ["--tls", "/nonexistent.pem"]],
)
def test_arguments_that_cannot_be(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        simulate.main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_program_lists_its_switches(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["yahoo", "--switch", "window=7", "--list"]) == 0
    assert "window=7\n    Only so many messages" in capsys.readouterr().out
