"""Schemas of stateless scoring."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import Field, ValidationError, ValidationInfo, WrapValidator
from typing_extensions import TypedDict

from eta.api.problem_details import Problem
from eta.api.schemas.common import (
    BatchModel,
    InvalidItem,
    Prediction,
    ShipmentBase,
    invalid_item,
    response_dict,
)
from eta.api.schemas.estimates import MAX_EVENTS_PER_SHIPMENT, MAX_SHIPMENTS
from eta.api.schemas.fields import (
    CarrierEventCode,
    Code,
    CountFirst,
    EventCodeIn,
    Identifier,
    ProbabilityLevel,
    StrictModel,
    Text,
    UtcDatetime,
)
from eta.api.schemas.messages import Message
from eta.domain.shipment import Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.service.estimates.hypothetical_shipments import order_event

#: So many events are as much work as a shipment.
_EVENTS_PER_SHIPMENT = 10


class EventInput(StrictModel):
    """One scan."""

    event_code: EventCodeIn
    occurred_at: UtcDatetime
    received_at: Annotated[
        UtcDatetime | None, Field(description="When it was received; default: when it happened.")
    ] = None
    carrier_event_code: CarrierEventCode | None = None
    place: Annotated[Text | None, Field(description="Where, without a street.")] = None

    @property
    def content(self) -> tuple[object, ...]:
        """What two reports of one scan have in common."""
        raw_code = self.carrier_event_code or self.event_code
        return (raw_code, self.event_code, self.occurred_at, self.place or None)

    def to_event(self, shipment_id: str) -> TrackingEvent:
        """The scan in the words of the domain."""
        return TrackingEvent(
            shipment_id=shipment_id,
            event_code=self.event_code,
            occurred_at=self.occurred_at,
            received_at=self.received_at or self.occurred_at,
            is_received_at_assumed=self.received_at is None,
            raw_code=self.carrier_event_code,
            place=self.place,
        )


class ShipmentInput(ShipmentBase):
    """An order and its scans."""

    shipment_id: Annotated[
        Identifier | None, Field(description="Your own id; returned unchanged.")
    ] = None
    carrier_code: Code | None = None
    service_code: Code | None = None
    order_time: UtcDatetime
    events: Annotated[
        list[EventInput],
        Field(max_length=MAX_EVENTS_PER_SHIPMENT),
        CountFirst(MAX_EVENTS_PER_SHIPMENT),
    ] = []  # noqa: RUF012  # pydantic copies it

    def to_records(self, shipment_id: str) -> tuple[Shipment, list[TrackingEvent]]:
        """The shipment and its scans, the order among them, in the words of the domain."""
        shipment = self.to_shipment(
            shipment_id, self.order_time, self.carrier_code, self.service_code
        )
        events = [event.to_event(shipment_id) for event in self.events]
        if not any(event.event_code is EventCode.ORDER_CREATED for event in events):
            events.append(order_event(shipment))
        return shipment, events


def _validated_or_invalid(
    value: object, validate: Callable[[object], ShipmentInput], info: ValidationInfo
) -> ShipmentInput | InvalidItem:
    try:
        return validate(value)
    except ValidationError as error:
        events = value.get("events") if isinstance(value, dict) else None
        sent = events[:MAX_EVENTS_PER_SHIPMENT] if isinstance(events, list) else []
        return invalid_item(value, error, info, sent)


class ScoreRequest(BatchModel):
    """Shipments with all their scans; nothing is stored."""

    as_of: Annotated[
        UtcDatetime | None, Field(description="Use only what was received by then; default: now.")
    ] = None
    confidence_level: Annotated[
        ProbabilityLevel, Field(description="P(the arrival is within the window).")
    ] = 0.8
    shipments: Annotated[
        list[Annotated[ShipmentInput, WrapValidator(_validated_or_invalid)]],
        Field(max_length=MAX_SHIPMENTS),
        CountFirst(MAX_SHIPMENTS),
    ]

    @property
    def size(self) -> int:
        """How much work it is, counted in shipments."""
        events = sum(len(getattr(shipment, "events", ())) for shipment in self.shipments)
        return len(self.shipments) + events // _EVENTS_PER_SHIPMENT


@response_dict
class ShipmentScore(Prediction):
    """The prediction of one shipment, under its own id."""

    shipment_id: str | None


@response_dict
class ItemProblem(TypedDict):
    """In place of a result: why the shipment was rejected."""

    shipment_id: str | None
    problem: Problem


@response_dict
class ScoreList(TypedDict):
    """One entry a shipment, in order."""

    object: NotRequired[Annotated[Literal["list"], Field(json_schema_extra={"default": "list"})]]
    as_of: datetime
    model_version: str | None
    degraded: bool
    messages: list[Message]
    results: list[ShipmentScore | ItemProblem]
