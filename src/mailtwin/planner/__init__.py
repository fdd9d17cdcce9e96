"""The decisions as a pure kernel: what was observed goes in, what to do comes out.

In reading order: `operations` (the vocabulary), `merge` (flags), `messages` (one mailbox), `mailboxes` (the tree),
`renames` (names that differ between the sides).
"""

from mailtwin.planner.mailboxes import MailboxesSeen, plan_mailboxes
from mailtwin.planner.messages import plan_messages
from mailtwin.planner.renames import NameMap

__all__ = ["MailboxesSeen", "NameMap", "plan_mailboxes", "plan_messages"]
