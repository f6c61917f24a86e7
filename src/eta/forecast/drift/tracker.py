"""Tracks the drift of a fitted model from day to day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.domain.vocabulary import ARRIVAL_CODES
from eta.forecast.drift.estimate import (
    BASELINE_RATIO_DAYS,
    BASELINE_RATIO_STEP_DAYS,
    HISTORY_DAYS,
    MAX_OPEN_PARCELS,
    DailyExpectation,
    Drift,
    ReportingDelayCdf,
    estimate_baseline_ratio,
    estimate_drift,
)
from eta.journey.examples import Outcomes
from eta.journey.snapshots import Snapshots, snapshots_open_at
from eta.journey.timelines import EVENT_CODES, Timelines

#: Where so long nothing at all was received, silence says nothing of how fast the network runs.
MAX_SILENCE = np.timedelta64(3, "D")

#: Arrivals younger than this may not have been told yet.
_MAX_REPORTING_DELAY = np.timedelta64(10, "D")


@runtime_checkable
class SupportsDrift(Protocol):
    """A model whose expectations can be set against what happened, and moved by it."""

    @property
    def tracks_drift(self) -> bool:
        """Whether its drift is to be tracked at all."""
        ...

    def with_drift(self, drift: Drift) -> Self:
        """The same model at another pace of the network."""
        ...

    def expected_arrivals(self, snapshots: Snapshots, end: np.datetime64) -> DailyExpectation:
        """The hazards of the day from the snapshots' common moment until ``end``."""
        ...


@dataclass(eq=False)
class OpenParcelCache:
    """Parcels open at each midnight, looked up once for all models that watch them."""

    timelines: Timelines
    _open: dict[np.datetime64, Snapshots] = field(default_factory=dict)

    def open_at(self, start: np.datetime64) -> Snapshots:
        """The parcels whose day, from ``start``, is watched."""
        if start not in self._open:
            self._open[start] = snapshots_open_at(self.timelines, start, MAX_OPEN_PARCELS)
        return self._open[start]

    def forget(self, before: np.datetime64) -> None:
        """Lets go of midnights that are too old to matter."""
        for start in [start for start in self._open if start < before]:
            del self._open[start]


@dataclass(eq=False)
class DriftTracker:
    """Follows the drift of one fitted model; what it expected of past days is kept from one call to the next."""

    model: SupportsDrift
    open_parcels: OpenParcelCache
    baseline_ratio: NDArray[np.float64] | None = None
    _expectations: dict[np.datetime64, DailyExpectation] = field(default_factory=dict)

    def drift(
        self, outcomes: Outcomes, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Drift:
        """The drift at ``outcomes.known_through`` (UTC), from the days of 24 hours before it as they were known.

        None where nothing was received in the last ``MAX_SILENCE``: that is no slowness.
        """
        as_of, timelines = outcomes.known_through, self.open_parcels.timelines
        if self.baseline_ratio is None:
            self.baseline_ratio = estimate_baseline_ratio(
                [
                    self._expected_arrivals(
                        as_of - number * BASELINE_RATIO_STEP_DAYS * DAY
                    ).compare(outcomes)
                    for number in range(BASELINE_RATIO_DAYS, 0, -1)
                ]
            )
        if is_feed_silent(timelines, as_of):
            return Drift.identity(as_of, self.baseline_ratio)
        starts = [as_of - number * DAY for number in range(HISTORY_DAYS, 0, -1)]
        for number, start in enumerate(starts):
            progress(number, len(starts))
            self._expectations[start] = self._expectations.get(start) or self._expected_arrivals(
                start
            )
        self._expectations = {start: self._expectations[start] for start in starts}
        self.open_parcels.forget(starts[0])
        return estimate_drift(
            [expectation.compare(outcomes) for expectation in self._expectations.values()],
            as_of,
            reporting_delay_cdf(timelines, as_of),
            self.baseline_ratio,
        )

    def _expected_arrivals(self, start: np.datetime64) -> DailyExpectation:
        return self.model.expected_arrivals(self.open_parcels.open_at(start), start + DAY)


def is_feed_silent(timelines: Timelines, as_of: np.datetime64) -> bool:
    """Whether nothing at all was received in the last ``MAX_SILENCE``."""
    received = timelines.received_at
    return not ((received <= as_of) & (received > as_of - MAX_SILENCE)).any()


def reporting_delay_cdf(timelines: Timelines, as_of: np.datetime64) -> ReportingDelayCdf:
    """The share of a day's arrivals that is told so many days after the day's end, as known at ``as_of``."""
    arrival = np.isin(timelines.event_code, [EVENT_CODES.index(code) for code in ARRIVAL_CODES])
    settled = (
        arrival
        & (timelines.received_at <= as_of)
        & (timelines.occurred_at <= as_of - _MAX_REPORTING_DELAY)
    )
    lag_days = (timelines.received_at[settled] - timelines.occurred_at[settled]) / DAY

    def cdf(days: NDArray[np.float64]) -> NDArray[np.float64]:
        # Arrivals spread evenly over a day had between `days` and `days + 1` to be told.
        return np.array(
            [
                np.clip(day + 1.0 - lag_days, 0.0, 1.0).mean() if len(lag_days) else 1.0
                for day in days
            ]
        )

    return cdf
