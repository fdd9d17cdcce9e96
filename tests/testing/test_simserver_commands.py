"""The commands of the simulated server, seen with a raw client: what RFC 3501 and its extensions say must be there."""

from __future__ import annotations

import pytest
from tests.testing.rawclient import HI, data, world

from mailtwin.testing.manners import PLAIN


async def test_the_greeting_comes_first_and_tells_the_capabilities() -> None:
    async with world() as made:
        client = await made.connect()
        greeting = await client.response()
        assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+")
        assert b"AUTH=PLAIN" in greeting


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("LOGIN alice secret", b"OK"),
        ('LOGIN "alice" "secret"', b"OK"),
        ("LOGIN alice wrong", b"NO"),
        ("LOGIN bob secret", b"NO"),
        ("LOGIN alice", b"BAD"),
        ("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", b"OK"),
        ("AUTHENTICATE PLAIN AGFsaWNlAHdyb25n", b"NO"),
        ("AUTHENTICATE PLAIN ???", b"BAD"),
        ("AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2tlbi0xAQE=", b"OK"),
        ("AUTHENTICATE GSSAPI", b"NO"),
        ("SELECT INBOX", b"BAD"),
        ("FROBNICATE", b"BAD"),
    ],
)
async def test_before_login(command: str, status: bytes) -> None:
    async with world() as made:
        client = await made.connect()
        await client.response()
        assert (await client.command(command))[-1].split()[1] == status


async def test_login_with_literals() -> None:
    async with world() as made:
        client = await made.connect()
        await client.response()
        assert b" NO " in (await client.command("LOGIN", "alice", "wrong"))[-1]
        client.send(b"a LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n")
        assert (await client.response()).startswith(b"a OK")


async def test_authenticate_without_an_initial_response() -> None:
    async with world() as made:
        client = await made.connect()
        await client.response()
        client.send(b"a AUTHENTICATE PLAIN\r\n")
        assert await client.response() == b"+ "
        client.send(b"AGFsaWNlAHNlY3JldA==\r\n")
        assert (await client.response()).startswith(b"a OK")


async def test_a_wrong_token_gets_its_reason_as_a_challenge() -> None:
    async with world() as made:
        client = await made.connect()
        await client.response()
        client.send(b"a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB4AQE=\r\n")
        assert (await client.response()).startswith(b"+ eyJ")
        client.send(b"\r\n")
        assert (await client.response()).startswith(b"a NO [AUTHENTICATIONFAILED]")


async def test_select_tells_all_that_a_synchroniser_needs() -> None:
    async with world(bodies=[HI, HI]) as made:
        made.account["INBOX"].set_flags(1, ["\\Seen", "Work"])
        client = await made.login()
        answer = await client.command("SELECT inbox")
        assert b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Work)" in answer
        assert b"* 2 EXISTS" in answer
        assert b"* OK [UNSEEN 2] First unseen" in answer
        assert b"* OK [UIDVALIDITY 1700000001] UIDs valid" in answer
        assert b"* OK [UIDNEXT 3] Predicted next UID" in answer
        assert b"* OK [HIGHESTMODSEQ 4] Highest" in answer
        assert any(line.startswith(b"* OK [PERMANENTFLAGS (") and b"\\*" in line for line in answer)
        assert answer[-1] == b"T2 OK [READ-WRITE] Selected"


async def test_examine_changes_nothing() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login()
        assert b"[READ-ONLY]" in (await client.command("EXAMINE INBOX"))[-1]
        await client.command("FETCH 1 BODY[]")
        assert b"NO [READ-ONLY]" in (await client.command("STORE 1 +FLAGS (\\Seen)"))[-1]
        assert made.account["INBOX"][1].flags == frozenset()


async def test_a_failed_select_leaves_no_mailbox_selected() -> None:
    async with world() as made:
        client = await made.login("INBOX")
        assert b" NO " in (await client.command("SELECT nowhere"))[-1]
        assert b" BAD " in (await client.command("FETCH 1 UID"))[-1]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("UID", b"UID 1"),
        ("(UID FLAGS)", b"UID 1 FLAGS (\\Recent)"),
        ("FAST", b'FLAGS (\\Recent) INTERNALDATE " 1-Jan-2026 12:00:00 +0000" RFC822.SIZE 42'),
        ("BODY.PEEK[]", b"BODY[] {42}\r\n" + HI),
        ("BODY.PEEK[]<9.5>", b"BODY[]<9> {5}\r\nhi\r\nM"),
        ("BODY.PEEK[]<99.5>", b"BODY[]<99> {0}\r\n"),
        ("BODY.PEEK[TEXT]", b"BODY[TEXT] {7}\r\nhello\r\n"),
        ("BODY.PEEK[HEADER]", b"BODY[HEADER] {35}\r\n" + HI[:35]),
        (
            "BODY.PEEK[HEADER.FIELDS (subject x)]",
            b"BODY[HEADER.FIELDS (subject x)] {15}\r\nSubject: hi\r\n\r\n",
        ),
        ("BODY.PEEK[HEADER.FIELDS.NOT (Subject)]", b"BODY[HEADER.FIELDS.NOT (Subject)] {22}\r\n" + HI[13:35]),
        ("MODSEQ", b"MODSEQ (2)"),
        ("BODY[TEXT]", b"BODY[TEXT] {7}\r\nhello\r\n FLAGS (\\Recent \\Seen)"),
        ("RFC822.HEADER", b"RFC822.HEADER {35}\r\n" + HI[:35]),
    ],
)
async def test_fetch_items(items: str, expected: bytes) -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b"* 1 FETCH (" + expected + b")" in await client.command(f"FETCH 1 {items}")


@pytest.mark.parametrize(
    "items", ["ENVELOPE", "(UID", "BODY[1]", "()", "UID FLAGS", "BODY[]<1>", "BODY[HEADER.FIELDS ()]"]
)
async def test_fetch_items_that_are_refused(items: str) -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        answer = await client.command(f"FETCH 1 {items}")
        assert len(answer) == 1
        assert b" BAD " in answer[0]


@pytest.mark.parametrize(
    ("uids", "found"),
    [("1:*", [1, 3, 5]), ("*:2", [3, 5]), ("4", []), ("9:*", [5]), ("5,1", [1, 5]), ("1:3,3:5", [1, 3, 5])],
)
async def test_uid_sets(uids: str, found: list[int]) -> None:
    async with world(bodies=[HI] * 5) as made:
        made.account["INBOX"].remove(2)
        made.account["INBOX"].remove(4)
        client = await made.login("INBOX")
        answer = data(await client.command(f"UID FETCH {uids} FLAGS"), b"FETCH")
        assert [int(line.split(b"UID ")[1].split()[0]) for line in answer] == found


@pytest.mark.parametrize("numbers", ["0", "4", "1:4", "a", "1,,2", "1:2:3", "99999999999"])
async def test_bad_sequence_numbers(numbers: str) -> None:
    async with world(bodies=[HI] * 3) as made:
        client = await made.login("INBOX")
        assert b" BAD " in (await client.command(f"FETCH {numbers} FLAGS"))[-1]


@pytest.mark.parametrize(
    ("action", "flags"),
    [
        ("FLAGS (\\Seen)", {"\\Seen"}),
        ("+FLAGS (\\Seen Work)", {"\\Flagged", "\\Seen", "Work"}),
        ("-FLAGS \\flagged", set()),
        ("FLAGS.SILENT ()", set()),
        ("+FLAGS.SILENT \\Draft \\Answered", {"\\Flagged", "\\Draft", "\\Answered"}),
    ],
)
async def test_store(action: str, flags: set[str]) -> None:
    async with world(bodies=[HI]) as made:
        made.account["INBOX"].set_flags(1, ["\\Flagged"])
        client = await made.login("INBOX")
        answer = await client.command(f"UID STORE 1 {action}")
        assert b" OK " in answer[-1]
        assert made.account["INBOX"][1].flags == flags
        assert bool(data(answer, b"FETCH")) is ("SILENT" not in action)


async def test_store_refuses_system_flags_that_nobody_can_set() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b" BAD " in (await client.command("STORE 1 +FLAGS (\\Recent)"))[-1]
        assert b" BAD " in (await client.command("STORE 1 +FLAGS (\\Foo)"))[-1]


async def test_condstore() -> None:
    async with world(bodies=[HI] * 3) as made:
        client = await made.login()
        await client.command("SELECT INBOX (CONDSTORE)")
        answer = await client.command("UID STORE 2 +FLAGS.SILENT (\\Seen)")
        assert b"* 2 FETCH (UID 2 MODSEQ (5))" in answer
        answer = await client.command("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4)")
        assert data(answer, b"FETCH") == [b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Seen) MODSEQ (5))"]
        answer = await client.command("UID STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Flagged)")
        assert b"[MODIFIED 2]" in answer[-1]
        assert [message.flags for message in made.account["INBOX"]] == [
            {"\\Flagged"},
            {"\\Seen"},
            {"\\Flagged"},
        ]
        assert b"* SEARCH 1 3 (MODSEQ 7)" in await client.command("SEARCH MODSEQ 6")
        answer = await client.command("STATUS INBOX (HIGHESTMODSEQ)")
        assert answer[0] == b'* STATUS "INBOX" (HIGHESTMODSEQ 7)'


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ("ALL", b" 1 2 3"),
        ("SEEN", b" 2"),
        ("UNSEEN", b" 1 3"),
        ("KEYWORD work", b" 3"),
        ("UNKEYWORD Work", b" 1 2"),
        ("1:2", b" 1 2"),
        ("UID 2:*", b" 2 3"),
        ("NOT SEEN UID 3", b" 3"),
        ("OR SEEN KEYWORD Work", b" 2 3"),
        ("(SEEN) ALL", b" 2"),
        ("HEADER Message-ID <two@x>", b" 2"),
        ('HEADER "message-id" ""', b" 1 2 3"),
        ("SUBJECT HI", b" 1 2 3"),
        ("TEXT hello", b" 1 2 3"),
        ("BODY two", b""),
        ("LARGER 42", b" 2"),
        ("SINCE 1-Jan-2026 BEFORE 2-Jan-2026", b" 1 2 3"),
        ("CHARSET UTF-8 SEEN", b" 2"),
    ],
)
async def test_search(keys: str, found: bytes) -> None:
    async with world(bodies=[HI, HI.replace(b"hi@", b"two@"), HI]) as made:
        made.account["INBOX"].set_flags(2, ["\\Seen"])
        made.account["INBOX"].set_flags(3, ["Work"])
        client = await made.login("INBOX")
        assert b"* SEARCH" + found in await client.command(f"SEARCH {keys}")


@pytest.mark.parametrize(
    "keys", ["FOO", "SEEN FOO", "", "OR SEEN", "SINCE 32-Jan-2026", "HEADER x", "(" * 99]
)
async def test_search_keys_that_are_refused(keys: str) -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        assert b" BAD " in (await client.command(f"SEARCH {keys}"))[-1]


async def test_esearch() -> None:
    async with world(bodies=[HI] * 4) as made:
        made.account["INBOX"].remove(3)
        client = await made.login("INBOX")
        assert b'* ESEARCH (TAG "T3") UID ALL 1:2,4' in await client.command("UID SEARCH RETURN () ALL")
        answer = await client.command("SEARCH RETURN (MIN MAX COUNT) ALL")
        assert b'* ESEARCH (TAG "T4") MIN 1 MAX 3 COUNT 3' in answer
        assert b'* ESEARCH (TAG "T5") UID' in await client.command("UID SEARCH RETURN () SEEN")


async def test_append_keeps_bytes_flags_and_date() -> None:
    body = b"Subject: x\r\n\r\nbare \n and \r, 8-bit \xff, ending without a line end"
    async with world() as made:
        client = await made.login("INBOX")
        answer = await client.command('APPEND INBOX (\\Seen Work) "17-Jul-1996 02:44:25 -0730"', body)
        assert answer[1:3] == [b"* 1 EXISTS", b"* 1 RECENT"]
        assert answer[-1] == b"T3 OK [APPENDUID 1700000001 1] Appended"
        message = made.account["INBOX"][1]
        assert message.body == body
        assert message.flags == {"\\Seen", "Work"}
        assert message.date.isoformat() == "1996-07-17T02:44:25-07:30"
        assert b'"17-Jul-1996 02:44:25 -0730"' in (await client.command("FETCH 1 INTERNALDATE"))[0]


@pytest.mark.parametrize(
    ("command", "body", "reply"),
    [
        ("APPEND nowhere", b"x", b" NO [TRYCREATE]"),
        ("APPEND INBOX", b"", b" NO "),
        ("APPEND INBOX", b"a\0b", b" NO "),
        ("APPEND INBOX (\\Nope)", b"x", b" BAD "),
        ('APPEND INBOX "yesterday"', b"x", b" BAD "),
    ],
)
async def test_append_that_is_refused(command: str, body: bytes, reply: bytes) -> None:
    async with world() as made:
        client = await made.login()
        assert reply in (await client.command(command, body))[-1]
        assert made.inbox == []


async def test_an_unknown_target_is_refused_before_the_literal() -> None:
    async with world() as made:
        client = await made.login()
        client.send(b"a APPEND nowhere {100}\r\n")
        assert (await client.response()).startswith(b"a NO [TRYCREATE]")
        assert b" OK " in (await client.command("NOOP"))[-1]


async def test_copy_and_move() -> None:
    async with world(bodies=[HI] * 3) as made:
        archive = made.account.create("Archive")
        made.account["INBOX"].set_flags(3, ["\\Seen"])
        client = await made.login("INBOX")
        answer = await client.command("UID COPY 1,3 Archive")
        assert answer[-1] == b"T3 OK [COPYUID 1700000002 1,3 1:2] Copied"
        assert [message.flags for message in archive] == [set(), {"\\Seen"}]
        answer = await client.command("MOVE 2:3 Archive")
        assert answer == [
            b"* OK [COPYUID 1700000002 2:3 3:4] Moved",
            b"* 2 EXPUNGE",
            b"* 2 EXPUNGE",
            b"T4 OK Moved",
        ]
        assert (made.inbox, archive.uids()) == ([1], [1, 2, 3, 4])
        assert b"NO [TRYCREATE]" in (await client.command("COPY 1 nowhere"))[-1]


async def test_expunge_by_uid_takes_only_the_uids_given() -> None:
    async with world(bodies=[HI] * 4) as made:
        client = await made.login("INBOX")
        await client.command("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
        assert await client.command("UID EXPUNGE 2,4") == [b"* 2 EXPUNGE", b"T4 OK Expunged"]
        assert await client.command("EXPUNGE") == [b"* 1 EXPUNGE", b"* 1 EXPUNGE", b"T5 OK Expunged"]
        assert made.inbox == [4]


async def test_close_expunges_and_unselect_does_not() -> None:
    async with world(bodies=[HI] * 2) as made:
        made.account["INBOX"].set_flags(1, ["\\Deleted"])
        client = await made.login("INBOX")
        assert await client.command("UNSELECT") == [b"T3 OK Unselected"]
        assert made.inbox == [1, 2]
        await client.command("SELECT INBOX")
        assert await client.command("CLOSE") == [b"T5 OK Closed"]
        assert made.inbox == [2]


async def test_list_and_lsub() -> None:
    async with world() as made:
        made.account.create("Trash", "\\Trash")
        made.account.create("Grüße & mehr/2026")
        client = await made.login()
        assert await client.command('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""', b"T2 OK Separator told"]
        answer = await client.command('LIST "" *')
        assert answer[:-1] == [
            b'* LIST (\\HasNoChildren) "/" "INBOX"',
            b'* LIST (\\Noselect \\HasChildren) "/" "Gr&APwA3w-e &- mehr"',
            b'* LIST (\\HasNoChildren) "/" "Gr&APwA3w-e &- mehr/2026"',
            b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
        ]
        assert len(data(await client.command('LIST "" %'), b"LIST")) == 3
        assert data(await client.command('LIST "" inbox'), b"LIST") == answer[:1]
        assert data(await client.command("LIST Gr&APwA3w-e* 2026"), b"LIST") == []
        await client.command("SUBSCRIBE Trash")
        assert b'* LSUB () "/" "Trash"' in await client.command('LSUB "" *')
        await client.command("UNSUBSCRIBE Trash")
        assert len(await client.command('LSUB "" *')) == 2


async def test_extended_list() -> None:
    async with world(bodies=[HI]) as made:
        made.account.create("Trash", "\\Trash")
        client = await made.login()
        answer = await client.command(
            'LIST "" (INBOX T%) RETURN (SUBSCRIBED SPECIAL-USE CHILDREN STATUS (MESSAGES UIDNEXT UIDVALIDITY))'
        )
        assert answer[:-1] == [
            b'* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
            b'* STATUS "INBOX" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1700000001)',
            b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
            b'* STATUS "Trash" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1700000002)',
        ]
        assert len(data(await client.command('LIST (SPECIAL-USE) "" *'), b"LIST")) == 1
        assert len(data(await client.command('LIST (SUBSCRIBED) "" *'), b"LIST")) == 1
        assert b" BAD " in (await client.command('LIST (FOO) "" *'))[-1]


async def test_create_rename_and_delete() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login()
        for name in ("A/B/", "A/C"):
            assert b" OK " in (await client.command(f"CREATE {name}"))[-1]
        assert b"NO [ALREADYEXISTS]" in (await client.command("CREATE A/B"))[-1]
        assert b"NO [CANNOT]" in (await client.command("CREATE A//B"))[-1]
        assert b" OK " in (await client.command("RENAME A D"))[-1]
        assert made.account.names() == ["INBOX", "D/B", "D/C"]
        assert b"NO [ALREADYEXISTS]" in (await client.command("RENAME D/B D/C"))[-1]
        assert b"NO [NONEXISTENT]" in (await client.command("DELETE D"))[-1]
        assert b" OK " in (await client.command("DELETE D/C"))[-1]
        assert b"NO [CANNOT]" in (await client.command("DELETE inbox"))[-1]
        assert b" OK " in (await client.command("RENAME INBOX Old"))[-1]
        assert (made.inbox, len(made.account["Old"])) == ([], 1)


async def test_a_mailbox_made_again_has_another_uidvalidity() -> None:
    async with world() as made:
        first = made.account.create("A").uid_validity
        client = await made.login()
        await client.command("DELETE A")
        await client.command("CREATE A")
        assert made.account["A"].uid_validity > first


async def test_others_learn_of_a_lost_mailbox_by_bye() -> None:
    async with world() as made:
        made.account.create("A")
        client = await made.login("A")
        made.account.delete("A")
        assert await client.command("NOOP") == [b"* BYE The selected mailbox is gone", b""]


async def test_renewed_numbers_end_the_sessions_that_knew_the_old_ones() -> None:
    async with world(bodies=[HI] * 2) as made:
        client = await made.login("INBOX")
        made.account["INBOX"].remove(1)
        made.account["INBOX"].renew(99)
        assert made.inbox == [1]
        assert (await client.command("NOOP"))[0].startswith(b"* BYE")


async def test_id_namespace_enable_and_capability() -> None:
    async with world() as made:
        client = await made.login()
        assert b'* ID ("name" "mailtwin-sim")' in await client.command('ID ("name" "x" "version" NIL)')
        assert b'* NAMESPACE (("" "/")) NIL NIL' in await client.command("NAMESPACE")
        assert b"* ENABLED CONDSTORE" in await client.command("ENABLE CONDSTORE QRESYNC")
        assert (await client.command("CAPABILITY"))[0].startswith(b"* CAPABILITY IMAP4rev1 ")
        assert (await client.command("LOGOUT"))[0].startswith(b"* BYE")
        assert await client.rest() == b""


async def test_pipelined_commands_are_answered_in_order() -> None:
    async with world(bodies=[HI]) as made:
        client = await made.login("INBOX")
        client.send(b"a NOOP\r\nb APPEND INBOX {3+}\r\nx\r\n\r\nc UID SEARCH ALL\r\nd FETCH 2 UID\r\n")
        seen = [await client.response() for _ in range(8)]
        assert seen[0] == b"a OK Nothing done"
        assert seen[-4:] == [b"* SEARCH 1 2", b"c OK Searched", b"* 2 FETCH (UID 2)", b"d OK Fetched"]


async def test_a_command_in_single_bytes() -> None:
    async with world() as made:
        client = await made.login()
        for byte in b"a APPEND INBOX {3+}\r\nx\r\n\r\n":
            client.send(bytes([byte]))
            await client.writer.drain()
        assert (await client.response()).startswith(b"a OK")
        assert made.account["INBOX"].bodies() == [b"x\r\n"]


@pytest.mark.parametrize(
    "line", [b"", b"a", b"a  NOOP", b"a NOOP x", b"a NOOP ", b"(", b"a UID", b"a UID NOOP", b"\xff\xff"]
)
async def test_nonsense_is_bad_and_the_connection_lives(line: bytes) -> None:
    async with world() as made:
        client = await made.login()
        client.send(line + b"\r\n")
        assert b" BAD " in await client.response()
        assert b" OK " in (await client.command("NOOP"))[-1]


async def test_a_command_longer_than_the_limit_ends_the_connection() -> None:
    async with world() as made:
        client = await made.login()
        client.send(b"a NOOP " + b"x" * (PLAIN.command_limit + 9))
        assert await client.rest() == b"* BYE Command line too long\r\n"


async def test_many_small_literals_are_bounded_too() -> None:
    async with world() as made:
        client = await made.login()
        client.send(b"a SEARCH" + b" {9+}\r\n123456789" * 9000)
        assert await client.rest() == b"* BYE Command line too long\r\n"
