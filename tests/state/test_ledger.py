"""The ledger of accounts: what counts for a day, what is reserved, what waits; several writers, kill -9, clocks."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mailtwin.errors import StateError
from mailtwin.model import INBOX, MailboxName, Side
from mailtwin.model.traffic import DAY_S, NO_LIMITS, NO_TRAFFIC, DailyLimits, Traffic, Way
from mailtwin.state import Ledger, LeftOver, Rest
from mailtwin.state.ledger import SLOT_S

ME = "me@example.org@imap.example.org"
START = 1_600_000_000.0


class Clock:
    """The machine's clock, set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def used(ledger: Ledger, account: str = ME) -> Traffic:
    return sum((slot.traffic for slot in ledger.account(account).slots), NO_TRAFFIC)


def open_at(path: Path, clock: Clock) -> Ledger:
    return Ledger.open(path / "accounts.ledger", now=clock)


def test_an_account_that_was_never_met_has_used_nothing(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        record = ledger.account(ME)
        assert (record.slots, record.rest, record.left, record.limits) == ((), None, (), NO_LIMITS)
        assert record.now_s == record.clock_s == START


def test_what_was_used_counts_for_a_day_and_no_longer(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, Traffic(100, 7))
        clock.now += SLOT_S
        ledger.charge(ME, Traffic(50, 0))
        assert used(ledger) == Traffic(150, 7)
        clock.now = START + DAY_S - 1
        assert used(ledger) == Traffic(150, 7)
        clock.now = START + DAY_S + SLOT_S
        assert used(ledger) == Traffic(50, 0)
        clock.now = START + DAY_S + 2 * SLOT_S
        assert used(ledger) == NO_TRAFFIC


def test_accounts_are_counted_apart_and_two_writers_together(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as one, open_at(tmp_path, clock) as two:
        one.charge(ME, Traffic(1, 0))
        two.charge(ME, Traffic(2, 0), ahead=Traffic(40, 0))
        one.charge("other", Traffic(3, 0))
        assert used(one) == used(two) == Traffic(43, 0)
        assert used(two, "other") == Traffic(3, 0)
        two.charge(ME, Traffic(5, 0))
        assert used(one) == Traffic(8, 0)


def test_what_is_ahead_is_taken_back_from_where_it_was_noted(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, NO_TRAFFIC, ahead=Traffic(1000, 1000))
        clock.now += 3 * SLOT_S
        ledger.charge(ME, Traffic(900, 10), ahead=Traffic(500, 0))
        assert used(ledger) == Traffic(1400, 10)
        clock.now += 2 * DAY_S
        ledger.charge(ME, Traffic(7, 0))
        assert used(ledger) == Traffic(7, 0), "taken back twice"


def test_who_did_not_come_back_has_used_what_was_ahead(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, Traffic(1, 0), ahead=Traffic(100, 0))
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, Traffic(1, 0))
        assert used(ledger) == Traffic(102, 0)


@pytest.mark.parametrize("jump", [-365 * DAY_S, -1.0, 365 * DAY_S])
def test_a_clock_that_jumps_gives_no_more_than_two_days_back(
    tmp_path: Path, clock: Clock, jump: float
) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, Traffic(100, 0))
        clock.now += jump
        if jump < 0:
            assert used(ledger) == Traffic(100, 0)
            clock.now += DAY_S / 2
            assert used(ledger) == Traffic(100, 0)
        ledger.charge(ME, Traffic(1, 0))
        record = ledger.account(ME)
        assert 0 <= record.now_s - START <= 2 * DAY_S
        assert record.on_the_clock(record.now_s + 60) == clock.now + 60
        clock.now += 2 * DAY_S + SLOT_S
        assert used(ledger) == NO_TRAFFIC


@pytest.mark.parametrize("days", [1.1, 2, 7, 400])
def test_after_days_without_a_run_nothing_counts(tmp_path: Path, clock: Clock, days: float) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.charge(ME, Traffic(100, 0))
        clock.now += days * DAY_S
        assert used(ledger) == NO_TRAFFIC


def test_a_rest_ends_with_its_time_or_a_login(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.learn_limits(ME, DailyLimits(5, 6))
        ledger.rest(ME, 3600.0, "Suggested Backoff Time")
        assert ledger.account(ME).rest == Rest(START + 3600.0, "Suggested Backoff Time")
        assert ledger.account(ME).limits == DailyLimits(5, 6)
        clock.now += 3599
        assert ledger.account(ME).rest is not None
        clock.now += 1
        assert ledger.account(ME).rest is None
        ledger.rest(ME, 3600.0, "again")
        ledger.learn_limits(ME, DailyLimits(7, None))
        assert ledger.account(ME).rest is None
        assert ledger.account(ME).limits == DailyLimits(7, None)


def test_what_waits_is_told_by_account_and_by_pair(tmp_path: Path, clock: Clock) -> None:
    odd = MailboxName(("a/b", "\udcff"))
    left = LeftOver("p", odd, Side.LEFT, ME, Way.DOWN, 3, 100, 20)
    right = LeftOver("p", odd, Side.RIGHT, ME, Way.UP, 1, 5, 5)
    other = LeftOver("q", INBOX, Side.LEFT, ME, Way.DOWN, 2, 50, 20)
    with open_at(tmp_path, clock) as ledger:
        ledger.leave("p", odd, [left, right])
        ledger.leave("q", INBOX, [other])
        assert ledger.account(ME).left == (left, right, other)
        assert ledger.left_of("p") == [left, right]
        ledger.leave("p", odd, [left])
        assert ledger.left_of("p") == [left]
        ledger.leave("p", odd, [])
        assert ledger.account(ME).left == (other,)


_KILLED = """
import os, signal, sys
from pathlib import Path
from mailtwin.model.traffic import Traffic
from mailtwin.state import Ledger
ledger = Ledger.open(Path(sys.argv[1]), now=lambda: float(sys.argv[2]))
for _ in range(10):
    ledger.charge("me", Traffic(1000, 0), ahead=Traffic(1000, 0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_has_used_what_was_noted(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "accounts.ledger"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path), str(START)], check=False)
    assert done.returncode == -signal.SIGKILL
    found = Ledger.read_only(path, now=clock)
    assert found is not None
    with found:
        assert used(found, "me") == Traffic(11_000, 0)


_CROWD = """
import sys
from pathlib import Path
from mailtwin.model.traffic import Traffic
from mailtwin.state import Ledger
sys.stdin.readline()
with Ledger.open(Path(sys.argv[1]), now=lambda: float(sys.argv[2])) as ledger:
    for _ in range(10):
        ledger.charge("me", Traffic(1, 0), ahead=Traffic(1000, 0))
    ledger.charge("me", Traffic(0, 0))
"""


def test_several_programs_make_it_and_write_to_it_at_once(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "accounts.ledger"
    command = [sys.executable, "-c", _CROWD, str(path), str(START)]
    crowd = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for one in crowd:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.close()
    assert [one.wait(60) for one in crowd] == [0] * len(crowd)
    with Ledger.open(path, now=clock) as ledger:
        assert used(ledger, "me") == Traffic(10 * len(crowd), 0)


def test_looking_creates_nothing(tmp_path: Path, clock: Clock) -> None:
    assert Ledger.read_only(tmp_path / "accounts.ledger", now=clock) is None
    assert list(tmp_path.iterdir()) == []


def test_another_database_is_refused(tmp_path: Path, clock: Clock) -> None:
    with sqlite3.connect(tmp_path / "accounts.ledger") as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    with pytest.raises(StateError, match="not a ledger"):
        open_at(tmp_path, clock)
    with pytest.raises(StateError, match="not a ledger"):
        Ledger.read_only(tmp_path / "accounts.ledger", now=clock)


def test_a_damaged_one_says_what_is_lost_with_it(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "accounts.ledger").write_bytes(b"no database at all, and long enough to be looked at" * 20)
    with pytest.raises(StateError) as caught:
        open_at(tmp_path, clock)
    assert "forgotten" in caught.value.hint


def test_a_value_that_was_never_written_is_damage(tmp_path: Path, clock: Clock) -> None:
    with open_at(tmp_path, clock) as ledger:
        ledger.leave("p", INBOX, [LeftOver("p", INBOX, Side.LEFT, ME, Way.DOWN, 3, 100, 20)])
    with sqlite3.connect(tmp_path / "accounts.ledger") as connection:
        connection.execute("UPDATE left_over SET way = 'sideways'")
    connection.close()
    with open_at(tmp_path, clock) as ledger, pytest.raises(StateError, match="never written"):
        ledger.account(ME)
