"""What came true of the shipments that a backtest judges, one row a moment."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, Dates, local_dates, wall_clock
from eta.calendars.places import place_name
from eta.domain.errors import NoTrainingData
from eta.journey.categories import Categorical, derive
from eta.journey.examples import Examples, Outcomes, examples
from eta.journey.snapshots import MOMENTS, Snapshots
from eta.journey.state import PHASES
from eta.journey.timelines import Timelines, promise_ends

#: Moments a week and phase whose curves are stored, to be compared with other curves.
SAMPLES_PER_STRATUM = 20

_ELAPSED_EDGES = (1.0, 3.0, 7.0, 14.0, 21.0, 30.0)
_WEIGHT_EDGES = (0.5, 2.0, 10.0)
_DISTANCE_EDGES = (250.0, 900.0)
_PROMISE_EDGES = (14.0, 20.0, 26.0, 32.0)
_HOUR = np.timedelta64(1, "h")


def outcome_table(
    timelines: Timelines, snapshots: Snapshots, outcomes: Outcomes, source_zone: Categorical
) -> pd.DataFrame:
    """What came true, one row a snapshot in their order, with the segments to judge them by."""
    truth = examples(snapshots, outcomes)
    if len(truth) != len(snapshots):
        raise NoTrainingData(
            "the days to replay reach beyond the end of the data; choose earlier days"
        )
    dates = _local_dates(timelines, snapshots, truth, outcomes)
    # The date of each moment in the zone of the source, (N,).
    codes = np.zeros(len(snapshots), dtype=np.int32)
    clock = wall_clock(snapshots.pairs.as_of, codes, source_zone.names)
    at_source = clock.astype("datetime64[D]")
    days_after_monday = (at_source.astype(np.int64) + 3) % 7
    week = (at_source - days_after_monday).astype(str)
    names = np.array([str(phase) for phase in PHASES], dtype=object)
    phase = names[snapshots.features.numbers["phase"].astype(np.int64)]
    rank = stable_random(snapshots).groupby([week, phase]).rank(method="first")
    columns: dict[str, Any] = {}
    columns["shipment_id"] = timelines.shipment_id[snapshots.pairs.row]
    columns["moment"] = pd.Categorical(snapshots.moment, categories=list(MOMENTS))
    columns["as_of"] = snapshots.pairs.as_of
    columns["as_of_on"] = dates.as_of_on
    columns["month"] = at_source.astype("datetime64[M]").astype(str)
    columns["week"] = week
    columns["is_sampled"] = rank.to_numpy() <= SAMPLES_PER_STRATUM
    columns |= _arrivals(timelines, snapshots, truth, outcomes, dates)
    columns["phase"] = phase
    columns |= _segments(timelines, snapshots)
    return pd.DataFrame(columns)


class _LocalDates(NamedTuple):
    """Dates at the destination, (N,): of the arrival, of the moment, and the promised one."""

    arrived_on: Dates
    as_of_on: Dates
    promised_on: Dates


def _local_dates(
    timelines: Timelines, snapshots: Snapshots, truth: Examples, outcomes: Outcomes
) -> _LocalDates:
    row = snapshots.pairs.row
    zone = timelines.zone.take(row)
    arrived_at = np.where(truth.event_observed, outcomes.arrived_at[row], np.datetime64("NaT"))
    return _LocalDates(
        arrived_on=local_dates(arrived_at, zone.codes, zone.names),
        as_of_on=local_dates(snapshots.pairs.as_of, zone.codes, zone.names),
        promised_on=timelines.promised_on[row],
    )


def _arrivals(
    timelines: Timelines,
    snapshots: Snapshots,
    truth: Examples,
    outcomes: Outcomes,
    dates: _LocalDates,
) -> dict[str, NDArray[Any]]:
    """Whether and when each parcel arrived, its promise, and whether it was late.

    NaN if that is unknown.
    """
    as_of, promised_on = snapshots.pairs.as_of, dates.promised_on
    can_be_late = truth.event_observed & ~np.isnat(promised_on)
    is_late = np.where(can_be_late, dates.arrived_on > promised_on, np.nan)
    promise_end = promise_ends(timelines, snapshots.pairs.row)
    columns: dict[str, NDArray[Any]] = {}
    columns["arrived"] = truth.event_observed
    columns["hours"] = np.where(truth.event_observed, truth.duration_hours, np.inf)
    columns["limit_hours"] = (outcomes.known_through - as_of) / _HOUR
    columns["arrived_on"] = dates.arrived_on
    columns["is_late"] = is_late.astype(np.float64)
    columns["is_promise_open"] = promise_end > as_of
    columns["promise_hours"] = (promise_end - as_of) / _HOUR
    columns["promised_days"] = (promised_on - dates.as_of_on) / DAY
    return columns


def _segments(timelines: Timelines, snapshots: Snapshots) -> dict[str, NDArray[Any]]:
    """Carrier, regions, and bands of elapsed time, weight, distance and promise."""
    row, numbers = snapshots.pairs.row, snapshots.features.numbers
    promise_end = promise_ends(timelines, row)
    days_to_promise = (promise_end - snapshots.pairs.as_of) / DAY
    columns: dict[str, NDArray[Any]] = {}
    columns["elapsed_band"] = _bands(numbers["order_elapsed_days"], _ELAPSED_EDGES, "d")
    columns["carrier"] = snapshots.features.categoricals["carrier"].texts()
    columns["service_level"] = timelines.texts["service_level"].take(row).texts()
    for end in ("origin", "destination"):
        columns[f"{end}_region"] = _regions(timelines, end, row)
    columns["weight_band"] = _bands(numbers["weight_kg"], _WEIGHT_EDGES, "kg")
    columns["distance_band"] = _bands(numbers["distance_km"], _DISTANCE_EDGES, "km")
    columns["promise_bucket"] = _bands(days_to_promise, _PROMISE_EDGES, "d")
    return columns


def _regions(timelines: Timelines, end: str, row: NDArray[np.int64]) -> NDArray[np.object_]:
    """Regions with their country, as "AT-9", since countries share the codes of regions."""
    sources = [timelines.texts[f"{end}_{part}"].take(row) for part in ("country", "region")]
    return derive(sources, _region, [end])[end].texts()


def _region(country: str | None, region: str | None) -> tuple[str | None]:
    """The name of a region; the region as it is if its country is unknown."""
    return (place_name(country, region) or region if region else None,)


def stable_random(snapshots: Snapshots) -> pd.Series:
    """A pseudo-random number for each snapshot, from its parcel and moment alone."""
    codes = pd.Categorical(snapshots.moment, categories=list(MOMENTS)).codes
    seed = snapshots.parcel + codes.astype(np.uint64)
    return pd.Series(seed * np.uint64(0x9E3779B97F4A7C15))


def _bands(
    values: NDArray[np.floating], edges: tuple[float, ...], unit: str
) -> NDArray[np.object_]:
    """The name of the band between ``edges`` that each value is in, (N,); None for NaN."""
    between = [f"{low:g}-{high:g} {unit}" for low, high in pairwise(edges)]
    below, above = f"<{edges[0]:g} {unit}", f">={edges[-1]:g} {unit}"
    names = [below, *between, above, None]
    band = np.digitize(np.nan_to_num(values), edges)
    band[np.isnan(values)] = len(names) - 1
    return np.array(names, dtype=object)[band]
