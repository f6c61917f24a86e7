"""Parcels that nobody has sent yet, as a model is told of them: at their order, or at their hand-over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import Instants, to_instant
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.journey.state import Moments, States, fold
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
class Supposed:
    """M parcels, each at its last scan; ``timelines`` holds one shipment a service, in their order."""

    timelines: Timelines
    moments: Moments
    states: States


def ordered(shipment: Shipment) -> TrackingEvent:
    """The scan that an order itself is: known the moment it is placed."""
    return _scan(shipment, EventCode.ORDER_CREATED)


def timelines_of(
    lane: Shipment, services: Sequence[CarrierService], *, handed_over: bool = False
) -> Timelines:
    """One shipment a service, in their order, ordered at ``lane.ordered_at``, and handed over at that moment too where that is asked for."""
    facts = vars(lane)
    shipments = [
        Shipment(
            **{
                **facts,
                "shipment_id": f"{number:06d}",
                "carrier": service.carrier,
                "service_level": service.service_level,
            }
        )
        for number, service in enumerate(services)
    ]
    events = [ordered(shipment) for shipment in shipments]
    if handed_over:
        events += [_scan(shipment, EventCode.ACCEPTED) for shipment in shipments]
    return Timelines.from_records(shipments, events)


def supposed(
    lane: Shipment,
    services: Sequence[CarrierService],
    which: NDArray[np.int64],
    ordered_at: Instants,
    handed_over_at: Instants | None = None,
) -> Supposed:
    """Parcels of the services ``which`` (M,), ordered and, where that is given, handed over then, (M,) each."""
    timelines = timelines_of(lane, services, handed_over=handed_over_at is not None)
    # They differ in when they are scanned alone: each service is folded once.
    states = fold(timelines, Moments.all_at(timelines, to_instant(lane.ordered_at))).take(which)
    states = replace(states, ordered_at=ordered_at, last_scan_at=ordered_at)
    if handed_over_at is not None:
        states = replace(states, handed_over_at=handed_over_at, last_scan_at=handed_over_at)
    return Supposed(timelines, Moments(which, states.last_scan_at), states)


def _scan(shipment: Shipment, code: EventCode) -> TrackingEvent:
    at = shipment.ordered_at
    return TrackingEvent(
        shipment_id=shipment.shipment_id, event_code=code, occurred_at=at, received_at=at
    )
