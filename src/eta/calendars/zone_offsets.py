"""What the clocks of places show: the steps of their time zones as arrays, read by compiled loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Clocks are read from the time zone database between these; before and after them they stand as at
#: the end.
_FIRST, _LAST = datetime(1969, 12, 1, tzinfo=UTC), datetime(2111, 1, 1, tzinfo=UTC)

#: No zone has moved its clocks there and back within so short a time since 1970.
_STEP = timedelta(days=7)
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAT, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class UtcOffsets:
    """The stretches over which the clocks of Z zones keep their distance from UTC; all times in microseconds.

    Zone z has the stretches ``first[z]:first[z + 1]``. Each begins at an instant ``begins``, runs
    ``utc_offset`` of UTC, and by its end clocks have ``latest_wall`` a time of day, as if wall clocks were
    UTC; a step back does not lower that.
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
        first = np.cumsum([0, *(len(zone) for zone in zones)], dtype=np.int64)
        begins, utc_offset = (
            np.array([period for zone in zones for period in zone], dtype=np.int64)
            .reshape(-1, 2)
            .T.copy()
        )
        latest_wall = np.full(len(begins), _NEVER)
        latest_wall[:-1] = begins[1:] + utc_offset[:-1]
        for start, end in pairwise(first):
            latest_wall[end - 1] = _NEVER
            latest_wall[start:end] = np.maximum.accumulate(latest_wall[start:end])
        return cls(first, begins, utc_offset, latest_wall)

    def walls(self, at: NDArray[np.int64], zones: NDArray[np.int32]) -> NDArray[np.int64]:
        """What the clocks of ``zones`` (N,) show at the instants ``at`` (N, K)."""
        return _walls(at, zones, self.first, self.begins, self.utc_offset)

    def instants(self, walls: NDArray[np.int64], zones: NDArray[np.int32]) -> NDArray[np.int64]:
        """The first instants at which the clocks of ``zones`` (N,) show ``walls`` (N, K) or a later time."""
        return _instants(walls, zones, self.first, self.begins, self.utc_offset, self.latest_wall)


@cache
def _offset_periods(zone: str) -> tuple[tuple[int, int], ...]:
    """Where each stretch of a zone begins, and how far ahead of UTC it is; the first one has always been."""
    return tuple(
        (begins, utc_offset // _MICROSECOND) for begins, utc_offset in _transitions(ZoneInfo(zone))
    )


def _transitions(zone: ZoneInfo) -> Iterator[tuple[int, timedelta]]:
    at, utc_offset = _FIRST, _utc_offset(_FIRST, zone)
    yield _NAT + 1, utc_offset
    while at < _LAST:
        until = at + _STEP
        while _utc_offset(until, zone) != utc_offset:
            low, high = at, until
            while high - low > _SECOND:
                middle = low + (high - low) // 2 // _SECOND * _SECOND
                low, high = (
                    (middle, high) if _utc_offset(middle, zone) == utc_offset else (low, middle)
                )
            at, utc_offset = high, _utc_offset(high, zone)
            yield (high - _EPOCH) // _MICROSECOND, utc_offset
        at = until


def _utc_offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)


@njit(cache=True)
def wall_at(at, zone, first, begins, utc_offset):  # type: ignore[no-untyped-def]  # compiled
    """What the clocks of one zone show at one instant."""
    start, end = first[zone], first[zone + 1]
    return (
        _NAT
        if at == _NAT
        else at + utc_offset[start + np.searchsorted(begins[start:end], at, side="right") - 1]
    )


@njit(cache=True)
def instant_at(wall, zone, first, begins, utc_offset, latest_wall):  # type: ignore[no-untyped-def]  # compiled
    """The first instant at which the clocks of one zone show a time or a later one."""
    if wall == _NAT:
        return _NAT
    # The first stretch in which clocks get beyond that time: after a gap it begins later than the
    # time asked for.
    start, end = first[zone], first[zone + 1]
    period = start + min(
        np.searchsorted(latest_wall[start:end], wall, side="right"), end - start - 1
    )
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
