"""Where a password comes from, and what is said when there is none."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import pytest

from mailtwin.config import secrets
from mailtwin.config.secrets import SECRET_BYTES_MAX, ask_at_terminal, find_secret
from mailtwin.config.settings import Auth, ImapSettings, SecretSource, Tls
from mailtwin.errors import ExitCode, SecretError
from mailtwin.model import Side

PLAIN = ImapSettings("me", "imap.example.org", 993, Tls.IMPLICIT)


def with_source(source: SecretSource) -> ImapSettings:
    return dataclasses.replace(PLAIN, secret=source)


def nobody(_question: str) -> str | None:
    return None


def never(_question: str) -> str | None:
    raise AssertionError("asked although there is a configured source")


def find(source: SecretSource, **environ: str) -> str:
    return find_secret(with_source(source), Side.LEFT, never, environ)


@pytest.mark.parametrize(
    "command",
    [("printf", "sesame\\nuser: me\\n"), "printf 'sesame\\r\\n'", "echo sesame | cat", ("printf", "sesame")],
)
def test_command(command: tuple[str, ...] | str) -> None:
    assert find(SecretSource(command=command), MAILTWIN_LEFT_PASSWORD="other") == "sesame"


COMMANDS = [
    (("/nonexistent/pass",), "could not be started: No such file or directory"),
    ("echo sesame; exit 3", "ended with exit code 3"),
    (("false", "sesame"), "ended with exit code 1"),
    ("true", "is empty"),
    ("printf '\\nsesame'", "is empty"),
    ("head -c 70000 /dev/zero | tr '\\0' x", "is longer than any password"),
    ("printf 'ses\\0ame'", "line break or a NUL"),
    ("printf 'ses\\377ame'", "is not UTF-8"),
]


@pytest.mark.parametrize(("command", "why"), COMMANDS)
def test_command_that_fails(command: tuple[str, ...] | str, why: str) -> None:
    with pytest.raises(SecretError) as caught:
        find(SecretSource(command=command))
    assert why in caught.value.message
    assert caught.value.message.startswith("There is no password for imaps://me@imap.example.org/: ")
    assert caught.value.exit_code is ExitCode.SECRET


def test_arguments_of_a_command_are_not_shown() -> None:
    with pytest.raises(SecretError) as caught:
        find(SecretSource(command=("false", "sesame")))
    assert "sesame" not in str(caught.value)


def test_command_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COMMAND_S_MAX", 0.1)
    with pytest.raises(SecretError, match="did not end within"):
        find(SecretSource(command=("sleep", "20")))


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes("pässword \r\nsecond line\n".encode())
    path.chmod(0o600)
    assert find(SecretSource(file=path)) == "pässword "
    path.chmod(0o400)
    assert find(SecretSource(file=path)) == "pässword "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text("sesame")
    path.chmod(mode)
    with pytest.raises(SecretError, match=f"can be read by others \\(mode {mode:04o}\\)") as caught:
        find(SecretSource(file=path))
    assert caught.value.hint == f"Run: chmod 600 {path}"
    assert "sesame" not in str(caught.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be read: No such file or directory"):
        find(SecretSource(file=tmp_path / "secret"))


def test_longest_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_bytes(b"x" * SECRET_BYTES_MAX)
    assert len(find(SecretSource(file=path))) == SECRET_BYTES_MAX
    path.write_bytes(b"x" * (SECRET_BYTES_MAX + 1))
    with pytest.raises(SecretError, match="longer than any password"):
        find(SecretSource(file=path))


def test_configured_variable() -> None:
    source = SecretSource(variable="WORK_PASSWORD")
    assert find(source, WORK_PASSWORD="sesame", MAILTWIN_LEFT_PASSWORD="other") == "sesame"
    with pytest.raises(SecretError, match="the environment variable WORK_PASSWORD is not set"):
        find(source, MAILTWIN_LEFT_PASSWORD="other")


def test_variable_of_each_side() -> None:
    environ = {"MAILTWIN_LEFT_PASSWORD": "l", "MAILTWIN_RIGHT_PASSWORD": "r"}
    assert [find_secret(PLAIN, side, never, environ) for side in Side] == ["l", "r"]
    with pytest.raises(SecretError, match="MAILTWIN_LEFT_PASSWORD is empty"):
        find_secret(PLAIN, Side.LEFT, never, {"MAILTWIN_LEFT_PASSWORD": ""})


def test_asking() -> None:
    questions = []

    def ask(question: str) -> str:
        questions.append(question)
        return "sesame"

    assert find_secret(PLAIN, Side.RIGHT, ask, {}) == "sesame"
    find_secret(dataclasses.replace(PLAIN, auth=Auth.XOAUTH2), Side.RIGHT, ask, {})
    find_secret(dataclasses.replace(PLAIN, auth=Auth.OAUTHBEARER), Side.RIGHT, ask, {})
    token = "Access token for me on imap.example.org: "
    assert questions == ["Password for me on imap.example.org: ", token, token]


@pytest.mark.parametrize("auth", [Auth.EXTERNAL, Auth.ANONYMOUS])
def test_logins_without_a_secret_ask_nobody(auth: Auth) -> None:
    settings = dataclasses.replace(PLAIN, auth=auth, secret=SecretSource(variable="NEVER_SET"))
    assert find_secret(settings, Side.LEFT, never, {"MAILTWIN_LEFT_PASSWORD": "x"}) == ""


def test_a_tunnel_asks_nobody_and_uses_what_is_configured() -> None:
    settings = dataclasses.replace(PLAIN, tunnel=("ssh", "h"))
    assert find_secret(settings, Side.LEFT, never, {}) == ""
    assert find_secret(settings, Side.LEFT, never, {"MAILTWIN_LEFT_PASSWORD": "x"}) == "x"
    configured = dataclasses.replace(settings, secret=SecretSource(variable="V"))
    assert find_secret(configured, Side.LEFT, never, {"V": "y"}) == "y"


def test_nobody_to_ask() -> None:
    with pytest.raises(SecretError) as caught:
        find_secret(PLAIN, Side.RIGHT, nobody, {})
    for way in ("MAILTWIN_RIGHT_PASSWORD", "password_command", "password_file", "password_env"):
        assert way in caught.value.hint


def test_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sesame\n"))
    assert ask_at_terminal("Password: ") is None
