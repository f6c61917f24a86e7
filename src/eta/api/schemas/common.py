"""Schemas that several resources share: addresses, weights, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from eta.api.problem_details import FieldError
from eta.api.schemas.fields import (
    Country,
    LocalDate,
    Number,
    PostalCode,
    Region,
    StrictModel,
    Text,
    UtcDatetime,
)
from eta.domain.shipment import MAX_WEIGHT_KG, Place, Shipment
from eta.domain.vocabulary import DelayState
from eta.model.hot_swap import ActiveModel
from eta.service.scoring.assessment import (
    DELIVERED_LATE,
    PERCENTILES,
    Assessment,
    AssessmentCode,
    AssessmentOptions,
    DelayAssessment,
)

#: Factors to kilograms; the pound and the ounce are international avoirdupois, exact by definition.
KG_PER_UNIT: Mapping[str, float] = MappingProxyType(
    {"g": 0.001, "kg": 1.0, "lb": 0.45359237, "oz": 0.028349523125}
)
CM_PER_UNIT: Mapping[str, float] = MappingProxyType({"cm": 1.0, "in": 2.54})


class Address(StrictModel):
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


class Weight(StrictModel):
    """A weight and its unit, which is never guessed."""

    value: Annotated[Number, Field(json_schema_extra={"exclusiveMinimum": 0})]
    unit: Literal["g", "kg", "lb", "oz"]

    @property
    def kg(self) -> float:
        """Kilograms."""
        return self.value * KG_PER_UNIT[self.unit]


def validate_weight(weight: Weight) -> Weight:
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


class Dimensions(StrictModel):
    """Outer sizes and their unit."""

    length: Annotated[Number, Field(gt=0, le=1_000)]
    width: Annotated[Number, Field(gt=0, le=1_000)]
    height: Annotated[Number, Field(gt=0, le=1_000)]
    unit: Literal["cm", "in"]


class ShipmentBase(StrictModel):
    """What an estimate and a score both need to know."""

    origin_address: Address
    destination_address: Address
    weight: Annotated[Weight, AfterValidator(validate_weight)] | None = None
    dimensions: Dimensions | None = None
    order_value: Annotated[
        Annotated[Number, Field(ge=0, le=1e9)] | None,
        Field(description="In the currency the model learned from."),
    ] = None
    package_count: Annotated[int, Field(ge=1, le=1_000)] = 1
    order_promised_delivery_date: Annotated[
        LocalDate | None, Field(description="The local day by whose end delivery was promised.")
    ] = None

    def to_shipment(
        self,
        shipment_id: str,
        ordered_at: UtcDatetime,
        carrier: str | None = None,
        service_level: str | None = None,
    ) -> Shipment:
        """In our words."""
        sizes = self.dimensions
        length, width, height = (
            (size * CM_PER_UNIT[sizes.unit] for size in (sizes.length, sizes.width, sizes.height))
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


class InvalidItem:
    """Stands in a batch for an item that cannot be used."""

    def __init__(self, shipment_id: str | None, errors: Sequence[FieldError]) -> None:
        self.shipment_id, self.errors = shipment_id, errors


T = TypeVar("T")


def require_carrier(carrier: str | None, number: str | None, item: T) -> T:
    """The value, which has a carrier if it has a tracking number."""
    if number is not None and carrier is None:
        raise PydanticCustomError(
            "carrier_missing", "a tracking number is one carrier's; send carrier_code with it"
        )
    return item


#: Answers without dates for want of evidence, and those for want of a model.
_ABSTAINED, _DEGRADED = AssessmentCode.TOO_LITTLE_SUPPORT, AssessmentCode.NO_MODEL

#: The field of each percentile.
_PERCENTILE = {percent: f"percentile_{percent}" for percent in PERCENTILES}
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class ResponseModel(BaseModel):
    """A part of an answer; every number in it is finite."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid")


class TimeInTransit(ResponseModel):
    """Fewest whole days d from the local date of `as_of` with P(arrived by then) of at least K %; null beyond the horizon."""

    unit: Literal["calendar_days"] = "calendar_days"
    percentile_50: int | None
    percentile_75: int | None
    percentile_85: int | None
    percentile_90: int | None
    percentile_95: int | None
    percentile_97: int | None
    percentile_99: int | None


class Promise(ResponseModel):
    """The day promised; where none was, the one that the promise policy chooses."""

    date: date
    is_proposed: Annotated[bool, Field(description="We propose it; nobody has promised it yet.")]
    policy: Annotated[
        str | None,
        Field(
            description="Version of the policy that chose it; null for a promise that was given, a draft, and the default."
        ),
    ]
    on_time_probability: Probability | None


class Evidence(ResponseModel):
    """What was seen, for how long, and how long it usually takes."""

    kind: str
    observed_hours: float | None
    expected_p50_hours: float | None
    expected_upper_hours: float | None


class Delay(ResponseModel):
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


class Basis(ResponseModel):
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


class Prediction(ResponseModel):
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
    confidence_code: AssessmentCode
    promise: Promise | None
    delay: Delay
    basis: Basis
    model_version: str | None
    degraded: bool


def envelope(
    kind: str, as_of: datetime, current: ActiveModel, results: list[dict[str, object]]
) -> dict[str, object]:
    """The fields of ``EstimateResponse`` and ``ScoreList``, in their order."""
    return {
        "object": kind,
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded,
        "results": results,
    }


def to_fields(
    answer: Assessment,
    current: ActiveModel,
    options: AssessmentOptions,
    carrier: str | None,
    service_level: str | None,
) -> dict[str, object]:
    """The fields of a ``Prediction``, in its order."""
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
        "confidence_level": options.coverage,
        "delivery_date_confidence": rounded(answer.confidence),
        "confidence_code": answer.code,
        "promise": _promise(answer, options),
        "delay": _delay(answer.delay),
        "basis": {
            "level": answer.support_level,
            "n_effective": answer.support_parcels,
            "data_through": current.trained_through,
            "abstained": answer.code is _ABSTAINED,
        },
        "model_version": current.version,
        "degraded": answer.code is _DEGRADED,
    }


def _promise(answer: Assessment, options: AssessmentOptions) -> dict[str, object] | None:
    if answer.promise_on is None:
        return None
    policy = options.promise.version if answer.is_promise_proposed else None
    return {
        "date": answer.promise_on,
        "is_proposed": answer.is_promise_proposed,
        "policy": policy,
        "on_time_probability": rounded(answer.on_time_probability),
    }


def _delay(delay: DelayAssessment) -> dict[str, object]:
    evidence = {
        "kind": delay.evidence_kind,
        "observed_hours": rounded(delay.observed_hours, 2),
        "expected_p50_hours": delay.expected_p50_hours,
        "expected_upper_hours": delay.expected_upper_hours,
    }
    return {
        "state": delay.state,
        "probability": rounded(delay.probability),
        "baseline": None
        if delay.probability is None and delay.lead_time_hours is None
        else "promise",
        "lead_time_hours": rounded(delay.lead_time_hours, 2),
        "reason_code": delay.reason_code,
        "reason_party": delay.reason_party,
        "evidence": [evidence] if delay.evidence_kind else [],
    }


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Rounded, None if unknown."""
    return None if value is None else round(value, digits)
