"""Clocks that stop while a place is closed.

Instants are hours since 00:00 UTC of the scenario's first day. Every city has one clock of each
kind. A clock counts the hours of its local opening times; nights, weekends and public holidays are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.calendars.local_time import day_starts, hours_between
from eta.calendars.zones import zone_of
from eta.simulation.network import CITIES

Hours = NDArray[np.float64]

#: Days in the tables before the first and after the last day of orders.
DAYS_BEFORE, DAYS_AFTER = 3, 200

_WEEKDAYS, _SATURDAYS_TOO = (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Opening:
    """Local weekdays (0 is Monday) and hours at which a clock runs, except on public holidays."""

    weekdays: tuple[int, ...]
    start: float
    end: float

    @property
    def hours_a_day(self) -> float:
        """Mean over a week."""
        return len(self.weekdays) * (self.end - self.start) / 7.0


OPENINGS: Mapping[str, Opening] = MappingProxyType(
    {
        "shop": Opening(_WEEKDAYS, 8.0, 18.0),
        "collection": Opening(_SATURDAYS_TOO, 13.0, 19.0),
        "collection_weekdays": Opening(_WEEKDAYS, 13.0, 19.0),
        "hub": Opening(_SATURDAYS_TOO, 0.0, 24.0),
        "customs": Opening(_WEEKDAYS, 7.0, 19.0),
        "loading": Opening(_SATURDAYS_TOO, 4.5, 10.0),
        "loading_weekdays": Opening(_WEEKDAYS, 4.5, 10.0),
        "tour": Opening(_SATURDAYS_TOO, 8.5, 19.5),
        "tour_weekdays": Opening(_WEEKDAYS, 8.5, 19.5),
    }
)
KINDS = tuple(OPENINGS)
#: The clock that never stops, which belongs to no city.
ALWAYS = -1


@dataclass(frozen=True, eq=False)
class Clocks:
    """Opening times by clock and local day, (C, D) each.

    ``opens`` are instants, ``lasts`` the hours for which the clock then runs. The clock of kind k
    in city c is row ``c * len(KINDS) + k``.
    """

    opens: Hours
    lasts: Hours

    @classmethod
    def build(cls, first_day: date, days: int) -> Clocks:
        """The clocks of all cities around ``days`` days."""
        start = np.datetime64(first_day, "D")
        dates = start + np.arange(-DAYS_BEFORE, days + DAYS_AFTER)
        weekday = (dates.astype(np.int64) + 3) % 7
        years = dates.astype("datetime64[Y]").astype(int) + 1970
        first_year, last_year = int(years.min()), int(years.max())
        zone_code = np.zeros(len(dates), dtype=np.int64)
        first_instant = start.astype("datetime64[us]")
        opens, lasts = [], []
        for city in CITIES:
            holidays = PUBLIC_HOLIDAYS.dates(city.country, city.region, first_year, last_year)
            is_holiday = np.isin(dates, holidays)
            zone = zone_of(city.country, city.region)[0]
            day_start = day_starts(dates, zone_code, (zone,))
            midnight = hours_between(first_instant, day_start)
            for opening in OPENINGS.values():
                is_open = np.isin(weekday, opening.weekdays) & ~is_holiday
                hours = opening.end - opening.start
                opens.append(midnight + opening.start)
                lasts.append(np.where(is_open, hours, 0.0))
        return cls(np.array(opens), np.array(lasts))

    def after(self, clock: NDArray[np.integer], begun: Hours, hours: Hours) -> Hours:
        """When clocks (R,) that start at ``begun`` (R, M) have run for ``hours`` (R, M).

        Infinite beyond the tables.
        """
        return _after(self.opens, self.lasts, clock, begun, hours)

    def between(self, clock: NDArray[np.integer], begun: Hours, until: Hours) -> Hours:
        """Hours, (R, M), that clocks (R,) run from ``begun`` to ``until``, (R, M) each."""
        return _between(self.opens, self.lasts, clock, begun, until)


@njit(cache=True)
def _after(opens, lasts, clock, begun, hours):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(begun.shape)
    for i in range(begun.shape[0]):
        for j in range(begun.shape[1]):
            at, left = begun[i, j], hours[i, j]
            if clock[i] < 0 or not np.isfinite(at):
                result[i, j] = at + left
                continue
            # A local day may begin half a day before or after the day of UTC.
            day = max(int(np.floor(at / 24.0)) + DAYS_BEFORE - 1, 0)
            result[i, j] = np.inf
            while day < opens.shape[1]:
                start = max(at, opens[clock[i], day])
                room = opens[clock[i], day] + lasts[clock[i], day] - start
                if room > 0.0:
                    if left <= room:
                        result[i, j] = start + left
                        break
                    left -= room
                day += 1
    return result


@njit(cache=True)
def _between(opens, lasts, clock, begun, until):  # type: ignore[no-untyped-def]  # compiled
    result = np.zeros(begun.shape)
    for i in range(begun.shape[0]):
        for j in range(begun.shape[1]):
            at, end = begun[i, j], until[i, j]
            if clock[i] < 0:
                result[i, j] = max(end - at, 0.0)
                continue
            day = max(int(np.floor(at / 24.0)) + DAYS_BEFORE - 1, 0)
            while day < opens.shape[1] and opens[clock[i], day] < end:
                start = max(at, opens[clock[i], day])
                stop = min(end, opens[clock[i], day] + lasts[clock[i], day])
                result[i, j] += max(stop - start, 0.0)
                day += 1
    return result
