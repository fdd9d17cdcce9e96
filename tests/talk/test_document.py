"""The document names every option with what the program says about it, and every command of its own."""

from __future__ import annotations

import re
from pathlib import Path

from mailtwin.talk.__main__ import make_parser
from mailtwin.talk.knowledge import OWN_COMMANDS
from mailtwin.talk.person import HELP

DOCUMENT = (Path(__file__).parents[2] / "docs" / "imap-talk.md").read_text(encoding="utf-8")


def test_options() -> None:
    rows = []
    for action in make_parser()._actions:
        if action.option_strings and action.dest != "help":
            value = " / ".join(action.choices or ()) or action.metavar or ""
            rows.append(f"| `{action.option_strings[0]}` | {value} | {action.help} |")
    assert [line for line in DOCUMENT.splitlines() if line.startswith("| `")] == rows


def test_own_commands() -> None:
    for command in OWN_COMMANDS:
        assert command in HELP
    for command in ("/all", "/both", "/parsed", "/quit", "/wait"):
        assert f"`{command}" in DOCUMENT


def test_the_help_names_nothing_else() -> None:
    assert set(re.findall(r"(?<!\S)/[a-z]+", HELP)) == set(OWN_COMMANDS)
