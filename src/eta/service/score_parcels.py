"""Windows and delay flags of all parcels in flight at a moment, one row a parcel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local import DAY, hours_between
from eta.delays import DelayPolicy, Delays, decide
from eta.journey.features import features, promise_ends
from eta.journey.snapshots import EXPIRED_AFTER
from eta.journey.state import PHASES, STATUSES, Moments, States, fold
from eta.journey.timeline import Timelines
from eta.promise import probability_by, windows
from eta.service.served_model import ServedModel

#: Flags are decided once a day from so many days before: a flag's memory is what the journey itself shows.
LOOK_BACK_DAYS = 7


@dataclass(frozen=True, eq=False)
class Scored:
    """Parcels in flight, and those open for so long that they are listed apart."""

    in_flight: pd.DataFrame
    expired: pd.DataFrame


def score_parcels(timelines: Timelines, served: ServedModel, as_of: np.datetime64, *, policy: DelayPolicy, coverage: float = 0.8) -> Scored:
    """One row a parcel open at ``as_of`` (UTC), sorted by shipment.

    The window is the range of local days at the destination that holds the arrival with probability ``coverage``. A
    parcel that was already late to be told about is still one row: nothing that is open is left out.
    """
    everything = Moments.all_at(timelines, as_of)
    states = fold(timelines, everything)
    is_expired = states.is_open & (as_of - states.ordered_at > EXPIRED_AFTER)
    rows, expired = np.flatnonzero(states.is_open & ~is_expired), np.flatnonzero(is_expired)
    moments, open_states = everything.take(rows), states.take(rows)
    known = features(timelines, moments, open_states)
    curves = served.model.predict_curves(known)
    zone = timelines.zone.take(rows)
    shown = windows(curves, moments.as_of, zone, coverage=coverage)
    on_time = probability_by(curves, moments.as_of, promise_ends(timelines, rows))
    delays = _delays(timelines, served, moments, open_states, on_time, policy)
    level, count = served.support.of(known)
    in_flight = pd.DataFrame(
        {
            **_identity(timelines, rows, open_states, moments.as_of),
            "window_from": shown.earliest_on,
            "window_to": shown.latest_on,
            "window_probability": coverage,
            "median_on": shown.median_on,
            "timezone": zone.texts(),
            "promised_on": timelines.promised_on[rows],
            "on_time_probability": on_time.round(6),
            "delay_state": delays.state,
            "delay_probability": delays.probability.round(6),
            "delay_reason": delays.reason_code,
            "delay_party": delays.reason_party,
            "evidence_kind": delays.evidence_kind,
            "evidence_observed_hours": delays.observed_hours.round(3),
            "evidence_expected_p50_hours": delays.expected_p50_hours,
            "evidence_expected_upper_hours": delays.expected_upper_hours,
            "model_version": served.version,
            "support_level": level,
            "support_parcels": count,
        }
    )
    apart = pd.DataFrame({**_identity(timelines, expired, states.take(expired), everything.as_of[expired]), "promised_on": timelines.promised_on[expired]})
    apart["status"] = "expired"
    return Scored(in_flight, apart)


def _identity(timelines: Timelines, rows: NDArray[np.int64], states: States, as_of: NDArray[np.datetime64]) -> dict[str, NDArray[np.generic]]:
    return {
        "order_id": timelines.order_id[rows],
        "shipment_id": timelines.shipment_id[rows],
        "carrier": timelines.texts["carrier"].take(rows).texts(),
        "service_level": timelines.texts["service_level"].take(rows).texts(),
        "destination_region": timelines.texts["destination_region"].take(rows).texts(),
        "has_several_origins": timelines.has_several_origins[rows],
        "as_of": as_of,
        "status": np.array([str(status) for status in STATUSES], dtype=object)[states.status],
        "phase": np.array([str(phase) for phase in PHASES], dtype=object)[states.phase],
        "elapsed_days": (hours_between(states.ordered_at, as_of) / 24.0).round(4),
        "last_scan_age_hours": hours_between(states.last_scan_at, as_of).round(3),
    }


def _delays(timelines: Timelines, served: ServedModel, moments: Moments, states: States, on_time: NDArray[np.float64], policy: DelayPolicy) -> Delays:
    """Today's flags, after those of the days before: each was decided on what was known that morning."""
    was_expected_late = np.zeros(len(moments), dtype=bool)
    for days in range(LOOK_BACK_DAYS, 0, -1):
        earlier = Moments(moments.row, moments.as_of - days * DAY)
        earlier_states = fold(timelines, earlier)
        was_open = np.flatnonzero(earlier_states.is_open)
        if len(was_open):
            asked, states_then = earlier.take(was_open), earlier_states.take(was_open)
            curves = served.model.predict_curves(features(timelines, asked, states_then))
            by_promise = probability_by(curves, asked.as_of, promise_ends(timelines, asked.row))
            was_expected_late[was_open] = _decide(timelines, served, asked, states_then, by_promise, policy, was_expected_late[was_open]).is_expected_late
    return _decide(timelines, served, moments, states, on_time, policy, was_expected_late)


def _decide(
    timelines: Timelines,
    served: ServedModel,
    moments: Moments,
    states: States,
    on_time: NDArray[np.float64],
    policy: DelayPolicy,
    was_expected_late: NDArray[np.bool_],
) -> Delays:
    destination = timelines.texts["destination_country"].joined(timelines.texts["destination_region"], "-").take(moments.row)
    return decide(
        on_time,
        states,
        moments.as_of,
        destination,
        served.laws,
        policy,
        promise_end=promise_ends(timelines, moments.row),
        was_expected_late=was_expected_late,
    )
