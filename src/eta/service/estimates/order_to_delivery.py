"""The law of the day on which an order is at the door, so that a later order is never told an earlier day.

Where a shop says when parcels are picked up, the order waits for its cut-off, is handled for some
pick-up days (a law: declared, or learned), and travels from the hand-over on: the laws from every
possible hand-over are mixed by how likely each is. Where it says nothing, the law from the order on
is asked for at fixed times of the day, and lies between those before and after the order.

Either way laws of a service are laws of the same local days, asked for at anchors in order of time.
Each of them is put midway between the lowest chance of those up to it (the running minimum) and the
highest of those from it on, and a later order weighs later anchors more: so for every day the
chance to be there by then falls, or stays, the later the order. The minimum alone would do the
same, and be pessimistic all along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import DAY, Instants, microseconds, to_instant
from eta.calendars.pickup_calendar import PickupCalendar
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zone_offsets import UtcOffsets
from eta.calendars.zones import zone_of
from eta.curves import Curves
from eta.domain.shipment import Shipment
from eta.forecast.base import HORIZON_DAYS
from eta.journey.features import features
from eta.journey.route import place_name
from eta.local_dates import curves_from_daily_cdf, daily_cdf
from eta.model.bundle import ModelBundle, Predictor
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_shipments

#: Local hours at which orders are asked about, evenly spread over the day, and how many such times
#: before and after count.
DISPATCH_HOURS = (0, 6, 12, 18)
DISPATCH_TIMES_AROUND = 8

#: Days of hand-overs before and after those of the order that count.
HANDOVER_DAYS_AROUND = 4

#: The longest handling that is asked about, in pick-up days.
MAX_HANDLING_DAYS = 30

#: An order waits for a quarter of a day, on average, before the day on which it is handled begins
#: to count.
_MEAN_WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class PickupSchedule:
    """When orders are handed over, where a shop says so."""

    #: By the clocks of the origin.
    cutoff: time
    #: ISO weekdays on which parcels are picked up.
    weekdays: tuple[int, ...]
    #: Chances to be handed over 0, 1, ... pick-up days after the day for which the order counts;
    #: None: as it was learned.
    handling: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class OrderCurves:
    """The laws of S services, asked about at the order, and what else is known of each of them."""

    curves: Curves
    #: The cut-off up to which orders are told the same, aware and in the warehouse's zone; None
    #: where none is declared.
    order_by: Sequence[datetime | None]
    #: The day, by the clocks of the origin, by whose cut-off it has been handed over with a chance
    #: of a half or more.
    handover_on: Sequence[date | None]


@dataclass(frozen=True)
class _DispatchTimes:
    """Times, earliest first, at which a law is asked for, and how much each of the laws counts."""

    at: Instants
    weights: NDArray[np.float64]
    #: How long an order handed over at ``at`` had waited; None where ``at`` is the order itself.
    waited: timedelta | None = None
    order_by: datetime | None = None
    handover_on: date | None = None


def order_curves(
    lane: Shipment,
    services: Sequence[CarrierService],
    pickup_schedule: PickupSchedule | None,
    served: Predictor,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> OrderCurves:
    """The law of each service for an order placed at ``lane.ordered_at``.

    Lane medians know of no hand-over: with them a warehouse is not looked at.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    if pickup_schedule and isinstance(served, ModelBundle):
        dispatch_times = [
            _handover_times(lane, service, pickup_schedule, served, holidays)
            for service in services
        ]
    else:
        dispatch_times = [_order_times(lane)] * len(services)
    at = np.concatenate([times.at for times in dispatch_times])
    service_index = np.repeat(np.arange(len(services)), [len(times.at) for times in dispatch_times])
    if dispatch_times[0].waited is None:
        parcels = hypothetical_shipments(lane, services, service_index, at)
    else:
        waited = np.array([times.waited for times in dispatch_times], dtype="timedelta64[us]")
        parcels = hypothetical_shipments(
            lane, services, service_index, at - waited[service_index], at
        )
    curves = served.model.predict_curves(
        features(parcels.timelines, parcels.moments, served.place_effects, parcels.states)
    )
    zone = parcels.timelines.zone
    first_on = np.datetime64(
        lane.ordered_at.astimezone(ZoneInfo(zone.names[zone.codes[0]])).date(), "D"
    )
    days = first_on + np.arange(
        HORIZON_DAYS + 2 + ceil((at.max() - to_instant(lane.ordered_at)) / DAY)
    )
    cdf = daily_cdf(curves, at, np.full(len(at), first_on), len(days), zone.take(service_index))
    is_before = np.concatenate([np.cumsum(times.weights) == 0.0 for times in dispatch_times])
    # Of days beyond its horizon an earlier law says nothing.
    reach = (at + (HORIZON_DAYS - 1) * DAY).astype(first_on.dtype)
    cdf[(days > reach[:, None]) & is_before[:, None]] = 1.0
    mixed_cdf, start = np.empty((len(services), len(days))), 0
    for number, (service, times) in enumerate(zip(services, dispatch_times, strict=True)):
        service_cdf, start = cdf[start : start + len(times.at)], start + len(times.at)
        lowest, highest = (
            np.minimum.accumulate(service_cdf, axis=0),
            np.maximum.accumulate(service_cdf[::-1], axis=0)[::-1],
        )
        mixed_cdf[number] = times.weights @ (lowest + highest) / 2.0
        if service.delivery_weekdays is not None:
            last = DeliveryDays(
                lane.destination.country,
                lane.destination.region,
                service.delivery_weekdays,
                holidays,
            ).on_or_before(days)
            mixed_cdf[number] = np.where(
                last < first_on,
                0.0,
                mixed_cdf[number][np.maximum((last - first_on).astype(np.int64), 0)],
            )
    count = len(services)
    as_of = np.full(count, to_instant(lane.ordered_at))
    # Weights add up to 1 but for rounding.
    mixed_curves = curves_from_daily_cdf(
        np.minimum(np.maximum.accumulate(mixed_cdf, axis=1), 1.0),
        as_of,
        np.full(count, first_on),
        zone,
    )
    return OrderCurves(
        mixed_curves,
        [times.order_by for times in dispatch_times],
        [times.handover_on for times in dispatch_times],
    )


def _order_times(lane: Shipment) -> _DispatchTimes:
    """The times of day about the order, of which that before and that after it count."""
    zone, _ = zone_of(lane.origin.country, lane.origin.region)
    today = lane.ordered_at.astimezone(ZoneInfo(zone)).date()
    first = np.datetime64(today, "D") - (DISPATCH_TIMES_AROUND // len(DISPATCH_HOURS) + 1)
    steps = np.arange(2 * DISPATCH_TIMES_AROUND + 4 * len(DISPATCH_HOURS)) * np.timedelta64(
        24 // len(DISPATCH_HOURS), "h"
    )
    times = UtcOffsets.from_zone_names((zone,)).instants(
        (first + steps).astype("datetime64[us]").view(np.int64)[None, :],
        np.zeros(1, dtype=np.int32),
    )[0]
    ordered_at = microseconds(lane.ordered_at)
    after = int(np.searchsorted(times, ordered_at, side="right"))
    before, end = times[after - 1 : after + 1].tolist()
    share = (ordered_at - before) / (end - before)
    at = times[after - 1 - DISPATCH_TIMES_AROUND : after + 1 + DISPATCH_TIMES_AROUND].view(
        "datetime64[us]"
    )
    return _DispatchTimes(at, np.pad([1.0 - share, share], DISPATCH_TIMES_AROUND))


def _handover_times(
    lane: Shipment,
    service: CarrierService,
    pickup_schedule: PickupSchedule,
    served: ModelBundle,
    holidays: HolidayCalendar,
) -> _DispatchTimes:
    """Hand-overs that may be those of the order, and some before and after them."""
    weekdays = service.pickup_weekdays or pickup_schedule.weekdays
    calendar = PickupCalendar(
        country=lane.origin.country,
        region=lane.origin.region,
        cutoff=pickup_schedule.cutoff,
        weekdays=weekdays,
        holidays=holidays,
    )
    probabilities = _handling_distribution(lane, pickup_schedule, served)
    processing_date = calendar.processing_date(lane.ordered_at)
    base = calendar.processing_date(lane.ordered_at - timedelta(days=HANDOVER_DAYS_AROUND))
    at = calendar.handovers(base, 0, 2 * HANDOVER_DAYS_AROUND + len(probabilities))
    first = next(number for number, handover in enumerate(at) if handover.date() >= processing_date)
    at = at[: first + len(probabilities) + HANDOVER_DAYS_AROUND]
    days = float(np.arange(len(probabilities)) @ probabilities) * 7.0 / len(weekdays)
    likely = int(np.searchsorted(np.cumsum(probabilities), 0.5 - 1e-9))
    weights = np.pad(probabilities, (first, len(at) - first - len(probabilities)))
    instants = np.array([to_instant(handover) for handover in at])
    return _DispatchTimes(
        instants,
        weights,
        _MEAN_WAIT + timedelta(days=days),
        calendar.cutoff_at(lane.ordered_at),
        at[first + likely].date(),
    )


def _handling_distribution(
    lane: Shipment, pickup_schedule: PickupSchedule, served: ModelBundle
) -> NDArray[np.float64]:
    """Chances of so many pick-up days of handling: as declared, else as learned, else none at all."""
    if pickup_schedule.handling is not None:
        return np.array(pickup_schedule.handling) / sum(pickup_schedule.handling)
    distribution = served.handling.distribution(
        place_name(lane.origin.country, lane.origin.region),
        pickup_schedule.cutoff.hour + pickup_schedule.cutoff.minute / 60.0,
    )
    return np.ones(1) if distribution is None else distribution
