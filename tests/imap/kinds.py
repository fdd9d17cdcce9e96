"""Every kind of command, also those that are imported only where they are used, with a sample of each."""

from __future__ import annotations

import sys

from mailtwin.imap import Secret, sasl
from mailtwin.imap import commands as c
from mailtwin.imap.commands import acl, metadata, notify, ordered, quota, revising, switches
from mailtwin.imap.commands.base import Command
from mailtwin.model import UidSet

SECRET = Secret("hunter2")
UIDS = UidSet.parse("3:5,9")
SEEN = frozenset({"\\Seen"})

SAMPLES: tuple[Command, ...] = (
    c.Append.of("x", b""),
    c.Authenticate(sasl.plain("me", SECRET)),
    c.Capability(),
    c.Close(),
    c.Copy(UIDS, "x"),
    c.Create("x"),
    c.Delete("x"),
    c.Enable(("CONDSTORE",)),
    c.Examine("x"),
    c.Expunge(),
    c.Fetch(UIDS, ("FLAGS",)),
    c.Id(),
    c.Idle(),
    c.List(),
    c.Login("me", SECRET),
    c.Logout(),
    c.Lsub(),
    c.Move(UIDS, "x"),
    c.Namespace(),
    c.Noop(),
    c.Rename("x", "y"),
    c.Search(),
    c.Select("x"),
    c.StartTls(),
    c.StatusOf("x", ("MESSAGES",)),
    c.Store(UIDS, "+", SEEN),
    c.Subscribe("x"),
    c.UidExpunge(UIDS),
    c.Unselect(),
    c.Unsubscribe("x"),
    acl.DeleteAcl("x", "me"),
    acl.GetAcl("x"),
    acl.GetMyRights("x"),
    acl.ListRights("x", "me"),
    acl.SetAcl("x", "me", "lr"),
    metadata.GetMetadata("x", ("/private/comment",)),
    metadata.SetMetadata("x", {"/private/comment": None}),
    notify.Notify(),
    ordered.MakeUidBatches(1000),
    ordered.Sort(("DATE",)),
    ordered.Thread(),
    quota.GetQuota(),
    quota.GetQuotaRoot("x"),
    quota.SetQuota("", {"STORAGE": 512}),
    revising.Replace(3, c.Append.of("x", b"")),
    revising.StoreLabels(UIDS, "+", frozenset({"x"})),
    switches.Compress(),
    switches.GetJmapAccess(),
    switches.Unauthenticate(),
)


def _concrete(kind: type[Command]) -> set[type[Command]]:
    own = {kind} if hasattr(kind, "verb") else set()
    return own.union(*map(_concrete, kind.__subclasses__()))


def _is_named(kind: type[Command]) -> bool:
    # A dataclass with slots leaves the class behind that it was made from.
    return getattr(sys.modules[kind.__module__], kind.__name__, None) is kind


KINDS = frozenset(filter(_is_named, _concrete(Command)))
"""Whatever is derived from `Command` and has a verb."""
