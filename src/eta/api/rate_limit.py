"""Rate limits per API key."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from time import monotonic

from eta.api.problem_details import ProblemError
from eta.domain.access import Principal

#: Seconds of each period that a rate may name.
_PERIOD_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


class TokenBuckets:
    """A bucket of tokens for each key: full at first, and refilled at a steady rate.

    ``rate`` such as ``1000/second`` is both the size of a bucket and what flows in. ``clock`` gives
    seconds and never goes back: the wall clock may be set while a caller waits.
    """

    def __init__(self, rate: str, clock: Callable[[], float]) -> None:
        size, _, period = rate.partition("/")
        self._seconds_to_fill = _PERIOD_SECONDS[period]
        self._seconds_per_token = self._seconds_to_fill / int(size)
        self._clock = clock
        #: When each key's bucket is full again.
        self._full_at: dict[str, float] = {}

    def take(self, key: str) -> float:
        """Takes a token and returns 0, or the seconds until there is one."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + self._seconds_per_token
        # Rounding errors must not cost a token.
        wait_seconds = full_at - now - self._seconds_to_fill
        if wait_seconds > self._seconds_per_token * 1e-3:
            return wait_seconds
        self._full_at[key] = full_at
        return 0.0


class RateLimiter:
    """Counts requests; ``rate`` limits each key, such as ``1000/second``.

    ``clock`` gives seconds and never goes back.
    """

    def __init__(self, rate: str, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._buckets = TokenBuckets(rate, clock)

    def count(self, principal: Principal) -> None:
        """Counts a request.

        Raises:
            ProblemError: 429 if the key exceeds its rate; it says when to try again.
        """
        if wait_seconds := self._buckets.take(principal.name):
            raise ProblemError(
                429,
                f"rate limit of {self._rate} exceeded; wait, or send larger requests",
                headers={"Retry-After": str(ceil(wait_seconds))},
            )
