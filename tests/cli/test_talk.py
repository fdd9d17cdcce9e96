"""The interactive session: what is shown, what is never shown, and how it ends."""

from __future__ import annotations

import asyncio
import os
import pty
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.running import CERTIFICATE, PASSWORD, account, serving

from mailtwin.cli.output import Lines
from mailtwin.cli.talk import Transcript
from mailtwin.errors import ExitCode
from mailtwin.testing.realservers import RealServer

TALK = (sys.executable, "-m", "mailtwin.imap", "talk")


def environ(home: Path, password: str | None = PASSWORD) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILTWIN_", "XDG_"))}
    kept |= {"HOME": str(home), "TERM": "dumb"}
    return kept if password is None else {**kept, "MAILTWIN_LEFT_PASSWORD": password}


async def talked(
    home: Path, *arguments: str, typed: str = "", password: str | None = PASSWORD
) -> tuple[int, str]:
    """Exit code and everything that was shown for these lines on standard input."""
    process = await asyncio.create_subprocess_exec(
        *TALK,
        *arguments,
        env=environ(home, password),
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(typed.encode("utf-8", "surrogateescape")), 60)
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "surrogateescape")


@asynccontextmanager
async def saying(*lines: bytes) -> AsyncIterator[str]:
    """A server that says these lines, whatever it hears; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            writer.write(line)
            await writer.drain()
            if not await reader.readline():
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"imap://me@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_session(tmp_path: Path) -> None:
    mail, found = account(2)
    (tmp_path / "letter").write_bytes(b"Subject: typed\r\n\r\nhello\r\n")
    typed = "SELECT INBOX\nUID FETCH 1 (UID)\nAPPEND INBOX {file:letter}\n"
    typed += "APPEND INBOX (\\Seen) {12}\nSubject: x\nNOOP\n"
    async with serving(mail) as (_, address):
        code, out = await talked(tmp_path, address, typed=typed)
    lines = out.splitlines()
    assert code == ExitCode.OK
    assert lines[0].startswith("S: * OK [CAPABILITY IMAP4rev1")
    assert "C: A2 SELECT INBOX" in lines
    assert "S: * 2 EXISTS" in lines
    assert "S: * 1 FETCH (UID 1)" in lines
    assert "C: hello" in lines
    assert lines[-1].endswith("OK Logged out")
    assert found["INBOX"].bodies()[-2:] == [b"Subject: typed\r\n\r\nhello\r\n", b"Subject: x\r\n"]
    assert PASSWORD not in out


async def test_literals_of_the_server_are_shown_as_lines(tmp_path: Path) -> None:
    mail, found = account(0)
    found["INBOX"].append(b"Subject: \x1b[2J\r\n\r\n" + b"x" * 9_000)
    async with serving(mail) as (_, address):
        _, out = await talked(tmp_path, address, typed="SELECT INBOX\nFETCH 1 BODY.PEEK[]\n")
    assert "\x1b" not in out
    assert "S| Subject: \\x1b[2J" in out.splitlines()
    assert "more bytes" in out
    assert max(map(len, out.splitlines())) < 5_000


async def test_json(tmp_path: Path) -> None:
    mail, _ = account(1)
    async with serving(mail) as (_, address):
        _, out = await talked(tmp_path, address, "--json", typed="SELECT INBOX\n/raw\nNOOP\n")
    lines = out.splitlines()
    assert lines[0].startswith('{"kind": "untagged"')
    assert any('"name": "EXISTS", "number": 1' in line for line in lines)
    assert "C: A3 NOOP" in lines


async def test_no_login_and_a_login_typed_by_hand(tmp_path: Path) -> None:
    mail, _ = account(1)
    typed = f'LOGIN me "{PASSWORD}"\nLOGIN me\nLOGIN "me\nIDLE\n\nAUTHENTICATE PLAIN\n/help\n'
    async with serving(mail) as (_, address):
        code, out = await talked(tmp_path, address, "--no-login", typed=typed, password=None)
    assert code == ExitCode.OK
    assert "C: A1 LOGIN" in out
    assert "S: A1 OK" in out
    assert PASSWORD not in out
    assert "-- LOGIN wants a user and a password" in out
    assert "-- LOGIN cannot be read" in out
    assert "S: + " in out
    assert "-- AUTHENTICATE cannot be typed here" in out
    assert "a literal with the bytes of that file" in out


async def test_what_a_server_repeats_is_masked(tmp_path: Path) -> None:
    echo = b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b'A1 NO I do not know "sesame", nor AG1lAHNlc2FtZQ==\r\n'
    async with saying(*echo) as address:
        code, out = await talked(tmp_path, address)
    assert code == ExitCode.LOGIN
    assert PASSWORD not in out
    assert "AG1lAHNlc2FtZQ" not in out
    assert "S: A1 NO I do not know" in out


async def test_the_end_of_the_server_is_the_end(tmp_path: Path) -> None:
    async with saying(b"* PREAUTH hi\r\n", b"* BYE that is enough\r\n") as address:
        code, out = await talked(tmp_path, address, typed="NOOP\nNOOP\nNOOP\n")
    assert code == ExitCode.UNREACHABLE
    assert "S: * BYE that is enough" in out
    assert "that is enough" in out.splitlines()[-1]


async def test_what_is_no_imap_is_told(tmp_path: Path) -> None:
    async with saying(b"HTTP/1.1 400 Bad\r\n") as address:
        code, out = await talked(tmp_path, address)
    assert (code, "no IMAP server" in out) == (ExitCode.PROTOCOL, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("maildir:/tmp",), ExitCode.CONFIGURATION, "is no IMAP server"),
        (("imap://me@127.0.0.1:1/",), ExitCode.UNREACHABLE, "127.0.0.1"),
        ((), ExitCode.USAGE, "url"),
    ],
)
async def test_wrong_arguments(arguments: tuple[str, ...], code: ExitCode, said: str, tmp_path: Path) -> None:
    ended, out = await talked(tmp_path, *arguments)
    assert (ended, said in out) == (code, True)


async def test_a_file_that_is_not_there_and_a_literal_cut_short(tmp_path: Path) -> None:
    mail, found = account(1)
    typed = "APPEND INBOX {file:nowhere}\nAPPEND INBOX {100}\nshort\n"
    async with serving(mail) as (_, address):
        code, out = await talked(tmp_path, address, typed=typed)
    assert code == ExitCode.OK
    assert "-- nowhere cannot be read" in out
    assert "-- the literal ends after 7 of 100 bytes" in out
    assert len(found["INBOX"]) == 1


async def test_tls_and_a_tunnel(tmp_path: Path) -> None:
    mail, _ = account(1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with serving(mail, tls=context) as (_, address):
        code, out = await talked(tmp_path, address, "--ca-file", str(CERTIFICATE), typed="NOOP\n")
        refused, said = await talked(tmp_path, address)
    assert (code, "A2 OK" in out) == (ExitCode.OK, True), out
    assert (refused, "not trusted" in said) == (ExitCode.TLS, True), said
    tunnel = "printf '* PREAUTH hi\\r\\n'; read line; printf 'A1 OK done\\r\\n* BYE\\r\\n'"
    _, out = await talked(tmp_path, "imap://me@host/", "--tunnel", tunnel, typed="NOOP\n")
    assert out.splitlines()[:3] == ["S: * PREAUTH hi", "C: A1 NOOP", "S: A1 OK done"]


def read_until(terminal: int, wanted: str, shown: str = "") -> str:
    """What a terminal shows, until `wanted` is part of it."""
    end = time.monotonic() + 30
    while wanted not in shown:
        assert time.monotonic() < end, shown
        shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown


async def test_at_a_terminal(tmp_path: Path) -> None:
    """Prompt, completion and history; news come while nothing is typed; the history knows no password."""
    mail, found = account(1)
    async with serving(mail) as (_, address):
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *TALK, address, "--no-login", env=environ(tmp_path), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)

        async def until(wanted: str) -> str:
            return await asyncio.to_thread(read_until, master, wanted)

        await until("> ")
        os.write(master, f"LOGIN me {PASSWORD}\n".encode())
        await until("S: A1 OK")
        await until("> ")
        os.write(master, b"NAMESP\t\n")
        await until("S: * NAMESPACE")
        os.write(master, b"SELECT INBOX\n")
        await until("READ-WRITE")
        os.write(master, b"LOGOUT\n")
        await until("Logged out")
        await asyncio.wait_for(process.wait(), 30)
        os.close(master)
    history = tmp_path / ".local" / "state" / "mailtwin" / "talk-history"
    text = history.read_text()
    assert "NAMESPACE" in text
    assert PASSWORD not in text
    assert history.stat().st_mode & 0o777 == 0o600
    assert len(found["INBOX"]) == 1


async def test_with_a_real_server(imap_server: RealServer, tmp_path: Path) -> None:
    user = imap_server.user()
    address = f"imap://{user.user}@127.0.0.1:{imap_server.port}/"
    code, out = await talked(tmp_path, address, typed='LIST "" *\nSELECT INBOX\n', password=user.password)
    assert code == ExitCode.OK, out
    assert "S: * LIST" in out
    assert "S: * 0 EXISTS" in out
    assert user.password not in [word for line in out.splitlines() for word in line.split()]


def test_a_response_that_is_too_long_ends_the_transcript_and_not_the_program(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as stream:
        transcript = Transcript(Lines(stream))
        for _ in range(20):
            transcript.heard(b"* OK " + b"x" * 4_000_000)
        transcript.heard(b"\r\n* OK more\r\n")
    assert out.read_text().startswith("!! ")
