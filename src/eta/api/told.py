"""What callers get, in the names of the field, and its way out of our words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from eta.api.problems import Problem
from eta.domain.vocabulary import DelayState
from eta.model.hot_swap import Current
from eta.service.estimates.compare_services import Comparison
from eta.service.estimates.estimate_delivery import Quote
from eta.service.estimates.estimate_order import End, OrderQuote
from eta.service.estimates.find_ship_by import ShipBy, ShipByCode
from eta.service.scoring.assessment import (
    DELIVERED_LATE,
    PERCENTILES,
    Answer,
    AnswerCode,
    DelayAnswer,
    Terms,
)

#: Answers without dates for want of evidence, and those for want of a model.
_ABSTAINED, _DEGRADED = AnswerCode.TOO_LITTLE_SUPPORT, AnswerCode.NO_MODEL

#: The field of each percentile.
_PERCENTILE = {percent: f"percentile_{percent}" for percent in PERCENTILES}

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Reply(BaseModel):
    """A part of an answer; every number in it is finite."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid")


class TimeInTransit(Reply):
    """Fewest whole days d from the local date of `as_of` with P(arrived by then) of at least K %; null beyond the horizon."""

    unit: Literal["calendar_days"] = "calendar_days"
    percentile_50: int | None
    percentile_75: int | None
    percentile_85: int | None
    percentile_90: int | None
    percentile_95: int | None
    percentile_97: int | None
    percentile_99: int | None


class Promise(Reply):
    """The day promised; where none was, the one that the promise policy chooses."""

    date: date
    is_ours: Annotated[bool, Field(description="We propose it; nobody has promised it yet.")]
    policy: Annotated[
        str | None,
        Field(
            description="Version of the policy that chose it; null for a promise that was given, a draft, and the default."
        ),
    ]
    on_time_probability: Probability | None


class Evidence(Reply):
    """What was seen, for how long, and how long it usually takes."""

    kind: str
    observed_hours: float | None
    expected_p50_hours: float | None
    expected_upper_hours: float | None


class Delay(Reply):
    """The delay flag; `state` is null where no arrival is waited for."""

    state: Annotated[
        str | None,
        Field(
            json_schema_extra={
                "enum": [*(str(state) for state in DelayState), DELIVERED_LATE, None]
            }
        ),
    ]
    probability: Annotated[
        Probability | None, Field(description="P(late); null without a promise.")
    ]
    baseline: Annotated[
        Literal["promise"] | None, Field(description="What late is measured against.")
    ]
    lead_time_hours: Annotated[
        float | None, Field(description="Hours until the promised day ends.")
    ]
    reason_code: str | None
    reason_party: str | None
    evidence: list[Evidence]


class Basis(Reply):
    """What stands behind the answer."""

    level: Annotated[
        str,
        Field(
            description="The rung of support, `observed` for an arrival, `none` where nothing is answered."
        ),
    ]
    n_effective: Annotated[
        int, Field(description="Parcels that arrived, learned from on that rung.")
    ]
    data_through: date | None
    abstained: bool


class Result(Reply):
    """One answer. Dates are local calendar days at the destination."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: Annotated[date | None, Field(description="The median date.")]
    estimated_delivery_date_min: date | None
    estimated_delivery_date_max: date | None
    timezone: str
    timezone_source: str
    time_in_transit: TimeInTransit
    confidence_level: Annotated[
        float, Field(description="P(min <= arrival <= max) is at least this.")
    ]
    delivery_date_confidence: Annotated[
        Probability | None, Field(description="P(arrival on or before the estimated date).")
    ]
    confidence_code: AnswerCode
    promise: Promise | None
    delay: Delay
    basis: Basis
    model_version: str | None
    degraded: bool


class ScoredResult(Result):
    """One answer about a shipment, under its own number."""

    shipment_id: str | None


class Refusal(Reply):
    """In the place of a result: the shipment could not be used."""

    shipment_id: str | None
    problem: Problem


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


class Scores(Reply):
    """One entry a shipment, in order."""

    object: Literal["Scores"] = "Scores"
    as_of: datetime
    model_version: str | None
    degraded: bool
    results: list[ScoredResult | Refusal]


class ModelEntry(Reply):
    """One version of the registry."""

    version: str
    data_through: Annotated[
        datetime | None, Field(description="The moment up to which it has learned.")
    ]
    examples: int | None
    is_serving: bool
    is_promoted: bool
    refused: Annotated[str | None, Field(description="Why it cannot serve.")]


class Models(Reply):
    """All versions, the one that learned furthest first."""

    object: Literal["Models"] = "Models"
    serves: str | None
    promoted: str | None
    results: list[ModelEntry]


class Readiness(Reply):
    """What the service can do now."""

    status: Annotated[
        Literal["ready", "degraded", "unavailable"],
        Field(description="`unavailable`, a 503, only while scans cannot be stored."),
    ]
    model_version: str | None
    promoted: str | None
    details: Annotated[list[str], Field(description="What is not as it should be.")]


class Liveness(Reply):
    """The event loop turns."""

    status: Literal["alive"] = "alive"


def reply(
    kind: str, as_of: datetime, current: Current, results: list[dict[str, object]]
) -> dict[str, object]:
    """The fields of ``Estimates`` and ``Scores``, in their order."""
    return {
        "object": kind,
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded,
        "results": results,
    }


def to_ship_by(answer: ShipBy, carrier: str | None, service_level: str | None) -> dict[str, object]:
    """The fields of a ``ShipByResult``."""
    return {
        "carrier_code": carrier,
        "service_code": service_level,
        "code": answer.code,
        "ship_by": answer.handover_at,
        "probability": _rounded(answer.probability),
        "chances": [
            {"handover_at": each.handover_at, "probability": _rounded(each.probability)}
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
        "desired_delivery_probability": _rounded(quote.answer.wanted_probability),
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
            "correlation": _rounded(quote.correlation),
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
        "delivery_date_confidence": _rounded(end.confidence),
        "desired_delivery_probability": _rounded(end.wanted_probability),
    }


def to_fields(
    answer: Answer, current: Current, terms: Terms, carrier: str | None, service_level: str | None
) -> dict[str, object]:
    """The fields of a ``Result``, in its order."""
    return {
        "carrier_code": carrier,
        "service_code": service_level,
        "status": answer.status.value,
        "phase": answer.phase.value,
        "estimated_delivery_date": answer.estimated_on,
        "estimated_delivery_date_min": answer.earliest_on,
        "estimated_delivery_date_max": answer.latest_on,
        "timezone": answer.timezone,
        "timezone_source": answer.timezone_source.value,
        "time_in_transit": {
            "unit": "calendar_days",
            **{_PERCENTILE[percent]: days for percent, days in answer.days_left.items()},
        },
        "confidence_level": terms.coverage,
        "delivery_date_confidence": _rounded(answer.confidence),
        "confidence_code": answer.code,
        "promise": _promise(answer, terms),
        "delay": _delay(answer.delay),
        "basis": {
            "level": answer.support_level,
            "n_effective": answer.support_parcels,
            "data_through": current.learned_on,
            "abstained": answer.code is _ABSTAINED,
        },
        "model_version": current.version,
        "degraded": answer.code is _DEGRADED,
    }


def _promise(answer: Answer, terms: Terms) -> dict[str, object] | None:
    if answer.promise_on is None:
        return None
    policy = terms.promise.version if answer.is_promise_ours else None
    return {
        "date": answer.promise_on,
        "is_ours": answer.is_promise_ours,
        "policy": policy,
        "on_time_probability": _rounded(answer.on_time_probability),
    }


def _delay(delay: DelayAnswer) -> dict[str, object]:
    evidence = {
        "kind": delay.evidence_kind,
        "observed_hours": _rounded(delay.observed_hours, 2),
        "expected_p50_hours": delay.expected_p50_hours,
        "expected_upper_hours": delay.expected_upper_hours,
    }
    return {
        "state": delay.state,
        "probability": _rounded(delay.probability),
        "baseline": None
        if delay.probability is None and delay.lead_time_hours is None
        else "promise",
        "lead_time_hours": _rounded(delay.lead_time_hours, 2),
        "reason_code": delay.reason_code,
        "reason_party": delay.reason_party,
        "evidence": [evidence] if delay.evidence_kind else [],
    }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
