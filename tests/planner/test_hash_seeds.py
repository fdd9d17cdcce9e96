"""The same plan in every process: no decision depends on the order in which a set is walked."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from mailtwin.model import Identity, Listing, MailboxName, Side, make_flags
from mailtwin.planner import (
    Attempt,
    Base, CopyIntent, Link, MailboxListing, Policy, StoreIntent, plan_mailboxes, plan_messages,
)

FLAGS = [make_flags(names) for names in ((), ("\\\\Seen",), ("$a", "$b", "$c"), ("\\\\Seen", "$a", "\\\\Flagged"))]

def identity(number):
    return Identity(f"m{number % 7}", "size:1", True)

names = [f"name{number}" for number in range(60)]
left = {uid: FLAGS[uid % 4] for uid in range(1, 60) if uid % 5}
right = {name: FLAGS[index % 3] for index, name in enumerate(names) if index % 7}
base = Base(
    [Link(uid, names[uid], FLAGS[uid % 2]) for uid in range(1, 30)],
    "1",
    "1",
    [CopyIntent(Side.RIGHT, names[uid], FLAGS[1], "1", floor=30, identity=identity(uid)) for uid in range(31, 35)]
    + [CopyIntent(Side.LEFT, uid, FLAGS[2], "1", target=names[uid], attempt=Attempt(uid % 2)) for uid in range(35, 40)],
    [StoreIntent(uid, names[uid], Side.LEFT, FLAGS[3], FLAGS[0], FLAGS[3]) for uid in range(5, 9)],
)
aside = frozenset({(Side.LEFT, uid) for uid in range(50, 55)} | {(Side.RIGHT, name) for name in names[50:55]})
for known in (False, True):
    listings = (
        Listing(left, "1", identities={uid: identity(uid) for uid in left} if known else {}),
        Listing(right, "1", identities={name: identity(len(name)) for name in right} if known else {}),
    )
    print([(type(op).__name__, op.why, [sorted(map(str, v)) if isinstance(v, frozenset) else str(getattr(v, "ref", v))
        if not hasattr(v, "left") else f"{v.left}={v.right}" for v in (getattr(op, f) for f in op.__slots__)])
        for op in plan_messages(base, *listings, Policy(), aside)])

def tree(step):
    return frozenset(MailboxName((f"box{n % 5}", f"{n}")) for n in range(0, 40, step)) | {MailboxName(("box1",))}

for policy in (Policy(), Policy(remove_mailboxes=True)):
    print(plan_mailboxes(tree(2) | tree(7), MailboxListing(tree(3)), MailboxListing(tree(5)), policy))
"""


def _output(seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_plans_do_not_depend_on_the_hash_seed() -> None:
    first = _output("0")
    assert first.count("copy") > 5
    assert "CreateMailbox" in first
    assert "RemoveMailbox" in first
    assert _output("1") == first
    assert _output("4242") == first
