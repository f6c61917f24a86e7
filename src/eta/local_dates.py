"""Local delivery dates and their probabilities, read off curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, Instants, day_ends
from eta.calendars.zone_offsets import UtcOffsets, instant_at, wall_at
from eta.curves import Curves, probability_at, quantile_at, row_of, starting_cdf
from eta.journey.categories import Categorical

_HOURS = np.timedelta64(1, "h")
_DATE, _NAT = np.dtype("datetime64[D]"), np.iinfo(np.int64).min

#: In microseconds.
_HOUR, _DAY = 3_600_000_000, 86_400_000_000

#: A second.
_SECOND_HOURS = 1.0 / 3600.0


@dataclass(frozen=True, eq=False)
class Windows:
    """Dates, (N,) each, of N parcels; NaT if the parcel is too unlikely to arrive."""

    earliest_on: Dates
    median_on: Dates
    latest_on: Dates


def windows(curves: Curves, as_of: Instants, zone: Categorical, *, coverage: float) -> Windows:
    """The days of the central range of probability ``coverage`` and of the median.

    The parcel arrives between the first and the last day, both included, with at least that
    probability if the curve is right: whole days only widen the range.
    """
    earliest_on, median_on, latest_on = dates_at(curves, window_levels(coverage), as_of, zone).T
    return Windows(earliest_on=earliest_on, median_on=median_on, latest_on=latest_on)


def window_levels(coverage: float) -> tuple[float, float, float]:
    """The levels of the ends and the middle of a central range."""
    return (1.0 - coverage) / 2.0, 0.5, (1.0 + coverage) / 2.0


def dates_at(curves: Curves, levels: Sequence[float], as_of: Instants, zone: Categorical) -> Dates:
    """The local days, (N, L), by whose end P(arrived) is at least ``levels``; NaT if never."""
    clocks = UtcOffsets.from_zone_names(zone.names)
    days = _days(
        curves.hours,
        curves.cdf,
        curves.waited_hours,
        np.array(levels),
        as_of.view(np.int64),
        zone.codes,
        clocks.first,
        clocks.begins,
        clocks.utc_offset,
    )
    return days.view(_DATE)


def probability_by_day(
    curves: Curves, as_of: Instants, dates: Dates, zone: Categorical
) -> NDArray[np.float64]:
    """P(arrived on or before the local ``dates``), (N, L) like them; NaN without a date."""
    clocks = UtcOffsets.from_zone_names(zone.names)
    return _cdf_by_day(
        curves.hours,
        curves.cdf,
        curves.waited_hours,
        as_of.view(np.int64),
        dates.view(np.int64),
        zone.codes,
        clocks.first,
        clocks.begins,
        clocks.utc_offset,
        clocks.latest_wall,
    )


def cdf_at_instant(curves: Curves, as_of: Instants, ends: Instants) -> NDArray[np.float64]:
    """P(arrived before the instants ``ends``), (N,) or (N, L) like them; 0 if past, NaN if NaT."""
    table = ends if ends.ndim == 2 else ends[:, None]
    probabilities = _cdf_at_instants(
        curves.hours, curves.cdf, curves.waited_hours, as_of.view(np.int64), table.view(np.int64)
    )
    return probabilities.reshape(ends.shape)


def daily_cdf(
    curves: Curves, as_of: Instants, first_on: Dates, days: int, zone: Categorical
) -> NDArray[np.float64]:
    """P(arrived on or before) the ``days`` local days from ``first_on`` (N,) on, (N, days)."""
    dates = first_on[:, None] + np.arange(days)
    return probability_by_day(curves, as_of, dates, zone)


def curves_from_daily_cdf(
    cdf: NDArray[np.float64], as_of: Instants, first_on: Dates, zone: Categorical
) -> Curves:
    """The curves with ``daily_cdf`` equal to ``cdf`` (N, D) from ``first_on`` (N,) on.

    Within a day arrivals are spread evenly. The first day must not be over by ``as_of`` (N,).
    """
    count, days = cdf.shape
    dates = first_on[:, None] + np.arange(days)
    ends = day_ends(dates, zone.codes, zone.names)
    hours = np.maximum((ends - as_of[:, None]) / _HOURS, 0.0)
    # A day's arrivals end a second before midnight, which is a time of the next day.
    last_seconds = np.maximum(hours - _SECOND_HOURS, 0.0)
    knots = np.stack([last_seconds, hours], axis=2).reshape(count, -1)
    zeros = np.zeros((count, 1))
    knot_cdf = np.repeat(cdf, 2, axis=1)
    return Curves.from_knots(np.hstack([zeros, knots]), np.hstack([zeros, knot_cdf]))


@njit(cache=True)
def _days(hours, cdf, waited, levels, as_of, zones, first, begins, utc_offset):  # type: ignore[no-untyped-def]  # compiled
    """Days since 1970, (N, L); times are microseconds."""
    result = np.empty((len(waited), len(levels)), dtype=np.int64)
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        start = starting_cdf(row_hours, row_cdf, waited[i])
        for k in range(len(levels)):
            hours_left = quantile_at(row_hours, row_cdf, waited[i], start, levels[k])
            if hours_left == np.inf:
                result[i, k] = _NAT
            else:
                arrival = as_of[i] + np.int64(np.rint(hours_left * _HOUR))
                wall = wall_at(arrival, zones[i], first, begins, utc_offset)
                result[i, k] = wall // _DAY
    return result


@njit(cache=True)
def _cdf_at_instants(hours, cdf, waited, as_of, ends):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(ends.shape)
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        start = starting_cdf(row_hours, row_cdf, waited[i])
        for k in range(ends.shape[1]):
            result[i, k] = _cdf_before(row_hours, row_cdf, waited[i], start, as_of[i], ends[i, k])
    return result


@njit(cache=True)
def _cdf_by_day(hours, cdf, waited, as_of, days, zones, first, begins, utc_offset, latest_wall):  # type: ignore[no-untyped-def]  # compiled
    """P(arrived by the end), (N, L), of days since 1970; a day ends as the next one starts."""
    result = np.empty(days.shape)
    for i in range(len(waited)):
        row_hours = row_of(hours, i)
        row_cdf = row_of(cdf, i)
        start = starting_cdf(row_hours, row_cdf, waited[i])
        for k in range(days.shape[1]):
            end = _NAT
            if days[i, k] != _NAT:
                midnight = (days[i, k] + 1) * _DAY
                end = instant_at(midnight, zones[i], first, begins, utc_offset, latest_wall)
            result[i, k] = _cdf_before(row_hours, row_cdf, waited[i], start, as_of[i], end)
    return result


@njit(cache=True)
def _cdf_before(hours, cdf, waited, start, as_of, end):  # type: ignore[no-untyped-def]  # compiled
    if end == _NAT:
        return np.nan
    if end <= as_of:
        return 0.0
    # An arrival at midnight belongs to the next day.
    hours_left = (end - 1 - as_of) / _HOUR
    return probability_at(hours, cdf, waited, start, hours_left)
