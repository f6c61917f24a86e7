"""The delay decision: whether to flag a parcel, for what reason, and on what evidence.

Where a parcel stands is its state; whether its customer is warned is its flag. A flag is raised if
the promise has passed or will probably be missed. A silence that is longer than nearly all parcels
of that stage have makes a parcel stalled. It raises a flag only if the promise is at risk as well:
most silent parcels arrive in time. The threshold that withdraws a flag is lower than the one that
raises it, so that a flag does not flicker.
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


class _Reason(IntEnum):
    """The reasons that are decided, each named as in ``ReasonCode``; 0 if on track."""

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
    #: P(late) from which a flag is raised for a parcel that is ``stalled``.
    stalled_at: float = 0.45
    #: A silence is too long if this share of the parcels of that stage had a scan by then.
    silence_level: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.risk_at <= self.clear_at <= self.raise_at < 1.0:
            raise InvalidValue(
                "clear_at",
                f"{self.clear_at} is out of order",
                "keep 0 < risk_at <= clear_at <= raise_at < 1",
            )
        if not 0.0 < self.stalled_at <= self.raise_at:
            raise InvalidValue(
                "stalled_at",
                f"{self.stalled_at} is out of order",
                "keep 0 < stalled_at <= raise_at",
            )
        if not 0.5 < self.silence_level < 1.0:
            raise InvalidValue(
                "silence_level",
                f"{self.silence_level} is out of range",
                "choose one between 0.5 and 1",
            )


@dataclass(frozen=True, eq=False)
class Delays:
    """The delay states and flags of N parcels.

    States, reasons and parties are texts of ``DelayState``, ``ReasonCode`` and ``ReasonParty``,
    None without a reason; every array is (N,).
    """

    state: NDArray[np.object_]
    #: P(late); 1 once the promise has passed, NaN without a promise.
    probability: NDArray[np.float64]
    #: Hours until the promised day ends, 0 once it has; NaN without a promise.
    lead_hours: NDArray[np.float64]
    #: The flag is raised.
    is_raised: NDArray[np.bool_]
    #: When it was raised for the first time, UTC; NaT if never, or if that is unknown.
    first_flagged_at: Instants
    #: When it was withdrawn, UTC; NaT if it is raised or never was.
    cleared_at: Instants
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
    stalled_at: float


class FlagMemory(NamedTuple):
    """What earlier evaluations decided about N parcels, (N,) each; evaluations update it.

    Times are microseconds, ``_NAT`` if missing.
    """

    was_expected_late: NDArray[np.bool_]
    is_raised: NDArray[np.bool_]
    first_flagged: NDArray[np.int64]
    cleared: NDArray[np.int64]

    @classmethod
    def empty(cls, count: int) -> FlagMemory:
        """The memory of parcels that were not evaluated before."""
        never = np.full(count, _NAT)
        return cls(np.zeros(count, dtype=bool), np.zeros(count, dtype=bool), never, never.copy())


class Evaluations(NamedTuple):
    """Columns (N,) of what a flag is decided on; times are microseconds, ``_NAT`` if missing."""

    on_time_probability: NDArray[np.float64]
    promise_end: NDArray[np.int64]
    as_of: NDArray[np.int64]
    last_scan: NDArray[np.int64]
    #: Hours of silence that nearly no parcel of the stage exceeds.
    silence_upper: NDArray[np.float64]

    def between(self, start: int, end: int) -> Evaluations:
        """Those from ``start`` up to ``end``."""
        return Evaluations._make(column[start:end] for column in self)


class _Verdict(NamedTuple):
    """What holds for one parcel."""

    is_overdue: bool
    is_stalled: bool
    is_late: bool
    is_at_risk: bool


class _Typical(NamedTuple):
    """Typical hours of N parcels: the median, and the time within which nearly all are done."""

    silence: NDArray[np.float64]  # (N, 2)
    handling_p50: float
    handling_upper: float
    transit: NDArray[np.float64]  # (2, N)


class _Parcels(NamedTuple):
    """Columns (N,) of what is explained; times are microseconds, ``_NAT`` if missing."""

    evaluations: Evaluations
    ordered: NDArray[np.int64]
    handed_over: NDArray[np.int64]
    phase: NDArray[np.int8]


class _Decisions(NamedTuple):
    """The decision for N parcels, (N,) each: numbers of the enumerations, flags and figures."""

    state: NDArray[np.int8]
    reason: NDArray[np.int8]
    evidence: NDArray[np.int8]
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
    memory: FlagMemory,
) -> Delays:
    """The delay states and flags of N open parcels.

    Args:
        on_time_probability: P(arrival within the promised day), (N,); NaN without a promise.
        states: the state of each parcel at ``as_of``.
        as_of: the moments, UTC.
        destination: country and region, the key of the typical transit.
        durations: typical durations.
        policy: the thresholds.
        promise_end: the first instant after the promised day, NaT without a promise.
        memory: of the evaluations before this one, which it is updated with.
    """
    silence = durations.silence_hours[states.last_code]
    evaluations = Evaluations(
        on_time_probability,
        promise_end.view(np.int64),
        as_of.view(np.int64),
        states.last_scan_at.view(np.int64),
        silence[:, 1],
    )
    ordered, handed_over = states.ordered_at.view(np.int64), states.handed_over_at.view(np.int64)
    parcels = _Parcels(evaluations, ordered, handed_over, states.phase)
    handling = durations.handling
    transit = lookup((destination, destination), *durations.transit_hours)
    typical = _Typical(silence, handling.p50_hours, handling.upper_hours, transit)
    decisions = _decide(parcels, typical, _thresholds(policy), memory)
    figures = decisions._asdict()
    state, reason = figures.pop("state"), figures.pop("reason")
    evidence = figures.pop("evidence")
    return Delays(
        state=_STATE_TEXTS[state],
        reason_code=_REASON_TEXTS[reason],
        reason_party=_PARTY_TEXTS[reason],
        evidence_kind=_EVIDENCE_TEXTS[evidence],
        is_raised=memory.is_raised,
        first_flagged_at=memory.first_flagged.view("datetime64[us]"),
        cleared_at=memory.cleared.view("datetime64[us]"),
        **figures,
    )


def remember_flags(
    evaluations: Evaluations,
    parcel: NDArray[np.int64],
    policy: DelayPolicy,
    memory: FlagMemory,
) -> None:
    """Updates ``memory`` at the positions ``parcel`` (N,) with evaluations (N,) of one day."""
    _remember_flags(evaluations, parcel, _thresholds(policy), memory)


def _thresholds(policy: DelayPolicy) -> _Thresholds:
    return _Thresholds(policy.raise_at, policy.clear_at, policy.risk_at, policy.stalled_at)


@njit(cache=True)
def _remember_flags(evaluations, parcel, thresholds, memory):  # type: ignore[no-untyped-def]  # compiled
    """Update ``memory`` at the positions ``parcel``."""
    for i in range(len(parcel)):
        _evaluate(evaluations, i, thresholds, memory, parcel[i])


@njit(cache=True)
def _evaluate(evaluations, i, thresholds, memory, parcel):  # type: ignore[no-untyped-def]  # compiled
    """The ``_Verdict`` on evaluation i, with which the parcel's ``memory`` is updated."""
    as_of, promise_end = evaluations.as_of[i], evaluations.promise_end[i]
    p_late = 1.0 - evaluations.on_time_probability[i]
    is_overdue = promise_end != _NAT and promise_end <= as_of
    # After it was expected to be late, the lower threshold counts.
    was_late = memory.was_expected_late[parcel]
    is_late = not is_overdue and p_late >= (
        thresholds.clear_at if was_late else thresholds.raise_at
    )
    is_stalled = _hours(evaluations.last_scan[i], as_of) > evaluations.silence_upper[i]
    is_raised = is_overdue or is_late or (is_stalled and p_late >= thresholds.stalled_at)
    memory.was_expected_late[parcel] = is_late
    _remember(memory, parcel, is_raised, promise_end if is_overdue else as_of, as_of)
    return _Verdict(is_overdue, is_stalled, is_late, p_late >= thresholds.risk_at)


@njit(cache=True)
def _remember(memory, parcel, is_raised, raised_at, as_of):  # type: ignore[no-untyped-def]  # compiled
    """Update the parcel's flag."""
    was_raised = memory.is_raised[parcel]
    if is_raised:
        if not was_raised and memory.cleared[parcel] == _NAT:
            memory.first_flagged[parcel] = raised_at
        memory.cleared[parcel] = _NAT
    elif was_raised:
        memory.cleared[parcel] = as_of
    memory.is_raised[parcel] = is_raised


@njit(cache=True)
def _decide(parcels, typical, thresholds, memory):  # type: ignore[no-untyped-def]  # compiled
    """The ``_Decisions`` for ``_Parcels``; updates ``memory``."""
    evaluations = parcels.evaluations
    decisions = _no_decisions(len(evaluations.as_of))
    for i in range(len(evaluations.as_of)):
        verdict = _evaluate(evaluations, i, thresholds, memory, i)
        as_of, promise_end = evaluations.as_of[i], evaluations.promise_end[i]
        state = _state(verdict)
        decisions.state[i] = state
        decisions.is_expected_late[i] = verdict.is_late
        p_late = 1.0 - evaluations.on_time_probability[i]
        decisions.probability[i] = 1.0 if verdict.is_overdue else p_late
        if promise_end != _NAT:
            decisions.lead_hours[i] = max(_hours(as_of, promise_end), 0.0)
        if state != _State.ON_TRACK:
            _explain(parcels, typical, verdict.is_stalled, i, decisions)
    return decisions


@njit(cache=True)
def _no_decisions(count):  # type: ignore[no-untyped-def]  # compiled
    """``_Decisions`` of parcels without a reason or a figure."""
    return _Decisions(
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.int8),
        np.zeros(count, dtype=np.bool_),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
    )


@njit(cache=True)
def _state(verdict):  # type: ignore[no-untyped-def]  # compiled
    """The gravest state that holds."""
    if verdict.is_overdue:
        return _State.OVERDUE
    if verdict.is_stalled:
        return _State.STALLED
    if verdict.is_late:
        return _State.PREDICTED_LATE
    return _State.AT_RISK if verdict.is_at_risk else _State.ON_TRACK


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
    as_of = parcels.evaluations.as_of[i]
    if is_stalled:
        observed = _hours(parcels.evaluations.last_scan[i], as_of)
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
