"""The demonstration runs, proves what it says, leaves nothing behind, and says so when something is not identical."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.running import Program

from mailtwin.cli import demo
from mailtwin.engine.findings import Finding, Kind, Verification
from mailtwin.errors import ExitCode
from mailtwin.model import Side


async def test_demo(program: Program, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program.environ["TMPDIR"] = str(temporary)
    ended = await program.run("demo")
    assert (ended.code, ended.err) == (ExitCode.OK, ""), ended.out
    assert ended.out.count("proof: ") == 6
    assert "everything was proven identical" in ended.out.splitlines()[-1]
    assert "mailtwin sync  imaps://you@imap.example.org/ maildir:~/Mail" in ended.out
    assert list(temporary.iterdir()) == []
    assert list(program.home.iterdir()) == []


async def test_kept(program: Program, tmp_path: Path) -> None:
    ended = await program.run("demo", "--keep", tmp_path / "kept")
    assert ended.code == ExitCode.OK, ended.out
    assert (tmp_path / "kept" / "Mail" / "cur").is_dir()
    assert len(list((tmp_path / "kept" / "state").glob("*.db"))) == 2
    again = await program.run("demo", "--keep", tmp_path / "kept")
    assert (again.code, again.out) == (ExitCode.CONFIGURATION, "")


def test_a_difference_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def differ(*_: object) -> Verification:
        missing = Finding(Kind.MISSING, "INBOX", Side.RIGHT, 1, None, "<a@b>", 5)
        return Verification((), (missing,), {(Kind.MISSING, Side.RIGHT): 1})

    monkeypatch.setattr("mailtwin.engine.compare_stores", differ)
    assert demo.demo(None) == ExitCode.NOT_IN_STEP
    shown = capsys.readouterr().out
    assert "FAILED: 1 difference" in shown
    assert shown.splitlines()[-1].startswith("NOT everything was proven identical")
