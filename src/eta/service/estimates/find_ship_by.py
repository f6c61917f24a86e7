"""The latest hand-over that still brings a parcel by a wanted day, as often as is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import to_instant, wall_to_instant
from eta.calendars.working_days import DeliveryDays, WorkingDays
from eta.calendars.zones import zone_of
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.local_dates import probability_by_day
from eta.model.bundle import ModelBundle
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_shipments
from eta.service.scoring.open_forecasts import forecast_open

#: Days before the wanted one that are looked at.
LOOK_BACK_DAYS = 30


class ShipByCode(StrEnum):
    """Why an answer is as it is."""

    OK = "ok"
    #: No day of hand-over from the moment asked about on reaches the chance asked for.
    TOO_LATE = "too_late"
    #: Abstained: too few parcels to learn from.
    TOO_LITTLE_SUPPORT = "too_little_support"
    #: Degraded: no usable model.
    NO_MODEL = "no_model"


@dataclass(frozen=True)
class HandoverProbability:
    """P(arrival on or before the wanted day) of a hand-over."""

    handover_at: datetime
    probability: float


@dataclass(frozen=True)
class ShipBy:
    """The answer for one carrier service; ``handover_at`` is aware, in the zone of the origin."""

    code: ShipByCode
    handover_at: datetime | None
    probability: float | None
    #: Of every day that was looked at, earliest first.
    probabilities: Sequence[HandoverProbability]


def find_ship_by(
    lane: Shipment,
    services: Sequence[CarrierService],
    served: ModelBundle | None,
    *,
    desired_on: date,
    level: float,
    handover: time,
    holidays: HolidayCalendar = PUBLIC_HOLIDAYS,
) -> list[ShipBy]:
    """One answer a carrier service, in the order given, for an order placed at ``lane.ordered_at``.

    Hand-overs are looked at day by day at the wall-clock time ``handover`` of the origin, from the
    order to the wanted local day at the destination; of services that say on which days they pick
    up, on those alone. A later one need not have a lower chance: a weekend may lie between. The
    latest with a chance of ``level`` is the answer.
    """
    moments = _handovers(lane.origin, lane.ordered_at, desired_on, handover)
    if served is None or not moments:
        return [
            ShipBy(ShipByCode.TOO_LATE if served else ShipByCode.NO_MODEL, None, None, ())
        ] * len(services)
    delivered_on = [_last_delivery(service, lane, desired_on, holidays) for service in services]
    service_index = np.repeat(np.arange(len(services)), len(moments))
    at = np.tile(np.array([to_instant(at) for at in moments]), len(services))
    parcels = hypothetical_shipments(
        lane, services, service_index, np.full(len(at), to_instant(lane.ordered_at)), at
    )
    forecasts = forecast_open(
        parcels.timelines, served, parcels.moments, parcels.states, DelayPolicy()
    )
    days = np.array(delivered_on, dtype="datetime64[D]")[service_index, None]
    probabilities = probability_by_day(forecasts.curves, at, days, forecasts.zone)[:, 0].reshape(
        len(services), -1
    )
    supported = np.asarray(forecasts.is_supported.reshape(len(services), -1).all(axis=1)).tolist()
    return [
        _answer(
            _picked_up(
                service, lane.origin, zip(moments, service_probabilities, strict=True), holidays
            ),
            level,
            is_supported=has_support,
        )
        for service, service_probabilities, has_support in zip(
            services, probabilities.tolist(), supported, strict=True
        )
    ]


def _last_delivery(
    service: CarrierService, lane: Shipment, desired_on: date, holidays: HolidayCalendar
) -> np.datetime64:
    """The last day, up to the wanted one, on which the service delivers."""
    day = np.array([desired_on], dtype="datetime64[D]")
    weekdays = service.delivery_weekdays
    return (
        DeliveryDays(
            lane.destination.country, lane.destination.region, weekdays, holidays
        ).on_or_before(day)
        if weekdays
        else day
    )[0]


def _picked_up(
    service: CarrierService,
    origin: Place,
    pairs: Iterable[tuple[datetime, float]],
    holidays: HolidayCalendar,
) -> list[HandoverProbability]:
    """The hand-overs of days on which the service picks up."""
    candidates = [HandoverProbability(at, probability) for at, probability in pairs]
    if service.pickup_weekdays is None:
        return candidates
    days = np.array(
        [candidate.handover_at.date() for candidate in candidates], dtype="datetime64[D]"
    )
    is_open = (
        WorkingDays(origin.country, origin.region, service.pickup_weekdays, holidays).on_or_after(
            days
        )
        == days
    )
    return [
        probability
        for probability, wanted in zip(candidates, is_open.tolist(), strict=True)
        if wanted
    ]


def _handovers(
    origin: Place, ordered_at: datetime, desired_on: date, handover: time
) -> list[datetime]:
    zone, _ = zone_of(origin.country, origin.region)
    first = ordered_at.astimezone(ZoneInfo(zone)).date()
    # The origin's clocks may be a day ahead of the destination's.
    last = desired_on + timedelta(days=1)
    days = [last - timedelta(days=back) for back in range(LOOK_BACK_DAYS + 1, -1, -1)]
    moments = [
        wall_to_instant(datetime.combine(day, handover), zone)[0] for day in days if day >= first
    ]
    return [at for at in moments if at >= ordered_at]


def _answer(
    probabilities: Sequence[HandoverProbability], level: float, *, is_supported: bool
) -> ShipBy:
    if not is_supported:
        return ShipBy(ShipByCode.TOO_LITTLE_SUPPORT, None, None, ())
    sufficient = [candidate for candidate in probabilities if candidate.probability >= level]
    if not sufficient:
        return ShipBy(ShipByCode.TOO_LATE, None, None, probabilities)
    return ShipBy(
        ShipByCode.OK, sufficient[-1].handover_at, sufficient[-1].probability, probabilities
    )
