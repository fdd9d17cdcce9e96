"""Scenario files: rules and a seed in TOML.

::

    about = "The connection ends between the executed APPEND and its OK."
    seed = 1

    [[rule]]
    do = "cut"
    on = "APPEND"
    when = "executed"
    nth = 3
    times = 2

`do` is a class of `rules` in lower case with hyphens (`hold-back`), `on` a command, a list of them, `"*"` or, where it
is left out, connections; `times = "always"` is a rule without an end, `about` a text that the command must hold. What
the class takes stands beside it: `reset`, `seconds`, `keep`, `names`, ... The file is read strictly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from mailtwin.testing.faultproxy.rules import CONNECTION, Do, Rule, When

__all__ = ["Scenario", "ScenarioError", "load", "parse"]

_DEEDS = {re.sub(r"(?<!^)([A-Z])", r"-\1", deed.__name__).lower(): deed for deed in get_args(Do)}
_OF_RULE = ("on", "when", "nth", "times", "probability", "about")


class ScenarioError(ValueError):
    """A scenario file says something that cannot be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rules with a seed. `about` is a sentence for people."""

    name: str
    about: str
    rules: tuple[Rule, ...]
    seed: int = 1


def load(path: Path) -> Scenario:
    """The scenario in a file, named after it. Raises ScenarioError and OSError."""
    return parse(path.read_text(encoding="utf-8"), path.stem)


def parse(text: str, name: str) -> Scenario:
    """The scenario in a text. Raises ScenarioError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: {error}") from None
    unknown = table.keys() - {"about", "seed", "rule"}
    if unknown:
        raise ScenarioError(f"{name}: unknown key {min(unknown)}")
    about, seed, rules = table.get("about"), table.get("seed", 1), table.get("rule", [])
    if not isinstance(about, str) or type(seed) is not int or not isinstance(rules, list):
        raise ScenarioError(f"{name}: about is a sentence, seed a number, rule a list of tables")
    made: list[Rule] = []
    for number, rule in enumerate(rules, 1):
        try:
            made.append(_rule(rule))
        except (TypeError, ValueError) as error:
            raise ScenarioError(f"{name}, rule {number}: {error}") from None
    return Scenario(name, about, tuple(made), seed)


def _rule(table: Mapping[str, Any]) -> Rule:
    deed = _DEEDS.get(table.get("do", ""))
    if deed is None:
        raise ValueError(f"do is one of {', '.join(sorted(_DEEDS))}")
    own = {key: _frozen(value) for key, value in table.items() if key not in ("do", *_OF_RULE)}
    known = {field.name for field in fields(deed)}
    if own.keys() - known:
        raise ValueError(f"{table['do']} has no {min(own.keys() - known)}")
    missing = [f.name for f in fields(deed) if f.default is MISSING and f.name not in own]
    if missing:
        raise ValueError(f"{table['do']} needs {missing[0]}")
    on = table.get("on", CONNECTION)
    names = (on,) if isinstance(on, str) else tuple(on)
    times = table.get("times", 1)
    return Rule(
        deed(**own),
        tuple(name.upper() for name in names),
        When(table.get("when", "before")),
        table.get("nth", 1),
        None if times == "always" else times,
        table.get("probability", 1.0),
        table.get("about", ""),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
