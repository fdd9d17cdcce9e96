"""The arithmetic of an account's day: what counts, what fits, when it goes on and when it is done."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.engine.rationing import Use, alone_room, choose
from mailtwin.model import INBOX, Side
from mailtwin.model.traffic import DAY_S, NO_LIMITS, DailyLimits, Slot, Traffic, Way
from mailtwin.state import AccountRecord, LeftOver

NOW = 1_000_000.0
HOUR_S = 3600.0
LIMIT = 1000
SHARE = 900


def use(
    *slots: tuple[float, int], limit: int | None = LIMIT, left: int = 0, least: int = 1, way: Way = Way.DOWN
) -> Use:
    """An account that used so many bytes in slots that ended so many hours ago (a negative number: end in future)."""
    traffic = [
        Slot(NOW - hours * HOUR_S, Traffic(size, 0) if way is Way.DOWN else Traffic(0, size))
        for hours, size in slots
    ]
    waiting = (LeftOver("pair", INBOX, Side.LEFT, "me", way, 7, left, least),) if left else ()
    limits = DailyLimits(down=limit) if way is Way.DOWN else DailyLimits(up=limit)
    return Use(AccountRecord("me", NOW, NOW, NO_LIMITS, tuple(traffic), None, waiting), limits)


# used, room for copies, whether it is spent
STANDING = [
    ("nothing used", use(), 0, SHARE, False),
    ("nothing limited", use((1, 5_000), limit=None), 5_000, None, False),
    ("switched off", use((1, 5_000), limit=0), 5_000, None, False),
    ("some used", use((1, 100), (2, 200)), 300, 600, False),
    ("the share is used, looking goes on", use((1, 900)), 900, 0, False),
    ("more than the share", use((1, 950)), 950, 0, False),
    ("all is used", use((1, 1000)), 1000, 0, True),
    ("a day is over to the second", use((24, 1000)), 0, SHARE, False),
    ("a day is not over by a second", use((24 - 1 / 3600, 1000)), 1000, 0, True),
    ("a slot that has not ended counts", use((-0.1, 400)), 400, 500, False),
]


@pytest.mark.parametrize(
    ("stands", "used", "room", "spent"), [row[1:] for row in STANDING], ids=[r[0] for r in STANDING]
)
def test_how_an_account_stands(stands: Use, used: int, room: int | None, spent: bool) -> None:
    assert stands.used(Way.DOWN) == used
    assert stands.room(Way.DOWN) == room
    assert stands.is_spent(Way.DOWN) is spent
    assert stands.used(Way.UP) == 0
    assert stands.room(Way.UP) is None
    assert not stands.is_spent(Way.UP)


# when copying goes on and when it is done, in hours from now
MOMENTS = [
    ("nothing waits, nothing used", use(), 0, 0),
    ("there is room", use((1, 100), left=50), 0, 0),
    ("room for a quarter of the share is enough", use((1, 675), left=500), 0, 23),
    ("and less is not", use((1, 676), left=500), 23, 23),
    ("what waits is less than a quarter", use((1, 880), left=20), 0, 0),
    ("the older slot goes first", use((10, 300), (2, 600), left=250), 14, 14),
    ("and is not enough for the smallest", use((10, 300), (2, 600), left=400, least=400), 22, 22),
    ("one that is larger than a day", use((10, 300), (2, 600), left=2000, least=2000), 22, 22 + 48),
    ("exactly a day's share", use((6, 900), left=900), 18, 18),
    ("one byte more", use((6, 900), left=901), 18, 18 + 24),
    ("ten days", use((6, 900), left=9_000), 18, 18 + 9 * 24),
    ("no limit", use((1, 900), left=5_000, limit=None), 0, 0),
]


@pytest.mark.parametrize(
    ("stands", "goes_on", "done"), [row[1:] for row in MOMENTS], ids=[r[0] for r in MOMENTS]
)
def test_when_it_goes_on_and_is_done(stands: Use, goes_on: float, done: float) -> None:
    assert stands.goes_on_s(Way.DOWN) == NOW + goes_on * HOUR_S
    assert stands.done_s(Way.DOWN) == NOW + done * HOUR_S


def test_the_ways_are_told_apart() -> None:
    stands = use((1, 1000), left=10, way=Way.UP)
    assert stands.is_spent(Way.UP)
    assert not stands.is_spent(Way.DOWN)
    assert stands.left(Way.UP) == (7, 10)
    assert stands.left(Way.DOWN) == (0, 0)


def test_what_a_person_says_holds_and_zero_is_no_limit() -> None:
    provider = DailyLimits(down=5, up=6)
    assert DailyLimits().or_else(provider) == provider
    assert DailyLimits(down=1).or_else(provider) == DailyLimits(1, 6)
    off = DailyLimits(down=0, up=0).or_else(provider)
    assert (off.of(Way.DOWN), off.of(Way.UP)) == (None, None)


# sizes, room, share, messages at most, bytes at most -> positions
CHOICES = [
    ("all fit", [1, 2, 3], 10, SHARE, 9, 99, (0, 1, 2)),
    ("no limit", [10**9, 2, 3], None, None, 9, 10**10, (0, 1, 2)),
    ("those that fit", [5, 6, 5], 10, SHARE, 9, 99, (0, 2)),
    ("to the byte", [5, 5], 10, SHARE, 9, 99, (0, 1)),
    ("none", [5, 6], 4, SHARE, 9, 99, ()),
    ("as many as a batch holds", [1, 1, 1], 10, SHARE, 2, 99, (0, 1)),
    ("as large as a batch may be", [6, 6, 6], 100, SHARE, 9, 12, (0, 1)),
    ("one larger than a batch is a batch", [50, 1], 100, SHARE, 9, 12, (0,)),
    ("larger than a day, and the day is used", [2000], 500, SHARE, 9, 99, ()),
    ("larger than a day, and hardly anything is used", [2000, 3000], alone_room(SHARE), SHARE, 9, 99, (0,)),
    ("smaller ones first", [2000, 5], SHARE, SHARE, 9, 99, (1,)),
    ("nothing waits", [], 10, SHARE, 9, 99, ()),
]


@pytest.mark.parametrize(
    ("sizes", "room", "share", "messages", "size", "taken"),
    [row[1:] for row in CHOICES],
    ids=[r[0] for r in CHOICES],
)
def test_what_is_copied_next(
    sizes: list[int], room: int | None, share: int | None, messages: int, size: int, taken: tuple[int, ...]
) -> None:
    choice = choose(sizes, room, share, messages_max=messages, bytes_max=size)
    assert choice.taken == taken
    assert choice.size == sum(sizes[position] for position in taken)


SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=40)


@given(SIZES, st.integers(10, 500), st.lists(st.tuples(st.floats(0, 23.9), st.integers(0, 300)), max_size=6))
def test_whoever_comes_at_these_moments_copies_all_in_time(
    sizes: list[int], limit: int, before: list[tuple[float, int]]
) -> None:
    """A run at each moment that is foretold takes something, no day exceeds its share but for messages larger than
    that, and a world in which every message is small is done when it was said."""
    slots = sorted((NOW - hours * HOUR_S, size) for hours, size in before)
    waiting, now = list(sizes), NOW
    said = math.inf
    for _ in range(3 * len(sizes) + 10):
        left = (LeftOver("p", INBOX, Side.LEFT, "me", Way.DOWN, len(waiting), sum(waiting), min(waiting)),)
        counted = tuple(Slot(ends, Traffic(size, 0)) for ends, size in slots if ends + DAY_S > now)
        stands = Use(AccountRecord("me", now, now, NO_LIMITS, counted, None, left), DailyLimits(down=limit))
        share = stands.share(Way.DOWN)
        assert share is not None
        if now == NOW:
            said = stands.done_s(Way.DOWN)
        goes_on = stands.goes_on_s(Way.DOWN)
        assert goes_on <= stands.done_s(Way.DOWN)
        if goes_on > now:
            now = goes_on
            continue
        choice = choose(waiting, stands.room(Way.DOWN), share, messages_max=500, bytes_max=10**9)
        if not choice.taken:
            # A larger message behind the smallest may have to wait for the slots to come.
            now = min(slot.ends_s for slot in counted) + DAY_S
            continue
        room = stands.room(Way.DOWN)
        assert room is not None
        assert choice.size <= room or (len(choice.taken) == 1 and choice.size > alone_room(share))
        slots.append((now, choice.size))
        waiting = [size for position, size in enumerate(waiting) if position not in choice.taken]
        if not waiting:
            break
    assert not waiting
    assert now <= said + DAY_S or max(sizes) > limit // 10, (
        "small messages are done within a day of what was said"
    )
