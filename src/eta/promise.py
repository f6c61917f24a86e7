"""From a curve to the dates that people read: local calendar days at the destination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local import Dates, Instants, local_dates
from eta.curves import Curves
from eta.journey.columns import Labels


@dataclass(frozen=True, eq=False)
class Windows:
    """Dates, (N,) each, of N parcels; NaT where the parcel may well never arrive."""

    earliest_on: Dates
    median_on: Dates
    latest_on: Dates


def windows(curves: Curves, as_of: Instants, zone: Labels, *, coverage: float) -> Windows:
    """The days of the central range of probability ``coverage`` and of the median.

    The parcel arrives between the first and the last day, both included, with at least that probability if the curve
    is right: whole days only widen the range.
    """
    return Windows(
        date_at(curves, (1.0 - coverage) / 2.0, as_of, zone), date_at(curves, 0.5, as_of, zone), date_at(curves, (1.0 + coverage) / 2.0, as_of, zone)
    )


def date_at(curves: Curves, level: float, as_of: Instants, zone: Labels) -> Dates:
    """The local day, (N,), by whose end the parcel has arrived with probability ``level`` or more; NaT if none has."""
    hours = curves.quantile(level)
    is_finite = np.isfinite(hours)
    dates = local_dates(as_of + to_duration(np.where(is_finite, hours, 0.0)), zone.codes, zone.names)
    dates[~is_finite] = np.datetime64("NaT")
    return dates


def probability_by(curves: Curves, as_of: Instants, ends: Instants) -> NDArray[np.float64]:
    """P(arrived before the instants ``ends``), (N,); 0 where they are past, NaN where there are none."""
    hours = (ends - as_of) / np.timedelta64(1, "h")
    return np.where(np.isnan(hours), np.nan, np.where(hours > 0, curves.cdf_at(np.nan_to_num(np.maximum(hours, 0.0))), 0.0))


def to_duration(hours: NDArray[np.float64]) -> NDArray[np.timedelta64]:
    """Hours as ``timedelta64[us]``."""
    return np.rint(hours * 3_600_000_000).astype("timedelta64[us]")
