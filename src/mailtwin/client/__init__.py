"""asyncio around the protocol kernel.

In reading order: `endpoint` (where, who, how patient), `session` (what one works with), `login` and `ways`,
`transport` (with `deflate` and `tunnel`), `failures` and `masking`. Besides: `backoff`, `pool`, `watch`.
"""

from mailtwin.client.endpoint import Credentials, Endpoint, Place, Timeouts, Tunnel
from mailtwin.client.login import Referred, TokenRefused
from mailtwin.client.result import Refused, Result
from mailtwin.client.session import Answer, Session
from mailtwin.imap import Secret

__all__ = [
    "Answer",
    "Credentials",
    "Endpoint",
    "Place",
    "Referred",
    "Refused",
    "Result",
    "Secret",
    "Session",
    "Timeouts",
    "TokenRefused",
    "Tunnel",
]
