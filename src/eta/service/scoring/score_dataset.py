"""Delivery windows and delay flags of all parcels in flight at a moment, one row a parcel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from eta.calendars.local_time import Dates, hours_between
from eta.delays import DelayPolicy, Delays
from eta.forecast.seen_services import SeenServices, UnseenName
from eta.journey.snapshots import EXPIRED_AFTER
from eta.journey.state import PHASES, STATUSES, AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import ModelBundle
from eta.service.scoring.assessment import NOTHING, AssessmentOptions
from eta.service.scoring.assessment_columns import AssessmentColumns
from eta.service.scoring.open_forecasts import forecast_open, split_open


@dataclass(frozen=True, eq=False)
class ScoreTables:
    """Parcels in flight, after a failed attempt, and open for longer than forecasts reach."""

    in_flight: pd.DataFrame
    #: Delivery was attempted, or they wait to be collected; no dates, no delay state.
    undelivered: pd.DataFrame
    expired: pd.DataFrame

    def on_the_way(self) -> pd.DataFrame:
        """The parcels in flight and the undelivered ones, sorted by shipment."""
        both = pd.concat([self.in_flight, self.undelivered])
        return both.sort_values("shipment_id", kind="stable", ignore_index=True)


def score_dataset(
    timelines: Timelines,
    served: ModelBundle,
    as_of: np.datetime64,
    *,
    policy: DelayPolicy,
    coverage: float = 0.8,
) -> ScoreTables:
    """One row a parcel that is to arrive at ``as_of`` (UTC), sorted by shipment.

    The window is the range of local days at the destination that holds the arrival with probability
    ``coverage``. Every open parcel has a row, also one whose first scan was received late. One
    whose delivery was attempted has a row without dates.
    """
    all_moments = AsOfPairs.all_at(timelines, as_of)
    states = fold(timelines, all_moments)
    rows, expired = split_open(states, as_of)
    forecasts = forecast_open(timelines, served, all_moments.take(rows), states.take(rows), policy)
    options = AssessmentOptions(coverage=coverage)
    columns = AssessmentColumns(timelines, forecasts, options)
    in_flight = _in_flight_table(columns, rows, served.version)
    is_recent = as_of - states.ordered_at <= EXPIRED_AFTER
    undelivered = np.flatnonzero(states.is_undelivered & is_recent)
    located = _without_forecasts(timelines, all_moments.take(undelivered), states.take(undelivered))
    located["model_version"] = served.version
    expired_table = _without_forecasts(timelines, all_moments.take(expired), states.take(expired))
    expired_table["status"] = "expired"
    return ScoreTables(in_flight, _with_columns_of(in_flight, located), expired_table)


def _without_forecasts(timelines: Timelines, moments: AsOfPairs, states: States) -> pd.DataFrame:
    """Parcels without a forecast: which they are, what was received, and their promise."""
    columns = _identity(timelines, moments, states)
    columns["promised_on"] = _days(timelines.promised_on[moments.row])
    return pd.DataFrame(columns)


def _with_columns_of(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """``other`` with all columns of ``table``; those that it lacks are empty."""
    complete = table.head(0).reindex(other.index)
    complete[other.columns] = other
    complete["support_level"], complete["support_parcels"] = NOTHING, 0
    complete["flag_raised"] = False
    return complete.astype(table.dtypes)


def unseen_names(scored: ScoreTables, seen: SeenServices) -> Mapping[UnseenName, int]:
    """Carriers and services in flight that the model has not seen, with their parcels."""
    counts = Counter[UnseenName]()
    names = ["carrier", "service_level"]
    groups = scored.in_flight.groupby(names, dropna=False).size().reset_index(name="parcels")
    stated = groups[names].astype(object).where(groups[names].notna(), None)
    columns = (stated["carrier"], stated["service_level"], groups["parcels"])
    for carrier, service, parcels in zip(*columns, strict=True):
        for unseen in seen.unseen_names(carrier, service):
            counts[unseen] += int(parcels)
    return counts


def _in_flight_table(
    columns: AssessmentColumns, rows: NDArray[np.int64], model_version: str
) -> pd.DataFrame:
    """The columns of assessments under their names, for files."""
    timelines, forecasts = columns.timelines, columns.forecasts
    table = _identity(timelines, forecasts.moments, forecasts.states)
    table["earliest_on"] = _days(columns.earliest_on)
    table["latest_on"] = _days(columns.latest_on)
    table["coverage"] = columns.options.coverage
    table["estimated_on"] = _days(columns.estimated_on)
    table["timezone"] = forecasts.zone.texts()
    table["timezone_source"] = timelines.zone_source.take(rows).texts()
    table["promised_on"] = _days(columns.promised_on)
    table["on_time_probability"] = forecasts.on_time.round(6)
    table |= _delay(forecasts.delays)
    table["model_version"] = model_version
    table["support_level"] = forecasts.support_level
    table["support_parcels"] = forecasts.support_parcels
    return pd.DataFrame(table)


def _delay(delays: Delays) -> dict[str, Any]:
    """The columns of the delay, its flag and its evidence."""
    columns: dict[str, Any] = {}
    columns["delay_state"] = delays.state
    columns["flag_raised"] = delays.is_raised
    columns["first_flagged_at"] = pd.DatetimeIndex(delays.first_flagged_at, tz="UTC")
    columns["cleared_at"] = pd.DatetimeIndex(delays.cleared_at, tz="UTC")
    columns["delay_probability"] = delays.probability.round(6)
    columns["delay_reason"] = delays.reason_code
    columns["delay_party"] = delays.reason_party
    columns["evidence_kind"] = delays.evidence_kind
    columns["evidence_observed_hours"] = delays.observed_hours.round(3)
    columns["evidence_expected_p50_hours"] = _finite(delays.expected_p50_hours)
    columns["evidence_expected_upper_hours"] = _finite(delays.expected_upper_hours)
    return columns


def _identity(timelines: Timelines, moments: AsOfPairs, states: States) -> dict[str, Any]:
    """Which parcel a row is about, and what was received about it."""
    rows, as_of = moments.row, moments.as_of
    elapsed_hours = hours_between(states.ordered_at, as_of)
    scan_age_hours = hours_between(states.last_scan_at, as_of)
    columns: dict[str, Any] = {}
    columns["order_id"] = timelines.order_id[rows]
    columns["shipment_id"] = timelines.shipment_id[rows]
    for name in ("carrier", "service_level", "destination_region"):
        columns[name] = timelines.texts[name].take(rows).texts()
    columns["has_several_origins"] = timelines.has_several_origins[rows]
    columns["as_of"] = pd.DatetimeIndex(as_of, tz="UTC")
    columns["status"] = _labels(STATUSES)[states.status]
    columns["phase"] = _labels(PHASES)[states.phase]
    columns["elapsed_days"] = (elapsed_hours / 24.0).round(4)
    columns["last_scan_age_hours"] = scan_age_hours.round(3)
    return columns


def _labels(members: Sequence[Any]) -> NDArray[np.object_]:
    """The texts of an enumeration, by code."""
    return np.array([str(member) for member in members], dtype=object)


def _days(dates: Dates) -> pd.Series:
    """Dates that files hold as dates, without a time of day."""
    days = pd.array(dates.astype("datetime64[s]"))
    return pd.Series(days).astype(pd.ArrowDtype(pa.date32()))


def _finite(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same, NaN if infinite."""
    return np.where(np.isfinite(hours), hours, np.nan)
