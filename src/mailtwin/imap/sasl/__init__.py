"""SASL mechanisms (RFC 4422, RFC 9051 section 6.2.2) as generators: pure, so nonces and bindings come from outside.

Here are those that need no computing. `cram` and `scram` (with `prep`) are imported by whoever wants them: a login that
sends a password inside TLS does without.

In reading order: `base`, `simple`, `oauth`, `cram`, `prep`, `scram`.
"""

from mailtwin.imap.sasl.base import Exchange, Mechanism, Secret, Unproven
from mailtwin.imap.sasl.oauth import oauthbearer, xoauth2
from mailtwin.imap.sasl.simple import anonymous, external, login, plain

__all__ = [
    "Exchange",
    "Mechanism",
    "Secret",
    "Unproven",
    "anonymous",
    "external",
    "login",
    "oauthbearer",
    "plain",
    "xoauth2",
]
