"""Time at risk: the active hours that each example spends in each bin of the hazard."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY
from eta.forecast.base import HORIZON_DAYS
from eta.forecast.hazard.active_hours import (
    NEAR_PROMISE,
    ActivityProfile,
    exposure_near_promise,
    microseconds,
    promised_day,
)
from eta.journey.examples import Examples

#: Edges of the hazard's bins, in hours from ``as_of``. Bin 0 lies before them and has no width: it
#: holds the parcels that have already arrived.
BIN_EDGES_HOURS = 24.0 * np.array(
    [0, 0.5, 1, 1.5, 2, 2.5, *range(3, 15), 16, 18, 20, 22, 24, 27, 30, 37, 44, 51, HORIZON_DAYS]
)

#: Bins that follow the time since ``as_of``. Those of the days near the promise come after them.
TIMED_BINS = len(BIN_EDGES_HOURS)
_MAX_HOURS = BIN_EDGES_HOURS[-1]

#: The bin of an example without an arrival.
_NO_ARRIVAL = -1


class TimeAtRisk(NamedTuple):
    """Time at risk of M examples in B bins, and the bin in which each of them arrived."""

    #: Active hours at risk in each bin, (M, B).
    exposure: NDArray[np.float32]
    #: The last bin at risk, (M,), leaving out those near the promise.
    last_bin: NDArray[np.int32]
    #: The bin of the arrival, (M,), or -1 without one.
    arrival_bin: NDArray[np.int32]


def time_at_risk(
    examples: Examples, activity: ActivityProfile, *, uses_promise: bool
) -> TimeAtRisk:
    """The time at risk of examples, by default without bins near the promise."""
    until = np.minimum(examples.duration_hours, _MAX_HOURS)
    edges = np.minimum(BIN_EDGES_HOURS, until[:, None])
    elapsed = activity.elapsed(examples.features, edges)
    # Bin 0, which has no width, counts as 1.
    exposure = np.diff(elapsed, axis=1, prepend=-1.0).astype(np.float32)
    # When an arrival happened within bin 0 is unknown: half of it (actuarial life table).
    arrived_before = examples.event_observed & (until <= 0.0)
    exposure[arrived_before, 0] = 0.5
    last_bin = np.searchsorted(BIN_EDGES_HOURS, until, side="left").astype(np.int32)
    arrives = examples.event_observed & (examples.duration_hours <= _MAX_HOURS)
    arrival_bin = np.where(arrives, last_bin, _NO_ARRIVAL).astype(np.int32)
    at_risk = TimeAtRisk(exposure, last_bin, arrival_bin)
    return _with_bins_near_promise(at_risk, examples, activity, edges) if uses_promise else at_risk


def _with_bins_near_promise(
    at_risk: TimeAtRisk, examples: Examples, activity: ActivityProfile, edges: NDArray[np.float64]
) -> TimeAtRisk:
    """Moves the time at risk and the arrivals of days near the promise into bins of these days."""
    steps = microseconds(edges)
    time_index = activity.time_index(examples.features, sees_promise=True)
    near = exposure_near_promise(time_index, steps)
    exposure, arrival_bin = at_risk.exposure, at_risk.arrival_bin
    away_from_promise = exposure[:, 1:] - near.sum(axis=2)
    exposure[:, 1:] = np.maximum(away_from_promise, 0.0)
    time_left = steps[:, -1].astype("timedelta64[us]")
    arrives_at = examples.features.local_as_of + time_left
    arrives_on = arrives_at.astype("datetime64[D]")
    # NaN without a promise.
    days_past_promise = (arrives_on - promised_day(examples.features)) / DAY
    first_day, last_day = NEAR_PROMISE[0], NEAR_PROMISE[-1]
    is_near = (days_past_promise >= first_day) & (days_past_promise <= last_day)
    is_near &= arrival_bin > 0
    day_number = days_past_promise[is_near].astype(np.int32) - first_day
    arrival_bin[is_near] = TIMED_BINS + day_number
    by_day = near.sum(axis=1).astype(np.float32)
    all_bins = np.hstack([exposure, by_day])
    return at_risk._replace(exposure=all_bins)
