"""Rate limits per API key and concurrency limits per kind of request.

The concurrency limits are highest for what matters most: events, then estimates, then scores, then
reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Literal

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from eta.api.problem_details import ProblemError
from eta.domain.access import Principal

WorkKind = Literal["ingest", "checkout", "score", "read"]

#: How many requests of a kind may run or wait.
CONCURRENCY_LIMITS: dict[WorkKind, int] = {
    "ingest": 1_000,
    "checkout": 500,
    "score": 50,
    "read": 100,
}


class RateLimiter:
    """Counts requests; ``rate`` limits each key, such as ``1000/second``."""

    def __init__(self, rate: str) -> None:
        self._limit = parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._in_progress: dict[WorkKind, int] = dict.fromkeys(CONCURRENCY_LIMITS, 0)

    @contextmanager
    def acquire(self, kind: WorkKind, principal: Principal) -> Iterator[None]:
        """Admits a request.

        Raises:
            ProblemError: 429 if the key exceeds its rate, 503 if too many requests of the kind are
                in progress; both say when to try again.
        """
        if not self._limiter.hit(self._limit, principal.name):
            window = self._limiter.get_window_stats(self._limit, principal.name)
            seconds_left = int(window.reset_time - time()) + 1
            raise ProblemError(
                429,
                f"rate limit of {self._limit} exceeded; wait, or send larger requests",
                headers={"Retry-After": str(max(seconds_left, 1))},
            )
        if self._in_progress[kind] >= CONCURRENCY_LIMITS[kind]:
            raise ProblemError(
                503,
                f"too many concurrent requests of kind {kind}; try again",
                headers={"Retry-After": "1"},
            )
        self._in_progress[kind] += 1
        try:
            yield
        finally:
            self._in_progress[kind] -= 1
