"""Schemas of estimates, order estimates and ship-by answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from eta.api.schemas.common import (
    Address,
    Dimensions,
    Parcel,
    Probability,
    Reply,
    Result,
    Weight,
    is_parcel,
    rounded,
    to_fields,
)
from eta.api.schemas.fields import ClockTime, Code, Day, Moment, Number, Share, Strict, Weekdays
from eta.domain.errors import InvalidSetting
from eta.model.hot_swap import Current
from eta.promise import PromiseCosts, PromisePolicy
from eta.service.estimates.compare_services import Comparison
from eta.service.estimates.estimate_delivery import Quote
from eta.service.estimates.estimate_order import End, OrderQuote, Piece
from eta.service.estimates.find_ship_by import ShipBy, ShipByCode
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import MOST_HANDLING_DAYS, Warehouse
from eta.service.scoring.assessment import AnswerCode, Terms

MOST_SHIPMENTS, MOST_EVENTS, MOST_SERVICES, MOST_PIECES = 5_000, 200, 50, 20


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


class Cutoff(Reply):
    """Until when an order is told the same dates."""

    order_by: Annotated[datetime, Field(description="By the clocks of the origin.")]
    minutes_left: Annotated[
        int, Field(ge=0, description="Whole minutes from the order until then.")
    ]


class EstimatedResult(Result):
    """One answer about a carrier service."""

    ship_on_date: Annotated[
        date | None,
        Field(
            description="The local day at the origin on which it is most likely handed over; only with `estimated_pickup`."
        ),
    ]
    cutoff: Annotated[Cutoff | None, Field(description="Only with `estimated_pickup`.")]

    desired_delivery_probability: Annotated[
        Probability | None,
        Field(
            description="P(arrival on or before `desired_delivery_date`); null without one, and where the answer abstains."
        ),
    ]


class Dominated(Reply):
    """A service that another one beats: that one is no later, no less safe and no dearer, and better in one of these."""

    index: int
    by: int


class ServiceComparison(Reply):
    """Places in `results`, null where no answer has what is compared."""

    fastest: Annotated[int | None, Field(description="The earliest median date.")]
    safest: Annotated[
        int | None,
        Field(
            description="The highest chance by the desired date, else the earliest end of the window."
        ),
    ]
    cheapest: Annotated[int | None, Field(description="The lowest price.")]
    dominated: list[Dominated]


class Message(Reply):
    """What should be known beside the results."""

    code: Literal["choice_not_seen"]
    text: str
    path: Annotated[str, Field(description="Which part of the request it is about.")]


class Estimates(Reply):
    """One result a carrier service, in order."""

    object: Literal["Estimate"] = "Estimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[EstimatedResult]
    comparison: ServiceComparison
    messages: list[Message]
    id: Annotated[
        str | None,
        Field(
            description="Names the estimate when the shipment is registered; only with `is_shown`."
        ),
    ] = None


class OrderEnd(Reply):
    """The first or the last parcel of an order. Dates are local calendar days at the destination, null beyond the horizon."""

    estimated_delivery_date: Annotated[date | None, Field(description="The median date.")]
    estimated_delivery_date_min: date | None
    estimated_delivery_date_max: date | None
    delivery_date_confidence: Annotated[
        Probability | None, Field(description="P(arrival on or before the estimated date).")
    ]
    desired_delivery_probability: Annotated[
        Probability | None,
        Field(description="P(arrival on or before `desired_delivery_date`); null without one."),
    ]


class PiecesDependence(Reply):
    """How likely what holds up one parcel is to hold up another."""

    correlation: Annotated[
        float | None,
        Field(
            ge=0.0,
            le=1.0,
            description="Of the normal scores of two parcels, on average; null for a single one.",
        ),
    ]
    learned_from_pairs: Annotated[
        int | None,
        Field(ge=0, description="Pairs of past parcels behind it; 0 where it is assumed."),
    ]


class OrderEstimate(Reply):
    """When the first and the last parcel of an order arrive, and one result a piece, in order."""

    object: Literal["OrderEstimate"] = "OrderEstimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    code: Annotated[
        AnswerCode,
        Field(
            description="Why there is no `first` and no `last`, or `may_never_arrive` where the last has no median date."
        ),
    ]
    confidence_level: Annotated[
        float, Field(description="P(min <= arrival <= max) is at least this.")
    ]
    first: OrderEnd | None
    last: Annotated[OrderEnd | None, Field(description="Then the order is complete.")]
    dependence: PiecesDependence
    pieces: list[EstimatedResult]


class DayRange(Reply):
    """schema.org/QuantitativeValue, in days."""

    type: Annotated[Literal["QuantitativeValue"], Field(alias="@type")]
    minValue: int  # noqa: N815  # schema.org's name
    maxValue: int  # noqa: N815  # schema.org's name
    unitCode: Literal["DAY"]  # noqa: N815  # schema.org's name


class ShippingDeliveryTime(Reply):
    """schema.org/ShippingDeliveryTime."""

    context: Annotated[Literal["https://schema.org"], Field(alias="@context")]
    type: Annotated[Literal["ShippingDeliveryTime"], Field(alias="@type")]
    handlingTime: Annotated[  # noqa: N815  # schema.org's name
        DayRange | None, Field(description="Only where the hand-over is declared.")
    ] = None
    transitTime: DayRange  # noqa: N815  # schema.org's name
    cutoffTime: Annotated[  # noqa: N815  # schema.org's name
        str | None,
        Field(description="A time of day with its offset; only where a cut-off is declared."),
    ] = None


class ServiceDeliveryTime(Reply):
    """What a page says of one carrier service."""

    carrier_code: str | None
    service_code: str | None
    shipping_delivery_time: ShippingDeliveryTime


class ShippingDeliveryTimes(Reply):
    """One entry a service that has dates, in order."""

    object: Literal["ShippingDeliveryTimes"] = "ShippingDeliveryTimes"
    id: str
    results: list[ServiceDeliveryTime]


class HandoverChance(Reply):
    """A hand-over, and P(arrival on or before the desired day)."""

    handover_at: datetime
    probability: Probability


class ShipByResult(Reply):
    """The latest hand-over to one carrier service."""

    carrier_code: str | None
    service_code: str | None
    code: ShipByCode
    ship_by: Annotated[
        datetime | None,
        Field(description="By the clocks of the origin; null with a `code` that says why."),
    ]
    probability: Probability | None
    chances: Annotated[
        list[HandoverChance], Field(description="Of every day that was looked at, earliest first.")
    ]


class ShipBys(Reply):
    """One result a carrier service, in order."""

    object: Literal["ShipBy"] = "ShipBy"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ShipByResult]


def to_ship_by(answer: ShipBy, carrier: str | None, service_level: str | None) -> dict[str, object]:
    """The fields of a ``ShipByResult``."""
    return {
        "carrier_code": carrier,
        "service_code": service_level,
        "code": answer.code,
        "ship_by": answer.handover_at,
        "probability": rounded(answer.probability),
        "chances": [
            {"handover_at": each.handover_at, "probability": rounded(each.probability)}
            for each in answer.chances
        ],
    }


def to_schema_org(answered: Mapping[str, Any]) -> dict[str, object]:
    """The fields of ``ShippingDeliveryTimes`` from those of an ``Estimates``, as JSON has them."""
    times = [
        (result, _delivery_time(result, answered["as_of"]))
        for result in answered["results"]
        if result["estimated_delivery_date_max"]
    ]
    results = [
        {
            "carrier_code": result["carrier_code"],
            "service_code": result["service_code"],
            "shipping_delivery_time": delivery_time,
        }
        for result, delivery_time in times
    ]
    return {"object": "ShippingDeliveryTimes", "id": answered["id"], "results": results}


def _delivery_time(result: Mapping[str, Any], as_of: str) -> dict[str, object]:
    """Days are counted from the local day of the hand-over, else of the order, to those of the window."""
    ordered_at = datetime.fromisoformat(as_of)
    ordered_on = ordered_at.astimezone(ZoneInfo(result["timezone"])).date()
    start, handling = ordered_on, {}
    if result["ship_on_date"]:
        start, cutoff = (
            date.fromisoformat(result["ship_on_date"]),
            datetime.fromisoformat(result["cutoff"]["order_by"]),
        )
        days = (start - ordered_at.astimezone(cutoff.tzinfo).date()).days
        handling = {
            "handlingTime": _days(0, max(days, 0)),
            "cutoffTime": cutoff.timetz().isoformat(),
        }
    ends = (date.fromisoformat(result[f"estimated_delivery_date_{end}"]) for end in ("min", "max"))
    transit = {"transitTime": _days(*(max((end - start).days, 0) for end in ends))}
    return {
        "@context": "https://schema.org",
        "@type": "ShippingDeliveryTime",
        **handling,
        **transit,
    }


def _days(fewest: int, most: int) -> dict[str, object]:
    return {"@type": "QuantitativeValue", "minValue": fewest, "maxValue": most, "unitCode": "DAY"}


def to_comparison(comparison: Comparison) -> dict[str, object]:
    """The fields of a ``ServiceComparison``."""
    dominated = [{"index": index, "by": by} for index, by in comparison.dominated]
    return {
        "fastest": comparison.fastest,
        "safest": comparison.safest,
        "cheapest": comparison.cheapest,
        "dominated": dominated,
    }


def to_messages(comparison: Comparison) -> list[dict[str, object]]:
    """The fields of each ``Message``."""
    text = "few or no parcels like this went with this service on this lane: what it would do there is not known from them, so compare it with care"
    return [
        {"code": "choice_not_seen", "text": text, "path": f"carriers[{index}]"}
        for index in comparison.unseen
    ]


def to_estimate(
    quote: Quote,
    current: Current,
    terms: Terms,
    carrier: str | None,
    service_level: str | None,
    ordered_at: datetime,
) -> dict[str, object]:
    """The fields of an ``EstimatedResult``."""
    cutoff = (
        None
        if quote.order_by is None
        else {
            "order_by": quote.order_by,
            "minutes_left": int((quote.order_by - ordered_at).total_seconds() // 60),
        }
    )
    return {
        **to_fields(quote.answer, current, terms, carrier, service_level),
        "ship_on_date": quote.handover_on,
        "cutoff": cutoff,
        "desired_delivery_probability": rounded(quote.answer.wanted_probability),
    }


def to_order_estimate(
    quote: OrderQuote,
    results: list[dict[str, object]],
    as_of: datetime,
    current: Current,
    terms: Terms,
) -> dict[str, object]:
    """The fields of an ``OrderEstimate``, in its order."""
    return {
        "object": "OrderEstimate",
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded,
        "code": quote.code,
        "confidence_level": terms.coverage,
        "first": _end(quote.first),
        "last": _end(quote.last),
        "dependence": {
            "correlation": rounded(quote.correlation),
            "learned_from_pairs": quote.learned_from_pairs,
        },
        "pieces": results,
    }


def _end(end: End | None) -> dict[str, object] | None:
    if end is None:
        return None
    return {
        "estimated_delivery_date": end.estimated_on,
        "estimated_delivery_date_min": end.earliest_on,
        "estimated_delivery_date_max": end.latest_on,
        "delivery_date_confidence": rounded(end.confidence),
        "desired_delivery_probability": rounded(end.wanted_probability),
    }
