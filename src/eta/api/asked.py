"""What callers send, in the names of the field (HTTP's own: ``carrier_code``, ``postal_code``), and its way into our words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import time
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from eta.api.fields import (
    LONGEST_ID,
    ClockTime,
    Code,
    Country,
    Day,
    Id,
    Moment,
    Number,
    PostalCode,
    Region,
    ScanCode,
    Share,
    Strict,
    Text,
    Weekdays,
)
from eta.api.problems import FieldError, field_errors
from eta.domain.errors import InvalidSetting
from eta.domain.shipment import MAX_WEIGHT_KG, Place, Shipment, TrackingEvent
from eta.domain.vocabulary import EventCode
from eta.promise import PromiseCosts, PromisePolicy
from eta.service.estimates.estimate_order import Piece
from eta.service.estimates.hypothetical_shipments import CarrierService, ordered
from eta.service.estimates.order_to_delivery import MOST_HANDLING_DAYS, Warehouse

MOST_SHIPMENTS, MOST_EVENTS, MOST_SERVICES, MOST_PIECES = 5_000, 200, 50, 20

#: Factors to kilograms; the pound and the ounce are international avoirdupois, exact by definition.
KG_IN: Mapping[str, float] = MappingProxyType(
    {"g": 0.001, "kg": 1.0, "lb": 0.45359237, "oz": 0.028349523125}
)
CM_IN: Mapping[str, float] = MappingProxyType({"cm": 1.0, "in": 2.54})


class Address(Strict):
    """One end of a route: no names and no streets."""

    country: Country
    state: Annotated[
        Region | None, Field(description="The country's own short form, such as `CA`.")
    ] = None
    city: Annotated[Text | None, Field(description="Accepted and not used.")] = None
    postal_code: PostalCode | None = None
    latitude: Annotated[Number, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[Number, Field(ge=-180, le=180)] | None = None

    def to_place(self) -> Place:
        """In our words."""
        return Place(
            country=self.country,
            region=self.state,
            postcode=self.postal_code,
            latitude=self.latitude,
            longitude=self.longitude,
        )


class Weight(Strict):
    """A weight and its unit, which is never guessed."""

    value: Annotated[Number, Field(json_schema_extra={"exclusiveMinimum": 0})]
    unit: Literal["g", "kg", "lb", "oz"]

    @property
    def kg(self) -> float:
        """Kilograms."""
        return self.value * KG_IN[self.unit]


def is_parcel(weight: Weight) -> Weight:
    """The weight, if a parcel may have it.

    Raises:
        PydanticCustomError: if not.
    """
    if not 0.0 < weight.kg <= MAX_WEIGHT_KG:
        raise PydanticCustomError(
            "weight_out_of_range",
            "the weight is no parcel's; send a value above 0 and up to 1000 kg",
        )
    return weight


class Dimensions(Strict):
    """Outer sizes and their unit."""

    length: Annotated[Number, Field(gt=0, le=1_000)]
    width: Annotated[Number, Field(gt=0, le=1_000)]
    height: Annotated[Number, Field(gt=0, le=1_000)]
    unit: Literal["cm", "in"]


class Parcel(Strict):
    """What an estimate and a score both need to know."""

    origin_address: Address
    destination_address: Address
    weight: Annotated[Weight, AfterValidator(is_parcel)] | None = None
    dimensions: Dimensions | None = None
    order_value: Annotated[
        Annotated[Number, Field(ge=0, le=1e9)] | None,
        Field(description="In the currency the model learned from."),
    ] = None
    package_count: Annotated[int, Field(ge=1, le=1_000)] = 1
    order_promised_delivery_date: Annotated[
        Day | None, Field(description="The local day by whose end delivery was promised.")
    ] = None

    def to_shipment(
        self,
        shipment_id: str,
        ordered_at: Moment,
        carrier: str | None = None,
        service_level: str | None = None,
    ) -> Shipment:
        """In our words."""
        sizes = self.dimensions
        length, width, height = (
            (size * CM_IN[sizes.unit] for size in (sizes.length, sizes.width, sizes.height))
            if sizes
            else (None, None, None)
        )
        return Shipment(
            shipment_id=shipment_id,
            order_id=shipment_id,
            origin=self.origin_address.to_place(),
            destination=self.destination_address.to_place(),
            ordered_at=ordered_at,
            carrier=carrier,
            service_level=service_level,
            weight_kg=self.weight.kg if self.weight else None,
            length_cm=length,
            width_cm=width,
            height_cm=height,
            promised_on=self.order_promised_delivery_date,
            price=self.order_value,
            package_count=self.package_count,
        )


class ServiceAsked(Strict):
    """A carrier and one of its services; leave out what the shop does not choose."""

    carrier_code: Code | None = None
    service_code: Code | None = None
    delivery_days: Annotated[
        Weekdays | None,
        Field(description="On which it delivers, but for holidays; default: as it was learned."),
    ] = None
    pickup_days: Annotated[
        Weekdays | None,
        Field(description="On which it picks up; default: `business_days` of `estimated_pickup`."),
    ] = None

    def to_service(self) -> CarrierService:
        """In our words."""
        return CarrierService(
            carrier=self.carrier_code,
            service_level=self.service_code,
            delivery_weekdays=tuple(self.delivery_days) if self.delivery_days else None,
            pickup_weekdays=tuple(self.pickup_days) if self.pickup_days else None,
        )


class CarrierAsked(ServiceAsked):
    """One of the services to compare; leave out what the shop does not choose."""

    price: Annotated[
        Annotated[Number, Field(ge=0, le=1e9)] | None,
        Field(description="In one currency for all; only compared."),
    ] = None


class ProcessingTime(Strict):
    """How long an order is handled before it can be picked up."""

    unit: Literal["business_days"]
    value: Annotated[
        int | None,
        Field(
            ge=0,
            le=MOST_HANDLING_DAYS,
            description="Pick-up days after the one for which the order counts.",
        ),
    ] = None
    chances: Annotated[
        list[Annotated[Number, Field(ge=0, le=1)]] | None,
        Field(
            min_length=1,
            max_length=MOST_HANDLING_DAYS + 1,
            description="P(0 days), P(1 day), ... in the place of one value.",
        ),
    ] = None

    @property
    def law(self) -> tuple[float, ...]:
        """Chances of 0, 1, ... pick-up days."""
        return tuple(self.chances) if self.chances else (*([0.0] * (self.value or 0)), 1.0)


def is_one_law(told: ProcessingTime) -> ProcessingTime:
    """The time, if it is either a number of days or a law of them.

    Raises:
        PydanticCustomError: if not.
    """
    if (told.value is None) == (told.chances is None):
        raise PydanticCustomError(
            "processing_time", "the time is told twice, or not at all; send either value or chances"
        )
    if told.chances is not None and abs(sum(told.chances) - 1.0) > 0.01:
        raise PydanticCustomError(
            "processing_time",
            "the chances do not add up to 1; send one for each number of days, from 0 on",
        )
    return told


class EstimatedPickup(Strict):
    """When an order is handed over: by the clocks of the origin, on working days that are no holidays there."""

    order_cutoff_time: Annotated[
        ClockTime,
        Field(
            description="An order placed before it counts for the same pick-up day. Parcels are picked up then."
        ),
    ]
    business_days: Annotated[Weekdays, Field(description="Pick-up days.")] = [1, 2, 3, 4, 5]  # noqa: RUF012  # pydantic copies it
    order_processing_time: Annotated[ProcessingTime, AfterValidator(is_one_law)] | None = None

    def to_warehouse(self) -> Warehouse:
        """In our words."""
        handling = self.order_processing_time
        return Warehouse(
            cutoff=self.order_cutoff_time,
            weekdays=tuple(self.business_days),
            handling=handling.law if handling else None,
        )


class Costs(Strict):
    """What it costs, in any one unit."""

    late: Annotated[Number, Field(ge=0, le=1e9, description="Of each parcel that comes late.")] = (
        0.0
    )
    late_day: Annotated[Number, Field(ge=0, le=1e9, description="Of each day it is late.")] = 0.0
    day: Annotated[Number, Field(gt=0, le=1e9, description="Of each day later promised.")] = 1.0


class Draft(Strict):
    """A promise policy to try."""

    on_time_rate: Share | None = None
    costs: Costs | None = None
    earliest_days: Annotated[int, Field(ge=0, le=60)] = 0
    latest_days: Annotated[int | None, Field(ge=0, le=60)] = None

    def to_policy(self) -> PromisePolicy:
        """In our words.

        Raises:
            InvalidSetting: if it is no policy.
        """
        costs = PromiseCosts(**self.costs.model_dump()) if self.costs else None
        return PromisePolicy(
            on_time_rate=self.on_time_rate,
            costs=costs,
            earliest_days=self.earliest_days,
            latest_days=self.latest_days,
        )


def is_policy(draft: Draft) -> Draft:
    """The draft, if it is a policy.

    Raises:
        PydanticCustomError: if not.
    """
    try:
        draft.to_policy()
    except InvalidSetting as error:
        raise PydanticCustomError("promise_policy", "{why}", {"why": str(error)}) from None
    return draft


class EstimateRequest(Parcel):
    """One lane, several carrier services."""

    carriers: Annotated[list[CarrierAsked], Field(min_length=1, max_length=MOST_SERVICES)] = [  # noqa: RUF012  # pydantic copies it
        CarrierAsked()
    ]
    order_time: Annotated[
        Moment | None, Field(description="When the order is placed; default: now.")
    ] = None
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: as it was learned."),
    ] = None
    confidence_level: Annotated[
        Share, Field(description="P(the arrival is within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        Day | None, Field(description="The local day by which the customer wants it.")
    ] = None
    is_shown: Annotated[
        bool,
        Field(
            description="The dates are shown to a customer: keep them, and name them by an `id`."
        ),
    ] = False
    draft: Annotated[
        Annotated[Draft, AfterValidator(is_policy)] | None,
        Field(
            description="A promise policy to try in the place of the one in force; nothing is kept."
        ),
    ] = None
    now_override: Annotated[
        Moment | None, Field(description="Answer as if it were this time; nothing is kept.")
    ] = None

    @model_validator(mode="after")
    def is_shown_or_tried(self) -> Self:
        """Raises PydanticCustomError if what is only tried is to be shown."""
        if self.is_shown and (self.draft or self.now_override):
            raise PydanticCustomError(
                "tried_not_shown",
                "what is tried is not shown to a customer; leave out is_shown, or draft and now_override",
            )
        return self


class PieceAsked(ServiceAsked):
    """A parcel of an order, or several that are alike."""

    origin_address: Address
    weight: Annotated[
        Annotated[Weight, AfterValidator(is_parcel)] | None, Field(description="Of one parcel.")
    ] = None
    dimensions: Annotated[Dimensions | None, Field(description="Of one parcel.")] = None
    package_count: Annotated[
        int, Field(ge=1, le=1_000, description="So many such parcels, each of which travels alone.")
    ] = 1
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: as it was learned."),
    ] = None

    def to_piece(self, destination: Address, ordered_at: Moment) -> Piece:
        """In our words."""
        parcel = Parcel(
            origin_address=self.origin_address,
            destination_address=destination,
            weight=self.weight,
            dimensions=self.dimensions,
        )
        warehouse = self.estimated_pickup.to_warehouse() if self.estimated_pickup else None
        return Piece(
            lane=parcel.to_shipment("piece", ordered_at),
            service=self.to_service(),
            warehouse=warehouse,
            parcels=self.package_count,
        )


class OrderEstimateRequest(Strict):
    """One order that travels as several parcels to one place."""

    destination_address: Address
    pieces: Annotated[list[PieceAsked], Field(min_length=1, max_length=MOST_PIECES)]
    order_time: Annotated[
        Moment | None, Field(description="When the order is placed; default: now.")
    ] = None
    confidence_level: Annotated[
        Share, Field(description="P(the arrival is within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        Day | None, Field(description="The local day by which the customer wants it.")
    ] = None


class ShipByRequest(Parcel):
    """One lane, several carrier services, and the day by which it is wanted."""

    carriers: Annotated[list[CarrierAsked], Field(min_length=1, max_length=MOST_SERVICES)] = [  # noqa: RUF012  # pydantic copies it
        CarrierAsked()
    ]
    order_time: Annotated[
        Moment | None, Field(description="When the order is placed; default: now.")
    ] = None
    desired_delivery_date: Annotated[
        Day, Field(description="The local day at the destination by which it is wanted.")
    ]
    probability: Annotated[
        Share, Field(description="P(arrival on or before that day) that the hand-over must have.")
    ] = 0.9
    handover_time: Annotated[
        ClockTime, Field(description="When the carrier takes parcels, by the clocks of the origin.")
    ] = time(17)


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


class Rejected:
    """Stands in a batch for an item that cannot be used."""

    def __init__(self, shipment_id: str | None, errors: Sequence[FieldError]) -> None:
        self.shipment_id, self.errors = shipment_id, errors


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
