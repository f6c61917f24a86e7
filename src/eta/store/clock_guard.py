"""The clock guard: whether the wall clock can be trusted with the times of what is recorded.

A wall clock can be wrong for a moment: a virtual machine resumes, a time server errs, somebody sets
it. What is recorded meanwhile would have a time in the future for ever. So the wall clock is
compared with a steady clock, which nobody sets, and at the start with the last commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from eta.calendars.local_time import from_microseconds

SECOND = 1_000_000
_DAY = 86_400 * SECOND
#: How far the wall clock may differ from the time by the steady clock, or from the database's.
MAX_CLOCK_ERROR = 60 * SECOND
#: The longest time between the last commit and a start after which the clock counts as one that ran
#: on without a break. A service that is up writes at least once an hour.
MAX_RESTART_GAP = 2 * 3_600 * SECOND
#: How long a service may have been down whose clock is behind at its start.
_MAX_UNNOTICED_IDLE = 14 * _DAY
#: How fast, as a share of the time that passes, two sound clocks may drift apart.
_DRIFT = 2e-4


class ClockProblem(Enum):
    """What is wrong with the wall clock."""

    #: It runs ahead of the steady clock: writes are refused.
    AHEAD = "ahead"
    #: It was far ahead of the last commit at the start: writes are refused until it is accepted.
    IDLE = "idle"
    #: It differs from the database's clock: writes are refused.
    OFF = "off"
    #: It is behind the last commit or the steady clock. Commit times stand still meanwhile.
    BEHIND = "behind"


@dataclass(frozen=True)
class ClockReading:
    """The wall clock's time and what the guard makes of it; in microseconds since 1970 in UTC."""

    wall: int
    #: The time by another clock: the steady clock, the last commit, or the database.
    expected: int
    problem: ClockProblem | None = None

    @property
    def latest(self) -> int:
        """The latest time that it may be now: a clock that is behind says little about it."""
        slack = _MAX_UNNOTICED_IDLE if self.problem is ClockProblem.BEHIND else 0
        return max(self.wall, self.expected) + slack

    @property
    def is_refused(self) -> bool:
        """Whether nothing may be recorded."""
        return self.problem not in (None, ClockProblem.BEHIND)

    @property
    def trusted(self) -> int:
        """The time to go on with: the wall clock's, unless it is refused."""
        return self.expected if self.is_refused else self.wall

    def describe(self) -> str:
        """What is wrong, with both times, and what to do; empty if nothing is."""
        if self.problem is None:
            return ""
        seconds = abs(self.wall - self.expected) // SECOND
        return _DESCRIPTIONS[self.problem].format(
            wall=_text(self.wall),
            expected=_text(self.expected),
            seconds=seconds,
            days=seconds // 86_400,
        )


_DESCRIPTIONS = {
    ClockProblem.AHEAD: (
        "the clock shows {wall}, {seconds} seconds ahead of {expected}, the time by the steady"
        " clock; nothing is recorded until the clock is right; if it is right now, restart eta"
    ),
    ClockProblem.IDLE: (
        "the clock shows {wall}, {days} days ahead of {expected}, the time by the last commit;"
        " nothing is recorded until the clock is accepted: check it, then run eta once with"
        " --accept-clock"
    ),
    ClockProblem.OFF: (
        "the clock shows {wall}, {seconds} seconds from {expected}, the time of the database;"
        " nothing is recorded until both agree: set the clock that is wrong"
    ),
    ClockProblem.BEHIND: (
        "the clock shows {wall}, {seconds} seconds behind {expected}, the time of the last commit"
        " or by the steady clock; set the clock right; if it is right, restart eta, and if that"
        " does not help, run `eta repair --clock`"
    ),
}


def _text(instant: int) -> str:
    return from_microseconds(instant).isoformat(timespec="seconds").replace("+00:00", "Z")


class ClockGuard:
    """Compares the wall clock with a steady one since the start, and with the last commit before.

    ``steady`` gives seconds since any moment; it is never set, and counts also while the machine
    sleeps. ``max_idle_days`` is how far the clock may be ahead of the last commit at the start.
    """

    def __init__(self, steady: Callable[[], float], max_idle_days: int) -> None:
        self._steady = steady
        self._max_idle = max_idle_days * _DAY
        self._lock = threading.Lock()
        #: A trusted moment by both clocks; None until the wall clock has been trusted once.
        self._anchor: tuple[int, int] | None = None
        self._last_commit_time = 0
        self._started = self._now_steady()
        self._is_interrupted = False
        self._was_wrong = False

    def start(self, last_commit_time: int) -> None:
        """Begins to judge: the store was last written at ``last_commit_time``, 0 for never."""
        with self._lock:
            self._anchor = None
            self._last_commit_time = last_commit_time
            self._started = self._now_steady()

    def observe_commit(self, commit_time: int) -> None:
        """Takes note of a commit of another process, which had accepted the clock."""
        with self._lock:
            if self._anchor is None and commit_time > self._last_commit_time:
                self._last_commit_time = commit_time
                self._started = self._now_steady()

    def accept(self, wall: int) -> None:
        """Trusts the wall clock from now on, because an operator has checked it."""
        with self._lock:
            self._anchor = (wall, self._now_steady())
            self._is_interrupted = True

    def peek(self, wall: int) -> ClockReading:
        """Judges a time that the wall clock shows now, and changes nothing."""
        with self._lock:
            return self._read(wall, self._now_steady())

    def judge(self, wall: int) -> ClockReading:
        """Judges a time that the wall clock shows now; if it is sound, trusts the clock."""
        with self._lock:
            steady = self._now_steady()
            reading = self._read(wall, steady)
            lead = wall - reading.expected
            # What a wrong clock recorded says nothing of when it was set right.
            self._is_interrupted |= reading.problem is not None or self._was_wrong
            self._was_wrong = reading.problem is not None
            if reading.problem:
                return reading
            if self._anchor is None:
                self._is_interrupted |= wall > self._last_commit_time + MAX_RESTART_GAP
                self._anchor = (wall, steady)
                return reading
            # Follows the wall clock as far as sound clocks drift apart, and no further.
            drift = int((steady - self._anchor[1]) * _DRIFT)
            self._anchor = (reading.expected + max(-drift, min(drift, lead)), steady)
            return reading

    @property
    def is_interrupted(self) -> bool:
        """Whether the clock was set, refused or had a gap since ``clear_interruption``."""
        return self._is_interrupted

    def clear_interruption(self) -> None:
        """Takes note that the interruption has been recorded."""
        self._is_interrupted = False

    def _read(self, wall: int, steady: int) -> ClockReading:
        if self._anchor is None:
            return self._read_at_start(wall, steady)
        expected = self._anchor[0] + steady - self._anchor[1]
        problem = None
        if abs(wall - expected) > MAX_CLOCK_ERROR:
            problem = ClockProblem.AHEAD if wall > expected else ClockProblem.BEHIND
        return ClockReading(wall, expected, problem)

    def _read_at_start(self, wall: int, steady: int) -> ClockReading:
        """Compares the clock with the last commit."""
        last = self._last_commit_time
        expected = last + steady - self._started
        if last and wall < last - MAX_CLOCK_ERROR:
            return ClockReading(wall, last, ClockProblem.BEHIND)
        if last and wall > expected + self._max_idle:
            return ClockReading(wall, expected, ClockProblem.IDLE)
        return ClockReading(wall, wall)

    def _now_steady(self) -> int:
        return int(self._steady() * SECOND)
