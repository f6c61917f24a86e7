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
from eta.forecast.support import ENOUGH, LADDER
from eta.journey.categories import Labels
from eta.journey.features import Features, features, promise_ends
from eta.journey.place_effects import Habits
from eta.journey.snapshots import EXPIRED_AFTER
from eta.journey.state import Moments, States, fold
from eta.journey.timelines import Timelines
from eta.local_dates import Windows, dates_at, probability_by, window_levels
from eta.model.bundle import Answering, is_model
from eta.stage_durations import NO_LAWS

#: Flags are decided once a day from so many days before: a flag's memory is what the journey itself
#: shows.
LOOK_BACK_DAYS = 7

#: With fewer parcels than this, even on the widest rung, we abstain: no date and no probability is
#: said.
FLOOR = ENOUGH

#: Mornings looked back at in one go.
_LARGEST_LOOK_BACK = 100_000


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What is forecast of M open parcels, (M,) each; the one thing behind tables and single answers."""

    moments: Moments
    states: States
    #: The destination's zone, and the local date there.
    zone: Labels
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
        return self.support_parcels >= FLOOR

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
    served: Answering | None,
    moments: Moments,
    states: States,
    policy: DelayPolicy,
    curves: Curves | None = None,
) -> Forecasts:
    """The forecasts of moments at which parcels are open, each the same in any company, to the last bit.

    ``curves`` are the laws of the moments, where the caller has better ones than the model's.

    Without a model the only flag left is that of a promise that has passed. Lane medians do not
    look at scans, and their margin makes every parcel look later than it is: flags raised by their
    chances would mostly be false. Without them nothing has support, and there are no dates.
    """
    known = _features(served, timelines, moments, states)
    level, count = (
        served.support.of(known)
        if served
        else (np.full(len(known), LADDER[-1], dtype=object), np.zeros(len(known), dtype=np.int64))
    )
    curves = _curves(served, known) if curves is None else curves
    promise_end = promise_ends(timelines, moments.row)
    on_time = np.where(count >= FLOOR, probability_by(curves, moments.as_of, promise_end), np.nan)
    warning = on_time if is_model(served) else np.full(len(known), np.nan)
    delays = decide(
        warning,
        states,
        moments.as_of,
        known.labels["destination"],
        served.laws if served else NO_LAWS,
        policy,
        promise_end=promise_end,
        was_expected_late=_were_expected_late(timelines, served, moments, warning, policy),
    )
    zone, as_of_on = timelines.zone.take(moments.row), known.local_as_of.astype("datetime64[D]")
    return Forecasts(
        moments, states, zone, as_of_on, curves, promise_end, on_time, delays, level, count
    )


def _features(
    served: Answering | None, timelines: Timelines, moments: Moments, states: States
) -> Features:
    """The features of moments, with what is known of their places."""
    return features(timelines, moments, served.habits if served else Habits(), states)


def _curves(served: Answering | None, known: Features) -> Curves:
    """The curves of what answers; of nothing, curves on which nothing ever arrives."""
    return (
        served.model.predict_curves(known)
        if served
        else Curves.on_grid([0.0, 1.0], np.zeros((len(known), 2)))
    )


def _were_expected_late(
    timelines: Timelines,
    served: Answering | None,
    moments: Moments,
    on_time: NDArray[np.float64],
    policy: DelayPolicy,
) -> NDArray[np.bool_]:
    """Whether the promise was expected to be missed a day before, (M,): each day by the scans known that morning, with what the version knows now."""
    result = np.zeros(len(moments), dtype=bool)
    # A chance that is not said today was not said before.
    told = (on_time >= 0.0).nonzero()[0]
    at_once = _LARGEST_LOOK_BACK // LOOK_BACK_DAYS
    for start in range(0, len(told), at_once):
        part = told[start : start + at_once]
        result[part] = _look_back(timelines, served, moments.take(part), policy)
    return result


def _look_back(
    timelines: Timelines, served: Answering | None, moments: Moments, policy: DelayPolicy
) -> NDArray[np.bool_]:
    """The same, step by step from ``LOOK_BACK_DAYS`` before."""
    days = np.arange(LOOK_BACK_DAYS, 0, -1)
    count = len(moments)
    earlier = Moments(
        np.tile(moments.row, len(days)),
        np.tile(moments.as_of, len(days)) - np.repeat(days, count) * DAY,
    )
    states = fold(timelines, earlier)
    asked = np.flatnonzero(states.is_open)
    result = np.zeros(count, dtype=bool)
    if not len(asked):
        return result
    then = earlier.take(asked)
    curves = _curves(served, _features(served, timelines, then, states.take(asked)))
    ends = promise_ends(timelines, then.row)
    on_time, ends, at = (
        probability_by(curves, then.as_of, ends),
        ends.view(np.int64),
        then.as_of.view(np.int64),
    )
    day, parcel = np.divmod(asked, count)
    for start, end in pairwise(np.searchsorted(day, np.arange(len(days) + 1))):
        own = parcel[start:end]
        result[own] = are_expected_late(
            on_time[start:end],
            result[own],
            policy.raise_at,
            policy.clear_at,
            ends[start:end],
            at[start:end],
        )
    return result
