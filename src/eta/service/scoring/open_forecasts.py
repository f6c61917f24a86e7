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
from eta.delays import (
    DelayPolicy,
    Delays,
    Evaluations,
    FlagMemory,
    decide,
    remember_flags,
)
from eta.forecast.support import MIN_PARCELS, SUPPORT_LEVELS
from eta.journey.categories import Categorical
from eta.journey.features import Features, features
from eta.journey.place_effects import PlaceEffects
from eta.journey.snapshots import EXPIRED_AFTER
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import Timelines, promise_ends
from eta.local_dates import cdf_at_instant, dates_at
from eta.model.bundle import Predictor, is_model
from eta.stage_durations import NO_DURATIONS

#: Delay flags are decided once a day, starting so many days earlier: the memory of a flag is
#: recomputed from the journey and stored nowhere.
LOOK_BACK_DAYS = 7

#: With fewer parcels than this, even at the widest support level, there is no date and no
#: probability.
MIN_SUPPORT = MIN_PARCELS

#: Pairs of a parcel and an earlier morning that are evaluated at once.
_MAX_LOOK_BACK_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class OpenForecasts:
    """Forecasts of M open parcels, (M,) each: the one source of tables and of single answers."""

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
        """Whether enough parcels are behind the curve to read a date from it."""
        return self.support_parcels >= MIN_SUPPORT

    def dates(self, levels: Sequence[float]) -> Dates:
        """The local days, (M, L), by whose end a parcel has arrived with probabilities ``levels``.

        NaT without support.
        """
        dates = dates_at(self.curves, levels, self.moments.as_of, self.zone)
        dates[~self.is_supported] = np.datetime64("NaT")
        return dates


def split_open(states: States, as_of: np.datetime64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in flight at ``as_of``, and rows open for longer than forecasts reach."""
    is_open = states.is_open
    is_expired = as_of - states.ordered_at > EXPIRED_AFTER
    return np.flatnonzero(is_open & ~is_expired), np.flatnonzero(is_open & is_expired)


def forecast_open(
    timelines: Timelines,
    served: Predictor | None,
    moments: AsOfPairs,
    states: States,
    policy: DelayPolicy,
    curves: Curves | None = None,
) -> OpenForecasts:
    """Forecasts of parcels at moments at which they are open.

    A forecast does not depend on which other parcels are in the batch, to the last bit. ``curves``
    replace those of the model, for callers that have better ones.

    Without a model the only flag left is that of a promise that has passed. The fallback does not
    look at scans, and its margin makes every parcel look later than it is: flags raised by its
    probabilities would mostly be false. Without the fallback nothing has support, and there are no
    dates.
    """
    inputs = _features(served, timelines, moments, states)
    level, parcels = _support(served, inputs)
    if curves is None:
        curves = _curves(served, inputs)
    promise_end = promise_ends(timelines, moments.row)
    by_promise = cdf_at_instant(curves, moments.as_of, promise_end)
    on_time = np.where(parcels >= MIN_SUPPORT, by_promise, np.nan)
    delays = _decide(timelines, served, moments, states, inputs, policy, on_time, promise_end)
    return OpenForecasts(
        moments=moments,
        states=states,
        zone=timelines.zone.take(moments.row),
        as_of_on=inputs.local_as_of.astype("datetime64[D]"),
        curves=curves,
        promise_end=promise_end,
        on_time=on_time,
        delays=delays,
        support_level=level,
        support_parcels=parcels,
    )


def _decide(
    timelines: Timelines,
    served: Predictor | None,
    moments: AsOfPairs,
    states: States,
    inputs: Features,
    policy: DelayPolicy,
    on_time: NDArray[np.float64],
    promise_end: Instants,
) -> Delays:
    """The delay flags; only a model's probabilities raise one."""
    warning_probability = on_time if is_model(served) else np.full(len(inputs), np.nan)
    memory = FlagMemory.empty(len(moments))
    # Parcels without a probability today had none before.
    rows = np.flatnonzero(warning_probability >= 0.0)
    batch_size = _MAX_LOOK_BACK_ROWS // LOOK_BACK_DAYS
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        batch_memory = _look_back(timelines, served, moments.take(batch), policy)
        for column, values in zip(memory, batch_memory, strict=True):
            column[batch] = values
    return decide(
        warning_probability,
        states,
        moments.as_of,
        inputs.categoricals["destination"],
        served.stage_durations if served else NO_DURATIONS,
        policy,
        promise_end=promise_end,
        memory=memory,
    )


def _features(
    served: Predictor | None, timelines: Timelines, moments: AsOfPairs, states: States
) -> Features:
    """The features of moments, with the place effects of the model."""
    place_effects = served.place_effects if served else PlaceEffects()
    return features(timelines, moments, place_effects, states)


def _support(
    served: Predictor | None, inputs: Features
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The support level and its number of parcels, (M,) each; no parcels without a predictor."""
    if served:
        return served.support.lookup(inputs)
    count = len(inputs)
    levels = np.full(count, SUPPORT_LEVELS[-1], dtype=object)
    return levels, np.zeros(count, dtype=np.int64)


def _curves(served: Predictor | None, inputs: Features) -> Curves:
    """The predictor's curves; without one, curves on which nothing ever arrives."""
    if served:
        return served.model.predict_curves(inputs)
    return Curves.from_grid([0.0, 1.0], np.zeros((len(inputs), 2)))


def _look_back(
    timelines: Timelines, served: Predictor | None, moments: AsOfPairs, policy: DelayPolicy
) -> FlagMemory:
    """What evaluations day by day, from ``LOOK_BACK_DAYS`` before, decided about one batch.

    Since when a flag is raised is unknown if it was raised on the first of these days.
    """
    count = len(moments)
    # The same parcels on each of the days looked back at, earliest day first.
    days_before = np.repeat(np.arange(LOOK_BACK_DAYS, 0, -1), count)
    earlier_as_of = np.tile(moments.as_of, LOOK_BACK_DAYS) - days_before * DAY
    earlier = AsOfPairs(np.tile(moments.row, LOOK_BACK_DAYS), earlier_as_of)
    states = fold(timelines, earlier)
    open_rows = np.flatnonzero(states.is_open)
    memory = FlagMemory.empty(count)
    if not len(open_rows):
        return memory
    open_moments, open_states = earlier.take(open_rows), states.take(open_rows)
    evaluations = _evaluations(timelines, served, open_moments, open_states)
    day, parcel = np.divmod(open_rows, count)
    # Open rows are sorted, so those of each day are in one slice.
    bounds = np.searchsorted(day, np.arange(LOOK_BACK_DAYS + 1))
    for number, (start, end) in enumerate(pairwise(bounds)):
        remember_flags(evaluations.between(start, end), parcel[start:end], policy, memory)
        if number == 0:
            memory.first_flagged[:] = np.datetime64("NaT").view(np.int64)
    return memory


def _evaluations(
    timelines: Timelines, served: Predictor | None, moments: AsOfPairs, states: States
) -> Evaluations:
    """What the flags of open parcels are decided on."""
    inputs = _features(served, timelines, moments, states)
    promise_end = promise_ends(timelines, moments.row)
    durations = served.stage_durations if served else NO_DURATIONS
    return Evaluations(
        cdf_at_instant(_curves(served, inputs), moments.as_of, promise_end),
        promise_end.view(np.int64),
        moments.as_of.view(np.int64),
        states.last_scan_at.view(np.int64),
        durations.silence_hours[states.last_code][:, 1],
    )
