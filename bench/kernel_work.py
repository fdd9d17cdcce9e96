"""The pieces of work of `bench/kernel.py`: each runs in a process of its own and prints its figures as JSON.

    python bench/kernel_work.py WORK [ARGUMENT ...]

What is timed begins where the bytes of the server are in memory, or on the wire, and ends where the caller has values.
Everything a library needs before that (imports, connecting, SELECT) is not.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

PEM = Path(__file__).parent.parent / "tests" / "client" / "pem"
PIECE_BYTES = 64 * 1024
TLS_RECORD_BYTES = 16 * 1024
WINDOW = 25
FLAGS = (b"\\Seen", b"", b"\\Answered \\Seen", b"\\Flagged \\Seen", b"\\Seen $Forwarded", b"\\Seen NonJunk")

Figures = dict[str, float]


def listing(count: int) -> list[bytes]:
    """The untagged responses of `UID FETCH 1:* (UID FLAGS MODSEQ)`, without CRLF."""
    rng = random.Random(1)
    return [
        b"* %d FETCH (UID %d FLAGS (%b) MODSEQ (%d))" % (seq, 3 * seq, rng.choice(FLAGS), 100_000 + seq)
        for seq in range(1, count + 1)
    ]


def timed(work: Callable[[], int], items: int) -> Figures:
    """Runs `work`, which says how many values it made: all of them, or it did not do the same work."""
    began = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - began
    assert made == items, (made, items)
    return {"seconds": seconds, "items": items}


# --- a listing of flags ---


def _selected(count: int) -> Any:
    """A connection of the kernel with a mailbox of `count` messages."""
    from mailtwin.imap import Connection, Ended, commands

    connection = Connection()
    connection.receive_data(b"* PREAUTH hi\r\n")
    connection.next_event()
    connection.send(commands.Select("INBOX"))
    connection.data_to_send()
    connection.receive_data(b"* %d EXISTS\r\nA1 OK [READ-WRITE] selected\r\n" % count)
    while not isinstance(connection.next_event(), Ended):
        pass
    return connection


def listing_mailtwin(count: int) -> Figures:
    """The whole kernel: framing, parsing, session state, sequence numbers, whose answer it is."""
    from mailtwin.imap import OpenRange, Received, commands

    connection = _selected(count)
    connection.send(commands.Fetch(OpenRange(1), ("FLAGS", "MODSEQ")))
    connection.data_to_send()
    wire = b"\r\n".join([*listing(count), b"A2 OK done\r\n"])

    def work() -> int:
        found = {}
        for at in range(0, len(wire), PIECE_BYTES):
            connection.receive_data(wire[at : at + PIECE_BYTES])
            while (event := connection.next_event()) is not None:
                if isinstance(event, Received):
                    fetch: Any = event.response
                    found[fetch.uid] = fetch
        return len(found)

    return timed(work, count)


def listing_mailtwin_parser(count: int) -> Figures:
    """The parser alone, on lines that were found by somebody else."""
    from mailtwin.imap.framing import Frame
    from mailtwin.imap.parser import parse

    frames = [Frame((line,), (), is_text=False) for line in listing(count)]

    def work() -> int:
        found = {}
        for frame in frames:
            fetch: Any = parse(frame)
            found[fetch.uid] = fetch
        return len(found)

    return timed(work, count)


def _imap4(count: int) -> Any:
    """imaplib with the server's side in memory: what it reads after it has sent a command."""
    import imaplib

    said = b"\r\n".join([*listing(count), b""])

    class InMemory(imaplib.IMAP4):
        def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
            self.wire = io.BytesIO(b"* PREAUTH [CAPABILITY IMAP4REV1] hi\r\n")

        def read(self, size: int) -> bytes:
            return self.wire.read(size)

        def readline(self) -> bytes:
            return self.wire.readline()

        def send(self, data: Any) -> None:
            tag, _, command = bytes(data).partition(b" ")
            answers = {b"CAPA": b"* CAPABILITY IMAP4REV1\r\n", b"UID ": said}
            self.wire = io.BytesIO(answers.get(command[:4], b"") + tag + b" OK done\r\n")

    connection = InMemory()
    connection.select("INBOX")
    return connection


def listing_imaplib(count: int) -> Figures:
    """Lines, from which its user reads the values by a pattern."""
    connection = _imap4(count)

    def work() -> int:
        _, lines = connection.uid("FETCH", "1:*", "(FLAGS MODSEQ)")
        return len(_by_hand(lines))

    return timed(work, count)


VALUES = re.compile(rb"[0-9]+ (?:FETCH )?\(UID ([0-9]+) FLAGS \(([^)]*)\) MODSEQ \(([0-9]+)\)\)")


def _by_hand(lines: list[bytes]) -> dict[int, tuple[tuple[bytes, ...], int]]:
    """The least that a user of lines writes to have values."""
    found = {}
    for line in lines:
        match = VALUES.fullmatch(line)
        if match is not None:
            found[int(match[1])] = (tuple(match[2].split()), int(match[3]))
    return found


def listing_imapclient(count: int) -> Figures:
    """imaplib's reading and IMAPClient's parser, as `IMAPClient.fetch` has them."""
    from imapclient.response_parser import parse_fetch_response

    connection = _imap4(count)

    def work() -> int:
        _, lines = connection.uid("FETCH", "1:*", "(FLAGS MODSEQ)")
        return len(parse_fetch_response(lines))

    return timed(work, count)


def listing_imapclient_parser(count: int) -> Figures:
    """Its parser alone, on what imaplib would have made of the bytes."""
    from imapclient.response_parser import parse_fetch_response

    lines = [line[2:].replace(b" FETCH", b"", 1) for line in listing(count)]
    return timed(lambda: len(parse_fetch_response(lines)), count)


def listing_aioimaplib(count: int) -> Figures:
    """What its protocol makes of the bytes: lines, from which its user reads the values by a pattern."""
    from aioimaplib import aioimaplib

    async def run() -> Figures:
        protocol = aioimaplib.IMAP4ClientProtocol(asyncio.get_running_loop())
        protocol.state = aioimaplib.SELECTED
        command = aioimaplib.FetchCommand("A2", "1:*", "(FLAGS MODSEQ)", prefix="UID", timeout=None)
        protocol.pending_async_commands["FETCH"] = command
        wire = b"\r\n".join([*listing(count), b"A2 OK done\r\n"])

        def work() -> int:
            # One call for each TLS record; with pieces of 64 KiB it runs into Python's limit of recursion.
            for at in range(0, len(wire), TLS_RECORD_BYTES):
                protocol.data_received(wire[at : at + TLS_RECORD_BYTES])
            return len(_by_hand(command.response.lines))

        return timed(work, count)

    return asyncio.run(run())


# --- a large literal ---


def serve(size_text: str) -> None:
    """A TLS server that answers UID FETCH with a literal; prints its port, ends with its input."""
    size = int(size_text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM / "localhost.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=answer, args=(raw,), daemon=True).start()

    def answer(raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with context.wrap_socket(raw, server_side=True) as tls, tls.makefile("rb") as lines:
                tls.sendall(b"* PREAUTH [CAPABILITY IMAP4REV1] hi\r\n")
                for line in lines:
                    tag, _, command = line.partition(b" ")
                    if command[:9].upper() == b"UID FETCH":
                        _send_literal(tls, size)
                    elif command[:10].upper() == b"CAPABILITY":
                        tls.sendall(b"* CAPABILITY IMAP4REV1\r\n")
                    elif command[:6].upper() == b"SELECT":
                        tls.sendall(b"* 1 EXISTS\r\n")
                    tls.sendall(tag + b" OK done\r\n")
        except OSError:
            # The client has what it came for.
            return

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def _send_literal(tls: ssl.SSLSocket, size: int) -> None:
    tls.sendall(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % size)
    piece = random.Random(1).randbytes(256 * 1024)
    for _ in range(size // len(piece)):
        tls.sendall(piece)
    tls.sendall(b")\r\n")


def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM / "authority.pem"))


class Scale:
    """Time, CPU and memory from here on, and the check that all was done."""

    def __init__(self) -> None:
        # "5" makes the kernel forget the most this process ever had (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._megabytes("VmRSS")
        self._cpu = time.process_time()
        self._began = time.perf_counter()

    def figures(self, got: int, size: int) -> Figures:
        """What it took."""
        seconds = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu
        assert got == size, (got, size)
        growth = self._megabytes("VmHWM") - self._before
        return {"seconds": seconds, "items": size, "cpu": cpu, "growth": growth}

    @staticmethod
    def _megabytes(name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * 1024 / 1e6


def literal_floor(port: int, size: int) -> Figures:
    """The least there is: a blocking loop that receives into the same buffer again and again."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        tls = _trusting().wrap_socket(raw, server_hostname="localhost")
        lines = tls.makefile("rb", buffering=0)
        lines.readline()
        tls.sendall(b"A1 SELECT INBOX\r\n")
        while not lines.readline().startswith(b"A1 "):
            pass
        tls.sendall(b"A2 UID FETCH 1 BODY.PEEK[]\r\n")
        lines.readline()
        scale = Scale()
        buffer = bytearray(256 * 1024)
        view = memoryview(buffer)
        got = 0
        while got < size:
            got += tls.recv_into(view[: min(len(buffer), size - got)])
        return scale.figures(got, size)


def literal_blocking(port: int, size: int) -> Figures:
    """The kernel alone, on a blocking socket."""
    from mailtwin.imap import Connection, Ended, LiteralChunk, commands
    from mailtwin.model import UidSet

    with socket.create_connection(("127.0.0.1", port)) as raw:
        tls = _trusting().wrap_socket(raw, server_hostname="localhost")
        connection = Connection()

        def run(command: Any) -> int:
            got = 0
            if command is not None:
                connection.send(command)
            while True:
                if data := connection.data_to_send():
                    tls.sendall(data)
                event = connection.next_event()
                if event is None:
                    connection.received(tls.recv_into(connection.get_buffer()))
                elif isinstance(event, LiteralChunk):
                    got += len(event.data)
                elif isinstance(event, Ended) or command is None:
                    return got

        run(None)
        run(commands.Select("INBOX"))
        scale = Scale()
        return scale.figures(run(commands.Fetch(UidSet.of([1]), ("BODY.PEEK[]",))), size)


def literal_client(port: int, size: int) -> Figures:
    """`Session.stream` of the asyncio client."""
    from mailtwin.client import Credentials, Endpoint, Secret, Session
    from mailtwin.imap import LiteralChunk, commands
    from mailtwin.model import UidSet

    async def run() -> Figures:
        endpoint = Endpoint("localhost", port, "tls", PEM / "authority.pem")
        session = await Session.open(endpoint, Credentials("user", Secret("secret")))
        await session.run(commands.Select("INBOX"))
        scale = Scale()
        got = 0
        async with aclosing(session.stream(commands.Fetch(UidSet.of([1]), ("BODY.PEEK[]",)))) as answers:
            async for answer in answers:
                if isinstance(answer, LiteralChunk):
                    got += len(answer.data)
        figures = scale.figures(got, size)
        await session.close()
        return figures

    return asyncio.run(run())


def literal_imapclient(port: int, size: int) -> Figures:
    """`IMAPClient.fetch`, which holds the message."""
    import imapclient

    client = imapclient.IMAPClient("localhost", port, ssl=True, ssl_context=_trusting())
    client.select_folder("INBOX")
    scale = Scale()
    return scale.figures(len(client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"]), size)


def literal_aioimaplib(port: int, size: int) -> Figures:
    """`IMAP4_SSL.uid`, which holds the message."""
    from aioimaplib import aioimaplib

    async def run() -> Figures:
        client = aioimaplib.IMAP4_SSL("localhost", port, timeout=300, ssl_context=_trusting())
        await client.wait_hello_from_server()
        await client.select("INBOX")
        scale = Scale()
        answer = await client.uid("FETCH", "1", "BODY.PEEK[]")
        return scale.figures(max(map(len, answer.lines)), size)

    return asyncio.run(run())


# --- many commands ---


def commands_in_windows(count: int) -> Figures:
    """STOREs, each answered by a FETCH and its tagged reply, as many in flight as the client of mailtwin has."""
    return _commands(count, WINDOW, b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n")


def commands_at_once(count: int) -> Figures:
    """STOREs, each answered by its tagged reply only, all of them in flight before the first reply."""
    return _commands(count, count, b"")


def _commands(count: int, window: int, answer: bytes) -> Figures:
    from mailtwin.imap import Ended, commands
    from mailtwin.model import UidSet

    connection = _selected(count)
    asked = [commands.Store(UidSet.of([uid]), "+", frozenset({"\\Seen"})) for uid in range(1, count + 1)]

    def work() -> int:
        done = 0
        for at in range(0, count, window):
            handles = [connection.send(command) for command in asked[at : at + window]]
            while connection.data_to_send():
                pass
            connection.receive_data(
                b"".join(
                    (answer and answer % (uid, uid)) + b"%b OK done\r\n" % handle.tag.encode()
                    for uid, handle in enumerate(handles, at + 1)
                )
            )
            while (event := connection.next_event()) is not None:
                done += isinstance(event, Ended) and event.handle.taken == bool(answer)
        return done

    return timed(work, count)


def main() -> None:
    """Does the work named in the arguments."""
    name, *arguments = sys.argv[1:]
    if name == "serve":
        serve(*arguments)
        return
    work: Callable[..., Figures] = globals()[name.replace("-", "_")]
    print(json.dumps(work(*map(int, arguments))))


if __name__ == "__main__":
    main()
