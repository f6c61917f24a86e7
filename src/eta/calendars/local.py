"""Between instants and wall clocks, for many places at once.

Instants are ``datetime64[us]`` in UTC; wall-clock times are ``datetime64[us]`` without a zone and never leave a function
under a name that could be taken for an instant. Zones come as integer codes into a tuple of IANA names.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Instants = NDArray[np.datetime64]
Dates = NDArray[np.datetime64]
Codes = NDArray[np.integer]

HOUR = np.timedelta64(1, "h")
DAY = np.timedelta64(1, "D")


def hours_between(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Hours from ``start`` to ``end``; NaN where either is missing."""
    return (end - start) / HOUR


def to_instant(moment: datetime) -> np.datetime64:
    """An aware datetime as ``datetime64[us]`` in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def midnight(day: str, zone: str) -> datetime:
    """The aware first instant of an ISO date in ``zone``; a full ISO time with an offset is taken as it is.

    Raises:
        ValueError: if ``day`` is neither a date nor a time.
    """
    moment = datetime.fromisoformat(day)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def wall_clock(at: Instants, zones: Codes, names: Sequence[str]) -> NDArray[np.datetime64]:
    """Local wall-clock times, shape (N,), of instants ``at`` (N,) in zones ``names[zones]``."""
    return _by_zone(at, zones, names, lambda index, zone: index.tz_localize("UTC").tz_convert(zone).tz_localize(None))


def local_dates(at: Instants, zones: Codes, names: Sequence[str]) -> Dates:
    """Local calendar dates ``datetime64[D]``, shape (N,)."""
    return wall_clock(at, zones, names).astype("datetime64[D]")


def day_starts(dates: Dates, zones: Codes, names: Sequence[str]) -> Instants:
    """The first instant, shape (N,), of each local calendar date.

    Where clocks skip midnight, the day starts at the first time that exists; where midnight comes twice, at the first.
    """

    def first_instant(index: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
        first = np.ones(len(index), dtype=bool)
        return index.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").tz_convert("UTC").tz_localize(None)

    return _by_zone(dates.astype("datetime64[us]"), zones, names, first_instant)


def day_ends(dates: Dates, zones: Codes, names: Sequence[str]) -> Instants:
    """The first instant after each local calendar date, shape (N,)."""
    return day_starts(dates + DAY, zones, names)


def declared_zone_to_utc(wall: pd.Series, zone: str) -> tuple[pd.Series, pd.Series]:
    """Instants of wall-clock times whose source declares its zone, and which of them are ambiguous.

    Times that come twice a year are taken as the first of the two, times that are skipped as the first after the gap;
    both are marked.
    """
    twice = wall.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    first = wall.dt.tz_localize(zone, ambiguous=np.ones(len(wall), dtype=bool), nonexistent="shift_forward")
    skipped = first.dt.tz_localize(None) != wall
    return first.dt.tz_convert("UTC"), wall.notna() & (twice.isna() | skipped)


def _by_zone(
    values: NDArray[np.datetime64], zones: Codes, names: Sequence[str], convert: Callable[[pd.DatetimeIndex, str], pd.DatetimeIndex]
) -> NDArray[np.datetime64]:
    result = np.full(values.shape, np.datetime64("NaT"), dtype="datetime64[us]")
    for code in np.unique(zones):
        rows = np.flatnonzero(zones == code)
        result[rows] = convert(pd.DatetimeIndex(values[rows]), names[code]).to_numpy().astype("datetime64[us]")
    return result
