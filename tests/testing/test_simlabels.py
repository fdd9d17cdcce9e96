"""Mail with labels: what is true of an account whatever is done to it, and what each act does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailtwin.testing.simlabels import (
    LANGUAGES,
    Expunge,
    LabelledAccount,
    LabelledMailbox,
    LabelSettings,
    Merge,
    Role,
)
from mailtwin.testing.simmail import SimMail

BINS = (Role.TRASH, Role.SPAM)


def body(number: int, more: bytes = b"") -> bytes:
    return b"Message-ID: <%d@x>\r\n%bSubject: %d\r\n\r\ntext\r\n" % (number, more, number)


def made(**settings_: object) -> LabelledAccount:
    return LabelledAccount(SimMail(), "secret", replace(LabelSettings(), **settings_))  # type: ignore[arg-type]


def where(account: LabelledAccount, number: int) -> set[str]:
    """The mailboxes that hold a message."""
    return {name for name in account.names() for held in account[name] if held.body == body(number)}


def mailboxes(account: LabelledAccount) -> dict[str, LabelledMailbox]:
    found = {name: account[name] for name in account.names()}
    return {name: mailbox for name, mailbox in found.items() if isinstance(mailbox, LabelledMailbox)}


class Account(RuleBasedStateMachine):
    """Anybody does anything; after each act the store and its views agree."""

    def __init__(self) -> None:
        super().__init__()
        self.account = made()
        self.seen: dict[LabelledMailbox, tuple[int, int, set[int]]] = {}

    @rule(
        settings_=st.builds(
            LabelSettings, st.booleans(), st.sampled_from(Expunge), st.sampled_from(Merge), st.booleans()
        )
    )
    def settle(self, settings_: LabelSettings) -> None:
        if not any("\\Deleted" in one.flags for box in mailboxes(self.account).values() for one in box):
            self.account.settings = settings_

    @rule(
        data=st.data(),
        number=st.integers(0, 4),
        flags=st.sets(st.sampled_from(["\\Flagged", "\\Seen", "\\Deleted"])),
    )
    def append(self, data: st.DataObject, number: int, flags: set[str]) -> None:
        self.mailbox(data).append(body(number), flags)

    @rule(data=st.data(), flags=st.sets(st.sampled_from(["\\Flagged", "\\Seen", "\\Deleted", "Work"])))
    def set_flags(self, data: st.DataObject, flags: set[str]) -> None:
        if found := self.message(data):
            found[0].set_flags(found[1], flags)

    @rule(data=st.data(), act=st.sampled_from(["copy", "move", "expunge", "remove"]))
    def act(self, data: st.DataObject, act: str) -> None:
        if found := self.message(data):
            mailbox, uid = found
            if act == "copy":
                self.mailbox(data).copy(mailbox[uid])
            elif act == "move":
                mailbox.move(uid, self.mailbox(data))
            elif act == "expunge":
                mailbox.expunge(uid)
            else:
                mailbox.remove(uid)

    @rule(old=st.sampled_from(["a", "a/b", "c"]), new=st.sampled_from(["a", "a/b", "c", None]))
    def make(self, old: str, new: str | None) -> None:
        try:
            if old not in self.account:
                self.account.create(old)
            elif new is None:
                self.account.delete(old)
            else:
                self.account.rename(old, new)
        except (ValueError, KeyError):
            pass  # a name that is taken, or below itself

    def mailbox(self, data: st.DataObject) -> LabelledMailbox:
        boxes = mailboxes(self.account)
        return boxes[data.draw(st.sampled_from(sorted(boxes)))]

    def message(self, data: st.DataObject) -> tuple[LabelledMailbox, int] | None:
        mailbox = self.mailbox(data)
        return (mailbox, data.draw(st.sampled_from(mailbox.uids()))) if len(mailbox) else None

    @invariant()
    def a_message_is_in_all_mail_or_in_one_bin_alone(self) -> None:
        places: dict[int, list[LabelledMailbox]] = {}
        for mailbox in mailboxes(self.account).values():
            for message in mailbox:
                places.setdefault(message.email_id, []).append(mailbox)
        for held in places.values():
            assert len(held) == len(set(held)), "one mailbox holds it twice"
            if any(mailbox.role in BINS for mailbox in held):
                assert len(held) == 1
            else:
                assert self.account.of(Role.ALL) in held

    @invariant()
    def all_copies_say_the_same(self) -> None:
        said: dict[int, set[tuple[object, ...]]] = {}
        places: dict[int, set[str]] = {}
        for mailbox in mailboxes(self.account).values():
            for message in mailbox:
                shared = (
                    message.flags if self.account.settings.shared_deleted else message.flags - {"\\Deleted"}
                )
                content = (message.body, message.date, message.thread_id, message.labels, shared)
                said.setdefault(message.email_id, set()).add(content)
                places.setdefault(message.email_id, set())
                if mailbox.label:
                    places[message.email_id].add(mailbox.label)
        assert all(len(one) == 1 for one in said.values())
        for email_id, contents in said.items():
            *_, labels, flags = next(iter(contents))
            assert isinstance(flags, frozenset)
            assert labels == places[email_id]
            if not places[email_id] & {"\\Trash", "\\Spam"}:
                assert ("\\Starred" in places[email_id]) == ("\\Flagged" in flags)

    @invariant()
    def no_uid_is_given_twice_and_each_change_has_its_number(self) -> None:
        for mailbox in mailboxes(self.account).values():
            uids, (uid_next, modseq, before) = mailbox.uids(), self.seen.get(mailbox, (1, 1, set()))
            assert uids == sorted(set(uids))
            assert all(uid >= uid_next for uid in set(uids) - before)
            assert all(uid < mailbox.uid_next for uid in uids)
            assert all(message.modseq <= mailbox.highest_modseq for message in mailbox)
            assert mailbox.highest_modseq > modseq or set(uids) == before
            self.seen[mailbox] = (mailbox.uid_next, mailbox.highest_modseq, set(uids))


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

INBOX, ALL, TRASH, SPAM, STARRED = (
    "INBOX",
    "[Gmail]/All Mail",
    "[Gmail]/Trash",
    "[Gmail]/Spam",
    "[Gmail]/Starred",
)
IMPORTANT, SENT = "[Gmail]/Important", "[Gmail]/Sent Mail"

Act = Callable[[LabelledAccount], object]
ACTS: dict[str, tuple[set[str], Act, set[str]]] = {
    "copy adds a label": ({INBOX}, lambda a: a["Work"].copy(a[INBOX][1]), {INBOX, "Work", ALL}),
    "copy to All Mail is nothing": ({INBOX}, lambda a: a[ALL].copy(a[INBOX][1]), {INBOX, ALL}),
    "copy to Trash takes all labels": ({INBOX, "Work"}, lambda a: a[TRASH].copy(a[INBOX][1]), {TRASH}),
    "copy to Spam takes all labels": ({INBOX, "Work"}, lambda a: a[SPAM].copy(a[INBOX][1]), {SPAM}),
    "copy out of Trash is taking it out": ({TRASH}, lambda a: a["Work"].copy(a[TRASH][1]), {"Work", ALL}),
    "move swaps labels": ({INBOX}, lambda a: a[INBOX].move(1, a["Work"]), {"Work", ALL}),
    "move leaves other labels": ({INBOX, SENT}, lambda a: a[INBOX].move(1, a["Work"]), {"Work", SENT, ALL}),
    "move to Trash": ({INBOX, "Work"}, lambda a: a[INBOX].move(1, a[TRASH]), {TRASH}),
    "move to All Mail archives": ({INBOX}, lambda a: a[INBOX].move(1, a[ALL]), {ALL}),
    "move from All Mail adds": ({INBOX}, lambda a: a[ALL].move(1, a["Work"]), {INBOX, "Work", ALL}),
    "move to where it is": ({INBOX}, lambda a: a[INBOX].move(1, a[INBOX]), {INBOX, ALL}),
    "flagging stars": ({INBOX}, lambda a: a[INBOX].set_flags(1, ["\\Flagged"]), {INBOX, STARRED, ALL}),
    "starring flags": ({INBOX}, lambda a: a[STARRED].copy(a[INBOX][1]), {INBOX, STARRED, ALL}),
    "unflagging takes the star": ({INBOX, STARRED}, lambda a: a[INBOX].set_flags(1, []), {INBOX, ALL}),
    "removed from Starred, and unflagged": ({INBOX, STARRED}, lambda a: a[STARRED].remove(1), {INBOX, ALL}),
    "no star in Trash": ({TRASH}, lambda a: a[TRASH].set_flags(1, ["\\Flagged"]), {TRASH}),
    "removed from Trash is gone": ({TRASH}, lambda a: a[TRASH].expunge(1), set()),
    "a deleted label is taken away": ({INBOX, "Work"}, lambda a: a.delete("Work"), {INBOX, ALL}),
    "a renamed label goes along": ({"Work"}, lambda a: a.rename("Work", "Play"), {"Play", ALL}),
}


@pytest.mark.parametrize("name", ACTS)
def test_what_an_act_does(name: str) -> None:
    before, act, after = ACTS[name]
    account = made()
    account.create("Work")
    for mailbox in sorted(before):
        account[mailbox].append(body(1))
    assert where(account, 1) == before | (set() if TRASH in before else {ALL})
    act(account)
    assert where(account, 1) == after


LAST = {
    (Expunge.ARCHIVE, INBOX): {ALL},
    (Expunge.TRASH, INBOX): {TRASH},
    (Expunge.DELETE, INBOX): set(),
    (Expunge.ARCHIVE, ALL): {ALL, INBOX},
    (Expunge.TRASH, ALL): {TRASH},
    (Expunge.DELETE, ALL): set(),
    (Expunge.ARCHIVE, SPAM): set(),
    (Expunge.TRASH, SPAM): set(),
}


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize(("how", "mailbox"), LAST)
def test_expunge_from_the_last_label(how: Expunge, mailbox: str, auto: bool) -> None:
    account = made(expunge=how, auto_expunge=auto)
    account[SPAM if mailbox == SPAM else INBOX].append(body(1))
    before = where(account, 1)
    account[mailbox].set_flags(1, ["\\Deleted"])
    if not auto:
        assert where(account, 1) == before
        assert "\\Deleted" in account[mailbox][1].flags
        account[mailbox].expunge(1)
    assert where(account, 1) == LAST[how, mailbox]


@pytest.mark.parametrize("how", Expunge)
def test_expunge_from_one_label_of_two(how: Expunge) -> None:
    account = made(expunge=how)
    account.create("Work")
    account[INBOX].append(body(1))
    account["Work"].append(body(1))
    account[INBOX].set_flags(1, ["\\Deleted"])
    assert where(account, 1) == {"Work", ALL}
    assert account["Work"][1].flags == frozenset()


@pytest.mark.parametrize("shared", [True, False])
def test_deleted_is_shared_by_a_switch(shared: bool) -> None:
    account = made(shared_deleted=shared, auto_expunge=False)
    account[INBOX].append(body(1))
    account[INBOX].set_flags(1, ["\\Deleted", "\\Seen"])
    assert account[ALL][1].flags == ({"\\Seen", "\\Deleted"} if shared else {"\\Seen"})


SAME = body(1)
OTHER_TEXT = body(1, b"X-Other: 1\r\n")


@pytest.mark.parametrize(
    ("merge", "second", "merged"),
    [
        (Merge.MESSAGE_ID, SAME, True),
        (Merge.MESSAGE_ID, OTHER_TEXT, True),
        (Merge.MESSAGE_ID, body(2), False),
        (Merge.BYTES, SAME, True),
        (Merge.BYTES, OTHER_TEXT, False),
        (Merge.NEVER, SAME, False),
    ],
)
def test_an_append_merges(merge: Merge, second: bytes, merged: bool) -> None:
    account = made(merge=merge)
    account.create("Work")
    first = account[INBOX].append(SAME, ["\\Seen"])
    assert (account[INBOX].append(second, ["\\Answered"]) == first) is merged
    account["Work"].append(second)
    assert len(account[ALL]) == (1 if merged else 2 if merge is not Merge.NEVER else 3)
    assert account[INBOX][first].flags == {"\\Seen"}
    if merged:
        assert account["Work"].bodies() == [SAME]


def test_a_message_without_a_message_id_is_merged_by_bytes_only() -> None:
    for merge, held in ((Merge.MESSAGE_ID, 2), (Merge.BYTES, 1)):
        account = made(merge=merge)
        for _ in range(2):
            account[INBOX].append(b"Subject: x\r\n\r\n")
        assert len(account[INBOX]) == held


def test_what_was_deleted_for_ever_merges_with_nothing() -> None:
    account = made()
    account[INBOX].append(SAME)
    account[ALL].remove(1)
    assert account[INBOX].append(SAME) == 2
    assert len(account[ALL]) == 1


def test_answers_are_in_the_thread_of_what_they_answer() -> None:
    account = made()
    account[INBOX].append(body(1))
    account[INBOX].append(body(2, b"In-Reply-To: <1@x>\r\n"))
    account[INBOX].append(body(3, b"References: <0@x> <2@x>\r\n"))
    account[INBOX].append(body(4, b"References: <9@x>\r\n"))
    threads = [message.thread_id for message in account[INBOX]]
    assert threads[0] == threads[1] == threads[2] == account[INBOX][1].email_id
    assert threads[3] == account[INBOX][4].email_id


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_in_other_languages(language: str) -> None:
    account = made(language=language)
    root, names = LANGUAGES[language]
    assert set(account.names()) == {"INBOX", *(f"{root}/{name}" for name in names.values())}
    assert {account[account.name_of(role)].special_use for role in names} == {
        role.special_use for role in names
    }


@pytest.mark.parametrize("name", ["a ", " a", "a  b", "a/ b", "a^b", "[Gmail]/x", "[Gmail]", "INBOX", ALL])
def test_names_that_cannot_be_created(name: str) -> None:
    with pytest.raises(ValueError):
        made().create(name)
    if "a" in name[:2]:
        made(strict_names=False).create(name)


@pytest.mark.parametrize("name", [INBOX, ALL, TRASH, STARRED])
def test_what_everybody_has_stays(name: str) -> None:
    account = made()
    with pytest.raises(ValueError):
        account.delete(name)
    with pytest.raises(ValueError):
        account.rename(name, "x")


def test_labels_are_found_by_their_names() -> None:
    account = made()
    assert account.mailbox_of("\\inbox") is account[INBOX]
    assert account.mailbox_of("\\Starred") is account[STARRED]
    assert account.mailbox_of("new") is None
    assert account.mailbox_of("new", create=True) is account["new"]
    for wrong in ("\\Nonsense", "a^b"):
        with pytest.raises(ValueError):
            account.mailbox_of(wrong, create=True)


def test_numbering_anew_keeps_the_labels() -> None:
    account = made()
    for number in range(3):
        account[INBOX].append(body(number))
    account[INBOX].remove(1)
    account[INBOX].renew(99)
    account[INBOX].move(1, account[TRASH])
    assert (account[INBOX].uids(), where(account, 1)) == ([2], {TRASH})


def test_an_account_is_as_large_as_its_messages_and_not_its_labels() -> None:
    account = made()
    account[INBOX].append(body(1))
    account[SENT].append(body(1))
    assert account.size() == len(body(1))


@pytest.mark.parametrize("wrong", [{"language": "tlh"}])
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        made(**wrong)
    with pytest.raises(ValueError):
        made().create("x", "\\Trash")
