"""When deliveries happen: hours of the week and holidays at the destination.

A parcel's clock runs in *active hours*: an hour of the wall clock counts as many active hours as its share of deliveries
says, so that nights, Sundays and holidays pass almost without chance of delivery. Forecasts are made in active hours and
read in hours of the clock; the calendar of the target day thus enters every bin without a tree being asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import holiday_dates
from eta.journey.columns import Labels
from eta.journey.features import Features
from eta.journey.snapshots import PURCHASE, Examples

HOURS_A_WEEK = 168
#: Microseconds.
_HOUR = 3_600_000_000
_EXACT = 2.0**20
#: No hour is ever quite dead: 1/50 of an average one.
LEAST = 0.02
#: A carrier's own profile counts against that of all carriers like this many deliveries an hour of the week.
CARRIER_PRIOR = 5.0
#: What a holiday is worth before any evidence, and how many deliveries that opinion weighs.
HOLIDAY_GUESS, HOLIDAY_WEIGHT = 0.3, 20.0


@dataclass(frozen=True, eq=False)
class Activity:
    """Relative activity, mean 1, by carrier and hour of the local week (C + 1, 168), and that of a holiday.

    The last row is for carriers without a row of their own. Hour 0 is Monday's first.
    """

    carriers: tuple[str, ...]
    profile: NDArray[np.float64]
    holiday_factor: float

    @classmethod
    def learn(cls, examples: Examples) -> Activity:
        """From one arrival a parcel."""
        arrived = examples.take(np.flatnonzero((examples.kind == PURCHASE) & examples.arrived))
        at = arrived.features.local_as_of + (arrived.hours * 3_600_000_000).astype("timedelta64[us]")
        on_holiday = is_holiday(at.astype("datetime64[D]"), arrived.features.calendar)
        hour = _hour_of_week(at)
        overall = _profile(np.bincount(hour[~on_holiday], minlength=HOURS_A_WEEK) + 1.0)
        carrier = arrived.features.labels["carrier"]
        carriers, rows = [], []
        for code, name in enumerate(carrier.names):
            own = np.bincount(hour[~on_holiday & (carrier.codes == code)], minlength=HOURS_A_WEEK)
            if own.any():
                carriers.append(name)
                rows.append(_profile(own + CARRIER_PRIOR * overall))
        return cls(tuple(carriers), np.vstack([*rows, overall]), _holiday_factor(at.astype("datetime64[D]"), arrived.features.calendar))

    def elapsed(self, features: Features, hours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Active hours, (N, K), that pass from ``as_of`` until ``hours``, (K,) or (N, K), later; the first are 0.

        Steps of daylight saving are ignored. A row's answer does not depend on its company, to the last bit.
        """
        steps = np.broadcast_to(np.rint(hours * _HOUR).astype(np.int64), (len(features), hours.shape[-1]))
        result = np.empty(steps.shape)
        for rows, calendar, profile in self._groups(features):
            start = features.local_as_of[rows]
            first = start.min().astype("datetime64[D]")
            at = (start - first.astype(start.dtype)).astype(np.int64)[:, None] + steps[rows]
            hour, part = at // _HOUR, (at % _HOUR) / _HOUR
            days = first + np.arange(int(hour.max()) // 24 + 2)
            week = profile[(24 * ((days.astype(np.int64) + 3) % 7))[:, None] + np.arange(24)]
            names = (calendar,) if calendar else ()
            week[is_holiday(days, Labels(np.full(len(days), len(names) - 1, dtype=np.int32), names))] *= self.holiday_factor
            # Whole multiples of a power of two add up without rounding, whatever day the batch starts on.
            rate = np.rint(np.maximum(week, LEAST) * _EXACT).ravel() / _EXACT
            passed = np.concatenate([[0.0], np.cumsum(rate)])
            begun = part * rate[hour]
            result[rows] = (passed[hour] - passed[hour[:, :1]]) + (begun - begun[:, :1])
        return result

    def _groups(self, features: Features) -> Iterator[tuple[NDArray[np.int64], str | None, NDArray[np.float64]]]:
        """Rows that share a calendar and a profile."""
        carrier, calendar = features.labels["carrier"], features.calendar
        own = np.array([*(self.carriers.index(name) if name in self.carriers else len(self.carriers) for name in carrier.names), len(self.carriers)])
        profile = own[carrier.codes]
        group = calendar.codes.astype(np.int64) * len(self.profile) + profile
        for value in np.unique(group):
            rows = np.flatnonzero(group == value)
            code = calendar.codes[rows[0]]
            yield rows, calendar.names[code] if code >= 0 else None, self.profile[profile[rows[0]]]


def is_holiday(dates: NDArray[np.datetime64], calendar: Labels) -> NDArray[np.bool_]:
    """Whether each local date is a public holiday in its ``country-region``, shape (N,)."""
    result = np.zeros(len(dates), dtype=bool)
    if not len(dates):
        return result
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    for code, name in enumerate(calendar.names):
        rows = np.flatnonzero(calendar.codes == code)
        if len(rows):
            country, _, region = name.partition("-")
            result[rows] = np.isin(dates[rows], holiday_dates(country, region, int(years.min()), int(years.max())))
    return result


def _hour_of_week(local: NDArray[np.datetime64]) -> NDArray[np.int64]:
    # 1970-01-01 was a Thursday, three days after a Monday.
    return (local.astype("datetime64[h]").astype(np.int64) + 3 * 24) % HOURS_A_WEEK


def _profile(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.maximum(counts / counts.mean(), LEAST)


def _holiday_factor(dates: NDArray[np.datetime64], calendar: Labels) -> float:
    """Deliveries on holidays over those of the same weekday a week before and after, holidays without any included."""
    seen = usual = 0.0
    for code in np.unique(calendar.codes[calendar.codes >= 0]):
        own = dates[calendar.codes == code]
        first, last = own.min(), own.max()
        daily = np.bincount((own - first).astype(np.int64))
        days = np.arange(first + 7, last - 6)
        holidays = (days[is_holiday(days, Labels(np.zeros(len(days), dtype=np.int32), (calendar.names[code],)))] - first).astype(np.int64)
        seen += daily[holidays].sum()
        usual += (daily[holidays - 7] + daily[holidays + 7]).sum() / 2
    return float((seen + HOLIDAY_GUESS * HOLIDAY_WEIGHT) / (usual + HOLIDAY_WEIGHT))
