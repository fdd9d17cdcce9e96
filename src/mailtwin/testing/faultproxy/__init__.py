"""A proxy that does to a real IMAP server's sessions what networks and servers do on bad days.

In reading order: `rules` (what can happen, as values), `scenario` (rules from a TOML file), `wire` (commands and
responses, whole), `rewriting` (what becomes of a response), `session` and `proxy`.
"""

from mailtwin.testing.faultproxy.proxy import FaultProxy, Fired
from mailtwin.testing.faultproxy.rules import (
    CONNECTION,
    AddCode,
    Answer,
    Curtail,
    Cut,
    CutAtByte,
    Do,
    Duplicate,
    HideNew,
    HoldBack,
    Inject,
    Kill,
    Recreate,
    Reorder,
    Rule,
    Shorten,
    Stall,
    StripCapabilities,
    StripCodes,
    SwapUids,
    Throttle,
    When,
)
from mailtwin.testing.faultproxy.scenario import Scenario, ScenarioError, load, parse

__all__ = [
    "CONNECTION",
    "AddCode",
    "Answer",
    "Curtail",
    "Cut",
    "CutAtByte",
    "Do",
    "Duplicate",
    "FaultProxy",
    "Fired",
    "HideNew",
    "HoldBack",
    "Inject",
    "Kill",
    "Recreate",
    "Reorder",
    "Rule",
    "Scenario",
    "ScenarioError",
    "Shorten",
    "Stall",
    "StripCapabilities",
    "StripCodes",
    "SwapUids",
    "Throttle",
    "When",
    "load",
    "parse",
]
