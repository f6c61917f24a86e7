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
    Prediction,
    Probability,
    ResponseModel,
    ShipmentBase,
    Weight,
    rounded,
    to_fields,
    validate_weight,
)
from eta.api.schemas.fields import (
    ClockTime,
    Code,
    LocalDate,
    Number,
    ProbabilityLevel,
    StrictModel,
    UtcDatetime,
    Weekdays,
)
from eta.domain.errors import InvalidSetting
from eta.model.hot_swap import ActiveModel
from eta.promise import PromiseCosts, PromisePolicy
from eta.service.estimates.compare_services import Comparison
from eta.service.estimates.estimate_delivery import Estimate
from eta.service.estimates.estimate_order import EstimatedOrder, FirstOrLast, OrderParcel
from eta.service.estimates.find_ship_by import ShipBy, ShipByCode
from eta.service.estimates.hypothetical_shipments import CarrierService
from eta.service.estimates.order_to_delivery import MAX_HANDLING_DAYS, PickupSchedule
from eta.service.scoring.assessment import AssessmentCode, AssessmentOptions

MAX_SHIPMENTS, MAX_EVENTS_PER_SHIPMENT, MAX_SERVICES, MAX_ORDER_PARCELS = 5_000, 200, 50, 20


class ServiceIn(StrictModel):
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


class CarrierServiceIn(ServiceIn):
    """One of the services to compare; leave out what the shop does not choose."""

    price: Annotated[
        Annotated[Number, Field(ge=0, le=1e9)] | None,
        Field(description="In one currency for all; only compared."),
    ] = None


class ProcessingTime(StrictModel):
    """How long an order is handled before it can be picked up."""

    unit: Literal["business_days"]
    value: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_HANDLING_DAYS,
            description="Pick-up days after the one for which the order counts.",
        ),
    ] = None
    probabilities: Annotated[
        list[Annotated[Number, Field(ge=0, le=1)]] | None,
        Field(
            min_length=1,
            max_length=MAX_HANDLING_DAYS + 1,
            description="P(0 days), P(1 day), ... in the place of one value.",
        ),
    ] = None

    @property
    def distribution(self) -> tuple[float, ...]:
        """Chances of 0, 1, ... pick-up days."""
        return (
            tuple(self.probabilities) if self.probabilities else (*([0.0] * (self.value or 0)), 1.0)
        )


def validate_processing_time(processing_time: ProcessingTime) -> ProcessingTime:
    """The time, if it is either a number of days or a law of them.

    Raises:
        PydanticCustomError: if not.
    """
    if (processing_time.value is None) == (processing_time.probabilities is None):
        raise PydanticCustomError(
            "processing_time", "the time is told twice, or not at all; send either value or chances"
        )
    if (
        processing_time.probabilities is not None
        and abs(sum(processing_time.probabilities) - 1.0) > 0.01
    ):
        raise PydanticCustomError(
            "processing_time",
            "the chances do not add up to 1; send one for each number of days, from 0 on",
        )
    return processing_time


class EstimatedPickup(StrictModel):
    """When an order is handed over: by the clocks of the origin, on working days that are no holidays there."""

    order_cutoff_time: Annotated[
        ClockTime,
        Field(
            description="An order placed before it counts for the same pick-up day. Parcels are picked up then."
        ),
    ]
    business_days: Annotated[Weekdays, Field(description="Pick-up days.")] = [1, 2, 3, 4, 5]  # noqa: RUF012  # pydantic copies it
    order_processing_time: (
        Annotated[ProcessingTime, AfterValidator(validate_processing_time)] | None
    ) = None

    def to_pickup_schedule(self) -> PickupSchedule:
        """In our words."""
        handling = self.order_processing_time
        return PickupSchedule(
            cutoff=self.order_cutoff_time,
            weekdays=tuple(self.business_days),
            handling=handling.distribution if handling else None,
        )


class PromiseCostsIn(StrictModel):
    """What it costs, in any one unit."""

    late: Annotated[Number, Field(ge=0, le=1e9, description="Of each parcel that comes late.")] = (
        0.0
    )
    late_day: Annotated[Number, Field(ge=0, le=1e9, description="Of each day it is late.")] = 0.0
    day: Annotated[Number, Field(gt=0, le=1e9, description="Of each day later promised.")] = 1.0


class PromisePolicyIn(StrictModel):
    """A promise policy to try."""

    on_time_rate: ProbabilityLevel | None = None
    costs: PromiseCostsIn | None = None
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


def validate_policy(policy: PromisePolicyIn) -> PromisePolicyIn:
    """The draft, if it is a policy.

    Raises:
        PydanticCustomError: if not.
    """
    try:
        policy.to_policy()
    except InvalidSetting as error:
        raise PydanticCustomError("promise_policy", "{why}", {"why": str(error)}) from None
    return policy


class EstimateRequest(ShipmentBase):
    """One lane, several carrier services."""

    carriers: Annotated[list[CarrierServiceIn], Field(min_length=1, max_length=MAX_SERVICES)] = [  # noqa: RUF012  # pydantic copies it
        CarrierServiceIn()
    ]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: as it was learned."),
    ] = None
    confidence_level: Annotated[
        ProbabilityLevel, Field(description="P(the arrival is within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        LocalDate | None, Field(description="The local day by which the customer wants it.")
    ] = None
    save: Annotated[
        bool,
        Field(
            description="The dates are shown to a customer: keep them, and name them by an `id`."
        ),
    ] = False
    promise_policy: Annotated[
        Annotated[PromisePolicyIn, AfterValidator(validate_policy)] | None,
        Field(
            description="A promise policy to try in the place of the one in force; nothing is kept."
        ),
    ] = None
    now_override: Annotated[
        UtcDatetime | None, Field(description="Answer as if it were this time; nothing is kept.")
    ] = None

    @model_validator(mode="after")
    def check_draft_not_saved(self) -> Self:
        """Raises PydanticCustomError if what is only tried is to be shown."""
        if self.save and (self.promise_policy or self.now_override):
            raise PydanticCustomError(
                "draft_cannot_be_saved",
                "what is tried is not shown to a customer; leave out is_shown, or draft and now_override",
            )
        return self


class OrderParcelIn(ServiceIn):
    """A parcel of an order, or several that are alike."""

    origin_address: Address
    weight: Annotated[
        Annotated[Weight, AfterValidator(validate_weight)] | None,
        Field(description="Of one parcel."),
    ] = None
    dimensions: Annotated[Dimensions | None, Field(description="Of one parcel.")] = None
    package_count: Annotated[
        int, Field(ge=1, le=1_000, description="So many such parcels, each of which travels alone.")
    ] = 1
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: as it was learned."),
    ] = None

    def to_order_parcel(self, destination: Address, ordered_at: UtcDatetime) -> OrderParcel:
        """In our words."""
        parcel = ShipmentBase(
            origin_address=self.origin_address,
            destination_address=destination,
            weight=self.weight,
            dimensions=self.dimensions,
        )
        pickup_schedule = (
            self.estimated_pickup.to_pickup_schedule() if self.estimated_pickup else None
        )
        return OrderParcel(
            lane=parcel.to_shipment("parcel", ordered_at),
            service=self.to_service(),
            pickup_schedule=pickup_schedule,
            package_count=self.package_count,
        )


class OrderEstimateRequest(StrictModel):
    """One order that travels as several parcels to one place."""

    destination_address: Address
    parcels: Annotated[list[OrderParcelIn], Field(min_length=1, max_length=MAX_ORDER_PARCELS)]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    confidence_level: Annotated[
        ProbabilityLevel, Field(description="P(the arrival is within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        LocalDate | None, Field(description="The local day by which the customer wants it.")
    ] = None


class ShipByRequest(ShipmentBase):
    """One lane, several carrier services, and the day by which it is wanted."""

    carriers: Annotated[list[CarrierServiceIn], Field(min_length=1, max_length=MAX_SERVICES)] = [  # noqa: RUF012  # pydantic copies it
        CarrierServiceIn()
    ]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    desired_delivery_date: Annotated[
        LocalDate, Field(description="The local day at the destination by which it is wanted.")
    ]
    probability: Annotated[
        ProbabilityLevel,
        Field(description="P(arrival on or before that day) that the hand-over must have."),
    ] = 0.9
    handover_time: Annotated[
        ClockTime, Field(description="When the carrier takes parcels, by the clocks of the origin.")
    ] = time(17)


class Cutoff(ResponseModel):
    """Until when an order is told the same dates."""

    order_by: Annotated[datetime, Field(description="By the clocks of the origin.")]
    minutes_left: Annotated[
        int, Field(ge=0, description="Whole minutes from the order until then.")
    ]


class ServiceEstimate(Prediction):
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


class Dominated(ResponseModel):
    """A service that another one beats: that one is no later, no less safe and no dearer, and better in one of these."""

    index: int
    by: int


class ServiceComparison(ResponseModel):
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


class Message(ResponseModel):
    """What should be known beside the results."""

    code: Literal["choice_not_seen"]
    text: str
    path: Annotated[str, Field(description="Which part of the request it is about.")]


class EstimateResponse(ResponseModel):
    """One result a carrier service, in order."""

    object: Literal["estimate"] = "estimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ServiceEstimate]
    comparison: ServiceComparison
    messages: list[Message]
    id: Annotated[
        str | None,
        Field(
            description="Names the estimate when the shipment is registered; only with `is_shown`."
        ),
    ] = None


class FirstOrLastParcel(ResponseModel):
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


class ParcelCorrelation(ResponseModel):
    """How likely what holds up one parcel is to hold up another."""

    value: Annotated[
        float | None,
        Field(
            ge=0.0,
            le=1.0,
            description="Of the normal scores of two parcels, on average; null for a single one.",
        ),
    ]
    sample_pairs: Annotated[
        int | None,
        Field(ge=0, description="Pairs of past parcels behind it; 0 where it is assumed."),
    ]


class OrderEstimateResponse(ResponseModel):
    """When the first and the last parcel of an order arrive, and one result a piece, in order."""

    object: Literal["order_estimate"] = "order_estimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    code: Annotated[
        AssessmentCode,
        Field(
            description="Why there is no `first` and no `last`, or `may_never_arrive` where the last has no median date."
        ),
    ]
    confidence_level: Annotated[
        float, Field(description="P(min <= arrival <= max) is at least this.")
    ]
    first: FirstOrLastParcel | None
    last: Annotated[FirstOrLastParcel | None, Field(description="Then the order is complete.")]
    correlation: ParcelCorrelation
    parcels: list[ServiceEstimate]


class DayRange(ResponseModel):
    """schema.org/QuantitativeValue, in days."""

    type: Annotated[Literal["QuantitativeValue"], Field(alias="@type")]
    minValue: int  # noqa: N815  # schema.org's name
    maxValue: int  # noqa: N815  # schema.org's name
    unitCode: Literal["DAY"]  # noqa: N815  # schema.org's name


class ShippingDeliveryTime(ResponseModel):
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


class ServiceDeliveryTime(ResponseModel):
    """What a page says of one carrier service."""

    carrier_code: str | None
    service_code: str | None
    shipping_delivery_time: ShippingDeliveryTime


class ShippingDeliveryTimes(ResponseModel):
    """One entry a service that has dates, in order."""

    object: Literal["shipping_delivery_times"] = "shipping_delivery_times"
    id: str
    results: list[ServiceDeliveryTime]


class HandoverProbability(ResponseModel):
    """A hand-over, and P(arrival on or before the desired day)."""

    handover_at: datetime
    probability: Probability


class ShipByResult(ResponseModel):
    """The latest hand-over to one carrier service."""

    carrier_code: str | None
    service_code: str | None
    code: ShipByCode
    ship_by: Annotated[
        datetime | None,
        Field(description="By the clocks of the origin; null with a `code` that says why."),
    ]
    probability: Probability | None
    probabilities: Annotated[
        list[HandoverProbability],
        Field(description="Of every day that was looked at, earliest first."),
    ]


class ShipByResponse(ResponseModel):
    """One result a carrier service, in order."""

    object: Literal["ship_by"] = "ship_by"
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
        "probabilities": [
            {"handover_at": handover.handover_at, "probability": rounded(handover.probability)}
            for handover in answer.probabilities
        ],
    }


def to_schema_org(estimate: Mapping[str, Any]) -> dict[str, object]:
    """The fields of ``ShippingDeliveryTimes`` from those of an ``EstimateResponse``, as JSON has them."""
    times = [
        (result, _delivery_time(result, estimate["as_of"]))
        for result in estimate["results"]
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
    return {"object": "shipping_delivery_times", "id": estimate["id"], "results": results}


def _delivery_time(result: Mapping[str, Any], as_of: str) -> dict[str, object]:
    """Days are counted from the local day of the hand-over, else of the order, to those of the window."""
    ordered_at = datetime.fromisoformat(as_of)
    ordered_on = ordered_at.astimezone(ZoneInfo(result["timezone"])).date()
    start_date, handling_fields = ordered_on, {}
    if result["ship_on_date"]:
        start_date, cutoff = (
            date.fromisoformat(result["ship_on_date"]),
            datetime.fromisoformat(result["cutoff"]["order_by"]),
        )
        days = (start_date - ordered_at.astimezone(cutoff.tzinfo).date()).days
        handling_fields = {
            "handlingTime": _day_range(0, max(days, 0)),
            "cutoffTime": cutoff.timetz().isoformat(),
        }
    ends = (date.fromisoformat(result[f"estimated_delivery_date_{end}"]) for end in ("min", "max"))
    transit = {"transitTime": _day_range(*(max((end - start_date).days, 0) for end in ends))}
    return {
        "@context": "https://schema.org",
        "@type": "ShippingDeliveryTime",
        **handling_fields,
        **transit,
    }


def _day_range(min_days: int, max_days: int) -> dict[str, object]:
    return {
        "@type": "QuantitativeValue",
        "minValue": min_days,
        "maxValue": max_days,
        "unitCode": "DAY",
    }


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
    quote: Estimate,
    current: ActiveModel,
    options: AssessmentOptions,
    carrier: str | None,
    service_level: str | None,
    ordered_at: datetime,
) -> dict[str, object]:
    """The fields of an ``ServiceEstimate``."""
    cutoff = (
        None
        if quote.order_by is None
        else {
            "order_by": quote.order_by,
            "minutes_left": int((quote.order_by - ordered_at).total_seconds() // 60),
        }
    )
    return {
        **to_fields(quote.assessment, current, options, carrier, service_level),
        "ship_on_date": quote.handover_on,
        "cutoff": cutoff,
        "desired_delivery_probability": rounded(quote.assessment.desired_probability),
    }


def to_order_estimate(
    quote: EstimatedOrder,
    results: list[dict[str, object]],
    as_of: datetime,
    current: ActiveModel,
    options: AssessmentOptions,
) -> dict[str, object]:
    """The fields of an ``OrderEstimateResponse``, in its order."""
    return {
        "object": "order_estimate",
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded,
        "code": quote.code,
        "confidence_level": options.coverage,
        "first": _first_or_last(quote.first),
        "last": _first_or_last(quote.last),
        "correlation": {
            "value": rounded(quote.correlation),
            "sample_pairs": quote.sample_pairs,
        },
        "parcels": results,
    }


def _first_or_last(end: FirstOrLast | None) -> dict[str, object] | None:
    if end is None:
        return None
    return {
        "estimated_delivery_date": end.estimated_on,
        "estimated_delivery_date_min": end.earliest_on,
        "estimated_delivery_date_max": end.latest_on,
        "delivery_date_confidence": rounded(end.confidence),
        "desired_delivery_probability": rounded(end.desired_probability),
    }
