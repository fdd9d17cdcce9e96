"""What the audit of the fault suite counts, row by row: copies of one letter on the left and on the right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailtwin.testing.faults.audit import Counts, Expected, audit
from mailtwin.testing.faults.sides import Contents, found
from mailtwin.testing.faults.tools import Held

BODY = b"X-Letter: 7\r\nSubject: hi\r\n\r\nhello\r\n"
ONE = found("INBOX", "1", BODY, ["\\Seen"])
AGAIN = replace(ONE, handle="2")
OTHER = replace(ONE, body=BODY.replace(b"hello", b"hullo"))
MARKED = replace(ONE, body=b"X-TUID: abc\r\n" + BODY)
UNSEEN = replace(ONE, flags=frozenset())
ELSEWHERE = replace(ONE, mailbox="Work")
NOBODYS = found("INBOX", "9", b"Subject: hi\r\n\r\n", [])


def expected(*, removed: bool = False) -> Expected:
    made = Expected()
    made.add([ONE])
    if removed:
        made.removed.add(7)
    return made


@pytest.mark.parametrize(
    ("left", "right", "counts"),
    [
        ([ONE], [ONE], Counts()),
        ([], [], Counts(lost=1)),
        ([ONE], [], Counts(stuck=1)),
        ([], [ONE], Counts(stuck=1)),
        ([ONE], [ONE, AGAIN], Counts(doubled=1)),
        ([ONE, AGAIN], [ONE, AGAIN], Counts(doubled=2)),
        ([ONE], [ONE, ELSEWHERE], Counts(doubled=1)),
        ([ONE], [OTHER], Counts(altered=1)),
        ([ONE], [MARKED], Counts(marked=1)),
        ([ONE], [UNSEEN], Counts(flags=1)),
        ([ONE], [ONE, NOBODYS], Counts(altered=1)),
    ],
)
def test_counts(left: Contents, right: Contents, counts: Counts) -> None:
    assert audit(expected(), left, right, marks=[b"X-TUID"]) == counts


@pytest.mark.parametrize(
    ("left", "right", "counts"),
    [([], [], Counts()), ([ONE], [], Counts(stuck=1)), ([ONE], [ONE], Counts(undone=1))],
)
def test_counts_of_a_letter_that_was_removed(left: Contents, right: Contents, counts: Counts) -> None:
    assert audit(expected(removed=True), left, right) == counts


def test_what_a_tool_confesses_is_refused_and_not_stuck() -> None:
    assert audit(expected(), [ONE], [], confessed=True) == Counts(refused=1)
    assert audit(expected(), [], [], confessed=True) == Counts(lost=1)


def test_what_is_held_counts_as_nothing_else() -> None:
    extra = Held("INBOX", on_left=False, ref="2", is_extra=True)
    assert audit(expected(), [ONE], [ONE, AGAIN], held=[extra]) == Counts(held=1)
    assert audit(expected(), [ONE, AGAIN], [ONE], held=[extra]) == Counts(doubled=1, held=1)
    missing = Held("INBOX", on_left=True, ref="1", is_extra=False)
    assert audit(expected(), [ONE], [], held=[missing]) == Counts(held=1)
    assert audit(expected(), [], [ONE], held=[missing]) == Counts(stuck=1, held=1)


def test_a_mark_that_is_not_known_alters() -> None:
    assert audit(expected(), [ONE], [MARKED]) == Counts(altered=1)


def test_harm_is_what_must_never_be() -> None:
    assert Counts(1, 2, 3, 9, 9, 9, 9, 9, 9).harm == 6
