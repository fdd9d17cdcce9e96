"""Everything a person or the world can get wrong: one paragraph, its own exit code, nothing lost."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.running import CERTIFICATE, Ended, Program, account, contents, serving

from mailtwin.errors import ExitCode
from mailtwin.state import State, state_path
from mailtwin.stores.maildir import MaildirStore

MAILDIR = "maildir:~/Mail"


def assert_error(ended: Ended, code: ExitCode, *words: str) -> None:
    """One paragraph on standard error, at most one hint, no traceback, nothing on standard output."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    lines = ended.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, ended.err
    assert "Traceback" not in ended.err
    assert len(lines) - len(errors) <= 1 or code == ExitCode.CONFIGURATION, ended.err
    for word in words:
        assert word in ended.err, ended.err


# --- servers --------------------------------------------------------------------------------------------------------


async def test_wrong_password(program: Program) -> None:
    mail, _ = account(1)
    program.environ["MAILTWIN_LEFT_PASSWORD"] = "sesami"
    async with serving(mail) as (_, address):
        ended = await program.run("sync", address, MAILDIR)
    assert_error(ended, ExitCode.LOGIN, "127.0.0.1", "me")
    assert "sesami" not in ended.err


async def test_no_password(program: Program) -> None:
    mail, _ = account(1)
    program.environ["MAILTWIN_LEFT_PASSWORD"] = ""
    async with serving(mail) as (server, address):
        ended = await program.run("sync", address, MAILDIR)
        assert server.connections == 0
    assert_error(ended, ExitCode.SECRET, "MAILTWIN_LEFT_PASSWORD is empty")


async def test_unknown_host(program: Program) -> None:
    ended = await program.run("sync", "imaps://me@no-such-host.invalid/", MAILDIR)
    assert_error(ended, ExitCode.UNREACHABLE, "no-such-host.invalid")


async def test_nobody_listens(program: Program) -> None:
    assert_error(
        await program.run("sync", "imap://me@127.0.0.1:1/", MAILDIR), ExitCode.UNREACHABLE, "127.0.0.1:1"
    )


async def test_certificate_that_is_not_trusted(program: Program) -> None:
    mail, _ = account(1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with serving(mail, tls=context) as (_, address):
        ended = await program.run("sync", address, MAILDIR)
        assert_error(ended, ExitCode.TLS, "127.0.0.1", "--ca-file")


async def test_ca_file_that_is_none(program: Program) -> None:
    (program.home / "ca.pem").write_text("no certificate")
    ended = await program.run("sync", "--ca-file", "ca.pem", "imaps://me@127.0.0.1:1/", MAILDIR)
    assert ended.code in (ExitCode.CONFIGURATION, ExitCode.TLS)
    assert "Traceback" not in ended.err
    assert "ca.pem" in ended.err


@asynccontextmanager
async def speaking(greeting: bytes) -> AsyncIterator[str]:
    """Something that greets in its own way, and its address."""

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"imap://me@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


NOT_IMAP = [
    (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ExitCode.PROTOCOL),
    (b"220 mail.example.org ESMTP\r\n", ExitCode.PROTOCOL),
    (b"+OK POP3 ready\r\n", ExitCode.PROTOCOL),
    (b"\x16\x03\x01\x02\x00" + bytes(300) + b"\r\n", ExitCode.PROTOCOL),
    (b"* BYE too many connections\r\n", ExitCode.UNREACHABLE),
    (b"", ExitCode.UNREACHABLE),
]


@pytest.mark.parametrize(("greeting", "code"), NOT_IMAP)
async def test_server_that_is_not_imap(program: Program, greeting: bytes, code: ExitCode) -> None:
    async with speaking(greeting) as address:
        assert_error(await program.run("sync", address, MAILDIR), code, "127.0.0.1")


# --- configuration --------------------------------------------------------------------------------------------------


async def test_no_configuration(program: Program) -> None:
    ended = await program.run("sync")
    assert_error(
        ended, ExitCode.CONFIGURATION, f"{program.home}/config/mailtwin/config.toml", "mailtwin sync imaps://"
    )


async def test_mistakes_in_the_configuration(program: Program) -> None:
    config = program.home / "c.toml"
    config.write_text('[stores.a]\ntype = "imap"\nhost = "h"\nuser = 1\nprot = 2\n')
    ended = await program.run("check", "--config", config)
    assert_error(ended, ExitCode.CONFIGURATION)
    assert ended.err.splitlines() == [
        "error: The configuration has 2 mistakes:",
        f"  {config}:4:8: stores.a.user: found 1; expected a string",
        f"  {config}:5:1: stores.a.prot: unknown key; did you mean port?",
    ]


ADDRESSES = [
    (("imaps://me@h/",), "expected two"),
    (("imaps://me@h/", "maildir:~/a", "maildir:~/b"), "expected two"),
    (("imaps://me@h/", "imaps://me@H:993"), "Both sides are imaps://me@h/"),
    (("maildir:~/Mail", "maildir:Mail/../Mail"), "Both sides are"),
    (("maildir:~/Mail", "maildir:~/Mail/.Sub"), "Both sides are"),
    (("home", "maildir:~/Mail"), "not the address of a mail store"),
    (("--config", "c.toml", "imaps://me@h/", "maildir:~/Mail"), "as well as --config"),
    (("imaps://me:secret-word@h/", "maildir:~/Mail"), "holds a password"),
    (("imap://me@h/?tls=of", "maildir:~/Mail"), "tls=of"),
]


@pytest.mark.parametrize(("targets", "words"), ADDRESSES)
async def test_addresses(program: Program, targets: tuple[str, ...], words: str) -> None:
    ended = await program.run("sync", *targets)
    assert_error(ended, ExitCode.CONFIGURATION, words)
    assert "secret-word" not in ended.err


USAGE = [
    (("snyc",), "No such command 'snyc'"),
    (("sync", "--qiet"), "No such option"),
    (("sync", "--direction", "up"), "'up' is not one of"),
    (("sync", "--state-dir", ""), "An empty path"),
]


@pytest.mark.parametrize(("arguments", "words"), USAGE)
async def test_usage(program: Program, arguments: tuple[str, ...], words: str) -> None:
    ended = await program.run(*arguments)
    assert_error(ended, ExitCode.USAGE, words, "hint: mailtwin")
    machine = await program.run(*arguments, "--json")
    assert machine.err == ended.err or "--json" in machine.err
    error, end = machine.lines
    assert (machine.code, error["exit_code"], end["exit_code"]) == (ExitCode.USAGE,) * 3
    assert (error["event"], error["kind"], error["pair"]) == ("error", "UsageError", None)
    assert error["message"] in machine.err
    assert error["hint"].startswith("mailtwin")


async def test_usage_after_all_options(program: Program) -> None:
    """What comes after `--` is no option."""
    ended = await program.run("sync", "--", "--json")
    assert_error(ended, ExitCode.CONFIGURATION)


# --- what is in the way ---------------------------------------------------------------------------------------------


async def test_second_run_while_one_runs(program: Program) -> None:
    mail, _ = account(2)
    async with serving(mail) as (server, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        # The engine's address of the account names the port, as the state does.
        left, right = f"imap://me@127.0.0.1:{server.port}/", f"maildir:{program.home}/Mail"
        path = state_path(program.home / "state" / "mailtwin", left, right)
        with State.open(path, left=left, right=right, now=time.time):
            assert_error(await program.run("sync", address, MAILDIR), ExitCode.LOCKED, str(os.getpid()))
            looked = await program.run("status", address, MAILDIR)
        assert (looked.code, looked.err) == (ExitCode.OK, "")
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK


async def test_another_pair_on_the_same_maildir(program: Program) -> None:
    mail, _ = account(2)
    store = MaildirStore(program.home / "Mail")
    await store.connect(create=True)
    try:
        async with serving(mail) as (_, address):
            assert_error(await program.run("sync", address, MAILDIR), ExitCode.LOCKED, "Mail")
    finally:
        await store.close()


async def test_one_account_under_two_names(program: Program) -> None:
    mail, found = account(3)
    async with serving(mail) as (server, address):
        other = address.replace("127.0.0.1", "localhost")
        for command in ("check", "plan", "sync"):
            ended = await program.run(command, address, other)
            assert_error(ended, ExitCode.CONFIGURATION, address, other, "one and the same", "hint: ")
        assert server.counts["APPEND"] == 0
    assert len(found["INBOX"]) == 3


async def test_vanished_maildir(program: Program) -> None:
    mail, found = account(5)
    async with serving(mail) as (_, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        before = contents(found)
        (program.home / "Mail").rename(program.home / "unmounted")
        for command in ("sync", "plan"):
            ended = await program.run(command, address, MAILDIR)
            assert_error(ended, ExitCode.STORE_MISSING, f"{program.home}/Mail")
        (program.home / "Mail").mkdir()  # the empty mount point
        assert_error(await program.run("sync", address, MAILDIR), ExitCode.STORE_MISSING)
        assert contents(found) == before
        (program.home / "Mail").rmdir()
        (program.home / "unmounted").rename(program.home / "Mail")
        again = await program.run("sync", address, MAILDIR)
        assert again.out.startswith("in step: nothing to do")
        assert contents(found) == before


async def test_implausible_removals(program: Program) -> None:
    mail, found = account(40)
    async with serving(mail) as (_, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        for part in ("cur", "new"):
            for path in (program.home / "Mail" / part).iterdir():
                path.unlink()
        ended = await program.run("sync", address, MAILDIR)
        assert ended.code == ExitCode.GUARD
        assert "problems in INBOX:" in ended.err
        assert "`mailtwin approve` lets exactly these removals through" in ended.err
        assert ended.out.startswith("not in step")
        assert len(found["INBOX"]) == 40
        assert (await program.run("approve", "--yes", address, MAILDIR)).code == ExitCode.OK
        assert len(found["INBOX"]) == 40
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        assert len(found["INBOX"]) == 0


# --- the disk -------------------------------------------------------------------------------------------------------


def small_files() -> None:
    """As a full disk does, this stops a file from growing: at 100 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


async def test_disk_that_takes_no_more(program: Program) -> None:
    mail, found = account(100)
    async with serving(mail) as (_, address):
        before = contents(found)
        ended = await program.run("sync", address, MAILDIR, limit=small_files)
        assert ended.code == ExitCode.DISK, ended.err
        assert "Traceback" not in ended.err
        assert contents(found) == before
        again = await program.run("sync", address, MAILDIR)
        assert again.code == ExitCode.OK, again.err
        assert contents(found) == before
    assert len([path for part in ("cur", "new") for path in (program.home / "Mail" / part).iterdir()]) == 100


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="mounts a small file system")
async def test_full_disk(program: Program, tmp_path: Path) -> None:
    mail, found = account(100)
    disk = tmp_path / "disk"
    disk.mkdir()
    async with serving(mail) as (_, address):
        before = contents(found)
        script = f'mount -t tmpfs -o size=600k none {disk} && exec "$@"'
        process = await asyncio.create_subprocess_exec(
            "unshare", "--mount", "sh", "-c", script, "sh", shutil.which("true") or "true",
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        if await process.wait():
            pytest.skip("mounting is not permitted here")
        ended = await program.run(
            "sync", address, f"maildir:{disk}/Mail",
            wrapper=("unshare", "--mount", "sh", "-c", script, "sh"),
        )  # fmt: skip
        assert ended.code == ExitCode.DISK, ended.err
        assert "Traceback" not in ended.err
        assert "No space left on device" in ended.err
        assert contents(found) == before


async def test_state_directory_that_cannot_be(program: Program) -> None:
    mail, _ = account(1)
    (program.home / "state").write_text("a file")
    async with serving(mail) as (_, address):
        assert_error(await program.run("sync", address, MAILDIR), ExitCode.DISK, f"{program.home}/state")


async def test_state_that_is_damaged(program: Program) -> None:
    mail, found = account(3)
    async with serving(mail) as (_, address):
        assert (await program.run("sync", address, MAILDIR)).code == ExitCode.OK
        [path] = (program.home / "state" / "mailtwin").glob("*.db")
        path.write_bytes(b"no database at all" * 1000)
        for command in ("sync", "plan", "status"):
            assert_error(await program.run(command, address, MAILDIR), ExitCode.STATE, str(path))
        path.unlink()
        again = await program.run("sync", address, MAILDIR)
        assert again.out.startswith("in step: 3 recognised on both sides")
        assert len(found["INBOX"]) == 3
