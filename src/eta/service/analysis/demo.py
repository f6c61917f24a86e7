"""The product in a minute, on simulated parcels: learn, replay a week, and look at parcels on their way."""

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
from eta.service.analysis.backtest import backtest_models, oracle_sources, scan_conditional_source
from eta.service.analysis.simulate_data import is_simulated, simulate_data
from eta.service.scoring.open_forecasts import forecast_open
from eta.service.scoring.score_dataset import score_dataset
from eta.simulation.scenario import Scenario

SHIPMENTS = 20_000

#: The demo trains as of this day of the scenario, replays the week before it and scores the parcels
#: then in flight.
DAY = 330
WEEK = 7

#: Local days for which a parcel's chances are drawn, and flags of which one parcel each is shown.
CHART_DAYS = 14
CHART_PARCELS = 120
EXAMPLE_STATES = ("on_track", "at_risk", "predicted_late", "stalled", "overdue")


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demo has to show."""

    version: str
    as_of: datetime
    backtest: Mapping[str, Any]
    in_flight: pd.DataFrame
    expired: pd.DataFrame
    #: One row of ``in_flight`` for each flag that occurs, with the chance of arrival on each of
    #: ``CHART_DAYS`` local days.
    examples: list[tuple[pd.Series, NDArray[np.float64]]]
    #: Ranges said at purchase and what came true, for a picture.
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
    """Runs the main job on simulated parcels in ``folder``, made if they are not there, and promotes the model.

    Raises:
        SourceRejected: if the folder holds anything else.
    """
    if not is_simulated(folder, scenario, SHIPMENTS):
        if folder.exists() and any(folder.iterdir()):
            raise SourceRejected(f"{folder} holds something else; name a new folder with --data")
        simulate_data(folder, scenario, shipments=SHIPMENTS, progress=progress)
    dataset = read(folder)
    timelines = Timelines.from_frames(dataset.shipments, dataset.events)
    as_of = midnight(scenario.first_day.isoformat(), dataset.zone) + timedelta(days=DAY)
    policy = DelayPolicy()
    version = train_model(
        timelines,
        registry,
        as_of=as_of,
        source=dataset.source,
        make=make,
        rivals={},
        policy=policy,
        progress=progress,
    )
    registry.promote(version)
    backtest = backtest_models(
        timelines,
        models,
        source=dataset.source,
        start=as_of - timedelta(days=WEEK),
        end=as_of,
        last_day=str((as_of - timedelta(days=1)).date()),
        refit=Refit.NEVER,
        curve_sources=oracle_sources(folder, timelines),
        scan_conditional_curve=scan_conditional_source(folder, timelines),
        warm_up_months=0,
        progress=progress,
    )
    served = ModelBundle.from_version(registry.load(version), make, PUBLIC_HOLIDAYS)
    scored = score_dataset(timelines, served, to_instant(as_of), policy=policy)
    return Demo(
        version,
        as_of,
        backtest,
        scored.in_flight,
        scored.expired,
        _examples(timelines, served, to_instant(as_of), scored.in_flight, policy),
        _chart_data(timelines, served, as_of),
    )


def _chart_data(timelines: Timelines, served: ModelBundle, as_of: datetime) -> pd.DataFrame:
    """The first parcels bought after the model had learned: nothing of them was known to it."""
    start = to_instant(as_of)
    snapshots = evaluation_snapshots(timelines, start, start + 2 * ONE_DAY)
    bought = examples(
        snapshots.take(np.flatnonzero(snapshots.moment == PURCHASE)),
        Outcomes.at(timelines, timelines.received_at.max()),
    )
    bought = bought.take(np.flatnonzero(bought.event_observed)[:CHART_PARCELS])
    curves = served.model.predict_curves(bought.features)
    days = {
        name: curves.quantile(level) / 24.0
        for name, level in (("low", 0.1), ("median", 0.5), ("high", 0.9))
    }
    return pd.DataFrame({**days, "came_true": bought.duration_hours / 24.0})


def _examples(
    timelines: Timelines,
    served: ModelBundle,
    as_of: np.datetime64,
    in_flight: pd.DataFrame,
    policy: DelayPolicy,
) -> list[tuple[pd.Series, NDArray[np.float64]]]:
    chosen = [
        in_flight.index[in_flight["delay_state"].eq(state)][0]
        for state in EXAMPLE_STATES
        if in_flight["delay_state"].eq(state).any()
    ]
    rows = np.searchsorted(
        timelines.shipment_id, in_flight.loc[chosen, "shipment_id"].to_numpy(dtype=object)
    )
    moments = AsOfPairs(rows, np.full(len(rows), as_of, dtype="datetime64[us]"))
    forecasts = forecast_open(timelines, served, moments, fold(timelines, moments), policy)
    today = local_dates(moments.as_of, forecasts.zone.codes, forecasts.zone.names)
    by_day = [
        cdf_at_instant(
            forecasts.curves,
            moments.as_of,
            day_ends(today + day, forecasts.zone.codes, forecasts.zone.names),
        )
        for day in range(CHART_DAYS)
    ]
    probabilities = np.diff(np.column_stack(by_day), axis=1, prepend=0.0)
    return [(in_flight.loc[row], probabilities[number]) for number, row in enumerate(chosen)]
