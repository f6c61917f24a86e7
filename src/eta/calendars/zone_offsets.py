"""Offsets of time zones from UTC as arrays, for compiled loops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Offsets are read from the time zone database between these; before the first and after the last
#: they are constant.
_FIRST, _LAST = datetime(1969, 12, 1, tzinfo=UTC), datetime(2111, 1, 1, tzinfo=UTC)

#: No zone has moved its clocks there and back within so short a time since 1970.
_STEP = timedelta(days=7)
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAT, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class UtcOffsets:
    """The periods of constant offset from UTC of Z zones; all times in microseconds.

    Zone z has the periods ``first[z]:first[z + 1]``. Each begins at an instant ``begins`` and has
    the offset ``utc_offset``. ``latest_wall`` is the latest wall-clock time shown by the end of the
    period, as if it were UTC; a step back does not lower it.
    """

    first: NDArray[np.int64]
    begins: NDArray[np.int64]
    utc_offset: NDArray[np.int64]
    latest_wall: NDArray[np.int64]

    @classmethod
    @lru_cache(maxsize=1_000)
    def from_zone_names(cls, names: tuple[str, ...]) -> UtcOffsets:
        """The clocks of the zones with these IANA names."""
        zones = [_offset_periods(name) for name in names]
        period_counts = [len(zone) for zone in zones]
        first = np.cumsum([0, *period_counts], dtype=np.int64)
        periods = [period for zone in zones for period in zone]
        begins = np.array([period.begins for period in periods], dtype=np.int64)
        utc_offset = np.array([period.utc_offset for period in periods], dtype=np.int64)
        latest_wall = np.full(len(begins), _NEVER)
        latest_wall[:-1] = begins[1:] + utc_offset[:-1]
        for start, end in pairwise(first):
            latest_wall[end - 1] = _NEVER
            latest_wall[start:end] = np.maximum.accumulate(latest_wall[start:end])
        return cls(first, begins, utc_offset, latest_wall)

    def walls(self, at: NDArray[np.int64], zones: NDArray[np.int32]) -> NDArray[np.int64]:
        """Wall-clock times of ``zones`` (N,) at the instants ``at`` (N, K)."""
        return _walls(at, zones, self.first, self.begins, self.utc_offset)

    def instants(self, walls: NDArray[np.int64], zones: NDArray[np.int32]) -> NDArray[np.int64]:
        """First instants at which clocks of ``zones`` (N,) show ``walls`` (N, K) or later."""
        return _instants(walls, zones, self.first, self.begins, self.utc_offset, self.latest_wall)


class _OffsetPeriod(NamedTuple):
    """A period of constant offset, in microseconds."""

    begins: int
    utc_offset: int


@cache
def _offset_periods(name: str) -> tuple[_OffsetPeriod, ...]:
    """The periods of a zone; the first one begins before all times."""
    zone = ZoneInfo(name)
    at = _FIRST
    utc_offset = _utc_offset(_FIRST, zone)
    periods = [_OffsetPeriod(_NAT + 1, utc_offset // _MICROSECOND)]
    while at < _LAST:
        until = at + _STEP
        while _utc_offset(until, zone) != utc_offset:
            at = _first_change(at, until, zone)
            utc_offset = _utc_offset(at, zone)
            begins = (at - _EPOCH) // _MICROSECOND
            periods.append(_OffsetPeriod(begins, utc_offset // _MICROSECOND))
        at = until
    return tuple(periods)


def _first_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The second, after ``low`` and by ``high``, at which the offset changes (bisection)."""
    utc_offset = _utc_offset(low, zone)
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        if _utc_offset(middle, zone) == utc_offset:
            low = middle
        else:
            high = middle
    return high


def _utc_offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


@njit(cache=True)
def wall_at(at, zone, first, begins, utc_offset):  # type: ignore[no-untyped-def]  # compiled
    """The wall-clock time of one zone at one instant."""
    if at == _NAT:
        return _NAT
    start = first[zone]
    end = first[zone + 1]
    period = start + np.searchsorted(begins[start:end], at, side="right") - 1
    return at + utc_offset[period]


@njit(cache=True)
def instant_at(wall, zone, first, begins, utc_offset, latest_wall):  # type: ignore[no-untyped-def]  # compiled
    """The first instant at which the clocks of one zone show a time or a later one."""
    if wall == _NAT:
        return _NAT
    # The first period in which clocks get beyond that time: after a gap it begins later than
    # ``wall``.
    start = first[zone]
    end = first[zone + 1]
    later = np.searchsorted(latest_wall[start:end], wall, side="right")
    period = start + min(later, end - start - 1)
    return max(wall - utc_offset[period], begins[period])


@njit(cache=True)
def _walls(at, zones, first, begins, utc_offset):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty_like(at)
    for i in range(at.shape[0]):
        for k in range(at.shape[1]):
            result[i, k] = wall_at(at[i, k], zones[i], first, begins, utc_offset)
    return result


@njit(cache=True)
def _instants(walls, zones, first, begins, utc_offset, latest_wall):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty_like(walls)
    for i in range(walls.shape[0]):
        for k in range(walls.shape[1]):
            result[i, k] = instant_at(walls[i, k], zones[i], first, begins, utc_offset, latest_wall)
    return result
