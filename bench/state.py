"""What the state costs for each message, in microseconds: `python bench/state.py [messages]`.

The copies are written in batches of one commit each, as the engine does it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mailtwin.model import INBOX, Flags, Identity, MailboxName, Side, make_flags
from mailtwin.planner.operations import CopyIntent, Link
from mailtwin.state import (
    AddCopy,
    AddLink,
    Change,
    DropCopy,
    Note,
    SaveSnapshot,
    SetFlags,
    SetValidity,
    Snapshot,
    State,
)

BATCH = 1_000
FLAGS = [make_flags(names.split()) for names in ("", "\\Seen", "\\Seen \\Answered", "\\Seen $Forwarded")]


def measure(label: str, count: int, work: Callable[[], object]) -> None:
    """Runs `work` once and prints its cost for each of `count` rows."""
    start = time.perf_counter()
    work()
    show(label, count, time.perf_counter() - start)


def show(label: str, count: int, seconds: float) -> None:
    """Prints one line of the table."""
    print(f"{label:<66} {seconds / count * 1e6:8.2f} us each {seconds:8.2f} s", flush=True)


def flags_of(number: int) -> Flags:
    """Some flags, as unevenly spread as in real mailboxes."""
    return FLAGS[number % 7 % len(FLAGS)]


def twin(number: int) -> str:
    """A Maildir name of usual length."""
    return f"1764000000.M{number:06d}P4711_{number}.mail.example.org"


def batch(numbers: range) -> tuple[list[Change], list[Change], list[Change]]:
    """What the engine writes for these copies: before them, after them, and into the history."""
    begun: list[Change] = []
    done: list[Change] = []
    notes: list[Change] = []
    for number in numbers:
        flags = flags_of(number)
        who = Identity(f"{number:032x}", "size:4000", has_message_id=True)
        intent = CopyIntent(Side.LEFT, number, flags, "2", target=twin(number), identity=who)
        message_id = f"<{number}.20261124@mail.example.org>"
        begun.append(AddCopy(intent, 4_000, f"{number:064x}", message_id))
        done += [AddLink(Link(number, twin(number), flags)), DropCopy(intent)]
        notes.append(Note("copy", number, twin(number), "to right", message_id))
    return begun, done, notes


def fill(state: State, count: int) -> None:
    """Writes `count` copies in batches and prints the cost of each kind of write."""
    names = ("write intents of copies", "write agreements (UID, Maildir name), drop intents", "write history")
    taken = [0.0] * len(names)
    for start in range(1, count + 1, BATCH):
        for kind, changes in enumerate(batch(range(start, min(start + BATCH, count + 1)))):
            begun = time.perf_counter()
            state.commit(INBOX, changes)
            taken[kind] += time.perf_counter() - begun
    for name, seconds in zip(names, taken, strict=True):
        show(f"{name}, by {BATCH}", count, seconds)


def main() -> None:
    """Measures and prints."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=".") as directory:
        path = Path(directory) / "state.db"

        def opened() -> State:
            return State.open(path, left="left", right="right", now=time.time)

        state = opened()
        run = state.begin_run("bench")
        archive = MailboxName(("Archive",))
        for name in (archive, INBOX):
            state.commit(name, [SetValidity(Side.LEFT, "1"), SetValidity(Side.RIGHT, "2")])
        links = [Link(number, count + number, flags_of(number)) for number in range(1, count + 1)]
        measure(
            "write agreements, UIDs, one commit", count, lambda: state.commit(archive, map(AddLink, links))
        )
        fill(state, count)
        measure("read agreements, UIDs", count, lambda: state.base(archive))
        measure("read agreements, UID and Maildir name", count, lambda: state.base(INBOX))
        changes = [SetFlags(link, FLAGS[0]) for link in links]
        measure("agree on other flags, one commit", count, lambda: state.commit(archive, changes))
        seen: dict[int | str, Flags] = {link.left: FLAGS[0] for link in state.base(archive).links}
        snapshot = Snapshot.of(Side.LEFT, "cursor", seen, state.base(archive).links)
        measure(
            "save a snapshot of a mailbox in step", 1, lambda: state.commit(archive, [SaveSnapshot(snapshot)])
        )
        measure("rebuild its listing", count, lambda: snapshot.listing(links))
        measure(
            "find one message in the history",
            1,
            lambda: state.history(message_id="<1.20261124@mail.example.org>"),
        )
        measure("one commit of one change", 1, lambda: state.commit(archive, [SetFlags(links[0], FLAGS[1])]))
        measure("end the run (prune)", 1, lambda: state.end_run(run, "ok", {}))
        measure("close", 1, state.close)
        print(f"{path.stat().st_size / count / 2:.0f} bytes a message")
        state = opened()
        for number in range(1_000):
            state.add_mailbox(MailboxName(("Lists", str(number))))
        measure("mailboxes", len(state.mailboxes()), state.mailboxes)
        measure("check everything", 2 * count, state.check)
        state.close()
        measure("open and close", 1, lambda: opened().close())


if __name__ == "__main__":
    main()
