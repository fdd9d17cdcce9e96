"""The hot path: `* n FETCH (UID .. FLAGS (..) MODSEQ (..))` in one match, as a listing has it once per message.

A copy of nothing: whatever this returns, `mailtwin.imap.parser.parse_plain` returns too (a property test says so), and
for everything else this returns None. `WIRE_LINE` and `fetch_of` take such a line straight from the receive buffer
(`Framer.short_cut`), without a `Frame` in between; `parse_fetch_line` serves those that were framed first.
"""

from __future__ import annotations

import re
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from mailtwin.imap.responses import Fetch
from mailtwin.imap.tokens import UINT32_MAX, flag_names

# The attributes in any order; of one that comes twice the last counts, here as in the plain parser.
_UID = rb"UID ([1-9][0-9]{0,9})"
_FLAGS = rb'FLAGS \(([^()"\n]*+)\)'
_MODSEQ = rb"MODSEQ \(([0-9]{1,18})\)"
_RESPONSE = (
    rb"\* ([0-9]{1,10}) FETCH \((?:(?:"
    + _UID
    + rb"|"
    + _FLAGS
    + rb"|"
    + _MODSEQ
    + rb")(?: (?!\))|(?=\))))++\)"
)
_LINE = re.compile(_RESPONSE + rb"\Z")
WIRE_LINE = re.compile(_RESPONSE + rb"\r\n")
"""The same with the end of its line, which is the first line feed in it."""

FLAGS_BYTES_MAX = 4096
"""Longer lists of flags go the plain way, which checks their number."""

_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})

_new = Fetch.__new__
_set_seq, _set_uid, _set_flags, _set_modseq, _set_internal_date, _set_size, _set_bodies, _set_extra = (
    vars(Fetch)[field.name].__set__ for field in fields(Fetch)
)


def parse_fetch_line(segment: bytes) -> Fetch | None:
    """The FETCH response on this line (without CRLF, without literals), or None if it has another shape."""
    match = _LINE.match(segment)
    return None if match is None else fetch_of(match)


def fetch_of(match: re.Match[bytes]) -> Fetch | None:
    """The FETCH response that was matched, or None where the plain parser has to look at the numbers or flags."""
    seq, uid, flags, modseq = match.groups()
    if flags is not None and len(flags) > FLAGS_BYTES_MAX:
        return None
    seq_number = int(seq)
    uid_number = None if uid is None else int(uid)
    if seq_number > UINT32_MAX or (uid_number is not None and uid_number > UINT32_MAX):
        return None
    # What Fetch(...) does, at a third of its cost: the generated __init__ of a frozen class asks the class each time.
    fetch: Fetch = _new(Fetch)
    _set_seq(fetch, seq_number)
    _set_uid(fetch, uid_number)
    _set_flags(fetch, None if flags is None else flag_names(flags))
    _set_modseq(fetch, None if modseq is None else int(modseq))
    _set_internal_date(fetch, None)
    _set_size(fetch, None)
    _set_bodies(fetch, _NOTHING)
    _set_extra(fetch, _NOTHING)
    return fetch
