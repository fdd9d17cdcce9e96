"""The sequence map against a plain list, and that it stays fast and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailtwin.imap.seqmap import MESSAGES_MAX, SequenceMap
from mailtwin.model import UidSet


def filled(count: int) -> SequenceMap:
    numbers = SequenceMap()
    for seq in range(1, count + 1):
        numbers.learn(seq, seq * 10)
    return numbers


def listed(numbers: SequenceMap) -> list[int | None]:
    return [numbers.uid(seq) for seq in range(1, len(numbers) + 1)]


@given(st.integers(0, 60), st.lists(st.integers(1, 70)))
def test_expunges_move_what_is_above_down(count: int, expunged: list[int]) -> None:
    numbers, model = filled(count), [seq * 10 for seq in range(1, count + 1)]
    for seq in expunged:
        expected = model.pop(seq - 1) if seq <= len(model) else None
        assert numbers.expunge(seq) == expected
    assert listed(numbers) == model


@given(st.integers(0, 60), st.lists(st.sets(st.integers(1, 700), max_size=30), max_size=5))
def test_vanished_uids_are_found_and_counted(count: int, vanished: list[set[int]]) -> None:
    numbers, model = filled(count), [seq * 10 for seq in range(1, count + 1)]
    for uids in vanished:
        last = model[-1] if model else 0
        gone = sum(uid in model or uid > last for uid in uids)
        model = [uid for uid in model if uid not in uids]
        assert numbers.vanish(UidSet.of(uids)) == gone
        assert listed(numbers) == model


@given(st.lists(st.integers(1, 30), max_size=40))
def test_positions_learnt_in_any_order(order: list[int]) -> None:
    numbers = SequenceMap()
    for seq in order:
        numbers.learn(seq, seq * 10)
    assert listed(numbers) == [
        seq * 10 if seq in order else None for seq in range(1, max(order, default=0) + 1)
    ]


def test_expunge_then_learn_then_vanish_over_many_pending_removals() -> None:
    numbers, model = filled(5000), [seq * 10 for seq in range(1, 5001)]
    for _ in range(1500):
        assert numbers.expunge(7) == model.pop(6)
    numbers.learn(len(model) + 1, 99_999)
    model.append(99_999)
    assert numbers.vanish(UidSet.of([model[100], model[3000]])) == 2
    del model[3000], model[100]
    assert listed(numbers) == model


def test_a_contradiction_forgets_the_rest() -> None:
    numbers = filled(3)
    numbers.learn(2, 77)
    assert listed(numbers) == [None, 77]


def test_vanished_with_gaps_forgets_everything_and_counts_each() -> None:
    numbers = SequenceMap()
    numbers.learn(3, 30)
    assert numbers.vanish(UidSet.of([10, 30])) == 2
    assert listed(numbers) == []


def test_a_smaller_mailbox_than_known_forgets_everything() -> None:
    numbers = filled(3)
    numbers.shrink(3)
    assert len(numbers) == 3
    numbers.shrink(2)
    assert len(numbers) == 0


def test_the_limit_on_positions() -> None:
    numbers = SequenceMap()
    numbers.learn(MESSAGES_MAX + 1, 5)
    assert len(numbers) == 0
    numbers.learn(MESSAGES_MAX, 5)
    assert numbers.uid(MESSAGES_MAX) == 5


def test_a_server_that_contradicts_itself_is_not_followed_for_ever() -> None:
    numbers = SequenceMap()
    for uid in range(1, 100):
        numbers.learn(MESSAGES_MAX // 10, uid)
    assert listed(numbers) == []
    numbers.learn(1, 5)
    numbers.learn(2, 6)
    assert listed(numbers) == [5, 6]


def test_a_hundred_thousand_expunges_are_cheap() -> None:
    numbers = filled(100_000)
    for _ in range(100_000):
        numbers.expunge(1)
    assert len(numbers) == 0


def test_a_vanished_of_every_uid_there_is() -> None:
    numbers = filled(1000)
    assert numbers.vanish(UidSet(((1, 2**32 - 1),))) == 1000 + 2**32 - 1 - 10_000
    assert len(numbers) == 0
