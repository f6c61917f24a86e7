"""When to warn, why, and on what evidence.

A flag is decided from three things: the chance to miss the promise, whether the promise has passed, and a silence longer
than nearly all parcels of that stage keep. It is raised at one probability and withdrawn at a lower one, so that it does
not flicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local import Instants, hours_between
from eta.curves import kaplan_meier
from eta.domain.errors import InvalidValue
from eta.domain.vocabulary import DelayState, Phase, ReasonCode, ReasonParty
from eta.journey.columns import Labels
from eta.journey.segments import Segments
from eta.journey.state import PHASES, States
from eta.journey.timeline import EVENT_CODES, Timelines

_GRID_HOURS = np.arange(0.0, 60 * 24 + 1, 1.0)
_ALL = ""


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
            raise InvalidValue("clear_at", f"{self.clear_at} is out of order", "keep 0 < risk_at <= clear_at <= raise_at < 1")
        if not 0.5 < self.silence_level < 1.0:
            raise InvalidValue("silence_level", f"{self.silence_level} is no level for a warning", "choose one between 0.5 and 1")


@dataclass(frozen=True)
class Usual:
    """How long something takes: hours within which half, and nearly all, of the parcels are through; infinite if never."""

    p50_hours: float
    upper_hours: float


@dataclass(frozen=True)
class StageLaws:
    """What is usual, open parcels included (Kaplan-Meier).

    ``silence`` is keyed by the code of the last scan, ``transit`` by the destination's region; the empty key is the law
    of all.
    """

    silence: Mapping[str, Usual]
    handling: Usual
    transit: Mapping[str, Usual]

    @classmethod
    def learn(cls, timelines: Timelines, states: States, known_through: np.datetime64, *, level: float, at_least: int = 30) -> StageLaws:
        """From all that was known at ``known_through``; ``states`` are those of all shipments at that moment."""
        silence_hours, has_ended, code = _silences(timelines, states, known_through)
        handling, handled, _ = _spans(states.ordered_at, states.handed_over_at, states.given_up_at, known_through)
        transit, arrived, rows = _spans(states.handed_over_at, states.arrived_at, states.given_up_at, known_through)
        destination = timelines.texts["destination"].take(rows)
        return cls(
            _usual(silence_hours, has_ended, Labels(code.astype(np.int32), EVENT_CODES), level, at_least),
            _usual(handling, handled, Labels(np.full(len(handling), -1, dtype=np.int32), ()), level, at_least)[_ALL],
            _usual(transit, arrived, destination, level, at_least),
        )

    def to_json(self) -> dict[str, object]:
        """Plain numbers; ``None`` for an infinite one."""

        def finite(usual: Usual) -> dict[str, float | None]:
            return {name: value if np.isfinite(value) else None for name, value in asdict(usual).items()}

        return {
            "silence": {key: finite(usual) for key, usual in self.silence.items()},
            "handling": finite(self.handling),
            "transit": {key: finite(usual) for key, usual in self.transit.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> StageLaws:
        """The inverse of ``to_json``."""

        def usual(stored: Mapping[str, float | None]) -> Usual:
            return Usual(**{name: np.inf if value is None else value for name, value in stored.items()})

        return cls(
            {key: usual(stored) for key, stored in values["silence"].items()},
            usual(values["handling"]),  # type: ignore[arg-type]  # one level less deep than its neighbours
            {key: usual(stored) for key, stored in values["transit"].items()},
        )


@dataclass(frozen=True, eq=False)
class Delays:
    """The flags, (N,) each: texts of ``DelayState``, ``ReasonCode`` and ``ReasonParty``, None without a reason."""

    state: NDArray[np.object_]
    #: P(late); 1 once the promise has passed, NaN without a promise.
    probability: NDArray[np.float64]
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
    p_late = 1.0 - on_time_probability
    is_overdue = promise_end <= as_of
    is_expected_late = ~is_overdue & (p_late >= np.where(was_expected_late, policy.clear_at, policy.raise_at))
    seen = {
        "silence": _against(hours_between(states.last_scan_at, as_of), Labels(states.last_code.astype(np.int32), EVENT_CODES), laws.silence),
        "handling": _against(hours_between(states.ordered_at, as_of), Labels(np.full(len(as_of), -1, dtype=np.int32), ()), {_ALL: laws.handling}),
        "transit": _against(hours_between(states.handed_over_at, as_of), destination, laws.transit),
    }
    silent, _, longest_silence = seen["silence"]
    is_stalled = silent > longest_silence
    is_at_shop = states.phase == PHASES.index(Phase.ORDER_HANDLING)

    is_at_risk = p_late >= policy.risk_at
    needs_reason = is_overdue | is_stalled | is_expected_late | is_at_risk
    # A silence explains most; else what the parcel is in the middle of.
    of_kind = np.where(is_stalled, 0, np.where(is_at_shop, 1, 2))
    observed, p50, upper = (np.choose(of_kind, [hours[i] for hours in seen.values()]) for i in range(3))
    is_slow = observed > p50
    has_evidence = needs_reason & is_slow
    return Delays(
        state=_texts(
            (is_overdue, DelayState.OVERDUE),
            (is_stalled, DelayState.STALLED),
            (is_expected_late, DelayState.PREDICTED_LATE),
            (is_at_risk, DelayState.AT_RISK),
            (was_expected_late, DelayState.CLEARED),
            default=DelayState.ON_TRACK,
        ),
        probability=np.where(is_overdue, 1.0, p_late),
        is_raised=is_overdue | is_stalled | is_expected_late,
        is_expected_late=is_expected_late,
        reason_code=_texts(
            (~needs_reason, None),
            (~is_slow, ReasonCode.UNKNOWN),
            (is_at_shop, ReasonCode.HANDOVER_DELAY),
            (is_stalled, ReasonCode.OFF_RADAR),
            default=ReasonCode.CARRIER_DELAY,
        ),
        reason_party=_texts((~needs_reason, None), (~is_slow, ReasonParty.UNKNOWN), (is_at_shop, ReasonParty.MERCHANT), default=ReasonParty.CARRIER),
        evidence_kind=np.array([*seen, None], dtype=object)[np.where(has_evidence, of_kind, len(seen))],
        observed_hours=np.where(has_evidence, observed, np.nan),
        expected_p50_hours=np.where(has_evidence, p50, np.nan),
        expected_upper_hours=np.where(has_evidence, upper, np.nan),
    )


def _texts(*cases: tuple[NDArray[np.bool_], str | None], default: str) -> NDArray[np.object_]:
    """The text of the first case that holds, (N,)."""
    words = np.array([*(None if text is None else str(text) for _, text in cases), str(default)], dtype=object)
    return words[np.select([holds for holds, _ in cases], list(range(len(cases))), len(cases))]


def _against(observed: NDArray[np.float64], key: Labels, usual: Mapping[str, Usual]) -> tuple[NDArray[np.float64], ...]:
    """Hours observed and the two usual ones for each parcel; what has not begun has taken 0 hours."""
    fallback = usual.get(_ALL, Usual(np.inf, np.inf))
    p50 = key.translate({name: law.p50_hours for name, law in usual.items()}, fallback.p50_hours)
    upper = key.translate({name: law.upper_hours for name, law in usual.items()}, fallback.upper_hours)
    return np.nan_to_num(observed), p50, upper


def _usual(hours: NDArray[np.float64], ended: NDArray[np.bool_], key: Labels, level: float, at_least: int) -> dict[str, Usual]:
    """The usual times of all (empty key) and of every key with ``at_least`` parcels."""
    count = len(key.names)
    groups = np.concatenate([np.full(len(hours), count), key.codes[key.codes >= 0]])
    of_key = key.codes >= 0
    laws = kaplan_meier(np.concatenate([hours, hours[of_key]]), np.concatenate([ended, ended[of_key]]), groups, count + 1, _GRID_HOURS)
    sizes = np.bincount(groups, minlength=count + 1)
    names = [*key.names, _ALL]
    return {str(names[i]): Usual(_first_hour(laws[i], 0.5), _first_hour(laws[i], level)) for i in range(count + 1) if sizes[i] >= at_least or i == count}


def _first_hour(law: NDArray[np.float64], level: float) -> float:
    reached = np.flatnonzero(law >= level)
    return float(_GRID_HOURS[reached[0]]) if len(reached) else np.inf


def _silences(timelines: Timelines, states: States, known_through: np.datetime64) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int16]]:
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
    until = np.where(ended, end[rows], np.where(np.isnat(given_up[rows]), known_through, given_up[rows]))
    return np.maximum(hours_between(start[rows], until), 0.0), ended, rows
