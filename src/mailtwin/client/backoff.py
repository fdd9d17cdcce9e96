"""When to try again after an error, if at all: exponential, with a cap, a bit of chance, and respect for what the
server asked (rule R16).

A refused login is never tried again by itself: that is how accounts get locked. Chance comes from outside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from mailtwin.errors import MailtwinError, Retry, ThrottledError

T = TypeVar("T")

_EXPONENT_MAX = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """The policy. The n-th failure in a row is followed by `first_s` * `factor` ** (n - 1), at most `cap_s`.

    `jitter`: how much of a pause is left to chance, so that many clients do not come back together. `throttled_s`:
    the least after a wish to pause that does not say how long. After `attempts_max` failures in a row it is over.
    """

    first_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 300.0
    jitter: float = 0.5
    throttled_s: float = 60.0
    attempts_max: int = 8

    def __post_init__(self) -> None:
        assert self.first_s > 0
        assert self.factor >= 1
        assert self.cap_s >= self.first_s
        assert 0 <= self.jitter <= 1

    def pause_s(self, error: MailtwinError, failures: int, chance: float) -> float | None:
        """How long to wait after the `failures`-th failure in a row (from 1); None: another attempt makes no sense.

        `chance` is from 0 to 1. A pause that the server named is kept to the end, however long it is.
        """
        assert failures >= 1
        assert 0 <= chance <= 1
        if error.retry is Retry.NEVER or failures > self.attempts_max:
            return None
        pause = min(self.first_s * self.factor ** min(failures - 1, _EXPONENT_MAX), self.cap_s)
        if not isinstance(error, ThrottledError):
            return pause * (1 - self.jitter * chance)
        least = self.throttled_s if error.pause_s is None else error.pause_s
        return max(pause, least) * (1 + self.jitter * chance)


async def persist(
    attempt: Callable[[], Awaitable[T]],
    policy: Backoff,
    *,
    sleep: Callable[[float], Awaitable[object]],
    chance: Callable[[], float],
) -> T:
    """The result of the first `attempt` that succeeds. Raises the last error when the policy says that it is over."""
    failures = 0
    while True:
        try:
            return await attempt()
        except MailtwinError as error:
            failures += 1
            pause_s = policy.pause_s(error, failures, chance())
            if pause_s is None:
                raise
        await sleep(pause_s)
