"""Power cuts: what a disk may hold when the power goes at any moment, and disks that refuse.

    with watched(directory) as log:
        asyncio.run(sync(pair, state))
    for done, what, tree in outcomes(log):
        write_tree(tree, elsewhere)         # and there the next run has to cope

The power goes after each of the operations that a run does to the files in a directory: Maildir, quarantine and the
state database, whose own writes and syncs are seen too. What was not synced is gone, or there, or some of it is: what
is assumed of file systems stands in `survival`. What cannot be simulated: the inode numbers and change times that a
file system would bring back, so cursors never match in the copy, and every mailbox is listed anew.

`Refusing` makes the n-th call fail instead, with ENOSPC, EIO or whatever one likes.

Read: `operations` (what a program does, as values), `survival` (what is left, a pure function), `watching` (the seam in
front of `os`), `sqlite` (the seam below SQLite).
"""

from mailtwin.testing.powercut.operations import Log, Operation, Survivor, Tree
from mailtwin.testing.powercut.survival import Disk, outcomes, read_tree, write_tree
from mailtwin.testing.powercut.watching import Call, Gate, Refusing, expect_complete, let_pass, watched

__all__ = [
    "Call",
    "Disk",
    "Gate",
    "Log",
    "Operation",
    "Refusing",
    "Survivor",
    "Tree",
    "expect_complete",
    "let_pass",
    "outcomes",
    "read_tree",
    "watched",
    "write_tree",
]
