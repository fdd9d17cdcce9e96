"""What must survive a crash, in SQLite: agreements, journal, snapshots, history. The only importer of sqlite3.

In reading order: `changes` (what can be written), `records` (what can be read besides), `state` (the store itself),
`database` (the file), `writing` and `reading` (the SQL), `checks` (the invariants), `codec` (values in columns).
"""

from mailtwin.state.changes import (
    AddCopy,
    AddLink,
    AddStore,
    Change,
    DropCopy,
    DropLink,
    DropSnapshot,
    DropStore,
    FinishCopy,
    ForgetAll,
    Note,
    SaveSnapshot,
    SetFlags,
    SetValidity,
    Snapshot,
)
from mailtwin.state.records import CopyRecord, HistoryEntry, MailboxRecord, RunRecord
from mailtwin.state.state import State, state_path

__all__ = [
    "AddCopy",
    "AddLink",
    "AddStore",
    "Change",
    "CopyRecord",
    "DropCopy",
    "DropLink",
    "DropSnapshot",
    "DropStore",
    "FinishCopy",
    "ForgetAll",
    "HistoryEntry",
    "MailboxRecord",
    "Note",
    "RunRecord",
    "SaveSnapshot",
    "SetFlags",
    "SetValidity",
    "Snapshot",
    "State",
    "state_path",
]
