"""Hypothetical parcels, not sent yet, as a model sees them at their order or at their hand-over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Instants, to_instant
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import Timelines


@dataclass(frozen=True, kw_only=True)
class CarrierService:
    """One way to ship; None if the shop does not choose or specify it."""

    carrier: str | None = None
    service_level: str | None = None
    #: ISO weekdays, 1 (Monday) to 7, on which the carrier delivers; None: as learned.
    delivery_weekdays: tuple[int, ...] | None = None
    #: ISO weekdays on which it picks up; None: those of the warehouse.
    pickup_weekdays: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class HypotheticalShipments:
    """M parcels, each at its last event.

    ``timelines`` holds one shipment a service, in the order of the services.
    """

    timelines: Timelines
    moments: AsOfPairs
    states: States


def order_event(shipment: Shipment) -> TrackingEvent:
    """The event of the order itself, received the moment it is placed."""
    return _event(shipment, EventCode.ORDER_CREATED)


def hypothetical_timelines(
    lane: Shipment, services: Sequence[CarrierService], *, handed_over: bool = False
) -> Timelines:
    """One shipment a service, in the order of ``services``, ordered at ``lane.ordered_at``.

    With ``handed_over`` each is handed over at that moment too.
    """
    shipments = []
    for number, service in enumerate(services):
        shipment = replace(
            lane,
            shipment_id=f"{number:06d}",
            carrier=service.carrier,
            service_level=service.service_level,
        )
        shipments.append(shipment)
    events = [order_event(shipment) for shipment in shipments]
    if handed_over:
        events += [_event(shipment, EventCode.ACCEPTED) for shipment in shipments]
    return Timelines.from_records(shipments, events)


def hypothetical_shipments(
    lane: Shipment,
    services: Sequence[CarrierService],
    service_index: NDArray[np.int64],
    ordered_at: Instants,
    handed_over_at: Instants | None = None,
) -> HypotheticalShipments:
    """M parcels by ``service_index``, ``ordered_at`` and ``handed_over_at``, (M,) each.

    Without ``handed_over_at`` they are only ordered.
    """
    timelines = hypothetical_timelines(lane, services, handed_over=handed_over_at is not None)
    # Parcels of one service differ only in the times of their events: fold each service once.
    moments = AsOfPairs.all_at(timelines, to_instant(lane.ordered_at))
    states = fold(timelines, moments).take(service_index)
    states = replace(states, ordered_at=ordered_at, last_scan_at=ordered_at)
    if handed_over_at is not None:
        states = replace(states, handed_over_at=handed_over_at, last_scan_at=handed_over_at)
    moments = AsOfPairs(service_index, states.last_scan_at)
    return HypotheticalShipments(timelines, moments, states)


def _event(shipment: Shipment, code: EventCode) -> TrackingEvent:
    at = shipment.ordered_at
    return TrackingEvent(
        shipment_id=shipment.shipment_id, event_code=code, occurred_at=at, received_at=at
    )
