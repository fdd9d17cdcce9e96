"""Labels: merged as flags are, and made, renamed and removed as such, between stores that have them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine.tables import Bench, check_interrupted, check_table, parse_table

from mailtwin.engine import Pair, plan, sync
from mailtwin.engine.pair import no_mailbox
from mailtwin.engine.report import RunReport
from mailtwin.engine.verify import compare_stores
from mailtwin.errors import MailboxError
from mailtwin.model import INBOX, MailboxName, Side, Vocabulary, make_flags
from mailtwin.model.labels import label_flag
from mailtwin.planner import CreateMailbox, Direction, Policy
from mailtwin.state import State
from mailtwin.stores.base import ALL_MAIL, Store
from mailtwin.stores.maildir_labels import FILE_NAME, LabelFile, LabelledMaildir
from mailtwin.stores.memory import Answer, Manners, MemoryStore, always

TABLE = """
    # base | left | right -> left | right
      -    | wi   | -     -> wi   | wi       # new on the left, in two labels
      -    | -    | Sh    -> Sh   | Sh       # new on the right
      -    | w    | hS    -> whS  | whS      # on both sides already, with other labels
      i    | i    | i     -> i    | i        # nothing happened
      i    | .    | i     -> .    | .        # archived on the left
      i    | iw   | ih    -> iwh  | iwh      # labelled on both sides
      iw   | i    | iwS   -> iS   | iS       # a label taken away on the left, seen on the right
      w    | h    | w     -> h    | h        # the label renamed on the left
      wS   | -    | wS    -> -    | -        # removed on the left
      w    | w    | -     -> -    | -        # removed on the right
      .    | w    | .     -> w    | w
"""
LABELS = Manners(vocabulary=Vocabulary(labels=True), labels=True)
WORK, HOME = MailboxName(("Work",)), MailboxName(("Home", "Keys"))


def memories(right: Manners = LABELS) -> Callable[[], tuple[Store, Store]]:
    """Two accounts in memory; whoever connects finds the same mail."""
    stores = MemoryStore("left", manners=LABELS), MemoryStore("right", manners=right)
    return lambda: stores


def with_maildir(root: Path) -> Callable[[], tuple[Store, Store]]:
    """An account in memory and a Maildir."""
    left = MemoryStore("left", manners=LABELS)
    return lambda: (left, LabelledMaildir(root))


@pytest.mark.parametrize("kind", ["memory", "blind", "maildir"])
async def test_table(kind: str, tmp_path: Path) -> None:
    blind = Manners(vocabulary=LABELS.vocabulary, labels=True, answer=always(Answer.ACCEPTED))
    stores = {"memory": memories(), "blind": memories(blind), "maildir": with_maildir(tmp_path / "mail")}[
        kind
    ]
    await check_table(_bench(stores, tmp_path / "state.db"), parse_table(TABLE))


@pytest.mark.parametrize("kind", ["memory", "maildir"])
async def test_table_interrupted_at_every_step(kind: str, tmp_path: Path) -> None:
    def bench(number: int) -> Bench:
        stores = memories() if kind == "memory" else with_maildir(tmp_path / f"mail{number}")
        return _bench(stores, tmp_path / f"{number}.db")

    done = await check_interrupted(bench, parse_table(TABLE))
    assert done["interrupted"] > 20


async def test_a_side_without_labels_takes_none_away(tmp_path: Path) -> None:
    table = "w | w | . -> w | ."
    bench = _bench(memories(Manners(vocabulary=Vocabulary())), tmp_path / "state.db")
    rows = parse_table(table)
    await bench.prepare(rows)
    assert (await bench.run()).in_step
    await bench.expect(rows)


def _bench(stores: Callable[[], tuple[Store, Store]], state: Path) -> Bench:
    return Bench(stores, state, keeps_keywords=(True, True), mailbox=ALL_MAIL)


# --- labels as such ---


class Twins:
    """Two accounts with labels and their state."""

    def __init__(self, path: Path, right: Manners = LABELS, policy: Policy | None = None) -> None:
        self.left = MemoryStore("left", manners=LABELS)
        self.right = MemoryStore("right", manners=right)
        self.path = path / "state.db"
        self.policy = policy or Policy()
        self.is_named: Callable[[MailboxName], bool] = no_mailbox

    async def run(self) -> RunReport:
        state = State.open(self.path, left="left", right="right", now=time.time)
        try:
            return await sync(Pair(self.left, self.right, self.policy, is_named=self.is_named), state)
        finally:
            state.close()

    def names(self) -> tuple[set[MailboxName], set[MailboxName]]:
        return self.left.label_names(), self.right.label_names()


async def test_labels_without_messages_are_made_and_removed(tmp_path: Path) -> None:
    twins = Twins(tmp_path)
    twins.left.user_label(WORK)
    twins.right.user_label(HOME)
    assert (await twins.run()).in_step
    assert twins.names() == ({WORK, HOME}, {WORK, HOME})
    twins.left.user_unlabel(HOME)
    assert (await twins.run()).in_step
    assert twins.names() == ({WORK}, {WORK})
    twins.left.user_unlabel(WORK)
    twins.right.user_unlabel(WORK)
    assert (await twins.run()).in_step
    twins.right.user_label(WORK)
    assert (await twins.run()).in_step
    assert twins.names() == ({WORK}, {WORK}), "it is new again"


async def test_a_label_that_is_renamed_is_renamed_with_all_its_messages(tmp_path: Path) -> None:
    twins = Twins(tmp_path)
    old, new = make_flags([label_flag("Work")]), make_flags([label_flag("Home/Keys")])
    uids = [twins.left.add(ALL_MAIL, b"Message-ID: <%d@x>\r\n\r\n" % n, old) for n in range(3)]
    twins.left.user_label(WORK)
    assert (await twins.run()).in_step
    for uid in uids:
        twins.left.user_flags(ALL_MAIL, uid, new)
    twins.left.user_unlabel(WORK)
    twins.left.user_label(HOME)
    report = await twins.run()
    assert report.in_step, report.problems
    assert twins.names() == ({HOME}, {HOME})
    assert {each.flags for each in twins.right.contents(ALL_MAIL).values()} == {new}
    assert report.counts.copied_to_right == 0


async def test_a_label_in_use_is_not_removed(tmp_path: Path) -> None:
    twins = Twins(tmp_path, policy=Policy(direction=Direction.LEFT_TO_RIGHT))
    twins.left.user_label(WORK)
    assert (await twins.run()).in_step
    twins.right.add(ALL_MAIL, b"Message-ID: <a@x>\r\n\r\n", make_flags([label_flag("Work")]))
    twins.left.user_unlabel(WORK)
    report = await twins.run()
    assert twins.names() == (set(), {WORK})
    assert "carry it" in report.problems[0].error.message


async def test_a_label_that_is_still_to_be_removed_is_not_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = Twins(tmp_path)
    twins.left.user_label(WORK)
    assert (await twins.run()).in_step
    twins.left.user_unlabel(WORK)

    async def refuse(name: MailboxName) -> None:
        raise MailboxError(f"not now: {name}")

    with monkeypatch.context() as patch:
        patch.setattr(twins.right, "remove_label", refuse)
        assert [problem.error.message for problem in (await twins.run()).problems] == ["not now: Work"]
    assert (await twins.run()).in_step
    assert twins.names() == (set(), set())


async def test_one_way_the_destination_is_no_source(tmp_path: Path) -> None:
    twins = Twins(tmp_path, policy=Policy(direction=Direction.LEFT_TO_RIGHT))
    twins.left.user_label(WORK)
    twins.right.user_label(HOME)
    assert (await twins.run()).in_step
    assert twins.names() == ({WORK}, {WORK, HOME})


async def test_a_label_that_is_not_taken_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    refused = label_flag("Bad")
    manners = Manners(vocabulary=LABELS.vocabulary, labels=True, unwelcome={refused: "Invalid label"})
    twins = Twins(tmp_path, manners)
    first = twins.left.add(ALL_MAIL, b"Message-ID: <a@x>\r\n\r\n", make_flags([refused, label_flag("Work")]))
    twins.left.add(ALL_MAIL, b"Message-ID: <b@x>\r\n\r\n", make_flags([label_flag("Work"), "\\Seen"]))
    for _again in range(2):
        report = await twins.run()
        assert [problem.error.message for problem in report.problems] == [
            "right does not take the label Bad: Invalid label"
        ]
        assert {each.flags for each in twins.right.contents(ALL_MAIL).values()} == {
            make_flags([label_flag("Work")]),
            make_flags([label_flag("Work"), "\\Seen"]),
        }
        assert refused in twins.left.contents(ALL_MAIL)[first].flags
    twins.right.manners = LABELS
    assert (await twins.run()).in_step
    assert refused in twins.right.contents(ALL_MAIL)[1].flags | twins.right.contents(ALL_MAIL)[2].flags


async def test_a_plan_says_what_becomes_of_labels(tmp_path: Path) -> None:
    twins = Twins(tmp_path)
    twins.left.user_label(WORK)
    planned = await plan(Pair(twins.left, twins.right), None)
    assert planned.label_operations == (CreateMailbox(Side.RIGHT, WORK, "new on left"),)
    assert twins.names() == ({WORK}, set())


# --- mailboxes that show others again ---


async def test_views_take_no_part_unless_they_are_named(tmp_path: Path) -> None:
    everything, starred = MailboxName(("All",)), MailboxName(("Starred",))
    twins = Twins(tmp_path, Manners())
    twins.left.user_create(everything, "\\All")
    twins.left.user_create(starred, "\\Flagged")
    twins.right.user_create(starred)
    twins.left.add(everything, b"Message-ID: <a@x>\r\n\r\n")
    twins.right.add(starred, b"Message-ID: <b@x>\r\n\r\n")
    assert (await twins.run()).in_step
    assert twins.right.names() == [INBOX, starred]
    assert not twins.left.contents(starred), "what is a view on one side is not filled from the other"
    assert (await compare_stores(twins.left, twins.right)).identical
    twins.is_named = everything.__eq__
    report = await twins.run()
    assert report.in_step
    assert twins.right.contents(everything)


# --- the file of a Maildir ---


async def test_a_file_that_is_gone_takes_no_label_away(tmp_path: Path) -> None:
    stores = with_maildir(tmp_path / "mail")
    bench = _bench(stores, tmp_path / "state.db")
    rows = parse_table("w | w | w -> w | w")
    await bench.prepare(rows)
    (path,) = (tmp_path / "mail").rglob(FILE_NAME)
    text = path.read_bytes()
    for broken in (
        None,
        b"",
        text.replace(b"# mailtwin", b"# "),
        text + b"a\tb\na\tc\n",
        text + b"x\t\xff\n",
    ):
        path.unlink() if broken is None else path.write_bytes(broken)
        report = await bench.run()
        assert str(path) in report.problems[0].error.message
        assert "Nothing was changed" in report.problems[0].error.message
    path.write_bytes(text)
    await bench.expect(rows)
    assert (await bench.run()).in_step


@pytest.mark.parametrize(
    "label",
    [
        "Work",
        "a b",
        "100%",
        "%20",
        "tab\there",
        "line\nfeed",
        "\\Inbox",
        "#1",
        "caf\u00e9",
        "\u3042/\u3044",
        "x" * 300,
    ],
)
def test_what_is_written_is_read_again(label: str, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    file = LabelFile(tmp_path)
    file.make()
    flag = label_flag(label)
    refs = ["1.M2.host", "#odd", "a\tb", "with space"]

    def edit(flags: dict[str, frozenset[str]], names: set[str]) -> None:
        flags.update(dict.fromkeys(refs, make_flags([flag])))
        names.add(label)

    file.change(edit)
    found = file.read()
    assert found.flags == dict.fromkeys(refs, make_flags([flag]))
    assert found.names == {label}


def test_a_label_that_its_last_message_loses_is_still_a_label(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    file = LabelFile(tmp_path)
    (tmp_path / FILE_NAME).write_text("# mailtwin labels 1\na\tWork\t\\Inbox\n")
    file.change(lambda flags, _names: flags.clear())
    assert file.read().all_names == {"Work"}


async def test_the_line_of_a_message_that_is_gone_keeps_no_label(tmp_path: Path) -> None:
    store = LabelledMaildir(tmp_path / "mail")
    await store.connect(create=True)
    await store.create(ALL_MAIL)
    (path,) = (tmp_path / "mail").rglob(FILE_NAME)
    path.write_text("# mailtwin labels 1\ngone\tWork\tHome/Keys\nthere\tHome/Keys\n")
    (path.parent / "cur" / "there:2,S").write_text("Subject: a\n\n")
    await store.remove_label(WORK)
    with pytest.raises(MailboxError, match="carry it"):
        await store.remove_label(HOME)
    assert LabelFile(path.parent).read().all_names == {"Home/Keys"}


def test_a_change_by_somebody_else_meanwhile_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    file, other = LabelFile(tmp_path), LabelFile(tmp_path)
    file.make()
    rounds: list[int] = []

    def edit(flags: dict[str, frozenset[str]], _names: set[str]) -> None:
        if not rounds:
            other.change(lambda theirs, _: theirs.update(b=make_flags([label_flag("theirs")])))
        rounds.append(1)
        flags["a"] = make_flags([label_flag("ours")])

    file.change(edit)
    assert file.read().flags.keys() == {"a", "b"}
    assert len(rounds) == 2

    def restless(_flags: dict[str, frozenset[str]], names: set[str]) -> None:
        names.add(f"{len(rounds)}")
        other.change(lambda _theirs, more: more.add(f"theirs {len(rounds)}"))
        rounds.append(1)

    with pytest.raises(MailboxError, match="all the time"):
        file.change(restless)
