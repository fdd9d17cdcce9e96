"""How long the planner takes for a mailbox in which nothing changed: `python bench/planner.py [MESSAGES]`.

It prints microseconds per message; the goal is below 10 with 1,000,000 messages.
"""

from __future__ import annotations

import sys
import time

from mailtwin.model import Listing, make_flags
from mailtwin.planner import Base, Link, Policy, plan_messages

FLAGGED = make_flags(("\\Flagged",))
SETS = [make_flags(names) for names in ((), ("\\Seen",), ("\\Seen", "\\Answered"), ("\\Seen", "$Junk"))]


def main(count: int) -> None:
    """Measures an unchanged mailbox, then one in which one message in a hundred changed its flags."""
    links = [Link(uid, uid + 7, SETS[uid % len(SETS)]) for uid in range(1, count + 1)]
    flags = {link.left: link.flags for link in links}
    twins = {link.right: link.flags for link in links}
    base = Base(links, "1", "2")
    changed = {ref: FLAGGED if index % 100 == 0 else held for index, (ref, held) in enumerate(flags.items())}
    for title, left in (("unchanged", flags), ("1 % changed", changed)):
        best = min(_seconds(base, Listing(left, "1"), Listing(twins, "2")) for _ in range(3))
        print(f"{title:12} {count:,} messages: {best * 1e6 / count:.3f} us per message")


def _seconds(base: Base, left: Listing, right: Listing) -> float:
    start = time.perf_counter()
    plan_messages(base, left, right, Policy())
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
