"""What the protocol kernel costs beside imaplib, IMAPClient and aioimaplib, measured in turn, and whether it is fast enough.

    python bench/kernel.py [--rounds 5] [--megabytes 256] [--only listing,literal,commands]

Three pieces of work: a listing of the flags of 100,000 messages, from the server's bytes to a value for each; one large
literal over TLS on the loopback interface; thousands of commands. Each contender runs in a process of its own
(`kernel_work.py`), round by round; the fastest rounds are compared: in all others somebody else had the processor.

The others are installed into `.cache/bench-kernel` by pip. The exit code is 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = ROOT / "bench" / "kernel_work.py"
VENV = ROOT / ".cache" / "bench-kernel"
OTHERS = ("IMAPClient==4.1.0", "aioimaplib==2.0.3")

LISTED = 100_000
LISTED_SHORT = 1_000
"""aioimaplib looks at all lines again for each line, so that 100,000 would take hours."""

COMMANDS = 1_000

Figures = dict[str, float]


@dataclass(slots=True)
class Bench:
    """Runs pieces of work and keeps their figures by name, a list with one entry for each round."""

    python: Path
    figures: dict[str, list[Figures]] = field(default_factory=dict)

    def run(self, name: str, *arguments: int, as_name: str = "") -> None:
        """Does one piece of work and notes what it took. Raises CalledProcessError when it fails."""
        print(f"  {as_name or name}", file=sys.stderr)
        command = [self.python, WORK, name, *map(str, arguments)]
        done = subprocess.run(command, env=environ(), stdout=subprocess.PIPE, check=True)
        self.figures.setdefault(as_name or name, []).append(json.loads(done.stdout))

    def median(self, name: str, what: str) -> float:
        """The median over the rounds."""
        return statistics.median(one[what] for one in self.figures[name])

    def per_item(self, name: str) -> float:
        """Microseconds for each line, byte or command, in the fastest round."""
        return min(one["seconds"] / one["items"] * 1e6 for one in self.figures[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times as fast `fast` is, for each item."""
        return self.per_item(slow) / self.per_item(fast)


@dataclass(frozen=True, slots=True)
class Target:
    """A promise and what was measured."""

    promise: str
    measured: str
    is_met: bool


def environ() -> dict[str, str]:
    """The library under test is the one beside this file."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


def prepare() -> Path:
    """The Python of a virtual environment that holds the others."""
    subprocess.run(
        [ROOT / "scripts" / "venv.sh", VENV], env={**os.environ, "PYTHON": sys.executable}, check=True
    )
    python = VENV / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *OTHERS]
    subprocess.run(pip, check=True)
    return python


@contextmanager
def serving(python: Path, size: int) -> Iterator[int]:
    """The port of a server of literals, in a process of its own."""
    command = [python, WORK, "serve", str(size)]
    server = subprocess.Popen(command, env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


# --- the three pieces of work ---


def listing(bench: Bench, rounds: int) -> list[Target]:
    """(a) The flags of a mailbox."""
    whole = ("listing-mailtwin", "listing-imaplib", "listing-imapclient")
    parsers = ("listing-mailtwin-parser", "listing-imapclient-parser")
    for _ in range(rounds):
        for name in (*whole, *parsers):
            bench.run(name, LISTED)
        bench.run("listing-mailtwin", LISTED_SHORT, as_name="listing-mailtwin-short")
        bench.run("listing-aioimaplib", LISTED_SHORT)
    print(f"\nUID FETCH 1:* (UID FLAGS MODSEQ), {LISTED:,} lines; microseconds a line\n")
    bytes_in = "from bytes to values"
    rows = (
        ("mailtwin.imap", bytes_in, "listing-mailtwin"),
        ("imaplib + a pattern", bytes_in, "listing-imaplib"),
        ("imaplib + IMAPClient's parser", bytes_in, "listing-imapclient"),
        ("mailtwin.imap, its parser alone", "from lines to values", "listing-mailtwin-parser"),
        ("IMAPClient, its parser alone", "from lines to values", "listing-imapclient-parser"),
        (f"mailtwin.imap, {LISTED_SHORT:,} lines", bytes_in, "listing-mailtwin-short"),
        (f"aioimaplib + a pattern, {LISTED_SHORT:,} lines", bytes_in, "listing-aioimaplib"),
    )
    table(
        ("who", "what", "us", "times mailtwin.imap"),
        [
            (who, what, f"{bench.per_item(name):.2f}", f"{bench.ratio(name, reference(name)):.1f}")
            for who, what, name in rows
        ],
    )
    return [
        at_least("bytes to values: IMAPClient / mailtwin.imap", bench.ratio(whole[2], whole[0]), 5),
        at_least("lines to values: IMAPClient's parser / ours", bench.ratio(parsers[1], parsers[0]), 5),
        at_least(
            "bytes to values: aioimaplib / mailtwin.imap",
            bench.ratio("listing-aioimaplib", "listing-mailtwin-short"),
            1,
        ),
    ]


def reference(name: str) -> str:
    """What of ours a row is compared with: the same work."""
    if name.endswith("-parser"):
        return "listing-mailtwin-parser"
    return "listing-mailtwin-short" if name.endswith(("-short", "aioimaplib")) else "listing-mailtwin"


def literal(bench: Bench, rounds: int, megabytes: int) -> list[Target]:
    """(b) One large message."""
    size = megabytes * 1024 * 1024
    with serving(bench.python, size) as port:
        for number in range(rounds):
            # The quick ones twice, for the sake of the fastest.
            for name in 2 * ("literal-floor", "literal-blocking", "literal-client"):
                bench.run(name, port, size)
            if not number:
                # Once: they are so far away that more rounds would tell nothing.
                bench.run("literal-imapclient", port, size)
                bench.run("literal-aioimaplib", port, size)
    print(f"\nA literal of {megabytes} MiB over TLS on loopback\n")
    rows = (
        ("recv_into in a loop, blocking", "literal-floor"),
        ("mailtwin.imap on a blocking socket", "literal-blocking"),
        ("mailtwin.client, Session.stream", "literal-client"),
        ("IMAPClient, fetch", "literal-imapclient"),
        ("aioimaplib, uid", "literal-aioimaplib"),
    )
    table(
        ("who", "MiB/s", "of the loop", "CPU s", "memory MB"),
        [
            (
                who,
                f"{1e6 / bench.per_item(name) / 2**20:.0f}",
                f"{bench.ratio('literal-floor', name):.0%}",
                f"{bench.median(name, 'cpu'):.2f}",
                f"{bench.median(name, 'growth'):.1f}",
            )
            for who, name in rows
        ],
    )
    growth = max(one["growth"] for one in bench.figures["literal-client"])
    speed = bench.ratio("literal-floor", "literal-client")
    return [
        Target("Session.stream: at least 80 % of the loop's speed", f"{speed:.0%}", speed >= 0.8),
        Target("Session.stream: within 30 MB", f"{growth:.1f} MB", growth <= 30),
    ]


def commands(bench: Bench, rounds: int) -> list[Target]:
    """(c) Many commands."""
    names = ("commands-in-windows", "commands-at-once")
    for _ in range(rounds):
        for name in names:
            bench.run(name, COMMANDS)
            bench.run(name, 10 * COMMANDS, as_name=f"{name}-tenfold")
    print("\nUID STORE, encoded, answered, folded; microseconds a command\n")
    shown = []
    for what, name in zip(
        ("25 in flight, FETCH answers", "all in flight, tagged replies"), names, strict=True
    ):
        ratio = 1 / bench.ratio(name, f"{name}-tenfold")
        one, ten = bench.per_item(name), bench.per_item(f"{name}-tenfold")
        shown.append((what, f"{one:.1f}", f"{ten:.1f}", f"{ratio:.2f}"))
    table(("how", f"{COMMANDS:,}", f"{10 * COMMANDS:,}", "ratio"), shown)
    return [
        Target(f"{what}: tenfold costs no more each (ratio up to 1.25)", ratio, float(ratio) <= 1.25)
        for what, _, _, ratio in shown
    ]


def at_least(promise: str, measured: float, wanted: float) -> Target:
    """A ratio that should not be lower."""
    return Target(f"{promise}: at least {wanted}", f"{measured:.1f}", measured >= wanted)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table that is Markdown as well."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")


def main() -> int:
    """Runs the benchmark; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--only", default="listing,literal,commands")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    bench = Bench(prepare())
    targets: list[Target] = []
    if "listing" in only:
        targets += listing(bench, arguments.rounds)
    if "literal" in only:
        targets += literal(bench, arguments.rounds, arguments.megabytes)
    if "commands" in only:
        targets += commands(bench, arguments.rounds)
    print()
    table(
        ("target", "measured", ""),
        [(one.promise, one.measured, "met" if one.is_met else "MISSED") for one in targets],
    )
    return 0 if all(one.is_met for one in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
