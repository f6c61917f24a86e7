"""When deliveries happen: hours of the week and holidays at the destination.

A parcel's clock runs in *active hours*: an hour of the wall clock counts as many active hours as
its share of deliveries says, so that nights, Sundays and holidays pass almost without chance of
delivery. Forecasts are made in active hours and read in hours of the clock; the calendar of the
target day thus enters every bin without a tree being asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.journey.categories import Categorical, group_rows
from eta.journey.examples import Examples
from eta.journey.features import PROMISE_COLUMN, Features
from eta.journey.snapshots import PURCHASE

HOURS_PER_WEEK = 168
MICROSECONDS_PER_HOUR = 3_600_000_000
_DAY = 24 * MICROSECONDS_PER_HOUR
_EXACT = 2.0**20

#: Sheets of active hours begin every so many days and reach beyond the last horizon of a row that
#: starts on their last day.
_BLOCK_DAYS = 32
_TABLE_DAYS = _BLOCK_DAYS + 64
_BLOCK_MICROSECONDS, _TABLE_HOURS = _BLOCK_DAYS * 24 * MICROSECONDS_PER_HOUR, _TABLE_DAYS * 24 + 1

#: Sheets kept for the next question, 18 kB each.
_MAX_TABLES = 4096

#: What a sheet is of: the stretch, the row of the profile and the calendar.
_TableKey = tuple[int, int, str | None]

#: No hour is ever quite dead: 1/50 of an average one.
MIN_ACTIVITY = 0.02

#: A carrier's own profile counts against that of all carriers like this many deliveries an hour of
#: the week.
CARRIER_PRIOR = 5.0

#: What a holiday is worth before any evidence, and how many deliveries that opinion weighs.
HOLIDAY_PRIOR_FACTOR, HOLIDAY_PRIOR_WEIGHT = 0.3, 20.0

#: Days from the promised one, itself included, that count as near it.
NEAR_PROMISE = np.arange(-3, 4)
_FIRST_NEAR_PROMISE_DAY, _NEAR_PROMISE_DAYS = int(NEAR_PROMISE[0]), len(NEAR_PROMISE)

#: Where the promised day begins on the clock of a row without a promise: after all else.
_NO_PROMISE = np.iinfo(np.int64).max // 2


@dataclass(frozen=True, eq=False)
class ActivityProfile:
    """Relative activity, mean 1, by carrier and hour of the local week (C + 1, 168), and that of a holiday.

    The last row is for carriers without a row of their own. Hour 0 is Monday's first.
    """

    carriers: tuple[str, ...]
    profile: NDArray[np.float64]
    holiday_factor: float
    #: Which days are holidays.
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    #: The sheets and where each of them is, in one pair: another thread sees the old one or the
    #: new.
    _tables: list[tuple[dict[_TableKey, int], NDArray[np.float64]]] = field(
        default_factory=lambda: [({}, np.empty((0, _TABLE_HOURS)))], init=False, repr=False
    )

    @classmethod
    def fit(
        cls, examples: Examples, *, holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    ) -> ActivityProfile:
        """From one arrival a parcel."""
        arrived = examples.take(
            np.flatnonzero((examples.moment == PURCHASE) & examples.event_observed)
        )
        at = arrived.features.local_as_of + (arrived.duration_hours * 3_600_000_000).astype(
            "timedelta64[us]"
        )
        on_holiday = is_holiday(at.astype("datetime64[D]"), arrived.features.calendar, holidays)
        hour = _hour_of_week(at)
        overall = _profile(np.bincount(hour[~on_holiday], minlength=HOURS_PER_WEEK) + 1.0)
        carrier = arrived.features.categoricals["carrier"]
        carriers, rows = [], []
        for code, name in enumerate(carrier.names):
            counts = np.bincount(
                hour[~on_holiday & (carrier.codes == code)], minlength=HOURS_PER_WEEK
            )
            if counts.any():
                carriers.append(name)
                rows.append(_profile(counts + CARRIER_PRIOR * overall))
        holiday_factor = _holiday_factor(
            at.astype("datetime64[D]"), arrived.features.calendar, holidays
        )
        return cls(tuple(carriers), np.vstack([*rows, overall]), holiday_factor, holidays)

    def time_index(self, features: Features, *, sees_promise: bool = False) -> ActiveTimeIndex:
        """The clocks of N rows, each started at ``as_of``; where the promise is seen, they show when it is."""
        start = features.local_as_of.astype(np.int64)
        carrier, calendar = features.categoricals["carrier"], features.calendar
        row = {name: number for number, name in enumerate(self.carriers)}
        profile = np.array(
            [*(row.get(name, len(self.carriers)) for name in carrier.names), len(self.carriers)]
        )[carrier.codes]
        # One sheet serves all rows of a carrier and a calendar that start in the same stretch of
        # days.
        block = start // _BLOCK_MICROSECONDS
        earliest = block.min(initial=0)
        group, first = group_rows(
            [
                Categorical((block - earliest).astype(np.int32), ()),
                Categorical(profile.astype(np.int32), ()),
                calendar,
            ]
        )
        keys = [
            (
                int(block[i]),
                int(profile[i]),
                calendar.names[calendar.codes[i]] if calendar.codes[i] >= 0 else None,
            )
            for i in first
        ]
        index_of, tables = self._with_tables(keys)
        table = np.array([index_of[key] for key in keys], dtype=np.int64)[group]
        position = (
            start - block * _BLOCK_MICROSECONDS + table * (_TABLE_HOURS * MICROSECONDS_PER_HOUR)
        )
        return ActiveTimeIndex(
            tables.ravel(),
            position,
            _promise_starts(features, start, position)
            if sees_promise
            else np.empty(0, dtype=np.int64),
        )

    def elapsed(self, features: Features, hours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Active hours, (N, K), that pass from ``as_of`` until ``duration_hours``, (K,) or (N, K), later; at most 62 days later.

        Steps of daylight saving are ignored. A row's answer does not depend on its company, to the
        last bit.
        """
        time_index = self.time_index(features)
        steps = np.broadcast_to(
            np.rint(hours * MICROSECONDS_PER_HOUR).astype(np.int64),
            (len(features), hours.shape[-1]),
        )
        return np.asarray(_elapsed(time_index.cumulative_active_hours, time_index.start, steps))

    def _with_tables(
        self, keys: Sequence[_TableKey]
    ) -> tuple[dict[_TableKey, int], NDArray[np.float64]]:
        """Sheets (S, hours), those of ``keys`` among them, and the row of each."""
        index_of, tables = self._tables[0]
        new = [key for key in keys if key not in index_of]
        if new:
            if len(tables) + len(new) > _MAX_TABLES:
                index_of, tables, new = {}, tables[:0], list(keys)
            index_of = {**index_of, **{key: len(tables) + number for number, key in enumerate(new)}}
            tables = np.concatenate([tables, [self._new_table(*key) for key in new]])
            self._tables[0] = index_of, tables
        return index_of, tables

    def _new_table(self, block: int, profile: int, calendar: str | None) -> NDArray[np.float64]:
        """Active hours passed since the stretch began, at the start of each hour of ``_TABLE_DAYS`` days and at their end."""
        days = np.datetime64(block * _BLOCK_DAYS, "D") + np.arange(_TABLE_DAYS)
        week = self.profile[profile][
            (24 * ((days.astype(np.int64) + 3) % 7))[:, None] + np.arange(24)
        ]
        names = (calendar,) if calendar else ()
        week[
            is_holiday(
                days,
                Categorical(np.full(len(days), len(names) - 1, dtype=np.int32), names),
                self.holidays,
            )
        ] *= self.holiday_factor
        # Whole multiples of a power of two add up without rounding, whatever day the sheet starts
        # on.
        rate = np.rint(np.maximum(week, MIN_ACTIVITY) * _EXACT).ravel() / _EXACT
        return np.concatenate([[0.0], np.cumsum(rate)])


@dataclass(frozen=True, eq=False)
class ActiveTimeIndex:
    """Clocks of N rows: ``start`` (N,), in microseconds, points into a table of active hours ``cumulative_active_hours`` hour by hour.

    ``promise`` (N,) points to where the promised day begins, and is empty where that is not seen.
    """

    cumulative_active_hours: NDArray[np.float64]
    start: NDArray[np.int64]
    promise: NDArray[np.int64]


@njit(cache=True)
def active_hours(cumulative_active_hours, at):  # type: ignore[no-untyped-def]  # compiled
    """Active hours that the table shows at a position in microseconds."""
    hour = at // MICROSECONDS_PER_HOUR
    return cumulative_active_hours[hour] + (
        at - hour * MICROSECONDS_PER_HOUR
    ) / MICROSECONDS_PER_HOUR * (cumulative_active_hours[hour + 1] - cumulative_active_hours[hour])


@njit(cache=True)
def active_hours_near_promise(cumulative_active_hours, first, last, promise, number):  # type: ignore[no-untyped-def]  # compiled
    """Active hours from ``first`` to ``last`` on the clock that are of the day ``NEAR_PROMISE[number]``, where the promised one begins at ``promise``."""
    begins = promise + (number + _FIRST_NEAR_PROMISE_DAY) * _DAY
    start, end = max(first, begins), min(last, begins + _DAY)
    return (
        active_hours(cumulative_active_hours, end) - active_hours(cumulative_active_hours, start)
        if start < end
        else 0.0
    )


@njit(cache=True)
def exposure_near_promise(cumulative_active_hours, start, promise, steps):  # type: ignore[no-untyped-def]  # compiled
    """The same (N, K - 1, P) between steps (N, K), in microseconds from the row's start on its clock, on each of the P days."""
    result = np.zeros((len(start), steps.shape[1] - 1, _NEAR_PROMISE_DAYS))
    for i in range(len(start)):
        for k in range(steps.shape[1] - 1):
            for number in range(_NEAR_PROMISE_DAYS):
                result[i, k, number] = active_hours_near_promise(
                    cumulative_active_hours,
                    start[i] + steps[i, k],
                    start[i] + steps[i, k + 1],
                    promise[i],
                    number,
                )
    return result


@njit(cache=True)
def _elapsed(cumulative_active_hours, start, steps):  # type: ignore[no-untyped-def]  # compiled
    result = np.empty(steps.shape)
    for i in range(steps.shape[0]):
        begun = active_hours(cumulative_active_hours, start[i])
        for k in range(steps.shape[1]):
            result[i, k] = active_hours(cumulative_active_hours, start[i] + steps[i, k]) - begun
    return result


def _promise_starts(
    features: Features, start: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where the promised day begins, (N,), on clocks that show ``position`` (N,) at the local time ``start`` (N,)."""
    day = promised_day(features)
    return np.where(np.isnat(day), _NO_PROMISE, day.astype(np.int64) * _DAY - start + position)


def promised_day(features: Features) -> NDArray[np.datetime64]:
    """The promised local day, (N,); NaT without a promise."""
    days_to_promise = features.numbers[PROMISE_COLUMN]
    filled = np.where(np.isnan(days_to_promise), 0.0, days_to_promise)
    # A step of daylight saving until then moves it by an hour; the nearest midnight is meant.
    noon = features.local_as_of + np.rint((filled + 0.5) * _DAY).astype("timedelta64[us]")
    return np.where(np.isnan(days_to_promise), np.datetime64("NaT"), noon.astype("datetime64[D]"))


def is_holiday(
    dates: NDArray[np.datetime64], calendar: Categorical, holidays: HolidayCalendar
) -> NDArray[np.bool_]:
    """Whether each local date is a holiday in its ``country-region``, shape (N,)."""
    result = np.zeros(len(dates), dtype=bool)
    if not len(dates):
        return result
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    for code, name in enumerate(calendar.names):
        rows = np.flatnonzero(calendar.codes == code)
        if len(rows):
            country, _, region = name.partition("-")
            result[rows] = np.isin(
                dates[rows],
                holidays.dates(country, region or None, int(years.min()), int(years.max())),
            )
    return result


def _hour_of_week(local: NDArray[np.datetime64]) -> NDArray[np.int64]:
    # 1970-01-01 was a Thursday, three days after a Monday.
    return (local.astype("datetime64[h]").astype(np.int64) + 3 * 24) % HOURS_PER_WEEK


def _profile(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.maximum(counts / counts.mean(), MIN_ACTIVITY)


def _holiday_factor(
    dates: NDArray[np.datetime64], calendar: Categorical, calendars: HolidayCalendar
) -> float:
    """Deliveries on holidays over those of the same weekday a week before and after, holidays without any included."""
    on_holidays = on_normal_days = 0.0
    for code in np.unique(calendar.codes[calendar.codes >= 0]):
        local_dates = dates[calendar.codes == code]
        first, last = local_dates.min(), local_dates.max()
        daily = np.bincount((local_dates - first).astype(np.int64))
        days = np.arange(first + 7, last - 6)
        holidays = (
            days[
                is_holiday(
                    days,
                    Categorical(np.zeros(len(days), dtype=np.int32), (calendar.names[code],)),
                    calendars,
                )
            ]
            - first
        ).astype(np.int64)
        on_holidays += daily[holidays].sum()
        on_normal_days += (daily[holidays - 7] + daily[holidays + 7]).sum() / 2
    return float(
        (on_holidays + HOLIDAY_PRIOR_FACTOR * HOLIDAY_PRIOR_WEIGHT)
        / (on_normal_days + HOLIDAY_PRIOR_WEIGHT)
    )
