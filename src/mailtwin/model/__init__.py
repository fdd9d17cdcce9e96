"""The vocabulary of mailtwin: values that every floor above shares, pure and without dependencies.

In reading order: `uidset`, `flags`, `labels`, `names`, `identity`, `listing`, `limits`.
"""

from mailtwin.model.flags import NO_FLAGS, Flags, Vocabulary, format_flags, make_flags, parse_flags
from mailtwin.model.identity import Identity, header_fields, identity_of
from mailtwin.model.listing import ANY_SIZE, NOTHING_SEEN, Listing, Ref, Side, SizeRange
from mailtwin.model.names import INBOX, MailboxName
from mailtwin.model.uidset import UidSet

__all__ = [
    "ANY_SIZE",
    "INBOX",
    "NOTHING_SEEN",
    "NO_FLAGS",
    "Flags",
    "Identity",
    "Listing",
    "MailboxName",
    "Ref",
    "Side",
    "SizeRange",
    "UidSet",
    "Vocabulary",
    "format_flags",
    "header_fields",
    "identity_of",
    "make_flags",
    "parse_flags",
]
