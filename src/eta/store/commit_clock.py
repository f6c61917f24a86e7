"""The commit clock: strictly increasing times at which transactions become known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from eta.calendars.local_time import microseconds


class CommitClock:
    """The instants at which things become known, and those as of which they are told, in microseconds."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._last, self._in_flight, self._observed = 0, 0, 0

    def clock_now(self) -> int:
        """What the clock says."""
        return microseconds(self._clock())

    def begin(self) -> int:
        """The earliest stamp of a transaction that begins."""
        with self._lock:
            self._last = self._in_flight = max(microseconds(self._clock()), self._last + 1)
            return self._in_flight

    def end(self, commit_time: int) -> None:
        """The transaction is over, and what it wrote can be read."""
        with self._lock:
            self._last, self._in_flight = max(self._last, commit_time), 0

    def observe(self, last_commit_time: int) -> None:
        """What another process has written can be read."""
        with self._lock:
            self._observed = max(self._observed, last_commit_time)
            self._last = max(self._last, last_commit_time)

    def safe_now(self) -> int:
        """Now, or just before the transaction that is under way."""
        with self._lock:
            if self._in_flight:
                return max(self._in_flight - 1, self._observed)
            self._last = max(self._last, microseconds(self._clock()))
            return self._last
