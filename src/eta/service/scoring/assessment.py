"""The assessment of a shipment: where it is, when it will arrive, and whether it is late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from eta.domain.vocabulary import Phase, Status, TimezoneSource
from eta.promise import DEFAULT_POLICY, PromisePolicy

#: Levels, in percent from below, for which an assessment has the days left.
PERCENTILES = (50, 75, 85, 90, 95, 97, 99)

#: Support levels without a model: the arrival was observed, or there is no date.
OBSERVED, NOTHING = "observed", "none"


class AssessmentCode(StrEnum):
    """Why an assessment has a date, or has none."""

    OK = "ok"
    #: More than half of such parcels do not arrive within the horizon: there is no median date.
    MAY_NEVER_ARRIVE = "may_never_arrive"
    #: Abstained: there are too few similar parcels in the training data.
    TOO_LITTLE_SUPPORT = "too_little_support"
    #: Degraded: no usable model. The fallback gives dates on the lanes that it has.
    NO_MODEL = "no_model"
    #: Degraded: the model took too long, and the fallback answers in its place.
    TIMED_OUT = "timed_out"
    #: Open for longer than a forecast reaches.
    EXPIRED = "expired"
    #: Delivered or collected; the date is that of the delivery.
    ARRIVED = "arrived"
    #: Delivery was attempted and failed; the next attempt is not forecast.
    DELIVERY_ATTEMPTED = "delivery_attempted"
    #: It waits for the recipient to collect it, on a day that nobody can forecast.
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    #: Cancelled, or returned or on its way back, whether delivery was attempted before or not.
    NO_ARRIVAL_EXPECTED = "no_arrival_expected"
    #: Nothing had been received about it by ``as_of``.
    NOT_KNOWN_YET = "not_known_yet"


#: Codes of results that a model made.
FORECAST_CODES = frozenset(
    {AssessmentCode.OK, AssessmentCode.MAY_NEVER_ARRIVE, AssessmentCode.TOO_LITTLE_SUPPORT}
)
#: Codes of results that no model made.
DEGRADED_CODES = frozenset({AssessmentCode.NO_MODEL, AssessmentCode.TIMED_OUT})


@dataclass(frozen=True)
class FlagAssessment:
    """Whether the customer is warned. Times are UTC; None if it never happened or is unknown."""

    is_raised: bool = False
    first_flagged_at: datetime | None = None
    #: None while it is raised.
    cleared_at: datetime | None = None


@dataclass(frozen=True)
class DelayAssessment:
    """The delay of one shipment; ``state`` is None if no arrival is expected."""

    state: str | None = None
    reason_code: str | None = None
    reason_party: str | None = None
    evidence_kind: str | None = None
    probability: float | None = None
    #: Hours until the promised day ends.
    lead_time_hours: float | None = None
    observed_hours: float | None = None
    expected_p50_hours: float | None = None
    expected_upper_hours: float | None = None
    flag: FlagAssessment = FlagAssessment()


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The result for one shipment. Dates are local days at the destination."""

    code: AssessmentCode
    status: Status
    phase: Phase
    timezone: str
    timezone_source: TimezoneSource
    earliest_on: date | None = None
    estimated_on: date | None = None
    latest_on: date | None = None
    #: The day of the first delivery attempt, which decides whether it is late.
    first_attempt_on: date | None = None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None = None
    #: Fewest whole days from the local date of ``as_of``, by percent of ``PERCENTILES``.
    days_left: Mapping[int, int | None]
    #: The promised day; without one, the day that the policy proposes.
    promise_on: date | None = None
    is_promise_proposed: bool = False
    on_time_probability: float | None = None
    #: P(arrival on or before ``AssessmentOptions.desired_on``).
    desired_probability: float | None = None
    delay: DelayAssessment = DelayAssessment()
    support_level: str
    support_parcels: int


@dataclass(frozen=True, kw_only=True)
class AssessmentOptions:
    """What the caller chooses about an assessment."""

    #: P(window holds the arrival), 0 to 1.
    coverage: float = 0.8
    #: Proposes a day if none was promised.
    promise: PromisePolicy = DEFAULT_POLICY
    #: The local day by which the customer wants the parcel.
    desired_on: date | None = None
