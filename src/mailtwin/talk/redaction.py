"""What must not be in a log: the arguments of LOGIN, every SASL response, and what the server repeats of them.

What is sent is read as commands, literals included, so that a password is found wherever it stands. A verb that nearly
is LOGIN or AUTHENTICATE counts as one: people mistype.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Iterator

from mailtwin.client import Credentials, Secret
from mailtwin.client.masking import MASK, Mask
from mailtwin.imap.state import ALLOWED

MASKS_MAX = 50
"""Secrets remembered of one session; a person does not type more."""

_SECRET_VERBS = ("LOGIN", "AUTHENTICATE")
_LIKENESS = 0.75
_COMMAND = re.compile(r"(\S+)[ ]+(\S+)[ ]*")
_USER = re.compile(r'("(?:[^"\\]|\\.)*"|[^\s"{]+)[ ]+')
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)')
_MARKER = re.compile(r"\{([0-9]{1,10})(\+?)\}\Z")


def secret_verb(word: str) -> str | None:
    """LOGIN or AUTHENTICATE, if the person meant one of these, else None."""
    word = word.upper()
    if word in ALLOWED and word not in _SECRET_VERBS:
        return None
    near = difflib.get_close_matches(word, _SECRET_VERBS, 1, _LIKENESS)
    return near[0] if near else None


class Redactor:
    """Follows both directions of one connection."""

    def __init__(self) -> None:
        self._masks: list[Mask] = []
        self._rest = bytearray()
        self._literal_left = 0
        self._verb: str | None = None
        self._tag = ""
        self._inside = False
        self._is_owed = False
        self._arguments: list[str] = []
        self._quoted = bytearray()

    def know(self, who: Credentials) -> None:
        """The secret of `who` is shown by neither side."""
        self._keep(Mask(who.user, who.secret))

    @property
    def is_secret(self) -> bool:
        """Whether what is sent next is part of a login."""
        return self._verb is not None

    @property
    def is_responding(self) -> bool:
        """Whether it is a response to a SASL challenge, in which `{5}` is no literal."""
        return self._verb == "AUTHENTICATE"

    def said(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """What is shown of the bytes sent: lines (without end) and octets of literals; whether it is a literal."""
        self._rest += data
        while self._rest:
            if self._literal_left:
                piece = bytes(self._rest[: self._literal_left])
                del self._rest[: len(piece)]
                self._literal_left -= len(piece)
                if self._verb is not None:
                    self._quoted += piece
                    if not self._literal_left:
                        self._arguments.append(self._quoted.decode("utf-8", "replace"))
                        self._quoted.clear()
                        yield MASK.encode(), False
                else:
                    yield piece, True
                continue
            line, end, rest = bytes(self._rest).partition(b"\n")
            if not end:
                return
            self._rest[:] = rest
            yield self._line(line.removesuffix(b"\r").decode("utf-8", "surrogateescape")), False

    def _line(self, line: str) -> bytes:
        shown = self._continued(line) if self._inside else self._begun(line)
        marker = _MARKER.search(line)
        responds = self._verb == "AUTHENTICATE"
        self._inside = marker is not None and not responds
        if marker is not None and not responds:
            self._literal_left, self._is_owed = int(marker[1]), bool(marker[2])
        elif self._verb == "LOGIN":
            self._learn_login()
        return shown.encode("utf-8", "surrogateescape")

    def _begun(self, line: str) -> str:
        if self._verb == "AUTHENTICATE":
            return self._response(line)
        head = _COMMAND.match(line)
        self._tag = head[1] if head is not None else ""
        verb = secret_verb(head[2]) if head is not None else None
        if head is None or verb is None:
            return line
        self._verb, self._arguments = verb, []
        rest = line[head.end() :]
        user = _USER.match(rest)
        if verb == "LOGIN":
            self._add_arguments(rest)
        elif user is not None:
            self._response(rest[user.end() :])
        if user is None:
            # The name of a mechanism may be shown, a lonely argument of LOGIN may be anything.
            return head[0] + (rest if verb == "AUTHENTICATE" else MASK)
        return head[0] + user[0] + MASK

    def _continued(self, line: str) -> str:
        if self._verb is None:
            return line
        self._add_arguments(line)
        return MASK if line.strip() else line

    def _add_arguments(self, text: str) -> None:
        for quoted, plain in _ARGUMENT.findall(_MARKER.sub("", text)):
            self._arguments.append(re.sub(r"\\(.)", r"\1", quoted) or plain)

    def _learn_login(self) -> None:
        user, *secrets = self._arguments or [""]
        # Whoever types a single argument may have left out either.
        secrets = secrets or [user]
        # Without its quotes a password with a space in it is several arguments.
        for secret in {*secrets, " ".join(secrets)}:
            self._keep(Mask(user, Secret(secret)))
        self._verb = None

    def _response(self, text: str) -> str:
        text = text.strip()
        if text in ("", "*", "="):
            return text
        self._keep(Mask.of_response(text))
        try:
            words = re.split("[\0\1]+", base64.b64decode(text, validate=True).decode("utf-8", "replace"))
        except binascii.Error:
            return MASK
        secret = next((word for word in reversed(words) if word), "").removeprefix("auth=Bearer ")
        self._keep(Mask("", Secret(secret)))
        return MASK

    def ended(self, tag: str) -> None:
        """The tagged reply `tag` came: what is sent next is a command, unless octets are owed that nobody asked for."""
        if tag == self._tag and not (self._literal_left and self._is_owed):
            self._verb = None
            self._literal_left = 0
            self._inside = False

    def heard(self, text: str) -> str:
        """What is shown of a server's text."""
        for mask in self._masks:
            text = mask(text)
        return text

    def _keep(self, mask: Mask) -> None:
        self._masks = [*self._masks[-MASKS_MAX + 1 :], mask]
