"""Dates for a lane not yet bought: what would be said of such an order the moment it is placed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from eta.calendars.local import microseconds
from eta.delays import DelayPolicy
from eta.domain.errors import EtaError
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.service.score_shipments import Answer, Terms, score_shipments
from eta.service.served_model import ServedModel
from eta.store.session import Session


@dataclass(frozen=True, kw_only=True)
class CarrierService:
    """One way to ship; None where the shop does not choose."""

    carrier: str | None = None
    service_level: str | None = None


def quote_delivery(lane: Shipment, services: Sequence[CarrierService], served: ServedModel | None, *, policy: DelayPolicy, terms: Terms) -> list[Answer]:
    """One answer a carrier service, in the order given, as of ``lane.ordered_at``.

    Each is the answer about a shipment whose only scan is its order: there is no second way to make a date.
    """
    facts = vars(lane)
    shipments = [
        Shipment(**{**facts, "shipment_id": f"{number:06d}", "carrier": service.carrier, "service_level": service.service_level})
        for number, service in enumerate(services)
    ]
    return score_shipments(shipments, [ordered(shipment) for shipment in shipments], served, lane.ordered_at, policy=policy, terms=terms)


@dataclass(frozen=True)
class Showing:
    """An estimate, as JSON, that a tenant shows to a customer."""

    tenant: str
    as_of: datetime
    model_version: str | None
    answer: str


def keep_estimates(session: Session, shown: Sequence[Showing]) -> list[str | EtaError]:
    """Keeps estimates that are shown; the id of each."""
    ids = list[str | EtaError]()
    for each in shown:
        estimate_id = session.new_id("est")
        session.add_estimate(each.tenant, estimate_id, microseconds(each.as_of), each.model_version, each.answer)
        ids.append(estimate_id)
    return ids


def ordered(shipment: Shipment) -> TrackingEvent:
    """The scan that an order itself is: known the moment it is placed."""
    at = shipment.ordered_at
    return TrackingEvent(shipment_id=shipment.shipment_id, event_code=EventCode.ORDER_CREATED, occurred_at=at, received_at=at)
