"""`python -m mailtwin.imap talk` as people and scripts run it, with simulated and scripted servers and Dovecot."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.test_terminal import read_until, take_terminal, terminal
from tests.client.scripted import AUTHORITY, Hear, Stall, Step, scripted, server_tls

from mailtwin.errors import ExitCode
from mailtwin.model.limits import LINE_BYTES_MAX
from mailtwin.testing.manners import PLAIN, Manners
from mailtwin.testing.realservers import RealServer
from mailtwin.testing.simmail import SimMail
from mailtwin.testing.simserver import SimServer

PASSWORD = "correct-horse"
COMMAND = [sys.executable, "-m", "mailtwin.imap", "talk"]


def environ(home: Path, password: str | None = PASSWORD) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("MAILTWIN_")}
    found |= {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "TERM": "xterm", "COLUMNS": "200"}
    return found | ({"MAILTWIN_PASSWORD": password} if password is not None else {})


@asynccontextmanager
async def server(manners: Manners = PLAIN) -> AsyncIterator[tuple[SimServer, str]]:
    mail = SimMail()
    account = mail.add_account("user", PASSWORD)
    account["INBOX"].append(b"Subject: hi\r\n\r\n\x1b[31mred\r\n")
    async with SimServer(mail, manners, starttls=server_tls()) as running:
        yield running, f"imap://user@127.0.0.1:{running.port}/"


async def talk(
    home: Path, typed: Sequence[str], *arguments: str, password: str | None = PASSWORD
) -> tuple[int, str, str]:
    """The exit code, what was shown and what was noted."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environ(home, password),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, notes = await process.communicate("".join(f"{line}\n" for line in typed).encode())
    assert process.returncode is not None
    assert PASSWORD.encode() not in out + notes
    return process.returncode, out.decode(), notes.decode()


async def test_a_session_from_a_pipe(tmp_path: Path) -> None:
    message = tmp_path / "message.eml"
    message.write_bytes(b"Subject: two\r\n\r\n")
    async with server() as (running, address):
        typed = [
            "SELECT INBOX",
            "UID FETCH 1 (FLAGS BODY.PEEK[])",
            f"APPEND INBOX {{file:{message}}}",
            "NOOP",
            "LOGOUT",
        ]
        code, out, notes = await talk(tmp_path, typed, address)
    assert (code, notes) == (ExitCode.OK, "")
    lines = out.splitlines()
    assert "C: A1 AUTHENTICATE PLAIN ***" in lines
    assert lines[lines.index("C: T2 UID FETCH 1 (FLAGS BODY.PEEK[])") + 1 :][:4] == [
        "S: * 1 FETCH (UID 1 FLAGS (\\Recent) BODY[] {25}",
        "S| Subject: hi",
        "S| ",
        "S| \\x1b[31mred",
    ]
    assert "C: T3 APPEND INBOX {16+}" in lines
    assert [line for line in lines if line.startswith("S: T3 ")] == [
        "S: T3 OK [APPENDUID 1700000001 2] Appended"
    ]
    assert lines[-3:] == ["C: T5 LOGOUT", "S: * BYE Good bye", "S: T5 OK Logged out"]
    assert running.counts["APPEND"] == 1


async def test_the_end_of_the_input_is_a_logout(tmp_path: Path) -> None:
    async with server() as (running, address):
        code, out, _ = await talk(tmp_path, ["NOOP"], address)
    assert code == ExitCode.OK
    assert "C: T2 LOGOUT" in out
    assert running.counts["LOGOUT"] == 1


async def test_literals_that_the_server_must_ask_for(tmp_path: Path) -> None:
    message = tmp_path / "message.eml"
    message.write_bytes(b"Subject: x\r\n")
    async with server(PLAIN.without("LITERAL+")) as (running, address):
        typed = [
            f"APPEND INBOX (\\Seen) {{file:{message}}}",
            "APPEND INBOX {5}",
            "too long",
            "abc",
            "",
            f"APPEND missing {{file:{message}}}",
            "APPEND INBOX {file:/nonexistent}",
            "NOOP",
        ]
        code, out, notes = await talk(tmp_path, typed, address)
        stored = running.mail.accounts["user"]["INBOX"].bodies()
    assert code == ExitCode.OK
    assert stored[1:] == [b"Subject: x\r\n", b"abc\r\n"]
    assert "5 octets were announced, these are more" in notes
    assert re.search("S: T3 NO ", out)
    assert "nothing was sent: /nonexistent: No such file or directory" in notes
    assert "C: T4 NOOP" in out


async def test_what_is_said_unasked_is_shown(tmp_path: Path) -> None:
    async with server() as (running, address):
        typed = ["SELECT INBOX", "IDLE", "/wait 1.5", "DONE"]
        talking = asyncio.create_task(talk(tmp_path, typed, address))
        while not running.transcript or b"IDLE" not in running.transcript[-1][1]:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.02)
        running.mail.accounts["user"]["INBOX"].append(b"Subject: new\r\n\r\n")
        _, out, _ = await talking
    assert out.index("S: + ") < out.index("S: * 2 EXISTS") < out.index("C: DONE")


async def test_json(tmp_path: Path) -> None:
    async with server() as (_, address):
        _, out, _ = await talk(tmp_path, ["NOOP", "/both", "NOOP"], "--view", "parsed", address)
    lines = out.splitlines()
    first = lines.index("C: T2 NOOP")
    assert {json.loads(line)["kind"] for line in lines[:first]} == {"untagged", "tagged"}
    assert json.loads(lines[first + 1])["tag"] == "T2"
    assert lines[first + 2].startswith("S: T2 OK")


async def test_without_a_login(tmp_path: Path) -> None:
    async with server() as (_, address):
        address += "?tls=starttls"
        address = address.replace("127.0.0.1", "localhost")
        arguments = ("--no-login", "--ca-file", str(AUTHORITY), address)
        typed = [f"LOGIN user {PASSWORD}", "SELECT INBOX"]
        code, out, _ = await talk(tmp_path, typed, *arguments, password=None)
    assert code == ExitCode.OK
    assert "C: A1 STARTTLS" in out
    assert "C: T1 LOGIN user ***" in out
    assert "S: T2 OK" in out


async def test_starttls_by_hand(tmp_path: Path) -> None:
    async with server() as (_, address):
        arguments = ("--no-login", "--ca-file", str(AUTHORITY), address.replace("127.0.0.1", "localhost"))
        code, out, _ = await talk(tmp_path, ["STARTTLS", "CAPABILITY"], *arguments, password=None)
    assert code == ExitCode.OK
    assert "S: T2 OK" in out


async def run_script(
    tmp_path: Path, script: list[Step], *typed: str, whole: bool = True
) -> tuple[int, str, str]:
    async with scripted(script, whole=whole) as endpoint:
        address = f"imap://user@127.0.0.1:{endpoint.port}/"
        return await talk(tmp_path, typed, "--no-login", address, password=None)


async def test_words_ahead_of_tls_are_refused(tmp_path: Path) -> None:
    script: list[Step] = [b"* OK hi\r\n", "T1 STARTTLS", b"T1 OK go\r\n* OK smug"]
    code, _, notes = await run_script(tmp_path, script, "STARTTLS", "NOOP")
    assert code == ExitCode.PROTOCOL
    assert "sent data ahead of TLS" in notes


async def test_a_server_that_repeats_passwords(tmp_path: Path) -> None:
    script: list[Step] = [
        b"* OK hi\r\n",
        f"T1 LOGIN joe {PASSWORD}",
        b"T1 BAD LOGIN joe correct-horse?\r\n",
        "T2 AUTHENTICATE PLAIN",
        b"+ \r\n",
        "AGpvZQBjb3JyZWN0LWhvcnNl",
        b"T2 NO AGpvZQBjb3JyZWN0LWhvcnNl is correct-horse\r\n",
        "T3 LOGOUT",
        b"T3 OK\r\n",
    ]
    typed = (f"LOGIN joe {PASSWORD}", "AUTHENTICATE PLAIN", "AGpvZQBjb3JyZWN0LWhvcnNl")
    code, out, _ = await run_script(tmp_path, script, *typed)
    assert code == ExitCode.OK
    assert "S: T1 BAD LOGIN joe ***?" in out
    assert "S: T2 NO *** is ***" in out
    assert "C: ***" in out


async def test_a_server_that_breaks_the_protocol_is_shown(tmp_path: Path) -> None:
    script: list[Step] = [
        b"* OK hi\r\n",
        "T1 NOOP",
        b"T9 OK whose?\r\n* \x07\n\r\nT1 OK\r\n",
        "T2 LOGOUT",
        b"T2 OK\r\n",
    ]
    code, out, _ = await run_script(tmp_path, script, "NOOP")
    assert code == ExitCode.OK
    assert "S: T9 OK whose?\nS: * \\x07 [ends in LF without CR]\n" in out


async def test_bytes_that_are_no_text_go_through(tmp_path: Path) -> None:
    script: list[Step] = [
        b"* OK hi\r\n",
        Hear(b"T1 SELECT \xff\xc3\xa9\r\n"),
        b"T1 NO \xff\xc3\xa9\r\n",
        "T2 LOGOUT",
        b"T2 OK\r\n",
    ]
    async with scripted(script) as endpoint:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "--no-login",
            f"imap://user@127.0.0.1:{endpoint.port}/",
            env=environ(tmp_path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate(b"SELECT \xff\xc3\xa9\n")
    assert "C: T1 SELECT \\xffé\nS: T1 NO \\xffé\n" in out.decode()


async def test_an_endless_line_ends_it(tmp_path: Path) -> None:
    script: list[Step] = [b"* OK hi\r\n", "T1 NOOP", b"* " + b"x" * (LINE_BYTES_MAX + 2), Stall()]
    code, _, notes = await run_script(tmp_path, script, "NOOP", whole=False)
    assert code == ExitCode.PROTOCOL
    assert "a line of more than" in notes


async def test_bye_ends_it(tmp_path: Path) -> None:
    script: list[Step] = [b"* OK hi\r\n", "T1 NOOP", b"* BYE down\r\n* 1 FET"]
    async with scripted(script) as endpoint:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "--no-login",
            f"imap://user@127.0.0.1:{endpoint.port}/",
            env=environ(tmp_path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"NOOP\n")
        # The input stays open: the end of the connection is what ends it.
        async with asyncio.timeout(30):
            out = (await process.stdout.read()).decode()
            assert await process.wait() == ExitCode.UNREACHABLE
    assert out.endswith("S: * BYE down\nS: * 1 FET [not complete]\n")


async def test_compressed_by_hand(tmp_path: Path, dovecot: RealServer) -> None:
    account = dovecot.user()
    address = f"imaps://{account.user}@127.0.0.1:{dovecot.tls_port}/"
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--ca-file",
        str(dovecot.ca_file),
        address,
        env=environ(tmp_path, account.password),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    typed = [
        "COMPRESS DEFLATE",
        "CAPABILITY",
        'LIST "" *',
        "SELECT INBOX",
        "APPEND INBOX {5}",
        "abc",
        "",
        "LOGOUT",
    ]
    async with asyncio.timeout(60):
        out, _ = await process.communicate("".join(f"{line}\n" for line in typed).encode())
    lines = out.decode().splitlines()
    assert process.returncode == ExitCode.OK
    assert account.password not in out.decode()
    assert [line[:8] for line in lines if re.match("S: T[0-9]", line)] == [f"S: T{n} OK" for n in range(1, 7)]
    assert "S: * 1 EXISTS" in lines


async def test_no_password_and_no_terminal(tmp_path: Path) -> None:
    code, _, notes = await talk(tmp_path, [], "imap://user@127.0.0.1:1/", password=None)
    assert code == ExitCode.SECRET
    assert "Set MAILTWIN_PASSWORD, or say --no-login." in notes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["maildir:/x"], ExitCode.CONFIGURATION),
        (["imap://user:pass@h/"], ExitCode.CONFIGURATION),
        (["--no-login", "imap://user@127.0.0.1:1/"], ExitCode.UNREACHABLE),
        ([], ExitCode.USAGE),
    ],
)
async def test_what_cannot_be(tmp_path: Path, arguments: list[str], code: int) -> None:
    assert (await talk(tmp_path, [], *arguments))[0] == code


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with server() as (_, address):
        code, out, notes = await talk(tmp_path, [], address, password="wrong-horse")
    assert code == ExitCode.LOGIN
    assert "wrong-horse" not in out + notes
    assert "S: A1 NO" in out


async def test_a_tunnel(tmp_path: Path) -> None:
    script = tmp_path / "server.sh"
    script.write_text(
        "printf '* PREAUTH hi\\r\\n'; read -r t c; printf '%s OK done\\r\\n' $t; read -r t c; exit 0\n"
    )
    arguments = ("--tunnel", f"sh {script}", "imap://user@somewhere/")
    _, out, _ = await talk(tmp_path, ["NOOP"], *arguments, password=None)
    assert "S: * PREAUTH hi" in out
    assert "S: T1 OK done" in out


# --- at a terminal ---


async def test_a_person_at_a_terminal(tmp_path: Path) -> None:
    async with server() as (running, address):
        running.mail.accounts["user"].create("Sent Items")
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                address,
                env=environ(tmp_path, None),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                preexec_fn=take_terminal,
            )

            async def type_in(text: str, until: str, prompt: str = "\r\n> ") -> str:
                os.write(ours, text.encode())
                seen = ""
                async with asyncio.timeout(30):
                    while not (until in seen and seen.endswith(prompt)):
                        seen += (await asyncio.to_thread(os.read, ours, 65536)).decode()
                return seen

            await read_until(ours, "Password for user on 127.0.0.1: ")
            shown = await type_in(f"{PASSWORD}\n", "/help tells how; Ctrl-D ends")
            shown += await type_in('LIST "" *\n', "S: T1 OK")
            shown += await type_in("sel\t Sent\t\n", "S: T2 OK")
            assert 'C: T2 SELECT "Sent Items"' in shown
            shown += await type_in("IDLE\n", "S: + ", "\r\n+ ")
            # What arrives while something is typed does not take it away.
            shown += await type_in("DO", "DO", "DO")
            running.mail.accounts["user"]["Sent Items"].append(b"Subject: x\r\n\r\n")
            shown += await type_in("", "S: * 1 EXISTS", "+ DO")
            shown += await type_in("NE\n", "S: T3 OK")
            shown += await type_in("\x03", "(Ctrl-D ends)")
            shown += await type_in("LOGIN joe tiger-lily\n", "S: T4 BAD")
            assert "C: T4 LOGIN joe ***" in shown
            shown += await type_in("LOGON joe tiger-lily\n", "S: T5 BAD")
            os.write(ours, b"\x04")
            shown += await read_until(ours, "S: T6 OK")
            async with asyncio.timeout(30):
                assert await process.wait() == ExitCode.OK
    assert PASSWORD not in shown
    history = tmp_path / "state" / "mailtwin" / "talk_history"
    assert history.read_text() == 'LIST "" *\nSELECT "Sent Items"\nIDLE\n'
    assert history.stat().st_mode & 0o777 == 0o600


async def test_the_server_leaves_while_a_person_types(tmp_path: Path) -> None:
    async with server() as (running, address):
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                address,
                env=environ(tmp_path),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                preexec_fn=take_terminal,
            )
            await read_until(ours, "> ")
            os.write(ours, b"SELE")
            await read_until(ours, "SELE")
            running.drop_connections()
            await read_until(ours, "the server closed the connection")
            async with asyncio.timeout(30):
                assert await process.wait() == ExitCode.UNREACHABLE


async def test_ctrl_c_while_waiting(tmp_path: Path) -> None:
    script: list[Step] = [
        b"* OK hi\r\n",
        "T1 NOOP",
        Hear(b"T2 CAPABILITY\r\n"),
        b"* 5 EXISTS\r\nT2 OK\r\n",
        Stall(),
    ]
    async with scripted(script, whole=False) as endpoint:
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                "--no-login",
                f"imap://user@127.0.0.1:{endpoint.port}/",
                env=environ(tmp_path),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                preexec_fn=take_terminal,
            )
            await read_until(ours, "> ")
            os.write(ours, b"NOOP\n")
            await read_until(ours, "C: T1 NOOP")
            await asyncio.sleep(0.2)
            os.write(ours, b"\x03")
            await read_until(ours, "(no longer waiting for the answer)")
            os.write(ours, b"CAPABILITY\n")
            await read_until(ours, "S: T2 OK")
            process.kill()
            await process.wait()


async def test_a_response_is_typed_without_echo(tmp_path: Path) -> None:
    script: list[Step] = [
        b"* OK hi\r\n",
        "T1 AUTHENTICATE LOGIN",
        b"+ VXNlcm5hbWU6\r\n",
        "am9l",
        b"+ UGFzc3dvcmQ6\r\n",
        "dGlnZXItbGlseQ==",
        b"T1 NO not tiger-lily (dGlnZXItbGlseQ==)\r\n",
        "T2 LOGOUT",
        b"T2 OK\r\n",
    ]
    async with scripted(script) as endpoint:
        with terminal() as (ours, theirs):
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                "--no-login",
                f"imap://user@127.0.0.1:{endpoint.port}/",
                env=environ(tmp_path),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                preexec_fn=take_terminal,
            )
            shown = await read_until(ours, "> ")
            os.write(ours, b"AUTHENTICATE LOGIN\n")
            shown += await read_until(ours, "\r\n+ ")
            os.write(ours, b"am9l\n")
            shown += await read_until(ours, "S: + UGFzc3dvcmQ6\r\n+ ")
            os.write(ours, b"dGlnZXItbGlseQ==\n")
            shown += await read_until(ours, "S: T1 NO not *** (***)\r\n> ")
            os.write(ours, b"\x04")
            shown += await read_until(ours, "S: T2 OK")
            assert await process.wait() == ExitCode.OK
    assert "am9l" not in shown
    assert "dGlnZXItbGlseQ" not in shown
