"""Observe, plan, execute, commit: the only place where planner, state and stores meet.

In reading order: `pair`, `report`, `sync`, `glance`, `mailbox`, `copying`, `backlog`, `known`, `guards`, `removals`,
`vanished`, `quarantine`, `putback`, `resolving`, `approving`, `preview`; `verify` with `findings`, `matching` and
`rewriting`; `explaining`.
"""

from mailtwin.engine.findings import Verification
from mailtwin.engine.pair import Pair
from mailtwin.engine.preview import check, plan
from mailtwin.engine.putback import undo
from mailtwin.engine.report import CheckReport, PairPlan, RunReport
from mailtwin.engine.sync import sync
from mailtwin.engine.verify import compare, compare_stores, verify

__all__ = [
    "CheckReport",
    "Pair",
    "PairPlan",
    "RunReport",
    "Verification",
    "check",
    "compare",
    "compare_stores",
    "plan",
    "sync",
    "undo",
    "verify",
]
