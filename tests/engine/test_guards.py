"""The judge of removals as a table: what is known about them, and the signs against them."""

from __future__ import annotations

import pytest

from mailtwin.engine.guards import NAMED_MAX, Evidence, PairTotal, Sign, explain, judge, refusal
from mailtwin.errors import ExitCode, Scope
from mailtwin.model import INBOX, Side


def missing(count: int, agreed: int, **known: object) -> Evidence:
    """`count` of `agreed` messages are missing on the right; the others are listed there."""
    rest = agreed - count
    plain: dict[str, object] = {"listed": rest, "survivors": rest, "listed_before": agreed}
    return Evidence(Side.LEFT, tuple(range(1, count + 1)), agreed, **{**plain, **known})  # type: ignore[arg-type]


MANY, EMPTIED, SHORT, WINDOW = Sign.MANY, Sign.EMPTIED, Sign.SHORT, Sign.WINDOW
MOVED, VANISHED, PAIR = Sign.MOVED, Sign.VANISHED, Sign.PAIR

TABLE: list[tuple[str, Evidence, set[Sign]]] = [
    ("nothing is missing", missing(0, 100), set()),
    ("one of two", missing(1, 2), set()),
    # a person tidies a mailbox of three; of four it is asked
    ("all of three", missing(3, 3), set()),
    ("all of four", missing(4, 4), {EMPTIED}),
    ("all of 25", missing(25, 25), {EMPTIED}),
    ("all of 26", missing(26, 26), {EMPTIED}),
    ("all but one of 26", missing(25, 26), set()),
    ("all of four, and new mail is there", missing(4, 4, listed=7), {EMPTIED}),
    # the last three of many: the others were removed before
    ("the last three", missing(3, 3, listed_before=40), {SHORT}),
    # share
    ("25 of 26", missing(25, 26), set()),
    ("26 of 52: half", missing(26, 52), set()),
    ("26 of 51: more than half", missing(26, 51), {MANY}),
    ("26 of 51, replaced by new mail", missing(26, 51, listed=51), {MANY}),
    # count
    ("1,000 of 9,000", missing(1000, 9000), set()),
    ("1,001 of 9,000", missing(1001, 9000), {MANY}),
    ("1,001 of 20,000", missing(1001, 20_000), set()),
    # a listing far shorter than the last one, of which both sides agreed on little
    ("4 of 10, and 900 that were on the right only", missing(4, 10, listed=6, listed_before=910), {SHORT}),
    ("what was listed before is not known", missing(4, 10, listed=6, listed_before=None), set()),
    ("a listing that grew", missing(4, 10, listed=60), set()),
    # a server that shows only the newest
    ("one fell out of the newest 1,000", missing(1, 1001, listed=1000, only_oldest=True), {WINDOW}),
    ("one of 1,001, not the oldest", missing(1, 1001, listed=1000), set()),
    ("the oldest of 1,002", missing(1, 1002, listed=1001, only_oldest=True), set()),
    ("the newest 10,000 of 10,900", missing(900, 10_900, only_oldest=True), {WINDOW}),
    ("the newest 5,000 of 9,000", missing(4000, 9000, only_oldest=True), {WINDOW, MANY}),
    # another disk
    ("one, on another disk", missing(1, 10, location="1:2", location_before="1:3"), {MOVED}),
    ("one, on the same disk", missing(1, 10, location="1:2", location_before="1:2"), set()),
    ("the place was not known", missing(1, 10, location="1:2"), set()),
    ("the place is not known", missing(1, 10, location_before="1:2"), set()),
    ("another disk, and nothing missing", missing(0, 10, location="1:2", location_before="1:3"), set()),
    # a whole mailbox, which was asked for: small ones go
    ("a mailbox of 25 vanished", missing(25, 25, whole=True), set()),
    ("a mailbox of 26 vanished", missing(26, 26, whole=True), {VANISHED}),
    # many mailboxes, each just below its own limit
    ("20 of 30 here, 400 of 600 in all", missing(20, 30, pair=PairTotal(400, 600)), {PAIR}),
    ("20 of 30 here, 300 of 600 in all", missing(20, 30, pair=PairTotal(300, 600)), set()),
    ("1 of 30 here, 1,500 of 9,000 in all", missing(1, 30, pair=PairTotal(1500, 9000)), {PAIR}),
    ("nothing here, 400 of 600 in all", missing(0, 30, pair=PairTotal(400, 600)), set()),
    ("a pair of one mailbox", missing(30, 40, pair=PairTotal(30, 40)), {MANY}),
    # where people and servers empty: how much is left says nothing
    ("a trash of four, emptied", missing(4, 4, disposable=True), set()),
    ("a trash of 5,000, emptied", missing(5000, 5000, disposable=True), set()),
    ("half of a trash, and more", missing(40, 60, disposable=True), set()),
    ("the last of a trash", missing(3, 3, listed_before=400, disposable=True), set()),
    ("the newest 1,000 of a trash", missing(1, 1001, listed=1000, only_oldest=True, disposable=True), {WINDOW}),
    ("a trash on another disk", missing(9, 9, location="1:2", location_before="1:3", disposable=True), {MOVED}),
    ("a trash, and nothing elsewhere", missing(90, 90, disposable=True, pair=PairTotal(0, 100)), set()),
    ("a trash, and half of all else", missing(90, 90, disposable=True, pair=PairTotal(51, 100)), {PAIR}),
    ("a trash, and a little elsewhere", missing(90, 90, disposable=True, pair=PairTotal(9, 9)), set()),
    ("a small mailbox vanished with others", missing(9, 9, whole=True, pair=PairTotal(90, 99)), {PAIR}),
]  # fmt: skip


@pytest.mark.parametrize(("found", "signs"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_signs(found: Evidence, signs: set[Sign]) -> None:
    assert set(judge(found)) == signs


def test_an_explanation_says_how_many_where_and_why() -> None:
    found = missing(30, 40)
    why = explain(found, judge(found).values())
    assert why == (
        "30 messages that both sides held are missing on the right, and would be removed on the left: "
        "30 of 40 messages that both sides held"
    )
    one = explain(missing(1, 40), ["of that sort"])
    assert one.startswith("1 message that both sides held is missing on the right")


@pytest.mark.parametrize(("count", "rest"), [(3, "1, 2, 3"), (4000, " and 3,990 more")])
def test_a_refusal_names_some_of_the_messages(count: int, rest: str) -> None:
    error = refusal(INBOX, "why", [str(number) for number in range(1, count + 1)][: NAMED_MAX + 5], count)
    assert error.message.startswith("INBOX: why. Nothing was removed. They are: 1, 2, 3")
    assert error.message.endswith(rest)
    assert len(error.message) < 200
    assert "mailtwin approve" in error.hint
    assert (error.exit_code, error.scope) == (ExitCode.GUARD, Scope.MAILBOX)
