"""The outermost layer: usage, help, and what becomes of a mistake of our own."""

from __future__ import annotations

import json

import click
import pytest

from mailtwin.cli import app, commands
from mailtwin.cli.commands import worst
from mailtwin.cli.exitcodes import EXIT_CODES
from mailtwin.cli.runner import InterruptedRunError
from mailtwin.config.schema import DIRECTION, LAYOUT, REMOVALS
from mailtwin.errors import ExitCode, LoginError


def raising(error: BaseException) -> object:
    def run(*_: object) -> int:
        raise error

    return run


def test_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(commands, "run", raising(RuntimeError("a thing that cannot be")))
    assert app.run(["sync"]) == ExitCode.FAILED
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "Traceback (most recent call last):"
    assert "RuntimeError: a thing that cannot be" in shown
    assert shown[-2].startswith("error: This is a mistake in mailtwin")
    assert shown[-1].startswith("hint: No mail is lost by it")


def test_an_error_before_any_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "run", raising(LoginError("no", hint="yes")))
    assert app.run(["sync"]) == ExitCode.LOGIN
    assert capsys.readouterr().err == "error: no\nhint: yes\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedRunError()])
def test_interrupted(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "run", raising(error))
    assert app.run(["sync"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err.lstrip() == "interrupted; the next run goes on from here\n"


ENDINGS = [
    (RuntimeError("a thing that cannot be"), ["MistakeError"], ExitCode.FAILED),
    (LoginError("no", hint="yes"), ["LoginError"], ExitCode.LOGIN),
    (click.UsageError("not both"), ["UsageError"], ExitCode.USAGE),
    (KeyboardInterrupt(), [], ExitCode.INTERRUPTED),
    (InterruptedRunError(), [], ExitCode.INTERRUPTED),
]


@pytest.mark.parametrize(("error", "kinds", "code"), ENDINGS)
@pytest.mark.parametrize("place", ["run", "find_pairs"])
def test_every_ending_is_json(
    error: BaseException,
    kinds: list[str],
    code: ExitCode,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before a screen was made, and after."""
    monkeypatch.setattr(commands, place, raising(error))
    assert app.run(["status", "--json"]) == code
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["kind"] for line in lines[:-1]] == kinds
    assert [line["pair"] for line in lines] == [None] * len(lines)
    assert {key: lines[-1][key] for key in ("version", "event", "exit_code")} == {
        "version": 1,
        "event": "end",
        "exit_code": code,
    }
    assert shown.err != ""


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(EXIT_CODES) == set(ExitCode)
    assert app.run(["--help"]) == ExitCode.OK
    shown = capsys.readouterr().out
    for code, what in EXIT_CODES.items():
        assert f"{code.value:>3}  {what.replace('`', '')}" in shown


def test_no_command_is_a_request_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run([]) == ExitCode.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: mailtwin ")
    assert "Commands:" in shown


def test_choices_are_those_of_the_configuration() -> None:
    for key, choices in ((DIRECTION, app.DIRECTIONS), (REMOVALS, app.REMOVALS), (LAYOUT, app.LAYOUTS)):
        assert key.kind.expected == "one of " + ", ".join(f'"{choice}"' for choice in choices)


WORST = [
    ([], 0),
    ([0, 0], 0),
    ([0, 12, 12], 12),
    ([11, 12], 3),
    ([3, 0], 3),
]


@pytest.mark.parametrize(("codes", "expected"), WORST)
def test_one_exit_code_for_several_pairs(codes: list[int], expected: int) -> None:
    assert worst(map(ExitCode, codes)) == expected
