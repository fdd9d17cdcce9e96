"""Observe, plan, execute, commit: the only place where planner, state and stores meet.

In reading order: `pair`, `report`, `sync`, `mailbox`, `copying`, `known`, `guards`, `quarantine`, `resolving`,
`preview`, `verify`.
"""

from mailtwin.engine.pair import Pair
from mailtwin.engine.preview import check, plan
from mailtwin.engine.putback import undo
from mailtwin.engine.report import CheckReport, Comparison, PairPlan, RunReport
from mailtwin.engine.sync import sync
from mailtwin.engine.verify import compare, compare_stores

__all__ = [
    "CheckReport",
    "Comparison",
    "Pair",
    "PairPlan",
    "RunReport",
    "check",
    "compare",
    "compare_stores",
    "plan",
    "sync",
    "undo",
]
