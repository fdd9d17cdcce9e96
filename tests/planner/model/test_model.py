"""The planner is sound in every small world, and each deliberate mistake is caught. See the package's docstring.

`MAILTWIN_MODEL=deep` widens the bounds (minutes instead of seconds).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from tests.planner.model.explorer import explore
from tests.planner.model.mistakes import Mistake
from tests.planner.model.world import Budget, F, G, Scenario

from mailtwin.model import NO_FLAGS, Side, make_flags
from mailtwin.planner import Direction, Policy, Removals

DEEP = os.environ.get("MAILTWIN_MODEL") == "deep"
LEFT, RIGHT, BOTH = (Side.LEFT,), (Side.RIGHT,), tuple(Side)
BOTH_FLAGS = make_flags(F | G)
ONE_WAY = Policy(direction=Direction.LEFT_TO_RIGHT)

ONLY_FLAGS = Scenario(Budget(), may_append=False, may_remove=False, linked=True, start=("a", "a"))
"""One message, in step, and users who do nothing but toggle its flags."""

MOVED = Scenario(
    Budget(), may_append=False, may_remove=False, toggles=(NO_FLAGS, NO_FLAGS), linked=True, start=("a", "a")
)
"""One message, in step, and users who do nothing but move it."""

TWINS = Scenario(Budget(), identities="a", start=("aa", ""))
"""Every message is the same as every other."""

SOUND = {
    "two users, listings break off": (
        Scenario(Budget(acts=2, crashes=1), partial=True),
        Budget(acts=3, crashes=1),
    ),
    "two users, connections are cut": (
        Scenario(Budget(acts=2, crashes=1, cuts=1)),
        Budget(acts=3, crashes=1, cuts=1),
    ),
    "two users, in step before": (
        Scenario(Budget(acts=2, crashes=1), partial=True, linked=True, start=("a", "a")),
        Budget(acts=3, crashes=1),
    ),
    "servers that tell no UID": (
        Scenario(Budget(acts=2, crashes=1, cuts=1), tells_uid=False),
        Budget(acts=2, crashes=2, cuts=1),
    ),
    "servers that tell no UID, listings break off": (
        Scenario(Budget(acts=1, crashes=1, cuts=1), tells_uid=False, partial=True),
        Budget(acts=2, crashes=1, cuts=1),
    ),
    "a user on the left: the right is a mirror": (
        Scenario(Budget(acts=3, crashes=1), users=LEFT),
        Budget(acts=4, crashes=1),
    ),
    "a user on the right: the left is a mirror": (
        Scenario(Budget(acts=3, crashes=1), users=RIGHT, start=("", "a")),
        Budget(acts=4, crashes=1),
    ),
    "a user on the left who toggles two flags": (
        replace(ONLY_FLAGS, budget=Budget(acts=4, crashes=2), users=LEFT, toggles=(BOTH_FLAGS, BOTH_FLAGS)),
        Budget(acts=5, crashes=2),
    ),
    "a flag for each user": (
        Scenario(Budget(acts=4, crashes=2), split=True, toggles=(F, G), may_append=False, may_remove=False),
        Budget(acts=6, crashes=2),
    ),
    "a side that cannot hold a flag": (
        Scenario(Budget(acts=3, crashes=1), toggles=(BOTH_FLAGS, F), right_deaf_to=G, may_append=False),
        Budget(acts=4, crashes=2),
    ),
    "a side that learns to hold a flag: the left user's word stands": (
        Scenario(
            Budget(acts=3, crashes=1, lessons=1),
            users=LEFT,
            toggles=(BOTH_FLAGS, F),
            right_deaf_to=G,
            may_append=False,
        ),
        Budget(acts=5, crashes=2, lessons=1),
    ),
    "equal messages": (
        replace(TWINS, budget=Budget(acts=1, crashes=1, cuts=1)),
        Budget(acts=2, crashes=1, cuts=1),
    ),
    "equal messages, two batches": (
        replace(TWINS, budget=Budget(acts=2, crashes=1)),
        Budget(acts=2, crashes=2),
    ),
    "equal messages, one at a time, no UIDs told": (
        replace(TWINS, budget=Budget(acts=1, crashes=1, cuts=1), batch_max=1, tells_uid=False),
        Budget(acts=2, crashes=1, cuts=2),
    ),
    "equal messages on both sides, no UIDs told": (
        replace(TWINS, budget=Budget(acts=2, crashes=1), start=("a", "a"), tells_uid=False),
        Budget(acts=2, crashes=1, cuts=1),
    ),
    "messages move out and back": (
        Scenario(Budget(acts=2, crashes=1, cuts=1), movers=BOTH, may_append=False),
        Budget(acts=3, crashes=1, cuts=1),
    ),
    "messages move out and back, a new UIDVALIDITY": (
        Scenario(Budget(acts=2, crashes=1, renumberings=1), movers=BOTH, may_append=False, may_remove=False),
        Budget(acts=3, crashes=1, cuts=1, renumberings=1),
    ),
    "messages move out and back, one of two users; a flag for each": (
        replace(ONLY_FLAGS, budget=Budget(acts=3, crashes=1), movers=RIGHT, split=True, toggles=(F, G)),
        Budget(acts=4, crashes=1),
    ),
    "equal messages move out and back": (
        replace(
            TWINS,
            budget=Budget(acts=2, crashes=1),
            movers=BOTH,
            may_append=False,
            linked=True,
            start=("aa", "aa"),
        ),
        Budget(acts=3, crashes=1),
    ),
    "equal messages move out and back while others are copied": (
        replace(
            TWINS,
            budget=Budget(acts=2, crashes=1, cuts=1),
            toggles=(NO_FLAGS, NO_FLAGS),
            movers=BOTH,
            may_remove=False,
            linked=True,
            start=("a", "a"),
        ),
        Budget(acts=3, crashes=1, cuts=1),
    ),
    "equal messages, some on their way, move out and later back": (
        replace(
            TWINS,
            budget=Budget(acts=2, crashes=1),
            toggles=(NO_FLAGS, NO_FLAGS),
            drawers=BOTH,
            may_append=False,
        ),
        Budget(acts=3, crashes=1),
    ),
    "messages move out and later back": (
        replace(MOVED, budget=Budget(acts=3, crashes=1), drawers=BOTH, may_remove=True, toggles=(F, F)),
        Budget(acts=4, crashes=2),
    ),
    "messages move out and later back, a new UIDVALIDITY": (
        replace(MOVED, budget=Budget(acts=2, crashes=1, cuts=1, renumberings=1), movers=BOTH, drawers=BOTH),
        Budget(acts=3, crashes=2, renumberings=1),
    ),
    "messages move out and later back under their old names": (
        replace(
            MOVED, budget=Budget(acts=3, crashes=1), drawers=BOTH, named=True, may_remove=True, toggles=(F, F)
        ),
        Budget(acts=4, crashes=2),
    ),
    "messages move out and back, one-way, no UIDs told": (
        Scenario(
            Budget(acts=2, crashes=1, cuts=1),
            movers=BOTH,
            may_append=False,
            policy=ONE_WAY,
            tells_uid=False,
        ),
        Budget(acts=3, crashes=1, cuts=1),
    ),
    "messages move out and back, a Maildir on the right": (
        Scenario(Budget(acts=2, crashes=1), movers=BOTH, named=True),
        Budget(acts=3, crashes=1),
    ),
    "messages move out and back, removals are not passed on": (
        Scenario(Budget(acts=2, crashes=1), movers=BOTH, policy=Policy(removals=Removals.KEEP)),
        Budget(acts=3, crashes=1),
    ),
    "messages move out and back, removals are undone": (
        Scenario(Budget(acts=2, crashes=1), movers=BOTH, policy=Policy(removals=Removals.RESTORE)),
        Budget(acts=3, crashes=1),
    ),
    "messages move out and back, changes of flags beat removals": (
        Scenario(Budget(acts=2, crashes=1), movers=BOTH, policy=Policy(flag_change_beats_removal=True)),
        Budget(acts=3, crashes=1),
    ),
    "copies that were waited for land all the same": (
        Scenario(Budget(acts=2, crashes=1, lates=1), users=LEFT),
        Budget(acts=2, crashes=1, cuts=1, lates=2),
    ),
    "copies land late, two users": (
        Scenario(Budget(acts=1, cuts=1, lates=1)),
        Budget(acts=2, cuts=1, lates=1),
    ),
    "copies land late, equal messages": (
        replace(TWINS, budget=Budget(acts=1, cuts=1, lates=1)),
        Budget(acts=1, cuts=1, lates=2),
    ),
    "copies land late, a new UIDVALIDITY": (
        Scenario(Budget(acts=1, cuts=1, lates=1, renumberings=1)),
        Budget(acts=1, cuts=1, lates=1, renumberings=2),
    ),
    "a new UIDVALIDITY": (
        Scenario(Budget(acts=1, crashes=1, cuts=1, renumberings=1)),
        Budget(acts=2, crashes=1, cuts=1, renumberings=1),
    ),
    "a new UIDVALIDITY, listings break off": (
        Scenario(Budget(acts=1, crashes=1, renumberings=1), partial=True),
        Budget(acts=1, crashes=1, cuts=1, renumberings=2),
    ),
    "a Maildir on the right": (
        Scenario(Budget(acts=2, crashes=1), named=True, partial=True),
        Budget(acts=3, crashes=2),
    ),
    "a Maildir on the right, equal messages": (
        replace(TWINS, budget=Budget(acts=1, crashes=1), named=True, partial=True),
        Budget(acts=2, crashes=1),
    ),
    "one-way": (
        Scenario(Budget(acts=2, crashes=1, cuts=1), policy=ONE_WAY),
        Budget(acts=3, crashes=1, cuts=1),
    ),
    "one-way, in step before, two flags": (
        Scenario(
            Budget(acts=2, crashes=1),
            policy=ONE_WAY,
            partial=True,
            linked=True,
            start=("a", "a"),
            toggles=(F, BOTH_FLAGS),
        ),
        Budget(acts=3, crashes=1),
    ),
    "removals are not passed on": (
        Scenario(Budget(acts=2, crashes=1), policy=Policy(removals=Removals.KEEP)),
        Budget(acts=2, crashes=1, cuts=1),
    ),
    "removals are undone": (
        Scenario(Budget(acts=2, crashes=1), policy=Policy(removals=Removals.RESTORE)),
        Budget(acts=2, crashes=1, cuts=1),
    ),
    "changes of flags beat removals": (
        Scenario(Budget(acts=2, crashes=1), policy=Policy(flag_change_beats_removal=True)),
        Budget(acts=2, crashes=1, cuts=1),
    ),
}

CAUGHT = {
    Mistake.NO_COVERAGE: Scenario(Budget(), partial=True, linked=True, start=("a", "a")),
    Mistake.BLIND_COPY: Scenario(Budget(crashes=1), partial=True, named=True),
    Mistake.NO_STORE_INTENT: replace(ONLY_FLAGS, budget=Budget(acts=2), users=LEFT),
    Mistake.ADOPT_AS_SEEN: Scenario(
        Budget(acts=1, crashes=1), split=True, toggles=(F, G), may_append=False, may_remove=False
    ),
    Mistake.EARLY_BASE: replace(ONLY_FLAGS, budget=Budget(acts=2), split=True, toggles=(F, G)),
    Mistake.KEEP_INTENTS: replace(
        ONLY_FLAGS, budget=Budget(acts=3, crashes=1), users=LEFT, toggles=(BOTH_FLAGS, BOTH_FLAGS)
    ),
    Mistake.ABSOLUTE_STORE: replace(ONLY_FLAGS, budget=Budget(acts=2), split=True, toggles=(F, G)),
    Mistake.COMMIT_FIRST: replace(ONLY_FLAGS, budget=Budget(acts=1, crashes=1), users=LEFT),
    Mistake.NO_JOURNAL: Scenario(Budget(acts=1, crashes=1), users=LEFT),
    Mistake.NO_JOURNAL_NO_IDENTITY: Scenario(Budget(crashes=1)),
    Mistake.NO_SETTLE: Scenario(Budget(cuts=1)),
    Mistake.NO_FENCE: replace(ONLY_FLAGS, budget=Budget(acts=2, crashes=1), users=LEFT),
    Mistake.RESET_IN_FLIGHT: Scenario(Budget(cuts=1, renumberings=1)),
    Mistake.FORGET_STRAGGLERS: Scenario(Budget(cuts=1, lates=1)),
    Mistake.COPY_RETURNED: Scenario(Budget(acts=1), movers=RIGHT, may_append=False, may_remove=False),
    Mistake.NO_REMOVE_INTENT: replace(MOVED, budget=Budget(acts=2, crashes=1), drawers=LEFT),
    Mistake.RESET_FORGETS_REMOVALS: replace(
        MOVED, budget=Budget(acts=2, crashes=1, renumberings=1), drawers=LEFT
    ),
    Mistake.FRESH_IN_WINDOW: Scenario(Budget(acts=1, crashes=1), partial=True),
}
"""The smallest world in which each mistake does harm."""


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.timeout(0 if DEEP else 120)
def test_the_planner_is_sound(name: str) -> None:
    scenario, deep = SOUND[name]
    outcome = explore(replace(scenario, budget=deep) if DEEP else scenario)
    assert not outcome.violation, f"{name}: {outcome}"


@pytest.mark.parametrize("mistake", Mistake, ids=lambda mistake: mistake.name.lower())
def test_every_mistake_is_caught(mistake: Mistake) -> None:
    scenario = CAUGHT[mistake]
    outcome = explore(scenario, frozenset({mistake}))
    assert outcome.violation, f"{mistake.name} went unnoticed in {outcome.states} states"
    assert not explore(scenario).violation
