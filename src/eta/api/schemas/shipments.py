"""Schemas of recorded shipments."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from eta.api.schemas.common import (
    CM_PER_UNIT,
    Dimensions,
    Prediction,
    Probability,
    ResponseModel,
    ShipmentBase,
    Weight,
    require_carrier,
    to_fields,
    validate_weight,
)
from eta.api.schemas.fields import Code, Id, LocalDate, OffsetDatetime, StrictModel, TrackingNumber
from eta.calendars.local_time import from_microseconds
from eta.domain.registration import Registration
from eta.model.hot_swap import ActiveModel
from eta.service.scoring.assessment import AssessmentOptions
from eta.service.tracking.forecast_history import revision_causes
from eta.service.tracking.read_shipments import ShipmentView
from eta.store.records import StoredEvent, StoredFlag, StoredForecast, StoredVersion


class ShipmentCreate(ShipmentBase):
    """A shipment that is to be followed."""

    external_id: Annotated[
        Id | None, Field(description="The shop's own number; the same again is the same shipment.")
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
            description="The estimate that was shown; its date for this carrier and service becomes the promise, where none is given."
        ),
    ] = None

    @model_validator(mode="after")
    def _check_tracking_number(self) -> Self:
        return require_carrier(self.carrier_code, self.tracking_number, self)

    def to_registration(self) -> Registration:
        """In our words."""
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
    """What is to be said of a shipment from now on; null for what is not known any more, and nothing for what stays."""

    carrier_code: Code | None = None
    service_code: Code | None = None
    tracking_number: TrackingNumber | None = None
    weight: Annotated[Weight, AfterValidator(validate_weight)] | None = None
    dimensions: Dimensions | None = None
    order_promised_delivery_date: LocalDate | None = None

    def to_changes(self) -> dict[str, Any]:
        """Facts in our words."""
        changes: dict[str, Any] = {}
        fields_set = self.model_fields_set
        names = {
            "carrier_code": "carrier",
            "service_code": "service_level",
            "tracking_number": "tracking_number",
        }
        changes |= {
            internal_name: getattr(self, wire_name)
            for wire_name, internal_name in names.items()
            if wire_name in fields_set
        }
        if "weight" in fields_set:
            changes["weight_kg"] = self.weight.kg if self.weight else None
        if "dimensions" in fields_set:
            sizes = self.dimensions
            changes |= {
                f"{side}_cm": getattr(sizes, side) * CM_PER_UNIT[sizes.unit] if sizes else None
                for side in ("length", "width", "height")
            }
        if "order_promised_delivery_date" in fields_set:
            changes["promised_on"] = (
                self.order_promised_delivery_date and self.order_promised_delivery_date.isoformat()
            )
        return changes


class ShipmentReference(ResponseModel):
    """A shipment that is followed."""

    object: Literal["shipment"] = "shipment"
    id: str
    created: Annotated[bool, Field(description="It was not there before.")]


class JourneyEvent(ResponseModel):
    """A scan as it was told."""

    event_id: str
    event_code: str
    carrier_event_code: str | None
    occurred_at: Annotated[
        datetime,
        Field(description="With the offset that was sent, or that of the zone it was read in."),
    ]
    occurred_local: Annotated[
        datetime,
        Field(
            description="The clock on the wall where it happened.",
            json_schema_extra={"format": "local-date-time"},
        ),
    ]
    timezone_source: str
    time_ambiguous: bool
    received_at: Annotated[datetime, Field(description="When we knew of it.")]
    place: str | None


class Revision(ResponseModel):
    """An answer as it was given, where it differed from the one before."""

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
    """A delay flag; the one without an end stands."""

    state: str
    reason_code: str | None
    probability: Probability | None
    raised_at: datetime
    ended_at: datetime | None


class ShipmentVersion(ResponseModel):
    """Under which number the shipment was followed, and since when."""

    recorded_at: datetime
    carrier_code: str | None
    service_code: str | None
    tracking_number: str | None


class Shipment(ResponseModel):
    """All there is to say of a recorded shipment."""

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
        Field(description="When nearly all parcels of its stage have been scanned again."),
    ]
    forecast: Prediction
    journey: Annotated[list[JourneyEvent], Field(description="In the order in which it happened.")]
    revisions: list[Revision]
    flags: list[DelayFlag]
    versions: list[ShipmentVersion]


class ShipmentList(ResponseModel):
    """A page of shipments, in the order of their ids."""

    object: Literal["list"] = "list"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[Shipment]
    next_cursor: Annotated[
        str | None, Field(description="Send it as `cursor` for the next page; null after the last.")
    ]


class DeletedCount(ResponseModel):
    """How many shipments are gone, with all that was told and said of them."""

    deleted: int


def to_shipment(
    view: ShipmentView, current: ActiveModel, as_of: datetime, options: AssessmentOptions
) -> dict[str, object]:
    """The fields of a ``Shipment``, in their order."""
    history = view.history
    facts = history.registration.shipment
    return {
        "object": "shipment",
        "id": history.stored.shipment_id,
        "external_id": history.stored.external_id,
        "carrier_code": facts.carrier,
        "service_code": facts.service_level,
        "tracking_number": history.registration.tracking_number,
        "created_at": from_microseconds(history.stored.created_at),
        "changed_at": from_microseconds(history.versions[-1].recorded_at),
        "as_of": as_of,
        "last_scan_age_hours": None
        if view.last_scan_age_hours is None
        else round(view.last_scan_age_hours, 2),
        "expected_next_scan_by": view.expected_next_scan_by,
        "forecast": to_fields(
            view.assessment, current, options, facts.carrier, facts.service_level
        ),
        "journey": [_journey_event(event) for event in history.events],
        "revisions": [
            _revision(forecast, cause)
            for forecast, cause in zip(
                history.forecasts, revision_causes(history.forecasts), strict=True
            )
        ],
        "flags": [_flag(flag, as_of) for flag in history.flags],
        "versions": [_version(version) for version in history.versions],
    }


def _journey_event(event: StoredEvent) -> dict[str, object]:
    at = from_microseconds(event.occurred_at).astimezone(
        timezone(timedelta(minutes=event.offset_minutes))
    )
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
    }


def _revision(forecast: StoredForecast, cause: str) -> dict[str, object]:
    answer = json.loads(forecast.assessment)
    return {
        "as_of": from_microseconds(forecast.as_of),
        "cause": cause,
        "confidence_code": answer["code"],
        "status": answer["status"],
        "estimated_delivery_date": answer["estimated_on"],
        "estimated_delivery_date_min": answer["earliest_on"],
        "estimated_delivery_date_max": answer["latest_on"],
        "on_time_probability": answer["on_time_probability"],
        "delay_state": answer["delay_state"],
        "reason_code": answer["delay_reason"],
        "model_version": forecast.model_version,
    }


def _flag(flag: StoredFlag, as_of: datetime) -> dict[str, object]:
    ended_at = None if flag.ended_at is None else from_microseconds(flag.ended_at)
    return {
        "state": flag.state,
        "reason_code": flag.reason_code,
        "probability": flag.probability,
        "raised_at": from_microseconds(flag.raised_at),
        "ended_at": ended_at if ended_at and ended_at <= as_of else None,
    }


def _version(version: StoredVersion) -> dict[str, object]:
    facts = Registration.from_attributes(json.loads(version.attributes), "", None)
    shipment = facts.shipment
    return {
        "recorded_at": from_microseconds(version.recorded_at),
        "carrier_code": shipment.carrier,
        "service_code": shipment.service_level,
        "tracking_number": facts.tracking_number,
    }
