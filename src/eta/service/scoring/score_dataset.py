"""Windows and delay flags of all parcels in flight at a moment, one row a parcel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, hours_between
from eta.delays import DelayPolicy
from eta.journey.state import PHASES, STATUSES, AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle
from eta.service.scoring.open_forecasts import forecast_open, split_open


@dataclass(frozen=True, eq=False)
class ScoreTables:
    """Parcels in flight, and those open for so long that they are listed apart."""

    in_flight: pd.DataFrame
    expired: pd.DataFrame


def score_dataset(
    timelines: Timelines,
    served: ModelBundle,
    as_of: np.datetime64,
    *,
    policy: DelayPolicy,
    coverage: float = 0.8,
) -> ScoreTables:
    """One row a parcel open at ``as_of`` (UTC), sorted by shipment.

    The window is the range of local days at the destination that holds the arrival with probability
    ``coverage``. A parcel that was already late to be told about is still one row: nothing that is
    open is left out.
    """
    all_moments = AsOfPairs.all_at(timelines, as_of)
    states = fold(timelines, all_moments)
    rows, expired = split_open(states, as_of)
    forecasts = forecast_open(timelines, served, all_moments.take(rows), states.take(rows), policy)
    windows, delays = forecasts.windows(coverage), forecasts.delays
    in_flight = pd.DataFrame(
        {
            **_identity(timelines, rows, forecasts.states, forecasts.moments.as_of),
            "window_from": _days(windows.earliest_on),
            "window_to": _days(windows.latest_on),
            "window_probability": coverage,
            "median_on": _days(windows.median_on),
            "timezone": forecasts.zone.texts(),
            "timezone_source": timelines.zone_source.take(rows).texts(),
            "promised_on": _days(timelines.promised_on[rows]),
            "on_time_probability": forecasts.on_time.round(6),
            "delay_state": delays.state,
            "delay_probability": delays.probability.round(6),
            "delay_reason": delays.reason_code,
            "delay_party": delays.reason_party,
            "evidence_kind": delays.evidence_kind,
            "evidence_observed_hours": delays.observed_hours.round(3),
            "evidence_expected_p50_hours": _finite(delays.expected_p50_hours),
            "evidence_expected_upper_hours": _finite(delays.expected_upper_hours),
            "model_version": served.version,
            "support_level": forecasts.support_level,
            "support_parcels": forecasts.support_parcels,
        }
    )
    expired_table = pd.DataFrame(
        {
            **_identity(timelines, expired, states.take(expired), all_moments.as_of[expired]),
            "promised_on": _days(timelines.promised_on[expired]),
        }
    )
    expired_table["status"] = "expired"
    return ScoreTables(in_flight, expired_table)


def _identity(
    timelines: Timelines, rows: NDArray[np.int64], states: States, as_of: NDArray[np.datetime64]
) -> dict[str, Any]:
    return {
        "order_id": timelines.order_id[rows],
        "shipment_id": timelines.shipment_id[rows],
        "carrier": timelines.texts["carrier"].take(rows).texts(),
        "service_level": timelines.texts["service_level"].take(rows).texts(),
        "destination_region": timelines.texts["destination_region"].take(rows).texts(),
        "has_several_origins": timelines.has_several_origins[rows],
        "as_of": pd.DatetimeIndex(as_of, tz="UTC"),
        "status": np.array([str(status) for status in STATUSES], dtype=object)[states.status],
        "phase": np.array([str(phase) for phase in PHASES], dtype=object)[states.phase],
        "elapsed_days": (hours_between(states.ordered_at, as_of) / 24.0).round(4),
        "last_scan_age_hours": hours_between(states.last_scan_at, as_of).round(3),
    }


def _days(dates: Dates) -> pd.Series:
    """Dates that files hold as dates, without a time of day."""
    return pd.Series(pd.array(dates.astype("datetime64[s]"))).astype(pd.ArrowDtype(pa.date32()))


def _finite(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(hours), hours, np.nan)
