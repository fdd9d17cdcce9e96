"""The state tables of `docs/imap-kernel.md`, made from the tables in the code and from what a real `Connection` does.

python -m tests.docs.drawings      # writes them into the document
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from mailtwin.imap import Connection, Handle, Mechanism, commands
from mailtwin.imap.framing import Framer, LiteralChunk, LiteralStart
from mailtwin.imap.pipelining import RULES
from mailtwin.imap.responses import Status
from mailtwin.imap.sasl import Exchange
from mailtwin.imap.state import AFTER, ALLOWED, Phase, SessionState

DOCUMENT = Path(__file__).parents[2] / "docs" / "imap-kernel.md"
_PLACE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def phases() -> str:
    """The phases, and the replies that lead from one to another."""
    edges: dict[tuple[str, str], list[str]] = defaultdict(list)
    for word in ("OK", "PREAUTH", "BYE"):
        state = SessionState()
        state.greeted(Status(word, None))
        edges["[*]", state.phase.name].append(f"greeting {word}")
    for (verb, word), after in AFTER.items():
        for before in sorted(ALLOWED[verb], key=list(Phase).index):
            edges[before.name, after.name].append(f"{verb} {word}")
    lines = [f"    {before} --> {after}: {', '.join(why)}" for (before, after), why in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, f"    {Phase.LOGOUT.name} --> [*]", "```"])


def allowed() -> str:
    """The commands of each set of phases."""
    groups: dict[frozenset[Phase], list[str]] = defaultdict(list)
    for verb, where in ALLOWED.items():
        groups[where].append(verb)
    rows = [
        f"| {', '.join(phase.value for phase in Phase if phase in where)} | {', '.join(verbs)} |"
        for where, verbs in groups.items()
    ]
    return "\n".join(["| phase | commands |", "|---|---|", *rows])


def pipelining() -> str:
    """The rules."""
    rows = [
        f"| {'-' if rule.earlier is None else rule.earlier.name} | {'-' if rule.later is None else rule.later.name} "
        f"| {'yes' if rule.same_verb else ''} | {rule.why} |"
        for rule in RULES
    ]
    return "\n".join(["| earlier | later | only of one verb | because |", "|---|---|---|---|", *rows])


class _Watched:
    """A connection, and what can be seen of it after each step."""

    def __init__(self) -> None:
        self.connection = Connection()
        self.connection.receive_data(b"* PREAUTH hello\r\n")
        self.connection.next_event()
        self.rows = [
            "| step | then `data_to_send()` gives | `sent` | `ended` | `holding` |",
            "|---|---|---|---|---|",
        ]

    def note(self, step: str, handle: Handle) -> None:
        data = bytes(self.connection.data_to_send())
        holding = self.connection.holding
        cells = (
            f"`{step}`",
            f"`{data.decode()!r}`" if data else "nothing",
            "yes" if handle.sent else "no",
            "yes" if handle.ended else "no",
            "no" if holding is None else f"`{holding.tag}`",
        )
        self.rows.append("| " + " | ".join(cells) + " |")

    def hear(self, line: bytes, handle: Handle) -> None:
        self.connection.receive_data(line + b"\r\n")
        while self.connection.next_event() is not None:
            pass
        self.note(f"S: {line.decode()}", handle)


def append() -> str:
    """An APPEND that the server lets go on."""
    watched = _Watched()
    handle = watched.connection.send(commands.Append.of("INBOX", b"Hi!"))
    watched.note("send(Append)", handle)
    for line in (b"* 4 EXISTS", b"+ go on", b"A1 OK stored"):
        watched.hear(line, handle)
    return "\n".join(watched.rows)


def refused() -> str:
    """An APPEND that the server refuses."""
    watched = _Watched()
    handle = watched.connection.send(commands.Append.of("INBOX", b"Hi!"))
    watched.note("send(Append)", handle)
    watched.connection.send(commands.Noop())
    watched.note("send(Noop)", handle)
    watched.hear(b"A1 NO too large", handle)
    return "\n".join(watched.rows)


def life() -> str:
    """The states of a command, by everything that a few commands go through."""
    edges: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    message = commands.Append.of("INBOX", b"x" * 200_000)
    for capabilities, command, lines in (
        ("", commands.Noop(), [b"OK"]),
        ("", commands.Noop(), [b"NO"]),
        ("", commands.Noop(), [b"BAD"]),
        ("", commands.Append.of("INBOX", b"Hi!"), [b"+", b"OK"]),
        ("", commands.Append.of("INBOX", b"Hi!"), [b"NO"]),
        ("", commands.Append.of("INBOX", b"Hi!"), [b"BAD"]),
        ("LITERAL+", message, [b"NO"]),
        ("LITERAL+", message, [b"BAD"]),
    ):
        connection = Connection()
        connection.receive_data(f"* PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hello\r\n".encode())
        connection.next_event()
        handle = connection.send(command)
        state = _state_of(handle, connection)
        edges["[*]", state]["send"] = None
        for line in [b"", *lines]:
            if line:
                connection.receive_data(b"+ \r\n" if line == b"+" else b"A1 " + line + b"\r\n")
                connection.next_event()
                state = _step(
                    edges, state, "+" if line == b"+" else f"tagged {line.decode()}", handle, connection
                )
            # Of a message that is large one piece: the reply comes in the middle of it.
            connection.data_to_send()
            state = _step(edges, state, "data_to_send", handle, connection)
    drawn = [f"    {before} --> {after}: {', '.join(why)}" for (before, after), why in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *drawn, "    Ended --> [*]", "```"])


def _step(
    edges: dict[tuple[str, str], dict[str, None]],
    before: str,
    why: str,
    handle: Handle,
    connection: Connection,
) -> str:
    after = _state_of(handle, connection)
    if after != before:
        edges[before, after][why] = None
    return after


def _state_of(handle: Handle, connection: Connection) -> str:
    if handle.ended:
        return "Ended"
    if connection.holding is handle:
        return "Holding"
    return "Sent" if handle.sent else "Queued"


def framing() -> str:
    """What the framer makes of bytes that come in pieces."""
    framer = Framer(literal_inline_max=4)
    rows = ["| the server sends | events |", "|---|---|"]
    for piece in (
        b"* 1 FETCH (BODY[1] {3}\r\n",
        b"abc",
        b" BODY[2] {6}\r\n",
        b"defg",
        b"hi",
        b" UID 7)\r\n",
        b"* OK this is no literal: {3}\r\n",
    ):
        framer.feed(piece)
        seen = []
        while (event := framer.next()) is not None:
            if isinstance(event, LiteralChunk):
                seen.append(f"LiteralChunk of {len(event.data)}{', the last' if event.last else ''}")
            elif isinstance(event, LiteralStart):
                seen.append(f"LiteralStart of {event.size}")
            else:
                seen.append(f"a response with {len(event.literals)} literals")
        rows.append(f"| `{piece.decode()!r}` | {', '.join(seen) or 'none'} |")
    return "\n".join(rows)


def continuation() -> str:
    """What is written after a `+`, for everything that can wait for one."""

    def exchange() -> Exchange:
        yield b"first"
        yield b"second"

    cases: list[tuple[str, commands.Command | None, str]] = [
        (
            "AUTHENTICATE",
            commands.Authenticate(Mechanism("X", exchange)),
            "the next response of the SASL mechanism",
        ),
        ("IDLE, after `done()`", commands.Idle(), "the server is idling: DONE"),
        ("a literal is held", commands.Append.of("INBOX", b"Hi!"), "the literal, and what follows it"),
        ("nothing of that", None, "nothing; too many of them end the connection"),
    ]
    rows = ["| in flight | a `+` sets going | `data_to_send()` |", "|---|---|---|"]
    for what, command, means in cases:
        connection = Connection()
        hello = b"* OK hello\r\n" if isinstance(command, commands.Authenticate) else b"* PREAUTH hello\r\n"
        connection.receive_data(hello)
        connection.next_event()
        if command is not None:
            connection.send(command)
            connection.data_to_send()
        if isinstance(command, commands.Idle):
            connection.done()
        connection.receive_data(b"+ \r\n")
        connection.next_event()
        data = bytes(connection.data_to_send())
        rows.append(f"| {what} | {means} | {f'`{data.decode()!r}`' if data else 'nothing'} |")
    return "\n".join(rows)


DRAWINGS: dict[str, Callable[[], str]] = {
    "allowed": allowed,
    "append": append,
    "continuation": continuation,
    "framing": framing,
    "life": life,
    "phases": phases,
    "pipelining": pipelining,
    "refused": refused,
}


def places(text: str) -> Iterator[tuple[str, str]]:
    """Each drawing in a document: its name, and how it is there."""
    for found in _PLACE.finditer(text):
        yield found[2], found[0].removeprefix(found[1]).removesuffix(found[3]).strip("\n")


def main() -> None:
    """Writes all drawings into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    drawn = _PLACE.sub(lambda found: f"{found[1]}\n{DRAWINGS[found[2]]()}\n\n{found[3]}", text)
    DOCUMENT.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
