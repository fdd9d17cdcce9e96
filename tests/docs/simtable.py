"""The table of switches in docs/simulator.md, from the code: `python -m tests.docs.simtable` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from mailtwin.testing.providers import PROVIDERS, Provider
from mailtwin.testing.simlabels import LabelSettings

_PLAIN = Provider("plain", labels=LabelSettings())


def rows() -> Iterator[str]:
    """The lines of the table."""
    yield "| switch | usually | provider | what it does, and who was seen to do it |"
    yield "|---|---|---|---|"
    set_by: dict[str, list[str]] = {}
    for provider in PROVIDERS.values():
        for switch in provider.switches():
            set_by.setdefault(switch.name, []).append(f"{provider.name} {_cell(switch.value)}")
    for switch in _PLAIN.switches():
        usual = _cell(switch.value)
        others = [one for one in set_by[switch.name] if one.split(" ", 1)[1] != usual]
        words = f" ({', '.join(f'`{word}`' for word in switch.choices)})" if switch.choices else ""
        yield f"| `{switch.name}` | {usual} | {', '.join(others)} | {switch.about}{words} |"


def _cell(value: str) -> str:
    if not value:
        return "nothing"
    return f"`{value}`" if value.count(",") < 4 else "its own"


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows()) + "\n")
