"""Wire bytes -> file -> wire bytes is the identity for every message, at every chunk border."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.model import NO_FLAGS
from mailtwin.stores import maildir_delivery, maildir_reading
from mailtwin.stores.base import Message
from mailtwin.stores.line_endings import CrlfFinder, LfWriter, is_lossless, to_file, to_wire
from mailtwin.stores.maildir_delivery import MaildirDelivery, MaildirSpool
from mailtwin.stores.maildir_names import VERBATIM, UniqueNames
from mailtwin.stores.maildir_reading import Body

line_ends = st.text("\r\nx", max_size=24).map(str.encode)


@pytest.mark.parametrize(
    ("wire", "file", "mark"),
    [
        (b"", b"", False),
        (b"a\r\nb\r\n", b"a\nb\n", False),
        (b"a\r\nb", b"a\nb", False),
        (b"a\rb\r\n", b"a\rb\n", False),  # a bare CR stays what it is
        (b"a\r", b"a\r", False),
        (b"\r\r", b"\r\r", False),
        (b"a\nb\r\n", b"a\nb\r\n", False),  # mixed: verbatim, and a CRLF says so
        (b"a\r\r\nb\r\n", b"a\r\r\nb\r\n", False),
        (b"a\nb\n", b"a\nb\n", True),  # only bare LF: looks converted, so the name must say that it is not
        (b"\n\r", b"\n\r", True),
    ],
)
def test_known_answers(wire: bytes, file: bytes, mark: bool) -> None:
    assert to_file(wire) == (file, mark)
    assert to_wire(file, verbatim=mark) == wire


def test_every_short_message_comes_back() -> None:
    for length in range(9):
        for letters in product((b"\r", b"\n", b"x"), repeat=length):
            wire = b"".join(letters)
            file, mark = to_file(wire)
            assert to_wire(file, verbatim=mark) == wire
            # What is stored in another form than mail readers expect is so for a reason.
            assert file == wire.replace(b"\r\n", b"\n") or not is_lossless(wire)


@given(line_ends, st.lists(st.integers(0, 24)))
def test_pieces_convert_as_the_whole_does(wire: bytes, cuts: list[int]) -> None:
    writer, out, lossless = LfWriter(), b"", True
    borders = sorted({0, *cuts, len(wire)})
    for start, end in pairwise(borders):
        piece = writer.feed(wire[start:end])
        if piece is None:
            lossless = False
            break
        out += piece
    assert lossless == is_lossless(wire)
    if lossless:
        assert out + writer.held == wire.replace(b"\r\n", b"\n")


@given(line_ends, st.lists(st.integers(0, 24)))
def test_a_crlf_is_found_across_pieces(wire: bytes, cuts: list[int]) -> None:
    finder = CrlfFinder()
    borders = sorted({0, *cuts, len(wire)})
    for start, end in pairwise(borders):
        finder.feed(wire[start:end])
    assert finder.found == (b"\r\n" in wire)


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("mailbox")
    for name in ("cur", "new", "tmp"):
        (directory / name).mkdir()
    return directory


@given(wire=line_ends, cuts=st.lists(st.integers(0, 24)), buffer=st.integers(0, 8), piece=st.integers(1, 8))
def test_through_the_disk(mailbox: Path, wire: bytes, cuts: list[int], buffer: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # So small that a few bytes are a large message, in every way of writing and of reading.
        patch.setattr(maildir_delivery, "BUFFER_BYTES_MAX", buffer)
        patch.setattr(maildir_delivery, "_COPY_BYTES", piece)
        patch.setattr(maildir_reading, "PIECE_BYTES", piece)
        delivery = MaildirDelivery(mailbox, UniqueNames(), ":")
        spool = delivery.spool()
        borders = sorted({0, *(min(cut, len(wire)) for cut in cuts), len(wire)})
        for start, end in pairwise(borders):
            spool.write(memoryview(wire)[start:end])
            assert b"".join(spool.chunks(piece)) == wire[:end]
        target = delivery.stage(Message(1, NO_FLAGS, datetime(2024, 1, 1, tzinfo=UTC), spool), NO_FLAGS)
        (file,) = (mailbox / "tmp").iterdir()
        assert isinstance(spool, MaildirSpool)
        assert b"".join(spool.chunks(piece)) == wire
        with Body(file, verbatim=str(target.ref).endswith(VERBATIM)) as body:
            assert b"".join(body.pieces()) == wire
        expected, mark = to_file(wire)
        assert (file.read_bytes(), spool.verbatim_mark) == (expected, mark)
        assert (spool.size, target.identity) == (len(wire), None)
        spool.discard()
        assert not list((mailbox / "tmp").iterdir())
