"""When deliveries happen: hours of the week and holidays at the destination.

The hazard counts time in *active hours*. An hour of the wall clock counts as many active hours as
its share of deliveries, so nights, Sundays and holidays pass almost without a chance of delivery.
Forecasts are made in active hours and read in wall-clock hours. The calendar of the target day thus
enters every bin without any tree needing a feature for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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

#: Active hours are whole multiples of one over this power of two, so that they add up exactly.
_EXACT = 2.0**20

#: A table of active hours begins every so many days. It reaches beyond the last horizon of a row
#: that starts on the last day of its block.
_BLOCK_DAYS = 32
_TABLE_DAYS = _BLOCK_DAYS + 64
_BLOCK_MICROSECONDS = _BLOCK_DAYS * _DAY
_TABLE_HOURS = _TABLE_DAYS * 24 + 1
_TABLE_MICROSECONDS = _TABLE_HOURS * MICROSECONDS_PER_HOUR

#: Tables that are cached, 18 kB each.
_MAX_TABLES = 4096

#: What a table depends on: the block of days, the row of the profile and the holiday calendar.
_TableKey = tuple[int, int, str | None]

#: The least activity of an hour, relative to the average hour.
MIN_ACTIVITY = 0.02

#: Weight of the overall profile in a carrier's own, in deliveries per hour of the week.
CARRIER_PRIOR = 5.0

#: The factor of a holiday without any evidence, and its weight in deliveries.
HOLIDAY_PRIOR_FACTOR, HOLIDAY_PRIOR_WEIGHT = 0.3, 20.0

#: Days near the promised day, counted from it.
NEAR_PROMISE = np.arange(-3, 4)
_FIRST_NEAR_PROMISE_DAY, _NEAR_PROMISE_DAYS = int(NEAR_PROMISE[0]), len(NEAR_PROMISE)

#: Where the promised day of a row without a promise begins: after everything else.
_NO_PROMISE = np.iinfo(np.int64).max // 2

#: 1970-01-01 was a Thursday, three days after a Monday.
_EPOCH_WEEKDAY = 3


class ActiveTimeIndex(NamedTuple):
    """Positions of N rows in tables of active hours, as compiled code reads them.

    Positions are in microseconds from the first hour of the first table.
    """

    #: Active hours since the start of each table, hour by hour; all tables in one array.
    cumulative_active_hours: NDArray[np.float64]
    #: The position of each row's ``as_of``, (N,).
    start: NDArray[np.int64]
    #: The position at which the promised day begins, (N,); empty unless it is needed.
    promise: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ActivityProfile:
    """Relative activity, mean 1, by carrier and hour of the local week; and on holidays.

    ``profile`` is (C + 1, 168); its last row is for carriers without a row of their own. Hour 0 is
    the first of Monday. On a holiday all hours are multiplied by ``holiday_factor``.
    """

    carriers: tuple[str, ...]
    profile: NDArray[np.float64]
    holiday_factor: float
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    #: The cached tables and the number of each, in one pair: another thread sees either the old
    #: pair or the new one.
    _tables: list[tuple[dict[_TableKey, int], NDArray[np.float64]]] = field(
        default_factory=lambda: [({}, np.empty((0, _TABLE_HOURS)))], init=False, repr=False
    )

    @classmethod
    def fit(
        cls, examples: Examples, *, holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    ) -> ActivityProfile:
        """The profile of the arrivals of examples, one a parcel."""
        is_arrival = (examples.moment == PURCHASE) & examples.event_observed
        arrived = examples.take(np.flatnonzero(is_arrival))
        features = arrived.features
        hours = (arrived.duration_hours * MICROSECONDS_PER_HOUR).astype("timedelta64[us]")
        arrived_at = features.local_as_of + hours
        dates = arrived_at.astype("datetime64[D]")
        normal = np.flatnonzero(~is_holiday(dates, features.calendar, holidays))
        local = arrived_at[normal]
        hour_of_week_hours = local.astype("datetime64[h]").astype(np.int64)
        hour = (hour_of_week_hours + _EPOCH_WEEKDAY * 24) % HOURS_PER_WEEK
        # The carriers with arrivals at these hours of the week, and their profiles (C + 1, 168).
        carrier = features.categoricals["carrier"].take(normal)
        overall = _profile(np.bincount(hour, minlength=HOURS_PER_WEEK) + 1.0)
        profiles_carriers, profiles = [], []
        for code, name in enumerate(carrier.names):
            counts = np.bincount(hour[carrier.codes == code], minlength=HOURS_PER_WEEK)
            if counts.any():
                profiles_carriers.append(name)
                profiles.append(_profile(counts + CARRIER_PRIOR * overall))
        carriers, profile = tuple(profiles_carriers), np.vstack([*profiles, overall])
        holiday_factor = _holiday_factor(dates, features.calendar, holidays)
        return cls(carriers, profile, holiday_factor, holidays)

    def time_index(self, features: Features, *, sees_promise: bool = False) -> ActiveTimeIndex:
        """The positions of N rows, of their promised days too if the model uses the promise."""
        start = features.local_as_of.astype(np.int64)
        carrier = features.categoricals["carrier"]
        row_of = {name: number for number, name in enumerate(self.carriers)}
        other = len(self.carriers)
        rows = [row_of.get(name, other) for name in carrier.names]
        profile_row = np.array([*rows, other])[carrier.codes]
        # Rows of one carrier and calendar that start in the same block of days share a table.
        block = start // _BLOCK_MICROSECONDS
        group, keys = _table_keys(block, profile_row, features.calendar)
        table_of, tables = self._with_tables(keys)
        table = np.array([table_of[key] for key in keys], dtype=np.int64)[group]
        position = start - block * _BLOCK_MICROSECONDS + table * _TABLE_MICROSECONDS
        promise = _NO_POSITIONS
        if sees_promise:
            day = promised_day(features)
            day_position = day.astype(np.int64) * _DAY - start + position
            promise = np.where(np.isnat(day), _NO_PROMISE, day_position)
        return ActiveTimeIndex(tables.ravel(), position, promise)

    def elapsed(self, features: Features, hours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Active hours, (N, K), from ``as_of`` until ``hours``, (K,) or (N, K), later.

        At most 62 days later. Changes to or from summer time are ignored. The result of a row does
        not depend on the other rows, to the last bit.
        """
        time_index = self.time_index(features)
        steps = np.broadcast_to(microseconds(hours), (len(features), hours.shape[-1]))
        return np.asarray(_elapsed(time_index, steps))

    def _with_tables(
        self, keys: Sequence[_TableKey]
    ) -> tuple[dict[_TableKey, int], NDArray[np.float64]]:
        """The number of each cached table, and the tables (S, hours), including ``keys``."""
        table_of, tables = self._tables[0]
        new = [key for key in keys if key not in table_of]
        if new:
            if len(tables) + len(new) > _MAX_TABLES:
                table_of, tables, new = {}, tables[:0], list(keys)
            new_table_of = {key: len(tables) + number for number, key in enumerate(new)}
            table_of = {**table_of, **new_table_of}
            tables = np.concatenate([tables, [self._new_table(*key) for key in new]])
            self._tables[0] = table_of, tables
        return table_of, tables

    def _new_table(self, block: int, profile: int, calendar: str | None) -> NDArray[np.float64]:
        """Active hours since the block began, at the start of each hour of ``_TABLE_DAYS`` days.

        The last entry is for their end.
        """
        first_day = np.datetime64(block * _BLOCK_DAYS, "D")
        days = first_day + np.arange(_TABLE_DAYS)
        weekday = (days.astype(np.int64) + _EPOCH_WEEKDAY) % 7
        hour_of_week = 24 * weekday[:, None] + np.arange(24)
        rates = self.profile[profile][hour_of_week]
        if calendar:
            codes = np.zeros(len(days), dtype=np.int32)
            calendar_of_day = Categorical(codes, (calendar,))
            on_holiday = is_holiday(days, calendar_of_day, self.holidays)
            rates[on_holiday] *= self.holiday_factor
        # Multiples of a power of two add up without rounding, on whatever day the table starts.
        rates = np.maximum(rates, MIN_ACTIVITY).ravel()
        exact_rates = np.rint(rates * _EXACT) / _EXACT
        return np.concatenate([[0.0], np.cumsum(exact_rates)])


_NO_POSITIONS = np.empty(0, dtype=np.int64)


def microseconds(hours: NDArray[np.float64]) -> NDArray[np.int64]:
    """Hours, of any shape, in whole microseconds."""
    return np.rint(hours * MICROSECONDS_PER_HOUR).astype(np.int64)


@njit(cache=True)
def active_hours(cumulative_active_hours, position):  # type: ignore[no-untyped-def]  # compiled
    """Active hours in the table at a position in microseconds."""
    hour = position // MICROSECONDS_PER_HOUR
    fraction = (position - hour * MICROSECONDS_PER_HOUR) / MICROSECONDS_PER_HOUR
    begin, end = cumulative_active_hours[hour], cumulative_active_hours[hour + 1]
    return begin + fraction * (end - begin)


@njit(cache=True)
def active_hours_near_promise(cumulative_active_hours, first, last, promise, number):  # type: ignore[no-untyped-def]  # compiled
    """Active hours, between two positions, on the day ``NEAR_PROMISE[number]``.

    ``promise`` is the position at which the promised day begins.
    """
    day_start = promise + (number + _FIRST_NEAR_PROMISE_DAY) * _DAY
    start, end = max(first, day_start), min(last, day_start + _DAY)
    if start >= end:
        return 0.0
    return active_hours(cumulative_active_hours, end) - active_hours(cumulative_active_hours, start)


@njit(cache=True, nogil=True)
def exposure_near_promise(time_index, steps):  # type: ignore[no-untyped-def]  # compiled
    """Active hours (N, K - 1, P) on each of the P days ``NEAR_PROMISE``, between K steps.

    ``steps`` (N, K) are in microseconds from the row's ``as_of``.
    """
    table = time_index.cumulative_active_hours
    result = np.zeros((len(steps), steps.shape[1] - 1, _NEAR_PROMISE_DAYS))
    for i in range(len(steps)):
        start, promise = time_index.start[i], time_index.promise[i]
        for k in range(steps.shape[1] - 1):
            first, last = start + steps[i, k], start + steps[i, k + 1]
            for number in range(_NEAR_PROMISE_DAYS):
                result[i, k, number] = active_hours_near_promise(
                    table, first, last, promise, number
                )
    return result


@njit(cache=True)
def _elapsed(time_index, steps):  # type: ignore[no-untyped-def]  # compiled
    table = time_index.cumulative_active_hours
    result = np.empty(steps.shape)
    for i in range(steps.shape[0]):
        start = time_index.start[i]
        before = active_hours(table, start)
        for k in range(steps.shape[1]):
            result[i, k] = active_hours(table, start + steps[i, k]) - before
    return result


def _table_keys(
    block: NDArray[np.int64], profile_row: NDArray[np.int64], calendar: Categorical
) -> tuple[NDArray[np.int64], list[_TableKey]]:
    """The group of each row, (N,), and the key of the table of each group."""
    block_number = (block - block.min(initial=0)).astype(np.int32)
    group, first = group_rows(
        [
            Categorical(block_number, ()),
            Categorical(profile_row.astype(np.int32), ()),
            calendar,
        ]
    )
    keys: list[_TableKey] = []
    for row in first:
        code = calendar.codes[row]
        name = calendar.names[code] if code >= 0 else None
        keys.append((int(block[row]), int(profile_row[row]), name))
    return group, keys


def promised_day(features: Features) -> NDArray[np.datetime64]:
    """The promised local day, (N,); NaT without a promise."""
    days_to_promise = features.numbers[PROMISE_COLUMN]
    has_none = np.isnan(days_to_promise)
    filled = np.where(has_none, 0.0, days_to_promise)
    # Noon, because a change to or from summer time until then moves the promise by an hour.
    until_noon = np.rint((filled + 0.5) * _DAY).astype("timedelta64[us]")
    noon = features.local_as_of + until_noon
    return np.where(has_none, np.datetime64("NaT"), noon.astype("datetime64[D]"))


def is_holiday(
    dates: NDArray[np.datetime64], calendar: Categorical, holidays: HolidayCalendar
) -> NDArray[np.bool_]:
    """Whether each local date, (N,), is a holiday in its "country-region" or of its "|carrier"."""
    result = np.zeros(len(dates), dtype=bool)
    if not len(dates):
        return result
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    first_year, last_year = int(years.min()), int(years.max())
    for code, name in enumerate(calendar.names):
        rows = np.flatnonzero(calendar.codes == code)
        if len(rows):
            holiday_dates = _holiday_dates(name, first_year, last_year, holidays)
            result[rows] = np.isin(dates[rows], holiday_dates)
    return result


def _holiday_dates(
    calendar: str, first_year: int, last_year: int, holidays: HolidayCalendar
) -> NDArray[np.datetime64]:
    place, _, carrier = calendar.partition("|")
    country, _, region = place.partition("-")
    if carrier:
        return holidays.closed_dates(country, region or None, first_year, last_year, carrier)
    return holidays.dates(country, region or None, first_year, last_year)


def _profile(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.maximum(counts / counts.mean(), MIN_ACTIVITY)


def _holiday_factor(
    dates: NDArray[np.datetime64], calendar: Categorical, holidays: HolidayCalendar
) -> float:
    """Deliveries on holidays over those of the same weekday a week before and after.

    Holidays without any delivery count too.
    """
    on_holidays = on_normal_days = 0.0
    for code in np.unique(calendar.codes[calendar.codes >= 0]):
        local_dates = dates[calendar.codes == code]
        first, last = local_dates.min(), local_dates.max()
        daily = np.bincount((local_dates - first).astype(np.int64))
        # Days with a week of data on both sides.
        days = np.arange(first + 7, last - 6)
        codes = np.zeros(len(days), dtype=np.int32)
        calendar_of_day = Categorical(codes, (calendar.names[code],))
        on_holiday = is_holiday(days, calendar_of_day, holidays)
        number = (days[on_holiday] - first).astype(np.int64)
        week_before, week_after = daily[number - 7], daily[number + 7]
        around = week_before + week_after
        on_holidays += daily[number].sum()
        on_normal_days += around.sum() / 2
    prior_deliveries = HOLIDAY_PRIOR_FACTOR * HOLIDAY_PRIOR_WEIGHT
    return float((on_holidays + prior_deliveries) / (on_normal_days + HOLIDAY_PRIOR_WEIGHT))
