"""What a person types: the commands of mailtwin."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main() -> None:
    """The entry point of the `mailtwin` script."""
    # Importing makes objects that stay: looking for garbage among them costs a tenth of the start.
    gc.disable()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.getfilesystemencoding() != "utf-8":
            _again_in_utf8()
        from mailtwin.cli.app import run

        code = run()
    except KeyboardInterrupt:  # before the commands could take care of it
        code = 130
        if sys.stderr is not None:
            sys.stderr.write("interrupted; nothing was begun\n")
    sys.exit(code)


def _again_in_utf8() -> None:
    """Starts the program anew so that names on disk are UTF-8, also where the terminal's characters are not.

    Otherwise a Maildir would depend on the locale of each run: mailboxes would be missing in one that were made in
    another.
    """
    from mailtwin.cli.output import IN_UTF8

    os.execv(sys.executable, [sys.executable, *IN_UTF8, *sys.orig_argv[1:]])
