"""Labels nobody can have, files without sense, accounts that hide things: named, nothing lost, the rest goes on."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engine.test_label_accounts import no_sleep, store

from mailtwin.engine import Pair, sync
from mailtwin.engine.putback import undo
from mailtwin.engine.report import RunReport
from mailtwin.errors import ConfigurationError, MailboxError, StorageError
from mailtwin.model import Flags
from mailtwin.state import State
from mailtwin.stores import maildir_labels
from mailtwin.stores.base import ALL_MAIL, Store
from mailtwin.stores.maildir_labels import FILE_NAME, FIRST_LINE, LabelFile, LabelledMaildir
from mailtwin.testing import simgmail
from mailtwin.testing.providers import GMAIL
from mailtwin.testing.simfaults import reply_no
from mailtwin.testing.simlabels import LabelledAccount, LabelledMailbox, Role
from mailtwin.testing.simmail import SimMail, SimMessage
from mailtwin.testing.simserver import SimServer
from mailtwin.testing.simview import View

WITHOUT_MOVE = f"extensions={','.join(GMAIL.manners.extensions - {'MOVE'})}"


def letter(number: int) -> bytes:
    """A message."""
    return b"Message-ID: <%d@trouble.example>\r\nSubject: %d\r\n\r\nThe text.\r\n" % (number, number)


@dataclass(slots=True)
class Side:
    """An account with labels, its owner and its server."""

    server: SimServer
    made: LabelledAccount

    def deliver(self, body: bytes, *labels: str) -> None:
        """A new message with these labels."""
        self.everything.append(body)
        for label in labels:
            self.label(body, label)

    def label(self, body: bytes, label: str) -> None:
        """A label on messages that are there."""
        mailbox = self.made.mailbox_of(label, create=True)
        assert mailbox is not None
        for message in [each for each in self.everything if each.body == body]:
            self.made.place(self.made.stored(message), mailbox)

    @property
    def everything(self) -> LabelledMailbox:
        """All Mail."""
        return self.made.of(Role.ALL)

    def held(self) -> dict[bytes, set[str]]:
        """The messages and their labels; each is there once."""
        found = {message.body: set(message.labels) for message in self.everything}
        assert len(found) == len(self.everything)
        return found


@asynccontextmanager
async def serving(*switches: str) -> AsyncIterator[Side]:
    """One account of its own."""
    mail = SimMail()
    provider = GMAIL.switch(*switches)
    made = provider.add_account(mail, "alice", "secret")
    assert isinstance(made, LabelledAccount)
    async with provider.server(mail) as server:
        yield Side(server, made)


@dataclass(slots=True)
class Twins:
    """A pair and its state."""

    path: Path
    stores: Callable[[], tuple[Store, Store]]

    def open(self) -> tuple[Pair, State]:
        """New connections."""
        pair = Pair(*self.stores(), select=ALL_MAIL.__eq__, sleep=no_sleep)
        return pair, State.open(
            self.path / "state.db", left=pair.left.address, right=pair.right.address, now=time.time
        )

    async def run(self) -> RunReport:
        """One run."""
        pair, state = self.open()
        with state:
            return await sync(pair, state)


def said(report: RunReport) -> list[str]:
    """What a person is told."""
    return [problem.error.message.partition("?view=labels")[2] for problem in report.problems]


def accounts(path: Path, one: Side, two: Side) -> Twins:
    """Two accounts."""
    return Twins(path, lambda: (store(one.server), store(two.server)))


def with_maildir(path: Path, one: Side) -> Twins:
    """An account and a Maildir."""
    return Twins(path, lambda: (store(one.server), LabelledMaildir(path / "mail")))


def file_of(path: Path) -> Path:
    """The one file with labels."""
    (found,) = path.rglob(FILE_NAME)
    return found


def labels_in(path: Path) -> dict[str, Flags]:
    """What the file says of each message."""
    return dict(LabelFile(file_of(path).parent).read().flags)


# --- labels that cannot be had ---


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("a^b", "Invalid folder name"),
        ("two  blanks", "excess whitespace"),
        ("%00", "cannot be written"),
        ("line%0Afeed", "cannot be written"),
        ("\\Trash", "the server's own"),
        ("\\Starred", "the server's own"),
        ("\\odd one", "the server's own"),
        ("[Gmail]/Work", "Invalid folder name"),
    ],
)
async def test_a_label_that_an_account_does_not_take(label: str, why: str, tmp_path: Path) -> None:
    async with serving() as one:
        one.deliver(letter(1))
        one.deliver(letter(2))
        twins = with_maildir(tmp_path, one)
        assert (await twins.run()).in_step
        path = file_of(tmp_path)
        refs = sorted(each.name.partition(":")[0] for each in path.parent.glob("[cn]*/*"))
        lines = f"{FIRST_LINE}\n{refs[0]}\t{label}\tWork\n{refs[1]}\tHome\n"
        path.write_text(lines)
        for _again in range(2):
            report = await twins.run()
            assert any("does not take the label" in told and why in told for told in said(report)), said(
                report
            )
            assert sorted(map(sorted, one.held().values())) == [["Home"], ["Work"]]
            assert f"{refs[0]}\t" in path.read_text()
            assert f"\t{label}" in path.read_text()


async def test_labels_that_differ_in_case_only_are_one(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "Letters")
        two.deliver(letter(1), "letters")
        two.deliver(letter(2), "LETTERS")
        twins = accounts(tmp_path, one, two)
        await twins.run()
        report = await twins.run()
        assert report.in_step, said(report)
        assert not any(report.counts.as_dict().values())
        assert {body: {label.lower() for label in labels} for body, labels in one.held().items()} == {
            letter(1): {"letters"},
            letter(2): {"letters"},
        }


async def test_a_label_that_looks_like_a_flag(tmp_path: Path) -> None:
    names = ["Seen", "$Forwarded", "label(Seen)", "NonJunk", "*", "(a)"]
    async with serving() as one, serving() as two:
        for number, name in enumerate(names):
            one.deliver(letter(number), name)
        report = await accounts(tmp_path, one, two).run()
        assert two.held() == one.held() == {letter(n): {name} for n, name in enumerate(names)}
        assert report.in_step, said(report)
        assert not any(message.flags for message in two.everything)


async def test_a_label_that_is_a_parent_and_holds_messages(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "a/b/c")
        one.deliver(letter(2), "a")
        two.deliver(letter(3), "a/b")
        assert (await accounts(tmp_path, one, two).run()).in_step
        assert one.held() == two.held()
        assert (await with_maildir(tmp_path / "second", one).run()).in_step


async def test_what_is_not_the_owners_is_no_label(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        chats = LabelledMailbox(one.made, one.made._mail, None)
        one.made._mailboxes["[Gmail]/Chats"] = chats
        one.deliver(letter(1), "Work")
        report = await accounts(tmp_path, one, two).run()
        assert report.in_step, said(report)
        assert "[Gmail]/Chats" not in two.made
        assert "Work" in two.made


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_label_that_is_refused_once_is_tried_again(nth: int, tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "Work", "Home")
        two.server.faults.add(reply_no("UID STORE", nth, times=2))
        twins = accounts(tmp_path, one, two)
        first = await twins.run()
        report = await twins.run()
        assert report.in_step, (said(first), said(report))
        assert one.held() == two.held() == {letter(1): {"Work", "Home"}}


async def test_a_label_removed_here_while_messages_get_it_there(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "Work")
        one.deliver(letter(2))
        twins = accounts(tmp_path, one, two)
        assert (await twins.run()).in_step
        one.made.delete("Work")
        two.label(letter(2), "Work")
        assert (await twins.run()).in_step
        assert one.held() == two.held() == {letter(1): set(), letter(2): {"Work"}}


# --- servers and accounts that hide things ---


@pytest.mark.parametrize("other", ["account", "maildir"])
async def test_labels_that_are_not_told_are_not_gone(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some messages, then all of them, come without X-GM-LABELS: nothing changes, and a person is told."""
    async with serving() as one, serving() as two:
        for number in range(6):
            one.deliver(letter(number), "Work", f"L{number}")
        twins = accounts(tmp_path, one, two) if other == "account" else with_maildir(tmp_path, one)
        assert (await twins.run()).in_step
        before, file = one.held(), {} if other == "account" else labels_in(tmp_path)

        for hidden in ({3}, set(range(6))):

            def reader(raw: bool, hidden: set[int] = hidden) -> Callable[[View, SimMessage], bytes]:
                def render(view: View, message: SimMessage) -> bytes:
                    if message.uid - 1 in hidden and view.mailbox is one.everything:
                        return b"X-GM-THRID 1"
                    return simgmail._labels_in(view, message, raw=raw)

                return render

            one.deliver(letter(100 + len(hidden)), "New")
            for number in hidden:
                one.label(letter(number), f"More {len(hidden)}")
            with monkeypatch.context() as patch:
                patch.setitem(simgmail.FETCH_ITEMS, "X-GM-LABELS", reader)
                report = await twins.run()
            assert not report.in_step
            assert report.problems
            assert all(labels <= one.held()[body] for body, labels in before.items())
            if other == "account":
                assert before.items() <= two.held().items()
            else:
                assert file.items() <= labels_in(tmp_path).items()
        assert (await twins.run()).in_step
        assert "More 6" in two.made or "\tMore 6" in file_of(tmp_path).read_text()


async def test_an_account_that_does_not_show_all_mail(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        del one.made._mailboxes[one.made.name_of(Role.ALL)]
        with pytest.raises(ConfigurationError, match="does not show the mailbox with all mail") as caught:
            await accounts(tmp_path, one, two).run()
        assert "All Mail" in (caught.value.hint or "")


async def test_an_account_that_does_not_show_its_trash(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "Work")
        twins = accounts(tmp_path, one, two)
        assert (await twins.run()).in_step
        del two.made._mailboxes[two.made.name_of(Role.TRASH)]
        one.made.place(one.made.stored(next(iter(one.everything))), one.made.of(Role.TRASH))
        one.deliver(letter(2), "Home")
        report = await twins.run()
        assert "does not show its trash" in report.problems[0].error.message
        assert two.held() == {letter(1): {"Work"}, letter(2): {"Home"}}


@pytest.mark.parametrize("switch", ["merge=bytes", WITHOUT_MOVE, "expunge=delete", "copy_uid=no"])
async def test_removed_here_it_is_in_the_trash_there(switch: str, tmp_path: Path) -> None:
    async with serving() as one, serving(switch) as two:
        for number in range(3):
            one.deliver(letter(number), "Work")
        twins = accounts(tmp_path, one, two)
        assert (await twins.run()).in_step
        one.made.place(one.made.stored(next(iter(one.everything))), one.made.of(Role.TRASH))
        assert (await twins.run()).in_step
        assert two.held().keys() == {letter(1), letter(2)}
        assert [message.body for message in two.made.of(Role.TRASH)] == [letter(0)]


async def test_what_is_in_the_trash_of_one_side_is_mail_of_the_other(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        one.deliver(letter(1))
        one.made.place(one.made.stored(next(iter(one.everything))), one.made.of(Role.TRASH))
        two.deliver(letter(1), "Work")
        twins = accounts(tmp_path, one, two)
        report = await twins.run()
        assert report.in_step, said(report)
        assert one.held() == two.held() == {letter(1): {"Work"}}
        assert not any((await twins.run()).counts.as_dict().values())


async def test_a_folder_size_limit_takes_nothing_away(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        for number in range(60):
            one.deliver(letter(number), "Work")
        twins = accounts(tmp_path, one, two)
        assert (await twins.run()).in_step
        async with GMAIL.switch("window=20").server(one.made._mail) as small:
            twins.stores = lambda: (store(small), store(two.server))
            pair = Pair(*twins.stores(), select=ALL_MAIL.__eq__, sleep=no_sleep)
            # The same account at another port: its state is that of the first.
            pair.left.address = store(one.server).address
            with State.open(
                tmp_path / "state.db", left=pair.left.address, right=pair.right.address, now=time.time
            ) as state:
                report = await sync(pair, state)
        assert not report.in_step
        assert len(two.everything) == 60


async def test_a_message_that_is_too_large_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with serving() as one, serving("append_limit=2000") as two:
        large = letter(1) + b"x" * 3_000
        one.deliver(large, "Work")
        one.deliver(letter(2), "Home")
        report = await accounts(tmp_path, one, two).run()
        assert [problem.message_id for problem in report.problems] == ["<1@trouble.example>"]
        assert two.held() == {letter(2): {"Home"}}


async def test_a_removed_message_is_put_back_with_its_labels(tmp_path: Path) -> None:
    for other in ("account", "maildir"):
        path = tmp_path / other
        path.mkdir()
        async with serving() as one, serving() as two:
            one.deliver(letter(1), "Work", "\\Inbox")
            one.deliver(letter(2))
            twins = accounts(path, one, two) if other == "account" else with_maildir(path, one)
            assert (await twins.run()).in_step
            if other == "account":
                first = next(iter(two.everything))
                two.made.place(two.made.stored(first), two.made.of(Role.TRASH))
            else:
                for file in (path / "mail").rglob("[cn]*/*.*"):
                    if b"Subject: 1" in file.read_bytes():
                        file.unlink()
            assert (await twins.run()).in_step
            assert one.held().keys() == {letter(2)}
            pair, state = twins.open()
            with state:
                undone = await undo(pair, state, lambda _kept: True)
            assert (len(undone.restored), undone.problems) == (1, ())
            report = await twins.run()
            assert report.in_step, said(report)
            assert one.held() == {letter(1): {"Work", "\\Inbox"}, letter(2): set()}
            if other == "account":
                assert two.held() == one.held()
            else:
                assert "\tWork\t" in file_of(path).read_text() or "\tWork\n" in file_of(path).read_text()


# --- the file ---


def _file(path: Path, text: bytes) -> LabelFile:
    (path / "tmp").mkdir()
    (path / FILE_NAME).write_bytes(text)
    return LabelFile(path)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_as_an_editor_writes_it(start: bytes, end: bytes, tmp_path: Path) -> None:
    lines = [b"# mailtwin labels 1", b"\tHome", b"", b"# a remark", b"a\tWork", b"b", b""]
    found = _file(tmp_path, start + end.join(lines)).read()
    assert (set(found.all_names), set(found.flags)) == ({"Home", "Work"}, {"a", "b"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"# mailtwin labels 1\na    Work\n", "line 2: it has no TAB"),
        (b"# mailtwin labels 1\na\tWork\nb\tHo", "line 3: it breaks off"),
        (b"# mailtwin labels 1", "line 1: it breaks off"),
        (b"# mailtwin labels 2\n", "line 1: it does not begin"),
    ],
)
def test_what_would_take_labels_away_by_mistake_makes_no_sense(text: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(MailboxError, match=why):
        _file(tmp_path, text).read()


def test_a_large_file_is_read_and_changed_in_linear_time(tmp_path: Path) -> None:
    def lines_run(count: int) -> int:
        directory = tmp_path / str(count)
        directory.mkdir()
        text = "".join(f"17{n}.M{n}P1.host\tWork\tL{n % 50}\n" for n in range(count))
        file = _file(directory, f"{FIRST_LINE}\n{text}".encode())
        calls = 0

        def trace(*_args: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(trace)
        try:
            file.change(lambda _flags, names: names.add("more"))
        finally:
            sys.setprofile(None)
        assert len(file.read().flags) == count
        return calls

    assert lines_run(20_000) < 2.3 * lines_run(10_000)


async def test_a_file_that_cannot_be_written_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as one:
        one.deliver(letter(1), "Work")
        twins = with_maildir(tmp_path, one)
        assert (await twins.run()).in_step
        before = file_of(tmp_path).read_bytes()
        one.label(letter(1), "Home")
        one.deliver(letter(2), "Home")

        def full(_descriptor: int, _data: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(maildir_labels, "write_all", full)
            with pytest.raises(StorageError, match="mailtwin-labels: No space left") as caught:
                await twins.run()
            assert "make room" in (caught.value.hint or "")
        assert file_of(tmp_path).read_bytes() == before
        assert not list((file_of(tmp_path).parent / "tmp").iterdir())
        assert (await twins.run()).in_step
        assert one.held() == {letter(1): {"Work", "Home"}, letter(2): {"Home"}}


# --- what a run costs ---


async def test_a_run_without_changes_selects_nothing(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        for number in range(200):
            one.deliver(letter(number), "Work", f"L{number % 7}")
        twins = accounts(tmp_path, one, two)
        assert (await twins.run()).in_step
        assert (await twins.run()).in_step
        before = [dict(each.server.counts) for each in (one, two)]
        assert (await twins.run()).in_step
        for each, counts in zip((one, two), before, strict=True):
            spent = {name: n - counts.get(name, 0) for name, n in each.server.counts.items()}
            assert spent.get("LIST") == 1
            assert not any(spent.get(name) for name in ("SELECT", "EXAMINE", "UID FETCH", "STATUS"))


async def test_nothing_is_asked_that_serves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one mailbox there is no other one to copy from: identifiers are not asked for."""
    asked: list[int] = []
    original = simgmail.FETCH_ITEMS["X-GM-MSGID"]

    def counted(raw: bool) -> Callable[[View, SimMessage], bytes]:
        asked.append(1)
        return original(raw)

    monkeypatch.setitem(simgmail.FETCH_ITEMS, "X-GM-MSGID", counted)
    async with serving() as one, serving() as two:
        one.deliver(letter(1), "Work")
        assert (await accounts(tmp_path, one, two).run()).in_step
    assert not asked
