"""How many working days a shop takes from an order to the hand-over, learned by origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import DAY, local_dates, wall_clock
from eta.calendars.zones import zone_of
from eta.journey.state import States
from eta.journey.timelines import Timelines

#: Longer than so many working days is counted as that.
MAX_DAYS = 10

#: Orders of so many days before the last ones that are settled tell how long it takes these days.
_HISTORY = 180 * DAY

#: An order so old that has not been handed over was cancelled or forgotten.
_SETTLED = 21 * DAY

#: Orders' worth of trust in the law of all origins against an origin's own.
PRIOR = 30.0
_ALL = ""
_WEEKMASK = "1111100"


@dataclass(frozen=True, eq=False)
class HandlingTimes:
    """Orders by origin, hour of the local day, and working days from the day of the order to that of the hand-over.

    ``counts`` has an array (24, ``MAX_DAYS`` + 1) an origin ("country-region"), and one of all
    under "". Orders placed on a day off count for the hour 0 of the next working day.
    """

    counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        timelines: Timelines,
        states: States,
        as_of: np.datetime64,
        holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
    ) -> HandlingTimes:
        """From what was known of all shipments at ``as_of`` (UTC)."""
        ordered, handed = states.ordered_at, states.handed_over_at
        taken = (
            ~np.isnat(handed)
            & (handed >= ordered)
            & (ordered <= as_of - _SETTLED)
            & (ordered > as_of - _SETTLED - _HISTORY)
        )
        origin = timelines.texts["origin"]
        counts = {_ALL: np.zeros((24, MAX_DAYS + 1), dtype=np.int64)}
        for code in np.unique(origin.codes[taken & (origin.codes >= 0)]).tolist():
            name, rows = origin.names[code], np.flatnonzero(taken & (origin.codes == code))
            country, _, region = name.partition("-")
            zone, here = (zone_of(country, region or None)[0],), np.zeros(len(rows), dtype=np.int32)
            wall = wall_clock(ordered[rows], here, zone)
            on, handed_on = wall.astype("datetime64[D]"), local_dates(handed[rows], here, zone)
            years = (
                int(on.min().astype("datetime64[Y]").astype(int)) + 1970,
                int(handed_on.max().astype("datetime64[Y]").astype(int)) + 1970,
            )
            working = np.busdaycalendar(_WEEKMASK, holidays.dates(country, region or None, *years))
            first = np.busday_offset(on, 0, roll="forward", busdaycal=working)
            hour = np.where(first == on, wall.astype("datetime64[h]").astype(np.int64) % 24, 0)
            days = np.busday_count(
                first,
                np.busday_offset(handed_on, 0, roll="forward", busdaycal=working),
                busdaycal=working,
            )
            origin_counts = np.zeros((24, MAX_DAYS + 1), dtype=np.int64)
            np.add.at(origin_counts, (hour, np.clip(days, 0, MAX_DAYS)), 1)
            counts[name] = origin_counts
            counts[_ALL] += origin_counts
        return cls(counts)

    def distribution(self, origin: str | None, cutoff_hour: float) -> NDArray[np.float64] | None:
        """Chances (``MAX_DAYS`` + 1,) of so many working days from the one for which an order counts, with a cut-off at an hour of the day.

        None where nothing was learned. An origin with few orders is shrunk to all.
        """
        all_counts = self.counts.get(_ALL)
        if all_counts is None or not all_counts.any():
            return None
        overall = _from_cutoff(all_counts, cutoff_hour)
        origin_orders = _from_cutoff(
            self.counts.get(origin or _ALL, np.zeros_like(all_counts)), cutoff_hour
        )
        mixed = origin_orders + PRIOR * overall / overall.sum()
        return mixed / mixed.sum()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: counts.tolist() for name, counts in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HandlingTimes:
        """What ``to_json`` gave."""
        return cls({name: np.array(counts, dtype=np.int64) for name, counts in values.items()})


def _from_cutoff(counts: NDArray[np.int64], cutoff_hour: float) -> NDArray[np.float64]:
    """Orders (24, D) by days from the day for which they count, (D,): those from the cut-off on count for the next day."""
    before = np.clip(cutoff_hour - np.arange(24), 0.0, 1.0)[:, None]
    in_time, too_late = (before * counts).sum(axis=0), ((1.0 - before) * counts).sum(axis=0)
    in_time[:-1] += too_late[1:]
    in_time[0] += too_late[0]
    return in_time
