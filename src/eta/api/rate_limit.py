"""How much is taken on: so much from one key in a time, and so much of one kind at once.

What matters most is refused last: scans before checkouts, checkouts before scores, scores before
reading.
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

#: Requests of a kind that may be at work or waiting.
CONCURRENCY_LIMITS: dict[WorkKind, int] = {
    "ingest": 1_000,
    "checkout": 500,
    "score": 50,
    "read": 100,
}


class RateLimiter:
    """What is at work; ``rate`` is how much one key may ask, such as ``1000/second``."""

    def __init__(self, rate: str) -> None:
        self._limit, self._limiter = parse(rate), FixedWindowRateLimiter(MemoryStorage())
        self._in_progress: dict[WorkKind, int] = dict.fromkeys(CONCURRENCY_LIMITS, 0)

    @contextmanager
    def acquire(self, kind: WorkKind, principal: Principal) -> Iterator[None]:
        """Takes a request on.

        Raises:
            Refused: 429 if the key asks too often, 503 if too much of the kind is at work; both say
                when to try again.
        """
        if not self._limiter.hit(self._limit, principal.name):
            wait = max(
                int(self._limiter.get_window_stats(self._limit, principal.name).reset_time - time())
                + 1,
                1,
            )
            raise ProblemError(
                429,
                f"the key asks more often than {self._limit}; wait, or send more in one request",
                headers={"Retry-After": str(wait)},
            )
        if self._in_progress[kind] >= CONCURRENCY_LIMITS[kind]:
            raise ProblemError(
                503,
                f"too many requests of the kind {kind} are at work; try again",
                headers={"Retry-After": "1"},
            )
        self._in_progress[kind] += 1
        try:
            yield
        finally:
            self._in_progress[kind] -= 1
