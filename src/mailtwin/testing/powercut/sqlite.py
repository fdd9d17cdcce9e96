"""A layer between SQLite and its files (a "VFS") that tells what is done to them, and may refuse it.

SQLite is reached below Python, through the library that Python's own module is bound to: no database is opened here.
The layer is a copy of the one that SQLite would use, with six functions put in front: those that open, write, cut,
sync, close and remove a file. Its shared memory (`-shm`) is not seen: it is nothing after a power cut, and SQLite makes
it anew.

Read next: `watching`.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Protocol

_OK = 0
_FULL = 13
_CANTOPEN = 14
_IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE, _IOERR_DELETE = (10 | code << 8 for code in (3, 4, 6, 10))
_ENOSPC = 28

_OPEN_CREATE = 0x4
_OPEN_READWRITE = 0x2
_OPEN_JOURNALS = 0x800 | 0x4000 | 0x80000
"""Rollback journals, super-journals and write-ahead logs: a new one is synced together with its directory."""

_Open = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_Delete = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Close = ctypes.CFUNCTYPE(c_int, c_void_p)
_Write = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = ctypes.CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(ctypes.Structure):
    """`struct sqlite3_vfs`, version 3."""

    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", c_void_p),
        ("xDelete", c_void_p),
        ("others", c_void_p * 13),
    )


class _Methods(ctypes.Structure):
    """`struct sqlite3_io_methods`, version 3."""

    _fields_ = (
        ("iVersion", c_int),
        ("xClose", c_void_p),
        ("xRead", c_void_p),
        ("xWrite", c_void_p),
        ("xTruncate", c_void_p),
        ("xSync", c_void_p),
        ("others", c_void_p * 13),
    )


class Watcher(Protocol):
    """Who is told; each call comes before the thing is done and returns what is to be called when it was done.

    May raise OSError: then it is not done, and SQLite hears of an error of the disk.
    """

    def opening(self, path: Path, creating: bool) -> Callable[[], None]: ...
    def writing(self, path: Path, offset: int, data: bytes) -> Callable[[], None]: ...
    def resizing(self, path: Path, size: int) -> Callable[[], None]: ...
    def syncing(self, path: Path, directory_too: bool) -> Callable[[], None]: ...
    def removing(self, path: Path, directory_too: bool) -> Callable[[], None]: ...


class Layer:
    """The layer; there is one in a process, made by `layer`, because SQLite may call it as long as a file is open."""

    def __init__(self) -> None:
        self._library = _library()
        self._base = ctypes.cast(self._library.sqlite3_vfs_find(None), ctypes.POINTER(_Vfs)).contents
        if self._base.iVersion < 3:
            raise OSError("this SQLite is older than the layer was written for")
        self._open = _Open(self._base.xOpen)
        self._delete = _Delete(self._base.xDelete)
        self._kept: list[Any] = [_Open(self._on_open), _Delete(self._on_delete)]
        self._vfs = _Vfs.from_buffer_copy(self._base)
        self._vfs.zName = b"mailtwin-powercut"
        self._vfs.xOpen = ctypes.cast(self._kept[0], c_void_p).value
        self._vfs.xDelete = ctypes.cast(self._kept[1], c_void_p).value
        self._methods: dict[int, _Methods] = {}
        self._files: dict[int, Path] = {}
        self._unsynced_names: set[int] = set()
        self.watcher: Watcher | None = None

    def install(self, watcher: Watcher) -> None:
        """Databases opened from now on are watched."""
        assert self.watcher is None, "already watched"
        self.watcher = watcher
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)

    def remove(self) -> None:
        """Databases opened from now on are not watched; nothing is told of those that are open."""
        self.watcher = None
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def _guarded(
        self, ask: Callable[[Watcher], Callable[[], None]], failure: int, do: Callable[[], int]
    ) -> int:
        """Asks the watcher, does it, and tells the watcher; SQLite's result code. Nothing may be raised into C."""
        if self.watcher is None:
            return do()
        try:
            done = ask(self.watcher)
        except OSError as error:
            return _FULL if error.errno == _ENOSPC and failure == _IOERR_WRITE else failure
        result = do()
        if result == _OK:
            done()
        return result

    # --- files ---

    def _on_open(self, _vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        def do() -> int:
            # The name itself, not a copy of it: SQLite keeps it for as long as the file is open.
            return int(self._open(ctypes.addressof(self._base), name, file, flags, out))

        if name is None:
            return do()  # a temporary file, which nobody will miss
        path = Path(ctypes.string_at(name).decode())
        creating = bool(flags & _OPEN_CREATE) and not path.exists()
        if flags & _OPEN_READWRITE:
            result = self._guarded(lambda watcher: watcher.opening(path, creating), _CANTOPEN, do)
        else:
            result = do()
        if result == _OK:
            self._files[file] = path
            if creating and flags & _OPEN_JOURNALS:
                self._unsynced_names.add(file)
            self._put_in_front(file)
        return result

    def _put_in_front(self, file: int) -> None:
        """Replaces the table of functions of an open file by a copy with ours in it."""
        slot = ctypes.cast(file, ctypes.POINTER(c_void_p))
        table = slot[0]
        assert table is not None
        if table not in self._methods:
            self._methods[table] = self._in_front_of(_Methods.from_address(table))
        slot[0] = ctypes.addressof(self._methods[table])

    def _in_front_of(self, base: _Methods) -> _Methods:
        close, write = _Close(base.xClose), _Write(base.xWrite)
        truncate, sync = _Truncate(base.xTruncate), _Sync(base.xSync)

        def on_close(file: int) -> int:
            self._files.pop(file, None)
            self._unsynced_names.discard(file)
            return int(close(file))

        def on_write(file: int, data: int, count: int, offset: int) -> int:
            path, content = self._files[file], ctypes.string_at(data, count)
            return self._guarded(
                lambda watcher: watcher.writing(path, offset, content),
                _IOERR_WRITE,
                lambda: int(write(file, data, count, offset)),
            )

        def on_truncate(file: int, size: int) -> int:
            path = self._files[file]
            return self._guarded(
                lambda watcher: watcher.resizing(path, size),
                _IOERR_TRUNCATE,
                lambda: int(truncate(file, size)),
            )

        def on_sync(file: int, flags: int) -> int:
            path, name_too = self._files[file], file in self._unsynced_names
            result = self._guarded(
                lambda watcher: watcher.syncing(path, name_too), _IOERR_FSYNC, lambda: int(sync(file, flags))
            )
            if result == _OK:
                self._unsynced_names.discard(file)
            return result

        ours = _Methods.from_buffer_copy(base)
        for field, function in (
            ("xClose", _Close(on_close)),
            ("xWrite", _Write(on_write)),
            ("xTruncate", _Truncate(on_truncate)),
            ("xSync", _Sync(on_sync)),
        ):
            self._kept.append(function)
            setattr(ours, field, ctypes.cast(function, c_void_p).value)
        return ours

    def _on_delete(self, _vfs: int, name: bytes, sync_directory: int) -> int:
        path = Path(name.decode())

        def do() -> int:
            return int(self._delete(ctypes.addressof(self._base), name, sync_directory))

        if not path.exists():
            return do()
        return self._guarded(lambda watcher: watcher.removing(path, bool(sync_directory)), _IOERR_DELETE, do)


_layers: list[Layer] = []


def layer() -> Layer:
    """The layer of this process. Raises OSError where SQLite cannot be reached (it is not a shared library)."""
    if not _layers:
        _layers.append(Layer())
    return _layers[0]


def _library() -> Any:
    found = importlib.util.find_spec("_sqlite3")
    if found is None or found.origin is None:
        raise OSError("this Python has no SQLite of its own")
    library = ctypes.CDLL(found.origin)
    try:
        library.sqlite3_vfs_find.restype = c_void_p
    except AttributeError as error:
        raise OSError("the SQLite of this Python cannot be reached from outside") from error
    return library
