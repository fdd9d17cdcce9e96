"""In every test of the engine: what it vouches for when it asks what changed is exactly what the store once showed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mailtwin.model import Flags, MailboxName, Ref
from mailtwin.stores.base import Observation
from mailtwin.stores.memory import MemoryMailbox


@pytest.fixture(autouse=True)
def vouching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks each `since` that a store in memory is given."""
    shown: dict[tuple[str, MailboxName, str], dict[int, Mapping[Ref, Flags]]] = {}
    accounts: list[object] = []
    observe = MemoryMailbox.observe

    async def vouched(self: MemoryMailbox, since: Observation | None = None) -> Observation:
        account = self.store._account
        accounts.append(account)  # an account that is gone must not have its number given to another one
        if since is not None and since.cursor is not None and since.listing.complete:
            known = shown[self.store.address, self.name, since.cursor]
            # A world that is made anew from a copy has shown what the first one did.
            expected = [known[id(account)]] if id(account) in known else [*known.values()]
            assert since.listing.flags in expected
        seen = await observe(self, since)
        if seen.cursor is not None:
            shown.setdefault((self.store.address, self.name, seen.cursor), {})[id(account)] = (
                seen.listing.flags
            )
        return seen

    monkeypatch.setattr(MemoryMailbox, "observe", vouched)
