"""The pauses between attempts, as a table and as properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtwin.client.backoff import Backoff, persist
from mailtwin.errors import (
    LoginError,
    MailtwinError,
    RemoteProtocolError,
    ThrottledError,
    TlsError,
    UnreachableError,
)
from mailtwin.imap.sasl import Unproven

LOST = UnreachableError("lost")
POLICY = Backoff(first_s=1, factor=2, cap_s=10, jitter=0.5, throttled_s=60, attempts_max=6)

ROWS: list[tuple[MailtwinError, int, float, float | None]] = [
    (LOST, 1, 0, 1),
    (LOST, 2, 0, 2),
    (LOST, 4, 0, 8),
    (LOST, 5, 0, 10),
    (LOST, 6, 0, 10),
    (LOST, 7, 0, None),
    (LOST, 2, 1, 1),
    (LOST, 2, 0.5, 1.5),
    (RemoteProtocolError("x"), 1, 0, 1),
    (ThrottledError("slow"), 1, 0, 60),
    (ThrottledError("slow"), 1, 1, 90),
    (ThrottledError("slow", pause_s=300), 1, 0, 300),
    (ThrottledError("slow", pause_s=300), 1, 1, 450),
    (ThrottledError("slow", pause_s=0.1), 3, 0, 4),
    (LoginError("no"), 1, 0, None),
    (TlsError("no"), 1, 0, None),
    (Unproven("no"), 1, 0, None),
]


@pytest.mark.parametrize(("error", "failures", "chance", "pause_s"), ROWS)
def test_pauses(error: MailtwinError, failures: int, chance: float, pause_s: float | None) -> None:
    assert POLICY.pause_s(error, failures, chance) == pause_s


@given(
    st.integers(1, 10_000),
    st.floats(0, 1),
    st.floats(0.001, 100),
    st.floats(1, 10),
    st.floats(0, 86400) | st.none(),
)
def test_no_pause_is_endless_and_none_is_shorter_than_asked(
    failures: int, chance: float, first_s: float, factor: float, hint_s: float | None
) -> None:
    policy = Backoff(first_s=first_s, factor=factor, cap_s=300, attempts_max=10_000)
    pause = policy.pause_s(LOST, failures, chance)
    assert pause is not None
    assert 0 < pause <= 300
    throttled = policy.pause_s(ThrottledError("x", pause_s=hint_s), failures, chance)
    assert throttled is not None
    assert math.isfinite(throttled)
    assert throttled >= (60 if hint_s is None else hint_s)


class Attempts:
    """Fails with each of the errors in turn, then succeeds."""

    def __init__(self, *errors: MailtwinError) -> None:
        self.errors = list(errors)
        self.slept: list[float] = []

    async def attempt(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, pause_s: float) -> None:
        self.slept.append(pause_s)

    async def persist(self) -> str:
        return await persist(self.attempt, POLICY, sleep=self.sleep, chance=lambda: 0.0)


async def test_persisting() -> None:
    attempts = Attempts(LOST, ThrottledError("x", pause_s=99), LOST)
    assert await attempts.persist() == "done"
    assert attempts.slept == [1, 99, 4]


async def test_a_refused_login_is_not_repeated() -> None:
    attempts = Attempts(LOST, LoginError("no"), LOST)
    with pytest.raises(LoginError):
        await attempts.persist()
    assert attempts.slept == [1]
    assert len(attempts.errors) == 1


async def test_giving_up() -> None:
    attempts = Attempts(*[LOST] * 20)
    with pytest.raises(UnreachableError):
        await attempts.persist()
    assert len(attempts.slept) == POLICY.attempts_max


@pytest.mark.parametrize(
    "wrong", [{"first_s": 0}, {"factor": 0.5}, {"cap_s": 0.1}, {"jitter": 2}, {"jitter": -1}]
)
def test_policies_that_are_none(wrong: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        Backoff(**wrong)  # type: ignore[arg-type]
