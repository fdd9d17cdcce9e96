"""Response codes: all that the RFCs in use name, with what they carry; a damaged one keeps its bytes."""

from __future__ import annotations

import pytest
from tests.imap.wire import say

from mailtwin.imap import Connection, codes
from mailtwin.imap import commands as c
from mailtwin.imap.rarecodes import CONVERTERS
from mailtwin.imap.responses import Code, Status
from mailtwin.model import UidSet

CARRYING: list[tuple[bytes, tuple[object, ...]]] = [
    (b"[BADCHARSET]", ()),
    (b"[BADCHARSET (UTF-8 {US-ASCII)]", ("UTF-8", "{US-ASCII")),
    (b'[BADCHARSET ("UTF-8")]', ("UTF-8",)),
    (b"[BADEVENT (MessageNew FlagChange)]", ("MessageNew", "FlagChange")),
    (b'[BADURL "/INBOX;UIDVALIDITY=7/;UID=10/]"]', ("/INBOX;UIDVALIDITY=7/;UID=10/]",)),
    (b"[INPROGRESS]", ()),
    (b'[INPROGRESS ("A001" 454 1000)]', ("A001", 454, 1000)),
    (b'[inprogress ("A001" NIL NIL)]', ("A001", None, None)),
    (b"[INPROGRESS (NIL 3 NIL)]", (None, 3, None)),
    (b"[INPROGRESS (12 0 9223372036854775807)]", ("12", 0, 2**63 - 1)),
    (b'[JMAPACCESS "https://example.com/.s/[jmap]"]', ("https://example.com/.s/[jmap]",)),
    (b"[JMAPACCESS https://example.com/jmap]", ("https://example.com/jmap",)),
    (b"[MAILBOXID (F2212ea87-6097-4256-9d51-71338625)]", ("F2212ea87-6097-4256-9d51-71338625",)),
    (b"[MAILBOXID (0012)]", ("0012",)),
    (b"[MAXCONVERTMESSAGES 1]", (1,)),
    (b"[MAXCONVERTPARTS 20]", (20,)),
    (b"[MESSAGELIMIT 1000 23221]", (1000, 23221)),
    (b"[MESSAGELIMIT 1000]", (1000,)),
    (b"[METADATA LONGENTRIES 2199]", ("LONGENTRIES", 2199)),
    (b"[METADATA maxsize 1024]", ("MAXSIZE", 1024)),
    (b"[METADATA TOOMANY]", ("TOOMANY",)),
    (b"[METADATA NOPRIVATE]", ("NOPRIVATE",)),
    (b"[MODIFIED 7,9:12]", (UidSet.parse("7,9:12"),)),
    (b'[NOUPDATE "B02"]', ("B02",)),
    (b"[OBJECTID (mailboxid F1 ACCOUNTID 0012)]", ("MAILBOXID", "F1", "ACCOUNTID", "0012")),
    (b"[REFERRAL IMAP://user;AUTH=*@SERVER2/]", ("IMAP://user;AUTH=*@SERVER2/",)),
    (b'[UNDEFINED-FILTER "on-the-road"]', ("on-the-road",)),
    # Damaged
    (b"[BADCHARSET UTF-8]", (b"UTF-8",)),
    (b"[BADEVENT x y]", (b"x y",)),
    (b'[BADURL "half]', (b'"half',)),
    (b"[INPROGRESS (A001 454)]", (b"(A001 454)",)),
    (b"[INPROGRESS (A001 454 many)]", (b"(A001 454 many)",)),
    (b"[INPROGRESS 454 1000]", (b"454 1000",)),
    (b"[MAILBOXID F2212]", (b"F2212",)),
    (b"[MAILBOXID (a b)]", (b"(a b)",)),
    (b"[MESSAGELIMIT]", ()),
    (b"[MESSAGELIMIT 1000 -5]", (b"1000 -5",)),
    (b"[MESSAGELIMIT 1 2 3]", (b"1 2 3",)),
    (b"[METADATA LONGENTRIES]", (b"LONGENTRIES",)),
    (b"[METADATA SOMETHING]", (b"SOMETHING",)),
    (b"[METADATA]", ()),
    (b"[MODIFIED 1:*]", (b"1:*",)),
    (b"[MODIFIED \xff]", (b"\xff",)),
    (b"[MAXCONVERTPARTS 1 2]", (b"1 2",)),
    (b"[NOUPDATE]", ()),
    (b"[OBJECTID ()]", (b"()",)),
    (b"[OBJECTID (MAILBOXID)]", (b"(MAILBOXID)",)),
    (b"[OBJECTID F1]", (b"F1",)),
]


@pytest.mark.parametrize(("wire", "args"), CARRYING, ids=[repr(row[0])[2:50] for row in CARRYING])
def test_what_codes_carry(wire: bytes, args: tuple[object, ...]) -> None:
    name = wire[1:].split(b" ")[0].rstrip(b"]").decode().upper()
    assert say(b"A1 NO " + wire + b" text") == Status("NO", "A1", Code(name, args), b"text")
    assert say(b"* OK " + wire) == Status("OK", None, Code(name, args), b"")


def test_every_rare_code_has_a_row() -> None:
    names = {wire[1:].split(b" ")[0].rstrip(b"]").decode().upper() for wire, _ in CARRYING}
    assert names == set(CONVERTERS) == codes.RARE


BARE = {
    "3501": "ALERT PARSE READ-ONLY READ-WRITE TRYCREATE",
    "4315": "UIDNOTSTICKY",
    "4469": "TOOBIG",
    "4978": "COMPRESSIONACTIVE",
    "5182": "NOTSAVED",
    "5465": "NOTIFICATIONOVERFLOW",
    "5530": "UNAVAILABLE AUTHENTICATIONFAILED AUTHORIZATIONFAILED EXPIRED PRIVACYREQUIRED CONTACTADMIN NOPERM INUSE "
    "EXPUNGEISSUED CORRUPTION SERVERBUG CLIENTBUG CANNOT LIMIT OVERQUOTA ALREADYEXISTS NONEXISTENT",
    "6154": "USEATTR",
    "7162": "NOMODSEQ CLOSED",
    "9051": "HASCHILDREN UNKNOWN-CTE",
    "9586": "UIDREQUIRED",
    "10022": "TOOFEW TOOMANY",
}


@pytest.mark.parametrize("name", " ".join(BARE.values()).split())
def test_codes_that_carry_nothing(name: str) -> None:
    assert say(f"A1 NO [{name}] no".encode()) == Status("NO", "A1", Code(name), b"no")
    assert say(f"* OK [{name.lower()}]".encode()) == Status("OK", None, Code(name), b"")


def test_replace_says_where_the_new_message_is_before_the_old_one_goes() -> None:
    """RFC 8508 section 3.3: APPENDUID comes in an untagged OK."""
    said = say(b"* OK [APPENDUID 1 2000] Replacement Message ready")
    assert said == Status(
        "OK",
        None,
        Code("APPENDUID", (1, UidSet.parse("2000")), ((range(2000, 2001),),)),
        b"Replacement Message ready",
    )


def test_a_limit_makes_the_answer_incomplete() -> None:
    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    handle = connection.send(c.List())
    connection.data_to_send()
    connection.receive_data(b"A1 OK [MESSAGELIMIT 1000 23221] cut\r\n")
    connection.next_event()
    assert len(handle.incomplete) == 1
