"""When to warn, why, and on what evidence.

A flag is decided from three things: the chance to miss the promise, whether the promise has passed,
and a silence longer than nearly all parcels of that stage keep. It is raised at one probability and
withdrawn at a lower one, so that it does not flicker.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local_time import Instants
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import DelayState, Phase, ReasonCode, ReasonParty
from eta.journey.categories import Categorical, lookup
from eta.journey.state import PHASES, States
from eta.stage_durations import StageDurations

#: What is told, in the order of the codes below.
_STATES = np.array([str(state) for state in DelayState], dtype=object)
_REASONS = np.array([None, *(str(reason) for reason in ReasonCode)], dtype=object)
_PARTIES = np.array([None, *(str(party) for party in ReasonParty)], dtype=object)
_KINDS = np.array([None, "silence", "handling", "transit"], dtype=object)
_, _AT_RISK, _PREDICTED_LATE, _STALLED, _OVERDUE, _CLEARED = range(len(_STATES))
_HANDOVER_DELAY, _CARRIER_DELAY, _OFF_RADAR, _UNKNOWN_REASON = (
    1 + list(ReasonCode).index(reason)
    for reason in (
        ReasonCode.HANDOVER_DELAY,
        ReasonCode.CARRIER_DELAY,
        ReasonCode.OFF_RADAR,
        ReasonCode.UNKNOWN,
    )
)
_CARRIER, _MERCHANT, _UNKNOWN_PARTY = (
    1 + list(ReasonParty).index(party)
    for party in (ReasonParty.CARRIER, ReasonParty.MERCHANT, ReasonParty.UNKNOWN)
)
_, _SILENCE, _HANDLING, _TRANSIT = range(len(_KINDS))
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
    #: A silence is too long when this share of parcels of that stage had spoken by then.
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
                f"{self.silence_level} is no level for a warning",
                "choose one between 0.5 and 1",
            )


@dataclass(frozen=True, eq=False)
class Delays:
    """The flags, (N,) each: texts of ``DelayState``, ``ReasonCode`` and ``ReasonParty``, None without a reason."""

    state: NDArray[np.object_]
    #: P(late); 1 once the promise has passed, NaN without a promise.
    probability: NDArray[np.float64]
    #: Hours until the promised day ends, 0 once it has; NaN without a promise.
    lead_hours: NDArray[np.float64]
    #: The flag stands: predicted late, stalled or overdue.
    is_raised: NDArray[np.bool_]
    #: The promise is expected to be missed, so that a lower threshold withdraws it.
    is_expected_late: NDArray[np.bool_]
    reason_code: NDArray[np.object_]
    reason_party: NDArray[np.object_]
    #: What was seen (silence, handling or transit), for how long, and how long it usually takes.
    evidence_kind: NDArray[np.object_]
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
        states: what is known of each parcel at ``as_of``.
        as_of: the moments, UTC.
        destination: country and region, the key of the usual transit.
        durations: typical durations.
        policy: the thresholds.
        promise_end: the first instant after the promised day, NaT without a promise.
        was_expected_late: ``is_expected_late`` of the evaluation before this one.
    """
    codes, hours = _decide(
        on_time_probability,
        was_expected_late,
        (policy.raise_at, policy.clear_at, policy.risk_at),
        promise_end.view(np.int64),
        as_of.view(np.int64),
        states.last_scan_at.view(np.int64),
        states.ordered_at.view(np.int64),
        states.handed_over_at.view(np.int64),
        states.phase,
        durations.silence_hours[states.last_code],
        (durations.handling.p50_hours, durations.handling.upper_hours),
        lookup((destination, destination), *durations.transit_hours),
    )
    state, reason, party, kind, is_raised, expected_late = codes
    return Delays(
        state=_STATES[state],
        probability=hours[0],
        lead_hours=hours[4],
        is_raised=is_raised.astype(bool),
        is_expected_late=expected_late.astype(bool),
        reason_code=_REASONS[reason],
        reason_party=_PARTIES[party],
        evidence_kind=_KINDS[kind],
        observed_hours=hours[1],
        expected_p50_hours=hours[2],
        expected_upper_hours=hours[3],
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
    """What was expected before, a lower chance to be late upholds."""
    return 1.0 - on_time_probability >= (clear_at if was_expected_late else raise_at)


@njit(cache=True)
def _decide(  # type: ignore[no-untyped-def]  # compiled
    on_time_probability,
    was_expected_late,
    thresholds,
    promise_end,
    as_of,
    last_scan,
    ordered,
    handed_over,
    phase,
    silence,
    handling,
    transit,
):
    """Positions of state, reason, party and evidence in their lists, is raised, is expected late (6, N); P(late) and hours (5, N)."""
    raise_at, clear_at, risk_at = thresholds
    codes, hours = np.zeros((6, len(as_of)), dtype=np.int8), np.full((5, len(as_of)), np.nan)
    for i in range(len(as_of)):
        p_late = 1.0 - on_time_probability[i]
        is_overdue = promise_end[i] != _NAT and promise_end[i] <= as_of[i]
        is_late = not is_overdue and _is_expected_late(
            on_time_probability[i], was_expected_late[i], raise_at, clear_at
        )
        silent, is_at_shop = _hours(last_scan[i], as_of[i]), phase[i] == _AT_SHOP
        is_stalled, is_at_risk = silent > silence[i, 1], p_late >= risk_at
        if is_overdue:
            codes[0, i] = _OVERDUE
        elif is_stalled:
            codes[0, i] = _STALLED
        elif is_late:
            codes[0, i] = _PREDICTED_LATE
        elif is_at_risk:
            codes[0, i] = _AT_RISK
        elif was_expected_late[i]:
            codes[0, i] = _CLEARED
        codes[4, i], codes[5, i] = is_overdue or is_stalled or is_late, is_late
        hours[0, i] = 1.0 if is_overdue else p_late
        if promise_end[i] != _NAT:
            hours[4, i] = max(_hours(as_of[i], promise_end[i]), 0.0)
        if not (codes[4, i] or is_at_risk):
            continue
        # A silence explains most; else what the parcel is in the middle of.
        if is_stalled:
            kind, observed, p50, upper = _SILENCE, silent, silence[i, 0], silence[i, 1]
        elif is_at_shop:
            kind, observed, p50, upper = (
                _HANDLING,
                _hours(ordered[i], as_of[i]),
                handling[0],
                handling[1],
            )
        else:
            kind, observed, p50, upper = (
                _TRANSIT,
                _hours(handed_over[i], as_of[i]),
                transit[0, i],
                transit[1, i],
            )
        if observed > p50:
            codes[3, i], hours[1, i], hours[2, i], hours[3, i] = kind, observed, p50, upper
            codes[1, i] = (
                _HANDOVER_DELAY if is_at_shop else _OFF_RADAR if is_stalled else _CARRIER_DELAY
            )
            codes[2, i] = _MERCHANT if is_at_shop else _CARRIER
        else:
            codes[1, i], codes[2, i] = _UNKNOWN_REASON, _UNKNOWN_PARTY
    return codes, hours


@njit(cache=True)
def _hours(start, end):  # type: ignore[no-untyped-def]  # compiled
    """What has not begun has taken 0 hours."""
    return 0.0 if start == _NAT else (end - start) / 3_600_000_000
