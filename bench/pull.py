"""Pulls a whole account into an empty Maildir with mailtwin and with mbsync, in turn, and compares what they cost.

    python bench/pull.py [--messages 20000] [--megabytes 600] [--rounds 3] [--directory DIR]

A Dovecot of its own (mdbox, no fsync, plain TCP on loopback) holds the mail in 20 mailboxes of two levels. Each round
runs each tool: the pull, then twice more with nothing to do. mailtwin and "mbsync" leave durable mail behind, "mbsync,
FSync no" does not. What each tool wrote is compared with the corpus, message by message, before its figures count
(without the header field X-TUID, which mbsync adds to what it copies).

Only ratios within one run mean anything: what writing files costs drifts within minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailtwin.client import Credentials, Endpoint, Secret, Session
from mailtwin.imap import commands as c
from mailtwin.testing.corpus import CorpusMessage, messages
from mailtwin.testing.realservers import Account, RealServer, ServerOptions, running

SEED = 1
PARENTS = ("Archive", "Lists", "Projects", "Work")
NAMES = [
    "INBOX",
    *(name for p in PARENTS for name in (p, *(f"{p}/{n}" for n in ("a", "b", "c")))),
    "Sent",
    "Sent/old",
    "Misc",
]
WORKS = ("pull", "no change, first time", "no change")
REST_S = 3.0
"""Before a run with nothing to do: mbsync sleeps on a Maildir changed within this second, mailtwin distrusts two."""

APPENDS = 100

LAUNCHER = """
import json, os, sys, time
for line in sys.stdin:
    command, environ = json.loads(line)
    log = os.open(os.devnull, os.O_WRONLY)
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environ, file_actions=[(os.POSIX_SPAWN_DUP2, log, 1)])
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    os.close(log)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps([code, wall, used.ru_utime, used.ru_stime, used.ru_maxrss / 1024]), flush=True)
"""
"""Starts the tools from a process of few megabytes: Linux counts the memory of whoever starts a process as its own."""

Prints = Counter[tuple[str, str, str, int]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: seconds of wall clock and CPU, and the most memory it had."""

    wall_s: float
    user_s: float
    system_s: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that brings `maildir` in step with the account."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    maildir: Path
    nested: bool


# --- the account -----------------------------------------------------------------------------------------------------


def corpus(count: int, size: int) -> Iterator[CorpusMessage]:
    """`count` messages of about `size` bytes in all; they grow to it, but do not shrink."""
    factor = size / sum(len(message.body) for message in messages(SEED, count))
    for message in messages(SEED, count):
        body = message.body
        text = body[body.find(b"\r\n\r\n") + 4 :]
        missing = int(len(body) * (factor - 1))
        if missing > 0:
            more = (text * (missing // max(1, len(text)) + 1))[:missing]
            body += more[: more.rfind(b"\r\n") + 2]
        yield CorpusMessage(body, message.flags, message.date)


async def fill(server: RealServer, account: Account, count: int, size: int) -> Prints:
    """Puts the corpus into the account; what must be in a Maildir afterwards."""
    rng = random.Random(SEED)
    weights = [rng.uniform(1, 5) for _ in NAMES]
    prints: Prints = Counter()
    endpoint = Endpoint("127.0.0.1", server.port, "plain")
    session = await Session.open(endpoint, Credentials(account.user, Secret(account.password)))
    await session.run_all([c.Create(name) for name in NAMES if name != "INBOX"])
    waiting: list[c.Command] = []
    for number, message in enumerate(corpus(count, size), 1):
        name = rng.choices(NAMES, weights)[0]
        prints[_print(name, message.body, _letters(message.flags), int(message.date.timestamp()))] += 1
        waiting.append(c.Append(name, message.body, len(message.body), message.flags, message.date))
        if len(waiting) == APPENDS or number == count:
            assert all(result.ok for result in await session.run_all(waiting))
            waiting.clear()
    await session.close()
    return prints


def _print(name: str, wire: bytes, letters: str, date_s: int) -> tuple[str, str, str, int]:
    return name, hashlib.sha256(wire).hexdigest(), letters, date_s


def _letters(flags: frozenset[str]) -> str:
    known = {"\\Draft": "D", "\\Flagged": "F", "$Forwarded": "P", "\\Answered": "R", "\\Seen": "S"}
    return "".join(sorted(known[flag] for flag in flags if flag in known))


# --- the tools -------------------------------------------------------------------------------------------------------


def tools(directory: Path, server: RealServer, account: Account) -> list[Tool]:
    """mailtwin, and mbsync if it is there, each with directories of its own."""
    found = [_mailtwin(directory / "mailtwin", server, account)]
    if shutil.which("mbsync"):
        found.append(_mbsync("mbsync", directory / "mbsync", server, account, fsync="yes"))
        found.append(_mbsync("mbsync, FSync no", directory / "mbsync-no", server, account, fsync="no"))
    else:
        sys.stderr.write("mbsync is not there: scripts/install-mbsync.sh installs it\n")
    return found


def _mailtwin(home: Path, server: RealServer, account: Account) -> Tool:
    program = shutil.which("mailtwin", path=str(Path(sys.executable).parent)) or "mailtwin"
    left = f"imap://{account.user}@127.0.0.1:{server.port}/"
    environ = {
        **os.environ,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "MAILTWIN_LEFT_PASSWORD": account.password,
        # Whoever installed it has its modules compiled; where that is forbidden, half of a short run is compiling.
        "PYTHONPYCACHEPREFIX": str(home / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [program, "sync", "--quiet", left, f"maildir:{home / 'Maildir'}"]
    return Tool("mailtwin", command, environ, home / "Maildir", nested=False)


def _mbsync(name: str, home: Path, server: RealServer, account: Account, *, fsync: str) -> Tool:
    maildir = home / "Maildir"
    configuration = f"""
FSync {fsync}

IMAPAccount server
Host 127.0.0.1
Port {server.port}
User {account.user}
Pass {account.password}
SSLType None

IMAPStore far
Account server

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
CopyArrivalDate yes
SyncState *
"""
    # Beside the home, which is emptied for each round.
    path = home.with_name(home.name + ".rc")
    path.write_text(configuration)
    command = ["mbsync", "-q", "-c", str(path), "-a"]
    return Tool(name, command, {**os.environ, "HOME": str(home)}, maildir, nested=True)


def contents(tool: Tool) -> Prints:
    """What the tool has written."""
    prints: Prints = Counter()
    for cur in tool.maildir.rglob("cur"):
        box = cur.parent.relative_to(tool.maildir).as_posix()
        name = box if tool.nested else "INBOX" if box == "." else box[1:].replace(".", "/")
        for path in [*cur.iterdir(), *(cur.parent / "new").iterdir()]:
            data = path.read_bytes()
            if tool.nested:
                data = re.sub(rb"^X-TUID: .*\n", b"", data, count=1, flags=re.MULTILINE)
            wire = data if b"\r\n" in data else data.replace(b"\n", b"\r\n")
            letters = path.name.partition(":2,")[2]
            prints[_print(name, wire, letters, int(path.stat().st_mtime))] += 1
    return prints


class Launcher:
    """Runs commands one after the other and measures them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tool: Tool) -> Cost:
        """One run of the tool, which must succeed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(tool.command), dict(tool.environ)]) + "\n")
        self._process.stdin.flush()
        code, *cost = json.loads(self._process.stdout.readline())
        if code != 0:
            sys.exit(f"{tool.name} ended with code {code}")
        return Cost(*cost)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


# --- the measurement -------------------------------------------------------------------------------------------------


def measure(launcher: Launcher, tool: Tool, expected: Prints) -> dict[str, Cost]:
    """One round of one tool."""
    home = tool.maildir.parent
    shutil.rmtree(home, ignore_errors=True)
    (tool.maildir if tool.nested else home).mkdir(parents=True)
    os.sync()
    costs = {}
    for work in WORKS:
        if work != WORKS[0]:
            time.sleep(REST_S)
        costs[work] = launcher.run(tool)
        if work == WORKS[0]:
            found = contents(tool)
            if found != expected:
                missing, more = (expected - found).total(), (found - expected).total()
                sys.exit(f"{tool.name} is wrong: {missing} messages are missing, {more} should not be there")
    shutil.rmtree(home)
    return costs


def table(rounds: Sequence[Mapping[str, Mapping[str, Cost]]]) -> Iterator[str]:
    """The figures, one line for each tool and work; the ratio is that of the wall clock to mailtwin's, by round."""
    yield f"{'':<40} {'wall s (median, range)':<24} {'user s':>7} {'sys s':>7} {'MB':>6} {'x mailtwin':>11}"
    for work in WORKS:
        for tool in rounds[0]:
            costs = [one[tool][work] for one in rounds]
            walls = [cost.wall_s for cost in costs]
            ratio = statistics.median(
                cost.wall_s / one["mailtwin"][work].wall_s for cost, one in zip(costs, rounds, strict=True)
            )
            span = f"{statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})"
            user_s = statistics.median(cost.user_s for cost in costs)
            system_s = statistics.median(cost.system_s for cost in costs)
            memory = max(cost.megabytes for cost in costs)
            label = f"{work}: {tool}"
            yield f"{label:<40} {span:<24} {user_s:7.2f} {system_s:7.2f} {memory:6.0f} {ratio:11.2f}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Compare the cost of a pull with mbsync's.")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where everything is written (default: TMPDIR)")
    chosen = parser.parse_args()
    if chosen.directory is not None:
        chosen.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.directory, prefix="mailtwin-bench-") as name:
        directory = Path(name)
        options = ServerOptions(mail_format="mdbox", users=1)
        with running("dovecot", run_dir=directory / "dovecot", options=options) as server:
            account = server.user()
            launcher = Launcher()
            expected = asyncio.run(fill(server, account, chosen.messages, chosen.megabytes * 1_000_000))
            found = tools(directory, server, account)
            rounds = []
            for number in range(chosen.rounds):
                turn = found[number % len(found) :] + found[: number % len(found)]
                rounds.append({tool.name: measure(launcher, tool, expected) for tool in turn})
                print(f"round {number + 1} of {chosen.rounds} done", file=sys.stderr, flush=True)
            launcher.close()
    print(
        f"{chosen.messages} messages, {chosen.megabytes} MB, {len(NAMES)} mailboxes, {chosen.rounds} rounds"
    )
    print("\n".join(table(rounds)))


if __name__ == "__main__":
    main()
