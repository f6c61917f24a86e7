"""Replays past days with what had been received by then: fit, forecast, wait, judge.

A model is refitted at each forecast origin on what had been received by then, and forecasts every
moment until the next one. Models that are cheap to fit are refitted every midnight. Models that
track drift estimate it every midnight. Models with recalibration use at each origin the forecasts
that were made before it. What came true is looked up at the end of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import local_date, local_dates, to_instant
from eta.domain.errors import NoTrainingData
from eta.evaluation.model_run import CurveSource, Fit, ModelRun, fit_model, forecast_moments
from eta.evaluation.replay_data import ReplayData, ReplayDays, prepare
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
from eta.forecast.drift.tracker import OpenParcelCache
from eta.forecast.hazard.recalibration import (
    CumulativeHazardInterval,
    SupportsRecalibration,
    recalibrate,
)
from eta.journey.examples import Outcomes
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.promise import PromisePolicy

#: Called with the current activity, the steps done and the total number of steps.
Progress = Callable[[str, int, int], None]

#: Full months replayed before the first judged day, so that promises on that day can be chosen from
#: past forecasts.
WARM_UP_MONTHS = 3


class Refit(StrEnum):
    """How often models that are not refitted daily are refitted."""

    MONTH = "month"
    WEEK = "week"
    NEVER = "never"


@dataclass(frozen=True, eq=False)
class Replay:
    """What was forecast and what came true.

    ``judged`` has one row a snapshot, ``forecasts`` the same rows by model.
    """

    judged: pd.DataFrame
    forecasts: dict[str, pd.DataFrame]
    fit_seconds: dict[str, float]
    predict_seconds: dict[str, float]
    #: What became of the forecasts, by model; only models that support recalibration.
    issued: dict[str, CumulativeHazardInterval]
    #: The promise policy of each model on the last day; None without earlier forecasts.
    policies: dict[str, PromisePolicy | None]


#: The fit of each model, by its name, at each forecast origin.
_Fits = Mapping[str, Sequence[Fit]]


def replay(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    start: datetime,
    end: datetime,
    zone: str = "UTC",
    refit: Refit,
    known_through: np.datetime64 | None = None,
    forecast_until: datetime | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    curve_sources: Mapping[str, CurveSource] = MappingProxyType({}),
    promise: PromisePolicy | float | None = None,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Forecasts of every model at every moment with ``start <= as_of < end``, aware midnights.

    Days and months are those of ``zone``. What came true is what was received by ``known_through``,
    by default by the end of the data. The months of warm-up before ``start`` are forecast too, to
    choose promises on them. They are not judged. Neither are the days from ``end`` until
    ``forecast_until``, which only recalibration uses. ``curve_sources`` are judged beside the
    models and never fitted.

    ``promise`` chooses the day that each model would have promised to orders: a policy, or an
    on-time rate. With a rate, promises have the least expected cost, where a late parcel costs so
    much that orders of the last ``PROMISE_SAMPLE_DAYS`` would have reached the rate; orders that
    never arrive count as late.

    ``jobs`` processes share the models and the fits. Results do not depend on their number.

    Raises:
        NoTrainingData: if no parcel had arrived before ``start``, or no moment falls within the
            days.
    """
    runs = {name: ModelRun(make, refits_daily=make().refits_daily) for name, make in models.items()}
    runs |= {name: ModelRun(None, curve_source) for name, curve_source in curve_sources.items()}
    first, after = local_date(start, zone), local_date(end, zone)
    warm_up_start = _first_of_month(first, -warm_up_months) if warm_up_months else None
    until = local_date(forecast_until or end, zone)
    periods = _periods(warm_up_start, first, after, until, refit)
    with one_thread():
        data = prepare(timelines, ReplayDays(first, after, periods, zone), known_through)
        if jobs == 1:
            _replay_days(data, runs, promise, progress=progress)
        else:
            runs = _replay_in_processes(data, runs, promise, jobs, progress)
        progress("replayed", data.day_count(), data.day_count())
        return _result(data, runs)


def _replay_days(
    data: ReplayData,
    runs: Mapping[str, ModelRun],
    promise: PromisePolicy | float | None,
    *,
    fits: _Fits | None = None,
    progress: Progress,
) -> None:
    """Takes models through all days in turn, with ``fits`` if they were made before."""
    open_parcels = OpenParcelCache(data.timelines)
    total, done = data.day_count(), 0
    for number, days in enumerate(data.periods):
        outcomes = data.outcomes_at(days[0])
        for name, run in runs.items():
            if fits is not None and name in fits:
                run.use_fit(fits[name][number])
            elif not run.refits_daily:
                progress(f"{days[0]}: fitting {name}", done, total)
                run.fit(data.training, outcomes)
            if isinstance(run.fitted, SupportsRecalibration):
                intervals = run.issued_intervals(data.snapshots, outcomes)
                run.fitted = recalibrate(run.fitted, intervals)
        for day, rows in zip(days, data.rows_by_day(days), strict=True):
            progress(f"{day}: replaying", done, total)
            outcomes = data.outcomes_at(day)
            for run in runs.values():
                _replay_day(run, data, open_parcels, outcomes, rows, promise)
            done += 1


def _replay_day(
    run: ModelRun,
    data: ReplayData,
    open_parcels: OpenParcelCache,
    outcomes: Outcomes,
    rows: NDArray[np.int64],
    promise: PromisePolicy | float | None,
) -> None:
    """Brings a model up to a midnight and forecasts the moments ``rows`` of that day."""
    if run.refits_daily:
        run.fit(data.purchases, outcomes)
    run.track_drift(open_parcels, outcomes)
    run.choose_policy(promise, outcomes.known_through)
    forecast_moments(
        run, data.timelines, data.snapshots, data.judged, rows, data.is_for_recalibration
    )


def _replay_in_processes(
    data: ReplayData,
    runs: Mapping[str, ModelRun],
    promise: PromisePolicy | float | None,
    jobs: int,
    progress: Progress,
) -> dict[str, ModelRun]:
    """Replays each model in a process; fits at different forecast origins run at the same time.

    A model that is fitted at forecast origins needs all its fits before it goes through the days:
    each recalibration uses the forecasts of the days before it.
    """
    total = data.day_count() * len(runs)

    def report(done: int) -> None:
        progress(f"replaying in {jobs} processes", done, total)

    origins = range(len(data.periods))
    fitted = [name for name, run in runs.items() if run.make and not run.refits_daily]
    numbers = {name: number for number, name in enumerate(runs)}
    with share(data) as shared, step_counter(report) as counter:
        work = _Work(shared, counter, promise)

        tasks: dict[str | tuple[str, int], Task] = {}
        for name in fitted:
            for origin in origins:
                tasks[name, origin] = Task(work.fit_at_origin, runs[name].make, origin)
        for name, run in runs.items():
            if name not in fitted:
                tasks[name] = Task(work.replay, numbers[name], run, None)
        results = run_tasks(tasks, jobs)
        replay_tasks: dict[str | tuple[str, int], Task] = {}
        for name in fitted:
            fits = [results[name, origin] for origin in origins]
            replay_tasks[name] = Task(work.replay, numbers[name], runs[name], fits)
        results |= run_tasks(replay_tasks, jobs)
    return {name: results[name] for name in runs}


@dataclass(frozen=True)
class _Work:
    """What a worker process does with the data of a replay."""

    shared: SharedValue[ReplayData]
    counter: StepCounter
    promise: PromisePolicy | float | None

    def fit_at_origin(self, make: Callable[[], ArrivalModel], number: int) -> Fit:
        """Fits a model at one forecast origin."""
        data = self.shared.load()
        origin = data.periods[number][0]
        return fit_model(make, data.training, data.outcomes_at(origin))

    def replay(self, number: int, run: ModelRun, fits: Sequence[Fit] | None) -> ModelRun:
        """Takes the model with this number through all days."""
        data = self.shared.load()
        name = str(number)

        def progress(_: str, done: int, __: int) -> None:
            self.counter.set(number, done)

        fits_by_name = None if fits is None else {name: fits}
        _replay_days(data, {name: run}, self.promise, fits=fits_by_name, progress=progress)
        self.counter.set(number, data.day_count())
        # The caller needs neither the recipe nor the parcels that drift was learned from.
        return replace(run, make=None, curve_source=None, drift_tracker=None)


def _result(data: ReplayData, runs: Mapping[str, ModelRun]) -> Replay:
    is_judged = data.judged["is_judged"].to_numpy()
    judged = data.judged[is_judged].drop(columns="is_judged")
    result = Replay(judged.reset_index(drop=True), {}, {}, {}, {}, {})
    # A model that could never be fitted has the columns of another one, without figures.
    columns = next((list(run.forecasts) for run in runs.values() if run.forecasts), None)
    missing = np.full(len(data.judged), np.nan)
    if columns is None:
        raise NoTrainingData(
            "no model had a parcel to learn from on these days; start the replay later"
        )
    for name, run in runs.items():
        forecasts = pd.DataFrame(run.forecasts or dict.fromkeys(columns, missing))[is_judged]
        result.forecasts[name] = forecasts.reset_index(drop=True)
        result.fit_seconds[name] = run.fit_seconds
        result.predict_seconds[name] = run.predict_seconds
        result.policies[name] = run.policy
        if isinstance(run.fitted, SupportsRecalibration):
            result.issued[name] = run.issued_intervals(data.snapshots, data.final_outcomes)
    return result


def merchant_on_time_rate(timelines: Timelines, start: datetime, end: datetime) -> float | None:
    """The share of delivered orders with ``start <= ordered < end`` (aware) that were on time.

    Arrivals are those received by the end of the data. None if no order had a promise.
    """
    states = fold(timelines, AsOfPairs.all_at(timelines, timelines.received_at.max()))
    arrived_on = local_dates(states.arrived_at, timelines.zone.codes, timelines.zone.names)
    is_ordered = (states.ordered_at >= to_instant(start)) & (states.ordered_at < to_instant(end))
    has_dates = ~np.isnat(arrived_on) & ~np.isnat(timelines.promised_on)
    is_judged = is_ordered & has_dates
    if not is_judged.any():
        return None
    is_on_time = arrived_on <= timelines.promised_on
    return float(is_on_time[is_judged].mean())


def _periods(
    warm_up_start: date | None,
    start: date,
    end: date,
    forecast_until: date,
    refit: Refit,
) -> list[list[date]]:
    """The days from each forecast origin to the next one; the warm-up is the first period."""
    origins = [] if warm_up_start is None else [warm_up_start]
    origin = start
    while origin < end:
        origins.append(origin)
        if refit is Refit.NEVER:
            break
        is_weekly = refit is Refit.WEEK
        origin = origin + timedelta(days=7) if is_weekly else _first_of_month(origin, 1)
    periods = []
    for first_day, next_origin in pairwise([*origins, forecast_until]):
        count = (next_origin - first_day).days
        periods.append([first_day + timedelta(days=number) for number in range(count)])
    return periods


def _first_of_month(day: date, months_later: int) -> date:
    month = day.year * 12 + day.month - 1 + months_later
    return day.replace(year=month // 12, month=month % 12 + 1, day=1)
