"""The delay decision: whether to flag a parcel, for what reason, and on what evidence.

Three things decide a flag: the probability to miss the promise, whether the promise has passed, and
a silence that is longer than nearly all parcels of that stage have. The threshold that withdraws a
flag is lower than the one that raises it, so that a flag does not flicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import Instants
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import DelayState, Phase, ReasonCode, ReasonParty
from eta.journey.categories import Categorical, lookup
from eta.journey.state import PHASES, States
from eta.stage_durations import StageDurations

# The compiled decision works with the numbers below. They are declared in this file because the
# cache of compiled code is renewed when this file changes, and not when another one does.


class _State(IntEnum):
    """The states that are decided, each named as in ``DelayState``."""

    ON_TRACK = 0
    AT_RISK = 1
    PREDICTED_LATE = 2
    STALLED = 3
    OVERDUE = 4
    CLEARED = 5


class _Reason(IntEnum):
    """The reasons that are decided, each named as in ``ReasonCode``; 0 without a flag."""

    NONE = 0
    HANDOVER_DELAY = 1
    CARRIER_DELAY = 2
    OFF_RADAR = 3
    UNKNOWN = 4


class _Evidence(IntEnum):
    """What was observed to take longer than it typically does; 0 without evidence."""

    NONE = 0
    SILENCE = 1
    HANDLING = 2
    TRANSIT = 3


#: Who holds a parcel up, by the reason.
_PARTY_OF_REASON: Mapping[_Reason, ReasonParty | None] = {
    _Reason.NONE: None,
    _Reason.HANDOVER_DELAY: ReasonParty.MERCHANT,
    _Reason.CARRIER_DELAY: ReasonParty.CARRIER,
    _Reason.OFF_RADAR: ReasonParty.CARRIER,
    _Reason.UNKNOWN: ReasonParty.UNKNOWN,
}


def _texts(texts: Sequence[str | None]) -> NDArray[np.object_]:
    """Plain texts, (number of members,), by a member's number."""
    return np.array([text and str(text) for text in texts], dtype=object)


_STATE_TEXTS = _texts([DelayState[state.name] for state in _State])
_REASON_TEXTS = _texts([ReasonCode[reason.name] if reason else None for reason in _Reason])
_PARTY_TEXTS = _texts([_PARTY_OF_REASON[reason] for reason in _Reason])
_EVIDENCE_TEXTS = _texts([evidence.name.lower() if evidence else None for evidence in _Evidence])
_AT_SHOP = PHASES.index(Phase.ORDER_HANDLING)
_NAT = np.iinfo(np.int64).min


@dataclass(frozen=True, kw_only=True)
class DelayPolicy:
    """When a flag is raised and withdrawn.

    Raises:
        InvalidValue: if the thresholds are not in order.
    """

    #: P(late) from which a parcel is ``predicted_late``.
    raise_at: float = 0.5
    #: P(late) below which a raised flag is withdrawn.
    clear_at: float = 0.3
    #: P(late) from which a parcel is ``at_risk``.
    risk_at: float = 0.25
    #: A silence is too long if this share of the parcels of that stage had a scan by then.
    silence_level: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.risk_at <= self.clear_at <= self.raise_at < 1.0:
            raise InvalidValue(
                "clear_at",
                f"{self.clear_at} is out of order",
                "keep 0 < risk_at <= clear_at <= raise_at < 1",
            )
        if not 0.5 < self.silence_level < 1.0:
            raise InvalidValue(
                "silence_level",
                f"{self.silence_level} is out of range",
                "choose one between 0.5 and 1",
            )


@dataclass(frozen=True, eq=False)
class Delays:
    """The delay flags of N parcels.

    States, reasons and parties are texts of ``DelayState``, ``ReasonCode`` and ``ReasonParty``,
    None without a reason; every array is (N,).
    """

    state: NDArray[np.object_]
    #: P(late); 1 once the promise has passed, NaN without a promise.
    probability: NDArray[np.float64]
    #: Hours until the promised day ends, 0 once it has; NaN without a promise.
    lead_hours: NDArray[np.float64]
    #: The flag is raised: predicted late, stalled or overdue.
    is_raised: NDArray[np.bool_]
    #: The promise is expected to be missed; the next evaluation uses the lower threshold.
    is_expected_late: NDArray[np.bool_]
    reason_code: NDArray[np.object_]
    reason_party: NDArray[np.object_]
    #: What was observed (silence, handling or transit), for how long, and its typical hours.
    evidence_kind: NDArray[np.object_]
    observed_hours: NDArray[np.float64]
    expected_p50_hours: NDArray[np.float64]
    expected_upper_hours: NDArray[np.float64]


class _Thresholds(NamedTuple):
    """Probabilities to be late at which a state begins or ends."""

    raise_at: float
    clear_at: float
    risk_at: float


class _Typical(NamedTuple):
    """Typical hours of N parcels: the median, and the time within which nearly all are done."""

    silence: NDArray[np.float64]  # (N, 2)
    handling_p50: float
    handling_upper: float
    transit: NDArray[np.float64]  # (2, N)


class _Parcels(NamedTuple):
    """Columns (N,) of what is decided on; times are microseconds, ``_NAT`` if missing."""

    on_time_probability: NDArray[np.float64]
    was_expected_late: NDArray[np.bool_]
    promise_end: NDArray[np.int64]
    as_of: NDArray[np.int64]
    last_scan: NDArray[np.int64]
    ordered: NDArray[np.int64]
    handed_over: NDArray[np.int64]
    phase: NDArray[np.int8]


class _Decisions(NamedTuple):
    """The decision for N parcels, (N,) each: numbers of the enumerations, flags and figures."""

    state: NDArray[np.int8]
    reason: NDArray[np.int8]
    evidence: NDArray[np.int8]
    is_raised: NDArray[np.bool_]
    is_expected_late: NDArray[np.bool_]
    probability: NDArray[np.float64]
    lead_hours: NDArray[np.float64]
    observed_hours: NDArray[np.float64]
    expected_p50_hours: NDArray[np.float64]
    expected_upper_hours: NDArray[np.float64]


def decide(
    on_time_probability: NDArray[np.float64],
    states: States,
    as_of: Instants,
    destination: Categorical,
    durations: StageDurations,
    policy: DelayPolicy,
    *,
    promise_end: Instants,
    was_expected_late: NDArray[np.bool_],
) -> Delays:
    """The delay flags of N open parcels.

    Args:
        on_time_probability: P(arrival within the promised day), (N,); NaN without a promise.
        states: the state of each parcel at ``as_of``.
        as_of: the moments, UTC.
        destination: country and region, the key of the typical transit.
        durations: typical durations.
        policy: the thresholds.
        promise_end: the first instant after the promised day, NaT without a promise.
        was_expected_late: ``is_expected_late`` of the evaluation before this one.
    """
    last_scan = states.last_scan_at.view(np.int64)
    ordered = states.ordered_at.view(np.int64)
    handed_over = states.handed_over_at.view(np.int64)
    parcels = _Parcels(
        on_time_probability,
        was_expected_late,
        promise_end.view(np.int64),
        as_of.view(np.int64),
        last_scan,
        ordered,
        handed_over,
        states.phase,
    )
    silence = durations.silence_hours[states.last_code]
    handling = durations.handling
    transit = lookup((destination, destination), *durations.transit_hours)
    typical = _Typical(silence, handling.p50_hours, handling.upper_hours, transit)
    thresholds = _Thresholds(policy.raise_at, policy.clear_at, policy.risk_at)
    decisions = _decide(parcels, typical, thresholds)
    figures = decisions._asdict()
    state, reason = figures.pop("state"), figures.pop("reason")
    evidence = figures.pop("evidence")
    return Delays(
        state=_STATE_TEXTS[state],
        reason_code=_REASON_TEXTS[reason],
        reason_party=_PARTY_TEXTS[reason],
        evidence_kind=_EVIDENCE_TEXTS[evidence],
        **figures,
    )


@njit(cache=True)
def are_expected_late(  # type: ignore[no-untyped-def]  # compiled
    on_time_probability, was_expected_late, raise_at, clear_at, promise_end, as_of
):
    """Which promises of N parcels are expected to be missed, (N,); times are microseconds."""
    result = np.empty(len(as_of), dtype=np.bool_)
    for i in range(len(as_of)):
        result[i] = promise_end[i] > as_of[i] and _is_expected_late(
            on_time_probability[i], was_expected_late[i], raise_at, clear_at
        )
    return result


@njit(cache=True)
def _is_expected_late(on_time_probability, was_expected_late, raise_at, clear_at):  # type: ignore[no-untyped-def]  # compiled
    """Whether a promise is expected to be missed; after it was, the lower threshold counts."""
    return 1.0 - on_time_probability >= (clear_at if was_expected_late else raise_at)


@njit(cache=True)
def _decide(parcels, typical, thresholds):  # type: ignore[no-untyped-def]  # compiled
    """The ``_Decisions`` for ``_Parcels``."""
    decisions = _no_decisions(len(parcels.as_of))
    for i in range(len(parcels.as_of)):
        as_of, promise_end = parcels.as_of[i], parcels.promise_end[i]
        p_late = 1.0 - parcels.on_time_probability[i]
        was_late = parcels.was_expected_late[i]
        is_overdue = promise_end != _NAT and promise_end <= as_of
        is_late = not is_overdue and _is_expected_late(
            parcels.on_time_probability[i], was_late, thresholds.raise_at, thresholds.clear_at
        )
        is_stalled = _hours(parcels.last_scan[i], as_of) > typical.silence[i, 1]
        is_at_risk = p_late >= thresholds.risk_at
        is_raised = is_overdue or is_stalled or is_late
        decisions.state[i] = _state(is_overdue, is_stalled, is_late, is_at_risk, was_late)
        decisions.is_raised[i] = is_raised
        decisions.is_expected_late[i] = is_late
        decisions.probability[i] = 1.0 if is_overdue else p_late
        if promise_end != _NAT:
            decisions.lead_hours[i] = max(_hours(as_of, promise_end), 0.0)
        if is_raised or is_at_risk:
            _explain(parcels, typical, is_stalled, i, decisions)
    return decisions


@njit(cache=True)
def _no_decisions(count):  # type: ignore[no-untyped-def]  # compiled
    """``_Decisions`` of parcels without a flag, a reason or a figure."""
    return _Decisions(
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.bool_),
        np.zeros(count, dtype=np.bool_),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
    )


@njit(cache=True)
def _state(is_overdue, is_stalled, is_late, is_at_risk, was_late):  # type: ignore[no-untyped-def]  # compiled
    """The gravest state that holds."""
    if is_overdue:
        return _State.OVERDUE
    if is_stalled:
        return _State.STALLED
    if is_late:
        return _State.PREDICTED_LATE
    if is_at_risk:
        return _State.AT_RISK
    return _State.CLEARED if was_late else _State.ON_TRACK


@njit(cache=True)
def _explain(parcels, typical, is_stalled, i, decisions):  # type: ignore[no-untyped-def]  # compiled
    """Writes the reason of parcel i, and the evidence if something takes longer than its median."""
    is_at_shop = parcels.phase[i] == _AT_SHOP
    evidence, observed, p50, upper = _evidence(parcels, typical, is_stalled, is_at_shop, i)
    if not observed > p50:
        decisions.reason[i] = _Reason.UNKNOWN
        return
    decisions.reason[i] = _reason(is_stalled, is_at_shop)
    decisions.evidence[i] = evidence
    decisions.observed_hours[i] = observed
    decisions.expected_p50_hours[i] = p50
    decisions.expected_upper_hours[i] = upper


@njit(cache=True)
def _evidence(parcels, typical, is_stalled, is_at_shop, i):  # type: ignore[no-untyped-def]  # compiled
    """The evidence, how long it has lasted, its median and upper hours."""
    # A silence explains most; without one, the stage that the parcel is in.
    as_of = parcels.as_of[i]
    if is_stalled:
        observed = _hours(parcels.last_scan[i], as_of)
        return _Evidence.SILENCE, observed, typical.silence[i, 0], typical.silence[i, 1]
    if is_at_shop:
        observed = _hours(parcels.ordered[i], as_of)
        return _Evidence.HANDLING, observed, typical.handling_p50, typical.handling_upper
    observed = _hours(parcels.handed_over[i], as_of)
    return _Evidence.TRANSIT, observed, typical.transit[0, i], typical.transit[1, i]


@njit(cache=True)
def _reason(is_stalled, is_at_shop):  # type: ignore[no-untyped-def]  # compiled
    """The reason for a stage that takes longer than its median."""
    if is_at_shop:
        return _Reason.HANDOVER_DELAY
    return _Reason.OFF_RADAR if is_stalled else _Reason.CARRIER_DELAY


@njit(cache=True)
def _hours(start, end):  # type: ignore[no-untyped-def]  # compiled
    """Hours from ``start`` to ``end``; 0 if it has not started."""
    return 0.0 if start == _NAT else (end - start) / 3_600_000_000
