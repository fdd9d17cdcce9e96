"""The spool that every store may use: in memory, then in a file that has no name; and what it measures."""

from __future__ import annotations

import hashlib
import tempfile

import pytest

from mailtwin.errors import StorageError
from mailtwin.model.limits import SPOOL_MEMORY_BYTES_MAX
from mailtwin.stores.base import Spool
from mailtwin.testing.conformance import fill


@pytest.mark.parametrize(
    "size", [0, 1, SPOOL_MEMORY_BYTES_MAX, SPOOL_MEMORY_BYTES_MAX + 1, 3 * SPOOL_MEMORY_BYTES_MAX]
)
def test_bytes_come_back_and_are_measured(size: int) -> None:
    data = (b"Subject: x\r\n\r\n" + b"body\r\n" * (size // 6 + 1))[:size]
    spool = fill(Spool(), data)
    assert b"".join(spool.chunks()) == b"".join(spool.chunks(1000)) == data
    assert (spool.size, spool.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert spool.header == data[: len(b"Subject: x\r\n")]
    spool.discard()
    spool.discard()
    assert list(spool.chunks()) == []


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n"])
def test_the_header_ends_at_every_chunk_border(end: bytes) -> None:
    data = b"Subject: x" + end + b"body"
    for cut in range(len(data)):
        spool = Spool()
        spool.write(data[:cut])
        spool.write(data[cut:])
        assert spool.header == b"Subject: x" + end[: end.index(b"\n") + 1]


def test_a_full_temporary_directory_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(StorageError, match="No space") as caught:
        Spool().write(bytes(SPOOL_MEMORY_BYTES_MAX + 1))
    assert "TMPDIR" in caught.value.hint
