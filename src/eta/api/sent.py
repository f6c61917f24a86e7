"""What callers send to be recorded: shipments, corrections, and scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from eta.api.asked import CM_IN, Dimensions, Parcel, Rejected, Weight, is_parcel
from eta.api.door import Unread
from eta.api.fields import (
    Code,
    Country,
    Day,
    Id,
    KeptMoment,
    LocalMoment,
    Region,
    ScanCode,
    Strict,
    Text,
    TrackingNumber,
    Zone,
)
from eta.api.problems import field_errors
from eta.domain.registration import Registration
from eta.service.tracking.record_events import Report

MOST_EVENTS_AT_ONCE = 5_000

T = TypeVar("T")


class ShipmentSent(Parcel):
    """A shipment that is to be followed."""

    external_id: Annotated[
        Id | None, Field(description="The shop's own number; the same again is the same shipment.")
    ] = None
    carrier_code: Code | None = None
    service_code: Code | None = None
    tracking_number: Annotated[
        TrackingNumber | None, Field(description="The carrier's number; needs `carrier_code`.")
    ] = None
    order_time: KeptMoment
    estimate_id: Annotated[
        Id | None,
        Field(
            description="The estimate that was shown; its date for this carrier and service becomes the promise, where none is given."
        ),
    ] = None

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        return _with_carrier(self.carrier_code, self.tracking_number, self)

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


class CorrectionSent(Strict):
    """What is to be said of a shipment from now on; null for what is not known any more, and nothing for what stays."""

    carrier_code: Code | None = None
    service_code: Code | None = None
    tracking_number: TrackingNumber | None = None
    weight: Annotated[Weight, AfterValidator(is_parcel)] | None = None
    dimensions: Dimensions | None = None
    order_promised_delivery_date: Day | None = None

    def to_changes(self) -> dict[str, Any]:
        """Facts in our words."""
        changes: dict[str, Any] = {}
        sent = self.model_fields_set
        names = {
            "carrier_code": "carrier",
            "service_code": "service_level",
            "tracking_number": "tracking_number",
        }
        changes |= {ours: getattr(self, theirs) for theirs, ours in names.items() if theirs in sent}
        if "weight" in sent:
            changes["weight_kg"] = self.weight.kg if self.weight else None
        if "dimensions" in sent:
            sizes = self.dimensions
            changes |= {
                f"{side}_cm": getattr(sizes, side) * CM_IN[sizes.unit] if sizes else None
                for side in ("length", "width", "height")
            }
        if "order_promised_delivery_date" in sent:
            changes["promised_on"] = (
                self.order_promised_delivery_date and self.order_promised_delivery_date.isoformat()
            )
        return changes


class EventSent(Strict):
    """One scan: of a shipment by its `shipment_id` or `external_id`, or of a carrier's number."""

    shipment_id: Id | None = None
    external_id: Id | None = None
    carrier_code: Code | None = None
    tracking_number: TrackingNumber | None = None
    event_code: ScanCode
    carrier_event_code: Annotated[Text | None, Field(description="The carrier's own code.")] = None
    occurred_at: Annotated[
        KeptMoment | None,
        Field(description="When it happened, with an offset; else send `occurred_local`."),
    ] = None
    occurred_local: LocalMoment | None = None
    timezone: Annotated[
        Zone | None,
        Field(
            description="The zone of `occurred_local`; else that of `country` and `state`, else that of the route's end."
        ),
    ] = None
    country: Annotated[Country | None, Field(description="Where it happened.")] = None
    state: Region | None = None
    place: Annotated[Text | None, Field(description="Where, without a street.")] = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (
            sum(
                each is not None
                for each in (self.shipment_id, self.external_id, self.tracking_number)
            )
            != 1
        ):
            raise PydanticCustomError(
                "whose",
                "name the shipment once; send shipment_id, external_id, or carrier_code with tracking_number",
            )
        if (self.occurred_at is None) == (self.occurred_local is None):
            raise PydanticCustomError(
                "when",
                "say once when it happened; send occurred_at with an offset, or occurred_local without one",
            )
        return _with_carrier(self.carrier_code, self.tracking_number, self)

    def to_report(self) -> Report:
        """In our words."""
        return Report(
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
            raw_code=self.carrier_event_code,
            place=self.place,
        )


def _with_carrier(carrier: str | None, number: str | None, sent: T) -> T:
    if number is not None and carrier is None:
        raise PydanticCustomError(
            "carrier_missing", "a tracking number is one carrier's; send carrier_code with it"
        )
    return sent


def _or_rejected(value: object, validate: Callable[[object], EventSent]) -> EventSent | Rejected:
    if isinstance(value, Unread):
        return Rejected(None, value.errors)
    try:
        return validate(value)
    except ValidationError as error:
        return Rejected(None, field_errors(error.errors(include_url=False, include_input=False)))


class EventsSent(Strict):
    """Scans, in any order, told once or several times."""

    events: Annotated[
        list[Annotated[EventSent, WrapValidator(_or_rejected)]],
        Field(min_length=1, max_length=MOST_EVENTS_AT_ONCE),
    ]
