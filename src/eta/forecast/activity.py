"""When deliveries happen: hours of the week and holidays at the destination.

A parcel's clock runs in *active hours*: an hour of the wall clock counts as many active hours as its share of deliveries
says, so that nights, Sundays and holidays pass almost without chance of delivery. Forecasts are made in active hours and
read in hours of the clock; the calendar of the target day thus enters every bin without a tree being asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.holidays import holiday_dates
from eta.journey.columns import Labels
from eta.journey.features import Features
from eta.journey.snapshots import PURCHASE, Examples

HOURS_A_WEEK = 168
MICROSECONDS_AN_HOUR = 3_600_000_000
_EXACT = 2.0**20
#: Sheets of active hours begin every so many days and reach beyond the last horizon of a row that starts on their last day.
_STRETCH_DAYS = 32
_SHEET_DAYS = _STRETCH_DAYS + 64
_STRETCH, _SHEET_HOURS = _STRETCH_DAYS * 24 * MICROSECONDS_AN_HOUR, _SHEET_DAYS * 24
#: Sheets kept for the next question, 37 kB each.
_MOST_SHEETS = 1024
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
    _sheets: dict[tuple[int, int, str | None], tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict, init=False, repr=False)

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

    def clocks(self, features: Features) -> Clocks:
        """The clocks of N rows, each started at ``as_of``."""
        start = features.local_as_of.astype(np.int64)
        carrier, calendar = features.labels["carrier"], features.calendar
        row = {name: number for number, name in enumerate(self.carriers)}
        profile = np.array([*(row.get(name, len(self.carriers)) for name in carrier.names), len(self.carriers)])[carrier.codes]
        # One sheet serves all rows of a carrier and a calendar that start in the same stretch of days.
        sheet = (start // _STRETCH * len(self.profile) + profile) * (len(calendar.names) + 1) + calendar.codes
        used, first, which = np.unique(sheet, return_index=True, return_inverse=True)
        sheets = [self._sheet(int(start[i] // _STRETCH), int(profile[i]), calendar.names[calendar.codes[i]] if calendar.codes[i] >= 0 else None) for i in first]
        passed, rate = (np.concatenate(parts) for parts in zip(*sheets, strict=True)) if len(used) else (np.zeros(1), np.zeros(1))
        return Clocks(passed, rate, start % _STRETCH + which * (_SHEET_HOURS * MICROSECONDS_AN_HOUR))

    def elapsed(self, features: Features, hours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Active hours, (N, K), that pass from ``as_of`` until ``hours``, (K,) or (N, K), later; at most 62 days later.

        Steps of daylight saving are ignored. A row's answer does not depend on its company, to the last bit.
        """
        clocks = self.clocks(features)
        steps = np.broadcast_to(np.rint(hours * MICROSECONDS_AN_HOUR).astype(np.int64), (len(features), hours.shape[-1]))
        return _elapsed(clocks.passed, clocks.rate, clocks.start, steps)

    def _sheet(self, stretch: int, profile: int, calendar: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        sheet = self._sheets.get((stretch, profile, calendar))
        if sheet is None:
            if len(self._sheets) >= _MOST_SHEETS:
                self._sheets.clear()
            sheet = self._sheets[stretch, profile, calendar] = self._new_sheet(stretch, profile, calendar)
        return sheet

    def _new_sheet(self, stretch: int, profile: int, calendar: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Active hours passed since the stretch began, and the rate of each of its hours, for ``_SHEET_DAYS`` days."""
        days = np.datetime64(stretch * _STRETCH_DAYS, "D") + np.arange(_SHEET_DAYS)
        week = self.profile[profile][(24 * ((days.astype(np.int64) + 3) % 7))[:, None] + np.arange(24)]
        names = (calendar,) if calendar else ()
        week[is_holiday(days, Labels(np.full(len(days), len(names) - 1, dtype=np.int32), names))] *= self.holiday_factor
        # Whole multiples of a power of two add up without rounding, whatever day the sheet starts on.
        rate = np.rint(np.maximum(week, LEAST) * _EXACT).ravel() / _EXACT
        return np.cumsum(rate) - rate, rate


@dataclass(frozen=True, eq=False)
class Clocks:
    """Clocks of N rows: ``start`` (N,), in microseconds, points into hourly tables of active hours ``passed`` and their ``rate``."""

    passed: NDArray[np.float64]
    rate: NDArray[np.float64]
    start: NDArray[np.int64]


@njit(cache=True)
def active_hours(passed, rate, at):  # type: ignore[no-untyped-def]  # compiled
    """Active hours that the table shows at a position in microseconds."""
    hour = at // MICROSECONDS_AN_HOUR
    return passed[hour] + (at - hour * MICROSECONDS_AN_HOUR) / MICROSECONDS_AN_HOUR * rate[hour]


@njit(cache=True)
def _elapsed(passed, rate, start, steps):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(steps.shape)
    for i in range(steps.shape[0]):
        begun = active_hours(passed, rate, start[i])
        for k in range(steps.shape[1]):
            result[i, k] = active_hours(passed, rate, start[i] + steps[i, k]) - begun
    return result


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
