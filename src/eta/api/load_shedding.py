"""Refuses requests at once while more arrive than can be answered in time.

By Little's law the wait of a new request is the number in progress divided by the rate at which
they end. So a bound on the wait is a bound on that number, and it follows the measured rate. A
burst may wait for a while; once requests had to be refused, or the number has not come down for as
long, the bound is a small multiple of the time that a request takes alone, until none was refused
for a second. Otherwise a queue that never empties would add its length to every wait (controlled
delay, Nichols and Jacobson 2012).

Within the bound callers have equal shares: who has fewer requests in progress than others is
admitted when they no longer are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import exp
from time import monotonic
from typing import Literal, NamedTuple

WorkKind = Literal["ingest", "checkout", "score", "read"]


class Bounds(NamedTuple):
    """Bounds of one kind of requests."""

    #: Seconds that a burst may wait: a customer waits for an estimate, and senders of events give
    #: up after half a second; scores and reads are less urgent.
    burst_seconds: float
    #: So many may always be in progress. Events are the quicker the more are written together.
    min_in_progress: int


BOUNDS: Mapping[WorkKind, Bounds] = {
    "checkout": Bounds(0.1, 4),
    "ingest": Bounds(0.1, 16),
    "score": Bounds(5.0, 4),
    "read": Bounds(1.0, 8),
}

#: In an overload, the wait as a multiple of the time that a request takes alone.
OVERLOAD_FACTOR = 3.0

#: So many requests of each caller may always be in progress.
MIN_OF_CALLER = 2

#: An overload ends once no request was refused for so many seconds.
CALM_SECONDS = 1.0

#: Seconds after which the measured rate has forgotten most of what was before.
_MEMORY_SECONDS = 0.5
#: Weight of the latest request that was alone, in a moving average.
_WEIGHT = 1 / 16
#: Seconds that a request is taken to need before any was measured.
_FIRST_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request in progress."""

    kind: WorkKind
    caller: str
    started: float
    #: Counts the requests that were started; 0 if others were in progress.
    number_alone: int


@dataclass(slots=True)
class _Load:
    """The requests of one kind."""

    bounds: Bounds
    in_progress: int = 0
    of_caller: Counter[str] = field(default_factory=Counter)
    #: Ended requests and the seconds in which some were in progress, both fading with time.
    ended: float = 1.0
    busy_seconds: float = _FIRST_SECONDS
    #: The mean time that a request takes alone.
    seconds_alone: float = _FIRST_SECONDS
    #: When the number in progress was last within the bound of an overload.
    calm_at: float = 0.0
    refused_at: float = float("-inf")
    #: When the last one ended, or the first one started after none was in progress.
    changed_at: float = 0.0

    def bound(self, now: float) -> float:
        """How many may be in progress."""
        burst_seconds = self.bounds.burst_seconds
        is_overload = now - self.refused_at < CALM_SECONDS or now - self.calm_at > burst_seconds
        return self.count_within(
            OVERLOAD_FACTOR * self.seconds_alone if is_overload else burst_seconds
        )

    def count_within(self, seconds: float) -> float:
        """How many requests end within a time; no fewer than may always be in progress."""
        return max(self.bounds.min_in_progress, seconds * self.ended / self.busy_seconds)

    def has_room(self, caller: str, now: float) -> bool:
        """Whether another request may start."""
        bound = self.bound(now)
        if self.in_progress < bound:
            return True
        held = self.of_caller[caller]
        callers = len(self.of_caller) + (not held)
        return held < max(MIN_OF_CALLER, bound / callers)

    def start(self, caller: str, now: float) -> None:
        if not self.in_progress:
            self.changed_at = self.calm_at = now
        self.in_progress += 1
        self.of_caller[caller] += 1

    def end(self, ticket: Ticket, now: float, *, was_alone: bool) -> None:
        self.in_progress -= 1
        self.of_caller[ticket.caller] -= 1
        if not self.of_caller[ticket.caller]:
            del self.of_caller[ticket.caller]
        elapsed = now - self.changed_at
        remembered = exp(-elapsed / _MEMORY_SECONDS)
        self.ended = self.ended * remembered + 1
        self.busy_seconds = self.busy_seconds * remembered + elapsed
        self.changed_at = now
        if was_alone:
            self.seconds_alone += _WEIGHT * (now - ticket.started - self.seconds_alone)
        if self.in_progress < self.count_within(OVERLOAD_FACTOR * self.seconds_alone):
            self.calm_at = now


class LoadShedder:
    """The requests in progress of each kind, and whether there is room for another one."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._loads = {kind: _Load(bounds) for kind, bounds in BOUNDS.items()}
        self._started = self._ended = 0

    def in_progress(self, kind: WorkKind) -> int:
        """How many requests of a kind are in progress."""
        return self._loads[kind].in_progress

    def admits(self, kind: WorkKind, caller: str) -> bool:
        """Whether another request of a kind and caller may start now."""
        load, now = self._loads[kind], self._clock()
        if load.has_room(caller, now):
            return True
        load.refused_at = now
        return False

    def start(self, kind: WorkKind, caller: str) -> Ticket:
        """Counts a request, whose body is there, as in progress until it ends."""
        now = self._clock()
        self._loads[kind].start(caller, now)
        is_first = self._started == self._ended
        self._started += 1
        return Ticket(kind, caller, now, self._started if is_first else 0)

    def end(self, ticket: Ticket) -> None:
        """Ends a request."""
        self._ended += 1
        was_alone = ticket.number_alone == self._started
        self._loads[ticket.kind].end(ticket, self._clock(), was_alone=was_alone)
