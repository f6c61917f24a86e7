"""Schemas of tracking events and of the quarantine."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from eta.api.problem_details import Problem
from eta.api.schemas.common import (
    BatchModel,
    InvalidItem,
    ResponseModel,
    invalid_item,
    require_carrier,
)
from eta.api.schemas.fields import (
    CarrierEventCode,
    Code,
    CountFirst,
    Country,
    EventCodeIn,
    Id,
    LocalDatetime,
    OffsetDatetime,
    PostalCode,
    Region,
    StrictModel,
    Text,
    TimezoneName,
    TrackingNumber,
)
from eta.api.strict_json import InvalidLine
from eta.calendars.local_time import from_microseconds
from eta.service.tracking.correct_events import CorrectedEvent
from eta.service.tracking.record_events import EventOutcome, EventReport, RecordingStatus
from eta.store.records import StoredQuarantinedEvent

MAX_EVENTS = 5_000


class EventCreate(StrictModel):
    """One tracking event, of a shipment by `shipment_id`, `external_id` or tracking number."""

    shipment_id: Id | None = None
    external_id: Id | None = None
    carrier_code: Code | None = None
    tracking_number: TrackingNumber | None = None
    event_code: EventCodeIn
    carrier_event_code: CarrierEventCode | None = None
    occurred_at: Annotated[
        OffsetDatetime | None,
        Field(description="When it happened, with an offset; or send `occurred_local`."),
    ] = None
    occurred_local: LocalDatetime | None = None
    timezone: Annotated[
        TimezoneName | None,
        Field(
            description=(
                "The zone of `occurred_local`; default: that of the event's own place, "
                "else that of the end of the route where the parcel was."
            )
        ),
    ] = None
    country: Annotated[Country | None, Field(description="Where it happened.")] = None
    state: Annotated[
        Region | None,
        Field(description="Without `country`, that of a country of the shipment's route."),
    ] = None
    postal_code: PostalCode | None = None
    place: Annotated[Text | None, Field(description="Where it happened, without a street.")] = None

    @model_validator(mode="after")
    def _check_reference_and_time(self) -> Self:
        references = (self.shipment_id, self.external_id, self.tracking_number)
        if references.count(None) != len(references) - 1:
            raise PydanticCustomError(
                "shipment_reference_required",
                "exactly one shipment reference is required; send shipment_id, external_id, "
                "or carrier_code with tracking_number",
            )
        if (self.occurred_at is None) == (self.occurred_local is None):
            raise PydanticCustomError(
                "event_time_required",
                "exactly one time is required; send occurred_at with an offset, "
                "or occurred_local without one",
            )
        return require_carrier(self.carrier_code, self.tracking_number, self)

    def to_report(self) -> EventReport:
        """The event for the use-case that records it."""
        return EventReport(
            event_code=self.event_code,
            shipment_id=self.shipment_id,
            external_id=self.external_id,
            carrier=self.carrier_code,
            tracking_number=self.tracking_number,
            occurred_at=self.occurred_at,
            occurred_local=self.occurred_local,
            timezone=self.timezone,
            country=self.country,
            region=self.state,
            postcode=self.postal_code,
            raw_code=self.carrier_event_code,
            place=self.place,
        )


def _validated_or_invalid(
    value: object, validate: Callable[[object], EventCreate], info: ValidationInfo
) -> EventCreate | InvalidItem:
    if isinstance(value, InvalidLine):
        return InvalidItem(None, value.errors, unmapped_codes=0)
    try:
        return validate(value)
    except ValidationError as error:
        return invalid_item(value, error, info, [value])


class EventBatch(BatchModel):
    """Tracking events, in any order; repeated events are recorded once."""

    events: Annotated[
        list[Annotated[EventCreate, WrapValidator(_validated_or_invalid)]],
        Field(min_length=1, max_length=MAX_EVENTS),
        CountFirst(MAX_EVENTS),
    ]

    def to_reports(self) -> list[EventReport]:
        """The valid events for the use-case that records them."""
        return [event.to_report() for event in self.events if isinstance(event, EventCreate)]


class EventResult(ResponseModel):
    """The outcome of recording one event."""

    status: RecordingStatus
    event_id: str
    shipment_id: Annotated[
        str | None,
        Field(
            description=(
                "Null until a shipment is registered with the tracking number; "
                "the event then counts for that shipment."
            )
        ),
    ]
    reason: Annotated[str | None, Field(description="Why it was quarantined.")]


class EventProblem(ResponseModel):
    """In place of a result: the event could not be recorded."""

    problem: Problem


class EventBatchResponse(ResponseModel):
    """One entry per event, in order; `stored` and `duplicate` events are durable."""

    object: Literal["event_batch"] = "event_batch"
    results: list[EventResult | EventProblem]


class EventUpdate(StrictModel):
    """The event code that counts from now on, whatever the event was recorded with."""

    event_code: EventCodeIn


class Event(ResponseModel):
    """A recorded event as it counts now."""

    object: Literal["event"] = "event"
    event_id: str
    shipment_id: Annotated[
        str | None, Field(description="Null until a shipment has the tracking number.")
    ]
    event_code: str
    carrier_event_code: str | None
    occurred_at: datetime
    place: str | None
    corrected: Annotated[bool, Field(description="Its event code is that of a correction.")]
    created: Annotated[
        bool, Field(description="Whether a correction was recorded; not if it had the code.")
    ]


class QuarantinedEvent(ResponseModel):
    """An implausible event, of a shipment or of a tracking number without a shipment."""

    event_id: str
    reason: Annotated[
        str,
        Field(description="`too_far_in_the_past`, `too_far_in_the_future` or `too_many_scans`."),
    ]
    received_at: datetime
    shipment_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    event_code: str
    carrier_event_code: str | None
    occurred_at: datetime
    place: str | None


class QuarantineList(ResponseModel):
    """A page of quarantined events."""

    object: Literal["list"] = "list"
    results: list[QuarantinedEvent]
    next_cursor: str | None


def to_event_result(recorded: EventOutcome) -> dict[str, object]:
    """The fields of an ``EventResult``."""
    return {
        "status": recorded.status.value,
        "event_id": recorded.event_id,
        "shipment_id": recorded.shipment_id,
        "reason": recorded.reason,
    }


def to_event(corrected: CorrectedEvent, event_id: str) -> dict[str, object]:
    """The fields of an ``Event``; it keeps the id by which it was corrected."""
    event = corrected.event
    return {
        "object": "event",
        "event_id": event_id,
        "shipment_id": corrected.shipment_id,
        "event_code": event.event_code,
        "carrier_event_code": event.raw_code,
        "occurred_at": from_microseconds(event.occurred_at),
        "place": event.place,
        "corrected": bool(event.correction_number),
        "created": corrected.created,
    }


def to_quarantined_event(row: StoredQuarantinedEvent) -> dict[str, object]:
    """The fields of a ``QuarantinedEvent``."""
    event = json.loads(row.content)
    shipment_id: str | None = row.event_owner
    carrier, number = None, None
    # Events without a shipment belong to "number|carrier|count".
    first, _, rest = row.event_owner.partition("|")
    if rest:
        shipment_id, number = None, first
        carrier = rest.rpartition("|")[0]
    received_at = from_microseconds(row.received_at)
    occurred_at = from_microseconds(event["occurred_at"])
    return {
        "event_id": row.event_id,
        "reason": row.reason,
        "received_at": received_at,
        "shipment_id": shipment_id,
        "carrier_code": carrier,
        "tracking_number": number,
        "event_code": event["event_code"],
        "carrier_event_code": event["raw_code"],
        "occurred_at": occurred_at,
        "place": event["place"],
    }
