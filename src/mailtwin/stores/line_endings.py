"""Between wire bytes (CRLF) and file bytes (LF), so that wire -> file -> wire is the identity for *every* message.

Mail readers expect LF in Maildir files. The way back knows only the file: one without any CRLF has each LF turned into
CRLF, one with a CRLF is sent as it is. So LF may be stored only for a message in which

* every LF is preceded by a CR (a bare LF would come back as CRLF), and
* no CR CR LF occurs (it would leave a CRLF in the file, and the whole file would be sent as it is).

A bare CR elsewhere survives both ways. Every other message is stored verbatim, and comes back verbatim because its file
has a CRLF - except the one whose lines *all* end in a bare LF: verbatim, it looks like a converted file. Nothing inside
the file can tell the two apart, so its file name does (`maildir_names.VERBATIM`).

Pure functions of bytes, resumable at any chunk border. Read next: `mailtwin.stores.maildir_delivery`.
"""

from __future__ import annotations


def is_lossless(wire: bytes) -> bool:
    """Whether these complete wire bytes come back unchanged after being stored with LF."""
    return wire.count(b"\n") == wire.count(b"\r\n") and b"\r\r\n" not in wire


def to_lf(wire: bytes) -> bytes | None:
    """The bytes with LF line ends; None unless that is lossless."""
    # Half of the time of `replace`, and exact where no CR stands alone, which is nearly always.
    file = wire.translate(None, b"\r")
    if wire.count(b"\n") == wire.count(b"\r\n") == len(wire) - len(file):
        return file
    return wire.replace(b"\r\n", b"\n") if is_lossless(wire) else None


def to_file(wire: bytes) -> tuple[bytes, bool]:
    """The file bytes for a complete message, and whether the file must be marked as verbatim."""
    file = to_lf(wire)
    if file is not None:
        return file, False
    return wire, b"\r\n" not in wire


def to_wire(file: bytes, *, verbatim: bool = False) -> bytes:
    """The wire bytes of a complete file."""
    if verbatim or b"\r\n" in file:
        return file
    return file.replace(b"\n", b"\r\n")


class LfWriter:
    """Turns wire bytes into LF bytes piece by piece, for as long as that is lossless."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes | memoryview) -> bytes | None:
        """The next file bytes, or None when the message turns out not to be lossless.

        After None nothing of `chunk` was taken; `held` bytes before it were taken and not returned yet.
        """
        data = self._held + chunk
        # A CR may be the beginning of CRLF or of CR CR LF: up to two are held back until the next byte is known.
        ending = 2 if data.endswith(b"\r\r") else 1 if data.endswith(b"\r") else 0
        body = data[: len(data) - ending]
        converted = to_lf(body)
        if converted is not None:
            self._held = data[len(body) :]
        return converted

    @property
    def held(self) -> bytes:
        """Bytes taken and not returned yet; they are the last ones of the file when the message ends here."""
        return self._held


class CrlfFinder:
    """Whether any CRLF occurred in the chunks fed so far."""

    def __init__(self) -> None:
        self.found = False
        self._last_is_cr = False

    def feed(self, chunk: bytes) -> None:
        """Looks at the next bytes."""
        if chunk and not self.found:
            self.found = b"\r\n" in chunk or (self._last_is_cr and chunk[:1] == b"\n")
            self._last_is_cr = chunk[-1:] == b"\r"
