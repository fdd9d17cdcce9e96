"""What is removed is kept for a while, and can be put back (ordering invariant 7).

Before a removal takes effect the message lies in a file beside the state, durably, and the state says what it was. A
message that cannot be had is not removed. Putting back is a copy like any other: it is written down before it is tried,
and looked for before it is tried again.

    RUN removes        fetch -> file durable -> row and intent (with the note that says why) -> removal
    undo RUN           row says where it may be -> store -> row is dropped -> file is dropped
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from mailtwin.engine.pair import ends
from mailtwin.engine.report import Problem
from mailtwin.errors import MailtwinError, MessageError
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.model.identity import message_id_of
from mailtwin.planner import RemoveIntent
from mailtwin.state import AddKept, AddRemoval, Change, Kept, Note, State
from mailtwin.stores.base import Mailbox, Message, Spool
from mailtwin.stores.durable import (
    disk_errors,
    let_go,
    make_directories,
    make_durable,
    off_loop,
    storage_error,
    sync_directory,
    write_all,
)

BATCH_MESSAGES_MAX = 500
ORPHANS_MAX = 10_000
"""Files without a row that are looked for at the end of a run: what a crash left behind."""

_KEEP = "keep a removed message in"


UNFINISHED = ".part"
"""The end of the name of a file that no row speaks of yet."""


class _FileSpool(Spool):
    """A body on its way into a file of the quarantine; its file is called `name` once it is complete."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.name = f"{os.urandom(12).hex()}.eml"
        self.path = directory / (self.name + UNFINISHED)
        self._descriptor = -1

    def keep(self, chunk: bytes | memoryview) -> None:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(
                    self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
                )
            write_all(self._descriptor, chunk)
        except OSError as error:
            raise storage_error(error, self.path, _KEEP) from error

    def complete(self) -> None:
        """No more bytes will come; an empty message has a file too. Raises StorageError."""
        self.keep(b"")
        self._close()

    def show(self) -> None:
        """Gives the file, which is durable, its name. Raises OSError."""
        self.path = self.path.rename(self.path.with_name(self.name))

    def discard(self) -> None:
        """Lets the file go."""
        super().discard()
        self._close()
        let_go(self.path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


@dataclass(slots=True)
class Keeper:
    """Keeps what is to be removed from one mailbox on one side. `problems`: what cannot be kept, so is not removed."""

    state: State
    name: MailboxName
    side: Side
    mailbox: Mailbox
    validity: str
    problems: list[Problem] = field(default_factory=list)

    async def keep(self, whys: dict[Ref, str]) -> AsyncGenerator[list[Ref], None]:
        """Batches of those of the messages that may be removed now, each with its reason in `whys`; that their removal
        was begun is durable then.

        What is gone already is not among them. Raises a store's errors and StorageError.
        """
        refs = list(whys)
        with disk_errors(self.state.quarantine, "make"):
            await off_loop(lambda: make_directories(self.state.quarantine))
        for at in range(0, len(refs), BATCH_MESSAGES_MAX):
            spools: list[_FileSpool] = []
            try:
                batch = await self._fetch(refs[at : at + BATCH_MESSAGES_MAX], spools)
                removable = await self._make_durable(batch, whys)
            except BaseException:
                known = self.state.kept_files()
                for spool in spools:
                    if spool.name not in known:
                        spool.discard()
                raise
            if removable:
                yield removable

    async def _fetch(self, refs: Sequence[Ref], spools: list[_FileSpool]) -> list[Message]:
        """The messages, each in a file of its own, told in `spools`; without those that cannot be had."""

        def new_spool() -> Spool:
            spools.append(_FileSpool(self.state.quarantine))
            return spools[-1]

        batch: list[Message] = []
        messages = self.mailbox.fetch(refs, new_spool)
        async with aclosing(messages):
            async for message in messages:
                spool = message.spool
                assert isinstance(spool, _FileSpool)
                if message.error is None:
                    spool.complete()
                    batch.append(message)
                else:
                    spool.discard()
                    self._cannot(message.ref, message.error)
        return batch

    async def _make_durable(self, batch: Sequence[Message], whys: dict[Ref, str]) -> list[Ref]:
        if not batch:
            return []
        spools = [message.spool for message in batch if isinstance(message.spool, _FileSpool)]
        await off_loop(lambda: self._sync(spools))
        kept = [self._row(message, spool) for message, spool in zip(batch, spools, strict=True)]
        changes: list[Change] = [AddKept(one) for one in kept]
        for one in kept:
            changes.append(AddRemoval(RemoveIntent(one.side, one.ref, one.validity)))
            why = f"on {self.side.label}: {whys[one.ref]}"
            changes.append(Note("remove", *ends(self.side, one.ref), why, one.message_id))
        self.state.commit(self.name, changes)
        return [one.ref for one in kept]

    def _sync(self, spools: Sequence[_FileSpool]) -> None:
        directory = self.state.quarantine
        with disk_errors(directory, _KEEP):
            errors = make_durable([spool.path for spool in spools], directory)
            for path, error in errors.items():
                raise storage_error(error, path, _KEEP)
            for spool in spools:
                spool.show()
            sync_directory(directory)

    def _row(self, message: Message, spool: _FileSpool) -> Kept:
        return Kept(
            mailbox=self.name,
            side=self.side,
            ref=message.ref,
            validity=self.validity,
            flags=message.flags,
            date=message.date,
            size=spool.size,
            message_id=message_id_of(spool.fields),
            identity=spool.identity(),
            file=spool.name,
        )

    def _cannot(self, ref: Ref, error: MailtwinError) -> None:
        why = MessageError(
            f"it is not removed, because it cannot be kept: {error.message}",
            hint="remove it yourself, or set `quarantine_days = 0`",
        )
        self.problems.append(Problem(why, self.name, self.side, ref))


def tidy(state: State, kept_s: float) -> None:
    """Deletes the files of what is not kept any more, and those that a crash left behind.

    A complete file of which the state knows nothing was kept by another state: one that was lost, or that is newer than
    the backup in its place. It stays for `kept_s` seconds. Raises StateError and StorageError.
    """
    directory = state.quarantine
    if not directory.is_dir():
        return
    known, let_go = state.kept_files(), state.let_go_files()
    oldest = state.steady_now() - kept_s
    with disk_errors(directory, "tidy up"):
        for name in let_go - known:
            (directory / name).unlink(missing_ok=True)
        with os.scandir(directory) as entries:
            for entry, _ in zip(entries, range(ORPHANS_MAX + len(known)), strict=False):
                if entry.name in known:
                    continue
                if entry.name.endswith(UNFINISHED) or entry.stat(follow_symlinks=False).st_mtime < oldest:
                    (directory / entry.name).unlink(missing_ok=True)
    state.forget_files(let_go)
