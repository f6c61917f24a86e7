"""Working days that a shop takes from an order to the hand-over, learned by origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import DAY, local_dates, wall_clock
from eta.calendars.zones import zone_of
from eta.journey.state import States
from eta.journey.timelines import Timelines
from eta.stored_values import Count, Name, check_values

#: More working days count as this many.
MAX_DAYS = 10

#: Only orders of so many days before the latest settled ones count, so that old ones do not.
_HISTORY = 180 * DAY

#: An older order that has not been handed over was cancelled or forgotten.
_SETTLED = 21 * DAY

#: Weight, in orders, of the distribution of all origins in that of one origin.
PRIOR = 30.0
_ALL = ""
_WEEKMASK = "1111100"
_SHAPE = (24, MAX_DAYS + 1)


@dataclass(frozen=True, eq=False)
class HandlingTimes:
    """Orders by origin, hour of the local day, and working days from the order to the hand-over.

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
        """The handling times of all shipments, as received by ``as_of`` (UTC)."""
        ordered_at, handed_over_at = states.ordered_at, states.handed_over_at
        is_handed_over = ~np.isnat(handed_over_at) & (handed_over_at >= ordered_at)
        last = as_of - _SETTLED
        is_used = is_handed_over & (ordered_at <= last) & (ordered_at > last - _HISTORY)
        origin = timelines.texts["origin"]
        counts = {_ALL: np.zeros(_SHAPE, dtype=np.int64)}
        has_origin = is_used & (origin.codes >= 0)
        for code in np.unique(origin.codes[has_origin]).tolist():
            name = origin.names[code]
            rows = np.flatnonzero(is_used & (origin.codes == code))
            counts[name] = _counts(ordered_at[rows], handed_over_at[rows], name, holidays)
            counts[_ALL] += counts[name]
        return cls(counts)

    def distribution(self, origin: str | None, cutoff_hour: float) -> NDArray[np.float64] | None:
        """Probabilities (``MAX_DAYS`` + 1,) of so many working days to the hand-over.

        They count from the working day of the order, which is the next one after a cut-off at an
        hour of the day. An origin with few orders is shrunk to all origins. None without any order.
        """
        all_counts = self.counts.get(_ALL)
        if all_counts is None or not all_counts.any():
            return None
        origin_counts = self.counts.get(origin or _ALL, np.zeros_like(all_counts))
        overall = _from_cutoff(all_counts, cutoff_hour)
        prior = PRIOR * overall / overall.sum()
        mixed = _from_cutoff(origin_counts, cutoff_hour) + prior
        return mixed / mixed.sum()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: counts.tolist() for name, counts in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HandlingTimes:
        """The handling times that ``to_json`` wrote.

        Raises:
            ModelCorrupted: if a value is of another type or out of range.
        """
        stored = check_values("the handling times", _STORED_HANDLING_TIMES, values)
        return cls({name: np.array(counts, dtype=np.int64) for name, counts in stored.items()})


_HOURS, _DAYS = (Field(min_length=size, max_length=size) for size in _SHAPE)
_STORED_HANDLING_TIMES = TypeAdapter(
    dict[Name, Annotated[list[Annotated[list[Count], _DAYS]], _HOURS]]
)


def _counts(
    ordered_at: NDArray[np.datetime64],
    handed_over_at: NDArray[np.datetime64],
    origin: str,
    holidays: HolidayCalendar,
) -> NDArray[np.int64]:
    """Orders of one origin by hour and working days, (24, ``MAX_DAYS`` + 1)."""
    country, _, region = origin.partition("-")
    zone_name, *_ = zone_of(country, region or None)
    zone = np.zeros(len(ordered_at), dtype=np.int32)
    ordered_local = wall_clock(ordered_at, zone, (zone_name,))
    ordered_on = ordered_local.astype("datetime64[D]")
    handed_over_on = local_dates(handed_over_at, zone, (zone_name,))
    first_year = ordered_on.min().astype("datetime64[Y]").astype(int) + 1970
    last_year = handed_over_on.max().astype("datetime64[Y]").astype(int) + 1970
    holiday_dates = holidays.closed_dates(
        country, region or None, int(first_year), int(last_year), is_shop=True
    )
    calendar = np.busdaycalendar(_WEEKMASK, holiday_dates)
    first_on = np.busday_offset(ordered_on, 0, roll="forward", busdaycal=calendar)
    last_on = np.busday_offset(handed_over_on, 0, roll="forward", busdaycal=calendar)
    days = np.busday_count(first_on, last_on, busdaycal=calendar)
    hour_of_day = ordered_local.astype("datetime64[h]").astype(np.int64) % 24
    hour = np.where(first_on == ordered_on, hour_of_day, 0)
    counts = np.zeros(_SHAPE, dtype=np.int64)
    np.add.at(counts, (hour, np.clip(days, 0, MAX_DAYS)), 1)
    return counts


def _from_cutoff(counts: NDArray[np.int64], cutoff_hour: float) -> NDArray[np.float64]:
    """Orders by working days, (D,), of orders ``counts`` (24, D) by hour and working days.

    Orders placed past the cut-off count from the next day.
    """
    share_in_time = np.clip(cutoff_hour - np.arange(24), 0.0, 1.0)[:, None]
    orders = (share_in_time * counts).sum(axis=0)
    too_late = ((1.0 - share_in_time) * counts).sum(axis=0)
    orders[:-1] += too_late[1:]
    orders[0] += too_late[0]
    return orders
