"""The commit clock: strictly increasing times at which transactions are recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from eta.calendars.local_time import microseconds
from eta.domain.errors import ClockRefused
from eta.store.clock_guard import MAX_CLOCK_ERROR, ClockGuard, ClockProblem, ClockReading


class CommitClock:
    """Commit times of transactions and safe moments for readers, in microseconds.

    ``guard`` judges the clock before anything is recorded. Without one the clock is trusted, as one
    that is simulated. A database that several processes write to has a clock of its own, which
    decides: ``judge_database`` and ``observe_database`` receive its time.
    """

    def __init__(self, clock: Callable[[], datetime], guard: ClockGuard | None = None) -> None:
        self._clock = clock
        self._guard = guard
        self._lock = threading.Lock()
        self._last = 0
        self._in_flight = 0
        self._observed = 0
        #: What the guard made of the database's clock the last time.
        self._database_reading: ClockReading | None = None

    def start(self, last_commit_time: int, database_time: int | None = None) -> None:
        """Begins after the last transaction that is recorded."""
        self._last = last_commit_time
        if self._guard:
            self._guard.start(last_commit_time)
        reading = self._judge(self._wall() if database_time is None else database_time)
        if database_time is not None:
            self._database_reading = reading
        if self._guard and not reading.problem:
            # If the clock is set back now, what follows is recorded after the start.
            self._last = max(self._last, reading.wall)

    @property
    def is_interrupted(self) -> bool:
        """Whether a commit must record that the clock has not run on without a break."""
        return self._guard is not None and self._guard.is_interrupted

    def record_uninterrupted(self) -> None:
        """Takes note that a commit has recorded an interruption, if there was one."""
        if self._guard:
            self._guard.clear_interruption()

    def accept(self) -> None:
        """Trusts the clock from now on, because an operator has checked it."""
        if self._guard:
            self._guard.accept(self._wall())

    def reading(self) -> ClockReading:
        """Returns what the clock that decides shows, and whether it can be trusted."""
        return self._database_reading or self._peek()

    def lead(self) -> int:
        """Returns how far this machine's clock is ahead of the time that is expected of it."""
        reading = self._peek()
        return reading.wall - reading.expected

    def answer_time(self) -> int:
        """Returns the time for answers that nothing is recorded of; it does not jump ahead."""
        reading = self._peek()
        return reading.expected if reading.problem is ClockProblem.AHEAD else reading.wall

    def begin(self) -> int:
        """Begins a transaction; returns its earliest commit time.

        Raises:
            ClockRefused: if this machine's clock decides and cannot be trusted.
        """
        if self._database_reading:
            return self._last + 1
        reading = _require_trusted(self._judge(self._wall()))
        with self._lock:
            self._in_flight = max(reading.wall, self._last + 1)
            self._last = self._in_flight
            return self._in_flight

    def judge_database(self, database_time: int) -> None:
        """Judges the time that the database's clock shows within a transaction.

        Raises:
            ClockRefused: if it cannot be trusted, or this machine's clock differs from it.
        """
        wall = self._wall()
        self._database_reading = self._judge(database_time)
        if abs(wall - database_time) > MAX_CLOCK_ERROR:
            self._database_reading = ClockReading(wall, database_time, ClockProblem.OFF)
        _require_trusted(self._database_reading)

    def end(self, commit_time: int) -> None:
        """Ends the transaction: readers can read what it wrote."""
        with self._lock:
            self._last = max(self._last, commit_time)
            self._in_flight = 0

    def observe(self, last_commit_time: int) -> None:
        """Takes note of a transaction of another process, which readers can read."""
        if self._guard:
            self._guard.observe_commit(last_commit_time)
        with self._lock:
            self._observed = max(self._observed, last_commit_time)
            self._last = max(self._last, last_commit_time)

    def observe_database(self, last_commit_time: int, time: int, is_writing: bool) -> int:
        """Returns a safe moment by the database's clock.

        ``is_writing``: a transaction may still be recorded at or before ``time``.
        """
        self.observe(last_commit_time)
        trusted = self._judge(time).trusted
        with self._lock:
            if not is_writing:
                self._last = max(self._last, trusted)
            return self._last

    def safe_now(self) -> int:
        """Returns now, or the moment before the transaction in flight."""
        reading = self._peek()
        with self._lock:
            if self._in_flight:
                return max(self._in_flight - 1, self._observed)
            self._last = max(self._last, reading.trusted)
            return self._last

    def _wall(self) -> int:
        return microseconds(self._clock())

    def _peek(self) -> ClockReading:
        wall = self._wall()
        return self._guard.peek(wall) if self._guard else ClockReading(wall, wall)

    def _judge(self, wall: int) -> ClockReading:
        return self._guard.judge(wall) if self._guard else ClockReading(wall, wall)


def _require_trusted(reading: ClockReading) -> ClockReading:
    if reading.is_refused:
        raise ClockRefused(reading.describe())
    return reading
