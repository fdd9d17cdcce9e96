"""What the program finds when it starts: closed streams, other characters than UTF-8, no home, a `~`."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.cli.running import Program, account, contents, serving

from mailtwin.errors import ExitCode

NOT_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale without UTF-8 that Python does not correct, as `de_DE.ISO-8859-1` is one."""


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
async def test_closed_streams(program: Program, closed: tuple[int, ...]) -> None:
    mail, _ = account(3)
    async with serving(mail) as (_, address):
        ended = await program.run("sync", address, "maildir:~/Mail", limit=closing(*closed))
    assert ended.code == ExitCode.OK
    assert "Traceback" not in ended.err
    assert bool(ended.out) == (1 not in closed)


async def test_no_password_and_no_input(program: Program) -> None:
    mail, _ = account(1)
    program.environ["MAILTWIN_LEFT_PASSWORD"] = ""
    async with serving(mail) as (_, address):
        ended = await program.run("sync", address, "maildir:~/Mail", limit=closing(0))
    assert ended.code == ExitCode.SECRET
    assert "Traceback" not in ended.err


async def test_names_on_disk_do_not_depend_on_the_locale(program: Program) -> None:
    mail, found = account(2, mailboxes=("INBOX", "Entwürfe"))
    utf8, ascii_only = dict(program.environ), program.environ | NOT_UTF8
    async with serving(mail) as (_, address):
        before = contents(found)
        for environ, shown in (
            (ascii_only, "Entw\\xfcrfe"),
            (utf8, "Entwürfe"),
            (ascii_only, "Entw\\xfcrfe"),
        ):
            program.environ.clear()
            program.environ.update(environ)
            ended = await program.run("sync", address, "maildir:~/Mäil")
            assert (ended.code, "Traceback" in ended.err) == (ExitCode.OK, False), ended.err
            checked = await program.run("check", address, "maildir:~/Mäil")
            assert shown in checked.out
        assert contents(found) == before
    assert (program.home / "Mäil" / ".Entwürfe" / "cur").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody without a home")
@pytest.mark.parametrize("arguments", [("status", "imaps://me@h/", "maildir:/nowhere"), ("sync",)])
async def test_no_home(program: Program, arguments: tuple[str, ...]) -> None:
    without = ("env", "-u", "HOME", "-u", "XDG_STATE_HOME", "-u", "XDG_CONFIG_HOME")
    nobody = ("setpriv", "--reuid", "54321", "--clear-groups")
    ended = await program.run(*arguments, wrapper=(*without, *nobody))
    assert ended.code == ExitCode.CONFIGURATION, ended.err
    assert "your home directory is not known" in ended.err
    assert "Traceback" not in ended.err


async def test_a_tilde_that_the_shell_left(program: Program) -> None:
    mail, _ = account(1)
    async with serving(mail) as (_, address):
        ended = await program.run("sync", "--state-dir=~/states", address, "maildir:~/Mail")
        looked = await program.run("status", "--state-dir=states", address, "maildir:~/Mail")
    assert (ended.code, looked.code) == (ExitCode.OK, ExitCode.OK)
    assert {path.name for path in program.home.iterdir()} == {"Mail", "states"}
    assert f"state: {program.home}/states/" in looked.out
