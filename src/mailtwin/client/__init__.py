"""asyncio around the protocol kernel.

In reading order: `endpoint` (where, who, how patient), `session` (what one works with), `login`, `transport`,
`failures`.
"""

from mailtwin.client.endpoint import Credentials, Endpoint, Timeouts
from mailtwin.client.result import Refused, Result
from mailtwin.client.session import Answer, Session
from mailtwin.imap import Secret

__all__ = ["Answer", "Credentials", "Endpoint", "Refused", "Result", "Secret", "Session", "Timeouts"]
