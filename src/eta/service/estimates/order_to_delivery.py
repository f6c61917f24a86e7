"""The distribution of an order's delivery day. A later order never gets an earlier date.

If a shop has a pickup schedule, the order waits for its cut-off and is handled for some pick-up
days (a distribution, declared or learned). It travels from the hand-over on, so that the curves
from every possible hand-over are mixed by the probability of each. Without a schedule, curves are
predicted from the order on at fixed times of the day, and the curve of the order is interpolated
between the times before and after it.

Either way the curves of a service are distributions over the same local days, predicted at dispatch
times in order of time. Each of them becomes the mean of the lowest probability of those up to it
(the running minimum) and the highest of those from it on, and a later order gives later dispatch
times more weight. So for every day the probability of delivery by then falls, or stays, the later
the order. The minimum alone would do the same, but it would be too pessimistic throughout.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import (
    DAY,
    Instants,
    from_microseconds,
    microseconds,
    to_instant,
)
from eta.calendars.pickup_calendar import PickupCalendar
from eta.calendars.places import place_name
from eta.calendars.postcodes import region_of_place
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zone_offsets import UtcOffsets
from eta.calendars.zones import zone_of_place
from eta.curves import Curves
from eta.domain.shipment import Shipment
from eta.forecast.base import HORIZON_DAYS
from eta.forecast.handling_time import HandlingTimes
from eta.journey.categories import Categorical
from eta.journey.features import features
from eta.local_dates import curves_from_daily_cdf, daily_cdf
from eta.model.bundle import ModelBundle, Predictor
from eta.service.estimates.hypothetical_shipments import (
    CarrierService,
    hypothetical_shipments,
)

#: Local hours of the dispatch times of an order without a schedule, evenly spread over the day, and
#: how many such times before and after it are used.
DISPATCH_HOURS = (0, 6, 12, 18)
DISPATCH_TIMES_AROUND = 8

#: Days of hand-overs before and after those of the order that are used.
HANDOVER_DAYS_AROUND = 4

#: The longest handling that can be declared, in days.
MAX_HANDLING_DAYS = 30

#: The mean time from an order to the start of the day on which it is processed: a quarter of a day.
_MEAN_WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class PickupSchedule:
    """When the parcels of a shop are handed over."""

    #: Local time at the origin.
    cutoff: time
    #: ISO weekdays on which parcels are picked up.
    weekdays: tuple[int, ...]
    #: Probabilities of 0, 1, ... days of handling from the processing date on; None: the learned
    #: distribution.
    handling: tuple[float, ...] | None = None
    #: Whether they are days of the calendar, not handling days.
    counts_calendar_days: bool = False
    #: Other cut-offs, by ISO weekday.
    weekday_cutoffs: tuple[tuple[int, time], ...] = ()


@dataclass(frozen=True)
class Pickup:
    """When an order is handed over to one service; both None without a schedule."""

    #: The cut-off up to which orders get the same dates, aware and in the warehouse's zone.
    order_by: datetime | None = None
    #: The local day at the origin by which the hand-over has most likely happened.
    handover_on: date | None = None


@dataclass(frozen=True, eq=False)
class OrderCurves:
    """The curves of S services as of the order, with the cut-off and the hand-over day of each."""

    curves: Curves
    #: The cut-off up to which orders get the same dates, aware and in the warehouse's zone; None
    #: without a schedule.
    order_by: Sequence[datetime | None]
    #: The local day at the origin by whose cut-off the hand-over has a probability of a half or
    #: more; None without a schedule.
    handover_on: Sequence[date | None]


@dataclass(frozen=True)
class _DispatchTimes:
    """Times, earliest first, at which curves are predicted for one service, and their weights."""

    at: Instants
    weights: NDArray[np.float64]
    #: How long an order handed over at ``at`` had waited; None if ``at`` is the order itself.
    waited: timedelta | None = None
    order_by: datetime | None = None
    handover_on: date | None = None
    #: The earliest possible hand-over: nothing arrives before it. None if the curves begin there.
    not_before: datetime | None = None


@dataclass(frozen=True, eq=False)
class _DayGrid:
    """The local days at the destination, (D,), over which the curves of all services are mixed."""

    first_on: np.datetime64
    days: NDArray[np.datetime64]
    zone: ZoneInfo

    def day_of(self, moment: datetime) -> np.datetime64:
        """The local day at the destination."""
        return np.datetime64(moment.astimezone(self.zone).date(), "D")

    @classmethod
    def at_order(cls, lane: Shipment, zone: Categorical, last_at: np.datetime64) -> _DayGrid:
        """From the day of the order to the horizon of the last dispatch time."""
        zone_info = ZoneInfo(zone.names[zone.codes[0]])
        ordered_on = lane.ordered_at.astimezone(zone_info).date()
        first_on = np.datetime64(ordered_on, "D")
        days_ahead = ceil((last_at - to_instant(lane.ordered_at)) / DAY)
        offsets = np.arange(HORIZON_DAYS + 2 + days_ahead)
        return cls(first_on, first_on + offsets, zone_info)


def order_curves(
    lane: Shipment,
    services: Sequence[CarrierService],
    pickup_schedule: PickupSchedule | None,
    served: Predictor,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> OrderCurves:
    """The curve of each service for an order placed at ``lane.ordered_at``.

    Lane quantiles cannot predict from a hand-over: with them nothing arrives before the first one.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    dispatch_times = _dispatch_times(lane, services, pickup_schedule, served, holidays)
    at = np.concatenate([times.at for times in dispatch_times])
    counts = [len(times.at) for times in dispatch_times]
    service_index = np.repeat(np.arange(len(services)), counts)
    if dispatch_times[0].waited is None:
        parcels = hypothetical_shipments(lane, services, service_index, at)
    else:
        # Each parcel is handed over at its dispatch time, after its wait.
        waited = np.array([times.waited for times in dispatch_times], dtype="timedelta64[us]")
        ordered_at = at - waited[service_index]
        parcels = hypothetical_shipments(lane, services, service_index, ordered_at, at)
    snapshots = features(parcels.timelines, parcels.moments, served.place_effects, parcels.states)
    curves = served.model.predict_curves(snapshots)
    zone = parcels.timelines.zone
    grid = _DayGrid.at_order(lane, zone, at.max())
    cdf = _dispatch_cdf(curves, dispatch_times, at, grid, zone.take(service_index))
    mixed_cdf = _mixed_cdf(cdf, lane, services, dispatch_times, grid, holidays)
    # Weights add up to 1 but for rounding.
    mixed_cdf = np.minimum(np.maximum.accumulate(mixed_cdf, axis=1), 1.0)
    as_of = np.full(len(services), to_instant(lane.ordered_at))
    first_on = np.full(len(services), grid.first_on)
    service_curves = curves_from_daily_cdf(mixed_cdf, as_of, first_on, zone)
    order_by = [times.order_by for times in dispatch_times]
    handover_on = [times.handover_on for times in dispatch_times]
    return OrderCurves(service_curves, order_by, handover_on)


def order_pickups(
    lane: Shipment,
    services: Sequence[CarrierService],
    pickup_schedule: PickupSchedule | None,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> list[Pickup]:
    """The cut-off and the hand-over day of each service, without a model.

    Handling that is not declared takes no day: the hand-over day is the earliest possible one.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    if not pickup_schedule:
        return [Pickup()] * len(services)
    pickups = []
    for service in services:
        times = _handover_times(lane, service, pickup_schedule, HandlingTimes(), holidays)
        pickups.append(Pickup(times.order_by, times.handover_on))
    return pickups


def _dispatch_times(
    lane: Shipment,
    services: Sequence[CarrierService],
    pickup_schedule: PickupSchedule | None,
    served: Predictor,
    holidays: HolidayCalendar,
) -> Sequence[_DispatchTimes]:
    """The dispatch times of each service: hand-overs with a schedule, else times of the order."""
    if not pickup_schedule:
        return [_order_times(lane)] * len(services)
    dispatch_times = []
    for service in services:
        times = _handover_times(lane, service, pickup_schedule, served.handling, holidays)
        dispatch_times.append(times)
    if isinstance(served, ModelBundle):
        return dispatch_times
    return [_order_times_until(lane, handovers) for handovers in dispatch_times]


def _dispatch_cdf(
    curves: Curves,
    dispatch_times: Sequence[_DispatchTimes],
    at: Instants,
    grid: _DayGrid,
    zone: Categorical,
) -> NDArray[np.float64]:
    """P(arrived by the end of each day), (dispatch times, D), of all services."""
    first_on = np.full(len(at), grid.first_on)
    cdf = daily_cdf(curves, at, first_on, len(grid.days), zone)
    is_before = np.concatenate([np.cumsum(times.weights) == 0.0 for times in dispatch_times])
    # An earlier curve has no information on days beyond its horizon.
    reach = (at + (HORIZON_DAYS - 1) * DAY).astype(grid.first_on.dtype)
    is_beyond = grid.days > reach[:, None]
    cdf[is_beyond & is_before[:, None]] = 1.0
    return cdf


def _mixed_cdf(
    cdf: NDArray[np.float64],
    lane: Shipment,
    services: Sequence[CarrierService],
    dispatch_times: Sequence[_DispatchTimes],
    grid: _DayGrid,
    holidays: HolidayCalendar,
) -> NDArray[np.float64]:
    """P(delivered by the end of each day) by service, (S, D)."""
    mixed_cdf = np.empty((len(services), len(grid.days)))
    start = 0
    for number, (service, times) in enumerate(zip(services, dispatch_times, strict=True)):
        service_cdf = cdf[start : start + len(times.at)]
        start += len(times.at)
        # The mean of both falls, or stays, from one dispatch time to the next.
        lowest = np.minimum.accumulate(service_cdf, axis=0)
        highest = np.maximum.accumulate(service_cdf[::-1], axis=0)[::-1]
        mixed = times.weights @ (lowest + highest) / 2.0
        if times.not_before is not None:
            mixed[grid.days < grid.day_of(times.not_before)] = 0.0
        mixed_cdf[number] = _on_delivery_days(mixed, service, lane, grid, holidays)
    return mixed_cdf


def _on_delivery_days(
    cdf: NDArray[np.float64],
    service: CarrierService,
    lane: Shipment,
    grid: _DayGrid,
    holidays: HolidayCalendar,
) -> NDArray[np.float64]:
    """The distribution (D,) with arrivals moved to the service's next delivery day."""
    destination, weekdays = lane.destination, service.delivery_weekdays
    if weekdays is None:
        return cdf
    calendar = DeliveryDays(
        destination.country, region_of_place(destination), weekdays, holidays, service.carrier
    )
    last = calendar.on_or_before(grid.days)
    days_from_first = (last - grid.first_on).astype(np.int64)
    moved = cdf[np.maximum(days_from_first, 0)]
    return np.where(last < grid.first_on, 0.0, moved)


def _order_times(lane: Shipment) -> _DispatchTimes:
    """The times of day around the order; only the one before and the one after have weight."""
    # The dispatch hours of the local days around the order, microseconds, in order of time.
    zone = zone_of_place(lane.origin)
    today = lane.ordered_at.astimezone(ZoneInfo(zone)).date()
    days_before = DISPATCH_TIMES_AROUND // len(DISPATCH_HOURS) + 1
    first = np.datetime64(today, "D") - days_before
    count = 2 * DISPATCH_TIMES_AROUND + 4 * len(DISPATCH_HOURS)
    step = np.timedelta64(24 // len(DISPATCH_HOURS), "h")
    walls = first + np.arange(count) * step
    microsecond_walls = walls.astype("datetime64[us]").view(np.int64)
    offsets = UtcOffsets.from_zone_names((zone,))
    times = offsets.instants(microsecond_walls[None, :], np.zeros(1, dtype=np.int32))[0]
    ordered_at = microseconds(lane.ordered_at)
    after = int(np.searchsorted(times, ordered_at, side="right"))
    time_before, time_after = times[after - 1 : after + 1].tolist()
    share = (ordered_at - time_before) / (time_after - time_before)
    start = after - 1 - DISPATCH_TIMES_AROUND
    stop = after + 1 + DISPATCH_TIMES_AROUND
    at = times[start:stop].view("datetime64[us]")
    weights = np.pad([1.0 - share, share], DISPATCH_TIMES_AROUND)
    return _DispatchTimes(at, weights)


def _order_times_until(lane: Shipment, handovers: _DispatchTimes) -> _DispatchTimes:
    """The times of day around the order, with the cut-off and hand-over day of hand-overs."""
    earliest = from_microseconds(int(handovers.at[handovers.weights > 0.0][0].astype(np.int64)))
    return replace(
        _order_times(lane),
        order_by=handovers.order_by,
        handover_on=handovers.handover_on,
        not_before=earliest,
    )


def _handover_times(
    lane: Shipment,
    service: CarrierService,
    pickup_schedule: PickupSchedule,
    handling: HandlingTimes,
    holidays: HolidayCalendar,
) -> _DispatchTimes:
    """The possible hand-overs of the order, and some before and after them."""
    calendar = _pickup_calendar(lane, service, pickup_schedule, holidays)
    probabilities = _handling_distribution(lane, pickup_schedule, handling)
    processing_date, order_by = calendar.next_cutoff(lane.ordered_at)
    base = calendar.processing_date(lane.ordered_at - timedelta(days=HANDOVER_DAYS_AROUND))
    possible = calendar.handover_dates(processing_date, 0, len(probabilities) - 1)
    handovers = calendar.pickups(base, possible[-1], HANDOVER_DAYS_AROUND)
    dates = [handover.date() for handover in handovers]
    rows = [bisect_left(dates, handover_on) for handover_on in possible]
    weights = np.zeros(len(dates))
    np.add.at(weights, rows, probabilities)
    median = int(np.searchsorted(np.cumsum(weights), 0.5 - 1e-9))
    at = np.array([to_instant(handover) for handover in handovers])
    waited = _mean_wait(probabilities, calendar)
    return _DispatchTimes(at, weights, waited, order_by, dates[median])


def _pickup_calendar(
    lane: Shipment,
    service: CarrierService,
    pickup_schedule: PickupSchedule,
    holidays: HolidayCalendar,
) -> PickupCalendar:
    return PickupCalendar(
        country=lane.origin.country,
        region=lane.origin.region,
        postcode=lane.origin.postcode,
        cutoff=pickup_schedule.cutoff,
        weekdays=service.pickup_weekdays or pickup_schedule.weekdays,
        weekday_cutoffs=pickup_schedule.weekday_cutoffs,
        counts_calendar_days=pickup_schedule.counts_calendar_days,
        carrier=service.carrier,
        holidays=holidays,
    )


def _mean_wait(probabilities: NDArray[np.float64], calendar: PickupCalendar) -> timedelta:
    """The mean time from an order to its hand-over, but for holidays."""
    mean_days = float(np.arange(len(probabilities)) @ probabilities)
    if not calendar.counts_calendar_days:
        mean_days *= 7.0 / len(calendar.weekdays)
    return _MEAN_WAIT + timedelta(days=mean_days)


def _handling_distribution(
    lane: Shipment, pickup_schedule: PickupSchedule, handling: HandlingTimes
) -> NDArray[np.float64]:
    """Probabilities of 0, 1, ... days of handling: declared, else learned, else day 0."""
    if pickup_schedule.handling is not None:
        return np.array(pickup_schedule.handling) / sum(pickup_schedule.handling)
    place = place_name(lane.origin.country, region_of_place(lane.origin))
    cutoff = pickup_schedule.cutoff
    cutoff_hour = cutoff.hour + cutoff.minute / 60.0
    distribution = handling.distribution(place, cutoff_hour)
    return np.ones(1) if distribution is None else distribution
