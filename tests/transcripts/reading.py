"""The transcripts: what each server was seen to do, written down as who says what and what must follow.

One text file per server. `== name (floor)` begins a transcript; the floor is what plays it: `kernel` (a `Connection`),
`client` (a `Session`) or `store` (an `ImapStore`), the last two against a scripted server. Then, line by line:

    S: * 3 EXISTS           the server says this line (`<0D>` is one octet, in hexadecimal)
    C: A1 NOOP              we must say this line
    do: Noop()              we do this: a command of the kernel, or a call of the floor (see `playing`)
    then: state.phase       this must be true
    raises: ThrottledError  doing it, or hearing what comes next, must raise this; words after the name must be in it
    end:                    the server closes the connection
    # words                 for people

`given: UIDPLUS` is a greeting of a server with these capabilities where we are logged in already, `in: 3 7` the SELECT
of an INBOX with 3 messages and UIDVALIDITY 7. `opened: 3 7 9 UIDPLUS` is all that a store does until it has selected
that INBOX, with UIDNEXT 9; the next tag is A3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Literal, TypeAlias, get_args

HERE = Path(__file__).parent
Floor: TypeAlias = Literal["kernel", "client", "store"]
Kind: TypeAlias = Literal["S", "C", "do", "then", "raises", "end"]

_TITLE = re.compile(r"== ([a-z0-9-]+) \((kernel|client|store)\)")
_LINE = re.compile(r"(S|C|do|then|raises|end|given|in|opened):(?: (.*))?")
_OCTET = re.compile(rb"<([0-9A-F]{2})>")


@dataclass(frozen=True)
class Step:
    """One line, or the lines that one side says without waiting."""

    kind: Kind
    text: str = ""
    data: bytes = b""
    code: CodeType | None = None


@dataclass
class Transcript:
    """What happens between one server and us."""

    name: str
    floor: Floor
    steps: list[Step] = field(default_factory=list)


def read_all() -> dict[str, Transcript]:
    """All transcripts by `server/name`."""
    found: dict[str, Transcript] = {}
    for path in sorted(HERE.glob("*.txt")):
        for one in _read(path):
            assert one.name not in found, f"two transcripts are called {one.name}"
            found[one.name] = one
    return found


def _read(path: Path) -> list[Transcript]:
    found: list[Transcript] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        where = f"{path.name}:{number}"
        title = _TITLE.fullmatch(line)
        if title is not None:
            assert title[2] in get_args(Floor)
            found.append(Transcript(f"{path.stem}/{title[1]}", title[2]))  # type: ignore[arg-type]
        elif line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match is not None, f"{where}: {line!r}"
            assert found, f"{where}: a title is missing"
            _add(found[-1].steps, match[1], match[2] or "", where)
    for one in found:
        assert any(step.kind in ("then", "raises") for step in one.steps), f"{one.name} expects nothing"
    return found


def _add(steps: list[Step], kind: str, text: str, where: str) -> None:
    if kind == "given":
        _say(steps, "S", f"* PREAUTH [CAPABILITY IMAP4rev1 {text}] hi".replace(" ]", "]"))
    elif kind == "in":
        count, validity = text.split()
        steps.append(Step("do", "", b"", compile('Select("INBOX")', where, "eval")))
        _say(steps, "C", 'A1 SELECT "INBOX"')
        _say(steps, "S", f"* {count} EXISTS")
        _say(steps, "S", f"* OK [UIDVALIDITY {validity}] the numbering")
        _say(steps, "S", "A1 OK [READ-WRITE] in")
    elif kind == "opened":
        _open_store(steps, *text.split(maxsplit=3), where=where)
    elif kind in ("S", "C"):
        _say(steps, kind, text)
    else:
        assert kind in ("do", "then", "raises", "end")
        code = compile(text, where, "eval") if kind in ("do", "then") else None
        steps.append(Step(kind, text, b"", code))  # type: ignore[arg-type]


def _open_store(
    steps: list[Step], count: str, validity: str, uid_next: str, capabilities: str = "", *, where: str
) -> None:
    _add(steps, "given", capabilities, where)
    _add(steps, "do", "connect()", where)
    option = " (CONDSTORE)" if "CONDSTORE" in capabilities.split() else ""
    for kind, text in (
        ("C", 'A1 LIST "" "*"'),
        ("S", '* LIST () "/" "INBOX"'),
        ("S", "A1 OK listed"),
        ("C", f'A2 SELECT "INBOX"{option}'),
        ("S", f"* {count} EXISTS"),
        ("S", f"* OK [UIDVALIDITY {validity}] the numbering"),
        ("S", f"* OK [UIDNEXT {uid_next}] the next"),
        ("S", "A2 OK [READ-WRITE] in"),
    ):
        _say(steps, kind, text)


def _say(steps: list[Step], kind: str, text: str) -> None:
    """Adds a line to what the same side said just before; the client's lines stay apart."""
    data = _OCTET.sub(lambda octet: bytes.fromhex(octet[1].decode()), text.encode("utf-8")) + b"\r\n"
    if kind == "S" and steps and steps[-1].kind == "S":
        data = steps.pop().data + data
    steps.append(Step(kind, text, data))  # type: ignore[arg-type]
