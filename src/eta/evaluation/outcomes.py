"""What came true of the shipments that a backtest judges, one row a moment."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import DAY, Dates, local_dates, wall_clock
from eta.domain.errors import NoTrainingData
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes, examples
from eta.journey.snapshots import MOMENTS, Snapshots
from eta.journey.state import PHASES
from eta.journey.timelines import Timelines, promise_ends

#: Moments a week and phase of which the curves themselves are kept, to be compared with other laws.
SAMPLES_PER_STRATUM = 20


def outcome_table(
    timelines: Timelines, snapshots: Snapshots, outcomes: Outcomes, source_zone: Categorical
) -> pd.DataFrame:
    """What came true, one row a snapshot in their order, with the segments to judge them by."""
    row, as_of = snapshots.pairs.row, snapshots.pairs.as_of
    zone = timelines.zone.take(row)
    truth = examples(snapshots, outcomes)
    if len(truth) != len(snapshots):
        raise NoTrainingData("the days to replay reach beyond the end of the data")
    arrived_at = np.where(truth.event_observed, outcomes.arrived_at[row], np.datetime64("NaT"))
    arrived_on, as_of_on = (
        local_dates(arrived_at, zone.codes, zone.names),
        local_dates(as_of, zone.codes, zone.names),
    )
    promised_on, promise_end = timelines.promised_on[row], promise_ends(timelines, row)
    at_source = wall_clock(as_of, np.zeros(len(as_of), dtype=np.int32), source_zone.names).astype(
        "datetime64[D]"
    )
    can_be_late = truth.event_observed & ~np.isnat(promised_on)
    numbers, labels = snapshots.features.numbers, snapshots.features.categoricals
    week = _mondays(at_source).astype(str)
    phase = np.array([str(phase) for phase in PHASES], dtype=object)[
        numbers["phase"].astype(np.int64)
    ]
    return pd.DataFrame(
        {
            "shipment_id": timelines.shipment_id[row],
            "moment": pd.Categorical(snapshots.moment, categories=list(MOMENTS)),
            "as_of": as_of,
            "as_of_on": as_of_on,
            "month": at_source.astype("datetime64[M]").astype(str),
            "week": week,
            "is_sampled": stable_random(snapshots)
            .groupby([week, phase])
            .rank(method="first")
            .to_numpy()
            <= SAMPLES_PER_STRATUM,
            "arrived": truth.event_observed,
            "hours": np.where(truth.event_observed, truth.duration_hours, np.inf),
            "limit_hours": (outcomes.known_through - as_of) / np.timedelta64(1, "h"),
            "arrived_on": arrived_on,
            "is_late": np.where(can_be_late, arrived_on > promised_on, np.nan).astype(np.float64),
            "is_promise_open": promise_end > as_of,
            "promise_hours": (promise_end - as_of) / np.timedelta64(1, "h"),
            "promised_days": (promised_on - as_of_on) / DAY,
            "phase": phase,
            "elapsed_band": _bands(
                numbers["order_elapsed_days"], (1.0, 3.0, 7.0, 14.0, 21.0, 30.0), "d"
            ),
            "carrier": labels["carrier"].texts(),
            "service_level": timelines.texts["service_level"].take(row).texts(),
            "origin_region": timelines.texts["origin_region"].take(row).texts(),
            "destination_region": timelines.texts["destination_region"].take(row).texts(),
            "weight_band": _bands(numbers["weight_kg"], (0.5, 2.0, 10.0), "kg"),
            "distance_band": _bands(numbers["distance_km"], (250.0, 900.0), "km"),
            "promise_bucket": _bands((promise_end - as_of) / DAY, (14.0, 20.0, 26.0, 32.0), "d"),
        }
    )


def stable_random(snapshots: Snapshots) -> pd.Series:
    """A number for each snapshot that has nothing to do with it, the same in any company."""
    moment = pd.Categorical(snapshots.moment, categories=list(MOMENTS)).codes.astype(np.uint64)
    return pd.Series((snapshots.parcel + moment) * np.uint64(0x9E3779B97F4A7C15))


def _mondays(dates: Dates) -> Dates:
    """The first day of each date's week."""
    return dates - (dates.astype(np.int64) + 3) % 7


def _bands(
    values: NDArray[np.floating], edges: tuple[float, ...], unit: str
) -> NDArray[np.object_]:
    names = [
        f"<{edges[0]:g} {unit}",
        *(f"{low:g}-{high:g} {unit}" for low, high in pairwise(edges)),
        f">={edges[-1]:g} {unit}",
        None,
    ]
    band = np.where(np.isnan(values), len(edges) + 1, np.digitize(np.nan_to_num(values), edges))
    return np.array(names, dtype=object)[band]
