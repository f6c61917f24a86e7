"""Cut-offs and pick-up days of a warehouse, by its local time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import wall_to_instant
from eta.calendars.postcodes import region_at
from eta.calendars.working_days import HandlingDays, PickupDays, WorkingDays
from eta.calendars.zones import zone_of
from eta.domain.errors import InvalidValue, NaiveTime


@dataclass(frozen=True, kw_only=True)
class PickupCalendar:
    """When a warehouse takes orders and hands parcels to the carrier, by its local time.

    A handling day is one of ``weekdays`` and not a holiday of the shop. On it orders are taken
    until the cut-off. A pick-up day is one of them too, and no holiday of the carrier; parcels are
    handed over at the time of its cut-off. Without holidays of its own in the calendar file a shop
    handles orders on the carrier's days. A cut-off that clocks skip is the first instant after the
    gap; one that occurs twice is the first of the two.

    Raises:
        InvalidValue: if there are no weekdays, one is not from 1 to 7, or a cut-off has an
            offset.
    """

    country: str
    region: str | None = None
    postcode: str | None = None
    #: An order placed before it counts for the same pick-up day; at or after it, for the next one.
    cutoff: time
    #: ISO weekdays, 1 (Monday) to 7, on which the carrier picks up.
    weekdays: tuple[int, ...]
    #: Other cut-offs, by ISO weekday.
    weekday_cutoffs: tuple[tuple[int, time], ...] = ()
    #: Whether the handling is counted in days of the calendar, not in handling days.
    counts_calendar_days: bool = False
    #: The carrier's code; None for one that is not known.
    carrier: str | None = None
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS

    def __post_init__(self) -> None:
        if any(cutoff.tzinfo for cutoff in (self.cutoff, *self._cutoffs.values())):
            raise InvalidValue(
                "cutoff",
                "the time has an offset from UTC",
                "write the warehouse's local time, such as 14:00",
            )
        self._handling_days  # noqa: B018  # rejects impossible weekdays

    @property
    def zone(self) -> str:
        """The IANA name of the warehouse's zone; the country's default without a place in it."""
        return zone_of(self.country, self.region, self.postcode)[0]

    def processing_date(self, ordered_at: datetime) -> date:
        """The handling day to which an order belongs; never earlier for a later order.

        Args:
            ordered_at: aware.

        Raises:
            NaiveTime: if the time has no offset.
            InvalidValue: if no handling day comes within 400 days.
        """
        return self.next_cutoff(ordered_at)[0]

    def cutoff_at(self, ordered_at: datetime) -> datetime:
        """The next cut-off of a handling day after ``ordered_at``, in the warehouse's zone.

        Orders from now until just before it have the same ``processing_date``.

        Raises:
            NaiveTime: if the time has no offset.
            InvalidValue: if no handling day comes within 400 days.
        """
        return self.next_cutoff(ordered_at)[1]

    def next_cutoff(self, ordered_at: datetime) -> tuple[date, datetime]:
        """The ``processing_date`` of an order, and its cut-off.

        Raises:
            NaiveTime: if the time has no offset.
            InvalidValue: if no handling day comes within 400 days.
        """
        if ordered_at.tzinfo is None:
            raise NaiveTime("ordered_at")
        # Instants are compared: times of one zone would be compared as its clocks show them, and an
        # hour occurs twice.
        instant = ordered_at.astimezone(UTC)
        local_date = instant.astimezone(ZoneInfo(self.zone)).date()
        processing_date = _offset(self._handling_days, local_date, 0)
        while (cutoff_at := self._cutoff_on(processing_date)).astimezone(UTC) <= instant:
            processing_date = _offset(self._handling_days, processing_date, 1)
        return processing_date, cutoff_at

    def handover_on(self, processing_date: date, days: int) -> date:
        """The pick-up day after ``days`` days of handling from ``processing_date`` on.

        If ``processing_date`` is not a handling day, they are counted from the next one.

        Raises:
            InvalidValue: if ``days`` is below 0, or the warehouse is closed for longer than 400
                days on the way.
        """
        return self.handover_dates(processing_date, days, days)[0]

    def handover_dates(self, processing_date: date, first: int, last: int) -> list[date]:
        """The pick-up days after ``first`` to ``last`` (included) days of handling.

        Raises:
            InvalidValue: if ``first`` is below 0 or above ``last``, or the warehouse is closed for
                longer than 400 days on the way.
        """
        if first > last:
            problem = f"the minimum, {first}, is above the maximum, {last}"
            raise InvalidValue("days", problem, "give the minimum first")
        counts = np.arange(_validate_days(first), last + 1)
        start = np.array(processing_date, dtype="datetime64[D]")
        if self.counts_calendar_days:
            ready_on = self._handling_days.on_or_after(start) + counts
        else:
            ready_on = self._handling_days.offset(start, counts)
        days: list[date] = self._pickup_days.on_or_after(ready_on).tolist()
        return days

    def handovers(self, processing_date: date, first: int, last: int) -> list[datetime]:
        """The hand-overs on ``handover_dates``, aware and in the warehouse's zone.

        Raises:
            InvalidValue: as ``handover_dates`` does.
        """
        return list(map(self._cutoff_on, self.handover_dates(processing_date, first, last)))

    def pickups(self, first: date, last: date, more: int) -> list[datetime]:
        """The times of all pick-ups from ``first`` to ``last``, and of ``more`` after them.

        Raises:
            InvalidValue: if there is no pick-up for longer than 400 days on the way.
        """
        count = self._pickup_days.count(first, last + timedelta(days=1)) + more
        start = np.array(first, dtype="datetime64[D]")
        return list(
            map(self._cutoff_on, self._pickup_days.offset(start, np.arange(count)).tolist())
        )

    @cached_property
    def _cutoffs(self) -> dict[int, time]:
        return dict(self.weekday_cutoffs)

    @property
    def _place(self) -> tuple[str, str | None]:
        return self.country, region_at(self.country, self.region, self.postcode)

    @cached_property
    def _handling_days(self) -> HandlingDays:
        return HandlingDays(*self._place, self.weekdays, self.holidays, self.carrier)

    @cached_property
    def _pickup_days(self) -> PickupDays:
        return PickupDays(*self._place, self.weekdays, self.holidays, self.carrier)

    def _cutoff_on(self, day: date) -> datetime:
        cutoff = self._cutoffs.get(day.isoweekday(), self.cutoff)
        instant, _ = wall_to_instant(datetime.combine(day, cutoff), self.zone)
        return instant


def _offset(days: WorkingDays, day: date, count: int) -> date:
    shifted: date = days.offset(np.array(day, dtype="datetime64[D]"), count).tolist()
    return shifted


def _validate_days(days: int) -> int:
    if days < 0:
        hint = "give a number of pick-up days, or 0 for the same day"
        raise InvalidValue("days", f"{days} is below 0", hint)
    return days
