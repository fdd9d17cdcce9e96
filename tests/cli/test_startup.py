"""What a nightly run with nothing to do must not pay for."""

from __future__ import annotations

import subprocess
import sys

IMPORTED = """
import sys
import mailtwin.cli.app
from mailtwin.cli import commands
from mailtwin.cli.targets import Overrides
from mailtwin.config.address import parse_address
from mailtwin.config.build import build_pair
from mailtwin.config.settings import PairSettings
left, right = map(parse_address, ("imaps://me@h/", "maildir:/m"))
build_pair(PairSettings("p", left, right), lambda question: None)
import mailtwin.config.load
print(*sorted(sys.modules))
"""

NEVER = {
    "argparse", "cattrs", "difflib", "getpass", "http.client", "importlib.metadata",
    "mailtwin.cli.demo", "mailtwin.cli.jsonscreen", "mailtwin.cli.terminal", "mailtwin.config.positions",
    "mailtwin.stores.memory", "mailtwin.testing", "pydoc", "rich", "unittest", "xml",
}  # fmt: skip


def test_what_a_run_does_not_use_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "mailtwin.engine.sync" in loaded
    assert loaded & NEVER == set()


def test_help_imports_no_engine() -> None:
    code = "import sys, mailtwin.cli.app; mailtwin.cli.app.run(['--help']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded & {"asyncio", "mailtwin.engine", "mailtwin.config", "sqlite3", "ssl", "rich"} == set()
