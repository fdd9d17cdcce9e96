"""The hot path: `* n FETCH (UID .. FLAGS (..) MODSEQ (..))` in one match, as a listing has it once per message.

A copy of nothing: whatever this returns, `mailtwin.imap.parser.parse_plain` returns too (a property test says so), and
for everything else this returns None.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from mailtwin.imap.responses import Fetch
from mailtwin.imap.tokens import UINT32_MAX, flag_names

# The attributes in any order; of one that comes twice the last counts, here as in the plain parser.
_UID = rb"UID ([1-9][0-9]{0,9})"
_FLAGS = rb'FLAGS \(([^()"]*+)\)'
_MODSEQ = rb"MODSEQ \(([0-9]{1,18})\)"
_LINE = re.compile(
    rb"\* ([0-9]{1,10}) FETCH \((?:(?:"
    + _UID
    + rb"|"
    + _FLAGS
    + rb"|"
    + _MODSEQ
    + rb")(?: (?!\))|(?=\))))++\)\Z"
)

FLAGS_BYTES_MAX = 4096
"""Longer lists of flags go the plain way, which checks their number."""

_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})


def parse_fetch_line(segment: bytes) -> Fetch | None:
    """The FETCH response on this line (without CRLF, without literals), or None if it has another shape."""
    match = _LINE.match(segment)
    if match is None:
        return None
    seq, uid, flags, modseq = match.groups()
    if flags is not None and len(flags) > FLAGS_BYTES_MAX:
        return None
    seq_number = int(seq)
    uid_number = None if uid is None else int(uid)
    if seq_number > UINT32_MAX or (uid_number is not None and uid_number > UINT32_MAX):
        return None
    return Fetch(
        seq_number,
        uid_number,
        None if flags is None else flag_names(flags),
        None if modseq is None else int(modseq),
        None,
        None,
        _NOTHING,
        _NOTHING,
    )
