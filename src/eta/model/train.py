"""Learns from what was known at a moment, checks itself on earlier days, and writes a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from eta.calendars.local_time import to_instant
from eta.delays import DelayPolicy
from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import Progress, Refit, Replay, replay
from eta.evaluation.summary import summarise
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.recalibration import CumulativeHazardInterval, recalibrate
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import Support
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import PlaceEffectHistory
from eta.journey.snapshots import PURCHASE, training_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import to_files
from eta.model.fallback import save_fallback
from eta.model.registry import Registry
from eta.stage_durations import StageDurations

#: A version is checked on the moments of so many days, all of them at least that long before it
#: learned, so that nearly all of the parcels have arrived and slow ones are not left out.
CHECK_DAYS = 28
_CHECKED_MOMENTS = ("purchase", "in_flight")
_TIMES = ("fit_seconds", "predict_seconds")


def train_model(
    timelines: Timelines,
    registry: Registry,
    *,
    as_of: datetime,
    source: str,
    make: Callable[[], HazardModel],
    rivals: Mapping[str, Callable[[], ArrivalModel]],
    policy: DelayPolicy,
    progress: Progress = lambda *_: None,
) -> str:
    """Trains on what was known at ``as_of`` (aware) and returns the name of the new version; the lane medians go beside it.

    Raises:
        NothingToLearn: if no parcel had arrived by then.
    """
    instant = to_instant(as_of)
    progress("reading journeys", 0, 5)
    states = fold(timelines, AsOfPairs.all_at(timelines, instant))
    outcomes = Outcomes(instant, states.arrived_at)
    training_examples = examples(training_snapshots(timelines, instant), outcomes)
    progress("fitting", 1, 5)
    model = make().fit(training_examples)
    progress("watching the last days", 2, 5)
    if model.tracks_drift:
        model = model.with_drift(DriftTracker(model, OpenParcelCache(timelines)).drift(outcomes))
    progress("learning what is usual", 3, 5)
    stage_durations = StageDurations.fit(timelines, states, instant, level=policy.silence_level)
    progress("checking against earlier days", 4, 5)
    check, issued, arrival_correlation = _check(timelines, as_of, make, rivals)
    if issued is not None:
        model = recalibrate(model, issued)
    place_effects = PlaceEffectHistory.from_timelines(timelines).at(instant)
    metadata, files = to_files(
        model,
        place_effects,
        stage_durations,
        Support.fit(training_examples),
        HandlingTimes.fit(timelines, states, instant, model.holidays),
        arrival_correlation,
    )
    metadata |= {
        "data": {
            "source": source,
            "sha256": timelines.digest(instant),
            "examples": len(training_examples),
        },
        "check": check,
        "silence_level": policy.silence_level,
    }
    name = registry.save(metadata, files, as_of)
    save_fallback(registry, LaneQuantiles.fit(training_examples))
    progress("trained", 5, 5)
    return name


def _check(
    timelines: Timelines,
    as_of: datetime,
    make: Callable[[], HazardModel],
    rivals: Mapping[str, Callable[[], ArrivalModel]],
) -> tuple[dict[str, Any] | None, CumulativeHazardInterval | None, ArrivalCorrelation]:
    """The new model's recipe against simple rivals, on days before ``as_of``, known by ``as_of``; None without such days.

    On the same days it learns how parcels for one place go together; on those and all later ones,
    what shape its laws should have had.
    """
    midnight = as_of.replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = midnight - timedelta(days=2 * CHECK_DAYS), midnight - timedelta(days=CHECK_DAYS)
    models: dict[str, Callable[[], ArrivalModel]] = {**rivals, "eta": make}
    try:
        replayed = replay(
            timelines,
            models,
            start=start,
            end=end,
            refit=Refit.NEVER,
            known_through=to_instant(as_of),
            forecast_until=midnight,
            warm_up_months=0,
        )
    except NoTrainingData:
        return None, None, ArrivalCorrelation()
    summary = summarise(replayed, reference="eta")
    figures = {
        part: [row for row in summary[part] if row["moment"] in _CHECKED_MOMENTS]
        for part in ("rows", "differences", "by_segment")
    }
    # Clock times would make two trainings on the same data differ.
    figures["rows"] = [
        {name: value for name, value in row.items() if name not in _TIMES}
        for row in figures["rows"]
    ]
    figures["by_segment"] = [row for row in figures["by_segment"] if row["model"] == "eta"]
    check = {"from": str(start.date()), "to": str(end.date() - timedelta(days=1)), **figures}
    return check, replayed.issued["eta"], _fit_correlation(timelines, replayed)


def _fit_correlation(timelines: Timelines, replayed: Replay) -> ArrivalCorrelation:
    """What the forecasts made at purchase tell of parcels bought on one local day for one destination; of a stretch of PIT the middle counts."""
    bought = replayed.judged["moment"].eq(PURCHASE).to_numpy()
    judged, forecasts = replayed.judged[bought], replayed.forecasts["eta"][bought]
    row = np.searchsorted(timelines.shipment_id, judged["shipment_id"].to_numpy(dtype=object))
    origin, carrier, destination = (
        timelines.texts[name].codes[row].astype(np.int64)
        for name in ("origin", "carrier", "destination")
    )
    day = judged["as_of_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    pit = forecasts[["pit_from", "pit_to"]].to_numpy(dtype=np.float64).mean(axis=1)
    place, sender = (
        np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1]
        for columns in ((day, destination), (origin, carrier))
    )
    return ArrivalCorrelation.fit(pit, place, sender)
