"""Where the file of each message is: remembered from the last scan, looked for again when a mail reader renamed it.

Read first: `maildir_scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mailtwin.errors import MailboxError, MessageError
from mailtwin.model import NO_FLAGS, Flags, Ref, make_flags
from mailtwin.stores.durable import hint_for, storage_error, sync_directory
from mailtwin.stores.maildir_names import VERBATIM, info_with
from mailtwin.stores.maildir_scan import PREFERENCE, Place, Scan, make_place, scan_mailbox

ROUNDS_MAX = 6
"""How often a message is looked for again that is renamed under our hands."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class File:
    """One message file at the place where it was last seen."""

    ref: str
    place: Place
    path: Path

    @property
    def verbatim(self) -> bool:
        """Whether its bytes are wire bytes in spite of their look."""
        return self.ref.endswith(VERBATIM)


class Files:
    """The files of the mailbox in `directory`. `require_root` raises when the whole Maildir has gone."""

    def __init__(
        self, directory: Path, separator: str, clock_ns: Callable[[], int], require_root: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._separator = separator
        self._clock_ns = clock_ns
        self._require_root = require_root
        self._scan: Scan | None = None
        self._touched: set[str] = set()

    def rescan(self) -> Scan:
        """What is there now. Raises StoreMissingError, MailboxError when the mailbox was removed, StorageError."""
        with self._errors():
            self._scan = scan_mailbox(self._directory, self._separator, self._clock_ns())
        return self._scan

    def settle(self) -> None:
        """Makes all names durable that the last scan saw, whoever gave them. Raises as `rescan`.

        Mail readers sync little. A message or a flag that was agreed on and that a power cut took back would look like
        a person's removal, and be removed on the other side too.
        """
        with self._errors():
            for subdirectory in PREFERENCE:
                sync_directory(self._directory / subdirectory)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._require_root()
            raise MailboxError(f"the mailbox {self._directory} was removed meanwhile") from error
        except PermissionError as error:
            raise MailboxError(
                f"the mailbox {self._directory} cannot be read: {error.strerror}", hint=hint_for(error)
            ) from error
        except OSError as error:
            raise storage_error(error, self._directory, "list") from error
        self._require_root()

    def lookup(self) -> Lookup:
        """A way to get at files, for one operation."""
        return Lookup(self)

    def scan(self) -> Scan:
        """The last scan, made now if there is none yet."""
        return self._scan or self.rescan()

    def file(self, ref: str, place: Place) -> File:
        """The file of `ref` if it is at `place`."""
        unique = self.scan().odd.get(ref, ref)
        return File(ref, place, self._directory / place.subdirectory / (unique + place.info))

    def reflag(self, file: File, add: Flags, remove: Flags) -> None:
        """Renames a file for a change of its flags. Raises FileNotFoundError when it is not there any more."""
        flags = make_flags((file.place.flags | add) - remove)
        info = info_with(file.place.info, flags, self._separator)
        place = make_place("cur", info)
        if place.flags == file.place.flags:
            return
        file.path.rename(self.file(file.ref, place).path)
        self._touched |= {file.place.subdirectory, "cur"}
        self.scan().places[file.ref] = place

    def unlink(self, file: File) -> None:
        """Removes a file. Raises FileNotFoundError when it is not there any more."""
        file.path.unlink()
        self._touched.add(file.place.subdirectory)
        del self.scan().places[file.ref]

    def sync(self) -> None:
        """Makes renames and removals durable.

        A flag that a power cut takes back, or a message that it brings back, would look like a person's doing.
        """
        for subdirectory in sorted(self._touched):
            sync_directory(self._directory / subdirectory)
        self._touched.clear()


class Lookup:
    """Finds the files of one operation, and scans no more often than needed to know that one is gone."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._scanned = False

    def flags(self, ref: Ref) -> Flags:
        """The flags when last seen."""
        place = self._files.scan().places.get(str(ref))
        return NO_FLAGS if place is None else place.flags

    def at(self, ref: Ref, action: Callable[[File], _T]) -> _T | None:
        """Does `action` to the file of `ref`; None when the message is gone.

        Raises MessageError when it is renamed faster than it can be looked for or links to nothing, and what `action`
        raises.
        """
        for _round in range(ROUNDS_MAX):
            file = self._find(ref)
            if file is None:
                return None
            try:
                return action(file)
            except FileNotFoundError:
                self._rescan()
        raise MessageError(f"message {ref} is being renamed by another program all the time")

    def attempt(self, ref: Ref, action: Callable[[File], None]) -> None:
        """The same for what may fail to take effect, because the next listing shows whether it did."""
        try:
            self.at(ref, action)
        except MessageError:
            pass  # renamed all the time: still listed as it was, so that the change is planned again

    def _find(self, ref: Ref) -> File | None:
        if not isinstance(ref, str):
            return None
        place = self._files.scan().places.get(ref)
        if place is None and not self._scanned:
            self._rescan()
            place = self._files.scan().places.get(ref)
        return None if place is None else self._files.file(ref, place)

    def _rescan(self) -> None:
        self._files.rescan()
        self._scanned = True
