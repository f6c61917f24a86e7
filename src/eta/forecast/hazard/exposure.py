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
from eta.journey.segments import Segments

#: Edges of the hazard's bins, in hours from ``as_of``. Bin 0 lies before them and has no width: it
#: holds the parcels that have already arrived.
BIN_EDGES_HOURS = 24.0 * np.array(
    [0, 0.5, 1, 1.5, 2, 2.5, *range(3, 15), 16, 18, 20, 22, 24, 27, 30, 37, 44, 51, HORIZON_DAYS]
)

#: Bins that follow the time since ``as_of``. Those of the days near the promise come after them.
TIMED_BINS = len(BIN_EDGES_HOURS)
_MAX_HOURS = BIN_EDGES_HOURS[-1]

#: Examples whose time at risk is computed together, which bounds the memory that it takes.
BLOCK_ROWS = 65_536

#: The bin of an example without an arrival.
_NO_ARRIVAL = -1


class TimeAtRisk(NamedTuple):
    """Time at risk of M examples in B bins, and the bin in which each of them arrived.

    Most parcels arrive within days, so an example has cells only for the bins in which it is at
    risk: bins 0 to ``last_bin``, then all those near the promise.
    """

    #: Active hours at risk, (C,): the cells of example i are ``first[i]`` to ``first[i + 1]``.
    exposure: NDArray[np.float32]
    #: The first cell of each example and the end of the last one, (M + 1,).
    first: NDArray[np.int64]
    #: The last bin at risk, (M,), leaving out those near the promise.
    last_bin: NDArray[np.int32]
    #: The bin of the arrival, (M,), or -1 without one.
    arrival_bin: NDArray[np.int32]


class _Block(NamedTuple):
    """Some of the examples, N, with a cell for every bin."""

    #: Active hours at risk in each bin, (N, B).
    exposure: NDArray[np.float32]
    last_bin: NDArray[np.int32]
    arrival_bin: NDArray[np.int32]


def time_at_risk(
    examples: Examples,
    activity: ActivityProfile,
    *,
    uses_promise: bool,
    block_rows: int = BLOCK_ROWS,
) -> TimeAtRisk:
    """The time at risk of examples, by default without bins near the promise.

    It is computed for ``block_rows`` examples at a time; the result is the same for any number.
    """
    parts = []
    for first in range(0, len(examples), block_rows):
        rows = np.arange(first, min(first + block_rows, len(examples)))
        block = _block(examples.take(rows), activity, uses_promise=uses_promise)
        bins = np.arange(block.exposure.shape[1])
        is_cell = (bins <= block.last_bin[:, None]) | (bins >= TIMED_BINS)
        cells, counts = block.exposure[is_cell], is_cell.sum(axis=1)
        parts.append((cells, counts, block.last_bin, block.arrival_bin))
    exposure, counts, last_bin, arrival_bin = map(np.concatenate, zip(*parts, strict=True))
    return TimeAtRisk(exposure, Segments.from_counts(counts).starts, last_bin, arrival_bin)


def _block(examples: Examples, activity: ActivityProfile, *, uses_promise: bool) -> _Block:
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
    block = _Block(exposure, last_bin, arrival_bin)
    return _with_bins_near_promise(block, examples, activity, edges) if uses_promise else block


def _with_bins_near_promise(
    block: _Block, examples: Examples, activity: ActivityProfile, edges: NDArray[np.float64]
) -> _Block:
    """Moves the time at risk and the arrivals of days near the promise into bins of these days."""
    steps = microseconds(edges)
    time_index = activity.time_index(examples.features, sees_promise=True)
    near = exposure_near_promise(time_index, steps)
    exposure, arrival_bin = block.exposure, block.arrival_bin
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
    return block._replace(exposure=all_bins)
