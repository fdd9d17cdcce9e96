"""`python -m mailtwin.imap parse`: what a server said, as JSON; and the door to `talk`, a conversation with one.

    python -m mailtwin.imap parse [--split N] [--hold BYTES] < bytes-of-a-server > responses.jsonl

Reads the raw bytes of an IMAP server, with or without its greeting, and prints one JSON object per response, in order:

    {"kind": "untagged", "tag": null, "name": "LIST", "number": null, "code": null, "text": null, "data": {...}}

`kind`: untagged, tagged, continuation, or unparsed for what is no IMAP (`text` says why, `data` holds its first bytes).
`name`: FETCH, LIST, OK, ...; `number`: the one in front of the name; `code`: `{"name", "args"}` of a response code;
`text`: the words for people of OK, NO, BAD, BYE, PREAUTH and `+`; `data`: by name, see `docs/imap-parse.md`.
Bytes that are not UTF-8 are `{"base64": ...}`.

`--split N` takes the input in pieces of N bytes; the output is the same. `--hold BYTES`: large literals up to this
sum for each response are in `data` (64 MiB if not said); above it only their size and SHA-256 are, and memory stays
a small multiple of it.

Exit codes: 0; 1 when the input ends in the middle of a response, or breaks a limit so that nothing behind can be told
apart (the last object says so); 2 for wrong arguments.

The only module of `mailtwin.imap` that reads, writes or exits. `talk` needs sockets, threads and a terminal, so it is a
program on another floor (`mailtwin.talk`), found by its name when it is asked for and never imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from mailtwin.imap.jsonlines import HELD_BYTES_MAX, Json, Reader

_READ_BYTES = 64 * 1024


def _number(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"not a number from {least} up: {text[:40]!r}")
    return int(text)


def _count(text: str) -> int:
    return _number(text, 0)


def _at_least_one(text: str) -> int:
    return _number(text, 1)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mailtwin.imap", description="Looks into IMAP.")
    commands = parser.add_subparsers(dest="command", required=True)
    parse = commands.add_parser("parse", help="print what a server said as JSON, one response per line")
    parse.add_argument("--split", type=_at_least_one, metavar="N", help="take the input in pieces of N bytes")
    parse.add_argument(
        "--hold",
        type=_count,
        default=HELD_BYTES_MAX,
        metavar="BYTES",
        help="print large literals up to this sum per response, else their size and SHA-256 (default: 64 MiB)",
    )
    commands.add_parser("talk", help="speak IMAP with a server at the keyboard", add_help=False)
    return parser.parse_args(argv)


def parse(source: BinaryIO, sink: BinaryIO, *, split: int | None = None, hold: int = HELD_BYTES_MAX) -> bool:
    """Writes the responses in `source` to `sink`; whether the input was whole."""
    reader = Reader(held_bytes_max=hold)
    while not reader.failed and (data := source.read(_READ_BYTES)):
        for at in range(0, len(data), split or len(data)):
            _write(sink, reader.feed(data[at : at + (split or len(data))]))
    _write(sink, reader.end())
    return not reader.failed


def _write(sink: BinaryIO, responses: Iterable[dict[str, Json]]) -> None:
    for response in responses:
        line = memoryview(json.dumps(response, ensure_ascii=False).encode() + b"\n")
        while line:
            # Unbuffered, so that who looks on sees each at once, and a closed pipe shows here and not at exit.
            line = line[sink.write(line) :]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tool; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["talk"]:
        return _talk(argv[1:])
    arguments = _arguments(argv)
    with (
        open(0, "rb", buffering=0, closefd=False) as source,
        open(1, "wb", buffering=0, closefd=False) as sink,
    ):
        try:
            whole = parse(source, sink, split=arguments.split, hold=arguments.hold)
        except BrokenPipeError:
            # Whoever read the output has seen enough.
            return 1
    return 0 if whole else 1


def _talk(argv: Sequence[str]) -> int:
    code: int = importlib.import_module("mailtwin.talk.__main__").main(argv)
    return code


if __name__ == "__main__":
    sys.exit(main())
