"""Replays past days as they were known: fit, forecast, wait, judge.

A model is refitted at each origin on what was known then, and forecasts every moment until the next
one. Models whose fit costs next to nothing are refitted every midnight; those that follow the
network's drift learn it anew every midnight, and those that calibrate learn at each origin from the
forecasts that were made before it. What came true is looked up at the end of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eta.calendars.local_time import local_dates, to_instant
from eta.domain.errors import NoTrainingData
from eta.evaluation.model_run import CurveSource, ModelRun, forecast_moments
from eta.evaluation.outcomes import outcome_table, stable_random
from eta.forecast.base import ArrivalModel
from eta.forecast.drift.tracker import OpenParcelCache
from eta.forecast.hazard.recalibration import (
    CumulativeHazardInterval,
    SupportsRecalibration,
    recalibrate,
    stages,
)
from eta.journey.categories import Categorical
from eta.journey.examples import Outcomes
from eta.journey.snapshots import PURCHASE, Snapshots, evaluation_snapshots, training_snapshots
from eta.journey.state import AsOfPairs, fold
from eta.journey.timelines import Timelines
from eta.promise import PromisePolicy

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

#: Moments a month and stage from which a model learns how wide its laws should have been.
MAX_RECALIBRATION_MOMENTS = 20_000

#: Full months replayed before the first judged day, so that promises are chosen on the past from
#: the first day on.
WARM_UP_MONTHS = 3


class Refit(StrEnum):
    """How often a model that costs something to fit is refitted."""

    MONTH = "month"
    WEEK = "week"
    NEVER = "never"


@dataclass(frozen=True, eq=False)
class Replay:
    """What was forecast and what came true: ``judged`` has one row a snapshot, ``forecasts`` the same rows by model."""

    judged: pd.DataFrame
    forecasts: dict[str, pd.DataFrame]
    fit_seconds: dict[str, float]
    predict_seconds: dict[str, float]
    #: What became, by the end, of the forecasts that models which can be recalibrated issued.
    issued: dict[str, CumulativeHazardInterval]
    #: How each model would have promised on the last day; None without a past.
    policies: dict[str, PromisePolicy | None]


def replay(
    timelines: Timelines,
    models: Mapping[str, Callable[[], ArrivalModel]],
    *,
    start: datetime,
    end: datetime,
    refit: Refit,
    known_through: np.datetime64 | None = None,
    forecast_until: datetime | None = None,
    warm_up_months: int = WARM_UP_MONTHS,
    curve_sources: Mapping[str, CurveSource] = MappingProxyType({}),
    promise: PromisePolicy | float | None = None,
    progress: Progress = lambda *_: None,
) -> Replay:
    """Forecasts of every model at every moment with ``start <= as_of < end``, both aware midnights.

    What came true is what was known at ``known_through``, by default at the end of the data. The
    months of warm-up before ``start`` are forecast too, to choose promises on them; they are not
    judged, nor are days from ``end`` on until ``forecast_until``, from which calibrations alone are
    learned. ``curve_sources`` are judged beside the models and never fitted. ``promise`` chooses the day
    that each model would have promised to orders: a policy, or a rate. With a rate promises are
    those of least expected cost, where a late parcel costs so much that orders of the last
    ``PROMISE_SAMPLE_DAYS`` would have kept it, those that never come counted as missed.

    Raises:
        NothingToLearn: if no parcel had arrived before ``start``, or no moment falls within the
            days.
    """
    zone = Categorical(np.zeros(1, dtype=np.int32), (str(start.tzinfo),))
    warm_start = _first_of_month(start, -warm_up_months) if warm_up_months else start
    data_end = timelines.received_at.max() if known_through is None else known_through
    outcomes_so_far = Outcomes.at(timelines, to_instant(start))
    if np.isnat(outcomes_so_far.arrived_at).all():
        raise NoTrainingData(f"no parcel had arrived by {start.date()}; start the replay later")
    last = forecast_until or end
    snapshots = evaluation_snapshots(timelines, to_instant(warm_start), to_instant(last))
    is_judged, is_for_recalibration = (
        (snapshots.pairs.as_of >= to_instant(start)) & (snapshots.pairs.as_of < to_instant(end)),
        _is_recalibration_sample(snapshots),
    )
    taken = np.flatnonzero(is_judged | is_for_recalibration | (snapshots.moment == PURCHASE))
    snapshots, is_judged, is_for_recalibration = (
        snapshots.take(taken),
        is_judged[taken],
        is_for_recalibration[taken],
    )
    judged = outcome_table(timelines, snapshots, Outcomes.at(timelines, data_end), zone)
    judged["is_judged"] = is_judged
    if not judged["is_judged"].any():
        raise NoTrainingData(f"no parcel was in flight between {start.date()} and {end.date()}")

    training = training_snapshots(timelines, to_instant(last))
    purchases = training.take(np.flatnonzero(training.moment == PURCHASE))
    runs = {name: ModelRun(make, refits_daily=make().refits_daily) for name, make in models.items()}
    runs |= {name: ModelRun(None, curve_source) for name, curve_source in curve_sources.items()}
    open_parcels = OpenParcelCache(timelines)
    origins = [*([warm_start] if warm_up_months else []), *_origins(start, end, refit)]
    periods = [
        _days(origin, until) for origin, until in zip(origins, [*origins[1:], last], strict=True)
    ]
    total, done = sum(len(days) for days in periods), 0
    for days in periods:
        outcomes_so_far = Outcomes.at(timelines, to_instant(days[0]))
        day_number = (
            np.searchsorted(
                [to_instant(day) for day in [*days, days[-1] + timedelta(days=1)]],
                snapshots.pairs.as_of,
                side="right",
            )
            - 1
        )
        for name, run in runs.items():
            if not run.refits_daily:
                progress(f"{days[0].date()}: fitting {name}", done, total)
                run.fit(training, outcomes_so_far)
            if isinstance(run.fitted, SupportsRecalibration):
                run.fitted = recalibrate(
                    run.fitted, run.issued_intervals(snapshots, outcomes_so_far)
                )
        for number, day in enumerate(days):
            progress(f"{day.date()}: replaying", done, total)
            outcomes_so_far = Outcomes.at(timelines, to_instant(day))
            for run in runs.values():
                if run.refits_daily:
                    run.fit(purchases, outcomes_so_far)
                run.track_drift(open_parcels, outcomes_so_far)
                run.choose_policy(promise, outcomes_so_far.known_through)
                forecast_moments(
                    run,
                    timelines,
                    snapshots,
                    judged,
                    np.flatnonzero(day_number == number),
                    is_for_recalibration,
                )
            done += 1
    progress("replayed", total, total)

    is_judged_row = judged["is_judged"].to_numpy()
    outcomes = Outcomes.at(timelines, data_end)
    return Replay(
        judged[is_judged_row].drop(columns="is_judged").reset_index(drop=True),
        {
            name: pd.DataFrame(run.forecasts)[is_judged_row].reset_index(drop=True)
            for name, run in runs.items()
        },
        {name: run.fit_seconds for name, run in runs.items()},
        {name: run.predict_seconds for name, run in runs.items()},
        {
            name: run.issued_intervals(snapshots, outcomes)
            for name, run in runs.items()
            if isinstance(run.fitted, SupportsRecalibration)
        },
        {name: run.policy for name, run in runs.items()},
    )


def merchant_on_time_rate(timelines: Timelines, start: datetime, end: datetime) -> float | None:
    """The share of delivered orders of ``start <= ordered < end`` (aware) that kept their promise, as known at the end of the data.

    None if none had one.
    """
    states = fold(timelines, AsOfPairs.all_at(timelines, timelines.received_at.max()))
    arrived_on = local_dates(states.arrived_at, timelines.zone.codes, timelines.zone.names)
    judged = (
        (states.ordered_at >= to_instant(start))
        & (states.ordered_at < to_instant(end))
        & ~np.isnat(arrived_on)
        & ~np.isnat(timelines.promised_on)
    )
    return float((arrived_on <= timelines.promised_on)[judged].mean()) if judged.any() else None


def _is_recalibration_sample(snapshots: Snapshots) -> NDArray[np.bool_]:
    """The moments, ``MAX_RECALIBRATION_MOMENTS`` a month and stage, that are looked back at."""
    groups = [
        snapshots.pairs.as_of.astype("datetime64[M]").astype(np.int64),
        stages(snapshots.features),
    ]
    return (
        stable_random(snapshots).groupby(groups).rank(method="first") <= MAX_RECALIBRATION_MOMENTS
    ).to_numpy()


def _origins(start: datetime, end: datetime, refit: Refit) -> Iterator[datetime]:
    day = start
    while day < end:
        yield day
        if refit is Refit.NEVER:
            return
        day = day + timedelta(days=7) if refit is Refit.WEEK else _first_of_month(day, 1)


def _days(start: datetime, end: datetime) -> list[datetime]:
    return [start + timedelta(days=number) for number in range((end.date() - start.date()).days)]


def _first_of_month(day: datetime, months_later: int) -> datetime:
    month = day.year * 12 + day.month - 1 + months_later
    return day.replace(year=month // 12, month=month % 12 + 1, day=1)
