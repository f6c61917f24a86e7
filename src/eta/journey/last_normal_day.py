"""The last day with a normal number of received rows, through which a model learns by default.

The last receipt is no measure of where data end: one mistyped year is later than all others, and an
export of old orders has a tail of a few late scans a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, Instants, from_microseconds, local_dates, midnight

#: A day is normal if its rows reach this share of the median of so many days before it.
NORMAL_SHARE = 0.25
REFERENCE_DAYS = 28
#: A tail that fades slowly is low beside a year, not beside the days before. So the week up to a
#: normal day must also hold this share of the rows of a typical week.
TAIL_SHARE = 0.1
_WEEK_DAYS = 7
#: The days with rows whose weeks are typical.
_YEAR_DAYS = 364


@dataclass(frozen=True)
class LastNormalDay:
    """The last normal day of a feed, in the zone of its source."""

    day: date
    #: The first instant after the day, in UTC.
    ends_at: datetime
    #: The last receipt on it, in UTC.
    last_received_at: datetime
    #: How many rows were received after it.
    rows_after: int

    def known_through(self, now: datetime) -> datetime:
        """The end of the day; if it is not over ``now``, its last receipt."""
        return self.ends_at if self.ends_at <= now else self.last_received_at


def last_normal_day(received_at: Instants, zone: str) -> LastNormalDay:
    """The last day in ``zone`` with a normal number of received rows; rows are in any order.

    Days before the data begin do not count, so that the first day is normal.

    Raises:
        ValueError: if there are no rows.
    """
    if not len(received_at):
        raise ValueError("without rows there is no last day")
    zone_codes = np.zeros(len(received_at), dtype=np.int32)
    received_on = local_dates(received_at, zone_codes, (zone,))
    days, counts = np.unique(received_on, return_counts=True)
    numbers = days.astype(np.int64)
    last = next(end for end in range(len(days), 0, -1) if _is_normal(numbers[:end], counts[:end]))
    day = days[last - 1]
    next_day = day + DAY
    last_received_at = received_at[received_on == day].max()
    return LastNormalDay(
        day=day.astype(date),
        ends_at=midnight(next_day.astype(date), zone),
        last_received_at=from_microseconds(int(last_received_at.astype(np.int64))),
        rows_after=int(counts[last:].sum()),
    )


def _is_normal(days: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
    """Whether the last of the days, each with its number of rows, is normal."""
    days_before = min(int(days[-1] - days[0]), REFERENCE_DAYS)
    if not days_before:
        return True
    is_before = days[:-1] >= days[-1] - days_before
    rows_before = np.zeros(days_before)
    rows_before[: is_before.sum()] = counts[:-1][is_before]
    median = float(np.median(rows_before))
    if counts[-1] < NORMAL_SHARE * median:
        return False
    # Where most days have no rows, one row is enough for a day, and not for a month.
    reaches_month = median > 0.0 or _reached(days, counts, REFERENCE_DAYS) >= NORMAL_SHARE
    return reaches_month and _reached(days, counts, _WEEK_DAYS) >= TAIL_SHARE


def _reached(days: NDArray[np.int64], counts: NDArray[np.int64], day_count: int) -> float:
    """The rows of so many days up to the last one, relative to as many days up to the others."""
    total = np.concatenate([[0], np.cumsum(counts)])
    ends = np.arange(len(days))[-_YEAR_DAYS:]
    starts = np.searchsorted(days, days[ends] - day_count, side="right")
    rows = total[ends + 1] - total[starts]
    return float(rows[-1] / np.median(rows))
