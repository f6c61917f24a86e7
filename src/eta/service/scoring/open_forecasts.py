"""Forecasts and delay decisions of open shipments, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, Dates, Instants
from eta.curves import Curves
from eta.delays import DelayPolicy, Delays, are_expected_late, decide
from eta.forecast.support import MIN_PARCELS, SUPPORT_LEVELS
from eta.journey.categories import Categorical
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import EXPIRED_AFTER
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import Timelines, promise_ends
from eta.local_dates import Windows, cdf_at_instant, dates_at, window_levels
from eta.model.bundle import Predictor, is_model
from eta.stage_durations import NO_DURATIONS

#: Flags are decided once a day from so many days before: a flag's memory is what the journey itself
#: shows.
LOOK_BACK_DAYS = 7

#: With fewer parcels than this, even on the widest rung, we abstain: no date and no probability is
#: said.
MIN_SUPPORT = MIN_PARCELS

#: Mornings looked back at in one go.
_MAX_LOOK_BACK_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class OpenForecasts:
    """What is forecast of M open parcels, (M,) each; the one thing behind tables and single answers."""

    moments: AsOfPairs
    states: States
    #: The destination's zone, and the local date there.
    zone: Categorical
    as_of_on: Dates
    curves: Curves
    #: The first instant after the promised day; NaT without a promise.
    promise_end: Instants
    #: P(arrival within the promised day); NaN without a promise or without support.
    on_time: NDArray[np.float64]
    delays: Delays
    support_level: NDArray[np.object_]
    support_parcels: NDArray[np.int64]

    @cached_property
    def is_supported(self) -> NDArray[np.bool_]:
        """Enough parcels stand behind the curve to read a date from it."""
        return self.support_parcels >= MIN_SUPPORT

    def windows(self, coverage: float) -> Windows:
        """The days of the central range of probability ``coverage``; NaT without support."""
        return Windows(*self.dates(window_levels(coverage)).T)

    def dates(self, levels: Sequence[float]) -> Dates:
        """The local days, (M, L), by whose end a parcel has arrived with probabilities ``levels``; NaT without support."""
        dates = dates_at(self.curves, levels, self.moments.as_of, self.zone)
        dates[~self.is_supported] = np.datetime64("NaT")
        return dates


def split_open(states: States, as_of: np.datetime64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that are in flight at ``as_of``, and rows that have been open for so long that they are no longer forecast."""
    is_open, is_old = states.is_open, as_of - states.ordered_at > EXPIRED_AFTER
    return (is_open & ~is_old).nonzero()[0], (is_open & is_old).nonzero()[0]


def forecast_open(
    timelines: Timelines,
    served: Predictor | None,
    moments: AsOfPairs,
    states: States,
    policy: DelayPolicy,
    curves: Curves | None = None,
) -> OpenForecasts:
    """The forecasts of moments at which parcels are open, each the same in any company, to the last bit.

    ``curves`` are the laws of the moments, where the caller has better ones than the model's.

    Without a model the only flag left is that of a promise that has passed. Lane medians do not
    look at scans, and their margin makes every parcel look later than it is: flags raised by their
    chances would mostly be false. Without them nothing has support, and there are no dates.
    """
    inputs = _features(served, timelines, moments, states)
    level, count = (
        served.support.lookup(inputs)
        if served
        else (
            np.full(len(inputs), SUPPORT_LEVELS[-1], dtype=object),
            np.zeros(len(inputs), dtype=np.int64),
        )
    )
    curves = _curves(served, inputs) if curves is None else curves
    promise_end = promise_ends(timelines, moments.row)
    on_time = np.where(
        count >= MIN_SUPPORT, cdf_at_instant(curves, moments.as_of, promise_end), np.nan
    )
    warning_probability = on_time if is_model(served) else np.full(len(inputs), np.nan)
    delays = decide(
        warning_probability,
        states,
        moments.as_of,
        inputs.categoricals["destination"],
        served.stage_durations if served else NO_DURATIONS,
        policy,
        promise_end=promise_end,
        was_expected_late=_were_expected_late(
            timelines, served, moments, warning_probability, policy
        ),
    )
    zone, as_of_on = timelines.zone.take(moments.row), inputs.local_as_of.astype("datetime64[D]")
    return OpenForecasts(
        moments, states, zone, as_of_on, curves, promise_end, on_time, delays, level, count
    )


def _features(
    served: Predictor | None, timelines: Timelines, moments: AsOfPairs, states: States
) -> Features:
    """The features of moments, with what is known of their places."""
    return features(timelines, moments, served.place_effects if served else PlaceEffects(), states)


def _curves(served: Predictor | None, inputs: Features) -> Curves:
    """The curves of what answers; of nothing, curves on which nothing ever arrives."""
    return (
        served.model.predict_curves(inputs)
        if served
        else Curves.from_grid([0.0, 1.0], np.zeros((len(inputs), 2)))
    )


def _were_expected_late(
    timelines: Timelines,
    served: Predictor | None,
    moments: AsOfPairs,
    on_time: NDArray[np.float64],
    policy: DelayPolicy,
) -> NDArray[np.bool_]:
    """Whether the promise was expected to be missed a day before, (M,): each day by the scans known that morning, with what the version knows now."""
    result = np.zeros(len(moments), dtype=bool)
    # A chance that is not said today was not said before.
    rows = (on_time >= 0.0).nonzero()[0]
    batch_size = _MAX_LOOK_BACK_ROWS // LOOK_BACK_DAYS
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        result[batch] = _look_back(timelines, served, moments.take(batch), policy)
    return result


def _look_back(
    timelines: Timelines, served: Predictor | None, moments: AsOfPairs, policy: DelayPolicy
) -> NDArray[np.bool_]:
    """The same, step by step from ``LOOK_BACK_DAYS`` before."""
    days = np.arange(LOOK_BACK_DAYS, 0, -1)
    count = len(moments)
    earlier = AsOfPairs(
        np.tile(moments.row, len(days)),
        np.tile(moments.as_of, len(days)) - np.repeat(days, count) * DAY,
    )
    states = fold(timelines, earlier)
    open_rows = np.flatnonzero(states.is_open)
    result = np.zeros(count, dtype=bool)
    if not len(open_rows):
        return result
    open_moments = earlier.take(open_rows)
    curves = _curves(served, _features(served, timelines, open_moments, states.take(open_rows)))
    ends = promise_ends(timelines, open_moments.row)
    on_time, ends, at = (
        cdf_at_instant(curves, open_moments.as_of, ends),
        ends.view(np.int64),
        open_moments.as_of.view(np.int64),
    )
    day, parcel = np.divmod(open_rows, count)
    for start, end in pairwise(np.searchsorted(day, np.arange(len(days) + 1))):
        parcels = parcel[start:end]
        result[parcels] = are_expected_late(
            on_time[start:end],
            result[parcels],
            policy.raise_at,
            policy.clear_at,
            ends[start:end],
            at[start:end],
        )
    return result
