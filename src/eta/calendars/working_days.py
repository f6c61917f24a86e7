"""Working days of warehouses and carriers: weekdays without holidays, by NumPy's business days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import Dates
from eta.calendars.places import place_name
from eta.domain.errors import InvalidValue

#: If a place is closed for longer, its calendar is wrong.
MAX_CLOSED_DAYS = 400
_WEEK = 7
_YEAR = np.dtype("datetime64[Y]")
_FIRST_YEAR = 1970
_DAYS = np.dtype("timedelta64[D]")


@dataclass(frozen=True)
class WorkingDays:
    """The days at a place that are one of ``weekdays``, ISO 1 (Monday) to 7, and not a holiday.

    Raises:
        InvalidValue: if there are no weekdays, or one is not from 1 to 7.
    """

    country: str | None
    region: str | None
    weekdays: tuple[int, ...]
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS
    #: The code of the carrier whose holidays count; None for one that is not known.
    carrier: str | None = None

    def __post_init__(self) -> None:
        if not self.weekdays:
            raise InvalidValue(
                "weekdays", "there are none", "give at least one, from 1 (Monday) to 7"
            )
        for weekday in self.weekdays:
            if weekday not in range(1, _WEEK + 1):
                raise InvalidValue(
                    "weekdays",
                    f"{weekday!r} is not a day of the week",
                    "give days from 1 (Monday) to 7",
                )

    def on_or_after(self, dates: Dates) -> Dates:
        """The first working day on or after each of ``dates``, ``datetime64[D]`` of any shape.

        NaT stays NaT. ``on_or_after(d) <= e`` exactly if ``d <= on_or_before(e)``.

        Raises:
            InvalidValue: if there is none within ``MAX_CLOSED_DAYS``.
        """
        return self._shift(dates, 0, "forward")

    def on_or_before(self, dates: Dates) -> Dates:
        """The last working day on or before each of ``dates``, shaped as they are; NaT stays NaT.

        Raises:
            InvalidValue: if there is none within ``MAX_CLOSED_DAYS``.
        """
        return self._shift(dates, 0, "backward")

    def offset(self, dates: Dates, count: int | NDArray[np.int64]) -> Dates:
        """``count`` (0 or more) working days after ``on_or_after(dates)``; the two are broadcast.

        Raises:
            InvalidValue: if the place is closed for longer than ``MAX_CLOSED_DAYS`` on the way.
        """
        return self._shift(dates, count, "forward")

    def count(self, first: date, last: date) -> int:
        """The working days from ``first`` up to, and without, ``last``."""
        calendar = _business_days(self, first.year, last.year)
        return int(np.busday_count(first, last, busdaycal=calendar))

    def closed_dates(self, first_year: int, last_year: int) -> Dates:
        """The holidays of these years."""
        return self.holidays.closed_dates(
            self.country, self.region, first_year, last_year, self.carrier
        )

    def _shift(
        self, dates: Dates, count: int | NDArray[np.int64], roll: Literal["forward", "backward"]
    ) -> Dates:
        if not dates.size or np.isnat(dates).all():
            return dates
        # If the place is open every week, ``count`` days take no longer than as many weeks.
        max_days = MAX_CLOSED_DAYS + _WEEK * np.asarray(count)
        margin = max_days.max()
        first_year = _year(np.nanmin(dates) - margin)
        last_year = _year(np.nanmax(dates) + margin)
        calendar = _business_days(self, first_year, last_year)
        shifted = np.busday_offset(dates, count, roll=roll, busdaycal=calendar)
        distance = np.abs(shifted - dates)
        if (distance > max_days.astype(_DAYS)).any():
            place = place_name(self.country, self.region)
            raise InvalidValue(
                "weekdays",
                f"{place} has none of them open for more than {MAX_CLOSED_DAYS} days",
                "give other weekdays, or open days in the calendar file",
            )
        return shifted


def _year(day: np.datetime64) -> int:
    return int(day.astype(_YEAR).astype(int)) + _FIRST_YEAR


class DeliveryDays(WorkingDays):
    """The days on which a carrier delivers at a place.

    A parcel that arrives there on another day is delivered on the next of them. So
    P(delivered on or before d) = P(arrived on or before ``on_or_before(d)``).
    """


class HandlingDays(WorkingDays):
    """The days on which a shop handles orders: its own holidays come before the carrier's."""

    def closed_dates(self, first_year: int, last_year: int) -> Dates:
        """The holidays of the shop."""
        return self.holidays.closed_dates(
            self.country, self.region, first_year, last_year, self.carrier, is_shop=True
        )


class PickupDays(HandlingDays):
    """The days on which a carrier picks up at a shop: neither of them is closed."""

    def closed_dates(self, first_year: int, last_year: int) -> Dates:
        """The holidays of the carrier, and those of the shop."""
        shops = super().closed_dates(first_year, last_year)
        carriers = WorkingDays.closed_dates(self, first_year, last_year)
        return np.union1d(carriers, shops)


@lru_cache(maxsize=10_000)
def _business_days(days: WorkingDays, first_year: int, last_year: int) -> np.busdaycalendar:
    weekmask = [weekday in days.weekdays for weekday in range(1, _WEEK + 1)]
    return np.busdaycalendar(weekmask, days.closed_dates(first_year, last_year))
