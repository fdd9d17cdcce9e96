"""The view of an account with labels: what changed, asked of a server whose labels are no flags to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailtwin.client import Credentials, Endpoint, Secret
from mailtwin.model import make_flags
from mailtwin.model.labels import label_flag
from mailtwin.stores.base import ALL_MAIL, FlagChange, Mailbox
from mailtwin.stores.imap_labels import LabelView
from mailtwin.testing.conformance import numbered
from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simlabels import LabelledAccount, LabelledMailbox
from mailtwin.testing.simmail import SimMail

WORK, FAMILY = make_flags([label_flag("Work")]), make_flags([label_flag("Family")])


@pytest.fixture
async def opened() -> AsyncIterator[tuple[LabelledAccount, LabelView, Mailbox]]:
    """All mail of an account that has three messages with the label Work."""
    mail = SimMail()
    account = GMAIL.add_account(mail, "alice", "secret")
    assert isinstance(account, LabelledAccount)
    work = account.create("Work")
    for number in range(3):
        work.append(numbered(number))
    async with GMAIL.server(mail) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        store = LabelView(endpoint, lambda: Credentials("alice", Secret("secret")), "alice")
        await store.connect(create=False)
        await store.mailboxes()
        async with store.open(ALL_MAIL) as mailbox:
            yield account, store, mailbox
        await store.close()


async def test_labels_that_changed_are_told(opened: tuple[LabelledAccount, LabelView, Mailbox]) -> None:
    account, store, mailbox = opened
    account.create("Family")
    first = await mailbox.observe()
    assert set(first.listing.flags.values()) == {WORK}
    ref = min(first.listing.flags, key=int)
    await mailbox.store_flags([FlagChange((ref,), FAMILY, WORK)])
    await store.mailboxes()
    second = await mailbox.observe(first)
    assert not second.whole
    assert second.listing.flags == {**first.listing.flags, ref: FAMILY}
    assert second.listing == (await mailbox.observe()).listing


async def test_a_label_with_another_name_lists_everything(
    opened: tuple[LabelledAccount, LabelView, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the messages that carry it keep their modification sequences."""
    account, store, mailbox = opened
    first = await mailbox.observe()

    def show_labels(self: LabelledMailbox, uid: int, labels: frozenset[str]) -> None:
        self._messages[uid] = replace(self[uid], labels=labels)

    monkeypatch.setattr(LabelledMailbox, "show_labels", show_labels)
    account.rename("Work", "Family")
    await store.mailboxes()
    second = await mailbox.observe(first)
    assert second.whole
    assert set(second.listing.flags.values()) == {FAMILY}
