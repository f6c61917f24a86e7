"""The latest hand-over with which a parcel arrives by a desired day with a wanted probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import compress
from zoneinfo import ZoneInfo

import numpy as np

from eta.calendars.holidays import PUBLIC_HOLIDAYS, HolidayCalendar
from eta.calendars.local_time import to_instant, wall_to_instant
from eta.calendars.postcodes import region_of_place
from eta.calendars.working_days import DeliveryDays, PickupDays
from eta.calendars.zones import zone_of_place
from eta.delays import DelayPolicy
from eta.domain.shipment import Place, Shipment
from eta.local_dates import probability_by_day
from eta.model.bundle import ModelBundle
from eta.service.estimates.hypothetical_shipments import CarrierService, hypothetical_shipments
from eta.service.scoring.open_forecasts import forecast_open

#: Days of hand-over before the desired day that are evaluated.
LOOK_BACK_DAYS = 30


class ShipByCode(StrEnum):
    """The outcome of a search for the latest hand-over."""

    OK = "ok"
    #: No hand-over from the order on reaches the probability.
    TOO_LATE = "too_late"
    #: No result: too few parcels to learn from.
    TOO_LITTLE_SUPPORT = "too_little_support"
    #: No result: no usable model.
    NO_MODEL = "no_model"


@dataclass(frozen=True)
class HandoverProbability:
    """P(arrival on or before the desired day) of a hand-over."""

    handover_at: datetime
    probability: float


@dataclass(frozen=True)
class ShipBy:
    """The result for one carrier service; ``handover_at`` is aware, in the zone of the origin."""

    code: ShipByCode
    handover_at: datetime | None
    probability: float | None
    #: Of every day that was evaluated, earliest first.
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
    """One result a carrier service, in their order, for an order at ``lane.ordered_at``.

    Hand-overs are evaluated day by day at the local time ``handover`` of the origin, from the order
    to the desired local day at the destination; for services with pick-up weekdays, only on those.
    The result is the latest with a probability of at least ``level``: a later hand-over need not
    have a lower one, because a weekend may lie between.
    """
    handovers = _handovers(lane.origin, lane.ordered_at, desired_on, handover)
    if served is None or not handovers:
        code = ShipByCode.TOO_LATE if served else ShipByCode.NO_MODEL
        return [ShipBy(code, None, None, ())] * len(services)
    # The last day, up to the desired one, on which each service delivers.
    destination, delivered_on = lane.destination, []
    for service in services:
        day = np.array([desired_on], dtype="datetime64[D]")
        if weekdays := service.delivery_weekdays:
            calendar = DeliveryDays(
                destination.country,
                region_of_place(destination),
                weekdays,
                holidays,
                service.carrier,
            )
            day = calendar.on_or_before(day)
        delivered_on.append(day[0])
    grid = _arrival_probabilities(lane, services, served, handovers, delivered_on)
    results = []
    for service, probabilities, is_supported in zip(services, *grid, strict=True):
        candidates = list(map(HandoverProbability, handovers, probabilities))
        picked_up = _picked_up(service, lane.origin, candidates, holidays)
        result = _latest(picked_up, level, is_supported=is_supported)
        results.append(result)
    return results


def _arrival_probabilities(
    lane: Shipment,
    services: Sequence[CarrierService],
    served: ModelBundle,
    handovers: Sequence[datetime],
    delivered_on: Sequence[np.datetime64],
) -> tuple[list[list[float]], list[bool]]:
    """P(arrival by ``delivered_on``) by service and hand-over; whether a service has support."""
    shape = (len(services), len(handovers))
    service_index = np.repeat(np.arange(len(services)), len(handovers))
    instants = np.array([to_instant(handover) for handover in handovers])
    at = np.tile(instants, len(services))
    ordered_at = np.full(len(at), to_instant(lane.ordered_at))
    parcels = hypothetical_shipments(lane, services, service_index, ordered_at, at)
    timelines, moments, states = parcels.timelines, parcels.moments, parcels.states
    forecasts = forecast_open(timelines, served, moments, states, DelayPolicy())
    last_days = np.array(delivered_on, dtype="datetime64[D]")
    days = last_days[service_index, None]
    by_day = probability_by_day(forecasts.curves, at, days, forecasts.zone)
    probabilities = by_day[:, 0].reshape(shape)
    is_supported = forecasts.is_supported.reshape(shape).all(axis=1)
    return probabilities.tolist(), np.asarray(is_supported).tolist()


def _picked_up(
    service: CarrierService,
    origin: Place,
    candidates: Sequence[HandoverProbability],
    holidays: HolidayCalendar,
) -> Sequence[HandoverProbability]:
    """The candidates on days on which the service picks up."""
    if service.pickup_weekdays is None:
        return candidates
    dates = [candidate.handover_at.date() for candidate in candidates]
    days = np.array(dates, dtype="datetime64[D]")
    calendar = PickupDays(
        origin.country, region_of_place(origin), service.pickup_weekdays, holidays, service.carrier
    )
    is_open = (calendar.on_or_after(days) == days).tolist()
    return list(compress(candidates, is_open))


def _handovers(
    origin: Place, ordered_at: datetime, desired_on: date, handover: time
) -> list[datetime]:
    """The time ``handover`` of each day from the order to the desired day, aware."""
    zone = zone_of_place(origin)
    first = ordered_at.astimezone(ZoneInfo(zone)).date()
    # The local date of the origin can be a day ahead of the destination's.
    last = desired_on + timedelta(days=1)
    moments = []
    for back in range(LOOK_BACK_DAYS + 1, -1, -1):
        day = last - timedelta(days=back)
        if day < first:
            continue
        at, _ = wall_to_instant(datetime.combine(day, handover), zone)
        if at >= ordered_at:
            moments.append(at)
    return moments


def _latest(
    probabilities: Sequence[HandoverProbability], level: float, *, is_supported: bool
) -> ShipBy:
    """The latest hand-over with a probability of at least ``level``."""
    if not is_supported:
        return ShipBy(ShipByCode.TOO_LITTLE_SUPPORT, None, None, ())
    sufficient = [candidate for candidate in probabilities if candidate.probability >= level]
    if not sufficient:
        return ShipBy(ShipByCode.TOO_LATE, None, None, probabilities)
    latest = sufficient[-1]
    return ShipBy(ShipByCode.OK, latest.handover_at, latest.probability, probabilities)
