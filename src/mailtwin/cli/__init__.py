"""What a person types: the commands of mailtwin."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The entry point of the `mailtwin` script."""
    # Importing makes objects that stay: looking for garbage among them costs a tenth of the start.
    gc.disable()
    try:
        from mailtwin.cli.app import run

        code = run()
    except KeyboardInterrupt:  # before the commands could take care of it
        code = 130
    sys.exit(code)
