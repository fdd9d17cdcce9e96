"""What must survive a crash, in SQLite: agreements, journal, snapshots, history. The only importer of sqlite3.

In reading order: `changes` (what can be written), `records` (what can be read besides), `state` (the store itself),
`database` (the file), `writing` and `reading` (the SQL), `checks` (the invariants), `codec` (values in columns).
"""

from mailtwin.state.changes import (
    AddCopy,
    AddKept,
    AddLink,
    AddStore,
    AddStraggler,
    BeginRestore,
    Change,
    DropCopy,
    DropKept,
    DropLink,
    DropSnapshot,
    DropStore,
    DropStraggler,
    EndAttempt,
    ForgetAll,
    Note,
    ReplaceStraggler,
    SaveSnapshot,
    SetFlags,
    SetValidity,
    Snapshot,
)
from mailtwin.state.records import CopyRecord, HistoryEntry, Kept, MailboxRecord, RunRecord, StragglerRecord
from mailtwin.state.state import State, state_path

__all__ = [
    "AddCopy",
    "AddKept",
    "AddLink",
    "AddStore",
    "AddStraggler",
    "BeginRestore",
    "Change",
    "CopyRecord",
    "DropCopy",
    "DropKept",
    "DropLink",
    "DropSnapshot",
    "DropStore",
    "DropStraggler",
    "EndAttempt",
    "ForgetAll",
    "HistoryEntry",
    "Kept",
    "MailboxRecord",
    "Note",
    "ReplaceStraggler",
    "RunRecord",
    "SaveSnapshot",
    "SetFlags",
    "SetValidity",
    "Snapshot",
    "State",
    "StragglerRecord",
    "state_path",
]
