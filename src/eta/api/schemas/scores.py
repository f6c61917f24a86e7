"""Schemas of stateless scoring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError, WrapValidator

from eta.api.problem_details import Problem, field_errors
from eta.api.schemas.common import Parcel, Rejected, Reply, Result
from eta.api.schemas.estimates import MOST_EVENTS, MOST_SHIPMENTS
from eta.api.schemas.fields import LONGEST_ID, Code, Id, Moment, ScanCode, Share, Strict, Text
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.service.estimates.hypothetical_shipments import ordered


class EventTold(Strict):
    """One scan."""

    event_code: ScanCode
    occurred_at: Moment
    received_at: Annotated[
        Moment | None, Field(description="When it became known; default: when it happened.")
    ] = None
    carrier_event_code: Annotated[Text | None, Field(description="The carrier's own code.")] = None
    place: Annotated[Text | None, Field(description="Where, without a street.")] = None

    def to_event(self, shipment_id: str) -> TrackingEvent:
        """In our words."""
        return TrackingEvent(
            shipment_id=shipment_id,
            event_code=self.event_code,
            occurred_at=self.occurred_at,
            received_at=self.received_at or self.occurred_at,
            is_received_at_assumed=self.received_at is None,
            raw_code=self.carrier_event_code,
            place=self.place,
        )


class ShipmentTold(Parcel):
    """An order and what the carrier has said of it."""

    shipment_id: Annotated[Id | None, Field(description="Yours; given back as it came.")] = None
    carrier_code: Code | None = None
    service_code: Code | None = None
    order_time: Moment
    events: Annotated[list[EventTold], Field(max_length=MOST_EVENTS)] = []  # noqa: RUF012  # pydantic copies it

    def to_records(self, shipment_id: str) -> tuple[Shipment, list[TrackingEvent]]:
        """In our words: the shipment and its scans, the order among them."""
        shipment = self.to_shipment(
            shipment_id, self.order_time, self.carrier_code, self.service_code
        )
        events = [event.to_event(shipment_id) for event in self.events]
        if not any(event.event_code is EventCode.ORDER_CREATED for event in events):
            events.append(ordered(shipment))
        return shipment, events


def _or_rejected(
    value: object, validate: Callable[[object], ShipmentTold]
) -> ShipmentTold | Rejected:
    try:
        return validate(value)
    except ValidationError as error:
        return Rejected(
            _number_of(value), field_errors(error.errors(include_url=False, include_input=False))
        )


def _number_of(value: object) -> str | None:
    """The shipment's own number, if that much could be read."""
    number = value.get("shipment_id") if isinstance(value, dict) else None
    return number if isinstance(number, str) and 0 < len(number) <= LONGEST_ID else None


class ScoreRequest(Strict):
    """Shipments told whole; nothing of them is kept."""

    as_of: Annotated[
        Moment | None, Field(description="Answer with what was known then; default: now.")
    ] = None
    confidence_level: Annotated[
        Share, Field(description="P(the arrival is within the window).")
    ] = 0.8
    shipments: Annotated[
        list[Annotated[ShipmentTold, WrapValidator(_or_rejected)]], Field(max_length=MOST_SHIPMENTS)
    ]


class ScoredResult(Result):
    """One answer about a shipment, under its own number."""

    shipment_id: str | None


class Refusal(Reply):
    """In the place of a result: the shipment could not be used."""

    shipment_id: str | None
    problem: Problem


class Scores(Reply):
    """One entry a shipment, in order."""

    object: Literal["Scores"] = "Scores"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ScoredResult | Refusal]
