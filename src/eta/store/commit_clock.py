"""The commit clock: strictly increasing times at which transactions are recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from eta.calendars.local_time import microseconds


class CommitClock:
    """Commit times of transactions and safe moments for readers, in microseconds."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._in_flight = 0
        self._observed = 0

    def begin(self) -> int:
        """Returns the earliest commit time of a transaction that begins."""
        with self._lock:
            self._in_flight = max(microseconds(self._clock()), self._last + 1)
            self._last = self._in_flight
            return self._in_flight

    def end(self, commit_time: int) -> None:
        """Ends the transaction: readers can read what it wrote."""
        with self._lock:
            self._last = max(self._last, commit_time)
            self._in_flight = 0

    def observe(self, last_commit_time: int) -> None:
        """Takes note of a transaction of another process, which readers can read."""
        with self._lock:
            self._observed = max(self._observed, last_commit_time)
            self._last = max(self._last, last_commit_time)

    def safe_now(self) -> int:
        """Returns now, or the moment before the transaction in flight."""
        with self._lock:
            if self._in_flight:
                return max(self._in_flight - 1, self._observed)
            self._last = max(self._last, microseconds(self._clock()))
            return self._last
