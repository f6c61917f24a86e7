"""Schemas that several resources share: addresses, weights, predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated, Literal, NotRequired, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
    with_config,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from eta.api.error_budget import ErrorBudget, FieldError
from eta.api.problem_details import errors_of, field_errors
from eta.api.schemas.fields import (
    Country,
    LocalDate,
    Number,
    PostalCode,
    Region,
    StrictModel,
    Text,
    UtcDatetime,
    is_event_code,
)
from eta.domain.registration import MAX_ID_LENGTH
from eta.domain.shipment import MAX_WEIGHT_KG, Place, Shipment
from eta.domain.vocabulary import DelayState
from eta.model.hot_swap import ActiveModel
from eta.service.scoring.assessment import (
    DEGRADED_CODES,
    FORECAST_CODES,
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
        Region | None,
        Field(
            description="An ISO 3166-2 code (`ES-B`), the country's short form (`CA`) or a name "
            "(`Bayern`)."
        ),
    ] = None
    city: Annotated[Text | None, Field(description="Accepted and not used.")] = None
    postal_code: PostalCode | None = None
    latitude: Annotated[Number, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[Number, Field(ge=-180, le=180)] | None = None

    def to_place(self) -> Place:
        """The same in the words of the domain."""
        return Place(
            country=self.country,
            region=self.state,
            postcode=self.postal_code,
            latitude=self.latitude,
            longitude=self.longitude,
        )


class Weight(StrictModel):
    """A weight and its unit, which is never inferred."""

    value: Annotated[Number, Field(json_schema_extra={"exclusiveMinimum": 0})]
    unit: Literal["g", "kg", "lb", "oz"]

    @property
    def kg(self) -> float:
        """Kilograms."""
        return self.value * KG_PER_UNIT[self.unit]


def validate_weight(weight: Weight) -> Weight:
    """The weight, if it is a valid weight of a parcel.

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


def sizes_in_cm(sizes: Dimensions | None) -> tuple[float | None, float | None, float | None]:
    """Length, width and height in centimetres."""
    if sizes is None:
        return None, None, None
    factor = CM_PER_UNIT[sizes.unit]
    return sizes.length * factor, sizes.width * factor, sizes.height * factor


class ShipmentBase(StrictModel):
    """The fields that estimates and scores share."""

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

    def addresses(self) -> dict[str, Address]:
        """Both ends by their fields."""
        return {
            "origin_address": self.origin_address,
            "destination_address": self.destination_address,
        }

    def to_shipment(
        self,
        shipment_id: str,
        ordered_at: UtcDatetime,
        carrier: str | None = None,
        service_level: str | None = None,
    ) -> Shipment:
        """The same in the words of the domain."""
        length, width, height = sizes_in_cm(self.dimensions)
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


@dataclass(frozen=True)
class InvalidItem:
    """An item of a batch that was rejected; without errors if the response has no room for them."""

    shipment_id: str | None
    errors: Sequence[FieldError]
    #: How many event codes of it are not in the vocabulary.
    unmapped_codes: int

    def detail(self, what: str) -> str:
        """What is wrong, for a problem."""
        return what if self.errors else f"{what}; only the first invalid items have their errors"

    def errors_at(self, *loc: str | int) -> list[FieldError]:
        """The errors with the path of the item before theirs."""
        return [error.model_copy(update={"loc": [*loc, *error.loc]}) for error in self.errors]


class BatchModel(StrictModel):
    """A request of many items, whose errors share the budget of the response."""

    _error_budget: ErrorBudget = PrivateAttr(default_factory=ErrorBudget)

    @model_validator(mode="after")
    def _set_error_budget(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, ErrorBudget):
            self._error_budget = info.context
        return self

    @property
    def error_budget(self) -> ErrorBudget:
        """What is left of the errors that the response may report."""
        return self._error_budget


def invalid_item(
    value: object, error: ValidationError, info: ValidationInfo, events: Sequence[object]
) -> InvalidItem:
    """What takes the place of an invalid item; ``events`` are those in it, as they were sent."""
    number = value.get("shipment_id") if isinstance(value, dict) else None
    is_id = isinstance(number, str) and 0 < len(number) <= MAX_ID_LENGTH
    budget = info.context if isinstance(info.context, ErrorBudget) else ErrorBudget()
    errors = field_errors(errors_of(error), budget)
    return InvalidItem(number if is_id else None, errors, sum(map(_is_unmapped, events)))


def _is_unmapped(event: object) -> bool:
    if not isinstance(event, dict) or "event_code" not in event:
        return False
    return not is_event_code(event["event_code"])


def unmapped_code_count(items: Iterable[object]) -> int:
    """How many event codes of a batch's items are not in the vocabulary."""
    return sum(item.unmapped_codes for item in items if isinstance(item, InvalidItem))


T = TypeVar("T")


def require_carrier(carrier: str | None, number: str | None, item: T) -> T:
    """The item; a tracking number without a carrier is rejected."""
    if number is not None and carrier is None:
        raise PydanticCustomError(
            "carrier_missing", "a tracking number is one carrier's; send carrier_code with it"
        )
    return item


Probability = Annotated[float, Field(ge=0.0, le=1.0)]


_RESPONSE_CONFIG = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid")

#: Decorates a typed dictionary of a response: the contract is its type, so that building it costs
#: what building a dictionary costs, and the type checker compares what is built with the contract.
response_dict = with_config(_RESPONSE_CONFIG)


class ResponseModel(BaseModel):
    """A part of a response; every number in it is finite."""

    model_config = _RESPONSE_CONFIG


@response_dict
class TimeInTransit(TypedDict):
    """Days from the local date of `as_of`.

    `percentile_K` is the fewest whole days d with P(arrived within d days) of at least K %; null
    beyond the horizon.
    """

    unit: NotRequired[
        Annotated[Literal["calendar_days"], Field(json_schema_extra={"default": "calendar_days"})]
    ]
    percentile_50: int | None
    percentile_75: int | None
    percentile_85: int | None
    percentile_90: int | None
    percentile_95: int | None
    percentile_97: int | None
    percentile_99: int | None


@response_dict
class Promise(TypedDict):
    """The promised day; without one, the day that the promise policy proposes."""

    date: date
    is_proposed: Annotated[bool, Field(description="A proposal; nobody has promised this day yet.")]
    policy: Annotated[
        str | None,
        Field(
            description="Version of the policy that proposes it; null for a given promise, "
            "a draft, and the default policy."
        ),
    ]
    on_time_probability: Probability | None


@response_dict
class Evidence(TypedDict):
    """What was observed, for how long, and how long it typically takes."""

    kind: str
    observed_hours: float | None
    expected_p50_hours: float | None
    expected_upper_hours: float | None


@response_dict
class Flag(TypedDict):
    """Whether the customer should be warned, whatever the state."""

    raised: bool
    first_flagged_at: Annotated[
        datetime | None,
        Field(description="When it was raised for the first time; null if never, or if unknown."),
    ]
    cleared_at: Annotated[
        datetime | None,
        Field(description="When it was withdrawn; null if it is raised or never was."),
    ]


@response_dict
class Delay(TypedDict):
    """Where the shipment stands against its promise; `state` is null if it is not forecast."""

    state: Annotated[
        str | None,
        Field(json_schema_extra={"enum": [*(str(state) for state in DelayState), None]}),
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
    flag: Flag


@response_dict
class Basis(TypedDict):
    """The data behind the prediction."""

    level: Annotated[
        str,
        Field(description="The support level; `observed` for an arrival, `none` without a date."),
    ]
    n_effective: Annotated[
        int, Field(description="Arrived parcels in the training data at that level.")
    ]
    data_through: date | None
    abstained: bool


@response_dict
class Prediction(TypedDict):
    """One prediction. Dates are local calendar days at the destination."""

    carrier_code: str | None
    service_code: str | None
    status: str
    phase: str
    estimated_delivery_date: Annotated[date | None, Field(description="The median date.")]
    estimated_delivery_date_min: date | None
    estimated_delivery_date_max: date | None
    first_attempt_date: Annotated[
        date | None,
        Field(
            description="The day of the first delivery attempt, which decides whether it is late."
        ),
    ]
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
    kind: str, as_of: datetime, current: ActiveModel, results: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """The fields of ``EstimateResponse`` and ``ScoreList``, in their order."""
    return {
        "object": kind,
        "as_of": as_of,
        "model_version": current.version,
        "degraded": current.is_degraded_at(as_of),
        "results": results,
    }


def to_prediction(
    assessment: Assessment,
    current: ActiveModel,
    options: AssessmentOptions,
    carrier: str | None,
    service_level: str | None,
    as_of: datetime,
) -> Prediction:
    """The assessment as of a moment under the names of the HTTP API."""
    return {
        "carrier_code": carrier,
        "service_code": service_level,
        "status": assessment.status.value,
        "phase": assessment.phase.value,
        "estimated_delivery_date": assessment.estimated_on,
        "estimated_delivery_date_min": assessment.earliest_on,
        "estimated_delivery_date_max": assessment.latest_on,
        "first_attempt_date": assessment.first_attempt_on,
        "timezone": assessment.timezone,
        "timezone_source": assessment.timezone_source.value,
        "time_in_transit": _time_in_transit(assessment.days_left),
        "confidence_level": options.coverage,
        "delivery_date_confidence": rounded(assessment.confidence),
        "confidence_code": assessment.code,
        "promise": _promise(assessment, options),
        "delay": _delay(assessment.delay),
        "basis": {
            "level": assessment.support_level,
            "n_effective": assessment.support_parcels,
            "data_through": current.trained_through,
            "abstained": assessment.code is AssessmentCode.TOO_LITTLE_SUPPORT,
        },
        "model_version": current.version,
        "degraded": _is_degraded(assessment.code, current, as_of),
    }


def _is_degraded(code: AssessmentCode, current: ActiveModel, as_of: datetime) -> bool:
    """Whether no version, or an outdated one, made a result."""
    return code in DEGRADED_CODES or (code in FORECAST_CODES and current.is_outdated(as_of))


def _time_in_transit(days_left: Mapping[int, int | None]) -> TimeInTransit:
    return {
        "unit": "calendar_days",
        "percentile_50": days_left[50],
        "percentile_75": days_left[75],
        "percentile_85": days_left[85],
        "percentile_90": days_left[90],
        "percentile_95": days_left[95],
        "percentile_97": days_left[97],
        "percentile_99": days_left[99],
    }


def _promise(assessment: Assessment, options: AssessmentOptions) -> Promise | None:
    if assessment.promise_on is None:
        return None
    return {
        "date": assessment.promise_on,
        "is_proposed": assessment.is_promise_proposed,
        "policy": options.promise.version if assessment.is_promise_proposed else None,
        "on_time_probability": rounded(assessment.on_time_probability),
    }


def _delay(delay: DelayAssessment) -> Delay:
    has_promise = delay.probability is not None or delay.lead_time_hours is not None
    evidence: list[Evidence] = []
    if delay.evidence_kind:
        observed: Evidence = {
            "kind": delay.evidence_kind,
            "observed_hours": rounded(delay.observed_hours, 2),
            "expected_p50_hours": delay.expected_p50_hours,
            "expected_upper_hours": delay.expected_upper_hours,
        }
        evidence.append(observed)
    return {
        "state": delay.state,
        "probability": rounded(delay.probability),
        "baseline": "promise" if has_promise else None,
        "lead_time_hours": rounded(delay.lead_time_hours, 2),
        "reason_code": delay.reason_code,
        "reason_party": delay.reason_party,
        "evidence": evidence,
        "flag": {
            "raised": delay.flag.is_raised,
            "first_flagged_at": delay.flag.first_flagged_at,
            "cleared_at": delay.flag.cleared_at,
        },
    }


def rounded(value: float | None, digits: int = 4) -> float | None:
    """The rounded value; None stays None."""
    return None if value is None else round(value, digits)
