"""When to warn, why, and on what evidence.

A flag is decided from three things: the chance to miss the promise, whether the promise has passed,
and a silence longer than nearly all parcels of that stage keep. It is raised at one probability and
withdrawn at a lower one, so that it does not flicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eta.calendars.local import Instants, hours_between
from eta.curves import kaplan_meier
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import DelayState, Phase, ReasonCode, ReasonParty
from eta.journey.columns import Labels, looked_up
from eta.journey.segments import Segments
from eta.journey.state import PHASES, States
from eta.journey.timeline import EVENT_CODES, Timelines

_GRID_HOURS = np.arange(0.0, 60 * 24 + 1, 1.0)
_ALL = ""

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


@dataclass(frozen=True)
class Usual:
    """How long something takes: hours within which half, and nearly all, of the parcels are through; infinite if never."""

    p50_hours: float
    upper_hours: float


_NEVER = Usual(np.inf, np.inf)


@dataclass(frozen=True)
class StageLaws:
    """What is usual, open parcels included (Kaplan-Meier).

    ``silence`` is keyed by the code of the last scan, ``transit`` by the destination's region; the
    empty key is the law of all.
    """

    silence: Mapping[str, Usual]
    handling: Usual
    transit: Mapping[str, Usual]

    @classmethod
    def learn(
        cls,
        timelines: Timelines,
        states: States,
        known_through: np.datetime64,
        *,
        level: float,
        at_least: int = 30,
    ) -> StageLaws:
        """From all that was known at ``known_through``; ``states`` are those of all shipments at that moment."""
        silence_hours, has_ended, code = _silences(timelines, states, known_through)
        handling, handled, _ = _spans(
            states.ordered_at, states.handed_over_at, states.given_up_at, known_through
        )
        transit, arrived, rows = _spans(
            states.handed_over_at, states.arrived_at, states.given_up_at, known_through
        )
        destination = timelines.texts["destination"].take(rows)
        return cls(
            _usual(
                silence_hours,
                has_ended,
                Labels(code.astype(np.int32), EVENT_CODES),
                level,
                at_least,
            ),
            _usual(
                handling,
                handled,
                Labels(np.full(len(handling), -1, dtype=np.int32), ()),
                level,
                at_least,
            )[_ALL],
            _usual(transit, arrived, destination, level, at_least),
        )

    def silence_of(self, code: str | None) -> Usual:
        """How long parcels are usually silent after a scan of such a code."""
        return self.silence.get(code or _ALL, self.silence.get(_ALL, _NEVER))

    @cached_property
    def silence_hours(self) -> NDArray[np.float64]:
        """The usual hours of silence, half and nearly all, (codes + 1, 2); the last row is for none of ``EVENT_CODES``."""
        usual = [self.silence_of(code) for code in (*EVENT_CODES, None)]
        return np.array([(law.p50_hours, law.upper_hours) for law in usual])

    @cached_property
    def transit_hours(
        self,
    ) -> tuple[tuple[dict[str, float], dict[str, float]], tuple[float, float]]:
        """The usual hours in transit, half and nearly all, by destination, and those of all."""
        of_all = self.transit.get(_ALL, _NEVER)
        by_destination = (
            {name: law.p50_hours for name, law in self.transit.items()},
            {name: law.upper_hours for name, law in self.transit.items()},
        )
        return by_destination, (of_all.p50_hours, of_all.upper_hours)

    def to_json(self) -> dict[str, object]:
        """Plain numbers; ``None`` for an infinite one."""

        def finite(usual: Usual) -> dict[str, float | None]:
            return {
                name: value if np.isfinite(value) else None for name, value in asdict(usual).items()
            }

        return {
            "silence": {key: finite(usual) for key, usual in self.silence.items()},
            "handling": finite(self.handling),
            "transit": {key: finite(usual) for key, usual in self.transit.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> StageLaws:
        """The inverse of ``to_json``."""

        def usual(stored: Mapping[str, float | None]) -> Usual:
            return Usual(
                **{name: np.inf if value is None else value for name, value in stored.items()}
            )

        return cls(
            {key: usual(stored) for key, stored in values["silence"].items()},
            usual(values["handling"]),  # type: ignore[arg-type]  # one level less deep than its neighbours
            {key: usual(stored) for key, stored in values["transit"].items()},
        )


#: Where nothing was learned, nothing is ever too long.
NO_LAWS = StageLaws({}, _NEVER, {})


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
    destination: Labels,
    laws: StageLaws,
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
        laws: what is usual.
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
        laws.silence_hours[states.last_code],
        (laws.handling.p50_hours, laws.handling.upper_hours),
        looked_up((destination, destination), *laws.transit_hours),
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


def _usual(
    hours: NDArray[np.float64], ended: NDArray[np.bool_], key: Labels, level: float, at_least: int
) -> dict[str, Usual]:
    """The usual times of all (empty key) and of every key with ``at_least`` parcels."""
    count = len(key.names)
    groups = np.concatenate([np.full(len(hours), count), key.codes[key.codes >= 0]])
    of_key = key.codes >= 0
    laws = kaplan_meier(
        np.concatenate([hours, hours[of_key]]),
        np.concatenate([ended, ended[of_key]]),
        groups,
        count + 1,
        _GRID_HOURS,
    )
    sizes = np.bincount(groups, minlength=count + 1)
    names = [*key.names, _ALL]
    return {
        str(names[i]): Usual(_first_hour(laws[i], 0.5), _first_hour(laws[i], level))
        for i in range(count + 1)
        if sizes[i] >= at_least or i == count
    }


def _first_hour(law: NDArray[np.float64], level: float) -> float:
    reached = np.flatnonzero(law >= level)
    return float(_GRID_HOURS[reached[0]]) if len(reached) else np.inf


def _silences(
    timelines: Timelines, states: States, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int16]]:
    """For each scan known and not final: hours from it to the next scan told, whether that came, and the scan's code."""
    owner = timelines.scans.owner()
    known = np.flatnonzero(timelines.received_at <= known_through)
    known = known[np.lexsort((timelines.received_at[known], owner[known]))]
    owner, received = owner[known], timelines.received_at[known]
    runs = Segments.of_counts(np.bincount(owner, minlength=len(timelines)))
    is_last = np.zeros(len(known), dtype=bool)
    is_last[runs.starts[1:][runs.counts > 0] - 1] = True
    end = np.full(len(known), known_through, dtype=received.dtype)
    end[:-1][~is_last[:-1]] = received[1:][~is_last[:-1]]
    still_waited = ~is_last | states.is_open[owner]
    hours = np.maximum(hours_between(timelines.occurred_at[known], end), 0.0)
    return hours[still_waited], ~is_last[still_waited], timelines.event_code[known][still_waited]


def _spans(
    start: Instants, end: Instants, given_up: Instants, known_through: np.datetime64
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Hours from start to end where it has started, censored where it has not ended, with the rows meant."""
    rows = np.flatnonzero(~np.isnat(start))
    ended = ~np.isnat(end[rows])
    until = np.where(
        ended, end[rows], np.where(np.isnat(given_up[rows]), known_through, given_up[rows])
    )
    return np.maximum(hours_between(start[rows], until), 0.0), ended, rows
