"""docs/simulator.md is true: its table is that of the code, its example runs, its commands are taken."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from pathlib import Path

import pytest
from tests.docs.simtable import rows

from mailtwin.testing import simulate

DOCUMENT = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"^python -m mailtwin\.testing\.simulate([^#\n]*)",
    DOCUMENT.replace("\\\n", " "),
    re.MULTILINE,
)


def test_the_table_is_that_of_the_code() -> None:
    table = list(rows())
    assert table[0] in DOCUMENT
    start = DOCUMENT.index(table[0])
    assert DOCUMENT[start:].split("\n\n")[0].splitlines() == table


async def test_the_example_prints_what_it_says(tmp_path: Path) -> None:
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", DOCUMENT, re.DOTALL)
    program = tmp_path / "example.py"
    program.write_text(code)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (out.decode(), err.decode()) == (printed, "")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_the_commands_are_taken(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main([*shlex.split(arguments), "--list"]) == 0
    assert "window=" in capsys.readouterr().out


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 4
