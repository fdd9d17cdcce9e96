"""A connection that shows its bytes to somebody, in both directions, as they are inside TLS and DEFLATE.

    session = await Session.open(endpoint, credentials, connection=Tapped(heard=log.received, said=log.sent))

Passwords are among them: what is shown to people or kept goes through `mailtwin.talk.redaction`, or something like it.
"""

from __future__ import annotations

from collections.abc import Callable

from mailtwin.imap import Connection

Watcher = Callable[[bytes], None]


class Tapped(Connection):
    """`heard` is called with every piece received before it is read, `said` with every piece before it is written."""

    def __init__(self, heard: Watcher, said: Watcher) -> None:
        super().__init__()
        self._heard_by, self._said_to = heard, said
        self._room = memoryview(b"")

    def get_buffer(self) -> memoryview:
        """See `Connection`."""
        self._room = super().get_buffer()
        return self._room

    def received(self, count: int) -> None:
        """See `Connection`."""
        self._heard_by(bytes(self._room[:count]))
        super().received(count)

    def receive_data(self, data: bytes) -> None:
        """See `Connection`."""
        self._heard_by(data)
        super().receive_data(data)

    def data_to_send(self) -> bytes | memoryview:
        """See `Connection`."""
        data = super().data_to_send()
        if data:
            self._said_to(bytes(data))
        return data
