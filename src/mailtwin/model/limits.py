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

FLAG_CHARS_MAX = 1_000
"""One flag: keywords in use stay below 100. A longer one is no flag to anybody."""

LISTING_FLAGS_BYTES_MAX = 64 * 1024 * 1024
"""The flags of one mailbox's listing, sets that are equal counted once: a large mailbox in use has some thousand."""

LISTING_SURPLUS_MAX = 10_000
"""Messages that a listing may show beyond those that the mailbox is said to hold: what came and went meanwhile."""

TOLD_IN_PARTS_BYTES_MAX = 256 * 1024 * 1024
"""Bodies, or headers, of which something is still to come, all together: servers tell one message after the other."""

UNASKED_BYTES_MAX = 256 * 1024 * 1024
"""Bodies in the answer to one FETCH that nobody asked for, or that were told before."""
