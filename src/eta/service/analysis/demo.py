"""The demo: trains on simulated parcels, replays a week and scores parcels in flight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.holidays import PUBLIC_HOLIDAYS
from eta.calendars.local_time import DAY as ONE_DAY
from eta.calendars.local_time import day_ends, local_dates, midnight, to_instant
from eta.datasets.base import Dataset
from eta.delays import DelayPolicy
from eta.domain.errors import SourceRejected
from eta.evaluation.backtest import Progress, Refit
from eta.forecast.base import ArrivalModel
from eta.forecast.hazard.model import HazardModel
from eta.journey.examples import Outcomes, examples
from eta.journey.snapshots import PURCHASE, evaluation_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.local_dates import cdf_at_instant
from eta.model.bundle import ModelBundle
from eta.model.registry import Registry
from eta.model.train import train_model
from eta.quality.assess import assess_quality
from eta.quality.findings import QualityThresholds
from eta.service.analysis.backtest import backtest_models, oracle_sources, scan_conditional_source
from eta.service.analysis.simulate_data import is_simulated, simulate_data
from eta.service.scoring.open_forecasts import forecast_open
from eta.service.scoring.score_dataset import ScoreTables, score_dataset
from eta.simulation.scenario import Scenario

SHIPMENTS = 20_000

#: The demo trains as of this day of the scenario, replays the week before it and scores the parcels
#: then in flight.
DAY = 330
WEEK = 7

#: Local days whose probabilities are drawn, and delay states of which one parcel each is shown.
CHART_DAYS = 14
CHART_PARCELS = 120
EXAMPLE_STATES = ("on_track", "at_risk", "predicted_late", "stalled", "overdue")


@dataclass(frozen=True, eq=False)
class Demo:
    """The results of the demo."""

    version: str
    as_of: datetime
    backtest: Mapping[str, Any]
    scored: ScoreTables
    #: One row of ``scored.in_flight`` for each delay state that occurs, with the probability of
    #: arrival on each of ``CHART_DAYS`` local days.
    examples: list[tuple[pd.Series, NDArray[np.float64]]]
    #: Ranges forecast at purchase and what came true, for a plot.
    chart_data: pd.DataFrame


def run_demo(
    folder: Path,
    registry: Registry,
    *,
    scenario: Scenario,
    read: Callable[[Path], Dataset],
    models: Mapping[str, Callable[[], ArrivalModel]],
    make: Callable[..., HazardModel],
    progress: Progress,
) -> Demo:
    """Trains, replays and scores simulated parcels in ``folder``; promotes the model.

    The parcels are simulated if the folder is empty.

    Raises:
        SourceRejected: if the folder holds anything else.
    """
    _ensure_data(folder, scenario, progress)
    dataset = read(folder)
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    as_of = midnight(scenario.first_day + timedelta(days=DAY), dataset.zone)
    policy = DelayPolicy()
    version = train_model(
        timelines,
        registry,
        as_of=as_of,
        source=dataset.source,
        make=make,
        rivals={},
        policy=policy,
        is_simulated=True,
        quality=assess_quality(dataset, timelines, as_of, QualityThresholds()),
        progress=progress,
    )
    registry.promote(version)
    backtest = _backtest_week(folder, timelines, models, dataset.source, as_of, progress)
    served = ModelBundle.from_version(registry.load(version), make, PUBLIC_HOLIDAYS)
    instant = to_instant(as_of)
    scored = score_dataset(timelines, served, instant, policy=policy)
    return Demo(
        version=version,
        as_of=as_of,
        backtest=backtest,
        scored=scored,
        examples=_examples(timelines, served, instant, scored.in_flight, policy),
        chart_data=_chart_data(timelines, served, as_of),
    )


def _ensure_data(folder: Path, scenario: Scenario, progress: Progress) -> None:
    """Simulates the parcels if they are not there."""
    if is_simulated(folder, scenario, SHIPMENTS):
        return
    if folder.exists() and any(folder.iterdir()):
        raise SourceRejected(f"{folder} holds something else; name a new folder with --data")
    simulate_data(folder, scenario, shipments=SHIPMENTS, progress=progress)


def _backtest_week(
    folder: Path,
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    source: str,
    as_of: datetime,
    progress: Progress,
) -> dict[str, Any]:
    """The figures of the week before ``as_of``."""
    return backtest_models(
        timelines,
        models,
        source=source,
        start=as_of - timedelta(days=WEEK),
        end=as_of,
        refit=Refit.NEVER,
        curve_sources=oracle_sources(folder, timelines),
        scan_conditional_curve=scan_conditional_source(folder, timelines),
        warm_up_months=0,
        progress=progress,
    )


def _chart_data(timelines: Timelines, served: ModelBundle, as_of: datetime) -> pd.DataFrame:
    """Forecasts of the first parcels bought after the training data end, and what came true."""
    start = to_instant(as_of)
    snapshots = evaluation_snapshots(timelines, start, start + 2 * ONE_DAY)
    purchases = snapshots.take(np.flatnonzero(snapshots.moment == PURCHASE))
    outcomes = Outcomes.at(timelines, timelines.received_at.max())
    bought = examples(purchases, outcomes)
    bought = bought.take(np.flatnonzero(bought.event_observed)[:CHART_PARCELS])
    curves = served.model.predict_curves(bought.features)
    levels = {"low": 0.1, "median": 0.5, "high": 0.9}
    days = {name: curves.quantile(level) / 24.0 for name, level in levels.items()}
    return pd.DataFrame({**days, "came_true": bought.duration_hours / 24.0})


def _examples(
    timelines: Timelines,
    served: ModelBundle,
    as_of: np.datetime64,
    in_flight: pd.DataFrame,
    policy: DelayPolicy,
) -> list[tuple[pd.Series, NDArray[np.float64]]]:
    """The first parcel in each delay state, and its probability of arrival on each day."""
    states = in_flight["delay_state"]
    chosen = [
        in_flight.index[states.eq(state)][0] for state in EXAMPLE_STATES if states.eq(state).any()
    ]
    shipment_id = in_flight.loc[chosen, "shipment_id"].to_numpy(dtype=object)
    rows = np.searchsorted(timelines.shipment_id, shipment_id)
    moments = AsOfPairs(rows, np.full(len(rows), as_of, dtype="datetime64[us]"))
    forecasts = forecast_open(timelines, served, moments, fold(timelines, moments), policy)
    zone = forecasts.zone
    today = local_dates(moments.as_of, zone.codes, zone.names)
    cdf_by_day = []
    for day in range(CHART_DAYS):
        end = day_ends(today + day, zone.codes, zone.names)
        cdf_by_day.append(cdf_at_instant(forecasts.curves, moments.as_of, end))
    probabilities = np.diff(np.column_stack(cdf_by_day), axis=1, prepend=0.0)
    return [(in_flight.loc[row], probabilities[number]) for number, row in enumerate(chosen)]
