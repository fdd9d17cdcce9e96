"""A limit on everything that a peer can make grow, each with its reason."""

from __future__ import annotations

LINE_BYTES_MAX = 16 * 1024 * 1024
"""One response without its literals: a SEARCH answer of 200,000 UIDs is 1.4 MB (rule R18)."""

NESTING_MAX = 100
"""Depth of parenthesised lists: real BODYSTRUCTUREs stay below 30."""

LITERAL_BYTES_MAX = 2**32 - 1
"""The largest literal accepted at all (streamed, so it costs no memory)."""

LITERAL_INLINE_MAX = 64 * 1024
"""Literals up to this size become part of the response; larger ones are streamed."""

LITERALS_INLINE_TOTAL_MAX = 16 * 1024 * 1024
"""The sum of inline literals in one response."""

MAILBOXES_MAX = 100_000
"""Mailboxes of one store: the largest known accounts have some ten thousand."""

MAILBOX_NAME_BYTES_MAX = 1_000
"""One mailbox name on the wire."""

CAPABILITIES_MAX = 1_000
"""Capability names of one server: real ones stay below 80."""

SPOOL_MEMORY_BYTES_MAX = 1024 * 1024
"""A message up to this size is held in memory between two servers; a larger one in an unlinked temporary file."""
