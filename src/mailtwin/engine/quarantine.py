"""What is removed is kept for a while, and can be put back (ordering invariant 7).

Before a removal takes effect the message lies in a file beside the state, durably, and the state says what it was. A
message that cannot be had is not removed. Putting back is a copy like any other: it is written down before it is tried,
and looked for before it is tried again.

    RUN removes        fetch -> file durable -> row (with the note that says why) -> removal
    undo RUN           row says where it may be -> store -> row is dropped -> file is dropped
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mailtwin.engine.pair import ends
from mailtwin.engine.report import Problem
from mailtwin.errors import MailtwinError, MessageError
from mailtwin.model import MailboxName, Ref, Side
from mailtwin.state import AddKept, Change, Kept, Note, State
from mailtwin.stores.base import Mailbox, Message, Spool
from mailtwin.stores.durable import make_directories, make_durable, off_loop, storage_error, sync_directory

BATCH_MESSAGES_MAX = 500
ORPHANS_MAX = 10_000
"""Files without a row that are looked for at the end of a run: what a crash left behind."""


class _FileSpool(Spool):
    """A body on its way into a file of the quarantine."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / f"{os.urandom(12).hex()}.eml"
        self._out: IO[bytes] | None = None

    def keep(self, chunk: bytes | memoryview) -> None:
        try:
            if self._out is None:
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                self._out = open(descriptor, "wb")  # noqa: SIM115, PTH123 - it stays open between two pieces
            self._out.write(chunk)
        except OSError as error:
            raise storage_error(error, self.path, "keep a removed message in") from error

    def close(self) -> None:
        """No more bytes will come. Raises StorageError."""
        try:
            self.keep(b"")
            assert self._out is not None
            self._out.close()
        except OSError as error:
            raise storage_error(error, self.path, "keep a removed message in") from error

    def discard(self) -> None:
        """Lets the file go."""
        super().discard()
        if self._out is not None:
            self._out.close()
        self.path.unlink(missing_ok=True)


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
        """Batches of those of the messages that may be removed now, each with its reason in `whys`.

        What is gone already is not among them. Raises a store's errors and StorageError.
        """
        refs = list(whys)
        await off_loop(lambda: make_directories(self.state.quarantine))
        for at in range(0, len(refs), BATCH_MESSAGES_MAX):
            batch = await self._fetch(refs[at : at + BATCH_MESSAGES_MAX])
            if batch:
                yield await self._make_durable(batch, whys)

    async def _fetch(self, refs: Sequence[Ref]) -> list[Message]:
        """The messages, each in a file; without those that cannot be had."""
        batch: list[Message] = []
        messages = self.mailbox.fetch(refs, lambda: _FileSpool(self.state.quarantine))
        async with aclosing(messages):
            async for message in messages:
                if message.error is None:
                    batch.append(message)
                else:
                    message.spool.discard()
                    self._cannot(message.ref, message.error)
        return batch

    async def _make_durable(self, batch: Sequence[Message], whys: dict[Ref, str]) -> list[Ref]:
        spools = [message.spool for message in batch if isinstance(message.spool, _FileSpool)]
        assert len(spools) == len(batch)

        def sync() -> None:
            for spool in spools:
                spool.close()
            directory = self.state.quarantine
            errors = make_durable([spool.path for spool in spools], directory)
            for path, error in errors.items():
                raise storage_error(error, path, "keep a removed message in")
            sync_directory(directory)

        await off_loop(sync)
        kept = [
            Kept(
                mailbox=self.name,
                side=self.side,
                ref=message.ref,
                validity=self.validity,
                flags=message.flags,
                date=message.date,
                size=message.spool.size,
                message_id=message.spool.fields["message-id"].decode("utf-8", "replace")[:998],
                identity=message.spool.identity(),
                file=spool.path.name,
            )
            for message, spool in zip(batch, spools, strict=True)
        ]
        changes: list[Change] = [AddKept(one) for one in kept]
        for one in kept:
            why = f"on {self.side.label}: {whys[one.ref]}"
            changes.append(Note("remove", *ends(self.side, one.ref), why, one.message_id))
        self.state.commit(self.name, changes)
        return [one.ref for one in kept]

    def _cannot(self, ref: Ref, error: MailtwinError) -> None:
        why = MessageError(
            f"it is not removed, because it cannot be kept: {error.message}",
            hint="remove it yourself, or set `quarantine_days = 0`",
        )
        self.problems.append(Problem(why, self.name, self.side, ref))


def tidy(state: State) -> None:
    """Deletes the files of what is not kept any more, and those that a crash left behind.

    Raises StateError and StorageError.
    """
    directory = state.quarantine
    if not directory.is_dir():
        return
    known = state.kept_files()
    try:
        with os.scandir(directory) as entries:
            for entry, _ in zip(entries, range(ORPHANS_MAX + len(known)), strict=False):
                if entry.name not in known:
                    (directory / entry.name).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, directory, "tidy up") from error
