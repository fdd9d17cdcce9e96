"""Each switch of `Manners`, seen on the wire with a raw client."""

from __future__ import annotations

import re
import ssl
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.testing.rawclient import HI, data, world

from mailtwin.testing.manners import (
    BARE,
    CHATTY,
    EXTENSIONS,
    GMAIL_MANNERS,
    PLAIN,
    PROFILES,
    SILENT_APPEND,
    LoginCapabilities,
    Manners,
)

CERTIFICATE = Path(__file__).with_name("localhost.pem")


def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@pytest.mark.parametrize("manners", PROFILES.values(), ids=PROFILES.keys())
async def test_every_profile_serves_the_base_protocol(manners: Manners) -> None:
    async with world(manners, bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b" OK" in (await client.command("APPEND INBOX", b"Subject: new\r\n\r\n"))[-1]
        await client.command("NOOP")
        answer = await client.command("UID FETCH 2 (UID BODY.PEEK[])")
        assert any(b"BODY[] {16}\r\nSubject: new\r\n\r\n" in line for line in answer)
        assert b" OK" in (await client.command("UID STORE 1 +FLAGS.SILENT (\\Deleted)"))[-1]
        assert b"* 1 EXPUNGE" in await client.command("EXPUNGE")
        assert made.inbox == [2]


# --- Capabilities --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
async def test_greeting_capabilities(told: bool) -> None:
    async with world(replace(PLAIN, greeting_capabilities=told)) as made:
        client = await made.connect()
        assert (b"[CAPABILITY " in await client.response()) is told


async def test_login_capabilities_untagged() -> None:
    async with world(GMAIL_MANNERS) as made:
        client = await made.connect()
        assert await client.response() == b"* OK mailtwin simulator ready"
        before = (await client.command("CAPABILITY"))[0]
        assert b"MOVE" not in before
        assert b"AUTH=PLAIN" in before
        untagged, tagged = await client.command("LOGIN alice secret")
        assert untagged.startswith(b"* CAPABILITY IMAP4rev1 ")
        assert {b"MOVE", b"CONDSTORE", b"LITERAL-", b"APPENDLIMIT=35651584"} <= set(untagged.split())
        assert b"UIDPLUS" not in untagged
        assert b"AUTH=" not in untagged
        assert tagged == b"T2 OK Logged in"


async def test_login_capabilities_as_a_code() -> None:
    async with world(PLAIN) as made:
        client = await made.connect()
        await client.response()
        (tagged,) = await client.command("LOGIN alice secret")
        assert tagged.startswith(b"T1 OK [CAPABILITY IMAP4rev1 ")


async def test_login_capabilities_not_told() -> None:
    async with world(replace(PLAIN, login_capabilities=LoginCapabilities.NONE)) as made:
        client = await made.connect()
        await client.response()
        assert await client.command("LOGIN alice secret") == [b"T1 OK Logged in"]


async def test_late_and_unannounced() -> None:
    manners = replace(PLAIN, late=frozenset({"UIDPLUS"}), unannounced=frozenset({"MOVE"}))
    async with world(manners, bodies=[HI]) as made:
        client = await made.connect()
        greeting = await client.response()
        assert b"UIDPLUS" not in greeting
        (tagged,) = await client.command("LOGIN alice secret")
        assert b"UIDPLUS" in tagged
        assert b"MOVE" not in tagged
        await client.command("SELECT INBOX")
        assert b" OK" in (await client.command("UID MOVE 1 INBOX"))[-1]


NEEDS = {
    "ENABLE": "ENABLE CONDSTORE",
    "ID": "ID NIL",
    "NAMESPACE": "NAMESPACE",
    "UNSELECT": "UNSELECT",
    "LIST-EXTENDED": 'LIST "" (INBOX)',
    "LIST-STATUS": 'LIST "" INBOX RETURN (STATUS (MESSAGES))',
    "SPECIAL-USE": 'LIST (SPECIAL-USE) "" *',
    "UIDPLUS": "UID EXPUNGE 1",
    "MOVE": "MOVE 1 INBOX",
    "ESEARCH": "SEARCH RETURN () ALL",
    "CONDSTORE": "FETCH 1 MODSEQ",
}


@pytest.mark.parametrize("extension", NEEDS)
async def test_without_an_extension_its_commands_are_bad(extension: str) -> None:
    for manners, status in ((PLAIN, b"OK"), (PLAIN.without(extension), b"BAD")):
        async with world(manners, bodies=[HI]) as made:
            client = await made.connect()
            await client.response()
            (tagged,) = await client.command("LOGIN alice secret")
            assert (extension.encode() in re.split(rb"[ \]]", tagged)) is (status == b"OK")
            await client.command("SELECT INBOX")
            assert (await client.command(NEEDS[extension]))[-1].split()[1] == status


async def test_without_idle_children_and_sasl_ir() -> None:
    async with world(PLAIN.without("IDLE", "CHILDREN", "SASL-IR")) as made:
        client = await made.connect()
        assert b"SASL-IR" not in await client.response()
        assert b" BAD " in (await client.command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=="))[-1]
        await client.command("LOGIN alice secret")
        assert b" BAD " in (await client.command("IDLE"))[-1]
        assert (await client.command('LIST "" *'))[0] == b'* LIST () "/" "INBOX"'


async def test_without_condstore_select_says_nothing_of_modseq() -> None:
    async with world(PLAIN.without("CONDSTORE")) as made:
        client = await made.login()
        assert b"MODSEQ" not in b"".join(await client.command("SELECT INBOX"))
        assert b" BAD " in (await client.command("SELECT INBOX (CONDSTORE)"))[-1]
        assert b" BAD " in (await client.command("STATUS INBOX (HIGHESTMODSEQ)"))[-1]


async def test_only_the_mechanisms_of_the_manners() -> None:
    async with world(replace(PLAIN, mechanisms=("XOAUTH2",))) as made:
        client = await made.connect()
        assert b"AUTH=PLAIN" not in await client.response()
        assert b" NO " in (await client.command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=="))[-1]


# --- Literals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extension", "size", "status"),
    [
        ("LITERAL+", 9000, b"OK"),
        ("LITERAL-", 4096, b"OK"),
        ("LITERAL-", 4097, b"BAD"),
        (None, 5, b"BAD"),
    ],
)
async def test_non_synchronising_literals(extension: str | None, size: int, status: bytes) -> None:
    chosen = {extension} if extension else set()
    manners = replace(PLAIN, extensions=(PLAIN.extensions - {"LITERAL+"}) | chosen)
    async with world(manners) as made:
        client = await made.login()
        client.send(b"a APPEND INBOX {%d+}\r\n" % size + b"x" * size + b"\r\nb NOOP\r\n")
        assert (await client.response()).split()[:2] == [b"a", status]
        assert await client.response() == b"b OK Nothing done"
        assert len(made.inbox) == (status == b"OK")


async def test_append_limit_is_checked_before_the_upload() -> None:
    async with world(replace(PLAIN, append_limit=10)) as made:
        client = await made.login()
        client.send(b"a APPEND INBOX {11}\r\n")
        assert (await client.response()).startswith(b"a NO [TOOBIG]")
        assert b" OK " in (await client.command("APPEND INBOX", b"x" * 10))[-1]
        assert b"APPENDLIMIT=10" in (await client.command("CAPABILITY"))[0]


# --- UIDs of new messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("given", [True, False])
async def test_append_uid_is_independent_of_uidplus(announced: bool, given: bool) -> None:
    manners = replace(
        PLAIN, append_uid=given, unannounced=frozenset() if announced else frozenset({"UIDPLUS"})
    )
    async with world(manners) as made:
        client = await made.connect()
        assert (b"UIDPLUS" in await client.response()) is announced
        await client.command("LOGIN alice secret")
        answer = await client.command("APPEND INBOX", HI)
        assert (b"[APPENDUID 1700000001 1]" in answer[-1]) is given


@pytest.mark.parametrize("given", [True, False])
async def test_copy_uid(given: bool) -> None:
    async with world(replace(PLAIN, copy_uid=given), bodies=[HI]) as made:
        client = await made.login("INBOX")
        for command in ("UID COPY 1 INBOX", "UID MOVE 1 INBOX"):
            assert (b"[COPYUID " in b"".join(await client.command(command))) is given


async def test_silent_append_announces_and_does_not_give() -> None:
    async with world(SILENT_APPEND) as made:
        client = await made.connect()
        assert b"UIDPLUS" in await client.response()
        await client.command("LOGIN alice secret")
        assert (await client.command("APPEND INBOX", HI))[-1] == b"T2 OK Appended"


async def test_hidden_new_mail() -> None:
    async with world(GMAIL_MANNERS) as made:
        client = await made.login("INBOX")
        answer = await client.command("APPEND INBOX", HI)
        assert data(answer, b"EXISTS") == []
        assert b"[APPENDUID " in answer[-1]
        assert (await client.command("UID SEARCH HEADER Message-ID hi@x"))[0] == b"* SEARCH"
        assert data(await client.command("UID FETCH 1:* UID"), b"FETCH") == []
        assert b"* 1 EXISTS" in await client.command("NOOP")
        assert data(await client.command("UID FETCH 1:* UID"), b"FETCH") == [b"* 1 FETCH (UID 1)"]
        assert (await client.command("UID SEARCH ALL"))[0] == b"* SEARCH 1"


@pytest.mark.parametrize("command", ["CHECK", "SELECT INBOX"])
async def test_hidden_new_mail_is_seen_after(command: str) -> None:
    async with world(GMAIL_MANNERS) as made:
        client = await made.login("INBOX")
        await client.command("APPEND INBOX", HI)
        assert b"* 1 EXISTS" in await client.command(command)


# --- Names ---------------------------------------------------------------------------------------------------


async def test_separator_and_prefix() -> None:
    async with world(replace(BARE, extensions=frozenset({"NAMESPACE"}))) as made:
        made.account.create("Work/2026")
        client = await made.login()
        assert b'* NAMESPACE (("INBOX." ".")) NIL NIL' in await client.command("NAMESPACE")
        assert b'* LIST () "." "INBOX.Work.2026"' in await client.command('LIST "" *')
        assert b" OK " in (await client.command("CREATE INBOX.Work.2027"))[-1]
        assert b"NO [CANNOT]" in (await client.command("CREATE Work"))[-1]
        assert b"NO [CANNOT]" in (await client.command("CREATE INBOX.a/b"))[-1]
        assert made.account.names() == ["INBOX", "Work/2026", "Work/2027"]
        assert b" OK " in (await client.command("SELECT INBOX.Work.2027"))[-1]


# --- Flags ---------------------------------------------------------------------------------------------------


async def test_keywords_not_offered() -> None:
    async with world(replace(PLAIN, offers_keywords=False)) as made:
        client = await made.login()
        assert b"\\*" not in b"".join(await client.command("SELECT INBOX"))


async def test_keywords_dropped_without_a_word() -> None:
    async with world(replace(PLAIN, keeps_keywords=False), bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b" OK " in (await client.command("STORE 1 +FLAGS (Work \\Seen)"))[-1]
        assert b" OK " in (await client.command("APPEND INBOX (Work \\Draft)", HI))[-1]
        assert [message.flags for message in made.account["INBOX"]] == [{"\\Seen"}, {"\\Draft"}]


async def test_a_new_keyword_is_told() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        answer = await client.command("STORE 1 +FLAGS (Work)")
        assert answer[0] == b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work)"


# --- The form of responses -----------------------------------------------------------------------------------


async def test_split_fetch() -> None:
    async with world(replace(PLAIN, split_fetch=True), bodies=[HI]) as made:
        client = await made.login("INBOX")
        answer = data(await client.command("UID FETCH 1 (FLAGS RFC822.SIZE)"), b"FETCH")
        assert answer == [b"* 1 FETCH (UID 1 FLAGS (\\Recent))", b"* 1 FETCH (UID 1 RFC822.SIZE 42)"]


async def test_uid_after_the_body() -> None:
    async with world(replace(PLAIN, uid_last=True), bodies=[HI]) as made:
        client = await made.login("INBOX")
        answer = await client.command("UID FETCH 1 (UID BODY.PEEK[])")
        assert answer[0] == b"* 1 FETCH (BODY[] {42}\r\n" + HI + b" UID 1)"


async def test_codes_without_text() -> None:
    async with world(replace(PLAIN, textless_codes=True)) as made:
        client = await made.login()
        answer = await client.command("SELECT INBOX")
        assert b"* OK [UIDVALIDITY 1700000001]" in answer
        assert answer[-1] == b"T2 OK [READ-WRITE]"


async def test_identity() -> None:
    async with world(GMAIL_MANNERS) as made:
        client = await made.login()
        assert b'* ID ("name" "GImap" "vendor" "Google, Inc.")' in await client.command("ID NIL")


# --- Chatter -------------------------------------------------------------------------------------------------


async def chatter(manners: Manners) -> list[bytes]:
    """All that one fixed conversation of 40 commands hears."""
    heard: list[bytes] = []
    async with world(manners, bodies=[HI] * 3) as made:
        client = await made.login("INBOX")
        for _ in range(10):
            heard += await client.command('LIST "" *')
            heard += await client.command("UID FETCH 1:* (UID)")
            heard += await client.command("APPEND INBOX", HI)
            heard += await client.command("UID SEARCH ALL")
    return heard


async def test_chatter_comes_between_all_responses_and_before_the_plus() -> None:
    heard = await chatter(replace(CHATTY, chatter_percent=80))
    pairs = {(_kind(one), _kind(two)) for one, two in pairwise(heard)}
    assert (b"EXISTS", b"+") in pairs
    assert (b"CAPABILITY", b"LIST") in pairs
    assert (b"EXISTS", b"FETCH") in pairs
    assert {b"* OK Still here", b"* OK [ALERT] Your quota is nearly used up: {90}"} <= set(heard)
    unasked = [line for line in heard if b"FETCH (FLAGS" in line]
    assert unasked
    assert all(b"UID" not in line for line in unasked)


def _kind(line: bytes) -> bytes:
    words = line.split()
    if words[0] == b"+":
        return b"+"
    return words[2] if words[1].isdigit() else words[1]


async def test_chatter_is_the_same_for_the_same_seed() -> None:
    assert await chatter(CHATTY) == await chatter(CHATTY)
    assert await chatter(CHATTY) != await chatter(replace(CHATTY, chatter_seed=2))
    quiet = await chatter(replace(CHATTY, chatter_seed=None))
    assert data(quiet, b"OK") == []


async def test_chatter_tells_only_numbers_that_the_client_can_know() -> None:
    async with world(replace(CHATTY, chatter_percent=80), bodies=[HI] * 30) as made:
        client = await made.login("INBOX")
        other = await made.login("INBOX")
        exists = 30
        for uid in range(1, 30):
            await other.command(f"STORE {2 if uid > 1 else 1} +FLAGS.SILENT (\\Deleted)")
            await other.command("EXPUNGE")
            for line in await client.command("NOOP"):
                word = line.split()
                if word[2:] == [b"EXPUNGE"]:
                    assert 1 <= int(word[1]) <= exists
                    exists -= 1
                elif word[2:] == [b"EXISTS"]:
                    assert int(word[1]) == exists
                elif word[2:3] == [b"FETCH"]:
                    assert 1 <= int(word[1]) <= exists
        assert exists == 1


# --- TLS -----------------------------------------------------------------------------------------------------


async def test_tls_from_the_first_byte() -> None:
    async with world(tls=server_tls()) as made:
        client = await made.connect(client_tls())
        assert (await client.response()).startswith(b"* OK")
        assert b" OK " in (await client.command("LOGIN alice secret"))[-1]
        assert b" OK " in (await client.command("APPEND INBOX", HI * 5000))[-1]


async def test_starttls_and_login_disabled() -> None:
    async with world(replace(PLAIN, login_needs_tls=True), starttls=server_tls()) as made:
        client = await made.connect()
        greeting = await client.response()
        assert b"STARTTLS" in greeting
        assert b"LOGINDISABLED" in greeting
        assert b"AUTH=" not in greeting
        assert b"NO [PRIVACYREQUIRED]" in (await client.command("LOGIN alice secret"))[-1]
        assert b" OK " in (await client.command("STARTTLS"))[-1]
        await client.writer.start_tls(client_tls(), server_hostname="localhost")
        assert b"STARTTLS" not in (await client.command("CAPABILITY"))[0]
        assert b" OK " in (await client.command("LOGIN alice secret"))[-1]


async def test_plaintext_behind_starttls_is_dropped() -> None:
    async with world(starttls=server_tls()) as made:
        client = await made.connect()
        await client.response()
        client.send(b"a STARTTLS\r\nb LOGIN alice secret\r\n")
        assert (await client.response()).startswith(b"a OK")
        await client.writer.start_tls(client_tls(), server_hostname="localhost")
        assert await client.command("NOOP") == [b"T1 OK Nothing done"]
        assert made.server.counts["LOGIN"] == 0


async def test_no_starttls_without_a_context() -> None:
    async with world() as made:
        client = await made.connect()
        assert b"STARTTLS" not in await client.response()
        assert b" BAD " in (await client.command("STARTTLS"))[-1]


# --- The value itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"extensions": frozenset({"NOTIFY"})},
        {"late": frozenset({"FOO"})},
        {"separator": ""},
        {"separator": "*"},
        {"prefix": "INBOX."},
        {"chatter_percent": 100},
    ],
)
def test_manners_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(PLAIN, **wrong)  # type: ignore[arg-type]


def test_without_takes_an_extension_out_of_all_lists() -> None:
    assert not any(GMAIL_MANNERS.without(name).has(name) for name in EXTENSIONS)
