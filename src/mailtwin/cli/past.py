"""What `mailtwin log` and `mailtwin explain` show, in words and as JSON: what was done, when, in which run and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mailtwin.cli import words
from mailtwin.engine.explaining import Explanation
from mailtwin.model import Side, format_flags
from mailtwin.planner.operations import Attempt, CopyIntent, Straggler, Verdict
from mailtwin.state import HistoryEntry, RunRecord

_NOTED: Mapping[str, str] = {
    "copy": "copied",
    "not-copied": "not copied",
    "adopt": "recognised on both sides",
    "relink": "recognised again",
    "flags": "flags set",
    "agree": "flags agreed on",
    "remove": "removed",
    "forget": "agreement ended",
    "abandon": "interrupted copy given up",
    "hold": "held",
    "reset": "paired anew",
    "decide": "decided",
    "hold-removals": "removals held back",
    "approve": "removals approved",
    "look-again": "looked again",
    "undo": "put back",
    "create-mailbox": "mailbox created",
    "remove-mailbox": "mailbox removed",
    "forget-mailbox": "mailbox forgotten",
    "create-label": "label created",
    "remove-label": "label removed",
}
"""What a line of history says was done; one that is not here is shown as it is noted."""

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Past:
    """What a `log` shows: runs, newest first, or lines of history, oldest first. `more`: older ones are left out."""

    runs: tuple[RunRecord, ...] | None
    entries: tuple[HistoryEntry, ...] = ()
    more: bool = False


def parse_since(text: str, now_s: float) -> float:
    """A moment, in seconds since 1970: a date and time (ISO 8601, local unless it names a zone) or a span before now.

    Raises ValueError.
    """
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now_s - timedelta(**{_SPANS[span[2]]: int(span[1])}).total_seconds()
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"found {text!r}; expected a date or a span of time, as 2026-03-31, 2026-03-31T18:00, 30m, 12h, 7d or 2w"
        ) from None


def took(run: RunRecord) -> str:
    """How long a run took."""
    return "" if run.ended is None else words.duration(run.ended - run.began)


def line_words(line: HistoryEntry) -> tuple[str, str, str]:
    """A line of history: what was done, to which message, and the rest."""
    who = [words.message(ref) for ref in (line.left, line.right) if ref is not None]
    about = " = ".join(who) + (f" {line.message_id}" if line.message_id else "")
    return _NOTED.get(line.operation, line.operation), about.strip(), line.detail


def explained(found: Explanation) -> list[str]:
    """What is known now of one message, line by line."""
    ends = [f"{words.message(ref)} of the {side.label}" for side, ref in found.ends]
    lines = [f"{found.mailbox}: {', '.join(ends)}{f', {found.message_id}' if found.message_id else ''}"]
    if found.link is not None:
        flags = format_flags(found.link.flags) or "none"
        pair = f"{words.message(found.link.left)} = {words.message(found.link.right)}"
        lines.append(f"  both sides agree on it: {pair}, flags: {flags}")
    else:
        lines.append("  nothing is agreed on about it now")
    lines += [f"  begun: {_begun_copy(one)}" for one in found.copies]
    if found.flag_change is not None:
        change = found.flag_change
        lines.append(
            f"  begun: flags on the {change.side.label}: {words.flag_change(change.add, change.remove)}"
        )
    lines += [f"  begun: the removal on the {one.side.label}: not seen to end" for one in found.removals]
    lines += [f"  {_late(one)}" for one in found.late]
    lines += [f"  waits for `mailtwin resolve`: {words.undecided(one)}" for one in found.waiting]
    lines += [f"  {words.undone_where(one)}: {words.uncopied(one)}" for one in found.uncopied]
    lines += [
        f"  removed from the {one.side.label} and kept: {words.message(one.ref)}; `mailtwin undo` puts it back"
        for one in found.kept
    ]
    lines += [
        f"  read on the {side.label}: {words.size(digest.size)}, SHA-256 {digest.sha256[:16]}"
        for side, digest in found.digests
    ]
    return lines


_ENDS: Mapping[Attempt, str] = {
    Attempt.OPEN: "not seen to end",
    Attempt.WAITED: "waited for in vain",
    Attempt.ANSWERED: "refused, or never sent",
    Attempt.ACCEPTED: "accepted, and not found there",
}


def _begun_copy(intent: CopyIntent) -> str:
    return f"the copy to the {intent.source.other.label}: {_ENDS[intent.attempt]}"


def _late(straggler: Straggler) -> str:
    there = straggler.source.other.label
    if straggler.found is None:
        return f"a copy to the {there} was given up and may arrive yet"
    decided = {
        Verdict.NONE: "held",
        Verdict.REMOVE: "to be removed by the next run",
        Verdict.KEEP: "kept as mail of its own",
    }[straggler.verdict]
    return f"a copy arrived late on the {there}, as {words.message(straggler.found)}: {decided}"


# --- JSON -----------------------------------------------------------------------------------------------------------


def entry(line: HistoryEntry) -> dict[str, Any]:
    """A line of history."""
    return {
        "run": line.run,
        "at": line.at,
        "mailbox": str(line.mailbox),
        "operation": line.operation,
        "left": line.left,
        "right": line.right,
        "message_id": line.message_id or None,
        "detail": line.detail,
    }


def explanation(found: Explanation) -> dict[str, Any]:
    """All that is known of one message."""
    link = found.link
    return {
        "mailbox": str(found.mailbox),
        "message_id": found.message_id or None,
        "left": [ref for side, ref in found.ends if side is Side.LEFT],
        "right": [ref for side, ref in found.ends if side is Side.RIGHT],
        "agreed": None
        if link is None
        else {"left": link.left, "right": link.right, "flags": sorted(link.flags)},
        "now": [line.strip() for line in explained(found)[2:]],
        "history": entries(found.history),
    }


def entries(lines: Iterable[HistoryEntry]) -> list[dict[str, Any]]:
    """Lines of history."""
    return list(map(entry, lines))


def aligned_lines(lines: Sequence[HistoryEntry], when: Mapping[int, str]) -> list[tuple[str, ...]]:
    """Lines of history as rows of a table. `when`: the time of each, by its number, in words."""
    rows: list[tuple[str, ...]] = []
    for line in lines:
        what, who, detail = line_words(line)
        run = "-" if line.run is None else f"{line.run}"
        rows.append((when[line.number], run, str(line.mailbox), what, who, detail))
    return rows
