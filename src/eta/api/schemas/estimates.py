"""Schemas of estimates, order estimates and latest hand-overs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from eta.api.schemas.common import (
    Address,
    Dimensions,
    Prediction,
    Probability,
    ResponseModel,
    ShipmentBase,
    Weight,
    response_dict,
    rounded,
    to_prediction,
    validate_weight,
)
from eta.api.schemas.fields import (
    ClockTime,
    Code,
    CountFirst,
    LocalDate,
    Number,
    ProbabilityLevel,
    StrictModel,
    UtcDatetime,
    Weekday,
    Weekdays,
)
from eta.api.schemas.messages import Message
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

#: How far a sum of probabilities may be from 1.
_SUM_TOLERANCE = 0.01
_MONDAY_TO_FRIDAY = [1, 2, 3, 4, 5]


class ServiceIn(StrictModel):
    """A carrier and one of its services; omit what the shop does not choose."""

    carrier_code: Code | None = None
    service_code: Code | None = None
    delivery_days: Annotated[
        Weekdays | None,
        Field(
            description="Days on which it delivers, except holidays; default: learned from history."
        ),
    ] = None
    pickup_days: Annotated[
        Weekdays | None,
        Field(
            description="Days on which it picks up; default: `business_days` of `estimated_pickup`."
        ),
    ] = None

    def to_service(self) -> CarrierService:
        """The service for the use-cases."""
        delivery_days, pickup_days = self.delivery_days, self.pickup_days
        return CarrierService(
            carrier=self.carrier_code,
            service_level=self.service_code,
            delivery_weekdays=tuple(delivery_days) if delivery_days else None,
            pickup_weekdays=tuple(pickup_days) if pickup_days else None,
        )


class CarrierServiceIn(ServiceIn):
    """One of the services to compare; omit what the shop does not choose."""

    price: Annotated[
        Annotated[Number, Field(ge=0, le=1e9)] | None,
        Field(description="In the same currency for all services; only compared."),
    ] = None


class ProcessingTime(StrictModel):
    """How long an order takes until it can be picked up."""

    unit: Annotated[
        Literal["business_days", "calendar_days"],
        Field(description="The shop's handling days, or all days."),
    ]
    value: Annotated[
        int | None,
        Field(
            ge=0,
            le=MAX_HANDLING_DAYS,
            description="Days after the first handling day possible for the order.",
        ),
    ] = None
    probabilities: Annotated[
        list[Annotated[Number, Field(ge=0, le=1)]] | None,
        Field(
            min_length=1,
            max_length=MAX_HANDLING_DAYS + 1,
            description="P(0 days), P(1 day), ...; in place of `value`.",
        ),
        CountFirst(MAX_HANDLING_DAYS + 1),
    ] = None


def validate_processing_time(processing_time: ProcessingTime) -> ProcessingTime:
    """Returns the time if it is either a number of days or a distribution of them.

    Raises:
        PydanticCustomError: if it is neither or both.
    """
    probabilities = processing_time.probabilities
    if (processing_time.value is None) == (probabilities is None):
        raise PydanticCustomError(
            "processing_time",
            "exactly one of two fields is required; send either value or probabilities",
        )
    if probabilities is not None and abs(sum(probabilities) - 1.0) > _SUM_TOLERANCE:
        raise PydanticCustomError(
            "processing_time",
            "the probabilities do not add up to 1; send one for each number of days, from 0 on",
        )
    return processing_time


class EstimatedPickup(StrictModel):
    """When orders are handed over: in the origin's local time, on weekdays except holidays."""

    order_cutoff_time: Annotated[
        ClockTime,
        Field(
            description="Orders placed before it are processed the same day. Also the pick-up time."
        ),
    ]
    order_cutoff_times: Annotated[
        dict[Weekday, ClockTime] | None,
        Field(description="Other cut-offs by weekday, 1 (Monday) to 7.", examples=[{"5": "12:00"}]),
    ] = None
    business_days: Annotated[Weekdays, Field(description="Handling and pick-up days.")] = (
        _MONDAY_TO_FRIDAY
    )
    order_processing_time: (
        Annotated[ProcessingTime, AfterValidator(validate_processing_time)] | None
    ) = None

    def to_pickup_schedule(self) -> PickupSchedule:
        """The schedule for the use-cases."""
        processing_time = self.order_processing_time
        cutoffs = (self.order_cutoff_times or {}).items()
        # The probabilities of 0, 1, ... days.
        handling: tuple[float, ...] | None = None
        if processing_time and processing_time.probabilities:
            handling = tuple(processing_time.probabilities)
        elif processing_time:
            days = processing_time.value or 0
            handling = (*([0.0] * days), 1.0)
        return PickupSchedule(
            cutoff=self.order_cutoff_time,
            weekdays=tuple(self.business_days),
            handling=handling,
            counts_calendar_days=bool(processing_time and processing_time.unit == "calendar_days"),
            weekday_cutoffs=tuple(sorted((int(day), cutoff) for day, cutoff in cutoffs)),
        )


class PromiseCostsIn(StrictModel):
    """Costs of a promise, all in the same unit."""

    late: Annotated[Number, Field(ge=0, le=1e9, description="Per late parcel.")] = 0.0
    late_day: Annotated[Number, Field(ge=0, le=1e9, description="Per day of lateness.")] = 0.0
    day: Annotated[
        Number, Field(gt=0, le=1e9, description="Per day by which the promise is later.")
    ] = 1.0


class PromisePolicyIn(StrictModel):
    """A promise policy."""

    on_time_rate: ProbabilityLevel | None = None
    costs: PromiseCostsIn | None = None
    earliest_days: Annotated[int, Field(ge=0, le=60)] = 0
    latest_days: Annotated[int | None, Field(ge=0, le=60)] = None

    def to_policy(self) -> PromisePolicy:
        """The policy for the use-cases.

        Raises:
            InvalidSetting: if the fields contradict each other.
        """
        costs = PromiseCosts(**self.costs.model_dump()) if self.costs else None
        return PromisePolicy(
            on_time_rate=self.on_time_rate,
            costs=costs,
            earliest_days=self.earliest_days,
            latest_days=self.latest_days,
        )


def validate_policy(policy: PromisePolicyIn) -> PromisePolicyIn:
    """Returns the policy if it is valid.

    Raises:
        PydanticCustomError: if its fields contradict each other.
    """
    try:
        policy.to_policy()
    except InvalidSetting as error:
        raise PydanticCustomError("promise_policy", "{why}", {"why": str(error)}) from None
    return policy


class EstimateRequest(ShipmentBase):
    """One lane and the carrier services to compare."""

    carriers: Annotated[
        list[CarrierServiceIn],
        Field(min_length=1, max_length=MAX_SERVICES),
        CountFirst(MAX_SERVICES),
    ] = [  # noqa: RUF012  # pydantic copies it
        CarrierServiceIn()
    ]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: learned from history."),
    ] = None
    confidence_level: Annotated[
        ProbabilityLevel, Field(description="P(arrival within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        LocalDate | None, Field(description="The local day by which the customer wants the parcel.")
    ] = None
    save: Annotated[
        bool,
        Field(description="Save the estimate, because a customer sees it; it gets an `id`."),
    ] = False
    promise_policy: Annotated[
        Annotated[PromisePolicyIn, AfterValidator(validate_policy)] | None,
        Field(description="A draft to try in place of the active policy; cannot be saved."),
    ] = None
    now_override: Annotated[
        UtcDatetime | None, Field(description="The time to assume for a trial; cannot be saved.")
    ] = None

    @model_validator(mode="after")
    def check_draft_not_saved(self) -> Self:
        """Raises PydanticCustomError if a trial is to be saved."""
        if self.save and (self.promise_policy or self.now_override):
            raise PydanticCustomError(
                "draft_cannot_be_saved",
                "a trial cannot be saved; remove save, or remove promise_policy and now_override",
            )
        return self


class OrderParcelIn(ServiceIn):
    """A parcel of an order, or several identical ones."""

    origin_address: Address
    weight: Annotated[
        Annotated[Weight, AfterValidator(validate_weight)] | None,
        Field(description="Of one parcel."),
    ] = None
    dimensions: Annotated[Dimensions | None, Field(description="Of one parcel.")] = None
    package_count: Annotated[
        int, Field(ge=1, le=1_000, description="Number of such parcels; each is shipped alone.")
    ] = 1
    estimated_pickup: Annotated[
        EstimatedPickup | None,
        Field(description="When parcels are handed over; default: learned from history."),
    ] = None

    def to_order_parcel(self, destination: Address, ordered_at: UtcDatetime) -> OrderParcel:
        """The parcel for the use-case, with what all parcels of the order share."""
        parcel = ShipmentBase(
            origin_address=self.origin_address,
            destination_address=destination,
            weight=self.weight,
            dimensions=self.dimensions,
        )
        pickup = self.estimated_pickup
        pickup_schedule = pickup.to_pickup_schedule() if pickup else None
        return OrderParcel(
            lane=parcel.to_shipment("parcel", ordered_at),
            service=self.to_service(),
            pickup_schedule=pickup_schedule,
            package_count=self.package_count,
        )


class OrderEstimateRequest(StrictModel):
    """One order that ships to one address as several parcels."""

    destination_address: Address
    parcels: Annotated[
        list[OrderParcelIn],
        Field(min_length=1, max_length=MAX_ORDER_PARCELS),
        CountFirst(MAX_ORDER_PARCELS),
    ]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    confidence_level: Annotated[
        ProbabilityLevel, Field(description="P(arrival within the window).")
    ] = 0.8
    desired_delivery_date: Annotated[
        LocalDate | None, Field(description="The local day by which the customer wants the parcel.")
    ] = None

    def to_order_parcels(self, ordered_at: UtcDatetime) -> list[OrderParcel]:
        """The parcels for the use-case, in their order."""
        destination = self.destination_address
        return [parcel.to_order_parcel(destination, ordered_at) for parcel in self.parcels]


class ShipByRequest(ShipmentBase):
    """One lane, the carrier services to compare, and the desired delivery date."""

    carriers: Annotated[
        list[CarrierServiceIn],
        Field(min_length=1, max_length=MAX_SERVICES),
        CountFirst(MAX_SERVICES),
    ] = [  # noqa: RUF012  # pydantic copies it
        CarrierServiceIn()
    ]
    order_time: Annotated[
        UtcDatetime | None, Field(description="When the order is placed; default: now.")
    ] = None
    desired_delivery_date: Annotated[
        LocalDate, Field(description="The desired local day of delivery at the destination.")
    ]
    probability: Annotated[
        ProbabilityLevel,
        Field(description="The required P(arrival on or before that day)."),
    ] = 0.9
    handover_time: Annotated[
        ClockTime, Field(description="When parcels are handed over, in the origin's local time.")
    ] = time(17)

    def wish(self) -> dict[str, Any]:
        """What is wanted of the arrival, and when parcels are handed over, for the use-case."""
        return {
            "desired_on": self.desired_delivery_date,
            "level": self.probability,
            "handover": self.handover_time,
        }


@response_dict
class Cutoff(TypedDict):
    """Until when an order gets the same dates."""

    order_by: Annotated[datetime, Field(description="In the origin's local time.")]
    minutes_left: Annotated[
        int, Field(ge=0, description="Whole minutes from the order to `order_by`.")
    ]


@response_dict
class ServiceEstimate(Prediction):
    """The estimate for one carrier service."""

    ship_on_date: Annotated[
        date | None,
        Field(
            description=(
                "The most likely local day of the hand-over at the origin; "
                "only with `estimated_pickup`."
            )
        ),
    ]
    cutoff: Annotated[Cutoff | None, Field(description="Only with `estimated_pickup`.")]

    desired_delivery_probability: Annotated[
        Probability | None,
        Field(
            description=(
                "P(arrival on or before `desired_delivery_date`); "
                "null without one, and if the model abstains."
            )
        ),
    ]


class Dominated(ResponseModel):
    """A service that another one beats: no later, no riskier, no dearer, and better in one."""

    index: Annotated[int, Field(description="Its index in `results`.")]
    by: Annotated[int, Field(description="The index of the better service.")]


class ServiceComparison(ResponseModel):
    """Indices of `results`; null if no result has what is compared."""

    fastest: Annotated[int | None, Field(description="The earliest median date.")]
    safest: Annotated[
        int | None,
        Field(
            description=(
                "The highest probability by the desired date, else the earliest end of the window."
            )
        ),
    ]
    cheapest: Annotated[int | None, Field(description="The lowest price.")]
    dominated: list[Dominated]


class EstimateResponse(ResponseModel):
    """One result per carrier service, in order."""

    object: Literal["estimate"] = "estimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ServiceEstimate]
    comparison: ServiceComparison
    messages: list[Message]
    id: Annotated[
        str | None,
        Field(description="Send it as `estimate_id` with the shipment; only with `save`."),
    ] = None


class FirstOrLastParcel(ResponseModel):
    """The first or last arrival of an order. Dates are local at the destination.

    They are null beyond the horizon.
    """

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
    """How strongly the delays of two parcels of the order are correlated."""

    value: Annotated[
        float | None,
        Field(
            ge=0.0,
            le=1.0,
            description="Mean correlation of normal scores; null for a single parcel.",
        ),
    ]
    sample_pairs: Annotated[
        int | None,
        Field(ge=0, description="Pairs of past parcels it is estimated from; 0 if assumed."),
    ]


class OrderEstimateResponse(ResponseModel):
    """When the first and last parcel arrive, and one result per entry of `parcels`, in order."""

    object: Literal["order_estimate"] = "order_estimate"
    as_of: datetime
    model_version: str | None
    degraded: bool
    code: Annotated[
        AssessmentCode,
        Field(
            description=(
                "Why `first` and `last` are null; `may_never_arrive` if `last` has no median date."
            )
        ),
    ]
    confidence_level: Annotated[
        float, Field(description="P(min <= arrival <= max) is at least this.")
    ]
    first: FirstOrLastParcel | None
    last: Annotated[
        FirstOrLastParcel | None, Field(description="The arrival that completes the order.")
    ]
    correlation: ParcelCorrelation
    parcels: list[ServiceEstimate]
    messages: list[Message]


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
        DayRange | None, Field(description="Only with `estimated_pickup`.")
    ] = None
    transitTime: DayRange  # noqa: N815  # schema.org's name
    cutoffTime: Annotated[  # noqa: N815  # schema.org's name
        str | None,
        Field(description="A time of day with its offset; only with `estimated_pickup`."),
    ] = None


class ServiceDeliveryTime(ResponseModel):
    """The delivery time of one carrier service."""

    carrier_code: str | None
    service_code: str | None
    shipping_delivery_time: ShippingDeliveryTime


class ShippingDeliveryTimes(ResponseModel):
    """One entry per service that has dates, in order."""

    object: Literal["shipping_delivery_times"] = "shipping_delivery_times"
    id: str
    results: list[ServiceDeliveryTime]


class HandoverProbability(ResponseModel):
    """A hand-over time, and P(arrival on or before the desired day)."""

    handover_at: datetime
    probability: Probability


class ShipByResult(ResponseModel):
    """The latest hand-over to one carrier service."""

    carrier_code: str | None
    service_code: str | None
    code: ShipByCode
    ship_by: Annotated[
        datetime | None,
        Field(description="In the origin's local time; `code` says why if null."),
    ]
    probability: Probability | None
    probabilities: Annotated[
        list[HandoverProbability],
        Field(description="For every day considered, earliest first."),
    ]


class ShipByResponse(ResponseModel):
    """One result per carrier service, in order."""

    object: Literal["ship_by"] = "ship_by"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ShipByResult]
    messages: list[Message]


def to_ship_by(result: ShipBy, service: CarrierService) -> dict[str, object]:
    """The fields of a ``ShipByResult``."""
    probabilities = [
        {"handover_at": handover.handover_at, "probability": rounded(handover.probability)}
        for handover in result.probabilities
    ]
    return {
        "carrier_code": service.carrier,
        "service_code": service.service_level,
        "code": result.code,
        "ship_by": result.handover_at,
        "probability": rounded(result.probability),
        "probabilities": probabilities,
    }


def to_schema_org(estimate: Mapping[str, Any]) -> dict[str, object]:
    """The fields of ``ShippingDeliveryTimes``, from the JSON of an ``EstimateResponse``."""
    results = [
        _service_delivery_time(result, estimate["as_of"])
        for result in estimate["results"]
        if result["estimated_delivery_date_max"]
    ]
    return {"object": "shipping_delivery_times", "id": estimate["id"], "results": results}


def _service_delivery_time(result: Mapping[str, Any], as_of: str) -> dict[str, object]:
    delivery_time: dict[str, object] = {
        "@context": "https://schema.org",
        "@type": "ShippingDeliveryTime",
    }
    ordered_at = datetime.fromisoformat(as_of)
    start_date = ordered_at.astimezone(ZoneInfo(result["timezone"])).date()
    if result["ship_on_date"]:
        start_date = date.fromisoformat(result["ship_on_date"])
        cutoff = datetime.fromisoformat(result["cutoff"]["order_by"])
        ordered_on = ordered_at.astimezone(cutoff.tzinfo).date()
        delivery_time["handlingTime"] = _day_range(0, _days_between(ordered_on, start_date))
        delivery_time["cutoffTime"] = cutoff.timetz().isoformat()
    # The days from the local day of the hand-over, or else of the order, to the window.
    earliest_on = date.fromisoformat(result["estimated_delivery_date_min"])
    latest_on = date.fromisoformat(result["estimated_delivery_date_max"])
    min_days = _days_between(start_date, earliest_on)
    max_days = _days_between(start_date, latest_on)
    delivery_time["transitTime"] = _day_range(min_days, max_days)
    return {
        "carrier_code": result["carrier_code"],
        "service_code": result["service_code"],
        "shipping_delivery_time": delivery_time,
    }


def _days_between(start_date: date, end_date: date) -> int:
    return max((end_date - start_date).days, 0)


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


def to_estimate(
    estimate: Estimate,
    current: ActiveModel,
    options: AssessmentOptions,
    service: CarrierService,
    ordered_at: datetime,
) -> ServiceEstimate:
    """The estimate under the names of the HTTP API."""
    assessment = estimate.assessment
    carrier, service_level = service.carrier, service.service_level
    cutoff: Cutoff | None = None
    if estimate.order_by is not None:
        seconds_left = (estimate.order_by - ordered_at).total_seconds()
        cutoff = {"order_by": estimate.order_by, "minutes_left": int(seconds_left // 60)}
    return {
        **to_prediction(assessment, current, options, carrier, service_level, ordered_at),
        "ship_on_date": estimate.handover_on,
        "cutoff": cutoff,
        "desired_delivery_probability": rounded(assessment.desired_probability),
    }


def to_order_estimate(
    estimated: EstimatedOrder,
    results: Sequence[ServiceEstimate],
    as_of: datetime,
    current: ActiveModel,
    options: AssessmentOptions,
) -> dict[str, object]:
    """The fields of an ``OrderEstimateResponse``, in its order."""
    correlation = {
        "value": rounded(estimated.correlation),
        "sample_pairs": estimated.sample_pairs,
    }
    return {
        "object": "order_estimate",
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded_at(as_of),
        "code": estimated.code,
        "confidence_level": options.coverage,
        "first": _first_or_last(estimated.first),
        "last": _first_or_last(estimated.last),
        "correlation": correlation,
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
