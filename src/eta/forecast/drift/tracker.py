"""Tracks the drift of a fitted model from day to day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.domain.vocabulary import ARRIVAL_CODES
from eta.forecast.drift.estimate import (
    HISTORY_DAYS,
    MOST_WATCHED,
    PAST_DAYS,
    PAST_EVERY_DAYS,
    Drift,
    Told,
    Watch,
    learn_drift,
    learn_share,
)
from eta.journey.examples import Outcomes
from eta.journey.snapshots import Snapshots, snapshots_open_at
from eta.journey.timelines import EVENT_CODES, Timelines

#: Where so long nothing at all was received, silence says nothing of how fast the network runs.
NOTHING_TOLD_FOR = np.timedelta64(3, "D")

#: Arrivals younger than this may not have been told yet.
_TOLD_AFTER = np.timedelta64(10, "D")


@runtime_checkable
class FollowsDrift(Protocol):
    """A model whose expectations can be set against what happened, and moved by it."""

    drift_: Drift
    follows_drift: bool

    def watch(self, snapshots: Snapshots, end: np.datetime64) -> Watch:
        """The hazards of the day from the snapshots' common moment until ``end``."""
        ...


@dataclass(eq=False)
class Midnights:
    """Parcels open at each midnight, looked up once for all models that watch them."""

    timelines: Timelines
    _open: dict[np.datetime64, Snapshots] = field(default_factory=dict)

    def open_at(self, start: np.datetime64) -> Snapshots:
        """The parcels whose day, from ``start``, is watched."""
        if start not in self._open:
            self._open[start] = snapshots_open_at(self.timelines, start, MOST_WATCHED)
        return self._open[start]

    def forget(self, before: np.datetime64) -> None:
        """Lets go of midnights that are too old to matter."""
        for start in [start for start in self._open if start < before]:
            del self._open[start]


@dataclass(eq=False)
class Follower:
    """Follows the drift of one fitted model; what it expected of past days is kept from one call to the next."""

    model: FollowsDrift
    midnights: Midnights
    share: NDArray[np.float64] | None = None
    _watches: dict[np.datetime64, Watch] = field(default_factory=dict)

    def drift(
        self, outcomes: Outcomes, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Drift:
        """The drift at ``outcomes.known_through`` (UTC), from the days of 24 hours before it as they were known.

        None where nothing was received in the last ``NOTHING_TOLD_FOR``: that is no slowness.
        """
        as_of, timelines = outcomes.known_through, self.midnights.timelines
        if self.share is None:
            self.share = learn_share(
                [
                    self._watch(as_of - number * PAST_EVERY_DAYS * DAY).tally(outcomes)
                    for number in range(PAST_DAYS, 0, -1)
                ]
            )
        if is_silent(timelines, as_of):
            return Drift.none(as_of, self.share)
        starts = [as_of - number * DAY for number in range(HISTORY_DAYS, 0, -1)]
        for number, start in enumerate(starts):
            progress(number, len(starts))
            self._watches[start] = self._watches.get(start) or self._watch(start)
        self._watches = {start: self._watches[start] for start in starts}
        self.midnights.forget(starts[0])
        return learn_drift(
            [watch.tally(outcomes) for watch in self._watches.values()],
            as_of,
            told_by(timelines, as_of),
            self.share,
        )

    def _watch(self, start: np.datetime64) -> Watch:
        return self.model.watch(self.midnights.open_at(start), start + DAY)


def is_silent(timelines: Timelines, as_of: np.datetime64) -> bool:
    """Whether nothing at all was received in the last ``NOTHING_TOLD_FOR``."""
    received = timelines.received_at
    return not ((received <= as_of) & (received > as_of - NOTHING_TOLD_FOR)).any()


def told_by(timelines: Timelines, as_of: np.datetime64) -> Told:
    """The share of a day's arrivals that is told so many days after the day's end, as known at ``as_of``."""
    arrival = np.isin(timelines.event_code, [EVENT_CODES.index(code) for code in ARRIVAL_CODES])
    settled = (
        arrival & (timelines.received_at <= as_of) & (timelines.occurred_at <= as_of - _TOLD_AFTER)
    )
    lag_days = (timelines.received_at[settled] - timelines.occurred_at[settled]) / DAY

    def share(days: NDArray[np.float64]) -> NDArray[np.float64]:
        # Arrivals spread evenly over a day had between `days` and `days + 1` to be told.
        return np.array(
            [
                np.clip(day + 1.0 - lag_days, 0.0, 1.0).mean() if len(lag_days) else 1.0
                for day in days
            ]
        )

    return share
