"""Trains a model on what was received by a moment, checks it on earlier days, writes a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eta.calendars.local_time import local_date, midnight, to_instant
from eta.delays import DelayPolicy
from eta.domain.errors import NoTrainingData
from eta.evaluation.backtest import Progress, Refit, Replay, replay
from eta.evaluation.coverage import Row
from eta.evaluation.summary import summarise
from eta.evaluation.worker_processes import (
    SharedValue,
    StepCounter,
    Task,
    one_thread,
    run_tasks,
    share,
    step_counter,
)
from eta.forecast.base import ArrivalModel
from eta.forecast.baselines.lane_quantiles import LaneQuantiles
from eta.forecast.drift.tracker import DriftTracker, OpenParcelCache
from eta.forecast.handling_time import HandlingTimes
from eta.forecast.hazard.model import HazardModel
from eta.forecast.hazard.recalibration import CumulativeHazardInterval, recalibrate
from eta.forecast.order_dependence import ArrivalCorrelation
from eta.forecast.support import Support
from eta.journey.examples import Outcomes, examples
from eta.journey.place_effects import PlaceEffectHistory, PlaceEffects
from eta.journey.snapshots import PURCHASE, training_snapshots
from eta.journey.state import AsOfPairs, States, fold
from eta.journey.timelines import Timelines
from eta.model.bundle import to_files
from eta.model.fallback import save_fallback
from eta.model.registry import Registry
from eta.quality.assess import DataQuality
from eta.stage_durations import StageDurations

#: A version is checked on so many days, all of them at least that long before the end of its
#: training data, so that nearly all of the parcels have arrived and slow ones are not left out.
CHECK_DAYS = 28
_CHECKED_MOMENTS = ("purchase", "in_flight")
_SECONDS = ("fit_seconds", "predict_seconds")
_MODEL = "eta"

#: Steps of progress, and the one that checks.
_STEPS, _CHECK_STEP = 5, 4


def train_model(
    timelines: Timelines,
    registry: Registry,
    *,
    as_of: datetime,
    source: str,
    zone: str = "UTC",
    make: Callable[[], HazardModel],
    rivals: Mapping[str, Callable[[], ArrivalModel]],
    policy: DelayPolicy,
    is_simulated: bool = False,
    quality: DataQuality | None = None,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> str:
    """Trains on what was received by ``as_of`` (aware), writes a version and returns its name.

    The version's manifest holds ``quality``, if the data were assessed. The check counts days of
    ``zone``. Writes the fallback beside the versions. With ``jobs`` of 2
    or more the check against earlier days runs in a second process beside the final fit; the
    version is the same. A version of simulated data is marked, because its calendar is fixed.

    Raises:
        NoTrainingData: if no parcel had arrived by then.
    """
    recipe = _Recipe(make, rivals, policy.silence_level, zone)
    with one_thread():
        if jobs == 1:
            learned = _learn(timelines, as_of, recipe, progress)
            progress("checking against earlier days", _CHECK_STEP, _STEPS)
            parts = _Parts(learned, _check(timelines, as_of, recipe, progress))
        else:
            parts = _train_parts_in_processes(timelines, as_of, recipe, jobs, progress)
    data = {"source": source, "is_simulated": is_simulated}
    name = _save_version(registry, parts, timelines, as_of, data, policy, quality)
    save_fallback(registry, parts.learned.fallback)
    progress("trained", _STEPS, _STEPS)
    return name


class _Recipe(NamedTuple):
    """What is trained, and what it is checked against."""

    make: Callable[[], HazardModel]
    rivals: Mapping[str, Callable[[], ArrivalModel]]
    silence_level: float
    #: The zone of the source, whose days the check counts.
    zone: str


class _Learned(NamedTuple):
    """What a version learns from everything received, before the check against earlier days."""

    model: HazardModel
    stage_durations: StageDurations
    place_effects: PlaceEffects
    support: Support
    handling: HandlingTimes
    fallback: LaneQuantiles
    example_count: int


class _Checked(NamedTuple):
    """What the check against earlier days gives; without such days nothing to recalibrate with."""

    figures: dict[str, Any] | None = None
    issued: CumulativeHazardInterval | None = None
    arrival_correlation: ArrivalCorrelation = ArrivalCorrelation()


class _Parts(NamedTuple):
    learned: _Learned
    checked: _Checked


def _train_parts_in_processes(
    timelines: Timelines, as_of: datetime, recipe: _Recipe, jobs: int, progress: Progress
) -> _Parts:
    """Learns in one process and checks in another."""
    progress("fitting, and checking against earlier days", 0, _STEPS)

    def report(done: int) -> None:
        progress("fitting, and checking against earlier days", done, _STEPS)

    with share(timelines) as shared, step_counter(report) as counter:
        work = _Work(shared, counter, as_of, recipe)
        tasks = {"learned": Task(work.learn), "checked": Task(work.check)}
        return _Parts(**run_tasks(tasks, jobs))


@dataclass(frozen=True)
class _Work:
    """What the worker processes of a training do."""

    shared: SharedValue[Timelines]
    counter: StepCounter
    as_of: datetime
    recipe: _Recipe

    def learn(self) -> _Learned:
        """Learns from everything received."""

        def progress(_: str, done: int, __: int) -> None:
            self.counter.set(0, done)

        return _learn(self.shared.load(), self.as_of, self.recipe, progress)

    def check(self) -> _Checked:
        """Checks the recipe on earlier days."""
        checked = _check(self.shared.load(), self.as_of, self.recipe)
        self.counter.set(1, 1)
        return checked


def _learn(timelines: Timelines, as_of: datetime, recipe: _Recipe, progress: Progress) -> _Learned:
    instant = to_instant(as_of)
    progress("reading journeys", 0, _STEPS)
    states = fold(timelines, AsOfPairs.all_at(timelines, instant))
    _check_arrivals(states, as_of)
    outcomes = Outcomes(instant, states.arrived_at)
    training_examples = examples(training_snapshots(timelines, instant), outcomes)
    progress("fitting", 1, _STEPS)
    model = recipe.make().fit(training_examples)
    progress("estimating the drift of the last days", 2, _STEPS)
    if model.tracks_drift:
        tracker = DriftTracker(model, OpenParcelCache(timelines))
        model = model.with_drift(tracker.drift(outcomes))
    progress("fitting stage durations", 3, _STEPS)
    return _Learned(
        model,
        StageDurations.fit(timelines, states, instant, level=recipe.silence_level),
        PlaceEffectHistory.from_timelines(timelines).at(instant),
        Support.fit(training_examples),
        HandlingTimes.fit(timelines, states, instant, model.holidays),
        LaneQuantiles.fit(training_examples),
        len(training_examples),
    )


def _check_arrivals(states: States, as_of: datetime) -> None:
    """Refuses parcels of which none had arrived."""
    if np.isnat(states.arrived_at).all():
        raise NoTrainingData(
            f"none of {len(states.arrived_at):,} parcels had arrived by {as_of.isoformat()}, and a"
            " model learns from arrivals; give data with delivered parcels, or a later --as-of"
        )


def _save_version(
    registry: Registry,
    parts: _Parts,
    timelines: Timelines,
    as_of: datetime,
    data: Mapping[str, Any],
    policy: DelayPolicy,
    quality: DataQuality | None,
) -> str:
    """Recalibrates the model by the check and writes the version; ``data`` says what it is of."""
    learned, checked = parts
    model = learned.model
    if checked.issued is not None:
        model = recalibrate(model, checked.issued)
    metadata, files = to_files(
        model,
        learned.place_effects,
        learned.stage_durations,
        learned.support,
        learned.handling,
        checked.arrival_correlation,
    )
    metadata["data"] = {
        **data,
        "sha256": timelines.digest(to_instant(as_of)),
        "examples": learned.example_count,
    }
    metadata |= {"check": checked.figures, "silence_level": policy.silence_level}
    metadata["quality"] = quality and quality.to_json()
    return registry.save(metadata, files, as_of)


def _check(
    timelines: Timelines,
    as_of: datetime,
    recipe: _Recipe,
    progress: Progress = lambda *_: None,
) -> _Checked:
    """The recipe against simple rivals on earlier days, judged by what was received by ``as_of``.

    The arrival correlation of orders is learned on the same days; recalibration uses the forecasts
    of those days and of all later ones.
    """
    today = local_date(as_of, recipe.zone)
    first, after = today - timedelta(days=2 * CHECK_DAYS), today - timedelta(days=CHECK_DAYS)
    start, end, until = (midnight(day, recipe.zone) for day in (first, after, today))
    models: dict[str, Callable[[], ArrivalModel]] = {**recipe.rivals, _MODEL: recipe.make}
    try:
        replayed = replay(
            timelines,
            models,
            start=start,
            end=end,
            zone=recipe.zone,
            refit=Refit.NEVER,
            known_through=to_instant(as_of),
            forecast_until=until,
            warm_up_months=0,
            progress=_check_progress(progress),
        )
    except NoTrainingData:
        return _Checked()
    last_day = after - timedelta(days=1)
    figures = {"from": str(first), "to": str(last_day), **_check_figures(replayed)}
    return _Checked(figures, replayed.issued[_MODEL], _fit_correlation(timelines, replayed))


def _check_progress(progress: Progress) -> Progress:
    """The progress of the check, as one step of the training."""

    def report(description: str, _: int, __: int) -> None:
        progress(f"checking against earlier days, {description}", _CHECK_STEP, _STEPS)

    return report


def _check_figures(replayed: Replay) -> dict[str, list[Row]]:
    """Rows, differences and segments of the moments in the manifest."""
    summary = summarise(replayed, reference=_MODEL)
    figures = {
        part: [row for row in summary[part] if row["moment"] in _CHECKED_MOMENTS]
        for part in ("rows", "differences", "by_segment")
    }
    # Measured seconds would make two trainings on the same data differ.
    for row in figures["rows"]:
        for name in _SECONDS:
            del row[name]
    figures["by_segment"] = [row for row in figures["by_segment"] if row["model"] == _MODEL]
    return figures


def _fit_correlation(timelines: Timelines, replayed: Replay) -> ArrivalCorrelation:
    """The correlation of parcels bought on one local day for one destination, from their PIT.

    Of a range of PIT its middle counts.
    """
    is_purchase = replayed.judged["moment"].eq(PURCHASE).to_numpy()
    judged, forecasts = replayed.judged[is_purchase], replayed.forecasts[_MODEL][is_purchase]
    row = np.searchsorted(timelines.shipment_id, judged["shipment_id"].to_numpy(dtype=object))

    names = ("destination", "origin", "carrier")
    codes = {name: timelines.texts[name].codes[row].astype(np.int64) for name in names}
    day = judged["as_of_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    pit = forecasts[["pit_from", "pit_to"]].to_numpy(dtype=np.float64)
    place = _group_numbers(day, codes["destination"])
    sender = _group_numbers(codes["origin"], codes["carrier"])
    return ArrivalCorrelation.fit(pit.mean(axis=1), place, sender)


def _group_numbers(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each row's combination of values, (N,)."""
    _, numbers = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    return numbers
