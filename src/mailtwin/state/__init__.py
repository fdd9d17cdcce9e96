"""What must survive a crash, in SQLite: agreements, journal, snapshots, history. The only importer of sqlite3.

In reading order: `changes` (what can be written), `records` (what can be read besides), `state` (the store itself),
`database` (the file), `writing` and `reading` (the SQL), `checks` (the invariants), `codec` (values in columns).
"""

from mailtwin.state.changes import (
    AddCopy,
    AddLink,
    AddStore,
    AddStraggler,
    Change,
    Digest,
    DropCopy,
    DropDigests,
    DropLink,
    DropSnapshot,
    DropStore,
    DropStraggler,
    EndAttempt,
    ForgetAll,
    Note,
    Remark,
    ReplaceStraggler,
    SaveDigests,
    SaveSnapshot,
    SetFlags,
    SetValidity,
    Snapshot,
)
from mailtwin.state.records import CopyRecord, HistoryEntry, MailboxRecord, RunRecord, StragglerRecord
from mailtwin.state.state import State, state_path

__all__ = [
    "AddCopy",
    "AddLink",
    "AddStore",
    "AddStraggler",
    "Change",
    "CopyRecord",
    "Digest",
    "DropCopy",
    "DropDigests",
    "DropLink",
    "DropSnapshot",
    "DropStore",
    "DropStraggler",
    "EndAttempt",
    "ForgetAll",
    "HistoryEntry",
    "MailboxRecord",
    "Note",
    "Remark",
    "ReplaceStraggler",
    "RunRecord",
    "SaveDigests",
    "SaveSnapshot",
    "SetFlags",
    "SetValidity",
    "Snapshot",
    "State",
    "StragglerRecord",
    "state_path",
]
