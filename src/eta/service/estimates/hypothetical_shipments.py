"""Parcels that nobody has sent yet, as a model is told of them: at their order, or at their hand-over."""

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
    """One way to ship; None where the shop does not choose, or does not say."""

    carrier: str | None = None
    service_level: str | None = None
    #: ISO weekdays, 1 (Monday) to 7, on which the carrier delivers; None: as it was learned.
    delivery_weekdays: tuple[int, ...] | None = None
    #: ISO weekdays on which it picks up; None: those of the warehouse.
    pickup_weekdays: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class HypotheticalShipments:
    """M parcels, each at its last scan; ``timelines`` holds one shipment a service, in their order."""

    timelines: Timelines
    moments: AsOfPairs
    states: States


def order_event(shipment: Shipment) -> TrackingEvent:
    """The scan that an order itself is: known the moment it is placed."""
    return _scan(shipment, EventCode.ORDER_CREATED)


def hypothetical_timelines(
    lane: Shipment, services: Sequence[CarrierService], *, handed_over: bool = False
) -> Timelines:
    """One shipment a service, in their order, ordered at ``lane.ordered_at``, and handed over at that moment too where that is asked for."""
    attributes = vars(lane)
    shipments = [
        Shipment(
            **{
                **attributes,
                "shipment_id": f"{number:06d}",
                "carrier": service.carrier,
                "service_level": service.service_level,
            }
        )
        for number, service in enumerate(services)
    ]
    events = [order_event(shipment) for shipment in shipments]
    if handed_over:
        events += [_scan(shipment, EventCode.ACCEPTED) for shipment in shipments]
    return Timelines.from_records(shipments, events)


def hypothetical_shipments(
    lane: Shipment,
    services: Sequence[CarrierService],
    service_index: NDArray[np.int64],
    ordered_at: Instants,
    handed_over_at: Instants | None = None,
) -> HypotheticalShipments:
    """Parcels of the services ``service_index`` (M,), ordered and, where that is given, handed over then, (M,) each."""
    timelines = hypothetical_timelines(lane, services, handed_over=handed_over_at is not None)
    # They differ in when they are scanned alone: each service is folded once.
    states = fold(timelines, AsOfPairs.all_at(timelines, to_instant(lane.ordered_at))).take(
        service_index
    )
    states = replace(states, ordered_at=ordered_at, last_scan_at=ordered_at)
    if handed_over_at is not None:
        states = replace(states, handed_over_at=handed_over_at, last_scan_at=handed_over_at)
    return HypotheticalShipments(timelines, AsOfPairs(service_index, states.last_scan_at), states)


def _scan(shipment: Shipment, code: EventCode) -> TrackingEvent:
    at = shipment.ordered_at
    return TrackingEvent(
        shipment_id=shipment.shipment_id, event_code=code, occurred_at=at, received_at=at
    )
