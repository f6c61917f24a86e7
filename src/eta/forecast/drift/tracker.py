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

#: Without anything received for so long, silence says nothing about the speed of the network.
MAX_SILENCE = np.timedelta64(3, "D")

#: More recent arrivals may not have been received yet.
_MAX_REPORTING_DELAY = np.timedelta64(10, "D")

_ARRIVAL_CODES = [EVENT_CODES.index(code) for code in ARRIVAL_CODES]


@runtime_checkable
class SupportsDrift(Protocol):
    """A model whose expected arrivals can be compared with what happened, and corrected by it."""

    @property
    def tracks_drift(self) -> bool:
        """Whether to track its drift."""
        ...

    def with_drift(self, drift: Drift) -> Self:
        """The same model at another speed of the network."""
        ...

    def expected_arrivals(self, snapshots: Snapshots, end: np.datetime64) -> DailyExpectation:
        """The hazards of the day from the common moment of the snapshots until ``end``."""
        ...


@dataclass(eq=False)
class OpenParcelCache:
    """Parcels open at each midnight, looked up once for all models."""

    timelines: Timelines
    _open: dict[np.datetime64, Snapshots] = field(default_factory=dict)

    def open_at(self, start: np.datetime64) -> Snapshots:
        """The parcels, or a sample of them, that are open at ``start``."""
        if start not in self._open:
            self._open[start] = snapshots_open_at(self.timelines, start, MAX_OPEN_PARCELS)
        return self._open[start]

    def forget(self, before: np.datetime64) -> None:
        """Drops the midnights before a time."""
        for start in [start for start in self._open if start < before]:
            del self._open[start]


@dataclass(eq=False)
class DriftTracker:
    """Tracks the drift of one fitted model; caches what it expected of past days."""

    model: SupportsDrift
    open_parcels: OpenParcelCache
    baseline_ratio: NDArray[np.float64] | None = None
    _expectations: dict[np.datetime64, DailyExpectation] = field(default_factory=dict)

    def drift(
        self, outcomes: Outcomes, progress: Callable[[int, int], None] = lambda *_: None
    ) -> Drift:
        """The drift at ``outcomes.known_through`` (UTC), from the days of 24 hours before it.

        It is estimated from what had been received by then. There is no drift if nothing was
        received in the last ``MAX_SILENCE``: that does not mean that parcels are slow.
        """
        as_of, timelines = outcomes.known_through, self.open_parcels.timelines
        if self.baseline_ratio is None:
            # From days spread over the history before the model's fit.
            earlier = []
            for number in range(BASELINE_RATIO_DAYS, 0, -1):
                days_ago = number * BASELINE_RATIO_STEP_DAYS
                expectation = self._expected_arrivals(as_of - days_ago * DAY)
                earlier.append(expectation.compare(outcomes))
            self.baseline_ratio = estimate_baseline_ratio(earlier)
        if is_feed_silent(timelines, as_of):
            return Drift.identity(as_of, self.baseline_ratio)
        expectations = {}
        starts = [as_of - number * DAY for number in range(HISTORY_DAYS, 0, -1)]
        for number, start in enumerate(starts):
            progress(number, len(starts))
            cached = self._expectations.get(start)
            expectations[start] = cached or self._expected_arrivals(start)
        self._expectations = expectations
        self.open_parcels.forget(starts[0])
        comparisons = [expectation.compare(outcomes) for expectation in expectations.values()]
        reporting_cdf = reporting_delay_cdf(timelines, as_of)
        return estimate_drift(comparisons, as_of, reporting_cdf, self.baseline_ratio)

    def _expected_arrivals(self, start: np.datetime64) -> DailyExpectation:
        return self.model.expected_arrivals(self.open_parcels.open_at(start), start + DAY)


def is_feed_silent(timelines: Timelines, as_of: np.datetime64) -> bool:
    """Whether nothing at all was received in the last ``MAX_SILENCE``."""
    received_at = timelines.received_at
    return not ((received_at <= as_of) & (received_at > as_of - MAX_SILENCE)).any()


def reporting_delay_cdf(timelines: Timelines, as_of: np.datetime64) -> ReportingDelayCdf:
    """The share of a day's arrivals received so many days after its end, as seen at ``as_of``."""
    occurred_at, received_at = timelines.occurred_at, timelines.received_at
    is_settled = timelines.counts_at(as_of) & (occurred_at <= as_of - _MAX_REPORTING_DELAY)
    settled = np.isin(timelines.event_code, _ARRIVAL_CODES) & is_settled
    lag_days = (received_at[settled] - occurred_at[settled]) / DAY
    if not len(lag_days):
        return lambda days: np.ones(len(days))

    def cdf(days: NDArray[np.float64]) -> NDArray[np.float64]:
        # Arrivals spread evenly over a day had between `days` and `days + 1` to be received.
        return np.array([np.clip(day + 1.0 - lag_days, 0.0, 1.0).mean() for day in days])

    return cdf
