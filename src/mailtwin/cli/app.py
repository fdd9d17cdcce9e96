"""The commands of `mailtwin`. Each imports what it needs when it runs, so that a run with nothing to do starts quickly.

What is shown where: results on standard output, everything else on standard error. Every error that is not a mistake
of ours is one paragraph with an exit code, never a traceback.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailtwin.cli.exitcodes import as_help
from mailtwin.cli.output import Lines, error_lines, prepare_streams
from mailtwin.cli.runner import InterruptedRunError
from mailtwin.errors import ExitCode, MailtwinError

if TYPE_CHECKING:
    from mailtwin.cli.jsonscreen import JsonScreen

F = TypeVar("F", bound=Callable[..., Any])
DIRECTIONS = ("two-way", "left-to-right", "right-to-left")
REMOVALS = ("propagate", "keep", "restore")
LAYOUTS = ("auto", "maildir++", "nested")
VIEWS = ("mailboxes", "labels")


class _Place(click.Path):
    """A path, absolute. Shells leave the `~` in `--state-dir=~/x` alone."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not value:
            self.fail("An empty path.", param, ctx)
        from mailtwin.config.address import absolute  # late: help needs none of it

        return absolute(str(value))


_PATH = _Place()

EPILOG = f"""\b
Exit codes:
{as_help()}
"""


@click.group(
    epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="mailtwin", message="%(prog)s %(version)s")
def commands() -> None:
    """Keep two mail stores identical: IMAP with IMAP, IMAP with Maildir.

    A pair is named by the configuration file, or by two addresses:

    \b
      mailtwin sync imaps://user@host/ maildir:~/Mail
    """


def _options(*names: str) -> Callable[[F], F]:
    """The options of these names, in the order of `_OPTIONS`, and the targets."""

    def decorate(function: F) -> F:
        for name, option in reversed(_OPTIONS.items()):
            if name in names:
                function = option(function)
        metavar = "[PAIR...|LEFT RIGHT]" + (" [RUN]" if function.__name__ == "undo" else "")
        return click.argument("targets", nargs=-1, metavar=metavar)(function)

    return decorate


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "config": click.option("--config", type=_PATH, help="Read this configuration file."),
    "direction": click.option(
        "--direction", type=click.Choice(DIRECTIONS), help="Which sides may be changed [two-way]."
    ),
    "removals": click.option(
        "--removals",
        type=click.Choice(REMOVALS),
        help="What becomes of a message that was removed on one side [propagate].",
    ),
    "remove_mailboxes": click.option(
        "--remove-mailboxes", is_flag=True, help="Remove a mailbox that was removed on the other side."
    ),
    "view": click.option(
        "--view",
        type=click.Choice(VIEWS),
        help="Keep mailboxes in step, or all mail once with its labels [mailboxes].",
    ),
    "include": click.option(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Only these mailboxes; may be given several times [*].",
    ),
    "exclude": click.option(
        "--exclude", multiple=True, metavar="GLOB", help="Not these mailboxes; may be given several times."
    ),
    "retry": click.option(
        "--retry",
        is_flag=True,
        help="Try at once what could not be copied before; log in to accounts that rest.",
    ),
    "full": click.option(
        "--full", is_flag=True, help="List every mailbox whole, whatever its server says of what changed."
    ),
    "layout": click.option(
        "--layout", type=click.Choice(LAYOUTS), help="How mailboxes lie in the Maildir [auto]."
    ),
    "ca_file": click.option(
        "--ca-file", type=_PATH, help="Trust the certificates (PEM) in this file as well."
    ),
    "state_dir": click.option("--state-dir", type=_PATH, help="Keep the state in this directory."),
    "json": click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line."),
    "quiet": click.option("-q", "--quiet", is_flag=True, help="Print nothing as long as all is well."),
    "verbose": click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Print a line for each operation or message.",
    ),
}


def _mailbox_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from mailtwin.model import MailboxName  # late: help needs none of it

    try:
        return None if value is None else str(MailboxName.parse(value))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    from mailtwin.cli.past import parse_since  # late: help needs none of it

    try:
        return None if value is None else parse_since(value, time.time())
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


_MAILBOX = click.option(
    "--mailbox",
    metavar="NAME",
    callback=_mailbox_name,
    help="Only in this mailbox, by its name on the left side.",
)


def _run(command: str, **values: Any) -> int:
    from mailtwin.cli import commands as implementation

    return implementation.run(command, implementation.make_options(values))


@commands.command()
@_options(*_OPTIONS)
def sync(**values: Any) -> int:
    """Make both sides hold the same mail.

    Without arguments all pairs of the configuration file, one after the other. Ends with exit code 0 when both sides
    are in step. May be interrupted at any moment; the next run goes on from there.
    """
    return _run("sync", **values)


@commands.command()
@_options(*(name for name in _OPTIONS if name not in ("retry", "full", "quiet")))
def plan(**values: Any) -> int:
    """Show what `sync` would do and why, and do nothing."""
    return _run("plan", **values)


@commands.command()
@_options("config", "view", "layout", "state_dir", "json")
def status(**values: Any) -> int:
    """Show the last runs, and what is open. Reads the state only; works while a run is going on."""
    return _run("status", **values)


@commands.command()
@_options("config", "direction", "view", "include", "exclude", "layout", "ca_file", "state_dir", "json")
def check(**values: Any) -> int:
    """Log in on both sides and show how each mailbox maps. Changes nothing."""
    return _run("check", **values)


@commands.command()
@_options("config", "view", "layout", "state_dir", "json")
@click.option("--send-again", is_flag=True, help="Send again what may have been stored and is not found.")
@click.option("--remove-extra", is_flag=True, help="Remove the extra copies that arrived late.")
@click.option(
    "--keep-extra", is_flag=True, help="Take the extra copies for mail of its own, and copy it too."
)
@_MAILBOX
@click.option("--message-id", metavar="ID", help="Only the message with this Message-ID.")
def resolve(**values: Any) -> int:
    """Decide what only a person can decide.

    A server that stalls or breaks off may leave two things behind: a message that it may have stored and that is not
    found there, and an extra copy that arrived after the message was sent again. Neither is touched until you decide.
    Without a decision, shows what waits. The next `sync` carries the decision out.
    """
    names = ("send_again", "remove_extra", "keep_extra")
    decisions = tuple(name.replace("_", "-") for name in names if values.pop(name))
    if {"remove-extra", "keep-extra"} <= set(decisions):
        raise click.UsageError("An extra copy can be removed or kept, not both.")
    return _run("resolve", decisions=decisions, **values)


@commands.command()
@_options("config", "view", "layout", "state_dir", "json")
@click.option("--yes", is_flag=True, help="Approve without being asked.")
@_MAILBOX
def approve(**values: Any) -> int:
    """Let removals through that were held back as implausible.

    Shows what the last run held back and why, with the messages, and asks. What is approved are exactly these
    removals: the next `sync` carries them out if they are still planned then, and judges any others anew. Without a
    terminal and without --yes, only shows. Ends with exit code 0 when nothing waits for an approval any more, else
    with 3.
    """
    return _run("approve", **values)


@commands.command()
@_options(*(name for name in _OPTIONS if name not in ("retry", "full", "remove_mailboxes")))
@click.option("--deep", is_flag=True, help="Read every message again, also those that show no change.")
def verify(**values: Any) -> int:
    """Prove that both sides hold the same mail, message by message, without trusting the state.

    Compares bytes, flags (those that both sides can hold) and arrival dates, and lists what is missing, altered,
    doubled, unresolved or unreadable, with the reason where it can be told. Ends with exit code 0 only when both
    sides are identical, else with 3. Changes no mail.

    Which messages there are, their flags, dates and sizes are asked anew each time. Bytes that were read before are not
    read again as long as nothing shows a change; --deep reads them all.
    """
    return _run("verify", **values)


@commands.command("log")
@_options("config", "view", "layout", "state_dir", "json")
@_MAILBOX
@click.option(
    "--since",
    metavar="WHEN",
    callback=_moment,
    help="Only since a date or time, or a span (12h, 7d).",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=1_000,
    metavar="N",
    help="At most so many lines [1000].",
)
def show_log(targets: tuple[str, ...], **values: Any) -> int:
    """Show the last runs, or what was done in one of them.

    `log RUN` (a number, before or after the pair) shows each thing that was done in that run, --mailbox what was done
    in a mailbox. Reads the state only; works while a run is going on.
    """
    targets, run = _take_run(targets)
    return _run("log", targets=targets, run=run, **values)


def _take_run(targets: tuple[str, ...]) -> tuple[tuple[str, ...], int | None]:
    """The targets without the number of a run, which may stand before or after them; and that number."""
    for at in (0, -1):
        if targets and targets[at].isascii() and targets[at].isdigit() and len(targets[at]) < 10:
            return targets[1:] if at == 0 else targets[:-1], int(targets[at])
    return targets, None


@commands.command()
@click.argument("message")
@_options("config", "view", "layout", "state_dir", "json")
@_MAILBOX
@click.option("--side", type=click.Choice(["left", "right"]), help="The side that MESSAGE is a name on.")
def explain(**values: Any) -> int:
    """Show what was done to a message, when, in which run and why, and what is known of it now.

    MESSAGE is a Message-ID; or, with --mailbox, a UID or the name of a file in a Maildir. Reads the state only.
    """
    if values["mailbox"] is None and "@" not in values["message"]:
        raise click.UsageError(
            f"{values['message']} is no Message-ID; a UID or a file name needs --mailbox, the mailbox it is in."
        )
    return _run("explain", **values)


@commands.group("state")
def state_group() -> None:
    """Look into what mailtwin knows."""


@state_group.command("check")
@_options("config", "view", "layout", "state_dir", "json")
def state_check(**values: Any) -> int:
    """Look for contradictions in the state. Ends with exit code 18 when there are any. Reads it whole."""
    return _run("state-check", **values)


@commands.command()
@_options("config", "view", "layout", "ca_file", "state_dir", "json")
@_MAILBOX
@click.option("--message-id", metavar="ID", help="Only the message with this Message-ID.")
def undo(targets: tuple[str, ...], **values: Any) -> int:
    """Put back what a run removed: `mailtwin undo PAIR RUN`.

    Removed messages are kept for a while. Without the number of a run, shows what can be put back, run by run. What is
    put back is there as it was, with flags and date, and the next `sync` copies it to the other side again.
    """
    targets, run = _take_run(targets)
    return _run("undo", targets=targets, run=run, **values)


@commands.command()
@click.option("--keep", type=_PATH, metavar="DIR", help="Keep the Maildir and the state in DIR.")
def demo(keep: Path | None) -> int:
    """Watch two simulated servers and a Maildir become one. Needs no account and no network."""
    from mailtwin.cli.demo import demo as run_demo

    return run_demo(keep)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; raises nothing but SystemExit's kin.

    Whatever happens, what was asked for with `--json` ends with the JSON object `end`; a request for help is none.
    """
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    errors = Lines(sys.stderr)
    machine = _json_screen(errors) if _wants_json(words) else None

    def tell(error: MailtwinError) -> int:
        if machine is not None:
            machine.error(error)
        else:
            for line in error_lines(error):
                errors.write(line)
        return error.exit_code

    try:
        code = int(commands.main(words, prog_name="mailtwin", standalone_mode=False) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as wrong:
        errors.write(wrong.format_message())
        return ExitCode.USAGE
    except click.ClickException as wrong:
        code = tell(_usage_error(wrong))
    except MailtwinError as error:
        code = tell(error)
    except (InterruptedRunError, KeyboardInterrupt, click.Abort):
        errors.write("interrupted; the next run goes on from here")
        code = ExitCode.INTERRUPTED
    except Exception as mistake:  # noqa: BLE001 - the last place: everything else is a mistake of ours, and is shown whole
        errors.write(_traceback(mistake))
        code = tell(MistakeError.of(mistake))
    if machine is not None:
        machine.end(code)
    return code


def _wants_json(words: Sequence[str]) -> bool:
    """Whether `--json` is among the options, also of a command line that cannot be understood."""
    return "--json" in words[: words.index("--") if "--" in words else None]


def _json_screen(errors: Lines) -> JsonScreen:
    from mailtwin.cli.jsonscreen import JsonScreen  # late: it needs the engine

    return JsonScreen(Lines(sys.stdout), errors)


class UsageError(MailtwinError):
    """The command line was not understood."""

    exit_code = ExitCode.USAGE


class MistakeError(MailtwinError):
    """What is told of a mistake of our own, besides where it happened."""

    @classmethod
    def of(cls, mistake: Exception) -> MistakeError:
        """The error that stands for `mistake`."""
        return cls(
            "This is a mistake in mailtwin, for which we apologise; please report the traceback on standard error, "
            f"which ends in {type(mistake).__name__}.",
            hint="No mail is lost by it: what was done is noted, and the next run goes on from there.",
        )


def _usage_error(wrong: click.ClickException) -> UsageError:
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    return UsageError(
        wrong.format_message(), hint=f"{context.command_path} --help" if context is not None else ""
    )


def _traceback(mistake: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(mistake)).rstrip()
