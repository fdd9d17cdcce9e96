"""What a client asks, as values: each command knows how it is written, which untagged responses answer it (rules R2,
R3, R4), and what may be in flight beside it.

Messages are addressed by UID only. Names are text, or the server's own bytes. Nothing here waits, retries or decides:
a `Connection` writes the commands, and the untagged responses that a command `takes` are reported with it.

In reading order: `base`, `session`, `mailboxes`, `messages`. What few sessions use is imported by those that do:
`quota`, `metadata`, `acl`, `ordered`, `revising`, `notify`, `switches`.
"""

from mailtwin.imap.commands.base import Asked, Command, OneMailbox, Taken
from mailtwin.imap.commands.mailboxes import (
    Append,
    Create,
    Delete,
    Enable,
    Examine,
    Idle,
    List,
    Lsub,
    Namespace,
    Rename,
    Resync,
    Select,
    StatusOf,
    Subscribe,
    Unsubscribe,
)
from mailtwin.imap.commands.messages import (
    Close,
    Copy,
    Expunge,
    Fetch,
    Move,
    Search,
    SearchKey,
    Store,
    Text,
    UidExpunge,
    Unselect,
    Window,
)
from mailtwin.imap.commands.session import Authenticate, Capability, Id, Login, Logout, Noop, StartTls

__all__ = [
    "Append",
    "Asked",
    "Authenticate",
    "Capability",
    "Close",
    "Command",
    "Copy",
    "Create",
    "Delete",
    "Enable",
    "Examine",
    "Expunge",
    "Fetch",
    "Id",
    "Idle",
    "List",
    "Login",
    "Logout",
    "Lsub",
    "Move",
    "Namespace",
    "Noop",
    "OneMailbox",
    "Rename",
    "Resync",
    "Search",
    "SearchKey",
    "Select",
    "StartTls",
    "StatusOf",
    "Store",
    "Subscribe",
    "Taken",
    "Text",
    "UidExpunge",
    "Unselect",
    "Unsubscribe",
    "Window",
]
