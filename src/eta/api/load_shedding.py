"""Refuses requests at once while more arrive than can be answered in time.

By Little's law the wait of a new request is the number in progress divided by the rate at which
they end. So a bound on the wait is a bound on that number, and it follows the measured rate. A
burst may wait for a while. Once requests had to be refused, or the number does not come down, there
is an overload: only so many may be in progress as keep the service busy, until none was refused
for a second. Otherwise a queue that never empties would add its length to every wait
(controlled delay, Nichols and Jacobson 2012).

Beyond the bound, a caller is still admitted while it has less than its equal share in progress, or
less than half as many as the caller that has most, and so is one that sends little: what others
send may make its requests slow, too.
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
    #: An overload begins once at least so many have been in progress for so many seconds.
    standing: int
    standing_seconds: float
    #: So many keep the service busy. Events are the quicker the more are written together.
    in_overload: int

    #: A request that has to wait for a disk or a network keeps nothing busy meanwhile, so in an
    #: overload as many more may be in progress as end while this many requests would, one by one.
    in_turn: float = 2.0


BOUNDS: Mapping[WorkKind, Bounds] = {
    "checkout": Bounds(0.1, 8, 0.1, 3),
    "ingest": Bounds(0.1, 32, 0.1, 16),
    "score": Bounds(5.0, 8, 5.0, 3),
    "read": Bounds(0.5, 4, 0.1, 2),
}

#: A caller whose requests, each alone, would take less than this share of the time is no cause of
#: an overload. So many of them may be in progress: always, and while all are no more than so many
#: times as many as keep the service busy.
LIGHT_SHARE, MIN_OF_LIGHT_CALLER, MAX_OF_LIGHT_CALLER, LIGHT_FACTOR = 0.2, 2, 8, 4

#: An overload ends once no request was refused for so many seconds.
CALM_SECONDS = 1.0

#: Seconds after which the measured rate has forgotten most of what was before.
_MEMORY_SECONDS = 0.5
#: Weight of the latest request in the mean time of those that are alone.
_WEIGHT = 1 / 16
#: Seconds that a request is taken to need before any was measured.
_FIRST_SECONDS = 0.005


class Ticket(NamedTuple):
    """A request in progress."""

    kind: WorkKind
    caller: str
    started: float
    #: How many were started with it; 0 if others were in progress.
    number_alone: int


@dataclass(slots=True)
class _Load:
    """The requests of one kind."""

    bounds: Bounds
    in_progress: int = 0
    of_caller: Counter[str] = field(default_factory=Counter)
    #: By caller: how many it has sent, fading within a second, and when the last one.
    recent: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: Ended requests and the seconds in which some were in progress, both fading with time.
    ended: float = 1.0
    busy_seconds: float = _FIRST_SECONDS
    #: The mean time of requests during which nothing else was in progress.
    seconds_alone: float = _FIRST_SECONDS
    #: Since when as many are in progress as may not stay.
    standing_since: float = float("inf")
    refused_at: float = float("-inf")
    #: When the last one ended, or the first one started after none was in progress.
    changed_at: float = 0.0

    def bound(self, now: float) -> float:
        """How many may be in progress."""
        bounds = self.bounds
        was_refused = now - self.refused_at < CALM_SECONDS
        rate = self.ended / self.busy_seconds
        if was_refused or now - self.standing_since > bounds.standing_seconds:
            return max(bounds.in_overload, bounds.in_turn * self.seconds_alone * rate)
        return max(bounds.standing, bounds.burst_seconds * rate)

    def has_room(self, caller: str, now: float) -> bool:
        """Whether another request may start; counts the question."""
        sent, at = self.recent.get(caller, (0.0, now))
        sent = sent * exp(at - now) + 1
        self.recent[caller] = (sent, now)
        bound = self.bound(now)
        if self.in_progress < bound:
            return True
        held = self.of_caller[caller]
        if held < self.most_of_light() and sent * self.seconds_alone < LIGHT_SHARE:
            return True
        share = bound / (len(self.of_caller) + (not held))
        most = max(self.of_caller.values())
        return held < max(share, most / 2)

    def most_of_light(self) -> int:
        """How many requests a caller that sends little may have in progress."""
        is_crowded = self.in_progress >= LIGHT_FACTOR * self.bounds.in_overload
        return MIN_OF_LIGHT_CALLER if is_crowded else MAX_OF_LIGHT_CALLER

    def start(self, caller: str, now: float) -> None:
        if not self.in_progress:
            self.changed_at = now
        self.in_progress += 1
        if self.in_progress == self.bounds.standing:
            self.standing_since = now
        self.of_caller[caller] += 1

    def end(self, caller: str, now: float, seconds_alone: float | None) -> None:
        self.in_progress -= 1
        self.of_caller[caller] -= 1
        if not self.of_caller[caller]:
            del self.of_caller[caller]
        elapsed = now - self.changed_at
        remembered = exp(-elapsed / _MEMORY_SECONDS)
        self.ended = self.ended * remembered + 1
        self.busy_seconds = self.busy_seconds * remembered + elapsed
        self.changed_at = now
        if seconds_alone is not None:
            self.seconds_alone += _WEIGHT * (seconds_alone - self.seconds_alone)
        if self.in_progress < self.bounds.standing:
            self.standing_since = float("inf")


class LoadShedder:
    """The requests in progress of each kind, and whether there is room for another one."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._started = self._ended = 0
        self._loads = {kind: _Load(bounds) for kind, bounds in BOUNDS.items()}

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
        is_first = self._started == self._ended
        self._started += 1
        self._loads[kind].start(caller, now)
        return Ticket(kind, caller, now, self._started if is_first else 0)

    def end(self, ticket: Ticket) -> None:
        """Ends a request."""
        now = self._clock()
        self._ended += 1
        was_alone = ticket.number_alone == self._started
        seconds_alone = now - ticket.started if was_alone else None
        self._loads[ticket.kind].end(ticket.caller, now, seconds_alone)
