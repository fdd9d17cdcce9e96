"""Trials as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mailtwin.testing.faults.audit import Counts
from mailtwin.testing.faults.trial import Outcome

__all__ = ["Cell", "as_json", "summary", "text"]

COLUMNS = tuple(field.name for field in fields(Counts))


@dataclass(frozen=True, slots=True)
class Cell:
    """One trial: an outcome, or why there is none."""

    scenario: str
    server: str
    tool: str
    seed: int
    outcome: Outcome | None = None
    absent: str = ""


def text(cells: Iterable[Cell]) -> str:
    """A line for each trial."""
    rows = [["scenario", "server", "tool", "runs", "killed", "faults", *COLUMNS]]
    for cell in cells:
        head = [cell.scenario, cell.server, cell.tool]
        if cell.outcome is None:
            rows.append([*head, f"- {cell.absent}"])
        else:
            done = cell.outcome
            numbers = [
                len(done.runs),
                done.kills,
                len(done.fired),
                *(getattr(done.counts, c) for c in COLUMNS),
            ]
            rows.append([*head, *(str(number or ".") for number in numbers)])
    return _aligned(rows)


def summary(cells: Sequence[Cell]) -> str:
    """All scenarios together, for each tool and server."""
    rows = [["tool", "server", "trials", "killed", "faults", *COLUMNS]]
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for cell in cells:
        if cell.outcome is not None:
            groups.setdefault((cell.tool, cell.server), []).append(cell.outcome)
    for (tool, server), done in groups.items():
        total = sum((one.counts for one in done), Counts())
        numbers = [len(done), sum(o.kills for o in done), sum(len(o.fired) for o in done)]
        numbers += [getattr(total, column) for column in COLUMNS]
        rows.append([tool, server, *(str(number or ".") for number in numbers)])
    return _aligned(rows)


def as_json(cell: Cell) -> dict[str, Any]:
    """One trial with its runs and faults."""
    found: dict[str, Any] = {
        "scenario": cell.scenario,
        "server": cell.server,
        "tool": cell.tool,
        "seed": cell.seed,
        "absent": cell.absent or None,
    }
    if cell.outcome is not None:
        done = cell.outcome
        found |= {
            "counts": asdict(done.counts),
            "runs": [asdict(run) for run in done.runs],
            "faults": [str(fired) for fired in done.fired],
            "commands": done.events,
        }
    return found


def _aligned(rows: list[list[str]]) -> str:
    widths = [
        max(len(row[at]) for row in rows if at < len(row) and len(row) > 4) for at in range(len(rows[0]))
    ]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at < 3 or len(row) <= 4 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
