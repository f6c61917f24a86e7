"""Conversions between instants and wall clocks, for many places at once.

Instants are ``datetime64[us]`` in UTC; wall-clock times are ``datetime64[us]`` without a zone and
never leave a function under a name that could be taken for an instant. Zones come as integer codes
into a tuple of IANA names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.zone_offsets import UtcOffsets

Instants = NDArray[np.datetime64]
Dates = NDArray[np.datetime64]
Codes = NDArray[np.integer]
HOUR = np.timedelta64(1, "h")
DAY = np.timedelta64(1, "D")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_INSTANT, _DATE = np.dtype("datetime64[us]"), np.dtype("datetime64[D]")
_INTEGER, _CODE = np.dtype(np.int64), np.dtype(np.int32)


def hours_between(
    start: NDArray[np.datetime64], end: NDArray[np.datetime64]
) -> NDArray[np.float64]:
    """Hours from ``start`` to ``end``; NaN if either is missing."""
    return (end - start) / HOUR


def to_instant(moment: datetime) -> np.datetime64:
    """An aware datetime as ``datetime64[us]`` in UTC."""
    return np.datetime64(microseconds(moment), "us")


def microseconds(moment: datetime) -> int:
    """Microseconds from 1970-01-01 in UTC to an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """The moment, in UTC, so many microseconds after 1970-01-01."""
    return _EPOCH + timedelta(microseconds=count)


def offset_minutes(moment: datetime) -> int:
    """Whole minutes that the clocks of an aware moment are ahead of UTC."""
    return int((moment.utcoffset() or timedelta()).total_seconds() // 60)


def midnight(day: date, zone: str) -> datetime:
    """The first instant, in UTC, of a date in ``zone``."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def local_date(moment: datetime, zone: str) -> date:
    """The date of an aware moment in ``zone``."""
    return moment.astimezone(ZoneInfo(zone)).date()


def wall_clock(at: Instants, zones: Codes, names: Sequence[str]) -> NDArray[np.datetime64]:
    """Local times of the instants ``at``, (N,) or (N, K), in zones ``names[zones]``, (N,).

    The result has the shape of ``at``.
    """
    offsets = UtcOffsets.from_zone_names(tuple(names))
    walls = offsets.walls(_table(at), zones.astype(_CODE, copy=False))
    return walls.view(_INSTANT).reshape(at.shape)


def local_dates(at: Instants, zones: Codes, names: Sequence[str]) -> Dates:
    """Local calendar dates ``datetime64[D]``, shaped as ``at``, (N,) or (N, K)."""
    return wall_clock(at, zones, names).astype(_DATE)


def day_starts(dates: Dates, zones: Codes, names: Sequence[str]) -> Instants:
    """The first instant of each local calendar date, shaped as ``dates``, (N,) or (N, K).

    If clocks skip midnight, the day starts at the first time that exists; if midnight occurs
    twice, at the first.
    """
    offsets = UtcOffsets.from_zone_names(tuple(names))
    starts = offsets.instants(_table(dates), zones.astype(_CODE, copy=False))
    return starts.view(_INSTANT).reshape(dates.shape)


def day_ends(dates: Dates, zones: Codes, names: Sequence[str]) -> Instants:
    """The first instant after each local calendar date, shaped as ``dates``, (N,) or (N, K)."""
    return day_starts(dates + DAY, zones, names)


def declared_zone_to_utc(wall: pd.Series, zone: str) -> tuple[pd.Series, pd.Series]:
    """Instants of wall-clock times whose source declares its zone, and which of them are ambiguous.

    Times that occur twice a year are taken as the first of the two, times that are skipped as the
    first after the gap; both are marked.
    """
    without_twice = wall.dt.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    is_summer_time = np.ones(len(wall), dtype=bool)
    first = wall.dt.tz_localize(zone, ambiguous=is_summer_time, nonexistent="shift_forward")
    is_skipped = first.dt.tz_localize(None) != wall
    is_ambiguous = wall.notna() & (without_twice.isna() | is_skipped)
    return first.dt.tz_convert("UTC"), is_ambiguous


def wall_to_instant(wall: datetime, zone: str) -> tuple[datetime, bool]:
    """The moment, aware and in the zone, of a naive local time, and whether it is ambiguous.

    A time that occurs twice is taken as the first of the two, one that is skipped as the first
    after the gap.
    """
    tzinfo = ZoneInfo(zone)
    first = wall.replace(tzinfo=tzinfo, fold=0)
    second = wall.replace(tzinfo=tzinfo, fold=1)
    if first.utcoffset() == second.utcoffset():
        return first, False
    wall_microseconds = np.array([[microseconds(wall.replace(tzinfo=UTC))]])
    offsets = UtcOffsets.from_zone_names((zone,))
    instants = offsets.instants(wall_microseconds, np.zeros(1, dtype=_CODE))
    instant = from_microseconds(int(instants.item()))
    return instant.astimezone(tzinfo), True


def _table(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Microseconds, (N, K), of times (N,) or (N, K)."""
    whole = np.ascontiguousarray(times.astype(_INSTANT, copy=False)).view(_INTEGER)
    return whole if whole.ndim == 2 else whole[:, None]
