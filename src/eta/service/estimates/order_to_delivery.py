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

from eta.calendars.holidays import LIBRARY, Holidays
from eta.calendars.local_time import DAY, Instants, microseconds, to_instant
from eta.calendars.pickup_calendar import PickUp
from eta.calendars.working_days import DeliveryDays
from eta.calendars.zone_offsets import Clocks
from eta.calendars.zones import zone_of
from eta.curves import Curves
from eta.domain.shipment import Shipment
from eta.forecast.base import HORIZON_DAYS
from eta.journey.features import features
from eta.journey.route import place_name
from eta.local_dates import chances_of_days, curves_of_days
from eta.model.bundle import Answering, ServedModel
from eta.service.estimates.hypothetical_shipments import CarrierService, supposed

#: Local hours at which orders are asked about, evenly spread over the day, and how many such times
#: before and after count.
ANCHOR_HOURS = (0, 6, 12, 18)
ANCHORS_ABOUT = 8

#: Days of hand-overs before and after those of the order that count.
DAYS_ABOUT = 4

#: The longest handling that is asked about, in pick-up days.
MOST_HANDLING_DAYS = 30

#: An order waits for a quarter of a day, on average, before the day on which it is handled begins
#: to count.
_WAIT = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """When orders are handed over, where a shop says so."""

    #: By the clocks of the origin.
    cutoff: time
    #: ISO weekdays on which parcels are picked up.
    weekdays: tuple[int, ...]
    #: Chances to be handed over 0, 1, ... pick-up days after the day for which the order counts;
    #: None: as it was learned.
    handling: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class OrderLaws:
    """The laws of S services, asked about at the order, and what else is known of each of them."""

    curves: Curves
    #: The cut-off up to which orders are told the same, aware and in the warehouse's zone; None
    #: where none is declared.
    order_by: Sequence[datetime | None]
    #: The day, by the clocks of the origin, by whose cut-off it has been handed over with a chance
    #: of a half or more.
    handover_on: Sequence[date | None]


@dataclass(frozen=True)
class _Anchors:
    """Times, earliest first, at which a law is asked for, and how much each of the laws counts."""

    at: Instants
    weights: NDArray[np.float64]
    #: How long an order handed over at ``at`` had waited; None where ``at`` is the order itself.
    waited: timedelta | None = None
    order_by: datetime | None = None
    handover_on: date | None = None


def order_laws(
    lane: Shipment,
    services: Sequence[CarrierService],
    warehouse: Warehouse | None,
    served: Answering,
    holidays: Holidays = LIBRARY,
) -> OrderLaws:
    """The law of each service for an order placed at ``lane.ordered_at``.

    Lane medians know of no hand-over: with them a warehouse is not looked at.

    Raises:
        InvalidValue: if a warehouse or a carrier has no day open within 400 days.
    """
    if warehouse and isinstance(served, ServedModel):
        anchors = [_handovers(lane, service, warehouse, served, holidays) for service in services]
    else:
        anchors = [_orders(lane)] * len(services)
    at = np.concatenate([own.at for own in anchors])
    which = np.repeat(np.arange(len(services)), [len(own.at) for own in anchors])
    if anchors[0].waited is None:
        parcels = supposed(lane, services, which, at)
    else:
        waited = np.array([own.waited for own in anchors], dtype="timedelta64[us]")
        parcels = supposed(lane, services, which, at - waited[which], at)
    curves = served.model.predict_curves(
        features(parcels.timelines, parcels.moments, served.habits, parcels.states)
    )
    zone = parcels.timelines.zone
    first_on = np.datetime64(
        lane.ordered_at.astimezone(ZoneInfo(zone.names[zone.codes[0]])).date(), "D"
    )
    days = first_on + np.arange(
        HORIZON_DAYS + 2 + ceil((at.max() - to_instant(lane.ordered_at)) / DAY)
    )
    chances = chances_of_days(curves, at, np.full(len(at), first_on), len(days), zone.take(which))
    is_before = np.concatenate([np.cumsum(own.weights) == 0.0 for own in anchors])
    # Of days beyond its horizon an earlier law says nothing.
    reach = (at + (HORIZON_DAYS - 1) * DAY).astype(first_on.dtype)
    chances[(days > reach[:, None]) & is_before[:, None]] = 1.0
    laws, start = np.empty((len(services), len(days))), 0
    for number, (service, own) in enumerate(zip(services, anchors, strict=True)):
        told, start = chances[start : start + len(own.at)], start + len(own.at)
        lowest, highest = (
            np.minimum.accumulate(told, axis=0),
            np.maximum.accumulate(told[::-1], axis=0)[::-1],
        )
        laws[number] = own.weights @ (lowest + highest) / 2.0
        if service.delivery_weekdays is not None:
            last = DeliveryDays(
                lane.destination.country,
                lane.destination.region,
                service.delivery_weekdays,
                holidays,
            ).last(days)
            laws[number] = np.where(
                last < first_on,
                0.0,
                laws[number][np.maximum((last - first_on).astype(np.int64), 0)],
            )
    count = len(services)
    as_of = np.full(count, to_instant(lane.ordered_at))
    # Weights add up to 1 but for rounding.
    made = curves_of_days(
        np.minimum(np.maximum.accumulate(laws, axis=1), 1.0), as_of, np.full(count, first_on), zone
    )
    return OrderLaws(made, [own.order_by for own in anchors], [own.handover_on for own in anchors])


def _orders(lane: Shipment) -> _Anchors:
    """The times of day about the order, of which that before and that after it count."""
    zone, _ = zone_of(lane.origin.country, lane.origin.region)
    today = lane.ordered_at.astimezone(ZoneInfo(zone)).date()
    first = np.datetime64(today, "D") - (ANCHORS_ABOUT // len(ANCHOR_HOURS) + 1)
    steps = np.arange(2 * ANCHORS_ABOUT + 4 * len(ANCHOR_HOURS)) * np.timedelta64(
        24 // len(ANCHOR_HOURS), "h"
    )
    times = Clocks.of((zone,)).instants(
        (first + steps).astype("datetime64[us]").view(np.int64)[None, :],
        np.zeros(1, dtype=np.int32),
    )[0]
    ordered_at = microseconds(lane.ordered_at)
    after = int(np.searchsorted(times, ordered_at, side="right"))
    before, end = times[after - 1 : after + 1].tolist()
    share = (ordered_at - before) / (end - before)
    at = times[after - 1 - ANCHORS_ABOUT : after + 1 + ANCHORS_ABOUT].view("datetime64[us]")
    return _Anchors(at, np.pad([1.0 - share, share], ANCHORS_ABOUT))


def _handovers(
    lane: Shipment,
    service: CarrierService,
    warehouse: Warehouse,
    served: ServedModel,
    holidays: Holidays,
) -> _Anchors:
    """Hand-overs that may be those of the order, and some before and after them."""
    weekdays = service.pickup_weekdays or warehouse.weekdays
    pick_up = PickUp(
        country=lane.origin.country,
        region=lane.origin.region,
        cutoff=warehouse.cutoff,
        weekdays=weekdays,
        holidays=holidays,
    )
    chances = _handling(lane, warehouse, served)
    ready_on = pick_up.ready_on(lane.ordered_at)
    base = pick_up.ready_on(lane.ordered_at - timedelta(days=DAYS_ABOUT))
    at = pick_up.handovers(base, 0, 2 * DAYS_ABOUT + len(chances))
    first = next(number for number, each in enumerate(at) if each.date() >= ready_on)
    at = at[: first + len(chances) + DAYS_ABOUT]
    days = float(np.arange(len(chances)) @ chances) * 7.0 / len(weekdays)
    likely = int(np.searchsorted(np.cumsum(chances), 0.5 - 1e-9))
    weights = np.pad(chances, (first, len(at) - first - len(chances)))
    instants = np.array([to_instant(each) for each in at])
    return _Anchors(
        instants,
        weights,
        _WAIT + timedelta(days=days),
        pick_up.order_by(lane.ordered_at),
        at[first + likely].date(),
    )


def _handling(lane: Shipment, warehouse: Warehouse, served: ServedModel) -> NDArray[np.float64]:
    """Chances of so many pick-up days of handling: as declared, else as learned, else none at all."""
    if warehouse.handling is not None:
        return np.array(warehouse.handling) / sum(warehouse.handling)
    law = served.handling.law(
        place_name(lane.origin.country, lane.origin.region),
        warehouse.cutoff.hour + warehouse.cutoff.minute / 60.0,
    )
    return np.ones(1) if law is None else law
