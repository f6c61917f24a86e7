"""Cut-offs and pick-up days of a warehouse, by its local time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import wall_to_instant
from eta.calendars.working_days import WorkingDays
from eta.calendars.zones import zone_of
from eta.domain.errors import InvalidValue, NaiveTime


@dataclass(frozen=True, kw_only=True)
class PickupCalendar:
    """When a warehouse takes orders and hands parcels to the carrier, by its local time.

    A pick-up day is one of ``weekdays`` and not a holiday of the place. On it orders are taken
    until the cut-off, and parcels are handed over at that time. A cut-off that clocks skip is the
    first instant after the gap; one that occurs twice is the first of the two.

    Raises:
        InvalidValue: if there are no weekdays, one is not from 1 to 7, or the cut-off has an
            offset.
    """

    country: str
    region: str | None = None
    #: An order placed before it counts for the same pick-up day; at or after it, for the next one.
    cutoff: time
    #: ISO weekdays, 1 (Monday) to 7, on which the carrier picks up.
    weekdays: tuple[int, ...]
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS

    def __post_init__(self) -> None:
        if self.cutoff.tzinfo is not None:
            raise InvalidValue(
                "cutoff",
                "the time has an offset from UTC",
                "write the warehouse's local time, such as 14:00",
            )
        self._days  # noqa: B018  # rejects impossible weekdays

    @property
    def zone(self) -> str:
        """The IANA name of the warehouse's zone; the country's default without a region."""
        return zone_of(self.country, self.region)[0]

    def processing_date(self, ordered_at: datetime) -> date:
        """The pick-up day to which an order belongs; never earlier for a later order.

        Args:
            ordered_at: aware.

        Raises:
            NaiveTime: if the time has no offset.
            InvalidValue: if no pick-up day comes within 400 days.
        """
        return self._next_pickup(ordered_at)[0]

    def cutoff_at(self, ordered_at: datetime) -> datetime:
        """The next cut-off of a pick-up day after ``ordered_at``, in the warehouse's zone.

        Orders from now until just before it have the same ``processing_date``.

        Raises:
            NaiveTime: if the time has no offset.
            InvalidValue: if no pick-up day comes within 400 days.
        """
        return self._next_pickup(ordered_at)[1]

    def handover_on(self, processing_date: date, days: int) -> date:
        """The day ``days`` pick-up days after ``processing_date``.

        If ``processing_date`` is not a pick-up day, they are counted from the next one.

        Raises:
            InvalidValue: if ``days`` is below 0, or the warehouse is closed for longer than 400
                days on the way.
        """
        return self._offset(processing_date, _validate_days(days))

    def handovers(self, processing_date: date, first: int, last: int) -> list[datetime]:
        """The hand-overs ``first`` to ``last`` (included) pick-up days after ``processing_date``.

        They are aware and in the warehouse's zone.

        Raises:
            InvalidValue: if ``first`` is below 0 or above ``last``, or the warehouse is closed for
                longer than 400 days on the way.
        """
        if first > last:
            problem = f"the minimum, {first}, is above the maximum, {last}"
            raise InvalidValue("days", problem, "give the minimum first")
        start = np.array(processing_date, dtype="datetime64[D]")
        counts = np.arange(_validate_days(first), last + 1)
        days = self._days.offset(start, counts)
        return [self._cutoff_on(day) for day in days.tolist()]

    @cached_property
    def _days(self) -> WorkingDays:
        return WorkingDays(self.country, self.region, self.weekdays, self.holidays)

    def _next_pickup(self, ordered_at: datetime) -> tuple[date, datetime]:
        """The first pick-up day with its cut-off after ``ordered_at``, and that cut-off."""
        if ordered_at.tzinfo is None:
            raise NaiveTime("ordered_at")
        # Instants are compared: times of one zone would be compared as its clocks show them, and an
        # hour occurs twice.
        instant = ordered_at.astimezone(UTC)
        local_date = instant.astimezone(ZoneInfo(self.zone)).date()
        processing_date = self._offset(local_date, 0)
        while (cutoff_at := self._cutoff_on(processing_date)).astimezone(UTC) <= instant:
            processing_date = self._offset(processing_date, 1)
        return processing_date, cutoff_at

    def _offset(self, day: date, count: int) -> date:
        start = np.array(day, dtype="datetime64[D]")
        shifted: date = self._days.offset(start, count).tolist()
        return shifted

    def _cutoff_on(self, day: date) -> datetime:
        wall = datetime.combine(day, self.cutoff)
        instant, _ = wall_to_instant(wall, self.zone)
        return instant


def _validate_days(days: int) -> int:
    if days < 0:
        hint = "give a number of pick-up days, or 0 for the same day"
        raise InvalidValue("days", f"{days} is below 0", hint)
    return days
