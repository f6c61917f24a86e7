"""The assessment of a shipment: where it is, when it will come, and whether it is late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from eta.domain.vocabulary import Phase, Status, TimezoneSource
from eta.promise import DEFAULT_POLICY, PromisePolicy

#: Levels, in percent from below, at which the days left are told.
PERCENTILES = (50, 75, 85, 90, 95, 97, 99)

#: The state of a shipment that has arrived after the promised day.
DELIVERED_LATE = "delivered_late"

#: In the place of a rung of support: the answer was seen, or nothing is answered.
OBSERVED, NOTHING = "observed", "none"


class AssessmentCode(StrEnum):
    """Why an answer is as it is."""

    OK = "ok"
    #: More than half of such parcels do not arrive within the horizon: there is no median date.
    MAY_NEVER_ARRIVE = "may_never_arrive"
    #: Abstained: too few parcels to learn from.
    TOO_LITTLE_SUPPORT = "too_little_support"
    #: Degraded: no usable model. The lane medians answer where they know the lane.
    NO_MODEL = "no_model"
    #: Open for longer than a forecast reaches.
    EXPIRED = "expired"
    #: It has arrived; the date is that of the arrival.
    ARRIVED = "arrived"
    #: Cancelled or on its way back.
    NO_ARRIVAL_EXPECTED = "no_arrival_expected"
    #: Nothing had been told by the moment asked about.
    NOT_KNOWN_YET = "not_known_yet"


@dataclass(frozen=True)
class DelayAssessment:
    """The delay flag of one shipment; ``state`` is None where no arrival is waited for."""

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


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """All that is said about one shipment. Dates are local days at the destination."""

    code: AssessmentCode
    status: Status
    phase: Phase
    timezone: str
    timezone_source: TimezoneSource
    earliest_on: date | None = None
    estimated_on: date | None = None
    latest_on: date | None = None
    #: P(arrival on or before ``estimated_on``).
    confidence: float | None = None
    #: Fewest whole days from the local date of ``as_of``, by percent of ``PERCENTILES``.
    days_left: Mapping[int, int | None]
    #: The day promised, or else the one that the policy would promise.
    promise_on: date | None = None
    is_promise_proposed: bool = False
    on_time_probability: float | None = None
    #: P(arrival on or before the day that somebody wants it by).
    desired_probability: float | None = None
    delay: DelayAssessment = DelayAssessment()
    support_level: str
    support_parcels: int


@dataclass(frozen=True, kw_only=True)
class AssessmentOptions:
    """How an answer is to be told."""

    #: P(window holds the arrival), 0 to 1.
    coverage: float = 0.8
    #: Which day we would promise.
    promise: PromisePolicy = DEFAULT_POLICY
    #: The local day by which somebody wants it.
    desired_on: date | None = None
