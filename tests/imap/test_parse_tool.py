"""`python -m mailtwin.imap parse`: its documentation is its golden test, and no cut of the input matters."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imap.test_extensions import SAID
from tests.imap.test_rarecodes import CARRYING

from mailtwin.imap import jsonlines, parser
from mailtwin.imap.__main__ import main, parse
from mailtwin.imap.jsonlines import Reader, plain
from mailtwin.model.limits import LINE_BYTES_MAX, LITERAL_INLINE_MAX, NESTING_MAX

DOCUMENT = (Path(__file__).parents[2] / "docs" / "imap-parse.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```imap\n(.*?)```\n\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
FIELDS = ["kind", "tag", "name", "number", "code", "text", "data"]


def shown(
    wire: bytes, *, split: int | None = None, hold: int = jsonlines.HELD_BYTES_MAX
) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    parse(io.BytesIO(wire), sink, split=split, hold=hold)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def wire_of(example: str) -> bytes:
    return example.replace("\n", "\r\n").encode()


# --- the document ---


@pytest.mark.parametrize(("example", "expected"), EXAMPLES, ids=[example[0][:30] for example in EXAMPLES])
def test_the_document_says_what_is_printed(example: str, expected: str) -> None:
    sink = io.BytesIO()
    assert parse(io.BytesIO(wire_of(example)), sink)
    assert sink.getvalue().decode() == expected


@pytest.mark.parametrize("split", [1, 2, 3, 7, 64, 1000])
def test_split_makes_no_difference(split: int) -> None:
    wire = b"".join(wire_of(example) for example, _ in EXAMPLES)
    assert shown(wire, split=split) == shown(wire)


def test_parts_of_a_section_are_told_apart() -> None:
    parts = b'BODY[]<0> "a" BODY[]<1> "b" BODY[TEXT]<2> "c" BINARY[1]<3> "d" BODY[] "e" BODY[HEADER.FIELDS (X)]<4> "f"'
    (one,) = shown(b"* 1 FETCH (" + parts + b")\r\n")
    assert one["data"] == {
        "BODY[]<0>": "a",
        "BODY[]<1>": "b",
        "BODY[TEXT]<2>": "c",
        "BINARY[1]<3>": "d",
        "BODY[]": "e",
        "BODY[HEADER.FIELDS (X)]<4>": "f",
    }


def test_every_known_response_is_documented() -> None:
    names = {json.loads(line)["name"] for _, expected in EXAMPLES for line in expected.splitlines()}
    known = {*parser.EXTENSIONS, *parser.NUMBERED, *parser.NAMED, "OK", "NO", "BAD", "BYE"}
    assert known <= names


def test_every_known_code_is_documented() -> None:
    for wire, _ in CARRYING:
        assert wire[1:].split(b" ")[0].rstrip(b"]").decode().upper() in DOCUMENT


def test_every_object_has_the_same_fields() -> None:
    for _, expected in EXAMPLES:
        for line in expected.splitlines():
            assert list(json.loads(line)) == FIELDS


def test_sets_of_a_copy_are_in_the_order_of_the_wire_and_as_short_as_that_lets_them_be() -> None:
    wire = b"A1 OK [COPYUID 7 4,5:6,1,8 12,10:9,11,13] x\r\n* OK [APPENDUID 7 1:4294967295] y\r\n"
    assert [said["code"]["args"] for said in shown(wire)] == [
        [7, "4:6,1,8", "12,9:11,13"],
        [7, "1:4294967295"],
    ]


# --- bytes ---


def test_bytes_that_are_no_text() -> None:
    wire = b'* LIST () "/" "caf\xe9"\r\n* OK [X \xff] hi \xfe\r\n\xff\r\n'
    wire += b"* 1 FETCH (BODY[] {3}\r\na\0b BODY[1] {2}\r\n\xc3\xa9)\r\n"
    listed, status, unparsed, fetch = shown(wire)
    assert listed["data"]["mailbox"] == {"base64": base64.b64encode(b"caf\xe9").decode()}
    assert status["text"] == {"base64": base64.b64encode(b"hi \xfe").decode()}
    assert status["code"]["args"] == [{"base64": "/w=="}]
    assert unparsed["data"] == {"raw": {"base64": "/w=="}}
    assert fetch["data"] == {"BODY[]": "a\0b", "BODY[1]": "é"}


def test_what_is_not_what_it_should_be_is_shown_unread() -> None:
    wire = b"* 1 FETCH (UID 5 UID 0 FLAGS NIL ENVELOPE (NIL 2) EMAILID M1)\r\n* ESEARCH UID PARTIAL (1 x)\r\n"
    fetch, search = shown(wire)
    assert fetch["data"] == {
        "UID": 5,
        "FLAGS": {"unread": None},
        "ENVELOPE": {"unread": [None, 2]},
        "EMAILID": {"unread": "M1"},
    }
    assert search["data"]["items"] == {"PARTIAL": {"unread": [1, "x"]}}


@given(st.binary(max_size=60))
def test_any_literal_comes_back(content: bytes) -> None:
    (fetch,) = shown(b"* 1 FETCH (BODY[] {%d}\r\n%b UID 5)\r\n" % (len(content), content))
    value = fetch["data"]["BODY[]"]
    assert (value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])) == content


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_input_is_shown_and_no_cut_matters(wire: bytes, split: int) -> None:
    assert shown(wire, split=split) == shown(wire)


ODD = b"".join(wire + b"\r\n" for wire, _ in SAID) + b"".join(
    b"* OK " + wire + b" x\r\n" for wire, _ in CARRYING
)


@given(st.integers(1, 200), st.data())
def test_real_responses_cut_and_damaged(split: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(ODD)))
    damaged = ODD[:at] + data.draw(st.binary(max_size=3)) + ODD[at + data.draw(st.integers(0, 3)) :]
    assert shown(damaged, split=split) == shown(damaged)


# --- large literals ---

LARGE = bytes(range(256)) * (LITERAL_INLINE_MAX // 256) + b"!"
DIGEST = {"size": len(LARGE), "sha256": hashlib.sha256(LARGE).hexdigest()}


def large(*sections: str, rest: bytes = b"UID 5") -> bytes:
    parts = [b"%b {%d}\r\n%b " % (section.encode(), len(LARGE), LARGE) for section in sections]
    return b"* 1 FETCH (" + b"".join(parts) + rest + b")\r\n* 2 EXISTS\r\n"


@pytest.mark.parametrize("split", [None, 1000, 65_537])
def test_a_streamed_literal_is_part_of_the_data(split: int | None) -> None:
    fetch, exists = shown(large("BODY[]"), split=split)
    assert base64.b64decode(fetch["data"]["BODY[]"]["base64"]) == LARGE
    assert fetch["data"]["UID"] == 5
    assert exists["name"] == "EXISTS"


@pytest.mark.parametrize("split", [None, 999])
def test_above_the_limit_only_the_digest_is_kept(split: int | None) -> None:
    fetch, exists = shown(large("BODY[1]", "BODY[2]", "BINARY[3]"), split=split, hold=2 * len(LARGE))
    assert [type(fetch["data"][name]["base64"]) for name in ("BODY[1]", "BODY[2]")] == [str, str]
    assert fetch["data"]["BINARY[3]"] == DIGEST
    assert exists["number"] == 2
    fetch, _ = shown(large("BODY[1]"), hold=len(LARGE) - 1)
    assert fetch["data"] == {"UID": 5, "BODY[1]": DIGEST}


def test_the_limit_is_for_each_response() -> None:
    for fetch in shown(large("BODY[]") * 3, hold=len(LARGE))[::2]:
        assert "base64" in fetch["data"]["BODY[]"]


def test_a_large_annotation_is_read_where_it_is_held() -> None:
    wire = b"* METADATA x (/a {%d}\r\n%b)\r\n" % (len(LARGE), b"a" * len(LARGE))
    assert shown(wire)[0]["data"]["values"]["/a"] == "a" * len(LARGE)
    (refused,) = shown(wire, hold=0)
    assert (refused["kind"], refused["name"]) == ("unparsed", "METADATA")


def test_what_is_held_is_bounded() -> None:
    """Thousands of responses with literals that are not held leave nothing behind."""
    reader = Reader(held_bytes_max=0)
    for _ in range(50):
        list(reader.feed(large("BODY[]")))
    assert not reader._large
    assert len(reader._held) == 0


# --- ends ---


@pytest.mark.parametrize(
    ("wire", "raw"),
    [
        (b"* OK hi\r\n* 5 EX", "* 5 EX"),
        (b"* OK hi\r\n* 1 FETCH (BODY[] {5}\r\nab", '* 1 FETCH (BODY[] ""ab'),
        (b"* OK hi\r\n* 1 FETCH (BODY[] {3}\r\nabc", '* 1 FETCH (BODY[] ""'),
        (b"* OK hi\r\n* 1 FETCH (BODY[] {70000}\r\nab", '* 1 FETCH (BODY[] ""'),
        (b"* OK hi\r\n" + b"x" * 500, "x" * 200),
    ],
)
@pytest.mark.parametrize("split", [None, 1])
def test_an_input_that_ends_too_early(wire: bytes, raw: str, split: int | None) -> None:
    sink = io.BytesIO()
    assert not parse(io.BytesIO(wire), sink, split=split)
    greeting, last = (json.loads(line) for line in sink.getvalue().splitlines())
    assert greeting["text"] == "hi"
    assert (last["kind"], last["name"]) == ("unparsed", None)
    assert last["text"] == "the input ends in the middle of a response"
    assert last["data"] == {"raw": raw}


@pytest.mark.parametrize("split", [1, 3, 1000])
def test_what_follows_a_broken_limit_is_not_shown(split: int) -> None:
    """How much of it is there already is chance."""
    wire = b"* X {99999999999}\r\n" + b"whatever comes " * 100
    (last,) = shown(wire, split=split)
    assert last["data"] == {"raw": '* X ""'}


def test_an_input_that_breaks_a_limit() -> None:
    wire = b"* OK hi\r\n* SEARCH " + b"1" * LINE_BYTES_MAX + b"\r\n* 5 EXISTS\r\n"
    _, last = shown(wire)
    assert last["text"] == f"the server sent a line of more than {LINE_BYTES_MAX} bytes"
    assert last["data"]["raw"].startswith("* SEARCH 111")
    assert shown(wire, split=65_536) == shown(wire)


@pytest.mark.parametrize("wire", [b"", b"\r\n", b"* OK hi\r\n\r\n"])
def test_an_input_that_is_whole(wire: bytes) -> None:
    sink = io.BytesIO()
    assert parse(io.BytesIO(wire), sink)
    assert sink.getvalue().count(b"\n") == wire.count(b"OK")


def test_lines_may_end_with_lf_alone() -> None:
    assert [one["name"] for one in shown(b"* OK hi\n* 5 EXISTS\n")] == ["OK", "EXISTS"]


def test_the_deepest_structure_is_shown() -> None:
    leaf = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)'
    deepest = b"(" * (NESTING_MAX - 1) + leaf + b' "MIXED")' * (NESTING_MAX - 1)
    (fetch,) = shown(b"* 1 FETCH (BODY " + deepest + b")\r\n")
    assert fetch["data"]["BODY"]["parts"]
    nested = leaf
    for _ in range(NESTING_MAX - 1):
        envelope = b" ".join([b"NIL"] * 10)
        nested = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 9 (%b) %b 9)' % (envelope, nested)
    (fetch,) = shown(b"* 1 FETCH (BODY " + nested + b")\r\n")
    assert fetch["data"]["BODY"]["message"]


def test_what_has_no_json_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        plain(object())


# --- as a program ---


def run(*arguments: str, said: bytes = b"* OK hi\r\n") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mailtwin.imap", *arguments], input=said, capture_output=True, check=False
    )


def test_as_a_program() -> None:
    done = run("parse", "--split", "2", "--hold", "10")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["text"] == "hi"
    assert run("parse", said=b"* OK").returncode == 1


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [
        ("--split", "0", 1),
        ("--split", "two", 1),
        ("--hold", "-1", 0),
        ("--hold", "²", 0),
        ("--hold", "9" * 5000, 0),
    ],
)
def test_what_is_wrong_about_a_number(
    option: str, value: str, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["parse", f"{option}={value}"])
    assert caught.value.code == 2
    assert f"argument {option}: not a number from {least} up: {value[:40]!r}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["guess"], ["parse", "--split", "0"], ["parse", "--hold", "-1"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m mailtwin.imap" in capsys.readouterr().err


def test_who_stops_reading_gets_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mailtwin.imap", "parse"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(b"* 5 EXISTS\r\n")
    process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


def test_responses_are_shown_as_they_come() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mailtwin.imap", "parse"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"* 5 EXISTS\r\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["number"] == 5
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
