"""Schemas of recorded shipments."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from eta.api.schemas.common import (
    Dimensions,
    Prediction,
    Probability,
    ResponseModel,
    ShipmentBase,
    Weight,
    require_carrier,
    rounded,
    sizes_in_cm,
    to_prediction,
    validate_weight,
)
from eta.api.schemas.fields import (
    Code,
    Id,
    Identifier,
    LocalDate,
    OffsetDatetime,
    StrictModel,
    TrackingNumber,
)
from eta.api.schemas.messages import Message, shipment_messages
from eta.calendars.local_time import from_microseconds
from eta.domain.registration import Registration
from eta.model.hot_swap import ActiveModel
from eta.service.scoring.assessment import AssessmentOptions
from eta.service.tracking.forecast_history import revision_causes
from eta.service.tracking.read_shipments import ShipmentHistory, ShipmentView
from eta.store.records import StoredEvent, StoredFlag, StoredForecast, StoredVersion


class ShipmentCreate(ShipmentBase):
    """A shipment to track."""

    external_id: Annotated[
        Identifier | None, Field(description="The shop's own number; it identifies the shipment.")
    ] = None
    carrier_code: Code | None = None
    service_code: Code | None = None
    tracking_number: Annotated[
        TrackingNumber | None, Field(description="The carrier's number; needs `carrier_code`.")
    ] = None
    order_time: OffsetDatetime
    estimate_id: Annotated[
        Id | None,
        Field(
            description=(
                "The saved estimate that the customer saw. Its date for this carrier and service "
                "becomes the promise if none is sent."
            )
        ),
    ] = None

    @model_validator(mode="after")
    def _check_tracking_number(self) -> Self:
        return require_carrier(self.carrier_code, self.tracking_number, self)

    def to_registration(self) -> Registration:
        """The registration for the use-case."""
        shipment = self.to_shipment(
            self.external_id or "", self.order_time, self.carrier_code, self.service_code
        )
        return Registration(
            shipment=shipment,
            external_id=self.external_id,
            tracking_number=self.tracking_number,
            estimate_id=self.estimate_id,
        )


class ShipmentUpdate(StrictModel):
    """The fields to change; null deletes a value, and omitted fields stay as they are."""

    carrier_code: Code | None = None
    service_code: Code | None = None
    tracking_number: TrackingNumber | None = None
    weight: Annotated[Weight, AfterValidator(validate_weight)] | None = None
    dimensions: Dimensions | None = None
    order_promised_delivery_date: LocalDate | None = None

    def to_changes(self) -> dict[str, Any]:
        """The changed attributes, by the names of the domain."""
        fields_set = self.model_fields_set
        changes: dict[str, Any] = {
            attribute: getattr(self, field)
            for field, attribute in _RENAMED_FIELDS.items()
            if field in fields_set
        }
        if "weight" in fields_set:
            changes["weight_kg"] = self.weight.kg if self.weight else None
        if "dimensions" in fields_set:
            sizes = sizes_in_cm(self.dimensions)
            changes |= zip(("length_cm", "width_cm", "height_cm"), sizes, strict=True)
        if "order_promised_delivery_date" in fields_set:
            promised_on = self.order_promised_delivery_date
            changes["promised_on"] = promised_on.isoformat() if promised_on else None
        return changes


#: The domain's attribute of each field that is taken over as it is.
_RENAMED_FIELDS = {
    "carrier_code": "carrier",
    "service_code": "service_level",
    "tracking_number": "tracking_number",
}


class ShipmentReference(ResponseModel):
    """A tracked shipment."""

    object: Literal["shipment"] = "shipment"
    id: str
    created: Annotated[bool, Field(description="False if it was registered before.")]
    messages: list[Message]


class JourneyEvent(ResponseModel):
    """A recorded event."""

    event_id: str
    event_code: str
    carrier_event_code: str | None
    occurred_at: Annotated[
        datetime,
        Field(description="With the offset that was sent, or that of the assumed zone."),
    ]
    occurred_local: Annotated[
        datetime,
        Field(
            description="Local time where it happened.",
            json_schema_extra={"format": "local-date-time"},
        ),
    ]
    timezone_source: str
    time_ambiguous: bool
    received_at: Annotated[
        datetime, Field(description="When the service received it, or its correction.")
    ]
    place: str | None
    corrected: Annotated[bool, Field(description="Its event code is that of a correction.")]


class Revision(ResponseModel):
    """A forecast that differed from the one before it."""

    as_of: datetime
    cause: Literal["created", "event", "update", "model", "time"]
    confidence_code: str
    status: str
    estimated_delivery_date: date | None
    estimated_delivery_date_min: date | None
    estimated_delivery_date_max: date | None
    on_time_probability: Probability | None
    delay_state: str | None
    reason_code: str | None
    model_version: str | None


class DelayFlag(ResponseModel):
    """A delay flag; it is raised until `ended_at`."""

    state: str
    reason_code: str | None
    probability: Probability | None
    raised_at: datetime
    ended_at: datetime | None


class ShipmentVersion(ResponseModel):
    """Carrier and tracking number of the shipment since `recorded_at`."""

    recorded_at: datetime
    carrier_code: str | None
    service_code: str | None
    tracking_number: str | None


class Shipment(ResponseModel):
    """A recorded shipment: its forecast, its events and its history."""

    object: Literal["shipment"] = "shipment"
    id: str
    external_id: str | None
    carrier_code: str | None
    service_code: str | None
    tracking_number: str | None
    created_at: datetime
    changed_at: datetime
    as_of: datetime
    last_scan_age_hours: float | None
    expected_next_scan_by: Annotated[
        datetime | None,
        Field(description="When nearly all parcels in its stage have had their next event."),
    ]
    forecast: Prediction
    messages: list[Message]
    journey: Annotated[list[JourneyEvent], Field(description="In order of `occurred_at`.")]
    revisions: list[Revision]
    flags: list[DelayFlag]
    versions: list[ShipmentVersion]


class ShipmentList(ResponseModel):
    """A page of shipments, ordered by id."""

    object: Literal["list"] = "list"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[Shipment]
    next_cursor: Annotated[
        str | None, Field(description="Send it as `cursor` for the next page; null on the last.")
    ]


class DeletedCount(ResponseModel):
    """How many shipments were deleted, with their events and forecasts."""

    deleted: int


def to_shipment(
    view: ShipmentView, current: ActiveModel, as_of: datetime, options: AssessmentOptions
) -> dict[str, object]:
    """The fields of a ``Shipment``, in their order."""
    history = view.history
    facts = history.registration.shipment
    carrier, service = facts.carrier, facts.service_level
    forecast = to_prediction(view.assessment, current, options, carrier, service, as_of)
    causes = revision_causes(history.forecasts)
    fields = _recorded_fields(history)
    fields["as_of"] = as_of
    fields["last_scan_age_hours"] = rounded(view.last_scan_age_hours, 2)
    fields["expected_next_scan_by"] = view.expected_next_scan_by
    fields["forecast"] = forecast
    fields["messages"] = shipment_messages(current, carrier, service, as_of)
    fields["journey"] = [_journey_event(event) for event in history.events]
    fields["revisions"] = [
        _revision(forecast, cause)
        for forecast, cause in zip(history.forecasts, causes, strict=True)
    ]
    fields["flags"] = [_flag(flag) for flag in history.flags]
    fields["versions"] = [_version(version) for version in history.versions]
    return fields


def _recorded_fields(history: ShipmentHistory) -> dict[str, object]:
    """What was sent of a shipment, and when it was recorded."""
    stored, registration = history.stored, history.registration
    last_version = history.versions[-1]
    return {
        "object": "shipment",
        "id": stored.shipment_id,
        "external_id": stored.external_id,
        "carrier_code": registration.shipment.carrier,
        "service_code": registration.shipment.service_level,
        "tracking_number": registration.tracking_number,
        "created_at": from_microseconds(stored.created_at),
        "changed_at": from_microseconds(last_version.recorded_at),
    }


def _journey_event(event: StoredEvent) -> dict[str, object]:
    zone = timezone(timedelta(minutes=event.offset_minutes))
    at = from_microseconds(event.occurred_at).astimezone(zone)
    return {
        "event_id": event.event_id,
        "event_code": event.event_code,
        "carrier_event_code": event.raw_code,
        "occurred_at": at,
        "occurred_local": at.replace(tzinfo=None),
        "timezone_source": event.timezone_source,
        "time_ambiguous": bool(event.is_ambiguous),
        "received_at": from_microseconds(event.received_at),
        "place": event.place,
        "corrected": bool(event.correction_number),
    }


def _revision(forecast: StoredForecast, cause: str) -> dict[str, object]:
    assessment = json.loads(forecast.assessment)
    return {
        "as_of": from_microseconds(forecast.as_of),
        "cause": cause,
        "confidence_code": assessment["code"],
        "status": assessment["status"],
        "estimated_delivery_date": assessment["estimated_on"],
        "estimated_delivery_date_min": assessment["earliest_on"],
        "estimated_delivery_date_max": assessment["latest_on"],
        "on_time_probability": assessment["on_time_probability"],
        "delay_state": assessment["delay_state"],
        "reason_code": assessment["delay_reason"],
        "model_version": forecast.model_version,
    }


def _flag(flag: StoredFlag) -> dict[str, object]:
    return {
        "state": flag.state,
        "reason_code": flag.reason_code,
        "probability": flag.probability,
        "raised_at": from_microseconds(flag.raised_at),
        "ended_at": None if flag.ended_at is None else from_microseconds(flag.ended_at),
    }


def _version(version: StoredVersion) -> dict[str, object]:
    attributes = json.loads(version.attributes)
    registration = Registration.from_attributes(attributes, "", None)
    shipment = registration.shipment
    return {
        "recorded_at": from_microseconds(version.recorded_at),
        "carrier_code": shipment.carrier,
        "service_code": shipment.service_level,
        "tracking_number": registration.tracking_number,
    }
